"""SWIFT MT940 (end of day) and MT942 (intraday) files.

    :20:  starts a message          :61: one booked line     :62F: closing balance, the statement ends here
    :25:  the account               :86: its text            :62M: the page ends, the next one opens with :60M:
    :60F: opening balance           -    ends the message

Every line must be accounted for: what is neither a known field in its place nor text of :61: or :86: refuses the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from escrow_monitor.banks.statement_reading import (
    EntryLine,
    Refused,
    amount_of,
    counterparty_digest,
    decoded,
    end_of_day,
    entries_only,
    is_account_no,
    plain_text,
    refused,
    short_date,
)
from escrow_monitor.domain.money import Money, decimal_text
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement, StatementKind, account_digest

_TAG = re.compile(r":([0-9]{2}[A-Z]?):(.*)\Z", re.ASCII | re.DOTALL)
_ANY_TAG = re.compile(rb"^:[0-9]{2}[A-Z]?:", re.MULTILINE)
_END = re.compile(r"-(\}.*|XXX)?\Z", re.ASCII)
# What stands before a message: SWIFT blocks, a bank's code, the message type, or :940: as Rabobank writes it.
_HEADER = re.compile(r"(\{.*|[A-Z0-9][A-Z0-9 ]{2,60}|:94[02]:)\Z", re.ASCII)
_NEXT_MESSAGE = re.compile(r"(\{[15]:.*|:94[02]:)\Z", re.ASCII)
_BALANCE = re.compile(r"([CD])([0-9]{6})([A-Z]{3})(.*)\Z", re.ASCII)
_LINE = re.compile(
    r"(?P<value>[0-9]{6})(?P<entry>[0-9]{4})?(?P<mark>R?[CD])[A-Z]?(?P<amount>[0-9]+(?:,[0-9]*)?)"
    r"[A-Z][A-Z0-9]{3}(?P<refs>.*)\Z",
    re.ASCII | re.DOTALL,
)
_AMOUNT = re.compile(r"([0-9]{1,16}),([0-9]{0,3})\Z", re.ASCII)
_FLOOR = re.compile(r"([A-Z]{3})([CD]?)(.*)\Z", re.ASCII)
_TOTAL = re.compile(r"([0-9]{1,5})([A-Z]{3})(.*)\Z", re.ASCII)

_FIELD_ORDER_940 = {
    "20": 0, "21": 1, "25": 2, "25P": 2, "28": 3, "28C": 3, "60F": 4, "60M": 4, "61": 5, "86": 5,
    "62F": 6, "62M": 6, "64": 7, "65": 8,
}
_FIELD_ORDER_942 = {
    "20": 0, "21": 1, "25": 2, "25P": 2, "28": 3, "28C": 3, "34F": 4, "13": 5, "13D": 5, "61": 6, "86": 6,
    "90D": 7, "90C": 8,
}
_REPEATED = frozenset({"61", "86", "65", "34F"})
_LINES_OF_TEXT_MAX = {"86": 10_000, "61": 1, "25P": 1}

_SUBFIELDS = re.compile(r"\s*[0-9]{3}\s?([?>^~+@])(?=[0-9]{2})", re.ASCII)
_CODEWORDS = re.compile(
    r"/(EREF|MARF|KREF|PREF|REMI|ISDT|BENM|ORDP|ULTC|ULTD|NAME|ADDR|IBAN|BIC|CNTP|CSID|TRCD|TRTP|PURP|RTRN|SVWZ)/",
    re.ASCII,
)
_CODEWORDS_OF_TEXT = frozenset({"EREF", "KREF", "PREF", "REMI", "PURP", "SVWZ", "RTRN", "TRTP"})


@dataclass(slots=True)
class _Field:
    tag: str
    line: int
    lines: list[str] = field(default_factory=list)

    @property
    def value(self) -> str:
        return self.lines[0].rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Balance:
    amount: Money
    on: date
    intermediate: bool
    where: str


@dataclass(slots=True, kw_only=True)
class _Pages:
    """A statement as far as its pages have come."""

    account: str
    account_no: str
    number: str
    opening: _Balance
    closing: _Balance
    lines: list[EntryLine]
    available: Money | None
    where: str


def looks_like(content: bytes) -> bool:
    """Whether any line begins like a SWIFT field."""
    return _ANY_TAG.search(content.replace(b"\r", b"\n")) is not None


def read(content: bytes, *, filename: str, zone: ZoneInfo) -> list[Statement]:
    """Read every message of the file; pages are joined. `zone` is not needed: these files carry dates only.

    Raises Refused naming line and field.
    """
    found: list[Statement | _Pages] = []
    unfinished: dict[str, _Pages] = {}
    codes: dict[str, str] = {}
    for message in _messages(decoded(content), filename):
        tags = {known.tag for known in message}
        if tags & {"60F", "60M"} or "34F" not in tags:
            page = _page(message, filename)
            _same_account(codes, page)
            _add_page(page, unfinished, found)
        else:
            found.append(_intraday(message, filename))
    for pages in unfinished.values():
        raise refused(
            RefusalReason.MISSING_FIELD, pages.closing.where, ":62F:",
            "the statement goes on after this page, but its next page is not in the file",
        )
    return [one if isinstance(one, Statement) else _statement(one) for one in found]


def _messages(text: str, filename: str) -> Iterable[list[_Field]]:
    """Cut the file into messages, each a list of fields with their lines."""
    message: list[_Field] | None = None
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        line = raw.rstrip()
        tag = _TAG.match(line)
        if tag is not None and (message is not None or tag[1] == "20"):
            if tag[1] == "20":
                if message:
                    yield message
                message = []
            assert message is not None  # noqa: S101 - just made, or there before
            message.append(_Field(tag[1], number, [tag[2]]))
        elif message is None:
            _check_header(line, tag, f"{filename}:{number}")
        elif _END.match(line) or _NEXT_MESSAGE.match(line):
            yield message
            message = None
        else:
            _continue(message[-1], line, f"{filename}:{number}")
    if message:
        yield message


def _check_header(line: str, tag: re.Match[str] | None, where: str) -> None:
    if tag is not None:
        raise refused(
            RefusalReason.MISSING_FIELD, where, ":20:", f"field :{tag[1]}: stands outside a message, :20: is missing"
        )
    if line and not _END.match(line) and not _HEADER.match(line):
        raise refused(RefusalReason.MALFORMED, where, None, "a line outside a message that is no known header")


def _continue(known: _Field, line: str, where: str) -> None:
    if not line and known.tag != "86":
        return
    if line and len([one for one in known.lines[1:] if one]) >= _LINES_OF_TEXT_MAX.get(known.tag, 0):
        detail = f"a line that is no field and cannot belong to :{known.tag}:"
        raise refused(RefusalReason.MALFORMED, where, f":{known.tag}:", detail)
    known.lines.append(line)


def _check_order(message: Sequence[_Field], order: dict[str, int], filename: str) -> None:
    reached = -1
    seen: set[str] = set()
    for known in message:
        where = f"{filename}:{known.line}"
        rank = order.get(known.tag)
        if rank is None:
            raise refused(RefusalReason.MALFORMED, where, f":{known.tag}:", "no field of this message")
        if known.tag in seen and known.tag not in _REPEATED:
            raise refused(RefusalReason.MALFORMED, where, f":{known.tag}:", "the field stands twice in one message")
        if known.tag == "86":
            # Text of the line before it, or of the whole statement after its closing balance.
            if reached < rank:
                raise refused(RefusalReason.MALFORMED, where, ":86:", "text that belongs to no line")
        elif rank < reached:
            raise refused(RefusalReason.MALFORMED, where, f":{known.tag}:", "the field stands out of its order")
        else:
            reached = rank
        seen.add(known.tag)


def _one(message: Sequence[_Field], tags: Sequence[str], filename: str) -> _Field:
    found = [known for known in message if known.tag in tags]
    names = " or ".join(f":{tag}:" for tag in tags)
    if not found:
        raise refused(
            RefusalReason.MISSING_FIELD, f"{filename}:{message[0].line}", f":{tags[0]}:",
            f"the message that begins here has no {names}",
        )
    if len(found) > 1:
        raise refused(RefusalReason.MALFORMED, f"{filename}:{found[1].line}", f":{found[1].tag}:", f"a second {names}")
    return found[0]


def _page(message: Sequence[_Field], filename: str) -> _Pages:
    account = _one(message, ("25", "25P"), filename)
    opening_field, closing_field = _one(message, ("60F", "60M"), filename), _one(message, ("62F", "62M"), filename)
    _check_order(message, _FIELD_ORDER_940, filename)
    opening, closing = _balance(opening_field, filename), _balance(closing_field, filename)
    currency = opening.amount.currency
    if closing.amount.currency != currency:
        raise refused(
            RefusalReason.WRONG_CURRENCY, closing.where, f":{closing_field.tag}:",
            f"opens in {currency} and closes in {closing.amount.currency}",
        )
    available = next((_balance(known, filename).amount for known in message if known.tag == "64"), None)
    if available is not None and available.currency != currency:
        raise refused(
            RefusalReason.WRONG_CURRENCY, closing.where, ":64:",
            f"the account is in {currency}, its available balance in {available.currency}",
        )
    page = _Pages(
        account=account.value, account_no=_account_no(account, currency, filename), number=_number(message),
        opening=opening, closing=closing, lines=_lines(message, currency, filename), available=available,
        where=f"{filename}:{message[0].line}",
    )
    _check_page_ties(page)
    return page


def _check_page_ties(page: _Pages) -> None:
    currency = page.closing.amount.currency
    reached = page.opening.amount.minor_units + sum(line.amount.minor_units for line in page.lines)
    off = page.closing.amount.minor_units - reached
    if off == 0:
        return
    raise refused(
        RefusalReason.DOES_NOT_TIE, page.closing.where, ":62M:" if page.closing.intermediate else ":62F:",
        f"opening {page.opening.amount.text} + {len(page.lines)} entries = {decimal_text(reached, currency)}, "
        f"the statement says {page.closing.amount.text}, off by {decimal_text(off, currency)}",
    )


def _account_no(account: _Field, currency: str, filename: str) -> str:
    """The account without the bank's code before the slash and the currency some banks write behind it."""
    account_no = account.value.rpartition("/")[2].strip()
    if len(account_no) > 3 and account_no.endswith(currency):
        account_no = account_no[: -len(currency)].strip()
    if not is_account_no(account_no):
        raise refused(RefusalReason.MISSING_FIELD, f"{filename}:{account.line}", ":25:", "no account number")
    return account_no


