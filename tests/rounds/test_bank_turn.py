"""One sweep at a time at each bank, and none where the bank is not to be called now."""

from __future__ import annotations

import time as time_module
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from threading import Thread

import pytest

from escrow_monitor.banks.connector import PullOutcome, PullRequest
from escrow_monitor.banks.http import Window
from escrow_monitor.clock import ZONE
from escrow_monitor.errors import OutsideError
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.bank_turn import LEASE, BankTurn
from escrow_monitor.rounds.report import Outcome, Report

NOW = datetime(2026, 11, 20, 2, 4, tzinfo=UTC)  # 10:04 in Shanghai
MINUTE = timedelta(minutes=1)


@dataclass
class RestingBank:
    """A bank that has said how long it wants to rest; nobody asks it anything here."""

    bank: str = "northbank"
    rest_until: datetime | None = None

    def pull(self, requests: Sequence[PullRequest], *, now: datetime) -> Iterator[PullOutcome]:
        raise AssertionError("not to be asked")

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Sweeps:
    """Starts sweeps at one bank and remembers which of them asked it."""

    database: Database
    at: datetime = NOW
    asked: list[datetime] = field(default_factory=list)
    connector: RestingBank = field(default_factory=RestingBank)

    def turn(self, scheduled_at: datetime, *windows: Window) -> BankTurn:
        return BankTurn(
            database=self.database, connector=self.connector, windows=windows, round="pull-balances",
            scheduled_at=scheduled_at, claimant="node", kept_every_seconds=0.05, wait_seconds=0,
            local_now=lambda: self.at.astimezone(ZONE), real_now=lambda: self.at,
        )

    def sweep(self, scheduled_at: datetime, *windows: Window) -> Report:
        return self.turn(scheduled_at, *windows).ask(lambda: self.done(scheduled_at))

    def done(self, scheduled_at: datetime) -> Report:
        self.asked.append(scheduled_at)
        return Report(round="pull-balances", shard="northbank", scheduled_at=scheduled_at, outcome=Outcome.OK)


@pytest.fixture
def sweeps(database: Database) -> Sweeps:
    return Sweeps(database)


def test_a_second_sweep_is_told_whose_turn_it_is_and_asks_nothing(sweeps: Sweeps) -> None:
    def during() -> Report:
        with pytest.raises(OutsideError, match="northbank is being asked by the run of 2026-11-20T02:04:00"):
            sweeps.sweep(NOW + 15 * MINUTE)
        return sweeps.done(NOW)

    sweeps.turn(NOW).ask(during)
    assert sweeps.asked == [NOW]
    sweeps.sweep(NOW + 15 * MINUTE)
    assert sweeps.asked == [NOW, NOW + 15 * MINUTE]


def test_a_sweep_waits_a_little_for_the_one_before_it(sweeps: Sweeps) -> None:
    following = sweeps.turn(NOW + 15 * MINUTE)
    following.wait_seconds = 10
    waiting = Thread(target=lambda: following.ask(lambda: sweeps.done(NOW + 15 * MINUTE)))

    def during() -> Report:
        waiting.start()
        time_module.sleep(0.3)
        return sweeps.done(NOW)

    sweeps.turn(NOW).ask(during)
    waiting.join(10)
    assert sweeps.asked == [NOW, NOW + 15 * MINUTE]


def test_a_sweep_that_failed_gives_its_turn_back(sweeps: Sweeps) -> None:
    def fails() -> Report:
        raise OutsideError("the database went away")

    with pytest.raises(OutsideError, match="went away"):
        sweeps.turn(NOW).ask(fails)
    sweeps.sweep(NOW + 15 * MINUTE)
    assert sweeps.asked == [NOW + 15 * MINUTE]


def test_a_long_call_keeps_its_turn_from_beside(sweeps: Sweeps) -> None:
    def long() -> Report:
        for _ in range(4):
            sweeps.at += LEASE * 0.8
            time_module.sleep(0.2)
        with pytest.raises(OutsideError, match="being asked"):
            sweeps.sweep(NOW + 15 * MINUTE)
        return sweeps.done(NOW)

    sweeps.turn(NOW).ask(long)
    assert sweeps.asked == [NOW]


def test_a_process_that_stood_still_too_long_learns_that_it_lost_its_turn(sweeps: Sweeps) -> None:
    slow = sweeps.turn(NOW)

    def stands_still() -> Report:
        sweeps.at += LEASE + MINUTE
        # The other takes the turn before this process has come round to say that it lives.
        sweeps.sweep(NOW + 15 * MINUTE)
        until = time_module.monotonic() + 5
        while time_module.monotonic() < until:
            slow.check()
            time_module.sleep(0.02)
        return sweeps.done(NOW)

    slow.kept_every_seconds = 0.5
    with pytest.raises(OutsideError, match="was lost"):
        slow.ask(stands_still)
    assert sweeps.asked == [NOW + 15 * MINUTE]


@pytest.mark.parametrize(
    ("window", "asked"),
    [
        (Window(time(6), time(23, 30)), True),
        (Window(time(10, 4), time(10, 5)), True),
        (Window(time(22), time(10, 4)), False),
        (Window(time(22), time(10, 5)), True),
        (Window(time(12), time(13)), False),
    ],
)
def test_outside_its_hours_a_bank_is_not_asked_and_nothing_is_wrong(
    sweeps: Sweeps, window: Window, asked: bool
) -> None:
    report = sweeps.sweep(NOW, window)
    assert (bool(sweeps.asked), report.outcome) == (asked, Outcome.OK)
    assert asked or report.detail == "10:04 is outside the times at which this bank may be called"


def test_a_bank_that_asked_to_rest_is_not_asked_by_any_node_before(sweeps: Sweeps, database: Database) -> None:
    sweeps.connector.rest_until = NOW + 60 * MINUTE
    sweeps.sweep(NOW)
    another_node = Sweeps(database, at=NOW + 15 * MINUTE)
    report = another_node.sweep(NOW + 15 * MINUTE)
    assert (another_node.asked, report.outcome) == ([], Outcome.WRONG)
    assert report.detail == "the bank has asked not to be called before 2026-11-20T03:04:00+00:00"
    another_node.at = NOW + 60 * MINUTE
    another_node.sweep(NOW + 60 * MINUTE)
    assert another_node.asked == [NOW + 60 * MINUTE]
