"""The values of alerting: key, signal, alert, transition, feed entry. Frozen; they do nothing.

    signal        "this condition holds now", from one examination
    alert         a condition with a beginning, perhaps an end; its identity is (rule, subject, period), never a value
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


class Reason(StrEnum):
    """Why the lifecycle decided as it did. Closed: shown in log, feed and audit by these words."""

    # transitions
    CONDITION_SEEN = "condition_seen"
    CONDITION_HELD = "condition_held"
    SEVERITY_ROSE = "severity_rose"
    SEVERITY_FELL = "severity_fell"
    EXAMINED_AND_ABSENT = "examined_and_absent"
    SEEN_AGAIN = "seen_again"
    # no transition
    NOT_HELD_LONG_ENOUGH = "not_held_long_enough"
    NOT_ABSENT_LONG_ENOUGH = "not_absent_long_enough"
    WITHIN_MARGIN = "within_margin"
    UNCHANGED = "unchanged"
    NOT_EXAMINED = "not_examined"
    OLDER_THAN_KNOWN = "older_than_known"
    NEVER_OPENED = "never_opened"


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
class Alert:
    """A condition with a beginning. `alert_id` is stable over its whole life, reopenings included.

    `severity` is the worst the condition is now, `seen_at` our time of the last examination that spoke of it,
    `absent_since` set while it was examined and absent but `resolve_after` has not passed. `version` counts changes.
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
