"""Opening, upgrading, reading and writing on both databases."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import BigInteger, Boolean, Date, Integer, LargeBinary, String, text
from sqlalchemy.exc import DatabaseError as SqlError
from sqlmodel import UTCDateTime

from escrow_monitor.errors import ConfigurationError, DatabaseError
from escrow_monitor.records.database import REVISION, Database, alembic_config
from escrow_monitor.records.schema import METADATA

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def test_an_empty_database_is_upgraded_and_then_current(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(DatabaseError, match="db upgrade"):
        database.check()
    database.upgrade()
    database.check()
    database.upgrade()
    database.check()
    database.close()


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(database: Database) -> None:
    with database._writer.connect() as connection:
        command.check(alembic_config(connection))


def test_the_migrations_can_be_taken_back(database: Database) -> None:
    with database._writer.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with pytest.raises(DatabaseError, match="db upgrade"):
        database.check()
    database.upgrade()
    database.check()


def test_the_revision_the_code_asks_for_is_the_newest_migration(database: Database) -> None:
    with database._writer.connect() as connection:
        script = ScriptDirectory.from_config(alembic_config(connection))
    assert script.get_current_head() == REVISION


def test_a_newer_database_is_told_apart(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="version 9999"):
        database.check()


def test_every_column_is_of_an_exact_type_and_money_is_64_bits() -> None:
    exact = (BigInteger, Boolean, Date, Integer, LargeBinary, String, UTCDateTime)
    for table in METADATA.tables.values():
        for column in table.columns:
            kind = column.type if isinstance(column.type, UTCDateTime) else getattr(column.type, "impl", column.type)
            assert isinstance(kind, exact), f"{table.name}.{column.name} is {column.type!r}"
            if column.name.endswith("_fen"):
                assert isinstance(column.type, BigInteger), f"{table.name}.{column.name}"
            if column.name.endswith("_at") or column.name == "as_of":
                assert isinstance(column.type, UTCDateTime), f"{table.name}.{column.name}"


def test_what_is_written_is_kept_all_or_nothing(database: Database) -> None:
    insert = text("INSERT INTO nodes (executor_id, started_at, beat_at) VALUES (:name, :now, :now)")
    with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012 - the block is the transaction
        session.execute(insert, {"name": "a", "now": "2026-11-22 08:00:00"})
        raise ZeroDivisionError
    with database.read() as session:
        assert session.execute(text("SELECT count(*) FROM nodes")).scalar() == 0


def test_a_reading_session_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError, match="may not be written"), database.read() as session:
        session.execute(text("DELETE FROM nodes"))
    with database.write() as session:
        session.execute(text("DELETE FROM nodes"))


def test_the_feed_and_the_audit_chain_refuse_changes(database: Database) -> None:
    from escrow_monitor.records.evidence import audit

    with database.write() as session:
        audit.append(session, kind="test", actor="test", payload={"n": 1}, now=NOW)
    for change in ("UPDATE audit_entries SET actor = 'somebody else'", "DELETE FROM audit_entries"):
        with pytest.raises((SqlError, DatabaseError), match="append-only"), database.write() as session:
            session.execute(text(change))


def test_a_missing_file_is_an_error_and_not_a_new_empty_database(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nowhere.db'}")
    with pytest.raises(DatabaseError, match="db upgrade"), database.read() as session:
        session.execute(text("SELECT 1"))
    assert not (tmp_path / "nowhere.db").exists()
    database.close()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_file_that_vanishes_while_open_is_noticed_before_anything_is_written(
    database: Database, database_url: str
) -> None:
    path = Path(database_url.removeprefix("sqlite:///"))
    with database.read() as session:
        session.execute(text("SELECT 1"))
    shutil.move(path, path.with_suffix(".gone"))
    with pytest.raises(DatabaseError, match="gone or was replaced"), database.write() as session:
        session.execute(text("DELETE FROM nodes"))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_file_that_vanishes_in_the_middle_of_a_transaction_is_noticed(database: Database, database_url: str) -> None:
    path = Path(database_url.removeprefix("sqlite:///"))
    with pytest.raises(DatabaseError, match="gone or was replaced"), database.write() as session:  # noqa: PT012 - the block is the transaction
        session.execute(text("DELETE FROM nodes"))
        path.unlink()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_full_disk_is_one_plain_sentence_and_nothing_is_half_written(database: Database) -> None:
    with pytest.raises(DatabaseError, match="no room left"), database.write() as session:  # noqa: PT012 - the block is the transaction
        pages = session.execute(text("PRAGMA page_count")).scalar()
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
        session.execute(text("INSERT INTO nodes VALUES ('kept?', '2026-01-01', '2026-01-01')"))
        session.execute(
            text("INSERT INTO raw_documents VALUES ('x', 'text/plain', 1, zeroblob(1000000), '2026-01-01')")
        )
    with database.read() as session:
        assert session.execute(text("SELECT count(*) FROM nodes")).scalar() == 0


def test_something_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear parents, " * 1000)
    database = Database(f"sqlite:///{tmp_path / 'letter.db'}")
    with pytest.raises(DatabaseError, match="is not a database"):
        database.check()
    database.close()


def test_a_server_that_does_not_answer_is_one_sentence_without_the_password() -> None:
    database = Database("postgresql://someone:s3cret@127.0.0.1:1/money")
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1/money") as raised:
        database.check()
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)
    database.close()


@pytest.mark.parametrize("url", ["mysql://a:s3cret@b/c", "sqlite://", "sqlite:///:memory:", "nonsense s3cret", ""])
def test_a_url_we_cannot_use_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Database(url)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_file_is_for_its_owner_alone_and_durable(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    database.upgrade()
    path = Path(empty_database_url.removeprefix("sqlite:///"))
    assert path.stat().st_mode & 0o077 == 0
    with database.read() as session:
        found = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    database.close()
