"""Which days final statements cover, and which are missing: asked for again, ever more rarely, until filled."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import Index
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import Account, Reading
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.positions import Correction
from escrow_monitor.records.accounts import accounts, institution, lock_banks
from escrow_monitor.records.bank.corrections import corrections
from escrow_monitor.records.bank.days import still_reopened
from escrow_monitor.records.bank.fitting import NEIGHBOUR_DAYS, Taken
from escrow_monitor.records.bank.readings import balance_cells, balance_columns, move_balances, newest_readings
from escrow_monitor.records.bulk import ByColumn, Reader, fetch, run, staged
from escrow_monitor.records.columns import Row, large

ASKED_DAYS_BACK_MAX = 89
"""How old a gap is still asked for: most banks give 90 days, today included, without the holder's new consent."""
LawKey: TypeAlias = tuple[str | None, str | None, str | None, str, str]
"""What of an account and its institution chooses a policy: district, policy and kind; purpose and mode."""
TRY_AGAIN_HOURS = (1, 2, 4, 8, 16, 24)
"""After how long a gap is asked for again: by the first, second, ... try in vain; the last holds from then on."""


class GapReason(StrEnum):
    """Why a day should be covered: people work on it, the balances beside it differ, or it no longer follows them."""

    WORKING_DAY = "working_day"
    UNEXPLAINED = "unexplained"
    REOPENED = "reopened"


class DayState(StrEnum):
    """How one day of an account is covered. Nothing is due of a day before the first statement, or not yet."""

    COVERED = "covered"
    MISSING = "missing"
    REOPENED = "reopened"
    NOT_DUE = "not_due"
    NOT_WORKING = "not_working"


class CoverageGapRow(Row, table=True):
    """A day that no final statement covers although one should. Filled, never deleted.

    `tries` counts the answers that did not fill it, the last at `tried_at`; it is not asked for before `try_after`.
    """

    __tablename__ = "coverage_gaps"
    __table_args__ = (
        Index(None, "filled_at"),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    found_at: datetime
    filled_at: datetime | None = None
    reason: str = GapReason.WORKING_DAY.value
    tries: int = large(default=0)
    tried_at: datetime | None = None
    try_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGap:
    """A day that is missing since `found_at`: why, how often an answer did not fill it, and when it is asked next.

    `try_after` None: with the next pull, if the day is not too long past.
    """

    day: date
    reason: GapReason
    found_at: datetime
    tries: int = 0
    tried_at: datetime | None = None
    try_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCoverage:
    """Which days of an account final statements cover, and the newest days that are missing (`gap_count` in all).

    `missing` are all of them, newest first, with what was tried; `corrections` all that were ever recorded.
    """

    account_no: str
    covered_from: date | None
    covered_to: date | None
    days_covered: int
    gaps: tuple[date, ...]
    gap_count: int
    currency: str = "CNY"
    missing: tuple[OpenGap, ...] = ()
    corrections: tuple[Correction, ...] = ()

    @property
    def reopened(self) -> tuple[date, ...]:
        """The days that were covered until the day before them was corrected, newest first."""
        return tuple(gap.day for gap in self.missing if gap.reason is GapReason.REOPENED)


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
                "INSERT INTO coverage_gaps (account_no, day, found_at, reason, tries)"
                f" SELECT s.account_no, w.day, :now, '{GapReason.WORKING_DAY}', 0 FROM account_states s"
                " JOIN working_days w ON w.day > coalesce(s.gaps_to, s.covered_from)"
                " LEFT JOIN account_days d ON d.account_no = s.account_no AND d.day = w.day AND d.covered"
                f" WHERE {unsearched} AND d.day IS NULL"
                # It was thought explained by the balances beside it, but people work on it: a statement is due.
                f" ON CONFLICT (account_no, day) DO UPDATE SET reason = '{GapReason.WORKING_DAY}', filled_at = NULL"
                f" WHERE coverage_gaps.reason = '{GapReason.UNEXPLAINED}' RETURNING account_no",
                through=through, now=now, **given,
            )]
        run(session, f"UPDATE account_states AS s SET gaps_to = :through WHERE {unsearched}", through=through, **given)
    filled = fill_gaps(session, now, account_nos=account_nos)
    _make_due(session, [*found, *filled])
    return GapsRefreshed(found=len(found), filled=len(filled))


