"""The demo's institutions with families: a small city whose files arrive day by day, as from their platforms and banks.

    City  --yesterday's files-->  import  -->  contracts, charges, lessons, claims, complaints, notices
    City  --statements of the days that ended-->  the watched folder  --load-statements-->  entries
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.clock import ZONE, Clock
from escrow_monitor.errors import UsageError
from escrow_monitor.records.database import Database
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.courses import Ending
from escrow_monitor.sandbox.city.export import KINDS, write_files, write_statements
from escrow_monitor.sandbox.city.life import Life
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.district import DAY_DELIVERED

BANK = "chengshan"
"""The bank that sends files."""
NUMBERED_FROM = 5_000
PAST_DAYS = 400
"""A year and a little before the story begins, so that every season has been seen."""
FUTURE_DAYS = 120
LOOK_SECONDS = 0.5
STOP_SECONDS_MAX = 30
SETTINGS = CitySettings(
    closing_rate=0.5, awkward_rate=0.6, students=(15, 45),
    endings=((Ending.SLOW_DECLINE, 1), (Ending.PROMOTION_FLIGHT, 1), (Ending.SIPHONING, 1), (Ending.TAKEOVER, 1)),
)
"""Few families, so that a day is imported in a moment, and enough trouble for a small city."""


@dataclass(kw_only=True)
class Families:
    """Brings what is known of a small city, up to the clock's yesterday. A context manager that goes on doing so."""

    seed: int
    institutions: int
    story_on: date
    clock: Clock
    database: Database
    folder: Path
    _through: date | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @cached_property
    def city(self) -> City:
        """The city: its story lies around `story_on`."""
        return City(
            seed=self.seed, institutions=self.institutions, starts_on=self.story_on - timedelta(days=PAST_DAYS),
            days=PAST_DAYS + FUTURE_DAYS, settings=SETTINGS, numbered_from=NUMBERED_FROM, only_bank=BANK,
        )

    @cached_property
    def lives(self) -> list[Life]:
        """Every institution's life, lived once."""
        return list(self.city.lives())

    def bring(self) -> None:
        """Import all that is known by now and put the new statements into the folder; nothing if nothing is new."""
        now = self.clock.now()
        through = _known_through(now)
        if self._through is not None and through <= self._through:
            return
        if through > self.city.ends_on:
            return
        with tempfile.TemporaryDirectory(prefix=".families-", dir=self.folder.parent) as scratch:
            paths = write_files(self.city, Path(scratch), through=through, lives=self.lives)
            for kind in KINDS:
                with paths[kind].open("rb") as stream:
                    done = import_file(
                        self.database, kind=kind, stream=stream, filename=paths[kind].name, actor="demo", now=now
                    )
                if done.bad:
                    raise UsageError(f"the demo's own {kind} file is bad: {done.bad_rows[0]}")
            first = self.city.starts_on if self._through is None else self._through + timedelta(days=1)
            for path in write_statements(self.city, Path(scratch), first=first, last=through, lives=self.lives):
                # Whole or not at all: the folder is watched.
                path.rename(self.folder / path.name)
        self._through = through

    def __enter__(self) -> Families:
        self._thread = threading.Thread(target=self._run, name="sandbox-families", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS_MAX)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.bring()


def _known_through(now: datetime) -> date:
    """The last day whose files have come."""
    local = now.astimezone(ZONE)
    return local.date() - timedelta(days=1 if local.time() >= DAY_DELIVERED else 2)
