"""A folder that a bank or its software puts statement files into. Nothing in it is moved, changed or deleted."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

from escrow_monitor.banks.formats import CONTENT_BYTES_MAX
from escrow_monitor.domain.statements import Refusal, RefusalReason

UNFINISHED_SUFFIXES = (".part", ".tmp", ".crdownload", ".filepart")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFile:
    """A file as it lies there, with its SHA-256 in hex."""

    path: Path
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFolder:
    """Watches one folder, without its subfolders.

    `patterns` are shell patterns of file names. A file is left until nothing has been written to it for
    `settle_seconds`; a time of change later than `now` counts as settled, because that clock is wrong or replayed.
    """

    folder: Path
    patterns: Sequence[str] = ("*",)
    settle_seconds: float = 2
    size_max: int = CONTENT_BYTES_MAX

    def received(self, now: datetime) -> Iterator[ReceivedFile | Refusal]:
        """Yield every finished file, the one changed first first, and a Refusal for each that cannot be taken.

        A correction lies beside what it corrects, and what a source says last holds.
        """
        try:
            names = sorted(os.listdir(self.folder), key=lambda name: (_changed_ns(self.folder / name), name))
        except OSError as error:
            yield _refusal(self.folder, RefusalReason.UNREACHABLE, f"the folder cannot be read: {error.strerror}")
            return
        for name in names:
            if self._is_wanted(name):
                received = self._receive(self.folder / name, now)
                if received is not None:
                    yield received

    def _is_wanted(self, name: str) -> bool:
        if name.startswith(".") or name.lower().endswith(UNFINISHED_SUFFIXES):
            return False
        return any(fnmatch(name, pattern) for pattern in self.patterns)

    def _receive(self, path: Path, now: datetime) -> ReceivedFile | Refusal | None:
        """The file, why it cannot be taken, or None when it is not finished yet (or no file at all)."""
        try:
            before = path.stat()
            if not stat.S_ISREG(before.st_mode) or 0 <= now.timestamp() - before.st_mtime < self.settle_seconds:
                return None
            if before.st_size > self.size_max:
                detail = f"{before.st_size} bytes, at most {self.size_max} are read"
                return _refusal(path, RefusalReason.TOO_LARGE, detail)
            with path.open("rb") as file:
                content = file.read(self.size_max + 1)
                after = os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        except OSError as error:
            return _refusal(path, RefusalReason.UNREACHABLE, f"the file cannot be read: {error.strerror}")
        if (before.st_size, before.st_mtime_ns) != (len(content), after.st_mtime_ns):
            return None  # somebody wrote to it while we read
        return ReceivedFile(path=path, content=content, sha256=hashlib.sha256(content).hexdigest())


def _changed_ns(path: Path) -> int:
    """When a file was changed last; 0 for one that is gone or cannot be looked at, which is seen to when it is read."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _refusal(path: Path, reason: RefusalReason, detail: str) -> Refusal:
    return Refusal(reason=reason, where=str(path), field=None, detail=detail)
