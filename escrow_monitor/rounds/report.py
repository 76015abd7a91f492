"""What a round says of itself when it is over, found something or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from escrow_monitor.records.runs import Outcome

__all__ = ["Outcome", "Progress", "Report", "counted"]

Progress: TypeAlias = Callable[[int, int | None], None]
"""Hears how far long work is: (done, total), total None while nobody knows."""

T = TypeVar("T")


def counted(items: Iterable[T], progress: Progress | None, *, total: int | None, before: int = 0) -> Iterable[T]:
    """The same items, `progress` hearing of each, counted on from `before`; without one the very same iterable."""
    return items if progress is None else _counted(items, progress, total, before)


def _counted(items: Iterable[T], progress: Progress, total: int | None, before: int) -> Iterator[T]:
    progress(before, total)
    for done, item in enumerate(items, before + 1):
        yield item
        progress(done, total)


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
