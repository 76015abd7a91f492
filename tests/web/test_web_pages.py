"""The frame of every page, the list of institutions and the page of one: what they say, load and keep to themselves."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest

from alerts.alert import Severity, Why
from escrow_monitor.domain.closure.outlook import LEVELS, Ahead, Outlook, Reason
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records import institution_pages
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.alerts.open_now import OpenNowReader
from escrow_monitor.records.bulk import fetch, insert
from escrow_monitor.records.closure.watches import Judged, save_judged
from escrow_monitor.records.database import Database
from escrow_monitor.records.directory import directory
from escrow_monitor.records.institution_pages import AskedInstitutions
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.assets import NAMES, VENDORED, asset, asset_bytes
from escrow_monitor.web.console.words import PARTS, WORDS, Words
from escrow_monitor.wiring import RULE_NAMES
from tests.web.web_world import NAMES as HOLDERS
from tests.web.web_world import NOW, Site, World, no, uscc

FIRST_LOAD_BYTES_MAX = 1_500_000
PAGES = ("/", "/institutions", f"/institutions/{uscc(0)}", "/sign-in", f"/institutions/{uscc(99)}")
NAMED_EVERYWHERE = {"Atom", "JSON", "Feed", "CSV", "XLSX", "SHA", "KiB", "MiB"}
"""Names and units that are the same in every language."""
TEMPLATES = files("escrow_monitor.web.console").joinpath("templates")
OURS = {"calendar_ends", "certificate_ends", "bank_silent", "alert_storm", "round_late", "delivery_late", "backup_late"}
"""Rules about our own means: no page of an institution says what to do about them."""


class Page(HTMLParser):
    """What a page says, what it loads, and what our content security policy would block of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.loads: list[str] = []
        self.blocked: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if "style" in named or tag == "style" or any(name.startswith(("on", "hx-on")) for name in named):
            self.blocked.append(f"{tag} {named}")
        if tag == "script" and "src" not in named:
            self.blocked.append(f"{tag} {named}")
        for name in ("src", "href", "action", "data-source"):
            if re.match(r"https?:|//|data:|javascript:", named.get(name) or ""):
                self.blocked.append(f"{tag} {named}")
        if tag in ("script", "img") or (tag == "link" and named.get("rel") in ("stylesheet", "icon")):
            self.loads.append(named.get("src") or named.get("href") or "")

    def handle_data(self, data: str) -> None:
        self.text += " " + " ".join(data.split())


def said(site: Site, path: str, *, status: int = 200, **options: Any) -> str:
    answer = site.get(path, **options)
    assert answer.status_code == status, answer.text[:300]
    page = Page(answer.text)
    assert page.blocked == []
    return re.sub(r"\s+", " ", page.text)


def order(site: Site, query: str = "") -> list[str]:
    """The institutions of a list, by name, in its order."""
    return re.findall(r'class="name"><a href="[^"]+">([^<]+)</a>', site.get(f"/institutions{query}").text)


def outlook(number: int, on: date, held: int, **changed: Any) -> Outlook:
    """What the closure watch says of an institution; with a forecast unless it is told otherwise."""
    def money(fen: int) -> Money:
        return Money(fen, "CNY")

    reasons = () if held == 0 else (
        Reason(name="w6", points=3.2, zh="9 笔退费逾期未付", en="9 refunds are overdue"),
        Reason(name="w8", points=1.6, zh="近 28 天投诉 3 件", en="3 complaints in 28 days", new=True),
    )
    made = Outlook(
        uscc=uscc(number), on=on, level=LEVELS[held], said=LEVELS[held], chances={30: 0.2, 60: 0.44, 90: 0.61},
        chance_high=0.7, balance=money(83_120_00), owed=money(120_000_00), exposed=money(36_880_00),
        exposed_then=money(50_000_00), breach_in=(0, 0, 0), breach_zh="余额已低于应退未消课金额",
        breach_en="the balance is below what families are owed already", reasons=reasons, unsure=False, model="7",
        ahead=(
            Ahead(0, (83_120_00,) * 3, (120_000_00,) * 3),
            Ahead(30, (60_000_00, 70_000_00, 80_000_00), (90_000_00, 100_000_00, 110_000_00)),
        ),
    )
    return replace(made, **changed)


