"""T3: bank lines matched with what was expected, database in and out, all at once and a day's news; beside pandas.

pandas is no dependency of ours, only of this bench: `pip install pandas`.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from itertools import islice

from escrow_monitor.domain.matching import BankLine, Expected, ExpectedKind, MatchPolicy
from escrow_monitor.records.database import Database
from escrow_monitor.records.matching.matching import match_all, match_new, record_items
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import AT, as_the_program
from tests.postgres import new_database, running_server

CHUNK = 100_000
LINES_AN_ACCOUNT = 1_000
FIRST = date(2026, 1, 1)
DAYS = 300
NEWS = 10_000
POLICY = MatchPolicy(days_before=2, days_after=2, tolerance_fen=100, group_items_max=1)


def ours(watch: Stopwatch) -> None:
    """`match_all` without groups: the steps that pandas takes, too."""
    with _sqlite(watch) as database:
        _match_all(watch, database, POLICY)


def ours_with_groups(watch: Stopwatch) -> None:
    """The same, and every group of up to four a side searched among what is left."""
    with _sqlite(watch) as database:
        _match_all(watch, database, MatchPolicy(days_before=2, days_after=2, tolerance_fen=100))


def ours_postgresql(watch: Stopwatch) -> None:
    """Without groups on PostgreSQL; the CPU seconds and the memory are those of our process, not the server's."""
    with _postgresql(watch) as database:
        _match_all(watch, database, POLICY)


