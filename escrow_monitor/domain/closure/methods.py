"""The methods that a back-test compares: the closure index, and floors under the balance as policies ask for them.

A method that has no colours of its own takes a ladder's: yellow, orange and red below so many times its floor, and red
below the floor for longer than a shortfall may last. Every method holds its levels over the days as `levels.py` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from escrow_monitor.domain.clauses import (
    LADDER_DEFAULT,
    Fixed,
    FloorTerms,
    FullLiability,
    Ladder,
    PeriodFees,
    RatioOf,
    RatioWindow,
)
from escrow_monitor.domain.closure.index import Assessment
from escrow_monitor.domain.closure.levels import Levels, next_levels, no_levels
from escrow_monitor.domain.closure.series import Floats, Ints, View
from escrow_monitor.domain.findings import Sentence

TOP_UP_WORKING_DAYS = 1
"""A shortfall may last so long where no clause says more."""
YELLOW, ORANGE, RED = 1, 2, 3


class Judge(Protocol):
    """One method under way: asked every morning, in order."""

    def levels(self, view: View, found: Assessment, *, days: int = 1) -> Ints:
        """The levels of this morning, `days` after the one before, held over the days."""


class Method(Protocol):
    """A way to judge institutions. `about` says in a sentence what its colours are."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> Sentence: ...

    def begin(self, count: int) -> Judge:
        """Begin with so many institutions of which nothing was said yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMethod:
    """The closure index. `thresholds`: chances within 60 days for yellow, orange and red instead of the model's."""

    name: str = "closure_watch"
    thresholds: tuple[float, float, float] | None = None

    @property
    def about(self) -> Sentence:
        """What its colours are."""
        if self.thresholds is None:
            return Sentence(zh="关停指数，含硬性规则", en="the closure index as it is set, hard rules included")
        bounds = ", ".join(f"{each:g}" for each in self.thresholds)
        return Sentence(
            zh=f"关停指数，含硬性规则；60 天内关停概率达 {bounds} 时为黄、橙、红",
            en=f"the closure index, hard rules included; yellow, orange, red from a chance of {bounds} within 60 days",
        )

    def begin(self, count: int) -> Judge:
        """Begin with so many institutions."""
        return _IndexJudge(self, no_levels(count))


class _IndexJudge:
    def __init__(self, method: IndexMethod, state: Levels) -> None:
        self._method, self._state = method, state

    def levels(self, view: View, found: Assessment, *, days: int = 1) -> Ints:
        said = found.level
        if self._method.thresholds is not None:
            by_chance = np.searchsorted(self._method.thresholds, found.chance[60], side="right")
            said = np.maximum(by_chance, found.hard).astype(np.int64)
        self._state = next_levels(self._state, said, days=days)
        return self._state.held


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorMethod:
    """A floor under the balance: the largest of its terms, for accounts in custody and for the others."""

    name: str
    custody: tuple[FloorTerms, ...]
    others: tuple[FloorTerms, ...]
    ladder: Ladder = LADDER_DEFAULT
    top_up_working_days: int = TOP_UP_WORKING_DAYS

    @property
    def about(self) -> Sentence:
        """What its colours are."""
        ladder, days = self.ladder, self._days
        bounds = ", ".join(
            f"{float(each):g}" for each in (ladder.yellow_below, ladder.orange_below, ladder.red_below)
        )
        return Sentence(
            zh=f"余额低于最低余额的 {bounds} 倍时为黄、橙、红；低于最低余额超过 {days} 个工作日为红",
            en=f"yellow, orange, red below {bounds} times its floor; red below the floor for more than {days} working "
            f"day{'s' if days != 1 else ''}",
        )

    @property
    def _days(self) -> int:
        days = self.ladder.red_after_working_days
        return self.top_up_working_days if days is None else days

    def begin(self, count: int) -> Judge:
        """Begin with so many institutions."""
        return _FloorJudge(self, no_levels(count), self._days)


class _FloorJudge:
    def __init__(self, method: FloorMethod, state: Levels, days: int) -> None:
        self._method, self._state, self._days = method, state, days
        self._short = np.zeros(len(state.held), dtype=np.int64)

    def levels(self, view: View, found: Assessment, *, days: int = 1) -> Ints:
        floor = np.where(
            view.custody, floor_of(view, self._method.custody), floor_of(view, self._method.others)
        )
        balance, ladder = view.last("balance_fen"), self._method.ladder
        known = view.through > 0
        said = sum(
            (known & (balance < float(bound) * floor)).astype(np.int64)
            for bound in (ladder.yellow_below, ladder.orange_below, ladder.red_below)
        )
        is_short = known & (balance < floor)
        self._short = np.where(is_short, self._short + int(view.working[-days:].sum()), 0)
        said = np.where(self._short > self._days, RED, said)
        self._state = next_levels(self._state, np.asarray(said, dtype=np.int64), days=days)
        return self._state.held


def why_not(terms: FloorTerms) -> str | None:
    """Why such a floor cannot be replayed, or None: not everything that it counts is kept day by day."""
    if isinstance(terms, FullLiability | RatioWindow | Fixed):
        return None
    kind = "period_fees" if isinstance(terms, PeriodFees) else "schedule"
    return f"a {kind} floor needs the terms of every contract, and of past days only sums are kept"


def floor_of(view: View, terms: Sequence[FloorTerms]) -> Floats:
    """What these terms ask for, the largest of them, at the end of the last day whose statement is known, in fen.

    Calendar months count with the month of that day as the last. Raises ValueError for terms that `why_not` refuses.
    """
    floor = np.zeros(view.count, dtype=np.float64)
    for each in terms:
        floor = np.maximum(floor, _asked(view, each))
    return floor


def _asked(view: View, terms: FloorTerms) -> Floats:
    if isinstance(terms, FullLiability):
        return np.asarray(np.take_along_axis(view.values["owed_fen"], _place(view)[:, None], axis=1)[:, 0], np.float64)
    if isinstance(terms, RatioWindow):
        name = "charged_fen" if terms.of is RatioOf.CHARGES else "credits_fen"
        return np.asarray(float(terms.ratio) * _of_months(view, name, terms.months), np.float64)
    if isinstance(terms, Fixed):
        amounts = np.array([tier.amount.minor_units for tier in terms.tiers], np.float64)
        if not terms.months:
            return np.full(view.count, amounts[-1])
        bounds = [tier.credits_below.minor_units for tier in terms.tiers if tier.credits_below is not None]
        credited = _of_months(view, "credits_fen", terms.months)
        return np.asarray(amounts[np.searchsorted(bounds, credited, side="right")], np.float64)
    raise ValueError(why_not(terms))


def _place(view: View) -> Ints:
    return np.asarray(np.clip(view.through - 1, 0, None), np.int64)


def _of_months(view: View, name: str, months: int) -> Floats:
    """The sum of a column over calendar months up to the last known day of each institution."""
    days = np.datetime64(view.day) - view.width + np.arange(view.width)
    begins = (days.astype("datetime64[M]") - (months - 1)).astype("datetime64[D]")
    first = np.clip((begins - days[0]).astype(np.int64), 0, None)
    sums = np.cumsum(np.pad(view.values[name], ((0, 0), (1, 0))), axis=1)
    place = _place(view)
    rows = np.arange(view.count)
    return np.asarray(sums[rows, place + 1] - sums[rows, first[place]], np.float64)
