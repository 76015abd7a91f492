"""What a round says of itself when it is over, found something or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from escrow_monitor.records.runs import Outcome

__all__ = ["Outcome", "Report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One round over one shard for one scheduled time. `counts` are whole numbers by name; zero is said, not left out.

    `repeated`: this (round, shard, scheduled time) had been done before and nothing was done again. `news`: something
    was recorded that the rounds that follow this one should look at now.
    """

    round: str
    shard: str
    scheduled_at: datetime
    outcome: Outcome
    counts: Mapping[str, int] = field(default_factory=dict)
    detail: str = ""
    repeated: bool = False
    news: bool = False

    def as_json(self) -> dict[str, object]:
        """The report as a JSON object."""
        return {
            "round": self.round,
            "shard": self.shard,
            "scheduled_at": self.scheduled_at.isoformat(),
            "outcome": self.outcome.value,
            "counts": dict(self.counts),
            "detail": self.detail,
            "repeated": self.repeated,
            "news": self.news,
        }
