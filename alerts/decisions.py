"""Decide about what people decide: who may, what it keeps quiet, and when it is over. Pure: no clock, no storage.

    act            needs                              while it stands                        feed
    -------------  ---------------------------------  -------------------------------------  --------------------------
    Acknowledge    open; an end                       somebody has it: nobody else is urged  acknowledged
    Snooze         open; an end; a note               nobody is called                       snoozed
    Propose        open; a note                       nothing yet: it waits for a second     nothing
    Confirm        a proposal by somebody else        nobody is called                       accepted (event: resolved)
    TakeBack       that it stands; a note             -                                      resumed (event: reopened)

A decision lies over the status of an alert and never is one: what is acknowledged, snoozed or accepted is still open,
still examined and still in the feed. Only an accepted *event* (money that left, a statement that was corrected) ends,
for nothing that is examined later could ever show it absent.

What a decision counts for is what was decided about, no more:

    the alert gets worse than it was then    the decision is over: whoever said "I know" has not seen this. It stays
                                             over when the alert eases again, so nobody is quiet by an old word
    the alert eases                          the decision stands: less than was known then is known
    the alert ends                           the decision is over; the next episode is news to everybody
    an event is told with other evidence     its acceptance is over (and a proposal): accepted was the frozen evidence.
                                             The figures of what lasts move daily, so there only severity counts
    its time is up                           the decision is over, and that is published: forgotten is not dealt with
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from alerts.alert import (
    Alert,
    Decision,
    DecisionKind,
    Evidence,
    Figure,
    Reason,
    Severity,
    Signal,
    Status,
    Transition,
    TransitionKind,
    Why,
)

ACKNOWLEDGED_FOR_MAX = timedelta(days=30)
SNOOZED_FOR_MAX = timedelta(days=14)
PROPOSED_FOR = timedelta(days=14)
"""So long a proposal waits for the second pair of eyes."""
NOTE_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Somebody has seen it and sees to it until `until`. The note may be empty."""

    by: str
    note: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze:
    """Nobody is to be called before `until`, and the note says why."""

    by: str
    note: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """The first pair of eyes: it is to be accepted as it is, and the note says why. `ends`: it is about an event."""

    by: str
    note: str
    ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """The second pair of eyes: what was proposed is accepted."""

    by: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """A decision of this kind is to be over, and the note says why."""

    by: str
    note: str
    kind: DecisionKind


