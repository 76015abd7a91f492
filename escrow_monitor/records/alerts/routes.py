"""What bears on whom is called: what a channel has heard, what was withheld from it and why, storms, closing houses."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Field, Session

from alerts.alert import Alert
from alerts.delivery import Delivery
from alerts.routing import BEGINNINGS, CALLS, Known, RouteReason, Silence, Waits, Withheld
from escrow_monitor.domain.institutions import InstitutionStatus
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.silences import silences
from escrow_monitor.records.bulk import Reader, insert, run, texts
from escrow_monitor.records.columns import Row, large

WAITS = "waits: "
"""How the detail of a delivery begins that was held back and not tried."""


class WithheldDeliveryRow(Row, table=True):
    """One feed entry that a channel was not given, and why: it was owed until then."""

    __tablename__ = "withheld_deliveries"

    delivery_id: str = Field(primary_key=True)
    channel: str
    seq: int = large(foreign_key="feed_entries.seq", index=True)
    reason: str
    held_by: str
    withheld_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """A delivery that was withheld, or one that waits (`until` is set)."""

    channel: str
    seq: int
    reason: str
    by: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlerts:
    """How many alerts one round opened or reopened, with their outermost feed numbers."""

    count: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What is stored that may hold back what is said of some alerts: `speaking` are open alerts that may speak for
    them, `closing` those of their institutions that the register says are closing or closed."""

    silences: Sequence[Silence]
    speaking: Sequence[Alert]
    closing: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is stored that bears on some deliveries of one channel. `new` is by the instant of a round's recording."""

    alerts: Mapping[str, Alert]
    heard_of: frozenset[str]
    newest_calls: Mapping[str, int]
    new: Mapping[datetime, NewAlerts]
    holding: Holding

    def known(self, delivery: Delivery, *, storm_above: int) -> Known:
        """The part that bears on one delivery."""
        entry = delivery.entry
        new = self.new.get(entry.recorded_at)
        return Known(
            alert=self.alerts[entry.alert_id], heard_of=entry.alert_id in self.heard_of,
            newest_call=self.newest_calls.get(entry.alert_id, 0),
            is_storm=entry.transition in BEGINNINGS and new is not None and new.count > storm_above,
        )


def facts(
    session: Session, due: Sequence[Delivery], *, channel: str, speaking: Sequence[str], claimant: str, now: datetime
) -> Facts:
    """Read what bears on these deliveries. `speaking` names the rules whose open alerts may speak for others."""
    book = RecordsAlertBook(session)
    ids = sorted({one.entry.alert_id for one in due})
    alerts = book.alerts(ids)
    began = {one.entry.recorded_at for one in due if one.entry.transition in BEGINNINGS}
    return Facts(
        alerts=alerts, heard_of=frozenset(heard_of(session, channel, ids, claimant=claimant, now=now)),
        newest_calls=newest_calls(session, ids), new={at: new_alerts(session, at) for at in sorted(began)},
        holding=holding(session, alerts.values(), speaking=speaking, now=now),
    )


def holding(session: Session, alerts: Iterable[Alert], *, speaking: Sequence[str], now: datetime) -> Holding:
    """Read what may hold back what is said of these alerts. `speaking` names the rules that may speak for others."""
    book = RecordsAlertBook(session)
    return Holding(
        silences=[kept.silence for kept in silences(session, at=now)],
        speaking=[alert for rule in speaking for alert in book.open_alerts(rule=rule)],
        closing=closing(session, sorted({alert.labels.get("uscc", "") for alert in alerts} - {""})),
    )


def heard_of(
    session: Session, channel: str, alert_ids: Sequence[str], *, claimant: str, now: datetime
) -> set[str]:
    """The alerts of which this channel took a call in their present or last episode, or may yet have.

    May have: it was tried and failed, which is not to say that it did not arrive, or somebody else tries it just now.
    """
    return set(texts(
        session,
        "SELECT DISTINCT f.alert_id FROM feed_entries f JOIN alerts a ON a.alert_id = f.alert_id"
        " JOIN deliveries d ON d.seq = f.seq WHERE f.alert_id IN EACH(:alert_ids) AND d.channel = :channel"
        " AND (d.state = 'delivered' OR d.attempts > 0 OR (d.leased_until > :now AND d.claimant <> :claimant))"
        f" AND f.transition IN ({_CALLS}) AND f.recorded_at >= a.opened_at",
        alert_ids=alert_ids, channel=channel, claimant=claimant, now=now,
    ))


