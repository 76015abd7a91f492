"""ISO 20022 camt.053 (end of day), camt.052 (intraday) and camt.054 (notices), of every version.

    Document/BkToCstmrStmt/Stmt     Acct   Bal (OPBD or PRCD, CLBD)   Ntry ...     a statement
    Document/BkToCstmrAcctRpt/Rpt   Acct   Ntry ...                                entries, no balance is taken
    Document/BkToCstmrDbtCdtNtfctn/Ntfctn  Acct   Ntry ...                         entries
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from escrow_monitor.banks.safe_xml import parsed_xml
from escrow_monitor.banks.statement_reading import (
    EntryLine,
    account_digest,
    amount_of,
    counterparty_digest,
    end_of_day,
    entries_only,
    is_account_no,
    plain_text,
    refused,
)
from escrow_monitor.domain.money import Money, decimal_text
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # the type alone; what parses is defusedxml

_NAMESPACE = re.compile(r"\{urn:iso:std:iso:20022:tech:xsd:(camt\.05[234])\.001\.[0-9]{2}\}\Z", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)
_SIGNS = {"CRDT": 1, "DBIT": -1}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_NOT_BOOKED = frozenset({"PDNG", "INFO", "FUTR"})


@dataclass(frozen=True, slots=True)
class _Message:
    root: str
    part: str
    namespace: str
    kind: StatementKind


_MESSAGES = (
    _Message("BkToCstmrStmt", "Stmt", "camt.053", StatementKind.END_OF_DAY),
    _Message("BkToCstmrAcctRpt", "Rpt", "camt.052", StatementKind.INTRADAY),
    _Message("BkToCstmrDbtCdtNtfctn", "Ntfctn", "camt.054", StatementKind.NOTICE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Balance:
    code: str
    amount: Money
    on: date


@dataclass(frozen=True, slots=True)
class _Reader:
    """One account's part of a message, read by local name within the document's namespace."""

    namespace: str
    zone: ZoneInfo

    def find(self, element: Element, path: str) -> Element | None:
        found: Element | None = element
        for name in path.split("/"):
            if found is None:
                return None
            found = found.find(self.namespace + name)
        return found

    def all(self, element: Element, name: str) -> Sequence[Element]:
        return element.findall(self.namespace + name)

    def text(self, element: Element, path: str) -> str | None:
        found = self.find(element, path)
        return (found.text or "").strip() or None if found is not None else None


def looks_like(content: bytes) -> bool:
    """Whether the bytes begin like XML, in any encoding XML may come in."""
    start = content[:200].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return start.startswith(b"<")


def read(content: bytes, *, filename: str, zone: ZoneInfo) -> list[Statement]:
    """Read every account's part of the message. Raises Refused naming the path and the field."""
    document = parsed_xml(content, filename)
    namespace, brace, name = document.tag.rpartition("}")
    namespace += brace
    declared = _NAMESPACE.match(namespace)
    message = next((known for known in _MESSAGES if document.find(namespace + known.root) is not None), None)
    if name != "Document" or message is None or (namespace and declared is None):
        raise refused(
            RefusalReason.UNKNOWN_FORMAT, filename, name, "XML, but not a Document of camt.052, camt.053 or camt.054"
        )
    if declared is not None and declared[1] != message.namespace:
        raise refused(RefusalReason.MALFORMED, filename, message.root, f"does not belong into a {declared[1]} document")
    reader = _Reader(namespace, zone)
    statements: list[Statement] = []
    for root in reader.all(document, message.root):
        for place, part in enumerate(reader.all(root, message.part), start=len(statements) + 1):
            statements.append(_part(reader, part, message, f"{filename}: {message.part}[{place}]"))
    if not statements:
        raise refused(RefusalReason.EMPTY, filename, message.part, f"the message holds no {message.part}")
    return statements


def _part(reader: _Reader, part: Element, message: _Message, where: str) -> Statement:
    account_no = reader.text(part, "Acct/Id/IBAN") or reader.text(part, "Acct/Id/Othr/Id")
    if account_no is None:
        raise refused(RefusalReason.MISSING_FIELD, where, "Acct/Id", "no IBAN and no other account number")
    account_no = account_no.replace(" ", "")
    if not is_account_no(account_no):
        raise refused(RefusalReason.MALFORMED, where, "Acct/Id", "not letters and digits")
    number = reader.text(part, "Id") or ""
    balances = [
        _balance(reader, found, f"{where}/Bal[{place}]") for place, found in enumerate(reader.all(part, "Bal"), start=1)
    ]
    lines = [
        line
        for place, found in enumerate(reader.all(part, "Ntry"), start=1)
        if (line := _entry(reader, found, f"{where}/Ntry[{place}]")) is not None
    ]
    _check_summary(reader, part, lines, where)
    stated = reader.text(part, "Acct/Ccy")
    stated_amounts = [*(line.amount for line in lines), *(balance.amount for balance in balances)]
    if message.kind is not StatementKind.END_OF_DAY:
        currency = stated or next((money.currency for money in stated_amounts), None)
        if currency is None:
            raise refused(RefusalReason.MISSING_FIELD, where, "Acct/Ccy", "nothing says the account's currency")
        return entries_only(
            account_no=account_no, currency=currency, kind=message.kind, number=number, lines=lines, where=where
        )
    opening, closing = _opening_and_closing(reader, part, balances, where)
    currency = stated or opening.amount.currency
    _check_currencies(currency, opening, closing, where)
    return end_of_day(
        account_no=account_no, currency=currency, number=number, opening=opening.amount, opening_on=opening.on,
        closing=closing.amount, closing_on=closing.on, lines=lines, where=where,
        available=_available(balances, currency, where), begins_on=_begins_on(reader, part, opening, closing, where),
    )


