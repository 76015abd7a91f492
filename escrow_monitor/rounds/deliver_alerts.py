"""Deliver what is owed: claim, send, settle; at least once, with an id that stays the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from alerts.channel import Channel
from alerts.delivery import Dead, Delivered, Later
from alerts.dispatch import dispatch
from escrow_monitor.records.database import Database
from escrow_monitor.records.deliveries import claim, settle
from escrow_monitor.rounds.report import Outcome, Report

NAME = "deliver-alerts"
CLAIM = 100
CLAIMS_MAX = 50
LEASE_SECONDS = 300
WORDS = {Delivered: "delivered", Later: "later", Dead: "dead"}


class DeliveryWatch(Protocol):
    """Hears of each attempt: for metrics."""

    def __call__(self, *, channel: str, outcome: str, seconds: float | None) -> None: ...


def deliver_alerts(
    *,
    database: Database,
    channels: Mapping[str, Channel],
    channel: str,
    claimant: str,
    scheduled_at: datetime,
    now_of: Callable[[], datetime],
    watch: DeliveryWatch,
) -> Report:
    """Send what is due on one channel, oldest first, until nothing is due or the bound of one round is reached."""
    counts = {"claimed": 0, "delivered": 0, "later": 0, "dead": 0}
    for _ in range(CLAIMS_MAX):
        with database.write() as session:
            due = claim(
                session, channel=channel, limit=CLAIM, now=now_of(), lease_seconds=LEASE_SECONDS, claimant=claimant
            )
        if not due:
            break
        counts["claimed"] += len(due)
        tried = 0
        for result in dispatch(due, channels, now_of=now_of):
            with database.write() as session:
                settle(session, [result], now=now_of())
            tried += 1
            word = WORDS[type(result.outcome)]
            counts[word] += 1
            latency = now_of() - result.delivery.created_at
            watch(
                channel=channel, outcome=word, seconds=latency / timedelta(seconds=1) if word == "delivered" else None
            )
        if tried < len(due):
            # The channel is down: what was not tried stays owed, and its lease ends by itself.
            break
    return Report(
        round=NAME,
        shard=channel,
        scheduled_at=scheduled_at,
        outcome=Outcome.WRONG if counts["dead"] or counts["later"] else Outcome.OK,
        counts=counts,
    )
