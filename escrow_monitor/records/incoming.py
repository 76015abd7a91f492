"""Staged rows on their way into a table: what is already so is dropped, the rest inserted or updated.

    line  contract_no  session_no  status           stored
    2     HT-1         1           confirmed        the same          dropped: no change
    3     HT-1         2           confirmed        requested         updated
    4     HT-1         3           requested        nothing           inserted

The staged table of a table is called `incoming_` and its name, and begins with the line each row stood on.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlmodel import Session

from escrow_monitor.errors import UsageError
from escrow_monitor.records.bulk import Cells, fetch, run, staged
from escrow_monitor.records.closure_marks import mark_staged

KEYS_TOLD_MAX = 20
"""So many keys of changed rows are named; the rest is a count."""


class RowFault(NamedTuple):
    """What does not fit together with what is recorded: the line, the column, its value, and why."""

    line: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What became of rows: faulty ones were left out. `changed_keys` are some of those that were updated."""

    faults: tuple[RowFault, ...] = ()
    new: int = 0
    changed: int = 0
    changed_keys: tuple[str, ...] = ()

    def all_or_refused(self) -> int:
        """How many are new or changed. Raises UsageError with the first fault, where there is one."""
        if self.faults:
            fault = self.faults[0]
            raise UsageError(f"{fault.column} {fault.value}: {fault.reason}")
        return self.new + self.changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A table that rows arrive in: its key, and the columns of a row with their Python types.

    `times` are columns set to now when a row is inserted, `extra` assignments made when one is updated.
    """

    table: str
    keys: tuple[str, ...]
    columns: Mapping[str, type]
    times: tuple[str, ...] = ("recorded_at", "changed_at")
    extra: str = ""

    @property
    def staged(self) -> str:
        """The name of its staged table."""
        return f"incoming_{self.table}"

    @property
    def others(self) -> list[str]:
        """The columns that are no part of the key."""
        return [column for column in self.columns if column not in self.keys]

    def same_key(self, one: str, other: str) -> str:
        """SQL: the two aliases hold one key."""
        return " AND ".join(f"{one}.{key} = {other}.{key}" for key in self.keys)


@contextmanager
def arriving(session: Session, shape: Shape, rows: Iterable[Cells], **more: type) -> Iterator[None]:
    """Stage rows of (line, cells of the shape, cells of `more`) for the length of the block."""
    with staged(session, shape.staged, {"line": int, **shape.columns, **more}, rows):
        yield


def without(session: Session, shape: Shape, faults: Iterable[RowFault]) -> None:
    """Take faulty rows out of the staged ones."""
    lines = sorted({str(fault.line) for fault in faults})
    if lines:
        run(session, f"DELETE FROM {shape.staged} WHERE CAST(line AS text) IN EACH(:lines)", lines=lines)


def drop_known(session: Session, shape: Shape) -> tuple[int, int]:
    """Take out of the staged rows what is recorded just so; return how many others are new, and how many differ."""
    total, known = _counts(session, shape)
    if not known:
        return total, 0
    differs = " OR ".join(f"t.{column} IS DISTINCT FROM {shape.staged}.{column}" for column in shape.others)
    dropped = run(
        session,
        f"DELETE FROM {shape.staged} WHERE EXISTS (SELECT 1 FROM {shape.table} t"
        f" WHERE {shape.same_key('t', shape.staged)} AND NOT ({differs or 'false'}))",
    ).rowcount
    return total - known, known - dropped


def merge(session: Session, shape: Shape, *, changed: int, now: datetime) -> tuple[str, ...]:
    """Insert the staged rows, updating the `changed` ones that are there; return some keys of the latter."""
    mark_staged(session, shape.table, changed=bool(changed))
    keys = _changed_keys(session, shape) if changed else ()
    names, times = ", ".join(shape.columns), "".join(f", {column}" for column in shape.times)
    sets = [f"{column} = excluded.{column}" for column in shape.others]
    update = ", ".join([*sets, "changed_at = :now"]) + shape.extra
    run(
        session,
        # In the order of the key, neighbours go to neighbouring pages.
        f"INSERT INTO {shape.table} ({names}{times}) SELECT {names}{', :now' * len(shape.times)} FROM {shape.staged}"
        f" WHERE true ORDER BY {', '.join(shape.keys)}"
        + (f" ON CONFLICT ({', '.join(shape.keys)}) DO UPDATE SET {update}" if changed else ""),
        now=now,
    )
    return keys


def record_about_institutions(session: Session, shape: Shape, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep rows that name an institution and nothing else that is recorded; those of an unknown one are left out."""
    with arriving(session, shape, rows):
        unknown = fetch(
            session,
            f"SELECT i.line, i.uscc FROM {shape.staged} i"
            " WHERE NOT EXISTS (SELECT 1 FROM institutions n WHERE n.uscc = i.uscc)",
        )
        faults = [RowFault(line, "uscc", uscc, "no such institution: import it first") for line, uscc in unknown]
        without(session, shape, faults)
        new, changed = drop_known(session, shape)
        keys = merge(session, shape, changed=changed, now=now)
    return Arrived(faults=tuple(faults), new=new, changed=changed, changed_keys=keys)


def touch(session: Session, sql: str, **values: Any) -> None:
    """Note contracts whose sums must be made anew: `sql` selects their numbers. See contract_sums.kept_up."""
    run(session, f"INSERT INTO touched_contracts (contract_no) {sql} ON CONFLICT (contract_no) DO NOTHING", **values)


def _counts(session: Session, shape: Shape) -> tuple[int, int]:
    total = run(session, f"SELECT count(*) FROM {shape.staged}").scalar_one()
    known = run(
        session,
        f"SELECT count(*) FROM {shape.staged} i WHERE EXISTS"
        f" (SELECT 1 FROM {shape.table} t WHERE {shape.same_key('t', 'i')})",
    ).scalar_one()
    return int(total), int(known)


def _changed_keys(session: Session, shape: Shape) -> tuple[str, ...]:
    keys = ", ".join(f"i.{key}" for key in shape.keys)
    rows = fetch(
        session,
        f"SELECT {keys} FROM {shape.staged} i JOIN {shape.table} t ON {shape.same_key('i', 't')}"
        f" ORDER BY {keys} LIMIT {KEYS_TOLD_MAX}",
    )
    return tuple("/".join(map(str, row)) for row in rows)
