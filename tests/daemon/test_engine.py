"""A tick happens once, its follower at once, and what fails is repeated only when that may help."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from escrow_monitor.daemon.engine import Engine, EngineError
from escrow_monitor.daemon.plan import Plan
from escrow_monitor.errors import OutsideError

PLANS = (
    Plan(round="pull", cron="0 9 * * *", shards=lambda: ("icbc", "boc")),
    Plan(round="check", follows=("pull",)),
    Plan(round="deliver", follows=("check",), shards=lambda: ("log", "webhook")),
)
NINE = datetime(2026, 11, 22, 1, tzinfo=UTC)


class World:
    """One engine and what it did."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done: list[tuple[str, str, datetime, float]] = []
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.act: Callable[[str, str], Mapping[str, object]] = lambda name, shard: {"news": False}
        self.silent: tuple[str, ...] = ()
        self.engine: Engine | None = None

    def start(self, executor_id: str = "one", *, keep: timedelta = timedelta(days=3)) -> Engine:
        self.engine = Engine(
            url=self.url, executor_id=executor_id, plans=PLANS, perform=self.perform,
            tell=lambda event, keys: self.told.append((event, keys)),
            beat=lambda _: None, silent=lambda _: self.silent, beat_seconds=0.2, keep=keep,
        )
        self.engine.start()
        return self.engine

    def stop(self, seconds: float = 5) -> bool:
        engine, self.engine = self.engine, None
        return engine.stop(seconds) if engine else True

    def perform(self, name: str, shard: str, at: datetime) -> Mapping[str, object]:
        report = self.act(name, shard)
        self.done.append((name, shard, at, time.time()))
        return report

    def names(self) -> list[tuple[str, str]]:
        return [(name, shard) for name, shard, _, _ in self.done]

    def events(self, name: str) -> list[Mapping[str, object]]:
        return [keys for event, keys in self.told if event == name]

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, (self.done, self.told)
            time.sleep(0.01)


@pytest.fixture
def world(engine_url: str) -> Iterator[World]:
    world = World(engine_url)
    yield world
    world.stop()


@pytest.fixture
def small_world(tmp_path: Path) -> Iterator[World]:
    world = World(f"sqlite:///{tmp_path}/engine.db")
    yield world
    world.stop()


@pytest.mark.slow
def test_the_same_tick_handed_over_often_runs_once(world: World) -> None:
    engine = world.start()
    for _ in range(3):
        engine.enqueue("pull", "icbc", NINE)
        engine.enqueue("pull", "boc", NINE)
    world.wait_for(lambda: len(world.done) >= 2)
    engine.enqueue("pull", "icbc", NINE)
    time.sleep(1.5)
    assert sorted(world.names()) == [("pull", "boc"), ("pull", "icbc")]
    assert {at for _, _, at, _ in world.done} == {NINE}


def test_news_start_the_followers_at_once_and_no_news_start_none(world: World) -> None:
    engine = world.start()
    news = {"pull": True, "check": True}
    world.act = lambda name, shard: {"news": news.get(name, False)}
    engine.enqueue("pull", "icbc", NINE)
    world.wait_for(lambda: len(world.done) >= 4)
    assert world.names()[:2] == [("pull", "icbc"), ("check", "all")]
    assert sorted(world.names()[2:]) == [("deliver", "log"), ("deliver", "webhook")]
    for name, shard, at, ran_at in world.done[1:]:
        assert ran_at - at.timestamp() < 0.3, (name, shard)
    news["pull"] = False
    engine.enqueue("pull", "boc", NINE)
    world.wait_for(lambda: len(world.done) >= 5)
    time.sleep(0.5)
    assert world.names()[4:] == [("pull", "boc")]


def test_a_report_that_does_not_say_counts_as_news(small_world: World) -> None:
    engine = small_world.start()
    small_world.act = lambda name, shard: {} if name == "pull" else {"news": False}
    engine.enqueue("pull", "icbc", NINE)
    small_world.wait_for(lambda: small_world.names() == [("pull", "icbc"), ("check", "all")])


def test_a_passing_failure_is_repeated_until_it_passes(small_world: World) -> None:
    engine = small_world.start()
    failures = [OutsideError("the database does not answer")]

    def act(name: str, shard: str) -> Mapping[str, object]:
        if failures:
            raise failures.pop()
        return {"news": False}

    small_world.act = act
    engine.enqueue("pull", "icbc", NINE)
    small_world.wait_for(lambda: small_world.names() == [("pull", "icbc")])
    assert not small_world.events("round.failed")


def test_any_other_failure_ends_the_run_and_is_told_and_the_next_tick_runs(small_world: World) -> None:
    engine = small_world.start()
    attempts: list[str] = []

    def act(name: str, shard: str) -> Mapping[str, object]:
        attempts.append(shard)
        if shard == "icbc":
            raise ZeroDivisionError
        return {"news": False}

    small_world.act = act
    engine.enqueue("pull", "icbc", NINE)
    small_world.wait_for(lambda: len(small_world.events("round.failed")) == 1)
    engine.enqueue("pull", "boc", NINE)
    small_world.wait_for(lambda: small_world.names() == [("pull", "boc")])
    assert attempts == ["icbc", "boc"]
    failed = small_world.events("round.failed")[0]
    assert failed["round"] == "pull"
    assert "ZeroDivisionError" in str(failed["error"])


