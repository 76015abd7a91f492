"""What is known of one account when the rules look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from escrow_monitor.domain.accounts import Account, AccountStatus, Balance, Missing, Unknown
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.obligation import ObligationFacts
from escrow_monitor.domain.statements import RefusalReason

_NEVER = Unknown(reason=Missing.NEVER_STATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthFlow:
    """What was booked on an account in one calendar month and stands, in fen, both above zero.

    What a reversal took back does not count, nor the reversal, nor a transfer between the institution's own supervised
    accounts: neither brought money in or out.
    """

    credits_fen: int
    debits_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFlow:
    """What was booked on one day and stands, in fen, all above zero; `previous_closing_fen` is None where not known.

    `own_debits_fen` went to other supervised accounts of the institution and is not in `debits_fen`.
    """

    on: date
    debits_fen: int
    largest_debit_fen: int
    previous_closing_fen: int | None
    own_debits_fen: int = 0


class BreakKind(StrEnum):
    """What a bank states otherwise than our entries give it: the closing balance of a day."""

    CLOSING = "closing"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceBreak:
    """A day that closed otherwise than our entries say: stated by the bank, rolled by us.

    `found_at` is when the two were first seen to differ.
    """

    on: date
    stated_fen: int
    rolled_fen: int
    found_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A day that `source` stated otherwise than it had been stated before, heard of at `recorded_at`.

    Amounts in fen; flows above zero. `number` counts the corrections of one day from 1. `reopened` is the day after
    it that no longer followed, and is asked for again.
    """

    on: date
    number: int
    opening_before_fen: int
    opening_after_fen: int
    closing_before_fen: int
    closing_after_fen: int
    source: str
    recorded_at: datetime
    added: int = 0
    added_credits_fen: int = 0
    added_debits_fen: int = 0
    removed: int = 0
    removed_credits_fen: int = 0
    removed_debits_fen: int = 0
    reopened: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One account with what was recorded of it by now.

    `booked` is the newest booked balance, closing or intraday; `closing` the newest final closing; `held` what the
    bank says is frozen. `months` is keyed `"2026-11"` and holds only what entries were recorded for. The days from
    `entries_from` to `entries_to` are covered by final statements, except the working days in `gaps` (newest first,
    at most 31) of which there are `gap_count` in all. `breaks` are the days, oldest first and at most 31 of
    `break_count`, whose closing the bank states otherwise than our entries give it. `days` holds the days with debits
    worth a look that are recent, or were heard of lately although they are long past. `corrections` are those recorded
    lately, oldest first. `below_since` is the bank's time since when the balance has been below the floor without a
    break. `obligations` is None while no contract of the institution is recorded.
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
    breaks: tuple[BalanceBreak, ...] = ()
    break_count: int = 0
    below_since: datetime | None = None
    registered_at: datetime | None = None
    last_answer_at: datetime | None = None
    last_refusal: RefusalReason | None = None
    refusals_in_a_row: int = 0
    corrections: tuple[Correction, ...] = ()
    obligations: ObligationFacts | None = None
