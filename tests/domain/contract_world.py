"""Contracts to examine, with one thing changed at a time."""

from __future__ import annotations

from datetime import date
from typing import Any

from escrow_monitor.domain.contracts import Charge, Contract, Lesson, LessonStatus, Refund
from escrow_monitor.domain.entitlement import Ledger
from escrow_monitor.domain.money import Money

STARTS = date(2026, 9, 1)
SIGNED = date(2026, 8, 20)


def yuan(text: str) -> Money:
    whole, _, part = text.partition(".")
    return Money(int(whole) * 100 + int(part or 0), "CNY")


def contract(**said: Any) -> Contract:
    """4,800.00 for 48 lessons, signed on 20 August 2026, from 1 September on, nothing else agreed."""
    given = {
        "contract_no": "HT-1", "uscc": "91110000600037341L", "student_ref": "s-1", "course": "书法",
        "fee": yuan("4800"), "lessons_paid": 48, "signed_on": SIGNED, "starts_on": STARTS,
    }
    return Contract(**{**given, **said})


def charge(amount: str, paid_on: date = SIGNED, charge_no: str = "J-1", contract_no: str = "HT-1") -> Charge:
    return Charge(charge_no=charge_no, contract_no=contract_no, paid_on=paid_on, amount=yuan(amount))


def refund(amount: str, paid_on: date) -> Refund:
    return Refund(contract_no="HT-1", paid_on=paid_on, amount=yuan(amount))


def lesson(session_no: int, status: LessonStatus = LessonStatus.CONFIRMED, **said: Any) -> Lesson:
    """Taught on the first day, asked for the same day, decided the day after."""
    decided = None if status is LessonStatus.REQUESTED else date(2026, 9, 2)
    given = {"contract_no": "HT-1", "taught_on": STARTS, "requested_on": STARTS, "decided_on": decided}
    return Lesson(**{**given, "session_no": session_no, "status": status, **said})


def lessons(confirmed: int, disputed: int = 0) -> tuple[Lesson, ...]:
    return tuple(
        lesson(number, LessonStatus.CONFIRMED if number < confirmed else LessonStatus.DISPUTED)
        for number in range(confirmed + disputed)
    )


def ledger(*, confirmed: int = 0, disputed: int = 0, paid: str | None = "4800", **said: Any) -> Ledger:
    """A ledger paid at once on the day of signing: `ledger(confirmed=13, gift_policy=...)`."""
    rows = {name: said.pop(name) for name in ("charges", "lessons", "refunds") if name in said}
    return Ledger(**{
        "contract": contract(**said), "charges": () if paid is None else (charge(paid),),
        "lessons": lessons(confirmed, disputed), **rows,
    })
