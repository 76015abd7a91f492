"""What Prometheus reads: event counters of this process, and gauges read from the records at each scrape."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from escrow_monitor.domain.bridge import BREAKS
from escrow_monitor.domain.disputes import OPEN_STATES
from escrow_monitor.domain.figures import Figures
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.positions import BreakKind
from escrow_monitor.errors import DatabaseError

COVERAGE_SERIES_MAX = 2_000
"""At most so many accounts get a series of their own, the worst first; how many were left out is itself a gauge."""
OTHER = "other"
"""The label of whatever is beyond LABELS_MAX different values: a series per mistake would drown the scraper."""
LABELS_MAX = 500

ROUND_SECONDS = (0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
PULL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
LATENCY_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200)

ROUND_OUTCOMES = ("ok", "wrong", "error")


class Metrics:
    """The metrics of one process: one registry, no global state.

    `snapshot` answers with the figures of the records; it is asked at each scrape, and a DatabaseError it raises
    leaves the gauges out and sets `escrow_records_reachable` to 0: unknown is not zero. `rounds` and `rules` name the
    closed sets whose series exist from the start, so that the first error and the last resolved alert are seen.
    """

    def __init__(
        self, *, snapshot: Callable[[], Figures] | None = None, now: Callable[[], datetime],
        rounds: Sequence[str] = (), rules: Sequence[str] = (),
    ) -> None:
        # `_created` series double every counter and say nothing we need; the library is not typed here.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=False)
        self._round_runs = Counter(
            "escrow_round_runs_total", "Rounds finished, by outcome.", ("round", "outcome"), registry=self.registry
        )
        self._round_duration = Histogram(
            "escrow_round_duration_seconds", "How long a round took.", ("round",),
            buckets=ROUND_SECONDS, registry=self.registry,
        )
        self._pulls = Counter(
            "escrow_bank_pulls_total", "Questions put to a bank, by outcome.", ("bank", "outcome"),
            registry=self.registry,
        )
        self._pull_duration = Histogram(
            "escrow_bank_pull_duration_seconds", "How long a bank took to answer.", ("bank",),
            buckets=PULL_SECONDS, registry=self.registry,
        )
        self._deliveries = Counter(
            "escrow_deliveries_total", "Attempts to deliver an alert, by outcome.", ("channel", "outcome"),
            registry=self.registry,
        )
        self._delivery_latency = Histogram(
            "escrow_delivery_latency_seconds", "From the feed entry to its delivery.", ("channel",),
            buckets=LATENCY_SECONDS, registry=self.registry,
        )
        self._banks, self._channels = _Bounded(), _Bounded()
        for name in rounds:
            self._round_duration.labels(name)
            for outcome in ROUND_OUTCOMES:
                self._round_runs.labels(name, outcome)
        if snapshot is not None:
            self.registry.register(_RecordsCollector(snapshot=snapshot, now=now, rules=rules))

    def round_finished(self, *, round: str, outcome: str, seconds: float) -> None:
        """Count a finished round: `outcome` is ok, wrong or error."""
        self._round_runs.labels(round, outcome).inc()
        self._round_duration.labels(round).observe(seconds)

    def bank_pulled(self, *, bank: str, outcome: str, seconds: float | None = None, count: int = 1) -> None:
        """Count `count` answers of one bank: `outcome` is ok or a refusal's reason; `seconds` one call's time."""
        name = self._banks.label(bank)
        self._pulls.labels(name, outcome).inc(count)
        if seconds is not None:
            self._pull_duration.labels(name).observe(seconds)

    def delivered(self, *, channel: str, outcome: str, seconds: float | None = None) -> None:
        """Count one attempt: `outcome` is delivered, later or dead; `seconds` since the entry was recorded."""
        name = self._channels.label(channel)
        self._deliveries.labels(name, outcome).inc()
        if seconds is not None:
            self._delivery_latency.labels(name).observe(seconds)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Write everything for a scraper: (body, content type), OpenMetrics if `accept` asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Bounded:
    """Lets the first LABELS_MAX different values through; the rest share one."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def label(self, value: str) -> str:
        if value in self._seen:
            return value
        with self._lock:
            if len(self._seen) >= LABELS_MAX:
                return OTHER
            self._seen.add(value)
        return value


