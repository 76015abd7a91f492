"""Reconciliations by hand: started and followed, the bridge line by line, and open items matched and taken apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any
from urllib.parse import quote as quoted
from urllib.parse import urlencode

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.move_case import REASON_CHARACTERS_MAX
from escrow_monitor.actions.reconcile import Wanted, ask_reconciliation, make_match, undo_match
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.matching import BankLine, Break, Expected
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.errors import EscrowMonitorError, UsageError
from escrow_monitor.logs import log
from escrow_monitor.records.accounts import institution, institutions
from escrow_monitor.records.contracts.case_book import day_of
from escrow_monitor.records.database import Session
from escrow_monitor.records.matching.decisions import StoredMatch, match_of, matches_of
from escrow_monitor.records.reconciliation import pages as records
from escrow_monitor.records.reconciliation.pages import AskedNewest, NewestLine, OpenItems
from escrow_monitor.records.reconciliation.reconciliations import (
    AskedReconciliation,
    AskedState,
    StoredReconciliation,
    asked,
    by_numbers,
    history,
    newest,
)
from escrow_monitor.records.visible import may_see
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.actors import names_of, who_did
from escrow_monitor.web.console.forms import FormRefused, Sent, Wrong, done_once, once_token, see_other, seen, sent
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_DECIDE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

ROWS_A_PAGE = 30
ASKED_SHOWN = 8
RESULTS_SHOWN = 50
BRIDGES_SHOWN = 3
HISTORY_SHOWN = 20
SETTLES_SHOWN = 40
OPEN_SHOWN = 200
MATCHED_SHOWN = 15
CHOSEN_MAX = 50
TEXT_CHARACTERS_MAX = 100
_NAMES = ("q", "district", "only", "after", "lang")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the address of the list asks for."""

    asked: AskedNewest
    after: tuple[str, str]

    @property
    def is_open(self) -> bool:
        """True if nothing is filtered."""
        return not (self.asked.text or self.asked.district or self.asked.to_do)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedView:
    """Something that a person asked for, with the name of its institution."""

    asked: AskedReconciliation
    institution: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListView:
    """Everything that the first page says."""

    now: datetime
    today: date
    filters: Filters
    lines: Sequence[NewestLine]
    asked: Sequence[AskedView]
    next_query: str | None
    first_query: str
    may_decide: bool
    sees_everything: bool
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What was asked for and how far it is; what came out when it is done, the first of many."""

    now: datetime
    today: date
    one: AskedView
    results: Sequence[tuple[StoredReconciliation, str]]
    more: int
    names: Mapping[str, str]

    @property
    def is_over(self) -> bool:
        """Done or failed: nothing comes any more."""
        return self.one.asked.state in (AskedState.DONE, AskedState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An expected item that a line might be: `score` of its proposal, None where matching found it near."""

    expected: Expected
    difference_fen: int
    score: int | None
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """A line that a person has to settle."""

    line: BankLine
    candidates: Sequence[Candidate]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskView:
    """Everything that the page of one institution says."""

    now: datetime
    today: date
    institution: Institution
    bridges: Sequence[StoredReconciliation]
    runs: Sequence[StoredReconciliation]
    settles: Sequence[Settle]
    settles_more: int
    lines: Sequence[tuple[BankLine, Break]]
    items: Sequence[tuple[Expected, Break]]
    is_cut: bool
    matched: Sequence[StoredMatch]
    looked_for: str
    just_made: StoredMatch | None
    may_decide: bool
    names: Mapping[str, str]

    @property
    def forms(self) -> set[str]:
        """The forms that stand on the page by their names: what is refused of another is said above all of them."""
        found = {f"settle:{one.line.line_id}" for one in self.settles}
        found |= {f"undo:{one.match.line_ids[0]}" for one in self.matched}
        if self.lines or self.items:
            found.add("free")
        return found if self.just_made is None else {*found, "undo-made"}


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """The list, the runs, the desks and their forms."""

    async def overview(request: Request, who: Who, lang: Lang) -> Response:
        return await _overview(request, who, lang, ports)

    async def start(request: Request, form: Sent, lang: Lang) -> Response:
        return await _start(request, form, lang, ports)

    async def run(request: Request, who: Who, lang: Lang) -> Response:
        request_id = request.path_params["request_id"]
        view = await run_in_threadpool(run_view, ports, request_id, who.visible, now=ports.clock.now())
        if view is None:
            return _missing(request, lang, request_id)
        return _shown("reconcile_run.html", request, lang, ports, view.now, view=view)

    async def desk(request: Request, who: Who, lang: Lang) -> Response:
        return await _desk(request, who, lang, ports)

    async def past(request: Request, who: Who, lang: Lang) -> Response:
        uscc, number = request.path_params["uscc"], request.path_params["number"]
        found = await run_in_threadpool(_past, ports, uscc, number, who.visible)
        if found is None:
            return _missing(request, lang, uscc)
        now = ports.clock.now()
        return _shown(
            "reconcile_past.html", request, lang, ports, now, one=found[0], institution=found[1], today=day_of(now),
            names=found[2],
        )

    def form(name: str, do: Callable[[Session, Sent, str, datetime], str]) -> Route:
        async def answer(request: Request, form: Sent, lang: Lang) -> Response:
            return await _settled(request, form, lang, ports, name, do)

        return Route(f"/reconcile/{{uscc}}/{name}", sent(guard, ports, SCOPE_DECIDE, answer), methods=["POST"])

    return [
        Route("/reconcile", seen(guard, overview), methods=["GET"]),
        Route("/reconcile", sent(guard, ports, SCOPE_DECIDE, start), methods=["POST"]),
        Route("/reconcile/runs/{request_id}", seen(guard, run), methods=["GET"]),
        Route("/reconcile/{uscc}", seen(guard, desk), methods=["GET"]),
        Route("/reconcile/{uscc}/{number:int}", seen(guard, past), methods=["GET"]),
        form("matches", _match), form("undo", _undo),
    ]