def judge(world: World, *said: tuple[Outlook, int]) -> None:
    for one, held in said:
        with world.database.write() as session:
            save_judged(
                session, [Judged(outlook=one, held=held, said=held, quiet=0)], on=one.on, model=one.model, now=world.now
            )


@pytest.fixture
def warned(rich: Site, world: World) -> Site:
    """The first institution orange since the 10th and red since the 18th, the second in the dark, the third calm."""
    today = NOW.date()
    for back in range(10, -1, -1):
        held = 3 if back <= 2 else 2
        judge(world, (outlook(0, today - timedelta(days=back), held), held))
    judge(world, (outlook(1, today, 0, unsure=True), 0), (outlook(2, today, 0), 0),
          (outlook(3, today, 1, books=False, ahead=(), breach_in=None, exposed_then=None), 1),
          (outlook(4, today - timedelta(days=5), 1), 1))
    return rich


@pytest.fixture
def rich(world: World) -> Site:
    """The bad morning with a month of closings, contracts and what they come to."""
    with world.database.write() as session:
        insert(
            session, "account_days",
            {"account_no": str, "day": date, "covered": bool, "opening_fen": int, "closing_fen": int,
             "credits_fen": int, "debits_fen": int, "largest_debit_fen": int},
            [(no(0), date(2026, 11, 19) - timedelta(days=back), True, 0, 90_000_00 + back, 0, 0, 0)
             for back in range(40)],
        )
    return Site(world)


# what is loaded


def test_what_others_wrote_is_the_file_that_its_manifest_names_and_brings_its_licence() -> None:
    vendor = files("escrow_monitor.web").joinpath("vendor")
    manifest = json.loads(vendor.joinpath("VENDOR.json").read_text("utf-8"))
    assert {folder.name for folder in vendor.iterdir() if folder.is_dir()} == set(manifest)
    for folder, item in manifest.items():
        kept = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in vendor.joinpath(folder).iterdir()}
        assert kept == item["files"], folder
        assert any(name.startswith("LICENSE") for name in kept), folder
        assert item["license"] in {"MIT", "0BSD", "Apache-2.0"}
        assert re.fullmatch(r"\d+\.\d+\.\d+", item["version"])
    assert {(folder, name) for name, (folder, _) in VENDORED.items()} <= {
        (folder, name) for folder, item in manifest.items() for name in item["files"]
    }


def test_a_file_is_named_by_its_content_and_then_kept_for_good(site: Site) -> None:
    for name in NAMES:
        address = asset(name)
        answer = site.get(address, key=None)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.content == asset_bytes(name)
        assert site.get(address, key=None, if_none_match=answer.headers["etag"]).status_code == 304
        unnamed = site.get(f"/static/{name}?0", key=None)
        assert "immutable" not in unnamed.headers["cache-control"]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_loads_more_than_it_may_the_first_time(rich: Site, path: str) -> None:
    """Even where nothing is compressed; compressed it is a fourth of that."""
    answer = rich.get(path)
    loads = Page(answer.text).loads
    assert loads
    plain = len(answer.content)
    packed = int(answer.headers.get("content-length", plain))
    for address in set(loads):
        assert re.fullmatch(r"/static/[\w.-]+\?[0-9a-f]{12}", address), address
        plain += len(rich.get(address, key=None, accept_encoding="identity").content)
        packed += int(rich.get(address, key=None, accept_encoding="gzip").headers["content-length"])
    assert plain < FIRST_LOAD_BYTES_MAX
    assert packed < FIRST_LOAD_BYTES_MAX / 3


def test_only_the_page_with_the_chart_loads_what_draws_it(rich: Site) -> None:
    assert "echarts" not in rich.get("/institutions").text
    assert "echarts" in rich.get(f"/institutions/{uscc(0)}").text
    assert "echarts" not in rich.get(f"/institutions/{uscc(1)}").text


