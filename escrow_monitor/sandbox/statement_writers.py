"""Writes end-of-day statements in every format the readers know, as banks send them.

    Statement values  ->  mt940 | camt053 | bai2 | ofx | csv_table  ->  bytes
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from xml.sax.saxutils import escape

from escrow_monitor.banks.formats.csv_profile import Columns, Profile
from escrow_monitor.domain.money import Money, decimal_text
from escrow_monitor.domain.statements import Entry, Statement

_CAMT = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
_LINE_CHARACTERS = 65
_OFX_1 = (
    "OFXHEADER:100\r\nDATA:OFXSGML\r\nVERSION:102\r\nSECURITY:NONE\r\nENCODING:UTF-8\r\nCHARSET:NONE\r\n"
    "COMPRESSION:NONE\r\nOLDFILEUID:NONE\r\nNEWFILEUID:NONE\r\n\r\n"
)
_OFX_2 = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<?OFX OFXHEADER="200" VERSION="211" SECURITY="NONE" OLDFILEUID="NONE" NEWFILEUID="NONE"?>\n'
)

CSV_PROFILE = Profile(
    name="sandbox",
    columns=Columns(
        date="交易日期", debit="借方发生额", credit="贷方发生额", balance="账户余额", value_date="起息日",
        reference="流水号", text=("摘要",), account="账号",
    ),
    direction="two_columns",
    encoding="utf-8",
    negative_reverses=True,
    thousands_mark=",",
    footer="^合计",
    stated=(
        r"账号:(?P<account>[0-9A-Za-z]+) 币种:(?P<currency>[A-Z]{3})$",
        r"起始日期:(?P<from>[0-9-]+) 终止日期:(?P<to>[0-9-]+)$",
        r"期初余额:(?P<opening>[0-9,.-]+)",
        r"合计 (?P<count>[0-9]+) 笔 借方 (?P<debits>[0-9,.-]+) 贷方 (?P<credits>[0-9,.-]+)",
        r"期末余额:(?P<closing>[0-9,.-]+)",
    ),
)
"""How `csv_table` lays its files out."""


def mt940(statements: Iterable[Statement]) -> bytes:
    """Write MT940 messages in UTF-8. The opening is dated by the day that closed before."""
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
    """Write one camt.053.001.08 message."""
    created = created_at.isoformat(timespec="seconds")
    parts = [
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{_CAMT}">\n<BkToCstmrStmt>\n'
        f"<GrpHdr><MsgId>{escape(message_id)}</MsgId><CreDtTm>{created}</CreDtTm></GrpHdr>\n"
    ]
    parts += [_camt_statement(statement, created) for statement in statements]
    parts.append("</BkToCstmrStmt>\n</Document>\n")
    return "".join(parts).encode()


def bai2(statements: Iterable[Statement], *, created_at: datetime) -> bytes:
    """Write one BAI2 file in UTF-8, a group for each statement, which must be of one day."""
    lines = [f"01,SANDBOX,MONITOR,{created_at:%y%m%d,%H%M},1,,,2/"]
    total = groups = 0
    for statement in statements:
        account, units = _bai2_account(statement)
        _, _, first, last = _whole(statement)
        if first != last or any(entry.booked_on != last for entry in statement.entries):
            raise ValueError("a BAI2 group is of one day")
        lines.append(f"02,MONITOR,SANDBOX,1,{last:%y%m%d},2400,{statement.currency},2/")
        lines += account
        lines.append(f"98,{units},1,{len(account) + 2}/")
        total, groups = total + units, groups + 1
    lines.append(f"99,{total},{groups},{len(lines) + 1}/")
    return "".join(f"{line}\r\n" for line in lines).encode()


def ofx(statements: Iterable[Statement], *, created_at: datetime, xml: bool = False) -> bytes:
    """Write OFX 1.02 in SGML, or 2.11 in XML. Every entry needs a reference of its own, for OFX keys entries by it."""
    parts = [
        _OFX_2 if xml else _OFX_1,
        "<OFX>\r\n<SIGNONMSGSRSV1><SONRS>",
        "<STATUS>", _field("CODE", "0", xml), _field("SEVERITY", "INFO", xml), "</STATUS>",
        _field("DTSERVER", f"{created_at:%Y%m%d%H%M%S}[+8:CST]", xml), _field("LANGUAGE", "CHI", xml),
        "</SONRS></SIGNONMSGSRSV1>\r\n<BANKMSGSRSV1>\r\n",
    ]
    parts += [_ofx_statement(statement, xml) for statement in statements]
    parts.append("</BANKMSGSRSV1>\r\n</OFX>\r\n")
    return "".join(parts).encode()


def csv_table(statement: Statement) -> bytes:
    """Write one account's statement as CSV in UTF-8, as CSV_PROFILE reads it: figures above and below the table."""
    opening, closing, first, last = _whole(statement)
    columns = CSV_PROFILE.columns
    target = io.StringIO(newline="")
    writer = csv.writer(target, lineterminator="\r\n")
    writer.writerow([f"账号:{statement.account_no} 币种:{statement.currency}"])
    writer.writerow([f"起始日期:{first} 终止日期:{last}"])
    writer.writerow([f"期初余额:{opening.grouped}"])
    writer.writerow(
        [columns.date, columns.value_date, columns.account, columns.debit, columns.credit, columns.balance,
         columns.reference, *columns.text]
    )
    reached = opening.minor_units
    sums = [0, 0]
    for entry in statement.entries:
        reached += entry.amount.minor_units
        is_credit = (entry.amount.minor_units > 0) != entry.reversal
        figure = entry.amount if is_credit else -entry.amount
        sums[is_credit] += figure.minor_units
        writer.writerow(
            [entry.booked_on, entry.value_on or "", statement.account_no, "" if is_credit else figure.grouped,
             figure.grouped if is_credit else "", Money(reached, statement.currency).grouped, entry.bank_ref or "",
             entry.text]
        )
    debits, credits = (decimal_text(units, statement.currency) for units in sums)
    writer.writerow(
        [f"合计 {len(statement.entries)} 笔 借方 {debits} 贷方 {credits} 期末余额:{closing.grouped}"]
    )
    return target.getvalue().encode()


