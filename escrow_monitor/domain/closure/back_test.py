"""How early, how often in vain: any method over any past, morning by morning, and the score of what it said.

    views of the past  --replay, every method-->  Said       a level an institution and morning, chances
    Said, Fates        --score----------------->  Score      recall, lead time, false reds, money still there, load

What counts, for every method alike:

    evaluated     the mornings from `first` to `last`. A method is under way up to LEAD_IN_DAYS earlier where records
                  are, so that a closure soon after `first` is not missed for want of time. After its closing day
                  nothing is asked of an institution any more.
    closure       an institution whose last day lies within the evaluated mornings. Its window is the WINDOW_DAYS
                  before that day and the day itself.
    red, orange   an episode is a run of mornings at that level or above. An episode that touches the window of a
                  closure is right. Its lead counts from the first such morning within the window, so it is at most
                  WINDOW_DAYS, however long the episode had stood before. Never warned is a lead of 0 in a median.
    false red     every other red episode: of an institution that does not close as far as is known, or ended before
                  the window began. One that stands on the morning `first` counts, one that ended before it does not.
    a year        365 evaluated institution-mornings outside the windows.
    protected     what lies in the account on the morning of the first red, of what families' money should lie there
                  by then: owed x what was usual for this account before the window (1 in custody, less where only a
                  floor is kept). 0 without a red. Over all closures: the sum of the ones by the sum of the others.
    alert         a morning on which a level rises, to whatever colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from escrow_monitor.domain.closure.index import HORIZONS, Model, assess
from escrow_monitor.domain.closure.methods import ORANGE, RED, YELLOW, Method
from escrow_monitor.domain.closure.series import Bools, Ints, View
from escrow_monitor.domain.findings import Sentence

WINDOW_DAYS = 180
LEAD_IN_DAYS = 180
LEAD_ENOUGH_DAYS = 14
"""A red so many days before closing is in time."""
HABIT_DAYS = 90
"""So many days before the window say what was usual for an account."""
YEAR_DAYS = 365
CALIBRATION_STEP_DAYS = 7
"""One morning a week is compared with what happened: those between say much the same."""
BINS = 10
SEVERITIES: Mapping[int, str] = {YELLOW: "yellow", ORANGE: "orange", RED: "red"}
NEVER = -1

Small: TypeAlias = NDArray[np.int8]
Halves: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said on the mornings `days` (columns, one after the other). A row an institution, a column a morning.

    `levels` by method; `chances` of the closure index by horizon.
    """

    days: Ints
    levels: Mapping[str, Small]
    chances: Mapping[int, Halves]

    @staticmethod
    def together(parts: Sequence[Said]) -> Said:
        """The same mornings of several groups of institutions, one below the other."""
        first = parts[0]
        return Said(
            days=first.days,
            levels={name: np.concatenate([part.levels[name] for part in parts]) for name in first.levels},
            chances={days: np.concatenate([part.chances[days] for part in parts]) for days in first.chances},
        )


def replay(
    views: Iterable[View], methods: Sequence[Method], model: Model, *, days: Sequence[int], count: int,
    heard: Callable[[int], None] | None = None,
) -> Said:
    """Ask every method on every morning, in order. `days` are the columns of the mornings that `views` show.

    A view holds nothing later than its morning, so neither does what is said of it. Between two mornings that lie
    apart what was said on the first one stands. `heard` gets the mornings done.
    """
    levels = {one.name: np.zeros((count, len(days)), np.int8) for one in methods}
    chances = {horizon: np.zeros((count, len(days)), np.float32) for horizon in HORIZONS}
    judges = {one.name: one.begin(count) for one in methods}
    steps = [1, *(after - before for before, after in pairwise(days))]
    for morning, view in enumerate(views):
        found = assess(view, model)
        for name, judge in judges.items():
            levels[name][:, morning] = judge.levels(view, found, days=steps[morning])
        for horizon in HORIZONS:
            chances[horizon][:, morning] = found.chance[horizon]
        if heard is not None:
            heard(morning + 1)
    lasting = [*steps[1:], 1]
    return Said(
        days=np.arange(days[0], days[-1] + 1),
        levels={name: np.repeat(array, lasting, axis=1) for name, array in levels.items()},
        chances={horizon: np.repeat(array, lasting, axis=1) for horizon, array in chances.items()},
    )


