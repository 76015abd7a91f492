"""The days whose closing balance the bank states otherwise than our entries give it: the external check, as rows.

    the bank, asked for the balance     Monday closed with 100.00
    its statement, rolled forward       Monday closed with  99.00     a break of 1.00, until the two agree again

A difference is looked for where one of the two is new: when a closing balance is recorded, and when a day is covered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.domain.positions import BalanceBreak, BreakKind
from escrow_monitor.records.accounts import make_due
from escrow_monitor.records.bulk import Reader, fetch, run, staged
from escrow_monitor.records.columns import Row, exact, fen, one_of


class BalanceBreakRow(Row, table=True):
    """A day of which bank and entries say different things. Cleared, never deleted; found again, it is open again.

    `stated_fen` is what the bank said last apart from its statements, fetched at `stated_at`; `rolled_fen` what the
    entries of its statements give.
    """

    __tablename__ = "balance_breaks"
    __table_args__ = (
        CheckConstraint(one_of("kind", BreakKind), "kind"),
        CheckConstraint(exact("stated_fen"), "stated_fen"),
        CheckConstraint(exact("rolled_fen"), "rolled_fen"),
        Index(None, "cleared_at", "account_no"),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    stated_fen: int = fen()
    stated_at: datetime
    rolled_fen: int = fen()
    found_at: datetime
    cleared_at: datetime | None = None


def open_breaks(session: Session, account_nos: Sequence[str]) -> dict[str, list[BalanceBreak]]:
    """The open breaks of these accounts, oldest day first: the later ones may follow from it.

    The account numbers come in the database's own order: what lies between the first and the last is read.
    """
    if not account_nos:
        return {}
    # Breaks are few: to look up ten thousand accounts in them would take longer than to read them.
    wanted = set(account_nos)
    reader = Reader(session)
    found: dict[str, list[BalanceBreak]] = {}
    for account_no, day, stated_fen, rolled_fen, found_at in run(
        session,
        "SELECT account_no, day, stated_fen, rolled_fen, found_at FROM balance_breaks"
        " WHERE cleared_at IS NULL AND account_no BETWEEN :first AND :last ORDER BY account_no, day",
        first=account_nos[0], last=account_nos[-1],
    ):
        if account_no not in wanted:
            continue
        found.setdefault(account_no, []).append(BalanceBreak(
            on=reader.on(day), stated_fen=stated_fen, rolled_fen=rolled_fen, found_at=reader.at(found_at)
        ))
    return found


def break_counts(session: Session) -> dict[str, int]:
    """How many breaks of each kind are open."""
    rows = run(session, "SELECT kind, count(*) FROM balance_breaks WHERE cleared_at IS NULL GROUP BY kind")
    return {kind: int(count) for kind, count in rows}


# for the other tables of this room


def note_stated(session: Session, *, now: datetime) -> None:
    """Hold the staged `incoming_readings` of a bank's balance calls against the covered days they speak of.

    For the readings that a bank stated by itself, not for those that were read off a statement: these always agree.
    One step through the key of `account_days` for each final closing; nothing is written unless something differs.
    """
    rows = fetch(
        session,
        "SELECT i.account_no, i.day, i.amount_fen, i.fetched_at, d.closing_fen FROM incoming_readings i"
        " JOIN account_days d ON d.account_no = i.account_no AND d.day = i.day"
        " LEFT JOIN balance_breaks b ON b.account_no = i.account_no AND b.day = i.day AND b.kind = 'closing'"
        " AND b.cleared_at IS NULL"
        " WHERE i.kind = 'booked_closing' AND i.final AND d.covered"
        " AND (i.amount_fen <> d.closing_fen OR b.account_no IS NOT NULL)",
    )
    _keep(session, _decoded(session, rows), now=now)


def refresh_breaks(session: Session, touched: Collection[tuple[str, date]], *, now: datetime) -> None:
    """Hold these days, newly covered, corrected or re-opened, against what the bank stated apart from its statements.

    Call it before the closing balances of the statements themselves are recorded as readings. What the bank said last
    counts; but what a balance call said before a statement that agreed with it was corrected, is corrected with it.
    """
    spoken_of = _spoken_of(session, touched)
    if not spoken_of:
        return
    rows = ((account_no, day, *_stated_between(day)) for account_no, day in sorted(spoken_of))
    columns = {"account_no": str, "day": date, "first": datetime, "last": datetime}
    with staged(session, "checked_days", columns, rows):
        cleared = _clear_uncovered(session, now)
        stated = _decoded(session, fetch(session, _STATED))
    _keep(session, stated, now=now)
    make_due(session, cleared)


def _spoken_of(session: Session, touched: Collection[tuple[str, date]]) -> set[tuple[str, date]]:
    """Those of these days of which the bank stated a closing, or that have a break: of years of history, few."""
    if not touched:
        return set()
    spans: dict[str, tuple[date, date]] = {}
    for account_no, day in touched:
        first, last = spans.get(account_no, (day, day))
        spans[account_no] = min(first, day), max(last, day)
    day_of = Reader(session).on
    columns = {"account_no": str, "first": datetime, "last": datetime}
    stated = (
        (account_no, _stated_between(first)[0], _stated_between(last)[1])
        for account_no, (first, last) in sorted(spans.items())
    )
    with staged(session, "checked_accounts", columns, stated):
        rows = fetch(
            session,
            # SQLite keeps the order of a CROSS JOIN: the accounts at hand first.
            "SELECT r.account_no, r.day FROM checked_accounts c CROSS JOIN readings r WHERE r.account_no = c.account_no"
            " AND r.as_of BETWEEN c.first AND c.last AND r.kind = 'booked_closing' AND r.final"
            " UNION SELECT b.account_no, b.day FROM checked_accounts c CROSS JOIN balance_breaks b"
            " WHERE b.account_no = c.account_no",
        )
    found = {(account_no, day_of(cell)) for account_no, cell in rows}
    return found.intersection(touched)


DAYS_LATER_MAX = 4
"""The bank's instant of a closing lies in its day, or where it says when it was asked, at most a long weekend later."""
_STATED = """
    SELECT n.account_no, n.day, n.amount_fen, n.fetched_at, n.closing_fen FROM (
        SELECT s.*, row_number() OVER (PARTITION BY s.account_no, s.day ORDER BY s.fetched_at DESC, s.amount_fen)
            AS place FROM (
            SELECT c.account_no, c.day, r.amount_fen, r.fetched_at, d.closing_fen FROM checked_days c
            JOIN account_days d ON d.account_no = c.account_no AND d.day = c.day
            CROSS JOIN readings r
            WHERE r.account_no = c.account_no AND r.as_of BETWEEN c.first AND c.last AND d.covered AND r.day = c.day
                AND r.kind = 'booked_closing' AND r.final
            UNION ALL
            SELECT c.account_no, c.day, b.stated_fen, b.stated_at, d.closing_fen FROM checked_days c
            JOIN account_days d ON d.account_no = c.account_no AND d.day = c.day
            JOIN balance_breaks b ON b.account_no = c.account_no AND b.day = c.day AND b.kind = 'closing'
            WHERE d.covered
        ) s
        WHERE NOT EXISTS (
            SELECT 1 FROM statement_corrections o WHERE o.account_no = s.account_no AND o.day = s.day
            AND o.closing_before_fen = s.amount_fen AND o.closing_after_fen <> s.amount_fen
            AND o.recorded_at >= s.fetched_at
        )
    ) n
    LEFT JOIN balance_breaks b ON b.account_no = n.account_no AND b.day = n.day AND b.kind = 'closing'
    WHERE n.place = 1 AND (n.amount_fen <> n.closing_fen OR (b.account_no IS NOT NULL AND b.cleared_at IS NULL))
"""
"""The newest word of the bank on each day, where it differs or a break is open."""
_STAGED = {"account_no": str, "day": date, "stated_fen": int, "stated_at": datetime, "rolled_fen": int}


