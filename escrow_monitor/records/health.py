"""Whether a database can do its work: what it is, what time it has, and whether it takes what is written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from escrow_monitor.records.bulk import Reader, is_sqlite, run
from escrow_monitor.records.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What answers. `now` is its own clock; None on SQLite, which has ours."""

    version: str
    now: datetime | None


def server(session: Session) -> Server:
    """Ask the database what it is."""
    if is_sqlite(session):
        return Server(version=f"SQLite {run(session, 'SELECT sqlite_version()').scalar()}", now=None)
    version, now = run(session, "SELECT current_setting('server_version'), clock_timestamp()").one()
    return Server(version=f"PostgreSQL {version}", now=Reader(session).at(now))


def try_write(database: Database, *, now: datetime) -> None:
    """Write a row and take it back. Raises DatabaseError when that cannot be done."""
    with suppress(_TakenBack), database.write() as session:
        run(
            session, "INSERT INTO nodes (executor_id, started_at, beat_at) VALUES ('doctor', :now, :now)"
            " ON CONFLICT (executor_id) DO NOTHING", now=now,
        )
        raise _TakenBack


class _TakenBack(Exception):
    """Ends the transaction without keeping anything."""
