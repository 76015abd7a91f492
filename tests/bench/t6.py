"""T6: `escrow-monitor --help`, beside importing everything it could need first."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

from tests.bench.measure import Bench, Stopwatch

EAGER = (
    "import alembic, apscheduler, dbos, fastapi, feedgen.feed, holidays, httpx, jinja2, pydantic_settings, sqlmodel, "
    "structlog, typer, uvicorn"
)


def ours(watch: Stopwatch) -> None:
    """The command as it is."""
    _run(watch, [sys.executable, "-m", "escrow_monitor", "--help"])


def bare_python(watch: Stopwatch) -> None:
    """The floor: an interpreter that does nothing."""
    _run(watch, [sys.executable, "-c", ""])


def eager_imports(watch: Stopwatch) -> None:
    """What it would cost to import the libraries at the top."""
    _run(watch, [sys.executable, "-W", "ignore", "-c", EAGER])


def _run(watch: Stopwatch, command: list[str]) -> None:
    seconds = []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # once unmeasured: compiled files, warm disk
    for _ in range(watch.size):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    watch.seconds = statistics.median(seconds)
    watch.memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    watch.note = f"median of {watch.size}, min {min(seconds):.3f} s"


BENCH = Bench(
    name="t6", what="--help", target="<= 150 ms", size=15, quick_size=5, contenders=(ours, bare_python, eager_imports)
)
