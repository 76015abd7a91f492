"""Say of every institution how likely it is to close, before the money is gone, and tell the alert book.

day figures  --brought up to yesterday-->  series  --as of this morning-->  view
view  --assess-->  signals, chances, hard rules  --levels held over the days-->  outlook
view  --forecast-->  when the balance falls below what is owed
outlook  --closure_watch-->  finding  -->  alerts + feed entries + audit + deliveries, one transaction a chunk

An institution is judged once a morning, and again when another rule has told of it since. Whether it is due follows
from the records alone, so a missed or repeated round changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

import numpy as np

from alerts.alert import Clear, Signal
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.closure.forecast import forecast
from escrow_monitor.domain.closure.index import Assessment, Model, assess
from escrow_monitor.domain.closure.levels import Levels, next_levels
from escrow_monitor.domain.closure.morning import Morning, unsure
from escrow_monitor.domain.closure.outlook import Outlook
from escrow_monitor.domain.closure.series import WINDOW, Bools, Peers, Series
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.rules import (
    account_status,
    closure_watch,
    floor,
    large_outflow,
    receipt_outside_escrow,
    release_ahead,
)
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bulk import uncollected
from escrow_monitor.records.closure.days import bring_up, stored_peers, stored_series
from escrow_monitor.records.closure.watches import (
    ClosureState,
    Judged,
    closure_states,
    due_for_watch,
    reasons_before,
    save_judged,
    watched_institutions,
)
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence.audit import lock_chain
from escrow_monitor.rounds.report import Outcome, Progress, Report
from escrow_monitor.rounds.signals import Patience, labels_of, signal_or_clear, split

NAME = "watch-closure"
CHUNK = 5_000
"""Institutions a transaction: a year of their days is half a gigabyte."""
MORNING = time(7)
"""When a day begins for the watch, in our zone: the statements of the day before are due by then."""
WEEK = timedelta(days=7)
MOVING_RULES = (
    floor.RULE, large_outflow.RULE, account_status.RULE, release_ahead.RULE, receipt_outside_escrow.RULE,
)
"""What these tell of moves so much that nobody waits for the next morning."""


def watch_closure(
    *,
    database: Database,
    channels: Sequence[str],
    patience: Patience,
    policies: PolicyBook,
    model: Model,
    scheduled_at: datetime,
    now: datetime,
    usccs: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Judge whoever is due (of these institutions: whether due or not)."""
    work = _Work(
        database=database, channels=channels, patience=patience, policies=policies, model=model, now=now
    )
    with database.read() as session:
        due = _due(session, now, usccs)
    if due:
        work.go(due, progress)
    counts = {"institutions": len(due), **work.counts}
    return Report(
        round=NAME, shard="all", scheduled_at=scheduled_at, counts=counts, news=counts["transitions"] > 0,
        outcome=Outcome.WRONG if counts["orange"] or counts["red"] else Outcome.OK,
    )


def _due(session: Session, now: datetime, usccs: Sequence[str] | None) -> list[str]:
    if usccs is None:
        return due_for_watch(session, morning=morning_of(now), moving_rules=MOVING_RULES)
    watched = set(watched_institutions(session))
    unknown = sorted(set(usccs) - watched)
    if unknown:
        raise UsageError(f"no open institution has the code {', '.join(unknown)}: see institutions list")
    return sorted(set(usccs))


def morning_of(now: datetime) -> datetime:
    """When the newest morning began."""
    local = now.astimezone(ZONE)
    begun = datetime.combine(local.date(), MORNING, ZONE)
    return begun if begun <= local else begun - timedelta(days=1)


