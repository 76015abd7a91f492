"""`python -m escrow_monitor`."""

from escrow_monitor.cli import main

if __name__ == "__main__":
    main()
