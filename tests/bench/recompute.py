"""All sums over contracts made anew from every lesson; beside them those of one contract in a hundred, and none."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

from escrow_monitor.domain.clauses import Schedule
from escrow_monitor.domain.contract_law import ContractLaw
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.bulk import run
from escrow_monitor.records.contracts.laws import set_laws
from escrow_monitor.records.contracts.sums import kept_up, recompute
from escrow_monitor.records.database import Database
from escrow_monitor.records.incoming import touch
from escrow_monitor.rounds.contract_days import bring_to_today
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import as_the_program
from tests.bench.t8 import AT, CONTRACTS_AN_INSTITUTION, LAW, LESSONS_A_CONTRACT, SIGNED, usccs
from tests.postgres import new_database, running_server

TODAY = AT.date()
TENTH = ContractLaw(silence=LAW.silence, terms=frozenset({Schedule(parts=(30, 30, 40))}))


def recompute_sqlite(watch: Stopwatch) -> None:
    """All contracts and lessons in SQLite, compared with what was kept."""
    with _sqlite(watch) as database:
        _recompute(watch, database)


def recompute_postgresql(watch: Stopwatch) -> None:
    """The same on PostgreSQL; the memory is that of the program alone."""
    with _postgresql(watch) as database:
        _recompute(watch, database)


def recompute_pandas(watch: Stopwatch) -> None:
    """The peer: the obligations alone, tables read from SQLite into pandas, grouped and added up in memory."""
    try:
        import pandas
    except ImportError:
        watch.skipped = "pandas is not installed here; it is no dependency of ours"
        return
    with _sqlite(watch) as database:
        database.close()
        with watch.timed(), closing(sqlite3.connect(watch.folder / "bench.db")) as connection:
            contracts = pandas.read_sql_query(
                "SELECT contract_no, uscc, fee_fen, lessons_paid FROM contracts", connection
            ).set_index("contract_no")
            lessons = pandas.read_sql_query(
                "SELECT contract_no, status, taught_on, decided_on FROM lessons", connection
            )
            done = lessons[
                lessons["status"].isin(["confirmed", "deemed"]) & (lessons["taught_on"] <= str(TODAY))
                & (lessons["decided_on"] <= str(TODAY))
            ]
            confirmed = done.groupby("contract_no").size().reindex(contracts.index, fill_value=0)
            paid = pandas.read_sql_query("SELECT contract_no, amount_fen FROM charges", connection).groupby(
                "contract_no"
            )["amount_fen"].sum().reindex(contracts.index, fill_value=0)
            taken = confirmed.clip(upper=contracts["lessons_paid"])
            earned = (2 * contracts["fee_fen"] * taken + contracts["lessons_paid"]) // (2 * contracts["lessons_paid"])
            owed = (paid - earned).clip(lower=0).groupby(contracts["uscc"]).sum()
        watch.note = f"{len(lessons):,} lessons, {len(owed):,} institutions"


def one_percent_sqlite(watch: Stopwatch) -> None:
    """One contract in a hundred is touched: its sums and its institution's made anew."""
    with _sqlite(watch) as database:
        _touch(watch, database)


def one_percent_postgresql(watch: Stopwatch) -> None:
    """The same on PostgreSQL."""
    with _postgresql(watch) as database:
        _touch(watch, database)


def nothing_changed_sqlite(watch: Stopwatch) -> None:
    """What each check asks first: are the sums those of today?"""
    with _sqlite(watch) as database:
        policies = load_policies()
        bring_to_today(database, policies=policies, now=AT)
        with watch.timed():
            bring_to_today(database, policies=policies, now=AT)


def _recompute(watch: Stopwatch, database: Database) -> None:
    as_the_program()
    with watch.timed(), database.write() as session:
        differs = recompute(session, TODAY)
    if differs:
        raise RuntimeError(str(differs))
    watch.note = f"{watch.size:,} lessons of {watch.size // LESSONS_A_CONTRACT:,} contracts"


def _touch(watch: Stopwatch, database: Database) -> None:
    as_the_program()
    with watch.timed(), database.write() as session, kept_up(session, on=TODAY):
        touch(session, "SELECT contract_no FROM contracts WHERE contract_no LIKE '%00'")
    watch.note = f"{watch.size // LESSONS_A_CONTRACT // 100:,} contracts"


@contextmanager
def _sqlite(watch: Stopwatch) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{watch.folder / 'bench.db'}")) as database:
        _fill(database, watch.size, lite=True)
        yield database


