"""Reconciliations over HTTP: started by staff, followed to the end, asked for once however often."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from escrow_monitor.clock import FixedClock
from escrow_monitor.policies import load_policies
from escrow_monitor.records.evidence import audit
from escrow_monitor.rounds.reconcile import reconcile_asked
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.web.app import create_app
from tests.web.web_world import NOW, Site, World, uscc

PATH = "/api/v1/reconciliations"


@pytest.fixture
def desk(world: World) -> Site:
    """A reader, somebody who may decide, and a program that does what is asked at once."""
    world.institutions(2)
    world.key("reader", "read")
    world.key("wang", "read", "decide")
    policies = load_policies()
    ports = replace(world.ports(), reconcile=lambda request_id: reconcile_asked(
        request_id, database=world.database, policies=policies, channels=(), patience=Patience(),
        now=FixedClock(world.now).now(),
    ))
    return Site(world, create_app(ports))


def start(site: Site, key: str = "wang", again: str | None = None, **body: object) -> httpx.Response:
    sent = {"content-type": "application/json", **({} if again is None else {"idempotency-key": again})}
    return site.send("POST", PATH, key=key, content=orjson.dumps(body), **sent)


def test_staff_start_a_reconciliation_and_follow_it_to_its_result(desk: Site) -> None:
    answer = start(desk, uscc=uscc(0))
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["actor"]) == ("waiting", "key:wang")
    followed: Any = desk.get(answer.headers["location"]).json()
    assert (followed["state"], followed["done"], followed["total"], followed["problem"]) == ("done", 1, 1, None)
    [result] = followed["results"]
    assert (result["uscc"], result["complete"], result["residual_fen"]) == (uscc(0), False, 0)
    assert {one["why"] for one in result["incomplete"]} == {"no_contract", "no_statement"}
    [newest] = desk.get(PATH).json()["items"]
    assert newest == result


def test_the_same_key_and_body_get_the_same_answer_and_another_body_a_conflict(desk: Site) -> None:
    first, second = start(desk, again="k1", uscc=uscc(0)), start(desk, again="k1", uscc=uscc(0))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["location"] == second.headers["location"]
    assert first.content == second.content
    assert start(desk, again="k1", uscc=uscc(1)).status_code == 409
    with desk.world.database.read() as session:
        kinds = [one.kind for one in audit.records(session)]
    assert kinds.count("reconciliation.asked") == 1


@pytest.mark.parametrize(("body", "status", "word"), [
    ({"uscc": "91110000600037341L"}, 404, "institutions list"),
    ({"day": (NOW + timedelta(days=2)).date().isoformat()}, 422, "still to come"),
    ({"day": "yesterday"}, 422, "day"),
    ({"institution": "x"}, 422, "institution"),
])
def test_what_cannot_be_done_is_one_plain_sentence(desk: Site, body: dict[str, str], status: int, word: str) -> None:
    answer = start(desk, **body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert word in answer.json()["detail"]


def test_who_may_only_read_starts_nothing_and_an_unknown_id_is_not_found(desk: Site) -> None:
    assert start(desk, key="reader").status_code == 403
    assert desk.get(f"{PATH}/R0").status_code == 404


def test_without_a_program_beside_it_the_request_waits_for_a_round(world: World) -> None:
    world.institutions(1)
    world.key("wang", "read", "decide")
    site = Site(world)
    answer = start(site, uscc=uscc(0))
    assert site.get(answer.headers["location"], key="wang").json()["state"] == "waiting"


def test_the_list_is_read_page_by_page(desk: Site) -> None:
    for number in range(2):
        start(desk, uscc=uscc(number))
    first = desk.get(f"{PATH}?limit=1").json()
    second = desk.get(f"{PATH}?limit=1&after={first['after']}").json()
    assert [one["uscc"] for one in first["items"] + second["items"]] == [uscc(0), uscc(1)]
    assert second["after"] is None
