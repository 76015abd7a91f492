"""Real daemons over the small world: started, killed, stopped, and what must be true of what they leave.

The story of the crash tests is told by real clocks here, so there is no reference to compare with. What must be true of
any story is looked at instead: the feed alone, replayed, gives the alerts as they stand, and these are what the banks'
last balances call for.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alerts.alert import FeedEntry, Severity, Status, TransitionKind
from escrow_monitor.clock import SystemClock
from escrow_monitor.domain.accounts import BalanceKind
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.deliveries import counts
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.nodes import last_beats
from escrow_monitor.records.runs import Outcome, Run, recent
from escrow_monitor.settings import load_settings
from escrow_monitor.wiring import App
from tests.journeys.crash_world import PULLED, House, configuration, deliver_files, populate, write_policy
from tests.journeys.journey_command import arguments, environment

REPLAY_FROM = datetime(2026, 11, 18, 2, tzinfo=UTC)
"""A working morning, with the statements of the two days before in the folder."""
WAIT_SECONDS_MAX = 60
AMOUNTS = (150_000, 105_000, 95_000, 70_000)
LEVEL = {150_000: None, 105_000: "yellow", 95_000: "orange", 70_000: "red"}
RUNS_MAX = 10_000

SCHEDULE = """
[schedule]
pull_balances = "* * * * * *"
load_statements = "*/3 * * * * *"
check_balances = "*/2 * * * * *"
deliver_alerts = "* * * * * *"
watch_rounds = "*/5 * * * * *"
[clock]
replay_from = {replay_from}
started_at = {started_at}
speed = 1
"""


@dataclass
class Land:
    """One folder and database, the banks that change under it, and the daemons that watch it."""

    folder: Path
    house: House
    url: str
    command: str = "daemon"
    steps: int = 2
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = f"land-{self.folder.name}"
        self.config = self.folder / "escrow-monitor.toml"
        (self.folder / "statements").mkdir()
        write_policy(self.folder / "policies")
        for step in range(self.steps):
            deliver_files(self.folder / "statements", step)
        self.started_at = SystemClock().now()
        self.config.write_text(configuration(
            house=self.house, run=self.name, database_url=self.url, policies=self.folder / "policies",
            extra=SCHEDULE.format(replay_from=REPLAY_FROM.isoformat(), started_at=self.started_at.isoformat()),
        ))
        database = Database(self.url)
        populate(database)
        database.close()
        self.balances = dict.fromkeys(PULLED, 150_000)
        self.house.live[self.name] = self.balances

    def start(self, executor_id: str = "one") -> subprocess.Popen[bytes]:
        with (self.folder / f"{executor_id}.log").open("ab") as log:
            process = subprocess.Popen(
                arguments("--config", self.config, self.command), cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=environment({"ESCROW_MONITOR_ENGINE__EXECUTOR_ID": executor_id}),
            )
        self.running.append(process)
        return process

    def start_and_wait(self, executor_id: str = "one") -> subprocess.Popen[bytes]:
        """Start one, and wait until its heart beats: then it hears a signal."""
        asked_at = SystemClock().now()
        process = self.start(executor_id)
        self.wait_for(lambda: self.ask(last_beats).get(executor_id, asked_at) > asked_at, f"{executor_id} never beat")
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(45)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        assert process.poll() is None, self.logs()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)

    def end_all(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait(10)

    def logs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def now(self) -> datetime:
        """What time it is in this world."""
        return REPLAY_FROM + (SystemClock().now() - self.started_at)

    @contextmanager
    def restless(self, chance: random.Random) -> Iterator[None]:
        """Money comes and goes at the bank all the while."""
        stop = threading.Event()

        def move() -> None:
            while not stop.wait(chance.uniform(0.2, 0.8)):
                self.balances[chance.choice(list(PULLED))] = chance.choice(AMOUNTS)

        thread = threading.Thread(target=move, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Ask the records."""
        database = Database(self.url)
        try:
            with database.read() as session:
                return question(session)
        finally:
            database.close()

    def runs(self) -> list[Run]:
        found: list[Run] = self.ask(lambda session: recent(session, limit=RUNS_MAX))
        assert len(found) < RUNS_MAX
        return found

    def undone(self) -> list[Run]:
        """The runs that were begun and never ended, but those a newer one of the same shard has covered since."""
        found = self.runs()
        newest: dict[tuple[str, str], datetime] = {}
        for run in found:
            if run.finished_at is not None and run.outcome is not Outcome.ERROR:
                key = (run.round, run.shard)
                newest[key] = max(newest.get(key, run.started_at), run.started_at)
        never = datetime.min.replace(tzinfo=UTC)
        return [
            run for run in found
            if run.outcome in (None, Outcome.ERROR) and newest.get((run.round, run.shard), never) <= run.started_at
        ]

    def entries(self) -> list[FeedEntry]:
        found: list[FeedEntry] = self.ask(lambda session: RecordsAlertBook(session).entries(after=0, limit=RUNS_MAX))
        return found

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            assert time.monotonic() < until, f"{what}\n{self.logs()}"
            time.sleep(0.2)

    def floor_alerts(self) -> dict[str, str]:
        """The open floor alerts of the pulled accounts: account to severity."""
        found = self.ask(lambda session: RecordsAlertBook(session).open_alerts(rule="floor", bank="lotus"))
        return {alert.labels["account_no"]: alert.severity.value for alert in found}

    def settle(self) -> None:
        """Let the banks come to rest, and wait until the alerts say what their balances call for."""
        self.balances.update(zip(PULLED, (150_000, 70_000, 105_000), strict=True))
        wanted = {number: level for number, amount in self.balances.items() if (level := LEVEL[amount])}
        self.wait_for(lambda: self.floor_alerts() == wanted, f"floor alerts never became {wanted}")

    def deliver_the_rest(self) -> None:
        """An hour later what is still owed is sent: a killed daemon's claims have run out by then."""

        class LaterApp(App):
            real_now = staticmethod(lambda: SystemClock().now() + timedelta(hours=1))

        settings = load_settings(self.config, {})
        app = LaterApp(settings=settings, clock=settings.make_clock(), database=Database(settings.database_url))
        try:
            app.perform("deliver-alerts", "hook", app.clock.now())
        finally:
            app.close()


