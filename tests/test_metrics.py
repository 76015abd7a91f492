"""What the scraper sees: names as promised, unknown is not zero, size bounded."""

from __future__ import annotations

import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from escrow_monitor.domain.figures import Figures
from escrow_monitor.errors import DatabaseError
from escrow_monitor.metrics import COVERAGE_SERIES_MAX, LABELS_MAX, OTHER, Metrics

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

FIGURES = Figures(
    accounts={"met": 90, "breached": 7, "unknown": 3},
    coverage={"6222000000000001": 8312, "6222000000000002": 0},
    obligation_fen={"510300": 12_345_678_901_25},
    shortfall_fen={"510300": 99},
    oldest_reading_at={"icbc": NOW - timedelta(hours=2)},
    accounts_never_read={"silent": 4},
    round_last_success={"pull-balances": NOW - timedelta(seconds=30)},
    alerts_open={("floor", "red"): 2, ("freshness", "orange"): 1},
    feed_sequence=41, audit_sequence=77, deliveries_due=5, deliveries_dead=1, statement_gaps=6,
    breaks_open={"closing": 3}, cases_open={"contested": 2},
)


def test_every_promised_name_is_there_with_its_value() -> None:
    values = samples(busy(FIGURES))
    assert values["escrow_accounts", ("standing", "breached")] == 7
    assert values["escrow_account_coverage_ratio", ("account", "6222000000000001")] == 0.8312
    assert values["escrow_obligation_yuan", ("district", "510300")] == 12_345_678_901.25
    assert values["escrow_shortfall_yuan", ("district", "510300")] == 0.99
    assert values["escrow_reading_age_seconds_max", ("bank", "icbc")] == 7200
    assert values["escrow_accounts_never_read", ("bank", "silent")] == 4
    assert values["escrow_round_last_success_timestamp_seconds", ("round", "pull-balances")] == NOW.timestamp() - 30
    assert values["escrow_alerts_open", ("rule", "floor"), ("severity", "red")] == 2
    assert values["escrow_feed_sequence",] == 41
    assert values["escrow_audit_sequence",] == 77
    assert values["escrow_deliveries_due",] == 5
    assert values["escrow_statement_gaps",] == 6
    assert values["escrow_breaks_open", ("kind", "closing")] == 3
    assert values["escrow_cases_open", ("state", "contested")] == 2
    assert values["escrow_cases_open", ("state", "paid")] == 0
    assert values["escrow_round_runs_total", ("outcome", "ok"), ("round", "pull-balances")] == 1
    assert values["escrow_round_duration_seconds_count", ("round", "pull-balances")] == 1
    assert values["escrow_bank_pulls_total", ("bank", "icbc"), ("outcome", "timeout")] == 3
    assert values["escrow_bank_pull_duration_seconds_count", ("bank", "icbc")] == 1
    assert values["escrow_deliveries_total", ("channel", "webhook"), ("outcome", "delivered")] == 1
    assert values["escrow_delivery_latency_seconds_count", ("channel", "webhook")] == 1


def test_promtool_accepts_the_output() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    body, _ = busy(FIGURES).render()
    done = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_openmetrics_is_given_to_those_who_ask() -> None:
    body, content_type = busy(FIGURES).render("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    families = read_openmetrics(body.decode())  # type: ignore[no-untyped-call]  # the library is not typed here
    names = {family.name for family in families}
    assert {"escrow_round_runs", "escrow_alerts_open", "escrow_accounts"} <= names


def test_records_that_cannot_be_read_leave_the_gauges_out_and_say_so() -> None:
    def vanished() -> Figures:
        raise DatabaseError("the database is gone")

    metrics = Metrics(snapshot=vanished, now=lambda: NOW, rounds=("check-balances",))
    values = samples(metrics)
    assert values["escrow_records_reachable",] == 0
    assert not [key for key in values if key[0] in {"escrow_accounts", "escrow_feed_sequence", "escrow_alerts_open"}]
    assert ("escrow_round_runs_total", ("outcome", "error"), ("round", "check-balances")) in values


def test_the_closed_sets_exist_before_the_first_event() -> None:
    values = samples(Metrics(snapshot=Figures, now=lambda: NOW, rounds=("check-balances",), rules=("floor",)))
    assert values["escrow_round_runs_total", ("outcome", "error"), ("round", "check-balances")] == 0
    assert values["escrow_alerts_open", ("rule", "floor"), ("severity", "red")] == 0
    assert values["escrow_accounts", ("standing", "unknown")] == 0


def test_a_bank_never_read_has_no_age_rather_than_age_zero() -> None:
    values = samples(Metrics(snapshot=lambda: Figures(accounts_never_read={"b": 1}), now=lambda: NOW))
    assert not [key for key in values if key[0] == "escrow_reading_age_seconds_max"]


def test_the_worst_accounts_are_shown_and_the_rest_counted() -> None:
    coverage = {f"acc{number:06d}": number for number in range(COVERAGE_SERIES_MAX + 25)}
    values = samples(Metrics(snapshot=lambda: Figures(coverage=coverage), now=lambda: NOW))
    shown = [key for key in values if key[0] == "escrow_account_coverage_ratio"]
    assert len(shown) == COVERAGE_SERIES_MAX
    assert ("escrow_account_coverage_ratio", ("account", "acc000000")) in values
    assert values["escrow_account_coverage_hidden",] == 25


def test_names_without_end_share_one_label() -> None:
    metrics = Metrics(now=lambda: NOW)
    for number in range(LABELS_MAX + 10):
        metrics.bank_pulled(bank=f"bank{number}", outcome="ok")
    assert samples(metrics)["escrow_bank_pulls_total", ("bank", OTHER), ("outcome", "ok")] == 10


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    one, other = Metrics(now=lambda: NOW), Metrics(now=lambda: NOW)
    one.bank_pulled(bank="icbc", outcome="ok")
    assert not [key for key in samples(other) if key[0] == "escrow_bank_pulls_total"]


def test_a_thousand_open_alerts_stay_small_and_quick() -> None:
    figures = Figures(
        accounts={"met": 99_000, "breached": 900, "unknown": 100},
        coverage={f"62220000{number:08d}": number for number in range(1_000)},
        obligation_fen={f"{510_000 + number}": number for number in range(100)},
        alerts_open={("floor", "red"): 1_000},
    )
    metrics = Metrics(snapshot=lambda: figures, now=lambda: NOW)
    metrics.render()
    started = time.perf_counter()
    body, _ = metrics.render()
    assert len(body) < 200_000
    assert time.perf_counter() - started < 1.0  # about 0.01 s alone; room for a busy machine


def busy(figures: Figures) -> Metrics:
    metrics = Metrics(
        snapshot=lambda: figures, now=lambda: NOW, rounds=("pull-balances", "check-balances"), rules=("floor",)
    )
    metrics.round_finished(round="pull-balances", outcome="ok", seconds=1.5)
    metrics.bank_pulled(bank="icbc", outcome="ok", seconds=0.2)
    metrics.bank_pulled(bank="icbc", outcome="timeout", count=3)
    metrics.delivered(channel="webhook", outcome="delivered", seconds=0.4)
    return metrics


def samples(metrics: Metrics) -> dict[tuple[object, ...], float]:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in read_text(body.decode()) for sample in family.samples
    }
