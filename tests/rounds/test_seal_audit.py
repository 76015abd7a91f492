"""Rounds, files and policies leave their entries in the audit chain, and the chain is sealed once a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.statements import Refusal, RefusalReason
from escrow_monitor.errors import ConfigurationError, UsageError
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.statement_files import record_file, refuse_file
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence.audit import AuditRecord
from escrow_monitor.records.evidence.seal_keys import new_key
from escrow_monitor.records.policy_notes import note_policies
from escrow_monitor.rounds.perform import perform
from escrow_monitor.rounds.report import Outcome, Report
from escrow_monitor.settings import load_settings
from escrow_monitor.wiring import App, assembled
from tests.records.conftest import ACCOUNTS, INSTITUTIONS, statement_of

NOW = datetime(2026, 11, 21, 16, 10, tzinfo=UTC)
"""Ten past midnight in Shanghai."""


@pytest.fixture
def app(database_url: str, tmp_path: Path) -> Iterator[App]:
    (tmp_path / "key.pem").write_text(new_key())
    settings = load_settings(None, {
        "ESCROW_MONITOR_DATABASE__URL": database_url,
        "ESCROW_MONITOR_AUDIT__KEY_FILE": str(tmp_path / "key.pem"),
        "ESCROW_MONITOR_AUDIT__ALGORITHM": "sm3",
    })
    with assembled(settings, clock=FixedClock(NOW)) as made:
        yield made


def entries(database: Database, kind: str | None = None) -> list[AuditRecord]:
    with database.read() as session:
        assert audit.verify(session).whole
        return audit.records(session, kind=kind, limit=1000)


def test_a_seal_a_day_for_the_day_before_and_once_for_each_time(app: App) -> None:
    assert app.shards("seal-audit") == ("all",)
    report = app.perform("seal-audit", "all", NOW)
    assert (report.outcome, report.counts["sealed"], report.counts["number"]) == (Outcome.OK, 1, 1)
    assert app.perform("seal-audit", "all", NOW).repeated
    with app.database.read() as session:
        sealed = seals.newest_seal(session)
    assert sealed is not None
    assert (sealed.day, sealed.algorithm, sealed.number) == (date(2026, 11, 21), "sm3", 1)
    assert app.seal_key is not None
    assert sealed.key_id == app.seal_key.key_id


def test_a_seal_that_was_put_before_a_crash_is_not_put_again(app: App) -> None:
    app.perform("seal-audit", "all", NOW)
    report = app.perform("seal-audit", "all", NOW - timedelta(seconds=1))
    assert report.counts["sealed"] == 0
    assert len(entries(app.database, "audit.sealed")) == 1


def test_without_a_key_no_seal_is_expected_and_a_wrong_one_is_said_without_repeating_it(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "key.pem").write_text("geheim")
    url = {"ESCROW_MONITOR_DATABASE__URL": database_url}
    with assembled(load_settings(None, url)) as bare:
        assert bare.shards("seal-audit") == ()
        assert "seal-audit" not in bare.late_after()
        with pytest.raises(UsageError, match="key_file"):
            bare.perform("seal-audit", "all", NOW)
    wrong = url | {"ESCROW_MONITOR_AUDIT__KEY_FILE": str(tmp_path / "key.pem")}
    with assembled(load_settings(None, wrong)) as app, pytest.raises(ConfigurationError, match="Ed25519") as told:
        _ = app.seal_key
    assert "geheim" not in str(told.value)


def test_a_key_on_one_line_of_the_environment_is_a_key(database_url: str) -> None:
    line = "".join(line for line in new_key().splitlines() if not line.startswith("-----"))
    environ = {"ESCROW_MONITOR_DATABASE__URL": database_url, "ESCROW_MONITOR_AUDIT__KEY": line}
    with assembled(load_settings(None, environ)) as app:
        assert app.seal_key is not None
        assert len(app.seal_key.public_key) == 64
        assert line not in repr(app.seal_key)


def done(database: Database, *, minute: int, outcome: Outcome = Outcome.OK, **counts: int) -> None:
    at = NOW + timedelta(minutes=minute)
    report = Report(
        round="check-balances", shard="all", scheduled_at=at, outcome=outcome, counts=counts, detail="x" * 2000
    )
    perform(
        name="check-balances", shard="all", scheduled_at=at, now_of=lambda: at, database=database,
        observe=lambda **_: None, do=lambda: report,
    )


def test_how_a_round_ended_is_one_entry_and_nothing_to_do_is_none(database: Database) -> None:
    done(database, minute=1, accounts=3)
    done(database, minute=2, accounts=0)
    done(database, minute=3, accounts=0, outcome=Outcome.WRONG)
    done(database, minute=3, accounts=9)
    found = entries(database)
    assert [(one.kind, one.actor, one.payload["outcome"], one.payload["counts"]) for one in found] == [
        ("round.finished", "round:check-balances", "ok", {"accounts": 3}),
        ("round.finished", "round:check-balances", "wrong", {"accounts": 0}),
    ]
    assert len(found[0].payload["detail"]) == 500


def test_a_round_that_fails_leaves_an_entry_for_each_try(database: Database) -> None:
    def fail() -> Report:
        raise UsageError("the folder is gone")

    for _ in range(2):
        with pytest.raises(UsageError):
            perform(
                name="load-statements", shard="a", scheduled_at=NOW, now_of=lambda: NOW, database=database,
                observe=lambda **_: None, do=fail,
            )
    assert [(one.payload["outcome"], one.payload["detail"]) for one in entries(database)] == [
        ("error", "the folder is gone")
    ] * 2


def test_a_statement_file_is_an_entry_when_it_is_taken_or_refused_and_not_when_it_is_refused_again(
    database: Database,
) -> None:
    with database.write() as session:
        save_institutions(session, INSTITUTIONS, now=NOW)
        save_accounts(session, ACCOUNTS, now=NOW)
    refusal = Refusal(reason=RefusalReason.UNKNOWN_ACCOUNT, where="a.sta", field=None, detail="nobody's")

    def refused() -> None:
        with database.write() as session:
            refuse_file(
                session, sha256="ab" * 32, content=b"x", media_type="text/plain", source="folder:a", format="mt940",
                refusals=[refusal], now=NOW,
            )

    def taken(source: str) -> None:
        with database.write() as session:
            record_file(
                session, sha256="ab" * 32, content=b"x", media_type="text/plain", source=source, format="mt940",
                statements=[statement_of(date(2026, 11, 20), 100_00, 5_00, account=ACCOUNTS[0])], now=NOW,
            )

    refused()
    refused()
    taken("cli")
    taken("cli")
    refused()
    found = entries(database)
    assert [(one.kind, one.actor) for one in found] == [
        ("statements.refused", "source:folder:a"), ("statements.loaded", "cli"),
    ]
    assert found[0].payload["refused_for"] == ["unknown_account"]
    assert (found[1].payload["statements"], found[1].payload["entries"]) == (1, 1)


def test_policies_are_noted_when_they_change(database: Database) -> None:
    def note(version: str, **packs: str) -> bool:
        with database.write() as session:
            return note_policies(session, version=version, packs=packs, now=NOW)

    assert note("1", nation="a", city="b")
    assert not note("1", nation="a", city="b")
    assert note("2", nation="a", city="c", town="d")
    first, second = entries(database, "policy.changed")
    assert (first.payload["before"], first.payload["added"]) == (None, ["city", "nation"])
    assert (second.payload["before"], second.payload["added"], second.payload["changed"]) == ("1", ["town"], ["city"])


def test_the_program_notes_its_policies_with_the_first_check(app: App) -> None:
    for minute in range(2):
        app.perform("check-balances", "all", NOW + timedelta(minutes=minute))
    kinds = [one.kind for one in entries(app.database)]
    assert kinds.count("policy.changed") == kinds.count("audit.algorithm") == 1
    assert kinds[0] == "audit.algorithm"
