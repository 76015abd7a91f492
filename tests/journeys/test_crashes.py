"""kill -9 at every commit point: after the restart the records, the feed and the receivers are as if nothing had been.

    reference life   its commits, no kill                               what must be
    life n           SIGKILL before (or right after) its n-th commit    what is found
                     the same program again, the same scheduled times
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from queue import SimpleQueue

import pytest
from sqlalchemy import text

from escrow_monitor.clock import FixedClock
from escrow_monitor.records import runs
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.schema import METADATA
from escrow_monitor.settings import load_settings
from escrow_monitor.wiring import assembled
from tests.journeys.crash_daemons import Land, broken_story
from tests.journeys.crash_world import FOLDER, House, configuration, open_house, populate, write_policy
from tests.postgres import new_database

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
KILLED = -9
KILLS = 4
SEED = 20261116

OWN_TIMES: Mapping[str, frozenset[str]] = {
    # What a second try may truly tell otherwise: how often and how long it was tried, and what was left for it to do.
    "runs": frozenset({"begun", "counts", "detail", "outcome"}),
    "deliveries": frozenset({"settled_at"}),
    "delivery_attempts": frozenset({"at", "took_ms"}),
    # How a round ended is in the chain as well, so a second try moves the place of all that comes after it.
    "feed_entries": frozenset({"audit_seq", "audit_head"}),
    "chain_head": frozenset({"audit_seq", "audit_head"}),
}
_PLACE = re.compile(rb'"audit_seq":\d+,"audit_head":"[0-9a-f]+"|"urn:uuid:[0-9a-f-]+"')
"""The place of an entry in the chain, and the id that is made of it, as a message tells them."""

Picture = Mapping[str, Sequence[tuple[object, ...]]]


@dataclass
class Zygote:
    """A process that has imported everything, has nothing open, and forks a life for each request."""

    log: Path
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.journeys.crash_child"], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log,
            )

    def live(
        self, config: Path, *, kill_at: int | None = None, when: str = "before", warm: bool = False
    ) -> tuple[int, int | None]:
        """Return the exit code, and how many commits it made unless it was killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(
            {"config": str(config), "kill_at": kill_at, "when": when, "warm": warm}
        ) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        answer = json.loads(line)
        return answer["exit"], answer["commits"]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(30) == 0, self.log.read_text()


@dataclass
class Stage:
    """Where lives are lived: one database, folder, bank and receiver each."""

    room: Path
    house: House
    new_url: Callable[[ExitStack, Path], str]
    zygotes: SimpleQueue[Zygote]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def world(self) -> Iterator[World]:
        name = f"life-{next(self.numbers)}"
        folder = self.room / name
        (folder / "statements").mkdir(parents=True)
        with ExitStack() as stack:
            url = self.new_url(stack, folder)
            config = folder / "escrow-monitor.toml"
            config.write_text(configuration(
                house=self.house, run=name, database_url=url, policies=self.room / "policies"
            ))
            self.house.folders[name] = folder
            zygote = self.zygotes.get()
            try:
                yield World(name=name, config=config, url=url, house=self.house, zygote=zygote)
            finally:
                self.zygotes.put(zygote)
        shutil.rmtree(folder)


