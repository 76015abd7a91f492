"""Signing in at an organisation's own provider: there and back, whom it makes of people, and what is not believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from escrow_monitor.actions.users import By, add_user, disable_user, link_identity, set_districts
from escrow_monitor.domain.identities import Mapped, OutsideRefusal, RoleLine
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import identities, sessions, users
from escrow_monitor.web.app import create_app
from escrow_monitor.web.console.oidc import COOKIE as STATE_COOKIE
from escrow_monitor.web.console.words import WORDS
from escrow_monitor.web.guard import COOKIE
from escrow_monitor.web.oidc import KEYS_AGAIN_AFTER, Client, Provider
from tests.web.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.web.web_world import HOME, NOW, Site, World, uscc

BACK = f"{HOME}/sign-in/oidc/callback"
ROLES = (
    RoleLine(value="escrow-admins", role=UserRole.ADMIN, districts=()),
    RoleLine(value="escrow-5103", role=UserRole.REGULATOR, districts=("5103",)),
    RoleLine(value="escrow-staff", role=UserRole.STAFF),
    RoleLine(value="schools", role=UserRole.INSTITUTION),
)
GROUPS = Mapped(roles=ROLES, provision=True, districts_claim="districts", institution_claim="uscc")
BY = By(actor="test")


class Desk:
    """The application, a provider that it trusts, and a browser."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = NOW
        self.elsewhere = OidcProvider(now=self.real_now, redirect_uri=BACK)
        self.open()

    def open(self, mapped: Mapped | None = None, **changes: Any) -> None:
        client = Client(**{
            "issuer": self.elsewhere.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
            "labels": {"zh": "教育局统一认证", "en": "the bureau"}, "mapped": mapped or Mapped(), **changes,
        })
        self.site = Site(self.world, create_app(replace(
            self.world.ports(), real_now=self.real_now, oidc=Provider(client)
        )))

    def real_now(self) -> datetime:
        return self.now

    def add(self, name: str = "li", **options: Any) -> None:
        with self.world.database.write() as session:
            add_user(session, name=name, role=options.pop("role", UserRole.STAFF), by=BY, now=NOW, **options)

    def leave(self, path: str = "/sign-in/oidc") -> tuple[str, str]:
        """Where the browser is sent, and the cookie it takes along."""
        answer = self.site.get(path, key=None)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"], answer.headers["set-cookie"].partition(";")[0]

    def back(self, path: str, cookie: str) -> httpx.Response:
        return self.site.get(path, key=None, cookie=cookie)

    def enter(self, path: str = "/sign-in/oidc", **claims: Any) -> httpx.Response:
        """The whole way."""
        self.elsewhere.claims |= claims
        url, cookie = self.leave(path)
        return self.back(self.elsewhere.authorized(url), cookie)

    def token(self, **claims: Any) -> str:
        return token_in(self.enter(**claims))

    def said(self) -> list[tuple[str, str, dict[str, Any]]]:
        with self.world.database.read() as session:
            return [(one.kind, one.actor, dict(one.payload)) for one in audit.records(session, after=0, limit=1000)]

    def user(self, name: str = "li") -> users.User | None:
        with self.world.database.read() as session:
            return users.user(session, name)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    found = Desk(world)
    yield found
    found.elsewhere.close()


