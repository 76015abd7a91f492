"""What families claim back."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.contracts import Cause, RefundClaim
from escrow_monitor.domain.money import Money, decimal_text
from escrow_monitor.records.bulk import Cells, Reader, fetch
from escrow_monitor.records.columns import Row, exact, fen, one_of
from escrow_monitor.records.contracts.amounts import THOUSANDTHS, cannot_be_kept, in_minor_units, units_of, why_not_kept
from escrow_monitor.records.contracts.case_book import note_changed_claims, open_cases
from escrow_monitor.records.incoming import Arrived, RowFault, Shape, arriving, drop_known, merge, without


class RefundClaimRow(Row, table=True):
    """Money claimed back. `amount_fen` NULL: as much as is due."""

    __tablename__ = "refund_claims"
    __table_args__ = (
        CheckConstraint(one_of("cause", Cause), "cause"),
        CheckConstraint(exact("amount_fen"), "amount_fen"),
    )

    claim_no: str = Field(primary_key=True)
    contract_no: str = Field(index=True)
    claimed_on: date = Field(index=True)
    amount_fen: int | None = fen(default=None)
    currency: str
    cause: str
    note: str = ""
    recorded_at: datetime
    changed_at: datetime


SHAPE = Shape(table="refund_claims", keys=("claim_no",), columns={
    "claim_no": str, "contract_no": str, "claimed_on": date, "amount_fen": int, "currency": str, "cause": str,
    "note": str,
})
"""The cells of a refund claim, in this order."""


def record_refund_claims(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep claims given as (line, cells of SHAPE, amount in thousandths), no key twice; what does not fit is said.

    A claim that is new opens its case, one that is changed is noted on it. `amount_fen` is given as None: how fine the
    currency is, the contract says. `currency` None is the contract's.
    """
    with arriving(session, SHAPE, rows, **{THOUSANDTHS: int}):
        faults = _faults(session)
        without(session, SHAPE, faults)
        in_minor_units(session, SHAPE)
        new, changed = drop_known(session, SHAPE)
        if changed:
            note_changed_claims(session, SHAPE.staged, now=now)
        keys = merge(session, SHAPE, changed=changed, now=now)
        open_cases(session, SHAPE.staged, now=now)
    return Arrived(faults=tuple(faults), new=new, changed=changed, changed_keys=keys)


def refund_claims(
    session: Session, *, contract_nos: Sequence[str] | None = None, claim_nos: Sequence[str] | None = None
) -> list[RefundClaim]:
    """The claims that fit all that is asked, by contract and day."""
    on = Reader(session).on
    given = {name: value for name, value in (("contract_no", contract_nos), ("claim_no", claim_nos))
             if value is not None}
    where = " AND ".join(f"{name} IN EACH(:{name})" for name in given)
    rows = fetch(
        session,
        f"SELECT {', '.join(SHAPE.columns)} FROM refund_claims WHERE {where or 'true'}"
        " ORDER BY contract_no, claimed_on, claim_no", **given,
    )
    return [
        RefundClaim(
            claim_no=row[0], contract_no=row[1], claimed_on=on(row[2]),
            amount=None if row[3] is None else Money(row[3], row[4]), cause=Cause(row[5]), note=row[6],
        )
        for row in rows
    ]


def _faults(session: Session) -> list[RowFault]:
    day = Reader(session).day
    faults = []
    for row in fetch(session, _WRONG):
        line, contract_no, claimed_on, thousandths, currency, of, signed_on, fen_each, is_unfit, paid = row
        if of is None:
            faults.append(RowFault(line, "contract_no", contract_no, "no such contract: import it first"))
        elif currency is not None and currency != of:
            faults.append(RowFault(line, "currency", currency, f"two currencies: the contract is in {of}"))
        elif day(claimed_on) < day(signed_on):  # type: ignore[operator]  # neither column is ever NULL
            reason = f"claimed before the contract was signed on {day(signed_on)}"
            faults.append(RowFault(line, "claimed_on", str(day(claimed_on)), reason))
        elif is_unfit:
            faults.append(RowFault(line, "amount", *why_not_kept(thousandths, of)))
        else:
            by_then = f"more than the {decimal_text(int(paid), of)} {of} paid under the contract by {day(claimed_on)}"
            faults.append(RowFault(line, "amount", decimal_text(thousandths // fen_each, of), by_then))
    return faults


_WRONG = f"""
    SELECT * FROM (
        SELECT i.line, i.contract_no, i.claimed_on, i.{THOUSANDTHS} AS thousandths, i.currency AS named,
            k.currency AS kept, k.signed_on AS signed_on, {units_of('k.currency')} AS fen_each,
            {cannot_be_kept(f"i.{THOUSANDTHS}", "k.currency")} AS is_unfit,
            coalesce((SELECT sum(c.amount_fen) FROM charges c
                WHERE c.contract_no = i.contract_no AND c.paid_on <= i.claimed_on), 0) AS paid
        FROM incoming_refund_claims i LEFT JOIN contracts k ON k.contract_no = i.contract_no
    ) AS found
    WHERE kept IS NULL OR named <> kept OR claimed_on < signed_on OR is_unfit
        OR thousandths > paid * fen_each
"""
