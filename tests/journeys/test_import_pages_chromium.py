"""A broken file, in a real browser: sent, shown where it is wrong, mended, confirmed; a pack of law under four eyes."""

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

from escrow_monitor.clock import SystemClock
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.policies import load_policies
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import sessions, users
from escrow_monitor.web.app import create_app
from escrow_monitor.web.guard import COOKIE
from escrow_monitor.web.ports import LawFolder
from tests.web.test_web_policy_pages import PACK
from tests.web.web_world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS = ("/imports", "/policies", "/policies/packs/cn-510300", "/audit", "/audit/entries/1", "/operations")
PEOPLE = {"li": UserRole.ADMIN, "wang": UserRole.REGULATOR, "zhou": UserRole.VIEWER}
BROKEN = "统一社会信用代码,机构名称\n91110000600037341X,晨光艺术培训学校\n"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("law")


@pytest.fixture(scope="module")
def town(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("office") / "office.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    world = World(database=database)
    world.key("reader", "read")
    world.bad_morning()
    with database.write() as session:
        for name, role in PEOPLE.items():
            users.add(
                session, name=name, display_name=name, role=role, districts=None, uscc=None, password_hash="none",
                now=world.now,
            )
            _, world.secrets[name] = sessions.begin(
                session, user_name=name, address="127.0.0.1", agent="", now=SystemClock().now()
            )
    yield world
    database.close()


@pytest.fixture(scope="module")
def address(town: World, folder: Path) -> Iterator[str]:
    law = LawFolder(path=folder, read=lambda: load_policies([folder]))
    with served(create_app(replace(town.ports(), law=law, real_now=SystemClock().now))) as url:
        yield url


@contextmanager
def reader(browser: Browser, address: str, token: str, **options: object) -> Iterator[tuple[Page, list[str]]]:
    """Somebody who is signed in, and what their browser complained of."""
    context = browser.new_context(timezone_id="Asia/Shanghai", **options)  # type: ignore[arg-type]  # of several kinds
    context.add_cookies([{"name": COOKIE, "value": token, "url": address}])
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda told: complaints.append(told.text) if told.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page, complaints
    finally:
        context.close()


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (360, "dark")])
def test_nothing_is_blocked_and_nothing_is_wider_than_the_screen(
    browser: Browser, address: str, town: World, lang: str, width: int, scheme: str,
) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with reader(browser, address, town.secrets["li"], **options) as (page, complaints):
        for path in PATHS:
            page.goto(f"{address}{path}?lang={lang}")
            page.wait_for_selector("main h1")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
        assert complaints == []


def test_a_broken_file_is_shown_where_it_is_wrong_mended_and_imported(
    browser: Browser, address: str, town: World, tmp_path: Path,
) -> None:
    file = tmp_path / "机构.csv"
    file.write_text(BROKEN, "gb18030")
    with reader(browser, address, town.secrets["li"]) as (page, complaints):
        page.goto(f"{address}/imports?lang=zh")
        page.get_by_role("button", name="上传并试读").click()
        assert page.locator("#upload-told").inner_text() == "请先选择一个文件。"
        page.set_input_files("#file", file)
        page.get_by_role("button", name="上传并试读").click()
        page.wait_for_selector("text=校验位应为 L")
        assert page.locator("mark").first.inner_text() == "91110000600037341X"
        assert page.get_by_role("button", name="确认导入").count() == 0
        page.get_by_role("button", name="放弃").click()
        page.wait_for_url("**/imports")
        file.write_text(BROKEN.replace("1X", "1L"), "gb18030")
        page.set_input_files("#file", file)
        page.get_by_role("button", name="上传并试读").click()
        page.get_by_role("button", name="确认导入").click()
        page.wait_for_selector("text=新增 1 行")
        page.goto(f"{address}/imports")
        assert page.get_by_role("rowheader", name="机构.csv").is_visible()
        assert complaints == []


def test_who_may_not_is_told_so_and_does_not_see_the_way(browser: Browser, address: str, town: World) -> None:
    with reader(browser, address, town.secrets["zhou"]) as (page, _):
        page.goto(f"{address}/?lang=en")
        assert page.locator("a.noun[href='/imports'], a.noun[href='/audit']").count() == 0
        page.goto(f"{address}/imports")
        assert page.get_by_text("Your account may not open this page").is_visible()


def test_nobody_confirms_their_own_change_of_the_law(
    browser: Browser, address: str, town: World, folder: Path, tmp_path: Path,
) -> None:
    file = tmp_path / "local.toml"
    file.write_text(PACK.format(amount=90_000), "utf-8")
    with reader(browser, address, town.secrets["li"]) as (page, complaints):
        page.goto(f"{address}/policies?lang=en")
        page.set_input_files("#pack-file", file)
        page.get_by_label("Why").fill("decided by the bureau")
        page.get_by_role("button", name="Propose it").click()
        page.wait_for_selector("text=Would fall below")
        assert page.get_by_text("You proposed this").is_visible()
        assert page.get_by_role("button", name="Confirm and write it").count() == 0
        url = page.url
        assert complaints == []
    with reader(browser, address, town.secrets["wang"]) as (page, _):
        page.goto(url + "?lang=en")
        page.get_by_role("button", name="Confirm and write it").click()
        page.wait_for_selector("text=holds once the service is started again")
    assert (folder / "local-510302.toml").is_file()


def test_the_record_is_verified_while_one_waits(browser: Browser, address: str, town: World) -> None:
    with reader(browser, address, town.secrets["wang"]) as (page, complaints):
        page.goto(f"{address}/audit?lang=en")
        page.locator("form[action='/audit/verify'] button").click()
        page.wait_for_selector("text=Whole: all", timeout=timedelta(seconds=30).total_seconds() * 1000)
        with page.expect_download() as download:
            page.goto(f"{address}/audit")
            page.locator("form[action='/audit/export'] button").click()
        assert download.value.suggested_filename.endswith(".jsonl")
        assert complaints == []
