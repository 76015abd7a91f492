"""The days and months of accounts: how a covered day opened and closed, and what was booked on each."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import Index, text
from sqlmodel import Field, Session

from escrow_monitor.domain.own_transfers import SUPERVISED
from escrow_monitor.records.bank.fitting import Taken
from escrow_monitor.records.bulk import Reader, fetch, run, staged
from escrow_monitor.records.columns import Row, fen


class AccountDayRow(Row, table=True):
    """One day of an account: what was booked, and, if a final statement covers it, how it opened and closed.

    `reopened_at`: it was covered, but the day before was corrected and it no longer follows; its figures stay as they
    were stated. `news_at`: when something was heard of a day that was long past, or of a past day otherwise.
    """

    __tablename__ = "account_days"
    __table_args__ = (
        Index(
            "ix_account_days_news_at", "news_at",
            sqlite_where=text("news_at IS NOT NULL"), postgresql_where=text("news_at IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    covered: bool = False
    opening_fen: int | None = fen(default=None)
    closing_fen: int | None = fen(default=None)
    credits_fen: int = fen(default=0)
    debits_fen: int = fen(default=0)
    largest_debit_fen: int = fen(default=0)
    reversed_credits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})
    reversed_debits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})
    own_credits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})
    own_debits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})
    statement_id: str | None = None
    reopened_at: datetime | None = None
    news_at: datetime | None = None


class AccountMonthRow(Row, table=True):
    """What was booked on an account in one calendar month, `2026-11`."""

    __tablename__ = "account_months"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    credits_fen: int = fen(default=0)
    debits_fen: int = fen(default=0)
    reversed_credits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})
    reversed_debits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})
    own_credits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})
    own_debits_fen: int = fen(default=0, sa_column_kwargs={"server_default": "0"})


COUNTS = "(e.superseded_at IS NULL AND (e.final OR d.statement_id IS NULL))"
"""Whether entry `e` on account day `d` counts.

