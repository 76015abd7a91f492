"""`/api/v1/cases`: refund disputes, and the moves that staff make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from escrow_monitor.actions.move_case import REASON_CHARACTERS_MAX, CaseUnknown, MoveRefused, move_case_in
from escrow_monitor.actions.show_case import CaseShown, move_json, show_case, shown_cases
from escrow_monitor.domain.dispute_answers import Audience
from escrow_monitor.domain.dispute_words import CaseState, Move, Role
from escrow_monitor.errors import DatabaseError, EscrowMonitorError, UsageError
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.database import Session
from escrow_monitor.records.sorted_lists import CASES, begins
from escrow_monitor.web.api.again import Again, answer_of, made_once, refusal
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.taken import Body
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker, Who

SECOND_MOVES = frozenset({Move.CONFIRM, Move.REJECT})
"""What the second pair of eyes says of a ruling."""


class AskedCases(Asked):
    """Filters that all must fit."""

    sort: Literal[
        "case_no", "-case_no", "claimed_on", "-claimed_on", "changed_at", "-changed_at", "opened_at", "-opened_at",
        "claimed", "-claimed", "state", "-state",
    ] = Field(default="case_no", description=BY)
    district: District
    state: CaseState | None = None
    uscc: str | None = Field(default=None, max_length=18)
    contract_no: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)


class DeadlineView(BaseModel):
    """By when something must happen: `answer` of the institution, or `payment` seen in the bank."""

    kind: str
    last_day: date
    passed_from: date
    passed: bool
    clause: str | None


class ProposalView(BaseModel):
    """A ruling that waits for a second person."""

    amount: str
    amount_fen: int
    by: str


class CaseView(BaseModel):
    """One case. `due` is what contract and law give today, null where that is decided or cannot be computed."""

    case_no: str
    contract_no: str
    uscc: str
    state: CaseState
    claimed_on: date
    cause: str
    currency: str
    claimed: str | None
    claimed_fen: int | None
    quoted: str | None
    quoted_fen: int | None
    due: str | None
    due_fen: int | None
    agreed: str
    agreed_fen: int
    ordered: str
    ordered_fen: int
    paid: str
    paid_fen: int
    held: str
    held_fen: int
    outstanding: str
    outstanding_fen: int
    proposal: ProposalView | None
    due_on: date | None
    due_by: str
    deadlines: list[DeadlineView]
    next_deadline: DeadlineView | None
    possible_moves: list[Move]
    opened_at: datetime
    changed_at: datetime


class MoveView(BaseModel):
    """One move: who made it, on whose behalf, when and why. `payable` is what it raised the agreed by."""

    model_config = ConfigDict(populate_by_name=True)

    case_no: str
    move_no: int
    move: Move
    from_state: CaseState | None = Field(alias="from")
    to_state: CaseState = Field(alias="to")
    role: Role
    actor: str
    reason: str
    currency: str
    amount: str | None
    amount_fen: int | None
    payable: str
    payable_fen: int
    reference: str | None
    moved_at: datetime


class NoteView(BaseModel):
    """One note: on whose behalf, and for whom to read. The institution of a case is told only what is for it."""

    note_no: int
    text: str
    actor: str
    role: Role
    audience: Audience
    noted_at: datetime


class EvidenceView(BaseModel):
    """One document, named by its SHA-256."""

    evidence_no: int
    sha256: str
    filename: str
    media_type: str
    size: int
    actor: str
    role: Role
    audience: Audience
    note: str
    attached_at: datetime


class SaidPaymentView(BaseModel):
    """What the institution says it paid. It proves nothing: `paid` of the case is what the bank shows."""

    said_no: int
    paid_on: date
    currency: str
    amount: str
    amount_fen: int
    bank_ref: str
    note: str
    actor: str
    said_at: datetime


class KeptQuoteView(BaseModel):
    """A quote as it was made."""

    quote_no: int
    on: date
    actor: str
    quoted_at: datetime
    policy_version: str
    quote: dict[str, Any]


class CaseDetailView(CaseView):
    """One case with all that was done. `quote` is today's, or says why there is none.

    The institution of a case reads it without the notes and documents of supervisors among themselves, without rulings
    that nobody confirmed, and `staff` in place of their names.
    """

    claim_note: str
    quote: dict[str, Any] | None
    moves: list[MoveView]
    notes: list[NoteView]
    evidence: list[EvidenceView]
    quotes: list[KeptQuoteView]
    said_payments: list[SaidPaymentView]


class MoveBody(Body):
    """A move to make. `amount` is the whole refund as decimal text; `role` on whose behalf, where that is open."""

    model_config = ConfigDict(extra="forbid", strict=True)

    move: Annotated[Move, Field(strict=False)]
    reason: str = Field(min_length=1, max_length=REASON_CHARACTERS_MAX)
    amount: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    role: Annotated[Role | None, Field(strict=False)] = None


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. Writes need a key with the scope `decide`; its name is who decides."""
    routes = APIRouter(tags=["cases"])

    @routes.get("/cases")
    def cases(asked: Annotated[AskedCases, Query()], who: Asker) -> ListView[CaseView]:
        """Cases, with filters, in the order that was asked for."""
        on = case_book.day_of(ports.clock.now())

        with ports.database.read() as session:
            def read(keys: Sequence[str]) -> dict[str, CaseShown]:
                shown = shown_cases(
                    session, ports.policies, case_book.cases(session, case_nos=keys), on=on, visible=who.visible
                )
                return {one.record.case.case_no: one for one in shown}

            return sorted_page(
                session, CASES, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={
                    "state": asked.state, "uscc": asked.uscc, "contract_no": asked.contract_no,
                    "district": begins(asked.district),
                },
                read=read, view=lambda one: CaseView.model_validate(one.as_json()),
            )

    @routes.get("/cases/{case_no:path}/moves")
    def moves(case_no: str, who: Asker) -> ListView[MoveView]:
        """Every move of one case, in order."""
        return ListView[MoveView](after=None, items=_detail(ports, case_no, who).moves)

    @routes.post(
        "/cases/{case_no:path}/moves", status_code=201, response_model=MoveView, dependencies=decides(ports, guard),
        responses={
            404: {"description": "there is no such case"},
            409: {"description": "the case cannot be moved so, or the Idempotency-Key stands for another request"},
        },
    )
    def make_move(case_no: str, body: MoveBody, request: Request, idempotency_key: Again = None) -> Response:
        """Make a move. With an Idempotency-Key the same request makes it once, and is answered the same again."""
        who, now = decider(request), ports.clock.now()
        if body.move in SECOND_MOVES:
            who.check_confirms(what="case")
        with ports.database.write() as session:
            check_sees_case(session, case_no, who)
            return answer_of(made_once(
                session, actor=who.actor, idempotency_key=idempotency_key,
                asked=f"move {case_no}\n{body.model_dump_json()}", now=now,
                do=lambda: _told(session, ports, case_no, body, who.actor, now),
            ))

    @routes.get("/cases/{case_no:path}")
    def case(case_no: str, who: Asker) -> CaseDetailView:
        """One case and all that was done."""
        return _detail(ports, case_no, who)

    return routes


