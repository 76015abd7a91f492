"""Statement files: bytes in, whole statements out, or the refusals that say where and why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

from escrow_monitor.banks.formats import camt, mt940
from escrow_monitor.banks.statement_reading import Refused, checked
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement

CONTENT_BYTES_MAX = 64 * 1024 * 1024
"""A statement file is no larger; one day of 100,000 accounts is about 20 MB of MT940."""


class ReadFormat(Protocol):
    """Reads one format. Raises Refused; does not check that statements tie or chain."""

    def __call__(self, content: bytes, *, filename: str, zone: ZoneInfo) -> list[Statement]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One statement format: whether bytes look like it, how it is read, and its media type."""

    looks_like: Callable[[bytes], bool]
    read: ReadFormat
    media_type: str


FORMATS: Mapping[str, Format] = {
    "camt": Format(looks_like=camt.looks_like, read=camt.read, media_type="application/xml"),
    "mt940": Format(looks_like=mt940.looks_like, read=mt940.read, media_type="text/plain"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFile:
    """A file that was read whole: every statement ties, and those of one account chain."""

    format: str
    media_type: str
    sha256: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRefused:
    """A file of which nothing is taken. `format` is None when not even that could be told."""

    format: str | None
    media_type: str
    sha256: str
    refusals: tuple[Refusal, ...]


def read_statements(
    content: bytes, *, filename: str, format: str = "auto", zone: ZoneInfo, today: date | None = None
) -> StatementFile | FileRefused:
    """Read a statement file whole or refuse it whole. Pure: the same bytes always give the same answer.

    `format` is a key of FORMATS or "auto". `zone` is the bank's, for booking times written as instants. With `today`
    a statement dated later is refused. Raises KeyError for a format that does not exist.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    chosen = _detect(content) if format == "auto" else format
    media_type = FORMATS[chosen].media_type if chosen else "application/octet-stream"
    try:
        if len(content) > CONTENT_BYTES_MAX:
            detail = f"{len(content)} bytes, at most {CONTENT_BYTES_MAX} are read"
            raise _refused_whole(RefusalReason.TOO_LARGE, filename, detail)
        if not content.strip():
            raise _refused_whole(RefusalReason.EMPTY, filename, "the file is empty")
        if chosen is None:
            detail = f"none of the formats this program reads: {', '.join(FORMATS)}"
            raise _refused_whole(RefusalReason.UNKNOWN_FORMAT, filename, detail)
        statements = checked(FORMATS[chosen].read(content, filename=filename, zone=zone), today=today)
        if not statements:
            raise _refused_whole(RefusalReason.EMPTY, filename, "the file holds no statement")
    except Refused as error:
        return FileRefused(format=chosen, media_type=media_type, sha256=sha256, refusals=error.refusals)
    assert chosen is not None  # noqa: S101 - refused above
    return StatementFile(format=chosen, media_type=media_type, sha256=sha256, statements=statements)


def _detect(content: bytes) -> str | None:
    return next((name for name, known in FORMATS.items() if known.looks_like(content)), None)


def _refused_whole(reason: RefusalReason, filename: str, detail: str) -> Refused:
    return Refused(Refusal(reason=reason, where=filename, field=None, detail=detail))
