"""The clauses a policy pack is made of: what each kind says, where it comes from, when and to whom it applies.

    floor kinds     FIXED, RATIO_WINDOW, FULL_LIABILITY, PERIOD_FEES, SCHEDULE
                                               the floor is the largest of those in force
    flow kinds      OUTFLOW_CAP, LARGE_DEBIT
    clock kinds     TOP_UP, FRESHNESS, FEED_GAP
    family kinds    LESSON_CONFIRMATION, REFUND_ANSWER, REFUND_PAYMENT, SEVEN_DAY_RIGHT, FEE_CAP
                                               what runs between a family and an institution, whatever the account
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from fractions import Fraction
from typing import Generic, TypeAlias, TypeVar

from escrow_monitor.domain.accounts import Mode, Purpose
from escrow_monitor.domain.contracts import DeadlineUnit, SubjectKind
from escrow_monitor.domain.findings import Level, Sentence
from escrow_monitor.domain.institutions import InstitutionKind
from escrow_monitor.domain.money import Money


class ClauseKind(StrEnum):
    """What a clause is about."""

    FIXED = "fixed"
    RATIO_WINDOW = "ratio_window"
    FULL_LIABILITY = "full_liability"
    PERIOD_FEES = "period_fees"
    SCHEDULE = "schedule"
    OUTFLOW_CAP = "outflow_cap"
    LARGE_DEBIT = "large_debit"
    TOP_UP = "top_up"
    FRESHNESS = "freshness"
    FEED_GAP = "feed_gap"
    LESSON_CONFIRMATION = "lesson_confirmation"
    REFUND_ANSWER = "refund_answer"
    REFUND_PAYMENT = "refund_payment"
    SEVEN_DAY_RIGHT = "seven_day_right"
    FEE_CAP = "fee_cap"


class Found(StrEnum):
    """How sure the source is.

    F: the text was read. F-weak: only a mirror, a paraphrase or a third party's summary was read. K: general knowledge
    without a source. NF: looked for and not found. D: a default of this program, no regulator's rule.
    Only F can be verified.
    """

    READ = "F"
    READ_WEAKLY = "F-weak"
    KNOWN = "K"
    NOT_FOUND = "NF"
    DESIGN = "D"


class Per(StrEnum):
    """What a large debit is measured on: one entry, or all debits of a day."""

    ENTRY = "entry"
    DAY = "day"


class RatioOf(StrEnum):
    """What a ratio is taken of: the credits booked on the account, or the charges under the institution's contracts."""

    CREDITS = "credits"
    CHARGES = "charges"


