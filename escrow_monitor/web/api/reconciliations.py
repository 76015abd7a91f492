"""`/api/v1/reconciliations`: staff start one and follow it; what came out last of each institution."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask
from starlette.responses import Response

from escrow_monitor.actions.reconcile import UnknownInstitution, Wanted, ask_reconciliation
from escrow_monitor.errors import EscrowMonitorError, UsageError
from escrow_monitor.logs import log
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.database import Session
from escrow_monitor.records.reconciliation.reconciliations import (
    AskedReconciliation,
    AskedState,
    StoredReconciliation,
    asked,
    by_numbers,
    newest,
)
from escrow_monitor.web.api.again import Again, made_once
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body, Day, Flag
from escrow_monitor.web.api.views import Asked, ListView, page_of
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker

PATH = "/api/v1/reconciliations"
RESULTS_MAX = 1_000
"""So many results a request shows; of a whole district they are in the list."""


class AskedReconciliationView(Body):
    """What to reconcile: one institution or, without `uscc`, every one of which something is new (`full`: every one,
    with all sums made anew); at the end of `day`, or of the newest that is due."""

    uscc: str | None = Field(default=None, max_length=18)
    day: Day | None = None
    full: Flag = False


class ReconciliationView(BaseModel):
    """One bridge. `net` = `bank` - `required` = the impacts of `lines` + `residual`."""

    recon_no: int
    uscc: str
    currency: str
    day: date
    complete: bool
    is_wrong: bool
    required: str
    required_fen: int
    own: str
    own_fen: int
    bank: str
    bank_fen: int
    net: str
    net_fen: int
    residual: str
    residual_fen: int
    began_on: date | None
    known_through: date | None
    lines: list[dict[str, Any]]
    incomplete: list[dict[str, Any]]
    released: str
    earned: str
    released_ahead: str
    not_received: dict[str, Any]
    releases_without_lessons: dict[str, Any]
    actor: str
    recorded_at: datetime
    confirmed_at: datetime


class RequestView(BaseModel):
    """A reconciliation that was asked for: `done` of `total` institutions; `problem` says why it failed."""

    id: str
    state: AskedState
    actor: str
    asked_at: datetime
    uscc: str | None
    day: date | None
    full: bool
    done: int
    total: int | None
    started_at: datetime | None
    finished_at: datetime | None
    problem: str | None
    counts: dict[str, int]
    results: list[ReconciliationView]


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. To start one needs a key with the scope `decide`; its name is who asked."""
    routes = APIRouter(tags=["reconciliations"])

    @routes.post(
        "/reconciliations", status_code=202, response_model=RequestView, dependencies=decides(ports, guard),
        responses={404: {"description": "there is no such institution"}},
    )
    def start(wanted: AskedReconciliationView, request: Request, idempotency_key: Again = None) -> Response:
        """Start a reconciliation; follow it at `Location`."""
        who = decider(request)
        if wanted.uscc is None:
            who.check_sees_everything(what="a reconciliation without `uscc`")
        with ports.database.write() as session:
            if wanted.uscc is not None:
                missing = Problem(404, f"there is no institution {wanted.uscc[:40]!r}: see institutions list")
                who.check_sees(session, wanted.uscc, missing, what="institution")
            kept = _kept(session, wanted, actor=who.actor, idempotency_key=idempotency_key, now=ports.clock.now())
        found = RequestView.model_validate_json(kept.body)
        return Response(
            kept.body, kept.status, {"Location": f"{PATH}/{found.id}", "Cache-Control": "no-store"},
            "application/json", background=BackgroundTask(_work, ports, found.id),
        )

    @routes.get("/reconciliations")
    def latest(asked: Annotated[Asked, Query()], who: Asker) -> ListView[ReconciliationView]:
        """The newest reconciliation of each institution, by code."""
        uscc, _, currency = asked.after.partition(":")
        with ports.database.read() as session:
            found = newest(session, after=(uscc, currency), limit=asked.limit + 1, visible=who.visible)
        return page_of([_view(one) for one in found], [f"{one.uscc}:{one.currency}" for one in found], asked.limit)

    @routes.get("/reconciliations/{request_id}")
    def follow(request_id: str, who: Asker) -> RequestView:
        """How far a reconciliation is that was asked for, and what came out."""
        missing = Problem(404, f"no reconciliation {request_id[:40]!r} was asked for")
        with ports.database.read() as session:
            found = asked(session, request_id)
            if found is None:
                raise missing
            who.check_sees(session, found.uscc, missing, what="reconciliation")
            numbers = list((found.found or {}).get("reconciliations", ()))[:RESULTS_MAX]
            results = by_numbers(session, numbers) if numbers else []
        return _request_view(found, results)

    return routes


def _kept(
    session: Session, wanted: AskedReconciliationView, *, actor: str, idempotency_key: str | None, now: datetime
) -> KeptAnswer:
    def do() -> KeptAnswer:
        try:
            made = ask_reconciliation(
                session, Wanted(uscc=wanted.uscc, day=wanted.day, whole=wanted.full), actor=actor, now=now
            )
        except UnknownInstitution as error:
            raise Problem(404, str(error)) from error
        except UsageError as error:
            raise Problem(422, str(error)) from error
        return KeptAnswer(status=202, body=_request_view(made, []).model_dump_json())

    return made_once(
        session, actor=actor, idempotency_key=idempotency_key, asked=f"reconcile\n{wanted.model_dump_json()}", now=now,
        do=do,
    )


def _work(ports: WebPorts, request_id: str) -> None:
    """Do it after the answer has gone out; where that fails, it is recorded, and a round takes up what is left."""
    if ports.reconcile is None:
        return
    try:
        ports.reconcile(request_id)
    except EscrowMonitorError as error:
        log(__name__).error("web.reconciliation_failed", request_id=request_id, detail=str(error))


def _request_view(found: AskedReconciliation, results: list[StoredReconciliation]) -> RequestView:
    return RequestView(
        id=found.request_id, state=found.state, actor=found.actor, asked_at=found.asked_at, uscc=found.uscc,
        day=found.day, full=found.whole, done=found.done, total=found.total, started_at=found.started_at,
        finished_at=found.finished_at, problem=found.problem, counts=(found.found or {}).get("counts", {}),
        results=[_view(one) for one in results],
    )


def _view(one: StoredReconciliation) -> ReconciliationView:
    return ReconciliationView.model_validate({
        **one.document, "recon_no": one.recon_no, "actor": one.actor, "recorded_at": one.recorded_at,
        "confirmed_at": one.confirmed_at,
    })
