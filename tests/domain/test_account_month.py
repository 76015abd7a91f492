"""What a month was of an account, as a table: met, short or unknown, and what was paid out above the floor."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.account_month import NONE, Bools, Ints, MonthDays, carried, figures_of, share_of, together
from escrow_monitor.domain.clauses import (
    Clause,
    ClauseKind,
    Fixed,
    FloorClause,
    FloorTerms,
    Found,
    FullLiability,
    PeriodFees,
    RatioOf,
    RatioWindow,
    Source,
    Tier,
)
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.month_floors import FloorFacts, Part, floors
from escrow_monitor.domain.requirement import share


def days(**given: object) -> MonthDays:
    """Accounts of some days; what is not given is known, whole, due and nothing moved."""
    balance = np.array(given.pop("balance"), np.int64)

    def flags(name: str) -> Bools:
        return np.array(given.pop(name, np.ones_like(balance)), np.bool_)

    def amounts(name: str) -> Ints:
        return np.array(given.pop(name, np.zeros_like(balance)), np.int64)

    found = MonthDays(
        balance=balance, known=flags("known"), floor=amounts("floor"), floor_known=flags("floor_known"),
        floor_whole=flags("floor_whole"), due=flags("due"), received=amounts("received"), paid_out=amounts("paid_out"),
    )
    assert not given
    return found


def test_every_day_that_counts_is_met_short_or_unknown() -> None:
    found = figures_of(days(
        #          met  short  no balance  floor at least, above it  floor at least, below it  no floor  does not count
        balance=[[120, 80, 0, 120, 80, 120, 1]], floor=[[100, 100, 100, 100, 100, 0, 100]],
        known=[[1, 1, 0, 1, 1, 1, 1]], floor_known=[[1, 1, 1, 1, 1, 0, 1]], floor_whole=[[1, 1, 1, 0, 0, 0, 1]],
        due=[[1, 1, 1, 1, 1, 1, 0]],
    ))
    assert (found.days_due[0], found.days_met[0], found.days_short[0]) == (6, 1, 2)
    assert (found.days_balance_unknown[0], found.days_floor_unknown[0]) == (1, 2)
    assert (found.highest[0], found.highest_on[0], found.lowest[0], found.lowest_on[0]) == (120, 0, 80, 1)
    assert (found.shortfall[0], found.shortfall_on[0]) == (20, 1)


def test_an_account_of_which_nothing_is_known_has_no_highest_and_is_never_met() -> None:
    found = figures_of(days(balance=[[0, 0]], known=[[0, 0]], floor=[[0, 0]]))
    assert (found.highest_on[0], found.lowest_on[0], found.shortfall_on[0]) == (NONE, NONE, NONE)
    assert (found.days_met[0], found.days_balance_unknown[0]) == (0, 2)


@pytest.mark.parametrize(
    ("closing", "floor", "paid", "known", "expected"),
    [
        (150, 100, 30, True, (30, 0, 0)), (100, 100, 30, True, (30, 0, 0)), (90, 100, 30, True, (20, 10, 0)),
        (70, 100, 30, True, (0, 30, 0)), (20, 100, 30, True, (0, 30, 0)), (150, 100, 0, True, (0, 0, 0)),
        (90, 100, 30, False, (0, 0, 30)),
    ],
)
def test_what_was_paid_out_is_above_the_floor_below_it_or_cannot_be_told(
    closing: int, floor: int, paid: int, known: bool, expected: tuple[int, int, int]
) -> None:
    found = figures_of(days(balance=[[closing]], floor=[[floor]], paid_out=[[paid]], floor_whole=[[known]]))
    assert (found.paid_above[0], found.paid_below[0], found.paid_apart[0]) == expected


_AMOUNT = st.integers(-10**9, 10**9)
_DAY = st.tuples(_AMOUNT, st.integers(0, 10**9), st.integers(0, 10**9), st.booleans(), st.booleans(), st.booleans(),
                 st.booleans())


@given(st.lists(_DAY, min_size=1, max_size=31))
def test_nothing_of_a_month_is_left_over(month: list[tuple[int, int, int, bool, bool, bool, bool]]) -> None:
    balance, floor, paid, known, floor_known, whole, due = ([list(each)] for each in zip(*month, strict=True))
    one = days(
        balance=balance, floor=floor, paid_out=paid, known=known, floor_known=floor_known, floor_whole=whole, due=due
    )
    found = figures_of(one)
    unknown = found.days_balance_unknown + found.days_floor_unknown
    assert found.days_due[0] == found.days_met[0] + found.days_short[0] + unknown[0]
    assert found.paid_out[0] == found.paid_above[0] + found.paid_below[0] + found.paid_apart[0]
    assert min(found.paid_above[0], found.paid_below[0], found.paid_apart[0]) >= 0
    if found.days_short[0]:
        assert found.shortfall[0] > 0


def test_accounts_of_one_holder_are_known_together_only_where_each_is() -> None:
    both = together(days(
        balance=[[10, 20, 5], [1, 2, 3], [7, 7, 7]], known=[[1, 0, 1], [1, 1, 1], [1, 1, 1]],
        due=[[1, 1, 0], [1, 1, 1], [1, 1, 1]], floor=[[4, 4, 4], [5, 5, 5], [6, 6, 6]],
    ), np.array([0, 2]))
    assert both.balance.tolist() == [[11, 22, 3], [7, 7, 7]]
    assert both.known.tolist() == [[True, False, True], [True, True, True]]
    assert both.floor.tolist() == [[9, 9, 5], [6, 6, 6]]


def test_a_day_off_holds_what_the_day_before_held_and_a_missing_day_is_not_passed_over() -> None:
    balance, known = carried(
        np.array([[5, 0, 0, 8, 0], [5, 0, 0, 8, 0]]), np.array([[1, 0, 0, 1, 0], [1, 0, 0, 1, 0]], np.bool_),
        np.array([[0, 1, 1, 0, 0], [0, 0, 1, 0, 1]], np.bool_),
    )
    assert balance.tolist() == [[5, 5, 5, 8, 0], [5, 0, 0, 8, 8]]
    assert known.tolist() == [[True, True, True, True, False], [True, False, False, True, True]]


@given(st.integers(0, 2**53 - 1), st.integers(0, 1000), st.integers(1, 1000))
def test_a_share_is_rounded_as_the_rules_round_it(amount: int, numerator: int, denominator: int) -> None:
    found = share_of(np.array([[amount]], np.int64), numerator, denominator)
    assert found.tolist() == [[share(amount, Fraction(numerator, denominator))]]


def clause(terms: FloorTerms) -> FloorClause:
    made: Clause[Any] = Clause(
        id="c", kind=ClauseKind.FIXED, title=Sentence(zh="", en=""), terms=terms, jurisdiction="000000", verified=False,
        source=Source(title="", found=Found.DESIGN), effective_from=date.min,
    )
    return made


def facts(*, owed: Part | None = None, elsewhere: int = 0, credited: int = 0, currency: str = "CNY") -> FloorFacts:
    def part(amount: int, *, known: bool = True) -> Part:
        every = np.full((1, 1), known)
        return Part(np.full((1, 1), amount, np.int64), every, every)

    return FloorFacts(
        currency=currency, shape=(1, 1), credits=lambda months: part(credited * months), charges=lambda _: part(0),
        owed=lambda: part(0, known=False) if owed is None else owed, elsewhere=lambda: part(elsewhere),
    )


FEES = Fixed(tiers=(Tier(credits_below=None, amount=Money(100, "CNY")),))
STEPS = Fixed(months=2, tiers=(
    Tier(credits_below=Money(50, "CNY"), amount=Money(10, "CNY")), Tier(credits_below=None, amount=Money(20, "CNY")),
))
OWED = Part(np.full((1, 1), 70), np.full((1, 1), True), np.full((1, 1), True))


@pytest.mark.parametrize(
    ("terms", "given", "amount", "known", "whole"),
    [
        ((), {}, 0, False, False), ((FEES,), {}, 100, True, True), ((FEES,), {"currency": "USD"}, 0, False, False),
        ((STEPS,), {"credited": 24}, 10, True, True), ((STEPS,), {"credited": 25}, 20, True, True),
        ((RatioWindow(ratio=Fraction(1, 5), months=3),), {"credited": 34}, 20, True, True),
        ((FullLiability(),), {}, 0, False, False), ((FullLiability(),), {"owed": OWED}, 70, True, True),
        ((FullLiability(),), {"owed": OWED, "elsewhere": 30}, 40, True, True),
        ((FullLiability(),), {"owed": OWED, "elsewhere": 90}, 0, True, True),
        # What cannot be said leaves the floor a lower bound: a breach of it is certain, and met is not.
        ((FEES, FullLiability()), {}, 100, True, False), ((FEES, PeriodFees(months=3)), {}, 100, True, False),
        ((RatioWindow(ratio=Fraction(1, 5), months=3, of=RatioOf.CHARGES),), {}, 0, True, True),
    ],
)
def test_the_largest_known_part_is_the_floor(
    terms: tuple[FloorTerms, ...], given: dict[str, object], amount: int, known: bool, whole: bool
) -> None:
    found = floors([clause(each) for each in terms], facts(**given))  # type: ignore[arg-type]
    assert (found.amount[0, 0], found.known[0, 0], found.whole[0, 0]) == (amount, known, whole)
