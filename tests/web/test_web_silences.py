"""Silences over HTTP: tried, made, listed, confirmed by a second person when red, ended; asking twice does it once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from alerts.alert import Severity
from escrow_monitor.records.evidence import audit
from tests.web.web_world import NOW, Site, World, uscc

ENDS = (NOW + timedelta(hours=8)).isoformat()
PATH = "/api/v1/silences"


@pytest.fixture
def office(site: Site, world: World) -> Site:
    """Two people who may decide, one who may only read."""
    world.key("li", "read", "decide")
    world.key("wang", "read", "decide")
    return site


def make(site: Site, key: str | None = "li", *, query: str = "", idempotency_key: str | None = None,
         **asked: Any) -> httpx.Response:
    body = {"matchers": {"rule": "floor"}, "reason": "系统演练", "ends_at": ENDS, **asked}
    headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
    return site.send(
        "POST", PATH + query, key=key, content=orjson.dumps(body), **{"content-type": "application/json", **headers}
    )


def confirm(site: Site, silence_id: str, key: str = "wang", **headers: str) -> httpx.Response:
    return site.send("POST", f"{PATH}/{silence_id}/confirm", key=key, **headers)


def end(site: Site, silence_id: str, key: str = "wang", **headers: str) -> httpx.Response:
    return site.send("DELETE", f"{PATH}/{silence_id}", key=key, **headers)


def kinds(world: World) -> list[str]:
    with world.database.read() as session:
        assert audit.verify(session).whole
        return [one.kind for one in audit.records(session) if one.kind.startswith("silence")]


def listed(site: Site, query: str = "") -> list[Any]:
    items: list[Any] = site.get(PATH + query).json()["items"]
    return items


def test_a_silence_is_tried_made_shown_and_ended(office: Site, world: World) -> None:
    tried = make(office, query="?dry_run=true")
    assert (tried.status_code, tried.json()["made"], listed(office)) == (200, False, [])
    told = make(office).json()
    assert told["made"] is True
    assert (told["hides_count"], [one["severity"] for one in told["hides"]]) == (2, ["orange", "yellow"])
    assert (told["spares_count"], {one["severity"] for one in told["spares"]}) == (2, {"red"})
    silence = told["silence"]
    assert (silence["state"], silence["author"], silence["red"]) == ("in_force", "key:li", False)
    assert listed(office) == [silence]
    shown = office.get(f"{PATH}/{silence['silence_id']}").json()
    assert (shown["silence"], shown["hides_count"]) == (silence, 2)
    done = end(office, silence["silence_id"])
    assert (done.status_code, done.json()["state"], done.json()["ended_by"]) == (200, "ended", "key:wang")
    again = end(office, silence["silence_id"])
    assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")
    assert again.json()["errors"][0] == {"where": "silence", "reason": "ended", "zh": "该静默已经结束"}
    assert (listed(office), len(listed(office, "?ended=true")), len(listed(office, "?state=ended"))) == ([], 1, 1)
    assert kinds(world) == ["silence.made", "silence.ended"]


def test_red_waits_for_a_second_person(office: Site, world: World) -> None:
    told = make(office, red=True, matchers={"uscc": uscc(0)}).json()
    silence_id = told["silence"]["silence_id"]
    assert (told["silence"]["state"], told["hides_count"], told["spares_count"]) == ("proposed", 1, 0)
    assert confirm(office, silence_id, key="reader").status_code == 403
    refused = confirm(office, silence_id, key="li")
    assert (refused.status_code, refused.json()["errors"][0]["reason"]) == (409, "same_person")
    assert listed(office, "?state=proposed")[0]["silence_id"] == silence_id
    done = confirm(office, silence_id).json()["silence"]
    assert (done["state"], done["confirmed_by"], done["confirmed_at"]) == (
        "in_force", "key:wang", NOW.isoformat().replace("+00:00", "Z")
    )
    assert confirm(office, silence_id).json()["errors"][0]["reason"] == "not_proposed"
    assert kinds(world) == ["silence.proposed", "silence.confirmed"]


def test_the_same_request_again_makes_one_silence(office: Site, world: World) -> None:
    first, second = (make(office, idempotency_key="k1") for _ in range(2))
    assert (first.status_code, second.status_code, first.content) == (201, 201, second.content)
    assert len(listed(office)) == 1
    assert make(office, idempotency_key="k1", reason="other").status_code == 409
    silence_id = first.json()["silence"]["silence_id"]
    gone = [end(office, silence_id, **{"idempotency-key": "k2"}) for _ in range(2)]
    assert [one.status_code for one in gone] == [200, 200]
    assert gone[0].content == gone[1].content
    assert kinds(world) == ["silence.made", "silence.ended"]


def test_the_list_is_filtered_and_paged_and_nothing_is_left_out(office: Site, world: World) -> None:
    for number in range(5):
        make(office, matchers={"uscc": uscc(number % 2), "rule": "floor"})
    make(office, key="wang", matchers={"bank": "自贡银行"}, starts_at=(NOW + timedelta(hours=1)).isoformat())
    every = [one["silence_id"] for one in listed(office)]
    assert every == sorted(every)
    assert len(every) == 6
    paged: list[str] = []
    after = ""
    while True:
        page = office.get(f"{PATH}?limit=2&after={after}").json()
        paged += [one["silence_id"] for one in page["items"]]
        after = page["after"]
        if after is None:
            break
    assert paged == every
    assert len(listed(office, f"?uscc={uscc(0)}")) == 3
    assert len(listed(office, "?author=key:wang")) == len(listed(office, "?state=to_come")) == 1
    assert len(listed(office, "?bank=自贡银行&author=key:li")) == 0
    assert office.get(f"{PATH}?colour=red").status_code == 422


def test_who_may_not_and_what_cannot_be_is_refused_with_a_problem(office: Site, world: World) -> None:
    for key, status in ((None, 401), ("reader", 403)):
        assert make(office, key).status_code == status
    for wrong in (
        {"matchers": {}}, {"matchers": {"colour": "x"}}, {"matchers": {"bank": ""}}, {"reason": " "},
        {"ends_at": NOW.isoformat()}, {"ends_at": (NOW + timedelta(days=40)).isoformat()}, {"ends_at": "soon"},
        {"ends_at": "2026-11-21T00:00:00"}, {"unknown": 1}, {"reason": "r" * 501},
    ):
        answer = make(office, **wrong)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), wrong
    for answer in (confirm(office, "none"), end(office, "none"), office.get(f"{PATH}/none")):
        assert answer.status_code == 404
    foreign = make(office, idempotency_key=None)
    assert foreign.status_code == 201
    crossed = office.send("DELETE", f"{PATH}/{foreign.json()['silence']['silence_id']}", key="li",
                          origin="https://elsewhere.example")
    assert crossed.status_code == 403
    assert kinds(world) == ["silence.made"]


def test_of_very_many_hits_the_first_are_listed_and_all_are_counted(office: Site, world: World) -> None:
    for number in range(10, 130):
        world.signal(number, severity=Severity.ORANGE)
    told = make(office, query="?dry_run=true").json()
    assert (told["hides_count"], len(told["hides"])) == (122, 100)
