"""Statements of account: opening + entries = closing, or refused.

    opening 100.00   + 30.00  - 50.00   = closing 80.00      ties
    yesterday's closing 80.00           = today's opening     chains
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from escrow_monitor.domain.money import Money


class StatementKind(StrEnum):
    """How much a message may be relied on."""

    END_OF_DAY = "end_of_day"
    INTRADAY = "intraday"
    NOTICE = "notice"


class RefusalReason(StrEnum):
    """Why a bank's answer or file was not taken. A closed set: shown, counted and stored by these words."""

    # what came over the wire
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    CONSENT_EXPIRED = "consent_expired"
    SERVER_ERROR = "server_error"
    UNEXPECTED_STATUS = "unexpected_status"
    CIRCUIT_OPEN = "circuit_open"
    OUTSIDE_HOURS = "outside_hours"
    TOO_LARGE = "too_large"
    NOT_CONFIGURED = "not_configured"
    # what was in it
    BAD_SIGNATURE = "bad_signature"
    MALFORMED = "malformed"
    MISSING_FIELD = "missing_field"
    BAD_AMOUNT = "bad_amount"
    BAD_DATE = "bad_date"
    DATED_IN_FUTURE = "dated_in_future"
    WRONG_CURRENCY = "wrong_currency"
    WRONG_ACCOUNT = "wrong_account"
    UNKNOWN_ACCOUNT = "unknown_account"
    NO_BALANCE = "no_balance"
    EMPTY = "empty"
    UNKNOWN_FORMAT = "unknown_format"
    DOES_NOT_TIE = "does_not_tie"
    DOES_NOT_CHAIN = "does_not_chain"
    CONTRADICTS = "contradicts"
    UNSAFE_XML = "unsafe_xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer or a file that was not taken: the reason from the closed set, where, and what to read of it.

    `where` is a file with line or path, a URL path, or a JSON path; `field` the field at fault; `detail` one plain
    sentence with the figures. Never a secret, never a counterparty.
    """

    reason: RefusalReason
    where: str
    field: str | None
    detail: str

    def __str__(self) -> str:
        field = f", {self.field}" if self.field else ""
        return f"{self.where}{field}: {self.detail} ({self.reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One booked movement. `amount` is signed: credits above zero, debits below.

    Identical twins are two entries: `occurrence` counts them from 1 within (account, day, amount, reference, text).
    `counterparty_sha256` stands for the other side, whose name is never kept; `counterparty_account_sha256` is the
    `account_digest` of its account number alone, where the bank gives one: it tells an institution's own accounts.
    """

    account_no: str
    booked_on: date
    amount: Money
    value_on: date | None = None
    bank_ref: str | None = None
    text: str = ""
    occurrence: int = 1
    reversal: bool = False
    counterparty_sha256: str | None = None
    counterparty_account_sha256: str | None = None

    @property
    def identity(self) -> tuple[str, date, int, str, str]:
        """What two sightings of one entry have in common, apart from the occurrence."""
        return (self.account_no, self.booked_on, self.amount.minor_units, self.bank_ref or "", self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one message says of one account. `opening` and `closing` are None in notices and intraday reports.

    Pages of one statement are joined by the reader: a Statement is whole. `covers_from` to `covers_to`, both included,
    are the days it accounts for. `where` says file and line or path for people. `opening_derived`: the bank stated the
    closing and the entries alone; that it ties says nothing, only the day before can confirm it.
    """

    account_no: str
    currency: str
    kind: StatementKind
    number: str
    opening: Money | None
    opening_on: date | None
    closing: Money | None
    closing_on: date | None
    covers_from: date | None
    covers_to: date | None
    entries: tuple[Entry, ...]
    where: str
    available: Money | None = None
    opening_derived: bool = False

    @property
    def final(self) -> bool:
        """Whether its days count as covered: an end-of-day statement with both balances."""
        return self.kind is StatementKind.END_OF_DAY and self.opening is not None and self.closing is not None


def account_digest(number: str | None) -> str | None:
    """What stands for an account number; None where there is none. Blanks and case say nothing."""
    plain = "".join(number.split()).upper() if number else ""
    return hashlib.sha256(plain.encode()).hexdigest() if plain else None


def numbered(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Give identical twins their occurrence numbers, in the order they stand."""
    seen: Counter[tuple[str, date, int, str, str]] = Counter()
    result = []
    for entry in entries:
        seen[entry.identity] += 1
        result.append(replace(entry, occurrence=seen[entry.identity]))
    return tuple(result)


def check_ties(statement: Statement) -> Refusal | None:
    """Opening + entries = closing in one currency, or the refusal that says by how much not."""
    if statement.opening is None or statement.closing is None:
        return None
    for field, money in (("opening", statement.opening), ("closing", statement.closing)):
        if money.currency != statement.currency:
            return Refusal(
                reason=RefusalReason.WRONG_CURRENCY, where=statement.where, field=field,
                detail=f"{field} balance is in {money.currency}, the account in {statement.currency}",
            )
    for entry in statement.entries:
        if entry.amount.currency != statement.currency:
            return Refusal(
                reason=RefusalReason.WRONG_CURRENCY, where=statement.where, field="entry",
                detail=f"an entry of {entry.booked_on} is in {entry.amount.currency}, not in {statement.currency}",
            )
    moved = sum(entry.amount.minor_units for entry in statement.entries)
    reached = Money(statement.opening.minor_units + moved, statement.currency)
    if reached == statement.closing:
        return None
    return Refusal(
        reason=RefusalReason.DOES_NOT_TIE, where=statement.where, field="closing",
        detail=(
            f"opening {statement.opening.text} + {len(statement.entries)} entries "
            f"{Money(moved, statement.currency).text} = {reached.text}, "
            f"the statement says {statement.closing.text}, off by {(statement.closing - reached).text}"
        ),
    )


def check_chains(previous_closing: Money, previous_on: date, statement: Statement) -> Refusal | None:
    """The closing before = this opening, or the refusal that shows both."""
    if statement.opening is None or statement.opening == previous_closing:
        return None
    return Refusal(
        reason=RefusalReason.DOES_NOT_CHAIN, where=statement.where, field="opening",
        detail=f"opens with {statement.opening}, but {previous_on} closed with {previous_closing}",
    )
