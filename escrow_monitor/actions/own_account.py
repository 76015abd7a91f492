"""What somebody does with their own account: another password, and an end to their sessions elsewhere."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from escrow_monitor.actions.passwords import check_password, hashed, is_right
from escrow_monitor.errors import SpokenError
from escrow_monitor.logs import log
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import sessions, sign_in_tries, users
from escrow_monitor.records.people.sessions import EndReason
from escrow_monitor.records.people.sign_in_tries import NAME_FAILURES_FREE, subject_of


class NotChanged(StrEnum):
    """Why a password stays as it is."""

    WRONG = "wrong"
    LOCKED = "locked"
    SAME = "same"


def change_password(
    database: Database, *, name: str, session_id: str, old: str, new: str, now: datetime
) -> int | NotChanged:
    """Give oneself another password; the sessions elsewhere end, this one goes on. Return how many did.

    The old one is asked for, and tries are counted as when signing in: a browser that was left open must not be enough.
    Raises UsageError for a new password that may not be one.
    """
    check_password(new, name=name)
    subject = subject_of("name", name)
    with database.write() as session:
        counted = sign_in_tries.count(session, subject, free=NAME_FAILURES_FREE, now=now)
        kept = users.password_hash(session, name)
    if counted.is_locked:
        return NotChanged.LOCKED
    if not is_right(kept, old):
        log(__name__).warning("password.not_changed", user=name, failures=counted.failures)
        return NotChanged.WRONG
    if old == new:
        with database.write() as session:
            sign_in_tries.forgive(session, subject)
        return NotChanged.SAME
    another = hashed(new)
    with database.write() as session:
        if users.password_hash(session, name) != kept:
            return NotChanged.WRONG
        users.set_password_hash(session, name, another, now=now, is_new=True)
        sign_in_tries.forgive(session, subject)
        ended = sessions.end_others(session, name, session_id, EndReason.PASSWORD_CHANGED, now=now)
        audit.append(session, kind="user.password_changed", actor=f"user:{name}", now=now, payload={
            "user": name, "sessions_ended": ended,
        })
    return ended


def sign_out_others(database: Database, *, name: str, session_id: str, now: datetime) -> int:
    """End all sessions of oneself but this one; return how many were open."""
    with database.write() as session:
        ended = sessions.end_others(session, name, session_id, EndReason.REVOKED, now=now)
        if ended:
            audit.append(session, kind="session.all_revoked", actor=f"user:{name}", now=now, payload={
                "user": name, "sessions_ended": ended,
            })
        return ended


def sign_out_one(database: Database, *, name: str, session_id: str, now: datetime) -> None:
    """End one session of oneself. Raises SpokenError if none of theirs that is open has this id."""
    with database.write() as session:
        found = sessions.session(session, session_id)
        is_own = found is not None and found.user_name == name
        if found is None or not is_own or not sessions.end(session, session_id, EndReason.REVOKED, now=now):
            raise SpokenError(
                f"no open session has the id {session_id[:40]}", zh=f"没有编号为 {session_id[:40]} 的登录"
            )
        audit.append(session, kind="session.revoked", actor=f"user:{name}", now=now, payload={
            "session_id": session_id, "user": name, "key_id": None,
        })
