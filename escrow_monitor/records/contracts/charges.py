"""What families paid under their contracts."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.contracts import Charge
from escrow_monitor.domain.money import Money, exponent
from escrow_monitor.records.bulk import Cells, Reader, fetch
from escrow_monitor.records.columns import Row, exact, fen
from escrow_monitor.records.contracts.amounts import THOUSANDTHS, cannot_be_kept, in_minor_units, why_not_kept
from escrow_monitor.records.incoming import Arrived, RowFault, Shape, arriving, drop_known, merge, touch, without


class ChargeRow(Row, table=True):
    """One payment of a family. It belongs to a contract that is recorded; that is checked where rows arrive."""

    __tablename__ = "charges"
    __table_args__ = (CheckConstraint(exact("amount_fen"), "amount_fen"),)

    charge_no: str = Field(primary_key=True)
    contract_no: str = Field(index=True)
    paid_on: date = Field(index=True)
    amount_fen: int = fen()
    currency: str
    channel: str | None = None
    account_no: str | None = Field(default=None, index=True)
    bank_ref: str | None = Field(default=None, index=True)
    recorded_at: datetime
    changed_at: datetime


SHAPE = Shape(table="charges", keys=("charge_no",), columns={
    "charge_no": str, "contract_no": str, "paid_on": date, "amount_fen": int, "currency": str, "channel": str,
    "account_no": str, "bank_ref": str,
})
"""The cells of a charge, in this order."""


def record_charges(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep charges given as (line, cells of SHAPE, amount in thousandths), no key twice; what does not fit is said.

    `amount_fen` is given as None: how fine the currency is, the contract says. `currency` None is the contract's.
    Runs inside `contract_sums.kept_up`.
    """
    with arriving(session, SHAPE, rows, **{THOUSANDTHS: int}):
        faults = _faults(session)
        without(session, SHAPE, faults)
        in_minor_units(session, SHAPE)
        new, changed = drop_known(session, SHAPE)
        touch(session, "SELECT DISTINCT contract_no FROM incoming_charges WHERE true")
        if changed:
            # Moved to another contract, it is missing from the one it was under.
            touch(session, "SELECT DISTINCT c.contract_no FROM charges c JOIN incoming_charges i"
                           " ON i.charge_no = c.charge_no WHERE true")
        keys = merge(session, SHAPE, changed=changed, now=now)
    return Arrived(faults=tuple(faults), new=new, changed=changed, changed_keys=keys)


def save_charges(session: Session, items: Iterable[Charge], *, now: datetime) -> int:
    """Keep charges; return how many are new or changed. Raises UsageError where one does not fit what is recorded.

    Runs inside `contract_sums.kept_up`.
    """
    arrived = record_charges(session, (
        (
            place, one.charge_no, one.contract_no, one.paid_on, None, one.amount.currency, one.channel, one.account_no,
            one.bank_ref, one.amount.minor_units * 10 ** (3 - exponent(one.amount.currency)),
        )
        for place, one in enumerate(items, 1)
    ), now=now)
    return arrived.all_or_refused()


def charges(session: Session, contract_nos: Sequence[str]) -> list[Charge]:
    """The charges under these contracts, by contract and day."""
    on = Reader(session).on
    rows = fetch(
        session,
        f"SELECT {', '.join(SHAPE.columns)} FROM charges WHERE contract_no IN EACH(:contract_nos)"
        " ORDER BY contract_no, paid_on, charge_no", contract_nos=contract_nos,
    )
    return [
        Charge(
            charge_no=row[0], contract_no=row[1], paid_on=on(row[2]), amount=Money(row[3], row[4]), channel=row[5],
            account_no=row[6], bank_ref=row[7],
        )
        for row in rows
    ]


def _faults(session: Session) -> list[RowFault]:
    day = Reader(session).day
    faults = []
    for line, contract_no, paid_on, thousandths, currency, account_no, of, signed_on, kept_in in fetch(session, _WRONG):
        if of is None:
            faults.append(RowFault(line, "contract_no", contract_no, "no such contract: import it first"))
        elif currency is not None and currency != of:
            faults.append(RowFault(line, "currency", currency, f"two currencies: the contract is in {of}"))
        elif kept_in is not None and kept_in != of:
            reason = f"two currencies: the contract is in {of}, this account is kept in {kept_in}"
            faults.append(RowFault(line, "account_no", account_no, reason))
        elif day(paid_on) < day(signed_on):  # type: ignore[operator]  # neither column is ever NULL
            reason = f"paid before the contract was signed on {day(signed_on)}"
            faults.append(RowFault(line, "paid_on", str(day(paid_on)), reason))
        elif account_no is not None and kept_in is None:
            faults.append(RowFault(line, "account_no", account_no, "no such account: import it first"))
        else:
            faults.append(RowFault(line, "amount", *why_not_kept(thousandths, of)))
    return faults


_WRONG = f"""
    SELECT i.line, i.contract_no, i.paid_on, i.{THOUSANDTHS}, i.currency, i.account_no, k.currency, k.signed_on,
        a.currency
    FROM incoming_charges i
    LEFT JOIN contracts k ON k.contract_no = i.contract_no
    LEFT JOIN accounts a ON a.account_no = i.account_no
    WHERE k.contract_no IS NULL OR i.currency <> k.currency OR a.currency <> k.currency OR i.paid_on < k.signed_on
        OR (i.account_no IS NOT NULL AND a.account_no IS NULL) OR {cannot_be_kept(f"i.{THOUSANDTHS}", "k.currency")}
"""
