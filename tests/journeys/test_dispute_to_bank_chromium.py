"""A dispute in a real browser from its claim to the bank: answered, ruled by two people, ordered, and seen paid."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journey_browser import served, visitor

from escrow_monitor.clock import ZONE
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.statement_file import load_file
from tests.web.schools_world import Schools

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow
CASE = "TQ-0-3"


@pytest.fixture
def schools(sqlite_template: Path, tmp_path: Path) -> Iterator[Schools]:
    shutil.copy(sqlite_template, tmp_path / "schools.db")
    database = Database(f"sqlite:///{tmp_path}/schools.db")
    yield Schools(database, tmp_path)
    database.close()


@contextmanager
def desk(browser: Browser, address: str, schools: Schools, who: str, lang: str = "zh") -> Iterator[Page]:
    """The page of a case of somebody who has signed in."""
    with visitor(browser, address, schools.tokens[who], lang=lang) as page:
        page.goto(f"{address}/cases/{CASE}")
        yield page


def make(page: Page, move: str, **fields: str) -> None:
    """Make a move by its form."""
    page.locator(f"details.move:has(input[value={move}]) summary").click()
    form = page.locator(f"form:has(input[name=move][value={move}])")
    for name, value in fields.items():
        form.locator(f"[name={name}]").fill(value)
    form.locator("button").click()


def amounts(page: Page) -> dict[str, str]:
    """The amounts of the case as the page says them."""
    rows = page.locator("section:has(#money) dl.rows > div")
    return dict(rows.evaluate_all(
        "all => all.map(one => [one.querySelector('dt').innerText, one.querySelector('dd').innerText])"
    ))


def test_a_dispute_from_its_claim_until_the_bank_shows_the_money(
    browser: Browser, schools: Schools, tmp_path: Path
) -> None:
    with served(schools.app) as address:
        _answered_and_ruled(browser, address, schools)
        with desk(browser, address, schools, "school-0") as page:
            # That it says it paid moves nothing.
            page.get_by_text("说明已经付款").first.click()
            for field, value in (("amount", "500"), ("day", "2025-02-28"), ("reference", "LS-1")):
                page.fill(f"#said-{field}", value)
            page.get_by_role("button", name="说明已经付款").click()
            page.get_by_role("status").get_by_text("您的付款说明已保存").wait_for()
            assert (amounts(page)["银行已见"], amounts(page)["尚待到账"]) == ("0.00 元", "500.00 元")
    assert schools.case(CASE).case.state.value == "ordered"

    # The bank's statement of the next day comes: the money went out.
    schools.a_day_later()
    loaded = load_file(
        schools.database, content=schools.pays_out(0, 500_00, bank_ref=CASE, text=f"退费 {CASE}"),
        filename="refund.xml", source="test", zone=ZONE, now=schools.world.now,
    )
    assert (loaded.loaded, loaded.entries) == (True, 1), loaded.refusals
    assert schools.case(CASE).case.paid.minor_units == 0

    with served(schools.app) as address:
        with desk(browser, address, schools, "li") as page:
            # It is there and matched to nothing: until it is, nobody can say that it is paid.
            assert amounts(page)["银行已见"] == "0.00 元"
            page.goto(f"{address}/reconcile")
            page.fill("#institution", schools.institutions[0].uscc)
            page.get_by_role("button", name="开始对账").click()
            page.get_by_role("heading", name="对账结果").wait_for(timeout=30_000)
            page.goto(f"{address}/cases/{CASE}")
            page.get_by_text("银行已见全部退款").first.wait_for()
            assert (amounts(page)["银行已见"], amounts(page)["尚待到账"]) == ("500.00 元", "0.00 元")
            assert "银行流水 2025-03-01 已匹配" in page.inner_text("main")
            make(page, "close", reason="已退清")
            page.get_by_role("status").get_by_text("已记录").wait_for()
        with desk(browser, address, schools, "school-0", "en") as page:
            assert amounts(page)["Seen in the bank"] == "¥500.00"
            assert "seen in the bank on 2025-03-01" in page.inner_text("main")
            assert page.locator("form input[name=move]").count() == 0
    assert schools.moves(CASE) == ["open", "quote", "contest", "propose", "confirm", "order", "see", "close"]


def _answered_and_ruled(browser: Browser, address: str, schools: Schools) -> None:
    with desk(browser, address, schools, "li") as page:
        make(page, "quote", reason="材料齐全")
        page.get_by_role("status").get_by_text("已记录").wait_for()
    with desk(browser, address, schools, "school-0") as page:
        make(page, "contest", amount="200", reason="其余课时已上")
        page.get_by_role("status").get_by_text("已记录").wait_for()
    with desk(browser, address, schools, "wang") as page:
        make(page, "propose", amount="500", reason="按签到记录")
        page.locator("#own-ruling").wait_for()
        assert page.locator("form:has(input[value=confirm])").count() == 0
        # Their own confirmation is not offered; sent all the same, it is refused.
        page.evaluate("""() => {
            const form = document.querySelector("form:has(input[name=move][value=propose])");
            form.querySelector("[name=move]").value = "confirm";
            form.querySelector("[name=amount]").remove();
            form.querySelector("[name=reason]").value = "本人复核";
            form.submit();
        }""")
        page.locator(".wrong").wait_for()
        assert "不能由您复核" in page.locator(".wrong").inner_text()
    with desk(browser, address, schools, "school-0") as page:
        # Nor is a ruling that nobody confirmed told to the school.
        assert "500.00" not in page.inner_text("main")
        assert "按签到记录" not in page.inner_text("main")
    with desk(browser, address, schools, "zhou", "en") as page:
        make(page, "confirm", reason="checked")
        page.get_by_role("status").get_by_text("ruling confirmed").wait_for()
        make(page, "order", reason="to be paid")
        page.get_by_role("status").get_by_text("refund ordered").wait_for()
