"""The statements that were taken, with their entries.

    statement   opening 100.00 on the 3rd   +30.00   -50.00   closing 80.00 on the 4th
    becomes     two covered days, two entries, one month's credits and debits, one final closing balance
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Refusal, Statement, StatementKind
from escrow_monitor.records.accounts import accounts, lock_states
from escrow_monitor.records.bulk import Reader, as_json, run, staged
from escrow_monitor.records.columns import Row, exact, fen, large, one_of
from escrow_monitor.records.coverage import fill_gaps, move_coverage, note_missing
from escrow_monitor.records.days import COUNTS, cover_days, sum_up
from escrow_monitor.records.fitting import Received, Taken, judge, span_of
from escrow_monitor.records.readings import record_readings

"""Where a bank's day ends when nobody says otherwise."""


class StatementRow(Row, table=True):
    """One statement that was taken. Its id is a hash of its figures, so the same one is the same row."""

    __tablename__ = "statements"
    __table_args__ = (CheckConstraint(one_of("kind", StatementKind), "kind"), Index(None, "account_no", "covers_to"))

    statement_id: str = Field(primary_key=True)
    account_no: str
    kind: str
    number: str
    opening_fen: int | None = fen(default=None)
    opening_on: date | None = None
    closing_fen: int | None = fen(default=None)
    closing_on: date | None = None
    covers_from: date | None = None
    covers_to: date | None = None
    entries: int = large()
    source: str
    place: str
    raw_sha256: str | None = None
    recorded_at: datetime


class EntryRow(Row, table=True):
    """One booked movement. `final`: an end-of-day statement says it; only those count on covered days."""

    __tablename__ = "entries"
    __table_args__ = (CheckConstraint(exact("amount_fen"), "amount_fen"),)

    account_no: str = Field(primary_key=True)
    booked_on: date = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    amount_fen: int = fen()
    value_on: date | None = None
    bank_ref: str | None = None
    text: str = ""
    occurrence: int = large(default=1)
    reversal: bool = False
    counterparty_sha256: str | None = None
    final: bool
    statement_id: str
    recorded_at: datetime


def record_statements(
    session: Session, statements: Sequence[Statement], *, source: str, raw_sha256: str, now: datetime,
    zone: ZoneInfo = ZONE,
) -> list[Refusal]:
    """Take each statement that fits what is stored; return why the others were not taken."""
    lock_states(session, [item.account_no for item in statements])
    received = [Received(statement=item, source=source, raw_sha256=raw_sha256) for item in statements]
    _, refusals = record_received(session, received, now=now, zone=zone)
    return [refusal for found in refusals.values() for refusal in found]


def record_received(
    session: Session, received: Sequence[Received], *, now: datetime, zone: ZoneInfo
) -> tuple[int, dict[str, list[Refusal]]]:
    """Take each statement that fits, the accounts' states being held; return how many, and the refusals by account."""
    account_nos = sorted({item.statement.account_no for item in received})
    known = {item.account_no: item for item in accounts(session, account_nos=account_nos)}
    judged = judge(session, received, known)
    record_taken(session, judged.taken, now=now, zone=zone)
    return len(judged.taken), judged.refusals


def entries(
    session: Session, account_no: str, *, days_from: date | None = None, days_to: date | None = None, limit: int = 1_000
) -> list[Entry]:
    """The entries of an account that count, newest first."""
    reader = Reader(session)
    rows = run(
        session,
        "SELECT e.booked_on, e.amount_fen, a.currency, e.value_on, e.bank_ref, e.text, e.occurrence, e.reversal,"
        " e.counterparty_sha256 FROM entries e JOIN accounts a ON a.account_no = e.account_no"
        " LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on"
        f" WHERE e.account_no = :account_no AND e.booked_on BETWEEN :days_from AND :days_to AND {COUNTS}"
        " ORDER BY e.booked_on DESC, e.identity LIMIT :limit",
        account_no=account_no, days_from=days_from or date.min, days_to=days_to or date.max, limit=limit,
    )
    return [
        Entry(
            account_no=account_no, booked_on=reader.on(row[0]), amount=Money(row[1], row[2]),
            value_on=reader.day(row[3]), bank_ref=row[4], text=row[5], occurrence=row[6], reversal=bool(row[7]),
            counterparty_sha256=row[8],
        )
        for row in rows
    ]


# for the other tables of this room