@dataclass
class World:
    """One world and the lives lived in it."""

    name: str
    config: Path
    url: str
    house: House
    zygote: Zygote

    def live(self, *, kill_at: int | None = None, when: str = "before", warm: bool = False) -> int | None:
        """One life. None: it was killed before its end; else its commits."""
        code, commits = self.zygote.live(self.config, kill_at=kill_at, when=when, warm=warm)
        if kill_at is not None and code == KILLED:
            return None
        assert code == 0, f"exit {code}: {self.zygote.log.read_text()[-2000:]}"
        return commits

    def outcome(self) -> Outcome:
        database = Database(self.url)
        try:
            with database.read() as session:
                picture = {
                    table.name: sorted(
                        (tuple(row) for row in session.connection().execute(text(
                            f"SELECT {', '.join(_columns(table.name))} FROM {table.name}"
                        ))),
                        key=repr,
                    )
                    for table in METADATA.sorted_tables if table.name != "audit_entries"
                }
                picture["audit_entries"] = _told_in_the_chain(session)
                seqs = [seq for (seq,) in session.connection().execute(text(
                    "SELECT seq FROM feed_entries ORDER BY seq"
                ))]
                transitions = list(session.connection().execute(text(
                    "SELECT rule, subject, period, transition, severity FROM feed_entries ORDER BY seq"
                )))
                states = dict(session.connection().execute(text(
                    "SELECT delivery_id, state FROM deliveries"
                )).all())
                unfinished = list(session.connection().execute(text(
                    "SELECT round, shard, scheduled_at FROM runs WHERE outcome IS NULL OR outcome = 'error'"
                )))
                verdict = audit.verify(session)
        finally:
            database.close()
        bodies: dict[str, list[bytes]] = {}
        for message in self.house.received.get(self.name, ()):
            bodies.setdefault(message.message_id, []).append(message.body)
        return Outcome(
            picture=picture, seqs=seqs, transitions=[tuple(one) for one in transitions], deliveries=states,
            unfinished=[tuple(one) for one in unfinished], verdict=verdict, bodies=bodies,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is found at the end of a world."""

    picture: Picture
    seqs: Sequence[int]
    transitions: Sequence[tuple[object, ...]]
    deliveries: Mapping[str, str]
    unfinished: Sequence[tuple[object, ...]]
    verdict: audit.AuditVerdict
    bodies: Mapping[str, Sequence[bytes]]

    def by_alert(self) -> Mapping[tuple[object, ...], Sequence[tuple[object, ...]]]:
        found: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
        for transition in self.transitions:
            found.setdefault(transition[:3], []).append(transition[3:])
        return found


def _columns(table: str) -> list[str]:
    aside = OWN_TIMES.get(table, frozenset())
    return [column.name for column in METADATA.tables[table].columns if column.name not in aside]


def _told_in_the_chain(session: Session) -> list[tuple[object, ...]]:
    """What the chain says, wherever it stands there, but how rounds ended: see `runs`."""
    entries = [json.loads(canonical) for (canonical,) in session.connection().execute(text(
        "SELECT canonical FROM audit_entries WHERE kind <> 'round.finished'"
    ))]
    return sorted(
        (entry["at"], entry["kind"], entry["actor"], json.dumps(entry["payload"], sort_keys=True)) for entry in entries
    )


def broken_promises(found: Outcome, reference: Outcome) -> list[str]:
    """What is not as it must be, in words."""
    broken = []
    if found.seqs != list(range(1, len(found.seqs) + 1)):
        broken.append(f"feed numbers are reused or skipped: {found.seqs}")
    if found.by_alert() != reference.by_alert():
        lost = Counter(reference.transitions) - Counter(found.transitions)
        doubled = Counter(found.transitions) - Counter(reference.transitions)
        broken.append(f"transitions lost: {dict(lost)}, doubled: {dict(doubled)}")
    if not found.verdict.whole:
        broken.append(f"the audit chain is broken: {found.verdict.detail}")
    if found.unfinished:
        broken.append(f"runs without an end: {found.unfinished}")
    return [*broken, *_broken_deliveries(found, reference), *_broken_tables(found.picture, reference.picture)]


def _broken_deliveries(found: Outcome, reference: Outcome) -> Iterator[str]:
    if found.deliveries != reference.deliveries:
        yield f"deliveries differ: {set(found.deliveries.items()) ^ set(reference.deliveries.items())}"
    if unheard := reference.deliveries.keys() - found.bodies.keys():
        yield f"owed and never received: {unheard}"
    for message_id, bodies in found.bodies.items():
        if len(set(bodies)) > 1 or {_PLACE.sub(b"", body) for body in bodies} != {
            _PLACE.sub(b"", body) for body in reference.bodies.get(message_id, ())
        }:
            yield f"{message_id} says different things: {bodies}"


def _broken_tables(found: Picture, reference: Picture) -> Iterator[str]:
    for table, rows in reference.items():
        if found[table] != rows:
            differing = Counter(rows)
            differing.subtract(Counter(found[table]))
            yield f"{table} differs (+ missing, - too many): { {row: n for row, n in differing.items() if n} }"


@contextmanager
def staged(backend: str, request: pytest.FixtureRequest, *, at_once: int) -> Iterator[Stage]:
    """A stage on SQLite or PostgreSQL. In memory where there is such a folder: a kill loses no page of the system's."""
    shm = Path("/dev/shm")
    with ExitStack() as stack:
        below = shm if shm.is_dir() and os.access(shm, os.W_OK) else None
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="escrow-monitor-crashes-", dir=below)))
        write_policy(room / "policies")
        house = stack.enter_context(open_house())
        zygotes: SimpleQueue[Zygote] = SimpleQueue()
        for number in range(at_once):
            zygote = Zygote(room / f"zygote-{number}.log")
            stack.callback(zygote.close)
            zygotes.put(zygote)
        new_url = _sqlite(room, request) if backend == "sqlite" else _postgresql(stack, request)
        yield Stage(room=room, house=house, new_url=new_url, zygotes=zygotes)


