"""What the daemon knows of a round: its name, its shards, its times and whom it follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from escrow_monitor.errors import ConfigurationError

Perform = Callable[[str, str, datetime], Mapping[str, object]]
"""Do one round for (round, shard, scheduled_at) and report. It may be called again for the same
three after a crash, so a second call must have no second effect."""

Tell = Callable[[str, Mapping[str, object]], None]
"""Hears what the daemon did, as a dotted event name and its keys; see `EVENTS`."""

EVENTS: dict[str, str] = {
    "round.tick_missed": "ticks that no node will run because a newer one stood behind them: count",
    "round.tick_owed": "a tick could not be handed to the engine yet and is tried again",
    "round.tick_empty": "a tick had no shard to run for",
    "round.covered": "a waiting run was left out because a newer one of the same shard covers it",
    "round.failed": "a round raised, after the repeats that passing failures get",
    "engine.started": "the engine runs",
    "engine.stopped": "the engine stopped; drained says whether every running round had finished",
    "engine.resumed": "work of a node that fell silent was taken over: count",
    "engine.swept": "finished work older than the retention was deleted: count",
    "engine.house_neglected": "the heartbeat, the failover or the retention failed and is tried again",
    "lifetime.ready": "all parts of the process run",
    "lifetime.stopping": "the process was asked to stop",
    "lifetime.stop_failed": "a part raised while it stopped",
    "lifetime.unhealthy": "a part was unhealthy for too long and the process ends",
    "watchdog.late": "rounds, deliveries, seals or backups are late: a sentence each",
    "watchdog.in_time": "nothing is late any more",
    "watchdog.call_failed": "the dead man's switch outside could not be called",
}

_BAD = (".late", "_missed", "_owed", "failed", "_neglected", "unhealthy")

# A node says every ten seconds that it lives; one that has not for a minute is taken for dead. A stall shorter
# than that costs nothing, a longer one at most a step done twice.
BEAT_SECONDS = 10.0
SILENT_SECONDS = 60

SHARD_WHOLE = "all"
"""The shard of a round that is not divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When one kind of round runs, and for what.

    `cron` has five fields, or six with seconds first; empty means that only its leaders start it.
    `follows` names the rounds whose end starts this one at once if they reported something new
    (`report["news"]`; a report that does not say counts as news). `shards` is asked at every tick.
    `shards_at_once_max` bounds how many shards one process runs side by side.
    """

    round: str
    shards: Callable[[], Sequence[str]] = lambda: (SHARD_WHOLE,)
    cron: str = ""
    follows: tuple[str, ...] = ()
    shards_at_once_max: int = 32


def check_plans(plans: Sequence[Plan]) -> None:
    """Refuse plans that cannot work: a name twice, an unknown leader, a circle, a round nothing starts."""
    names = [plan.round for plan in plans]
    for plan in plans:
        if names.count(plan.round) > 1:
            raise ConfigurationError(f"The round {plan.round} is planned twice; plan it once.")
        if ":" in plan.round or not plan.round:
            raise ConfigurationError(f"A round cannot be named {plan.round!r}: colons separate the parts of its ids.")
        if not plan.cron and not plan.follows:
            raise ConfigurationError(f"Nothing starts the round {plan.round}: give it a cron time or a leader.")
        for leader in plan.follows:
            if leader not in names:
                raise ConfigurationError(
                    f"The round {plan.round} follows {leader}, which is not planned; planned are {', '.join(names)}."
                )
    _check_circles(plans)


def _check_circles(plans: Sequence[Plan]) -> None:
    waiting = {plan.round: set(plan.follows) for plan in plans}
    while waiting:
        free = {name for name, leaders in waiting.items() if not leaders & waiting.keys()}
        if not free:
            raise ConfigurationError(f"The rounds {', '.join(sorted(waiting))} follow each other in a circle.")
        for name in free:
            del waiting[name]


def followers_of(leader: str, plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """Return the plans that follow this round, in their given order."""
    return tuple(plan for plan in plans if leader in plan.follows)


def follower_shards(follower: Plan, leader_shard: str) -> tuple[str, ...]:
    """Return which shards of the follower the end of one leader's shard concerns: the same one, else all."""
    shards = tuple(follower.shards())
    return (leader_shard,) if leader_shard in shards else shards


def tick_id(round_name: str, shard: str, scheduled_at: datetime) -> str:
    """Return the id under which this tick happens once, however many nodes wake for it."""
    if scheduled_at.tzinfo is None:
        raise ValueError(f"A tick of {round_name} has a time without a zone: {scheduled_at}.")
    return f"{round_name}:{shard}:{scheduled_at.astimezone(UTC).isoformat()}"


def log_event(event: str, keys: Mapping[str, object]) -> None:
    """Tell the log, as the daemon does when it is given nobody else to tell."""
    bad = event.endswith(_BAD) or keys.get("drained") is False
    log = structlog.get_logger("escrow_monitor.daemon")
    (log.warning if bad else log.info)(event, **keys)
