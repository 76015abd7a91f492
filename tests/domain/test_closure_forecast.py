"""What is forecast of the balance and of what is owed, and how often it holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import lru_cache

import numpy as np
import pytest

from escrow_monitor.domain.closure.forecast import (
    AGE_MIN,
    HORIZON,
    NEVER,
    SILENCE_MAX,
    SLACK_SHARE,
    WHY_UNKNOWN,
    Forecast,
    band80_coverage,
    breach_sentence,
    exposed,
    forecast,
)
from escrow_monitor.domain.closure.series import Series
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.city.series import series_of

DAY, COUNT = 470, 24
FIGURES = ("balance", "owed", "over", "short")


@lru_cache(maxsize=1)
def town() -> Series:
    city = City(
        seed=77, institutions=COUNT, starts_on=date(2024, 3, 1), days=DAY + 40,
        settings=CitySettings(closing_rate=0.3, custody_share=0.6),
    )
    return series_of(city)


@lru_cache(maxsize=1)
def seen() -> Forecast:
    return forecast(town().view(DAY))


def with_silence(series: Series, days: int) -> Series:
    arrived = series.arrived.copy()
    arrived[:, DAY - days : DAY] = series.days
    return replace(series, arrived=arrived)


def test_quantiles_are_ordered_and_no_money_is_negative() -> None:
    found = seen()
    for name in FIGURES:
        band = getattr(found, name)
        assert band.shape == (COUNT, HORIZON + 1, 3)
        assert np.isfinite(band).all()
        assert (np.diff(band, axis=2) >= 0).all()
    for name in ("balance", "owed", "short"):
        assert (getattr(found, name) >= 0).all()
    assert (found.short <= found.owed + 1e-6).all()


def test_the_last_known_day_is_certain() -> None:
    found, view = seen(), town().view(DAY)
    known = found.known & (view.silence() == 0)
    assert known.sum() > 12
    for quantile in range(3):
        assert np.array_equal(found.owed[known, 0, quantile], view.last("owed_fen")[known])
        assert np.array_equal(found.balance[known, 0, quantile], view.last("balance_fen")[known])


def test_a_forecast_is_the_same_whatever_came_after() -> None:
    series, rng = town(), np.random.default_rng(1)
    cut = replace(
        series, working=series.working[:DAY], arrived=series.arrived[:, :DAY],
        values={name: array[:, :DAY] for name, array in series.values.items()},
    )
    changed = {name: array.copy() for name, array in series.values.items()}
    for array in changed.values():
        array[:, DAY:] = rng.integers(0, 10**9, array[:, DAY:].shape)
    for other in (cut, replace(series, values=changed)):
        found = forecast(other.view(DAY))
        for name in (*FIGURES, "breach_days", "known"):
            assert getattr(found, name).tobytes() == getattr(seen(), name).tobytes()


def test_order_and_company_change_nothing() -> None:
    series = town()
    order = np.random.default_rng(2).permutation(len(series.ids)).tolist()
    shuffled = forecast(series.of(order).view(DAY))
    alone = forecast(series.of([5]).view(DAY, peers=series.peers()))
    for name in FIGURES:
        np.testing.assert_allclose(getattr(shuffled, name), getattr(seen(), name)[order], rtol=1e-9, atol=1)
        np.testing.assert_allclose(getattr(alone, name)[0], getattr(seen(), name)[5], rtol=1e-9, atol=1)


def test_twice_the_money_is_twice_the_forecast() -> None:
    series = town()
    double = replace(series, values={
        name: array * 2 if name.endswith("_fen") else array for name, array in series.values.items()
    })
    found = forecast(double.view(DAY))
    for name in FIGURES:
        np.testing.assert_allclose(getattr(found, name), 2 * getattr(seen(), name), rtol=1e-6, atol=10)
    assert np.array_equal(found.breach_days, seen().breach_days)


@pytest.mark.parametrize("days", [1, 5, 12, SILENCE_MAX])
def test_a_silent_bank_never_narrows_the_band(days: int) -> None:
    """A year that repeats itself every week: whatever was not heard is as it always was."""
    series = steady(town())
    heard, silent = forecast(series.view(DAY)), forecast(with_silence(series, days).view(DAY))
    both = heard.known & silent.known
    assert both.all()
    for name in ("balance", "over", "short"):
        before, after = getattr(heard, name)[both], getattr(silent, name)[both]
        assert (after[:, :, 2] - after[:, :, 0] >= before[:, :, 2] - before[:, :, 0] - 1e-3 * series_size(series)).all()
        assert (after[:, 0, 2] > after[:, 0, 0]).all() or name == "short"
    assert (silent.balance[:, 1:, 0] <= heard.balance[:, 1:, 0] + 1e-3 * series_size(series)).all()
    assert np.array_equal(silent.owed, heard.owed)


@pytest.mark.parametrize("days", [3, 10])
def test_a_silent_bank_widens_the_bands_of_a_city(days: int) -> None:
    heard, silent = seen(), forecast(with_silence(town(), days).view(DAY))
    talking = heard.known & silent.known & (town().view(DAY).silence() == 0)
    width = [found.balance[talking, :, 2] - found.balance[talking, :, 0] for found in (heard, silent)]
    # What was not heard was at times a rough week, which alone makes a band wide.
    assert (width[1] >= width[0]).mean() > 0.95
    assert width[1].sum() > width[0].sum()


def steady(series: Series) -> Series:
    """The same figures every week, custody and floor."""
    count, width = len(series.ids), series.days
    week = np.arange(width) % 7
    size = 100_000 * (1 + np.arange(count))[:, None]
    charged, earned = size * (week == 2) * 7, size * (week != 3) * 7 // 6
    owed = 60 * size + np.cumsum(charged - earned, axis=1)
    values = {name: np.zeros((count, width), np.int64) for name in series.values}
    values |= {
        "charged_fen": charged, "earned_fen": earned, "owed_fen": owed, "credits_fen": charged, "debits_fen": earned,
        "balance_fen": owed + size, "charges": (charged > 0).astype(np.int64),
        "counted": np.ones((count, width), np.int64), "taught": np.ones((count, width), np.int64),
    }
    return replace(
        series, working=np.ones(width, np.bool_), values=values,
        arrived=np.broadcast_to(np.arange(width), (count, width)).copy(),
    )


def series_size(series: Series) -> float:
    return float(series.values["owed_fen"].mean())


def test_too_little_is_not_known_and_says_so() -> None:
    series = town()
    young = forecast(replace(series, began=np.full(COUNT, DAY - AGE_MIN + 1)).view(DAY))
    silent = forecast(with_silence(series, SILENCE_MAX + 1).view(DAY))
    idle = forecast(replace(series, values={
        **series.values, **{name: series.values[name] * 0 for name in ("charges", "counted", "taught")}
    }).view(DAY))
    for found, reason in ((young, 1), (silent, 2), (idle, 3)):
        assert not found.known.any()
        assert (found.why_unknown == reason).all()
        assert (found.breach_days == NEVER).all()
        assert np.isfinite(found.balance).all()
        assert (found.balance[:, :, 0] == 0).all()
        zh, en = breach_sentence(found, 0)
        assert WHY_UNKNOWN[reason][0] in zh
        assert en == f"not known when the balance will not do: {WHY_UNKNOWN[reason][1]}"


@pytest.mark.parametrize("day", [1, 6, 40])
def test_the_first_days_of_a_series_are_no_error(day: int) -> None:
    found = forecast(town().view(day))
    assert not found.known.any()
    assert np.isfinite(found.balance).all()


def test_days_to_breach_are_those_of_the_quantiles() -> None:
    found, series = seen(), town()
    assert (found.breach_days[found.known] > NEVER).any()
    for row in np.flatnonzero(found.known):
        slack = SLACK_SHARE * found.owed[row, :, 1] if series.custody[row] else 0
        for quantile in range(3):
            below = np.flatnonzero(found.over[row, :, quantile] + slack < 0)
            assert found.breach_days[row, quantile] == (below[0] if below.size else NEVER)
        early, middle, late = (day if day != NEVER else HORIZON + 1 for day in found.breach_days[row])
        assert early <= middle <= late


def test_what_is_exposed_is_what_is_short_now_and_at_the_end() -> None:
    found, view = exposed(seen()), town().view(DAY)
    floor = ~view.custody & seen().known & (view.silence() == 0)
    assert np.array_equal(
        found.now[floor], np.maximum(view.last("owed_fen") - view.last("balance_fen"), 0)[floor]
    )
    assert found.end.shape == (COUNT, 3)
    assert (np.diff(found.end, axis=1) >= 0).all()


@pytest.mark.parametrize(("days", "custody", "zh", "en"), [
    ((20, 34, 61), True, "预计约 34 天后余额低于应退未消课金额（20 天至61 天）",
     "the balance falls below what families are owed in about 34 days (20 to 61)"),
    ((20, 34, NEVER), False, "预计约 34 天后余额低于最低留存额（20 天至90 天以后）",
     "the balance falls below the floor it must keep in about 34 days (20 to beyond 90)"),
    ((40, NEVER, NEVER), True, "预计 90 天内余额不会低于应退未消课金额，但最早 40 天后有可能",
     "the balance is not expected to fall below what families are owed within 90 days, but might in 40"),
    ((NEVER, NEVER, NEVER), True, "预计 90 天内余额不会低于应退未消课金额",
     "the balance does not fall below what families are owed within 90 days"),
    ((0, 0, 0), True, "余额已低于应退未消课金额", "the balance is below what families are owed already"),
])
def test_a_sentence_says_when_the_balance_will_not_do(
    days: tuple[int, int, int], custody: bool, zh: str, en: str
) -> None:
    found = replace(
        seen(), breach_days=np.tile(days, (COUNT, 1)), known=np.ones(COUNT, np.bool_), custody=np.full(COUNT, custody)
    )
    assert breach_sentence(found, 3) == (zh, en)


def test_coverage_asks_only_what_can_be_told() -> None:
    series = town()
    coverage = band80_coverage(series, [DAY - 100, DAY], horizons=(7, 30, 90))
    assert (coverage.asked["owed"] <= 2).all()
    # Beyond the last day of the series nothing is asked.
    assert coverage.asked["owed"][:, 2].max() == 1
    assert coverage.share(horizon=90, rows=np.zeros(COUNT, np.bool_)) is None
    share = coverage.share(figure="owed", horizon=30)
    assert share is not None
    assert 0.5 < share <= 1
    assert band80_coverage(series, []).share() is None


@pytest.mark.slow
def test_the_band_holds_four_times_in_five_on_a_city_it_was_not_fitted_to() -> None:
    city = City(
        seed=4711, institutions=150, starts_on=date(2024, 2, 1), days=640,
        settings=CitySettings(noise=1.2, awkward_rate=1.1, custody_share=0.65),
    )
    series = series_of(city)
    # Not every so many weeks: all mornings would be the same weekday.
    coverage = band80_coverage(series, range(64, 640, 10))
    overall = coverage.share()
    assert overall is not None
    assert 0.77 <= overall <= 0.83
    for figure in ("balance", "owed"):
        for horizon in coverage.horizons:
            share = coverage.share(figure=figure, horizon=horizon)
            assert share is not None
            assert 0.76 <= share <= 0.84, (figure, horizon)
