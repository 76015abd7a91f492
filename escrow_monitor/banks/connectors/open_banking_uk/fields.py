"""The fields that balances and transactions of UK Open Banking share: amount, direction, time, account."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from escrow_monitor.banks.answer_reading import CLOCK_SKEW, Json, Moment, masked, object_of
from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.statements import RefusalReason

_AMOUNT = re.compile(r"[0-9]{1,13}(\.[0-9]{1,5})?\Z", re.ASCII)
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?\Z",
    re.ASCII,
)
_DIRECTIONS = {"Credit": 1, "Debit": -1}


@dataclass(frozen=True, slots=True)
class Stamp:
    """A DateTime of the standard: the day at the bank, the instant, and whether the bank's clock stood before noon.

    A mere date has no forenoon: its instant is the end of the day.
    """

    on: date
    at: datetime
    forenoon: bool


def account_id(account: Account) -> str:
    """What the bank calls the account: its AccountId."""
    return account.external_id or account.account_no


def check_account(row: Json, account: Account, where: str) -> None:
    """Each row names its account, and it must be the one that was asked for."""
    stated = row.get("AccountId")
    if stated != account_id(account):
        detail = f"the answer speaks of account {masked(str(stated))}, not of {masked(account_id(account))}"
        raise refused(RefusalReason.WRONG_ACCOUNT, where, "AccountId", detail)


def signed_amount(row: Json, account: Account, where: str) -> Money:
    """`Amount`, never signed in itself, with the direction of `CreditDebitIndicator`.

    Raises Refused for anything but a string as the standard writes it, in the account's own currency. The balances in
    other currencies of a wallet are refused with it: an escrow account has one.
    """
    stated = object_of(row.get("Amount"), where, "Amount")
    text, currency = stated.get("Amount"), stated.get("Currency")
    if currency != account.currency:
        detail = f"stated in {str(currency)[:20]!r}, the account is in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, where, "Amount.Currency", detail)
    if not isinstance(text, str) or not _AMOUNT.match(text):
        # A JSON number has been through binary fractions somewhere; and the standard knows no sign.
        detail = f"{str(text)[:40]!r} is not an amount as the standard writes it: digits without a sign, in a string"
        raise refused(RefusalReason.BAD_AMOUNT, where, "Amount.Amount", detail)
    indicator = row.get("CreditDebitIndicator")
    direction = _DIRECTIONS.get(indicator) if isinstance(indicator, str) else None
    if direction is None:
        detail = f"{str(indicator)[:20]!r} is neither Credit nor Debit: the amount has no direction"
        raise refused(RefusalReason.MISSING_FIELD, where, "CreditDebitIndicator", detail)
    try:
        amount = parse_amount(text, account.currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, "Amount.Amount", str(error)) from error
    return amount if direction > 0 else -amount


def stamp_of(text: object, moment: Moment, where: str, name: str) -> Stamp:
    """When something was, at the bank. Raises Refused for no zone, no date or a time to come.

    The standard has no field for a mere date: where a bank's books know no time it writes 00:00:00+00:00 (Balances and
    Transactions, "Notes"). So midnight, in whatever offset, is the day as written, and its instant the day's end; any
    other time is an instant, and its day is that of the bank's zone.
    """
    if text is None:
        raise refused(RefusalReason.MISSING_FIELD, where, name, "not there")
    written = _instant(text, where, name)
    if written.time() == time(0):
        on = written.date()
        return Stamp(on, moment.end_of(on, where, name), forenoon=False)
    if written.astimezone(UTC) > moment.fetched_at + CLOCK_SKEW:
        raise refused(RefusalReason.DATED_IN_FUTURE, where, name, f"{text} is later than now")
    # The bank's clock may be a little ahead of ours: nothing is from later than the answer that says it.
    at = min(written, moment.fetched_at)
    local = at.astimezone(moment.zone)
    return Stamp(local.date(), at.astimezone(UTC), forenoon=local.time() < time(12))


def day_of(text: object, moment: Moment, where: str, name: str) -> date:
    """The day at the bank of a DateTime that may lie ahead, a value date for instance. Raises Refused."""
    written = _instant(text, where, name)
    return written.date() if written.time() == time(0) else written.astimezone(moment.zone).date()


def _instant(text: object, where: str, name: str) -> datetime:
    match = _INSTANT.match(text) if isinstance(text, str) else None
    if match is not None and match["zone"] is None:
        raise refused(RefusalReason.BAD_DATE, where, name, f"{text} names no zone, and the standard demands one")
    try:
        if match is not None:
            written = datetime.fromisoformat(match[0])
            written.astimezone(UTC)  # an instant before year 1 or after 9999 is none
            return written
    except (ValueError, OverflowError):
        pass
    raise refused(RefusalReason.BAD_DATE, where, name, f"{str(text)[:40]!r} is no instant")
