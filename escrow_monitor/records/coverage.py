"""Which days final statements cover, and which are missing."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Index
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import Reading
from escrow_monitor.records.accounts import lock_banks
from escrow_monitor.records.bulk import Reader, fetch, run, staged
from escrow_monitor.records.columns import Row
from escrow_monitor.records.fitting import NEIGHBOUR_DAYS, Taken
from escrow_monitor.records.readings import balance_cells, balance_columns, move_balances, newest_readings, slots_of


class CoverageGapRow(Row, table=True):
    """A day that no final statement covers although one should. Filled, never deleted."""

    __tablename__ = "coverage_gaps"
    __table_args__ = (
        Index(None, "filled_at"),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    found_at: datetime
    filled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCoverage:
    """Which days of an account final statements cover, and the newest days that are missing (`gap_count` in all)."""

    account_no: str
    covered_from: date | None
    covered_to: date | None
    days_covered: int
    gaps: tuple[date, ...]
    gap_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GapsRefreshed:
    """How many missing days were found anew, and how many have been covered since."""

    found: int
    filled: int


def refresh_gaps(
    session: Session, *, account_nos: Sequence[str] | None = None, through: date,
    is_working_day: Callable[[date], bool], now: datetime,
) -> GapsRefreshed:
    """Find the working days up to `through` that no final statement covers, from each account's first covered day on.

    What was searched before is not searched again. Accounts whose gaps changed become due for a check.
    """
    lock_banks(session)
    given: dict[str, Sequence[str]] = {} if account_nos is None else {"account_nos": account_nos}
    chosen = "" if account_nos is None else " AND s.account_no IN EACH(:account_nos)"
    unsearched = "s.covered_from IS NOT NULL AND (s.gaps_to IS NULL OR s.gaps_to < :through)" + chosen
    first = Reader(session).day(run(
        session, f"SELECT min(CASE WHEN s.gaps_to IS NULL THEN s.covered_from ELSE s.gaps_to END)"
                 f" FROM account_states s WHERE {unsearched}", through=through, **given,
    ).scalar())
    found: list[str] = []
    if first is not None:
        days = [first + timedelta(days=step) for step in range(1, (through - first).days + 1)]
        with staged(session, "working_days", {"day": date}, [(day,) for day in days if is_working_day(day)]):
            found = [account_no for (account_no,) in run(
                session,
                "INSERT INTO coverage_gaps (account_no, day, found_at)"
                " SELECT s.account_no, w.day, :now FROM account_states s"
                " JOIN working_days w ON w.day > coalesce(s.gaps_to, s.covered_from)"
                " LEFT JOIN account_days d ON d.account_no = s.account_no AND d.day = w.day AND d.covered"
                f" WHERE {unsearched} AND d.day IS NULL"
                " ON CONFLICT (account_no, day) DO NOTHING RETURNING account_no", through=through, now=now, **given,
            )]
        run(session, f"UPDATE account_states AS s SET gaps_to = :through WHERE {unsearched}", through=through, **given)
    filled = fill_gaps(session, now)
    _make_due(session, [*found, *filled])
    return GapsRefreshed(found=len(found), filled=len(filled))


def coverage(session: Session, account_no: str | None = None) -> list[AccountCoverage]:
    """Which days are covered and which are missing, for one account or all."""
    reader, given = Reader(session), {} if account_no is None else {"account_no": account_no}
    chosen = "" if account_no is None else "AND {}.account_no = :account_no"
    gaps: dict[str, list[date]] = defaultdict(list)
    for number_, day in run(
        session,
        f"SELECT g.account_no, g.day FROM coverage_gaps g WHERE g.filled_at IS NULL {chosen.format('g')}"
        " ORDER BY g.account_no, g.day DESC", **given,
    ):
        gaps[number_].append(reader.on(day))
    counts: dict[str, int] = dict(fetch(
        session,
        f"SELECT d.account_no, count(*) FROM account_days d WHERE d.covered {chosen.format('d')} GROUP BY d.account_no",
        **given,
    ))
    rows = run(
        session,
        "SELECT s.account_no, s.covered_from, s.covered_to FROM account_states s"
        f" WHERE true {chosen.format('s')} ORDER BY s.account_no", **given,
    )
    return [
        AccountCoverage(
            account_no=row[0], covered_from=reader.day(row[1]), covered_to=reader.day(row[2]),
            days_covered=counts.get(row[0], 0), gaps=tuple(gaps[row[0]][:NEIGHBOUR_DAYS]), gap_count=len(gaps[row[0]]),
        )
        for row in rows
    ]


# for the other tables of this room


def note_missing(session: Session, taken: Sequence[Taken], now: datetime) -> None:
    """Keep the days that these statements show to be missing."""
    rows = sorted({(item.received.statement.account_no, day, now) for item in taken for day in item.missing})
    if not rows:
        return
    with staged(session, "incoming_gaps", {"account_no": str, "day": date, "found_at": datetime}, rows):
        run(
            session,
            "INSERT INTO coverage_gaps (account_no, day, found_at)"
            " SELECT account_no, day, found_at FROM incoming_gaps WHERE true ON CONFLICT (account_no, day) DO NOTHING",
        )


def fill_gaps(session: Session, now: datetime) -> list[str]:
    """Close the gaps whose day is covered by now; return the account of each."""
    return [account_no for (account_no,) in run(
        session,
        "UPDATE coverage_gaps SET filled_at = :now FROM account_days d"
        " WHERE coverage_gaps.filled_at IS NULL AND d.account_no = coverage_gaps.account_no"
        " AND d.day = coverage_gaps.day AND d.covered RETURNING coverage_gaps.account_no", now=now,
    )]


def move_coverage(session: Session, taken: Sequence[Taken], readings: Sequence[Reading]) -> None:
    """Bring the accounts' states up to these statements; something new was recorded of each of them."""
    newest = newest_readings(readings)
    slots = slots_of(newest)
    spans: dict[str, list[date]] = defaultdict(list)
    for item in taken:
        spans[item.received.statement.account_no].extend(item.days)
    columns = {"account_no": str, "covered_from": date, "covered_to": date, **balance_columns(slots)}
    rows = (
        (
            account_no, min(days, default=None), max(days, default=None),
            *balance_cells(newest.get(account_no, {}), slots),
        )
        for account_no, days in sorted(spans.items())
    )
    balances = f", {move_balances(slots)}" if slots else ""
    with staged(session, "incoming_coverage", columns, rows):
        run(session, f"UPDATE account_states SET {_MOVE_COVERAGE}{balances} FROM incoming_coverage i"
                     " WHERE i.account_no = account_states.account_no")


_IS_EARLIER = (
    "i.covered_from IS NOT NULL"
    " AND (account_states.covered_from IS NULL OR i.covered_from < account_states.covered_from)"
)
_IS_LATER = (
    "i.covered_to IS NOT NULL AND (account_states.covered_to IS NULL OR i.covered_to > account_states.covered_to)"
)
_MOVE_COVERAGE = f"""
    input_version = account_states.input_version + 1,
    gaps_to = CASE WHEN {_IS_EARLIER} THEN NULL ELSE account_states.gaps_to END,
    covered_from = CASE WHEN {_IS_EARLIER} THEN i.covered_from ELSE account_states.covered_from END,
    covered_to = CASE WHEN {_IS_LATER} THEN i.covered_to ELSE account_states.covered_to END
"""


def _make_due(session: Session, account_nos: Sequence[str]) -> None:
    if account_nos:
        run(
            session,
            "UPDATE account_states SET input_version = input_version + 1 WHERE account_no IN EACH(:account_nos)",
            account_nos=sorted(set(account_nos)),
        )
