"""The balance and what is owed over the next 90 days, as quantiles, and when the one falls below the other.

    expected.py: middle course, figures of what makes it unsure
      spread   = sum of  weight x figure x (days ahead / 30) ** power,   weight >= 0, below and above apart
      quantile = middle + place (by days ahead) x spread

Weights and places are in `forecast.toml`, fitted to cities that no forecast is judged on, so that the band from the
first to the last of QUANTILES holds four times in five; an institution's own figures make it wide or narrow. Nothing of
one row is used for another: an institution gets the same forecast alone and among thousands, given the same peers.

For a back-test: `band80_coverage(series, days, *, horizons=HORIZONS, peers=None) -> Coverage`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from escrow_monitor.domain.closure.expected import Expected, expected
from escrow_monitor.domain.closure.series import Bools, Floats, Ints, Peers, Series, View

HORIZON = 90
QUANTILES = (0.1, 0.5, 0.9)
HORIZONS = (7, 30, 60, 90)
"""Days ahead at which coverage is told."""
NEVER = -1
AGE_MIN = 56
"""Days of history, of the books and of statements, below which nothing is said."""
SILENCE_MAX = 30
"""Days without a statement after which nothing is said any more."""
SILENCE_DOUBLES = 14
"""So many days without a statement make what is said of the balance twice as wide."""
SLACK_SHARE = 0.02
"""A breach in custody is more than this part of what is owed: less comes and goes with days on which money is on its
way. With none, the early edge would cry at every second healthy institution."""
DORMANT_DAYS = 45
"""So long without a charge and without a lesson, and nothing moves that could be forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A row an institution; axis 1 the days ahead, 0 being the last known day's end; axis 2 the QUANTILES; in fen.

    `over`: what the account holds over what it must. In custody that is what families are owed, once money on its way
    since the last working day is counted; who keeps a floor must hold a fifth of three months' charges.
    `short`: what families are owed beyond the balance, at least 0.
    `breach_days`: days until `over` is below 0, in custody by more than SLACK_SHARE of what is owed: early, middle,
    late (10 %, 50 %, 90 %), NEVER where it is not within the horizon. `known`: False where too little is known to say
    anything; `why_unknown` tells why (WHY_UNKNOWN), and the band then reaches from nothing to twice the most ever seen.
    """

    balance: Floats
    owed: Floats
    over: Floats
    short: Floats
    breach_days: Ints
    known: Bools
    why_unknown: Ints
    custody: Bools


def forecast(view: View, *, horizon: int = HORIZON, model: Spreads | None = None) -> Forecast:
    """Forecast every institution from what is known on one morning. `model`: the shipped one by default."""
    spreads = shipped_spreads() if model is None else model
    middle = expected(view, horizon)
    why = why_unknown(view)
    silence = np.minimum(view.silence(), SILENCE_MAX)

    def band(target: str) -> Floats:
        return _band(target, middle, spreads, silence=silence, custody=view.custody)

    owed, balance = np.maximum(band("owed"), 0), np.maximum(band("balance"), 0)
    # No more can be missing than is owed.
    over = np.maximum(band("over"), -owed[:, :, ::-1])
    missing = np.where(view.custody[:, None, None], -over[:, :, ::-1], band("short"))
    short = np.clip(missing, 0, owed)
    unknown = why > 0
    if unknown.any():
        balance[unknown], owed[unknown] = _anything(view, "balance_fen", unknown), _anything(view, "owed_fen", unknown)
        over[unknown] = balance[unknown] - owed[unknown][:, :, ::-1]
        short[unknown] = np.maximum(-over[unknown][:, :, ::-1], 0)
    slack = np.where(view.custody, SLACK_SHARE, 0)[:, None, None] * owed[:, :, 1:2]
    return Forecast(
        balance=balance, owed=owed, over=over, short=short, known=~unknown, why_unknown=why, custody=view.custody,
        breach_days=np.where(unknown[:, None], NEVER, _first_below(over + slack)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """Families' money that no balance stands behind, in fen: now, and at the end of the horizon by QUANTILES."""

    now: Floats
    end: Floats


def exposed(found: Forecast) -> Exposed:
    """Families' money exposed now and at the end of the forecast, a row an institution."""
    return Exposed(now=found.short[:, 0, 1], end=found.short[:, -1, :])


# Why nothing can be said.

WHY_UNKNOWN: tuple[tuple[str, str], ...] = (
    ("", ""),
    ("历史数据不足 8 周", "less than eight weeks are known"),
    ("银行流水已中断超过 30 天", "the bank has been silent for more than 30 days"),
    ("已连续 45 天没有收费和上课记录", "nothing was charged or taught for 45 days"),
)
"""By `Forecast.why_unknown`: nothing, then the reasons, in Chinese and English."""
_YOUNG, _SILENT, _DORMANT = 1, 2, 3


