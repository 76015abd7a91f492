"""A proxy before a bank that does what networks and front-end machines do: late, cut, flipped, doubled, stale.

    client --TLS--> the wire: latency, reset, slow close, flipped bytes
                        --> the machine: ends TLS, asks the bank, alters what it answered --> bank

What happens to a connection and to an answer is decided by two functions that a test gives; both are remembered.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import trustme

HOST = "127.0.0.1"


class WireFault(StrEnum):
    """What befalls a connection below TLS."""

    NONE = "none"
    LATENCY = "latency"
    RESET = "reset"
    SLOW_CLOSE = "slow_close"
    FLIP = "flip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the machine hands it on; `target` may be changed before the bank sees it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the bank answered, with its head's lines after the first."""

    status: str
    headers: tuple[str, ...]
    body: bytes


Wire = Callable[[int], WireFault]
"""The number of a connection, from 1, to what befalls it."""
Machine = Callable[[Asked, Callable[[str], Awaitable[Answered]]], Awaitable[Answered]]
"""A request, and how to ask the bank for a target with everything else as in it, to the answer that is handed back."""


async def honestly(asked: Asked, ask: Callable[[str], Awaitable[Answered]]) -> Answered:
    """The machine that alters nothing."""
    return await ask(asked.target)


@dataclass(kw_only=True)
class FaultProxy:
    """A context manager: listens for https on a free loopback port and stands before the bank at `upstream`."""

    upstream: str
    folder: Path
    wire: Wire = lambda number: WireFault.NONE
    machine: Machine = honestly
    latency_seconds: float = 0.05
    faults: Counter[str] = field(default_factory=Counter)
    _connections: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _inner_port: int = 0

    @property
    def url(self) -> str:
        """The address that clients are given, without the bank's path."""
        return f"https://localhost:{self._servers[1].sockets[0].getsockname()[1]}"

    @property
    def ca_file(self) -> Path:
        """The authority that vouches for the proxy."""
        return self.folder / "fault-proxy-ca.pem"

    def __enter__(self) -> FaultProxy:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self._tls)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        inner = await asyncio.start_server(self._serve, HOST, 0, ssl=self._tls)
        self._inner_port = inner.sockets[0].getsockname()[1]
        self._servers = [inner, await asyncio.start_server(self._carry, HOST, 0)]

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.05)  # lets the loop close what was aborted

    # the wire

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._connections += 1
        fault = self.wire(self._connections)
        self.faults[fault] += 1
        inner_reader, inner_writer = await asyncio.open_connection(HOST, self._inner_port)
        self._writers.add(inner_writer)
        there = asyncio.create_task(_pump(reader, inner_writer))
        try:
            await self._back(fault, inner_reader, writer)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # one of the two hung up
        finally:
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)
            await self._hang_up(inner_writer, writer)

    async def _back(self, fault: WireFault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried = 0
        while chunk := await reader.read(65_536):
            if fault is WireFault.LATENCY:
                await asyncio.sleep(self.latency_seconds)
            # The first two kilobytes carry the handshake: what is hit is what the bank says.
            if carried > 2_048 and fault is WireFault.FLIP:
                middle = len(chunk) // 2
                chunk = chunk[:middle] + bytes([chunk[middle] ^ 0x04]) + chunk[middle + 1 :]
            if carried > 2_048 and fault in (WireFault.RESET, WireFault.SLOW_CLOSE):
                writer.write(chunk[: len(chunk) // 2])
                await writer.drain()
                await asyncio.sleep(0 if fault is WireFault.RESET else self.latency_seconds * 4)
                if fault is WireFault.RESET:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(*_LINGER, linger)
                return
            carried += len(chunk)
            writer.write(chunk)
            await writer.drain()

    # the machine

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method=method, target=target, headers=headers, body=body)
                answered = await self.machine(asked, lambda changed, asked=asked: self._ask(asked, changed))  # type: ignore[misc]
                lines = [f"HTTP/1.1 {answered.status}", *answered.headers, f"Content-Length: {len(answered.body)}"]
                writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answered.body)
                await writer.drain()
        await self._hang_up(writer)

    async def _ask(self, asked: Asked, target: str) -> Answered:
        where = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            kept = {name: value for name, value in asked.headers.items() if name not in ("host", "content-length")}
            lines = [f"{asked.method} {target} HTTP/1.1", f"Host: {where.netloc}"]
            lines += [f"{name}: {value}" for name, value in kept.items()]
            writer.write("\r\n".join([*lines, f"Content-Length: {len(asked.body)}", "", ""]).encode("latin-1"))
            writer.write(asked.body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
            length = next(int(line.partition(":")[2]) for line in head if line.lower().startswith("content-length:"))
            rest = tuple(line for line in head[1:] if not line.lower().startswith("content-length:"))
            return Answered(
                status=head[0].partition(" ")[2], headers=rest, body=await reader.readexactly(length)
            )
        finally:
            await self._hang_up(writer)

    async def _hang_up(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            writer.transport.abort()
            self._writers.discard(writer)
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
