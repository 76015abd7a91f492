"""A second refund calculator, written from the rules in words alone: it shares no code with the program.

Contracts come as plain dictionaries; amounts in fen, days as `date`. Rounding is `floor(x + 1/2)` of a fraction, money
is laid out along a line and cut where fee and materials end, the calendar is walked a day at a time, and a late refund
is charged day by day.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any

import chinese_calendar

Row = dict[str, Any]
HALF = Fraction(1, 2)
READINGS = ("blended", "paid_first")
ORDER = (
    "full_refund_window", "seven_day_right", "not_started", "institution_breach", "force_majeure", "pro_rata"
)


@lru_cache(maxsize=4096)
def is_work(day: date) -> bool:
    return bool(chinese_calendar.is_workday(day))


@lru_cache(maxsize=65536)
def nth_working_day(day: date, n: int) -> date | None:
    """None once the walk leaves the years that anybody has published."""
    left = n
    while left:
        day = date.fromordinal(day.toordinal() + 1)
        try:
            left -= is_work(day)
        except NotImplementedError:
            return None
    return day


def rounded(value: Fraction) -> int:
    return math.floor(value + HALF)


def earned(contract: Row, lessons: int, reading: str) -> int:
    whole = contract["lessons_paid"]
    if reading == "blended":
        whole = whole + contract["lessons_gift"]
    return rounded(Fraction(contract["fee"] * (whole if lessons > whole else lessons), whole))


def reading_of(contract: Row, confirmed: int, disputed: int) -> str:
    """How gift lessons count. Unsettled: the reading under which the family gets more."""
    if contract["gift_policy"]:
        return str(contract["gift_policy"])
    return min(READINGS, key=lambda each: (
        earned(contract, confirmed + disputed, each), earned(contract, confirmed, each)
    ))


def becomes_confirmed_on(lesson: Row, silence: int | None) -> date | None:
    """The first day on which the lesson counts, or None for never."""
    if lesson["taught_on"] is None:
        return None
    if lesson["status"] in ("confirmed", "deemed") and lesson["decided_on"] is not None:
        return max(lesson["taught_on"], lesson["decided_on"])
    if lesson["status"] in ("requested", "deemed") and lesson["requested_on"] is not None and silence is not None:
        last = nth_working_day(lesson["requested_on"], silence)
        return None if last is None else max(lesson["taught_on"], last + timedelta(days=1))
    return None


def counted(world: Row, on: date, claimed_on: date) -> tuple[int, int, bool]:
    """How many lessons are confirmed, how many disputed, and whether any was taught at all."""
    confirmed = disputed = 0
    any_taught = False
    for lesson in world["lessons"]:
        if lesson["status"] == "cancelled" or lesson["taught_on"] is None or lesson["taught_on"] > claimed_on:
            continue
        any_taught = True
        since = becomes_confirmed_on(lesson, world["silence"])
        if since is not None and since <= on:
            confirmed += 1
        elif lesson["status"] == "disputed" and (lesson["decided_on"] is None or lesson["decided_on"] <= on):
            disputed += 1
    return confirmed, disputed, any_taught


def impossible(world: Row, on: date) -> bool:
    """Whether on some day more had gone back than had come in."""
    days = sorted({each["paid_on"] for each in world["charges"] + world["refunds"] if each["paid_on"] <= on})
    return any(
        sum(each["amount"] for each in world["refunds"] if each["paid_on"] <= day)
        > sum(each["amount"] for each in world["charges"] if each["paid_on"] <= day)
        for day in days
    )


def overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def quote(world: Row, on: date, claimed_on: date, cause: str) -> Row | None:
    """What is due; None for a ledger that cannot be."""
    if impossible(world, on):
        return None
    contract = world["contract"]
    fee, materials_fee = contract["fee"], contract["materials_fee"] or 0
    confirmed, disputed, any_taught = counted(world, on, claimed_on)
    reading = reading_of(contract, confirmed, disputed)
    taken = earned(contract, confirmed, reading)
    waiting = earned(contract, confirmed + disputed, reading) - taken
    back = sum(each["amount"] for each in world["refunds"] if each["paid_on"] <= on)

    # Lay the money along a line in the order it came: fee first, then materials, then too much.
    at, spans = 0, []
    for charge in sorted(world["charges"], key=lambda each: (each["paid_on"], each["charge_no"])):
        if charge["paid_on"] <= on:
            spans.append((charge, (at, at + charge["amount"])))
            at += charge["amount"]
    fee_span, materials_span = (0, fee), (fee, fee + materials_fee)
    right_from, right_days = world["seven_day"]
    in_time = [
        (charge, span) for charge, span in spans
        if charge["paid_on"] >= right_from and (claimed_on - charge["paid_on"]).days <= right_days
    ]
    lessons_money, materials_money = overlap((0, at), fee_span), overlap((0, at), materials_span)
    kept = materials_money if contract["materials_delivered"] else 0
    untaught = max(0, lessons_money - taken - waiting)

    everything = at - kept
    pro_rata = everything - lessons_money + untaught
    seven_lessons = sum(overlap(span, fee_span) for _, span in in_time)
    seven = everything - lessons_money + seven_lessons + max(0, lessons_money - seven_lessons - taken - waiting)
    percent = contract["penalty_pct_remaining"]
    breach = 0 if percent is None else rounded(untaught * percent / 100)
    gross = {
        "full_refund_window": everything, "seven_day_right": seven, "not_started": everything,
        "institution_breach": pro_rata, "force_majeure": pro_rata, "pro_rata": pro_rata,
    }
    started = True if any_taught else None if contract["starts_on"] is None else claimed_on >= contract["starts_on"]
    holds = {
        "full_refund_window": window(contract, claimed_on, confirmed, disputed),
        "seven_day_right": (
            {True: False, False: True, None: None}[contract["prior_same_service"]] if in_time else False
        ),
        "not_started": None if started is None else not started,
        "institution_breach": cause == "institution", "force_majeure": cause == "force_majeure", "pro_rata": True,
    }
    best = [
        (gross[each] + (breach if each == "institution_breach" else 0), gross[each], -place, each)
        for place, each in enumerate(ORDER) if holds[each] is True
    ]
    ground = sorted(best)[-1][-1]
    due_on = due(contract, claimed_on, started, world["payment"])
    penalty = breach if ground == "institution_breach" else 0
    late = overdue(gross[ground], world["refunds"], due_on, on, contract["late_daily_rate"])
    return {
        "ground": ground, "paid": at, "entitled": taken, "disputed": waiting, "materials_kept": kept,
        "already_refunded": back, "refund": max(0, gross[ground] - back), "penalty": penalty + late, "due_on": due_on,
        "alternatives": {
            each: (max(0, gross[each] - back), breach if each == "institution_breach" else 0, holds[each])
            for each in ORDER if each != ground
        },
    }


def window(contract: Row, claimed_on: date, confirmed: int, disputed: int) -> bool | None:
    start, before, after, most = (
        contract[name] for name in
        ("starts_on", "full_refund_days_before", "full_refund_days_after", "full_refund_lessons")
    )
    answers: list[bool | None] = []
    if before is not None:
        answers.append(None if start is None else (start - claimed_on).days >= before)
    if after is not None:
        answers.append(None if start is None else (claimed_on - start).days <= after)
    if most is not None:
        # Both ends of what a decision may bring.
        ends = {confirmed <= most, confirmed + disputed <= most}
        answers.append(ends.pop() if len(ends) == 1 else None)
    if True in answers:
        return True
    return None if None in answers else False


def due(contract: Row, claimed_on: date, started: bool | None, payment: tuple[int, int] | None) -> date | None:
    days = contract["refund_deadline_days"]
    if days is not None:
        if contract["refund_deadline_unit"] == "working":
            return nth_working_day(claimed_on, days)
        return claimed_on + timedelta(days=days)
    if payment is None or started is None:
        return None
    return claimed_on + timedelta(days=payment[1] if started else payment[0])


def overdue(owed: int, refunds: list[Row], due_on: date | None, on: date, rate: Fraction | None) -> int:
    if due_on is None or rate is None:
        return 0
    total, day = Fraction(0), due_on + timedelta(days=1)
    while day <= on:
        total += max(0, owed - sum(each["amount"] for each in refunds if each["paid_on"] < day)) * rate
        day += timedelta(days=1)
    return rounded(total)


def obligation_by_replay(worlds: list[Row], first: date, last: date) -> dict[date, int]:
    """Live every day once: book what happened, then add up what each family is owed at its end."""
    books = [{"in": 0, "out": 0, "lessons": 0} for _ in worlds]
    result = {}
    day = first
    while day <= last:
        for world, book in zip(worlds, books, strict=True):
            book["in"] += sum(each["amount"] for each in world["charges"] if each["paid_on"] == day)
            book["out"] += sum(each["amount"] for each in world["refunds"] if each["paid_on"] == day)
            book["lessons"] += sum(becomes_confirmed_on(each, world["silence"]) == day for each in world["lessons"])
        owed = 0
        for world, book in zip(worlds, books, strict=True):
            contract = world["contract"]
            reading = reading_of(contract, book["lessons"], 0)
            rest = book["in"] - book["out"] - earned(contract, book["lessons"], reading)
            if rest > 0:
                owed += rest
        result[day] = owed
        day += timedelta(days=1)
    return result
