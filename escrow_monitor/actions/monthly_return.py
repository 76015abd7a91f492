"""The monthly return of a district: what each account's month was, added up by institution, district and all.

    accounts, a piece at a time --> days recorded, floors of each day --> one row an account
                                                                      --> one row an institution and currency
    rows of institutions --> one row a district --> one row of all; each level adds up, or it is said

After the FCA's REP020: highest and lowest balance, days short, largest shortfall, excess withdrawn, breaches, items not
reconciled. Every day of a month that has begun is met, short or unknown; unknown is never met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import groupby
from typing import TypedDict

import numpy as np

from escrow_monitor.actions.month_books import AskedDays, floors_of, holders
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.account_month import (
    NONE,
    Bools,
    Ints,
    MonthDays,
    MonthFigures,
    carried,
    figures_of,
    together,
)
from escrow_monitor.domain.calendar import CalendarUnknown, next_working_day_after
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.timetable import due_day
from escrow_monitor.domain.visibility import DISTRICT_SHAPE, EVERYTHING, Visible
from escrow_monitor.errors import UsageError
from escrow_monitor.records.alerts.month_counts import NOTHING, Published, published
from escrow_monitor.records.bank.month_days import (
    RecordedDays,
    RegisteredAccount,
    account_pieces,
    recorded_days,
)
from escrow_monitor.records.database import Session
from escrow_monitor.records.reconciliation.month_ends import MonthEnd, month_ends

MONTH_SHAPE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])\Z", re.ASCII)
LEAD_DAYS_MAX = 12
"""So many days before the month are looked at where it begins with days off: the longest run of them and a little."""
BREACH_RULES = frozenset({"floor"})
"""An alert by one of these is a breach of the minimum balance."""
FIRST_YEAR = 2000

Progress = Callable[[int, int | None], None]


class Level(StrEnum):
    """What a row of the return is about."""

    ALL = "all"
    DISTRICT = "district"
    INSTITUTION = "institution"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What adds up from level to level. Money in fen."""

    accounts: int = 0
    days_due: int = 0
    days_met: int = 0
    days_short: int = 0
    days_balance_unknown: int = 0
    days_floor_unknown: int = 0
    accounts_short: int = 0
    accounts_unknown: int = 0
    statement_gaps: int = 0
    received: int = 0
    paid_out: int = 0
    paid_above: int = 0
    paid_below: int = 0
    paid_apart: int = 0
    breaches_opened: int = 0
    breaches_resolved: int = 0

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in COUNTED})


