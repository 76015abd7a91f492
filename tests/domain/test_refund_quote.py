"""What is due back: which ground applies on which day, every line of the sum, and what stands apart from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest
from contract_world import SIGNED, STARTS, charge, ledger, lesson, refund, yuan

from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.contracts import Cause, DeadlineUnit, GiftPolicy, LessonStatus
from escrow_monitor.domain.entitlement import Impossible
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.policy import RefundTerms
from escrow_monitor.domain.refund_quote import Alternative, Quote, quote
from escrow_monitor.domain.refund_statement import Language, statement_of
from escrow_monitor.domain.refund_words import CAUSES, GROUNDS, TITLES, Ground, Label, ratio_text
from escrow_monitor.policies import load_policies

ON = date(2026, 11, 20)
CN = calendar_for("CN")
BOOK = load_policies()
Say = Callable[..., Quote]


def law(district: str | None = "510302") -> RefundTerms:
    holder = Institution(uscc="91110000600037341L", name="启航", district=district)
    return BOOK.effective(institution=holder, account=None, on=ON).refund_terms


def said(*, on: date = ON, cause: Cause = Cause.CONSUMER, claimed_on: date | None = None,
         terms: RefundTerms | None = None, **contract: Any) -> Quote:
    result = quote(
        ledger(**contract), on=on, cause=cause, terms=law() if terms is None else terms, calendar=CN,
        claimed_on=claimed_on,
    )
    assert isinstance(result, Quote)
    assert sum(line.amount.minor_units for line in result.lines) == result.refund.minor_units
    assert sum(line.amount.minor_units for line in result.penalty_lines) == result.penalty.minor_units
    return result


def sums(quoted: Quote) -> dict[str, str]:
    return {line.label.value: line.amount.text for line in quoted.lines}


def other(quoted: Quote, ground: Ground) -> Alternative:
    return next(each for each in quoted.alternatives if each.ground is ground and each.gift_policy is None)


def test_pro_rata_of_thirteen_of_forty_eight_lessons() -> None:
    quoted = said(confirmed=13)
    assert (quoted.ground, quoted.refund.text, quoted.entitled.text) == (Ground.PRO_RATA, "3500.00", "1300.00")
    assert sums(quoted) == {"lessons_paid": "4800.00", "lessons_taught": "-1300.00"}
    assert "4800.00 CNY x 13 / 48 lessons, half up: 1300.00 CNY" in quoted.lines[1].why.en
    assert "学费 4800.00 CNY × 13 ÷ 48 课时，四舍五入为 1300.00 CNY" in quoted.lines[1].why.zh
    assert "GF-2021-2604“开课后退费”条款[未核实]" in quoted.lines[1].why.zh


@pytest.mark.parametrize(
    ("fee", "lessons_paid", "taught", "refund_"), [
        ("1000", 3, 1, "666.67"), ("1000", 3, 2, "333.33"), ("1000", 3, 3, "0.00"),
        ("999.99", 7, 1, "857.13"), ("999.99", 7, 4, "428.57"), ("999.99", 7, 7, "0.00"),
    ],
)
def test_no_fen_is_lost_to_a_rounded_price(fee: str, lessons_paid: int, taught: int, refund_: str) -> None:
    assert said(fee=yuan(fee), lessons_paid=lessons_paid, confirmed=taught, paid=fee).refund.text == refund_


def test_gift_lessons_by_either_reading_and_both_where_nothing_was_agreed() -> None:
    gift = {"fee": yuan("4000"), "lessons_paid": 40, "lessons_gift": 20, "confirmed": 25, "paid": "4000"}
    first = said(**gift, gift_policy=GiftPolicy.PAID_FIRST)
    assert (first.refund.text, first.gift_agreed) == ("1500.00", True)
    assert "gift lessons (20) have no price" in first.lines[1].why.en
    blended = said(**gift, gift_policy=GiftPolicy.BLENDED)
    assert blended.refund.text == "2333.33"
    assert "gift lessons among them: 20" in blended.lines[1].why.en
    silent = said(**gift)
    assert (silent.refund.text, silent.gift_agreed, silent.gift_policy) == ("2333.33", False, GiftPolicy.BLENDED)
    assert "was not agreed and no law says it" in silent.lines[1].why.en
    reading = silent.alternatives[0]
    assert (reading.ground, reading.gift_policy, reading.refund.text, reading.valid) == (
        Ground.PRO_RATA, GiftPolicy.PAID_FIRST, "1500.00", None,
    )
    assert "2500.00 CNY is earned" in reading.why.en
    untouched = said(**{**gift, "confirmed": 0})
    assert [each for each in untouched.alternatives if each.gift_policy] == [], "both readings say the same"


def test_lessons_in_dispute_are_neither_earned_nor_paid_back() -> None:
    quoted = said(confirmed=13, disputed=2)
    assert sums(quoted) == {"lessons_paid": "4800.00", "lessons_taught": "-1300.00", "lessons_disputed": "-200.00"}
    assert (quoted.refund.text, quoted.disputed.text) == ("3300.00", "200.00")
    assert "neither earned nor refundable until decided" in quoted.lines[2].why.en


def test_of_a_fee_paid_in_part_nothing_goes_below_zero() -> None:
    quoted = said(confirmed=13, disputed=2, paid="1400")
    assert sums(quoted) == {"lessons_paid": "1400.00", "lessons_taught": "-1300.00", "lessons_disputed": "-100.00"}
    assert quoted.refund.text == "0.00"
    short = said(confirmed=13, paid="1000")
    assert (short.entitled.text, sums(short)["lessons_taught"], short.refund.text) == ("1300.00", "-1000.00", "0.00")
    assert "no more than the 1000.00 CNY paid" in short.lines[1].why.en
    assert said(paid=None).refund.text == "0.00"


def test_lessons_that_do_not_count_yet_are_said() -> None:
    rows = (lesson(1), lesson(2, LessonStatus.REQUESTED, requested_on=ON), lesson(3, taught_on=None))
    why = said(lessons=rows).lines[1].why
    assert "lessons not answered yet, not taken off: 1" in why.en
    assert "lessons that lack a day or a calendar, not taken off: 1" in why.en
    many = said(confirmed=50).lines[1].why.en
    assert "x 48 / 48" in many
    assert "50 lessons were taught, more than have a price" in many


@pytest.mark.parametrize(
    ("delivered", "refund_", "says"),
    [
        (True, "4800.00", "recorded as delivered and are kept"),
        (False, "5000.00", "recorded as not delivered: refunded"),
        (None, "5000.00", "whether the materials were delivered is not recorded: refunded"),
    ],
)
def test_materials_are_kept_only_where_recorded_as_delivered_and_the_line_says_which(
    delivered: bool | None, refund_: str, says: str
) -> None:
    quoted = said(paid="5000", materials_fee=yuan("200"), materials_delivered=delivered)
    assert quoted.refund.text == refund_
    assert quoted.materials_kept.text == ("200.00" if delivered else "0.00")
    line = next(line for line in quoted.lines if line.label is Label.MATERIALS_PAID)
    assert says in line.why.en
    assert ("materials_kept" in sums(quoted)) is bool(delivered)


def test_overpayment_goes_back_in_any_case_and_what_went_back_is_taken_off() -> None:
    quoted = said(confirmed=48, paid="4900", refunds=(refund("30", STARTS),))
    assert sums(quoted) == {
        "lessons_paid": "4800.00", "lessons_taught": "-4800.00", "overpaid": "100.00", "already_refunded": "-30.00",
    }
    assert (quoted.refund.text, quoted.already_refunded.text) == ("70.00", "30.00")


def test_where_more_went_back_than_was_due_nothing_is_due_and_a_line_says_so() -> None:
    quoted = said(confirmed=13, refunds=(refund("4000", STARTS),))
    assert quoted.refund.text == "0.00"
    assert sums(quoted)["nothing_below_zero"] == "500.00"


@pytest.mark.parametrize(
    ("claimed_on", "agreed", "confirmed", "disputed", "valid"),
    [
        (date(2026, 8, 25), {"full_refund_days_before": 7}, 0, 0, True),
        (date(2026, 8, 26), {"full_refund_days_before": 7}, 0, 0, False),
        (date(2026, 9, 8), {"full_refund_days_after": 7}, 0, 0, True),
        (date(2026, 9, 9), {"full_refund_days_after": 7}, 0, 0, False),
        (date(2026, 9, 8), {"full_refund_days_after": 7}, 6, 2, True),
        (ON, {"full_refund_lessons": 3}, 3, 0, True),
        (ON, {"full_refund_lessons": 3}, 4, 0, False),
        (ON, {"full_refund_lessons": 3}, 2, 1, True),
        (ON, {"full_refund_lessons": 3}, 2, 2, None),
        (ON, {"full_refund_lessons": 3, "full_refund_days_after": 7}, 3, 0, True),
        (ON, {"full_refund_days_before": 7, "starts_on": None}, 0, 0, None),
        (ON, {"full_refund_days_after": 7, "starts_on": None}, 0, 0, None),
        (ON, {"full_refund_days_after": 7, "full_refund_lessons": 1, "starts_on": None}, 1, 0, True),
        (ON, {}, 0, 0, False),
    ],
)
def test_the_full_refund_window_is_whichever_was_agreed(
    claimed_on: date, agreed: dict[str, Any], confirmed: int, disputed: int, valid: bool | None
) -> None:
    quoted = said(on=claimed_on, confirmed=confirmed, disputed=disputed, cause=Cause.WINDOW, **agreed)
    if valid:
        assert (quoted.ground, quoted.refund.text) == (Ground.FULL_REFUND_WINDOW, "4800.00")
    else:
        assert quoted.ground is not Ground.FULL_REFUND_WINDOW
        window = other(quoted, Ground.FULL_REFUND_WINDOW)
        assert (window.valid, window.refund.text) == (valid, "4800.00")


def test_a_full_refund_takes_nothing_off_for_lessons_and_still_shows_what_was_taught() -> None:
    quoted = said(full_refund_lessons=3, confirmed=2)
    assert sums(quoted) == {"lessons_paid": "4800.00"}
    assert "nothing is taken off for lessons taught (2)" in quoted.lines[0].why.en
    assert quoted.entitled.text == "200.00"


@pytest.mark.parametrize(
    ("paid_on", "on", "prior", "valid"),
    [
        (date(2026, 11, 13), ON, False, True),
        (date(2026, 11, 12), ON, False, False),
        (date(2026, 11, 20), ON, False, True),
        (date(2026, 11, 13), ON, None, None),
        (date(2026, 11, 13), ON, True, False),
        (date(2025, 5, 1), date(2025, 5, 8), False, True),
        (date(2025, 5, 1), date(2025, 5, 9), False, False),
        (date(2025, 4, 30), date(2025, 5, 5), False, False),
    ],
)
def test_the_seven_day_right_holds_for_charges_since_it_is_in_force_unless_the_service_was_known(
    paid_on: date, on: date, prior: bool | None, valid: bool | None
) -> None:
    quoted = said(
        on=on, confirmed=0, lessons=(lesson(1, taught_on=paid_on, decided_on=paid_on),), signed_on=paid_on,
        charges=(charge("4800", paid_on),), prior_same_service=prior,
    )
    if valid:
        assert (quoted.ground, quoted.refund.text) == (Ground.SEVEN_DAY_RIGHT, "4800.00")
        assert sums(quoted) == {"seven_day_charge": "4800.00"}
        assert f"charge J-1 was paid on {paid_on}" in quoted.lines[0].why.en
        assert "法释〔2025〕4号" in quoted.why.zh
        assert "[未核实]" in quoted.why.zh
    else:
        assert (quoted.ground, quoted.refund.text) == (Ground.PRO_RATA, "4700.00")
        right = other(quoted, Ground.SEVEN_DAY_RIGHT)
        assert right.valid is valid
        assert right.refund.text == ("4800.00" if on - paid_on <= timedelta(7) and paid_on.month != 4 else "4700.00")


def test_the_seven_day_right_is_per_charge_and_lessons_are_taken_off_the_others() -> None:
    quoted = said(
        confirmed=30, prior_same_service=False, materials_fee=yuan("200"), materials_delivered=True,
        charges=(charge("2400"), charge("2700", date(2026, 11, 15), "J-2")),
    )
    assert quoted.ground is Ground.SEVEN_DAY_RIGHT
    assert sums(quoted) == {
        "seven_day_charge": "2700.00", "lessons_paid": "2400.00", "lessons_taught": "-2400.00",
        "materials_kept": "-200.00",
    }
    assert quoted.refund.text == "2500.00"
    assert other(quoted, Ground.PRO_RATA).refund.text == "1900.00"


def test_without_a_clause_there_is_no_seven_day_right() -> None:
    quoted = said(on=SIGNED, prior_same_service=False, terms=RefundTerms())
    assert other(quoted, Ground.SEVEN_DAY_RIGHT).valid is False
    assert "no clause of a seven-day right" in other(quoted, Ground.SEVEN_DAY_RIGHT).why.en
    assert quoted.ground is Ground.NOT_STARTED


def test_where_the_article_is_known_or_nobody_verified_the_source_the_words_follow() -> None:
    terms = law()
    assert terms.seven_day is not None
    known = replace(terms.seven_day, source=replace(terms.seven_day.source, article="第九十九条"))
    local = replace(terms.seven_day, verified=False)
    texts = [
        said(on=SIGNED, prior_same_service=False, terms=replace(terms, seven_day=clause)).why.zh
        for clause in (known, local)
    ]
    assert "第九十九条" in texts[0]
    assert "[未核实]" not in texts[0]
    assert "本地设置，来源未核实" in texts[1]


def test_before_the_start_all_of_it_goes_back() -> None:
    eve = STARTS - timedelta(days=1)
    assert (said(on=eve).ground, said(on=eve).refund.text) == (Ground.NOT_STARTED, "4800.00")
    assert said(on=STARTS).ground is Ground.PRO_RATA
    early = said(on=eve, lessons=(lesson(1, taught_on=eve, decided_on=eve),))
    assert (early.ground, early.refund.text) == (Ground.PRO_RATA, "4700.00"), "a lesson was taught all the same"
    unknown = other(said(on=eve, starts_on=None), Ground.NOT_STARTED)
    assert unknown.valid is None


def test_a_breach_adds_the_agreed_penalty_beside_the_refund() -> None:
    quoted = said(confirmed=13, cause=Cause.INSTITUTION, penalty_pct_remaining=Fraction(5))
    assert (quoted.ground, quoted.refund.text, quoted.penalty.text) == (
        Ground.INSTITUTION_BREACH, "3500.00", "175.00",
    )
    assert sums(quoted) == {"lessons_paid": "4800.00", "lessons_taught": "-1300.00"}
    assert "5 % of the untaught fee of 3500.00 CNY" in quoted.penalty_lines[0].why.en
    assert "第五十三条" in quoted.why.zh
    assert "not computed" in quoted.why.en
    silent = said(confirmed=13, cause=Cause.INSTITUTION)
    assert (silent.ground, silent.penalty.text) == (Ground.INSTITUTION_BREACH, "0.00")
    assert "agrees no penalty" in silent.penalty_lines[0].why.en
    own = said(confirmed=13, penalty_pct_remaining=Fraction(5))
    assert (own.ground, own.penalty.text) == (Ground.PRO_RATA, "0.00")
    breach = other(own, Ground.INSTITUTION_BREACH)
    assert (breach.valid, breach.penalty.text) == (False, "175.00")
    assert "the cause claimed is the consumer's own, so it does not apply" in breach.why.en


def test_a_penalty_can_make_a_breach_worth_more_than_a_full_refund() -> None:
    agreed = {"confirmed": 1, "cause": Cause.INSTITUTION, "full_refund_lessons": 1}
    assert said(**agreed, penalty_pct_remaining=Fraction(1)).ground is Ground.FULL_REFUND_WINDOW
    much = said(**agreed, penalty_pct_remaining=Fraction(10))
    assert (much.ground, much.refund.text, much.penalty.text) == (Ground.INSTITUTION_BREACH, "4700.00", "470.00")
    assert "it holds too, but gives no more" in other(much, Ground.FULL_REFUND_WINDOW).why.en


def test_force_majeure_is_pro_rata_without_a_penalty() -> None:
    quoted = said(confirmed=13, cause=Cause.FORCE_MAJEURE, penalty_pct_remaining=Fraction(5))
    assert (quoted.ground, quoted.refund.text, quoted.penalty.text) == (Ground.FORCE_MAJEURE, "3500.00", "0.00")


def test_every_ground_is_applied_or_an_alternative_with_its_amount_and_why() -> None:
    quoted = said(confirmed=13)
    assert {quoted.ground, *(each.ground for each in quoted.alternatives)} == set(Ground) - {Ground.CUSTOM}
    assert all(each.why.zh and each.why.en for each in quoted.alternatives)
    assert {Ground(each) for each in GROUNDS} == set(Ground)
    assert set(TITLES) == set(Label)
    assert set(CAUSES) == {cause.value for cause in Cause}


def test_the_day_it_is_due_and_why() -> None:
    contract = said(refund_deadline_days=5, refund_deadline_unit=DeadlineUnit.WORKING)
    assert contract.due_on == date(2026, 11, 27)
    assert contract.due_why.en == "the contract says within 5 working days of 2026-11-20"
    beijing = said(terms=law("110105"))
    assert beijing.due_on == date(2026, 12, 5)
    assert "15 calendar days" in beijing.due_why.en
    assert said(on=STARTS - timedelta(days=1), terms=law("110105")).due_on == date(2026, 9, 5)
    nobody = said()
    assert nobody.due_on is None
    assert nobody.due_why.en == "neither the contract nor a clause in force sets a day"
    far = said(on=date(2026, 12, 28), refund_deadline_days=9, refund_deadline_unit=DeadlineUnit.WORKING)
    assert far.due_on is None
    assert "the working days of 2027 are not known" in far.due_why.en


@pytest.mark.parametrize(
    ("on", "refunds", "penalty"),
    [
        (date(2026, 10, 11), (), "0.00"),
        (date(2026, 10, 12), (), "1.75"),
        (date(2026, 10, 21), (), "17.50"),
        (date(2026, 10, 21), (("3500", date(2026, 10, 11)),), "0.00"),
        (date(2026, 10, 21), (("3500", date(2026, 10, 12)),), "1.75"),
        (date(2026, 10, 21), (("1500", date(2026, 10, 1)), ("1000", date(2026, 10, 16))), "7.50"),
    ],
)
def test_a_late_refund_costs_the_agreed_rate_from_the_day_after_it_was_due(
    on: date, refunds: tuple[tuple[str, date], ...], penalty: str
) -> None:
    quoted = said(
        on=on, claimed_on=date(2026, 10, 1), confirmed=13, refund_deadline_days=10,
        late_daily_rate=Fraction(5, 10_000), refunds=tuple(refund(*each) for each in refunds),
    )
    assert quoted.due_on == date(2026, 10, 11)
    assert quoted.penalty.text == penalty
    if quoted.penalty_lines:
        assert "a daily rate of 0.0005" in quoted.penalty_lines[0].why.en


def test_without_a_rate_or_a_day_nothing_is_late() -> None:
    claimed = {"on": date(2026, 12, 1), "claimed_on": date(2026, 10, 1)}
    assert said(**claimed, refund_deadline_days=10).penalty.text == "0.00"
    assert said(**claimed, late_daily_rate=Fraction(1, 100)).penalty.text == "0.00"


def test_a_claim_is_judged_by_its_day_and_a_confirmation_that_crosses_it_counts() -> None:
    rows = (
        lesson(1, decided_on=date(2026, 9, 20)), lesson(2, taught_on=date(2026, 9, 12), decided_on=date(2026, 9, 13)),
    )
    quoted = said(claimed_on=date(2026, 9, 8), lessons=rows)
    assert (quoted.taught.confirmed, quoted.refund.text, quoted.claimed_on) == (1, "4700.00", date(2026, 9, 8))
    assert said(claimed_on=date(2026, 9, 8), lessons=rows, full_refund_days_after=7).refund.text == "4800.00"
    with pytest.raises(ValueError, match="before it is made"):
        said(claimed_on=ON + timedelta(days=1))


def test_a_silent_family_has_confirmed_and_the_quote_knows() -> None:
    rows = (lesson(1, LessonStatus.REQUESTED),)
    assert said(on=date(2026, 9, 21), lessons=rows).refund.text == "4800.00"
    assert said(on=date(2026, 9, 22), lessons=rows).refund.text == "4700.00"


def test_an_impossible_ledger_is_not_quoted() -> None:
    result = quote(
        ledger(refunds=(refund("9999", STARTS),)), on=ON, cause=Cause.CONSUMER, terms=law(), calendar=CN
    )
    assert isinstance(result, Impossible)


def test_the_json_is_the_promised_shape() -> None:
    document = said(confirmed=13, disputed=1, refund_deadline_days=5).as_json()
    assert document["contract_no"] == "HT-1"
    assert [document[name] for name in ("on", "cause", "ground", "currency", "due_on")] == [
        "2026-11-20", "consumer", "pro_rata", "CNY", "2026-11-25",
    ]
    amounts = ("paid", "entitled", "materials_kept", "already_refunded", "refund", "penalty")
    assert [document[name] for name in amounts] == ["4800.00", "1300.00", "0.00", "0.00", "3400.00", "0.00"]
    assert [document[f"{name}_fen"] for name in amounts] == [480_000, 130_000, 0, 0, 340_000, 0]
    lines, others = document["lines"], document["alternatives"]
    assert isinstance(lines, list)
    assert isinstance(others, list)
    assert [(line["label"], line["amount"], line["amount_fen"]) for line in lines] == [
        ("lessons_paid", "4800.00", 480_000), ("lessons_taught", "-1300.00", -130_000),
        ("lessons_disputed", "-100.00", -10_000),
    ]
    assert all(line["why"] and line["why_en"] and line["title"] and line["title_en"] for line in lines)
    assert {"ground", "refund", "refund_fen", "penalty", "valid", "why", "why_en"} <= set(others[0])
    assert len(others) == 5


def test_the_statement_says_it_in_either_language() -> None:
    quoted = said(
        confirmed=13, cause=Cause.INSTITUTION, penalty_pct_remaining=Fraction(25, 2), refund_deadline_days=5
    )
    zh, en = (statement_of(quoted, language) for language in Language)
    assert (zh.title, zh.total, zh.penalty, zh.due) == ("退费计算书", "3,500.00", "437.50", "2026-11-25")
    assert [(row.title, row.amount) for row in zh.rows] == [("已缴课时费", "4,800.00"), ("已消课时", "-1,300.00")]
    assert [(row.title, row.amount) for row in en.rows] == [
        ("paid for lessons", "4,800.00"), ("lessons taught", "-1,300.00"),
    ]
    assert "12.5 % of the untaught fee" in en.penalty_rows[0].why
    assert ("Contract", "HT-1") in en.facts
    assert {each.standing for each in en.others} == {"holds", "does not hold"}
    assert all("{" not in text for row in (*zh.rows, *en.rows, *zh.others, *en.others) for text in (row.title, row.why))
    assert statement_of(said(), Language.ZH).due == "未知"
    assert "[未核实]" in zh.notes[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(5), "5"), (Fraction(25, 2), "12.5"), (Fraction(5, 10_000), "0.0005"), (Fraction(1, 3), "1/3"),
        (Fraction(0), "0"), (Fraction(-1, 4), "-0.25"), (Fraction(1, 10**6), "0.000001"),
    ],
)
def test_a_ratio_is_written_as_it_was_agreed(value: Fraction, text: str) -> None:
    assert ratio_text(value) == text
