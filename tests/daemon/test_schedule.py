"""Cron times as cron means them, what is caught up with, what is missed, and what is owed."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.daemon.plan import Plan
from escrow_monitor.daemon.schedule import Schedule, last_tick, parse_cron
from escrow_monitor.errors import ConfigurationError

SHANGHAI = ZoneInfo("Asia/Shanghai")


def ticks(expression: str, since: datetime, count: int) -> list[str]:
    trigger = parse_cron(expression, zone=SHANGHAI)
    found: list[str] = []
    at = since
    while len(found) < count:
        tick = trigger.get_next_fire_time(None, at)
        found.append(f"{tick:%a %d %H:%M:%S}")
        at = tick + timedelta(seconds=1)
    return found


MONDAY = datetime(2026, 11, 23, tzinfo=SHANGHAI)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/30 * * * * *", ["Mon 23 00:00:00", "Mon 23 00:00:30"]),
        ("4,19 * * * *", ["Mon 23 00:04:00", "Mon 23 00:19:00"]),
        ("0 9 * * 1-5", ["Mon 23 09:00:00", "Tue 24 09:00:00"]),
        ("0 9 * * 0", ["Sun 29 09:00:00", "Sun 06 09:00:00"]),
        ("0 9 * * 7", ["Sun 29 09:00:00", "Sun 06 09:00:00"]),
        ("0 9 * * 5-7", ["Fri 27 09:00:00", "Sat 28 09:00:00"]),
        ("0 9 * * 0-1", ["Mon 23 09:00:00", "Sun 29 09:00:00"]),
        ("0 9 * * 2/2", ["Tue 24 09:00:00", "Thu 26 09:00:00"]),
        ("0 9 * * 1,3", ["Mon 23 09:00:00", "Wed 25 09:00:00"]),
        ("0 9 * * mon-fri", ["Mon 23 09:00:00", "Tue 24 09:00:00"]),
        ("0 9 1 * *", ["Tue 01 09:00:00", "Fri 01 09:00:00"]),
    ],
)
def test_cron_means_what_crontab_says(expression: str, expected: list[str]) -> None:
    assert ticks(expression, MONDAY, 2) == expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("61 * * * *", "not a cron expression"),
        ("x * * * *", "not a cron expression"),
        ("0 9 * * 8", "not within 0-7"),
        ("0 9 * * 5-1", "not within 0-7"),
        ("0 9 * * 1-5/0", "not a cron expression"),
        ("0 9 1 * 1", "a day of the month and a weekday"),
    ],
)
def test_a_cron_expression_that_is_wrong_or_ambiguous_is_refused(expression: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_cron(expression, zone=SHANGHAI, what="schedule of x")


@given(
    expression=st.sampled_from(
        ["*/7 * * * * *", "4,19,34,49 * * * *", "0 9 * * 1-5", "*/10 * 3 * * *", "0 0 1 * *", "* * * * *", "15 2 * * 0"]
    ),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001  # given its zone below
)
def test_the_last_tick_is_the_last_at_or_before_now(expression: str, now: datetime) -> None:
    moment = now.replace(tzinfo=UTC)
    trigger = parse_cron(expression, zone=SHANGHAI)
    within = timedelta(days=32)
    found = last_tick(trigger, moment, within=within)
    assert found is not None
    assert moment - within <= found <= moment
    assert trigger.get_next_fire_time(None, found) == found
    after = trigger.get_next_fire_time(None, found + timedelta(microseconds=1))
    assert after is not None
    assert after > moment


def test_a_last_tick_longer_ago_than_allowed_is_none() -> None:
    trigger = parse_cron("0 9 * * *", zone=SHANGHAI)
    now = datetime(2026, 11, 22, 10, tzinfo=SHANGHAI)
    assert last_tick(trigger, now, within=timedelta(minutes=59)) is None
    assert last_tick(trigger, now, within=timedelta(hours=1)) == datetime(2026, 11, 22, 9, tzinfo=SHANGHAI)


class Ear:
    """Keeps what it was told and handed."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.handed: list[tuple[str, str, datetime]] = []
        self.refuse = 0

    def tell(self, event: str, keys: Mapping[str, object]) -> None:
        self.told.append((event, keys))

    def enqueue(self, name: str, shard: str, tick: datetime) -> None:
        if self.refuse:
            self.refuse -= 1
            raise OSError("the engine is away")
        self.handed.append((name, shard, tick))

    def wait_for(self, count: int, seconds: float = 6) -> None:
        until = time.monotonic() + seconds
        while len(self.handed) < count:
            assert time.monotonic() < until, (self.handed, self.told)
            time.sleep(0.01)


