"""A refund dispute at the command line: files in, a quote, the case to its end, and the statement on paper."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from journey_command import Said, here, run

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.money import Money
from escrow_monitor.records.contracts.cases import SeenRefund, note_seen
from escrow_monitor.records.database import Database

USCC = "91110000600037341L"
TODAY = datetime.now(UTC).astimezone(ZONE).date()
SIGNED, CLAIMED_ON = TODAY - timedelta(days=60), TODAY - timedelta(days=1)
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder whose database has a contract of 4,800.00 with 13 of 48 lessons taught, one in dispute, and a claim."""
    days = [SIGNED + timedelta(days=number) for number in range(15)]
    for kind, rows in {
        "institutions": ["uscc,name,kind,district", f"{USCC},晨光艺术培训学校,subject,110105"],
        "contracts": [
            "contract_no,uscc,student_ref,course,signed_on,starts_on,lessons_paid,fee",
            f"HT-1,{USCC},S-1,<i>钢琴</i>,{SIGNED},{SIGNED},48,4800.00",
            f"HT-2,{USCC},S-2,书法,{SIGNED},,3,1000.00",
        ],
        "charges": [
            "charge_no,contract_no,paid_on,amount", f"J-1,HT-1,{SIGNED},4800.00", f"J-2,HT-2,{SIGNED},1000.00"
        ],
        "lessons": [
            "contract_no,session_no,taught_on,status,decided_on",
            *(f"HT-1,{n},{days[n]},{'disputed' if n == 14 else 'confirmed'},{days[n]}" for n in range(1, 15)),
            f"HT-2,1,{days[1]},confirmed,{days[1]}",
        ],
        "refund-claims": [
            "claim_no,contract_no,claimed_on,amount,cause,note", f"TF-1,HT-1,{CLAIMED_ON},3500.00,consumer,搬家"
        ],
    }.items():
        file = tmp_path / f"{kind}.csv"
        file.write_text("\n".join(rows) + "\n", "utf-8")
        here("import", kind, file, at=tmp_path).must(0)
    return tmp_path


def move(desk: Path, *words: object) -> Said:
    return here("cases", "move", "TF-1", *words, "--reason", "有理由", at=desk)


def seen(desk: Path, match: str, amount: int, on: date = TODAY) -> None:
    database = Database(f"sqlite:///{next(desk.glob('*.db'))}")
    with database.write() as session:
        note_seen(session, [SeenRefund("TF-1", match, on, Money(amount * 100, "CNY"))], now=datetime.now(UTC))
    database.close()


def test_a_dispute_from_its_claim_to_the_money_in_the_bank(desk: Path) -> None:
    (listed,) = here("cases", "list", "--json", at=desk).must(0).json()
    assert (listed["case_no"], listed["state"], listed["claimed"], listed["due"]) == (
        "TF-1", "claimed", "3500.00", "3400.00"
    )
    assert "3,400.00" in here("cases", "list", at=desk).must(0).out
    move(desk, "gather", "--by", "li").must(0)
    (desk / "合同.pdf").write_bytes(b"%PDF-1.4 scan")
    paper = here("cases", "attach", "TF-1", desk / "合同.pdf", "--note", "合同原件", "--json", at=desk).must(0).json()
    assert (paper["media_type"], paper["size"], paper["filename"]) == ("application/pdf", 13, "合同.pdf")
    here("cases", "note", "TF-1", "已电话联系家长", "--by", "li", at=desk).must(0)
    move(desk, "quote", "--by", "li").must(0)
    move(desk, "contest", "--by", "li").refusal(2, "TF-1", "institution or family")
    move(desk, "contest", "--role", "institution", "--amount", "3000", "--by", "li").must(0)
    move(desk, "order", "--by", "li").must(0)
    seen(desk, "m1", 3000)
    move(desk, "propose", "--amount", "3450.00", "--by", "li").must(0)
    move(desk, "confirm", "--by", "Li").refusal(2, "TF-1", "cli:li", "somebody else")
    here(
        "--lang", "zh", "cases", "move", "TF-1", "confirm", "--by", "li", "--reason", "同意", at=desk
    ).refusal(2, "须由另一人复核")
    move(desk, "confirm", "--by", "wang").must(0)
    move(desk, "close", "--by", "li").refusal(2, "450.00 CNY", "not seen in the bank")
    move(desk, "order", "--by", "li").must(0)
    seen(desk, "m2", 450)
    move(desk, "close", "--by", "li").must(0)
    assert here("cases", "list", "--json", at=desk).must(0).json() == []
    found = here("cases", "show", "TF-1", "--json", at=desk).must(0).json()
    assert (found["state"], found["agreed"], found["paid"], found["outstanding"]) == (
        "closed", "3450.00", "3450.00", "0.00"
    )
    assert [one["move"] for one in found["moves"]] == [
        "open", "gather", "quote", "contest", "order", "see_part", "propose", "confirm", "order", "see", "close"
    ]
    for language, word in (("zh", "已结案"), ("en", "closed")):
        told = here("--lang", language, "cases", "show", "TF-1", at=desk).must(0).out
        for part in (word, "3,450.00", "已电话联系家长", "合同.pdf", "cli:wang"):
            assert part in told
    shown = here("contracts", "show", "HT-1", "--json", at=desk).must(0).json()
    assert sum(int(one["amount"].replace(".", "")) for one in shown["refunds"]) == 3450_00
    here("audit", "verify", at=desk).must(0)


