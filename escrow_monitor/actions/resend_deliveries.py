"""Owe what a channel did not take, and was given up, once more: by a person, audited."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from escrow_monitor.errors import UsageError
from escrow_monitor.logs import log
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.database import Session
from escrow_monitor.records.evidence import audit

RESEND_MAX = 1_000
"""So many at once; whoever has more asks again."""


class UnknownDelivery(UsageError):
    """No such delivery is known."""


class NotGivenUp(UsageError):
    """The delivery was made, or is still tried: there is nothing to send again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resent:
    """What is owed again. `left`: the channel has more that was given up than is sent again at once."""

    delivery_ids: Sequence[str]
    left: bool = False


def resend(
    session: Session, delivery_ids: Sequence[str], *, channels: Collection[str], by: str, now: datetime
) -> Resent:
    """Send these again: all or none. Raises UnknownDelivery, NotGivenUp, or UsageError for a channel that is gone."""
    chosen = list(dict.fromkeys(delivery_ids))
    if not 0 < len(chosen) <= RESEND_MAX:
        raise UsageError(f"name 1 to {RESEND_MAX} deliveries to send again")
    audit.lock_chain(session)
    known = deliveries.states(session, chosen)
    for delivery_id in chosen:
        if delivery_id not in known:
            raise UnknownDelivery(f"no delivery {delivery_id[:60]!r} was given up: see deliveries list --state dead")
        channel, state = known[delivery_id]
        if state != "dead":
            raise NotGivenUp(f"the delivery {delivery_id[:60]!r} is {state}: only what was given up is sent again")
        _configured(channel, channels)
    return _owed_again(session, chosen, by=by, now=now)


def resend_all(session: Session, channel: str, *, channels: Collection[str], by: str, now: datetime) -> Resent:
    """Send again all that was given up on a channel, the oldest first; nothing is no error."""
    _configured(channel, channels)
    audit.lock_chain(session)
    found = deliveries.given_up(session, channel=channel, limit=RESEND_MAX + 1)
    if not found:
        return Resent(delivery_ids=())
    done = _owed_again(session, found[:RESEND_MAX], by=by, now=now)
    return Resent(delivery_ids=done.delivery_ids, left=len(found) > RESEND_MAX)


def _owed_again(session: Session, delivery_ids: Sequence[str], *, by: str, now: datetime) -> Resent:
    revived = deliveries.revive(session, delivery_ids, now=now)
    assert revived == len(delivery_ids)  # noqa: S101 - they were dead under the lock that is held
    audit.append(session, kind="delivery.resent", actor=by, payload={"deliveries": list(delivery_ids)}, now=now)
    log(__name__).info("delivery.resent", by=by, count=len(delivery_ids))
    return Resent(delivery_ids=delivery_ids)


def _configured(channel: str, channels: Collection[str]) -> None:
    if channel not in channels:
        known = ", ".join(channels) or "none"
        raise UsageError(f"no channel {channel[:40]!r} is configured; the channels are {known}")