def token_in(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    [found] = [
        cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith(f"{COOKIE}=ems_")
    ]
    return found.partition("=")[2].partition(";")[0]


def told(answer: httpx.Response, word: str, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert WORDS[word]["zh"] in answer.text
    assert not any(f"{COOKIE}=ems_" in cookie for cookie in answer.headers.get_list("set-cookie"))


# there and back


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_somebody_who_was_added_signs_in_and_is_linked_the_first_time(desk: Desk, algorithm: str) -> None:
    desk.add(display_name="李雷", districts=["5103"])
    desk.elsewhere.algorithm = algorithm
    page = desk.site.get("/sign-in", key=None).text
    assert 'href="/sign-in/oidc?lang=zh"' in page
    assert "用教育局统一认证登录" in page
    with capture_logs() as logs:
        answer = desk.enter("/sign-in/oidc?lang=en&next=/alerts?level=red")
    assert answer.headers["location"] == "/alerts?level=red"
    token = token_in(answer)
    assert desk.site.get("/api/v1/alerts", key=None, cookie=f"{COOKIE}={token}").status_code == 200
    assert {"sign_in.linked", "sign_in.done"} <= {line["event"] for line in logs}
    assert [(kind, actor) for kind, actor, _ in desk.said()][-2:] == [
        ("user.linked", "system"), ("session.begun", "user:li"),
    ]
    assert desk.said()[-1][2]["issuer"] == desk.elsewhere.issuer
    again = desk.enter(preferred_username="renamed", name="another", email="other@example.cn")
    assert token_in(again) != token
    assert [kind for kind, _, _ in desk.said()][-1] == "session.begun"
    assert desk.user("renamed") is None  # issuer and subject are the identity, whatever a name becomes
    with desk.world.database.read() as session:
        [linked] = identities.of_user(session, "li")
    assert (linked.issuer, linked.subject, linked.linked_by) == (desk.elsewhere.issuer, "S-1", "system")


def test_the_cookie_that_is_taken_along_is_short_and_only_the_browsers(desk: Desk) -> None:
    answer = desk.site.get("/sign-in/oidc", key=None)
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/", "max-age=600"))
    assert answer.headers["cache-control"] == "no-store"
    desk.add()
    gone = desk.enter().headers.get_list("set-cookie")
    assert any(one.startswith(f'{STATE_COOKIE}=""') for one in gone)
    assert CLIENT_SECRET not in answer.text + str(answer.headers)


def test_the_secret_goes_in_the_form_where_the_provider_takes_it_only_there(desk: Desk) -> None:
    desk.add()
    desk.elsewhere.auth_methods = ("client_secret_post",)
    assert desk.enter().status_code == 303


def test_without_a_provider_there_is_no_button_and_no_way(world: World) -> None:
    site = Site(world)
    assert "oidc" not in site.get("/sign-in", key=None).text
    assert site.get("/sign-in/oidc", key=None).status_code == 404
    assert site.get("/sign-in/oidc/callback?code=a&state=b", key=None).status_code == 404


# who it makes of people


def test_a_name_that_has_a_password_here_is_not_taken_over(desk: Desk) -> None:
    desk.add(password_hash="a hash")
    told(desk.enter(), "oidc_refused.name_taken", 403)
    [(kind, actor, payload)] = [one for one in desk.said() if one[0] == "sign_in.refused"]
    assert (kind, actor, payload["reason"], payload["subject"]) == ("sign_in.refused", "system", "name_taken", "S-1")
    with desk.world.database.write() as session:
        link_identity(session, name="li", issuer=desk.elsewhere.issuer, subject="S-1", by=BY, now=NOW)
    assert desk.enter().status_code == 303


def test_a_name_that_is_linked_is_nobody_elses(desk: Desk) -> None:
    desk.add()
    assert desk.enter().status_code == 303
    told(desk.enter(sub="S-2"), "oidc_refused.name_taken", 403)


def test_who_was_not_added_is_not_let_in_unless_people_are_provisioned(desk: Desk) -> None:
    told(desk.enter(), "oidc_refused.unknown", 403)
    assert desk.user() is None
    desk.open(GROUPS)
    told(desk.enter(), "oidc_refused.no_role", 403)
    told(desk.enter(groups=["others"]), "oidc_refused.no_role", 403)
    told(desk.enter(groups=["escrow-5103"], preferred_username="李雷"), "oidc_refused.no_name", 403)
    assert desk.enter(preferred_username="li", groups=["others", "escrow-5103"]).status_code == 303
    made = desk.user()
    assert made is not None
    assert (made.role, made.districts, made.display_name, made.has_password) == (
        UserRole.REGULATOR, ("5103",), "李雷", False,
    )


def test_a_person_without_a_password_cannot_sign_in_by_one(desk: Desk) -> None:
    desk.add()
    for password in ("", "three plain words here"):
        answer = desk.site.send(
            "POST", "/sign-in", key=None, content=f"name=li&password={password}".encode(), origin=HOME
        )
        assert answer.status_code == 403


@pytest.mark.parametrize(("claims", "place"), [
    ({"groups": ["escrow-staff"], "districts": ["5103", "3710"]}, (UserRole.STAFF, ("3710", "5103"), None)),
    ({"groups": ["escrow-staff"], "districts": "5103 510302"}, (UserRole.STAFF, ("5103", "510302"), None)),
    ({"groups": "escrow-staff", "districts": "51"}, (UserRole.STAFF, ("51",), None)),
    ({"groups": ["schools"], "uscc": uscc(0)}, (UserRole.INSTITUTION, None, uscc(0))),
    ({"groups": ["schools", "escrow-admins"]}, (UserRole.ADMIN, None, None)),
])
def test_groups_give_roles_and_districts(desk: Desk, claims: dict[str, Any], place: tuple[Any, ...]) -> None:
    desk.open(GROUPS)
    assert desk.enter(**claims).status_code == 303
    made = desk.user()
    assert made is not None
    assert (made.role, made.districts, made.uscc) == place


@pytest.mark.parametrize("claims", [
    {"groups": ["escrow-staff"]}, {"groups": ["escrow-staff"], "districts": []},
    {"groups": ["escrow-staff"], "districts": ["everything"]}, {"groups": ["escrow-staff"], "districts": ["5103", "%"]},
    {"groups": ["schools"]}, {"groups": ["schools"], "uscc": uscc(99)}, {"groups": ["schools"], "uscc": 5},
    {"groups": ["schools"], "uscc": [uscc(0), uscc(1)]},
])
def test_a_missing_claim_never_means_everything(desk: Desk, claims: dict[str, Any]) -> None:
    desk.open(GROUPS)
    told(desk.enter(**claims), "oidc_refused.no_place", 403)
    assert desk.user() is None


def test_a_role_may_lie_deeper_in_the_claims(desk: Desk) -> None:
    desk.open(replace(GROUPS, roles_claim="realm_access.roles"))
    assert desk.enter(realm_access={"roles": ["escrow-admins"]}).status_code == 303


def test_a_role_that_changed_elsewhere_holds_from_the_next_sign_in(desk: Desk) -> None:
    desk.open(GROUPS)
    token = desk.token(groups=["escrow-admins"])
    with desk.world.database.write() as session:
        set_districts(session, name="li", districts=["3710"], by=BY, now=NOW)
    desk.token(groups=["escrow-5103"])
    found = desk.user()
    assert found is not None
    assert (found.role, found.districts) == (UserRole.REGULATOR, ("5103",))
    kinds = [(kind, actor) for kind, actor, _ in desk.said()]
    assert ("user.role_changed", "system") in kinds
    assert kinds[-2] == ("user.districts_changed", "system")
    # Whoever has lost every role there is out here too.
    told(desk.enter(groups=[]), "oidc_refused.no_role", 403)
    assert desk.site.get("/api/v1/alerts", key=None, cookie=f"{COOKIE}={token}").status_code == 401


def test_without_a_mapping_the_role_given_here_stays(desk: Desk) -> None:
    desk.add(role=UserRole.AUDITOR)
    desk.enter(groups=["escrow-admins"])
    found = desk.user()
    assert found is not None
    assert found.role is UserRole.AUDITOR


def test_a_disabled_person_stays_out(desk: Desk) -> None:
    desk.add()
    desk.token()
    with desk.world.database.write() as session:
        disable_user(session, name="li", by=BY, now=NOW)
    told(desk.enter(), "oidc_refused.disabled", 403)
    with desk.world.database.read() as session:
        assert sessions.open_sessions(session, user_name="li", now=NOW) == []
    assert desk.said()[-1][2]["reason"] == OutsideRefusal.DISABLED.value


# what is not believed


def test_a_state_that_is_not_this_browsers_is_refused_before_the_provider_is_asked(desk: Desk) -> None:
    desk.add()
    url, cookie = desk.leave()
    path = desk.elsewhere.authorized(url)
    code = parse_qs(urlsplit(path).query)["code"][0]
    before = len(desk.elsewhere.asked)
    _, another = desk.leave()
    text, _, seal = cookie.partition("=")[2].partition(".")
    for strange, given in (
        (path, ""), (path, another), (f"/sign-in/oidc/callback?code={code}", cookie),
        (f"/sign-in/oidc/callback?code={code}&state=x", cookie), ("/sign-in/oidc/callback", cookie),
        (path, f"{STATE_COOKIE}={text}.{'0' * 64}"), (path, f"{STATE_COOKIE}={text[:-4]}AAAA.{seal}"),
        (path, f"{STATE_COOKIE}=."), (path, f"{STATE_COOKIE}={'x' * 5000}"),
    ):
        told(desk.back(strange, given), "oidc_begin_again", 400)
    assert len(desk.elsewhere.asked) == before
    assert token_in(desk.back(path, cookie))


def test_who_takes_too_long_begins_again(desk: Desk) -> None:
    desk.add()
    url, cookie = desk.leave()
    path = desk.elsewhere.authorized(url)
    desk.now += timedelta(minutes=10)
    told(desk.back(path, cookie), "oidc_begin_again", 400)


def test_a_code_is_good_once(desk: Desk) -> None:
    desk.add()
    url, cookie = desk.leave()
    path = desk.elsewhere.authorized(url)
    assert desk.back(path, cookie).status_code == 303
    told(desk.back(path, cookie), "oidc_not_vouched", 403)


def test_a_code_of_another_browser_does_not_fit_the_verifier(desk: Desk) -> None:
    """A stolen code is no use: the provider wants the verifier that only the browser it was made for took along."""
    desk.add()
    url, _ = desk.leave()
    stolen = parse_qs(urlsplit(desk.elsewhere.authorized(url)).query)["code"][0]
    mine, cookie = desk.leave()
    state = parse_qs(urlsplit(mine).query)["state"][0]
    told(desk.back(f"/sign-in/oidc/callback?code={stolen}&state={state}", cookie), "oidc_not_vouched", 403)


@pytest.mark.parametrize("claims", [
    {"nonce": "another"}, {"nonce": None}, {"aud": "another-client"}, {"aud": ["another-client"]}, {"aud": None},
    {"aud": [CLIENT_ID, "another-client"]}, {"aud": [CLIENT_ID, "another"], "azp": "another"},
    {"iss": "http://127.0.0.1:1/realms/city"}, {"iss": None}, {"sub": None}, {"sub": ""}, {"sub": 5},
    {"sub": "x" * 256}, {"sub": "a\nb"}, {"exp": int(NOW.timestamp()) - 61}, {"exp": None}, {"exp": "2099"},
    {"iat": int(NOW.timestamp()) + 120}, {"iat": int(NOW.timestamp()) - 3600}, {"iat": None},
    {"nbf": int(NOW.timestamp()) + 120}, {"at_hash": "AAAA"},
])
def test_a_token_that_is_not_for_this_sign_in_is_not_believed(desk: Desk, claims: dict[str, Any]) -> None:
    desk.add()
    with capture_logs() as logs:
        told(desk.enter(**claims), "oidc_not_vouched", 403)
    assert "sign_in.refused" in {line["event"] for line in logs}
    assert desk.said()[-1][0] != "session.begun"


def test_several_audiences_are_taken_with_us_as_the_authorized_party(desk: Desk) -> None:
    desk.add()
    assert desk.enter(aud=[CLIENT_ID, "another"], azp=CLIENT_ID).status_code == 303


@pytest.mark.parametrize("algorithm", ["none", "HS256", "NONE", "RS1"])
def test_a_token_that_the_provider_alone_did_not_sign_is_not_believed(desk: Desk, algorithm: str) -> None:
    desk.add()
    desk.elsewhere.algorithm = algorithm
    told(desk.enter(), "oidc_not_vouched", 403)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "e30.e30.", None, 5, "eyJhbGciOiJSUzI1NiJ9.W10.AAAA"])
