"""What holds for one institution on a day: the clauses in force, and the floor they give each of its accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.requirement import Required, required_balance
from escrow_monitor.domain.timetable import due_day
from escrow_monitor.records.database import Session
from escrow_monitor.records.positions import checked_accounts, positions_due


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveFloor:
    """One account with the policy and the floor of that day."""

    account_no: str
    policy: EffectivePolicy
    required: Required


def effective_floors(
    session: Session, found: Institution, *, policies: PolicyBook, on: date, now: datetime
) -> Sequence[EffectiveFloor]:
    """Each account of the institution, by its number."""
    held = [one.account.account_no for one in checked_accounts(session, uscc=found.uscc, limit=None)]
    floors = []
    for chunk in positions_due(
        session, now=now, policy_version=policies.version, days_from=on, large_debit_fen_min=0,
        charge_months=policies.charge_months_max, account_nos=held, everything=True,
    ):
        for position in (due.position for due in chunk):
            policy = policies.effective(institution=found, account=position.account, on=on)
            # Entries that cannot be here yet make today's floor no less whole.
            required = required_balance(position, policy, on=on, due=due_day(policy, now))
            floors.append(EffectiveFloor(account_no=position.account.account_no, policy=policy, required=required))
    return floors
