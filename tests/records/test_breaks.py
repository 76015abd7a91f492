"""The external check: what the bank says a day closed with against what its statements' entries give."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.positions import BalanceBreak
from escrow_monitor.domain.statements import Statement
from escrow_monitor.records.bank.breaks import break_counts
from escrow_monitor.records.bank.pulls import record_pulls
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.records.positions import positions_due
from tests.records.conftest import ACCOUNTS, NOW, pull_of, reading_of, statement_of

MON, TUE = date(2026, 11, 9), date(2026, 11, 10)
MINUTE = timedelta(minutes=1)


def closing(fen: int, day: date = MON, *, minute: int = 0, final: bool = True) -> Reading:
    """What the bank says, asked in this minute after NOW, the day closed with."""
    return reading_of(
        fen=fen, at=datetime(day.year, day.month, day.day, 15, 59, 59, tzinfo=UTC), kind=BalanceKind.BOOKED_CLOSING,
        final=final, fetched_at=NOW + minute * MINUTE,
    )


def say(database: Database, *readings: Reading, statements: tuple[Statement, ...] = (), minute: int = 0) -> None:
    at = NOW + minute * MINUTE
    with database.write() as session:
        record_pulls(
            session, [pull_of(ACCOUNTS[0], *readings, at=at, statements=statements)], scheduled_at=at, now=at
        )


def cover(database: Database, *statements: Statement, minute: int = 0) -> None:
    with database.write() as session:
        refusals = record_statements(
            session, statements, source="t", raw_sha256="0" * 64, now=NOW + minute * MINUTE
        )
    assert refusals == []


def breaks(database: Database) -> list[tuple[date, int, int]]:
    """The open breaks as the rules see them: the day, what is stated, what the entries give."""
    return [(one.on, one.stated_fen, one.rolled_fen) for one in seen(database)[0]]


def seen(database: Database) -> tuple[tuple[BalanceBreak, ...], int]:
    with database.read() as session:
        [[found]] = positions_due(
            session, now=NOW, policy_version="1", days_from=date(2026, 11, 1), large_debit_fen_min=None,
            account_nos=["62170000"], everything=True,
        )
    assert found.position.break_count == len(found.position.breaks)
    return found.position.breaks, found.input_version


def test_a_closing_that_the_entries_do_not_give_is_a_break_whichever_came_first(district: Database) -> None:
    say(district, closing(100_00))
    assert breaks(district) == [], "no statement covers the day: there is nothing to hold it against"
    cover(district, statement_of(MON, 70_00, 29_00), minute=1)
    assert breaks(district) == [(MON, 100_00, 99_00)]
    say(district, closing(120_00, TUE, minute=2), minute=2)
    cover(district, statement_of(TUE, 99_00, 21_00), minute=3)
    assert breaks(district) == [(MON, 100_00, 99_00)]
    with district.read() as session:
        assert break_counts(session) == {"closing": 1}


def test_a_closing_stated_after_the_statement_is_held_against_it(district: Database) -> None:
    cover(district, statement_of(MON, 70_00, 29_00))
    version = seen(district)[1]
    say(district, closing(100_00, minute=1), minute=1)
    [found], now_version = seen(district)
    assert found == BalanceBreak(on=MON, stated_fen=100_00, rolled_fen=99_00, found_at=NOW + MINUTE)
    assert now_version > version


def test_a_break_ends_when_the_bank_says_what_the_entries_give(district: Database) -> None:
    say(district, closing(100_00))
    cover(district, statement_of(MON, 70_00, 29_00), minute=1)
    version = seen(district)[1]
    # The same figure is a reading already, read off the statement: the bank saying so by itself is no new row.
    say(district, closing(99_00, minute=2), minute=2)
    found, now_version = seen(district)
    assert found == ()
    assert now_version > version, "a rule must hear of it"
    with district.read() as session:
        assert break_counts(session) == {}
    say(district, closing(100_00, minute=3), minute=3)
    [again], _ = seen(district)
    assert again.found_at == NOW + 3 * MINUTE, "found again, it is open since then"


def test_the_last_word_of_the_bank_counts_and_an_older_one_changes_nothing_back(district: Database) -> None:
    say(district, closing(100_00))
    say(district, closing(99_00, minute=5), minute=5)
    cover(district, statement_of(MON, 70_00, 29_00), minute=6)
    assert breaks(district) == [], "it corrected itself before the statement came"
    say(district, closing(98_00, minute=7), minute=7)
    assert breaks(district) == [(MON, 98_00, 99_00)]
    say(district, closing(99_00, minute=6), minute=8)
    assert breaks(district) == [(MON, 98_00, 99_00)], "fetched before it"


def test_a_statement_in_the_same_answer_is_held_against_the_balance_beside_it(district: Database) -> None:
    say(district, closing(100_00), statements=(statement_of(MON, 70_00, 29_00),))
    assert breaks(district) == [(MON, 100_00, 99_00)]


def test_a_correction_that_agrees_ends_the_break(district: Database) -> None:
    say(district, closing(100_00))
    cover(district, statement_of(MON, 70_00, 29_00), minute=1)
    cover(district, statement_of(MON, 70_00, 30_00), minute=2)
    assert breaks(district) == []


def test_what_was_said_in_agreement_with_a_statement_is_corrected_with_it(district: Database) -> None:
    say(district, closing(99_00))
    cover(district, statement_of(MON, 70_00, 29_00), minute=1)
    cover(district, statement_of(MON, 70_00, 30_00), minute=2)
    assert breaks(district) == [], "the bank said 99.00 when its statement did: a later word of it says 100.00"
    say(district, closing(99_00, minute=3), minute=3)
    assert breaks(district) == [(MON, 99_00, 100_00)], "saying it again after the correction is another matter"


def test_a_day_that_is_re_opened_has_no_break(district: Database) -> None:
    say(district, closing(50_00, TUE))
    cover(district, statement_of(MON, 70_00, 29_00), statement_of(TUE, 99_00, 1_00), minute=1)
    assert breaks(district) == [(TUE, 50_00, 100_00)]
    cover(district, statement_of(MON, 70_00, 30_00), minute=2)
    assert breaks(district) == [], "Tuesday no longer follows Monday, so nothing is known of how it closed"
    cover(district, statement_of(TUE, 100_00, 1_00), minute=3)
    assert breaks(district) == [(TUE, 50_00, 101_00)]


@pytest.mark.parametrize(
    "reading",
    [
        closing(100_00, final=False),
        reading_of(fen=100_00, at=datetime(2026, 11, 9, 15, tzinfo=UTC)),
        reading_of(fen=100_00, at=datetime(2026, 11, 9, 15, tzinfo=UTC), kind=BalanceKind.AVAILABLE, final=True),
    ],
)
def test_only_a_final_closing_is_held_against_the_entries(district: Database, reading: Reading) -> None:
    cover(district, statement_of(MON, 70_00, 29_00))
    say(district, reading, minute=1)
    assert breaks(district) == []


def test_every_day_inside_a_longer_statement_is_checked(district: Database) -> None:
    say(district, closing(100_00), closing(99_00, TUE))
    cover(district, statement_of(MON, 70_00, 29_00, to=TUE), minute=1)
    assert breaks(district) == [(MON, 100_00, 99_00)]
