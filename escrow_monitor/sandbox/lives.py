"""The daily life of one account: fees paid in, money released, and what its fate adds. Pure and seeded.

    opening of the day + movements = closing of the day = opening of the next

Two lives with the same seed and number are the same to the last fen. A life is simulated once; accounts that share
it scale all its amounts alike, so that 100,000 accounts cost no more than a few hundred lives.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

from escrow_monitor.domain.money import round_half_up
from escrow_monitor.sandbox.fates import SCRIPTS, Fate, Leg, Script

FLOOR_RATIO = Fraction(1, 5)
FLOOR_MONTHS = 3
"""The floor most lives are led along: a fifth of what was paid in over three calendar months, as in Zigong."""

RELEASE_SHARE_MAX = Fraction(1, 10)
"""An ordinary day releases at most a tenth of the balance: far from a large debit."""
OUTFLOW_SHARE = Fraction(1, 5)
"""A day of the month that passes its outflow cap."""

_HOUR = 3600
_FEES_YUAN = (980, 1280, 1680, 2400, 2980, 3600, 4800)
# Parents pay before the terms begin and in summer: payments on a working day, in twentieths, by month.
_SEASON = {1: 26, 2: 32, 3: 22, 4: 16, 5: 16, 6: 24, 7: 30, 8: 30, 9: 28, 10: 20, 11: 20, 12: 20}
# On a day that a leg rules, payments are settled in one batch and the leg's debit follows within the same tick of the
# banks: what is seen between the two would be of no colour that was meant.
_SETTLED_SECOND, _LED_SECOND = 10 * _HOUR + 27 * 60, 10 * _HOUR + 29 * 60
_RENT_DAY, _WAGES_DAY = 5, 15
_TEXTS = {"rent": "房租", "wages": "教师工资", "release": "课时费划拨"}


class Movement(NamedTuple):
    """One booked movement of a life: seconds after midnight, fen (debits below zero), text, and whether it is named.

    An unnamed movement carries no reference of the bank: two of them can be identical twins.
    """

    second: int
    fen: int
    text: str
    named: bool = True


@dataclass(frozen=True, slots=True)
class Life:
    """All days of one account. `movements[n]` and `closings[n]` are those of the n-th day, `opening_fen` before it."""

    opening_fen: int
    movements: tuple[tuple[Movement, ...], ...]
    closings: tuple[int, ...]

    def opening(self, day: int) -> int:
        """The balance before the movements of a day; days after the last have none."""
        return self.opening_fen if day <= 0 else self.closings[min(day, len(self.closings)) - 1]

    def closing(self, day: int) -> int:
        """The balance after the movements of a day."""
        return self.opening(day + 1)

    def on(self, day: int) -> tuple[Movement, ...]:
        """The movements of a day in the order of booking; none outside the days that were simulated."""
        return self.movements[day] if 0 <= day < len(self.movements) else ()

    def balance(self, day: int, second: int) -> int:
        """The balance at a moment of a day."""
        return self.opening(day) + sum(move.fen for move in self.on(day) if move.second <= second)


def live(*, seed: str, fate: Fate, starts_on: date, days: int, story_on: date, fixed_floor_fen: int | None) -> Life:
    """Simulate a life. `fixed_floor_fen` replaces the floor by receipts; `story_on` is day 0 of the fate's script."""
    course = _Course(random.Random(seed), SCRIPTS[fate], starts_on, story_on, fixed_floor_fen)
    opening = course.balance
    movements: list[tuple[Movement, ...]] = []
    closings: list[int] = []
    for number in range(days):
        movements.append(tuple(sorted(course.day(starts_on + timedelta(days=number)), key=lambda move: move.second)))
        closings.append(course.balance)
    return Life(opening, tuple(movements), tuple(closings))


