"""T4: the feed of 1,000 entries from one web process, whole and as 304, beside FastAPI with a response model."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from alerts.alert import AlertKey, FeedEntry, Severity, Signal, Why
from escrow_monitor.actions.api_keys import create_key
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from tests.bench.measure import Bench, Stopwatch
from tests.bench.program import free_port, installed, peak_mb, serving

ENTRIES = 1_000
CONNECTIONS = 50
PEER_REQUESTS_MAX = 1_000
# One key here is fifty readers, who would not be kept waiting.
UNLIMITED = "[web.limits]\nfeed_requests_per_second = 1000000\n"
PATH = f"/feeds/alerts.json?limit={ENTRIES}"


def ours(watch: Stopwatch) -> None:
    """The installed program, `serve`; every reader takes the newest thousand entries compressed."""
    _measured(watch, {"Accept-Encoding": "gzip"}, expect=200)


def ours_not_modified(watch: Stopwatch) -> None:
    """The same for readers who have the page."""
    _measured(watch, {"Accept-Encoding": "gzip", "If-None-Match": "*"}, expect=304)


def fastapi_response_model(watch: Stopwatch) -> None:
    """As most would write it first: a list of pydantic models, validated and dumped for each reader."""
    port = free_port()
    with serving([sys.executable, "-m", "tests.bench.t4", str(port)], port, watch.folder) as pid:
        _load(watch, port, {"Accept-Encoding": "gzip"}, expect=200, count=min(watch.size, PEER_REQUESTS_MAX))
        watch.memory_mb = peak_mb(pid)
    watch.seconds *= watch.size / min(watch.size, PEER_REQUESTS_MAX)
    watch.note += f", extrapolated from {PEER_REQUESTS_MAX:,}" if watch.size > PEER_REQUESTS_MAX else ""


def _measured(watch: Stopwatch, headers: dict[str, str], *, expect: int) -> None:
    now, port = datetime.now(UTC), free_port()
    url = f"sqlite:///{watch.folder / 'bench.db'}"
    database = Database(url)
    database.upgrade()
    with database.write() as session:
        _some_entries(RecordsAlertBook(session), now)
    _, key = create_key(
        database, name="reader", scopes=["read"], expires_after=timedelta(days=1), actor="bench", now=now
    )
    database.close()
    config = watch.folder / "escrow-monitor.toml"
    config.write_text(f'[database]\nurl = "{url}"\n\n[web]\nport = {port}\n{UNLIMITED}')
    with serving(installed(watch.folder, "serve"), port, watch.folder) as pid:
        _load(watch, port, count=watch.size, headers={**headers, "Authorization": f"Bearer {key}"}, expect=expect)
        watch.memory_mb = peak_mb(pid)


def _some_entries(book: RecordsAlertBook, now: datetime) -> tuple[FeedEntry, ...]:
    return book.advance(signals=[
        Signal(
            key=AlertKey("floor", f"account:{number:019d}", "continuous"), severity=Severity.RED, standing="breached",
            why=Why(f"余额 {number}.00 CNY，低于最低余额 99999.00 CNY", f"holds {number}.00, the floor is 99999.00"),
            figures={"balance": f"{number}.00", "balance_fen": number * 100}, as_of=now,
            labels={"uscc": f"91510302MA{number:08d}", "account_no": f"{number:019d}", "district": "510302"},
        )
        for number in range(ENTRIES)
    ], clears=(), now=now, cause="bench")


def _load(watch: Stopwatch, port: int, headers: dict[str, str], *, expect: int, count: int) -> None:
    """Ask `count` times over so many kept connections, each as soon as it has its answer."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode()
    with watch.timed():
        bytes_read = asyncio.run(_ask(port, request, count, expect))
    watch.note = (
        f"{count / watch.seconds:,.0f} requests/s of {bytes_read / count / 1024:,.1f} KB over "
        f"{CONNECTIONS} connections"
    )


async def _ask(port: int, request: bytes, count: int, expect: int) -> int:
    left, total = count, 0

    async def reader() -> None:
        nonlocal left, total
        source, sink = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while left > 0:
            left -= 1
            sink.write(request)
            head = await source.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 %d" % expect):
                raise RuntimeError(f"it answered {head[:60]!r}")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            await source.readexactly(length)
            total += length
        sink.close()

    await asyncio.gather(*(reader() for _ in range(CONNECTIONS)))
    return total


def _peer(port: int) -> None:
    """The peer's server."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Item(BaseModel):
        id: str
        title: str
        content_text: str
        date_published: datetime
        figures: dict[str, int | str]

    app, now = FastAPI(), datetime.now(UTC)
    stored = [
        {"id": str(number), "title": "floor", "content_text": f"holds {number}.00, the floor is 99999.00 CNY",
         "date_published": now, "figures": {"balance": f"{number}.00", "balance_fen": number * 100}}
        for number in range(ENTRIES)
    ]

    @app.get("/feeds/alerts.json", response_model=list[Item])
    def feed() -> list[dict[str, object]]:
        return stored

    uvicorn.run(app, port=port, log_level="error")


BENCH = Bench(
    name="t4", what=f"the feed of {ENTRIES:,} entries from one web process",
    target=">= 2,500 requests/s, 304 answers >= 5,000", size=20_000, quick_size=1_000,
    contenders=(ours, ours_not_modified, fastapi_response_model),
)

if __name__ == "__main__":
    _peer(int(sys.argv[1]))
