"""Corrections: the one who said it may say it anew; nothing is lost, and every covered day adds up to the last fen."""

from __future__ import annotations

import random as chance
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import RefusalReason, Statement, StatementKind
from escrow_monitor.records.bank.corrections import AUDIT_KIND, corrections
from escrow_monitor.records.bank.coverage import DayState, GapReason, coverage, days
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.bank.statement_files import FileOutcome, FileResult
from escrow_monitor.records.bank.statements import entries, record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from tests.records.conftest import NOW, statement_of
from tests.records.test_readings import position
from tests.records.test_statements import FRI, MON, NEXT_MON, SAT, THU, TUE, WED, load, reasons, refresh

NO = "62170000"
HOUR = timedelta(hours=1)


def closing(database: Database) -> int:
    """The newest final closing, in fen."""
    return position(database)[0].closing.amount.minor_units  # type: ignore[union-attr]


def gaps(database: Database) -> dict[date, str]:
    """The open gaps of the account with their reasons."""
    with database.read() as session:
        [found] = coverage(session, NO)
    return {gap.day: gap.reason.value for gap in found.missing}


def amounts(database: Database) -> list[int]:
    """The amounts of the entries that count."""
    with database.read() as session:
        return sorted(entry.amount.minor_units for entry in entries(session, NO))


def one(database: Database, sql: str) -> tuple[Any, ...]:
    """The only row of a query."""
    with database.read() as session:
        return tuple(session.execute(text(sql)).one())


def correct_monday(database: Database) -> FileOutcome:
    """Monday, first +50 -20, then by the same source +50 -50."""
    load(database, statement_of(MON, 100, 50, -20))
    return load(database, statement_of(MON, 100, 50, -50, texts=("entry 0", "fee")))


def test_the_source_that_stated_a_day_corrects_it(district: Database) -> None:
    load(district, statement_of(MON, 100, 50, -20))
    before = position(district)[1]
    outcome = load(district, statement_of(MON, 100, 50, -50, texts=("entry 0", "fee")))
    assert (outcome.result, outcome.statements, outcome.corrected) == (FileResult.LOADED, 1, 1)
    assert amounts(district) == [-50, 50]
    assert closing(district) == 100
    found, version = position(district)
    assert version > before
    assert (found.months["2026-11"].credits_fen, found.months["2026-11"].debits_fen) == (50, 50)
    [correction] = found.corrections
    assert (correction.on, correction.number, correction.source) == (MON, 1, "folder:a")
    assert (correction.closing_before_fen, correction.closing_after_fen) == (130, 100)
    assert (correction.added, correction.added_credits_fen, correction.added_debits_fen) == (1, 0, 50)
    assert (correction.removed, correction.removed_credits_fen, correction.removed_debits_fen) == (1, 0, 20)
    assert correction.reopened is None


def test_what_was_said_before_stays_with_the_time_until_which_it_held(district: Database) -> None:
    correct_monday(district)
    assert one(district, "SELECT count(*) FROM statements WHERE superseded_at IS NOT NULL") == (1,)
    assert one(district, "SELECT count(*) FROM entries") == (3,)
    assert one(district, "SELECT amount_fen FROM entries WHERE superseded_at IS NOT NULL") == (-20,)
    by = one(district, "SELECT superseded_by FROM statements WHERE superseded_at IS NOT NULL")
    assert by == one(district, "SELECT statement_id FROM statements WHERE superseded_at IS NULL")
    with district.read() as session:
        assert sorted(reading.amount.minor_units for reading in readings(session, NO)) == [100, 130]


def test_a_correction_is_sealed_in_the_chain_in_its_sources_name(district: Database) -> None:
    correct_monday(district)
    with district.read() as session:
        [record] = [record for record in audit.records(session) if record.kind == AUDIT_KIND]
        assert audit.verify(session).whole
    assert record.actor == "source:folder:a"
    [day] = record.payload["days"]
    assert (day["day"], day["closing_before_fen"], day["closing_after_fen"]) == ("2026-11-09", 130, 100)