def _same_account(codes: dict[str, str], page: _Pages) -> None:
    """One number under two bank codes would be two accounts taken for one."""
    code = page.account.rpartition("/")[0]
    if codes.setdefault(page.account_no, code) != code:
        raise refused(
            RefusalReason.WRONG_ACCOUNT, page.where, ":25:",
            f"account {page.account_no} stands under two bank codes in one file",
        )


def _number(message: Sequence[_Field]) -> str:
    return next((known.value.strip() for known in message if known.tag in ("28C", "28")), "")


def _balance(known: _Field, filename: str) -> _Balance:
    where, name = f"{filename}:{known.line}", f":{known.tag}:"
    match = _BALANCE.match(known.value)
    if match is None:
        raise refused(RefusalReason.MALFORMED, where, name, "not a mark, a date, a currency and an amount")
    mark, day, currency, amount = match.groups()
    money = _amount(amount, currency, where, name)
    return _Balance(
        amount=-money if mark == "D" else money, on=short_date(day, where=where, field=name),
        intermediate=known.tag.endswith("M"), where=where,
    )


def _amount(text: str, currency: str, where: str, name: str) -> Money:
    match = _AMOUNT.match(text)
    if match is None:
        raise refused(RefusalReason.BAD_AMOUNT, where, name, f"{text!r} is not digits, a comma and decimals")
    return amount_of(f"{match[1]}.{match[2] or '0'}", currency, where=where, field=name)


