"""The console in a real browser: nothing blocked, nothing cut off, and each page usable by whoever opens it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journey_browser import served, until

from escrow_monitor.records.bulk import insert
from escrow_monitor.records.database import Database
from tests.web.web_world import NAMES, World, no, uscc

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

FIRST_LOAD_BYTES_MAX = 1_500_000
PAGES = ("/", "/institutions", f"/institutions/{uscc(0)}", f"/institutions/{uscc(5)}", "/institutions/nobody")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def town(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A bad morning in a district of forty, with a month of closings of the first."""
    folder = tmp_path_factory.mktemp("town")
    shutil.copy(sqlite_template, folder / "town.db")
    database = Database(f"sqlite:///{folder}/town.db")
    world = World(database=database)
    world.key("reader", "read")
    world.bad_morning()
    world.institutions(40)
    with database.write() as session:
        insert(
            session, "account_days",
            {"account_no": str, "day": date, "covered": bool, "opening_fen": int, "closing_fen": int,
             "credits_fen": int, "debits_fen": int, "largest_debit_fen": int},
            [(no(0), date(2026, 11, 19) - timedelta(days=back), True, 0, 90_000_00 + back * 100_00, 0, 0, 0)
             for back in range(60)],
        )
    yield world
    database.close()


@pytest.fixture(scope="module")
def address(town: World) -> Iterator[str]:
    with served(town.app()) as url:
        yield url


class Reader:
    """Somebody at a browser who has signed in; what the browser complained of is kept."""

    def __init__(self, context: BrowserContext, address: str, secret: str, lang: str = "zh") -> None:
        self.address = address
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(f"{address}/sign-in?lang={lang}")
        if self.page.locator("details.by-key summary").count() and not self.page.locator("#key").is_visible():
            self.page.locator("details.by-key summary").click()
        self.page.fill("#key", secret)
        self.page.locator("form:has(#key) button").click()
        self.page.wait_for_selector("h1")

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)
        self.page.wait_for_selector("main h1")

    def _heard(self, kind: str, text: str) -> None:
        # A browser says of a page that is not there, as it should not be, that it is not there.
        if kind in {"error", "warning"} and "404" not in text:
            self.complaints.append(text)


@contextmanager
def reader(browser: Browser, address: str, town: World, *, lang: str = "zh", **options: object) -> Iterator[Reader]:
    context = browser.new_context(timezone_id="Asia/Shanghai", **options)  # type: ignore[arg-type]
    try:
        yield Reader(context, address, town.secrets["reader"], lang)
    finally:
        context.close()


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("width", [1366, 768, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_blocked_and_nothing_is_wider_than_the_screen(
    browser: Browser, address: str, town: World, lang: str, width: int, scheme: str,
) -> None:
    with reader(
        browser, address, town, lang=lang, viewport={"width": width, "height": 800}, color_scheme=scheme
    ) as somebody:
        for path in PAGES:
            somebody.open(path)
            page = somebody.page
            assert page.get_attribute("html", "data-bs-theme") == scheme
            assert page.get_attribute("html", "lang") == ("zh-CN" if lang == "zh" else "en")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
        assert somebody.complaints == []


def test_the_chart_is_drawn_and_drawn_again_in_other_colours(browser: Browser, address: str, town: World) -> None:
    with reader(browser, address, town, lang="en") as somebody:
        somebody.open(f"/institutions/{uscc(0)}")
        page = somebody.page
        page.wait_for_selector("#chart canvas")
        page.get_by_role("button", name="Dark colours").click()
        assert page.get_attribute("html", "data-bs-theme") == "dark"
        page.reload()
        assert page.get_attribute("html", "data-bs-theme") == "dark"
        page.get_by_role("button", name="Light colours").click()
        page.wait_for_selector("#chart canvas")
        page.hover("#chart")
        page.get_by_text("The same figures as a table").click()
        assert page.get_by_role("cell", name="90,000.00").first.is_visible()
        assert somebody.complaints == []


def test_a_search_changes_the_list_and_the_address_without_loading_the_page_again(
    browser: Browser, address: str, town: World,
) -> None:
    with reader(browser, address, town, lang="en") as somebody:
        somebody.open("/institutions")
        page = somebody.page
        page.evaluate("window.stays = true")
        page.get_by_label("Name or credit code").press_sequentially("英语")
        page.wait_for_url("**q=%E8%8B%B1%E8%AF%AD**")
        until(page, "document.querySelectorAll('#found tbody tr').length === 7")
        page.get_by_label("Worst alert").select_option("red")
        page.wait_for_url("**level=red**")
        until(page, "document.querySelectorAll('#found tbody tr').length === 1")
        assert page.evaluate("window.stays") is True
        page.get_by_role("link", name=NAMES[1]).click()
        page.wait_for_selector("#chart-title")
        page.go_back()
        page.wait_for_selector("#found")
        assert "level=red" in page.url
        assert page.locator("#found tbody tr").count() == 1
        assert somebody.complaints == []


def test_another_language_keeps_the_page_and_stays(browser: Browser, address: str, town: World) -> None:
    with reader(browser, address, town) as somebody:
        somebody.open("/institutions?level=red")
        page = somebody.page
        page.get_by_role("link", name="English").click()
        page.wait_for_selector("html[lang=en]")
        assert "level=red" in page.url
        page.get_by_role("link", name="Today").click()
        page.wait_for_selector("html[lang=en] #live")


def test_every_page_is_read_and_searched_without_scripts(browser: Browser, address: str, town: World) -> None:
    with reader(browser, address, town, lang="en", java_script_enabled=False) as somebody:
        somebody.open(f"/institutions/{uscc(0)}")
        page = somebody.page
        assert page.get_by_text("The chart needs scripts").is_visible()
        somebody.open("/institutions")
        page.get_by_label("Name or credit code").fill("英语")
        page.get_by_role("button", name="Find").click()
        page.wait_for_url("**q=%E8%8B%B1%E8%AF%AD**")
        assert page.locator("#found tbody tr").count() == 7
        somebody.open("/institutions")
        page.get_by_role("link", name="Next page").click()
        assert page.locator("#found tbody tr").count() == 10


def test_the_keyboard_reaches_the_page_past_its_head(browser: Browser, address: str, town: World) -> None:
    with reader(browser, address, town, lang="en") as somebody:
        somebody.open("/institutions")
        page = somebody.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_who_reads_far_away_sees_their_own_time_beside_the_banks(browser: Browser, address: str, town: World) -> None:
    context = browser.new_context(timezone_id="Europe/Berlin")
    somebody = Reader(context, address, town.secrets["reader"], "en")
    somebody.page.wait_for_selector(".yours")
    assert somebody.page.locator("h1 .yours").inner_text().strip() == "(your time 03:30)"
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_the_first_load_is_small_on_the_wire(browser: Browser, address: str, town: World, path: str) -> None:
    with reader(browser, address, town) as somebody:
        session = somebody.page.context.new_cdp_session(somebody.page)
        session.send("Network.enable")
        session.send("Network.clearBrowserCache")
        received: list[float] = []
        session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
        somebody.open(path)
        somebody.page.wait_for_timeout(700)
        assert 10_000 < sum(received) < FIRST_LOAD_BYTES_MAX
