"""The button that takes the resolution pack of an institution."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.forms import Sent, sent
from escrow_monitor.web.guard import SCOPE_AUDIT, Guard
from escrow_monitor.web.handed_out import OneAtATime
from escrow_monitor.web.packs import taken_pack
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """`/institutions/{uscc}/pack`: a form, for it writes down who took it."""
    one = OneAtATime("pack")

    async def take(request: Request, form: Sent, lang: Lang) -> Response:
        uscc = request.path_params["uscc"]
        try:
            return await taken_pack(ports, one, form.who, uscc=uscc, lang=lang)
        except Problem as problem:
            if problem.status == 404:
                return pages.page(
                    "not_found.html", lang, status=404, request=request, here="institutions", uscc=uscc[:40]
                )
            raise

    return [Route("/institutions/{uscc}/pack", sent(guard, ports, SCOPE_AUDIT, take), methods=["POST"])]
