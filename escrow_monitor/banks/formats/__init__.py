"""Statement files: bytes in, whole statements out, or the refusals that say where and why not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Protocol
from zoneinfo import ZoneInfo

from escrow_monitor.banks.formats import bai2, camt, csv_profile, mt940, ofx
from escrow_monitor.banks.formats.csv_profile import Profile
from escrow_monitor.banks.statement_reading import Refused, checked
from escrow_monitor.banks.table_rows import is_xlsx
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement

CONTENT_BYTES_MAX = 64 * 1024 * 1024
"""A statement file is no larger; one day of 100,000 accounts is about 20 MB of MT940."""


class ReadFormat(Protocol):
    """Reads one format. Raises Refused; does not check that statements tie or chain."""

    def __call__(self, content: bytes, *, filename: str, zone: ZoneInfo) -> list[Statement]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One statement format: whether bytes look like it, how it is read, and its media type.

    `anchored`: it is told by how a file begins, so that no other format's text can be taken for it.
    """

    looks_like: Callable[[bytes], bool]
    read: ReadFormat
    media_type: str
    anchored: bool = True


FORMATS: Mapping[str, Format] = {
    "bai2": Format(looks_like=bai2.looks_like, read=bai2.read, media_type="text/plain"),
    "ofx": Format(looks_like=ofx.looks_like, read=ofx.read, media_type="application/x-ofx"),
    "camt": Format(looks_like=camt.looks_like, read=camt.read, media_type="application/xml"),
    "mt940": Format(looks_like=mt940.looks_like, read=mt940.read, media_type="text/plain", anchored=False),
}
PROFILE = "profile:"
"""Before a profile's name: the format of a CSV or XLSX file that is read by it."""
_XLSX_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


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
    content: bytes,
    *,
    filename: str,
    format: str = "auto",
    zone: ZoneInfo,
    today: date | None = None,
    profiles: Mapping[str, Profile] | None = None,
) -> StatementFile | FileRefused:
    """Read a statement file whole or refuse it whole. Pure: the same bytes always give the same answer.

    `format` is a key of FORMATS, "profile:" and a name of `profiles`, or "auto", which takes a CSV or XLSX file if
    exactly one of `profiles` fits its header. `zone` is the bank's, for booking times written as instants. With
    `today` a statement dated later is refused. Raises KeyError for a format that does not exist.
    """
    known = profiles or {}
    if format != "auto" and format not in FORMATS:
        known[format.removeprefix(PROFILE) if format.startswith(PROFILE) else format]
    sha256 = hashlib.sha256(content).hexdigest()
    chosen: str | None = None
    media_type = "application/octet-stream"
    try:
        if len(content) > CONTENT_BYTES_MAX:
            detail = f"{len(content)} bytes, at most {CONTENT_BYTES_MAX} are read"
            raise _refused_whole(RefusalReason.TOO_LARGE, filename, detail)
        if not content.strip():
            raise _refused_whole(RefusalReason.EMPTY, filename, "the file is empty")
        chosen = _detect(content, known, filename) if format == "auto" else format
        reader, media_type = _reader(chosen, content, known)
        statements = checked(reader(content, filename=filename, zone=zone), today=today)
        if not statements:
            raise _refused_whole(RefusalReason.EMPTY, filename, "the file holds no statement")
    except Refused as error:
        return FileRefused(format=chosen, media_type=media_type, sha256=sha256, refusals=error.refusals)
    return StatementFile(format=chosen, media_type=media_type, sha256=sha256, statements=statements)


def format_names(profiles: Mapping[str, Profile]) -> str:
    """Every format there is, for people."""
    return ", ".join([*FORMATS, *(f"{PROFILE}{name}" for name in profiles)])


def _reader(name: str, content: bytes, profiles: Mapping[str, Profile]) -> tuple[ReadFormat, str]:
    """What reads a format, and the media type of these bytes in it."""
    if name.startswith(PROFILE):
        reader = partial(csv_profile.read, profile=profiles[name.removeprefix(PROFILE)])
        return reader, _XLSX_MEDIA_TYPE if is_xlsx(content) else "text/csv"
    return FORMATS[name].read, FORMATS[name].media_type


def _detect(content: bytes, profiles: Mapping[str, Profile], filename: str) -> str:
    """The format of the bytes. A table's header comes before what any line of its texts may look like."""
    alike = [name for name, known in FORMATS.items() if known.looks_like(content)]
    if alike and FORMATS[alike[0]].anchored:
        return alike[0]
    fitting = [name for name, profile in profiles.items() if csv_profile.fits(content, profile)]
    if len(fitting) == 1:
        return f"{PROFILE}{fitting[0]}"
    if len(fitting) > 1:
        detail = f"the header fits several profiles, say which: {', '.join(f'{PROFILE}{name}' for name in fitting)}"
        raise _refused_whole(RefusalReason.UNKNOWN_FORMAT, filename, detail)
    if alike:
        return alike[0]
    detail = f"none of the formats this program reads: {format_names(profiles)}"
    if not profiles:
        detail += "; CSV and XLSX files need a profile in [statement_profiles]"
    raise _refused_whole(RefusalReason.UNKNOWN_FORMAT, filename, detail)


def _refused_whole(reason: RefusalReason, filename: str, detail: str) -> Refused:
    return Refused(Refusal(reason=reason, where=filename, field=None, detail=detail))
