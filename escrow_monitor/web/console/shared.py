"""What the pages of all readers have in common, asked of the records once: views, names, what is open, sums.

    until something is published, decided or registered   directory, open now, standings, views of one reader's part
    for some seconds                                      banks, what is unsure, what was delivered

Whatever is published or registered shows at once. What is kept for some seconds is given once more while it is counted
anew, so that nobody waits for it. All of it is of everything: who sees a part has it chosen from there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from starlette.concurrency import run_in_threadpool

from escrow_monitor.records import tallies
from escrow_monitor.records.alerts.open_now import OpenNow, OpenNowReader
from escrow_monitor.records.bulk import run
from escrow_monitor.records.database import Session
from escrow_monitor.records.directory import Directory, directory, register_version
from escrow_monitor.records.tallies import BankTally, StandingTally
from escrow_monitor.web.fresh import Fresh
from escrow_monitor.web.ports import WebPorts

View = TypeVar("View")

SHARED_VIEWS_MAX = 200
KEPT_AS_LONG = 20
"""So many times as long as an answer is a view kept while nothing new is in the feed: five seconds."""
TALLY_AS_LONG = 40
"""So many times as long a sum over every account: ten seconds, and as long again while it is counted anew."""


class Heads(NamedTuple):
    """The newest number of the feed, the version of the register, the newest decision and how many stand."""

    feed: int
    register: int
    decision: int
    standing: int


class Shared:
    """Views that all who ask the same within a moment share: a busy morning costs as much as a quiet one.

    A view is kept for a while, but not once something new is in the feed: what is published shows at once.
    """

    def __init__(self, ports: WebPorts) -> None:
        self._ports = ports
        self._age_seconds_max = ports.answer_age_seconds_max * KEPT_AS_LONG
        self._heads = Fresh(partial(_heads, ports), age_seconds_max=ports.answer_age_seconds_max)
        self._views: dict[Hashable, Fresh[Any]] = {}
        self._tallies: dict[Hashable, Fresh[Any]] = {}
        self._directory: Directory | None = None
        self._last: OpenNow | None = None
        age = ports.answer_age_seconds_max * TALLY_AS_LONG
        self._whole = Fresh(self._read_whole, age_seconds_max=age, late_seconds_max=age)

    async def heads(self) -> Heads:
        """What was published and decided when this was asked, not a moment ago: for who has just decided something."""
        return await run_in_threadpool(_heads, self._ports)

    async def get(self, key: Hashable, ask: Callable[[], View], *, heads: Heads | None = None) -> View:
        """What `ask` says, now or a moment ago. The key names all that it depends on, the part that is seen too."""
        key = (key, heads or await self._heads.get())
        if key not in self._views:
            while len(self._views) >= SHARED_VIEWS_MAX:
                self._views.pop(next(iter(self._views)))
            self._views[key] = Fresh(ask, age_seconds_max=self._age_seconds_max)
        found: View = await self._views[key].get()
        return found

    async def tally(self, key: Hashable, ask: Callable[[], View]) -> View:
        """What `ask` says of everything, now or some seconds ago: for sums that nothing published is about."""
        if key not in self._tallies:
            age = self._ports.answer_age_seconds_max * TALLY_AS_LONG
            self._tallies[key] = Fresh(ask, age_seconds_max=age, late_seconds_max=age)
        found: View = await self._tallies[key].get()
        return found

    async def directory(self) -> Directory | None:
        """The names of all institutions; None for more than are held."""
        return await self.get("directory", self._read_directory)

    async def open_now(self, *, heads: Heads | None = None) -> OpenNow | None:
        """What is open; None for more than is held in memory."""
        reader = await self._whole.get()
        return await self.get(("open now", reader), partial(self._read_open, reader), heads=heads)

    async def standings(self) -> Sequence[StandingTally]:
        """How many accounts of which district stand how."""
        return await self.get("standings", self._asked(tallies.standing_tallies))

    async def banks(self) -> Sequence[BankTally]:
        """How the banks answered, some seconds ago."""
        return await self.tally("banks", self._asked(tallies.bank_tallies))

    async def unsure(self) -> Sequence[tuple[str | None, int]]:
        """Of how many institutions too little is known, some seconds ago."""
        return await self.tally("unsure", self._asked(tallies.unsure_tallies))

    async def shares(self, key: Hashable, ask: Callable[[Session], View]) -> View:
        """The same of `tally`, for a question to the records."""
        return await self.tally(key, self._asked(ask))

    def _asked(self, ask: Callable[[Session], View]) -> Callable[[], View]:
        def found() -> View:
            with self._ports.database.read() as session:
                return ask(session)

        return found

    def _read_directory(self) -> Directory | None:
        with self._ports.database.read() as session:
            known = self._directory
            if known is None or known.version != register_version(session):
                self._directory = known = directory(session)
            return known

    def _read_whole(self) -> OpenNowReader:
        """Everything that is open, in a book of its own: who asks meanwhile reads on in the last one."""
        reader = OpenNowReader(self._last)
        self._last = self._read_open(reader)
        return reader

    def _read_open(self, reader: OpenNowReader) -> OpenNow | None:
        names = self._read_directory()
        if names is None:
            return None
        with self._ports.database.read() as session:
            return reader.read(session, names, now=self._ports.clock.now())


def _heads(ports: WebPorts) -> Heads:
    with ports.database.read() as session:
        return Heads(*map(int, run(session, _HEADS).one()))


_HEADS = """
    SELECT h.feed_seq, v.version, coalesce((SELECT max(d.audit_seq) FROM alert_decisions d), 0),
        (SELECT count(*) FROM alert_decisions d WHERE d.ended_at IS NULL)
    FROM chain_head h CROSS JOIN register_version v
"""
