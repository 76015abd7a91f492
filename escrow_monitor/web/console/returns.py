"""The monthly return as a page: totals and districts to look at, all of it to take along."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.monthly_return import MONTH_SHAPE, Level, MonthlyReturn, ReturnRow, last_month
from escrow_monitor.actions.return_tables import FORMATS, header, pieces
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.web.console.forms import see_other
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.handed_out import OneAtATime, handed_out, spooled
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.returns import made_return, name_of
from escrow_monitor.web.who import Who

MONTHS_OFFERED = 12
INSTITUTIONS_SHOWN = 200
"""The worst of them; the file has all."""
_DISTRICT = re.compile(r"[0-9]{2,6}\Z", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ReturnPage:
    """Everything the page says."""

    found: MonthlyReturn
    header: Sequence[Sentence]
    totals: Sequence[ReturnRow]
    districts: Sequence[ReturnRow]
    institutions: Sequence[ReturnRow]
    institution_count: int


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """`/returns...`: of what somebody sees."""
    gate = Gate(guard, ports, here="returns", needs=Permission.READ)
    desk = _Desk(gate, ports)
    return [
        Route("/returns", gate.page(desk.months), methods=["GET"]),
        Route("/returns/{month}", gate.page(desk.month), methods=["GET"]),
        Route("/returns/{month}/file.{form}", gate.page(desk.file), methods=["GET"]),
    ]


class _Desk:
    """What the pages answer."""

    def __init__(self, gate: Gate, ports: WebPorts) -> None:
        self._gate, self._ports = gate, ports
        self._one = OneAtATime("return")

    async def months(self, request: Request, who: Who, lang: Lang) -> Response:
        """Which months there are to choose from. To make one takes a while, so none is made unasked."""
        month, district = request.query_params.get("month", ""), request.query_params.get("district", "").strip()
        if MONTH_SHAPE.match(month) and (not district or _DISTRICT.match(district)):
            return see_other(f"/returns/{month}" + (f"?district={district}" if district else ""))
        return self._gate.shown("returns.html", request, lang, page=None, **self._choice("", ""))

    async def month(self, request: Request, who: Who, lang: Lang) -> Response:
        """One month: whether it is complete, its totals, districts, and the institutions that fell short."""
        month, district = self._asked(request)
        found = await run_in_threadpool(
            made_return, self._ports, self._one, who, month=month, district=district or None
        )
        institutions = found.of(Level.INSTITUTION)
        worst = sorted(
            (row for row in institutions if row.counts.days_short or row.counts.accounts_unknown),
            key=lambda row: (-row.counts.days_short, -(row.shortfall or 0), row.uscc or ""),
        )
        page = ReturnPage(
            found=found, header=header(found, self._ports.zone), totals=found.of(Level.ALL),
            districts=found.of(Level.DISTRICT), institutions=worst[:INSTITUTIONS_SHOWN], institution_count=len(worst),
        )
        return self._gate.shown("returns.html", request, lang, page=page, **self._choice(month, district))

    async def file(self, request: Request, who: Who, lang: Lang) -> Response:
        """The whole return as a file."""
        form = request.path_params["form"]
        month, district = self._asked(request)
        if form not in FORMATS:
            raise Problem(404, f"a return is one of {', '.join(FORMATS)}")

        def make() -> Response:
            found = made_return(self._ports, self._one, who, month=month, district=district or None)
            file = spooled(pieces(found, form=form, depth="accounts", lang=lang, zone=self._ports.zone))
            return handed_out(file, name=name_of(found, form), media_type=FORMATS[form])

        return await run_in_threadpool(make)

    def _asked(self, request: Request) -> tuple[str, str]:
        month, district = request.path_params["month"], request.query_params.get("district", "").strip()
        if not MONTH_SHAPE.match(month):
            raise Problem(404, "a return is of a month such as 2026-10")
        if district and not _DISTRICT.match(district):
            raise Problem(400, "a district is the beginning of its code, such as 5103")
        return month, district

    def _choice(self, month: str, district: str) -> dict[str, Any]:
        today = self._ports.clock.now().astimezone(self._ports.zone).date()
        day, months = today.replace(day=1), []
        for _ in range(MONTHS_OFFERED):
            months.append(f"{day:%Y-%m}")
            day = (day - timedelta(days=1)).replace(day=1)
        if month and month not in months:
            months.append(month)
        chosen = month or last_month(self._ports.clock.now())
        return {"months": months, "month": chosen, "district": district, "forms": tuple(FORMATS)}
