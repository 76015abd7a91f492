"""T8: contracts and lessons from a CSV file, validated, whole file or nothing, beside the raw driver's executemany."""

from __future__ import annotations

import csv
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.domain.clauses import DeemedFrom
from escrow_monitor.domain.contract_law import ContractLaw, SilenceClock
from escrow_monitor.domain.institutions import Institution, uscc_check_character
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.contracts.laws import set_laws
from escrow_monitor.records.contracts.sums import kept_up
from escrow_monitor.records.database import Database
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import as_the_program
from tests.postgres import new_database, running_server

AT = datetime(2026, 11, 19, 7, 0, tzinfo=UTC)
LESSONS_A_CONTRACT = 20
CONTRACTS_AN_INSTITUTION = 200
SIGNED = date(2026, 1, 5)
LAW = ContractLaw(
    silence=SilenceClock(working_days=15, deemed_from=DeemedFrom.NEXT_DAY, calendar="CN", known_to=2026)
)
"""The national platform's: silence confirms a lesson."""

CONTRACT_COLUMNS = (
    "contract_no", "uscc", "student_ref", "course", "subject_kind", "signed_on", "starts_on", "ends_on", "lessons_paid",
    "lessons_gift", "gift_policy", "fee", "materials_fee", "materials_delivered", "full_refund_days_before",
    "prior_same_service", "refund_deadline_days", "refund_deadline_unit", "late_daily_rate", "penalty_pct_remaining",
    "template_id", "status",
)
LESSON_COLUMNS = ("contract_no", "session_no", "taught_on", "status", "requested_on", "decided_on")


def contracts_sqlite(watch: Stopwatch) -> None:
    """Contracts into SQLite."""
    with _sqlite(watch) as database:
        _import(watch, database, "contracts", contract_file(watch.folder, watch.size))


def contracts_postgresql(watch: Stopwatch) -> None:
    """Contracts into PostgreSQL."""
    with _postgresql() as database:
        _import(watch, database, "contracts", contract_file(watch.folder, watch.size))


def lessons_sqlite(watch: Stopwatch) -> None:
    """Lessons into SQLite, the contracts being there, what the contracts come to included."""
    with _sqlite(watch) as database:
        _contracts_beside(database, watch)
        _import(watch, database, "lessons", lesson_file(watch.folder, watch.size))


def lessons_postgresql(watch: Stopwatch) -> None:
    """Lessons into PostgreSQL."""
    with _postgresql() as database:
        _contracts_beside(database, watch)
        _import(watch, database, "lessons", lesson_file(watch.folder, watch.size))


def lessons_again(watch: Stopwatch) -> None:
    """The same file once more into SQLite: nothing changes."""
    with _sqlite(watch) as database:
        _contracts_beside(database, watch)
        path = lesson_file(watch.folder, watch.size)
        _import(Stopwatch(size=watch.size, folder=watch.folder), database, "lessons", path)
        _import(watch, database, "lessons", path)


def contracts_raw_sqlite(watch: Stopwatch) -> None:
    """The floor: texts of the file as they are, one executemany, one commit, nothing validated."""
    _raw_sqlite(watch, contract_file(watch.folder, watch.size), CONTRACT_COLUMNS, "contract_no")


def lessons_raw_sqlite(watch: Stopwatch) -> None:
    """The same for lessons."""
    _raw_sqlite(watch, lesson_file(watch.folder, watch.size), LESSON_COLUMNS, "contract_no, session_no")


def contracts_raw_postgresql(watch: Stopwatch) -> None:
    """The floor on PostgreSQL."""
    _raw_postgresql(watch, contract_file(watch.folder, watch.size), CONTRACT_COLUMNS, "contract_no")


def lessons_raw_postgresql(watch: Stopwatch) -> None:
    """The same for lessons."""
    _raw_postgresql(watch, lesson_file(watch.folder, watch.size), LESSON_COLUMNS, "contract_no, session_no")


def usccs(count: int) -> list[str]:
    """Codes with right check characters."""
    first = [f"91510300MA{number:07d}" for number in range(count)]
    return [code + uscc_check_character(code) for code in first]


