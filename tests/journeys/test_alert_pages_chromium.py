"""Alerts in a real browser: a breach appears without a reload, several are acknowledged, four eyes, silences, keys."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journey_browser import served

from alerts.alert import Severity, Why
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bulk import run
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import sessions, users
from escrow_monitor.web.app import create_app
from escrow_monitor.web.guard import COOKIE
from tests.web.web_world import NOW, World, alert_key

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHANNELS = ("duty", "log")
ROLES = {"li": UserRole.STAFF, "wang": UserRole.REGULATOR, "zhou": UserRole.REGULATOR, "boss": UserRole.ADMIN}
pytestmark = pytest.mark.slow


class Town(World):
    """A bad morning with people and channels, and what each of them needs to sign in."""

    def people(self) -> None:
        self.tokens: dict[str, str] = {}
        with self.database.write() as session:
            for name, role in ROLES.items():
                users.add(
                    session, name=name, display_name=name, role=role, districts=None, uscc=None, password_hash="none",
                    now=self.now,
                )
                _, self.tokens[name] = sessions.begin(
                    session, user_name=name, address="192.0.2.1", agent="", now=self.now
                )

    def owed(self) -> None:
        """Some of what was published, as the channels have it: delivered, waiting and given up."""
        with self.database.write() as session:
            for seq, channel, state, detail in (
                (1, "log", "delivered", ""), (1, "duty", "dead", "gave up after 24 attempts: 503"),
                (2, "log", "delivered", ""), (2, "duty", "due", "waits: silenced abcd1234"),
            ):
                run(session, "INSERT INTO deliveries (delivery_id, channel, seq, state, attempts, due_at, created_at,"
                             " detail) VALUES (:id, :channel, :seq, :state, 0, :now, :now, :detail)",
                    id=f"evt_{seq}_{channel}", channel=channel, seq=seq, state=state, detail=detail, now=NOW)

    def id_of(self, number: int) -> str:
        with self.database.read() as session:
            return next(
                one.alert_id for one in RecordsAlertBook(session).open_alerts() if one.key == alert_key(number, "floor")
            )


@pytest.fixture
def town(sqlite_template: Path, tmp_path: Path) -> Iterator[Town]:
    shutil.copy(sqlite_template, tmp_path / "town.db")
    database = Database(f"sqlite:///{tmp_path}/town.db")
    found = Town(database=database)
    found.bad_morning()
    found.people()
    found.owed()
    yield found
    database.close()


@pytest.fixture
def address(town: Town) -> Iterator[str]:
    with served(create_app(replace(town.ports(), channels=CHANNELS))) as url:
        yield url


class Desk:
    """Somebody at a browser; what the browser complained of is kept."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address, self.complaints = page, address, list[str]()
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> Page:
        self.page.goto(self.address + path)
        self.page.wait_for_selector("main h1")
        return self.page

    def _heard(self, kind: str, text: str) -> None:
        # A form that was refused is answered with its status, and the browser says so.
        if kind in {"error", "warning"} and not any(code in text for code in ("409", "403", "422")):
            self.complaints.append(text)


@contextmanager
def at(browser: Browser, address: str, town: Town, who: str, *, lang: str = "en", **options: object) -> Iterator[Desk]:
    context = browser.new_context(timezone_id="Asia/Shanghai", **options)  # type: ignore[arg-type]
    context.add_cookies([
        {"name": COOKIE, "value": town.tokens[who], "url": address},
        {"name": "escrow_lang", "value": lang, "url": address},
    ])
    try:
        desk = Desk(context.new_page(), address)
        yield desk
        assert desk.complaints == []
    finally:
        context.close()


@pytest.mark.parametrize(("lang", "width", "scheme"), [
    ("zh", 1366, "light"), ("en", 1366, "dark"), ("zh", 360, "dark"), ("en", 360, "light"), ("en", 768, "light"),
])
def test_nothing_is_blocked_and_nothing_is_wider_than_the_screen(
    browser: Browser, address: str, town: Town, lang: str, width: int, scheme: str,
) -> None:
    with at(
        browser, address, town, "boss", lang=lang, viewport={"width": width, "height": 800}, color_scheme=scheme
    ) as desk:
        for path in ("/alerts", "/alerts?status=resolved", f"/alerts/{town.id_of(0)}", "/silences", "/subscriptions",
                     "/deliveries", "/alerts?q=nobody"):
            page = desk.open(path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)


def test_a_breach_appears_without_a_reload(browser: Browser, address: str, town: Town) -> None:
    with at(browser, address, town, "li") as desk:
        page = desk.open("/alerts")
        page.wait_for_selector("#live.up")
        page.evaluate("window.stays = true")
        assert page.locator(".inbox > li").count() == 5
        town.now = NOW + timedelta(minutes=1)
        town.signal(5, why=Why(zh="余额为零", en="nothing is left"))
        page.get_by_text("1 new entry: nothing is left").wait_for()
        page.locator(".inbox > li").nth(5).wait_for()
        fresh = page.locator(".inbox > li.fresh")
        assert fresh.count() == 1
        assert "nothing is left" in fresh.inner_text()
        assert page.evaluate("window.stays") is True
        page.get_by_role("button", name="Seen").click()
        assert page.locator("#news").inner_text() == ""