def test_our_scripts_run_no_text_and_write_no_markup() -> None:
    for name in NAMES:
        if name.endswith(".js") and name not in VENDORED:
            text = asset_bytes(name).decode()
            assert not re.search(r"\beval\b|new Function|(inner|outer|AdjacentH)TML|document\.write", text), name
    frame = TEMPLATES.joinpath("frame.html").read_text("utf-8")
    [config] = [json.loads(found) for found in re.findall(r"name=\"htmx-config\" content='([^']+)'", frame)]
    assert (config["allowEval"], config["allowScriptTags"], config["includeIndicatorStyles"]) == (False, False, False)


def test_our_look_asks_no_colour_that_an_old_browser_cannot_mix() -> None:
    for name in ("console.css", "tabler.min.css"):
        text = re.sub(r"/\*.*?\*/", "", asset_bytes(name).decode(), flags=re.DOTALL)
        assert not re.search(r"color-mix\(|oklch\(|@layer|@import|https?://(?!www\.w3\.org)", text), name


# words


def test_no_page_says_a_word_that_is_not_listed() -> None:
    """What stands in a template is a word by its name, or no word at all."""
    for template in TEMPLATES.iterdir():
        text = template.read_text("utf-8")
        if template.name == "refund_statement.html":
            continue
        assert set(re.findall(r"""\bw\(["']([\w.]+)["'][,)]""", text)) <= set(WORDS)
        plain = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", "", text, flags=re.DOTALL)
        plain = re.sub(r"<[^>]*>", " ", plain)
        left = set(re.findall(r"[^\W\d_]{2,}", plain)) - NAMED_EVERYWHERE
        assert left == set(), template.name


def test_no_word_of_one_room_hides_that_of_another() -> None:
    said_by: dict[str, int] = {}
    for part in PARTS:
        for name in part:
            said_by[name] = said_by.get(name, 0) + 1
    assert [name for name, count in said_by.items() if count > 1] == []


def test_every_word_is_said_in_both_languages_with_the_same_places() -> None:
    def places(text: str) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", text))

    for name, spoken in WORDS.items():
        assert spoken["zh"], name
        assert spoken["en"], name
        assert places(spoken["zh"]) == places(spoken["en"]), name
        assert not re.search(r"[\u4e00-\u9fff]", spoken["en"]) or name == "other_language", name


def test_every_rule_about_an_institution_says_what_to_do() -> None:
    assert {f"step.{rule}" for rule in set(RULE_NAMES) - OURS} <= set(WORDS)


def test_yuan_are_written_as_people_write_them_and_never_rounded_up() -> None:
    zh, en = Words("zh"), Words("en")
    assert [zh.money(fen) for fen in (0, 999_999, 1_000_000, 9_999_999_99, 1_234_567_890_12, -83_120_45)] == [
        "0.00 元", "9,999.99 元", "1.00 万元", "999.99 万元", "12.34 亿元", "-8.31 万元",
    ]
    assert [en.money(fen) for fen in (999_999, 83_120_45, -83_120_45)] == ["¥9,999.99", "¥83,120", "-¥83,120"]
    assert zh.money(83_120_45, "USD") == "83,120.45 USD"
    assert zh.share(99_999, 100_000) == "99.9 %"
    assert (zh.day(date(2026, 11, 3)), en.day(date(2026, 11, 3), today=date(2026, 1, 1))) == ("2026年11月3日", "3 Nov")


# the frame


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/sign-in"])
def test_every_page_has_its_frame(rich: Site, path: str) -> None:
    html = rich.get(path).text
    assert '<a class="skip" href="#page">' in html
    assert '<main id="page"' in html
    assert html.count("<h1") == 1
    shown = [href for name, href in pages.NAVIGATION if name not in ("imports", "audit")]  # a reader may do neither
    assert shown == re.findall(r'<a class="noun" href="([^"]+)"', html)
    assert html.count('aria-current="page"') == 1
    assert '<html lang="zh-CN">' in html


