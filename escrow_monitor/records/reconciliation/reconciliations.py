"""What reconciliations came to: one row a run with its lines, the newest of each institution, and those asked for.

    reconciliations        one institution, currency and day, as it came out at `recorded_at`; never changed after
    reconciliation_states  the newest of each institution and currency, on what facts it rests, when to look again
    asked_reconciliations  what a person asked for, and how far it is

A run that comes out as the last one of its day did is no new row: it is confirmed.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, Session

from escrow_monitor.domain.bridge import BREAKS, Reconciliation
from escrow_monitor.domain.bridge_words import Label
from escrow_monitor.domain.findings import institution_subject
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.alerts.book import WAITS_TO_BE_SEEN_AGAIN
from escrow_monitor.records.bulk import Reader, as_json, fetch, from_json, insert, run, staged
from escrow_monitor.records.columns import Row, exact, fen, large, one_of
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.visible import conditions


class ReconciliationRow(Row, table=True):
    """One institution in one currency at the end of a day, as it came out. `document` is all of it as JSON."""

    __tablename__ = "reconciliations"
    __table_args__ = (
        *(CheckConstraint(exact(column), column) for column in ("required_fen", "own_fen", "bank_fen", "net_fen")),
        Index(None, "uscc", "currency", "day", "recon_no"),
    )

    recon_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    uscc: str
    currency: str
    day: date
    required_fen: int = fen()
    own_fen: int = fen()
    bank_fen: int = fen()
    net_fen: int = fen()
    residual_fen: int = fen()
    complete: bool
    document: str
    digest: str
    actor: str
    started_at: datetime
    recorded_at: datetime
    confirmed_at: datetime


class ReconciliationLineRow(Row, table=True):
    """One line of a bridge."""

    __tablename__ = "reconciliation_lines"
    __table_args__ = (
        CheckConstraint(one_of("label", Label), "label"), CheckConstraint(exact("impact_fen"), "impact_fen"),
        {"sqlite_with_rowid": False},
    )

    recon_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    label: str = Field(primary_key=True)
    impact_fen: int = fen()
    items: int = large()
    oldest_on: date | None = None


class ReconciliationStateRow(Row, table=True):
    """The newest reconciliation of an institution in a currency.

    `facts` names what it rests on: where it is another now, or the time to look again has come, it is due. `breaks` is
    how many items are in lines that should not be there.
    """

    __tablename__ = "reconciliation_states"
    __table_args__ = (
        # For who counts them at every scrape: nearly all have none.
        Index(
            "ix_reconciliation_states_breaks", "breaks", sqlite_where=text("breaks > 0"),
            postgresql_where=text("breaks > 0"),
        ),
        {"sqlite_with_rowid": False},
    )

    uscc: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    recon_no: int = large()
    day: date
    breaks: int = large()
    facts: str
    policy_version: str
    recheck_at: datetime
    checked_at: datetime


class AskedState(StrEnum):
    """How far what a person asked for is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class AskedReconciliationRow(Row, table=True):
    """A reconciliation that a person asked for. `uscc` None: of every institution; `day` None: the newest."""

    __tablename__ = "asked_reconciliations"
    __table_args__ = (
        CheckConstraint(one_of("state", AskedState), "state"), Index(None, "state", "asked_at"),
    )

    request_id: str = Field(primary_key=True)
    actor: str
    asked_at: datetime
    uscc: str | None = None
    day: date | None = None
    whole: bool = False
    state: str = AskedState.WAITING.value
    done: int = large(default=0)
    total: int | None = large(default=None)
    started_at: datetime | None = None
    touched_at: datetime | None = None
    finished_at: datetime | None = None
    found: str = "{}"
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReconciliation:
    """One run as it was recorded. `document` is `Reconciliation.as_json`; `confirmed_at` when it last came out so."""

    recon_no: int
    uscc: str
    currency: str
    day: date
    complete: bool
    document: Mapping[str, Any]
    actor: str
    started_at: datetime
    recorded_at: datetime
    confirmed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedReconciliation:
    """What a person asked for, and how far it is: `done` of `total` institutions, `found` when it is done."""

    request_id: str
    actor: str
    asked_at: datetime
    uscc: str | None
    day: date | None
    whole: bool
    state: AskedState
    done: int = 0
    total: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    found: Mapping[str, Any] | None = None
    problem: str | None = None


# what is due


