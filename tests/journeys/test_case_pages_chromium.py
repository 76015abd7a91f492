"""Cases and reconciliations in a real browser: a dispute walked to its order, and items settled without a mouse."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from journey_browser import served, until, visitor

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.domain.matching import BankLine, Expected, ExpectedKind
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import accounts
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.bulk import fetch
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.database import Database
from escrow_monitor.records.matching.decisions import match_of
from escrow_monitor.records.matching.matching import match_institutions, record_items
from escrow_monitor.records.people import sessions, users
from escrow_monitor.rounds.reconcile import MATCH_POLICY, reconcile_asked, reconcile_institutions
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.export import KINDS, statements, write_files
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.web.app import create_app
from tests.web.web_world import World

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ON = date(2025, 2, 28)
NOW = datetime.combine(ON, time(15), UTC)
POLICIES = load_policies()
pytestmark = pytest.mark.slow


class Town:
    """A small city that was imported and reconciled, served on loopback, with people who have signed in."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.tokens: dict[str, str] = {}
        self.city = City(
            seed=2, institutions=2, starts_on=date(2025, 1, 1), days=70,
            settings=CitySettings(closing_rate=0, custody_share=1, awkward_rate=0, statement_fault_rate=0,
                                  students=(15, 25)),
        )
        self._import(folder)
        self.uscc, self.account_no = self._first_account()
        self._claims()
        self._open_items()
        with database.write() as session:
            for name, role in (("li", UserRole.STAFF), ("wang", UserRole.REGULATOR), ("zhou", UserRole.REGULATOR)):
                users.add(
                    session, name=name, display_name=name, role=role, districts=None, uscc=None, password_hash="none",
                    now=NOW,
                )
                _, self.tokens[name] = sessions.begin(
                    session, user_name=name, address="127.0.0.1", agent="", now=NOW
                )
        world = World(database=database, now=NOW)
        self.app = create_app(replace(world.ports(), policies=POLICIES, reconcile=self._reconcile))

    def _import(self, folder: Path) -> None:
        paths = write_files(self.city, folder, through=ON)
        for kind in KINDS:
            with paths[kind].open("rb") as stream:
                assert not import_file(
                    self.database, kind=kind, stream=stream, filename=paths[kind].name, actor="test", now=NOW
                ).bad
        for life in self.city.lives():
            with self.database.write() as session:
                assert record_statements(
                    session, list(statements(self.city, life, first=0, last=(ON - self.city.starts_on).days)),
                    source="city", raw_sha256="ab" * 32, now=NOW,
                ) == []
        reconcile_institutions(
            database=self.database, policies=POLICIES, channels=(), patience=Patience(), now=NOW, actor="test"
        )

    def _first_account(self) -> tuple[str, str]:
        with self.database.read() as session:
            found = min(accounts(session), key=lambda one: one.account_no)
        assert found.uscc is not None
        return found.uscc, found.account_no

    def _claims(self) -> None:
        with self.database.write() as session, contract_sums.kept_up(session, on=ON):
            numbers = [row[0] for row in fetch(
                session, "SELECT contract_no FROM contract_accounts WHERE uscc = :uscc AND obligation_fen > 100000"
                " AND contract_no NOT IN (SELECT contract_no FROM refund_claims) ORDER BY contract_no LIMIT 3",
                uscc=self.uscc,
            )]
            assert not record_refund_claims(session, [
                (place, f"TF-{place}", number, ON, None, None, "consumer", "孩子转学", None)
                for place, number in enumerate(numbers, 1)
            ], now=NOW).faults

    def _open_items(self) -> None:
        """Two lines that fit in more than one way, one that differs from what was expected, one that is only alike."""
        day = ON - timedelta(days=3)
        with self.database.write() as session:
            record_items(session, lines=[
                BankLine(
                    line_id=f"entry:{self.account_no}/{day}/Q{n}", uscc=self.uscc, account_no=self.account_no, on=day,
                    amount_fen=fen, reference=reference, text=text,
                ) for n, fen, reference, text in (
                    (1, 2_803_17, None, "转账"), (2, 2_803_17, None, "课费"), (3, 1_507_00, "HT-Q-911", "学费"),
                    (4, 4_404_04, None, "合同 HT-2026-00817 学费"),
                )
            ], expected=[
                Expected(
                    expected_id=f"charge:JF-Q{n}", kind=ExpectedKind.CHARGE, uscc=self.uscc,
                    on=day - timedelta(days=1), amount_fen=fen, reference=reference,
                ) for n, fen, reference in (
                    (1, 2_803_17, None), (2, 2_803_17, None), (3, 1_607_00, "HT-Q-911"), (4, 4_400_00, "HT-2026-00187")
                )
            ], now=NOW)
            match_institutions(session, MATCH_POLICY, [self.uscc], now=NOW)

    def _reconcile(self, request_id: str) -> object:
        return reconcile_asked(
            request_id, database=self.database, policies=POLICIES, channels=(), patience=Patience(), now=NOW
        )

    def moves(self, case_no: str) -> list[str]:
        with self.database.read() as session:
            return [one.move.value for one in case_book.case_moves(session, [case_no])]

    def matched(self, name: str) -> tuple[str, ...]:
        with self.database.read() as session:
            found = match_of(session, line_id=f"entry:{self.account_no}/{ON - timedelta(days=3)}/{name}")
        return () if found is None else found.match.expected_ids


