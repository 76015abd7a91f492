"""The numbered feed over HTTP: Atom and JSON Feed pages, rendered once and kept as bytes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal, cast
from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from alerts.alert import FeedEntry, Severity
from alerts.feeds import atom as atom_feed
from alerts.feeds import json_feed as json_feed_
from alerts.feeds.filter import NAMES, FeedFilter, filter_of
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
SCANNED_MAX = 5_000
"""So many numbers at most a filtered page answers for, however few of them fit: then it ends, and the next goes on."""
SCANNED_AT_ONCE = 500

_KNOWN = ("after", "before", "limit", "lang", *NAMES)
_SHAPES = {
    "rule": r"[a-z0-9_]{1,60}", "uscc": r"[0-9A-Z]{18}", "account_no": r"[0-9A-Za-z.-]{1,40}",
    "bank": r"[0-9A-Za-z_.-]{1,60}", "district": r"[0-9]{1,6}|[A-Z]{2}(-[A-Z0-9]{1,3})?",
}
_HINTS = {
    "rule": "a rule's name, like floor", "uscc": "18 digits and capitals", "account_no": "an account number",
    "bank": "a bank's name in the configuration", "district": "a code of GB/T 2260 or the beginning of one, like 5103",
}
_ALL = FeedFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedQuery:
    """What a reader asks for: `after` replays upwards, `before` pages downwards, neither means the newest.

    `filter` leaves entries out, never numbers: the page says for which it answers. A full page has `limit` entries that
    fit, so it may reach further than one without a filter.
    """

    format: Format
    lang: Lang = "zh"
    limit: int = LIMIT_DEFAULT
    after: int | None = None
    before: int | None = None
    filter: FeedFilter = _ALL

    def span(self, head: int) -> tuple[int, int]:
        """The numbers of this page without a filter, as (the one before the first, the last). The feed has no holes."""
        if self.after is not None:
            return self.after, max(self.after, min(self.after + self.limit, head))
        last = head if self.before is None else min(self.before - 1, head)
        return max(0, last - self.limit), last

    def page(self, *, home_url: str, span: tuple[int, int], full: bool, skipped: int = 0) -> Page:
        """The page's links. They depend on nothing but the query and what it holds, so a full page never changes."""
        below, last = span
        newest = self._url(home_url)
        if self.after is not None:
            return Page(
                title=TITLES[self.lang], author="escrow-monitor", home_url=home_url, covers_from=below + 1,
                covers_through=last, skipped=skipped,
                self_url=self._url(home_url, after=self.after), first_url=self._url(home_url, after=0),
                next_url=self._url(home_url, after=last) if full else None,
                previous_url=self._url(home_url, after=max(0, below - self.limit)) if below else None,
            )
        return Page(
            title=TITLES[self.lang], author="escrow-monitor", home_url=home_url, covers_from=below + 1,
            covers_through=last, skipped=skipped,
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
        asked |= self.filter.asked
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

    A page is known by its query and the numbers it holds (with a filter: by the head it was made at), so it is rendered
    once, and again only when the head moves. `entries(after, limit)` reads the records in ascending order, `head` says
    the newest number.
    """

    def __init__(
        self, *, head: Callable[[], Awaitable[int]], entries: Callable[[int, int], Sequence[FeedEntry]], home_url: str,
        pages_max: int = PAGES_MAX, bytes_max: int = PAGES_BYTES_MAX, scanned_max: int = SCANNED_MAX,
    ) -> None:
        self._head = head
        self._entries = entries
        self._home_url = home_url
        self._pages_max = pages_max
        self._bytes_max = bytes_max
        self._scanned_max = scanned_max
        self._pages: OrderedDict[_PageKey, Rendered] = OrderedDict()
        self._bytes = 0
        self._rendering: dict[_PageKey, asyncio.Task[Rendered]] = {}

    @property
    def kept(self) -> tuple[int, int]:
        """How many pages are kept, and their bytes."""
        return len(self._pages), self._bytes

    async def answer(self, request: Request, format: Format, *, only: FeedFilter = _ALL) -> Response:
        """Answer one request: 200 with the page or 304. `only` is what this reader may see at all.

        Raises Problem 400 and 403, DatabaseError.
        """
        query = parse_feed_query(format, request.scope["query_string"])
        if not only.is_empty:
            query = replace(query, filter=restricted(query.filter, only))
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
        head = await self._head()
        key = (query, query.span(head) if query.filter.is_empty else (0, head))
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
        if query.filter.is_empty:
            entries = self._read(*span)
            full, skipped = span[1] - span[0] == query.limit, 0
        else:
            head = span[1]
            entries, span = self._scan(query, head=head)
            # A page that ends before the head is done, whether or not it has all the entries it may have.
            full, skipped = span[1] < head, span[1] - span[0] - len(entries)
        if query.after is None:
            entries.reverse()
        page = query.page(home_url=self._home_url, span=span, full=full, skipped=skipped)
        render = atom_feed.atom if query.format == "atom" else json_feed_.json_feed
        body = render(entries, page=page, lang=query.lang)
        return Rendered(
            body=body,
            zipped=gzip.compress(body, GZIP_LEVEL, mtime=0) if len(body) >= GZIP_BYTES_MIN else None,
            etag=f"{span[1]}-{hashlib.sha256(body).hexdigest()[:16]}",
        )

    def _read(self, below: int, last: int) -> list[FeedEntry]:
        entries = list(self._entries(below, last - below)) if last > below else []
        if len(entries) != last - below:
            # The records promise numbers without a hole. A reader must not be told that all is there.
            log(__name__).error("web.feed_has_a_hole", after=below, last=last, found=len(entries))
            raise Problem(500, f"the feed lacks entries between {below + 1} and {last}: the records must be examined")
        return entries

    def _scan(self, query: FeedQuery, *, head: int) -> tuple[list[FeedEntry], tuple[int, int]]:
        """The entries that fit, ascending, and the numbers that were looked at to find them."""
        if query.after is not None:
            return self._scan_up(query, min(query.after, head), head)
        return self._scan_down(query, head if query.before is None else min(query.before - 1, head))

    def _scan_up(self, query: FeedQuery, below: int, head: int) -> tuple[list[FeedEntry], tuple[int, int]]:
        found: list[FeedEntry] = []
        last, end = below, min(head, below + self._scanned_max)
        while last < end:
            for entry in self._read(last, min(end, last + SCANNED_AT_ONCE)):
                last = entry.seq
                if query.filter.matches(entry):
                    found.append(entry)
                    if len(found) == query.limit:
                        return found, (below, last)
        return found, (below, last)

    def _scan_down(self, query: FeedQuery, last: int) -> tuple[list[FeedEntry], tuple[int, int]]:
        found: list[FeedEntry] = []
        below, end = last, max(0, last - self._scanned_max)
        while below > end:
            for entry in reversed(self._read(max(end, below - SCANNED_AT_ONCE), below)):
                below = entry.seq - 1
                if query.filter.matches(entry):
                    found.append(entry)
                    if len(found) == query.limit:
                        return found[::-1], (below, last)
        return found[::-1], (below, last)

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
        format=format, lang=cast("Lang", lang), filter=parse_feed_filter(asked),
        limit=_whole("limit", asked.get("limit"), low=1, high=LIMIT_MAX) or LIMIT_DEFAULT,
        after=_whole("after", asked.get("after"), low=0, high=SEQ_MAX),
        before=_whole("before", asked.get("before"), low=1, high=SEQ_MAX),
    )


def parse_feed_filter(asked: Mapping[str, str]) -> FeedFilter:
    """Read a filter by name. Raises Problem 400: what cannot be the name of anything would silently fit nothing."""
    wanted = {name: asked[name] for name in NAMES if name in asked}
    severity = wanted.get("severity")
    if severity is not None and severity not in set(Severity):
        raise Problem(400, f"severity is {', '.join(Severity)} (the least grave wanted), not {severity[:40]!r}")
    for name, shape in _SHAPES.items():
        if name in wanted and not re.fullmatch(shape, wanted[name], re.ASCII):
            raise Problem(400, f"{name} cannot be {wanted[name][:40]!r}: {_HINTS[name]}")
    return filter_of(wanted)


def restricted(asked: FeedFilter, only: FeedFilter) -> FeedFilter:
    """What a reader gets who may see only a part of the feed. Raises Problem 403 if that is none of what is asked."""
    both = asked.within(only)
    if both is not None and only.districts is not None and asked.district is not None and not any(
        code.startswith(asked.district) or asked.district.startswith(code) for code in only.districts
    ):
        raise Problem(403, f"this account reads the feed of the districts {', '.join(only.districts)} only")
    if both is None:
        allowed = " ".join(f"{name}={value}" for name, value in only.asked.items())
        raise Problem(403, f"this key reads the feed of {allowed} only")
    return both


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
