"""The days and months of accounts: how a covered day opened and closed, and what was booked on each."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import date

from sqlmodel import Field, Session

from escrow_monitor.records.bulk import run, staged
from escrow_monitor.records.columns import Row, fen
from escrow_monitor.records.fitting import Taken


class AccountDayRow(Row, table=True):
    """One day of an account: what was booked, and, if a final statement covers it, how it opened and closed."""

    __tablename__ = "account_days"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    covered: bool = False
    opening_fen: int | None = fen(default=None)
    closing_fen: int | None = fen(default=None)
    credits_fen: int = fen(default=0)
    debits_fen: int = fen(default=0)
    largest_debit_fen: int = fen(default=0)
    statement_id: str | None = None


class AccountMonthRow(Row, table=True):
    """What was booked on an account in one calendar month, `2026-11`."""

    __tablename__ = "account_months"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    credits_fen: int = fen(default=0)
    debits_fen: int = fen(default=0)


COUNTS = "(e.final OR NOT coalesce(d.covered, false))"
"""Whether entry `e` on account day `d` counts.

On a covered day the final statement's entries alone count; before that, whatever a notice said.
"""


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
            " closing_fen = excluded.closing_fen, statement_id = excluded.statement_id",
        )


_DAY = {
    "account_no": str, "day": date, "opening_fen": int, "closing_fen": int, "statement_id": str,
}


def sum_up(session: Session, taken: Sequence[Taken]) -> None:
    """Add the touched days and months up anew from their entries."""
    days = sorted({
        (item.received.statement.account_no, day)
        for item in taken for day in (*item.days, *(entry.booked_on for entry in item.entries))
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
    columns = {"account_no": str, "month": str, "first_day": date, "last_day": date}
    with staged(session, "touched_months", columns, months):
        run(
            session,
            "INSERT INTO account_months (account_no, month, credits_fen, debits_fen)"
            f" SELECT t.account_no, t.month, {flows} FROM touched_months t"
            " JOIN entries e ON e.account_no = t.account_no AND e.booked_on BETWEEN t.first_day AND t.last_day"
            " LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on"
            f" WHERE {COUNTS} GROUP BY t.account_no, t.month ON CONFLICT (account_no, month) DO UPDATE SET"
            " credits_fen = excluded.credits_fen, debits_fen = excluded.debits_fen",
        )


def _month_of(day: date) -> tuple[str, date, date]:
    last = day.replace(day=monthrange(day.year, day.month)[1])
    return day.isoformat()[:7], day.replace(day=1), last
