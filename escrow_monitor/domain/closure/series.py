"""What is known of many institutions day by day, as arrays: a row an institution, a column a day.

Amounts are whole fen (int64), the rest are counts. A day's figures are those of its end, in the bank's zone. What a
person reads on the morning of day `d` is all up to column `d - 1`, and of bank statements only what had arrived by
then: `View` holds just that.

    balance_fen           booked balance of all escrow accounts of the institution
    credits_fen           all credits but own transfers and reversed ones
    debits_fen            all debits but refunds, own transfers and reversed ones
    manual_fen            of these, the ones that no lesson stands behind by their words or their link
    refunds_seen_fen      debits that are refunds
    charged_fen, charges  what families were charged, by the day they paid
    unseen_fen            charges whose credit had not come eleven days after they were paid, on that eleventh day
    signed, lessons_sold, fees_sold_fen, over_cap    contracts by the day they were signed; those beyond the fee caps
    taught                lessons by the day they were given
    counted, deemed       lessons by the day they were confirmed or deemed so; of these, the deemed
    earned_fen            what counted lessons earned, by that day
    active                contracts that are neither used up, ended nor claimed back, at the day's end
    owed_fen              what the books say families are owed, at the day's end
    claims, claimed_fen   refund claims by the day they were made
    overdue, overdue_fen  claims past their due day and not paid, at the day's end
    complaints            by the day they were received
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

BANK = ("balance_fen", "credits_fen", "debits_fen", "manual_fen", "refunds_seen_fen")
"""From statements: known when the day's statement has arrived."""
PLATFORM = (
    "charged_fen", "charges", "unseen_fen", "signed", "lessons_sold", "fees_sold_fen", "over_cap", "taught", "counted",
    "deemed", "earned_fen", "active", "owed_fen", "claims", "claimed_fen", "overdue", "overdue_fen", "complaints",
)
"""From imports: known the next morning."""
NOTICES = (
    "new_representative", "new_address", "new_campus", "wage_arrears", "rent_arrears", "licence_revoked",
    "account_frozen", "large_outlay_approved",
)
"""What registers and other departments report, by the day it happened: how many on that day."""
COLUMNS = (*BANK, *PLATFORM, *NOTICES)
WINDOW = 400
"""Days that a morning looks back on: a year, so that a season meets itself, and a little."""
LICENCE_UNKNOWN = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """All institutions together, day by day: what is season for everyone is nobody's signal.

    `totals` has the sum over all institutions of every column of PLATFORM, `count` how many institutions they are.
    """

    count: int
    totals: Mapping[str, Ints]

    def part(self, first: int, stop: int) -> Peers:
        """Only the days from `first` up to but not including `stop`."""
        return Peers(count=self.count, totals={name: array[first:stop] for name, array in self.totals.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """All days of all institutions. `arrived` is the column by whose end a day's statement was here.

    `starts_on` is the date of column 0; `working` whether people work on a day, over all columns. `custody` tells who
    releases lesson by lesson from who keeps a floor. `licence_ends` is the column of the licence's last day, which may
    lie beyond the last one, or LICENCE_UNKNOWN. `began` is the first column of which anything is known.
    """

    ids: tuple[str, ...]
    starts_on: date
    working: Bools
    custody: Bools
    licence_ends: Ints
    began: Ints
    values: Mapping[str, Ints]
    arrived: Ints = field(repr=False)

    @property
    def days(self) -> int:
        """How many columns."""
        return int(self.arrived.shape[1])

    def column(self, day: date) -> int:
        """The column of a date; it may lie outside."""
        return (day - self.starts_on).days

    def peers(self) -> Peers:
        """These institutions as each other's peers."""
        return Peers(count=len(self.ids), totals={name: self.values[name].sum(axis=0) for name in PLATFORM})

    def view(self, day: int, *, peers: Peers | None = None, window: int = WINDOW) -> View:
        """What is known on the morning of column `day`: nothing later, and no statement that had not arrived.

        `peers` covers the same columns as this; by default these institutions are each other's.
        """
        first = max(0, day - window)
        arrived = self.arrived[:, first:day] < day
        # How far the statements reach without a gap: after a missing day nothing is known to follow on.
        through = np.where(arrived.all(axis=1), arrived.shape[1], np.argmin(arrived, axis=1))
        seen = np.arange(arrived.shape[1]) < through[:, None]
        return View(
            day=self.starts_on + timedelta(days=day), working=self.working[first:day], custody=self.custody,
            licence_ends=np.where(
                self.licence_ends == LICENCE_UNKNOWN, LICENCE_UNKNOWN, self.licence_ends - first
            ),
            began=np.maximum(self.began - first, 0), seen=seen, through=through,
            peers=(peers or self.peers()).part(first, day),
            values={
                name: np.where(seen, array[:, first:day], 0) if name in BANK else array[:, first:day]
                for name, array in self.values.items()
            },
        )

    def of(self, rows: Sequence[int]) -> Series:
        """Only these institutions."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Series(
            ids=tuple(self.ids[row] for row in rows), starts_on=self.starts_on, working=self.working,
            custody=self.custody[chosen], licence_ends=self.licence_ends[chosen], began=self.began[chosen],
            values={name: array[chosen] for name, array in self.values.items()}, arrived=self.arrived[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known on the morning of `day`; the last column is the day before.

    `through`: how many columns the statements reach without a gap. `began` and `licence_ends` are columns of this view.
    """

    day: date
    working: Bools
    custody: Bools
    licence_ends: Ints
    began: Ints
    seen: Bools
    through: Ints
    peers: Peers
    values: Mapping[str, Ints]

    @property
    def count(self) -> int:
        """How many institutions."""
        return int(self.seen.shape[0])

    @property
    def width(self) -> int:
        """How many columns are here."""
        return int(self.seen.shape[1])

    def total(self, name: str, days: int, *, before: int = 0) -> Floats:
        """The sum of the `days` columns that end `before` columns ago, by institution."""
        array = self.values[name]
        stop = array.shape[1] - before
        return np.asarray(array[:, max(0, stop - days) : max(0, stop)].sum(axis=1), dtype=np.float64)

    def last(self, name: str, *, before: int = 0) -> Floats:
        """The value `before` columns ago; of a bank's figure the newest that is known, never one after it."""
        array = self.values[name]
        if name in BANK:
            place = np.clip(np.minimum(self.through, array.shape[1] - before) - 1, 0, None)
            return np.asarray(np.take_along_axis(array, place[:, None], axis=1)[:, 0], dtype=np.float64)
        return np.asarray(array[:, max(0, array.shape[1] - 1 - before)], dtype=np.float64)

    def silence(self) -> Ints:
        """How many days no statement has come."""
        return np.asarray(self.width - self.through, dtype=np.int64)
