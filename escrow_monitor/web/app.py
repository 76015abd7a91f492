"""The web application: every route, who may use it, and what is shared between requests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from alerts.alert import FeedEntry
from alerts.feeds.events import server_sent
from alerts.feeds.filter import NAMES, FeedFilter
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.people import sessions
from escrow_monitor.web import api, health, problems
from escrow_monitor.web.api.taken import TakenOnly
from escrow_monitor.web.api.unchanged import Unchanged
from escrow_monitor.web.console import oidc, pages, sign_in
from escrow_monitor.web.console.problem_pages import problem_page
from escrow_monitor.web.console.routes import routes as console_routes
from escrow_monitor.web.events import EventHub
from escrow_monitor.web.feeds import SEQ_MAX, FeedPages, parse_feed_filter, restricted
from escrow_monitor.web.fresh import Fresh
from escrow_monitor.web.guard import SCOPE_FEED, SCOPE_METRICS, Credential, Guard
from escrow_monitor.web.headers import SecurityHeaders
from escrow_monitor.web.limits import Limits
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who, who_by_key, who_by_session
from escrow_monitor.web.works import Works

QUESTIONS_AT_ONCE_MAX = 10
"""Threads that ask the records: fewer than the database's connections, so none waits for one in vain."""
TURN_SECONDS = 0.001
"""How long a thread that only computes keeps the interpreter while others wait for it. A page gives it up at each of
its questions and waits so long to have it back: at Python's own 5 ms a count beside it made a page late by 0.4 s."""

STOP_SECONDS = 2

Answer = Callable[[Request], Awaitable[Response]]


def create_app(ports: WebPorts) -> FastAPI:
    """Build the application. Nothing is opened or asked until the first request.

    `app.state.events` is the hub of the event streams: call its `stop` before the server is to end.
    """
    guard = _guard(ports)
    head = Fresh(lambda: _head(ports), age_seconds_max=ports.answer_age_seconds_max)

    def entries(after: int, limit: int) -> Sequence[FeedEntry]:
        with ports.database.read() as session:
            return RecordsAlertBook(session).entries(after=after, limit=limit)

    feeds = FeedPages(head=head.get, entries=entries, home_url=ports.home_url)
    hub = EventHub(
        head=head.get, entries=entries, render=lambda entry: server_sent(entry, home_url=ports.home_url),
        streams_max=ports.streams_max, beat_seconds=ports.beat_seconds,
    )
    works = Works(ports.database, now=ports.people_now)
    app = FastAPI(
        title="escrow-monitor", version=api.VERSION, openapi_url=None, docs_url=None, redoc_url=None,
        lifespan=_lifespan, redirect_slashes=False,
        middleware=[
            Middleware(SecurityHeaders), Middleware(_Gzip, minimum_size=1_000, compresslevel=5), Middleware(Unchanged),
            Middleware(TakenOnly),
        ],
        routes=[
            *_feed_routes(guard, feeds, hub), *_metrics_routes(guard, ports), *console_routes(guard, ports, works),
            *health.routes(ports), *sign_in.routes(guard, ports), *oidc.routes(guard, ports),
            *pages.routes(),
        ],
    )
    app.state.events, app.state.works = hub, works
    app.include_router(api.router(guard, ports, works))
    problems.install(app, problem_page(guard, ports))
    return app


class _Gzip(GZipMiddleware):
    """Compresses what is large, but for the feeds: their pages are kept compressed, and this would cost a fifth."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app if scope.get("path", "").startswith("/feeds/") else super().__call__
        await app(scope, receive, send)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = QUESTIONS_AT_ONCE_MAX
    sys.setswitchinterval(TURN_SECONDS)
    yield
    app.state.events.stop()
    # A database that is locked must not hold up the stop: whoever looks later sees that this process is gone.
    with anyio.move_on_after(STOP_SECONDS):
        await anyio.to_thread.run_sync(app.state.works.close, abandon_on_cancel=True)


def _feed_routes(guard: Guard, feeds: FeedPages, hub: EventHub) -> list[BaseRoute]:
    async def atom(request: Request) -> Response:
        key = await guard.require(request, SCOPE_FEED, basic=True)
        return await feeds.answer(request, "atom", only=key.only)

    async def json(request: Request) -> Response:
        key = await guard.require(request, SCOPE_FEED, basic=True)
        return await feeds.answer(request, "json", only=key.only)

    async def events(request: Request) -> Response:
        key = await guard.require(request, SCOPE_FEED)
        only = restricted(_stream_filter(request), key.only)

        async def allowed() -> bool:
            try:
                await guard.require(request, SCOPE_FEED)
            except Problem:
                return False
            return True

        return await hub.open(after=_replay_from(request), allowed=allowed, only=only)

    return [
        Route("/feeds/alerts.json", json), Route("/feeds/alerts.atom", atom), Route("/feeds/alerts/events", events),
    ]


def _metrics_routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    async def metrics(request: Request) -> Response:
        who = await guard.require(request, SCOPE_METRICS, basic=True)
        who.check_sees_everything(what="the metrics")
        body, content_type = await run_in_threadpool(ports.metrics.render, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return [Route("/metrics", metrics)]


def _replay_from(request: Request) -> int | None:
    """The number after which a stream goes on: the browser's `Last-Event-ID`, or `?after=` for the first time."""
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= SEQ_MAX):
        raise Problem(400, f"Last-Event-ID is the number of a feed entry, not {text[:40]!r}")
    return int(text)


def _stream_filter(request: Request) -> FeedFilter:
    """What a stream is to carry. A misspelt name must not answer with everything."""
    for name in request.query_params:
        if name not in ("after", *NAMES):
            raise Problem(400, f"the stream has no parameter {name[:40]!r}: known are after, {', '.join(NAMES)}")
    return parse_feed_filter(request.query_params)


def _guard(ports: WebPorts) -> Guard:
    def find(credential: Credential) -> Who | None:
        with ports.database.read() as session:
            if not credential.is_session:
                return who_by_key(session, credential.secret, now=ports.clock.now())
            return who_by_session(session, credential.secret, now=ports.people_now(), keys_at=ports.clock.now())

    def seen(session_id: str) -> None:
        with ports.database.write() as session:
            sessions.seen(session, session_id, now=ports.people_now())

    return Guard(
        find=find, seen=seen, now=ports.people_now, home_url=ports.home_url,
        age_seconds_max=ports.answer_age_seconds_max, limits=Limits(ports.rates),
    )


def _head(ports: WebPorts) -> int:
    with ports.database.read() as session:
        return RecordsAlertBook(session).head()
