"""How a way of closing, or an awkward time, bends an institution's days: the forces of each, as it runs its course.

A course begins at `x = 0`, when nobody outside can know, and ends at `x = 1`, the day of closing. The ways to close are
the cases of domain.md section 4; the strengths are invented, and every institution has its own on top of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from escrow_monitor.domain.notices import NoticeKind


class Ending(StrEnum):
    """The ways in which an institution closes with families' money."""

    SLOW_DECLINE = "slow_decline"
    PROMOTION_FLIGHT = "promotion_flight"
    SIPHONING = "siphoning"
    FABRICATED_LESSONS = "fabricated_lessons"
    TAKEOVER = "takeover"
    REFUND_STALLING = "refund_stalling"
    CONTAGION = "contagion"
    LICENCE_REVOKED = "licence_revoked"
    ACCOUNT_FROZEN = "account_frozen"
    SUDDEN_THEFT = "sudden_theft"


class Awkward(StrEnum):
    """What looks odd and is healthy."""

    FAST_GROWTH = "fast_growth"
    TROUGH = "trough"
    LARGE_PURCHASE = "large_purchase"
    MOVE = "move"
    BANK_OUTAGE = "bank_outage"
    LATE_STATEMENTS = "late_statements"
    LONG_HOLIDAY = "long_holiday"
    NEW_REPRESENTATIVE = "new_representative"


class Forces(NamedTuple):
    """How a day differs from a healthy one; 1 and 0 are healthy.

    `enrol`, `renew`, `teach`, `claim` and `complain` multiply rates. `discount` is the share of the price that is
    asked, `package` multiplies the lessons sold at once. Shares: `outside` of the charges that never reach the escrow
    account, `unrecorded` of those that are not even recorded, `stall` of claims that nobody answers, `fabricate` of
    lessons confirmed beyond those taught, `drain` of the balance taken a week without any lesson.
    """

    enrol: float = 1.0
    renew: float = 1.0
    teach: float = 1.0
    claim: float = 1.0
    complain: float = 1.0
    discount: float = 1.0
    package: float = 1.0
    outside: float = 0.0
    unrecorded: float = 0.0
    stall: float = 0.0
    fabricate: float = 0.0
    drain: float = 0.0


HEALTHY = Forces()

