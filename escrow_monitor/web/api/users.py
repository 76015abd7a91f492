"""`/api/v1/users`: people who sign in; added, given a role and districts, closed, a password made anew, signed out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from escrow_monitor.actions import users as actions
from escrow_monitor.actions.api_keys import ActsForAnother, UnknownKey
from escrow_monitor.actions.passwords import generated_password, kept_of
from escrow_monitor.actions.users import BeyondReach, By, OwnAccount, UnknownUser
from escrow_monitor.domain.identities import Place
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.errors import SpokenError, UsageError
from escrow_monitor.logs import log
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.database import Session
from escrow_monitor.records.people import identities, sessions, users
from escrow_monitor.records.people.identities import Identity
from escrow_monitor.records.people.sessions import SessionInfo
from escrow_monitor.records.people.users import NO_PASSWORD, User
from escrow_monitor.web.api.again import Again, answer_of, made_once
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body, Flag
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView, page_of
from escrow_monitor.web.guard import SCOPE_ADMIN, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON, Problem
from escrow_monitor.web.who import by_of

MISSING: dict[int | str, dict[str, Any]] = {
    404: {"description": "there is no such thing, or it is not yours to look after", "content": {PROBLEM_JSON: {}}},
}
REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"description": "this cannot be done now, or the key stands for another request",
          "content": {PROBLEM_JSON: {}}},
}
T = TypeVar("T")
_Text = Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX)]
_Districts = Annotated[list[_Text], Field(max_length=actions.DISTRICTS_MAX)]


class AskedUsers(Asked):
    """Filters that all must fit."""

    role: UserRole | None = None
    open: bool | None = None


class AskedUser(Body):
    """A person to add. `districts` null: every one. `password` false: they sign in elsewhere only; else one is made."""

    name: _Text
    role: UserRole
    display_name: _Text = ""
    districts: _Districts | None = None
    uscc: _Text | None = None
    password: Flag = True


class AskedPlace(Body):
    """The role and the part of the register that somebody has from now on, all of it: `districts` null is every one."""

    role: UserRole
    districts: _Districts | None
    uscc: _Text | None = None


class AskedOpen(Body):
    """Whether somebody may sign in. Closing an account ends their sessions."""

    open: Flag


class IdentityView(BaseModel):
    """Who somebody is at a provider of sign-ins."""

    issuer: str
    subject: str
    linked_at: datetime


class UserView(BaseModel):
    """One person. `districts` null is every one. `password_set_at` null: they have none and sign in elsewhere."""

    name: str
    display_name: str
    role: UserRole
    districts: list[str] | None
    uscc: str | None
    open: bool
    created_at: datetime
    password_set_at: datetime | None
    disabled_at: datetime | None
    identities: list[IdentityView]


class MadeUserView(BaseModel):
    """A person, and the password that was made for them: in the first answer alone, it cannot be read again."""

    user: UserView
    password: str | None


class EndedView(BaseModel):
    """How many sessions were ended."""

    name: str
    sessions_ended: int


class ResetView(EndedView):
    """The password that was made: in the first answer alone, it cannot be read again."""

    password: str | None


class SessionView(BaseModel):
    """One session that is open now."""

    session_id: str
    address: str
    agent: str
    began_at: datetime
    seen_at: datetime
    expires_at: datetime


class SessionsView(BaseModel):
    """The sessions of a person that are open now, newest first."""

    items: list[SessionView]


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun, all for the scope `admin`. Who is limited looks after those alone who see no more."""
    routes = APIRouter(tags=["users"], prefix="/users", dependencies=decides(ports, guard, SCOPE_ADMIN))
    _reads(routes, ports)
    _makes(routes, ports)
    _changes(routes, ports, guard)
    return routes


