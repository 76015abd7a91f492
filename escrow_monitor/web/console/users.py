"""People who sign in, for those who administer: added, given a role and districts, closed, a password made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions import users as actions
from escrow_monitor.actions.api_keys import ActsForAnother
from escrow_monitor.actions.passwords import generated_password, kept_of
from escrow_monitor.actions.users import BeyondReach, By, OwnAccount, UnknownUser
from escrow_monitor.domain.identities import Place
from escrow_monitor.domain.permissions import Permission, UserRole
from escrow_monitor.errors import SpokenError
from escrow_monitor.records.database import Session
from escrow_monitor.records.people import identities, keys, sessions, sign_in_tries, users
from escrow_monitor.records.people.identities import Identity
from escrow_monitor.records.people.keys import KeyInfo
from escrow_monitor.records.people.sessions import SessionInfo
from escrow_monitor.records.people.users import NO_PASSWORD, User
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.account import Told, spoken
from escrow_monitor.web.console.forms import FormRefused, Sent, done_once, once_token, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_ADMIN, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who, by_of

SHOWN = 100
ROLES = tuple(UserRole)
DONE = frozenset({"added", "placed", "disabled", "enabled", "signed_out", "unlinked", "shown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersView:
    """One page of people. `more` is the name to go on after."""

    people: Sequence[User]
    more: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView:
    """One person. `locked_until` where wrong passwords have locked them out."""

    user: User
    identities: Sequence[Identity]
    sessions: Sequence[SessionInfo]
    keys: Sequence[KeyInfo]
    locked_until: datetime | None


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """`/users`: a list with a form to add, and a page each."""
    gate = Gate(guard, ports, here="account", needs=Permission.ADMIN)

    async def list_(request: Request, who: Who, lang: Lang) -> Response:
        return await _list(request, who, lang, ports)

    async def one(request: Request, who: Who, lang: Lang) -> Response:
        return await _one(request, who, lang, ports, request.path_params["name"])

    async def add(request: Request, form: Sent, lang: Lang) -> Response:
        return await _added(request, form, lang, ports)

    async def change(request: Request, form: Sent, lang: Lang) -> Response:
        answer = await _changed(request, form, lang, ports)
        guard.forget()
        return answer

    return [
        Route("/users", gate.page(list_), methods=["GET"]),
        Route("/users", sent(guard, ports, SCOPE_ADMIN, add), methods=["POST"]),
        Route("/users/{name}", gate.page(one), methods=["GET"]),
        Route("/users/{name}", sent(guard, ports, SCOPE_ADMIN, change), methods=["POST"]),
    ]


def user_view(session: Session, name: str, by: By, *, now: datetime) -> UserView:
    """Ask the records all about one person. Raises UnknownUser."""
    user = actions.known_user(session, name, by)
    tried = sign_in_tries.tries(session, sign_in_tries.subject_of("name", name), now=now)
    return UserView(
        user=user, identities=identities.of_user(session, name),
        sessions=sessions.open_sessions(session, user_name=name, now=now),
        keys=[one for one in keys.known(session) if one.owner == name],
        locked_until=tried.locked_until if tried.is_locked else None,
    )


async def _list(
    request: Request, who: Who, lang: Lang, ports: WebPorts, told: Told | None = None, form: Sent | None = None,
) -> Response:
    after = request.query_params.get("after", "")[:40]

    def ask() -> UsersView:
        with ports.database.read() as session:
            found = users.page(session, who.visible, after=after, limit=SHOWN + 1)
        return UsersView(people=found[:SHOWN], more=found[SHOWN - 1].name if len(found) > SHOWN else None)

    return _shown(
        "users.html", request, lang, ports, view=await run_in_threadpool(ask), told=told or _done_of(request, lang),
        given={} if form is None else dict(form.fields), roles=ROLES, once=once_token,
    )


async def _one(
    request: Request, who: Who, lang: Lang, ports: WebPorts, name: str, told: Told | None = None,
    password: str | None = None,
) -> Response:
    by = by_of(who)

    def ask() -> UserView | None:
        with ports.database.read() as session:
            try:
                return user_view(session, name, by, now=ports.people_now())
            except UnknownUser:
                return None

    view = await run_in_threadpool(ask)
    if view is None:
        return _shown("user_missing.html", request, lang, ports, name=name[:40], status=404)
    return _shown(
        "user.html", request, lang, ports, view=view, told=told or _done_of(request, lang), roles=ROLES,
        once=once_token, own=by.own == name, password=password, outside=ports.oidc is not None,
    )


def _shown(
    template: str, request: Request, lang: Lang, ports: WebPorts, *, told: Told | None = None, status: int = 200,
    **values: object,
) -> Response:
    now = ports.people_now()
    return pages.page(
        template, lang, status=status if told is None else told.status, request=request, here="account", told=told,
        zone=ports.zone, when=pages.at_zone(Words(lang), now=now, zone=ports.zone), **values,
    )


async def _added(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Add somebody. A password that is made for them is on the page that answers, this once."""
    name, by, now = form.text("name"), by_of(form.who), ports.people_now()
    password = generated_password(name=name) if form.text("password") == "generate" else ""

    def add(session: Session, kept: str) -> str:
        place = _place(form)
        actions.add_user(
            session, name=name, role=place.role, by=by, now=now, password_hash=kept, districts=place.districts,
            display_name=form.text("display_name"), uscc=place.uscc,
        )
        return f"/users/{name}?done=added"

    def work() -> tuple[str, bool]:
        kept = kept_of(password, name=name) if password else NO_PASSWORD
        return _once(form, ports, now, "user add", partial(add, kept=kept))

    try:
        location, is_new = await run_in_threadpool(work)
    except (SpokenError, FormRefused) as error:
        return await _list(request, form.who, lang, ports, told_of(error, lang), form)
    if is_new and password:
        told = Told(text=Words(lang)("user_done.added"))
        return await _one(request, form.who, lang, ports, name, told, password)
    return see_other(location)


