"""A regulator's morning in a real browser: whom to call within the first screen, and what happens while it is open."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from demo_house import EXACT, NOTE, House, signed_in
from journey_browser import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

FIRST_SCREEN = {"width": 1366, "height": 768}
SPENDER, SECOND_SPENDER = "6219069683128311686", "6219061336554511034"
"""Two accounts of the demo that hold their floor, of a bank that sends statements."""
TOLD = f"((where, said) => [...document.querySelectorAll(where)].some(node => ({EXACT})(node).endsWith(said)))"
pytestmark = pytest.mark.slow


def ends_at(found: Locator) -> float:
    box = found.bounding_box()
    assert box is not None
    return box["y"] + box["height"]


def alert_of(house: House, account_no: str, rule: str = "floor") -> dict[str, Any]:
    alerts = house.said("alerts", "list", "--json").must(1).json()
    return next(one for one in alerts if one["rule"] == rule and account_no in one["subject"])


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_first_screen_says_whom_to_call_and_why(browser: Browser, house: House, lang: str) -> None:
    with signed_in(browser, house, "chen", lang, viewport=FIRST_SCREEN) as page:
        glance = page.locator(".glance li")
        assert glance.count() == 3
        money, banks, controls = glance.all_inner_texts()
        assert re.search(r"\d+\.\d+ 万元|¥\d", money), money
        assert "nanhu" in banks
        assert "haitang" in banks
        assert ("发送预警" if lang == "zh" else "deliver") in controls
        assert ends_at(glance.last) < FIRST_SCREEN["height"]
        calls = page.locator(".calls li")
        seen = [one for one in calls.all() if ends_at(one.locator(".why")) <= FIRST_SCREEN["height"]]
        assert len(seen) >= 3
        for one in seen:
            reason = one.locator(".why").inner_text()
            assert len(reason) > 20
            told = reason.split("(")[0] if lang == "en" else reason  # a source keeps its title
            assert (re.search("[一-鿿]{4}", told) is not None) == (lang == "zh"), reason
        name, reason = calls.first.locator("strong a").inner_text(), calls.first.locator(".why").evaluate(EXACT)
        calls.first.locator("strong a").click()
        page.wait_for_selector("#chart-title, #coverage")
        assert page.locator("main h1").inner_text() == name
        assert reason in [one.evaluate(EXACT) for one in page.locator("main p").all()]
        told = house.said("alerts", "list", "--json").must(1).json()
        assert reason in [one["why" if lang == "zh" else "why_en"] for one in told]
        page.go_back()
        page.locator(".glance a").nth(1).click()
        assert page.url.endswith("#banks")


def test_a_breach_appears_on_the_open_page_and_after_the_stream_was_cut(browser: Browser, house: House) -> None:
    with signed_in(browser, house, "chen", "en", viewport=FIRST_SCREEN) as page:
        page.wait_for_selector("#live.up")
        page.evaluate("window.stays = true")
        house.spends(SPENDER, "100.00")
        house.said("round", "check-balances").must(1)
        _appears(page, house, SPENDER)
        house.stop()
        page.wait_for_selector("#live.down")
        house.spends(SECOND_SPENDER, "10.00")
        house.said("round", "check-balances").must(1)
        assert not page.evaluate(f"{TOLD}('.feed .what', {json.dumps(alert_of(house, SECOND_SPENDER)['why_en'])})")
        house.start()
        _appears(page, house, SECOND_SPENDER)
        page.wait_for_selector("#live.up")


def _appears(page: Page, house: House, account_no: str) -> None:
    alert = alert_of(house, account_no)
    assert alert["severity"] == "red"
    until(page, f"{TOLD}('.feed .what', {json.dumps(alert['why_en'])})")
    assert page.evaluate("window.stays") is True


def test_what_was_acknowledged_calls_again_when_its_time_has_run_out(browser: Browser, house: House) -> None:
    with signed_in(browser, house, "li", "zh") as page:
        call = page.locator(".calls li").first
        alert_id = str(call.get_attribute("id")).removeprefix("alert-")
        call.locator("small a").click()
        page.locator("details.move:has(input[value=acknowledge]) summary").click()
        form = page.locator("form:has(input[name=act][value=acknowledge])")
        form.locator("[name=note]").fill(NOTE)
        form.locator("[name=for]").select_option("4h")
        form.get_by_role("button").click()
        page.locator(".notice.done").wait_for()
        page.goto(house.address + "/")
        page.wait_for_selector("#live.up")
        call = page.locator(f"#alert-{alert_id}")
        assert call.count() == 0 or "李 已确认" in call.inner_text()  # others are called first now
        published = house.said("alerts", "show", alert_id, "--json").must(0).json()
        assert published[-1]["_escrow"]["transition"] == "acknowledged"
        page.evaluate("window.stays = true")
        later = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
        house.said("round", "watch-rounds", "--at", later)
        page.locator(f"#alert-{alert_id}:not(:has-text('已确认'))").wait_for(timeout=30_000)
        assert page.evaluate("window.stays") is True
        published = house.said("alerts", "show", alert_id, "--json").must(0).json()
        assert published[-1]["_escrow"]["transition"] == "resumed"
        house.said("round", "deliver-alerts", "--at", later)
        page.goto(f"{house.address}/alerts/{alert_id}")
        assert "恢复提醒" in page.locator(".happened").first.inner_text()
        assert house.said("audit", "verify").must(0)
