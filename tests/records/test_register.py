"""Institutions and accounts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from escrow_monitor.domain.accounts import Mode, Purpose
from escrow_monitor.errors import UsageError
from escrow_monitor.records import accounts as register
from escrow_monitor.records.database import Database
from escrow_monitor.records.positions import checked_accounts, positions_due
from tests.records.conftest import ACCOUNTS, INSTITUTIONS, NOW


def test_what_is_saved_is_read_back(district: Database) -> None:
    with district.read() as session:
        assert register.accounts(session) == list(ACCOUNTS)
        assert register.institutions(session) == list(INSTITUTIONS)
        assert register.account(session, "62170003") == ACCOUNTS[3]
        assert register.account(session, "nobody's") is None
        assert register.institution(session, INSTITUTIONS[1].uscc) == INSTITUTIONS[1]
        assert register.known_banks(session) == ["northbank", "southbank"]


def test_accounts_are_chosen_by_all_that_is_asked(district: Database) -> None:
    with district.read() as session:
        assert register.accounts(session, bank="southbank") == list(ACCOUNTS[4:])
        assert register.accounts(session, bank="southbank", account_nos=["62170004", "62170001"]) == [ACCOUNTS[4]]
        assert register.accounts(session, connector="statement_folder") == []
        assert register.accounts(session, account_nos=[]) == []


def test_saving_the_same_twice_changes_nothing(district: Database) -> None:
    with district.write() as session:
        assert register.save_institutions(session, INSTITUTIONS, now=NOW) == 0
        assert register.save_accounts(session, ACCOUNTS, now=NOW) == 0
        assert register.save_accounts(session, [], now=NOW) == 0


def test_a_change_is_counted_once_and_the_last_of_a_repeated_number_wins(district: Database) -> None:
    first, last = replace(ACCOUNTS[0], mode=Mode.CUSTODY), replace(ACCOUNTS[0], purpose=Purpose.DEPOSIT)
    with district.write() as session:
        assert register.save_accounts(session, [first, last, ACCOUNTS[1]], now=NOW) == 1
        assert register.account(session, "62170000") == last


def test_another_currency_is_refused(district: Database) -> None:
    with pytest.raises(UsageError, match="kept in CNY"), district.write() as session:
        register.save_accounts(session, [replace(ACCOUNTS[0], currency="USD")], now=NOW)


def test_a_changed_institution_makes_its_accounts_due(district: Database) -> None:
    due = {"now": NOW, "policy_version": "1", "days_from": NOW.date(), "large_debit_fen_min": None}
    settle(district)
    with district.write() as session:
        register.save_institutions(session, [replace(INSTITUTIONS[0], district="330000")], now=NOW)
    with district.read() as session:
        [positions] = positions_due(session, **due)
        assert {item.position.account.account_no for item in positions} == {"62170000", "62170003"}
        assert positions[0].position.institution == replace(INSTITUTIONS[0], district="330000")
        assert len(checked_accounts(session, district="330000")) == 2


def settle(database: Database) -> None:
    """Check everything, with nothing found."""
    from tests.records.test_positions import check_all

    check_all(database)
