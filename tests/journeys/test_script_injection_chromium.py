"""What others wrote stays text: in every page, feed and printed statement, whatever they wrote and wherever."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from journey_browser import served
from people_world import Filled

from escrow_monitor.actions.import_columns import COLUMNS
from escrow_monitor.records.database import Database
from escrow_monitor.web.guard import COOKIE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MARKUP = '<script>window.hit=1</script>"><img src=x onerror=window.hit=2>{{7*7}}'
ADDRESS = "javascript:window.hit=3//'><svg onload=window.hit=4>"
TURNED = "\u202egnp.exe\u202c <b onmouseover=window.hit=5>"
FORMULA = "=1+1+cmd|' /C calc'!A0"
TEXTS = (MARKUP, ADDRESS, TURNED, FORMULA)
FREE = frozenset({
    ("institutions", "name"), ("institutions", "grid"), ("institutions", "licence_no"), ("contracts", "course"),
    ("contracts", "student_ref"), ("contracts", "template_id"), ("charges", "channel"), ("charges", "bank_ref"),
    ("refund-claims", "note"), ("complaints", "note"), ("complaints", "topic"), ("complaints", "channel"),
    ("notices", "note"), ("notices", "source"),
})
"""Columns that take any text. One that refuses what is written here shows it in the preview of a file."""
REFLECTED = ("q", "district", "state", "level", "rule", "kind", "actor", "about", "after", "before", "on", "lang",
             "nonsense", "round", "channel", "next", "uscc", "bank", "severity", "standing", "order", "sort", "done")
URLS = frozenset({"href", "src", "action", "formaction", "xlink:href", "hx-get", "hx-post", "data", "poster"})
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    folder = tmp_path_factory.mktemp("filled")
    shutil.copy(sqlite_template, folder / "filled.db")
    database = Database(f"sqlite:///{folder}/filled.db")
    found = Filled(database, folder, TEXTS)
    found.settle()
    yield found
    database.close()


class Elements(HTMLParser):
    """What a browser would make of a page: whatever could run is kept."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.alive: list[str] = []
        self.text: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        if tag in {"img", "svg", "b", "iframe", "object"} and any(name in {"src", "onload"} for name, _ in attrs):
            if dict(attrs).get("src", "").startswith("/static/"):  # type: ignore[union-attr]
                return
            self.alive.append(f"<{tag} {attrs}>")
        for name, value in attrs:
            if name.startswith("on") or name == "style" or (name == "hx-on" or name.startswith("hx-on:")):
                self.alive.append(f"<{tag} {name}={value}>")
            if name in URLS and (value or "").strip().lower().startswith(("javascript:", "data:", "vbscript:", "//")):
                self.alive.append(f"<{tag} {name}={value}>")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.alive.append(f"<script>{data[:80]}")
        self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


def test_files_take_the_texts_where_any_text_is_taken(filled: Filled) -> None:
    assert filled.taken <= {(kind, column) for kind, columns in COLUMNS.items() for column in columns}
    assert sorted(FREE - filled.taken) == []


def test_every_page_shows_them_as_text(filled: Filled) -> None:
    shown, wrong = "", {}
    for path in filled.addresses():
        for lang in ("zh", "en"):
            answer = filled.get(path, lang=lang, accept="text/html")
            if not answer.headers["content-type"].startswith("text/html"):
                continue
            page = Elements(answer.text)
            if page.alive or answer.status_code not in (200, 404):
                wrong[path] = [str(answer.status_code), *page.alive]
            shown += "".join(page.text)
    assert wrong == {}
    for text in TEXTS:
        assert text in shown
    assert "49" not in {part.strip('"><') for part in shown.split() if "onerror" in part}


def test_what_is_asked_for_by_address_comes_back_as_text(filled: Filled) -> None:
    for path in filled.addresses():
        if path.partition("?")[0].endswith((".csv", ".xlsx")):
            continue
        for name in REFLECTED:
            asked = f"{path}{'&' if '?' in path else '?'}{name}={quote(ADDRESS + MARKUP)}"
            answer = filled.get(asked, lang="en", accept="text/html")
            assert answer.status_code < 500, (path, name)
            if answer.headers["content-type"].startswith("text/html"):
                assert Elements(answer.text).alive == [], (path, name)
        below = filled.get(f"{path.partition('?')[0]}/{quote(MARKUP, safe='')}", accept="text/html")
        if below.headers["content-type"].startswith("text/html"):
            assert Elements(below.text).alive == [], path


def test_feeds_and_tables_carry_them_as_text(filled: Filled) -> None:
    atom = filled.get("/feeds/alerts.atom")
    names = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(atom.text).iter()}
    assert not names & {"script", "img", "svg"}
    for entry in ElementTree.fromstring(atom.text).iter():
        if entry.get("type") == "html":
            assert Elements(entry.text or "").alive == []
    feed = json.dumps(filled.get("/feeds/alerts.json").json(), ensure_ascii=False)
    assert json.dumps(MARKUP, ensure_ascii=False)[1:-1] in feed
    for item in filled.get("/feeds/alerts.json").json()["items"]:
        assert Elements(item.get("content_html", "")).alive == []
    for path in filled.addresses():
        answer = filled.get(path)
        if answer.headers["content-type"].startswith("text/csv"):
            for line in answer.text.splitlines():
                assert not any(cell.strip('"').startswith(("=", "+1", "@")) for cell in line.split(",")), (path, line)


def test_in_a_browser_nothing_runs_and_the_policy_has_nothing_to_stop(browser: Browser, filled: Filled) -> None:
    with served(filled.app) as address:
        context = browser.new_context(timezone_id="Asia/Shanghai", accept_downloads=True)
        context.add_cookies([{"name": COOKIE, "value": filled.token, "url": address}])
        context.add_init_script(
            "window.stopped = []; document.addEventListener('securitypolicyviolation',"
            " (event) => window.stopped.push(event.violatedDirective + ' ' + event.blockedURI));"
        )
        page = context.new_page()
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        looked = 0
        for path in filled.addresses():
            if not filled.get(path, accept="text/html").headers["content-type"].startswith("text/html"):
                continue
            page.goto(address + path)
            page.wait_for_load_state()
            assert page.evaluate("window.hit") is None, path
            assert page.evaluate("window.stopped") == [], path
            looked += 1
        assert looked > 20
        assert dialogs == []
        context.close()
