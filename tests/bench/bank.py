"""A bank in a process of its own that answers one account a call, every answer written before the clock starts.

    GET /v1/accounts/{id}/balances    the account's three balances, after `latency_ms`
    GET /fall                         from now on each account holds `fen` and no more; sent before: forgotten
    GET /answered                     when each answer was first sent, by account number, on the monotonic clock
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import cast

import uvloop

from escrow_monitor.domain.money import decimal_text
from escrow_monitor.sandbox.district import CURRENCY, ZONE, District, last_closed_day
from tests.bench.stage import AT, one_bank

HOST = "127.0.0.1"
END_SECONDS_MAX = 30


@contextmanager
def single_bank(size: int, *, latency_ms: int, fen: int | None = None, at: datetime = AT) -> Iterator[str]:
    """Start the bank and yield its URL. `fen`: what each account holds after the fall; `at`: the day of its answers."""
    command = [
        sys.executable, "-m", "tests.bench.bank", str(size), str(latency_ms), "-" if fen is None else str(fen),
        at.isoformat(),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(timeout=END_SECONDS_MAX)


class Bank:
    """All answers by their target, and when each was first sent."""

    def __init__(self, district: District, *, at: datetime, fen: int | None) -> None:
        self.token = f"authorization: bearer {district.banks[0].token}".encode().lower()
        self.sent_at: dict[str, float] = {}
        self.answers = _written(district, at=at, fen=None)
        self._fallen = {} if fen is None else _written(district, at=at, fen=fen)

    def fall(self) -> bytes:
        """Let every account hold almost nothing."""
        self.answers, self.sent_at = self._fallen, {}
        return b"HTTP/1.1 204 No Content\r\n\r\n"

    def times(self) -> bytes:
        """The answer that says when the others were sent."""
        body = json.dumps(self.sent_at).encode()
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Line(asyncio.Protocol):
    """One connection: one call at a time, kept alive."""

    def __init__(self, bank: Bank, loop: asyncio.AbstractEventLoop, latency_seconds: float) -> None:
        self._bank, self._loop, self._latency_seconds = bank, loop, latency_seconds
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        call, self._received = self._received, b""
        target = call.split(b" ", 2)[1]
        if target == b"/answered":
            self._send(self._bank.times())
        elif target == b"/fall":
            self._send(self._bank.fall())
        elif self._bank.token not in call.lower():
            self._send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        elif target not in self._bank.answers:
            self._send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif self._latency_seconds:
            self._loop.call_later(self._latency_seconds, self._answer, target)
        else:
            self._answer(target)

    def _answer(self, target: bytes) -> None:
        number, whole = self._bank.answers[target]
        self._bank.sent_at.setdefault(number, time.monotonic())
        self._send(whole)

    def _send(self, whole: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(whole)


def _written(district: District, *, at: datetime, fen: int | None) -> dict[bytes, tuple[str, bytes]]:
    """Account number and whole answer of every account, by target."""
    written: dict[bytes, tuple[str, bytes]] = {}
    closed, local = last_closed_day(at), at.astimezone(ZONE)
    for place in range(district.institution_count):
        account = district.account(place)
        closing, running = (district.scaled(place, one) for one in district.struck(place, closed=closed, at=local))
        if fen is not None:
            running = fen  # the day that is closed stays as its statement says
        body = (
            f'{{"account":{{"bban":"{account.account_no}","currency":"{CURRENCY}"}},"balances":['
            f'{_balance("closingBooked", closing)},"referenceDate":"{closed}"}},'
            f'{_balance("interimBooked", running)},"lastChangeDateTime":"{local.isoformat()}"}},'
            f'{_balance("interimAvailable", running)},"creditLimitIncluded":false}}]}}'
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        target = f"/v1/accounts/{account.external_id or account.account_no}/balances".encode()
        written[target] = account.account_no, head + body
    return written


def _balance(kind: str, fen: int) -> str:
    amount = decimal_text(fen, CURRENCY)
    return f'{{"balanceType":"{kind}","balanceAmount":{{"currency":"{CURRENCY}","amount":"{amount}"}}'


async def serve(bank: Bank, latency_seconds: float) -> None:
    """Listen until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Line(bank, loop, latency_seconds), HOST, 0)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main(size: str, latency_ms: str, fen: str, at: str) -> None:
    """Be the bank."""
    day = datetime.fromisoformat(at)
    bank = Bank(one_bank(int(size), at=day), at=day + timedelta(minutes=1), fen=None if fen == "-" else int(fen))
    uvloop.run(serve(bank, int(latency_ms) / 1000))


if __name__ == "__main__":
    main(*sys.argv[1:])