async def _changed(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    name, by, now, act = request.path_params["name"], by_of(form.who), ports.people_now(), form.text("act")
    password = generated_password(name=name) if act == "reset" else ""

    def change(session: Session, kept: str) -> str:
        if act == "reset":
            actions.reset_password(session, name=name, password_hash=kept, by=by, now=now)
            return f"/users/{name}?done=shown"
        return f"/users/{name}?done={_do(session, form, act, name, by, now)}"

    def work() -> tuple[str, bool]:
        kept = kept_of(password, name=name) if password else ""
        return _once(form, ports, now, f"user {name} {act}", partial(change, kept=kept))

    try:
        location, is_new = await run_in_threadpool(work)
    except UnknownUser:
        return await _one(request, form.who, lang, ports, name)
    except (SpokenError, FormRefused) as error:
        return await _one(request, form.who, lang, ports, name, told_of(error, lang))
    if is_new and password:
        return await _one(request, form.who, lang, ports, name, password=password)
    return see_other(location)


def _do(session: Session, form: Sent, act: str, name: str, by: By, now: datetime) -> str:
    """Do one thing to one person; return the word for it."""
    match act:
        case "place":
            actions.set_place(session, name=name, place=_place(form), by=by, now=now)
            return "placed"
        case "disable":
            actions.disable_user(session, name=name, by=by, now=now)
            return "disabled"
        case "enable":
            actions.enable_user(session, name=name, by=by, now=now)
            return "enabled"
        case "sign_out":
            actions.revoke_sessions(session, name=name, by=by, now=now)
            return "signed_out"
        case "unlink":
            actions.unlink_identity(session, name=name, by=by, now=now)
            return "unlinked"
    raise FormRefused("form_unreadable", status=422)


def _once(
    form: Sent, ports: WebPorts, now: datetime, asked: str, do: Callable[[Session], str]
) -> tuple[str, bool]:
    """Do what the form asks for, once; return where to go on, and whether this was the time that it was done."""
    is_new = False

    def first(session: Session) -> str:
        nonlocal is_new
        is_new = True
        return do(session)

    with ports.database.write() as session:
        location = done_once(session, form, asked=asked, now=now, do=lambda: first(session))
    return location, is_new


def _place(form: Sent) -> Place:
    """The role and the part of the register that a form gives. Raises FormRefused."""
    role, codes = form.text("role"), form.text("districts").replace(",", " ").split()
    if role not in set(UserRole):
        raise FormRefused("people_role_wrong", status=422)
    return Place(role=UserRole(role), districts=tuple(codes) or None, uscc=form.text("uscc") or None)


def told_of(error: SpokenError | FormRefused, lang: Lang) -> Told:
    """What is said of a refusal."""
    words = Words(lang)
    if isinstance(error, FormRefused):
        return Told(text=words(error.word, **error.values), is_wrong=True, status=error.status)
    status = 403 if isinstance(error, (OwnAccount, BeyondReach, ActsForAnother)) else 422
    return Told(text=words("people_refused", why=spoken(error, lang)), is_wrong=True, status=status)


def _done_of(request: Request, lang: Lang) -> Told | None:
    done = request.query_params.get("done", "")
    return Told(text=Words(lang)(f"user_done.{done}")) if done in DONE else None