def coverage(
    session: Session, account_no: str | None = None, *, account_nos: Sequence[str] | None = None
) -> list[AccountCoverage]:
    """Which days are covered and which are missing, for one account, these, or all."""
    wanted = account_nos if account_no is None else [account_no]
    given: dict[str, Sequence[str]] = {} if wanted is None else {"account_nos": wanted}
    reader, chosen = Reader(session), "" if wanted is None else "AND {}.account_no IN EACH(:account_nos)"
    gaps: dict[str, list[OpenGap]] = defaultdict(list)
    for row in run(
        session,
        "SELECT g.account_no, g.day, g.reason, g.found_at, g.tries, g.tried_at, g.try_after FROM coverage_gaps g"
        f" WHERE g.filled_at IS NULL {chosen.format('g')} ORDER BY g.account_no, g.day DESC", **given,
    ):
        gaps[row[0]].append(OpenGap(
            day=reader.on(row[1]), reason=GapReason(row[2]), found_at=reader.at(row[3]), tries=row[4],
            tried_at=reader.instant(row[5]), try_after=reader.instant(row[6]),
        ))
    counts: dict[str, int] = dict(fetch(
        session,
        f"SELECT d.account_no, count(*) FROM account_days d WHERE d.covered {chosen.format('d')} GROUP BY d.account_no",
        **given,
    ))
    corrected = corrections(session, account_nos=wanted)
    rows = run(
        session,
        "SELECT s.account_no, s.covered_from, s.covered_to, a.currency FROM account_states s"
        " JOIN accounts a ON a.account_no = s.account_no"
        f" WHERE true {chosen.format('s')} ORDER BY s.account_no", **given,
    )
    return [
        AccountCoverage(
            account_no=row[0], covered_from=reader.day(row[1]), covered_to=reader.day(row[2]),
            days_covered=counts.get(row[0], 0), gaps=tuple(gap.day for gap in gaps[row[0]][:NEIGHBOUR_DAYS]),
            gap_count=len(gaps[row[0]]), currency=row[3], missing=tuple(gaps[row[0]]),
            corrections=tuple(corrected.get(row[0], ())),
        )
        for row in rows
    ]


def days(session: Session, account_no: str, first: date, last: date) -> list[tuple[date, DayState]]:
    """How each day from `first` to `last` is covered."""
    reader = Reader(session)
    given: dict[str, Any] = {"account_no": account_no, "first": first, "last": last}
    state = run(
        session, "SELECT covered_from, gaps_to FROM account_states WHERE account_no = :account_no",
        account_no=account_no,
    ).first()
    covered_from, searched_to = (None, None) if state is None else (reader.day(state[0]), reader.day(state[1]))
    known = {
        reader.on(day): DayState.COVERED for (day,) in fetch(
            session,
            "SELECT day FROM account_days WHERE covered AND account_no = :account_no AND day BETWEEN :first AND :last",
            **given,
        )
    }
    for day, reason in fetch(
        session,
        "SELECT day, reason FROM coverage_gaps WHERE filled_at IS NULL AND account_no = :account_no"
        " AND day BETWEEN :first AND :last", **given,
    ):
        known[reader.on(day)] = DayState.REOPENED if reason == GapReason.REOPENED else DayState.MISSING

    def state_of(day: date) -> DayState:
        if covered_from is None or day < covered_from or searched_to is None or day > searched_to:
            return DayState.NOT_DUE
        return DayState.NOT_WORKING

    asked = (first + timedelta(days=step) for step in range((last - first).days + 1))
    return [(day, known.get(day) or state_of(day)) for day in asked]


