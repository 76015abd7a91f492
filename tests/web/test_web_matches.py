"""Matches over HTTP: what is matched and open, page by page, matched and undone by hand by who may and sees it."""

from __future__ import annotations

from datetime import date
from typing import Any

import httpx
import orjson
import pytest

from escrow_monitor.domain.matching import BankLine, Expected, ExpectedKind, MatchPolicy
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.matching.matching import match_new, record_items
from escrow_monitor.records.people import keys, users
from tests.web.web_world import Site, World, no, uscc

PATH = "/api/v1/matches"
DAY = date(2026, 11, 18)


@pytest.fixture
def desk(database: Database) -> Site:
    """Two institutions: of the first two lines matched by reference, one line and two items open; of the second one."""
    world = World(database=database)
    world.institutions(2)
    world.key("reader", "read")
    world.key("wang", "read", "decide")
    with database.write() as session:
        record_items(session, now=world.now, lines=[
            line("a1", 100_00, reference="R-1"), line("a2", 200_00, reference="R-2"), line("a3", 300_00),
            line("b1", 400_00, number=1),
        ], expected=[
            item("1", 100_00, reference="R-1"), item("2", 200_00, reference="R-2"), item("3", 290_00),
            item("4", 77_00), item("5", 400_00, number=1, on=date(2026, 1, 5)),
        ])
        match_new(session, MatchPolicy(), now=world.now)
    return Site(world)


def line(name: str, fen: int, *, number: int = 0, reference: str | None = None) -> BankLine:
    return BankLine(
        line_id=f"entry:{name}", uscc=uscc(number), account_no=no(number), on=DAY, amount_fen=fen, reference=reference,
        text="学费",
    )


def item(
    name: str, fen: int, *, number: int = 0, reference: str | None = None, on: date = DAY
) -> Expected:
    return Expected(
        expected_id=f"charge:{name}", kind=ExpectedKind.CHARGE, uscc=uscc(number), on=on, amount_fen=fen,
        reference=reference,
    )


def listed(site: Site, query: str = "", *, path: str = PATH, key: str = "reader") -> list[dict[str, Any]]:
    answer = site.get(f"{path}?{query}", key=key)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def post(site: Site, path: str, body: object, *, key: str = "wang", **headers: str) -> httpx.Response:
    return site.send(
        "POST", f"{PATH}{path}", key=key, content=orjson.dumps(body), content_type="application/json", **headers
    )


def test_what_is_matched_is_listed_with_its_items_and_why(desk: Site) -> None:
    first, second = listed(desk)
    assert [one["line_id"] for one in first["lines"]] == ["entry:a1"]
    assert [(one["item_id"], one["amount"]) for one in first["items"]] == [("charge:1", "100.00")]
    assert (first["tier"], first["made_by"], first["residual_fen"], first["uscc"]) == ("reference", None, 0, uscc(0))
    assert first["basis"] == "the same reference and amount"
    page = desk.get(f"{PATH}?limit=1&sort=-on").json()
    rest = desk.get(f"{PATH}?limit=1&sort=-on&after={page['after']}").json()
    assert {page["items"][0]["match_id"], rest["items"][0]["match_id"]} == {first["match_id"], second["match_id"]}
    assert rest["after"] is None
    assert listed(desk, f"uscc={uscc(1)}") == listed(desk, "tier=manual") == listed(desk, "first=2026-11-19") == []
    assert len(listed(desk, "first=2026-11-18&last=2026-11-18&district=5103")) == 2
    tag = desk.get(PATH).headers["etag"]
    assert desk.get(PATH, if_none_match=tag).status_code == 304


