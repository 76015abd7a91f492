"""CSV and XLSX statements by a declared profile: refused on the first row that proves that it does not fit."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from statement_cases import ZONE

from escrow_monitor.banks.formats import FileRefused, StatementFile, read_statements
from escrow_monitor.banks.formats.csv_profile import Columns, Profile
from escrow_monitor.banks.profiles import profiles_of
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement, StatementKind
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings import Settings, load_settings

R = RefusalReason
PROFILE = Profile(
    name="p", direction="signed", currency="CNY", thousands_mark=",",
    columns=Columns(
        date="日期", amount="金额", balance="余额", account="账号", text=("摘要",), counterparty=("对方",),
        reference="流水",
    ),
)
CSV = """\
日期,账号,金额,余额,摘要,对方,流水
2026-11-19,371082001,"1,000.00","1,100.00",学费,张三,S1
2026-11-20,371082001,-30.00,"1,070.00",退费,张三,S2
"""


def read(content: str | bytes, profile: Profile = PROFILE, format: str = "profile:p") -> StatementFile | FileRefused:
    data = content.encode() if isinstance(content, str) else content
    return read_statements(data, filename="f", format=format, zone=ZONE, profiles={profile.name: profile})


def statements(content: str | bytes, profile: Profile = PROFILE) -> tuple[Statement, ...]:
    answer = read(content, profile)
    assert isinstance(answer, StatementFile), answer.refusals
    return answer.statements


def refusal(content: str | bytes, profile: Profile = PROFILE, format: str = "profile:p") -> Refusal:
    answer = read(content, profile, format)
    assert isinstance(answer, FileRefused), answer.statements
    return answer.refusals[0]


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def workbook(rows: list[list[object]], *, sheets: int = 1) -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for number in range(1, sheets):
        book.create_sheet(f"more{number}")
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


HEADER: list[object] = ["日期", "账号", "金额", "余额", "摘要", "对方", "流水"]


def sheet_row(
    amount: object = 1000, balance: object = 1100.1, on: object = date(2026, 11, 19), **more: object
) -> bytes:
    row = [on, more.get("account", "371082001"), amount, balance, more.get("text", "学费"), "张三", "S1"]
    return workbook([HEADER, row])


def test_a_balance_column_makes_an_end_of_day_statement_of_the_days_that_have_rows() -> None:
    (statement,) = statements(CSV)
    assert statement.kind is StatementKind.END_OF_DAY
    assert (str(statement.opening), str(statement.closing)) == ("100.00 CNY", "1070.00 CNY")
    assert (statement.covers_from, statement.covers_to) == (date(2026, 11, 19), date(2026, 11, 20))
    assert [entry.text for entry in statement.entries] == ["学费", "退费"]
    assert all(entry.counterparty_sha256 for entry in statement.entries)


@pytest.mark.parametrize(
    ("old", "new", "reason", "where", "field"),
    [
        ('"1,070.00"', '"1,070.01"', R.DOES_NOT_TIE, "f:3", "余额"),
        ("-30.00", "30.00", R.DOES_NOT_TIE, "f:3", "余额"),
        ("-30.00", "-30,00", R.MALFORMED, "f:3", None),
        ("-30.00", '"-30,00"', R.BAD_AMOUNT, "f:3", "金额"),
        ("-30.00", "(30.00)", R.BAD_AMOUNT, "f:3", "金额"),
        ("-30.00", "-3e1", R.BAD_AMOUNT, "f:3", "金额"),
        ("-30.00", "-30.001", R.BAD_AMOUNT, "f:3", "金额"),
        ("-30.00", "", R.BAD_AMOUNT, "f:3", "金额"),
        ("-30.00", "=-30", R.BAD_AMOUNT, "f:3", "金额"),
        ('"1,100.00"', '"11,00.00"', R.BAD_AMOUNT, "f:2", "余额"),
        ("2026-11-20", "2026-11-18", R.BAD_DATE, "f:3", "日期"),
        ("2026-11-20", "2026-1-20", R.BAD_DATE, "f:3", "日期"),
        ("2026-11-20", "20/11/2026", R.BAD_DATE, "f:3", "日期"),
        ("2026-11-20", "２０２６-11-20", R.BAD_DATE, "f:3", "日期"),
        ("2026-11-20,371082001", "2026-11-20,=371082001", R.MALFORMED, "f:3", "account"),
        ("2026-11-20,371082001", "2026-11-20,", R.MISSING_FIELD, "f:3", "账号"),
        ("退费,张三,S2", "退费,张三", R.MALFORMED, "f:3", None),
        ("退费,张三,S2", "退费,张三,S2,", R.MALFORMED, "f:3", None),
        ("退费,张三,S2", '"退费,张三,S2', R.MALFORMED, "f:3", None),
        ("日期,账号", "日子,账号", R.MISSING_FIELD, "f:1", "header"),
        ("摘要,对方,流水", "摘要,对方,对方", R.MISSING_FIELD, "f:1", "header"),
        ("退费", "=cmd|' /C calc'!A0", None, "", ""),
        ("-30.00", "-30", None, "", ""),
    ],
)
def test_the_first_row_that_proves_a_misfit_is_named(
    old: str, new: str, reason: RefusalReason | None, where: str, field: str | None
) -> None:
    text = changed(CSV, old, new)
    if reason is None:
        assert statements(text)[0].entries[1].text == (new if old == "退费" else "退费")
        return
    found = refusal(text)
    assert (found.reason, found.where, found.field) == (reason, where, field)
    assert "张三" not in str(found)


def test_rows_may_stand_newest_first_if_the_profile_says_so() -> None:
    head, first, second = CSV.splitlines(keepends=True)
    (statement,) = statements(head + second + first, replace(PROFILE, order="descending"))
    assert statement.entries == statements(CSV)[0].entries
    assert refusal(head + second + first).reason in (R.BAD_DATE, R.DOES_NOT_TIE)


def test_without_balances_the_rows_are_a_notice() -> None:
    profile = replace(PROFILE, columns=replace(PROFILE.columns, balance=None))
    (statement,) = statements(CSV, profile)
    assert (statement.kind, statement.closing, statement.covers_to) == (StatementKind.NOTICE, None, None)


def test_stated_figures_are_held_against_the_rows() -> None:
    profile = replace(
        PROFILE, columns=replace(PROFILE.columns, balance=None, account=None), footer="^end",
        stated=(
            "(?P<account>3[0-9]+) (?P<from>[0-9-]+)/(?P<to>[0-9-]+)", "open (?P<opening>[0-9.]+)",
            "end (?P<closing>[0-9.]+) n=(?P<count>[0-9]+)",
        ),
    )
    text = f"371082001 2026-11-01/2026-11-30\nopen 100.00\n{CSV}end 1070.00 n=2\n"
    (statement,) = statements(text, profile)
    assert (statement.covers_from, statement.covers_to) == (date(2026, 11, 1), date(2026, 11, 30))
    for old, new, reason, field in (
        ("open 100.00", "open 100.01", R.DOES_NOT_TIE, "closing"), ("n=2", "n=3", R.DOES_NOT_TIE, "count"),
        ("11-01/", "11-20/", R.BAD_DATE, "日期"), ("open", "begin", R.MISSING_FIELD, "stated"),
        ("11-30", "11-31", R.BAD_DATE, "to"),
    ):
        found = refusal(changed(text, old, new), profile)
        assert (found.reason, found.field) == (reason, field)
    empty = f"371082001 2026-11-21/2026-11-22\nopen 100.00\n{CSV.splitlines()[0]}\nend 100.00 n=0\n"
    (statement,) = statements(empty, profile)
    assert (statement.final, statement.entries, statement.covers_from) == (True, (), date(2026, 11, 21))


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        (("30.00", ""), "-30.00"), (("", "30.00"), "30.00"), (("0.00", "30.00"), "30.00"), (("-30.00", ""), "30.00"),
        (("30.00", "30.00"), None), (("", ""), None),
    ],
)
def test_debit_and_credit_may_stand_in_two_columns(amounts: tuple[str, str], expected: str | None) -> None:
    profile = Profile(
        name="p", direction="two_columns", account="1", currency="CNY", negative_reverses=True,
        columns=Columns(date="d", debit="借", credit="贷"),
    )
    content = f"d,借,贷\n2026-11-20,{amounts[0]},{amounts[1]}\n"
    if expected is None:
        assert refusal(content, profile).reason is R.BAD_AMOUNT
        return
    (entry,) = statements(content, profile)[0].entries
    assert (entry.amount.text, entry.reversal) == (expected, amounts[0].startswith("-"))
    if entry.reversal:
        assert refusal(content, replace(profile, negative_reverses=False)).reason is R.BAD_AMOUNT


def test_an_indicator_must_be_one_of_its_words() -> None:
    profile = Profile(
        name="p", direction="indicator", account="1", currency="CNY", credit_words=("贷",), debit_words=("借",),
        columns=Columns(date="d", amount="a", indicator="i"), unit="fen", date_format="%Y%m%d",
    )
    (entry,) = statements("d,a,i\n20261120,3000,借\n", profile)[0].entries
    assert entry.amount.text == "-30.00"
    assert refusal("d,a,i\n20261120,3000,貸\n", profile).field == "i"
    assert refusal("d,a,i\n20261120,30.01,借\n", profile).reason is R.BAD_AMOUNT
    assert refusal("d,a,i\n2026111,3000,借\n", profile).reason is R.BAD_DATE


def test_an_encoding_that_is_demanded_is_the_only_one() -> None:
    content = CSV.encode("gb18030")
    assert statements(content)[0].entries[0].text == "学费"
    assert refusal(content, replace(PROFILE, encoding="utf-8")).reason is R.MALFORMED


def test_auto_takes_a_table_only_if_exactly_one_profile_fits() -> None:
    other = replace(PROFILE, name="q", columns=replace(PROFILE.columns, date="date"))
    twin = replace(PROFILE, name="r")

    def auto(*profiles: Profile) -> StatementFile | FileRefused:
        known = {profile.name: profile for profile in profiles}
        return read_statements(CSV.encode(), filename="f", zone=ZONE, profiles=known)

    found = auto(PROFILE, other)
    assert isinstance(found, StatementFile)
    assert found.format == "profile:p"
    for answer, words in (
        (auto(PROFILE, twin), "profile:p, profile:r"), (auto(other), "profile:q"), (auto(), "[statement_profiles]"),
    ):
        assert isinstance(answer, FileRefused)
        assert answer.refusals[0].reason is R.UNKNOWN_FORMAT
        assert words in answer.refusals[0].detail


def test_a_table_is_not_taken_for_mt940_because_a_text_in_it_looks_like_it() -> None:
    answer = read(changed(CSV, "退费", '"退费\n:61:261120"'), format="auto")
    assert isinstance(answer, StatementFile)
    assert answer.format == "profile:p"


def test_a_workbook_reads_like_the_same_table_in_csv() -> None:
    moment = datetime(2026, 11, 20, 13, 5)  # noqa: DTZ001 - a sheet knows no zones
    rows: list[list[object]] = [
        HEADER, [date(2026, 11, 19), "371082001", 1000, 1100.0, "学费", "张三", "S1"],
        [moment, "371082001", -30.0, "1,070.00", "退费", "张三", "S2"],
    ]
    answer = read(workbook(rows), format="auto")
    assert isinstance(answer, StatementFile)
    assert answer.media_type.endswith("spreadsheetml.sheet")
    (statement,) = answer.statements
    (from_csv,) = statements(CSV)
    assert (statement.opening, statement.closing, statement.entries) == (
        from_csv.opening, from_csv.closing, from_csv.entries
    )


def rezipped(content: bytes, *, part: str, data: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for item in source.infolist():
            made.writestr(item.filename, data if item.filename == part else source.read(item))
    return target.getvalue()


def with_balance(number: str) -> bytes:
    """A sheet whose balance stands in its XML as that number, for the library that makes it would round it."""
    content = sheet_row(amount=0, balance=54321)
    part = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read(part).decode()
    return rezipped(content, part=part, data=changed(text, "<v>54321</v>", f"<v>{number}</v>").encode())


@pytest.mark.parametrize(
    ("content", "reason", "field"),
    [
        (with_balance("0.30000000000000004"), R.BAD_AMOUNT, "余额"),
        (with_balance("1.1E+3"), None, None),
        (with_balance("NaN"), R.MALFORMED, None),
        (sheet_row(amount=1e22), R.BAD_AMOUNT, "金额"),
        (sheet_row(amount=True), R.BAD_AMOUNT, "金额"),
        (sheet_row(amount=date(2026, 11, 19)), R.BAD_AMOUNT, "金额"),
        (sheet_row(amount="=1+1"), R.BAD_AMOUNT, "金额"),  # a formula that no program has calculated yet
        (sheet_row(on=45983), R.BAD_DATE, "日期"),
        (sheet_row(account=6222000000000012345), R.MALFORMED, "account"),
        (sheet_row(text="#REF!"), R.MALFORMED, "column 5"),
        (workbook([HEADER], sheets=2), R.CONTRADICTS, "sheet"),
        (workbook([HEADER]), R.EMPTY, None),
        (sheet_row()[:-40], R.MALFORMED, None),
        (b"PK\x03\x04", R.MALFORMED, None),
    ],
)
def test_a_workbook_is_refused_by_cell(content: bytes, reason: RefusalReason | None, field: str | None) -> None:
    if reason is None:
        assert statements(content)
        return
    found = refusal(content)
    assert (found.reason, found.field) == (reason, field)


def test_amounts_from_a_sheet_are_exact() -> None:
    """Excel itself writes 1100.1 as 1100.0999999999999: the shortest form of that binary number is what was typed."""
    for balance, text in (
        ("1100.0999999999999", "1100.10"), ("9999999999999.99", "9999999999999.99"), ("7.0000000000000007E-2", "0.07"),
        ("12", "12.00"), ("-0", "0.00"),
    ):
        (statement,) = statements(with_balance(balance))
        assert statement.closing is not None
        assert statement.closing.text == text


@pytest.mark.slow
def test_a_workbook_that_unpacks_to_too_much_or_declares_entities_is_refused() -> None:
    huge = rezipped(sheet_row(), part="xl/styles.xml", data=b" " * (513 * 1024 * 1024))
    assert refusal(huge).reason is R.TOO_LARGE
    declared = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><a/>'
    entity = rezipped(sheet_row(), part="xl/workbook.xml", data=declared)
    assert refusal(entity).reason is R.UNSAFE_XML


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 100_000), value=st.integers(0, 255))
def test_a_damaged_workbook_is_refused_or_reads_the_same(place: int, value: int) -> None:
    content = sheet_row()
    place %= len(content)
    answer = read(content[:place] + bytes([value]) + content[place + 1 :])
    if isinstance(answer, StatementFile):
        assert answer.statements == statements(content)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet='日期,金额"\n019-.;', max_size=200).map(str.encode)))
def test_any_bytes_end_in_an_answer(content: bytes) -> None:
    read(content)
    read(CSV.encode()[:90] + content)
    read(b"PK\x03\x04" + content)


SETTINGS = """
[statement_profiles.icbc]
direction = "two_columns"
currency = "CNY"
stated = ["账号:(?P<account>[0-9]+)"]
[statement_profiles.icbc.columns]
date = "交易日期"
debit = "借方"
credit = "贷方"
balance = "余额"
"""


def configured(folder: Path, text: str) -> Settings:
    path = folder / "escrow-monitor.toml"
    path.write_text(text, "utf-8")
    return load_settings(path, {})


def test_profiles_come_from_the_configuration(tmp_path: Path) -> None:
    found = profiles_of(configured(tmp_path, SETTINGS).statement_profiles)
    assert found["icbc"] == Profile(
        name="icbc", direction="two_columns", currency="CNY", stated=("账号:(?P<account>[0-9]+)",),
        columns=Columns(date="交易日期", debit="借方", credit="贷方", balance="余额"),
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"two_columns"', '"signed"', "needs the columns amount"),
        ("(?P<account>", "(?P<acount>", "must name its groups"),
        ("(?P<account>", "((?P<account>", "not a regular expression"),
        ('stated = ["账号:(?P<account>[0-9]+)"]', "", "nothing says the account"),
        ('currency = "CNY"', "", "nothing says the currency"),
        ('currency = "CNY"', 'currency = "CNY"\ndate_format = "%d.%m"', "not a date format"),
        ('currency = "CNY"', 'currency = "CNY"\ndelimeter = ";"', "did you mean delimiter"),
        ('debit = "借方"', 'debits = "借方"', "did you mean debit"),
    ],
)
def test_a_profile_that_cannot_work_is_refused_at_the_start(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words.replace("(", r"\(")):
        configured(tmp_path, changed(SETTINGS, old, new))