@dataclass(slots=True, kw_only=True)
class _Work:
    """One run over many institutions."""

    database: Database
    channels: Sequence[str]
    patience: Patience
    policies: PolicyBook
    model: Model
    now: datetime
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(
        ("yellow", "orange", "red", "unknown", "transitions"), 0
    ))

    @property
    def today(self) -> date:
        return self.now.astimezone(ZONE).date()

    def go(self, due: Sequence[str], progress: Progress | None) -> None:
        yesterday, first = self.today - timedelta(days=1), self.today - timedelta(days=WINDOW)
        # The collector rests: a pause a chunk would have it scan all that was made at the chunk's end.
        with uncollected():
            bring_up(self.database, through=yesterday, now=self.now, policies=self.policies)
            with self.database.read() as session:
                peers = stored_peers(session, first=first, last=yesterday)
            for start in range(0, len(due), CHUNK):
                chunk = due[start : start + CHUNK]
                self._judge(chunk, peers, first, yesterday)
                if progress is not None:
                    progress(start + len(chunk), len(due))

    def _judge(self, usccs: Sequence[str], peers: Peers, first: date, last: date) -> None:
        with self.database.read() as session:
            series = stored_series(session, usccs=usccs, first=first, last=last)
            before = closure_states(session, usccs)
        view = known_now(series).view(series.days, peers=peers)
        assessment = assess(view, self.model)
        blind = unsure(view, assessment, self.model)
        morning = Morning(
            view=view, assessment=assessment, forecast=forecast(view), model=self.model,
            levels=self._levels(usccs, before, assessment, blind),
        )
        held = morning.levels.held
        was_held = np.array([one in before and before[one].held > 0 for one in usccs])
        speaking = [int(row) for row in np.flatnonzero((held > 0) | blind | was_held)]
        with self.database.read() as session:
            reasons = reasons_before(session, [usccs[row] for row in speaking], on=self.today - WEEK)
        telling = set(speaking)
        outlooks = [
            morning.outlook(row, uscc, known_reasons=reasons.get(uscc), why=row in telling)
            for row, uscc in enumerate(usccs)
        ]
        judged = _judged(outlooks, assessment, morning.levels)
        with self.database.write() as session:
            save_judged(session, judged, on=self.today, model=self.model.version, now=self.now)
            self._tell(session, [outlooks[row] for row in speaking])
        for place, name in enumerate(("yellow", "orange", "red"), start=1):
            self.counts[name] += int((held == place).sum())
        self.counts["unknown"] += int((blind & (held == 0)).sum())

    def _levels(
        self, usccs: Sequence[str], before: Mapping[str, ClosureState], assessment: Assessment, blind: Bools
    ) -> Levels:
        """Raised at once; lowered slowly, and never while too little is known to say that it is better."""
        states = [before.get(one) for one in usccs]
        held = np.array([state.held if state else 0 for state in states], dtype=np.int64)
        quiet = np.array([state.quiet if state else 0 for state in states], dtype=np.int64)
        days = np.array([max(0, (self.today - state.judged_on).days) if state else 0 for state in states])
        said = np.where(blind, np.maximum(assessment.level, held), assessment.level)
        return next_levels(Levels(held=held, quiet=quiet), said, days=days)

    def _tell(self, session: Session, outlooks: Collection[Outlook]) -> None:
        known = {one.uscc: one for one in institutions(session, usccs=[one.uscc for one in outlooks])}
        findings = [
            closure_watch.examine(one, self.now) for one in outlooks if one.uscc in known
        ]
        lock_chain(session)
        book = RecordsAlertBook(session, channels=self.channels)
        live = book.open_keys(subjects=sorted({one.subject for one in findings}))
        spoken: list[Signal | Clear] = []
        for outlook, finding in zip(outlooks, findings, strict=True):
            said = signal_or_clear(finding, labels=labels_of(known[outlook.uscc]), live=live, patience=self.patience)
            if said is not None:
                spoken.append(said)
        signals, clears = split(spoken)
        self.counts["transitions"] += len(
            book.advance(signals=signals, clears=clears, now=self.now, cause=f"round:{NAME}")
        )


def known_now(series: Series) -> Series:
    """The series with all that is recorded counted as known: what came in this morning need not wait for the next."""
    newest = series.days - 1
    came = series.arrived <= series.days
    return replace(series, arrived=np.where(came, np.minimum(series.arrived, newest), series.arrived))


def _judged(outlooks: Sequence[Outlook], assessment: Assessment, levels: Levels) -> list[Judged]:
    columns = zip(outlooks, levels.held.tolist(), assessment.level.tolist(), levels.quiet.tolist(), strict=True)
    return [Judged(outlook=outlook, held=held, said=said, quiet=quiet) for outlook, held, said, quiet in columns]
