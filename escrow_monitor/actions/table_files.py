"""Tables in files: CSV, XLSX and JSON Lines as columns of texts, some thousand rows at a time, each with its line.

    contract_no,fee          Rows(lines=(2, 3), columns=(("HT-1", "HT-2"), ("3500.00", "")))
    HT-1,3500.00
    HT-2,

However large the file, only one such piece of it is in memory; of a workbook, the texts of its cells as well.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import orjson

from escrow_monitor.actions.cell_text import Text, WrongCell
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from _csv import Reader

CELLS_AT_ONCE = 300_000
LINE_BYTES_MAX = 1 << 20
"""A longer line is no row: a file without line ends would be read whole."""

_READ_BYTES = 1 << 20
_SAMPLE_BYTES = 32_768
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")
_LINE_END = re.compile(r"\r\n|\r|\n")


class Rows(NamedTuple):
    """A piece of a table: its columns in the order of the header, and the line each row begins on.

    `odd` are rows of too few or too many cells, or that are no row at all: (line, why). They are in no column.
    """

    lines: Sequence[int]
    columns: Sequence[Sequence[Text]]
    odd: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file that was looked through once. `lines` is None where nobody can say without reading it."""

    sha256: str
    columns: Sequence[str]
    lines: int | None
    rows: Iterator[Rows]


class Names:
    """The columns a table may have, each with its Chinese name, and those it must have."""

    def __init__(self, zh: Mapping[str, str], *, needed: Sequence[str], where: str) -> None:
        self.zh, self.needed, self.where = zh, needed, where
        self.known = {**{zh: name for name, zh in zh.items()}, **{name: name for name in zh}}

    def of(self, heads: Sequence[str]) -> list[str]:
        """The columns that header cells name, in either language. Raises UsageError for one unknown or there twice."""
        names: list[str] = []
        for head in heads:
            name = self.known.get(head.strip())
            if name is None:
                near = get_close_matches(head.strip(), self.known, n=1, cutoff=0.5)
                advice = f"did you mean {near[0]}?" if near else f"the columns are {', '.join(self.zh)}"
                raise UsageError(f"{self.where}: there is no column {head.strip()!r}; {advice}")
            if name in names:
                raise UsageError(f"{self.where}: the column {name} ({self.zh[name]}) is there twice")
            names.append(name)
        return names

    def header(self, heads: Sequence[str]) -> list[str]:
        """The same for a whole header. Raises UsageError for a column that must be there and is not."""
        last = max((place for place, head in enumerate(heads) if head.strip()), default=-1)
        names = self.of(heads[: last + 1])
        missing = [f"{name} ({self.zh[name]})" for name in self.needed if name not in names]
        if missing:
            raise UsageError(f"{self.where}: the column {', '.join(missing)} is missing")
        return names


def open_table(stream: BinaryIO, names: Names) -> Table:
    """Look through a seekable file, and begin to read it. Raises UsageError where it is no such table at all."""
    first = _looked_through(stream, names.where)
    if first.head.startswith(b"PK\x03\x04"):
        from escrow_monitor.actions.workbooks import sheet_rows

        header, rows = sheet_rows(stream, where=names.where)
        columns = names.header(header)
        return Table(
            sha256=first.sha256, columns=columns, lines=None, rows=_in_pieces(rows, columns, names.where),
        )
    encoding = _encoding(stream, first, names.where)
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding=encoding, newline="", write_through=True)
    try:
        if first.head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
            columns, pieces = list(names.zh), _json_lines(text, names)
        else:
            columns, pieces = _csv(text, names)
    except UsageError:
        text.detach()
        raise
    return Table(sha256=first.sha256, columns=columns, lines=first.lines, rows=_detaching(pieces, text))


class _Look(NamedTuple):
    sha256: str
    lines: int
    head: bytes
    not_utf8_at: int | None
    not_utf8_line: int


def _looked_through(stream: BinaryIO, where: str) -> _Look:
    stream.seek(0)
    digest, utf8, head = hashlib.sha256(), getincrementaldecoder("utf-8")(), b""
    lines = offset = wrong_line = 0
    wrong_at: int | None = None
    while chunk := stream.read(_READ_BYTES):
        head = head or chunk[:_SAMPLE_BYTES]
        digest.update(chunk)
        if wrong_at is None:
            try:
                utf8.decode(chunk)
            except UnicodeDecodeError as error:
                wrong_at = offset + error.start
                wrong_line = lines + chunk.count(b"\n", 0, error.start) + 1
        ends = chunk.count(b"\n")
        if not ends and len(chunk) == _READ_BYTES and b"\r" not in chunk and not head.startswith(b"PK"):
            raise UsageError(f"{where}, line {lines + 1}: is longer than {LINE_BYTES_MAX} bytes, which no row is")
        lines, offset = lines + ends, offset + len(chunk)
    if not head:
        raise UsageError(f"{where}: is empty")
    return _Look(digest.hexdigest(), lines, head, wrong_at, wrong_line)


def _encoding(stream: BinaryIO, look: _Look, where: str) -> str:
    """UTF-8 if all of it is; else GB18030 if all of it is, unless it is UTF-8 with a damaged place."""
    if look.not_utf8_at is None:
        return "utf-8-sig"
    stream.seek(max(0, look.not_utf8_at - _SAMPLE_BYTES))
    around = stream.read(2 * _SAMPLE_BYTES).decode("utf-8", errors="replace")
    # Text in GB18030 read as UTF-8 is lost nearly everywhere; of text in UTF-8, only what is damaged.
    if len(_IDEOGRAPH.findall(around)) > around.count("\ufffd"):
        raise UsageError(f"{where}, line {look.not_utf8_line}: is UTF-8 text, but damaged here: export the file again")
    decoder = getincrementaldecoder("gb18030")()
    stream.seek(0)
    try:
        while chunk := stream.read(_READ_BYTES):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}, line {look.not_utf8_line}: is neither UTF-8 nor GB18030 text") from error
    return "gb18030"