def law_samples(
    session: Session, *, only_one: bool = False
) -> dict[LawKey, tuple[Account, Institution | None]]:
    """One covered account, with its institution, of each kind that policies tell apart; or of any one kind."""
    number, some = ("a.account_no", "LIMIT 1") if only_one else ("min(a.account_no)", f"GROUP BY {_LAW_KEY}")
    rows = run(
        session, f"SELECT {_LAW_KEY}, {number} {_LAW_ACCOUNTS} WHERE s.covered_from IS NOT NULL {some}"
    ).all()
    known = {item.account_no: item for item in accounts(session, account_nos=[row[5] for row in rows])}
    return {
        _law_key(row): (known[row[5]], institution(session, uscc) if (uscc := known[row[5]].uscc) else None)
        for row in rows
    }


def accounts_by_law(session: Session, *, through: date) -> dict[LawKey, list[str]]:
    """The accounts not yet searched for gaps up to `through`, by the kinds that policies tell apart."""
    found: dict[LawKey, list[str]] = defaultdict(list)
    for row in fetch(
        session,
        f"SELECT {_LAW_KEY}, a.account_no {_LAW_ACCOUNTS} WHERE s.covered_from IS NOT NULL"
        " AND (s.gaps_to IS NULL OR s.gaps_to < :through) ORDER BY a.account_no", through=through,
    ):
        found[_law_key(row)].append(row[5])
    return dict(found)


_LAW_KEY = "i.district, i.policy, i.kind, a.purpose, a.mode"
_LAW_ACCOUNTS = (
    "FROM account_states s JOIN accounts a ON a.account_no = s.account_no LEFT JOIN institutions i ON i.uscc = a.uscc"
)


def _law_key(row: Sequence[Any]) -> LawKey:
    district, policy, kind, purpose, mode = row[:5]
    return district, policy, kind, purpose, mode


# for the other tables of this room


def note_missing(session: Session, taken: Sequence[Taken], now: datetime) -> None:
    """Keep the days that these statements show to be missing, and close those they show not to be."""
    missing: dict[tuple[str, date], bool] = {}
    for item in taken:
        account_no = item.received.statement.account_no
        missing.update(((account_no, day), True) for day in item.missing)
        missing.update(((account_no, day), False) for day in item.explained)
    _open_gaps(session, [place for place, is_missing in missing.items() if is_missing], GapReason.UNEXPLAINED, now)
    _close_explained(session, {place for place, is_missing in missing.items() if not is_missing}, now)
    _open_gaps(session, sorted(still_reopened(taken)), GapReason.REOPENED, now)


def _open_gaps(session: Session, places: Sequence[tuple[str, date]], reason: GapReason, now: datetime) -> None:
    """Note these days as missing, anew where they had been filled: the tries count from the beginning."""
    if not places:
        return
    with staged(session, "incoming_gaps", {"account_no": str, "day": date}, places):
        run(
            session,
            "INSERT INTO coverage_gaps (account_no, day, found_at, reason, tries)"
            f" SELECT account_no, day, :now, '{reason}', 0 FROM incoming_gaps WHERE true"
            " ON CONFLICT (account_no, day) DO UPDATE SET found_at = excluded.found_at, reason = excluded.reason,"
            " filled_at = NULL, tries = 0, tried_at = NULL, try_after = NULL"
            " WHERE coverage_gaps.filled_at IS NOT NULL", now=now,
        )


def _close_explained(session: Session, places: set[tuple[str, date]], now: datetime) -> None:
    """Close the gaps that were gaps only because the balances beside them differed, which they do no more."""
    if not places:
        return
    reader = Reader(session)
    closed = [
        (account_no, reader.on(day)) for account_no, day in fetch(
            session,
            "SELECT account_no, day FROM coverage_gaps WHERE filled_at IS NULL"
            f" AND reason = '{GapReason.UNEXPLAINED}' AND account_no IN EACH(:account_nos)",
            account_nos=sorted({account_no for account_no, _ in places}),
        )
    ]
    with staged(
        session, "explained_gaps", {"account_no": str, "day": date}, [place for place in closed if place in places]
    ):
        run(
            session,
            "UPDATE coverage_gaps SET filled_at = :now FROM explained_gaps x"
            " WHERE coverage_gaps.account_no = x.account_no AND coverage_gaps.day = x.day", now=now,
        )


