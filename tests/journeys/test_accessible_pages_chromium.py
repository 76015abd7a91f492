"""Every page of the console for everybody: held against WCAG 2.2 AA by axe, on a desk and a phone, light and dark."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from journey_browser import axe_script, served
from people_world import Filled

from escrow_monitor.records.database import Database
from escrow_monitor.web.console.assets import STATIC, asset_bytes
from escrow_monitor.web.guard import COOKIE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXTS = ("晨光艺术培训学校 Chenguang Art School", "远航英语")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
DESK, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
FIRST_LOAD_BYTES_MAX = 1_500_000
STYLE_BYTES_MIN = 40_000
RUN = """async (tags) => {
  const found = await axe.run(document, { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] });
  return found.violations.map((one) => one.id + ": " + one.nodes.slice(0, 4).map((node) => node.html.slice(0, 160)
    + " (" + node.failureSummary.slice(0, 240) + ")").join(" | "));
}"""
NEWER = {
    "a logical assignment, of 2021": r"(\|\||&&|\?\?)=", "replaceAll, of 2021": r"\.replaceAll\(",
    "a numeric separator, of 2021": r"\b\d+_\d", "replaceChildren, of late 2020": r"\.replaceChildren\(",
    ".at(), of 2022": r"\.at\(-?\d", "a private field, of 2022": r"\bthis\.#", "a private method": r"^\s*#\w+\(",
    "structuredClone, of 2022": r"\bstructuredClone\b", "a module": r"^\s*(import|export)\b",
    "lookbehind, of 2023 in Safari": r"\(\?<[=!]",
}
"""What is newer than ES2020, the newest that a vendored library asks for (htmx 2 has one `??`): browsers of 2020."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    folder = tmp_path_factory.mktemp("filled")
    shutil.copy(sqlite_template, folder / "filled.db")
    database = Database(f"sqlite:///{folder}/filled.db")
    found = Filled(database, folder, TEXTS)
    found.settle()
    yield found
    database.close()


@pytest.fixture(scope="module")
def address(filled: Filled) -> Iterator[str]:
    with served(filled.app) as url:
        yield url


@pytest.fixture(scope="module")
def paths(filled: Filled) -> list[str]:
    """Every address that answers with a page, the sign-in and a page that is not there among them."""
    found = []
    for path in [*filled.addresses(), "/nothing/here", "/cases?nonsense=1", "/institutions/nobody"]:
        answer = filled.get(path, accept="text/html")
        if answer.headers["content-type"].startswith("text/html"):
            found.append(path)
    return found


@contextmanager
def opened(
    browser: Browser, address: str, filled: Filled, *, lang: str = "zh", **options: Any
) -> Iterator[Page]:
    """A page of somebody who may see everything."""
    context = browser.new_context(timezone_id="Asia/Shanghai", **options)
    context.add_cookies([
        {"name": COOKIE, "value": filled.token, "url": address}, {"name": "escrow_lang", "value": lang, "url": address},
    ])
    try:
        yield context.new_page()
    finally:
        context.close()


