"""Refund cases: the board by state with its clocks, and one case with its sum, its evidence and what can be done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from urllib.parse import quote as quoted
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.decisions import person
from alerts.feeds.item import Lang
from escrow_monitor.actions.attach_evidence import EVIDENCE_BYTES_MAX, FILENAME_CHARACTERS_MAX, attach_evidence_in
from escrow_monitor.actions.move_case import REASON_CHARACTERS_MAX, CaseUnknown, MoveRefused, move_case_in
from escrow_monitor.actions.note_case import NOTE_CHARACTERS_MAX, note_case_in
from escrow_monitor.actions.show_case import CaseHistory, CaseShown, show_case, shown_cases
from escrow_monitor.domain import dispute_words, refund_words
from escrow_monitor.domain.contracts import Contract
from escrow_monitor.domain.dispute_clocks import Deadline, DeadlineKind
from escrow_monitor.domain.dispute_words import CaseState, Move, RefusedReason, Role
from escrow_monitor.domain.disputes import OPEN_STATES, Case, Refused, Wish, decide, open_moves, role_for
from escrow_monitor.domain.entitlement import Impossible
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.errors import DatabaseError, EscrowMonitorError
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.contracts import case_book, case_pages
from escrow_monitor.records.contracts.case_book import day_of
from escrow_monitor.records.contracts.case_pages import AskedCases, CasePlace
from escrow_monitor.records.contracts.contracts import contract
from escrow_monitor.records.database import Session
from escrow_monitor.records.documents import raw_document
from escrow_monitor.records.institution_pages import districts
from escrow_monitor.records.people import users
from escrow_monitor.records.visible import may_see
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.forms import FormRefused, Sent, done_once, once_token, see_other, seen, sent
from escrow_monitor.web.console.institutions import place_name
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import SCOPE_DECIDE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

CARDS_A_STATE = 6
CARDS_A_PAGE = 30
TEXT_CHARACTERS_MAX = 100
EVIDENCE_MIB_MAX = EVIDENCE_BYTES_MAX // 1024 // 1024
FORM_ROOM_BYTES = 64 * 1024
"""What a form with a file may be longer than the file."""
ENDED = (CaseState.CLOSED, CaseState.WITHDRAWN)
SECOND_MOVES = frozenset({Move.CONFIRM, Move.REJECT})
ORDER = (
    Move.CONFIRM, Move.REJECT, Move.QUOTE, Move.GATHER, Move.ACCEPT, Move.ORDER, Move.PROPOSE, Move.CLOSE, Move.CONTEST,
    Move.SETTLE, Move.WITHDRAW,
)
"""In this order moves are offered: what waits first, what ends a case last."""
SHOWN_AS_THEY_ARE = frozenset({"application/pdf", "image/png", "image/jpeg"})
TAKES_AMOUNT: Mapping[Move, bool] = {Move.ACCEPT: False, Move.CONTEST: False, Move.SETTLE: True, Move.PROPOSE: True}
"""The moves with an amount, and whether it must be there."""
_NAMES = ("q", "district", "uscc", "state", "after", "lang")
_DONE = re.compile(r"(move|note|evidence)-([0-9]{1,6})\Z", re.ASCII)


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
class Clock:
    """A deadline as it is read: `days` that are left, below zero how many it is over."""

    deadline: Deadline
    days: int
    is_over: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveView:
    """A move that this person may make now, with what its form begins with."""

    move: Move
    roles: Sequence[Role]
    amount: str | None
    amount_needed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HappenedView:
    """One thing that happened, as the timeline has it. `moved` for a move, else the word that names it."""

    anchor: str
    at: datetime
    by: str
    moved: case_book.CaseMove | None = None
    word: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    text: Sentence | str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """Everything the page of a case says."""

    now: datetime
    today: date
    history: CaseHistory
    institution: Institution | None
    contract: Contract | None
    clocks: Sequence[Clock]
    moves: Sequence[MoveView]
    not_yet: Sequence[Refused]
    own_ruling: bool
    second_needed: bool
    may_decide: bool
    happened: Sequence[HappenedView]
    names: Mapping[str, str]

    @property
    def case(self) -> Case:
        """The case itself."""
        return self.history.shown.case

    @property
    def quote(self) -> Quote | None:
        """What is due today, None where it cannot be computed."""
        found = self.history.shown.facts.quote
        return found if isinstance(found, Quote) else None

    @property
    def impossible(self) -> Impossible | None:
        """Why nothing can be computed."""
        found = self.history.shown.facts.quote
        return found if isinstance(found, Impossible) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is said beside the form that was refused, and what was in it."""

    form: str
    text: str
    fields: Mapping[str, str]
    status: int


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """The board, the cases and their forms."""

    async def board(request: Request, who: Who, lang: Lang) -> Response:
        filters = filters_of(request.query_params, who.visible)
        view = await run_in_threadpool(board_view, ports, filters, now=ports.clock.now())
        return _shown("cases.html", request, lang, ports, view.now, view=view)

    async def case(request: Request, who: Who, lang: Lang) -> Response:
        return await _case_page(request, who, lang, ports)

    async def document(request: Request, who: Who, lang: Lang) -> Response:
        found = await run_in_threadpool(
            _document, ports, request.path_params["case_no"], request.path_params["number"], who.visible
        )
        return _missing(request, lang, request.path_params["case_no"]) if found is None else found

    def form(
        name: str, do: Callable[[Session, Sent, str, datetime], str], bytes_max: int = 256 * 1024
    ) -> Route:
        async def answer(request: Request, form: Sent, lang: Lang) -> Response:
            return await _done(request, form, lang, ports, name, do)

        return Route(
            f"/cases/{{case_no:path}}/{name}", sent(guard, ports, SCOPE_DECIDE, answer, bytes_max=bytes_max),
            methods=["POST"],
        )

    return [
        Route("/cases", seen(guard, board), methods=["GET"]),
        form("moves", partial(_move, ports)), form("notes", _note),
        form("evidence", _attach, EVIDENCE_BYTES_MAX + FORM_ROOM_BYTES),
        Route("/cases/{case_no:path}/evidence/{number:int}", seen(guard, document), methods=["GET"]),
        Route("/cases/{case_no:path}", seen(guard, case), methods=["GET"]),
    ]


