"""The monthly return as a page: totals and districts to look at, all of it to take along.

To make one takes seconds where there are many accounts: it is long work, and its page shows the newest that was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.monthly_return import (
    MONTH_SHAPE,
    AskedReturn,
    Level,
    MonthlyReturn,
    ReturnRow,
    last_month,
    monthly_return,
)
from escrow_monitor.actions.return_tables import FORMATS, header, pieces
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.visibility import DISTRICT_SHAPE
from escrow_monitor.web.console.forms import Sent, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.guard import SCOPE_READ, Guard
from escrow_monitor.web.handed_out import OneAtATime, handed_out, spooled
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.returns import made_return, name_of
from escrow_monitor.web.who import Who
from escrow_monitor.web.works import Kind, Progress, TooMuchWork, Work, Works, WorkState

MONTHS_OFFERED = 12
INSTITUTIONS_SHOWN = 200
"""The worst of them; the file has all."""


@dataclass(frozen=True, kw_only=True)
class ReturnShown:
    """Everything the page says of a return that was made."""

    generated_at: datetime
    complete: bool
    header: tuple[Sentence, ...]
    totals: tuple[ReturnRow, ...]
    districts: tuple[ReturnRow, ...]
    institutions: tuple[ReturnRow, ...]
    institution_count: int


RETURN: Kind[ReturnShown] = Kind(name="return", shape=ReturnShown, running_max=1)
MINE_MAX = 20


def routes(guard: Guard, ports: WebPorts, works: Works) -> list[BaseRoute]:
    """`/returns...`: of what somebody sees."""
    gate = Gate(guard, ports, here="returns", needs=Permission.READ)
    desk = _Desk(gate, ports, works)
    return [
        Route("/returns", gate.page(desk.months), methods=["GET"]),
        Route("/returns/{month}", gate.page(desk.month), methods=["GET"]),
        Route("/returns/{month}", sent(guard, ports, SCOPE_READ, desk.make), methods=["POST"]),
        Route("/returns/{month}/file.{form}", gate.page(desk.file), methods=["GET"]),
    ]


class _Desk:
    """What the pages answer."""

    def __init__(self, gate: Gate, ports: WebPorts, works: Works) -> None:
        self._gate, self._ports, self._works = gate, ports, works
        self._one = OneAtATime("return")

    async def months(self, request: Request, who: Who, lang: Lang) -> Response:
        """Which months there are to choose from. To make one takes a while, so none is made unasked."""
        month, district = request.query_params.get("month", ""), request.query_params.get("district", "").strip()
        if MONTH_SHAPE.match(month) and (not district or DISTRICT_SHAPE.match(district)):
            return see_other(_address(month, district))
        return self._gate.shown("returns.html", request, lang, page=None, work=None, **self._choice("", ""))

    async def month(self, request: Request, who: Who, lang: Lang) -> Response:
        """One month: whether it is complete, its totals, districts, and the institutions that fell short."""
        month, district = self._asked(request, request.query_params.get("district", ""))
        work = await run_in_threadpool(self._newest, who, _asked_of(who, month, district))
        return self._gate.shown(
            "returns.html", request, lang, page=None if work is None else work.result, work=work,
            **self._choice(month, district),
        )

    async def make(self, request: Request, form: Sent, lang: Lang) -> Response:
        """Begin to make one, and go to where it is watched."""
        month, district = self._asked(request, form.text("district"))
        asked = AskedReturn(month=month, district=district or None, visible=form.who.visible)

        def make(progress: Progress) -> ReturnShown:
            with self._ports.database.read() as session:
                return self._shown(monthly_return(
                    session, asked, policies=self._ports.policies, now=self._ports.clock.now(), progress=progress
                ))

        def begin() -> Work[ReturnShown]:
            return self._works.begin(
                make, kind=RETURN, owner=form.who.actor, subject=month, asked=_asked_of(form.who, month, district)
            )

        try:
            await run_in_threadpool(begin)
        except TooMuchWork as error:
            raise Problem(503, "returns are being made already: try again shortly") from error
        return see_other(_address(month, district))

    async def file(self, request: Request, who: Who, lang: Lang) -> Response:
        """The whole return as a file."""
        form = request.path_params["form"]
        month, district = self._asked(request, request.query_params.get("district", ""))
        if form not in FORMATS:
            raise Problem(404, f"a return is one of {', '.join(FORMATS)}")

        def make() -> Response:
            found = made_return(self._ports, self._one, who, month=month, district=district or None)
            file = spooled(pieces(found, form=form, depth="accounts", lang=lang, zone=self._ports.zone))
            return handed_out(file, name=name_of(found, form), media_type=FORMATS[form])

        return await run_in_threadpool(make)

    def _newest(self, who: Who, asked: dict[str, Any]) -> Work[ReturnShown] | None:
        """What they last had made of this; with its result once it is done."""
        mine = self._works.newest(kind=RETURN, owner=who.actor, limit=MINE_MAX)
        found = next((one for one in mine if one.asked == asked), None)
        if found is None or found.state is not WorkState.DONE:
            return found
        return self._works.of(found.work_id, kind=RETURN, owner=who.actor)

    def _shown(self, found: MonthlyReturn) -> ReturnShown:
        worst = sorted(
            (row for row in found.of(Level.INSTITUTION) if row.counts.days_short or row.counts.accounts_unknown),
            key=lambda row: (-row.counts.days_short, -(row.shortfall or 0), row.uscc or ""),
        )
        return ReturnShown(
            generated_at=found.generated_at, complete=found.complete, header=tuple(header(found, self._ports.zone)),
            totals=tuple(found.of(Level.ALL)), districts=tuple(found.of(Level.DISTRICT)),
            institutions=tuple(worst[:INSTITUTIONS_SHOWN]), institution_count=len(worst),
        )

    def _asked(self, request: Request, district: str) -> tuple[str, str]:
        month, district = request.path_params["month"], district.strip()
        if not MONTH_SHAPE.match(month):
            raise Problem(404, "a return is of a month such as 2026-10")
        if f"{self._ports.clock.now().astimezone(self._ports.zone):%Y-%m}" < month:
            raise Problem(404, f"{month} has not begun: there is nothing to return yet")
        if district and not DISTRICT_SHAPE.match(district):
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
        return {
            "months": months, "month": chosen, "here_month": bool(month), "district": district, "forms": tuple(FORMATS),
        }


def _address(month: str, district: str) -> str:
    return f"/returns/{month}" + (f"?district={district}" if district else "")


def _asked_of(who: Who, month: str, district: str) -> dict[str, Any]:
    """What a return is of: another part of the register is another return."""
    districts = None if who.districts is None else list(who.districts)
    return {"month": month, "district": district, "districts": districts, "uscc": who.uscc}
