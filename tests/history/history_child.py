"""The program that is watched: it does one step of the history after the other until it is killed.

    python -m tests.history.history_child < requests > answers        one JSON object a line

Each request is a life, forked from this process so that it need not import anything:
`{"config": FILE, "script": [SEED, STEPS, ALONE], "from": 12, "claimant": "one", "door": PORT, "doom": ["commit", 40],
"mutant": null}` -> `{"pid": 4711}` and, when it has ended, `{"exit": -9}`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Pool, event

from alerts.alert import Alert, DecisionKind, Severity
from alerts.book import Decided
from escrow_monitor.actions import decide_alert, silence_alerts
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.logs import configure
from escrow_monitor.records.alerts import deliveries, silences
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank import turns as bank_turns
from escrow_monitor.records.database import Database, Session
from escrow_monitor.rounds import check_balances as check_round
from escrow_monitor.rounds.report import Report
from escrow_monitor.settings import Settings, load_settings
from escrow_monitor.wiring import App, policies_of
from tests.history.history_mutants import MUTANTS
from tests.history.history_script import BANK_OF, BANKS, BEGINS, CHANNELS, HOST, Script, Step, script_of

CHECKED_AT_ONCE = 3
"""Accounts in one transaction of the check: three transactions for eight accounts, and so places to die between."""
ROUNDS = {
    "pull": "pull-balances", "check": "check-balances", "deliver": "deliver-alerts", "watch": "watch-rounds",
    "seal": "seal-audit", "reconcile": "reconcile",
}


@dataclass
class ScriptedClock:
    """Stands where the script put it."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@dataclass
