"""Who asks, and may they: API keys by header or HTTP Basic, people and keys by a session's cookie."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from escrow_monitor.domain.permissions import Permission
from escrow_monitor.errors import DatabaseError
from escrow_monitor.logs import log, masked
from escrow_monitor.records.people.sessions import SEEN_EVERY
from escrow_monitor.web.csrf import refuse_forged
from escrow_monitor.web.limits import WITHOUT, Limits
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

COOKIE = "escrow_session"
COOKIE_HTTPS = "__Host-escrow_session"
"""Browsers take a cookie of this name over https only, from this host only, for all of it."""
REALM = "escrow-monitor"
SCOPE_READ = Permission.READ.value
SCOPE_FEED = Permission.FEED.value
SCOPE_OPERATIONS = Permission.OPERATIONS.value
SCOPE_DECIDE = Permission.DECIDE.value
SCOPE_NOTE = Permission.NOTE.value
SCOPE_ANSWER = Permission.ANSWER.value
SCOPE_CONFIRM = Permission.CONFIRM.value
SCOPE_IMPORT = Permission.IMPORT.value
SCOPE_AUDIT = Permission.AUDIT.value
SCOPE_METRICS = Permission.METRICS.value
SCOPE_ADMIN = Permission.ADMIN.value
SECRET_CHARACTERS_MAX = 200
REMEMBERED_MAX = 1_000

_KEY = re.compile(r"emk_[A-Za-z0-9_-]{20,}\Z", re.ASCII)
_TOKEN = re.compile(r"ems_[A-Za-z0-9_-]{20,}\Z", re.ASCII)
_SCOPES = {SCOPE_CONFIRM: "decide", SCOPE_NOTE: "decide", SCOPE_OPERATIONS: "read", SCOPE_AUDIT: "admin"}
"""The scope of a key that stands for a permission of another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a request carries to say who asks: the secret of a key, or the token of a session."""

    secret: str
    is_session: bool = False


class Guard:
    """Says who asks, and lets them only do what they may.

    Who it is is looked up in the records and remembered for `age_seconds_max`: so long at most does a revoked key or
    session go on working, and so seldom does a busy reader cost a query. `find` looks a credential up, `seen` notes
    that a session is used, `now` is the machine's time.
    """

    def __init__(
        self, *, find: Callable[[Credential], Who | None], seen: Callable[[str], None], now: Callable[[], datetime],
        home_url: str, age_seconds_max: float, limits: Limits | None = None,
    ) -> None:
        self._find = find
        self._seen = seen
        self._now = now
        self._home_url = home_url
        self._age_seconds_max = age_seconds_max
        self._limits = limits or Limits(WITHOUT)
        self._remembered: dict[bytes, tuple[Who, float]] = {}

    async def require(self, request: HTTPConnection, scope: str, *, basic: bool = False) -> Who:
        """Return who asks if they have the permission `scope`, else raise Problem 401 or 403; the log is told.

        Who asks too often gets Problem 429.

        It is in `request.state.who` too. What changes something and comes by a cookie must carry the token of its
        session. `basic` asks a browser or feed reader for a password (the key) when none came.
        """
        credential = credential_of(request, self._home_url)
        if credential is None:
            self._count(request, None)
            log(__name__).info("web.denied", who=None, what=_what(request), why="no_credential", needs=scope)
            raise _unauthorized("this needs an API key: send it as `Authorization: Bearer KEY`", basic=basic)
        who = await self.who(credential)
        self._count(request, who)
        if who is None:
            log(__name__).warning("web.denied", who=None, what=_what(request), why="not_known", needs=scope)
            raise _unauthorized(
                "this session is over: sign in again" if credential.is_session
                else "this API key is not known, has expired or was revoked", basic=basic,
            )
        if not who.may(scope):
            self._denied(who, request, why="no_permission", needs=scope)
            raise Problem(403, _lacks(who, scope))
        if who.csrf is not None:
            await self._refuse_forged(who, who.csrf, request)
            await self._note_seen(who, request)
        request.state.who = who
        return who

    async def who(self, credential: Credential) -> Who | None:
        """Return who this is, or None. Raises DatabaseError."""
        if not well_formed(credential):
            return None
        now = asyncio.get_running_loop().time()
        digest = hashlib.sha256(credential.secret.encode()).digest()
        if (found := self._remembered.get(digest)) is not None and now < found[1]:
            return found[0]
        who = await run_in_threadpool(self._find, credential)
        self._remembered.pop(digest, None)
        if who is not None:
            while len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[digest] = (who, now + self._age_seconds_max)
        return who

    def count_stranger(self, request: HTTPConnection) -> None:
        """Count a request of somebody who is not known yet. Raises Problem 429 for one too many."""
        self._count(request, None)

    def forget(self) -> None:
        """Look everybody up again: somebody has just signed out."""
        self._remembered.clear()

    def _count(self, request: HTTPConnection, who: Who | None) -> None:
        self._limits.check(
            request, caller=None if who is None else who.actor, now=asyncio.get_running_loop().time()
        )

    async def _refuse_forged(self, who: Who, token: str, request: HTTPConnection) -> None:
        try:
            await refuse_forged(request, token, self._home_url)
        except Problem as problem:
            if problem.status == 403:
                self._denied(who, request, why="forged", needs="csrf")
            raise

    async def _note_seen(self, who: Who, request: HTTPConnection) -> None:
        """A session that is used lives on; that a page is open and listens to the feed is no use."""
        is_stale = who.seen_at is not None and self._now() - who.seen_at >= SEEN_EVERY
        if not is_stale or who.session_id is None or request.url.path.startswith("/feeds/"):
            return
        try:
            await run_in_threadpool(self._seen, who.session_id)
        except DatabaseError as error:
            # Whoever may read may read on while nothing can be written.
            log(__name__).error("web.session_not_noted", session_id=who.session_id, detail=str(error))

    def _denied(self, who: Who, request: HTTPConnection, *, why: str, needs: str) -> None:
        log(__name__).warning(
            "web.denied", who=who.actor, kind=who.kind, name=who.name,
            role=None if who.role is None else who.role.value, what=_what(request), why=why, needs=needs,
        )


def credential_of(request: HTTPConnection, home_url: str) -> Credential | None:
    """Return what a request carries, or None. The most explicit place wins; a wrong one has no second chance."""
    header = request.headers.get("authorization")
    if header is not None:
        return Credential(secret=_authorization(header))
    if (secret := request.headers.get("x-api-key")) is not None:
        return Credential(secret=secret)
    token = request.cookies.get(cookie_name(request, home_url))
    return Credential(secret=token, is_session=True) if token else None


def is_https(request: HTTPConnection, home_url: str) -> bool:
    """True if the browser speaks https, to us or to what stands before us."""
    return request.url.scheme == "https" or home_url.startswith("https:")


def cookie_name(request: HTTPConnection, home_url: str) -> str:
    """What the cookie of a session is called here."""
    return COOKIE_HTTPS if is_https(request, home_url) else COOKIE


def well_formed(credential: Credential) -> bool:
    """True if it can be one at all: the records are not asked about anything else."""
    shape = _TOKEN if credential.is_session else _KEY
    return len(credential.secret) <= SECRET_CHARACTERS_MAX and shape.match(credential.secret) is not None


def _authorization(header: str) -> str:
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        try:
            _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return password
    return ""


def _lacks(who: Who, scope: str) -> str:
    if who.kind == "key" and (who.owner is None or who.role is None):
        return f"the API key {who.name!r} lacks the scope {_SCOPES.get(scope, scope)!r}"
    return f"the role {'' if who.role is None else who.role.value} has no permission {scope!r}"


def _what(request: HTTPConnection) -> str:
    return f"{request.scope.get('method', 'GET')} {masked(request.url.path)[:200]}"


def _unauthorized(detail: str, *, basic: bool) -> Problem:
    challenge = f'Bearer realm="{REALM}"'
    if basic:
        challenge = f'Basic realm="{REALM}", charset="UTF-8", {challenge}'
    return Problem(401, detail, headers={"WWW-Authenticate": challenge})
