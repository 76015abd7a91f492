"""T13: a morning of the closure watch over a hundred thousand institutions, and what one new lesson costs it."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.domain.closure.index import shipped_model
from escrow_monitor.domain.closure.series import WINDOW
from escrow_monitor.policies import load_policies
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.bulk import run
from escrow_monitor.records.closure.days import bring_up, stored_peers, stored_series
from escrow_monitor.records.closure.watches import watched_institutions
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.rounds.watch_closure import CHUNK, watch_closure
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.export import KINDS, statements, write_files
from escrow_monitor.sandbox.city.plans import CitySettings
from tests.bench.measure import Bench, Stopwatch

LIVED = 100
"""Institutions that really lived; the others are copies of their days under other codes."""
TODAY = date(2025, 6, 11)
NOW = datetime.combine(TODAY, time(0, 30), UTC)
COPIED = {
    "institutions": ("uscc",), "accounts": ("account_no", "uscc"), "institution_day_states": ("uscc",),
    "institution_day_months": ("uscc",),
}
"""Tables, and the columns of each that name an institution or an account."""


def ours(watch: Stopwatch) -> None:
    """Every institution judged, kept and told of, from days that are up to date."""
    database = _city(watch)
    database.close()
    with watch.timed():
        report = watch_closure(
            database=database, channels=("log",), patience=Patience(), policies=load_policies(),
            model=shipped_model(), scheduled_at=NOW, now=NOW,
        )
    counts = report.counts
    watch.note = (
        f"{counts['institutions']:,} institutions: {counts['red']:,} red, {counts['orange']:,} orange,"
        f" {counts['unknown']:,} unknown, {counts['transitions']:,} alerts opened"
    )


def reading_alone(watch: Stopwatch) -> None:
    """The floor: the same days read and unpacked, nothing concluded."""
    database = _city(watch)
    with watch.timed(), database.read() as session:
        usccs = watched_institutions(session)
        first, last = TODAY - timedelta(days=WINDOW), TODAY - timedelta(days=1)
        stored_peers(session, first=first, last=last)
        for start in range(0, len(usccs), CHUNK):
            stored_series(session, usccs=usccs[start : start + CHUNK], first=first, last=last)


def lessons_brought_up(watch: Stopwatch) -> None:
    """The days of institutions that really lived, made from every lesson: what a first morning costs."""
    database = Database(f"sqlite:///{watch.folder}/lived.db")
    lessons = _lived(database)
    with watch.timed():
        bring_up(database, through=TODAY - timedelta(days=1), now=NOW)
    each = watch.cpu_seconds / max(1, lessons) * 1e6
    watch.note = f"{LIVED} institutions with {lessons:,} lessons: {each:.1f} us of CPU a lesson"


def _city(watch: Stopwatch) -> Database:
    """As many institutions as asked for, in the records with their days."""
    database = Database(f"sqlite:///{watch.folder}/city.db")
    _lived(database)
    bring_up(database, through=TODAY - timedelta(days=1), now=NOW)
    with database.write() as session:
        for copy in range(1, -(-watch.size // LIVED)):
            for table, renamed in COPIED.items():
                columns = [str(row[1]) for row in run(session, f"PRAGMA table_info({table})")]
                cells = ", ".join(f"{name} || '-{copy}'" if name in renamed else name for name in columns)
                run(
                    session, f"INSERT INTO {table} ({', '.join(columns)}) SELECT {cells} FROM {table}"
                    " WHERE instr(uscc, '-') = 0"
                )
    return database


def _lived(database: Database) -> int:
    """A city imported as files and statements; return how many lessons it has."""
    database.upgrade()
    city = City(
        seed=31, institutions=LIVED, starts_on=TODAY - timedelta(days=430), days=500,
        settings=CitySettings(students=(20, 60), closing_rate=0.02),
    )
    last = (TODAY - city.starts_on).days - 1
    lives = list(city.lives())
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(city, Path(folder), through=TODAY - timedelta(days=1), lives=lives)
        for kind in KINDS:
            with paths[kind].open("rb") as stream:
                import_file(database, kind=kind, stream=stream, filename=kind, actor="bench", now=NOW)
    with database.write() as session:
        for life in lives:
            record_statements(
                session, list(statements(city, life, first=0, last=last)), source="city", raw_sha256="ab" * 32, now=NOW
            )
    return sum(len(life.lessons) for life in lives)


BENCH = Bench(
    name="t13", what="a morning of the closure watch", target="<= 5 minutes and 4 GB at 100,000 institutions",
    size=100_000, quick_size=2_000, contenders=(ours, reading_alone, lessons_brought_up),
)
