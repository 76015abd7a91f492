"""The numbered feed over HTTP: Atom and JSON Feed pages, rendered once and kept as bytes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from alerts.alert import FeedEntry
from alerts.feeds import atom as atom_feed
from alerts.feeds import json_feed as json_feed_
from alerts.feeds.item import Lang
from alerts.feeds.page import Page
from escrow_monitor.logs import log
from escrow_monitor.web.problems import Problem

Format = Literal["atom", "json"]

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
SEQ_MAX = 2**53 - 1
PAGES_MAX = 256
PAGES_BYTES_MAX = 64 * 1024 * 1024
GZIP_BYTES_MIN = 1_000
GZIP_LEVEL = 5

TITLES: Mapping[Lang, str] = {"zh": "预付资金监管预警", "en": "Prepaid tuition alerts"}
PATHS: Mapping[Format, str] = {"atom": "/feeds/alerts.atom", "json": "/feeds/alerts.json"}
MEDIA_TYPES: Mapping[Format, str] = {
    "atom": f"{atom_feed.MEDIA_TYPE}; charset=utf-8", "json": f"{json_feed_.MEDIA_TYPE}; charset=utf-8",
}
_KNOWN = ("after", "before", "limit", "lang")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedQuery:
    """What a reader asks for: `after` replays upwards, `before` pages downwards, neither means the newest."""

    format: Format
    lang: Lang = "zh"
    limit: int = LIMIT_DEFAULT
    after: int | None = None
    before: int | None = None

    def span(self, head: int) -> tuple[int, int]:
        """The entries of this page as (number before the first, last number). The feed has no holes."""
        if self.after is not None:
            return self.after, max(self.after, min(self.after + self.limit, head))
        last = head if self.before is None else min(self.before - 1, head)
        return max(0, last - self.limit), last

    def page(self, *, home_url: str, span: tuple[int, int]) -> Page:
        """The page's links. They depend on nothing but the query and the span, so a full page never changes."""
        below, last = span
        newest = self._url(home_url)
        if self.after is not None:
            full = last - below == self.limit
            return Page(
                title=TITLES[self.lang], author="escrow-monitor", home_url=home_url,
                self_url=self._url(home_url, after=self.after), first_url=self._url(home_url, after=0),
                next_url=self._url(home_url, after=last) if full else None,
                previous_url=self._url(home_url, after=max(0, below - self.limit)) if below else None,
            )
        return Page(
            title=TITLES[self.lang], author="escrow-monitor", home_url=home_url,
            self_url=newest if self.before is None else self._url(home_url, before=self.before),
            first_url=newest, last_url=self._url(home_url, before=self.limit + 1),
            next_url=self._url(home_url, before=below + 1) if below else None,
            previous_url=None if self.before is None else self._url(home_url, before=self.before + self.limit),
        )

    def _url(self, home_url: str, **cursor: int) -> str:
        asked: dict[str, str | int] = dict(cursor)
        if self.limit != LIMIT_DEFAULT:
            asked["limit"] = self.limit
        if self.lang != "zh":
            asked["lang"] = self.lang
        return home_url.rstrip("/") + PATHS[self.format] + (f"?{urlencode(asked)}" if asked else "")


@dataclass(frozen=True, slots=True)
class Rendered:
    """One page as it goes over the wire, plain and (where it pays) compressed."""

    body: bytes
    zipped: bytes | None
    etag: str

    @property
    def size(self) -> int:
        """Bytes of memory it takes, about."""
        return len(self.body) + len(self.zipped or b"")


_PageKey = tuple[FeedQuery, tuple[int, int]]