Act: TypeAlias = Acknowledge | Snooze | Propose | Confirm | TakeBack


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A decision that is over, and why."""

    alert_id: str
    decision: Decision
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What became of an act: the alert afterwards, the reason, and what the world hears, in order.

    A refused act leaves the alert as it was; so does one that says again what stands (`Reason.UNCHANGED`).
    """

    alert: Alert
    reason: Reason
    transitions: tuple[Transition, ...] = ()
    ended: tuple[Ended, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Nothing was decided; the reason says what is in the way."""
        return self.reason in REFUSALS


REFUSALS = frozenset({
    Reason.NOT_OPEN, Reason.NO_PERSON, Reason.NO_NOTE, Reason.NOTE_TOO_LONG, Reason.ENDS_TOO_SOON,
    Reason.ENDS_TOO_LATE, Reason.ALREADY_ACCEPTED, Reason.NOTHING_PROPOSED, Reason.SAME_PERSON,
    Reason.NOTHING_TO_TAKE_BACK,
})


def decide(alert: Alert, act: Act, *, now: datetime) -> Ruling:
    """Do what a person asks about an alert, or refuse it. The same act a second time changes nothing."""
    refusal = _refusal(alert, act, now)
    if refusal is not None:
        return Ruling(alert=alert, reason=refusal)
    match act:
        case Acknowledge() | Snooze():
            return _quieted(alert, act, now)
        case Propose():
            return _proposed(alert, act, now)
        case Confirm():
            return _accepted(alert, act, now)
        case TakeBack():
            return _taken_back(alert, act, now)
        case _ as never:  # pragma: no cover - the type checker proves that there is no sixth act
            assert_never(never)


def run_out(alert: Alert, *, now: datetime) -> Ruling:
    """End what has run out by now; a proposal that nobody confirmed ends unheard of."""
    over = [one for one in alert.decisions if one.until is not None and one.until <= now]
    if not over:
        return Ruling(alert=alert, reason=Reason.UNCHANGED)
    after = _with(alert, without=[one.kind for one in over])
    return Ruling(
        alert=after, reason=Reason.RAN_OUT,
        ended=tuple(_ended(alert, one, Reason.RAN_OUT) for one in over),
        transitions=tuple(
            _told(after, one, TransitionKind.RESUMED, Reason.RAN_OUT, now)
            for one in over
            if one.kind is not DecisionKind.PROPOSAL
        ),
    )


def quiet_by(alert: Alert, *, now: datetime) -> Decision | None:
    """The decision that keeps an alert quiet now: the farthest-reaching of those that count."""
    for kind in (DecisionKind.ACCEPTANCE, DecisionKind.SNOOZE, DecisionKind.ACKNOWLEDGEMENT):
        found = standing(alert, kind, now=now)
        if found is not None:
            return found
    return None


def standing(alert: Alert, kind: DecisionKind, *, now: datetime) -> Decision | None:
    """The decision of this kind, if it has not run out."""
    found = alert.decision(kind)
    return None if found is None or (found.until is not None and found.until <= now) else found


def carried(before: Alert, after: Alert) -> tuple[Alert, tuple[Ended, ...]]:
    """What still counts of the decisions about an alert that was just examined, and what is over, and why."""
    over = [(one, reason) for one in before.decisions if (reason := _over(one, after)) is not None]
    left = _with(after, without=[one.kind for one, _ in over], since=before)
    return left, tuple(_ended(before, one, reason) for one, reason in over)


def covers(alert: Alert, signal: Signal) -> bool:
    """Whether an event that was accepted is told here as it was accepted: no worse, and by the same figures."""
    accepted = alert.decision(DecisionKind.ACCEPTANCE)
    if accepted is None or not accepted.ends:
        return False
    severity = signal.severity
    return _no_worse(severity, accepted.evidence) and (severity is None or _same(signal.figures, accepted.evidence))


def person(by: str) -> str:
    """The person behind `key:li` or `cli:li`: the same one, whichever way they came."""
    _, colon, name = by.partition(":")
    return (name if colon else by).strip()


def _refusal(alert: Alert, act: Act, now: datetime) -> Reason | None:
    """What is in the way of an act, the plainest first."""
    if not person(act.by):
        return Reason.NO_PERSON
    if len(act.note) > NOTE_CHARACTERS_MAX:
        return Reason.NOTE_TOO_LONG
    if isinstance(act, Snooze | Propose | TakeBack) and not act.note.strip():
        return Reason.NO_NOTE
    if isinstance(act, TakeBack):
        return Reason.NOTHING_TO_TAKE_BACK if alert.decision(act.kind) is None else None
    if alert.decision(DecisionKind.ACCEPTANCE) is not None:
        return Reason.ALREADY_ACCEPTED
    if alert.status is not Status.OPEN:
        return Reason.NOT_OPEN
    if isinstance(act, Acknowledge | Snooze):
        return _refusal_of_end(act, now)
    return _refusal_of_four_eyes(alert, act, now)


def _refusal_of_end(act: Acknowledge | Snooze, now: datetime) -> Reason | None:
    if act.until <= now:
        return Reason.ENDS_TOO_SOON
    longest = ACKNOWLEDGED_FOR_MAX if isinstance(act, Acknowledge) else SNOOZED_FOR_MAX
    return Reason.ENDS_TOO_LATE if act.until - now > longest else None


def _refusal_of_four_eyes(alert: Alert, act: Propose | Confirm, now: datetime) -> Reason | None:
    if isinstance(act, Propose):
        return None
    proposal = standing(alert, DecisionKind.PROPOSAL, now=now)
    if proposal is None:
        return Reason.NOTHING_PROPOSED
    same = person(proposal.by).casefold() == person(act.by).casefold()
    return Reason.SAME_PERSON if same else None


def _quieted(alert: Alert, act: Acknowledge | Snooze, now: datetime) -> Ruling:
    if isinstance(act, Acknowledge):
        kind, told, reason = DecisionKind.ACKNOWLEDGEMENT, TransitionKind.ACKNOWLEDGED, Reason.ACKNOWLEDGED
    else:
        kind, told, reason = DecisionKind.SNOOZE, TransitionKind.SNOOZED, Reason.SNOOZED
    made = Decision(kind=kind, by=act.by, note=act.note, at=now, until=act.until, evidence=_evidence(alert))
    before = alert.decision(kind)
    if before is not None and _says_the_same(before, made):
        return Ruling(alert=alert, reason=Reason.UNCHANGED)
    after = _with(alert, made)
    return Ruling(
        alert=after, reason=reason, ended=() if before is None else (_ended(alert, before, Reason.REPLACED),),
        transitions=(_told(after, made, told, reason, now),),
    )


def _proposed(alert: Alert, act: Propose, now: datetime) -> Ruling:
    made = Decision(
        kind=DecisionKind.PROPOSAL, by=act.by, note=act.note, at=now, until=now + PROPOSED_FOR,
        evidence=_evidence(alert), ends=act.ends,
    )
    before = alert.decision(DecisionKind.PROPOSAL)
    if before is not None and _says_the_same(before, replace(made, until=before.until)):
        return Ruling(alert=alert, reason=Reason.UNCHANGED)
    ended = () if before is None else (_ended(alert, before, Reason.REPLACED),)
    return Ruling(alert=_with(alert, made), reason=Reason.ACCEPTANCE_PROPOSED, ended=ended)


def _accepted(alert: Alert, act: Confirm, now: datetime) -> Ruling:
    """What was proposed is accepted, on the evidence as it was proposed; nothing else need keep it quiet any more."""
    proposal = alert.decision(DecisionKind.PROPOSAL)
    assert proposal is not None  # noqa: S101 - else it was refused
    note = proposal.note if not act.note.strip() else f"{proposal.note} / {act.note}"
    made = Decision(
        kind=DecisionKind.ACCEPTANCE, by=act.by, note=note, at=now, until=None, evidence=proposal.evidence,
        proposed_by=proposal.by, ends=proposal.ends,
    )
    after = _with(alert, made, without=list(DecisionKind))
    ended = tuple(_ended(alert, one, Reason.ACCEPTED) for one in alert.decisions)
    told = [_told(after, made, TransitionKind.ACCEPTED, Reason.ACCEPTED, now)]
    if made.ends:
        after = replace(after, status=Status.RESOLVED, resolved_at=now, absent_since=None)
        told.append(Transition(kind=TransitionKind.RESOLVED, reason=Reason.ACCEPTED, alert=after, at=now))
    return Ruling(alert=after, reason=Reason.ACCEPTED, ended=ended, transitions=tuple(told))


def _taken_back(alert: Alert, act: TakeBack, now: datetime) -> Ruling:
    over = alert.decision(act.kind)
    assert over is not None  # noqa: S101 - else it was refused
    after = _with(alert, without=[act.kind])
    kind = TransitionKind.RESUMED
    if act.kind is DecisionKind.ACCEPTANCE and alert.status is not Status.OPEN:
        kind = TransitionKind.REOPENED
        after = replace(after, status=Status.OPEN, opened_at=now, resolved_at=None, episode=alert.episode + 1)
    back = replace(over, by=act.by, note=act.note)
    return Ruling(
        alert=after, reason=Reason.TAKEN_BACK, ended=(_ended(alert, over, Reason.TAKEN_BACK),),
        transitions=() if act.kind is DecisionKind.PROPOSAL else (_told(after, back, kind, Reason.TAKEN_BACK, now),),
    )


def _over(decision: Decision, after: Alert) -> Reason | None:
    """Why a decision is over now that its alert is as it is after an examination; None while it counts."""
    is_accepted_event = decision.kind is DecisionKind.ACCEPTANCE and decision.ends
    match after.status:
        case Status.PENDING:
            return None  # only an accepted event can be told of anew here, and it has not opened again yet
        case Status.RESOLVED:
            return None if is_accepted_event else Reason.ALERT_ENDED
        case Status.OPEN:
            if not _no_worse(after.severity, decision.evidence):
                return Reason.SEVERITY_ROSE
            is_other = decision.ends and not _same(after.figures, decision.evidence)
            return Reason.OTHER_EVIDENCE if is_other or is_accepted_event else None
        case _ as never:  # pragma: no cover - the type checker proves that there is no fourth status
            assert_never(never)


def _no_worse(severity: Severity | None, evidence: Evidence) -> bool:
    return severity is None or severity.rank <= evidence.severity.rank


def _same(figures: object, evidence: Evidence) -> bool:
    return figures == evidence.figures


def _evidence(alert: Alert) -> Evidence:
    return Evidence(
        severity=alert.severity, standing=alert.standing, why=alert.why, figures=dict(alert.figures),
        as_of=alert.as_of,
    )


def _says_the_same(before: Decision, made: Decision) -> bool:
    """The same person says the same until the same time, about no more than before."""
    return (before.by, before.note, before.until, before.ends, before.evidence.severity) == (
        made.by, made.note, made.until, made.ends, made.evidence.severity,
    )


def _ended(alert: Alert, decision: Decision, reason: Reason) -> Ended:
    return Ended(alert_id=alert.alert_id, decision=decision, reason=reason)


_ORDER = {kind: place for place, kind in enumerate(DecisionKind)}


def _with(
    alert: Alert, made: Decision | None = None, *, without: Collection[DecisionKind] = (), since: Alert | None = None
) -> Alert:
    """The alert with other decisions. It counts as one change, unless an examination (`since`) counts it already."""
    found = alert.decisions if since is None else since.decisions
    gone = {*without, *(() if made is None else (made.kind,))}
    left = [one for one in found if one.kind not in gone]
    if made is not None:
        left.append(made)
    version = alert.version if since is not None else alert.version + 1
    return replace(alert, decisions=tuple(sorted(left, key=lambda one: _ORDER[one.kind])), version=version)


def _told(alert: Alert, decision: Decision, kind: TransitionKind, reason: Reason, now: datetime) -> Transition:
    """A decision as the feed tells it: who, until when and why stand in the sentence and among the figures.

    `decision_severity` lets a reader of the feed alone tell which later `escalated` ends it: one to more than this.
    """
    figures: dict[str, Figure] = {
        **alert.figures, "decision": decision.kind.value, "decision_by": person(decision.by),
        "decision_note": decision.note, "decision_severity": decision.evidence.severity.value,
        "decision_until": None if decision.until is None else decision.until.isoformat(timespec="minutes"),
        "decision_proposed_by": None if decision.proposed_by is None else person(decision.proposed_by),
    }
    return Transition(
        kind=kind, reason=reason, alert=replace(alert, why=_sentence(alert.why, decision, reason), figures=figures),
        at=now,
    )


_DECISION_WORDS = {
    DecisionKind.ACKNOWLEDGEMENT: Why("确认", "acknowledgement"),
    DecisionKind.SNOOZE: Why("暂缓", "snooze"),
    DecisionKind.PROPOSAL: Why("接受提议", "proposal"),
    DecisionKind.ACCEPTANCE: Why("接受", "acceptance"),
}


def _sentence(why: Why, decision: Decision, reason: Reason) -> Why:
    """What was decided, then what it is about."""
    word, who = _DECISION_WORDS[decision.kind], person(decision.by)
    until = "" if decision.until is None else decision.until.isoformat(sep=" ", timespec="minutes")
    note_zh, note_en = (f"（{decision.note}）", f" ({decision.note})") if decision.note.strip() else ("", "")
    match reason:
        case Reason.RAN_OUT:
            zh, en = f"{who} 的{word.zh}已于 {until} 到期", f"the {word.en} by {who} ran out at {until}"
        case Reason.TAKEN_BACK:
            zh, en = f"{who} 撤回了{word.zh}{note_zh}", f"{who} took the {word.en} back{note_en}"
        case Reason.ACCEPTED:
            first = person(decision.proposed_by or "")
            zh, en = f"{first} 提议、{who} 复核，已接受{note_zh}", f"accepted by {first} and {who}{note_en}"
        case _:
            zh, en = f"{who} 已{word.zh}，至 {until}{note_zh}", f"{word.en} by {who} until {until}{note_en}"
    return Why(zh=f"{zh}；{why.zh}", en=f"{en}; {why.en}")