def why_unknown(view: View) -> Ints:
    """By institution: 0 if something can be said, else the place in WHY_UNKNOWN."""
    lately = [view.values[name][:, -DORMANT_DAYS:].any(axis=1) for name in ("charges", "counted", "taught")]
    young = (view.width - view.began < AGE_MIN) | (view.through + SILENCE_MAX - view.began < AGE_MIN)
    return np.select(
        [view.silence() > SILENCE_MAX, young, ~np.logical_or.reduce(lately)], [_SILENT, _YOUNG, _DORMANT], 0
    ).astype(np.int64)


def breach_sentence(found: Forecast, row: int) -> tuple[str, str]:
    """When the balance falls below what it must be, in one sentence, in Chinese and English."""
    days = found.balance.shape[1] - 1
    if not found.known[row]:
        zh, en = WHY_UNKNOWN[int(found.why_unknown[row])]
        return f"无法预测余额何时不足：{zh}", f"not known when the balance will not do: {en}"
    early, middle, late = (int(day) for day in found.breach_days[row])
    zh, en = (
        ("应退未消课金额", "what families are owed") if found.custody[row]
        else ("最低留存额", "the floor it must keep")
    )
    if early == 0 and middle == 0:
        return f"余额已低于{zh}", f"the balance is below {en} already"
    if early == NEVER:
        return f"预计 {days} 天内余额不会低于{zh}", f"the balance does not fall below {en} within {days} days"
    if middle == NEVER:
        return (
            f"预计 {days} 天内余额不会低于{zh}，但最早 {early} 天后有可能",
            f"the balance is not expected to fall below {en} within {days} days, but might in {early}",
        )
    until_zh, until_en = (f"{days} 天以后", f"beyond {days}") if late == NEVER else (f"{late} 天", str(late))
    return (
        f"预计约 {middle} 天后余额低于{zh}（{early} 天至{until_zh}）",
        f"the balance falls below {en} in about {middle} days ({early} to {until_en})",
    )


# Bands.


class Term(NamedTuple):
    """A figure of `Expected.figures` that grows with a power of the days ahead."""

    figure: str
    power: float

    @property
    def key(self) -> str:
        """Its name in a file."""
        return f"{self.figure}^{self.power:g}"


