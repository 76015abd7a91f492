"""The process that is killed: it lives through one week of rounds, and kills itself at a given commit if it is told to.

    python -m tests.journeys.crash_child < requests > answers        one JSON object a line

Each request is answered by a process of its own, forked from this one:
`{"config": FILE, "kill_at": 7, "when": "before", "warm": false}` -> `{"exit": -9, "commits": null}`. A warm one is
lived in this process, and spares all later ones the imports. Killing needs no hook in the program: SQLAlchemy tells of
every commit before it is made, and of every connection that is given back after it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Pool, event

from escrow_monitor.logs import configure
from escrow_monitor.records.database import Database
from escrow_monitor.rounds import check_balances as check_round
from escrow_monitor.settings import Settings, load_settings
from escrow_monitor.wiring import App
from tests.journeys.crash_world import BANK, FOLDER, MONDAY, PULLED, deliver_files, deliver_late_files

CHECKED_AT_ONCE = 2
"""Accounts in one transaction of the check: three transactions for five accounts, and so places to die between them."""
STEPS = len(next(iter(PULLED.values())))
HOOK = "hook"


@dataclass
class ScriptedClock:
    """Stands where the script put it."""

    at: datetime = field(default=datetime(2026, 11, 16, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at


@dataclass
class Doom:
    """Counts commits, and ends this process at one of them: before it is made, or right after."""

    kill_at: int | None
    when: str
    commits: int = 0
    doomed: bool = False

    def __enter__(self) -> Doom:
        event.listen(Engine, "commit", self._before_commit)
        event.listen(Pool, "checkin", self._given_back)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "commit", self._before_commit)
        event.remove(Pool, "checkin", self._given_back)

    def _before_commit(self, _connection: object) -> None:
        self.commits += 1
        if self.commits == self.kill_at:
            if self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            self.doomed = True

    def _given_back(self, *_: object) -> None:
        if self.doomed:
            os.kill(os.getpid(), signal.SIGKILL)


def live(settings: Settings) -> None:
    """Four mornings: statements and balances arrive, are checked, and what they mean is delivered; one file comes late.

    Each round has its scheduled time, the same in every life; the clock stands at it. On Wednesday the watch finds
    that nothing has run since Tuesday, and on Thursday that everything did. At the end what is owed still is sent.
    """
    clock = ScriptedClock()

    class ScriptedApp(App):
        # Leases and repeats live in the machine's time, which the script tells too.
        real_now = staticmethod(clock.now)

    app = ScriptedApp(settings=settings, clock=clock, database=Database(settings.database_url))
    try:
        for step in range(STEPS):
            today = MONDAY + timedelta(days=step + 1)
            (settings.folder / "today").write_text(today.isoformat())
            deliver_files(settings.folder / "statements", step)
            morning = datetime(today.year, today.month, today.day, 2, tzinfo=UTC)
            clock.at = morning
            if step == 1:
                app.perform("watch-rounds", "all", morning)
            for minute, name, shard in (
                (1, "load-statements", FOLDER), (2, "pull-balances", BANK), (3, "check-balances", "all"),
                (4, "deliver-alerts", HOOK),
            ):
                clock.at = morning + timedelta(minutes=minute)
                app.perform(name, shard, clock.at)
        deliver_late_files(settings.folder / "statements")
        for minute, name, shard in (
            (5, "load-statements", FOLDER), (6, "check-balances", "all"), (9, "watch-rounds", "all"),
            (60, "deliver-alerts", HOOK),
            # A claim that a killed life made in the hour before has run out by now.
            (120, "deliver-alerts", HOOK),
        ):
            clock.at = morning + timedelta(minutes=minute)
            app.perform(name, shard, clock.at)
    finally:
        app.close()


def one_life(request: dict[str, Any]) -> int:
    """One process: returns its commits, or does not return."""
    configure(format="json", level="error")
    check_round.CHUNK = CHECKED_AT_ONCE
    with Doom(request["kill_at"], request["when"]) as doom:
        live(load_settings(Path(request["config"]), {}))
    return doom.commits


def in_a_fork(request: dict[str, Any]) -> dict[str, object]:
    """Live it in a process of its own, and tell how that ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.write(writing, str(one_life(request)).encode())
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"exit": code, "commits": int(said) if said else None}


def in_this_process(request: dict[str, Any]) -> dict[str, object]:
    """Live it here, so that all later lives begin with what is loaded and worked out by then; nothing stays open."""
    commits = one_life(request)
    assert threading.active_count() == 1, threading.enumerate()
    return {"exit": 0, "commits": commits}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(in_this_process(request) if request["warm"] else in_a_fork(request)), flush=True)
    assert not {"dbos", "fastapi", "apscheduler"} & sys.modules.keys()


if __name__ == "__main__":
    main()