class Doom:
    """Ends this process at the n-th statement, just before the n-th commit, or right after it."""

    kind: str
    left: int
    doomed: bool = False

    def __post_init__(self) -> None:
        if self.kind == "statement":
            event.listen(Engine, "before_cursor_execute", self._count)
        elif self.kind in ("commit", "committed"):
            event.listen(Engine, "commit", self._count)
            event.listen(Pool, "checkin", self._given_back)

    def _count(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            if self.kind != "committed":
                os.kill(os.getpid(), signal.SIGKILL)
            self.doomed = True

    def _given_back(self, *_: object) -> None:
        if self.doomed:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Door:
    """Tells the outside what begins and what came of it: an answer means that it was written down."""

    port: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.connection = HTTPConnection(HOST, self.port)

    def tell(self, what: str, **said: object) -> dict[str, Any]:
        with self.lock:
            self.connection.request("POST", what, json.dumps(said, default=str))
            found: dict[str, Any] = json.loads(self.connection.getresponse().read())
            return found


@lru_cache(maxsize=1)
def _policies(settings: tuple[str, ...], config: str) -> PolicyBook:
    return policies_of(load_settings(Path(config), {}))


class Program:
    """One of the programs that stand on the database, with its clock where the script is."""

    def __init__(self, settings: Settings, *, claimant: str, config: str) -> None:
        self.clock = clock = ScriptedClock(BEGINS)

        class ScriptedApp(App):
            # Leases and repeats live in the machine's time, which the script tells too.
            real_now = staticmethod(clock.now)

        self.app = ScriptedApp(
            settings=settings, clock=clock, database=Database(settings.database_url), claimant=claimant
        )
        self.app.__dict__["policies"] = _policies((), config)

    def come_back(self) -> None:
        """What this program held when it was killed is free again, as the daemon does it."""
        with self.app.database.write() as session:
            deliveries.release(session, claimant=self.app.claimant)
            bank_turns.free_turns(session, claimant=self.app.claimant)

    def do(self, step: Step, part: int, door: Door) -> dict[str, object]:
        """Do a step; what a person or the scheduler would see of it."""
        self.clock.at = step.at
        try:
            if step.do in ROUNDS:
                # Two rounds of one name at once are two scheduled times.
                report = self.app.perform(ROUNDS[step.do], step.shard, step.at + timedelta(microseconds=part * 500_000))
                return _said(report)
            if step.do == "controls":
                self.app.watch_controls()
                return {}
            return self._decision(step, part, door)
        except EscrowMonitorError as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _decision(self, step: Step, part: int, door: Door) -> dict[str, object]:
        database, now = self.app.database, step.at
        until = now + timedelta(minutes=step.minutes)
        if step.do == "silence":
            made = silence_alerts.silence_of(
                matchers=_MATCHERS[step.pick % len(_MATCHERS)], author=step.person, reason=f"step {step.number}",
                starts_at=None, ends_at=until, now=now,
            )
            with database.read() as session:
                known = {one.silence.silence_id for one in silences.silences(session)}
            if (silence_id := f"s{step.number}") not in known:
                with database.write() as session:
                    silence_alerts.make(session, replace(made, silence_id=silence_id), now=now)
            return {"silence": silence_id}
        if step.do == "unsilence":
            with database.read() as session:
                running = sorted(one.silence.silence_id for one in silences.silences(session, at=now))
            chosen = door.tell("/choose", step=step.number, part=part, choice=_picked(running, step.pick))["chosen"]
            if chosen in running:
                with database.write() as session:
                    silence_alerts.end(session, chosen, by=step.person, now=now)
            return {"unsilenced": chosen}
        with database.read() as session:
            choice = _picked([one.alert_id for one in _fitting(session, step.do)], step.pick)
        chosen = door.tell("/choose", step=step.number, part=part, choice=choice)["chosen"]
        if not chosen:
            return {}
        with database.write() as session:
            book = RecordsAlertBook(session, channels=CHANNELS)
            decided = _ACTS[step.do](book, chosen, step, until)
        return {"alert": chosen, "reason": decided.reason.value, "entries": [entry.seq for entry in decided.entries]}


def _acknowledged(book: RecordsAlertBook, alert_id: str, step: Step, until: datetime) -> Decided:
    note = f"step {step.number}"
    return decide_alert.acknowledge(book, alert_id, by=step.person, note=note, until=until, now=step.at)


def _snoozed(book: RecordsAlertBook, alert_id: str, step: Step, until: datetime) -> Decided:
    note = f"step {step.number}"
    return decide_alert.snooze(book, alert_id, by=step.person, note=note, until=until, now=step.at)


def _proposed(book: RecordsAlertBook, alert_id: str, step: Step, until: datetime) -> Decided:
    return decide_alert.propose(book, alert_id, by=step.person, note=f"step {step.number}", now=step.at)


def _confirmed(book: RecordsAlertBook, alert_id: str, step: Step, until: datetime) -> Decided:
    return decide_alert.confirm(book, alert_id, by=step.person, note=f"step {step.number}", now=step.at)


def _taken_back(book: RecordsAlertBook, alert_id: str, step: Step, until: datetime) -> Decided:
    kinds = list(DecisionKind)
    alert = book.alert(alert_id)
    stand = [one.kind for one in alert.decisions] if alert else []
    kind = stand[step.pick % len(stand)] if stand else kinds[step.pick % len(kinds)]
    return decide_alert.take_back(book, alert_id, by=step.person, note=f"step {step.number}", kind=kind, now=step.at)


_ACTS: Mapping[str, Callable[[RecordsAlertBook, str, Step, datetime], Decided]] = {
    "acknowledge": _acknowledged, "snooze": _snoozed, "propose": _proposed, "confirm": _confirmed,
    "take-back": _taken_back,
}
_MATCHERS: tuple[Mapping[str, str], ...] = (
    {"rule": "floor"}, *({"bank": bank} for bank in BANKS), {"account_no": next(iter(BANK_OF)), "rule": "floor"},
)


def _fitting(session: Session, do: str) -> list[Alert]:
    """The alerts about which this can be decided, by key."""
    book = RecordsAlertBook(session)
    if do in ("confirm", "take-back"):
        rows = session.connection().exec_driver_sql(
            "SELECT DISTINCT alert_id, kind FROM alert_decisions WHERE ended_at IS NULL"
        ).all()
        ids = [alert_id for alert_id, kind in rows if do == "take-back" or kind == DecisionKind.PROPOSAL]
        return sorted(book.alerts(sorted(set(ids))).values(), key=lambda one: one.key)
    return [one for one in book.open_alerts() if do != "snooze" or one.severity is not Severity.INFO]


def _picked(among: list[str], pick: int) -> str:
    return among[pick % len(among)] if among else ""


def _said(report: Report) -> dict[str, object]:
    return {"outcome": report.outcome.value, "counts": dict(report.counts), "detail": report.detail}


def live(request: Mapping[str, Any]) -> None:
    """Go on with the history from a step, to its end."""
    configure(format="json", level="error")
    check_round.CHUNK = CHECKED_AT_ONCE
    seed, steps, alone = request["script"]
    script: Script = script_of(seed, steps=steps, alone=alone)
    settings = load_settings(Path(request["config"]), {})
    if request["mutant"]:
        MUTANTS[request["mutant"]].plant()
    door = Door(request["door"])
    first = request["claimant"]
    names = (first, "two" if first == "one" else "one")
    programs = [Program(settings, claimant=name, config=request["config"]) for name in names]
    programs[0].clock.at = script.steps[request["from"]].at
    programs[0].come_back()
    if request["doom"] is not None:
        Doom(*request["doom"])
    for step in script.steps[request["from"]:]:
        door.tell("/begin", step=step.number)
        came_of = _at_once(step, programs, door) if step.both else [programs[0].do(step, 0, door)]
        with programs[0].app.database.read() as session:
            head = RecordsAlertBook(session).head()
        door.tell("/done", step=step.number, head=head, came_of=came_of)


def _at_once(step: Step, programs: list[Program], door: Door) -> list[dict[str, object]]:
    """Two programs, each on a thread and with connections of its own."""
    came_of: list[dict[str, object]] = [{}, {}]

    def do(place: int) -> None:
        try:
            came_of[place] = programs[place].do(step.both[place], place, door)
        except Exception as error:
            traceback.print_exc()
            came_of[place] = {"error": f"{type(error).__name__}: {error}"}

    threads = [threading.Thread(target=do, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came_of


def in_a_fork(request: Mapping[str, Any]) -> None:
    """Live it in a process of its own; say its number, and how it ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            live(request)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    print(json.dumps({"pid": child}), flush=True)
    _, status = os.waitpid(child, 0)
    print(json.dumps({"exit": os.waitstatus_to_exitcode(status)}), flush=True)


def warm(config: str) -> None:
    """Load and work out what every life would load and work out anew; nothing stays open."""
    settings = load_settings(Path(config), {})
    program = Program(settings, claimant="one", config=config)
    for bank in settings.banks:
        program.app.connector(bank)
    for channel in settings.channels:
        program.app.channel(channel)
    assert program.app.seal_key
    program.app.close()


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("warm"):
            warm(request["warm"])
            print(json.dumps({"warm": threading.active_count()}), flush=True)
        else:
            in_a_fork(request)


if __name__ == "__main__":
    main()
