"""One's own account, and users and keys as administrators look after them: on pages and over the API."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import pytest

from escrow_monitor.actions.passwords import hashed
from escrow_monitor.actions.users import By, link_identity
from escrow_monitor.domain.permissions import SCOPES, Permission, UserRole
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import keys, sessions, users
from escrow_monitor.records.people.sign_in_tries import NAME_FAILURES_FREE
from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.csrf import token_of
from escrow_monitor.web.guard import COOKIE
from tests.web.web_world import HOME, NOW, Site, World, uscc

PASSWORD = "three plain words here"
ANOTHER = "four other plain words"
API = "/api/v1"


@pytest.fixture(scope="session")
def password_hash() -> str:
    return hashed(PASSWORD)


class Office:
    """Two administrators, one of the district 5103 alone, and people whom they look after."""

    def __init__(self, world: World, password_hash: str) -> None:
        self.world, self.now = world, NOW
        with world.database.write() as session:
            for name, role, districts, own in (
                ("root", UserRole.ADMIN, None, None), ("local", UserRole.ADMIN, ["5103"], None),
                ("wang", UserRole.STAFF, ["510302"], None), ("zhao", UserRole.STAFF, ["3710"], None),
                ("chief", UserRole.REGULATOR, None, None), ("both", UserRole.STAFF, ["5103", "3710"], None),
                ("school", UserRole.INSTITUTION, None, uscc(0)),
            ):
                users.add(
                    session, name=name, display_name=name.title(), role=role, districts=districts, uscc=own,
                    password_hash=password_hash, now=NOW,
                )
        self.site = Site(world, create_app(replace(world.ports(), real_now=self.real_now)))

    def real_now(self) -> datetime:
        return self.now

    def token(self, name: str, agent: str = "a browser") -> str:
        with self.world.database.write() as session:
            return sessions.begin(session, user_name=name, address="192.0.2.1", agent=agent, now=self.now)[1]

    def get(self, path: str, token: str) -> httpx.Response:
        return self.site.get(path, key=None, cookie=f"{COOKIE}={token}")

    def post(self, path: str, token: str, **fields: Any) -> httpx.Response:
        content = urlencode({**fields, "csrf": token_of(token)}, doseq=True).encode()
        return self.site.send(
            "POST", path, key=None, content=content, cookie=f"{COOKIE}={token}", origin=HOME,
            content_type="application/x-www-form-urlencoded",
        )

    def call(self, method: str, path: str, token: str, body: object = None, **headers: str) -> httpx.Response:
        content = None if body is None else orjson.dumps(body)
        kind = {} if body is None else {"content_type": "application/json"}
        return self.site.send(
            method, f"{API}{path}", key=None, content=content, cookie=f"{COOKIE}={token}", origin=HOME,
            x_csrf_token=token_of(token), **kind, **headers,
        )

    def user(self, name: str) -> users.User | None:
        with self.world.database.read() as session:
            return users.user(session, name)

    def said(self) -> list[tuple[str, str, dict[str, Any]]]:
        with self.world.database.read() as session:
            return [(one.kind, one.actor, dict(one.payload)) for one in audit.records(session, after=0, limit=1000)]

    def signs_in(self, name: str, password: str) -> bool:
        content = urlencode({"name": name, "password": password}).encode()
        return self.site.send("POST", "/sign-in", key=None, content=content, origin=HOME).status_code == 303


@pytest.fixture
def office(world: World, password_hash: str) -> Office:
    return Office(world, password_hash)


def once_of(answer: httpx.Response) -> str:
    found = re.search(r'name="once" value="([^"]+)"', answer.text)
    assert found is not None
    return found[1]


def secret_of(answer: httpx.Response) -> str:
    found = re.search(r'<code class="secret">([^<]+)</code>', answer.text)
    assert found is not None, answer.text
    return found[1]


# one's own account


def test_everybody_sees_who_they_are_here_and_what_they_may(office: Office) -> None:
    page = office.get("/account", office.token("wang")).text
    assert all(text in page for text in ("Wang", "wang", "工作人员", "510302", WORDS["permission.decide"]["zh"]))
    assert WORDS["permission.admin"]["zh"] not in page
    assert 'href="/account"' in office.get("/", office.token("wang")).text
    assert 'href="/users"' not in office.get("/", office.token("wang")).text
    assert 'href="/users"' in office.get("/", office.token("local")).text
    english = office.get("/account?lang=en", office.token("school")).text
    assert f"only the institution {uscc(0)}" in english
    assert office.site.get("/account").status_code == 200  # a key has no account, and is told so


def test_a_password_is_changed_by_who_knows_it_and_ends_their_other_sessions(office: Office) -> None:
    here, there = office.token("wang"), office.token("wang")
    done = office.post("/account/password", here, old=PASSWORD, new=ANOTHER, again=ANOTHER)
    assert (done.status_code, done.headers["location"]) == (303, "/account?done=password&count=1")
    assert "别处 1 个会话已退出" in office.get(done.headers["location"], here).text
    assert office.get("/api/v1/alerts", there).status_code == 401
    assert not office.signs_in("wang", PASSWORD)
    assert office.signs_in("wang", ANOTHER)
    [(_, actor, payload)] = [one for one in office.said() if one[0] == "user.password_changed"]
    assert (actor, payload) == ("user:wang", {"user": "wang", "sessions_ended": 1})
    assert ANOTHER not in str(office.said())


@pytest.mark.parametrize(("fields", "status", "told"), [
    ({"old": "wrong", "new": ANOTHER, "again": ANOTHER}, 403, "现在的密码不对"),
    ({"old": PASSWORD, "new": ANOTHER, "again": "four other plain word"}, 422, "不一致"),
    ({"old": PASSWORD, "new": "short", "again": "short"}, 422, "密码至少 12 个字符"),
    ({"old": PASSWORD, "new": "wang has four words", "again": "wang has four words"}, 422, "密码不能含用户名"),
    ({"old": PASSWORD, "new": PASSWORD, "again": PASSWORD}, 422, "与现在的相同"),
    ({}, 422, "密码至少 12 个字符"),
])
def test_a_password_that_is_not_changed_says_why_and_shows_nothing(
    office: Office, fields: dict[str, str], status: int, told: str
) -> None:
    answer = office.post("/account/password", office.token("wang"), **fields)
    assert answer.status_code == status
    assert told in answer.text
    assert not any(value in answer.text for value in fields.values() if value != "wrong")
    assert office.signs_in("wang", PASSWORD)


def test_a_browser_that_was_left_open_cannot_try_passwords_for_long(office: Office) -> None:
    token = office.token("wang")
    for _ in range(NAME_FAILURES_FREE + 1):
        assert office.post("/account/password", token, old="wrong", new=ANOTHER, again=ANOTHER).status_code == 403
    locked = office.post("/account/password", token, old=PASSWORD, new=ANOTHER, again=ANOTHER)
    assert locked.status_code == 429
    assert not office.signs_in("wang", ANOTHER)


def test_one_sees_where_one_is_signed_in_and_signs_out_elsewhere(office: Office) -> None:
    here, there, phone = office.token("wang"), office.token("wang", "<b>phone</b>"), office.token("wang")
    foreign = office.token("zhao")
    page = office.get("/account", here).text
    assert page.count("192.0.2.1") >= 3
    assert "&lt;b&gt;phone" in page
    with office.world.database.read() as session:
        ids = {token: sessions.session_of(session, token).session_id for token in (there, foreign)}  # type: ignore[union-attr]
    assert office.post("/account/sessions", here, session=ids[foreign]).status_code == 404
    assert office.get("/api/v1/alerts", foreign).status_code == 200
    assert office.post("/account/sessions", here, session=ids[there]).status_code == 303
    assert office.get("/api/v1/alerts", there).status_code == 401
    assert office.get("/api/v1/alerts", phone).status_code == 200
    assert office.post("/account/sessions", here).headers["location"] == "/account?done=out&count=1"
    assert office.get("/api/v1/alerts", phone).status_code == 401
    assert office.get("/api/v1/alerts", here).status_code == 200


# users, on pages


def test_somebody_is_added_with_a_password_that_is_shown_once(office: Office) -> None:
    root = office.token("root")
    fields = {
        "name": "sun", "display_name": "孙悟空", "role": "staff", "districts": "5103", "password": "generate",
        "once": once_of(office.get("/users", root)),
    }
    made = office.post("/users", root, **fields)
    assert made.status_code == 200
    password = secret_of(made)
    assert office.signs_in("sun", password)
    again = office.post("/users", root, **fields)
    assert (again.status_code, again.headers["location"]) == (303, "/users/sun?done=added")
    page = office.get("/users/sun", root).text
    assert "孙悟空" in page
    assert password not in page
    assert password not in str(office.said())
    with office.world.database.read() as session:
        from sqlalchemy import text

        assert password not in str(session.connection().execute(text("SELECT * FROM kept_answers")).all())
    assert [(kind, actor) for kind, actor, _ in office.said() if kind == "user.added"] == [("user.added", "user:root")]


def test_what_cannot_be_added_says_why_as_the_command_line_does(office: Office) -> None:
    root = office.token("root")
    for fields, zh, en in (
        ({"name": "Sun", "role": "staff"}, "不能作用户名", "is no name to sign in with"),
        ({"name": "sun", "role": ""}, "请选择角色", "Choose a role"),
        ({"name": "wang", "role": "staff"}, "已有人使用", "there is a user wang already"),
        ({"name": "sun", "role": "staff", "districts": "自贡"}, "不是辖区代码", "is no district"),
        ({"name": "sun", "role": "institution"}, "须写明机构代码", "names the institution"),
        ({"name": "sun", "role": "institution", "uscc": uscc(99)}, "没有登记机构", "is registered"),
    ):
        chinese = office.post("/users", root, **fields)
        assert (chinese.status_code, zh in chinese.text) == (422, True), fields
        assert en in office.post("/users?lang=en", root, **fields).text
    assert office.user("sun") is None


def test_a_role_and_districts_hold_from_the_next_request_on(office: Office) -> None:
    root, wang = office.token("root"), office.token("wang")
    assert office.get("/users/zhao", wang).status_code == 403
    done = office.post("/users/wang", root, act="place", role="admin", districts="5103 3710")
    assert done.headers["location"] == "/users/wang?done=placed"
    assert office.get("/users/zhao", wang).status_code == 200
    assert office.get("/users/chief", wang).status_code == 404
    office.post("/users/wang", root, act="place", role="viewer", districts="510302")
    assert office.get("/users/zhao", wang).status_code == 403


def test_disabled_signed_out_enabled_and_reset(office: Office) -> None:
    root, wang = office.token("root"), office.token("wang")
    assert office.post("/users/wang", root, act="sign_out").status_code == 303
    assert office.get("/api/v1/alerts", wang).status_code == 401
    wang = office.token("wang")
    assert office.post("/users/wang", root, act="disable").headers["location"] == "/users/wang?done=disabled"
    assert office.get("/api/v1/alerts", wang).status_code == 401
    assert not office.signs_in("wang", PASSWORD)
    refused = office.post("/users/wang?lang=en", root, act="disable")
    assert (refused.status_code, "wang is disabled already" in refused.text) == (422, True)
    office.post("/users/wang", root, act="enable")
    wang = office.token("wang")
    password = secret_of(office.post("/users/wang", root, act="reset"))
    assert office.get("/api/v1/alerts", wang).status_code == 401
    assert office.signs_in("wang", password)
    assert office.post("/users/wang", root, act="nonsense").status_code == 422


def test_who_is_linked_elsewhere_is_seen_and_unlinked(office: Office) -> None:
    with office.world.database.write() as session:
        link_identity(
            session, name="wang", issuer="https://id.example", subject="S-<9>", by=By(actor="test"), now=NOW
        )
    root, wang = office.token("root"), office.token("wang")
    page = office.get("/users/wang", root).text
    assert "https://id.example" in page
    assert "S-&lt;9&gt;" in page
    assert office.post("/users/wang", root, act="unlink").status_code == 303
    assert office.get("/api/v1/alerts", wang).status_code == 401
    assert office.post("/users/wang?lang=en", root, act="unlink").status_code == 422


# nobody looks after who sees more, nor after themselves


def test_an_administrator_of_a_district_sees_the_people_of_it_alone(office: Office) -> None:
    local, root = office.token("local"), office.token("root")
    page = office.get("/users", local).text
    everybody = ("root", "local", "wang", "zhao", "chief", "both", "school")
    assert [name for name in everybody if f">{name}</a>" in page] == ["local", "wang", "school"]
    listed = office.call("GET", "/users", local).json()["items"]
    assert [one["name"] for one in listed] == ["local", "school", "wang"]
    assert len(office.call("GET", "/users", root).json()["items"]) == 7
    for name in ("root", "zhao", "chief", "both", "nobody"):
        missing = office.get(f"/users/{name}", local)
        assert missing.status_code == 404
        assert missing.text.replace(name, "*") == office.get("/users/nemo", local).text.replace("nemo", "*")
        for method, path, body in (
            ("GET", "", None), ("GET", "/sessions", None), ("DELETE", "/sessions", None),
            ("DELETE", "/identities", None), ("POST", "/password", None), ("PUT", "/open", {"open": False}),
            ("PUT", "/role", {"role": "viewer", "districts": ["5103"]}),
        ):
            assert office.call(method, f"/users/{name}{path}", local, body).status_code == 404, (name, path)
        for act in ("disable", "reset", "sign_out", "unlink", "place"):
            assert office.post(f"/users/{name}", local, act=act, role="viewer", districts="5103").status_code == 404
    assert all(office.signs_in(name, PASSWORD) for name in ("root", "zhao", "chief", "both"))


@pytest.mark.parametrize("place", [
    {"role": "viewer", "districts": None}, {"role": "viewer", "districts": ["51"]},
    {"role": "viewer", "districts": ["3710"]}, {"role": "viewer", "districts": ["510302", "3710"]},
    {"role": "admin", "districts": None},
])
def test_an_administrator_of_a_district_gives_nobody_more_than_they_see(office: Office, place: dict[str, Any]) -> None:
    local = office.token("local")
    assert office.call("POST", "/users", local, {"name": "sun", **place}).status_code == 403
    assert office.call("PUT", "/users/wang/role", local, place).status_code == 403
    # The institution's own role sees by the institution; without it, they would see every district.
    assert office.call("PUT", "/users/school/role", local, place).status_code == 403
    fields = {"role": place["role"], "districts": " ".join(place["districts"] or ())}
    assert office.post("/users", local, name="sun", **fields).status_code == 403
    assert office.post("/users/wang", local, act="place", **fields).status_code == 403
    assert office.user("sun") is None
    found, school = office.user("wang"), office.user("school")
    assert found is not None
    assert school is not None
    assert (found.role, found.districts, school.role) == (UserRole.STAFF, ("510302",), UserRole.INSTITUTION)


def test_an_administrator_of_a_district_adds_people_within_it(office: Office) -> None:
    local = office.token("local")
    deputy = {"name": "sun", "role": "admin", "districts": ["510302"]}
    assert office.call("POST", "/users", local, deputy).status_code == 201
    made = office.call("POST", "/users", local, {"name": "sha", "role": "institution", "uscc": uscc(1)})
    assert made.status_code == 201
    with office.world.database.write() as session:
        from sqlalchemy import text

        move = text("UPDATE institutions SET district = '371082' WHERE uscc = :uscc")
        session.connection().execute(move, {"uscc": uscc(2)})
    beyond = {"name": "bai", "role": "institution", "uscc": uscc(2)}
    unknown = {**beyond, "uscc": uscc(99)}
    assert office.call("POST", "/users", local, beyond).status_code == 422
    assert office.call("POST", "/users", local, beyond).json()["detail"].replace(uscc(2), "*") == (
        office.call("POST", "/users", local, unknown).json()["detail"].replace(uscc(99), "*")
    )


def test_nobody_changes_what_they_may_themselves(office: Office) -> None:
    for name in ("root", "local"):
        token = office.token(name)
        for fields in ({"act": "disable"}, {"act": "place", "role": "viewer", "districts": "5103"}, {"act": "reset"}):
            answer = office.post(f"/users/{name}", token, **fields)
            assert answer.status_code == 403, fields
        assert office.call("PUT", f"/users/{name}/open", token, {"open": False}).status_code == 403
        place = {"role": "admin", "districts": None}
        assert office.call("PUT", f"/users/{name}/role", token, place).status_code == 403
        assert "须由另一位管理员" in office.get(f"/users/{name}", token).text


# users, over the API


def test_people_are_listed_by_name_with_filters_and_a_cursor(office: Office) -> None:
    root = office.token("root")
    names, after = [], ""
    while True:
        page = office.call("GET", f"/users?limit=3&after={after}", root).json()
        names += [one["name"] for one in page["items"]]
        if page["after"] is None:
            break
        after = page["after"]
    assert names == ["both", "chief", "local", "root", "school", "wang", "zhao"]
    office.call("PUT", "/users/zhao/open", root, {"open": False})
    staff = office.call("GET", "/users?role=staff&open=true", root).json()["items"]
    assert [one["name"] for one in staff] == ["both", "wang"]
    tag = office.call("GET", "/users/wang", root).headers["etag"]
    assert office.call("GET", "/users/wang", root, if_none_match=tag).status_code == 304


def test_a_password_over_the_api_is_in_the_first_answer_alone(office: Office) -> None:
    root, asked = office.token("root"), {"name": "sun", "role": "viewer", "districts": ["5103"]}
    first = office.call("POST", "/users", root, asked, idempotency_key="a")
    second = office.call("POST", "/users", root, asked, idempotency_key="a")
    assert (first.status_code, second.status_code) == (201, 201)
    assert office.signs_in("sun", first.json()["password"])
    assert second.json() == {**first.json(), "password": None}
    assert office.call("POST", "/users", root, {**asked, "role": "staff"}, idempotency_key="a").status_code == 409
    refused = office.call("POST", "/users", root, asked)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["zh"] == "用户名 sun 已有人使用：用过的名字不能再给别人"
    reset = office.call("POST", "/users/sun/password", root, idempotency_key="b").json()
    assert office.call("POST", "/users/sun/password", root, idempotency_key="b").json()["password"] is None
    assert office.signs_in("sun", reset["password"])
    made = office.call("POST", "/users", root, {"name": "zhu", "role": "viewer", "password": False}).json()
    assert (made["password"], made["user"]["password_set_at"]) == (None, None)


def test_sessions_are_seen_and_ended_over_the_api(office: Office) -> None:
    root, wang = office.token("root"), office.token("wang")
    [one] = office.call("GET", "/users/wang/sessions", root).json()["items"]
    assert one["address"] == "192.0.2.1"
    assert wang not in str(one)
    assert office.call("DELETE", "/users/wang/sessions", root).json() == {"name": "wang", "sessions_ended": 1}
    assert office.get("/api/v1/alerts", wang).status_code == 401


# keys


def test_a_key_is_made_on_the_page_shown_once_and_revoked(office: Office) -> None:
    root = office.token("root")
    fields: dict[str, Any] = {
        "name": "大屏", "scope": ["read", "feed"], "lasts": "30", "once": once_of(office.get("/keys", root)),
    }
    made = office.post("/keys", root, **fields)
    assert made.status_code == 200
    secret = secret_of(made)
    office.world.secrets["wall"] = secret
    assert office.site.get("/api/v1/alerts", key="wall").status_code == 200
    again = office.post("/keys", root, **fields)
    assert again.headers["location"] == "/keys?done=shown"
    page = office.get("/keys", root).text
    assert page.count("大屏 <small") == 1
    assert secret not in page + str(office.said())
    with office.world.database.read() as session:
        [key] = [one for one in keys.known(session) if one.name == "大屏"]
    assert key.expires_at == NOW + timedelta(days=30)
    assert office.post(f"/keys/{key.key_id}/revoke", root).headers["location"] == "/keys?done=revoked"
    assert office.site.get("/api/v1/alerts", key="wall").status_code == 401
    assert [(kind, actor) for kind, actor, _ in office.said()][-2:] == [
        ("key.created", "user:root"), ("key.revoked", "user:root"),
    ]


def test_a_key_that_acts_is_ones_own_or_one_person_would_be_two_pairs_of_eyes(office: Office) -> None:
    root = office.token("root")
    for scope in ("answer", "decide", "import", "admin"):
        for owner in (None, "chief"):
            asked = {"name": "robot", "scopes": ["read", scope], "user": owner}
            assert office.call("POST", "/keys", root, asked).status_code == 403, (scope, owner)
            form = {"name": "robot", "scope": scope, "lasts": "30", "owner": owner or ""}
            assert office.post("/keys", root, **form).status_code == 403
        own = {"name": "robot", "scopes": [scope], "user": "root"}
        assert office.call("POST", "/keys", root, own).status_code == 201
    machine = office.world.key("machine", "admin")
    answer = office.site.send(
        "POST", f"{API}/keys", key=None, authorization=f"Bearer {machine}", content_type="application/json",
        content=orjson.dumps({"name": "second", "scopes": ["decide"]}),
    )
    assert answer.status_code == 403


def test_an_administrator_of_a_district_looks_after_the_keys_of_its_people_alone(office: Office) -> None:
    local, root = office.token("local"), office.token("root")
    nobodys, chiefs = (
        office.call("POST", "/keys", root, {"name": "of", "scopes": ["read"], "user": whose}).json()["key"]["key_id"]
        for whose in (None, "chief")
    )
    for scope, whose, status in (
        ("read", None, 403), ("feed", None, 403), ("read", "chief", 404), ("read", "nobody", 404),
        ("metrics", "wang", 201), ("read", "wang", 201),
    ):
        asked = {"name": "x", "scopes": [scope], "user": whose}
        assert office.call("POST", "/keys", local, asked).status_code == status, asked
    part = {"name": "x", "scopes": ["feed"], "only": {"district": "5103"}}
    assert office.call("POST", "/keys", local, part).status_code == 403
    for key_id in (nobodys, chiefs, "x"):
        assert office.call("GET", f"/keys/{key_id}", local).status_code == 404
        assert office.call("DELETE", f"/keys/{key_id}", local).status_code == 404
        assert office.post(f"/keys/{key_id}/revoke", local).status_code == 404
    assert {one["user"] for one in office.call("GET", "/keys", local).json()["items"]} == {"wang"}
    assert nobodys not in office.get("/keys", local).text
    assert office.call("GET", f"/keys/{nobodys}", root).json()["open"] is True


def test_keys_over_the_api(office: Office) -> None:
    root = office.token("root")
    asked = {"name": "feed", "scopes": ["feed"], "days": 10, "only": {"district": "5103", "severity": "red"}}
    first = office.call("POST", "/keys", root, asked, idempotency_key="k")
    second = office.call("POST", "/keys", root, asked, idempotency_key="k")
    assert first.status_code == second.status_code == 201
    assert first.json()["secret"].startswith("emk_")
    assert second.json() == {**first.json(), "secret": None}
    key_id = first.json()["key"]["key_id"]
    assert first.json()["key"]["only"] == {"district": "5103", "severity": "red"}
    for wrong in (
        {"name": "x", "scopes": []}, {"name": "x", "scopes": ["all"]}, {"name": "", "scopes": ["read"]},
        {"name": "a\nb", "scopes": ["read"]}, {"name": "x", "scopes": ["read"], "days": 0},
        {"name": "x", "scopes": ["read"], "days": "10"}, {"name": "x", "scopes": ["read"], "only": {"bank": "a"}},
    ):
        assert office.call("POST", "/keys", root, wrong).status_code == 422, wrong
    for wrong_part in ({"nonsense": "a"}, {"severity": "blue"}):
        answer = office.call("POST", "/keys", root, {**asked, "only": wrong_part})
        assert answer.status_code in (400, 422), wrong_part
    revoked = office.call("DELETE", f"/keys/{key_id}", root)
    assert (revoked.status_code, revoked.json()["open"]) == (200, False)
    assert office.call("DELETE", f"/keys/{key_id}", root).status_code == 200
    assert key_id not in str(office.call("GET", "/keys?open=true&limit=1000", root).json())


def test_every_role_permission_and_scope_has_its_word() -> None:
    wanted = {f"role.{one.value}" for one in UserRole} | {f"permission.{one.value}" for one in Permission}
    wanted |= {f"scope.{one}" for one in SCOPES}
    assert wanted <= set(WORDS)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_names_show_as_text(office: Office, text: str) -> None:
    root = office.token("root")
    office.call("POST", "/users", root, {"name": "sun", "role": "viewer", "display_name": text})
    office.call("POST", "/keys", root, {"name": text, "scopes": ["read"], "user": "sun"})
    for path in ("/users", "/users/sun", "/keys"):
        page = office.get(path, root).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
