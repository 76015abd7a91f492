"""Many rows at once come back as they were given, whatever their columns repeat."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escrow_monitor.records.bulk import PLACES_A_STATEMENT, ByColumn, Cells, Reader, fetch, staged
from escrow_monitor.records.database import Database

COLUMNS = {"name": str, "fen": int, "final": bool, "day": date, "at": datetime}
AT = datetime(2026, 11, 19, 7, 0, 0, 5, tzinfo=UTC)
ELSEWHERE = timezone(timedelta(hours=8))
CELLS = st.tuples(
    st.sampled_from(["", "a", "b"]), st.sampled_from([0, 1, -(2**53) + 1]), st.booleans(),
    st.sampled_from([None, date(2026, 11, 19), date(2026, 11, 20)]),
    st.sampled_from([None, AT, AT.astimezone(ELSEWHERE), AT + timedelta(microseconds=1)]),
)


def written_and_read(database: Database, rows: list[Cells], given: list[Cells] | ByColumn) -> list[Cells]:
    """The rows as the database gives them back, in the order of the first cell that tells them apart."""
    columns = {"place": int, **COLUMNS}
    with database.write() as session, staged(session, "some_rows", columns, given):
        reader = Reader(session)
        found = fetch(session, "SELECT place, name, fen, final, day, at FROM some_rows ORDER BY place")
        return [(row[0], row[1], row[2], bool(row[3]), reader.day(row[4]), reader.instant(row[5])) for row in found]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELLS, min_size=1, max_size=4), count=st.integers(1, 3 * PLACES_A_STATEMENT // 6))
def test_rows_come_back_as_they_were_given(database: Database, cells: list[Cells], count: int) -> None:
    rows: list[Cells] = [(place, *cells[place * len(cells) // count]) for place in range(count)]
    assert written_and_read(database, rows, rows) == rows
    assert written_and_read(database, rows, ByColumn(list(zip(*rows, strict=True)))) == rows


def test_nothing_is_written_of_no_rows(database: Database) -> None:
    assert written_and_read(database, [], []) == []
    assert written_and_read(database, [], ByColumn([()] * 6)) == []


def test_columns_of_unequal_length_are_no_rows() -> None:
    with pytest.raises(ValueError, match="unequal length"):
        ByColumn([[1, 2], ["a"]])
