"""Lets the daily statement files appear in a folder as the clock goes on, from a thread of its own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from escrow_monitor.clock import Clock
from escrow_monitor.sandbox.district import District
from escrow_monitor.sandbox.statement_files import write_due

LOOK_SECONDS = 0.25
STOP_SECONDS_MAX = 30


@dataclass(kw_only=True)
class FolderDelivery:
    """Puts the files of the bank without an interface into `folder` when they are due. A context manager."""

    district: District
    clock: Clock
    folder: Path
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Write what is due now, then go on in the background. Raises OSError if the folder cannot be written."""
        write_due(self.district, self.folder, at=self.clock.now())
        self._thread = threading.Thread(target=self._run, name="sandbox-files", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; a file that is being written is finished first."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS_MAX)

    def __enter__(self) -> FolderDelivery:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            write_due(self.district, self.folder, at=self.clock.now())
