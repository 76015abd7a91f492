"""The real server on a real socket: streams, feed readers, scrapers, stopping."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import feedparser
import httpx
import pytest

from escrow_monitor.errors import OutsideError
from escrow_monitor.records.people import keys
from escrow_monitor.web import events
from escrow_monitor.web.server import Listener, WebServer
from tests.web.web_world import World


class Running:
    """The real server over a world."""

    def __init__(self, world: World, **options: float) -> None:
        self.listener = Listener()
        self.url = self.listener.url
        self.server = WebServer(world.app(**options), self.listener)

    def stop(self) -> None:
        self.server.stop()


@contextmanager
def serving(world: World, **options: float) -> Iterator[Running]:
    running = Running(world, **options)
    running.server.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server(world: World) -> Iterator[Running]:
    with serving(world) as running:
        yield running


def auth(world: World, key: str = "reader") -> dict[str, str]:
    return {"Authorization": f"Bearer {world.secrets[key]}"}


class Stream(threading.Thread):
    """A reader of the event stream, as a browser is one: keeps what came."""

    def __init__(self, server: Running, headers: dict[str, str], query: str = "") -> None:
        super().__init__(daemon=True)
        self.url = f"{server.url}/feeds/alerts/events{query}"
        self.headers = headers
        self.lines: list[str] = []
        self.status = 0
        self.begun = threading.Event()
        self.start()
        assert self.begun.wait(10)

    def run(self) -> None:
        with (
            httpx.Client(trust_env=False, timeout=30) as client,
            client.stream("GET", self.url, headers=self.headers) as answer,
        ):
            self.status = answer.status_code
            self.content_type = answer.headers["content-type"]
            for line in answer.iter_lines():
                self.lines.append(line)
                self.begun.set()
        self.begun.set()

    @property
    def ids(self) -> list[int]:
        return [int(line.removeprefix("id: ")) for line in self.lines if line.startswith("id: ")]

    def wait_for(self, *ids: int) -> None:
        until = time.monotonic() + 10
        while self.ids != list(ids) and time.monotonic() < until:
            time.sleep(0.01)
        assert self.ids == list(ids)


def test_feedparser_reads_the_atom_over_http_and_is_told_when_nothing_is_new(server: Running, world: World) -> None:
    url, headers = f"{server.url}/feeds/alerts.atom", auth(world)
    feed = feedparser.parse(url, request_headers=headers)
    assert (feed.status, feed.bozo, len(feed.entries)) == (200, False, 7)
    assert feedparser.parse(url, etag=feed.etag, request_headers=headers).status == 304


def test_a_scraper_gets_metrics_over_http(server: Running, world: World) -> None:
    answer = httpx.get(f"{server.url}/metrics", headers=auth(world, "scraper"), trust_env=False)
    assert answer.status_code == 200
    assert "escrow_records_reachable 1.0" in answer.text


def test_events_replay_what_was_missed_and_go_on_live(server: Running, world: World) -> None:
    stream = Stream(server, {**auth(world), "Last-Event-ID": "4"})
    stream.wait_for(5, 6, 7)
    world.clear(0)
    world.clear(1)
    stream.wait_for(5, 6, 7, 8, 9)
    assert stream.content_type == "text/event-stream; charset=utf-8"
    assert stream.lines[0] == "retry: 3000"
    data = [json.loads(line.removeprefix("data: ")) for line in stream.lines if line.startswith("data: ")]
    feed = httpx.get(f"{server.url}/feeds/alerts.json?after=4", headers=auth(world), trust_env=False).json()
    assert data == feed["items"]


def test_a_filtered_stream_tells_which_numbers_it_leaves_out(server: Running, world: World) -> None:
    feed = httpx.get(f"{server.url}/feeds/alerts.json?after=0", headers=auth(world), trust_env=False).json()
    red = [item["_escrow"]["seq"] for item in feed["items"] if item["_escrow"]["severity"] == "red"]
    assert 0 < len(red) < 7
    stream = Stream(server, auth(world), "?after=0&severity=red")
    until = time.monotonic() + 10
    while (not stream.ids or stream.ids[-1] != 7) and time.monotonic() < until:
        time.sleep(0.01)
    events_of = [line.removeprefix("event: ") for line in stream.lines if line.startswith("event: ")]
    told = [json.loads(line.removeprefix("data: ")) for line in stream.lines if line.startswith("data: ")]
    shown = [item["_escrow"]["seq"] for kind, item in zip(events_of, told, strict=True) if kind == "alert"]
    left_out = [
        seq for kind, item in zip(events_of, told, strict=True) if kind == "skipped"
        for seq in range(item["from"], item["through"] + 1)
    ]
    assert shown == red
    assert sorted(shown + left_out) == list(range(1, 8))
    refused = httpx.get(f"{server.url}/feeds/alerts/events?distrikt=51", headers=auth(world), trust_env=False)
    assert refused.status_code == 400


def test_a_stream_without_a_number_begins_with_what_comes_next(server: Running, world: World) -> None:
    stream = Stream(server, auth(world))
    world.clear(0)
    stream.wait_for(8)


def test_a_reader_ahead_of_the_feed_goes_on_with_what_comes_next(server: Running, world: World) -> None:
    stream = Stream(server, auth(world), "?after=999")
    world.clear(0)
    stream.wait_for(8)


def test_a_long_replay_comes_whole_and_in_order(empty: World) -> None:
    empty.institutions(6)
    for _ in range(40):
        for number in range(6):
            empty.signal(number)
            empty.clear(number)
    with serving(empty) as server:
        stream = Stream(server, auth(empty), "?after=0")
        stream.wait_for(*range(1, 481))
        empty.signal(0)
        stream.wait_for(*range(1, 482))


def test_many_streams_hear_the_same(server: Running, world: World) -> None:
    streams = [Stream(server, auth(world), "?after=6") for _ in range(20)]
    world.clear(0)
    for stream in streams:
        stream.wait_for(7, 8)


def test_streams_are_counted_and_bounded(world: World) -> None:
    with serving(world, streams_max=2) as server:
        streams = [Stream(server, auth(world)) for _ in range(2)]
        refused = httpx.get(f"{server.url}/feeds/alerts/events", headers=auth(world), trust_env=False)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert [stream.status for stream in streams] == [200, 200]


def test_a_stream_that_was_left_is_counted_out(world: World) -> None:
    with serving(world, streams_max=1) as server:
        url = f"{server.url}/feeds/alerts/events"
        with (
            httpx.Client(trust_env=False) as client,
            client.stream("GET", f"{url}?after=6", headers=auth(world)) as answer,
        ):
            assert answer.status_code == 200
        until = time.monotonic() + 10
        while time.monotonic() < until:
            world.signal(5)  # what is written to nobody shows the server that nobody is there
            world.clear(5)
            with (
                httpx.Client(trust_env=False) as client,
                client.stream("GET", url, headers=auth(world)) as answer,
            ):
                if answer.status_code == 200:
                    return
            time.sleep(0.1)
        pytest.fail("the stream is still counted")


def test_a_revoked_key_stops_listening_at_the_next_beat(world: World) -> None:
    secret = world.key("short", "read")
    with serving(world, beat_seconds=0.2) as server:
        stream = Stream(server, {"Authorization": f"Bearer {secret}"})
        until = time.monotonic() + 10
        while ": beat" not in stream.lines and time.monotonic() < until:
            time.sleep(0.02)
        assert ": beat" in stream.lines
        with world.database.write() as session:
            [key] = [key for key in keys.known(session) if key.name == "short"]
            keys.revoke(session, key.key_id, now=world.now)
        stream.join(10)
        assert not stream.is_alive()


def test_stopping_ends_open_streams_at_once(world: World) -> None:
    with serving(world) as server:
        stream = Stream(server, auth(world))
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 3
        stream.join(5)
        assert not stream.is_alive()


def test_a_taken_port_is_said_plainly() -> None:
    taken = Listener()
    taken.socket.listen()
    with pytest.raises(OutsideError, match=f"cannot listen on 127.0.0.1 port {taken.port}: .*choose another port"):
        Listener(port=taken.port)
    taken.close()


def test_it_binds_to_loopback_unless_told_otherwise() -> None:
    listener, wide = Listener(), Listener(host="0.0.0.0")
    assert listener.is_loopback
    assert listener.url == f"http://127.0.0.1:{listener.port}"
    assert not wide.is_loopback
    assert wide.url == f"http://127.0.0.1:{wide.port}"
    listener.close()
    wide.close()


def test_a_head_change_is_seen_within_the_promised_age(world: World) -> None:
    with serving(world, answer_age_seconds_max=0.25) as server, httpx.Client(trust_env=False) as client:
        url = f"{server.url}/feeds/alerts.json"
        client.get(url, headers=auth(world))
        world.clear(0)
        time.sleep(0.3)
        assert client.get(url, headers=auth(world)).json()["items"][0]["_escrow"]["seq"] == 8


def test_the_poll_is_faster_than_what_readers_are_promised() -> None:
    assert events.POLL_SECONDS <= 0.5
