"""T2: the check round over every account, all new and one in a hundred new, beside Prometheus evaluating one rule."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.policies import load_policies
from escrow_monitor.records.bank.pulls import PullRecord, record_pulls
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.district import ZONE, District, last_closed_day
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import AT, BANK, CHUNK, one_bank, registered

NOW = AT + timedelta(minutes=2)
EVALUATIONS = 3
PROMETHEUS_SECONDS_MAX = 180


def ours_all_new(watch: Stopwatch) -> None:
    """Every account has a new balance since the last round; one in fifty has fallen below its floor."""
    _check_after(watch, range(watch.size))


def ours_first_ever(watch: Stopwatch) -> None:
    """No account was ever checked."""
    database = registered(watch, one_bank(watch.size))
    _check(watch, database)
    database.close()


def ours_one_percent_new(watch: Stopwatch) -> None:
    """One account in a hundred has a new balance since the last round; one in fifty of these has fallen."""
    _check_after(watch, [100 * n + (n % 50 != 0) for n in range(watch.size // 100)])


def _check_after(watch: Stopwatch, places: Sequence[int]) -> None:
    """What is measured goes on from a round in which every account was checked."""
    district = one_bank(watch.size)
    database = registered(watch, district, checked=True)
    for start in range(0, len(places), CHUNK):
        pulls = [_pull(district, place) for place in places[start : start + CHUNK]]
        with database.write() as session:
            record_pulls(session, pulls, scheduled_at=NOW, now=NOW, zone=ZONE)
    _check(watch, database)
    database.close()


def prometheus_one_rule(watch: Stopwatch) -> None:
    """A real Prometheus that scrapes a balance and a floor of each account, and evaluates `balance < required`."""
    program = shutil.which("prometheus")
    if program is None:
        raise RuntimeError("no prometheus here")
    body = "".join(
        f'balance{{account="{n:019d}"}} {90 if n % 50 == 0 else 200}\nrequired{{account="{n:019d}"}} 100\n'
        for n in range(watch.size)
    ).encode()
    with _Target(body) as target, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        (watch.folder / "rules.yml").write_text(
            "groups: [{name: floor, rules: [{alert: floor, expr: balance < required}]}]\n"
        )
        (watch.folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 5s}\nrule_files: [rules.yml]\n"
            f"scrape_configs: [{{job_name: bench, static_configs: [{{targets: ['127.0.0.1:{target.port}']}}]}}]\n"
        )
        command = [
            program, f"--config.file={watch.folder / 'prometheus.yml'}", f"--storage.tsdb.path={watch.folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                watch.seconds, found = _evaluated(port, watch.size)
                watch.memory_mb = _peak_mb(process.pid)
            finally:
                process.terminate()
    watch.note = f"median of {EVALUATIONS} evaluations, scraping not counted; {found:,} firing"


def _check(watch: Stopwatch, database: Database) -> None:
    policies = load_policies()
    with watch.timed():
        report = check_balances(
            database=database, policies=policies, channels=("log",), patience=Patience(), scheduled_at=NOW, now=NOW,
        )
    watch.note = (
        f"checked {report.counts['accounts']:,}, transitions {report.counts['transitions']:,}; CPU "
        f"{watch.cpu_seconds:.2f} s"
    )


def _pull(district: District, place: int) -> PullRecord:
    """The closing, less a yuan: below the floor where that is."""
    number = district.account_no(place)
    balance = district.balance(number, last_closed_day(NOW))
    reading = Reading(
        account_no=number, kind=BalanceKind.BOOKED_INTRADAY, amount=balance - Money(100, balance.currency),
        on=NOW.astimezone(ZONE).date(), as_of=NOW, fetched_at=NOW, final=False, source="bench", raw_sha256="1" * 64,
    )
    return PullRecord(
        account_no=number, bank=BANK, readings=(reading,), raw=(("1" * 64, b"{}", "application/json"),),
        started_at=NOW, finished_at=NOW,
    )


def _evaluated(port: int, size: int) -> tuple[float, int]:
    """The median duration of evaluations in which all accounts were seen, and how many alerts fire."""
    durations: dict[str, float] = {}
    until = time.monotonic() + PROMETHEUS_SECONDS_MAX
    while time.monotonic() < until:
        time.sleep(0.5)
        try:
            (group,) = _ask(port, "rules")["groups"]
            firing = len(group["rules"][0]["alerts"])
        except (OSError, ValueError):
            continue
        if firing == len(range(0, size, 50)):
            durations[group["lastEvaluation"]] = group["evaluationTime"]
        if len(durations) > EVALUATIONS:
            # The first may have begun before all series were there.
            return sorted(list(durations.values())[1:])[EVALUATIONS // 2], firing
    raise RuntimeError(f"no {EVALUATIONS} evaluations within {PROMETHEUS_SECONDS_MAX} seconds")


def _ask(port: int, question: str) -> dict[str, list[dict[str, object]]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{question}", timeout=20) as answer:
        return json.load(answer)["data"]


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


class _Target:
    """Serves one body of metrics to whoever scrapes."""

    def __init__(self, body: bytes) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self) -> _Target:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


BENCHES = (
    Bench(
        name="t2", what="the check round, all rules, every account new", target="<= 5 s at 100,000",
        size=100_000, quick_size=2_000, contenders=(ours_all_new, ours_first_ever, prometheus_one_rule),
    ),
    Bench(
        name="t2-one-percent", what="the check round, all rules, 1 % new", target="<= 0.5 s at 100,000",
        size=100_000, quick_size=2_000, contenders=(ours_one_percent_new,),
    ),
)
