"""From transactions as Berlin Group states them to statements.

    {"booked": [...]} and openingBooked, closingBooked         END_OF_DAY, where they tie; what is booked later a NOTICE
    {"booked": [...]} alone                                    a NOTICE
    {"_links": {"download": ...}}                              the same as a file: JSON again, camt.053 or MT940
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from escrow_monitor.banks.answer_reading import (
    Json,
    Moment,
    date_of,
    is_same_account,
    masked,
    object_of,
    plain_id,
    text_of,
)
from escrow_monitor.banks.connectors.berlin_group.fields import amount_of, check_account, names
from escrow_monitor.banks.formats import FileRefused, read_statements
from escrow_monitor.banks.http import Answer
from escrow_monitor.banks.statement_reading import (
    EntryLine,
    Refused,
    account_digest,
    checked,
    counterparty_digest,
    end_of_day,
    entries_only,
    plain_text,
    refused,
)
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind

Sign: TypeAlias = Literal["signed", "by_party"]
"""How a bank writes amounts of transactions: debits below zero, or never below zero, and then the parties tell."""


@dataclass(slots=True)
class _Listed:
    """What the pages of one account's entries say together. Later pages repeat the balances of the period."""

    lines: list[EntryLine] = field(default_factory=list)
    balances: dict[str, tuple[Money, date]] = field(default_factory=dict)
    pages: list[object] = field(default_factory=list)
    seen: dict[str, tuple[int, Json]] = field(default_factory=dict)


def statements(
    pages: Sequence[tuple[Answer, Json]], account: Account, *, asked_from: date, last_closed: date, sign: Sign
) -> tuple[Statement, ...]:
    """A statement where opening and closing are stated and tie; entries after the closing stay a notice."""
    found, where = _Listed(), pages[0][0].path
    for answer, document in pages:
        if (stated := document.get("account")) is not None:
            check_account(account, object_of(stated, answer.path, "account"), answer.path)
        booked = object_of(document.get("transactions"), answer.path, "transactions").get("booked")
        if not isinstance(booked, list):
            detail = "the answer lists no booked entries"
            raise refused(RefusalReason.MISSING_FIELD, answer.path, "transactions.booked", detail)
        _add_page(found, booked, account, answer.path, sign)
        _add_period_balances(found.balances, document.get("balances"), account, answer)
    opening, closing = found.balances.get("openingBooked"), found.balances.get("closingBooked")
    lines, number = found.lines, f"{asked_from}..{last_closed}"
    if opening is None or closing is None:
        notice = _notice(account, number, lines, where)
        return checked([notice], today=last_closed) if lines else ()
    if closing[1] < asked_from:
        return ()  # no day that is new has closed yet
    inside = [line for line in lines if line.stated_on is None or line.stated_on <= closing[1]]
    after = [line for line in lines if line.stated_on is not None and line.stated_on > closing[1]]
    # The opening may be dated by the first day asked for or by the day before: the period begins as asked.
    begins_on = asked_from if asked_from - timedelta(days=1) <= opening[1] <= asked_from else None
    whole = end_of_day(
        account_no=account.account_no, currency=account.currency, number=number, opening=opening[0],
        opening_on=opening[1], closing=closing[0], closing_on=closing[1], lines=inside, where=where,
        begins_on=begins_on,
    )
    return checked([whole, _notice(account, number, after, where)] if after else [whole], today=last_closed)


def downloaded(answer: Answer, account: Account, *, zone: ZoneInfo) -> tuple[Statement, ...]:
    """The statements of a file that the bank gave instead of a list, all of the account that was asked for.

    Raises Refused with every fault of the file, or for a file of another account.
    """
    read = read_statements(
        answer.content, filename=answer.path, zone=zone, today=Moment(zone, answer.fetched_at).today
    )
    if isinstance(read, FileRefused):
        raise Refused(*read.refusals)
    return tuple(_as_ours(statement, account) for statement in read.statements)


