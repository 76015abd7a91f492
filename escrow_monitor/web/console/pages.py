"""Turning templates into answers: languages, static files, signing in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from alerts.feeds.item import Lang
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import COOKIE, SCOPE_ADMIN, SCOPE_READ, Guard
from escrow_monitor.web.problems import Problem

FORM_BYTES_MAX = 4_096
COOKIE_SECONDS_MAX = 12 * 3600
STATIC_SECONDS = 7 * 24 * 3600
STATIC: Mapping[str, str] = {
    "console.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
    "statement.css": "text/css; charset=utf-8",
}


def routes(guard: Guard, *, home_url: str) -> list[Route]:
    """`/sign-in`, `/sign-out` and `/static/...`."""

    async def form(request: Request) -> Response:
        return page("sign_in.html", lang_of(request), wrong=False)

    async def sign_in(request: Request) -> Response:
        refuse_foreign(request, home_url)
        secret = await _key_of_form(request)
        lang = lang_of(request)
        key = await guard.key(secret)
        if key is None or not {SCOPE_READ, SCOPE_ADMIN} & set(key.scopes):
            return page("sign_in.html", lang, status=403, wrong=True)
        answer = RedirectResponse(f"/?lang={lang}", 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            COOKIE, secret, max_age=COOKIE_SECONDS_MAX, httponly=True, samesite="strict",
            secure=_is_https(request, home_url),
        )
        return answer

    async def sign_out(request: Request) -> Response:
        refuse_foreign(request, home_url)
        answer = RedirectResponse(f"/sign-in?lang={lang_of(request)}", 303, {"Cache-Control": "no-store"})
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_is_https(request, home_url))
        return answer

    return [
        Route("/sign-in", form, methods=["GET"]), Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]), Route("/static/{name}", _static, methods=["GET"]),
    ]


def page(template: str, lang: Lang, *, status: int = 200, **values: object) -> Response:
    """Render a template. It gets the words of the language as `w`; what it names and is not given is an error."""
    body = _templates().get_template(template).render(w=Words(lang), static_version=static_version(), **values)
    headers = {"Cache-Control": "no-store", "Vary": "Cookie", "Content-Language": Words(lang).tag}
    return Response(body, status, headers, "text/html; charset=utf-8")


def lang_of(request: Request) -> Lang:
    """`?lang=`, zh unless it says en."""
    return "en" if request.query_params.get("lang") == "en" else "zh"


def at_zone(words: Words, *, now: datetime, zone: ZoneInfo) -> Callable[[datetime | None], str]:
    """The `when` of templates: an instant as people of this zone say it."""
    return lambda at: words.when(at, now=now, zone=zone)


def refuse_foreign(request: Request, home_url: str) -> None:
    """Raise Problem 403 for a form that another site sent. Browsers always say where a POST comes from."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    ours = {request.headers.get("host", ""), urlsplit(home_url).netloc}
    is_foreign = (site is not None and site not in {"same-origin", "none"}) or (
        origin is not None and urlsplit(origin).netloc not in ours
    )
    if is_foreign:
        raise Problem(403, "this form was sent from another site")


@lru_cache(maxsize=1)
def static_version() -> str:
    """Changes when a static file does, so that a browser may keep them."""
    return hashlib.sha256(b"".join(_static_bytes(name) for name in STATIC)).hexdigest()[:10]


async def _key_of_form(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES_MAX:
            raise Problem(413, "a sign-in form is small")
    try:
        fields = parse_qs(body.decode(), max_num_fields=5)
    except ValueError:
        return ""
    return fields.get("key", [""])[0].strip()


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise Problem(404, f"there is nothing at {request.url.path}")
    etag = f'"{static_version()}"'
    headers = {"Cache-Control": f"public, max-age={STATIC_SECONDS}", "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(_static_bytes(name), headers=headers, media_type=STATIC[name])


@lru_cache(maxsize=len(STATIC))
def _static_bytes(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("escrow_monitor.web.console"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )


def _is_https(request: Request, home_url: str) -> bool:
    return request.url.scheme == "https" or home_url.startswith("https:")
