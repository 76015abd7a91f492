"""The watchdog says what is late though the clock hangs, and whoever listens outside misses it when it is dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alerts.testing import START, key_of, signal_of
from escrow_monitor.daemon.watchdog import DeadMan, Watchdog, WatchdogPorts
from escrow_monitor.errors import DatabaseError
from escrow_monitor.records import runs
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.records.runs import Outcome
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.rounds.watch_controls import Watched, watch_controls

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Listener:
    """A service as healthchecks: notes who called, and answers as it is told to."""

    heard: list[tuple[str, str, str]] = field(default_factory=list)
    status: int = 200
    location: str = ""
    url: str = ""

    def paths(self) -> list[str]:
        return [path.removeprefix("/ping/abc") for _, path, _ in self.heard]

    def wait_for(self, is_so: Callable[[list[str]], bool]) -> None:
        until = time.monotonic() + 10
        while not is_so(self.paths()):
            assert time.monotonic() < until, self.heard
            time.sleep(0.01)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            listening.heard.append((self.command, self.path, body))
            self.send_response(listening.status)
            if listening.location:
                self.send_header("Location", listening.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        listening.url = f"http://127.0.0.1:{server.server_port}/ping/abc"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening
        server.shutdown()
        thread.join()


class Look:
    """What the watchdog sees, as the test says."""

    def __init__(self) -> None:
        self.late: list[str] = []
        self.error: Exception | None = None
        self.hang = threading.Event()
        self.hang.set()

    def __call__(self) -> list[str]:
        self.hang.wait(10)
        if self.error is not None:
            raise self.error
        return self.late


@pytest.fixture
def look() -> Look:
    return Look()


@pytest.fixture
def told() -> list[tuple[str, Mapping[str, object]]]:
    return []


@pytest.fixture
def watchdog(listener: Listener, look: Look, told: list[tuple[str, Mapping[str, object]]]) -> Iterator[Watchdog]:
    dog = Watchdog(WatchdogPorts(
        look=look, every_seconds=0.03, dead_man=DeadMan(listener.url, timeout_seconds=5, pause_seconds=0.01),
        tell=lambda event, keys: told.append((event, keys)),
    ))
    dog.start()
    yield dog
    look.hang.set()
    assert dog.stop(5)


def test_it_calls_start_then_says_after_each_look_that_all_is_well(watchdog: Watchdog, listener: Listener) -> None:
    listener.wait_for(lambda paths: len(paths) >= 3)
    assert listener.paths()[:3] == ["/start", "", ""]
    assert {method for method, _, _ in listener.heard} == {"POST"}
    assert watchdog.is_healthy


def test_what_is_late_is_called_out_as_a_failure_and_told_once(
    watchdog: Watchdog, listener: Listener, look: Look, told: list[tuple[str, Mapping[str, object]]]
) -> None:
    look.late = ["the round check-balances has not succeeded"]
    listener.wait_for(lambda paths: paths.count("/fail") >= 3)
    assert listener.heard[-1][2] == "the round check-balances has not succeeded"
    look.late = []
    listener.wait_for(lambda paths: paths[-1] == "")
    assert [event for event, _ in told] == ["watchdog.late", "watchdog.in_time"]
    assert told[0][1] == {"late": ["the round check-balances has not succeeded"]}


def test_a_look_that_hangs_is_heard_as_silence(watchdog: Watchdog, listener: Listener, look: Look) -> None:
    listener.wait_for(lambda paths: "" in paths)
    look.hang.clear()
    time.sleep(0.1)
    before = len(listener.heard)
    time.sleep(0.2)
    assert len(listener.heard) == before
    look.hang.set()
    listener.wait_for(lambda paths: len(paths) > before)


def test_a_look_that_fails_is_a_failure_with_our_own_words_only(
    watchdog: Watchdog, listener: Listener, look: Look
) -> None:
    look.error = DatabaseError("The database escrow.db is gone.")
    listener.wait_for(lambda paths: "/fail" in paths)
    assert listener.heard[-1][2] == "the watchdog could not look: The database escrow.db is gone."
    look.error = RuntimeError("password=hunter2")
    listener.wait_for(lambda paths: "RuntimeError" in listener.heard[-1][2])
    assert "hunter2" not in str(listener.heard)


def test_a_listener_that_is_away_is_told_and_called_again(
    watchdog: Watchdog, listener: Listener, told: list[tuple[str, Mapping[str, object]]]
) -> None:
    listener.wait_for(lambda paths: "" in paths)
    listener.status = 503
    listener.wait_for(lambda _: any(event == "watchdog.call_failed" for event, _ in told))
    listener.status = 200
    before = len(listener.heard)
    listener.wait_for(lambda paths: len(paths) > before + 2)
    assert ("watchdog.call_failed", {"path": "/", "reason": "status 503"}) in told
    assert "abc" not in str(told)


def test_a_redirect_is_not_followed_and_nobody_there_is_no_crash(listener: Listener) -> None:
    listener.status, listener.location = 302, listener.url + "/elsewhere"
    stopped = threading.Event()
    assert DeadMan(listener.url, timeout_seconds=5, pause_seconds=0).call("", "", stopped=stopped) == "status 302"
    assert set(listener.paths()) == {""}
    nobody = DeadMan("http://127.0.0.1:1/ping", timeout_seconds=1, pause_seconds=0)
    assert nobody.call("", "", stopped=stopped) == "ConnectionRefusedError"
    with pytest.raises(ValueError, match="begins with"):
        DeadMan("file:///etc/passwd", timeout_seconds=1)


# What it looks at.


def looked(database: Database, *, now: datetime, backups: Path | None = None) -> Watched:
    return watch_controls(
        database=database, channels=("log",), patience=Patience(),
        late_after={"check-balances": HOUR / 4, "watch-rounds": HOUR / 4, "deliver-alerts": HOUR / 4,
                    "seal-audit": timedelta(days=1)},
        deliveries_late_after=HOUR, backups=backups, backup_late_after=timedelta(days=1), now=now,
    )


def succeed(database: Database, *names: str, at: datetime) -> None:
    with database.write() as session:
        for name in names:
            runs.finish(session, round=name, shard="all", scheduled_at=at, outcome=Outcome.OK, counts={}, now=at)


def open_rules(database: Database) -> set[tuple[str, str]]:
    with database.read() as session:
        return {(alert.key.rule, alert.key.subject) for alert in RecordsAlertBook(session).open_alerts()}


ALL = ("check-balances", "watch-rounds", "deliver-alerts", "seal-audit")


def test_nothing_is_late_and_nothing_is_written(database: Database) -> None:
    succeed(database, *ALL, at=NOW)
    assert looked(database, now=NOW + HOUR / 10) == Watched(late=())
    assert open_rules(database) == set()


def test_a_round_that_stands_still_is_an_alert_though_no_round_runs_and_ends_when_it_runs_again(
    database: Database,
) -> None:
    succeed(database, *ALL, at=NOW)
    watched = looked(database, now=NOW + HOUR)
    assert len(watched.late) == 3
    assert watched.deliveries_late
    assert open_rules(database) == {("round_late", f"round:{name}") for name in ALL[:3]}
    succeed(database, *ALL[:3], at=NOW + HOUR)
    assert looked(database, now=NOW + HOUR).late == ()
    assert open_rules(database) == set()


def test_a_seal_that_was_not_put_is_late_after_a_day_and_an_hour(database: Database) -> None:
    succeed(database, *ALL, at=NOW)
    for hours, is_late in ((24, False), (26, True)):
        now = NOW + hours * HOUR
        succeed(database, *ALL[:3], at=now)
        assert bool(looked(database, now=now).late) == is_late
    assert open_rules(database) == {("round_late", "round:seal-audit")}


def test_what_a_channel_is_owed_for_too_long_is_late(database: Database) -> None:
    with database.write() as session:
        RecordsAlertBook(session, channels=("log",)).advance(
            signals=[signal_of(key_of("a"))], clears=[], now=START, cause="system"
        )
    for hours, level in ((0.5, None), (2, "orange"), (5, "red")):
        now = START + hours * HOUR
        succeed(database, *ALL, at=now)
        late = looked(database, now=now).late
        assert [("log" in sentence) for sentence in late] == ([True] if level else [])
    assert ("delivery_late", "channel:log") in open_rules(database)


def test_a_backup_that_was_not_made_is_late(database: Database, tmp_path: Path) -> None:
    now, backups = datetime.now(UTC), tmp_path / "backups"
    backups.mkdir()
    succeed(database, *ALL, at=now)
    assert "no backup" in looked(database, now=now, backups=backups).late[0]
    (backups / "escrow.db").write_text("kept")
    assert looked(database, now=now + HOUR / 10, backups=backups).late == ()
    succeed(database, *ALL, at=now + 30 * HOUR)
    assert any("the newest backup" in late for late in looked(database, now=now + 30 * HOUR, backups=backups).late)
    assert ("backup_late", "backup:database") in open_rules(database)
