"""An institution's person in a real browser: signs in, sees only its own, answers its case, and finds no other's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journey_browser import served, visitor

from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.database import Database
from tests.web.schools_world import PASSWORD, Schools

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
WORDS = {
    "zh": {
        "sign_in": "登录", "missing": "没有这个案件", "no_school": "没有", "contest": "提出异议", "said": "已记录",
        "paid": "说明已经付款", "paid_done": "您的付款说明已保存", "by": "机构所述", "your": "您的答复",
        "note": "保存备注", "upload": "上传", "kept": "材料已保存", "noted": "备注已保存", "proves": "不作为到账依据",
    },
    "en": {
        "sign_in": "Sign in", "missing": "There is no such case", "no_school": "no", "contest": "Contest the claim",
        "said": "Recorded", "paid": "Say that it is paid", "paid_done": "What you said of the payment is kept",
        "by": "said by the institution", "your": "Your answer", "note": "Keep the note", "upload": "Upload",
        "kept": "The document is kept", "noted": "The note is kept", "proves": "proves nothing",
    },
}


@pytest.fixture(scope="module")
def schools(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schools]:
    folder = tmp_path_factory.mktemp("schools")
    shutil.copy(sqlite_template, folder / "schools.db")
    database = Database(f"sqlite:///{folder}/schools.db")
    yield Schools(database, folder)
    database.close()


@pytest.fixture(scope="module")
def address(schools: Schools) -> Iterator[str]:
    with served(schools.app) as url:
        yield url


@pytest.mark.parametrize(("lang", "number", "width"), [("zh", 0, 1366), ("en", 1, 390)])
def test_an_institution_answers_its_own_case_and_finds_no_other(
    browser: Browser, address: str, schools: Schools, tmp_path: Path, lang: str, number: int, width: int
) -> None:
    words, other = WORDS[lang], 1 - number
    case, theirs = f"TQ-{number}-2", f"TQ-{other}-2"
    own_school, other_school = schools.institutions[number], schools.institutions[other]
    paper = tmp_path / "签到表.pdf"
    paper.write_bytes(b"%PDF-1.4 \r\n\x00\xff")

    def unseen(page: Page) -> None:
        html = page.content()
        for mark in (other_school.name, other_school.uscc, schools.accounts[other].account_no, schools.place(other)):
            assert mark not in html, (page.url, mark)

    with visitor(browser, address, lang=lang, viewport={"width": width, "height": 800}) as page:
        page.goto(f"{address}/cases")
        page.fill("#name", f"school-{number}")
        page.fill("#password", PASSWORD)
        page.locator("form:has(#password) button").click()
        page.get_by_role("link", name=case, exact=True).wait_for()
        unseen(page)
        assert page.get_by_role("link", name=f"TQ-{other}-1", exact=True).count() == 0
        for path in ("/", "/institutions", "/alerts", "/reconcile", f"/institutions/{own_school.uscc}"):
            page.goto(address + path)
            assert own_school.name in page.inner_text("body") or path == "/alerts", path
            unseen(page)

        # its answer
        page.goto(f"{address}/cases/{case}")
        page.get_by_role("heading", name=words["your"]).wait_for()
        assert page.locator("form input[name=move]").evaluate_all("all => all.map(one => one.value)") == [
            "accept", "contest"
        ]
        page.locator("details.move:has(input[value=contest]) summary").click()
        page.fill("#amount-contest", "200")
        page.fill("#reason-contest", "孩子已上课，有签到")
        page.get_by_role("button", name=words["contest"]).click()
        page.get_by_role("status").get_by_text(words["said"]).wait_for()
        assert schools.moves(case) == ["open", "contest"]
        assert schools.case(case).case.agreed.text == "200.00"

        # what it says it paid, which proves nothing
        page.get_by_text(words["paid"]).first.click()
        page.fill("#said-amount", "200")
        page.fill("#said-day", "2025-02-28")
        page.fill("#said-reference", "LS-20250228-9")
        page.get_by_role("button", name=words["paid"]).click()
        page.get_by_role("status").get_by_text(words["paid_done"]).wait_for()
        assert words["proves"] in page.inner_text("main")
        assert schools.case(case).case.paid.minor_units == 0

        # a note and a document
        page.fill("#text", "随时可以来校核对")
        page.get_by_role("button", name=words["note"]).click()
        page.get_by_role("status").get_by_text(words["noted"]).wait_for()
        page.set_input_files("#file", paper)
        page.get_by_role("button", name=words["upload"]).click()
        page.get_by_role("status").get_by_text(words["kept"]).wait_for()
        assert page.get_by_text(words["by"], exact=True).count() >= 3
        with page.expect_download() as download:
            page.get_by_role("link", name="签到表.pdf").click()
        assert download.value.path().read_bytes() == paper.read_bytes()
        page.screenshot(path=tmp_path / f"answered-{lang}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        # another's, by whatever address
        for path, status in (
            (f"/cases/{theirs}", 404), (f"/cases/{theirs}/evidence/2", 404), ("/cases/TQ-9-9", 404),
            (f"/institutions/{other_school.uscc}", 404), (f"/institutions/{other_school.uscc}/chart.json", 404),
            (f"/reconcile/{other_school.uscc}", 404), (f"/reconcile/runs/RQ{other}", 404),
            (f"/reconcile/{other_school.uscc}/{schools.recon_no(other)}", 404),
            (f"/reconcile/{own_school.uscc}/{schools.recon_no(other)}", 404),
            (f"/alerts/{schools.alerts[other]}", 404), (f"/api/v1/cases/{theirs}", 404),
            (f"/api/v1/contracts/{schools.case(theirs).case.contract_no}/refund-statement?claim={theirs}", 404),
            (f"/api/v1/contracts/{schools.case(case).case.contract_no}/refund-statement?claim={theirs}", 404),
        ):
            found = page.goto(address + path)
            assert found is not None
            assert found.status == status, path
            html = page.content()
            asked = {other_school.uscc} if other_school.uscc in path else set()
            for mark in {other_school.name, other_school.uscc, schools.accounts[other].account_no} - asked:
                assert mark not in html, (path, mark)
        page.goto(f"{address}/cases/{theirs}")
        page.get_by_role("heading", name=words["missing"]).wait_for()
        told = page.inner_text("main")
        page.goto(f"{address}/cases/TQ-9-9")
        assert page.inner_text("main").replace("TQ-9-9", "*") == told.replace(theirs, "*")
        for query in (f"?uscc={other_school.uscc}", f"?q={theirs}", f"?q={other_school.name}"):
            page.goto(f"{address}/cases{query}")
            assert page.locator("a.no").count() == 0, query

    with schools.database.read() as session:
        [note] = [one for one in case_book.case_notes(session, case) if one.actor == f"user:school-{number}"]
        [kept] = [one for one in case_book.case_evidence(session, case) if one.actor == f"user:school-{number}"]
    assert (note.role.value, note.audience.value, kept.role.value) == ("institution", "institution", "institution")
    assert schools.moves(theirs)[-1] in ("open", "contest")


def test_what_supervisors_keep_to_themselves_is_not_in_the_page(
    browser: Browser, address: str, schools: Schools
) -> None:
    with visitor(browser, address) as page:
        page.goto(f"{address}/cases/TQ-0-1")
        page.fill("#name", "school-0")
        page.fill("#password", PASSWORD)
        page.locator("form:has(#password) button").click()
        page.get_by_role("heading", name="退费案件 TQ-0-1").wait_for()
        html = page.content()
        assert "备注0给institution" in html
        assert "材料0institution.pdf" in html
        for mark in ("备注0给supervisors", "材料0supervisors.pdf", "cli:li"):
            assert mark not in html
        found = page.request.get(f"{address}/cases/TQ-0-1/evidence/1")
        assert found.status == 404
