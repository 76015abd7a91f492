"""One institution of the city, day by day: families sign and pay, lessons are taught and confirmed, money is released.

    custody   the family's money is released to the institution on the working day after a lesson is confirmed or deemed
    floor     the institution draws what lies above its own multiple of a fifth of three months' receipts

    balance = opening + entries, every day
    owed    = what families paid and was neither taught for nor given back: the truth

What a closing institution hides is in the truth alone: a contract that is not even recorded is owed and in no row, a
lesson that was never given is in a row and still owed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from math import exp
from typing import NamedTuple

from escrow_monitor.domain.calendar import CalendarUnknown, calendar_for
from escrow_monitor.domain.notices import NoticeKind
from escrow_monitor.sandbox.city.courses import (
    AWKWARD,
    COURSES,
    HEALTHY,
    Awkward,
    Forces,
    forces_at,
    together,
)
from escrow_monitor.sandbox.city.plans import Plan

DEEMED_AFTER = 15
"""Working days of silence after which a lesson counts as confirmed (domain.md 1.3 P1)."""
AFTERMATH_DAYS = 45
"""So long families still claim and complain after an institution closed."""

_PACKAGES = (16, 24, 30, 36, 48, 60)
_ENROL_SEASON = {1: 0.8, 2: 1.5, 3: 1.3, 4: 0.9, 5: 0.8, 6: 1.2, 7: 1.4, 8: 1.3, 9: 1.4, 10: 0.8, 11: 0.7, 12: 0.7}
_TEACH_SEASON = {1: 0.9, 2: 0.7, 7: 1.3, 8: 1.25}
_CLAIMS_A_MONTH = 0.005
_COMPLAINTS_A_MONTH = 0.002
_FLOOR_SHARE = 0.2
_TOPICS = ("refund", "teaching", "service", "other")


class ContractRow(NamedTuple):
    """A contract as its institution records it."""

    number: int
    student: int
    signed: int
    starts: int
    ends: int
    lessons: int
    gifts: int
    fee_fen: int


class ChargeRow(NamedTuple):
    """A payment as it is recorded. `reference` is the bank's, empty where it never reached the account."""

    contract: int
    number: int
    paid: int
    fen: int
    channel: str
    reference: str


class LessonRow(NamedTuple):
    """A lesson. `decided` is when it was confirmed or, `deemed`, became so; it lies after the end if neither."""

    contract: int
    session: int
    taught: int
    decided: int
    deemed: bool


class ClaimRow(NamedTuple):
    """Money claimed back, and the day it went back (-1: never)."""

    number: int
    contract: int
    claimed: int
    fen: int
    paid: int


class ComplaintRow(NamedTuple):
    """A complaint."""

    number: int
    received: int
    complainant: int
    topic: str


class EntryRow(NamedTuple):
    """One booking of the escrow account."""

    day: int
    fen: int
    text: str
    reference: str


class NoticeRow(NamedTuple):
    """What a register or another department reported."""

    day: int
    kind: NoticeKind


@dataclass(slots=True)
class Life:
    """All rows of one institution, and the truth of every day's end, in fen: balance, and what is owed to families."""

    plan: Plan
    opening_fen: int = 0
    contracts: list[ContractRow] = field(default_factory=list)
    charges: list[ChargeRow] = field(default_factory=list)
    lessons: list[LessonRow] = field(default_factory=list)
    claims: list[ClaimRow] = field(default_factory=list)
    complaints: list[ComplaintRow] = field(default_factory=list)
    entries: list[EntryRow] = field(default_factory=list)
    notices: list[NoticeRow] = field(default_factory=list)
    balance_fen: list[int] = field(default_factory=list)
    owed_fen: list[int] = field(default_factory=list)


