"""One history from its beginning to its end: lives that are killed and taken up, and what is found when all is done.

    script --> life, kill -9, life, kill -9, ... , the last life ends --> Story --> breaches
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import text

from alerts.alert import FeedEntry
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.institutions import Institution, InstitutionStatus, uscc_check_character
from escrow_monitor.records import runs
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts import silences
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence.export import Exported, export_lines
from escrow_monitor.records.evidence.seal_keys import new_key, read_key
from escrow_monitor.records.schema import METADATA
from tests.history.history_house import House, open_house
from tests.history.history_laws import Breach, Owed, Story, breaches
from tests.history.history_script import BANKS, BEGINS, CHANNELS, Script, script_of
from tests.journeys.crash_world import SECRET, write_policy

ROOT = Path(__file__).parents[2]
KILLED = -signal.SIGKILL
MANY = 1_000_000
READ_EVERY_SECONDS = 0.2
LIVES_BETWEEN_CHECKS = 8
LIFE_SECONDS_MAX = 300
DOOMS: Mapping[str, tuple[int, int]] = {
    # How a life ends, how often, and how many of these things it lives to see.
    "statement": (30, 1500), "commit": (15, 150), "committed": (15, 150), "call": (12, 80), "answer": (13, 80),
    "timer": (15, 900),
}


@dataclass(kw_only=True)
class Told:
    """How one history went, for a report."""

    seed: int
    script: Script
    broken: Sequence[Breach]
    picture: Mapping[str, Sequence[tuple[object, ...]]]
    lives: Sequence[str]
    counts: Mapping[str, int]

    def again(self, *, steps: int, backend: str, mutant: str | None) -> str:
        """What to type to have it told once more, and how it went."""
        options = f"--steps {steps} --{backend}" + (" --alone" if self.script.alone else "")
        options += f" --mutant {mutant}" if mutant else ""
        kills = "; ".join(self.lives)
        return f"python -m tests.history {self.seed} {options}\nlives: {kills}\n{dict(self.counts)}"


class Zygote:
    """A process that has imported everything and forks a life for each request."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with log.open("w") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.history.history_child"], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=out,
            )

    def ask(self, **request: object) -> dict[str, int]:
        """Send a request, and return the first answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, int]:
        """The next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()[-4000:]
        found: dict[str, int] = json.loads(line)
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


@contextmanager
def zygote(folder: Path) -> Iterator[Zygote]:
    """One for the length of the block."""
    made = Zygote(folder / "zygote.log")
    try:
        yield made
    finally:
        made.close()


