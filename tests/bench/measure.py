"""Runs one contender in a process of its own, and reads how long it took and how much memory it used at most."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

CONTENDER_SECONDS_MAX = 3600


@dataclass(kw_only=True)
class Stopwatch:
    """What a contender measures: only what runs inside `timed` counts."""

    size: int
    folder: Path
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of this process, all threads: what a busy machine does not change."""
    note: str = ""
    skipped: str = ""
    """Why this contender could not take part here, if it could not."""
    memory_mb: float | None = None
    """Peak memory where it is not this process's own, e.g. of a server that does the work."""

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of what runs inside."""
        started, cpu_started = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started
            self.cpu_seconds += time.process_time() - cpu_started


Contender = Callable[[Stopwatch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: who did how much in what time with how much memory. `failed` says why there is no figure."""

    bench: str
    who: str
    size: int
    seconds: float = 0.0
    memory_mb: float = 0.0
    cpu_seconds: float = 0.0
    note: str = ""
    failed: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One target: what is done, the sizes, and the contenders in the order they run; the first is ours."""

    name: str
    what: str
    target: str
    size: int
    quick_size: int
    contenders: tuple[Contender, ...] = field(default=())


def measure(bench: Bench, contender: Contender, *, size: int) -> Figure:
    """Run one contender in a fresh process."""
    who = contender.__name__
    command = [sys.executable, "-m", "tests.bench.measure", f"{contender.__module__}:{who}", str(size)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CONTENDER_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        return Figure(bench=bench.name, who=who, size=size, failed=f"took more than {CONTENDER_SECONDS_MAX} seconds")
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no word why"]
        return Figure(bench=bench.name, who=who, size=size, failed=last[0])
    row = json.loads(done.stdout.splitlines()[-1])
    return Figure(bench=bench.name, who=who, size=size, **row)


def main(arguments: list[str]) -> None:
    """Be the contender: run it and print its figures as one JSON line."""
    place, size = arguments
    module, _, name = place.partition(":")
    contender = cast("Contender", getattr(importlib.import_module(module), name))
    with tempfile.TemporaryDirectory(prefix="escrow-bench-") as folder:
        watch = Stopwatch(size=int(size), folder=Path(folder))
        contender(watch)
    own_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    memory_mb = own_mb if watch.memory_mb is None else watch.memory_mb
    print(json.dumps({
        "seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds, "memory_mb": memory_mb, "note": watch.note,
        "skipped": watch.skipped,
    }))


if __name__ == "__main__":
    main(sys.argv[1:])
