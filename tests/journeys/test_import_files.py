"""Files of contracts and all that belongs to them, as an institution exports them: good, odd and broken."""

from __future__ import annotations

import csv
import io
import json
import resource
import sqlite3
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from journey_command import Said, here, run
from openpyxl import Workbook

from escrow_monitor.actions.import_columns import COLUMNS, NEEDED, WORDS, template
from escrow_monitor.actions.import_files import Imported, import_file
from escrow_monitor.actions.import_kinds import KINDS
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bulk import fetch
from escrow_monitor.records.bulk import run as query
from escrow_monitor.records.contracts.contracts import contracts
from escrow_monitor.records.contracts.lessons import lessons
from escrow_monitor.records.contracts.sums import contract_sums
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
MIDNIGHT, MORNING = datetime(2026, 3, 2), datetime(2026, 3, 1, 8, 30)  # noqa: DTZ001 - a sheet knows no zone
USCC = "91110000600037341L"
ACCOUNT = "6222021200019876543"
CONTRACT = {
    "contract_no": "HT-1", "uscc": USCC, "student_ref": "S-1", "course": "钢琴", "signed_on": "2026-02-20",
    "lessons_paid": "48", "fee": "4800.00",
}
CHARGE = {"charge_no": "JF-1", "contract_no": "HT-1", "paid_on": "2026-02-20", "amount": "4800.00"}
LESSON = {
    "contract_no": "HT-1", "session_no": "1", "taught_on": "2026-03-01", "status": "confirmed",
    "decided_on": "2026-03-02",
}
CLAIM = {
    "claim_no": "TF-1", "contract_no": "HT-1", "claimed_on": "2026-05-06", "amount": "3500.00", "cause": "consumer",
}
COMPLAINT = {"complaint_no": "TS-1", "uscc": USCC, "received_on": "2026-05-06"}
NOTICE = {"notice_no": "TZ-1", "uscc": USCC, "noticed_on": "2026-05-06", "kind": "wage_arrears"}
FIRST: Mapping[str, Mapping[str, str]] = {
    "contracts": CONTRACT, "charges": CHARGE, "lessons": LESSON, "refund-claims": CLAIM, "complaints": COMPLAINT,
    "notices": NOTICE,
}
TABLES = (
    "contracts", "charges", "lessons", "refund_claims", "complaints", "notices", "contract_accounts", "audit_entries",
)


