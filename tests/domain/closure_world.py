"""A small city that many trouble, as days, and what changes one thing in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import lru_cache

import numpy as np

from escrow_monitor.domain.closure.series import BANK, COLUMNS, PLATFORM, Ints, Series
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.city.series import series_of

INSTITUTIONS, DAYS = 24, 460
STARTS_ON = date(2024, 1, 1)
NEVER = 1 << 30
MONEY = tuple(name for name in COLUMNS if name.endswith("_fen"))


@lru_cache(maxsize=1)
def troubled_city() -> Series:
    """Half of its institutions close within its days."""
    return series_of(City(
        seed=77, institutions=INSTITUTIONS, starts_on=STARTS_ON, days=DAYS,
        settings=CitySettings(closing_rate=0.7, custody_share=0.6, students=(25, 90)),
    ))


def with_columns(series: Series, **changed: Ints) -> Series:
    """With these columns instead."""
    return replace(series, values={**series.values, **changed})


def changed_in(series: Series, name: str, change: Callable[[Ints], None]) -> Ints:
    """A copy of a column on which `change` worked."""
    column = series.values[name].copy()
    change(column)
    return column


def withdrawn(series: Series, row: int, day: int, fen: int, *, manual: bool) -> Series:
    """On a day so much more left the account, as far as it held that until the end."""
    fen = int(min(fen, max(0, series.values["balance_fen"][row, day:].min())))

    def once(column: Ints) -> None:
        column[row, day] += fen

    def from_then(column: Ints) -> None:
        column[row, day:] -= fen

    found = with_columns(
        series, balance_fen=changed_in(series, "balance_fen", from_then),
        debits_fen=changed_in(series, "debits_fen", once),
    )
    return with_columns(found, manual_fen=changed_in(found, "manual_fen", once)) if manual else found


def refunded_later(series: Series, row: int, day: int, fen: int) -> Series:
    """A refund that was seen on a day is now past its day and was not paid by the end."""
    fen = int(min(fen, series.values["owed_fen"][row, day:].min()))

    def rises(column: Ints) -> None:
        column[row, day:] += fen

    def counts(column: Ints) -> None:
        column[row, day:] += 1

    return with_columns(
        series, balance_fen=changed_in(series, "balance_fen", rises), owed_fen=changed_in(series, "owed_fen", rises),
        overdue_fen=changed_in(series, "overdue_fen", rises), overdue=changed_in(series, "overdue", counts),
    )


def complained(series: Series, row: int, day: int, count: int) -> Series:
    """So many more complaints on a day."""
    def more(column: Ints) -> None:
        column[row, day] += count

    return with_columns(series, complaints=changed_in(series, "complaints", more))


def bank_silent(series: Series, row: int, day: int) -> Series:
    """All statements of the days before came in time, and none of that day or any after it."""
    arrived = series.arrived.copy()
    arrived[row, :day] = np.arange(day)
    arrived[row, day:] = NEVER
    return replace(series, arrived=arrived)


def platform_silent(series: Series, row: int, day: int) -> Series:
    """The institution recorded nothing of its own from a day on."""
    names = (
        "taught", "counted", "deemed", "charges", "charged_fen", "signed", "lessons_sold", "fees_sold_fen", "over_cap",
    )

    def nothing(column: Ints) -> None:
        column[row, day:] = 0

    return with_columns(series, **{name: changed_in(series, name, nothing) for name in names})


def until(series: Series, day: int) -> Series:
    """With all that came from that column on deleted."""
    return replace(
        series, working=series.working[:day], arrived=series.arrived[:, :day],
        values={name: column[:, :day] for name, column in series.values.items()},
    )


def otherwise_after(series: Series, day: int) -> Series:
    """With another future: from that column on everything is three times what it was, and a statement comes at once."""
    def tripled(column: Ints) -> None:
        column[:, day:] *= 3

    arrived = series.arrived.copy()
    arrived[:, day:] = np.arange(day, series.days)
    other = with_columns(series, **{name: changed_in(series, name, tripled) for name in (*BANK, *PLATFORM)})
    return replace(other, arrived=arrived)


def in_double(series: Series) -> Series:
    """Every amount twice what it was."""
    return with_columns(series, **{name: series.values[name] * 2 for name in MONEY})
