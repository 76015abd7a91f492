"""Acknowledge, snooze and accept alerts, and take that back: what a person decides, checked, kept and audited.

    who asks (a key, a login) + what they ask --> alerts.decisions --> alert book: decision, feed, audit, deliveries

All of it happens inside the caller's transaction, through the book that is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta

from alerts.alert import Alert, DecisionKind
from alerts.book import AlertBook, Decided
from alerts.decisions import Acknowledge, Act, Confirm, Propose, Snooze, TakeBack
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.happenings import has_happened
from escrow_monitor.domain.pseudonyms import names_a_person
from escrow_monitor.errors import UsageError
from escrow_monitor.logs import log

_LONG_NUMBER = re.compile(r"[0-9](?:[ -]?[0-9]){11,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class UnknownAlert(UsageError):
    """No such alert is known."""


def acknowledge(book: AlertBook, alert_id: str, *, by: str, note: str, until: datetime, now: datetime) -> Decided:
    """Say that somebody sees to it until then; nobody else is urged meanwhile. Raises UsageError."""
    said = _fit(note)
    return _decided(book, alert_id, lambda alert: Acknowledge(by=by, note=said, until=until.astimezone(ZONE)), now=now)


def snooze(book: AlertBook, alert_id: str, *, by: str, note: str, until: datetime, now: datetime) -> Decided:
    """Call nobody before then. Raises UsageError."""
    said = _fit(note)
    return _decided(book, alert_id, lambda alert: Snooze(by=by, note=said, until=until.astimezone(ZONE)), now=now)


def propose(book: AlertBook, alert_id: str, *, by: str, note: str, now: datetime) -> Decided:
    """Propose to accept it as it is, on the evidence of now; another person must confirm. Raises UsageError."""
    said, today = _fit(note), now.astimezone(ZONE).date()
    return _decided(book, alert_id, lambda alert: Propose(by=by, note=said, ends=_is_past(alert, today)), now=now)


def confirm(book: AlertBook, alert_id: str, *, by: str, note: str, now: datetime) -> Decided:
    """Accept what another person proposed. Raises UsageError."""
    said = _fit(note)
    return _decided(book, alert_id, lambda alert: Confirm(by=by, note=said), now=now)


def take_back(book: AlertBook, alert_id: str, *, by: str, note: str, kind: DecisionKind, now: datetime) -> Decided:
    """End a decision that stands, whoever made it. Raises UsageError."""
    said = _fit(note)
    return _decided(book, alert_id, lambda alert: TakeBack(by=by, note=said, kind=kind), now=now)


DURATION = re.compile(r"([1-9][0-9]{0,3})([mhd])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Read `30m`, `8h` or `3d`. Raises UsageError."""
    found = DURATION.match(text)
    if found is None:
        raise UsageError(f"{text!r} is not a length of time: write it like 30m, 8h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _decided(book: AlertBook, alert_id: str, make: Callable[[Alert], Act], *, now: datetime) -> Decided:
    alert = book.alert(alert_id)
    if alert is None:
        raise UnknownAlert(f"there is no alert {alert_id[:40]!r}: see alerts list")
    act = make(alert)
    done = book.decide(alert_id, act, now=now)
    assert done is not None  # noqa: S101 - an alert that is known stays known
    log(__name__).info(
        "alert.decided", alert_id=alert_id, act=type(act).__name__.lower(), by=act.by, reason=done.reason.value,
        published=[entry.seq for entry in done.entries],
    )
    return done


def _is_past(alert: Alert, today: date) -> bool:
    return has_happened(alert.key.rule, alert.key.period, today=today)


def _fit(note: str) -> str:
    """The note, trimmed. It is published, so it may name no person beside who decides, and no account in full."""
    text = _CONTROL.sub(" ", note).strip()
    named = names_a_person(text)
    # A short note in Chinese looks like a name: what can be told for certain is what has a form of its own.
    if named is not None and named != "a person's name":
        raise UsageError(f"the note is published and may not contain {named}")
    if _LONG_NUMBER.search(text):
        raise UsageError("the note is published: write the last four digits of an account number only")
    return text
