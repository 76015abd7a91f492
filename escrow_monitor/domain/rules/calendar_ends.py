"""A calendar that is about to end is reported before the rules that lean on it fall silent."""

from __future__ import annotations

from datetime import date, datetime

from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value

RULE = "calendar_ends"
WARN_DAYS = 14
"""How long before the new year its missing working days are reported; red once that year has begun."""


def examine_calendar(calendar: WorkingCalendar, *, today: date, now: datetime) -> Finding:
    """One finding for one calendar, not one an account. `today` is the local day."""
    year = today.year
    values: dict[str, Value] = {"calendar": calendar.name, "year": year}
    subject = f"calendar:{calendar.name}"
    if not _knows(calendar, year):
        return Finding(
            rule=RULE, subject=subject, standing=Standing.BREACHED, level=Level.RED, sentence=_ENDED, as_of=now,
            values=values,
        )
    days_left = (date(year + 1, 1, 1) - today).days
    if days_left <= WARN_DAYS and not _knows(calendar, year + 1):
        values["year"] = year + 1
        values["days_left"] = days_left
        return Finding(
            rule=RULE, subject=subject, standing=Standing.BREACHED, level=Level.YELLOW, sentence=_ENDING, as_of=now,
            values=values,
        )
    return Finding(rule=RULE, subject=subject, standing=Standing.MET, sentence=_KNOWN, as_of=now, values=values)


def _knows(calendar: WorkingCalendar, year: int) -> bool:
    try:
        calendar.is_working_day(date(year, 1, 1))
    except CalendarUnknown:
        return False
    return True


_KNOWN = Sentence(
    zh="日历 {calendar} 的 {year} 年工作日已知", en="the calendar {calendar} knows the working days of {year}"
)
_ENDING = Sentence(
    zh="日历 {calendar} 没有 {year} 年的工作日，{days_left} 天后最低余额等规则将无法判断；请更新节假日库",
    en="the calendar {calendar} does not know the working days of {year}; in {days_left} days the floor and other "
    "rules can no longer be examined; install a newer holiday library",
)
_ENDED = Sentence(
    zh="日历 {calendar} 没有 {year} 年的工作日，最低余额等规则无法判断；请立即更新节假日库",
    en="the calendar {calendar} does not know the working days of {year}, so the floor and other rules cannot be "
    "examined; install a newer holiday library now",
)
