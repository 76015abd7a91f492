"""The clock: cron times become ticks that are handed to the engine, and nothing runs here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from escrow_monitor.daemon.plan import Plan, Tell, log_event
from escrow_monitor.errors import ConfigurationError

Enqueue = Callable[[str, str, datetime], None]

PULSE_SECONDS = 5
CATCH_UP = timedelta(hours=26)
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 30.0
_PULSE = "pulse"
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPANS = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=8), timedelta(days=32))


class Schedule:
    """Wakes at every cron time and hands the tick to the engine for each shard of the round.

    Every node keeps its own clock in memory; the tick's id, made of round, shard and scheduled
    time, lets it happen once. A tick that cannot be handed over is owed and tried again; a newer
    tick of the same round takes its place, and the older one is told as missed.
    On start each round's last tick of the past 26 hours is handed over too, so that a daemon
    that was down at 09:00 loads the statements when it comes back; if a node ran it, nothing happens.
    """

    def __init__(
        self, *, plans: Sequence[Plan], enqueue: Enqueue, zone: ZoneInfo, tell: Tell = log_event,
        catch_up: timedelta = CATCH_UP,
    ) -> None:
        self._plans = {plan.round: plan for plan in plans if plan.cron}
        self._triggers = {
            name: parse_cron(plan.cron, zone=zone, what=f"schedule of {name}") for name, plan in self._plans.items()
        }
        self._tell = tell
        self._catch_up = catch_up
        self._owed = _Owed(plans=self._plans, enqueue=enqueue, tell=tell)
        self._scheduler = BackgroundScheduler(timezone=zone, daemon=True)
        self._pulse_at = time.monotonic()

    def start(self, now: datetime) -> None:
        """Start the clock; `now` decides which last ticks are caught up with."""
        self._scheduler.add_executor(_Ticks(self._due), "default")
        for name, trigger in self._triggers.items():
            # Without coalescing the executor sees every time that passed, and so can count what was missed.
            self._scheduler.add_job(_nothing, trigger, id=name, misfire_grace_time=None, coalesce=False)
        pulse = CronTrigger(second=f"*/{PULSE_SECONDS}", timezone=UTC)
        self._scheduler.add_job(_nothing, pulse, id=_PULSE, misfire_grace_time=None, coalesce=True)
        self._owed.start()
        self._scheduler.start()
        for name, trigger in self._triggers.items():
            tick = last_tick(trigger, now, within=self._catch_up)
            if tick is not None:
                self._owed.owe(name, tick)

    def stop(self, seconds: float) -> bool:
        """Stop waking, let what is owed be handed over within `seconds`; say whether all was."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        return self._owed.stop(seconds)

    @property
    def pulse_age_seconds(self) -> float:
        """How long ago the clock last woke. More than a few `PULSE_SECONDS`: the clock stands."""
        return time.monotonic() - self._pulse_at

    def next_ticks(self, now: datetime) -> Mapping[str, datetime | None]:
        """Return when each round's clock strikes next, None when never again."""
        return {name: _next(trigger, now) for name, trigger in self._triggers.items()}

    def _due(self, name: str, ticks: Sequence[datetime]) -> None:
        self._pulse_at = time.monotonic()
        if name == _PULSE:
            return
        if len(ticks) > 1:
            # The machine slept or was too busy to wake; the newest tick does for all.
            self._tell("round.tick_missed", {"round": name, "count": len(ticks) - 1, "last": ticks[-2].isoformat()})
        self._owed.owe(name, ticks[-1])


class _Ticks(BaseExecutor):  # type: ignore[misc]  # apscheduler carries no types
    """Passes the scheduled times on. It counts no instances: handing over is all that happens here."""

    def __init__(self, due: Callable[[str, Sequence[datetime]], None]) -> None:
        super().__init__()
        self._due = due

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._due(job.id, run_times)


