"""What families paid must be in a supervised account by the end of the next working day: the D+1 test."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.bridge import Reconciliation
from escrow_monitor.domain.findings import Finding, Level, Sentence, Standing, Value, institution_subject
from escrow_monitor.domain.institution_position import InstitutionPosition
from escrow_monitor.domain.policy import EffectivePolicy

RULE = "receipt_outside_escrow"
LEVEL = Level.RED
"""All prepaid fees must enter the institution's special account (domain.md N1, N7). How soon no Chinese text says: the
next working day is our default, as elsewhere in the world (domain.md 6.2)."""


def examine(position: InstitutionPosition, policy: EffectivePolicy, now: datetime) -> tuple[Finding, ...]:
    """Breached while a charge is recorded that no supervised account shows although its time is over.

    Of charges and credits that fit each other in several ways only what is certainly missing counts. A day without its
    statement makes nothing overdue: it may show the money.
    """
    return tuple(_examine(position, one, now) for one in position.reconciliations)


def _examine(position: InstitutionPosition, run: Reconciliation, now: datetime) -> Finding:
    breached = run.unreceived.minor_units > 0
    example = run.unreceived_example
    values: dict[str, Value] = {
        "on": run.on, "known_through": run.known_through, "amount": run.unreceived, "charges": run.unreceived_count,
        "since": run.unreceived_since, "example": None if example is None else example.partition(":")[2],
    }
    known = run.known_through is not None and run.known_through >= run.on
    sentence = _MISSING if breached else _MET if known else _UNKNOWN
    standing = Standing.BREACHED if breached else Standing.MET if known else Standing.UNKNOWN
    return Finding(
        rule=RULE, subject=institution_subject(position.institution.uscc), period=run.period, standing=standing,
        level=LEVEL if breached else None, sentence=sentence, values=values, as_of=now,
    )


_MET = Sentence(
    zh="截至 {on}，到期的缴费都已进入监管账户",
    en="every charge that was due by {on} was credited to a supervised account",
)
_UNKNOWN = Sentence(
    zh="{known_through} 以后的对账单不全，其后到期的缴费是否进入监管账户未知",
    en="statements after {known_through} are missing, so whether the charges due since were credited is not known",
)
_MISSING = Sentence(
    zh="截至 {on}，有 {charges} 笔缴费共 {amount} 在次一工作日日终后仍未进入监管账户，"
    "最早的一笔为 {since} 的 {example}；请核实收款去向（是否进入其他账户或个人收款码），责令转入，或更正缴费记录",
    en="by {on} {charges} charges of {amount} in all were not credited to any supervised account by the end of the "
    "next working day, the first {example} of {since}; find out where the money went (another account, a personal "
    "payment code), have it paid in, or correct the record of charges",
)
