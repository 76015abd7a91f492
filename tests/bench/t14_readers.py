"""Twenty people at once in front of a running server: every page there is, each as every one of them may see it."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

import aiohttp
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from escrow_monitor.records.database import Database
from escrow_monitor.web.guard import COOKIE
from tests.bench.t14_register import NAMES, WARNED_ONE_IN, Reader, Register, district, flip, name, uscc

READS_EACH = 3
PAUSE_SECONDS = 1.0
"""So long does somebody look at a page before they open the next, on the average."""
ALONE_EACH = 2
WRITES_EVERY_SECONDS = 1.0
NO_PAGES = ("/api/", "/feeds/", "/static/", "/healthz", "/readyz", "/metrics")
FILE = re.compile(r"\.(csv|xlsx|jsonl)\Z")
"""Whole tables to take away: however long they are, they come piece by piece, and are no page."""
MADE = "/returns/{month}"
"""What takes seconds to make, one at a time, for who asks for it."""
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_STATIC = re.compile(rb'(?:src|href)="(/static/[^"]+)"')

Ask = Callable[[Reader, int], str | None]
"""What somebody asks for the n-th time; None where there is nothing of theirs to ask for."""


@dataclass(kw_only=True)
class Page:
    """One page, or one way to ask for it, and how it was answered: seconds and bytes."""

    label: str
    ask: Ask
    readers: list[Reader] = field(default_factory=list)
    server_cpu: float = 0.0
    database_cpu: float = 0.0
    body_bytes: int = 0
    first_load_bytes: int = 0
    alone: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    pressed: list[float] = field(default_factory=list)

    def percentile(self, percent: int, *, pressed: bool = False) -> float:
        """Of the answers while all read at once; `pressed` while nobody pauses between two pages."""
        found = sorted(self.pressed if pressed else self.taken)
        return found[min(len(found) - 1, len(found) * percent // 100)] if found else 0.0


def pages(app: FastAPI, register: Register) -> tuple[list[Page], list[str]]:
    """Every page of the application, and those of which it is not known how somebody asks for them."""
    templates = sorted({
        context.path for context in iter_route_contexts(app.routes)
        if "GET" in (context.methods or ()) and not context.path.startswith(NO_PAGES)
        and not (FILE.search(context.path) and "{" not in context.path)
    })
    values, asked = _values(register), _asked(register)
    found, unknown = [], []
    for template in templates:
        if template in asked:
            found += [Page(label=f"{template} {label}".strip(), ask=ask) for label, ask in asked[template].items()]
            continue
        names = _PARAMETER.findall(template)
        if not template.startswith(MADE) and all(one in values for one in names):
            found.append(Page(label=template, ask=_filled(template, values)))
        else:
            unknown.append(template)
    return found, unknown


def _filled(template: str, values: Mapping[str, Ask]) -> Ask:
    def ask(reader: Reader, turn: int) -> str | None:
        path = template
        for found in _PARAMETER.finditer(template):
            value = values[found[1]](reader, turn)
            if value is None:
                return None
            path = path.replace(found[0], value)
        return path

    return ask


def _values(register: Register) -> Mapping[str, Ask]:
    """What stands in an address for the thing that a page is about: one of theirs, nearly always another."""
    some = list(range(0, register.institutions, max(1, register.institutions // 5_000)))
    alarmed, reconciled = sorted(register.alerts), list(register.reconciled)

    def one_of(numbers: Sequence[int], say: Callable[[int], str]) -> Ask:
        kept: dict[str, list[int]] = {}

        def ask(reader: Reader, turn: int) -> str | None:
            theirs = kept.setdefault(reader.name, [number for number in numbers if reader.sees(number)])
            if not theirs and reader.uscc is not None:
                theirs = [int(reader.uscc[-7:])]
            return say(theirs[turn * 7919 % len(theirs)]) if theirs else None

        return ask

    by_case = dict(register.cases)
    return {
        "uscc": one_of([*some, *range(0, register.institutions, WARNED_ONE_IN)], uscc),
        "alert_id": one_of(alarmed, lambda number: register.alerts.get(number, "none")),
        "case_no": one_of(sorted(by_case), lambda number: by_case.get(number, "none")),
        "request_id": one_of(reconciled[:8], lambda number: f"R-{number}"),
        "reconciled": one_of(reconciled, uscc),
        "number": lambda reader, turn: "1", "kind": lambda reader, turn: ("charges", "contracts", "lessons")[turn % 3],
        "seq": lambda reader, turn: str(1 + turn * 37 % 5_000), "pack_id": lambda reader, turn: "cn-510300",
        # Works and files that nobody has begun or sent: the page says just that.
        "work_id": lambda reader, turn: "none", "file_id": lambda reader, turn: "none",
        "name": lambda reader, turn: f"reader{turn % 20}", "user": lambda reader, turn: f"reader{turn % 20}",
        "month": lambda reader, turn: ("2026-09", "2026-10")[turn % 2],
        "form": lambda reader, turn: ("csv", "xlsx")[turn % 2],
        "session_id": lambda reader, turn: "none", "key_id": lambda reader, turn: "none",
    }


def _asked(register: Register) -> Mapping[str, Mapping[str, Ask]]:
    """The lists, as people look through them: whole, filtered, searched and further down."""
    whole = register.institutions

    def of(path: str, **query: Callable[[int], object]) -> Ask:
        def ask(reader: Reader, turn: int) -> str:
            place = turn + hash(reader.token) % 10_000
            return f"{path}?{urlencode({word: value(place) for word, value in query.items()})}" if query else path

        return ask

    def begun(number: int) -> str:
        return NAMES[number % 6][: 2 + number % 4]

    values = _values(register)
    return {
        "/institutions": {
            "": of("/institutions"),
            "next": of("/institutions", level=lambda n: "none", after=lambda n: f"0~~{uscc(n * 557 % whole)}"),
            "by code": of("/institutions", order=lambda n: "code", after=lambda n: f"0~~{uscc(n * 613 % whole)}"),
            "one name": of("/institutions", q=lambda n: name(n * 79 % whole)),
            "many names": of("/institutions", q=begun),
            "district": of("/institutions", district=district),
            "breached": of(
                "/institutions", standing=lambda n: "breached", district=lambda n: district(n)[:4]
            ),
            "unknown": of("/institutions", standing=lambda n: "unknown", district=lambda n: district(n)[:4]),
            "calm": of("/institutions", standing=lambda n: "met", level=lambda n: "none", district=district),
            "may close": of("/institutions", closure=lambda n: ("red", "orange", "yellow", "any")[n % 4]),
        },
        "/alerts": {
            "": of("/alerts"),
            "district": of("/alerts", district=district),
            "severity": of("/alerts", severity=lambda n: ("red", "orange", "yellow")[n % 3]),
            "next": of("/alerts", after=lambda n: f"0~{2 + n % 3}~0~{n}~"),
            "name": of("/alerts", q=begun),
            "quiet": of("/alerts", quiet=lambda n: ("loud", "quiet", "proposed")[n % 3]),
            "over": of("/alerts", status=lambda n: "resolved"),
        },
        "/cases": {
            "": of("/cases"), "district": of("/cases", district=district), "name": of("/cases", q=begun),
            "state": of("/cases", state=lambda n: "claimed"),
        },
        "/reconcile": {"": of("/reconcile"), "district": of("/reconcile", district=district)},
        "/reconcile/{uscc}": {
            "": lambda reader, turn: _after("/reconcile/", values["reconciled"](reader, turn)),
        },
        "/deliveries": {
            "": of("/deliveries"), "given up": of("/deliveries", state=lambda n: "dead"),
            "due": of("/deliveries", state=lambda n: "due"),
            "next": of("/deliveries", after=lambda n: f"evt_{100 + n * 7 % 9_000}_log"),
        },
        "/audit": {
            "": of("/audit"), "kind": of("/audit", kind=lambda n: "alert.decided"),
            "text": of("/audit", q=lambda n: name(n * 79 % whole)),
        },
        "/operations": {"": of("/operations"), "round": of("/operations", round=lambda n: "check-balances")},
        "/policies/effective": {
            "": lambda reader, turn: _after("/policies/effective?uscc=", values["uscc"](reader, turn)),
        },
    }


def _after(path: str, value: str | None) -> str | None:
    return None if value is None else path + value


# reading


class Crowd:
    """All readers in front of one server."""

    def __init__(self, base_url: str, readers: Sequence[Reader], *, used: Callable[[], tuple[float, float]]) -> None:
        self._base_url, self._readers, self._used = base_url, readers, used
        self._clients: dict[str, aiohttp.ClientSession] = {}

    async def read(
        self, found: Sequence[Page], *, reads_each: int = READS_EACH, pause_seconds: float = PAUSE_SECONDS
    ) -> tuple[float, float]:
        """Ask for every page one by one, then for all of them at once, with pauses and without.

        Return how long the two took in seconds; nothing is read with pauses where `pause_seconds` is 0.
        """
        try:
            for reader in self._readers:
                self._clients[reader.name] = aiohttp.ClientSession(
                    self._base_url, cookies={COOKIE: reader.token}, auto_decompress=False,
                    headers={"Accept-Encoding": "gzip"}, timeout=aiohttp.ClientTimeout(total=120),
                )
            for page in found:
                await self._alone(page)
            at_ease = await self._together(found, reads_each, pause_seconds) if pause_seconds else 0.0
            return at_ease, await self._together(found, reads_each, 0.0)
        finally:
            await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def _together(self, found: Sequence[Page], reads_each: int, pause_seconds: float) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(self._everything(one, found, reads_each, pause_seconds) for one in self._readers))
        return time.perf_counter() - started

    async def _alone(self, page: Page) -> None:
        for reader in self._readers:
            path = page.ask(reader, 0)
            if path is None:
                continue
            status, body = await self._get(reader, path)
            if status >= 500:
                raise RuntimeError(f"{path} answers {status}")
            if status == 200 or ("none" in path and status == 404):
                page.readers.append(reader)
                page.body_bytes = max(page.body_bytes, len(body))
                if not page.first_load_bytes and status == 200:
                    page.first_load_bytes = await self._first_load(reader, path)
        before, count = self._used(), 0
        for turn in range(1, 1 + ALONE_EACH):
            for reader in page.readers:
                path = page.ask(reader, turn)
                started = time.perf_counter()
                await self._get(reader, path or "")
                page.alone.append(time.perf_counter() - started)
                count += 1
        after = self._used()
        if count:
            page.server_cpu = (after[0] - before[0]) / count
            page.database_cpu = (after[1] - before[1]) / count

    async def _everything(
        self, reader: Reader, found: Sequence[Page], reads_each: int, pause_seconds: float
    ) -> None:
        """Every page that is theirs, some times each, in an order and with pauses of their own."""
        asked = [
            (page, turn) for page in found if reader in page.readers for turn in range(9, 9 + reads_each)
        ]
        chance = random.Random(reader.name)
        chance.shuffle(asked)
        for page, turn in asked:
            path = page.ask(reader, turn)
            if path is None:
                continue
            await asyncio.sleep(chance.uniform(0, 2 * pause_seconds))
            started = time.perf_counter()
            status, _ = await self._get(reader, path)
            (page.taken if pause_seconds else page.pressed).append(time.perf_counter() - started)
            if status >= 500:
                raise RuntimeError(f"{path} answers {status}")

    async def _get(self, reader: Reader, path: str) -> tuple[int, bytes]:
        async with self._clients[reader.name].get(path, allow_redirects=False) as answer:
            return answer.status, await answer.read()

    async def _first_load(self, reader: Reader, path: str) -> int:
        """Bytes of a page and all that it names, as they go over the wire to a browser that has never been here."""
        client = self._clients[reader.name]
        async with client.get(path, headers={"Accept-Encoding": "identity"}) as answer:
            plain = await answer.read()
        _, packed = await self._get(reader, path)
        total = len(packed)
        for named in sorted(set(_STATIC.findall(plain))):
            total += len((await self._get(reader, named.decode().replace("&amp;", "&")))[1])
        return total


@contextmanager
def writing(database: Database, numbers: Sequence[int]) -> Iterator[list[float]]:
    """Meanwhile somebody publishes an alert, and its end, every second; yields how long each took in seconds."""
    stop, taken = threading.Event(), list[float]()

    def write() -> None:
        for place in range(10**9):
            if stop.wait(WRITES_EVERY_SECONDS):
                return
            started = time.perf_counter()
            flip(database, numbers[place // 2 % len(numbers)], is_bad=place % 2 == 0, now=datetime.now(UTC))
            taken.append(time.perf_counter() - started)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()


def table(found: Sequence[Page]) -> str:
    """A line a page, the slowest first."""
    lines = [
        f"    {'page':<38}{'p50':>6}{'p95':>6}{'p99':>6} ms {'pressed':>8} ms  {'alone':>6} ms"
        f"  {'server':>7} {'database':>8} ms CPU  {'page':>6} {'first':>6} KB"
    ]
    for page in sorted(found, key=lambda one: -one.percentile(95)):
        if not page.pressed:
            lines.append(f"    {page.label:<38}  nobody here may read it")
            continue
        alone = sorted(page.alone)[len(page.alone) // 2]
        p50, p95, p99 = (page.percentile(one) * 1e3 for one in (50, 95, 99))
        lines.append(
            f"    {page.label:<38}{p50:>6.0f}{p95:>6.0f}{p99:>6.0f}    {page.percentile(95, pressed=True) * 1e3:>8.0f}"
            f"     {alone * 1e3:>6.1f}     {page.server_cpu * 1e3:>7.1f} {page.database_cpu * 1e3:>8.1f}"
            f"        {page.body_bytes / 1e3:>6.1f} {page.first_load_bytes / 1e3:>6.0f}"
        )
    return "\n".join(lines)
