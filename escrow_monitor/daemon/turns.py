"""Runs of one (round, shard) take turns inside a process, and of those that wait only the newest runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """One run at a time for each key; a run that waits gives way to a newer one.

    A round reads everything that was recorded before it began, so the newest waiting run does
    the work of all that waited before it. At most one runs and one waits for each key.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: set[tuple[str, str]] = set()
        self._newest: dict[tuple[str, str], int] = {}
        self._count = 0

    @contextmanager
    def turn(self, key: tuple[str, str]) -> Iterator[bool]:
        """Wait for the turn of `key`; yield False, at once, if a newer run covers this one."""
        mine = self._take(key)
        try:
            yield mine
        finally:
            if mine:
                self._give_back(key)

    def _take(self, key: tuple[str, str]) -> bool:
        with self._changed:
            self._count += 1
            number = self._newest[key] = self._count
            self._changed.notify_all()
            self._changed.wait_for(lambda: key not in self._running or self._newest[key] != number)
            if self._newest[key] != number:
                return False
            self._running.add(key)
            return True

    def _give_back(self, key: tuple[str, str]) -> None:
        with self._changed:
            self._running.discard(key)
            self._changed.notify_all()
