"""Requests that change something must come from our own pages: by where the browser says, and by a token."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qs, urlsplit

from starlette.requests import HTTPConnection, Request

from escrow_monitor.web.problems import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADER = "x-csrf-token"
FIELD = "csrf"
FORM_TYPE = "application/x-www-form-urlencoded"
FORM_BYTES_MAX = 64 * 1024
FORM_FIELDS_MAX = 200
FOREIGN = "this form was sent from another site"


def is_foreign(request: HTTPConnection, home_url: str) -> bool:
    """True if the browser says that another site sent this. Browsers always say where a POST comes from."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site not in {"same-origin", "none"}:
        return True
    return origin is not None and urlsplit(origin).netloc not in _ours(request, home_url)


def is_surely_ours(request: HTTPConnection, home_url: str) -> bool:
    """True if the browser says that a page of ours sent this."""
    if is_foreign(request, home_url):
        return False
    return request.headers.get("sec-fetch-site") == "same-origin" or "origin" in request.headers


def refuse_foreign(request: HTTPConnection, home_url: str) -> None:
    """Raise Problem 403 for what another site sent."""
    if is_foreign(request, home_url):
        raise Problem(403, FOREIGN)


def token_of(session_token: str) -> str:
    """The token that pages of a session carry. It says nothing about the session's own, and ends with it."""
    return hmac.new(session_token.encode(), b"escrow-monitor csrf", hashlib.sha256).hexdigest()


async def refuse_forged(request: HTTPConnection, token: str, home_url: str) -> None:
    """Raise Problem 403 unless it is safe, or ours with the token: in the header, or in a field of a plain form."""
    if request.scope.get("method", "GET") in SAFE_METHODS:
        return
    refuse_foreign(request, home_url)
    given = request.headers.get(HEADER) or await _field(request)
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise Problem(403, f"this page is too old: load it again (the token {HEADER} of its session is missing)")


async def form_of(request: Request, *, bytes_max: int = FORM_BYTES_MAX) -> dict[str, str]:
    """The fields of a plain form, the first of each name. Raises Problem 413 and 400."""
    if not hasattr(request, "_body"):
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > bytes_max:
                raise Problem(413, f"a form is no larger than {bytes_max} bytes")
            parts.append(part)
        request._body = b"".join(parts)  # kept where `request.body()` keeps it, for who reads the form after us
    try:
        fields = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        raise Problem(400, "the form cannot be read") from error
    return {name: values[0] for name, values in fields.items()}


async def _field(request: HTTPConnection) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE or not isinstance(request, Request):
        return ""
    return (await form_of(request)).get(FIELD, "")


def _ours(request: HTTPConnection, home_url: str) -> set[str]:
    return {request.headers.get("host", ""), urlsplit(home_url).netloc}
