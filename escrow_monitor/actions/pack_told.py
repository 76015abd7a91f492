"""What a resolution pack says of itself: its files, its checks, and what was added up while its rows went by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from escrow_monitor.actions.effective_floors import EffectiveFloor
from escrow_monitor.domain.findings import Sentence
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFile:
    """One file of the pack. `rows` None: it is no table."""

    name: str
    sha256: str
    size: int
    rows: int | None
    what: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Two sums that must be one; in fen of `currency`, or counts without one."""

    name: str
    what: Sentence
    left: int
    right: int
    currency: str | None = None

    @property
    def residual(self) -> int:
        """What they differ by: nothing."""
        return self.left - self.right

    def text(self, value: int) -> str:
        """One of the sums as a person reads it."""
        return str(value) if self.currency is None else f"{Money(value, self.currency).grouped} {self.currency}"


class OwedLine(NamedTuple):
    """A contract by what it is owed, the largest first."""

    fen: int
    contract_no: str
    student_ref: str
    currency: str


@dataclass(kw_only=True)
class Seen:
    """What was added up while the rows went by. Sums are by currency."""

    owed: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    contracts: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    refunded: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    given_back: Counter[str] = field(default_factory=Counter)
    owed_anew: Counter[str] = field(default_factory=Counter)
    due: Counter[str] = field(default_factory=Counter)
    penalty: Counter[str] = field(default_factory=Counter)
    impossible: list[str] = field(default_factory=list)
    largest: list[OwedLine] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    flow: Counter[str] = field(default_factory=Counter)
    booked: Counter[str] = field(default_factory=Counter)
    days_wrong: int = 0
    days_covered: Counter[str] = field(default_factory=Counter)
    gaps: dict[str, list[date]] = field(default_factory=dict)
    cases: Counter[str] = field(default_factory=Counter)
    open_cases: list[dict[str, Any]] = field(default_factory=list)
    open_items: Counter[str] = field(default_factory=Counter)
    open_amounts: Counter[tuple[str, str]] = field(default_factory=Counter)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    entries_wrong: int = 0
    entries: int = 0


@dataclass(frozen=True, kw_only=True)
class PackTold:
    """Everything that the summary says."""

    institution: Institution
    made_at: datetime
    actor: str
    version: str
    zone: ZoneInfo
    sums_on: date | None
    seen: Seen
    bridges: Sequence[Mapping[str, Any]]
    floors: Sequence[EffectiveFloor]
    checks: Sequence[Check]
    files: Sequence[PackFile]
    head_seq: int
    head: str
    policy_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A pack that was made: what it holds, and whether its sums agree."""

    uscc: str
    name: str
    files: Sequence[PackFile]
    checks: Sequence[Check]
    head_seq: int
    head: str

    @property
    def reconciles(self) -> bool:
        """Whether every two sums that must be one are."""
        return not any(check.residual for check in self.checks)
