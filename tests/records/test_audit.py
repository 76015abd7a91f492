"""The audit chain: whoever changes it is found out."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from alerts.testing import START, key_of, signal_of
from escrow_monitor.records import audit
from escrow_monitor.records.alert_book import RecordsAlertBook
from escrow_monitor.records.database import Database

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture
def chain(database: Database) -> Database:
    """A chain of five entries, two of them published in the feed, on a database that somebody unlocked."""
    with database.write() as session:
        for number in range(3):
            audit.append(session, kind="key.created", actor="admin", payload={"n": number, "名": "值"}, now=NOW)
        signals = [signal_of(key_of("a")), signal_of(key_of("b"))]
        RecordsAlertBook(session).advance(signals=signals, clears=[], now=START, cause="round:check-balances")
        for table in ("audit_entries", "feed_entries"):
            if database.is_sqlite:
                session.execute(text(f"DROP TRIGGER {table}_no_update"))
                session.execute(text(f"DROP TRIGGER {table}_no_delete"))
            else:
                session.execute(text(f"DROP TRIGGER {table}_no_change ON {table}"))
    return database


def verdict_after(database: Database, *changes: str) -> audit.AuditVerdict:
    with database.write() as session:
        for change in changes:
            session.execute(text(change))
    with database.read() as session:
        return audit.verify(session)


def test_a_chain_nobody_touched_is_whole(chain: Database) -> None:
    verdict = verdict_after(chain)
    assert verdict.whole
    assert verdict.entries == verdict.head.seq == 5


def test_an_empty_chain_is_whole(database: Database) -> None:
    with database.read() as session:
        assert audit.verify(session) == audit.AuditVerdict(entries=0, head=audit.AuditHead(0, "0" * 64))


def test_anybody_can_recompute_the_heads_from_the_exported_lines(chain: Database) -> None:
    head = "0" * 64
    with chain.read() as session:
        for line in audit.export_lines(session):
            canonical, said, algorithm = line.split("\t")
            head = hashlib.new(algorithm, bytes.fromhex(head) + canonical.encode()).hexdigest()
            assert head == said
        assert audit.head(session).head == head


@pytest.mark.parametrize(
    ("change", "fault", "at_seq"),
    [
        ("UPDATE audit_entries SET canonical = replace(canonical, '值', '价') WHERE seq = 2", "edited", 2),
        ("UPDATE audit_entries SET actor = 'nobody' WHERE seq = 2", "edited", 2),
        ("UPDATE audit_entries SET head = 'ff' || substr(head, 3) WHERE seq = 3", "edited", 3),
        ("DELETE FROM audit_entries WHERE seq = 2", "missing", 2),
        ("DELETE FROM audit_entries WHERE seq = 1", "missing", 1),
        ("DELETE FROM audit_entries WHERE seq = 5", "tail_cut", 5),
        ("UPDATE feed_entries SET audit_head = 'ff' || substr(audit_head, 3) WHERE seq = 1", "feed_differs", 4),
        ("UPDATE feed_entries SET severity = 'info' WHERE seq = 2", "feed_differs", 5),
        ("UPDATE feed_entries SET why_zh = '一切正常' WHERE seq = 2", "feed_differs", 5),
        ("DELETE FROM feed_entries WHERE seq = 1", "feed_differs", 4),
    ],
)
def test_a_change_is_named(chain: Database, change: str, fault: str, at_seq: int) -> None:
    verdict = verdict_after(chain, change)
    assert (verdict.fault, verdict.at_seq) == (fault, at_seq)
    assert verdict.detail


def test_two_entries_that_changed_places_are_named(chain: Database) -> None:
    verdict = verdict_after(
        chain, "UPDATE audit_entries SET seq = 99 WHERE seq = 1", "UPDATE audit_entries SET seq = 1 WHERE seq = 2",
        "UPDATE audit_entries SET seq = 2 WHERE seq = 99",
    )
    assert (verdict.fault, verdict.at_seq) == ("reordered", 1)


def test_a_cut_tail_is_known_to_the_feed_even_if_the_head_row_was_cut_too(chain: Database) -> None:
    verdict = verdict_after(
        chain, "DELETE FROM audit_entries WHERE seq = 5",
        "UPDATE chain_head SET audit_seq = 4, audit_head = (SELECT head FROM audit_entries WHERE seq = 4)",
    )
    assert (verdict.fault, verdict.at_seq) == ("tail_cut", 5)


def test_sm3_is_another_hash_for_the_same_chain(database: Database) -> None:
    with database.write() as session:
        audit.append(session, kind="a", actor="b", payload={}, now=NOW)
        audit.append(session, kind="a", actor="b", payload={}, now=NOW, algorithm="sm3")
        assert audit.verify(session).whole
        with pytest.raises(ValueError, match="md5"):
            audit.append(session, kind="a", actor="b", payload={}, now=NOW, algorithm="md5")
