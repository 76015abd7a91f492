"""How much must lie in an account: whole, a lower bound, or not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.positions import MonthFlow, Position
from escrow_monitor.domain.requirement import required_balance, window
from escrow_monitor.policies import load_policies

Make = Callable[..., dict[str, object]]
Law = Callable[..., EffectivePolicy]
Positions = Callable[..., Position]
ON = date(2026, 11, 19)


def credits(**fen: int) -> dict[str, MonthFlow]:
    """`credits(m2026_09=100)`: what was credited in September, in fen."""
    return {name[1:].replace("_", "-"): MonthFlow(credits_fen=each, debits_fen=0) for name, each in fen.items()}


COVERED = {"entries_from": date(2026, 9, 1), "entries_to": ON}
THREE_MONTHS = credits(m2026_09=100_000_00, m2026_10=50_000_00, m2026_11=25_000_03)


@pytest.fixture
def fifth(law: Law, clause: Make) -> EffectivePolicy:
    return law(clause("ratio_window", ratio="0.20", months=3))


def test_the_window_ends_with_the_month_of_the_day() -> None:
    assert window(2026, 11, 3) == (("2026-09", "2026-10", "2026-11"), date(2026, 9, 1))
    assert window(2026, 1, 3) == (("2025-11", "2025-12", "2026-01"), date(2025, 11, 1))
    assert window(2026, 12, 1) == (("2026-12",), date(2026, 12, 1))


def test_a_fifth_of_three_months_credits_rounded_half_up(fifth: EffectivePolicy, position: Positions) -> None:
    required = required_balance(position(months=THREE_MONTHS, **COVERED), fifth, on=ON)
    assert str(required.amount) == "35000.01 CNY", "0.20 x 175,000.03 = 35,000.006"
    assert required.complete
    assert required.governing is not None
    assert required.governing.id == "t/ratio_window"
    (part,) = required.parts
    assert part.why_en == "0.2000 x the credits of 175000.03 CNY from 2026-09-01 to 2026-11-19 = 35000.01 CNY"
    assert part.why_zh == "0.2000 × 自 2026-09-01 至 2026-11-19 的入账额 175000.03 CNY = 35000.01 CNY"


def test_credits_outside_the_window_do_not_count(fifth: EffectivePolicy, position: Positions) -> None:
    months = {**THREE_MONTHS, **credits(m2026_08=999_00, m2026_12=999_00)}
    assert str(required_balance(position(months=months, **COVERED), fifth, on=ON).amount) == "35000.01 CNY"
    december = required_balance(position(months=THREE_MONTHS, **COVERED), fifth, on=date(2026, 12, 1), due=ON)
    assert str(december.amount) == "15000.01 CNY", "September has left the window"


@pytest.mark.parametrize(
    ("known", "complete", "why"),
    [
        ({}, True, "every working day is covered"),
        ({"entries_from": date(2026, 8, 3)}, True, "covered since before the window"),
        ({"entries_from": date(2026, 9, 2)}, False, "Tuesday the first of September is not covered"),
        ({"entries_to": date(2026, 11, 18)}, False, "the nineteenth is not covered"),
        ({"gaps": (date(2026, 10, 12),), "gap_count": 1}, False, "a gap inside the window"),
        ({"gaps": (date(2026, 8, 12),), "gap_count": 1, "entries_from": date(2026, 8, 3)}, True, "a gap before it"),
        ({"gaps": (date(2026, 11, 17),), "gap_count": 40}, False, "gaps that are not listed may lie inside"),
        ({"gaps": (), "gap_count": 2}, False, "gaps that are not listed may lie inside"),
        ({"gaps": (date(2026, 8, 12),), "gap_count": 9, "entries_from": date(2026, 1, 5)}, True, "the rest lie before"),
        ({"entries_from": None, "entries_to": None}, False, "entries without covered days"),
    ],
)
def test_a_window_that_is_not_fully_covered_gives_a_lower_bound(
    fifth: EffectivePolicy, position: Positions, known: dict[str, object], complete: bool, why: str
) -> None:
    required = required_balance(position(**{"months": THREE_MONTHS, **COVERED, **known}), fifth, on=ON)
    assert str(required.amount) == "35000.01 CNY"
    assert required.complete is complete, why
    assert required.parts[0].why_en.startswith("at least") is not complete


def test_days_off_at_the_edges_need_no_statement(fifth: EffectivePolicy, position: Positions) -> None:
    holiday_window = position(months=THREE_MONTHS, entries_from=date(2026, 10, 8), entries_to=date(2026, 12, 4))
    assert required_balance(holiday_window, fifth, on=date(2026, 12, 6)).complete, "a Sunday, and National Day before"


def test_an_account_opened_inside_the_window_is_whole_from_its_opening(
    fifth: EffectivePolicy, position: Positions, account: Account
) -> None:
    opened = replace(account, opened_on=date(2026, 10, 17))
    young = position(account=opened, months=THREE_MONTHS, entries_from=date(2026, 10, 19), entries_to=ON)
    assert required_balance(young, fifth, on=ON).complete, "opened on a Saturday, covered since Monday"
    late = replace(young, entries_from=date(2026, 10, 20))
    assert not required_balance(late, fifth, on=ON).complete


def test_what_cannot_be_here_yet_is_not_missed(fifth: EffectivePolicy, position: Positions) -> None:
    known = position(months=THREE_MONTHS, entries_from=date(2026, 9, 1), entries_to=date(2026, 11, 18))
    assert required_balance(known, fifth, on=ON, due=date(2026, 11, 18)).complete
    assert not required_balance(known, fifth, on=ON, due=date(2026, 11, 20)).complete


def test_without_any_entry_the_floor_is_not_known_and_not_zero(fifth: EffectivePolicy, position: Positions) -> None:
    required = required_balance(position(), fifth, on=ON)
    assert (required.amount, required.complete, required.governing) == (None, False, None)
    assert "no entry was ever received" in required.parts[0].why_en
    assert "尚无任何流水" in required.parts[0].why_zh


def test_months_without_a_credit_ask_for_nothing_once_they_are_covered(
    fifth: EffectivePolicy, position: Positions
) -> None:
    required = required_balance(position(**COVERED), fifth, on=ON)
    assert (str(required.amount), required.complete) == ("0.00 CNY", True)


def test_no_floor_clause_means_no_amount(law: Law, position: Positions) -> None:
    required = required_balance(position(), law(), on=ON)
    assert (required.amount, required.parts, required.governing) == (None, (), None)


def test_a_fixed_amount_is_whole_without_any_entry(law: Law, clause: Make, position: Positions) -> None:
    required = required_balance(position(), law(clause("fixed", amount="50000.00")), on=ON)
    assert (str(required.amount), required.complete, required.leans_on_entries) == ("50000.00 CNY", True, False)
    assert required.parts[0].why_en == "a fixed amount of 50000.00 CNY"


def test_an_amount_in_another_currency_is_not_compared(
    law: Law, clause: Make, position: Positions, account: Account
) -> None:
    euros = position(account=replace(account, currency="EUR"))
    required = required_balance(euros, law(clause("fixed", amount="50000.00")), on=ON)
    assert (required.amount, required.complete) == (None, False)
    assert required.parts[0].why_en == "the clause says 50000.00 CNY, the account is in EUR: they cannot be compared"


TIERS = [
    {"credits_below": "1000.00", "amount": "100.00"},
    {"credits_below": "5000.00", "amount": "300.00"},
    {"amount": "900.00"},
]


@pytest.mark.parametrize(
    ("credited", "amount"),
    [(0, "100.00"), (999_99, "100.00"), (1000_00, "300.00"), (4999_99, "300.00"), (5000_00, "900.00")],
)
def test_the_tier_is_chosen_by_the_credits(
    law: Law, clause: Make, position: Positions, credited: int, amount: str
) -> None:
    tiered = law(clause("fixed", tiers=TIERS, months=3))
    known = position(months=credits(m2026_10=credited), **COVERED)
    assert str(required_balance(known, tiered, on=ON).amount) == f"{amount} CNY"
    partly = required_balance(replace(known, entries_from=date(2026, 10, 9)), tiered, on=ON)
    assert str(partly.amount) == f"{amount} CNY"
    assert partly.complete is (amount == "900.00"), "from the last tier nothing can rise"
    assert required_balance(position(), tiered, on=ON).amount is None


def test_the_largest_part_governs_and_one_part_unknown_leaves_a_lower_bound(
    law: Law, clause: Make, position: Positions
) -> None:
    both = law(clause("ratio_window", ratio="0.20", months=3), clause("fixed", amount="40000.00"))
    required = required_balance(position(months=THREE_MONTHS, **COVERED), both, on=ON)
    assert required.governing is not None
    assert (required.governing.id, str(required.amount), required.complete) == ("t/fixed", "40000.00 CNY", True)
    small = law(clause("ratio_window", ratio="0.50", months=3), clause("fixed", amount="40000.00"))
    assert str(required_balance(position(months=THREE_MONTHS, **COVERED), small, on=ON).amount) == "87500.02 CNY"
    silent = required_balance(position(), both, on=ON)
    assert (str(silent.amount), silent.complete) == ("40000.00 CNY", False)


@pytest.fixture(scope="module")
def shipped() -> PolicyBook:
    return load_policies()


@given(
    st.lists(st.integers(0, 10**12), min_size=3, max_size=3),
    st.integers(0, 10**12),
)
def test_more_credits_never_lower_the_floor(shipped: PolicyBook, each: list[int], more: int) -> None:
    account = Account(account_no="1", bank="b", connector="c", currency="CNY")
    zigong = shipped.packs["cn-510300"]
    policy = PolicyBook([replace(zigong, jurisdiction="000000")]).effective(institution=None, account=account, on=ON)

    def floor(september: int) -> int:
        months = credits(m2026_09=september, m2026_10=each[1], m2026_11=each[2])
        amount = required_balance(Position(account=account, months=months, **COVERED), policy, on=ON).amount
        assert amount is not None
        return amount.minor_units

    assert floor(each[0]) <= floor(each[0] + more)
