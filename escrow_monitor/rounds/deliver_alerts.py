"""Deliver what is owed: claim, send, settle; at least once, with an id that stays the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from alerts.channel import Channel, DigestChannel, NotSent, StandingChannel
from alerts.delivery import Dead, Delivered, Delivery, Later
from alerts.dispatch import FAILURES_RUNNING_MAX, dispatch
from alerts.routing import groups
from escrow_monitor.records.alerts.deliveries import claim, settle
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.report import Outcome, Report
from escrow_monitor.rounds.who_hears import Routing, go_now, said_again
from escrow_monitor.settings.channels import Together

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
    routing: Routing | None = None,
    together: Together = "related",
) -> Report:
    """Send what is due on one channel, oldest first, until nothing is due or the bound of one round is reached.

    With `routing` it is first decided what of it goes now, see `who_hears`; without, all of it does. A channel that can
    put several into one message gets `together` what that says. Then say again what is open, where the far side would
    forget it.
    """
    counts: Counter[str] = Counter({"claimed": 0, "delivered": 0, "later": 0, "dead": 0})
    for _ in range(CLAIMS_MAX):
        with database.write() as session:
            due = claim(
                session, channel=channel, limit=CLAIM, now=now_of(), lease_seconds=LEASE_SECONDS, claimant=claimant
            )
        if not due:
            break
        counts["claimed"] += len(due)
        going = due if routing is None else go_now(
            database, due, routing, claimant=claimant, now=now_of(), counts=counts
        )
        messages = _messages(going, channels.get(channel), together)
        if not _all_tried(database, messages, channels, now_of=now_of, watch=watch, counts=counts):
            # The channel is down or rests: what was not tried stays owed, and its lease ends by itself.
            break
    counts.update(_renewed(database, channels.get(channel), routing, now_of()))
    return Report(
        round=NAME,
        shard=channel,
        scheduled_at=scheduled_at,
        outcome=Outcome.WRONG if counts["dead"] or counts["later"] or counts.get("not_renewed") else Outcome.OK,
        counts=dict(counts),
    )


def _messages(
    going: Sequence[Delivery], channel: Channel | None, together: Together
) -> list[list[Delivery]]:
    """What may share a message: each alert has its own delivery and its own id, whatever it travels with."""
    if not isinstance(channel, DigestChannel) or together == "everything":
        return [list(going)] if going else []
    if together == "nothing":
        return [[one] for one in going]
    return groups(going, lambda one: one.entry)


def _all_tried(
    database: Database, going: Sequence[Sequence[Delivery]], channels: Mapping[str, Channel], *,
    now_of: Callable[[], datetime], watch: DeliveryWatch, counts: Counter[str],
) -> bool:
    """Send group by group and settle each try at once; False when the channel stopped taking before the end."""
    failures_running = 0
    for group in going:
        tried = 0
        for result in dispatch(group, channels, now_of=now_of):
            with database.write() as session:
                settle(session, [result], now=now_of())
            tried += 1
            word = WORDS[type(result.outcome)]
            counts[word] += 1
            failures_running = failures_running + 1 if word == "later" else 0
            latency = now_of() - result.delivery.created_at
            watch(
                channel=result.delivery.channel, outcome=word,
                seconds=latency / timedelta(seconds=1) if word == "delivered" else None,
            )
        if tried < len(group) or failures_running >= FAILURES_RUNNING_MAX:
            return False
    return True


def _renewed(
    database: Database, channel: Channel | None, routing: Routing | None, now: datetime
) -> dict[str, int]:
    """Repeat what is open, if it is time; a failure is only counted, for it is tried again at the next turn."""
    if not isinstance(channel, StandingChannel) or channel.renew_in() > 0:
        return {}
    repeated = said_again(database, routing, now=now)
    answer = channel.renew(repeated)
    return {"not_renewed": 1} if isinstance(answer, NotSent) else {"renewed": len(repeated)}
