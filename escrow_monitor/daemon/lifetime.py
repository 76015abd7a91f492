"""From start to stop of a long-running process: signals, readiness, watchdog, and the order of stopping."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Protocol

from escrow_monitor.daemon.plan import Tell, log_event

STOP_SECONDS = 30.0
UNHEALTHY_SECONDS_MAX = 60.0
WATCH_SECONDS = 5.0
EXIT_DONE = 0
EXIT_OUTSIDE = 3


class Part(Protocol):
    """Something that runs in the background of this process: the daemon, the web server, the demo's banks."""

    @property
    def name(self) -> str: ...

    def start(self) -> None:
        """Begin, and return once it works; raise if it cannot."""

    def stop(self, seconds: float) -> bool:
        """End within `seconds`; False if something still runs. Called at most once, and only after `start`."""

    @property
    def is_healthy(self) -> bool: ...


class Supervisor:
    """The service manager's side of sd_notify(3), or nothing where no service manager listens."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        meant_for_us = pid in ("", str(os.getpid()))
        self.watchdog_seconds = int(usec) / 1_000_000 if usec.isdigit() and meant_for_us else None

    def tell(self, *lines: str) -> None:
        """Send lines such as READY=1. A manager that is gone is not our failure."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.connect(address)
                out.sendall("\n".join(lines).encode())
        except OSError:
            return


class StopRequest:
    """Somebody asks the process to stop: a signal, or another thread.

    Not an Event: a signal that arrives while the main thread holds the event's own lock would
    lock it for ever. A simple queue may be put to at any moment.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[None] = SimpleQueue()
        self.is_asked = False

    def ask(self) -> None:
        self.is_asked = True
        self._asked.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True once somebody has asked."""
        try:
            self._asked.get(timeout=seconds)
        except Empty:
            return self.is_asked
        return True


def run_until_stopped(
    parts: Sequence[Part], *, supervisor: Supervisor | None = None, stop_seconds: float = STOP_SECONDS,
    unhealthy_seconds_max: float = UNHEALTHY_SECONDS_MAX, tell: Tell = log_event,
    stop: StopRequest | None = None,
) -> int:
    """Start the parts in order, wait for SIGTERM or SIGINT (or `stop`), stop them in reverse; return the exit code.

    Give the daemon last, so that it stops first: the clock falls silent, running rounds end, then
    the web goes. If a part does not end in time the process ends at once, as if killed: every round
    is one transaction and is taken up again at the next start. A second signal does the same.
    A part that stays unhealthy for `unhealthy_seconds_max` ends the process with 3, so that
    whoever started it may start it afresh. Call it from the main thread.
    """
    supervisor = supervisor or Supervisor()
    stopped = stop or StopRequest()
    started: list[Part] = []
    with _signals(stopped):
        try:
            for part in parts:
                part.start()
                started.append(part)
        except BaseException:
            _stop_all(started, stop_seconds, tell)
            raise
        supervisor.tell("READY=1", f"STATUS=Running: {', '.join(part.name for part in parts)}")
        tell("lifetime.ready", {"parts": [part.name for part in parts]})
        healthy = _watch(parts, stopped, supervisor, unhealthy_seconds_max, tell)
        extend_usec = int((stop_seconds + 5) * 1_000_000)
        supervisor.tell("STOPPING=1", "STATUS=Letting running rounds end", f"EXTEND_TIMEOUT_USEC={extend_usec}")
        tell("lifetime.stopping", {"stop_seconds": stop_seconds})
        ended = _stop_all(started, stop_seconds, tell)
    code = EXIT_DONE if healthy else EXIT_OUTSIDE
    if not ended:
        _end_at_once(code)
    return code


def _watch(
    parts: Sequence[Part], stopped: StopRequest, supervisor: Supervisor, unhealthy_seconds_max: float, tell: Tell,
) -> bool:
    """Wait for the stop and feed the watchdog while all parts are well; False if one was ill for too long."""
    pause = min(WATCH_SECONDS, (supervisor.watchdog_seconds or WATCH_SECONDS * 2) / 2)
    well_at = time.monotonic()
    while not stopped.wait(pause):
        ill = [part.name for part in parts if not part.is_healthy]
        if not ill:
            well_at = time.monotonic()
            supervisor.tell("WATCHDOG=1")
        elif time.monotonic() - well_at > unhealthy_seconds_max:
            tell("lifetime.unhealthy", {"parts": ill, "seconds": round(time.monotonic() - well_at)})
            return False
    return True


def _stop_all(started: Sequence[Part], seconds: float, tell: Tell) -> bool:
    """Stop in reverse order within `seconds` for all together; every part is asked, whatever another did."""
    until = time.monotonic() + seconds
    ended = True
    for part in reversed(started):
        try:
            ended = part.stop(max(1.0, until - time.monotonic())) and ended
        except Exception as error:  # the edge of the process: the other parts must be asked too
            tell("lifetime.stop_failed", {"part": part.name, "error": repr(error)})
            ended = False
    return ended


@contextmanager
def _signals(stopped: StopRequest) -> Iterator[None]:
    def asked(number: int, frame: FrameType | None) -> None:
        if stopped.is_asked:
            _end_at_once(128 + number)
        stopped.ask()

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(code: int) -> None:
    """Leave without waiting for threads, which an ordinary exit would do for as long as they run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

