"""When silence becomes consent and a refund is due: boundary days, make-up weekends, and where the calendar ends."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from contract_world import contract

from escrow_monitor.domain.calendar import WorkingCalendar, calendar_for
from escrow_monitor.domain.clauses import (
    Clause,
    ClauseKind,
    DeemedFrom,
    Found,
    LessonConfirmation,
    RefundAnswer,
    RefundPayment,
    Source,
)
from escrow_monitor.domain.clocks import DueBy, days_late, refund_due, silence
from escrow_monitor.domain.contracts import DeadlineUnit
from escrow_monitor.domain.findings import Sentence

CN = calendar_for("CN")
FIFTEEN = LessonConfirmation(working_days=15)
FIVE = RefundAnswer(working_days=5)


def payment(before: int = 5, after: int = 15, unit: DeadlineUnit = DeadlineUnit.CALENDAR) -> Clause[RefundPayment]:
    return Clause(
        id="t/payment", kind=ClauseKind.REFUND_PAYMENT, title=Sentence(zh="时限", en="deadline"),
        terms=RefundPayment(days_before_start=before, days_after_start=after, unit=unit),
        source=Source(title="某办法", found=Found.READ), jurisdiction="000000", verified=True,
        effective_from=date(2020, 1, 1),
    )


@pytest.mark.parametrize(
    ("asked_on", "terms", "last_day"),
    [
        # November 2026 has no holidays: three plain weeks.
        (date(2026, 11, 2), FIFTEEN, date(2026, 11, 23)),
        (date(2026, 11, 6), FIFTEEN, date(2026, 11, 27)),
        (date(2026, 11, 7), FIFTEEN, date(2026, 11, 27)),
        (date(2026, 11, 8), FIFTEEN, date(2026, 11, 27)),
        (date(2026, 11, 9), FIFTEEN, date(2026, 11, 30)),
        (date(2026, 11, 20), FIVE, date(2026, 11, 27)),
        (date(2026, 11, 21), FIVE, date(2026, 11, 27)),
        # 2025: National Day 1 to 8 October off; 28 September and 11 October, a Sunday and a Saturday, are worked.
        (date(2025, 9, 22), FIVE, date(2025, 9, 28)),
        (date(2025, 9, 26), FIVE, date(2025, 10, 10)),
        (date(2025, 9, 30), FIVE, date(2025, 10, 14)),
        (date(2025, 9, 24), FIFTEEN, date(2025, 10, 21)),
        # Spring Festival 2025: 28 January to 4 February off; 26 January and 8 February are worked.
        (date(2025, 1, 24), FIVE, date(2025, 2, 7)),
        (date(2025, 1, 25), FIVE, date(2025, 2, 7)),
        (date(2025, 1, 26), FIVE, date(2025, 2, 8)),
    ],
)
def test_the_last_day_for_an_answer(
    asked_on: date, terms: LessonConfirmation | RefundAnswer, last_day: date
) -> None:
    ran = silence(asked_on, terms, CN)
    assert (ran.last_day, ran.deemed_from, ran.unknown) == (last_day, last_day + timedelta(days=1), None)
    assert [ran.is_consent(last_day + timedelta(days=off)) for off in (-1, 0, 1)] == [False, False, True]


def test_every_working_day_of_a_year_is_counted_and_no_other() -> None:
    day = date(2025, 1, 1)
    while day < date(2026, 12, 1):
        last = silence(day, FIFTEEN, CN).last_day
        assert last is not None
        between = [day + timedelta(days=n) for n in range(1, (last - day).days + 1)]
        assert sum(CN.is_working_day(each) for each in between) == 15, day
        assert CN.is_working_day(last)
        day += timedelta(days=1)


def test_the_other_reading_waits_for_the_sixteenth_working_day() -> None:
    terms = LessonConfirmation(working_days=15, deemed_from=DeemedFrom.NEXT_WORKING_DAY)
    ran = silence(date(2026, 11, 6), terms, CN)
    assert (ran.last_day, ran.deemed_from) == (date(2026, 11, 27), date(2026, 11, 30))
    assert [ran.is_consent(date(2026, 11, day)) for day in (27, 28, 29, 30)] == [False, False, False, True]


def test_where_the_calendar_ends_the_day_is_not_known_and_silence_is_no_consent() -> None:
    ran = silence(date(2026, 12, 28), FIVE, CN)
    assert (ran.last_day, ran.deemed_from) == (None, None)
    assert ran.unknown is not None
    assert ran.unknown.year == 2027
    assert not ran.is_consent(date(2027, 6, 1))
    edge = RefundAnswer(working_days=3, deemed_from=DeemedFrom.NEXT_WORKING_DAY)
    ends = silence(date(2026, 12, 28), edge, CN)
    assert (ends.last_day, ends.deemed_from) == (date(2026, 12, 31), None), "the last day is known, the next is not"


class Never:
    """A calendar without an end, to show that the clock asks only what it must."""

    name = "every day"

    def is_working_day(self, day: date) -> bool:
        return True


def test_a_calendar_of_ones_own_is_asked() -> None:
    calendar: WorkingCalendar = Never()
    assert silence(date(2030, 1, 1), FIVE, calendar).last_day == date(2030, 1, 6)


@pytest.mark.parametrize(
    ("days", "unit", "due_on"),
    [
        (5, DeadlineUnit.WORKING, date(2025, 10, 10)),
        (5, DeadlineUnit.CALENDAR, date(2025, 10, 1)),
        (5, None, date(2025, 10, 1)),
        (0, DeadlineUnit.CALENDAR, date(2025, 9, 26)),
        (0, DeadlineUnit.WORKING, date(2025, 9, 26)),
    ],
)
def test_the_contracts_deadline_comes_first_and_its_days_are_calendar_days_unless_it_says_working(
    days: int, unit: DeadlineUnit | None, due_on: date
) -> None:
    agreed = contract(refund_deadline_days=days, refund_deadline_unit=unit)
    due = refund_due(agreed, date(2025, 9, 26), has_started=True, payment=payment(), calendar=CN)
    assert (due.day, due.by, due.days) == (due_on, DueBy.CONTRACT, days)


@pytest.mark.parametrize(
    ("has_started", "unit", "due_on"),
    [
        (False, DeadlineUnit.CALENDAR, date(2025, 10, 1)),
        (True, DeadlineUnit.CALENDAR, date(2025, 10, 11)),
        (False, DeadlineUnit.WORKING, date(2025, 10, 10)),
        (True, DeadlineUnit.WORKING, date(2025, 10, 23)),
    ],
)
def test_without_one_the_policy_says_5_days_before_the_start_and_15_after(
    has_started: bool, unit: DeadlineUnit, due_on: date
) -> None:
    clause = payment(unit=unit)
    due = refund_due(contract(), date(2025, 9, 26), has_started=has_started, payment=clause, calendar=CN)
    assert (due.day, due.by, due.unit, due.clause) == (due_on, DueBy.POLICY, unit, clause)


def test_what_is_not_known_is_not_guessed() -> None:
    nothing = refund_due(contract(), date(2025, 9, 26), has_started=None, payment=None, calendar=CN)
    assert (nothing.day, nothing.by) == (None, DueBy.NOT_AGREED)
    start = refund_due(contract(), date(2025, 9, 26), has_started=None, payment=payment(), calendar=CN)
    assert (start.day, start.by) == (None, DueBy.START_UNKNOWN)
    alike = refund_due(contract(), date(2025, 9, 26), has_started=None, payment=payment(7, 7), calendar=CN)
    assert (alike.day, alike.by) == (date(2025, 10, 3), DueBy.POLICY), "both say the same"
    agreed = contract(refund_deadline_days=5, refund_deadline_unit=DeadlineUnit.WORKING)
    ends = refund_due(agreed, date(2026, 12, 28), has_started=True, payment=None, calendar=CN)
    assert (ends.day, ends.by) == (None, DueBy.CALENDAR_UNKNOWN)
    assert ends.unknown is not None
    assert ends.unknown.year == 2027


def test_a_refund_is_late_from_the_day_after_it_was_due() -> None:
    assert [days_late(date(2026, 11, 20), date(2026, 11, day)) for day in (19, 20, 21, 30)] == [0, 0, 1, 10]