def _reads(routes: APIRouter, ports: WebPorts) -> None:
    @routes.get("")
    def list_(asked: Annotated[AskedUsers, Query()], request: Request) -> ListView[UserView]:
        """People by name, with filters."""
        with ports.database.read() as session:
            found = users.page(
                session, decider(request).visible, after=asked.after, limit=asked.limit + 1, role=asked.role,
                is_open=asked.open,
            )
            theirs = identities.of_users(session, [one.name for one in found])
        views = [_shown(one, theirs.get(one.name, ())) for one in found]
        return page_of(views, [view.name for view in views], asked.limit)

    @routes.get("/{name}", responses=MISSING)
    def show(name: str, request: Request) -> UserView:
        """One person, their role and what they are limited to."""
        with ports.database.read() as session:
            return _view(session, _known(session, name, request))

    @routes.get("/{name}/sessions", responses=MISSING)
    def shown_sessions(name: str, request: Request) -> SessionsView:
        """Where a person is signed in now."""
        with ports.database.read() as session:
            _known(session, name, request)
            found = sessions.open_sessions(session, user_name=name, now=ports.people_now())
        return SessionsView(items=[_session_view(one) for one in found])


def _makes(routes: APIRouter, ports: WebPorts) -> None:
    @routes.post("", response_model=MadeUserView, status_code=201, responses=REFUSED)
    def add(asked: AskedUser, request: Request, idempotency_key: Again = None) -> Response:
        """Add a person. The password that is made for them is in the first answer alone."""
        password = generated_password(name=asked.name) if asked.password else None
        kept = said(lambda: NO_PASSWORD if password is None else kept_of(password, name=asked.name))

        def do(session: Session, by: By, now: datetime) -> BaseModel:
            user = actions.add_user(
                session, name=asked.name, role=asked.role, by=by, now=now, password_hash=kept,
                display_name=asked.display_name, districts=asked.districts, uscc=asked.uscc,
            )
            return MadeUserView(user=_view(session, user), password=None)

        what = f"user add\n{asked.model_dump_json()}"
        return answered(ports, request, idempotency_key, what, do, status=201, once={"password": password})

    @routes.post("/{name}/password", response_model=ResetView, responses=MISSING | REFUSED)
    def reset(name: str, request: Request, idempotency_key: Again = None) -> Response:
        """Make another password for a person; it ends their sessions and any lock. It is in the first answer alone."""
        password = generated_password(name=name)
        kept = said(lambda: kept_of(password, name=name))

        def do(session: Session, by: By, now: datetime) -> BaseModel:
            ended = actions.reset_password(session, name=name, password_hash=kept, by=by, now=now)
            return ResetView(name=name, sessions_ended=ended, password=None)

        return answered(ports, request, idempotency_key, f"user reset {name}", do, once={"password": password})


def _changes(routes: APIRouter, ports: WebPorts, guard: Guard) -> None:
    @routes.put("/{name}/role", response_model=UserView, responses=MISSING | REFUSED)
    def place(name: str, asked: AskedPlace, request: Request, idempotency_key: Again = None) -> Response:
        """Give a person a role and a part of the register; it holds from their next request on."""
        where = Place(
            role=asked.role, districts=None if asked.districts is None else tuple(asked.districts), uscc=asked.uscc
        )

        def do(session: Session, by: By, now: datetime) -> BaseModel:
            return _view(session, actions.set_place(session, name=name, place=where, by=by, now=now))

        what = f"user place {name}\n{asked.model_dump_json()}"
        return _forgotten(guard, answered(ports, request, idempotency_key, what, do))

    @routes.put("/{name}/open", response_model=UserView, responses=MISSING | REFUSED)
    def open_(name: str, asked: AskedOpen, request: Request, idempotency_key: Again = None) -> Response:
        """Close a person's account, which ends their sessions, or open it again. Their name stays theirs."""
        def do(session: Session, by: By, now: datetime) -> BaseModel:
            if actions.known_user(session, name, by).is_open is not asked.open:
                act: Callable[..., object] = actions.enable_user if asked.open else actions.disable_user
                act(session, name=name, by=by, now=now)
            return _view(session, actions.known_user(session, name, by))

        what = f"user open {name}\n{asked.model_dump_json()}"
        return _forgotten(guard, answered(ports, request, idempotency_key, what, do))

    @routes.delete("/{name}/sessions", response_model=EndedView, responses=MISSING | REFUSED)
    def sign_out(name: str, request: Request, idempotency_key: Again = None) -> Response:
        """End all sessions of a person."""
        def do(session: Session, by: By, now: datetime) -> BaseModel:
            return EndedView(
                name=name, sessions_ended=actions.revoke_sessions(session, name=name, by=by, now=now)
            )

        return _forgotten(guard, answered(ports, request, idempotency_key, f"user sign-out {name}", do))

    @routes.delete("/{name}/identities", response_model=UserView, responses=MISSING | REFUSED)
    def unlink(name: str, request: Request, idempotency_key: Again = None) -> Response:
        """Forget who a person is at the provider of sign-ins, and end their sessions."""
        def do(session: Session, by: By, now: datetime) -> BaseModel:
            actions.unlink_identity(session, name=name, by=by, now=now)
            return _view(session, actions.known_user(session, name, by))

        return _forgotten(guard, answered(ports, request, idempotency_key, f"user unlink {name}", do))