def fill_gaps(session: Session, now: datetime, *, account_nos: Sequence[str] | None = None) -> list[str]:
    """Close the gaps (of these accounts; None: of all) whose day is covered by now; return the account of each."""
    given: dict[str, Sequence[str]] = {} if account_nos is None else {"account_nos": account_nos}
    chosen = "" if account_nos is None else " AND coverage_gaps.account_no IN EACH(:account_nos)"
    return [account_no for (account_no,) in run(
        session,
        "UPDATE coverage_gaps SET filled_at = :now FROM account_days d"
        " WHERE coverage_gaps.filled_at IS NULL AND d.account_no = coverage_gaps.account_no"
        f" AND d.day = coverage_gaps.day AND d.covered{chosen} RETURNING coverage_gaps.account_no", now=now, **given,
    )]


def note_tries(
    session: Session, account_nos: Sequence[str], *, asked_at: datetime, today: date, now: datetime
) -> None:
    """Count a try in vain for the open gaps that these accounts were asked for at `asked_at`, and say when the next is.

    A bank is asked from the oldest gap that is due (`oldest_gaps`), so what is open after it was asked for as well.
    """
    oldest = oldest_gaps(session, today=today, asked_at=asked_at, account_nos=account_nos)
    if not oldest:
        return
    at = {f"at{place}": now + timedelta(hours=hours) for place, hours in enumerate(TRY_AGAIN_HOURS)}
    last = len(TRY_AGAIN_HOURS) - 1
    whens = " ".join(f"WHEN tries = {place} THEN :at{place}" for place in range(last))
    with staged(session, "tried_gaps", {"account_no": str, "day": date}, oldest.items()):
        run(
            session,
            f"UPDATE coverage_gaps SET tries = tries + 1, tried_at = :now, try_after = CASE {whens} ELSE :at{last} END"
            " FROM tried_gaps t WHERE coverage_gaps.account_no = t.account_no AND coverage_gaps.day >= t.day"
            " AND coverage_gaps.filled_at IS NULL AND coverage_gaps.found_at <= :asked_at",
            now=now, asked_at=asked_at, **at,
        )


def oldest_gaps(
    session: Session, *, today: date, asked_at: datetime, bank: str | None = None,
    account_nos: Sequence[str] | None = None,
) -> dict[str, date]:
    """The oldest open gap of each account that is due to be asked for, if one is and it is not too long past."""
    given: dict[str, Any] = {"first": today - timedelta(days=ASKED_DAYS_BACK_MAX), "asked_at": asked_at}
    where = ""
    if bank is not None:
        where, given["bank"] = " AND a.bank = :bank", bank
    if account_nos is not None:
        where, given["account_nos"] = f"{where} AND g.account_no IN EACH(:account_nos)", sorted(set(account_nos))
    reader = Reader(session)
    return {
        account_no: reader.on(day) for account_no, day in fetch(
            session,
            "SELECT g.account_no, min(g.day) FROM coverage_gaps g JOIN accounts a ON a.account_no = g.account_no"
            " WHERE g.filled_at IS NULL AND g.day >= :first AND g.found_at <= :asked_at"
            f" AND (g.try_after IS NULL OR g.try_after <= :asked_at){where} GROUP BY g.account_no", **given,
        )
    }


def move_coverage(session: Session, taken: Sequence[Taken], readings: Sequence[Reading]) -> None:
    """Bring the accounts' states up to these statements; something new was recorded of each of them."""
    newest = newest_readings(readings)
    spans: dict[str, list[date]] = defaultdict(list)
    for item in taken:
        spans[item.received.statement.account_no].extend(item.days)
    columns = {"account_no": str, "covered_from": date, "covered_to": date, **balance_columns(newest)}
    account_nos = sorted(spans)
    cells: tuple[Sequence[Any], ...] = (
        account_nos, [min(spans[account_no], default=None) for account_no in account_nos],
        [max(spans[account_no], default=None) for account_no in account_nos], *balance_cells(newest, account_nos),
    )
    balances = f", {move_balances(newest)}" if newest else ""
    with staged(session, "incoming_coverage", columns, ByColumn(cells)):
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
