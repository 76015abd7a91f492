"""The watchdog: a thread outside of clock and engine that looks, says what is late, and calls out that it lives."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from escrow_monitor.daemon.plan import Tell, log_event
from escrow_monitor.errors import EscrowMonitorError

BODY_CHARACTERS_MAX = 10_000
TRIES = 3
PAUSE_SECONDS = 1.0


class DeadMan:
    """The address that expects to hear from us: as healthchecks and its like have it.

    POST to the address itself when all is well, to /fail with the reasons when it is not, to /start at the beginning.
    """

    def __init__(self, url: str, *, timeout_seconds: float, pause_seconds: float = PAUSE_SECONDS) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("the address of the dead man's switch begins with http:// or https://")
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        # A redirect would take the address, which is the only secret of such a service, somewhere else.
        self._opener = urllib.request.build_opener(_NoRedirects)

    def call(self, path: str, body: str, *, stopped: threading.Event) -> str | None:
        """Call `path` ("", "/fail", "/start"); None if it was heard, else why not, without the address."""
        why = ""
        for again in range(TRIES):
            if again and stopped.wait(self._pause_seconds):
                break
            request = urllib.request.Request(  # noqa: S310 - http and https only, see above
                self._url + path, data=body[:BODY_CHARACTERS_MAX].encode(), method="POST",
                headers={"Content-Type": "text/plain; charset=utf-8", "User-Agent": "escrow-monitor"},
            )
            try:
                with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                    answer.read(1024)
                return None
            except urllib.error.HTTPError as error:
                why = f"status {error.code}"
                error.close()
            except (OSError, ValueError) as error:
                why = type(getattr(error, "reason", error)).__name__
        return why


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogPorts:
    """What a watchdog is given.

    `look` returns a sentence for each thing that is late, and may take as long as the database lets it: while it hangs
    nobody is called, which is how the outside learns of it.
    """

    look: Callable[[], Sequence[str]]
    every_seconds: float
    dead_man: DeadMan | None = None
    tell: Tell = log_event


class Watchdog:
    """The thread, as a part of the process."""

    name = "watchdog"

    def __init__(self, ports: WatchdogPorts) -> None:
        self._ports = ports
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._was_late: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to look; the first look is after one interval, when the rounds have had time to run."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End; a look that hangs does not hold up the stop."""
        self._stopped.set()
        self._thread.join(min(seconds, 2.0))
        return True

    @property
    def is_healthy(self) -> bool:
        """Whether the thread lives. One that waits for the database is no reason to end the process."""
        return self._thread.is_alive()

    def _watch(self) -> None:
        self._call("/start", "")
        while not self._stopped.wait(self._ports.every_seconds):
            late = self._look()
            self._say(late)
            self._call("/fail" if late else "", "\n".join(late))

    def _look(self) -> tuple[str, ...]:
        try:
            return tuple(self._ports.look())
        except Exception as error:  # the edge of the thread: it must outlive whatever a look raises
            # Our own sentences hold no secrets; of anything else only the kind goes out of the house.
            sentence = str(error) if isinstance(error, EscrowMonitorError) else type(error).__name__
            return (f"the watchdog could not look: {sentence}",)

    def _say(self, late: tuple[str, ...]) -> None:
        if late and late != self._was_late:
            self._ports.tell("watchdog.late", {"late": list(late)})
        elif self._was_late and not late:
            self._ports.tell("watchdog.in_time", {})
        self._was_late = late

    def _call(self, path: str, body: str) -> None:
        if self._ports.dead_man is None:
            return
        why = self._ports.dead_man.call(path, body, stopped=self._stopped)
        if why is not None and not self._stopped.is_set():
            self._ports.tell("watchdog.call_failed", {"path": path or "/", "reason": why})