def test_another_source_that_contradicts_is_refused_and_both_are_named(district: Database) -> None:
    load(district, statement_of(MON, 100, 50))
    before = position(district)
    outcome = load(district, statement_of(MON, 100, 60), source="cli")
    assert reasons(outcome) == [RefusalReason.CONTRADICTS]
    assert outcome.refusals[0].detail == (
        "cli says 1.60 CNY for the closing of 2026-11-09, a statement of folder:a taken before says 1.50 CNY"
    )
    assert position(district) == before


def test_a_file_that_contradicts_itself_is_no_correction(district: Database) -> None:
    outcome = load(district, statement_of(MON, 100, 50), statement_of(MON, 100, 60))
    assert reasons(outcome) == [RefusalReason.CONTRADICTS]
    assert "received with it" in outcome.refusals[0].detail


def test_a_correction_that_does_not_join_the_day_before_is_refused(district: Database) -> None:
    load(district, statement_of(MON, 100, 50))
    load(district, statement_of(TUE, 150, 50))
    assert reasons(load(district, statement_of(TUE, 140, 50))) == [RefusalReason.DOES_NOT_CHAIN]
    assert closing(district) == 200


def test_a_statement_whose_opening_is_only_reckoned_corrects_a_day_only_if_it_joins_the_day_before(
    district: Database,
) -> None:
    def reckoned(day: date, opening: int, *amounts: int) -> Statement:
        return replace(statement_of(day, opening, *amounts), opening_derived=True)

    load(district, statement_of(MON, 100, 50))
    assert reasons(load(district, reckoned(MON, 90, 60))) == [RefusalReason.CONTRADICTS]
    load(district, statement_of(TUE, 150, 50))
    assert reasons(load(district, reckoned(TUE, 140, 60))) == [RefusalReason.DOES_NOT_CHAIN]
    assert load(district, reckoned(TUE, 150, 60)).corrected == 1


def test_the_same_bytes_and_the_same_figures_again_have_no_effect(district: Database) -> None:
    correct_monday(district)
    before = position(district)
    assert load(district, statement_of(MON, 100, 50, -50, texts=("entry 0", "fee"))).result is FileResult.ALREADY_LOADED
    again = load(district, statement_of(MON, 100, 50, -50, texts=("other", "words")), content=b"camt")
    assert (again.statements, again.corrected, again.superseded) == (0, 0, 0)
    assert position(district) == before


def test_an_old_version_that_comes_again_does_not_flip_the_day_back(district: Database) -> None:
    correct_monday(district)
    before = position(district)
    again = load(district, statement_of(MON, 100, 50, -20), content=b"the bank sends it once more")
    assert (again.result, again.statements, again.corrected, again.superseded) == (FileResult.LOADED, 0, 0, 1)
    assert position(district) == before
    assert (closing(district), amounts(district)) == (100, [-50, 50])


def test_a_file_refused_before_the_correction_came_does_not_undo_it_later(district: Database) -> None:
    load(district, statement_of(MON, 100, 0))
    early = statement_of(TUE, 110, 50)
    assert reasons(load(district, early)) == [RefusalReason.DOES_NOT_CHAIN]
    later = NOW + HOUR
    with district.write() as session:
        assert record_statements(
            session, [statement_of(TUE, 100, 70)], source="folder:a", raw_sha256="ab" * 32, now=later
        ) == []
        assert record_statements(
            session, [statement_of(MON, 100, 10)], source="folder:a", raw_sha256="cd" * 32, now=later
        ) == []
        assert record_statements(
            session, [statement_of(TUE, 110, 60)], source="folder:a", raw_sha256="ef" * 32, now=later
        ) == []
    assert reasons(load(district, early)) == [RefusalReason.CONTRADICTS]
    assert closing(district) == 170


