"""Escrow accounts, their holders' balances, and what a bank stated about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from escrow_monitor.domain.money import Money


class Purpose(StrEnum):
    """What an account is for."""

    ESCROW = "escrow"
    DEPOSIT = "deposit"
    SETTLEMENT = "settlement"


class Mode(StrEnum):
    """How the money in it is supervised: bank custody (银行托管), risk deposit (风险保证金), or a floor alone."""

    CUSTODY = "custody"
    DEPOSIT = "deposit"
    FLOOR = "floor"


class AccountStatus(StrEnum):
    """What the bank says of the account itself."""

    ACTIVE = "active"
    FROZEN = "frozen"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One supervised account at one bank. `uscc` is None while nobody has said whose it is."""

    account_no: str
    bank: str
    connector: str
    currency: str
    uscc: str | None = None
    purpose: Purpose = Purpose.ESCROW
    mode: Mode = Mode.FLOOR
    opened_on: date | None = None
    external_id: str | None = None


class BalanceKind(StrEnum):
    """Which balance the bank means."""

    BOOKED_CLOSING = "booked_closing"
    BOOKED_INTRADAY = "booked_intraday"
    AVAILABLE = "available"
    HELD = "held"


# Named tuples where a sweep makes hundreds of thousands: a frozen dataclass costs thrice that.


class Reading(NamedTuple):
    """One balance a bank stated, with its time.

    `as_of` is the bank's instant, `fetched_at` ours, `on` the bank's accounting day. `final` says the day is closed:
    the figure will not move except by a correction. `source` names the connector or format, `raw_sha256` the bytes.
    """

    account_no: str
    kind: BalanceKind
    amount: Money
    on: date
    as_of: datetime
    fetched_at: datetime
    final: bool
    source: str
    raw_sha256: str


class Known(NamedTuple):
    """A balance somebody stated."""

    amount: Money
    kind: BalanceKind
    on: date
    as_of: datetime
    fetched_at: datetime
    final: bool


class Missing(StrEnum):
    """Why a balance is not known."""

    NEVER_STATED = "never_stated"
    TOO_OLD = "too_old"
    HELD_UNKNOWN = "held_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """No balance. It is not zero, it has no order, and comparing it is a type error."""

    reason: Missing

    def __bool__(self) -> bool:
        raise TypeError("an unknown balance is neither true nor false: match on Known | Unknown")


Balance: TypeAlias = Known | Unknown
