"""Recorded history as a past to replay: every morning with what was recorded by then, and what became of whom.

Two times: a day's figures, and when they were recorded. Where history was recorded long after it happened, next to
nothing was known on its mornings; `hindsight` then takes every day as known at its end, which flatters late records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np

from escrow_monitor.actions.backtest import BackTest, Progress, coverage_of, finished, replayed_days, said_of, span
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.closure.back_test import NEVER, Fates, Said, replay
from escrow_monitor.domain.closure.index import Model
from escrow_monitor.domain.closure.methods import Method
from escrow_monitor.domain.closure.series import WINDOW, Ints, Series, View
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.closings import closed_on, history_begins_on, recorded_since
from escrow_monitor.records.closure.direct import closure_series
from escrow_monitor.records.database import Session

MORNING = time(7)
STEP_DAYS = 7
"""What was recorded by a morning is gathered anew for it, which takes long: one a week, unless asked for more."""
LATE_DAYS = 30
"""A statement that was recorded so many days after its day tells of an import of old history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """All that is recorded by now of all institutions, and the columns of the evaluated mornings.

    On mornings before `recorded_from` nothing was known.
    """

    series: Series
    closed: Mapping[str, date]
    first: int
    last: int
    policies: PolicyBook
    recorded_from: int = 0

    @property
    def late_share(self) -> float:
        """The share of the institution-days whose statement was recorded more than a month later, or never."""
        columns = np.arange(self.series.days)
        return float(np.mean(self.series.arrived - columns > LATE_DAYS))


def recorded_past(
    session: Session, *, first: date | None, last: date | None, now: datetime, policies: PolicyBook,
    hindsight: bool = False,
) -> Past:
    """What can be replayed. Raises UsageError where nothing or too little is recorded."""
    begins_on = history_begins_on(session)
    if begins_on is None:
        raise UsageError("no statement is recorded, so there is no history to replay: load statements, or add --city")
    usccs = [one.uscc for one in institutions(session)]
    if not usccs:
        raise UsageError("no institution is recorded, so there is no history to replay: import them, or add --city")
    ends_on = now.astimezone(ZONE).date() - timedelta(days=1)
    if last is not None and last > ends_on:
        raise UsageError(f"--to {last} is not over yet: take {ends_on} at the latest")
    since = begins_on if hindsight else (recorded_since(session) or ends_on) + timedelta(days=1)
    if since > ends_on:
        raise UsageError(
            f"nothing was recorded before {since - timedelta(days=1)}, so nothing was known on any morning of the "
            "past: --hindsight takes every day as known at its end"
        )
    columns = span(
        starts_on=begins_on, days=(ends_on - begins_on).days + 1, first=first, last=last, not_before=since
    )
    series = closure_series(session, usccs=usccs, first=begins_on, last=ends_on, policies=policies)
    return Past(
        series=series, closed=closed_on(session), first=columns[0], last=columns[1], policies=policies,
        recorded_from=0 if hindsight else series.column(since),
    )


def recorded_back_test(
    session: Session, past: Past, methods: Sequence[Method], model: Model, *, about: Mapping[str, Any],
    institutions_per_supervisor: int, hindsight: bool = False, step_days: int = STEP_DAYS, processes: int = 1,
    progress: Progress | None = None,
) -> BackTest:
    """Replay it, every `step_days` days, with hindsight every day. `progress` counts mornings, then institutions."""
    series, days = past.series, replayed_days(past.first, past.last)
    if hindsight:
        at_once = np.tile(np.arange(series.days, dtype=np.int64), (len(series.ids), 1))
        series = replace(series, arrived=at_once)
        said = said_of(series, days, methods, model, processes=processes, progress=progress)
    else:
        known = range(max(days[0], past.recorded_from), days[-1] + 1)
        # The last morning is always looked at; steps are counted back from it.
        chosen = range(known[-1], known[0] - 1, -step_days)[::-1]
        said = replay_recorded(session, past, chosen, methods, model, progress)
    fates = _fates(past)
    return finished(
        said, fates, methods, about=about, first=past.first, last=past.last, known_to=series.days - 1,
        institutions_per_supervisor=institutions_per_supervisor,
        forecast=coverage_of(series, fates, past.first, past.last),
    )


def replay_recorded(
    session: Session, past: Past, days: Sequence[int], methods: Sequence[Method], model: Model,
    progress: Progress | None,
) -> Said:
    """What every method says on the mornings `days`, each from what was recorded by then. `progress` counts them."""
    series = past.series

    def views() -> Iterator[View]:
        for column in days:
            morning = series.starts_on + timedelta(days=column)
            known = closure_series(
                session, usccs=series.ids, first=morning - timedelta(days=min(WINDOW, column)),
                last=morning - timedelta(days=1), known_at=datetime.combine(morning, MORNING, ZONE),
                policies=past.policies,
            )
            yield known.view(known.days)

    def hear(done: int) -> None:
        if progress is not None:
            progress(done, len(days))

    return replay(views(), methods, model, days=days, count=len(series.ids), heard=hear)


def _fates(past: Past) -> Fates:
    series = past.series
    return Fates(
        ids=series.ids, closes=_closes(past), causes=(None,) * len(series.ids), owed_fen=series.values["owed_fen"],
        balance_fen=series.values["balance_fen"], starts_on=series.starts_on,
    )


def _closes(past: Past) -> Ints:
    """The column of the last day: that of the last lesson, and not after the register said so; without one, that."""
    series = past.series
    taught = series.values["taught"] > 0
    last_taught = np.where(taught.any(axis=1), series.days - 1 - np.argmax(taught[:, ::-1], axis=1), series.days)
    closes = np.full(len(series.ids), NEVER, np.int64)
    for row, uscc in enumerate(series.ids):
        if uscc in past.closed:
            closes[row] = min(int(last_taught[row]), series.column(past.closed[uscc]))
    return closes
