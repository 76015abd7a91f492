"""Which accounts are due for a check, and what it concluded."""

from __future__ import annotations

from datetime import date, timedelta

from escrow_monitor.domain.accounts import Missing, Unknown
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.records.bank.pulls import record_pulls
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.records.positions import (
    AccountStanding,
    DuePosition,
    checked_accounts,
    positions_due,
    save_standings,
    standing_counts,
)
from tests.records.conftest import ACCOUNTS, NOW, pull_of, reading_of, statement_of

HOUR = timedelta(hours=1)


def due(database: Database, policy: str = "1", hours: int = 0, **asked: object) -> list[DuePosition]:
    """What is due so many hours later."""
    with database.read() as session:
        chunks = positions_due(
            session, now=NOW + hours * HOUR, policy_version=policy, days_from=date(2026, 11, 1),
            large_debit_fen_min=asked.pop("least", None), **asked,  # type: ignore[arg-type]
        )
        return [item for chunk in chunks for item in chunk]


def check_all(database: Database, standing: Standing = Standing.MET, **found: object) -> None:
    """Conclude the same of everything that is due."""
    concluded = [
        AccountStanding(
            account_no=item.position.account.account_no, input_version=item.input_version, standing=standing,
            **found,  # type: ignore[arg-type]
        )
        for item in due(database)
    ]
    with database.write() as session:
        save_standings(session, concluded, now=NOW, policy_version="1")


def test_a_new_account_is_due_and_knows_nothing(district: Database) -> None:
    found = due(district)
    assert [item.position.account for item in found] == list(ACCOUNTS)
    position = found[0].position
    assert position.booked == position.closing == position.held == Unknown(reason=Missing.NEVER_STATED)
    assert (position.registered_at, position.last_answer_at, position.entries_from) == (NOW, None, None)


def test_what_was_checked_is_due_again_only_for_a_reason(district: Database) -> None:
    check_all(district, recheck_at=NOW + 5 * HOUR)
    assert due(district) == []
    assert len(due(district, everything=True)) == 6
    assert len(due(district, everything=True, account_nos=["62170002", "nobody's"])) == 1
    assert len(due(district, policy="2")) == 6, "another policy"
    assert due(district, hours=4) == []
    assert len(due(district, hours=5)) == 6, "its time has come"
    with district.write() as session:
        record_pulls(session, [pull_of(ACCOUNTS[2], reading_of(ACCOUNTS[2]))], scheduled_at=NOW, now=NOW)
    assert [item.position.account for item in due(district)] == [ACCOUNTS[2]]


def test_what_moved_on_during_the_check_stays_due(district: Database) -> None:
    before = due(district)
    with district.write() as session:
        record_pulls(session, [pull_of(ACCOUNTS[2], reading_of(ACCOUNTS[2]))], scheduled_at=NOW, now=NOW)
        save_standings(session, [
            AccountStanding(
                account_no=item.position.account.account_no, input_version=item.input_version, standing=Standing.MET
            )
            for item in before
        ], now=NOW, policy_version="1")
    assert [item.position.account for item in due(district)] == [ACCOUNTS[2]]


def test_positions_come_in_chunks_in_the_order_of_their_numbers(district: Database) -> None:
    with district.read() as session:
        chunks = list(positions_due(
            session, now=NOW, policy_version="1", days_from=NOW.date(), large_debit_fen_min=None, chunk=4
        ))
    assert [len(chunk) for chunk in chunks] == [4, 2]
    assert [item.position.account for chunk in chunks for item in chunk] == list(ACCOUNTS)


def test_a_standing_is_read_back_as_it_was_saved(district: Database) -> None:
    concluded = AccountStanding(
        account_no="62170001", input_version=1, standing=Standing.BREACHED, level=Level.ORANGE, required_fen=100_00,
        required_complete=True, balance_fen=99_00, below_since=NOW - HOUR, recheck_at=NOW + HOUR,
        findings=({"rule": "floor", "why_zh": "余额 99.00", "figures": {"balance_fen": 9900}},),
    )
    with district.write() as session:
        save_standings(session, [concluded], now=NOW, policy_version="1")
    with district.read() as session:
        [found] = checked_accounts(session, standing=Standing.BREACHED)
        assert found.standing == concluded
        assert (found.account, found.checked_at) == (ACCOUNTS[1], NOW)
        assert standing_counts(session) == {Standing.BREACHED: 1, Standing.UNKNOWN: 5}
        assert checked_accounts(session, standing=Standing.BREACHED, level=Level.RED) == []
        assert [item.account for item in checked_accounts(session, bank="southbank")] == list(ACCOUNTS[4:])
        assert [item.account for item in checked_accounts(session, after="62170003", limit=1)] == [ACCOUNTS[4]]
        assert len(checked_accounts(session, limit=None)) == 6
    [position] = [item.position for item in due(district, account_nos=["62170001"], everything=True)]
    assert position.below_since == NOW - HOUR


def test_history_reaches_the_position(district: Database) -> None:
    with district.write() as session:
        refusals = record_statements(session, [
            statement_of(date(2026, 10, 30), 1000_00, 500_00, -100_00),
            statement_of(date(2026, 11, 2), 1400_00, -300_00, -50_00, 20_00),
            statement_of(date(2026, 11, 3), 1070_00, -1_00),
        ], source="northbank", raw_sha256="ab" * 32, now=NOW)
    assert refusals == []
    position = due(district)[0].position
    assert {month: (flow.credits_fen, flow.debits_fen) for month, flow in position.months.items()} == {
        "2026-10": (500_00, 100_00), "2026-11": (20_00, 351_00),
    }
    assert [(day.on, day.debits_fen, day.largest_debit_fen, day.previous_closing_fen) for day in position.days] == [
        (date(2026, 11, 2), 350_00, 300_00, 1400_00), (date(2026, 11, 3), 1_00, 1_00, 1070_00),
    ]
    assert (position.entries_from, position.entries_to) == (date(2026, 10, 30), date(2026, 11, 3))
    assert [day.on for day in due(district, least=100_00)[0].position.days] == [date(2026, 11, 2)]