def _check_summary(reader: _Reader, part: Element, lines: Sequence[EntryLine], where: str) -> None:
    """Counts and sums of TxsSummry, where all entries are booked: with pending ones banks count in either way."""
    if len(lines) != len(reader.all(part, "Ntry")) or not lines:
        return
    units = [line.amount.minor_units for line in lines]
    for name, signs in (("TtlNtries", (1, -1)), ("TtlCdtNtries", (1,)), ("TtlDbtNtries", (-1,))):
        counted = [abs(one) for one in units if one and (1 if one > 0 else -1) in signs]
        zeros = sum(one == 0 for one in units)
        count = reader.text(part, f"TxsSummry/{name}/NbOfNtries")
        if count is not None and count not in {str(len(counted) + more) for more in range(zeros + 1)}:
            raise refused(
                RefusalReason.DOES_NOT_TIE, where, f"TxsSummry/{name}",
                f"states {count[:10]} entries, and there are {len(counted)}",
            )
        total = reader.text(part, f"TxsSummry/{name}/Sum")
        if total is not None:
            currency = lines[0].amount.currency
            stated = amount_of(total, currency, where=where, field=f"TxsSummry/{name}/Sum")
            if stated.minor_units != sum(counted):
                raise refused(
                    RefusalReason.DOES_NOT_TIE, where, f"TxsSummry/{name}",
                    f"states a sum of {stated.text}, the entries make {decimal_text(sum(counted), currency)}",
                )


def _opening_and_closing(
    reader: _Reader, part: Element, balances: Sequence[_Balance], where: str
) -> tuple[_Balance, _Balance]:
    """OPBD and CLBD, each once. PRCD, the closing before, stands for an OPBD that is not there."""
    by_code: dict[str, list[_Balance]] = {}
    for balance in balances:
        by_code.setdefault(balance.code, []).append(balance)
    opening = by_code.get("OPBD") or by_code.get("PRCD") or []
    closing = by_code.get("CLBD") or []
    for code, found in (("OPBD", opening), ("CLBD", closing)):
        if not found and reader.text(part, "StmtPgntn/LastPgInd") == "false":
            raise refused(
                RefusalReason.NO_BALANCE, where, f"Bal {code}", "a page of a statement whose other pages are not here"
            )
        if not found:
            raise refused(RefusalReason.NO_BALANCE, where, f"Bal {code}", f"a statement without its {code} balance")
        if len(found) > 1:
            raise refused(RefusalReason.CONTRADICTS, where, f"Bal {code}", f"{len(found)} balances {found[0].code}")
    return opening[0], closing[0]


def _check_currencies(currency: str, opening: _Balance, closing: _Balance, where: str) -> None:
    for balance in (opening, closing):
        if balance.amount.currency != currency:
            raise refused(
                RefusalReason.WRONG_CURRENCY, where, f"Bal {balance.code}",
                f"{balance.code} is in {balance.amount.currency}, the account in {currency}",
            )


def _available(balances: Sequence[_Balance], currency: str, where: str) -> Money | None:
    found = [balance.amount for balance in balances if balance.code == "CLAV"]
    if any(amount.currency != currency for amount in found):
        raise refused(RefusalReason.WRONG_CURRENCY, where, "Bal CLAV", f"the account is in {currency}")
    return found[0] if len(found) == 1 else None


def _begins_on(reader: _Reader, part: Element, opening: _Balance, closing: _Balance, where: str) -> date | None:
    """The first day by FrToDt, where it does not contradict the balances; some banks write nonsense here."""
    period = reader.find(part, "FrToDt")
    if period is None:
        return None
    first = _day(reader, period, "FrDt", "FrDtTm", where)
    last = _day(reader, period, "ToDt", "ToDtTm", where)
    return first if first is not None and last == closing.on and opening.on <= first <= closing.on else None


