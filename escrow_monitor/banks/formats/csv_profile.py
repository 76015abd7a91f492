"""CSV and XLSX statements, read by a declared profile: what each column means, and nothing is guessed.

    a profile                                      a file
    columns.date = "交易日期"                        账号:371082001  起始日期:20261120  终止日期:20261120
    columns.debit = "借方", columns.credit = "贷方"    交易日期,借方,贷方,余额,摘要
    columns.balance = "余额"                         20261120,30.00,,70.00,退费
    stated = ["账号:(?P<account>[0-9]+)", ...]

Where a column gives the balance after each row, every row must follow from the one before. The opening is then the
first balance without the first amount; nothing but a stated opening, or the closing of the file before, proves it.
Days are covered from the first booking day to the last, or over the period that the file states. Without a balance
column, and without stated opening and closing balances, the rows are a notice: entries, and no covered day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

from escrow_monitor.banks.statement_reading import (
    EntryLine,
    Refused,
    counterparty_digest,
    end_of_day,
    entries_only,
    is_account_no,
    plain_text,
    refused,
)
from escrow_monitor.banks.table_rows import Encoding, Row, csv_rows, is_xlsx, xlsx_rows
from escrow_monitor.domain.money import AmountError, Money, decimal_text, parse_amount
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind, account_digest

HEADER_ROWS_MAX = 50
"""How far down the header row is looked for."""
STATED = ("account", "currency", "from", "to", "opening", "closing", "count", "credits", "debits")
"""What the lines around the table may state: the group names of `Profile.stated`."""
_OF_ONE_ACCOUNT = frozenset({"opening", "closing", "count", "credits", "debits"})

_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The header names of the columns; None for what the file has not. Either `amount`, or `debit` and `credit`."""

    date: str
    amount: str | None = None
    indicator: str | None = None
    debit: str | None = None
    credit: str | None = None
    balance: str | None = None
    value_date: str | None = None
    reference: str | None = None
    text: tuple[str, ...] = ()
    counterparty: tuple[str, ...] = ()
    counterparty_account: str | None = None
    account: str | None = None
    currency: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """Every header that must be there."""
        single = (
            self.date, self.amount, self.indicator, self.debit, self.credit, self.balance, self.value_date,
            self.reference, self.counterparty_account, self.account, self.currency,
        )
        return (*(name for name in single if name is not None), *self.text, *self.counterparty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How one bank lays out its exports.

    `direction`: "signed" amounts, "two_columns" for debit and credit, or an "indicator" column with `credit_words` and
    `debit_words`. `negative_reverses`: a negative figure where none is expected takes an earlier entry back (红字冲正).
    `header_row` counts from 1; None looks for it. From the first row that `footer` matches on, rows are no entries.
    `stated`: patterns with named groups (STATED) looked for in the lines outside the table, cells joined by a space.
    """

    name: str
    columns: Columns
    direction: Literal["signed", "two_columns", "indicator"]
    delimiter: str = ","
    encoding: Encoding = "auto"
    sheet: str | None = None
    header_row: int | None = None
    trailing_delimiter: bool = False
    footer: str | None = None
    date_format: str = "%Y-%m-%d"
    zero_padded: bool = True
    decimal_mark: Literal[".", ","] = "."
    thousands_mark: Literal["", ",", ".", " ", "'"] = ""
    unit: Literal["yuan", "fen"] = "yuan"
    credit_words: tuple[str, ...] = ()
    debit_words: tuple[str, ...] = ()
    negative_reverses: bool = False
    order: Literal["ascending", "descending"] = "ascending"
    account: str | None = None
    currency: str | None = None
    currency_words: Mapping[str, str] = field(default_factory=lambda: {"人民币": "CNY", "RMB": "CNY"})
    stated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Table:
    """The header with its line, the rows of entries, and the texts around them."""

    header: Row
    rows: list[Row]
    around: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    entry: EntryLine
    on: date
    balance: Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """A profile at work on one file."""

    profile: Profile
    filename: str
    places: Mapping[str, int]
    stated: Mapping[str, str]

    def cell(self, row: Row, column: str | None) -> str:
        return row.cells[self.places[column]] if column is not None else ""

    def where(self, row: Row) -> str:
        return f"{self.filename}:{row.line}"


def fits(content: bytes, profile: Profile) -> bool:
    """Whether a header row with all of the profile's columns stands where the profile expects it."""
    try:
        return any(_is_header(row, profile) for row in islice(_rows(content, profile, ""), HEADER_ROWS_MAX))
    except Refused:
        return False


def read(content: bytes, *, filename: str, zone: ZoneInfo, profile: Profile) -> list[Statement]:
    """Read the table by the profile. `zone` is not needed: times in it are the bank's own.

    Raises Refused for the first row that does not fit, with its line, its column and what stands there.
    """
    table = _table(content, profile, filename)
    places = _places(table.header, profile, filename)
    reader = _Reader(profile=profile, filename=filename, places=places, stated=_stated(table.around, profile, filename))
    accounts: dict[tuple[str, str], list[_Line]] = {}
    rows = table.rows if profile.order == "ascending" else list(reversed(table.rows))
    for row in rows:
        account_no, currency = _account(reader, row), _currency(reader, row)
        accounts.setdefault((account_no, currency), []).append(_line(reader, row, currency))
    if not accounts and (fallback := _account_of_file(reader)) is not None:
        accounts[fallback] = []
    if len(accounts) > 1 and _OF_ONE_ACCOUNT & set(reader.stated):
        detail = "states the sums of one account and lists several"
        raise refused(RefusalReason.CONTRADICTS, filename, "account", detail)
    return [
        _statement(reader, account_no, currency, lines, f"{filename}:{table.header.line}")
        for (account_no, currency), lines in accounts.items()
    ]


def _rows(content: bytes, profile: Profile, filename: str) -> Iterator[Row]:
    if is_xlsx(content):
        return xlsx_rows(content, where=filename, sheet=profile.sheet, date_format=profile.date_format)
    return csv_rows(content, where=filename, delimiter=profile.delimiter, encoding=profile.encoding)


def _is_header(row: Row, profile: Profile) -> bool:
    here = profile.header_row is None or row.line == profile.header_row
    return here and set(profile.columns.named) <= set(row.cells)


def _table(content: bytes, profile: Profile, filename: str) -> _Table:
    """Cut the rows into what stands before the header, the entries, and the footer."""
    header: Row | None = None
    found: list[Row] = []
    around: list[str] = []
    ended = False
    for number, row in enumerate(_rows(content, profile, filename), start=1):
        if header is None:
            if _is_header(row, profile):
                header = row
            elif number >= HEADER_ROWS_MAX:
                break
            else:
                around.append(" ".join(row.cells))
            continue
        if row.is_blank:
            continue
        ended = ended or (profile.footer is not None and re.search(profile.footer, " ".join(row.cells)) is not None)
        if ended:
            around.append(" ".join(row.cells))
        else:
            found.append(row)
    if header is None:
        wanted = ", ".join(profile.columns.named)
        line = profile.header_row or 1
        detail = f"profile {profile.name}: no header row with the columns {wanted}"
        raise refused(RefusalReason.MISSING_FIELD, f"{filename}:{line}", "header", detail)
    whole = found if is_xlsx(content) else [_whole(row, header, profile, filename) for row in found]
    return _Table(header, whole, around)


def _whole(row: Row, header: Row, profile: Profile, filename: str) -> Row:
    """A text row with a cell too many or too few has shifted: no cell in it can be told by its place."""
    cells = row.cells
    if profile.trailing_delimiter and len(cells) == len(header.cells) + 1 and not cells[-1]:
        cells = cells[:-1]
    if len(cells) != len(header.cells):
        raise refused(
            RefusalReason.MALFORMED, f"{filename}:{row.line}", None,
            f"{len(cells)} cells under a header of {len(header.cells)}",
        )
    return Row(row.line, cells)


def _places(header: Row, profile: Profile, filename: str) -> dict[str, int]:
    places: dict[str, int] = {}
    for name in profile.columns.named:
        if header.cells.count(name) > 1:
            detail = f"the header stands {header.cells.count(name)} times"
            raise refused(RefusalReason.CONTRADICTS, f"{filename}:{header.line}", name, detail)
        places[name] = header.cells.index(name)
    return places


def _stated(around: Sequence[str], profile: Profile, filename: str) -> dict[str, str]:
    """What the lines outside the table say. A pattern that finds nothing, or two different things, refuses the file."""
    found: dict[str, str] = {}
    for pattern in profile.stated:
        matches = [match for line in around for match in re.finditer(pattern, line)]
        if not matches:
            detail = f"nothing in the lines outside the table fits {pattern}"
            raise refused(RefusalReason.MISSING_FIELD, filename, "stated", detail)
        for match in matches:
            for group, text in match.groupdict().items():
                if text is not None and found.setdefault(group, text.strip()) != text.strip():
                    raise refused(RefusalReason.CONTRADICTS, filename, group, "is stated in two ways")
    return found


def _account(reader: _Reader, row: Row) -> str:
    """The row's account; a stated one must be the same."""
    profile = reader.profile
    named = [
        text for text in (profile.account, reader.stated.get("account"), reader.cell(row, profile.columns.account))
        if text
    ]
    where = reader.where(row)
    if not named:
        raise refused(RefusalReason.MISSING_FIELD, where, profile.columns.account or "account", "no account number")
    return _one_account(named, where)


def _one_account(named: Sequence[str], where: str) -> str:
    numbers = [text.replace(" ", "") for text in named]
    if len(set(numbers)) > 1:
        detail = "speaks of another account than the file or the profile"
        raise refused(RefusalReason.WRONG_ACCOUNT, where, "account", detail)
    # A point is what a spreadsheet leaves of an account number that it kept as a number.
    if not is_account_no(numbers[0]) or "." in numbers[0]:
        raise refused(RefusalReason.MALFORMED, where, "account", "not letters and digits")
    return numbers[0]


def _account_of_file(reader: _Reader) -> tuple[str, str] | None:
    """The account and currency of a file without rows, where something says them."""
    accounts = [text for text in (reader.profile.account, reader.stated.get("account")) if text]
    currencies = [text for text in (reader.profile.currency, reader.stated.get("currency")) if text]
    if not accounts or not currencies or not ("opening" in reader.stated and "closing" in reader.stated):
        return None
    return _one_account(accounts, reader.filename), _one_currency(reader, currencies, reader.filename)


def _currency(reader: _Reader, row: Row) -> str:
    profile = reader.profile
    named = [
        text for text in (profile.currency, reader.stated.get("currency"), reader.cell(row, profile.columns.currency))
        if text
    ]
    if not named:
        column = profile.columns.currency or "currency"
        raise refused(RefusalReason.MISSING_FIELD, reader.where(row), column, "nothing says the currency")
    return _one_currency(reader, named, reader.where(row))


def _one_currency(reader: _Reader, named: Sequence[str], where: str) -> str:
    codes = {reader.profile.currency_words.get(text, text) for text in named}
    if len(codes) > 1 or not _CURRENCY.match(code := codes.pop()):
        detail = f"{named[-1][:10]!r} is not the one currency code"
        raise refused(RefusalReason.WRONG_CURRENCY, where, "currency", detail)
    return code


def _line(reader: _Reader, row: Row, currency: str) -> _Line:
    profile, columns = reader.profile, reader.profile.columns
    where = reader.where(row)
    on = _date(reader, row, columns.date)
    amount, reversal = _amount(reader, row, currency)
    value_on = _date(reader, row, columns.value_date) if reader.cell(row, columns.value_date) else None
    balance = None
    if columns.balance is not None:
        balance = _money(reader.cell(row, columns.balance), currency, profile, where, columns.balance)
    entry = EntryLine(
        amount=amount, stated_on=on, value_on=value_on,
        bank_ref=plain_text(reader.cell(row, columns.reference)) or None,
        text=plain_text(*(reader.cell(row, column) for column in columns.text)), reversal=reversal,
        counterparty_sha256=counterparty_digest(
            *(reader.cell(row, column) for column in (columns.counterparty_account, *columns.counterparty) if column)
        ),
        counterparty_account_sha256=account_digest(reader.cell(row, columns.counterparty_account)), where=where,
    )
    return _Line(entry=entry, on=on, balance=balance)


def _date(reader: _Reader, row: Row, column: str | None) -> date:
    text = reader.cell(row, column)
    found = _day(text, reader.profile.date_format, reader.profile.zero_padded)
    if found is None:
        detail = f"{text[:30]!r} is not written as {reader.profile.date_format}"
        raise refused(RefusalReason.BAD_DATE, reader.where(row), column, detail)
    return found


def _day(text: str, date_format: str, zero_padded: bool) -> date | None:
    """A date in exactly that format. Unpadded, the zeros before a number that no other digit touches may be missing."""
    try:
        found = datetime.strptime(text, date_format)  # noqa: DTZ007 - the bank's own time; only the day is kept
    except ValueError:
        return None
    written = found.strftime(date_format)
    if not zero_padded:
        text, written = (_LEADING_ZEROS.sub("", one) for one in (text, written))
    return found.date() if text == written else None


def _amount(reader: _Reader, row: Row, currency: str) -> tuple[Money, bool]:
    """The signed amount of a row, and whether it takes an earlier one back."""
    profile, columns = reader.profile, reader.profile.columns
    where = reader.where(row)
    if profile.direction == "signed":
        assert columns.amount is not None  # noqa: S101 - the settings see to it
        return _money(reader.cell(row, columns.amount), currency, profile, where, columns.amount), False
    if profile.direction == "indicator":
        assert columns.amount is not None  # noqa: S101 - the settings see to it
        word = reader.cell(row, columns.indicator)
        if (word in profile.credit_words) == (word in profile.debit_words):
            detail = f"{word[:20]!r} is neither a word for credit nor for debit"
            raise refused(RefusalReason.MALFORMED, where, columns.indicator, detail)
        figure = _money(reader.cell(row, columns.amount), currency, profile, where, columns.amount)
        return _directed(figure, word in profile.credit_words, profile, where, columns.amount)
    found = []
    for column, is_credit in ((columns.debit, False), (columns.credit, True)):
        if text := reader.cell(row, column):
            figure = _money(text, currency, profile, where, column or "")
            found.append(_directed(figure, is_credit, profile, where, column or ""))
    moving = [one for one in found if one[0].minor_units != 0]
    if len(moving) > 1 or not found:
        raise refused(
            RefusalReason.BAD_AMOUNT, where, f"{columns.debit}, {columns.credit}",
            "both a debit and a credit" if moving else "neither a debit nor a credit",
        )
    return moving[0] if moving else found[0]


def _directed(figure: Money, is_credit: bool, profile: Profile, where: str, column: str) -> tuple[Money, bool]:
    if figure.minor_units < 0 and not profile.negative_reverses:
        detail = f"{figure.text} is negative where the direction stands apart"
        raise refused(RefusalReason.BAD_AMOUNT, where, column, detail)
    return (figure if is_credit else -figure), figure.minor_units < 0


def _money(text: str, currency: str, profile: Profile, where: str, column: str) -> Money:
    """An amount as the profile writes it, exactly. Thousands marks must stand at thousands."""
    mark, thousands = re.escape(profile.decimal_mark), re.escape(profile.thousands_mark)
    whole = rf"[0-9]{{1,3}}(?:{thousands}[0-9]{{3}})+|[0-9]+" if thousands else r"[0-9]+"
    match = re.fullmatch(rf"([+-]?)({whole})(?:{mark}([0-9]+))?", text, re.ASCII)
    if match is None:
        shown = f"{text[:30]!r} is not an amount with {profile.decimal_mark!r} before its decimals"
        raise refused(RefusalReason.BAD_AMOUNT, where, column, shown if text else "is empty")
    sign, units, part = match[1], match[2].replace(profile.thousands_mark or "\0", ""), match[3] or ""
    try:
        if profile.unit == "yuan":
            return parse_amount(f"{sign}{units}.{part or '0'}", currency)
        if part.strip("0") or len(units) > 18:
            raise AmountError(f"{text[:30]!r} is not a whole number of minor units")
        return Money(int(f"{sign}{units}"), currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, column, str(error)) from error


def _statement(reader: _Reader, account_no: str, currency: str, lines: Sequence[_Line], where: str) -> Statement:
    entries = [line.entry for line in lines]
    period = _period(reader, lines)
    _check_sums(reader, currency, entries)
    balances = _balances(reader, currency, lines)
    number = ""
    if balances is None:
        return entries_only(
            account_no=account_no, currency=currency, kind=StatementKind.NOTICE, number=number, lines=entries,
            where=where,
        )
    if period is None:
        detail = "balances and no row, and nothing says which days they are of"
        raise refused(RefusalReason.MISSING_FIELD, where, "period", detail)
    return end_of_day(
        account_no=account_no, currency=currency, number=number, opening=balances[0], opening_on=period[0],
        closing=balances[1], closing_on=period[1], lines=entries, where=where, begins_on=period[0],
        opening_derived="opening" not in reader.stated,
    )


def _period(reader: _Reader, lines: Sequence[_Line]) -> tuple[date, date] | None:
    """The stated days, which hold every row; else those from the first row to the last; None without rows."""
    column = reader.profile.columns.date
    if "from" in reader.stated and "to" in reader.stated:
        first, last = (_stated_day(reader, name) for name in ("from", "to"))
        outside = next((line for line in lines if not first <= line.on <= last), None)
        if outside is not None or last < first:
            raise refused(
                RefusalReason.BAD_DATE, outside.entry.where if outside else reader.filename, column,
                f"not within the stated days {first} to {last}",
            )
        return first, last
    return (min(line.on for line in lines), max(line.on for line in lines)) if lines else None


def _stated_day(reader: _Reader, name: str) -> date:
    text = reader.stated[name]
    profile = reader.profile
    date_part = profile.date_format.partition(" ")[0]
    found = _day(text, date_part, profile.zero_padded) or _day(text, profile.date_format, profile.zero_padded)
    if found is None:
        detail = f"{text[:30]!r} is not written as {date_part}"
        raise refused(RefusalReason.BAD_DATE, reader.filename, name, detail)
    return found


def _check_sums(reader: _Reader, currency: str, entries: Sequence[EntryLine]) -> None:
    """The stated count of rows and sums of credits and debits."""
    amounts = [entry.amount.minor_units for entry in entries]
    count = reader.stated.get("count")
    if count is not None and (not count.isascii() or not count.isdigit() or int(count[:9]) != len(amounts)):
        detail = f"states {count[:10]} rows, and there are {len(amounts)}"
        raise refused(RefusalReason.DOES_NOT_TIE, reader.filename, "count", detail)
    for name, sign in (("credits", 1), ("debits", -1)):
        if name in reader.stated:
            stated = _money(reader.stated[name], currency, reader.profile, reader.filename, name)
            # A reversal stands in the column of what it takes back.
            made = sum(
                sign * entry.amount.minor_units
                for entry in entries
                if (entry.amount.minor_units * sign > 0) != entry.reversal
            )
            if stated.minor_units != made:
                detail = f"states {stated.text}, the rows make {decimal_text(made, currency)}"
                raise refused(RefusalReason.DOES_NOT_TIE, reader.filename, name, detail)


def _balances(reader: _Reader, currency: str, lines: Sequence[_Line]) -> tuple[Money, Money] | None:
    """Opening and closing: stated, or by the balance column, where every row must follow from the one before."""
    opening, closing = (
        _money(reader.stated[name], currency, reader.profile, reader.filename, name) if name in reader.stated else None
        for name in ("opening", "closing")
    )
    column = reader.profile.columns.balance
    if column is None or not lines:
        return (opening, closing) if opening is not None and closing is not None else None
    first = lines[0]
    if first.balance is None:
        return None
    derived = _left(first.balance, first.entry, column)
    _check_running(reader, opening or derived, lines, column)
    last = lines[-1].balance or derived
    if closing is not None and closing != last:
        detail = f"the last row leaves {last.text}, the file states {closing.text}"
        raise refused(RefusalReason.DOES_NOT_TIE, reader.filename, "closing", detail)
    return opening or derived, last


def _left(balance: Money, entry: EntryLine, column: str) -> Money:
    try:
        return balance - entry.amount
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, entry.where, column, str(error)) from error


def _check_running(reader: _Reader, opening: Money, lines: Sequence[_Line], column: str) -> None:
    reached, on = opening.minor_units, lines[0].on
    for line in lines:
        if line.on < on:
            detail = f"{line.on} stands after {on}: the rows are not {reader.profile.order}"
            raise refused(RefusalReason.BAD_DATE, line.entry.where, reader.profile.columns.date, detail)
        before, on = reached, line.on
        reached += line.entry.amount.minor_units
        if line.balance is None or line.balance.minor_units != reached:
            currency = opening.currency
            raise refused(
                RefusalReason.DOES_NOT_TIE, line.entry.where, column,
                f"{decimal_text(before, currency)} before it and {line.entry.amount.text} make "
                f"{decimal_text(reached, currency)}, the row says {line.balance.text if line.balance else 'nothing'}",
            )