def test_what_is_no_token_is_not_believed(desk: Desk, token: object) -> None:
    desk.add()
    desk.elsewhere.token_extra = {"id_token": token}
    told(desk.enter(), "oidc_not_vouched", 403)


def test_a_key_that_is_new_is_fetched_and_one_that_is_not_published_is_not_taken(desk: Desk) -> None:
    desk.add()
    assert desk.enter().status_code == 303
    desk.elsewhere.rotate()
    desk.now += KEYS_AGAIN_AFTER
    assert desk.enter().status_code == 303
    desk.elsewhere.sign_with = "rsa-1"
    desk.now += KEYS_AGAIN_AFTER
    told(desk.enter(), "oidc_not_vouched", 403)
    # Nor is the provider asked for its keys at each such token.
    before = [path for _, path, _ in desk.elsewhere.asked].count("/realms/city/certs")
    told(desk.enter(), "oidc_not_vouched", 403)
    told(desk.enter(), "oidc_not_vouched", 403)
    assert [path for _, path, _ in desk.elsewhere.asked].count("/realms/city/certs") == before


def test_a_key_of_another_kind_under_the_same_id_is_not_taken(desk: Desk) -> None:
    desk.add()
    desk.elsewhere.algorithm, desk.elsewhere.sign_with = "RS256", "rsa-1"
    desk.elsewhere.published = ["ec-1"]
    told(desk.enter(), "oidc_not_vouched", 403)