def faults(page: Page, script: str) -> list[str]:
    """What axe finds in the page, everything that is folded unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(script)
    found: list[str] = page.evaluate(RUN, TAGS)
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("it is wider than the screen")
    if not page.get_attribute("html", "lang"):
        found.append("it names no language")
    return found


@pytest.mark.parametrize(("lang", "scheme", "screen"), [
    ("zh", "light", DESK), ("en", "dark", PHONE),
], ids=["zh-light-desk", "en-dark-phone"])
def test_no_page_has_a_fault_that_axe_finds(
    browser: Browser, address: str, filled: Filled, paths: list[str], lang: str, scheme: str, screen: Any,
) -> None:
    script = axe_script()
    found = {}
    with opened(browser, address, filled, lang=lang, viewport=screen, color_scheme=scheme) as page:
        for path in paths:
            page.goto(address + path)
            page.wait_for_load_state()
            if wrong := faults(page, script):
                found[path] = wrong
    assert found == {}


def test_the_sign_in_has_no_fault_either(browser: Browser, address: str, filled: Filled) -> None:
    script = axe_script()
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    for path in ("/sign-in?lang=zh", "/sign-in?lang=en", "/nothing/here?lang=en"):
        page.goto(address + path)
        assert faults(page, script) == [], path
    context.close()


def test_on_a_phone_the_nouns_fold_behind_a_button(browser: Browser, address: str, filled: Filled) -> None:
    with opened(browser, address, filled, lang="en", viewport=PHONE) as page:
        page.goto(f"{address}/cases")
        nav, button = page.get_by_role("navigation", name="Main"), page.get_by_role("button", name="Menu")
        assert not nav.is_visible()
        button.press("Enter")
        assert button.get_attribute("aria-expanded") == "true"
        for link in nav.get_by_role("link").all():
            box = link.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE["width"]
            assert box["height"] >= 24
        page.keyboard.press("Escape")
        assert not nav.is_visible()
        assert page.evaluate("document.activeElement.id") == "menu"
    with opened(browser, address, filled, lang="en", viewport=PHONE, java_script_enabled=False) as page:
        page.goto(f"{address}/cases")
        assert page.get_by_role("navigation", name="Main").is_visible()


def test_what_was_found_is_read_out_as_one_sentence_and_a_failure_is_told(
    browser: Browser, address: str, filled: Filled,
) -> None:
    with opened(browser, address, filled, lang="en", viewport=DESK) as page:
        page.goto(f"{address}/institutions")
        page.get_by_label("Name or credit code").press_sequentially("远航")
        page.locator("#told").filter(has_text="2 institutions on this page").wait_for(state="attached")
        assert page.evaluate("document.activeElement.id") == "q"
        page.route("**/institutions?*", lambda route: route.abort())
        page.get_by_label("Name or credit code").press_sequentially("英")
        page.get_by_role("alert").filter(has_text="That did not work").wait_for()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_head_is_one_line_on_an_office_screen(browser: Browser, address: str, filled: Filled, lang: str) -> None:
    with opened(browser, address, filled, lang=lang, viewport=DESK) as page:
        page.goto(address)
        tops = page.eval_on_selector_all(".noun", "(all) => all.map((one) => one.getBoundingClientRect().top)")
        assert len(set(tops)) == 1
        assert page.evaluate("document.querySelector('header').offsetHeight") < 70


def test_every_page_is_reached_past_its_head_and_shows_where_the_focus_is(
    browser: Browser, address: str, filled: Filled, paths: list[str],
) -> None:
    with opened(browser, address, filled, viewport=DESK) as page:
        for path in paths:
            # A statement and a report are documents without a head; the sign-in begins in its first field.
            if path.startswith("/api/") or path.endswith("/report") or path == "/sign-in":
                continue
            page.goto(address + path)
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.className") == "skip", path
            page.keyboard.press("Enter")
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.closest('main') !== null || document.activeElement.tagName")
            style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style in ("solid", "auto"), path


def test_on_paper_no_page_has_its_head_and_nothing_folded_is_lost(
    browser: Browser, address: str, filled: Filled, paths: list[str],
) -> None:
    with opened(browser, address, filled, viewport={"width": 794, "height": 1123}, color_scheme="dark") as page:
        page.emulate_media(media="print")
        for path in paths:
            if path.startswith("/api/") or path.endswith("/report"):
                continue
            page.goto(address + path)
            assert not page.locator("header").is_visible(), path
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", path
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_no_page_loads_more_than_is_allowed_the_first_time(
    browser: Browser, address: str, filled: Filled, paths: list[str],
) -> None:
    received: dict[str, float] = {}
    names: dict[str, str] = {}
    with opened(browser, address, filled, viewport=DESK) as page:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        # So that every time is the first.
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.on("Network.requestWillBeSent", lambda event: names.update(
            {event["requestId"]: event["request"]["url"]}
        ))
        session.on("Network.loadingFinished", lambda event: received.update(
            {event["requestId"]: event["encodedDataLength"]}
        ))
        for path in paths:
            page.goto("about:blank")
            received.clear()
            names.clear()
            page.goto(address + path)
            page.wait_for_load_state()
            assert 1_000 < sum(received.values()) < FIRST_LOAD_BYTES_MAX, path
            if page.locator("link[href*='console.css']").count():
                assert sum(received.values()) > STYLE_BYTES_MIN, f"{path}: something was kept from the page before"
            if not page.locator("#chart").count():
                assert not [url for url in names.values() if "echarts" in url], path


def test_the_language_changes_and_page_and_query_stay(browser: Browser, address: str, filled: Filled) -> None:
    with opened(browser, address, filled, viewport=DESK) as page:
        for path in ("/institutions?level=red&q=%E8%BF%9C", "/alerts?severity=red", "/cases?q=a%20b&state=claimed",
                     "/audit?kind=file.imported&q=a%26b"):
            page.goto(address + path)
            if page.locator("h1").inner_text() in ("这个请求读不懂", "This request is not understood"):
                continue
            page.get_by_role("link", name="English").click()
            page.wait_for_selector("html[lang=en]")
            before, after = path.partition("?"), page.url.removeprefix(address).partition("?")
            assert after[0] == before[0]
            assert set(before[2].replace("%20", "+").split("&")) <= set(after[2].split("&"))
            page.get_by_role("link", name="中文").click()
            page.wait_for_selector("html[lang=zh-CN]")


def test_our_own_scripts_ask_for_no_newer_browser_than_the_libraries() -> None:
    for name in STATIC:
        if not name.endswith(".js"):
            continue
        code = re.sub(r"//[^\n]*", "", asset_bytes(name).decode())
        for what, pattern in NEWER.items():
            assert not re.search(pattern, code, re.MULTILINE), f"{name}: {what}"
