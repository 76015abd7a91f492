"""The engine: each tick is a durable piece of work that survives this process and happens once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TypedDict
from urllib.parse import urlsplit

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from escrow_monitor.clock import Clock, SystemClock
from escrow_monitor.daemon.plan import (
    BEAT_SECONDS,
    SILENT_SECONDS,
    Perform,
    Plan,
    Tell,
    follower_shards,
    followers_of,
    log_event,
    tick_id,
)
from escrow_monitor.daemon.turns import Turns
from escrow_monitor.errors import OutsideError

APPLICATION = "escrow-monitor"
# Raised only when the arguments or the result of the work below change their shape: work kept
# under another version is not picked up, so this is not the program's version.
WORK_VERSION = "1"
# One queue for all rounds: each queue is polled by a thread of its own, and five of them cost an idle daemon
# more than twice the CPU of one. How many shards of one round run side by side is bounded in `_run`.
QUEUE = "rounds"
QUEUE_POLL_SECONDS = 0.5
RUNNING_MAX = 256
ATTEMPTS_MAX = 4
RETRY_SECONDS = 1.0
KEEP = timedelta(days=3)
SWEEP_SECONDS = 3600
SWEEP_BATCH = 500
SWEEP_BATCHES_MAX = 100
CONNECTIONS_MAX = 10
SQLITE_PREFIX = "sqlite:///"
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class EngineError(OutsideError):
    """The engine that runs the rounds cannot start."""


class RoundDone(TypedDict):
    """What is kept of a round's end: when it ended (ISO 8601), and which rounds follow it."""

    ended_at: str
    followers: list[list[str]]


