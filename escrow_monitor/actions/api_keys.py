"""Make and revoke API keys, each under a name and in the audit record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerts.feeds.filter import FeedFilter
from escrow_monitor.actions.users import BeyondReach, By, known_user, reaches
from escrow_monitor.domain.permissions import SCOPES
from escrow_monitor.errors import SpokenError
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, users
from escrow_monitor.records.people.keys import KeyInfo

_ALL = FeedFilter()
ACTS = frozenset({"answer", "decide", "import", "admin"})
"""What a key with one of these scopes does, it does in somebody's name."""
NAME_CHARACTERS_MAX = 60


class UnknownKey(SpokenError):
    """There is no such key, or it is not yours to look after."""


class ActsForAnother(SpokenError):
    """Of one person who makes keys in the names of others there would be several pairs of eyes."""


def create_key(
    database: Database, *, name: str, scopes: Sequence[str], expires_after: timedelta, actor: str, now: datetime,
    only: FeedFilter = _ALL, owner: str | None = None,
) -> tuple[KeyInfo, str]:
    """Make a key; its secret is returned this once and only its hash is kept.

    `only` binds it to a part of the feed. Raises UsageError if it could then read something else. `owner` is the person
    whose key it is: what it does they do, it does nothing that they may not, and it ends with their account.
    """
    with database.write() as session:
        return make_key(
            session, name=name, scopes=scopes, expires_after=expires_after, by=By(actor=actor), now=now, only=only,
            owner=owner,
        )


def make_key(
    session: Session, *, name: str, scopes: Sequence[str], expires_after: timedelta, by: By, now: datetime,
    only: FeedFilter = _ALL, owner: str | None = None,
) -> tuple[KeyInfo, str]:
    """The same within a transaction. Raises UnknownUser for an owner whom `by` does not look after, BeyondReach for a
    key that would show more than they see."""
    if not only.is_empty and set(scopes) != {"feed"}:
        raise SpokenError(
            "a key for a part of the feed can have the scope feed alone: others would show all",
            zh="限于部分预警流的密钥只能有“预警流”权限：其他权限会看到全部",
        )
    if owner is not None:
        known_user(session, owner, by)
    elif not by.reach.is_everything:
        raise BeyondReach(
            "a key of nobody sees every district: say whose key it is",
            zh="不属于任何人的密钥可见全部辖区：请写明属于谁",
        )
    key, secret = keys.create(
        session, name=name, scopes=scopes, expires_at=now + expires_after, now=now, only=only, owner=owner
    )
    payload = {
        "key_id": key.key_id, "name": name, "scopes": sorted(key.scopes), "expires_at": str(key.expires_at),
        "only": only.asked, **({} if owner is None else {"owner": owner}),
    }
    audit.append(session, kind="key.created", actor=by.actor, payload=payload, now=now)
    return key, secret


def make_key_over_the_web(
    session: Session, *, name: str, scopes: Sequence[str], expires_after: timedelta, by: By, now: datetime,
    only: FeedFilter = _ALL, owner: str | None = None,
) -> tuple[KeyInfo, str]:
    """Make a key as an administrator at a desk. Raises UsageError as `make_key` does, and for a key that acts: for
    oneself only, or one person would be two pairs of eyes."""
    if not scopes or set(scopes) - set(SCOPES):
        raise SpokenError(f"choose among the scopes {', '.join(SCOPES)}", zh="请至少选择一项权限")
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise SpokenError(
            f"the name of a key is one line of at most {NAME_CHARACTERS_MAX} characters",
            zh=f"密钥的名称为一行，最多 {NAME_CHARACTERS_MAX} 个字符",
        )
    if ACTS & set(scopes) and (by.own is None or owner != by.own):
        raise ActsForAnother(
            "a key that decides, imports or administers acts for whoever makes it: name yourself as its owner",
            zh="会处置、导入或管理的密钥只能属于建立它的人",
        )
    return make_key(
        session, name=name, scopes=scopes, expires_after=expires_after, by=by, now=now, only=only, owner=owner
    )


def known_key(session: Session, key_id: str, by: By) -> KeyInfo:
    """A key that `by` looks after. Raises UnknownKey, the same for one that is somebody else's to look after."""
    found = keys.by_id(session, key_id)
    if found is None or not looks_after(session, found, by):
        raise UnknownKey(
            f"there is no key {key_id[:40]!r}: see keys list", zh=f"没有密钥 {key_id[:40]!r}，或不在您的管理范围内"
        )
    return found


def looks_after(session: Session, key: KeyInfo, by: By) -> bool:
    """True if `by` looks after the person whose key it is; a key of nobody is for who sees everything."""
    if by.reach.is_everything:
        return True
    owner = None if key.owner is None else users.user(session, key.owner)
    return owner is not None and reaches(session, by.reach, owner)


def revoke_key(database: Database, *, key_id: str, actor: str, now: datetime) -> None:
    """Close a key for good. Raises UsageError if no open key has this id."""
    with database.write() as session:
        close_key(session, key_id=key_id, actor=actor, now=now)


def close_key(session: Session, *, key_id: str, actor: str, now: datetime) -> None:
    """The same within a transaction."""
    if not keys.revoke(session, key_id, now=now):
        raise SpokenError(f"no open key has the id {key_id}: see keys list", zh=f"没有编号为 {key_id} 的有效密钥")
    audit.append(session, kind="key.revoked", actor=actor, payload={"key_id": key_id}, now=now)
