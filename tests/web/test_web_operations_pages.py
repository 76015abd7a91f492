"""How the program runs, on a page: what is late, what waits, who is silent, and nothing that can be changed."""

from __future__ import annotations

import re
from datetime import timedelta

from escrow_monitor.records import nodes, runs
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.outbox_counts import queues
from escrow_monitor.web.console.words import WORDS
from tests.web.test_web_pages import said
from tests.web.web_world import NOW, Site, World


def test_a_bad_morning_says_what_is_to_be_seen_to(site: Site) -> None:
    text = said(site, "/operations?lang=en")
    assert "To be seen to: 1 rounds late, 1 banks silent" in text
    for word in ("pull balances", "late", "川南农商行", "timed out: 2 accounts", "SQLite", "Last runs", "accounts 6"):
        assert word in text, word
    html = site.get("/operations").text
    assert "<form" not in re.sub(r'<form method="post" action="/sign-out.*?</form>', "", html, flags=re.DOTALL)


def test_with_nothing_yet_it_says_what_to_do(empty: World) -> None:
    empty.rounds = ()
    text = said(Site(empty), "/operations?lang=en")
    for word in ("No round is expected here", "No channel is configured", "No round has run yet", "no round will run"):
        assert word in text, word


def test_runs_of_one_round_are_asked_for_by_address(world: World) -> None:
    world.ran("check-balances", at=NOW - timedelta(hours=1), outcome=runs.Outcome.ERROR)
    text = said(Site(world), "/operations?round=check-balances&lang=en")
    assert "Last runs of check balances" in text
    assert "failed" in text
    assert Site(world).get("/operations?round=" + "x" * 61).status_code == 400


def test_what_waits_and_what_was_given_up_is_counted_by_channel(world: World) -> None:
    with world.database.write() as session:
        entries = RecordsAlertBook(session).newest(limit=3)
        for entry in entries:
            for channel in ("wecom", "mail"):
                session.connection().exec_driver_sql(
                    "INSERT INTO deliveries (delivery_id, channel, seq, state, attempts, due_at, created_at, detail)"
                    f" VALUES ('evt_{entry.seq}_{channel}', '{channel}', {entry.seq},"
                    f" '{'due' if channel == 'mail' else 'dead'}', 2, '2026-11-20 02:00:00.000000',"
                    " '2026-11-20 02:00:00.000000', '')"
                )
        found = queues(session)
    assert (found["mail"].due, found["mail"].tried, found["wecom"].dead) == (3, 3, 3)
    assert deliveries.__name__
    text = said(Site(world), "/operations?lang=en")
    assert "3 deliveries given up, 1 channels wait" in text
    assert "no longer configured" in text


def test_a_node_that_went_silent_is_marked(world: World) -> None:
    with world.database.write() as session:
        nodes.beat(session, "node-a", now=NOW)
        nodes.beat(session, "node-b", now=NOW - timedelta(minutes=5))
    html = Site(world).get("/operations?lang=en").text
    assert html.count(">silent</span>") == 1


def test_every_outcome_has_a_word() -> None:
    assert {f"outcome.{one.value}" for one in runs.Outcome} <= set(WORDS)
