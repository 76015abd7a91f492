"""`/api/v1/keys`: what programs come with; made with the secret shown once, seen, revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from alerts.feeds.filter import NAMES, FeedFilter
from escrow_monitor.actions.api_keys import close_key, known_key, looks_after, make_key_over_the_web
from escrow_monitor.actions.users import By
from escrow_monitor.records.database import Session
from escrow_monitor.records.people import keys
from escrow_monitor.records.people.keys import KeyInfo
from escrow_monitor.web.api.again import Again
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body
from escrow_monitor.web.api.users import MISSING, REFUSED, answered, said
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView, page_of
from escrow_monitor.web.feeds import parse_feed_filter
from escrow_monitor.web.guard import SCOPE_ADMIN, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import by_of

DAYS_MAX = 3650
SCOPES_MAX = 10
_Text = Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX)]


class AskedKeys(Asked):
    """Filters that all must fit. `user`: whose key it is."""

    open: bool | None = None
    user: _Text | None = None


class AskedKey(Body):
    """A key to make. `user`: whose it is; null for nobody's, which sees every district and can only read.

    `only` binds a key with the scope feed alone to a part of the feed, by the names of its filters.
    """

    name: _Text
    scopes: list[_Text] = Field(min_length=1, max_length=SCOPES_MAX)
    days: int = Field(default=365, ge=1, le=DAYS_MAX, strict=True, description="after how many days it expires")
    user: _Text | None = None
    only: dict[_Text, _Text] = Field(default_factory=dict, max_length=SCOPES_MAX)


class KeyView(BaseModel):
    """One key, without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    only: dict[str, str]
    user: str | None
    open: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class MadeKeyView(BaseModel):
    """A key and its secret: in the first answer alone, it cannot be read again."""

    key: KeyView
    secret: str | None


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun, all for the scope `admin`. Who is limited looks after the keys of their people."""
    routes = APIRouter(tags=["keys"], prefix="/keys", dependencies=decides(ports, guard, SCOPE_ADMIN))
    _reads(routes, ports)
    _writes(routes, ports, guard)
    return routes


def _reads(routes: APIRouter, ports: WebPorts) -> None:
    @routes.get("")
    def list_(asked: Annotated[AskedKeys, Query()], request: Request) -> ListView[KeyView]:
        """Keys by id, with filters."""
        by, now = by_of(decider(request)), ports.clock.now()
        with ports.database.read() as session:
            found = [
                one for one in keys.known(session)
                if one.key_id > asked.after and asked.user in (None, one.owner)
                and asked.open in (None, one.opens_at(now)) and looks_after(session, one, by)
            ]
        views = [_view(one, now) for one in sorted(found, key=lambda one: one.key_id)[: asked.limit + 1]]
        return page_of(views, [view.key_id for view in views], asked.limit)

    @routes.get("/{key_id}", responses=MISSING)
    def show(key_id: str, request: Request) -> KeyView:
        """One key, its scopes and until when it opens."""
        with ports.database.read() as session:
            found = said(lambda: known_key(session, key_id, by_of(decider(request))))
        return _view(found, ports.clock.now())


def _writes(routes: APIRouter, ports: WebPorts, guard: Guard) -> None:
    @routes.post("", response_model=MadeKeyView, status_code=201, responses=REFUSED)
    def make(asked: AskedKey, request: Request, idempotency_key: Again = None) -> Response:
        """Make a key. Its secret is in the first answer alone."""
        only = _part_of_feed(asked.only)
        secret: dict[str, str | None] = {}

        def do(session: Session, by: By, now: datetime) -> BaseModel:
            made, secret["secret"] = make_key_over_the_web(
                session, name=asked.name.strip(), scopes=sorted(set(asked.scopes)), by=by, now=now, only=only,
                expires_after=timedelta(days=asked.days), owner=asked.user,
            )
            return MadeKeyView(key=_view(made, now), secret=None)

        what = f"key make\n{asked.model_dump_json()}"
        return answered(
            ports, request, idempotency_key, what, do, status=201, once=secret, now=ports.clock.now()
        )

    @routes.delete("/{key_id}", response_model=KeyView, responses=MISSING | REFUSED)
    def revoke(key_id: str, request: Request, idempotency_key: Again = None) -> Response:
        """Close a key for good. One that is closed already is what was asked for."""
        def do(session: Session, by: By, now: datetime) -> BaseModel:
            if known_key(session, key_id, by).revoked_at is None:
                close_key(session, key_id=key_id, actor=by.actor, now=now)
            return _view(known_key(session, key_id, by), now)

        answer = answered(
            ports, request, idempotency_key, f"key revoke {key_id}", do, now=ports.clock.now()
        )
        guard.forget()
        return answer


def _part_of_feed(asked: dict[str, str]) -> FeedFilter:
    """What a key is bound to. A misspelt name must not make a key that reads everything. Raises Problem."""
    for name in asked:
        if name not in NAMES:
            raise Problem(422, f"body.only: there is no {name[:40]!r}; known are {', '.join(NAMES)}")
    return parse_feed_filter(asked) if asked else FeedFilter()


def _view(key: KeyInfo, now: datetime) -> KeyView:
    return KeyView(
        key_id=key.key_id, name=key.name, scopes=sorted(key.scopes), only=dict(key.only.asked), user=key.owner,
        open=key.opens_at(now), created_at=key.created_at, expires_at=key.expires_at, revoked_at=key.revoked_at,
    )
