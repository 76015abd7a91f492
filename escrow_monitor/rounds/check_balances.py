"""Hold every account whose facts or time have moved against the rules, and tell the alert book.

records -> Position -> RULES.examine(position, policy, now) -> Findings -> signals and clears
        -> alerts + feed entries + audit + deliveries + standings, one transaction a chunk

Between two statements nearly every account has only another balance, far above its floor. What was concluded of it then
stays true by the rules' own word, and its standing is brought up to date without looking at it (`pass_quiet`). That is
an account that is met, of which nobody need hear and no alert lives, by this version of the policies and on this day,
before its `recheck_at`, of which nothing was recorded since but another amount or time of the booked balance, of the
same kind, day and finality. Why no rule can then say otherwise:

    floor                 the day, the clauses, the entries and what is held are the same, so the floor is; the balance
                          is at or above the `quiet_from` by which this rule said itself from where on it is silent.
                          What is owed to families is another fact when it changes; where that is part of the floor, or
                          other accounts of the institution count on this one for theirs, the rule gives no `quiet_from`
    late_top_up           speaks only of a balance below that same floor
    large_outflow         looks at days of statements; another statement is another fact
    outflow_cap           looks at months of statements and at the floor of a month's end, never at a balance
    freshness             looks at the newest final closing; another one is another fact
    feed_gap              looks at covered days and gaps; each that comes or goes is another fact
    external_check        looks at days that differ; each that comes or goes is another fact, as is every final closing
    corrected_statement   looks at corrections; each comes with a statement
    account_status        looks at what the bank says of the account; another word is another fact
    any of them, by time  says in `recheck_at` when time alone may change its answer; the local day is the same as well
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache, partial
from typing import NamedTuple

from alerts.alert import AlertKey, Clear, Signal
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.calendar import CalendarUnknown, WorkingCalendar
from escrow_monitor.domain.findings import Finding, Level, Standing, account_subject
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.rules import (
    RULES,
    corrected_statement,
    external_check,
    feed_gap,
    floor,
    freshness,
    large_outflow,
    outflow_cap,
)
from escrow_monitor.domain.timetable import due_day
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.coverage import LawKey, accounts_by_law, law_samples, refresh_gaps
from escrow_monitor.records.bank.days import LATE_AFTER_DAYS
from escrow_monitor.records.bulk import uncollected
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence.audit import lock_chain
from escrow_monitor.records.positions import (
    AccountStanding,
    DuePosition,
    checked_versions,
    due_count,
    pass_quiet,
    positions_due,
    save_standings,
)
from escrow_monitor.rounds.contract_days import bring_to_today
from escrow_monitor.rounds.report import Outcome, Progress, Report, counted
from escrow_monitor.rounds.signals import Patience, signal_or_clear, split

NAME = "check-balances"
_ABOUT_FACTS = {freshness.RULE, feed_gap.RULE, external_check.RULE}
_EVENTS = {large_outflow.RULE, corrected_statement.RULE}
"""Rules that tell of something that happened: it is heard of, but says nothing of how the account stands now."""
LOOK_BACK_DAYS = LATE_AFTER_DAYS
"""How far back a day's debits are still looked at; what is heard of an older day later is looked at as long."""
CHUNK = 10_000
"""Accounts a transaction: small enough that other writers wait little, large enough to write in bulk."""


QUIET_CHUNK = 100_000
"""Accounts a transaction where one statement does it all."""


class Checked(NamedTuple):
    """What the rules concluded about one account."""

    position: Position
    findings: Sequence[Finding]
    standing: AccountStanding


