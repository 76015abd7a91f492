"""What is known of one institution as a whole at one moment: the input of the rules about families' money.

    reconciliation   what its accounts hold against what it owes, line by line (`domain.reconciliation`)
    refunds          what families claim back and did not get (`RefundFacts`)
    fee caps         charges and contracts beyond what the law lets an institution take at once (`FeeCapFacts`)

A part that is None was not looked at, which is unknown and never fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money

if TYPE_CHECKING:
    from escrow_monitor.domain.bridge import Reconciliation


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFacts:
    """Refund cases of one institution at the end of day `on`.

    Overdue: due before `on` and not seen in the bank, `overdue_amount` in all. Differing: the claim asks for another
    amount than the contract and the law give, by more than the tolerance; `difference_max` is the largest difference,
    of case `differing_case`. `unquotable` cases rest on records that cannot be right or lack what a quote needs.
    `undated` refunds are agreed on and not seen, and neither contract nor policy sets a day for them, `undated_amount`
    in all. `next_due_on` is the first day on which another becomes overdue.
    """

    on: date
    currency: str
    open_cases: int = 0
    overdue: int = 0
    overdue_amount: Money | None = None
    overdue_oldest_on: date | None = None
    overdue_case: str | None = None
    differing: int = 0
    difference_max: Money | None = None
    differing_case: str | None = None
    unquotable: int = 0
    unquotable_case: str | None = None
    undated: int = 0
    undated_amount: Money | None = None
    undated_case: str | None = None
    next_due_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeCapFacts:
    """Charges and contracts of one institution that are beyond a cap, by the id of the clause: how many, since when,
    and one of them by its number."""

    clause_id: str
    count: int
    first_on: date
    example_no: str
    largest: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionPosition:
    """One institution, its newest reconciliation per currency, its refunds and its fee caps."""

    institution: Institution
    reconciliations: tuple[Reconciliation, ...] = ()
    refunds: tuple[RefundFacts, ...] | None = None
    fee_caps: tuple[FeeCapFacts, ...] | None = None
