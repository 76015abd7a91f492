"""Fit `forecast.toml` to cities: how much each term of a spread weighs, and where the quantiles lie.

    python -m escrow_monitor.sandbox.city.fit_forecast [FILE] [--institutions N]

By default the file that ships is written anew; the same arguments give the same bytes. The cities differ in seed,
season of the first day, noise and awkwardness. Weights make the pinball loss of the band's edges least, never below 0;
the places then put exactly a tenth of all that happened below and above at each horizon.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from escrow_monitor.domain.closure import forecast as forecasting
from escrow_monitor.domain.closure.expected import Expected, expected, over_required
from escrow_monitor.domain.closure.forecast import QUANTILES, TERMS, middle_of, spread_of, why_unknown
from escrow_monitor.domain.closure.series import Bools, Floats, Series
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.city.series import series_of

DAYS = 730
INSTITUTIONS = 300
STEP_DAYS = 9
KNOTS = np.array([1, 3, 7, 14, 30, 60, 90])
"""Days ahead at which places are fitted; they go straight between."""
SEEDS = (101, 102, 103, 104)
"""No city of these seeds may judge a forecast."""
ROUNDS, BATCH = 1500, 8000
WEIGHT_MIN = 0.001
"""Of what is owed, in a month: no spread is ever nothing."""


def cities(institutions: int) -> Iterator[City]:
    """What is fitted to."""
    kinds = (
        (date(2024, 3, 1), CitySettings()),
        (date(2023, 9, 1), CitySettings(noise=1.5, awkward_rate=1.4)),
        (date(2023, 12, 1), CitySettings(noise=0.7, awkward_rate=0.6, strength=(0.4, 1.0))),
        (date(2023, 6, 1), CitySettings(custody_share=0.4)),
    )
    for seed, (starts_on, settings) in zip(SEEDS, kinds, strict=True):
        yield City(seed=seed, institutions=institutions, starts_on=starts_on, days=DAYS, settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Forecasts of one city on one morning beside what came: a row an institution, a column one of KNOTS."""

    season: bool
    custody: Bools
    figures: dict[str, Floats]
    came: dict[str, Floats]
    middle: dict[str, Floats]


