"""A control that did not run is itself an alert: late rounds, silent banks, calendars and certificates that end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from alerts.alert import AlertKey
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.calendar import WorkingCalendar
from escrow_monitor.domain.certificates import CertificateRole, CertificateState
from escrow_monitor.domain.findings import Finding, Standing
from escrow_monitor.domain.rules import certificate_ends
from escrow_monitor.domain.rules.bank_silent import examine_bank
from escrow_monitor.domain.rules.calendar_ends import examine_calendar
from escrow_monitor.domain.rules.round_late import examine_round
from escrow_monitor.records import runs
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.certificates import seen_certificates
from escrow_monitor.records.bank.pulls import bank_answers
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
    certificates: Sequence[CertificateState] = (),
    tls_banks: Collection[str] = (),
    scheduled_at: datetime,
    now: datetime,
) -> Report:
    """Examine every round that should run, from when this house first ran any, each calendar, certificate and bank.

    `certificates` are our own, as read from their files just now; `tls_banks` are those that show us one of theirs.
    """
    with database.read() as session:
        last = runs.last_success(session)
        since = runs.first_begun_at(session) or now
        live = RecordsAlertBook(session).open_keys()
        shown = seen_certificates(session)
        banks = bank_answers(session)
    findings = [
        examine_round(name=name, last_success_at=last.get(name), expected_every=every, since=since, now=now)
        for name, every in late_after.items()
        if name != NAME
    ]
    today = now.astimezone(ZONE).date()
    findings += [examine_calendar(calendar, today=today, now=now) for calendar in calendars]
    states = [*certificates, *theirs(tls_banks, shown)]
    findings += certificate_findings(states, live=live, now=now)
    findings += [
        examine_bank(
            bank=one.bank, accounts=one.accounts, silent=one.silent, last_answer_at=one.last_answer_at, now=now
        )
        for one in banks
    ]
    signals, clears = split(
        spoken
        for finding in findings
        if (spoken := signal_or_clear(finding, labels=_labels(finding), live=live, patience=patience))
    )
    with database.write() as session:
        book = RecordsAlertBook(session, channels=channels)
        entries = book.advance(signals=signals, clears=clears, now=now, cause=f"round:{NAME}")
        # An acknowledgement that has run out is no control either: whoever is to be called hears of it again.
        entries += book.run_out(now=now)
    late = sum(finding.standing is not Standing.MET for finding in findings)
    return Report(
        round=NAME,
        shard="all",
        scheduled_at=scheduled_at,
        outcome=Outcome.WRONG if late else Outcome.OK,
        counts={
            "rounds": len(late_after), "calendars": len(calendars), "certificates": len(states), "wrong": late,
            "transitions": len(entries),
        },
        news=bool(entries),
    )


def theirs(banks: Collection[str], shown: Mapping[str, CertificateState]) -> Iterator[CertificateState]:
    """The banks' own certificates as last seen; what was never seen is unknown, not fine."""
    for bank in banks:
        yield shown.get(bank) or CertificateState(
            bank=bank, role=CertificateRole.SERVER, certificates=(), seen_at=None, unknown_why="no connection yet"
        )


def certificate_findings(
    states: Sequence[CertificateState], *, live: Collection[AlertKey], now: datetime
) -> list[Finding]:
    """What is to be said of every certificate, and of those that an alert is open about but nobody uses any more."""
    findings = [certificate_ends.examine_certificates(state, now=now) for state in states]
    examined = {finding.subject for finding in findings}
    left = {key.subject for key in live if key.rule == certificate_ends.RULE} - examined
    return findings + [certificate_ends.examine_unused(subject, now=now) for subject in sorted(left)]


def _labels(finding: Finding) -> Mapping[str, str]:
    """Which bank an alert about our means is about, for routing."""
    bank = finding.values.get("bank")
    return {"bank": bank} if isinstance(bank, str) else {}
