"""T12: ten thousand open alerts over HTTP: deciding about one, and the pages of alerts, deliveries and silences."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import httpx

from alerts.alert import AlertKey, FeedEntry, Severity, Signal, Why
from escrow_monitor.actions.api_keys import create_key
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from tests.bench.measure import Bench, Stopwatch
from tests.bench.program import cpu_seconds, free_port, installed, peak_mb, serving
from tests.postgres import new_database, running_server

CHANNELS = ("log", "mirror")
DECISIONS = 300
PAGE = 100
DISTRICTS = 20
BANKS = ("yandu", "fuxi", "shuanghe", "chengshan")
SEVERITIES = (Severity.RED, Severity.ORANGE, Severity.YELLOW)


def ours(watch: Stopwatch) -> None:
    """`serve` on SQLite; one person, one request after the other."""
    _measured(watch, f"sqlite:///{watch.folder / 'bench.db'}")


def ours_on_postgresql(watch: Stopwatch) -> None:
    """The same on PostgreSQL."""
    with running_server() as server, new_database(server, "bench_t12") as url:
        _measured(watch, url)


def _measured(watch: Stopwatch, url: str) -> None:
    now, port = datetime.now(UTC), free_port()
    database = Database(url)
    database.upgrade()
    with database.write() as session:
        entries = _opened(RecordsAlertBook(session, channels=CHANNELS), watch.size, now)
    _, key = create_key(
        database, name="li", scopes=["read", "decide"], expires_after=timedelta(days=1), actor="bench", now=now
    )
    database.close()
    channels = "".join(f'[channels.{name}]\ntype = "log"\n' for name in CHANNELS)
    (watch.folder / "escrow-monitor.toml").write_text(f'[database]\nurl = "{url}"\n[web]\nport = {port}\n{channels}')
    with (
        serving(installed(watch.folder, "serve"), port, watch.folder) as pid,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1", headers={"Authorization": f"Bearer {key}"}, trust_env=False,
            timeout=30,
        ) as client,
    ):
        chosen = [entry.alert_id for entry in entries[:: max(1, watch.size // DECISIONS)]]
        began = cpu_seconds(pid)
        decisions = _decisions(client, chosen, now)
        decided = cpu_seconds(pid)
        pages = _pages(client)
        paged = cpu_seconds(pid)
        watch.memory_mb = peak_mb(pid)
    watch.seconds = _p99(decisions)
    slowest = max(pages, key=lambda name: _p99(pages[name]))
    told = ", ".join(f"{name} {_figures(times)}" for name, times in pages.items())
    each_decision = (decided - began) * 1000 / len(decisions)
    each_page = (paged - decided) * 1000 / sum(map(len, pages.values()))
    watch.note = (
        f"decision {_figures(decisions)}; pages of {PAGE}: {told} ms (p50/p99); slowest {slowest}; the server's CPU: "
        f"{each_decision:.1f} ms a decision, {each_page:.1f} ms a page"
    )


def _opened(book: RecordsAlertBook, size: int, now: datetime) -> tuple[FeedEntry, ...]:
    return book.advance(signals=[
        Signal(
            key=AlertKey("floor" if number % 3 else "refund_overdue", f"account:{number:019d}", "continuous"),
            severity=SEVERITIES[number % 3], standing="breached",
            why=Why(f"余额 {number}.00 CNY，低于最低余额 99999.00 CNY", f"holds {number}.00, the floor is 99999.00"),
            figures={"balance": f"{number}.00", "balance_fen": number * 100}, as_of=now,
            labels={
                "uscc": f"91510302MA{number // 2:08d}", "account_no": f"{number:019d}", "bank": BANKS[number % 4],
                "district": f"5103{number % DISTRICTS:02d}", "name": "晨光艺术培训学校",
            },
        )
        for number in range(size)
    ], clears=(), now=now, cause="bench")


def _decisions(client: httpx.Client, alert_ids: Iterable[str], now: datetime) -> list[float]:
    """Acknowledge, snooze and take back, by turns; each with a key of its own."""
    until = (now + timedelta(days=1)).isoformat()
    asks: tuple[tuple[str, dict[str, str]], ...] = (
        ("acknowledge", {"until": until}), ("snooze", {"until": until, "note": "n"}),
        ("take-back", {"decision": "snooze", "note": "n"}),
    )
    taken: list[float] = []
    for alert_id in alert_ids:
        for what, asked in asks:
            taken.append(_timed(lambda alert_id=alert_id, what=what, asked=asked: client.post(  # type: ignore[misc]  # bound here and now
                f"/alerts/{alert_id}/{what}", json=asked, headers={"Idempotency-Key": f"{alert_id}-{what}"}
            )))
    return taken


def _pages(client: httpx.Client) -> dict[str, list[float]]:
    """Every list, gone through from its first page to its last or its hundredth, a short one several times."""
    paths = {
        "alerts": "/alerts?", "red alerts": "/alerts?severity=red&", "a district's": "/alerts?district=510307&",
        "deliveries": "/deliveries?", "due ones": "/deliveries?state=due&channel=log&",
        "given up ones": "/deliveries?state=dead&", "silences": "/silences?",
    }
    found = {name: _through(client, path) for name, path in paths.items()}
    asked = {
        "matchers": {"rule": "floor"}, "reason": "r", "ends_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    }
    found["preview of a silence"] = [
        _timed(lambda: client.post("/silences?dry_run=true", json=asked)) for _ in range(20)
    ]
    return found


def _through(client: httpx.Client, path: str) -> list[float]:
    taken: list[float] = []
    after: str | None = None
    while len(taken) < 20 or (after is not None and len(taken) < 100):
        started = time.perf_counter()
        answer = client.get(f"{path}limit={PAGE}&after={after or ''}").raise_for_status()
        taken.append(time.perf_counter() - started)
        after = answer.json()["after"]
    return taken


def _timed(ask: Callable[[], httpx.Response]) -> float:
    started = time.perf_counter()
    ask().raise_for_status()
    return time.perf_counter() - started


def _p99(taken: list[float]) -> float:
    return sorted(taken)[min(len(taken) - 1, len(taken) * 99 // 100)]


def _figures(taken: list[float]) -> str:
    return f"{statistics.median(taken) * 1000:.1f}/{_p99(taken) * 1000:.1f}"


BENCH = Bench(
    name="t12", what="open alerts over HTTP: a decision about one, pages of the lists",
    target="p99 of a decision <= 50 ms, of a page <= 100 ms, on both databases", size=10_000, quick_size=1_000,
    contenders=(ours, ours_on_postgresql),
)
