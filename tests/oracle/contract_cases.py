"""Contracts drawn at random, as plain rows, and the same as the program's values."""

from __future__ import annotations

import random
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.clauses import (
    Clause,
    ClauseKind,
    Found,
    LessonConfirmation,
    RefundPayment,
    SevenDayRight,
    Source,
)
from escrow_monitor.domain.contracts import Charge, Contract, DeadlineUnit, GiftPolicy, Lesson, LessonStatus, Refund
from escrow_monitor.domain.entitlement import Ledger
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import RefundTerms

Row = dict[str, Any]
FIRST = date(2025, 3, 1)
CALENDAR = calendar_for("CN")
CAUSES = ("consumer", "institution", "force_majeure", "window")
STATUSES = ("confirmed",) * 6 + ("requested",) * 2 + ("deemed", "disputed", "cancelled")


def draw(rng: random.Random, number: int = 0) -> Row:
    """One contract with its rows, its law, and a question: `on`, `claimed_on`, `cause`. Days over some ten months."""
    signed_on = FIRST + timedelta(days=rng.randrange(200))
    starts_on = _maybe(rng, signed_on + timedelta(days=rng.randrange(40)), 0.1)
    lessons_paid, lessons_gift = rng.choice((1, 3, 7, 20, 40, 48, 60)), rng.choice((0, 0, 0, 1, 5, 20))
    fee = rng.choice((0, 1, 99_999, 100_000, 480_000, rng.randrange(1_000_000)))
    materials_fee = _maybe(rng, 20_000, 0.5)
    contract: Row = {
        "contract_no": f"HT-{number}", "signed_on": signed_on, "starts_on": starts_on, "lessons_paid": lessons_paid,
        "lessons_gift": lessons_gift, "fee": fee, "materials_fee": materials_fee,
        "gift_policy": rng.choice(("paid_first", "blended", None)),
        "materials_delivered": rng.choice((True, False, None)),
        "full_refund_days_before": _maybe(rng, rng.randrange(10), 0.7),
        "full_refund_days_after": _maybe(rng, rng.randrange(15), 0.7),
        "full_refund_lessons": _maybe(rng, rng.randrange(4), 0.7),
        "prior_same_service": rng.choice((True, False, False, None)),
        "refund_deadline_days": _maybe(rng, rng.randrange(20), 0.5),
        "refund_deadline_unit": rng.choice(("working", "calendar", None)),
        "late_daily_rate": _maybe(rng, Fraction(rng.randrange(1, 30), 10_000), 0.5),
        "penalty_pct_remaining": _maybe(rng, Fraction(rng.randrange(1, 400), 10), 0.5),
    }
    claimed_on = signed_on + timedelta(days=rng.randrange(120))
    return {
        "contract": contract,
        "charges": _charges(rng, contract, fee + (materials_fee or 0), signed_on),
        "lessons": [_lesson(rng, each, starts_on or signed_on) for each in range(rng.randrange(0, 12))],
        "refunds": [
            {"paid_on": claimed_on + timedelta(days=rng.randrange(-5, 40)), "amount": rng.randrange(fee // 2 + 2)}
            for _ in range(rng.choice((0, 0, 0, 1, 2)))
        ],
        "silence": rng.choice((15, 15, 3, None)),
        "seven_day": (date(2025, 5, 1), 7),
        "payment": rng.choice(((5, 15), None)),
        "claimed_on": claimed_on,
        "on": claimed_on + timedelta(days=rng.choice((0, 0, rng.randrange(60)))),
        "cause": rng.choice(CAUSES),
    }


def _charges(rng: random.Random, contract: Row, whole: int, signed_on: date) -> list[Row]:
    amounts = [
        [whole], [whole], [whole // 2, whole - whole // 2], [whole // 3], [whole, 5_000], [whole // 4] * 3, []
    ][rng.randrange(7)]
    return [
        {
            "charge_no": f"{contract['contract_no']}-{number}", "amount": amount,
            "paid_on": signed_on + timedelta(days=rng.choice((0, 0, rng.randrange(130)))),
        }
        for number, amount in enumerate(amounts)
    ]


def _lesson(rng: random.Random, number: int, begins: date) -> Row:
    taught_on = begins + timedelta(days=rng.randrange(90))
    requested_on = taught_on + timedelta(days=rng.randrange(3))
    return {
        "session_no": number, "status": rng.choice(STATUSES), "taught_on": _maybe(rng, taught_on, 0.03),
        "requested_on": _maybe(rng, requested_on, 0.1),
        "decided_on": _maybe(rng, requested_on + timedelta(days=rng.randrange(20)), 0.15),
    }


def _maybe(rng: random.Random, value: Any, none: float) -> Any:
    return None if rng.random() < none else value


def ledger(world: Row) -> Ledger:
    """The same contract as the program sees it."""
    said = world["contract"]
    no, policy, unit = said["contract_no"], said["gift_policy"], said["refund_deadline_unit"]
    materials = said["materials_fee"]
    same = {
        name: said[name] for name in (
            "contract_no", "signed_on", "starts_on", "lessons_paid", "lessons_gift", "materials_delivered",
            "full_refund_days_before", "full_refund_days_after", "full_refund_lessons", "prior_same_service",
            "refund_deadline_days", "late_daily_rate", "penalty_pct_remaining",
        )
    }
    contract = Contract(
        uscc="91110000600037341L", student_ref="s-1", course="math", fee=Money(said["fee"], "CNY"),
        materials_fee=None if materials is None else Money(materials, "CNY"),
        gift_policy=None if policy is None else GiftPolicy(policy),
        refund_deadline_unit=None if unit is None else DeadlineUnit(unit), **same,
    )
    return Ledger(
        contract=contract,
        charges=tuple(
            Charge(contract_no=no, charge_no=each["charge_no"], paid_on=each["paid_on"],
                   amount=Money(each["amount"], "CNY"))
            for each in world["charges"]
        ),
        lessons=tuple(
            Lesson(contract_no=no, session_no=each["session_no"], status=LessonStatus(each["status"]),
                   taught_on=each["taught_on"], requested_on=each["requested_on"], decided_on=each["decided_on"])
            for each in world["lessons"]
        ),
        refunds=tuple(
            Refund(contract_no=no, paid_on=each["paid_on"], amount=Money(each["amount"], "CNY"))
            for each in world["refunds"]
        ),
    )


def terms(world: Row) -> RefundTerms:
    """The law of a contract as the program sees it."""
    since, days = world["seven_day"]
    return RefundTerms(
        confirmation=None if world["silence"] is None else CONFIRMATIONS[world["silence"]],
        payment=None if world["payment"] is None else clause(
            ClauseKind.REFUND_PAYMENT,
            RefundPayment(days_before_start=world["payment"][0], days_after_start=world["payment"][1]),
        ),
        seven_day=clause(ClauseKind.SEVEN_DAY_RIGHT, SevenDayRight(days=days), since),
    )


def clause(kind: ClauseKind, said: Any, since: date = date(2020, 1, 1)) -> Clause[Any]:
    return Clause(
        id=f"t/{kind}", kind=kind, title=Sentence(zh="条款", en="clause"), terms=said, jurisdiction="000000",
        source=Source(title="某办法", found=Found.READ), verified=True, effective_from=since,
    )


CONFIRMATIONS = {
    days: clause(ClauseKind.LESSON_CONFIRMATION, LessonConfirmation(working_days=days)) for days in (3, 15)
}
