"""Signing in and out: sessions, cookies, forms of other sites, locks, and what the log is told of a denial."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from structlog.testing import capture_logs

from escrow_monitor.actions.passwords import hashed
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.people import keys, sessions, users
from escrow_monitor.records.people.sign_in_tries import NAME_FAILURES_FREE
from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE, COOKIE_HTTPS
from tests.web.web_world import HOME, NOW, Site, World

PASSWORD = "three plain words here"
ALERTS = "/api/v1/alerts"


@pytest.fixture(scope="session")
def password_hash() -> str:
    return hashed(PASSWORD)


class Door:
    """The application, somebody who may sign in, and a clock that can be moved."""

    def __init__(self, world: World, password_hash: str, *, home_url: str = HOME) -> None:
        self.world = world
        self.now = NOW
        with world.database.write() as session:
            users.add(
                session, name="li", display_name="李雷", role=UserRole.STAFF, districts=None, uscc=None,
                password_hash=password_hash, now=NOW,
            )
        self.site = Site(world, create_app(replace(world.ports(), home_url=home_url, real_now=self.real_now)))

    def real_now(self) -> datetime:
        return self.now

    def enter(self, path: str = "/sign-in", *, cookie: str | None = None, **fields: str) -> httpx.Response:
        asked = fields or {"name": "li", "password": PASSWORD}
        headers = {} if cookie is None else {"cookie": cookie}
        return self.site.send("POST", path, key=None, content=urlencode(asked).encode(), origin=HOME, **headers)

    def token(self) -> str:
        return token_in(self.enter())

    def get(self, path: str, token: str) -> httpx.Response:
        return self.site.get(path, key=None, cookie=f"{COOKIE}={token}")

    def post(self, path: str, token: str, content: bytes = b"{}", **headers: str) -> httpx.Response:
        headers.setdefault("content_type", "application/json")
        return self.site.send("POST", path, key=None, content=content, cookie=f"{COOKIE}={token}", **headers)


@pytest.fixture
def door(world: World, password_hash: str) -> Door:
    return Door(world, password_hash)


def token_in(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["set-cookie"].partition("=")[2].partition(";")[0]


def an_alert(door: Door) -> str:
    found: str = door.site.get(ALERTS).json()["items"][0]["alert_id"]
    return found


# in and out


def test_a_person_signs_in_by_name_and_password_and_out_again(door: Door) -> None:
    answer = door.enter()
    assert (answer.status_code, answer.headers["location"]) == (303, "/?lang=zh")
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/", "max-age=43200"))
    assert "secure" not in cookie  # over plain http a browser would throw it away
    assert "domain" not in cookie
    token = token_in(answer)
    assert token.startswith("ems_")
    assert "共 6 个监管账户" in door.get("/", token).text
    out = door.post("/sign-out", token, b"", origin=HOME)
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in?lang=zh")
    assert f'{COOKIE}=""' in out.headers["set-cookie"]
    assert door.get("/", token).status_code == 303
    assert door.get(ALERTS, token).status_code == 401


def test_a_key_signs_in_too_and_is_not_in_the_cookie(door: Door) -> None:
    secret = door.world.secrets["reader"]
    answer = door.enter(key=secret)
    token = token_in(answer)
    assert secret not in answer.headers["set-cookie"]
    assert door.get(ALERTS, token).status_code == 200
    with door.world.database.write() as session:
        [key] = [one for one in keys.known(session) if one.name == "reader"]
        keys.revoke(session, key.key_id, now=NOW)
    assert door.get(ALERTS, token).status_code == 401


def test_a_cookie_is_for_sessions_and_a_header_for_keys(door: Door) -> None:
    secret, token = door.world.secrets["reader"], door.token()
    assert door.get(ALERTS, secret).status_code == 401
    assert door.site.get(ALERTS, key=None, authorization=f"Bearer {token}").status_code == 401
    assert door.site.get(ALERTS, key=None, x_api_key=token).status_code == 401


def test_over_https_the_cookie_is_bound_to_this_host(world: World, password_hash: str) -> None:
    door = Door(world, password_hash, home_url="https://monitor.test")
    answer = door.site.send(
        "POST", "/sign-in", key=None, content=urlencode({"name": "li", "password": PASSWORD}).encode(),
        origin="https://monitor.test",
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE_HTTPS}=ems_")
    assert all(part in cookie.lower() for part in ("secure", "path=/", "httponly", "samesite=lax"))
    assert "domain" not in cookie.lower()
    token = token_in(answer)
    assert door.site.get(ALERTS, key=None, cookie=f"{COOKIE_HTTPS}={token}").status_code == 200
    # A cookie that a neighbouring host could have set is not looked at.
    assert door.site.get(ALERTS, key=None, cookie=f"{COOKIE}={token}").status_code == 401


@pytest.mark.parametrize("fields", [
    {"name": "li", "password": "wrong password"}, {"name": "nobody", "password": PASSWORD}, {"name": "li"},
    {"password": PASSWORD}, {"key": ""}, {"key": "wrong"}, {"key": "emk_" + "x" * 43}, {"a": "1", "b": "2"},
    {"name": "' OR 1=1 --", "password": "' OR 1=1 --"}, {"name": "li", "password": "x" * 3000},
])
def test_what_is_wrong_signs_nobody_in_and_is_told_alike(door: Door, fields: dict[str, str]) -> None:
    answer = door.enter(**fields)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert WORDS["sign_in_wrong"]["zh"] in answer.text
    assert answer.text == door.enter(name="nobody-else", password="another").text


def test_a_key_that_may_not_read_signs_nobody_in(door: Door) -> None:
    assert door.enter(key=door.world.secrets["scraper"]).status_code == 403


def test_a_closed_account_is_answered_as_if_there_were_none(door: Door) -> None:
    with door.world.database.write() as session:
        users.set_disabled(session, "li", NOW, now=NOW)
    assert door.enter().status_code == 403


@pytest.mark.parametrize("name", ["li", "nobody"])
def test_after_some_failures_nobody_is_let_in_for_a_while(door: Door, name: str) -> None:
    for _ in range(NAME_FAILURES_FREE + 1):
        assert door.enter(name=name, password="wrong password").status_code == 403
    locked = door.enter(name=name, password=PASSWORD)
    assert locked.status_code == 429
    assert locked.headers["retry-after"] == "30"
    assert "请约 1 分钟后再试" in locked.text
    door.now += timedelta(seconds=31)
    assert door.enter().status_code == 303


def test_signing_in_is_a_new_session_and_the_old_one_ends(door: Door) -> None:
    first = door.token()
    second = token_in(door.enter(cookie=f"{COOKIE}={first}"))
    assert door.get(ALERTS, first).status_code == 401
    assert door.get(ALERTS, second).status_code == 200
    # A token that an attacker planted is not taken over.
    planted = "ems_" + "p" * 43
    assert token_in(door.enter(cookie=f"{COOKIE}={planted}")) != planted


def test_a_session_that_is_used_lives_and_an_open_page_alone_is_no_use(door: Door) -> None:
    token = door.token()
    for _ in range(4):
        door.now += timedelta(hours=1)
        assert door.get(ALERTS, token).status_code == 200
    door.now += timedelta(hours=1)
    assert door.get("/feeds/alerts.json", token).status_code == 200
    door.now += timedelta(hours=1)
    assert door.get(ALERTS, token).status_code == 401


def test_a_revoked_session_opens_nothing(door: Door) -> None:
    token = door.token()
    with door.world.database.write() as session:
        found = sessions.session_of(session, token)
        assert found is not None
        sessions.end(session, found.session_id, sessions.EndReason.REVOKED, now=NOW)
    answer = door.get(ALERTS, token)
    assert (answer.status_code, answer.json()["detail"]) == (401, "this session is over: sign in again")


# other sites


@pytest.mark.parametrize("headers", [
    {"origin": "http://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site", "origin": HOME},
])
def test_a_form_from_another_site_is_refused(door: Door, headers: dict[str, str]) -> None:
    token = door.token()
    form = urlencode({"name": "li", "password": PASSWORD}).encode()
    for path in ("/sign-in", "/sign-out"):
        answer = door.site.send("POST", path, key=None, content=form, cookie=f"{COOKIE}={token}", **headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert door.get(ALERTS, token).status_code == 200


def test_what_changes_something_needs_the_token_of_its_session(door: Door) -> None:
    token, other = door.token(), door.token()
    path = f"{ALERTS}/{an_alert(door)}/acknowledge"
    body = b'{"until": "2026-11-21T09:00:00+08:00"}'
    for headers in (
        {}, {"origin": HOME}, {"x_csrf_token": ""}, {"x_csrf_token": "x"}, {"x_csrf_token": token},
        {"x_csrf_token": token_of(other)}, {"x_csrf_token": token_of(token), "origin": "http://evil.example"},
        {"x_csrf_token": token_of(token), "sec_fetch_site": "cross-site"},
    ):
        assert door.post(path, token, body, **headers).status_code == 403, headers
    assert door.post(path, token, body, x_csrf_token=token_of(token), origin=HOME).status_code == 200
    # A key in a header is sent by nobody's browser by itself.
    door.world.key("li-key", "read", "decide")
    by_key = door.site.send("POST", path, key="li-key", content=body, content_type="application/json")
    assert by_key.status_code == 200


def test_signing_out_needs_a_sign_that_the_page_is_ours(door: Door) -> None:
    token = door.token()
    assert door.post("/sign-out", token, b"").status_code == 403
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert door.post("/sign-out", token, f"csrf={token_of(token)}".encode(), **form).status_code == 303


def test_a_huge_form_is_refused(door: Door) -> None:
    assert door.enter(name="x" * 100_000).status_code == 413
    unreadable = door.site.send("POST", "/sign-in", key=None, content=b"\xff\xfe", origin=HOME)
    assert unreadable.status_code == 400


@pytest.mark.parametrize(("wanted", "then"), [
    ("/institutions?standing=breached", "/institutions?standing=breached"), ("//evil.example/", "/?lang=zh"),
    ("/\\evil.example", "/?lang=zh"), ("http://evil.example/", "/?lang=zh"), ("javascript:alert(1)", "/?lang=zh"),
    ("/\r\nset-cookie: a=b", "/?lang=zh"), ("/" + "x" * 600, "/?lang=zh"), ("", "/?lang=zh"),
])
def test_after_signing_in_one_goes_on_to_a_page_of_ours_only(door: Door, wanted: str, then: str) -> None:
    answer = door.enter(f"/sign-in?{urlencode({'next': wanted})}")
    assert (answer.status_code, answer.headers["location"]) == (303, then)


def test_a_stranger_is_led_back_to_the_page_they_wanted(door: Door) -> None:
    answer = door.site.get("/institutions?district=5103", key=None)
    assert answer.status_code == 303
    form = door.site.get(answer.headers["location"], key=None).text
    assert "next=%2Finstitutions%3Fdistrict%3D5103" in form.replace("%252F", "%2F") or "next=/institutions" in form


# what is told


def test_every_denial_is_logged_with_who_what_and_why_and_no_secret(door: Door) -> None:
    token = door.token()
    with capture_logs() as logs:
        door.site.get(ALERTS, key=None)
        door.site.get(ALERTS, key=None, x_api_key="emk_" + "x" * 43)
        door.site.get(ALERTS, key="scraper")
        door.get("/metrics", token)
        door.post(f"{ALERTS}/x/acknowledge", token)
        door.enter(name="li", password="wrong password")
    told = [(one.get("who"), one.get("what"), one.get("why")) for one in logs if one["event"] == "web.denied"]
    assert told == [
        (None, f"GET {ALERTS}", "no_credential"), (None, f"GET {ALERTS}", "not_known"),
        ("key:scraper", f"GET {ALERTS}", "no_permission"), ("user:li", "GET /metrics", "no_permission"),
        ("user:li", f"POST {ALERTS}/x/acknowledge", "forged"),
    ]
    assert [one["user"] for one in logs if one["event"] == "sign_in.failed"] == ["li"]
    everything: Any = repr(logs)
    for secret in (token, token_of(token), "wrong password", "x" * 43, door.world.secrets["scraper"]):
        assert secret not in everything


def test_the_pages_of_the_console_keep_their_strict_policy(door: Door) -> None:
    for answer in (door.site.get("/sign-in", key=None), door.enter(name="x", password="y"), door.enter()):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
    text = door.site.get("/sign-in?lang=en&next=/%22%3E%3Cscript%3E", key=None).text
    assert "<script>" not in text.replace('<script src="', "")


def test_both_databases_sign_in_alike(database: Any, password_hash: str) -> None:
    world = World(database=database)
    world.key("reader", "read")
    door = Door(world.bad_morning(), password_hash)
    token = door.token()
    assert door.get(ALERTS, token).status_code == 200
    assert door.enter(name="li", password="wrong password").status_code == 403
    assert door.post("/sign-out", token, b"", origin=HOME).status_code == 303
    assert door.get(ALERTS, token).status_code == 401
