"""Who of our people is who at a provider, who looks after whom, and one's own password, on both databases."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

import pytest

from escrow_monitor.actions import users as actions
from escrow_monitor.actions.own_account import NotChanged, change_password, sign_out_one, sign_out_others
from escrow_monitor.actions.passwords import generated_password, hashed, is_right
from escrow_monitor.actions.sign_in import From, NotWelcome, Welcome, sign_in
from escrow_monitor.actions.sign_in_from_outside import sign_in_from_outside
from escrow_monitor.actions.users import BeyondReach, By, OwnAccount, UnknownUser
from escrow_monitor.domain.identities import Mapped, Outsider, OutsideRefusal, Place, RoleLine
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.errors import UsageError
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import identities, sessions, users
from escrow_monitor.records.people.users import NO_PASSWORD
from tests.records.conftest import INSTITUTIONS, NOW

ISSUER = "https://id.example.gov.cn/realms/city"
PASSWORD, ANOTHER = "three plain words here", "four other plain words"
BY = By(actor="test")
HERE = From(address="192.0.2.7", agent="a browser")
MAPPED = Mapped(roles=(RoleLine(value="staff", role=UserRole.STAFF, districts=("5103",)),), provision=True)


@lru_cache(maxsize=1)
def password_hash() -> str:
    return hashed(PASSWORD)


def person(database: Database, name: str, role: UserRole = UserRole.STAFF, **options: object) -> None:
    with database.write() as session:
        actions.add_user(session, name=name, role=role, by=BY, now=NOW, **options)  # type: ignore[arg-type]


def li(subject: str = "S-1", **claims: object) -> Outsider:
    return Outsider(issuer=ISSUER, subject=subject, claims={"preferred_username": "li", **claims})


def test_an_identity_is_one_persons_and_a_person_has_one_of_each_provider(database: Database) -> None:
    person(database, "li")
    person(database, "wang")
    with database.write() as session:
        assert identities.link(session, issuer=ISSUER, subject="S-1", user_name="li", by="test", now=NOW)
        assert not identities.link(session, issuer=ISSUER, subject="S-1", user_name="wang", by="test", now=NOW)
        assert not identities.link(session, issuer=ISSUER, subject="S-2", user_name="li", by="test", now=NOW)
        assert identities.link(session, issuer="https://other", subject="S-1", user_name="wang", by="test", now=NOW)
        found = identities.identity(session, issuer=ISSUER, subject="S-1")
        assert found is not None
        assert (found.user_name, found.linked_at, found.linked_by) == ("li", NOW, "test")
        assert identities.identity(session, issuer=ISSUER, subject="s-1") is None
        assert identities.unlink(session, "li") == [found]
        assert identities.of_user(session, "li") == []
        assert len(identities.of_user(session, "wang")) == 1


def test_signing_in_elsewhere_links_adds_and_takes_the_role_of_each_time(district: Database) -> None:
    first = sign_in_from_outside(district, li(groups=["staff"], name="李雷"), mapped=MAPPED, by=HERE, now=NOW)
    assert isinstance(first, Welcome)
    with district.read() as session:
        made = users.user(session, "li")
        assert made is not None
        assert (made.display_name, made.districts, made.has_password) == ("李雷", ("5103",), False)
        assert sessions.signed_in(session, first.token, now=NOW, keys_at=NOW) is not None
    lost = sign_in_from_outside(district, li(groups=[]), mapped=MAPPED, by=HERE, now=NOW)
    assert lost is OutsideRefusal.NO_ROLE
    with district.read() as session:
        assert sessions.signed_in(session, first.token, now=NOW, keys_at=NOW) is None


def test_a_refusal_leaves_no_link_and_nobody_behind(district: Database) -> None:
    person(district, "li")
    refused = sign_in_from_outside(district, li(), mapped=MAPPED, by=HERE, now=NOW)
    assert refused is OutsideRefusal.NO_ROLE
    with district.read() as session:
        assert identities.of_user(session, "li") == []


def test_who_has_no_password_signs_in_by_none(database: Database) -> None:
    person(database, "li")
    for password in ("", NO_PASSWORD, "none", PASSWORD):
        found = sign_in(database, name="li", password=password, by=HERE, now=NOW + timedelta(hours=1))
        assert isinstance(found, NotWelcome)
    assert not is_right(NO_PASSWORD, "")


def test_a_generated_password_never_holds_the_name_it_is_for() -> None:
    assert all("x" not in generated_password(name="x").casefold() for _ in range(300))


def test_people_are_paged_over_who_may_be_looked_after_alone(district: Database) -> None:
    home = INSTITUTIONS[0]
    person(district, "a-all")
    person(district, "b-inside", districts=["510302"])
    person(district, "c-partly", districts=["5103", "3710"])
    person(district, "d-school", UserRole.INSTITUTION, uscc=home.uscc)
    person(district, "e-inside", UserRole.ADMIN, districts=["5103"])
    reach = Visible(districts=("5103",))
    with district.read() as session:
        names = [one.name for one in users.page(session, EVERYTHING, limit=10)]
        assert names == ["a-all", "b-inside", "c-partly", "d-school", "e-inside"]
        inside = [one.name for one in users.page(session, reach, limit=10)]
        assert inside == [name for name in names if name[0] in "bde"]
        assert [one.name for one in users.page(session, reach, after="b-inside", limit=1)] == ["d-school"]
        assert [one.name for one in users.page(session, reach, limit=9, role=UserRole.ADMIN)] == ["e-inside"]
        assert users.page(session, Visible(districts=("37",)), limit=10) == []
        assert users.page(session, EVERYTHING, limit=10, is_open=False) == []


def test_nobody_gives_or_looks_after_more_than_they_see(district: Database) -> None:
    person(district, "local", UserRole.ADMIN, districts=["5103"])
    person(district, "wide")
    person(district, "near", districts=["510302"])
    by = By(actor="user:local", reach=Visible(districts=("5103",)), own="local")
    with district.write() as session:
        with pytest.raises(UnknownUser):
            actions.disable_user(session, name="wide", by=by, now=NOW)
        for place in (Place(role=UserRole.STAFF), Place(role=UserRole.STAFF, districts=("51",))):
            with pytest.raises(BeyondReach):
                actions.set_place(session, name="near", place=place, by=by, now=NOW)
        with pytest.raises(OwnAccount):
            actions.set_districts(session, name="local", districts=["510302"], by=by, now=NOW)
        moved = actions.set_place(
            session, name="near", place=Place(role=UserRole.VIEWER, districts=("5103",)), by=by, now=NOW
        )
        assert (moved.role, moved.districts) == (UserRole.VIEWER, ("5103",))


@pytest.mark.parametrize(("reach", "other", "district", "includes"), [
    (Visible(), Visible(), None, True), (Visible(districts=("51",)), Visible(), None, False),
    (Visible(districts=("51",)), Visible(districts=("5103", "510302")), None, True),
    (Visible(districts=("5103",)), Visible(districts=("51",)), None, False),
    (Visible(districts=("5103",)), Visible(uscc="X"), "510302", True),
    (Visible(districts=("5103",)), Visible(uscc="X"), "371000", False),
    (Visible(districts=("5103",)), Visible(uscc="X"), None, False),
    (Visible(districts=("5103",)), Visible(districts=()), None, True),
    (Visible(uscc="X"), Visible(districts=("51",)), None, False), (Visible(uscc="X"), Visible(uscc="X"), None, True),
])
def test_what_one_sees_includes_what_another_sees(
    reach: Visible, other: Visible, district: str | None, includes: bool
) -> None:
    assert reach.includes(other, district=district) is includes


def test_ones_own_password_is_changed_by_the_old_one_and_ends_the_other_sessions(database: Database) -> None:
    person(database, "li", password_hash=password_hash())
    with database.write() as session:
        (here, _), (there, _) = (
            sessions.begin(session, user_name="li", address="a", agent="", now=NOW) for _ in range(2)
        )
    asked = {"name": "li", "session_id": here, "now": NOW}
    assert change_password(database, old="wrong", new=ANOTHER, **asked) is NotChanged.WRONG  # type: ignore[arg-type]
    assert change_password(database, old=PASSWORD, new=PASSWORD, **asked) is NotChanged.SAME  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 12"):
        change_password(database, old=PASSWORD, new="short", **asked)  # type: ignore[arg-type]
    assert change_password(database, old=PASSWORD, new=ANOTHER, **asked) == 1  # type: ignore[arg-type]
    with database.read() as session:
        assert [one.session_id for one in sessions.open_sessions(session, user_name="li", now=NOW)] == [here]
    with pytest.raises(UsageError, match="no open session"):
        sign_out_one(database, name="li", session_id=there, now=NOW)
    assert sign_out_others(database, name="li", session_id=here, now=NOW) == 0
    sign_out_one(database, name="li", session_id=here, now=NOW)
