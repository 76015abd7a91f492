"""Who may ask what, and what each page and list says."""

from __future__ import annotations

import re
import shutil
import subprocess
from base64 import b64encode
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import feedparser
import pytest
from fastapi.routing import iter_route_contexts

from alerts.alert import AlertKey, Severity, Signal, Why
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import keys
from escrow_monitor.rounds import ROUNDS as ALL_ROUNDS
from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.pages import STATIC
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.guard import COOKIE
from escrow_monitor.web.ports import Check
from escrow_monitor.wiring import RULE_NAMES
from tests.web.web_world import ROUNDS, Site, World, no, uscc

OPEN_TO_ALL = ("/healthz", "/readyz", "/sign-in", *(f"/static/{name}" for name in STATIC))
READ_ONLY = (
    "/feeds/alerts.atom", "/feeds/alerts.json", "/feeds/alerts/events", "/api/v1/accounts", f"/api/v1/accounts/{no(0)}",
    "/api/v1/institutions", f"/api/v1/institutions/{uscc(0)}", "/api/v1/alerts", "/api/v1/banks", "/api/v1/rounds",
    "/api/v1/runs", "/api/v1/openapi.json",
)


# keys


@pytest.mark.parametrize("path", [*READ_ONLY, "/metrics"])
def test_without_a_key_every_answer_is_401_and_says_how_to_send_one(site: Site, path: str) -> None:
    answer = site.get(path, key=None)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Bearer" in answer.headers["www-authenticate"]
    assert "Authorization: Bearer" in answer.json()["detail"]


@pytest.mark.parametrize("path", READ_ONLY)
def test_a_key_without_the_scope_is_403(site: Site, path: str) -> None:
    answer = site.get(path, key="scraper")
    assert answer.status_code == 403
    scope = "feed" if path.startswith("/feeds/") else "read"
    assert answer.json()["detail"] == f"the API key 'scraper' lacks the scope '{scope}'"


def test_a_reader_may_not_scrape_and_an_admin_may_all(site: Site) -> None:
    assert site.get("/metrics", key="reader").status_code == 403
    assert site.get("/metrics", key="admin").status_code == 200
    assert site.get("/feeds/alerts.json", key="admin").status_code == 200


@pytest.mark.parametrize("path", OPEN_TO_ALL)
def test_health_sign_in_and_the_look_need_no_key(site: Site, path: str) -> None:
    assert site.get(path, key=None).status_code == 200


def test_no_route_is_open_by_accident(site: Site) -> None:
    """Every route there is, known to this test or not, refuses a stranger, but for those named."""
    open_to_all = {
        "/healthz", "/readyz", "/sign-in", "/sign-in/oidc", "/sign-in/oidc/callback", "/sign-out", "/static/{name}",
    }
    found = [
        (method, context.path) for context in iter_route_contexts(site.app.routes)
        for method in context.methods or () if context.path not in open_to_all
    ]
    assert len(found) > 15
    for method, path in found:
        answer = site.send(method, re.sub(r"\{.*?\}", "x", re.sub(r"\{\w+:int\}", "1", path or "")), key=None)
        assert answer.status_code in (401, 303), (method, path)


def test_a_key_may_come_as_header_or_basic_password(site: Site) -> None:
    secret = site.world.secrets["reader"]
    basic = b64encode(f"anybody:{secret}".encode()).decode()
    for headers in (
        {"authorization": f"Bearer {secret}"}, {"authorization": f"bearer {secret}"}, {"x_api_key": secret},
        {"authorization": f"Basic {basic}"},
    ):
        assert site.get("/feeds/alerts.json", key=None, **headers).status_code == 200, headers


@pytest.mark.parametrize("authorization", [
    "Bearer", "Bearer ", "Bearer emk_" + "x" * 43, "Bearer " + "x" * 5000, "Basic !!!", "Basic eA==", "Digest a=b",
    "Basic " + b64encode(b"\xff:\xff").decode(), "Bearer ' OR 1=1 --",
])
def test_a_wrong_key_is_401_even_beside_a_right_cookie(site: Site, authorization: str) -> None:
    cookie = f"{COOKIE}={site.world.secrets['reader']}"
    assert site.get("/feeds/alerts.json", key=None, authorization=authorization, cookie=cookie).status_code == 401


