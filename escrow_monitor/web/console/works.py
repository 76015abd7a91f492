"""Long work that a person began on a page and waits for: done beside the requests, watched by its number."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.logs import log

RUNNING_MAX = 3
KEPT_MAX = 60
KEPT_FOR = timedelta(hours=2)

Progress = Callable[[int, int | None], None]


class WorkState(StrEnum):
    """What has become of it. Closed: pages show these by their words."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class TooMuchWork(Exception):
    """As much is being done as may be at once: wait for it to end."""


@dataclass(kw_only=True)
class Work:
    """One piece of work. `done` of `total` tells how far it is; `result` is there once it is done.

    `error` is a sentence for its owner, "" for a failure that only the log explains.
    """

    work_id: str
    kind: str
    owner: str
    subject: str
    begun_at: datetime
    done: int = 0
    total: int | None = None
    state: WorkState = WorkState.RUNNING
    result: Any = None
    error: str = ""

    @property
    def share(self) -> int | None:
        """How far it is in percent; None where nobody can say."""
        return None if not self.total else min(100, self.done * 100 // self.total)

    def now(self) -> Work:
        """What it is at this moment, for a page: it may end while the page is written."""
        # In the order of the fields: whoever reads that it is done finds the result, which was there before.
        return replace(self)


class Works:
    """The work of this process. It ends with the process: whoever waits is then told that it is not known."""

    def __init__(self, *, running_max: int = RUNNING_MAX, kept_max: int = KEPT_MAX) -> None:
        self._running_max, self._kept_max = running_max, kept_max
        self._lock = threading.Lock()
        self._works: dict[str, Work] = {}

    def begin(
        self, do: Callable[[Progress], object], *, kind: str, owner: str, subject: str = "", now: datetime
    ) -> Work:
        """Begin it in a thread of its own. Raises TooMuchWork."""
        with self._lock:
            self._forget_old(now)
            if sum(work.state is WorkState.RUNNING for work in self._works.values()) >= self._running_max:
                raise TooMuchWork
            work = Work(
                work_id=secrets.token_hex(6), kind=kind, owner=owner, subject=subject, begun_at=now
            )
            self._works[work.work_id] = work
        threading.Thread(target=_do, args=(work, do), name=f"work-{kind}", daemon=True).start()
        return work

    def of(self, work_id: str, *, kind: str, owner: str) -> Work | None:
        """The work of that number, if it is of this kind and theirs."""
        work = self._works.get(work_id)
        return work if work is not None and (work.kind, work.owner) == (kind, owner) else None

    def newest(self, *, kind: str, owner: str, limit: int) -> list[Work]:
        """What somebody began last, the newest first."""
        mine = [work for work in list(self._works.values()) if (work.kind, work.owner) == (kind, owner)]
        return mine[::-1][:limit]

    def _forget_old(self, now: datetime) -> None:
        over = [work for work in self._works.values() if work.state is not WorkState.RUNNING]
        surplus = len(self._works) - self._kept_max + 1
        for place, work in enumerate(over):
            if place < surplus or now - work.begun_at > KEPT_FOR:
                del self._works[work.work_id]


def _do(work: Work, do: Callable[[Progress], object]) -> None:
    def hear(done: int, total: int | None) -> None:
        work.done, work.total = done, total

    try:
        work.result = do(hear)
    except EscrowMonitorError as error:
        work.error = str(error)
        work.state = WorkState.FAILED
        log(__name__).info("work.refused", kind=work.kind, by=work.owner, detail=str(error))
    except Exception as error:  # the edge of a thread: nobody above hears of it
        work.state = WorkState.FAILED
        log(__name__).error("work.failed", kind=work.kind, by=work.owner, error=type(error).__name__, exc_info=error)
    else:
        work.state = WorkState.DONE