def _lines(message: Sequence[_Field], currency: str, filename: str) -> list[EntryLine]:
    """Every :61: with the :86: fields behind it. An :86: after the closing balance speaks of the whole statement."""
    texts: dict[int, list[str]] = {}
    last: _Field | None = None
    for known in message:
        if known.tag == "61":
            last = known
            texts[known.line] = []
        elif known.tag == "86" and last is not None:
            texts[last.line].extend(known.lines)
        else:
            last = None
    return [_line(known, texts[known.line], currency, filename) for known in message if known.tag == "61"]


def _line(known: _Field, text: Sequence[str], currency: str, filename: str) -> EntryLine:
    where = f"{filename}:{known.line}"
    match = _LINE.match(known.value)
    if match is None:
        raise refused(RefusalReason.MALFORMED, where, ":61:", "not a date, a mark, an amount and a transaction type")
    amount = _amount(match["amount"], currency, where, ":61:")
    value_on = short_date(match["value"], where=where, field=":61:")
    reference, _, bank_reference = match["refs"].partition("//")
    kept, counterparty, other_account = _text(text)
    # C and RD bring money in; D and RC take it away.
    return EntryLine(
        amount=amount if match["mark"] in ("C", "RD") else -amount,
        stated_on=_entry_date(match["entry"], value_on, where) if match["entry"] else None,
        value_on=value_on, bank_ref=_reference(bank_reference) or _reference(reference),
        text=kept or plain_text(*known.lines[1:]), reversal=match["mark"].startswith("R"),
        counterparty_sha256=counterparty, counterparty_account_sha256=account_digest(other_account), where=where,
    )


def _reference(text: str) -> str | None:
    reference = plain_text(text)
    return reference if reference and reference != "NONREF" else None


def _entry_date(text: str, value_on: date, where: str) -> date:
    """MMDD without a year: of the years around the value date, the nearest."""
    near = []
    for year in (value_on.year - 1, value_on.year, value_on.year + 1):
        try:
            near.append(date(year, int(text[:2]), int(text[2:])))
        except ValueError:
            continue  # 29 February, or no date in any year
    if not near:
        raise refused(RefusalReason.BAD_DATE, where, ":61:", f"{text} is no day of a year")
    return min(near, key=lambda day: abs((day - value_on).days))