def test_a_revoked_or_expired_key_opens_nothing(site: Site, world: World) -> None:
    old = world.key("old", "read", expires_at=world.now)
    with world.database.write() as session:
        key, gone = keys.create(session, name="gone", scopes=["read"], expires_at=None, now=world.now)
        keys.revoke(session, key.key_id, now=world.now)
    for secret in (old, gone):
        answer = site.get("/feeds/alerts.json", key=None, x_api_key=secret)
        assert (answer.status_code, answer.json()["title"]) == (401, "Unauthorized")


def test_a_key_in_the_address_is_no_key(site: Site) -> None:
    secret = site.world.secrets["reader"]
    assert site.get(f"/api/v1/accounts?key={secret}", key=None).status_code == 401


# both databases


def test_everything_answers_the_same_on_both_databases(database: Database) -> None:
    world = World(database=database)
    world.key("reader", "read")
    world.key("scraper", "metrics")
    site = Site(world.bad_morning())
    assert "2 red" in said(site, "/?lang=en")
    for path in READ_ONLY:
        if not path.endswith("/events"):
            assert site.get(path).status_code == 200, path
    replayed = site.get("/feeds/alerts.json?after=2&limit=3").json()["items"]
    assert [item["_escrow"]["seq"] for item in replayed] == [3, 4, 5]
    assert "escrow_feed_sequence 7.0" in site.get("/metrics", key="scraper").text
    assert site.get("/readyz", key=None).status_code == 200


# errors


@pytest.mark.parametrize(("path", "status", "told"), [
    ("/nothing", 404, "there is nothing at /nothing"),
    ("/api/v1/accounts/1", 404, "no account '1' is registered"),
    ("/api/v1/institutions/1", 404, "no institution '1' is registered"),
    ("/api/v1/alerts/1", 404, "there is no alert '1'"),
    ("/api/v1/accounts?limit=0", 422, "query.limit"),
    ("/api/v1/accounts?limit=1001", 422, "query.limit"),
    ("/api/v1/accounts?standing=fine", 422, "query.standing"),
    ("/api/v1/accounts?colour=red", 422, "query.colour"),
    ("/api/v1/alerts?severity=purple", 422, "query.severity"),
    ("/api/v1/runs?limit=x", 422, "query.limit"),
    ("/feeds/alerts.json?afer=3", 400, "did you mean 'after'"),
    ("/feeds/alerts.atom?limit=x", 400, "limit is a whole number"),
    ("/feeds/alerts/events?after=x", 400, "number of a feed entry"),
    ("/static/../app.py", 404, "there is nothing"),
    ("/static/nothing.css", 404, "there is nothing"),
])
def test_an_error_is_a_problem_that_says_what_is_wrong(site: Site, path: str, status: int, told: str) -> None:
    answer = site.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert told in answer.json()["detail"]
    assert answer.json()["status"] == status


def test_nothing_can_be_written(site: Site) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("/api/v1/accounts", "/feeds/alerts.json", "/metrics", "/"):
            answer = site.send(method, path, key="admin")
            assert answer.status_code == 405, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_vanished_database_is_503_everywhere_and_never_an_empty_list(site: Site, tmp_path: Path) -> None:
    site.get("/")
    (tmp_path / "web.db").rename(tmp_path / "elsewhere.db")
    for path in ("/feeds/alerts.atom", "/feeds/alerts.json", "/feeds/alerts/events", "/api/v1/accounts", "/metrics"):
        answer = site.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json"), path
        assert "nothing can be said" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "5"
    page = site.get("/")
    assert page.status_code == 503
    assert "这不表示一切正常" in page.text
    ready = site.get("/readyz", key=None)
    assert (ready.status_code, ready.json()["checks"]) == (503, {"database": "failing"})
    assert str(tmp_path) not in ready.text + page.text
    assert site.get("/healthz", key=None).status_code == 200


