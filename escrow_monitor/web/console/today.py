"""The Today page: how many accounts stand how, whom to call first, which banks are silent, what did not run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerts.alert import Alert, Decision, FeedEntry, TransitionKind, Why
from alerts.decisions import person, quiet_by
from alerts.feeds.item import REASON_WORDS, SEVERITY_WORDS, TRANSITION_WORDS, Lang
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.records import accounts, positions, pulls, runs
from escrow_monitor.records.alert_book import RecordsAlertBook
from escrow_monitor.web.ports import ExpectedRound, WebPorts

CHECK_ROUND = "check-balances"
CALLS_SHOWN = 7
ENTRIES_SHOWN = 20
COLOURS = (Level.RED, Level.ORANGE, Level.YELLOW)
NO_DATA_RULES = frozenset({"freshness", "feed_gap"})
"""What a silent bank sets off on each of its accounts: the call goes to the bank, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """One institution to call: its worst alert, and how many more it has.

    `quiet` is what keeps that alert quiet (acknowledgement, snooze, acceptance; "" for nothing), with whom and when.
    """

    alert_id: str
    severity: str
    rule: str
    who: str
    why: str
    account_no: str
    bank: str
    opened_at: datetime | None
    more: int
    quiet: str = ""
    quiet_by: str = ""
    quiet_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankView:
    """How a bank answers. `state` is answers, partly, silent or not_asked; `refused` accounts had no last answer."""

    bank: str
    accounts: int
    refused: int
    reason: str | None
    answered_at: datetime | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView:
    """A round that must run. `state` is on_time, late or never."""

    name: str
    last_success_at: datetime | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """One feed entry in one line."""

    seq: int
    at: datetime
    severity: str
    words: str
    open: bool
    who: str
    why: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TodayView:
    """Everything the page says. `check` is on_time, late or never: whether the tiles can be believed."""

    now: datetime
    total: int
    unknown: int
    tiles: Sequence[tuple[str, int]]
    check: str
    checked_at: datetime | None
    notices: Sequence[str]
    calls: Sequence[CallView]
    calls_more: int
    banks: Sequence[BankView]
    banks_fine: bool
    silent_banks: Sequence[BankView]
    rounds: Sequence[RoundView]
    missed: bool
    entries: Sequence[EntryView]


def today(ports: WebPorts, *, lang: Lang, now: datetime) -> TodayView:
    """Ask the records everything the page shows, in one snapshot. Raises DatabaseError."""
    with ports.database.read() as session:
        book = RecordsAlertBook(session)
        banks = sorted(map(_bank, pulls.bank_answers(session)), key=_bank_order)
        silent = [bank for bank in banks if bank.state == "silent"]
        open_alerts = book.open_alerts()
        calls = _calls(open_alerts, silent={bank.bank for bank in silent}, now=now)
        entries = book.newest(limit=ENTRIES_SHOWN)
        shown = {*(found[0].labels.get("uscc") for found in calls[:CALLS_SHOWN]),
                 *(entry.labels.get("uscc") for entry in entries)}
        # A few questions by key: there may be a hundred thousand institutions, and thirty are named here.
        holders = [accounts.institution(session, uscc) for uscc in shown if uscc]
        names = {holder.uscc: holder.name for holder in holders if holder is not None}
        succeeded = runs.last_success(session)
        counts = positions.standing_counts(session)
        coloured = {level: positions.checked_accounts(session, level=level, limit=None) for level in COLOURS}
    rounds = [_round(expected, succeeded.get(expected.name), now) for expected in ports.rounds]
    rounds.sort(key=lambda item: item.state == "on_time")
    check = next((item for item in rounds if item.name == CHECK_ROUND), None)
    tiles = _tiles(counts, coloured)
    return TodayView(
        now=now, total=sum(tiles.values()), unknown=tiles["unknown"], tiles=tuple(tiles.items()),
        check=check.state if check is not None else "on_time",
        checked_at=check.last_success_at if check is not None else None,
        notices=[_why(alert.why, lang) for alert in open_alerts if _is_about_us(alert)],
        calls=[_call(found, names, lang, now) for found in calls[:CALLS_SHOWN]],
        calls_more=max(0, len(calls) - CALLS_SHOWN), banks=banks, silent_banks=silent,
        banks_fine=all(bank.state in {"answers", "not_asked"} for bank in banks),
        rounds=rounds, missed=any(item.state != "on_time" for item in rounds),
        entries=[_entry(entry, names, lang) for entry in entries],
    )


