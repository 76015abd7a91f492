"""The audit chain: whoever changes it is found out, and the finding has a name."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from alerts.testing import START, key_of, signal_of
from escrow_monitor.errors import DatabaseError
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bulk import from_json
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence.chain import KEY_KIND, by_of, hasher
from escrow_monitor.records.evidence.seal_keys import SealKey, new_key, read_key

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
DAY = date(2026, 11, 21)
APPEND_ONLY = ("audit_entries", "feed_entries", "audit_seals")
KEY = read_key(new_key(), what="test")


def unlock(database: Database) -> None:
    """Do what somebody with the database's own password could do first."""
    with database.write() as session:
        for table in APPEND_ONLY:
            for change in ("update", "delete", "replace") if database.is_sqlite else ("change",):
                on = "" if database.is_sqlite else f" ON {table}"
                session.execute(text(f"DROP TRIGGER {table}_no_{change}{on}"))


def append(database: Database, count: int, *, first: int = 0) -> None:
    with database.write() as session:
        for number in range(first, first + count):
            audit.append(session, kind="key.created", actor="admin", payload={"n": number, "名": "值"}, now=NOW)


def seal(database: Database, key: SealKey = KEY, *, day: int = 0) -> seals.SealedDay:
    with database.write() as session:
        return seals.put_seal(
            session, key, day=DAY + timedelta(days=day), actor="round:seal-audit", now=NOW + timedelta(days=day)
        )


@pytest.fixture
def chain(database: Database) -> Database:
    """A chain of five entries, two of them published in the feed, on a database that somebody unlocked."""
    append(database, 3)
    with database.write() as session:
        signals = [signal_of(key_of("a")), signal_of(key_of("b"))]
        RecordsAlertBook(session).advance(signals=signals, clears=[], now=START, cause="round:check-balances")
    unlock(database)
    return database


@pytest.fixture
def sealed(database: Database) -> Database:
    """Three sealed days on a database that somebody unlocked.

        1-3 entries   4 key   seal 1   5 sealed   6-8 entries   seal 2   9 sealed   10-12 entries   seal 3   13 sealed
    """
    for day in range(3):
        append(database, 3, first=3 * day)
        seal(database, day=day)
    unlock(database)
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
    assert (verdict.seals, verdict.sealed_to, verdict.key_id) == (0, 0, "")


def test_an_empty_chain_is_whole(database: Database) -> None:
    with database.read() as session:
        assert audit.verify(session) == audit.AuditVerdict(entries=0, head=audit.AuditHead(0, "0" * 64))


def test_anybody_can_recompute_the_heads_from_the_texts(chain: Database) -> None:
    head = "0" * 64
    with chain.read() as session:
        for canonical, said, algorithm in audit.lines(session):
            assert from_json(canonical)["prev"] == head
            head = hashlib.new(algorithm, bytes.fromhex(head) + canonical.encode()).hexdigest()
            assert head == said
        assert audit.head(session).head == head


def test_an_entry_says_whether_a_person_or_the_program_did_it(chain: Database) -> None:
    with chain.read() as session:
        said = [(from_json(text)["actor"], from_json(text)["by"]) for text, _, _ in audit.lines(session)]
    assert said == [("admin", "human")] * 3 + [("round:check-balances", "system")] * 2
    assert by_of("source:folder:icbc") == by_of("system") == "system"
    assert by_of("cli") == by_of("roundabout") == by_of("王芳") == "human"


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_the_database_itself_refuses_every_change(database: Database, table: str) -> None:
    append(database, 1)
    seal(database)
    with database.write() as session:
        RecordsAlertBook(session).advance(signals=[signal_of(key_of("a"))], clears=[], now=START, cause="system")
    key = "number" if table == "audit_seals" else "seq"
    # Each database has a way of its own around the ordinary statements.
    replace, empty = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}", f"TRUNCATE {table} CASCADE"
    around = replace if database.is_sqlite else empty
    for change in (f"UPDATE {table} SET {key} = {key}", f"DELETE FROM {table}", around):
        with pytest.raises((SQLAlchemyError, DatabaseError), match="append-only"), database.write() as session:
            session.execute(text(change))


