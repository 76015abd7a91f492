"""Decide which alerts open, change and resolve. Pure: no clock, no storage, no network.

    known      said now                 becomes    the world hears            reason
    ---------  -----------------------  ---------  -------------------------  ---------------------------------------
    none       signal                   open       opened                     condition_seen
    none       signal, for-time         pending    nothing                    not_held_long_enough
    none       in the margin, or clear  none       nothing                    within_margin, unchanged
    pending    signal, held             open       opened (or reopened)       condition_held (seen_again)
    pending    signal, not yet          pending    nothing                    not_held_long_enough
    pending    in the margin, or clear  resolved   nothing                    never_opened
    open       signal, worse            open       escalated                  severity_rose
    open       signal, less bad         open       eased                      severity_fell
    open       signal, as bad           open       nothing                    unchanged, within_margin
    open       clear, long enough       resolved   resolved                   examined_and_absent
    open       clear, not yet           open       nothing                    not_absent_long_enough
    resolved   signal                   open       reopened (or opened)       seen_again (condition_seen)
    resolved   signal, for-time         pending    nothing                    not_held_long_enough
    resolved   in the margin, or clear  resolved   nothing                    within_margin, unchanged
    accepted   signal, as accepted      resolved   nothing                    accepted
    accepted   signal, worse or other   open       reopened                   worse_than_accepted, other_evidence
    any        older evidence           untouched  nothing                    older_than_known
    any        nothing                  untouched  nothing                    (no decision: it was not examined)

`accepted` stands for an event that ended because two people accepted it, see `alerts.decisions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, assert_never

from alerts.alert import (
    Alert,
    AlertKey,
    Clear,
    DecisionKind,
    Reason,
    Severity,
    Signal,
    Status,
    Transition,
    TransitionKind,
    alert_id_of,
)
from alerts.decisions import Ended, carried, covers


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided about one key that was spoken of, and why; transitions and their absence alike."""

    key: AlertKey
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """What one examination changes.

    `changed` holds every alert whose stored form is now another (pending ones and quiet updates included), at most
    one a key. `transitions` is what the world hears, in the order in which the keys were spoken of; its alerts are
    among `changed`. `verdicts` has exactly one line for every key that was spoken of. `ended` are the decisions of
    people that are over by what was said.
    """

    changed: tuple[Alert, ...]
    transitions: tuple[Transition, ...]
    verdicts: tuple[Verdict, ...]
    ended: tuple[Ended, ...] = ()


def transitions(
    *,
    open_alerts: Mapping[AlertKey, Alert],
    signals: Iterable[Signal],
    clears: Iterable[Clear],
    now: datetime,
) -> Transitions:
    """Compare what is known with what was just seen.

    `open_alerts` holds every alert that is known under the keys spoken of: pending, open and resolved. A key that is
    in neither `signals` nor `clears` was not examined and stays as it is: a bank that did not answer tells us
    nothing, and unknown is not well. The same words at the same `now` a second time change nothing.
    """
    changed: list[Alert] = []
    heard: list[Transition] = []
    verdicts: list[Verdict] = []
    ended: list[Ended] = []
    for key, word in _newest_words(signals, clears).items():
        known = open_alerts.get(key)
        step = _step(known, word, now)
        verdicts.append(Verdict(key, step.reason))
        if step.alert is None or step.alert == known:
            continue
        alert = step.alert
        if known is not None:
            alert, over = carried(known, replace(alert, version=known.version + 1))
            ended.extend(over)
        changed.append(alert)
        if step.kind is not None:
            heard.append(Transition(kind=step.kind, reason=step.reason, alert=alert, at=now))
    return Transitions(
        changed=tuple(changed), transitions=tuple(heard), verdicts=tuple(verdicts), ended=tuple(ended)
    )


class _Step(NamedTuple):
    """One key's way: the alert afterwards (None: nothing to keep), why, and what the world hears of it."""

    alert: Alert | None
    reason: Reason
    kind: TransitionKind | None = None


