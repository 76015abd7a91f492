"""`/api/v1/backtests`: a past replayed through the closure watch and other policies, to see what each would have said.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field, Strict
from starlette.responses import Response

from escrow_monitor.web.api.again import Again
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body
from escrow_monitor.web.api.views import ListView
from escrow_monitor.web.api.works import AskedWorks, LongNoun, WorkId, WorkView, work_fields
from escrow_monitor.web.guard import SCOPE_OPERATIONS, Guard
from escrow_monitor.web.long_work import BACK_TEST, COMPARED_MAX, not_compared, replay
from escrow_monitor.web.ports import AskedBackTest, WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker
from escrow_monitor.web.works import Work, Works

PATH = "/api/v1/backtests"
POLICY_CHARACTERS_MAX = 60


class Past(StrEnum):
    """What is replayed: a sandbox city, what is recorded as it was known then, or as it is known now."""

    CITY = "city"
    RECORDS = "records"
    HINDSIGHT = "hindsight"


class AskedBackTestView(Body):
    """Which past, and the policies to compare beside ours: ids of packs, `floor:0.30` or `watch:...`.

    `institutions`, `years` and `seed` are those of a city.
    """

    past: Past = Past.CITY
    policies: list[Annotated[str, Field(min_length=1, max_length=POLICY_CHARACTERS_MAX)]] = Field(
        default=[], max_length=COMPARED_MAX
    )
    institutions: Annotated[int, Strict()] = Field(default=120, ge=10, le=2_000)
    years: Annotated[int, Strict()] = Field(default=2, ge=2, le=5)
    seed: Annotated[int, Strict()] = Field(default=77, ge=0, le=2**31)


class BackTestView(WorkView):
    """A back-test. `result` has one object a method, as `backtest --json` has it."""

    past: Past
    policies: list[str]
    result: dict[str, Any] | None


def router(ports: WebPorts, guard: Guard, works: Works) -> APIRouter:
    """The routes of this noun. Recorded history is about every institution: a city is for who is limited."""
    routes = APIRouter(tags=["backtests"], prefix="/backtests")
    noun = LongNoun(
        ports=ports, works=works, kind=BACK_TEST, path=lambda work: f"{PATH}/{work.work_id}", view=_view,
        what="back-test",
    )

    @routes.post(
        "", status_code=202, response_model=BackTestView, dependencies=decides(ports, guard, SCOPE_OPERATIONS),
        responses={409: {"description": "this server replays nothing, or the key stands for another request"}},
    )
    def begin(asked: AskedBackTestView, request: Request, idempotency_key: Again = None) -> Response:
        """Begin a back-test; follow it at `Location`."""
        who = decider(request)
        if asked.past is not Past.CITY:
            who.check_sees_everything(what="recorded history")
        if (word := not_compared(ports, asked.policies)) is not None:
            raise Problem(422, f"{word[:40]!r} is no policy that can be compared: name a pack, floor:0.30 or watch:...")
        do = replay(ports, AskedBackTest(
            policies=tuple(asked.policies), city=asked.past is Past.CITY, hindsight=asked.past is Past.HINDSIGHT,
            institutions=asked.institutions, years=asked.years, seed=asked.seed,
        ))
        if do is None:
            raise Problem(409, "this server replays nothing: ask one that `escrow-monitor serve` started")
        return noun.begun(
            do, who=who, idempotency_key=idempotency_key, told=f"backtest\n{asked.model_dump_json()}",
            subject=" ".join(asked.policies), asked={"past": asked.past.value, "policies": asked.policies},
        )

    @routes.get("")
    def newest(asked: Annotated[AskedWorks, Query()], who: Asker) -> ListView[BackTestView]:
        """One's own back-tests, the newest first; an administrator's list has everybody's."""
        return noun.page(asked, who)

    @routes.get("/{work_id}")
    def follow(work_id: WorkId, who: Asker) -> BackTestView:
        """How far a back-test is, and what came out."""
        return _view(noun.shown(work_id, who))

    return routes


def _view(work: Work[dict[str, Any]]) -> BackTestView:
    return BackTestView(
        **work_fields(work), past=Past(work.asked.get("past", Past.CITY)),
        policies=list(work.asked.get("policies", ())), result=work.result,
    )
