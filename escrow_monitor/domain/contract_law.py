"""What the sums over an institution's contracts are made by: the clock of silence, and the clauses that count them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import TypeAlias

from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar, calendar_for
from escrow_monitor.domain.clauses import Clause, DeemedFrom, LessonConfirmation, PeriodFees, Schedule
from escrow_monitor.domain.clocks import silence
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.policy import CALENDAR_DEFAULT, PolicyBook

SummedTerms: TypeAlias = PeriodFees | Schedule

CALENDAR_YEARS_AHEAD = 3
"""No clock runs longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceClock:
    """After how long silence confirms a lesson, and the calendar by which that is counted, known to the end of a year.

    Where the calendar of a later year becomes known, this is another clock: it has more to say.
    """

    working_days: int
    deemed_from: DeemedFrom
    calendar: str
    known_to: int

    @classmethod
    def of(cls, clause: Clause[LessonConfirmation], calendar: WorkingCalendar, *, on: date) -> SilenceClock:
        """The clock of a clause as it is known on a day."""
        return cls(
            working_days=clause.terms.working_days, deemed_from=clause.terms.deemed_from, calendar=calendar.name,
            known_to=_known_to(calendar.name, on.year),
        )

    @classmethod
    def read(cls, text: str) -> SilenceClock:
        """The clock whose text this is."""
        working_days, deemed_from, calendar, known_to = text.split(" ")
        return cls(
            working_days=int(working_days), deemed_from=DeemedFrom(deemed_from), calendar=calendar,
            known_to=int(known_to),
        )

    @property
    def text(self) -> str:
        """Its name in the records, such as `15 next_day CN 2026`."""
        return f"{self.working_days} {self.deemed_from} {self.calendar} {self.known_to}"

    def deemed(self, requested_on: date) -> date | None:
        """The day from which a request of that day is answered by silence; None while its calendar is not known."""
        terms = LessonConfirmation(working_days=self.working_days, deemed_from=self.deemed_from)
        return silence(requested_on, terms, calendar_for(self.calendar)).deemed_from


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractLaw:
    """What holds for the contracts of one institution: silence (None: it says nothing), and the sums that are kept."""

    silence: SilenceClock | None = None
    terms: frozenset[SummedTerms] = frozenset()


def contract_law(policies: PolicyBook, institution: Institution, on: date) -> ContractLaw:
    """The law for the contracts of an institution on a day.

    Sums are kept for each clause of the institution's places, in force or not, whichever accounts it applies to: a
    clause that begins tomorrow, or an account that changes its mode, then finds its sum.
    """
    policy = policies.effective(institution=institution, account=None, on=on)
    confirmation = policy.refund_terms.confirmation
    return ContractLaw(
        silence=None if confirmation is None else SilenceClock.of(confirmation, policy.calendar, on=on),
        terms=frozenset(
            clause.terms for clause in policies.clauses_at_any_time(institution)
            if isinstance(clause.terms, PeriodFees | Schedule)
        ),
    )


def contract_law_version(policies: PolicyBook, on: date) -> str:
    """Names the laws of all institutions on a day: while it is the same, so are they."""
    clauses = [
        clause for pack in policies.packs.values() for clause in pack.clauses
        if isinstance(clause.terms, LessonConfirmation)
    ]
    changes = [clause.effective_from for clause in clauses]
    # A clause is in force on its last day, so the change shows the day after.
    changes += [clause.effective_to + timedelta(days=1) for clause in clauses if clause.effective_to is not None]
    changed = max((day for day in changes if day <= on), default=date.min)
    calendars = sorted({CALENDAR_DEFAULT, *(pack.calendar for pack in policies.packs.values() if pack.calendar)})
    known = ",".join(f"{name}{_known_to(name, on.year)}" for name in calendars)
    return f"{policies.version} {changed} {known}"


def terms_text(terms: SummedTerms) -> str:
    """The name of a clause's terms in the records: `period_fees 3`, `schedule 30,30,40`."""
    if isinstance(terms, PeriodFees):
        return f"period_fees {terms.months}"
    return f"schedule {','.join(map(str, terms.parts))}"


@lru_cache(maxsize=1024)
def read_terms(text: str) -> SummedTerms:
    """The terms whose name this is."""
    kind, _, given = text.partition(" ")
    if kind == "period_fees":
        return PeriodFees(months=int(given))
    return Schedule(parts=tuple(map(int, given.split(","))))


@lru_cache(maxsize=256)
def _known_to(calendar: str, year: int) -> int:
    """The last year whose working days a calendar knows, from the year before `year` on."""
    known = year - 1
    for each in range(year, year + CALENDAR_YEARS_AHEAD + 1):
        try:
            calendar_for(calendar).is_working_day(date(each, 1, 1))
        except CalendarUnknown:
            break
        known = each
    return known
