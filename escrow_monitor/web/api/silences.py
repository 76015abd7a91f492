"""`/api/v1/silences`: who is not to be called about what; made, previewed, confirmed by a second person, ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, params
from pydantic import BaseModel, Field
from starlette.responses import Response

from alerts.alert import Alert, Severity
from alerts.routing import Silence, SilenceState
from escrow_monitor.actions import silence_alerts
from escrow_monitor.actions.silence_alerts import MATCHERS, WORDS, SilenceRefused, UnknownSilence
from escrow_monitor.errors import UsageError
from escrow_monitor.records.alerts.silences import KeptSilence, silence, silences
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.database import Session
from escrow_monitor.web.api.again import Again, answer_of, made_once, refusal
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body, Flag, Instant
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView, page_of
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON, Problem

SHOWN_MAX = 100
"""So many of the alerts that a silence hides are listed; the counts tell of all."""
REASON_CHARACTERS_TAKEN_MAX = 2_000

_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"description": "there is no such silence", "content": {PROBLEM_JSON: {}}},
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"description": "it has ended, or the second person is the first", "content": {PROBLEM_JSON: {}}},
}

_Text = Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX)]


class AskedSilences(Asked):
    """Filters that all must fit. `state` left out: all that have not ended. The rest are matchers of the silence."""

    state: SilenceState | None = None
    ended: bool = Field(default=False, description="those that have ended as well")
    author: _Text | None = None
    red: bool | None = None
    rule: _Text | None = None
    subject: _Text | None = None
    uscc: _Text | None = None
    account_no: _Text | None = None
    bank: _Text | None = None
    district: _Text | None = None


class AskedSilence(Body):
    """What is to be silent. `starts_at` null: from now on. `red`: what is red too, once another person confirmed it."""

    matchers: dict[_Text, _Text] = Field(
        min_length=1, max_length=len(MATCHERS), description=f"all must fit: {', '.join(MATCHERS)}"
    )
    reason: str = Field(max_length=REASON_CHARACTERS_TAKEN_MAX)
    starts_at: Instant | None = None
    ends_at: Instant
    red: Flag = False


class SilenceView(BaseModel):
    """One silence. It hides nothing while it is proposed; `ended_by` is who ended it before its time."""

    silence_id: str
    state: SilenceState
    matchers: dict[str, str]
    red: bool
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None
    ended_by: str | None


class HitView(BaseModel):
    """An open alert that a silence fits."""

    alert_id: str
    rule: str
    subject: str
    severity: Severity
    why: str
    why_en: str


class PreviewView(BaseModel):
    """A silence with what it hides of what is open now. `made` false: it was only tried.

    `spares` are those that fit and are red, and are called about all the same. Both list the first 100.
    """

    silence: SilenceView
    made: bool
    hides_count: int
    hides: list[HitView]
    spares_count: int
    spares: list[HitView]


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. Writes need a key with the scope `decide`; its name is who makes, confirms or ends."""
    routes = APIRouter(tags=["silences"], prefix="/silences")

    _reads(routes, ports)
    _makes(routes, ports, decides(ports, guard))
    _changes(routes, ports, decides(ports, guard))
    return routes


def _reads(routes: APIRouter, ports: WebPorts) -> None:
    @routes.get("")
    def list_(asked: Annotated[AskedSilences, Query()]) -> ListView[SilenceView]:
        """Silences by id, with filters."""
        now = ports.clock.now()
        with ports.database.read() as session:
            kept = silences(session, at=None if asked.ended or asked.state is SilenceState.ENDED else now)
        fitting = [silence_view(one, now=now) for one in kept if _fits(one.silence, asked, now)]
        views = sorted(fitting, key=lambda view: view.silence_id)[: asked.limit + 1]
        return page_of(views, [view.silence_id for view in views], asked.limit)

    @routes.get("/{silence_id}", responses=_MISSING)
    def show(silence_id: str) -> PreviewView:
        """One silence, and what it hides, or would hide, of what is open now."""
        now = ports.clock.now()
        with ports.database.read() as session:
            found = silence(session, silence_id)
            if found is None:
                raise Problem(404, f"there is no silence {silence_id[:40]!r}")
            return _preview(session, found, now, made=True)


