"""Many rows at once, on both databases, by the same SQL.

The SQL of this room is written as PostgreSQL has it. `run` translates what SQLite says otherwise:

    IN EACH(:keys)      a list of texts of any length as one parameter
    IS DISTINCT FROM    `<>` that knows NULL
    FOR UPDATE          nothing: SQLite has one writer, and it holds the lock already

Many rows go into a temporary table first (COPY on PostgreSQL, long VALUES on SQLite), then one statement moves them.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson
import psycopg
import psycopg.sql
from sqlalchemy import CursorResult, Date, TextClause, bindparam, text
from sqlmodel import Session, UTCDateTime

PLACES_A_STATEMENT = 2_000
"""So many values go to SQLite with one INSERT; it takes 32,766 at most."""

Cell = str | int | bool | bytes | date | datetime | None
Cells = tuple[Any, ...]

_TYPES_POSTGRESQL = {
    str: "text", int: "int8", bool: "bool", bytes: "bytea", date: "date", datetime: "timestamptz",
}
_TYPES_SQLITE = {str: "TEXT", int: "INTEGER", bool: "INTEGER", bytes: "BLOB", date: "TEXT", datetime: "TEXT"}


@dataclass(frozen=True, slots=True)
class ByColumn:
    """Rows given as their columns, all equally long: of many rows these are quicker to make, and to write."""

    columns: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        if len(set(map(len, self.columns))) > 1:
            raise ValueError("columns of unequal length are no rows")

    def __iter__(self) -> Iterator[Cells]:
        return zip(*self.columns, strict=True)


def is_sqlite(session: Session) -> bool:
    """Whether this session speaks to SQLite."""
    return session.get_bind().dialect.name == "sqlite"


def run(session: Session, sql: str, **values: Cell | Sequence[str]) -> CursorResult[*tuple[Any, ...]]:
    """Execute SQL written as PostgreSQL has it. A list of texts fills `EACH(:name)`.

    The rows come as the driver has them, SQLite's instants and days as text: decode them with `Reader`.
    """
    lite = is_sqlite(session)
    instants = frozenset(name for name, value in values.items() if isinstance(value, datetime))
    days = frozenset(name for name, value in values.items() if isinstance(value, date)) - instants
    bound = {name: _bound(value, lite) for name, value in values.items()}
    return session.connection().execute(_clause(sql, lite, instants, days), bound)


def fetch(session: Session, sql: str, **values: Cell | Sequence[str]) -> list[Cells]:
    """All rows of a query as the driver's bare tuples: for a hundred thousand of them."""
    result = run(session, sql, **values)
    cursor = result.cursor
    assert cursor is not None, "not a query"  # noqa: S101 - our own SQL
    try:
        with uncollected():
            return list(cursor.fetchall())
    finally:
        result.close()


def texts(session: Session, sql: str, **values: Cell | Sequence[str]) -> list[str]:
    """All rows of a query of one text column that is never NULL.

    On SQLite they come as one: between rows the driver would let other threads in, each for as long as it likes.
    """
    if not is_sqlite(session):
        return [found for (found,) in fetch(session, sql, **values)]
    whole = f"WITH found (text) AS ({sql}) SELECT json_group_array(text) FROM found"
    return list(orjson.loads(run(session, whole, **values).scalar_one()))


@contextmanager
def staged(session: Session, name: str, columns: Mapping[str, type], rows: Iterable[Cells]) -> Iterator[None]:
    """Put rows into a temporary table of this name for the length of the block.

    `columns` gives each column's Python type (str, int, bool, bytes, date, datetime), in the order of the cells.
    """
    lite = is_sqlite(session)
    types = _TYPES_SQLITE if lite else _TYPES_POSTGRESQL
    body = ", ".join(f"{column} {types[kind]}" for column, kind in columns.items())
    connection = session.connection()
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({body})")
    insert(session, name, columns, rows)
    if not lite:
        # Nobody else ever analyses a temporary table, and without numbers the planner may join it row by row.
        connection.exec_driver_sql(f"ANALYZE {name}")
    yield
    # After a failure the transaction is rolled back, and the table with it.
    connection.exec_driver_sql(f"DROP TABLE {name}")


def insert(session: Session, table: str, columns: Mapping[str, type], rows: Iterable[Cells]) -> None:
    """Append rows to a table as fast as the driver can: no conflict is tolerated."""
    with uncollected():
        if is_sqlite(session):
            _insert_sqlite(session, table, columns, rows)
        else:
            _copy_postgresql(session, table, columns, rows)


def insert_new(session: Session, table: str, columns: Mapping[str, type], rows: Iterable[Cells]) -> int:
    """Append the rows of which the table has none with the same key; return how many were new."""
    if is_sqlite(session):
        with uncollected():
            return _insert_sqlite(session, table, columns, rows, conflict=" ON CONFLICT DO NOTHING")
    names = ", ".join(columns)
    with staged(session, f"incoming_{table}", columns, rows):
        return run(
            session, f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming_{table} ON CONFLICT DO NOTHING"
        ).rowcount


class Reader:
    """Turns the driver's cells into values; NULL becomes None. One a query: it remembers what it has read."""

    def __init__(self, session: Session) -> None:
        lite = is_sqlite(session)
        self.instant: Callable[[Any], datetime | None] = _Instants().__getitem__ if lite else _as_it_is
        """An aware UTC instant: psycopg hands out just that, SQLite its text."""
        self.day: Callable[[Any], date | None] = _Days().__getitem__ if lite else _as_it_is
        """A calendar date."""

    def at(self, cell: Any) -> datetime:
        """An instant from a column that is never NULL."""
        instant = self.instant(cell)
        assert instant is not None, "a column that is NOT NULL held NULL"  # noqa: S101 - the schema promises it
        return instant

    def on(self, cell: Any) -> date:
        """A date from a column that is never NULL."""
        day = self.day(cell)
        assert day is not None, "a column that is NOT NULL held NULL"  # noqa: S101 - the schema promises it
        return day


