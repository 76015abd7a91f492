"""`python -m tests.history SEED...`: tell histories by their seeds; what is broken is said, exit 1."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from escrow_monitor.records.database import Database
from tests.history.history_mutants import MUTANTS
from tests.history.history_world import differing, sqlite_url, tell, zygote
from tests.postgres import new_database, running_server


def main() -> int:
    """Tell the histories asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.history", description=__doc__)
    parser.add_argument("seeds", nargs="+", help="a number, or a span like 1-20")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--sqlite", action="store_true", help="the default")
    parser.add_argument("--alone", action="store_true", help="nothing at once, and told a second time without kills")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--mutant", choices=MUTANTS)
    parser.add_argument("--verbose", action="store_true")
    chosen = parser.parse_args()
    total: Counter[str] = Counter()
    bad = 0
    with ExitStack() as stack:
        shm = Path("/dev/shm")
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None)))
        made_by = stack.enter_context(zygote(room))
        server = stack.enter_context(running_server()) if chosen.postgresql else None
        template = room / "template.db"
        _upgrade(f"sqlite:///{template}")

        def url(name: str) -> str:
            if server is None:
                return sqlite_url(template, room / f"db-{name}")
            made = stack.enter_context(new_database(server, f"history_{name}"))
            _upgrade(made)
            return made

        for seed in _seeds(chosen.seeds):
            began = time.monotonic()
            told = tell(
                seed, steps=chosen.steps, folder=room / f"{seed}", url=url(f"{seed}"), made_by=made_by,
                alone=chosen.alone, kills=not chosen.no_kills, mutant=chosen.mutant,
            )
            broken = list(told.broken)
            if chosen.alone:
                plain = tell(
                    seed, steps=chosen.steps, folder=room / f"{seed}-plain", url=url(f"{seed}_plain"), made_by=made_by,
                    alone=True, kills=False,
                )
                broken += [*plain.broken, *differing(told.picture, plain.picture)]
            total.update(told.counts)
            bad += bool(broken)
            print(f"seed {seed}: {len(told.script.steps)} steps, {len(told.lives)} lives, {len(broken)} broken, "
                  f"{time.monotonic() - began:.1f} s", flush=True)
            for one in broken[:20]:
                print(f"  {str(one)[:1500]}")
            if broken or chosen.verbose:
                backend = "postgresql" if chosen.postgresql else "sqlite"
                print(told.again(steps=chosen.steps, backend=backend, mutant=chosen.mutant))
    print(dict(total))
    return 1 if bad else 0


def _seeds(texts: list[str]) -> list[int]:
    found: list[int] = []
    for one in texts:
        first, _, last = one.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _upgrade(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.close()


if __name__ == "__main__":
    sys.exit(main())
