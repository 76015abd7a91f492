"""Tables that are taken along: all rows that fit, as CSV and as a workbook, and never a formula."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from alerts.alert import Severity
from alerts.routing import Silence
from escrow_monitor.actions.table_export import (
    Column,
    ExportTable,
    Kind,
    Row,
    csv_pieces,
    defused,
    file_name,
    xlsx_pieces,
)
from escrow_monitor.domain.contracts import Contract
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import MINOR_UNITS_MAX, Money
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.alerts import silences
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.web.console import tables
from tests.web.test_web_authorization import NAMES, OTHER, OWN, Court
from tests.web.test_web_authorization import Row as Asking
from tests.web.test_web_import_pages import sent, settled
from tests.web.web_world import NOW, Site, World, no, uscc

ZONE = ZoneInfo("Asia/Shanghai")
TABLE = ExportTable(name="things", zh="东西/表", en="Things", columns=(
    Column("名称", "Name"), Column("金额", "Amount", Kind.MONEY), Column("日期", "Day", Kind.DATE),
    Column("时间", "At", Kind.INSTANT), Column("个数", "Count", Kind.COUNT), Column("比例", "Share", Kind.SHARE),
))
FORMULAS = (
    "=1+1", "+1", "@x", "\tx", "\rx", "\nx", "-1+1", "-x", "＝1", "＋1", "－1", "＠x", " =1", "\u3000=1", "\ufeff=1",
)


def as_csv(rows: list[Row], lang: str = "zh") -> list[list[str]]:
    text = b"".join(csv_pieces(TABLE, rows, lang=lang, zone=ZONE)).decode("utf-8-sig")  # type: ignore[arg-type]
    return list(csv.reader(io.StringIO(text, newline="")))


def sheet_of(content: bytes):  # type: ignore[no-untyped-def]
    return load_workbook(io.BytesIO(content)).worksheets[0]


def as_sheet(rows: list[Row], lang: str = "zh"):  # type: ignore[no-untyped-def]
    return sheet_of(b"".join(xlsx_pieces(TABLE, rows, lang=lang, zone=ZONE)))  # type: ignore[arg-type]


def texts(cell: str) -> Row:
    return cell, None, None, None, None, None


# cells


@pytest.mark.parametrize("cell", FORMULAS)
def test_what_a_sheet_would_compute_becomes_text(cell: str) -> None:
    assert defused(cell) == f"'{cell}"
    assert defused(f"x{cell}") == f"x{cell}"
    assert as_csv([texts(cell)])[1][0] == f"'{cell}"
    [[*_], [found, *_]] = as_sheet([texts(cell)]).iter_rows()
    assert found.data_type == "s"


@pytest.mark.parametrize("cell", ["-1", "-116.00", "12", "", "晨光", "a=b", "2026-11-20"])
def test_a_plain_number_and_a_plain_text_stay_as_they_are(cell: str) -> None:
    assert defused(cell) == cell


@pytest.mark.parametrize("cell", ["6222021234500000001", "0012", "91510300000000000E", "1e5", "510300123456"])
def test_a_number_that_is_a_name_is_not_rounded_by_a_sheet(cell: str) -> None:
    told = as_csv([texts(cell)])[1][0]
    assert told == (cell if cell.endswith("000E") else f"'{cell}")


@given(st.text())
def test_no_text_begins_like_a_formula_in_a_table(cell: str) -> None:
    told = as_csv([texts(cell)])[1:]
    seen = told[0][0] if told and told[0] else ""
    assert seen in (cell, f"'{cell}")
    assert not seen.lstrip().startswith(("=", "+", "@", "＝", "＋", "－", "＠"))
    assert not seen.startswith(("\t", "\r", "\n"))


def test_a_cell_does_not_begin_behind_another_separator() -> None:
    assert b'"a;=1+1"' in b"".join(csv_pieces(TABLE, [texts("a;=1+1")], lang="zh", zone=ZONE))


def test_amounts_dates_and_instants_are_what_a_sheet_can_add_and_sort() -> None:
    row: Row = (
        "晨光", Money(-123_45, "CNY"), date(2026, 11, 20), datetime(2026, 11, 20, 2, 30, 5, tzinfo=UTC), 3,
        Decimal("0.1234"),
    )
    assert as_csv([row]) == [
        ["名称", "金额", "日期", "时间", "个数", "比例"],
        ["晨光", "-123.45", "2026-11-20", "2026-11-20T10:30:05+08:00", "3", "0.1234"],
    ]
    sheet = as_sheet([row], "en")
    head, cells = sheet.iter_rows()
    assert [cell.value for cell in head] == ["Name", "Amount", "Day", "At (Asia/Shanghai)", "Count", "Share"]
    assert (sheet.title, sheet.freeze_panes) == ("Things", "A2")
    assert cells[1].value == -123.45
    assert cells[1].number_format == "#,##0.00"
    assert cells[2].value.isoformat() == "2026-11-20T00:00:00"
    assert cells[3].value.isoformat() == "2026-11-20T10:30:05"
    assert (cells[4].value, cells[5].value) == (3, 0.1234)


@given(st.integers(-MINOR_UNITS_MAX, MINOR_UNITS_MAX), st.sampled_from(["CNY", "JPY", "BHD"]))
def test_no_amount_loses_its_last_digit(fen: int, currency: str) -> None:
    money = Money(fen, currency)
    [[*_], [_, found, *_]] = as_sheet([("", money, None, None, None, None)]).iter_rows()
    digits = {"CNY": 2, "JPY": 0, "BHD": 3}[currency]
    assert (found.value if found.data_type == "s" else f"{found.value:.{digits}f}").replace("-0.", "-0.") == money.text


def test_what_no_workbook_can_hold_is_replaced_not_refused() -> None:
    long = "长" * 40_000
    sheet = as_sheet([texts("a\x00\x1fb\ufffe"), texts(long), texts("<&>\"'"), texts("_x0041_")])
    found = [row[0].value for row in sheet.iter_rows(min_row=2)]
    assert found[0] == "a\ufffd\ufffdb\ufffd"
    assert (len(found[1]), found[1][-1]) == (32_767, "…")
    assert found[2] == "<&>\"'"
    assert found[3] == "_x005F_x0041_"  # an office program reads it as it was


def test_an_empty_table_has_its_header() -> None:
    assert as_csv([]) == [["名称", "金额", "日期", "时间", "个数", "比例"]]
    assert as_sheet([]).max_row == 1


def test_a_sheet_that_is_full_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escrow_monitor.actions.table_export.ROWS_A_SHEET", 10)
    content = b"".join(xlsx_pieces(TABLE, [texts(f"n{n}") for n in range(25)], lang="zh", zone=ZONE))
    book = load_workbook(io.BytesIO(content))
    assert [sheet.max_row for sheet in book.worksheets] == [11, 11, 6]
    assert book.sheetnames == ["东西 表", "东西 表 2", "东西 表 3"]
    assert book.worksheets[2]["A6"].value == "n24"


def test_the_rows_of_a_csv_are_sent_while_they_come() -> None:
    given = Many()
    pieces = csv_pieces(TABLE, given, lang="zh", zone=ZONE)
    next(pieces)
    assert given.taken < 10_000


@pytest.mark.parametrize("write", [csv_pieces, xlsx_pieces])
def test_no_table_is_kept_in_memory(write) -> None:  # type: ignore[no-untyped-def]
    given = Many()
    tracemalloc.start()
    assert sum(map(len, write(TABLE, given, lang="zh", zone=ZONE))) > 100_000
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    assert given.taken == given.count


class Many:
    """Rows that count how many were taken."""

    def __init__(self, count: int = 20_000) -> None:
        self.count, self.taken = count, 0

    def __iter__(self) -> Iterator[Row]:
        for number in range(self.count):
            self.taken += 1
            yield (f"name {number * 7919 % 99991}", Money(number, "CNY"), date(2026, 1, 1), NOW, number, None)


def test_the_name_of_a_file_says_what_it_is_and_of_which_day() -> None:
    assert file_name(TABLE, "csv", date(2026, 11, 20)) == "things-20261120.csv"
    assert file_name(TABLE, "xlsx", date(2026, 11, 20), '91"51/0') == "things-91510-20261120.xlsx"


# pages


PATHS = (
    "/institutions", "/alerts", "/cases", "/reconcile", "/deliveries", "/silences", "/operations/runs",
    "/operations/banks", f"/institutions/{uscc(0)}/contracts", f"/institutions/{uscc(0)}/statement-days",
    f"/reconcile/{uscc(0)}/items", f"/policies/effective?uscc={uscc(0)}",
)


def rows_of(site: Site, path: str, **options: str) -> list[dict[str, str]]:
    answer = site.get(path, **options)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("path", PATHS)
def test_each_table_comes_in_both_forms_with_the_same_cells(site: Site, path: str) -> None:
    page, question, query = path.partition("?")
    answers = {form: site.get(f"{page}.{form}{question}{query}") for form in ("csv", "xlsx")}
    for form, answer in answers.items():
        assert answer.status_code == 200, (form, answer.text)
        assert f'20261120.{form}"' in answer.headers["content-disposition"]
        assert answer.headers["cache-control"] == "no-store"
    rows = list(csv.reader(io.StringIO(answers["csv"].content.decode("utf-8-sig"), newline="")))
    cells = list(sheet_of(answers["xlsx"].content).iter_rows(values_only=True))
    assert len(rows) == len(cells)
    assert rows[0] == [str(name).partition(" (Asia")[0] for name in cells[0]]


def test_all_that_fit_are_taken_not_only_a_page(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(database=database)
    world.key("reader", "read")
    world.institutions(95)
    for number in range(70):
        world.signal(number, severity=(Severity.RED, Severity.ORANGE)[number % 2])
    site = Site(world)
    for room in ("money", "alerts", "office"):
        monkeypatch.setattr(f"escrow_monitor.web.console.tables.{room}.ROWS_A_PIECE", 20)
    assert len({row["统一社会信用代码"] for row in rows_of(site, "/institutions.csv")}) == 95
    alerts = rows_of(site, "/alerts.csv")
    assert len({row["预警编号"] for row in alerts}) == len(alerts) == 70
    assert len(rows_of(site, "/alerts.csv?severity=red")) == 35
    assert {row["Level"] for row in rows_of(site, "/alerts.csv?severity=orange&lang=en")} == {"orange"}


def test_a_filter_that_is_none_is_refused_before_anything_is_sent(site: Site) -> None:
    for path in ("/alerts", "/institutions", "/cases", "/reconcile", "/deliveries"):
        assert site.get(f"{path}.csv?distrikt=1").status_code == 400
        assert site.get(f"{path}.xlsx?distrikt=1").status_code == 400
    assert site.get(f"/policies/effective.csv?uscc={uscc(0)}&on=soon").status_code == 400


def test_the_links_of_a_page_keep_its_filters(site: Site) -> None:
    html = site.get("/alerts?severity=red&q=%3Dx&lang=en").text
    assert 'href="/alerts.csv?severity=red&amp;q=%3Dx"' in html
    assert 'href="/alerts.xlsx?severity=red&amp;q=%3Dx"' in html


def test_an_alert_says_who_keeps_it_quiet_and_a_silence_what_it_fits(world: World) -> None:
    with world.database.write() as session:
        silences.add(session, Silence(
            silence_id="sil-1", matchers={"bank": "自贡银行"}, author="key:li", reason="=cmd|' /C calc'!A0",
            starts_at=world.now, ends_at=world.now + timedelta(hours=4),
        ), now=world.now)
    [row] = rows_of(Site(world), "/silences.csv")
    assert (row["状态"], row["理由"]) == ("生效中", "'=cmd|' /C calc'!A0")
    assert "自贡银行" in row["范围"]


def test_the_contracts_of_an_institution_say_what_is_owed(world: World) -> None:
    with world.database.write() as session, contract_sums.kept_up(session, on=date(2026, 11, 20)):
        save_contracts(session, [
            Contract(
                contract_no=f"HT-{n:03}", uscc=uscc(0), student_ref="=S", course="钢琴", lessons_paid=48,
                fee=Money(4800_00, "CNY"), signed_on=date(2026, 8, 20),
            ) for n in range(3)
        ], now=world.now)
    rows = rows_of(Site(world), f"/institutions/{uscc(0)}/contracts.csv")
    assert [row["合同编号"] for row in rows] == ["HT-000", "HT-001", "HT-002"]
    assert {(row["学费"], row["已缴"], row["学员代号"]) for row in rows} == {("4800.00", "0.00", "'=S")}
    with world.database.read() as session:
        [told] = audit.records(session, kind="table.taken")
    assert (told.payload["table"], told.payload["about"], told.actor) == ("contracts", uscc(0), "key:reader")


def test_that_a_table_about_families_was_taken_is_written_down(world: World) -> None:
    site = Site(world)
    assert rows_of(site, "/cases.csv?q=x") == []
    itself, row = rows_of(site, "/audit.csv?kind=table.taken", key="admin")
    assert itself["操作人"] == "key:admin"
    assert row["类别"] == "下载表格"
    assert '"asked":"q=x"' in row["明细"]
    assert row["操作人"] == "key:reader"


def test_what_an_institution_takes_is_its_own(database: Database) -> None:
    court = Court(database)
    for path in ("/institutions", "/alerts", "/cases", "/reconcile"):
        answer = court.ask("institution", "GET", f"{path}.xlsx", row=Asking(cells=""))
        said = str(list(sheet_of(answer.content).iter_rows(values_only=True)))
        assert uscc(OTHER) not in said
        assert NAMES[OTHER] not in said
    answer = court.ask("institution", "GET", "/institutions.xlsx", row=Asking(cells=""))
    assert NAMES[OWN] in str(list(sheet_of(answer.content).iter_rows(values_only=True)))


def test_while_the_records_cannot_be_read_a_table_is_a_page_that_says_so(world: World) -> None:
    site = Site(world)
    site.get("/alerts.csv")
    world.database.close()
    broken = replace(world, database=Database("sqlite:////nowhere/gone.db"))
    assert Site(broken).get("/alerts.csv").status_code == 503


def test_every_row_has_a_cell_for_every_column(world: World) -> None:
    with pytest.raises(ValueError, match="1 cells for 6 columns"):
        as_csv([("only one",)])
    assert tables.FORMS.keys() == {"csv", "xlsx"}
    with world.database.write() as session:
        save_institutions(session, [Institution(uscc=uscc(7), name="=x", district=None)], now=world.now)
    assert [row["机构名称"] for row in rows_of(Site(world), "/institutions.csv?q=%3Dx")] == ["'=x"]
    assert no(0)


def test_what_is_wrong_with_a_file_can_be_worked_off(world: World) -> None:
    world.key("clerk", "import")
    world.key("other", "import")
    site = Site(world)
    path = sent(site, b"uscc,name,kind,district\n91510302MA0000007E,a,nonsense,510302\nx,=b,subject,510302\n")
    html = settled(site, path)
    assert f'href="{path}/errors.csv"' in html
    rows = rows_of(site, f"{path}/errors.csv?lang=en", key="clerk")
    assert [(row["Line"], row["Column"], row["Value"]) for row in rows] == [
        ("2", "kind", "nonsense"), ("3", "uscc", "x"),
    ]
    assert {row["列"] for row in rows_of(site, f"{path}/errors.csv", key="clerk")} == {"统一社会信用代码", "类别"}
    assert site.get(f"{path}/errors.xlsx", key="other").status_code == 404
