"""Forms of pages: who sends one and may, what is in it, that it is done once, and what is said where it is not."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from alerts.feeds.item import Lang
from escrow_monitor.errors import DatabaseError
from escrow_monitor.logs import log
from escrow_monitor.records.bank.kept_answers import AnotherQuestion, KeptAnswer, once
from escrow_monitor.records.database import Session
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.sign_in import to_sign_in
from escrow_monitor.web.console.uploads import Upload, is_multipart, received
from escrow_monitor.web.csrf import FIELD, HEADER, form_of, refuse_foreign
from escrow_monitor.web.guard import SCOPE_READ, Guard, credential_of
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

TEXT_FORM_BYTES_MAX = 256 * 1024
"""A note of ten thousand Chinese characters is ninety thousand bytes in a form."""
ONCE = "once"
ONCE_CHARACTERS_MAX = 100

Answer = Callable[[Request, Who, Lang], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A form as it came: who sent it, its fields, the first of each name and all of them, and its file."""

    who: Who
    fields: Mapping[str, str]
    every: Mapping[str, Sequence[str]] = field(default_factory=dict)
    upload: Upload | None = None

    def text(self, name: str) -> str:
        """A field without the spaces around it, "" where it is not there. Lines end as ours do."""
        return self.fields.get(name, "").replace("\r\n", "\n").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is said beside the form that was refused, and what was in it."""

    form: str
    text: str
    fields: Mapping[str, str]
    status: int
    choices: Sequence[tuple[str, str]] = ()


class FormRefused(Exception):
    """What was asked is not done. `word` says why, with its values; `said` is a sentence that is there already."""

    def __init__(self, word: str = "", *, said: Mapping[Lang, str] | None = None, status: int = 409, **values: object):
        super().__init__(word or (said or {}).get("en", ""))
        self.word = word
        self.said = said
        self.status = status
        self.values = values


def once_token() -> str:
    """What a form carries so that it is done once, however often it is sent."""
    return secrets.token_urlsafe(12)


def done_once(
    session: Session, sent: Sent, *, asked: str, now: datetime, do: Callable[[], str]
) -> str:
    """Do what the form asks for and return where to go on: of a form that was sent twice, where the first time went.

    Raises FormRefused where the form was sent before with something else in it.
    """
    token = sent.fields.get(ONCE, "")[:ONCE_CHARACTERS_MAX]
    if not token:
        return do()
    told = "\n".join((asked, *(f"{name}={value}" for name, value in sorted(sent.fields.items()) if name != FIELD)))
    digest = hashlib.sha256(told.encode())
    if sent.upload is not None:
        digest.update(sent.upload.content)
    try:
        kept = once(
            session, actor=sent.who.actor, idempotency_key=f"form:{token}", asked_sha256=digest.hexdigest(), now=now,
            do=lambda: KeptAnswer(status=303, body=orjson.dumps({"location": do()}).decode()),
        )
    except AnotherQuestion as error:
        raise FormRefused("form_used") from error
    return str(orjson.loads(kept.body)["location"])


def seen(guard: Guard, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """A page to be read: a stranger is led to the sign-in."""

    async def found(request: Request) -> Response:
        lang = pages.lang_of(request)
        try:
            return await answer(request, await guard.require(request, SCOPE_READ), lang)
        except Problem as problem:
            if problem.status in (401, 403):
                return to_sign_in(request, lang)
            raise
        except DatabaseError as error:
            return _unreachable(request, lang, error)

    return found


def sent(
    guard: Guard, ports: WebPorts, permission: str, answer: Callable[[Request, Sent, Lang], Awaitable[Response]],
    *, bytes_max: int = TEXT_FORM_BYTES_MAX,
) -> Callable[[Request], Awaitable[Response]]:
    """A form that changes something: by who has the permission, from a page of theirs."""

    async def found(request: Request) -> Response:
        lang = pages.lang_of(request)
        try:
            return await answer(request, await _received(request, guard, ports, permission, bytes_max), lang)
        except Problem as problem:
            if problem.status == 401:
                return to_sign_in(request, lang)
            if problem.status in (400, 403, 413):
                return await _refused(request, guard, ports, permission, problem, lang)
            raise
        except DatabaseError as error:
            return _unreachable(request, lang, error)

    return found


def see_other(location: str) -> Response:
    """Go on there, so that to load the page again sends nothing."""
    return RedirectResponse(location, 303, {"Cache-Control": "no-store"})


async def _received(request: Request, guard: Guard, ports: WebPorts, permission: str, bytes_max: int) -> Sent:
    credential = credential_of(request, ports.home_url)
    known = None if credential is None else await guard.who(credential)
    if known is None or not known.may(permission):
        # Before anything is read of what a stranger sends.
        await guard.require(request, permission)
    refuse_foreign(request, ports.home_url)
    fields, every, upload = await _read(request, bytes_max)
    asked = request
    if FIELD in fields and HEADER not in request.headers:
        # A form with a file carries the token in a field as well, where the guard does not look.
        headers = [*request.scope["headers"], (HEADER.encode(), fields[FIELD].encode())]
        asked = Request({**request.scope, "headers": headers}, request.receive)
    who = await guard.require(asked, permission)
    request.state.who = who
    return Sent(who=who, fields=fields, every=every, upload=upload)


async def _read(request: Request, bytes_max: int) -> tuple[dict[str, str], dict[str, list[str]], Upload | None]:
    if is_multipart(request):
        fields, upload = await received(request, bytes_max=bytes_max)
        return fields, {name: [value] for name, value in fields.items()}, upload
    fields = await form_of(request, bytes_max=min(bytes_max, TEXT_FORM_BYTES_MAX))
    return fields, parse_qs((await request.body()).decode(), keep_blank_values=True), None


async def _refused(
    request: Request, guard: Guard, ports: WebPorts, permission: str, problem: Problem, lang: Lang
) -> Response:
    """A refusal in words: what was sent cannot be read, the page is too old, or they may not."""
    credential = credential_of(request, ports.home_url)
    known = None if credential is None else await guard.who(credential)
    request.state.who = known
    word = {400: "form_unreadable", 413: "form_too_large"}.get(problem.status, "form_too_old")
    if problem.status == 403 and (known is None or not known.may(permission)):
        word = "form_not_yours"
    return pages.page("refused.html", lang, status=problem.status, request=request, here="today", word=word)


def _unreachable(request: Request, lang: Lang, error: DatabaseError) -> Response:
    log(__name__).error("web.records_unreachable", path=request.url.path, detail=str(error))
    return pages.page("unreachable.html", lang, status=503, request=request)
