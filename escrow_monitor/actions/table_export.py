"""Tables that people take along: one description of a table, written as CSV or as XLSX while its rows still come.

    ExportTable(columns) + rows --> csv_pieces   UTF-8 with a mark, for a sheet in any office; texts defused
                               \\-> xlsx_pieces  texts are texts, money and dates are numbers that a sheet can add

Neither keeps rows: memory is that of one piece, however long the table is. A workbook stands in a temporary file until
it is whole, so its first piece comes late.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from alerts.feeds.item import Lang
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.money import Money, exponent

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

Cell = str | int | Decimal | Money | date | datetime | Sentence | None
"""None is an empty cell: not known, never zero."""
Row = Sequence[Cell]

CSV_TYPE = "text/csv; charset=utf-8"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ROWS_A_PIECE = 500
ROWS_A_SHEET = 1_048_575
"""A sheet has 1,048,576 rows, the first of them the header: what is more goes to the next sheet."""
BYTES_A_PIECE = 1 << 16
TEXT_CHARACTERS_MAX = 32_767
"""What a cell of a workbook can hold."""
EXACT_DIGITS = 15
"""A sheet keeps so many digits of a number: an amount of more is written as text."""

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_PLAIN_NEGATIVE = re.compile(r"-[0-9]{1,15}(\.[0-9]{1,9})?\Z", re.ASCII)
_NUMBER_LIKE = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\Z", re.ASCII)
_DIGITS_SHOWN = 11
"""A sheet shows a longer number as 9.15E+17, and rounds it from the sixteenth digit on."""
_MUST_QUOTE = re.compile(r"[\",;\t\r\n]|^\s|\s\Z")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Kind(StrEnum):
    """What a column holds, and so how it is written."""

    TEXT = "text"
    MONEY = "money"
    DATE = "date"
    INSTANT = "instant"
    COUNT = "count"
    SHARE = "share"
    """A Decimal share of one."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what heads it in both languages, and what is in it."""

    zh: str
    en: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable:
    """What a table is called (`name` in the name of its file) and its columns, in order."""

    name: str
    zh: str
    en: str
    columns: Sequence[Column]


def csv_pieces(table: ExportTable, rows: Iterable[Row], *, lang: Lang, zone: ZoneInfo) -> Iterator[bytes]:
    """The table as CSV. The mark at its beginning tells a Chinese office program that it is UTF-8.

    Dates are ISO 8601, instants RFC 3339 in `zone`, amounts plain decimals of the main unit.
    """
    lines = ["\ufeff" + ",".join(_quoted(_header(column, lang, None)) for column in table.columns)]
    for row in _checked(table, rows):
        lines.append(",".join(_csv_cell(cell, lang, zone) for cell in row))
        if len(lines) >= ROWS_A_PIECE:
            yield ("\r\n".join(lines) + "\r\n").encode()
            lines = []
    if lines:
        yield ("\r\n".join(lines) + "\r\n").encode()


def xlsx_pieces(table: ExportTable, rows: Iterable[Row], *, lang: Lang, zone: ZoneInfo) -> Iterator[bytes]:
    """The table as a workbook whose header stays in sight. Instants are those of `zone`, which the header names.

    Amounts are numbers as far as a sheet keeps every digit; texts stay texts, whatever they begin with.
    """
    from xlsxwriter.workbook import Workbook

    with TemporaryFile() as file:
        book = Workbook(file, {"constant_memory": True})
        _write(_Sheets(table, book, lang, zone), _checked(table, rows))
        book.close()
        file.seek(0)
        while piece := file.read(BYTES_A_PIECE):
            yield piece


def defused(text: str) -> str:
    """A text that a sheet takes for a text, whatever it begins with: `'=1+1`. A plain negative number stays one.

    OWASP, CSV injection: = + - @ tab and line ends at the beginning, also after blanks, and in full width, which
    offices here take for the same.
    """
    if text.startswith(("\t", "\r", "\n", "\0")):
        return f"'{text}"
    seen = text.lstrip("\ufeff\u200b \u3000\xa0\t\r\n")
    if not seen.startswith(_FORMULA) or _PLAIN_NEGATIVE.match(text):
        return text
    return f"'{text}"


def file_name(table: ExportTable, suffix: str, on: date, about: str = "") -> str:
    """`alerts-20261123.csv`; `about` names whose it is, of letters and digits only."""
    kept = re.sub(r"[^0-9A-Za-z_-]", "", about)[:60]
    return "-".join(part for part in (table.name, kept, f"{on:%Y%m%d}") if part) + f".{suffix}"


# CSV


