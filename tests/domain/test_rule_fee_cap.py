"""What was taken from families at once, held against the caps: each bound at its edge, and one sentence over all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from escrow_monitor.domain.clauses import Clause, FeeCap
from escrow_monitor.domain.contracts import SubjectKind
from escrow_monitor.domain.fee_caps import PaidAtOnce, is_beyond
from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.institution_position import FeeCapFacts, InstitutionPosition
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.rules.fee_cap import CLAUSES_TOLD_MAX, RULE, examine
from escrow_monitor.policies import load_policies

Make = Callable[..., dict[str, object]]
Law = Callable[..., EffectivePolicy]
NOW = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
STARTS = date(2026, 9, 1)
PAID = PaidAtOnce(
    charge_no="JF-1", paid_on=date(2026, 9, 1), amount=4800_00, currency="CNY", fee=9600_00, lessons=120,
    starts_on=STARTS, ends_on=date(2027, 2, 28),
)
"""Half of a fee, for 60 lessons, over 181 days: 90.5 days where three months have 91."""


@pytest.mark.parametrize(
    ("terms", "changes", "beyond"),
    [
        ({"lessons": 60}, {}, False),
        ({"lessons": 60}, {"amount": 4800_01}, True),
        ({"lessons": 60}, {"amount": 4800_01, "lessons": 119}, False),
        # More than the fee is for materials, and buys no lesson.
        ({"lessons": 60}, {"amount": 9999_99, "lessons": 60}, False),
        ({"lessons": 60}, {"amount": 5_00, "fee": 0}, False),
        ({"months": 3}, {}, False),
        ({"months": 3}, {"amount": 4826_51}, False),
        ({"months": 3}, {"amount": 4826_52}, True),
        ({"months": 3}, {"amount": 9600_00, "ends_on": date(2026, 11, 30)}, False),
        ({"months": 3}, {"amount": 9600_00, "ends_on": date(2026, 12, 1)}, True),
        ({"months": 3}, {"amount": 9600_00, "ends_on": None}, False),
        ({"months": 3}, {"amount": 9600_00, "starts_on": None}, False),
        ({"months": 3}, {"amount": 9600_00, "ends_on": date(2026, 8, 1)}, False),
        ({"amount": "4800.00"}, {}, False),
        ({"amount": "4800.00"}, {"amount": 4800_01}, True),
        ({"amount": "4800.00"}, {"amount": 4800_01, "currency": "HKD"}, False),
        ({"months_before_start": 1}, {"paid_on": date(2026, 8, 1)}, False),
        ({"months_before_start": 1}, {"paid_on": date(2026, 7, 31)}, True),
        ({"months_before_start": 1}, {"paid_on": date(2026, 2, 28), "starts_on": date(2026, 3, 31)}, False),
        ({"months_before_start": 1}, {"paid_on": date(2026, 2, 27), "starts_on": date(2026, 3, 31)}, True),
        ({"months_before_start": 1}, {"paid_on": date(2026, 7, 31), "starts_on": None}, False),
        ({"months_before_start": 1}, {"paid_on": date(2026, 7, 31), "lessons_left": 0}, True),
        ({"months_before_start": 1, "lessons_left": 20}, {"paid_on": date(2026, 7, 31)}, True),
        ({"months_before_start": 1, "lessons_left": 20}, {"paid_on": date(2026, 7, 31), "lessons_left": 20}, False),
        ({"months_before_start": 1, "lessons_left": 20}, {"paid_on": date(2026, 7, 31), "lessons_left": 21}, True),
        ({"channels": ["Training Loan", "培训贷"]}, {"channels": frozenset({"培训贷"})}, True),
        ({"channels": ["Training Loan", "培训贷"]}, {"channels": frozenset({"training loan"})}, True),
        ({"channels": ["Training Loan", "培训贷"]}, {"channels": frozenset({"银行转账"})}, False),
        ({"amount": "1.00", "subject_kinds": ["non_subject"]}, {"subject_kind": SubjectKind.SUBJECT}, False),
        ({"amount": "1.00", "subject_kinds": ["non_subject"]}, {"subject_kind": SubjectKind.NON_SUBJECT}, True),
        ({"amount": "1.00", "subject_kinds": ["non_subject"]}, {}, True),
        ({"amount": "1.00", "effective_from": date(2026, 9, 2)}, {}, False),
        ({"amount": "1.00", "effective_to": date(2026, 9, 1)}, {}, True),
        ({"amount": "1.00", "effective_to": date(2026, 8, 31)}, {}, False),
    ],
)
def test_each_bound_holds_at_its_edge(
    law: Law, clause: Make, terms: dict[str, Any], changes: dict[str, Any], beyond: bool
) -> None:
    [cap] = law(clause("fee_cap", **terms), on=terms.get("effective_to", date(2026, 11, 20))).fee_caps
    assert is_beyond(cap, replace(PAID, **changes)) is beyond


SCHOOL = Institution(uscc="91510300MA6RC0001X", name="示例学校", district="510300")


def facts(clause_id: str = "t/fee_cap", **changes: Any) -> FeeCapFacts:
    return replace(FeeCapFacts(
        clause_id=clause_id, count=3, first_on=date(2026, 9, 1), example_no="JF-1", largest=Money(9600_00, "CNY")
    ), **changes)


def test_what_is_beyond_a_cap_is_yellow_and_says_how_often_since_when_and_by_which_text(law: Law, clause: Make) -> None:
    policy = law(clause("fee_cap", lessons=60), clause("fee_cap", clause_id="t/loans", channels=["loan"]))
    (finding,) = examine(InstitutionPosition(institution=SCHOOL, fee_caps=(facts(), facts("t/loans", count=1))),
                         policy, NOW)
    assert (finding.rule, finding.subject) == (RULE, f"institution:{SCHOOL.uscc}")
    assert (finding.standing, finding.level) == (Standing.BREACHED, Level.YELLOW)
    assert "passed 3 times since 2026-09-01, by 9600.00 CNY at most, e.g. JF-1" in finding.why_en
    assert "某办法 某教〔2020〕1号, source found" in finding.why_en
    assert "自 2026-09-01 起超出 1 次" in finding.why_zh
    assert finding.figures["clause_2"] == "t/loans"
    assert finding.figures["count_1"] == 3
    assert "{" not in finding.why_zh + finding.why_en


def test_within_every_cap_is_met_and_what_nobody_looked_at_is_not(law: Law, clause: Make) -> None:
    policy = law(clause("fee_cap", lessons=60))
    for caps, standing in (((), Standing.MET), ((facts("t/gone"),), Standing.MET), (None, Standing.UNKNOWN)):
        (finding,) = examine(InstitutionPosition(institution=SCHOOL, fee_caps=caps), policy, NOW)
        assert (finding.standing, finding.level, finding.holds) == (standing, None, None)
        assert finding.why_zh != finding.why_en


def test_many_clauses_are_counted_not_all_told(law: Law, clause: Make) -> None:
    names = [f"t/{n}" for n in range(CLAUSES_TOLD_MAX + 2)]
    policy = law(*(clause("fee_cap", clause_id=name, lessons=n + 1) for n, name in enumerate(names)))
    (finding,) = examine(
        InstitutionPosition(institution=SCHOOL, fee_caps=tuple(map(facts, names))), policy, NOW
    )
    assert "; and 2 more; " in finding.why_en
    assert finding.figures["clauses"] == len(names)


# The packs


@pytest.mark.parametrize(
    ("district", "kind", "ids"),
    [
        ("510302", None, {"lessons", "months", "amount", "loans"}),
        ("110105", InstitutionKind.SUBJECT, {"lessons", "months", "amount", "loans", "early"}),
        ("110105", InstitutionKind.NON_SUBJECT, {"lessons", "months", "amount", "loans"}),
        ("460100", None, {"lessons", "months", "amount", "loans", "early"}),
        ("510104", None, {"lessons", "months", "amount", "loans", "early"}),
    ],
)
def test_the_nations_caps_hold_everywhere_and_the_earliest_day_where_it_was_read(
    district: str, kind: InstitutionKind | None, ids: set[str]
) -> None:
    policy = load_policies().effective(
        institution=replace(SCHOOL, district=district, kind=kind), account=None, on=NOW.date()
    )
    assert {clause.id.partition("/fee-cap-")[2] for clause in policy.fee_caps} == ids
    for clause in policy.fee_caps:
        assert clause.source.remark
        assert clause.source.found.value == "F"


def test_what_rests_on_a_weak_source_is_not_called_law() -> None:
    book = load_policies()
    [amount] = [one for one in book.pack("cn-000000").clauses if one.id == "cn-000000/fee-cap-amount"]
    assert isinstance(amount.terms, FeeCap)
    assert (amount.terms.amount, amount.verified) == (Money(5000_00, "CNY"), False)
    assert amount.terms.subject_kinds == {SubjectKind.NON_SUBJECT}
    assert amount.basis.en == "local setting, source not verified"


def test_a_fee_cap_is_no_floor_and_no_change_of_one(law: Law, clause: Make) -> None:
    policy = law(clause("fee_cap", lessons=60, effective_from=date(2026, 11, 1)), clause("fixed", amount="1.00"))
    assert [each.kind for each in policy.floor_clauses] == ["fixed"]
    assert policy.last_change_on == date(2020, 1, 1)
    assert all(isinstance(each, Clause) for each in policy.fee_caps)
