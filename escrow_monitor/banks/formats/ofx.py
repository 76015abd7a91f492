"""OFX bank statements: 1.x in SGML, whose fields need no end tags, and 2.x in XML.

    OFXHEADER:100 ...                            or  <?xml ...?><?OFX OFXHEADER="200" ...?>
    <OFX><BANKMSGSRSV1>
      <STMTTRNRS><STMTRS>                        one account, as often as wanted
        <CURDEF>CNY  <BANKACCTFROM><ACCTID>371082001
        <BANKTRANLIST><DTSTART>20261120 <DTEND>20261120  <STMTTRN>...
        <LEDGERBAL><BALAMT>70.00<DTASOF>20261120235959

OFX states one balance, the one at the end, so nothing in a file proves its amounts. We take as opening what the ledger
balance leaves when the entries are taken off: the file then ties by construction, which proves nothing, but the next
file's opening must be this one's closing and its own closing comes from the bank. A wrong or lost entry breaks that
chain, in the file and in the records, and only the very first file of an account rests on the bank's word alone.

That holds only where list and balance speak of the same whole days, so days are covered from DTSTART to DTASOF if

    DTSTART begins a day, DTASOF ends one (no time, 12:00:00 as many banks write for none, 23:59, or midnight), and
    DTEND does not lie before DTASOF

Otherwise the entries are taken without a balance: as an intraday report where a time cuts a day in two, as a notice
where the list ends before the balance or there is none. Midnight of a day is the end of the day before unless an entry
of that very day is listed: both readings of it then agree on every figure.

A time without a zone is the bank's own. (The standard says GMT then; banks that leave the zone out mean their own.)

Rules: Open Financial Exchange 1.6 section 11.4.2 and 2.2 section 11.4.2, dates 3.2.8, amounts 3.2.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from escrow_monitor.banks.safe_xml import parsed_xml
from escrow_monitor.banks.statement_reading import (
    EntryLine,
    counterparty_digest,
    decoded,
    end_of_day,
    entries_only,
    is_account_no,
    plain_text,
    refused,
)
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind, account_digest

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element  # the type alone; what parses is defusedxml

DEPTH_MAX = 40
"""OFX nests about ten deep."""

_DAY = timedelta(days=1)
_SGML = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:OFXHEADER\s*:|<OFX>)")
_XML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?.{0,400}?(?:<\?OFX\s|<OFX>)", re.DOTALL)
_TOKEN = re.compile(r"<(/?)([A-Z0-9][A-Z0-9.]{0,31})>([^<]*)", re.ASCII)
_MOMENT = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})(?:([0-9]{2})(?:\.[0-9]{1,6})?)?)?"
    r"(?:\[([+-]?[0-9]{1,2}(?:\.[0-9]{1,2})?)(?::[A-Za-z]{1,8})?\])?\Z",
    re.ASCII,
)
_AMOUNT = re.compile(r"([+-]?)([0-9]{1,16})(?:[.,]([0-9]{0,5}))?\Z", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)
_CHINESE = frozenset({"936", "CP936", "GBK", "GB2312", "GB18030"})
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "nbsp": " ", "quot": '"', "apos": "'"}

_FREE_TEXT = frozenset({"NAME", "EXTDNAME", "MEMO", "CHECKNUM", "REFNUM", "SRVRTID", "BRANCHID", "ORG", "FID"})
_STATEMENTS_OF_OTHERS = frozenset({"CREDITCARDMSGSRSV1", "INVSTMTMSGSRSV1", "LOANMSGSRSV1"})
_OF_STATEMENT = frozenset({
    "CURDEF", "BANKACCTFROM", "BANKTRANLIST", "BANKTRANLISTP", "LEDGERBAL", "AVAILBAL", "CASHADVBALAMT", "INTRATE",
    "BALLIST", "MKTGINFO",
})  # fmt: skip
_OF_ACCOUNT = frozenset({"BANKID", "BRANCHID", "ACCTID", "ACCTTYPE", "ACCTKEY"})
_OF_LIST = frozenset({"DTSTART", "DTEND", "STMTTRN"})
_OF_BALANCE = frozenset({"BALAMT", "DTASOF"})
_OF_ENTRY = frozenset({
    "TRNTYPE", "DTPOSTED", "DTUSER", "DTAVAIL", "TRNAMT", "FITID", "CORRECTFITID", "CORRECTACTION", "SRVRTID",
    "CHECKNUM", "REFNUM", "SIC", "PAYEEID", "NAME", "EXTDNAME", "PAYEE", "BANKACCTTO", "CCACCTTO", "MEMO",
    "IMAGEDATA", "CURRENCY", "ORIGCURRENCY", "INV401KSOURCE",
})  # fmt: skip
_TYPES = frozenset({
    "CREDIT", "DEBIT", "INT", "DIV", "FEE", "SRVCHG", "DEP", "ATM", "POS", "XFER", "CHECK", "PAYMENT", "CASH",
    "DIRECTDEP", "DIRECTDEBIT", "REPEATPMT", "OTHER", "HOLD",
})  # fmt: skip


@dataclass(slots=True)
class _Node:
    """An aggregate with its parts, or a field with its text."""

    name: str
    text: str = ""
    parts: list[_Node] = field(default_factory=list)

    def all(self, name: str) -> list[_Node]:
        return [part for part in self.parts if part.name == name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A date in the bank's zone and its time of day; None where the bank gives no time or 12:00:00 in its place."""

    on: date
    at: time | None

    @property
    def begins_day(self) -> bool:
        return self.at is None or self.at == time.min

    @property
    def is_midnight(self) -> bool:
        return self.at == time.min

    @property
    def cuts_day(self) -> bool:
        """Whether a part of its day is still to come."""
        return self.at is not None and time.min < self.at < time(23, 59)


