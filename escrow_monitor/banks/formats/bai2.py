"""BAI2 files: Cash Management Balance Reporting, version 2.

    01,sender,receiver,261120,0600,1,,,2/            the file
    02,receiver,bank,1,261120,2400,CNY,2/            a group: one bank, one day
    03,371082001,,010,10000,,,015,7000,,/            an account: status and summary amounts, in minor units
    16,699,3000,Z,REF1,,fees returned/               one movement; 88, continues the record before it
    49,20000,3/   98,20000,1,5/   99,20000,1,7/      the sums of all amounts, and the counts, of what they end

Every total and count is checked. A group's as-of date is the booking day of all its movements. An account of a final
group is an end-of-day statement when it states both its opening (010) and its closing ledger balance (015). With one
of the two it is refused: the day could be neither tied nor chained. With neither it is a list of movements, a notice.
Groups marked interim are intraday reports whatever balances they state.

Rules: BAI, Cash Management Balance Reporting Specifications Version 2, Technical Reference Manual, October 2005.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from escrow_monitor.banks.statement_reading import (
    EntryLine,
    decoded,
    end_of_day,
    entries_only,
    is_account_no,
    plain_text,
    refused,
    short_date,
)
from escrow_monitor.domain.money import AmountError, Money
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind

_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*01,[^\r\n]*[\r\n]+\s*02,")
_RECORD = re.compile(r"(01|02|03|16|49|88|98|99),(.*)\Z", re.ASCII | re.DOTALL)
_STATUS_AMOUNT = re.compile(r"[+-]?[0-9]{1,18}\Z", re.ASCII)
_DETAIL_AMOUNT = re.compile(r"[0-9]{1,18}\Z", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
_TYPE = re.compile(r"[0-9]{3}\Z", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)

_OPENING, _CLOSING, _AVAILABLE = "010", "015", "045"
_CREDITS, _DEBITS = "100", "400"
_NO_MONEY = "890"
_REVERSALS = frozenset({"252", "258", "552", "558"})
_UPDATE, _DELETION, _CORRECTION = "1", "2", "3"
_INTERIM = frozenset({"1", "3"})
_FINAL = frozenset({"", "2", "4"})
_PLAIN_FUNDS = frozenset({"", "0", "1", "2", "Z"})
_END_OF_TEXT = "/"


@dataclass(slots=True)
class _Record:
    """A logical record: its first line and the texts of its physical ones, without code and continuation marks."""

    code: str
    line: int
    pieces: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    amount: Money | None
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    on: date
    currency: str
    interim: bool
    number: str


@dataclass(slots=True)
class _Totals:
    """What a trailer must say: the sum of amounts, how many parts, how many physical records."""

    amount: int = 0
    parts: int = 0
    records: int = 0

    def add(self, part: _Totals) -> None:
        self.amount += part.amount
        self.parts += 1
        self.records += part.records


class _Source:
    """The records of a file in order, with one record of foresight."""

    def __init__(self, content: bytes, filename: str) -> None:
        self.filename = filename
        self._records = list(_records(decoded(content), filename))
        self._place = 0

    @property
    def next_code(self) -> str | None:
        return self._records[self._place].code if self._place < len(self._records) else None

    def take(self, code: str, after: str) -> _Record:
        if self.next_code != code:
            line = self._records[min(self._place, len(self._records) - 1)].line if self._records else 1
            found = "the file ends" if self.next_code is None else f"a record {self.next_code} stands"
            raise refused(
                RefusalReason.MALFORMED, f"{self.filename}:{line}", code, f"{found} where {after} needs a record {code}"
            )
        self._place += 1
        return self._records[self._place - 1]

    def where(self, record: _Record) -> str:
        return f"{self.filename}:{record.line}"


def looks_like(content: bytes) -> bool:
    """Whether the first two records are a file header and a group header."""
    return _START.match(content[:4096]) is not None


def read(content: bytes, *, filename: str, zone: ZoneInfo) -> list[Statement]:
    """Read every account of every group. `zone` is not needed: a group states its day.

    Raises Refused naming the line and the record or type code.
    """
    source = _Source(content, filename)
    header = source.take("01", "the file")
    fields = _fields(header, source)
    if _field(fields, 7).strip() != "2":
        raise refused(RefusalReason.UNKNOWN_FORMAT, source.where(header), "01", "not version 2 of the format")
    number = plain_text(_field(fields, 4))
    made_on = short_date(_field(fields, 2), where=source.where(header), field="file creation date")
    statements: list[Statement] = []
    totals = _Totals(records=len(header.pieces))
    while source.next_code == "02":
        totals.add(_read_group(source, number, made_on, statements))
    _check_trailer(source, source.take("99", "the file"), totals, "groups")
    if source.next_code is not None:
        raise refused(RefusalReason.MALFORMED, filename, "99", "more records stand after the end of the file")
    return statements


def _records(text: str, filename: str) -> Iterator[_Record]:
    record: _Record | None = None
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        line = raw.strip()
        if not line:
            continue
        match = _RECORD.match(line)
        if match is None:
            detail = "a line that begins with no record code"
            raise refused(RefusalReason.MALFORMED, f"{filename}:{number}", None, detail)
        if match[1] != "88":
            if record is not None:
                yield record
            record = _Record(match[1], number, [match[2]])
        elif record is None:
            raise refused(RefusalReason.MALFORMED, f"{filename}:{number}", "88", "continues nothing")
        else:
            record.pieces.append(match[2])
    if record is not None:
        yield record


def _fields(record: _Record, source: _Source) -> list[str]:
    """The fields of a record without text: each physical record ends with a slash, and there is none before it."""
    fields: list[str] = []
    for piece in record.pieces:
        if not piece.endswith("/") or "/" in piece[:-1]:
            raise refused(
                RefusalReason.MALFORMED, source.where(record), record.code, "does not end with its one slash"
            )
        fields.extend(piece[:-1].split(","))
    return fields


def _field(fields: Sequence[str], place: int) -> str:
    return fields[place].strip() if place < len(fields) else ""


def _read_group(source: _Source, number: str, made_on: date, statements: list[Statement]) -> _Totals:
    header = source.take("02", "a group")
    group = _group(_fields(header, source), number, source.where(header))
    if group.on > made_on:
        detail = f"as of {group.on}, but the file was made on {made_on}"
        raise refused(RefusalReason.BAD_DATE, source.where(header), "as-of date", detail)
    totals = _Totals(records=len(header.pieces))
    while source.next_code == "03":
        totals.add(_read_account(source, group, statements))
    _check_trailer(source, source.take("98", "the group"), totals, "accounts")
    return totals


def _group(fields: Sequence[str], number: str, where: str) -> _Group:
    status = _field(fields, 2)
    if status not in (_UPDATE, _CORRECTION):
        # What a deletion takes back only a person can judge; a test says nothing of real money.
        meaning = "deletes what was sent before" if status == _DELETION else "is a test or of no known status"
        raise refused(RefusalReason.CONTRADICTS, where, "group status", f"the group {meaning} ({status or 'empty'})")
    modifier = _field(fields, 6)
    if modifier not in _INTERIM | _FINAL:
        raise refused(RefusalReason.MALFORMED, where, "as-of date modifier", f"{modifier!r} is none of 1 to 4")
    return _Group(
        on=short_date(_field(fields, 3), where=where, field="as-of date"), currency=_field(fields, 5),
        interim=modifier in _INTERIM, number=number,
    )


def _read_account(source: _Source, group: _Group, statements: list[Statement]) -> _Totals:
    header = source.take("03", "an account")
    where = source.where(header)
    fields = _fields(header, source)
    account_no = _field(fields, 0)
    if not is_account_no(account_no):
        raise refused(RefusalReason.MISSING_FIELD, where, "account number", "no account number")
    currency = _field(fields, 1) or group.currency
    if not _CURRENCY.match(currency):
        # The specification says USD then; a supervised account in an unstated currency is not worth the guess.
        raise refused(RefusalReason.MISSING_FIELD, where, "currency", "neither account nor group says its currency")
    totals = _Totals(records=len(header.pieces))
    stated = _statuses(fields[2:], currency, where, totals)
    lines: list[EntryLine] = []
    while source.next_code == "16":
        record = source.take("16", "an account")
        totals.records += len(record.pieces)
        line = _movement(record, currency, group.on, source.where(record), totals)
        if line is not None:
            lines.append(line)
    trailer = source.take("49", "the account")
    _check_trailer(source, trailer, totals, None)
    _check_summaries(stated, lines, where)
    statements.append(_statement(account_no, currency, group, stated, lines, where))
    return totals


def _statuses(fields: Sequence[str], currency: str, where: str, totals: _Totals) -> dict[str, _Status]:
    """Type code -> amount and item count, for each of the groups of fields that follow account and currency."""
    rest = [field.strip() for field in fields]
    found: dict[str, _Status] = {}
    while rest:
        code, amount, count, funds = (rest + [""] * 4)[:4]
        rest = rest[4:]
        if not code:
            if amount or count or funds:
                raise refused(RefusalReason.MALFORMED, where, "03", "an amount without its type code")
            continue
        if not _TYPE.match(code):
            raise refused(RefusalReason.MALFORMED, where, "03", f"{code!r} is no type code of three digits")
        rest = rest[_funds_fields(funds, rest, where) :]
        if code in found:
            raise refused(RefusalReason.CONTRADICTS, where, code, "the type code stands twice")
        if count and not _COUNT.match(count):
            raise refused(RefusalReason.MALFORMED, where, code, f"{count!r} is no item count")
        units = _units(amount, _STATUS_AMOUNT, where, code) if amount else 0
        totals.amount += units
        found[code] = _Status(
            amount=_money(units, currency, where, code) if amount else None, count=int(count) if count else None
        )
    return found


def _funds_fields(funds: str, rest: Sequence[str], where: str) -> int:
    """How many fields say when the money is available. They are counted past; a ledger balance has no use for them."""
    if funds in _PLAIN_FUNDS:
        return 0
    if funds == "S":
        return 3
    if funds == "V":
        return 2
    if funds == "D" and rest and _COUNT.match(rest[0]) and 2 * int(rest[0]) < len(rest):
        return 1 + 2 * int(rest[0])
    raise refused(RefusalReason.MALFORMED, where, "funds type", f"{funds!r} is none of Z, 0, 1, 2, S, V, D")


def _units(text: str, pattern: re.Pattern[str], where: str, code: str) -> int:
    if not pattern.match(text):
        raise refused(
            RefusalReason.BAD_AMOUNT, where, code, f"{text!r} is not an amount in minor units, without point or sign"
        )
    return int(text)


def _money(units: int, currency: str, where: str, code: str) -> Money:
    try:
        return Money(units, currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, code, str(error)) from error


def _movement(
    record: _Record, currency: str, on: date, where: str, totals: _Totals
) -> EntryLine | None:
    """One movement; None for a record that carries no money."""
    fields, text = _detail(record, where)
    code, amount, funds = (field.strip() for field in fields[:3])
    if code == _NO_MONEY and not amount:
        return None
    if not _TYPE.match(code) or not (100 < int(code) < 400 or 400 < int(code) < 700):
        # 100 and 400 are totals, 7xx loans, 9xx whatever one bank and one customer agreed on.
        raise refused(RefusalReason.MALFORMED, where, "16", f"type code {code!r} is neither a credit nor a debit")
    if not amount:
        raise refused(RefusalReason.MISSING_FIELD, where, code, "a movement without its amount")
    units = _units(amount, _DETAIL_AMOUNT, where, code)
    totals.amount += units
    value_on = None
    if funds == "V" and fields[3].strip():
        value_on = short_date(fields[3].strip(), where=where, field="value date")
    bank_ref, customer_ref = (plain_text(field) for field in fields[-2:])
    return EntryLine(
        amount=_money(units if int(code) < 400 else -units, currency, where, code), stated_on=on, value_on=value_on,
        bank_ref=bank_ref or customer_ref or None, text=text, reversal=code in _REVERSALS,
        counterparty_sha256=None, where=where,
    )


def _detail(record: _Record, where: str) -> tuple[list[str], str]:
    """The fields of a movement up to its customer reference, and its text, which alone may hold commas and slashes."""
    fields: list[str] = []
    texts: list[str] = []
    for piece in record.pieces:
        if texts:
            texts.append(piece)
            continue
        tokens = piece.removesuffix("/").split(",")
        while tokens and len(fields) < _detail_length(fields, where):
            fields.append(tokens.pop(0))
        if tokens:
            texts.append(",".join(tokens) + piece[len(piece.removesuffix("/")) :])
        elif not piece.endswith("/"):
            raise refused(RefusalReason.MALFORMED, where, "16", "ends without a slash before its text")
    if len(fields) < 3:
        raise refused(RefusalReason.MALFORMED, where, "16", "ends before its funds type")
    missing = _detail_length(fields, where) - len(fields)
    if missing > 2:
        raise refused(RefusalReason.MALFORMED, where, "16", "ends before its availability is told")
    if texts:
        texts[-1] = texts[-1].removesuffix(_END_OF_TEXT)
    return fields + [""] * missing, plain_text(*texts)


def _detail_length(fields: Sequence[str], where: str) -> int:
    """How many fields stand before the text, as far as the fields so far can tell."""
    if len(fields) < 3 or (fields[2].strip() == "D" and len(fields) == 3):
        return len(fields) + 1
    funds = fields[2].strip()
    if funds == "D":
        if not _COUNT.match(fields[3]):
            raise refused(RefusalReason.MALFORMED, where, "funds type", f"{fields[3]!r} distributions")
        return 6 + 2 * int(fields[3])
    return 5 + _funds_fields(funds, fields[3:], where)


def _check_trailer(source: _Source, trailer: _Record, totals: _Totals, parts: str | None) -> None:
    """The trailer's control total and counts against what came before it. Its own lines count too."""
    totals.records += len(trailer.pieces)
    where = source.where(trailer)
    fields = [field.strip() for field in _fields(trailer, source)]
    expected = [totals.records] if parts is None else [totals.parts, totals.records]
    if len(fields) != 1 + len(expected) or not all(_COUNT.match(field) for field in fields[1:]):
        raise refused(RefusalReason.MALFORMED, where, trailer.code, "not a control total and its counts")
    stated = _units(fields[0], _STATUS_AMOUNT, where, trailer.code)
    names = ["records"] if parts is None else [parts, "records"]
    for name, text, count in zip(names, fields[1:], expected, strict=True):
        if int(text) != count:
            raise refused(
                RefusalReason.MALFORMED, where, trailer.code, f"counts {int(text)} {name}, and there are {count}"
            )
    if stated != totals.amount:
        raise refused(
            RefusalReason.DOES_NOT_TIE, where, trailer.code,
            f"the control total is {stated}, the amounts before it make {totals.amount}, "
            f"off by {stated - totals.amount} minor units",
        )


