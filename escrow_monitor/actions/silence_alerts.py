"""Make, preview and end silences: nobody is called about what fits, and the feed still carries it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from alerts.alert import Alert
from alerts.routing import Silence, hidden_by
from escrow_monitor.errors import UsageError
from escrow_monitor.records import silences
from escrow_monitor.records.alert_book import RecordsAlertBook
from escrow_monitor.records.database import Database

MATCHERS = ("rule", "subject", "period", "uscc", "account_no", "bank", "district")
SILENCE_MAX = timedelta(days=31)
REASON_CHARACTERS_MAX = 500


def silence_of(
    *, matchers: Mapping[str, str], author: str, reason: str, starts_at: datetime | None, ends_at: datetime,
    now: datetime,
) -> Silence:
    """A silence as it is asked for, checked. Raises UsageError."""
    begins = starts_at or now
    if not matchers:
        raise UsageError(f"a silence needs a matcher, such as bank=NAME: one of {', '.join(MATCHERS)}")
    for name, value in matchers.items():
        if name not in MATCHERS or not value:
            raise UsageError(f"{name!r} matches nothing: write NAME=VALUE with one of {', '.join(MATCHERS)}")
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise UsageError(f"a silence needs a reason of at most {REASON_CHARACTERS_MAX} characters")
    if not author.strip():
        raise UsageError("say who makes the silence")
    if not (now < ends_at and begins < ends_at <= begins + SILENCE_MAX):
        raise UsageError(f"a silence ends ahead, at most {SILENCE_MAX.days} days after it begins")
    return Silence(
        silence_id=secrets.token_hex(4), matchers=dict(matchers), author=author, reason=reason.strip(),
        starts_at=begins, ends_at=ends_at,
    )


def preview(database: Database, silence: Silence) -> list[Alert]:
    """The open alerts that it would hide now, by key. Red is among none."""
    with database.read() as session:
        return hidden_by(silence, RecordsAlertBook(session).open_alerts())


def make(database: Database, silence: Silence, *, now: datetime) -> None:
    """Keep it; it holds from its beginning on."""
    with database.write() as session:
        silences.add(session, silence, now=now)


def end(database: Database, silence_id: str, *, by: str, now: datetime) -> None:
    """End it now. Raises UsageError if none of this id is still to end."""
    with database.write() as session:
        if not silences.end(session, silence_id, by=by, now=now):
            raise UsageError(f"no silence {silence_id[:40]!r} is in force: see silences list")
