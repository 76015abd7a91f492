"""From balances as UK Open Banking states them to readings.

    {"AccountId": "22289", "Type": "CLBD", "CreditDebitIndicator": "Credit", "DateTime": "2026-11-21T00:00:00+00:00",
     "Amount": {"Amount": "1230.00", "Currency": "GBP"}}                   BOOKED_CLOSING of 21 November, final

    ClosingBooked, CLBD             BOOKED_CLOSING      InterimBooked, ITBD        BOOKED_INTRADAY
    PreviouslyClosedBooked, PRCD    BOOKED_CLOSING      InterimAvailable, ITAV     AVAILABLE

All other types are left aside, and so is every balance that includes a credit line: money the holder may borrow is not
money that is there.

Which day a closing balance closes. Its DateTime is the only thing that says so. A mere date (midnight, see `stamp_of`)
names the day. An instant in the afternoon or evening closes the day of the bank's zone that it lies in. An instant in
the forenoon tells when the closing was struck, at the end of some night's work, but not for which day: it is a booked
balance of that instant and not final. Final needs the day to be over at the bank: until midnight more may be booked. A
closing that is not final is left aside where the bank also states InterimBooked, which is the running balance in so
many words. A *previous* closing is not the balance of the instant it is stamped with: where that
names no day, it is left aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from escrow_monitor.banks.answer_reading import Json, Moment, check_one_voice
from escrow_monitor.banks.connectors.open_banking_uk.fields import Stamp, check_account, signed_amount, stamp_of
from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.accounts import Account, BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import RefusalReason

SOURCE = "open_banking_uk"

_KINDS = {
    "ClosingBooked": BalanceKind.BOOKED_CLOSING, "CLBD": BalanceKind.BOOKED_CLOSING,
    "PreviouslyClosedBooked": BalanceKind.BOOKED_CLOSING, "PRCD": BalanceKind.BOOKED_CLOSING,
    "InterimBooked": BalanceKind.BOOKED_INTRADAY, "ITBD": BalanceKind.BOOKED_INTRADAY,
    "InterimAvailable": BalanceKind.AVAILABLE, "ITAV": BalanceKind.AVAILABLE,
}
_PREVIOUS = frozenset({"PreviouslyClosedBooked", "PRCD"})


@dataclass(frozen=True, slots=True)
class Stated:
    """One balance of one account, with the page that states it."""

    kind: BalanceKind
    amount: Money
    stamp: Stamp
    final: bool
    fetched_at: datetime
    raw_sha256: str


def stated_balance(row: Json, account: Account, *, where: str, moment: Moment, raw_sha256: str) -> Stated | None:
    """What one row states of the account; None for what is left aside. Raises Refused."""
    check_account(row, account, where)
    name = row.get("Type")
    if not isinstance(name, str):
        raise refused(RefusalReason.MISSING_FIELD, where, "Type", "a balance of no stated kind")
    kind = _KINDS.get(name)
    if kind is None or _includes_credit(row.get("CreditLine"), where):
        return None
    amount = signed_amount(row, account, where)
    stamp = stamp_of(row.get("DateTime"), moment, where, "DateTime")
    final = kind is BalanceKind.BOOKED_CLOSING and stamp.on < moment.today and not stamp.forenoon
    if name in _PREVIOUS and not final:
        return None
    return Stated(kind, amount, stamp, final, moment.fetched_at, raw_sha256)


def readings_of(said: Sequence[Stated], account: Account, *, where: str) -> tuple[Reading, ...]:
    """The readings of one account from all that was stated of it. Raises Refused where two contradict each other."""
    running = any(one.kind is BalanceKind.BOOKED_INTRADAY for one in said)
    readings = tuple(
        Reading(
            account_no=account.account_no, kind=one.kind, amount=one.amount, on=one.stamp.on, as_of=one.stamp.at,
            fetched_at=one.fetched_at, final=one.final, source=SOURCE, raw_sha256=one.raw_sha256,
        )
        for one in said
        if one.final or one.kind is not BalanceKind.BOOKED_CLOSING or not running
    )
    if not readings:
        raise refused(RefusalReason.NO_BALANCE, where, "Data.Balance", "no booked and no available balance among them")
    check_one_voice(readings, where)
    return _once(readings)


def _once(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """A balance that two pages state alike is one reading."""
    return tuple({(one.kind, one.on, one.as_of): one for one in reversed(readings)}.values())[::-1]


def _includes_credit(lines: object, where: str) -> bool:
    """Whether the balance counts a credit line in. The standard: where `Included` is missing it does not."""
    if lines is None:
        return False
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise refused(RefusalReason.MALFORMED, where, "CreditLine", "not a list of credit lines")
    return any(line.get("Included") not in (None, False) for line in lines)
