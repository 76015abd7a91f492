"""Some institutions over some days, as the arrays that are filled, and how rows of the database get into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
from sqlmodel import Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.closure.series import COLUMNS, Ints
from escrow_monitor.records.bulk import Cells, fetch, is_sqlite

CURRENCY = "CNY"
"""Amounts of several currencies have no sum: what is watched is what families pay in this one."""
MORNING = time(7)
"""By when, in our zone, a statement must be here to be known on the morning of that day."""
NEVER = int(np.iinfo(np.int64).max)
ALWAYS = datetime(9999, 12, 31, tzinfo=UTC)


class Frame:
    """A row an institution, a column a day from `first` to `last`. What was recorded after `known_at` is not seen."""

    def __init__(
        self, session: Session, *, usccs: Sequence[str], first: date, last: date, known_at: datetime = ALWAYS,
        empty: bool = False,
    ) -> None:
        if last < first:
            raise ValueError(f"no days from {first} to {last}")
        self.session, self.usccs, self.first, self.last, self.known_at = session, list(usccs), first, last, known_at
        self.days = (last - first).days + 1
        self.values: dict[str, Ints] = {} if empty else {
            name: np.zeros((len(self.usccs), self.days), np.int64) for name in COLUMNS
        }
        self.places = {uscc: place for place, uscc in enumerate(self.usccs)}
        self.lite = is_sqlite(session)
        dates = [first + timedelta(days=column) for column in range(self.days)]
        self.columns: dict[Any, int] = {
            day.isoformat() if self.lite else day: column for column, day in enumerate(dates)
        }

    def fetch(self, sql: str, **more: Any) -> list[Cells]:
        """Ask for rows; of `:usccs`, `:first`, `:last` and `:known_at` those that the query names are given."""
        given: dict[str, Any] = {
            "usccs": self.usccs, "first": self.first, "last": self.last, "known_at": self.known_at, **more,
        }
        return fetch(self.session, sql, **{name: value for name, value in given.items() if f":{name}" in sql})

    def add(self, rows: Iterable[Cells], *names: str) -> None:
        """Add rows of (institution, day, an amount for each of these columns)."""
        cells = list(zip(*rows, strict=True))
        if not cells:
            return
        places, columns = self.where(cells[0], cells[1])
        for name, amounts in zip(names, cells[2:], strict=True):
            np.add.at(self.values[name], (places, columns), np.array(amounts, np.int64))

    def where(self, usccs: Sequence[Any], days: Sequence[Any]) -> tuple[Ints, Ints]:
        """The rows and columns of institutions and days that are all inside."""
        count = len(usccs)
        return (
            np.fromiter(map(self.places.__getitem__, usccs), np.int64, count),
            np.fromiter(map(self.columns.__getitem__, days), np.int64, count),
        )

    def column(self, day: date) -> int:
        """The column of a date; it may lie outside."""
        return (day - self.first).days

    def day(self, column: int) -> date:
        """The date of a column."""
        return self.first + timedelta(days=column)


def arrival_day(at: datetime) -> date:
    """The day on whose next morning something that was recorded then was known."""
    local = at.astimezone(ZONE)
    return local.date() if local.time() >= MORNING else local.date() - timedelta(days=1)
