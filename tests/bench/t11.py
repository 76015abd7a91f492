"""T11: what one account of a sweep costs as there are more of them."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta
from pathlib import Path

from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.clock import FixedClock
from escrow_monitor.policies import load_policies
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.pull_balances import pull_balances
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.district import ZONE
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import AT, BANK, as_the_program, bank_beside, one_bank, registered

STEPS = (100, 10, 1)
"""The sizes are the bench's size divided by these."""
REPEATS = {100: 7, 10: 3, 1: 1}
"""A small sweep is over before a busy machine is itself again: its median counts."""


def ours(watch: Stopwatch) -> None:
    """A sweep through a batch call, pulled, stored, examined and alerted, at three sizes."""
    as_the_program()
    cost_us: dict[int, float] = {}
    for step in STEPS:
        size = watch.size // step
        took = [_sweep(watch, size, watch.folder / f"{step}-{repeat}") for repeat in range(REPEATS[step])]
        cost_us[size] = statistics.median(took) / size * 1e6
        watch.seconds = statistics.median(took)
    *before, last = cost_us.values()
    costs = ", ".join(f"{size:,}: {cost:.0f} us" for size, cost in cost_us.items())
    watch.note = f"an account costs at {costs}; the last is {last / min(before):.2f} x the cheapest before it"


def _sweep(watch: Stopwatch, size: int, folder: Path) -> float:
    folder.mkdir()
    district = one_bank(size)
    bank = district.banks[0]
    database, policies = registered(Stopwatch(size=size, folder=folder), district), load_policies()
    now = AT + timedelta(minutes=2)
    with bank_beside(size) as url:
        connector = BerlinGroup(
            BANK, BankHttp(base_url=url, token=bank.token), consent_id=bank.consent_id, zone=ZONE,
            clock=FixedClock(now), batch=True,
        )
        started = time.perf_counter()
        pull_balances(
            database=database, connector=connector, zone=ZONE, scheduled_at=now, now_of=lambda: now,
            watch=lambda **_: None,
        )
        check_balances(
            database=database, policies=policies, channels=("log",), patience=Patience(), scheduled_at=now, now=now,
        )
        seconds = time.perf_counter() - started
        connector.close()
    database.close()
    return seconds


BENCH = Bench(
    name="t11", what="what an account of a sweep costs as there are a hundred times more of them",
    target="flat within 1.3 x from 1,000 to 100,000 accounts", size=100_000, quick_size=10_000, contenders=(ours,),
)
