"""Pulls and readings: every answer is kept, silence included, and time moves only forward."""

from __future__ import annotations

from datetime import date, timedelta
from threading import Thread

import pytest

from escrow_monitor.domain.accounts import AccountStatus, BalanceKind, Known
from escrow_monitor.domain.positions import Position
from escrow_monitor.domain.statements import Refusal, RefusalReason
from escrow_monitor.records.bank.pulls import PullRecord, PullsRecorded, bank_answers, pull_requests, record_pulls
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.database import Database
from escrow_monitor.records.documents import raw_document
from escrow_monitor.records.positions import positions_due
from tests.records.conftest import ACCOUNTS, NOW, pull_of, reading_of, statement_of

TIMEOUT = Refusal(reason=RefusalReason.TIMEOUT, where="/v1/accounts/ext-0", field=None, detail="no answer in 20 s")
HOUR = timedelta(hours=1)


def record(database: Database, *pulls: PullRecord, hours: int = 0) -> PullsRecorded:
    """Record pulls scheduled so many hours after the first."""
    with database.write() as session:
        return record_pulls(session, pulls, scheduled_at=NOW + hours * HOUR, now=NOW + hours * HOUR)


def position(database: Database, account_no: str = "62170000") -> tuple[Position, int]:
    """What a check would see of one account, and the version of its input."""
    with database.read() as session:
        [[due]] = positions_due(
            session, now=NOW, policy_version="1", days_from=date(2026, 1, 1), large_debit_fen_min=None,
            account_nos=[account_no], everything=True,
        )
    return due.position, due.input_version


def test_a_balance_becomes_a_reading_and_the_newest_of_its_account(district: Database) -> None:
    done = record(district, pull_of(ACCOUNTS[0], reading_of(fen=12_345_678_901)))
    assert done == PullsRecorded(answered=1, refused=0, readings=1)
    found, _ = position(district)
    assert isinstance(found.booked, Known)
    assert found.booked.amount.minor_units == 12_345_678_901
    assert found.booked.as_of == NOW
    assert found.last_answer_at == NOW + timedelta(seconds=1)
    with district.read() as session:
        assert readings(session, "62170000") == [reading_of(fen=12_345_678_901)]


def test_the_same_round_again_has_no_second_effect(district: Database) -> None:
    record(district, pull_of(ACCOUNTS[0], refusal=TIMEOUT), pull_of(ACCOUNTS[1], reading_of(ACCOUNTS[1])))
    before = position(district)
    again = record(district, pull_of(ACCOUNTS[0], refusal=TIMEOUT), pull_of(ACCOUNTS[1], reading_of(ACCOUNTS[1], 7)))
    assert again == PullsRecorded(answered=0, refused=0, repeated=2)
    assert position(district) == before
    assert before[0].refusals_in_a_row == 1


def test_an_account_answered_twice_in_one_round_is_heard_once(district: Database) -> None:
    done = record(district, pull_of(ACCOUNTS[0], reading_of(fen=1)), pull_of(ACCOUNTS[0], reading_of(fen=2)))
    assert (done.answered, done.repeated) == (1, 1)
    assert position(district)[0].booked.amount.minor_units == 1  # type: ignore[union-attr]


def test_an_account_nobody_knows_leaves_nothing(district: Database) -> None:
    from dataclasses import replace

    stranger = replace(ACCOUNTS[0], account_no="9999")
    done = record(district, pull_of(stranger, reading_of(stranger)))
    assert done == PullsRecorded(answered=0, refused=0, unknown=1)