def test_entries_may_change_while_the_balances_stand(district: Database) -> None:
    load(district, statement_of(MON, 100, 60, 40))
    assert load(district, statement_of(MON, 100, 70, 30)).corrected == 1
    [correction] = position(district)[0].corrections
    assert correction.closing_before_fen == correction.closing_after_fen == 200
    assert (correction.removed, correction.added) == (2, 2)
    assert amounts(district) == [30, 70]
    assert gaps(district) == {}


def test_a_day_from_which_everything_was_taken_back_leaves_a_month_of_nothing(district: Database) -> None:
    load(district, statement_of(MON, 100, 60, -20))
    assert load(district, statement_of(MON, 100)).corrected == 1
    found, _ = position(district)
    assert (found.months["2026-11"].credits_fen, found.months["2026-11"].debits_fen) == (0, 0)
    assert amounts(district) == []
    assert one(district, "SELECT credits_fen, debits_fen, largest_debit_fen FROM account_days") == (0, 0, 0)


def test_an_entry_that_was_taken_back_may_come_again(district: Database) -> None:
    load(district, statement_of(MON, 100, 60, number="1"))
    load(district, statement_of(MON, 100, 70, number="2"))
    assert load(district, statement_of(MON, 100, 60, number="3")).corrected == 1
    assert (closing(district), amounts(district)) == (160, [60])
    with district.read() as session:
        [found] = corrections(session).values()
    assert [correction.number for correction in found] == [1, 2]
    assert load(district, statement_of(MON, 100, 70, number="4")).corrected == 1
    assert (closing(district), amounts(district)) == (170, [70])


def test_the_correction_of_an_old_day_does_not_displace_a_newer_closing(district: Database) -> None:
    load(district, statement_of(MON, 100, 50))
    load(district, statement_of(WED, 150, 50))
    load(district, statement_of(MON, 100, 40))
    found, _ = position(district)
    assert (found.closing.on, closing(district)) == (WED, 200)  # type: ignore[union-attr]
    with district.read() as session:
        assert [reading.amount.minor_units for reading in readings(session, NO) if reading.on == MON] == [150, 140] or [
            reading.amount.minor_units for reading in readings(session, NO) if reading.on == MON
        ] == [140, 150]


def test_the_next_day_is_reopened_and_the_correction_cascades_as_it_comes(district: Database) -> None:
    for day, opening in ((MON, 100), (TUE, 150), (WED, 200), (THU, 250)):
        load(district, statement_of(day, opening, 50))
    load(district, statement_of(MON, 100, 40))
    found, _ = position(district)
    assert found.corrections[0].reopened == TUE
    assert gaps(district) == {TUE: "reopened"}
    assert (found.gaps, found.entries_to) == ((TUE,), THU)
    assert found.months["2026-11"].credits_fen == 190, "what is booked on a re-opened day still counts"
    load(district, statement_of(TUE, 140, 50))
    assert gaps(district) == {WED: "reopened"}
    load(district, statement_of(WED, 190, 50))
    assert gaps(district) == {THU: "reopened"}
    load(district, statement_of(THU, 240, 50))
    assert gaps(district) == {}
    assert closing(district) == 290
    assert position(district)[0].months["2026-11"].credits_fen == 190
    assert len(position(district)[0].corrections) == 4
    assert one(district, "SELECT count(*) FROM entries WHERE superseded_at IS NOT NULL") == (1,)


def test_a_batch_that_brings_the_whole_chain_leaves_nothing_open(district: Database) -> None:
    for day, opening in ((MON, 100), (TUE, 150), (WED, 200)):
        load(district, statement_of(day, opening, 50))
    outcome = load(
        district, statement_of(WED, 190, 50), statement_of(TUE, 140, 50), statement_of(MON, 100, 40), content=b"all"
    )
    assert (outcome.result, outcome.corrected) == (FileResult.LOADED, 3)
    assert gaps(district) == {}
    assert closing(district) == 240