def csv_of(*rows: Mapping[str, str]) -> bytes:
    """A CSV whose columns are those of all rows together."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def jsonl_of(*rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def xlsx_of(header: Sequence[object], *rows: Sequence[object], sheets: Mapping[str, str] = {}) -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (header, *rows):
        sheet.append(list(row))
    for name, cell in sheets.items():
        book.create_sheet(name)["A1"] = cell
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


Load = Callable[..., Imported]


@pytest.fixture
def load(database: Database) -> Load:
    """Imports bytes into a database that knows one institution and one account."""

    def do(kind: str, content: bytes, **options: Any) -> Imported:
        return import_file(
            database, kind=kind, stream=io.BytesIO(content), filename=f"{kind}.csv", actor="test", now=NOW, **options
        )

    assert do("institutions", csv_of({"uscc": USCC, "name": "晨光艺术培训学校"})).new == 1
    assert do("accounts", csv_of({"account_no": ACCOUNT, "uscc": USCC, "bank": "icbc"})).new == 1
    return do


@pytest.fixture
def stocked(load: Load) -> Load:
    """The same with one contract, its charge and a lesson."""
    for kind in ("contracts", "charges", "lessons"):
        assert load(kind, csv_of(FIRST[kind])).new == 1
    return load


def rows_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with database.read() as session:
        return {table: sorted(fetch(session, f"SELECT * FROM {table}"), key=str) for table in TABLES}


# Every kind, every form


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_template_of_every_kind_is_a_file_of_that_kind(load: Load, language: str) -> None:
    for kind in KINDS:
        for encoding in ("utf-8", "utf-8-sig", "gb18030"):
            done = load(kind, template(kind, language).encode(encoding))
            assert (done.rows, done.bad_rows) == (1, ())
        assert done.changed == 0


def test_every_kind_has_its_columns_and_every_closed_set_its_words() -> None:
    assert set(KINDS) == set(COLUMNS) == set(NEEDED)
    for kind, plan in KINDS.items():
        assert set(plan.parses) == set(COLUMNS[kind])
        assert set(NEEDED[kind]) <= set(COLUMNS[kind])
        chinese = [text.zh for text in COLUMNS[kind].values()]
        assert len(set(chinese)) == len(chinese)
    assert all(len(set(words.values())) == len(words) for words in WORDS.values())


def test_one_table_says_the_same_in_every_form(load: Load, database: Database) -> None:
    header = list(LESSON)
    zh = [COLUMNS["lessons"][name].zh for name in header]
    chinese = "\t".join(zh) + "\nHT-1\t1\t2026年3月1日\t已确认\t2026/3/2\n"
    load("contracts", csv_of(CONTRACT))
    assert load("lessons", csv_of(LESSON)).new == 1
    for content in (
        chinese.encode("gb18030"), chinese.replace("\t", ";").encode("utf-8-sig"), jsonl_of(LESSON),
        jsonl_of(dict(zip(zh, ["HT-1", 1, "20260301", "已确认", "2026-03-02 00:00:00"], strict=True))),
        xlsx_of(header, ["HT-1", 1, date(2026, 3, 1), "confirmed", MIDNIGHT]),
        xlsx_of(zh, ["HT-1", "1", "2026-03-01", "已确认", "2026-03-02"], [None] * 5, sheets={}),
        csv_of(LESSON).replace(b"\r\n", b"\n") + b"\n\n,,,,\n", csv_of(LESSON).replace(b"\r\n", b"\r"),
        csv_of(LESSON, LESSON),
    ):
        done = load("lessons", content)
        assert (done.changed, done.bad_rows) == (0, ())
    with database.read() as session:
        assert len(lessons(session, ["HT-1"])) == 1


def test_a_whole_contract_is_read_exactly(load: Load, database: Database) -> None:
    header, row = list(csv.reader(io.StringIO(template("contracts", "zh"))))
    for late, penalty in (("0.05%", "20%"), ("0.0005", "20"), ("0.00050", "20.0")):
        changed = dict(zip(header, row, strict=True)) | {"逾期日利率": late, "违约金百分比": penalty}
        assert not load("contracts", csv_of(changed)).bad
    with database.read() as session:
        (one,) = contracts(session)
        assert query(session, "SELECT changed_at = recorded_at FROM contracts").scalar()
    assert (str(one.late_daily_rate), one.penalty_pct_remaining) == ("1/2000", 20)
    assert (one.fee.minor_units, one.materials_delivered, one.prior_same_service) == (4800_00, True, False)
    assert (one.full_refund_days_after, one.full_refund_lessons) == (None, None)


def test_empty_is_not_agreed_and_never_zero(load: Load, database: Database) -> None:
    load("contracts", csv_of({**dict.fromkeys(COLUMNS["contracts"], ""), **CONTRACT}))
    with database.read() as session:
        (one,) = contracts(session)
    empty = {name for name in ("starts_on", "ends_on", "gift_policy", "materials_fee", "materials_delivered",
                               "full_refund_days_before", "prior_same_service", "refund_deadline_days",
                               "late_daily_rate", "penalty_pct_remaining", "status") if getattr(one, name) is None}
    assert len(empty) == 11
    assert one.fee.currency == "CNY"


def test_text_that_begins_like_a_formula_is_the_text_it_is(load: Load, database: Database) -> None:
    load("contracts", csv_of({**CONTRACT, "course": "=1+1", "status": "-", "template_id": "@x"}))
    with database.read() as session:
        (one,) = contracts(session)
    assert (one.course, one.status, one.template_id) == ("=1+1", "-", "@x")


# What is wrong with a row: nothing of the file is kept


@pytest.mark.parametrize(
    ("kind", "changes", "column", "words"),
    [
        ("contracts", {"uscc": "914403001922038216"}, "uscc", "no such institution"),
        ("contracts", {"uscc": USCC[:-1] + "X"}, "uscc", "check character"),
        ("contracts", {"student_ref": "王小明"}, "student_ref", "a person's name"),
        ("contracts", {"student_ref": "小明妈妈"}, "student_ref", "a person's name"),
        ("contracts", {"student_ref": "13812345678"}, "student_ref", "a phone number"),
        ("contracts", {"student_ref": "S+86 138-1234-5678"}, "student_ref", "a phone number"),
        ("contracts", {"student_ref": "11010519491231002X"}, "student_ref", "an identity number"),
        ("contracts", {"student_ref": "a@b.cn"}, "student_ref", "an e-mail address"),
        ("contracts", {"lessons_paid": "-1"}, "lessons_paid", "whole number from 1"),
        ("contracts", {"lessons_paid": "0"}, "lessons_paid", "whole number from 1"),
        ("contracts", {"lessons_paid": "1.5"}, "lessons_paid", "whole number from 1"),
        ("contracts", {"lessons_gift": "-2"}, "lessons_gift", "whole number from 0"),
        ("contracts", {"fee": "-1.00"}, "fee", "below zero"),
        ("contracts", {"fee": "4,800.00"}, "fee", "plain decimal amount"),
        ("contracts", {"fee": "￥4800"}, "fee", "plain decimal amount"),
        ("contracts", {"fee": "=4800"}, "fee", "plain decimal amount"),
        ("contracts", {"fee": "4.8e3"}, "fee", "plain decimal amount"),
        ("contracts", {"fee": "０１"}, "fee", "plain decimal amount"),
        ("contracts", {"fee": "0.001"}, "fee", "finer than the smallest unit of CNY"),
        ("contracts", {"fee": ""}, "fee", "must not be empty"),
        ("contracts", {"fee": "12.5", "currency": "JPY"}, "fee", "finer than the smallest unit of JPY"),
        ("contracts", {"currency": "元"}, "currency", "currency code"),
        ("contracts", {"signed_on": "2026-13-01"}, "signed_on", "no such day"),
        ("contracts", {"signed_on": "01/02/2026"}, "signed_on", "not a date"),
        ("contracts", {"signed_on": "46073"}, "signed_on", "not a date"),
        ("contracts", {"signed_on": "0226-02-20"}, "signed_on", "between 1990"),
        ("contracts", {"signed_on": "2026-02-20 13:00:00"}, "signed_on", "not a date"),
        ("contracts", {"starts_on": "2026-03-01", "ends_on": "2026-02-28"}, "ends_on", "before starts_on 2026-03-01"),
        ("contracts", {"ends_on": "2026-02-19"}, "ends_on", "before signed_on 2026-02-20"),
        ("contracts", {"gift_policy": "generous"}, "gift_policy", "paid_first (先用付费课时)"),
        ("contracts", {"materials_delivered": "maybe"}, "materials_delivered", "true, false, 是, 否"),
        ("contracts", {"late_daily_rate": "5"}, "late_daily_rate", "more than the whole"),
        ("contracts", {"late_daily_rate": "五"}, "late_daily_rate", "plain decimal"),
        ("contracts", {"penalty_pct_remaining": "101"}, "penalty_pct_remaining", "more than 100"),
        ("contracts", {"course": "钢琴".encode().decode("gb18030")}, "course", "garbled"),
        ("contracts", {"course": "钢琴".encode().decode("latin-1")}, "course", "garbled"),
        ("contracts", {"course": "锟斤拷"}, "course", "garbled"),
        ("contracts", {"contract_no": "HT\n1"}, "contract_no", "one line"),
        ("contracts", {"contract_no": "H" * 101}, "contract_no", "one line"),
        ("charges", {"contract_no": "HT-9"}, "contract_no", "no such contract"),
        ("charges", {"paid_on": "2026-02-19"}, "paid_on", "before the contract was signed on 2026-02-20"),
        ("charges", {"amount": "0.00"}, "amount", "not above zero"),
        ("charges", {"amount": "-5.00"}, "amount", "below zero"),
        ("charges", {"amount": "0.005"}, "amount", "finer than the smallest unit of CNY"),
        ("charges", {"account_no": "1"}, "account_no", "no such account"),
        ("charges", {"currency": "USD"}, "currency", "two currencies"),
        ("lessons", {"contract_no": "HT-9"}, "contract_no", "no such contract"),
        ("lessons", {"session_no": "-1"}, "session_no", "whole number from 1"),
        ("lessons", {"taught_on": "2026-02-19"}, "taught_on", "before the contract was signed on 2026-02-20"),
        ("lessons", {"status": "done"}, "status", "confirmed (已确认)"),
        ("lessons", {"status": "requested"}, "decided_on", "only requested"),
        ("lessons", {"requested_on": "2026-03-03"}, "decided_on", "before requested_on"),
        ("refund-claims", {"contract_no": "HT-9"}, "contract_no", "no such contract"),
        ("refund-claims", {"amount": "4800.01"}, "amount", "more than the 4800.00 CNY paid"),
        ("refund-claims", {"claimed_on": "2026-02-19"}, "claimed_on", "before the contract was signed"),
        ("refund-claims", {"cause": "boredom"}, "cause", "consumer (消费者原因)"),
        ("refund-claims", {"currency": "USD"}, "currency", "two currencies"),
        ("refund-claims", {"amount": "1.005"}, "amount", "finer than the smallest unit of CNY"),
        ("complaints", {"uscc": "914403001922038216"}, "uscc", "no such institution"),
        ("complaints", {"complainant_ref": "欧阳小明"}, "complainant_ref", "a person's name"),
        ("notices", {"uscc": "914403001922038216"}, "uscc", "no such institution"),
        ("notices", {"kind": "bankrupt"}, "kind", "wage_arrears (拖欠工资)"),
    ],
)
def test_a_bad_row_is_told_with_line_column_value_and_reason_and_nothing_is_kept(
    stocked: Load, database: Database, kind: str, changes: Mapping[str, str], column: str, words: str
) -> None:
    name, good = KINDS[kind].keys[-1], dict(FIRST[kind])
    others = [{**good, name: str(number) if name == "session_no" else f"X-{number}"} for number in (7, 8)]
    before = rows_of(database)
    bad = {**others[0], name: "9" if name == "session_no" else "X-9"} | changes
    done = stocked(kind, csv_of(*others, bad))
    assert [(one.line, one.column) for one in done.bad_rows] == [(4, column)]
    assert words in done.bad_rows[0].reason
    personal = {"student_ref", "complainant_ref"} & {column}
    assert (done.bad_rows[0].value == bad.get(column, "")[:100]) is not bool(personal)
    assert (done.kept, done.changed, done.bad) == (False, 0, 1)
    assert rows_of(database) == before
    skipped = stocked(kind, csv_of(*others, bad), skip_bad_rows=True)
    assert (skipped.kept, skipped.new, skipped.bad) == (True, 2, 1)


def test_a_contract_keeps_its_currency_and_what_came_after_its_signing(stocked: Load) -> None:
    for changes, column, words in (
        ({"currency": "USD"}, "currency", "recorded in CNY"),
        ({"signed_on": "2026-02-21"}, "signed_on", "a charge under this contract was paid on 2026-02-20"),
        ({"signed_on": "2026-03-02"}, "signed_on", "2026-02-20"),
    ):
        (bad,) = stocked("contracts", csv_of({**CONTRACT, **changes})).bad_rows
        assert bad.column == column
        assert words in bad.reason


def test_a_charge_into_an_account_of_another_currency_is_two_currencies(stocked: Load) -> None:
    stocked("accounts", csv_of({"account_no": "usd-1", "uscc": USCC, "bank": "icbc", "currency": "USD"}))
    (bad,) = stocked("charges", csv_of({**CHARGE, "charge_no": "JF-2", "account_no": "usd-1"})).bad_rows
    assert (bad.column, bad.value) == ("account_no", "usd-1")
    assert "two currencies: the contract is in CNY, this account is kept in USD" in bad.reason


def test_an_account_keeps_its_currency(load: Load) -> None:
    (bad,) = load("accounts", csv_of({"account_no": ACCOUNT, "bank": "icbc", "currency": "USD"})).bad_rows
    assert (bad.column, bad.value) == ("currency", "USD")


def test_long_numbers_and_codes_are_pseudonyms(load: Load) -> None:
    refs = ("110105194912310021", "20260101138123456789", "学员A-17", "S-13812", "ab12cd34ef")
    rows = [{**CONTRACT, "contract_no": f"HT-{place}", "student_ref": ref} for place, ref in enumerate(refs)]
    assert load("contracts", csv_of(*rows)).bad_rows == ()


def test_a_name_is_not_repeated_in_the_refusal(load: Load) -> None:
    (bad,) = load("contracts", csv_of({**CONTRACT, "student_ref": "王小明"})).bad_rows
    assert bad.value == "王**"
    assert "小明" not in str(bad)


# Twice


def test_a_lesson_twice_with_other_facts_is_refused_wherever_it_stands(
    stocked: Load, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import escrow_monitor.actions.table_files as table_files

    monkeypatch.setattr(table_files, "CELLS_AT_ONCE", 15)  # three rows at a time
    rows = [{**LESSON, "session_no": str(number)} for number in range(2, 12)]
    contradiction = {**rows[0], "status": "disputed"}
    before = rows_of(database)
    done = stocked("lessons", csv_of(*rows, contradiction, rows[1]))
    assert [(one.line, one.reason) for one in done.bad_rows] == [
        (2, "stands on line 12 as well, with other facts"), (12, "stands on line 2 as well, with other facts"),
    ]
    assert rows_of(database) == before
    skipped = stocked("lessons", csv_of(*rows, contradiction, rows[1]), skip_bad_rows=True)
    assert (skipped.new, skipped.bad) == (9, 2)
    again = stocked("lessons", csv_of(*rows[1:], *rows[1:]))
    assert (again.rows, again.changed, again.bad) == (18, 0, 0)


def test_the_same_file_twice_changes_nothing_and_a_changed_row_is_audited(
    stocked: Load, database: Database
) -> None:
    before = rows_of(database)
    for kind in ("contracts", "charges", "lessons"):
        assert stocked(kind, csv_of(FIRST[kind])).changed == 0
    assert rows_of(database) == before
    done = stocked("lessons", csv_of({**LESSON, "status": "disputed"}, {**LESSON, "session_no": "2"}))
    assert (done.new, done.updated) == (1, 1)
    with database.read() as session:
        newest = query(session, "SELECT kind, actor, canonical FROM audit_entries ORDER BY seq DESC LIMIT 1").one()
        assert audit.verify(session).whole
        assert contract_sums(session)["HT-1"].taught[:2] == (1, 1)
    payload = json.loads(newest[2])["payload"]
    assert (newest[0], newest[1]) == ("file.imported", "test")
    assert payload == {
        "kind": "lessons", "file": "lessons.csv", "sha256": done.sha256, "rows": 2, "new": 1, "updated": 1, "bad": 0,
        "updated_keys": ["HT-1/1"],
    }


def test_a_dry_run_says_what_would_change_and_changes_nothing(stocked: Load, database: Database) -> None:
    before = rows_of(database)
    rows = csv_of({**LESSON, "status": "disputed"}, {**LESSON, "session_no": "2"}, {**LESSON, "contract_no": "HT-9"})
    done = stocked("lessons", rows, dry_run=True)
    assert (done.new, done.updated, done.bad, done.kept) == (1, 1, 1, False)
    assert rows_of(database) == before


# What is wrong with the file as a whole: one sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00\x81", "neither UTF-8 nor GB18030"),
        (b"contract_no,sesion_no,status\n", "did you mean session_no?"),
        (b"contract_no,status,zzz\n", "there is no column 'zzz'; the columns are contract_no"),
        (b"contract_no,session_no\n", "the column status (消课状态) is missing".encode()),
        (b"contract_no,status,session_no,contract_no\n", "is there twice"),
        ("contract_no,status,session_no,合同编号\n".encode(), "is there twice"),
        (b'contract_no,status,session_no\nHT-1,confirmed,"1\n', "line 2"),
        (b'contract_no,status,session_no\nHT-1,con"firmed,"1"2\n', "is not CSV"),
        (b"contract_no,status,session_no" + b" " * 2_200_000, "longer than"),
        ("课程,钢琴课程初级班\n".encode() * 50 + b"\xff\n", "line 51: is UTF-8 text, but damaged"),
        (jsonl_of({"contract_no": "HT-1", "sesion_no": 1}), "did you mean session_no? (line 1)"),
        (b"PK\x03\x04 and nothing more", "damaged or encrypted archive"),
        (xlsx_of(["contract_no"], ["HT-1"]), "is missing"),
        (xlsx_of(list(LESSON), ["HT-1"], sheets={"more": "contract_no"}), "the sheets Sheet, more"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused_with_what_to_do(
    load: Load, content: bytes, words: str | bytes
) -> None:
    with pytest.raises(UsageError) as raised:
        load("lessons", content)
    sentence = str(raised.value)
    assert sentence.startswith("lessons.csv")
    assert (words.decode() if isinstance(words, bytes) else words) in sentence


def test_a_row_with_too_few_or_too_many_cells_is_a_bad_row(stocked: Load) -> None:
    text = (
        "contract_no,status,session_no\nHT-1,confirmed\nHT-1,confirmed,3,,\nHT-1,confirmed,4,5\n"
        'HT-1,"confirmed\n",5\n,,x\n'
    )
    done = stocked("lessons", text.encode())
    assert [(one.line, one.column, one.reason) for one in done.bad_rows] == [
        (2, "", "has 2 cells under 3 columns"), (4, "", "has 4 cells under 3 columns"),
        (7, "contract_no", "must not be empty"),
    ]


def test_lines_that_are_no_objects_and_values_that_are_no_texts_are_bad_rows(load: Load, database: Database) -> None:
    load("contracts", csv_of(CONTRACT))
    lines = [
        b'{"charge_no": "A", "contract_no": "HT-1", "paid_on": "2026-03-01", "amount": 3500.10}',
        b"", b"[1]", b"{oops", b'{"charge_no": "B", "contract_no": "HT-1", "paid_on": "2026-03-01", "amount": [1]}',
        b'{"charge_no": "C", "contract_no": "HT-1", "paid_on": "2026-03-01", "amount": 90071992547409.91}',
        b'{"charge_no": "D", "contract_no": "HT-1", "paid_on": "2026-03-01", "amount": 1e5}',
        b'{"charge_no": "E", "contract_no": "HT-1", "paid_on": null, "amount": 5, "channel": true}',
        b'{"charge_no": "F", "contract_no": "HT-1", "paid_on": "2026-03-01", "amount": 0.1000000000000000055}',
    ]
    done = load("charges", b"\n".join(lines), skip_bad_rows=True)
    assert [(one.line, one.column) for one in done.bad_rows] == [
        (3, ""), (4, ""), (5, "amount"), (7, "amount"), (8, "paid_on"), (9, "amount"),
    ]
    with database.read() as session:
        assert fetch(session, "SELECT charge_no, amount_fen FROM charges ORDER BY charge_no") == [
            ("A", 3500_10), ("C", 9007199254740991),
        ]


def test_a_workbook_with_formulas_and_rounded_numbers_is_refused_cell_by_cell(stocked: Load) -> None:
    header = ["charge_no", "contract_no", "paid_on", "amount", "bank_ref"]
    good = ["JF-9", "HT-1", date(2026, 3, 1), 3500.5, "20260220"]
    done = stocked("charges", xlsx_of(
        header, ["=A2", *good[1:]], [*good[:3], "=SUM(1,2)", ""], [*good[:3], 1234567.890123456, ""],
        [*good[:4], 1234567890123456789], [*good[:2], MORNING, 1, ""], [*good[:3], True, ""],
        ["JF-8", "HT-1", "2026-03-01", 3500, 20260220],
    ))
    assert [(one.line, one.column) for one in done.bad_rows] == [
        (2, "charge_no"), (3, "amount"), (4, "amount"), (5, "bank_ref"), (6, "paid_on"), (7, "amount"),
    ]
    assert done.bad_rows[1].value == "=SUM(1,2)"
    assert "formula" in done.bad_rows[1].reason
    assert "more than 15 digits" in done.bad_rows[3].reason


def test_percent_cells_of_a_workbook_are_percent(load: Load, database: Database) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append([*CONTRACT, "late_daily_rate", "penalty_pct_remaining"])
    sheet.append([*CONTRACT.values(), 0.0005, 0.2])
    sheet["H2"].number_format, sheet["I2"].number_format = "0.00%", "0%"
    out = io.BytesIO()
    book.save(out)
    assert load("contracts", out.getvalue()).bad_rows == ()
    with database.read() as session:
        (one,) = contracts(session)
    assert (str(one.late_daily_rate), one.penalty_pct_remaining) == ("1/2000", 20)


def test_a_workbook_that_unpacks_to_a_bomb_or_declares_entities_is_refused(load: Load) -> None:
    for body, words in ((b"0" * (1 << 20), "unpacks to more"), (b"<!DOCTYPE x>", "document type")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(1_025 if len(body) > 100 else 1):
                archive.writestr(f"xl/{number}.xml", body)
        with pytest.raises(UsageError, match=words):
            load("lessons", out.getvalue())


def test_of_very_many_bad_rows_the_first_hundred_are_listed(load: Load) -> None:
    done = load("lessons", b"contract_no,session_no,status\n" + b"HT-9,x,confirmed\n" * 5_000)
    assert (done.bad, len(done.bad_rows), done.bad_rows[0].line, done.bad_rows[-1].line) == (5_000, 100, 2, 101)


# Through the command


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A folder with an embedded database that knows the institution, and a file of each kind."""
    files = {"institutions": {"uscc": USCC, "name": "晨光"}, "accounts": {"account_no": ACCOUNT, "bank": "icbc"}}
    for kind, row in {**files, **FIRST}.items():
        (tmp_path / f"{kind}.csv").write_bytes(csv_of(row))
    for kind in files:
        here("import", kind, f"{kind}.csv", at=tmp_path).must(0)
    return tmp_path


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