@dataclass(kw_only=True)
class World:
    """One history on one database, in a folder of its own."""

    script: Script
    steps: int
    folder: Path
    url: str
    kills: bool
    zygote: Zygote
    house: House
    mutant: str | None = None
    lives: list[str] = field(default_factory=list)
    ended_badly: list[str] = field(default_factory=list)
    read: list[FeedEntry] = field(default_factory=list)
    verdicts: list[audit.AuditVerdict] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = self.folder / "escrow-monitor.toml"
        (self.folder / "audit-key").write_text(new_key())
        write_policy(self.folder / "policies")
        self.config.write_text(_configuration(self.house, self.script, self.url, self.folder))
        self.database = Database(self.url)
        _populate(self.database)

    def live(self) -> None:
        """All lives until the history is at its end, while a reader follows the feed."""
        self.zygote.ask(warm=str(self.config))
        stop = threading.Event()
        reader = threading.Thread(target=self._follow, args=(stop,))
        reader.start()
        try:
            chance = random.Random(f"kills/{self.script.seed}")
            while self._one_life(chance):
                if len(self.lives) % LIVES_BETWEEN_CHECKS == 0:
                    self._verify()
        finally:
            stop.set()
            reader.join()

    def _one_life(self, chance: random.Random) -> bool:
        """Live until death or the end; whether there is more to live."""
        house = self.house
        begins = next(number for number in range(len(self.script.steps)) if number not in house.done)
        doom, claimant = None, "one"
        if self.kills:
            kinds = list(DOOMS)
            kind = chance.choices(kinds, [DOOMS[one][0] for one in kinds])[0]
            doom = (kind, chance.randint(1, DOOMS[kind][1]))
            if not self.script.alone:
                claimant = chance.choice(("one", "one", "two"))
        inside = doom if doom and doom[0] in ("statement", "commit", "committed") else None
        house.doom_calls = None
        house.pid = self.zygote.ask(**{
            "config": str(self.config), "script": [self.script.seed, self.steps, self.script.alone], "from": begins,
            "claimant": claimant, "door": house.ports["door"], "doom": inside, "mutant": self.mutant,
        })["pid"]
        if doom and doom[0] in ("call", "answer"):
            house.doom_when, house.doom_calls = doom
        timer = threading.Timer(
            doom[1] / 1000 if doom and doom[0] == "timer" else LIFE_SECONDS_MAX, _kill, (house.pid,)
        )
        timer.start()
        code = self.zygote.answer()["exit"]
        timer.cancel()
        timer.join()
        house.doom_calls = None
        self.lives.append(f"{claimant} from {begins} to {house.at} {doom and ' '.join(map(str, doom))}")
        if code == 0:
            return False
        if code == KILLED and doom is not None:
            return True
        self.ended_badly.append(f"exit {code} at step {house.at}: {self.zygote.log.read_text()[-3000:]}")
        return False

    def _follow(self, stop: threading.Event) -> None:
        """Read the feed by cursor as a subscriber does, whatever happens to those who write it."""
        database = Database(self.url)
        try:
            while not stop.wait(READ_EVERY_SECONDS):
                self._read_on(database)
            self._read_on(database)
        finally:
            database.close()

    def _read_on(self, database: Database) -> None:
        after = self.read[-1].seq if self.read else 0
        with database.read() as session:
            self.read += RecordsAlertBook(session).entries(after=after, limit=MANY)

    def _verify(self) -> None:
        witnesses = {entry.audit_seq: entry.audit_head for entry in self.read}
        with self.database.read() as session:
            self.verdicts.append(audit.verify(session, witnesses=witnesses))

    def story(self) -> Story:
        """What is found when all is done."""
        self._verify()
        house = self.house
        with self.database.read() as session:
            book = RecordsAlertBook(session)
            ids = [one for (one,) in session.connection().execute(text("SELECT alert_id FROM alerts"))]
            rows = session.connection().execute(text(
                "SELECT delivery_id, channel, seq, state, attempts, detail FROM deliveries ORDER BY seq, channel"
            ))
            return Story(
                script=self.script, done=house.done, answered=house.answered, received=house.received,
                entries=book.entries(after=0, limit=MANY), read=self.read, alerts=book.alerts(ids),
                decisions={one: past for one in ids if (past := book.decisions(one))},
                silences=silences.silences(session), runs=runs.recent(session, limit=MANY),
                pulls=_pulls(session), owed=[Owed(*row) for row in rows],
                withheld=frozenset(tuple(row) for row in session.connection().execute(text(
                    "SELECT delivery_id, reason FROM withheld_deliveries"
                ))),
                verdicts=self.verdicts, export=self._export(), ended_badly=self.ended_badly,
            )

    def _export(self) -> Mapping[str, object]:
        """What the script for outside auditors says of an export."""
        key = read_key((self.folder / "audit-key").read_text(), what="the key")
        with self.database.write() as session:
            seals.take_key(session, key, actor="cli", now=self.script.steps[-1].at)
        with self.database.read() as session:
            lines = export_lines(session, key, now=self.script.steps[-1].at, exported=Exported())
            (self.folder / "export.jsonl").write_text("\n".join(lines) + "\n")
        witnesses = [
            part for entry in self.read[::50] for part in ("--witness", f"{entry.audit_seq}:{entry.audit_head}")
        ]
        said = subprocess.run(
            [sys.executable, ROOT / "deploy" / "verify_audit.py", self.folder / "export.jsonl", "--key", key.key_id,
             "--json", *witnesses], capture_output=True, text=True, check=False, timeout=120,
        )
        found: dict[str, object] = json.loads(said.stdout or json.dumps({"whole": False, "detail": said.stderr}))
        return found

    def picture(self) -> dict[str, list[tuple[object, ...]]]:
        """What the tables hold, but for what a second try may truly tell otherwise."""
        with self.database.read() as session:
            return {
                table.name: sorted((
                    tuple(row) for row in session.connection().execute(text(
                        f"SELECT {', '.join(_columns(table.name))} FROM {table.name}"
                    ))
                ), key=repr)
                for table in METADATA.sorted_tables if table.name not in ASIDE
            }

    def counts(self) -> Mapping[str, int]:
        """How much happened."""
        done: Counter[str] = Counter(part.do for step in self.script.steps for part in step.parts)
        kinds: Counter[str] = Counter(str(entry.transition) for entry in self.read)
        rules: Counter[str] = Counter(f"rule {entry.key.rule}" for entry in self.read)
        return {
            "steps": len(self.script.steps), "lives": len(self.lives), "entries": len(self.read),
            "network faults": sum(self.house.faults.values()) + sum(
                1 for step in self.script.steps for part in step.parts if part.refuses
            ),
            "clock back": sum(
                later.at < before.at for before, later in zip(self.script.steps, self.script.steps[1:], strict=False)
            ), **done, **kinds, **rules, **self.house.faults,
        }