def facts_of(session: Session, usccs: Collection[str] | None = None) -> dict[str, str]:
    """What the reconciliation of each institution with contracts rests on, in one word: another one, and it is due.

    Without `usccs` all; with them also those without contracts.
    """
    given: dict[str, list[str]] = {} if usccs is None else {"usccs": sorted(usccs)}
    source = (
        "SELECT h.uscc FROM institutions h WHERE EXISTS"
        " (SELECT 1 FROM institution_obligations o WHERE o.uscc = h.uscc)" if usccs is None
        else "SELECT uscc FROM institutions WHERE uscc IN EACH(:usccs)"
    )
    rows = fetch(
        session,
        "SELECT i.uscc, coalesce(k.version, 0), count(s.account_no),"
        f" coalesce(sum(s.input_version - s.balance_moves), 0) FROM ({source}) i"
        " LEFT JOIN reconciliation_marks k ON k.uscc = i.uscc LEFT JOIN accounts a ON a.uscc = i.uscc"
        " LEFT JOIN account_states s ON s.account_no = a.account_no GROUP BY i.uscc, k.version", **given,
    )
    return {uscc: f"{version}.{count}.{int(total)}" for uscc, version, count, total in rows}


def due_institutions(
    session: Session, facts: Mapping[str, str], *, policy_version: str, now: datetime
) -> list[str]:
    """Those of these institutions of which something is new, whose time has come, or of which an alert waits to open or
    to end."""
    at = Reader(session).at
    fresh = {
        uscc for uscc, known, version, recheck_at in fetch(
            session,
            "SELECT uscc, min(facts), min(policy_version), min(recheck_at) FROM reconciliation_states GROUP BY uscc",
        )
        if known == facts.get(uscc) and version == policy_version and at(recheck_at) > now
    }
    begins = institution_subject("")
    waiting = {subject.removeprefix(begins) for (subject,) in fetch(
        session, f"SELECT subject FROM alerts WHERE {WAITS_TO_BE_SEEN_AGAIN} AND subject LIKE '{begins}%'"
    )}
    return sorted((set(facts) - fresh) | (waiting & set(facts)))


# what came of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A reconciliation that is to be kept, on what it rests, and when time alone changes it."""

    reconciliation: Reconciliation
    facts: str
    recheck_at: datetime


