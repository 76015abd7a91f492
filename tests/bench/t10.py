"""T10: verify a million entries of the audit chain, beside hashing the same bytes and nothing else."""

from __future__ import annotations

import hashlib
import importlib.util
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence.export import Exported, export_lines, verify_export
from escrow_monitor.records.evidence.seal_keys import SealKey, new_key, read_key
from tests.bench.measure import Bench, Stopwatch
from tests.postgres import new_database, running_server

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 100
SCRIPT = Path(__file__).parents[2] / "deploy" / "verify_audit.py"


def ours(watch: Stopwatch) -> None:
    """`audit verify` on SQLite: every entry, a hundred seals, and the feed's places looked at."""
    database = _sqlite(watch)
    _filled(database, watch.size)
    _verified(watch, database)


def ours_on_postgresql(watch: Stopwatch) -> None:
    """The same on PostgreSQL."""
    with running_server() as server, new_database(server, "bench_t10") as url:
        database = Database(url)
        database.upgrade()
        _filled(database, watch.size)
        _verified(watch, database)


def an_export_of_ours(watch: Stopwatch) -> None:
    """`audit verify --export` over the file that an auditor is given."""
    file = _exported(watch)
    with watch.timed():
        verdict = verify_export(lambda: file.open("rb"))
    assert verdict.whole, verdict
    watch.note = f"{verdict.entries:,} entries, {verdict.seals} seals, {file.stat().st_size >> 20} MB"


def the_auditors_script(watch: Stopwatch) -> None:
    """The stand-alone script over the same file: the standard library alone."""
    spec = importlib.util.spec_from_file_location("verify_audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with _exported(watch).open("rb") as file:
        verifier = script.Verifier(file)
        with watch.timed():
            verifier.verify()
    watch.note = f"{verifier.seq:,} entries, {verifier.met} seals"


def bare_hashing(watch: Stopwatch) -> None:
    """The least there is to do: read the same texts from SQLite and hash each behind the one before."""
    database = _sqlite(watch)
    _filled(database, watch.size)
    with watch.timed(), database.read() as session:
        head = bytes(32)
        for text, _, _ in audit.lines(session):
            head = hashlib.sha256(head + text.encode()).digest()
    with database.read() as session:
        assert audit.head(session).head == head.hex()
    database.close()
    watch.note = "no number, link, seal, column or feed entry is looked at"


def _sqlite(watch: Stopwatch) -> Database:
    database = Database(f"sqlite:///{watch.folder / 'bench.db'}")
    database.upgrade()
    return database


def _filled(database: Database, size: int) -> SealKey:
    """So many entries in all, as rounds write them, sealed a hundred times."""
    key = read_key(new_key(), what="bench")
    a_day = (size - 1) // DAYS - 1
    for day in range(DAYS):
        at = AT + timedelta(days=day)
        entries = [
            audit.AuditEntry(kind="round.finished", actor="round:check-balances", payload={
                "shard": "all", "scheduled_at": (at + timedelta(seconds=number)).isoformat(), "outcome": "wrong",
                "counts": {"accounts": number, "met": number, "breached": 3, "unknown": 1, "transitions": 0},
                "detail": "",
            })
            for number in range(a_day)
        ]
        with database.write() as session:
            audit.append_many(session, entries, now=at)
            seals.put_seal(session, key, day=date(2026, 1, 1) + timedelta(days=day), actor="round:seal-audit", now=at)
    with database.write() as session:
        left = size - audit.head(session).seq
        filler = audit.AuditEntry(kind="round.finished", actor="round:watch-rounds", payload={"shard": "all"})
        audit.append_many(session, [filler] * left, now=AT)
    return key


def _verified(watch: Stopwatch, database: Database) -> None:
    with watch.timed(), database.read() as session:
        verdict = audit.verify(session)
    database.close()
    assert verdict.whole, verdict
    assert verdict.entries == watch.size
    watch.note = f"{verdict.entries:,} entries, {verdict.seals} seals"


def _exported(watch: Stopwatch) -> Path:
    database = _sqlite(watch)
    key = _filled(database, watch.size)
    file = watch.folder / "export.jsonl"
    with database.read() as session, file.open("w", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in export_lines(session, key, now=AT, exported=Exported()))
    database.close()
    return file


BENCH = Bench(
    name="t10", what="verify the audit chain", target="<= 30 s at 1,000,000 entries", size=1_000_000,
    quick_size=10_000,
    contenders=(ours, ours_on_postgresql, an_export_of_ours, the_auditors_script, bare_hashing),
)
