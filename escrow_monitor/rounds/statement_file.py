"""One statement file, from its bytes to the records or to its refusal: the path that rounds and people share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from escrow_monitor.banks.formats import FORMATS, FileRefused, read_statements
from escrow_monitor.domain.statements import Refusal, RefusalReason
from escrow_monitor.errors import UsageError
from escrow_monitor.records.database import Database
from escrow_monitor.records.statement_files import FileResult, Registration, record_file, refuse_file


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLoaded:
    """What became of a file. `refusals` empty: it is in the records, now or since before (`already`)."""

    sha256: str
    format: str | None
    statements: int = 0
    entries: int = 0
    accounts_registered: int = 0
    already: bool = False
    refusals: tuple[Refusal, ...] = ()

    @property
    def loaded(self) -> bool:
        """Whether it is in the records."""
        return not self.refusals

    def word(self, language: str) -> str:
        """One line for people."""
        if self.already:
            return "已载入过,未作任何更改" if language == "zh" else "already loaded, nothing changed"
        if language == "zh":
            return (
                f"已载入 {self.format}:对账单 {self.statements} 份,分录 {self.entries} 条,"
                f"新登记账户 {self.accounts_registered} 个"
            )
        return (
            f"loaded as {self.format}: {self.statements} statements, {self.entries} entries, "
            f"{self.accounts_registered} accounts registered"
        )

    def as_json(self) -> dict[str, object]:
        """The outcome as a JSON object."""
        return {
            "sha256": self.sha256,
            "format": self.format,
            "loaded": self.loaded,
            "already": self.already,
            "statements": self.statements,
            "entries": self.entries,
            "accounts_registered": self.accounts_registered,
            "refusals": [
                {"reason": r.reason.value, "where": r.where, "field": r.field, "detail": r.detail}
                for r in self.refusals
            ],
        }


def load_file(
    database: Database,
    *,
    content: bytes,
    filename: str,
    source: str,
    zone: ZoneInfo,
    now: datetime,
    registration: Registration | None = None,
    format: str = "auto",
    only_account: str | None = None,
) -> FileLoaded:
    """Read, check and record one file, whole or not at all. The bytes are kept either way."""
    try:
        read = read_statements(content, filename=filename, format=format, zone=zone, today=now.astimezone(zone).date())
    except KeyError:
        raise UsageError(f"there is no format {format!r}; choose auto, {', '.join(FORMATS)}") from None
    if not isinstance(read, FileRefused) and only_account is not None:
        strangers = sorted({one.account_no for one in read.statements} - {only_account})
        if strangers:
            read = FileRefused(
                format=read.format,
                media_type=read.media_type,
                sha256=read.sha256,
                refusals=(
                    Refusal(
                        reason=RefusalReason.WRONG_ACCOUNT,
                        where=filename,
                        field="account",
                        detail=f"speaks of another account than the one asked for ({len(strangers)} other)",
                    ),
                ),
            )
    if isinstance(read, FileRefused):
        with database.write() as session:
            refuse_file(
                session,
                sha256=read.sha256,
                content=content,
                media_type=read.media_type,
                source=source,
                format=read.format,
                refusals=read.refusals,
                now=now,
            )
        return FileLoaded(sha256=read.sha256, format=read.format, refusals=read.refusals)
    with database.write() as session:
        outcome = record_file(
            session,
            sha256=read.sha256,
            content=content,
            media_type=read.media_type,
            source=source,
            format=read.format,
            statements=read.statements,
            now=now,
            register=registration,
            zone=zone,
        )
    return FileLoaded(
        sha256=read.sha256,
        format=read.format,
        statements=outcome.statements,
        entries=outcome.entries,
        accounts_registered=len(outcome.registered),
        already=outcome.result is FileResult.ALREADY_LOADED,
        refusals=outcome.refusals,
    )