def test_another_language_keeps_the_page_and_its_filters_and_is_remembered(site: Site) -> None:
    page = site.get("/institutions?q=%E8%89%BA%E6%9C%AF&level=red")
    assert 'href="?q=%E8%89%BA%E6%9C%AF&amp;level=red&amp;lang=en"' in page.text
    assert "set-cookie" not in page.headers
    answer = site.get("/institutions?lang=en")
    assert "escrow_lang=en" in answer.headers["set-cookie"]
    assert '<html lang="en">' in site.get("/institutions", cookie="escrow_lang=en").text
    assert '<html lang="zh-CN">' in site.get("/institutions?lang=zh", cookie="escrow_lang=en").text


# the list


def test_the_most_urgent_institution_stands_first(site: Site) -> None:
    assert order(site) == [HOLDERS[0], HOLDERS[1], HOLDERS[2], HOLDERS[4], HOLDERS[3], HOLDERS[5]]
    assert order(site, "?order=code") == list(HOLDERS)
    text = said(site, "/institutions?lang=en")
    assert "6 institutions registered" in text
    assert "2 at worst red" in text
    assert "¥83,120 / ¥100,000" in text
    assert "83.1 %" in text


@pytest.mark.parametrize(("query", "found"), [
    ("?q=英语", [1]), (f"?q={uscc(3)}", [3]), ("?q=91510300ma6000000", [0, 1, 2, 4, 3, 5]), ("?q=%25", []),
    ("?q=_", []),
    ("?level=red", [0, 1]), ("?level=orange", [2, 4]), ("?level=none", [5]), ("?level=red&order=code", [0, 1]),
    ("?level=none&order=code", [5]), ("?standing=breached", [0, 1, 2]), ("?standing=unknown", [4]),
    ("?standing=met", [3, 5]), ("?district=5103", [0, 1, 2, 4, 3, 5]), ("?district=44", []),
    ("?kind=subject", []), ("?standing=met&level=yellow", [3]),
])
def test_filters_all_must_fit(database: Database, query: str, found: list[int]) -> None:
    world = World(database=database)
    world.key("reader", "read")
    assert order(Site(world.bad_morning()), query) == [HOLDERS[number] for number in found]


@pytest.mark.parametrize("query", [
    "?standing=fine", "?level=purple", "?kind=x", "?district=51x", "?district=%EF%BC%95", "?order=name",
    "?colour=red", "?after=x", "?after=4~~x", "?after=0~5~x", "?after=9~1~x", f"?after=4~{10**30}~x", "?q=" + "x" * 101,
])
def test_a_filter_that_is_none_is_refused(site: Site, query: str) -> None:
    assert site.get(f"/institutions{query}").status_code == 400
    assert site.get(f"/institutions.csv{query}").status_code == 400


def test_pages_follow_one_another_without_loss(database: Database) -> None:
    world = World(database=database)
    world.key("reader", "read")
    world.institutions(95)
    for number in range(40):
        world.signal(number, severity=(Severity.RED, Severity.ORANGE)[number % 2])
    site = Site(world)
    for start in ("/institutions", "/institutions?order=code", "/institutions?level=none"):
        seen: list[str] = []
        path: str | None = start
        while path is not None:
            html = site.get(path).text
            seen += re.findall(r'class="name"><a href="/institutions/(\w+)"', html)
            more = re.search(r'href="(/institutions\?[^"]*)" rel="next"', html)
            path = more[1].replace("&amp;", "&") if more else None
        assert len(seen) == len(set(seen)) == (55 if "none" in start else 95), start
        if start == "/institutions":
            assert seen[:40] == [uscc(number) for number in (*range(0, 40, 2), *range(1, 40, 2))]


