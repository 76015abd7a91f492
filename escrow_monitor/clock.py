"""The only room that reads the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")
"""Whose days the house reads where neither a policy nor the configuration names another zone."""


class Clock(Protocol):
    """Says what time it is, as an aware UTC instant."""

    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that stands at one instant: for `--at` and for tests."""

    at: datetime

    def now(self) -> datetime:
        return self.at.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayClock:
    """Replays the past quickly, then goes on in real time: the demo's clock.

    At the real instant `started_at` it shows `replay_from`; each real second is `speed` seconds
    until it has caught up with the machine's clock, which it never passes.
    """

    replay_from: datetime
    started_at: datetime
    speed: int

    def now(self) -> datetime:
        real = datetime.now(UTC)
        return min(real, self.replay_from + (real - self.started_at) * self.speed)