# the board


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
        shown = shown_cases(session, ports.policies, [one.record for one in every], on=today)
        only = institution(session, filters.asked.uscc) if filters.asked.uscc else None
        codes = districts(session, filters.asked.visible)
    cards = {
        one.case.case_no: CardView(case=one.case, institution=name.institution, clocks=_clocks(one))
        for one, name in zip(shown, every, strict=True)
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


def _clocks(shown: CaseShown) -> list[Clock]:
    return [
        Clock(deadline=one, days=(one.last_day - shown.on).days, is_over=one.passed(shown.on)) for one in shown.running
    ]


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


# one case


def case_view(ports: WebPorts, case_no: str, who: Who, *, now: datetime) -> CaseView | None:
    """Ask the records everything the page shows; None for one that is not there, or not theirs to see."""
    try:
        history = show_case(ports.database, ports.policies, case_no=case_no, now=now, visible=who.visible)
    except CaseUnknown:
        return None
    case = history.shown.case
    with ports.database.read() as session:
        holder = institution(session, case.uscc)
        signed = contract(session, case.contract_no)
        names = names_of(session, [
            *(one.actor for several in (history.moves, history.notes, history.evidence, history.quotes)
              for one in several), *([] if case.proposal is None else [case.proposal.by]),
        ])
    moves, not_yet = _moves(history, who) if who.may(Permission.DECIDE) else ([], [])
    is_own = any(one.reason is RefusedReason.OWN_RULING for one in not_yet)
    return CaseView(
        now=now, today=day_of(now), history=history, institution=holder, contract=signed,
        clocks=_clocks(history.shown), moves=moves, may_decide=who.may(Permission.DECIDE),
        not_yet=[one for one in not_yet if one.reason is not RefusedReason.OWN_RULING], own_ruling=is_own,
        second_needed=case.proposal is not None and who.may(Permission.DECIDE) and not who.may(Permission.CONFIRM),
        happened=_happened(history), names=names,
    )


def _moves(history: CaseHistory, who: Who) -> tuple[list[MoveView], list[Refused]]:
    """The moves that this person may make now, and why others that lead on from here may not be made yet."""
    case, found, not_yet = history.shown.case, [], []
    quote = history.shown.facts.quote
    for move in sorted(open_moves(case), key=ORDER.index):
        if move in SECOND_MOVES and (case.proposal is None or not who.may(Permission.CONFIRM)):
            continue
        tried = _tried(case, move, who.actor)
        if isinstance(tried, Refused):
            not_yet.append(tried)
            continue
        needed = TAKES_AMOUNT.get(move)
        begin = quote.refund.text if move is Move.PROPOSE and isinstance(quote, Quote) else ""
        roles = (Role.INSTITUTION, Role.FAMILY) if move is Move.CONTEST else ()
        found.append(MoveView(
            move=move, roles=roles, amount=None if needed is None else begin, amount_needed=bool(needed)
        ))
    # Both answers to a ruling of one's own are refused for the same reason: it is said once.
    return found, list({(one.reason, one.why_en): one for one in not_yet}.values())


def _tried(case: Case, move: Move, actor: str) -> object:
    """What becomes of a move with the amount that fits best, if anybody made it now."""
    amount = None
    if move is Move.QUOTE or TAKES_AMOUNT.get(move):
        amount = case.top or case.agreed
    return decide(case, Wish(
        move=move, actor=actor, role=role_for(move) or (Role.FAMILY if move is Move.CONTEST else Role.STAFF),
        reason="-", amount=amount,
    ))


def _happened(history: CaseHistory) -> list[HappenedView]:
    """All that was done, newest first."""
    found = [
        HappenedView(anchor=f"move-{one.move_no}", at=one.moved_at, by=one.actor, moved=one, text=_reason_of(one))
        for one in history.moves
    ]
    found += [
        HappenedView(anchor=f"note-{one.note_no}", at=one.noted_at, by=one.actor, word="case_note", text=one.text)
        for one in history.notes
    ]
    found += [
        HappenedView(
            anchor=f"evidence-{one.evidence_no}", at=one.attached_at, by=one.actor, word="case_attached",
            values={"name": one.filename}, text=one.note,
        )
        for one in history.evidence
    ]
    return sorted(found, key=lambda one: one.at)[::-1]


def _reason_of(move: case_book.CaseMove) -> Sentence | str:
    """Why a move was made; what the program says of its own moves is there in both languages."""
    zh, both, en = move.reason.partition(" / ")
    return Sentence(zh=zh, en=en) if both and move.role is Role.SYSTEM else move.reason


async def _case_page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, wrong: Wrong | None = None
) -> Response:
    case_no = request.path_params["case_no"]
    view = await run_in_threadpool(case_view, ports, case_no, who, now=ports.clock.now())
    if view is None:
        return _missing(request, lang, case_no)
    return _shown(
        "case.html", request, lang, ports, view.now, view=view, wrong=wrong, done=_done_of(request, view),
        status=200 if wrong is None else wrong.status, once=once_token, grounds=refund_words.GROUNDS,
        causes=refund_words.CAUSES, titles=refund_words.TITLES, mib=EVIDENCE_MIB_MAX, names=view.names,
    )