def test_what_cannot_be_done_says_so_in_one_sentence(desk: Path) -> None:
    for words, part in (
        (("cases", "show", "TF-9"), "TF-9"), (("cases", "list", "--state", "lost"), "lost"),
        (("cases", "note", "TF-1", " "), "note"), (("cases", "note", "TF-9", "x"), "TF-9"),
        (("cases", "attach", "TF-1", desk / "nothing.pdf"), "nothing.pdf"),
        (("cases", "move", "TF-1", "fly", "--reason", "x"), "fly"),
        (("cases", "move", "TF-1", "see", "--reason", "x", "--role", "system"), "system"),
        (("cases", "move", "TF-1", "see", "--amount", "1", "--reason", "x", "--role", "staff"), "see"),
        (("cases", "move", "TF-1", "settle", "--amount", "1e3", "--reason", "x"), "1e3"),
        (("cases", "move", "TF-1", "gather", "--reason", "x", "--by", " "), "name"),
        (("refunds", "quote"), "--all"), (("refunds", "quote", "HT-1", "--all"), "--all"),
        (("refunds", "quote", "HT-9"), "HT-9"), (("refunds", "quote", "HT-1", "--cause", "rain"), "rain"),
        (("refunds", "quote", "HT-1", "--on", "soon"), "soon"),
        (("refunds", "quote", "HT-2", "--claim", "TF-1"), "TF-1"),
        (("refunds", "quote", "HT-1", "--claim", "TF-1", "--on", SIGNED), "TF-1"),
        (("refunds", "statement", "HT-1", "--out", "s.html", "--lang", "fr"), "fr"),
    ):
        here(*words, at=desk).refusal(2, part)
    (desk / "empty.pdf").write_bytes(b"")
    here("cases", "attach", "TF-1", desk / "empty.pdf", at=desk).refusal(2, "empty")


def test_a_quote_has_every_line_of_the_sum(desk: Path) -> None:
    found = here("refunds", "quote", "HT-1", "--json", at=desk).must(0).json()
    assert set(found) >= {
        "contract_no", "on", "cause", "ground", "currency", "paid", "entitled", "materials_kept", "already_refunded",
        "refund", "penalty", "due_on", "lines", "alternatives",
    }
    assert (found["refund"], found["entitled"], found["ground"], found["on"]) == (
        "3400.00", "1300.00", "pro_rata", TODAY.isoformat()
    )
    assert sum(int(line["amount"].replace(".", "")) for line in found["lines"]) == 3400_00
    by_claim = here("refunds", "quote", "HT-1", "--claim", "TF-1", "--json", at=desk).must(0).json()
    assert (by_claim["claimed_on"], by_claim["cause"]) == (CLAIMED_ON.isoformat(), "consumer")
    for language, words in (("zh", ("应退", "-1,300.00", "13 ÷ 48")), ("en", ("refund", "-1,300.00", "13 / 48"))):
        told = here("--lang", language, "refunds", "quote", "HT-1", at=desk).must(0).out
        assert all(word in told for word in words)


def test_all_contracts_are_quoted_one_a_line(desk: Path) -> None:
    lines = here("refunds", "quote", "--all", "--on", TODAY, "--cause", "force_majeure", at=desk).must(0).json_lines()
    assert [(one["contract_no"], one["refund"], one["ground"]) for one in lines] == [
        ("HT-1", "3400.00", "force_majeure"), ("HT-2", "666.67", "force_majeure")
    ]
    for each in lines:
        single = here(
            "refunds", "quote", each["contract_no"], "--on", TODAY, "--cause", "force_majeure", "--json", at=desk
        ).must(0).json()
        assert single == each
    assert here("refunds", "quote", "--all", "--institution", "x", at=desk).must(0).out == ""
    seen(desk, "m1", 9000)
    told = here("refunds", "quote", "--all", at=desk).must(1).json_lines()
    assert [one.get("impossible") for one in told] == ["refund_larger_than_paid", None]
    here("refunds", "quote", "HT-1", at=desk).refusal(1, "HT-1", "9000.00")
    assert here("refunds", "quote", "HT-1", "--json", at=desk).must(1).json()["impossible"]
    here("refunds", "statement", "HT-1", "--out", "s.html", at=desk).refusal(1, "HT-1", "9000.00")


