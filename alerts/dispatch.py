"""Deliver what is due: each channel in feed order, and a slow one delays no other."""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import NamedTuple

from alerts.channel import Channel, DigestChannel, Owed, PacedChannel
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
TOGETHER_MAX = 200
"""Of how many waiting deliveries a channel is asked how many go in one message."""


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

    One thread a channel, ascending by `seq` within a channel; a channel that can gets several in one message, and one
    that must not be called too often is waited for. What is not yielded was not tried, or its answer was not waited
    for (a channel that failed three times running or wants a longer rest, `seconds_max` gone by, the caller stopped
    asking): it is still owed, and its claim runs out. A delivery to a channel that nobody knows is dead.
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
                args=(channels[name], queue, now_of, results, stop, ends_at),
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
    queue: Sequence[Delivery],
    now_of: Callable[[], datetime],
    results: SimpleQueue[Dispatched | None],
    stop: threading.Event,
    ends_at: float,
) -> None:
    """Everything owed to one channel, in order, until it is done, down or told to stop."""
    failures_running = 0
    left = deque([queue[at : at + TOGETHER_MAX] for at in range(0, len(queue), TOGETHER_MAX)])
    try:
        while left and failures_running < FAILURES_RUNNING_MAX and _its_turn(channel, stop, ends_at):
            waiting = left.popleft()
            together = waiting[:_together(channel, waiting)]
            if rest := waiting[len(together) :]:
                left.appendleft(rest)
            tried = _try(channel, together, now_of)
            if len(tried) > 1 and tried[0].attempt.outcome is AttemptOutcome.PERMANENT_FAILURE:
                # One of them may have spoiled it for all: each is asked about alone, and only that answer counts.
                left.extendleft([one] for one in reversed(together))
                continue
            passing = tried[-1].attempt.outcome is AttemptOutcome.PASSING_FAILURE
            failures_running = failures_running + 1 if passing else 0
            for done in tried:
                results.put(done)
    finally:
        results.put(None)


def _its_turn(channel: Channel, stop: threading.Event, ends_at: float) -> bool:
    """Wait until the channel may be called; False where that is too late."""
    if stop.is_set():
        return False
    wait = channel.ready_in() if isinstance(channel, PacedChannel) else 0.0
    if wait <= 0:
        return True
    return time.monotonic() + wait < ends_at and not stop.wait(wait)


def _together(channel: Channel, waiting: Sequence[Delivery]) -> int:
    """How many of what waits go in one message."""
    if not isinstance(channel, DigestChannel) or len(waiting) == 1:
        return 1
    try:
        return max(1, channel.fits(_owed(waiting)))
    except Exception:
        # The channel has a fault; sending one by one shows whose.
        return 1


def _owed(deliveries: Sequence[Delivery]) -> list[Owed]:
    return [Owed(delivery.entry, delivery.delivery_id) for delivery in deliveries]


def _try(channel: Channel, together: Sequence[Delivery], now_of: Callable[[], datetime]) -> list[Dispatched]:
    at, began = now_of(), time.monotonic_ns()
    result = _send(channel, together)
    took_ms = (time.monotonic_ns() - began) // 1_000_000
    return [
        Dispatched(
            delivery,
            Attempt(
                delivery_id=delivery.delivery_id,
                at=at,
                outcome=outcome_of(result),
                detail=result.detail,
                took_ms=took_ms,
            ),
            after_attempt(delivery, result, now=now_of(), jitter=_jitter(delivery)),
        )
        for delivery in together
    ]


def _send(channel: Channel, together: Sequence[Delivery]) -> Sent | NotSent:
    """Ask the channel. It promises not to raise; one that does has a fault, and that must not stop the others."""
    try:
        if len(together) > 1 and isinstance(channel, DigestChannel):
            return channel.send_digest(_owed(together))
        return channel.send(together[0].entry, message_id=together[0].delivery_id)
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