class _RecordsCollector(Collector):
    """Asks the records at each scrape, so every node answers the same."""

    def __init__(
        self, *, snapshot: Callable[[], Figures], now: Callable[[], datetime], rules: Sequence[str],
    ) -> None:
        self._snapshot = snapshot
        self._now = now
        self._rules = tuple(rules)

    def collect(self) -> Iterable[Metric]:
        try:
            figures = self._snapshot()
        except DatabaseError:
            yield _single("escrow_records_reachable", "1 if the records could be read for this scrape.", 0)
            return
        yield _single("escrow_records_reachable", "1 if the records could be read for this scrape.", 1)
        yield from _accounts(figures)
        yield from _banks(figures, self._now())
        yield from _alerts(figures, self._rules)
        yield _by(
            "escrow_round_last_success_timestamp_seconds", "When a round last finished well.", "round",
            {name: at.timestamp() for name, at in figures.round_last_success.items()},
        )
        yield _single("escrow_statement_gaps", "Working days without a final statement, still open.",
                      figures.statement_gaps)
        yield _by(
            "escrow_breaks_open", "What bank, entries, contracts and charges say otherwise of each other: days whose "
            "closing differs, and open items of the newest reconciliations.", "kind",
            {**{kind.value: 0 for kind in (*BreakKind, *BREAKS)}, **figures.breaks_open},
        )
        yield _by("escrow_cases_open", "Refund cases that are not closed, by where they stand.", "state",
                  {**{state.value: 0 for state in OPEN_STATES}, **figures.cases_open})
        yield _single("escrow_feed_sequence", "Number of the newest feed entry.", figures.feed_sequence)
        yield _single("escrow_audit_sequence", "Number of the newest audit entry.", figures.audit_sequence)
        yield _single("escrow_deliveries_due", "Deliveries owed and not yet made.", figures.deliveries_due)
        yield _single("escrow_deliveries_dead", "Deliveries given up; a person must look.", figures.deliveries_dead)


def _accounts(figures: Figures) -> Iterator[Metric]:
    # An account that is in no group is in none: here absence does mean zero, and a series must not vanish.
    standings = {**{standing.value: 0 for standing in Standing}, **figures.accounts}
    yield _by("escrow_accounts", "Accounts by standing.", "standing", standings)
    coverage = figures.coverage
    shown = (
        coverage if len(coverage) <= COVERAGE_SERIES_MAX
        else dict(heapq.nsmallest(COVERAGE_SERIES_MAX, coverage.items(), key=lambda item: (item[1], item[0])))
    )
    yield _by(
        "escrow_account_coverage_ratio", "Balance over floor, of accounts that are not met.", "account",
        {account: parts / 10_000 for account, parts in shown.items()},
    )
    yield _single(
        "escrow_account_coverage_hidden", "Accounts that are not met and have no series of their own above.",
        len(coverage) - len(shown),
    )
    yield _by("escrow_obligation_yuan", "Sum of the known floors.", "district", _yuan(figures.obligation_fen))
    yield _by("escrow_shortfall_yuan", "What is missing to the known floors.", "district",
              _yuan(figures.shortfall_fen))


def _banks(figures: Figures, now: datetime) -> Iterator[Metric]:
    yield _by(
        "escrow_reading_age_seconds_max", "Age of the stalest latest balance of a bank.", "bank",
        {bank: max(0.0, (now - at).total_seconds()) for bank, at in figures.oldest_reading_at.items()},
    )
    yield _by("escrow_accounts_never_read", "Accounts of which no balance was ever stated.", "bank",
              figures.accounts_never_read)


def _alerts(figures: Figures, rules: Sequence[str]) -> Iterator[Metric]:
    metric = GaugeMetricFamily("escrow_alerts_open", "Open alerts.", labels=("rule", "severity"))
    known = {(rule, level.value): 0 for rule in rules for level in Level}
    for (rule, severity), count in sorted({**known, **figures.alerts_open}.items()):
        metric.add_metric((rule, severity), count)
    yield metric


def _yuan(fen: Mapping[str, int]) -> dict[str, float]:
    return {name: amount / 100 for name, amount in fen.items()}


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=(label,))
    for key in sorted(values):
        metric.add_metric((key,), values[key])
    return metric


def _single(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)

