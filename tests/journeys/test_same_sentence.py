"""A terminal user and a web user read the same sentence for the same fact, in both languages; and the same words."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from journey_command import ROOT, here

from alerts.alert import Why
from escrow_monitor.cli.words import CELLS, HEADS
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.web.console.words import WORDS
from tests.web.web_world import Site, World, alert_key

FACTS = {
    "floor": Why(
        zh="余额 83120.00 CNY，低于最低余额 100000.00 CNY，为其 0.8312，自 2026-11-17T12:35:06+08:00 起",
        en="holds 83120.00 CNY, the floor is 100000.00 CNY: 0.8312 of it, below since 2026-11-17T12:35:06+08:00",
    ),
    "feed_gap": Why(
        zh="2 个工作日的对账单逾期（如 2026-11-18、2026-11-17），其间发生额不明",
        en="2 working days have missed their statement (such as 2026-11-18, 2026-11-17), what was booked is not known",
    ),
    "bank_silent": Why(
        zh="自贡银行 最近答复于 2026-11-19T09:00:00+08:00；请询问银行",
        en="自贡银行 last answered at 2026-11-19T09:00:00+08:00; ask the bank",
    ),
    "refund_overdue": Why(
        zh="案件 TF-00002-000001 应于 2026-11-10 前退费 9112.57 CNY，银行未见退款",
        en="case TF-00002-000001: 9112.57 CNY was due by 2026-11-10 and is not seen in the bank",
    ),
}
"""What is said of an account, a gap of its statements, a bank and the clock of a case."""


@pytest.fixture
def world(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copy(sqlite_template, tmp_path / "escrow.db")
    database = Database(f"sqlite:///{tmp_path}/escrow.db")
    found = World(database=database)
    found.key("reader", "read")
    found.institutions()
    for number, (rule, why) in enumerate(FACTS.items()):
        found.signal(number, rule=rule, why=why)
    yield found
    database.close()


def exact(page: str) -> str:
    """The text of a page, with figures as the record has them in place of how people write them."""
    page = re.sub(r'<data value="[^"]*" title="([^"]*)">[^<]*</data>', r"\1", page)
    page = re.sub(r'<time datetime="([^"]*)"[^>]*>[^<]*</time>', r"\1", page)
    return unescape(re.sub(r"<[^>]+>", "", page))


def test_the_sentence_of_a_fact_is_the_same_everywhere(world: World, tmp_path: Path) -> None:
    site = Site(world)
    feed = {item["_escrow"]["rule"]: item for item in site.get("/feeds/alerts.json").json()["items"]}
    atom = {lang: unescape(site.get(f"/feeds/alerts.atom?lang={lang}").text) for lang in ("zh", "en")}
    listed = {one["rule"]: one for one in here("alerts", "list", "--json", at=tmp_path).must(1).json()}
    with world.database.read() as session:
        ids = {one.key.rule: one.alert_id for one in RecordsAlertBook(session).open_alerts()}
    for number, (rule, why) in enumerate(FACTS.items()):
        assert alert_key(number, rule).rule == rule
        told = site.get(f"/api/v1/alerts/{ids[rule]}").json()
        for lang, said in (("zh", why.zh), ("en", why.en)):
            assert said in exact(site.get(f"/alerts/{ids[rule]}?lang={lang}").text)
            assert said in exact(site.get(f"/?lang={lang}").text)
            assert said in here("--lang", lang, "alerts", "show", ids[rule], at=tmp_path).must(0).out
            assert said in here("--lang", lang, "alerts", "list", at=tmp_path).must(1).out
            assert said in here("--lang", lang, "feed", at=tmp_path).must(0).out
            assert said in atom[lang]
            assert said == listed[rule]["why" if lang == "zh" else "why_en"]
            assert said in str(told)
            assert said in str(feed[rule])


def test_every_head_of_a_table_is_said_in_chinese() -> None:
    """A new column without its word fails here."""
    heads: set[str] = set()
    for file in sorted((ROOT / "escrow_monitor" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print_table":
                columns = node.args[0]
                if isinstance(columns, ast.Tuple):
                    heads |= {str(one.value) for one in columns.elts if isinstance(one, ast.Constant)}
    assert len(heads) > 40
    assert heads - set(HEADS) == set()


def test_values_of_closed_sets_have_the_words_of_the_console() -> None:
    for kind in set(CELLS.values()):
        assert [word for word in WORDS if word.startswith(f"{kind}.")], kind


def test_a_table_in_chinese_names_what_the_console_names(world: World, tmp_path: Path) -> None:
    chinese = here("--lang", "zh", "alerts", "list", at=tmp_path).must(1).out.splitlines()
    assert chinese[0].split("\t")[:3] == ["编号", "级别", "规则"]
    assert "红色\t最低余额\t" in "\n".join(chinese)
    english = here("--lang", "en", "alerts", "list", at=tmp_path).must(1).out.splitlines()
    assert "red\tfloor\t" in "\n".join(english)