_NEUTRAL = {"enrol": 1.0, "renew": 1.0, "teach": 1.0, "claim": 1.0, "complain": 1.0, "discount": 1.0, "package": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One way to close: how long it takes (days, from to), its knots `(x, forces)`, and what registers report when.

    Between two knots every force moves on a straight line.
    """

    days: tuple[int, int]
    knots: tuple[tuple[float, Forces], ...]
    notices: tuple[tuple[float, NoticeKind], ...] = ()
    last_day_drain: float = 0.0


def _knots(*knots: tuple[float, dict[str, float]]) -> tuple[tuple[float, Forces], ...]:
    return tuple((x, Forces(**forces)) for x, forces in knots)


COURSES: Mapping[Ending, Course] = {
    Ending.SLOW_DECLINE: Course(
        days=(150, 330),
        knots=_knots(
            (0.0, {}), (0.4, {"enrol": 0.65, "renew": 0.8, "claim": 2.0, "stall": 0.1}),
            (0.7, {"enrol": 0.45, "renew": 0.6, "teach": 0.85, "claim": 4.0, "complain": 3.0, "stall": 0.4,
                   "drain": 0.03}),
            (1.0, {"enrol": 0.25, "renew": 0.3, "teach": 0.55, "claim": 7.0, "complain": 8.0, "stall": 0.9,
                   "drain": 0.16}),
        ),
        notices=((0.62, NoticeKind.WAGE_ARREARS), (0.75, NoticeKind.RENT_ARREARS)),
    ),
    Ending.PROMOTION_FLIGHT: Course(
        days=(90, 180),
        knots=_knots(
            (0.0, {}),
            (0.25, {"enrol": 2.2, "discount": 0.75, "package": 1.6, "outside": 0.05, "drain": 0.02}),
            (0.75, {"enrol": 3.2, "discount": 0.6, "package": 2.2, "outside": 0.25, "complain": 1.5, "stall": 0.3,
                    "drain": 0.08}),
            (1.0, {"enrol": 2.4, "discount": 0.5, "package": 2.5, "outside": 0.4, "teach": 0.8, "complain": 3.0,
                   "stall": 0.8, "drain": 0.30}),
        ),
    ),
    Ending.SIPHONING: Course(
        days=(120, 270),
        knots=_knots(
            (0.0, {}), (0.3, {"outside": 0.25, "unrecorded": 0.05, "complain": 1.3}),
            (0.7, {"outside": 0.55, "unrecorded": 0.15, "claim": 1.6, "complain": 2.0, "stall": 0.2, "drain": 0.02}),
            (1.0, {"outside": 0.75, "unrecorded": 0.25, "claim": 3.0, "complain": 4.0, "teach": 0.8, "stall": 0.7,
                   "drain": 0.12}),
        ),
    ),
    Ending.FABRICATED_LESSONS: Course(
        days=(90, 210),
        knots=_knots(
            (0.0, {}), (0.3, {"fabricate": 0.35}), (0.7, {"fabricate": 1.0, "complain": 2.0, "teach": 0.95}),
            (1.0, {"fabricate": 1.8, "complain": 5.0, "claim": 2.5, "teach": 0.7, "stall": 0.6}),
        ),
    ),
    Ending.TAKEOVER: Course(
        days=(100, 220),
        knots=_knots(
            (0.0, {}), (0.2, {"enrol": 1.5, "discount": 0.8, "package": 1.3, "drain": 0.03, "teach": 0.95}),
            (0.6, {"enrol": 1.2, "discount": 0.7, "package": 1.5, "teach": 0.75, "claim": 2.5, "complain": 3.0,
                   "stall": 0.4, "drain": 0.07}),
            (1.0, {"enrol": 0.8, "discount": 0.6, "teach": 0.4, "claim": 6.0, "complain": 8.0, "stall": 0.9,
                   "drain": 0.15}),
        ),
        notices=((0.05, NoticeKind.NEW_REPRESENTATIVE), (0.55, NoticeKind.WAGE_ARREARS),
                    (0.8, NoticeKind.RENT_ARREARS)),
    ),
    Ending.REFUND_STALLING: Course(
        days=(90, 240),
        knots=_knots(
            (0.0, {}), (0.35, {"claim": 3.0, "stall": 0.4, "complain": 2.0, "enrol": 0.8}),
            (0.7, {"claim": 6.0, "stall": 0.8, "complain": 5.0, "enrol": 0.6, "drain": 0.03}),
            (1.0, {"claim": 9.0, "stall": 1.0, "complain": 9.0, "enrol": 0.4, "teach": 0.7, "drain": 0.12}),
        ),
    ),
    Ending.CONTAGION: Course(
        days=(60, 120),
        knots=_knots(
            (0.0, {}), (0.3, {"claim": 4.0, "drain": 0.06, "enrol": 0.8, "complain": 2.0, "stall": 0.2}),
            (1.0, {"claim": 10.0, "drain": 0.20, "enrol": 0.3, "teach": 0.6, "complain": 8.0, "stall": 0.9}),
        ),
        notices=((0.5, NoticeKind.WAGE_ARREARS),),
    ),
    Ending.LICENCE_REVOKED: Course(
        days=(70, 160),
        knots=_knots(
            (0.0, {}), (0.5, {"enrol": 0.5, "claim": 2.5, "complain": 2.0, "drain": 0.03}),
            (1.0, {"enrol": 0.1, "renew": 0.2, "claim": 8.0, "complain": 5.0, "stall": 0.7, "teach": 0.6,
                   "drain": 0.15}),
        ),
        notices=((0.55, NoticeKind.LICENCE_REVOKED),),
    ),
    Ending.ACCOUNT_FROZEN: Course(
        days=(60, 150),
        knots=_knots(
            (0.0, {}), (0.5, {"drain": 0.08, "stall": 0.2}),
            (1.0, {"enrol": 0.4, "claim": 6.0, "complain": 5.0, "stall": 1.0, "teach": 0.6, "drain": 0.08}),
        ),
        notices=((0.4, NoticeKind.RENT_ARREARS), (0.6, NoticeKind.ACCOUNT_FROZEN)),
    ),
    Ending.SUDDEN_THEFT: Course(days=(1, 3), knots=_knots((0.0, {}), (1.0, {})), last_day_drain=0.92),
}


def forces_at(course: Course, x: float, strength: float) -> Forces:
    """The forces at `x` of a course; `strength` 1 is as written, 0 healthy."""
    before = course.knots[0]
    for after in course.knots[1:]:
        if x <= after[0]:
            span = after[0] - before[0]
            part = (x - before[0]) / span if span else 1.0
            return Forces(*(
                healthy + (low + (high - low) * part - healthy) * strength
                for healthy, low, high in zip(HEALTHY, before[1], after[1], strict=True)
            ))
        before = after
    return Forces(*(
        healthy + (value - healthy) * strength for healthy, value in zip(HEALTHY, course.knots[-1][1], strict=True)
    ))


AWKWARD: Mapping[Awkward, tuple[tuple[int, int], Forces]] = {
    Awkward.FAST_GROWTH: ((90, 240), Forces(enrol=2.0, package=1.1)),
    Awkward.TROUGH: ((40, 90), Forces(enrol=0.4, teach=0.85, renew=0.9)),
    Awkward.LARGE_PURCHASE: ((1, 2), HEALTHY),
    Awkward.MOVE: ((10, 20), Forces(enrol=0.6, teach=0.2, complain=2.5, claim=1.8)),
    Awkward.BANK_OUTAGE: ((2, 6), HEALTHY),
    Awkward.LATE_STATEMENTS: ((10, 40), HEALTHY),
    Awkward.LONG_HOLIDAY: ((7, 16), Forces(enrol=0.2, teach=0.0)),
    Awkward.NEW_REPRESENTATIVE: ((1, 2), HEALTHY),
}
"""How long each lasts (days, from to), and what it does meanwhile."""


def together(one: Forces, other: Forces) -> Forces:
    """Two influences at once: rates multiply, shares add up."""
    return Forces(*(
        mine * theirs if name in _NEUTRAL else min(mine + theirs, 3.0)
        for name, mine, theirs in zip(Forces._fields, one, other, strict=True)
    ))