def test_what_is_open_is_listed_with_its_break_and_what_it_costs(desk: Site) -> None:
    found = {one["item_id"]: one for one in listed(desk, path=f"{PATH}/open")}
    assert set(found) == {"entry:a3", "entry:b1", "charge:3", "charge:4", "charge:5"}
    assert (found["entry:a3"]["side"], found["entry:a3"]["impact"]) == ("line", "300.00")
    assert (found["charge:4"]["side"], found["charge:4"]["impact"], found["charge:4"]["kind"]) == (
        "expected", "-77.00", "missing"
    )
    assert [one["item_id"] for one in listed(desk, f"uscc={uscc(1)}&side=line", path=f"{PATH}/open")] == ["entry:b1"]
    assert [one["impact_fen"] for one in listed(desk, "sort=impact", path=f"{PATH}/open")] == [
        -400_00, -290_00, -77_00, 300_00, 400_00
    ]
    seen: list[str] = []
    after = ""
    while True:
        page = desk.get(f"{PATH}/open?limit=2&sort=on&after={after}").json()
        seen += [one["item_id"] for one in page["items"]]
        if (after := page["after"]) is None:
            break
    assert sorted(seen) == sorted(found)
    assert seen[0] == "charge:5"


def test_a_match_by_hand_is_made_once_with_its_reason_and_can_be_undone(desk: Site) -> None:
    body = {"lines": ["entry:a3"], "items": ["charge:3"], "reason": "手续费十元"}
    made = post(desk, "", body, idempotency_key="k")
    assert (made.status_code, made.json()["residual"]) == (201, "10.00")
    assert post(desk, "", body, idempotency_key="k").content == made.content
    assert post(desk, "", body).status_code == 409
    [shown] = listed(desk, "tier=manual")
    assert (shown["made_by"], shown["basis"], shown["match_id"]) == ("key:wang", "手续费十元", made.json()["match_id"])
    undone = post(desk, "/undo", {"item": "charge:3", "reason": "看错了"})
    assert (undone.status_code, undone.json()["lines"]) == (200, ["entry:a3"])
    assert post(desk, "/undo", {"item": "charge:3", "reason": "看错了"}).status_code == 409
    with desk.world.database.read() as session:
        told = [(one.kind, one.actor, one.payload["reason"]) for one in audit.records(session)
                if one.kind.startswith("match.")]
    assert told == [("match.made", "key:wang", "手续费十元"), ("match.undone", "key:wang", "看错了")]


@pytest.mark.parametrize(("body", "status"), [
    ({"lines": ["entry:a3"], "items": ["charge:5"], "reason": "x"}, 409),  # two institutions
    ({"lines": ["entry:a1"], "items": ["charge:3"], "reason": "x"}, 409),  # in a match
    ({"lines": ["entry:zz"], "items": ["charge:3"], "reason": "x"}, 404),
    ({"lines": ["entry:a3"], "items": ["charge:3"], "reason": " "}, 422),
    ({"lines": [], "items": ["charge:3"], "reason": "x"}, 422),
])
def test_what_cannot_be_a_match_is_refused(desk: Site, body: dict[str, Any], status: int) -> None:
    assert post(desk, "", body).status_code == status
    assert listed(desk, "tier=manual") == []


def test_who_is_limited_to_a_district_sees_and_settles_what_is_theirs(desk: Site) -> None:
    world = desk.world
    with world.database.write() as session:
        users.add(
            session, name="shi", display_name="史", role=UserRole.STAFF, districts=["3710"], uscc=None,
            password_hash="none", now=world.now,
        )
        users.add(
            session, name="ji", display_name="纪", role=UserRole.INSTITUTION, districts=None, uscc=uscc(1),
            password_hash="none", now=world.now,
        )
        for name in ("shi", "ji"):
            _, world.secrets[name] = keys.create(
                session, name=name, scopes=["read", "decide"], expires_at=None, now=world.now, owner=name
            )
    assert listed(desk, key="shi") == listed(desk, path=f"{PATH}/open", key="shi") == []
    assert [one["uscc"] for one in listed(desk, path=f"{PATH}/open", key="ji")] == [uscc(1)] * 2
    body = {"lines": ["entry:a3"], "items": ["charge:3"], "reason": "x"}
    hidden = post(desk, "", body, key="shi")
    absent = post(desk, "", {**body, "lines": ["entry:zz"]}, key="shi")
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert post(desk, "/undo", {"item": "charge:1", "reason": "x"}, key="shi").status_code == 404
    assert post(desk, "", body, key="ji").status_code == 403
    assert post(desk, "", body, key="reader").status_code == 403
