"""Sums over windows of days that end where a feed last spoke, so that what falls silent does not look better with time.

    bank       ends with the newest statement; what the books say is then read as of that day too
    platform   ends with the newest day on which the institution recorded a lesson or a contract, if others still do
    now        ends yesterday

A window that has moved on into the silence would hold fewer debits and a smaller gap: the last known figures decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from escrow_monitor.domain.closure.series import Bools, Floats, Ints, View

End: TypeAlias = Literal["bank", "platform", "now"]
SILENT_DAYS = 10
"""Days without a statement after which a bank's figure is no longer known: the longest public holiday, and two."""
PEERS_MIN = 8
"""With fewer others nobody can tell a season from a trouble."""
_SPEAKS = ("taught", "counted", "charges", "signed")
_SPEAKS_LOOK_BACK = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a signal found, a row an institution: intensity from 0 to 1, whether it is known, figures that say why.

    An unknown signal keeps the intensity that it last had. Figures ending in `_fen` are money, in `_share` shares of 1.
    """

    intensity: Floats
    known: Bools
    figures: dict[str, Floats] = field(default_factory=dict)


def ramp(value: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high` on, straight between; an undefined value is 0."""
    share = np.nan_to_num((value - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float64)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Undefined (nan) where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0), dtype=np.float64)


def middle(columns: Sequence[Floats]) -> Floats:
    """The median of several arrays, place by place, of what is defined there; nan where nothing is."""
    stacked = np.sort(np.stack(columns), axis=0)
    count = (~np.isnan(stacked)).sum(axis=0)
    found = np.take_along_axis(stacked, np.clip((count - 1) // 2, 0, None)[None], axis=0)[0]
    return np.asarray(np.where(count > 0, found, np.nan), dtype=np.float64)


@dataclass(frozen=True)
class Facts:
    """One view, and where the windows of every institution end. A sum is made once, however many signals ask for it."""

    view: View
    _totals: dict[tuple[str, int, End, int], Floats] = field(default_factory=dict, repr=False)

    @property
    def custody(self) -> Bools:
        """Who releases lesson by lesson."""
        return self.view.custody

    @property
    def always(self) -> Bools:
        """Known of everyone."""
        return np.ones(self.view.count, dtype=np.bool_)

    @property
    def peers_enough(self) -> bool:
        """Whether there are enough others to tell a season."""
        return self.view.peers.count > PEERS_MIN

    @cached_property
    def heard(self) -> Bools:
        """Whose bank has spoken lately."""
        return (self.view.through > 0) & (self.view.silence() <= SILENT_DAYS)

    @cached_property
    def has_books(self) -> Bools:
        """Whose contracts are recorded at all: of the others nobody knows what families are owed."""
        return np.asarray(self.view.values["owed_fen"].any(axis=1) | self.view.values["charges"].any(axis=1))

    @cached_property
    def ends(self) -> dict[End, Ints]:
        """The column after the last of the windows, by institution."""
        view = self.view
        return {
            "bank": view.through, "platform": self._platform_ends(),
            "now": np.full(view.count, view.width, dtype=np.int64),
        }

    @cached_property
    def _groups(self) -> dict[End, list[tuple[int, Ints | slice]]]:
        return {end: _grouped(ends) for end, ends in self.ends.items()}

    def _platform_ends(self) -> Ints:
        """Where the institution's own records end, if they do so while those of others go on."""
        view, last = self.view, np.zeros(self.view.count, dtype=np.int64)
        first = max(0, view.width - _SPEAKS_LOOK_BACK)
        for name in _SPEAKS:
            spoke = view.values[name][:, first:] > 0
            newest = np.where(spoke.any(axis=1), view.width - np.argmax(spoke[:, ::-1], axis=1), 0)
            last = np.maximum(last, newest)
        # A few quiet days are no silence, and one that is silent for good has nothing left to compare.
        quiet = view.width - last
        return np.where((quiet > SILENT_DAYS) & (last > 0), last, view.width).astype(np.int64)

    def total(self, name: str, days: int, *, end: End, before: int = 0) -> Floats:
        """The sum of the `days` columns that end `before` columns before the end."""
        key = (name, days, end, before)
        if key not in self._totals:
            array, found = self.view.values[name], np.zeros(self.view.count)
            for stop, rows in self._groups[end]:
                found[rows] = array[rows, max(0, stop - before - days) : max(0, stop - before)].sum(axis=1)
            self._totals[key] = found
        return self._totals[key]

    def others(self, name: str, days: int, *, end: End, before: int = 0) -> Floats:
        """The same of all other institutions together, over the same days."""
        totals, everyone = self.view.peers.totals[name], np.zeros(self.view.count)
        for stop, rows in self._groups[end]:
            everyone[rows] = totals[max(0, stop - before - days) : max(0, stop - before)].sum()
        return np.maximum(everyone - self.total(name, days, end=end, before=before), 0)

    def at(self, name: str, *, end: End, before: int = 0) -> Floats:
        """The value on the day `before` columns before the last of the windows; the first known one if earlier."""
        array = self.view.values[name]
        if array.shape[1] == 0:
            return np.zeros(self.view.count)
        found = np.zeros(self.view.count)
        for stop, rows in self._groups[end]:
            found[rows] = array[rows, max(0, stop - 1 - before)]
        return found

    def days(self, days: int, *, end: End, before: int = 0) -> Floats:
        """How many columns of that window lie after the institution's first."""
        stop = self.ends[end] - before
        return np.clip(stop - np.maximum(self.view.began, stop - days), 0, days).astype(np.float64)

    @cached_property
    def owed(self) -> Floats:
        """What the books say families are owed, on the day of the last statement, without the claims past their day.

        A claim that is paid late then changes nothing but what is overdue: it never makes the account look fuller.
        """
        return np.maximum(self.at("owed_fen", end="bank") - self.at("overdue_fen", end="bank"), 0)

    @cached_property
    def balance(self) -> Floats:
        """The last balance, less the claims past their day."""
        return self.at("balance_fen", end="bank") - self.at("overdue_fen", end="bank")

    def season(self, name: str, *, short: int, long: int, gap: int, end: End) -> Floats:
        """How a figure per active contract went with all others: lately, over what is usual. nan: too few others."""
        lately = ratio(self.others(name, short, end=end), self.others("active", short, end=end))
        usual = ratio(
            self.others(name, long, end=end, before=short + gap),
            self.others("active", long, end=end, before=short + gap),
        )
        season = ratio(lately, np.nan_to_num(usual))
        return season if self.peers_enough else np.full(self.view.count, np.nan)


def _grouped(ends: Ints) -> list[tuple[int, Ints | slice]]:
    """Where most windows end, for all rows, then the other ends with their rows."""
    if not ends.size:
        return []
    places, counts = np.unique(ends, return_counts=True)
    main = int(places[np.argmax(counts)])
    rest: list[tuple[int, Ints | slice]] = [
        (int(place), np.flatnonzero(ends == place)) for place in places if int(place) != main
    ]
    return [(main, slice(None)), *rest]

