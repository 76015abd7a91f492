"""What is known of one account when the rules look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from escrow_monitor.domain.accounts import Account, AccountStatus, Balance, Missing, Unknown
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.statements import RefusalReason

_NEVER = Unknown(reason=Missing.NEVER_STATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthFlow:
    """What was booked on an account in one calendar month, in fen, both above zero."""

    credits_fen: int
    debits_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFlow:
    """What was booked on one day, in fen, all above zero; `previous_closing_fen` is None where not known."""

    on: date
    debits_fen: int
    largest_debit_fen: int
    previous_closing_fen: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One account with what was recorded of it by now.

    `booked` is the newest booked balance, closing or intraday; `closing` the newest final closing; `held` what the
    bank says is frozen. `months` is keyed `"2026-11"` and holds only what entries were recorded for. The days from
    `entries_from` to `entries_to` are covered by final statements, except the working days in `gaps` (newest first,
    at most 31) of which there are `gap_count` in all. `days` holds the recent days with debits worth a look.
    `below_since` is the bank's time since when the balance has been below the floor without a break.
    """

    account: Account
    institution: Institution | None = None
    booked: Balance = _NEVER
    closing: Balance = _NEVER
    held: Balance = _NEVER
    available: Balance = _NEVER
    status: AccountStatus = AccountStatus.UNKNOWN
    status_as_of: datetime | None = None
    months: Mapping[str, MonthFlow] = field(default_factory=dict)
    days: tuple[DayFlow, ...] = ()
    entries_from: date | None = None
    entries_to: date | None = None
    gaps: tuple[date, ...] = ()
    gap_count: int = 0
    below_since: datetime | None = None
    registered_at: datetime | None = None
    last_answer_at: datetime | None = None
    last_refusal: RefusalReason | None = None
    refusals_in_a_row: int = 0