def _text(lines: Sequence[str]) -> tuple[str, str | None, str | None]:
    """The purpose in an :86:, a digest of the other side, and its account, where the bank tells them apart."""
    joined = "".join(lines)
    if (coded := _SUBFIELDS.match(joined)) is not None:
        parts: dict[str, str] = {}
        for part in joined[coded.end(1) :].split(coded[1]):
            parts[part[:2]] = parts.get(part[:2], "") + part[2:]
        purpose = "".join(parts.get(str(code), "") for code in (*range(20, 30), *range(60, 64)))
        other_side = [parts.get(code) for code in ("30", "31", "32", "33", "38")]
        account = parts.get("31") or parts.get("38")
        return plain_text(parts.get("00", ""), purpose), counterparty_digest(*other_side), account
    pieces = _CODEWORDS.split(joined)
    if len(pieces) == 1:
        return plain_text(*lines), None, None
    coded_parts = list(zip(pieces[1::2], pieces[2::2], strict=True))
    purposes = [text for code, text in coded_parts if code in _CODEWORDS_OF_TEXT]
    other = [text for code, text in coded_parts if code not in _CODEWORDS_OF_TEXT and code != "ISDT"]
    account = next((text for code, text in coded_parts if code == "IBAN"), None)
    return plain_text(pieces[0], *purposes), counterparty_digest(*other), account


def _add_page(page: _Pages, unfinished: dict[str, _Pages], found: list[Statement | _Pages]) -> None:
    """Put a page behind the pages of its account, or begin a statement with it."""
    before = unfinished.pop(page.account_no, None)
    if not page.opening.intermediate:
        if before is not None:
            raise refused(
                RefusalReason.MISSING_FIELD, before.closing.where, ":62F:",
                "the statement goes on after this page, but the account's next message begins another one",
            )
        found.append(page)
        whole = page
    elif before is None:
        raise refused(
            RefusalReason.MISSING_FIELD, page.opening.where, ":60F:",
            "a page that continues a statement whose first page is not in the file",
        )
    elif before.closing.amount != page.opening.amount:
        raise Refused(
            Refusal(
                reason=RefusalReason.DOES_NOT_CHAIN, where=page.opening.where, field=":60M:",
                detail=f"the page opens with {page.opening.amount}, the one before closed with {before.closing.amount}",
            )
        )
    else:
        before.closing, before.available = page.closing, page.available
        before.lines.extend(page.lines)
        whole = before
    if page.closing.intermediate:
        unfinished[page.account_no] = whole


def _statement(pages: _Pages) -> Statement:
    return end_of_day(
        account_no=pages.account_no, currency=pages.opening.amount.currency, number=pages.number,
        opening=pages.opening.amount, opening_on=pages.opening.on, closing=pages.closing.amount,
        closing_on=pages.closing.on, lines=pages.lines, where=pages.where, available=pages.available,
    )


def _intraday(message: Sequence[_Field], filename: str) -> Statement:
    account = _one(message, ("25", "25P"), filename)
    _check_order(message, _FIELD_ORDER_942, filename)
    floor = next(known for known in message if known.tag == "34F")
    where = f"{filename}:{floor.line}"
    match = _FLOOR.match(floor.value)
    if match is None:
        raise refused(RefusalReason.MALFORMED, where, ":34F:", "not a currency, a mark and an amount")
    currency = match[1]
    _amount(match[3], currency, where, ":34F:")
    lines = _lines(message, currency, filename)
    for known in message:
        if known.tag in ("90D", "90C"):
            _check_total(known, lines, currency, filename)
    return entries_only(
        account_no=_account_no(account, currency, filename), currency=currency, kind=StatementKind.INTRADAY,
        number=_number(message), lines=lines, where=f"{filename}:{message[0].line}",
    )


def _check_total(known: _Field, lines: Sequence[EntryLine], currency: str, filename: str) -> None:
    where, name = f"{filename}:{known.line}", f":{known.tag}:"
    match = _TOTAL.match(known.value)
    if match is None:
        raise refused(RefusalReason.MALFORMED, where, name, "not a count, a currency and an amount")
    if match[2] != currency:
        raise refused(RefusalReason.WRONG_CURRENCY, where, name, f"a total in {match[2]}, the account is in {currency}")
    stated = _amount(match[3], currency, where, name)
    counted = [abs(line.amount.minor_units) for line in lines if (line.amount.minor_units < 0) == (known.tag == "90D")]
    if (int(match[1]), stated.minor_units) != (len(counted), sum(counted)):
        raise refused(
            RefusalReason.DOES_NOT_TIE, where, name,
            f"{len(counted)} entries of {decimal_text(sum(counted), currency)}, "
            f"the message says {match[1]} of {stated.text}",
        )
