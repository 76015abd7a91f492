"""One run at a time for each key, and of those that wait only the newest."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from escrow_monitor.daemon.turns import Turns

KEY = ("check-balances", "all")


def wait_until(condition: object, seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)


def test_of_many_that_wait_only_the_newest_runs() -> None:
    turns, go, ran = Turns(), threading.Event(), []
    arrived = threading.Semaphore(0)

    def run(number: int) -> bool:
        arrived.release()
        with turns.turn(KEY) as mine:
            if mine:
                ran.append(number)
                go.wait(5)
        return mine

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(run, 0)
        wait_until(lambda: ran == [0])
        later = []
        for number in range(1, 5):
            later.append(pool.submit(run, number))
            # Each must stand in line before the next comes, and all but the newest leave at once.
            wait_until(lambda: sum(not item.done() for item in later) == 1 and turns._count == len(later) + 1)
        go.set()
        assert first.result(5)
        assert [item.result(5) for item in later] == [False, False, False, True]
    assert ran == [0, 4]


def test_two_never_run_at_once_and_other_keys_are_not_kept_waiting() -> None:
    turns, running, most = Turns(), [0], [0]
    guard = threading.Lock()

    def run(_: int) -> None:
        with turns.turn(KEY) as mine:
            if mine:
                with guard:
                    running[0] += 1
                    most[0] = max(most[0], running[0])
                time.sleep(0.002)
                with guard:
                    running[0] -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(run, range(200)))
    assert most == [1]
    with turns.turn(KEY) as mine, turns.turn(("check-balances", "other")) as other:
        assert mine
        assert other


def test_a_run_that_raises_gives_its_turn_back() -> None:
    turns = Turns()
    try:
        with turns.turn(KEY):
            raise RuntimeError
    except RuntimeError:
        pass
    with turns.turn(KEY) as mine:
        assert mine