@pytest.mark.parametrize(
    ("change", "fault", "at_seq"),
    [
        ("UPDATE audit_entries SET canonical = replace(canonical, '值', '价') WHERE seq = 2", "edited", 2),
        ("UPDATE audit_entries SET canonical = '{' WHERE seq = 2", "edited", 2),
        ("UPDATE audit_entries SET actor = 'nobody' WHERE seq = 2", "edited", 2),
        ("UPDATE audit_entries SET algorithm = 'sm3' WHERE seq = 2", "edited", 2),
        ("UPDATE audit_entries SET recorded_at = '2026-11-22 09:00:00.000000+00' WHERE seq = 2", "edited", 2),
        ("UPDATE audit_entries SET head = 'ff' || substr(head, 3) WHERE seq = 3", "edited", 3),
        ("DELETE FROM audit_entries WHERE seq = 2", "missing", 2),
        ("DELETE FROM audit_entries WHERE seq = 1", "missing", 1),
        ("DELETE FROM audit_entries WHERE seq = 5", "tail_cut", 5),
        ("UPDATE audit_entries SET seq = 99 WHERE seq = 2", "reordered", 2),
        ("UPDATE feed_entries SET audit_head = 'ff' || substr(audit_head, 3) WHERE seq = 1", "feed_differs", 4),
        ("UPDATE feed_entries SET severity = 'info' WHERE seq = 2", "feed_differs", 5),
        ("UPDATE feed_entries SET why_zh = '一切正常' WHERE seq = 2", "feed_differs", 5),
        ("DELETE FROM feed_entries WHERE seq = 1", "feed_differs", 4),
        ("UPDATE chain_head SET audit_head = 'ff' || substr(audit_head, 3)", "rewritten", 5),
        ("UPDATE chain_head SET audit_seq = 4", "appended", 5),
    ],
)
def test_a_change_is_named(chain: Database, change: str, fault: str, at_seq: int) -> None:
    if chain.is_sqlite:
        change = change.replace("+00'", "'")
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


# Seals.


def test_sealed_days_are_whole_and_say_how_far_they_reach(sealed: Database) -> None:
    verdict = verdict_after(sealed)
    assert verdict.whole
    assert (verdict.entries, verdict.seals, verdict.sealed_to, verdict.key_id) == (13, 3, 12, KEY.key_id)


def test_a_seal_names_day_number_head_algorithm_and_key_and_the_seal_before(sealed: Database) -> None:
    with sealed.read() as session:
        newest = seals.newest_seal(session)
        [told] = [one for one in audit.records(session, kind="audit.sealed") if one.payload["number"] == 3]
        [twelve] = audit.records(session, after=11, limit=1)
        before = audit.seals(session)[1]
    assert newest is not None
    assert (newest.number, newest.day, newest.seq, newest.head) == (3, DAY + timedelta(days=2), 12, twelve.head)
    assert (newest.algorithm, newest.key_id) == ("sha256", KEY.key_id)
    assert newest.previous == hashlib.sha256(f"{before.canonical}\n{before.signature}".encode()).hexdigest()
    assert told.payload["signature"] == newest.seal.signature
    KEY.private.public_key().verify(bytes.fromhex(newest.seal.signature), newest.seal.canonical.encode())


CUT_TO_8 = (
    "DELETE FROM audit_entries WHERE seq > 8",
    "UPDATE chain_head SET audit_seq = 8, audit_head = (SELECT head FROM audit_entries WHERE seq = 8)",
)
SWAP_SEALS = tuple(
    f"UPDATE audit_seals SET number = {to} WHERE number = {number}" for number, to in ((1, 9), (2, 1), (9, 2))
)


@pytest.mark.parametrize(
    ("changes", "fault", "at"),
    [
        (("DELETE FROM audit_seals WHERE number = 2",), "seal_missing", 2),
        (("DELETE FROM audit_seals WHERE number = 1",), "seal_missing", 1),
        (("DELETE FROM audit_seals WHERE number = 3",), "seal_missing", 13),
        (SWAP_SEALS, "seal_reordered", 1),
        (("UPDATE audit_seals SET canonical = replace(canonical, '2026-11-22', '2026-11-20') WHERE number = 2",),
         "seal_edited", 2),
        (("UPDATE audit_seals SET signature = 'ff' || substr(signature, 3) WHERE number = 3",), "seal_edited", 3),
        (CUT_TO_8, "tail_cut", 9),
    ],
)
def test_a_change_of_seals_is_named(sealed: Database, changes: tuple[str, ...], fault: str, at: int) -> None:
    verdict = verdict_after(sealed, *changes)
    assert (verdict.fault, verdict.at_seq) == (fault, at)


def test_entries_head_and_seals_cut_together_are_known_to_a_witness(sealed: Database) -> None:
    with sealed.read() as session:
        seen = {number: head for number, (_, head, _) in enumerate(audit.lines(session), 1)}
    assert verdict_after(sealed, *CUT_TO_8, "DELETE FROM audit_seals WHERE number = 3").whole
    with sealed.read() as session:
        verdict = audit.verify(session, witnesses={13: seen[13]})
    assert (verdict.fault, verdict.at_seq) == ("tail_cut", 9)