ASIDE = frozenset({
    # How often something was tried, and what was left for a second try to do; the chain tells of that too.
    "deliveries", "delivery_attempts", "withheld_deliveries", "audit_entries", "audit_seals", "seals", "chain_head",
    "bank_turns", "nodes",
})
APART: Mapping[str, frozenset[str]] = {
    "runs": frozenset({"begun", "counts", "detail", "outcome"}),
    "feed_entries": frozenset({"audit_seq", "audit_head"}),
    "alert_decisions": frozenset({"audit_seq"}),
    "pulls": frozenset({"detail"}),  # which names the port of its own house
}


def _columns(table: str) -> list[str]:
    return [one.name for one in METADATA.tables[table].columns if one.name not in APART.get(table, frozenset())]


def differing(one: Mapping[str, Sequence[object]], other: Mapping[str, Sequence[object]]) -> list[Breach]:
    """Where two tellings of one history differ."""
    return [
        Breach("kills change nothing", f"{table}: only with kills {list(Counter(rows) - Counter(other[table]))[:5]}, "
               f"only without {list(Counter(other[table]) - Counter(rows))[:5]}")
        for table, rows in one.items() if Counter(rows) != Counter(other[table])
    ]


def tell(
    seed: int, *, steps: int, folder: Path, url: str, made_by: Zygote, alone: bool = False, kills: bool = True,
    mutant: str | None = None,
) -> Told:
    """Live one history on an upgraded, empty database and judge it."""
    script = script_of(seed, steps=steps, alone=alone)
    folder.mkdir(parents=True)
    with open_house(script) as house:
        world = World(
            script=script, steps=steps, folder=folder, url=url, kills=kills, zygote=made_by, house=house, mutant=mutant
        )
        try:
            world.live()
            story = world.story()
            return Told(
                seed=seed, script=script, broken=breaches(story), picture=world.picture(), lives=world.lives,
                counts=world.counts(),
            )
        finally:
            world.database.close()


def sqlite_url(template: Path, folder: Path) -> str:
    """A copy of an empty, upgraded database file."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, folder / "history.db")
    return f"sqlite:///{folder / 'history.db'}"


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _pulls(session: Session) -> Mapping[datetime, int]:
    from escrow_monitor.records.bulk import Reader, run

    at = Reader(session).at
    return {at(cell): count for cell, count in run(
        session, "SELECT scheduled_at, count(*) FROM pulls GROUP BY scheduled_at"
    )}


def _populate(database: Database) -> None:
    """Four institutions with an account at each bank; the last is closing, which speaks for its lesser alerts."""
    usccs = []
    with database.write() as session:
        for place in range(4):
            begins = f"91420100MA4K0000{place + 1}"
            uscc = begins + uscc_check_character(begins)
            usccs.append(uscc)
            status = InstitutionStatus.CLOSING if place == 3 else InstitutionStatus.OPERATING
            school = Institution(uscc=uscc, name=f"武汉市第{place + 1}培训学校", district="420100", status=status)
            save_institutions(session, [school], now=BEGINS)
        save_accounts(session, [
            Account(account_no=number, bank=bank, connector="berlin_group", currency="CNY", uscc=usccs[place])
            for bank, numbers in BANKS.items() for place, number in enumerate(numbers)
        ], now=BEGINS)


def _configuration(house: House, script: Script, url: str, folder: Path) -> str:
    banks = "\n".join(f"""
[banks.{bank}]
base_url = "{house.url(bank)}"
token = "token"
consent_id = "consent"
timeout_seconds = 5
retries = 0
circuit_failures = 1000
""" for bank in BANKS)
    channels = "\n".join(f"""
[channels.{channel}]
type = "webhook"
url = "{house.url(channel)}/hook"
secrets = ["{SECRET}"]
allow_private = true
timeout_seconds = 5
""" for channel in CHANNELS)
    return f"""
[database]
url = "{url}"
[policies]
folders = ["{folder / 'policies'}"]
[web]
home_url = "http://127.0.0.1:1"
port = 0
[audit]
key_file = "audit-key"
[alerts]
storm_above = 5
open_after_seconds = {{ floor = {int(script.floor_open_after.total_seconds())} }}
resolve_after_seconds = {{ floor = {int(script.floor_resolve_after.total_seconds())} }}
[logs]
format = "json"
level = "error"
{banks}
{channels}
[channels.desk.hears]
severity = "yellow"
gather_seconds = 150
quiet_from = "22:00"
quiet_to = "07:00"
"""
