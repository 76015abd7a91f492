"""`POST /api/v1/alerts/{id}/...`: acknowledge, snooze, accept, take back; and what was ever decided about an alert."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from alerts.alert import Decision, DecisionKind, Figure, Reason, Severity
from alerts.book import AlertBook, Decided
from alerts.decisions import REFUSALS
from alerts.feeds.item import REASON_WORDS
from escrow_monitor.actions import decide_alert
from escrow_monitor.errors import UsageError
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.database import Session
from escrow_monitor.web.api.again import Again, answer_of, made_once, refusal
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body, Flag, Instant
from escrow_monitor.web.api.views import ListView
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker, Who

NOTE_CHARACTERS_TAKEN_MAX = 2_000
"""More than a note may have: what is a little too long is refused with its reason, as everywhere else."""


class _Asked(Body):
    note: str = Field(default="", max_length=NOTE_CHARACTERS_TAKEN_MAX, description="why; published with the decision")


class AskedUntil(_Asked):
    """When it ends: an instant with a zone."""

    until: Instant


class AskedAcceptance(_Asked):
    """`confirm` false proposes; true confirms, as another person, what was proposed."""

    confirm: Flag = False


class AskedTakeBack(_Asked):
    """Which decision is to be over."""

    decision: DecisionKind


class DecisionView(BaseModel):
    """One decision with its evidence as it was. `ended_at` null: it stands, unless `until` has passed."""

    decision: DecisionKind
    by: str
    proposed_by: str | None
    note: str
    at: datetime
    until: datetime | None
    severity: Severity
    standing: str
    why: str
    why_en: str
    figures: dict[str, Figure]
    as_of: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None
    ended_reason: Reason | None = None


class DecidedView(BaseModel):
    """What became of it. `published` are the numbers of the feed entries that tell of it."""

    alert_id: str
    status: str
    reason: Reason
    said: str
    said_en: str
    published: list[int]
    decisions: list[DecisionView]


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. Writes need a key with the scope `decide`; its name is who decides."""
    routes = APIRouter(tags=["alerts"], prefix="/alerts/{alert_id}")
    conditions = decides(ports, guard)

    @routes.get("/decisions")
    def decisions(alert_id: str, who: Asker) -> ListView[DecisionView]:
        """All that people ever decided about an alert, in order."""
        with ports.database.read() as session:
            _check_sees(session, alert_id, who)
            found = RecordsAlertBook(session).decisions(alert_id)
        return ListView[DecisionView](after=None, items=[
            decision_view(one.decision).model_copy(update={
                "ended_at": one.ended_at, "ended_by": one.ended_by, "ended_reason": one.ended_reason,
            })
            for one in found
        ])

    @routes.post("/acknowledge", response_model=DecidedView, dependencies=conditions)
    def acknowledge(alert_id: str, asked: AskedUntil, request: Request, idempotency_key: Again = None) -> Response:
        """Somebody sees to it until then: nobody else is urged."""
        return _answer(ports, request, idempotency_key, f"acknowledge {alert_id}", asked, lambda book, by, now: (
            decide_alert.acknowledge(book, alert_id, by=by, note=asked.note, until=asked.until, now=now)
        ))

    @routes.post("/snooze", response_model=DecidedView, dependencies=conditions)
    def snooze(alert_id: str, asked: AskedUntil, request: Request, idempotency_key: Again = None) -> Response:
        """Nobody is called until then, unless it gets worse. Needs a note."""
        return _answer(ports, request, idempotency_key, f"snooze {alert_id}", asked, lambda book, by, now: (
            decide_alert.snooze(book, alert_id, by=by, note=asked.note, until=asked.until, now=now)
        ))

    @routes.post("/accept", response_model=DecidedView, dependencies=conditions)
    def accept(alert_id: str, asked: AskedAcceptance, request: Request, idempotency_key: Again = None) -> Response:
        """Propose to accept it as it is (needs a note), or confirm what another person proposed."""
        if asked.confirm:
            decider(request).check_confirms(what="alert")
        act = decide_alert.confirm if asked.confirm else decide_alert.propose
        return _answer(ports, request, idempotency_key, f"accept {alert_id}", asked, lambda book, by, now: (
            act(book, alert_id, by=by, note=asked.note, now=now)
        ))

    @routes.post("/take-back", response_model=DecidedView, dependencies=conditions)
    def take_back(alert_id: str, asked: AskedTakeBack, request: Request, idempotency_key: Again = None) -> Response:
        """End a decision that stands, whoever made it. Needs a note."""
        return _answer(ports, request, idempotency_key, f"take-back {alert_id}", asked, lambda book, by, now: (
            decide_alert.take_back(book, alert_id, by=by, note=asked.note, kind=asked.decision, now=now)
        ))

    return routes


def decision_view(decision: Decision) -> DecisionView:
    """The JSON shape of a decision."""
    evidence = decision.evidence
    return DecisionView(
        decision=decision.kind, by=decision.by, proposed_by=decision.proposed_by, note=decision.note, at=decision.at,
        until=decision.until, severity=evidence.severity, standing=evidence.standing, why=evidence.why.zh,
        why_en=evidence.why.en, figures=dict(evidence.figures), as_of=evidence.as_of,
    )


def _answer(
    ports: WebPorts, request: Request, idempotency_key: str | None, what: str, asked: BaseModel,
    act: Callable[[AlertBook, str, datetime], Decided],
) -> Response:
    """Let the key's owner decide, once for one idempotency key."""
    who, now = decider(request), ports.clock.now()
    with ports.database.write() as session:
        _check_sees(session, request.path_params["alert_id"], who)
        book = RecordsAlertBook(session, channels=ports.channels)
        return answer_of(made_once(
            session, actor=who.actor, idempotency_key=idempotency_key, asked=f"{what}\n{asked.model_dump_json()}",
            now=now, do=lambda: _told(act, book, who.actor, now),
        ))


def _check_sees(session: Session, alert_id: str, who: Who) -> None:
    missing = Problem(404, f"there is no alert {alert_id[:40]!r}: see alerts list")
    found = RecordsAlertBook(session).alert(alert_id)
    if found is None:
        raise missing
    who.check_sees(session, found.labels.get("uscc"), missing, what="alert")


def _told(act: Callable[[AlertBook, str, datetime], Decided], book: AlertBook, by: str, now: datetime) -> KeptAnswer:
    try:
        done = act(book, by, now)
    except decide_alert.UnknownAlert as error:
        raise Problem(404, str(error)) from error
    except UsageError as error:
        raise Problem(422, str(error)) from error
    words = REASON_WORDS[done.reason]
    if done.reason in REFUSALS:
        why = {"where": "alert", "reason": done.reason.value, "zh": words["zh"]}
        return refusal(Problem(409, words["en"], errors=[why]))
    view = DecidedView(
        alert_id=done.alert.alert_id, status=done.alert.status.value, reason=done.reason, said=words["zh"],
        said_en=words["en"], published=[entry.seq for entry in done.entries],
        decisions=[decision_view(decision) for decision in done.alert.decisions],
    )
    return KeptAnswer(status=200, body=view.model_dump_json())