def schedule(ear: Ear, *plans: Plan) -> Schedule:
    return Schedule(plans=plans, enqueue=ear.enqueue, zone=SHANGHAI, tell=ear.tell)


def test_each_tick_is_handed_over_for_each_shard_with_its_scheduled_time() -> None:
    ear = Ear()
    clock = schedule(ear, Plan(round="pull", cron="* * * * * *", shards=lambda: ("a", "b")))
    clock.start(datetime(2026, 11, 22, tzinfo=UTC) - timedelta(days=1000))
    ear.wait_for(4)
    assert clock.pulse_age_seconds < 2
    assert clock.stop(1)
    ticks_of_a = [tick for _, shard, tick in ear.handed if shard == "a"]
    assert all(tick.microsecond == 0 for tick in ticks_of_a)
    assert len(set(ticks_of_a)) == len(ticks_of_a)
    handed = len(ear.handed)
    time.sleep(1.2)
    assert len(ear.handed) == handed


def test_on_start_the_last_tick_is_caught_up_with_once() -> None:
    ear = Ear()
    now = datetime(2026, 11, 22, 12, 0, tzinfo=SHANGHAI)
    daily = Plan(round="load", cron="0 9 * * *")
    monthly = Plan(round="return", cron="0 9 1 * *")
    clock = schedule(ear, daily, monthly, Plan(round="check", follows=("load",)))
    clock.start(now)
    ear.wait_for(1)
    assert clock.stop(1)
    assert ear.handed == [("load", "all", datetime(2026, 11, 22, 9, tzinfo=SHANGHAI))]
    assert clock.next_ticks(now)["load"] == datetime(2026, 11, 23, 9, tzinfo=SHANGHAI)
    assert set(clock.next_ticks(now)) == {"load", "return"}


def test_a_tick_the_engine_refused_is_owed_and_tried_again() -> None:
    ear = Ear()
    ear.refuse = 1
    clock = schedule(ear, Plan(round="load", cron="0 9 * * *"))
    clock.start(datetime(2026, 11, 22, 12, 0, tzinfo=SHANGHAI))
    ear.wait_for(1)
    assert clock.stop(1)
    assert [event for event, _ in ear.told] == ["round.tick_owed"]
    assert "the engine is away" in str(ear.told[0][1]["error"])


def test_ticks_a_newer_one_overtook_are_counted_as_missed() -> None:
    ear = Ear()
    held = threading.Event()

    def shards() -> tuple[str, ...]:
        held.wait(10)
        return ("all",)

    clock = schedule(ear, Plan(round="slow", cron="* * * * * *", shards=shards))
    clock.start(datetime.now(UTC))
    time.sleep(3.2)
    held.set()
    ear.wait_for(2)
    clock.stop(1)
    missed = sum(int(str(keys["count"])) for event, keys in ear.told if event == "round.tick_missed")
    assert missed >= 1
    seconds = [tick.timestamp() for _, _, tick in ear.handed]
    assert seconds == sorted(set(seconds))
    # Nothing vanished: from the first tick to the last, each second was either handed over or told as missed.
    assert missed + len(seconds) == seconds[-1] - seconds[0] + 1


def test_a_clock_that_slept_hands_over_the_newest_tick_and_counts_the_others() -> None:
    ear = Ear()
    clock = schedule(ear, Plan(round="pull", cron="* * * * *"))
    base = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
    clock._owed.start()
    clock._due("pull", [base + timedelta(minutes=n) for n in range(5)])
    ear.wait_for(1)
    assert clock.stop(1)
    assert ear.handed == [("pull", "all", base + timedelta(minutes=4))]
    assert ear.told == [
        ("round.tick_missed", {"round": "pull", "count": 4, "last": (base + timedelta(minutes=3)).isoformat()})
    ]


def test_a_tick_with_no_shard_is_told() -> None:
    ear = Ear()
    clock = schedule(ear, Plan(round="pull", cron="0 9 * * *", shards=tuple))
    clock.start(datetime(2026, 11, 22, 12, 0, tzinfo=SHANGHAI))
    assert clock.stop(2)
    assert [event for event, _ in ear.told] == ["round.tick_empty"]


def test_a_stop_says_whether_a_tick_is_still_owed() -> None:
    ear = Ear()
    ear.refuse = 100
    clock = schedule(ear, Plan(round="load", cron="0 9 * * *"))
    clock.start(datetime(2026, 11, 22, 12, 0, tzinfo=SHANGHAI))
    assert not clock.stop(0.3)