def test_silence_is_kept_with_its_reason_and_is_no_balance(district: Database) -> None:
    record(district, pull_of(ACCOUNTS[0], reading_of()))
    done = record(district, pull_of(ACCOUNTS[0], refusal=TIMEOUT, at=NOW + HOUR), hours=1)
    assert (done.answered, done.refused, done.readings) == (0, 1, 0)
    record(district, pull_of(ACCOUNTS[0], refusal=TIMEOUT, at=NOW + 2 * HOUR), hours=2)
    found, _ = position(district)
    assert (found.last_refusal, found.refusals_in_a_row) == (RefusalReason.TIMEOUT, 2)
    assert found.last_answer_at == NOW + timedelta(seconds=1)
    assert found.booked.as_of == NOW  # type: ignore[union-attr]
    record(district, pull_of(ACCOUNTS[0], reading_of(at=NOW + 3 * HOUR), at=NOW + 3 * HOUR), hours=3)
    found, _ = position(district)
    assert (found.last_refusal, found.refusals_in_a_row) == (None, 0)
    with district.read() as session:
        [north, south] = bank_answers(session)
    assert (north.bank, north.accounts, north.silent) == ("northbank", 4, 0)
    assert south.last_answer_at is None


def test_only_something_new_makes_an_account_due(district: Database) -> None:
    _, start = position(district)
    record(district, pull_of(ACCOUNTS[0], reading_of()))
    assert position(district)[1] == start + 1
    record(district, pull_of(ACCOUNTS[0], reading_of()), hours=1)
    assert position(district)[1] == start + 1, "the same balance of the same instant again is nothing new"
    record(district, pull_of(ACCOUNTS[0], refusal=TIMEOUT), hours=2)
    assert position(district)[1] == start + 2
    record(district, pull_of(ACCOUNTS[0], refusal=TIMEOUT), hours=3)
    assert position(district)[1] == start + 2, "a bank that stays silent says nothing new"


def test_the_same_balance_grown_younger_makes_an_account_due_only_where_the_old_one_could_be_too_old(
    district: Database,
) -> None:
    _, start = position(district)
    record(district, pull_of(ACCOUNTS[0], reading_of()))
    minutes = [timedelta(minutes=15 * n) for n in (1, 2, 3)]
    for later in minutes:
        with district.write() as session:
            done = record_pulls(
                session, [pull_of(ACCOUNTS[0], reading_of(at=NOW + later), at=NOW + later)],
                scheduled_at=NOW + later, now=NOW + later,
            )
        assert done.readings == 1, "every word of the bank is kept"
        found, version = position(district)
        assert found.booked.as_of == NOW + later  # type: ignore[union-attr]
        assert version == start + 1, "but no rule could conclude otherwise from it"
    record(district, pull_of(ACCOUNTS[0], reading_of(at=NOW + 3 * HOUR)), hours=3)
    assert position(district)[1] == start + 2, "a check may have found the one before too old meanwhile"
    record(district, pull_of(ACCOUNTS[0], reading_of(fen=99_99, at=NOW + 3 * HOUR + minutes[0])), hours=4)
    assert position(district)[1] == start + 3, "another amount is news at once"
    tomorrow = reading_of(fen=99_99, at=NOW + 16 * HOUR)
    assert tomorrow.on > reading_of().on
    record(district, pull_of(ACCOUNTS[0], tomorrow), hours=16)
    assert position(district)[1] == start + 4, "so is the same amount of another day"


@pytest.mark.parametrize(("slot", "kind"), [("held", BalanceKind.HELD), ("available", BalanceKind.AVAILABLE)])
def test_what_is_held_or_available_is_news_when_it_changes(district: Database, slot: str, kind: BalanceKind) -> None:
    _, start = position(district)
    quarter = timedelta(minutes=15)
    record(district, pull_of(ACCOUNTS[0], reading_of(fen=30, kind=kind)))
    with district.write() as session:
        for n, fen in enumerate((30, 31), 1):
            at = NOW + n * quarter
            record_pulls(
                session, [pull_of(ACCOUNTS[0], reading_of(fen=fen, at=at, kind=kind), at=at)], scheduled_at=at, now=at
            )
    found, version = position(district)
    assert getattr(found, slot).amount.minor_units == 31
    assert version == start + 2


def test_an_older_balance_is_kept_but_does_not_move_time_back(district: Database) -> None:
    record(district, pull_of(ACCOUNTS[0], reading_of(fen=200_00)))
    record(district, pull_of(ACCOUNTS[0], reading_of(fen=100_00, at=NOW - HOUR)), hours=1)
    assert position(district)[0].booked.amount.minor_units == 200_00  # type: ignore[union-attr]
    with district.read() as session:
        assert [item.amount.minor_units for item in readings(session, "62170000")] == [200_00, 100_00]


