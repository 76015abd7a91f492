"""A day of the staff in a real browser: reconciling with progress, and what nobody decides alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo_house import GROUNDS, REASON, House, signed_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WATCHED = """() => { window.seen = []; new MutationObserver(() => {
    const bar = document.querySelector('#run progress'), state = document.querySelector('#run [role=status]');
    if (bar && state) { window.seen.push(state.innerText); }
}).observe(document, { childList: true, subtree: true }) }"""
PACK = """id = "local-999999"
title = "示范区本地设置"
title_en = "A model district, local setting"
jurisdiction = "999999"

[[clause]]
id = "local-999999/fixed"
kind = "fixed"
title = "固定最低余额 30000 元"
title_en = "a fixed floor of 30000 yuan"
effective_from = 2020-01-01
verified = false
amount = "30000.00"
[clause.source]
title = "示范区教育局通知"
found = "NF"
"""
"""For a district that no institution of the demo is in: what others find stays as it was."""
pytestmark = pytest.mark.slow


def test_a_reconciliation_shows_how_far_it_is_and_ends_in_its_bridge(browser: Browser, house: House) -> None:
    uscc = next(
        one["uscc"] for one in house.said("institutions", "list", "--json").json() if "105" in one["name"]
    )
    with signed_in(browser, house, "li", "en") as page:
        page.add_init_script(f"({WATCHED})()")
        page.goto(f"{house.address}/reconcile")
        page.fill("#institution", uscc)
        page.get_by_role("button", name="Start", exact=True).click()
        page.locator("table.bridge").wait_for(timeout=60_000)
        assert "/reconcile/runs/" in page.url
        assert page.evaluate("window.seen.length") > 0, "it was over before anybody saw it"
        shown = [one.inner_text().strip() for one in page.locator("table.bridge tr.sum td").all()]
        unexplained = page.locator("table.bridge tr").last.inner_text()
        assert "0.00" in unexplained
    # The terminal tells the same bridge.
    told = house.said("reconcile", "--institution", uscc, "--json").json()
    told = told["reconciliations"][0]
    assert [one.replace(",", "") for one in shown] == [told["required"], told["bank"]]
    assert told["residual"] == "0.00"


def test_nobody_silences_red_alone(browser: Browser, house: House) -> None:
    with signed_in(browser, house, "chen", "zh") as page:
        page.goto(f"{house.address}/silences")
        page.locator("#m-rule").select_option("floor")
        page.get_by_label("银行").fill("yandu")
        page.fill("#reason", REASON)
        page.locator("input[name=red]").check()
        page.locator("button[value=preview]").click()
        page.locator("#preview").wait_for()
        page.locator("button[value=make]").click()
        mine = page.locator(".ticket", has_text=REASON)
        mine.wait_for()
        assert mine.locator("form[action$='/confirm']").count() == 0
        assert "须由另一位有复核权限的人员确认" in mine.inner_text()
        silence_id = str(mine.get_attribute("id")).removeprefix("silence-")
        # Whoever sends the form all the same is refused.
        sent = page.evaluate("""async id => { const body = new URLSearchParams(new FormData(
            document.querySelector(`form[action$='${id}/end']`))); const answer = await fetch(
            `/silences/${id}/confirm`, { method: 'POST', body, credentials: 'same-origin' });
            return [answer.status, await answer.text()] }""", silence_id)
        assert sent[0] in (403, 409, 422)
    kept = next(one for one in house.said("silences", "list", "--json").json() if one["silence_id"] == silence_id)
    assert not kept["confirmed_by"]
    with signed_in(browser, house, "wu", "zh") as page:
        page.goto(f"{house.address}/silences")
        page.locator(f"#silence-{silence_id} form[action$='/confirm'] button").click()
        page.locator(".notice.done").wait_for()
        assert "wu" in page.locator(f"#silence-{silence_id}").inner_text() or "吴" in page.inner_text("main")
    kept = next(one for one in house.said("silences", "list", "--json").json() if one["silence_id"] == silence_id)
    assert kept["confirmed_by"].endswith("wu")


def test_nobody_changes_the_law_alone(browser: Browser, house: House) -> None:
    with signed_in(browser, house, "chen", "en") as page:
        page.goto(f"{house.address}/policies")
        page.set_input_files("#pack-file", {
            "name": "local-999999.toml", "mimeType": "application/toml", "buffer": PACK.encode(),
        })
        page.fill("#note", GROUNDS)
        page.get_by_role("button", name="Propose", exact=False).click()
        page.get_by_text("You proposed this").wait_for()
        change = page.url.partition("?")[0]
        page.locator("#work dl.figures").wait_for(timeout=30_000)
        assert page.get_by_role("button", name="Confirm and write it").count() == 0
        # Whoever sends the form all the same is refused.
        sent = page.evaluate("""async url => { const body = new URLSearchParams(new FormData(
            document.querySelector("form[action$='/accept']"))); const answer = await fetch(
            url + '/accept?lang=en', { method: 'POST', body, credentials: 'same-origin' });
            return [answer.status, await answer.text()] }""", change)
        assert sent[0] == 409
        assert "whoever proposed it cannot confirm it" in sent[1]
    folder = house.folder / "policies"
    assert list(folder.iterdir()) == []
    with signed_in(browser, house, "wu", "en") as page:
        page.goto(change)
        page.get_by_role("button", name="Confirm and write it").click()
        page.locator(".notice.done").wait_for()
    assert (folder / "local-999999.toml").read_text("utf-8") == PACK
    assert "local-999999" in house.said("policy", "list").must(0).out
