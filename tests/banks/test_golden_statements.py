"""Statement files written by hand, and what must be read from them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from escrow_monitor.banks.formats import FORMATS, FileRefused, StatementFile, read_statements
from escrow_monitor.banks.formats.csv_profile import Columns, Profile
from escrow_monitor.domain.statements import RefusalReason, Statement

GOLDEN = Path(__file__).parent / "golden"
ZONE = ZoneInfo("Asia/Shanghai")

PROFILES = {
    "red_ink": Profile(
        name="red_ink", direction="two_columns", negative_reverses=True, thousands_mark=",", order="descending",
        columns=Columns(
            date="交易时间", debit="借方发生额(支取)", credit="贷方发生额(收入)", balance="余额", reference="流水号",
            text=("摘要",), counterparty=("对方户名",),
        ),
        date_format="%Y/%m/%d %H:%M:%S", footer="^合计",
        stated=(
            "账号: (?P<account>[0-9]+) +币种: (?P<currency>[^ ]+)", "区间 (?P<from>[0-9/]+) 至 (?P<to>[0-9/]+)",
            "合计 (?P<count>[0-9]+) 笔 (?P<debits>[0-9,.]+) (?P<credits>[0-9,.]+)",
        ),
    ),
    "no_balances": Profile(
        name="no_balances", direction="indicator", credit_words=("C",), debit_words=("D",), delimiter=";",
        columns=Columns(
            date="date", amount="amount", indicator="dc", account="account", currency="ccy", text=("note",),
        ),
        date_format="%d.%m.%Y", decimal_mark=",", thousands_mark=".",
    ),
}

EXPECTED = {
    "two_days_and_pages.sta": """\
6222000000000012345 CNY end_of_day no 00324/001 covers 2026-11-20..2026-11-20
  opening 1000000.00 of 2026-11-19, closing 654979.50 of 2026-11-20, available 600000.00
  2026-11-20 4980.00 value 2026-11-20 ref P20261120000001 #1 '学费 EREF+张三秋季学期' named
  2026-11-20 4980.00 value 2026-11-20 ref P20261120000001 #2 '学费 EREF+张三秋季学期' named
  2026-11-20 -350000.50 value 2026-11-20 ref P20261120000003 #1 '放款'
  2026-11-20 -4980.00 value 2026-11-20 ref P20261120000001 #1 '冲正' reversal
6222000000000012345 CNY end_of_day no 00325/001 covers 2026-11-21..2026-11-21
  opening 654979.50 of 2026-11-20, closing 654979.50 of 2026-11-21, available None
""",
    "gb18030_overdrawn.sta": """\
371082001 CNY end_of_day no 1/1 covers 2026-12-31..2026-12-31
  opening 10.00 of 2026-12-30, closing -5.00 of 2026-12-31, available None
  2026-12-31 -20.00 value 2026-12-31 ref REF1 #1 '退费 王五'
  2026-12-31 5.00 value 2027-01-01 ref REF2 #1 '' reversal
""",
    "intraday.mt942": """\
6222000000000012345 CNY intraday no 00326/001 covers None..None
  opening None of None, closing None of None, available None
  2026-11-22 1200.00 value 2026-11-22 ref X1 #1 '学费'
  2026-11-22 -99.99 value 2026-11-22 ref X2 #1 ''
""",
    "daily.camt053.xml": """\
6222000000000012345 CNY end_of_day no S-20261120 covers 2026-11-20..2026-11-20
  opening 1000000.00 of 2026-11-20, closing 654979.50 of 2026-11-20, available 600000.00
  2026-11-20 4980.00 value 2026-11-21 ref P1 #1 '学费 秋季学期' named
  2026-11-20 -345020.50 value None ref None #1 '放款'
  2026-11-20 -4980.00 value 2026-11-23 ref None #1 '' reversal
CN00371082001 CNY end_of_day no S2 covers 2026-11-20..2026-11-20
  opening 10.00 of 2026-11-19, closing -5.00 of 2026-11-20, available None
  2026-11-20 -15.00 value None ref None #1 ''
""",
    "no_namespace_gbk.camt053.xml": """\
371082001 CNY end_of_day no 月结单 covers 2026-11-01..2026-11-30
  opening 0.00 of 2026-10-31, closing 90071992547409.91 of 2026-11-30, available None
  2026-11-30 90071992547409.91 value None ref None #1 '拨款'
""",
    "two_accounts.bai": """\
6222000000000012345 CNY end_of_day no 41 covers 2026-11-20..2026-11-20
  opening 1000000.00 of 2026-11-20, closing 654979.50 of 2026-11-20, available 600000.00
  2026-11-20 4980.00 value 2026-11-20 ref P20261120000001 #1 '学费 秋季学期, 含教材/教具'
  2026-11-20 4980.00 value 2026-11-20 ref P20261120000001 #2 '学费 秋季学期, 含教材/教具'
  2026-11-20 -350000.50 value None ref P20261120000003 #1 'pay out to the holder'
  2026-11-20 -4980.00 value None ref C17 #1 '' reversal
