"""The clock and the engine as one part: what `run`, `daemon` and `demo` start and stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from escrow_monitor.clock import SystemClock
from escrow_monitor.daemon.plan import BEAT_SECONDS, SILENT_SECONDS, Perform, Plan, Tell, check_plans, log_event

if TYPE_CHECKING:
    from escrow_monitor.daemon.engine import Engine
    from escrow_monitor.daemon.schedule import Schedule

PULSE_AGE_SECONDS_MAX = 30
HAND_OVER_SECONDS_MAX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonPorts:
    """What a daemon is given: its plans, how a round is performed, and where the engine keeps its work.

    `executor_id` must differ between daemons that share a PostgreSQL and stay the same over a restart.
    `beat` and `silent` (see Engine) may be left out where only one daemon runs.
    """

    plans: Sequence[Plan]
    perform: Perform
    engine_url: str
    executor_id: str
    zone: ZoneInfo
    tell: Tell = log_event
    beat: Callable[[str], None] | None = None
    silent: Callable[[int], Sequence[str]] | None = None
    beat_seconds: float = BEAT_SECONDS
    silent_seconds: int = SILENT_SECONDS


class Daemon:
    """Clock and engine in this process. It loads both libraries when it starts, and not before."""

    name = "daemon"

    def __init__(self, ports: DaemonPorts) -> None:
        self._ports = ports
        self._engine: Engine | None = None
        self._schedule: Schedule | None = None

    def start(self) -> None:
        """Start the engine, then the clock. Raises ConfigurationError or EngineError, and then nothing runs."""
        from escrow_monitor.daemon.engine import Engine
        from escrow_monitor.daemon.schedule import Schedule

        ports = self._ports
        check_plans(ports.plans)
        engine = Engine(
            url=ports.engine_url, executor_id=ports.executor_id, plans=ports.plans, perform=ports.perform,
            tell=ports.tell, beat=ports.beat, silent=ports.silent, beat_seconds=ports.beat_seconds,
            silent_seconds=ports.silent_seconds,
        )
        schedule = Schedule(plans=ports.plans, enqueue=engine.enqueue, zone=ports.zone, tell=ports.tell)
        engine.start()
        # The clock of the machine even where the demo replays the past: ticks are real time.
        schedule.start(SystemClock().now())
        self._engine, self._schedule = engine, schedule

    def stop(self, seconds: float) -> bool:
        """Stop the clock, then let running rounds end within `seconds`; say whether all did."""
        if self._schedule is not None:
            self._schedule.stop(min(seconds, HAND_OVER_SECONDS_MAX))
        drained = self._engine.stop(seconds) if self._engine is not None else True
        self._engine = self._schedule = None
        return drained

    @property
    def is_healthy(self) -> bool:
        """True while the clock wakes and the engine's heart beats; False before the start and after the stop."""
        if self._schedule is None or self._engine is None:
            return False
        return self._schedule.pulse_age_seconds < PULSE_AGE_SECONDS_MAX and self._engine.is_alive

    def next_ticks(self, now: datetime) -> Mapping[str, datetime | None]:
        """Return when each round's clock strikes next; empty when nothing runs."""
        return self._schedule.next_ticks(now) if self._schedule is not None else {}
