"""The delivery log that people read: what went where, what waits and why, what was given up or withheld."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Session

from alerts.alert import Severity, TransitionKind, Why
from alerts.routing import RouteReason
from escrow_monitor.records.alerts.routes import WAITS
from escrow_monitor.records.bulk import Reader, run


class DeliveryState(StrEnum):
    """What has become of a delivery."""

    DUE = "due"
    DELIVERED = "delivered"
    DEAD = "dead"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDelivery:
    """One feed entry and one channel. `due_at` is when it is tried or asked about next, None once it is settled.

    `waits` is why it was held back so far, or why it was withheld, and `held_by` by what; `detail` is why it was given
    up. `attempts` counts the tries since it was owed, or owed again.
    """

    delivery_id: str
    channel: str
    seq: int
    state: DeliveryState
    attempts: int
    due_at: datetime | None
    created_at: datetime
    settled_at: datetime | None
    detail: str
    waits: RouteReason | None
    held_by: str
    alert_id: str
    transition: TransitionKind
    rule: str
    severity: Severity
    why: Why


def delivery_page(
    session: Session, *, limit: int, after: str = "", state: DeliveryState | None = None, channel: str | None = None,
    alert_id: str | None = None,
) -> list[LoggedDelivery]:
    """At most `limit` that fit all that is asked, the newest first, from behind the delivery `after` on.

    `state` None is everything that is or was owed; what was withheld is asked for by its own state. Raises ValueError
    for an `after` that is no delivery's id.
    """
    where: list[str] = []
    given: dict[str, Any] = {"limit": limit}
    if after:
        where.append("(d.seq < :seq OR (d.seq = :seq AND d.channel > :after_channel))")
        given["seq"], given["after_channel"] = place_of(after)
    if channel is not None:
        where.append("d.channel = :channel")
        given["channel"] = channel
    if alert_id is not None:
        where.append("d.seq IN (SELECT seq FROM feed_entries WHERE alert_id = :alert_id)")
        given["alert_id"] = alert_id
    if state is not None and state is not DeliveryState.WITHHELD:
        where.append("d.state = :state")
        given["state"] = state.value
    clauses = f"WHERE {' AND '.join(where)}" if where else ""
    return _logged(session, state, f"{clauses} ORDER BY d.seq DESC, d.channel LIMIT :limit", given)


def logged_delivery(session: Session, delivery_id: str) -> LoggedDelivery | None:
    """One delivery, withheld ones too."""
    given = {"delivery_id": delivery_id}
    for state in (None, DeliveryState.WITHHELD):
        if found := _logged(session, state, "WHERE d.delivery_id = :delivery_id", given):
            return found[0]
    return None


def place_of(delivery_id: str) -> tuple[int, str]:
    """The feed number and the channel in a delivery's id. Raises ValueError."""
    kind, _, rest = delivery_id.partition("_")
    seq, _, channel = rest.partition("_")
    if kind != "evt" or not channel or not (seq.isascii() and seq.isdigit() and len(seq) <= 16):
        raise ValueError(f"{delivery_id[:60]!r} is no delivery's id: it looks like evt_12_log")
    return int(seq), channel


_ENTRY = "f.alert_id, f.transition, f.rule, f.severity, f.why_zh, f.why_en"
_OWED = f"""SELECT d.delivery_id, d.channel, d.seq, d.state, d.attempts,
 CASE WHEN d.state = 'due' THEN d.due_at END, d.created_at, d.settled_at, d.detail, {_ENTRY}"""
_WITHHELD = f"""SELECT d.delivery_id, d.channel, d.seq, 'withheld', 0, NULL, f.recorded_at, d.withheld_at,
 '{WAITS}' || d.reason || ' ' || d.held_by, {_ENTRY}"""


def _logged(
    session: Session, state: DeliveryState | None, clauses: str, given: dict[str, Any]
) -> list[LoggedDelivery]:
    reader = Reader(session)
    cells, table = _OWED, "deliveries"
    if state is DeliveryState.WITHHELD:
        cells, table = _WITHHELD, "withheld_deliveries"
    # First which, then what they are about: thousands may fit, and few are shown.
    rows = run(
        session,
        f"WITH page AS (SELECT d.delivery_id FROM {table} d {clauses})"
        f" {cells} FROM page JOIN {table} d ON d.delivery_id = page.delivery_id"
        " JOIN feed_entries f ON f.seq = d.seq ORDER BY d.seq DESC, d.channel", **given,
    )
    return [_line(reader, row) for row in rows]


def _line(reader: Reader, row: Sequence[Any]) -> LoggedDelivery:
    detail, reason, held_by = str(row[8]), None, ""
    if detail.startswith(WAITS):
        word, _, held_by = detail.removeprefix(WAITS).partition(" ")
        detail, reason = "", RouteReason(word)
    return LoggedDelivery(
        delivery_id=row[0], channel=row[1], seq=row[2], state=DeliveryState(row[3]), attempts=row[4],
        due_at=reader.instant(row[5]), created_at=reader.at(row[6]), settled_at=reader.instant(row[7]), detail=detail,
        waits=reason, held_by=held_by.strip(), alert_id=row[9], transition=TransitionKind(row[10]), rule=row[11],
        severity=Severity(row[12]), why=Why(zh=row[13], en=row[14]),
    )
