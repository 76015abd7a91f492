"""What the watchdog asks of the records: did everything run that must run, and did everything go out."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlmodel import Session

from escrow_monitor.domain.rules import delivery_late
from escrow_monitor.records import runs
from escrow_monitor.records.bulk import Reader, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What a channel is owed and should have by now: how many, and since when the oldest.

    `given_up` counts what it refused for good, from `given_up_since` on, unless it has taken something newer since.
    """

    count: int = 0
    since: datetime | None = None
    given_up: int = 0
    given_up_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """When each round last succeeded, when the first of them began here, and what is owed, by channel."""

    last_success: Mapping[str, datetime]
    first_begun_at: datetime | None
    owed: Mapping[str, Owed]


def controls(session: Session, *, now: datetime) -> Controls:
    """One look, cheap enough for once a minute."""
    return Controls(
        last_success=runs.last_success(session), first_begun_at=runs.first_begun_at(session), owed=_owed(session, now)
    )


def _owed(session: Session, now: datetime) -> dict[str, Owed]:
    """What is due and what was given up, by channel, but for what is said of the channel itself.

    One that was never tried counts from when it was due: until then it was held back on purpose.
    """
    at = Reader(session).at
    due = run(
        session,
        "SELECT d.channel, count(*), min(CASE WHEN d.attempts = 0 THEN d.due_at ELSE d.created_at END)"
        " FROM deliveries d JOIN feed_entries f ON f.seq = d.seq"
        f" WHERE d.state = 'due' AND (d.attempts > 0 OR d.due_at <= :now) AND {_NOT_OF_ITSELF} GROUP BY d.channel",
        now=now,
    )
    found = {channel: Owed(count=int(count), since=at(since)) for channel, count, since in due}
    dead = run(
        session,
        "SELECT d.channel, count(*), min(d.settled_at), max(d.seq) FROM deliveries d"
        f" JOIN feed_entries f ON f.seq = d.seq WHERE d.state = 'dead' AND {_NOT_OF_ITSELF} GROUP BY d.channel",
    ).all()
    for channel, count, since, newest in dead:
        if not _took_since(session, channel, newest):
            found[channel] = replace(found.get(channel, Owed()), given_up=int(count), given_up_since=at(since))
    return found


def _took_since(session: Session, channel: str, seq: int) -> bool:
    """Whether a channel took anything newer than this number."""
    return run(
        session,
        "SELECT 1 FROM deliveries WHERE seq > :seq AND channel = :channel AND state = 'delivered' LIMIT 1",
        seq=seq, channel=channel,
    ).first() is not None


# An alert about a channel is owed to that channel too; were it counted, it could keep itself open, or come and go.
_NOT_OF_ITSELF = (
    f"NOT (f.rule = '{delivery_late.RULE}' AND f.subject = '{delivery_late.SUBJECT_PREFIX}' || d.channel)"
)
