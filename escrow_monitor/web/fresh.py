"""One answer shared by many askers for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")


class Fresh(Generic[T]):
    """Asks a blocking question in a thread, at most once per `age_seconds_max`, and for all who wait at once.

    The answer is never older than that; an error goes to everybody who waited for it and is not remembered. With
    `late_seconds_max` nobody waits for the next answer while the last is no older than both together: it is given once
    more while the next is asked for. A question that takes long is then never felt, but by the first.
    """

    def __init__(self, ask: Callable[[], T], *, age_seconds_max: float, late_seconds_max: float = 0.0) -> None:
        self._ask = ask
        self._age_seconds_max = age_seconds_max
        self._late_seconds_max = late_seconds_max
        self._answer: tuple[T, float] | None = None
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the answer: a remembered one if fresh, else a new one."""
        now = asyncio.get_running_loop().time()
        if self._answer is not None and now < self._answer[1]:
            return self._answer[0]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_now(now))
            self._asking.add_done_callback(_taken_note_of)
        if self._answer is not None and now < self._answer[1] + self._late_seconds_max:
            return self._answer[0]
        # Shielded: one asker who goes away must not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def _ask_now(self, asked_at: float) -> T:
        try:
            answer = await run_in_threadpool(self._ask)
            self._answer = (answer, asked_at + self._age_seconds_max)
            return answer
        finally:
            self._asking = None


def _taken_note_of(asking: asyncio.Task[T]) -> None:
    """Nobody may be waiting for it: who asks when the last answer is too old hears of the error."""
    if not asking.cancelled():
        asking.exception()
