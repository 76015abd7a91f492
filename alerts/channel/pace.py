"""How often a channel may be called: the far side's published limits, and the rest it asked for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Two clocks do not run quite alike, and a limit's edge is not worth a refusal.
MARGIN_SECONDS = 0.1


class Limit(NamedTuple):
    """At most so many calls in any span of so many seconds."""

    calls: int
    seconds: float


class Pace:
    """Counts calls at their end: seen from there, the far side cannot have met them any closer to each other.

    One process counts for itself; where two share a robot, the far side's own refusal still holds them back.
    """

    def __init__(self, limits: Sequence[Limit] = (), *, seconds_of: Callable[[], float] = time.monotonic) -> None:
        self._limits = tuple(limits)
        self._seconds_of = seconds_of
        self._ends: deque[float] = deque(maxlen=max((limit.calls for limit in self._limits), default=1))
        self._held_until = 0.0

    def ready_in(self) -> float:
        """Seconds until the next call may be made."""
        now = self._seconds_of()
        used_up = [limit for limit in self._limits if len(self._ends) >= limit.calls]
        free_at = [self._ends[-calls] + seconds + MARGIN_SECONDS for calls, seconds in used_up]
        return max(0.0, *(at - now for at in (self._held_until, *free_at)))

    def called(self) -> None:
        """A call has just ended."""
        self._ends.append(self._seconds_of())

    def hold(self, seconds: float) -> None:
        """The far side asked for rest."""
        self._held_until = max(self._held_until, self._seconds_of() + seconds)
