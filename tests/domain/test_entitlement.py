"""What an institution has earned, from the cumulative and to the last fen, and where a contract's money is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from contract_world import SIGNED, STARTS, charge, ledger, lesson, lessons, refund, yuan
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.clauses import LessonConfirmation
from escrow_monitor.domain.clocks import ConfirmationClock
from escrow_monitor.domain.contracts import GiftPolicy, Lesson, LessonStatus
from escrow_monitor.domain.entitlement import (
    ContractAccount,
    Impossible,
    ImpossibleReason,
    Ledger,
    Taught,
    account_of,
    entitled_fen,
    split,
    taught_by,
)
from escrow_monitor.domain.money import Money
from escrow_monitor.policies import load_policies

ON = date(2026, 11, 20)
READINGS = (GiftPolicy.PAID_FIRST, GiftPolicy.BLENDED, None)


@pytest.fixture(scope="module")
def clock() -> ConfirmationClock:
    terms = load_policies().effective(institution=None, account=None, on=ON).refund_terms
    assert terms.confirmation is not None
    assert terms.confirmation.terms == LessonConfirmation(working_days=15)
    return ConfirmationClock(clause=terms.confirmation, calendar=calendar_for("CN"))


def known(result: ContractAccount | Impossible) -> ContractAccount:
    assert isinstance(result, ContractAccount)
    return result


def earned(fee: int, lessons_paid: int, taught: int, gift: int = 0, policy: GiftPolicy | None = None) -> int:
    return entitled_fen(fee, taught, lessons_paid=lessons_paid, lessons_gift=gift, gift_policy=policy)


@pytest.mark.parametrize(
    ("fee", "lessons_paid", "marks"),
    [
        (480_000, 48, {0: 0, 13: 130_000, 48: 480_000}),
        (100_000, 3, {0: 0, 1: 33_333, 2: 66_667, 3: 100_000, 4: 100_000}),
        (99_999, 7, {1: 14_286, 2: 28_571, 3: 42_857, 4: 57_142, 5: 71_428, 6: 85_713, 7: 99_999}),
        (1, 2, {0: 0, 1: 1, 2: 1}),
        (0, 5, {3: 0}),
    ],
)
def test_the_vectors_that_were_checked_by_hand(fee: int, lessons_paid: int, marks: dict[int, int]) -> None:
    assert {taught: earned(fee, lessons_paid, taught) for taught in marks} == marks


def test_the_steps_of_99999_over_7_add_up_where_a_rounded_price_would_drift() -> None:
    steps = [later - earlier for earlier, later in pairwise(earned(99_999, 7, taught) for taught in range(8))]
    assert steps == [14286, 14285, 14286, 14285, 14286, 14285, 14286]


def test_gift_lessons_count_as_agreed_and_where_nothing_was_agreed_the_family_gets_the_larger_refund() -> None:
    assert 400_000 - earned(400_000, 40, 25, 20, GiftPolicy.PAID_FIRST) == 150_000
    assert 400_000 - earned(400_000, 40, 25, 20, GiftPolicy.BLENDED) == 233_333
    assert 400_000 - earned(400_000, 40, 25, 20, None) == 233_333
    assert earned(400_000, 40, 41, 20, GiftPolicy.PAID_FIRST) == 400_000
    assert earned(400_000, 40, 99, 20, GiftPolicy.BLENDED) == 400_000


@given(
    st.integers(0, 10**13), st.integers(1, 500), st.integers(0, 100), st.integers(0, 700), st.sampled_from(READINGS)
)
def test_earning_never_falls_never_passes_the_fee_and_paid_first_is_never_less(
    fee: int, lessons_paid: int, gift: int, taught: int, policy: GiftPolicy | None
) -> None:
    now, next_ = (earned(fee, lessons_paid, each, gift, policy) for each in (taught, taught + 1))
    assert 0 <= now <= next_ <= fee
    assert earned(fee, lessons_paid, taught, gift, GiftPolicy.BLENDED) == earned(fee, lessons_paid, taught, gift)
    assert earned(fee, lessons_paid, taught, gift) <= earned(fee, lessons_paid, taught, gift, GiftPolicy.PAID_FIRST)


def test_money_goes_to_lessons_then_materials_and_the_rest_is_overpaid() -> None:
    contract = ledger(materials_fee=yuan("200")).contract
    assert split(contract, 300_000) == (300_000, 0, 0)
    assert split(contract, 490_000) == (480_000, 10_000, 0)
    assert split(contract, 510_000) == (480_000, 20_000, 10_000)
    assert split(replace(contract, materials_fee=None), 510_000) == (480_000, 0, 30_000)


def test_thirteen_of_forty_eight_lessons() -> None:
    account = known(account_of(ledger(confirmed=13, disputed=2), ON))
    assert (str(account.entitled), str(account.disputed)) == ("1300.00 CNY", "200.00 CNY")
    assert (str(account.paid), str(account.released), str(account.held)) == (
        "4800.00 CNY", "1300.00 CNY", "3500.00 CNY",
    )
    assert account.taught == Taught(13, 2)
    assert account.residual == Money(0, "CNY")


def test_only_what_happened_by_the_day_counts() -> None:
    whole = ledger(
        confirmed=2, charges=(charge("2400"), charge("2400", date(2026, 10, 1), "J-2")),
        refunds=(refund("100", date(2026, 10, 5)),),
    )
    at = {day: known(account_of(whole, day)) for day in (STARTS, date(2026, 9, 2), date(2026, 10, 1), ON)}
    assert [str(each.paid) for each in at.values()] == ["2400.00 CNY"] * 2 + ["4800.00 CNY"] * 2
    assert [each.taught.confirmed for each in at.values()] == [0, 2, 2, 2]
    assert [str(each.refunded) for each in at.values()] == ["0.00 CNY"] * 3 + ["100.00 CNY"]


def test_of_a_fee_paid_in_part_no_more_is_released_than_was_paid() -> None:
    account = known(account_of(ledger(confirmed=40, paid="1000"), ON))
    assert (str(account.entitled), str(account.released), str(account.held)) == (
        "4000.00 CNY", "1000.00 CNY", "0.00 CNY",
    )


def test_what_a_full_refund_takes_back_is_no_longer_released() -> None:
    account = known(account_of(ledger(confirmed=10, refunds=(refund("4500", ON),)), ON))
    assert (str(account.released), str(account.refunded), str(account.held)) == (
        "300.00 CNY", "4500.00 CNY", "0.00 CNY",
    )


@pytest.mark.parametrize(("delivered", "kept"), [(True, "200.00 CNY"), (False, "0.00 CNY"), (None, "0.00 CNY")])
def test_materials_are_kept_only_where_their_delivery_is_recorded(delivered: bool | None, kept: str) -> None:
    account = known(account_of(ledger(paid="5100", materials_fee=yuan("200"), materials_delivered=delivered), ON))
    assert str(account.materials_kept) == kept
    assert (str(account.materials_money), str(account.overpaid)) == ("200.00 CNY", "100.00 CNY")


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        (lesson(1), Taught(1, 0)),
        (lesson(1, LessonStatus.DEEMED), Taught(1, 0)),
        (lesson(1, LessonStatus.DISPUTED), Taught(0, 1)),
        (lesson(1, LessonStatus.DISPUTED, decided_on=None), Taught(0, 1)),
        (lesson(1, LessonStatus.DISPUTED, decided_on=ON + timedelta(days=1)), Taught(0, 0, 1)),
        (lesson(1, LessonStatus.CANCELLED), Taught(0, 0)),
        (lesson(1, LessonStatus.REQUESTED), Taught(0, 0, 1)),
        (lesson(1, decided_on=ON), Taught(1, 0)),
        (lesson(1, decided_on=ON + timedelta(days=1)), Taught(0, 0, 1)),
        (lesson(1, taught_on=ON + timedelta(days=1), decided_on=ON), Taught(0, 0)),
        (lesson(1, taught_on=None), Taught(0, 0, 0, 1)),
        (lesson(1, decided_on=None), Taught(0, 0, 0, 1)),
        (lesson(1, LessonStatus.DEEMED, decided_on=None), Taught(0, 0, 0, 1)),
    ],
)
def test_a_lesson_counts_once_it_is_taught_and_decided_and_a_day_that_is_missing_is_said(
    row: Lesson, counts: Taught
) -> None:
    assert taught_by([row], ON) == counts


def test_a_silent_family_has_confirmed_once_the_fifteenth_working_day_is_over(clock: ConfirmationClock) -> None:
    # Asked on Tuesday 1 September 2026: Sunday the 20th is worked, so Monday the 21st is the fifteenth.
    asked = [lesson(1, LessonStatus.REQUESTED)]
    assert [taught_by(asked, date(2026, 9, day), clock=clock) for day in (1, 20, 21)] == [Taught(0, 0, 1)] * 3
    assert taught_by(asked, date(2026, 9, 22), clock=clock) == Taught(1, 0)
    assert taught_by(asked, date(2026, 9, 22)) == Taught(0, 0, 1), "without a clause silence is nothing"


def test_a_lesson_deemed_without_a_day_is_deemed_on_the_clocks(clock: ConfirmationClock) -> None:
    row = lesson(1, LessonStatus.DEEMED, decided_on=None)
    assert taught_by([row], STARTS, clock=clock) == Taught(0, 0, 1)
    assert taught_by([row], ON, clock=clock) == Taught(1, 0)
    assert taught_by([replace(row, requested_on=None)], ON, clock=clock) == Taught(0, 0, 0, 1)
    open_ = lesson(1, LessonStatus.REQUESTED, requested_on=None)
    assert taught_by([open_], ON, clock=clock) == Taught(0, 0, 1), "nobody was asked"


def test_where_the_calendar_ends_a_silent_lesson_is_not_known_rather_than_open(clock: ConfirmationClock) -> None:
    far = lesson(1, LessonStatus.REQUESTED, taught_on=date(2026, 12, 21), requested_on=date(2026, 12, 21))
    silence = clock.silence(date(2026, 12, 21))
    assert silence.unknown is not None
    assert taught_by([far], date(2026, 12, 31), clock=clock) == Taught(0, 0, 1)
    assert taught_by([far], date(2027, 3, 1), clock=clock) == Taught(0, 0, 0, 1)


def test_a_confirmation_that_crosses_the_claim_counts_and_a_lesson_taught_after_it_does_not() -> None:
    rows = [lesson(1, decided_on=date(2026, 9, 20)), lesson(2, taught_on=date(2026, 9, 11), decided_on=ON)]
    assert taught_by(rows, ON, taught_until=date(2026, 9, 10)) == Taught(1, 0)


OTHER = replace(charge("1"), contract_no="HT-2", charge_no="J-9")
EURO = replace(charge("1"), amount=Money(100, "EUR"), charge_no="J-9")
WRONG: list[tuple[Ledger, ImpossibleReason, str]] = [
    (ledger(lessons_paid=0), ImpossibleReason.NO_PAID_LESSONS, "the contract has 0 paid lessons"),
    (ledger(lessons_gift=-1), ImpossibleReason.LESSONS_BELOW_ZERO, "the contract has -1 gift lessons"),
    (ledger(fee=Money(-1, "CNY")), ImpossibleReason.AMOUNT_BELOW_ZERO, "the amount -0.01 CNY is below zero"),
    (ledger(materials_fee=Money(-1, "CNY")), ImpossibleReason.AMOUNT_BELOW_ZERO, "-0.01 CNY"),
    (ledger(materials_fee=Money(1, "EUR")), ImpossibleReason.CURRENCIES_MIXED, "two currencies in one contract: CNY"),
    (ledger(charges=(charge("1"), EURO)), ImpossibleReason.CURRENCIES_MIXED, "CNY and EUR"),
    (ledger(charges=(charge("1"), OTHER)), ImpossibleReason.ANOTHER_CONTRACT, "a row of another contract, HT-2"),
    (ledger(refunds=(replace(refund("1", ON), amount=Money(-5, "CNY")),)), ImpossibleReason.AMOUNT_BELOW_ZERO, "-0.05"),
    (ledger(lessons=(*lessons(2), lesson(1))), ImpossibleReason.LESSON_TWICE, "lesson 1 is recorded twice"),
    (ledger(charges=(charge("1"), charge("1"))), ImpossibleReason.CHARGE_TWICE, "charge J-1 is recorded twice"),
    (
        ledger(refunds=(refund("4800.01", ON),)), ImpossibleReason.REFUND_LARGER_THAN_PAID,
        "by 2026-11-20 4800.01 CNY had gone back, more than the 4800.00 CNY paid by then",
    ),
    (
        ledger(charges=(charge("100"), charge("900", ON, "J-2")), refunds=(refund("200", STARTS),)),
        ImpossibleReason.REFUND_LARGER_THAN_PAID, "by 2026-09-01 200.00 CNY had gone back",
    ),
]


@pytest.mark.parametrize(("wrong", "reason", "said"), WRONG)
def test_a_ledger_that_cannot_be_right_is_reported_and_not_bent(
    wrong: Ledger, reason: ImpossibleReason, said: str
) -> None:
    result = account_of(wrong, ON)
    assert isinstance(result, Impossible)
    assert result.reason is reason
    assert said in result.why_en
    assert result.why_zh
    assert result.as_json() == {
        "contract_no": "HT-1", "on": "2026-11-20", "impossible": reason.value, "why": result.why_zh,
        "why_en": result.why_en,
    }


def test_what_went_back_on_the_day_it_came_is_possible_and_what_lies_ahead_is_not_judged() -> None:
    same_day = ledger(refunds=(refund("4800", SIGNED),))
    assert known(account_of(same_day, SIGNED)).held == Money(0, "CNY")
    later = ledger(refunds=(refund("9999", ON),))
    assert str(known(account_of(later, ON - timedelta(days=1))).held) == "4800.00 CNY"
