"""What is owed to the channels: the outbox, who is trying it now, and every attempt."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from alerts.alert import FeedEntry
from alerts.book import owed_to
from alerts.delivery import Attempt, AttemptOutcome, Dead, Delivered, Delivery, Later
from escrow_monitor.records.alerts.feed import ENTRY_CELLS, entry_cells, entry_reader
from escrow_monitor.records.bulk import Reader, insert, run, staged
from escrow_monitor.records.columns import Row, large

Settlement: TypeAlias = tuple[Delivery, Attempt, Delivered | Later | Dead]
"""A delivery that was tried, how the try went, and what becomes of the delivery."""


class DeliveryRow(Row, table=True):
    """One feed entry owed to one channel. While `leased_until` lies ahead, `claimant` is trying it."""

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('due', 'delivered', 'dead')", "state"),
        Index(None, "state", "due_at"),
        # How many of each channel are in which state is read from this index alone.
        Index(None, "state", "channel"),
    )

    delivery_id: str = Field(primary_key=True)
    channel: str
    seq: int = large(foreign_key="feed_entries.seq", index=True)
    state: str
    attempts: int = large(default=0)
    due_at: datetime
    created_at: datetime
    settled_at: datetime | None = None
    detail: str = ""
    claimant: str | None = None
    leased_until: datetime | None = None


class DeliveryAttemptRow(Row, table=True):
    """One try of a delivery."""

    __tablename__ = "delivery_attempts"

    delivery_id: str = Field(primary_key=True, foreign_key="deliveries.delivery_id")
    times: int = large(primary_key=True)
    at: datetime
    outcome: str
    detail: str
    took_ms: int = large()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCounts:
    """How many deliveries of a channel wait, were given up, were made."""

    due: int = 0
    dead: int = 0
    delivered: int = 0


def owe(session: Session, entries: Iterable[FeedEntry], *, channels: Sequence[str]) -> None:
    """Owe each feed entry to each channel, due at once."""
    insert(session, "deliveries", _DELIVERY, (
        (owed.delivery_id, owed.channel, owed.entry.seq, "due", owed.attempts, owed.due_at, owed.created_at, "")
        for entry in entries for owed in owed_to(entry, channels)
    ))


def claim(
    session: Session, *, limit: int, now: datetime, lease_seconds: int, claimant: str, channel: str | None = None
) -> list[Delivery]:
    """Take at most `limit` deliveries that are due, in feed order; nobody else gets them for `lease_seconds`.

    Commit before sending: a claimant that dies gives its deliveries back when the lease ends. Send them within it.
    """
    given = {} if channel is None else {"channel": channel}
    chosen = run(
        session,
        "SELECT delivery_id FROM deliveries WHERE state = 'due' AND due_at <= :now"
        " AND (leased_until IS NULL OR leased_until <= :now)"
        + (" AND channel = :channel" if channel is not None else "")
        + " ORDER BY seq, channel LIMIT :limit FOR UPDATE SKIP LOCKED", now=now, limit=limit, **given,
    )
    ids = [delivery_id for (delivery_id,) in chosen]
    run(
        session,
        "UPDATE deliveries SET claimant = :claimant, leased_until = :until WHERE delivery_id IN EACH(:ids)",
        claimant=claimant, until=now + timedelta(seconds=lease_seconds), ids=ids,
    )
    return _deliveries(session, "WHERE d.delivery_id IN EACH(:ids) ORDER BY d.seq, d.channel", ids=ids)


def release(session: Session, *, claimant: str) -> int:
    """Give back what a claimant holds, when it starts anew: its earlier life cannot settle any more."""
    return len(run(
        session,
        "UPDATE deliveries SET claimant = NULL, leased_until = NULL WHERE state = 'due' AND claimant = :claimant"
        " RETURNING delivery_id", claimant=claimant,
    ).all())


def settle(session: Session, results: Sequence[Settlement], *, now: datetime) -> int:
    """Note tries and what becomes of their deliveries; return how many were still due.

    A delivery that somebody else has settled meanwhile keeps what they noted; the try itself is kept all the same.
    """
    rows = [
        (delivery.delivery_id, attempt.at, attempt.outcome.value, attempt.detail, attempt.took_ms, *_after(fate))
        for delivery, attempt, fate in results
    ]
    with staged(session, "incoming_attempts", _ATTEMPT, rows):
        run(
            session,
            "INSERT INTO delivery_attempts (delivery_id, times, at, outcome, detail, took_ms)"
            " SELECT i.delivery_id, (SELECT count(*) FROM delivery_attempts a WHERE a.delivery_id = i.delivery_id) + 1,"
            " i.at, i.outcome, i.detail, i.took_ms FROM incoming_attempts i"
            " JOIN deliveries d ON d.delivery_id = i.delivery_id",
        )
        return len(run(
            session,
            "UPDATE deliveries SET state = i.state, attempts = deliveries.attempts + 1,"
            " due_at = coalesce(i.due_at, deliveries.due_at), detail = i.fate_detail,"
            " settled_at = CASE WHEN i.state = 'due' THEN NULL ELSE :now END, claimant = NULL, leased_until = NULL"
            " FROM incoming_attempts i WHERE i.delivery_id = deliveries.delivery_id AND deliveries.state = 'due'"
            " RETURNING deliveries.delivery_id", now=now,
        ).all())


def counts(session: Session) -> dict[str, DeliveryCounts]:
    """How many deliveries of each channel are in which state."""
    found: dict[str, dict[str, int]] = {}
    rows = run(session, "SELECT channel, state, count(*) FROM deliveries GROUP BY state, channel")
    for channel, state, count in rows:
        found.setdefault(channel, {})[state] = count
    return {
        channel: DeliveryCounts(
            due=states.get("due", 0), dead=states.get("dead", 0), delivered=states.get("delivered", 0)
        )
        for channel, states in sorted(found.items())
    }


def attempts(session: Session, delivery_id: str) -> list[Attempt]:
    """Every try of a delivery, in order."""
    at = Reader(session).at
    rows = run(
        session,
        "SELECT at, outcome, detail, took_ms FROM delivery_attempts WHERE delivery_id = :delivery_id ORDER BY times",
        delivery_id=delivery_id,
    )
    return [
        Attempt(delivery_id=delivery_id, at=at(row[0]), outcome=AttemptOutcome(row[1]), detail=row[2], took_ms=row[3])
        for row in rows
    ]


def states(session: Session, delivery_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Channel and state of those of these deliveries that are known."""
    rows = run(
        session, "SELECT delivery_id, channel, state FROM deliveries WHERE delivery_id IN EACH(:ids)", ids=delivery_ids
    )
    return {delivery_id: (channel, state) for delivery_id, channel, state in rows}


