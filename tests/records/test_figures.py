"""The numbers behind the metrics."""

from __future__ import annotations

from datetime import timedelta

from alerts.alert import Severity
from alerts.testing import key_of, signal_of
from escrow_monitor.domain.figures import Figures
from escrow_monitor.domain.findings import Standing
from escrow_monitor.records import runs
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.pulls import record_pulls
from escrow_monitor.records.database import Database
from escrow_monitor.records.figures import figures
from escrow_monitor.records.positions import AccountStanding, save_standings
from tests.records.conftest import ACCOUNTS, NOW, pull_of, reading_of


def test_an_empty_database_has_nothing_to_show(database: Database) -> None:
    with database.read() as session:
        assert figures(session) == Figures()


def test_the_numbers_are_those_of_the_records(district: Database) -> None:
    concluded = (
        (Standing.MET, 100_00, 150_00), (Standing.BREACHED, 100_00, 83_33), (Standing.UNKNOWN, 50_00, None),
        (Standing.UNKNOWN, None, 7_00),
    )
    with district.write() as session:
        save_standings(session, [
            AccountStanding(
                account_no=ACCOUNTS[n].account_no, input_version=1, standing=standing, required_fen=required,
                balance_fen=balance,
            )
            for n, (standing, required, balance) in enumerate(concluded)
        ], now=NOW, policy_version="1")
        pulls = [pull_of(ACCOUNTS[n], reading_of(ACCOUNTS[n], at=NOW - timedelta(hours=n))) for n in range(2)]
        record_pulls(session, pulls, scheduled_at=NOW, now=NOW)
        RecordsAlertBook(session, channels=["log"]).advance(
            signals=[signal_of(key_of("a")), signal_of(key_of("b"), Severity.YELLOW)], clears=[], now=NOW, cause="test"
        )
        runs.finish(
            session, round="check_balances", shard="all", scheduled_at=NOW, outcome=runs.Outcome.OK, counts={}, now=NOW
        )
    with district.read() as session:
        found = figures(session)
    assert found == Figures(
        accounts={"met": 1, "breached": 1, "unknown": 4},
        coverage={"62170001": 8333},
        obligation_fen={"510300": 100_00, "371082": 100_00, "unknown": 50_00},
        shortfall_fen={"510300": 0, "371082": 16_67},
        oldest_reading_at={"northbank": NOW - timedelta(hours=1)},
        accounts_never_read={"northbank": 2, "southbank": 2},
        round_last_success={"check_balances": NOW},
        alerts_open={("floor", "red"): 1, ("floor", "yellow"): 1},
        feed_sequence=2, audit_sequence=2, deliveries_due=2,
    )
