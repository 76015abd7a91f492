"""Seal the audit chain once a day: what was written since the last seal is looked at again, then signed."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import seals
from escrow_monitor.records.evidence.seal_keys import SealKey
from escrow_monitor.rounds.report import Outcome, Report

NAME = "seal-audit"


def seal_audit(
    *, database: Database, key: SealKey, zone: ZoneInfo, scheduled_at: datetime, now: datetime
) -> Report:
    """Put the seal of the day before `scheduled_at`, unless one was put since.

    Raises ChainBroken or KeyNotHandedOver, and then there is no seal: the round is late until somebody has looked.
    """
    counts = {"sealed": 0, "entries": 0, "number": 0}
    with database.write() as session:
        before = seals.newest_seal(session)
        if before is None or before.sealed_at < scheduled_at:
            day = scheduled_at.astimezone(zone).date() - timedelta(days=1)
            sealed = seals.put_seal(session, key, day=day, actor=f"round:{NAME}", now=now)
            counts["sealed"] = 1
            counts["entries"] = sealed.seq - (before.seq if before else 0)
            counts["number"] = sealed.number
    return Report(round=NAME, shard="all", scheduled_at=scheduled_at, outcome=Outcome.OK, counts=counts)
