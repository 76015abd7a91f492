"""The invented district: the same for the same seed, books that tie, fates that go as told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.accounts import AccountStatus
from escrow_monitor.domain.institutions import check_uscc
from escrow_monitor.domain.money import Money, share_of
from escrow_monitor.domain.statements import check_ties
from escrow_monitor.errors import UsageError
from escrow_monitor.sandbox import names
from escrow_monitor.sandbox.district import (
    BANKS,
    LIVES,
    ZONE,
    Condition,
    District,
    last_closed_day,
    replay_district,
    standing_district,
    tick,
)
from escrow_monitor.sandbox.fates import CAST, Fate

TODAY = date(2026, 11, 22)
DISTRICT = replay_district(seed=7, today=TODAY)
BIG = replay_district(seed=7, today=TODAY, institutions=100_000)
PLACES = range(len(CAST))


def coverage(district: District, place: int, story_day: int) -> Fraction:
    """The closing balance over a fifth of three months' receipts, added up from the entries themselves."""
    day, number = district.story_on + timedelta(days=story_day), district.account_no(place)
    month = day.year * 12 + day.month - 3
    first = date(month // 12, month % 12 + 1, 1)
    paid_in = Money(0, "CNY")
    for offset in range((day - first).days + 1):
        for entry in district.entries(number, first + timedelta(days=offset)):
            if entry.amount.minor_units > 0:
                paid_in += entry.amount
    return Fraction(district.balance(number, day).minor_units, share_of(paid_in, Fraction(1, 5)).minor_units)


def place_with(fate: Fate) -> int:
    return CAST.index(fate)


def test_the_same_seed_gives_the_same_district() -> None:
    again = replay_district(seed=7, today=TODAY)
    assert list(again.accounts()) == list(DISTRICT.accounts())
    assert list(again.institutions()) == list(DISTRICT.institutions())
    for place in PLACES:
        number, days = again.account_no(place), (again.starts_on, again.story_on + timedelta(days=60))
        assert again.statement(number, *days) == DISTRICT.statement(number, *days)


def test_another_seed_gives_other_accounts_and_other_money() -> None:
    other = replay_district(seed=8, today=TODAY)
    assert not {a.account_no for a in other.accounts()} & {a.account_no for a in DISTRICT.accounts()}
    assert other.life(0) != DISTRICT.life(0)


def test_an_account_is_the_same_however_many_others_there_are() -> None:
    for place in PLACES:
        number = DISTRICT.account_no(place)
        assert BIG.account(place) == DISTRICT.account(place)
        assert BIG.entries(number, TODAY) == DISTRICT.entries(number, TODAY)


@given(place=st.integers(0, 99_999), offset=st.integers(-3, 300), span=st.integers(0, 40))
def test_every_statement_ties_and_chains(place: int, offset: int, span: int) -> None:
    number, first = BIG.account_no(place), BIG.starts_on + timedelta(days=offset)
    last = first + timedelta(days=span)
    statement = BIG.statement(number, first, last)
    assert check_ties(statement) is None
    assert statement.closing == BIG.opening(number, last + timedelta(days=1))
    assert statement.opening is not None
    assert statement.opening.minor_units > 0


@given(place=st.integers(0, 99_999), day=st.integers(0, 200), second=st.integers(0, 86_399))
def test_the_running_balance_lies_between_opening_and_closing(place: int, day: int, second: int) -> None:
    number, on = BIG.account_no(place), BIG.starts_on + timedelta(days=day)
    at = datetime(on.year, on.month, on.day, tzinfo=ZONE) + timedelta(seconds=second)
    amounts = [entry.amount for entry in BIG.entries(number, on)]
    reached = [BIG.opening(number, on)]
    for amount in amounts:
        reached.append(reached[-1] + amount)
    assert BIG.balance_at(number, at) in reached
    end = datetime(on.year, on.month, on.day, 23, 59, tzinfo=ZONE)
    assert BIG.balance_at(number, end) == BIG.balance(number, on) == reached[-1]


@given(place=st.integers(0, 999_998), seed=st.integers(0, 10**6))
def test_account_numbers_have_19_digits_and_lead_back_to_their_place(place: int, seed: int) -> None:
    number = names.account_number(prefix="621901", place=place, seed=seed)
    assert len(number) == 19
    assert number.isdigit()
    assert names.place_of(number, seed=seed) == place


def test_a_hundred_thousand_accounts_share_no_number_and_no_code() -> None:
    accounts = list(BIG.accounts())
    assert len({account.account_no for account in accounts}) == len(accounts)
    assert len({account.uscc for account in accounts}) == len(accounts)
    assert len({account.external_id for account in accounts if account.external_id}) == sum(
        account.connector == "berlin_group" for account in accounts
    )


def test_every_institution_has_a_valid_code_of_its_own_district() -> None:
    for institution in replay_district(seed=3, today=TODAY, institutions=500).institutions():
        assert check_uscc(institution.uscc) == institution.uscc
        assert institution.uscc[2:8] == institution.district


def test_a_number_that_is_not_of_this_district_is_not_found() -> None:
    for number in ("", "x" * 19, "6" * 19, replay_district(seed=8, today=TODAY).account_no(0)):
        with pytest.raises(KeyError):
            DISTRICT.place(number)


def test_a_district_has_a_size_it_can_keep_apart() -> None:
    with pytest.raises(UsageError):
        replay_district(seed=1, today=TODAY, institutions=0)
    with pytest.raises(UsageError):
        replay_district(seed=1, today=TODAY, institutions=1_000_000)


def test_history_begins_with_a_month_two_whole_months_before_the_story() -> None:
    assert DISTRICT.starts_on == date(2026, 7, 1)
    assert DISTRICT.story_on == date(2026, 10, 8)


@pytest.mark.parametrize("today", [date(2026, 11, 22), date(2026, 3, 1), date(2027, 1, 14), date(2026, 8, 31)])
def test_within_the_first_fifteen_days_there_is_every_colour(today: date) -> None:
    district = replay_district(seed=1, today=today)
    slow = [coverage(district, place_with(Fate.SLOW_DECLINE), day) for day in range(16)]
    assert slow[0] > Fraction("1.1")
    assert any(Fraction("1.0") <= one < Fraction("1.1") for one in slow)
    assert any(Fraction("0.8") <= one < Fraction("1.0") for one in slow)
    assert min(slow) < Fraction("0.8")
    sudden = place_with(Fate.SUDDEN_OUTFLOW)
    assert coverage(district, sudden, 2) > Fraction("1.1")
    assert coverage(district, sudden, 3) < Fraction("0.8")
    top_up, falls_on = place_with(Fate.TOP_UP), district.story.falls_on
    assert coverage(district, top_up, falls_on - 1) > Fraction("1.12")
    assert all(Fraction("0.8") < coverage(district, top_up, falls_on + day) < 1 for day in range(3))
    assert coverage(district, top_up, falls_on + 3) > Fraction("1.12")
    late = place_with(Fate.LATE_TOP_UP)
    assert all(Fraction("0.8") < coverage(district, late, day) < 1 for day in (6, 12, 18))
    assert coverage(district, late, 22) > Fraction("1.12")


def test_a_healthy_account_stays_healthy_and_moves_no_large_sums() -> None:
    district = replay_district(seed=11, today=TODAY, institutions=LIVES)
    healthy = [place for place in range(12, LIVES) if district.fate(place) is Fate.HEALTHY][:30]
    for place in healthy:
        assert min(coverage(district, place, day) for day in range(0, 46, 5)) > Fraction("1.3")
        life = district.life(place)
        for day in range(90, 150):
            for move in life.on(day):
                assert -move.fen <= life.opening(day) * Fraction(3, 20)


def test_the_sudden_outflow_is_one_debit_of_most_of_the_balance() -> None:
    number = DISTRICT.account_no(place_with(Fate.SUDDEN_OUTFLOW))
    day = DISTRICT.story_on + timedelta(days=3)
    largest = min(entry.amount for entry in DISTRICT.entries(number, day))
    assert -largest.minor_units > DISTRICT.opening(number, day).minor_units * Fraction(1, 2)


def test_twin_entries_are_two_entries() -> None:
    number = DISTRICT.account_no(place_with(Fate.TWIN_ENTRIES))
    entries = DISTRICT.entries(number, DISTRICT.story_on + timedelta(days=5))
    twins = [entry for entry in entries if entry.bank_ref is None]
    assert [entry.occurrence for entry in twins] == [1, 2]
    assert twins[0].identity == twins[1].identity


def test_a_frozen_account_is_said_to_be_frozen_and_pays_nothing_out() -> None:
    place = place_with(Fate.FROZEN)
    number = DISTRICT.account_no(place)
    frozen = DISTRICT.story_on + timedelta(days=10)
    at = datetime(frozen.year, frozen.month, frozen.day, 4, tzinfo=UTC)
    assert DISTRICT.status_at(number, at) is AccountStatus.FROZEN
    assert DISTRICT.status_at(number, at + timedelta(days=20)) is AccountStatus.ACTIVE
    assert all(
        entry.amount.minor_units > 0
        for day in range(6, 21) for entry in DISTRICT.entries(number, DISTRICT.story_on + timedelta(days=day))
    )


def test_one_bank_is_silent_for_four_working_days_and_comes_back() -> None:
    silent = [
        DISTRICT.story_on + timedelta(days=day) for day in range(46)
        if DISTRICT.condition("nanhu", noon(DISTRICT, day)) is Condition.SILENT
    ]
    assert [day.strftime("%a") for day in silent] == ["Tue", "Wed", "Thu", "Fri"]
    assert (silent[-1] - DISTRICT.story_on).days <= 13


def test_one_bank_answers_garbage_for_two_days_and_one_is_always_slow() -> None:
    garbage = [day for day in range(46) if DISTRICT.condition("haitang", noon(DISTRICT, day)) is Condition.GARBAGE]
    assert len(garbage) == 2
    assert garbage[-1] <= 15
    assert DISTRICT.condition("shuanghe", noon(DISTRICT, 0)) is Condition.SLOW
    assert DISTRICT.condition("yandu", noon(DISTRICT, 0)) is Condition.WELL


def test_a_faltering_bank_delivers_nothing_and_a_well_one_the_day_before() -> None:
    at = datetime(2026, 11, 19, 12, 30, tzinfo=ZONE)
    district = standing_district(seed=1, at=at)
    assert district.delivered_through("yandu", at) == date(2026, 11, 18)
    assert district.delivered_through("yandu", at.replace(hour=1, minute=59)) == date(2026, 11, 17)
    assert district.delivered_through("nanhu", at) == date(2026, 11, 7)
    assert district.delivered_through("haitang", at) == date(2026, 11, 9)


@pytest.mark.parametrize("today", [TODAY, date(2026, 3, 1), date(2026, 10, 8), date(2026, 6, 5)])
def test_a_standing_district_shows_every_colour_at_once(today: date) -> None:
    at = datetime(today.year, today.month, today.day, 12, 30, tzinfo=ZONE)
    district = standing_district(seed=1, at=at)
    assert coverage(district, place_with(Fate.HEALTHY), 8) > Fraction("1.3")
    assert coverage(district, place_with(Fate.SUDDEN_OUTFLOW), 8) < Fraction("0.8")
    assert Fraction("0.8") < coverage(district, place_with(Fate.LATE_TOP_UP), 8) < 1
    assert Fraction("1.0") < coverage(district, 8, 8) < Fraction("1.1")
    assert district.fate(8) is Fate.YELLOW_DIP
    assert district.condition(district.bank_of(8).name, at) is Condition.SLOW
    assert district.condition("nanhu", at) is Condition.SILENT
    assert district.condition("haitang", at) is Condition.GARBAGE


def test_a_day_is_closed_half_an_hour_after_midnight() -> None:
    assert last_closed_day(datetime(2026, 10, 9, 0, 29, tzinfo=ZONE)) == date(2026, 10, 7)
    assert last_closed_day(datetime(2026, 10, 9, 0, 30, tzinfo=ZONE)) == date(2026, 10, 8)
    assert last_closed_day(datetime(2026, 10, 8, 16, 30, tzinfo=UTC)) == date(2026, 10, 8)


def test_running_balances_are_struck_every_five_minutes() -> None:
    struck = tick(datetime(2026, 10, 9, 2, 4, 59, tzinfo=UTC))
    assert struck == datetime(2026, 10, 9, 10, 0, tzinfo=ZONE)


def test_every_bank_of_the_story_has_an_account_and_the_first_ones_keep_their_bank() -> None:
    assert DISTRICT.banks == BANKS
    moved = replace(DISTRICT, only_bank="yandu")
    assert {account.bank for account in moved.accounts()} == {"yandu"}
    assert [bank.name for bank in moved.banks] == ["yandu"]


def noon(district: District, story_day: int) -> datetime:
    day = district.story_on + timedelta(days=story_day)
    return datetime(day.year, day.month, day.day, 12, tzinfo=ZONE)