On a day that a final statement stated, its entries alone count, also while the day is re-opened; before that, whatever
a notice said. What a correction did not repeat is superseded and never counts.
"""


def counts(entry: str, day: str) -> str:
    """The same for an entry and a day of other names."""
    return re.sub(r"\bd\.", f"{day}.", re.sub(r"\be\.", f"{entry}.", COUNTS))


LATE_AFTER_DAYS = 7
"""For how many days a day is looked at because it is recent; one heard of later than that is news of its own."""


def cover_days(session: Session, taken: Sequence[Taken]) -> None:
    """Keep how the days that these statements cover first opened and closed."""
    rows = (
        (item.received.statement.account_no, day, figures.opening_fen, figures.closing_fen, item.statement_id)
        for item in taken for day, figures in item.days.items()
    )
    names = ", ".join(_DAY)
    with staged(session, "incoming_days", _DAY, rows):
        run(
            session,
            f"INSERT INTO account_days ({names}, covered, credits_fen, debits_fen, largest_debit_fen)"
            f" SELECT {names}, true, 0, 0, 0 FROM incoming_days WHERE true"
            " ON CONFLICT (account_no, day) DO UPDATE SET covered = true, opening_fen = excluded.opening_fen,"
            " closing_fen = excluded.closing_fen, statement_id = excluded.statement_id, reopened_at = NULL",
        )


def reopen_days(session: Session, taken: Sequence[Taken], now: datetime) -> None:
    """Say of the days that no longer follow the one before that they are not covered any more."""
    rows = sorted(still_reopened(taken))
    if not rows:
        return
    with staged(session, "reopened_days", {"account_no": str, "day": date}, rows):
        run(
            session,
            "UPDATE account_days SET covered = false, reopened_at = :now FROM reopened_days r"
            " WHERE account_days.account_no = r.account_no AND account_days.day = r.day", now=now,
        )


_DAY = {
    "account_no": str, "day": date, "opening_fen": int, "closing_fen": int, "statement_id": str,
}


_MONTH = {"account_no": str, "month": str, "first_day": date, "last_day": date}


def sum_up(session: Session, taken: Sequence[Taken]) -> None:
    """Add the touched days and months up anew from their entries: all that was booked. `sum_linked` comes after it."""
    days = sorted({
        (item.received.statement.account_no, day)
        for item in taken for day in touched(item)
    })
    months = sorted({(account_no, *_month_of(day)) for account_no, day in days})
    flows = (
        "CAST(coalesce(sum(CASE WHEN e.amount_fen > 0 THEN e.amount_fen END), 0) AS BIGINT),"
        " CAST(coalesce(sum(CASE WHEN e.amount_fen < 0 THEN -e.amount_fen END), 0) AS BIGINT)"
    )
    with staged(session, "touched_days", {"account_no": str, "day": date}, days):
        run(
            session,
            "INSERT INTO account_days (account_no, day, covered, credits_fen, debits_fen, largest_debit_fen)"
            f" SELECT t.account_no, t.day, false, {flows},"
            " coalesce(max(CASE WHEN e.amount_fen < 0 THEN -e.amount_fen END), 0) FROM touched_days t"
            " LEFT JOIN account_days d ON d.account_no = t.account_no AND d.day = t.day"
            f" LEFT JOIN entries e ON e.account_no = t.account_no AND e.booked_on = t.day AND {COUNTS}"
            " GROUP BY t.account_no, t.day ON CONFLICT (account_no, day) DO UPDATE SET"
            " credits_fen = excluded.credits_fen, debits_fen = excluded.debits_fen,"
            " largest_debit_fen = excluded.largest_debit_fen",
        )
    with staged(session, "touched_months", _MONTH, months):
        run(
            session,
            # Every day on which something was booked has its sums by now, so the month is theirs.
            "INSERT INTO account_months (account_no, month, credits_fen, debits_fen)"
            " SELECT t.account_no, t.month, CAST(sum(d.credits_fen) AS BIGINT), CAST(sum(d.debits_fen) AS BIGINT)"
            " FROM touched_months t JOIN account_days d ON d.account_no = t.account_no"
            " AND d.day BETWEEN t.first_day AND t.last_day GROUP BY t.account_no, t.month"
            " HAVING max(d.credits_fen) > 0 OR max(d.debits_fen) > 0 OR EXISTS (SELECT 1 FROM account_months m"
            " WHERE m.account_no = t.account_no AND m.month = t.month) ON CONFLICT (account_no, month) DO UPDATE SET"
            " credits_fen = excluded.credits_fen, debits_fen = excluded.debits_fen",
        )


def sum_linked(session: Session, days: Sequence[tuple[str, date]]) -> None:
    """Add up anew what links undo of these days and their months: their entries' links are decided, their sums made."""
    if not days:
        return
    months = sorted({(account_no, *_month_of(day)) for account_no, day in days})
    with staged(session, "linked_days", {"account_no": str, "day": date}, days):
        run(session, f"UPDATE account_days SET {_SET_LINKED}, largest_debit_fen = f.largest_debit_fen"
                     f" FROM ({_LINKED}) f WHERE f.account_no = account_days.account_no AND f.day = account_days.day")
    sums = ", ".join(f"CAST(sum(d.{column}) AS BIGINT) AS {column}" for column in LINKED_COLUMNS)
    with staged(session, "linked_months", _MONTH, months):
        run(
            session,
            f"UPDATE account_months SET {_SET_LINKED} FROM (SELECT t.account_no, t.month, {sums} FROM linked_months t"
            " JOIN account_days d ON d.account_no = t.account_no AND d.day BETWEEN t.first_day AND t.last_day"
            " GROUP BY t.account_no, t.month) f"
            " WHERE f.account_no = account_months.account_no AND f.month = account_months.month",
        )


LINKED_COLUMNS = ("reversed_credits_fen", "reversed_debits_fen", "own_credits_fen", "own_debits_fen")
"""The parts of a day's or month's flows that do not stand: taken back or taking back, and between own accounts."""
_SET_LINKED = ", ".join(f"{column} = f.{column}" for column in LINKED_COLUMNS)
_SUPERVISED = ", ".join(repr(str(purpose)) for purpose in sorted(SUPERVISED))
_REVERSED = "coalesce(l.kind, o.kind) = 'reversal'"
_OWN = (
    f"(coalesce(l.kind, o.kind) = 'own_transfer' AND a.purpose IN ({_SUPERVISED}) AND x.purpose IN ({_SUPERVISED}))"
)


