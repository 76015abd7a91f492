"""Two daemons on one PostgreSQL: every scheduled round has one effect, and when one dies the other goes on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from escrow_monitor.clock import FixedClock
from escrow_monitor.records.database import Database
from escrow_monitor.settings import Settings, load_settings
from escrow_monitor.wiring import App
from tests.journeys.crash_daemons import Land, broken_story
from tests.journeys.crash_world import BANK, FOLDER, PULLED, deliver_files, open_house

SEED = 20261122
TOGETHER_SECONDS = 15
ALONE_SECONDS = 8


@pytest.fixture
def land(tmp_path: Path, postgres_url: str) -> Iterator[Land]:
    with open_house() as house:
        land = Land(folder=tmp_path, house=house, url=postgres_url)
        try:
            yield land
        finally:
            land.end_all()


def begun_by_round(land: Land) -> Counter[str]:
    return Counter(run.round for run in land.runs())


@pytest.mark.slow
def test_two_daemons_give_every_scheduled_round_one_effect(land: Land) -> None:
    with land.restless(random.Random(SEED)):
        both = [land.start("east"), land.start("west")]
        land.wait_for(lambda: begun_by_round(land)["pull-balances"] > 2, "nothing was pulled")
        time.sleep(TOGETHER_SECONDS)
    land.settle()
    assert [land.stop(process) for process in both] == [0, 0], land.logs()
    land.deliver_the_rest()
    assert broken_story(land) == []

    runs = land.runs()
    assert {run.begun for run in runs} == {1}
    assert all(run.outcome in ("ok", "wrong") for run in runs), [run for run in runs if run.outcome is None]
    counted = Counter((run.round, run.shard) for run in runs)
    assert counted["pull-balances", BANK] >= TOGETHER_SECONDS // 2
    assert counted["load-statements", FOLDER] >= TOGETHER_SECONDS // 6
    assert counted["check-balances", "all"] >= TOGETHER_SECONDS // 2

    # One effect: each pull left one row for each account, and each message was sent once, for nobody died.
    pulled = [run for run in runs if run.round == "pull-balances"]
    assert {run.counts["answered"] for run in pulled} == {len(PULLED)}
    rows = land.ask(lambda session: session.connection().exec_driver_sql(
        "SELECT scheduled_at, count(*) FROM pulls GROUP BY scheduled_at"
    ).all())
    assert {at for at, _ in rows} == {run.scheduled_at for run in pulled}
    assert {count for _, count in rows} == {len(PULLED)}
    messages = Counter(message.message_id for message in land.house.received[land.name])
    assert set(messages.values()) == {1}
    nodes = land.ask(lambda session: session.connection().exec_driver_sql("SELECT executor_id FROM nodes").all())
    assert {name for (name,) in nodes} >= {"east", "west"}


@pytest.mark.slow
def test_when_one_of_two_daemons_is_killed_the_other_goes_on(land: Land) -> None:
    with land.restless(random.Random(SEED + 1)):
        east, west = land.start("east"), land.start("west")
        land.wait_for(lambda: begun_by_round(land)["pull-balances"] > 4, "nothing was pulled")
        time.sleep(2)
        land.kill(east)
        killed_at = land.now()
        time.sleep(ALONE_SECONDS)
    land.settle()

    later = [run for run in land.runs() if run.started_at > killed_at]
    assert {run.round for run in later} >= {"pull-balances", "load-statements", "check-balances", "deliver-alerts"}
    assert {run.begun for run in later} == {1}

    # What the dead one had begun is its own to end when it comes back soon, or a peer's after a minute of silence.
    again = land.start_and_wait("east")
    land.wait_for(lambda: not land.undone(), "what the killed daemon had begun was never done")
    assert [land.stop(process) for process in (west, again)] == [0, 0], land.logs()
    land.deliver_the_rest()
    assert broken_story(land) == []


def test_an_alert_that_one_opens_late_is_heard_of_by_the_other_that_knows_better(
    tmp_path: Path, postgres_url: str
) -> None:
    """East reads Monday's shortfall and stalls; the top-up comes; west reads it and stalls; east writes, then west."""
    with open_house() as house, ExitStack() as stack:
        land = Land(folder=tmp_path, house=house, url=postgres_url, steps=1)
        settings = load_settings(land.config, {})
        tuesday, wednesday = (datetime(2026, 11, day, 2, tzinfo=UTC) for day in (17, 18))
        east, west = (stack.enter_context(stalling(settings, now)) for now in (tuesday, wednesday))
        east.app.perform("load-statements", FOLDER, tuesday)
        east.begin_check()
        deliver_files(land.folder / "statements", 1)
        west.app.perform("load-statements", FOLDER, wednesday)
        west.begin_check()
        east.end_check()
        west.end_check()
        told = [entry.transition.value for entry in land.entries() if entry.key.rule == "floor"]
    assert told == ["opened", "resolved"]


class Stalling:
    """A daemon's check on a thread of its own, held up just before it writes what it concluded."""

    WRITES_BEFORE = 4
    """That the run has begun, the policies in force, the gaps in the statements, and the accounts of which nothing is
    to be said."""

    def __init__(self, app: App, now: datetime) -> None:
        self.app = app
        self._stalled, self._go_on = threading.Event(), threading.Event()
        self._writes = 0
        self._thread = threading.Thread(target=app.perform, args=("check-balances", "all", now))

    def begin_check(self) -> None:
        self._thread.start()
        assert self._stalled.wait(20)

    def end_check(self) -> None:
        self._go_on.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def hold(self, connection: Connection) -> None:
        """Told of every transaction that begins."""
        if threading.current_thread() is self._thread and connection.get_execution_options().get("writes"):
            self._writes += 1
            if self._writes == self.WRITES_BEFORE + 1:
                self._stalled.set()
                self._go_on.wait(20)


@contextmanager
def stalling(settings: Settings, now: datetime) -> Iterator[Stalling]:
    app = App(settings=settings, clock=FixedClock(now), database=Database(settings.database_url))
    one = Stalling(app, now)
    event.listen(Engine, "begin", one.hold)
    try:
        yield one
    finally:
        event.remove(Engine, "begin", one.hold)
        app.close()