def test_a_database_without_tables_is_not_ready(site: Site, world: World) -> None:
    with world.database.write() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    assert site.get("/readyz", key=None).status_code == 503


@pytest.mark.parametrize("path", ["/", "/sign-in", "/feeds/alerts.atom", "/metrics", "/nothing", "/healthz"])
def test_every_answer_carries_the_security_headers(site: Site, path: str) -> None:
    headers = site.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


# feeds and metrics


def test_the_feed_tells_what_happened_in_both_forms(site: Site) -> None:
    items = site.get("/feeds/alerts.json").json()["items"]
    assert [item["_escrow"]["seq"] for item in items] == [7, 6, 5, 4, 3, 2, 1]
    assert (items[0]["_escrow"]["transition"], items[0]["_escrow"]["severity"]) == ("resolved", "yellow")
    assert items[-1]["_escrow"]["uscc"] == uscc(0)
    feed = feedparser.parse(site.get("/feeds/alerts.atom").content)
    assert not feed.bozo
    assert [entry.id for entry in feed.entries] == [item["id"] for item in items]
    heads = [entry["escrow_audit_head"] for entry in feed.entries]
    assert heads == [item["_escrow"]["audit_head"] for item in items]
    assert len(set(heads)) == 7


def test_a_new_entry_changes_the_etag_at_once(site: Site, world: World) -> None:
    first = site.get("/feeds/alerts.json")
    assert site.get("/feeds/alerts.json", if_none_match=first.headers["etag"]).status_code == 304
    world.clear(0)
    again = site.get("/feeds/alerts.json", if_none_match=first.headers["etag"])
    assert again.status_code == 200
    assert again.json()["items"][0]["_escrow"]["seq"] == 8


