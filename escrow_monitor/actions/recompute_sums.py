"""Make all sums over contracts anew from their rows, and say whether they were right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from escrow_monitor.clock import ZONE
from escrow_monitor.records.contracts.contracts import contract_count
from escrow_monitor.records.contracts.sums import Differs, day_of_sums, recompute
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What became of it. `on` is the day for whose end the sums hold, None while there is no contract.

    `differs` says where sums that were kept up change by change were otherwise than those made anew: nowhere, unless
    something is wrong with the program or somebody else has written into the database. What was made anew is kept.
    """

    on: date | None
    contracts: int
    differs: tuple[Differs, ...]

    def as_json(self) -> dict[str, object]:
        """The outcome as a JSON object."""
        return {
            "on": None if self.on is None else self.on.isoformat(), "contracts": self.contracts,
            "differs": [{"table": one.table, "rows": one.rows, "example": one.example} for one in self.differs],
        }


def recompute_sums(
    database: Database, *, actor: str, now: datetime, progress: Progress | None = None
) -> Recomputed:
    """Recompute everything in one transaction: nobody else changes contracts meanwhile. `progress` hears contracts."""
    with database.write() as session:
        if day_of_sums(session) is None:
            return Recomputed(on=None, contracts=0, differs=())
        differs = recompute(session, now.astimezone(ZONE).date(), progress=progress)
        done = Recomputed(on=day_of_sums(session), contracts=contract_count(session), differs=differs)
        audit.append(session, kind="contracts.recomputed", actor=actor, now=now, payload=done.as_json())
    return done
