"""Turning templates into answers: languages and static files."""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from alerts.feeds.item import Lang
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.web.console.assets import NAMES, asset, asset_hash, static
from escrow_monitor.web.console.told import Told
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

__all__ = ["asked_day", "at_zone", "lang_of", "page", "routes", "static_version"]

LANGUAGE_COOKIE = "escrow_lang"
LANGUAGE_SECONDS = 365 * 24 * 3600
STATIC = NAMES
NAVIGATION = (
    ("today", "/"), ("institutions", "/institutions"), ("alerts", "/alerts"), ("cases", "/cases"),
    ("reconcile", "/reconcile"), ("returns", "/returns"),
    ("imports", "/imports"), ("policies", "/policies"), ("audit", "/audit"), ("operations", "/operations"),
)
"""The pages that the head of every page leads to: the word that names each, and its address."""
NEEDED = {"imports": Permission.IMPORT, "audit": Permission.AUDIT, "operations": Permission.OPERATIONS}
"""What somebody must be permitted for the head to lead there; nothing more than to read for the others."""


def routes() -> list[Route]:
    """`/static/...`."""
    return [Route("/static/{name}", static, methods=["GET"])]


def page(
    template: str, lang: Lang, *, status: int = 200, request: Request | None = None, here: str = "", **values: object,
) -> Response:
    """Render a template. It gets the words of the language as `w`; what it names and is not given is an error.

    `here` is the entry of NAVIGATION that it belongs to. With `request`, templates know `who` asks and the token `csrf`
    that what they send must carry (both None for a stranger), changing the language keeps the page, and a
    language that was asked for by address is remembered.
    """
    words = Words(lang)
    who: Who | None = None if request is None else getattr(request.state, "who", None)
    body = _templates().get_template(template).render(
        w=words, asset=asset, here=here, navigation=_open_to(who),
        other_language_url=_other_language_url(request, lang), kept_query=_kept_query(request),
        who=who, csrf=None if who is None else who.csrf, **values,
    )
    headers = {"Cache-Control": "no-store", "Vary": "Cookie", "Content-Language": words.tag}
    answer = Response(body, status, headers, "text/html; charset=utf-8")
    if request is not None and request.query_params.get("lang") == lang != request.cookies.get(LANGUAGE_COOKIE):
        answer.set_cookie(
            LANGUAGE_COOKIE, lang, max_age=LANGUAGE_SECONDS, httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )
    return answer


def lang_of(request: Request) -> Lang:
    """`?lang=`, else what was chosen before, else zh."""
    return "en" if request.query_params.get("lang", request.cookies.get(LANGUAGE_COOKIE)) == "en" else "zh"


def asked_day(text: str, today: date) -> date:
    """The day `on` which something is asked for; nothing is today. Raises Problem 400."""
    if not text:
        return today
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Problem(400, "on is a date such as 2026-11-20") from error


def at_zone(words: Words, *, now: datetime, zone: ZoneInfo) -> Told:
    """The `when` of templates: an instant as people of this zone say it; `when.told` does so within a sentence."""
    return Told(words, now=now, zone=zone)


def static_version() -> str:
    """Changes when the look of a statement does, so that a browser may keep it."""
    return asset_hash("statement.css")


def _open_to(who: Who | None) -> list[tuple[str, str]]:
    """The entries of NAVIGATION that lead somebody further than to a refusal."""
    return [
        (name, path) for name, path in NAVIGATION if name not in NEEDED or (who is not None and who.may(NEEDED[name]))
    ]


def _other_language_url(request: Request | None, lang: Lang) -> str:
    """The same page with the same query; where a form was answered, which has no address, the page that sent it."""
    path, query = "", "" if request is None else request.url.query
    if request is not None and request.method not in ("GET", "HEAD"):
        came = urlsplit(request.headers.get("referer", ""))
        path, query = (came.path, came.query) if came.netloc == request.url.netloc and came.path else ("/", "")
        path = "/" + path.lstrip("/\\")
    kept = [item for item in parse_qsl(query, keep_blank_values=True) if item[0] != "lang"]
    return f"{path}?" + urlencode([*kept, ("lang", "en" if lang == "zh" else "zh")])


def _kept_query(request: Request | None) -> str:
    """The filters of this page as the end of an address, for the tables that are taken along."""
    kept = [] if request is None or request.method != "GET" else [
        item for item in request.query_params.multi_items() if item[0] not in ("lang", "after", "before", "done")
    ]
    return f"?{urlencode(kept)}" if kept else ""


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("escrow_monitor.web.console"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )
