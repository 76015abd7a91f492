"""The calls of a bank that is known by configuration alone: compiled from templates, signed in, sent, paged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from zoneinfo import ZoneInfo

from escrow_monitor.banks.answer_reading import Moment, masked, raw_of, refusals_of
from escrow_monitor.banks.http import Answer, BankClient, CallRefused
from escrow_monitor.banks.mapped_statement import Page
from escrow_monitor.banks.mapping import Context, Finder, MakeFinder, Place, Success, required, success_rule
from escrow_monitor.banks.paging import Paging, Walk, paging_rule
from escrow_monitor.banks.statement_reading import Refused
from escrow_monitor.banks.templates import (
    CALL_NAMES,
    LIST_NAME,
    Template,
    Value,
    Values,
    compiled,
    in_header,
    in_path,
    values_of_call,
)
from escrow_monitor.clock import Clock
from escrow_monitor.domain.statements import Refusal
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings.mapping import CallMapping, Numbers, SessionMapping

_FORM = "application/x-www-form-urlencoded"


class Body(Protocol):
    """The body of a request, as a template."""

    @property
    def names(self) -> frozenset[str]:
        """The names it asks for."""

    def render(self, values: Values, accounts: Sequence[Values]) -> bytes:
        """The body for these values; `accounts` are the values of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What a wire format adds to the mapping: paths, bodies, and how an answer is opened.

    `body` compiles a call's body (mapping, key, known names); `read` gives the top of an answer or raises Refused;
    `print_of` tells whether two pages are the same.
    """

    source: str
    find: MakeFinder
    body: Callable[[CallMapping, str, frozenset[str]], Body | None]
    read: Callable[[Answer], object]
    print_of: Callable[[Sequence[object]], Hashable]
    media_type: str
    accept: str
    numbers: Numbers = "literal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A compiled question. `names` are those its templates ask for."""

    method: str
    path: Template
    query: Mapping[str, Template]
    headers: Mapping[str, Template]
    body: Body | None
    media_type: str
    success: Success | None
    paging: Paging
    names: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A compiled sign-in."""

    call: Call
    token: Finder
    ended: frozenset[str]


class AnswerRefused(Refused):
    """An answer came and cannot be taken; `answer` is the evidence."""

    def __init__(self, *refusals: Refusal, answer: Answer) -> None:
        super().__init__(*refusals)
        self.answer = answer


def compiled_call(mapping: CallMapping, context: Context, wire: Wire, key: str, names: frozenset[str]) -> Call:
    """Compile a question whose templates may name `names`. Raises ConfigurationError naming the key."""
    known = names | CALL_NAMES
    if not mapping.path.startswith("/") or "?" in mapping.path:
        raise ConfigurationError(f"{key}.path: begins with / and has no question mark: that is what query is for")
    path = compiled(mapping.path, f"{key}.path", known)
    query = {name: compiled(text, f"{key}.query.{name}", known) for name, text in mapping.query.items()}
    headers = {name: compiled(text, f"{key}.headers.{name}", known) for name, text in mapping.headers.items()}
    body = wire.body(mapping, key, known)
    used = [template.names for template in (path, *query.values(), *headers.values())]
    call = Call(
        method=mapping.method, path=path, query=query, headers=headers, body=body,
        media_type=_FORM if mapping.form else wire.media_type,
        success=success_rule(mapping.success, context, f"{key}.success"),
        paging=paging_rule(mapping.paging, context, f"{key}.paging"),
        names=frozenset[str]().union(*used, body.names if body is not None else ()),
    )
    _check_paging(call, key)
    return call


def compiled_session(
    mapping: SessionMapping | None, calls: Sequence[Call], context: Context, wire: Wire, *, key: str,
    names: frozenset[str],
) -> Session | None:
    """Compile the sign-in that the calls need, if they do. Raises ConfigurationError naming the key."""
    named = any("session" in call.names for call in calls)
    if mapping is None:
        if named:
            raise ConfigurationError(f"{key}: the requests name {{session}}; say here how to get one")
        return None
    if not named:
        raise ConfigurationError(f"{key}: no request names {{session}}")
    call = compiled_call(mapping, context, wire, key, names)
    if "session" in call.names:
        raise ConfigurationError(f"{key}: the sign-in cannot name {{session}} itself")
    return Session(call=call, token=context.find(mapping.token, f"{key}.token"), ended=frozenset(mapping.ended))


class Caller:
    """Makes the calls. `secrets` are the values of `{secret.NAME}`."""

    def __init__(
        self, client: BankClient, wire: Wire, session: Session | None, *, secrets: Mapping[str, Value], zone: ZoneInfo,
        clock: Clock,
    ) -> None:
        self._client = client
        self._wire = wire
        self._session = session
        self._secrets = secrets
        self._zone = zone
        self._clock = clock
        self._token: str | None = None
        self._sign_in_refused: Refused | None = None
        self._signing_in = asyncio.Lock()

    def begin(self) -> None:
        """A new round: a sign-in that failed may be tried once more."""
        self._signing_in = asyncio.Lock()  # belongs to the loop it is first waited for on
        self._sign_in_refused = None

    def redacted(self, refusal: Refusal) -> Refusal:
        """The refusal without secrets: banks echo what they were sent."""
        detail = self._client.redact(refusal.detail)
        if self._token is not None and len(self._token) >= 4:
            detail = detail.replace(self._token, "[redacted]")
        return refusal if detail == refusal.detail else replace(refusal, detail=detail)

    async def pages(
        self, call: Call, rows_of: Callable[[object, str], list[Place]], values: Values,
        accounts: Sequence[Values] = (),
    ) -> AsyncIterator[Page]:
        """All pages of an answer. Raises CallRefused, or AnswerRefused with the page at fault."""
        walk = Walk(call.paging)
        while True:
            answer, top = await self._asked(call, {**values, **walk.values}, accounts, walk.link)
            try:
                place = Place(top, top, answer.path)
                there = call.success is None or call.success.holds(place)
                rows = rows_of(top, answer.path) if there else []
                on = there and walk.goes_on(place, len(rows), self._wire.print_of([row.row for row in rows]))
            except Refused as error:
                raise AnswerRefused(*error.refusals, answer=answer) from error
            yield Page(
                answer=answer, raw=raw_of(answer), moment=Moment(self._zone, answer.fetched_at), rows=tuple(rows),
                top=place if there else None,
            )
            if not on:
                return

    async def _asked(
        self, call: Call, values: Values, accounts: Sequence[Values], link: str | None
    ) -> tuple[Answer, object]:
        """One call and the top of its answer, in a session where the bank wants one."""
        session = self._session
        if session is None or "session" not in call.names:
            return await self._sent(call, values, accounts, link)
        token = await self._signed_in(session, None)
        for last in (False, True):
            try:
                answer, top = await self._sent(call, {**values, "session": token}, accounts, link)
            except CallRefused as error:
                if last or error.status != 401:
                    raise
            else:
                if last or not _has_ended(session, call, Place(top, top, answer.path)):
                    return answer, top
            token = await self._signed_in(session, token)
        raise AssertionError("the second try returns or raises")

    async def _signed_in(self, session: Session, ended: str | None) -> str:
        """The session's token; a new one if `ended` is the one we have."""
        async with self._signing_in:
            if self._sign_in_refused is not None:
                raise self._sign_in_refused  # once a round is enough
            if self._token is None or self._token == ended:
                self._token = None
                try:
                    self._token = await self._new_token(session)
                except (CallRefused, Refused) as error:
                    self._sign_in_refused = Refused(*refusals_of(error))
                    raise
            return self._token

    async def _new_token(self, session: Session) -> str:
        answer, top = await self._sent(session.call, {}, (), None)
        place = Place(top, top, answer.path)
        try:
            if session.call.success is not None:
                session.call.success.holds(place)
            return required(session.token, place)
        except Refused as error:
            raise AnswerRefused(*error.refusals, answer=answer) from error

    async def _sent(
        self, call: Call, values: Values, accounts: Sequence[Values], link: str | None
    ) -> tuple[Answer, object]:
        filled: Values = {**values_of_call(self._clock.now().astimezone(self._zone)), **self._secrets, **values}
        if accounts and LIST_NAME in call.names:
            filled = {**filled, LIST_NAME: ",".join(str(one["account_no"]) for one in accounts)}
        # Addresses go into refusals, and an account number in them must not.
        shown = [str(one["account_no"]) for one in (values, *accounts) if one.get("account_no")]
        if not call.names & {"account_no", LIST_NAME}:
            shown = []
        try:
            answer = await self._called(call, filled, accounts, link)
        except CallRefused as error:
            raise _without_numbers(error, shown) from error
        answer = replace(answer, path=_without(answer.path, shown))
        try:
            return answer, self._wire.read(answer)
        except Refused as error:
            raise AnswerRefused(*error.refusals, answer=answer) from error

    async def _called(self, call: Call, filled: Values, accounts: Sequence[Values], link: str | None) -> Answer:
        headers = {"Accept": self._wire.accept}
        headers |= {name: template.render(filled, in_header) for name, template in call.headers.items()}
        if link is not None:
            return await self._client.get(link, headers=lambda: headers)
        path = call.path.render(filled, in_path)
        params = {name: template.render(filled) for name, template in call.query.items()}
        if call.method == "GET":
            return await self._client.get(path, params=params, headers=lambda: headers)
        content = b"" if call.body is None else call.body.render(filled, accounts)
        return await self._client.post(
            path, content=lambda: content, media_type=call.media_type, safe=True, params=params,
            headers=lambda: headers,
        )


