"""People, their sessions, and how failed tries to sign in are counted."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest
from sqlalchemy import text

from escrow_monitor.actions import users as actions
from escrow_monitor.actions.api_keys import create_key
from escrow_monitor.actions.passwords import check_password, generated_password, hashed, is_right, kept_of
from escrow_monitor.actions.sign_in import From, NotWelcome, Refused, Welcome, sign_in, sign_in_with_key, sign_out
from escrow_monitor.domain.permissions import (
    ROLES,
    SCOPES,
    Permission,
    UserRole,
    of_nobodys_scopes,
    of_role,
    of_scopes,
)
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.errors import UsageError
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.people import sessions, sign_in_tries, users
from escrow_monitor.records.people.sessions import IDLE, LASTS
from escrow_monitor.records.people.sign_in_tries import (
    ADDRESS_FAILURES_FREE,
    LOCKED_MAX,
    NAME_FAILURES_FREE,
    locked_for,
)
from escrow_monitor.records.visible import may_see
from tests.records.conftest import INSTITUTIONS, NOW

PASSWORD = "three plain words here"
HERE = From(address="192.0.2.7", agent="a browser")


@lru_cache(maxsize=1)
def password_hash() -> str:
    return hashed(PASSWORD)  # it takes a while on purpose: once is enough


def li(database: Database) -> None:
    with database.write() as session:
        assert users.add(
            session, name="li", display_name="李雷", role=UserRole.STAFF, districts=None, uscc=None,
            password_hash=password_hash(), now=NOW,
        )


def do(action: Any, database: Database, *, actor: str = "test", password: str | None = None, **options: Any) -> Any:
    if password is not None:
        options["password_hash"] = kept_of(password, name=options["name"])
    with database.write() as session:
        return action(session, by=actions.By(actor=actor), **options)


def person(database: Database, name: str = "li", role: UserRole = UserRole.STAFF, **options: Any) -> users.User:
    return do(actions.add_user, database, name=name, role=role, password=PASSWORD, now=NOW, **options)  # type: ignore[no-any-return]


def said(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    with database.read() as session:
        return [(one.kind, one.actor, dict(one.payload)) for one in audit.records(session, after=0, limit=1000)]


def enter(database: Database, password: str = PASSWORD, *, name: str = "li", by: From = HERE, after: int = 0) -> Any:
    return sign_in(database, name=name, password=password, by=by, now=NOW + timedelta(seconds=after))


def current(database: Database, token: str, *, after: timedelta = timedelta(0)) -> sessions.SignedIn | None:
    with database.read() as session:
        return sessions.signed_in(session, token, now=NOW + after, keys_at=NOW)


# people


def test_a_person_is_kept_with_role_and_districts_and_never_with_the_password(database: Database) -> None:
    made = person(database, display_name="李雷", districts=["510302", "5104"])
    assert (made.role, made.districts, made.display_name) == (UserRole.STAFF, ("5104", "510302")[::-1], "李雷")
    with database.read() as session:
        assert users.known(session) == [made]
        kept = users.password_hash(session, "li")
        rows = session.connection().execute(text("SELECT * FROM users")).all()
    assert kept is not None
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in str(rows)
    assert PASSWORD not in json.dumps(said(database))


@pytest.mark.parametrize(("changes", "told"), [
    ({"name": "Li"}, "no name"), ({"name": "q"}, "no name"), ({"name": "key:li"}, "no name"),
    ({"districts": ["51030"], "name": "a b"}, "no name"), ({"districts": []}, "1 to 100"),
    ({"districts": ["CN-51"]}, "is no district"), ({"districts": ["5103%"]}, "is no district"),
    ({"role": UserRole.INSTITUTION}, "names the institution"), ({"uscc": "91510300000000000X"}, "no other"),
    ({"role": UserRole.INSTITUTION, "uscc": "91510300000000000X"}, "no institution"),
    ({"display_name": "a\nb"}, "one line"),
])
def test_what_cannot_be_a_person_is_refused(database: Database, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        person(database, **changes)


def test_a_name_stands_for_one_person_for_good(database: Database) -> None:
    person(database)
    do(actions.disable_user, database, name="li", actor="test", now=NOW)
    with pytest.raises(UsageError, match="already"):
        person(database)


def test_every_change_is_in_the_audit_record(district: Database) -> None:
    person(district)
    do(actions.set_role, district, name="li", role=UserRole.REGULATOR, actor="cli", now=NOW)
    do(actions.set_districts, district, name="li", districts=["5103"], actor="cli", now=NOW)
    do(actions.reset_password, district, name="li", password=generated_password(), actor="cli", now=NOW)
    do(actions.disable_user, district, name="li", actor="cli", now=NOW)
    do(actions.enable_user, district, name="li", actor="cli", now=NOW)
    kinds = [kind for kind, _, _ in said(district)]
    assert kinds == [
        "user.added", "user.role_changed", "user.districts_changed", "user.password_reset", "user.disabled",
        "user.enabled",
    ]
    assert said(district)[1][2] == {"user": "li", "before": "staff", "role": "regulator", "uscc": None}


# passwords


@pytest.mark.parametrize("password", [
    "short", "elevenchars", "a" * 129, "aaaaaaaaaaaa", "abababababab", "123456789012", "987654321098", "abcdefghijkl",
    "password1234", "Password!2026", "Admin@1234567", "qwertyuiop12", "1qaz2wsx3edc", "woaini1314520",
    "escrow-monitor-2026", "the li of zigong", "ｐａｓｓｗｏｒｄ１２３４",
])
def test_a_password_that_anybody_guesses_is_refused_without_being_said(password: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_password(password, name="li")
    assert password not in str(refused.value) or len(password) < 8


@pytest.mark.parametrize("password", [PASSWORD, "预付资金余额每天都要看一遍呀", "", "Tr0ub4dor&3xyz"])
def test_a_long_password_of_any_kind_is_taken(password: str) -> None:
    password = password or generated_password()
    check_password(password, name="wang")
    assert is_right(hashed(password), password)
    assert not is_right(hashed(password), password + "x")


def test_the_same_password_typed_on_another_keyboard_is_the_same() -> None:
    assert is_right(hashed("ｃafé au lait 12"), "cafe\u0301 au lait 12")


def test_nobody_has_no_right_password() -> None:
    assert not is_right(None, PASSWORD)
    assert not is_right("$argon2id$broken", PASSWORD)
    kept = hashed("x" * 128)
    assert is_right(kept, "x" * 128)
    assert not is_right(kept, "x" * 5000)


# sessions


def test_a_session_is_known_by_a_token_of_which_only_the_hash_is_kept(database: Database) -> None:
    li(database)
    done = enter(database)
    assert isinstance(done, Welcome)
    found = current(database, done.token)
    assert found is not None
    assert found.user is not None
    assert (found.user.name, found.session_id) == ("li", done.session_id)
    with database.read() as session:
        rows = session.connection().execute(text("SELECT * FROM sessions")).all()
    assert done.token not in str(rows)
    assert done.token not in json.dumps(said(database))
    assert done.token not in repr(said(database))
    assert current(database, done.token[:-1]) is None
    assert current(database, "ems_" + "x" * 43) is None


def test_a_session_ends_when_it_is_not_used_and_after_a_day_of_work(database: Database) -> None:
    li(database)
    token = enter(database).token
    assert current(database, token, after=IDLE - timedelta(seconds=1)) is not None
    assert current(database, token, after=IDLE) is None
    step = IDLE - timedelta(minutes=1)
    at = timedelta(0)
    while at + step < LASTS:
        at += step
        found = current(database, token, after=at)
        assert found is not None
        with database.write() as session:
            sessions.seen(session, found.session_id, now=NOW + at)
    assert current(database, token, after=LASTS) is None


def test_signing_in_anew_replaces_the_session_the_browser_had(database: Database) -> None:
    li(database)
    first = enter(database).token
    second = enter(database, by=From(address="192.0.2.7", token=first)).token
    assert first != second
    assert current(database, first) is None
    assert current(database, second) is not None
    sign_out(database, token=second, now=NOW)
    sign_out(database, token=second, now=NOW)
    assert current(database, second) is None
    ended = [payload["reason"] for kind, _, payload in said(database) if kind == "session.ended"]
    assert ended == ["replaced", "signed_out"]


def test_a_session_ends_with_the_password_the_account_and_by_revoking(database: Database) -> None:
    li(database)
    for end in (
        lambda: do(actions.reset_password, database, name="li", password=PASSWORD, actor="test", now=NOW),
        lambda: do(actions.revoke_sessions, database, name="li", actor="test", now=NOW),
        lambda: do(actions.disable_user, database, name="li", actor="test", now=NOW),
    ):
        token = enter(database).token
        assert end() == 1
        assert current(database, token) is None
    assert enter(database) == NotWelcome(reason=Refused.WRONG)
    do(actions.enable_user, database, name="li", actor="test", now=NOW)
    done = enter(database)
    do(actions.revoke_session, database, session_id=done.session_id, actor="test", now=NOW)
    with pytest.raises(UsageError, match="no open session"):
        do(actions.revoke_session, database, session_id=done.session_id, actor="test", now=NOW)


def test_a_key_signs_in_while_it_opens(database: Database) -> None:
    key, secret = create_key(
        database, name="demo", scopes=["read"], expires_after=timedelta(hours=1), actor="test", now=NOW
    )
    done = sign_in_with_key(database, secret=secret, by=HERE, now=NOW, keys_at=NOW)
    assert isinstance(done, Welcome)
    found = current(database, done.token)
    assert found is not None
    assert found.key is not None
    assert found.key.key_id == key.key_id
    with database.read() as session:
        late = NOW + timedelta(hours=1)
        assert sessions.signed_in(session, done.token, now=NOW, keys_at=late) is None
    for wrong in ("emk_" + "x" * 43, "", PASSWORD):
        refused = sign_in_with_key(database, secret=wrong, by=HERE, now=NOW, keys_at=NOW)
        assert refused == NotWelcome(reason=Refused.WRONG)


# lockout


def test_the_wait_grows_and_has_an_end() -> None:
    waits = [locked_for(failures, free=4) for failures in range(1, 14)]
    assert waits[:4] == [None] * 4
    seconds = [int(wait.total_seconds()) for wait in waits[4:] if wait is not None]
    assert seconds[:5] == [30, 60, 120, 240, 480]
    assert set(seconds[5:]) == {int(LOCKED_MAX.total_seconds())}
    assert locked_for(10**9, free=4) == LOCKED_MAX


@pytest.mark.slow
@pytest.mark.parametrize("name", ["li", "nobody-of-this-name"])
def test_a_name_is_locked_whether_somebody_has_it_or_not(database: Database, name: str) -> None:
    li(database)
    told = [enter(database, "wrong password", name=name) for _ in range(NAME_FAILURES_FREE + 1)]
    assert told == [NotWelcome(reason=Refused.WRONG)] * (NAME_FAILURES_FREE + 1)
    locked = enter(database, "wrong password", name=name)
    assert locked == NotWelcome(reason=Refused.LOCKED, retry_after=timedelta(seconds=30))
    # While it is locked nothing is looked at, and nothing is counted: who waits gets in.
    assert enter(database, name=name, after=29).reason is Refused.LOCKED
    assert isinstance(enter(database, after=31), Welcome) is True
    if name == "li":
        assert [payload["failed_before"] for kind, _, payload in said(database) if kind == "session.begun"] == [5]
        assert enter(database, "wrong password", after=32) == NotWelcome(reason=Refused.WRONG)
    [(_, actor, payload)] = [one for one in said(database) if one[0] == "sign_in.locked"]
    assert (actor, payload["failures"], payload["user"]) == ("system", 5, "li" if name == "li" else None)


def test_an_address_is_locked_after_many_names(database: Database) -> None:
    li(database)
    with database.write() as session:
        for _ in range(ADDRESS_FAILURES_FREE):
            sign_in_tries.count(
                session, sign_in_tries.subject_of("address", "192.0.2.7"), free=ADDRESS_FAILURES_FREE, now=NOW
            )
    assert enter(database, "wrong password", name="somebody").reason is Refused.WRONG
    assert enter(database).reason is Refused.LOCKED
    assert isinstance(enter(database, by=From(address="192.0.2.8")), Welcome)
    # What was right is no failure, and does not wipe out those before it.
    assert isinstance(enter(database, after=40), Welcome)
    assert enter(database, "wrong password", name="somebody", after=41).reason is Refused.WRONG
    assert enter(database, after=42).reason is Refused.LOCKED


def test_neighbours_in_one_ipv6_house_count_as_one(database: Database) -> None:
    subject = sign_in_tries.subject_of("address", "2001:db8:1:2::/64")
    enter(database, "wrong password", by=From(address="2001:db8:1:2::1"))
    enter(database, "wrong password", by=From(address="2001:db8:1:2:ffff::9"))
    with database.read() as session:
        assert sign_in_tries.tries(session, subject, now=NOW).failures == 2


def test_failures_are_forgotten_after_a_day(database: Database) -> None:
    subject = sign_in_tries.subject_of("name", "li")
    for _ in range(3):
        enter(database, "wrong password")
    with database.read() as session:
        assert sign_in_tries.tries(session, subject, now=NOW).failures == 3
        later = NOW + sign_in_tries.FORGOTTEN_AFTER + timedelta(seconds=1)
        assert sign_in_tries.tries(session, subject, now=later).failures == 0


def test_what_was_typed_as_a_name_is_not_kept(database: Database) -> None:
    for _ in range(6):
        enter(database, "x", name="my password in the wrong field")
    with database.read() as session:
        kept = session.connection().execute(text("SELECT * FROM sign_in_tries")).all()
    assert "wrong field" not in str(kept) + json.dumps(said(database))


# permissions and what is seen


def test_the_table_of_permissions_is_closed() -> None:
    assert set(ROLES) == set(Permission)
    # What an institution says nobody says for it, not even who may do all else.
    assert of_role(UserRole.ADMIN) == set(Permission) - {Permission.ANSWER}
    assert of_role(UserRole.INSTITUTION) == {Permission.READ, Permission.FEED, Permission.NOTE, Permission.ANSWER}
    assert of_role(UserRole.AUDITOR).isdisjoint({Permission.DECIDE, Permission.IMPORT, Permission.CONFIRM})
    assert of_role(UserRole.STAFF) < of_role(UserRole.REGULATOR) < of_role(UserRole.ADMIN)
    assert of_scopes(["admin"]) == set(Permission) - {Permission.ANSWER}
    assert of_scopes(["answer"]) == {Permission.ANSWER, Permission.NOTE}
    assert of_nobodys_scopes(["answer"]) == frozenset()
    assert of_nobodys_scopes(["answer", "read"]) == of_scopes(["read"])
    assert of_scopes(["nonsense"]) == frozenset()
    assert set(SCOPES) == {"read", "feed", "decide", "answer", "import", "metrics", "admin"}


def test_a_district_covers_what_its_code_begins(district: Database) -> None:
    first, second, without = INSTITUTIONS
    assert (first.district, second.district, without.district) == ("510300", "371082", None)
    city = Visible(districts=("5103",))
    assert city.covers_institution(first)
    assert not city.covers_institution(second)
    assert not city.covers_institution(without)
    assert not city.covers_institution(None)
    with district.read() as session:
        assert [may_see(session, city, one.uscc) for one in INSTITUTIONS] == [True, False, False]
        assert [may_see(session, Visible(), code) for code in (first.uscc, "unknown", None)] == [True, True, True]
        assert [may_see(session, city, code) for code in ("unknown", None)] == [False, False]
        own = Visible(uscc=second.uscc)
        assert [may_see(session, own, one.uscc) for one in INSTITUTIONS] == [False, True, False]
        nothing = Visible(districts=())
        assert [may_see(session, nothing, one.uscc) for one in INSTITUTIONS] == [False, False, False]
    assert Visible().is_everything
    assert not nothing.is_everything
