"""T5: one scrape of /metrics, beside one labelled gauge an account."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from escrow_monitor.domain.figures import Figures
from escrow_monitor.metrics import Metrics
from escrow_monitor.policies import load_policies
from escrow_monitor.records.figures import figures
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.signals import Patience
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import AT, one_bank, registered

SCRAPES = 5


def ours(watch: Stopwatch) -> None:
    """The collector over the records; 2 % of the accounts have an open alert."""
    database = registered(watch, one_bank(watch.size))
    check_balances(
        database=database, policies=load_policies(), channels=("log",), patience=Patience(), scheduled_at=AT, now=AT
    )

    def snapshot() -> Figures:
        with database.read() as session:
            return figures(session)

    metrics = Metrics(snapshot=snapshot, now=lambda: AT)
    _scrape(watch, lambda: metrics.render()[0])
    database.close()


def one_gauge_an_account(watch: Stopwatch) -> None:
    """What comes to mind first with the client library."""
    registry = CollectorRegistry()
    balance = Gauge("balance", "Balance.", ("account", "bank", "district"), registry=registry)
    required = Gauge("required", "Floor.", ("account", "bank", "district"), registry=registry)
    for number in range(watch.size):
        labels = (f"{number:019d}", "yandu", "510302")
        balance.labels(*labels).set(number)
        required.labels(*labels).set(100)
    _scrape(watch, lambda: generate_latest(registry))


def _scrape(watch: Stopwatch, scrape: Callable[[], bytes]) -> None:
    seconds = []
    body = scrape()
    for _ in range(SCRAPES):
        started = time.perf_counter()
        body = scrape()
        seconds.append(time.perf_counter() - started)
    watch.seconds = statistics.median(seconds)
    watch.note = f"{len(body) / 1024:,.0f} KB, median of {SCRAPES}"


BENCH = Bench(
    name="t5", what="one scrape of /metrics", target="<= 50 ms and <= 200 KB at 100,000 accounts", size=100_000,
    quick_size=2_000, contenders=(ours, one_gauge_an_account),
)