def _check_summaries(stated: dict[str, _Status], lines: Sequence[EntryLine], where: str) -> None:
    """Total credits (100) and debits (400) against the movements, where the bank gives both."""
    if not lines:
        return  # a summary alone; an end-of-day statement still has to tie
    for code, sign in ((_CREDITS, 1), (_DEBITS, -1)):
        status = stated.get(code)
        if status is None:
            continue
        units = [sign * line.amount.minor_units for line in lines if sign * line.amount.minor_units > 0]
        zeros = sum(line.amount.minor_units == 0 for line in lines)
        if status.amount is not None and status.amount.minor_units != sum(units):
            raise refused(
                RefusalReason.DOES_NOT_TIE, where, code,
                f"the total is {status.amount.minor_units}, the movements make {sum(units)} minor units",
            )
        if status.count is not None and not len(units) <= status.count <= len(units) + zeros:
            raise refused(
                RefusalReason.DOES_NOT_TIE, where, code,
                f"the total is of {status.count} items, and there are {len(units)} movements",
            )


def _statement(
    account_no: str, currency: str, group: _Group, stated: dict[str, _Status], lines: Sequence[EntryLine], where: str
) -> Statement:
    opening, closing, available = (
        stated[code].amount if code in stated else None for code in (_OPENING, _CLOSING, _AVAILABLE)
    )
    if group.interim or (opening is None and closing is None):
        return entries_only(
            account_no=account_no, currency=currency, number=group.number, lines=lines, where=where,
            kind=StatementKind.INTRADAY if group.interim else StatementKind.NOTICE,
        )
    if opening is None or closing is None:
        missing, there = (_OPENING, _CLOSING) if opening is None else (_CLOSING, _OPENING)
        raise refused(
            RefusalReason.NO_BALANCE, where, missing,
            f"states {there} but not {missing}: without both ledger balances the day cannot be proved",
        )
    return end_of_day(
        account_no=account_no, currency=currency, number=group.number, opening=opening, opening_on=group.on,
        closing=closing, closing_on=group.on, lines=lines, where=where, available=available,
    )
