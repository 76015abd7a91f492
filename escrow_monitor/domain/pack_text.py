"""From the tables of a TOML file to a Pack, or a PolicyError that says what is wrong, where, and what to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from difflib import get_close_matches
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import NoReturn, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from escrow_monitor.domain.accounts import Mode, Purpose
from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.clauses import (
    LADDER_DEFAULT,
    Applies,
    Clause,
    ClauseKind,
    DeemedFrom,
    FeeCap,
    FeedGap,
    Fixed,
    Found,
    Freshness,
    FullLiability,
    Ladder,
    LargeDebit,
    LessonConfirmation,
    OutflowCap,
    Pack,
    Per,
    PeriodFees,
    RatioOf,
    RatioWindow,
    RefundAnswer,
    RefundPayment,
    Schedule,
    SevenDayRight,
    Source,
    Terms,
    Tier,
    TopUp,
)
from escrow_monitor.domain.contracts import DeadlineUnit, SubjectKind
from escrow_monitor.domain.findings import Level, Sentence
from escrow_monitor.domain.institutions import InstitutionKind
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.errors import PolicyError

_ID = re.compile(r"[a-z0-9][a-z0-9._/-]{0,79}\Z", re.ASCII)
_JURISDICTION = re.compile(r"(?:[0-9]{6}|[A-Z]{2}(?:-[A-Z0-9]{1,3})?)\Z", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)
_RATIO = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,6})?\Z", re.ASCII)
_FLOW_OF_HELD_MONEY = (
    ClauseKind.FIXED, ClauseKind.RATIO_WINDOW, ClauseKind.FULL_LIABILITY, ClauseKind.PERIOD_FEES, ClauseKind.SCHEDULE,
    ClauseKind.OUTFLOW_CAP, ClauseKind.TOP_UP,
)
_CURRENCY_DEFAULT = "CNY"
_DAYS_MAX = 366
_MONTHS_MAX = 24
_PART_MAX = 1000
_LESSONS_MAX = 1000

E = TypeVar("E", bound=StrEnum)


def parse_pack(document: Mapping[str, object], *, where: str) -> Pack:
    """Read one pack from parsed TOML. `where` names the file in errors. Raises PolicyError at the first fault."""
    table = _Table(document, where)
    jurisdiction = table.text("jurisdiction", _JURISDICTION, "a GB/T 2260 code of six digits, or an ISO 3166 code")
    currency = table.text("currency", _CURRENCY, "three capitals such as CNY") if "currency" in table else None
    ladder = table.table("ladder") if "ladder" in table else None
    pack = Pack(
        id=table.text("id", _ID, "small letters, digits, '.', '-', '/'"),
        title=table.sentence("title"),
        jurisdiction=jurisdiction,
        calendar=_calendar(table) if "calendar" in table else None,
        zone=_zone(table) if "zone" in table else None,
        currency=currency,
        ladder=_ladder(ladder) if ladder is not None else None,
        notes=tuple(table.texts("notes")),
        clauses=tuple(_clause(each, jurisdiction, currency or _CURRENCY_DEFAULT) for each in table.tables("clause")),
        where=where,
    )
    table.nothing_else()
    ids = [clause.id for clause in pack.clauses]
    for clause_id in ids:
        if ids.count(clause_id) > 1:
            table.fault(f"two clauses have the id {clause_id!r}: give each its own, so that an alert can name one")
    return pack


def _calendar(table: _Table) -> str:
    name = table.text("calendar")
    try:
        return calendar_for(name).name
    except PolicyError as error:
        raise PolicyError(f"{table.where}: calendar: {error}") from error


def _zone(table: _Table) -> str:
    name = table.text("zone")
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise PolicyError(f"{table.where}: zone: {name!r} is not a time zone; write e.g. 'Asia/Shanghai'") from error


def _ladder(table: _Table) -> Ladder:
    days = table.count("red_after_working_days", low=0) if "red_after_working_days" in table else None
    ladder = Ladder(
        yellow_below=table.ratio("yellow_below", LADDER_DEFAULT.yellow_below),
        orange_below=table.ratio("orange_below", LADDER_DEFAULT.orange_below),
        red_below=table.ratio("red_below", LADDER_DEFAULT.red_below),
        margin=table.ratio("margin", LADDER_DEFAULT.margin),
        red_after_working_days=days,
    )
    table.nothing_else()
    if not ladder.red_below <= ladder.orange_below <= ladder.yellow_below:
        table.fault("red_below, orange_below and yellow_below must rise in this order")
    return ladder


def _clause(table: _Table, jurisdiction: str, currency: str) -> Clause[Terms]:
    clause_id = table.text("id", _ID, "small letters, digits, '.', '-', '/'")
    table = table.at(f"clause {clause_id}")
    kind = table.one_of("kind", ClauseKind)
    source = _source(table.table("source"))
    verified = table.truth("verified")
    if verified and source.found is not Found.READ:
        table.fault(f"verified = true needs a source that was read (found = 'F'), not '{source.found}': write false")
    effective_to = table.day("effective_to") if "effective_to" in table else None
    clause = Clause(
        id=clause_id,
        kind=kind,
        title=table.sentence("title"),
        terms=_TERMS[kind](table, currency),
        source=source,
        jurisdiction=jurisdiction,
        verified=verified,
        effective_from=table.day("effective_from"),
        effective_to=effective_to,
        applies=_applies(table.table("applies") if "applies" in table else None, kind),
        replaces=tuple(table.texts("replaces")),
    )
    table.nothing_else()
    if effective_to is not None and effective_to < clause.effective_from:
        table.fault(f"effective_to {effective_to} is before effective_from {clause.effective_from}")
    return clause


def _source(table: _Table) -> Source:
    source = Source(
        title=table.text("title"),
        found=table.one_of("found", Found),
        **{name: table.text(name) for name in ("document_no", "article", "url", "remark") if name in table},
    )
    table.nothing_else()
    return source


def _applies(table: _Table | None, kind: ClauseKind) -> Applies:
    """Read to whom a clause applies. A floor holds for held money: settlement accounts are left out unless named."""
    purposes = frozenset((Purpose.ESCROW, Purpose.DEPOSIT)) if kind in _FLOW_OF_HELD_MONEY else frozenset()
    if table is None:
        return Applies(purposes=purposes)
    applies = Applies(
        kinds=table.some_of("kinds", InstitutionKind),
        purposes=table.some_of("purposes", Purpose) or purposes,
        modes=table.some_of("modes", Mode),
    )
    table.nothing_else()
    return applies


def _fixed(table: _Table, currency: str) -> Fixed:
    if "tiers" not in table:
        return Fixed(tiers=(Tier(credits_below=None, amount=table.money("amount", currency)),))
    tiers = []
    for each in table.tables("tiers"):
        below = each.money("credits_below", currency) if "credits_below" in each else None
        tiers.append(Tier(credits_below=below, amount=each.money("amount", currency)))
        each.nothing_else()
    if not tiers or tiers[-1].credits_below is not None or any(tier.credits_below is None for tier in tiers[:-1]):
        table.fault("the last tier, and only the last, has no credits_below: it holds for all the rest")
    limits = [tier.credits_below for tier in tiers if tier.credits_below is not None]
    rises = all(one < two for one, two in pairwise(limits))
    if not rises or any(one.amount > two.amount for one, two in pairwise(tiers)):
        table.fault("tiers must rise, in credits_below and in amount")
    return Fixed(tiers=tuple(tiers), months=table.count("months", low=1, high=_MONTHS_MAX))


def _ratio_window(table: _Table, _currency: str) -> RatioWindow:
    of = table.one_of("of", RatioOf) if "of" in table else RatioOf.CREDITS
    return RatioWindow(ratio=table.ratio("ratio"), months=table.count("months", low=1, high=_MONTHS_MAX), of=of)


def _full_liability(_table: _Table, _currency: str) -> FullLiability:
    return FullLiability()


def _period_fees(table: _Table, _currency: str) -> PeriodFees:
    return PeriodFees(months=table.count("months", low=1, high=_MONTHS_MAX))


def _schedule(table: _Table, _currency: str) -> Schedule:
    return Schedule(parts=table.counts("parts", high=_PART_MAX))


def _outflow_cap(table: _Table, _currency: str) -> OutflowCap:
    return OutflowCap(times=table.ratio("times"), level=table.level(Level.RED))


def _large_debit(table: _Table, currency: str) -> LargeDebit:
    terms = LargeDebit(
        amount=table.money("amount", currency) if "amount" in table else None,
        share_of_previous_closing=(
            table.ratio("share_of_previous_closing") if "share_of_previous_closing" in table else None
        ),
        per=table.one_of("per", Per),
        level=table.level(Level.YELLOW),
    )
    if terms.amount is None and terms.share_of_previous_closing is None:
        table.fault("a large debit needs amount or share_of_previous_closing")
    return terms


def _top_up(table: _Table, _currency: str) -> TopUp:
    return TopUp(working_days=table.count("working_days", low=0))


def _freshness(table: _Table, _currency: str) -> Freshness:
    return Freshness(
        final_by=table.clock("final_by"),
        level=table.level(Level.YELLOW),
        orange_after_working_days=(
            table.count("orange_after_working_days", low=0) if "orange_after_working_days" in table else 3
        ),
        intraday_hours_max=table.count("intraday_hours_max", low=1) if "intraday_hours_max" in table else None,
    )


def _feed_gap(table: _Table, _currency: str) -> FeedGap:
    return FeedGap(working_days=table.count("working_days", low=0), level=table.level(Level.YELLOW))


def _lesson_confirmation(table: _Table, _currency: str) -> LessonConfirmation:
    return LessonConfirmation(working_days=table.count("working_days", low=1), deemed_from=_deemed_from(table))


def _refund_answer(table: _Table, _currency: str) -> RefundAnswer:
    return RefundAnswer(working_days=table.count("working_days", low=1), deemed_from=_deemed_from(table))


def _deemed_from(table: _Table) -> DeemedFrom:
    return table.one_of("deemed_from", DeemedFrom) if "deemed_from" in table else DeemedFrom.NEXT_DAY


def _refund_payment(table: _Table, _currency: str) -> RefundPayment:
    return RefundPayment(
        days_before_start=table.count("days_before_start", low=0),
        days_after_start=table.count("days_after_start", low=0),
        unit=table.one_of("unit", DeadlineUnit) if "unit" in table else DeadlineUnit.CALENDAR,
    )


def _seven_day_right(table: _Table, _currency: str) -> SevenDayRight:
    return SevenDayRight(days=table.count("days", low=1))


def _fee_cap(table: _Table, currency: str) -> FeeCap:
    terms = FeeCap(
        lessons=table.count("lessons", low=1, high=_LESSONS_MAX) if "lessons" in table else None,
        months=table.count("months", low=1, high=_MONTHS_MAX) if "months" in table else None,
        amount=table.money("amount", currency) if "amount" in table else None,
        months_before_start=(
            table.count("months_before_start", low=0, high=_MONTHS_MAX) if "months_before_start" in table else None
        ),
        lessons_left=table.count("lessons_left", low=0, high=_LESSONS_MAX) if "lessons_left" in table else None,
        channels=frozenset(text.strip().casefold() for text in table.texts("channels")),
        subject_kinds=table.some_of("subject_kinds", SubjectKind),
    )
    if all(each is None for each in (terms.lessons, terms.months, terms.amount, terms.months_before_start)) and (
        not terms.channels
    ):
        table.fault("a fee cap needs lessons, months, amount, months_before_start or channels")
    if terms.lessons_left is not None and terms.months_before_start is None:
        table.fault("lessons_left is an exception from months_before_start, which is missing")
    return terms


_TERMS: Mapping[ClauseKind, Callable[[_Table, str], Terms]] = {
    ClauseKind.FIXED: _fixed,
    ClauseKind.RATIO_WINDOW: _ratio_window,
    ClauseKind.FULL_LIABILITY: _full_liability,
    ClauseKind.PERIOD_FEES: _period_fees,
    ClauseKind.SCHEDULE: _schedule,
    ClauseKind.OUTFLOW_CAP: _outflow_cap,
    ClauseKind.LARGE_DEBIT: _large_debit,
    ClauseKind.TOP_UP: _top_up,
    ClauseKind.FRESHNESS: _freshness,
    ClauseKind.FEED_GAP: _feed_gap,
    ClauseKind.LESSON_CONFIRMATION: _lesson_confirmation,
    ClauseKind.REFUND_ANSWER: _refund_answer,
    ClauseKind.REFUND_PAYMENT: _refund_payment,
    ClauseKind.SEVEN_DAY_RIGHT: _seven_day_right,
    ClauseKind.FEE_CAP: _fee_cap,
}


@dataclass(slots=True)
class _Table:
    """One TOML table being read: knows where it stands and which keys were asked for, so the rest can be refused."""

    content: Mapping[str, object]
    where: str
    asked: set[str] = field(default_factory=set)

    def __contains__(self, key: str) -> bool:
        self.asked.add(key)
        return key in self.content

    def at(self, part: str) -> _Table:
        """The same table, named better in errors."""
        return _Table(self.content, f"{self.where.rpartition(': ')[0]}: {part}", self.asked)

    def fault(self, what: str) -> NoReturn:
        raise PolicyError(f"{self.where}: {what}")

    def nothing_else(self) -> None:
        """Refuse a key that nobody asked for: a misspelt key must not be a rule that silently does not hold."""
        for key in self.content:
            if key not in self.asked:
                near = get_close_matches(key, sorted(self.asked), n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(self.asked))}"
                self.fault(f"unknown key {key!r}; {hint}")

    def value(self, key: str) -> object:
        if key not in self:
            near = get_close_matches(key, [each for each in self.content if each not in self.asked], n=1)
            self.fault(f"{key!r} is missing" + (f"; did you mean it by {near[0]!r}?" if near else ""))
        return self.content[key]

    def text(self, key: str, shape: re.Pattern[str] | None = None, like: str = "") -> str:
        value = self.value(key)
        if not isinstance(value, str) or not value.strip():
            self.fault(f"{key} must be text in quotes, not {value!r}")
        if shape is not None and not shape.match(value):
            self.fault(f"{key} = {value!r} must be {like}")
        return value

    def texts(self, key: str) -> list[str]:
        if key not in self:
            return []
        value = self.content[key]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self.fault(f"{key} must be a list of texts, not {value!r}")
        return [str(each) for each in value]

    def sentence(self, key: str) -> Sentence:
        """`title` in Chinese beside `title_en` in English."""
        return Sentence(zh=self.text(key), en=self.text(f"{key}_en"))

    def truth(self, key: str) -> bool:
        value = self.value(key)
        if not isinstance(value, bool):
            self.fault(f"{key} must be true or false, not {value!r}")
        return value

    def count(self, key: str, *, low: int, high: int = _DAYS_MAX) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fault(f"{key} must be a whole number from {low} to {high}, not {value!r}")
        return value

    def counts(self, key: str, *, high: int) -> tuple[int, ...]:
        """A list of whole numbers above zero, at least one."""
        value = self.value(key)
        if (
            not isinstance(value, list) or not value
            or not all(isinstance(each, int) and not isinstance(each, bool) and 1 <= each <= high for each in value)
        ):
            self.fault(f"{key} must be a list of whole numbers from 1 to {high} such as [30, 30, 40], not {value!r}")
        return tuple(value)

    def ratio(self, key: str, default: Fraction | None = None) -> Fraction:
        """An exact decimal. It stands in quotes, because a bare 0.2 in TOML is binary and not exactly 0.2."""
        if default is not None and key not in self:
            return default
        value = self.value(key)
        if not isinstance(value, str) or not _RATIO.match(value):
            self.fault(f'{key} must be a decimal in quotes such as "0.20", not {value!r}')
        return Fraction(value)

    def money(self, key: str, currency: str) -> Money:
        value = self.value(key)
        if not isinstance(value, str):
            self.fault(f'{key} must be an amount in quotes such as "50000.00", not {value!r}')
        try:
            money = parse_amount(value, currency)
        except AmountError as error:
            raise PolicyError(f"{self.where}: {key}: {error}") from error
        if money.minor_units < 0:
            self.fault(f"{key} = {value!r} is below zero")
        return money

    def day(self, key: str) -> date:
        value = self.value(key)
        if not isinstance(value, date) or isinstance(value, datetime):
            self.fault(f"{key} must be a date without quotes such as 2026-01-01, not {value!r}")
        return value

    def clock(self, key: str) -> time:
        value = self.text(key)
        try:
            read = time.fromisoformat(value)
        except ValueError as error:
            raise PolicyError(f'{self.where}: {key} = {value!r} is not a time of day such as "12:00"') from error
        if read.tzinfo is not None:
            self.fault(f"{key} = {value!r} is local time and carries no zone")
        return read

    def level(self, default: Level) -> Level:
        return self.one_of("level", Level) if "level" in self else default

    def one_of(self, key: str, words: type[E]) -> E:
        return self._word(key, self.text(key), words)

    def some_of(self, key: str, words: type[E]) -> frozenset[E]:
        return frozenset(self._word(key, each, words) for each in self.texts(key))

    def _word(self, key: str, value: str, words: type[E]) -> E:
        known = [each.value for each in words]
        if value not in known:
            near = get_close_matches(value, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            self.fault(f"{key} = {value!r} is not known; {hint}")
        return words(value)

    def table(self, key: str) -> _Table:
        value = self.value(key)
        if not isinstance(value, Mapping):
            self.fault(f"{key} must be a table, not {value!r}")
        return _Table(value, f"{self.where}: {key}")

    def tables(self, key: str) -> list[_Table]:
        if key not in self:
            return []
        value = self.content[key]
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            self.fault(f"{key} must be a list of tables, written [[{key}]]")
        return [_Table(each, f"{self.where}: {key} {number}") for number, each in enumerate(value, start=1)]
