"""The keys of subscribers: each reads its own part of the feed, sees what was left out, and opens nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerts.alert import Severity
from alerts.feeds.filter import FeedFilter, filter_of
from escrow_monitor.actions.api_keys import create_key
from escrow_monitor.errors import UsageError
from escrow_monitor.records.people import keys
from tests.web.web_world import Site, World, uscc


def subscriber(world: World, **asked: str) -> str:
    with world.database.write() as session:
        _, secret = keys.create(
            session, name="subscriber", scopes=["feed"], expires_at=None, now=world.now, only=filter_of(asked)
        )
    return secret


def test_a_subscriber_reads_its_part_and_sees_how_much_was_left_out(site: Site, world: World) -> None:
    secret = subscriber(world, uscc=uscc(0))
    whole = site.get("/feeds/alerts.json?after=0").json()
    mine = site.get("/feeds/alerts.json?after=0", key=None, x_api_key=secret).json()
    wanted = [item for item in whole["items"] if item["_escrow"]["uscc"] == uscc(0)]
    assert 0 < len(wanted) < len(whole["items"])
    assert mine["items"] == wanted
    assert mine["_escrow_page"] == {
        "from": 1, "through": len(whole["items"]), "skipped": len(whole["items"]) - len(wanted)
    }


def test_a_subscriber_may_ask_for_less_and_not_for_more(site: Site, world: World) -> None:
    secret = subscriber(world, district="5103", severity="yellow")
    less = site.get("/feeds/alerts.json?severity=red&district=510302", key=None, x_api_key=secret)
    assert {item["_escrow"]["severity"] for item in less.json()["items"]} == {"red"}
    more = site.get("/feeds/alerts.json?district=3710", key=None, x_api_key=secret)
    assert more.status_code == 403
    assert "district=5103" in more.json()["detail"]
    stream = site.get("/feeds/alerts/events?district=3710", key=None, x_api_key=secret)
    assert stream.status_code == 403


@pytest.mark.parametrize("path", ["/api/v1/alerts", "/api/v1/accounts", "/metrics"])
def test_the_key_of_a_subscriber_opens_nothing_else(site: Site, world: World, path: str) -> None:
    assert site.get(path, key=None, x_api_key=subscriber(world)).status_code == 403


def test_a_part_of_the_feed_is_bound_to_a_key_that_can_do_nothing_else(world: World) -> None:
    only = FeedFilter(severity=Severity.RED, district="5103")
    with pytest.raises(UsageError, match="the scope feed alone"):
        create_key(
            world.database, name="x", scopes=["feed", "read"], expires_after=timedelta(days=1), actor="test",
            now=world.now, only=only,
        )
    key, secret = create_key(
        world.database, name="x", scopes=["feed"], expires_after=timedelta(days=1), actor="test", now=world.now,
        only=only,
    )
    assert key.only == only
    with world.database.read() as session:
        found = keys.verify(session, secret, now=world.now)
    assert found is not None
    assert found.only == only