class _Course:
    """A life under way: its balance, and what was paid in, month by month."""

    def __init__(
        self, rng: random.Random, script: Script, starts_on: date, story_on: date, fixed_floor_fen: int | None
    ) -> None:
        self.rng = rng
        self.script = script
        self.story_on = story_on
        self.fixed_floor_fen = fixed_floor_fen
        self.paid_in: dict[int, int] = {}
        self.lives_at = script.lives_at + Fraction(rng.randrange(0, 16), 100)
        # Before the first day there were months like the coming ones, which the opening balance is left of.
        self.balance = int(self._usual_floor(starts_on) * self.lives_at) // 100 * 100 + rng.randrange(100)

    def day(self, on: date) -> list[Movement]:
        """Book one day."""
        story_day = (on - self.story_on).days
        moves = self._payments(on)
        if story_day in self.script.twin_days:
            moves += [Movement(11 * _HOUR, 240_000, "学费", named=False)] * 2
        leg = self.script.leg_on(story_day)
        if leg is not None:
            moves = [move._replace(second=_SETTLED_SECOND) for move in moves]
        for move in moves:
            self._book(on, move)
        if leg is not None:
            moves += self._led(on, leg, story_day)
        elif not (self.script.frozen_days and story_day in self.script.frozen_days):
            moves += self._released(on, story_day)
        return moves

    def _payments(self, on: date) -> list[Movement]:
        rng = self.rng
        if on.weekday() >= 5:
            count = 1 if rng.randrange(100) < 15 else 0
        else:
            count = sum(rng.randrange(40) < _SEASON[on.month] for _ in range(2))
        return [
            Movement(9 * _HOUR + rng.randrange(9 * _HOUR), rng.choice(_FEES_YUAN) * 100, "学费") for _ in range(count)
        ]

    def _led(self, on: date, leg: Leg, story_day: int) -> list[Movement]:
        """Move the balance to where the leg wants it. Money paid in raises the floor by receipts as well."""
        wanted = leg.coverage(story_day)
        goal = round_half_up(wanted * self._floor(on))
        if goal > self.balance:
            if not leg.rising:
                return []
            share = 1 - wanted * FLOOR_RATIO if self.fixed_floor_fen is None else Fraction(1)
            missing = -(-(goal - self.balance) // share)
            move = Movement(14 * _HOUR, -(-missing // 100) * 100, "补足监管账户余额")
        else:
            out = self.balance - goal
            if self.script.step_max is not None:
                out = min(out, int(self.balance * self.script.step_max))
            if out <= 0:
                return []
            move = Movement(_LED_SECOND, -out, "转出")
        self._book(on, move)
        return [move]

    def _released(self, on: date, story_day: int) -> list[Movement]:
        """Release on working days what lies above the multiple that this life keeps."""
        kind = {_RENT_DAY: "rent", _WAGES_DAY: "wages"}.get(on.day, "release")
        free = self.balance - round_half_up(self.lives_at * max(self._floor(on), self._usual_floor(on) // 2))
        out = min(free, int(self.balance * RELEASE_SHARE_MAX)) if on.weekday() < 5 else 0
        if self.script.outflow_days and story_day in self.script.outflow_days:
            # Wages paid twice over, weekends included: no single day is large, the month is.
            out, kind = int(self.balance * OUTFLOW_SHARE), "wages"
        if out < 100_00:
            return []
        move = Movement(17 * _HOUR, -(out // 100 * 100), _TEXTS[kind])
        self._book(on, move)
        return [move]

    def _book(self, on: date, move: Movement) -> None:
        self.balance += move.fen
        if move.fen > 0:
            month = on.year * 12 + on.month
            self.paid_in[month] = self.paid_in.get(month, 0) + move.fen

    def _floor(self, on: date) -> int:
        if self.fixed_floor_fen is not None:
            return self.fixed_floor_fen
        month = on.year * 12 + on.month
        paid = sum(self.paid_in.get(month - back, 0) for back in range(FLOOR_MONTHS))
        return round_half_up(FLOOR_RATIO * paid)

    def _usual_floor(self, on: date) -> int:
        if self.fixed_floor_fen is not None:
            return self.fixed_floor_fen
        mean_fee = sum(_FEES_YUAN) * 100 // len(_FEES_YUAN)
        return int(FLOOR_RATIO * FLOOR_MONTHS * 22 * mean_fee * Fraction(_SEASON[on.month], 20))
