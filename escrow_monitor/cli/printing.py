"""Pages to PDF, by the browser of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from escrow_monitor.errors import OutsideError, UsageError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
PRINT_SECONDS_MAX = 60
QUIET = (
    "--headless", "--disable-gpu", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--no-default-browser-check",
    # The page is ours and needs nothing from outside.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


class PrintFailed(OutsideError):
    """The browser did not print the page."""


def print_pdf(page: str, out: Path, *, browser: Path | None = None) -> None:
    """Write a page as PDF. Raises UsageError where there is no browser, PrintFailed where it does not print."""
    program = find_browser(browser)
    with tempfile.TemporaryDirectory(prefix="escrow-monitor-print-") as folder:
        source, printed = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_text(page, "utf-8")
        command = [program, *QUIET, f"--user-data-dir={folder}/profile", "--no-pdf-header-footer",
                   f"--print-to-pdf={printed}", source.as_uri()]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # As root it starts only so.
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(  # noqa: S603 - the browser that was found or named, and files we made ourselves
                command, capture_output=True, check=False, timeout=PRINT_SECONDS_MAX, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise PrintFailed(f"{program} did not print within {PRINT_SECONDS_MAX} seconds") from error
        except OSError as error:
            raise PrintFailed(f"{program} cannot be started: {error.strerror}") from error
        if not printed.is_file() or not printed.stat().st_size:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise PrintFailed(f"{program} printed nothing (exit {done.returncode}): {said[-1] if said else 'no word'}")
        shutil.copyfile(printed, out)


def find_browser(browser: Path | None = None) -> str:
    """The program that prints. Raises UsageError where there is none."""
    if browser is not None:
        found = shutil.which(str(browser))
        if found is None:
            raise UsageError(f"--browser {browser}: no such program")
        return found
    for name in BROWSERS:
        if (found := shutil.which(name)) is not None:
            return found
    raise UsageError(
        "there is no Chromium or Chrome here to print with: install one, name it with --browser, or write HTML and "
        "print it from any browser"
    )
