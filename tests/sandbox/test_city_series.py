"""The city as columns of days: its books in order with its bank, and the truth apart from what is recorded."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from escrow_monitor.domain.closure.series import BANK, COLUMNS, Series
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.courses import Awkward, Ending
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.city.series import CHUNK, LATE_DAYS, Truth, series_and_truth, series_of, truth_of

CITY = City(
    seed=5, institutions=14, starts_on=date(2024, 3, 1), days=420,
    settings=CitySettings(closing_rate=0.8, students=(25, 60)),
)


@pytest.fixture(scope="module")
def both() -> tuple[Series, Truth]:
    return series_and_truth(CITY)


def test_it_has_every_column_a_row_an_institution_and_nothing_below_zero(both: tuple[Series, Truth]) -> None:
    series, truth = both
    assert set(series.values) == set(COLUMNS)
    assert series.ids == tuple(CITY.uscc(place) for place in range(14))
    assert all(array.shape == (14, 420) and (array >= 0).all() for array in series.values.values())
    assert truth.owed_fen.shape == (14, 420)


def test_the_balance_moves_by_what_the_bank_booked(both: tuple[Series, Truth]) -> None:
    values = both[0].values
    moved = values["credits_fen"] - values["debits_fen"] - values["refunds_seen_fen"]
    assert (np.diff(values["balance_fen"], axis=1) == moved[:, 1:]).all()
    assert (values["manual_fen"] <= values["debits_fen"]).all()


def test_while_an_institution_is_healthy_its_books_say_what_is_owed(both: tuple[Series, Truth]) -> None:
    series, truth = both
    for row in range(14):
        until = 420 if truth.onset[row] < 0 else int(truth.onset[row])
        assert (series.values["owed_fen"][row, :until] == truth.owed_fen[row, :until]).all()


def test_what_lies_hidden_is_in_the_truth_alone(both: tuple[Series, Truth]) -> None:
    series, truth = both
    hiding = [row for row, kind in enumerate(truth.endings) if kind in (Ending.FABRICATED_LESSONS, Ending.SIPHONING)]
    assert hiding
    for row in hiding:
        assert series.values["owed_fen"][row, truth.closes[row]] < truth.owed_fen[row, truth.closes[row]]


def test_statements_come_late_and_in_order_where_the_bank_is_out_or_slow(both: tuple[Series, Truth]) -> None:
    arrived = both[0].arrived
    assert (np.diff(arrived, axis=1) >= 0).all()
    assert (arrived >= np.arange(420)).all()
    faults = {Awkward.BANK_OUTAGE: lambda spell: spell.last + 1, Awkward.LATE_STATEMENTS: lambda spell: (
        spell.first + LATE_DAYS
    )}
    seen = 0
    for row, plan in enumerate(CITY.plans):
        for spell in plan.spells:
            if spell.kind in faults:
                seen += 1
                assert arrived[row, spell.first] >= faults[spell.kind](spell)
    assert seen


def test_a_view_of_a_morning_hides_what_had_not_arrived(both: tuple[Series, Truth]) -> None:
    series = both[0]
    row, spell = next(
        (row, spell) for row, plan in enumerate(CITY.plans) for spell in plan.spells
        if spell.kind is Awkward.BANK_OUTAGE
    )
    view = series.view(spell.last + 1)
    assert view.through[row] <= view.width - (spell.last + 1 - spell.first)
    assert all((view.values[name][row, view.through[row] :] == 0).all() for name in BANK)


@pytest.mark.slow
def test_two_processes_make_the_same_city_as_one() -> None:
    city = City(seed=6, institutions=CHUNK + 3, starts_on=date(2024, 3, 1), days=150)
    one, other = series_and_truth(city), series_and_truth(city, processes=2)
    assert all((one[0].values[name] == other[0].values[name]).all() for name in COLUMNS)
    assert (one[0].arrived == other[0].arrived).all()
    assert (one[1].owed_fen == truth_of(city).owed_fen).all()
    assert (series_of(city).licence_ends == other[0].licence_ends).all()
