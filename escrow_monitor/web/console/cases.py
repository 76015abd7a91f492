"""Refund cases: the board by state with its clocks, and where the pages and forms of one case are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.attach_evidence import EVIDENCE_BYTES_MAX
from escrow_monitor.actions.show_case import shown_cases
from escrow_monitor.domain.dispute_clocks import DeadlineKind
from escrow_monitor.domain.dispute_words import CaseState
from escrow_monitor.domain.disputes import OPEN_STATES, Case
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.contracts import case_pages
from escrow_monitor.records.contracts.case_book import day_of
from escrow_monitor.records.contracts.case_pages import AskedCases, CasePlace
from escrow_monitor.records.institution_pages import districts
from escrow_monitor.web.console import case as one_case
from escrow_monitor.web.console import case_forms
from escrow_monitor.web.console.case import Clock, clocks_of, shown
from escrow_monitor.web.console.forms import seen, sent
from escrow_monitor.web.console.institutions import place_name
from escrow_monitor.web.guard import SCOPE_ANSWER, SCOPE_DECIDE, SCOPE_NOTE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

CARDS_A_STATE = 6
CARDS_A_PAGE = 30
TEXT_CHARACTERS_MAX = 100
FORM_ROOM_BYTES = 64 * 1024
"""What a form with a file may be longer than the file."""
ENDED = (CaseState.CLOSED, CaseState.WITHDRAWN)
_NAMES = ("q", "district", "uscc", "state", "after", "lang")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the address asks for; without a state it is the board."""

    asked: AskedCases
    state: CaseState | None
    after: CasePlace | None

    @property
    def is_open(self) -> bool:
        """True if nothing is filtered."""
        return not (self.asked.text or self.asked.district or self.asked.uscc)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardView:
    """One case on the board."""

    case: Case
    institution: str
    clocks: Sequence[Clock]

    @property
    def tone(self) -> str:
        """Its colour: red where money is late, orange where something is due within three days."""
        if any(one.is_over and one.deadline.kind is DeadlineKind.PAYMENT for one in self.clocks):
            return "red"
        return "orange" if any(not one.is_over and one.days <= 3 for one in self.clocks) else "calm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnView:
    """The cases of one state: how many, the first of them, and where all of them are."""

    state: CaseState
    count: int
    cards: Sequence[CardView]
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """Everything the board says; with a state it is a list of that state."""

    now: datetime
    today: date
    filters: Filters
    counts: Mapping[CaseState, int]
    columns: Sequence[ColumnView]
    ended: Sequence[ColumnView]
    districts: Sequence[tuple[str, Sentence | None]]
    only: str
    next_query: str | None
    board_query: str

    @property
    def open_count(self) -> int:
        """How many open cases fit."""
        return sum(count for state, count in self.counts.items() if state in OPEN_STATES)


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """The board, the cases and their forms."""

    async def board(request: Request, who: Who, lang: Lang) -> Response:
        filters = filters_of(request.query_params, who.visible)
        view = await run_in_threadpool(board_view, ports, filters, now=ports.clock.now())
        return shown("cases.html", request, lang, ports, view.now, view=view)

    async def case(request: Request, who: Who, lang: Lang) -> Response:
        return await one_case.case_page(request, who, lang, ports)

    async def document(request: Request, who: Who, lang: Lang) -> Response:
        return await one_case.document_page(request, who, lang, ports)

    def form(name: str, permission: str, do: case_forms.Do, bytes_max: int = 256 * 1024) -> Route:
        answer = partial(case_forms.done, ports=ports, name=name, do=do)
        return Route(
            f"/cases/{{case_no:path}}/{name}", sent(guard, ports, permission, answer, bytes_max=bytes_max),
            methods=["POST"],
        )

    return [
        Route("/cases", seen(guard, board), methods=["GET"]),
        form("moves", SCOPE_DECIDE, partial(case_forms.move, ports)),
        form("answers", SCOPE_ANSWER, partial(case_forms.answer, ports)),
        form("said-payments", SCOPE_ANSWER, case_forms.say_paid),
        form("notes", SCOPE_NOTE, case_forms.note),
        form("evidence", SCOPE_NOTE, case_forms.attach, EVIDENCE_BYTES_MAX + FORM_ROOM_BYTES),
        Route("/cases/{case_no:path}/evidence/{number:int}", seen(guard, document), methods=["GET"]),
        Route("/cases/{case_no:path}", seen(guard, case), methods=["GET"]),
    ]


