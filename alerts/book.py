"""Where alerts are kept: the port, and a book in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from alerts.alert import Alert, AlertKey, Clear, Decision, FeedEntry, Reason, Signal, Status, Transition
from alerts.decisions import Act, Ended, Ruling, decide, run_out
from alerts.delivery import Delivery, message_id
from alerts.lifecycle import transitions

GENESIS_HEAD = "0" * 64
RUN_OUT_CAUSE = "system:time"
"""Who ends a decision that has run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of a person's act: the alert afterwards, why, and what the world hears of it."""

    alert: Alert
    reason: Reason
    entries: tuple[FeedEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDecision:
    """A decision with what became of it; `ended_at` None: it stands, though it may have run out."""

    decision: Decision
    ended_at: datetime | None = None
    ended_by: str | None = None
    ended_reason: Reason | None = None


class AlertBook(Protocol):
    """Keeps alerts, the numbered feed, the audit chain and what is owed to the channels, all or nothing.

    Whoever implements it passes `alerts.testing.AlertBookSuite`.
    """

    def advance(
        self, *, signals: Sequence[Signal], clears: Sequence[Clear], now: datetime, cause: str
    ) -> tuple[FeedEntry, ...]:
        """Take what one examination said, and return what the world hears of it, in feed order.

        In one piece: lock, load what is known under these keys, `alerts.lifecycle.transitions`, keep what changed,
        append one audit entry and one feed entry a transition (`seq` dense from 1), owe one delivery a channel.
        `cause` names who said it (a round, a person) and goes into the audit entry.
        """
        ...

    def decide(self, alert_id: str, act: Act, *, now: datetime) -> Decided | None:
        """Do what a person asks about an alert, by `alerts.decisions.decide`; None if there is no such alert.

        All or nothing, as in `advance`. `act.by` goes into the audit entry: one a published transition, and one for
        what is decided without being published (a proposal, and one taken back).
        """
        ...

    def run_out(self, *, now: datetime) -> tuple[FeedEntry, ...]:
        """End the decisions that have run out, and publish that. To be called as time goes by."""
        ...

    def alert(self, alert_id: str) -> Alert | None:
        """One alert, whatever its status."""
        ...

    def decisions(self, alert_id: str) -> list[PastDecision]:
        """All that people ever decided about an alert, in order."""
        ...

    def open_alerts(self) -> list[Alert]:
        """Every alert that is open now, by key."""
        ...

    def entries(self, *, after: int, limit: int) -> list[FeedEntry]:
        """Feed entries with `seq` greater than `after`, ascending, at most `limit`."""
        ...

    def head(self) -> int:
        """The newest `seq`; 0 when nothing was ever published."""
        ...


def feed_entry(transition: Transition, *, seq: int, audit_seq: int, audit_head: str) -> FeedEntry:
    """A transition with its number and its place in the audit chain."""
    alert = transition.alert
    return FeedEntry(
        seq=seq,
        alert_id=alert.alert_id,
        transition=transition.kind,
        reason=transition.reason,
        key=alert.key,
        severity=alert.severity,
        standing=alert.standing,
        why=alert.why,
        figures=alert.figures,
        labels=alert.labels,
        as_of=alert.as_of,
        recorded_at=transition.at,
        opened_at=alert.opened_at,
        audit_seq=audit_seq,
        audit_head=audit_head,
    )


def ruling_payload(ruling: Ruling) -> dict[str, object]:
    """What the audit chain keeps of a decision that is not published."""
    alert = ruling.alert
    return {
        "alert_id": alert.alert_id,
        "reason": ruling.reason.value,
        "rule": alert.key.rule,
        "subject": alert.key.subject,
        "period": alert.key.period,
        "episode": alert.episode,
        "stands": [_decision_payload(decision) for decision in alert.decisions],
    }


def _decision_payload(decision: Decision) -> dict[str, object]:
    evidence = decision.evidence
    return {
        "kind": decision.kind.value,
        "by": decision.by,
        "note": decision.note,
        "until": None if decision.until is None else decision.until.isoformat(),
        "severity": evidence.severity.value,
        "why": {"zh": evidence.why.zh, "en": evidence.why.en},
        "figures": dict(evidence.figures),
    }


def audit_payload(transition: Transition, *, seq: int) -> dict[str, object]:
    """What the audit chain keeps of a published transition: strings, integers, null and maps of them only."""
    alert = transition.alert
    return {
        "seq": seq,
        "alert_id": alert.alert_id,
        "transition": transition.kind.value,
        "reason": transition.reason.value,
        "rule": alert.key.rule,
        "subject": alert.key.subject,
        "period": alert.key.period,
        "severity": alert.severity.value,
        "standing": alert.standing,
        "why": {"zh": alert.why.zh, "en": alert.why.en},
        "figures": dict(alert.figures),
        "labels": dict(alert.labels),
        "as_of": alert.as_of.isoformat(),
        "opened_at": None if alert.opened_at is None else alert.opened_at.isoformat(),
        "episode": alert.episode,
    }


class MemoryAlertBook:
    """A book that forgets when the process ends: for tests and for trying rules out.

    `channels` are the names of the channels to which every feed entry is owed; what is owed stands in `owed`.
    """

    def __init__(self, *, channels: Sequence[str] = ()) -> None:
        self.channels = tuple(channels)
        self.alerts: dict[AlertKey, Alert] = {}
        self.owed: list[Delivery] = []
        self._entries: list[FeedEntry] = []
        self._audit_seq = 0
        self._audit_head = GENESIS_HEAD
        self._decisions: dict[str, list[PastDecision]] = {}
        self._lock = threading.Lock()

    def advance(
        self, *, signals: Sequence[Signal], clears: Sequence[Clear], now: datetime, cause: str
    ) -> tuple[FeedEntry, ...]:
        with self._lock:
            said = transitions(open_alerts=self.alerts, signals=signals, clears=clears, now=now)
            return self._keep(said.changed, said.transitions, said.ended, now=now, cause=cause)

    def decide(self, alert_id: str, act: Act, *, now: datetime) -> Decided | None:
        with self._lock:
            known = self._alert(alert_id)
            if known is None:
                return None
            ruling = decide(known, act, now=now)
            if ruling.alert == known:
                return Decided(alert=known, reason=ruling.reason)
            entries = self._keep([ruling.alert], ruling.transitions, ruling.ended, now=now, cause=act.by)
            if not entries:
                payload = {"cause": act.by, "at": now.isoformat(), **ruling_payload(ruling)}
                self._audit_seq, self._audit_head = self._audit_seq + 1, _chained(self._audit_head, payload)
            return Decided(alert=ruling.alert, reason=ruling.reason, entries=entries)

    def run_out(self, *, now: datetime) -> tuple[FeedEntry, ...]:
        with self._lock:
            rulings = [run_out(alert, now=now) for _, alert in sorted(self.alerts.items())]
            over = [ruling for ruling in rulings if ruling.ended]
            return self._keep(
                [ruling.alert for ruling in over],
                [transition for ruling in over for transition in ruling.transitions],
                [ended for ruling in over for ended in ruling.ended],
                now=now, cause=RUN_OUT_CAUSE,
            )

    def _keep(
        self, changed: Sequence[Alert], heard: Sequence[Transition], ended: Sequence[Ended], *, now: datetime,
        cause: str,
    ) -> tuple[FeedEntry, ...]:
        published: list[FeedEntry] = []
        owed: list[Delivery] = []
        head = self._audit_head
        for place, transition in enumerate(heard, start=1):
            seq = len(self._entries) + place
            head = _chained(head, {"cause": cause, "at": now.isoformat(), **audit_payload(transition, seq=seq)})
            entry = feed_entry(transition, seq=seq, audit_seq=self._audit_seq + place, audit_head=head)
            published.append(entry)
            owed.extend(owed_to(entry, self.channels))
        # Everything that can fail is behind us: from here on all of it is kept.
        before = dict(self.alerts)
        self.alerts.update((alert.key, alert) for alert in changed)
        for alert in changed:
            self._keep_decisions(before.get(alert.key), alert, ended, now=now, by=cause)
        self._audit_seq, self._audit_head = self._audit_seq + len(published), head
        self._entries.extend(published)
        self.owed.extend(owed)
        return tuple(published)

    def _keep_decisions(
        self, before: Alert | None, after: Alert, ended: Sequence[Ended], *, now: datetime, by: str
    ) -> None:
        past = self._decisions.setdefault(after.alert_id, [])
        for one in ended:
            if one.alert_id == after.alert_id:
                place = next(n for n, p in enumerate(past) if p.ended_at is None and p.decision == one.decision)
                past[place] = PastDecision(
                    decision=one.decision, ended_at=now, ended_by=by, ended_reason=one.reason
                )
        past.extend(PastDecision(decision=one) for one in made(before, after))

    def alert(self, alert_id: str) -> Alert | None:
        return self._alert(alert_id)

    def _alert(self, alert_id: str) -> Alert | None:
        return next((alert for alert in list(self.alerts.values()) if alert.alert_id == alert_id), None)

    def decisions(self, alert_id: str) -> list[PastDecision]:
        return list(self._decisions.get(alert_id, ()))

    def open_alerts(self) -> list[Alert]:
        return sorted((a for a in self.alerts.values() if a.status is Status.OPEN), key=lambda alert: alert.key)

    def entries(self, *, after: int, limit: int) -> list[FeedEntry]:
        start = max(after, 0)
        return self._entries[start : start + max(limit, 0)]

    def head(self) -> int:
        return len(self._entries)


def made(before: Alert | None, after: Alert) -> list[Decision]:
    """The decisions that stand afterwards and did not before."""
    stood = () if before is None else before.decisions
    return [decision for decision in after.decisions if decision not in stood]


def owed_to(entry: FeedEntry, channels: Sequence[str]) -> list[Delivery]:
    """One delivery a channel, due at once."""
    return [
        Delivery(
            delivery_id=message_id(entry.seq, channel),
            channel=channel,
            entry=entry,
            attempts=0,
            due_at=entry.recorded_at,
            created_at=entry.recorded_at,
        )
        for channel in channels
    ]


def _chained(head: str, payload: dict[str, object]) -> str:
    """SHA-256 over the head before and the sorted, unspaced ASCII JSON of the payload."""
    body = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{head}\n{body}".encode()).hexdigest()
