"""The world outside: two banks and two receivers at loopback addresses, whose truth is written down as they speak.

Beside them is a door of its own by which the program that is watched says which step begins and what came of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from urllib.parse import parse_qs, urlsplit

from tests.history.history_script import (
    BANKS,
    CHANNELS,
    HOST,
    Script,
    Step,
    local_day,
    message_fault,
)

LATE_SECONDS = 0.05
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Answered:
    """A balance that a bank stated, whole and at once."""

    step: int
    account_no: str
    amount: int


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it reached a receiver, and whether it was told that it had."""

    step: int
    channel: str
    message_id: str
    body: bytes
    status: int


@dataclass(kw_only=True)
class House:
    """The banks and receivers of one history. `doom_calls`: after so many more calls the caller is killed."""

    script: Script
    ports: dict[str, int] = field(default_factory=dict)
    at: int = 0
    begun: list[int] = field(default_factory=list)
    done: dict[int, dict[str, object]] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    answered: list[Answered] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    pid: int = 0
    doom_calls: int | None = None
    doom_when: str = "call"
    closing: int | None = None
    _servers: dict[str, asyncio.Server] = field(default_factory=dict)
    _writers: dict[str, set[asyncio.StreamWriter]] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """The address of a bank, a receiver or the door."""
        return f"http://{HOST}:{self.ports[name]}"

    async def open(self) -> None:
        """Listen everywhere."""
        for name in ("door", *BANKS, *CHANNELS):
            await self._listen(name)

    async def close(self) -> None:
        """Hang up everywhere."""
        for name in tuple(self._servers):
            await self._refuse(name)

    async def _listen(self, name: str) -> None:
        self._writers.setdefault(name, set())

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(name, reader, writer)

        server = await asyncio.start_server(serve, HOST, self.ports.get(name, 0))
        self.ports[name] = server.sockets[0].getsockname()[1]
        self._servers[name] = server

    async def _refuse(self, name: str) -> None:
        self._servers.pop(name).close()
        for writer in tuple(self._writers[name]):
            writer.transport.abort()

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers[name].add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                _, target, _ = head[0].split(" ")
                if name == "door":
                    _say(writer, 200, json.dumps(await self._door(target, json.loads(body))).encode())
                    continue
                self._doom("call")
                if name in BANKS:
                    await self._bank(name, target, writer)
                else:
                    await self._receiver(name, headers["webhook-id"], body, writer)
                await writer.drain()
                self._doom("answer")
        except (asyncio.IncompleteReadError, ConnectionError, _HungUpError):
            pass
        finally:
            writer.transport.abort()
            self._writers[name].discard(writer)

    def _doom(self, when: str) -> None:
        """Kill whoever calls, with the call unanswered or just answered."""
        if self.doom_calls is None or when != self.doom_when:
            return
        self.doom_calls -= 1
        if self.doom_calls <= 0:
            self.doom_calls = None
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _door(self, target: str, said: dict[str, object]) -> object:
        number = int(str(said["step"]))
        if target == "/begin":
            self.at = number
            self.begun.append(number)
            step = self.script.steps[number] if number < len(self.script.steps) else None
            refused = {one.refuses for one in step.parts} if step else set()
            for name in (*BANKS, *CHANNELS):
                if name in refused and name in self._servers:
                    await self._refuse(name)
                elif name not in refused and name not in self._servers:
                    await self._listen(name)
            return {}
        if target == "/choose":
            return {"chosen": self.chosen.setdefault(f"{number}/{said['part']}", str(said["choice"]))}
        self.done[number] = said
        return {}

    # banks

    async def _bank(self, bank: str, target: str, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(target)
        number, _, what = parts.path.removeprefix("/v1/accounts/").partition("/")
        step = self.script.steps[self.at]
        fault = self._fault_of(step, bank, number)
        if fault == "statement":
            fault = None if what == "balances" else "status-500"
        if fault is not None:
            self._note(f"bank {fault}")
            await _befall(fault, writer, _bytes(_document(self.script, self.at, number, what, {})))
            if fault != "late":
                return
        if what == "balances":
            self.answered.append(Answered(self.at, number, self.script.held[self.at][number]))
        _say(writer, 200, _bytes(_document(self.script, self.at, number, what, parse_qs(parts.query))))

    def _fault_of(self, step: Step, bank: str, number: str) -> str | None:
        """Two sweeps of one bank at once meet one and the same fault."""
        return next((
            one.faults[number] for one in step.parts if one.do == "pull" and one.shard == bank and number in one.faults
        ), None)

    # receivers

    async def _receiver(self, channel: str, message_id: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        fault, step = None, None if self.closing is not None else self.script.steps[self.at]
        for one in () if step is None else step.parts:
            if one.do == "deliver" and one.shard == channel:
                fault = fault or message_fault(self.script, one, message_id)
        if fault is not None:
            self._note(f"receiver {fault}")
        status = {"status-500": 500, "status-400": 400, "cut": 0, "lost": 204}.get(fault or "", 204)
        if fault != "cut":
            self.received.append(Received(self.at, channel, message_id, body, status))
        if fault == "late":
            await asyncio.sleep(LATE_SECONDS)
        if fault in ("cut", "lost"):
            raise _HungUpError
        _say(writer, status, b"")

    def _note(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1


class _HungUpError(Exception):
    """The far side hangs up without an answer."""


async def _befall(fault: str, writer: asyncio.StreamWriter, whole: bytes) -> None:
    match fault:
        case "late":
            await asyncio.sleep(LATE_SECONDS)
        case "reset":
            raise _HungUpError
        case "cut":
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                         f"content-length: {len(whole)}\r\n\r\n".encode() + whole[: len(whole) // 2])
            await writer.drain()
            raise _HungUpError
        case "garbage":
            _say(writer, 200, b'{"account": <html>' + whole[5:40])
        case _:
            _say(writer, int(fault.removeprefix("status-")), b"{}")


def _say(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    length = "" if status == 204 else f"content-length: {len(body)}\r\n"
    writer.write(f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\n{length}\r\n".encode() + body)


def _bytes(document: object) -> bytes:
    return json.dumps(document).encode()


def _document(script: Script, at: int, number: str, what: str, query: Mapping[str, list[str]]) -> object:
    """What a bank that speaks Berlin Group says of an account at a step."""
    account = {"bban": number, "currency": "CNY"}
    if what == "balances":
        stated = {"balanceType": "interimBooked", "balanceAmount": _amount(script.held[at][number])}
        return {"account": account, "balances": [stated]}
    first = date.fromisoformat(query["dateFrom"][0]) if query else date.max
    last = local_day(script.steps[at].at) - DAY
    if first > last:
        return {"account": account, "transactions": {"booked": []}}
    ends = {
        "openingBooked": (script.closing(at, number, first - DAY), first - DAY),
        "closingBooked": (script.closing(at, number, last), last),
    }
    return {
        "account": account,
        "transactions": {"booked": [
            {"transactionId": entry, "bookingDate": day.isoformat(), "transactionAmount": _amount(amount),
             "remittanceInformationUnstructured": "学费"}
            for entry, day, amount in script.entries(at, number, first, last)
        ]},
        "balances": [
            {"balanceType": kind, "balanceAmount": _amount(amount), "referenceDate": day.isoformat()}
            for kind, (amount, day) in ends.items()
        ],
    }


def _amount(amount: int) -> Mapping[str, str]:
    return {"amount": f"{amount}.00", "currency": "CNY"}


@contextmanager
def open_house(script: Script) -> Iterator[House]:
    """The world outside while the block lasts, on a loop in a thread of its own."""
    house, loop = House(script=script), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def ask(make: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(make(), loop).result(20)  # type: ignore[arg-type]

    try:
        ask(house.open)
        yield house
    finally:
        ask(lambda: _closed(house))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _closed(house: House) -> None:
    await house.close()
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=2)
        for task in others:
            task.cancel()


