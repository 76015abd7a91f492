"""What each round did: one row for every (round, shard, scheduled time), also when nothing was found."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, as_json, from_json, run
from escrow_monitor.records.columns import Row, large, one_of


class Outcome(StrEnum):
    """How a round ended: all well, something is wrong with the money or the data, or it could not do its work."""

    OK = "ok"
    WRONG = "wrong"
    ERROR = "error"


class RunRow(Row, table=True):
    """One run of a round. `outcome` is NULL while it runs, and after a crash until it is begun again."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(one_of("outcome", Outcome), "outcome"),
        Index(None, "round", "finished_at"),
        Index(None, "started_at"),
    )

    round: str = Field(primary_key=True)
    shard: str = Field(primary_key=True)
    scheduled_at: datetime = Field(primary_key=True)
    started_at: datetime
    finished_at: datetime | None = None
    outcome: str | None = None
    counts: str = "{}"
    detail: str = ""
    begun: int = large(default=1)


OVERTAKEN_AFTER = timedelta(minutes=30)
"""For how long an unfinished run may still be running somewhere while a newer one of its shard ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it was recorded. `outcome` and `finished_at` are None while it runs; `begun` counts from 1."""

    round: str
    shard: str
    scheduled_at: datetime
    started_at: datetime
    finished_at: datetime | None = None
    outcome: Outcome | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    detail: str = ""
    begun: int = 1


@dataclass(frozen=True, slots=True)
class Begun:
    """The run is ours to do. `times` is 2 or more when an earlier try did not finish."""

    times: int


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """This run has finished before: its record, and nothing to do."""

    run: Run


Beginning: TypeAlias = Begun | AlreadyDone

_CELLS = "round, shard, scheduled_at, started_at, finished_at, outcome, counts, detail, begun"


def begin(session: Session, *, round: str, shard: str, scheduled_at: datetime, now: datetime) -> Beginning:
    """Note that a run begins, unless it has finished before. One that failed with an error may begin again."""
    times = run(
        session,
        "INSERT INTO runs (round, shard, scheduled_at, started_at, counts, detail, begun)"
        " VALUES (:round, :shard, :scheduled_at, :now, '{}', '', 1)"
        " ON CONFLICT (round, shard, scheduled_at) DO UPDATE SET started_at = :now, begun = runs.begun + 1,"
        " finished_at = NULL, outcome = NULL"
        " WHERE runs.outcome IS NULL OR runs.outcome = 'error' RETURNING begun",
        round=round, shard=shard, scheduled_at=scheduled_at, now=now,
    ).scalar()
    if times is not None:
        return Begun(times)
    return AlreadyDone(_runs(
        session, "WHERE round = :round AND shard = :shard AND scheduled_at = :scheduled_at",
        round=round, shard=shard, scheduled_at=scheduled_at,
    )[0])


def finish(
    session: Session, *, round: str, shard: str, scheduled_at: datetime, outcome: Outcome,
    counts: Mapping[str, int], detail: str = "", now: datetime,
) -> None:
    """Note how a run ended. Call it in the transaction of the round's last effect."""
    run(
        session,
        "INSERT INTO runs (round, shard, scheduled_at, started_at, finished_at, outcome, counts, detail, begun)"
        " VALUES (:round, :shard, :scheduled_at, :now, :now, :outcome, :counts, :detail, 1)"
        " ON CONFLICT (round, shard, scheduled_at) DO UPDATE SET finished_at = :now, outcome = :outcome,"
        " counts = :counts, detail = :detail",
        round=round, shard=shard, scheduled_at=scheduled_at, now=now, outcome=str(outcome),
        counts=as_json(dict(counts)), detail=detail,
    )
    # A run that was killed and then overtaken by a newer one of its shard is begun no more: it must not stand open.
    run(
        session,
        "UPDATE runs SET finished_at = :now, outcome = 'error', detail = :detail"
        " WHERE round = :round AND shard = :shard AND scheduled_at < :scheduled_at"
        " AND outcome IS NULL AND started_at < :begun_before",
        round=round, shard=shard, scheduled_at=scheduled_at, now=now, begun_before=now - OVERTAKEN_AFTER,
        detail="interrupted; a later run of this shard has ended since",
    )


def last_success(session: Session) -> dict[str, datetime]:
    """When each round last ended without an error, over all its shards. A round that never did is absent."""
    at = Reader(session).at
    return {name: at(cell) for name, cell in run(session, LAST_SUCCESS)}


LAST_SUCCESS = """
    WITH RECURSIVE names(round) AS (
        SELECT min(round) FROM runs
        UNION ALL
        SELECT (SELECT min(r.round) FROM runs r WHERE r.round > names.round) FROM names WHERE names.round IS NOT NULL
    ), newest(round, finished_at) AS (
        SELECT round, (
            SELECT r.finished_at FROM runs r
            WHERE r.round = names.round AND r.finished_at IS NOT NULL AND r.outcome <> 'error'
            ORDER BY r.finished_at DESC LIMIT 1
        ) FROM names WHERE round IS NOT NULL
    )
    SELECT round, finished_at FROM newest WHERE finished_at IS NOT NULL
"""
"""Steps from round to round through the index instead of reading a row a run."""


def recent(session: Session, *, limit: int = 50, round: str | None = None) -> list[Run]:
    """The runs begun last, newest first."""
    if round is None:
        return _runs(session, "ORDER BY started_at DESC, round, shard LIMIT :limit", limit=limit)
    return _runs(session, "WHERE round = :round ORDER BY started_at DESC, shard LIMIT :limit", limit=limit, round=round)


def _runs(session: Session, clauses: str, **values: Any) -> list[Run]:
    reader = Reader(session)
    return [
        Run(
            round=row[0], shard=row[1], scheduled_at=reader.at(row[2]), started_at=reader.at(row[3]),
            finished_at=reader.instant(row[4]), outcome=Outcome(row[5]) if row[5] else None,
            counts=from_json(row[6]), detail=row[7], begun=row[8],
        )
        for row in run(session, f"SELECT {_CELLS} FROM runs {clauses}", **values)
    ]


def first_begun_at(session: Session) -> datetime | None:
    """When a round first ran here; None before the first."""
    return Reader(session).instant(run(session, "SELECT min(started_at) FROM runs").scalar())
