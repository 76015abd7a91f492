"""When a day's final balance is due, as local days and as instants, as far as the calendar is known.

    Friday's final balance is due on Monday at 12:00 (final_by)
    Monday 11:59   the last day due is Thursday
    Monday 12:00   the last day due is Friday
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from escrow_monitor.domain.calendar import (
    CalendarUnknown,
    add_working_days,
    last_working_day_before,
    next_working_day_after,
    working_days_between,
)
from escrow_monitor.domain.findings import CONTINUOUS, Finding, Sentence, Standing
from escrow_monitor.domain.policy import EffectivePolicy

# Many accounts ask the same few questions in one round; each question is worked out once.
_REMEMBERED = 8192


@lru_cache(maxsize=_REMEMBERED)
def due_day(policy: EffectivePolicy, now: datetime) -> date:
    """The newest working day whose final balance is due by `now`. Raises CalendarUnknown."""
    local = now.astimezone(policy.zone)
    today, calendar = local.date(), policy.calendar
    past_deadline = local.time() >= policy.freshness.terms.final_by
    judged_on = today if calendar.is_working_day(today) and past_deadline else last_working_day_before(today, calendar)
    return last_working_day_before(judged_on, calendar)


@lru_cache(maxsize=_REMEMBERED)
def overdue_at(policy: EffectivePolicy, day: date) -> datetime:
    """The instant at which the first working day after `day` is due: from then on a final balance of `day` is too old.

    Where the calendar ends before that, the first instant it does not know: there the answer changes, to unknown.
    """
    try:
        working_day = next_working_day_after(day, policy.calendar)
        return instant(policy, next_working_day_after(working_day, policy.calendar), policy.freshness.terms.final_by)
    except CalendarUnknown as unknown:
        return instant(policy, max(date(unknown.year, 1, 1), day), time())


@lru_cache(maxsize=_REMEMBERED)
def due_at(policy: EffectivePolicy, day: date) -> datetime:
    """The instant at which the final balance of `day` is due. Raises CalendarUnknown."""
    return instant(policy, next_working_day_after(day, policy.calendar), policy.freshness.terms.final_by)


@lru_cache(maxsize=_REMEMBERED)
def change_at(policy: EffectivePolicy) -> datetime | None:
    """The instant at which another law holds, or None."""
    return None if policy.next_change_on is None else instant(policy, policy.next_change_on, time())


@lru_cache(maxsize=_REMEMBERED)
def changed_at(policy: EffectivePolicy) -> datetime | None:
    """The instant from which this law holds, or None when it held from the first."""
    return None if policy.last_change_on is None else instant(policy, policy.last_change_on, time())


@lru_cache(maxsize=_REMEMBERED)
def working_days_later(policy: EffectivePolicy, day: date, n: int) -> date | None:
    """The n-th working day after `day`; None while its year is not yet known."""
    try:
        return add_working_days(day, n, policy.calendar)
    except CalendarUnknown:
        return None


@lru_cache(maxsize=_REMEMBERED)
def any_working_day(policy: EffectivePolicy, first: date, last: date) -> bool:
    """Whether a working day lies in `first` to `last`, both included. Raises CalendarUnknown."""
    return any(policy.calendar.is_working_day(first + timedelta(days=n)) for n in range((last - first).days + 1))


@lru_cache(maxsize=_REMEMBERED)
def working_days_after(policy: EffectivePolicy, first: date, last: date) -> int:
    """How many working days lie after `first` up to and including `last`. Raises CalendarUnknown."""
    return working_days_between(first, last, policy.calendar)


@lru_cache(maxsize=_REMEMBERED)
def start_of_day(policy: EffectivePolicy, day: date) -> datetime:
    """Local midnight at which `day` begins."""
    return instant(policy, day, time())


def instant(policy: EffectivePolicy, day: date, at: time) -> datetime:
    """A local day and time as an aware UTC instant."""
    return datetime.combine(day, at, tzinfo=policy.zone).astimezone(UTC)


def calendar_unknown(
    unknown: CalendarUnknown, *, rule: str, subject: str, now: datetime, period: str = CONTINUOUS
) -> Finding:
    """What a rule concludes where the calendar ends: nothing, and it says so.

    It is asked again a day later: a newer library may be there by then although nothing else moved.
    """
    return Finding(
        rule=rule, subject=subject, period=period, standing=Standing.UNKNOWN, as_of=now, sentence=_CALENDAR_UNKNOWN,
        values={"calendar": unknown.calendar, "year": unknown.year}, recheck_at=now + timedelta(days=1),
    )


_CALENDAR_UNKNOWN = Sentence(
    zh="{year} 年的工作日未知（日历 {calendar}），本规则无法判断；请更新节假日库",
    en="the working days of {year} are not known to the calendar {calendar}, so this cannot be examined; "
    "install a newer holiday library",
)