# the list


def filters_of(query: QueryParams, visible: Visible) -> Filters:
    """Read the filters of an address. Raises Problem 400: a misspelt filter must not answer with everything."""
    for name in query:
        if name not in _NAMES:
            raise Problem(400, f"the list has no filter {name[:40]!r}: known are {', '.join(_NAMES[:-1])}")
    given = {name: query.get(name, "").strip() for name in _NAMES}
    if len(given["q"]) > TEXT_CHARACTERS_MAX or len(given["after"]) > TEXT_CHARACTERS_MAX:
        raise Problem(400, f"q is at most {TEXT_CHARACTERS_MAX} characters")
    district = given["district"]
    if district and not (district.isascii() and district.isdigit() and len(district) <= 6):
        raise Problem(400, "district is a code of up to six digits")
    if given["only"] not in ("", "to-do"):
        raise Problem(400, "only is to-do")
    uscc, _, currency = given["after"].partition(":")
    return Filters(after=(uscc, currency), asked=AskedNewest(
        text=given["q"] or None, district=district or None, to_do=given["only"] == "to-do", visible=visible
    ))


def list_view(ports: WebPorts, filters: Filters, who: Who, *, now: datetime) -> ListView:
    """Ask the records for one page of the list. Raises DatabaseError."""
    with ports.database.read() as session:
        lines = records.newest_lines(session, filters.asked, after=filters.after, limit=ROWS_A_PAGE + 1)
        recent = records.recently_asked(session, visible=who.visible, limit=ASKED_SHOWN)
        views = _named(session, recent)
        names = names_of(session, (one.actor for one in recent))
    kept = _query(filters.asked)
    shown = lines[:ROWS_A_PAGE]
    last = shown[-1].stored if shown else None
    return ListView(
        now=now, today=day_of(now), filters=filters, lines=shown, asked=views,
        next_query=_join(kept | {"after": f"{last.uscc}:{last.currency}"})
        if last is not None and len(lines) > ROWS_A_PAGE else None,
        first_query=_join(kept), may_decide=who.may(Permission.DECIDE), sees_everything=who.visible.is_everything,
        names=names,
    )


def _named(session: Session, found: Sequence[AskedReconciliation]) -> list[AskedView]:
    wanted = {one.uscc for one in found if one.uscc is not None}
    names = {one.uscc: one.name for one in institutions(session, usccs=wanted)} if wanted else {}
    return [
        AskedView(asked=one, institution="" if one.uscc is None else names.get(one.uscc, one.uscc)) for one in found
    ]


