"""A process says when it is ready, feeds the watchdog only while it is well, and stops in the right order."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from escrow_monitor.daemon.lifetime import StopRequest, Supervisor, run_until_stopped


class RecordedPart:
    """A part that writes down what is asked of it."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.name = name
        self.is_healthy = True
        self.diary = diary
        self.start_error: Exception | None = None
        self.stop_error: Exception | None = None

    def start(self) -> None:
        if self.start_error:
            raise self.start_error
        self.diary.append(f"{self.name} started")

    def stop(self, seconds: float) -> bool:
        assert seconds > 0
        self.diary.append(f"{self.name} stopped")
        if self.stop_error:
            raise self.stop_error
        return True


class ServiceManager:
    """The receiving end of sd_notify."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(5)
        self.address = address

    def heard(self, count: int) -> list[str]:
        return [self.socket.recv(4096).decode() for _ in range(count)]


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(f"{tmp_path}/notify" if request.param == "file" else f"@escrow-test-{os.getpid()}")
    yield manager
    manager.socket.close()


def silent(event: str, keys: Mapping[str, object]) -> None:
    """Nobody is told."""


def stop_after(seconds: float) -> StopRequest:
    stop = StopRequest()
    threading.Timer(seconds, stop.ask).start()
    return stop


def test_parts_start_in_order_and_stop_in_reverse() -> None:
    diary: list[str] = []
    parts = [RecordedPart("web", diary), RecordedPart("daemon", diary)]
    assert run_until_stopped(parts, stop=stop_after(0.1), tell=silent, supervisor=Supervisor({})) == 0
    assert diary == ["web started", "daemon started", "daemon stopped", "web stopped"]


def test_sigterm_asks_for_the_stop_and_the_old_handlers_come_back() -> None:
    diary: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert run_until_stopped([RecordedPart("daemon", diary)], tell=silent, supervisor=Supervisor({})) == 0
    assert diary == ["daemon started", "daemon stopped"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_part_that_cannot_start_stops_those_that_did_and_says_why() -> None:
    diary: list[str] = []
    parts = [RecordedPart("web", diary), RecordedPart("daemon", diary)]
    parts[1].start_error = OSError("no database")
    with pytest.raises(OSError, match="no database"):
        run_until_stopped(parts, tell=silent, supervisor=Supervisor({}))
    assert diary == ["web started", "web stopped"]


def test_the_service_manager_hears_ready_watchdog_and_stopping(manager: ServiceManager) -> None:
    supervisor = Supervisor({
        "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid()),
    })
    assert supervisor.watchdog_seconds == 0.2
    run_until_stopped([RecordedPart("daemon", [])], stop=stop_after(0.25), tell=silent, supervisor=supervisor)
    ready, first, second, stopping = manager.heard(4)
    assert ready == "READY=1\nSTATUS=Running: daemon"
    assert first == second == "WATCHDOG=1"
    assert stopping.startswith("STOPPING=1\n")
    assert "EXTEND_TIMEOUT_USEC=35000000" in stopping


def test_an_unhealthy_part_starves_the_watchdog_and_ends_the_process_with_3(manager: ServiceManager) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"})
    part = RecordedPart("daemon", [])
    part.is_healthy = False
    told: list[str] = []
    code = run_until_stopped(
        [part], supervisor=supervisor, unhealthy_seconds_max=0.3, tell=lambda event, keys: told.append(event)
    )
    assert code == 3
    assert part.diary == ["daemon started", "daemon stopped"]
    assert "lifetime.unhealthy" in told
    assert [line.splitlines()[0] for line in manager.heard(2)] == ["READY=1", "STOPPING=1"]


def test_a_part_that_recovers_in_time_goes_on() -> None:
    part = RecordedPart("daemon", [])
    part.is_healthy = False
    threading.Timer(0.2, setattr, (part, "is_healthy", True)).start()
    supervisor = Supervisor({"WATCHDOG_USEC": "100000"})
    assert run_until_stopped(
        [part], supervisor=supervisor, unhealthy_seconds_max=0.6, tell=silent, stop=stop_after(1.2)
    ) == 0


def test_without_a_service_manager_or_with_one_that_is_gone_nothing_is_said(tmp_path: Path) -> None:
    Supervisor({}).tell("READY=1")
    Supervisor({"NOTIFY_SOCKET": f"{tmp_path}/nobody"}).tell("READY=1")


def test_a_watchdog_meant_for_another_process_is_not_ours() -> None:
    assert Supervisor({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Supervisor({"WATCHDOG_USEC": "soon"}).watchdog_seconds is None


def test_a_stop_request_is_heard_once_and_stays_true() -> None:
    stop = StopRequest()
    before = time.monotonic()
    assert not stop.wait(0.05)
    assert time.monotonic() - before >= 0.05
    stop.ask()
    assert stop.wait(5)
    assert stop.wait(0.01)
