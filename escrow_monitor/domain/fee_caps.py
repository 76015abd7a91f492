"""Whether what a family paid at once is beyond what the law lets an institution take at once.

    4,800.00 of a fee of 9,600.00 for 120 lessons over twelve months
        60 lessons      at most 60      within the cap
        six months      at most three   beyond it

What was paid counts for lessons first, up to the fee; the share of the fee is the share of its lessons and months.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from escrow_monitor.domain.clauses import Clause, FeeCap
from escrow_monitor.domain.contracts import SubjectKind
from escrow_monitor.domain.obligation import months_later


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidAtOnce:
    """What a family paid under one contract on one day, in minor units, and what the contract says of it.

    `charge_no` is one of the charges. `channels` are in small letters. `lessons_left` is what the student has left of
    that other contract of which least is left; None: there is no other.
    """

    charge_no: str
    paid_on: date
    amount: int
    currency: str
    fee: int
    lessons: int
    starts_on: date | None = None
    ends_on: date | None = None
    subject_kind: SubjectKind | None = None
    channels: frozenset[str] = frozenset()
    lessons_left: int | None = None


def is_beyond(clause: Clause[FeeCap], paid: PaidAtOnce) -> bool:
    """Whether it is beyond the cap. What the contract does not say (its days, its subject) cannot show that it is.

    A contract whose kind nobody has said is held to every kind's clauses.
    """
    terms = clause.terms
    if not clause.in_force(paid.paid_on):
        return False
    if terms.subject_kinds and paid.subject_kind is not None and paid.subject_kind not in terms.subject_kinds:
        return False
    return (
        _too_many_lessons(terms, paid) or _too_long(terms, paid) or _too_much(terms, paid) or is_early(terms, paid)
        or bool(terms.channels & paid.channels)
    )


def is_early(terms: FeeCap, paid: PaidAtOnce) -> bool:
    """Whether it was taken before it might be; the student's other contracts may allow it all the same."""
    if terms.months_before_start is None or paid.starts_on is None:
        return False
    if paid.paid_on >= months_later(paid.starts_on, -terms.months_before_start):
        return False
    return terms.lessons_left is None or paid.lessons_left is None or paid.lessons_left > terms.lessons_left


def _too_many_lessons(terms: FeeCap, paid: PaidAtOnce) -> bool:
    return terms.lessons is not None and min(paid.amount, paid.fee) * paid.lessons > terms.lessons * paid.fee


def _too_long(terms: FeeCap, paid: PaidAtOnce) -> bool:
    starts_on, ends_on = paid.starts_on, paid.ends_on
    if terms.months is None or starts_on is None or ends_on is None or ends_on < starts_on:
        return False
    course, period = (ends_on - starts_on).days + 1, (months_later(starts_on, terms.months) - starts_on).days
    return min(paid.amount, paid.fee) * course > period * paid.fee


def _too_much(terms: FeeCap, paid: PaidAtOnce) -> bool:
    cap = terms.amount
    return cap is not None and cap.currency == paid.currency and paid.amount > cap.minor_units
