"""Who is signed in: one row a session, known by the hash of a random token that only the browser has.

A session is over when somebody ends it, when nobody used it for IDLE, or after LASTS at the latest.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.columns import Row, one_of
from escrow_monitor.records.people import keys, users
from escrow_monitor.records.people.keys import KeyInfo
from escrow_monitor.records.people.users import User

TOKEN_PREFIX = "ems_"  # noqa: S105 - the part of every token that is no secret
TOKEN_BYTES = 32
IDLE = timedelta(hours=2)
LASTS = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=1)
"""That a session is used is written down this often at most."""
KEPT = timedelta(days=90)
"""So long a session that is over can be looked up; the audit record says who signed in for good."""
AGENT_CHARACTERS_MAX = 200


class EndReason(StrEnum):
    """Why a session ended before its time."""

    SIGNED_OUT = "signed_out"
    REPLACED = "replaced"
    REVOKED = "revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason
    DISABLED = "disabled"


class SessionRow(Row, table=True):
    """One session, of a person or of a key. The token itself is in the browser's cookie and nowhere else."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("(user_name IS NULL) <> (key_id IS NULL)", "of_one"),
        CheckConstraint(one_of("ended_reason", EndReason), "ended_reason"),
    )

    session_id: str = Field(primary_key=True)
    token_sha256: str = Field(unique=True)
    user_name: str | None = Field(default=None, foreign_key="users.name", index=True)
    key_id: str | None = Field(default=None, foreign_key="api_keys.key_id")
    address: str
    agent: str
    began_at: datetime
    seen_at: datetime
    expires_at: datetime = Field(index=True)
    ended_at: datetime | None = None
    ended_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session that is open now, and whose."""

    session_id: str
    seen_at: datetime
    user: User | None = None
    key: KeyInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What may be known of a session. `session_id` is the first signs of its token's hash."""

    session_id: str
    user_name: str | None
    key_id: str | None
    address: str
    agent: str
    began_at: datetime
    seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_reason: EndReason | None

    def is_open_at(self, now: datetime) -> bool:
        """Neither ended, nor idle for too long, nor too old."""
        return self.ended_at is None and now < self.expires_at and now - self.seen_at < IDLE


def begin(
    session: Session, *, user_name: str | None = None, key_id: str | None = None, address: str, agent: str,
    now: datetime,
) -> tuple[str, str]:
    """Open a session of a person or a key; return its id and its token, which cannot be read again."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    digest = _digest(token)
    run(session, "DELETE FROM sessions WHERE expires_at < :before", before=now - KEPT)
    run(
        session,
        "INSERT INTO sessions (session_id, token_sha256, user_name, key_id, address, agent, began_at, seen_at,"
        " expires_at) VALUES (:session_id, :digest, :user_name, :key_id, :address, :agent, :now, :now, :expires_at)",
        session_id=digest[:16], digest=digest, user_name=user_name, key_id=key_id, address=address,
        agent=agent[:AGENT_CHARACTERS_MAX], now=now, expires_at=now + LASTS,
    )
    return digest[:16], token


def signed_in(session: Session, token: str, *, now: datetime, keys_at: datetime) -> SignedIn | None:
    """Whose session this token opens now; None if none, or whose person or key is closed.

    `keys_at` is the instant by which keys expire: where the demo replays the past it is not the machine's.
    """
    if not token.startswith(TOKEN_PREFIX):
        return None
    found = next(iter(_sessions(session, "WHERE token_sha256 = :digest", digest=_digest(token))), None)
    if found is None or not found.is_open_at(now):
        return None
    if found.user_name is not None:
        user = users.user(session, found.user_name)
        if user is None or not user.is_open:
            return None
        return SignedIn(session_id=found.session_id, seen_at=found.seen_at, user=user)
    key = keys.by_id(session, found.key_id or "")
    if key is None or not key.opens_at(keys_at):
        return None
    return SignedIn(session_id=found.session_id, seen_at=found.seen_at, key=key)


def seen(session: Session, session_id: str, *, now: datetime) -> None:
    """Note that a session is used."""
    run(
        session, "UPDATE sessions SET seen_at = :now WHERE session_id = :session_id AND ended_at IS NULL",
        now=now, session_id=session_id,
    )


def end(session: Session, session_id: str, reason: EndReason, *, now: datetime) -> bool:
    """End one session; False if there is none of this id that has not ended."""
    return run(
        session,
        "UPDATE sessions SET ended_at = :now, ended_reason = :reason"
        " WHERE session_id = :session_id AND ended_at IS NULL",
        now=now, reason=reason.value, session_id=session_id,
    ).rowcount > 0


def end_all(session: Session, user_name: str, reason: EndReason, *, now: datetime) -> int:
    """End all sessions of a person; return how many were open."""
    return run(
        session,
        "UPDATE sessions SET ended_at = :now, ended_reason = :reason WHERE user_name = :user_name"
        " AND ended_at IS NULL AND expires_at > :now",
        now=now, reason=reason.value, user_name=user_name,
    ).rowcount


def end_others(session: Session, user_name: str, session_id: str, reason: EndReason, *, now: datetime) -> int:
    """End all sessions of a person but one; return how many were open."""
    return run(
        session,
        "UPDATE sessions SET ended_at = :now, ended_reason = :reason WHERE user_name = :user_name"
        " AND session_id <> :session_id AND ended_at IS NULL AND expires_at > :now",
        now=now, reason=reason.value, user_name=user_name, session_id=session_id,
    ).rowcount


def session_of(session: Session, token: str) -> SessionInfo | None:
    """The session of a token, open or not."""
    return next(iter(_sessions(session, "WHERE token_sha256 = :digest", digest=_digest(token))), None)


def session(session: Session, session_id: str) -> SessionInfo | None:
    """One session, open or not."""
    return next(iter(_sessions(session, "WHERE session_id = :session_id", session_id=session_id)), None)


def open_sessions(session: Session, *, user_name: str | None = None, now: datetime) -> list[SessionInfo]:
    """The sessions that are open now, of one person or of all, newest first."""
    where, given = ("", {}) if user_name is None else (" AND user_name = :user_name", {"user_name": user_name})
    return _sessions(
        session,
        f"WHERE ended_at IS NULL AND expires_at > :now AND seen_at > :idle{where} ORDER BY began_at DESC, session_id",
        now=now, idle=now - IDLE, **given,
    )


def _sessions(session: Session, clauses: str, **values: str | datetime) -> list[SessionInfo]:
    reader = Reader(session)
    rows = run(
        session,
        "SELECT session_id, user_name, key_id, address, agent, began_at, seen_at, expires_at, ended_at, ended_reason"
        f" FROM sessions {clauses}", **values,
    )
    return [
        SessionInfo(
            session_id=row[0], user_name=row[1], key_id=row[2], address=row[3], agent=row[4],
            began_at=reader.at(row[5]), seen_at=reader.at(row[6]), expires_at=reader.at(row[7]),
            ended_at=reader.instant(row[8]), ended_reason=EndReason(row[9]) if row[9] else None,
        )
        for row in rows
    ]


def _digest(token: str) -> str:
    # A plain hash is enough: the token is 256 random bits, there is nothing to guess from.
    return hashlib.sha256(token.encode()).hexdigest()