def _sum_where(sign: str, condition: str) -> str:
    amount = "e.amount_fen" if sign == ">" else "-e.amount_fen"
    return f"CAST(coalesce(sum(CASE WHEN e.amount_fen {sign} 0 AND {condition} THEN {amount} END), 0) AS BIGINT)"


_LINKED = f"""
    SELECT t.account_no, t.day, {_sum_where(">", _REVERSED)} AS reversed_credits_fen,
        {_sum_where("<", _REVERSED)} AS reversed_debits_fen, {_sum_where(">", _OWN)} AS own_credits_fen,
        {_sum_where("<", _OWN)} AS own_debits_fen,
        coalesce(max(CASE WHEN e.amount_fen < 0 AND NOT coalesce({_REVERSED} OR {_OWN}, false)
            THEN -e.amount_fen END), 0) AS largest_debit_fen
    FROM linked_days t JOIN accounts a ON a.account_no = t.account_no
    LEFT JOIN account_days d ON d.account_no = t.account_no AND d.day = t.day
    LEFT JOIN entries e ON e.account_no = t.account_no AND e.booked_on = t.day AND {COUNTS}
    LEFT JOIN entry_links l ON l.account_no = e.account_no AND l.booked_on = e.booked_on AND l.identity = e.identity
    LEFT JOIN entry_links o ON o.other_account_no = e.account_no AND o.other_booked_on = e.booked_on
        AND o.other_identity = e.identity
    LEFT JOIN accounts x ON x.account_no = coalesce(l.other_account_no, o.account_no)
    GROUP BY t.account_no, t.day
"""

def note_news(session: Session, taken: Sequence[Taken], now: datetime) -> None:
    """Mark the days that were corrected, and those long past that are heard of only now."""
    corrected = {(item.received.statement.account_no, one.day) for item in taken for one in item.corrected}
    heard_of = {(item.received.statement.account_no, day) for item in taken for day in touched(item)}
    mark_news(session, heard_of, now, whenever=corrected)


def mark_news(
    session: Session, heard_of: Collection[tuple[str, date]], now: datetime, *,
    whenever: Collection[tuple[str, date]] = (),
) -> None:
    """Mark the days long past among those heard of, and the others `whenever` they were.

    What an account did long before it was registered is its history, not news.
    """
    late_before = now.date() - timedelta(days=LATE_AFTER_DAYS - 1)
    late = {place for place in heard_of if place[1] < late_before}
    news = set(whenever)
    if late:
        first = _watched_from(session, sorted({account_no for account_no, _ in late}))
        news |= {(account_no, day) for account_no, day in late if day >= first.get(account_no, date.max)}
    if not news:
        return
    with staged(session, "news_days", {"account_no": str, "day": date}, sorted(news)):
        run(
            session,
            "UPDATE account_days SET news_at = :now FROM news_days n"
            " WHERE account_days.account_no = n.account_no AND account_days.day = n.day", now=now,
        )


def _watched_from(session: Session, account_nos: Sequence[str]) -> dict[str, date]:
    """The first day of each account that was recent when it was registered."""
    at = Reader(session).at
    return {
        account_no: at(recorded_at).date() - timedelta(days=LATE_AFTER_DAYS)
        for account_no, recorded_at in fetch(
            session, "SELECT account_no, recorded_at FROM accounts WHERE account_no IN EACH(:account_nos)",
            account_nos=account_nos,
        )
    }


def still_reopened(taken: Sequence[Taken]) -> set[tuple[str, date]]:
    """The days that these statements re-open and, in the order they were taken, do not cover anew."""
    found: set[tuple[str, date]] = set()
    for item in taken:
        account_no = item.received.statement.account_no
        found.update((account_no, day) for day in item.reopened)
        found.difference_update((account_no, day) for day in item.days)
    return found


def stated_days(taken: Sequence[Taken]) -> set[tuple[str, date]]:
    """The days that these statements cover or re-open."""
    return {
        (item.received.statement.account_no, day) for item in taken for day in (*item.days, *item.reopened)
    }


def touched(item: Taken) -> set[date]:
    """The days whose sums a statement may change."""
    removed = (entry.booked_on for one in item.corrected for entry in one.removed)
    return {*item.days, *(entry.booked_on for entry in item.entries), *removed}


def _month_of(day: date) -> tuple[str, date, date]:
    last = day.replace(day=monthrange(day.year, day.month)[1])
    return day.isoformat()[:7], day.replace(day=1), last
