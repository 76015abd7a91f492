"""The database: opening it, keeping it current, reading and writing in transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlmodel import Session

from escrow_monitor.errors import ConfigurationError, DatabaseError

__all__ = ["REVISION", "Database", "Session", "alembic_config"]
"""A session too: who only passes one on takes its name from here, not from the library."""

REVISION = "0011"
"""The newest migration. A test holds it against the migrations folder, so that `check` need not load Alembic."""

BUSY_SECONDS = 30
CONNECT_SECONDS = 10
SQLITE_OLDEST = (3, 35, 0)
"""RETURNING and UPDATE ... FROM."""

_MIGRATIONS = Path(__file__).with_name("migrations")
_UPGRADE_LOCK = 7_246_001
"""Any number: processes that upgrade one PostgreSQL database at once queue at this advisory lock."""


class Database:
    """One SQLite file or one PostgreSQL database. Nothing is opened until it is asked something.

    `url`: `sqlite:///path/to/file.db` or `postgresql+psycopg://user:password@host/name`. What the database does wrong
    (locked, full, gone, refused, not current) becomes a DatabaseError of one plain sentence without credentials.
    """

    def __init__(self, url: str) -> None:
        self._url = _checked(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._file_id: tuple[int, int] | None = None
        self._engine = self._open_sqlite() if self.is_sqlite else self._open_postgresql()
        reading: dict[str, Any] = {} if self.is_sqlite else {
            "isolation_level": "REPEATABLE READ", "postgresql_readonly": True,
        }
        self._reader = self._engine.execution_options(**reading)
        self._writer = self._engine.execution_options(writes=True)

    @property
    def address(self) -> URL:
        """Where it is and how to get in, password included: for the programs that copy it, never for a message."""
        return self._url

    @property
    def name(self) -> str:
        """What to call it in messages: the file, or host and database. Never a password."""
        if self.is_sqlite:
            return str(self._url.database)
        return f"{self._url.host or 'localhost'}/{self._url.database}"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One snapshot to ask questions of; writing in it fails."""
        with self._plainly(), Session(self._reader, autoflush=False, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: all of it is kept at the end of the block, or nothing if the block raises.

        On SQLite there is one writer at a time from the first statement on (BEGIN IMMEDIATE).
        """
        session = Session(self._writer, autoflush=False, expire_on_commit=False)
        with self._plainly(), session, session.begin():
            yield session
            session.flush()
            self._check_file()

    def upgrade(self) -> None:
        """Create the tables, or bring them up to this version: in one transaction, safely from several processes."""
        if self._is_current():
            return
        from alembic import command

        with self._plainly():
            if self.is_sqlite:
                self._create_file()
            with self._writer.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _UPGRADE_LOCK})
                command.upgrade(alembic_config(connection), "head")

    def check(self) -> None:
        """Raise DatabaseError unless it can be reached and its tables are of this version."""
        with self.read() as session:
            found = self._revision(session.connection())
        if found is None:
            raise DatabaseError(f"The database {self.name} has no tables yet: run `escrow-monitor db upgrade`.")
        if found != REVISION:
            raise DatabaseError(
                f"The database {self.name} is at version {found}, this program needs {REVISION}: "
                "run `escrow-monitor db upgrade` with the newer program."
            )

    def _is_current(self) -> bool:
        """Without a lock and without Alembic: most commands find nothing to do."""
        try:
            self.check()
        except DatabaseError:
            return False
        return True

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _revision(self, connection: Connection) -> str | None:
        try:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except DBAPIError as error:
            if _is_missing_table(error.orig):
                return None
            raise

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # Not the outside: a promise of ours was about to be broken.
        except DBAPIError as error:
            raise DatabaseError(self._sentence(error.orig)) from error
        except psycopg.OperationalError as error:
            # COPY goes past SQLAlchemy.
            raise DatabaseError(self._sentence(error)) from error

    def _sentence(self, error: BaseException | None) -> str:
        first_line = str(error).strip().partition("\n")[0].rstrip(".")
        if self._url.password:
            first_line = first_line.replace(str(self._url.password), "***")
        if _is_missing_table(error):
            return f"The database {self.name} is not current ({first_line}): run `escrow-monitor db upgrade`."
        for mark, advice in _ADVICE:
            if mark in first_line:
                return f"The database {self.name} {advice} ({first_line})."
        return f"The database {self.name} did not answer as it must: {first_line}."

    # SQLite

    def _open_sqlite(self) -> Engine:
        if sqlite3.sqlite_version_info < SQLITE_OLDEST:
            raise DatabaseError(
                f"This Python carries SQLite {sqlite3.sqlite_version}; "
                f"{'.'.join(map(str, SQLITE_OLDEST))} or newer is needed."
            )
        # mode=rw: a missing file is an error, never a new empty database that knows nothing.
        quoted = Path(str(self._url.database)).absolute().as_uri()
        engine = create_engine(
            f"sqlite:///{quoted}?mode=rw&uri=true", connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True,
        )
        event.listen(engine, "connect", self._prepare_sqlite)
        event.listen(engine, "begin", self._begin_sqlite)
        return engine

    def _prepare_sqlite(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # We say BEGIN ourselves.
        for pragma in (
            f"busy_timeout = {BUSY_SECONDS * 1000}", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON",
            "temp_store = MEMORY", "cache_size = -65536",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
        self._file_id = self._file_id or _file_id(str(self._url.database))

    def _begin_sqlite(self, connection: Connection) -> None:
        self._check_file()
        writes = bool(connection.get_execution_options().get("writes"))
        connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def _check_file(self) -> None:
        """An open connection goes on writing into a deleted file as if nothing had happened: look for ourselves."""
        if self.is_sqlite and self._file_id is not None and _file_id(str(self._url.database)) != self._file_id:
            raise DatabaseError(
                f"The database file {self.name} is gone or was replaced while it was open: "
                "put it back and start again. Nothing was written."
            )

    def _create_file(self) -> None:
        path = Path(str(self._url.database))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What parents paid is nobody else's to read.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise DatabaseError(f"The database file {path} cannot be made: {error.strerror}.") from error

    # PostgreSQL

    def _open_postgresql(self) -> Engine:
        return create_engine(
            self._url, pool_pre_ping=True, hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_SECONDS, "application_name": "escrow-monitor",
                "options": f"-c timezone=UTC -c lock_timeout={BUSY_SECONDS}s",
                # Plans are made for the values at hand: one made for any list of keys is bad for a long one.
                "prepare_threshold": None,
            },
        )


def alembic_config(connection: Connection) -> Any:
    """How Alembic finds our migrations and talks through this connection; there is no alembic.ini."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


_ADVICE = (
    ("database is locked", "is locked by another program for too long"),
    ("lock timeout", "is locked by another program for too long"),
    ("deadlock detected", "was wanted by two at once; try again"),
    ("is full", "has no room left on its disk"),
    ("No space left", "has no room left on its disk"),
    ("unable to open database file", "cannot be opened; if it is new, run `escrow-monitor db upgrade`"),
    ("readonly database", "may not be written to"),
    ("read-only", "may not be written to"),
    ("file is not a database", "is not a database"),
    ("malformed", "is damaged; restore it from a backup"),
    ("disk I/O error", "cannot be read or written on its disk"),
    ("authentication failed", "did not accept the user and password"),
    ("does not exist", "cannot be used as configured"),
    ("connection", "cannot be reached"),
)


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The text itself may hold a password: it is not repeated.
        raise ConfigurationError("database.url is not a database URL, e.g. sqlite:///escrow-monitor.db") from error
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        f"database.url begins with {backend}:, it must be sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
    )


def _file_id(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_missing_table(error: BaseException | None) -> bool:
    return isinstance(error, psycopg.errors.UndefinedTable) or "no such table" in str(error)
