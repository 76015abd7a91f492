"""The only room that reads the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


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


def start_of(moment: datetime, step: timedelta) -> datetime:
    """Return the last whole multiple of `step` (since the epoch) at or before `moment`."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // step * step
