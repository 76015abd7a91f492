"""T14: every page of the console with 100,000 institutions and 10,000 open alerts, read by twenty people at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from escrow_monitor.clock import SystemClock
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.metrics import Metrics
from escrow_monitor.records.database import Database
from escrow_monitor.records.figures import figures
from escrow_monitor.web.app import create_app
from escrow_monitor.web.ports import WebPorts
from tests.bench.measure import Bench, Stopwatch
from tests.bench.program import cpu_seconds, free_port, installed, peak_mb, serving
from tests.bench.t14_readers import Crowd, Page, pages, table, writing
from tests.bench.t14_register import INSTITUTIONS_AN_ALERT, Reader, Register, fill
from tests.postgres import new_database, running_server

P95_SECONDS_MAX = 0.3
FIRST_LOAD_BYTES_MAX = 1_500_000


def ours(watch: Stopwatch) -> None:
    """`serve` on SQLite."""
    url = f"sqlite:///{watch.folder / 'bench.db'}"
    read_everything(watch, url, filled(url, watch.size))


def ours_on_postgresql(watch: Stopwatch) -> None:
    """The same on PostgreSQL."""
    with running_server() as server, new_database(server, "bench_t14") as url:
        read_everything(watch, url, filled(url, watch.size))


def bare(watch: Stopwatch) -> None:
    """The floor: a page as large that FastAPI and Jinja make of what is in memory, asked nothing and of nobody."""
    port = free_port()
    crowd = [
        Reader(name=f"reader{place}", role=UserRole.VIEWER, district=None, uscc=None, token="") for place in range(20)
    ]
    page = Page(label="/", ask=lambda reader, turn: "/")
    command = [sys.executable, "-m", "tests.bench.t14_bare", str(port)]
    with serving(command, port, watch.folder) as pid:
        _, seconds = asyncio.run(Crowd(
            f"http://127.0.0.1:{port}", crowd, used=lambda: (cpu_seconds(pid), 0.0)
        ).read([page], reads_each=100, pause_seconds=0.0))
        watch.memory_mb = peak_mb(pid)
    watch.seconds = page.percentile(95, pressed=True)
    watch.note = f"p95, nobody pauses; {len(page.pressed) / seconds:.0f} pages a second\n{table([page])}"


def filled(url: str, alerts: int) -> Register:
    """A new database with all that the pages are about."""
    with closing(Database(url)) as database:
        database.upgrade()
        return fill(database, institutions=alerts * INSTITUTIONS_AN_ALERT, now=datetime.now(UTC))


def read_everything(watch: Stopwatch, url: str, register: Register) -> None:
    """Start the program over this database and let everybody read while one publishes."""
    port = free_port()
    (watch.folder / "escrow-monitor.toml").write_text(
        f'[database]\nurl = "{url}"\n[policies]\nexamples = true\n[web]\nport = {port}\n'
    )
    calm = [number for number in range(register.institutions) if number not in register.alerts][:200]
    with closing(Database(url)) as database, serving(installed(watch.folder, "serve"), port, watch.folder) as pid:
        found, unknown = every_page(database, register)
        used = _used(pid, url)
        with writing(database, calm) as written:
            before = used()
            at_ease, pressed = asyncio.run(Crowd(f"http://127.0.0.1:{port}", register.readers, used=used).read(found))
            after = used()
        watch.memory_mb = peak_mb(pid)
    count = sum(len(page.taken) for page in found)
    worst = max(page.percentile(95) for page in found)
    late = [page.label for page in found if page.percentile(95) > P95_SECONDS_MAX]
    hard = [page for page in found if page.percentile(95, pressed=True) > P95_SECONDS_MAX]
    large = [page.label for page in found if page.first_load_bytes > FIRST_LOAD_BYTES_MAX]
    watch.seconds = worst
    watch.note = "\n".join((
        f"the p95 of the slowest page where each reads a page a second; {count:,} pages in {at_ease:.1f} s; where"
        f" nobody pauses {sum(len(page.pressed) for page in found) / pressed:.0f} pages a second; meanwhile"
        f" {len(written)} alerts were published ({max(written, default=0) * 1e3:.0f} ms at most);"
        f" CPU {after[0] - before[0]:.1f} s of the server, {after[1] - before[1]:.1f} s of the database's own",
        f"    {len(found) - len(late)} of {len(found)} pages within {P95_SECONDS_MAX * 1e3:.0f} ms,"
        f" {len(found) - len(hard)} where nobody pauses;"
        f" too large at first: {', '.join(large) or 'none'}; not asked for: {', '.join(unknown) or 'none'}",
        table(found),
    ))


def every_page(database: Database, register: Register) -> tuple[list[Page], list[str]]:
    """The pages of the application as it is built, and those that nobody has said how to ask for."""
    def snapshot() -> object:
        with database.read() as session:
            return figures(session)

    clock = SystemClock()
    app = create_app(WebPorts(
        database=database, clock=clock, home_url="http://localhost",
        metrics=Metrics(snapshot=snapshot, now=clock.now, rounds=(), rules=()),  # type: ignore[arg-type]
    ))
    return pages(app, register)


def _used(pid: int, url: str) -> Callable[[], tuple[float, float]]:
    """CPU seconds of the server, and of the database where it is a program of its own."""
    if url.startswith("sqlite"):
        return lambda: (cpu_seconds(pid), 0.0)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        backend = connection.info.backend_pid
    parent = _parent(backend)

    def database() -> float:
        # What has ended is counted with the one that began it.
        ended = int(_stat(parent)[13]) + int(_stat(parent)[14])
        return ended / 100 + sum(cpu_seconds(one) for one in (parent, *_children(parent)))

    return lambda: (cpu_seconds(pid), database())


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(one) for one in found.split()]


BENCH = Bench(
    name="t14", what="every page of the console, ten institutions an alert, twenty readers and a writer at once",
    target="p95 of every page <= 300 ms on both databases, at most 1.5 MB the first time", size=10_000,
    quick_size=300, contenders=(ours, ours_on_postgresql, bare),
)
