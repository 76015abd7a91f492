"""What a calendar month was of accounts: highest and lowest balance, days short, what was paid out and above what.

    a row an account, a column a day                     every day that counts is one of
    balance  known?   floor  known? whole?               met       balance known, floor whole, balance not below it
    due: the day counts                                  short     balance known and below a floor, or the known part
    paid out of it that day                              unknown   the balance, or the floor, is not known

    paid out = above (what lay over the floor) + below (what the floor needed) + apart (nobody can say which)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

NONE = -1
"""No day."""


@dataclass(frozen=True, kw_only=True)
class MonthDays:
    """The days of some accounts, in fen. A balance or floor that is not `known` holds 0 and means nothing.

    `floor_whole` False: the floor is at least that. `due` are the days that count: the account was open, and its
    statement is there or should be. `received` and `paid_out` are what was booked and stands, both above zero.
    """

    balance: Ints
    known: Bools
    floor: Ints
    floor_known: Bools
    floor_whole: Bools
    due: Bools
    received: Ints
    paid_out: Ints

    @cached_property
    def last_due(self) -> Sequence[int]:
        """The last column that counts of each account, NONE where none does."""
        width = self.due.shape[1]
        last = width - 1 - np.argmax(self.due[:, ::-1], axis=1)
        found: list[int] = np.where(self.due.any(axis=1), last, NONE).tolist()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthFigures:
    """One number an account of each. Days of `_on` are columns, NONE for none; amounts without a day are 0."""

    highest: Ints
    highest_on: Ints
    lowest: Ints
    lowest_on: Ints
    days_due: Ints
    days_met: Ints
    days_short: Ints
    days_balance_unknown: Ints
    days_floor_unknown: Ints
    shortfall: Ints
    shortfall_on: Ints
    received: Ints
    paid_out: Ints
    paid_above: Ints
    paid_below: Ints
    paid_apart: Ints


def figures_of(days: MonthDays) -> MonthFigures:
    """What the days of each account come to. Unknown is neither met nor short."""
    known = days.due & days.known
    below = known & days.floor_known & (days.balance < days.floor)
    met = known & days.floor_known & days.floor_whole & ~below
    highest, highest_on = _extreme(days.balance, known, largest=True)
    lowest, lowest_on = _extreme(days.balance, known, largest=False)
    shortfall, shortfall_on = _extreme(days.floor - days.balance, below, largest=True)
    sure = days.known & days.floor_known & days.floor_whole
    # What would have lain there without the payments of the day, over the floor: so much could go.
    above = np.where(sure, np.clip(days.balance + days.paid_out - days.floor, 0, days.paid_out), 0)
    apart = np.where(sure, 0, days.paid_out)
    return MonthFigures(
        highest=highest, highest_on=highest_on, lowest=lowest, lowest_on=lowest_on,
        days_due=days.due.sum(axis=1), days_met=met.sum(axis=1), days_short=below.sum(axis=1),
        days_balance_unknown=(days.due & ~days.known).sum(axis=1),
        days_floor_unknown=(known & ~below & ~met).sum(axis=1),
        shortfall=shortfall, shortfall_on=shortfall_on, received=days.received.sum(axis=1),
        paid_out=days.paid_out.sum(axis=1), paid_above=above.sum(axis=1), paid_apart=apart.sum(axis=1),
        paid_below=(days.paid_out - above - apart).sum(axis=1),
    )


def together(days: MonthDays, begins: Ints) -> MonthDays:
    """The accounts of one holder as one: row `begins[n]` up to the next. What is not known of one is not of all.

    A day counts where it does for any of them; one that it does not count for holds nothing then.
    """

    def add(values: Ints, where: Bools) -> Ints:
        return np.add.reduceat(np.where(where, values, 0), begins, axis=0)

    def every(flags: Bools) -> Bools:
        return np.asarray(np.logical_and.reduceat(flags | ~days.due, begins, axis=0), np.bool_)

    everywhere = np.ones_like(days.due)
    return MonthDays(
        balance=add(days.balance, days.due), known=every(days.known), floor=add(days.floor, days.due),
        floor_known=every(days.floor_known), floor_whole=every(days.floor_whole),
        due=np.asarray(np.logical_or.reduceat(days.due, begins, axis=0), np.bool_),
        received=add(days.received, everywhere), paid_out=add(days.paid_out, everywhere),
    )


def carried(balance: Ints, known: Bools, off: Bools) -> tuple[Ints, Bools]:
    """Let a day off without a statement hold what the day before it held, day after day."""
    balance, known = balance.copy(), known.copy()
    for column in range(1, balance.shape[1]):
        takes = off[:, column] & ~known[:, column] & known[:, column - 1]
        balance[takes, column] = balance[takes, column - 1]
        known[takes, column] = True
    return balance, known


def share_of(amounts: Ints, numerator: int, denominator: int) -> Ints:
    """A share of amounts that are not negative, half up, exactly."""
    if int(amounts.max(initial=0)) > (2**62) // max(1, numerator):
        # Too large for 64 bits on the way: by Python's own numbers, slowly.
        return np.array(
            [[(2 * int(one) * numerator + denominator) // (2 * denominator) for one in row] for row in amounts],
            np.int64,
        ).reshape(amounts.shape)
    return (2 * amounts * numerator + denominator) // (2 * denominator)


def days_of(first: date, last: date) -> Sequence[date]:
    """The days from `first` to `last`."""
    return [first + timedelta(days=step) for step in range((last - first).days + 1)]


def _extreme(values: Ints, where: Bools, *, largest: bool) -> tuple[Ints, Ints]:
    """The largest (or least) of each row where it counts, and the first column that has it."""
    limit = np.iinfo(np.int64).min if largest else np.iinfo(np.int64).max
    shown = np.where(where, values, limit)
    place = shown.argmax(axis=1) if largest else shown.argmin(axis=1)
    any_of = where.any(axis=1)
    found = shown[np.arange(len(shown)), place] if shown.size else np.zeros(len(shown), np.int64)
    return np.where(any_of, found, 0), np.where(any_of, place, NONE)
