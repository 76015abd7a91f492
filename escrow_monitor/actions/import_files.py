"""Load a file of institutions, accounts, contracts, charges, lessons, refund claims, complaints or notices.

    file --look--> hash, encoding --read--> columns of values --spool--> rows --one transaction--> records, sums, audit
                                       \\-> bad rows                        \\-> rows that do not fit what is recorded

The whole file is kept or nothing, unless bad rows are to be skipped. Reading happens before the database is locked;
what is kept is kept in one transaction, piece by piece, so that memory does not grow with the file.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, BinaryIO

from escrow_monitor.actions.cell_text import WrongCell
from escrow_monitor.actions.cells import Memo
from escrow_monitor.actions.import_columns import COLUMNS, NEEDED
from escrow_monitor.actions.import_kinds import KINDS, Columns, Kind
from escrow_monitor.actions.table_files import Names, Rows, Table, open_table
from escrow_monitor.actions.twins import TwinSearch
from escrow_monitor.clock import ZONE
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bulk import uncollected
from escrow_monitor.records.contracts.sums import kept_up
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.incoming import KEYS_TOLD_MAX, Arrived

BAD_ROWS_TOLD_MAX = 100
BAD_ROWS_LOOKED_UP_MAX = 1_000
"""A file with more bad rows than this is not compared with the records as well."""
VALUE_CHARACTERS_MAX = 100
SPOOL_BYTES_MAX = 32 * 1024 * 1024
"""Rows that take more than this wait on disk."""

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """One thing wrong with a file: the line (the header is 1), the column, the value and why."""

    line: int
    column: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column} {self.value!r}: {self.reason}" if self.column else (
            f"line {self.line}: {self.reason}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file. `kept` is False where nothing was: a dry run, or bad rows that were not to be skipped.

    Of the good rows some were new, some changed what was recorded, and the rest is recorded just so. `bad_rows` lists
    the first of `bad`.
    """

    kind: str
    filename: str
    sha256: str
    rows: int
    new: int
    updated: int
    bad: int
    bad_rows: tuple[BadRow, ...] = field(default=())
    kept: bool
    dry_run: bool

    @property
    def changed(self) -> int:
        """How many rows are in the records now, or would be after a dry run, that were not just so before."""
        return self.new + self.updated

    def as_json(self) -> dict[str, object]:
        """The outcome as a JSON object."""
        return {
            "kind": self.kind, "file": self.filename, "sha256": self.sha256, "rows": self.rows, "new": self.new,
            "updated": self.updated, "changed": self.changed, "bad": self.bad, "kept": self.kept,
            "dry_run": self.dry_run,
            "bad_rows": [
                {"line": bad.line, "column": bad.column, "value": bad.value, "reason": bad.reason}
                for bad in self.bad_rows
            ],
        }


def import_file(
    database: Database, *, kind: str, stream: BinaryIO, filename: str, dry_run: bool = False,
    skip_bad_rows: bool = False, actor: str, now: datetime, progress: Progress | None = None,
) -> Imported:
    """Read, check and keep a seekable file. Loading the same file twice changes nothing.

    Raises UsageError for an unknown kind, and for a file that is no such table. `progress` hears how many rows were
    read, then how many were kept.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}; choose {', '.join(KINDS)}")
    names = Names({name: text.zh for name, text in COLUMNS[kind].items()}, needed=NEEDED[kind], where=filename)
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES_MAX) as spool:
        reading = _Reading(KINDS[kind], spool, progress)
        table = open_table(stream, names)
        reading.read(table)
        keeping = _Keeping(reading, now=now, skips=skip_bad_rows)
        keeps = not dry_run and (skip_bad_rows or not reading.bad.count)
        if reading.bad.count <= BAD_ROWS_LOOKED_UP_MAX or keeps:
            kept = keeping.keep(database, dry_run=dry_run, audited=lambda session, done: audit.append(
                session, kind="file.imported", actor=actor, now=now, payload={
                    "kind": kind, "file": filename, "sha256": table.sha256, "rows": reading.rows, "new": done.new,
                    "updated": done.changed, "bad": reading.bad.count, "updated_keys": list(done.changed_keys),
                },
            ))
        else:
            kept = False
    return Imported(
        kind=kind, filename=filename, sha256=table.sha256, rows=reading.rows,
        new=keeping.new if kept or dry_run else 0, updated=keeping.changed if kept or dry_run else 0,
        bad=reading.bad.count, bad_rows=reading.bad.told(), kept=kept, dry_run=dry_run,
    )


class _BadRows:
    """Counts what is wrong, and remembers the first rows of the file that are."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[BadRow] = []

    def add(self, line: int, column: str, value: str, reason: str) -> None:
        self.count += 1
        self._first.append(BadRow(line=line, column=column, value=value[:VALUE_CHARACTERS_MAX], reason=reason))
        if len(self._first) >= 10 * BAD_ROWS_TOLD_MAX:
            self._first = list(self.told())

    def told(self) -> tuple[BadRow, ...]:
        return tuple(sorted(self._first, key=lambda bad: bad.line)[:BAD_ROWS_TOLD_MAX])


