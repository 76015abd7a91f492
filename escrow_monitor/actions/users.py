"""Add people, say what they may and where, close their accounts and sessions: each in the audit record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from escrow_monitor.actions.passwords import check_password, hashed
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.visibility import DISTRICT_SHAPE
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import sessions, sign_in_tries, users
from escrow_monitor.records.people.sessions import EndReason
from escrow_monitor.records.people.users import User

NAME_SHAPE = re.compile(r"[a-z][a-z0-9._-]{1,31}\Z", re.ASCII)
DISPLAY_NAME_CHARACTERS_MAX = 60
DISTRICTS_MAX = 100


def add_user(
    database: Database, *, name: str, role: UserRole, password: str, actor: str, now: datetime,
    display_name: str = "", districts: Sequence[str] | None = None, uscc: str | None = None,
) -> User:
    """Add a person. Raises UsageError for a name that is taken, a weak password, or a part of the register that the
    role cannot be limited to."""
    if not NAME_SHAPE.match(name):
        raise UsageError(f"{name[:40]!r} is no name to sign in with: 2 to 32 of a-z 0-9 . _ -, a letter first")
    shown = _shown(display_name or name)
    limited = _districts(districts)
    kept = hashed(check_password(password, name=name))  # before the transaction: it takes a while
    with database.write() as session:
        _check_institution(session, role, uscc)
        if not users.add(
            session, name=name, display_name=shown, role=role, districts=limited, uscc=uscc, password_hash=kept,
            now=now,
        ):
            raise UsageError(f"there is a user {name} already: a name stands for one person for good")
        audit.append(session, kind="user.added", actor=actor, now=now, payload={
            "user": name, "role": role.value, "districts": limited, "uscc": uscc,
        })
        return _known(session, name)


def set_role(
    database: Database, *, name: str, role: UserRole, actor: str, now: datetime, uscc: str | None = None
) -> User:
    """Give a person another role; it holds from their next request on. Raises UsageError."""
    with database.write() as session:
        before = _known(session, name)
        _check_institution(session, role, uscc)
        users.set_role(session, name, role, uscc=uscc, now=now)
        audit.append(session, kind="user.role_changed", actor=actor, now=now, payload={
            "user": name, "before": before.role.value, "role": role.value, "uscc": uscc,
        })
        return _known(session, name)


def set_districts(
    database: Database, *, name: str, districts: Sequence[str] | None, actor: str, now: datetime
) -> User:
    """Limit a person to districts (None: no limit); it holds from their next request on. Raises UsageError."""
    limited = _districts(districts)
    with database.write() as session:
        before = _known(session, name)
        users.set_districts(session, name, limited, now=now)
        audit.append(session, kind="user.districts_changed", actor=actor, now=now, payload={
            "user": name, "before": None if before.districts is None else list(before.districts), "districts": limited,
        })
        return _known(session, name)


def disable_user(database: Database, *, name: str, actor: str, now: datetime) -> int:
    """Close a person's account and end their sessions; return how many. Raises UsageError."""
    with database.write() as session:
        if not _known(session, name).is_open:
            raise UsageError(f"{name} is disabled already")
        users.set_disabled(session, name, now, now=now)
        ended = sessions.end_all(session, name, EndReason.DISABLED, now=now)
        audit.append(
            session, kind="user.disabled", actor=actor, now=now, payload={"user": name, "sessions_ended": ended}
        )
        return ended


def enable_user(database: Database, *, name: str, actor: str, now: datetime) -> None:
    """Open a person's account again. Raises UsageError."""
    with database.write() as session:
        if _known(session, name).is_open:
            raise UsageError(f"{name} is not disabled")
        users.set_disabled(session, name, None, now=now)
        audit.append(session, kind="user.enabled", actor=actor, now=now, payload={"user": name})


def reset_password(database: Database, *, name: str, password: str, actor: str, now: datetime) -> int:
    """Give a person another password, forgive failed tries and end their sessions; return how many. Raises UsageError.
    """
    kept = hashed(check_password(password, name=name))
    with database.write() as session:
        _known(session, name)
        users.set_password_hash(session, name, kept, now=now, is_new=True)
        sign_in_tries.forgive(session, sign_in_tries.subject_of("name", name))
        ended = sessions.end_all(session, name, EndReason.PASSWORD_CHANGED, now=now)
        audit.append(
            session, kind="user.password_reset", actor=actor, now=now, payload={"user": name, "sessions_ended": ended}
        )
        return ended


def revoke_session(database: Database, *, session_id: str, actor: str, now: datetime) -> None:
    """End one session. Raises UsageError if none of this id is open."""
    with database.write() as session:
        found = sessions.session(session, session_id)
        if found is None or not sessions.end(session, session_id, EndReason.REVOKED, now=now):
            raise UsageError(f"no open session has the id {session_id[:40]}: see users sessions")
        audit.append(session, kind="session.revoked", actor=actor, now=now, payload={
            "session_id": session_id, "user": found.user_name, "key_id": found.key_id,
        })


def revoke_sessions(database: Database, *, name: str, actor: str, now: datetime) -> int:
    """End all sessions of a person; return how many were open. Raises UsageError."""
    with database.write() as session:
        _known(session, name)
        ended = sessions.end_all(session, name, EndReason.REVOKED, now=now)
        audit.append(
            session, kind="session.all_revoked", actor=actor, now=now, payload={"user": name, "sessions_ended": ended}
        )
        return ended


def _known(session: Session, name: str) -> User:
    found = users.user(session, name)
    if found is None:
        raise UsageError(f"there is no user {name[:40]!r}: see users list")
    return found


def _check_institution(session: Session, role: UserRole, uscc: str | None) -> None:
    if (role is UserRole.INSTITUTION) != (uscc is not None):
        raise UsageError("the role institution, and no other, names the institution whose data alone is seen")
    if uscc is not None and institution(session, uscc) is None:
        raise UsageError(f"no institution {uscc[:40]!r} is registered")


def _districts(districts: Sequence[str] | None) -> list[str] | None:
    if districts is None:
        return None
    strange = [code for code in districts if not DISTRICT_SHAPE.match(code)]
    if strange:
        raise UsageError(f"{strange[0][:40]!r} is no district: 2 to 6 digits of its code, like 5103 or 510302")
    if not districts or len(set(districts)) > DISTRICTS_MAX:
        raise UsageError(f"name 1 to {DISTRICTS_MAX} districts, or all of them")
    return sorted(set(districts))


def _shown(display_name: str) -> str:
    text = display_name.strip()
    if not text or len(text) > DISPLAY_NAME_CHARACTERS_MAX or not text.isprintable():
        raise UsageError(f"a person's name is one line of at most {DISPLAY_NAME_CHARACTERS_MAX} characters")
    return text
