"""The numbered feed of what happened to alerts."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Field, Session

from alerts.alert import AlertKey, FeedEntry, Reason, Severity, Transition, TransitionKind, Why
from alerts.book import audit_payload, feed_entry
from escrow_monitor.records.bulk import Reader, as_json, from_json, insert, run
from escrow_monitor.records.columns import Row, large
from escrow_monitor.records.evidence import audit


class FeedEntryRow(Row, table=True):
    """One published transition. The database itself refuses to change or delete it."""

    __tablename__ = "feed_entries"

    seq: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    alert_id: str = Field(index=True)
    transition: str
    reason: str
    rule: str
    subject: str
    period: str
    severity: str
    standing: str
    why_zh: str
    why_en: str
    figures: str
    labels: str
    as_of: datetime
    recorded_at: datetime = Field(index=True)
    opened_at: datetime | None = None
    audit_seq: int = large(unique=True)
    audit_head: str


def publish(
    session: Session, heard: Sequence[Transition], *, first_seq: int, now: datetime, cause: str
) -> tuple[FeedEntry, ...]:
    """Publish transitions: an audit entry and a feed entry each, numbered without a hole."""
    heads = audit.append_many(
        session,
        [
            audit.AuditEntry(
                kind=f"alert.{transition.kind.value}", actor=cause, payload=audit_payload(transition, seq=seq)
            )
            for seq, transition in enumerate(heard, first_seq)
        ],
        now=now,
    )
    entries = tuple(
        feed_entry(transition, seq=seq, audit_seq=head.seq, audit_head=head.head)
        for seq, (transition, head) in enumerate(zip(heard, heads, strict=True), first_seq)
    )
    insert(session, "feed_entries", _ENTRY, map(_entry_cells, entries))
    run(session, "UPDATE chain_head SET feed_seq = :seq", seq=entries[-1].seq)
    return entries


def feed_entries(session: Session, clauses: str, **values: Any) -> list[FeedEntry]:
    """The feed entries that the clauses of a SELECT choose, in the order they give."""
    rows = run(session, f"SELECT {entry_cells('f')} FROM feed_entries f {clauses}", **values)
    return list(map(entry_reader(Reader(session)), rows))


_ENTRY = {
    "seq": int, "alert_id": str, "transition": str, "reason": str, "rule": str, "subject": str, "period": str,
    "severity": str, "standing": str, "why_zh": str, "why_en": str, "figures": str, "labels": str, "as_of": datetime,
    "recorded_at": datetime, "opened_at": datetime, "audit_seq": int, "audit_head": str,
}
ENTRY_CELLS = len(_ENTRY)


def entry_cells(alias: str) -> str:
    """The columns of a feed entry in a SELECT, for `entry_reader`."""
    return ", ".join(f"{alias}.{column}" for column in _ENTRY)


def entry_reader(reader: Reader) -> Callable[[Sequence[Any]], FeedEntry]:
    """Return what makes a FeedEntry of a row that begins with the cells of `entry_cells`."""

    def read(row: Sequence[Any]) -> FeedEntry:
        return FeedEntry(
            seq=row[0], alert_id=row[1], transition=TransitionKind(row[2]), reason=Reason(row[3]),
            key=AlertKey(row[4], row[5], row[6]), severity=Severity(row[7]), standing=row[8],
            why=Why(zh=row[9], en=row[10]), figures=from_json(row[11]), labels=from_json(row[12]),
            as_of=reader.at(row[13]), recorded_at=reader.at(row[14]), opened_at=reader.instant(row[15]),
            audit_seq=row[16], audit_head=row[17],
        )

    return read


def _entry_cells(entry: FeedEntry) -> tuple[object, ...]:
    return (
        entry.seq, entry.alert_id, entry.transition.value, entry.reason.value, entry.key.rule, entry.key.subject,
        entry.key.period, entry.severity.value, entry.standing, entry.why.zh, entry.why.en,
        as_json(dict(entry.figures)), as_json(dict(entry.labels)), entry.as_of, entry.recorded_at, entry.opened_at,
        entry.audit_seq, entry.audit_head,
    )