def looks_like(content: bytes) -> bool:
    """Whether it begins with an OFX header of either kind."""
    return _SGML.match(content[:400]) is not None or _XML.match(content[:1000]) is not None


def read(content: bytes, *, filename: str, zone: ZoneInfo) -> list[Statement]:
    """Read every bank statement response. Raises Refused naming the response, the entry and the field."""
    is_xml = content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?")
    root = _xml(parsed_xml(content, filename)) if is_xml else _sgml(content, filename)
    if root.name != "OFX":
        raise refused(RefusalReason.UNKNOWN_FORMAT, filename, root.name, "not an OFX document")
    other = next((part.name for part in root.parts if part.name in _STATEMENTS_OF_OTHERS), None)
    if other is not None:
        raise refused(RefusalReason.UNKNOWN_FORMAT, filename, other, "statements of cards, loans or investments")
    responses = [one for messages in root.all("BANKMSGSRSV1") for one in messages.parts]
    if not responses:
        raise refused(RefusalReason.EMPTY, filename, "STMTTRNRS", "holds no bank statement")
    references: dict[str, set[str]] = {}
    return [
        _response(response, f"{filename}: STMTTRNRS[{place}]", zone, references)
        for place, response in enumerate(responses, start=1)
    ]


def _xml(element: Element) -> _Node:
    node = _Node(element.tag, (element.text or "").strip())
    pending = [(node, element)]
    while pending:
        parent, source = pending.pop()
        for child in source:
            part = _Node(child.tag, (child.text or "").strip())
            parent.parts.append(part)
            pending.append((part, child))
    return node


def _sgml(content: bytes, filename: str) -> _Node:
    """A tag with text behind it is a field, whose end tag may be missing; one without is an aggregate and ends."""
    root: _Node | None = None
    stack: list[_Node] = []
    tokens = list(_tokens(_document(content, filename), filename))
    place = 0
    while place < len(tokens):
        line, closes, name, value = tokens[place]
        where = f"{filename}:{line}"
        following = tokens[place + 1] if place + 1 < len(tokens) else None
        ended = following is not None and following[1] and following[2] == name
        place += 1
        if closes:
            if not stack or stack[-1].name != name or value:
                raise refused(RefusalReason.MALFORMED, where, name, "an end tag that ends nothing, or text behind it")
            stack.pop()
            continue
        if root is not None and not stack:
            raise refused(RefusalReason.MALFORMED, where, name, "stands after the end of the document")
        node = _Node(name, _unescaped(value, where))
        if stack:
            stack[-1].parts.append(node)
        else:
            root = node
        if value or (name in _FREE_TEXT and not ended):
            place += _end_of_field(following if ended else None, where)
        elif len(stack) >= DEPTH_MAX:
            raise refused(RefusalReason.MALFORMED, where, name, f"nested more than {DEPTH_MAX} deep")
        else:
            stack.append(node)
    if stack or root is None:
        raise refused(
            RefusalReason.MALFORMED, filename, stack[-1].name if stack else "OFX", "the file ends before its end tag"
        )
    return root