def test_files_are_imported_shown_and_added_up_by_commands(office: Path) -> None:
    for kind in FIRST:
        said = run("--lang", "en", "import", kind, f"{kind}.csv", at=office).must(0)
        assert said.out == f"{kind}.csv: 1 rows, 0 bad, 1 new, 0 updated\n"
    shown = english(office, "contracts", "show", "HT-1", "--json").must(0).json()
    assert shown["sums"]["obligation"] == "4700.00"
    assert (shown["lessons"][0]["status"], shown["charges"][0]["amount"]) == ("confirmed", "4800.00")
    assert shown["refund_claims"][0]["amount"] == "3500.00"
    assert "owed to the family 4,700.00" in english(office, "contracts", "show", "HT-1").must(0).out
    assert "尚欠家庭 4,700.00" in here("--lang", "zh", "contracts", "show", "HT-1", at=office).must(0).out
    listed = english(office, "contracts", "list", "--institution", USCC, "--json").must(0).json()
    assert [one["contract_no"] for one in listed] == ["HT-1"]
    assert "4,700.00" in english(office, "contracts", "list").must(0).out
    english(office, "contracts", "show", "HT-9").refusal(2, "contract HT-9")


def test_a_refused_file_lists_its_rows_and_ends_with_one(office: Path) -> None:
    (office / "bad.csv").write_bytes(csv_of(CONTRACT, {**CONTRACT, "contract_no": "HT-2", "fee": "x"}))
    said = run("--lang", "en", "import", "contracts", "bad.csv", at=office).must(1)
    assert said.err == "line 3, fee 'x': is not a plain decimal amount: write it like 3500.00\n"
    assert said.out == "bad.csv: 2 rows, 1 bad, 0 new, 0 updated; nothing was kept\n"
    assert english(office, "contracts", "list", "--json").must(0).json() == []
    checked = english(office, "import", "contracts", "bad.csv", "--dry-run", "--json").must(1).json()
    assert (checked["new"], checked["kept"], checked["dry_run"], checked["bad"]) == (1, False, True, 1)
    said = english(office, "import", "contracts", "bad.csv", "--skip-bad-rows").must(1)
    assert said.out == "bad.csv: 2 rows, 1 bad, 1 new, 0 updated\n"
    assert english(office, "contracts", "list", "--json").must(0).json()[0]["contract_no"] == "HT-1"


