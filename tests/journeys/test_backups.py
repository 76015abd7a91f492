"""Backups: made while others write, checked, put back; what is wrong with one is a sentence, and nothing is lost."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command

from escrow_monitor.actions.backups import BackedUp, BackupRefused, back_up, manifest_of, read_manifest, restore
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.errors import DatabaseError, OutsideError, UsageError
from escrow_monitor.records import backup, nodes
from escrow_monitor.records.accounts import institutions, save_institutions
from escrow_monitor.records.database import REVISION, Database, alembic_config
from escrow_monitor.records.documents import keep_documents, raw_document
from escrow_monitor.records.evidence import audit
from escrow_monitor.rounds.watch_controls import newest_file_at
from tests.journeys.journey_command import arguments, environment, run
from tests.postgres import new_database

NOW = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
DOCUMENT = b"%PDF what a parent handed in"
SHA256 = hashlib.sha256(DOCUMENT).hexdigest()


def fill(database: Database, count: int = 3) -> None:
    with database.write() as session:
        save_institutions(session, [Institution(uscc=f"U-{n}", name=f"校区 {n}") for n in range(count)], now=NOW)
        keep_documents(session, [(SHA256, DOCUMENT, "application/pdf")], now=NOW)
        for n in range(count):
            audit.append(session, kind="test", actor="system", payload={"n": n}, now=NOW)


def take(database: Database, out: Path) -> BackedUp:
    return back_up(database, out, actor="test", now=NOW, program="0")


def put(url: str, file: Path, *, replace_old: bool = False, engine: str = "", now: datetime = NOW):  # type: ignore[no-untyped-def]
    engine = engine or (url if not url.startswith("sqlite") else url.replace(".db", "-engine.db"))
    return restore(url, engine, file, replace_old=replace_old, actor="test", now=now)


def left_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture
def full(database: Database) -> Database:
    fill(database)
    return database


@pytest.fixture
def kept(full: Database, tmp_path: Path) -> Path:
    """A backup of a database with a little in it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return take(full, folder).file


