"""Make and revoke API keys, each under a name and in the audit record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerts.feeds.filter import FeedFilter
from escrow_monitor.errors import UsageError
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, users
from escrow_monitor.records.people.keys import KeyInfo

_ALL = FeedFilter()


def create_key(
    database: Database, *, name: str, scopes: Sequence[str], expires_after: timedelta, actor: str, now: datetime,
    only: FeedFilter = _ALL, owner: str | None = None,
) -> tuple[KeyInfo, str]:
    """Make a key; its secret is returned this once and only its hash is kept.

    `only` binds it to a part of the feed. Raises UsageError if it could then read something else. `owner` is the person
    whose key it is: what it does they do, it does nothing that they may not, and it ends with their account.
    """
    if not only.is_empty and set(scopes) != {"feed"}:
        raise UsageError("a key for a part of the feed can have the scope feed alone: others would show all")
    with database.write() as session:
        if owner is not None and users.user(session, owner) is None:
            raise UsageError(f"there is no user {owner[:40]!r}: see users list")
        key, secret = keys.create(
            session, name=name, scopes=scopes, expires_at=now + expires_after, now=now, only=only, owner=owner
        )
        payload = {
            "key_id": key.key_id, "name": name, "scopes": sorted(key.scopes), "expires_at": str(key.expires_at),
            "only": only.asked, **({} if owner is None else {"owner": owner}),
        }
        audit.append(session, kind="key.created", actor=actor, payload=payload, now=now)
    return key, secret


def revoke_key(database: Database, *, key_id: str, actor: str, now: datetime) -> None:
    """Close a key for good. Raises UsageError if no open key has this id."""
    with database.write() as session:
        if not keys.revoke(session, key_id, now=now):
            raise UsageError(f"no open key has the id {key_id}: see keys list")
        audit.append(session, kind="key.revoked", actor=actor, payload={"key_id": key_id}, now=now)