def record_taken(session: Session, taken: Sequence[Taken], *, now: datetime, zone: ZoneInfo) -> int:
    """Keep what was judged to fit; return how many entries were new."""
    if not taken:
        return 0
    _insert_statements(session, taken, now)
    cover_days(session, taken)
    added = _insert_entries(session, taken, now)
    sum_up(session, taken)
    readings = [reading for item in taken for reading in _readings(item, now, zone)]
    record_readings(session, readings, now=now)
    note_missing(session, taken, now)
    fill_gaps(session, now)
    move_coverage(session, taken, readings)
    return added


_STATEMENT = {
    "statement_id": str, "account_no": str, "kind": str, "number": str, "opening_fen": int, "opening_on": date,
    "closing_fen": int, "closing_on": date, "covers_from": date, "covers_to": date, "entries": int, "source": str,
    "place": str, "raw_sha256": str, "recorded_at": datetime,
}
_ENTRY = {
    "account_no": str, "booked_on": date, "identity": str, "amount_fen": int, "value_on": date, "bank_ref": str,
    "text": str, "occurrence": int, "reversal": bool, "counterparty_sha256": str, "final": bool, "statement_id": str,
    "recorded_at": datetime,
}


def _insert_statements(session: Session, taken: Sequence[Taken], now: datetime) -> None:
    rows = {item.statement_id: _statement_cells(item, now) for item in taken}
    names = ", ".join(_STATEMENT)
    with staged(session, "incoming_statements", _STATEMENT, rows.values()):
        run(
            session,
            f"INSERT INTO statements ({names}) SELECT {names} FROM incoming_statements WHERE true"
            " ON CONFLICT (statement_id) DO NOTHING",
        )


def _statement_cells(item: Taken, now: datetime) -> tuple[object, ...]:
    statement = item.received.statement
    return (
        item.statement_id, statement.account_no, statement.kind.value, statement.number,
        None if statement.opening is None else statement.opening.minor_units, statement.opening_on,
        None if statement.closing is None else statement.closing.minor_units, statement.closing_on,
        statement.covers_from, statement.covers_to, len(statement.entries), item.received.source, statement.where,
        item.received.raw_sha256, now,
    )


def _insert_entries(session: Session, taken: Sequence[Taken], now: datetime) -> int:
    rows: dict[tuple[str, str], tuple[object, ...]] = {}
    for item in taken:
        final = item.received.statement.final
        for entry in item.entries:
            identity = _identity(entry)
            place = (entry.account_no, identity)
            if final or place not in rows:
                rows[place] = (
                    entry.account_no, entry.booked_on, identity, entry.amount.minor_units, entry.value_on,
                    entry.bank_ref, entry.text, entry.occurrence, entry.reversal, entry.counterparty_sha256, final,
                    item.statement_id, now,
                )
    names = ", ".join(_ENTRY)
    with staged(session, "incoming_entries", _ENTRY, rows.values()):
        return len(run(
            session,
            f"INSERT INTO entries ({names}) SELECT {names} FROM incoming_entries WHERE true"
            " ON CONFLICT (account_no, booked_on, identity) DO UPDATE SET final = true"
            " WHERE excluded.final AND NOT entries.final RETURNING account_no",
        ).all())


def _identity(entry: Entry) -> str:
    """Two sightings of one entry have the same; identical twins have not, by their occurrence."""
    account_no, booked_on, minor_units, bank_ref, text = entry.identity
    parts = [account_no, booked_on.isoformat(), minor_units, bank_ref, text, entry.occurrence]
    return hashlib.sha256(as_json(parts).encode()).hexdigest()


def _readings(item: Taken, now: datetime, zone: ZoneInfo) -> Iterator[Reading]:
    """The final closing balance that a statement states, as of the end of its last day at the bank."""
    statement = item.received.statement
    if statement.closing is None or not item.days:
        return
    day = max(item.days)
    if day != span_of(statement)[1]:
        return
    as_of = min(datetime.combine(day, time(23, 59, 59), zone).astimezone(UTC), now)
    for kind, amount in ((BalanceKind.BOOKED_CLOSING, statement.closing), (BalanceKind.AVAILABLE, statement.available)):
        if amount is not None:
            yield Reading(
                account_no=statement.account_no, kind=kind, amount=amount, on=day, as_of=as_of, fetched_at=now,
                final=kind is BalanceKind.BOOKED_CLOSING, source=item.received.source,
                raw_sha256=item.received.raw_sha256 or "",
            )
