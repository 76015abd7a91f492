"""The signals of closing: what never makes them smaller, and what is nothing to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escrow_monitor.domain.closure.series import LICENCE_UNKNOWN, PLATFORM, WINDOW, Series
from escrow_monitor.domain.closure.signals import SIGNALS, Signals, explain, signals
from escrow_monitor.domain.closure.windows import SILENT_DAYS
from tests.domain import closure_world as world

ROWS = st.integers(0, world.INSTITUTIONS - 1)
MORNINGS = st.integers(150, world.DAYS)
LATELY = st.integers(1, 42)
FEN = st.integers(1, 50_000_00)
ABOUT_THE_BANK = ("w1_", "w2_", "w3_", "w4_", "w18_")


def of(series: Series, morning: int) -> Signals:
    return signals(series.view(morning))


def fallen(before: Signals, now: Signals, row: int, *, those: tuple[str, ...] = ("w",)) -> list[str]:
    """The signals of a row that are smaller now, of those whose names begin so."""
    return [
        name for place, name in enumerate(now.names)
        if name.startswith(those) and now.intensity[row, place] < before.intensity[row, place] - 1e-9
    ]


def test_every_intensity_lies_between_0_and_1_and_every_signal_speaks_of_some_institution() -> None:
    series, spoke = world.troubled_city(), set()
    for morning in range(1, world.DAYS, 20):
        found = of(series, morning)
        assert np.isfinite(found.intensity).all()
        assert ((found.intensity >= 0) & (found.intensity <= 1)).all()
        spoke |= {name for name in found.names if (found.of(name) > 0).any()}
    # What this city may have none of: second campuses, licences that end, records that stop, frozen accounts.
    rare = {"w12_expansion", "w15_licence_ends", "w15_licence_revoked", "w17_account_frozen"}
    assert {name for name in set(SIGNALS) - spoke if not name.startswith("w16_")} <= rare


@given(ROWS, MORNINGS, LATELY, FEN, st.booleans())
@settings(max_examples=60, deadline=None)
def test_less_money_lowers_no_signal(row: int, morning: int, ago: int, fen: int, manual: bool) -> None:
    series = world.troubled_city()
    less = world.withdrawn(series, row, morning - ago, fen, manual=manual)
    assert fallen(of(series, morning), of(less, morning), row) == []


@given(ROWS, MORNINGS, LATELY, FEN)
@settings(max_examples=60, deadline=None)
def test_a_refund_paid_later_lowers_no_signal(row: int, morning: int, ago: int, fen: int) -> None:
    series = world.troubled_city()
    later = world.refunded_later(series, row, morning - ago, fen)
    assert fallen(of(series, morning), of(later, morning), row) == []


@given(ROWS, MORNINGS, st.integers(1, 400), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_more_complaints_whenever_they_came_lower_no_signal(row: int, morning: int, ago: int, count: int) -> None:
    series = world.troubled_city()
    more = world.complained(series, row, max(0, morning - ago), count)
    assert fallen(of(series, morning), of(more, morning), row) == []


@given(ROWS, MORNINGS, st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_a_silent_bank_keeps_what_it_last_said(row: int, morning: int, days: int) -> None:
    series = world.troubled_city()
    silent = of(world.bank_silent(series, row, morning - days), morning)
    last_heard = of(world.bank_silent(series, row, morning - days), morning - days)
    # Notices go on by themselves: an approved outlay excuses what it is near to, and a licence still ends.
    assert fallen(last_heard, silent, row, those=("w1_", "w3_", "w4_", "w18_", "w16_bank")) == []
    if days > SILENT_DAYS:
        assert not any(
            silent.known[row, place] for place, name in enumerate(silent.names)
            if name.startswith(ABOUT_THE_BANK) and not _is_of_the_others(name, series, row)
        )


def _is_of_the_others(name: str, series: Series, row: int) -> bool:
    """Whether a signal is nothing to those who keep a floor, or to those in custody: known to be nothing."""
    floors, custody = ("w1_floor_gap", "w2_balance_fall"), ("w1_cover_gap", "w1_cover_deep", "w3_")
    return name.startswith(floors) if series.custody[row] else name.startswith(custody)


@given(ROWS, st.integers(200, world.DAYS - 60), st.integers(SILENT_DAYS + 1, 60))
@settings(max_examples=40, deadline=None)
def test_an_institution_that_records_nothing_any_more_keeps_what_its_records_last_said(
    row: int, stops: int, days: int
) -> None:
    series = world.platform_silent(world.troubled_city(), row, stops)
    taught = np.flatnonzero(sum(series.values[name][row] for name in ("taught", "counted", "charges", "signed")))
    if not len(taught):
        return
    first, then = of(series, int(taught[-1]) + 1), of(series, stops + days)
    if stops + days - taught[-1] > 115 or stops + days > WINDOW:
        return  # so long silent that nothing is left to compare, or what is compared with has left the view
    # Against all others its own last weeks are the same weeks, whenever one looks.
    assert fallen(first, then, row, those=("w5_", "w10_", "w11_discount", "w16_platform")) == []
    assert then.of("w16_platform_silent")[row] > 0 or days <= SILENT_DAYS


@given(MORNINGS, st.permutations(range(world.INSTITUTIONS)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_institutions_is_nothing_to_them(morning: int, order: list[int]) -> None:
    series = world.troubled_city()
    found, moved = of(series, morning), of(series.of(order), morning)
    np.testing.assert_allclose(moved.intensity, found.intensity[order], atol=1e-12)
    assert (moved.known == found.known[order]).all()


@given(MORNINGS)
@settings(max_examples=10, deadline=None)
def test_every_amount_doubled_changes_no_signal(morning: int) -> None:
    series = world.troubled_city()
    found, doubled = of(series, morning), of(world.in_double(series), morning)
    np.testing.assert_allclose(doubled.intensity, found.intensity, atol=1e-9)
    assert (doubled.known == found.known).all()


@given(MORNINGS)
@settings(max_examples=10, deadline=None)
def test_a_morning_knows_nothing_of_its_future(morning: int) -> None:
    series = world.troubled_city()
    found = of(series, morning)
    futures = [world.until(series, morning)]
    if morning < world.DAYS:
        futures.append(world.otherwise_after(series, morning))
    for other in futures:
        again = of(other, morning)
        assert (again.intensity == found.intensity).all()
        assert (again.known == found.known).all()


def test_one_institution_among_its_peers_is_told_what_it_is_told_among_all() -> None:
    series = world.troubled_city()
    peers, found = series.peers(), of(series, 400)
    for row in range(world.INSTITUTIONS):
        alone = signals(series.of([row]).view(400, peers=peers))
        np.testing.assert_allclose(alone.intensity[0], found.intensity[row], atol=1e-12)


def test_with_too_few_others_a_season_is_unknown_and_no_trouble() -> None:
    few = of(world.troubled_city().of([0, 1, 2]), 300)
    for name in ("w9_idle", "w9_teaching_down", "w10_excess_lessons", "w11_promotion", "w11_enrolment_down"):
        assert not few.known[:, few.names.index(name)].any()
        assert (few.of(name) == 0).all()


def test_on_its_first_mornings_an_institution_has_no_usual_and_nothing_is_known_of_it() -> None:
    found = of(world.troubled_city(), 10)
    for name in ("w1_cover_drop", "w9_idle", "w11_promotion", "w11_discount", "w10_excess_lessons"):
        assert not found.known[:, found.names.index(name)].any()


@pytest.mark.parametrize(("left", "least", "most"), [(400, 0, 0), (30, 0.3, 0.4), (0, 0.6, 0.7), (-31, 1, 1)])
def test_a_licence_speaks_as_its_last_day_comes_near(left: int, least: float, most: float) -> None:
    series = world.troubled_city()
    ends = np.full(world.INSTITUTIONS, 299 + left)
    ends[1] = LICENCE_UNKNOWN
    found = of(replace(series, licence_ends=ends), 300)
    assert least <= found.of("w15_licence_ends")[0] <= most
    assert not found.known[1, found.names.index("w15_licence_ends")]


def test_every_signal_that_speaks_says_why_in_two_languages_with_its_figures() -> None:
    series, told = world.troubled_city(), set()
    for morning in (200, 300, 380, 450):
        view = series.view(morning)
        found = signals(view)
        for row, place in zip(*np.nonzero(found.intensity), strict=True):
            name = found.names[place]
            zh, en = explain(view, int(row), name)
            assert zh, name
            assert en, name
            assert not any(sign in en + zh for sign in ("?", "{", "nan")), (name, en)
            told.add(name)
    assert len(told) >= 20


def test_the_figures_are_those_of_the_account() -> None:
    series = world.troubled_city()
    row, view = int(np.argmax(series.custody)), series.view(300)
    day = int(view.through[row]) - 1
    was = series.values["balance_fen"][row, day], series.values["owed_fen"][row, day]
    gone = int(was[0]) // 2
    less = world.withdrawn(series, row, 290, gone, manual=True)
    gap = int(was[1] - was[0] + gone)
    assert f"{gap // 100:,}.{gap % 100:02d}" in explain(less.view(300), row, "w1_cover_gap")[1]
    assert f"{gone // 100:,}.{gone % 100:02d} left in 28 days" in explain(less.view(300), row, "w18_manual_releases")[1]
    silent = world.bank_silent(less, row, 280)
    assert "too little is heard" in explain(silent.view(300), row, "w1_cover_gap")[1]


def test_an_account_of_which_no_statement_ever_came_is_unknown_and_not_empty() -> None:
    """A zero that nobody said is no gap: the institution may be fine, and nobody can tell."""
    series = world.troubled_city()
    unheard = replace(series, arrived=np.full_like(series.arrived, world.NEVER))
    found = signals(unheard.view(series.days))
    for name in ("w1_cover_gap", "w1_cover_deep", "w1_floor_gap", "w2_outflow", "w3_released_far_ahead", "w4_outside"):
        place = found.names.index(name)
        assert not found.intensity[:, place].any(), name
        assert not found.known[:, place].any(), name


def test_an_institution_whose_contracts_nobody_recorded_has_no_gap_to_what_it_owes() -> None:
    series = world.troubled_city()
    blank = {name: np.zeros_like(series.values[name]) for name in PLATFORM}
    found = signals(replace(series, values={**series.values, **blank}).view(series.days))
    for name in ("w1_cover_gap", "w3_released_ahead", "w18_manual_releases"):
        place = found.names.index(name)
        assert not found.intensity[:, place].any(), name
        assert not found.known[:, place].any(), name
