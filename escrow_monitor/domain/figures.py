"""The numbers an operator watches, as one snapshot of what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One snapshot. Money in fen, instants aware UTC; a key that is absent was never seen, which is not zero.

    `accounts` by standing; `coverage` is balance over floor in ten-thousandths, only for accounts that are not met
    and whose floor is known; `obligation_fen` is the sum of known floors by district, `shortfall_fen` what is missing
    to them; `alerts_open` by (rule, severity); `breaks_open` by what differs between a bank and our entries;
    `cases_open` are refund cases by state;
    `oldest_reading_at` by bank: the `as_of` of the stalest latest balance.
    """

    accounts: Mapping[str, int] = field(default_factory=dict)
    coverage: Mapping[str, int] = field(default_factory=dict)
    obligation_fen: Mapping[str, int] = field(default_factory=dict)
    shortfall_fen: Mapping[str, int] = field(default_factory=dict)
    oldest_reading_at: Mapping[str, datetime] = field(default_factory=dict)
    accounts_never_read: Mapping[str, int] = field(default_factory=dict)
    round_last_success: Mapping[str, datetime] = field(default_factory=dict)
    alerts_open: Mapping[tuple[str, str], int] = field(default_factory=dict)
    feed_sequence: int = 0
    audit_sequence: int = 0
    deliveries_due: int = 0
    deliveries_dead: int = 0
    breaks_open: Mapping[str, int] = field(default_factory=dict)
    cases_open: Mapping[str, int] = field(default_factory=dict)
    statement_gaps: int = 0
