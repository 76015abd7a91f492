"""Who is in the city, who will close and of what, and who is only awkward: drawn from the seed, one by one.

What is drawn for one institution depends on its own place alone, except that a group shares its first member's end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from math import exp

from escrow_monitor.sandbox.city.courses import AWKWARD, COURSES, Awkward, Ending

QUIET_DAYS = 120
"""No course begins earlier: every institution is seen as it usually is first."""
GROUP_MEMBERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CitySettings:
    """What kind of city it is. Rates are a year; shares between 0 and 1.

    `closing_rate`: institutions that close, of all; `endings` weighs the ways. `strength` (from, to) scales how plainly
    a way of closing shows, `noise` how irregular healthy days are, `awkward_rate` how often something odd and healthy
    happens. `custody_share`: institutions whose money is released lesson by lesson; the others keep a floor.
    """

    closing_rate: float = 0.08
    endings: tuple[tuple[Ending, float], ...] = (
        (Ending.SLOW_DECLINE, 22), (Ending.PROMOTION_FLIGHT, 16), (Ending.SIPHONING, 12),
        (Ending.FABRICATED_LESSONS, 8), (Ending.TAKEOVER, 12), (Ending.REFUND_STALLING, 12), (Ending.CONTAGION, 6),
        (Ending.LICENCE_REVOKED, 6), (Ending.ACCOUNT_FROZEN, 4), (Ending.SUDDEN_THEFT, 2),
    )
    strength: tuple[float, float] = (0.7, 1.3)
    noise: float = 1.0
    awkward_rate: float = 0.9
    custody_share: float = 0.75
    students: tuple[int, int] = (25, 260)
    statement_fault_rate: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """An awkward time, its first and last day."""

    kind: Awkward
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One institution's part in the city. Days count from the city's first.

    `closes` is the last day on which it teaches; None: it lives on. `onset` is where its course begins.
    """

    place: int
    students: int
    price_fen: int
    custody: bool
    floor_multiple: float
    spells: tuple[Spell, ...]
    strength: float = 1.0
    ending: Ending | None = None
    onset: int | None = None
    closes: int | None = None
    group: int | None = None


def draw_plans(seed: str, *, institutions: int, days: int, settings: CitySettings) -> tuple[Plan, ...]:
    """Draw the parts of all institutions of a city of so many days."""
    plans = [_draw(random.Random(f"{seed}:plan:{place}"), place, days, settings) for place in range(institutions)]
    return tuple(_with_groups(random.Random(f"{seed}:groups"), plans, days))


def _draw(rng: random.Random, place: int, days: int, settings: CitySettings) -> Plan:
    low, high = settings.students
    plan = Plan(
        place=place, students=int(min(high, low * (high / low) ** (rng.random() ** 1.4))),
        price_fen=rng.randrange(60, 260) * 100, custody=rng.random() < settings.custody_share,
        floor_multiple=rng.uniform(1.3, 2.4), strength=rng.uniform(*settings.strength), spells=(),
    )
    spells = tuple(_spells(rng, days, settings))
    if rng.random() >= 1 - exp(-settings.closing_rate * days / 365):
        return replace(plan, spells=spells)
    kinds, weights = zip(*settings.endings, strict=True)
    ending = rng.choices(kinds, weights)[0]
    course_days = rng.randint(*COURSES[ending].days)
    first = QUIET_DAYS + course_days
    if first >= days:
        return replace(plan, spells=spells)
    closes = rng.randrange(first, days)
    return replace(plan, spells=spells, ending=ending, onset=closes - course_days, closes=closes)


def _spells(rng: random.Random, days: int, settings: CitySettings) -> list[Spell]:
    found: list[Spell] = []
    rates = {
        Awkward.BANK_OUTAGE: settings.statement_fault_rate, Awkward.LATE_STATEMENTS: settings.statement_fault_rate,
        Awkward.LONG_HOLIDAY: 0.5,
    }
    for kind, ((short, long), _) in AWKWARD.items():
        rate = rates.get(kind, settings.awkward_rate / 5)
        if rng.random() < 1 - exp(-rate * days / 365):
            length = rng.randint(short, long)
            first = rng.randrange(30, max(31, days - length))
            found.append(Spell(kind=kind, first=first, last=first + length - 1))
    return found


def _with_groups(rng: random.Random, plans: list[Plan], days: int) -> list[Plan]:
    """Those that end by contagion join a group: the first goes its own way, the others follow from its end."""
    infected = [plan.place for plan in plans if plan.ending is Ending.CONTAGION]
    for number, start in enumerate(range(0, len(infected), GROUP_MEMBERS)):
        members = infected[start : start + GROUP_MEMBERS]
        first = plans[members[0]]
        plans[members[0]] = replace(first, ending=Ending.TAKEOVER, group=number, onset=max(
            QUIET_DAYS, (first.closes or 0) - rng.randint(*COURSES[Ending.TAKEOVER].days)
        ))
        for place in members[1:]:
            onset = (first.closes or 0) - rng.randrange(0, 10)
            closes = onset + rng.randint(*COURSES[Ending.CONTAGION].days)
            if closes >= days or onset < QUIET_DAYS:
                plans[place] = replace(plans[place], ending=None, onset=None, closes=None, group=number)
            else:
                plans[place] = replace(plans[place], onset=onset, closes=closes, group=number)
    return plans
