"""How an institution goes on if it goes on as it does: the middle course of the next days, and what makes it unsure.

    charged   own share of what all are charged  x  what all will be: the same days a year ago, at this year's size
    given     own pace of lessons and refunds  x  the pace of all, likewise  x  what is owed that day
    owed      owed today + charged - given
    excess    balance - owed, once money on its way in (charged) and out (earned) since the last working day is counted
    custody   balance = owed + excess + its trend + money on its way
    floor     balance = its usual multiple of three months' charges, by weekday, + its trend

Where a year ago is not known, all go on as in the last eight weeks. No number here is fitted but the few constants,
and nothing of one row is used for another: what all do is in `view.peers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from escrow_monitor.domain.closure.series import Bools, Floats, Ints, View

FLOOR_SHARE = 0.2
"""Who keeps a floor must hold a fifth of three months' charges (domain.md 2)."""
QUARTER, MONTH, WEEK = 91, 28, 7
YEAR = 364
"""Days back to the same weekday a year ago."""
LOOK_BACK = 150
"""Columns of daily figures that are needed: a quarter, and eight weeks before a silence of a month at the most."""
PEERS_MIN = 8
"""With fewer others nobody can tell a season."""
SEASON_DAYS = (14, 35)
"""So many days, at least and at most, tell this year's size from last year's."""
EIGHT_WEEKS = 56
PRIOR_CHARGES, PRIOR_LESSONS = 30, 300
"""So many charges, lessons of its own weigh as much as what everyone does."""
CUSTODY_TREND, FLOOR_TREND = 0.8, 0.4
"""How much of a trend is taken to go on."""
TREND_NOISE = 2.0
"""A trend within so many times the usual scatter is none."""
PRIOR_STRAY, PRIOR_STRAY_WEIGHT = 0.12, 3
"""Before it has strayed itself, an institution strays by 12 % of what it owes in a month, as if seen three times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A row an institution, axis 1 the days ahead, 0 the end of the last day before the view's; in fen.

    `over`: what the account holds over what it must (custody: what is owed; floor: a fifth of a quarter's charges),
    money on its way counted. `short`: what families are owed beyond the balance. `figures`: what makes it unsure, by
    institution. `season`: whether a year ago was known.
    """

    owed: Floats
    balance: Floats
    over: Floats
    short: Floats
    figures: Mapping[str, Floats]
    season: bool


def expected(view: View, days: int) -> Expected:
    """The middle course of every institution for so many days after the view's last."""
    ahead = _owed_ahead(view, days)
    money = _Money(view, ahead, days)
    balance, over, short = (np.zeros((view.count, days + 1)) for _ in range(3))
    figures = {name: np.zeros(view.count) for name in _FIGURES}
    silence = np.minimum(view.silence(), money.width)
    for silent in np.unique(silence):
        rows = np.flatnonzero(silence == silent)
        part = money.part(rows, int(silent))
        balance[rows], over[rows], short[rows] = part.balance, part.over, part.short
        for name in _FIGURES:
            figures[name][rows] = part.figures[name]
    return Expected(
        owed=ahead.owed, balance=np.maximum(balance, 0), over=over, short=short, figures={**ahead.figures, **figures},
        season=ahead.season,
    )


def over_required(values: Mapping[str, Ints], working: Bools, custody: Bools) -> Floats:
    """`Expected.over` as it really was at the end of every column: what a forecast of it is judged by."""
    charged, earned = (np.asarray(values[name], dtype=np.float64) for name in ("charged_fen", "earned_fen"))
    since = _last_working(working)
    excess = (
        values["balance_fen"] + _summed_from(charged, since) - _summed_from(earned, since)
        - np.maximum(values["owed_fen"], 0)
    )
    return np.where(custody[:, None], excess, values["balance_fen"] - FLOOR_SHARE * _trailing(charged, QUARTER))


# What is owed.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ahead:
    """What the books are expected to say: axis 1 the days ahead, column 0 today."""

    owed: Floats
    charged: Floats
    given: Floats
    figures: Mapping[str, Floats]
    season: bool


