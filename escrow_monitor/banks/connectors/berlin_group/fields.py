"""The fields that balances and transactions of Berlin Group share: amount, account, links."""

from __future__ import annotations

import re
from urllib.parse import quote

from escrow_monitor.banks.answer_reading import Json, is_same_account, masked, plain_id
from escrow_monitor.banks.statement_reading import refused
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.money import AmountError, Money, exponent, parse_amount
from escrow_monitor.domain.statements import RefusalReason

_AMOUNT = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,3})?\Z", re.ASCII)


def amount_of(stated: object, account: Account, where: str, name: str) -> Money:
    """`{"currency": "CNY", "amount": "123.45"}` in the account's own currency, exactly."""
    if not isinstance(stated, dict):
        raise refused(RefusalReason.MISSING_FIELD, where, name, "no amount")
    text, currency = stated.get("amount"), stated.get("currency")
    if currency != account.currency:
        detail = f"stated in {str(currency)[:20]!r}, the account is in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, where, f"{name}.currency", detail)
    if not isinstance(text, str) or not _AMOUNT.match(text):
        # A JSON number has been through binary fractions somewhere; only a string is exact.
        detail = f"{str(text)[:40]!r} is not an amount as the standard writes it, in a string"
        raise refused(RefusalReason.BAD_AMOUNT, where, f"{name}.amount", detail)
    try:
        whole, _, part = text.partition(".")
        if len(part) == 2 and exponent(account.currency) == 2:
            return Money(int(whole + part), account.currency)  # nearly all of them, in a quarter of the time
        return parse_amount(text, account.currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, f"{name}.amount", str(error)) from error


def check_account(account: Account, stated: Json, where: str) -> None:
    """Every number the answer gives the account must be its own; an IBAN may carry the number at its end."""
    resource = stated.get("resourceId")
    known = account.external_id is not None and resource == account.external_id
    for name in ("iban", "bban"):
        value = stated.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not is_same_account(account.account_no, plain_id(value)):
            detail = f"the answer speaks of account {masked(str(value))}, not of {masked(account.account_no)}"
            raise refused(RefusalReason.WRONG_ACCOUNT, where, f"account.{name}", detail)
        known = True
    if account.external_id is not None and isinstance(resource, str) and resource != account.external_id:
        detail = "the answer speaks of another resource than the one asked for"
        raise refused(RefusalReason.WRONG_ACCOUNT, where, "account.resourceId", detail)
    if not known and resource != account.account_no:
        raise refused(RefusalReason.WRONG_ACCOUNT, where, "account", "the answer does not say which account it is of")
    currency = stated.get("currency")
    if currency is not None and currency != account.currency:
        detail = f"the bank keeps it in {str(currency)[:20]!r}, we in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, where, "account.currency", detail)


def names(account: Account, reference: Json) -> bool:
    """Whether an account reference is this account's own."""
    stated = [reference[name] for name in ("iban", "bban") if isinstance(reference.get(name), str)]
    return any(is_same_account(account.account_no, plain_id(str(value))) for value in stated)


def path_id(account: Account) -> str:
    return quote(account.external_id or account.account_no, safe="")


def link_of(links: object, name: str, where: str) -> str | None:
    """The address of a link, if there is one. Raises Refused for one without an address."""
    found = links.get(name) if isinstance(links, dict) else None
    if found is None:
        return None
    href = found.get("href") if isinstance(found, dict) else found
    if not isinstance(href, str) or not href:
        raise refused(RefusalReason.MALFORMED, where, f"_links.{name}", "a link without an address")
    return href
