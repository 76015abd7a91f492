"""Long work over the API: asked for with 202, followed at its own address, and told apart from what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import orjson
from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.web.api.again import made_once
from escrow_monitor.web.api.views import LIMIT_MAX, TEXT_CHARACTERS_MAX, ListView, page_of
from escrow_monitor.web.long_work import owner_for
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who
from escrow_monitor.web.works import Kind, Progress, TooMuchWork, Work, Works, WorkState

T = TypeVar("T")
LIMIT_DEFAULT = 20
RETRY_SECONDS = 10
FOLLOW_SECONDS = 1
LOST = (
    "the process that was at it has stopped, and how far it came is not known: ask for it anew; a file may be sent "
    "again, for what is recorded already is not recorded twice"
)
WorkId = Annotated[str, Path(max_length=TEXT_CHARACTERS_MAX, description="as `Location` named it")]


class WorkView(BaseModel):
    """One piece of long work: `done` of `total` is how far it is. `lost`: the process that was at it has stopped.

    `problem` says what is wrong, as problem+json says it, once it failed or is lost. `result` is there once it is
    done, and only where one piece of work is asked for. It is kept for seven days.
    """

    id: str
    state: WorkState
    owner: str
    done: int
    total: int | None
    begun_at: datetime
    beat_at: datetime
    ended_at: datetime | None
    problem: dict[str, Any] | None


class AskedWorks(BaseModel):
    """Which page."""

    model_config = ConfigDict(extra="forbid")

    after: str = Field(
        default="", max_length=TEXT_CHARACTERS_MAX, description="go on after the page that gave this as its `after`"
    )
    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)


V = TypeVar("V", bound=WorkView)


@dataclass(frozen=True, kw_only=True)
class LongNoun(Generic[T, V]):
    """A noun of the API whose writes take long: the kind of work, where one of it is found, and its JSON shape."""

    ports: WebPorts
    works: Works
    kind: Kind[T]
    path: Callable[[Work[T]], str]
    view: Callable[[Work[T]], V]
    what: str

    def begun(
        self, do: Callable[[Progress], T], *, who: Who, idempotency_key: str | None, told: str, subject: str = "",
        asked: Mapping[str, Any], unused: Callable[[], object] = lambda: None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Begin it, once for one idempotency key; answer 202 with where to follow it. Raises Problem 409 and 429.

        `told` is all that was asked, as text. `unused` is called where nothing is begun, for what was made ready.
        """
        entered: list[Work[T]] = []

        def enter() -> KeptAnswer:
            entered.append(self.works.enter(
                session, kind=self.kind, owner=who.actor, subject=subject, asked=asked
            ))
            body = {"location": self.path(entered[0]), "view": self.view(entered[0]).model_dump(mode="json")}
            return KeptAnswer(status=202, body=orjson.dumps(body).decode())

        try:
            with self.ports.database.write() as session:
                kept = made_once(
                    session, actor=who.actor, idempotency_key=idempotency_key, asked=told, now=self.ports.clock.now(),
                    do=enter,
                )
        except BaseException as error:
            unused()
            if isinstance(error, TooMuchWork):
                raise Problem(
                    429, "as much is at work as may be at once: wait for one to end",
                    headers={"Retry-After": str(RETRY_SECONDS)},
                ) from error
            raise
        for work in entered:
            self.works.start(work, do, kind=self.kind)
        if not entered:
            unused()
        found = orjson.loads(kept.body)
        return Response(orjson.dumps(found["view"]), 202, {
            "Location": found["location"], "Retry-After": str(FOLLOW_SECONDS), "Cache-Control": "no-store",
            **(headers or {}),
        }, "application/json")

    def shown(self, work_id: str, who: Who) -> Work[T]:
        """One piece of work, of one's own. Raises Problem 404."""
        found = self.works.of(work_id, kind=self.kind, owner=owner_for(who))
        if found is None:
            raise Problem(404, f"no {self.what} {work_id[:40]!r} was asked for, or it was too long ago")
        return found

    def page(self, asked: AskedWorks, who: Who) -> ListView[V]:
        """What was asked for last, the newest first."""
        found = self.works.newest(
            kind=self.kind, owner=owner_for(who), limit=asked.limit + 1, before=asked.after
        )
        return page_of([self.view(one) for one in found], [one.work_id for one in found], asked.limit)


def work_fields(work: Work[Any], *, status: int = 422) -> dict[str, Any]:
    """What every view of long work says. A refusal would have been answered with `status`."""
    problem = None
    if work.state is WorkState.LOST:
        problem = Problem(503, LOST)
    elif work.state is WorkState.FAILED:
        problem = Problem(status, work.error) if work.error else Problem(500, "it failed; the server's log says why")
    return {
        "id": work.work_id, "state": work.state, "owner": work.owner, "done": work.done, "total": work.total,
        "begun_at": work.begun_at, "beat_at": work.beat_at, "ended_at": work.ended_at,
        "problem": None if problem is None else problem_document(problem),
    }


def problem_document(problem: Problem) -> dict[str, Any]:
    """A problem as the document that would have been answered."""
    found: dict[str, Any] = orjson.loads(bytes(problem.response().body))
    return found
