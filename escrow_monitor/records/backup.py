"""Copies of the whole database, each of one moment, and what a copy must say of itself to be trusted.

    SQLite       one read transaction --online backup--> a file       others go on writing
    PostgreSQL   one snapshot, exported --pg_dump--> a file           the same

The facts of a copy (tables, rows, ends of chain and feed) are taken in that very transaction, so they must be equal.
"""

# ruff: noqa: S608 - SQL is put together from our own constants and the names of tables only.

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

from psycopg.conninfo import make_conninfo

from escrow_monitor.errors import DatabaseError
from escrow_monitor.records.bulk import run
from escrow_monitor.records.database import Database, Session

Progress = Callable[[int, int | None], None]
Ask = Callable[[str], Sequence[Sequence[Any]]]

PAGES_A_STEP = 2_048
BUSY_SECONDS = 5
TOLD_LINES_MAX = 3
ENGINE_SCHEMA = "dbos"
"""Where the engine keeps its queues on PostgreSQL: they belong to the daemons that run, not to what is kept."""

_POSTGRESQL_HOMES = Path("/usr/lib/postgresql")
_TABLES_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
_TABLES_POSTGRESQL = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is in a database at one moment: its migration, where chain and feed end, and how many rows each table has.

    Without tables `revision` is None.
    """

    revision: str | None
    audit_seq: int = 0
    audit_head: str = ""
    feed_seq: int = 0
    rows: Mapping[str, int]


def facts(session: Session) -> Facts:
    """Of the database as this transaction sees it."""
    connection = session.connection()
    tables = _TABLES_SQLITE if connection.dialect.name == "sqlite" else _TABLES_POSTGRESQL
    return _facts(lambda sql: connection.exec_driver_sql(sql).all(), tables)


def _facts(ask: Ask, tables: str) -> Facts:
    names = sorted(str(name) for (name,) in ask(tables))
    rows = {name: int(ask(f'SELECT count(*) FROM "{name}"')[0][0]) for name in names}
    if "alembic_version" not in rows:
        return Facts(revision=None, rows=rows)
    [(revision,)] = ask("SELECT version_num FROM alembic_version")
    ends = ask("SELECT audit_seq, audit_head, feed_seq FROM chain_head") if "chain_head" in rows else ()
    seq, head, feed = ends[0] if ends else (0, "", 0)
    return Facts(revision=str(revision), audit_seq=int(seq), audit_head=str(head), feed_seq=int(feed), rows=rows)


# SQLite


def copy_sqlite(database: Database, target: Path, *, progress: Progress | None = None) -> Facts:
    """Copy into an empty file; say what is in the copy. Nobody is held up, however long it takes."""
    with database.read() as session:
        found = facts(session)
        source = cast("sqlite3.Connection", session.connection().connection.driver_connection)

        def hear(_status: int, remaining: int, total: int) -> None:
            if progress is not None:
                progress(total - remaining, total)

        with _plainly(target), closing(sqlite3.connect(target)) as copy:
            # In the transaction that the facts were read in: the moment stays that one, whoever writes meanwhile.
            source.backup(copy, pages=PAGES_A_STEP, progress=hear)
            copy.execute("PRAGMA journal_mode = DELETE")
    return found


def check_sqlite(path: Path) -> Facts:
    """Read a copy again: each page and index whole, and what is in it. Raises DatabaseError."""
    with _plainly(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        said = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(3)")]
        if said != ["ok"]:
            raise DatabaseError(f"The file {path} is damaged: {'; '.join(said)[:300]}.")
        return _facts(lambda sql: copy.execute(sql).fetchall(), _TABLES_SQLITE)


def close_sqlite(path: Path) -> None:
    """Write everything into the one file and make sure that nobody else has it open. Raises DatabaseError."""
    with _plainly(path), closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    ) as alone:
        alone.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def _plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise DatabaseError(f"The file {path} is in use by another program: stop it first ({error}).") from error
        full = "has no room left on its disk" if "full" in str(error) else "cannot be written or read"
        raise DatabaseError(f"The file {path} {full} ({error}).") from error


# PostgreSQL


def dump_postgresql(database: Database, target: Path, *, progress: Progress | None = None) -> Facts:
    """Dump our schema into an empty file by pg_dump; say what is in the dump."""
    with database.read() as session:
        found = facts(session)
        tool = _tool("pg_dump", _server_major(session))
        [snapshot] = run(session, "SELECT pg_export_snapshot()").one()
        _run(database, [
            tool, "--format=custom", "--schema=public", "--no-owner", "--no-privileges", "--verbose",
            f"--snapshot={snapshot}", f"--file={target}",
        ], counts="dumping contents of table", total=len(found.rows), progress=progress)
    return found


def load_postgresql(database: Database, source: Path, *, tables: int, progress: Progress | None = None) -> None:
    """Put a dump into the empty schema, all of it or nothing."""
    with database.read() as session:
        tool = _tool("pg_restore", _server_major(session))
    listed = _answer_of(tool, "--list", source)
    if listed.returncode:
        raise DatabaseError(f"The file {source} is no dump that {Path(tool).name} can read: {_last(listed.stderr)}.")
    kept = [line for line in listed.stdout.splitlines() if not re.search(r" SCHEMA - public\b", line)]
    with NamedTemporaryFile("w", suffix=".list") as chosen:
        chosen.write("\n".join(kept) + "\n")
        chosen.flush()
        _run(database, [
            tool, "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--verbose",
            f"--use-list={chosen.name}", source,
        ], counts="processing data for table", total=tables, progress=progress)


def check_dump(source: Path, tables: Sequence[str], *, server: Database) -> None:
    """Read the contents of a dump again: each table must be in it. Raises DatabaseError."""
    with server.read() as session:
        tool = _tool("pg_restore", _server_major(session))
    listed = _answer_of(tool, "--list", source)
    there = set(re.findall(r"TABLE DATA public (\S+)", listed.stdout))
    if listed.returncode or set(tables) - there:
        raise DatabaseError(f"The file {source} cannot be read again: {_last(listed.stderr) or 'tables are missing'}.")


def others_connected(session: Session) -> int:
    """How many connections other processes of this program hold on PostgreSQL."""
    return int(run(
        session,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = 'escrow-monitor'",
    ).scalar_one())


def put_aside(database: Database, name: str) -> None:
    """Rename our schema and begin an empty one: what was there stays, under another name."""
    with database.write() as session:
        run(session, f'ALTER SCHEMA public RENAME TO "{name}"')
        run(session, "CREATE SCHEMA public")


def take_back(database: Database, name: str | None) -> None:
    """Drop what was put in, and give our schema the name back that it had; None: there was none."""
    with database.write() as session:
        run(session, "DROP SCHEMA public CASCADE")
        run(session, "CREATE SCHEMA public" if name is None else f'ALTER SCHEMA "{name}" RENAME TO public')


def forget_queues(database: Database) -> None:
    """Drop what the engine keeps in the same PostgreSQL: it remembers work that the restored rows have not seen."""
    with database.write() as session:
        run(session, f"DROP SCHEMA IF EXISTS {ENGINE_SCHEMA} CASCADE")


def _server_major(session: Session) -> int:
    return int(run(session, "SHOW server_version_num").scalar_one()) // 10_000


def _tool(name: str, server: int) -> str:
    """The oldest of the installed that is not older than the server. Raises DatabaseError, naming the package."""
    found: dict[int, str] = {}
    on_path = shutil.which(name)
    for path in (*sorted(_POSTGRESQL_HOMES.glob(f"*/bin/{name}")), *([Path(on_path)] if on_path else [])):
        if version := re.search(r"\) (\d+)", _answer_of(path, "--version").stdout):
            found[int(version[1])] = str(path)
    fitting = [major for major in found if major >= server]
    if fitting:
        return found[min(fitting)]
    is_old = f"{name} is of version {max(found)}, the server of {server}" if found else f"{name} is not installed"
    raise DatabaseError(f"{is_old}: install the package postgresql-client-{server}.")


def _answer_of(tool: str | Path, *asked: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a program of PostgreSQL, found in its places
        [tool, *asked], capture_output=True, text=True, errors="replace", check=False,
    )


def _run(
    database: Database, command: Sequence[str | Path], *, counts: str, total: int, progress: Progress | None
) -> None:
    """Run a client program on our database. The password goes by its environment, never by the command line."""
    given: dict[str, Any] = {**database.address.translate_connect_args(username="user"), **database.address.query}
    given["dbname"] = given.pop("database", None)
    password = given.pop("password", None)
    environ = {**os.environ, "LC_ALL": "C", **({"PGPASSWORD": str(password)} if password else {})}
    told: list[str] = []
    done = 0
    conninfo = make_conninfo(**{name: value for name, value in given.items() if value is not None})
    with subprocess.Popen(  # noqa: S603 - a program of PostgreSQL, found in its places
        [*command, f"--dbname={conninfo}"], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
    ) as running:
        for line in running.stderr or ():
            if counts in line:
                done += 1
                if progress is not None:
                    progress(done, max(done, total))
            elif "error" in line or "FATAL" in line:
                told.append(line)
    if running.returncode:
        said = _last("".join(told[-TOLD_LINES_MAX:])) or f"it ended with {running.returncode}"
        said = said.replace(str(password), "***") if password else said
        name = Path(str(command[0])).name
        raise DatabaseError(f"The database {database.name} could not be copied by {name}: {said}.")


def _last(text: str) -> str:
    """The last lines of what a program said, as one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-TOLD_LINES_MAX:])[:400].rstrip(".")


__all__ = [
    "Facts", "check_dump", "check_sqlite", "close_sqlite", "copy_sqlite", "dump_postgresql", "facts", "forget_queues",
    "load_postgresql", "others_connected", "put_aside", "take_back",
]
