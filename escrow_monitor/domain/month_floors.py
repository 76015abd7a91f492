"""What must have lain in accounts on each day of a month, by the clauses that were in force on it, many at a time.

The same as `requirement.required_balance` says of one account on one day, but for PERIOD_FEES and SCHEDULE: they need
the terms of every contract as they were, of which past days keep only sums, so their part of a floor is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from escrow_monitor.domain.account_month import Bools, Ints, share_of
from escrow_monitor.domain.clauses import Fixed, FloorClause, FullLiability, RatioOf, RatioWindow


class Part(NamedTuple):
    """What one clause asks for: a row an account, a column a day. Where it is not `whole` it is at least that."""

    amount: Ints
    known: Bools
    whole: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorFacts:
    """What the clauses count, of accounts of one currency: a row an account, a column a day.

    `credits` and `charges` give, for a number of calendar months that end with this one, what came in up to each day.
    `owed` is what the holder owed families. `elsewhere` lay in the holder's other accounts; what they cover of a sum
    over contracts is not asked of this one.
    """

    currency: str
    shape: tuple[int, int]
    credits: Callable[[int], Part]
    charges: Callable[[int], Part]
    owed: Callable[[], Part]
    elsewhere: Callable[[], Part]


def floors(clauses: Sequence[FloorClause], facts: FloorFacts) -> Part:
    """The largest part that is known; whole only where every part is. Without a clause there is no floor to hold."""
    amount = np.zeros(facts.shape, np.int64)
    known, whole = np.zeros(facts.shape, np.bool_), np.ones(facts.shape, np.bool_)
    for clause in clauses:
        part = _part(clause, facts)
        amount = np.where(part.known, np.maximum(amount, part.amount), amount)
        known |= part.known
        whole &= part.known & part.whole
    return Part(amount, known, whole & known)


def _part(clause: FloorClause, facts: FloorFacts) -> Part:
    terms = clause.terms
    if isinstance(terms, Fixed):
        return _fixed(terms, facts)
    if isinstance(terms, RatioWindow):
        of = facts.credits(terms.months) if terms.of is RatioOf.CREDITS else facts.charges(terms.months)
        part = of._replace(amount=share_of(of.amount, terms.ratio.numerator, terms.ratio.denominator))
        return part if terms.of is RatioOf.CREDITS else _less_elsewhere(part, facts)
    if isinstance(terms, FullLiability):
        return _less_elsewhere(facts.owed(), facts)
    nothing = np.zeros(facts.shape, np.bool_)
    return Part(np.zeros(facts.shape, np.int64), nothing, nothing)


def _fixed(terms: Fixed, facts: FloorFacts) -> Part:
    every = np.ones(facts.shape, np.bool_)
    last = terms.tiers[-1].amount
    if last.currency != facts.currency:
        return Part(np.zeros(facts.shape, np.int64), ~every, ~every)
    if not terms.months:
        return Part(np.full(facts.shape, last.minor_units, np.int64), every, every)
    of = facts.credits(terms.months)
    bounds = [tier.credits_below.minor_units for tier in terms.tiers if tier.credits_below is not None]
    tier = np.searchsorted(bounds, of.amount, side="right")
    amounts = np.array([each.amount.minor_units for each in terms.tiers], np.int64)
    # Credits that were not seen could only lift the account into a higher tier; from the last there is none.
    return Part(amounts[tier], of.known, of.whole | (tier == len(bounds)))


def _less_elsewhere(part: Part, facts: FloorFacts) -> Part:
    other = facts.elsewhere()
    return Part(np.maximum(part.amount - other.amount, 0), part.known & other.known, part.whole & other.whole)