def _makes(routes: APIRouter, ports: WebPorts, conditions: list[params.Depends]) -> None:
    @routes.post("", response_model=PreviewView, status_code=201, dependencies=conditions, responses={
        200: {"description": "dry run: what it would hide", "model": PreviewView},
        409: {"description": "the key stands for another request", "content": {PROBLEM_JSON: {}}},
    })
    def make(
        asked: AskedSilence, request: Request,
        dry_run: Annotated[bool, Query(description="only show what it would hide")] = False,
        idempotency_key: Again = None,
    ) -> Response:
        """Make a silence, or propose one of red; the answer shows what it hides now."""
        def do(session: Session, by: str, now: datetime) -> KeptAnswer:
            new = silence_alerts.silence_of(
                matchers=asked.matchers, author=by, reason=asked.reason, starts_at=asked.starts_at,
                ends_at=asked.ends_at, now=now, red=asked.red,
            )
            if not dry_run:
                silence_alerts.make(session, new, now=now)
            view = _preview(session, KeptSilence(silence=new, ended_by=None), now, made=not dry_run)
            return KeptAnswer(status=200 if dry_run else 201, body=view.model_dump_json())

        what = f"silence {dry_run}\n{asked.model_dump_json()}"
        return _answer(ports, request, None if dry_run else idempotency_key, what, do)


def _changes(routes: APIRouter, ports: WebPorts, conditions: list[params.Depends]) -> None:
    @routes.post(
        "/{silence_id}/confirm", response_model=PreviewView, dependencies=conditions, responses=_MISSING | _REFUSED
    )
    def confirm(silence_id: str, request: Request, idempotency_key: Again = None) -> Response:
        """Confirm, as another person, a silence of red that was proposed: it takes effect."""
        decider(request).check_confirms(what="silence")

        def do(session: Session, by: str, now: datetime) -> KeptAnswer:
            kept = silence_alerts.confirm(session, silence_id, by=by, now=now)
            return KeptAnswer(status=200, body=_preview(session, kept, now, made=True).model_dump_json())

        return _answer(ports, request, idempotency_key, f"silence confirm {silence_id}", do)

    @routes.delete("/{silence_id}", response_model=SilenceView, dependencies=conditions, responses=_MISSING | _REFUSED)
    def end(silence_id: str, request: Request, idempotency_key: Again = None) -> Response:
        """End a silence now, or take a proposal back. It is kept, with who ended it."""
        def do(session: Session, by: str, now: datetime) -> KeptAnswer:
            kept = silence_alerts.end(session, silence_id, by=by, now=now)
            return KeptAnswer(status=200, body=silence_view(kept, now=now).model_dump_json())

        return _answer(ports, request, idempotency_key, f"silence end {silence_id}", do)


def silence_view(kept: KeptSilence, *, now: datetime) -> SilenceView:
    """The JSON shape of a silence."""
    one = kept.silence
    return SilenceView(
        silence_id=one.silence_id, state=one.state(now), matchers=dict(one.matchers), red=one.red, author=one.author,
        reason=one.reason, starts_at=one.starts_at, ends_at=one.ends_at, confirmed_by=one.confirmed_by,
        confirmed_at=kept.confirmed_at, ended_by=kept.ended_by,
    )


def _fits(one: Silence, asked: AskedSilences, now: datetime) -> bool:
    if one.silence_id <= asked.after or (asked.state is not None and one.state(now) is not asked.state):
        return False
    if (asked.author or one.author) != one.author or asked.red not in (None, one.red):
        return False
    wanted = {name: value for name in MATCHERS if (value := getattr(asked, name, None)) is not None}
    return all(one.matchers.get(name) == value for name, value in wanted.items())


def _preview(session: Session, kept: KeptSilence, now: datetime, *, made: bool) -> PreviewView:
    found = silence_alerts.preview(session, kept.silence, limit=SHOWN_MAX)
    return PreviewView(
        silence=silence_view(kept, now=now), made=made, hides_count=found.hidden_count, hides=_hits(found.hidden),
        spares_count=found.spared_count, spares=_hits(found.spared),
    )


def _hits(alerts: Sequence[Alert]) -> list[HitView]:
    return [
        HitView(
            alert_id=one.alert_id, rule=one.key.rule, subject=one.key.subject, severity=one.severity, why=one.why.zh,
            why_en=one.why.en,
        )
        for one in alerts
    ]


def _answer(
    ports: WebPorts, request: Request, idempotency_key: str | None, what: str,
    do: Callable[[Session, str, datetime], KeptAnswer],
) -> Response:
    """Let the key's owner do it, once for one idempotency key; a refusal is an answer like any other."""
    by, now = decider(request).actor, ports.clock.now()

    def told(session: Session) -> KeptAnswer:
        try:
            return do(session, by, now)
        except UnknownSilence as error:
            raise Problem(404, str(error)) from error
        except SilenceRefused as error:
            words = WORDS[error.reason]
            why = {"where": "silence", "reason": error.reason.value, "zh": words["zh"]}
            return refusal(Problem(409, words["en"], errors=[why]))
        except UsageError as error:
            raise Problem(422, str(error)) from error

    with ports.database.write() as session:
        return answer_of(made_once(
            session, actor=by, idempotency_key=idempotency_key, asked=what, now=now, do=lambda: told(session)
        ))
