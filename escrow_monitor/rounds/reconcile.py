"""Reconcile every institution of which something is new, or whose time has come, and tell the alert book.

contracts, charges, lessons   --bring to today-->  sums
entries, charges, refunds     --offer-->  matching  --match-->  refunds seen  -->  cases, contracts
all of it                     --books-->  reconcile()  -->  reconciliations, their history
reconciliations, refunds, fee caps  -->  InstitutionPosition  -->  INSTITUTION_RULES  -->  signals and clears
        -->  alerts + feed entries + audit + deliveries, one transaction a chunk

A reconciliation is for a day: the newest working day whose final balance is due, or a later one that every account is
covered for already. By default only what changed is done again. The whole, on demand, makes all sums anew and looks at
every institution; what comes out is the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeVar

from alerts.alert import Clear, Signal
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.bridge import Reconciliation
from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar, next_working_day_after
from escrow_monitor.domain.findings import Finding, Standing
from escrow_monitor.domain.institution_position import InstitutionPosition
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.matching import Expected, MatchPolicy
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.reconciliation import reconcile as explain
from escrow_monitor.domain.rules import INSTITUTION_RULES
from escrow_monitor.domain.timetable import due_at, due_day
from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.coverage import refresh_gaps
from escrow_monitor.records.bulk import uncollected
from escrow_monitor.records.contracts.cases import SeenRefund, expected_refunds, note_seen, note_unseen, refund_facts
from escrow_monitor.records.contracts.fee_caps import fee_cap_facts
from escrow_monitor.records.contracts.sums import recompute
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence.audit import lock_chain
from escrow_monitor.records.matching.matching import match_all, match_institutions
from escrow_monitor.records.matching.sources import offer, open_refunds
from escrow_monitor.records.reconciliation.books import (
    account_numbers,
    books_of,
    newest_common_days,
    recorded_refunds,
    seen_refunds,
)
from escrow_monitor.records.reconciliation.reconciliations import (
    Result,
    abandoned,
    asked,
    claim,
    due_institutions,
    facts_of,
    finish,
    progressed,
    save_results,
)
from escrow_monitor.rounds.contract_days import bring_to_today
from escrow_monitor.rounds.report import Outcome, Progress, Report
from escrow_monitor.rounds.signals import Patience, labels_of, signal_or_clear, split
from escrow_monitor.rounds.silent_refunds import deem_silent_refunds

NAME = "reconcile"
CHUNK = 200
"""Institutions a transaction: other writers wait for a second or two, and it is still written in bulk."""
MANY = 400
"""From so many institutions on, matching looks at everything that is open in one go."""
MATCH_POLICY = MatchPolicy(days_after=11)
"""Amounts must tie. Money is booked from a day before it was paid to eleven days after: what is paid before a long
holiday comes on the first working day after it. Whether it came in time is judged by working days, not by this."""


Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What one run did: the number of each reconciliation, and of them how many are not complete or have findings."""

    numbers: tuple[int, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def reconcile(
    *,
    database: Database,
    policies: PolicyBook,
    channels: Sequence[str],
    patience: Patience,
    scheduled_at: datetime,
    now: datetime,
    usccs: Sequence[str] | None = None,
    whole: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Do what is due (of these institutions: whether it is due or not). Cost follows what changed.

    What a person asked for and nobody took up, or whoever did fell silent, is done first.
    """
    with database.read() as session:
        waiting = abandoned(session, now=now)
    for request_id in waiting:
        reconcile_asked(
            request_id, database=database, policies=policies, channels=channels, patience=patience, now=now
        )
    done = reconcile_institutions(
        database=database, policies=policies, channels=channels, patience=patience, now=now, usccs=usccs, whole=whole,
        progress=progress, actor=f"round:{NAME}",
    )
    counts = done.counts
    return Report(
        round=NAME, shard="all", scheduled_at=scheduled_at, counts=counts, news=counts["transitions"] > 0,
        outcome=Outcome.WRONG if counts["incomplete"] or counts["breached"] else Outcome.OK,
    )


def reconcile_asked(
    request_id: str,
    *,
    database: Database,
    policies: PolicyBook,
    channels: Sequence[str],
    patience: Patience,
    now: datetime,
    progress: Progress | None = None,
) -> bool:
    """Do what a person asked for, and say how far it is as it goes. False: another does it, or it is done."""
    with database.write() as session:
        if not claim(session, request_id, now=now):
            return False
        wanted = asked(session, request_id)
    assert wanted is not None, "it was just claimed"  # noqa: S101 - the row is there

    def hear(done: int, total: int | None) -> None:
        with database.write() as session:
            progressed(session, request_id, done=done, total=total, now=now)
        if progress is not None:
            progress(done, total)

    problem, found = None, Reconciled()
    try:
        found = reconcile_institutions(
            database=database, policies=policies, channels=channels, patience=patience, now=now, actor=wanted.actor,
            usccs=None if wanted.uscc is None else [wanted.uscc], day=wanted.day, whole=wanted.whole, progress=hear,
        )
    except EscrowMonitorError as error:
        problem = str(error)
        raise
    except Exception as error:
        # Whoever asked must hear that it failed, whatever it was.
        problem = type(error).__name__
        raise
    finally:
        with database.write() as session:
            finish(
                session, request_id, problem=problem, now=now,
                found={"reconciliations": list(found.numbers), "counts": dict(found.counts)},
            )
    return True


def reconcile_institutions(
    *,
    database: Database,
    policies: PolicyBook,
    channels: Sequence[str],
    patience: Patience,
    now: datetime,
    actor: str,
    usccs: Sequence[str] | None = None,
    day: date | None = None,
    whole: bool = False,
    progress: Progress | None = None,
) -> Reconciled:
    """The same for whoever asks. `day`: at the end of that day, by what is known now; nobody is alerted of the past."""
    work = _Work(
        database=database, policies=policies, channels=channels, patience=patience, now=now, actor=actor, day=day
    )
    bring_to_today(database, policies=policies, now=now)
    if day is None and (deemed := deem_silent_refunds(database, policies=policies, now=now)):
        work.counts["refunds_deemed"] = deemed
    if whole:
        with database.write() as session:
            work.counts["sums_corrected"] = sum(one.rows for one in recompute(session, work.today))
    with database.read() as session:
        refunds = expected_refunds(session, usccs=None)
        facts = facts_of(session, usccs)
        due = sorted(facts) if usccs is not None or whole or day is not None else sorted({
            *due_institutions(session, facts, policy_version=policies.version, now=now),
            *(_otherwise_expected(session, refunds) & facts.keys()),
        })
    many = whole or len(due) > MANY
    work.total = len(due)
    # As it was before anything was read: what is recorded while we work makes the institution due once more.
    work.facts = facts
    # The collector rests: a pause a chunk would have it scan all that was made at the chunk's end.
    with uncollected():
        for chunk in _chunks(due):
            # Apart from the rest: whoever records contracts holds those and wants the accounts, never the other way.
            with database.write() as session:
                work.find_gaps(session, chunk)
        for chunk in _chunks(due) if many else ():
            with database.write() as session:
                offer(session, chunk, refunds, now=now)
        if many:
            with database.write() as session:
                match_all(session, MATCH_POLICY, now=now)
        for chunk in _chunks(due):
            with database.write() as session:
                if not many:
                    offer(session, chunk, refunds, now=now)
                    match_institutions(session, MATCH_POLICY, chunk, now=now)
                work.conclude(session, chunk)
            work.done += len(chunk)
            if progress is not None:
                progress(work.done, work.total)
    return Reconciled(numbers=tuple(work.numbers), counts=dict(work.counts))


def _otherwise_expected(session: Session, refunds: Sequence[Expected]) -> set[str]:
    """The institutions of which other refunds are expected now than matching knows to be open."""
    now_open = open_refunds(session)
    expected = {one.expected_id: one.uscc for one in refunds}
    return {
        uscc for key, uscc in {**now_open, **expected}.items() if (key in now_open) is not (key in expected)
    }


def _chunks(usccs: Sequence[str]) -> list[Sequence[str]]:
    return [usccs[start : start + CHUNK] for start in range(0, len(usccs), CHUNK)]


@dataclass(slots=True, kw_only=True)
class _Work:
    """One run over many institutions."""

    database: Database
    policies: PolicyBook
    channels: Sequence[str]
    patience: Patience
    now: datetime
    actor: str
    day: date | None
    facts: Mapping[str, str] = field(default_factory=dict)
    total: int = 0
    done: int = 0
    numbers: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((
        "institutions", "reconciliations", "incomplete", "breached", "unknown", "refunds_seen", "transitions",
    ), 0)))

    @property
    def today(self) -> date:
        return self.now.astimezone(ZONE).date()

    def policy_of(self, institution: Institution) -> EffectivePolicy:
        return self.policies.effective(institution=institution, account=None, on=self.today)

    def find_gaps(self, session: Session, usccs: Sequence[str]) -> None:
        """Note the working days whose statement is due by now and not there."""
        known = {one.uscc: one for one in institutions(session, usccs=usccs)}
        groups: dict[tuple[date, WorkingCalendar], list[str]] = defaultdict(list)
        for uscc, account_nos in account_numbers(session, usccs).items():
            if uscc in known:
                policy = self.policy_of(known[uscc])
                due_on = _due_day(policy, self.now)
                if due_on is not None:
                    groups[due_on, policy.calendar] += account_nos
        for (through, calendar), account_nos in groups.items():
            refresh_gaps(
                session, account_nos=sorted(account_nos), through=through,
                is_working_day=partial(_is_working, calendar), now=self.now,
            )

    def conclude(self, session: Session, usccs: Sequence[str]) -> None:
        """Reconcile a chunk, keep what comes out, and say what the rules conclude."""
        self._note_refunds(session, usccs)
        known = {one.uscc: one for one in institutions(session, usccs=usccs)}
        days = newest_common_days(session, list(known))
        asked = {
            world: self._day_of(common, self.policy_of(known[world.uscc])) for world, common in days.items()
        }
        found: dict[str, list[Reconciliation]] = {uscc: [] for uscc in known}
        results = []
        for world, books in sorted(books_of(session, asked).items()):
            policy = self.policy_of(known[world.uscc])
            one = explain(books, calendar=policy.calendar)
            found[world.uscc].append(one)
            results.append(Result(
                reconciliation=one, facts=self.facts.get(world.uscc, ""),
                recheck_at=_recheck_at(policy, one.on, self.now),
            ))
        self.numbers += save_results(
            session, results, actor=self.actor, policy_version=self.policies.version, started_at=self.now, now=self.now,
            moves_states=self.day is None,
        )
        self.counts["institutions"] += len(known)
        self.counts["reconciliations"] += len(results)
        self.counts["incomplete"] += sum(not one.reconciliation.complete for one in results)
        self._judge(session, known, found, alerts=self.day is None)

    def _day_of(self, common: date | None, policy: EffectivePolicy) -> date:
        if self.day is not None:
            return self.day
        due_on = _due_day(policy, self.now)
        known = [day for day in (due_on, common) if day is not None]
        return min(max(known), self.today) if known else self.today - timedelta(days=1)

    def _note_refunds(self, session: Session, usccs: Sequence[str]) -> None:
        """Let cases and contracts know which refunds the bank shows now, and which it does not any more."""
        matches = seen_refunds(session, usccs)
        standing = {number for one in matches for number in one.numbers}
        recorded = recorded_refunds(session, usccs)
        gone = sorted({
            number.partition("#")[0] for number in recorded - standing if number.startswith("m")
        })
        if gone:
            note_unseen(session, gone, now=self.now)
        seen = [
            SeenRefund(case_no, one.match_id, one.paid_on, Money(fen, one.currency))
            for one in matches for case_no, fen in one.amounts.items()
        ]
        if seen:
            self.counts["refunds_seen"] += note_seen(session, seen, now=self.now)

    def _judge(
        self, session: Session, known: Mapping[str, Institution], found: Mapping[str, Sequence[Reconciliation]], *,
        alerts: bool,
    ) -> None:
        usccs = sorted(known)
        judged_on = {uscc: max((one.on for one in runs), default=self.today) for uscc, runs in found.items()}
        refunds = _by_day(usccs, judged_on, lambda some, on: refund_facts(
            session, some, on=on, policies=self.policies
        ))
        caps = fee_cap_facts(session, usccs, on=self.today, policies=self.policies)
        findings: dict[str, list[Finding]] = {}
        for uscc in usccs:
            position = InstitutionPosition(
                institution=known[uscc], reconciliations=tuple(found[uscc]), refunds=refunds.get(uscc),
                fee_caps=caps.get(uscc),
            )
            findings[uscc] = [
                finding for rule in INSTITUTION_RULES
                for finding in rule(position, self.policy_of(known[uscc]), self.now)
            ]
            worst = {finding.standing for finding in findings[uscc]}
            if Standing.BREACHED in worst:
                self.counts["breached"] += 1
            elif Standing.UNKNOWN in worst:
                self.counts["unknown"] += 1
        if alerts:
            self._tell(session, known, findings)

    def _tell(
        self, session: Session, known: Mapping[str, Institution], findings: Mapping[str, Sequence[Finding]]
    ) -> None:
        lock_chain(session)
        book = RecordsAlertBook(session, channels=self.channels)
        live = book.open_keys(subjects=sorted({one.subject for some in findings.values() for one in some}))
        spoken: list[Signal | Clear] = []
        for uscc, some in findings.items():
            labels = labels_of(known[uscc])
            spoken += [
                said for finding in some
                if (said := signal_or_clear(finding, labels=labels, live=live, patience=self.patience)) is not None
            ]
        signals, clears = split(spoken)
        entries = book.advance(signals=signals, clears=clears, now=self.now, cause=f"round:{NAME}")
        self.counts["transitions"] += len(entries)


def _by_day(
    usccs: Sequence[str], days: Mapping[str, date], ask: Callable[[Sequence[str], date], Mapping[str, Facts]]
) -> dict[str, Facts]:
    groups: dict[date, list[str]] = defaultdict(list)
    for uscc in usccs:
        groups[days[uscc]].append(uscc)
    return {uscc: facts for on, some in sorted(groups.items()) for uscc, facts in ask(some, on).items()}


def _due_day(policy: EffectivePolicy, now: datetime) -> date | None:
    try:
        return due_day(policy, now)
    except CalendarUnknown:
        return None


def _recheck_at(policy: EffectivePolicy, on: date, now: datetime) -> datetime:
    """When the next working day's closing is due, or tomorrow where the calendar ends."""
    try:
        return due_at(policy, next_working_day_after(on, policy.calendar))
    except CalendarUnknown:
        return now + timedelta(days=1)


def _is_working(calendar: WorkingCalendar, day: date) -> bool:
    try:
        return calendar.is_working_day(day)
    except CalendarUnknown:
        return False
