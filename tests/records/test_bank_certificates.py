"""What a bank's certificate was when last seen, and whether a database can do its work."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from escrow_monitor.domain.certificates import Certificate, CertificateRole
from escrow_monitor.errors import DatabaseError
from escrow_monitor.records.bank.certificates import note_certificate, seen_certificates
from escrow_monitor.records.database import Database
from escrow_monitor.records.health import server, try_write
from escrow_monitor.records.nodes import last_beats

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
ONE = Certificate(
    subject="bank door", issuer="CFCA", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=9),
    sha256="aa" * 32,
)


def test_the_newest_sight_of_a_certificate_counts(database: Database) -> None:
    with database.write() as session:
        note_certificate(session, "icbc", ONE, now=NOW)
        note_certificate(session, "boc", ONE, now=NOW)
        renewed = replace(ONE, not_after=NOW + timedelta(days=400), sha256="bb" * 32)
        note_certificate(session, "icbc", renewed, now=NOW + timedelta(hours=1))
        note_certificate(session, "icbc", ONE, now=NOW - timedelta(hours=1))
    with database.read() as session:
        seen = seen_certificates(session)
    assert seen.keys() == {"icbc", "boc"}
    assert seen["icbc"].certificates == (renewed,)
    assert (seen["icbc"].role, seen["icbc"].seen_at) == (CertificateRole.SERVER, NOW + timedelta(hours=1))
    assert seen["boc"].certificates == (ONE,)


def test_a_trial_of_writing_leaves_nothing_behind(database: Database) -> None:
    try_write(database, now=NOW)
    with database.read() as session:
        assert last_beats(session) == {}


def test_a_database_without_tables_takes_no_trial(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(DatabaseError):
        try_write(database, now=NOW)
    database.close()


def test_a_database_says_what_it_is_and_what_time_it_has(database: Database, backend: str) -> None:
    with database.read() as session:
        found = server(session)
    assert found.version.lower().startswith(backend)
    assert (found.now is None) == (backend == "sqlite")
    if found.now is not None:
        assert abs(found.now - datetime.now(UTC)) < timedelta(minutes=1)