def test_a_final_balance_replaces_one_that_is_not_and_never_the_other_way(district: Database) -> None:
    closing = reading_of(fen=150_00, kind=BalanceKind.BOOKED_CLOSING, final=True)
    record(district, pull_of(ACCOUNTS[0], reading_of(fen=100_00)))
    record(district, pull_of(ACCOUNTS[0], closing), hours=1)
    record(district, pull_of(ACCOUNTS[0], reading_of(fen=90_00, fetched_at=NOW + 5 * HOUR)), hours=2)
    found, _ = position(district)
    assert found.booked == found.closing
    assert found.closing.amount.minor_units == 150_00  # type: ignore[union-attr]
    correction = reading_of(
        fen=151_00, kind=BalanceKind.BOOKED_CLOSING, final=True, fetched_at=NOW + 6 * HOUR
    )
    record(district, pull_of(ACCOUNTS[0], correction), hours=3)
    assert position(district)[0].closing.amount.minor_units == 151_00  # type: ignore[union-attr]


def test_held_available_and_status_are_kept_apart(district: Database) -> None:
    record(district, pull_of(
        ACCOUNTS[0], reading_of(fen=500), reading_of(fen=30, kind=BalanceKind.HELD),
        reading_of(fen=470, kind=BalanceKind.AVAILABLE), account_status=AccountStatus.FROZEN,
    ))
    record(district, pull_of(ACCOUNTS[0], reading_of(fen=500, at=NOW + HOUR), at=NOW + HOUR), hours=1)
    found, _ = position(district)
    assert found.held.amount.minor_units == 30  # type: ignore[union-attr]
    assert found.available.amount.minor_units == 470  # type: ignore[union-attr]
    assert (found.status, found.status_as_of) == (AccountStatus.FROZEN, NOW + timedelta(seconds=1))


def test_raw_bytes_are_kept_once(district: Database) -> None:
    raw = (("cd" * 32, "余额".encode() * 100, "application/json"),)
    record(district, *(pull_of(account, reading_of(account), raw=raw) for account in ACCOUNTS))
    record(district, *(pull_of(account, raw=raw) for account in ACCOUNTS), hours=1)
    with district.read() as session:
        assert raw_document(session, "cd" * 32) == "余额".encode() * 100
        assert raw_document(session, "ee" * 32) is None


def test_a_pulled_statement_covers_its_day_and_a_bad_one_is_kept_as_a_partial_refusal(district: Database) -> None:
    day = date(2026, 11, 19)
    done = record(
        district,
        pull_of(ACCOUNTS[0], reading_of(), statements=(statement_of(day, 70_00, 30_00),)),
        pull_of(ACCOUNTS[1], statements=(statement_of(day, 70_00, 30_00, account=ACCOUNTS[1], closing=99_00),)),
    )
    assert (done.answered, done.statements) == (2, 1)
    [(account_no, refusal)] = done.refusals
    assert (account_no, refusal.reason) == ("62170001", RefusalReason.DOES_NOT_TIE)
    found, _ = position(district)
    assert (found.entries_from, found.entries_to) == (day, day)
    assert found.booked.amount.minor_units == 100_00  # type: ignore[union-attr]
    assert found.closing.on == day  # type: ignore[union-attr]
    with district.read() as session:
        requests = pull_requests(session, "northbank", today=date(2026, 11, 20), now=NOW)
        assert [one.covered_to for one in requests] == [day, None, None, None]
        assert pull_requests(session, "northbank", today=day, now=NOW)[0] == (ACCOUNTS[0], None, None)


def test_two_that_record_the_same_round_at_once_have_one_effect(district: Database) -> None:
    def work() -> None:
        record(district, *(pull_of(account, refusal=TIMEOUT) for account in ACCOUNTS))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for account in ACCOUNTS:
        assert position(district, account.account_no)[0].refusals_in_a_row == 1
