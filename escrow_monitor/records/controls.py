"""What the watchdog asks of the records: did everything run that must run, and did everything go out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from escrow_monitor.records import runs
from escrow_monitor.records.bulk import Reader, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What a channel is owed and should have by now: how many, and since when the oldest."""

    count: int
    since: datetime


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
    """One that was never tried counts from when it was due: until then it was held back on purpose."""
    at = Reader(session).at
    rows = run(
        session,
        "SELECT channel, count(*), min(CASE WHEN attempts = 0 THEN due_at ELSE created_at END) FROM deliveries"
        " WHERE state = 'due' AND (attempts > 0 OR due_at <= :now) GROUP BY channel", now=now,
    )
    return {channel: Owed(count=int(count), since=at(since)) for channel, count, since in rows}
