"""A control that did not run is itself an alert: rounds that are late, calendars that end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.calendar import WorkingCalendar
from escrow_monitor.domain.findings import Standing
from escrow_monitor.domain.rules.calendar_ends import examine_calendar
from escrow_monitor.domain.rules.round_late import examine_round
from escrow_monitor.records import runs
from escrow_monitor.records.alert_book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.report import Outcome, Report
from escrow_monitor.rounds.signals import Patience, signal_or_clear, split

NAME = "watch-rounds"


def watch_rounds(
    *,
    database: Database,
    channels: Sequence[str],
    patience: Patience,
    late_after: Mapping[str, timedelta],
    calendars: Sequence[WorkingCalendar],
    scheduled_at: datetime,
    now: datetime,
) -> Report:
    """Examine every round that should run, from when this house first ran any, and each calendar."""
    with database.read() as session:
        last = runs.last_success(session)
        since = runs.first_begun_at(session) or now
        live = RecordsAlertBook(session).open_keys()
    findings = [
        examine_round(name=name, last_success_at=last.get(name), expected_every=every, since=since, now=now)
        for name, every in late_after.items()
        if name != NAME
    ]
    today = now.astimezone(ZONE).date()
    findings += [examine_calendar(calendar, today=today, now=now) for calendar in calendars]
    signals, clears = split(
        spoken
        for finding in findings
        if (spoken := signal_or_clear(finding, labels={}, live=live, patience=patience))
    )
    with database.write() as session:
        entries = RecordsAlertBook(session, channels=channels).advance(
            signals=signals, clears=clears, now=now, cause=f"round:{NAME}"
        )
    late = sum(finding.standing is not Standing.MET for finding in findings)
    return Report(
        round=NAME,
        shard="all",
        scheduled_at=scheduled_at,
        outcome=Outcome.WRONG if late else Outcome.OK,
        counts={"rounds": len(late_after), "calendars": len(calendars), "wrong": late, "transitions": len(entries)},
        news=bool(entries),
    )