def _balance(reader: _Reader, element: Element, where: str) -> _Balance:
    code = reader.text(element, "Tp/CdOrPrtry/Cd") or reader.text(element, "Tp/CdOrPrtry/Prtry")
    if code is None:
        raise refused(RefusalReason.MISSING_FIELD, where, "Tp/CdOrPrtry/Cd", "a balance of no stated kind")
    on = _day(reader, element, "Dt/Dt", "Dt/DtTm", where)
    if on is None:
        raise refused(RefusalReason.MISSING_FIELD, where, "Dt", f"balance {code} has no date")
    lines = reader.all(element, "CdtLine")
    if code == "CLAV" and any(_FLAGS.get(reader.text(line, "Incl") or "") is not False for line in lines):
        code = "CLAV with credit line"  # money the holder may borrow is not money that is there
    return _Balance(code=code, amount=_signed_amount(reader, element, where), on=on)


def _signed_amount(reader: _Reader, element: Element, where: str) -> Money:
    amount = reader.find(element, "Amt")
    text, currency = ((amount.text or "").strip(), amount.get("Ccy")) if amount is not None else ("", None)
    if not text or currency is None:
        raise refused(RefusalReason.MISSING_FIELD, where, "Amt", "no amount with its currency")
    if not _CURRENCY.match(currency):
        raise refused(RefusalReason.WRONG_CURRENCY, where, "Amt", f"{currency!r} is no currency code")
    sign = _SIGNS.get(reader.text(element, "CdtDbtInd") or "")
    if sign is None:
        raise refused(RefusalReason.MISSING_FIELD, where, "CdtDbtInd", "neither CRDT nor DBIT")
    money = amount_of(text, currency, where=where, field="Amt")
    return money if sign > 0 else -money


def _entry(reader: _Reader, element: Element, where: str) -> EntryLine | None:
    """One entry, or None if it is not booked. A reversal's indicator already says which way the money went."""
    status = reader.text(element, "Sts/Cd") or reader.text(element, "Sts")
    if status in _NOT_BOOKED:
        return None
    if status != "BOOK":
        raise refused(RefusalReason.MISSING_FIELD, where, "Sts", f"status {status!r} is neither booked nor pending")
    reversal = _FLAGS.get(reader.text(element, "RvslInd") or "false")
    if reversal is None:
        raise refused(RefusalReason.MALFORMED, where, "RvslInd", "neither true nor false")
    amount = _signed_amount(reader, element, where)
    details = [found for group in reader.all(element, "NtryDtls") for found in reader.all(group, "TxDtls")]
    purposes = [one.text or "" for detail in details for one in _purposes(reader, detail)]
    return EntryLine(
        amount=amount, stated_on=_day(reader, element, "BookgDt/Dt", "BookgDt/DtTm", where),
        value_on=_day(reader, element, "ValDt/Dt", "ValDt/DtTm", where),
        bank_ref=reader.text(element, "AcctSvcrRef") or reader.text(element, "NtryRef"),
        text=plain_text(*purposes) or plain_text(reader.text(element, "AddtlNtryInf") or ""), reversal=reversal,
        counterparty_sha256=_counterparty(reader, details[0], amount) if len(details) == 1 else None,
        counterparty_account_sha256=(
            account_digest(_counterparty_account(reader, details[0], amount)) if len(details) == 1 else None
        ),
        where=where,
    )


def _purposes(reader: _Reader, detail: Element) -> Sequence[Element]:
    remittance = reader.find(detail, "RmtInf")
    return reader.all(remittance, "Ustrd") if remittance is not None else ()


def _counterparty(reader: _Reader, detail: Element, amount: Money) -> str | None:
    side = "Dbtr" if amount.minor_units >= 0 else "Cdtr"
    name = reader.text(detail, f"RltdPties/{side}/Nm") or reader.text(detail, f"RltdPties/{side}/Pty/Nm")
    return counterparty_digest(_counterparty_account(reader, detail, amount), name)


def _counterparty_account(reader: _Reader, detail: Element, amount: Money) -> str | None:
    side = "Dbtr" if amount.minor_units >= 0 else "Cdtr"
    return reader.text(detail, f"RltdPties/{side}Acct/Id/IBAN") or reader.text(
        detail, f"RltdPties/{side}Acct/Id/Othr/Id"
    )


def _day(reader: _Reader, element: Element, date_path: str, time_path: str, where: str) -> date | None:
    """A date, or the day of an instant in the bank's zone. A time without a zone is the bank's own."""
    plain, instant = reader.text(element, date_path), reader.text(element, time_path)
    text = plain or instant
    if text is None:
        return None
    try:
        if not _DATE.match(text):
            raise ValueError(text)
        if plain is not None:
            # XML dates may end in a zone, which says nothing more about the day.
            return date.fromisoformat(re.sub(r"(Z|[+-][0-9]{2}:[0-9]{2})\Z", "", plain))
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise refused(RefusalReason.BAD_DATE, where, date_path, f"{text!r} is no date") from error
    return (moment if moment.tzinfo is None else moment.astimezone(reader.zone)).date()
