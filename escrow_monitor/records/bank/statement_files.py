"""The files of statements that were received: each is taken whole or refused whole."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement
from escrow_monitor.records.accounts import accounts, lock_states, save_accounts
from escrow_monitor.records.bank.fitting import Received, judge
from escrow_monitor.records.bank.refusals import refusal_json, refusal_of
from escrow_monitor.records.bank.statements import record_taken
from escrow_monitor.records.bulk import Reader, as_json, from_json, run
from escrow_monitor.records.columns import Row, large
from escrow_monitor.records.documents import keep_documents
from escrow_monitor.records.evidence import audit


class FileResult(StrEnum):
    """What became of a file."""

    LOADED = "loaded"
    ALREADY_LOADED = "already_loaded"
    REFUSED = "refused"


class StatementFileRow(Row, table=True):
    """One file that was received, by its bytes. `outcome` is loaded or refused."""

    __tablename__ = "statement_files"
    __table_args__ = (CheckConstraint("outcome IN ('loaded', 'refused')", "outcome"),)

    sha256: str = Field(primary_key=True)
    source: str
    format: str | None = None
    outcome: str
    statements: int = large(default=0)
    entries: int = large(default=0)
    refusals: str = "[]"
    recorded_at: datetime = Field(index=True)
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Make the accounts that a file names and we do not know: at this bank, in the file's currency, nobody's yet."""

    bank: str
    connector: str = "statement_folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """What became of a file. `statements` and `entries` count what was new; `registered` the accounts made for it.

    `corrected` days were stated otherwise before; `superseded` statements had been corrected before they came again,
    and have no effect.
    """

    result: FileResult
    sha256: str
    statements: int = 0
    entries: int = 0
    corrected: int = 0
    superseded: int = 0
    registered: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFile:
    """A file as it was recorded."""

    sha256: str
    source: str
    format: str | None
    result: FileResult
    statements: int
    entries: int
    refusals: tuple[Refusal, ...]
    recorded_at: datetime
    changed_at: datetime


def record_file(
    session: Session, *, sha256: str, content: bytes, media_type: str, source: str, format: str | None,
    statements: Sequence[Statement], now: datetime, register: Registration | None = None,
    zone: ZoneInfo = ZONE, actor: str | None = None,
) -> FileOutcome:
    """Take a file of statements whole, or refuse it whole; its bytes and the reason are kept either way.

    `actor` is who handed it in, where that is not its source.

    Refused: an account we do not know (unless `register`), another currency, sums that do not tie, an opening that is
    not the closing before, another figure for a day that another source stated (its own source corrects it). The bytes
    of a loaded file have no second effect; those of a refused one are judged anew, for what was missing may have come.
    """
    known_file = _known_file(session, sha256)
    if known_file is not None and known_file[0] is FileResult.LOADED:
        return FileOutcome(result=FileResult.ALREADY_LOADED, sha256=sha256)
    account_nos = sorted({item.account_no for item in statements})
    lock_states(session, account_nos, booked=account_nos)
    known = {item.account_no: item for item in accounts(session, account_nos=account_nos)}
    new = _registered(statements, known, register)
    received_at = None if known_file is None else known_file[1]
    received = [
        Received(statement=item, source=source, raw_sha256=sha256, received_at=received_at) for item in statements
    ]
    judged = judge(session, received, {**known, **new})
    refusals = [refusal for found in judged.refusals.values() for refusal in found]
    if refusals:
        return refuse_file(
            session, sha256=sha256, content=content, media_type=media_type, source=source, format=format,
            refusals=refusals, now=now, actor=actor,
        )
    save_accounts(session, new.values(), now=now)
    entries = record_taken(session, judged.taken, now=now, zone=zone)
    keep_documents(session, [(sha256, content, media_type)], now=now)
    loaded = FileOutcome(
        result=FileResult.LOADED, sha256=sha256, statements=len(judged.taken), entries=entries, registered=tuple(new),
        corrected=sum(len(item.corrected) for item in judged.taken), superseded=len(judged.superseded),
    )
    _note_file(session, loaded, source=source, format=format, now=now, actor=actor)
    return loaded


def refuse_file(
    session: Session, *, sha256: str, content: bytes, media_type: str, source: str, format: str | None,
    refusals: Sequence[Refusal], now: datetime, actor: str | None = None,
) -> FileOutcome:
    """Keep a file that could not be taken, and why. One that was loaded before stays loaded."""
    keep_documents(session, [(sha256, content, media_type)], now=now)
    refused = FileOutcome(result=FileResult.REFUSED, sha256=sha256, refusals=tuple(refusals))
    _note_file(session, refused, source=source, format=format, now=now, actor=actor)
    return refused


def files(session: Session, *, limit: int = 50) -> list[StatementFile]:
    """The files received last, newest first."""
    return _read(session, f"SELECT {_ALL} FROM statement_files ORDER BY recorded_at DESC, sha256 LIMIT :limit",
                 limit=limit)


def files_by_hash(session: Session, hashes: Sequence[str]) -> dict[str, StatementFile]:
    """These files, by their SHA-256."""
    found = _read(
        session, f"SELECT {_ALL} FROM statement_files WHERE sha256 IN EACH(:hashes)", hashes=sorted(set(hashes))
    )
    return {one.sha256: one for one in found}


_ALL = "sha256, source, format, outcome, statements, entries, refusals, recorded_at, changed_at"


def _read(session: Session, sql: str, **given: int | Sequence[str]) -> list[StatementFile]:
    reader = Reader(session)
    return [
        StatementFile(
            sha256=row[0], source=row[1], format=row[2], result=FileResult(row[3]), statements=row[4], entries=row[5],
            refusals=tuple(map(refusal_of, from_json(row[6]))),
            recorded_at=reader.at(row[7]), changed_at=reader.at(row[8]),
        )
        for row in run(session, sql, **given)
    ]


def settled_files(session: Session) -> set[str]:
    """The SHA-256 of files that need not be read again: loaded, or refused for what only other bytes could mend.

    One refused for an account that nobody had registered, or that did not join what is stored, may fit later.
    """
    rows = run(session, "SELECT sha256, outcome, refusals FROM statement_files")
    return {
        sha256 for sha256, outcome, refusals in rows
        if outcome == FileResult.LOADED.value or not _may_fit_later(refusals)
    }


def _may_fit_later(refusals: str) -> bool:
    """Whether anything a file was refused for could be mended without other bytes."""
    return any(kept["reason"] in _MAY_FIT_LATER for kept in from_json(refusals))


_MAY_FIT_LATER = (
    RefusalReason.UNKNOWN_ACCOUNT, RefusalReason.DOES_NOT_CHAIN, RefusalReason.CONTRADICTS,
    RefusalReason.DATED_IN_FUTURE,
)


def _registered(
    statements: Iterable[Statement], known: Mapping[str, Account], register: Registration | None
) -> dict[str, Account]:
    if register is None:
        return {}
    return {
        item.account_no: Account(
            account_no=item.account_no, bank=register.bank, connector=register.connector, currency=item.currency
        )
        for item in statements if item.account_no not in known
    }


def _known_file(session: Session, sha256: str) -> tuple[FileResult, datetime] | None:
    """What became of these bytes when they came last, and when they came first."""
    row = run(
        session, "SELECT outcome, recorded_at FROM statement_files WHERE sha256 = :sha256", sha256=sha256
    ).first()
    return None if row is None else (FileResult(row[0]), Reader(session).at(row[1]))


def _note_file(
    session: Session, outcome: FileOutcome, *, source: str, format: str | None, now: datetime, actor: str | None
) -> None:
    """Note what became of a file, in the audit chain too unless it is what became of it before. Takes the chain's lock:
    come last."""
    refusals = as_json([refusal_json(refusal) for refusal in outcome.refusals])
    before = run(
        session, "SELECT outcome, refusals FROM statement_files WHERE sha256 = :sha256", sha256=outcome.sha256
    ).first()
    run(
        session,
        "INSERT INTO statement_files"
        " (sha256, source, format, outcome, statements, entries, refusals, recorded_at, changed_at)"
        " VALUES (:sha256, :source, :format, :outcome, :statements, :entries, :refusals, :now, :now)"
        " ON CONFLICT (sha256) DO UPDATE SET source = excluded.source, format = excluded.format,"
        " outcome = excluded.outcome, statements = excluded.statements, entries = excluded.entries,"
        " refusals = excluded.refusals, changed_at = excluded.changed_at WHERE statement_files.outcome = 'refused'",
        sha256=outcome.sha256, source=source, format=format, outcome=outcome.result.value,
        statements=outcome.statements, entries=outcome.entries,
        refusals=refusals, now=now,
    )
    is_loaded = before is not None and before[0] == FileResult.LOADED.value
    if not is_loaded and (before is None or tuple(before) != (outcome.result.value, refusals)):
        by = actor or audit.source_actor(source)
        audit.append(session, kind=f"statements.{outcome.result.value}", actor=by, now=now, payload={
            "sha256": outcome.sha256, "format": format, "statements": outcome.statements, "entries": outcome.entries,
            "corrected": outcome.corrected, "superseded": outcome.superseded, "registered": len(outcome.registered),
            "refused_for": sorted({refusal.reason.value for refusal in outcome.refusals}),
        })
