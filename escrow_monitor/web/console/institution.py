"""The page of one institution: how it stands, what to do, its money over time, and what all of it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from alerts.alert import Severity
from escrow_monitor.domain.accounts import Known
from escrow_monitor.domain.closure.outlook import Ahead, Outlook
from escrow_monitor.domain.dispute_words import STATES
from escrow_monitor.domain.findings import Sentence, Standing
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records import accounts as register
from escrow_monitor.records import institution_pages as records
from escrow_monitor.records.bank import coverage
from escrow_monitor.records.bank.coverage import DayState
from escrow_monitor.records.closure.watches import closure_standing
from escrow_monitor.records.contracts.case_book import CaseRecord, cases
from escrow_monitor.records.database import Session
from escrow_monitor.records.institution_pages import AlertLine, BooksDay, ContractTotals, Event
from escrow_monitor.records.positions import CheckedAccount, checked_accounts
from escrow_monitor.records.reconciliation.reconciliations import StoredReconciliation, newest
from escrow_monitor.web.console.closure import ClosureView, closure_view, forecast_rows, mornings_of, outlook_json
from escrow_monitor.web.console.institutions import place_name
from escrow_monitor.web.console.words import WORDS, Words
from escrow_monitor.web.ports import WebPorts

CHART_DAYS = 180
CHART_DAYS_MAX = 800
TABLE_DAYS = 60
"""So many of the chart's days stand in its table."""
CALENDAR_WEEKS = 9
CALENDARS_MAX = 4
CASES_SHOWN = 20
PAST_SHOWN = 50
STATE_WORDS: Mapping[str, Sentence] = {state.value: words for state, words in STATES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalView:
    """What the accounts of one currency come to. A sum is None where any account's part is not known.

    `floor_complete` False: the floor is at least that. `share` and `coverage` are the balance in parts of the floor
    and of what families are owed.
    """

    currency: str
    accounts: int
    known: int
    balance_fen: int | None
    floor_fen: int | None
    floor_complete: bool
    owed: ContractTotals | None
    checked_at: datetime | None
    balance_as_of: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarView:
    """How the days of an account are covered, week by week from a Monday on."""

    account_no: str
    bank: str
    weeks: Sequence[Sequence[tuple[date, DayState]]]
    covered: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartView:
    """The days of the chart as its table has them: balance of all accounts, floor and what is owed, where known.

    `forecast` is what the closure watch expects of days to come, the nearest first.
    """

    first: date
    last: date
    currency: str
    rows: Sequence[tuple[date, int | None, int | None, int | None]]
    forecast: Sequence[tuple[date, Ahead]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionView:
    """Everything the page says."""

    now: datetime
    today: date
    institution: Institution
    place: Sentence | None
    standing: Standing
    level: Severity | None
    steps: Sequence[tuple[str, AlertLine | None]]
    totals: Sequence[TotalView]
    chart: ChartView | None
    accounts: Sequence[CheckedAccount]
    contracts: Sequence[ContractTotals]
    cases: Sequence[CaseRecord]
    open_alerts: Sequence[AlertLine]
    past_alerts: Sequence[AlertLine]
    calendars: Sequence[CalendarView]
    bridges: Sequence[StoredReconciliation]
    closure: ClosureView


def institution_view(
    ports: WebPorts, uscc: str, *, visible: Visible, now: datetime
) -> InstitutionView | None:
    """Ask the records everything the page shows, in one snapshot; None for one that is not there, or not theirs to see.

    Raises DatabaseError.
    """
    today = now.astimezone(ports.zone).date()
    with ports.database.read() as session:
        institution = register.institution(session, uscc)
        if institution is None or not visible.covers_institution(institution):
            return None
        accounts = checked_accounts(session, uscc=uscc, limit=None)
        contracts = records.contract_totals(session, uscc)
        open_alerts = records.alert_lines(session, uscc, is_open=True)
        past_alerts = records.alert_lines(session, uscc, is_open=False, limit=PAST_SHOWN)
        found_cases = sorted(cases(session, usccs=[uscc]), key=lambda one: one.case.claimed_on, reverse=True)
        bridges = newest(session, uscc)
        calendars = [_calendar(session, one, today) for one in accounts[:CALENDARS_MAX]]
        facts = _facts(session, uscc, accounts, today - timedelta(days=CHART_DAYS), ports.zone)
        closure = closure_view(session, institution, today=today)
    standing = _standing(accounts)
    return InstitutionView(
        now=now, today=today, institution=institution, accounts=accounts, contracts=contracts,
        place=place_name(institution.district, ports.policies),
        standing=standing, level=open_alerts[0].severity if open_alerts else None,
        steps=_steps(open_alerts), totals=_totals(accounts, contracts), chart=_chart(facts, closure.outlook),
        cases=found_cases[:CASES_SHOWN], open_alerts=open_alerts, past_alerts=past_alerts, calendars=calendars,
        bridges=bridges, closure=closure,
    )


def chart_json(
    ports: WebPorts, uscc: str, *, visible: Visible, now: datetime, words: Words, days: int = CHART_DAYS
) -> dict[str, object] | None:
    """What the chart draws, JSON-ready: amounts in fen, days as text, in the currency of most accounts.

    `dates`            every day of the chart, in order
    `series`           balance, floor and owed: a value a day, null where not known
    `floor_now`        the floor of all accounts by the last check, null where not known of each
    `latest`           `{on, balance}` by that check, which may not be final yet; null where not known of each
    `events`           what was published: `{seq, on, transition, severity, rule, name}`
    `outlook`          what the closure watch says and forecasts, as `outlook_json` has it; null if it has said nothing,
                       or where the chart is of another currency

    None for an institution that is not there, or not theirs to see. Raises DatabaseError.
    """
    today = now.astimezone(ports.zone).date()
    with ports.database.read() as session:
        institution = register.institution(session, uscc)
        if institution is None or not visible.covers_institution(institution):
            return None
        accounts = checked_accounts(session, uscc=uscc, limit=None)
        since = today - timedelta(days=days)
        facts = _facts(session, uscc, accounts, since, ports.zone)
        standing, mornings = closure_standing(session, uscc), mornings_of(session, uscc)
    outlook = _outlook_in(facts.currency, None if standing is None else standing.outlook)
    return {
        "uscc": uscc, "currency": facts.currency, "as_of": now.isoformat(timespec="seconds"),
        "dates": [day.isoformat() for day in facts.days],
        "series": {
            "balance": [facts.balance.get(day) for day in facts.days],
            "floor": [facts.floor.get(day) for day in facts.days],
            "owed": [facts.owed.get(day) for day in facts.days],
        },
        "floor_now": facts.floor_now, "latest": facts.latest and {
            "on": facts.latest[0].isoformat(), "balance": facts.latest[1],
        },
        "events": [
            {
                "seq": one.seq, "on": one.at.astimezone(ports.zone).date().isoformat(), "transition": one.kind.value,
                "severity": one.severity.value, "rule": one.rule, "name": words.name("rule", one.rule),
            }
            for one in facts.events
        ],
        "outlook": None if outlook is None else outlook_json(outlook, mornings, since=since),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """The figures of each day, where known, in one currency."""

    currency: str
    days: Sequence[date]
    balance: Mapping[date, int]
    floor: Mapping[date, int]
    owed: Mapping[date, int]
    events: Sequence[Event]
    floor_now: int | None
    latest: tuple[date, int] | None


def _facts(
    session: Session, uscc: str, accounts: Sequence[CheckedAccount], since: date, zone: ZoneInfo
) -> _Facts:
    currencies = [one.account.currency for one in accounts]
    currency = max(sorted(set(currencies)), key=currencies.count, default="CNY")
    chosen = [one for one in accounts if one.account.currency == currency]
    closings = records.closings(session, [one.account.account_no for one in chosen], since=since)
    begin = datetime.combine(since, datetime.min.time(), zone)
    events = records.events(session, uscc, since=begin)
    books = [one for one in records.books(session, uscc, since=since) if one.currency == currency]
    total = _total(currency, chosen, None)
    latest = None
    if total.balance_fen is not None and total.checked_at is not None:
        latest = total.checked_at.astimezone(zone).date(), total.balance_fen
    through = max((
        *(day for found in closings.values() for day, _ in found), *(one.on for one in books),
        *(one.at.astimezone(zone).date() for one in events), since if latest is None else latest[0],
    ))
    # Not before anything is known: an empty half of a chart says nothing.
    begins = min((*(found[0][0] for found in closings.values()), *(one.on for one in books), through))
    days = [begins + timedelta(days=step) for step in range((through - begins).days + 1)]
    return _Facts(
        currency=currency, days=days, balance=_balances(chosen, closings),
        floor=_floors(chosen, events, days, zone), owed=_owed(books), events=events,
        floor_now=total.floor_fen, latest=latest,
    )


def _balances(
    accounts: Sequence[CheckedAccount], closings: Mapping[str, Sequence[tuple[date, int]]]
) -> Mapping[date, int]:
    """The closings of all accounts together, on days on which each one's is known that has any."""
    stated = [dict(closings[one.account.account_no]) for one in accounts if one.account.account_no in closings]
    if not stated:
        return {}
    begins = [min(found) for found in stated]
    found: dict[date, int] = {}
    for day in sorted(set().union(*stated)):
        due = [by_day for by_day, begin in zip(stated, begins, strict=True) if begin <= day]
        if all(day in by_day for by_day in due):
            found[day] = sum(by_day[day] for by_day in due)
    return found


def _floors(
    accounts: Sequence[CheckedAccount], events: Sequence[Event], days: Sequence[date], zone: ZoneInfo
) -> Mapping[date, int]:
    """The floor of all accounts together, from when it is known of each: by what was published, then by the last check.

    Between two days on which it is known it was the earlier one: nobody said otherwise.
    """
    by_account: list[dict[date, int]] = []
    for one in accounts:
        if one.standing.required_fen is None or one.checked_at is None:
            continue
        known = {
            event.at.astimezone(zone).date(): event.required_fen for event in events
            if event.account_no == one.account.account_no and event.required_fen is not None
        }
        known[one.checked_at.astimezone(zone).date()] = one.standing.required_fen
        by_account.append(known)
    found: dict[date, int] = {}
    latest: list[int | None] = [None] * len(by_account)
    for day in days:
        latest = [known.get(day, before) for known, before in zip(by_account, latest, strict=True)]
        parts = [part for part in latest if part is not None]
        if parts and len(parts) == len(by_account):
            found[day] = sum(parts)
    return found


def _owed(books: Sequence[BooksDay]) -> Mapping[date, int]:
    return {one.on: one.required_fen for one in books if one.complete}


def _outlook_in(currency: str, outlook: Outlook | None) -> Outlook | None:
    return outlook if outlook is not None and outlook.owed.currency == currency else None


def _chart(facts: _Facts, outlook: Outlook | None) -> ChartView | None:
    if not facts.balance:
        return None
    known = [day for day in facts.days if day in facts.balance or day in facts.owed]
    return ChartView(
        first=min(facts.balance), last=max(facts.balance), currency=facts.currency,
        rows=[
            (day, facts.balance.get(day), facts.floor.get(day), facts.owed.get(day))
            for day in known[::-1][:TABLE_DAYS]
        ],
        forecast=forecast_rows(_outlook_in(facts.currency, outlook)),
    )


def _standing(accounts: Sequence[CheckedAccount]) -> Standing:
    found = {one.standing.standing for one in accounts}
    if Standing.BREACHED in found:
        return Standing.BREACHED
    return Standing.MET if found == {Standing.MET} else Standing.UNKNOWN


def _steps(open_alerts: Sequence[AlertLine]) -> list[tuple[str, AlertLine | None]]:
    """What to do, once for each rule that is alarmed, for the worst of its alerts."""
    by_rule: dict[str, AlertLine] = {}
    for alert in open_alerts:
        by_rule.setdefault(alert.rule, alert)
    return [(f"step.{rule}" if f"step.{rule}" in WORDS else "step.other", alert) for rule, alert in by_rule.items()]


def _totals(accounts: Sequence[CheckedAccount], contracts: Sequence[ContractTotals]) -> list[TotalView]:
    owed = {one.currency: one for one in contracts}
    return [
        _total(currency, [one for one in accounts if one.account.currency == currency], owed.get(currency))
        for currency in sorted({one.account.currency for one in accounts} | set(owed))
    ]


def _total(currency: str, accounts: Sequence[CheckedAccount], owed: ContractTotals | None) -> TotalView:
    balances = [one.standing.balance_fen for one in accounts if one.standing.balance_fen is not None]
    floors = [one.standing.required_fen for one in accounts if one.standing.required_fen is not None]
    checks = [one.checked_at for one in accounts if one.checked_at is not None]
    stated = [one.booked.as_of for one in accounts if isinstance(one.booked, Known)]
    return TotalView(
        currency=currency, accounts=len(accounts), known=len(balances),
        balance_fen=sum(balances) if balances and len(balances) == len(accounts) else None,
        floor_fen=sum(floors) if floors and len(floors) == len(accounts) else None,
        floor_complete=all(one.standing.required_complete for one in accounts), owed=owed,
        checked_at=min(checks) if checks and len(checks) == len(accounts) else None,
        # Of several accounts the oldest: all of the sum is at least as new.
        balance_as_of=min(stated) if stated else None,
    )


def _calendar(session: Session, one: CheckedAccount, today: date) -> CalendarView:
    monday = today - timedelta(days=today.weekday())
    first = monday - timedelta(weeks=CALENDAR_WEEKS - 1)
    days = coverage.days(session, one.account.account_no, first, monday + timedelta(days=6))
    states = [state for _, state in days]
    return CalendarView(
        account_no=one.account.account_no, bank=one.account.bank,
        weeks=[days[start : start + 7] for start in range(0, len(days), 7)][::-1],
        covered=states.count(DayState.COVERED),
        missing=states.count(DayState.MISSING) + states.count(DayState.REOPENED),
    )