def _query(wanted: AskedNewest) -> dict[str, str]:
    found = {"q": wanted.text, "district": wanted.district, "only": "to-do" if wanted.to_do else None}
    return {name: value for name, value in found.items() if value}


def _join(query: Mapping[str, str]) -> str:
    return f"?{urlencode(query)}" if query else ""


async def _overview(
    request: Request, who: Who, lang: Lang, ports: WebPorts, wrong: Wrong | None = None
) -> Response:
    # What a refused form is answered with has no filters: its address is that of the form.
    filters = filters_of(request.query_params if request.method == "GET" else QueryParams(), who.visible)
    view = await run_in_threadpool(list_view, ports, filters, who, now=ports.clock.now())
    return _shown(
        "reconcile.html", request, lang, ports, view.now, view=view, wrong=wrong,
        status=200 if wrong is None else wrong.status,
    )


# starting one


async def _start(request: Request, form: Sent, lang: Lang, ports: WebPorts) -> Response:
    """Note what is wanted and go to its progress; it is done after the answer has gone out."""

    def work() -> str:
        now = ports.clock.now()
        with ports.database.write() as session:
            wanted = _wanted(session, form, now)
            return done_once(
                session, form, asked="reconcile", now=now,
                do=lambda: ask_reconciliation(session, wanted, actor=form.who.actor, now=now).request_id,
            )

    try:
        request_id = await run_in_threadpool(work)
    except FormRefused as refused:
        choices = refused.values.get("choices", ())
        return await _overview(request, form.who, lang, ports, Wrong(
            form="start", text=Words(lang)(refused.word, **refused.values), fields=form.fields,
            status=refused.status, choices=choices if isinstance(choices, list) else (),
        ))
    answer = see_other(f"/reconcile/runs/{request_id}")
    answer.background = BackgroundTask(_work, ports, request_id)
    return answer


def _wanted(session: Session, form: Sent, now: datetime) -> Wanted:
    day = _day(form.text("day"), now)
    uscc, text = form.text("uscc"), form.text("institution")
    if uscc and may_see(session, form.who.visible, uscc) and institution(session, uscc) is not None:
        return Wanted(uscc=uscc, day=day)
    if uscc:
        raise FormRefused("rec_none_fits", status=422, text=uscc[:40])
    if not text:
        if not form.who.visible.is_everything:
            raise FormRefused("rec_institution_needed", status=422)
        return Wanted(day=day, whole=bool(form.text("whole")))
    found = records.institutions_named(session, text[:TEXT_CHARACTERS_MAX], visible=form.who.visible)
    if not found:
        raise FormRefused("rec_none_fits", status=422, text=text[:40])
    if len(found) > 1:
        raise FormRefused("rec_choose", status=422, choices=found)
    return Wanted(uscc=found[0][0], day=day)


def _day(text: str, now: datetime) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise FormRefused("rec_day_wrong", status=422, text=text[:40]) from error
    if day > day_of(now):
        raise FormRefused("rec_day_to_come", status=422, day=day.isoformat())
    return day


def _work(ports: WebPorts, request_id: str) -> None:
    """Do it after the answer has gone out; where that fails it is recorded, and a round takes up what is left."""
    if ports.reconcile is None:
        return
    try:
        ports.reconcile(request_id)
    except EscrowMonitorError as error:
        log(__name__).error("web.reconciliation_failed", request_id=request_id, detail=str(error))


def run_view(ports: WebPorts, request_id: str, visible: Visible, *, now: datetime) -> RunView | None:
    """What was asked for under an id; None for what is not there, or not theirs to see."""
    with ports.database.read() as session:
        found = asked(session, request_id)
        if found is None or not may_see(session, visible, found.uscc):
            return None
        numbers = list((found.found or {}).get("reconciliations", ()))
        results = by_numbers(session, numbers) if numbers else []
        # What needs a person stands first.
        results.sort(key=lambda one: (not one.document["is_wrong"], one.uscc, one.currency))
        shown = results[:RESULTS_SHOWN]
        names = {one.uscc: one.name for one in institutions(session, usccs={each.uscc for each in shown})}
        [named] = _named(session, [found])
        called = names_of(session, [found.actor])
    return RunView(
        now=now, today=day_of(now), one=named, results=[(one, names.get(one.uscc, one.uscc)) for one in shown],
        more=len(results) - len(shown), names=called,
    )