def floor_sqlite(watch: Stopwatch) -> None:
    """The bare driver: read what is open, join it by its key, and keep the pairs; nothing else is asked."""
    with _sqlite(watch) as database:
        name = database.name
    with closing(sqlite3.connect(name, isolation_level=None)) as connection, watch.timed():
        for pragma in ("synchronous = FULL", "temp_store = MEMORY", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        made = connection.execute(
            "INSERT OR IGNORE INTO matches (line_no, expected_no, tier, residual_fen, made_at)"
            " SELECT l.line_no, e.expected_no, 'reference', 0, '2026-11-22 00:00:00.000000' FROM open_lines l"
            " JOIN open_expected e ON e.pair_key = l.pair_key ORDER BY l.line_no"
        ).rowcount
        connection.execute("COMMIT")
    watch.note = f"{made:,} pairs"


def pandas_script(watch: Stopwatch) -> None:
    """The same data from and to SQLite through pandas: merges on ranks, in the order one would write it."""
    try:
        import pandas
    except ImportError:
        watch.skipped = "pandas is not installed here; it is no dependency of ours"
        return
    with _sqlite(watch) as database:
        name = database.name
    with closing(sqlite3.connect(name)) as connection, watch.timed():
        lines = pandas.read_sql(
            "SELECT line_no, uscc, account_no, booked_on, amount_fen, reference FROM match_lines", connection
        )
        expected = pandas.read_sql(
            "SELECT expected_no, uscc, account_no, expected_on, amount_fen, reference FROM match_expected", connection
        )
        read = time.perf_counter()
        pairs = _pandas_pairs(pandas, lines, expected)
        matched = time.perf_counter()
        pairs.to_sql("pandas_matches", connection, index=False, if_exists="replace")
        connection.commit()
    watch.note = (
        f"{len(pairs):,} expected items matched; {matched - read:.2f} s of it matching, the rest reading and writing"
    )


def ours_news(watch: Stopwatch) -> None:
    """A day's lines taken in and matched against everything that is open."""
    with _sqlite(watch, news=True) as database:
        _match_news(watch, database)


def ours_news_postgresql(watch: Stopwatch) -> None:
    """The same on PostgreSQL."""
    with _postgresql(watch, news=True) as database:
        _match_news(watch, database)


def _match_all(watch: Stopwatch, database: Database, policy: MatchPolicy) -> None:
    with watch.timed(), database.write() as session:
        run = match_all(session, policy, now=AT)
    watch.note = _said(run.made)


def _match_news(watch: Stopwatch, database: Database) -> None:
    news = [line for line, _ in islice(_lines_and_expected(watch.size), 0, watch.size, max(1, watch.size // NEWS))
            if line is not None]
    with watch.timed(), database.write() as session:
        taken = record_items(session, lines=news, now=AT)
        run = match_new(session, POLICY, now=AT)
    watch.note = f"{taken:,} lines taken in, {_said(run.made)}"


def _said(made: dict[str, int]) -> str:
    return ", ".join(f"{made[tier]:,} {tier}" for tier in sorted(made))


def _pandas_pairs(pandas, lines, expected):  # type: ignore[no-untyped-def]  # pandas is not installed everywhere
    key = ["uscc", "reference", "amount_fen"]
    for frame in (lines, expected):
        frame["rank"] = frame.groupby(key, dropna=False).cumcount()
    exact = lines.dropna(subset=["reference"]).merge(
        expected.dropna(subset=["reference"])[[*key, "rank", "expected_no"]], on=[*key, "rank"]
    )[["line_no", "expected_no"]].assign(tier="reference")
    lines = lines[~lines.line_no.isin(exact.line_no)]
    expected = expected[~expected.expected_no.isin(exact.expected_no)]
    sums = expected.dropna(subset=["reference"]).groupby(["uscc", "reference"], as_index=False).amount_fen.sum()
    batches = lines.merge(sums, on=["uscc", "reference", "amount_fen"])[["line_no", "uscc", "reference"]]
    total = batches.merge(expected[["uscc", "reference", "expected_no"]], on=["uscc", "reference"])
    total = total[["line_no", "expected_no"]].assign(tier="reference_total")
    lines = lines[~lines.line_no.isin(total.line_no)].copy()
    expected = expected[~expected.expected_no.isin(total.expected_no)].copy()
    lines["on"] = pandas.to_datetime(lines.booked_on)
    expected["on"] = pandas.to_datetime(expected.expected_on)
    near = lines.merge(expected, on=["uscc", "account_no"], suffixes=("", "_e"))
    near = near[
        ((near.on - near.on_e).dt.days.abs() <= 2) & ((near.amount_fen - near.amount_fen_e).abs() <= 100)
    ]
    alone = ~near.duplicated("line_no", keep=False) & ~near.duplicated("expected_no", keep=False)
    tolerated = near[alone][["line_no", "expected_no"]].assign(tier="tolerance")
    return pandas.concat([exact, total, tolerated])


# the data, the same for all: made in a process of its own, so that the memory this takes is not what is measured


@contextmanager
def _sqlite(watch: Stopwatch, *, news: bool = False) -> Iterator[Database]:
    with _staged(f"sqlite:///{watch.folder / 'bench.db'}", watch.size, news=news) as database:
        yield database


@contextmanager
def _postgresql(watch: Stopwatch, *, news: bool = False) -> Iterator[Database]:
    with (
        running_server() as server, new_database(server, "bench_t3") as url,
        _staged(url, watch.size, news=news) as database,
    ):
        yield database


@contextmanager
def _staged(url: str, size: int, *, news: bool) -> Iterator[Database]:
    command = [sys.executable, "-m", "tests.bench.t3", str(size), url, "news" if news else "all"]
    subprocess.run(command, check=True)
    as_the_program()
    with closing(Database(url)) as database:
        yield database


def stage(size: int, url: str, *, news: bool) -> None:
    """A database in which all this is open."""
    database = Database(url)
    database.upgrade()
    pairs = _lines_and_expected(size)
    while chunk := list(islice(pairs, CHUNK)):
        with database.write() as session:
            record_items(
                session, lines=() if news else [line for line, _ in chunk if line is not None],
                expected=[one for _, several in chunk for one in several], now=AT,
            )
    with database.write() as session:
        if news:
            match_new(session, POLICY, now=AT)
    database.close()


def _lines_and_expected(size: int) -> Iterator[tuple[BankLine | None, list[Expected]]]:
    """Of a hundred lines 92 exact (one of them with a reference that comes twice), 4 without reference and a little
    off, 2 batches of four, 2 that nothing fits; and 4 expected items that the bank does not show."""
    chance, twin = random.Random(3), 0
    for place in range(size):
        account = place // LINES_AN_ACCOUNT
        on = FIRST + timedelta(days=chance.randrange(DAYS))
        fen, kind = chance.randrange(1_000, 5_000_000), place % 100
        late = timedelta(days=chance.randrange(3))
        if kind < 92:
            reference = f"HT-{place - (kind == 1):09d}"
            fen = twin = twin if kind == 1 else fen
            yield _line(place, account, on + late, fen, reference), [_expect(place, account, on, fen, reference)]
        elif kind < 96:
            off = chance.randrange(-100, 101)
            yield _line(place, account, on + late, fen + off, None), [_expect(place, account, on, fen, None)]
        elif kind < 98:
            parts = [chance.randrange(1_000, 500_000) for _ in range(4)]
            reference = f"PL-{place:09d}"
            yield _line(place, account, on + late, sum(parts), reference), [
                _expect(place, account, on, part, reference, part=number) for number, part in enumerate(parts)
            ]
        else:
            yield _line(place, account, on, fen, f"XX-{place}"), []
        if kind % 25 == 0:
            yield None, [_expect(place, account, on, fen + 777, f"YY-{place}", part=9)]


def _line(place: int, account: int, on: date, fen: int, reference: str | None) -> BankLine:
    return BankLine(
        line_id=f"6217{account:015d}|{place:09d}", uscc=f"91510300{account:010d}", account_no=f"6217{account:015d}",
        on=on, amount_fen=fen, reference=reference, text="fees",
    )


def _expect(place: int, account: int, on: date, fen: int, reference: str | None, *, part: int = 0) -> Expected:
    return Expected(
        expected_id=f"charge|{place:09d}|{part}", kind=ExpectedKind.CHARGE, uscc=f"91510300{account:010d}",
        account_no=f"6217{account:015d}", on=on, amount_fen=fen, reference=reference,
    )


BENCHES = (
    Bench(
        name="t3", what="bank lines matched with what was expected, from and to the database",
        target="<= 4 s at 1,000,000", size=1_000_000, quick_size=20_000,
        contenders=(ours, ours_with_groups, ours_postgresql, pandas_script, floor_sqlite),
    ),
    Bench(
        name="t3b", what="10,000 new lines against 1,000,000 open items", target="<= 1 s", size=1_000_000,
        quick_size=20_000, contenders=(ours_news, ours_news_postgresql),
    ),
)


if __name__ == "__main__":
    as_the_program()
    stage(int(sys.argv[1]), sys.argv[2], news=sys.argv[3] == "news")