def broken_story(land: Land) -> list[str]:
    """What is not as it must be in what the daemons left, in words."""
    entries = land.entries()
    verdict = land.ask(audit.verify)
    received: dict[str, set[bytes]] = {}
    for message in land.house.received.get(land.name, ()):
        received.setdefault(message.message_id, set()).add(message.body)
    owed = {f"evt_{entry.seq}_hook" for entry in entries}
    hook = land.ask(counts)["hook"]
    broken = [
        *(["feed numbers are reused or skipped"] if [e.seq for e in entries] != [*range(1, len(entries) + 1)] else []),
        *([f"the audit chain is broken: {verdict.detail}"] if not verdict.whole else []),
        *([f"owed and received differ: {owed ^ received.keys()}"] if owed != received.keys() else []),
        *(f"{name} says different things: {bodies}" for name, bodies in received.items() if len(bodies) > 1),
        *([f"deliveries: {hook}"] if (hook.due, hook.dead, hook.delivered) != (0, 0, len(entries)) else []),
        *_broken_lives(entries),
    ]
    replayed = _replayed(entries)
    stands = {
        alert.alert_id: (alert.status, alert.severity)
        for alert in land.ask(lambda session: RecordsAlertBook(session).open_alerts())
    }
    if stands != {alert_id: state for alert_id, state in replayed.items() if state[0] is Status.OPEN}:
        broken.append(f"the feed replayed gives {replayed}, but the alerts stand at {stands}")
    for number in PULLED:
        stated = Counter(
            (one.kind, one.as_of) for one in land.ask(lambda session, n=number: readings(session, n, limit=RUNS_MAX))
        )
        broken += [f"two readings of {number} at {key}" for key, times in stated.items() if times > 1]
        assert any(kind is BalanceKind.BOOKED_INTRADAY for kind, _ in stated)
    return broken


_OPENING = {TransitionKind.OPENED, TransitionKind.REOPENED}


def _replayed(entries: Sequence[FeedEntry]) -> dict[str, tuple[Status, Severity]]:
    return {
        entry.alert_id: (
            Status.RESOLVED if entry.transition is TransitionKind.RESOLVED else Status.OPEN, entry.severity
        )
        for entry in entries
    }


def _broken_lives(entries: Sequence[FeedEntry]) -> Iterator[str]:
    """Each alert opens once, then rises, eases, resolves and reopens: no step is missing, none is told twice."""
    before: dict[str, FeedEntry] = {}
    for entry in entries:
        last = before.get(entry.alert_id)
        before[entry.alert_id] = entry
        now = entry.transition
        if last is None:
            fits = now is TransitionKind.OPENED
        elif last.transition is TransitionKind.RESOLVED:
            fits = now is TransitionKind.REOPENED
        else:
            rise = entry.severity.rank - last.severity.rank
            fits = (
                now is TransitionKind.RESOLVED
                or (now is TransitionKind.ESCALATED and rise > 0)
                or (now is TransitionKind.EASED and rise < 0)
            )
        if not fits:
            yield f"{entry.key}: {now} {entry.severity} (feed {entry.seq}) cannot follow {last and last.transition}"