class _Reading:
    """The first pass: cells become values, good rows go to the spool, bad ones are told."""

    def __init__(self, kind: Kind, spool: IO[bytes], progress: Progress | None) -> None:
        self.kind, self.spool, self.progress = kind, spool, progress
        self.memos = {name: Memo(parse) for name, parse in kind.parses.items()}
        self.bad, self.rows, self.good = _BadRows(), 0, 0
        self.left_out: frozenset[int] = frozenset()

    def read(self, table: Table) -> None:
        """Read all rows of the table."""
        total, twins = None if table.lines is None else max(0, table.lines - 1), TwinSearch()
        for piece in table.rows:
            with uncollected():
                lines, rows = self._read_piece(table.columns, piece)
                places = [self.kind.cells.index(key) for key in self.kind.keys]
                twins.add(lines, [tuple([row[place] for place in places]) for row in rows], rows)
                pickle.dump((lines, rows), self.spool, protocol=pickle.HIGHEST_PROTOCOL)
            self.rows += len(piece.lines) + len(piece.odd)
            self.good += len(rows)
            if self.progress is not None:
                self.progress(self.rows, max(total, self.rows) if total is not None else None)
        again, differing = twins.found()
        key = ", ".join(self.kind.keys)
        for line, other in sorted(differing.items()):
            self.bad.add(line, key, "", f"stands on line {other} as well, with other facts")
        self.left_out = again | differing.keys()

    def spooled(self) -> Iterator[tuple[Sequence[int], list[tuple[Any, ...]]]]:
        """The good rows again, with their lines, without those that repeat or contradict another."""
        self.spool.seek(0)
        while True:
            try:
                lines, rows = pickle.load(self.spool)  # noqa: S301 - we wrote it ourselves, a moment ago
            except EOFError:
                return
            if self.left_out:
                kept = [(line, row) for line, row in zip(lines, rows, strict=True) if line not in self.left_out]
                lines, rows = [line for line, _ in kept], [row for _, row in kept]
            yield lines, rows

    def _read_piece(self, header: Sequence[str], piece: Rows) -> tuple[Sequence[int], list[tuple[Any, ...]]]:
        for line, why in piece.odd:
            self.bad.add(line, "", "", why)
        lines, size = piece.lines, len(piece.lines)
        given = dict(zip(header, piece.columns, strict=True))
        columns: Columns = {
            # In the order of the file: of a row with several, the first wrong cell is told.
            **{name: self.memos[name].read(texts) for name, texts in given.items()},
            **{name: [memo[""]] * size for name, memo in self.memos.items() if name not in given},
        }
        lines, columns = self._without(lines, columns, self._wrong_cells(columns))
        wrong: dict[int, tuple[str, str, str]] = {}
        for one in self.kind.check(columns):
            wrong.setdefault(one.place, (one.column, one.value, one.reason))
        lines, columns = self._without(lines, columns, wrong)
        return lines, list(zip(*(columns[name] for name in self.kind.cells), strict=True))

    def _wrong_cells(self, columns: Columns) -> dict[int, tuple[str, str, str]]:
        """Of each row the first column that cannot be read."""
        wrong: dict[int, tuple[str, str, str]] = {}
        for name, values in columns.items():
            if WrongCell in set(map(type, values)):
                for place, value in enumerate(values):
                    if type(value) is WrongCell:
                        wrong.setdefault(place, (name, value.text, value.reason))
        return wrong

    def _without(
        self, lines: Sequence[int], columns: Columns, wrong: dict[int, tuple[str, str, str]]
    ) -> tuple[Sequence[int], Columns]:
        if not wrong:
            return lines, columns
        for place, (column, value, reason) in wrong.items():
            self.bad.add(lines[place], column, value, reason)
        kept = [place for place in range(len(lines)) if place not in wrong]
        return [lines[place] for place in kept], {
            name: [values[place] for place in kept] for name, values in columns.items()
        }


class _TakenBack(Exception):
    """Everything was tried and nothing is kept."""


class _Keeping:
    """The second pass: rows meet what is recorded, in one transaction."""

    def __init__(self, reading: _Reading, *, now: datetime, skips: bool) -> None:
        self.reading, self.now, self.skips = reading, now, skips
        self.new = self.changed = 0
        self.changed_keys: list[str] = []

    def keep(self, database: Database, *, dry_run: bool, audited: Callable[[Any, Arrived], object]) -> bool:
        """Keep all good rows, or none; return whether they are kept."""
        try:
            with database.write() as session:
                with self._sums(session):
                    self._record(session)
                    if dry_run or (self.reading.bad.count and not self.skips):
                        raise _TakenBack
                if self.new or self.changed:
                    audited(session, Arrived(
                        new=self.new, changed=self.changed, changed_keys=tuple(self.changed_keys[:KEYS_TOLD_MAX])
                    ))
        except _TakenBack:
            return False
        return True

    def _sums(self, session: Any) -> AbstractContextManager[None]:
        if not self.reading.kind.has_sums:
            return nullcontext()
        return kept_up(session, on=self.now.astimezone(ZONE).date())

    def _record(self, session: Any) -> None:
        done = 0
        for lines, rows in self.reading.spooled():
            with uncollected():
                arrived = self.reading.kind.record(
                    session, [(line, *row) for line, row in zip(lines, rows, strict=True)], now=self.now
                )
            for fault in arrived.faults:
                self.reading.bad.add(*fault)
            self.new += arrived.new
            self.changed += arrived.changed
            if len(self.changed_keys) < KEYS_TOLD_MAX:
                self.changed_keys += arrived.changed_keys
            done += len(rows)
            if self.reading.progress is not None:
                self.reading.progress(done, self.reading.good)