COUNTED = tuple(each.name for each in fields(Counts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnRow:
    """One line of the return, amounts in fen of `currency`; None where it does not apply or is not known.

    `highest`, `lowest` and `floor_last` (the floor of the last day that counts; at least that where not `floor_whole`)
    are those of the account, or of all accounts of the institution together on days on which all are known. Of
    districts there is none. `shortfall` is the largest of one account (of an institution together). `alerts_*` count
    alerts by any rule, `items` are not reconciled by the reconciliation of the day `reconciled_on`.
    """

    level: Level
    currency: str
    counts: Counts
    district: str | None = None
    uscc: str | None = None
    name: str | None = None
    account_no: str | None = None
    bank: str | None = None
    institutions: int | None = None
    highest: int | None = None
    highest_on: date | None = None
    lowest: int | None = None
    lowest_on: date | None = None
    floor_last: int | None = None
    floor_whole: bool | None = None
    shortfall: int | None = None
    shortfall_on: date | None = None
    alerts_opened: int | None = None
    alerts_resolved: int | None = None
    reconciled_on: date | None = None
    reconciled: bool | None = None
    items: int | None = None
    institutions_unreconciled: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedReturn:
    """Which return: the month `2026-10`, of institutions in districts that begin with this code, and who may see."""

    month: str
    district: str | None = None
    visible: Visible = EVERYTHING

    def __post_init__(self) -> None:
        if not MONTH_SHAPE.match(self.month) or int(self.month[:4]) < FIRST_YEAR:
            raise UsageError(f"{self.month!r} is not a month: write it like 2026-10")
        if self.district is not None and not DISTRICT_SHAPE.match(self.district):
            raise UsageError(f"{self.district!r} is not a district: write the beginning of its code, like 5103")

    @property
    def first(self) -> date:
        """The first day of the month."""
        return date(int(self.month[:4]), int(self.month[5:]), 1)

    @property
    def last(self) -> date:
        """Its last day."""
        return (self.first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class MonthlyReturn:
    """A return. `rows` are ordered: all, districts, then institutions each with its accounts.

    `residuals` are what the levels differ by, none where all add up. `unseen_alerts` began or ended in the month and
    are about nothing that the rows are about.
    """

    asked: AskedReturn
    generated_at: datetime
    policy_version: str
    days_over: int
    ended: bool
    rows: Sequence[ReturnRow]
    residuals: Mapping[str, int] = field(default_factory=dict)
    unseen_alerts: Published = NOTHING

    def of(self, level: Level) -> list[ReturnRow]:
        """The rows of one level."""
        return [row for row in self.rows if row.level is level]

    @property
    def totals(self) -> Counts:
        """Over all currencies: days and counts add up, amounts only of one currency do."""
        return _sum(row.counts for row in self.of(Level.ALL))

    @property
    def complete(self) -> bool:
        """Whether the month is over, every day is known, everything is reconciled and everything adds up."""
        return not self.missing

    @property
    def missing(self) -> list[Sentence]:
        """What makes it incomplete, a sentence each."""
        return _missing(self)

    @property
    def sentence(self) -> Sentence:
        """Whether it is complete, in one sentence."""
        if not self.missing:
            return _COMPLETE
        return Sentence(
            zh="不完整：" + "；".join(each.zh for each in self.missing) + "。",
            en="Incomplete: " + "; ".join(each.en for each in self.missing) + ".",
        )


def monthly_return(
    session: Session, asked: AskedReturn, *, policies: PolicyBook, now: datetime, progress: Progress | None = None
) -> MonthlyReturn:
    """Make the return from what is recorded now. Raises UsageError for a month that has not begun."""
    today = now.astimezone(ZONE).date()
    if asked.first > today:
        raise UsageError(f"{asked.month} has not begun: there is nothing to return yet")
    over = min(asked.last, today - timedelta(days=1))
    maker = _Maker(session, asked, policies=policies, now=now)
    accounts: list[ReturnRow] = []
    institutions: list[ReturnRow] = []
    if over >= asked.first:
        for piece in account_pieces(session, district=asked.district, visible=asked.visible):
            for rows in maker.rows(piece, over):
                institutions.append(rows[0])
                accounts += rows[1:]
            if progress is not None:
                progress(len(accounts), None)
    return _put_together(asked, maker, institutions, accounts, over=over, now=now)


class _Maker:
    """Makes the rows of some accounts; knows what was published and reconciled in the month."""

    def __init__(self, session: Session, asked: AskedReturn, *, policies: PolicyBook, now: datetime) -> None:
        self._session, self._asked, self.policies, self._now = session, asked, policies, now
        begins = datetime.combine(asked.first, time(), ZONE)
        ends = datetime.combine(asked.last + timedelta(days=1), time(), ZONE)
        self._accounts: dict[str, Published] = {}
        self._holders: dict[str, Published] = {}
        self._told: dict[tuple[str | None, str | None], Published] = {}
        for (uscc, account_no, rule), counted in published(session, since=begins, until=ends).items():
            if account_no is not None and rule in BREACH_RULES:
                self._accounts[account_no] = self._accounts.get(account_no, NOTHING).plus(counted)
            key = (uscc, None if uscc is not None else account_no)
            self._told[key] = self._told.get(key, NOTHING).plus(counted)
        self._ends = month_ends(session, first=asked.first, last=asked.last)

    def rows(self, piece: Sequence[RegisteredAccount], over: date) -> Iterator[list[ReturnRow]]:
        """For each institution and currency of these accounts its row, and the rows of its accounts."""
        days = self._days(piece, over)
        begins, keys = holders(piece)
        alone, joint, whole = figures_of(days), None, days
        if len(begins) < len(piece):
            whole = together(days, np.array(begins, np.int64))
            joint = figures_of(whole)
        gaps = self._gaps
        ends = [*begins[1:], len(piece)]
        for at, (begin, end, key) in enumerate(zip(begins, ends, keys, strict=True)):
            rows = [
                self._account(piece[place], alone, days, place, gaps=int(gaps[place])) for place in range(begin, end)
            ]
            yield [self._institution(piece[begin], key, joint or alone, whole, at, rows), *rows]

    def unseen(self) -> Published:
        """What was published and is about nothing that was asked for since."""
        return _published_sum(self._told.values())

    def _account(
        self, one: RegisteredAccount, found: MonthFigures, days: MonthDays, place: int, *, gaps: int
    ) -> ReturnRow:
        account = one.account
        breaches = self._accounts.get(account.account_no, NOTHING)
        told = NOTHING if account.uscc is not None else self._told.pop((None, account.account_no), NOTHING)
        counts = _counts(found, place, accounts=1, gaps=gaps, breaches=breaches)
        return ReturnRow(
            level=Level.ACCOUNT, currency=account.currency, counts=counts, uscc=account.uscc,
            district=None if one.institution is None else one.institution.district,
            name=None if one.institution is None else one.institution.name, account_no=account.account_no,
            bank=account.bank, **_extremes(found, days, place, self._asked.first),
            alerts_opened=told.opened if account.uscc is None else None,
            alerts_resolved=told.resolved if account.uscc is None else None,
        )

    def _institution(
        self, one: RegisteredAccount, key: tuple[str | None, str], found: MonthFigures, days: MonthDays, place: int,
        rows: Sequence[ReturnRow],
    ) -> ReturnRow:
        uscc, currency = key
        # An institution with accounts in two currencies has its alerts told once.
        told = NOTHING if uscc is None else self._told.pop((uscc, None), NOTHING)
        if uscc is None:
            told = _published_sum(
                Published(row.alerts_opened or 0, row.alerts_resolved or 0) for row in rows
            )
        end: MonthEnd | None = None if uscc is None else self._ends.get((uscc, currency))
        return ReturnRow(
            level=Level.INSTITUTION, currency=currency, counts=_sum(row.counts for row in rows), uscc=uscc,
            district=None if one.institution is None else one.institution.district,
            name=None if one.institution is None else one.institution.name, institutions=1,
            **_extremes(found, days, place, self._asked.first), alerts_opened=told.opened,
            alerts_resolved=told.resolved, reconciled_on=None if end is None else end.on,
            reconciled=None if end is None else end.complete and end.residual_fen == 0,
            items=None if end is None else end.items,
            institutions_unreconciled=0 if end is not None and end.complete and not end.residual_fen else 1,
        )

    # the days of some accounts

    def _days(self, piece: Sequence[RegisteredAccount], over: date) -> MonthDays:
        session, first = self._session, self._asked.first
        numbers = [one.account.account_no for one in piece]
        lead = self._lead(first)
        recorded = recorded_days(session, numbers, first - timedelta(days=lead), over)
        groups = self._groups(piece)
        off: Bools = np.zeros_like(recorded.covered)
        due = np.zeros((len(piece), (over - first).days + 1), np.bool_)
        for policy, places in groups:
            off[places] = self._off(policy, first - timedelta(days=lead), off.shape[1])
            due[places] = self._counting(policy, first, due.shape[1])
        balance, known = carried(recorded.balance, recorded.covered, off & ~recorded.moved & ~recorded.gap)
        balance, known = balance[:, lead:], known[:, lead:]
        recorded = RecordedDays(**{each.name: getattr(recorded, each.name)[:, lead:] for each in fields(RecordedDays)})
        due = (due | recorded.covered) & self._open(piece, first, due.shape[1])
        self._gaps = (due & recorded.gap).sum(axis=1)
        asked = AskedDays(
            session=session, piece=piece, numbers=numbers, first=first, last=over, balance=balance, known=known,
            received=recorded.received, uncovered=due & ~known, policies=self.policies,
        )
        floor = floors_of(asked, groups)
        return MonthDays(
            balance=balance, known=known, floor=floor.amount, floor_known=floor.known, floor_whole=floor.whole, due=due,
            received=recorded.received, paid_out=recorded.paid_out,
        )

    def _groups(self, piece: Sequence[RegisteredAccount]) -> list[tuple[EffectivePolicy, Ints]]:
        """The accounts that are alike to the law and of one currency, with what holds on the first day."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for place, one in enumerate(piece):
            held = one.institution
            law = (None, None, None) if held is None else (held.district, held.policy, held.kind)
            alike.setdefault((*law, one.account.purpose, one.account.mode, one.account.currency), []).append(place)
        return [
            (
                self.policies.effective(
                    institution=piece[places[0]].institution, account=piece[places[0]].account, on=self._asked.first
                ),
                np.array(places, np.int64),
            )
            for places in alike.values()
        ]

    @staticmethod
    def _lead(first: date) -> int:
        """How many days before the month a day off at its beginning may lean on."""
        return LEAD_DAYS_MAX if first.weekday() >= 5 or first.month in (1, 2, 5, 10) else 4

    @staticmethod
    def _off(policy: EffectivePolicy, first: date, width: int) -> Bools:
        """The days on which banks book nothing. A calendar that is not published knows of none."""
        def is_off(day: date) -> bool:
            try:
                return not policy.calendar.is_working_day(day)
            except CalendarUnknown:
                return False

        return np.array([is_off(first + timedelta(days=step)) for step in range(width)], np.bool_)

    def _counting(self, policy: EffectivePolicy, first: date, width: int) -> Bools:
        """The days whose final balance is due by now, and the days off after them."""
        try:
            until = next_working_day_after(due_day(policy, self._now), policy.calendar)
        except CalendarUnknown:
            until = first + timedelta(days=width)
        return np.array([first + timedelta(days=step) < until for step in range(width)], np.bool_)

    @staticmethod
    def _open(piece: Sequence[RegisteredAccount], first: date, width: int) -> Bools:
        """The days on which each account was open, as far as the register and the bank say."""
        begins = np.array([
            0 if one.account.opened_on is None else (one.account.opened_on - first).days for one in piece
        ])
        ends = np.array([width if one.closed_on is None else (one.closed_on - first).days for one in piece])
        columns = np.arange(width)
        return np.asarray((columns >= begins[:, None]) & (columns <= ends[:, None]), np.bool_)


# rows


def _counts(found: MonthFigures, place: int, *, accounts: int, gaps: int, breaches: Published) -> Counts:
    def at(values: Ints) -> int:
        return int(values[place])

    unknown = at(found.days_balance_unknown) + at(found.days_floor_unknown)
    return Counts(
        accounts=accounts, days_due=at(found.days_due), days_met=at(found.days_met), days_short=at(found.days_short),
        days_balance_unknown=at(found.days_balance_unknown), days_floor_unknown=at(found.days_floor_unknown),
        accounts_short=int(at(found.days_short) > 0), accounts_unknown=int(unknown > 0), statement_gaps=gaps,
        received=at(found.received), paid_out=at(found.paid_out), paid_above=at(found.paid_above),
        paid_below=at(found.paid_below), paid_apart=at(found.paid_apart), breaches_opened=breaches.opened,
        breaches_resolved=breaches.resolved,
    )


class _Extremes(TypedDict):
    highest: int | None
    highest_on: date | None
    lowest: int | None
    lowest_on: date | None
    floor_last: int | None
    floor_whole: bool | None
    shortfall: int | None
    shortfall_on: date | None


def _extremes(found: MonthFigures, days: MonthDays, place: int, first: date) -> _Extremes:
    """What is not added up: the highest and lowest balance, the floor of the last day, the largest shortfall."""
    def extreme(amount: Ints, on: Ints) -> tuple[int | None, date | None]:
        column = int(on[place])
        return (None, None) if column == NONE else (int(amount[place]), first + timedelta(days=column))

    highest, highest_on = extreme(found.highest, found.highest_on)
    lowest, lowest_on = extreme(found.lowest, found.lowest_on)
    shortfall, shortfall_on = extreme(found.shortfall, found.shortfall_on)
    last = days.last_due[place]
    is_known = last != NONE and bool(days.floor_known[place, last])
    return _Extremes(
        highest=highest, highest_on=highest_on, lowest=lowest, lowest_on=lowest_on,
        floor_last=int(days.floor[place, last]) if is_known else None,
        floor_whole=bool(days.floor_whole[place, last]) if is_known else None, shortfall=shortfall,
        shortfall_on=shortfall_on,
    )


def _put_together(
    asked: AskedReturn, maker: _Maker, institutions: Sequence[ReturnRow], accounts: Sequence[ReturnRow], *,
    over: date, now: datetime,
) -> MonthlyReturn:
    by_district = sorted(institutions, key=lambda row: (row.district or "", row.currency))
    districts = [
        _added(list(rows), level=Level.DISTRICT, district=district or None, currency=currency)
        for (district, currency), rows in groupby(by_district, key=lambda row: (row.district or "", row.currency))
    ]
    currencies = sorted({row.currency for row in districts})
    totals = [
        _added([row for row in districts if row.currency == currency], level=Level.ALL, currency=currency)
        for currency in currencies
    ]
    by_holder: dict[tuple[str | None, str], list[ReturnRow]] = {}
    for row in accounts:
        by_holder.setdefault((row.uscc, row.currency), []).append(row)
    ordered = sorted(institutions, key=lambda row: (row.district or "", row.uscc or "", row.currency))
    rows: list[ReturnRow] = [*totals, *districts]
    for row in ordered:
        rows += [row, *by_holder[row.uscc, row.currency]]
    # Of what somebody may not see, nothing is counted.
    unseen = maker.unseen() if asked.visible.is_everything and asked.district is None else NOTHING
    return MonthlyReturn(
        asked=asked, generated_at=now, policy_version=maker.policies.version,
        days_over=max(0, (over - asked.first).days + 1), ended=over == asked.last, rows=rows,
        residuals=_residuals(rows), unseen_alerts=unseen,
    )


def _added(rows: Sequence[ReturnRow], *, level: Level, currency: str, district: str | None = None) -> ReturnRow:
    worst = max((row for row in rows if row.shortfall is not None), key=lambda row: row.shortfall or 0, default=None)
    return ReturnRow(
        level=level, currency=currency, district=district, counts=_sum(row.counts for row in rows),
        institutions=sum(row.institutions or 0 for row in rows),
        shortfall=None if worst is None else worst.shortfall,
        shortfall_on=None if worst is None else worst.shortfall_on,
        alerts_opened=sum(row.alerts_opened or 0 for row in rows),
        alerts_resolved=sum(row.alerts_resolved or 0 for row in rows),
        items=sum(row.items or 0 for row in rows),
        institutions_unreconciled=sum(row.institutions_unreconciled or 0 for row in rows),
    )


def _residuals(rows: Sequence[ReturnRow]) -> dict[str, int]:
    """What the levels differ by, and what is left of the days and payments of each; only what is not 0."""
    levels = {level: _sum(row.counts for row in rows if row.level is level) for level in Level}
    found = {}
    for name in COUNTED:
        for lower, upper in ((Level.ACCOUNT, Level.INSTITUTION), (Level.INSTITUTION, Level.DISTRICT),
                             (Level.DISTRICT, Level.ALL)):
            found[f"{lower}/{upper}/{name}"] = getattr(levels[lower], name) - getattr(levels[upper], name)
    every = levels[Level.ALL]
    found["days"] = every.days_due - every.days_met - every.days_short - (
        every.days_balance_unknown + every.days_floor_unknown
    )
    found["paid_out"] = every.paid_out - every.paid_above - every.paid_below - every.paid_apart
    return {name: left for name, left in found.items() if left}


def _sum(counts: Iterable[Counts]) -> Counts:
    # Added column by column: for a city a value an addition would be made a million times.
    rows = list(counts)
    if len(rows) == 1:
        return rows[0]
    return Counts(**{name: sum(getattr(row, name) for row in rows) for name in COUNTED})


def _published_sum(counted: Iterable[Published]) -> Published:
    rows = list(counted)
    return Published(sum(each.opened for each in rows), sum(each.resolved for each in rows))


# sentences


def _missing(found: MonthlyReturn) -> list[Sentence]:
    totals, said = found.totals, []
    if not found.ended:
        said.append(Sentence(
            zh=f"本月尚未结束，已过 {found.days_over} 天",
            en=f"the month has not ended, {found.days_over} days of it are over",
        ))
    accounts = found.of(Level.ACCOUNT)
    for name, zh, en in (
        ("days_balance_unknown", "{n} 个账户共有 {days} 天余额未知",
         "{n} {accounts} {have} {days} days of which no balance is known"),
        ("days_floor_unknown", "{n} 个账户共有 {days} 天最低余额未知，无法判断",
         "of {n} {accounts} the floor is not known on {days} days"),
    ):
        days = getattr(totals, name)
        if days:
            some = sum(1 for row in accounts if getattr(row.counts, name))
            given = {"n": some, "days": days, "accounts": "account" if some == 1 else "accounts",
                     "have": "has" if some == 1 else "have"}
            said.append(Sentence(zh=zh.format_map(given), en=_one_day(en.format_map(given))))
    open_ones = sum(row.institutions_unreconciled or 0 for row in found.of(Level.ALL))
    if open_ones:
        said.append(Sentence(
            zh=f"{open_ones} 家机构本月没有完整的对账",
            en=f"{open_ones} {'institution has' if open_ones == 1 else 'institutions have'} no complete reconciliation",
        ))
    if found.residuals:
        said.append(Sentence(
            zh=f"合计不符：{', '.join(sorted(found.residuals))}",
            en=f"totals differ: {', '.join(sorted(found.residuals))}"
        ))
    return said


def _one_day(text: str) -> str:
    return re.sub(r"\b1 days\b", "1 day", text)


_COMPLETE = Sentence(
    zh="完整：每个账户每一天的余额和最低余额均已知，全部机构已对账，各级合计相符。",
    en="Complete: the balance and floor of every account are known on every day, every institution is reconciled, and "
       "all levels add up.",
)


def last_month(now: datetime) -> str:
    """The month that ended last."""
    return f"{now.astimezone(ZONE).date().replace(day=1) - timedelta(days=1):%Y-%m}"