def filters_of(query: QueryParams, visible: Visible) -> Filters:
    """Read the filters of an address. Raises Problem 400: a misspelt filter must not answer with everything."""
    for name in query:
        if name not in _NAMES:
            raise Problem(400, f"the list has no filter {name[:40]!r}: known are {', '.join(_NAMES[:-1])}")
    given = {name: query.get(name, "").strip() for name in _NAMES}
    if len(given["q"]) > TEXT_CHARACTERS_MAX or len(given["uscc"]) > TEXT_CHARACTERS_MAX:
        raise Problem(400, f"q and uscc are at most {TEXT_CHARACTERS_MAX} characters")
    district = given["district"]
    if district and not (district.isascii() and district.isdigit() and len(district) <= 6):
        raise Problem(400, "district is a code of up to six digits")
    if given["state"] and given["state"] not in set(CaseState):
        raise Problem(400, f"state is one of {', '.join(CaseState)}")
    state = CaseState(given["state"]) if given["state"] else None
    if given["after"] and state is None:
        raise Problem(400, "after goes with a state")
    return Filters(
        asked=AskedCases(
            text=given["q"] or None, district=district or None, uscc=given["uscc"] or None, visible=visible
        ),
        state=state, after=_place(given["after"]) if given["after"] else None,
    )


def board_view(ports: WebPorts, filters: Filters, *, now: datetime) -> BoardView:
    """Ask the records for the board, or for one page of a state. Raises DatabaseError."""
    today, state = day_of(now), filters.state
    with ports.database.read() as session:
        counts = case_pages.counts(session, filters.asked)
        if state is None:
            found = case_pages.oldest_of_each(session, filters.asked, limit=CARDS_A_STATE)
        else:
            found = {state: case_pages.page(
                session, filters.asked, state, after=filters.after, limit=CARDS_A_PAGE + 1
            )}
        more = state is not None and len(found[state]) > CARDS_A_PAGE
        if state is not None:
            found = {state: found[state][:CARDS_A_PAGE]}
        every = [one for several in found.values() for one in several]
        read = shown_cases(
            session, ports.policies, [one.record for one in every], on=today, visible=filters.asked.visible
        )
        only = institution(session, filters.asked.uscc) if filters.asked.uscc else None
        codes = districts(session, filters.asked.visible)
    cards = {
        one.case.case_no: CardView(case=one.case, institution=name.institution, clocks=clocks_of(one))
        for one, name in zip(read, every, strict=True)
    }
    kept = _query(filters)
    if only is not None and not filters.asked.visible.covers_institution(only):
        only = None

    def column(each: CaseState) -> ColumnView:
        return ColumnView(
            state=each, count=counts.get(each, 0), query=_join(kept | {"state": each.value}),
            cards=[cards[one.record.case.case_no] for one in found.get(each, ())],
        )

    return BoardView(
        now=now, today=today, filters=filters, counts=counts,
        columns=[column(each) for each in (OPEN_STATES if state is None else [state])],
        ended=[column(each) for each in ENDED],
        districts=[(code, place_name(code, ports.policies)) for code in codes],
        only="" if filters.asked.uscc is None else filters.asked.uscc if only is None else only.name,
        next_query=_join(kept | {"state": str(state), "after": _cursor(found[state][-1].place)})
        if state is not None and more else None,
        board_query=_join(kept),
    )


def _query(filters: Filters) -> dict[str, str]:
    asked = filters.asked
    found = {"q": asked.text, "district": asked.district, "uscc": asked.uscc}
    return {name: value for name, value in found.items() if value}


def _join(query: Mapping[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""


def _place(text: str) -> CasePlace:
    day, _, case_no = text.partition("~")
    try:
        return CasePlace(claimed_on=date.fromisoformat(day), case_no=case_no)
    except ValueError as error:
        raise Problem(400, "after is what the link to the next page says") from error


def _cursor(place: CasePlace) -> str:
    return f"{place.claimed_on.isoformat()}~{place.case_no}"