def _newest_words(signals: Iterable[Signal], clears: Iterable[Clear]) -> dict[AlertKey, Signal | Clear]:
    """One word a key, in order of first mention: the newest evidence, and of equally new the worst.

    A signal that says neither a severity nor what it holds says nothing, so anything else is preferred to it.
    """
    words: dict[AlertKey, Signal | Clear] = {}
    said: list[Signal | Clear] = [*signals, *clears]
    for word in said:
        rival = words.get(word.key)
        if rival is None or _weight(word) > _weight(rival):
            words[word.key] = word
    return words


def _weight(word: Signal | Clear) -> tuple[bool, datetime, int, int]:
    """Order of preference among words about one key."""
    if isinstance(word, Clear):
        return True, word.as_of, 0, 0
    severity, holds = _rank(word.severity), _rank(word.holds)
    return bool(severity or holds), word.as_of, severity, holds


def _rank(severity: Severity | None) -> int:
    return 0 if severity is None else severity.rank


def _step(known: Alert | None, word: Signal | Clear, now: datetime) -> _Step:
    if known is not None and word.as_of < known.as_of:
        return _Step(known, Reason.OLDER_THAN_KNOWN)
    if isinstance(word, Clear):
        return _cleared(known, word, now)
    if word.severity is None and word.holds is None:
        return _Step(known, Reason.NOT_EXAMINED)
    if known is not None and known.status is Status.OPEN:
        return _still_open(known, word, now)
    if known is not None and covers(known, word):
        return _as_accepted(known, word, now)
    if word.severity is None:
        return _in_margin(known, word, now)
    return _sighted(known, word, word.severity, now)


def _as_accepted(known: Alert, signal: Signal, now: datetime) -> _Step:
    """An event that two people accepted is told again as they accepted it: it stays ended."""
    if known.status is Status.PENDING:
        return _dropped(known, signal, now)
    return _Step(_noted(known, signal, now), Reason.ACCEPTED)


def _sighted(known: Alert | None, signal: Signal, severity: Severity, now: datetime) -> _Step:
    """The condition holds and no alert is open: open one, or wait until it has held for `open_after`."""
    waiting = known is not None and known.status is Status.PENDING
    since = known.first_seen_at if known is not None and waiting else now
    was_open = known is not None and known.opened_at is not None
    opens = now - since >= signal.open_after
    episode, opened_at, resolved_at = (1, None, None) if known is None else _last_episode(known)
    if opens:
        # Only opening begins a new episode; one that waits keeps the times of its last.
        episode, opened_at, resolved_at = episode + was_open, now, None
    alert = Alert(
        alert_id=alert_id_of(signal.key) if known is None else known.alert_id,
        key=signal.key,
        status=Status.OPEN if opens else Status.PENDING,
        severity=severity,
        standing=signal.standing,
        why=signal.why,
        figures=signal.figures,
        labels=signal.labels,
        as_of=signal.as_of,
        first_seen_at=since,
        seen_at=now,
        opened_at=opened_at,
        resolved_at=resolved_at,
        episode=episode,
        version=1 if known is None else known.version,
    )
    if not opens:
        return _Step(alert, Reason.NOT_HELD_LONG_ENOUGH)
    if was_open:
        return _Step(alert, _why_again(known, severity), TransitionKind.REOPENED)
    return _Step(alert, Reason.CONDITION_HELD if waiting else Reason.CONDITION_SEEN, TransitionKind.OPENED)


def _why_again(known: Alert | None, severity: Severity) -> Reason:
    """Why an alert that had ended opens again: what was accepted of it was less, or something else."""
    accepted = None if known is None else known.decision(DecisionKind.ACCEPTANCE)
    if accepted is None:
        return Reason.SEEN_AGAIN
    return Reason.WORSE_THAN_ACCEPTED if severity.rank > accepted.evidence.severity.rank else Reason.OTHER_EVIDENCE