def test_the_list_waits_for_who_is_choosing_and_they_acknowledge_with_an_end(
    browser: Browser, address: str, town: Town,
) -> None:
    with at(browser, address, town, "li") as desk:
        page = desk.open("/alerts")
        page.wait_for_selector("#live.up")
        page.get_by_role("checkbox", name="Select: 晨光艺术培训学校 minimum balance").check()
        page.get_by_role("checkbox", name="Select: 远航英语培训中心 minimum balance").check()
        assert page.get_by_text("2 selected").is_visible()
        town.signal(5, why=Why(zh="余额为零", en="nothing is left"))
        page.get_by_text("the list waits for you").wait_for()
        page.wait_for_timeout(1500)
        assert page.locator(".inbox > li").count() == 5
        page.get_by_label("Note (it is published)").fill("电话已联系")
        page.locator("#many-for").select_option("3d")
        page.get_by_role("button", name="Acknowledge what is selected").click()
        page.get_by_text("2 acknowledged.").wait_for()
        assert page.locator(".inbox > li").count() == 6
        assert page.get_by_text("acknowledged by li until 23 Nov 10:30").count() == 2
        assert "hushed" in str(page.locator(".inbox > li").last.get_attribute("class"))


def test_all_on_the_page_are_chosen_by_the_keyboard(browser: Browser, address: str, town: Town) -> None:
    with at(browser, address, town, "li") as desk:
        page = desk.open("/alerts")
        page.get_by_label("Select all on this page").focus()
        page.keyboard.press("Space")
        assert page.locator('.inbox input[name="alert"]:checked').count() == 5
        page.locator("#many-until").fill("2026-11-19T09:00")
        page.get_by_role("button", name="Acknowledge what is selected").click()
        assert "does not lie ahead" in page.locator(".wrong").inner_text()
        assert page.locator('.inbox input[name="alert"]:checked').count() == 5


def test_one_proposes_and_another_accepts(browser: Browser, address: str, town: Town) -> None:
    path = f"/alerts/{town.id_of(0)}"
    with at(browser, address, town, "wang") as desk:
        page = desk.open(path)
        page.get_by_text("Propose to accept it").first.click()
        page.locator("#note-propose").fill("专项协议，年底前补足")
        page.get_by_role("button", name="Propose to accept it").click()
        page.get_by_text("Proposed; it waits for another person.").wait_for()
        assert page.locator("#own-proposal").is_visible()
        assert page.get_by_text("Confirm the acceptance").count() == 0
    with at(browser, address, town, "zhou") as desk:
        page = desk.open("/alerts")
        page.get_by_role("link", name="Show").click()
        page.locator(".inbox .why a").click()
        page.get_by_text("Confirm the acceptance").first.click()
        page.get_by_role("button", name="Confirm the acceptance").click()
        page.get_by_text("Confirmed and accepted.").wait_for()
        assert page.get_by_text("Accepted: proposed by wang, confirmed by zhou.").is_visible()


def test_the_alert_says_why_a_channel_did_not_hear_and_sends_again(browser: Browser, address: str, town: Town) -> None:
    with at(browser, address, town, "li") as desk:
        page = desk.open(f"/alerts/{town.id_of(0)}")
        assert page.get_by_text("gave up after 24 attempts: 503").first.is_visible()
        page.get_by_role("button", name="Send again").click()
        page.get_by_text("It will be sent again.").wait_for()
        assert page.get_by_text("gave up").count() == 0
        page = desk.open(f"/alerts/{town.id_of(1)}")
        assert page.get_by_text("silence abcd1234").is_visible()


def test_a_silence_is_looked_at_made_and_ended(browser: Browser, address: str, town: Town) -> None:
    town.signal(5, severity=Severity.YELLOW)
    with at(browser, address, town, "li") as desk:
        desk.open(f"/alerts/{town.id_of(2)}")
        page = desk.page
        page.get_by_role("link", name="Silence what is like it").click()
        assert page.locator("#m-rule").input_value() == "floor"
        page.locator("#m-uscc").fill("")
        page.get_by_label("Reason").fill("系统演练")
        assert page.get_by_role("button", name="Make it").count() == 0
        page.get_by_role("button", name="See what it would hide").click()
        page.get_by_text("Nobody would be called about 3 open alerts.").wait_for()
        assert page.get_by_text("2 that fit are red and still called about.").is_visible()
        page.get_by_role("button", name="Make it").click()
        page.get_by_text("The silence is in force.").wait_for()
        page.get_by_role("button", name="End silence").click()
        page.get_by_text("The silence has ended.").wait_for()
        assert page.get_by_text("There is no silence").is_visible()


def test_a_subscriber_gets_a_key_and_it_is_revoked(browser: Browser, address: str, town: Town) -> None:
    with at(browser, address, town, "boss") as desk:
        page = desk.open("/subscriptions")
        page.locator("#f-severity").select_option("orange")
        page.get_by_role("button", name="Make the addresses").click()
        page.get_by_text("/feeds/alerts/events?severity=orange").wait_for()
        page.get_by_role("textbox", name="Subscriber").fill("市教育局")
        page.get_by_role("button", name="Make a key").click()
        assert page.locator(".secret").inner_text().startswith("emk_")
        page.get_by_role("button", name="Revoke the key of 市教育局").click()
        page.get_by_text("The key is revoked.").wait_for()
        assert page.locator(".secret").count() == 0


def test_everything_is_done_without_scripts(browser: Browser, address: str, town: Town) -> None:
    with at(browser, address, town, "li", java_script_enabled=False) as desk:
        page = desk.open("/alerts")
        page.get_by_label("Severity").select_option("red")
        page.get_by_role("button", name="Find").click()
        page.wait_for_url("**severity=red**")
        page.get_by_role("checkbox", name="Select: 晨光").check()
        page.get_by_role("button", name="Acknowledge what is selected").click()
        assert page.get_by_text("1 acknowledged.").is_visible()
        assert "severity=red" in page.url