# Scoring.


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """What became of the institutions: a row each; of money a column a day, in fen.

    `closes` is the column of the last day, NEVER where nobody knows of one. `causes` says of what, where it is known.
    """

    ids: tuple[str, ...]
    closes: Ints
    causes: tuple[str | None, ...]
    owed_fen: Ints
    balance_fen: Ints
    starts_on: date

    def on(self, column: int) -> date:
        """The date of a column."""
        return self.starts_on + timedelta(days=column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """One closure and how long before it the first orange and the first red stood; None: never.

    `due_fen` is what should have lain in the account on the morning of the first red (without one: of closing),
    `there_fen` what of it did (without a red: nothing).
    """

    uscc: str
    cause: str
    closed_on: date
    orange_days: int | None
    red_days: int | None
    due_fen: int
    there_fen: int

    @property
    def is_missed(self) -> bool:
        """Whether there was no red in time."""
        return self.red_days is None or self.red_days < LEAD_ENOUGH_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a method did. `years` are institution-years outside the windows; `raises` by the colour risen to."""

    method: str
    about: Sentence
    closures: tuple[Warned, ...]
    false_reds: int
    standing_reds: int
    years: float
    raises: Mapping[int, int]
    supervisor_weeks: float

    def as_json(self) -> dict[str, Any]:
        """JSON-ready. A figure that nothing can be said of is null."""
        sudden = [one for one in self.closures if one.cause == SUDDEN]
        causes = sorted({one.cause for one in self.closures})
        return {
            "method": self.method, "about": self.about.en, "about_zh": self.about.zh,
            **_told(self.closures),
            "false_reds_per_100_institution_years": _rounded(_per(100 * self.false_reds, self.years)),
            "protected_share": _protected(self.closures),
            "protected_share_mean": _mean([one.there_fen / one.due_fen for one in self.closures if one.due_fen]),
            "alerts_per_supervisor_week": _rounded(_per(sum(self.raises.values()), self.supervisor_weeks)),
            "alerts": {SEVERITIES[level]: self.raises.get(level, 0) for level in SEVERITIES},
            "false_reds": self.false_reds, "reds_standing_at_the_end": self.standing_reds,
            "institution_years": round(self.years, 2),
            "recall_by_cause": {
                cause: _told([one for one in self.closures if one.cause == cause]) for cause in causes
            },
            **({
                "sudden_thefts": _told(sudden),
                "without_sudden_thefts": _told([one for one in self.closures if one.cause != SUDDEN]),
            } if sudden else {}),
            "lead_days_first_orange": sorted(one.orange_days or 0 for one in self.closures),
            "lead_days_first_red": sorted(one.red_days or 0 for one in self.closures),
            "misses": [
                {
                    "uscc": one.uscc, "cause": one.cause, "closed_on": one.closed_on.isoformat(),
                    "lead_days_first_orange": one.orange_days, "lead_days_first_red": one.red_days,
                }
                for one in self.closures if one.is_missed
            ],
        }


SUDDEN = "sudden_theft"
"""The cause that nobody can foresee; it counts all the same, and is shown apart as well."""
UNKNOWN_CAUSE = "unknown"


def score(
    said: Said, method: Method, fates: Fates, *, first: int, last: int, institutions_per_supervisor: int
) -> Score:
    """Score one method over the mornings `first` to `last`, as this file's head says."""
    levels, days = said.levels[method.name], said.days
    closes = fates.closes[:, None]
    closed, inside = closes != NEVER, (days >= first) & (days <= last)
    watched = (~closed | (days <= closes)) & (days <= last)
    window = closed & (days >= closes - WINDOW_DAYS) & (days <= closes)
    red = (levels >= RED) & watched
    false = [
        run for run in _runs(red) if not window[run.row, run.first : run.stop].any() and days[run.stop - 1] >= first
    ]
    asked = watched & inside
    before = np.pad(levels, ((0, 0), (1, 0)))[:, :-1]
    risen = (levels > before) & asked
    return Score(
        method=method.name, about=method.about, closures=tuple(_warned(levels, days, fates, first, last)),
        false_reds=len(false), standing_reds=sum(run.stop == len(days) for run in false),
        years=float((asked & ~window).sum()) / YEAR_DAYS,
        raises={level: int((risen & (levels == level)).sum()) for level in SEVERITIES},
        supervisor_weeks=float(asked.sum()) / 7 / institutions_per_supervisor,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    row: int
    first: int
    stop: int


def _runs(there: Bools) -> Iterator[_Run]:
    """Every run of mornings on which something holds."""
    edges = np.diff(np.pad(there.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, firsts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    return (_Run(*each) for each in zip(rows.tolist(), firsts.tolist(), stops.tolist(), strict=True))


def _warned(levels: Small, days: Ints, fates: Fates, first: int, last: int) -> Iterator[Warned]:
    for row in np.flatnonzero((fates.closes >= first) & (fates.closes <= last)).tolist():
        closes = int(fates.closes[row])
        inside = (days >= closes - WINDOW_DAYS) & (days <= closes)
        leads = [
            closes - int(days[found[0]]) if len(found := np.flatnonzero((levels[row] >= level) & inside)) else None
            for level in (ORANGE, RED)
        ]
        due, there = _money(fates, row, closes - (leads[1] or 0))
        yield Warned(
            uscc=fates.ids[row], cause=fates.causes[row] or UNKNOWN_CAUSE, closed_on=fates.on(closes),
            orange_days=leads[0], red_days=leads[1], due_fen=due, there_fen=0 if leads[1] is None else there,
        )


def _money(fates: Fates, row: int, morning: int) -> tuple[int, int]:
    """What should lie in an account on a morning, and what of it does."""
    balance, owed = fates.balance_fen[row], np.maximum(fates.owed_fen[row], 0)
    stop = max(int(fates.closes[row]) - WINDOW_DAYS, min(HABIT_DAYS, len(owed)) // 2)
    habit = slice(max(0, stop - HABIT_DAYS), stop)
    usual = float(np.median(np.minimum(1, balance[habit] / np.maximum(owed[habit], 1)))) if stop else 1
    column = max(0, morning - 1)
    due = round(usual * int(owed[column]))
    return due, min(due, max(0, int(balance[column])))


def _told(closures: Sequence[Warned]) -> dict[str, Any]:
    """The figures that closures alone give."""
    reds = [one.red_days for one in closures]
    in_time = sum(not one.is_missed for one in closures)
    low, high = _interval(in_time, len(closures))
    orange = [one.orange_days or 0 for one in closures]
    return {
        "closures": len(closures), "recall_red_14d": _rounded(in_time / len(closures) if closures else None),
        "recall_red_14d_interval95": [_rounded(low), _rounded(high)],
        "lead_days_first_orange_median": _quantile(orange, 0.5), "lead_days_p10": _quantile(orange, 0.1),
        "lead_days_first_red_median": _quantile([each or 0 for each in reds], 0.5),
    }


def _protected(closures: Sequence[Warned]) -> float | None:
    due = sum(one.due_fen for one in closures)
    return _rounded(sum(one.there_fen for one in closures) / due if due else None)


def _interval(hits: int, count: int) -> tuple[float | None, float | None]:
    """Wilson's interval of a share, 95 %."""
    if not count:
        return None, None
    z, share = 1.96, hits / count
    middle, half = share + z * z / (2 * count), z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def _quantile(values: Sequence[int], share: float) -> float | None:
    return _rounded(float(np.quantile(values, share))) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return _rounded(float(np.mean(values))) if values else None


def _per(count: int, of: float) -> float | None:
    return count / of if of else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


# How far the chances can be believed.


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Chances against what happened: by tenth of the chance how many mornings, the mean chance, the share that closed.

    `brier` is the mean square of chance less outcome. `count` institution-mornings, one morning a week.
    """

    horizon: int
    count: int
    happened: int
    brier: float | None
    bins: tuple[tuple[int, float, float], ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; only tenths with mornings in them."""
        return {
            "horizon_days": self.horizon, "mornings": self.count, "closed": self.happened,
            "brier": None if self.brier is None else round(self.brier, 5),
            "bins": [
                {"mornings": count, "chance": round(chance, 4), "happened": round(happened, 4)}
                for count, chance, happened in self.bins if count
            ],
        }


def calibration(said: Said, fates: Fates, horizon: int, *, first: int, last: int, known_to: int) -> Calibration:
    """Compare the chances with what happened within the horizon, where that is known: up to column `known_to`."""
    chosen = (said.days >= first) & (said.days <= min(last, known_to - horizon))
    chosen &= (said.days - first) % CALIBRATION_STEP_DAYS == 0
    days, closes = said.days[chosen], fates.closes[:, None]
    open_still = (closes == NEVER) | (days <= closes)
    chance = said.chances[horizon][:, chosen][open_still].astype(np.float64)
    happened = ((closes != NEVER) & (closes - days <= horizon))[open_still]
    place = np.minimum((chance * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    sums, hits = (np.bincount(place, weights=each, minlength=BINS) for each in (chance, happened))
    return Calibration(
        horizon=horizon, count=len(chance), happened=int(happened.sum()),
        brier=float(np.mean((chance - happened) ** 2)) if len(chance) else None,
        bins=tuple(
            (int(n), float(total / n), float(hit / n)) if n else (0, 0.0, 0.0)
            for n, total, hit in zip(count, sums, hits, strict=True)
        ),
    )


# What would have been told.


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAlert:
    """How long an institution stood at a severity or above. `resolved_on` None: to the end, or to its closing."""

    uscc: str
    severity: str
    opened_on: date
    resolved_on: date | None


def told_alerts(said: Said, name: str, fates: Fates, *, first: int, last: int) -> Iterator[ToldAlert]:
    """The alerts of a method, in the order in which they opened; each severity by itself, a red one within an orange.

    What stood already on the morning `first` opened when it rose, if that was replayed.
    """
    days, closes = said.days, fates.closes[:, None]
    watched = ((closes == NEVER) | (days <= closes)) & (days <= last)
    found = []
    for level, severity in SEVERITIES.items():
        for run in _runs((said.levels[name] >= level) & watched):
            if days[run.stop - 1] >= first:
                is_over = run.stop < len(days) and watched[run.row, run.stop]
                found.append((run.first, run.row, level, severity, run.stop if is_over else None))
    for opened, row, _, severity, stop in sorted(found, key=lambda each: each[:3]):
        yield ToldAlert(
            uscc=fates.ids[row], severity=severity, opened_on=fates.on(int(days[opened])),
            resolved_on=None if stop is None else fates.on(int(days[stop])),
        )
