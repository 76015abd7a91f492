"""Serves the invented banks over real loopback HTTP, from a thread of its own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import cast

from escrow_monitor.clock import Clock
from escrow_monitor.errors import OutsideError
from escrow_monitor.sandbox.answers import Desk
from escrow_monitor.sandbox.dialects.dialect import Answer
from escrow_monitor.sandbox.district import Condition, District

HOST = "127.0.0.1"
SLOW_SECONDS = 1.5
SILENT_SECONDS = 1.0
START_SECONDS_MAX = 10
_HEAD_BYTES_MAX = 64 * 1024
_BODY_BYTES_MAX = 1024 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(kw_only=True)
class SandboxBanks:
    """The banks of a district, listening on one loopback port; `port=0` takes a free one. A context manager.

    A slow bank answers after `slow_seconds`. A silent one takes the request, says nothing for `silent_seconds` and
    hangs up. `answered` counts answers by (bank, status), silences as status 0. `dialects` lets a bank, by name, speak
    another dialect than its own. With `tls` they listen for https.
    """

    district: District
    clock: Clock
    port: int = 0
    dialects: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    slow_seconds: float = SLOW_SECONDS
    silent_seconds: float = SILENT_SECONDS
    desk: Desk = field(init=False)
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    _overrides: dict[str, Condition] = field(default_factory=dict)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _open: set[asyncio.Transport] = field(default_factory=set)
    _failed: OSError | None = None

    def __post_init__(self) -> None:
        self.desk = Desk(district=self.district, dialects=self.dialects)

    @property
    def url(self) -> str:
        """Where the banks listen, without a path."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

    def base_url(self, bank: str) -> str:
        """The base URL of one bank's interface."""
        return self.url + self.desk.bank(bank).path

    def settings(self, bank: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]` to reach a bank."""
        return self.desk.settings(bank, base_url=self.base_url(bank))

    def override(self, bank: str, condition: Condition | None) -> None:
        """Put a bank into a condition whatever the story says; None gives it back to the story."""
        if condition is None:
            self._overrides.pop(bank, None)
        else:
            self._overrides[bank] = condition

    def start(self) -> None:
        """Listen. Raises OutsideError if the port is taken."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="sandbox-banks", daemon=True)
        self._thread.start()
        if not ready.wait(START_SECONDS_MAX):
            raise OutsideError(f"the sandbox banks did not start within {START_SECONDS_MAX} seconds")
        if self._failed is not None:
            raise OutsideError(f"the sandbox banks cannot listen on port {self.port}: {self._failed.strerror}")

    def close(self) -> None:
        """Hang up and stop listening."""
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
        self._thread = None

    def __enter__(self) -> SandboxBanks:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, ready: threading.Event) -> None:
        loop = self._loop = asyncio.new_event_loop()
        server: asyncio.Server | None = None
        try:
            listening = loop.create_server(lambda: _Line(self, loop), HOST, self.port, ssl=self.tls)
            server = loop.run_until_complete(listening)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            loop.run_forever()
        except OSError as error:
            self._failed = error
        finally:
            if server is not None:
                server.close()
            for transport in tuple(self._open):
                transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            ready.set()

    def _condition(self, bank: str) -> Condition:
        return self._overrides.get(bank) or self.district.condition(bank, self.clock.now())

    def take(
        self, *, method: str, target: str, headers: Mapping[str, str], body: bytes,
        reply: Callable[[Answer | None], None], later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """Answer a request through `reply`, now or `later`; None hangs up."""
        bank = self.desk.bank_at(target.partition("?")[0])
        name = bank.name if bank else ""
        condition = self._condition(name) if bank else Condition.WELL

        def answer() -> None:
            result = self.desk.answer(
                method=method, target=target, headers=headers, body=body, at=self.clock.now(), condition=condition,
            )
            self.answered[name, result.status] += 1
            reply(result)

        def hang_up() -> None:
            self.answered[name, 0] += 1
            reply(None)

        match condition:
            case Condition.SILENT:
                later(self.silent_seconds, hang_up)
            case Condition.SLOW:
                later(self.slow_seconds, answer)
            case Condition.WELL | Condition.GARBAGE | Condition.LIMITED:
                answer()


class _Line(asyncio.Protocol):
    """One connection: requests of a stated length, one at a time, kept alive."""

    def __init__(self, banks: SandboxBanks, loop: asyncio.AbstractEventLoop) -> None:
        self.banks = banks
        self.loop = loop
        self.received = b""
        self.busy = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.banks._open.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:
            self.banks._open.discard(self.transport)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._next()

    def _next(self) -> None:
        if self.busy or self.transport is None:
            return
        head, end, rest = self.received.partition(b"\r\n\r\n")
        if not end:
            if len(self.received) > _HEAD_BYTES_MAX:
                self.transport.close()
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        method, _, target = request.partition(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _BODY_BYTES_MAX or "transfer-encoding" in headers:
            self.transport.close()
            return
        if len(rest) < int(length):
            return
        self.received = rest[int(length):]
        self.busy = True
        self.banks.take(
            method=method, target=target.rpartition(" ")[0], headers=headers, body=rest[: int(length)],
            reply=self._reply, later=self.loop.call_later,
        )

    def _reply(self, answer: Answer | None) -> None:
        self.busy = False
        if self.transport is None:
            return
        if answer is None:
            self.transport.close()
            return
        headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        self.transport.write(
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nContent-Type: {answer.content_type}\r\n"
            f"{headers}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body
        )
        self._next()
