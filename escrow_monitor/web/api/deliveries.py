"""`/api/v1/deliveries`: what went to which channel, what waits and why; what was given up is sent again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, params
from pydantic import BaseModel, Field
from starlette.responses import Response

from alerts.alert import Severity, TransitionKind
from alerts.delivery import AttemptOutcome
from alerts.feeds.item import ROUTE_WORDS
from alerts.routing import RouteReason
from escrow_monitor.actions import resend_deliveries
from escrow_monitor.actions.resend_deliveries import RESEND_MAX, NotGivenUp, Resent, UnknownDelivery
from escrow_monitor.errors import UsageError
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.alerts.delivery_log import DeliveryState, LoggedDelivery, delivery_page, logged_delivery
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.database import Session
from escrow_monitor.web.api.again import Again, answer_of, made_once, refusal
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView, page_of
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON, Problem

_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"description": "there is no such delivery", "content": {PROBLEM_JSON: {}}},
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"description": "it was not given up", "content": {PROBLEM_JSON: {}}},
}


class AskedDeliveries(Asked):
    """Filters that all must fit. `state` left out: all that is or was owed; `withheld` is asked for by name."""

    state: DeliveryState | None = None
    channel: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    alert_id: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)


class AskedResend(Body):
    """Either deliveries by id, or all that was given up on a channel."""

    deliveries: list[Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX)]] = Field(default=[], max_length=RESEND_MAX)
    channel: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)


class DeliveryView(BaseModel):
    """One feed entry and one channel. `due_at` is when it is tried or asked about next, null once it is settled.

    `waits` says why it is held back, or was withheld, `held_by` by what; `detail` why it was given up.
    """

    delivery_id: str
    channel: str
    seq: int
    state: DeliveryState
    attempts: int
    due_at: datetime | None
    created_at: datetime
    settled_at: datetime | None
    detail: str
    waits: RouteReason | None
    waits_said: str | None
    waits_said_en: str | None
    held_by: str
    alert_id: str
    transition: TransitionKind
    rule: str
    severity: Severity
    why: str
    why_en: str


class TryView(BaseModel):
    """One try."""

    at: datetime
    outcome: AttemptOutcome
    detail: str
    took_ms: int


class TriedDeliveryView(DeliveryView):
    """A delivery with every try, in order."""

    tries: list[TryView]


class ResentView(BaseModel):
    """What is owed again. `left`: the channel has more that was given up than is sent again at once."""

    resent: list[str]
    left: bool


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. Sending again needs a key with the scope `decide`; its name is who did."""
    routes = APIRouter(tags=["deliveries"], prefix="/deliveries")

    _reads(routes, ports)
    _resends(routes, ports, decides(ports, guard))
    return routes


def _reads(routes: APIRouter, ports: WebPorts) -> None:
    @routes.get("")
    def list_(asked: Annotated[AskedDeliveries, Query()]) -> ListView[DeliveryView]:
        """Deliveries, the newest first, with filters."""
        with ports.database.read() as session:
            try:
                found = delivery_page(
                    session, limit=asked.limit + 1, after=asked.after, state=asked.state, channel=asked.channel,
                    alert_id=asked.alert_id,
                )
            except ValueError as error:
                raise Problem(422, str(error)) from error
        return page_of([delivery_view(one) for one in found], [one.delivery_id for one in found], asked.limit)

    @routes.get("/{delivery_id}", responses=_MISSING)
    def show(delivery_id: str) -> TriedDeliveryView:
        """One delivery with every try."""
        with ports.database.read() as session:
            found, tries = logged_delivery(session, delivery_id), deliveries.attempts(session, delivery_id)
        if found is None:
            raise Problem(404, f"there is no delivery {delivery_id[:60]!r}")
        return TriedDeliveryView(
            **delivery_view(found).model_dump(),
            tries=[TryView(at=one.at, outcome=one.outcome, detail=one.detail, took_ms=one.took_ms) for one in tries],
        )


def _resends(routes: APIRouter, ports: WebPorts, conditions: list[params.Depends]) -> None:
    @routes.post(
        "/{delivery_id}/resend", response_model=ResentView, dependencies=conditions, responses=_MISSING | _REFUSED
    )
    def resend(delivery_id: str, request: Request, idempotency_key: Again = None) -> Response:
        """Owe one that was given up once more."""
        return _answer(ports, request, idempotency_key, f"resend {delivery_id}", lambda session, by, now: (
            resend_deliveries.resend(session, [delivery_id], channels=ports.channels, by=by, now=now)
        ))

    @routes.post("/resend", response_model=ResentView, dependencies=conditions, responses=_MISSING | _REFUSED)
    def resend_many(asked: AskedResend, request: Request, idempotency_key: Again = None) -> Response:
        """Owe several that were given up once more, or all of a channel; all or none."""
        if bool(asked.deliveries) == (asked.channel is not None):
            raise Problem(422, "name deliveries, or a channel")

        def do(session: Session, by: str, now: datetime) -> Resent:
            if asked.channel is not None:
                return resend_deliveries.resend_all(session, asked.channel, channels=ports.channels, by=by, now=now)
            return resend_deliveries.resend(session, asked.deliveries, channels=ports.channels, by=by, now=now)

        return _answer(ports, request, idempotency_key, f"resend\n{asked.model_dump_json()}", do)


def delivery_view(one: LoggedDelivery) -> DeliveryView:
    """The JSON shape of a delivery."""
    words = None if one.waits is None else ROUTE_WORDS[one.waits]
    return DeliveryView(
        delivery_id=one.delivery_id, channel=one.channel, seq=one.seq, state=one.state, attempts=one.attempts,
        due_at=one.due_at, created_at=one.created_at, settled_at=one.settled_at, detail=one.detail, waits=one.waits,
        waits_said=None if words is None else words["zh"],
        waits_said_en=None if words is None else words["en"], held_by=one.held_by,
        alert_id=one.alert_id, transition=one.transition, rule=one.rule, severity=one.severity, why=one.why.zh,
        why_en=one.why.en,
    )


def _answer(
    ports: WebPorts, request: Request, idempotency_key: str | None, what: str,
    do: Callable[[Session, str, datetime], Resent],
) -> Response:
    """Let the key's owner do it, once for one idempotency key."""
    by, now = decider(request).actor, ports.clock.now()

    def told(session: Session) -> KeptAnswer:
        try:
            done = do(session, by, now)
        except UnknownDelivery as error:
            raise Problem(404, str(error)) from error
        except NotGivenUp as error:
            return refusal(Problem(409, str(error), errors=[
                {"where": "delivery", "reason": "not_given_up", "zh": "该条未被放弃，无须重发"}
            ]))
        except UsageError as error:
            raise Problem(422, str(error)) from error
        return KeptAnswer(
            status=200, body=ResentView(resent=list(done.delivery_ids), left=done.left).model_dump_json()
        )

    with ports.database.write() as session:
        return answer_of(made_once(
            session, actor=by, idempotency_key=idempotency_key, asked=what, now=now, do=lambda: told(session)
        ))
