"""One statement file, from its bytes to the records or to its refusal: the path that rounds and people share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from escrow_monitor.banks.formats import FileRefused, format_names, read_statements
from escrow_monitor.banks.formats.csv_profile import Profile
from escrow_monitor.domain.statements import Refusal, RefusalReason
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bank.statement_files import FileResult, Registration, record_file, refuse_file
from escrow_monitor.records.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLoaded:
    """What became of a file. `refusals` empty: it is in the records, now or since before (`already`).

    `corrected` days had been stated otherwise; `superseded` statements were corrected before they came, so they change
    nothing.
    """

    sha256: str
    format: str | None
    statements: int = 0
    entries: int = 0
    accounts_registered: int = 0
    corrected: int = 0
    superseded: int = 0
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
                + (f",更正 {self.corrected} 天" if self.corrected else "")
                + (f",{self.superseded} 份早已被更正,不再生效" if self.superseded else "")
            )
        return (
            f"loaded as {self.format}: {self.statements} statements, {self.entries} entries, "
            f"{self.accounts_registered} accounts registered"
            + (f", {self.corrected} days corrected" if self.corrected else "")
            + (f", {self.superseded} statements without effect: they were corrected since" if self.superseded else "")
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
            "corrected": self.corrected,
            "superseded": self.superseded,
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
    profiles: Mapping[str, Profile] | None = None,
    only_account: str | None = None,
    actor: str | None = None,
) -> FileLoaded:
    """Read, check and record one file, whole or not at all. The bytes are kept either way.

    `actor` is who handed it in, where that is not its source.
    """
    try:
        read = read_statements(
            content,
            filename=filename,
            format=format,
            zone=zone,
            today=now.astimezone(zone).date(),
            profiles=profiles,
        )
    except KeyError:
        raise UsageError(f"there is no format {format!r}; choose auto, {format_names(profiles or {})}") from None
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
                actor=actor,
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
            actor=actor,
        )
    return FileLoaded(
        sha256=read.sha256,
        format=read.format,
        statements=outcome.statements,
        entries=outcome.entries,
        accounts_registered=len(outcome.registered),
        corrected=outcome.corrected,
        superseded=outcome.superseded,
        already=outcome.result is FileResult.ALREADY_LOADED,
        refusals=outcome.refusals,
    )