def test_an_answer_for_another_issuer_is_refused(desk: Desk) -> None:
    desk.add()
    url, cookie = desk.leave()
    desk.elsewhere.issuer_said = "https://another.example"
    path = desk.elsewhere.authorized(url)
    told(desk.back(path, cookie), "oidc_not_vouched", 403)


def test_who_cancels_there_is_told_so(desk: Desk) -> None:
    desk.elsewhere.error = "access_denied"
    told(desk.enter(), "oidc_cancelled", 403)


# the provider down


def test_a_provider_that_is_down_is_said_and_passwords_go_on(desk: Desk) -> None:
    desk.add()
    url, cookie = desk.leave()
    path = desk.elsewhere.authorized(url)
    desk.elsewhere.close()
    told(desk.back(path, cookie), "oidc_silent", 503)
    desk.open()
    answer = desk.site.get("/sign-in/oidc", key=None)
    told(answer, "oidc_silent", 503)
    assert 'name="password"' in answer.text


@pytest.mark.parametrize("changes", [
    {"status": 500}, {"status": 404}, {"issuer_said": "https://another.example"},
    {"redirects_to": "http://127.0.0.1:1/elsewhere"},
])
def test_a_provider_that_answers_wrongly_is_as_one_that_is_silent(desk: Desk, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(desk.elsewhere, name, value)
    told(desk.site.get("/sign-in/oidc", key=None), "oidc_silent", 503)


def test_a_client_that_the_provider_refuses_is_our_fault_and_said_in_the_log(desk: Desk) -> None:
    desk.add()
    desk.open(client_secret="wrong")
    with capture_logs() as logs:
        told(desk.enter(), "oidc_silent", 503)
    [line] = [line for line in logs if line["event"] == "oidc.provider_silent"]
    assert "invalid_client" in line["detail"]
    assert "wrong" not in json.dumps(line, default=str)


def test_the_way_out_takes_no_proxy_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.add()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert desk.enter().status_code == 303


def test_a_certificate_file_that_is_not_there_is_a_configuration_error(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match=r"web\.oidc\.ca_file"):
        desk.open(ca_file="/nowhere/ca.pem")