def _has_ended(session: Session, call: Call, place: Place) -> bool:
    return call.success is not None and call.success.path.one(place) in session.ended


def _check_paging(call: Call, key: str) -> None:
    by, names = call.paging.mapping.by, call.names
    if by == "page" and not names & {"page", "offset"}:
        raise ConfigurationError(f"{key}.paging: the request names neither {{page}} nor {{offset}}")
    if by == "cursor" and "cursor" not in names:
        raise ConfigurationError(f"{key}.paging: the request does not name {{cursor}}")
    if by != "page" and names & {"page", "offset", "size"}:
        raise ConfigurationError(f"{key}.paging: the request names a page; say by = 'page'")
    if by != "cursor" and "cursor" in names:
        raise ConfigurationError(f"{key}.paging: the request names {{cursor}}; say by = 'cursor'")


def _without(text: str, numbers: Sequence[str]) -> str:
    """The text with account numbers cut to their last four."""
    for number in numbers:
        text = text.replace(number, masked(number)).replace(in_path(number), masked(number))
    return text


def _without_numbers(error: CallRefused, numbers: Sequence[str]) -> CallRefused:
    refusal = replace(
        error.refusal, where=_without(error.refusal.where, numbers), detail=_without(error.refusal.detail, numbers)
    )
    return CallRefused(
        refusal, passing=error.passing, status=error.status, content=error.content,
        retry_after_seconds=error.retry_after_seconds,
    )
