"""Deliveries over HTTP: listed with what became of them, and sent again by a person, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from alerts.delivery import Attempt, AttemptOutcome, Dead, Delivered, Later
from alerts.routing import RouteReason, Waits, Withheld
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.alerts.routes import postpone, withhold
from escrow_monitor.records.evidence import audit
from tests.web.web_world import NOW, Site, World

PATH = "/api/v1/deliveries"
CHANNELS = ("hook", "mail")


@pytest.fixture
def office(empty: World) -> Site:
    """Four alerts owed to two channels: hook took one, gave two up and waits with one; mail was spared one."""
    world = empty
    world.key("li", "read", "decide")
    with world.database.write() as session:
        deliveries.owe(session, [world.signal(number)[0] for number in range(4)], channels=CHANNELS)
    with world.database.write() as session:
        due = {one.delivery_id: one for one in deliveries.claim(
            session, limit=99, now=NOW, lease_seconds=60, claimant="me"
        )}
        tries = (
            ("evt_1_hook", AttemptOutcome.SENT, Delivered()),
            ("evt_2_hook", AttemptOutcome.PERMANENT_FAILURE, Dead("permanent: HTTP 410")),
            ("evt_3_hook", AttemptOutcome.PERMANENT_FAILURE, Dead("permanent: HTTP 410")),
            ("evt_4_mail", AttemptOutcome.PASSING_FAILURE, Later(NOW + timedelta(minutes=5))),
        )
        deliveries.settle(session, [
            (due[name], Attempt(delivery_id=name, at=NOW, outcome=outcome, detail="HTTP 410", took_ms=7), fate)
            for name, outcome, fate in tries
        ], now=NOW)
        postpone(session, [(due["evt_4_hook"], Waits(RouteReason.SILENCED, NOW + timedelta(minutes=9), by="ab12"))])
        withhold(session, [(due["evt_1_mail"], Withheld(RouteReason.NOT_ASKED_FOR))], now=NOW)
    ports = world.ports()
    from dataclasses import replace

    from escrow_monitor.web.app import create_app

    return Site(world, create_app(replace(ports, channels=CHANNELS)))


def ids(site: Site, query: str = "") -> list[str]:
    return [one["delivery_id"] for one in site.get(PATH + query).json()["items"]]


def post(site: Site, path: str, key: str | None = "li", *, idempotency_key: str | None = None,
         **asked: Any) -> httpx.Response:
    headers = {"content-type": "application/json"} | (
        {} if idempotency_key is None else {"idempotency-key": idempotency_key}
    )
    return site.send("POST", PATH + path, key=key, content=orjson.dumps(asked) if asked else None, **headers)


def resent(world: World) -> list[list[str]]:
    with world.database.read() as session:
        assert audit.verify(session).whole
        return [list(one.payload["deliveries"]) for one in audit.records(session, kind="delivery.resent")]  # type: ignore[call-overload]


def test_deliveries_are_listed_newest_first_with_state_reason_and_tries(office: Site) -> None:
    assert ids(office) == [
        "evt_4_hook", "evt_4_mail", "evt_3_hook", "evt_3_mail", "evt_2_hook", "evt_2_mail", "evt_1_hook",
    ]
    assert ids(office, "?state=dead") == ["evt_3_hook", "evt_2_hook"]
    assert ids(office, "?state=delivered") == ["evt_1_hook"]
    assert ids(office, "?channel=mail&state=due") == ["evt_4_mail", "evt_3_mail", "evt_2_mail"]
    alert = office.get(PATH).json()["items"][-1]["alert_id"]
    assert ids(office, f"?alert_id={alert}") == ["evt_1_hook"]
    [waiting] = [one for one in office.get(PATH).json()["items"] if one["waits"]]
    assert (waiting["delivery_id"], waiting["waits"], waiting["held_by"], waiting["waits_said"]) == (
        "evt_4_hook", "silenced", "ab12", "静默中"
    )
    [withheld] = office.get(f"{PATH}?state=withheld").json()["items"]
    assert (withheld["delivery_id"], withheld["waits"], withheld["due_at"]) == ("evt_1_mail", "not_asked_for", None)
    dead = office.get(f"{PATH}/evt_2_hook").json()
    assert (dead["state"], dead["detail"], dead["attempts"]) == ("dead", "permanent: HTTP 410", 1)
    assert dead["tries"][0]["outcome"] == "permanent_failure"
    assert office.get(f"{PATH}/evt_1_mail").json()["state"] == "withheld"
    assert office.get(f"{PATH}/evt_9_hook").status_code == 404
    assert office.get(f"{PATH}?after=x").status_code == 422
    assert office.get(f"{PATH}?sate=dead").status_code == 422


def test_pages_of_deliveries_leave_none_out(office: Site) -> None:
    found: list[str] = []
    after = ""
    while True:
        page = office.get(f"{PATH}?limit=2&after={after}").json()
        found += [one["delivery_id"] for one in page["items"]]
        if page["after"] is None:
            break
        after = page["after"]
    assert found == ids(office)


def test_what_was_given_up_is_sent_again_once(office: Site) -> None:
    first, second = (post(office, "/evt_2_hook/resend", idempotency_key="k") for _ in range(2))
    assert (first.status_code, first.json(), second.content) == (
        200, {"resent": ["evt_2_hook"], "left": False}, first.content
    )
    assert resent(office.world) == [["evt_2_hook"]]
    again = post(office, "/evt_2_hook/resend")
    assert (again.status_code, again.json()["errors"][0]["reason"]) == (409, "not_given_up")
    [one] = [one for one in office.get(f"{PATH}?state=due&channel=hook").json()["items"] if not one["waits"]]
    assert (one["delivery_id"], one["due_at"]) == ("evt_2_hook", NOW.isoformat().replace("+00:00", "Z"))
    with office.world.database.write() as session:
        [claimed] = deliveries.claim(session, limit=9, now=NOW, lease_seconds=60, claimant="me", channel="hook")
        withhold(session, [(claimed, Withheld(RouteReason.ENDED_MEANWHILE))], now=NOW)
    assert "evt_2_hook" in ids(office, "?state=due"), "a person asked for it: nothing withholds it any more"


def test_all_of_a_channel_or_several_are_sent_again_all_or_none(office: Site) -> None:
    refused = post(office, "/resend", deliveries=["evt_2_hook", "evt_1_hook"])
    assert (refused.status_code, ids(office, "?state=dead")) == (409, ["evt_3_hook", "evt_2_hook"])
    assert post(office, "/resend", deliveries=["evt_2_hook", "evt_77_hook"]).status_code == 404
    assert post(office, "/resend", deliveries=["evt_2_hook"], channel="hook").status_code == 422
    assert post(office, "/resend", channel="pigeon").status_code == 422
    assert post(office, "/resend", channel="hook").json()["resent"] == ["evt_2_hook", "evt_3_hook"]
    assert post(office, "/resend", channel="hook").json() == {"resent": [], "left": False}
    assert resent(office.world) == [["evt_2_hook", "evt_3_hook"]]


def test_only_who_may_decide_sends_again(office: Site) -> None:
    for key, status in ((None, 401), ("reader", 403)):
        assert post(office, "/evt_2_hook/resend", key).status_code == status
    assert resent(office.world) == []