def _sqlite(room: Path, request: pytest.FixtureRequest) -> Callable[[ExitStack, Path], str]:
    template = room / "template.db"
    shutil.copy(request.getfixturevalue("sqlite_template"), template)
    _populate(f"sqlite:///{template}")

    def new_url(_stack: ExitStack, folder: Path) -> str:
        shutil.copy(template, folder / "escrow.db")
        return f"sqlite:///{folder / 'escrow.db'}"

    return new_url


def _postgresql(stack: ExitStack, request: pytest.FixtureRequest) -> Callable[[ExitStack, Path], str]:
    server, empty = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_template")
    template = f"crashes_{os.getpid()}"
    _populate(stack.enter_context(new_database(server, template, template=empty)))

    def new_url(stack: ExitStack, folder: Path) -> str:
        name = f"{template}_{folder.name}".replace("-", "_")
        return stack.enter_context(new_database(server, name, template=template))

    return new_url


def _populate(url: str) -> None:
    database = Database(url)
    populate(database)
    database.close()


def reference_life(stage: Stage) -> tuple[int, Outcome]:
    """A life that nobody disturbs: its commits, and what is found at its end. It warms each zygote."""
    found = [_undisturbed(stage) for _ in range(stage.zygotes.qsize())]
    commits, reference = found[0]
    for other_commits, other in found:
        assert (other_commits, broken_promises(other, reference)) == (commits, [])
    assert not reference.unfinished
    assert set(reference.deliveries.values()) == {"delivered"}
    return commits, reference


def _undisturbed(stage: Stage) -> tuple[int, Outcome]:
    with stage.world() as world:
        commits = world.live(warm=True)
        assert commits is not None
        return commits, world.outcome()


def life_with(stage: Stage, reference: Outcome, *deaths: tuple[int, str]) -> list[str]:
    """Die each of these deaths one after the other, then live to the end; return what is broken."""
    with stage.world() as world:
        for kill_at, when in deaths:
            world.live(kill_at=kill_at, when=when)
        world.live()
        return [f"{deaths}: {sentence}" for sentence in broken_promises(world.outcome(), reference)]


def all_lives(stage: Stage, reference: Outcome, lives: Sequence[Sequence[tuple[int, str]]]) -> list[str]:
    with ThreadPoolExecutor(AT_ONCE) as several:
        found = several.map(lambda deaths: life_with(stage, reference, *deaths), lives)
        return [sentence for sentences in found for sentence in sentences]