def test_one_wide_statement_corrects_the_days_of_several(district: Database) -> None:
    for day, opening in ((MON, 100), (TUE, 150), (WED, 200)):
        load(district, statement_of(day, opening, 50))
    wide = statement_of(MON, 100, 40, to=WED)
    assert load(district, wide).corrected == 3
    assert (closing(district), amounts(district), gaps(district)) == (140, [40], {})
    assert one(district, "SELECT count(*) FROM statements WHERE superseded_at IS NULL") == (1,)


def test_a_reopened_day_that_is_confirmed_is_covered_again(district: Database) -> None:
    """After a quiet weekend the bank may stand by its Monday: then something was booked in between."""
    load(district, statement_of(FRI, 100, 50))
    monday = statement_of(NEXT_MON, 150, 50)
    load(district, monday)
    load(district, statement_of(FRI, 100, 40))
    assert gaps(district) == {NEXT_MON: "reopened"}
    again = load(district, monday, content=b"as it was")
    assert (again.result, again.statements, again.corrected) == (FileResult.LOADED, 1, 0)
    assert gaps(district) == {SAT: "unexplained", SAT + timedelta(days=1): "unexplained"}
    load(district, statement_of(FRI, 100, 50, texts=("as it was first",)))
    assert gaps(district) == {}


def test_a_reopened_day_may_be_filled_by_another_source(district: Database) -> None:
    load(district, statement_of(MON, 100, 50))
    load(district, statement_of(TUE, 150, 50))
    load(district, statement_of(MON, 100, 40))
    assert load(district, statement_of(TUE, 140, 30), source="cli").corrected == 1
    assert (gaps(district), amounts(district), closing(district)) == ({}, [30, 40], 170)
    assert one(district, "SELECT source_before, source FROM statement_corrections WHERE day = '2026-11-10'") == (
        "folder:a", "cli"
    )


def test_a_notice_of_a_reopened_day_counts_nothing_twice(district: Database) -> None:
    load(district, statement_of(TUE, 150, 50, texts=("notice",), kind=StatementKind.NOTICE))
    load(district, statement_of(MON, 100, 50))
    load(district, statement_of(TUE, 150, 50, texts=("final",)))
    load(district, statement_of(MON, 100, 40))
    load(district, statement_of(TUE, 150, 50, texts=("again",), kind=StatementKind.NOTICE))
    assert amounts(district) == [40, 50]
    assert position(district)[0].months["2026-11"].credits_fen == 90


def test_each_day_says_how_it_is_covered(district: Database) -> None:
    load(district, statement_of(MON, 100, 50))
    load(district, statement_of(TUE, 150, 50))
    load(district, statement_of(FRI, 200, 50))
    load(district, statement_of(MON, 100, 40))
    refresh(district, NEXT_MON)
    with district.read() as session:
        found = days(session, NO, MON - timedelta(days=1), NEXT_MON + timedelta(days=1))
        [row] = coverage(session, NO)
    assert [state for _, state in found] == [
        DayState.NOT_DUE, DayState.COVERED, DayState.REOPENED, DayState.MISSING, DayState.MISSING, DayState.COVERED,
        DayState.NOT_WORKING, DayState.NOT_WORKING, DayState.MISSING, DayState.NOT_DUE,
    ]
    assert row.reopened == (TUE,)
    assert [gap.reason for gap in row.missing] == [
        GapReason.WORKING_DAY, GapReason.WORKING_DAY, GapReason.WORKING_DAY, GapReason.REOPENED
    ]


def test_a_large_debit_heard_of_late_reaches_the_rules_however_old_its_day(district: Database) -> None:
    """Registered on the 20th: what was long before is history, what is recorded late of later days is news."""
    from escrow_monitor.records.positions import positions_due

    load(district, statement_of(date(2026, 10, 1), 1000_00, -900_00))

    def heard(now: datetime) -> list[date]:
        with district.read() as session:
            [[due]] = positions_due(
                session, now=now, policy_version="1", days_from=now.date() - timedelta(days=7),
                large_debit_fen_min=500_00, account_nos=[NO], everything=True,
            )
        return [flow.on for flow in due.position.days]

    assert heard(NOW) == []
    later, day = NOW + timedelta(days=40), date(2026, 11, 24)
    with district.write() as session:
        assert record_statements(
            session, [statement_of(day, 1000_00, -900_00)], source="s", raw_sha256="ab" * 32, now=later
        ) == []
    assert heard(later + HOUR) == [day]
    with district.write() as session:
        assert record_statements(
            session, [statement_of(day, 1000_00, -1_00)], source="s", raw_sha256="cd" * 32, now=later + HOUR
        ) == []
    assert heard(later + HOUR) == [day], "corrected to next to nothing: it is looked at, so that its alert can end"
    assert heard(later + timedelta(days=9)) == []


