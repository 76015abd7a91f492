"""The interfaces banks can be spoken to in, one a file or folder; `banks/making.py` names and makes them.

Nothing is imported here: a command that asks no bank must not wait for the libraries that do.
"""
