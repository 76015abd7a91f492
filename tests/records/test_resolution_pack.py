"""The resolution pack: what is in it, that its sums agree, that it is the same for the same, and who took it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerts.alert import AlertKey, Severity, Signal, Why
from escrow_monitor.actions.export_pack import ABOUT, export_pack, note_export, pack_name
from escrow_monitor.actions.pack_told import Pack
from escrow_monitor.domain.contracts import Charge, Contract, Lesson, LessonStatus, Refund
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_policies
from escrow_monitor.records import institution_pack as pack
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.pulls import record_pulls
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.lessons import save_lessons
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.contracts.refunds import save_refunds
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence.chain import head_after
from escrow_monitor.records.evidence.search import AskedAudit, search
from escrow_monitor.rounds.reconcile import reconcile
from escrow_monitor.rounds.signals import Patience
from tests.records.conftest import ACCOUNTS, INSTITUTIONS, NOW, pull_of, reading_of, statement_of

HOLDER, OTHER = INSTITUTIONS[0], INSTITUTIONS[1]
MINE = tuple(account for account in ACCOUNTS if account.uscc == HOLDER.uscc)
POLICIES = load_policies()
TODAY = date(2026, 11, 20)


@pytest.fixture
def closed_doors(district: Database) -> Database:
    """One institution with everything that a pack speaks of, beside one that must not be in it."""
    with district.write() as session:
        save_institutions(session, [
            Institution(uscc=HOLDER.uscc, name='=cmd|"/c calc"!A1<script>alert(1)</script>', district="510300")
        ], now=NOW)
        record_pulls(session, [
            pull_of(account, reading_of(account, fen=3_000_00 + n)) for n, account in enumerate(MINE)
        ], scheduled_at=NOW, now=NOW)
        record_statements(session, [
            statement_of(date(2026, 11, 16), 0, 9_000_00, -2_000_00, account=MINE[0], texts=("学费", "=1+1")),
            statement_of(date(2026, 11, 17), 7_000_00, -1_000_00, account=MINE[0]),
            statement_of(date(2026, 11, 17), 5_00, 1_00, account=ACCOUNTS[1]),
        ], now=NOW, source="folder", raw_sha256="ab" * 32)
    with district.write() as session, contract_sums.kept_up(session, on=TODAY):
        save_contracts(session, [
            Contract(
                contract_no=f"HT-{n}", uscc=(OTHER if n == 9 else HOLDER).uscc, student_ref=f"S-{n}", course="钢琴",
                lessons_paid=48, fee=Money(4800_00, "CNY"), signed_on=date(2026, 8, 20), starts_on=date(2026, 9, 1),
            )
            for n in (1, 2, 9)
        ], now=NOW)
        save_charges(session, [
            Charge(charge_no=f"J-{n}", contract_no=f"HT-{n}", paid_on=date(2026, 8, 20), amount=Money(4800_00, "CNY"))
            for n in (1, 2, 9)
        ], now=NOW)
        save_lessons(session, [
            Lesson(contract_no="HT-1", session_no=n, status=LessonStatus.CONFIRMED, taught_on=date(2026, 9, 1 + n),
                   decided_on=date(2026, 9, 1 + n))
            for n in range(13)
        ], now=NOW)
        save_refunds(session, {"T-1": Refund(
            contract_no="HT-2", paid_on=date(2026, 11, 16), amount=Money(2_000_00, "CNY"), claim_no=None
        )}, now=NOW)
        assert not record_refund_claims(session, [
            (n, f"TF-{n}", f"HT-{n}", date(2026, 11, 10), None, None, "consumer", "-2+3", 100_000) for n in (1, 9)
        ], now=NOW).faults
    with district.write() as session:
        RecordsAlertBook(session).advance(signals=[
            Signal(
                key=AlertKey("floor", f"account:{ACCOUNTS[n].account_no}", "continuous"), severity=Severity.RED,
                standing="breached", as_of=NOW, figures={}, why=Why(zh="低于最低余额", en="below the floor"),
                labels={"uscc": ACCOUNTS[n].uscc or "", "account_no": ACCOUNTS[n].account_no},
            )
            for n in (0, 1)
        ], clears=(), now=NOW, cause="test")
    reconcile(
        database=district, channels=(), patience=Patience(), policies=POLICIES, scheduled_at=NOW, now=NOW
    )
    return district


def made(database: Database, *, lang: str = "zh", now: datetime = NOW) -> tuple[Pack, bytes]:
    out = io.BytesIO()
    with database.read() as session:
        found = export_pack(
            session, out, uscc=HOLDER.uscc, policies=POLICIES, now=now, actor="user:li", version="9.9",
            lang=lang,  # type: ignore[arg-type]
        )
    return found, out.getvalue()


def files(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def test_every_table_is_there_and_of_nobody_else(closed_doors: Database) -> None:
    found, content = made(closed_doors)
    held = files(content)
    assert {f"{part.name}.csv" for part in pack.PARTS} <= set(held)
    assert {part.name for part in pack.PARTS} == set(ABOUT)
    everything = b"".join(part for name, part in held.items() if name != "policy.json")
    for foreign in (OTHER.uscc, "HT-9", "J-9", "TF-9", ACCOUNTS[1].account_no):
        assert foreign.encode() not in everything, foreign
    for own in ("HT-1", "HT-2", "TF-1", "S-1", *(account.account_no for account in MINE)):
        assert own.encode() in held["contracts.csv"] + held["cases.csv"] + held["accounts.csv"]
    assert [row["owed"] for row in table(held["contracts.csv"])] == ["3500.00", "2800.00"]
    assert len(table(held["lessons.csv"])) == 13
    assert {row["status"] for row in table(held["alerts.csv"])} == {"open"}
    assert found.reconciles


def test_the_sums_of_the_files_are_those_of_the_summary(closed_doors: Database) -> None:
    found, content = made(closed_doors)
    held = files(content)
    checks = {check.name: check for check in found.checks}
    assert set(checks) == {"owed_kept", "owed_anew", "paid", "refunded", "entries", "days", "bridge", "audit"}
    assert [check.residual for check in found.checks] == [0] * len(found.checks)
    assert checks["owed_anew"].left == sum(line["owed_fen"] for line in lines(held["owed.jsonl"])) == 6300_00
    assert checks["refunded"].right == 2_000_00
    assert checks["entries"].left == 6_000_00
    html = held["summary.html"].decode()
    assert "各项合计核对一致，残差为 0。" in html
    assert "6,300.00" in html
    manifest = json.loads(held["manifest.json"])
    assert manifest["reconciles"] is True
    assert manifest["program"] == "escrow-monitor 9.9"
    assert manifest["made_by"] == "user:li"


def test_a_sum_that_does_not_agree_is_said(closed_doors: Database) -> None:
    with closed_doors.write() as session:
        session.connection().exec_driver_sql("UPDATE institution_obligations SET obligation_fen = obligation_fen + 1")
        session.connection().exec_driver_sql("UPDATE account_days SET closing_fen = closing_fen + 1")
    found, content = made(closed_doors, lang="en")
    assert not found.reconciles
    assert {check.name: check.residual for check in found.checks if check.residual} == {"owed_kept": -1, "days": 2}
    html = files(content)["summary.html"].decode()
    assert "2 sums do not agree" in html
    assert json.loads(files(content)["manifest.json"])["reconciles"] is False


def test_each_file_has_the_hash_that_is_listed(closed_doors: Database) -> None:
    found, content = made(closed_doors)
    held = files(content)
    listed = {file.name: file for file in found.files}
    assert set(listed) == set(held)
    for name, part in held.items():
        assert (listed[name].sha256, listed[name].size) == (hashlib.sha256(part).hexdigest(), len(part))
    split = [line.split("  ") for line in held["SHA256SUMS"].decode().splitlines()]
    sums = {name: digest for digest, name in split}
    assert sums == {name: file.sha256 for name, file in listed.items() if name not in ("SHA256SUMS", "manifest.json")}
    for file in found.files:
        if file.name.endswith(".csv"):
            assert file.rows == len(table(held[file.name]))


def test_the_audit_entries_keep_their_places_in_the_chain(closed_doors: Database) -> None:
    found, content = made(closed_doors)
    entries = lines(files(content)["audit.jsonl"])
    whole = [entry for entry in entries if entry["entry"] is not None]
    assert {entry["kind"] for entry in entries if entry["entry"] is None} == {"cases.opened"}, "it names TF-9 as well"
    assert [entry["names"] for entry in entries if entry["entry"] is None] == [["TF-1"]]
    assert whole
    for entry in whole:
        assert head_after(entry["before"], entry["entry"].encode(), entry["algorithm"]) == entry["head"]
    with closed_doors.read() as session:
        known = audit.head(session)
        assert (found.head_seq, found.head) == (known.seq, known.head)
        chain = [head for _, head, _ in audit.lines(session)]
    assert [chain[entry["seq"] - 1] for entry in entries] == [entry["head"] for entry in entries]


def test_no_sheet_and_no_browser_takes_a_name_for_more_than_a_text(closed_doors: Database) -> None:
    held = files(made(closed_doors)[1])
    assert table(held["institution.csv"])[0]["name"].startswith("'=cmd")
    assert "'=1+1" in {row["text"] for row in table(held["entries.csv"])}
    assert table(held["refund-claims.csv"])[0]["note"] == "'-2+3"
    html = held["summary.html"].decode()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_same_records_and_instant_give_the_same_bytes(closed_doors: Database) -> None:
    assert made(closed_doors)[1] == made(closed_doors)[1]
    assert made(closed_doors)[1] != made(closed_doors, now=NOW + timedelta(minutes=1))[1]


def test_unknown_is_said_and_never_zero(closed_doors: Database) -> None:
    with closed_doors.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE account_states SET booked_fen = NULL, booked_as_of = NULL, booked_kind = NULL, booked_day = NULL,"
            f" booked_fetched_at = NULL, booked_final = NULL WHERE account_no = '{MINE[1].account_no}'"
        )
    held = files(made(closed_doors, lang="en")[1])
    html = held["summary.html"].decode()
    assert "<td class=number>not known</td><td class=number>6,300.00</td><td class=number>not known</td>" in html
    assert "never stated" in html
    assert [row["booked"] for row in table(held["accounts.csv"])][1] == ""


def test_an_institution_of_which_nothing_is_recorded_has_a_pack_too(district: Database) -> None:
    out = io.BytesIO()
    alone = Institution(uscc="91510300MA6ALONE01", name="空")
    with district.write() as session:
        save_institutions(session, [alone], now=NOW)
    with district.read() as session:
        found = export_pack(
            session, out, uscc=alone.uscc, policies=POLICIES, now=NOW, actor="cli", version="1", lang="en"
        )
        with pytest.raises(UsageError, match="is not known"):
            export_pack(session, io.BytesIO(), uscc="91NOBODY", policies=POLICIES, now=NOW, actor="cli", version="1")
    assert found.reconciles
    assert files(out.getvalue())["owed.jsonl"] == b""


def test_pages_go_on_where_the_one_before_ended(closed_doors: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files(made(closed_doors)[1])
    monkeypatch.setattr(pack, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(pack, "CONTRACTS_AT_ONCE", 1)
    assert files(made(closed_doors)[1]) == whole


def test_that_it_was_taken_is_on_record(closed_doors: Database) -> None:
    found, content = made(closed_doors)
    digest = hashlib.sha256(content).hexdigest()
    with closed_doors.write() as session:
        note_export(session, found, sha256=digest, size=len(content), actor="user:li", now=NOW)
    with closed_doors.read() as session:
        [entry] = search(session, AskedAudit(kind="pack.exported"), limit=5).records
    assert (entry.actor, entry.payload["uscc"], entry.payload["sha256"]) == ("user:li", HOLDER.uscc, digest)
    assert b"pack.exported" in files(made(closed_doors)[1])["audit.jsonl"], "the next pack tells of it"


def test_its_name_says_whose_it_is_and_when_it_was_made() -> None:
    at = datetime(2026, 11, 20, 1, tzinfo=UTC)
    assert pack_name("91X", at) == "pack-91X-20261120-090000.zip"