def answered(
    ports: WebPorts, request: Request, idempotency_key: str | None, what: str,
    do: Callable[[Session, By, datetime], BaseModel], *, status: int = 200, once: dict[str, str | None] | None = None,
    now: datetime | None = None,
) -> Response:
    """Let an administrator do it, once for one idempotency key.

    `once` is what is secret: it stands in the answer of the time that it was done, and not in the answer that is kept.
    """
    by, at = by_of(decider(request)), now or ports.people_now()
    is_new = False

    def told(session: Session) -> KeptAnswer:
        nonlocal is_new
        view = said(lambda: do(session, by, at))
        is_new = True
        return KeptAnswer(status=status, body=view.model_dump_json())

    with ports.database.write() as session:
        kept = made_once(
            session, actor=by.actor, idempotency_key=idempotency_key, asked=what, now=at, do=lambda: told(session)
        )
    if is_new and once:
        body = {**orjson.loads(kept.body), **once}
        kept = KeptAnswer(status=kept.status, body=orjson.dumps(body).decode())
    return answer_of(kept)


def said(do: Callable[[], T]) -> T:
    """Do it; a refusal is a Problem with its sentence in both languages."""
    try:
        return do()
    except UsageError as error:
        status = 422
        if isinstance(error, (UnknownUser, UnknownKey)):
            status = 404
        elif isinstance(error, (OwnAccount, BeyondReach, ActsForAnother)):
            status = 403
            log(__name__).warning("web.denied", what="users", why=type(error).__name__)
        told = [{"where": "request", "zh": error.zh}] if isinstance(error, SpokenError) else []
        raise Problem(status, str(error), errors=told) from error


def _forgotten(guard: Guard, answer: Response) -> Response:
    """What somebody may has just changed: they are looked up again."""
    guard.forget()
    return answer


def _known(session: Session, name: str, request: Request) -> User:
    return said(lambda: actions.known_user(session, name, by_of(decider(request))))


def _view(session: Session, user: User) -> UserView:
    return _shown(user, identities.of_user(session, user.name))


def _shown(user: User, theirs: Sequence[Identity]) -> UserView:
    return UserView(
        name=user.name, display_name=user.display_name, role=user.role,
        districts=None if user.districts is None else list(user.districts), uscc=user.uscc, open=user.is_open,
        created_at=user.created_at, password_set_at=user.password_set_at if user.has_password else None,
        disabled_at=user.disabled_at, identities=[
            IdentityView(issuer=one.issuer, subject=one.subject, linked_at=one.linked_at)
            for one in theirs
        ],
    )


def _session_view(one: SessionInfo) -> SessionView:
    return SessionView(
        session_id=one.session_id, address=one.address, agent=one.agent, began_at=one.began_at, seen_at=one.seen_at,
        expires_at=one.expires_at,
    )
