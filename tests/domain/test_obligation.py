"""What an institution must hold for families: never netted, whole or said to be a lower bound; and the floor of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from contract_world import SIGNED, STARTS, charge, ledger, refund, yuan
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.clauses import FullLiability, PeriodFees, Schedule
from escrow_monitor.domain.contracts import GiftPolicy
from escrow_monitor.domain.entitlement import Ledger
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.obligation import (
    ObligationFacts,
    charges_by_month,
    contribution,
    months_between,
    months_later,
    obligation,
    period_fee,
    period_fee_on,
    period_fees,
    releases,
    scheduled,
    scheduled_held,
)
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import MonthFlow, Position
from escrow_monitor.domain.requirement import required_balance

Make = Callable[..., dict[str, object]]
Law = Callable[..., EffectivePolicy]
Positions = Callable[..., Position]
ON = date(2026, 11, 20)
THIRTY_THIRTY_FORTY = (30, 30, 40)


def named(contract_no: str, whole: Ledger) -> Ledger:
    return Ledger(
        contract=replace(whole.contract, contract_no=contract_no),
        charges=tuple(replace(each, contract_no=contract_no) for each in whole.charges),
        lessons=tuple(replace(each, contract_no=contract_no) for each in whole.lessons),
        refunds=tuple(replace(each, contract_no=contract_no) for each in whole.refunds),
    )


def test_the_obligation_is_a_sum_over_families_and_nobody_pays_for_another() -> None:
    owed = ledger(confirmed=13)
    overdrawn = named("HT-2", ledger(confirmed=40, paid="1000"))
    settled = named("HT-3", ledger(confirmed=13, refunds=(refund("3500", ON),)))
    whole = obligation([owed, overdrawn, settled], ON)
    assert (whole.amounts, whole.contracts, whole.complete) == ({"CNY": 350_000}, 3, True)
    assert obligation([owed, named("HT-2", owed)], ON).amounts == {"CNY": 700_000}
    assert obligation([], ON).amounts == {}


def test_lessons_in_dispute_stay_in_and_gifts_nobody_agreed_on_count_the_larger_way() -> None:
    assert obligation([ledger(confirmed=13, disputed=5)], ON).amounts == {"CNY": 350_000}
    gift = ledger(fee=yuan("4000"), lessons_paid=40, lessons_gift=20, confirmed=25, paid="4000")
    assert obligation([gift], ON).amounts == {"CNY": 233_333}


def test_a_contract_that_cannot_be_right_is_named_and_leaves_a_lower_bound() -> None:
    wrong = named("HT-0", ledger(refunds=(refund("9999", STARTS),)))
    whole = obligation([ledger(confirmed=13), wrong], ON)
    assert (whole.amounts, whole.contracts, whole.complete) == ({"CNY": 350_000}, 2, False)
    assert [each.contract_no for each in whole.impossible] == ["HT-0"]


def test_currencies_are_summed_apart() -> None:
    euro = Ledger(
        contract=replace(ledger().contract, contract_no="HT-E", fee=Money(100, "EUR")),
        charges=(replace(charge("1"), contract_no="HT-E", amount=Money(100, "EUR")),),
    )
    assert obligation([euro, ledger(confirmed=13)], ON).amounts == {"CNY": 350_000, "EUR": 100}


@given(
    st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 200), st.integers(0, 50),
    st.sampled_from([None, *GiftPolicy]), st.integers(0, 250), st.integers(0, 10**12),
)
def test_a_contract_never_adds_less_than_nothing_and_another_lesson_or_refund_never_adds(
    fee: int, paid: int, lessons_paid: int, gift: int, policy: GiftPolicy | None, confirmed: int, refunded: int
) -> None:
    def adds(**changed: int) -> int:
        return contribution(**{
            "fee": fee, "paid": paid, "lessons_paid": lessons_paid, "lessons_gift": gift, "gift_policy": policy,
            "confirmed": confirmed, "refunded": refunded, **changed,
        })

    assert 0 <= adds() <= paid
    assert adds(confirmed=confirmed + 1) <= adds()
    assert adds(refunded=refunded + 1) <= adds()
    assert adds(paid=paid + 1) in (adds(), adds() + 1)


def test_334_of_900001_fen() -> None:
    assert releases(900_001, THIRTY_THIRTY_FORTY) == (270_000, 270_001, 360_000)
    assert releases(100, (1, 1, 1)) == (33, 34, 33)


@given(st.integers(0, 10**13), st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_releases_add_up_exactly(amount: int, parts: list[int]) -> None:
    assert sum(releases(amount, tuple(parts))) == amount
    assert min(releases(amount, tuple(parts))) >= 0


@pytest.mark.parametrize(
    ("on", "held"),
    [
        ("2026-08-31", 900_001), ("2026-09-01", 630_001), ("2026-09-30", 630_001), ("2026-10-01", 360_000),
        ("2026-10-31", 360_000), ("2026-11-01", 0), ("2027-11-01", 0),
    ],
)
def test_a_monthly_release_lets_go_on_the_days_of_the_start(on: str, held: int) -> None:
    day = date.fromisoformat(on)
    assert scheduled_held(900_001, 0, THIRTY_THIRTY_FORTY, starts_on=STARTS, on=day) == held
    whole = ledger(fee=Money(900_001, "CNY"), paid="9000.01")
    assert scheduled([whole], day, Schedule(parts=THIRTY_THIRTY_FORTY)).amounts == {"CNY": held}


def test_what_went_back_need_not_be_held_and_without_a_start_all_of_it_must() -> None:
    assert scheduled_held(900_001, 600_000, THIRTY_THIRTY_FORTY, starts_on=STARTS, on=STARTS) == 30_001
    assert scheduled_held(900_001, 900_001, THIRTY_THIRTY_FORTY, starts_on=STARTS, on=STARTS) == 0
    assert scheduled_held(900_001, 0, THIRTY_THIRTY_FORTY, starts_on=None, on=ON) == 900_001


def test_calendar_months_end_where_a_month_is_too_short() -> None:
    assert months_later(date(2026, 1, 31), 1) == date(2026, 2, 28)
    assert months_later(date(2028, 1, 31), 1) == date(2028, 2, 29)
    assert months_later(date(2026, 11, 30), 3) == date(2027, 2, 28)
    assert months_later(date(2026, 12, 1), 12) == date(2027, 12, 1)
    days = ((1, 31), (2, 27), (2, 28), (3, 30), (3, 31))
    assert [months_between(date(2026, 1, 31), date(2026, *day)) for day in days] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("starts_on", "ends_on", "share"),
    [
        (STARTS, date(2026, 11, 30), 480_000),
        (STARTS, date(2026, 12, 1), 474_783),
        (STARTS, date(2027, 2, 28), 241_326),
        (STARTS, None, 480_000),
        (None, date(2026, 11, 30), 480_000),
        (STARTS, date(2026, 8, 1), 480_000),
    ],
)
def test_a_charging_period_takes_its_days_share_of_a_longer_course(
    starts_on: date | None, ends_on: date | None, share: int
) -> None:
    assert period_fee(480_000, 3, starts_on=starts_on, ends_on=ends_on) == share


def test_period_fees_count_contracts_in_force_with_money_left() -> None:
    whole = ledger(confirmed=48, ends_on=date(2026, 11, 30))
    terms = PeriodFees(months=3)
    assert period_fees([whole], ON, terms).amounts == {"CNY": 480_000}
    assert period_fees([whole], date(2026, 12, 1), terms).amounts == {"CNY": 0}
    assert period_fees([ledger(refunds=(refund("4800", ON),))], ON, terms).amounts == {"CNY": 0}
    assert period_fee_on(whole.contract, date(2026, 8, 19), 3, paid=1, refunded=0) == 0
    assert period_fee_on(whole.contract, SIGNED, 3, paid=1, refunded=0) == 480_000


def test_charges_are_summed_by_month_and_currency() -> None:
    rows = (charge("1"), charge("2", STARTS, "J-2"), charge("4", date(2026, 9, 30), "J-3"), charge("8", ON, "J-4"))
    assert charges_by_month([ledger(charges=rows)], date(2026, 10, 1)) == {"CNY": {"2026-08": 100, "2026-09": 600}}
    assert charges_by_month([], ON) == {}


FACTS = ObligationFacts(
    on=ON, currency="CNY", full_liability=350_000,
    by_terms={PeriodFees(months=3): 90_000, Schedule(parts=(30, 30, 40)): 70_000},
    charges={"2026-08": 999, "2026-09": 100_000, "2026-11": 50_003},
)


@pytest.mark.parametrize(
    ("kind", "terms", "amount", "says"),
    [
        ("full_liability", {}, "3500.00", "all that is paid for, not yet taught and not paid back"),
        ("period_fees", {"months": 3}, "900.00", "the fees of all students for 3 months"),
        ("schedule", {"parts": [30, 30, 40]}, "700.00", "what the monthly release of 30, 30, 40 has not let go"),
        ("ratio_window", {"ratio": "0.20", "months": 3, "of": "charges"}, "300.01", "0.2000 x the charges of 3"),
    ],
)
def test_a_floor_by_contracts_is_whole_where_every_contract_is_recorded(
    law: Law, clause: Make, position: Positions, kind: str, terms: dict[str, Any], amount: str, says: str
) -> None:
    policy = law(clause(kind, **terms))
    required = required_balance(position(obligations=FACTS), policy, on=ON)
    assert required.amount is not None
    assert (required.amount.text, required.complete, required.leans_on_entries) == (amount, True, False)
    (part,) = required.parts
    assert says in part.why_en
    assert "at the end of 2026-11-20" in part.why_en
    assert "{" not in part.why_zh

    partly = required_balance(position(obligations=replace(FACTS, complete=False)), policy, on=ON)
    assert (partly.amount, partly.complete) == (required.amount, False)
    assert partly.parts[0].why_en.startswith("at least ")

    silent = required_balance(position(), policy, on=ON)
    assert (silent.amount, silent.complete) == (None, False)
    assert "the contracts that this clause needs are not recorded" in silent.parts[0].why_en


def test_old_sums_are_a_lower_bound_unless_nothing_newer_can_be_known(
    law: Law, clause: Make, position: Positions
) -> None:
    policy = law(clause("full_liability"))
    old = position(obligations=replace(FACTS, on=date(2026, 11, 18)))
    assert not required_balance(old, policy, on=ON).complete
    assert required_balance(old, policy, on=ON, due=date(2026, 11, 18)).complete
    assert required_balance(position(obligations=FACTS), policy, on=date(2026, 11, 19)).complete


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, full_liability=None), replace(FACTS, currency="EUR"),
    ],
)
def test_a_sum_that_is_not_recorded_or_in_another_currency_is_not_known(
    law: Law, clause: Make, position: Positions, facts: ObligationFacts
) -> None:
    required = required_balance(position(obligations=facts), law(clause("full_liability")), on=ON)
    assert (required.amount, required.complete) == (None, False)


def test_charges_or_a_clause_without_its_sum_are_not_known(law: Law, clause: Make, position: Positions) -> None:
    bare = position(obligations=replace(FACTS, charges=None, by_terms={}))
    ratio = clause("ratio_window", ratio="0.20", months=3, of="charges")
    for each in (ratio, clause("schedule", parts=[1, 1])):
        assert required_balance(bare, law(each), on=ON).amount is None


def test_what_lies_in_the_other_accounts_counts_towards_the_same_sum(
    law: Law, clause: Make, position: Positions
) -> None:
    policy = law(clause("full_liability"))
    shared = required_balance(position(obligations=replace(FACTS, elsewhere=100_000)), policy, on=ON)
    assert str(shared.amount) == "2500.00 CNY"
    assert "less 1000.00 CNY in other accounts" in shared.parts[0].why_en
    plenty = required_balance(position(obligations=replace(FACTS, elsewhere=900_000)), policy, on=ON)
    assert str(plenty.amount) == "0.00 CNY"
    unknown = required_balance(position(obligations=replace(FACTS, elsewhere=None)), policy, on=ON)
    assert (unknown.amount, unknown.complete) == (None, False)
    assert "3500.00 CNY by the contracts lie on several accounts together" in unknown.parts[0].why_en


def test_what_was_paid_after_the_balances_day_is_left_out_of_what_that_balance_must_hold(
    law: Law, clause: Make, position: Positions
) -> None:
    lately = {date(2026, 11, 19): 1_00, ON: 500_00}
    facts = replace(FACTS, paid_lately={FullLiability(): lately, Schedule(parts=(30, 30, 40)): {ON: 900_00}})
    policy = law(clause("full_liability"))
    before = required_balance(position(obligations=facts), policy, on=date(2026, 11, 19))
    assert (str(before.amount), before.complete) == ("3000.00 CNY", True)
    assert before.parts[0].why_en.endswith("3000.00 CNY without 500.00 CNY paid after the balance's day")
    assert "不含余额日之后缴入的 500.00 CNY" in before.parts[0].why_zh
    assert str(required_balance(position(obligations=facts), policy, on=ON).amount) == "3500.00 CNY"
    schedule = required_balance(
        position(obligations=facts), law(clause("schedule", parts=[30, 30, 40])), on=date(2026, 11, 18)
    )
    assert str(schedule.amount) == "0.00 CNY"
    fees = required_balance(position(obligations=facts), law(clause("period_fees", months=3)), on=date(2026, 11, 18))
    assert str(fees.amount) == "900.00 CNY"


def test_balances_of_other_accounts_that_are_too_old_count_for_nothing_known(
    law: Law, clause: Make, position: Positions
) -> None:
    policy = law(clause("full_liability"))
    facts = replace(FACTS, others=1, elsewhere=100_000, elsewhere_on=date(2026, 11, 18))
    for due, amount in ((date(2026, 11, 18), "2500.00 CNY"), (date(2026, 11, 19), "None")):
        assert str(required_balance(position(obligations=facts), policy, on=ON, due=due).amount) == amount


def test_the_largest_of_entries_and_contracts_governs_and_silence_of_one_leaves_a_lower_bound(
    law: Law, clause: Make, position: Positions, account: Account
) -> None:
    window, fixed = clause("ratio_window", ratio="0.20", months=3), clause("fixed", amount="10.00")
    both = law(window, clause("full_liability"), fixed)
    months = {"2026-11": MonthFlow(credits_fen=200_000, debits_fen=0)}
    known = {"months": months, "entries_from": date(2026, 8, 31), "entries_to": ON}
    required = required_balance(position(obligations=FACTS, **known), both, on=ON)
    assert required.governing is not None
    assert (required.governing.id, str(required.amount), required.complete) == ("t/full_liability", "3500.00 CNY", True)
    assert required.leans_on_entries
    silent = required_balance(position(**known), both, on=ON)
    assert silent.governing is not None
    assert (silent.governing.id, str(silent.amount), silent.complete) == ("t/ratio_window", "400.00 CNY", False)
