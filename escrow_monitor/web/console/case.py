"""One refund case: its sum, its evidence, all that was done, and what whoever looks at it can do now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from urllib.parse import quote as quoted

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from alerts.feeds.item import Lang
from escrow_monitor.actions.attach_evidence import EVIDENCE_BYTES_MAX
from escrow_monitor.actions.move_case import CaseUnknown
from escrow_monitor.actions.show_case import CaseHistory, CaseShown, audience_of_reader, show_case
from escrow_monitor.domain import dispute_words, refund_words
from escrow_monitor.domain.clocks import Silence
from escrow_monitor.domain.contracts import Contract
from escrow_monitor.domain.dispute_answers import ANSWERS, Audience, SaidPayment, decide_answer, refuse_said_payment
from escrow_monitor.domain.dispute_clocks import Deadline, DeadlineKind
from escrow_monitor.domain.dispute_words import CaseState, Move, RefusedReason, Role
from escrow_monitor.domain.disputes import Case, Refused, Wish, decide, open_moves, role_for
from escrow_monitor.domain.entitlement import Impossible
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.logs import log
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts.case_book import CaseRecord, day_of
from escrow_monitor.records.contracts.contracts import contract
from escrow_monitor.records.database import Session
from escrow_monitor.records.documents import raw_document
from escrow_monitor.records.visible import may_see
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.actors import names_of, who_did
from escrow_monitor.web.console.forms import Wrong, once_token
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who

EVIDENCE_MIB_MAX = EVIDENCE_BYTES_MAX // 1024 // 1024
SECOND_MOVES = frozenset({Move.CONFIRM, Move.REJECT})
ORDER = (
    Move.CONFIRM, Move.REJECT, Move.QUOTE, Move.GATHER, Move.ACCEPT, Move.ORDER, Move.PROPOSE, Move.CLOSE, Move.CONTEST,
    Move.SETTLE, Move.WITHDRAW,
)
"""In this order moves are offered: what waits first, what ends a case last."""
SHOWN_AS_THEY_ARE = frozenset({"application/pdf", "image/png", "image/jpeg"})
TAKES_AMOUNT: Mapping[Move, bool] = {Move.ACCEPT: False, Move.CONTEST: False, Move.SETTLE: True, Move.PROPOSE: True}
"""The moves with an amount, and whether it must be there."""
ANSWER_TAKES_AMOUNT: Mapping[Move, bool] = {Move.CONTEST: True}
"""To accept is to accept all; to contest may name the part that is agreed to."""
_DONE = re.compile(r"(move|note|evidence|said)-([0-9]{1,6})\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A deadline as it is read: `days` that are left, below zero how many it is over."""

    deadline: Deadline
    days: int
    is_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveView:
    """A move that this person may make now, with what its form begins with."""

    move: Move
    roles: Sequence[Role]
    amount: str | None
    amount_needed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HappenedView:
    """One thing that happened, as the timeline has it. `moved` for a move, else the word that names it.

    `role` is on whose behalf, `audience` who reads it where that is not everybody who reads the case.
    """

    anchor: str
    at: datetime
    by: str
    moved: case_book.CaseMove | None = None
    said: SaidPayment | None = None
    role: Role = Role.STAFF
    audience: Audience | None = None
    word: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    text: Sentence | str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """Everything the page of a case says. `answers` where its own institution reads it and may answer."""

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
    may_note: bool
    answers: bool
    may_say_paid: bool
    reads_as: Audience
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


