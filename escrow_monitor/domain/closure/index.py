"""The closure index: how likely an institution closes within 30, 60 and 90 days, and the terms that say so.

    points = weight x intensity, weight >= 0;    chance = held(bias + sum of points), which never falls as they rise

The weights are fitted to cities of other seeds than those it is judged on (`model.toml` says which). No weight is
negative, so a worse figure never lowers the index. An unknown signal counts with the intensity that it last had, and to
`chance_high` with its full weight. A hard rule sets a level of its own that no sum can average away.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from escrow_monitor.domain.closure.series import Floats, Ints, View
from escrow_monitor.domain.closure.signals import Signals, signals

HORIZONS = (30, 60, 90)
"""Days ahead."""
SHOWN = 60
"""The horizon whose points are shown and whose chance sets the level."""
YELLOW, ORANGE, RED = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HardRule:
    """From this intensity of a signal on the level is at least this, whatever the rest says."""

    signal: str
    intensity: float
    level: int


HARD_RULES: tuple[HardRule, ...] = (
    HardRule(signal="w17_account_frozen", intensity=1, level=RED),
    HardRule(signal="w15_licence_revoked", intensity=1, level=RED),
    # The licence's last day is 2/3 of the way from 60 days before it to 30 after it.
    HardRule(signal="w15_licence_ends", intensity=0.66, level=YELLOW),
    HardRule(signal="w15_licence_ends", intensity=1, level=ORANGE),
    # 19 % and 25 % of what is owed is missing (a holiday alone holds up a tenth); the balance is 0.83 times the floor.
    HardRule(signal="w1_cover_gap", intensity=0.6, level=ORANGE),
    HardRule(signal="w1_cover_deep", intensity=0.25, level=RED),
    HardRule(signal="w1_floor_gap", intensity=0.5, level=ORANGE),
    # A twentieth, and a tenth, of what is owed.
    HardRule(signal="w3_released_ahead", intensity=0.3, level=ORANGE),
    HardRule(signal="w3_released_ahead", intensity=0.65, level=RED),
    HardRule(signal="w4_outside", intensity=0.7, level=ORANGE),
    # 34 % beyond what goes unmatched anyway.
    HardRule(signal="w4_mostly_outside", intensity=0.35, level=RED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The weights for one horizon, and what its log odds turned out to be worth.

    `held`: pairs of log odds as summed and as they held in cities that the weights were not fitted to, both rising;
    straight between two, in parallel beyond the ends. Empty: as summed.
    """

    bias: float
    weights: Mapping[str, float]
    held: tuple[tuple[float, float], ...] = ()

    def chance(self, points: Floats) -> Floats:
        """The chance that a sum of points stands for."""
        log_odds = self.bias + points
        if not self.held:
            return chance_of(log_odds)
        said, held = np.array(self.held).T
        beyond = log_odds - np.clip(log_odds, said[0], said[-1])
        return chance_of(np.interp(log_odds, said, held) + beyond)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Fitted terms by horizon, and where a level begins: `yellow`, `orange`, `red` are chances within 60 days."""

    terms: Mapping[int, Terms]
    yellow: float
    orange: float
    red: float
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What one morning says of every institution: a row each.

    `chance[h]` is the chance that it closes within h days, `chance_high[h]` if everything unknown were at its worst.
    `points` are those for 60 days, a column a signal. `hard` is the level (0 to 3) that hard rules alone set.
    """

    signals: Signals
    chance: Mapping[int, Floats]
    chance_high: Mapping[int, Floats]
    points: Floats
    hard: Ints
    level: Ints
    """0 nothing, 1 yellow, 2 orange, 3 red: of this morning alone; `levels.py` holds it over the days."""


@lru_cache(maxsize=1)
def shipped_model() -> Model:
    """The model that ships with this program."""
    return model_of(files(__package__).joinpath("model.toml").read_text(encoding="utf-8"))


def model_of(text: str) -> Model:
    """Read a model as `model.toml` holds it. Its terms are for signals that exist: KeyError names one that does not."""
    read = tomllib.loads(text)
    return Model(
        terms={
            int(horizon): Terms(
                bias=float(one["bias"]), weights={name: float(w) for name, w in one["weights"].items()},
                held=tuple((float(said), float(held)) for said, held in one.get("held", ())),
            )
            for horizon, one in read["terms"].items()
        },
        yellow=float(read["levels"]["yellow"]), orange=float(read["levels"]["orange"]),
        red=float(read["levels"]["red"]), version=str(read["version"]),
    )


def assess(view: View, model: Model) -> Assessment:
    """Judge every institution by what is known on one morning."""
    found = signals(view)
    chance, high = {}, {}
    shown = np.zeros_like(found.intensity)
    for horizon in HORIZONS:
        terms = model.terms[horizon]
        weights = np.array([terms.weights.get(name, 0.0) for name in found.names])
        points = found.intensity * weights
        chance[horizon] = terms.chance(points.sum(axis=1))
        high[horizon] = terms.chance(np.where(found.known, points, weights).sum(axis=1))
        if horizon == SHOWN:
            shown = points
    hard = _hard(found)
    by_chance = np.searchsorted([model.yellow, model.orange, model.red], chance[SHOWN], side="right")
    return Assessment(
        signals=found, chance=_nested(chance), chance_high=_nested(high), points=shown, hard=hard,
        level=np.maximum(by_chance, hard).astype(np.int64),
    )


def chance_of(log_odds: Floats) -> Floats:
    """The chance that log odds stand for."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))), dtype=np.float64)


def _nested(chance: Mapping[int, Floats]) -> Mapping[int, Floats]:
    """Closing within 30 days is closing within 60: each horizon at least as likely as the shorter one."""
    found: dict[int, Floats] = {}
    least: Floats = np.zeros(())
    for horizon in sorted(chance):
        least = np.maximum(least, chance[horizon])
        found[horizon] = least
    return found


def _hard(found: Signals) -> Ints:
    level = np.zeros(found.intensity.shape[0], dtype=np.int64)
    for rule in HARD_RULES:
        level = np.maximum(level, np.where(found.of(rule.signal) >= rule.intensity, rule.level, 0))
    return level


__all__ = [
    "HARD_RULES", "HORIZONS", "Assessment", "HardRule", "Model", "Terms", "assess", "chance_of", "model_of",
    "shipped_model",
]
