"""By when something must happen in a refund dispute, and what follows if it does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from escrow_monitor.domain.calendar import WorkingCalendar
from escrow_monitor.domain.clocks import Due, Silence, refund_due, silence
from escrow_monitor.domain.contracts import LessonStatus
from escrow_monitor.domain.disputes import UNDECIDED, Case
from escrow_monitor.domain.entitlement import Ledger
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.policy import RefundTerms


class DeadlineKind(StrEnum):
    """What must happen: the institution answers, or the money is seen in the bank."""

    ANSWER = "answer"
    PAYMENT = "payment"


TITLES = {
    DeadlineKind.ANSWER: Sentence(zh="机构答复，逾期视为同意", en="answer of the institution, else deemed agreed"),
    DeadlineKind.PAYMENT: Sentence(zh="退款到账", en="payment seen in the bank"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Until the end of `last_day` it may happen; from `passed_from` on it has not. `clause` says by which rule."""

    kind: DeadlineKind
    last_day: date
    passed_from: date
    clause: str | None = None

    def passed(self, on: date) -> bool:
        """Whether it is too late by that day."""
        return self.passed_from <= on


def answer_clock(case: Case, terms: RefundTerms, calendar: WorkingCalendar) -> Silence | None:
    """When the institution's silence becomes consent. None once it has spoken, or where no clause says so."""
    if case.state not in UNDECIDED or terms.answer is None:
        return None
    return silence(case.claimed_on, terms.answer.terms, calendar)


def deadlines(case: Case, due: Due | None, *, terms: RefundTerms, calendar: WorkingCalendar) -> tuple[Deadline, ...]:
    """The deadlines that run, the first first. A day that is not known, as `due` says why, is in none of them."""
    found = []
    clock = answer_clock(case, terms, calendar)
    if clock is not None and clock.last_day is not None and clock.deemed_from is not None:
        found.append(Deadline(
            kind=DeadlineKind.ANSWER, last_day=clock.last_day, passed_from=clock.deemed_from,
            clause=None if terms.answer is None else terms.answer.id,
        ))
    if due is not None and due.day is not None and must_be_paid(case):
        found.append(Deadline(
            kind=DeadlineKind.PAYMENT, last_day=due.day, passed_from=due.day + timedelta(days=1),
            clause=None if due.clause is None else due.clause.id,
        ))
    return tuple(sorted(found, key=lambda each: (each.passed_from, each.kind)))


def next_deadline(running: Iterable[Deadline], on: date) -> Deadline | None:
    """The first that has not passed by that day."""
    return next((each for each in running if not each.passed(on)), None)


def must_be_paid(case: Case) -> bool:
    """Whether money must still be seen: what is agreed, or all of it while the institution has said nothing."""
    return case.is_open and (case.state in UNDECIDED or case.outstanding.minor_units > 0)


def started_by(ledger: Ledger, day: date) -> bool | None:
    """Whether a course had started by a day: a lesson was taught, or its first day had come. None: not known."""
    if any(
        lesson.status is not LessonStatus.CANCELLED and lesson.taught_on is not None and lesson.taught_on <= day
        for lesson in ledger.lessons
    ):
        return True
    starts_on = ledger.contract.starts_on
    return None if starts_on is None else starts_on <= day


def payment_due(case: Case, ledger: Ledger, *, terms: RefundTerms, calendar: WorkingCalendar) -> Due:
    """By when the refund of a case must be paid, also where nothing can be quoted on its ledger."""
    return refund_due(
        ledger.contract, case.claimed_on, has_started=started_by(ledger, case.claimed_on), payment=terms.payment,
        calendar=calendar,
    )
