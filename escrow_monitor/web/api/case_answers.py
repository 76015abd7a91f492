"""`/api/v1/cases/{no}/answers`, `/said-payments`, `/notes` and `/evidence`: what is said in a dispute, and by whom."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from escrow_monitor.actions.answer_case import BANK_REF_CHARACTERS_MAX, answer_case_in, say_paid_in
from escrow_monitor.actions.attach_evidence import EVIDENCE_BYTES_MAX, FILENAME_CHARACTERS_MAX, attach_evidence_in
from escrow_monitor.actions.move_case import REASON_CHARACTERS_MAX
from escrow_monitor.actions.note_case import NOTE_CHARACTERS_MAX, note_case_in
from escrow_monitor.actions.show_case import evidence_json, move_json, note_json, said_payment_json
from escrow_monitor.domain.dispute_answers import Audience
from escrow_monitor.domain.dispute_words import Move, Role
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.database import Session
from escrow_monitor.web.api.again import Again, answer_of, made_once
from escrow_monitor.web.api.cases import EvidenceView, MoveView, NoteView, SaidPaymentView, check_sees_case, told
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import FILE_BODY, Body, Day, body_of
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX
from escrow_monitor.web.guard import SCOPE_ANSWER, SCOPE_NOTE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON, Problem
from escrow_monitor.web.who import Who


class AnswerBody(Body):
    """What the institution answers: `accept` all that is asked, or `contest` and perhaps agree to the part `amount`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    move: Annotated[Move, Field(strict=False, description="accept or contest")]
    reason: str = Field(min_length=1, max_length=REASON_CHARACTERS_MAX)
    amount: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)


class SaidPaymentBody(Body):
    """What the institution says it paid, with the bank's reference."""

    model_config = ConfigDict(extra="forbid", strict=True)

    amount: str = Field(max_length=TEXT_CHARACTERS_MAX)
    paid_on: Annotated[Day, Field(strict=False)]
    bank_ref: str = Field(min_length=1, max_length=BANK_REF_CHARACTERS_MAX)
    note: str = Field(default="", max_length=REASON_CHARACTERS_MAX)


class NoteBody(Body):
    """A note. Supervisors alone read theirs unless `audience` says that the institution does too."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=1, max_length=NOTE_CHARACTERS_MAX)
    audience: Annotated[Audience, Field(strict=False)] = Audience.SUPERVISORS


class AskedEvidence(BaseModel):
    """What a document is called and what it is; who reads it as for a note."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(max_length=FILENAME_CHARACTERS_MAX, pattern=r"^[^/\\\x00-\x1f\x7f]+$")
    note: str = Field(default="", max_length=REASON_CHARACTERS_MAX)
    audience: Audience = Audience.SUPERVISORS


