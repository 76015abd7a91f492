"""What happens to an account of the district, told in days of the story; TOP_UP in days from a Friday of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction


class Fate(StrEnum):
    """The stories an account can live through."""

    HEALTHY = "healthy"
    SLOW_DECLINE = "slow_decline"
    SUDDEN_OUTFLOW = "sudden_outflow"
    TOP_UP = "top_up"
    LATE_TOP_UP = "late_top_up"
    YELLOW_DIP = "yellow_dip"
    FROZEN = "frozen"
    TWIN_ENTRIES = "twin_entries"
    MONTH_OUTFLOW = "month_outflow"


@dataclass(frozen=True, slots=True)
class Leg:
    """From `first` to `last`, both days of the story, the balance is led from one multiple of the floor to another.

    With `rising`, money is paid in where the balance is lower; without it money only leaves.
    """

    first: int
    last: int
    start: Fraction
    end: Fraction
    rising: bool = False

    def coverage(self, day: int) -> Fraction:
        """The multiple of the floor meant for the end of `day`."""
        if self.first == self.last:
            return self.end
        return self.start + (self.end - self.start) * Fraction(day - self.first, self.last - self.first)


@dataclass(frozen=True, slots=True)
class Script:
    """How one fate runs: the multiple of the floor it lives at, and the legs that break it.

    `step_max` bounds what a leg may take out on one day, as a share of the balance, so that a slow decline is not
    one large debit; None lets a leg take all it needs.
    """

    lives_at: Fraction
    legs: tuple[Leg, ...] = ()
    step_max: Fraction | None = None
    frozen_days: range | None = None
    twin_days: tuple[int, ...] = ()
    outflow_days: range | None = None

    def leg_on(self, day: int) -> Leg | None:
        """The leg that rules this day of the story, if any."""
        for leg in self.legs:
            if leg.first <= day <= leg.last:
                return leg
        return None


def _leg(first: int, last: int, start: str, end: str, *, rising: bool = False) -> Leg:
    return Leg(first, last, Fraction(start), Fraction(end), rising)


SCRIPTS: Mapping[Fate, Script] = {
    Fate.HEALTHY: Script(Fraction(2)),
    Fate.SLOW_DECLINE: Script(
        Fraction("1.4"), step_max=Fraction(2, 5), legs=(
            _leg(1, 9, "1.30", "0.72"), _leg(10, 29, "0.72", "0.72"), _leg(30, 30, "1.5", "1.5", rising=True),
            _leg(38, 62, "1.5", "0.70"), _leg(63, 90, "0.70", "0.70"),
        ),
    ),
    Fate.SUDDEN_OUTFLOW: Script(
        Fraction("1.6"), legs=(
            _leg(3, 26, "0.45", "0.45"), _leg(27, 27, "1.5", "1.5", rising=True),
        ),
    ),
    Fate.TOP_UP: Script(
        Fraction("1.5"), legs=(
            _leg(0, 2, "0.91", "0.91"), _leg(3, 3, "1.6", "1.6", rising=True),
            _leg(28, 30, "0.91", "0.91"), _leg(31, 31, "1.6", "1.6", rising=True),
        ),
    ),
    Fate.LATE_TOP_UP: Script(
        Fraction("1.5"), legs=(_leg(4, 20, "0.90", "0.90"), _leg(21, 21, "1.6", "1.6", rising=True)),
    ),
    Fate.YELLOW_DIP: Script(
        Fraction("1.3"), legs=(
            _leg(3, 14, "1.04", "1.04"), _leg(15, 15, "1.5", "1.5", rising=True), _leg(40, 70, "1.05", "1.05"),
        ),
    ),
    Fate.FROZEN: Script(Fraction(2), frozen_days=range(6, 21)),
    Fate.TWIN_ENTRIES: Script(Fraction(2), twin_days=(5, 6)),
    Fate.MONTH_OUTFLOW: Script(Fraction(4), outflow_days=range(4, 10)),
}

CAST: tuple[Fate, ...] = (
    Fate.HEALTHY, Fate.SLOW_DECLINE, Fate.SUDDEN_OUTFLOW, Fate.TOP_UP, Fate.HEALTHY, Fate.YELLOW_DIP,
    Fate.FROZEN, Fate.HEALTHY, Fate.YELLOW_DIP, Fate.TWIN_ENTRIES, Fate.MONTH_OUTFLOW, Fate.LATE_TOP_UP,
)
"""The fates of the first accounts of every district, in order; all later ones are drawn."""

DRAWN: tuple[tuple[Fate, int], ...] = (
    (Fate.HEALTHY, 92), (Fate.YELLOW_DIP, 2), (Fate.TOP_UP, 2), (Fate.SLOW_DECLINE, 2), (Fate.SUDDEN_OUTFLOW, 1),
    (Fate.FROZEN, 1),
)
"""The fates of all later accounts, with their weights in a hundred."""