def test_metrics_are_accepted_by_promtool(site: Site) -> None:
    answer = site.get("/metrics", key="scraper")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'escrow_accounts{standing="breached"} 3.0' in answer.text
    assert 'escrow_alerts_open{rule="floor",severity="red"} 2.0' in answer.text
    assert "escrow_feed_sequence 7.0" in answer.text
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", "check", "metrics"], input=answer.content, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_openmetrics_on_request(site: Site) -> None:
    answer = site.get("/metrics", key="scraper", accept="application/openmetrics-text;version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


# API


def test_an_account_shows_text_and_fen_and_unknown_as_null(site: Site) -> None:
    account = site.get(f"/api/v1/accounts/{no(1)}").json()
    assert (account["balance"], account["balance_fen"]) == ("83120.01", 8312001)
    assert (account["required"], account["standing"], account["level"]) == ("100000.00", "breached", "red")
    assert account["institution"] == "远航英语培训中心"
    assert account["booked"] is account["closing"] is account["held"] is account["available"] is None
    assert account["last_refusal"] == "timeout"


def test_lists_are_filtered_and_paged_without_loss(site: Site) -> None:
    assert [item["account_no"] for item in site.get("/api/v1/accounts?level=red").json()["items"]] == [no(0), no(1)]
    assert len(site.get("/api/v1/accounts?standing=met").json()["items"]) == 2
    seen, after = [], ""
    while after is not None:
        page = site.get(f"/api/v1/accounts?limit=4&after={after}").json()
        seen += [item["account_no"] for item in page["items"]]
        after = page["after"]
    assert seen == [no(number) for number in range(6)]


@pytest.mark.parametrize(("noun", "key", "count"), [("institutions", "uscc", 6), ("alerts", "alert_id", 5)])
def test_the_other_lists_page_the_same_way(site: Site, noun: str, key: str, count: int) -> None:
    seen, after = [], ""
    while after is not None:
        page = site.get(f"/api/v1/{noun}?limit=2&after={after}").json()
        seen += [item[key] for item in page["items"]]
        after = page["after"]
    assert len(seen) == len(set(seen)) == count


def test_an_alert_is_found_by_filter_and_by_id(site: Site) -> None:
    [alert] = site.get(f"/api/v1/alerts?uscc={uscc(2)}&severity=orange").json()["items"]
    assert "83120.02" in alert["why"]
    assert site.get(f"/api/v1/alerts/{alert['alert_id']}").json() == alert
    assert site.get("/api/v1/alerts?bank=none").json()["items"] == []


def test_an_institution_comes_with_its_accounts(site: Site) -> None:
    found = site.get(f"/api/v1/institutions/{uscc(3)}").json()
    assert (found["name"], [account["account_no"] for account in found["accounts"]]) == ("飞羽体育俱乐部", [no(3)])


def test_banks_rounds_and_runs_say_who_is_silent_and_what_is_late(site: Site) -> None:
    banks = {item["bank"]: item for item in site.get("/api/v1/banks").json()["items"]}
    assert (banks["川南农商行"]["silent"], banks["川南农商行"]["refusals"]) == (2, {"timeout": 2})
    late = {item["round"]: item["late"] for item in site.get("/api/v1/rounds").json()["items"]}
    assert late == {name: name == "load-statements" for name in ROUNDS}
    [run] = site.get("/api/v1/runs?round=check-balances").json()["items"]
    assert (run["outcome"], run["counts"]) == ("ok", {"accounts": 6})


def test_the_openapi_document_names_every_api_route(site: Site) -> None:
    document = site.get("/api/v1/openapi.json").json()
    routes = {
        context.path.replace(":path}", "}") for context in iter_route_contexts(site.app.routes)
        if (context.path or "").startswith("/api/v1/")
    }
    assert set(document["paths"]) == routes - {"/api/v1/openapi.json"}
    assert document["security"] == [{"key": []}]


# console


class Page(HTMLParser):
    """The text of a page, and whatever the content security policy would block."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.blocked: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if "style" in names or any(name.startswith("on") for name in names):
            self.blocked.append(f"{tag} {names}")
        for name in ("src", "href", "action"):
            if (names.get(name) or "").startswith(("http:", "https:", "//", "data:", "javascript:")):
                self.blocked.append(f"{tag} {names}")

    def handle_data(self, data: str) -> None:
        self.text += " " + " ".join(data.split())


def said(site: Site, path: str = "/", **options: str) -> str:
    answer = site.get(path, **options)
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.blocked == []
    return re.sub(r"\s+", " ", page.text)


def test_today_says_first_how_many_stand_how(site: Site) -> None:
    text = said(site)
    assert "共 6 个监管账户" in text
    tiles = re.findall(r"(\d+) (红色|橙色|黄色|未知|达标) (?!·)", text)[:5]
    assert tiles == [("2", "红色"), ("1", "橙色"), ("1", "黄色"), ("1", "未知"), ("1", "达标")]


def test_today_names_whom_to_call_first_with_one_sentence_each(site: Site) -> None:
    calls = said(site, "/?lang=en").partition("Call first")[2].partition("Silent banks")[0]
    order = [calls.index(name) for name in ("晨光艺术培训学校", "远航英语培训中心", "小数点数学教室", "飞羽体育俱乐部")]
    assert order == sorted(order)
    assert "holds ¥83,120.00 , the floor is ¥100,000.00" in calls


def test_what_a_silent_bank_causes_is_told_of_the_bank_and_not_of_each_institution(site: Site) -> None:
    text = said(site, "/?lang=en")
    assert "川南农商行 does not answer: timed out; 2 accounts; last answer never" in text
    assert "蓝鲸编程学堂" not in text.partition("Call first")[2].partition("Silent banks")[0]


def test_a_missed_round_and_the_newest_entries_are_shown(site: Site) -> None:
    text = said(site, "/?lang=en")
    assert "Missed rounds" in text
    assert "load statements 09:50 late" in text
    assert "7 10:30 resolved 知行书法院 holds ¥120,000.00" in text


def test_a_late_check_makes_the_tiles_doubtful(empty: World) -> None:
    empty.institutions()
    assert "还没有完成过一次核查" in said(Site(empty))
    empty.ran("check-balances", at=empty.now - timedelta(hours=3))
    assert "核查没有按时完成：以下数字可能已过时。上次完成：07:30" in said(Site(empty))
    empty.ran("check-balances", at=empty.now - timedelta(minutes=1))
    assert "过时" not in said(Site(empty))


def test_an_empty_house_says_so_and_claims_nothing(empty: World) -> None:
    text = said(Site(empty), "/?lang=en")
    assert "No account is registered yet" in text
    assert "No check has finished yet" in text
    assert "No bank was asked yet" in text
    assert "Nothing was published yet" in text


def test_unknown_accounts_are_not_glossed_over_when_nobody_need_be_called(empty: World) -> None:
    empty.institutions()
    assert "No institution is known to be below; 6 accounts are unknown." in said(Site(empty), "/?lang=en")


def test_what_is_wrong_with_our_own_means_stands_above_the_tiles(empty: World) -> None:
    why = Why(zh="工作日历 CN 不知道 2027 年", en="the calendar CN does not know 2027")
    signal = Signal(
        key=AlertKey("calendar_ends", "calendar:CN", "continuous"), severity=Severity.YELLOW, standing="breached",
        why=why, as_of=empty.now,
    )
    with empty.database.write() as session:
        RecordsAlertBook(session).advance(signals=[signal], clears=(), now=empty.now, cause="test")
    text = said(Site(empty), "/?lang=en")
    assert text.index("the calendar CN does not know 2027") < text.index("far below")


def test_every_rule_round_and_refusal_has_a_name_in_both_languages() -> None:
    names = {f"rule.{rule}" for rule in RULE_NAMES} | {f"round.{name}" for name in ALL_ROUNDS}
    names |= {f"refusal.{reason.value}" for reason in RefusalReason}
    assert names - set(WORDS) == set()


def test_an_account_with_a_colour_is_counted_once(empty: World) -> None:
    empty.institutions()
    empty.standings((Standing.UNKNOWN, Level.RED), (Standing.BREACHED, Level.INFO), (Standing.MET, Level.YELLOW))
    tiles = re.findall(r"(\d+) (red|orange|yellow|unknown|met) ", said(Site(empty), "/?lang=en"))[:5]
    assert tiles == [("1", "red"), ("0", "orange"), ("1", "yellow"), ("4", "unknown"), ("0", "met")]


def test_what_others_wrote_cannot_become_markup(empty: World) -> None:
    empty.institutions()
    empty.signal(0, why=Why(zh="<script>alert(1)</script>", en="<img src=x onerror=alert(1)>"), severity=Severity.RED)
    html = Site(empty).get("/").text
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_both_languages_have_every_word() -> None:
    assert [word for word, said in WORDS.items() if not said["zh"] or not said["en"]] == []
    assert [word for word, said in WORDS.items() if fields(said["zh"]) != fields(said["en"])] == []


def fields(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


# signing in


def test_a_stranger_is_led_to_the_sign_in(site: Site) -> None:
    answer = site.get("/?lang=en", key=None)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?lang=en")


def test_static_files_may_be_kept_and_are_named_by_their_content(site: Site) -> None:
    page = site.get("/").text
    named = re.findall(r"/static/[\w.]+\?\w+", page)
    assert len(named) > 3
    assert page.count("/static/") == len(named)
    answer = site.get(named[0], key=None)
    assert site.get(named[0], key=None, if_none_match=answer.headers["etag"]).status_code == 304
    assert site.get("/static/console.css", key=None).headers["content-type"] == "text/css; charset=utf-8"


def test_readiness_asks_what_wiring_adds_and_tells_a_stranger_no_details(world: World) -> None:
    late = Check(name="clock", ok=False, detail="the clock last started a round 3 hours ago at /srv/secret")
    answer = Site(world, create_app(world.ports(checks=lambda: [late]))).get("/readyz", key=None)
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "checks": {"database": "ok", "clock": "failing"}}


def test_what_nobody_foresaw_is_a_problem_without_its_inside(world: World) -> None:
    def broken() -> list[Check]:
        raise ValueError("token=hunter22 in /srv/secret")

    answer = Site(world, create_app(world.ports(checks=broken))).get("/readyz", key=None)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "hunter22" not in answer.text
    assert "content-security-policy" in answer.headers
