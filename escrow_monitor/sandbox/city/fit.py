"""Fit the closure index to cities: `python -m escrow_monitor.sandbox.city.fit MODEL.toml` writes it and its provenance.

    cities of FITTED   --weekly mornings-->  intensities, closes within h days?  --penalised likelihood-->  weights >= 0
    cities of ALIGNED  --weekly mornings-->  log odds, closes?  --isotonic-->  chances that hold
    cities of JUDGED   are never read here: the back-test and the tests use them

A city keeps perfect books. Every city is therefore fitted twice, the second time `muddled` as books are in practice:
else the first charge that nobody matched would count as proof.

Everything is drawn from seeds and summed in one order, so the same cities give the same numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from escrow_monitor.domain.closure.index import HORIZONS, Terms, chance_of
from escrow_monitor.domain.closure.series import Bools, Floats, Series
from escrow_monitor.domain.closure.signals import SIGNALS, signals
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.city.series import UNSEEN_DAYS, Truth, series_and_truth

STARTS_ON, DAYS = date(2024, 1, 1), 730
FIRST_MORNING, EVERY_DAYS = 120, 7
"""Earlier nobody has a usual yet, and nobody's course has begun."""
MIXED = CitySettings(noise=1.2, strength=(0.5, 1.3), awkward_rate=1.2, custody_share=0.6)
FITTED: Sequence[tuple[int, int, CitySettings]] = (
    (101, 1000, CitySettings()), (102, 1000, CitySettings()), (103, 1000, MIXED),
)
"""Seed, institutions, settings."""
ALIGNED: Sequence[tuple[int, int, CitySettings]] = ((201, 1000, CitySettings()), (202, 600, MIXED))
JUDGED = ((403, 1000), (404, 1000), (909, 250))
PARTS = 12
"""Into so many parts the log odds are cut to see what each held."""
RIDGE = 2.0
"""Penalty on the squares of the weights, in closures' worth of likelihood: rare signals are not trusted wildly."""
LEAST_OF_ALL = 0.1
LEAST: Mapping[str, float] = {
    "w17_account_frozen": 2.0, "w15_licence_revoked": 2.0, "w15_licence_ends": 0.7, "w16_bank_silent": 0.3,
    "w16_platform_silent": 0.3, "w1_cover_gap": 1.0, "w1_cover_deep": 1.0, "w1_floor_gap": 1.0,
    "w3_released_ahead": 1.5, "w3_released_far_ahead": 1.0, "w4_outside": 0.5, "w4_mostly_outside": 0.5,
}
"""Set by hand: what a city hardly shows or never (its licences do not end), and what must count however rare it was."""
LEVELS = {"yellow": 0.05, "orange": 0.12, "red": 0.4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mornings:
    """Weekly mornings of a city: intensities (a row a morning and institution, a column a signal), days until closing.

    `days_left` is a large number for one that lives on; `days_after` how many days of the city are still to come.
    """

    intensity: Floats
    days_left: Floats
    days_after: Floats

    @staticmethod
    def together(parts: Iterable[Mornings]) -> Mornings:
        """One below the other."""
        each = tuple(parts)
        return Mornings(
            intensity=np.concatenate([one.intensity for one in each]),
            days_left=np.concatenate([one.days_left for one in each]),
            days_after=np.concatenate([one.days_after for one in each]),
        )

    def labelled(self, horizon: int) -> tuple[Floats, Floats]:
        """Intensities and whether it closed within so many days, of all mornings of which that is known."""
        closes = self.days_left <= horizon
        known = closes | (self.days_after >= horizon)
        return self.intensity[known], closes[known].astype(np.float64)


def muddled(series: Series, seed: int) -> Series:
    """The same with books as they are in practice, every institution in its own measure; nothing that happened differs.

    Charges that are not matched (none to 6 %), releases without their link (none to 3 %), refunds entered late so that
    they seem overdue, and sums owed that are off by -3 to 3 %, since not all old contracts were entered.
    """
    rng, values = np.random.default_rng(seed), dict(series.values)
    count, days = series.arrived.shape

    def measure(most: float) -> Floats:
        return np.where(rng.random(count) < 0.5, 0, rng.random(count) * most)[:, None]

    missed = rng.random((count, days)) < measure(0.06)
    late = np.zeros((count, days), dtype=np.int64)
    late[:, UNSEEN_DAYS:] = (values["charged_fen"] * missed)[:, :-UNSEEN_DAYS]
    unseen, charged = values["unseen_fen"], values["charged_fen"]
    # What is unseen already is not missed again.
    values["unseen_fen"] = np.where(unseen > 0, unseen, late)
    unlinked = values["debits_fen"] * (rng.random((count, days)) < measure(0.03))
    values["manual_fen"] = np.maximum(values["manual_fen"], np.where(series.custody[:, None], unlinked, 0))
    slips = (rng.random((count, days)) < measure(0.008)).astype(np.int64)
    open_slips = np.cumsum(slips, axis=1)
    open_slips[:, 12:] -= np.cumsum(slips, axis=1)[:, :-12]
    usual_fen = charged.sum(axis=1) // np.maximum(values["charges"].sum(axis=1), 1) // 2
    values["overdue"] = values["overdue"] + open_slips
    values["overdue_fen"] = values["overdue_fen"] + open_slips * usual_fen[:, None]
    off = np.median(values["owed_fen"], axis=1) * rng.uniform(-0.03, 0.03, count)
    values["owed_fen"] = values["owed_fen"] + np.rint(off).astype(np.int64)[:, None]
    return replace(series, values=values)


def mornings_of(series: Series, truth: Truth) -> Mornings:
    """Every weekly morning of all institutions that have not closed yet."""
    peers, found = series.peers(), []
    for day in range(FIRST_MORNING, series.days, EVERY_DAYS):
        alive: Bools = (truth.closes < 0) | (truth.closes >= day)
        left = np.where(truth.closes < 0, 1e9, truth.closes - day).astype(np.float64)
        seen = signals(series.view(day, peers=peers))
        found.append(Mornings(
            intensity=seen.intensity[alive], days_left=left[alive],
            days_after=np.full(int(alive.sum()), float(series.days - 1 - day)),
        ))
    return Mornings.together(found)


def fitted_terms(intensity: Floats, closes: Floats, names: Sequence[str]) -> Terms:
    """Weights of a penalised logistic likelihood, none below its LEAST: Newton's steps on the weights that are free."""
    least = np.array([0.0, *(LEAST.get(name, LEAST_OF_ALL) for name in names)])
    least[0] = -np.inf
    x, closes, times = _together(intensity, closes)
    ridge = np.full(x.shape[1], RIDGE)
    ridge[0] = 0.0
    b = np.where(np.isinf(least), 0.0, least)
    share = float(times @ closes / times.sum())
    b[0] = np.log(share / (1 - share))
    value = _loss(x, closes, times, b, ridge)
    for _ in range(200):
        b, value, moved = _step(x, closes, times, b, ridge, least, value)
        if moved < 1e-6:
            break
    return Terms(bias=float(b[0]), weights={name: float(w) for name, w in zip(names, b[1:], strict=True)})


def _together(intensity: Floats, closes: Floats) -> tuple[Floats, Floats, Floats]:
    """Rows with a one in front, and how many mornings each stands for: all on which no signal spoke are two rows."""
    spoke = intensity.any(axis=1)
    quiet = closes[~spoke]
    x = np.concatenate([intensity[spoke], np.zeros((2, intensity.shape[1]))])
    return (
        np.concatenate([np.ones((len(x), 1)), x], axis=1), np.concatenate([closes[spoke], [0.0, 1.0]]),
        np.concatenate([np.ones(int(spoke.sum())), [float((quiet == 0).sum()), float((quiet == 1).sum())]]),
    )


def _loss(x: Floats, y: Floats, times: Floats, b: Floats, ridge: Floats) -> float:
    z = x @ b
    return float(times @ (np.logaddexp(0, z) - y * z) + 0.5 * (ridge * b * b).sum())


def _step(
    x: Floats, y: Floats, times: Floats, b: Floats, ridge: Floats, least: Floats, value: float
) -> tuple[Floats, float, float]:
    """One Newton step within the bounds, halved until the loss falls."""
    p = chance_of(x @ b)
    slope = x.T @ (times * (p - y)) + ridge * b
    curve = x.T @ (x * (times * p * (1 - p))[:, None]) + np.diag(ridge + 1e-9)
    way = _lowest(curve, slope, least - b)
    size = 1.0
    while size > 1e-9:
        there = np.maximum(b + size * way, least)
        found = _loss(x, y, times, there, ridge)
        if found < value:
            return there, found, value - found
        size /= 2
    return b, value, 0.0


def _lowest(curve: Floats, slope: Floats, least: Floats) -> Floats:
    """Where a parabola over many weights is lowest, none of them below its bound: one weight after the other."""
    way = np.zeros_like(slope)
    for _ in range(500):
        most = 0.0
        for one in range(len(way)):
            there = max(way[one] - (slope[one] + curve[one] @ way) / curve[one, one], least[one])
            most, way[one] = max(most, abs(there - way[one])), there
        if most < 1e-10:
            break
    return way


def aligned(terms: Terms, intensity: Floats, closes: Floats, names: Sequence[str]) -> Terms:
    """The same terms with what their log odds held in cities that they were not fitted to: never falling (isotonic)."""
    said = terms.bias + intensity @ np.array([terms.weights[name] for name in names])
    order = np.argsort(said, kind="stable")
    said, closes = said[order], closes[order]
    # As many closings in every part, so that each has something to say of both.
    parts = np.searchsorted(np.cumsum(closes), np.linspace(0, closes.sum(), PARTS + 1)[1:-1])
    blocks = [
        [float(part.sum()), float(len(part)), float(z.mean())]
        for part, z in zip(np.split(closes, parts), np.split(said, parts), strict=True) if len(part)
    ]
    merged: list[list[float]] = []
    for block in blocks:
        merged.append(block)
        while len(merged) > 1 and _rate(merged[-2]) >= _rate(merged[-1]):
            last, before = merged.pop(), merged.pop()
            count = last[1] + before[1]
            merged.append([last[0] + before[0], count, (last[2] * last[1] + before[2] * before[1]) / count])
    held = tuple((block[2], float(np.log(_rate(block) / (1 - _rate(block))))) for block in merged)
    return replace(terms, held=held)


def _rate(block: Sequence[float]) -> float:
    return (block[0] + 0.5) / (block[1] + 1)


def as_toml(terms: Mapping[int, Terms], about: Mapping[str, str], version: str) -> str:
    """The model as index.py reads it."""
    lines = [
        "# Terms of the closure index. Fitted, not law: index.py tells what they mean. Written by sandbox/city/fit.py.",
        f'version = "{version}"', "", "[provenance]", *(f'{name} = "{text}"' for name, text in about.items()), "",
        "[levels]", *(f"{name} = {chance}" for name, chance in LEVELS.items()),
    ]
    for horizon, one in terms.items():
        held = ", ".join(f"[{said:.3f}, {held:.3f}]" for said, held in one.held)
        lines += ["", f"[terms.{horizon}]", f"bias = {one.bias:.3f}", f"held = [{held}]", f"[terms.{horizon}.weights]"]
        lines += [f"{name} = {weight:.3f}" for name, weight in one.weights.items()]
    return "\n".join(lines) + "\n"


def fit(fitted: Mornings, align: Mornings) -> dict[int, Terms]:
    """Terms for every horizon."""
    names = tuple(SIGNALS)
    return {
        horizon: aligned(fitted_terms(*fitted.labelled(horizon), names), *align.labelled(horizon), names)
        for horizon in HORIZONS
    }


def _cities(which: Sequence[tuple[int, int, CitySettings]]) -> Iterator[Mornings]:
    for seed, institutions, settings in which:
        city = City(seed=seed, institutions=institutions, starts_on=STARTS_ON, days=DAYS, settings=settings)
        series, truth = series_and_truth(city)
        yield mornings_of(series, truth)
        yield mornings_of(muddled(series, seed), truth)


def provenance() -> dict[str, str]:
    """What the numbers come from."""
    def told(which: Sequence[tuple[int, int, CitySettings]]) -> str:
        return "; ".join(
            f"seed {seed}, {count} institutions" + (
                "" if one == CitySettings() else
                f", noise {one.noise:g}, strength {one.strength[0]:g} to {one.strength[1]:g}, "
                f"awkward_rate {one.awkward_rate:g}, custody_share {one.custody_share:g}"
            ) for seed, count, one in which
        )

    return {
        "books": "every city twice, as it is and muddled as in practice",
        "cities": f"{DAYS} days from {STARTS_ON.isoformat()}, settings as they ship unless told; weekly mornings from "
                  f"day {FIRST_MORNING} on",
        "fitted_to": told(FITTED), "aligned_on": told(ALIGNED),
        "held_out": ", ".join(f"seed {seed}" for seed, _ in JUDGED) + ": not read before the terms stood",
        "looked_at": "seeds 301, 302, 401, 402 and 501, while signals and levels were being made",
        "set_by_hand": f"least weights: {LEAST_OF_ALL:g}, but "
                       + ", ".join(f"{name} {weight:g}" for name, weight in LEAST.items())
                       + "; the levels; the hard rules of index.py",
        "held": "pairs of log odds: as summed, and as they held in the cities of aligned_on (isotonic)",
        "base_rate": "8 of 100 institutions close a year in these cities: elsewhere chances differ, the order does not",
    }


def main() -> None:
    """Fit and write the model."""
    terms = fit(Mornings.together(_cities(FITTED)), Mornings.together(_cities(ALIGNED)))
    Path(sys.argv[1]).write_text(as_toml(terms, provenance(), "1"), encoding="utf-8")


if __name__ == "__main__":
    main()


__all__ = ["Mornings", "aligned", "as_toml", "fit", "fitted_terms", "mornings_of", "muddled", "provenance"]
