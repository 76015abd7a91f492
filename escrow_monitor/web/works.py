"""Long work that a person began and waits for: done beside the requests of one process, watched from any.

    begin -> a row, queued -> a thread of this process -> progress once a second -> a row, done or failed
    of, newest <- the rows, from every node; those of a process that fell silent are shown as lost
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from escrow_monitor.errors import DatabaseError, EscrowMonitorError
from escrow_monitor.logs import log
from escrow_monitor.records import works as records
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.works import OPEN, Beat, StoredWork, WorkState
from escrow_monitor.web.alive import is_gone, this_process

__all__ = ["Kind", "Progress", "TooMuchWork", "Work", "WorkState", "Works"]

OWN_MAX = 5
"""So much of one kind somebody may have waiting and at work."""
WAITING_MAX = 20
"""So much waits in one process."""
RESULT_BYTES_MAX = 4 * 1024 * 1024
TICK_SECONDS = 1.0
"""So often progress is written, at most."""
SLOWEST_SECONDS = 30.0
"""So seldom it is tried while the records cannot be written."""
BEAT_SECONDS = 5.0
"""So often it is written that a work goes on, where there is no progress to tell."""
SILENT_FOR = timedelta(seconds=60)
"""A process of another machine that says nothing for so long is taken for gone."""

T = TypeVar("T")
Progress = Callable[[int, int | None], None]


class TooMuchWork(Exception):
    """As much is being done, or waits, as may at once: wait for it to end."""


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[T]):
    """What kind of work: the shape of what comes of it, and how much of it one process does at once."""

    name: str
    shape: Any
    running_max: int

    @cached_property
    def adapter(self) -> TypeAdapter[T]:
        """Writes and reads what comes of it."""
        return TypeAdapter(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[T]):
    """One piece of work as it is now. `done` of `total` tells how far it is; `result` is there once it is done.

    `asked` is what it was to do. `error` is a sentence for its owner, "" for a failure that only the log explains.
    """

    work_id: str
    kind: str
    owner: str
    subject: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    state: WorkState
    done: int = 0
    total: int | None = None
    begun_at: datetime
    beat_at: datetime
    ended_at: datetime | None = None
    result: T | None = None
    error: str = ""

    @property
    def is_open(self) -> bool:
        """It waits or is being done."""
        return self.state in OPEN

    @property
    def share(self) -> int | None:
        """How far it is in percent; None where nobody can say."""
        return None if not self.total else min(100, self.done * 100 // self.total)


@dataclass(kw_only=True)
class _Mine:
    """A piece of work of this process. `written` is what the records were last told, and when."""

    work_id: str
    kind: Kind[Any]
    owner: str
    do: Callable[[Progress], Any] | None = None
    is_running: bool = False
    done: int = 0
    total: int | None = None
    written: tuple[bool, int, int | None] = (False, 0, None)
    written_at: float = 0.0
    end: _End | None = None


@dataclass(frozen=True, kw_only=True)
class _End:
    state: WorkState
    result: str | None = None
    error: str = ""


class Works:
    """The work of this process, and how everybody's stands. It is shared by all pages and routes of an application."""

    def __init__(
        self, database: Database, *, now: Callable[[], datetime], tick_seconds: float = TICK_SECONDS,
        process: str | None = None,
    ) -> None:
        self._database, self._now, self._tick_seconds = database, now, tick_seconds
        self._process = process or this_process()
        self._lock = threading.Lock()
        self._mine: dict[str, _Mine] = {}
        self._waiting: dict[str, deque[_Mine]] = defaultdict(deque)
        self._running: dict[str, int] = defaultdict(int)
        self._beater: threading.Thread | None = None
        self._is_closed = False

    def begin(
        self, do: Callable[[Progress], T], *, kind: Kind[T], owner: str, subject: str = "",
        asked: Mapping[str, Any] | None = None,
    ) -> Work[T]:
        """Note it and begin it, or have it wait for its turn. Raises TooMuchWork."""
        with self._database.write() as session:
            work = self.enter(session, kind=kind, owner=owner, subject=subject, asked=asked)
        self.start(work, do, kind=kind)
        return work

    def enter(
        self, session: Session, *, kind: Kind[T], owner: str, subject: str = "",
        asked: Mapping[str, Any] | None = None,
    ) -> Work[T]:
        """Note it with what else is written; `start` is to follow once that is kept. Raises TooMuchWork."""
        now = self._now()
        records.forget_old(session, now=now)
        with self._lock:
            waiting = sum(map(len, self._waiting.values()))
        if waiting >= WAITING_MAX or records.open_count(session, kind=kind.name, owner=owner, now=now) >= OWN_MAX:
            raise TooMuchWork
        stored = StoredWork(
            work_id=f"W{secrets.token_hex(8)}", kind=kind.name, owner=owner, subject=subject, asked=asked or {},
            process=self._process, state=WorkState.QUEUED, begun_at=now, beat_at=now,
        )
        records.enter(session, stored)
        return self._shown(stored, kind)

    def start(self, work: Work[T], do: Callable[[Progress], T], *, kind: Kind[T]) -> None:
        """Begin what was entered, or have it wait for its turn."""
        mine = _Mine(work_id=work.work_id, kind=kind, owner=work.owner, do=do, written_at=time.monotonic())
        with self._lock:
            self._mine[work.work_id] = mine
            if self._running[kind.name] < kind.running_max:
                self._run(mine)
            else:
                self._waiting[kind.name].append(mine)
            if self._beater is None:
                self._beater = threading.Thread(target=self._beat, name="works", daemon=True)
                self._beater.start()

    def of(self, work_id: str, *, kind: Kind[T], owner: str | None) -> Work[T] | None:
        """The work of that number, if it is of this kind and theirs; None asks for anybody's."""
        with self._database.read() as session:
            found = records.work(session, work_id)
        if found is None or found.kind != kind.name or owner not in (None, found.owner):
            return None
        return self._shown(found, kind)

    def newest(
        self, *, kind: Kind[T], owner: str | None, limit: int, before: str = "", results: bool = False
    ) -> list[Work[T]]:
        """What was begun last, the newest first; results only where they are asked for."""
        with self._database.read() as session:
            found = records.newest(
                session, kind=kind.name, owner=owner, limit=limit, before=before, results=results
            )
        return [self._shown(one, kind) for one in found]

    def close(self) -> None:
        """This process stops: what it was at is lost."""
        self._is_closed = True
        with self._lock:
            left = [mine.work_id for mine in self._mine.values() if mine.end is None]
            self._waiting.clear()
        if left:
            try:
                with self._database.write() as session:
                    records.give_up(session, left, now=self._now())
            except DatabaseError as error:
                log(__name__).warning("works.not_noted", works=left, detail=str(error))

    # how it is seen

    def _shown(self, stored: StoredWork, kind: Kind[T]) -> Work[T]:
        state, done, total = stored.state, stored.done, stored.total
        if state in OPEN:
            with self._lock:
                mine = self._mine.get(stored.work_id)
            if mine is not None and mine.end is None:
                state = WorkState.RUNNING if mine.is_running else WorkState.QUEUED
                done, total = mine.done, mine.total
            elif mine is None and self._is_lost(stored):
                state = WorkState.LOST
        result, error = None, stored.error
        if state is WorkState.DONE and stored.result is not None:
            try:
                result = kind.adapter.validate_json(stored.result)
            except ValidationError:
                # It was written by another version of this program.
                state, error = WorkState.FAILED, "what came of it can no longer be read: begin it anew"
        return Work(
            work_id=stored.work_id, kind=stored.kind, owner=stored.owner, subject=stored.subject, asked=stored.asked,
            state=state, done=done, total=total, begun_at=stored.begun_at, beat_at=stored.beat_at,
            ended_at=stored.ended_at, result=result, error=error,
        )

    def _is_lost(self, stored: StoredWork) -> bool:
        """A process of this machine can be looked for. While it keeps a large file on SQLite it cannot say a word."""
        silence = self._now() - stored.beat_at
        gone = is_gone(stored.process)
        return silence > (SILENT_FOR if gone is None else records.SILENT_FOR_GOOD) or gone is True

    # how it is done

    def _run(self, mine: _Mine) -> None:
        self._running[mine.kind.name] += 1
        mine.is_running = True
        threading.Thread(target=self._do, args=(mine,), name=f"work-{mine.kind.name}", daemon=True).start()

    def _do(self, mine: _Mine) -> None:
        def hear(done: int, total: int | None) -> None:
            mine.done, mine.total = done, total

        assert mine.do is not None, "begun twice"  # noqa: S101 - it is taken below, once
        do, mine.do = mine.do, None
        try:
            end = _done(mine.kind, do(hear))
        except EscrowMonitorError as error:
            end = _End(state=WorkState.FAILED, error=str(error))
            log(__name__).info("work.refused", kind=mine.kind.name, by=mine.owner, detail=str(error))
        except Exception as error:  # the edge of a thread: nobody above hears of it
            end = _End(state=WorkState.FAILED)
            log(__name__).error(
                "work.failed", kind=mine.kind.name, by=mine.owner, error=type(error).__name__, exc_info=error
            )
        self._ended(mine, end)

    def _ended(self, mine: _Mine, end: _End) -> None:
        with self._lock:
            mine.end = end
            self._running[mine.kind.name] -= 1
            waiting = self._waiting[mine.kind.name]
            if waiting:
                self._run(waiting.popleft())
        # Where it cannot be written now, the next beat tries again.
        self._write([mine], beats=[])

    def _beat(self) -> None:
        """Write how far all work of this process is, until there is none; ever more rarely while that fails."""
        pause = self._tick_seconds
        while not self._is_closed:
            time.sleep(pause)
            with self._lock:
                if not self._mine:
                    self._beater = None
                    return
                ended = [mine for mine in self._mine.values() if mine.end is not None]
                due = [mine for mine in self._mine.values() if mine.end is None and _is_due(mine)]
            written = self._write(ended, beats=due) if ended or due else True
            pause = self._tick_seconds if written else min(2 * pause, SLOWEST_SECONDS)

    def _write(self, ended: list[_Mine], *, beats: list[_Mine]) -> bool:
        """Write what came of these and how far those are; False where the records cannot be written."""
        told = [(mine, (mine.is_running, mine.done, mine.total)) for mine in beats]
        now = self._now()
        try:
            with self._database.write() as session:
                for mine in ended:
                    assert mine.end is not None, "not ended"  # noqa: S101 - they were chosen so
                    records.end(
                        session, mine.work_id, state=mine.end.state, done=mine.done, total=mine.total,
                        result=mine.end.result, error=mine.end.error, now=now,
                    )
                records.beat(session, [
                    Beat(work_id=mine.work_id, is_running=is_running, done=done, total=total)
                    for mine, (is_running, done, total) in told
                ], now=now)
        except DatabaseError as error:
            log(__name__).info("works.not_noted", detail=str(error))
            return False
        except Exception as error:  # the edge of a thread, which must go on
            log(__name__).error("works.not_noted", error=type(error).__name__, exc_info=error)
            return False
        with self._lock:
            for mine in ended:
                self._mine.pop(mine.work_id, None)
            for mine, written in told:
                mine.written, mine.written_at = written, time.monotonic()
        return True


def _done(kind: Kind[T], result: T) -> _End:
    text = kind.adapter.dump_json(result)
    if len(text) > RESULT_BYTES_MAX:
        return _End(
            state=WorkState.FAILED,
            error=f"what came of it is larger than {RESULT_BYTES_MAX // 2**20} MB and cannot be kept: ask for less",
        )
    return _End(state=WorkState.DONE, result=text.decode())


def _is_due(mine: _Mine) -> bool:
    news = mine.written != (mine.is_running, mine.done, mine.total)
    return news or time.monotonic() - mine.written_at >= BEAT_SECONDS