def samples(series: Series) -> Iterator[Sample]:
    """Every few mornings of a city on which something can be said, those of talking banks."""
    peers, over = series.peers(), over_required(series.values, series.working, series.custody)
    balance, owed = (np.maximum(series.values[f"{name}_fen"], 0) for name in ("balance", "owed"))
    truth = {"owed": owed, "balance": balance, "over": over, "short": owed - balance}
    for day in range(forecasting.AGE_MIN + 4, series.days - int(KNOTS[-1]), STEP_DAYS):
        view = series.view(day, peers=peers)
        found: Expected = expected(view, int(KNOTS[-1]))
        rows = np.flatnonzero((why_unknown(view) == 0) & (view.silence() == 0))
        yield Sample(
            season=found.season, custody=series.custody[rows],
            figures={name: figure[rows] for name, figure in found.figures.items()},
            came={name: array[rows][:, day - 1 + KNOTS].astype(np.float64) for name, array in truth.items()},
            middle={name: middle_of(name, found)[rows][:, KNOTS] for name in truth},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """One spread as it goes into the file."""

    below: Floats
    above: Floats
    places: Floats


def fit(found: Iterable[Sample]) -> dict[tuple[str, bool], Fitted]:
    """The spread of every figure, with and without a year ago."""
    every = list(found)
    return {
        (name, season): _fit_one(name, [one for one in every if one.season == season])
        for season in (True, False) for name in TERMS
    }


def _fit_one(name: str, found: list[Sample]) -> Fitted:
    target, _, kind = name.partition("_")
    figures: dict[str, Floats] = {}
    chosen = [np.ones(len(one.custody), np.bool_) if not kind else one.custody == (kind == "custody") for one in found]
    for figure in {"size", *(term.figure for term in TERMS[name])}:
        figures[figure] = np.concatenate([one.figures[figure][rows] for one, rows in zip(found, chosen, strict=True)])
    errors = np.concatenate([
        (one.came[target] - one.middle[target])[rows] for one, rows in zip(found, chosen, strict=True)
    ])
    # In parts of what is owed: large institutions weigh no more than small ones.
    size = np.maximum(figures["size"], 1)
    figures = {figure: values / size for figure, values in figures.items()}
    errors = errors / size[:, None]
    columns = np.stack([_terms(name, place, figures).ravel() for place in range(len(TERMS[name]))], axis=1)
    least = np.array([WEIGHT_MIN if term.figure.endswith("size") and term.power == 1 else 0 for term in TERMS[name]])
    low, half, high = QUANTILES
    below = np.round(_least_pinball(columns, -errors.ravel(), 1 - low, least=least), 4)
    above = np.round(_least_pinball(columns, errors.ravel(), high, least=least), 4)
    wide_below, wide_above = (spread_of(name, weights, figures, lead=KNOTS) for weights in (below, above))
    places = np.stack([
        np.quantile(errors / wide_below, low, axis=0), np.quantile(errors / wide_above, half, axis=0),
        np.quantile(errors / wide_above, high, axis=0),
    ], axis=1)
    return Fitted(below=below, above=above, places=np.round(places, 3))


def _terms(name: str, place: int, figures: dict[str, Floats]) -> Floats:
    return spread_of(name, np.eye(len(TERMS[name]))[place], figures, lead=KNOTS)


def _least_pinball(columns: Floats, came: Floats, quantile: float, *, least: Floats) -> Floats:
    """Weights, none below `least`, under whose sum that share of what came lies. By Adam in batches, then averaged."""
    rng = np.random.default_rng(0)
    unit = np.sqrt((columns**2).mean(axis=0)) + 1e-12
    columns, floor, spread = columns / unit, least * unit, came.std()
    weights = np.full(columns.shape[1], 0.3 * spread)
    momentum, square, total, counted = np.zeros_like(weights), np.zeros_like(weights), np.zeros_like(weights), 0
    for turn in range(1, ROUNDS + 1):
        batch = rng.integers(0, len(came), BATCH)
        over = came[batch] >= columns[batch] @ weights
        slope = -(columns[batch] * np.where(over, quantile, quantile - 1)[:, None]).mean(axis=0)
        momentum, square = 0.9 * momentum + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        step = (momentum / (1 - 0.9**turn)) / (np.sqrt(square / (1 - 0.99**turn)) + 1e-12)
        weights = np.maximum(floor, weights - 0.02 * spread * (1 - turn / ROUNDS) * step)
        if turn > 0.7 * ROUNDS:
            total, counted = total + weights, counted + 1
    return np.asarray(total / counted / unit, dtype=np.float64)


def as_toml(fitted: dict[tuple[str, bool], Fitted], *, version: str) -> str:
    """The file's text."""
    lines = [
        "# How unsure a forecast is. Written by escrow_monitor.sandbox.city.fit_forecast; do not edit by hand.",
        "# below, above: weight of figure^power. places: days ahead, then where 10 %, 50 % and 90 % lie, in spreads.",
        f'version = "{version}"', "",
    ]
    for (name, season), one in fitted.items():
        lines.append(f"[{'season' if season else 'no_season'}.{name}]")
        for side, weights in (("below", one.below), ("above", one.above)):
            stated = [
                f'"{term.key}" = {weight:g}' for term, weight in zip(TERMS[name], weights, strict=True) if weight > 0
            ]
            lines.append(f"{side} = {{ {', '.join(stated)} }}")
        rows = [
            f"[{days}, {', '.join(f'{place:g}' for place in row)}]"
            for days, row in zip(KNOTS, one.places, strict=True)
        ]
        lines += [f"places = [{', '.join(rows)}]", ""]
    return "\n".join(lines)


def main(arguments: Iterable[str] | None = None) -> None:
    """Fit and write the file."""
    parser = argparse.ArgumentParser(description="Fit the forecast's spreads to cities.")
    parser.add_argument("file", nargs="?", type=Path, default=Path(forecasting.__file__).with_name("forecast.toml"))
    parser.add_argument("--institutions", type=int, default=INSTITUTIONS)
    given = parser.parse_args(None if arguments is None else list(arguments))
    found = [sample for city in cities(given.institutions) for sample in samples(series_of(city))]
    seeds = ", ".join(str(seed) for seed in SEEDS)
    version = f"seeds {seeds}; {given.institutions} institutions each, {DAYS} days"
    given.file.write_text(as_toml(fit(found), version=version), encoding="utf-8")


if __name__ == "__main__":
    main()
