"""The rows of an XLSX workbook as texts: values only, no formula, no number that a sheet has already rounded."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, BinaryIO

from escrow_monitor.actions.cell_text import Text, WrongCell
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

COLUMNS_MAX = 200
UNCOMPRESSED_BYTES_MAX = 1 << 30
PARTS_MAX = 2_000
EXACT_DIGITS = 15
"""What a sheet keeps of a number: the sixteenth digit is made up."""

_DECLARES = re.compile(rb"<!(DOCTYPE|ENTITY)")


def sheet_rows(stream: BinaryIO, *, where: str) -> tuple[list[str], Iterator[tuple[int, list[Text]]]]:
    """The first row of the one sheet that holds anything, and the others with their numbers.

    Raises UsageError for what is no workbook, and for several sheets: nobody says which one counts.
    """
    _check_archive(stream, where)
    rows = _rows(stream, where)
    _, header = next(rows, (1, []))
    return [cell if isinstance(cell, str) else cell.text for cell in header], rows


def _rows(stream: BinaryIO, where: str) -> Iterator[tuple[int, list[Text]]]:
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            # It warns of styles and drop-down lists that it does not keep: we keep none.
            warnings.simplefilter("ignore")
            workbook = load_workbook(stream, read_only=True)
        sheet = workbook[_sheet(workbook, where)]
        sheet.reset_dimensions()  # what a sheet says of its own size need not be so
        for line, cells in enumerate(sheet.iter_rows(max_col=COLUMNS_MAX), start=1):
            yield line, [_text(cell) for cell in cells]
    except UsageError:
        raise
    except Exception as error:
        # The library has no error of its own: it raises whatever a damaged part happens to break in it.
        raise UsageError(f"{where}: is not a workbook that can be read ({type(error).__name__})") from error


def _sheet(workbook: Workbook, where: str) -> str:
    filled = []
    for name in workbook.sheetnames:
        sheet = workbook[name]
        if hasattr(sheet, "reset_dimensions"):
            sheet.reset_dimensions()
            if any(cell.value is not None for row in sheet.iter_rows(max_row=1) for cell in row):
                filled.append(name)
    if len(filled) != 1:
        found = f"the sheets {', '.join(filled)} all begin with cells" if filled else "no sheet begins with cells"
        raise UsageError(f"{where}: {found}: leave one table in the workbook, its header in the first row")
    return filled[0]


def _check_archive(stream: BinaryIO, where: str) -> None:
    """Refuse an archive that unpacks to more than we read, is damaged, or declares document types."""
    try:
        with zipfile.ZipFile(stream) as archive:
            parts = archive.infolist()
            if len(parts) > PARTS_MAX or sum(part.file_size for part in parts) > UNCOMPRESSED_BYTES_MAX:
                raise UsageError(f"{where}: unpacks to more than {UNCOMPRESSED_BYTES_MAX} bytes")
            for part in parts:
                tail = b""
                with archive.open(part) as content:
                    # To its end, which checks its checksum.
                    while chunk := content.read(1 << 20):
                        if b"<!" in (seen := tail + chunk) and _DECLARES.search(seen):
                            raise UsageError(f"{where}: declares a document type, which no workbook needs")
                        tail = chunk[-16:]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{where}: is a damaged or encrypted archive ({type(error).__name__})") from error


def _text(cell: object) -> Text:
    value = getattr(cell, "value", None)
    if value is None:
        return ""
    kind = getattr(cell, "data_type", "")
    if kind == "f":
        shown = value if isinstance(value, str) else str(getattr(value, "text", "") or "=")
        return WrongCell(shown, "is a formula: put its value there instead")
    if kind == "e":
        return WrongCell(str(value), "is an error of the sheet")
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value, str(getattr(cell, "number_format", "")))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, date) else WrongCell(str(value), "is a time, not a date")


def _number(value: float, number_format: str) -> Text:
    exact = Decimal(repr(value))
    if len(exact.normalize().as_tuple().digits) > EXACT_DIGITS:
        return WrongCell(
            repr(value), f"is a number of more than {EXACT_DIGITS} digits, which a sheet rounds: make the cell a text"
        )
    if "%" in number_format:
        return f"{_plain(exact * 100)}%"
    return _plain(exact)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
