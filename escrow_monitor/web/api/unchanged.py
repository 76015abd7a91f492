"""Answers of the API that did not change since the asker last had them: 304, without the body."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIX = "/api/v1/"
ANSWER_BYTES_MAX = 16 * 1024 * 1024
"""A larger answer goes out as it comes, without a tag."""


class Unchanged:
    """Tags what is read with an ETag of its content, and answers 304 to who names it in If-None-Match.

    The answer is made all the same: what is saved is the way, not the question to the records.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Tagged(send, Headers(scope=scope).get("if-none-match", "")).send)


class _Tagged:
    """Holds an answer back until it is whole."""

    def __init__(self, send: Send, known: str) -> None:
        self._send = send
        self._known = known
        self._start: Message | None = None
        self._parts: list[bytes] = []
        self._size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_kept(message):
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._parts.append(message.get("body", b""))
        self._size += len(self._parts[-1])
        if not message.get("more_body"):
            await self._answer(self._start)
        elif self._size > ANSWER_BYTES_MAX:
            start, self._start = self._start, None
            await self._send(start)
            await self._send({"type": "http.response.body", "body": b"".join(self._parts), "more_body": True})

    async def _answer(self, start: Message) -> None:
        body = b"".join(self._parts)
        # Weak: the same content may go out compressed or plain.
        tag = f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        headers = MutableHeaders(raw=start["headers"])
        headers["ETag"] = tag
        headers.setdefault("Cache-Control", "private, no-cache")
        headers.add_vary_header("Authorization, Cookie, X-API-Key")
        if not names(self._known, tag):
            await self._send(start)
            await self._send({"type": "http.response.body", "body": body})
            return
        for name in ("Content-Length", "Content-Type"):
            if name in headers:
                del headers[name]
        await self._send({**start, "status": 304})
        await self._send({"type": "http.response.body", "body": b""})


def names(header: str, tag: str) -> bool:
    """True if an If-None-Match header names this tag, weak or strong."""
    strong = tag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") in (strong, "*") for one in header.split(","))


def _is_kept(message: Message) -> bool:
    headers = Headers(raw=message["headers"])
    return bool(message["status"] == 200) and "no-store" not in headers.get("cache-control", "")