class Days:
    """The days of a city: weekday, month, whether people work, and the next working days."""

    def __init__(self, starts_on: date, count: int) -> None:
        self.starts_on = starts_on
        self.count = count
        # A little further than the city lasts: what is due after its end is due on a real day.
        dates = [starts_on + timedelta(days=day) for day in range(count + 90)]
        self.weekday = [day.weekday() for day in dates]
        self.month = [day.month for day in dates]
        self.monthday = [day.day for day in dates]
        self.working = [_is_working(day) for day in dates]
        self.festival = [_festival(day) for day in dates]
        self.next_working = self._next_working()

    def date_of(self, day: int) -> date:
        """The date of a day."""
        return self.starts_on + timedelta(days=day)

    def after_working(self, day: int, working_days: int) -> int:
        """The n-th working day after a day."""
        for _ in range(working_days):
            if day >= len(self.next_working):
                return day + 1
            day = self.next_working[day]
        return day

    def _next_working(self) -> list[int]:
        found, following = [0] * len(self.working), len(self.working)
        for day in range(len(self.working) - 1, -1, -1):
            found[day] = following
            if self.working[day]:
                following = day
        return found


@lru_cache(maxsize=4096)
def _is_working(day: date) -> bool:
    try:
        return calendar_for("CN").is_working_day(day)
    except CalendarUnknown:
        return day.weekday() < 5


@lru_cache(maxsize=4096)
def _festival(day: date) -> bool:
    """A holiday of several days around: nobody teaches."""
    around = [day + timedelta(days=n) for n in range(-2, 3)]
    return not _is_working(day) and sum(not _is_working(each) for each in around) >= 4


def live(plan: Plan, *, seed: str, days: Days, noise: float = 1.0) -> Life:
    """Simulate one institution for all days of the city."""
    return _Living(plan, random.Random(f"{seed}:life:{plan.place}"), days, noise).run()


class _Contract:
    """A contract that is being taught."""

    __slots__ = (
        "claimed", "counted", "earned", "fee", "gifts", "lessons", "number", "outside", "owed", "paid", "recorded",
        "refunded", "session", "starts", "taught", "weekdays",
    )

    def __init__(self, number: int, lessons: int, gifts: int, fee: int, starts: int, weekdays: tuple[int, ...]) -> None:
        self.number, self.lessons, self.gifts, self.fee = number, lessons, gifts, fee
        self.starts, self.weekdays = starts, weekdays
        # `counted` lessons are confirmed, `taught` were really given.
        self.session = self.counted = self.taught = self.earned = self.paid = self.refunded = self.owed = 0
        self.claimed = self.outside = False
        self.recorded = True