def _done_of(request: Request, view: CaseView) -> HappenedView | None:
    """What was just done, as the address says after a form: the newest of its kind, or nothing."""
    found = _DONE.match(request.query_params.get("done", ""))
    return next((one for one in view.happened if found and one.anchor == found[0]), None)


def _shown(
    template: str, request: Request, lang: Lang, ports: WebPorts, now: datetime, *, status: int = 200,
    names: Mapping[str, str] | None = None, **values: object,
) -> Response:
    words = Words(lang)
    return pages.page(
        template, lang, status=status, request=request, here="cases", zone=ports.zone,
        when=pages.at_zone(words, now=now, zone=ports.zone), states=dispute_words.STATES, moves=dispute_words.MOVES,
        roles=dispute_words.ROLES, who_did=partial(who_did, words, names=names or {}),
        money_of=partial(_money_of, words), **values,
    )


def names_of(session: Session, actors: Iterable[str]) -> dict[str, str]:
    """What the people among these are called, where that was recorded."""
    found = {actor: users.user(session, person(actor)) for actor in set(actors) if actor.startswith("user:")}
    return {actor: one.display_name for actor, one in found.items() if one is not None and one.display_name}


def who_did(words: Words, actor: str, *, names: Mapping[str, str]) -> str:
    """Who did something, as people say it: a person by name, what came another way with that."""
    kind, colon, name = actor.partition(":")
    if not colon:
        return words(f"who.{actor}") if actor in ("import", "system") else actor
    return words(f"who.{kind}", name=name) if kind in ("cli", "key") else names.get(actor) or person(actor)


def _money_of(words: Words, amount: Money) -> str:
    """An amount to the last fen, with its currency where that is not the yuan."""
    if amount.currency != "CNY":
        return f"{amount.grouped} {amount.currency}"
    return f"{amount.grouped} 元" if words.lang == "zh" else f"¥{amount.grouped}"


def _missing(request: Request, lang: Lang, case_no: str) -> Response:
    return pages.page("case_missing.html", lang, status=404, request=request, here="cases", case_no=case_no[:40])


def _document(ports: WebPorts, case_no: str, number: int, visible: Visible) -> Response | None:
    with ports.database.read() as session:
        found = case_book.case(session, case_no)
        if found is None or not may_see(session, visible, found.case.uscc):
            return None
        kept = next((one for one in case_book.case_evidence(session, case_no) if one.evidence_no == number), None)
        content = None if kept is None else raw_document(session, kept.sha256)
    if kept is None or content is None:
        return None
    # Never as a page of ours: what somebody uploaded is a file to keep.
    media_type = kept.media_type if kept.media_type in SHOWN_AS_THEY_ARE else "application/octet-stream"
    name = f"attachment; filename*=UTF-8''{quoted(kept.filename, safe='')}"
    return Response(
        content, headers={"Cache-Control": "no-store", "Content-Disposition": name}, media_type=media_type
    )


# what forms do


