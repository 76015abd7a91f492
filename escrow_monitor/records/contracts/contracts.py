"""What families and institutions agreed."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.contracts import Contract, DeadlineUnit, GiftPolicy, SubjectKind
from escrow_monitor.domain.money import Money
from escrow_monitor.records.bulk import Cells, Reader, fetch, run
from escrow_monitor.records.columns import Row, exact, fen, large, one_of
from escrow_monitor.records.incoming import Arrived, RowFault, Shape, arriving, drop_known, merge, touch, without


class ContractRow(Row, table=True):
    """One contract. What is NULL was not agreed, or is not known. Rates are exact text: `0.0005`, or `1/3`."""

    __tablename__ = "contracts"
    __table_args__ = (
        CheckConstraint(one_of("subject_kind", SubjectKind), "subject_kind"),
        CheckConstraint(one_of("gift_policy", GiftPolicy), "gift_policy"),
        CheckConstraint(one_of("refund_deadline_unit", DeadlineUnit), "refund_deadline_unit"),
        CheckConstraint(exact("fee_fen"), "fee_fen"),
        CheckConstraint(exact("materials_fee_fen"), "materials_fee_fen"),
    )

    contract_no: str = Field(primary_key=True)
    uscc: str = Field(index=True)
    student_ref: str
    course: str
    subject_kind: str | None = None
    signed_on: date
    starts_on: date | None = None
    ends_on: date | None = None
    lessons_paid: int = large()
    lessons_gift: int = large(default=0)
    gift_policy: str | None = None
    currency: str
    fee_fen: int = fen()
    materials_fee_fen: int | None = fen(default=None)
    materials_delivered: bool | None = None
    full_refund_days_before: int | None = large(default=None)
    full_refund_days_after: int | None = large(default=None)
    full_refund_lessons: int | None = large(default=None)
    prior_same_service: bool | None = None
    refund_deadline_days: int | None = large(default=None)
    refund_deadline_unit: str | None = None
    late_daily_rate: str | None = None
    penalty_pct_remaining: str | None = None
    template_id: str | None = None
    status: str | None = None
    recorded_at: datetime
    changed_at: datetime


SHAPE = Shape(table="contracts", keys=("contract_no",), columns={
    "contract_no": str, "uscc": str, "student_ref": str, "course": str, "subject_kind": str, "signed_on": date,
    "starts_on": date, "ends_on": date, "lessons_paid": int, "lessons_gift": int, "gift_policy": str, "currency": str,
    "fee_fen": int, "materials_fee_fen": int, "materials_delivered": bool, "full_refund_days_before": int,
    "full_refund_days_after": int, "full_refund_lessons": int, "prior_same_service": bool, "refund_deadline_days": int,
    "refund_deadline_unit": str, "late_daily_rate": str, "penalty_pct_remaining": str, "template_id": str,
    "status": str,
})
"""The cells of a contract, in this order."""

PLACES_MAX = 30
"""A rate that needs more decimals than this is kept as a fraction."""


def record_contracts(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep contracts given as (line, cells of SHAPE), no key twice; what does not fit is left out and said.

    Runs inside `contract_sums.kept_up`.
    """
    with arriving(session, SHAPE, rows):
        faults = _faults(session)
        without(session, SHAPE, faults)
        new, changed = drop_known(session, SHAPE)
        touch(session, "SELECT contract_no FROM incoming_contracts WHERE true")
        keys = merge(session, SHAPE, changed=changed, now=now)
    return Arrived(faults=tuple(faults), new=new, changed=changed, changed_keys=keys)


def save_contracts(session: Session, items: Iterable[Contract], *, now: datetime) -> int:
    """Keep contracts; return how many are new or changed. Raises UsageError where one does not fit what is recorded.

    Runs inside `contract_sums.kept_up`.
    """
    arrived = record_contracts(session, ((place, *_cells(item)) for place, item in enumerate(items, 1)), now=now)
    return arrived.all_or_refused()


def contracts(
    session: Session, *, contract_nos: Sequence[str] | None = None, uscc: str | None = None, after: str | None = None,
    limit: int | None = None,
) -> list[Contract]:
    """The contracts that fit all that is asked, by number; those behind the number `after`."""
    given: dict[str, Any] = {}
    where = []
    if after is not None:
        where.append("contract_no > :after")
        given["after"] = after
    if uscc is not None:
        where.append("uscc = :uscc")
        given["uscc"] = uscc
    if contract_nos is not None:
        where.append("contract_no IN EACH(:contract_nos)")
        given["contract_nos"] = contract_nos
    rows = fetch(
        session,
        f"SELECT {', '.join(SHAPE.columns)} FROM contracts WHERE {' AND '.join(where) or 'true'} ORDER BY contract_no"
        + ("" if limit is None else f" LIMIT {limit:d}"),
        **given,
    )
    return list(map(contract_reader(Reader(session)), rows))


def contract(session: Session, contract_no: str) -> Contract | None:
    """One contract."""
    return next(iter(contracts(session, contract_nos=[contract_no])), None)


