"""The Today page: how many accounts stand how, whom to call first, which banks are silent, what did not run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts.alert import Alert, Decision, FeedEntry, Severity, TransitionKind, Why
from alerts.decisions import person, quiet_by
from alerts.feeds.item import REASON_WORDS, SEVERITY_WORDS, TRANSITION_WORDS, Lang
from escrow_monitor.domain.closure.outlook import Outlook
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.rules.closure_watch import percent_words
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records import accounts, runs, tallies
from escrow_monitor.records.alerts import alarms, chosen
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.open_now import OpenNow
from escrow_monitor.records.bank import pulls
from escrow_monitor.records.closure.watches import ClosureStanding, standings_held, warned_of
from escrow_monitor.records.database import Session
from escrow_monitor.records.tallies import BankTally, StandingTally
from escrow_monitor.web.console.shared import Shared
from escrow_monitor.web.ports import ExpectedRound, WebPorts

CHECK_ROUND = "check-balances"
CALLS_SHOWN = 7
ENTRIES_SHOWN = 20
CLOSURES_SHOWN = 5
CHANGED_WITHIN = timedelta(days=1)
COLOURS = (Level.RED, Level.ORANGE, Level.YELLOW)
BANK_RULE = "bank_silent"
"""Its alerts stand with the banks; what they say is said at a glance above."""
NO_DATA_RULES = frozenset({"freshness", "feed_gap"})
"""What a silent bank sets off on each of its accounts: the call goes to the bank, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """One institution to call: its worst alert, and how many more it has.

    `uscc` is "" where no such institution is registered. `quiet` is what keeps that alert quiet (acknowledgement,
    snooze, acceptance; "" for nothing), with whom and when.
    """

    alert_id: str
    severity: str
    rule: str
    who: str
    uscc: str
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
    uscc: str
    why: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureCallView:
    """One institution that may close. `reason` is the first of its reasons, `reasons` how many there are."""

    level: Level
    uscc: str
    who: str
    chance: str
    exposed_fen: int | None
    exposed_then_fen: int | None
    currency: str
    reason: str
    reasons: int
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosuresView:
    """What the closure watch holds: how many at each level, their families' money at risk, and the first of them.

    `unsure` without a level, of whom too little is known.
    """

    sums: Sequence[tuple[Level, int]]
    institutions: int
    exposed_fen: int
    unsure: int
    first: Sequence[ClosureCallView]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedView:
    """How many alerts opened (again), got worse, got better or were resolved since then."""

    since: datetime
    opened: int
    opened_red: int
    worse: int
    worse_red: int
    eased: int
    resolved: int


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
    bank_notices: Sequence[str]
    calls: Sequence[CallView]
    calls_more: int
    banks: Sequence[BankView]
    banks_fine: bool
    silent_banks: Sequence[BankView]
    rounds: Sequence[RoundView]
    missed: bool
    changed: ChangedView
    closures: ClosuresView
    entries: Sequence[EntryView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of everything, for whoever looks. `moment` is None where more is open than is held in memory."""

    moment: OpenNow | None
    banks: Sequence[BankTally]
    standings: Sequence[StandingTally]
    unsure: Sequence[tuple[str | None, int]]


async def known_today(shared: Shared) -> Known:
    """What the page adds up and chooses from. Raises DatabaseError."""
    return Known(
        moment=await shared.open_now(), banks=await shared.banks(), standings=await shared.standings(),
        unsure=await shared.unsure(),
    )


def today(
    ports: WebPorts, *, lang: Lang, now: datetime, known: Known, visible: Visible = EVERYTHING
) -> TodayView:
    """Say everything the page shows to who sees this. Raises DatabaseError."""
    since = now - CHANGED_WITHIN
    with ports.database.read() as session:
        book = RecordsAlertBook(session)
        asked = _Asked(session, known, visible=visible, now=now)
        banks = sorted(map(_bank, asked.banks()), key=_bank_order)
        silent = [bank for bank in banks if bank.state == "silent"]
        calls, holders = asked.calls({bank.bank for bank in silent})
        sums, unsure = asked.closures()
        warned = asked.warned()
        told = book.alerts([call.alert_id for call in calls])
        entries = asked.newest()
        shown = {*(alert.labels.get("uscc") for alert in told.values()),
                 *(entry.labels.get("uscc") for entry in entries), *(one.outlook.uscc for one in warned)}
        names = {
            holder.uscc: holder.name
            for holder in accounts.institutions(session, usccs=[uscc for uscc in shown if uscc])
        }
        notices = alarms.notices(session, not_rules=["round_late"], visible=visible)
        succeeded = runs.last_success(session)
        tiles = _tiles(asked.standings())
        published = asked.published(since)
    rounds = [_round(expected, succeeded.get(expected.name), now) for expected in ports.rounds]
    rounds.sort(key=lambda item: item.state == "on_time")
    check = next((item for item in rounds if item.name == CHECK_ROUND), None)
    return TodayView(
        now=now, total=sum(tiles.values()), unknown=tiles["unknown"], tiles=tuple(tiles.items()),
        check=check.state if check is not None else "on_time",
        checked_at=check.last_success_at if check is not None else None,
        notices=[_why(why, lang) for rule, why in notices if rule != BANK_RULE],
        bank_notices=[_why(why, lang) for rule, why in notices if rule == BANK_RULE],
        calls=[_call(told[call.alert_id], call.alerts, names, lang, now) for call in calls],
        calls_more=max(0, holders - CALLS_SHOWN), banks=banks, silent_banks=silent,
        banks_fine=all(bank.state in {"answers", "not_asked"} for bank in banks),
        rounds=rounds, missed=any(item.state != "on_time" for item in rounds),
        changed=_changed(published, since), closures=_closures(sums, unsure, warned, names, lang),
        entries=[_entry(entry, names, lang) for entry in entries],
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """The answers for one reader: chosen from what is known of everything, or asked of the records."""

    session: Session
    known: Known
    visible: Visible
    now: datetime

    def banks(self) -> Sequence[pulls.BankAnswers]:
        if self.visible.uscc is not None:
            return pulls.bank_answers(self.session, visible=self.visible)
        return tallies.banks_of(self.known.banks, self.visible)

    def standings(self) -> Mapping[tuple[Standing, Level | None], int]:
        if self.visible.uscc is not None:
            return alarms.account_counts(self.session, visible=self.visible)
        return tallies.standings_of(self.known.standings, self.visible)

    def calls(self, silent_banks: Collection[str]) -> tuple[list[alarms.Call], int]:
        if self.known.moment is None:
            return alarms.first_calls(
                self.session, no_data_rules=NO_DATA_RULES, silent_banks=silent_banks, now=self.now,
                visible=self.visible, limit=CALLS_SHOWN,
            )
        return chosen.first_calls(
            self.known.moment, no_data_rules=NO_DATA_RULES, silent_banks=silent_banks, visible=self.visible,
            limit=CALLS_SHOWN,
        )

    def closures(self) -> tuple[Mapping[Level, alarms.ClosureSum], int]:
        if self.known.moment is None or self.visible.uscc is not None:
            return alarms.closure_sums(self.session, visible=self.visible)
        sums = chosen.closure_sums(self.known.moment, self.visible)
        return sums, tallies.unsure_of(self.known.unsure, self.visible)

    def warned(self) -> Sequence[ClosureStanding]:
        if self.known.moment is None:
            return warned_of(self.session, limit=CLOSURES_SHOWN, visible=self.visible)
        return standings_held(self.session, chosen.warned(self.known.moment, self.visible, limit=CLOSURES_SHOWN))

    def newest(self) -> Sequence[FeedEntry]:
        book, moment = RecordsAlertBook(self.session), self.known.moment
        seqs = None if moment is None else chosen.newest(moment, self.visible, limit=ENTRIES_SHOWN)
        return book.newest(limit=ENTRIES_SHOWN, visible=self.visible) if seqs is None else book.numbered(seqs)

    def published(self, since: datetime) -> Mapping[tuple[TransitionKind, Severity], int]:
        moment = self.known.moment
        found = None if moment is None else chosen.published_since(moment, since, self.visible)
        return alarms.published_since(self.session, since, visible=self.visible) if found is None else found


def _tiles(counts: Mapping[tuple[Standing, Level | None], int]) -> dict[str, int]:
    """Each account once: in its colour if it has one, else by its standing. Never checked is unknown."""
    tiles = {**{level.value: 0 for level in COLOURS}, "unknown": 0, "met": 0}
    for (standing, level), count in counts.items():
        # Breached without a colour is for information only; it is not met either.
        rest = "met" if standing is Standing.MET else "unknown"
        tiles[level.value if level in COLOURS else rest] += count
    return tiles


def _changed(published: Mapping[tuple[TransitionKind, Severity], int], since: datetime) -> ChangedView:
    def count(*kinds: TransitionKind, severity: Severity | None = None) -> int:
        return sum(
            number for (kind, found), number in published.items() if kind in kinds and severity in (None, found)
        )

    opened, worse = (TransitionKind.OPENED, TransitionKind.REOPENED), (TransitionKind.ESCALATED,)
    return ChangedView(
        since=since, opened=count(*opened), opened_red=count(*opened, severity=Severity.RED), worse=count(*worse),
        worse_red=count(*worse, severity=Severity.RED), eased=count(TransitionKind.EASED),
        resolved=count(TransitionKind.RESOLVED),
    )


def _closures(
    sums: Mapping[Level, alarms.ClosureSum], unsure: int, warned: Sequence[ClosureStanding], names: Mapping[str, str],
    lang: Lang,
) -> ClosuresView:
    return ClosuresView(
        sums=[(level, sums[level].institutions) for level in COLOURS if level in sums],
        institutions=sum(one.institutions for one in sums.values()),
        exposed_fen=sum(one.exposed_fen for one in sums.values()), unsure=unsure,
        first=[_closure_call(one.outlook, names, lang) for one in warned],
    )


def _closure_call(one: Outlook, names: Mapping[str, str], lang: Lang) -> ClosureCallView:
    assert one.level is not None, "warned of without a level"  # noqa: S101 - what was asked for
    first = one.reasons[0] if one.reasons else None
    return ClosureCallView(
        level=one.level, uscc=one.uscc, who=names.get(one.uscc, one.uscc), chance=percent_words(one.chances[60]),
        exposed_fen=one.exposed.minor_units if one.books else None, currency=one.owed.currency,
        exposed_then_fen=one.exposed_then.minor_units if one.books and one.exposed_then is not None else None,
        reason="" if first is None else first.zh if lang == "zh" else first.en, reasons=len(one.reasons),
        new=any(reason.new for reason in one.reasons),
    )


def _why(why: Why, lang: Lang) -> str:
    return why.zh if lang == "zh" else why.en


def _call(alert: Alert, count: int, names: Mapping[str, str], lang: Lang, now: datetime) -> CallView:
    quiet: Decision | None = quiet_by(alert, now=now)
    uscc = alert.labels.get("uscc", "")
    return CallView(
        alert_id=alert.alert_id, severity=alert.severity.value, rule=alert.key.rule, who=_who(alert.labels, names),
        uscc=uscc if uscc in names else "", why=_why(alert.why, lang), account_no=alert.labels.get("account_no", ""),
        bank=alert.labels.get("bank", ""), opened_at=alert.opened_at, more=count - 1,
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
    resolved, uscc = entry.transition is TransitionKind.RESOLVED, entry.labels.get("uscc", "")
    words = TRANSITION_WORDS[entry.transition][lang]
    if not resolved:
        words = f"{SEVERITY_WORDS[entry.severity][lang]} · {words}"
    return EntryView(
        seq=entry.seq, at=entry.recorded_at, severity=entry.severity.value, open=not resolved, words=words,
        who=_who(entry.labels, names), uscc=uscc if uscc in names else "", why=_why(entry.why, lang),
        reason=REASON_WORDS[entry.reason][lang],
    )


def _who(labels: Mapping[str, str], names: Mapping[str, str]) -> str:
    """The institution's name; its code where the name is not known; else the account, the bank or nothing."""
    uscc = labels.get("uscc", "")
    return names.get(uscc) or uscc or labels.get("account_no", "") or labels.get("bank", "")
