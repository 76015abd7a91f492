"""What the refund cases of an institution come to on a day: what is overdue, what differs, what nobody can compute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from escrow_monitor.domain.clocks import Due
from escrow_monitor.domain.dispute_words import CaseState
from escrow_monitor.domain.disputes import UNDECIDED, Case
from escrow_monitor.domain.entitlement import Impossible
from escrow_monitor.domain.institution_position import RefundFacts
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.refund_quote import Quote

DIFFERENCE_MINOR_UNITS_MAX = 100
"""A claim and a computation that differ by no more than one yuan agree: people round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """An open case, by when it must be paid, and what is due by contract and law where that is still open to say."""

    case: Case
    due: Due
    quote: Quote | Impossible | None = None


def needs_quote(case: Case) -> bool:
    """Whether what is due is still open: nobody has agreed to it or ruled on it."""
    return case.state in UNDECIDED or case.state is CaseState.CONTESTED


def refund_facts_of(cases: Iterable[CaseFacts], *, on: date) -> tuple[RefundFacts, ...]:
    """Sum open cases of one institution up, by currency."""
    by_currency: dict[str, list[CaseFacts]] = {}
    for each in cases:
        by_currency.setdefault(each.case.currency, []).append(each)
    return tuple(_facts(found, currency, on) for currency, found in sorted(by_currency.items()))


def difference(case: Case, quote: Quote) -> int:
    """How far what is claimed lies from what is due, in minor units; a penalty may be in the claim or not.

    What this case already brought back is no longer in the quote, and is added to it.
    """
    if case.claimed is None:
        return 0
    least = quote.refund.minor_units + case.paid.minor_units
    most, claimed = least + quote.penalty.minor_units, case.claimed.minor_units
    return max(least - claimed, claimed - most, 0)


def due_amount(each: CaseFacts) -> int | None:
    """What must still be seen of a case, in minor units: what is agreed, else what is claimed and due. None: unknown.

    What is in dispute need not be paid before it is ruled on.
    """
    case, quote = each.case, each.quote
    if case.agreed.minor_units or case.state not in UNDECIDED:
        return case.outstanding.minor_units
    if not isinstance(quote, Quote):
        return None
    due = quote.refund.minor_units
    return due if case.claimed is None else min(due, max(0, case.claimed.minor_units - case.paid.minor_units))


def _facts(found: list[CaseFacts], currency: str, on: date) -> RefundFacts:
    owed = [(each, amount) for each in found if (amount := due_amount(each))]
    late = [(each.due.day, each.case.case_no, amount) for each, amount in owed if each.due.day and each.due.day < on]
    to_come = [each.due.day for each, _ in owed if each.due.day and each.due.day >= on]
    agreed = [(each.case.case_no, amount) for each, amount in owed if each.case.agreed.minor_units and not each.due.day]
    undated = sorted(agreed)
    quoted = [(each.case.case_no, difference(each.case, each.quote)) for each in found if isinstance(each.quote, Quote)]
    differing = [(by, case_no) for case_no, by in quoted if by > DIFFERENCE_MINOR_UNITS_MAX]
    unquotable = sorted(each.case.case_no for each in found if isinstance(each.quote, Impossible))
    oldest = min(late, default=None)
    largest = min(differing, key=lambda one: (-one[0], one[1]), default=None)
    return RefundFacts(
        on=on, currency=currency, open_cases=len(found),
        overdue=len(late), overdue_amount=Money(sum(amount for _, _, amount in late), currency) if late else None,
        overdue_oldest_on=None if oldest is None else oldest[0], overdue_case=None if oldest is None else oldest[1],
        differing=len(differing), difference_max=None if largest is None else Money(largest[0], currency),
        differing_case=None if largest is None else largest[1],
        unquotable=len(unquotable), unquotable_case=unquotable[0] if unquotable else None,
        undated=len(undated), undated_amount=Money(sum(each for _, each in undated), currency) if undated else None,
        undated_case=undated[0][0] if undated else None,
        next_due_on=min(to_come) + timedelta(days=1) if to_come else None,
    )
