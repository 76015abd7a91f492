"""`/api/v1/rounds`: what the clock started, and whether it ran."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from escrow_monitor.records import runs
from escrow_monitor.web.api.views import LIMIT_MAX, TEXT_CHARACTERS_MAX, ListView
from escrow_monitor.web.ports import WebPorts

RUNS_DEFAULT = 50


class AskedRuns(BaseModel):
    """Which runs, newest first."""

    model_config = ConfigDict(extra="forbid")

    round: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    limit: int = Field(default=RUNS_DEFAULT, ge=1, le=LIMIT_MAX)


class RoundView(BaseModel):
    """One round that must run. `late_after_seconds` after its last success it counts as late; never run is late."""

    round: str
    last_success_at: datetime | None
    late_after_seconds: int
    late: bool


class RunView(BaseModel):
    """One run. `outcome` is ok, wrong or error; null while it runs. `begun` counts restarts from 1."""

    round: str
    shard: str
    scheduled_at: datetime
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    counts: dict[str, int]
    detail: str
    begun: int


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["rounds"])

    @routes.get("/rounds")
    def rounds() -> ListView[RoundView]:
        """The rounds that must run, with their last success."""
        now = ports.clock.now()
        with ports.database.read() as session:
            succeeded = runs.last_success(session)
        return ListView[RoundView](after=None, items=[
            RoundView(
                round=expected.name, last_success_at=succeeded.get(expected.name),
                late_after_seconds=int(expected.late_after.total_seconds()),
                late=(at := succeeded.get(expected.name)) is None or now - at > expected.late_after,
            )
            for expected in ports.rounds
        ])

    @routes.get("/runs")
    def recent(asked: Annotated[AskedRuns, Query()]) -> ListView[RunView]:
        """The runs begun last, newest first."""
        with ports.database.read() as session:
            found = runs.recent(session, limit=asked.limit, round=asked.round)
        return ListView[RunView](after=None, items=[
            RunView(
                round=run.round, shard=run.shard, scheduled_at=run.scheduled_at, started_at=run.started_at,
                finished_at=run.finished_at, outcome=run.outcome.value if run.outcome else None,
                counts=dict(run.counts), detail=run.detail, begun=run.begun,
            )
            for run in found
        ])

    return routes