def rewrite(database: Database, *, first: int, key: SealKey | None = None) -> None:
    """Write history anew from an entry on, with every hash made right; with a key of one's own, the seals too."""
    with database.write() as session:
        old = audit.records(session, limit=1000)
        kept = audit.seals(session)
        for table in ("audit_entries", "audit_seals"):
            session.execute(text(f"DELETE FROM {table}"))
        session.execute(text(f"UPDATE chain_head SET audit_seq = 0, audit_head = '{'0' * 64}'"))
        for one in old:
            if key is not None and one.kind == "audit.sealed":
                seals.put_seal(session, key, day=DAY, actor=one.actor, now=one.at)
            elif key is None or one.kind != KEY_KIND:
                payload = {**one.payload, "n": -1} if one.seq == first else one.payload
                audit.append(session, kind=one.kind, actor=one.actor, payload=payload, now=one.at)
        if key is None:
            for number, seal in enumerate(kept, 1):
                session.execute(
                    text("INSERT INTO audit_seals VALUES (:number, '2026-11-22 00:00:00', :canonical, :signature)"),
                    {"number": number, "canonical": seal.canonical, "signature": seal.signature},
                )


def test_a_history_written_anew_does_not_fit_its_seals(sealed: Database) -> None:
    rewrite(sealed, first=6)
    verdict = verdict_after(sealed)
    assert (verdict.fault, verdict.at_seq, verdict.sealed_to) == ("rewritten", 8, 4)


def test_a_history_written_anew_and_sealed_with_another_key_is_named_by_whoever_knows_the_key(sealed: Database) -> None:
    with sealed.read() as session:
        witness = {11: audit.records(session, after=10, limit=1)[0].head}
    rewrite(sealed, first=6, key=read_key(new_key(), what="test"))
    assert verdict_after(sealed).whole
    with sealed.read() as session:
        assert audit.verify(session, expected_key=KEY.key_id).fault == "re_keyed"
        assert audit.verify(session, witnesses=witness).fault == "rewritten"


def test_a_key_hands_over_to_the_next_and_both_stay_good(sealed: Database) -> None:
    new = read_key(new_key(), what="test")
    append(sealed, 1)
    with pytest.raises(seals.KeyNotHandedOver, match=r"hand-over"):
        seal(sealed, new)
    with sealed.write() as session:
        seals.take_key(session, new, before=KEY, actor="admin", now=NOW)
    seal(sealed, new, day=3)
    verdict = verdict_after(sealed)
    assert (verdict.fault, verdict.seals, verdict.key_id) == (None, 4, new.key_id)
    with sealed.read() as session:
        for key in (KEY, new):
            assert audit.verify(session, expected_key=key.key_id).whole


def test_a_key_that_nobody_handed_over_to_is_named(sealed: Database) -> None:
    """The thief signs his own taking up, but cannot sign for the key before."""
    thief = read_key(new_key(), what="test")
    with sealed.write() as session:
        session.execute(text("DELETE FROM audit_entries WHERE seq > 13"))
        seals.take_key(session, thief, before=SealKey(thief.private, thief.public_key, KEY.key_id), actor="x", now=NOW)
    verdict = verdict_after(sealed)
    assert (verdict.fault, verdict.at_seq) == ("re_keyed", 14)


def test_a_broken_chain_is_not_sealed(sealed: Database) -> None:
    append(sealed, 2)
    with sealed.write() as session:
        session.execute(text("UPDATE audit_entries SET actor = 'nobody' WHERE seq = 14"))
    with pytest.raises(seals.ChainBroken, match="edited at 14"):
        seal(sealed, day=4)


# SM3.


def test_sm3_is_another_hash_for_the_same_chain_from_an_entry_on(database: Database) -> None:
    append(database, 2)
    with database.write() as session:
        assert audit.use_algorithm(session, "sm3", now=NOW)
        assert not audit.use_algorithm(session, "sm3", now=NOW)
        with pytest.raises(ValueError, match="md5"):
            audit.use_algorithm(session, "md5", now=NOW)
    append(database, 2, first=2)
    assert seal(database).algorithm == "sm3"
    with database.read() as session:
        assert [line[2] for line in audit.lines(session)] == ["sha256"] * 2 + ["sm3"] * 5
        assert audit.verify(session).whole


def test_sm3_gives_the_figures_of_the_standard() -> None:
    """GB/T 32905-2016, appendix A."""
    assert hasher("sm3")(b"abc") == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert hasher("sm3")(b"abcd" * 16) == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