class FeedPages:
    """Answers feed requests from a bounded number of rendered pages.

    A page is known by its query and the numbers it holds, so it is rendered once, and again only when the head
    moves. `entries(after, limit)` reads the records in ascending order, `head` says the newest number.
    """

    def __init__(
        self, *, head: Callable[[], Awaitable[int]], entries: Callable[[int, int], Sequence[FeedEntry]], home_url: str,
        pages_max: int = PAGES_MAX, bytes_max: int = PAGES_BYTES_MAX,
    ) -> None:
        self._head = head
        self._entries = entries
        self._home_url = home_url
        self._pages_max = pages_max
        self._bytes_max = bytes_max
        self._pages: OrderedDict[_PageKey, Rendered] = OrderedDict()
        self._bytes = 0
        self._rendering: dict[_PageKey, asyncio.Task[Rendered]] = {}

    @property
    def kept(self) -> tuple[int, int]:
        """How many pages are kept, and their bytes."""
        return len(self._pages), self._bytes

    async def answer(self, request: Request, format: Format) -> Response:
        """Answer one request: 200 with the page or 304. Raises Problem 400, DatabaseError."""
        query = parse_feed_query(format, request.scope["query_string"])
        page = await self.page(query)
        zipped = page.zipped if page.zipped and "gzip" in request.headers.get("accept-encoding", "") else None
        etag = f'"{page.etag}-gz"' if zipped else f'"{page.etag}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
        if _matches(request.headers.get("if-none-match"), page.etag):
            return Response(status_code=304, headers=headers)
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(zipped or page.body, headers=headers, media_type=MEDIA_TYPES[format])

    async def page(self, query: FeedQuery) -> Rendered:
        """Return the page of this query as of the head now."""
        span = query.span(await self._head())
        key = (query, span)
        if (page := self._pages.get(key)) is not None:
            self._pages.move_to_end(key)
            return page
        task = self._rendering.get(key)
        if task is None:
            task = self._rendering[key] = asyncio.create_task(self._render_once(key))
        return await asyncio.shield(task)

    async def _render_once(self, key: _PageKey) -> Rendered:
        try:
            page = await run_in_threadpool(self._render, *key)
            self._keep(key, page)
            return page
        finally:
            del self._rendering[key]

    def _render(self, query: FeedQuery, span: tuple[int, int]) -> Rendered:
        below, last = span
        entries = list(self._entries(below, last - below)) if last > below else []
        if len(entries) != last - below:
            # The records promise numbers without a hole. A reader must not be told that all is there.
            log(__name__).error("web.feed_has_a_hole", after=below, last=last, found=len(entries))
            raise Problem(500, f"the feed lacks entries between {below + 1} and {last}: the records must be examined")
        if query.after is None:
            entries.reverse()
        page = query.page(home_url=self._home_url, span=span)
        render = atom_feed.atom if query.format == "atom" else json_feed_.json_feed
        body = render(entries, page=page, lang=query.lang)
        return Rendered(
            body=body,
            zipped=gzip.compress(body, GZIP_LEVEL, mtime=0) if len(body) >= GZIP_BYTES_MIN else None,
            etag=f"{last}-{hashlib.sha256(body).hexdigest()[:16]}",
        )

    def _keep(self, key: _PageKey, page: Rendered) -> None:
        self._pages[key] = page
        self._bytes += page.size
        while len(self._pages) > self._pages_max or (self._bytes > self._bytes_max and len(self._pages) > 1):
            _, old = self._pages.popitem(last=False)
            self._bytes -= old.size


@lru_cache(maxsize=1_000)
def parse_feed_query(format: Format, query_string: bytes) -> FeedQuery:
    """Read a query string. Raises Problem 400, for an unknown name too: `?afer=7` must not answer the newest page."""
    try:
        asked = dict(parse_qsl(query_string.decode(), keep_blank_values=True, max_num_fields=20, errors="strict"))
    except ValueError as error:
        raise Problem(400, "the query cannot be read: UTF-8, at most 20 parameters") from error
    for name in asked:
        if name not in _KNOWN:
            near = get_close_matches(name, _KNOWN, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KNOWN)}"
            raise Problem(400, f"the feed has no parameter {name[:40]!r}: {hint}")
    if "after" in asked and "before" in asked:
        raise Problem(400, "`after` replays upwards and `before` pages downwards: give one of them")
    lang = asked.get("lang", "zh")
    if lang not in TITLES:
        raise Problem(400, f"lang is zh or en, not {lang[:40]!r}")
    return FeedQuery(
        format=format, lang=cast("Lang", lang),
        limit=_whole("limit", asked.get("limit"), low=1, high=LIMIT_MAX) or LIMIT_DEFAULT,
        after=_whole("after", asked.get("after"), low=0, high=SEQ_MAX),
        before=_whole("before", asked.get("before"), low=1, high=SEQ_MAX),
    )


def _whole(name: str, text: str | None, *, low: int, high: int) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and low <= int(text) <= high):
        raise Problem(400, f"{name} is a whole number from {low} to {high}, not {text[:40]!r}")
    return int(text)


def _matches(if_none_match: str | None, etag: str) -> bool:
    """True if the reader has this page already, in either coding."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    held = {part.strip().removeprefix("W/").strip('"').removesuffix("-gz") for part in if_none_match.split(",")}
    return etag in held
