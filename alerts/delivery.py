"""What is owed to a channel: the delivery, its attempts, when to try again, when to give up. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from alerts.alert import FeedEntry

# 24 attempts that wait 15 s, 30 s, 1 min ... up to 6 h span a little over three days: a receiver that
# broke on Friday evening is still tried on Monday morning.
ATTEMPTS_MAX = 24
BACKOFF_SECONDS_FIRST = 15
BACKOFF_SECONDS_MAX = 6 * 3600
JITTER_PERCENT_MAX = 20

_CHANNEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The channel took it. `detail` is what is worth keeping of its answer."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The channel did not take it. `permanent`: trying again cannot help."""

    detail: str
    permanent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One feed entry owed to one channel. `attempts` counts the tries already made."""

    delivery_id: str
    channel: str
    entry: FeedEntry
    attempts: int
    due_at: datetime
    created_at: datetime


class AttemptOutcome(StrEnum):
    """How one try ended."""

    SENT = "sent"
    PASSING_FAILURE = "passing_failure"
    PERMANENT_FAILURE = "permanent_failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a delivery: when it began, how it ended, what the other side said, how long it took."""

    delivery_id: str
    at: datetime
    outcome: AttemptOutcome
    detail: str
    took_ms: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The channel took it; nothing more is owed."""


@dataclass(frozen=True, slots=True)
class Later:
    """Try again, not before `due_at`."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Dead:
    """We give up, and `why` says so; a person may send it again."""

    why: str


def after_attempt(
    delivery: Delivery, result: Sent | NotSent, *, now: datetime, jitter: int
) -> Delivered | Later | Dead:
    """Decide what becomes of a delivery that was just tried.

    The wait doubles from BACKOFF_SECONDS_FIRST up to BACKOFF_SECONDS_MAX and is made longer by `jitter` percent
    (0 to JITTER_PERCENT_MAX), so that what failed together does not come back together.
    """
    match result:
        case Sent():
            return Delivered()
        case NotSent(permanent=True):
            return Dead(f"permanent: {result.detail}")
        case NotSent():
            if delivery.attempts + 1 >= ATTEMPTS_MAX:
                return Dead(f"gave up after {delivery.attempts + 1} attempts: {result.detail}")
            return Later(now + _wait(delivery.attempts, jitter))
        case _ as never:  # pragma: no cover - the type checker proves that there is no third result
            assert_never(never)


def outcome_of(result: Sent | NotSent) -> AttemptOutcome:
    """The word for one try's result."""
    match result:
        case Sent():
            return AttemptOutcome.SENT
        case NotSent(permanent=True):
            return AttemptOutcome.PERMANENT_FAILURE
        case NotSent():
            return AttemptOutcome.PASSING_FAILURE
        case _ as never:  # pragma: no cover - the type checker proves that there is no third result
            assert_never(never)


def message_id(seq: int, channel: str) -> str:
    """The id under which feed entry `seq` goes to `channel`: the same on every attempt, `evt_12_log`.

    It travels in an HTTP header and inside a signature whose parts are joined by dots, so a channel's name holds
    letters, digits, `_` and `-` only, at most 40. Raises ValueError for another name.
    """
    if _CHANNEL_NAME.fullmatch(channel) is None:
        raise ValueError(f"a channel is named with 1 to 40 of A-Z, a-z, 0-9, _ and -, not {channel!r}")
    return f"evt_{seq}_{channel}"


def _wait(attempts_before: int, jitter: int) -> timedelta:
    """How long to wait after the try number `attempts_before` + 1."""
    percent = 100 + min(max(jitter, 0), JITTER_PERCENT_MAX)
    seconds = min(BACKOFF_SECONDS_FIRST << min(max(attempts_before, 0), 16), BACKOFF_SECONDS_MAX)
    return timedelta(milliseconds=seconds * percent * 10)
