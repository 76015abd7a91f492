"""The pages and their addresses: who may see them, and what stands there when nothing can be said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Any, TypeVar

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.errors import DatabaseError
from escrow_monitor.logs import log
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.web.console import (
    alert,
    alerts,
    audit,
    cases,
    deliveries,
    imports,
    operations,
    pages,
    policies,
    reconcile,
    silences,
    subscriptions,
)
from escrow_monitor.web.console.institution import (
    CHART_DAYS,
    CHART_DAYS_MAX,
    STATE_WORDS,
    chart_json,
    institution_view,
)
from escrow_monitor.web.console.institutions import alarmed_institutions, export, filters_of, institutions_view
from escrow_monitor.web.console.sign_in import to_sign_in
from escrow_monitor.web.console.today import today
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.fresh import Fresh
from escrow_monitor.web.guard import SCOPE_READ, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who, scope_of

SHARED_VIEWS_MAX = 64
Answer = Callable[[Request, Who, Lang], Awaitable[Response]]
View = TypeVar("View")


KEPT_AS_LONG = 20
"""So many times as long as an answer is a view kept while nothing new is in the feed: five seconds."""


class Shared:
    """Views that all who ask the same within a moment share: a busy morning costs as much as a quiet one.

    A view is kept for a while, but not once something new is in the feed: what is published shows at once.
    """

    def __init__(self, ports: WebPorts) -> None:
        self._age_seconds_max = ports.answer_age_seconds_max * KEPT_AS_LONG
        self._head = Fresh(lambda: _head(ports), age_seconds_max=ports.answer_age_seconds_max)
        self._views: dict[Hashable, Fresh[Any]] = {}

    async def get(self, key: Hashable, ask: Callable[[], View]) -> View:
        """What `ask` says, now or a moment ago. The key names all that it depends on."""
        key = (key, await self._head.get())
        if key not in self._views:
            while len(self._views) >= SHARED_VIEWS_MAX:
                self._views.pop(next(iter(self._views)))
            self._views[key] = Fresh(ask, age_seconds_max=self._age_seconds_max)
        found: View = await self._views[key].get()
        return found


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """Every page that is to be read."""
    shared = Shared(ports)

    async def home(request: Request, who: Who, lang: Lang) -> Response:
        visible = scope_of(who)
        view = await shared.get(
            ("today", lang, visible), lambda: today(ports, lang=lang, now=ports.clock.now(), visible=visible)
        )
        return shown("today.html", request, lang, view.now, here="today", view=view)

    async def institutions(request: Request, who: Who, lang: Lang) -> Response:
        filters = filters_of(request.query_params, scope_of(who))
        standings = filters.asked.standing is not None
        among = None if filters.after else await shared.get(
            ("alarmed", standings), lambda: alarmed_institutions(ports, standings=standings)
        )
        view = await shared.get(
            ("institutions", filters), lambda: institutions_view(ports, filters, now=ports.clock.now(), among=among)
        )
        return shown("institutions.html", request, lang, view.now, here="institutions", view=view)

    async def institutions_csv(request: Request, who: Who, lang: Lang) -> Response:
        filters = filters_of(request.query_params, scope_of(who))
        name = f"institutions-{ports.clock.now().astimezone(ports.zone):%Y%m%d}.csv"
        return StreamingResponse(
            export(ports, filters, Words(lang)), media_type="text/csv; charset=utf-8",
            headers={"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'},
        )

    async def institution(request: Request, who: Who, lang: Lang) -> Response:
        uscc = request.path_params["uscc"]
        view = await run_in_threadpool(
            institution_view, ports, uscc, visible=scope_of(who), now=ports.clock.now()
        )
        if view is None:
            return pages.page(
                "not_found.html", lang, status=404, request=request, here="institutions", uscc=uscc[:40]
            )
        return shown(
            "institution.html", request, lang, view.now, here="institutions", view=view, state_words=STATE_WORDS
        )

    async def chart(request: Request, who: Who, lang: Lang) -> Response:
        uscc, days = request.path_params["uscc"], _days(request)
        found = await run_in_threadpool(
            chart_json, ports, uscc, visible=scope_of(who), now=ports.clock.now(), words=Words(lang), days=days
        )
        if found is None:
            raise Problem(404, f"no institution {uscc[:40]!r} is registered")
        return Response(orjson.dumps(found), media_type="application/json", headers={"Cache-Control": "no-store"})

    def shown(template: str, request: Request, lang: Lang, now: datetime, *, here: str, **values: Any) -> Response:
        return pages.page(
            template, lang, request=request, here=here, zone=ports.zone,
            when=pages.at_zone(Words(lang), now=now, zone=ports.zone), **values,
        )

    return [
        Route("/", _page(guard, home), methods=["GET"]),
        Route("/institutions", _page(guard, institutions), methods=["GET"]),
        Route("/institutions.csv", _page(guard, institutions_csv), methods=["GET"]),
        Route("/institutions/{uscc}", _page(guard, institution), methods=["GET"]),
        Route("/institutions/{uscc}/chart.json", _data(guard, chart), methods=["GET"]),
        *cases.routes(guard, ports), *reconcile.routes(guard, ports),
        *imports.routes(guard, ports), *policies.routes(guard, ports), *audit.routes(guard, ports),
        *operations.routes(guard, ports),
        *alerts.routes(guard, ports), *alert.routes(guard, ports), *silences.routes(guard, ports),
        *deliveries.routes(guard, ports), *subscriptions.routes(guard, ports),
    ]


def _page(guard: Guard, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """A page: a stranger is led to the sign-in, and while the records cannot be read it says just that."""

    async def found(request: Request) -> Response:
        lang = pages.lang_of(request)
        try:
            return await answer(request, await guard.require(request, SCOPE_READ), lang)
        except Problem as problem:
            if problem.status in (401, 403):
                return to_sign_in(request, lang)
            raise
        except DatabaseError as error:
            log(__name__).error("web.records_unreachable", path=request.url.path, detail=str(error))
            return pages.page("unreachable.html", lang, status=503)

    return found


def _data(guard: Guard, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """What a page fetches: refusals are problems."""

    async def found(request: Request) -> Response:
        return await answer(request, await guard.require(request, SCOPE_READ), pages.lang_of(request))

    return found


def _head(ports: WebPorts) -> int:
    with ports.database.read() as session:
        return RecordsAlertBook(session).head()


def _days(request: Request) -> int:
    text = request.query_params.get("days", str(CHART_DAYS))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= CHART_DAYS_MAX):
        raise Problem(400, f"days is a whole number from 1 to {CHART_DAYS_MAX}")
    return int(text)