def _mt940_balance(money: Money, on: date) -> str:
    return f"{'D' if money.minor_units < 0 else 'C'}{on:%y%m%d}{money.currency}{_comma(money)}"


def _mt940_entry(entry: Entry) -> list[str]:
    booked, value = entry.booked_on, entry.value_on or entry.booked_on
    mark = "D" if entry.amount.minor_units < 0 else "C"
    if entry.reversal:
        # The reversal of a debit is money that comes back, and the other way round.
        mark = "RC" if mark == "D" else "RD"
    reference = f"NONREF//{entry.bank_ref}" if entry.bank_ref else "NONREF"
    first, *more = _split(entry.text)
    lines = [f":61:{value:%y%m%d}{booked:%m%d}{mark}{_comma(entry.amount)}NTRF{reference}"]
    return [*lines, f":86:{first}", *more] if first else lines


def _split(text: str) -> list[str]:
    """Lines of a text, cut at blanks. None begins as a field or the end of a message begins: SWIFT forbids it."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= _LINE_CHARACTERS and word[:1] not in (":", "-", "{"):
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
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


def _bai2_account(statement: Statement) -> tuple[list[str], int]:
    """The records of an account with its trailer, and its control total."""
    opening, closing, _, _ = _whole(statement)
    units = [entry.amount.minor_units for entry in statement.entries]
    credits, debits = (sum(sign * one for one in units if sign * one > 0) for sign in (1, -1))
    counts = [sum(one >= 0 for one in units), sum(one < 0 for one in units)]
    lines = [
        f"03,{statement.account_no},{statement.currency},010,{opening.minor_units},,,015,{closing.minor_units},,/",
        f"88,100,{credits},{counts[0]},Z,400,{debits},{counts[1]},Z/",
        *(line for entry in statement.entries for line in _bai2_entry(entry)),
    ]
    total = opening.minor_units + closing.minor_units + credits + debits + sum(map(abs, units))
    lines.append(f"49,{total},{len(lines) + 1}/")
    return lines, total


def _bai2_entry(entry: Entry) -> Iterator[str]:
    codes = ("252", "552") if entry.reversal else ("399", "699")
    code = codes[entry.amount.minor_units < 0]
    funds = f"V,{entry.value_on:%y%m%d}," if entry.value_on else "Z"
    first, *more = _split(entry.text)
    pieces = [f"16,{code},{abs(entry.amount.minor_units)},{funds},{entry.bank_ref or ''},,{first}"]
    pieces += [f"88,{piece}" for piece in more]
    yield from pieces[:-1]
    yield f"{pieces[-1]}/"


def _ofx_statement(statement: Statement, xml: bool) -> str:
    _, closing, first, last = _whole(statement)
    parts = [
        "<STMTTRNRS>", _field("TRNUID", statement.number, xml),
        "<STATUS>", _field("CODE", "0", xml), _field("SEVERITY", "INFO", xml), "</STATUS>",
        "<STMTRS>", _field("CURDEF", statement.currency, xml),
        "<BANKACCTFROM>", _field("BANKID", "SANDBOX", xml), _field("ACCTID", statement.account_no, xml),
        _field("ACCTTYPE", "CHECKING", xml), "</BANKACCTFROM>",
        "<BANKTRANLIST>", _field("DTSTART", f"{first:%Y%m%d}000000[+8:CST]", xml),
        _field("DTEND", f"{last:%Y%m%d}235959[+8:CST]", xml),
        *(_ofx_entry(entry, xml) for entry in statement.entries),
        "</BANKTRANLIST>", "<LEDGERBAL>", _field("BALAMT", closing.text, xml),
        _field("DTASOF", f"{last:%Y%m%d}235959[+8:CST]", xml), "</LEDGERBAL>", "</STMTRS>", "</STMTTRNRS>\r\n",
    ]
    return "".join(parts)


def _ofx_entry(entry: Entry, xml: bool) -> str:
    parts = [
        "<STMTTRN>", _field("TRNTYPE", "DEBIT" if entry.amount.minor_units < 0 else "CREDIT", xml),
        _field("DTPOSTED", f"{entry.booked_on:%Y%m%d}120000[+8:CST]", xml),
        _field("DTAVAIL", f"{entry.value_on:%Y%m%d}", xml) if entry.value_on else "",
        _field("TRNAMT", entry.amount.text, xml), _field("FITID", entry.bank_ref or "", xml),
        _field("MEMO", entry.text, xml) if entry.text else "", "</STMTTRN>",
    ]
    return "".join(parts)


def _field(name: str, text: str, xml: bool) -> str:
    return f"<{name}>{escape(text)}" + (f"</{name}>\r\n" if xml else "\r\n")


def _whole(statement: Statement) -> tuple[Money, Money, date, date]:
    if statement.opening is None or statement.closing is None:
        raise ValueError("only statements with both balances are written")
    if statement.covers_from is None or statement.covers_to is None:
        raise ValueError("only statements that say which days they cover are written")
    return statement.opening, statement.closing, statement.covers_from, statement.covers_to
