"""What the API takes at all: bodies that are JSON and not endless, and text that can be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import HTTPException, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Strict, model_validator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from escrow_monitor.web.problems import Problem

PREFIX = "/api/v1/"
FILES = ("/api/v1/imports/", "/api/v1/statements")
"""Routes that take a file, of any type; they say themselves how large it may be."""
BODY_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 8
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
FILE_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}}}
"""What the document says of a route that takes a file."""


class TakenOnly:
    """Refuses a body that is too large (413) or not JSON (415), and a zero character in the address (400).

    It stands before the routes, which read a body whole before they ask whose it is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        if (problem := _refusal(scope)) is not None:
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive if _is_file(scope["path"]) else _counted(receive), send)


def _refusal(scope: Scope) -> Problem | None:
    headers = Headers(scope=scope)
    if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
        return Problem(400, "the address holds a zero character")
    if _is_file(scope["path"]):
        return None
    size = headers.get("content-length", "0")
    if size.isdecimal() and int(size) > BODY_BYTES_MAX:
        return _too_large()
    has_body = size != "0" or "transfer-encoding" in headers
    if scope["method"] in WRITES and has_body and not _is_json(headers.get("content-type", "")):
        return Problem(415, "the body must be JSON: send it with `Content-Type: application/json`")
    return None


def _is_file(path: str) -> bool:
    return path.startswith(FILES) or (path.startswith(f"{PREFIX}cases/") and path.endswith("/evidence"))


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _too_large() -> Problem:
    return Problem(413, f"a request body is no larger than {BODY_BYTES_MAX // 1024} KB")


async def body_of(request: Request, *, bytes_max: int, too_large: str) -> bytes:
    """The body of a request, whole. Raises Problem 413, which says `too_large`, as soon as it is."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise Problem(413, too_large)
        parts.append(part)
    return b"".join(parts)


def _counted(receive: Receive) -> Receive:
    """The same, that ends where a body of unsaid length becomes too large."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_BYTES_MAX:
            # The framework lets just this class of error through while it reads a body.
            raise HTTPException(413, _too_large().detail)
        return message

    return counted


def text_only(value: object) -> object:
    """Refuse a number where a date or instant is to be: 1700000000 must not be taken for seconds.

    Raises ValueError.
    """
    if isinstance(value, (date, datetime)) or value is None:
        return value
    if not isinstance(value, str) or "-" not in value:
        raise ValueError("write it as ISO 8601 text, like 2026-11-20")
    return value


Day = Annotated[date, BeforeValidator(text_only)]
"""A calendar date as text."""
Instant = Annotated[AwareDatetime, BeforeValidator(text_only)]
"""An instant with its zone, as text."""
Flag = Annotated[bool, Strict()]
"""true or false, and not "yes" or 1."""


class Body(BaseModel):
    """What every request body has in common: no unknown field, and no text that the records could not keep."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _keepable(cls, given: Any) -> Any:
        _check_text(given, depth=0)
        return given


def _check_text(value: object, *, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise ValueError("this is nested too deeply")
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("this holds a zero character or half of one")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _check_text(name, depth=depth + 1)
            _check_text(one, depth=depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for one in value:
            _check_text(one, depth=depth + 1)