def contract_file(folder: Path, size: int) -> Path:
    """A CSV of `size` contracts in Chinese and English, as an institution's system exports them."""
    path = folder / f"contracts-{size}.csv"
    codes = usccs(size // CONTRACTS_AN_INSTITUTION + 1)
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(CONTRACT_COLUMNS)
        writer.writerows(
            (
                f"HT-2026-{number:07d}", codes[number // CONTRACTS_AN_INSTITUTION], f"S-{number * 7919 % 10**9:09d}",
                f"钢琴{number % 12 + 1}级", "non_subject", SIGNED, SIGNED + timedelta(days=number % 30),
                SIGNED + timedelta(days=180 + number % 90), LESSONS_A_CONTRACT * 2, number % 4, "paid_first",
                f"{2_000 + number % 3_000}.{number % 100:02d}", "200.00", "true", 3, "false", 15, "working", "0.0005",
                "20", "GF-2021-2604", "履行中",
            )
            for number in range(size)
        )
    return path


def lesson_file(folder: Path, size: int) -> Path:
    """A CSV of `size` lessons, twenty a contract."""
    path = folder / f"lessons-{size}.csv"
    days = [SIGNED + timedelta(days=30 + 7 * place) for place in range(LESSONS_A_CONTRACT)]
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(LESSON_COLUMNS)
        writer.writerows(
            (
                f"HT-2026-{number // LESSONS_A_CONTRACT:07d}", place + 1, days[place],
                "disputed" if number % 97 == 0 else "confirmed", days[place], days[place] + timedelta(days=1),
            )
            for number in range(size) for place in (number % LESSONS_A_CONTRACT,)
        )
    return path


def _import(watch: Stopwatch, database: Database, kind: str, path: Path) -> None:
    as_the_program()
    with path.open("rb") as stream, watch.timed():
        done = import_file(database, kind=kind, stream=stream, filename=path.name, actor="bench", now=AT)
    if done.bad or done.rows != watch.size:
        raise RuntimeError(f"{done.rows} rows, {done.bad_rows[:1]}")
    watch.note = (
        f"{watch.size / watch.seconds:,.0f} rows/s, {path.stat().st_size / 1e6:.0f} MB, {done.new:,} new, "
        f"{done.updated:,} updated"
    )


@contextmanager
def _sqlite(watch: Stopwatch) -> Iterator[Database]:
    with _prepared(f"sqlite:///{watch.folder / 'bench.db'}", watch.size) as database:
        yield database


@contextmanager
def _postgresql() -> Iterator[Database]:
    with (
        running_server() as server, new_database(server, "bench_t8") as url,
        _prepared(url, 10_000_000) as database,
    ):
        yield database


@contextmanager
def _prepared(url: str, size: int) -> Iterator[Database]:
    with closing(Database(url)) as database:
        database.upgrade()
        with database.write() as session:
            codes = usccs(min(size, 2_000_000) // CONTRACTS_AN_INSTITUTION + 1)
            save_institutions(session, [Institution(uscc=code, name=f"school {code}") for code in codes], now=AT)
        with database.write() as session, kept_up(session, on=AT.date()):
            set_laws(session, dict.fromkeys(codes, LAW), version="bench")
        yield database


def _contracts_beside(database: Database, watch: Stopwatch) -> None:
    """The contracts of the lessons, kept by a process of its own: their memory is not that of what is measured."""
    size = watch.size // LESSONS_A_CONTRACT + 1
    _beside(database, "contracts", contract_file(watch.folder, size), size)


def _beside(database: Database, kind: str, path: Path, size: int) -> None:
    url = database._url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-m", "tests.bench.t8", url, kind, str(path), str(size)], check=True)


def _raw_sqlite(watch: Stopwatch, path: Path, columns: tuple[str, ...], key: str) -> None:
    with closing(sqlite3.connect(watch.folder / "raw.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL").close()
        connection.execute("PRAGMA synchronous = FULL").close()
        connection.execute(f"CREATE TABLE raw ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID")
        with watch.timed(), path.open(encoding="utf-8", newline="") as text, connection:
            reader = csv.reader(text)
            next(reader)
            connection.executemany(f"INSERT INTO raw VALUES ({', '.join('?' * len(columns))})", reader)
    watch.note = f"{watch.size / watch.seconds:,.0f} rows/s, nothing validated"


def _raw_postgresql(watch: Stopwatch, path: Path, columns: tuple[str, ...], key: str) -> None:
    with (
        running_server() as server, new_database(server, "bench_t8_raw") as url,
        psycopg.connect(url.replace("+psycopg", "")) as connection,
    ):
        connection.execute(f"CREATE TABLE raw ({' text, '.join(columns)} text, PRIMARY KEY ({key}))")
        connection.commit()
        with watch.timed(), path.open(encoding="utf-8", newline="") as text:
            reader = csv.reader(text)
            next(reader)
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO raw VALUES ({', '.join(['%s'] * len(columns))})", reader)
            connection.commit()
    watch.note = f"{watch.size / watch.seconds:,.0f} rows/s, nothing validated"


def _main(url: str, kind: str, path: str, size: str) -> None:
    with closing(Database(url)) as database:
        _import(Stopwatch(size=int(size), folder=Path(path).parent), database, kind, Path(path))


_CONTRACTS: tuple[Callable[[Stopwatch], None], ...] = (
    contracts_sqlite, contracts_raw_sqlite, contracts_postgresql, contracts_raw_postgresql
)
_LESSONS: tuple[Callable[[Stopwatch], None], ...] = (
    lessons_sqlite, lessons_again, lessons_raw_sqlite, lessons_postgresql, lessons_raw_postgresql
)
BENCHES = (
    Bench(
        name="t8-contracts", what="import contracts, validated, whole file or nothing", target=">= 20,000 rows/s",
        size=200_000, quick_size=5_000, contenders=_CONTRACTS,
    ),
    Bench(
        name="t8-lessons", what="import lessons, validated, whole file or nothing", target=">= 50,000 rows/s",
        size=1_000_000, quick_size=20_000, contenders=_LESSONS,
    ),
)

if __name__ == "__main__":
    _main(*sys.argv[1:])
