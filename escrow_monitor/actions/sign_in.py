"""Sign a person or a key in, and out again: counted, locked after too many failures, and in the audit record.

    count the try by name and address (kept at once) --> compare the password --> right: a new session, tries forgiven
                                                                             \\-> wrong: the count stays

Whoever asks learns nothing about which names there are: an unknown name is counted, locked, compared and answered like
a known one.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from escrow_monitor.actions.passwords import hashed, is_outdated, is_right
from escrow_monitor.logs import log
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, sessions, sign_in_tries, users
from escrow_monitor.records.people.sessions import EndReason
from escrow_monitor.records.people.sign_in_tries import (
    ADDRESS_FAILURES_FREE,
    LOCKED_MAX,
    NAME_FAILURES_FREE,
    Tried,
    subject_of,
)
from escrow_monitor.records.people.users import User

NAME_CHARACTERS_MAX = 64
"""What is longer is no name: it is counted as the beginning of it."""


class Refused(StrEnum):
    """Why nobody was signed in."""

    WRONG = "wrong"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Signed in. `token` is for the browser's cookie alone; `who` is as in the audit record."""

    who: str
    session_id: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotWelcome:
    """Not signed in, and why; if locked, when to try again."""

    reason: Refused
    retry_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """Where a try comes from, and the token that the browser had until now."""

    address: str
    agent: str = ""
    token: str | None = None


def sign_in(database: Database, *, name: str, password: str, by: From, now: datetime) -> Welcome | NotWelcome:
    """Open a new session for a person with the right password; the one that the browser had ends."""
    name = name.strip().casefold()[:NAME_CHARACTERS_MAX]
    by_name, by_address = subject_of("name", name), _address_subject(by.address)
    with database.write() as session:
        counted = _counted(session, {by_name: NAME_FAILURES_FREE, by_address: ADDRESS_FAILURES_FREE}, now)
        if isinstance(counted, NotWelcome):
            log(__name__).warning("sign_in.locked", address=by.address)
            return counted
        user = users.user(session, name)
        kept = users.password_hash(session, name) if user is not None and user.is_open else None
    if not is_right(kept, password) or kept is None or user is None:
        # Who it was is said only where the name is somebody's: else it may be a password in the wrong field.
        log(__name__).warning(
            "sign_in.failed", user=None if user is None else user.name, address=by.address,
            failures=counted[by_name].failures, disabled=user is not None and not user.is_open,
        )
        _audit_locks(database, counted, user=user, by=by, now=now)
        return NotWelcome(reason=Refused.WRONG)
    again = hashed(password) if is_outdated(kept) else None
    with database.write() as session:
        # Meanwhile the account may have been closed or the password changed.
        current = users.user(session, name)
        if current is None or not current.is_open or users.password_hash(session, name) != kept:
            return NotWelcome(reason=Refused.WRONG)
        if again is not None:
            users.set_password_hash(session, name, again, now=now, is_new=False)
        sign_in_tries.forgive(session, by_name)
        sign_in_tries.forgive_one(session, by_address)
        return opened(
            session, who=f"user:{name}", user_name=name, by=by, now=now, failed_before=counted[by_name].failures - 1
        )


def sign_in_with_key(
    database: Database, *, secret: str, by: From, now: datetime, keys_at: datetime
) -> Welcome | NotWelcome:
    """Open a session of an API key that may look at the console. `keys_at` is the instant by which keys expire."""
    by_address = _address_subject(by.address)
    with database.write() as session:
        counted = _counted(session, {by_address: ADDRESS_FAILURES_FREE}, now)
        if isinstance(counted, NotWelcome):
            log(__name__).warning("sign_in.locked", address=by.address)
            return counted
        key = keys.verify(session, secret, now=keys_at)
        if key is not None and {"read", "admin"} & key.scopes:
            sign_in_tries.forgive_one(session, by_address)
            return opened(session, who=f"key:{key.owner or key.name}", key_id=key.key_id, by=by, now=now)
    log(__name__).warning(
        "sign_in.failed", known_as=None if key is None else key.name, address=by.address,
        failures=counted[by_address].failures,
    )
    _audit_locks(database, counted, user=None, by=by, now=now)
    return NotWelcome(reason=Refused.WRONG)


def sign_out(database: Database, *, token: str, now: datetime) -> None:
    """End the session of this token, if it is one that is open."""
    with database.write() as session:
        _end(session, token, EndReason.SIGNED_OUT, now=now)


def _counted(session: Session, free: dict[str, int], now: datetime) -> dict[str, Tried] | NotWelcome:
    """Count a try for each of these, unless one is locked: then for none. In one order, so that nobody deadlocks."""
    before = {subject: sign_in_tries.tries(session, subject, now=now, lock=True) for subject in sorted(free)}
    locked = [tried.locked_until for tried in before.values() if tried.is_locked and tried.locked_until is not None]
    if locked:
        return NotWelcome(reason=Refused.LOCKED, retry_after=min(max(locked) - now, LOCKED_MAX))
    return {subject: sign_in_tries.count(session, subject, free=free[subject], now=now) for subject in sorted(free)}


def _audit_locks(database: Database, counted: dict[str, Tried], *, user: User | None, by: From, now: datetime) -> None:
    """Each lock that begins is recorded, not each failure: a stranger must not write the record full."""
    begun = [tried for tried in counted.values() if tried.locked_until is not None]
    if not begun:
        return
    with database.write() as session:
        audit.append_many(session, [
            audit.AuditEntry(kind="sign_in.locked", actor="system", payload={
                "user": None if user is None else user.name, "address": by.address, "failures": tried.failures,
                "until": str(tried.locked_until),
            })
            for tried in begun
        ], now=now)


def opened(
    session: Session, *, who: str, by: From, now: datetime, user_name: str | None = None, key_id: str | None = None,
    failed_before: int = 0, issuer: str | None = None,
) -> Welcome:
    """Open a session of somebody who may have one, and end the one that the browser had. `issuer` vouched for them."""
    if by.token is not None:
        _end(session, by.token, EndReason.REPLACED, now=now)
    session_id, token = sessions.begin(
        session, user_name=user_name, key_id=key_id, address=by.address, agent=_printable(by.agent), now=now
    )
    audit.append(session, kind="session.begun", actor=who, now=now, payload={
        "session_id": session_id, "address": by.address, "key_id": key_id, "failed_before": failed_before,
        **({} if issuer is None else {"issuer": issuer}),
    })
    log(__name__).info("sign_in.done", who=who, session_id=session_id, address=by.address, issuer=issuer)
    return Welcome(who=who, session_id=session_id, token=token)


def _end(session: Session, token: str, reason: EndReason, *, now: datetime) -> None:
    found = sessions.session_of(session, token)
    if found is None or not sessions.end(session, found.session_id, reason, now=now):
        return
    who = f"user:{found.user_name}"
    if found.user_name is None:
        key = keys.by_id(session, found.key_id or "")
        who = f"key:{found.key_id if key is None else key.owner or key.name}"
    payload = {"session_id": found.session_id, "reason": reason.value}
    audit.append(session, kind="session.ended", actor=who, now=now, payload=payload)


def _address_subject(address: str) -> str:
    """One for each address; of IPv6 for each /64, which one house has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return subject_of("address", address)
    if parsed.version == 6:
        return subject_of("address", str(ipaddress.ip_network(f"{address}/64", strict=False)))
    return subject_of("address", str(parsed))


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