def contract_count(session: Session) -> int:
    """How many contracts are recorded."""
    return int(run(session, "SELECT count(*) FROM contracts").scalar_one())


def contract_reader(reader: Reader) -> Callable[[Sequence[Any]], Contract]:
    """Return what makes a Contract of a row that begins with the cells of SHAPE."""
    day, on = reader.day, reader.on

    def read(row: Sequence[Any]) -> Contract:
        currency = row[11]
        return Contract(
            contract_no=row[0], uscc=row[1], student_ref=row[2], course=row[3],
            subject_kind=SubjectKind(row[4]) if row[4] else None,
            signed_on=on(row[5]), starts_on=day(row[6]), ends_on=day(row[7]),
            lessons_paid=row[8], lessons_gift=row[9], gift_policy=GiftPolicy(row[10]) if row[10] else None,
            fee=Money(row[12], currency), materials_fee=None if row[13] is None else Money(row[13], currency),
            materials_delivered=_claim(row[14]), full_refund_days_before=row[15], full_refund_days_after=row[16],
            full_refund_lessons=row[17], prior_same_service=_claim(row[18]), refund_deadline_days=row[19],
            refund_deadline_unit=DeadlineUnit(row[20]) if row[20] else None,
            late_daily_rate=_rate(row[21]), penalty_pct_remaining=_rate(row[22]), template_id=row[23], status=row[24],
        )

    return read


def exact_text(rate: Fraction | None) -> str | None:
    """A rate as it is kept: its shortest plain decimal, or as a fraction where there is none."""
    if rate is None:
        return None
    places = 0
    while 10**places % rate.denominator:
        places += 1
        if places > PLACES_MAX:
            return str(rate)
    if not places:
        return str(rate.numerator)
    whole, part = divmod(abs(rate.numerator) * 10**places // rate.denominator, 10**places)
    return f"{'-' if rate < 0 else ''}{whole}.{part:0{places}d}"


def _claim(cell: Any) -> bool | None:
    return None if cell is None else bool(cell)


def _rate(cell: str | None) -> Fraction | None:
    return None if cell is None else Fraction(cell)


def _cells(item: Contract) -> Cells:
    return (
        item.contract_no, item.uscc, item.student_ref, item.course, item.subject_kind and item.subject_kind.value,
        item.signed_on, item.starts_on, item.ends_on, item.lessons_paid, item.lessons_gift,
        item.gift_policy and item.gift_policy.value, item.fee.currency, item.fee.minor_units,
        None if item.materials_fee is None else item.materials_fee.minor_units, item.materials_delivered,
        item.full_refund_days_before, item.full_refund_days_after, item.full_refund_lessons, item.prior_same_service,
        item.refund_deadline_days, item.refund_deadline_unit and item.refund_deadline_unit.value,
        exact_text(item.late_daily_rate), exact_text(item.penalty_pct_remaining), item.template_id, item.status,
    )


def _faults(session: Session) -> list[RowFault]:
    """Unknown institutions, and changes that would contradict what was recorded under the contract."""
    day = Reader(session).day
    unknown = fetch(
        session,
        "SELECT i.line, i.uscc FROM incoming_contracts i"
        " WHERE NOT EXISTS (SELECT 1 FROM institutions n WHERE n.uscc = i.uscc)",
    )
    faults = [RowFault(line, "uscc", uscc, "no such institution: import it first") for line, uscc in unknown]
    for line, currency, was, signed_on, paid_on, taught_on in fetch(session, _CONTRADICTIONS):
        if currency != was:
            faults.append(RowFault(
                line, "currency", currency, f"the contract is recorded in {was}, and that cannot become {currency}"
            ))
        elif paid_on is not None:
            reason = f"a charge under this contract was paid on {day(paid_on)}, before that day"
            faults.append(RowFault(line, "signed_on", str(day(signed_on)), reason))
        else:
            reason = f"a lesson under this contract was taught on {day(taught_on)}, before that day"
            faults.append(RowFault(line, "signed_on", str(day(signed_on)), reason))
    return faults


_CONTRADICTIONS = """
    SELECT line, currency, was, signed_on, paid_on, taught_on FROM (
        SELECT i.line AS line, i.currency AS currency, k.currency AS was, i.signed_on AS signed_on,
            CASE WHEN i.signed_on > k.signed_on THEN (SELECT min(c.paid_on) FROM charges c
                WHERE c.contract_no = i.contract_no AND c.paid_on < i.signed_on) END AS paid_on,
            CASE WHEN i.signed_on > k.signed_on THEN (SELECT min(l.taught_on) FROM lessons l
                WHERE l.contract_no = i.contract_no AND l.taught_on < i.signed_on) END AS taught_on
        FROM incoming_contracts i JOIN contracts k ON k.contract_no = i.contract_no
    ) AS found WHERE currency <> was OR paid_on IS NOT NULL OR taught_on IS NOT NULL
"""
