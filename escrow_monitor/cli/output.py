"""How results look: tables for people, JSON for programs, a progress bar only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

_COLOURS = {
    "red": "bold red", "orange": "orange3", "yellow": "yellow", "met": "green", "unknown": "magenta",
    "ok": "green", "warn": "yellow", "bad": "bold red",
}


def print_json(document: object) -> None:
    """One JSON document, keys in order of meaning, Chinese as it is."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def print_json_line(document: object) -> None:
    """One JSON object on one line."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table as wide as the terminal; in a pipe, tab-separated lines that other programs can cut."""
    if not sys.stdout.isatty():
        sys.stdout.write("\t".join(columns) + "\n")
        for row in rows:
            sys.stdout.write("\t".join("" if cell is None else str(cell) for cell in row) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, header_style="bold", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column.endswith("CNY") else "left")
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        table.add_row(
            *(f"[{_COLOURS[cell]}]{cell}[/]" if cell in _COLOURS else cell.replace("[", r"\[") for cell in cells)
        )
    Console().print(table)


def say(text: str) -> None:
    """One line for people."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """One line for people, beside the results."""
    sys.stderr.write(text + "\n")
