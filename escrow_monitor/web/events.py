"""The feed as server-sent events: `id` is the feed's number, `Last-Event-ID` replays what was missed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from alerts.alert import FeedEntry
from alerts.feeds.filter import FeedFilter
from escrow_monitor.errors import DatabaseError
from escrow_monitor.logs import log
from escrow_monitor.web.problems import Problem

POLL_SECONDS = 0.25
POLL_SECONDS_AFTER_ERROR = 2.0
RECONNECT_MILLISECONDS = 3_000
BATCH_MAX = 200
REMEMBERED_MAX = 1_000
_ALL = FeedFilter()



class Rendered(NamedTuple):
    """One entry, and how it goes over the wire."""

    seq: int
    entry: FeedEntry
    body: bytes



class EventHub:
    """One watch on the feed's head for all streams of this process.

    No stream has a queue: each keeps only the number it has sent, reads the newest entries from one shared ring and
    older ones from the records. A slow reader therefore costs no memory, delays nobody and misses nothing.
    """

    def __init__(
        self, *, head: Callable[[], Awaitable[int]], entries: Callable[[int, int], Sequence[FeedEntry]],
        render: Callable[[FeedEntry], bytes], streams_max: int, beat_seconds: float,
    ) -> None:
        self._head = head
        self._entries = entries
        self._render = render
        self._streams_max = streams_max
        self._beat_seconds = beat_seconds
        self._streams = 0
        self._known = 0
        self._ring: deque[Rendered] = deque(maxlen=REMEMBERED_MAX)
        self._advanced = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def streams(self) -> int:
        """How many streams are open now."""
        return self._streams

    async def open(
        self, *, after: int | None, allowed: Callable[[], Awaitable[bool]], only: FeedFilter = _ALL
    ) -> StreamingResponse:
        """Begin a stream with the entries after number `after` (None: only new ones) that fit `only`.

        Numbers that do not fit are told of by a `skipped` event whose id is the last of them: none is dropped silently.

        `allowed` is asked again at every beat, so a revoked key does not keep listening. Raises Problem 503 when
        `streams_max` are open, DatabaseError when the records do not answer.
        """
        if self._streams >= self._streams_max or self._stopping:
            raise Problem(503, f"{self._streams_max} event streams are open already: read the feed instead",
                          headers={"Retry-After": "30"})
        head = await self._head()
        # A number beyond our head comes from a reader of a longer feed than ours: go on from here.
        cursor = head if after is None else min(after, head)
        return _EventStream(self, self._run(cursor, allowed, only))

    def stop(self) -> None:
        """End every stream after what it is sending: an open stream would hold up the server's end."""
        self._stopping = True
        self._wake()

    def enter(self) -> None:
        """Count a stream in and make sure somebody watches the head."""
        self._streams += 1
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_head())

    def leave(self) -> None:
        """Count a stream out; the watch ends with the last one."""
        self._streams -= 1

    async def _run(
        self, cursor: int, allowed: Callable[[], Awaitable[bool]], only: FeedFilter
    ) -> AsyncIterator[bytes]:
        yield f"retry: {RECONNECT_MILLISECONDS}\n\n".encode()
        while not self._stopping:
            advanced = self._advanced
            try:
                batch = await self._after(cursor)
            except DatabaseError:
                return  # the reader comes back with its last number and misses nothing
            if batch:
                yield b"".join(_told(batch, only, after=cursor))
                cursor = batch[-1].seq
                continue
            try:
                await asyncio.wait_for(advanced.wait(), self._beat_seconds)
            except TimeoutError:
                if not await _still(allowed):
                    return
                yield b": beat\n\n"

    async def _after(self, cursor: int) -> list[Rendered]:
        if cursor >= self._known and self._known:
            return []
        if self._ring and self._ring[0].seq <= cursor + 1:
            return [item for item in self._ring if item.seq > cursor][:BATCH_MAX]
        return await run_in_threadpool(self._read, cursor)

    def _read(self, cursor: int) -> list[Rendered]:
        return [Rendered(entry.seq, entry, self._render(entry)) for entry in self._entries(cursor, BATCH_MAX)]

    async def _watch_head(self) -> None:
        """Follow the head while anybody listens. A database that is away is waited for, not given up."""
        failing = False
        self._known = 0
        self._ring.clear()
        while self._streams and not self._stopping:
            pause = POLL_SECONDS
            try:
                await self._follow(await self._head())
                failing = False
            except DatabaseError as error:
                if not failing:
                    log(__name__).error("web.events_blind", detail=str(error))
                failing, pause = True, POLL_SECONDS_AFTER_ERROR
            await asyncio.sleep(pause)

    async def _follow(self, head: int) -> None:
        if head == self._known:
            return
        if head < self._known or not self._known:
            self._ring.clear()
            self._known = head
        while self._known < head:
            batch = await run_in_threadpool(self._read, self._known)
            if not batch:
                break
            self._ring.extend(batch)
            self._known = batch[-1].seq
        self._wake()

    def _wake(self) -> None:
        woken, self._advanced = self._advanced, asyncio.Event()
        woken.set()


class _EventStream(StreamingResponse):
    """A stream that is counted from its first byte to its end, however it ends."""

    media_type = "text/event-stream"

    def __init__(self, hub: EventHub, content: AsyncIterator[bytes]) -> None:
        # X-Accel-Buffering: a proxy that buffers would hold an alert back.
        super().__init__(content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._hub = hub
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._hub.enter()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave()
            with suppress(RuntimeError):
                await self._content.aclose()  # type: ignore[attr-defined]  # it is an async generator


def _told(batch: Sequence[Rendered], only: FeedFilter, *, after: int) -> Iterator[bytes]:
    """What a reader is sent of some entries in a row: those that fit, and how many before the next did not."""
    told = after
    for item in batch:
        if only.is_empty or only.matches(item.entry):
            if item.seq - told > 1:
                yield _skipped(told + 1, item.seq - 1)
            yield item.body
            told = item.seq
    if batch[-1].seq > told:
        yield _skipped(told + 1, batch[-1].seq)


def _skipped(first: int, last: int) -> bytes:
    return b'id: %d\nevent: skipped\ndata: {"from":%d,"through":%d,"skipped":%d}\n\n' % (
        last, first, last, last - first + 1
    )


async def _still(allowed: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await allowed()
    except DatabaseError:
        return True  # not known is not revoked; the next beat asks again