def given_up(session: Session, *, channel: str, limit: int) -> list[str]:
    """The deliveries to a channel that were given up, in feed order, at most `limit`."""
    rows = run(
        session,
        "SELECT delivery_id FROM deliveries WHERE state = 'dead' AND channel = :channel ORDER BY seq LIMIT :limit",
        channel=channel, limit=limit,
    )
    return [delivery_id for (delivery_id,) in rows]


def revive(session: Session, delivery_ids: Sequence[str], *, now: datetime) -> int:
    """Owe deliveries that were given up once more, from now on; return how many there were.

    They count as tried once: what was tried was decided to go before, and nobody decides anew whether it goes.
    """
    return run(
        session,
        "UPDATE deliveries SET state = 'due', due_at = :now, created_at = :now, attempts = 1, settled_at = NULL,"
        " detail = '' WHERE state = 'dead' AND delivery_id IN EACH(:delivery_ids)", now=now, delivery_ids=delivery_ids,
    ).rowcount


_DELIVERY = {
    "delivery_id": str, "channel": str, "seq": int, "state": str, "attempts": int, "due_at": datetime,
    "created_at": datetime, "detail": str,
}
_ATTEMPT = {
    "delivery_id": str, "at": datetime, "outcome": str, "detail": str, "took_ms": int, "state": str,
    "due_at": datetime, "fate_detail": str,
}


def _after(fate: Delivered | Later | Dead) -> tuple[str, datetime | None, str]:
    match fate:
        case Delivered():
            return "delivered", None, ""
        case Later(due_at=due_at):
            return "due", due_at, ""
        case Dead(why=why):
            return "dead", None, why
        case _ as never:
            assert_never(never)


def _deliveries(session: Session, clauses: str, **values: int | list[str]) -> list[Delivery]:
    reader = Reader(session)
    entry, at = entry_reader(reader), reader.at
    rows = run(
        session,
        f"SELECT {entry_cells('f')}, d.delivery_id, d.channel, d.attempts, d.due_at, d.created_at"
        f" FROM deliveries d JOIN feed_entries f ON f.seq = d.seq {clauses}", **values,
    )
    return [
        Delivery(
            delivery_id=row[ENTRY_CELLS], channel=row[ENTRY_CELLS + 1], entry=entry(row),
            attempts=row[ENTRY_CELLS + 2], due_at=at(row[ENTRY_CELLS + 3]), created_at=at(row[ENTRY_CELLS + 4]),
        )
        for row in rows
    ]
