"""A channel that fails is heard of on another one, until it recovers: real channels, real receivers, both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from alerts.alert import FeedEntry, Severity
from alerts.channel import Channel
from alerts.channels.webhook import WebhookChannel
from alerts.feeds.item import feed_item
from alerts.testing import key_of, signal_of
from escrow_monitor.actions import resend_deliveries
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.rounds.deliver_alerts import deliver_alerts
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.rounds.watch_controls import Watched, watch_controls
from tests.alerts.platforms import Call, Reply, nobody, platform

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATE_AFTER = HOUR
SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)


class Receiver:
    """A webhook's far side: what it took, and what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[str] = []

    def __call__(self, call: Call) -> Reply:
        if self.status == 200:
            said = json.loads(call.body)["data"]["_escrow"]
            self.taken.append(f"{said['rule']} {said['subject']} {said['transition']} {said['severity']}")
        return Reply({}, status=self.status)


class House:
    """A database, channels `first` and `second` to receivers on loopback, a watchdog's look, and the time."""

    def __init__(self, database: Database, stack: ExitStack) -> None:
        self.database, self.stack, self.now = database, stack, NOW
        self.first, self.second = Receiver(), Receiver()
        self.channels: dict[str, Channel] = {}
        for name in ("first", "second"):
            self.listens(name, stack.enter_context(platform(getattr(self, name))))

    def listens(self, name: str, port: int) -> None:
        self.channels[name] = WebhookChannel(
            name, f"http://127.0.0.1:{port}/hook", list(SECRETS), source="https://escrow.example",
            item_of=partial(feed_item, home_url="https://escrow.example"), now_of=lambda: self.now, allow_private=True,
        )

    def alert(self, subject: str) -> None:
        with self.database.write() as session:
            RecordsAlertBook(session, channels=tuple(self.channels)).advance(
                signals=[signal_of(key_of(subject), Severity.ORANGE, at=self.now)], clears=[], now=self.now,
                cause="test",
            )

    def look(self, after: timedelta = timedelta(0)) -> Watched:
        self.now += after
        return watch_controls(
            database=self.database, channels=tuple(self.channels), patience=Patience(), late_after={},
            deliveries_late_after=LATE_AFTER, now=self.now,
        )

    def deliver(self) -> None:
        for name in self.channels:
            deliver_alerts(
                database=self.database, channels=self.channels, channel=name, claimant="me", scheduled_at=self.now,
                now_of=lambda: self.now, watch=lambda **told: None,
            )

    def turn(self, minutes: int = 10) -> None:
        """The daemon and the watchdog for a while."""
        self.look(timedelta(minutes=minutes))
        self.deliver()

    def feed(self) -> list[FeedEntry]:
        with self.database.read() as session:
            return RecordsAlertBook(session).entries(after=0, limit=999)

    def told(self) -> list[str]:
        return [f"{entry.key.subject} {entry.transition} {entry.severity}" for entry in self.feed()]


@pytest.fixture
def house(database: Database) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(database, stack)


@pytest.mark.parametrize("failure", ["500", "down"])
def test_a_channel_that_fails_for_now_is_heard_of_on_the_other_until_it_recovers(house: House, failure: str) -> None:
    house.first.status = 500
    if failure == "down":
        port = nobody()
        house.listens("first", port)
    house.alert("a")
    house.deliver()
    assert house.second.taken == ["floor a opened orange"]
    assert house.look(timedelta(minutes=59)).late == ()
    house.turn(minutes=2)
    assert house.second.taken[1:] == ["delivery_late channel:first opened orange"]
    for _ in range(12):
        house.turn()
    assert house.told() == ["a opened orange", "channel:first opened orange"], "nothing new, so nothing said"
    for _ in range(40):
        house.turn(minutes=30)
    assert house.told()[2:] == ["channel:first escalated red"], "once"
    assert house.first.taken == []
    house.first.status = 200
    if failure == "down":
        house.listens("first", house.stack.enter_context(platform(house.first)))
    for _ in range(30):
        house.turn(minutes=30)
    assert house.told()[3:] == ["channel:first resolved red"]
    assert house.second.taken[-1] == "delivery_late channel:first resolved red"
    assert sorted(house.first.taken) == sorted(house.second.taken), "each waited its own time, none was lost"
    with house.database.read() as session:
        assert {name: (one.due, one.dead) for name, one in deliveries.counts(session).items()} == {
            "first": (0, 0), "second": (0, 0)
        }


def test_a_channel_that_refuses_for_good_is_heard_of_at_once_and_what_it_missed_is_sent_again(house: House) -> None:
    house.first.status = 410
    house.alert("a")
    house.deliver()
    for _ in range(20):
        house.turn(minutes=1)
    assert house.told() == ["a opened orange", "channel:first opened orange"], "its own refusal says nothing new"
    assert house.second.taken[1:] == ["delivery_late channel:first opened orange"]
    assert house.feed()[-1].figures["given_up"] == 1
    house.first.status = 200
    house.turn()
    assert len(house.feed()) == 2, "nobody has tried it again"
    with house.database.write() as session:
        done = resend_deliveries.resend_all(
            session, "first", channels=tuple(house.channels), by="cli:li", now=house.now
        )
    assert done.delivery_ids == ["evt_1_first", "evt_2_first"]
    house.deliver()
    house.turn()
    house.turn()
    assert house.told()[2:] == ["channel:first resolved orange"]
    assert house.first.taken == [
        "floor a opened orange", "delivery_late channel:first opened orange",
        "delivery_late channel:first resolved orange",
    ]
    with house.database.read() as session:
        [record] = audit.records(session, kind="delivery.resent")
        assert len(deliveries.attempts(session, "evt_1_first")) == 2
    assert record.actor == "cli:li"


def test_a_refusal_that_is_followed_by_something_taken_says_nothing(house: House) -> None:
    house.first.status = 410
    house.alert("a")
    house.deliver()
    house.first.status = 200
    house.alert("b")
    house.deliver()
    house.turn()
    assert house.told() == ["a opened orange", "b opened orange"]


def test_the_only_channel_that_fails_is_told_of_outside_and_goes_round_in_no_circle(house: House) -> None:
    del house.channels["second"]
    house.first.status = 410
    house.alert("a")
    for _ in range(30):
        house.turn()
    [late] = house.look().late
    assert "the channel first refuses for good: 1 alerts were given up" in late
    assert len(house.feed()) == 3, "opened, and once more when it lasts"


def test_a_channel_that_was_taken_out_of_the_configuration_is_late_no_more(house: House) -> None:
    house.first.status = 410
    house.alert("a")
    house.turn()
    house.turn()
    del house.channels["first"]
    house.turn()
    assert house.told()[-1] == "channel:first resolved orange"
    assert house.second.taken[-1] == "delivery_late channel:first resolved orange"
