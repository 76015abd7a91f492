"""People in a real browser: in by the organisation's own sign-in, a person added, no page with a fault for axe."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journey_browser import axe_script, served
from test_accessible_pages_chromium import DESK, PHONE, faults

from escrow_monitor.actions.users import By, add_user
from escrow_monitor.cli.stage import free_port
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.database import Database
from escrow_monitor.web.app import create_app
from escrow_monitor.web.oidc import Client, Provider
from tests.web.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.web.web_world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


def real_now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """The console with a provider behind its button, and an administrator who has no password."""
    shutil.copy(sqlite_template, tmp_path / "people.db")
    database = Database(f"sqlite:///{tmp_path}/people.db")
    world = World(database=database).bad_morning()
    with database.write() as session:
        add_user(
            session, name="li", role=UserRole.ADMIN, display_name="李雷", by=By(actor="test"), now=real_now()
        )
    home = f"http://127.0.0.1:{free_port()}"
    provider = OidcProvider(now=real_now, redirect_uri=f"{home}/sign-in/oidc/callback")
    client = Client(
        issuer=provider.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET,
        labels={"zh": "教育局统一认证", "en": "the bureau"},
    )
    app = create_app(replace(world.ports(), home_url=home, real_now=real_now, oidc=Provider(client)))
    with served(app, port=int(home.rpartition(":")[2])) as found:
        yield found
    provider.close()
    database.close()


def test_in_by_the_organisations_sign_in_and_somebody_is_added(browser: Browser, address: str) -> None:
    script = axe_script()
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.goto(f"{address}/users?lang=zh")
    assert faults(page, script) == []
    page.get_by_role("link", name="用教育局统一认证登录").click()
    page.wait_for_url(f"{address}/users?lang=zh")  # there and back, to the page that was wanted
    page.get_by_role("link", name="李雷").click()
    page.wait_for_url(f"{address}/account")
    assert page.get_by_text("没有本系统的密码").is_visible()
    page.goto(f"{address}/users")
    page.get_by_label("用户名").fill("wang")
    page.get_by_label("姓名").fill("王芳")
    page.get_by_label("角色", exact=True).select_option("staff")
    page.get_by_label(re.compile("辖区代码")).fill("5103")
    page.get_by_role("button", name="添加").click()
    assert len(page.locator("code.secret").inner_text()) == 20
    for screen in (DESK, PHONE):
        page.set_viewport_size(screen)  # type: ignore[arg-type]
        for path in ("/users", "/users/wang", "/users/li", "/keys", "/account"):
            for lang in ("zh", "en"):
                page.goto(f"{address}{path}?lang={lang}")
                assert faults(page, script) == [], (path, lang, screen)
    context.close()