def _keep(session: Session, stated: Iterable[tuple[Any, ...]], *, now: datetime) -> None:
    """Open, move or clear a break for each (account, day, stated, fetched, rolled); of a day, the last counts."""
    newest: dict[tuple[str, date], tuple[Any, ...]] = {}
    for row in stated:
        held = newest.setdefault(row[:2], row)
        if held[3] < row[3]:
            newest[row[:2]] = row
    if not newest:
        return
    with staged(session, "stated_closings", _STAGED, newest.values()):
        changed = fetch(
            session,
            "INSERT INTO balance_breaks"
            " (account_no, day, kind, stated_fen, stated_at, rolled_fen, found_at)"
            " SELECT account_no, day, 'closing', stated_fen, stated_at, rolled_fen, :now FROM stated_closings"
            " WHERE stated_fen <> rolled_fen ON CONFLICT (account_no, day, kind) DO UPDATE SET"
            " stated_fen = excluded.stated_fen, stated_at = excluded.stated_at, rolled_fen = excluded.rolled_fen,"
            " found_at = CASE WHEN balance_breaks.cleared_at IS NULL THEN balance_breaks.found_at ELSE :now END,"
            " cleared_at = NULL WHERE excluded.stated_at >= balance_breaks.stated_at AND (balance_breaks.cleared_at"
            " IS NOT NULL OR balance_breaks.stated_fen <> excluded.stated_fen"
            " OR balance_breaks.rolled_fen <> excluded.rolled_fen) RETURNING account_no", now=now,
        )
        changed += fetch(
            session,
            "UPDATE balance_breaks SET stated_fen = s.stated_fen, stated_at = s.stated_at, rolled_fen = s.rolled_fen,"
            " cleared_at = :now FROM stated_closings s WHERE s.account_no = balance_breaks.account_no"
            " AND s.day = balance_breaks.day AND balance_breaks.kind = 'closing' AND balance_breaks.cleared_at IS NULL"
            " AND s.stated_fen = s.rolled_fen AND s.stated_at >= balance_breaks.stated_at"
            " RETURNING balance_breaks.account_no", now=now,
        )
    make_due(session, {account_no for (account_no,) in changed})


def _clear_uncovered(session: Session, now: datetime) -> set[str]:
    """A day that no statement covers any more gives no figure to differ from: that it is missing is another matter."""
    return {account_no for (account_no,) in fetch(
        session,
        "UPDATE balance_breaks SET cleared_at = :now FROM checked_days c JOIN account_days d"
        " ON d.account_no = c.account_no AND d.day = c.day WHERE c.account_no = balance_breaks.account_no"
        " AND c.day = balance_breaks.day AND NOT d.covered AND balance_breaks.cleared_at IS NULL"
        " RETURNING balance_breaks.account_no", now=now,
    )}


def _decoded(session: Session, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    reader = Reader(session)
    return [(row[0], reader.on(row[1]), row[2], reader.at(row[3]), row[4]) for row in rows]


def _stated_between(day: date) -> tuple[datetime, datetime]:
    """The bank's instants that a closing of this day may carry, wherever on earth the bank is."""
    inside = min(max(day, date.min + timedelta(days=1)), date.max - timedelta(days=DAYS_LATER_MAX))
    start = datetime.combine(inside, time(), UTC)
    return start - timedelta(days=1), start + timedelta(days=DAYS_LATER_MAX)
