"""The keys that open the web: random, kept only as their SHA-256, scoped and expiring.

The key of a subscriber may read a part of the feed and nothing else.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Field, Session

from alerts.feeds.filter import FeedFilter, filter_of
from escrow_monitor.records.bulk import Reader, as_json, from_json, run
from escrow_monitor.records.columns import Row

SECRET_PREFIX = "emk_"  # noqa: S105 - the part of every key that is no secret
SECRET_BYTES = 32
_ALL = FeedFilter()


class KeyRow(Row, table=True):
    """One key. The secret itself is shown once, when it is made, and never kept."""

    __tablename__ = "api_keys"

    key_id: str = Field(primary_key=True)
    name: str
    secret_sha256: str = Field(unique=True)
    scopes: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    feed_filter: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What may be known of a key. `key_id` is how people name it, the first signs of its hash; `only` is the part of
    the feed that it reads; `owner` the person whose key it is, who may do no more by it than otherwise."""

    key_id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    only: FeedFilter = _ALL
    owner: str | None = None

    def opens_at(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create(
    session: Session, *, name: str, scopes: Iterable[str], expires_at: datetime | None, now: datetime,
    only: FeedFilter = _ALL, owner: str | None = None,
) -> tuple[KeyInfo, str]:
    """Make a key; return it with its secret, which cannot be read again."""
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    digest = _digest(secret)
    key = KeyInfo(
        key_id=digest[:12], name=name, scopes=frozenset(scopes), created_at=now, expires_at=expires_at,
        revoked_at=None, only=only, owner=owner,
    )
    session.add(KeyRow(
        key_id=key.key_id, name=name, secret_sha256=digest, scopes=" ".join(sorted(key.scopes)), created_at=now,
        expires_at=expires_at, feed_filter=None if only.is_empty else as_json(only.asked), owner=owner,
    ))
    session.flush()
    return key, secret


def verify(session: Session, secret: str, *, now: datetime) -> KeyInfo | None:
    """The key that this secret is, if it opens now."""
    if not secret.startswith(SECRET_PREFIX):
        return None
    found = _keys(session, "WHERE secret_sha256 = :digest", digest=_digest(secret))
    return found[0] if found and found[0].opens_at(now) else None


def by_id(session: Session, key_id: str) -> KeyInfo | None:
    """One key, open or not."""
    return next(iter(_keys(session, "WHERE key_id = :key_id", key_id=key_id)), None)


def known(session: Session) -> list[KeyInfo]:
    """All keys ever made, newest first."""
    return _keys(session, "ORDER BY created_at DESC, key_id")


def revoke(session: Session, key_id: str, *, now: datetime) -> bool:
    """Close a key for good; False if there is none of this id that is open."""
    return run(
        session, "UPDATE api_keys SET revoked_at = :now WHERE key_id = :key_id AND revoked_at IS NULL",
        now=now, key_id=key_id,
    ).rowcount > 0


def _keys(session: Session, clauses: str, **values: str) -> list[KeyInfo]:
    reader = Reader(session)
    rows = run(
        session,
        f"SELECT key_id, name, scopes, created_at, expires_at, revoked_at, feed_filter, owner FROM api_keys {clauses}",
        **values,
    )
    return [
        KeyInfo(
            key_id=row[0], name=row[1], scopes=frozenset(row[2].split()), created_at=reader.at(row[3]),
            expires_at=reader.instant(row[4]), revoked_at=reader.instant(row[5]),
            only=_ALL if row[6] is None else filter_of(from_json(row[6])), owner=row[7],
        )
        for row in rows
    ]


def _digest(secret: str) -> str:
    # A plain hash is enough: the secret is 256 random bits, there is nothing to guess from.
    return hashlib.sha256(secret.encode()).hexdigest()
