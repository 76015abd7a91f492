"""Which grounds a refund can rest on, and whether each holds on the day of the claim.

    full_refund_window   the days before or after the start, or the lessons taken, that the contract agrees
    seven_day_right      charges paid within seven days, unless the service was known before
    not_started          the first day has not come and no lesson was taught
    institution_breach, force_majeure      as the claim says
    pro_rata             always

A ground holds, does not, or cannot be said to: what is not recorded is never taken for granted.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

from escrow_monitor.domain import refund_words as words
from escrow_monitor.domain.contracts import Cause, Charge, Contract, GiftPolicy, Lesson, LessonStatus
from escrow_monitor.domain.entitlement import Ledger, Split, Taught, earned, split
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import RefundTerms
from escrow_monitor.domain.refund_words import Ground, Why, why


class Holds(NamedTuple):
    """Whether a ground holds, None where that is not known, and why."""

    valid: bool | None
    why: Why


class Facts(NamedTuple):
    """The figures of one contract under one reading of gift lessons, in minor units of `currency`.

    `right` are the charges that the seven-day right reaches in time, `of_right` what they were for; `prior` whether the
    same service had been received before. `entitled` and `disputed` are of the whole fee, whatever was paid of it.
    """

    contract: Contract
    on: date
    claimed_on: date
    cause: Cause
    terms: RefundTerms
    taught: Taught
    any_taught: bool
    gift_policy: GiftPolicy
    paid: int
    of_paid: Split
    right: tuple[Charge, ...]
    of_right: Split
    refunds: tuple[tuple[date, int], ...]
    entitled: int
    disputed: int

    @property
    def currency(self) -> str:
        """The currency of every figure."""
        return self.contract.fee.currency

    @property
    def refunded(self) -> int:
        """What has gone back by `on`."""
        return sum(amount for _, amount in self.refunds)

    @property
    def materials_kept(self) -> int:
        """What was paid for materials that are recorded as delivered."""
        return self.of_paid.materials if self.contract.materials_delivered else 0

    @property
    def untaught(self) -> int:
        """What was paid for lessons neither taught nor in dispute."""
        return max(0, self.of_paid.lessons - self.entitled - self.disputed)

    def money(self, minor_units: int) -> Money:
        """Minor units as money."""
        return Money(minor_units, self.currency)


def facts_of(
    ledger: Ledger, on: date, claimed_on: date, cause: Cause, terms: RefundTerms, taught: Taught
) -> Facts:
    """Sum up what the grounds and lines need, whatever order the ledger is in."""
    contract = ledger.contract
    charges = sorted(
        (charge for charge in ledger.charges if charge.paid_on <= on), key=lambda each: (each.paid_on, each.charge_no)
    )
    right: list[Charge] = []
    of_right = before = Split(0, 0, 0)
    paid = 0
    for charge in charges:
        # Money goes to lessons, then materials, in the order in which it was paid.
        paid += charge.amount.minor_units
        by_now = split(contract, paid)
        if _in_seven_days(charge, claimed_on, terms):
            right.append(charge)
            of_right = Split(*(sum_ + new - old for sum_, new, old in zip(of_right, by_now, before, strict=True)))
        before = by_now
    # Not agreed and worth something: spread over all lessons, which leaves the family the most. It is said on the line.
    reading = contract.gift_policy or GiftPolicy.BLENDED
    entitled = earned(contract, taught.confirmed, reading)
    return Facts(
        contract=contract, on=on, claimed_on=claimed_on, cause=cause, terms=terms, taught=taught,
        any_taught=any(_was_taught(lesson, claimed_on) for lesson in ledger.lessons),
        gift_policy=reading,
        paid=paid, of_paid=before, right=tuple(right), of_right=of_right,
        refunds=tuple(
            sorted((refund.paid_on, refund.amount.minor_units) for refund in ledger.refunds if refund.paid_on <= on)
        ),
        entitled=entitled, disputed=earned(contract, taught.confirmed + taught.disputed, reading) - entitled,
    )


def _was_taught(lesson: Lesson, by: date) -> bool:
    return lesson.status is not LessonStatus.CANCELLED and lesson.taught_on is not None and lesson.taught_on <= by


def read_otherwise(facts: Facts) -> Facts | None:
    """The same under the other reading, where gift lessons were given and nobody agreed how they count."""
    if gift_agreed(facts.contract):
        return None
    entitled = earned(facts.contract, facts.taught.confirmed, GiftPolicy.PAID_FIRST)
    disputed = earned(facts.contract, facts.taught.confirmed + facts.taught.disputed, GiftPolicy.PAID_FIRST) - entitled
    return facts._replace(gift_policy=GiftPolicy.PAID_FIRST, entitled=entitled, disputed=disputed)


def gift_agreed(contract: Contract) -> bool:
    """Whether it is settled how gift lessons count: it was agreed, or there are none."""
    return contract.gift_policy is not None or contract.lessons_gift == 0


def grounds(facts: Facts) -> dict[Ground, Holds]:
    """Every ground and whether it holds; among equals the earlier one is applied."""
    cause = words.CAUSES[facts.cause.value]

    def said(*sentences: Sentence) -> Why:
        return why(*sentences, cause_zh=cause.zh, cause_en=cause.en)

    other = said(words.CAUSE_OTHER)
    breach = said(words.CAUSE_CLAIMED, words.BY_BREACH, words.BY_CONSUMER_LAW)
    majeure = said(words.CAUSE_CLAIMED, words.NO_PENALTY, words.BY_FORCE_MAJEURE)
    by_institution, by_nobody = facts.cause is Cause.INSTITUTION, facts.cause is Cause.FORCE_MAJEURE
    return {
        Ground.FULL_REFUND_WINDOW: _window(facts),
        Ground.SEVEN_DAY_RIGHT: _seven_days(facts),
        Ground.NOT_STARTED: _not_started(facts),
        Ground.INSTITUTION_BREACH: Holds(by_institution, breach if by_institution else other),
        Ground.FORCE_MAJEURE: Holds(by_nobody, majeure if by_nobody else other),
        Ground.PRO_RATA: Holds(True, why(words.PRO_RATA, words.BY_PRO_RATA)),
    }


def _window(facts: Facts) -> Holds:
    """Whichever of the three was agreed and is kept. Lessons in dispute leave open how many were taken."""
    contract, taught = facts.contract, facts.taught
    before, after, lessons = (
        contract.full_refund_days_before, contract.full_refund_days_after, contract.full_refund_lessons
    )
    starts_on = contract.starts_on
    if before is None and after is None and lessons is None:
        return Holds(False, why(words.WINDOW_NOT_AGREED))

    def said(valid: bool | None, *sentences: Sentence) -> Holds:
        return Holds(valid, why(
            *sentences, words.BY_FULL_REFUND, claimed_on=facts.claimed_on, starts_on=starts_on, before=before,
            after=after, lessons=lessons, taught=taught.confirmed, disputed=taught.disputed,
        ))

    if starts_on is not None and before is not None and facts.claimed_on <= starts_on - timedelta(days=before):
        return said(True, words.WINDOW_BEFORE)
    if starts_on is not None and after is not None and facts.claimed_on <= starts_on + timedelta(days=after):
        return said(True, words.WINDOW_AFTER)
    if lessons is not None and taught.confirmed + taught.disputed <= lessons:
        return said(True, words.WINDOW_LESSONS)
    open_ = []
    if lessons is not None and taught.confirmed <= lessons:
        open_.append(words.WINDOW_LESSONS_DISPUTED)
    if starts_on is None and (before is not None or after is not None):
        open_.append(words.WINDOW_START_UNKNOWN)
    return said(None, *open_) if open_ else said(False, words.WINDOW_PASSED)


def _in_seven_days(charge: Charge, claimed_on: date, terms: RefundTerms) -> bool:
    clause = terms.seven_day
    return (
        clause is not None and clause.in_force(charge.paid_on)
        and claimed_on <= charge.paid_on + timedelta(days=clause.terms.days)
    )


def _seven_days(facts: Facts) -> Holds:
    clause = facts.terms.seven_day
    if clause is None:
        return Holds(False, why(words.SEVEN_DAYS_NO_CLAUSE, on=facts.on))
    basis = words.basis_of(clause)
    days = clause.terms.days
    if not facts.right:
        return Holds(False, why(words.SEVEN_DAYS_PASSED, basis, claimed_on=facts.claimed_on, days=days))
    prior = facts.contract.prior_same_service
    if prior is None:
        return Holds(None, why(words.SEVEN_DAYS_PRIOR_UNKNOWN, basis))
    if prior:
        return Holds(False, why(words.SEVEN_DAYS_KNOWN_BEFORE, basis))
    return Holds(True, why(words.SEVEN_DAYS_HOLDS, basis, days=days))


def _not_started(facts: Facts) -> Holds:
    started = has_started(facts)
    if started:
        return Holds(False, why(words.STARTED))
    if started is None:
        return Holds(None, why(words.NOT_STARTED_UNKNOWN))
    return Holds(True, why(words.NOT_STARTED, claimed_on=facts.claimed_on, starts_on=facts.contract.starts_on))


def has_started(facts: Facts) -> bool | None:
    """Whether the course had started by the claim: a lesson was taught, or its first day had come. None: not known.

    A lesson that is not confirmed yet, or in dispute, is on record as taught all the same.
    """
    if facts.any_taught:
        return True
    starts_on = facts.contract.starts_on
    return None if starts_on is None else starts_on <= facts.claimed_on