def case_view(ports: WebPorts, case_no: str, who: Who, *, now: datetime) -> CaseView | None:
    """Ask the records everything the page shows; None for one that is not there, or not theirs to see."""
    try:
        history = show_case(ports.database, ports.policies, case_no=case_no, now=now, visible=who.visible)
    except CaseUnknown:
        with ports.database.read() as session:
            seen_case(session, case_no, who)
        return None
    case = history.shown.case
    with ports.database.read() as session:
        holder = institution(session, case.uscc)
        signed = contract(session, case.contract_no)
        names = names_of(session, [
            *(one.actor for several in (
                history.moves, history.notes, history.evidence, history.quotes, history.said_payments
            ) for one in several), *([] if case.proposal is None else [case.proposal.by]),
        ])
    answers = who.may(Permission.ANSWER) and who.visible.is_of_institution
    moves, not_yet = _answers(history) if answers else _moves(history, who) if who.may(Permission.DECIDE) else ([], [])
    is_own = any(one.reason is RefusedReason.OWN_RULING for one in not_yet)
    return CaseView(
        now=now, today=day_of(now), history=history, institution=holder, contract=signed,
        clocks=clocks_of(history.shown), moves=moves, may_decide=who.may(Permission.DECIDE),
        may_note=who.may(Permission.NOTE), answers=answers, reads_as=audience_of_reader(who.visible),
        may_say_paid=answers and refuse_said_payment(case) is None,
        not_yet=[one for one in not_yet if one.reason is not RefusedReason.OWN_RULING], own_ruling=is_own,
        second_needed=case.proposal is not None and who.may(Permission.DECIDE) and not who.may(Permission.CONFIRM),
        happened=_happened(history), names=names,
    )


def seen_case(session: Session, case_no: str, who: Who) -> CaseRecord | None:
    """A case that is theirs to see; None else, and the log is told of one that is there."""
    found = case_book.case(session, case_no)
    if found is None or may_see(session, who.visible, found.case.uscc):
        return found
    log(__name__).warning("web.denied", who=who.actor, what="case", why="not_visible")
    return None


def _answers(history: CaseHistory) -> tuple[list[MoveView], list[Refused]]:
    """What the institution of a case may answer now, and why it may not answer otherwise."""
    case, on = history.shown.case, history.shown.on
    clock = next((
        Silence(last_day=one.last_day, deemed_from=one.passed_from) for one in history.shown.running
        if one.kind is DeadlineKind.ANSWER
    ), None)
    found, not_yet = [], []
    for move in ANSWERS if case.is_open else ():
        is_part = move is Move.CONTEST and case.state is CaseState.CONTESTED
        amount = case.top if is_part else None
        if is_part and amount is not None and case.agreed < amount:
            amount = Money(amount.minor_units - 1, amount.currency)
        tried = decide_answer(
            case, Wish(move=move, actor="", role=Role.INSTITUTION, reason="-", amount=amount), clock=clock, on=on
        )
        if isinstance(tried, Refused):
            not_yet.append(tried)
        else:
            takes = ANSWER_TAKES_AMOUNT.get(move, False)
            found.append(MoveView(move=move, roles=(), amount="" if takes else None, amount_needed=is_part))
    # Once the case has left its hands, both are refused because of that: the page says what is waited for.
    return found, [one for one in not_yet if one.reason is not RefusedReason.NOT_FROM_HERE]


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
        HappenedView(
            anchor=f"move-{one.move_no}", at=one.moved_at, by=one.actor, moved=one, role=one.role,
            text=_reason_of(one),
        )
        for one in history.moves
    ]
    found += [
        HappenedView(
            anchor=f"note-{one.note_no}", at=one.noted_at, by=one.actor, word="case_note", text=one.text,
            role=one.role, audience=one.audience,
        )
        for one in history.notes
    ]
    found += [
        HappenedView(
            anchor=f"evidence-{one.evidence_no}", at=one.attached_at, by=one.actor, word="case_attached",
            values={"name": one.filename}, text=one.note, role=one.role, audience=one.audience,
        )
        for one in history.evidence
    ]
    found += [
        HappenedView(
            anchor=f"said-{one.said_no}", at=one.said_at, by=one.actor, word="case_said_paid", text=one.said.note,
            role=Role.INSTITUTION, said=one.said,
        )
        for one in history.said_payments
    ]
    return sorted(found, key=lambda one: one.at)[::-1]


def _reason_of(move: case_book.CaseMove) -> Sentence | str:
    """Why a move was made; what the program says of its own moves is there in both languages."""
    zh, both, en = move.reason.partition(" / ")
    return Sentence(zh=zh, en=en) if both and move.role is Role.SYSTEM else move.reason


