"""Files that were sent and wait for their sender: in parts, so that a large one needs no more room than a small one."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, insert, run, texts
from escrow_monitor.records.columns import Row, large
from escrow_monitor.records.works import SILENT_FOR_GOOD

KEPT_FOR = timedelta(minutes=30)
"""A file that nobody asked for this long is dropped, unless something is done with it."""
OWN_MAX = 12
"""So many files of one sender wait at once: the oldest makes room for a new one."""
BYTES_MAX = 2 * 1024 * 1024 * 1024
"""So much waits of all senders together, at most."""


class UploadRow(Row, table=True):
    """One file. `trial_id` is the work that tried it, `keeping_id` the one that imported it; `size` once it is here."""

    __tablename__ = "uploads"
    __table_args__ = (Index(None, "touched_at"),)

    file_id: str = Field(primary_key=True)
    owner: str
    kind: str
    filename: str
    sha256: str = ""
    size: int | None = large(default=None)
    received: int = large(default=0)
    sent_at: datetime
    touched_at: datetime
    trial_id: str | None = None
    keeping_id: str | None = None


class UploadPartRow(Row, table=True):
    """A piece of its bytes, compressed."""

    __tablename__ = "upload_parts"

    file_id: str = Field(primary_key=True)
    number: int = large(primary_key=True)
    content_zlib: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that is here whole. `trial_id` is the work that tries it, `keeping_id` the one that imports it."""

    file_id: str
    owner: str
    kind: str
    filename: str
    sha256: str
    size: int
    touched_at: datetime
    trial_id: str
    keeping_id: str | None


class NoRoom(Exception):
    """As many bytes wait as may: others' files are not dropped for a new one."""


def begin(session: Session, file_id: str, *, owner: str, kind: str, filename: str, now: datetime) -> None:
    """A file begins to come in; the oldest of its sender that is idle makes room where they have too many."""
    forget_old(session, now=now)
    mine = texts(
        session, f"SELECT u.file_id FROM {_IDLE} AND u.owner = :owner ORDER BY u.touched_at DESC, u.file_id",
        owner=owner, silent=now - SILENT_FOR_GOOD,
    )
    drop(session, mine[OWN_MAX - 1:])
    insert(session, "uploads", _COLUMNS, [(file_id, owner, kind, filename, "", 0, now, now)])


def add_part(session: Session, file_id: str, number: int, content: bytes, *, now: datetime) -> None:
    """Keep a piece. Raises NoRoom."""
    total = int(run(session, "SELECT coalesce(sum(received), 0) FROM uploads").scalar_one())
    if total + len(content) > BYTES_MAX:
        raise NoRoom
    insert(session, "upload_parts", {"file_id": str, "number": int, "content_zlib": bytes}, [
        (file_id, number, zlib.compress(content, 1))
    ])
    run(
        session, "UPDATE uploads SET received = received + :size, touched_at = :now WHERE file_id = :file_id",
        file_id=file_id, size=len(content), now=now,
    )


def complete(session: Session, file_id: str, *, sha256: str, size: int, trial_id: str, now: datetime) -> None:
    """All of it is here, and is being tried."""
    run(
        session, "UPDATE uploads SET sha256 = :sha256, size = :size, trial_id = :trial_id, touched_at = :now"
        " WHERE file_id = :file_id", file_id=file_id, sha256=sha256, size=size, trial_id=trial_id, now=now,
    )


def upload(session: Session, file_id: str, *, owner: str, now: datetime) -> Upload | None:
    """The file of that number, if it is theirs and was not left alone for too long."""
    row = run(
        session, f"SELECT {_ALL} FROM uploads u LEFT JOIN works w ON w.work_id = coalesce(u.keeping_id, u.trial_id)"
        " WHERE u.file_id = :file_id AND u.owner = :owner AND u.size IS NOT NULL"
        " AND (u.touched_at >= :old OR (w.state IN ('queued', 'running') AND w.beat_at > :silent))",
        file_id=file_id, owner=owner, old=now - KEPT_FOR, silent=now - SILENT_FOR_GOOD,
    ).first()
    return None if row is None else _read(session, row)


def touch(session: Session, file_id: str, *, now: datetime) -> None:
    """Somebody asked for it."""
    run(session, "UPDATE uploads SET touched_at = :now WHERE file_id = :file_id", file_id=file_id, now=now)


def take(session: Session, file_id: str, *, keeping_id: str, now: datetime) -> bool:
    """Have it imported by this work: once, whoever confirms it first."""
    return run(
        session, "UPDATE uploads SET keeping_id = :keeping_id, touched_at = :now WHERE file_id = :file_id"
        " AND keeping_id IS NULL", file_id=file_id, keeping_id=keeping_id, now=now,
    ).rowcount == 1


def parts(session: Session, file_id: str) -> Iterator[bytes]:
    """Its bytes, in order."""
    number = 0
    while True:
        found = run(
            session, "SELECT content_zlib FROM upload_parts WHERE file_id = :file_id AND number = :number",
            file_id=file_id, number=number,
        ).scalar()
        if found is None:
            return
        yield zlib.decompress(bytes(found))
        number += 1


def drop(session: Session, file_ids: Sequence[str]) -> None:
    """Forget these, with their bytes."""
    if file_ids:
        for table in ("upload_parts", "uploads"):
            run(session, f"DELETE FROM {table} WHERE file_id IN EACH(:file_ids)", file_ids=list(file_ids))


def discard(session: Session, file_id: str, *, owner: str, now: datetime) -> None:
    """Forget it, if it is theirs and nothing is done with it."""
    drop(session, texts(
        session, f"SELECT u.file_id FROM {_IDLE} AND u.file_id = :file_id AND u.owner = :owner",
        file_id=file_id, owner=owner, silent=now - SILENT_FOR_GOOD,
    ))


def drop_bytes(session: Session, file_id: str) -> None:
    """It was imported: what was in it is in the records, and its bytes are needed no more."""
    run(session, "DELETE FROM upload_parts WHERE file_id = :file_id", file_id=file_id)
    run(session, "UPDATE uploads SET received = 0 WHERE file_id = :file_id", file_id=file_id)


def forget_old(session: Session, *, now: datetime) -> int:
    """Forget what nobody asked for any more, also what never came in whole; return how many files it was."""
    old = texts(
        session, f"SELECT u.file_id FROM {_IDLE} AND u.touched_at < :old",
        old=now - KEPT_FOR, silent=now - SILENT_FOR_GOOD,
    )
    drop(session, old)
    return len(old)


def _read(session: Session, row: Sequence[Any]) -> Upload:
    return Upload(
        file_id=row[0], owner=row[1], kind=row[2], filename=row[3], sha256=row[4], size=row[5],
        touched_at=Reader(session).at(row[6]), trial_id=row[7], keeping_id=row[8],
    )


_ALL = "u.file_id, u.owner, u.kind, u.filename, u.sha256, u.size, u.touched_at, u.trial_id, u.keeping_id"
_IDLE = (
    "uploads u LEFT JOIN works w ON w.work_id = coalesce(u.keeping_id, u.trial_id)"
    " WHERE (w.work_id IS NULL OR w.state NOT IN ('queued', 'running') OR w.beat_at < :silent)"
)
_COLUMNS = {
    "file_id": str, "owner": str, "kind": str, "filename": str, "sha256": str, "received": int, "sent_at": datetime,
    "touched_at": datetime,
}