class DeemedFrom(StrEnum):
    """From when silence counts as consent, once the last working day for an answer is over.

    The found text says "more than n working days". `next_day`: it is consent at the end of the n-th, so from the day
    after, be it a Saturday. `next_working_day`: only the next working day is the first beyond n.
    """

    NEXT_DAY = "next_day"
    NEXT_WORKING_DAY = "next_working_day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a clause comes from. `remark` says what of it is a reading of ours, or what is still to be checked."""

    title: str
    found: Found
    document_no: str | None = None
    article: str | None = None
    url: str | None = None
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applies:
    """To whom a clause applies; an empty set means to all."""

    kinds: frozenset[InstitutionKind] = frozenset()
    purposes: frozenset[Purpose] = frozenset()
    modes: frozenset[Mode] = frozenset()

    def to(self, *, kind: InstitutionKind | None, purpose: Purpose | None, mode: Mode | None) -> bool:
        """Whether it applies. An institution whose kind nobody has said is held to every kind's clauses.

        `purpose` and `mode` None: asked for the institution, whatever its accounts.
        """
        return (
            (not self.kinds or kind is None or kind in self.kinds)
            and (not self.purposes or purpose is None or purpose in self.purposes)
            and (not self.modes or mode is None or mode in self.modes)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """`amount` holds while the credits counted are below `credits_below`; None marks the last, for all the rest."""

    credits_below: Money | None
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """The floor is an amount: one, or the tier that the credits of the last `months` calendar months fall into.

    Tiers rise in both columns and the last is open, so credits that are not all known give a lower bound.
    """

    tiers: tuple[Tier, ...]
    months: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioWindow:
    """The floor is `ratio` times what came in over the last `months` calendar months, the current one included."""

    ratio: Fraction
    months: int
    of: RatioOf = RatioOf.CREDITS


@dataclass(frozen=True, slots=True, kw_only=True)
class FullLiability:
    """The floor is all that is owed to families: over contracts the sum of max(0, paid - entitled - refunded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodFees:
    """The floor is what all students pay for one charging period of `months` calendar months."""

    months: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The floor is what a monthly release has not yet let go: nothing before the course starts, then part after part.

    `parts` (30, 30, 40) are weights: 30 of 100 from the first day of the course, 60 a month later, 100 after two.
    """

    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutflowCap:
    """The debits of a calendar month may not pass `times` the floor."""

    times: Fraction
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeDebit:
    """Money leaving at once: above `amount`, or above a share of the closing before. At least one of the two is set."""

    amount: Money | None
    share_of_previous_closing: Fraction | None
    per: Per
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """A shortfall must be gone by the end of this many working days after the day it began."""

    working_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The final balance of a working day is due at `final_by` on the next one (local time).

    Missing it is `level`; missing it for more than `orange_after_working_days` is orange. An intraday reading stands in
    until its own day's final is due, and never longer than `intraday_hours_max` hours where that is set.
    """

    final_by: time
    level: Level = Level.YELLOW
    orange_after_working_days: int = 3
    intraday_hours_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedGap:
    """A working day between covered days may miss its statement for this many working days."""

    working_days: int
    level: Level = Level.YELLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonConfirmation:
    """A family silent for more than `working_days` after the request has confirmed the lesson."""

    working_days: int
    deemed_from: DeemedFrom = DeemedFrom.NEXT_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAnswer:
    """An institution silent for more than `working_days` after a refund was asked for has agreed to it."""

    working_days: int
    deemed_from: DeemedFrom = DeemedFrom.NEXT_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPayment:
    """A refund must be paid within so many days of the request, by whether the course had started by then."""

    days_before_start: int
    days_after_start: int
    unit: DeadlineUnit = DeadlineUnit.CALENDAR


@dataclass(frozen=True, slots=True, kw_only=True)
class SevenDayRight:
    """A charge can be had back in full within `days` calendar days, unless the service was known before.

    It holds for charges paid while the clause is in force.
    """

    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeCap:
    """What an institution may not take from a family at once, which is on one day under one contract.

    At least one is set: more than `lessons` lessons, the fee of more than `months` calendar months of the course, more
    than `amount`, money earlier than `months_before_start` calendar months before the course starts (unless the student
    has at most `lessons_left` lessons left of another), money through one of `channels`, written in small letters.
    It holds for contracts of `subject_kinds` (empty: of all) and for charges paid while the clause is in force.
    """

    lessons: int | None = None
    months: int | None = None
    amount: Money | None = None
    months_before_start: int | None = None
    lessons_left: int | None = None
    channels: frozenset[str] = frozenset()
    subject_kinds: frozenset[SubjectKind] = frozenset()


FloorTerms: TypeAlias = Fixed | RatioWindow | FullLiability | PeriodFees | Schedule
FamilyTerms: TypeAlias = LessonConfirmation | RefundAnswer | RefundPayment | SevenDayRight | FeeCap
Terms: TypeAlias = FloorTerms | OutflowCap | LargeDebit | TopUp | Freshness | FeedGap | FamilyTerms
T_co = TypeVar("T_co", bound=Terms, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause(Generic[T_co]):
    """One clause with its source. In force from `effective_from` to `effective_to`, both included; None is open.

    `replaces` names clauses of wider jurisdictions that this one puts out of force wherever it is itself in force.
    """

    id: str
    kind: ClauseKind
    title: Sentence
    terms: T_co
    source: Source
    jurisdiction: str
    verified: bool
    effective_from: date
    effective_to: date | None = None
    applies: Applies = field(default_factory=Applies)
    replaces: tuple[str, ...] = ()

    def in_force(self, on: date) -> bool:
        """Whether it holds on that day."""
        return self.effective_from <= on and (self.effective_to is None or on <= self.effective_to)

    @property
    def basis(self) -> Sentence:
        """Where it comes from, for people: the document, or that nobody has verified it."""
        if not self.verified:
            return NOT_VERIFIED
        named = (self.source.title, self.source.document_no, self.source.article)
        where = " ".join(part for part in named if part)
        return Sentence(zh=f"{where}，来源已查到", en=f"{where}, source found")


FloorClause: TypeAlias = (
    Clause[Fixed] | Clause[RatioWindow] | Clause[FullLiability] | Clause[PeriodFees] | Clause[Schedule]
)

NOT_VERIFIED = Sentence(zh="本地设置，来源未核实", en="local setting, source not verified")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """From coverage (balance over floor) to colours. Defaults of this program, not law: no text publishes ratios.

    Below `yellow_below` yellow, and so on. An open alert eases only once the coverage is `margin` above its threshold.
    `red_after_working_days`: below the floor for longer is red whatever the coverage; None takes the top-up clause's.
    """

    yellow_below: Fraction = Fraction(110, 100)
    orange_below: Fraction = Fraction(100, 100)
    red_below: Fraction = Fraction(80, 100)
    margin: Fraction = Fraction(2, 100)
    red_after_working_days: int | None = None


LADDER_DEFAULT = Ladder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The law of one jurisdiction as data. `jurisdiction` is a GB/T 2260 code, or an ISO 3166 code elsewhere.

    `calendar`, `zone`, `currency` and `ladder` are None where the wider jurisdiction's hold. `notes` tell people what
    was found but is not computed, and what was looked for and not found. `where` is the file it was read from.
    """

    id: str
    title: Sentence
    jurisdiction: str
    clauses: tuple[Clause[Terms], ...]
    calendar: str | None = None
    zone: str | None = None
    currency: str | None = None
    ladder: Ladder | None = None
    notes: tuple[str, ...] = ()
    where: str = ""