_BOOKS = (Term("rough", 0.5), Term("stray", 0.75), Term("size", 0.5), Term("size", 1.0))
_CUSTODY = (
    Term("scatter", 0.0), Term("rough", 0.0), Term("drift", 1.0), Term("manual", 1.0), Term("unseen", 1.0),
    Term("overdue", 1.0), Term("size", 1.0),
)
_FLOOR = (
    Term("kept_scatter", 0.0), Term("kept_drift", 1.0), Term("kept_rough", 0.5), Term("kept_stray", 0.75),
    Term("kept_size", 1.0),
)
TERMS: Mapping[str, tuple[Term, ...]] = {
    "owed": _BOOKS, "balance_custody": (*_BOOKS, *_CUSTODY[:-1]), "balance_floor": _FLOOR, "over_custody": _CUSTODY,
    "over_floor": _FLOOR, "short_floor": (*_BOOKS, *_FLOOR),
}
"""What the spread of each forecast figure is made of; custody and floor apart."""
_DAYS_UNIT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Weights by term, below and above the middle; and at `days` ahead the places of the QUANTILES, in spreads.

    The first place counts spreads below, the others spreads above the middle.
    """

    below: Floats
    above: Floats
    days: Floats
    places: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreads:
    """Spreads by figure, where a year ago was known (`season`) and where it was not; `version` says what they are."""

    by_figure: Mapping[tuple[str, bool], Spread]
    version: str


@lru_cache(maxsize=1)
def shipped_spreads() -> Spreads:
    """Those that ship with this program."""
    read = tomllib.loads(files(__package__).joinpath("forecast.toml").read_text(encoding="utf-8"))
    return Spreads(version=str(read["version"]), by_figure={
        (name, season): _spread(name, read[part][name])
        for part, season in (("season", True), ("no_season", False)) for name in TERMS
    })


def _spread(name: str, read: Mapping[str, Any]) -> Spread:
    def weights(side: str) -> Floats:
        return np.array([read[side].get(term.key, 0.0) for term in TERMS[name]], dtype=np.float64)

    places = np.array(read["places"], dtype=np.float64)
    return Spread(below=weights("below"), above=weights("above"), days=places[:, 0], places=places[:, 1:])


def middle_of(target: str, found: Expected) -> Floats:
    """The middle course of one figure of a Forecast."""
    return {"owed": found.owed, "balance": found.balance, "over": found.over, "short": found.short}[target]


def spread_of(name: str, weights: Floats, figures: Mapping[str, Floats], *, lead: Ints) -> Floats:
    """The weighed terms of one figure: a row an institution, a column for each of the days `lead`."""
    found = np.zeros((len(next(iter(figures.values()))), len(lead)))
    for power in sorted({term.power for term in TERMS[name]}):
        size = np.sum([
            weight * figures[term.figure]
            for term, weight in zip(TERMS[name], weights, strict=True) if term.power == power
        ], axis=0)
        found += np.outer(size, (lead / _DAYS_UNIT) ** power)
    return found


def _band(target: str, middle: Expected, spreads: Spreads, *, silence: Ints, custody: Bools) -> Floats:
    """The quantiles of one figure. What hangs on the bank reaches from its last word, and is widened by its silence."""
    course = middle_of(target, middle)
    found = np.empty((*course.shape, len(QUANTILES)))
    names = (("owed", None),) if target == "owed" else ((f"{target}_custody", True), (f"{target}_floor", False))
    for name, kept in names:
        if name not in TERMS:
            continue
        of_kind = np.ones(len(silence), dtype=np.bool_) if kept is None else custody == kept
        silent = np.zeros_like(silence) if target == "owed" else silence
        for days in np.unique(silent[of_kind]):
            rows = np.flatnonzero(of_kind & (silent == days))
            found[rows] = _quantiles(name, course[rows], middle, spreads, rows=rows, silent=int(days))
    return found


def _quantiles(
    name: str, course: Floats, middle: Expected, spreads: Spreads, *, rows: Ints, silent: int
) -> Floats:
    spread = spreads.by_figure[name, middle.season]
    lead = np.arange(course.shape[1]) + silent
    figures = {figure: middle.figures[figure][rows] for figure in {term.figure for term in TERMS[name]}}
    wide = 1 + silent / SILENCE_DOUBLES
    below = wide * spread_of(name, spread.below, figures, lead=lead)
    above = wide * spread_of(name, spread.above, figures, lead=lead)
    low, half, high = (np.interp(lead, spread.days, spread.places[:, place]) for place in range(len(QUANTILES)))
    found = np.stack([course + low * below, course + half * above, course + high * above], axis=2)
    if silent == 0:
        # The last day is known.
        found[:, 0] = course[:, :1]
    return np.asarray(np.sort(found, axis=2), dtype=np.float64)


def _anything(view: View, name: str, rows: Bools) -> Floats:
    """From nothing to twice the most that was seen, on every day."""
    array = np.maximum(view.values[name][rows], 0)
    most = array.max(axis=1, initial=0) * 2.0
    last = np.maximum(view.last(name)[rows], 0) if view.width else most
    return np.stack([np.zeros_like(most), last, most], axis=1)[:, None, :]


def _first_below(over: Floats) -> Ints:
    """The first day on which each quantile is below 0: the lowest is the earliest."""
    below = over < 0
    return np.asarray(np.where(below.any(axis=1), below.argmax(axis=1), NEVER), dtype=np.int64)


# How often the band held.


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often the band from the first to the last of QUANTILES held, by institution (rows) and horizon (columns).

    `inside[figure]` and `asked[figure]` count forecasts, for the figures "balance" and "owed". What was not known, or
    lies beyond the last day of the series, is not asked.
    """

    horizons: tuple[int, ...]
    inside: Mapping[str, Ints]
    asked: Mapping[str, Ints]

    def share(
        self, *, figure: str | None = None, horizon: int | None = None, rows: Bools | Sequence[int] | None = None
    ) -> float | None:
        """The share that held, of one figure, horizon and these institutions, or of all. None: nothing was asked."""
        chosen = slice(None) if rows is None else np.asarray(rows)
        columns = slice(None) if horizon is None else [self.horizons.index(horizon)]
        figures = tuple(self.inside) if figure is None else (figure,)
        inside, asked = (
            sum(int(counts[name][chosen][:, columns].sum()) for name in figures) for counts in (self.inside, self.asked)
        )
        return inside / asked if asked else None


def band80_coverage(
    series: Series, days: Iterable[int], *, horizons: Sequence[int] = HORIZONS, peers: Peers | None = None,
    model: Spreads | None = None,
) -> Coverage:
    """Forecast on the morning of each of these columns and see what came.

    `coverage.share()` is the figure of a back-test; `share(rows=closing)`, `share(horizon=30)` take it apart.
    """
    known = series.peers() if peers is None else peers
    inside, asked = (
        {name: np.zeros((len(series.ids), len(horizons)), dtype=np.int64) for name in ("balance", "owed")}
        for _ in range(2)
    )
    for day in days:
        found = forecast(series.view(day, peers=known), horizon=max(horizons), model=model)
        for column, ahead in enumerate(horizons):
            if day - 1 + ahead >= series.days:
                continue
            for name, band in (("balance", found.balance), ("owed", found.owed)):
                came = np.maximum(series.values[f"{name}_fen"][:, day - 1 + ahead], 0)
                # Amounts are whole fen, quantiles are not.
                held = (np.floor(band[:, ahead, 0]) <= came) & (came <= np.ceil(band[:, ahead, -1]))
                inside[name][:, column] += held & found.known
                asked[name][:, column] += found.known
    return Coverage(horizons=tuple(horizons), inside=inside, asked=asked)
