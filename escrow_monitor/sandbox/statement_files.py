"""Writes statements as MT940 and camt.053 files, as banks send them.

    Statement values  ->  mt940(...) | camt053(...)  ->  bytes  ->  a file that appears whole, dated as delivered
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement
from escrow_monitor.sandbox.district import District, delivery_of

_CAMT = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
_MT940_TEXT_CHARACTERS = 65


def write_history(
    district: District, folder: Path, *, at: datetime, since: date | None = None, daily: bool | None = None
) -> list[Path]:
    """Write what every bank has delivered by `at`, a file a bank, month and format; return the new files in order.

    `since` (default: the district's first day) skips whole months before it. `daily` gives each day its statement;
    otherwise one statement spans the month, which is smaller (the default above 500 institutions).
    """
    each_day = district.institution_count <= 500 if daily is None else daily
    written: list[Path] = []
    for bank in district.banks:
        last = district.delivered_through(bank.name, at)
        for first, end in _months(max(since or district.starts_on, district.starts_on), last):
            spans = [(day, day) for day in _days(first, end)] if each_day else [(first, end)]
            written += _write(district, folder, bank.name, f"{bank.name}-{first:%Y%m}", spans)
    return written


def write_folder(district: District, folder: Path, *, through: date, since: date | None = None) -> list[Path]:
    """Write the daily files that the bank without an interface delivers for the days up to `through`, included.

    Files that are there already are left alone, so it can be called as often as wanted. `since` defaults to the first
    day of the story: earlier days are history. Returns the new files in order.
    """
    written: list[Path] = []
    for bank in district.banks:
        if bank.connector == "statement_folder":
            for day in _days(since or district.story_on, through):
                written += _write(district, folder, bank.name, f"{bank.name}-{day:%Y%m%d}", [(day, day)])
    return written


def write_due(district: District, folder: Path, *, at: datetime) -> list[Path]:
    """Write the daily files that have become due by `at`: day D's files on the morning of D + 1."""
    written: list[Path] = []
    for bank in district.banks:
        if bank.connector == "statement_folder":
            written += write_folder(district, folder, through=district.delivered_through(bank.name, at))
    return written


def mt940(statements: Iterable[Statement]) -> bytes:
    """Write end-of-day statements as MT940 messages in UTF-8. The opening is dated by the day that closed before."""
    lines: list[str] = []
    for statement in statements:
        opening, closing, first, last = _whole(statement)
        lines += [
            f":20:{last:%y%m%d}{statement.account_no[-10:]}",
            f":25:{statement.account_no}",
            f":28C:{int(statement.number):05d}/001",
            f":60F:{_mt940_balance(opening, first - timedelta(days=1))}",
            *(line for entry in statement.entries for line in _mt940_entry(entry)),
            f":62F:{_mt940_balance(closing, last)}",
            "-",
        ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def camt053(statements: Iterable[Statement], *, created_at: datetime, message_id: str) -> bytes:
    """Write end-of-day statements as one camt.053.001.08 message."""
    created = created_at.isoformat(timespec="seconds")
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{_CAMT}">\n<BkToCstmrStmt>\n'
        f"<GrpHdr><MsgId>{escape(message_id)}</MsgId><CreDtTm>{created}</CreDtTm></GrpHdr>\n"
    ]
    parts += [_camt_statement(statement, created) for statement in statements]
    parts.append("</BkToCstmrStmt>\n</Document>\n")
    return "".join(parts).encode()


def _write(
    district: District, folder: Path, bank: str, stem: str, spans: Sequence[tuple[date, date]]
) -> Iterator[Path]:
    """Accounts at even places get MT940, those at odd places camt.053."""
    delivered_at = delivery_of(spans[-1][1])
    places = district.places_at(bank)
    even = [district.account_no(place) for place in places if place % 2 == 0]
    odd = [district.account_no(place) for place in places if place % 2]

    def statements(numbers: Sequence[str]) -> Iterator[Statement]:
        return (district.statement(number, first, last) for number in numbers for first, last in spans)

    if even:
        yield from _appear(folder / f"{stem}.sta", delivered_at, lambda: mt940(statements(even)))
    if odd:
        yield from _appear(
            folder / f"{stem}.xml", delivered_at,
            lambda: camt053(statements(odd), created_at=delivered_at, message_id=stem.upper()),
        )


def _appear(path: Path, delivered_at: datetime, content: Callable[[], bytes]) -> Iterator[Path]:
    """Let a file appear whole under its name, dated by the clock of the district, which may replay the past."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content())
    os.utime(part, (delivered_at.timestamp(), delivered_at.timestamp()))
    part.replace(path)
    yield path


def _mt940_balance(money: Money, on: date) -> str:
    return f"{'D' if money.minor_units < 0 else 'C'}{on:%y%m%d}{money.currency}{_comma(money)}"


def _mt940_entry(entry: Entry) -> list[str]:
    booked, value = entry.booked_on, entry.value_on or entry.booked_on
    mark = "D" if entry.amount.minor_units < 0 else "C"
    if entry.reversal:
        # The reversal of a debit is money that comes back, and the other way round.
        mark = "RC" if mark == "D" else "RD"
    reference = f"NONREF//{entry.bank_ref}" if entry.bank_ref else "NONREF"
    lines = [f":61:{value:%y%m%d}{booked:%m%d}{mark}{_comma(entry.amount)}NTRF{reference}"]
    if entry.text:
        lines.append(f":86:{entry.text[:_MT940_TEXT_CHARACTERS]}")
    return lines


def _comma(money: Money) -> str:
    whole, _, part = money.text.lstrip("-").partition(".")
    return f"{whole},{part}"


def _camt_statement(statement: Statement, created: str) -> str:
    opening, closing, first, last = _whole(statement)
    number = statement.account_no
    return (
        f"<Stmt><Id>{number}-{last:%Y%m%d}</Id><ElctrncSeqNb>{int(statement.number)}</ElctrncSeqNb>"
        f"<CreDtTm>{created}</CreDtTm>"
        f"<FrToDt><FrDtTm>{first}T00:00:00+08:00</FrDtTm><ToDtTm>{last}T23:59:59+08:00</ToDtTm></FrToDt>"
        f"<Acct><Id><Othr><Id>{number}</Id></Othr></Id><Ccy>{statement.currency}</Ccy></Acct>\n"
        + _camt_balance("OPBD", opening, first)
        + _camt_balance("CLBD", closing, last)
        + "".join(_camt_entry(entry) for entry in statement.entries)
        + "</Stmt>\n"
    )


def _camt_balance(code: str, money: Money, on: date) -> str:
    return f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_camt_amount(money)}<Dt><Dt>{on}</Dt></Dt></Bal>\n"


def _camt_amount(money: Money) -> str:
    side = "DBIT" if money.minor_units < 0 else "CRDT"
    return f'<Amt Ccy="{money.currency}">{money.text.lstrip("-")}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def _camt_entry(entry: Entry) -> str:
    reference = f"<AcctSvcrRef>{escape(entry.bank_ref)}</AcctSvcrRef>" if entry.bank_ref else ""
    text = f"<AddtlNtryInf>{escape(entry.text)}</AddtlNtryInf>" if entry.text else ""
    return (
        f"<Ntry>{_camt_amount(entry.amount)}{'<RvslInd>true</RvslInd>' if entry.reversal else ''}"
        f"<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{entry.booked_on}</Dt></BookgDt>"
        f"<ValDt><Dt>{entry.value_on or entry.booked_on}</Dt></ValDt>{reference}"
        f"<BkTxCd><Prtry><Cd>NTRF</Cd></Prtry></BkTxCd>{text}</Ntry>\n"
    )


def _whole(statement: Statement) -> tuple[Money, Money, date, date]:
    if statement.opening is None or statement.closing is None:
        raise ValueError("only statements with both balances are written")
    if statement.covers_from is None or statement.covers_to is None:
        raise ValueError("only statements that say which days they cover are written")
    return statement.opening, statement.closing, statement.covers_from, statement.covers_to


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Cut the days from `first` to `last` at the ends of months."""
    while first <= last:
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        yield first, min(last, following - timedelta(days=1))
        first = following
