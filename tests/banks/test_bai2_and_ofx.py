"""What a BAI2 or OFX file must be to be taken, and what is said when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_cases import read

from escrow_monitor.banks.formats import FileRefused, StatementFile
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement, StatementKind

GOLDEN = Path(__file__).parent / "golden"
R = RefusalReason

BAI2 = """\
01,A,B,261121,0600,1,,,2/
02,B,A,1,261120,,CNY,2/
03,371082001,,010,10000,,,015,7000,,/
88,100,0,0,,400,3000,1,/
16,699,3000,Z,R1,,fees
49,23000,4/
98,23000,1,6/
99,23000,1,8/
"""
OFX = """\
OFXHEADER:100
DATA:OFXSGML
VERSION:102
ENCODING:UTF-8

<OFX><SIGNONMSGSRSV1><SONRS><DTSERVER>20261121</SONRS></SIGNONMSGSRSV1><BANKMSGSRSV1><STMTTRNRS><TRNUID>1
<STATUS><CODE>0<SEVERITY>INFO</STATUS><STMTRS><CURDEF>CNY
<BANKACCTFROM><BANKID>1<ACCTID>371082001<ACCTTYPE>CHECKING</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20261120<DTEND>20261120
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20261120<TRNAMT>-30.00<FITID>R1<MEMO>fees</STMTTRN>
</BANKTRANLIST><LEDGERBAL><BALAMT>70.00<DTASOF>20261120</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>
"""


def statements(text: str) -> tuple[Statement, ...]:
    answer = read(text.encode())
    assert isinstance(answer, StatementFile), answer.refusals
    return answer.statements


def refusal(text: str) -> Refusal:
    answer = read(text.encode())
    assert isinstance(answer, FileRefused), answer.statements
    return answer.refusals[0]


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize("text", [BAI2, OFX])
def test_the_plain_files_load(text: str) -> None:
    (statement,) = statements(text)
    assert statement.kind is StatementKind.END_OF_DAY
    assert statement.opening is not None
    assert statement.closing is not None
    assert (statement.opening.text, statement.closing.text) == ("100.00", "70.00")
    assert [(entry.amount.text, entry.text) for entry in statement.entries] == [("-30.00", "fees")]


@pytest.mark.parametrize(
    ("old", "new", "reason", "where", "field"),
    [
        ("49,23000,4/", "49,23001,4/", R.DOES_NOT_TIE, "f:6", "49"),
        ("98,23000,1", "98,23001,1", R.DOES_NOT_TIE, "f:7", "98"),
        ("99,23000,1", "99,23001,1", R.DOES_NOT_TIE, "f:8", "99"),
        ("49,23000,4/", "49,23000,3/", R.MALFORMED, "f:6", "49"),
        ("98,23000,1,6/", "98,23000,2,6/", R.MALFORMED, "f:7", "98"),
        ("99,23000,1,8/", "99,23000,1,9/", R.MALFORMED, "f:8", "99"),
        ("99,23000,1,8/\n", "", R.MALFORMED, "f:7", "99"),
        ("98,23000,1,6/\n", "", R.MALFORMED, "f:7", "98"),
        ("49,23000,4/\n", "", R.MALFORMED, "f:6", "49"),
        ("99,23000,1,8/", "99,23000,1,8/\n01,A,B/", R.MALFORMED, "f", "99"),
        ("16,699", "16,399", R.DOES_NOT_TIE, "f:3", "100"),
        ("100,0,0,,", "100,1,0,,", R.DOES_NOT_TIE, "f:6", "49"),
        ("400,3000,1", "400,3000,2", R.DOES_NOT_TIE, "f:3", "400"),
        ("16,699", "16,720", R.MALFORMED, "f:5", "16"),
        ("16,699", "16,400", R.MALFORMED, "f:5", "16"),
        ("16,699", "16,969", R.MALFORMED, "f:5", "16"),
        ("16,699,3000", "16,699,-3000", R.BAD_AMOUNT, "f:5", "699"),
        ("16,699,3000", "16,699,30.00", R.BAD_AMOUNT, "f:5", "699"),
        ("16,699,3000", "16,699,３000", R.BAD_AMOUNT, "f:5", "699"),
        ("16,699,3000", "16,699,", R.MISSING_FIELD, "f:5", "699"),
        ("3000,Z,R1,,fees", "3000,Q,R1,,fees", R.MALFORMED, "f:5", "funds type"),
        ("3000,Z,R1,,fees", "3000,D,9,R1,,fees/", R.MALFORMED, "f:5", "16"),
        ("3000,Z,R1,,fees", "3000,V,269999,,R1,,fees", R.BAD_DATE, "f:5", "value date"),
        ("3000,Z,R1,,fees", "3000,Z,R1", R.MALFORMED, "f:5", "16"),
        ("015,7000", "016,7000", R.NO_BALANCE, "f:3", "015"),
        ("010,10000", "011,10000", R.NO_BALANCE, "f:3", "010"),
        ("015,7000", "010,7000", R.CONTRADICTS, "f:3", "010"),
        ("015,7000,,/", "015,7000,,", R.MALFORMED, "f:3", "03"),
        ("015,7000", "015,99999999999999999", R.BAD_AMOUNT, "f:3", "015"),
        ("371082001", "", R.MISSING_FIELD, "f:3", "account number"),
        (",,CNY,2/", ",,,2/", R.MISSING_FIELD, "f:3", "currency"),
        ("1,261120", "2,261120", R.CONTRADICTS, "f:2", "group status"),
        ("1,261120", "4,261120", R.CONTRADICTS, "f:2", "group status"),
        ("1,261120", "1,261131", R.BAD_DATE, "f:2", "as-of date"),
        ("1,261120", "1,261122", R.BAD_DATE, "f:2", "as-of date"),
        ("CNY,2/", "CNY,7/", R.MALFORMED, "f:2", "as-of date modifier"),
        (",,,2/", ",,,3/", R.UNKNOWN_FORMAT, "f:1", "01"),
        ("88,100", "77,100", R.MALFORMED, "f:4", None),
        ("1,261120", "3,261120", None, "", ""),
        ("CNY,2/", "CNY,/", None, "", ""),
        ("fees", "fees, and / more/", None, "", ""),
    ],
)
def test_bai2_is_refused_by_line_and_record(
    old: str, new: str, reason: RefusalReason | None, where: str, field: str | None
) -> None:
    text = changed(BAI2, old, new)
    if reason is None:
        assert statements(text)[0].final
        return
    found = refusal(text)
    assert (found.reason, found.where, found.field) == (reason, where, field)


def test_bai2_without_ledger_balances_is_a_notice_and_an_interim_group_a_report_of_the_day() -> None:
    (notice,) = statements(changed(changed(BAI2, "010,", "011,"), "015,", "016,"))
    assert (notice.kind, notice.closing, notice.covers_to) == (StatementKind.NOTICE, None, None)
    for modifier in "13":
        (report,) = statements(changed(BAI2, "CNY,2/", f"CNY,{modifier}/"))
        assert (report.kind, report.closing, report.covers_to) == (StatementKind.INTRADAY, None, None)
        assert len(report.entries) == 1


def test_bai2_counts_in_the_minor_units_of_the_currency() -> None:
    for currency, opening in (("JPY", "10000"), ("KWD", "10.000"), ("CNY", "100.00")):
        (statement,) = statements(changed(BAI2, "371082001,,", f"371082001,{currency},"))
        assert statement.opening is not None
        assert statement.opening.text == opening


@pytest.mark.parametrize(
    ("old", "new", "reason", "field"),
    [
        ("<TRNAMT>-30.00", "<TRNAMT>30.00", R.CONTRADICTS, "TRNAMT"),
        ("<TRNAMT>-30.00", "<TRNAMT>-1.000,00", R.BAD_AMOUNT, "TRNAMT"),
        ("<TRNAMT>-30.00", "<TRNAMT>-3e1", R.BAD_AMOUNT, "TRNAMT"),
        ("<TRNAMT>-30.00", "<TRNAMT>-30.001", R.BAD_AMOUNT, "TRNAMT"),
        ("<TRNAMT>-30.00", "", R.MISSING_FIELD, "TRNAMT"),
        ("<FITID>R1", "", R.MISSING_FIELD, "FITID"),
        ("<FITID>R1", "<FITID>R1<FITID>R2", R.MALFORMED, "FITID"),
        ("<FITID>R1", "<FITID>R1<CORRECTFITID>R0<CORRECTACTION>REPLACE", R.CONTRADICTS, "CORRECTFITID"),
        ("<FITID>R1", "<FITID>R1<CURRENCY><CURRATE>7.1<CURSYM>USD</CURRENCY>", R.WRONG_CURRENCY, "CURRENCY"),
        ("<FITID>R1", "<FITID>R1<FITIDX>R1", R.MALFORMED, "FITIDX"),
        ("<FITID>R1", "<FITID>R1<INTU.X>R1", None, ""),
        ("<TRNTYPE>DEBIT", "<TRNTYPE>DEBITS", R.MALFORMED, "TRNTYPE"),
        ("<DTPOSTED>20261120", "<DTPOSTED>20261131", R.BAD_DATE, "DTPOSTED"),
        ("<DTPOSTED>20261120", "<DTPOSTED>20261121", R.BAD_DATE, "DTSTART"),
        ("<DTPOSTED>20261120", "<DTPOSTED>20261120200000[0:GMT]", R.BAD_DATE, "DTSTART"),
        ("<DTPOSTED>20261120", "<DTPOSTED>20261120120000[+99:X]", R.BAD_DATE, "DTPOSTED"),
        ("<DTASOF>20261120", "<DTASOF>20261119", R.CONTRADICTS, "DTASOF"),
        ("<CURDEF>CNY", "<CURDEF>yuan", R.WRONG_CURRENCY, "CURDEF"),
        ("<ACCTID>371082001", "", R.MISSING_FIELD, "ACCTID"),
        ("<SEVERITY>INFO", "<SEVERITY>ERROR", R.EMPTY, "STATUS"),
        ("<BANKTRANLIST>", "<BANKTRANLISTX>", R.MALFORMED, "BANKTRANLIST"),
        ("</STMTTRN>", "", R.MALFORMED, "BANKTRANLIST"),
        ("</OFX>", "", R.MALFORMED, "OFX"),
        ("</OFX>", "</OFX><OFX></OFX>", R.MALFORMED, "OFX"),
        ("BANKMSGSRSV1><STMTTRNRS", "CREDITCARDMSGSRSV1><STMTTRNRS", R.MALFORMED, "BANKMSGSRSV1"),
        ("DATA:OFXSGML", "DATA:OFXOTHER", R.UNKNOWN_FORMAT, "DATA"),
        ("</STATUS>", "</STATUS>text", R.MALFORMED, "STATUS"),
        ("<MEMO>fees", "<MEMO>", None, ""),
        ("<MEMO>fees", "<MEMO>fees</MEMO>", None, ""),
        ("<MEMO>fees", "<MEMO></MEMO>", None, ""),
    ],
)
def test_ofx_is_refused_by_field(old: str, new: str, reason: RefusalReason | None, field: str) -> None:
    text = changed(OFX, old, new)
    if reason is None:
        assert statements(text)[0].final
        return
    found = refusal(text)
    assert (found.reason, found.field) == (reason, field)
    assert found.where.startswith("f")


@pytest.mark.parametrize("content", [
    OFX.replace("BANKMSGSRSV1", "CREDITCARDMSGSRSV1"), OFX.replace("STMTTRNRS", "LOANSTMTTRNRS"),
])
def test_what_is_not_a_bank_statement_is_refused(content: str) -> None:
    assert refusal(content).reason is R.UNKNOWN_FORMAT


def test_an_entry_sent_twice_in_one_ofx_file_is_refused() -> None:
    entry = OFX[OFX.index("<STMTTRN>") : OFX.index("</BANKTRANLIST>")]
    found = refusal(OFX.replace("<STMTTRN>", entry + "<STMTTRN>"))
    assert (found.reason, found.field, found.where) == (R.CONTRADICTS, "FITID", "f: STMTTRNRS[1]/STMTTRN[2]")


@pytest.mark.parametrize(
    ("start", "end", "as_of", "kind", "covers"),
    [
        ("20261120", "20261120", "20261120", StatementKind.END_OF_DAY, (20, 20)),
        ("20261120000000", "20261121000000", "20261121000000", StatementKind.END_OF_DAY, (20, 20)),
        ("20261119160000[0:GMT]", "20261120160000[0:GMT]", "20261120160000[0:GMT]", StatementKind.END_OF_DAY, (20, 20)),
        ("20261120000000", "20261120235959", "20261120235959", StatementKind.END_OF_DAY, (20, 20)),
        ("20261120120000", "20261121120000", "20261121120000", StatementKind.END_OF_DAY, (20, 21)),
        ("20261120000000", "20261120000000", "20261120000000", StatementKind.END_OF_DAY, (20, 20)),
        ("20261101", "20261130", "20261122", StatementKind.END_OF_DAY, (1, 22)),
        ("20261120", "20261120", "20261121", StatementKind.NOTICE, None),
        ("20261120", "20261121000000", "20261121", StatementKind.NOTICE, None),
        ("20261120", "20261120", "20261120153000", StatementKind.INTRADAY, None),
        ("20261120070000", "20261120", "20261120", StatementKind.INTRADAY, None),
        ("20261120", "20261120153000", "20261120", StatementKind.INTRADAY, None),
    ],
)
def test_ofx_covers_only_whole_days_that_list_and_balance_share(
    start: str, end: str, as_of: str, kind: StatementKind, covers: tuple[int, int] | None
) -> None:
    text = OFX.replace("<DTSTART>20261120", f"<DTSTART>{start}").replace("<DTEND>20261120", f"<DTEND>{end}")
    (statement,) = statements(text.replace("<DTASOF>20261120", f"<DTASOF>{as_of}"))
    assert statement.kind is kind
    days = statement.covers_from and statement.covers_to and (statement.covers_from.day, statement.covers_to.day)
    assert days == covers


def test_a_document_type_in_ofx_is_unsafe() -> None:
    text = (GOLDEN / "balance_and_list_apart.ofx").read_text("utf-8")
    assert refusal(changed(text, "<OFX>", '<!DOCTYPE a [<!ENTITY a "b">]><OFX>')).reason is R.UNSAFE_XML


def test_deep_tags_end_in_an_answer() -> None:
    assert refusal("OFXHEADER:100\n\n" + "<A>" * 100_000).reason is R.MALFORMED


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(alphabet="<>/OFXBANK01236,89:\n[]", max_size=300).map(str.encode)))
def test_any_bytes_end_in_an_answer(content: bytes) -> None:
    for format in ("bai2", "ofx"):
        read(content, format)
        read(BAI2[:60].encode() + content, format)
        read(OFX[:90].encode() + content, format)
