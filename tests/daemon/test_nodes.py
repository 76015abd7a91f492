"""Whole daemons as processes: started together, killed, stopped; no tick is lost and none has two effects."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
YEARLY = "0 0 1 1 *"
# Caught up with on start, and then silent for the length of a test.
DAILY = "0 0 * * *"


class Nodes:
    """The processes of one test and the journal they write together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, url: str, name: str, *more: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.err").open("ab") as errors:
            node = subprocess.Popen(
                [sys.executable, "-m", "tests.daemon.node", str(self.folder), url, name, *more],
                cwd=ROOT, stderr=errors, start_new_session=True,
            )
        self.running.append(node)
        return node

    def stop(self, node: subprocess.Popen[bytes], seconds: float = 15) -> int:
        node.send_signal(signal.SIGTERM)
        return node.wait(seconds)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        node.kill()
        node.wait(5)

    def journal(self, what: str = "") -> list[dict[str, Any]]:
        path = self.folder / "journal.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if what in ("", line["what"])]

    def runs(self, what: str, name: str = "pull") -> Counter[tuple[str, str]]:
        return Counter((line["shard"], line["tick"]) for line in self.journal(what) if line["round"] == name)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, (self.journal(), self.errors())
            time.sleep(0.05)

    def errors(self) -> str:
        return "".join(path.read_text() for path in self.folder.glob("*.err"))


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    yield nodes
    for node in nodes.running:
        if node.poll() is None:
            node.kill()
            node.wait(5)


@pytest.mark.slow
def test_three_nodes_on_one_postgresql_do_each_tick_once(nodes: Nodes, postgres_url: str) -> None:
    # All three start together on an empty database, so they also race to create the engine's tables.
    processes = [nodes.start(postgres_url, name) for name in ("n1", "n2", "n3")]
    nodes.wait_for(lambda: len(nodes.journal("lifetime.ready")) == 3)
    nodes.wait_for(lambda: len(nodes.runs("end")) >= 12, 30)
    assert [nodes.stop(process) for process in processes] == [0, 0, 0]
    begun, ended = nodes.runs("begin"), nodes.runs("end")
    assert set(begun.values()) == {1}
    assert begun == ended
    ticks = sorted({tick for _, tick in ended})
    whole = [tick for tick in ticks if {("icbc", tick), ("boc", tick)} <= set(ended)]
    assert len(whole) >= len(ticks) - 1  # the last one may wait in the queue for the next start
    followers = [line for line in nodes.journal("end") if line["round"] == "check"]
    assert followers
    assert len(followers) == len({line["tick"] for line in followers})
    assert nodes.errors() == ""


@pytest.mark.slow
def test_a_node_killed_in_the_middle_of_a_round_finishes_it_after_its_restart(nodes: Nodes, engine_url: str) -> None:
    first = nodes.start(engine_url, "n1", DAILY, "3")
    nodes.wait_for(lambda: len(nodes.runs("begin")) == 2)
    nodes.kill(first)
    assert not nodes.runs("end")
    second = nodes.start(engine_url, "n1", YEARLY, "0")
    nodes.wait_for(lambda: set(nodes.runs("end")) >= set(nodes.runs("begin")))
    nodes.wait_for(lambda: len(nodes.journal("end")) >= 3)
    assert nodes.stop(second) == 0
    # Begun twice, ended once: the step is repeated, which is why a round must bear it.
    assert set(nodes.runs("end").values()) == {1}


@pytest.mark.slow
def test_the_work_of_a_dead_node_is_taken_over_by_a_peer(nodes: Nodes, postgres_url: str) -> None:
    dead = nodes.start(postgres_url, "n1", DAILY, "30")
    nodes.wait_for(lambda: len(nodes.runs("begin")) == 2)
    nodes.kill(dead)
    peers = [nodes.start(postgres_url, name, YEARLY, "0") for name in ("n2", "n3")]
    nodes.wait_for(lambda: sum(nodes.runs("end").values()) == 2)
    time.sleep(3)
    assert [nodes.stop(peer) for peer in peers] == [0, 0]
    assert set(nodes.runs("end").values()) == {1}
    assert {line["node"] for line in nodes.journal("end")} <= {"n2", "n3"}
    assert {line["executor_id"] for line in nodes.journal("engine.resumed")} == {"n1"}


@pytest.mark.slow
def test_sigterm_under_load_loses_no_tick(nodes: Nodes, engine_url: str) -> None:
    for _ in range(2):
        node = nodes.start(engine_url, "n1", "* * * * * *", "0.4")
        before = len(nodes.runs("end"))
        nodes.wait_for(lambda before=before: len(nodes.runs("end")) >= before + 4)  # type: ignore[misc]
        assert nodes.stop(node) == 0
    last = nodes.start(engine_url, "n1", YEARLY, "0")
    covered = {(line["shard"], line["scheduled_at"]) for line in nodes.journal("round.covered")}
    nodes.wait_for(lambda: set(nodes.runs("begin")) == set(nodes.runs("end")))
    time.sleep(2)
    assert nodes.stop(last) == 0
    assert set(nodes.runs("end").values()) == {1}
    assert nodes.runs("begin") == nodes.runs("end")
    assert not covered & set(nodes.runs("end"))
    assert not nodes.journal("round.failed")
    assert nodes.errors() == ""


@pytest.mark.slow
def test_a_round_that_does_not_end_in_time_is_left_and_taken_up_at_the_next_start(nodes: Nodes, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/engine.db"
    node = nodes.start(url, "n1", DAILY, "60", "1")
    nodes.wait_for(lambda: len(nodes.runs("begin")) == 2)
    before = time.monotonic()
    assert nodes.stop(node) == 0
    assert time.monotonic() - before < 6
    assert [line["drained"] for line in nodes.journal("engine.stopped")] == [False]
    again = nodes.start(url, "n1", YEARLY, "0")
    nodes.wait_for(lambda: len(nodes.runs("end")) == 2)
    assert nodes.stop(again) == 0


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.start(f"sqlite:///{tmp_path}/engine.db", "n1", DAILY, "60", "30")
    nodes.wait_for(lambda: len(nodes.runs("begin")) == 2)
    node.send_signal(signal.SIGTERM)
    nodes.wait_for(lambda: bool(nodes.journal("lifetime.stopping")))
    node.send_signal(signal.SIGTERM)
    assert node.wait(3) == 128 + signal.SIGTERM


def test_importing_the_daemon_loads_neither_library() -> None:
    code = (
        "import sys, escrow_monitor.daemon.daemon, escrow_monitor.daemon.lifetime;"
        "print([name for name in ('dbos', 'apscheduler', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