def _csv_cell(cell: Cell, lang: Lang, zone: ZoneInfo) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Money):
        return cell.text
    if isinstance(cell, datetime):
        return cell.astimezone(zone).isoformat(timespec="seconds")
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, int | Decimal):
        return f"{cell:f}" if isinstance(cell, Decimal) else str(int(cell))
    return _quoted(_kept_text(defused(_text(cell, lang))))


def _kept_text(text: str) -> str:
    """A number of many digits is a name, as an account's is: a sheet would round it, or drop its zeros."""
    if not _NUMBER_LIKE.match(text):
        return text
    plain = text.isdigit() and len(text) <= _DIGITS_SHOWN and (text[0] != "0" or text == "0")
    return text if plain else f"'{text}"


def _quoted(text: str) -> str:
    # Semicolons and tabs too: with another separator chosen, a cell would begin behind them.
    return '"' + text.replace('"', '""') + '"' if _MUST_QUOTE.search(text) else text


# XLSX

_DIGITS = ("#,##0", "#,##0.0", "#,##0.00", "#,##0.000")
_WIDTHS = {Kind.TEXT: 22, Kind.MONEY: 18, Kind.DATE: 12, Kind.INSTANT: 20, Kind.COUNT: 10, Kind.SHARE: 10}


class _Formats(NamedTuple):
    """How cells look: texts, the header, amounts by their digits, days, moments and shares."""

    text: Format
    head: Format
    digits: tuple[Format, ...]
    day: Format
    moment: Format
    percent: Format


class _Sheets:
    """The sheets of a workbook of one table: a full one is followed by another."""

    def __init__(self, table: ExportTable, book: Workbook, lang: Lang, zone: ZoneInfo) -> None:
        self._table, self._book, self._lang, self._zone = table, book, lang, zone
        self._formats = _Formats(
            text=book.add_format({"num_format": "@"}), head=book.add_format({"num_format": "@", "bold": True}),
            digits=tuple(book.add_format({"num_format": form}) for form in _DIGITS),
            day=book.add_format({"num_format": "yyyy-mm-dd"}),
            moment=book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            percent=book.add_format({"num_format": "0.00%"}),
        )
        self._count = 0

    def another(self) -> Worksheet:
        """A new sheet with its header."""
        self._count += 1
        title = re.sub(r"[\[\]:*?/\\']", " ", self._table.zh if self._lang == "zh" else self._table.en)[:24]
        sheet: Worksheet = self._book.add_worksheet(title if self._count == 1 else f"{title} {self._count}")
        sheet.freeze_panes(1, 0)
        for at, column in enumerate(self._table.columns):
            sheet.set_column(at, at, _WIDTHS[column.kind])
            sheet.write_string(0, at, _header(column, self._lang, self._zone), self._formats.head)
        return sheet

    def write(self, sheet: Worksheet, at: int, place: int, cell: Cell) -> None:
        """One cell; None leaves it empty."""
        formats = self._formats
        if isinstance(cell, Money) and len(str(abs(cell.minor_units))) <= EXACT_DIGITS:
            sheet.write_number(at, place, float(Decimal(cell.text)), formats.digits[exponent(cell.currency)])
        elif isinstance(cell, Money):
            sheet.write_string(at, place, cell.text, formats.text)
        elif isinstance(cell, datetime):
            here = cell.astimezone(self._zone).replace(tzinfo=None, microsecond=0)
            sheet.write_datetime(at, place, here, formats.moment)
        elif isinstance(cell, date):
            sheet.write_datetime(at, place, cell, formats.day)
        elif isinstance(cell, int | Decimal):
            sheet.write_number(at, place, cell, formats.percent if isinstance(cell, Decimal) else formats.digits[0])
        elif cell is not None and (text := _text(cell, self._lang)):
            shown = text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"
            sheet.write_string(at, place, _NOT_XML.sub("\ufffd", shown), formats.text)


def _write(sheets: _Sheets, rows: Iterator[Row]) -> None:
    sheet, at = sheets.another(), 0
    for row in rows:
        if at == ROWS_A_SHEET:
            sheet, at = sheets.another(), 0
        at += 1
        for place, cell in enumerate(row):
            sheets.write(sheet, at, place, cell)


# Both


def _checked(table: ExportTable, rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        if len(row) != len(table.columns):
            raise ValueError(f"a row of {table.name} has {len(row)} cells for {len(table.columns)} columns")
        yield row


def _header(column: Column, lang: Lang, zone: ZoneInfo | None) -> str:
    word = column.zh if lang == "zh" else column.en
    return f"{word} ({zone.key})" if zone is not None and column.kind is Kind.INSTANT else word


def _text(cell: str | Sentence, lang: Lang) -> str:
    if isinstance(cell, Sentence):
        return cell.zh if lang == "zh" else cell.en
    return str(cell)
