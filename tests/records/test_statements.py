"""Statements: whole or not at all, twice is once, twins are two, days that are missing are rows."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement, StatementKind
from escrow_monitor.records.accounts import account
from escrow_monitor.records.bank.coverage import AccountCoverage, GapsRefreshed, coverage, refresh_gaps
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.bank.statement_files import (
    FileOutcome,
    FileResult,
    Registration,
    files,
    record_file,
    refuse_file,
    settled_files,
)
from escrow_monitor.records.bank.statements import entries, record_statements
from escrow_monitor.records.database import Database
from tests.records.conftest import ACCOUNTS, NOW, statement_of
from tests.records.test_readings import position

MON, TUE, WED, THU, FRI = (date(2026, 11, 9) + timedelta(days=n) for n in range(5))
SAT, NEXT_MON = FRI + timedelta(days=1), FRI + timedelta(days=3)


def load(
    database: Database, *statements: Statement, content: bytes = b"", source: str = "folder:a", **changes: object
) -> FileOutcome:
    """Record a file of these statements."""
    content = content or repr(statements).encode()
    with database.write() as session:
        return record_file(
            session, sha256=hashlib.sha256(content).hexdigest(), content=content, media_type="text/plain",
            source=source, format="mt940", statements=statements, now=NOW, **changes,  # type: ignore[arg-type]
        )


def reasons(outcome: FileOutcome) -> list[RefusalReason]:
    return [refusal.reason for refusal in outcome.refusals]


def test_a_file_is_loaded_once(district: Database) -> None:
    outcome = load(district, statement_of(MON, 70_00, 50_00, -20_00))
    assert (outcome.result, outcome.statements, outcome.entries) == (FileResult.LOADED, 1, 2)
    before = position(district)
    again = load(district, statement_of(MON, 70_00, 50_00, -20_00))
    assert again.result is FileResult.ALREADY_LOADED
    assert position(district) == before
    found = before[0]
    assert found.closing == found.booked
    assert found.closing.amount.minor_units == 100_00  # type: ignore[union-attr]
    assert found.closing.as_of.isoformat() == "2026-11-09T15:59:59+00:00"  # type: ignore[union-attr]
    with district.read() as session:
        [reading] = readings(session, "62170000")
        assert reading.final
        assert [entry.amount.minor_units for entry in entries(session, "62170000")] in ([5000, -2000], [-2000, 5000])


def test_the_same_figures_in_another_file_have_no_effect(district: Database) -> None:
    load(district, statement_of(MON, 70_00, 50_00, -20_00))
    before = position(district)
    other = load(district, statement_of(MON, 70_00, 50_00, -20_00, texts=("学费", "工资")), content=b"camt")
    assert (other.result, other.statements, other.entries) == (FileResult.LOADED, 0, 0)
    assert position(district) == before


def test_identical_twins_stay_two(district: Database) -> None:
    outcome = load(district, statement_of(MON, 0, 50_00, 50_00, texts=("学费", "学费")))
    assert outcome.entries == 2
    assert position(district)[0].months["2026-11"].credits_fen == 100_00


def test_days_chain_from_file_to_file_in_any_order(district: Database) -> None:
    load(district, statement_of(WED, 300, 100))
    load(district, statement_of(MON, 100, 100))
    outcome = load(district, statement_of(TUE, 200, 100))
    assert outcome.result is FileResult.LOADED
    found, _ = position(district)
    assert (found.entries_from, found.entries_to) == (MON, WED)
    assert found.closing.amount.minor_units == 400  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (statement_of(TUE, 201, 100), RefusalReason.DOES_NOT_CHAIN),
        (statement_of(MON - timedelta(days=1), 0, 99), RefusalReason.DOES_NOT_CHAIN),
        (statement_of(MON, 100, 101), RefusalReason.CONTRADICTS),
        (statement_of(MON, 99, 101), RefusalReason.CONTRADICTS),
        (statement_of(MON, 100, 50, to=TUE), RefusalReason.CONTRADICTS),
        (statement_of(TUE, 200, 100, closing=301), RefusalReason.DOES_NOT_TIE),
        (statement_of(TUE, 200, 100, currency="USD"), RefusalReason.WRONG_CURRENCY),
        (statement_of(FRI, 200, 100, number="3/1"), None),
        (statement_of(FRI, 201, 100, number="2/1"), RefusalReason.DOES_NOT_CHAIN),
        (statement_of(TUE, 200, 0, to=date(2036, 1, 1)), RefusalReason.BAD_DATE),
        (statement_of(TUE, 200, to=MON), RefusalReason.BAD_DATE),
    ],
)
def test_a_statement_that_does_not_fit_is_refused(
    district: Database, statement: Statement, reason: RefusalReason | None
) -> None:
    load(district, statement_of(MON, 100, 100, number="1/1"), source="northbank")
    before = position(district)
    outcome = load(district, statement)
    assert reasons(outcome) == ([] if reason is None else [reason])
    if reason is not None:
        assert outcome.refusals[0].where == statement.where
        assert position(district) == before


def test_one_bad_statement_refuses_the_whole_file_and_leaves_only_its_bytes_and_reason(district: Database) -> None:
    good, bad = statement_of(MON, 0, 100), statement_of(MON, 0, 100, account=ACCOUNTS[1], closing=99)
    outcome = load(district, good, bad, content=b"two")
    assert outcome.result is FileResult.REFUSED
    assert position(district)[0].entries_from is None
    with district.read() as session:
        [file] = files(session)
        assert (file.result, file.refusals) == (FileResult.REFUSED, outcome.refusals)
        assert session.execute(text("SELECT count(*) FROM raw_documents")).scalar() == 1
        assert session.execute(text("SELECT count(*) FROM entries")).scalar() == 0


def test_a_refused_file_is_judged_anew_when_what_was_missing_has_come(district: Database) -> None:
    file = statement_of(MON, 0, 100, account=ACCOUNTS[0])
    stranger = Statement(**{
        **{name: getattr(file, name) for name in file.__slots__}, "account_no": "DE89370400440532013000", "entries": (),
        "closing": file.opening,
    })
    assert reasons(load(district, stranger)) == [RefusalReason.UNKNOWN_ACCOUNT]
    outcome = load(district, stranger, register=Registration(bank="somebank"))
    assert outcome.registered == ("DE89370400440532013000",)
    with district.read() as session:
        made = account(session, "DE89370400440532013000")
        assert made is not None
        assert (made.bank, made.currency, made.uscc) == ("somebank", "CNY", None)
        assert [file.result for file in files(session)] == [FileResult.LOADED]


def test_a_file_is_settled_unless_something_it_was_refused_for_may_pass(district: Database) -> None:
    load(district, statement_of(MON, 0, 100), content=b"good")
    given = {reason.value: (reason,) for reason in RefusalReason} | {
        "both": (RefusalReason.DOES_NOT_TIE, RefusalReason.UNKNOWN_ACCOUNT)
    }
    with district.write() as session:
        for sha256, why in given.items():
            refuse_file(
                session, sha256=sha256, content=b"", media_type="text/plain", source="folder", format=None, now=NOW,
                refusals=[
                    Refusal(reason=reason, where=":61:", field=None, detail='not "contradicts"') for reason in why
                ],
            )
    with district.read() as session:
        settled = settled_files(session)
    assert set(given) - settled == {"unknown_account", "does_not_chain", "contradicts", "dated_in_future", "both"}
    assert hashlib.sha256(b"good").hexdigest() in settled


def test_notices_count_until_a_final_statement_covers_their_day(district: Database) -> None:
    load(district, statement_of(MON, 0, 50_00, texts=("notice",), kind=StatementKind.NOTICE))
    found, _ = position(district)
    assert (found.months["2026-11"].credits_fen, found.entries_from) == (50_00, None)
    load(district, statement_of(MON, 0, 50_00, 7_00, texts=("other words", "more")))
    assert position(district)[0].months["2026-11"].credits_fen == 57_00
    late = load(district, statement_of(MON, 0, 9_00, texts=("late notice",), kind=StatementKind.NOTICE))
    assert late.entries == 0
    assert position(district)[0].months["2026-11"].credits_fen == 57_00


def test_a_statement_of_several_days_covers_each_with_its_own_balances(district: Database) -> None:
    load(district, statement_of(MON, 100, 50, to=FRI))
    with district.read() as session:
        [found] = [item for item in coverage(session) if item.account_no == "62170000"]
    assert found == AccountCoverage(
        account_no="62170000", covered_from=MON, covered_to=FRI, days_covered=5, gaps=(), gap_count=0
    )
    assert load(district, statement_of(WED, 150)).statements == 0


def refresh(database: Database, through: date) -> GapsRefreshed:
    with database.write() as session:
        return refresh_gaps(session, through=through, is_working_day=lambda day: day.weekday() < 5, now=NOW)


def test_working_days_without_a_statement_are_gaps_until_they_are_filled(district: Database) -> None:
    load(district, statement_of(MON, 0, 100))
    load(district, statement_of(NEXT_MON, 100, 100))
    _, before = position(district)
    assert refresh(district, NEXT_MON) == GapsRefreshed(found=4, filled=0)
    found, version = position(district)
    assert found.gaps == (FRI, THU, WED, TUE)
    assert (found.gap_count, version) == (4, before + 1)
    assert refresh(district, NEXT_MON) == GapsRefreshed(found=0, filled=0)
    load(district, statement_of(TUE, 100, to=WED))
    assert position(district)[0].gaps == (FRI, THU)
    assert refresh(district, NEXT_MON + timedelta(days=1)) == GapsRefreshed(found=1, filled=0)
    load(district, statement_of(FRI - timedelta(days=7), 0))
    assert refresh(district, NEXT_MON + timedelta(days=1)) == GapsRefreshed(found=0, filled=0)
    load(district, statement_of(MON - timedelta(days=11), 0))
    assert refresh(district, NEXT_MON + timedelta(days=1)).found == 5


def test_an_account_without_any_statement_has_no_gaps(district: Database) -> None:
    assert refresh(district, NEXT_MON) == GapsRefreshed(found=0, filled=0)


def test_a_weekend_on_which_something_was_booked_unseen_is_a_gap(district: Database) -> None:
    load(district, statement_of(FRI, 0, 100))
    load(district, statement_of(NEXT_MON, 80, 20))
    assert position(district)[0].gaps == (SAT + timedelta(days=1), SAT)
    load(district, statement_of(SAT, 100, -20))
    load(district, statement_of(SAT + timedelta(days=1), 80))
    assert position(district)[0].gaps == ()


def test_a_quiet_weekend_is_none(district: Database) -> None:
    load(district, statement_of(FRI, 0, 100))
    load(district, statement_of(NEXT_MON, 100, 20))
    assert position(district)[0].gaps == ()


def test_pulled_statements_are_taken_one_by_one(district: Database) -> None:
    with district.write() as session:
        refusals = record_statements(
            session, [statement_of(MON, 0, 100), statement_of(TUE, 99, 1), statement_of(WED, 100)], source="northbank",
            raw_sha256="ab" * 32, now=NOW,
        )
    assert [refusal.reason for refusal in refusals] == [RefusalReason.DOES_NOT_CHAIN]
    assert position(district)[0].entries_to == WED


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(-500, 500), max_size=4), min_size=2, max_size=6), st.randoms())
def test_in_whatever_order_the_days_arrive_the_account_ends_the_same(
    district: Database, days: list[list[int]], random: object
) -> None:
    statements, balance = [], 1_000
    for number, amounts in enumerate(days):
        statements.append(statement_of(MON + timedelta(days=number), balance, *amounts))
        balance += sum(amounts)
    random.shuffle(statements)  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError), district.write() as session:  # noqa: PT012 - the block is the transaction
        for statement in statements:
            assert record_statements(session, [statement], source="s", raw_sha256="ab", now=NOW) == []
        totals = session.execute(text(
            "SELECT sum(credits_fen), sum(debits_fen), count(*) FROM account_days WHERE covered"
        )).one()
        months = session.execute(text("SELECT sum(credits_fen), sum(debits_fen) FROM account_months")).one()
        state = session.execute(text(
            "SELECT closing_fen, booked_fen FROM account_states WHERE account_no = '62170000'"
        )).one()
        assert session.execute(text("SELECT count(*) FROM coverage_gaps WHERE filled_at IS NULL")).scalar() == 0
        amounts = [amount for day in days for amount in day]
        credits = sum(amount for amount in amounts if amount > 0)
        debits = -sum(amount for amount in amounts if amount < 0)
        assert tuple(totals) == (credits, debits, len(days))
        assert (months[0] or 0, months[1] or 0) == (credits, debits)
        assert tuple(state) == (balance, balance)
        raise ZeroDivisionError  # the next example begins with nothing