def test_the_story_has_every_kind_of_transition_and_enough_commits(request: pytest.FixtureRequest) -> None:
    with staged("sqlite", request, at_once=1) as stage:
        commits, reference = reference_life(stage)
        kinds = {transition[3] for transition in reference.transitions}
        rules = {transition[0] for transition in reference.transitions}
        assert kinds == {"opened", "escalated", "eased", "resolved", "reopened"}
        assert rules >= {"floor", "freshness", "feed_gap", "large_outflow", "late_top_up", "round_late"}
        assert commits > len(reference.transitions) * 3
        broken = [
            sentence
            for part in range(1, 5)
            for sentence in life_with(stage, reference, (commits * part // 5, "before" if part % 2 else "after"))
        ]
    assert broken == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_any_commit_loses_nothing_and_doubles_nothing(
    backend: str, when: str, request: pytest.FixtureRequest
) -> None:
    # Between two commits a life can end with what it did outside (before the second) or without (after the first).
    # SQLite is killed at each in one of the two ways. On PostgreSQL a life costs three times as much: every fourth.
    first, step = {"before": 1, "after": 2}[when], 2
    if backend == "postgresql":
        first, step = first * 4, step * 4
    with staged(backend, request, at_once=AT_ONCE) as stage:
        commits, reference = reference_life(stage)
        broken = all_lives(stage, reference, [[(kill_at, when)] for kill_at in range(first, commits + 1, step)])
    assert broken == []


@pytest.mark.slow
def test_being_killed_again_and_again_loses_nothing_and_doubles_nothing(
    backend: str, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(SEED)
    with staged(backend, request, at_once=AT_ONCE) as stage:
        commits, reference = reference_life(stage)
        lives = [
            [(chance.randint(1, commits), chance.choice(("before", "after"))) for _ in range(6)] for _ in range(8)
        ]
        broken = all_lives(stage, reference, lives)
    assert broken == []


@pytest.mark.parametrize("died", ["in the middle", "after its last commit"])
def test_a_round_taken_up_again_counts_as_news_so_that_its_followers_are_started(
    died: str, sqlite_template: Path, tmp_path: Path
) -> None:
    """The engine starts the followers after the round's commit: who dies between the two has told nobody."""
    shutil.copy(sqlite_template, tmp_path / "escrow.db")
    (tmp_path / "statements").mkdir()
    write_policy(tmp_path / "policies")
    config = tmp_path / "escrow-monitor.toml"
    config.write_text(configuration(
        house=House(url="http://127.0.0.1:1"), run="none", database_url="sqlite:///escrow.db", policies=Path("policies")
    ))
    at = datetime(2026, 11, 17, 2, tzinfo=UTC)
    with assembled(load_settings(config, {}), clock=FixedClock(at)) as app:
        if died == "in the middle":
            with app.database.write() as session:
                runs.begin(session, round="load-statements", shard=FOLDER, scheduled_at=at, now=at)
        else:
            assert not app.perform("load-statements", FOLDER, at).news
        again = app.perform("load-statements", FOLDER, at)
    assert (again.news, again.repeated) == (True, died != "in the middle")


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "command"), [("sqlite", "run"), ("postgresql", "daemon")])
def test_a_real_daemon_killed_at_random_moments_leaves_a_whole_story(
    command: str, backend: str, database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(f"{SEED} {command} {backend}")
    with open_house() as house:
        land = Land(folder=tmp_path, house=house, url=database_url, command=command)
        try:
            with land.restless(chance):
                for _ in range(KILLS):
                    process = land.start()
                    # From the middle of its start to seconds of full work.
                    time.sleep(chance.uniform(2, 6))
                    land.kill(process)
                last = land.start_and_wait()
            land.settle()
            land.wait_for(lambda: not land.undone(), "what a killed daemon had begun was never done")
            assert land.stop(last) == 0, land.logs()
            land.deliver_the_rest()
            broken = broken_story(land)
        finally:
            land.end_all()
    assert broken == []
