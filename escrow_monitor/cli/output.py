"""How results look: tables for people, JSON for programs, a progress bar only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from escrow_monitor.cli import words

_COLOURS = {
    "red": "bold red", "orange": "orange3", "yellow": "yellow", "met": "green", "unknown": "magenta",
    "ok": "green", "warn": "yellow", "bad": "bold red",
}


@dataclass(slots=True)
class _Speaks:
    zh: bool = False


_speaks = _Speaks()
"""The language of this run's tables: one command runs in a process, and says first how it speaks."""


def speak(language: str) -> None:
    """Say the heads of tables and what stands in them in this language from now on."""
    _speaks.zh = language == "zh"


def print_json(document: object) -> None:
    """One JSON document, keys in order of meaning, Chinese as it is."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def print_json_line(document: object) -> None:
    """One JSON object on one line."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table as wide as the terminal; in a pipe, tab-separated lines that other programs can cut."""
    heads = list(map(words.head, columns)) if _speaks.zh else list(columns)

    def told(row: Sequence[object]) -> list[str]:
        if _speaks.zh:
            return [words.cell(column, cell) for column, cell in zip(columns, row, strict=True)]
        return ["" if cell is None else str(cell) for cell in row]

    if not sys.stdout.isatty():
        sys.stdout.write("\t".join(heads) + "\n")
        for row in rows:
            sys.stdout.write("\t".join(told(row)) + "\n")
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, header_style="bold", title_justify="left")
    for column, title_ in zip(columns, heads, strict=True):
        # An amount that is broken over two lines is misread, and so is a word of the head.
        is_money = column.endswith("CNY")
        table.add_column(
            title_, overflow="fold", justify="right" if is_money else "left", no_wrap=is_money,
            min_width=max(map(cell_len, title_.split()), default=1),
        )
    for row in rows:
        table.add_row(*(
            f"[{_COLOURS[str(cell)]}]{said}[/]" if str(cell) in _COLOURS else said.replace("[", r"\[")
            for cell, said in zip(row, told(row), strict=True)
        ))
    Console().print(table)


def say(text: str) -> None:
    """One line for people."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """One line for people, beside the results."""
    sys.stderr.write(text + "\n")
