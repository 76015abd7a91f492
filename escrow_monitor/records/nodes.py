"""The heartbeats of the processes that work, so that a dead one's work can be taken over."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.columns import Row


class NodeRow(Row, table=True):
    """One process that works, and when it last said so."""

    __tablename__ = "nodes"

    executor_id: str = Field(primary_key=True)
    started_at: datetime
    beat_at: datetime


def beat(session: Session, executor_id: str, *, now: datetime) -> None:
    """Say that this process lives."""
    run(
        session,
        "INSERT INTO nodes (executor_id, started_at, beat_at) VALUES (:executor_id, :now, :now)"
        " ON CONFLICT (executor_id) DO UPDATE SET beat_at = :now", executor_id=executor_id, now=now,
    )


def silent_since(session: Session, moment: datetime) -> list[str]:
    """The processes whose last beat was before this moment."""
    rows = run(session, "SELECT executor_id FROM nodes WHERE beat_at < :moment ORDER BY executor_id", moment=moment)
    return [executor_id for (executor_id,) in rows]


def last_beats(session: Session) -> dict[str, datetime]:
    """When each process last said that it lives."""
    at = Reader(session).at
    return {name: at(cell) for name, cell in run(session, "SELECT executor_id, beat_at FROM nodes ORDER BY 1")}


def forget(session: Session, executor_id: str) -> None:
    """Forget a process that has stopped, or whose work was taken over."""
    run(session, "DELETE FROM nodes WHERE executor_id = :executor_id", executor_id=executor_id)
