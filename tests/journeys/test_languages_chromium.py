"""Another language keeps the page and its query, and leaves nothing of the other behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest
from demo_house import GROUNDS, NOTE, PEOPLE, REASON, House, signed_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS = (
    "/", "/institutions?closure=any&order=uscc", "/institutions/{uscc}", "/alerts?severity=red&rule=floor",
    "/alerts/{alert}", "/cases?state=accepted", "/reconcile?q=9", "/reconcile/{uscc}", "/imports",
    "/policies", "/policies/packs/cn-510300", "/policies/effective?uscc={uscc}", "/audit?kind=round.finished",
    "/audit/entries/3", "/operations", "/silences?rule=floor", "/subscriptions?severity=orange",
    "/deliveries?state=delivered", "/nothing",
)
ENGLISH = re.compile(
    r"\b(the|of|is|are|was|were|not|and|with|for|has|have|since|until|accounts|open|outcome|scheduled|wrong|late|"
    r"answered|refused|loaded|known|claimed|delivered|none)\b"
)
CHINESE = re.compile("[一-鿿]")
GIVEN = re.compile(r"教民\d+|\S+\.db|[\w-]+\.(?:csv|sta|xml|jsonl)|\([一-鿿]+\)|《[^》]+》[^,;()]*")
"""What was imported as it is: numbers of licences, names of files, titles of the law and of its parts."""
TEXTS = """() => { const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) { const said = walk.currentNode.textContent.trim(), where = walk.currentNode.parentElement;
        if (said && !where.closest('script, style, [lang]:not(html), .code, .no, pre')) { found.push(said); } }
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
        for (const one of document.querySelectorAll(`[${name}]`)) {
            if (!one.closest('[lang]:not(html), .code, .no')) { found.push(one.getAttribute(name)); } } }
    return found }"""
"""What a page says; what is marked as being of another language, a number or a name in a file is left out."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def places(house: House) -> dict[str, str]:
    alert = next(one for one in house.said("alerts", "list", "--json").json() if one["rule"] == "floor")
    return {"alert": alert["alert_id"], "uscc": alert["labels"]["uscc"]}


def names(house: House) -> list[str]:
    """What is written in Chinese in either language: who it is, and the titles of the sources of the law."""
    institutions = house.said("institutions", "list", "--json").json()
    found = {one["name"] for one in institutions} | {display for _, display in PEOPLE.values()}
    found |= {"中文", NOTE, REASON, GROUNDS}
    found |= {one["course"] for one in house.said("contracts", "list", "--json").json() if one["course"]}
    for pack in house.said("policy", "list", "--json").json():
        shown = house.said("policy", "show", pack["id"], "--json").json()
        for clause in shown["clauses"]:
            found |= {str(text) for text in clause["source"].values() if text}
    return sorted(found, key=len, reverse=True)


def test_every_page_is_wholly_in_the_language_that_was_chosen(
    browser: Browser, house: House, places: dict[str, str]
) -> None:
    known = names(house)
    with signed_in(browser, house, "mei", viewport={"width": 1366, "height": 768}) as page:
        for path in (one.format(**places) for one in PATHS):
            page.goto(house.address + path)
            assert page.get_attribute("html", "lang") == "zh-CN", path
            assert [said for said in page.evaluate(TEXTS) if ENGLISH.search(GIVEN.sub("", said))] == [], path
            page.get_by_role("link", name="English").click()
            page.wait_for_selector("html[lang=en]")
            _same_place(page, path)
            assert [said for said in page.evaluate(TEXTS) if CHINESE.search(_without(known, said))] == [], path
            page.get_by_role("link", name="中文").click()
            page.wait_for_selector("html[lang=zh-CN]")
            _same_place(page, path)


def _same_place(page: Page, path: str) -> None:
    here, asked = urlsplit(page.url), urlsplit(path)
    assert here.path == asked.path
    assert [item for item in parse_qsl(here.query) if item[0] != "lang"] == parse_qsl(asked.query)


def _without(known: list[str], said: str) -> str:
    for name in known:
        said = said.replace(name, "")
    return GIVEN.sub("", said)