def test_the_statement_is_one_file_that_needs_nothing_else(desk: Path) -> None:
    pages = {}
    for language, title in (("zh", "退费计算书"), ("en", "Refund statement")):
        here("refunds", "statement", "HT-1", "--claim", "TF-1", "--out", "s.html", "--lang", language, at=desk).must(0)
        page = pages[language] = (desk / "s.html").read_text("utf-8")
        for part in (title, "3,400.00", "晨光艺术培训学校", "TF-1", "size: A4", "&lt;i&gt;钢琴&lt;/i&gt;"):
            assert part in page
        assert "http" not in page
        assert "<script" not in page
    # The sum is the same whatever the language, and so is its digest.
    digests = {page.partition('class="digest">')[2].partition("</p>")[0].split()[-1] for page in pages.values()}
    assert [len(one) for one in digests] == [64]


def test_without_a_browser_the_statement_says_what_to_do(desk: Path) -> None:
    (desk / "bin").mkdir()
    run(
        "refunds", "statement", "HT-1", "--out", "s.pdf", at=desk, env={"PATH": str(desk / "bin")}
    ).refusal(2, "Chromium", "--browser", "HTML")
    here("refunds", "statement", "HT-1", "--out", "s.pdf", "--browser", "/nowhere/chromium", at=desk).refusal(
        2, "/nowhere/chromium"
    )
    broken = desk / "bin" / "broken"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    broken.chmod(0o755)
    here("refunds", "statement", "HT-1", "--pdf", "--out", "s", "--browser", broken, at=desk).refusal(
        3, "exit 3", "no display"
    )
    assert not (desk / "s.pdf").exists()


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_the_statement_is_printed_on_a4(desk: Path) -> None:
    here("refunds", "statement", "HT-1", "--claim", "TF-1", "--out", "s.pdf", "--lang", "zh", at=desk).must(0)
    printed = (desk / "s.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    # 210 by 297 millimetres in points, as the browser rounds them.
    assert b"/MediaBox [0 0 594.95996 841.91998]" in printed or b"/MediaBox [0 0 595" in printed
    assert not [one for one in os.listdir(desk) if "profile" in one]


def test_what_is_listed_is_json_with_instants_and_days(desk: Path) -> None:
    (listed,) = json.loads(here("cases", "list", "--json", at=desk).must(0).out)
    assert datetime.fromisoformat(listed["opened_at"]).tzinfo is not None
    assert date.fromisoformat(listed["claimed_on"]) == CLAIMED_ON


def test_what_the_institution_said_is_recorded_as_said_by_it_and_moves_nothing(desk: Path) -> None:
    here("cases", "note", "TF-1", "给机构看的话", "--shown", "--by", "li", at=desk).must(0)
    here("cases", "note", "TF-1", "机构来电", "--role", "institution", "--by", "li", at=desk).must(0)
    here("cases", "note", "TF-1", "内部的话", "--by", "li", at=desk).must(0)
    (desk / "a.pdf").write_bytes(b"%PDF")
    here("cases", "attach", "TF-1", desk / "a.pdf", "--shown", at=desk).must(0)
    said = ("cases", "said-paid", "TF-1", "--amount", "3400.00", "--reference", "LS-7", "--by", "li")
    told = here(*said, "--on", TODAY, "--json", at=desk).must(0).json()
    assert (told["said_no"], told["amount"], told["amount_fen"], told["bank_ref"]) == (1, "3400.00", 340000, "LS-7")
    found = here("cases", "show", "TF-1", "--json", at=desk).must(0).json()
    assert [(one["role"], one["audience"]) for one in found["notes"]] == [
        ("staff", "institution"), ("institution", "institution"), ("staff", "supervisors")
    ]
    assert found["evidence"][0]["audience"] == "institution"
    assert (found["state"], found["paid"], len(found["said_payments"])) == ("claimed", "0.00", 1)
    for language, words in (
        ("zh", ("机构自称", "到账以银行流水为准", "机构 cli:li: 机构来电")),
        ("en", ("says it paid 3,400.00", "once the bank shows it", "the institution cli:li: 机构来电")),
    ):
        shown = here("--lang", language, "cases", "show", "TF-1", at=desk).must(0).out
        for word in words:
            assert word in shown, word
    for words, why in (
        (("--on", "soon"), "2026-11-20"), (("--on", TODAY + timedelta(days=9)), "still to come"),
    ):
        here(*said, *words, at=desk).refusal(2, why)
    here("cases", "note", "TF-1", "x", "--role", "system", at=desk).refusal(2, "staff, institution or family")
    here("cases", "said-paid", "TF-9", "--amount", "1", "--reference", "x", "--on", TODAY, at=desk).refusal(2, "TF-9")