def _past(
    ports: WebPorts, uscc: str, number: int, visible: Visible
) -> tuple[StoredReconciliation, Institution, Mapping[str, str]] | None:
    with ports.database.read() as session:
        holder = institution(session, uscc)
        found = by_numbers(session, [number]) if number < 1 << 53 else []
        names = names_of(session, (one.actor for one in found))
    if holder is None or not visible.covers_institution(holder) or not found or found[0].uscc != uscc:
        return None
    return found[0], holder, names


# one institution


def desk_view(
    ports: WebPorts, uscc: str, who: Who, *, now: datetime, looked_for: str = "", made: str = ""
) -> DeskView | None:
    """Ask the records everything the page shows; None for one that is not there, or not theirs to see."""
    with ports.database.read() as session:
        holder = institution(session, uscc)
        if holder is None or not who.visible.covers_institution(holder):
            return None
        open_now = records.open_items(session, uscc, limit=OPEN_SHOWN)
        matched = _looked_up(session, uscc, looked_for) if looked_for else matches_of(
            session, uscc, limit=MATCHED_SHOWN
        )
        just_made = match_of(session, line_id=made) if made else None
        bridges, runs = newest(session, uscc), history(session, uscc, limit=HISTORY_SHOWN)
        names = names_of(session, [*(one.actor for one in runs), *(one.made_by or "" for one in matched)])
    settles = settles_of(open_now)
    by_id = {one.item_id: one for one in open_now.breaks}
    return DeskView(
        now=now, today=day_of(now), institution=holder, bridges=bridges, runs=runs, settles=settles[:SETTLES_SHOWN],
        settles_more=max(0, len(settles) - SETTLES_SHOWN),
        lines=[(open_now.lines[key], one) for key, one in by_id.items() if key in open_now.lines],
        items=[(open_now.expected[key], one) for key, one in by_id.items() if key in open_now.expected],
        is_cut=OPEN_SHOWN in (len(open_now.lines), len(open_now.expected)), matched=matched, looked_for=looked_for,
        just_made=just_made if just_made is not None and just_made.lines[0].uscc == uscc else None,
        may_decide=who.may(Permission.DECIDE), names=names,
    )


def settles_of(found: OpenItems) -> list[Settle]:
    """Each open line with what it might be: proposals by their texts first, then what matching found near it."""
    near: dict[str, dict[str, Candidate]] = defaultdict(dict)

    def note(line_id: str, expected_id: str, score: int | None, kind: str) -> None:
        line, expected = found.lines.get(line_id), found.expected.get(expected_id)
        if line is not None and expected is not None:
            near[line_id].setdefault(expected_id, Candidate(
                expected=expected, difference_fen=line.amount_fen - expected.amount_fen, score=score, kind=kind
            ))

    for proposal in found.proposals:
        note(proposal.line_id, proposal.expected_id, proposal.score, "proposed")
    for one in found.breaks:
        for other in one.near:
            note(*((one.item_id, other) if one.is_line else (other, one.item_id)), None, one.kind.value)
    return [
        Settle(line=found.lines[one.item_id], candidates=sorted(
            near[one.item_id].values(),
            key=lambda each: (
                -(each.score or 0), abs(each.difference_fen), each.expected.on, each.expected.expected_id
            ),
        ))
        for one in found.breaks if one.is_line and near.get(one.item_id)
    ]


def _looked_up(session: Session, uscc: str, text: str) -> list[StoredMatch]:
    """The match of a line or an item, by its id or the number that people know."""
    for line_id, expected_id in (
        (text, None), (f"entry:{text}", None), (None, text), (None, f"charge:{text}"), (None, f"refund:{text}"),
    ):
        found = match_of(session, line_id=line_id, expected_id=expected_id)
        if found is not None and found.lines[0].uscc == uscc:
            return [found]
    return []


async def _desk(
    request: Request, who: Who, lang: Lang, ports: WebPorts, wrong: Wrong | None = None
) -> Response:
    uscc, asked_for = request.path_params["uscc"], request.query_params
    view = await run_in_threadpool(
        desk_view, ports, uscc, who, now=ports.clock.now(), made=asked_for.get("made", "")[:200],
        looked_for=asked_for.get("find", "").strip()[:TEXT_CHARACTERS_MAX],
    )
    if view is None:
        return _missing(request, lang, uscc)
    return _shown(
        "reconcile_desk.html", request, lang, ports, view.now, view=view, wrong=wrong,
        done="undo" if asked_for.get("done") == "undo" else "", open_max=OPEN_SHOWN,
        status=200 if wrong is None else wrong.status,
    )