@pytest.fixture
def another(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a backup can be put back: nothing is there yet."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path}/another/again.db"
    else:
        with new_database(request.getfixturevalue("postgres_server"), f"again_{os.getpid()}") as url:
            yield url


# taking one


def test_a_backup_says_what_it_is_and_is_noted(full: Database, tmp_path: Path) -> None:
    done = take(full, tmp_path / "kept.backup")
    manifest = read_manifest(done.file)
    assert manifest == done.manifest
    assert manifest.sha256 == hashlib.sha256(done.file.read_bytes()).hexdigest()
    assert (manifest.revision, manifest.rows["institutions"], manifest.bytes) == (
        REVISION, 3, done.file.stat().st_size
    )
    assert done.file.stat().st_mode & 0o777 == 0o600
    with full.read() as session:
        newest = audit.records(session, after=manifest.audit_seq)
    assert [(one.kind, one.payload["sha256"]) for one in newest] == [("backup.taken", manifest.sha256)]
    assert done.noted


def test_into_a_folder_it_is_named_by_the_instant_and_ends_the_alert(kept: Path) -> None:
    assert kept.name.startswith("escrow-20261123T050000Z.")
    os.utime(kept, (NOW.timestamp(), NOW.timestamp()))
    os.utime(manifest_of(kept), (NOW.timestamp(), NOW.timestamp()))
    assert newest_file_at(kept.parent) == NOW
    (kept.parent / ".half.part").write_text("being written")
    assert newest_file_at(kept.parent) == NOW


def test_what_a_killed_one_left_is_swept_up_by_a_later_one(full: Database, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name, days in ((".escrow-1.db.7.part", 2), (".escrow-1.db.7.part.json", 2), (".escrow-2.db.8.part", 0),
                       (".mine", 9), ("mine.part", 9)):
        (folder / name).write_text("half")
        then = (NOW - timedelta(days=days)).timestamp()
        os.utime(folder / name, (then, then))
    take(full, folder / "whole")
    assert left_in(folder) == {"whole", "whole.json", ".escrow-2.db.8.part", ".mine", "mine.part"}


def test_nothing_is_written_over(full: Database, kept: Path, tmp_path: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        take(full, kept)
    (tmp_path / "mine.json").write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.json is there already"):
        take(full, tmp_path / "mine")
    assert kept.read_bytes() == before
    with pytest.raises(UsageError, match="folder"):
        take(full, tmp_path / "nowhere" / "x")


def test_a_database_without_tables_is_no_backup(empty_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with closing(Database(empty_database_url)) as database, pytest.raises((UsageError, DatabaseError)):
        take(database, folder / "x")
    assert left_in(folder) == set()


@pytest.mark.slow
def test_a_backup_among_writes_is_of_one_moment(full: Database, another: str, tmp_path: Path) -> None:
    """Each institution is written together with its audit entry: a copy of one moment has as many of both."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        own = Database(full.address.render_as_string(hide_password=False))
        try:
            n = 3
            while not stop.is_set():
                with own.write() as session:
                    save_institutions(session, [Institution(uscc=f"U-{n}", name="新")], now=NOW)
                    audit.append(session, kind="test", actor="system", payload={"n": n}, now=NOW)
                n += 1
        except BaseException as error:
            failed.append(error)
        finally:
            own.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [take(full, tmp_path / f"backup-{n}") for n in range(4)]
    finally:
        stop.set()
        writer.join()
    assert failed == []
    counts = [(one.manifest.rows["institutions"], one.manifest.audit_seq) for one in made]
    for number, (rows, seq) in enumerate(counts):
        assert rows == seq - number  # one entry of every backup before it
    assert counts[-1][0] > counts[0][0] >= 3
    put(another, made[-1].file)
    with closing(Database(another)) as again, again.read() as session:
        assert len(institutions(session)) == counts[-1][0]
        assert audit.verify(session).whole


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [64, 200])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, sqlite_template: Path, kilobytes: int) -> None:
    shutil.copy(sqlite_template, tmp_path / "escrow.db")
    (tmp_path / "out").mkdir()

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    said = run("db", "backup", "--out", "out", at=tmp_path, preexec=small)
    said.refusal(3, "out")
    assert left_in(tmp_path / "out") == set()


@pytest.mark.slow
def test_the_command_tells_and_the_watch_is_minded(tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "escrow.db")
    (tmp_path / "kept").mkdir()
    (tmp_path / "escrow-monitor.toml").write_text('[watchdog]\nbackups = "kept"\n')
    found = run("--lang", "en", "db", "backup", "--out", "kept", "--json", at=tmp_path).must(0)
    assert found.err == ""
    file = Path(found.json()["file"])
    assert found.json()["rows"]["chain_head"] == 1
    said = run("--lang", "en", "db", "backup", "--out", "elsewhere.db", at=tmp_path).must(0)
    assert "verified" in said.out
    assert "watched for in kept" in said.err
    run("--lang", "en", "db", "restore", file, at=tmp_path).refusal(3, "not empty", "--replace")
    said = run("--lang", "en", "db", "restore", file, "--replace", at=tmp_path).must(0)
    assert "kept as" in said.out
    run("audit", "verify", at=tmp_path).must(0)


# putting one back


def test_what_is_put_back_is_what_was_kept(kept: Path, another: str, full: Database) -> None:
    done = put(another, kept)
    assert (done.kept_old, done.upgraded_from) == ("", None)
    with closing(Database(another)) as again, again.read() as session:
        assert [one.name for one in institutions(session)] == ["校区 0", "校区 1", "校区 2"]
        assert raw_document(session, SHA256) == DOCUMENT
        newest = audit.records(session, after=done.manifest.audit_seq)
        assert [one.kind for one in newest] == ["backup.restored"]
        assert audit.verify(session).whole
    with closing(Database(another)) as again, pytest.raises(Exception, match="append-only"), again.write() as session:
        session.connection().exec_driver_sql("DELETE FROM audit_entries")  # its triggers came along


def test_a_database_that_holds_something_is_replaced_only_if_so_wished(
    kept: Path, full: Database, backend: str
) -> None:
    fill(full, 9)
    url = full.address.render_as_string(hide_password=False)
    full.close()
    with pytest.raises(BackupRefused, match="not empty"):
        put(url, kept)
    done = put(url, kept, replace_old=True)
    with closing(Database(url)) as again, again.read() as session:
        assert len(institutions(session)) == 3
    if backend == "sqlite":
        with closing(sqlite3.connect(done.kept_old)) as old:
            assert old.execute("SELECT count(*) FROM institutions").fetchone() == (9,)
    else:
        name = done.kept_old.removeprefix("schema ")
        with closing(Database(url)) as again, again.read() as session:
            assert session.connection().exec_driver_sql(f"SELECT count(*) FROM {name}.institutions").scalar() == 9


def test_while_a_daemon_lives_nothing_is_put_in_its_place(kept: Path, full: Database, backend: str) -> None:
    if backend == "sqlite":
        pytest.skip("whether anybody has a file open, the file itself says: see the next test")
    url = full.address.render_as_string(hide_password=False)
    with full.write() as session:
        nodes.beat(session, "keeper-1", now=NOW - timedelta(seconds=20))
    full.close()
    with pytest.raises(BackupRefused, match="keeper-1 works with"):
        put(url, kept, replace_old=True)
    done = put(url, kept, replace_old=True, now=NOW + timedelta(minutes=5))
    assert done.kept_old


def test_while_anybody_has_it_open_nothing_is_put_in_its_place(kept: Path, full: Database) -> None:
    url = full.address.render_as_string(hide_password=False)
    with full.read() as session:
        institutions(session)
    with pytest.raises((BackupRefused, DatabaseError), match=r"in use by another|connections of this program"):
        put(url, kept, replace_old=True)
    full.close()
    assert put(url, kept, replace_old=True).kept_old


def test_the_queues_of_the_engine_do_not_outlive_what_they_are_about(kept: Path, full: Database, backend: str) -> None:
    url = full.address.render_as_string(hide_password=False)
    if backend == "sqlite":
        engine = Path(str(full.address.database)).with_name("engine.db")
        engine.write_text("queues")
        done = put(url, kept, replace_old=True, engine=f"sqlite:///{engine}") if not full.close() else None
        assert done is not None
        assert Path(done.kept_engine).read_text() == "queues"
        assert not engine.exists()
    else:
        with full.write() as session:
            session.connection().exec_driver_sql("CREATE SCHEMA dbos; CREATE TABLE dbos.q (n int)")
        full.close()
        put(url, kept, replace_old=True)
        with closing(Database(url)) as again, again.read() as session:
            found = session.connection().exec_driver_sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'dbos'")
            assert found.scalar() == 0


def test_a_backup_that_is_not_what_it_says_changes_nothing(kept: Path, full: Database, tmp_path: Path) -> None:
    url = full.address.render_as_string(hide_password=False)
    full.close()
    content, told = kept.read_bytes(), json.loads(manifest_of(kept).read_text())

    def wrong(name: str, content: bytes, **changed: object) -> Path:
        file = tmp_path / name
        file.write_bytes(content)
        manifest_of(file).write_text(json.dumps({**told, **changed}))
        return file

    cut, other = content[: len(content) * 2 // 3], content[:-1] + bytes([content[-1] ^ 1])
    sha = hashlib.sha256(cut).hexdigest()
    for file, said in (
        (wrong("cut", cut), "SHA-256 differs"), (wrong("changed", other), "SHA-256 differs"),
        (wrong("told", cut, sha256=sha, bytes=len(cut)), "."),
        (wrong("rows", content, rows={**told["rows"], "institutions": 4}), "institutions 3, not 4"),
        (wrong("head", content, audit_head="0" * 64), "audit_head is"),
        (wrong("new", content, revision="0999"), "newer program"),
        (wrong("kind", content, database="Oracle"), "is of Oracle"),
        (wrong("format", content, format="x"), "format"),
    ):
        with pytest.raises((BackupRefused, DatabaseError), match=said):
            put(url, file, replace_old=True)
    (tmp_path / "alone").write_bytes(content)
    with pytest.raises(BackupRefused, match="only with the manifest"):
        put(url, tmp_path / "alone", replace_old=True)
    with pytest.raises(UsageError, match="is not there"):
        put(url, tmp_path / "nothing", replace_old=True)
    with closing(Database(url)) as same, same.read() as session:
        assert len(institutions(session)) == 3
        assert not [table for table in backup.facts(session).rows if table.startswith("replaced")]
        assert audit.records(session, kind="backup.restored") == []
    assert not [name for name in left_in(tmp_path) if name.endswith(".part") or "replaced" in name]


def test_an_older_backup_is_brought_up_to_this_version(empty_database_url: str, another: str, tmp_path: Path) -> None:
    path = empty_database_url.removeprefix("sqlite:///")
    if path != empty_database_url:
        Path(path).touch()
    with closing(Database(empty_database_url)) as database:
        with database.write() as session:
            command.upgrade(alembic_config(session.connection()), "0009")
        done = take(database, tmp_path / "old")
    assert (done.manifest.revision, done.noted) == ("0009", False)
    assert put(another, done.file).upgraded_from == "0009"
    with closing(Database(another)) as again:
        again.check()


def test_a_damaged_database_is_kept_aside_too(tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "escrow.db")
    url = f"sqlite:///{tmp_path}/escrow.db"
    with closing(Database(url)) as database:
        fill(database)
        file = take(database, tmp_path / "kept").file
    (tmp_path / "escrow.db").write_bytes(b"no database at all" * 500)
    done = put(url, file, replace_old=True)
    assert Path(done.kept_old).read_bytes().startswith(b"no database")
    with closing(Database(url)) as again, again.read() as session:
        assert len(institutions(session)) == 3


@pytest.mark.slow
def test_the_drill_beside_a_daemon_that_lives(database_url: str, another: str, tmp_path: Path) -> None:
    """By the commands alone: kept while a daemon runs, put back elsewhere, and in its place once it has stopped."""
    real, drill = tmp_path / "real", tmp_path / "drill"
    for folder, url in ((real, database_url), (drill, another)):
        folder.mkdir()
        (folder / "escrow-monitor.toml").write_text(f'[database]\nurl = "{url}"\n')
    (real / "institutions.csv").write_text("uscc,name,district\n91110000600037341L,晨光艺术培训学校,510302\n")
    run("import", "institutions", "institutions.csv", at=real).must(0)
    daemon = subprocess.Popen(
        arguments("daemon"), cwd=real, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_beats(database_url)
        file = Path(run("db", "backup", "--out", tmp_path / "kept", "--json", at=real).must(0).json()["file"])
        said = run("--lang", "en", "db", "restore", file, "--replace", at=real)
        assert said.code == 3
        assert "stop" in said.err
        assert daemon.poll() is None
        run("db", "restore", file, at=drill).must(0)
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
    run("audit", "verify", at=drill).must(0)
    assert "晨光艺术培训学校" in run("institutions", "list", at=drill).must(0).out
    # On PostgreSQL that it has stopped is certain only after a while.
    until = time.monotonic() + 90
    while (said := run("db", "restore", file, "--replace", at=real)).code == 3 and time.monotonic() < until:
        assert "stop it first" in said.err
        time.sleep(2)
    said.must(0)
    run("audit", "verify", at=real).must(0)
    again = subprocess.Popen(
        arguments("daemon"), cwd=real, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_beats(database_url)
    finally:
        again.terminate()
        assert again.wait(timeout=60) == 0


def _wait_until_it_beats(url: str) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        with closing(Database(url)) as database, database.read() as session:
            if nodes.last_beats(session):
                return
        time.sleep(0.3)
    raise AssertionError("no daemon said that it lives")


def test_the_password_is_on_no_command_line_and_in_no_sentence(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client program that tells how it was called, and fails with what it was given."""
    tool = tmp_path / "bin" / "pg_dump"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99.1" && exit 0\n'
        f'echo "$@" > {tmp_path}/called; echo "$PGPASSWORD" > {tmp_path}/given\n'
        'echo "pg_dump: error: password $PGPASSWORD was refused" >&2; exit 1\n'
    )
    tool.chmod(0o755)
    monkeypatch.setattr(backup, "_POSTGRESQL_HOMES", tmp_path / "none")
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    url = postgres_url.replace("postgres@", "postgres:very-secret@")
    with closing(Database(url)) as database, pytest.raises(DatabaseError) as refused:
        take(database, tmp_path / "x")
    assert "very-secret" not in str(refused.value)
    assert "***" in str(refused.value)
    assert "very-secret" not in (tmp_path / "called").read_text()
    assert (tmp_path / "given").read_text() == "very-secret\n"
    assert "x" not in left_in(tmp_path)


@pytest.mark.parametrize(("version", "said"), [
    ("12.3", "pg_dump is of version 12, the server of"), (None, "pg_dump is not installed: install the package"),
])
def test_a_missing_or_old_client_names_its_package(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, said: str
) -> None:
    monkeypatch.setattr(backup, "_POSTGRESQL_HOMES", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    if version is not None:
        (tmp_path / "pg_dump").write_text(f'#!/bin/sh\necho "pg_dump (PostgreSQL) {version}"\n')
        (tmp_path / "pg_dump").chmod(0o755)
    with closing(Database(postgres_url)) as database, pytest.raises(OutsideError, match=said) as refused:
        take(database, tmp_path / "x")
    assert "postgresql-client-" in str(refused.value)
