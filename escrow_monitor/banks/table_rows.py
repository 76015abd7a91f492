"""Rows of texts from CSV and XLSX files, each with its line, bounded and without a guess about what a cell means."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from escrow_monitor.banks.statement_reading import Refused, decoded, refused
from escrow_monitor.domain.statements import RefusalReason

if TYPE_CHECKING:
    from openpyxl.cell import Cell, MergedCell

ROWS_MAX = 500_000
COLUMNS_MAX = 200
CELL_CHARACTERS_MAX = 32_767
"""What Excel itself allows."""
UNCOMPRESSED_BYTES_MAX = 512 * 1024 * 1024
PARTS_MAX = 2_000

_EXACT_MAX = 10**15
"""A sheet keeps 15 digits of a number; an account number of 19 typed as one has lost four."""

Encoding = Literal["utf-8", "gb18030", "auto"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its line in the file or sheet, and its cells, without the blanks around them."""

    line: int
    cells: tuple[str, ...]

    @property
    def is_blank(self) -> bool:
        return not any(self.cells)


def is_xlsx(content: bytes) -> bool:
    """Whether the bytes begin like a ZIP archive, which an XLSX file is."""
    return content.startswith(b"PK\x03\x04")


def csv_rows(content: bytes, *, where: str, delimiter: str, encoding: Encoding) -> Iterator[Row]:
    """Rows of a text file. A cell that looks like a formula is the text it is. Raises Refused with the line."""
    reader = csv.reader(io.StringIO(_text(content, encoding, where), newline=""), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            detail = f"not a row of {delimiter!r}-separated cells: {error}"
            raise refused(RefusalReason.MALFORMED, f"{where}:{line}", None, detail) from error
        if cells is None:
            return
        if len(cells) > COLUMNS_MAX or line > ROWS_MAX:
            raise refused(RefusalReason.TOO_LARGE, f"{where}:{line}", None, "more columns or rows than are read")
        yield Row(line, tuple(cell.strip() for cell in cells))
        line = reader.line_num + 1


def _text(content: bytes, encoding: Encoding, where: str) -> str:
    if encoding == "auto":
        return decoded(content)
    try:
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        detail = f"byte {error.start} is not {encoding}"
        raise refused(RefusalReason.MALFORMED, f"{where}:{line}", "encoding", detail) from error


def xlsx_rows(content: bytes, *, where: str, sheet: str | None, date_format: str) -> Iterator[Row]:
    """Rows of one sheet, the only one unless named. Formulas count by the value Excel last kept for them.

    A date cell is written in `date_format`; a number in its shortest decimal form, so that a sum which Excel keeps as
    30.000000000000004 does not pass for 30.00. Raises Refused with the row, and for an error cell with its column.
    """
    _check_archive(content, where)
    from openpyxl import load_workbook

    try:
        workbook = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        names = workbook.sheetnames
        if sheet is None and len(names) != 1:
            detail = f"{len(names)} sheets, and the profile does not say which one counts"
            raise refused(RefusalReason.CONTRADICTS, where, "sheet", detail)
        chosen = sheet if sheet is not None else names[0]
        if chosen not in names:
            raise refused(RefusalReason.MISSING_FIELD, where, "sheet", f"there is no sheet {chosen!r}")
        worksheet = workbook[chosen]
        if not hasattr(worksheet, "reset_dimensions"):
            raise refused(RefusalReason.MALFORMED, where, "sheet", f"{chosen!r} holds no cells")
        worksheet.reset_dimensions()  # what a sheet says of its own size need not be so
        for line, cells in enumerate(worksheet.iter_rows(max_col=COLUMNS_MAX), start=1):
            if line > ROWS_MAX:
                raise refused(RefusalReason.TOO_LARGE, f"{where}:{line}", None, f"more than {ROWS_MAX} rows")
            yield Row(line, tuple(_cell(cell, f"{where}:{line}", date_format) for cell in cells))
    except Refused:
        raise
    except Exception as error:
        # The library has no error of its own: it raises whatever a damaged part happens to break in it.
        detail = f"not a workbook that can be read ({type(error).__name__})"
        raise refused(RefusalReason.MALFORMED, where, None, detail) from error


def _check_archive(content: bytes, where: str) -> None:
    """Refuse an archive that unpacks to more than we keep, is damaged, or declares document types."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            if len(parts) > PARTS_MAX or sum(part.file_size for part in parts) > UNCOMPRESSED_BYTES_MAX:
                detail = f"unpacks to more than {UNCOMPRESSED_BYTES_MAX} bytes or {PARTS_MAX} parts"
                raise refused(RefusalReason.TOO_LARGE, where, None, detail)
            for part in parts:
                _check_part(archive, part, where)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error) as error:
        detail = f"a damaged or encrypted archive ({type(error).__name__})"
        raise refused(RefusalReason.MALFORMED, where, None, detail) from error


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo, where: str) -> None:
    """Read a part to its end, which checks its checksum."""
    tail = b""
    with archive.open(part) as stream:
        while chunk := stream.read(1 << 20):
            if b"<!" in (seen := tail + chunk) and re.search(rb"<!(DOCTYPE|ENTITY)", seen):
                detail = "a document type or entity is not allowed"
                raise refused(RefusalReason.UNSAFE_XML, where, None, detail)
            tail = chunk[-16:]


def _cell(cell: Cell | MergedCell, where: str, date_format: str) -> str:
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "e":
        raise refused(RefusalReason.MALFORMED, where, f"column {cell.column}", f"an error cell: {value}")
    if isinstance(value, str):
        if len(value) > CELL_CHARACTERS_MAX:
            raise refused(RefusalReason.TOO_LARGE, where, f"column {cell.column}", "a cell longer than Excel allows")
        return value.strip()
    if isinstance(value, datetime | date):
        return value.strftime(date_format)
    if isinstance(value, int) and abs(value) >= _EXACT_MAX:
        value = float(value)
    return repr(value)  # a binary number by its shortest decimal form, with an exponent where digits may be lost