def _end_of_field(end_tag: tuple[int, bool, str, str] | None, where: str) -> int:
    if end_tag is None:
        return 0
    if end_tag[3]:
        raise refused(RefusalReason.MALFORMED, where, end_tag[2], "text between two fields")
    return 1


def _document(content: bytes, filename: str) -> str:
    """What stands behind the header. Figures and tags are ASCII in every charset the header can name."""
    start = content.find(b"<")
    if start < 0:
        raise refused(RefusalReason.MALFORMED, filename, "OFX", "a header without a document")
    lines = re.split(r"[\r\n]+", content[:start].decode("ascii", "replace"))
    header = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    if header.get("DATA", "OFXSGML") != "OFXSGML" or header.get("COMPRESSION", "NONE") not in ("NONE", ""):
        raise refused(RefusalReason.UNKNOWN_FORMAT, filename, "DATA", "not plain OFXSGML")
    if header.get("CHARSET", "").upper() in _CHINESE:
        try:
            return content[start:].decode("gb18030")
        except UnicodeDecodeError:
            pass
    return decoded(content[start:])


def _tokens(text: str, filename: str) -> Iterator[tuple[int, bool, str, str]]:
    """(line, whether an end tag, name, text behind it), each byte of the document accounted for."""
    line = 1
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise refused(RefusalReason.MALFORMED, f"{filename}:{line}", None, "not a tag of OFX")
        yield line, bool(match[1]), match[2], match[3].strip()
        line += match[0].count("\n")
        place = match.end()


def _unescaped(text: str, where: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] in _ENTITIES:
            return _ENTITIES[match[1]]
        try:
            return chr(int(match[1][1:])) if match[1].startswith("#") else match[0]
        except (ValueError, OverflowError) as error:
            raise refused(RefusalReason.MALFORMED, where, None, "a character reference of no character") from error

    return re.sub(r"&([a-z]{2,5}|#[0-9]{1,7});", one, text) if "&" in text else text


def _one(node: _Node, name: str, where: str) -> _Node | None:
    found = node.all(name)
    if len(found) > 1:
        raise refused(RefusalReason.MALFORMED, where, name, f"stands {len(found)} times")
    return found[0] if found else None


def _needed(node: _Node, name: str, where: str) -> _Node:
    found = _one(node, name, where)
    if found is None or not (found.text or found.parts):
        raise refused(RefusalReason.MISSING_FIELD, where, name, f"{node.name} without {name}")
    return found


def _text(node: _Node, name: str, where: str) -> str:
    found = _one(node, name, where)
    return found.text if found is not None else ""


def _known(node: _Node, names: frozenset[str], where: str) -> None:
    """A field we do not know may change what the others mean. Vendors mark their own with a dot."""
    for part in node.parts:
        if part.name not in names and "." not in part.name:
            raise refused(RefusalReason.MALFORMED, where, part.name, f"is no field of {node.name}")


def _response(response: _Node, where: str, zone: ZoneInfo, references: dict[str, set[str]]) -> Statement:
    if response.name != "STMTTRNRS":
        raise refused(RefusalReason.UNKNOWN_FORMAT, where, response.name, "is no bank statement")
    status = _one(response, "STATUS", where)
    if status is not None and _text(status, "SEVERITY", where) == "ERROR":
        code = plain_text(_text(status, "CODE", where))[:10]
        raise refused(RefusalReason.EMPTY, where, "STATUS", f"the bank answered with error {code} and no statement")
    body = _needed(response, "STMTRS", where)
    _known(body, _OF_STATEMENT, where)
    currency = _needed(body, "CURDEF", where).text
    if not _CURRENCY.match(currency):
        raise refused(RefusalReason.WRONG_CURRENCY, where, "CURDEF", f"{currency!r} is no currency code")
    account = _needed(body, "BANKACCTFROM", where)
    _known(account, _OF_ACCOUNT, where)
    account_no = _needed(account, "ACCTID", where).text.replace(" ", "")
    if not is_account_no(account_no):
        raise refused(RefusalReason.MISSING_FIELD, where, "ACCTID", "no account number")
    listed = _needed(body, "BANKTRANLIST", where)
    _known(listed, _OF_LIST, where)
    lines = _entries(listed, currency, zone, where, references.setdefault(account_no, set()))
    return _statement(
        body, listed, lines, account_no=account_no, currency=currency, zone=zone, where=where,
        number=plain_text(_text(response, "TRNUID", where)),
    )


