"""What an institution has earned of a contract's fee by a day, always from the cumulative, and where its money is.

    fee 4,800.00 for 48 lessons, 13 confirmed      entitled 1,300.00     held for the family 3,500.00
    1,000.00 for 3 lessons: 1, 2, 3 confirmed      333.33, 666.67, 1,000.00     never three times a rounded price
    4,000.00 for 40 and 20 gifts, 25 confirmed     paid first 2,500.00, blended 1,666.67

    paid = released + refunded + held, all >= 0, on every day; a ledger in which that cannot hold is Impossible
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from escrow_monitor.domain.clocks import ConfirmationClock
from escrow_monitor.domain.contracts import Charge, Contract, GiftPolicy, Lesson, LessonStatus, Refund
from escrow_monitor.domain.findings import Sentence, Value, as_text
from escrow_monitor.domain.money import Money


class Taught(NamedTuple):
    """How many lessons of a contract count by a day.

    `confirmed` by the family or by its silence; `disputed`, neither earned nor refundable until decided; `pending`:
    taught, asked for, not answered yet. `unknown`: a day is missing in the record, or the calendar ends, so that they
    cannot be counted as anything.
    """

    confirmed: int
    disputed: int
    pending: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is known of one contract. The order of charges, lessons and refunds does not matter."""

    contract: Contract
    charges: tuple[Charge, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    refunds: tuple[Refund, ...] = ()


class ImpossibleReason(StrEnum):
    """Why a ledger cannot be right as it is recorded."""

    ANOTHER_CONTRACT = "another_contract"
    CURRENCIES_MIXED = "currencies_mixed"
    AMOUNT_BELOW_ZERO = "amount_below_zero"
    NO_PAID_LESSONS = "no_paid_lessons"
    LESSONS_BELOW_ZERO = "lessons_below_zero"
    LESSON_TWICE = "lesson_twice"
    CHARGE_TWICE = "charge_twice"
    REFUND_LARGER_THAN_PAID = "refund_larger_than_paid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """A ledger that cannot be right, so that nothing is computed from it. It is reported, never bent."""

    contract_no: str
    on: date
    reason: ImpossibleReason
    values: tuple[tuple[str, Value], ...] = ()

    @property
    def why_zh(self) -> str:
        """What is wrong, in Chinese."""
        return _IMPOSSIBLE[self.reason].zh.format_map({name: as_text(value) for name, value in self.values})

    @property
    def why_en(self) -> str:
        """What is wrong, in English."""
        return _IMPOSSIBLE[self.reason].en.format_map({name: as_text(value) for name, value in self.values})

    def as_json(self) -> dict[str, object]:
        """JSON-ready: the contract, the reason and both sentences."""
        return {
            "contract_no": self.contract_no, "on": self.on.isoformat(), "impossible": self.reason.value,
            "why": self.why_zh, "why_en": self.why_en,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractAccount:
    """Where the money of one contract is at the end of day `on`.

    `paid` went to lessons up to the fee (`lessons_money`), then to materials (`materials_money`), the rest is
    `overpaid`. `entitled` is what the confirmed lessons earned of the whole fee, `disputed` what the disputed ones
    would add. `released` is what the institution may have drawn, net of what a refund took back; `held` must still be
    there. `materials_kept` is the part of `held` that is no family's any more: materials recorded as delivered.
    """

    contract_no: str
    on: date
    taught: Taught
    paid: Money
    lessons_money: Money
    materials_money: Money
    overpaid: Money
    entitled: Money
    disputed: Money
    materials_kept: Money
    refunded: Money
    released: Money
    held: Money

    @property
    def residual(self) -> Money:
        """What the three do not explain of what was paid: nothing."""
        return self.paid - self.released - self.refunded - self.held


class Split(NamedTuple):
    """Money paid by what it was for, in minor units."""

    lessons: int
    materials: int
    over: int


def entitled_fen(fee: int, taught: int, *, lessons_paid: int, lessons_gift: int, gift_policy: GiftPolicy | None) -> int:
    """What `taught` lessons have earned of `fee`, in its minor units, half up; never more than the fee.

    Where gift lessons were given and nobody agreed how they count, the fee is spread over all of them: that earns the
    institution less, so what must be held for the family and paid back to it is the larger of the two readings.
    """
    lessons = lessons_paid if gift_policy is GiftPolicy.PAID_FIRST else lessons_paid + lessons_gift
    return (2 * fee * min(taught, lessons) + lessons) // (2 * lessons)


def earned(contract: Contract, taught: int, gift_policy: GiftPolicy | None) -> int:
    """What that many lessons of a contract have earned under one reading, in minor units."""
    return entitled_fen(
        contract.fee.minor_units, taught, lessons_paid=contract.lessons_paid, lessons_gift=contract.lessons_gift,
        gift_policy=gift_policy,
    )


def split(contract: Contract, paid: int) -> Split:
    """Attribute money paid: to lessons up to the fee, to materials up to theirs, the rest is overpayment."""
    lessons = min(paid, contract.fee.minor_units)
    materials = min(paid - lessons, 0 if contract.materials_fee is None else contract.materials_fee.minor_units)
    return Split(lessons, materials, paid - lessons - materials)


def taught_by(
    lessons: Iterable[Lesson], on: date, *, clock: ConfirmationClock | None = None, taught_until: date | None = None
) -> Taught:
    """Count lessons taught on or before `taught_until` (default `on`) by what was decided on or before `on`.

    With a clock, a lesson still recorded as requested counts as confirmed from the day on which silence is consent. A
    dispute without a day is taken to have begun when the lesson was taught: it is open, and nothing says since when.
    """
    last = on if taught_until is None else taught_until
    counts = [_counts_as(lesson, on, last, clock) for lesson in lessons]
    return Taught(
        counts.count(_Counts.CONFIRMED), counts.count(_Counts.DISPUTED), counts.count(_Counts.PENDING),
        counts.count(_Counts.UNKNOWN),
    )


class _Counts(StrEnum):
    CONFIRMED = "confirmed"
    DISPUTED = "disputed"
    PENDING = "pending"
    UNKNOWN = "unknown"
    NOT = "not"


def _counts_as(lesson: Lesson, on: date, taught_until: date, clock: ConfirmationClock | None) -> _Counts:
    if lesson.status is LessonStatus.CANCELLED:
        return _Counts.NOT
    if lesson.taught_on is None:
        return _Counts.UNKNOWN
    if lesson.taught_on > taught_until:
        return _Counts.NOT
    decided_on = lesson.decided_on
    if lesson.status is LessonStatus.REQUESTED or (lesson.status is LessonStatus.DEEMED and decided_on is None):
        return _by_the_clock(lesson, on, clock)
    if lesson.status is LessonStatus.DISPUTED:
        return _Counts.DISPUTED if decided_on is None or decided_on <= on else _Counts.PENDING
    if decided_on is None:
        return _Counts.UNKNOWN
    return _Counts.CONFIRMED if decided_on <= on else _Counts.PENDING


def _by_the_clock(lesson: Lesson, on: date, clock: ConfirmationClock | None) -> _Counts:
    if clock is None or lesson.requested_on is None:
        return _Counts.UNKNOWN if lesson.status is LessonStatus.DEEMED else _Counts.PENDING
    silence = clock.silence(lesson.requested_on)
    if silence.is_consent(on):
        return _Counts.CONFIRMED
    return _Counts.UNKNOWN if silence.unknown is not None and silence.unknown.year <= on.year else _Counts.PENDING


def account_of(
    ledger: Ledger, on: date, *, clock: ConfirmationClock | None = None
) -> ContractAccount | Impossible:
    """Where the money of a contract is at the end of `on`, from what happened by then."""
    wrong = fault(ledger, on)
    if wrong is not None:
        return wrong
    contract = ledger.contract
    currency = contract.fee.currency
    taught = taught_by(ledger.lessons, on, clock=clock)
    paid = sum(charge.amount.minor_units for charge in ledger.charges if charge.paid_on <= on)
    refunded = sum(refund.amount.minor_units for refund in ledger.refunds if refund.paid_on <= on)
    parts = split(contract, paid)
    entitled = earned(contract, taught.confirmed, contract.gift_policy)
    disputed = earned(contract, taught.confirmed + taught.disputed, contract.gift_policy) - entitled
    released = min(entitled, parts.lessons, paid - refunded)
    return ContractAccount(
        contract_no=contract.contract_no, on=on, taught=taught,
        paid=Money(paid, currency),
        lessons_money=Money(parts.lessons, currency),
        materials_money=Money(parts.materials, currency),
        overpaid=Money(parts.over, currency),
        entitled=Money(entitled, currency),
        disputed=Money(disputed, currency),
        materials_kept=Money(parts.materials if contract.materials_delivered else 0, currency),
        refunded=Money(refunded, currency),
        released=Money(released, currency),
        held=Money(paid - refunded - released, currency),
    )


def fault(ledger: Ledger, on: date) -> Impossible | None:
    """Say what cannot be right in a ledger by the end of `on`, or None."""
    found = _fault_of_terms(ledger.contract) or _fault_of_rows(ledger) or _fault_of_refunds(ledger, on)
    if found is None:
        return None
    reason, values = found
    return Impossible(contract_no=ledger.contract.contract_no, on=on, reason=reason, values=tuple(values.items()))


_Fault = tuple[ImpossibleReason, dict[str, Value]]


def _fault_of_terms(contract: Contract) -> _Fault | None:
    if contract.lessons_paid < 1:
        return ImpossibleReason.NO_PAID_LESSONS, {"lessons": contract.lessons_paid}
    if contract.lessons_gift < 0:
        return ImpossibleReason.LESSONS_BELOW_ZERO, {"lessons": contract.lessons_gift}
    materials = contract.materials_fee
    if contract.fee.minor_units < 0:
        return ImpossibleReason.AMOUNT_BELOW_ZERO, {"amount": contract.fee}
    if materials is not None and materials.currency != contract.fee.currency:
        return ImpossibleReason.CURRENCIES_MIXED, {"one": contract.fee.currency, "other": materials.currency}
    if materials is not None and materials.minor_units < 0:
        return ImpossibleReason.AMOUNT_BELOW_ZERO, {"amount": materials}
    return None


def _fault_of_rows(ledger: Ledger) -> _Fault | None:
    """Check what must hold whatever the day. Of several faults the least in a fixed order is named."""
    contract_no, currency = ledger.contract.contract_no, ledger.contract.fee.currency
    rows: tuple[Charge | Lesson | Refund, ...] = (*ledger.charges, *ledger.lessons, *ledger.refunds)
    strangers = [row.contract_no for row in rows if row.contract_no != contract_no]
    if strangers:
        return ImpossibleReason.ANOTHER_CONTRACT, {"other": min(strangers)}
    amounts = [charge.amount for charge in ledger.charges] + [refund.amount for refund in ledger.refunds]
    others = [amount.currency for amount in amounts if amount.currency != currency]
    if others:
        return ImpossibleReason.CURRENCIES_MIXED, {"one": currency, "other": min(others)}
    least = min((amount.minor_units for amount in amounts), default=0)
    if least < 0:
        return ImpossibleReason.AMOUNT_BELOW_ZERO, {"amount": Money(least, currency)}
    twice = _twice(lesson.session_no for lesson in ledger.lessons)
    if twice is not None:
        return ImpossibleReason.LESSON_TWICE, {"session": twice}
    again = _twice(charge.charge_no for charge in ledger.charges)
    return None if again is None else (ImpossibleReason.CHARGE_TWICE, {"charge": again})


def _fault_of_refunds(ledger: Ledger, on: date) -> _Fault | None:
    """No more can have gone back by any day than had been paid by that day."""
    if not ledger.refunds:
        return None
    moves = [(charge.paid_on, 0, charge.amount.minor_units) for charge in ledger.charges]
    moves += [(refund.paid_on, 1, -refund.amount.minor_units) for refund in ledger.refunds]
    paid = refunded = 0
    # On one day what came in counts before what went back.
    for day, _, amount in sorted(move for move in moves if move[0] <= on):
        paid, refunded = paid + max(amount, 0), refunded - min(amount, 0)
        if refunded > paid:
            currency = ledger.contract.fee.currency
            values: dict[str, Value] = {
                "refunded": Money(refunded, currency), "paid": Money(paid, currency), "day": day
            }
            return ImpossibleReason.REFUND_LARGER_THAN_PAID, values
    return None


def _twice(keys: Iterable[int] | Iterable[str]) -> int | str | None:
    seen: set[int | str] = set()
    again: list[int | str] = []
    for key in keys:
        if key in seen:
            again.append(key)
        seen.add(key)
    return min(again, key=lambda each: (len(str(each)), str(each)), default=None)


_IMPOSSIBLE = {
    ImpossibleReason.ANOTHER_CONTRACT: Sentence(
        zh="记录中混有另一份合同 {other} 的明细", en="a row of another contract, {other}, is among its rows"
    ),
    ImpossibleReason.CURRENCIES_MIXED: Sentence(
        zh="合同内出现两种币种：{one} 和 {other}", en="two currencies in one contract: {one} and {other}"
    ),
    ImpossibleReason.AMOUNT_BELOW_ZERO: Sentence(zh="金额 {amount} 为负数", en="the amount {amount} is below zero"),
    ImpossibleReason.NO_PAID_LESSONS: Sentence(
        zh="合同的付费课时数为 {lessons}，无法按课时计算",
        en="the contract has {lessons} paid lessons, so no lesson can be priced",
    ),
    ImpossibleReason.LESSONS_BELOW_ZERO: Sentence(
        zh="赠送课时数为 {lessons}，不能为负数", en="the contract has {lessons} gift lessons, fewer than none"
    ),
    ImpossibleReason.LESSON_TWICE: Sentence(
        zh="第 {session} 次课被记录了两次", en="lesson {session} is recorded twice"
    ),
    ImpossibleReason.CHARGE_TWICE: Sentence(
        zh="缴费 {charge} 被记录了两次", en="charge {charge} is recorded twice"
    ),
    ImpossibleReason.REFUND_LARGER_THAN_PAID: Sentence(
        zh="截至 {day}，已退 {refunded}，超过已缴 {paid}",
        en="by {day} {refunded} had gone back, more than the {paid} paid by then",
    ),
}
