"""Deliver what is due: each channel in feed order, and a slow one delays no other."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import NamedTuple

from alerts.channel import Channel
from alerts.delivery import (
    JITTER_PERCENT_MAX,
    Attempt,
    AttemptOutcome,
    Dead,
    Delivered,
    Delivery,
    Later,
    NotSent,
    Sent,
    after_attempt,
    outcome_of,
)

# A receiver that failed three times running is down: the rest of what it is owed waits for another dispatch.
FAILURES_RUNNING_MAX = 3
DISPATCH_SECONDS_MAX = 120


class Dispatched(NamedTuple):
    """One delivery that was tried: how the try went, and what becomes of the delivery."""

    delivery: Delivery
    attempt: Attempt
    outcome: Delivered | Later | Dead


def dispatch(
    deliveries: Iterable[Delivery],
    channels: Mapping[str, Channel],
    *,
    now_of: Callable[[], datetime],
    seconds_max: int = DISPATCH_SECONDS_MAX,
) -> Generator[Dispatched, None, None]:
    """Try each delivery once and yield each as soon as it was tried, so that it can be settled at once.

    One thread a channel, ascending by `seq` within a channel. What is not yielded was not tried, or its answer was
    not waited for (a channel that failed three times running, `seconds_max` gone by, the caller stopped asking):
    it is still owed, and its claim runs out. A delivery to a channel that nobody knows is dead.
    """
    owed: dict[str, list[Delivery]] = {}
    for delivery in sorted(deliveries, key=lambda d: d.entry.seq):
        owed.setdefault(delivery.channel, []).append(delivery)
    for name in sorted(owed.keys() - channels.keys()):
        yield from (_unknown(delivery, now_of()) for delivery in owed.pop(name))
    yield from _side_by_side(owed, channels, now_of, seconds_max)


def _side_by_side(
    owed: Mapping[str, list[Delivery]],
    channels: Mapping[str, Channel],
    now_of: Callable[[], datetime],
    seconds_max: int,
) -> Generator[Dispatched, None, None]:
    """Run the channels beside each other. Bounded: as many threads as channels, as many results as deliveries."""
    results: SimpleQueue[Dispatched | None] = SimpleQueue()
    stop = threading.Event()
    ends_at = time.monotonic() + seconds_max
    running = 0
    try:
        for name, queue in owed.items():
            # A daemon thread: a channel that hangs must not keep the process from ending.
            threading.Thread(
                target=_one_channel,
                args=(channels[name], queue, now_of, results, stop),
                name=f"channel-{name}",
                daemon=True,
            ).start()
            running += 1
        while running:
            done = results.get(timeout=max(ends_at - time.monotonic(), 0.001))
            if done is None:
                running -= 1
            else:
                yield done
    except Empty:
        return
    finally:
        stop.set()


def _one_channel(
    channel: Channel,
    queue: list[Delivery],
    now_of: Callable[[], datetime],
    results: SimpleQueue[Dispatched | None],
    stop: threading.Event,
) -> None:
    """Everything owed to one channel, in order, until it is done, down or told to stop."""
    failures_running = 0
    try:
        for delivery in queue:
            if stop.is_set() or failures_running >= FAILURES_RUNNING_MAX:
                return
            done = _try(channel, delivery, now_of)
            passing = done.attempt.outcome is AttemptOutcome.PASSING_FAILURE
            failures_running = failures_running + 1 if passing else 0
            results.put(done)
    finally:
        results.put(None)


def _try(channel: Channel, delivery: Delivery, now_of: Callable[[], datetime]) -> Dispatched:
    at, began = now_of(), time.monotonic_ns()
    result = _send(channel, delivery)
    attempt = Attempt(
        delivery_id=delivery.delivery_id,
        at=at,
        outcome=outcome_of(result),
        detail=result.detail,
        took_ms=(time.monotonic_ns() - began) // 1_000_000,
    )
    return Dispatched(delivery, attempt, after_attempt(delivery, result, now=now_of(), jitter=_jitter(delivery)))


def _send(channel: Channel, delivery: Delivery) -> Sent | NotSent:
    """Ask the channel. It promises not to raise; one that does has a fault, and that must not stop the others."""
    try:
        return channel.send(delivery.entry, message_id=delivery.delivery_id)
    except Exception as fault:
        return NotSent(detail=f"the channel itself failed: {type(fault).__name__}", permanent=False)


def _jitter(delivery: Delivery) -> int:
    """Percent from 0 to JITTER_PERCENT_MAX: even over deliveries, the same for the same attempt of one."""
    return zlib.crc32(f"{delivery.delivery_id}:{delivery.attempts}".encode()) % (JITTER_PERCENT_MAX + 1)


def _unknown(delivery: Delivery, now: datetime) -> Dispatched:
    why = f"no channel is named {delivery.channel!r}"
    attempt = Attempt(
        delivery_id=delivery.delivery_id,
        at=now,
        outcome=AttemptOutcome.PERMANENT_FAILURE,
        detail=why,
        took_ms=0,
    )
    return Dispatched(delivery, attempt, Dead(why))