_MISSING = {"description": "there is no such case"}
_REFUSED = {"description": "it is not done so, or the Idempotency-Key stands for another request"}


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The writes of whoever takes part in a case. To answer is for the case's own institution, with scope `answer`."""
    routes = APIRouter(tags=["cases"])
    may_answer, may_note = decides(ports, guard, SCOPE_ANSWER), decides(ports, guard, SCOPE_NOTE)

    @routes.post(
        "/cases/{case_no:path}/answers", status_code=201, response_model=MoveView, dependencies=may_answer,
        responses={404: _MISSING, 409: _REFUSED},
    )
    def answer(case_no: str, body: AnswerBody, request: Request, idempotency_key: Again = None) -> Response:
        """Answer a claim, as the institution of the case. Once its time is over, silence counts as consent."""
        who, now = decider(request), ports.clock.now()
        asked = f"answer {case_no}\n{body.model_dump_json()}"
        return answer_of(_said(ports, case_no, who, idempotency_key, asked, now, lambda session: (
            MoveView.model_validate(move_json(answer_case_in(
                session, ports.policies, case_no=case_no, uscc=_own(who), move=body.move, actor=who.actor,
                reason=body.reason, amount=body.amount, now=now,
            )))
        )))

    @routes.post(
        "/cases/{case_no:path}/said-payments", status_code=201, response_model=SaidPaymentView,
        dependencies=may_answer, responses={404: _MISSING, 409: _REFUSED},
    )
    def say_paid(case_no: str, body: SaidPaymentBody, request: Request, idempotency_key: Again = None) -> Response:
        """Say that a refund is paid, as the institution of the case. It moves nothing: paid is what the bank shows."""
        who, now = decider(request), ports.clock.now()
        asked = f"say paid {case_no}\n{body.model_dump_json()}"
        return answer_of(_said(ports, case_no, who, idempotency_key, asked, now, lambda session: (
            SaidPaymentView.model_validate(said_payment_json(say_paid_in(
                session, case_no=case_no, uscc=_own(who), amount=body.amount, paid_on=body.paid_on,
                bank_ref=body.bank_ref, note=body.note, actor=who.actor, now=now,
            )))
        )))

    @routes.post(
        "/cases/{case_no:path}/notes", status_code=201, response_model=NoteView, dependencies=may_note,
        responses={404: _MISSING, 409: _REFUSED},
    )
    def note(case_no: str, body: NoteBody, request: Request, idempotency_key: Again = None) -> Response:
        """Write something down. What the institution writes it reads itself, and is marked as said by it."""
        who, now = decider(request), ports.clock.now()
        role, audience = _said_by(who, body.audience)
        asked = f"note {case_no}\n{body.model_dump_json()}"
        return answer_of(_said(ports, case_no, who, idempotency_key, asked, now, lambda session: (
            NoteView.model_validate(note_json(note_case_in(
                session, case_no=case_no, text=body.text, actor=who.actor, role=role, audience=audience, now=now,
            )))
        )))

    @routes.post(
        "/cases/{case_no:path}/evidence", status_code=201, response_model=EvidenceView,
        dependencies=may_note,
        openapi_extra=FILE_BODY,
        responses={404: _MISSING, 409: _REFUSED, 413: {
            "description": "the document is too large", "content": {PROBLEM_JSON: {}}
        }},
    )
    async def attach(
        case_no: str, asked: Annotated[AskedEvidence, Query()], request: Request, idempotency_key: Again = None
    ) -> Response:
        """Keep the document in the body with a case, named by its SHA-256."""
        content = await body_of(
            request, bytes_max=EVIDENCE_BYTES_MAX,
            too_large=f"a document is no larger than {EVIDENCE_BYTES_MAX // 2**20} MiB",
        )
        who, now = decider(request), ports.clock.now()
        role, audience = _said_by(who, asked.audience)

        def attached() -> KeptAnswer:
            digest = hashlib.sha256(content).hexdigest()
            told = f"attach {case_no}\n{asked.model_dump_json()}\n{digest}"
            return _said(ports, case_no, who, idempotency_key, told, now, lambda session: (
                EvidenceView.model_validate(evidence_json(attach_evidence_in(
                    session, case_no=case_no, content=content, filename=asked.filename, note=asked.note,
                    actor=who.actor, role=role, audience=audience, now=now,
                )))
            ))

        return answer_of(await run_in_threadpool(attached))

    return routes


def _said(
    ports: WebPorts, case_no: str, who: Who, idempotency_key: str | None, asked: str, now: datetime,
    do: Callable[[Session], BaseModel],
) -> KeptAnswer:
    """Do it in a case that is theirs to see, once for one idempotency key."""
    with ports.database.write() as session:
        check_sees_case(session, case_no, who)
        return made_once(
            session, actor=who.actor, idempotency_key=idempotency_key, now=now, asked=asked,
            do=lambda: told(case_no, lambda: do(session)),
        )


def _own(who: Who) -> str:
    """The institution of whoever answers. Nobody else has the permission to."""
    if who.uscc is None:
        raise Problem(403, "to answer is for the institution of the case")
    return who.uscc


def _said_by(who: Who, asked: Audience) -> tuple[Role, Audience]:
    """On whose behalf, and who reads it: what the institution says it reads in any case."""
    return (Role.INSTITUTION, Audience.INSTITUTION) if who.visible.is_of_institution else (Role.STAFF, asked)