371082001 USD end_of_day no 41 covers 2026-11-20..2026-11-20
  opening -10.00 of 2026-11-20, closing 15.00 of 2026-11-20, available None
  2026-11-20 25.00 value None ref None #1 '' reversal
371082001 USD intraday no 41 covers None..None
  opening None of None, closing None of None, available None
  2026-11-21 7.00 value None ref None #1 'early'
""",
    "two_days.ofx": """\
6222000000000012345 CNY end_of_day no 7 covers 2026-11-20..2026-11-21
  opening 100000.00 of 2026-11-20, closing 109959.50 of 2026-11-21, available 109859.50
  2026-11-20 4980.00 value None ref P1 #1 '学费 & 教材' named
  2026-11-20 4980.00 value None ref P2 #1 '学费 & 教材' named
  2026-11-21 -0.50 value 2026-11-23 ref P3 #1 ''
""",
    "balance_and_list_apart.ofx": """\
371082001 CNY notice no 1 covers None..None
  opening None of None, closing None of None, available None
  2026-11-05 -12.30 value None ref A #1 ''
371082002 CNY intraday no 2 covers None..None
  opening None of None, closing None of None, available None
""",
    "red_ink.csv": """\
6222000000000012345 CNY end_of_day no  covers 2026-11-18..2026-11-21
  opening 100000.00 of 2026-11-18, closing 103980.00 of 2026-11-21, available None
  2026-11-19 4980.00 value None ref S1 #1 '学费,秋季' named
  2026-11-19 4980.00 value None ref S2 #1 '学费,秋季' named
  2026-11-20 -4980.00 value None ref S3 #1 '冲正' reversal named
  2026-11-20 -1000.00 value None ref S4 #1 '=HYPERLINK("x")' named
""",
    "no_balances.csv": """\
371082001 CNY notice no  covers None..None
  opening None of None, closing None of None, available None
  2026-11-21 1234.50 value None ref None #1 'fees'
371082002 CNY notice no  covers None..None
  opening None of None, closing None of None, available None
  2026-11-21 -20.00 value None ref None #1 ''
""",
    "notice.camt054.xml": """\
371082001 CNY notice no N1 covers None..None
  opening None of None, closing None of None, available None
  2026-11-20 -12.30 value None ref None #1 ''
""",
}


def told(statement: Statement) -> str:
    lines = [
        f"{statement.account_no} {statement.currency} {statement.kind} no {statement.number} "
        f"covers {statement.covers_from}..{statement.covers_to}",
        f"  opening {statement.opening and statement.opening.text} of {statement.opening_on}, "
        f"closing {statement.closing and statement.closing.text} of {statement.closing_on}, "
        f"available {statement.available and statement.available.text}",
    ]
    lines += [
        f"  {entry.booked_on} {entry.amount.text} value {entry.value_on} ref {entry.bank_ref} #{entry.occurrence} "
        f"{entry.text!r}{' reversal' * entry.reversal}{' named' * bool(entry.counterparty_sha256)}"
        for entry in statement.entries
    ]
    return "".join(f"{line}\n" for line in lines)


def test_every_golden_file_has_its_expectation() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.is_file()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_golden_file_is_read_as_expected(name: str) -> None:
    answer = read_statements((GOLDEN / name).read_bytes(), filename=name, zone=ZONE, profiles=PROFILES)
    assert isinstance(answer, StatementFile), answer
    assert "".join(map(told, answer.statements)) == EXPECTED[name]
    if name.endswith(".csv"):
        assert (answer.format, answer.media_type) == (f"profile:{name.removesuffix('.csv')}", "text/csv")
    else:
        assert answer.media_type == FORMATS[answer.format].media_type


@pytest.mark.parametrize("name", EXPECTED)
def test_no_name_of_a_payer_is_kept(name: str) -> None:
    answer = read_statements((GOLDEN / name).read_bytes(), filename=name, zone=ZONE, profiles=PROFILES)
    assert isinstance(answer, StatementFile)
    assert all("6222009999" not in entry.text for one in answer.statements for entry in one.entries)


def test_a_statement_of_tomorrow_is_refused() -> None:
    content = (GOLDEN / "daily.camt053.xml").read_bytes()
    answer = read_statements(content, filename="f", zone=ZONE, today=date(2026, 11, 19))
    assert isinstance(answer, FileRefused)
    assert {refusal.reason for refusal in answer.refusals} == {RefusalReason.DATED_IN_FUTURE}
    assert isinstance(read_statements(content, filename="f", zone=ZONE, today=date(2026, 11, 20)), StatementFile)