def _entries(
    listed: _Node, currency: str, zone: ZoneInfo, where: str, references: set[str]
) -> list[EntryLine]:
    lines = []
    for place, entry in enumerate(listed.all("STMTTRN"), start=1):
        line = _entry(entry, currency, zone, f"{where}/STMTTRN[{place}]", references)
        if line is not None:
            lines.append(line)
    return lines


def _entry(entry: _Node, currency: str, zone: ZoneInfo, where: str, references: set[str]) -> EntryLine | None:
    """One entry, or None for a hold, which is not booked."""
    _known(entry, _OF_ENTRY, where)
    if entry.all("CORRECTFITID") or entry.all("CORRECTACTION"):
        action = _text(entry, "CORRECTACTION", where) or "CORRECT"
        raise refused(
            RefusalReason.CONTRADICTS, where, "CORRECTFITID",
            f"an order to change an entry sent before ({plain_text(action)[:10]}): ask for the whole period again",
        )
    kind = _needed(entry, "TRNTYPE", where).text
    if kind not in _TYPES:
        raise refused(RefusalReason.MALFORMED, where, "TRNTYPE", f"{kind[:20]!r} is no type of OFX")
    amount = _amount(_needed(entry, "TRNAMT", where).text, currency, where, "TRNAMT")
    if (kind == "CREDIT" and amount.minor_units < 0) or (kind == "DEBIT" and amount.minor_units > 0):
        raise refused(RefusalReason.CONTRADICTS, where, "TRNAMT", f"a {kind} of {amount.text}")
    other_currency = _one(entry, "CURRENCY", where)
    if other_currency is not None and _text(other_currency, "CURSYM", where) != currency:
        raise refused(RefusalReason.WRONG_CURRENCY, where, "CURRENCY", f"an entry not in {currency}")
    reference = plain_text(_needed(entry, "FITID", where).text)
    if reference in references:
        raise refused(RefusalReason.CONTRADICTS, where, "FITID", "the same FITID stands twice for one account")
    references.add(reference)
    available = _one(entry, "DTAVAIL", where)
    posted = _moment(_needed(entry, "DTPOSTED", where).text, zone, where, "DTPOSTED").on
    if kind == "HOLD":
        return None
    return EntryLine(
        amount=amount, stated_on=posted,
        value_on=_moment(available.text, zone, where, "DTAVAIL").on if available is not None else None,
        bank_ref=reference or None, text=plain_text(_text(entry, "MEMO", where)), reversal=False,
        counterparty_sha256=_counterparty(entry, where),
        counterparty_account_sha256=account_digest(_counterparty_account(entry, where)), where=where,
    )


def _counterparty(entry: _Node, where: str) -> str | None:
    """NAME is the payee. It is not kept, although some banks put a description there."""
    payee = _one(entry, "PAYEE", where)
    name = _text(payee, "NAME", where) if payee is not None else _text(entry, "NAME", where)
    return counterparty_digest(_counterparty_account(entry, where), name)


def _counterparty_account(entry: _Node, where: str) -> str | None:
    account = _one(entry, "BANKACCTTO", where)
    return _text(account, "ACCTID", where) if account is not None else None


def _amount(text: str, currency: str, where: str, name: str) -> Money:
    """Signed, with point or comma before the decimals and no other mark (3.2.9)."""
    match = _AMOUNT.match(text)
    if match is None:
        raise refused(RefusalReason.BAD_AMOUNT, where, name, f"{text[:30]!r} is not a signed plain decimal")
    try:
        return parse_amount(f"{match[1]}{match[2]}.{match[3] or '0'}", currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, name, str(error)) from error


