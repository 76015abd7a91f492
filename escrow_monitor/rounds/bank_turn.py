"""One sweep at a time at each bank, over all nodes, and none where the bank is not to be called now.

    taken by another sweep     OutsideError: this run is not done, and says whose it is
    outside the bank's hours   a report: nothing was to be asked
    asked to rest              a report that something is wrong: the bank has asked for fewer calls
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING

from escrow_monitor.banks.connector import BankConnector
from escrow_monitor.errors import DatabaseError, OutsideError
from escrow_monitor.records.bank.turns import Turn, give_turn_back, keep_turn, take_turn
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.report import Outcome, Report

if TYPE_CHECKING:
    from escrow_monitor.banks.http import Window

LEASE = timedelta(minutes=1)
"""A sweep whose process has not said for so long that it lives has died."""
KEPT_EVERY_SECONDS = 15.0
WAIT_SECONDS = 30.0
"""For so long a sweep waits for the one before it to end: on two nodes they overlap a little now and then."""
LOOK_SECONDS = 0.2


@dataclass(kw_only=True)
class BankTurn:
    """The turn at one bank. `local_now` is the program's clock, `real_now` the machine's: turns live in real time."""

    database: Database
    connector: BankConnector
    windows: tuple[Window, ...]
    round: str
    scheduled_at: datetime
    claimant: str
    local_now: Callable[[], datetime]
    real_now: Callable[[], datetime]
    kept_every_seconds: float = KEPT_EVERY_SECONDS
    wait_seconds: float = WAIT_SECONDS
    _lost: bool = False

    def ask(self, do: Callable[[], Report]) -> Report:
        """Do it in turn, or report why the bank was not asked. Raises OutsideError when another sweep asks it for long.
        """
        local = self.local_now()
        if self.windows and not any(window.holds(local.time()) for window in self.windows):
            return self._unasked(Outcome.OK, f"{local:%H:%M} is outside the times at which this bank may be called")
        turn = self._taken()
        if not turn.mine:
            since = "" if turn.since is None else f" since {turn.since.isoformat(timespec='seconds')}"
            raise OutsideError(
                f"{self.connector.bank} is being asked by the run of {turn.holder}{since}: "
                "wait until it has ended, or stop it"
            )
        try:
            if turn.rest_until is not None and local < turn.rest_until:
                until = turn.rest_until.isoformat(timespec="seconds")
                return self._unasked(Outcome.WRONG, f"the bank has asked not to be called before {until}")
            with self._kept():
                return do()
        finally:
            with self.database.write() as session:
                give_turn_back(
                    session, self.connector.bank, holder=self._holder, rest_until=self.connector.rest_until
                )

    def check(self) -> None:
        """Raise OutsideError when the turn was given to another meanwhile: this process stood still for too long."""
        if self._lost:
            raise OutsideError(f"the turn at {self.connector.bank} was lost: this process stood still for too long")

    @property
    def _holder(self) -> str:
        """The run itself: taken over after a crash, it takes its own turn up again."""
        return self.scheduled_at.isoformat()

    def _taken(self) -> Turn:
        """The turn, waited for a little; not ours if somebody else still has it then."""
        gives_up_at = time.monotonic() + self.wait_seconds
        while not (turn := self._asked_for()).mine and time.monotonic() < gives_up_at:
            time.sleep(LOOK_SECONDS)
        return turn

    def _asked_for(self) -> Turn:
        now = self.real_now()
        with self.database.write() as session:
            return take_turn(
                session, self.connector.bank, holder=self._holder, claimant=self.claimant, now=now, until=now + LEASE
            )

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Say from beside, again and again, that this process lives: one call may take longer than the lease."""
        ended = Event()

        def keep() -> None:
            while not ended.wait(self.kept_every_seconds):
                # A database that does not answer now is told again soon; the sweep itself meets it too.
                with suppress(DatabaseError), self.database.write() as session:
                    self._lost = not keep_turn(
                        session, self.connector.bank, holder=self._holder, until=self.real_now() + LEASE
                    )

        keeper = Thread(target=keep, name=f"turn-{self.connector.bank}", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            ended.set()
            keeper.join()

    def _unasked(self, outcome: Outcome, detail: str) -> Report:
        return Report(
            round=self.round, shard=self.connector.bank, scheduled_at=self.scheduled_at, outcome=outcome,
            counts={"accounts": 0}, detail=detail,
        )
