"""Working days: make-up weekends, holidays, and years nobody has published."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.calendar import (
    CalendarUnknown,
    add_working_days,
    calendar_for,
    last_working_day_before,
    next_working_day_after,
    working_days_between,
)
from escrow_monitor.errors import PolicyError

CN = calendar_for("CN")


@pytest.mark.parametrize(
    ("day", "worked", "why"),
    [
        ("2026-11-20", True, "a Friday"),
        ("2026-11-21", False, "a Saturday"),
        ("2026-02-14", True, "a Saturday made up for Spring Festival"),
        ("2026-02-28", True, "a Saturday made up for Spring Festival"),
        ("2026-10-10", True, "a Saturday made up for National Day"),
        ("2026-09-20", True, "a Sunday made up for National Day"),
        ("2026-10-01", False, "National Day"),
        ("2026-02-17", False, "Spring Festival, a Tuesday"),
        ("2026-01-04", True, "a Sunday made up for New Year"),
    ],
)
def test_china_works_on_make_up_weekends_and_rests_on_holidays(day: str, worked: bool, why: str) -> None:
    assert CN.is_working_day(date.fromisoformat(day)) is worked, why


@pytest.mark.parametrize("year", [1990, 2099])
def test_a_year_that_is_not_published_is_said_and_not_guessed(year: int) -> None:
    with pytest.raises(CalendarUnknown, match=f"working days of {year} are not known to the calendar CN") as caught:
        CN.is_working_day(date(year, 6, 1))
    assert (caught.value.calendar, caught.value.year) == ("CN", year)


def test_another_country_has_its_own_holidays_and_its_parts_theirs() -> None:
    boxing_day_made_up = date(2026, 12, 28)
    assert not calendar_for("GB-ENG").is_working_day(boxing_day_made_up)
    assert calendar_for("GB-SCT").is_working_day(date(2026, 4, 6))
    assert not calendar_for("GB-ENG").is_working_day(date(2026, 4, 6)), "Easter Monday, not kept in Scotland"
    with pytest.raises(CalendarUnknown):
        calendar_for("GB").is_working_day(date(2500, 1, 5))


@pytest.mark.parametrize("name", ["XX", "cn", "GB-XYZ", ""])
def test_a_calendar_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(PolicyError, match="not a calendar we have"):
        calendar_for(name)


def test_one_name_is_one_calendar() -> None:
    assert calendar_for("CN") is CN
    assert CN.name == "CN"


@pytest.mark.parametrize(
    ("day", "before", "after"),
    [
        ("2026-11-23", "2026-11-20", "2026-11-24"),
        ("2026-10-08", "2026-09-30", "2026-10-09"),
        ("2026-10-11", "2026-10-10", "2026-10-12"),
        ("2026-02-24", "2026-02-14", "2026-02-25"),
    ],
)
def test_the_working_days_next_to_a_day(day: str, before: str, after: str) -> None:
    assert last_working_day_before(date.fromisoformat(day), CN) == date.fromisoformat(before)
    assert next_working_day_after(date.fromisoformat(day), CN) == date.fromisoformat(after)


def test_working_days_are_counted_from_the_day_after() -> None:
    friday = date(2026, 11, 20)
    assert add_working_days(friday, 0, CN) == friday
    assert add_working_days(friday, 1, CN) == date(2026, 11, 23)
    assert add_working_days(date(2026, 9, 30), 2, CN) == date(2026, 10, 9)
    assert working_days_between(friday, date(2026, 11, 23), CN) == 1
    assert working_days_between(friday, friday, CN) == 0
    assert working_days_between(friday, date(2026, 11, 1), CN) == 0
    with pytest.raises(ValueError, match="forwards"):
        add_working_days(friday, -1, CN)


@given(st.dates(date(2010, 1, 1), date(2026, 6, 1)), st.integers(1, 60))
def test_adding_and_counting_working_days_agree(day: date, n: int) -> None:
    later = add_working_days(day, n, CN)
    assert CN.is_working_day(later)
    assert working_days_between(day, later, CN) == n
    assert last_working_day_before(later + timedelta(days=1), CN) == later