@pytest.fixture(scope="module")
def town(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    shutil.copy(sqlite_template, folder / "town.db")
    database = Database(f"sqlite:///{folder}/town.db")
    yield Town(database, folder)
    database.close()


@pytest.fixture(scope="module")
def address(town: Town) -> Iterator[str]:
    with served(town.app) as url:
        yield url


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("width", [1366, 768, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_blocked_cut_off_or_without_a_name(
    browser: Browser, address: str, town: Town, lang: str, width: int, scheme: str
) -> None:
    with visitor(
        browser, address, town.tokens["wang"], lang=lang, viewport={"width": width, "height": 800},
        color_scheme=scheme,
    ) as page:
        for path in ("/cases", "/cases?state=claimed", "/cases/TF-1", "/cases/none", "/reconcile",
                     f"/reconcile/{town.uscc}"):
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert page.evaluate(NAMELESS) == [], path
            assert page.evaluate(TWICE) == [], path


NAMELESS = """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, progress, a')]
    .filter(one => !(one.labels && one.labels.length) && !one.getAttribute('aria-label') && !one.textContent.trim()
        && !one.title && !one.querySelector('img[alt]'))
    .map(one => one.outerHTML.slice(0, 120))"""
TWICE = """() => { const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
    return ids.filter((id, at) => ids.indexOf(id) !== at) }"""


def test_a_dispute_is_walked_from_claim_to_order_with_two_pairs_of_eyes(
    browser: Browser, address: str, town: Town, tmp_path: Path
) -> None:
    paper = tmp_path / "合同.pdf"
    paper.write_bytes(b"%PDF-1.4 \r\n\x00\xff")

    def make(page: Page, move: str, **fields: str) -> None:
        page.locator(f"details.move:has(input[value={move}]) summary").click()
        form = page.locator(f"form:has(input[name=move][value={move}])")
        for name, value in fields.items():
            if name == "role":
                form.locator(f"input[value={value}]").check()
            else:
                form.locator(f"[name={name}]").fill(value)
        form.locator("button").click()

    with visitor(browser, address, town.tokens["wang"]) as page:
        page.goto(f"{address}/cases")
        page.fill("#q", "TF-2")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="TF-2", exact=True).click()
        make(page, "quote", reason="材料齐全")
        page.get_by_role("status").get_by_text("已记录").wait_for()
        make(page, "contest", role="institution", amount="100", reason="机构只同意一部分")
        page.set_input_files("#file", paper)
        page.get_by_role("button", name="上传").click()
        page.get_by_role("link", name="合同.pdf").wait_for()
        make(page, "propose", amount="很多", reason="按课时记录")
        assert "看不懂" in page.locator(".wrong").inner_text()
        assert page.locator("#reason-propose").input_value() == "按课时记录"
        page.locator("#amount-propose").fill("150")
        page.locator("form:has(input[value=propose]) button").click()
        page.locator("#own-ruling").wait_for()
        assert "不能由您复核" in page.locator("#own-ruling").inner_text()
        assert page.locator("form:has(input[value=confirm])").count() == 0
        with page.expect_download() as download:
            page.get_by_role("link", name="合同.pdf").click()
        assert download.value.path().read_bytes() == paper.read_bytes()
    with visitor(browser, address, town.tokens["zhou"], lang="en", viewport={"width": 390, "height": 800}) as page:
        page.goto(f"{address}/cases/TF-2")
        make(page, "confirm", reason="checked")
        page.get_by_role("status").get_by_text("ruling confirmed").wait_for()
        make(page, "order", reason="to be paid")
        page.get_by_text("refund ordered").first.wait_for()
    assert town.moves("TF-2") == ["open", "quote", "contest", "propose", "confirm", "order"]


@pytest.mark.parametrize("scripts", [True, False])
def test_a_form_clicked_twice_is_done_once(browser: Browser, address: str, town: Town, scripts: bool) -> None:
    case_no = "TF-1" if scripts else "TF-3"
    with visitor(browser, address, town.tokens["li"], java_script_enabled=scripts) as page:
        page.goto(f"{address}/cases/{case_no}")
        page.locator("details.move:has(input[value=gather]) summary").click()
        page.fill("#reason-gather", "请补充课时记录")
        page.locator("form:has(input[name=move][value=gather]) button").dblclick()
        page.get_by_role("status").get_by_text("已记录").wait_for()
    assert town.moves(case_no) == ["open", "gather"]


def test_items_are_settled_and_undone_without_a_mouse(browser: Browser, address: str, town: Town) -> None:
    with visitor(browser, address, town.tokens["li"]) as page:
        page.goto(f"{address}/reconcile/{town.uscc}")
        keys = page.keyboard
        page.locator("#keys").wait_for(state="visible")
        count = page.locator("[data-card=settle]").count()
        keys.press("ArrowDown")
        first = page.locator("[data-card=settle]").first
        assert first.evaluate("one => one === document.activeElement")
        keys.press("ArrowRight")
        assert first.locator("input[type=radio]").nth(1).is_checked()
        keys.press("Enter")
        assert page.evaluate("document.activeElement.name") == "reason"
        keys.type("按收据核对")
        keys.press("Enter")
        page.locator("[data-made]").wait_for()
        assert town.matched("Q1") == ("charge:JF-Q2",)
        assert page.locator("[data-card=settle]").count() == count - 1
        # The next stands where the last was, with the reason that was given: one key settles it.
        assert page.evaluate("document.activeElement.dataset.card") == "settle"
        keys.press("Enter")
        until(page, f"document.querySelectorAll('[data-card=settle]').length === {count - 2}")
        assert town.matched("Q2") == ("charge:JF-Q1",)
        keys.press("u")
        until(page, "document.activeElement.name === 'reason'")
        keys.type("认错了")
        keys.press("Enter")
        page.get_by_text("已撤销配对").wait_for()
        assert town.matched("Q2") == ()


def test_what_is_only_alike_is_proposed_and_settled_by_keyboard(browser: Browser, address: str, town: Town) -> None:
    with visitor(browser, address, town.tokens["li"], lang="en") as page:
        page.goto(f"{address}/reconcile/{town.uscc}")
        keys = page.keyboard
        page.locator("#keys").wait_for(state="visible")
        for _ in range(page.locator("[data-card=settle]").count()):
            keys.press("ArrowDown")
            if "4,404.04" in page.evaluate("document.activeElement.getAttribute('aria-label')"):
                break
        proposed = page.locator("[data-card=settle]:focus .option").first.inner_text()
        assert "% of the reference" in proposed
        assert "4.04" in proposed
        keys.press("Enter")
        keys.type("two digits changed places, 4.04 are a fee")
        keys.press("Enter")
        page.locator("[data-made]").wait_for()
        assert town.matched("Q4") == ("charge:JF-Q4",)


def test_the_same_goes_with_a_mouse_and_without_scripts(browser: Browser, address: str, town: Town) -> None:
    with visitor(browser, address, town.tokens["li"], lang="en", java_script_enabled=False) as page:
        page.goto(f"{address}/reconcile/{town.uscc}")
        assert not page.locator("#keys").is_visible()
        free = page.locator("#free")
        free.locator("input[name=line][value$=Q3]").check()
        free.locator("input[name=item][value$=Q3]").check()
        free.locator("[name=reason]").fill("the family paid 100 less")
        free.locator("button").click()
        page.get_by_text("Matched.").wait_for()
        assert town.matched("Q3") == ("charge:JF-Q3",)
        page.locator("[data-made] summary").click()
        page.fill("#why-made", "by mistake")
        page.locator("[data-made] button").click()
        page.get_by_text("Undone.").wait_for()
        assert town.matched("Q3") == ()


def test_a_reconciliation_is_started_and_its_page_renews_itself(browser: Browser, address: str, town: Town) -> None:
    for scripts in (True, False):
        with visitor(browser, address, town.tokens["li"], java_script_enabled=scripts) as page:
            page.goto(f"{address}/reconcile")
            page.fill("#institution", town.uscc)
            page.get_by_role("button", name="开始对账").click()
            page.get_by_role("heading", name="对账结果").wait_for(timeout=20_000)
            assert "未能解释" in page.inner_text("main")
            assert "0.00" in page.inner_text("table.bridge")
