"""The statements that were taken, with their entries: superseded ones stay, but no longer count.

    statement   opening 100.00 on the 3rd   +30.00   -50.00   closing 80.00 on the 4th
    becomes     two covered days, two entries, one month's credits and debits, one final closing balance
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.entry_links import EntryKey
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Refusal, Statement, StatementKind
from escrow_monitor.records.accounts import accounts, lock_states
from escrow_monitor.records.bank.breaks import refresh_breaks
from escrow_monitor.records.bank.corrections import audit_corrections, supersede_entries, supersede_statements
from escrow_monitor.records.bank.coverage import fill_gaps, move_coverage, note_missing
from escrow_monitor.records.bank.days import COUNTS, cover_days, note_news, reopen_days, stated_days, sum_up, touched
from escrow_monitor.records.bank.fitting import Received, Taken, accounted_on, identity_of, judge, span_of
from escrow_monitor.records.bank.links import link_entries
from escrow_monitor.records.bank.readings import record_readings
from escrow_monitor.records.bulk import Reader, run, staged
from escrow_monitor.records.closure_marks import mark_account_days
from escrow_monitor.records.columns import Row, exact, fen, large, one_of


class StatementRow(Row, table=True):
    """One statement that was taken. Its id is a hash of its figures, so the same one is the same row.

    `superseded_at`: by then each of its days had been stated otherwise, the last by the statement `superseded_by`.
    """

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
    superseded_at: datetime | None = None
    superseded_by: str | None = None


class EntryRow(Row, table=True):
    """One booked movement. `final`: an end-of-day statement says it; only those count on covered days.

    `accounted_on` is the day in whose figures that statement has it, mostly `booked_on`. From `superseded_at` on it
    counts no more: the correction `superseded_by` did not repeat it.
    """

    __tablename__ = "entries"
    __table_args__ = (
        CheckConstraint(exact("amount_fen"), "amount_fen"),
        # The other end of a link is looked for by its amount.
        Index(None, "account_no", "amount_fen", "booked_on"),
        Index(
            "ix_entries_reversal", "account_no", "booked_on", sqlite_where=text("reversal"),
            postgresql_where=text("reversal"),
        ),
    )

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
    counterparty_account_sha256: str | None = None
    final: bool
    statement_id: str
    recorded_at: datetime
    accounted_on: date | None = None
    superseded_at: datetime | None = None
    superseded_by: str | None = None


def record_statements(
    session: Session, statements: Sequence[Statement], *, source: str, raw_sha256: str, now: datetime,
    zone: ZoneInfo = ZONE,
) -> list[Refusal]:
    """Take each statement that fits what is stored; return why the others were not taken."""
    account_nos = [item.account_no for item in statements]
    lock_states(session, account_nos, booked=account_nos)
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
    found = stored_entries(session, account_no, days_from=days_from, days_to=days_to, limit=limit)
    return [entry for _, entry in found]


def stored_entries(
    session: Session, account_no: str, *, days_from: date | None = None, days_to: date | None = None,
    limit: int = 1_000, after: tuple[date, str] | None = None,
) -> list[tuple[EntryKey, Entry]]:
    """The same with the key that links know each by; those `after` the day and identity shown last."""
    reader = Reader(session)
    further = "" if after is None else (
        " AND (e.booked_on < :after_on OR (e.booked_on = :after_on AND e.identity > :after_identity))"
    )
    given: dict[str, Any] = {} if after is None else {"after_on": after[0], "after_identity": after[1]}
    rows = run(
        session,
        "SELECT e.booked_on, e.amount_fen, a.currency, e.value_on, e.bank_ref, e.text, e.occurrence, e.reversal,"
        " e.counterparty_sha256, e.counterparty_account_sha256, e.identity"
        " FROM entries e JOIN accounts a ON a.account_no = e.account_no"
        " LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on"
        f" WHERE e.account_no = :account_no AND e.booked_on BETWEEN :days_from AND :days_to AND {COUNTS}{further}"
        " ORDER BY e.booked_on DESC, e.identity LIMIT :limit",
        account_no=account_no, days_from=days_from or date.min, days_to=days_to or date.max, limit=limit, **given,
    )
    return [
        ((account_no, reader.on(row[0]), row[10]), Entry(
            account_no=account_no, booked_on=reader.on(row[0]), amount=Money(row[1], row[2]),
            value_on=reader.day(row[3]), bank_ref=row[4], text=row[5], occurrence=row[6], reversal=bool(row[7]),
            counterparty_sha256=row[8], counterparty_account_sha256=row[9],
        ))
        for row in rows
    ]


# for the other tables of this room


def record_taken(session: Session, taken: Sequence[Taken], *, now: datetime, zone: ZoneInfo) -> int:
    """Keep what was judged to fit; return how many entries were new."""
    if not taken:
        return 0
    _insert_statements(session, taken, now)
    cover_days(session, taken)
    reopen_days(session, taken, now)
    supersede_entries(session, taken, now=now)
    supersede_statements(session, taken, now=now)
    added = _insert_entries(session, taken, now)
    sum_up(session, taken)
    link_entries(session, taken, now=now)
    # Before the statements' own closings are readings: these would always agree.
    refresh_breaks(session, stated_days(taken), now=now)
    note_news(session, taken, now)
    readings = [reading for item in taken for reading in _readings(item, now, zone)]
    record_readings(session, readings, now=now, by_statement=True)
    note_missing(session, taken, now)
    mark_account_days(session, {
        (item.received.statement.account_no, day) for item in taken for day in (*touched(item), *item.reopened)
    })
    fill_gaps(session, now, account_nos=sorted({item.received.statement.account_no for item in taken}))
    move_coverage(session, taken, readings)
    audit_corrections(session, taken, now=now)
    return added


_STATEMENT = {
    "statement_id": str, "account_no": str, "kind": str, "number": str, "opening_fen": int, "opening_on": date,
    "closing_fen": int, "closing_on": date, "covers_from": date, "covers_to": date, "entries": int, "source": str,
    "place": str, "raw_sha256": str, "recorded_at": datetime,
}
_ENTRY = {
    "account_no": str, "booked_on": date, "identity": str, "amount_fen": int, "value_on": date, "bank_ref": str,
    "text": str, "occurrence": int, "reversal": bool, "counterparty_sha256": str,
    "counterparty_account_sha256": str, "final": bool, "statement_id": str,
    "recorded_at": datetime, "accounted_on": date,
}


def _insert_statements(session: Session, taken: Sequence[Taken], now: datetime) -> None:
    rows = {item.statement_id: _statement_cells(item, now) for item in taken}
    names = ", ".join(_STATEMENT)
    with staged(session, "incoming_statements", _STATEMENT, rows.values()):
        run(
            session,
            f"INSERT INTO statements ({names}) SELECT {names} FROM incoming_statements WHERE true"
            # Its days are open again and it fits: it is the word that holds once more.
            " ON CONFLICT (statement_id) DO UPDATE SET superseded_at = NULL, superseded_by = NULL"
            " WHERE statements.superseded_at IS NOT NULL",
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
            day = accounted_on(entry, item.received.statement)
            identity = identity_of(entry, day)
            place = (entry.account_no, identity)
            if final or place not in rows:
                rows[place] = (
                    entry.account_no, entry.booked_on, identity, entry.amount.minor_units, entry.value_on,
                    entry.bank_ref, entry.text, entry.occurrence, entry.reversal, entry.counterparty_sha256,
                    entry.counterparty_account_sha256, final, item.statement_id, now, day,
                )
    names = ", ".join(_ENTRY)
    with staged(session, "incoming_entries", _ENTRY, rows.values()):
        return len(run(
            session,
            f"INSERT INTO entries ({names}) SELECT {names} FROM incoming_entries WHERE true"
            " ON CONFLICT (account_no, booked_on, identity) DO UPDATE SET final = true,"
            " accounted_on = excluded.accounted_on"
            " WHERE excluded.final AND NOT entries.final RETURNING account_no",
        ).all())


def _readings(item: Taken, now: datetime, zone: ZoneInfo) -> Iterator[Reading]:
    """The final closing balance that a statement states, as of the end of its last day at the bank, and that of each
    day before it that it corrects."""
    statement = item.received.statement
    if statement.closing is None or not item.days:
        return
    last = span_of(statement)[1]
    for one in item.corrected:
        if one.day != last and one.before.closing_fen != one.after.closing_fen:
            amount = Money(one.after.closing_fen, statement.currency)
            yield _reading(item, one.day, BalanceKind.BOOKED_CLOSING, amount, now, zone)
    if last not in item.days:
        return
    for kind, stated in ((BalanceKind.BOOKED_CLOSING, statement.closing), (BalanceKind.AVAILABLE, statement.available)):
        if stated is not None:
            yield _reading(item, last, kind, stated, now, zone)


def _reading(item: Taken, day: date, kind: BalanceKind, amount: Money, now: datetime, zone: ZoneInfo) -> Reading:
    return Reading(
        account_no=item.received.statement.account_no, kind=kind, amount=amount, on=day,
        as_of=min(datetime.combine(day, time(23, 59, 59), zone).astimezone(UTC), now), fetched_at=now,
        final=kind is BalanceKind.BOOKED_CLOSING, source=item.received.source,
        raw_sha256=item.received.raw_sha256 or "",
    )