class Engine:
    """Runs rounds from durable queues in this process; several processes may share one PostgreSQL.

    A round runs at least once for each (round, shard, scheduled time): a process that dies in the
    middle leaves it to its own restart, or to a peer once `silent` has named it. Passing failures
    (OutsideError) are repeated a few times; anything else ends the run and the next tick tries again.

    `beat(executor_id)` and `silent(seconds)` come from the records: the first says "I live", the second
    names executors that have not said so for that long. One process holds one engine at a time.
    """

    def __init__(
        self, *, url: str, executor_id: str, plans: Sequence[Plan], perform: Perform, tell: Tell = log_event,
        beat: Callable[[str], None] | None = None, silent: Callable[[int], Sequence[str]] | None = None,
        clock: Clock | None = None, silent_seconds: int = SILENT_SECONDS, beat_seconds: float = BEAT_SECONDS,
        keep: timedelta = KEEP,
    ) -> None:
        self._url = url
        self._executor_id = executor_id
        self._plans = tuple(plans)
        self._perform = perform
        self._tell = tell
        self._beat = beat
        self._silent = silent
        self._clock: Clock = clock or SystemClock()
        self._silent_seconds = silent_seconds
        self._beat_seconds = beat_seconds
        self._keep = keep
        self._turns = Turns()
        self._places = {plan.round: threading.BoundedSemaphore(plan.shards_at_once_max) for plan in plans}
        self._lives = False
        self._running = 0
        self._counted = threading.Lock()
        self._stopping = threading.Event()
        self._house = threading.Thread(target=self._keep_house, name="engine-house", daemon=True)
        self._swept_at: datetime | None = None
        self._lock: IO[str] | None = None

    def start(self) -> None:
        """Open the engine's database, take up what this executor left unfinished, and begin to run.

        Raises EngineError if the database does not answer or another daemon holds the same file.
        """
        # The engine would print to the terminal by itself; with a handler in place it leaves its log to ours.
        logging.getLogger("dbos").addHandler(logging.NullHandler())
        try:
            self._lock = _hold_file(self._url)
            if self._beat is not None:
                self._beat(self._executor_id)
            DBOS(config=self._config())
            self._register_work()
            DBOS.listen_queues([QUEUE])
            DBOS.launch()
            DBOS.register_queue(
                QUEUE, worker_concurrency=RUNNING_MAX, polling_interval_sec=QUEUE_POLL_SECONDS,
                on_conflict="always_update",
            )
        except OutsideError:  # our own, raised before anything was opened
            self._let_go()
            raise
        except Exception as error:  # a library's edge: it raises what its database driver raised
            self._undo_start()
            raise EngineError(
                f"The engine's database {_without_password(self._url)} cannot be used: {_first_line(error)}. "
                "See that it is reachable and that this program may write to it."
            ) from error
        self._lives = True
        self._house.start()
        self._tell("engine.started", {"executor_id": self._executor_id})

    def enqueue(self, round_name: str, shard: str, scheduled_at: datetime) -> None:
        """Hand over one tick; the same (round, shard, scheduled time) again changes nothing."""
        with SetWorkflowID(tick_id(round_name, shard, scheduled_at)):
            DBOS.enqueue_workflow(QUEUE, self._work, round_name, shard, _iso(scheduled_at))

    def stop(self, seconds: float) -> bool:
        """Take nothing new, let running rounds end within `seconds`, then close; queued work stays.

        False says that some still run: they are left as they are, and the process should end at
        once. They are taken up again at the next start.
        """
        self._stopping.set()
        if self._house.is_alive():
            self._house.join(timeout=5)
        until = time.monotonic() + seconds
        # Closing waits in whole seconds, which an idle engine need not.
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=int(seconds) if self.running else 0)
        self._lives = False
        while self.running and time.monotonic() < until:
            time.sleep(0.05)
        drained = self.running == 0
        self._let_go()
        self._tell("engine.stopped", {"executor_id": self._executor_id, "drained": drained})
        return drained

    @property
    def running(self) -> int:
        """How many rounds this process runs now, those that wait for their turn included."""
        with self._counted:
            return self._running

    @property
    def is_alive(self) -> bool:
        """True while the heartbeat goes on."""
        return self._house.is_alive()

    def _config(self) -> DBOSConfig:
        return {
            "name": APPLICATION,
            "system_database_url": self._url,
            "application_version": WORK_VERSION,
            "executor_id": self._executor_id,
            # The default is pickle: whoever can write the table could run code.
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "enable_otlp": False,
            "sys_db_pool_size": CONNECTIONS_MAX,
            # Only messages between workflows would use it, and we send none.
            "use_listen_notify": False,
        }

    def _register_work(self) -> None:
        """Make the durable functions. They are closures because the engine wants plain functions with fixed names."""

        @DBOS.step(
            name="escrow_monitor.perform", retries_allowed=True, max_attempts=ATTEMPTS_MAX,
            interval_seconds=RETRY_SECONDS, should_retry=lambda error: isinstance(error, OutsideError),
        )
        def perform(round_name: str, shard: str, scheduled_at: str) -> RoundDone:
            return self._run(round_name, shard, datetime.fromisoformat(scheduled_at))

        @DBOS.workflow(name="escrow_monitor.round")
        def work(round_name: str, shard: str, scheduled_at: str) -> str:
            with self._counting():
                try:
                    done = perform(round_name, shard, scheduled_at)
                except Exception as error:
                    # After the engine has closed nothing failed: the run is left to the next start.
                    if self._lives:
                        keys = {"round": round_name, "shard": shard, "scheduled_at": scheduled_at}
                        self._tell("round.failed", {**keys, "error": repr(error)})
                    raise
                for follower, follower_shard in done["followers"]:
                    self._follow(follower, follower_shard, datetime.fromisoformat(done["ended_at"]))
                return done["ended_at"]

        @DBOS.step(name="escrow_monitor.resume")
        def resume(executor_id: str) -> int:
            left = self._left_by(executor_id, limit=SWEEP_BATCH)
            DBOS.resume_workflows(left)
            self._tell("engine.resumed", {"executor_id": executor_id, "count": len(left)})
            return len(left)

        @DBOS.workflow(name="escrow_monitor.take_over")
        def take_over(executor_id: str) -> int:
            return resume(executor_id)

        self._work = work
        self._take_over = take_over

    def _run(self, round_name: str, shard: str, scheduled_at: datetime) -> RoundDone:
        with self._turns.turn((round_name, shard)) as mine:
            if not mine:
                self._tell("round.covered", {"round": round_name, "shard": shard, "scheduled_at": _iso(scheduled_at)})
                return {"ended_at": _iso(self._clock.now()), "followers": []}
            with self._places[round_name]:
                report = self._perform(round_name, shard, scheduled_at)
        # Read after the round has committed: whoever follows, scheduled at this instant, sees all of it. Two leaders
        # that end in the same microsecond share one follower, and it sees both.
        ended_at = _iso(self._clock.now())
        followers: list[list[str]] = []
        if report.get("news", True):
            for follower in followers_of(round_name, self._plans):
                followers += [[follower.round, name] for name in follower_shards(follower, shard)]
        return {"ended_at": ended_at, "followers": followers}

    def _follow(self, round_name: str, shard: str, scheduled_at: datetime) -> None:
        """Start a follower without waiting for a queue to be looked at; when stopping, leave it to the restart."""
        with SetWorkflowID(tick_id(round_name, shard, scheduled_at)):
            if self._stopping.is_set():
                DBOS.enqueue_workflow(QUEUE, self._work, round_name, shard, _iso(scheduled_at))
            else:
                DBOS.start_workflow(self._work, round_name, shard, _iso(scheduled_at))

    @contextmanager
    def _counting(self) -> Iterator[None]:
        with self._counted:
            self._running += 1
        try:
            yield
        finally:
            with self._counted:
                self._running -= 1

    def _keep_house(self) -> None:
        while not self._stopping.wait(self._beat_seconds):
            try:
                self._keep_house_once(self._clock.now())
            except Exception as error:  # the edge of a thread that must go on, whatever the database does
                self._tell("engine.house_neglected", {"error": repr(error)})

    def _keep_house_once(self, now: datetime) -> None:
        if self._beat is not None:
            self._beat(self._executor_id)
        if self._silent is not None:
            for executor_id in self._silent(self._silent_seconds):
                if executor_id != self._executor_id:
                    self._take_over_from(executor_id, now)
        if self._swept_at is None or now - self._swept_at >= timedelta(seconds=SWEEP_SECONDS):
            self._swept_at = now
            self._sweep(now)

    def _take_over_from(self, executor_id: str, now: datetime) -> None:
        """Resume what a dead executor had begun; the id lets one peer a minute do it, not all at once."""
        if self._left_by(executor_id, limit=1):
            with SetWorkflowID(f"take-over:{executor_id}:{now:%Y-%m-%dT%H:%M}"):
                DBOS.start_workflow(self._take_over, executor_id)

    def _left_by(self, executor_id: str, *, limit: int) -> list[str]:
        left = DBOS.list_workflows(
            status="PENDING", executor_id=executor_id, limit=limit, load_input=False, load_output=False
        )
        return [item.workflow_id for item in left]

    def _sweep(self, now: datetime) -> None:
        """Delete work that ended before the retention, oldest first; the runs themselves are in the records."""
        before = _iso(now - self._keep)
        count = 0
        for _ in range(SWEEP_BATCHES_MAX):
            old = DBOS.list_workflows(
                status=_ENDED, completed_before=before, limit=SWEEP_BATCH, load_input=False, load_output=False
            )
            if not old or self._stopping.is_set():
                break
            DBOS.delete_workflows([item.workflow_id for item in old])
            count += len(old)
        if count:
            self._tell("engine.swept", {"count": count})

    def _undo_start(self) -> None:
        with suppress(Exception):
            DBOS.destroy(destroy_registry=True)
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _hold_file(url: str) -> IO[str] | None:
    """On SQLite, hold the engine's file for this process alone and set it to write-ahead logging.

    Two daemons on one file would each take up the other's running work as if it were left over.
    """
    if not url.startswith(SQLITE_PREFIX):
        return None
    path = Path(url.removeprefix(SQLITE_PREFIX))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock").open("a+")
    try:
        import fcntl
    except ImportError:  # not a POSIX system: the file goes unguarded
        pass
    else:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise EngineError(
                f"Another daemon (process {holder}) already runs on {path}; stop it, "
                "or let both share a PostgreSQL database."
            ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    path.touch(mode=0o600)
    _write_ahead(path)
    return lock


def _write_ahead(path: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(path, timeout=30)
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _without_password(url: str) -> str:
    if url.startswith(SQLITE_PREFIX):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _first_line(error: BaseException) -> str:
    """The driver's own sentence, without the class names and the advice that are wrapped around it."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