class _Living:
    """An institution under way."""

    def __init__(self, plan: Plan, rng: random.Random, days: Days, noise: float) -> None:
        self.plan, self.rng, self.days, self.noise = plan, rng, days, noise
        self.life = Life(plan=plan)
        self.active: dict[int, _Contract] = {}
        self.by_weekday: list[dict[int, _Contract]] = [{} for _ in range(7)]
        self.decide: dict[int, list[tuple[_Contract, bool]]] = defaultdict(list)
        self.release: dict[int, int] = defaultdict(int)
        self.refund: dict[int, list[tuple[_Contract, int, int]]] = defaultdict(list)
        self.bank: dict[int, list[EntryRow]] = defaultdict(list)
        self.balance = self.owed = 0
        self.receipts: list[int] = []
        self.students = self.made = 0
        self.mood = 1.0
        weeks = sum(_PACKAGES) / len(_PACKAGES) / 1.6
        self.turnover = plan.students / (weeks * 7)
        self.notices = self._notices()

    def run(self) -> Life:
        """All days."""
        life, end = self.life, self.plan.closes
        self._begin()
        for day in range(self.days.count):
            if end is None or day <= end:
                self._day(day, self._forces(day))
            elif day <= end + AFTERMATH_DAYS:
                self._aftermath(day)
            self._book(day)
            life.balance_fen.append(self.balance)
            life.owed_fen.append(self.owed)
        return life

    # How the day is.

    def _forces(self, day: int) -> Forces:
        plan, forces = self.plan, HEALTHY
        if plan.ending is not None and plan.onset is not None and plan.closes is not None and day >= plan.onset:
            x = (day - plan.onset) / max(1, plan.closes - plan.onset)
            forces = forces_at(COURSES[plan.ending], x, plan.strength)
        for spell in plan.spells:
            if spell.first <= day <= spell.last:
                forces = together(forces, AWKWARD[spell.kind][1])
        return forces

    def _notices(self) -> dict[int, list[NoticeKind]]:
        plan, found = self.plan, defaultdict(list)
        kinds = {Awkward.MOVE: NoticeKind.NEW_ADDRESS, Awkward.NEW_REPRESENTATIVE: NoticeKind.NEW_REPRESENTATIVE,
                 Awkward.FAST_GROWTH: NoticeKind.NEW_CAMPUS, Awkward.LARGE_PURCHASE: NoticeKind.LARGE_OUTLAY_APPROVED}
        for spell in plan.spells:
            if spell.kind in kinds:
                found[spell.first].append(kinds[spell.kind])
        if plan.ending is not None and plan.onset is not None and plan.closes is not None:
            for x, kind in COURSES[plan.ending].notices:
                # Not everything is reported.
                if kind in (NoticeKind.LICENCE_REVOKED, NoticeKind.ACCOUNT_FROZEN) or self.rng.random() < 0.75:
                    found[plan.onset + int(x * (plan.closes - plan.onset))].append(kind)
        return found

    # What happens on a day.

    def _begin(self) -> None:
        """The families that were there before the first day, somewhere in their courses."""
        for _ in range(self.plan.students):
            contract = self._sign(-20 - self.rng.randrange(160), HEALTHY)
            done = self.rng.randrange(contract.lessons)
            contract.session = contract.counted = contract.taught = done
            contract.earned = _share(contract.fee, done, contract.lessons)
            for session in range(1, done + 1):
                # Before the records begin: taught and confirmed on the day before.
                self.life.lessons.append(LessonRow(contract.number, session, -1, -1, False))
            self._reckon(contract)
        own_share = 1.0 if self.plan.custody else _FLOOR_SHARE * self.plan.floor_multiple
        self.balance = int(self.owed * own_share)
        self.life.opening_fen = self.balance
        self.life.entries.clear()
        self.bank.clear()

    def _day(self, day: int, forces: Forces) -> None:
        rng, plan = self.rng, self.plan
        for kind in self.notices.get(day, ()):
            self.life.notices.append(NoticeRow(day, kind))
        # Busy and slow weeks: a slow random walk around 1.
        self.mood = min(1.6, max(0.6, self.mood + (1 - self.mood) * 0.05 + rng.gauss(0, 0.04 * self.noise)))
        season = _ENROL_SEASON[self.days.month[day]] * (0.1 if self.days.festival[day] else 1.0)
        for _ in range(_poisson(rng, self.turnover * 0.45 * season * self.mood * forces.enrol)):
            self._sign(day, forces)
        if not self.days.festival[day]:
            self._teach(day, forces)
        self._decided(day)
        self._claims(day, forces)
        self._complaints(day, forces, len(self.active))
        self._draw_money(day, forces)
        if plan.ending is not None and day == plan.closes and COURSES[plan.ending].last_day_drain:
            self._out(day, int(self.balance * COURSES[plan.ending].last_day_drain), "转账")

    def _sign(self, day: int, forces: Forces) -> _Contract:
        rng, plan = self.rng, self.plan
        lessons = max(8, int(rng.choice(_PACKAGES) * forces.package))
        gifts = lessons // 10 if rng.random() < 0.15 else 0
        fee = int(lessons * plan.price_fen * forces.discount * rng.uniform(0.95, 1.05)) // 100 * 100
        starts = day + rng.randrange(1, 15)
        weekdays = tuple(sorted(rng.sample(range(7), 2 if rng.random() < 0.6 else 1)))
        self.made += 1
        contract = _Contract(self.made, lessons, gifts, fee, starts, weekdays)
        contract.outside = rng.random() < forces.outside
        contract.recorded = not (contract.outside and rng.random() < forces.unrecorded / max(forces.outside, 0.01))
        self.active[contract.number] = contract
        for weekday in weekdays:
            self.by_weekday[weekday][contract.number] = contract
        if contract.recorded:
            ends = starts + 7 * (lessons + gifts) // len(weekdays) + 14
            self.life.contracts.append(ContractRow(
                contract.number, contract.number, day, starts, ends, lessons, gifts, fee
            ))
        self._pay(contract, day)
        return contract

    def _pay(self, contract: _Contract, day: int) -> None:
        rng = self.rng
        channel, delay = rng.choice((("bank transfer", 0), ("wechat", 1), ("alipay", 1)))
        contract.paid = contract.fee
        self._reckon(contract)
        reference = ""
        if not contract.outside:
            booked = max(day, 0) if not delay else self.days.next_working[max(day, 0)]
            reference = f"{self.plan.place:06d}{contract.number:07d}"
            self.bank[booked].append(EntryRow(booked, contract.fee, "学费", reference))
        if contract.recorded:
            # Some channels give no reference that the institution could record.
            named = reference if rng.random() < 0.85 or not reference else ""
            self.life.charges.append(ChargeRow(contract.number, contract.number, day, contract.fee, channel, named))

    def _teach(self, day: int, forces: Forces) -> None:
        rng = self.rng
        season = _TEACH_SEASON.get(self.days.month[day], 1.0) * forces.teach * 0.93
        for contract in list(self.by_weekday[self.days.weekday[day]].values()):
            if contract.starts > day or rng.random() >= season:
                continue
            self._lesson(contract, day, real=True)
            if forces.fabricate > 0:
                extra = int(forces.fabricate) + (rng.random() < forces.fabricate % 1)
                for _ in range(extra):
                    self._lesson(contract, day, real=False)

    def _lesson(self, contract: _Contract, day: int, *, real: bool) -> None:
        total = contract.lessons + contract.gifts
        if contract.session >= total or contract.number not in self.active:
            return
        rng = self.rng
        contract.session += 1
        silent = rng.random() < (0.06 if real else 0.6)
        # More than so many working days of silence: the day after the last of them.
        decided = self.days.after_working(day, DEEMED_AFTER) + 1 if silent else day + int(rng.expovariate(0.9))
        if contract.recorded:
            self.life.lessons.append(LessonRow(contract.number, contract.session, day, decided, silent))
        self.decide[decided].append((contract, real))
        if contract.session == total:
            self._end(contract)
            return
        if real and contract.session == total - 3 and rng.random() < 0.55 * self._forces(day).renew:
            self._sign(day, self._forces(day))

    def _decided(self, day: int) -> None:
        for contract, real in self.decide.pop(day, ()):
            contract.counted += 1
            contract.taught += real
            earned = _share(contract.fee, contract.counted, contract.lessons)
            more, contract.earned = earned - contract.earned, earned
            self._reckon(contract)
            if self.plan.custody and not contract.outside and contract.recorded:
                self.release[self.days.next_working[day]] += more

    def _claims(self, day: int, forces: Forces) -> None:
        rng = self.rng
        expected = len(self.active) * _CLAIMS_A_MONTH / 30 * forces.claim * self.mood
        for _ in range(_poisson(rng, expected)):
            contract = self.active.get(rng.choice(tuple(self.active))) if self.active else None
            if contract is None or contract.claimed or contract.owed <= 0:
                continue
            self._claim(contract, day, stalled=rng.random() < forces.stall)

    def _claim(self, contract: _Contract, day: int, *, stalled: bool) -> None:
        rng = self.rng
        contract.claimed = True
        # What was taught counts, whether or not it is confirmed yet.
        amount, paid = contract.paid - _share(contract.fee, contract.session, contract.lessons), -1
        if amount <= 0:
            return
        if not stalled:
            paid = self.days.next_working[day + rng.randrange(2, 11)]
            self.refund[paid].append((contract, len(self.life.claims), amount))
        if contract.recorded:
            asked = amount if rng.random() < 0.85 else int(amount * rng.uniform(1.02, 1.3))
            self.life.claims.append(ClaimRow(
                len(self.life.claims) + 1, contract.number, day, min(asked, contract.paid), paid
            ))
        self._end(contract)

    def _complaints(self, day: int, forces: Forces, families: int) -> None:
        rng = self.rng
        for _ in range(_poisson(rng, families * _COMPLAINTS_A_MONTH / 30 * forces.complain)):
            self.life.complaints.append(ComplaintRow(
                len(self.life.complaints) + 1, day, rng.randrange(1, max(2, families)), rng.choice(_TOPICS)
            ))

    def _draw_money(self, day: int, forces: Forces) -> None:
        if not self.days.working[day] or self._frozen(day):
            return
        due = self.release.pop(day, 0)
        if due:
            self._out(day, due, "课时费划拨")
        if not self.plan.custody and self.days.weekday[day] == 4:
            floor = _FLOOR_SHARE * sum(self.receipts[-90:])
            self._out(day, int(self.balance - self.plan.floor_multiple * floor), "转出")
        if forces.drain > 0 and self.days.weekday[day] in (1, 3):
            share = forces.drain / 2 * self.rng.uniform(0.5, 1.5)
            self._out(day, int(self.balance * min(share, 0.9)) // 100 * 100, "手动划拨")
        buys = any(spell.kind is Awkward.LARGE_PURCHASE and spell.first == day for spell in self.plan.spells)
        if buys and not self.plan.custody:
            # Of what it has earned. In custody that is its own money elsewhere, and nothing shows here.
            self._out(day, int(self.balance * 0.15), "设备采购")

    def _frozen(self, day: int) -> bool:
        return any(row.kind is NoticeKind.ACCOUNT_FROZEN and row.day <= day for row in self.life.notices)

    def _aftermath(self, day: int) -> None:
        """It is closed: families find out."""
        forces = Forces(claim=40.0, complain=60.0, stall=1.0)
        self._claims(day, forces)
        self._complaints(day, forces, len(self.active))

    # Money.

    def _book(self, day: int) -> None:
        """Everything the bank books on a day."""
        life, entries = self.life, self.bank.pop(day, [])
        for contract, claim, amount in self.refund.pop(day, ()):
            if amount <= self.balance and (self.plan.closes is None or day <= self.plan.closes):
                contract.refunded += amount
                self._reckon(contract)
                entries.append(EntryRow(day, -amount, "退费", f"T{self.plan.place:06d}{claim + 1:06d}"))
            elif claim < len(life.claims):
                life.claims[claim] = life.claims[claim]._replace(paid=-1)
        if self.days.monthday[day] == 20 and self.days.month[day] % 3 == 0:
            interest = self.balance // 1000
            if interest:
                entries.append(EntryRow(day, interest, "结息", ""))
        received = 0
        for entry in entries:
            self.balance += entry.fen
            received += entry.fen if entry.text == "学费" else 0
        self.receipts.append(received)
        life.entries += entries

    def _out(self, day: int, fen: int, text: str) -> None:
        fen = min(fen, self.balance)
        if fen > 0:
            self.bank[day].append(EntryRow(day, -fen, text, ""))

    def _reckon(self, contract: _Contract) -> None:
        given = _share(contract.fee, contract.taught, contract.lessons)
        owed = max(0, contract.paid - given - contract.refunded)
        self.owed += owed - contract.owed
        contract.owed = owed

    def _end(self, contract: _Contract) -> None:
        self.active.pop(contract.number, None)
        for weekday in contract.weekdays:
            self.by_weekday[weekday].pop(contract.number, None)


def _share(fee: int, taught: int, lessons: int) -> int:
    """What lessons have earned of a fee, half up, paid lessons first (domain.md 3.1)."""
    return (2 * fee * min(taught, lessons) + lessons) // (2 * lessons)


def _poisson(rng: random.Random, mean: float) -> int:
    """A Poisson number by multiplying uniform ones: the means here are small."""
    if mean <= 0:
        return 0
    limit, product, count = exp(-min(mean, 500.0)), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def total(rows: Sequence[EntryRow]) -> int:
    """The sum of entries, in fen."""
    return sum(row.fen for row in rows)
