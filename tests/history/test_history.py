"""Long random histories by seed keep every law; and each law is seen to fail where the program is spoilt.

    HISTORY_SEED=7 HISTORY_STEPS=2000 pytest tests/history       one history of your choice, on both databases
    python -m tests.history 7 --steps 2000 --postgresql          the same, with more to read
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.history.history_mutants import MUTANTS
from tests.history.history_script import script_of
from tests.history.history_world import Told, Zygote, differing, sqlite_url, tell, zygote
from tests.postgres import new_database

SEED = int(os.environ.get("HISTORY_SEED", "20261123"))
STEPS = int(os.environ.get("HISTORY_STEPS", "0"))
STEPS_SHORT, STEPS_LONG, STEPS_OF_MUTANTS = 200, 500, 130
QUICK_MUTANTS = ("drops-a-transition",)


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """In memory where there is such a folder: a kill loses no page of the system's."""
    shm = Path("/dev/shm")
    below = shm if shm.is_dir() and os.access(shm, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="escrow-monitor-history-", dir=below) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def made_by(room: Path) -> Iterator[Zygote]:
    with zygote(room) as made:
        yield made


def history(
    backend: str, request: pytest.FixtureRequest, seed: int, *, steps: int, name: str = "", alone: bool = False,
    kills: bool = True, mutant: str | None = None,
) -> Told:
    """Tell one, on a database of its own."""
    room, made_by = request.getfixturevalue("room"), request.getfixturevalue("made_by")
    name = f"{backend}_{seed}{name}_{mutant or ''}".replace("-", "_")
    with ExitStack() as stack:
        if backend == "sqlite":
            url = sqlite_url(request.getfixturevalue("sqlite_template"), room / f"{name}_db")
        else:
            server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_template")
            url = stack.enter_context(new_database(server, f"history_{os.getpid()}_{name}", template=template))
        return tell(
            seed, steps=steps, folder=room / name, url=url, made_by=made_by, alone=alone, kills=kills, mutant=mutant
        )


def hold(told: Told, backend: str, steps: int) -> None:
    """Every law was kept; if not, say which, and how to see it again."""
    broken = "\n".join(map(str, told.broken[:20]))
    assert not told.broken, f"{broken}\n{told.again(steps=steps, backend=backend, mutant=None)}"


def test_a_history_keeps_every_law(request: pytest.FixtureRequest) -> None:
    steps = STEPS or STEPS_SHORT
    told = history("sqlite", request, SEED, steps=steps)
    hold(told, "sqlite", steps)
    assert told.counts["lives"] > 3
    assert told.counts["network faults"] > 10


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "place"), [
    ("sqlite", 0), ("sqlite", 1), ("postgresql", 0),
], indirect=["backend"])
def test_long_histories_keep_every_law(backend: str, place: int, request: pytest.FixtureRequest) -> None:
    seed, steps = SEED + 1 + place, STEPS or (STEPS_LONG if backend == "sqlite" else STEPS_SHORT)
    told = history(backend, request, seed if STEPS == 0 else SEED, steps=steps, name=f"_{place}")
    hold(told, backend, steps)
    assert {"opened", "escalated", "eased", "resolved", "reopened", "acknowledged", "snoozed"} <= told.counts.keys()
    assert told.counts["clock back"] > 3


@pytest.mark.slow
def test_a_history_told_with_kills_leaves_what_it_leaves_without(
    backend: str, request: pytest.FixtureRequest
) -> None:
    steps = STEPS_SHORT
    told, plain = (
        history(backend, request, SEED, steps=steps, name=f"_{kills}", alone=True, kills=kills)
        for kills in (True, False)
    )
    hold(told, backend, steps)
    hold(plain, backend, steps)
    different = "\n".join(map(str, differing(told.picture, plain.picture)))
    assert not different, f"{different}\n{told.again(steps=steps, backend=backend, mutant=None)}"


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in QUICK_MUTANTS else pytest.mark.slow) for name in MUTANTS
])
def test_a_planted_fault_is_named(name: str, request: pytest.FixtureRequest) -> None:
    mutant = MUTANTS[name]
    told = history(
        "sqlite", request, mutant.seed, steps=STEPS_OF_MUTANTS * (2 if mutant.kills else 1), kills=mutant.kills,
        mutant=name,
    )
    assert mutant.law in {one.law for one in told.broken}, told.again(
        steps=STEPS_OF_MUTANTS, backend="sqlite", mutant=name
    )


def test_a_seed_gives_the_same_history_always() -> None:
    assert script_of(5, steps=300) == script_of(5, steps=300)
    assert script_of(5, steps=300) != script_of(6, steps=300)
    script = script_of(5, steps=300)
    assert len({step.at for step in script.steps}) == len(script.steps)