def ever_owed(session: Session, channel: str, alert_ids: Sequence[str]) -> set[str]:
    """The alerts of which a call of their present episode was owed to this channel, withheld ones too."""
    return {
        alert_id
        for table in ("deliveries", "withheld_deliveries")
        for alert_id in texts(
            session,
            f"SELECT DISTINCT f.alert_id FROM feed_entries f JOIN alerts a ON a.alert_id = f.alert_id"
            f" JOIN {table} d ON d.seq = f.seq WHERE f.alert_id IN EACH(:alert_ids) AND d.channel = :channel"
            f" AND f.transition IN ({_CALLS}) AND f.recorded_at >= a.opened_at",
            alert_ids=alert_ids, channel=channel,
        )
    }


def newest_calls(session: Session, alert_ids: Sequence[str]) -> Mapping[str, int]:
    """The number of the newest call about each alert."""
    return dict(tuple(row) for row in run(
        session,
        f"SELECT alert_id, max(seq) FROM feed_entries WHERE alert_id IN EACH(:alert_ids) AND transition IN ({_CALLS})"
        " GROUP BY alert_id", alert_ids=alert_ids,
    ))


def new_alerts(session: Session, recorded_at: datetime) -> NewAlerts:
    """How many alerts were opened or reopened at one instant, that is, by one round."""
    row = run(
        session,
        "SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM feed_entries"
        f" WHERE recorded_at = :at AND transition IN ({_BEGINNINGS})", at=recorded_at,
    ).one()
    return NewAlerts(count=row[0], first_seq=row[1], last_seq=row[2])


def closing(session: Session, usccs: Sequence[str]) -> list[str]:
    """Those of these institutions that the register says are closing or closed."""
    return texts(
        session,
        f"SELECT uscc FROM institutions WHERE uscc IN EACH(:usccs) AND status IN ('{InstitutionStatus.CLOSING.value}',"
        f" '{InstitutionStatus.CLOSED.value}') ORDER BY uscc", usccs=usccs,
    )


def postpone(session: Session, waiting: Sequence[tuple[Delivery, Waits]]) -> None:
    """Give deliveries back until they are to be asked about again; no attempt was made."""
    for delivery, wait in waiting:
        run(
            session,
            "UPDATE deliveries SET due_at = :until, detail = :detail, claimant = NULL, leased_until = NULL"
            " WHERE delivery_id = :delivery_id AND state = 'due'",
            until=wait.until, detail=f"{WAITS}{wait.reason.value} {wait.by}".rstrip(),
            delivery_id=delivery.delivery_id,
        )


def withhold(session: Session, withheld: Sequence[tuple[Delivery, Withheld]], *, now: datetime) -> None:
    """Owe deliveries no longer, and keep why. One that was ever tried stays where it is and is owed on."""
    kept = []
    for delivery, why in withheld:
        gone = run(
            session, "DELETE FROM deliveries WHERE delivery_id = :delivery_id AND state = 'due' AND attempts = 0",
            delivery_id=delivery.delivery_id,
        ).rowcount
        if gone:
            kept.append((delivery.delivery_id, delivery.channel, delivery.entry.seq, why.reason.value, why.by, now))
    insert(session, "withheld_deliveries", _WITHHELD, kept)


def held_back(session: Session, alert_id: str) -> list[HeldBack]:
    """What of an alert was withheld from a channel, or waits, in feed order."""
    at = Reader(session).instant
    rows = [
        *run(
            session,
            "SELECT w.channel, w.seq, w.reason, w.held_by, NULL FROM withheld_deliveries w"
            " JOIN feed_entries f ON f.seq = w.seq WHERE f.alert_id = :alert_id AND w.reason <> :plain",
            alert_id=alert_id, plain=RouteReason.NOT_ASKED_FOR.value,
        ),
        *(
            (channel, seq, *detail.removeprefix(WAITS).partition(" ")[::2], due_at)
            for channel, seq, detail, due_at in run(
                session,
                "SELECT d.channel, d.seq, d.detail, d.due_at FROM deliveries d JOIN feed_entries f ON f.seq = d.seq"
                " WHERE f.alert_id = :alert_id AND d.state = 'due' AND d.detail LIKE :waits",
                alert_id=alert_id, waits=f"{WAITS}%",
            )
        ),
    ]
    return sorted(
        (HeldBack(channel=row[0], seq=row[1], reason=row[2], by=row[3], until=at(row[4])) for row in rows),
        key=lambda one: (one.seq, one.channel),
    )


_CALLS = ", ".join(f"'{kind.value}'" for kind in sorted(CALLS))
_BEGINNINGS = ", ".join(f"'{kind.value}'" for kind in sorted(BEGINNINGS))
_WITHHELD = {
    "delivery_id": str, "channel": str, "seq": int, "reason": str, "held_by": str, "withheld_at": datetime,
}
