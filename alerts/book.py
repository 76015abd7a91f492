"""Where alerts are kept: the port, and a book in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from alerts.alert import Alert, AlertKey, Clear, FeedEntry, Signal, Status, Transition
from alerts.delivery import Delivery, message_id
from alerts.lifecycle import transitions

GENESIS_HEAD = "0" * 64


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
        self._audit_head = GENESIS_HEAD
        self._lock = threading.Lock()

    def advance(
        self, *, signals: Sequence[Signal], clears: Sequence[Clear], now: datetime, cause: str
    ) -> tuple[FeedEntry, ...]:
        with self._lock:
            decided = transitions(open_alerts=self.alerts, signals=signals, clears=clears, now=now)
            published: list[FeedEntry] = []
            owed: list[Delivery] = []
            head = self._audit_head
            for seq, transition in enumerate(decided.transitions, start=len(self._entries) + 1):
                head = _chained(head, {"cause": cause, "at": now.isoformat(), **audit_payload(transition, seq=seq)})
                entry = feed_entry(transition, seq=seq, audit_seq=seq, audit_head=head)
                published.append(entry)
                owed.extend(owed_to(entry, self.channels))
            # Everything that can fail is behind us: from here on all of it is kept.
            self.alerts.update((alert.key, alert) for alert in decided.changed)
            self._audit_head = head
            self._entries.extend(published)
            self.owed.extend(owed)
            return tuple(published)

    def open_alerts(self) -> list[Alert]:
        return sorted((a for a in self.alerts.values() if a.status is Status.OPEN), key=lambda alert: alert.key)

    def entries(self, *, after: int, limit: int) -> list[FeedEntry]:
        start = max(after, 0)
        return self._entries[start : start + max(limit, 0)]

    def head(self) -> int:
        return len(self._entries)


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
