"""When a length of working time is over: hours count on working days while offices are open."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar

OPENS, CLOSES = time(9), time(18)
DAYS_MAX = 400


def working_time_after(
    at: datetime, length: timedelta, *, calendar: WorkingCalendar, zone: ZoneInfo, opens_at: time = OPENS,
    closes_at: time = CLOSES,
) -> datetime:
    """The instant at which `length` of office time has passed since `at`: from `opens_at` to `closes_at` of that zone.

    Where the working days of a year are not known every day counts: to be called too early is the lesser evil.
    """
    left, moment = length, at.astimezone(zone)
    for _ in range(DAYS_MAX):
        day = moment.date()
        opens, closes = datetime.combine(day, opens_at, zone), datetime.combine(day, closes_at, zone)
        begins = max(moment, opens)
        if _is_working(calendar, day) and begins < closes:
            if closes - begins >= left:
                return begins + left
            left -= closes - begins
        moment = datetime.combine(day + timedelta(days=1), time(), zone)
    return moment


def _is_working(calendar: WorkingCalendar, day: date) -> bool:
    try:
        return calendar.is_working_day(day)
    except CalendarUnknown:
        return True
