"""Who asks: a person or a key, what they may and what part of the register they see."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Request

from alerts.feeds.filter import FeedFilter
from escrow_monitor.actions.users import By
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.permissions import Permission, UserRole, of_nobodys_scopes, of_role, of_scopes
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.logs import log
from escrow_monitor.records.database import Session
from escrow_monitor.records.people import keys, sessions, users
from escrow_monitor.records.people.keys import KeyInfo
from escrow_monitor.records.people.users import User
from escrow_monitor.records.visible import may_see
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.problems import Problem

_ALL = FeedFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """One who asks. `name` is the person's, or the key's; `only` the part of the feed that they read.

    `session_id` and `csrf` are those of a browser's session, None for a key in a header.
    """

    name: str
    kind: Literal["key", "user"]
    permissions: frozenset[Permission]
    display_name: str = ""
    scopes: frozenset[str] = frozenset()
    role: UserRole | None = None
    visible: Visible = EVERYTHING
    only: FeedFilter = _ALL
    owner: str | None = None
    session_id: str | None = None
    seen_at: datetime | None = None
    csrf: str | None = field(default=None, repr=False)

    @property
    def actor(self) -> str:
        """Who it is in the audit record. The key of a person decides as this person: two keys are not two people."""
        return f"user:{self.name}" if self.kind == "user" else f"key:{self.owner or self.name}"

    @property
    def districts(self) -> tuple[str, ...] | None:
        """The districts they are limited to; None for every one."""
        return self.visible.districts

    @property
    def uscc(self) -> str | None:
        """The institution whose data alone they see; None for every one."""
        return self.visible.uscc

    def may(self, permission: str) -> bool:
        """True if they have this permission."""
        return permission in self.permissions

    def may_see(self, institution: Institution | None) -> bool:
        """True if this institution is theirs to see; what belongs to none is for who sees everything."""
        return self.visible.covers_institution(institution)

    def check_sees(self, session: Session, uscc: str | None, refusal: Problem, *, what: str) -> None:
        """Raise `refusal`, the one for what does not exist, unless what belongs to this institution is theirs to see.

        `what` is for the log alone, which is told of it.
        """
        if not may_see(session, self.visible, uscc):
            log(__name__).warning("web.denied", who=self.actor, what=what, why="not_visible")
            raise refusal

    def check_confirms(self, *, what: str) -> None:
        """Raise Problem 403 for somebody who is not the second pair of eyes."""
        if not self.may(Permission.CONFIRM):
            log(__name__).warning("web.denied", who=self.actor, what=what, why="no_permission", needs="confirm")
            raise Problem(403, "to confirm is for those who have the permission 'confirm': a regulator")

    def check_sees_everything(self, *, what: str) -> None:
        """Raise Problem 403 for somebody who is limited to a part of the register."""
        if not self.visible.is_everything:
            log(__name__).warning("web.denied", who=self.actor, what=what, why="limited")
            raise Problem(403, f"{what} is about every institution, and this account is limited to some")


def by_of(who: Who) -> By:
    """Who administers: they look after what they see themselves, and not after their own account."""
    return By(actor=who.actor, reach=who.visible, own=who.name if who.kind == "user" else who.owner)


def scope_of(who: Who) -> Visible:
    """The part of the register that somebody sees, for the queries of the records."""
    return who.visible


async def _reader(request: Request) -> Who:
    who: Who = request.state.who
    return who


Asker = Annotated[Who, Depends(_reader)]
"""A parameter of a route behind the guard: who asks."""


def who_by_key(session: Session, secret: str, *, now: datetime) -> Who | None:
    """Whose key this is, if it opens now."""
    key = keys.verify(session, secret, now=now)
    return None if key is None else _of_key(session, key)


def who_by_session(session: Session, token: str, *, now: datetime, keys_at: datetime) -> Who | None:
    """Whose session this token opens now. `now` is the machine's time, `keys_at` the one by which keys expire."""
    found = sessions.signed_in(session, token, now=now, keys_at=keys_at)
    if found is None:
        return None
    who = _of_user(found.user) if found.user is not None else None
    if found.key is not None:
        who = _of_key(session, found.key)
    if who is None:
        return None
    return replace(who, session_id=found.session_id, seen_at=found.seen_at, csrf=token_of(token))


def _of_user(user: User) -> Who:
    return Who(
        name=user.name, kind="user", display_name=user.display_name, role=user.role, permissions=of_role(user.role),
        visible=user.visible, only=_part_of(_ALL, user.visible),
    )


def _of_key(session: Session, key: KeyInfo) -> Who | None:
    if key.owner is None:
        return Who(
            name=key.name, kind="key", display_name=key.name, scopes=key.scopes,
            permissions=of_nobodys_scopes(key.scopes), only=key.only,
        )
    owner = users.user(session, key.owner)
    if owner is None or not owner.is_open:
        return None
    return Who(
        name=key.name, kind="key", display_name=owner.display_name, scopes=key.scopes, role=owner.role,
        permissions=of_scopes(key.scopes) & of_role(owner.role), visible=owner.visible,
        only=_part_of(key.only, owner.visible), owner=owner.name,
    )


def _part_of(only: FeedFilter, visible: Visible) -> FeedFilter:
    """The part of the feed that is both. What is told to nobody fits a filter of no district."""
    districts = visible.districts
    if visible.uscc is not None and only.uscc not in (None, visible.uscc):
        districts = ()
    return replace(only, uscc=visible.uscc or only.uscc, districts=districts)
