"""The balances that banks stated."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.records.bulk import Reader, fetch, run, staged
from escrow_monitor.records.columns import Row, exact, fen, one_of

if TYPE_CHECKING:
    from typing import Any


class ReadingRow(Row, table=True):
    """One balance a bank stated. Never changed: a correction is another row."""

    __tablename__ = "readings"
    __table_args__ = (
        CheckConstraint(one_of("kind", BalanceKind), "kind"), CheckConstraint(exact("amount_fen"), "amount_fen"),
    )

    account_no: str = Field(primary_key=True)
    as_of: datetime = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    amount_fen: int = fen(primary_key=True)
    final: bool = Field(primary_key=True)
    day: date
    fetched_at: datetime
    source: str
    raw_sha256: str
    recorded_at: datetime


def readings(session: Session, account_no: str, *, limit: int = 100) -> list[Reading]:
    """The balances stated of an account, newest first by the bank's clock."""
    reader = Reader(session)
    rows = run(
        session,
        "SELECT r.kind, r.amount_fen, a.currency, r.day, r.as_of, r.fetched_at, r.final, r.source, r.raw_sha256"
        " FROM readings r JOIN accounts a ON a.account_no = r.account_no WHERE r.account_no = :account_no"
        " ORDER BY r.as_of DESC, r.fetched_at DESC, r.kind LIMIT :limit", account_no=account_no, limit=limit,
    )
    return [
        Reading(
            account_no=account_no, kind=BalanceKind(row[0]), amount=Money(row[1], row[2]), on=reader.on(row[3]),
            as_of=reader.at(row[4]), fetched_at=reader.at(row[5]), final=bool(row[6]), source=row[7], raw_sha256=row[8],
        )
        for row in rows
    ]


# for the other tables of this room


def record_readings(session: Session, items: Sequence[Reading], *, now: datetime) -> list[str]:
    """Keep readings that are new; return the account of each one that was, repeated as often."""
    if not items:
        return []
    names = ", ".join(_READING)
    rows = (
        (
            item.account_no, item.as_of, item.kind.value, item.amount.minor_units, item.final, item.on,
            item.fetched_at, item.source, item.raw_sha256,
        )
        for item in items
    )
    with staged(session, "incoming_readings", _READING, rows):
        added = fetch(
            session,
            f"INSERT INTO readings ({names}, recorded_at) SELECT {names}, :now FROM incoming_readings WHERE true"
            " ON CONFLICT (account_no, as_of, kind, amount_fen, final) DO NOTHING RETURNING account_no", now=now,
        )
        return [account_no for (account_no,) in added]


_READING = {
    "account_no": str, "as_of": datetime, "kind": str, "amount_fen": int, "final": bool, "day": date,
    "fetched_at": datetime, "source": str, "raw_sha256": str,
}
_SLOT = {"fen": int, "kind": str, "day": date, "as_of": datetime, "fetched_at": datetime, "final": bool}
_SLOTS = ("booked", "closing", "held", "available")


def _slots(reading: Reading) -> tuple[str, ...]:
    """Which of the account's newest balances a reading may become."""
    if reading.kind is BalanceKind.BOOKED_CLOSING and reading.final:
        return ("booked", "closing")
    if reading.kind in (BalanceKind.BOOKED_CLOSING, BalanceKind.BOOKED_INTRADAY):
        return ("booked",)
    return ("held",) if reading.kind is BalanceKind.HELD else ("available",)


def newest_readings(items: Iterable[Reading]) -> dict[str, dict[str, Reading]]:
    """The newest reading of each account for each slot: by the bank's time, then final before not, then by ours."""
    newest: dict[str, dict[str, Reading]] = {}
    for item in items:
        slots = newest.setdefault(item.account_no, {})
        for slot in _slots(item):
            held = slots.get(slot)
            if held is None or (held.as_of, held.final, held.fetched_at) <= (item.as_of, item.final, item.fetched_at):
                slots[slot] = item
    return newest


def move_balances(slots: Iterable[str]) -> str:
    """The SET part that moves an account's balances forward to those staged as `i`, never back in the bank's time."""
    return ", ".join(
        f"{slot}_{part} = CASE WHEN {_is_newer(slot)} THEN i.{slot}_{part} ELSE account_states.{slot}_{part} END"
        for slot in slots for part in _SLOT
    )


def _is_newer(slot: str) -> str:
    mine, theirs = f"account_states.{slot}", f"i.{slot}"
    return (
        f"{theirs}_as_of IS NOT NULL AND ({mine}_as_of IS NULL OR {theirs}_as_of > {mine}_as_of"
        f" OR ({theirs}_as_of = {mine}_as_of AND ({theirs}_final OR NOT {mine}_final)"
        f" AND {theirs}_fetched_at >= {mine}_fetched_at))"
    )


def balance_columns(slots: Iterable[str]) -> dict[str, type]:
    """The staged columns of these slots."""
    return {f"{slot}_{part}": kind for slot in slots for part, kind in _SLOT.items()}


def balance_cells(newest: Mapping[str, Reading], slots: Iterable[str]) -> Iterator[Any]:
    """The cells for `balance_columns`."""
    for slot in slots:
        reading = newest.get(slot)
        if reading is None:
            yield from (None,) * len(_SLOT)
        else:
            yield reading.amount.minor_units
            yield reading.kind.value
            yield reading.on
            yield reading.as_of
            yield reading.fetched_at
            yield reading.final


def slots_of(newest: Mapping[str, Mapping[str, Reading]]) -> tuple[str, ...]:
    """The slots that occur."""
    seen = {slot for slots in newest.values() for slot in slots}
    return tuple(slot for slot in _SLOTS if slot in seen)