def _last_episode(known: Alert) -> tuple[int, datetime | None, datetime | None]:
    return known.episode, known.opened_at, known.resolved_at


def _still_open(alert: Alert, signal: Signal, now: datetime) -> _Step:
    """An open alert eases no further than the margin holds it, and never above what it was."""
    held = None if signal.holds is None else min(alert.severity, signal.holds, key=_rank)
    severity = max((s for s in (signal.severity, held) if s is not None), key=_rank)
    seen = replace(
        alert,
        severity=severity,
        standing=signal.standing,
        why=signal.why,
        figures=signal.figures,
        labels=signal.labels,
        as_of=signal.as_of,
        seen_at=now,
        absent_since=None,
    )
    if severity.rank > alert.severity.rank:
        return _Step(seen, Reason.SEVERITY_ROSE, TransitionKind.ESCALATED)
    if severity.rank < alert.severity.rank:
        return _Step(seen, Reason.SEVERITY_FELL, TransitionKind.EASED)
    return _Step(seen, Reason.UNCHANGED if signal.severity is severity else Reason.WITHIN_MARGIN)


def _in_margin(known: Alert | None, signal: Signal, now: datetime) -> _Step:
    """Not bad enough to open anything: what waited to open waits no longer, the rest is noted."""
    if known is not None and known.status is Status.PENDING:
        return _dropped(known, signal, now)
    return _Step(_noted(known, signal, now), Reason.WITHIN_MARGIN)


def _cleared(known: Alert | None, clear: Clear, now: datetime) -> _Step:
    """Examined and found absent: the only way in which an alert ends."""
    if known is None:
        return _Step(None, Reason.UNCHANGED)
    match known.status:
        case Status.RESOLVED:
            return _Step(_noted(known, clear, now), Reason.UNCHANGED)
        case Status.PENDING:
            return _dropped(known, clear, now)
        case Status.OPEN:
            since = known.absent_since or now
            if now - since < clear.resolve_after:
                waiting = _as_seen(known, clear, now, Status.OPEN, absent_since=since)
                return _Step(waiting, Reason.NOT_ABSENT_LONG_ENOUGH)
            ended = _as_seen(known, clear, now, Status.RESOLVED, resolved_at=now)
            return _Step(ended, Reason.EXAMINED_AND_ABSENT, TransitionKind.RESOLVED)
        case _ as never:  # pragma: no cover - the type checker proves that there is no fourth status
            assert_never(never)


def _dropped(pending: Alert, word: Signal | Clear, now: datetime) -> _Step:
    """It did not hold long enough to open, so nobody heard of it and nobody hears that it went."""
    # An alert that was open once keeps the end of that episode: this sighting was none.
    ended_at = now if pending.opened_at is None else pending.resolved_at
    return _Step(_as_seen(pending, word, now, Status.RESOLVED, resolved_at=ended_at), Reason.NEVER_OPENED)


def _noted(known: Alert | None, word: Signal | Clear, now: datetime) -> Alert | None:
    """A resolved alert keeps the sentence it ended with; only newer evidence moves its times.

    Its `as_of` must move, or evidence older than this could reopen it.
    """
    if known is None or word.as_of == known.as_of:
        return known
    return replace(known, as_of=word.as_of, seen_at=now)


def _as_seen(
    alert: Alert,
    word: Signal | Clear,
    now: datetime,
    status: Status,
    *,
    resolved_at: datetime | None = None,
    absent_since: datetime | None = None,
) -> Alert:
    """The alert in its new status, with what the last examination said: sentence, figures, standing, times."""
    return replace(
        alert,
        status=status,
        standing=word.standing,
        why=word.why,
        figures=word.figures,
        as_of=word.as_of,
        seen_at=now,
        resolved_at=resolved_at,
        absent_since=absent_since,
    )
