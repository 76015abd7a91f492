"""Who asks, and may they: API keys by header, HTTP Basic or cookie, with scopes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Collection
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from alerts.feeds.filter import FeedFilter
from escrow_monitor.web.problems import Problem

COOKIE = "escrow_key"
REALM = "escrow-monitor"
SCOPE_READ = "read"
SCOPE_FEED = "feed"
SCOPE_DECIDE = "decide"
SCOPE_IMPORT = "import"
SCOPE_METRICS = "metrics"
SCOPE_ADMIN = "admin"
SECRET_CHARACTERS_MAX = 200
REMEMBERED_MAX = 1_000

_SECRET = re.compile(r"emk_[A-Za-z0-9_-]{20,}\Z", re.ASCII)


class Key(Protocol):
    """What the guard must know of a key that was accepted."""

    @property
    def name(self) -> str: ...
    @property
    def scopes(self) -> Collection[str]: ...
    @property
    def only(self) -> FeedFilter: ...


class Guard:
    """Says whose key a request carries.

    A key is looked up in the records and remembered for `age_seconds_max`: so long at most does a revoked key
    go on working, and so seldom does a busy reader cost a query.
    """

    def __init__(self, *, verify: Callable[[str], Key | None], age_seconds_max: float) -> None:
        self._verify = verify
        self._age_seconds_max = age_seconds_max
        self._remembered: dict[bytes, tuple[Key, float]] = {}

    async def require(self, request: HTTPConnection, scope: str, *, basic: bool = False) -> Key:
        """Return the key of this request if it has `scope`, else raise Problem 401 or 403.

        Admin has every scope, and who may read may read the feed. `basic` asks a browser or feed reader for a password
        (the key) when none came.
        """
        secret = credential(request)
        if secret is None:
            raise _unauthorized("this needs an API key: send it as `Authorization: Bearer KEY`", basic=basic)
        key = await self.key(secret)
        if key is None:
            raise _unauthorized("this API key is not known, has expired or was revoked", basic=basic)
        enough = {scope, SCOPE_ADMIN} | ({SCOPE_READ} if scope == SCOPE_FEED else set())
        if enough.isdisjoint(key.scopes):
            raise Problem(403, f"the API key {key.name!r} lacks the scope {scope!r}")
        return key

    async def key(self, secret: str) -> Key | None:
        """Return the live key of this secret, or None. Raises DatabaseError."""
        if not well_formed(secret):
            return None
        now = asyncio.get_running_loop().time()
        digest = hashlib.sha256(secret.encode()).digest()
        if (found := self._remembered.get(digest)) is not None and now < found[1]:
            return found[0]
        key = await run_in_threadpool(self._verify, secret)
        self._remembered.pop(digest, None)
        if key is not None:
            while len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[digest] = (key, now + self._age_seconds_max)
        return key


def credential(request: HTTPConnection) -> str | None:
    """Return the secret a request carries, or None. The most explicit place wins; a wrong one has no second chance."""
    header = request.headers.get("authorization")
    if header is not None:
        return _authorization(header)
    return request.headers.get("x-api-key") or request.cookies.get(COOKIE) or None


def well_formed(secret: str) -> bool:
    """True if it can be a key at all: the records are not asked about anything else."""
    return len(secret) <= SECRET_CHARACTERS_MAX and _SECRET.match(secret) is not None


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


def _unauthorized(detail: str, *, basic: bool) -> Problem:
    challenge = f'Bearer realm="{REALM}"'
    if basic:
        challenge = f'Basic realm="{REALM}", charset="UTF-8", {challenge}'
    return Problem(401, detail, headers={"WWW-Authenticate": challenge})