@contextmanager
def _postgresql(watch: Stopwatch) -> Iterator[Database]:
    with (
        running_server() as server, new_database(server, "bench_recompute") as url, closing(Database(url)) as database,
    ):
        _fill(database, watch.size, lite=False)
        yield database


def _fill(database: Database, lessons: int, *, lite: bool) -> None:
    """Institutions, contracts, a charge each and their lessons, made by the database itself; then the first sums."""
    database.upgrade()
    contracts = max(1, lessons // LESSONS_A_CONTRACT)
    codes = usccs(contracts // CONTRACTS_AN_INSTITUTION + 1)
    with database.write() as session:
        save_institutions(session, [Institution(uscc=code, name=f"school {code}") for code in codes], now=AT)
        run(session, "CREATE TEMPORARY TABLE codes AS SELECT row_number() OVER (ORDER BY uscc) - 1 AS place, uscc"
                     " FROM institutions")
        for sql in _FILL:
            run(session, sql.format(
                numbers=_NUMBERS_SQLITE if lite else _NUMBERS_POSTGRESQL, number=_TEXT_SQLITE if lite else _TEXT,
            ), **{name: value for name, value in {
                "contracts": contracts, "each": CONTRACTS_AN_INSTITUTION, "lessons": LESSONS_A_CONTRACT,
                "signed": SIGNED, "taught": SIGNED + timedelta(days=30), "today": TODAY, "now": AT,
            }.items() if f":{name}" in sql or name == "contracts"})
    with database.write() as session, kept_up(session, on=TODAY):
        set_laws(
            session, {code: TENTH if place % 10 == 0 else LAW for place, code in enumerate(codes)}, version="bench"
        )
        touch(session, "SELECT contract_no FROM contracts WHERE true")
    if not lite:
        with database.write() as session:
            run(session, "ANALYZE")


_TEXT_SQLITE, _TEXT = "printf('%07d', n)", "lpad(CAST(n AS text), 7, '0')"
_NUMBERS_SQLITE = (
    "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :contracts - 1)"
)
_NUMBERS_POSTGRESQL = "WITH RECURSIVE numbers(n) AS (SELECT generate_series(0, CAST(:contracts AS int8) - 1))"
_FILL = (
    """
    INSERT INTO contracts (contract_no, uscc, student_ref, course, signed_on, starts_on, lessons_paid, lessons_gift,
        gift_policy, currency, fee_fen, recorded_at, changed_at)
    {numbers} SELECT 'HT-2026-' || {number}, c.uscc, 'S-' || {number}, 'piano', :signed, :taught,
        40, n % 4, 'paid_first', 'CNY', 200000 + n % 300000, :now, :now
    FROM numbers JOIN codes c ON c.place = n / :each
    """,
    """
    INSERT INTO charges (charge_no, contract_no, paid_on, amount_fen, currency, recorded_at, changed_at)
    {numbers} SELECT 'JF-' || {number}, 'HT-2026-' || {number}, :signed, 200000 + n % 300000, 'CNY', :now, :now
    FROM numbers
    """,
    """
    INSERT INTO lessons (contract_no, session_no, status, taught_on, requested_on, decided_on, changed_at)
    {numbers}, places(p) AS (SELECT 1 UNION ALL SELECT p + 1 FROM places WHERE p < :lessons)
    SELECT 'HT-2026-' || {number}, p, CASE WHEN (n + p) % 97 = 0 THEN 'disputed'
        WHEN p = :lessons THEN 'requested' ELSE 'confirmed' END, :taught, :taught,
        CASE WHEN p = :lessons THEN NULL ELSE :today END, :now
    FROM numbers CROSS JOIN places
    """,
)

_ALL: tuple[Callable[[Stopwatch], None], ...] = (recompute_sqlite, recompute_postgresql, recompute_pandas)
_SOME: tuple[Callable[[Stopwatch], None], ...] = (one_percent_sqlite, one_percent_postgresql, nothing_changed_sqlite)
BENCHES = (
    Bench(
        name="recompute", what="all sums over contracts made anew, by lessons, twenty a contract", target="none set",
        size=20_000_000, quick_size=20_000, contenders=_ALL,
    ),
    Bench(
        name="recompute-some", what="the sums of one contract in a hundred, and none", target="none set",
        size=2_000_000, quick_size=20_000, contenders=_SOME,
    ),
)
