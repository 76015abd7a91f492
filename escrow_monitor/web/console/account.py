"""One's own account: who I am here, another password, and where I am signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.own_account import NotChanged, change_password, sign_out_one, sign_out_others
from escrow_monitor.actions.passwords import CHARACTERS_MAX
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.errors import SpokenError
from escrow_monitor.records.people import identities, sessions, users
from escrow_monitor.records.people.identities import Identity
from escrow_monitor.records.people.sessions import SessionInfo
from escrow_monitor.records.people.users import User
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.forms import Sent, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_READ, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """Everything the page says. `user` None: a key is looking, and has no account."""

    user: User | None
    identities: list[Identity]
    sessions: list[SessionInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is said after a form: what was done, or why it was not."""

    text: str
    is_wrong: bool = False
    status: int = 200


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """`/account` and its forms, for everybody who may read."""
    gate = Gate(guard, ports, here="account", needs=Permission.READ)

    async def account(request: Request, who: Who, lang: Lang) -> Response:
        return await _page(request, who, lang, ports, _done_of(request, lang))

    async def password(request: Request, form: Sent, lang: Lang) -> Response:
        answer = await _changed(request, form, lang, ports)
        guard.forget()
        return answer

    async def out(request: Request, form: Sent, lang: Lang) -> Response:
        answer = await _signed_out(request, form, lang, ports)
        guard.forget()
        return answer

    return [
        Route("/account", gate.page(account), methods=["GET"]),
        Route("/account/password", sent(guard, ports, SCOPE_READ, password), methods=["POST"]),
        Route("/account/sessions", sent(guard, ports, SCOPE_READ, out), methods=["POST"]),
    ]


def account_view(ports: WebPorts, who: Who, *, now: datetime) -> AccountView:
    """Ask the records what the page shows. Raises DatabaseError."""
    if who.kind != "user":
        return AccountView(user=None, identities=[], sessions=[])
    with ports.database.read() as session:
        return AccountView(
            user=users.user(session, who.name), identities=identities.of_user(session, who.name),
            sessions=sessions.open_sessions(session, user_name=who.name, now=now),
        )


async def _page(request: Request, who: Who, lang: Lang, ports: WebPorts, told: Told | None = None) -> Response:
    now = ports.people_now()
    view = await run_in_threadpool(account_view, ports, who, now=now)
    return pages.page(
        "account.html", lang, status=200 if told is None else told.status, request=request, here="account", view=view,
        told=told, zone=ports.zone, when=pages.at_zone(Words(lang), now=now, zone=ports.zone), longest=CHARACTERS_MAX,
    )


def _done_of(request: Request, lang: Lang) -> Told | None:
    done, count = request.query_params.get("done", ""), request.query_params.get("count", "")
    word = {"password": "account_changed", "out": "account_signed_out"}.get(done)
    if word is None or not (count.isascii() and count.isdigit() and len(count) <= 6):
        return None
    return Told(text=Words(lang)(word, count=int(count)))


async def _changed(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Another password. What was typed is never shown again."""
    who, new = form.who, form.fields.get("new", "")
    if who.kind != "user" or who.session_id is None:
        return await _page(request, who, lang, ports, _wrong(lang, "form_not_yours", status=403))
    if new != form.fields.get("again", ""):
        return await _page(request, who, lang, ports, _wrong(lang, "password_not_same"))
    try:
        done = await run_in_threadpool(partial(
            change_password, ports.database, name=who.name, session_id=who.session_id,
            old=form.fields.get("old", ""), new=new, now=ports.people_now(),
        ))
    except SpokenError as error:
        return await _page(request, who, lang, ports, _spoken(lang, error))
    if isinstance(done, NotChanged):
        status = {NotChanged.WRONG: 403, NotChanged.LOCKED: 429, NotChanged.SAME: 422}[done]
        return await _page(request, who, lang, ports, _wrong(lang, f"password_{done.value}", status=status))
    return see_other(f"/account?done=password&count={done}")


async def _signed_out(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """End one session, or all but this one."""
    who, one, now = form.who, form.text("session"), ports.people_now()
    if who.kind != "user" or who.session_id is None:
        return await _page(request, who, lang, ports, _wrong(lang, "form_not_yours", status=403))
    if not one:
        ended = await run_in_threadpool(partial(
            sign_out_others, ports.database, name=who.name, session_id=who.session_id, now=now
        ))
        return see_other(f"/account?done=out&count={ended}")
    try:
        await run_in_threadpool(partial(sign_out_one, ports.database, name=who.name, session_id=one, now=now))
    except SpokenError:
        return await _page(request, who, lang, ports, _wrong(lang, "session_gone", status=404))
    return see_other("/account?done=out&count=1")


def _wrong(lang: Lang, word: str, *, status: int = 422) -> Told:
    return Told(text=Words(lang)(word), is_wrong=True, status=status)


def _spoken(lang: Lang, error: SpokenError) -> Told:
    return Told(text=Words(lang)("people_refused", why=spoken(error, lang)), is_wrong=True, status=422)


def spoken(error: SpokenError, lang: Lang) -> str:
    """The sentence of a refusal."""
    return error.zh if lang == "zh" else str(error)
