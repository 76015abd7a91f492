"""Which days are working days, as a library states them: a year it does not know is said, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Protocol

from escrow_monitor.errors import EscrowMonitorError, PolicyError

_DAY = timedelta(days=1)


class CalendarUnknown(EscrowMonitorError):
    """The working days of a year are not known."""

    def __init__(self, *, calendar: str, year: int) -> None:
        super().__init__(
            f"the working days of {year} are not known to the calendar {calendar}: install a newer holiday library"
        )
        self.calendar = calendar
        self.year = year


class WorkingCalendar(Protocol):
    """Says of a day whether people work on it. Raises CalendarUnknown for a year it does not know."""

    @property
    def name(self) -> str: ...

    def is_working_day(self, day: date) -> bool: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True, eq=False)
class ChinaCalendar:
    """The State Council's yearly notice, make-up days (调休) included: some Saturdays and Sundays are worked."""

    name: str = "CN"

    def is_working_day(self, day: date) -> bool:
        days = _china_year(day.year)
        if days is None:
            raise CalendarUnknown(calendar=self.name, year=day.year)
        return day in days


@dataclass(frozen=True, slots=True, eq=False)
class CountryCalendar:
    """Weekends and public holidays of a country (`GB`) or a part of it (`GB-ENG`), ISO 3166 codes."""

    name: str

    def is_working_day(self, day: date) -> bool:
        days = _country_year(self.name, day.year)
        if days is None:
            raise CalendarUnknown(calendar=self.name, year=day.year)
        return day in days


@lru_cache(maxsize=64)
def calendar_for(name: str) -> WorkingCalendar:
    """Return the calendar of that name: `CN`, or an ISO 3166 code such as `GB` or `GB-ENG`. Raises PolicyError."""
    if name == "CN":
        return ChinaCalendar()
    import holidays  # slow to load, and most houses need only China's

    country, _, part = name.partition("-")
    parts = holidays.list_supported_countries(include_aliases=False).get(country)
    if parts is None or (part and part not in parts):
        raise PolicyError(f"{name!r} is not a calendar we have: use CN, or an ISO 3166 code such as GB or GB-ENG")
    return CountryCalendar(name)


def last_working_day_before(day: date, calendar: WorkingCalendar) -> date:
    """The newest working day strictly before `day`."""
    day -= _DAY
    while not calendar.is_working_day(day):
        day -= _DAY
    return day


def next_working_day_after(day: date, calendar: WorkingCalendar) -> date:
    """The first working day strictly after `day`."""
    day += _DAY
    while not calendar.is_working_day(day):
        day += _DAY
    return day


def add_working_days(day: date, n: int, calendar: WorkingCalendar) -> date:
    """The n-th working day after `day`, the day itself not counted; for n = 0 the day itself. n is not negative."""
    if n < 0:
        raise ValueError("working days are counted forwards")
    for _ in range(n):
        day = next_working_day_after(day, calendar)
    return day


def working_days_between(first: date, last: date, calendar: WorkingCalendar) -> int:
    """How many working days lie after `first`, up to and including `last`; 0 when `last` is not after `first`."""
    return sum(calendar.is_working_day(first + n * _DAY) for n in range(1, (last - first).days + 1))


@lru_cache(maxsize=256)
def _china_year(year: int) -> frozenset[date] | None:
    import chinese_calendar

    try:
        return frozenset(day for day in _days_of(year) if chinese_calendar.is_workday(day))
    except NotImplementedError:
        return None


@lru_cache(maxsize=256)
def _country_year(name: str, year: int) -> frozenset[date] | None:
    import holidays

    country, _, part = name.partition("-")
    stated = holidays.country_holidays(country, subdiv=part or None, years=year)
    if not stated.start_year <= year <= stated.end_year:
        return None
    return frozenset(day for day in _days_of(year) if stated.is_working_day(day))


def _days_of(year: int) -> list[date]:
    first = date(year, 1, 1)
    return [day for n in range(366) if (day := first + n * _DAY).year == year]