class _Instants(dict[str | None, datetime | None]):
    def __missing__(self, cell: str | None) -> datetime | None:
        self[cell] = read = None if cell is None else datetime.fromisoformat(cell).replace(tzinfo=UTC)
        return read


class _Days(dict[str | None, date | None]):
    def __missing__(self, cell: str | None) -> date | None:
        self[cell] = read = None if cell is None else date.fromisoformat(cell)
        return read


def _as_it_is(cell: Any) -> Any:
    return cell


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector while many values are made, none of which can be garbage: a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def as_json(value: object) -> str:
    """JSON text with sorted keys, the same bytes on both databases."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def from_json(cell: str) -> Any:
    """The value of a JSON text column."""
    return orjson.loads(cell)


_EACH = re.compile(r"EACH\((:\w+)\)")
_LOCK = re.compile(r"\bFOR UPDATE( OF \w+)?( SKIP LOCKED)?")


@lru_cache(maxsize=512)
def _clause(sql: str, lite: bool, instants: frozenset[str], days: frozenset[str]) -> TextClause:
    if lite:
        sql = _EACH.sub(r"(SELECT value FROM json_each(\1))", sql)
        sql = _LOCK.sub("", sql.replace("IS DISTINCT FROM", "IS NOT"))
    else:
        sql = _EACH.sub(r"(SELECT unnest(CAST(\1 AS text[])))", sql)
    return text(sql).bindparams(
        *(bindparam(name, type_=UTCDateTime()) for name in instants),
        *(bindparam(name, type_=Date()) for name in days),
    )


def _bound(value: Cell | Sequence[str], lite: bool) -> object:
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return orjson.dumps(list(value)).decode() if lite else list(value)
    return value


def _insert_sqlite(
    session: Session, table: str, columns: Mapping[str, type], rows: Iterable[Cells], *, conflict: str = ""
) -> int:
    cells = _encoded(session, columns.values(), rows)
    added, names, connection = 0, tuple(columns), session.connection()
    # Many rows a statement: a third less work, and the other threads are let in once a statement instead of once a row,
    # each time for as long as they like.
    at_once = max(1, PLACES_A_STATEMENT // len(names))
    total = len(cells[0]) if cells else 0
    whole = total - total % at_once
    for start in range(0, whole, at_once):
        parts = {name: column[start : start + at_once] for name, column in zip(names, cells, strict=True)}
        once = {name: part[0] for name, part in parts.items() if _is_one_value(part)}
        others = {name: part for name, part in parts.items() if name not in once}
        sql = _insert_statement(table, tuple(once), tuple(others), at_once) + conflict
        following = chain.from_iterable(zip(*others.values(), strict=True))
        added += connection.exec_driver_sql(sql, (*once.values(), *following)).rowcount
    if whole < total:
        sql = _insert_statement(table, (), names, 1) + conflict
        rest = list(zip(*(column[whole:] for column in cells), strict=True))
        added += connection.exec_driver_sql(sql, rest).rowcount
    return added


def _is_one_value(cells: Sequence[Any]) -> bool:
    """Whether a column says the same in every row; mostly seen by its ends, or by all being one object."""
    first = cells[0]
    return bool(first == cells[-1] and cells.count(first) == len(cells))


@lru_cache(maxsize=512)
def _insert_statement(table: str, once: tuple[str, ...], others: tuple[str, ...], rows: int) -> str:
    """An INSERT of many rows; the columns that say the same in all of them are bound once, before the others."""
    row = ", ".join([f"?{place}" for place in range(1, len(once) + 1)] + ["?"] * len(others))
    return f"INSERT INTO {table} ({', '.join((*once, *others))}) VALUES {', '.join([f'({row})'] * rows)}"


def _encoded(session: Session, kinds: Iterable[type], rows: Iterable[Cells]) -> list[Sequence[Any]]:
    """The rows as columns, instants and days as text: by column is several times faster than row by row."""
    columns: list[Sequence[Any]] = [*(rows.columns if isinstance(rows, ByColumn) else zip(*rows, strict=True))]
    texts: _Texts = session.info.setdefault(_Texts, _Texts())
    for place, kind in enumerate(kinds if columns else ()):
        if kind is datetime or kind is date:
            columns[place] = list(map(texts.__getitem__, columns[place]))
    return columns


class _Texts(dict[date | None, str | None]):
    """Remembers the text of each instant or day for one session: its columns repeat the same few."""

    def __missing__(self, value: date | None) -> str | None:
        if isinstance(value, datetime):
            written: str | None = instant_text(value)
        else:
            written = None if value is None else value.isoformat()
        self[value] = written
        return written


def instant_text(value: datetime) -> str:
    """An instant as SQLite keeps it: UTC, always six decimals, so that text order is time order."""
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    at = value if value.tzinfo is UTC else value.astimezone(UTC)
    return at.isoformat(sep=" ", timespec="microseconds")[:26]  # without the +00:00


def _copy_postgresql(session: Session, table: str, columns: Mapping[str, type], rows: Iterable[Cells]) -> None:
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - the only other driver we open
    statement = psycopg.sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        psycopg.sql.Identifier(table), psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([_TYPES_POSTGRESQL[kind] for kind in columns.values()])
        for row in rows:
            copy.write_row(row)
