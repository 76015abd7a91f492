"""API keys, for those who administer: made with the secret shown once, seen, and revoked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.api_keys import (
    close_key,
    known_key,
    looks_after,
    make_key_over_the_web,
)
from escrow_monitor.domain.permissions import SCOPES, Permission
from escrow_monitor.errors import SpokenError
from escrow_monitor.records.database import Session
from escrow_monitor.records.people import keys
from escrow_monitor.records.people.keys import KeyInfo
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.account import Told
from escrow_monitor.web.console.forms import FormRefused, Sent, done_once, once_token, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.subscriptions import LASTS_DAYS
from escrow_monitor.web.console.users import told_of
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_ADMIN, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who, by_of

_SCOPES = tuple(SCOPES)
_DONE = {"revoked": "key_revoked", "shown": "key_shown_before"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key, and what has become of it: open, revoked or expired."""

    key: KeyInfo
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A key that was just made, with its secret."""

    key: KeyInfo
    secret: str


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """`/keys` and its forms."""
    gate = Gate(guard, ports, here="account", needs=Permission.ADMIN)

    async def list_(request: Request, who: Who, lang: Lang) -> Response:
        return await _page(request, who, lang, ports)

    async def make(request: Request, form: Sent, lang: Lang) -> Response:
        return await _made(request, form, lang, ports)

    async def revoke(request: Request, form: Sent, lang: Lang) -> Response:
        answer = await _revoked(request, form, lang, ports)
        guard.forget()
        return answer

    return [
        Route("/keys", gate.page(list_), methods=["GET"]),
        Route("/keys", sent(guard, ports, SCOPE_ADMIN, make), methods=["POST"]),
        Route("/keys/{key_id}/revoke", sent(guard, ports, SCOPE_ADMIN, revoke), methods=["POST"]),
    ]


def keys_view(ports: WebPorts, who: Who, *, now: datetime) -> Sequence[KeyView]:
    """The keys that somebody looks after, the open ones first. Raises DatabaseError."""
    with ports.database.read() as session:
        by = by_of(who)
        found = [
            KeyView(key=one, state="open" if one.opens_at(now) else "revoked" if one.revoked_at else "expired")
            for one in keys.known(session) if looks_after(session, one, by)
        ]
    return sorted(found, key=lambda one: one.state != "open")


async def _page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, told: Told | None = None, form: Sent | None = None,
    made: Made | None = None,
) -> Response:
    now = ports.clock.now()
    view = await run_in_threadpool(keys_view, ports, who, now=now)
    done = _DONE.get(request.query_params.get("done", ""))
    if told is None and done is not None:
        told = Told(text=Words(lang)(done))
    return pages.page(
        "keys.html", lang, status=200 if told is None else told.status, request=request, here="account", view=view,
        told=told, zone=ports.zone, when=pages.at_zone(Words(lang), now=now, zone=ports.zone), once=once_token,
        given={} if form is None else dict(form.fields), scopes=_SCOPES,
        chosen=["read"] if form is None else form.every.get("scope", ()), lasts=LASTS_DAYS, made=made,
    )


async def _made(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Make a key and show its secret, this once: the answer itself is the page, for nothing could show it again."""
    made: list[Made] = []

    def make(session: Session, lasts: timedelta) -> str:
        key, secret = make_key_over_the_web(
            session, name=form.text("name"), scopes=sorted(set(form.every.get("scope", ()))), expires_after=lasts,
            by=by_of(form.who), now=ports.clock.now(), owner=form.text("owner") or None,
        )
        made.append(Made(key=key, secret=secret))
        return "/keys?done=shown"

    def work() -> str:
        if form.text("lasts") not in map(str, LASTS_DAYS):
            raise FormRefused("key_lasts_wrong", status=422)
        lasts = timedelta(days=int(form.text("lasts")))
        with ports.database.write() as session:
            return done_once(
                session, form, asked="key make", now=ports.clock.now(), do=partial(make, session, lasts)
            )

    try:
        location = await run_in_threadpool(work)
    except (SpokenError, FormRefused) as error:
        return await _page(request, form.who, lang, ports, told_of(error, lang), form)
    if made:
        return await _page(request, form.who, lang, ports, made=made[0])
    return see_other(location)


async def _revoked(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Close a key for good. One that is closed already is what was asked for."""
    key_id = request.path_params["key_id"]

    def work() -> None:
        with ports.database.write() as session:
            if known_key(session, key_id, by_of(form.who)).revoked_at is None:
                close_key(session, key_id=key_id, actor=form.who.actor, now=ports.clock.now())

    try:
        await run_in_threadpool(work)
    except SpokenError as error:
        told = told_of(error, lang)
        return await _page(
            request, form.who, lang, ports, Told(text=told.text, is_wrong=True, status=404)
        )
    return see_other("/keys?done=revoked")