def save_results(
    session: Session, results: Sequence[Result], *, actor: str, policy_version: str, started_at: datetime,
    now: datetime, moves_states: bool = True,
) -> list[int]:
    """Keep what came out; return the number of each. What came out as the last time of that day is only confirmed.

    `moves_states` False: of a day that was asked for, which is nobody's newest.
    """
    audit.lock_chain(session)
    known = _newest_of_days(session, [one.reconciliation for one in results])
    next_no = int(run(session, "SELECT coalesce(max(recon_no), 0) FROM reconciliations").scalar_one()) + 1
    numbers, fresh, confirmed = [], [], []
    for result in results:
        one = result.reconciliation
        # In the order of meaning, which is always the same.
        document = json.dumps(one.as_json(), ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(document.encode()).hexdigest()
        number, before = known.get((one.uscc, one.currency, one.on), (0, ""))
        if before == digest:
            confirmed.append(number)
        else:
            number, next_no = next_no, next_no + 1
            fresh.append((number, one, document, digest))
        numbers.append(number)
    _insert(session, fresh, actor=actor, started_at=started_at, now=now)
    if confirmed:
        run(
            session, "UPDATE reconciliations SET confirmed_at = :now WHERE CAST(recon_no AS text) IN EACH(:numbers)",
            now=now, numbers=list(map(str, confirmed)),
        )
    if moves_states:
        _move_states(session, results, numbers, policy_version=policy_version, now=now)
    return numbers


def _newest_of_days(
    session: Session, asked: Sequence[Reconciliation]
) -> dict[tuple[str, str, date], tuple[int, str]]:
    on = Reader(session).on
    rows = sorted({(one.uscc, one.currency, one.on) for one in asked})
    with staged(session, "asked_days", {"uscc": str, "currency": str, "day": date}, rows):
        found = fetch(
            session,
            "SELECT r.uscc, r.currency, r.day, r.recon_no, r.digest FROM asked_days a JOIN reconciliations r"
            " ON r.uscc = a.uscc AND r.currency = a.currency AND r.day = a.day ORDER BY r.recon_no",
        )
    return {(uscc, currency, on(day)): (number, digest) for uscc, currency, day, number, digest in found}


_COLUMNS = {
    "recon_no": int, "uscc": str, "currency": str, "day": date, "required_fen": int, "own_fen": int, "bank_fen": int,
    "net_fen": int, "residual_fen": int, "complete": bool, "document": str, "digest": str, "actor": str,
    "started_at": datetime, "recorded_at": datetime, "confirmed_at": datetime,
}
_LINES = {"recon_no": int, "label": str, "impact_fen": int, "items": int, "oldest_on": date}


def _insert(
    session: Session, fresh: Sequence[tuple[int, Reconciliation, str, str]], *, actor: str, started_at: datetime,
    now: datetime,
) -> None:
    insert(session, "reconciliations", _COLUMNS, (
        (
            number, one.uscc, one.currency, one.on, one.required.minor_units, one.own.minor_units,
            one.bank.minor_units, one.net.minor_units, one.residual.minor_units, one.complete, document, digest, actor,
            started_at, now, now,
        )
        for number, one, document, digest in fresh
    ))
    insert(session, "reconciliation_lines", _LINES, (
        (number, line.label.value, line.impact.minor_units, line.count, line.oldest_on)
        for number, one, _, _ in fresh for line in one.lines
    ))
    audit.append_many(session, [
        audit.AuditEntry(kind="reconciliation.recorded", actor=actor, payload={
            "recon_no": number, "uscc": one.uscc, "currency": one.currency, "day": one.on.isoformat(),
            "net_fen": one.net.minor_units, "residual_fen": one.residual.minor_units,
            "complete": "yes" if one.complete else "no", "sha256": digest,
        })
        for number, one, _, digest in fresh
    ], now=now)


def _move_states(
    session: Session, results: Sequence[Result], numbers: Sequence[int], *, policy_version: str, now: datetime
) -> None:
    columns = {
        "uscc": str, "currency": str, "recon_no": int, "day": date, "breaks": int, "facts": str,
        "policy_version": str, "recheck_at": datetime, "checked_at": datetime,
    }
    names = ", ".join(columns)
    rows = (
        (
            one.reconciliation.uscc, one.reconciliation.currency, number, one.reconciliation.on,
            sum(line.count for line in one.reconciliation.lines if line.label in BREAKS), one.facts, policy_version,
            one.recheck_at, now,
        )
        for one, number in zip(results, numbers, strict=True)
    )
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in ("uscc", "currency"))
    with staged(session, "moved_states", columns, rows):
        run(
            session,
            f"INSERT INTO reconciliation_states ({names}) SELECT {names} FROM moved_states WHERE true"
            f" ON CONFLICT (uscc, currency) DO UPDATE SET {sets} WHERE reconciliation_states.day <= excluded.day",
        )


_STORED = (
    "r.recon_no, r.uscc, r.currency, r.day, r.complete, r.document, r.actor, r.started_at, r.recorded_at,"
    " r.confirmed_at"
)


def newest(
    session: Session, uscc: str | None = None, *, after: tuple[str, str] = ("", ""), limit: int = 1_000,
    visible: Visible = EVERYTHING,
) -> list[StoredReconciliation]:
    """The newest reconciliation of each institution (or of one) and currency, by these two; those after `after`."""
    where = "s.uscc = :uscc" if uscc is not None else "(s.uscc, s.currency) > (:after, :currency)"
    given = {"uscc": uscc} if uscc is not None else {"after": after[0], "currency": after[1]}
    seen, values = conditions(visible, uscc="s.uscc")
    where = " AND ".join([where, *seen])
    return _stored(session, fetch(
        session,
        f"SELECT {_STORED} FROM reconciliation_states s JOIN reconciliations r ON r.recon_no = s.recon_no"
        f" WHERE {where} ORDER BY s.uscc, s.currency LIMIT :limit", limit=limit, **given, **values,
    ))


def by_numbers(session: Session, numbers: Sequence[int]) -> list[StoredReconciliation]:
    """These reconciliations, by institution."""
    return _stored(session, fetch(
        session,
        f"SELECT {_STORED} FROM reconciliations r WHERE CAST(r.recon_no AS text) IN EACH(:numbers)"
        " ORDER BY r.uscc, r.currency", numbers=list(map(str, numbers)),
    ))


def history(session: Session, uscc: str, *, limit: int = 100) -> list[StoredReconciliation]:
    """What came out for an institution, newest first: of one day several times where it came out otherwise."""
    return _stored(session, fetch(
        session, f"SELECT {_STORED} FROM reconciliations r WHERE r.uscc = :uscc ORDER BY r.recon_no DESC LIMIT :limit",
        uscc=uscc, limit=limit,
    ))


