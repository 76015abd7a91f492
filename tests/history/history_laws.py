"""The laws that every history must keep, each judged by an oracle that knows what was truly said outside, and when.

    what banks answered, receivers got, people were told  +  what the records hold at the end  -->  breaches, in words

Nothing here shares code with what decides: what an account must be called is written down beside its balance.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from alerts.alert import Alert, FeedEntry, Reason, Severity, Status, TransitionKind
from alerts.book import PastDecision
from alerts.routing import CALLS
from escrow_monitor.records.alerts.silences import KeptSilence
from escrow_monitor.records.evidence.chain import AuditVerdict
from escrow_monitor.records.runs import Outcome, Run
from tests.history.history_house import Answered, Received
from tests.history.history_script import (
    BANK_OF,
    BANKS,
    CHANNELS,
    LEVEL,
    PEOPLE,
    RANK,
    SILENT_FAULTS,
    Script,
    Step,
)

COUNTS_FOR = timedelta(hours=12)
"""An intraday balance counts at least so long: until the closing of its day is due, at noon of a later day."""
ATTEMPTS_MAX = 24


@dataclass(frozen=True, slots=True)
class Breach:
    """A law that was broken, and how."""

    law: str
    how: str

    def __str__(self) -> str:
        return f"{self.law}: {self.how}"


@dataclass(frozen=True, slots=True)
class Owed:
    """A row of the outbox at the end."""

    delivery_id: str
    channel: str
    seq: int
    state: str
    attempts: int
    detail: str


@dataclass(kw_only=True)
class Story:
    """All that is known of one history at its end. `read` is the feed as a reader with a cursor got it meanwhile."""

    script: Script
    done: Mapping[int, Mapping[str, Any]]
    answered: Sequence[Answered]
    received: Sequence[Received]
    entries: Sequence[FeedEntry]
    read: Sequence[FeedEntry]
    alerts: Mapping[str, Alert]
    decisions: Mapping[str, Sequence[PastDecision]]
    silences: Sequence[KeptSilence]
    runs: Sequence[Run]
    pulls: Mapping[datetime, int]
    owed: Sequence[Owed]
    withheld: frozenset[tuple[str, str]]
    verdicts: Sequence[AuditVerdict]
    export: Mapping[str, Any]
    ended_badly: Sequence[str] = field(default_factory=list)

    @cached_property
    def heads(self) -> list[int]:
        """The newest feed number after each step."""
        return [int(self.done[step.number]["head"]) for step in self.script.steps]

    @cached_property
    def step_of(self) -> list[Step]:
        """The step at which each feed entry was published, from seq 1."""
        found: list[Step] = []
        for step, head in zip(self.script.steps, self.heads, strict=True):
            found += [step] * (head - len(found))
        return found

    @cached_property
    def by_alert(self) -> Mapping[str, list[FeedEntry]]:
        found: dict[str, list[FeedEntry]] = {}
        for entry in self.entries:
            found.setdefault(entry.alert_id, []).append(entry)
        return found

    def came_of(self, step: Step) -> list[Mapping[str, Any]]:
        """What was seen of each part of a step."""
        return list(self.done[step.number]["came_of"])

    def acts(self) -> Iterator[tuple[Step, Mapping[str, Any]]]:
        """Each part of each step with what was seen of it."""
        for step in self.script.steps:
            yield from zip(step.parts, self.came_of(step), strict=True)


def breaches(story: Story) -> list[Breach]:
    """Every law that this history breaks."""
    found = [Breach("the program goes on", one) for one in story.ended_badly]
    if set(story.done) != {step.number for step in story.script.steps}:
        return [*found, Breach("the program goes on", "it did not come to the end of the history")]
    return [*found, *(breach for law, examine in LAWS.items() for breach in _judgement(law, examine, story))]


def _judgement(law: str, examine: Callable[[Story], Iterator[str]], story: Story) -> Iterator[Breach]:
    try:
        for how in examine(story):
            yield Breach(law, how)
    except (LookupError, ValueError, StopIteration, RuntimeError) as error:
        # What breaks one law can leave another without anything to judge by.
        yield Breach(law, f"cannot be judged: {error!r}")


# what is known is told


def _known_is_told(story: Story) -> Iterator[str]:
    """A breach that a bank told of, for longer than the rule waits, is open in the feed; one told to be over is not."""
    told: dict[str, tuple[datetime, int, bool]] = {}
    below, absent = dict[str, datetime](), dict[str, datetime]()
    standing = dict[str, Severity | None]()
    published = iter(story.entries)
    before = 0
    for step, head in zip(story.script.steps, story.heads, strict=True):
        was_open = dict(standing)
        for _ in range(head - before):
            entry = next(published)
            if entry.key.rule == "floor":
                is_over = entry.transition is TransitionKind.RESOLVED
                standing[entry.labels["account_no"]] = None if is_over else entry.severity
        before = head
        pulled = _pulled(story, step)
        told.update({
            account: (step.at, amount, sure) for account, (amount, sure) in pulled.items()
            if account not in told or step.at > told[account][0]
        })
        if not _checked(story, step):
            continue
        for account, (at, amount, sure) in told.items():
            if not sure or len(step.parts) > 1 or not -timedelta(hours=1) <= step.at - at <= COUNTS_FOR:
                # Which of two things at once was first is not known, nor whether an old balance counts or the closing
                # before it: from here on it is counted anew.
                below.pop(account, None)
                absent.pop(account, None)
                continue
            yield from _judged(
                story.script, step, account, LEVEL[amount], below=below, absent=absent,
                is_open=standing.get(account), was_open=was_open.get(account) is not None, at=at,
            )


def _judged(
    script: Script, step: Step, account: str, level: str | None, *, below: dict[str, datetime],
    absent: dict[str, datetime], is_open: Severity | None, was_open: bool, at: datetime,
) -> Iterator[str]:
    rank = 0 if is_open is None else is_open.rank
    if level is not None:
        absent.pop(account, None)
        since = below.setdefault(account, step.at)
        if (was_open or step.at - since >= script.floor_open_after) and rank < RANK[level]:
            yield (f"step {step.number}: {account[-2:]} is {level} by the balance told at {at}, known since {since}, "
                   f"and after the check at {step.at} the feed has it as {is_open}")
        return
    below.pop(account, None)
    since = absent.setdefault(account, step.at)
    if step.at - since >= script.floor_resolve_after and rank:
        yield (f"step {step.number}: {account[-2:]} is fine by the balance told at {at}, known since {since}, "
               f"and after the check at {step.at} the feed still has it as {is_open}")


def _pulled(story: Story, step: Step) -> dict[str, tuple[int, bool]]:
    """What the banks told at a step, and whether it is sure that it was heard."""
    found: dict[str, tuple[int, bool]] = {}
    for part, came_of in zip(step.parts, story.came_of(step), strict=True):
        if part.do != "pull":
            continue
        for account in BANKS[part.shard]:
            fault = part.faults.get(account)
            twin = any(one is not part and one.do == "pull" and one.shard == part.shard for one in step.parts)
            if fault == "refused" or fault in SILENT_FAULTS:
                if twin:
                    found[account] = (story.script.held[step.number][account], False)
                continue
            sure = fault != "statement" and "error" not in came_of and not twin
            found[account] = (story.script.held[step.number][account], sure)
    return found


def _checked(story: Story, step: Step) -> bool:
    return any(
        part.do == "check" and "error" not in came_of
        for part, came_of in zip(step.parts, story.came_of(step), strict=True)
    )


def _silent_is_told(story: Story) -> Iterator[str]:
    """A bank that answered for no account when last asked is told of by the next watch, and one that answers is not."""
    silent: dict[str, dict[str, bool | None]] = {bank: dict.fromkeys(numbers) for bank, numbers in BANKS.items()}
    is_open = dict.fromkeys(BANKS, False)
    published, before = iter(story.entries), 0
    latest = story.script.steps[0].at
    for step, head in zip(story.script.steps, story.heads, strict=True):
        # While the clock is behind where it was, what is seen by it is older than what is known.
        behind, latest = step.at < latest, max(step.at, latest)
        for _ in range(head - before):
            entry = next(published)
            if entry.key.rule == "bank_silent":
                is_open[entry.key.subject.removeprefix("bank:")] = entry.transition is not TransitionKind.RESOLVED
        before = head
        for part in step.parts:
            if part.do == "pull":
                for account in BANKS[part.shard]:
                    fault = part.faults.get(account)
                    sure = len(step.parts) == 1 and fault != "statement"
                    silent[part.shard][account] = (fault == "refused" or fault in SILENT_FAULTS) if sure else None
        if len(step.parts) > 1 or step.do != "watch" or behind:
            continue
        for bank, accounts in silent.items():
            if None not in accounts.values() and all(accounts.values()) is not is_open[bank]:
                yield f"step {step.number}: {bank} silent: {accounts}, but the alert is open: {is_open[bank]}"


# the feed


def _feed_is_dense(story: Story) -> Iterator[str]:
    """The feed is numbered from 1 on without a gap, at every moment and for every reader."""
    seqs = [entry.seq for entry in story.entries]
    if seqs != list(range(1, len(seqs) + 1)):
        yield f"the numbers are {_odd(seqs)}"
    read = [entry.seq for entry in story.read]
    if read != list(range(1, len(read) + 1)):
        yield f"a reader with a cursor got the numbers {_odd(read)}"
    if story.heads[-1] != len(story.entries) or sorted(story.heads) != story.heads:
        yield f"the head went {story.heads[-5:]}, and there are {len(story.entries)} entries"


def _odd(seqs: Sequence[int]) -> str:
    pairs = zip((0, *seqs), seqs, strict=False)
    return ", ".join(f"{one} after {before}" for before, one in pairs if one != before + 1)


def _feed_never_changes(story: Story) -> Iterator[str]:
    """What a reader got stays what it is."""
    now = {entry.seq: entry for entry in story.entries}
    for entry in story.read:
        if now.get(entry.seq) != entry:
            yield f"entry {entry.seq} was read as {entry}, and is now {now.get(entry.seq)}"


_LASTING = frozenset({TransitionKind.ACKNOWLEDGED, TransitionKind.SNOOZED, TransitionKind.ACCEPTED})


def _lives_are_whole(story: Story) -> Iterator[str]:
    """Each alert opens, rises, eases, resolves and reopens in an order that makes sense, and stands as its feed says.
    """
    for alert_id, entries in story.by_alert.items():
        is_open, rank = False, 0
        for entry in entries:
            if not _fits(entry, is_open=is_open, was=rank, first=entry is entries[0]):
                yield f"entry {entry.seq} of {entry.key}: {entry.transition} {entry.severity} (open: {is_open}, {rank})"
            if entry.transition is not TransitionKind.RESUMED:
                is_open = entry.transition is not TransitionKind.RESOLVED
            rank = entry.severity.rank
        stands = story.alerts[alert_id]
        if (stands.status is Status.OPEN) != is_open or (is_open and stands.severity.rank != rank):
            yield f"{stands.key} stands {stands.status} {stands.severity}, by the feed open: {is_open}, {rank}"
    for alert in story.alerts.values():
        if alert.status is Status.OPEN and alert.alert_id not in story.by_alert:
            yield f"{alert.key} is open, and the feed never told of it"


def _fits(entry: FeedEntry, *, is_open: bool, was: int, first: bool) -> bool:
    now, rank = entry.transition, entry.severity.rank
    if now is TransitionKind.OPENED:
        return first
    if now is TransitionKind.REOPENED:
        return not first and not is_open
    if now is TransitionKind.ESCALATED:
        return is_open and rank > was
    if now is TransitionKind.EASED:
        return is_open and rank < was
    if now is TransitionKind.RESUMED:
        return True
    return is_open


# what ends was looked at


def _resolved_is_examined(story: Story) -> Iterator[str]:
    """No alert is resolved unless what it is about was heard of after it had opened, or two people accepted it."""
    for entries in story.by_alert.values():
        opened = entries[0]
        for entry in entries:
            if entry.transition in (TransitionKind.OPENED, TransitionKind.REOPENED):
                opened = entry
            if entry.transition is not TransitionKind.RESOLVED:
                continue
            if not _heard_of(story, entry, story.step_of[opened.seq - 1], story.step_of[entry.seq - 1]):
                yield (f"entry {entry.seq}: {entry.key} resolved ({entry.reason}) at {entry.recorded_at}, and nothing "
                       f"was heard of it since entry {opened.seq} at {opened.recorded_at}")


def _heard_of(story: Story, entry: FeedEntry, opened: Step, resolved: Step) -> bool:
    if entry.reason is Reason.ACCEPTED:
        past = story.decisions.get(entry.alert_id, ())
        return any(one.decision.proposed_by and one.decision.at == entry.recorded_at for one in past)
    # At a step where two things are done at once, either may have been first.
    first = opened.number if opened.both else opened.number + 1
    account = entry.labels.get("account_no")
    rule = entry.key.rule
    if rule == "round_late":
        name = entry.key.subject.removeprefix("round:")
        return any(
            run.round == name and run.outcome is not Outcome.ERROR for run in story.runs
            if first <= _number(run.scheduled_at) <= resolved.number
        )
    heard = [one for one in story.answered if first <= one.step <= resolved.number]
    if rule == "bank_silent":
        return any(f"bank:{BANK_OF[one.account_no]}" == entry.key.subject for one in heard)
    if rule in ("floor", "late_top_up"):
        return any((one.account_no == account and LEVEL[one.amount] is None) or (
            rule == "late_top_up" and LEVEL[one.amount] == "yellow" and one.account_no == account
        ) for one in heard)
    if rule == "large_outflow":
        # Where it went is told by the institution's other account.
        return any(_HOLDER[one.account_no] == _HOLDER[str(account)] for one in heard)
    if account is not None:
        return any(one.account_no == account for one in heard)
    # About our own means: whoever looks sees it. A step that was killed looks again.
    return any(
        part.do in ("check", "watch", "controls", "deliver")
        for step in story.script.steps[opened.number:resolved.number + 1] for part in step.parts
    )


_HOLDER = {account: place for accounts in BANKS.values() for place, account in enumerate(accounts)}
"""Which institution holds an account: it has one at each bank."""


def _number(at: datetime) -> int:
    """The step of a scheduled time: it stands in the microseconds."""
    return at.microsecond % 500_000 - 1


# people


_MADE = {
    Reason.ACKNOWLEDGED: "acknowledge", Reason.SNOOZED: "snooze", Reason.ACCEPTANCE_PROPOSED: "propose",
    Reason.ACCEPTED: "confirm",
}


def _decisions_are_kept(story: Story) -> Iterator[str]:
    """What a person was told is decided stands, or ended for a reason that can be seen."""
    for step, came_of in story.acts():
        reason = came_of.get("reason")
        if reason not in _MADE or _MADE[Reason(reason)] != step.do:
            continue
        note = f"step {step.number}"
        kept = [
            one for one in story.decisions.get(came_of["alert"], ())
            if one.decision.by == step.person and one.decision.note.endswith(note)
        ]
        if len(kept) != 1:
            yield f"step {step.number}: {step.person} was told {reason} of {came_of['alert']}, and there is {kept}"
    for alert_id, past in story.decisions.items():
        for one in past:
            if one.ended_at is not None and not _ended_rightly(story, alert_id, one):
                yield f"{alert_id}: {one.decision.kind} of {one.decision.note} ended {one.ended_at}: {one.ended_reason}"


def _silences_are_kept(story: Story) -> Iterator[str]:
    """A silence that a person was told is made runs as long as they said, or until somebody ended it."""
    kept_silences = {one.silence.silence_id: one for one in story.silences}
    for step, came_of in story.acts():
        if "silence" in came_of:
            silence = kept_silences.get(came_of["silence"])
            ends_at = step.at + timedelta(minutes=step.minutes)
            if silence is None or (silence.ended_by is None and silence.silence.ends_at != ends_at):
                yield f"step {step.number}: the silence of {step.person} until {ends_at} is {silence}"
        if came_of.get("unsilenced") and kept_silences[came_of["unsilenced"]].ended_by is None:
            yield f"step {step.number}: the silence {came_of['unsilenced']} was ended, and runs on"


def _ended_rightly(story: Story, alert_id: str, past: PastDecision) -> bool:
    at = past.ended_at
    told = {entry.transition for entry in story.by_alert[alert_id] if entry.recorded_at == at}
    beside = [one.decision for one in story.decisions[alert_id] if one is not past and one.decision.at == at]
    match past.ended_reason:
        case Reason.RAN_OUT:
            return past.decision.until is not None and at is not None and past.decision.until <= at
        case Reason.ALERT_ENDED:
            return TransitionKind.RESOLVED in told
        case Reason.SEVERITY_ROSE:
            return bool(told & {TransitionKind.ESCALATED, TransitionKind.REOPENED})
        case Reason.REPLACED:
            return any(one.kind is past.decision.kind for one in beside)
        case Reason.ACCEPTED:
            return any(one.proposed_by for one in beside)
        case Reason.TAKEN_BACK:
            return past.ended_by in PEOPLE
        case Reason.OTHER_EVIDENCE:
            return past.decision.ends
        case _:
            return False


def _quiet_is_quiet(story: Story) -> Iterator[str]:
    """While a silence runs, the desk is not called for the first time about what it hides; red is never hidden."""
    first: set[str] = set()
    for message in story.received:
        step = story.script.steps[message.step]
        if message.channel != "desk" or message.message_id in first:
            continue
        first.add(message.message_id)
        entry = story.entries[int(message.message_id.split("_")[1]) - 1]
        if len(step.parts) > 1 or entry.transition not in CALLS:
            continue
        stood = [one for one in story.by_alert[entry.alert_id] if one.seq <= story.heads[step.number]][-1].severity
        facts = {**entry.labels, "rule": entry.key.rule, "subject": entry.key.subject, "period": entry.key.period}
        for kept in story.silences:
            silence = kept.silence
            fits = all(facts.get(name) == value for name, value in silence.matchers.items())
            # What was tried before the silence began goes on being tried.
            tried = any(one.delivery_id == message.message_id and one.attempts > 1 for one in story.owed)
            if fits and stood is not Severity.RED and silence.starts_at <= step.at < silence.ends_at and not tried:
                yield f"step {step.number}: the desk was called by {message.message_id} within {silence}"


# what is owed


def _one_body(story: Story) -> Iterator[str]:
    """Each message says the same however often it comes, and what the feed says."""
    bodies: dict[str, set[bytes]] = {}
    for message in story.received:
        bodies.setdefault(message.message_id, set()).add(message.body)
    for message_id, said in bodies.items():
        if len(said) > 1:
            yield f"{message_id} came as {sorted(said)}"
        event = json.loads(next(iter(said)))
        seq = int(message_id.split("_")[1])
        if event["id"] != message_id or event["data"]["_escrow"]["seq"] != seq or seq > len(story.entries):
            yield f"{message_id} says {event}"
        elif event["type"] != f"escrow.alert.{story.entries[seq - 1].transition}":
            yield f"{message_id} is {event['type']}, the feed says {story.entries[seq - 1].transition}"


def _owed_is_settled(story: Story) -> Iterator[str]:
    """Every entry is owed to every channel, and in the end it was taken, given up with cause, or withheld with cause.
    """
    owed = {one.delivery_id for one in story.owed}
    withheld = {delivery_id for delivery_id, _ in story.withheld}
    wanted = {f"evt_{entry.seq}_{channel}" for entry in story.entries for channel in CHANNELS}
    if owed | withheld != wanted or owed & withheld:
        yield f"forgotten: {wanted - owed - withheld}, of nothing: {(owed | withheld) - wanted}, {owed & withheld}"
    if loud := [one for one in withheld if one.endswith("_hook")]:
        yield f"withheld from a channel that is told everything: {loud}"
    statuses: dict[str, set[int]] = {}
    for message in story.received:
        statuses.setdefault(message.message_id, set()).add(message.status)
    for one in story.owed:
        seen = statuses.get(one.delivery_id, set())
        match one.state:
            case "delivered":
                if 204 not in seen:
                    yield f"{one.delivery_id} counts as delivered, the receiver saw {seen}"
            case "dead":
                if 400 not in seen and one.attempts < ATTEMPTS_MAX:
                    yield f"{one.delivery_id} was given up after {one.attempts} tries: {one.detail}; seen {seen}"
            case _:
                if not (one.channel == "desk" and one.detail.startswith(("waits: accepted", "waits: inhibited"))):
                    yield f"{one.delivery_id} is still owed after {one.attempts} tries: {one.detail!r}"


# the records


def _runs_end(story: Story) -> Iterator[str]:
    """Every run that began has ended, as its round said; each account was asked once a run."""
    said = Counter[tuple[str, datetime]]()
    for step in story.script.steps:
        for part, came_of in zip(step.parts, story.came_of(step), strict=True):
            if "outcome" in came_of:
                said[came_of["outcome"], part.at] += 1
    for run in story.runs:
        if run.outcome is None or run.finished_at is None:
            yield f"{run.round} {run.shard} of {run.scheduled_at} was begun {run.begun} times and never ended"
    ended = Counter(
        (run.outcome.value, run.scheduled_at.replace(microsecond=run.scheduled_at.microsecond % 500_000))
        for run in story.runs if run.outcome is not None and run.outcome is not Outcome.ERROR
    )
    if missing := said - ended:
        yield f"rounds that said how they ended, and nothing is known of it: {missing}"
    for run in story.runs:
        if run.round == "pull-balances" and run.outcome in (Outcome.OK, Outcome.WRONG):
            asked = story.pulls.get(run.scheduled_at, 0)
            if asked != len(BANKS[run.shard]) and not run.detail:
                yield f"the pull of {run.shard} at {run.scheduled_at} left {asked} answers"


def _errors_are_few(story: Story) -> Iterator[str]:
    """A round that could not do its work says so only where two were at once."""
    for step in story.script.steps:
        for came_of in story.came_of(step):
            if "error" in came_of and not _ordinary(step, came_of["error"]):
                yield f"step {step.number} ({step.do}): {came_of['error']}"


def _ordinary(step: Step, error: str) -> bool:
    return len(step.parts) > 1 and error.startswith("OutsideError")


def _chain_is_whole(story: Story) -> Iterator[str]:
    """The audit chain verifies, to the program and to the script for outsiders, with what a reader kept as witness."""
    for verdict in story.verdicts:
        if not verdict.whole:
            yield f"the chain of {verdict.entries} entries: {verdict.fault} at {verdict.at_seq}: {verdict.detail}"
    if story.export.get("whole") is not True:
        yield f"the outsider's script says {story.export}"


LAWS: Mapping[str, Callable[[Story], Iterator[str]]] = {
    "what is known is told": _known_is_told,
    "a silent bank is told": _silent_is_told,
    "the feed is dense": _feed_is_dense,
    "the feed never changes": _feed_never_changes,
    "the lives of alerts are whole": _lives_are_whole,
    "what is resolved was examined": _resolved_is_examined,
    "what people decide is kept": _decisions_are_kept,
    "silences are kept": _silences_are_kept,
    "quiet is quiet": _quiet_is_quiet,
    "a message has one body": _one_body,
    "what is owed is settled": _owed_is_settled,
    "every run ends": _runs_end,
    "errors are told with cause": _errors_are_few,
    "the chain is whole": _chain_is_whole,
}
