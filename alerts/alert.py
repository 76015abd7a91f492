"""The values of alerting: key, signal, alert, transition, feed entry. Frozen; they do nothing.

    signal        "this condition holds now", from one examination
    alert         a condition with a beginning, perhaps an end; its identity is (rule, subject, period), never a value
    decision      what a person decided about an alert: an overlay on it, never its status
    transition    one change of an alert, with its reason
    feed entry    a transition with its number; once published it never changes
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

Figure = str | int | None


class Severity(StrEnum):
    """How bad, in the regulator's colours. Order by `rank`."""

    INFO = "info"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"

    @property
    def rank(self) -> int:
        """1 (info) to 4 (red)."""
        return _RANK[self]


_RANK = {Severity.INFO: 1, Severity.YELLOW: 2, Severity.ORANGE: 3, Severity.RED: 4}


class Status(StrEnum):
    """Where an alert is. Acknowledging, snoozing and silencing are overlays, never a status."""

    PENDING = "pending"
    OPEN = "open"
    RESOLVED = "resolved"


class TransitionKind(StrEnum):
    """What can happen to an alert, as the feed names it."""

    OPENED = "opened"
    ESCALATED = "escalated"
    EASED = "eased"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ACCEPTED = "accepted"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    RESUMED = "resumed"
    """A decision that kept it quiet is over, taken back or run out: whoever is to be called is called again."""


class Reason(StrEnum):
    """Why it was decided so. Closed: shown in console, log, API, feed and audit by these words."""

    # transitions
    CONDITION_SEEN = "condition_seen"
    CONDITION_HELD = "condition_held"
    SEVERITY_ROSE = "severity_rose"
    SEVERITY_FELL = "severity_fell"
    EXAMINED_AND_ABSENT = "examined_and_absent"
    SEEN_AGAIN = "seen_again"
    WORSE_THAN_ACCEPTED = "worse_than_accepted"
    OTHER_EVIDENCE = "other_evidence"
    # no transition
    NOT_HELD_LONG_ENOUGH = "not_held_long_enough"
    NOT_ABSENT_LONG_ENOUGH = "not_absent_long_enough"
    WITHIN_MARGIN = "within_margin"
    UNCHANGED = "unchanged"
    NOT_EXAMINED = "not_examined"
    OLDER_THAN_KNOWN = "older_than_known"
    NEVER_OPENED = "never_opened"
    # what a person decided
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ACCEPTANCE_PROPOSED = "acceptance_proposed"
    ACCEPTED = "accepted"
    TAKEN_BACK = "taken_back"
    # why a decision is over, besides
    RAN_OUT = "ran_out"
    REPLACED = "replaced"
    ALERT_ENDED = "alert_ended"
    # why a decision was refused
    NOT_OPEN = "not_open"
    NO_PERSON = "no_person"
    NO_NOTE = "no_note"
    NOTE_TOO_LONG = "note_too_long"
    ENDS_TOO_SOON = "ends_too_soon"
    ENDS_TOO_LATE = "ends_too_late"
    ALREADY_ACCEPTED = "already_accepted"
    NOTHING_PROPOSED = "nothing_proposed"
    SAME_PERSON = "same_person"
    NOTHING_TO_TAKE_BACK = "nothing_to_take_back"


class DecisionKind(StrEnum):
    """What people can decide about an alert. A proposal waits for the second pair of eyes and keeps nothing quiet."""

    ACKNOWLEDGEMENT = "acknowledgement"
    SNOOZE = "snooze"
    PROPOSAL = "proposal"
    ACCEPTANCE = "acceptance"


@dataclass(frozen=True, slots=True, order=True)
class AlertKey:
    """The identity of an alert. Green in April never hides red in March: the period is part of it."""

    rule: str
    subject: str
    period: str

    def __str__(self) -> str:
        return f"{self.rule}/{self.subject}/{self.period}"


@dataclass(frozen=True, slots=True)
class Why:
    """One sentence, Chinese and English."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A condition seen by one examination.

    `severity` None with `holds` set means: not bad enough to open an alert, but not yet clear enough to end one.
    `holds` is the severity an open alert keeps inside the margin; it is never below `severity`. The condition must
    hold for `open_after` before the alert opens and be absent for `resolve_after` before it resolves.
    `labels` travel untouched (uscc, account_no, bank, district, ...), `standing` is the finding's word.
    """

    key: AlertKey
    severity: Severity | None
    holds: Severity | None = None
    standing: str
    why: Why
    figures: Mapping[str, Figure] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime
    open_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """An examination that found the condition absent: why, and how long absence must last before the alert ends."""

    key: AlertKey
    standing: str
    why: Why
    figures: Mapping[str, Figure] = field(default_factory=dict)
    as_of: datetime
    resolve_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was known of an alert when a person decided about it, frozen: nothing said later changes it."""

    severity: Severity
    standing: str
    why: Why
    figures: Mapping[str, Figure]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided about an alert: an overlay on its status, which stays what it is.

    `by` is who, as the credential said it (`key:li`, `cli:li`); `until` is when it runs out, None for an acceptance.
    `proposed_by` is the first pair of eyes of an acceptance. `ends`: the alert is about something that happened, not
    about something that lasts, so accepting it ends it.
    """

    kind: DecisionKind
    by: str
    note: str
    at: datetime
    until: datetime | None
    evidence: Evidence
    proposed_by: str | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition with a beginning. `alert_id` is stable over its whole life, reopenings included.

    `severity` is the worst the condition is now, `seen_at` our time of the last examination that spoke of it,
    `absent_since` set while it was examined and absent but `resolve_after` has not passed. `version` counts changes.
    `decisions` are those of people that stand, at most one of a kind, in the order of the kinds.
    """

    alert_id: str
    key: AlertKey
    status: Status
    severity: Severity
    standing: str
    why: Why
    figures: Mapping[str, Figure]
    labels: Mapping[str, str]
    as_of: datetime
    first_seen_at: datetime
    seen_at: datetime
    opened_at: datetime | None = None
    resolved_at: datetime | None = None
    absent_since: datetime | None = None
    episode: int = 1
    version: int = 1
    decisions: tuple[Decision, ...] = ()

    def decision(self, kind: DecisionKind) -> Decision | None:
        """What stands of this kind, run out or not."""
        return next((one for one in self.decisions if one.kind is kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change that the world hears of: what happened to which alert, why, and the alert after it."""

    kind: TransitionKind
    reason: Reason
    alert: Alert
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """A published transition. `seq` is dense from 1; `audit_seq` and `audit_head` bind it to the audit chain.

    Everything a reader needs stands in it; it never changes and is never taken back.
    """

    seq: int
    alert_id: str
    transition: TransitionKind
    reason: Reason
    key: AlertKey
    severity: Severity
    standing: str
    why: Why
    figures: Mapping[str, Figure]
    labels: Mapping[str, str]
    as_of: datetime
    recorded_at: datetime
    opened_at: datetime | None
    audit_seq: int
    audit_head: str


def alert_id_of(key: AlertKey) -> str:
    """A stable id for a key: the first 20 hex digits of the SHA-256 of its three parts."""
    return hashlib.sha256("\x1f".join((key.rule, key.subject, key.period)).encode()).hexdigest()[:20]
