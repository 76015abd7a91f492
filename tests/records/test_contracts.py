"""Contracts, what was paid and taught under them, and what they come to: change by change, and all anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session

from escrow_monitor.domain.clauses import DeemedFrom, FullLiability, PeriodFees, Schedule
from escrow_monitor.domain.contract_law import ContractLaw, SilenceClock
from escrow_monitor.domain.contracts import (
    Charge,
    Contract,
    DeadlineUnit,
    GiftPolicy,
    Lesson,
    LessonStatus,
    Refund,
    SubjectKind,
)
from escrow_monitor.domain.entitlement import ContractAccount, Impossible, Ledger, account_of
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import MINOR_UNITS_MAX, Money
from escrow_monitor.domain.obligation import charges_by_month, contribution, obligation, period_fees, scheduled
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.bulk import fetch, run
from escrow_monitor.records.contracts import charges, contracts, lessons, refunds
from escrow_monitor.records.contracts import laws as contract_laws
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.database import Database

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
TODAY = date(2026, 11, 20)
SCHOOLS = ("91110000600037341L", "9144030071526726XG", "914403001922038216")
SIGNED = date(2026, 3, 1)
CONTRACT = Contract(
    contract_no="HT-1", uscc=SCHOOLS[0], student_ref="S-1", course="钢琴", fee=Money(4800_00, "CNY"), lessons_paid=48,
    signed_on=SIGNED,
)


FORMULAS = (
    (PeriodFees(months=1), period_fees), (PeriodFees(months=3), period_fees),
    (Schedule(parts=(30, 30, 40)), scheduled), (Schedule(parts=(1,)), scheduled),
)


LAW = ContractLaw(terms=frozenset(terms for terms, _ in FORMULAS))


def charge(number: str, fen: int, day: date = SIGNED, contract_no: str = "HT-1", currency: str = "CNY") -> Charge:
    return Charge(charge_no=number, contract_no=contract_no, paid_on=day, amount=Money(fen, currency))


def lesson(
    number: int, status: LessonStatus = LessonStatus.CONFIRMED, taught: date | None = SIGNED,
    decided: date | None = SIGNED, requested: date | None = None, contract_no: str = "HT-1",
) -> Lesson:
    return Lesson(
        contract_no=contract_no, session_no=number, status=status, taught_on=taught, decided_on=decided,
        requested_on=requested,
    )


@pytest.fixture
def schools(database: Database) -> Database:
    with database.write() as session:
        save_institutions(session, [Institution(uscc=code, name=code) for code in SCHOOLS], now=NOW)
    return database


@dataclass
class Book:
    """Everything that is to be recorded, and that the database has been told."""

    contracts: dict[str, Contract] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    lessons: dict[tuple[str, int], Lesson] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)

    def ledgers(self) -> list[Ledger]:
        return [
            Ledger(
                contract=one,
                charges=tuple(each for each in self.charges.values() if each.contract_no == number),
                lessons=tuple(each for each in self.lessons.values() if each.contract_no == number),
                refunds=tuple(each for each in self.refunds.values() if each.contract_no == number),
            )
            for number, one in self.contracts.items()
        ]


# What is kept


def test_a_contract_is_read_back_as_it_was_given(schools: Database) -> None:
    whole = replace(
        CONTRACT, contract_no="HT-2", materials_fee=Money(1, "CNY"), subject_kind=SubjectKind.NON_SUBJECT,
        starts_on=SIGNED, ends_on=TODAY, lessons_gift=3, gift_policy=GiftPolicy.BLENDED, materials_delivered=False,
        full_refund_days_before=3, full_refund_days_after=0, full_refund_lessons=2, prior_same_service=True,
        refund_deadline_days=15, refund_deadline_unit=DeadlineUnit.WORKING, late_daily_rate=Fraction(1, 2000),
        penalty_pct_remaining=Fraction(61, 3), template_id="GF-2021-2604", status="履行中",
    )
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        assert contracts.save_contracts(session, [CONTRACT, whole], now=NOW) == 2
    with schools.read() as session:
        assert contracts.contracts(session) == [CONTRACT, whole]
        assert contracts.contract(session, "HT-2") == whole
        assert contracts.contract(session, "HT-3") is None
        assert contracts.contracts(session, uscc=SCHOOLS[1]) == []
        assert contracts.contracts(session, limit=1) == [CONTRACT]
        assert run(session, "SELECT late_daily_rate FROM contracts WHERE contract_no = 'HT-2'").scalar() == "0.0005"


def test_charges_lessons_and_refunds_are_read_back_and_the_same_twice_changes_nothing(schools: Database) -> None:
    paid, taught = [charge("JF-1", 4800_00), charge("JF-2", 1)], [lesson(2), lesson(1, decided=None)]
    gone = {"M-1": Refund(contract_no="HT-1", paid_on=TODAY, amount=Money(1, "CNY"), claim_no="TF-1")}
    for expected in (1, 2, 2, 1), (0, 0, 0, 0):
        with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
            assert (
                contracts.save_contracts(session, [CONTRACT], now=NOW), charges.save_charges(session, paid, now=NOW),
                lessons.save_lessons(session, taught, now=NOW), refunds.save_refunds(session, gone, now=NOW),
            ) == expected
    with schools.read() as session:
        assert charges.charges(session, ["HT-1"]) == paid
        assert lessons.lessons(session, ["HT-1"]) == taught[::-1]
        assert refunds.refunds(session, ["HT-1"]) == list(gone.values())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (charge("JF-1", 1, contract_no="HT-9"), "HT-9: no such contract"),
        (charge("JF-1", 1, SIGNED - timedelta(days=1)), "paid before the contract was signed on 2026-03-01"),
        (charge("JF-1", 1, currency="USD"), "two currencies"),
        (replace(charge("JF-1", 1), account_no="6222"), "no such account"),
        (lesson(1, contract_no="HT-9"), "HT-9: no such contract"),
        (lesson(1, taught=SIGNED - timedelta(days=1)), "taught before the contract was signed on 2026-03-01"),
        (replace(CONTRACT, contract_no="HT-2", uscc="914403001922038217"), "no such institution"),
        (replace(CONTRACT, fee=Money(1, "USD")), "recorded in CNY"),
        (replace(CONTRACT, signed_on=SIGNED + timedelta(days=1)), "a charge under this contract was paid on"),
    ],
)
def test_what_does_not_fit_what_is_recorded_is_refused(
    schools: Database, row: Contract | Charge | Lesson, words: str
) -> None:
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [CONTRACT], now=NOW)
        charges.save_charges(session, [charge("JF-0", 1)], now=NOW)
    with (
        pytest.raises(UsageError, match=words), schools.write() as session,
        contract_sums.kept_up(session, on=TODAY),
    ):
        save_one(session, row)


def test_a_refund_under_an_unknown_contract_or_in_another_currency_is_refused(schools: Database) -> None:
    refund = Refund(contract_no="HT-1", paid_on=TODAY, amount=Money(1, "CNY"))
    for changed, words in ((refund, "no contract HT-1"), (replace(refund, amount=Money(1, "USD")), "in USD")):
        with (
            pytest.raises(UsageError, match=words), schools.write() as session,
            contract_sums.kept_up(session, on=TODAY),
        ):
            refunds.save_refunds(session, {"M-1": changed}, now=NOW)
        with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
            contracts.save_contracts(session, [CONTRACT], now=NOW)


def save_one(session: Session, row: Contract | Charge | Lesson) -> None:
    match row:
        case Contract():
            contracts.save_contracts(session, [row], now=NOW)
        case Charge():
            charges.save_charges(session, [row], now=NOW)
        case Lesson():
            lessons.save_lessons(session, [row], now=NOW)


def test_an_amount_finer_than_its_contracts_currency_is_refused(schools: Database) -> None:
    rows = [
        (7, "JF-1", "HT-1", TODAY, None, None, None, None, None, 12_345),
        (8, "JF-2", "HT-1", TODAY, None, None, None, None, None, 12_340),
    ]
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [CONTRACT], now=NOW)
        arrived = charges.record_charges(session, rows, now=NOW)
    assert [(one.line, one.column, one.value) for one in arrived.faults] == [(7, "amount", "12.345")]
    with schools.read() as session:
        assert charges.charges(session, ["HT-1"]) == [charge("JF-2", 1234, TODAY)]


@pytest.mark.parametrize(("currency", "units"), [("JPY", 12), ("KWD", 12_345), ("CNY", 1234)])
def test_an_amount_is_of_its_contracts_currency(schools: Database, currency: str, units: int) -> None:
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [replace(CONTRACT, fee=Money(100, currency))], now=NOW)
        charges.save_charges(session, [charge("JF-1", units, currency=currency)], now=NOW)
    with schools.read() as session:
        assert charges.charges(session, ["HT-1"])[0].amount == Money(units, currency)
        assert list(contract_sums.obligations(session, SCHOOLS)) == [(SCHOOLS[0], currency)]


# Sums


def test_the_sums_of_a_contract_follow_what_happens(schools: Database) -> None:
    def owed() -> tuple[int, int, int]:
        with schools.read() as session:
            sums = contract_sums.contract_sums(session)["HT-1"]
            facts = contract_sums.obligations(session, SCHOOLS)[SCHOOLS[0], "CNY"]
        assert sums.obligation is not None
        assert facts.full_liability == sums.obligation.minor_units
        return sums.paid.minor_units, sums.entitled.minor_units, sums.obligation.minor_units

    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [CONTRACT], now=NOW)
    assert owed() == (0, 0, 0)
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        charges.save_charges(session, [charge("JF-1", 4800_00)], now=NOW)
        lessons.save_lessons(session, [lesson(number) for number in range(1, 14)], now=NOW)
    assert owed() == (4800_00, 1300_00, 3500_00)
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        lessons.save_lessons(session, [lesson(13, LessonStatus.DISPUTED)], now=NOW)
        refunds.save_refunds(session, {
            "M-1": Refund(contract_no="HT-1", paid_on=TODAY, amount=Money(500_00, "CNY"))
        }, now=NOW)
    assert owed() == (4800_00, 1200_00, 3100_00)
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        assert refunds.remove_refunds(session, ["M-1", "M-2"]) == 1
    assert owed() == (4800_00, 1200_00, 3600_00)


def test_what_is_recorded_ahead_counts_when_its_day_comes(schools: Database) -> None:
    tomorrow, later = TODAY + timedelta(days=1), TODAY + timedelta(days=9)
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [CONTRACT], now=NOW)
        charges.save_charges(session, [charge("JF-1", 100_00), charge("JF-2", 50_00, later)], now=NOW)
        lessons.save_lessons(session, [lesson(1, taught=tomorrow, decided=later)], now=NOW)
    for day, expected in ((TODAY, 100_00), (tomorrow, 100_00), (later, 50_00), (TODAY, 50_00)):
        with schools.write() as session:
            contract_sums.bring_to(session, day)
        with schools.read() as session:
            facts = contract_sums.obligations(session, [SCHOOLS[0]])[SCHOOLS[0], "CNY"]
        assert facts.full_liability == expected
        assert facts.on == max(day, facts.on)
    assert facts.charges == {"2026-03": 100_00, "2026-11": 50_00}


def test_a_contract_that_moves_takes_its_sums_along(schools: Database) -> None:
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [CONTRACT], now=NOW)
        charges.save_charges(session, [charge("JF-1", 100)], now=NOW)
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [replace(CONTRACT, uscc=SCHOOLS[1])], now=NOW)
    with schools.read() as session:
        found = contract_sums.obligations(session, SCHOOLS)
    assert {key: (one.full_liability, one.charges) for key, one in found.items()} == {
        (SCHOOLS[1], "CNY"): (100, {"2026-03": 100})
    }


def test_a_ledger_that_cannot_be_right_is_counted_and_in_no_sum(schools: Database) -> None:
    second = replace(CONTRACT, contract_no="HT-2")
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [CONTRACT, second], now=NOW)
        charges.save_charges(session, [charge("JF-1", 100, TODAY), charge("JF-2", 70, contract_no="HT-2")], now=NOW)
        # It went back the day before it was paid.
        refunds.save_refunds(session, {
            "M-1": Refund(contract_no="HT-1", paid_on=TODAY - timedelta(days=1), amount=Money(100, "CNY"))
        }, now=NOW)
    with schools.read() as session:
        facts = contract_sums.obligations(session, SCHOOLS)[SCHOOLS[0], "CNY"]
        sums = contract_sums.contract_sums(session, uscc=SCHOOLS[0])
    assert (facts.full_liability, facts.complete) == (70, False)
    assert {number: one.obligation for number, one in sums.items()} == {"HT-1": None, "HT-2": Money(70, "CNY")}


def test_an_institution_without_a_contract_owes_nobody_knows_what(schools: Database) -> None:
    with schools.read() as session:
        assert contract_sums.obligations(session, SCHOOLS) == {}
        assert contract_sums.contract_sums(session) == {}
        assert contract_sums.day_of_sums(session) is None
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        pass
    with schools.read() as session:
        assert contract_sums.obligations(session, SCHOOLS) == {}


def test_silence_is_consent_from_its_day_on(schools: Database) -> None:
    """Fifteen working days after Monday 2 November 2026 end on Monday 23 November."""
    asked, consent = date(2026, 11, 2), date(2026, 11, 24)
    with schools.write() as session, contract_sums.kept_up(session, on=asked):
        contracts.save_contracts(session, [CONTRACT, replace(CONTRACT, contract_no="HT-2", uscc=SCHOOLS[1])], now=NOW)
        for number in ("HT-1", "HT-2"):
            charges.save_charges(session, [charge(f"JF-{number}", 4800_00, contract_no=number)], now=NOW)
            lessons.save_lessons(session, [
                lesson(1, LessonStatus.REQUESTED, asked, None, asked, contract_no=number),
                lesson(2, LessonStatus.DEEMED, asked, None, asked, contract_no=number),
                lesson(3, contract_no=number),
            ], now=NOW)
        contract_laws.set_laws(session, {SCHOOLS[0]: ContractLaw(silence=SILENCE)}, version="1")
    for day, confirmed in ((asked, 1), (consent - timedelta(days=1), 1), (consent, 3)):
        with schools.write() as session:
            contract_sums.bring_to(session, day)
        with schools.read() as session:
            sums = contract_sums.contract_sums(session)
        assert sums["HT-1"].taught.confirmed == confirmed
        assert sums["HT-2"].taught[:1] + sums["HT-2"].taught[2:] == (1, 1, 1)


def test_a_lesson_that_comes_later_or_a_law_that_changes_finds_its_silence(schools: Database) -> None:
    asked = date(2026, 11, 2)

    def confirmed(law: SilenceClock | None, version: str) -> int:
        with schools.write() as session, contract_sums.kept_up(session, on=date(2026, 11, 24)):
            contract_laws.set_laws(session, {SCHOOLS[0]: ContractLaw(silence=law)}, version=version)
        with schools.write() as session:
            assert contract_sums.recompute(session, TODAY) == ()
        with schools.read() as session:
            return contract_sums.contract_sums(session)["HT-1"].taught.confirmed

    with schools.write() as session, contract_sums.kept_up(session, on=asked):
        contracts.save_contracts(session, [CONTRACT], now=NOW)
    assert confirmed(SILENCE, "1") == 0
    with schools.write() as session, contract_sums.kept_up(session, on=asked):
        lessons.save_lessons(session, [lesson(1, LessonStatus.REQUESTED, asked, None, asked)], now=NOW)
    with schools.read() as session:
        assert contract_sums.contract_sums(session)["HT-1"].taught.confirmed == 1
        assert contract_laws.lawless(session, version="2") != []
    assert confirmed(replace(SILENCE, deemed_from=DeemedFrom.NEXT_WORKING_DAY), "2") == 1
    assert confirmed(replace(SILENCE, working_days=16), "3") == 0
    # The calendar of the year in which it would end is not known.
    assert confirmed(replace(SILENCE, working_days=300), "4") == 0
    assert confirmed(SILENCE, "5") == 1
    assert confirmed(None, "6") == 0
    # A contract that moves to another institution goes by the law there.
    with schools.write() as session, contract_sums.kept_up(session, on=asked):
        contract_laws.set_laws(session, {SCHOOLS[1]: ContractLaw(silence=SILENCE)}, version="7")
        contracts.save_contracts(session, [replace(CONTRACT, uscc=SCHOOLS[1])], now=NOW)
    with schools.read() as session:
        assert contract_sums.contract_sums(session)["HT-1"].taught.confirmed == 1
        assert [one.uscc for one in contract_laws.lawless(session, version="7")] == [SCHOOLS[2]]
    # So does one whose institution is registered elsewhere.
    with schools.write() as session:
        save_institutions(session, [Institution(uscc=SCHOOLS[1], name="elsewhere", district="510302")], now=NOW)
    with schools.read() as session:
        assert {one.uscc for one in contract_laws.lawless(session, version="7")} == {SCHOOLS[1], SCHOOLS[2]}


SILENCE = SilenceClock(working_days=15, deemed_from=DeemedFrom.NEXT_DAY, calendar="CN", known_to=2026)


def test_every_way_a_lesson_can_be_recorded_counts_as_the_formulas_say(schools: Database) -> None:
    days = (None, TODAY - timedelta(days=2), TODAY, TODAY + timedelta(days=2))
    book = Book()
    for status in LessonStatus:
        for taught in days:
            for decided in days:
                number = f"HT-{len(book.contracts)}"
                book.contracts[number] = replace(CONTRACT, contract_no=number)
                book.charges[number] = charge(number, 4800_00, contract_no=number)
                book.lessons[number, 1] = lesson(1, status, taught, decided, taught, number)
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contract_laws.set_laws(session, dict.fromkeys(SCHOOLS, LAW), version="1")
        contracts.save_contracts(session, book.contracts.values(), now=NOW)
        charges.save_charges(session, book.charges.values(), now=NOW)
        lessons.save_lessons(session, book.lessons.values(), now=NOW)
    for day in (TODAY, TODAY + timedelta(days=1), TODAY + timedelta(days=2)):
        with schools.write() as session:
            contract_sums.bring_to(session, day)
        with schools.read() as session:
            check(session, book, day)


# The sums against the formulas, and change by change against all anew

fees = st.one_of(st.integers(0, 10_000_00), st.integers(MINOR_UNITS_MAX - 1000, MINOR_UNITS_MAX))
days = st.integers(0, 40).map(lambda offset: TODAY - timedelta(days=20) + timedelta(days=offset))


@given(
    rows=st.lists(
        st.tuples(
            fees, fees, st.integers(1, 100_000), st.integers(0, 100_000), st.sampled_from([None, *GiftPolicy]),
            st.integers(0, 12),
        ),
        min_size=1, max_size=20,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_sql_earns_is_what_the_formula_earns_up_to_the_largest_amount(
    schools: Database, rows: list[tuple[int, int, int, int, GiftPolicy | None, int]]
) -> None:
    """Lessons are told by their number alone, and moved between statuses, so that few rows serve many cases."""
    empty(schools)
    with schools.write() as session, contract_sums.kept_up(session, on=TODAY):
        contracts.save_contracts(session, [
            replace(
                CONTRACT, contract_no=f"HT-{place}", fee=Money(fee, "CNY"), lessons_paid=paid_lessons,
                lessons_gift=gifts, gift_policy=policy,
            )
            for place, (fee, _, paid_lessons, gifts, policy, _) in enumerate(rows)
        ], now=NOW)
        charges.save_charges(session, [
            charge(f"JF-{place}", paid, contract_no=f"HT-{place}") for place, (_, paid, *_) in enumerate(rows) if paid
        ], now=NOW)
        lessons.save_lessons(session, [
            lesson(number, contract_no=f"HT-{place}") for place, row in enumerate(rows)
            for number in range(1, row[5] + 1)
        ], now=NOW)
    with schools.read() as session:
        sums = contract_sums.contract_sums(session)
    for place, (fee, paid, paid_lessons, gifts, policy, taught) in enumerate(rows):
        assert sums[f"HT-{place}"].obligation == Money(contribution(
            fee=fee, paid=paid, lessons_paid=paid_lessons, lessons_gift=gifts, gift_policy=policy, confirmed=taught,
            refunded=0,
        ), "CNY")


contract_changes = st.builds(
    lambda number, school, fee, lessons_paid, gift, policy, starts, ends: replace(
        CONTRACT, contract_no=f"HT-{number}", uscc=SCHOOLS[school], fee=Money(fee, "CNY"), lessons_paid=lessons_paid,
        lessons_gift=gift, gift_policy=policy, starts_on=starts, ends_on=ends,
    ),
    st.integers(0, 4), st.integers(0, 2), st.integers(0, 900_00), st.integers(1, 7), st.integers(0, 3),
    st.sampled_from([None, *GiftPolicy]), st.none() | days.map(lambda day: day - timedelta(days=40)),
    st.none() | days.map(lambda day: day + timedelta(days=20)),
)
charge_changes = st.builds(
    lambda number, contract, fen, day: charge(f"JF-{number}", fen, day, f"HT-{contract}"),
    st.integers(0, 6), st.integers(0, 4), st.integers(1, 500_00), days,
)
lesson_changes = st.builds(
    lambda contract, number, status, taught, decided: lesson(
        number, status, taught, decided, taught, f"HT-{contract}"
    ),
    st.integers(0, 4), st.integers(1, 6), st.sampled_from(LessonStatus), st.none() | days, st.none() | days,
)
refund_changes = st.builds(
    lambda number, contract, fen, day: (
        f"M-{number}", Refund(contract_no=f"HT-{contract}", paid_on=day, amount=Money(fen, "CNY"))
    ),
    st.integers(0, 3), st.integers(0, 4), st.integers(1, 300_00), days,
)
steps = st.lists(
    st.one_of(
        st.lists(contract_changes, min_size=1, max_size=4, unique_by=lambda one: one.contract_no),
        st.lists(charge_changes, min_size=1, max_size=4, unique_by=lambda one: one.charge_no),
        st.lists(lesson_changes, min_size=1, max_size=6, unique_by=lambda one: (one.contract_no, one.session_no)),
        st.dictionaries(st.sampled_from(["M-0", "M-1", "M-2"]), refund_changes.map(lambda pair: pair[1]), min_size=1),
        st.sets(st.sampled_from(["M-0", "M-1", "M-2"]), min_size=1),
        st.integers(1, 12),
    ),
    min_size=1, max_size=10,
)


@given(first=st.lists(contract_changes, min_size=1, max_size=5, unique_by=lambda one: one.contract_no), steps=steps)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_kept_up_change_by_change_are_those_made_anew_and_those_of_the_ledgers(
    schools: Database, first: list[Contract], steps: list[object]
) -> None:
    replay(schools, first, steps)


@pytest.mark.slow
@given(first=st.lists(contract_changes, min_size=1, max_size=5, unique_by=lambda one: one.contract_no), steps=steps)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_over_many_more_histories(
    schools: Database, first: list[Contract], steps: list[object]
) -> None:
    replay(schools, first, steps)


def replay(schools: Database, first: list[Contract], steps: list[object]) -> None:
    """Tell a history step by step; after each, hold what was kept up against all anew and against the formulas."""
    empty(schools)
    book, today = Book(), TODAY - timedelta(days=10)
    for step in [first, *steps]:
        if isinstance(step, int):
            today += timedelta(days=step)
        with schools.write() as session, contract_sums.kept_up(session, on=today):
            if step is first:
                contract_laws.set_laws(session, dict.fromkeys(SCHOOLS, LAW), version="1")
            apply(book, step, session)
        with schools.read() as session:
            kept = everything(session)
            check(session, book, today)
        with schools.write() as session:
            assert contract_sums.recompute(session, today) == ()
        with schools.read() as session:
            assert everything(session) == kept


def apply(book: Book, step: object, session: Session) -> None:
    """Tell the book and the database one change, leaving out what has no contract."""
    match step:
        case [Contract(), *_]:
            book.contracts.update({one.contract_no: one for one in step})
            contracts.save_contracts(session, step, now=NOW)
        case [Charge(), *_]:
            fit = [one for one in step if one.contract_no in book.contracts]
            book.charges.update({one.charge_no: one for one in fit})
            charges.save_charges(session, fit, now=NOW)
        case [Lesson(), *_]:
            fitting = [one for one in step if one.contract_no in book.contracts]
            book.lessons.update({(one.contract_no, one.session_no): one for one in fitting})
            lessons.save_lessons(session, fitting, now=NOW)
        case dict():
            known = {number: one for number, one in step.items() if one.contract_no in book.contracts}
            book.refunds.update(known)
            refunds.save_refunds(session, known, now=NOW)
        case set():
            for number in step:
                book.refunds.pop(number, None)
            refunds.remove_refunds(session, sorted(step))


def check(session: Session, book: Book, today: date) -> None:
    """Hold every sum against the formulas over the whole ledgers."""
    sums = contract_sums.contract_sums(session)
    assert set(sums) == set(book.contracts)
    for ledger in book.ledgers():
        mine, expected = sums[ledger.contract.contract_no], account_of(ledger, today)
        match expected:
            case Impossible():
                assert mine.obligation is None
            case ContractAccount():
                assert mine.obligation == expected.held
                assert (mine.taught, mine.paid, mine.refunded, mine.entitled, mine.disputed) == (
                    expected.taught, expected.paid, expected.refunded, expected.entitled, expected.disputed
                )
    facts = contract_sums.obligations(session, SCHOOLS)
    for school in SCHOOLS:
        mine_all = [ledger for ledger in book.ledgers() if ledger.contract.uscc == school]
        if not mine_all:
            assert (school, "CNY") not in facts
            continue
        whole = obligation(mine_all, today)
        fact = facts[school, "CNY"]
        for terms, formula in FORMULAS:
            assert fact.by_terms[terms] == formula(mine_all, today, terms).amounts.get("CNY", 0)
        check_lately(session, mine_all, school, today)
        assert (fact.full_liability, fact.complete) == (whole.amounts.get("CNY", 0), whole.complete)
        assert fact.charges == charges_by_month(mine_all, today).get("CNY", {})


def check_lately(session: Session, ledgers: list[Ledger], school: str, today: date) -> None:
    """Of what is owed for each contract, what was paid after a day is at most what was paid after it."""
    found = contract_sums.paid_since(session, today - timedelta(days=10))
    paid = found.get((school, "CNY"), {}).get(FullLiability(), {})
    for day in (today - timedelta(days=back) for back in (10, 3, 1, 0)):
        expected = 0
        for ledger in ledgers:
            account = account_of(ledger, today)
            if isinstance(account, ContractAccount):
                later = sum(one.amount.minor_units for one in ledger.charges if day < one.paid_on <= today)
                expected += min(account.held.minor_units, later)
        assert sum(amount for paid_on, amount in paid.items() if paid_on > day) == expected


SUMS = (
    "contract_accounts", "contract_months", "contract_clauses", "institution_obligations", "institution_months",
    "institution_clauses",
)


def everything(session: Session) -> Mapping[str, list[tuple[object, ...]]]:
    return {
        table: sorted(fetch(session, f"SELECT * FROM {table}"), key=str)
        for table in SUMS
    }


def empty(database: Database) -> None:
    with database.write() as session:
        for table in (
            "refunds", "lessons", "charges", "contracts", "contract_sums_day", "institution_terms", *SUMS,
        ):
            run(session, f"DELETE FROM {table}")