def check_balances(
    *,
    database: Database,
    policies: PolicyBook,
    channels: Sequence[str],
    patience: Patience,
    scheduled_at: datetime,
    now: datetime,
    account_nos: Sequence[str] | None = None,
    everything: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Examine what is due. Cost follows what changed, not how many accounts there are."""
    find_gaps(database, policies=policies, now=now)
    bring_to_today(database, policies=policies, now=now)
    counts: Counter[str] = Counter({"accounts": 0, "met": 0, "breached": 0, "unknown": 0, "transitions": 0})
    if account_nos is None and not everything:
        counts["accounts"] = counts["met"] = _pass_quiet(database, policies=policies, now=now)
    # The collector rests for the whole round: a pause a chunk would have it scan all that was made at the chunk's end.
    with database.read() as session, uncollected():
        total = None if progress is None else counts["accounts"] + due_count(
            session, now=now, policy_version=policies.version, account_nos=account_nos, everything=everything,
            together=True,
        )
        chunks = positions_due(
            session,
            now=now,
            policy_version=policies.version,
            days_from=_today(now) - timedelta(days=LOOK_BACK_DAYS),
            large_debit_fen_min=policies.large_debit_minor_units_min(),
            charge_months=policies.charge_months_max,
            account_nos=account_nos,
            everything=everything,
            together=True,
            chunk=CHUNK,
        )
        for chunk in chunks:
            asked = counted(chunk, progress, total=total, before=counts["accounts"])
            examined = [examine(due, policies=policies, now=now) for due in asked]
            with database.write() as writing:
                # Which alerts live is read under the lock: one that another process opened since we began to read must
                # hear that its condition is absent, for afterwards nothing makes the account due again.
                lock_chain(writing)
                judged_on = checked_versions(writing, [one.standing.account_no for one in examined])
                checked = _not_overtaken(examined, judged_on)
                book = RecordsAlertBook(writing, channels=channels)
                signals, clears = split(_spoken(checked, live=book.open_keys(), patience=patience))
                entries = book.advance(signals=signals, clears=clears, now=now, cause=f"round:{NAME}")
                save_standings(writing, [one.standing for one in checked], now=now, policy_version=policies.version)
            counts["accounts"] += len(checked)
            counts["transitions"] += len(entries)
            counts.update(str(one.standing.standing) for one in checked)
    return Report(
        round=NAME,
        shard="all",
        scheduled_at=scheduled_at,
        counts=dict(counts),
        news=counts["transitions"] > 0,
        outcome=Outcome.WRONG if counts["breached"] or counts["unknown"] else Outcome.OK,
    )


def _pass_quiet(database: Database, *, policies: PolicyBook, now: datetime) -> int:
    """Bring up to date what stays as it is, see above; how many accounts that were."""
    today_began = datetime.combine(_today(now), time(), ZONE)
    count, after = 0, ""
    while True:
        with database.write() as session:
            done, last = pass_quiet(
                session, now=now, policy_version=policies.version, checked_since=today_began, after=after,
                limit=QUIET_CHUNK,
            )
        count += done
        if last is None:
            return count
        after = last


def _not_overtaken(examined: list[Checked], judged_on: Mapping[str, int]) -> list[Checked]:
    """Leave out accounts that another process has meanwhile judged on newer facts: ours would be yesterday's alarm."""
    return [one for one in examined if judged_on.get(one.standing.account_no, 0) <= one.standing.input_version]


def find_gaps(database: Database, *, policies: PolicyBook, now: datetime) -> None:
    """Note the working days whose statement is due by now and not there: by each account's own calendar and deadline.

    Where all packs agree on them this is one search a day for all accounts.
    """
    with database.read() as session:
        samples = law_samples(session, only_one=policies.has_one_timetable)
    groups: dict[tuple[date, WorkingCalendar], list[LawKey]] = {}
    for key, (account, institution) in samples.items():
        policy = policy_of(account, institution, policies=policies, now=now)
        try:
            groups.setdefault((due_day(policy, now), policy.calendar), []).append(key)
        except CalendarUnknown:
            # The rules say so account by account, and the watch over the calendars once for all.
            continue
    if not groups:
        return
    chosen: dict[LawKey, list[str]] = {}
    is_one = len(groups) == 1 and len(samples) == sum(map(len, groups.values()))
    if not is_one:
        with database.read() as session:
            chosen = accounts_by_law(session, through=max(through for through, _ in groups))
    for (through, calendar), keys in groups.items():
        account_nos = None if is_one else [number for key in keys for number in chosen.get(key, ())]
        if is_one or account_nos:
            with database.write() as session:
                refresh_gaps(
                    session, account_nos=account_nos, through=through, is_working_day=partial(_is_working, calendar),
                    now=now,
                )


def _is_working(calendar: WorkingCalendar, day: date) -> bool:
    """One account with statements of a year that no calendar knows must not stop the search for all the others."""
    try:
        return calendar.is_working_day(day)
    except CalendarUnknown:
        return False


def examine(due: DuePosition, *, policies: PolicyBook, now: datetime) -> Checked:
    """Ask every rule about one account, and sum up: the worst standing, the worst level, when to look again."""
    position = due.position
    policy = policy_of(position.account, position.institution, policies=policies, now=now)
    findings: list[Finding] = []
    for rule in RULES:
        findings += rule(position, policy, now)
    standing = _sum_up(due, findings, month=_today(now).isoformat()[:7])
    if standing.standing is Standing.MET and standing.level is None and not standing.findings:
        quiet_from = floor.quiet_from(position, policy, now)
        if quiet_from is not None:
            standing = standing._replace(quiet_from_fen=quiet_from.minor_units)
    return Checked(position=position, findings=findings, standing=standing)


def policy_of(
    account: Account, institution: Institution | None, *, policies: PolicyBook, now: datetime
) -> EffectivePolicy:
    """What holds for an account on the local day of `now`."""
    return policies.effective(institution=institution, account=account, on=_today(now))


def _sum_up(due: DuePosition, findings: Sequence[Finding], *, month: str) -> AccountStanding:
    standing, level, recheck_at = Standing.MET, None, None
    balance: Money | None = None
    required: Money | None = None
    complete, below_since = True, due.position.below_since
    told: list[Finding] = []
    for finding in findings:
        if finding.standing is not Standing.MET or finding.level is not None:
            standing = _worse(standing, _for_the_account(finding, month=month))
            level = _graver(level, finding.level)
            told.append(finding)
        again_at = finding.recheck_at
        if again_at is not None and (recheck_at is None or again_at < recheck_at):
            recheck_at = again_at
        if finding.rule == floor.RULE:
            balance, required = _money(finding, "balance"), _money(finding, "required")
            complete = finding.values.get("complete") is not False
            below_since = _below_since(finding, below_since)
    return AccountStanding(
        account_no=due.position.account.account_no,
        input_version=due.input_version,
        standing=standing,
        level=level,
        required_fen=None if required is None else required.minor_units,
        required_complete=complete,
        balance_fen=None if balance is None else balance.minor_units,
        below_since=below_since,
        recheck_at=recheck_at,
        findings=[as_json(one) for one in told],
        facts_version=due.facts_version,
    )


def as_json(finding: Finding) -> dict[str, object]:
    """A finding as the records and the command line show it."""
    return {
        "rule": finding.rule,
        "period": finding.period,
        "standing": finding.standing.value,
        "level": None if finding.level is None else finding.level.value,
        "why": finding.why_zh,
        "why_en": finding.why_en,
        "figures": finding.figures,
        "as_of": finding.as_of.isoformat(),
    }


def _for_the_account(finding: Finding, *, month: str) -> Standing:
    """What a finding means for the account now: missing facts make it unknown; a big debit or a past month do not."""
    if finding.standing is Standing.BREACHED and finding.rule in _ABOUT_FACTS:
        return Standing.UNKNOWN
    if finding.rule in _EVENTS or (finding.rule == outflow_cap.RULE and finding.period != month):
        return Standing.MET
    return finding.standing


def _worse(one: Standing, other: Standing) -> Standing:
    """Breached is worse than unknown, unknown worse than met."""
    if Standing.BREACHED in (one, other):
        return Standing.BREACHED
    return Standing.UNKNOWN if Standing.UNKNOWN in (one, other) else Standing.MET


def _graver(one: Level | None, other: Level | None) -> Level | None:
    if one is None or other is None:
        return one or other
    return one if one.rank >= other.rank else other


def _money(finding: Finding, name: str) -> Money | None:
    value = finding.values.get(name)
    return value if isinstance(value, Money) else None


def _below_since(finding: Finding, before: datetime | None) -> datetime | None:
    """Since when the balance is below: as the floor rule says, unchanged while it cannot say."""
    if finding.standing is Standing.MET:
        return None
    since = finding.values.get("since")
    return since if isinstance(since, datetime) else before


def _spoken(checked: Sequence[Checked], *, live: Collection[AlertKey], patience: Patience) -> Iterator[Signal | Clear]:
    """Everything the alert book must hear of a chunk."""
    subjects = {key.subject for key in live}
    nothing: frozenset[AlertKey] = frozenset()
    for one in checked:
        known = live if account_subject(one.position.account.account_no) in subjects else nothing
        labels: Mapping[str, str] | None = None
        for finding in one.findings:
            if finding.level is None and finding.holds is None and not known:
                continue
            labels = labels if labels is not None else labels_of(one.position)
            spoken = signal_or_clear(finding, labels=labels, live=known, patience=patience)
            if spoken is not None:
                yield spoken


def labels_of(position: Position) -> Mapping[str, str]:
    """Who an account's alerts are about, for routing and for readers of the feed."""
    account, institution = position.account, position.institution
    labels = {"account_no": account.account_no, "bank": account.bank}
    if account.uscc is not None:
        labels["uscc"] = account.uscc
    if institution is not None:
        labels["name"] = institution.name
        if institution.district is not None:
            labels["district"] = institution.district
    return labels


@lru_cache(maxsize=64)
def _today(now: datetime) -> date:
    return now.astimezone(ZONE).date()
