"""T7: from a bank's answer to a feed entry that can be read over HTTP, with the program as it is installed."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta

import httpx

from escrow_monitor.actions.api_keys import create_key
from escrow_monitor.sandbox.fates import Fate
from tests.bench.bank import single_bank
from tests.bench.measure import Bench, Stopwatch
from tests.bench.program import free_port, installed, peak_mb, serving
from tests.bench.stage import BANK, one_bank, registered

LATENCY_MS = 50
CONNECTIONS = 200
POLL_SECONDS = 0.01
SETTLE_SECONDS = 5
WAIT_SECONDS_MAX = 120
FEN = 1_00
"""Every account answers with so little of a sudden: each must be in the feed."""

CONFIGURATION = """\
[database]
url = "sqlite:///{database}"

[web]
port = {port}

[schedule]
pull_balances = "*/20 * * * * *"

[banks.{bank}]
base_url = "{url}"
token = "{token}"
consent_id = "{consent}"
concurrency = {connections}
"""


def ours(watch: Stopwatch) -> None:
    """`escrow-monitor run`: the clock starts a pull, its end a check; a reader asks for the feed all the while."""
    at = datetime.now(UTC).replace(microsecond=0)
    district = one_bank(watch.size, at=at)
    bank = district.banks[0]
    database = registered(watch, district, at=at)
    _, key = create_key(
        database, name="reader", scopes=["read"], expires_after=timedelta(days=1), actor="bench", now=at
    )
    database.close()
    with single_bank(watch.size, latency_ms=LATENCY_MS, fen=FEN, at=at) as url:
        port = free_port()
        (watch.folder / "escrow-monitor.toml").write_text(CONFIGURATION.format(
            database=watch.folder / "bench.db", port=port, bank=BANK, url=url, token=bank.token,
            consent=bank.consent_id, connections=CONNECTIONS,
        ))
        with serving(installed(watch.folder, "run"), port, watch.folder) as pid:
            # The one life led outside the city has no floor clause to be below.
            expected = sum(district.fate(place) is not Fate.MONTH_OUTFLOW for place in range(watch.size))
            _swept_once(url, watch.size)
            httpx.get(f"{url}/fall", trust_env=False).raise_for_status()
            seen_at = _seen(port, key, expected)
            watch.memory_mb = peak_mb(pid)
        answered_at = httpx.get(f"{url}/answered", trust_env=False).json()
    waited = sorted(seen_at[number] - answered_at[number] for number in seen_at)
    watch.seconds = waited[len(waited) * 99 // 100]
    watch.note = f"p99 of {len(waited):,}; p50 {statistics.median(waited):.3f} s, most {waited[-1]:.3f} s"


def _swept_once(url: str, size: int) -> None:
    """Wait until the program has been through a whole sweep: what it loads first is not what is measured."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    while len(httpx.get(f"{url}/answered", trust_env=False).json()) < size:
        if time.monotonic() > until:
            raise RuntimeError(f"the bank was not asked for all accounts within {WAIT_SECONDS_MAX} seconds")
        time.sleep(0.2)
    time.sleep(SETTLE_SECONDS)


def _seen(port: int, key: str, size: int) -> dict[str, float]:
    """When each account's shortfall was first in the feed, on the machine's monotonic clock."""
    seen: dict[str, float] = {}
    after, until = 0, time.monotonic() + WAIT_SECONDS_MAX
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
    ) as client:
        while len(seen) < size:
            if time.monotonic() > until:
                raise RuntimeError(f"only {len(seen):,} of {size:,} entries within {WAIT_SECONDS_MAX} seconds")
            answer = client.get(f"/feeds/alerts.json?after={after}&limit=1000")
            items = answer.raise_for_status().json()["items"]
            now = time.monotonic()
            for item in items:
                said = item["_escrow"]
                after = max(after, said["seq"])
                if said["rule"] == "floor":
                    seen.setdefault(said["account_no"], now)
            if not items:
                time.sleep(POLL_SECONDS)
    return seen


BENCH = Bench(
    name="t7", what="a bank's answer to a feed entry that can be read, program and reader as they are installed",
    target="p99 <= 2 s at 1,000 accounts", size=1_000, quick_size=100, contenders=(ours,),
)