# Whatever comes in whatever order, each covered day adds up, and the last word on every day holds.

_DAYS = [MON + timedelta(days=n) for n in range(5)]
_FLOWS = st.lists(st.integers(-300, 300).filter(bool), max_size=3)
_WORLD = st.lists(st.lists(_FLOWS, min_size=1, max_size=3), min_size=2, max_size=len(_DAYS))
"""For each day its versions, the last of which holds."""


def chained(world: list[list[int]], first: int = 0, to: int | None = None, *, mark: str = "") -> list[Statement]:
    """Statements of single days that chain from 1000, the flows of each day given."""
    found, balance = [], 1_000
    for place, flows in enumerate(world):
        if first <= place <= (len(world) if to is None else to):
            found.append(statement_of(
                _DAYS[place], balance, *flows, number=mark, texts=tuple(f"{mark}{n}" for n in range(len(flows)))
            ))
        balance += sum(flows)
    return found


def wide(statements: list[Statement]) -> Statement:
    """The same days in one statement."""
    first, last = statements[0], statements[-1]
    return Statement(**{
        **{name: getattr(first, name) for name in first.__slots__},
        "closing": last.closing, "closing_on": last.closing_on, "covers_to": last.covers_to,
        "entries": tuple(entry for each in statements for entry in each.entries),
    })


def take(session: Session, statement: Statement) -> bool:
    """Record one statement; whether it fits."""
    return not record_statements(session, [statement], source="s", raw_sha256="ab", now=NOW)


def check_adds_up(session: Session) -> None:
    """For each covered day: opening + counted entries = closing; months and days are the sums of counted entries."""
    for day, opening, moved, closing in session.execute(text(
        "SELECT d.day, d.opening_fen, coalesce(sum(e.amount_fen), 0), d.closing_fen FROM account_days d"
        " LEFT JOIN entries e ON e.account_no = d.account_no AND coalesce(e.accounted_on, e.booked_on) = d.day"
        " AND e.superseded_at IS NULL AND e.final WHERE d.covered GROUP BY d.day, d.opening_fen, d.closing_fen"
    )):
        assert opening + moved == closing, day
    counted = "coalesce(sum(CASE WHEN amount_fen > 0 THEN amount_fen END), 0)," \
              " coalesce(-sum(CASE WHEN amount_fen < 0 THEN amount_fen END), 0)"
    [booked] = session.execute(text(f"SELECT {counted} FROM entries WHERE superseded_at IS NULL"))
    for table in ("account_days", "account_months"):
        [sums] = session.execute(text(
            f"SELECT coalesce(sum(credits_fen), 0), coalesce(sum(debits_fen), 0) FROM {table}"
        ))
        assert tuple(sums) == tuple(booked), table
    in_doubt = session.execute(text(
        "SELECT count(*) FROM account_days d WHERE d.reopened_at IS NOT NULL AND (d.covered OR NOT EXISTS"
        " (SELECT 1 FROM coverage_gaps g WHERE g.account_no = d.account_no AND g.day = d.day AND g.filled_at IS NULL))"
    )).scalar()
    assert in_doubt == 0, "a re-opened day is an open gap"
    unchained = session.execute(text(
        "SELECT count(*) FROM account_days a JOIN account_days b ON b.account_no = a.account_no"
        f" AND {'date(a.day, :one)' if session.get_bind().dialect.name == 'sqlite' else 'a.day + 1'} = b.day"
        " WHERE a.covered AND b.covered AND a.closing_fen <> b.opening_fen"
    ), {"one": "+1 day"}).scalar()
    assert unchained == 0, "two covered days side by side join"


