"""Take the silence of institutions about refund claims as the consent that the law makes it."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.records.contracts.cases import deem_silent, silent_cases
from escrow_monitor.records.database import Database


def deem_silent_refunds(database: Database, *, policies: PolicyBook, now: datetime) -> int:
    """Agree to refunds whose time to answer is over; return how many. Costs one question while nobody was silent.

    To be called before it is asked what should go out of accounts.
    """
    with database.read() as session:
        silent = silent_cases(session, None, policies=policies, now=now)
    if not silent:
        return 0
    with database.write() as session:
        return len(deem_silent(session, sorted({one.uscc for one in silent}), policies=policies, now=now))