def test_runs_of_one_shard_take_turns_and_the_newest_covers_those_that_wait(small_world: World) -> None:
    engine = small_world.start()
    go = threading.Event()
    begun: list[str] = []

    def act(name: str, shard: str) -> Mapping[str, object]:
        begun.append(shard)
        go.wait(10)
        return {"news": False}

    small_world.act = act
    engine.enqueue("pull", "icbc", NINE)
    small_world.wait_for(lambda: begun == ["icbc"])
    for minute in (1, 2, 3):
        engine.enqueue("pull", "icbc", NINE + timedelta(minutes=minute))
    small_world.wait_for(lambda: len(small_world.events("round.covered")) == 2)
    assert begun == ["icbc"]
    go.set()
    small_world.wait_for(lambda: len(small_world.done) == 2)


@pytest.mark.slow
def test_a_stop_lets_the_running_round_end_and_its_follower_waits_for_the_restart(world: World) -> None:
    engine = world.start()
    begun, go = threading.Event(), threading.Event()

    def act(name: str, shard: str) -> Mapping[str, object]:
        begun.set()
        assert go.wait(10)
        return {"news": name == "pull"}

    world.act = act
    engine.enqueue("pull", "icbc", NINE)
    assert begun.wait(10)
    threading.Timer(0.5, go.set).start()
    assert world.stop(10)
    assert world.names() == [("pull", "icbc")]
    world.start()
    world.wait_for(lambda: len(world.done) == 2)
    assert world.names() == [("pull", "icbc"), ("check", "all")]
    assert world.events("engine.stopped")[0]["drained"] is True


def test_a_stop_does_not_wait_longer_than_it_was_told(small_world: World) -> None:
    engine = small_world.start()
    begun, go = threading.Event(), threading.Event()

    def act(name: str, shard: str) -> Mapping[str, object]:
        begun.set()
        go.wait(20)
        return {}

    small_world.act = act
    engine.enqueue("pull", "icbc", NINE)
    assert begun.wait(10)
    before = time.monotonic()
    assert not small_world.stop(1)
    assert time.monotonic() - before < 5
    go.set()
    time.sleep(0.3)
    assert not small_world.events("round.failed")


@pytest.mark.slow
def test_ended_work_older_than_the_retention_is_deleted(world: World) -> None:
    engine = world.start()
    engine.enqueue("pull", "icbc", NINE)
    world.wait_for(lambda: len(world.done) == 1)
    time.sleep(0.5)
    world.stop()
    world.start(keep=timedelta(0))
    world.wait_for(lambda: len(world.events("engine.swept")) == 1)
    assert world.events("engine.swept")[0]["count"] == 1


def test_a_house_in_disorder_is_told_and_the_heart_beats_on(small_world: World) -> None:
    beats: list[int] = []

    def beat(_: str) -> None:
        beats.append(1)
        if len(beats) == 2:
            raise OutsideError("the database does not answer")

    engine = Engine(
        url=small_world.url, executor_id="one", plans=PLANS, perform=small_world.perform, beat=beat, beat_seconds=0.1,
        tell=lambda event, keys: small_world.told.append((event, keys)),
    )
    small_world.engine = engine
    engine.start()
    small_world.wait_for(lambda: len(beats) >= 4)
    assert len(small_world.events("engine.house_neglected")) == 1
    assert engine.is_alive


def test_work_is_kept_as_json_and_never_as_pickle(small_world: World) -> None:
    engine = small_world.start()
    engine.enqueue("pull", "icbc", NINE)
    small_world.wait_for(lambda: len(small_world.done) == 1)
    small_world.stop()
    with sqlite3.connect(small_world.url.removeprefix("sqlite:///")) as connection:
        kept = connection.execute("SELECT serialization FROM workflow_status").fetchall()
        inputs = connection.execute("SELECT inputs FROM workflow_input").fetchall()
    connection.close()
    assert kept == [("portable_json",)]
    assert "2026-11-22T01:00:00+00:00" in inputs[0][0]


def test_a_second_engine_on_the_same_file_is_refused_with_what_to_do(small_world: World) -> None:
    first = small_world.start()
    second = Engine(url=small_world.url, executor_id="two", plans=PLANS, perform=small_world.perform)
    with pytest.raises(EngineError, match=r"Another daemon \(process \d+\) already runs on .*stop it"):
        second.start()
    first.enqueue("pull", "icbc", NINE)
    small_world.wait_for(lambda: small_world.names() == [("pull", "icbc")])


def test_an_engine_whose_database_is_away_says_so_without_the_password() -> None:
    engine = Engine(
        url="postgresql+psycopg://escrow:hunter2@127.0.0.1:1/escrow", executor_id="one", plans=PLANS,
        perform=lambda name, shard, at: {},
    )
    with pytest.raises(EngineError) as caught:
        engine.start()
    assert "127.0.0.1:1/escrow cannot be used" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_plain_sentence() -> None:
    engine = Engine(
        url="sqlite:////proc/nowhere/engine.db", executor_id="one", plans=PLANS, perform=lambda name, shard, at: {},
    )
    with pytest.raises(EngineError, match="cannot be used"):
        engine.start()
