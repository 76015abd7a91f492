"""Bank lines and expected items as matching knows them: taken in, opened, loaded, and taken back."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from sqlalchemy import text
from sqlmodel import Session

from escrow_monitor.domain.matching import BankLine, Expected, ExpectedKind, reference_key
from escrow_monitor.records.bulk import Cells, Reader, fetch, insert, insert_new, is_sqlite, run, staged, uncollected

Item = TypeVar("Item", bound=BankLine | Expected)

SPREAD = 0x9E3779B97F4A7C15
"""2^64 / golden ratio: amounts that differ by one land far from each other."""
WORD = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Half:
    """The tables of one side of matching."""

    name: str
    is_line: bool
    table: str
    open_table: str
    left_table: str
    free_table: str
    number: str
    identity: str
    columns: Mapping[str, type]


@dataclass(frozen=True, kw_only=True)
class Side(Half, Generic[Item]):
    """The same, with how its items are written and read."""

    cells: Callable[[Item], Cells]
    read: Callable[[Sequence[Any], Reader], Item]


def _line_cells(line: BankLine) -> Cells:
    return (
        line.line_id, line.uscc, line.currency, line.account_no, line.on, line.amount_fen, line.reference, line.text
    )


def _line(row: Sequence[Any], reader: Reader) -> BankLine:
    return BankLine(
        line_id=row[0], uscc=row[1], currency=row[2], account_no=row[3], on=reader.on(row[4]), amount_fen=row[5],
        reference=row[6], text=row[7],
    )


def _expected_cells(one: Expected) -> Cells:
    return (
        one.expected_id, one.uscc, one.currency, one.account_no, one.on, one.amount_fen, one.reference, one.kind.value
    )


def _expected(row: Sequence[Any], reader: Reader) -> Expected:
    return Expected(
        expected_id=row[0], uscc=row[1], currency=row[2], account_no=row[3], on=reader.on(row[4]), amount_fen=row[5],
        reference=row[6], kind=ExpectedKind(row[7]),
    )


LINES: Side[BankLine] = Side(
    name="bank line", is_line=True, table="match_lines", open_table="open_lines",
    left_table="left_lines", free_table="free_lines", number="line_no", identity="line_id",
    columns={
        "line_id": str, "uscc": str, "currency": str, "account_no": str, "booked_on": date, "amount_fen": int,
        "reference": str, "text": str,
    },
    cells=_line_cells, read=_line,
)
EXPECTED: Side[Expected] = Side(
    name="expected item", is_line=False, table="match_expected", open_table="open_expected",
    left_table="left_expected", free_table="free_expected", number="expected_no", identity="expected_id",
    columns={
        "expected_id": str, "uscc": str, "currency": str, "account_no": str, "expected_on": date, "amount_fen": int,
        "reference": str, "kind": str,
    },
    cells=_expected_cells, read=_expected,
)
HALVES: tuple[Half, Half] = (LINES, EXPECTED)
OPEN = ("reference_key", "reference_check", "house_key", "account_key", "day", "size_fen")
"""The columns of both open tables after `pair_key` and the number."""


def one_at_a_time(session: Session) -> None:
    """Whoever changes what is open waits for the others. SQLite has one writer anyway."""
    if not is_sqlite(session):
        session.connection().execute(text("LOCK TABLE match_pending IN SHARE ROW EXCLUSIVE MODE"))


def new_and_changed(
    session: Session, side: Side[Item], items: Iterable[Item]
) -> tuple[list[Item], list[Item]]:
    """Those of these items that are not known, and those that were different before; each sorted by its id."""
    given: dict[str, Item] = {side.cells(item)[0]: item for item in items}
    if not given:
        return [], []
    with staged(session, "given_ids", {"id": str}, ((key,) for key in given)):
        reader = Reader(session)
        known = {
            row[0]: side.read(row, reader) for row in fetch(
                session,
                f"SELECT {', '.join(f's.{name}' for name in side.columns)} FROM given_ids g"
                f" JOIN {side.table} s ON s.{side.identity} = g.id",
            )
        }
    return (
        [given[key] for key in sorted(given) if key not in known],
        [given[key] for key in sorted(given) if key in known and known[key] != given[key]],
    )


def add(session: Session, side: Side[Item], items: Sequence[Item], *, now: datetime) -> None:
    """Keep and open items that are not known; they are numbered in their order."""
    first = int(run(session, f"SELECT coalesce(max({side.number}), 0) FROM {side.table}").scalar_one()) + 1
    columns = {side.number: int, **side.columns, "recorded_at": datetime}
    numbered = list(enumerate(items, first))
    insert(session, side.table, columns, ((number, *side.cells(item), now) for number, item in numbered))
    open_again(session, side, numbered)


def open_again(session: Session, side: Side[Item], numbered: Sequence[tuple[int, Item]]) -> None:
    """Open these items, and have the next run look at them."""
    columns = {"pair_key": int, side.number: int, **dict.fromkeys(OPEN, int)}
    with uncollected():
        keys = _Keys()
        rows = sorted(keys.row(side.is_line, number, item) for number, item in numbered)
    insert(session, side.open_table, columns, rows)
    houses = sorted({(uscc, key) for (uscc, _, _), key in keys.houses.items()})
    insert_new(session, "match_houses", {"uscc": str, "house_key": int}, houses)
    insert(session, "match_pending", {"is_line": bool, "item_no": int}, (
        (side.is_line, number) for number, _ in numbered
    ))


def remove(session: Session, side: Half, ids: Collection[str]) -> None:
    """Forget items that are open."""
    with staged(session, "gone_items", {"id": str}, ((each,) for each in ids)):
        numbers = [
            (number,) for (number,) in fetch(
                session, f"SELECT s.{side.number} FROM gone_items g JOIN {side.table} s ON s.{side.identity} = g.id"
            )
        ]
    with staged(session, "gone_numbers", {"no": int}, numbers):
        gone = "(SELECT no FROM gone_numbers)"
        for table in (side.open_table, side.table):
            run(session, f"DELETE FROM {table} WHERE {side.number} IN {gone}")
        for table in ("match_pending", "match_doubts"):
            run(session, f"DELETE FROM {table} WHERE is_line = :is_line AND item_no IN {gone}", is_line=side.is_line)


def load(session: Session, side: Side[Item], source: str, **given: str | int) -> list[tuple[int, Item]]:
    """The items whose numbers a subquery gives, with those numbers."""
    reader = Reader(session)
    rows = fetch(
        session,
        f"SELECT s.{side.number}, {', '.join(f's.{name}' for name in side.columns)} FROM {side.table} s"
        f" WHERE s.{side.number} IN ({source})", **given,
    )
    with uncollected():
        return [(row[0], side.read(row[1:], reader)) for row in rows]


class _Keys:
    """Makes the keys of items; remembers those of institutions and accounts, which come again and again."""

    def __init__(self) -> None:
        self.houses: dict[tuple[str, str, bool], int] = {}
        self.accounts: dict[str, int] = {}

    def row(self, is_line: bool, number: int, item: BankLine | Expected) -> tuple[Any, ...]:
        """The cells of an open row, beginning with the pair key and the number."""
        world = (item.uscc, item.currency, item.amount_fen > 0)
        house = self.houses.get(world)
        if house is None:
            house = self.houses[world] = _words(f"{item.uscc}\0{item.currency}\0{world[2]}")[0]
        account: int | None = None
        if item.account_no is not None:
            account = self.accounts.get(item.account_no)
            if account is None:
                account = self.accounts[item.account_no] = _words(item.account_no)[0]
        size, day = abs(item.amount_fen), item.on.toordinal()
        reference = reference_key(item.reference)
        if reference is None:
            # Nobody shares it: neither side finds the other by it.
            alone = _words(f"{is_line}\0{number}")[0]
            return alone, number, None, None, house, account, day, size
        high, low = _words(f"{item.uscc}\0{item.currency}\0{world[2]}\0{reference}")
        return _signed(high ^ size * SPREAD), number, high, low, house, account, day, size


def _words(content: str) -> tuple[int, int]:
    digest = blake2b(content.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big", signed=True), int.from_bytes(digest[8:], "big", signed=True)


def _signed(value: int) -> int:
    value %= WORD
    return value - WORD if value >= WORD // 2 else value


@contextmanager
def temporary(session: Session, name: str, query: str, *, index: Sequence[str] = ()) -> Iterator[None]:
    """A temporary table of what a query finds, for the length of the block. Nothing can be bound in it."""
    run(session, f"CREATE TEMPORARY TABLE {name} AS {query}")
    for place, columns in enumerate(index):
        run(session, f"CREATE INDEX {name}_{place} ON {name} ({columns})")
    if not is_sqlite(session):
        run(session, f"ANALYZE {name}")
    yield
    run(session, f"DROP TABLE {name}")
