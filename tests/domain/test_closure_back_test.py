"""What a back-test counts, by cases made by hand; that it never looks ahead, and says the same twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest

from escrow_monitor.domain.clauses import (
    Fixed,
    FloorTerms,
    FullLiability,
    PeriodFees,
    RatioOf,
    RatioWindow,
    Schedule,
    Tier,
)
from escrow_monitor.domain.closure.back_test import (
    Fates,
    Said,
    Score,
    calibration,
    replay,
    score,
    told_alerts,
)
from escrow_monitor.domain.closure.index import HORIZONS, shipped_model
from escrow_monitor.domain.closure.methods import FloorMethod, IndexMethod, floor_of, why_not
from escrow_monitor.domain.closure.series import COLUMNS, LICENCE_UNKNOWN, Series
from escrow_monitor.domain.money import Money

FIRST = date(2025, 1, 1)
DAYS = 500
MORNINGS = np.arange(100, DAYS)
METHOD = IndexMethod()
YELLOW, ORANGE, RED = 1, 2, 3


def said(*rows: dict[tuple[int, int], int]) -> Said:
    """One institution a row: the level on the mornings from, up to but not including, to."""
    levels = np.zeros((len(rows), len(MORNINGS)), np.int8)
    for place, spans in enumerate(rows):
        for (begins, stops), level in spans.items():
            levels[place, begins - 100 : stops - 100] = level
    chances = {horizon: np.zeros(levels.shape, np.float32) for horizon in HORIZONS}
    return Said(days=MORNINGS, levels={METHOD.name: levels}, chances=chances)


def fates(*closes: int, causes: tuple[str | None, ...] | None = None) -> Fates:
    money = np.full((len(closes), DAYS), 1000)
    return Fates(
        ids=tuple(f"I{place}" for place in range(len(closes))), closes=np.array(closes), owed_fen=money,
        causes=causes or (None,) * len(closes), balance_fen=money.copy(), starts_on=FIRST,
    )


def scored(what: Said, of: Fates, *, first: int = 120, last: int = 499) -> Score:
    return score(what, METHOD, of, first=first, last=last, institutions_per_supervisor=100)


def test_a_red_that_stands_to_the_end_has_its_lead_from_the_day_it_rose() -> None:
    found = scored(said({(380, 400): ORANGE, (400, 451): RED}), fates(450))
    [one] = found.closures
    assert (one.orange_days, one.red_days, found.false_reds) == (70, 50, 0)
    assert found.as_json()["recall_red_14d"] == 1


def test_a_red_that_was_lowered_again_within_the_window_still_warned() -> None:
    found = scored(said({(300, 320): RED}), fates(450))
    assert (found.closures[0].red_days, found.false_reds) == (150, 0)


def test_a_red_that_ended_before_the_window_is_false_and_warned_nobody() -> None:
    found = scored(said({(200, 269): RED}), fates(450))
    assert (found.closures[0].red_days, found.false_reds) == (None, 1)
    touching = scored(said({(200, 271): RED}), fates(450))
    assert (touching.closures[0].red_days, touching.false_reds) == (180, 0)


def test_no_lead_is_longer_than_the_window() -> None:
    assert scored(said({(100, 451): RED}), fates(450)).closures[0].red_days == 180


def test_thirteen_days_before_is_too_late_and_fourteen_in_time() -> None:
    found = scored(said({(437, 451): RED}, {(436, 451): RED}, {}), fates(450, 450, 450))
    assert [one.red_days for one in found.closures] == [13, 14, None]
    document = found.as_json()
    assert document["recall_red_14d"] == pytest.approx(1 / 3, abs=1e-4)
    assert [one["uscc"] for one in document["misses"]] == ["I0", "I2"]


def test_a_closure_without_any_orange_has_a_lead_of_none_in_the_median() -> None:
    found = scored(said({}, {(400, 451): ORANGE}, {}), fates(450, 450, 450))
    assert found.as_json()["lead_days_first_orange_median"] == 0


def test_reds_of_the_healthy_are_false_each_by_itself() -> None:
    found = scored(said({(150, 160): RED, (200, 210): RED}, {(300, 500): RED}), fates(-1, -1))
    assert (found.false_reds, found.standing_reds) == (3, 1)
    assert found.years == pytest.approx(2 * 380 / 365)
    assert found.as_json()["false_reds_per_100_institution_years"] == pytest.approx(100 * 3 * 365 / 760, abs=1e-3)


def test_the_days_of_a_window_and_after_the_closing_are_no_healthy_years() -> None:
    found = scored(said({(460, 470): RED}), fates(450))
    assert found.years == pytest.approx((270 - 120) / 365)
    assert found.false_reds == 0


def test_a_false_red_counts_if_it_still_stands_when_the_evaluation_begins() -> None:
    rows = ({(105, 115): RED}, {(105, 125): RED})
    assert [scored(said(row), fates(-1)).false_reds for row in rows] == [0, 1]


def test_a_closure_outside_the_evaluated_mornings_is_not_counted_but_explains_its_red() -> None:
    found = scored(said({(250, 330): RED}), fates(330), last=300)
    assert (found.closures, found.false_reds) == ((), 0)


def test_the_protected_share_is_what_lies_there_on_the_morning_of_the_first_red() -> None:
    of = fates(450, 450, 450)
    of.balance_fen[0, 399:] = 250
    of.balance_fen[1, :] = 400  # it never keeps more than two fifths of what it owes, and has them all
    found = scored(said({(400, 451): RED}, {(400, 451): RED}, {}), of)
    assert [(one.there_fen, one.due_fen) for one in found.closures] == [(250, 1000), (400, 400), (0, 1000)]
    assert found.as_json()["protected_share"] == pytest.approx(650 / 2400, abs=1e-4)


def test_a_sudden_theft_counts_and_is_shown_apart() -> None:
    document = scored(said({}, {(400, 451): RED}), fates(450, 450, causes=("sudden_theft", None))).as_json()
    assert document["recall_red_14d"] == 0.5
    assert document["sudden_thefts"]["recall_red_14d"] == 0
    assert document["without_sudden_thefts"]["recall_red_14d"] == 1
    assert set(document["recall_by_cause"]) == {"sudden_theft", "unknown"}


def test_every_rise_is_an_alert_and_a_fall_is_none() -> None:
    found = scored(said({(200, 210): YELLOW, (210, 220): RED, (220, 230): ORANGE, (240, 250): RED}), fates(-1))
    assert found.raises == {YELLOW: 1, ORANGE: 0, RED: 2}
    weeks = 380 / 7 / 100
    assert found.as_json()["alerts_per_supervisor_week"] == pytest.approx(3 / weeks, abs=1e-3)


def test_alerts_are_told_a_severity_each_with_the_days_they_stood() -> None:
    found = told_alerts(
        said({(200, 230): ORANGE, (210, 220): RED}, {(440, 460): RED}), METHOD.name, fates(-1, 450), first=120, last=499
    )

    def on(column: int) -> date:
        return FIRST + timedelta(days=column)

    assert [(one.uscc, one.severity, one.opened_on, one.resolved_on) for one in found] == [
        ("I0", "yellow", on(200), on(230)), ("I0", "orange", on(200), on(230)), ("I0", "red", on(210), on(220)),
        ("I1", "yellow", on(440), None), ("I1", "orange", on(440), None), ("I1", "red", on(440), None),
    ]


def test_nothing_closed_gives_no_figure_rather_than_a_good_one() -> None:
    document = scored(said({}), fates(-1)).as_json()
    assert (document["closures"], document["recall_red_14d"], document["protected_share"]) == (0, None, None)


def test_chances_are_compared_with_what_happened_where_that_is_known() -> None:
    what = said({}, {})
    what.chances[60][0, :], what.chances[60][1, :] = 0.95, 0.05
    of = fates(179, -1)
    found = calibration(what, of, 60, first=120, last=499, known_to=300)
    mornings = len(range(120, 180, 7)), len(range(120, 241, 7))
    assert found.count == sum(mornings)
    assert found.happened == mornings[0]
    assert [(each[0], each[2]) for each in found.bins if each[0]] == [(mornings[1], 0), (mornings[0], 1)]


# Floors.


def history(count: int = 3, days: int = 200, *, balance: int = 100_000) -> Series:
    values = {name: np.zeros((count, days), np.int64) for name in COLUMNS}
    values["balance_fen"][:] = balance
    return Series(
        ids=tuple(f"I{place}" for place in range(count)), starts_on=FIRST, working=np.ones(days, np.bool_),
        custody=np.array([place % 2 == 0 for place in range(count)]), began=np.zeros(count, np.int64),
        licence_ends=np.full(count, LICENCE_UNKNOWN), values=values,
        arrived=np.tile(np.arange(days), (count, 1)),
    )


def test_a_floor_of_charges_counts_calendar_months_up_to_the_last_known_day() -> None:
    series = history()
    series.values["charged_fen"][:] = 1
    terms = RatioWindow(ratio=Fraction(1, 2), months=2, of=RatioOf.CHARGES)
    day = series.column(date(2025, 4, 11))
    assert floor_of(series.view(day), (terms,)).tolist() == [(31 + 10) / 2] * 3


def test_a_silent_bank_holds_the_floor_at_the_day_of_its_last_statement() -> None:
    series = history()
    series.values["credits_fen"][:] = 1
    series.values["owed_fen"][:] = np.arange(200)
    series.arrived[1, 98:] = 190
    terms = RatioWindow(ratio=Fraction(1), months=1, of=RatioOf.CREDITS)
    view = series.view(series.column(date(2025, 4, 11)))
    assert floor_of(view, (terms,)).tolist() == [10, 8, 10]
    assert floor_of(view, (FullLiability(),)).tolist() == [99, 97, 99]


def test_a_tiered_floor_takes_the_tier_of_the_credits() -> None:
    series = history()
    series.values["credits_fen"][0, 95], series.values["credits_fen"][1, 95] = 999, 1000
    terms = Fixed(months=3, tiers=(
        Tier(credits_below=Money(1000, "CNY"), amount=Money(50, "CNY")),
        Tier(credits_below=None, amount=Money(70, "CNY")),
    ))
    assert floor_of(series.view(100), (terms,)).tolist() == [50, 70, 50]
    assert floor_of(series.view(100), (Fixed(tiers=terms.tiers[1:]), terms)).tolist() == [70, 70, 70]


@pytest.mark.parametrize("terms", [PeriodFees(months=3), Schedule(parts=(30, 30, 40))])
def test_a_floor_that_needs_contracts_says_that_it_cannot_be_replayed(terms: FloorTerms) -> None:
    assert "needs the terms of every contract" in str(why_not(terms))
    with pytest.raises(ValueError, match="needs the terms"):
        floor_of(history().view(100), (terms,))


def test_a_floor_is_orange_at_once_red_after_its_working_day_and_red_at_once_far_below() -> None:
    series = history()
    series.values["owed_fen"][:] = 100_000
    series.values["balance_fen"][0, 150:] = 99_999
    series.values["balance_fen"][1, 150:] = 79_000
    floor = FloorMethod(name="floor", custody=(FullLiability(),), others=(FullLiability(),))
    days = range(149, 154)
    found = replay(
        (series.view(day) for day in days), (floor,), shipped_model(), days=days, count=3
    ).levels["floor"]
    assert found.tolist() == [[1, 1, 2, 3, 3], [1, 1, 3, 3, 3], [1, 1, 1, 1, 1]]


def test_a_shortfall_over_a_weekend_is_not_yet_long() -> None:
    series = history()
    series.values["owed_fen"][:] = 100_000
    series.values["balance_fen"][:, 150:] = 90_000
    series.working[151:] = False
    floor = FloorMethod(name="floor", custody=(FullLiability(),), others=())
    days = range(150, 156)
    found = replay((series.view(day) for day in days), (floor,), shipped_model(), days=days, count=3)
    assert found.levels["floor"].tolist() == [[1, 2, 2, 2, 2, 2], [0] * 6, [1, 2, 2, 2, 2, 2]]


# Looking ahead.


def lively(seed: int = 4) -> Series:
    """Noise in every column, so that whatever is looked at differs from day to day."""
    series, rng = history(days=260), np.random.default_rng(seed)
    for name in COLUMNS:
        series.values[name][:] = rng.poisson(3, (3, 260))
    series.values["balance_fen"][:] = 50_000 + rng.integers(0, 30_000, (3, 260))
    series.values["owed_fen"][:] = 60_000 + rng.integers(0, 10_000, (3, 260))
    return series


def until(series: Series, days: int) -> Series:
    """The same with the future deleted."""
    return replace(
        series, working=series.working[:days], arrived=series.arrived[:, :days],
        values={name: array[:, :days] for name, array in series.values.items()},
    )


METHODS = (
    METHOD, FloorMethod(name="floor", custody=(FullLiability(),), others=(FullLiability(),)),
    IndexMethod(name="watch", thresholds=(0.001, 0.002, 0.01)),
)


def replayed(series: Series, last: int) -> Said:
    days = range(100, last + 1)
    return replay((series.view(day) for day in days), METHODS, shipped_model(), days=days, count=3)


@pytest.mark.parametrize("last", [130, 201])
def test_a_back_test_of_a_day_says_the_same_with_the_future_deleted(last: int) -> None:
    whole, cut = replayed(lively(), 259), replayed(until(lively(), last), last)
    for method in METHODS:
        assert (whole.levels[method.name][:, : last - 99] == cut.levels[method.name]).all()
    for horizon in HORIZONS:
        assert (whole.chances[horizon][:, : last - 99] == cut.chances[horizon]).all()


def test_the_same_past_is_told_the_same_twice() -> None:
    one, other = replayed(lively(), 200), replayed(lively(), 200)
    assert all((one.levels[name] == other.levels[name]).all() for name in one.levels)
    assert len({method.name for method in METHODS}) == len(one.levels)


def test_between_mornings_that_lie_apart_what_was_said_stands() -> None:
    series = lively()
    days = range(100, 129, 7)
    found = replay((series.view(day) for day in days), METHODS, shipped_model(), days=days, count=3)
    assert found.days.tolist() == list(range(100, 129))
    levels = found.levels["floor"]
    assert all((levels[:, start] == levels[:, start + 6]).all() for start in range(0, 28, 7))
    assert found.chances[60].shape == (3, 29)