def breaks_by_label(session: Session) -> dict[str, int]:
    """How many items of the newest reconciliations are in each kind of line that should not be there."""
    rows = fetch(
        session,
        "SELECT l.label, sum(l.items) FROM reconciliation_states s JOIN reconciliation_lines l"
        " ON l.recon_no = s.recon_no AND l.label IN EACH(:labels) WHERE s.breaks > 0 GROUP BY l.label",
        labels=sorted(BREAKS),
    )
    return {label: int(items) for label, items in rows}


def _stored(session: Session, rows: Sequence[Sequence[Any]]) -> list[StoredReconciliation]:
    reader = Reader(session)
    return [
        StoredReconciliation(
            recon_no=row[0], uscc=row[1], currency=row[2], day=reader.on(row[3]), complete=bool(row[4]),
            document=from_json(row[5]), actor=row[6], started_at=reader.at(row[7]), recorded_at=reader.at(row[8]),
            confirmed_at=reader.at(row[9]),
        )
        for row in rows
    ]


# what people ask for

ABANDONED_AFTER = timedelta(minutes=2)
"""What runs says every so often that it does; after so long without a word somebody else takes it up."""


def ask(
    session: Session, *, request_id: str, actor: str, uscc: str | None, day: date | None, whole: bool, now: datetime
) -> AskedReconciliation:
    """Note that a person asks for a reconciliation."""
    run(
        session,
        "INSERT INTO asked_reconciliations (request_id, actor, asked_at, uscc, day, whole, state, done, found)"
        " VALUES (:request_id, :actor, :now, :uscc, :day, :whole, 'waiting', 0, '{}')",
        request_id=request_id, actor=actor, now=now, uscc=uscc, day=day, whole=whole,
    )
    audit.append(session, kind="reconciliation.asked", actor=actor, now=now, payload={
        "request_id": request_id, "uscc": uscc, "day": None if day is None else day.isoformat(),
        "full": "yes" if whole else "no",
    })
    made = asked(session, request_id)
    assert made is not None, "it was just written"  # noqa: S101 - the row is there
    return made


def asked(session: Session, request_id: str) -> AskedReconciliation | None:
    """What was asked for under this id."""
    row = run(
        session,
        "SELECT request_id, actor, asked_at, uscc, day, whole, state, done, total, started_at, finished_at, found,"
        " problem FROM asked_reconciliations WHERE request_id = :request_id", request_id=request_id,
    ).first()
    if row is None:
        return None
    reader = Reader(session)
    return AskedReconciliation(
        request_id=row[0], actor=row[1], asked_at=reader.at(row[2]), uscc=row[3], day=reader.day(row[4]),
        whole=bool(row[5]), state=AskedState(row[6]), done=row[7], total=row[8], started_at=reader.instant(row[9]),
        finished_at=reader.instant(row[10]), found=from_json(row[11]), problem=row[12],
    )


def claim(session: Session, request_id: str, *, now: datetime) -> bool:
    """Take up what waits, or what nobody has said a word of for long; False if another does it or it is done."""
    return run(
        session,
        "UPDATE asked_reconciliations SET state = 'running', started_at = coalesce(started_at, :now), touched_at = :now"
        " WHERE request_id = :request_id AND (state = 'waiting' OR (state = 'running' AND touched_at < :before))",
        request_id=request_id, now=now, before=now - ABANDONED_AFTER,
    ).rowcount == 1


def abandoned(session: Session, *, now: datetime) -> list[str]:
    """What was asked for and nobody does: it waited too long, or whoever did it is silent."""
    return [key for (key,) in fetch(
        session,
        "SELECT request_id FROM asked_reconciliations WHERE (state = 'waiting' AND asked_at < :before)"
        " OR (state = 'running' AND touched_at < :before) ORDER BY asked_at, request_id", before=now - ABANDONED_AFTER,
    )]


def progressed(session: Session, request_id: str, *, done: int, total: int | None, now: datetime) -> None:
    """Say how far it is."""
    run(
        session, "UPDATE asked_reconciliations SET done = :done, total = :total, touched_at = :now"
        " WHERE request_id = :request_id AND state = 'running'",
        done=done, total=total, now=now, request_id=request_id,
    )


def finish(
    session: Session, request_id: str, *, found: Mapping[str, object] | None, problem: str | None, now: datetime
) -> None:
    """Say that it is done, or why it could not be."""
    run(
        session,
        "UPDATE asked_reconciliations SET state = :state, found = :found, problem = :problem, finished_at = :now"
        " WHERE request_id = :request_id",
        state=AskedState.DONE.value if problem is None else AskedState.FAILED.value, found=as_json(found or {}),
        problem=problem, now=now, request_id=request_id,
    )
