"""Tables to take along: each list of the console as CSV and as a workbook, all of its rows, for who may see the page.

    GET /alerts.csv?severity=red    what /alerts?severity=red shows, without an end of the page
    GET /alerts.xlsx?severity=red   the same for Excel

Rows are asked for piece by piece while they are sent: nothing is held open for a slow reader, and memory is that of a
piece. Every table that is taken is in the log; one that tells of families is in the audit record as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.table_export import (
    CSV_TYPE,
    XLSX_TYPE,
    ExportTable,
    Row,
    csv_pieces,
    file_name,
    xlsx_pieces,
)
from escrow_monitor.logs import log
from escrow_monitor.records.evidence import audit
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.forms import seen
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who

ROWS_A_PIECE = 500
"""So many rows are asked of the records at once."""
ASKED_CHARACTERS_MAX = 300
FORMS = {"csv": (csv_pieces, CSV_TYPE), "xlsx": (xlsx_pieces, XLSX_TYPE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks for a table, and how: its request has the filters of the page."""

    request: Request
    who: Who
    lang: Lang
    ports: WebPorts
    now: datetime

    @property
    def words(self) -> Words:
        """The words of the reader's language."""
        return Words(self.lang)


Place = TypeVar("Place")
Found = TypeVar("Found")
Rows = Callable[[Asked], Iterable[Row] | None]
"""Reads the filters at once (Problem 400 for a misspelt one), then gives the rows; None: not there, or not theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One table: where its page is, what it has, and who may (`gate` None: whoever may read).

    `about` is the part of the path that names whose it is. `personal`: it tells of families. `gone` is where to go back
    to where there is no table any more; without it what is not there is an institution.
    """

    path: str
    table: ExportTable
    rows: Rows
    gate: Gate | None = None
    about: str = ""
    personal: bool = False
    gone: str = ""


def table_routes(guard: Guard, ports: WebPorts, tables: Iterable[Taken]) -> list[BaseRoute]:
    """`PATH.csv` and `PATH.xlsx` of each."""

    def route(one: Taken, form: str) -> Route:
        async def answer(request: Request, who: Who, lang: Lang) -> Response:
            asked = Asked(request=request, who=who, lang=lang, ports=ports, now=ports.clock.now())
            return await take(asked, one, form)

        endpoint = seen(guard, answer) if one.gate is None else one.gate.page(answer)
        return Route(f"{one.path}.{form}", endpoint, methods=["GET"])

    return [route(one, form) for one in tables for form in FORMS]


async def take(asked: Asked, one: Taken, form: str) -> Response:
    """The table as a file, its first piece asked for before anything is answered: what fails then is still a page."""
    about = str(asked.request.path_params.get(one.about, ""))
    rows = await run_in_threadpool(one.rows, asked)
    if rows is None and one.gate is not None and one.gone:
        return one.gate.shown("work_gone.html", asked.request, asked.lang, status=404, back=one.gone)
    if rows is None:
        uscc = about or asked.request.query_params.get("uscc", "")
        return pages.page("not_found.html", asked.lang, status=404, request=asked.request, here="", uscc=uscc[:40])
    await run_in_threadpool(_note, asked, one, form, about)
    write, media_type = FORMS[form]
    pieces = write(one.table, rows, lang=asked.lang, zone=asked.ports.zone)
    first = await run_in_threadpool(next, pieces, b"")
    name = file_name(one.table, form, asked.now.astimezone(asked.ports.zone).date(), about)
    return StreamingResponse(chain([first], pieces), media_type=media_type, headers={
        "Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"',
    })


def piecewise(
    ask: Callable[[Place | None], tuple[list[Found], Place | None]], row: Callable[[Found], Row]
) -> Iterator[Row]:
    """The rows of all pieces: `ask` gives those behind a place (None: from the beginning on) and where to go on."""
    place: Place | None = None
    while True:
        found, place = ask(place)
        yield from map(row, found)
        if place is None:
            return


def _note(asked: Asked, one: Taken, form: str, about: str) -> None:
    told = {
        "table": one.table.name, "form": form, "about": about, "asked": asked.request.url.query[:ASKED_CHARACTERS_MAX],
    }
    log(__name__).info("web.table_taken", who=asked.who.actor, **told)
    if one.personal:
        with asked.ports.database.write() as session:
            audit.append(
                session, kind="table.taken", actor=asked.who.actor, now=asked.ports.people_now(), payload=told
            )
