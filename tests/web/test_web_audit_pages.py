"""The audit record on pages: found by what one knows, each entry with its hash, verified and taken along."""

from __future__ import annotations

import re
import time
from datetime import timedelta

import httpx
import pytest

from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.chain import Fault
from escrow_monitor.records.evidence.export import verify_export
from escrow_monitor.records.evidence.seal_keys import new_key, read_key
from escrow_monitor.records.evidence.seals import put_seal
from escrow_monitor.records.evidence.search import AskedAudit
from escrow_monitor.web.console.words import WORDS
from tests.web.test_web_pages import Page
from tests.web.web_world import NOW, Site, World, uscc


@pytest.fixture
def told(database: Database) -> Site:
    world = World(database=database)
    world.key("auditor", "admin")
    world.key("reader", "read")
    with database.write() as session:
        for number in range(60):
            audit.append(
                session, kind="case.moved" if number % 2 else "round.finished", actor=f"user:li{number % 3}",
                now=NOW + timedelta(hours=number),
                payload={"case_no": f"TF-{number}", "uscc": uscc(number % 4), "note": "退费 100%"},
            )
    return Site(world)


def seqs(site: Site, query: str = "") -> list[int]:
    html = site.get(f"/audit{query}", key="auditor").text
    assert Page(html).blocked == []
    return [int(found) for found in re.findall(r'<a href="/audit/entries/(\d+)">\1</a></th>', html)]


def settled(site: Site, path: str) -> str:
    for _ in range(400):
        html = site.get(f"{path}?lang=en", key="auditor").text
        if "hx-trigger" not in html:
            return html
        time.sleep(0.05)
    raise AssertionError("it is still at work")


def form(site: Site, path: str) -> httpx.Response:
    return site.send(
        "POST", path, key="auditor", content=b"x=y", content_type="application/x-www-form-urlencoded"
    )


def test_the_newest_entries_stand_first_and_pages_follow_without_loss(told: Site) -> None:
    with told.world.database.read() as session:
        head = audit.head(session).seq
    seen, path = [], "/audit"
    while path:
        html = told.get(path, key="auditor").text
        seen += [int(found) for found in re.findall(r'<a href="/audit/entries/(\d+)">\1</a></th>', html)]
        more = re.search(r'href="(/audit\?[^"]*)" rel="next"', html)
        path = more[1].replace("&amp;", "&") if more else ""
    assert seen == list(range(head, 0, -1))


def test_entries_are_found_by_kind_actor_subject_day_and_text(told: Site) -> None:
    first = min(seqs(told, "?kind=case.moved"))
    assert len(seqs(told, "?kind=case.moved")) == 30
    assert len(seqs(told, "?actor=user:li1")) == 20
    assert seqs(told, "?subject=TF-1") == [first]
    assert len(seqs(told, f"?subject={uscc(1)}&kind=case.moved")) == 15
    assert seqs(told, "?q=tf-59") == [max(seqs(told))]
    assert len(seqs(told, "?q=%E9%80%80%E8%B4%B9")) == 50
    assert seqs(told, "?q=%25%25") == []
    assert seqs(told, "?q=100_") == []
    assert len(seqs(told, "?since=2026-11-22&until=2026-11-22")) == 22
    assert "No entry fits" in told.get("/audit?lang=en&q=nonsense", key="auditor").text


@pytest.mark.parametrize("query", ["?colour=red", "?since=yesterday", "?before=x", "?before=-1", "?q=" + "x" * 101])
def test_a_filter_that_is_none_is_refused(told: Site, query: str) -> None:
    assert told.get(f"/audit{query}", key="auditor").status_code == 400


def test_a_long_record_is_searched_piece_by_piece(told: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_search, "SCANNED_MAX", 10)
    html = told.get("/audit?subject=TF-1&lang=en", key="auditor").text
    assert "older ones were not looked at" in html
    assert "Look further back" in html
    with told.world.database.read() as session:
        found = audit_search.search(session, AskedAudit(subject="TF-1"), limit=5)
        pieces = 1
        while found.go_on is not None and not found.records:
            found = audit_search.search(session, AskedAudit(subject="TF-1"), before=found.go_on, limit=5)
            pieces += 1
        assert [record.payload["case_no"] for record in found.records] == ["TF-1"]
        assert pieces > 4
        assert audit_search.search(session, AskedAudit(kind="case.moved"), limit=100).go_on is None


def test_an_entry_shows_its_hash_and_leads_to_what_it_names(told: Site) -> None:
    seq = max(seqs(told))
    html = told.get(f"/audit/entries/{seq}?lang=en", key="auditor").text
    assert "The text gives this head" in html
    assert f'href="/institutions/{uscc(3)}"' in html
    assert 'href="/cases/TF-59"' in html
    assert "a person" in html
    assert told.get(f"/audit/entries/{seq + 1}", key="auditor").status_code == 404
    assert told.get("/audit/entries/0", key="auditor").status_code == 404
    assert told.get("/audit/entries/99999999999999999999", key="auditor").status_code == 404


def test_verify_now_walks_all_of_it_and_names_the_first_damage(world: World) -> None:
    site = Site(world)
    world.key("auditor", "admin")
    site = Site(world)
    path = form(site, "/audit/verify").headers["location"]
    assert "Whole: all" in settled(site, path)
    with world.database.write() as session:
        connection = session.connection()
        for [name] in connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_entries'"
        ).all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql("UPDATE audit_entries SET actor = 'user:nobody' WHERE seq = 3")
    html = settled(site, form(site, "/audit/verify").headers["location"])
    assert "Broken at entry 3: edited" in html
    assert site.get(path, key="admin").status_code == 200
    assert site.get(path, key="reader").status_code == 403


def test_an_export_is_verified_outside_and_says_that_it_was_taken(told: Site) -> None:
    answer = form(told, "/audit/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert 'filename="audit-20261120-103000.jsonl"' in answer.headers["content-disposition"]
    lines = answer.content.splitlines(keepends=True)
    verdict = verify_export(lambda: iter(lines))
    assert verdict.whole
    assert '"kind":"audit.exported"' in answer.text.replace("\\", "")
    assert told.send("POST", "/audit/export", key="reader", content=b"x=y").status_code == 403


def test_seals_are_listed_the_newest_first(told: Site) -> None:
    assert "Nothing was sealed yet" in told.get("/audit?lang=en", key="auditor").text
    key = read_key(new_key(), what="test")
    with told.world.database.write() as session:
        for days in range(12):
            put_seal(session, key, day=NOW.date() + timedelta(days=days), actor="test", now=NOW)
    html = told.get("/audit?lang=en", key="auditor").text
    assert "the newest 10 of 12" in html
    assert html.index("No. 12") < html.index("No. 3")
    assert key.key_id in html


def test_every_fault_has_a_name() -> None:
    assert {f"fault.{fault.value}" for fault in Fault} <= set(WORDS)