def _moment(text: str, zone: ZoneInfo, where: str, name: str) -> _Moment:
    match = _MOMENT.match(text)
    try:
        if match is None:
            raise ValueError(text)
        year, month, day, hour, minute, second = (int(part) if part else 0 for part in match.groups()[:6])
        if match[4] is None:
            return _Moment(on=date(year, month, day), at=None)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        if match[7] is not None:
            ahead = timedelta(seconds=_seconds(match[7]))
            if moment.time() == time(12):
                return _Moment(on=moment.date(), at=None)
            moment = (moment - ahead).astimezone(zone)
    except (ValueError, OverflowError) as error:
        raise refused(RefusalReason.BAD_DATE, where, name, f"{text[:40]!r} is no date of OFX") from error
    return _Moment(on=moment.date(), at=None if moment.time() == time(12) else moment.time())


def _seconds(offset: str) -> int:
    """Seconds ahead of GMT: "-5", "+8", "5.30" for five and a half hours, as the standard writes it."""
    whole, _, part = offset.lstrip("+-").partition(".")
    if int(whole) > 14:
        raise ValueError(offset)
    minutes = {"": 0, "00": 0, "0": 0, "30": 30, "3": 30, "5": 30, "50": 30, "45": 45, "75": 45}.get(part)
    if minutes is None:
        raise ValueError(offset)
    return (-1 if offset.startswith("-") else 1) * (int(whole) * 3600 + minutes * 60)


def _statement(
    body: _Node, listed: _Node, lines: Sequence[EntryLine], *, account_no: str, currency: str, zone: ZoneInfo,
    where: str, number: str,
) -> Statement:
    starts = _moment(_needed(listed, "DTSTART", where).text, zone, where, "DTSTART")
    ends = _moment(_needed(listed, "DTEND", where).text, zone, where, "DTEND")
    booked = {line.stated_on for line in lines if line.stated_on is not None}
    if ends.on < starts.on or any(not starts.on <= day <= ends.on for day in booked):
        raise refused(RefusalReason.BAD_DATE, where, "DTSTART", f"entries outside {starts.on} to {ends.on}")
    ledger = _balance(body, "LEDGERBAL", currency, zone, where)
    kind = StatementKind.NOTICE
    if ledger is not None:
        closing, as_of = ledger
        if any(day > as_of.on for day in booked):
            raise refused(RefusalReason.CONTRADICTS, where, "DTASOF", f"an entry is booked after {as_of.on}")
        closing_on, listed_to = _last_day(as_of, booked), _last_day(ends, booked)
        if not starts.begins_day or as_of.cuts_day or (ends.cuts_day and ends.on <= closing_on):
            kind = StatementKind.INTRADAY
        elif starts.on <= closing_on <= listed_to:
            available = _balance(body, "AVAILBAL", currency, zone, where)
            moved = sum(line.amount.minor_units for line in lines)
            return end_of_day(
                account_no=account_no, currency=currency, number=number, lines=lines, where=where,
                opening=_left(closing, moved, where), opening_on=starts.on, closing=closing, closing_on=closing_on,
                available=available[0] if available is not None and available[1] == as_of else None,
                begins_on=starts.on, opening_derived=True,
            )
    return entries_only(
        account_no=account_no, currency=currency, kind=kind, number=number, lines=lines, where=where
    )


def _left(closing: Money, moved: int, where: str) -> Money:
    try:
        return Money(closing.minor_units - moved, closing.currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, "LEDGERBAL", str(error)) from error


def _last_day(moment: _Moment, booked: set[date]) -> date:
    """The last whole day before a moment: midnight ends the day before, unless that very day has an entry."""
    return moment.on - _DAY if moment.is_midnight and moment.on not in booked else moment.on


def _balance(body: _Node, name: str, currency: str, zone: ZoneInfo, where: str) -> tuple[Money, _Moment] | None:
    node = _one(body, name, where)
    if node is None:
        return None
    _known(node, _OF_BALANCE, where)
    return (
        _amount(_needed(node, "BALAMT", where).text, currency, where, f"{name}/BALAMT"),
        _moment(_needed(node, "DTASOF", where).text, zone, where, f"{name}/DTASOF"),
    )