def _detail(ports: WebPorts, case_no: str, who: Who) -> CaseDetailView:
    try:
        found = show_case(ports.database, ports.policies, case_no=case_no, now=ports.clock.now(), visible=who.visible)
    except CaseUnknown as error:
        with ports.database.read() as session:
            check_sees_case(session, case_no, who)
        raise Problem(404, f"there is no case {case_no[:40]!r}") from error
    return CaseDetailView.model_validate(found.as_json())


def check_sees_case(session: Session, case_no: str, who: Who) -> None:
    """Raise Problem 404 for a case that is not there, or is not theirs to see, of which the log is told."""
    missing = Problem(404, f"there is no case {case_no[:40]!r}")
    found = case_book.case(session, case_no)
    if found is None:
        raise missing
    who.check_sees(session, found.case.uscc, missing, what="case")


def _told(
    session: Any, ports: WebPorts, case_no: str, body: MoveBody, actor: str, now: datetime
) -> KeptAnswer:
    if body.role is Role.SYSTEM:
        raise Problem(422, "body.role: nobody is the system; choose staff, institution, family or second")
    return told(case_no, lambda: MoveView.model_validate(move_json(move_case_in(
        session, ports.policies, case_no=case_no, move=body.move, actor=actor, reason=body.reason, role=body.role,
        amount=body.amount, now=now,
    ))))


def told(case_no: str, do: Callable[[], BaseModel]) -> KeptAnswer:
    """What was done in a case as it is answered, or why it was not."""
    try:
        made = do()
    except CaseUnknown as error:
        raise Problem(404, f"there is no case {case_no[:40]!r}") from error
    except MoveRefused as error:
        why = {"where": "move", "reason": error.reason.value, "zh": error.why_zh}
        return refusal(Problem(409, str(error), errors=[why]))
    except UsageError as error:
        raise Problem(422, str(error)) from error
    except DatabaseError:
        raise
    except EscrowMonitorError as error:
        raise Problem(409, str(error)) from error
    return KeptAnswer(status=201, body=made.model_dump_json(by_alias=True))
