"""Everything `doctor` looks at, side by side: each check finds one thing and says what to do; none raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

from escrow_monitor.cli.checkup.check import Area, Check, Look
from escrow_monitor.cli.checkup.machine import configuration, disk, folders, policies, program, secrets, zones
from escrow_monitor.cli.checkup.partners import answers, bank_door, bank_section, channel, shown
from escrow_monitor.cli.checkup.stores import database, engine, rounds
from escrow_monitor.cli.frame import Frame
from escrow_monitor.errors import DatabaseError, EscrowMonitorError, UsageError
from escrow_monitor.rounds.report import Progress
from escrow_monitor.wiring import App

SECONDS_MAX = 45.0
"""No check is waited for longer than this; all of them run side by side."""
THREADS = 8


class Task(NamedTuple):
    """One check to do: its name, whose fault a failure is, and what yields its lines."""

    name: str
    area: Area
    do: Callable[[Look], Iterator[Check]]


def tasks_of(look: Look) -> list[Task]:
    """What is looked at, in the order in which it is shown."""
    banks, channels = look.settings.banks, look.settings.channels
    tasks = [
        Task("program", Area.CONFIGURATION, program),
        Task("configuration", Area.CONFIGURATION, configuration),
        Task("secrets", Area.CONFIGURATION, secrets),
        Task("time zones", Area.CONFIGURATION, zones),
        Task("policies", Area.CONFIGURATION, policies),
        Task("database", Area.OUTSIDE, database),
        Task("engine", Area.OUTSIDE, engine),
        Task("disk", Area.OUTSIDE, disk),
        Task("folders", Area.CONFIGURATION, folders),
        *(Task(f"channel {name}", Area.CONFIGURATION, partial(channel, name=name)) for name in channels),
        *(Task(f"bank {name}", Area.CONFIGURATION, partial(bank_section, name=name)) for name in banks),
        Task("bank answers", Area.DATA, answers),
        Task("rounds", Area.DATA, rounds),
    ]
    if look.offline:
        return [*tasks, Task("certificates seen", Area.DATA, shown)]
    return tasks + [Task(f"bank {name}", Area.OUTSIDE, partial(bank_door, name=name)) for name in banks]


def run_checks(frame: Frame, app: App, *, offline: bool, progress: Progress | None) -> list[Check]:
    """Every check, side by side, in the order of their list. One that takes too long is unknown."""
    look = Look(frame=frame, app=app, offline=offline)
    tasks = tasks_of(look)
    answered: SimpleQueue[tuple[int, list[Check]]] = SimpleQueue()
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(tasks)):
        waiting.put(number)

    def worker() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except Empty:
                return
            answered.put((number, lines(look, tasks[number])))

    for _ in range(min(THREADS, len(tasks))):
        Thread(target=worker, daemon=True).start()
    found: dict[int, list[Check]] = {}
    until = time.monotonic() + SECONDS_MAX
    while len(found) < len(tasks):
        try:
            number, checks = answered.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            break
        found[number] = checks
        if progress is not None:
            progress(len(found), len(tasks))
    return [
        one for number, task in enumerate(tasks)
        for one in (found[number] if number in found else [too_long(look, task)])
    ]


def lines(look: Look, task: Task) -> list[Check]:
    """The lines of one check; what goes wrong in it is a line as well."""
    checks: list[Check] = []
    try:
        checks.extend(task.do(look))
    except DatabaseError as error:
        if task.name in ("database", "engine"):
            return [*checks, look.bad(task.name, Area.OUTSIDE, str(error))]
        said = look.pick(zh="数据库没有应答", en="the database did not answer")
        return [*checks, look.unknown(task.name, task.area, said)]
    except UsageError as error:
        return [*checks, look.bad(task.name, Area.CONFIGURATION, str(error))]
    except (EscrowMonitorError, OSError) as error:
        return [*checks, look.bad(task.name, task.area, str(error))]
    return checks


def too_long(look: Look, task: Task) -> Check:
    """The line of a check that did not end."""
    said = look.pick(zh=f"{SECONDS_MAX:.0f} 秒内没有结果", en=f"no result within {SECONDS_MAX:.0f} seconds")
    return look.unknown(task.name, task.area, said)
