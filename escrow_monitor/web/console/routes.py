"""The pages and their addresses: who may see them, and what stands there when nothing can be said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.web.console import (
    account,
    alert,
    alerts,
    api_keys,
    audit,
    cases,
    deliveries,
    imports,
    operations,
    packs,
    pages,
    policies,
    reconcile,
    returns,
    silences,
    subscriptions,
    users,
)
from escrow_monitor.web.console.forms import seen
from escrow_monitor.web.console.institution import (
    CHART_DAYS,
    CHART_DAYS_MAX,
    STATE_WORDS,
    chart_json,
    institution_view,
)
from escrow_monitor.web.console.institutions import filters_of, institutions_view
from escrow_monitor.web.console.shared import Shared
from escrow_monitor.web.console.tables import alerts as tables_of_alerts
from escrow_monitor.web.console.tables import money as tables_of_money
from escrow_monitor.web.console.tables import office as tables_of_office
from escrow_monitor.web.console.tables import table_routes
from escrow_monitor.web.console.today import known_today, today
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_READ, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who, scope_of
from escrow_monitor.web.works import Works

Answer = Callable[[Request, Who, Lang], Awaitable[Response]]


def routes(guard: Guard, ports: WebPorts, works: Works) -> list[BaseRoute]:
    """Every page that is to be read."""
    shared = Shared(ports)

    async def home(request: Request, who: Who, lang: Lang) -> Response:
        visible = scope_of(who)
        known = await known_today(shared)
        view = await shared.get(("today", lang, visible), lambda: today(
            ports, lang=lang, now=ports.clock.now(), visible=visible, known=known
        ))
        return shown("today.html", request, lang, view.now, here="today", view=view)

    async def institutions(request: Request, who: Who, lang: Lang) -> Response:
        filters = filters_of(request.query_params, scope_of(who))
        names = await shared.directory()
        moment = None if filters.after else await shared.open_now()
        view = await shared.get(("institutions", filters), lambda: institutions_view(
            ports, filters, now=ports.clock.now(), names=names,
            among=None if moment is None else moment.alarmed_by(filters.asked.visible),
        ))
        return shown("institutions.html", request, lang, view.now, here="institutions", view=view)

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
        Route("/", seen(guard, home), methods=["GET"]),
        Route("/institutions", seen(guard, institutions), methods=["GET"]),
        Route("/institutions/{uscc}", seen(guard, institution), methods=["GET"]),
        Route("/institutions/{uscc}/chart.json", _data(guard, chart), methods=["GET"]),
        *cases.routes(guard, ports), *reconcile.routes(guard, ports),
        *imports.routes(guard, ports, works), *policies.routes(guard, ports, works),
        *audit.routes(guard, ports, works), *operations.routes(guard, ports, shared),
        *alerts.routes(guard, ports, shared), *alert.routes(guard, ports), *silences.routes(guard, ports),
        *deliveries.routes(guard, ports, shared), *subscriptions.routes(guard, ports),
        *account.routes(guard, ports), *users.routes(guard, ports), *api_keys.routes(guard, ports),
        *returns.routes(guard, ports, works), *packs.routes(guard, ports),
        *table_routes(guard, ports, [
            *tables_of_money.tables(), *tables_of_alerts.tables(guard, ports), *tables_of_office.tables(guard, ports),
        ]),
    ]


def _data(guard: Guard, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """What a page fetches: refusals are problems."""

    async def found(request: Request) -> Response:
        return await answer(request, await guard.require(request, SCOPE_READ), pages.lang_of(request))

    return found


def _days(request: Request) -> int:
    text = request.query_params.get("days", str(CHART_DAYS))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= CHART_DAYS_MAX):
        raise Problem(400, f"days is a whole number from 1 to {CHART_DAYS_MAX}")
    return int(text)
