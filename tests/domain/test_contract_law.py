"""By what law an institution's contracts are summed, and when that law is another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from escrow_monitor.domain.clauses import DeemedFrom, PeriodFees, Schedule
from escrow_monitor.domain.contract_law import (
    ContractLaw,
    SilenceClock,
    SummedTerms,
    contract_law,
    contract_law_version,
    read_terms,
    terms_text,
)
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.policy import PolicyBook, parse_pack
from escrow_monitor.policies import load_policies

Make = Callable[..., dict[str, object]]
SCHOOL = Institution(uscc="91510300MA6RC0001X", name="示例学校", district="510302", kind=InstitutionKind.SUBJECT)
FRIDAY = date(2026, 10, 30)
CLOCK = SilenceClock(working_days=15, deemed_from=DeemedFrom.NEXT_DAY, calendar="CN", known_to=2026)


@pytest.mark.parametrize("terms", [PeriodFees(months=3), Schedule(parts=(30, 30, 40)), Schedule(parts=(1,))])
def test_terms_are_read_back_from_their_name(terms: SummedTerms) -> None:
    assert read_terms(terms_text(terms)) == terms


@pytest.mark.parametrize(
    ("clock", "deemed"),
    [
        (CLOCK, date(2026, 11, 21)),
        (SilenceClock(working_days=15, deemed_from=DeemedFrom.NEXT_WORKING_DAY, calendar="CN", known_to=2026),
         date(2026, 11, 23)),
        (SilenceClock(working_days=300, deemed_from=DeemedFrom.NEXT_DAY, calendar="CN", known_to=2026), None),
    ],
)
def test_a_clock_is_read_back_from_its_name_and_runs_as_its_clause(clock: SilenceClock, deemed: date | None) -> None:
    assert SilenceClock.read(clock.text) == clock
    assert clock.deemed(FRIDAY) == deemed


def test_the_law_of_an_institution_is_that_of_its_places_and_kind(clause: Make, pack: Make) -> None:
    subject_only = {"kinds": ["subject"]}
    book = PolicyBook([parse_pack(each, where="t.toml") for each in (
        pack(clause("lesson_confirmation", working_days=15)),
        pack(
            clause("period_fees", clause_id="t/fees", months=3, applies=subject_only),
            # One that is over and one to come count too, and so does one for deposits alone.
            clause("schedule", clause_id="t/old", parts=[1, 1], effective_to=date(2021, 1, 1)),
            clause("schedule", clause_id="t/new", parts=[30, 30, 40], effective_from=date(2030, 1, 1)),
            clause("period_fees", clause_id="t/deposit", months=1, applies={"purposes": ["deposit"]}),
            clause("full_liability"), jurisdiction="510300",
        ),
    )])
    law = contract_law(book, SCHOOL, FRIDAY)
    assert law.silence is not None
    assert (law.silence.working_days, law.silence.calendar) == (15, "CN")
    assert law.terms == {
        PeriodFees(months=3), PeriodFees(months=1), Schedule(parts=(1, 1)), Schedule(parts=(30, 30, 40))
    }
    elsewhere = Institution(uscc="91440300MA6RC0001X", name="别处", district="440300")
    assert contract_law(book, elsewhere, FRIDAY) == ContractLaw(silence=law.silence)
    assert contract_law(PolicyBook([]), SCHOOL, FRIDAY) == ContractLaw()


def test_the_version_changes_when_a_clause_of_silence_begins_or_has_ended(clause: Make, pack: Make) -> None:
    began, ended = date(2026, 3, 2), date(2026, 6, 30)
    book = PolicyBook([parse_pack(
        pack(clause("lesson_confirmation", working_days=15, effective_from=began, effective_to=ended)), where="t.toml"
    )])
    days = [began - timedelta(days=1), began, ended, ended + timedelta(days=1), ended + timedelta(days=60)]
    versions = [contract_law_version(book, day) for day in days]
    assert versions[1] == versions[2]
    assert versions[3] == versions[4]
    assert len(set(versions)) == 3
    silences = [contract_law(book, SCHOOL, day).silence is not None for day in days]
    assert silences == [False, True, True, False, False]
    assert contract_law_version(load_policies(), FRIDAY) != contract_law_version(book, FRIDAY)
