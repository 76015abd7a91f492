"""What lies in deploy/ for Prometheus, Alertmanager and Grafana works with the real ones."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from escrow_monitor.domain.figures import Figures
from escrow_monitor.metrics import Metrics
from escrow_monitor.rounds import ROUNDS
from escrow_monitor.wiring import RULE_NAMES

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text("utf-8"))["groups"][0]["rules"]
CASES = yaml.safe_load((DEPLOY / "prometheus-rules-test.yml").read_text("utf-8"))["tests"]
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
]
STARTED_SECONDS_MAX = 60


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


@needs("promtool")
@pytest.mark.slow
def test_every_alert_fires_when_it_must_and_only_then() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "prometheus-rules-test.yml"], cwd=DEPLOY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_moment_before_during_and_after(rule: dict[str, Any]) -> None:
    told = [
        [bool(moment["exp_alerts"]) for moment in case["alert_rule_test"] if moment["alertname"] == rule["alert"]]
        for case in CASES
    ]
    assert [False, True, False] in told
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]


@needs("amtool")
def test_alertmanager_accepts_the_example_and_sends_each_alert_where_it_should() -> None:
    def amtool(*arguments: str) -> str:
        done = subprocess.run(["amtool", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    config = str(DEPLOY / "alertmanager.yml")
    amtool("check-config", config)
    for labels, receiver in (
        (["alertname=EscrowMonitorDown", "severity=critical"], "duty-phone"),
        (["alertname=EscrowReadingsOld", "severity=warning"], "duty-mail"),
        (["alertname=floor", "severity=red"], "supervision-mail"),
        (["alertname=freshness", "severity=yellow"], "nobody"),
    ):
        assert amtool("config", "routes", "test", f"--config.file={config}", *labels) == receiver
    named = re.findall(r"Escrow[A-Za-z]+", Path(config).read_text("utf-8"))
    known = [rule["alert"] for rule in RULES]
    assert all(any(alert.startswith(name) for alert in known) for name in named)


def test_the_dashboard_is_drawn_on_a_grid_and_names_each_panel_once() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells
        assert at["x"] + at["w"] <= 24
        taken |= cells


# The real Prometheus.


def full_metrics() -> Metrics:
    """Every metric with something to show."""
    now = datetime.now(UTC)
    figures = Figures(
        accounts={"met": 3, "breached": 1}, coverage={"62170001": 7_000}, obligation_fen={"510300": 100_00},
        shortfall_fen={"510300": 30_00}, oldest_reading_at={"icbc": now}, accounts_never_read={"icbc": 1},
        round_last_success=dict.fromkeys(ROUNDS, now), alerts_open={("floor", "red"): 1}, feed_sequence=7,
        audit_sequence=9, deliveries_due=1, deliveries_dead=1, statement_gaps=2,
    )
    return Metrics(snapshot=lambda: figures, now=lambda: datetime.now(UTC), rounds=ROUNDS, rules=RULE_NAMES)


def go_on(metrics: Metrics) -> None:
    """A second of the life of a process: counters must have been seen to move."""
    for name in ROUNDS:
        metrics.round_finished(round=name, outcome="ok", seconds=0.2)
    metrics.bank_pulled(bank="icbc", outcome="ok", seconds=0.1)
    metrics.delivered(channel="log", outcome="delivered", seconds=0.3)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Prometheus with our rules, scraping our metrics every second."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    metrics = full_metrics()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            go_on(metrics)
            body, content_type = metrics.render(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(DEPLOY / "prometheus-rules.yml", folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        (folder / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["prometheus-rules.yml"],
            "scrape_configs": [{
                "job_name": "escrow-monitor",
                "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}],
            }],
        }))
        try:
            with running(folder) as client:
                yield client
        finally:
            server.shutdown()
            thread.join()


class running:
    """The binary on loopback, with its data in a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self.log, stderr=self.log,
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=10)

    def __enter__(self) -> httpx.Client:
        until = time.monotonic() + STARTED_SECONDS_MAX
        # Six scrapes: rates and offsets of the tests look some seconds back.
        while self._scrapes() < 6:
            assert self.process.poll() is None, "prometheus ended"
            assert time.monotonic() < until, "prometheus did not scrape"
            time.sleep(0.2)
        return self.client

    def _scrapes(self) -> float:
        try:
            answer = self.client.get("/query", params={"query": 'count_over_time(up{job="escrow-monitor"}[1m])'})
        except httpx.TransportError:
            return 0
        if answer.status_code != 200 or not answer.json()["data"]["result"]:
            return 0
        return float(answer.json()["data"]["result"][0]["value"][1])

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def quick(expression: str) -> str:
    """The same question about the last seconds in place of the last hours, for a Prometheus that is seconds old."""
    return re.sub(r"offset \w+", "offset 3s", re.sub(r"\[\w+\]", "[5s]", expression))


@pytest.mark.slow
@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=[f"{title}" for title, _ in QUERIES])
def test_every_query_of_the_dashboard_finds_something(
    prometheus: httpx.Client, title: str, expression: str
) -> None:
    answer = prometheus.get("/query", params={"query": quick(expression)}).json()
    assert answer["status"] == "success", answer
    assert answer["data"]["result"], f"{title}: {expression} finds nothing"
    # As it stands, too, it is a question that Prometheus takes.
    assert prometheus.get("/query", params={"query": expression}).json()["status"] == "success"


@pytest.mark.slow
def test_every_metric_that_rules_and_dashboard_name_is_scraped(prometheus: httpx.Client) -> None:
    known = set(prometheus.get("/label/__name__/values").json()["data"])
    asked = " ".join([*(rule["expr"] for rule in RULES), *(expression for _, expression in QUERIES)])
    assert set(re.findall(r"\bescrow_\w+", asked)) <= known
    rounds = set(prometheus.get("/label/round/values").json()["data"])
    for named in re.findall(r'round=~?"([^"]+)"', asked):
        assert set(named.split("|")) <= rounds


@pytest.mark.slow
def test_the_real_prometheus_evaluates_our_rules_without_an_error(prometheus: httpx.Client) -> None:
    until = time.monotonic() + 20
    while True:
        [group] = prometheus.get("/rules").json()["data"]["groups"]
        if all(rule["health"] == "ok" for rule in group["rules"]) or time.monotonic() > until:
            break
        time.sleep(0.3)
    assert {rule["name"]: rule["health"] for rule in group["rules"]} == {rule["alert"]: "ok" for rule in RULES}
    pending = {alert["labels"]["alertname"] for alert in prometheus.get("/alerts").json()["data"]["alerts"]}
    assert pending <= {"EscrowDeliveriesDead", "EscrowDeliveriesWait"}
