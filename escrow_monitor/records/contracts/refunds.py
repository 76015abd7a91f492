"""Money that has gone back to families and was seen in the bank."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.contracts import Refund
from escrow_monitor.domain.money import Money
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bulk import Reader, fetch, run
from escrow_monitor.records.closure_marks import mark_where
from escrow_monitor.records.columns import Row, exact, fen
from escrow_monitor.records.incoming import Shape, arriving, drop_known, merge, touch


class RefundRow(Row, table=True):
    """One refund under one contract. `refund_no` is given by what saw it: a match is taken back by its name."""

    __tablename__ = "refunds"
    __table_args__ = (CheckConstraint(exact("amount_fen"), "amount_fen"),)

    refund_no: str = Field(primary_key=True)
    contract_no: str = Field(index=True)
    paid_on: date
    amount_fen: int = fen()
    currency: str
    claim_no: str | None = Field(default=None, index=True)
    recorded_at: datetime
    changed_at: datetime


SHAPE = Shape(table="refunds", keys=("refund_no",), columns={
    "refund_no": str, "contract_no": str, "paid_on": date, "amount_fen": int, "currency": str, "claim_no": str,
})


def save_refunds(session: Session, items: Mapping[str, Refund], *, now: datetime) -> int:
    """Keep refunds by their number; return how many are new or changed. Runs inside `contract_sums.kept_up`.

    Raises UsageError for an unknown contract or another currency than the contract's.
    """
    rows = [
        (place, number, one.contract_no, one.paid_on, one.amount.minor_units, one.amount.currency, one.claim_no)
        for place, (number, one) in enumerate(items.items(), 1)
    ]
    with arriving(session, SHAPE, rows):
        _check(session)
        new, changed = drop_known(session, SHAPE)
        touch(session, "SELECT DISTINCT contract_no FROM incoming_refunds WHERE true")
        touch(session, "SELECT DISTINCT r.contract_no FROM refunds r JOIN incoming_refunds i"
                       " ON i.refund_no = r.refund_no WHERE true")
        merge(session, SHAPE, changed=changed, now=now)
    return new + changed


def remove_refunds(session: Session, refund_nos: Sequence[str]) -> int:
    """Take refunds back, as when a match is undone; return how many there were. Runs inside `contract_sums.kept_up`."""
    touch(
        session, "SELECT DISTINCT contract_no FROM refunds WHERE refund_no IN EACH(:refund_nos)", refund_nos=refund_nos
    )
    mark_where(
        session, "SELECT k.uscc, r.paid_on AS day FROM refunds r JOIN contracts k ON k.contract_no = r.contract_no"
        " WHERE r.refund_no IN EACH(:refund_nos)", refund_nos=list(refund_nos),
    )
    return run(session, "DELETE FROM refunds WHERE refund_no IN EACH(:refund_nos)", refund_nos=refund_nos).rowcount


def refunds(session: Session, contract_nos: Sequence[str]) -> list[Refund]:
    """What went back under these contracts, by contract and day."""
    on = Reader(session).on
    rows = fetch(
        session,
        f"SELECT {', '.join(SHAPE.columns)} FROM refunds WHERE contract_no IN EACH(:contract_nos)"
        " ORDER BY contract_no, paid_on, refund_no", contract_nos=contract_nos,
    )
    return [
        Refund(contract_no=row[1], paid_on=on(row[2]), amount=Money(row[3], row[4]), claim_no=row[5]) for row in rows
    ]


def _check(session: Session) -> None:
    wrong = run(
        session,
        "SELECT i.refund_no, i.contract_no, i.currency, k.currency FROM incoming_refunds i"
        " LEFT JOIN contracts k ON k.contract_no = i.contract_no"
        " WHERE k.contract_no IS NULL OR k.currency <> i.currency ORDER BY i.line",
    ).first()
    if wrong is None:
        return
    if wrong[3] is None:
        raise UsageError(f"refund {wrong[0]}: there is no contract {wrong[1]}")
    raise UsageError(f"refund {wrong[0]}: it is in {wrong[2]}, its contract {wrong[1]} in {wrong[3]}")
