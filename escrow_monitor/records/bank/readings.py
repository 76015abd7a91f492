"""The balances that banks stated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.records.bank.breaks import note_stated
from escrow_monitor.records.bulk import ByColumn, Reader, insert_new, run, staged
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


def record_readings(
    session: Session, items: Sequence[Reading], *, now: datetime, by_statement: bool = False
) -> int:
    """Keep readings that are new; return how many were.

    Those that a bank states by itself, not `by_statement`, are held against the days that its statements cover.
    """
    if not items:
        return 0
    # Of one kind nearly all cells say the same in thousands of rows.
    by_kind = [item for kind in BalanceKind for item in items if item.kind is kind]
    accounts, kinds, amounts, days, as_of, fetched_at, final, sources, raw_sha256s = zip(*by_kind, strict=True)
    added = insert_new(session, "readings", _READING, ByColumn((
        accounts, as_of, list(map(str, kinds)), list(map(_MINOR_UNITS, amounts)), final, days, fetched_at, sources,
        raw_sha256s, (now,) * len(items),
    )))
    if not by_statement:
        _hold_against_days(session, items, now=now)
    return added


def _hold_against_days(session: Session, items: Sequence[Reading], *, now: datetime) -> None:
    closings = [item for item in items if item.final and item.kind is BalanceKind.BOOKED_CLOSING]
    if not closings:
        return
    accounts, kinds, amounts, days, _, fetched_at, final, _, _ = zip(*closings, strict=True)
    cells = (accounts, list(map(str, kinds)), list(map(_MINOR_UNITS, amounts)), final, days, fetched_at)
    with staged(session, "incoming_readings", _CLOSING, ByColumn(cells)):
        note_stated(session, now=now)


_MINOR_UNITS = attrgetter("minor_units")
_READING = {
    "account_no": str, "as_of": datetime, "kind": str, "amount_fen": int, "final": bool, "day": date,
    "fetched_at": datetime, "source": str, "raw_sha256": str, "recorded_at": datetime,
}
_CLOSING = {
    "account_no": str, "kind": str, "amount_fen": int, "final": bool, "day": date, "fetched_at": datetime,
}
_SLOT = {"fen": int, "kind": str, "day": date, "as_of": datetime, "fetched_at": datetime, "final": bool}
_SLOTS = ("booked", "closing", "held", "available")


_SLOTS_OF = {
    # Which of the account's newest balances a reading may become, by its kind and finality.
    (BalanceKind.BOOKED_CLOSING, True): ("booked", "closing"),
    (BalanceKind.BOOKED_CLOSING, False): ("booked",),
    **{(BalanceKind.BOOKED_INTRADAY, final): ("booked",) for final in (True, False)},
    **{(BalanceKind.HELD, final): ("held",) for final in (True, False)},
    **{(BalanceKind.AVAILABLE, final): ("available",) for final in (True, False)},
}


def newest_readings(items: Iterable[Reading]) -> dict[str, dict[str, Reading]]:
    """For each slot that occurs the newest reading of each account: by the bank's time, then final before not, then by
    ours."""
    newest: dict[str, dict[str, Reading]] = {slot: {} for slot in _SLOTS}
    for item in items:
        for slot in _SLOTS_OF[item.kind, item.final]:
            held = newest[slot].setdefault(item.account_no, item)
            if held is not item and (
                (held.as_of, held.final, held.fetched_at) <= (item.as_of, item.final, item.fetched_at)
            ):
                newest[slot][item.account_no] = item
    return {slot: held for slot, held in newest.items() if held}


def move_balances(slots: Iterable[str]) -> str:
    """The SET part that moves an account's balances forward to those staged as `i`, never back in the bank's time."""
    return ", ".join(
        f"{slot}_{part} = CASE WHEN {_is_newer(slot)} THEN i.{slot}_{part} ELSE account_states.{slot}_{part} END"
        for slot in slots for part in _SLOT
    )


def is_news(slots: Iterable[str]) -> str:
    """A condition: the balances staged as `i` move the account's forward to what a rule could see as new.

    The same figure of the same day, stated again, only grows younger. That is news to no rule while the one we had
    could not have been too old for any (`:fresh_from`, an instant): the standing says itself when to look again.
    """
    return " OR ".join(
        f"({_is_newer(slot)} AND (account_states.{slot}_as_of IS NULL"
        f" OR (account_states.{slot}_as_of < :fresh_from AND i.{slot}_as_of > account_states.{slot}_as_of)"
        + "".join(f" OR i.{slot}_{part} <> account_states.{slot}_{part}" for part in ("fen", "kind", "day", "final"))
        + "))"
        for slot in slots
    ) or "false"


def is_more_than_a_balance(slots: Iterable[str]) -> str:
    """A condition: what is staged as `i` is news by more than the amount and time of a balance that is not final.

    The day, kind and finality of the booked balance, and all of the closing and the held one, are facts that the rules
    tell apart. Of what is available no rule speaks.
    """
    return " OR ".join(
        f"({_is_newer(slot)} AND (account_states.{slot}_as_of IS NULL"
        + "".join(f" OR i.{slot}_{part} <> account_states.{slot}_{part}" for part in parts)
        + "))"
        for slot, parts in (
            ("booked", ("kind", "day", "final")), ("closing", ("fen", "kind", "day", "final")),
            ("held", ("fen", "kind", "day", "final")),
        )
        if slot in slots
    ) or "false"


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


def balance_cells(newest: Mapping[str, Mapping[str, Reading]], account_nos: Sequence[str]) -> list[Sequence[Any]]:
    """The cells for `balance_columns` of these accounts, by column: NULL where a slot has nothing of an account."""
    columns: list[Sequence[Any]] = []
    for held in newest.values():
        _, kinds, amounts, days, as_of, fetched_at, final, _, _ = zip(
            *(held.get(account_no, _NOTHING) for account_no in account_nos), strict=True
        )
        columns += (
            [None if amount is None else amount.minor_units for amount in amounts],
            [None if kind is None else str(kind) for kind in kinds], days, as_of, fetched_at, final,
        )
    return columns


_NOTHING = (None,) * len(Reading._fields)