def _shown(
    template: str, request: Request, lang: Lang, ports: WebPorts, now: datetime, *, status: int = 200, **values: Any
) -> Response:
    words = Words(lang)
    names = values["view"].names if "view" in values else values.pop("names")
    return pages.page(
        template, lang, status=status, request=request, here="reconcile", zone=ports.zone, once=once_token,
        when=pages.at_zone(words, now=now, zone=ports.zone), who_did=partial(who_did, words, names=names),
        plain_no=plain_no, **values,
    )


def plain_no(item_id: str) -> str:
    """The number that people know an item by: without what it is, and without which part of it."""
    return item_id.partition(":")[2] or item_id


def _missing(request: Request, lang: Lang, name: str) -> Response:
    return pages.page("reconcile_missing.html", lang, status=404, request=request, here="reconcile", name=name[:40])


# what forms do


async def _settled(
    request: Request, form: Sent, lang: Lang, ports: WebPorts, name: str,
    do: Callable[[Session, Sent, str, datetime], str],
) -> Response:
    """Match or take apart, once; what is refused is said beside the form, on the page as it is now."""
    uscc = request.path_params["uscc"]

    def work() -> str | None:
        now = ports.clock.now()
        with ports.database.write() as session:
            if institution(session, uscc) is None or not may_see(session, form.who.visible, uscc):
                return None
            return done_once(
                session, form, asked=f"{name} {uscc}\n{_told(form)}", now=now, do=lambda: do(session, form, uscc, now)
            )

    try:
        location = await run_in_threadpool(work)
    except FormRefused as refused:
        return await _desk(request, form.who, lang, ports, Wrong(
            form=form.text("form"), text=Words(lang)(refused.word, **refused.values), fields=form.fields,
            status=refused.status,
        ))
    return _missing(request, lang, uscc) if location is None else see_other(location)


def _told(form: Sent) -> str:
    return "\n".join(f"{name}={value}" for name in ("line", "item") for value in form.every.get(name, ()))


def _match(session: Session, form: Sent, uscc: str, now: datetime) -> str:
    lines, items = (sorted(set(form.every.get(name, ()))) for name in ("line", "item"))
    reason = _reason(form)
    if not lines or not items:
        raise FormRefused("rec_nothing_chosen", status=422)
    if len(lines) + len(items) > CHOSEN_MAX:
        raise FormRefused("rec_too_many", status=422, count=CHOSEN_MAX)
    worlds = records.owners(session, lines, items)
    # What is another institution's is answered like what is not there.
    if {owner for owner, _ in worlds} != {uscc} or records.not_open(session, lines, items):
        raise FormRefused("rec_not_open")
    if len(worlds) > 1:
        raise FormRefused("rec_two_worlds", status=422)
    try:
        made = make_match(session, lines, items, by=form.who.actor, reason=reason, now=now)
    except UsageError as error:
        raise FormRefused("rec_refused_other", detail=str(error)) from error
    return f"/reconcile/{quoted(uscc, safe='')}?{urlencode({'made': made.line_ids[0]})}"


def _undo(session: Session, form: Sent, uscc: str, now: datetime) -> str:
    line_id = form.text("item")
    reason = _reason(form)
    found = match_of(session, line_id=line_id)
    if found is None or found.lines[0].uscc != uscc:
        raise FormRefused("rec_not_matched")
    try:
        undo_match(session, found.match.line_ids[0], by=form.who.actor, reason=reason, now=now)
    except UsageError as error:
        raise FormRefused("rec_refused_other", detail=str(error)) from error
    return f"/reconcile/{quoted(uscc, safe='')}?done=undo"


def _reason(form: Sent) -> str:
    reason = form.text("reason")
    if not reason:
        raise FormRefused("rec_reason_needed", status=422)
    if len(reason) > REASON_CHARACTERS_MAX:
        raise FormRefused("rec_reason_long", status=422, count=REASON_CHARACTERS_MAX)
    return reason