def _tiles(
    counts: Mapping[Standing, int], coloured: Mapping[Level, Sequence[positions.CheckedAccount]],
) -> dict[str, int]:
    """Each account once: in its colour if it has one, else by its standing. Never checked is unknown."""
    rest = dict(counts)
    for account in (item for found in coloured.values() for item in found):
        rest[account.standing.standing] = rest.get(account.standing.standing, 0) - 1
    # Breached without a colour is for information only; it is not met either.
    unknown = rest.get(Standing.UNKNOWN, 0) + rest.get(Standing.BREACHED, 0)
    return {
        **{level.value: len(found) for level, found in coloured.items()},
        "unknown": unknown, "met": rest.get(Standing.MET, 0),
    }


def _calls(open_alerts: Iterable[Alert], *, silent: set[str], now: datetime) -> list[list[Alert]]:
    """The alerts of each institution, the worst first; what only says that a bank is silent is left to the bank.

    What somebody acknowledged, snoozed or two people accepted comes last: it is seen to, but it is not gone.
    """
    def urgency(alert: Alert) -> tuple[bool, tuple[int, bool, float, str]]:
        return quiet_by(alert, now=now) is not None, _urgency(alert)

    by_holder: dict[str, list[Alert]] = {}
    for alert in open_alerts:
        holder = alert.labels.get("uscc") or alert.labels.get("account_no")
        if holder and not (alert.key.rule in NO_DATA_RULES and alert.labels.get("bank") in silent):
            by_holder.setdefault(holder, []).append(alert)
    return sorted((sorted(found, key=urgency) for found in by_holder.values()), key=lambda found: urgency(found[0]))


def _is_about_us(alert: Alert) -> bool:
    """About our own means (a calendar that ends), not about an institution; late rounds have their own place."""
    return not (alert.labels.get("uscc") or alert.labels.get("account_no")) and alert.key.rule != "round_late"


def _why(why: Why, lang: Lang) -> str:
    return why.zh if lang == "zh" else why.en


def _urgency(alert: Alert) -> tuple[int, bool, float, str]:
    """Worst first; then what is known to be wrong before what is not known; then the longest open."""
    opened_at = alert.opened_at.timestamp() if alert.opened_at else 0.0
    return -alert.severity.rank, alert.standing != Standing.BREACHED, opened_at, alert.alert_id


def _call(found: Sequence[Alert], names: Mapping[str, str], lang: Lang, now: datetime) -> CallView:
    alert = found[0]
    quiet: Decision | None = quiet_by(alert, now=now)
    return CallView(
        alert_id=alert.alert_id, severity=alert.severity.value, rule=alert.key.rule, who=_who(alert.labels, names),
        why=_why(alert.why, lang), account_no=alert.labels.get("account_no", ""),
        bank=alert.labels.get("bank", ""), opened_at=alert.opened_at, more=len(found) - 1,
        quiet=quiet.kind.value if quiet else "", quiet_by=person(quiet.by) if quiet else "",
        quiet_until=quiet.until if quiet else None,
    )


def _bank(item: pulls.BankAnswers) -> BankView:
    reason = max(item.refusals.items(), key=lambda found: found[1])[0] if item.refusals else None
    return BankView(
        bank=item.bank, accounts=item.accounts, refused=item.silent, reason=reason,
        answered_at=item.last_answer_at, state=_bank_state(item),
    )


_WORST_FIRST = ("silent", "partly", "answers", "not_asked")


def _bank_order(bank: BankView) -> tuple[int, str]:
    return _WORST_FIRST.index(bank.state), bank.bank


def _bank_state(item: pulls.BankAnswers) -> str:
    if item.silent:
        return "silent" if item.silent >= item.accounts else "partly"
    # A bank that only sends statement files is not asked, and one nobody has asked yet has not answered.
    return "answers" if item.last_answer_at is not None else "not_asked"


def _round(expected: ExpectedRound, last_success_at: datetime | None, now: datetime) -> RoundView:
    if last_success_at is None:
        return RoundView(name=expected.name, last_success_at=None, state="never")
    state = "late" if now - last_success_at > expected.late_after else "on_time"
    return RoundView(name=expected.name, last_success_at=last_success_at, state=state)


def _entry(entry: FeedEntry, names: Mapping[str, str], lang: Lang) -> EntryView:
    resolved = entry.transition is TransitionKind.RESOLVED
    words = TRANSITION_WORDS[entry.transition][lang]
    if not resolved:
        words = f"{SEVERITY_WORDS[entry.severity][lang]} · {words}"
    return EntryView(
        seq=entry.seq, at=entry.recorded_at, severity=entry.severity.value, open=not resolved, words=words,
        who=_who(entry.labels, names), why=_why(entry.why, lang), reason=REASON_WORDS[entry.reason][lang],
    )


def _who(labels: Mapping[str, str], names: Mapping[str, str]) -> str:
    """The institution's name; its code where the name is not known; else the account, the bank or nothing."""
    uscc = labels.get("uscc", "")
    return names.get(uscc) or uscc or labels.get("account_no", "") or labels.get("bank", "")
