"""Long work that a person asked for: what it is, how far it is, who is at it, and what came of it.

    enter -> queued -> running (beats, done of total) -> done | failed
                              \\-> the process falls silent -> lost, until it is heard of again
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, as_json, from_json, insert, run
from escrow_monitor.records.columns import Row, large, one_of

KEPT_FOR = timedelta(days=7)
"""So long what came of it can be looked at."""
KEPT_MAX = 20
"""So many that have ended are kept of one kind and owner, the newest."""
SILENT_FOR_GOOD = timedelta(hours=1)
"""A process that said nothing for so long does not come back to its work."""


class WorkState(StrEnum):
    """What has become of it. Lost: the process that was at it said nothing for too long."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


OPEN = frozenset({WorkState.QUEUED, WorkState.RUNNING})
_OPEN = "('queued', 'running')"
_GOES_ON = "('queued', 'running', 'lost')"
"""A process that was thought to be gone may have been cut off only: what it says later counts."""


class WorkRow(Row, table=True):
    """One piece of work; `asked` and `result` are JSON. `process` says who is at it and beats while it is."""

    __tablename__ = "works"
    __table_args__ = (
        CheckConstraint(one_of("state", WorkState), "state"), Index(None, "kind", "owner", "begun_at"),
        Index(None, "beat_at"),
    )

    work_id: str = Field(primary_key=True)
    kind: str
    owner: str
    subject: str
    asked: str
    process: str
    state: str
    done: int = large()
    total: int | None = large(default=None)
    begun_at: datetime
    beat_at: datetime
    ended_at: datetime | None = None
    result: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWork:
    """One piece of work as it was recorded last. `result` is JSON text, there once it is done."""

    work_id: str
    kind: str
    owner: str
    subject: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    process: str
    state: WorkState
    done: int = 0
    total: int | None = None
    begun_at: datetime
    beat_at: datetime
    ended_at: datetime | None = None
    result: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a process says of one piece of its work."""

    work_id: str
    is_running: bool
    done: int
    total: int | None


def enter(session: Session, work: StoredWork) -> None:
    """Note a piece of work that is to be done."""
    insert(session, "works", _COLUMNS, [(
        work.work_id, work.kind, work.owner, work.subject, as_json(dict(work.asked)), work.process, work.state.value,
        work.done, work.total, work.begun_at, work.beat_at, work.error,
    )])


def open_count(session: Session, *, kind: str, owner: str, now: datetime) -> int:
    """How many of a kind somebody has waiting or at work."""
    return int(run(
        session, f"SELECT count(*) FROM works WHERE kind = :kind AND owner = :owner AND state IN {_OPEN}"
        " AND beat_at > :silent", kind=kind, owner=owner, silent=now - SILENT_FOR_GOOD,
    ).scalar_one())


def beat(session: Session, beats: Iterable[Beat], *, now: datetime) -> None:
    """Say that these are being done, and how far they are. What has ended stays as it is."""
    for one in beats:
        run(
            session, "UPDATE works SET beat_at = :now, state = :state, done = :done, total = :total"
            f" WHERE work_id = :work_id AND state IN {_GOES_ON}",
            work_id=one.work_id, state=(WorkState.RUNNING if one.is_running else WorkState.QUEUED).value,
            done=one.done, total=one.total, now=now,
        )


def end(
    session: Session, work_id: str, *, state: WorkState, done: int, total: int | None, result: str | None = None,
    error: str = "", now: datetime,
) -> None:
    """Say what came of it, once."""
    run(
        session, "UPDATE works SET state = :state, done = :done, total = :total, result = :result, error = :error,"
        f" beat_at = :now, ended_at = :now WHERE work_id = :work_id AND state IN {_GOES_ON}",
        work_id=work_id, state=state.value, done=done, total=total, result=result, error=error, now=now,
    )


def give_up(session: Session, work_ids: Sequence[str], *, now: datetime) -> None:
    """Say that the process which was at these has stopped."""
    run(
        session, f"UPDATE works SET state = 'lost', ended_at = :now WHERE state IN {_OPEN}"
        " AND work_id IN EACH(:work_ids)", work_ids=list(work_ids), now=now,
    )


def work(session: Session, work_id: str) -> StoredWork | None:
    """One piece of work."""
    row = run(session, f"SELECT {_ALL}, result FROM works WHERE work_id = :work_id", work_id=work_id).first()
    return None if row is None else _read(session, row)


def newest(
    session: Session, *, kind: str, owner: str | None, limit: int, before: str = "", results: bool = False
) -> list[StoredWork]:
    """What was begun last, the newest first, of one owner or of all; below the work `before` where it is given.

    Results come only where they are asked for: they may be large.
    """
    conditions, given = ["kind = :kind"], {"kind": kind}
    if owner is not None:
        conditions.append("owner = :owner")
        given["owner"] = owner
    if before:
        conditions.append("(begun_at, work_id) < (SELECT b.begun_at, b.work_id FROM works b WHERE b.work_id = :before)")
        given["before"] = before
    rows = run(
        session, f"SELECT {_ALL}, {'result' if results else 'NULL'} FROM works WHERE {' AND '.join(conditions)}"
        " ORDER BY begun_at DESC, work_id DESC LIMIT :limit", limit=limit, **given,
    ).all()
    return [_read(session, row) for row in rows]


def forget_old(session: Session, *, now: datetime) -> int:
    """Say of those whose process is silent for good that they are lost, and forget what was kept long enough."""
    run(
        session, f"UPDATE works SET state = 'lost', ended_at = :now WHERE state IN {_OPEN} AND beat_at < :silent",
        now=now, silent=now - SILENT_FOR_GOOD,
    )
    return run(
        session, f"DELETE FROM works WHERE state NOT IN {_OPEN} AND (beat_at < :old OR work_id IN ("
        "SELECT n.work_id FROM (SELECT w.work_id, row_number() OVER (PARTITION BY w.kind, w.owner"
        f" ORDER BY w.begun_at DESC, w.work_id DESC) AS place FROM works w WHERE w.state NOT IN {_OPEN}) n"
        " WHERE n.place > :kept))", old=now - KEPT_FOR, kept=KEPT_MAX,
    ).rowcount


def _read(session: Session, row: Sequence[Any]) -> StoredWork:
    reader = Reader(session)
    return StoredWork(
        work_id=row[0], kind=row[1], owner=row[2], subject=row[3], asked=from_json(row[4]), process=row[5],
        state=WorkState(row[6]), done=row[7], total=row[8], begun_at=reader.at(row[9]), beat_at=reader.at(row[10]),
        ended_at=reader.instant(row[11]), error=row[12], result=row[13],
    )


_ALL = (
    "work_id, kind, owner, subject, asked, process, state, done, total, begun_at, beat_at, ended_at, error"
)
_COLUMNS = {
    "work_id": str, "kind": str, "owner": str, "subject": str, "asked": str, "process": str, "state": str,
    "done": int, "total": int, "begun_at": datetime, "beat_at": datetime, "error": str,
}