async def case_page(
    request: Request, who: Who, lang: Lang, ports: WebPorts, wrong: Wrong | None = None
) -> Response:
    """The page of a case; after a form that was refused, with why."""
    case_no = request.path_params["case_no"]
    view = await run_in_threadpool(case_view, ports, case_no, who, now=ports.clock.now())
    if view is None:
        return missing(request, lang, case_no)
    return shown(
        "case.html", request, lang, ports, view.now, view=view, wrong=wrong, done=_done_of(request, view),
        status=200 if wrong is None else wrong.status, once=once_token, grounds=refund_words.GROUNDS,
        causes=refund_words.CAUSES, titles=refund_words.TITLES, mib=EVIDENCE_MIB_MAX, names=view.names,
    )


def _done_of(request: Request, view: CaseView) -> HappenedView | None:
    """What was just done, as the address says after a form: the newest of its kind, or nothing."""
    found = _DONE.match(request.query_params.get("done", ""))
    return next((one for one in view.happened if found and one.anchor == found[0]), None)


def shown(
    template: str, request: Request, lang: Lang, ports: WebPorts, now: datetime, *, status: int = 200,
    names: Mapping[str, str] | None = None, **values: object,
) -> Response:
    """A page about cases, with the words all of them use."""
    words = Words(lang)
    return pages.page(
        template, lang, status=status, request=request, here="cases", zone=ports.zone,
        when=pages.at_zone(words, now=now, zone=ports.zone), states=dispute_words.STATES, moves=dispute_words.MOVES,
        roles=dispute_words.ROLES, who_did=partial(who_did, words, names=names or {}),
        money_of=partial(money_of, words), **values,
    )


def money_of(words: Words, amount: Money) -> str:
    """An amount to the last fen, with its currency where that is not the yuan."""
    if amount.currency != "CNY":
        return f"{amount.grouped} {amount.currency}"
    return f"{amount.grouped} 元" if words.lang == "zh" else f"¥{amount.grouped}"


def missing(request: Request, lang: Lang, case_no: str) -> Response:
    """What stands where there is no case, or none that is theirs to see."""
    return pages.page("case_missing.html", lang, status=404, request=request, here="cases", case_no=case_no[:40])


def read_by(audience: Audience, who: Who) -> bool:
    """Whether somebody who sees a case reads what is for this audience."""
    return audience is Audience.INSTITUTION or audience_of_reader(who.visible) is Audience.SUPERVISORS


async def document_page(request: Request, who: Who, lang: Lang, ports: WebPorts) -> Response:
    """A document of a case as a file to keep."""
    case_no, number = request.path_params["case_no"], request.path_params["number"]
    found = await run_in_threadpool(_document, ports, case_no, number, who)
    return missing(request, lang, case_no) if found is None else found


def _document(ports: WebPorts, case_no: str, number: int, who: Who) -> Response | None:
    with ports.database.read() as session:
        if seen_case(session, case_no, who) is None:
            return None
        kept = next((one for one in case_book.case_evidence(session, case_no) if one.evidence_no == number), None)
        if kept is not None and not read_by(kept.audience, who):
            kept = None
        content = None if kept is None else raw_document(session, kept.sha256)
    if kept is None or content is None:
        return None
    # Never as a page of ours: what somebody uploaded is a file to keep.
    media_type = kept.media_type if kept.media_type in SHOWN_AS_THEY_ARE else "application/octet-stream"
    name = f"attachment; filename*=UTF-8''{quoted(kept.filename, safe='')}"
    return Response(
        content, headers={"Cache-Control": "no-store", "Content-Disposition": name}, media_type=media_type
    )


def clocks_of(shown: CaseShown) -> list[Clock]:
    """The deadlines of a case as they are read on its day."""
    return [
        Clock(deadline=one, days=(one.last_day - shown.on).days, is_over=one.passed(shown.on)) for one in shown.running
    ]