def test_who_sees_a_part_finds_no_other(database: Database) -> None:
    world = World(database=database)
    world.bad_morning()
    with database.write() as session:
        save_institutions(session, [
            Institution(uscc=uscc(number), name=HOLDERS[number], district="440101") for number in (0, 3)
        ], now=world.now)
    with database.read() as session:
        for visible, found in (
            (Visible(districts=("5103",)), {1, 2, 4, 5}), (Visible(districts=("44", "5103")), {0, 1, 2, 3, 4, 5}),
            (Visible(uscc=uscc(3)), {3}), (Visible(districts=()), set()),
            (Visible(districts=("5103",), uscc=uscc(3)), set()),
        ):
            asked = AskedInstitutions(visible=visible)
            lines, counts = institution_pages.first_page(session, asked)
            assert {line.institution.uscc for line in lines} == {uscc(number) for number in found}
            assert sum(counts.values()) == len(found - {5})
            assert institution_pages.count(session, visible) == len(found)
            by_text = institution_pages.page(session, replace(asked, text="9151"))
            assert {line.institution.uscc for line in by_text} == {uscc(number) for number in found}
        assert institution_pages.districts(session, Visible(districts=("44",))) == ["440101"]
        assert institution_pages.districts(session) == ["440101", "510302"]


def test_the_standing_is_that_of_the_worst_account_and_none_is_unknown(empty: World) -> None:
    empty.institutions()
    with empty.database.write() as session:
        save_institutions(session, [Institution(uscc=uscc(50), name="无账户机构")], now=empty.now)
    empty.standings((Standing.MET, None))
    site = Site(empty)
    text = said(site, "/institutions?q=无账户")
    assert "没有登记账户" in text
    assert "未知" in text
    assert "从未收到数据" in text
    assert "达标 8.31 万元 / 10.00 万元" in said(site, f"/institutions?q={uscc(0)}")


def test_a_bar_and_a_line_are_named_for_who_cannot_see_them(rich: Site) -> None:
    html = rich.get("/institutions?lang=en").text
    assert 'aria-label="holds ¥83,120, floor ¥100,000: 83.1 % of it"' in html
    assert 'aria-label="Closing balances 21 Oct 2026 to 19 Nov 2026: from ¥90,000 to ¥90,000"' in html
    points = re.search(r'<polyline points="([^"]+)"', html)
    assert points is not None
    assert len(points[1].split()) == 30


def test_empty_states_say_what_to_do(empty: World) -> None:
    site = Site(empty)
    assert "escrow-monitor import institutions" in said(site, "/institutions?lang=en")
    empty.institutions(1)
    assert "Take away a filter" in said(site, "/institutions?lang=en&q=zzz")
    text = said(site, f"/institutions/{uscc(0)}?lang=en")
    for word in ("statements load", "not checked yet", "import contracts", "No refund was claimed", "Not reconciled"):
        assert word in text
    assert "nothing is known" in text