class _Owed:
    """Ticks not yet handed to the engine, the newest of each round, and the thread that hands them over.

    The engine may block while its database is away; the clock must not, so this is a thread of its own.
    """

    def __init__(self, *, plans: Mapping[str, Plan], enqueue: Enqueue, tell: Tell) -> None:
        self._plans = plans
        self._enqueue = enqueue
        self._tell = tell
        self._ticks: dict[str, datetime] = {}
        self._busy = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._hand_over_all, name="ticks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def owe(self, name: str, tick: datetime) -> None:
        with self._changed:
            older = self._ticks.get(name)
            if older is None or older < tick:
                self._ticks[name] = tick
            self._changed.notify_all()
        if older is not None and older != tick:
            self._tell("round.tick_missed", {"round": name, "count": 1, "last": min(older, tick).isoformat()})

    def stop(self, seconds: float) -> bool:
        with self._changed:
            drained = self._changed.wait_for(lambda: not self._ticks and not self._busy, timeout=seconds)
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=0.5)
        return drained

    def _hand_over_all(self) -> None:
        pause = RETRY_SECONDS_FIRST
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._ticks) or self._stopping)
                if self._stopping:
                    return
                name = next(iter(self._ticks))
                tick = self._ticks.pop(name)
                self._busy = True
            handed_over = self._hand_over(name, tick)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if handed_over:
                    pause = RETRY_SECONDS_FIRST
                    continue
                newer = self._ticks.pop(name, None)
                self._ticks[name] = max(tick, newer) if newer else tick
                if self._changed.wait_for(lambda: self._stopping, timeout=pause):
                    return
                pause = min(pause * 2, RETRY_SECONDS_MAX)

    def _hand_over(self, name: str, tick: datetime) -> bool:
        try:
            shards = self._plans[name].shards()
            for shard in shards:
                self._enqueue(name, shard, tick)
        except Exception as error:  # the edge of the clock: a tick must outlive whatever the engine raises
            self._tell("round.tick_owed", {"round": name, "tick": tick.isoformat(), "error": repr(error)})
            return False
        if not shards:
            self._tell("round.tick_empty", {"round": name, "tick": tick.isoformat()})
        return True


def parse_cron(expression: str, *, zone: ZoneInfo, what: str = "schedule") -> CronTrigger:
    """Read five cron fields, or six with seconds first, as crontab(5) means them.

    Weekday numbers are cron's (0 and 7 are Sunday), not APScheduler's (0 is Monday). Day of month
    together with weekday is refused: cron takes either, APScheduler takes both, and a regulator's
    daily round should not hang on who is right. Raises ConfigurationError.
    """
    fields = expression.split()
    if len(fields) not in (5, 6):
        raise ConfigurationError(
            f"{what}: {expression!r} has {len(fields)} fields; give five (minute hour day month weekday) "
            "or six with seconds first."
        )
    second, minute, hour, day, month, weekday = fields if len(fields) == 6 else ["0", *fields]
    if day != "*" and weekday != "*":
        raise ConfigurationError(f"{what}: {expression!r} names a day of the month and a weekday; use one of them.")
    try:
        return CronTrigger(
            second=second, minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday),
            timezone=zone,
        )
    except (ValueError, IndexError, TypeError) as error:
        raise ConfigurationError(f"{what}: {expression!r} is not a cron expression: {error}.") from error


def last_tick(trigger: CronTrigger, now: datetime, *, within: timedelta) -> datetime | None:
    """Return the last time at or before `now` that the trigger named, None if that is longer ago than `within`."""
    for span in _SPANS:
        tick = _last_since(trigger, now - min(span, within), now)
        if tick is not None or span >= within:
            return tick
    return None


def _last_since(trigger: CronTrigger, since: datetime, now: datetime) -> datetime | None:
    """Halve the span until the first tick after its middle is the last before `now`."""
    found: datetime | None = None
    low, high = since, now
    while (tick := _next(trigger, low)) is not None and tick <= now:
        found = tick
        # One step on is always right; a leap to the middle saves the steps when ticks are many.
        middle = tick + (high - tick) / 2
        leap = _next(trigger, middle)
        if leap is not None and tick < leap <= now:
            low = leap
        else:
            high = middle
            low = tick + timedelta(microseconds=1)
    return found


def _next(trigger: CronTrigger, at: datetime) -> datetime | None:
    tick = trigger.get_next_fire_time(None, at)
    return tick.astimezone(UTC) if isinstance(tick, datetime) else None


def _weekdays(field: str) -> str:
    return ",".join(_weekday_part(part) for part in field.split(","))


def _weekday_part(part: str) -> str:
    span, _, step = part.partition("/")
    first, dash, last = span.partition("-")
    if not first.isdigit():
        return part
    if not dash:
        last = "6" if step else first
    if not last.isdigit() or not 0 <= int(first) <= int(last) <= 7:
        raise ValueError(f"weekday {part!r} is not within 0-7")
    return ",".join(_WEEKDAYS[number] for number in range(int(first), int(last) + 1, int(step or 1)))


def _nothing() -> None:
    """What the scheduler believes it runs; the executor passes the time on instead."""
