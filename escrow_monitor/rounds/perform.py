"""The edge of every round: begun and finished in the records once per (round, shard, scheduled time).

How it ended is an entry of the audit chain as well, in the same transaction; only a round that found nothing at all to
do leaves none, for deliveries are looked for every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.logs import bound
from escrow_monitor.logs import log as logger
from escrow_monitor.records import runs
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.rounds.report import Outcome, Report

DETAIL_MAX = 500
"""Characters of a round's sentence that its audit entry carries."""


class RoundWatch(Protocol):
    """Hears of each finished round: for metrics."""

    def __call__(self, *, round: str, outcome: str, seconds: float) -> None: ...


def perform(
    *,
    name: str,
    shard: str,
    scheduled_at: datetime,
    now_of: Callable[[], datetime],
    database: Database,
    observe: RoundWatch,
    do: Callable[[], Report],
    context: Mapping[str, str] | None = None,
) -> Report:
    """Do a round unless it was done, and leave a run record whatever happens.

    A round that fails is recorded as `error` with its sentence and the error is raised again: the caller decides
    whether to try again under the same scheduled time, which has no second effect.
    """
    log = logger("escrow_monitor.rounds")
    began = time.monotonic()
    with database.write() as session:
        begun = runs.begin(session, round=name, shard=shard, scheduled_at=scheduled_at, now=now_of())
    if isinstance(begun, runs.AlreadyDone):
        return Report(
            round=name,
            shard=shard,
            scheduled_at=scheduled_at,
            outcome=begun.run.outcome or Outcome.ERROR,
            counts=begun.run.counts,
            detail=begun.run.detail,
            repeated=True,
            # Whoever did it may have died before those that follow were started.
            news=True,
        )
    run_id = f"{name}:{shard}:{scheduled_at.isoformat()}"
    with bound(round=name, shard=shard, run_id=run_id, **(context or {})):
        try:
            report = do()
        except Exception as error:
            # The edge of a round: whatever went wrong is recorded, counted and said before it goes on.
            sentence = str(error) if isinstance(error, EscrowMonitorError) else f"{type(error).__name__}: {error}"
            failed = Report(
                round=name, shard=shard, scheduled_at=scheduled_at, outcome=Outcome.ERROR, detail=sentence[:2000]
            )
            _finish(database, failed, now_of())
            observe(round=name, outcome=Outcome.ERROR.value, seconds=time.monotonic() - began)
            log.error("round.failed", reason=sentence)
            raise
        if begun.times > 1:
            # What the earlier try had recorded before it died is no news to this one, but nobody was told of it yet.
            report = replace(report, news=True)
        _finish(database, report, now_of())
        seconds = time.monotonic() - began
        observe(round=name, outcome=report.outcome.value, seconds=seconds)
        log.info("round.finished", outcome=report.outcome.value, seconds=round(seconds, 3), **report.counts)
    return report


def _finish(database: Database, report: Report, now: datetime) -> None:
    with database.write() as session:
        runs.finish(
            session,
            round=report.round,
            shard=report.shard,
            scheduled_at=report.scheduled_at,
            outcome=report.outcome,
            counts=report.counts,
            detail=report.detail,
            now=now,
        )
        if report.outcome is not Outcome.OK or any(report.counts.values()):
            audit.append(session, kind="round.finished", actor=f"round:{report.round}", now=now, payload={
                "shard": report.shard, "scheduled_at": report.scheduled_at.isoformat(),
                "outcome": report.outcome.value, "counts": dict(report.counts), "detail": report.detail[:DETAIL_MAX],
            })
