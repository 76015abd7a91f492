"""`python -m tests.bench NAME... [--quick]`: figures side by side with their peers."""

from __future__ import annotations

import argparse
import sys

from tests.bench import recompute, t1, t1b, t2, t3, t4, t5, t6, t7, t8, t10, t11, t12, t13, t14
from tests.bench.measure import Bench, Figure, measure

BENCHES: dict[str, Bench] = {bench.name: bench for bench in (
    t1.BENCH, t1b.BENCH, *t2.BENCHES, *t3.BENCHES, t4.BENCH, t5.BENCH, t6.BENCH, t7.BENCH, t10.BENCH, t11.BENCH,
    t12.BENCH, t13.BENCH, t14.BENCH,
    *t8.BENCHES, *recompute.BENCHES,
)}


def main() -> int:
    """Run the chosen benches; 1 if a contender could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="a small size, to see that it runs")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    failed = False
    for name in chosen.names or BENCHES:
        bench = BENCHES[name]
        size = bench.quick_size if chosen.quick else bench.size
        print(f"{bench.name}  {bench.what}; target {bench.target}; size {size:,}", flush=True)
        ours: Figure | None = None
        for contender in bench.contenders:
            figure = measure(bench, contender, size=size)
            print(row(figure, beside=ours), flush=True)
            ours, failed = ours or figure, failed or bool(figure.failed)
    return 1 if failed else 0


def row(figure: Figure, *, beside: Figure | None) -> str:
    """One line of the table; a peer's line says how many times our time and memory it took."""
    if figure.failed:
        return f"  {figure.who:<28} FAILED: {figure.failed}"
    if figure.skipped:
        return f"  {figure.who:<28} SKIPPED: {figure.skipped}"
    line = f"  {figure.who:<28} {figure.seconds:>10.3f} s {figure.memory_mb:>9.1f} MB"
    if beside is not None and not beside.failed and beside.seconds:
        ratio, memory = figure.seconds / beside.seconds, figure.memory_mb / beside.memory_mb
        line += f"   x{ratio:<8.2f} time x{memory:<6.2f} memory of ours"
    cpu = f"   {figure.cpu_seconds:.2f} s of CPU" if figure.cpu_seconds else ""
    return f"{line}{cpu}   {figure.note}"


if __name__ == "__main__":
    sys.exit(main())
