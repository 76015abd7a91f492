"""Fee caps over what is recorded: what the database leaves out is never what the formula would have told."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlmodel import Session

from escrow_monitor.domain.contracts import Charge, Contract, Lesson, LessonStatus, Refund, SubjectKind
from escrow_monitor.domain.fee_caps import PaidAtOnce, is_beyond
from escrow_monitor.domain.institution_position import FeeCapFacts
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.fee_caps import fee_cap_facts
from escrow_monitor.records.contracts.lessons import save_lessons
from escrow_monitor.records.contracts.refunds import save_refunds
from escrow_monitor.records.contracts.sums import kept_up
from escrow_monitor.records.database import Database

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
TODAY = date(2026, 11, 20)
SCHOOLS = (
    Institution(uscc="91510300MA6RC0001X", name="一", district="510302"),
    Institution(uscc="91110105MA6RC0002X", name="二", district="110105", kind=InstitutionKind.SUBJECT),
    Institution(uscc="91460100MA6RC0003X", name="三", district="460100", kind=InstitutionKind.NON_SUBJECT),
)
USCCS = [one.uscc for one in SCHOOLS]
CONTRACT = Contract(
    contract_no="HT-1", uscc=USCCS[2], student_ref="S-1", course="钢琴", fee=Money(9600_00, "CNY"), lessons_paid=120,
    signed_on=date(2026, 1, 5), starts_on=date(2026, 9, 1), ends_on=date(2027, 2, 28),
)


def charge(number: str, fen: int, on: date = date(2026, 9, 1), contract_no: str = "HT-1", channel: str = "") -> Charge:
    return Charge(
        charge_no=number, contract_no=contract_no, paid_on=on, amount=Money(fen, "CNY"), channel=channel or None
    )


@pytest.fixture
def schools(database: Database) -> Database:
    with database.write() as session:
        save_institutions(session, SCHOOLS, now=NOW)
    return database


@pytest.fixture(scope="module")
def policies() -> PolicyBook:
    return load_policies()


def found(session: Session, policies: PolicyBook, uscc: str = USCCS[2]) -> dict[str, FeeCapFacts]:
    facts = fee_cap_facts(session, [uscc], on=TODAY, policies=policies)[uscc]
    return {one.clause_id.partition("/fee-cap-")[2]: one for one in facts}


def test_what_is_beyond_a_cap_is_counted_until_it_is_taught_or_given_back(
    schools: Database, policies: PolicyBook
) -> None:
    with schools.write() as session, kept_up(session, on=TODAY):
        save_contracts(session, [CONTRACT], now=NOW)
        # Two charges of one day are one; the loan is small.
        save_charges(session, [
            charge("JF-1", 3000_00), charge("JF-2", 2000_01), charge("JF-3", 1_00, TODAY, channel=" 培训贷 "),
            charge("JF-4", 1_00, date(2026, 7, 1), channel="WeChat"),
            charge("JF-5", 4000_00, TODAY + timedelta(days=1)),
        ], now=NOW)
    with schools.read() as session:
        caps = found(session, policies)
        everybody = fee_cap_facts(session, [*USCCS, "unknown"], on=TODAY, policies=policies)
    assert {name: (one.count, one.first_on, one.example_no) for name, one in caps.items()} == {
        "lessons": (1, date(2026, 9, 1), "JF-1"), "months": (1, date(2026, 9, 1), "JF-1"),
        "amount": (1, date(2026, 9, 1), "JF-1"), "loans": (1, TODAY, "JF-3"), "early": (1, date(2026, 7, 1), "JF-4"),
    }
    assert caps["amount"].largest == Money(5000_01, "CNY")
    assert everybody == {USCCS[0]: (), USCCS[1]: (), USCCS[2]: everybody[USCCS[2]]}

    with schools.write() as session, kept_up(session, on=TODAY):
        save_refunds(session, {"M-1": Refund(contract_no="HT-1", paid_on=TODAY, amount=Money(5002_01, "CNY"))}, now=NOW)
    with schools.read() as session:
        assert found(session, policies) == {}


@pytest.mark.parametrize(("taught", "early"), [(99, True), (100, False)])
def test_who_has_few_lessons_left_may_be_asked_for_the_next_course(
    schools: Database, policies: PolicyBook, taught: int, early: bool
) -> None:
    before = replace(CONTRACT, contract_no="HT-0", starts_on=date(2026, 1, 5), ends_on=None)
    with schools.write() as session, kept_up(session, on=TODAY):
        save_contracts(session, [CONTRACT, before, replace(before, contract_no="HT-2", student_ref="S-2")], now=NOW)
        save_charges(session, [charge("JF-1", 1_00, date(2026, 7, 1))], now=NOW)
        save_lessons(session, [
            Lesson(
                contract_no="HT-0", session_no=number, status=LessonStatus.CONFIRMED, taught_on=date(2026, 6, 30),
                decided_on=date(2026, 6, 30),
            )
            for number in range(1, taught + 1)
        ], now=NOW)
    with schools.read() as session:
        assert ("early" in found(session, policies)) is early


@pytest.mark.parametrize("seed", range(4))
def test_every_charge_beyond_a_cap_by_the_formula_is_found_and_no_other(
    schools: Database, policies: PolicyBook, seed: int
) -> None:
    chance = random.Random(seed)
    contracts = [
        replace(
            CONTRACT, contract_no=f"HT-{n}", uscc=chance.choice(USCCS), student_ref=f"S-{n}",
            fee=Money(chance.choice((0, 1, 4999_99, 9600_00)), "CNY"), lessons_paid=chance.choice((1, 59, 61, 121)),
            subject_kind=chance.choice((None, *SubjectKind)),
            starts_on=chance.choice((None, date(2026, 9, 1), date(2026, 8, 31), date(2026, 12, 1))),
            ends_on=chance.choice((None, date(2026, 11, 30), date(2026, 12, 1), date(2027, 5, 31))),
        )
        for n in range(120)
    ]
    charges = [
        charge(
            f"JF-{n:03d}", chance.choice((1, 2500_00, 4800_00, 4826_51, 4826_52, 5000_00, 5000_01)),
            chance.choice((date(2026, 7, 31), date(2026, 8, 1), date(2026, 10, 31), TODAY)),
            f"HT-{chance.randrange(120)}", chance.choice(("", "cash", "Loan")),
        )
        for n in range(200)
    ]
    with schools.write() as session, kept_up(session, on=TODAY):
        save_contracts(session, contracts, now=NOW)
        save_charges(session, charges, now=NOW)
    expected: dict[tuple[str, str], list[PaidAtOnce]] = {}
    for one in contracts:
        school = next(each for each in SCHOOLS if each.uscc == one.uscc)
        for day in {each.paid_on for each in charges if each.contract_no == one.contract_no}:
            here = [each for each in charges if each.contract_no == one.contract_no and each.paid_on == day]
            paid = PaidAtOnce(
                charge_no=min(each.charge_no for each in here), paid_on=day, currency="CNY",
                amount=sum(each.amount.minor_units for each in here), fee=one.fee.minor_units,
                lessons=one.lessons_paid, starts_on=one.starts_on, ends_on=one.ends_on,
                subject_kind=one.subject_kind or (SubjectKind(school.kind.value) if school.kind else None),
                channels=frozenset(each.channel.lower() for each in here if each.channel),
            )
            for clause in policies.effective(institution=school, account=None, on=TODAY).fee_caps:
                if is_beyond(clause, paid):
                    expected.setdefault((one.uscc, clause.id), []).append(paid)
    with schools.read() as session:
        facts = fee_cap_facts(session, USCCS, on=TODAY, policies=policies)
    assert {(uscc, one.clause_id): one for uscc, each in facts.items() for one in each} == {
        key: FeeCapFacts(
            clause_id=key[1], count=len(paid), first_on=min(one.paid_on for one in paid),
            example_no=min(paid, key=lambda one: (one.paid_on, one.charge_no)).charge_no,
            largest=Money(max(one.amount for one in paid), "CNY"),
        )
        for key, paid in expected.items()
    }
    assert len(expected) > 8
