"""When silence becomes consent, and by when a refund must be paid: the families' clocks, in whole days.

    asked on Friday 20 November, more than 5 working days
        the answer may still come until the end of Friday 27 November, the fifth working day after the request
        from Saturday 28 November it is consent        (next_day)
        from Monday 30 November it is consent          (next_working_day)

Day 0 is the day of the request. A day that lies in a year whose working days nobody knows yet is None, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache

from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar, add_working_days, next_working_day_after
from escrow_monitor.domain.clauses import Clause, DeemedFrom, LessonConfirmation, RefundAnswer, RefundPayment
from escrow_monitor.domain.contracts import Contract, DeadlineUnit

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Until the end of which day an answer may come, and from which day its absence is consent.

    Both are None where `unknown` says that the calendar ends before them; `deemed_from` alone can be None too.
    """

    last_day: date | None
    deemed_from: date | None
    unknown: CalendarUnknown | None = None

    def is_consent(self, on: date) -> bool:
        """Whether silence is consent by that day. While the day is not known it is not."""
        return self.deemed_from is not None and self.deemed_from <= on


@lru_cache(maxsize=8192)
def silence(asked_on: date, terms: LessonConfirmation | RefundAnswer, calendar: WorkingCalendar) -> Silence:
    """Run the clock of one request; requests of one day share their answer.

    Every working day after the day of the request counts, make-up weekends too.
    """
    last_day: date | None = None
    try:
        last_day = add_working_days(asked_on, terms.working_days, calendar)
        over_night = terms.deemed_from is DeemedFrom.NEXT_DAY
        deemed_from = last_day + _DAY if over_night else next_working_day_after(last_day, calendar)
    except CalendarUnknown as unknown:
        return Silence(last_day=last_day, deemed_from=None, unknown=unknown)
    return Silence(last_day=last_day, deemed_from=deemed_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationClock:
    """The clock of lesson confirmations: the clause that holds, and the calendar it counts by."""

    clause: Clause[LessonConfirmation]
    calendar: WorkingCalendar

    def silence(self, requested_on: date) -> Silence:
        """When a request of that day is answered by silence."""
        return silence(requested_on, self.clause.terms, self.calendar)


class DueBy(StrEnum):
    """What the day by which a refund is due was taken from, or why there is none."""

    CONTRACT = "contract"
    POLICY = "policy"
    NOT_AGREED = "not_agreed"
    START_UNKNOWN = "start_unknown"
    CALENDAR_UNKNOWN = "calendar_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """By the end of which day a refund must be paid. `days` of `unit` were counted from the day of the claim."""

    day: date | None
    by: DueBy
    days: int | None = None
    unit: DeadlineUnit | None = None
    clause: Clause[RefundPayment] | None = None
    unknown: CalendarUnknown | None = None


def refund_due(
    contract: Contract, claimed_on: date, *, has_started: bool | None, payment: Clause[RefundPayment] | None,
    calendar: WorkingCalendar,
) -> Due:
    """The contract's deadline, else the policy's, else none.

    `has_started` None: nobody knows, and then neither is the policy's deadline known where it depends on it. Days are
    calendar days unless the text says working days.
    """
    if contract.refund_deadline_days is not None:
        unit = contract.refund_deadline_unit or DeadlineUnit.CALENDAR
        return _due(claimed_on, contract.refund_deadline_days, unit, DueBy.CONTRACT, None, calendar)
    if payment is None:
        return Due(day=None, by=DueBy.NOT_AGREED)
    before, after = payment.terms.days_before_start, payment.terms.days_after_start
    if has_started is None and before != after:
        return Due(day=None, by=DueBy.START_UNKNOWN, clause=payment)
    return _due(claimed_on, after if has_started else before, payment.terms.unit, DueBy.POLICY, payment, calendar)


def _due(
    claimed_on: date, days: int, unit: DeadlineUnit, by: DueBy, clause: Clause[RefundPayment] | None,
    calendar: WorkingCalendar,
) -> Due:
    try:
        working = unit is DeadlineUnit.WORKING
        day = add_working_days(claimed_on, days, calendar) if working else claimed_on + days * _DAY
    except CalendarUnknown as unknown:
        return Due(day=None, by=DueBy.CALENDAR_UNKNOWN, days=days, unit=unit, clause=clause, unknown=unknown)
    return Due(day=day, by=by, days=days, unit=unit, clause=clause)


def days_late(due_on: date, on: date) -> int:
    """How many days after `due_on` it is, 0 up to the day itself."""
    return max(0, (on - due_on).days)
