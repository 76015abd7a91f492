"""Levels are raised at once and lowered slowly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.closure.levels import QUIET_DAYS, Levels, next_levels, no_levels

MORNINGS = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def said(*levels: int) -> np.ndarray:
    return np.array(levels, dtype=np.int64)


def after(mornings: list[int], *, heard: bool = True) -> Levels:
    levels = no_levels(1)
    for one in mornings:
        levels = next_levels(levels, said(one), heard=np.array([heard]))
    return levels


def test_a_level_is_raised_on_the_morning_that_says_so() -> None:
    assert next_levels(no_levels(3), said(0, 1, 3)).held.tolist() == [0, 1, 3]


def test_a_red_comes_down_one_step_after_two_quiet_weeks_and_not_a_morning_before() -> None:
    assert after([3] + [0] * (QUIET_DAYS - 1)).held.tolist() == [3]
    assert after([3] + [0] * QUIET_DAYS).held.tolist() == [2]
    assert after([3] + [0] * (3 * QUIET_DAYS)).held.tolist() == [0]


def test_one_bad_morning_among_quiet_ones_begins_the_count_anew() -> None:
    assert after([3] + [0] * (QUIET_DAYS - 1) + [3] + [0] * (QUIET_DAYS - 1)).held.tolist() == [3]


def test_a_level_comes_down_no_further_than_what_is_said() -> None:
    assert after([2] + [1] * (5 * QUIET_DAYS)).held.tolist() == [1]


def test_mornings_that_were_left_out_count_as_quiet_ones() -> None:
    red = next_levels(no_levels(1), said(3))
    assert next_levels(red, said(0), days=QUIET_DAYS).held.tolist() == [2]


def test_a_silent_bank_lowers_nothing_and_still_raises() -> None:
    assert after([2] + [0] * (5 * QUIET_DAYS), heard=False).held.tolist() == [2]
    assert after([2, 0, 3], heard=False).held.tolist() == [3]


@given(MORNINGS, st.integers(0, 59))
def test_one_worse_morning_never_ends_lower(mornings: list[int], place: int) -> None:
    worse = [*mornings]
    worse[place % len(mornings)] = 3
    assert after(worse).held[0] >= after(mornings).held[0]


@given(MORNINGS)
def test_what_is_held_is_never_below_what_is_said(mornings: list[int]) -> None:
    assert after(mornings).held[0] >= mornings[-1]