def _as_ours(statement: Statement, account: Account) -> Statement:
    """The statement under the number we know the account by."""
    stated = statement.account_no.rpartition("/")[2]  # SWIFT's :25: may carry the bank's own code before a slash
    if not any(is_same_account(account.account_no, plain_id(one)) for one in (statement.account_no, stated)):
        detail = f"the file speaks of account {masked(stated)}, not of {masked(account.account_no)}"
        raise refused(RefusalReason.WRONG_ACCOUNT, statement.where, "account", detail)
    if statement.currency != account.currency:
        detail = f"the file is in {statement.currency}, the account in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, statement.where, "currency", detail)
    entries = tuple(replace(entry, account_no=account.account_no) for entry in statement.entries)
    return replace(statement, account_no=account.account_no, entries=entries)


def _add_page(found: _Listed, booked: list[object], account: Account, where: str, sign: Sign) -> None:
    """Add a page's entries. One that slid onto a later page, or a page repeated, counts once, known by its ids.

    Two alike within one page are twins. A repeated page without ids cannot be told from twins, and is refused.
    """
    if booked in found.pages and not all(isinstance(one, dict) and one.get("transactionId") for one in booked):
        raise refused(RefusalReason.MALFORMED, where, "transactions.booked", "the same page came twice")
    number = len(found.pages)
    found.pages.append(booked)
    for place, item in enumerate(booked):
        here = f"{where} booked[{place}]"
        row = object_of(item, here, "transaction")
        identity = text_of(row.get("transactionId"))
        page, before = found.seen.setdefault(identity, (number, row)) if identity else (number, row)
        if page != number and before != row:
            detail = "a transaction is stated on two pages, in two different ways"
            raise refused(RefusalReason.CONTRADICTS, here, "transactionId", detail)
        if page == number:
            found.lines.append(_line(row, account, here, sign))


def _line(stated: Json, account: Account, where: str, sign: Sign) -> EntryLine:
    amount = amount_of(stated.get("transactionAmount"), account, where, "transactionAmount")
    if sign == "by_party" and amount.minor_units > 0:
        creditor = stated.get("creditorAccount")
        if isinstance(creditor, dict) and not names(account, creditor):
            amount = -amount
    other = "creditor" if amount.minor_units < 0 else "debtor"
    other_account = stated.get(f"{other}Account")
    ids = [text_of(other_account.get(name)) for name in ("iban", "bban")] if isinstance(other_account, dict) else []
    value_on = stated.get("valueDate")
    remittance = stated.get("remittanceInformationUnstructuredArray")
    return EntryLine(
        amount=amount, stated_on=date_of(stated.get("bookingDate"), where, "bookingDate"),
        value_on=None if value_on is None else date_of(value_on, where, "valueDate"),
        bank_ref=text_of(stated.get("transactionId")) or text_of(stated.get("entryReference")),
        text=plain_text(
            text_of(stated.get("remittanceInformationUnstructured")) or "",
            *(map(str, remittance) if isinstance(remittance, list) else ()),
        ),
        reversal=False, counterparty_sha256=counterparty_digest(*ids, text_of(stated.get(f"{other}Name"))),
        counterparty_account_sha256=account_digest(next(filter(None, ids), None)), where=where,
    )


def _add_period_balances(
    balances: dict[str, tuple[Money, date]], stated: object, account: Account, answer: Answer
) -> None:
    """Opening and closing of the period asked for; later pages repeat them."""
    for one in stated if isinstance(stated, list) else ():
        balance = object_of(one, answer.path, "balances")
        name = balance.get("balanceType")
        if name not in ("openingBooked", "closingBooked"):
            continue
        on = date_of(balance.get("referenceDate"), answer.path, "referenceDate")
        said = (amount_of(balance.get("balanceAmount"), account, answer.path, "balanceAmount"), on)
        if balances.setdefault(str(name), said) != said:
            detail = f"{name} is stated as {balances[str(name)][0].text} and as {said[0].text}"
            raise refused(RefusalReason.CONTRADICTS, answer.path, "balances", detail)


def _notice(account: Account, number: str, lines: Sequence[EntryLine], where: str) -> Statement:
    return entries_only(
        account_no=account.account_no, currency=account.currency, kind=StatementKind.NOTICE, number=number,
        lines=lines, where=where,
    )