def test_the_export_has_every_institution_and_no_formula(site: Site, world: World) -> None:
    with world.database.write() as session:
        save_institutions(session, [
            Institution(
                uscc=uscc(60), name='=HYPERLINK("http://x")', district="510302", kind=InstitutionKind.SUBJECT
            ),
        ], now=world.now)
    answer = site.get("/institutions.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="institutions-20261120.csv"' in answer.headers["content-disposition"]
    text = answer.content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 7
    first = rows[0]
    assert (first["机构名称"], first["结论"], first["最高预警等级"]) == (HOLDERS[0], "未达标", "红色")
    assert (first["余额"], first["最低余额"], first["账户"]) == ("83120.00", "100000.00", f"'{no(0)}")
    [formula] = [row for row in rows if "HYPERLINK" in row["机构名称"]]
    assert formula["机构名称"].startswith("'=")
    assert len(list(csv.DictReader(io.StringIO(site.get("/institutions.csv?level=red").text)))) == 2


# one institution


def test_an_institution_says_how_it_stands_since_when_and_what_to_do(rich: Site) -> None:
    text = said(rich, f"/institutions/{uscc(0)}?lang=en")
    for word in (
        HOLDERS[0], "breached", "red", "Call the institution: pay in up to the floor in time.", "83.1 %",
        "Missing 16,880.00 CNY", "83,120.00 CNY", "checked 10:30", "holds ¥83,120.00 , the floor is ¥100,000.00",
        "The same figures as a table", "90,000.00", no(0), "Zigong, Sichuan",
    ):
        assert word in text, word


def test_the_chart_has_a_value_a_day_and_a_place_for_the_outlook(rich: Site) -> None:
    found = rich.get(f"/institutions/{uscc(0)}/chart.json?lang=en").json()
    assert set(found) == {"uscc", "currency", "as_of", "dates", "series", "events", "floor_now", "latest", "outlook"}
    assert found["dates"][0] == "2026-10-11"
    assert found["dates"][-1] == "2026-11-20"
    assert {len(values) for values in found["series"].values()} == {len(found["dates"])}
    assert found["series"]["balance"][-2:] == [90_000_00, None]
    assert found["series"]["floor"][-2:] == [None, 100_000_00]
    assert found["floor_now"] == 100_000_00
    assert found["latest"] == {"on": "2026-11-20", "balance": 83_120_00}
    assert [(one["severity"], one["transition"], one["name"]) for one in found["events"]] == [
        ("red", "opened", "minimum balance"),
    ]
    assert found["outlook"] is None  # nobody has judged it
    assert len(rich.get(f"/institutions/{uscc(0)}/chart.json?days=10").json()["dates"]) == 11


@pytest.mark.parametrize("days", ["0", "x", "801", "-1", "99999", "１"])
def test_a_chart_of_no_length_is_refused(rich: Site, days: str) -> None:
    assert rich.get(f"/institutions/{uscc(0)}/chart.json?days={days}").status_code == 400


def test_a_day_without_a_statement_is_a_hole_and_no_zero(rich: Site, world: World) -> None:
    with world.database.write() as session:
        session.connection().exec_driver_sql("UPDATE account_days SET covered = 0 WHERE day = '2026-11-10'")
    found = rich.get(f"/institutions/{uscc(0)}/chart.json").json()
    assert found["series"]["balance"][found["dates"].index("2026-11-10")] is None


def test_one_that_is_not_there_is_404_in_words(site: Site) -> None:
    text = said(site, f"/institutions/{uscc(99)}?lang=en", status=404)
    assert "There is no such institution" in text
    assert site.get(f"/institutions/{uscc(99)}/chart.json").status_code == 404
    assert said(site, "/institutions/%3Cscript%3E?lang=en", status=404)


def test_a_stranger_is_led_to_the_sign_in_and_data_is_refused(site: Site) -> None:
    for path in ("/institutions", "/institutions.csv", f"/institutions/{uscc(0)}"):
        assert site.get(path, key=None).status_code == 303
    assert site.get(f"/institutions/{uscc(0)}/chart.json", key=None).status_code == 401


def test_what_others_wrote_stays_text_everywhere(empty: World) -> None:
    empty.institutions()
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    with empty.database.write() as session:
        save_institutions(session, [Institution(uscc=uscc(0), name=attack, licence_no=attack)], now=empty.now)
    empty.signal(0, why=Why(zh=attack, en=attack))
    site = Site(empty)
    for path in ("/", "/institutions", f"/institutions/{uscc(0)}", "/institutions?q=%3Cscript%3E%22"):
        html = site.get(path).text
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert Page(html).blocked == []


def test_today_leads_to_the_institutions_and_says_what_changed(site: Site) -> None:
    html = site.get("/?lang=en").text
    assert f'<a href="/institutions/{uscc(0)}">' in html
    text = said(site, "/?lang=en")
    assert "Changed since yesterday" in text
    assert "opened 6 2 of them red" in text
    assert "resolved 1" in text


def test_a_quiet_day_says_that_nothing_changed(world: World) -> None:
    world.now = NOW + timedelta(days=2)
    assert "没有新增、加重或解除的预警" in said(Site(world), "/")


def test_while_the_records_cannot_be_read_no_page_says_that_all_is_well(site: Site, tmp_path: Any) -> None:
    site.get("/institutions")
    (tmp_path / "web.db").rename(tmp_path / "elsewhere.db")
    for path in ("/institutions", f"/institutions/{uscc(0)}"):
        answer = site.get(path)
        assert answer.status_code == 503
        assert "这不表示一切正常" in answer.text


def test_accounts_of_one_institution_are_added_up_only_if_all_are_known(database: Database) -> None:
    world = World(database=database)
    world.key("reader", "read")
    world.institutions()
    with database.write() as session:
        session.connection().exec_driver_sql(f"UPDATE accounts SET uscc = '{uscc(0)}' WHERE account_no = '{no(1)}'")
    world.standings((Standing.MET, None))
    site = Site(world)
    text = said(site, f"/institutions/{uscc(0)}?lang=en")
    assert "unknown 1 of 2 accounts known" in text
    world.standings((Standing.MET, None), (Standing.BREACHED, Level.RED))
    text = said(site, f"/institutions/{uscc(0)}?lang=en")
    assert "166,240.01 CNY" in text
    assert "200,000.00 CNY" in text
    assert "weakest of 2 accounts" in said(site, f"/institutions?lang=en&q={uscc(0)}")


# the closure watch


def test_a_warned_institution_says_how_likely_since_when_why_and_what_could_be_done(warned: Site) -> None:
    text = said(warned, f"/institutions/{uscc(0)}?lang=en")
    for word in (
        "Closure watch red since 18 Nov · warned of since 10 Nov", "Closes within 30 days 20%",
        "Closes within 60 days 44% if all that is unknown were at its worst: 70%", "Closes within 90 days 61%",
        "Families' money not covered ¥36,880 ¥50,000 in 90 days", "the balance is below what families are owed already",
        "9 refunds are overdue", "3 complaints in 28 days new this week", "proposed; a person decides",
        "summon and inspect on site today", "judged 10:30 , model 7", "Forecast (middle; four times in five between)",
        "70,000.00 60,000.00 – 80,000.00",
    ):
        assert word in text, word
    html = warned.get(f"/institutions/{uscc(0)}?lang=en").text
    assert "Closure levels and chances within 60 days, 10 Nov to 20 Nov: at most red (18 Nov), now red" in html
    assert [int(wide) for wide in re.findall(r'class="part" width="(\d+)" height="8"', html)] == [100, 50]
    assert re.findall(r'<rect class="(\w+)" x="([\d.]+)"', html) == [("orange", "0.0"), ("red", "261.8")]


@pytest.mark.parametrize(("number", "words"), [
    (1, ("Too little is known to rule out a closure",)),
    (2, ("Nothing that is known points to a closure",)),
    (3, ("yellow", "this rests on the bank alone", "Judged once only")),
    (4, ("Last judged on 15 Nov : what follows says nothing about today",)),
    (5, ("Not judged yet", "not an all-clear")),
])
def test_what_is_not_known_of_a_closure_is_said(warned: Site, number: int, words: tuple[str, ...]) -> None:
    text = said(warned, f"/institutions/{uscc(number)}?lang=en")
    for word in words:
        assert word in text


def test_the_chart_has_the_forecast_and_the_mornings_on_which_the_level_changed(warned: Site) -> None:
    found = warned.get(f"/institutions/{uscc(0)}/chart.json").json()["outlook"]
    assert (found["on"], found["level"]) == ("2026-11-20", "red")
    assert found["dates"] == ["2026-11-19", "2026-12-19"]
    assert found["balance"] == {
        "low": [83_120_00, 60_000_00], "middle": [83_120_00, 70_000_00], "high": [83_120_00, 80_000_00],
    }
    assert found["levels"] == [{"on": "2026-11-10", "level": "orange"}, {"on": "2026-11-18", "level": "red"}]


def test_today_names_who_may_close_and_adds_up_what_is_at_stake(warned: Site) -> None:
    text = said(warned, "/?lang=en")
    for word in (
        "May close", "red 1", "yellow 2", "¥110,640 of their families' money is not covered",
        f"44% {HOLDERS[0]} red new this week 9 refunds are overdue 1 more ¥36,880 ¥50,000 in 90 days",
        "of 1 more too little is known",
    ):
        assert word in text, word
    assert text.index(f"44% {HOLDERS[0]}") < text.index(f"44% {HOLDERS[3]}")


def test_today_of_a_quiet_register_gives_no_all_clear_where_too_little_is_known(site: Site, world: World) -> None:
    assert "Nothing points to a closure anywhere" in said(site, "/?lang=en")
    judge(world, (outlook(1, NOW.date(), 0, unsure=True), 0))
    assert "of 1 too little is known to rule it out" in said(Site(world), "/?lang=en")


@pytest.mark.parametrize(("query", "found"), [
    ("?closure=red", [0]), ("?closure=yellow", [4, 3]), ("?closure=any", [0, 4, 3]), ("?closure=orange", []),
    ("?closure=any&level=red", [0]), ("?closure=yellow&order=code", [3, 4]),
])
def test_the_list_is_filtered_by_what_the_closure_watch_holds(warned: Site, query: str, found: list[int]) -> None:
    assert order(warned, query) == [HOLDERS[number] for number in found]
    assert warned.get("/institutions?closure=none").status_code == 400


def test_the_list_and_its_export_say_how_likely_a_closure_is(warned: Site) -> None:
    html = warned.get("/institutions?lang=en").text
    cells = re.findall(r'<td class="closes"[^>]*>(.*?)</td>', html)
    assert [re.sub(r"<[^>]+>", "", cell) for cell in cells] == [
        "red 44%", "too little known", "calm", "yellow 44%", "yellow 44%", "not judged",
    ]
    export = warned.get("/institutions.csv?lang=en").content.decode("utf-8-sig")
    rows = {row["USCC"]: row for row in csv.DictReader(io.StringIO(export))}
    level, chance = "Closure level", "Chance of closing in 60 days"
    assert (rows[uscc(0)][level], rows[uscc(0)][chance]) == ("red", "0.4400")
    assert (rows[uscc(5)][level], rows[uscc(5)][chance]) == ("", "")


# what is kept for the lists


@pytest.mark.parametrize("asked", [
    {}, {"level": "red"}, {"level": "none"}, {"standing": Standing.BREACHED}, {"standing": Standing.UNKNOWN},
    {"standing": Standing.MET}, {"district": "5103"}, {"district": "510302"}, {"district": "44"}, {"closure": "any"},
    {"closure": "red"}, {"text": "英语"}, {"text": "91510300ma6000000"}, {"text": "%"},
    {"kind": InstitutionKind.SUBJECT}, {"visible": Visible(districts=("44",))}, {"visible": Visible(uscc=uscc(2))},
])
def test_what_is_chosen_in_memory_is_what_the_database_chooses(warned: Site, asked: dict[str, Any]) -> None:
    with warned.world.database.read() as session:
        names = directory(session)
        assert names is not None
        moment = OpenNowReader().read(session, names, now=warned.world.now)
        assert moment is not None
        question = AskedInstitutions(**asked)
        among = moment.alarmed_by(question.visible)
        assert institution_pages.first_page(session, question, among=among, names=names, limit=4) == (
            institution_pages.first_page(session, question, limit=4)
        )


def test_the_worst_open_alert_of_each_institution_is_kept_up_with_its_alerts(database: Database) -> None:
    world = World(database=database)
    world.bad_morning()
    world.signal(0, severity=Severity.YELLOW, rule="freshness")
    world.clear(1)
    world.signal(2, severity=Severity.RED)
    with database.read() as session:
        kept = fetch(session, "SELECT uscc, urgency, alerts FROM institution_alarms ORDER BY uscc")
    assert [tuple(row) for row in kept] == [(uscc(0), 0, 2), (uscc(2), 0, 1), (uscc(3), 2, 1), (uscc(4), 1, 1)]


def test_no_script_of_ours_makes_markup_of_text() -> None:
    makes = re.compile(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|new Function)\b")
    ours = [name for name in NAMES if name.endswith(".js") and name not in VENDORED]
    assert {"live.js", "alerts.js", "console.js"} <= set(ours)
    for name in ours:
        assert not makes.search(asset_bytes(name).decode()), name