def _detaching(pieces: Iterator[Rows], text: io.TextIOWrapper) -> Iterator[Rows]:
    """The pieces, after which the stream is its owner's again: a wrapper that is thrown away closes what it wraps."""
    try:
        yield from pieces
    finally:
        text.detach()


# CSV


def _csv(text: io.TextIOWrapper, names: Names) -> tuple[list[str], Iterator[Rows]]:
    first = text.readline()
    delimiter = max(",;\t", key=lambda each: sum(head.strip() in names.known for head in _split(first, each)))
    columns = names.header(_split(first, delimiter))
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    return columns, _csv_pieces(reader, len(columns), names.where)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return [line]


def _csv_pieces(reader: Reader, width: int, where: str) -> Iterator[Rows]:
    at_once = max(1, CELLS_AT_ONCE // width)
    while True:
        before = reader.line_num
        try:
            rows = list(islice(reader, at_once))
        except csv.Error as error:
            # The header was read before.
            raise UsageError(f"{where}, line {reader.line_num + 1}: is not CSV: {error}") from error
        if not rows:
            return
        if reader.line_num - before == len(rows):
            lines: Sequence[int] = range(before + 2, before + 2 + len(rows))
        else:
            lines = _first_lines(rows, before + 2)
        yield _piece(lines, rows, width)


def _first_lines(rows: list[list[str]], first: int) -> list[int]:
    """The line each row begins on, where cells hold line ends."""
    lines = []
    for row in rows:
        lines.append(first)
        first += 1 + sum(len(_LINE_END.findall(cell)) for cell in row)
    return lines


def _in_pieces(rows: Iterator[tuple[int, list[Text]]], columns: Sequence[str], where: str) -> Iterator[Rows]:
    at_once = max(1, CELLS_AT_ONCE // len(columns))
    while piece := list(islice(rows, at_once)):
        yield _piece([line for line, _ in piece], [cells for _, cells in piece], len(columns))


def _piece(lines: Sequence[int], rows: Sequence[Sequence[Text]], width: int) -> Rows:
    """Rows as columns. Blank rows are passed over; blank cells beyond the last column do not count."""
    odd: list[tuple[int, str]] = []
    if set(map(len, rows)) != {width} or any(not any(row) for row in rows):
        kept_lines, kept = [], []
        for line, row in zip(lines, rows, strict=True):
            if not any(map(_is_there, row)):
                continue
            if len(row) < width or any(map(_is_there, row[width:])):
                odd.append((line, f"has {len(row)} cells under {width} columns"))
                continue
            kept_lines.append(line)
            kept.append(row[:width])
        lines, rows = kept_lines, kept
    return Rows(lines, list(zip(*rows, strict=True)) or [()] * width, odd)


def _is_there(cell: Text) -> bool:
    return isinstance(cell, WrongCell) or bool(cell.strip())


# JSON Lines


def _json_lines(text: io.TextIOWrapper, names: Names) -> Iterator[Rows]:
    """Objects, one a line, with any of the columns in any order."""
    columns = list(names.zh)
    layouts: dict[tuple[str, ...], tuple[str, ...]] = {}
    at_once = max(1, CELLS_AT_ONCE // len(columns))
    numbered = enumerate(text, 1)
    while piece := list(islice(numbered, at_once)):
        lines: list[int] = []
        rows: list[tuple[object, ...]] = []
        odd: list[tuple[int, str]] = []
        for line, source in piece:
            found = _object(source, line, odd)
            if found is None:
                continue
            keys = tuple(found)
            layout = layouts.get(keys)
            if layout is None:
                layout = layouts[keys] = _layout(keys, columns, names, line)
            lines.append(line)
            rows.append(tuple(map(found.get, layout)))
        yield Rows(lines, [_texts(column) for column in zip(*rows, strict=True)] or [()] * len(columns), odd)


def _object(source: str, line: int, odd: list[tuple[int, str]]) -> dict[str, object] | None:
    try:
        found = orjson.loads(source)
    except orjson.JSONDecodeError as error:
        if source.strip():
            odd.append((line, f"is not JSON: {error.msg}"))
        return None
    if not isinstance(found, dict):
        odd.append((line, "is not a JSON object"))
        return None
    if float in set(map(type, found.values())):
        import json

        # A binary number has lost what the decimal said: read it again as the text it is.
        found = json.loads(source, parse_float=str)
    return cast("dict[str, object]", found)


def _layout(keys: tuple[str, ...], columns: list[str], names: Names, line: int) -> tuple[str, ...]:
    """Under which key of such objects each column is found; a column that is missing has a key that nobody has."""
    try:
        found = dict(zip(names.of(keys), keys, strict=True))
    except UsageError as error:
        raise UsageError(f"{error} (line {line})") from error
    return tuple(found.get(column, "") for column in columns)


def _texts(cells: Sequence[object]) -> Sequence[Text]:
    return [cell if type(cell) is str else _text_of(cell) for cell in cells]


def _text_of(cell: object) -> Text:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int):
        return str(cell)
    return WrongCell(orjson.dumps(cell).decode(), "is neither a text nor a number")