def test_a_template_is_printed_in_either_language(office: Path) -> None:
    assert run("import", "template", "lessons", "--lang", "zh", at=office).must(0).out.startswith("合同编号,课次,")
    assert here("--lang", "en", "import", "template", "lessons", at=office).must(0).out == template("lessons", "en")
    english(office, "import", "template", "houses").refusal(2, "houses", "lessons")
    english(office, "import", "template", "lessons", "--lang", "de").refusal(2, "de", "zh or en")
    english(office, "import", "lessons", "lessons.csv", "--lang", "zh").refusal(2, "template")
    assert "退费申请编号" in english(office, "import", "--help").must(0).out


@pytest.mark.slow
def test_a_file_of_200_megabytes_takes_bounded_memory(office: Path) -> None:
    here("import", "contracts", "contracts.csv", at=office).must(0)
    with (office / "large.csv").open("w") as out:
        out.write("contract_no,session_no,taught_on,status,requested_on,decided_on\n")
        filler = " " * 80  # blanks around a cell are no part of it
        for number in range(1, 100_001):
            for twin in range(13):
                out.write(f"HT-1,{number},2026-03-01,confirmed,2026-03-01,2026-03-02{filler if twin else ''}\n")
    assert (office / "large.csv").stat().st_size > 165_000_000

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (900 * 1024 * 1024, 900 * 1024 * 1024))

    said = run("import", "lessons", "large.csv", "--json", at=office, preexec=bounded).must(0).json()
    assert (said["rows"], said["new"], said["bad"]) == (1_300_000, 100_000, 0)
    with closing(sqlite3.connect(next(office.glob("*.db")))) as connection:
        assert connection.execute("SELECT confirmed FROM contract_accounts").fetchall() == [(100_000,)]