def state_of(session: Session) -> dict[str, object]:
    """What an account comes to: covered days, counted entries, months, newest balances, open gaps."""
    asked = {
        "days": "SELECT day, covered, opening_fen, closing_fen, credits_fen, debits_fen, largest_debit_fen"
                " FROM account_days WHERE covered ORDER BY day",
        "entries": "SELECT booked_on, amount_fen FROM entries WHERE superseded_at IS NULL AND final"
                   " ORDER BY booked_on, amount_fen",
        "months": "SELECT month, credits_fen, debits_fen FROM account_months WHERE credits_fen + debits_fen > 0",
        "state": "SELECT closing_fen, booked_fen, closing_day, covered_from, covered_to FROM account_states"
                 " WHERE account_no = '62170000'",
        "gaps": "SELECT day FROM coverage_gaps WHERE filled_at IS NULL ORDER BY day",
    }
    return {name: [tuple(row) for row in session.execute(text(sql))] for name, sql in asked.items()}


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=_WORLD, seed=st.integers(0, 2**32))
def test_whatever_comes_in_whatever_order_every_covered_day_adds_up_and_the_last_word_holds(
    district: Database, world: list[list[list[int]]], seed: int
) -> None:
    rolls = chance.Random(seed)
    newest = [versions[-1] for versions in world]
    depth = max(len(versions) for versions in world)
    deliveries: list[Statement] = []
    for version in range(depth):
        flows = [versions[min(version, len(versions) - 1)] for versions in world]
        known = chained(flows, mark="" if version == depth - 1 else f"v{version}")
        if rolls.random() < 0.3:
            first = rolls.randrange(len(known))
            known.append(wide(known[first : rolls.randrange(first, len(known)) + 1]))
        known += rolls.sample(known, min(2, len(known)))
        rolls.shuffle(known)
        deliveries += known
    with pytest.raises(ZeroDivisionError), district.write() as session:  # noqa: PT012 - the block is the transaction
        for statement in deliveries:
            take(session, statement)
            check_adds_up(session)
        # A bank sends what we still lack, or refused, until all of it fits: oldest first, as gaps are fetched.
        for statement in chained(newest):
            assert take(session, statement)
            check_adds_up(session)
        found = state_of(session)
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), district.write() as session:  # noqa: PT012
        for statement in chained(newest):
            assert take(session, statement)
        assert found == state_of(session)
        raise ZeroDivisionError


def test_an_entry_dated_before_its_statement_is_corrected_with_the_day_it_was_accounted_on(district: Database) -> None:
    def tuesday(*amounts: int) -> Statement:
        """A statement of Tuesday whose entries are dated Monday."""
        dated = statement_of(MON, 150, *amounts)
        return Statement(**{
            **{name: getattr(dated, name) for name in dated.__slots__}, "opening_on": TUE, "closing_on": TUE,
            "covers_from": TUE, "covers_to": TUE,
        })

    load(district, statement_of(MON, 100, 50))
    load(district, tuesday(50))
    assert amounts(district) == [50, 50], "the same words in two statements are two entries"
    assert load(district, tuesday(70)).corrected == 1
    assert (amounts(district), closing(district)) == ([50, 70], 220)
    with district.read() as session:
        check_adds_up(session)


def test_a_statement_of_another_currency_or_sum_is_still_refused(district: Database) -> None:
    load(district, statement_of(MON, 100, 50))
    before = position(district)
    assert reasons(load(district, statement_of(MON, 100, 60, closing=170))) == [RefusalReason.DOES_NOT_TIE]
    assert reasons(load(district, statement_of(MON, 100, 60, currency="USD"))) == [RefusalReason.WRONG_CURRENCY]
    assert position(district) == before
    assert before[0].closing.amount == Money(150, "CNY")  # type: ignore[union-attr]
