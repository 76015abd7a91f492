"""A cell of a table in a file: its text, or why it has none that could be read."""

from __future__ import annotations

from typing import NamedTuple


class WrongCell(NamedTuple):
    """A cell that cannot be read: what stood there, and why."""

    text: str
    reason: str


Text = str | WrongCell