def _owed_ahead(view: View, days: int) -> _Ahead:
    everyone, pace, season = _everyone_ahead(view, days)
    share, speed = _own_share(view), _own_speed(view)
    owed, charged, given = (np.zeros((view.count, days + 1)) for _ in range(3))
    owed[:, 0] = np.maximum(view.last("owed_fen"), 0)
    for day in range(1, days + 1):
        charged[:, day] = share * everyone[day - 1]
        given[:, day] = np.clip(speed * pace[day - 1], 0, 1) * owed[:, day - 1]
        owed[:, day] = owed[:, day - 1] + charged[:, day] - given[:, day]
    return _Ahead(
        owed=owed, charged=charged, given=given, season=season,
        figures={"rough": _roughness(view), "stray": _strayed(view), "size": owed[:, 0].copy()},
    )


def _everyone_ahead(view: View, days: int) -> tuple[Floats, Floats, bool]:
    """What all together are charged each day, what share of what is owed is given, and whether a year ago was known."""
    charged, owed = (np.asarray(view.peers.totals[name], dtype=np.float64) for name in ("charged_fen", "owed_fen"))
    pace = _given(charged, owed) / np.maximum(np.concatenate([owed[:1], owed[:-1]]), 1)
    width, (least, most) = view.width, SEASON_DAYS
    matched = min((width - YEAR) // WEEK * WEEK, most)
    if matched >= least and view.peers.count >= PEERS_MIN:
        begin = width - YEAR

        def like_last_year(array: Floats) -> Floats:
            before = array[begin - matched : begin].sum()
            size = array[width - matched :].sum() / before if before > 0 else 1.0
            return np.asarray(array[begin : begin + days] * size, dtype=np.float64)

        return like_last_year(charged), like_last_year(pace), True
    return _by_weekday(charged, days), _by_weekday(pace, days), False


def _by_weekday(array: Floats, days: int) -> Floats:
    """The mean of each weekday over the last eight weeks, gone on with."""
    weeks = min(len(array), EIGHT_WEEKS) // WEEK
    if weeks == 0:
        return np.zeros(days)
    profile = array[len(array) - weeks * WEEK :].reshape(weeks, WEEK).mean(axis=0)
    return np.asarray(np.tile(profile, days // WEEK + 1)[:days], dtype=np.float64)


def _given(charged: Floats, owed: Floats) -> Floats:
    """What was taught or paid back, by day: what became of the money that is owed no more."""
    return np.asarray(charged - np.diff(owed, axis=-1, prepend=owed[..., :1]), dtype=np.float64)


def _quarter(view: View, name: str) -> Floats:
    return np.asarray(view.values[name][:, -QUARTER:], dtype=np.float64)


def _own_days(view: View) -> Ints:
    """So many of the last quarter's days it existed."""
    return np.clip(view.width - view.began, 1, max(1, min(QUARTER, view.width)))


def _everyone_since(view: View, array: Floats) -> Floats:
    """The sum of all over each institution's own days of the last quarter."""
    sums = np.concatenate([[0.0], np.cumsum(array[::-1])])
    return np.asarray(sums[np.minimum(_own_days(view), len(array))], dtype=np.float64)


def _own_share(view: View) -> Floats:
    """Its part of what all are charged: by its own charges if there are many, else by what it owes."""
    charged, owed = (np.asarray(view.peers.totals[name], dtype=np.float64) for name in ("charged_fen", "owed_fen"))
    by_charges = _quarter(view, "charged_fen").sum(axis=1) / np.maximum(_everyone_since(view, charged), 1)
    by_owed = np.maximum(_quarter(view, "owed_fen"), 0).sum(axis=1) / np.maximum(_everyone_since(view, owed), 1)
    count = _quarter(view, "charges").sum(axis=1)
    return np.asarray((count * by_charges + PRIOR_CHARGES * by_owed) / (count + PRIOR_CHARGES), dtype=np.float64)


def _own_speed(view: View) -> Floats:
    """How fast it gives what it owes, all being 1."""
    owed, charged = np.maximum(_quarter(view, "owed_fen"), 0), _quarter(view, "charged_fen")
    given = np.maximum(_given(charged, owed)[:, 1:].sum(axis=1), 0) / np.maximum(owed.sum(axis=1), 1)
    all_charged, all_owed = (
        np.asarray(view.peers.totals[name], dtype=np.float64) for name in ("charged_fen", "owed_fen")
    )
    usual = _everyone_since(view, _given(all_charged, all_owed)) / np.maximum(_everyone_since(view, all_owed), 1)
    speed = np.divide(given, usual, out=np.ones(view.count), where=usual > 0)
    count = _quarter(view, "counted").sum(axis=1)
    return np.asarray((count * speed + PRIOR_LESSONS) / (count + PRIOR_LESSONS), dtype=np.float64)


def _roughness(view: View) -> Floats:
    """The root of the mean square of a day's charges."""
    return np.asarray(np.sqrt((_quarter(view, "charged_fen") ** 2).sum(axis=1) / _own_days(view)), dtype=np.float64)


def _strayed(view: View) -> Floats:
    """How far what it owes went another way than everyone's, month by month over the view, root of the mean square."""
    owed = view.values["owed_fen"]
    everyone = np.asarray(view.peers.totals["owed_fen"], dtype=np.float64)
    squares, count = np.zeros(view.count), np.zeros(view.count)
    for end in range(view.width - 1, MONTH, -WEEK):
        begin = end - MONTH
        there = begin >= view.began + WEEK
        went = everyone[end] / max(everyone[begin], 1.0)
        squares += there * (np.maximum(owed[:, end], 0) - np.maximum(owed[:, begin], 0) * went) ** 2
        count += there
    prior = (PRIOR_STRAY * np.maximum(view.last("owed_fen"), 0)) ** 2
    return np.asarray(
        np.sqrt((squares + PRIOR_STRAY_WEIGHT * prior) / (count + PRIOR_STRAY_WEIGHT)), dtype=np.float64
    )


# What the account holds.

_FIGURES = (
    "scatter", "drift", "manual", "unseen", "overdue", "kept_scatter", "kept_drift", "kept_rough", "kept_stray",
    "kept_size",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    balance: Floats
    over: Floats
    short: Floats
    figures: Mapping[str, Floats]


class _Money:
    """The account beside the books, over the last known days and the expected ones."""

    def __init__(self, view: View, ahead: _Ahead, days: int) -> None:
        self.view, self.ahead, self.days = view, ahead, days
        width = self.width = min(view.width, LOOK_BACK)

        def last(name: str) -> Floats:
            return np.asarray(view.values[name][:, view.width - width :], dtype=np.float64)

        self.balance = last("balance_fen")
        charged = np.concatenate([last("charged_fen"), ahead.charged[:, 1:]], axis=1)
        earned = np.concatenate([last("earned_fen"), ahead.given[:, 1:]], axis=1)
        since = _last_working(np.concatenate([view.working[view.width - width :], _working_ahead(view, days)]))
        coming, going = _summed_from(charged, since), _summed_from(earned, since)
        # What lies in the account over what is owed, without what is on its way: hardly moves from day to day.
        self.excess = self.balance + (coming - going)[:, :width] - np.maximum(last("owed_fen"), 0)
        self.on_its_way = (going - coming)[:, width - 1 :] if width else np.zeros((view.count, days + 1))
        # A quarter without charges still leaves a small measure to hold the balance against.
        quarter = np.maximum(_trailing(charged, QUARTER), 0.02 * np.maximum(ahead.owed[:, :1], 1))
        self.kept = self.balance / quarter[:, :width]
        self.quarter = quarter[:, width - 1 :] if width else np.ones((view.count, days + 1))

    def part(self, rows: Ints, silent: int) -> _Part:
        """Those whose bank has been silent for so many days: their excess is that of the last day before."""
        known, lead = self.width - silent, np.arange(self.days + 1) + silent
        custody, owed = self.view.custody[rows], self.ahead.owed[rows]
        rough, quarter = self.ahead.figures["rough"][rows], self.quarter[rows]
        excess = _Usual.of(self.excess[rows, :known], noise=rough)
        kept = _Usual.of(self.kept[rows, :known])
        excess_ahead = excess.now[:, None] + CUSTODY_TREND * excess.trend[:, None] * lead
        kept_ahead = np.maximum(kept.by_weekday[:, lead % WEEK] + FLOOR_TREND * kept.trend[:, None] * lead, 0)
        held = np.where(custody[:, None], owed + excess_ahead + self.on_its_way[rows], kept_ahead * quarter)
        over = np.where(custody[:, None], excess_ahead, held - FLOOR_SHARE * quarter)
        short = np.where(custody[:, None], -excess_ahead, owed - held)
        if silent == 0 and known:
            held[:, 0] = self.balance[rows, -1]
            over[:, 0] = np.where(custody, self.excess[rows, -1], held[:, 0] - FLOOR_SHARE * quarter[:, 0])
            short[:, 0] = np.where(custody, -over[:, 0], owed[:, 0] - held[:, 0])
        return _Part(balance=held, over=over, short=short, figures=self._figures(rows, silent, excess, kept))

    def _figures(self, rows: Ints, silent: int, excess: _Usual, kept: _Usual) -> Mapping[str, Floats]:
        view, books, quarter = self.view, self.ahead.figures, self.quarter[rows, 0]
        stop = view.width - silent

        def lately(name: str) -> Floats:
            return np.asarray(view.values[name][rows, max(0, stop - MONTH) : stop].sum(axis=1), dtype=np.float64)

        overdue = view.values["overdue_fen"][rows, -1] if view.width else np.zeros(len(rows))
        return {
            "scatter": excess.scatter, "drift": MONTH * np.abs(excess.trend),
            # Who keeps a floor draws by hand what lies above it: that says nothing.
            "manual": lately("manual_fen") * view.custody[rows], "unseen": lately("unseen_fen"),
            "overdue": np.asarray(overdue, dtype=np.float64),
            "kept_scatter": kept.scatter * quarter, "kept_drift": MONTH * np.abs(kept.trend) * quarter,
            "kept_rough": books["rough"][rows] * kept.now, "kept_stray": books["stray"][rows] * kept.now,
            "kept_size": books["size"][rows] * kept.now,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usual:
    """What a daily figure usually is: its last week's mean, its trend a day, its scatter, and the mean by weekday.

    `by_weekday` column k is that of the weekday k days after the last.
    """

    now: Floats
    trend: Floats
    scatter: Floats
    by_weekday: Floats

    @classmethod
    def of(cls, array: Floats, *, noise: Floats | None = None) -> _Usual:
        """From the last five weeks. A trend counts as far as it leaves the noise, by default the scatter, behind."""
        count, width = array.shape
        if width == 0:
            nothing = np.zeros(count)
            return cls(now=nothing, trend=nothing, scatter=nothing, by_weekday=np.zeros((count, WEEK)))
        now = array[:, -WEEK:].mean(axis=1)
        before = array[:, max(0, width - MONTH - WEEK) : max(WEEK, width - MONTH)].mean(axis=1)
        scatter = array[:, -MONTH:].std(axis=1)
        went = now - before
        beyond = np.abs(went) - TREND_NOISE * (scatter if noise is None else noise)
        if width >= MONTH:
            weeks = array[:, -MONTH:].reshape(count, MONTH // WEEK, WEEK).mean(axis=1)
            by_weekday = np.roll(weeks, 1, axis=1)
        else:
            by_weekday = np.repeat(now[:, None], WEEK, axis=1)
        return cls(
            now=now, trend=np.sign(went) * np.maximum(beyond, 0) / MONTH, scatter=scatter, by_weekday=by_weekday
        )


def _working_ahead(view: View, days: int) -> Bools:
    """Whether people will work: as on most such weekdays of the last eight weeks."""
    look_back = min(view.width, EIGHT_WEEKS)
    if look_back == 0:
        return np.ones(days, dtype=np.bool_)
    weekday = (view.day.weekday() - np.arange(look_back, 0, -1)) % WEEK
    lately = view.working[view.width - look_back :]
    usual = np.array([2 * lately[weekday == day].sum() > (weekday == day).sum() for day in range(WEEK)])
    return np.asarray(usual[(view.day.weekday() + np.arange(days)) % WEEK], dtype=np.bool_)


def _last_working(working: Bools) -> Ints:
    """For each column the last working one up to it; the first if there is none."""
    return np.maximum.accumulate(np.where(working, np.arange(len(working)), 0)).astype(np.int64)


def _cumulated(array: Floats) -> Floats:
    sums = np.zeros((array.shape[0], array.shape[1] + 1))
    np.cumsum(array, axis=1, out=sums[:, 1:])
    return sums


def _summed_from(array: Floats, first: Ints) -> Floats:
    """For each column the sum from column `first` of it up to itself."""
    sums = _cumulated(array)
    return np.asarray(sums[:, 1:] - sums[:, first], dtype=np.float64)


def _trailing(array: Floats, days: int) -> Floats:
    """For each column the sum of the `days` that end with it."""
    stop = np.arange(1, array.shape[1] + 1)
    return _summed_from(array, np.maximum(stop - days, 0).astype(np.int64))
