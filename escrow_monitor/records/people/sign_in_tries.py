"""Failed tries to sign in, counted by name and by address, and until when no more are taken.

A try is counted before the password is looked at and forgiven when it was right, so that many at once are no way round.
A name that nobody has is counted like one that somebody has: whoever asks learns nothing. What was typed as a name may
be a password, so only its hash is kept.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.columns import Row, large

LOCKED_FIRST = timedelta(seconds=30)
LOCKED_MAX = timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(hours=24)
"""So long after the last failure the count begins anew."""
NAME_FAILURES_FREE = 4
ADDRESS_FAILURES_FREE = 30
"""More than for a name: a whole office may come from one address."""


class SignInTriesRow(Row, table=True):
    """How often a name or an address failed in a row. `subject` is the hash of `name:...` or `address:...`."""

    __tablename__ = "sign_in_tries"

    subject: str = Field(primary_key=True)
    failures: int = large()
    last_at: datetime = Field(index=True)
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A try that was counted, or was not taken because its subject `is_locked`."""

    failures: int
    locked_until: datetime | None
    is_locked: bool


def subject_of(kind: str, value: str) -> str:
    """What is kept of a name or an address."""
    return hashlib.sha256(f"{kind}:{value}".encode()).hexdigest()


def locked_for(failures: int, *, free: int) -> timedelta | None:
    """How long no try is taken after so many failures: nothing at first, then twice as long each time."""
    if failures <= free:
        return None
    times: int = 2 ** min(failures - free - 1, 10)
    return min(LOCKED_MAX, LOCKED_FIRST * times)


def tries(session: Session, subject: str, *, now: datetime, lock: bool = False) -> Tried:
    """What is known of a subject now."""
    reader = Reader(session)
    row = run(
        session,
        "SELECT failures, last_at, locked_until FROM sign_in_tries WHERE subject = :subject"
        + (" FOR UPDATE" if lock else ""), subject=subject,
    ).first()
    if row is None or reader.at(row[1]) < now - FORGOTTEN_AFTER:
        return Tried(failures=0, locked_until=None, is_locked=False)
    until = reader.instant(row[2])
    return Tried(failures=row[0], locked_until=until, is_locked=until is not None and until > now)


def count(session: Session, subject: str, *, free: int, now: datetime) -> Tried:
    """Count a try as failed, unless its subject is locked: then nothing is counted, and it must not be taken."""
    before = tries(session, subject, now=now, lock=True)
    if before.is_locked:
        return before
    run(session, "DELETE FROM sign_in_tries WHERE last_at < :before", before=now - FORGOTTEN_AFTER)
    failures = int(run(
        session,
        "INSERT INTO sign_in_tries (subject, failures, last_at) VALUES (:subject, 1, :now) ON CONFLICT (subject)"
        " DO UPDATE SET failures = sign_in_tries.failures + 1, last_at = excluded.last_at RETURNING failures",
        subject=subject, now=now,
    ).scalar_one())
    wait = locked_for(failures, free=free)
    until = None if wait is None else now + wait
    run(
        session, "UPDATE sign_in_tries SET locked_until = :until WHERE subject = :subject",
        until=until, subject=subject,
    )
    return Tried(failures=failures, locked_until=until, is_locked=False)


def forgive(session: Session, subject: str) -> None:
    """Forget all failures of a subject."""
    run(session, "DELETE FROM sign_in_tries WHERE subject = :subject", subject=subject)


def forgive_one(session: Session, subject: str) -> None:
    """Take back the one try that was counted and right; those before it stay counted."""
    run(
        session,
        "UPDATE sign_in_tries SET failures = failures - 1, locked_until = NULL WHERE subject = :subject",
        subject=subject,
    )
