"""What each channel is still owed and what it refused for good, as operators see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlmodel import Session

from escrow_monitor.records.bulk import Reader, run


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelQueue:
    """One channel: how many deliveries are due and the oldest of them, how many were tried in vain, and given up."""

    channel: str
    due: int = 0
    oldest_at: datetime | None = None
    tried: int = 0
    dead: int = 0
    last_dead_at: datetime | None = None


def queues(session: Session) -> dict[str, ChannelQueue]:
    """By channel; one that is owed nothing and has given up nothing is absent."""
    reader, found = Reader(session), dict[str, ChannelQueue]()
    for channel, count, oldest, tried in run(
        session,
        "SELECT channel, count(*), min(created_at), sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END) FROM deliveries"
        " WHERE state = 'due' GROUP BY channel",
    ):
        found[channel] = ChannelQueue(
            channel=channel, due=int(count), oldest_at=reader.instant(oldest), tried=int(tried)
        )
    for channel, count, last in run(
        session, "SELECT channel, count(*), max(settled_at) FROM deliveries WHERE state = 'dead' GROUP BY channel"
    ):
        known = found.get(channel, ChannelQueue(channel=channel))
        found[channel] = replace(known, dead=int(count), last_dead_at=reader.instant(last))
    return found