async def _done(
    request: Request, form: Sent, lang: Lang, ports: WebPorts, name: str,
    do: Callable[[Session, Sent, str, datetime], str],
) -> Response:
    """Do what a form asks for, once; what is refused is said beside it."""
    case_no = request.path_params["case_no"]

    def work() -> str | None:
        now = ports.clock.now()
        with ports.database.write() as session:
            found = case_book.case(session, case_no)
            if found is None or not may_see(session, form.who.visible, found.case.uscc):
                return None
            anchor = done_once(
                session, form, asked=f"{name} {case_no}", now=now, do=lambda: do(session, form, case_no, now)
            )
        return f"/cases/{quoted(case_no)}?done={anchor}"

    try:
        location = await run_in_threadpool(work)
    except FormRefused as refused:
        said = refused.said[lang] if refused.said is not None else Words(lang)(refused.word, **refused.values)
        which = f"move:{form.text('move')}" if name == "moves" else name
        return await _case_page(
            request, form.who, lang, ports,
            Wrong(form=which, text=said, fields=form.fields, status=refused.status),
        )
    return _missing(request, lang, case_no) if location is None else see_other(location)


def _move(ports: WebPorts, session: Session, form: Sent, case_no: str, now: datetime) -> str:
    """Make a move; say which it was."""
    move, reason = form.text("move"), form.text("reason")
    if move not in set(Move):
        raise FormRefused("case_unknown_move", status=422)
    if not reason:
        raise FormRefused("case_no_reason", status=422)
    if len(reason) > REASON_CHARACTERS_MAX:
        raise FormRefused("case_reason_long", status=422, count=REASON_CHARACTERS_MAX)
    if Move(move) in SECOND_MOVES and not form.who.may(Permission.CONFIRM):
        raise FormRefused("case_second_needed", status=403)
    found = case_book.case(session, case_no)
    assert found is not None, "it was just seen"  # noqa: S101 - cases are never deleted
    role = _role(Move(move), form.text("role"))
    try:
        made = move_case_in(
            session, ports.policies, case_no=case_no, move=Move(move), actor=form.who.actor, reason=reason, role=role,
            amount=_amount(found.case, form.text("amount")), now=now,
        )
    except MoveRefused as error:
        if error.reason is RefusedReason.OWN_RULING:
            raise FormRefused("case_own_ruling") from error
        raise FormRefused(said={"zh": error.why_zh, "en": str(error)}) from error
    except DatabaseError:
        raise
    except EscrowMonitorError as error:
        raise FormRefused("case_refused_other", detail=str(error)) from error
    return f"move-{made.move_no}"


def _role(move: Move, text: str) -> Role | None:
    if move is not Move.CONTEST:
        return None
    if text not in (Role.INSTITUTION.value, Role.FAMILY.value):
        raise FormRefused("case_role_needed", status=422)
    return Role(text)


def _amount(case: Case, text: str) -> str | None:
    """The amount as the action reads it; people write 3,200 and ￥3200 as well."""
    plain = text.replace(",", "").replace("，", "").removeprefix("¥").removeprefix("￥").removesuffix("元").strip()
    if not plain:
        return None
    try:
        parse_amount(plain, case.currency)
    except AmountError as error:
        raise FormRefused("case_bad_amount", status=422, amount=text[:40]) from error
    return plain


def _note(session: Session, form: Sent, case_no: str, now: datetime) -> str:
    text = form.text("text")
    if not text:
        raise FormRefused("case_note_empty", status=422)
    if len(text) > NOTE_CHARACTERS_MAX:
        raise FormRefused("case_note_long", status=422, count=NOTE_CHARACTERS_MAX)
    return f"note-{note_case_in(session, case_no=case_no, text=text, actor=form.who.actor, now=now).note_no}"


def _attach(session: Session, form: Sent, case_no: str, now: datetime) -> str:
    upload, note = form.upload, form.text("note")
    if upload is None:
        raise FormRefused("case_no_file", status=422)
    name = upload.filename.replace("\\", "/").rpartition("/")[2]
    if not name or len(name) > FILENAME_CHARACTERS_MAX or not name.isprintable():
        raise FormRefused("case_file_name", status=422, count=FILENAME_CHARACTERS_MAX)
    if not upload.content:
        raise FormRefused("case_file_empty", status=422, name=name)
    if len(upload.content) > EVIDENCE_BYTES_MAX:
        raise FormRefused("case_file_large", status=422, count=EVIDENCE_MIB_MAX)
    if len(note) > REASON_CHARACTERS_MAX:
        raise FormRefused("case_reason_long", status=422, count=REASON_CHARACTERS_MAX)
    kept = attach_evidence_in(
        session, case_no=case_no, content=upload.content, filename=name, actor=form.who.actor, note=note, now=now
    )
    return f"evidence-{kept.evidence_no}"
