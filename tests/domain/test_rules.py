"""The other rules, one table or story each: R02, R03, R10, R16, gaps, late rounds, calendars that end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from escrow_monitor.domain.accounts import Account, AccountStatus, Known
from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.findings import Finding, Level, Standing
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import Correction, DayFlow, MonthFlow, Position
from escrow_monitor.domain.rules import (
    RULES,
    account_status,
    corrected_statement,
    external_check,
    feed_gap,
    freshness,
    large_outflow,
    late_top_up,
    outflow_cap,
)
from escrow_monitor.domain.rules.calendar_ends import examine_calendar
from escrow_monitor.domain.rules.round_late import examine_round
from escrow_monitor.domain.statements import RefusalReason

Make = Callable[..., dict[str, object]]
Law = Callable[..., EffectivePolicy]
Positions = Callable[..., Position]
Balance = Callable[..., Known]
At = Callable[[str], datetime]


@pytest.fixture
def now(at: At) -> datetime:
    return at("2026-11-20 10:00")


def said(findings: tuple[Finding, ...]) -> list[tuple[str, Standing, Level | None]]:
    for finding in findings:
        assert finding.why_zh
        assert finding.why_en
        assert finding.figures is not None
    return [(finding.period, finding.standing, finding.level) for finding in findings]


# late top-up


@pytest.fixture
def two_days(law: Law, clause: Make) -> EffectivePolicy:
    return law(clause("fixed", amount="100.00"), clause("top_up", working_days=2))


@pytest.mark.parametrize(
    ("balance", "on", "standing", "level", "why"),
    [
        ("95.00", "2026-11-20", Standing.MET, None, "one working day after: not late yet"),
        ("95.00", "2026-11-23", Standing.BREACHED, Level.RED, "the closing of the last day still shows it"),
        ("100.00", "2026-11-23", Standing.MET, None, "topped up on the last day"),
        ("95.00", "2026-11-18", Standing.UNKNOWN, None, "the last day passed, but nobody has seen a balance since"),
    ],
)
def test_a_top_up_is_late_once_a_balance_shows_it(
    two_days: EffectivePolicy, position: Positions, closing: Balance, at: At,
    balance: str, on: str, standing: Standing, level: Level | None, why: str,
) -> None:
    known = position(booked=closing(balance, on), below_since=at("2026-11-19 23:59"))
    findings = late_top_up.examine(known, two_days, at("2026-11-24 10:00"))
    if on == "2026-11-20":
        findings = late_top_up.examine(known, two_days, at("2026-11-23 10:00"))
    assert said(findings) == [("continuous", standing, level)], why


def test_a_late_top_up_names_its_days_and_its_basis(
    two_days: EffectivePolicy, position: Positions, closing: Balance, at: At
) -> None:
    known = position(booked=closing("95.00", "2026-11-23"), below_since=at("2026-11-19 23:59"))
    (finding,) = late_top_up.examine(known, two_days, at("2026-11-24 10:00"))
    assert finding.why_en == (
        "the shortfall since 2026-11-19T23:59:00+08:00 was to be topped up by the end of 2026-11-23 (2 working days, "
        "某办法 某教〔2020〕1号, source found), but on 2026-11-23 the account holds 95.00 CNY and the floor is "
        "100.00 CNY: 5.00 CNY short; summon the institution and ask where the money went"
    )


def test_a_top_up_of_the_same_day_is_judged_by_that_days_closing(
    law: Law, clause: Make, position: Positions, closing: Balance, intraday: Balance, at: At
) -> None:
    same_day = law(clause("fixed", amount="100.00"), clause("top_up", working_days=0))
    morning = position(booked=intraday("95.00", "2026-11-20 09:00"))
    assert said(late_top_up.examine(morning, same_day, at("2026-11-20 10:00"))) == [("continuous", Standing.MET, None)]
    evening = position(booked=closing("95.00", "2026-11-20"), below_since=at("2026-11-20 09:00"))
    (finding,) = late_top_up.examine(evening, same_day, at("2026-11-21 10:00"))
    assert finding.level is Level.RED


def test_without_a_clause_or_a_floor_nothing_can_be_late(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime
) -> None:
    known = position(booked=closing("1.00"))
    assert late_top_up.examine(known, law(clause("fixed", amount="100.00")), now) == ()
    assert late_top_up.examine(known, law(clause("top_up", working_days=1)), now) == ()


def test_while_the_floor_is_not_known_neither_is_a_late_top_up(
    law: Law, clause: Make, position: Positions, closing: Balance, now: datetime
) -> None:
    window = law(clause("ratio_window", ratio="0.2", months=3), clause("top_up", working_days=1))
    (finding,) = late_top_up.examine(position(booked=closing("1.00")), window, now)
    assert (finding.standing, finding.as_of) == (Standing.UNKNOWN, closing("1.00").as_of)


# large outflow


def day(on: str, debits: int, largest: int, before: int | None) -> DayFlow:
    return DayFlow(
        on=date.fromisoformat(on), debits_fen=debits, largest_debit_fen=largest, previous_closing_fen=before
    )


@pytest.mark.parametrize(
    ("debits", "largest", "before", "standing", "level"),
    [
        (500_00, 100_00, 1000_00, Standing.MET, None),
        (500_01, 100_00, 1000_00, Standing.BREACHED, Level.YELLOW),
        (500_01, 300_01, 1000_00, Standing.BREACHED, Level.ORANGE),
        (300_01, 300_01, None, Standing.BREACHED, Level.ORANGE),
        (300_00, 300_00, None, Standing.UNKNOWN, None),
        (1, 1, -5_00, Standing.BREACHED, Level.YELLOW),
    ],
)
def test_a_large_outflow_is_measured_by_entry_and_by_day(
    law: Law, clause: Make, position: Positions, now: datetime,
    debits: int, largest: int, before: int | None, standing: Standing, level: Level | None,
) -> None:
    policy = law(
        clause("large_debit", clause_id="t/day", share_of_previous_closing="0.50", per="day"),
        clause("large_debit", clause_id="t/entry", amount="300.00", per="entry", level="orange"),
    )
    known = position(days=(day("2026-11-19", debits, largest, before),))
    assert said(large_outflow.examine(known, policy, now)) == [("2026-11-19", standing, level)]


def test_the_worst_of_several_limits_speaks_in_whatever_order(
    law: Law, clause: Make, position: Positions, now: datetime
) -> None:
    red_first = law(
        clause("large_debit", clause_id="t/red", amount="100.00", per="entry", level="red"),
        clause("large_debit", clause_id="t/yellow", amount="100.00", share_of_previous_closing="0.1", per="day"),
    )
    (finding,) = large_outflow.examine(position(days=(day("2026-11-19", 200_00, 200_00, None),)), red_first, now)
    assert (finding.level, finding.values["clause"]) == (Level.RED, "t/red")
    assert finding.why_en == (
        "one debit of 200.00 CNY on 2026-11-19, more than the limit of 100.00 CNY (clause t/red, "
        "某办法 某教〔2020〕1号, source found); ask what for and who approved it"
    )


def test_each_day_stands_for_itself_and_carries_its_own_time(
    law: Law, clause: Make, position: Positions, now: datetime, at: At
) -> None:
    policy = law(clause("large_debit", amount="100.00", per="day"))
    known = position(days=(day("2026-11-20", 200_00, 1, 1), day("2026-11-19", 50_00, 1, 1)))
    today, before = large_outflow.examine(known, policy, now)
    assert (today.period, today.standing, today.as_of) == ("2026-11-20", Standing.BREACHED, now)
    assert (before.period, before.standing, before.as_of) == ("2026-11-19", Standing.MET, at("2026-11-20 00:00"))
    assert "200.00 CNY left on 2026-11-20, more than the day's limit of 100.00 CNY" in today.why_en


def test_no_debits_or_no_clause_is_no_finding_and_another_currency_is_not_judged(
    law: Law, clause: Make, position: Positions, now: datetime, account: Account
) -> None:
    policy = law(clause("large_debit", amount="100.00", per="day"))
    assert large_outflow.examine(position(), policy, now) == ()
    known = position(days=(day("2026-11-19", 200_00, 1, 1),))
    assert large_outflow.examine(known, law(), now) == ()
    euros = replace(known, account=replace(account, currency="EUR"))
    assert said(large_outflow.examine(euros, policy, now)) == [("2026-11-19", Standing.UNKNOWN, None)]


# outflow cap


@pytest.fixture
def twice(law: Law, clause: Make) -> EffectivePolicy:
    return law(clause("fixed", amount="100.00"), clause("outflow_cap", times="2"))


def month(debits: int) -> MonthFlow:
    return MonthFlow(credits_fen=0, debits_fen=debits)


@pytest.mark.parametrize(
    ("october", "november", "known", "expected"),
    [
        (200_00, 200_00, {}, [(Standing.MET, None), (Standing.MET, None)]),
        (200_01, 0, {}, [(Standing.BREACHED, Level.RED), (Standing.MET, None)]),
        (0, 200_01, {}, [(Standing.MET, None), (Standing.BREACHED, Level.RED)]),
        (0, 200_01, {"entries_from": None}, [(Standing.UNKNOWN, None), (Standing.BREACHED, Level.RED)]),
        (0, 5, {"entries_to": date(2026, 11, 10)}, [(Standing.MET, None), (Standing.UNKNOWN, None)]),
    ],
)
def test_a_months_debits_are_held_against_the_multiple_of_the_floor(
    twice: EffectivePolicy, position: Positions, now: datetime,
    october: int, november: int, known: dict[str, object], expected: list[tuple[Standing, Level | None]],
) -> None:
    facts = {"entries_from": date(2026, 9, 1), "entries_to": date(2026, 11, 19), **known}
    account = position(months={"2026-10": month(october), "2026-11": month(november)}, **facts)
    findings = said(outflow_cap.examine(account, twice, now))
    assert [finding[0] for finding in findings] == ["2026-10", "2026-11"]
    assert [finding[1:] for finding in findings] == expected


def test_a_passed_cap_names_its_figures(twice: EffectivePolicy, position: Positions, now: datetime, at: At) -> None:
    known = position(months={"2026-11": month(250_00)}, entries_from=date(2026, 9, 1), entries_to=date(2026, 11, 19))
    _, finding = outflow_cap.examine(known, twice, now)
    assert finding.why_en == (
        "250.00 CNY left in 2026-11, more than the cap of 200.00 CNY (clause t/outflow_cap, "
        "某办法 某教〔2020〕1号, source found: 2.0000 x the floor of 100.00 CNY, itself by: "
        "某办法 某教〔2020〕1号, source found); stop payments and ask what for"
    )
    assert finding.as_of == at("2026-11-20 00:00")
    assert finding.recheck_at == at("2026-11-23 12:00")
    old = outflow_cap.examine(replace(known, entries_to=date(2026, 11, 2)), twice, now)[1]
    assert old.recheck_at is None


def test_of_a_month_without_entries_or_floor_nothing_is_known(
    twice: EffectivePolicy, law: Law, clause: Make, position: Positions, now: datetime
) -> None:
    unknown = [("2026-10", Standing.UNKNOWN, None), ("2026-11", Standing.UNKNOWN, None)]
    assert said(outflow_cap.examine(position(), twice, now)) == unknown
    no_floor = law(clause("outflow_cap", times="2"))
    assert said(outflow_cap.examine(position(months={"2026-11": month(1)}), no_floor, now)) == unknown
    assert outflow_cap.examine(position(), law(), now) == ()


def test_a_cap_of_a_floor_that_may_be_more_is_not_called_passed(
    law: Law, clause: Make, position: Positions, now: datetime
) -> None:
    window = law(clause("ratio_window", ratio="0.20", months=1), clause("outflow_cap", times="2"))
    flows = {"2026-11": MonthFlow(credits_fen=500_00, debits_fen=200_01)}
    known = position(months=flows, entries_from=date(2026, 11, 10), entries_to=date(2026, 11, 19))
    (_, finding) = outflow_cap.examine(known, window, now)
    assert finding.standing is Standing.UNKNOWN
    assert "the cap is at least 200.00 CNY" in finding.why_en


def test_the_month_before_is_not_judged_by_a_law_that_began_after_it(
    law: Law, clause: Make, position: Positions, now: datetime
) -> None:
    young = law(clause("fixed", amount="100.00"), clause("outflow_cap", times="2", effective_from=date(2026, 11, 1)))
    findings = outflow_cap.examine(position(months={"2026-10": month(999_00)}), young, now)
    assert [finding.period for finding in findings] == ["2026-11"]


# freshness


@pytest.fixture
def by_noon(law: Law, clause: Make) -> EffectivePolicy:
    return law(clause("freshness", final_by="12:00", orange_after_working_days=2))


@pytest.mark.parametrize(
    ("closing_on", "when", "standing", "level"),
    [
        ("2026-11-18", "2026-11-20 11:59", Standing.MET, None),
        ("2026-11-18", "2026-11-20 12:00", Standing.BREACHED, Level.YELLOW),
        ("2026-11-19", "2026-11-20 12:00", Standing.MET, None),
        ("2026-11-19", "2026-11-22 23:59", Standing.MET, None),
        ("2026-11-19", "2026-11-23 11:59", Standing.MET, None),
        ("2026-11-19", "2026-11-23 12:00", Standing.BREACHED, Level.YELLOW),
        ("2026-11-16", "2026-11-19 12:00", Standing.BREACHED, Level.YELLOW),
        ("2026-11-16", "2026-11-20 12:00", Standing.BREACHED, Level.ORANGE),
        ("2026-09-30", "2026-10-08 23:00", Standing.MET, None),
        ("2026-09-30", "2026-10-09 12:00", Standing.BREACHED, Level.YELLOW),
        ("2026-10-09", "2026-10-11 12:00", Standing.MET, None),
        ("2026-10-09", "2026-10-12 12:00", Standing.BREACHED, Level.YELLOW),
    ],
)
def test_the_final_balance_of_the_last_working_day_is_due_by_noon_of_the_next(
    by_noon: EffectivePolicy, position: Positions, closing: Balance, at: At,
    closing_on: str, when: str, standing: Standing, level: Level | None,
) -> None:
    known = position(closing=closing("1.00", closing_on))
    assert said(freshness.examine(known, by_noon, at(when))) == [("continuous", standing, level)]


def test_a_met_deadline_says_when_to_look_again(
    by_noon: EffectivePolicy, position: Positions, closing: Balance, at: At, now: datetime
) -> None:
    (here,) = freshness.examine(position(closing=closing("1.00", "2026-11-19")), by_noon, now)
    assert here.recheck_at == at("2026-11-23 12:00")
    (missing,) = freshness.examine(position(closing=closing("1.00", "2026-11-17")), by_noon, now)
    assert missing.recheck_at == at("2026-11-20 12:00")


@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("had_one", [True, False])
def test_a_silent_bank_is_named_with_what_it_last_answered(
    by_noon: EffectivePolicy, position: Positions, closing: Balance, at: At, refused: bool, had_one: bool
) -> None:
    known = position(last_answer_at=at("2026-11-17 18:00"))
    if had_one:
        known = replace(known, closing=closing("1.00", "2026-11-17"))
    if refused:
        known = replace(known, last_refusal=RefusalReason.TIMEOUT, refusals_in_a_row=7)
    (finding,) = freshness.examine(known, by_noon, at("2026-11-20 12:00"))
    assert finding.standing is Standing.BREACHED
    assert ("2026-11-17, 2 working days missed" in finding.why_en) is had_one
    assert ("7 answers of bank-a in a row could not be taken (timeout)" in finding.why_en) is refused
    assert ("bank-a last answered at" in finding.why_en) is not refused
    assert ("从未有过日终余额" in finding.why_zh) is not had_one


def test_a_bank_that_never_answered_is_not_said_to_have(by_noon: EffectivePolicy, position: Positions, at: At) -> None:
    (finding,) = freshness.examine(position(), by_noon, at("2026-11-20 12:00"))
    assert "bank-a has never answered; ask the bank" in finding.why_en
    assert "bank-a 从未应答；" in finding.why_zh


@pytest.mark.parametrize(
    ("registered", "opened", "standing", "missed"),
    [
        ("2026-11-20 13:00", None, Standing.UNKNOWN, None),
        ("2026-11-20 11:00", None, Standing.BREACHED, 1),
        ("2026-11-17 11:00", None, Standing.BREACHED, 2),
        (None, None, Standing.BREACHED, 1),
        ("2026-11-17 11:00", "2026-11-20", Standing.UNKNOWN, None),
        (None, "2026-11-19", Standing.BREACHED, 1),
    ],
)
def test_of_a_new_account_nothing_is_expected_before_its_first_deadline(
    by_noon: EffectivePolicy, position: Positions, at: At, account: Account,
    registered: str | None, opened: str | None, standing: Standing, missed: int | None,
) -> None:
    known = position(
        account=replace(account, opened_on=date.fromisoformat(opened) if opened else None),
        registered_at=at(registered) if registered else None,
    )
    (finding,) = freshness.examine(known, by_noon, at("2026-11-20 14:00"))
    assert (finding.standing, finding.values.get("missed_working_days")) == (standing, missed)
    assert finding.recheck_at == at("2026-11-23 12:00")
    assert finding.why_zh


def test_a_level_above_orange_is_not_lowered(
    law: Law, clause: Make, position: Positions, at: At, closing: Balance
) -> None:
    red = law(clause("freshness", final_by="12:00", level="red", orange_after_working_days=0))
    (finding,) = freshness.examine(position(closing=closing("1.00", "2026-11-10")), red, at("2026-11-20 14:00"))
    assert finding.level is Level.RED


# gaps


@pytest.mark.parametrize(
    ("gaps", "count", "standing", "overdue"),
    [
        ((), 0, Standing.MET, None),
        (("2026-11-18",), 1, Standing.MET, None),
        (("2026-11-17",), 1, Standing.BREACHED, 1),
        (("2026-11-18", "2026-11-17", "2026-11-10"), 3, Standing.BREACHED, 2),
        (("2026-11-18",), 5, Standing.BREACHED, 4),
    ],
)
def test_a_gap_may_last_two_working_days(
    law: Law, clause: Make, position: Positions, now: datetime,
    gaps: tuple[str, ...], count: int, standing: Standing, overdue: int | None,
) -> None:
    policy = law(clause("feed_gap", working_days=2))
    known = position(
        entries_from=date(2026, 9, 1), entries_to=date(2026, 11, 19), gap_count=count,
        gaps=tuple(date.fromisoformat(gap) for gap in gaps),
    )
    (finding,) = feed_gap.examine(known, policy, now)
    assert (finding.standing, finding.values.get("overdue")) == (standing, overdue)
    assert (finding.level is Level.YELLOW) == (standing is Standing.BREACHED)
    assert finding.why_zh
    assert finding.why_en


def test_a_young_gap_is_looked_at_again_when_it_is_too_old(
    law: Law, clause: Make, position: Positions, now: datetime, at: At
) -> None:
    policy = law(clause("feed_gap", working_days=2))
    known = position(entries_from=date(2026, 9, 1), gaps=(date(2026, 11, 18),), gap_count=1)
    (finding,) = feed_gap.examine(known, policy, now)
    assert finding.recheck_at == at("2026-11-23 00:00")
    (later,) = feed_gap.examine(known, policy, at("2026-11-23 00:00"))
    assert "2026-11-18" in later.why_en
    assert feed_gap.examine(position(), policy, now) == (), "without any statement gaps cannot be told"
    assert feed_gap.examine(known, law(), now) == ()


# corrected statements


def correction(on: str, before: int, after: int, **more: object) -> Correction:
    return Correction(**{
        "on": date.fromisoformat(on), "number": 1, "opening_before_fen": 100_00, "opening_after_fen": 100_00,
        "closing_before_fen": before, "closing_after_fen": after, "source": "icbc",
        "recorded_at": datetime(2026, 11, 20, 1, tzinfo=UTC), **more,
    })  # type: ignore[arg-type]


def test_a_corrected_closing_is_yellow_corrected_entries_are_information_and_each_day_stands_for_itself(
    law: Law, position: Positions, now: datetime
) -> None:
    known = position(corrections=(
        correction("2026-11-18", 130_00, 100_00, removed=1, removed_debits_fen=20_00, added=1, added_debits_fen=50_00),
        correction("2026-11-19", 99_00, 99_00, removed=1, added=2),
    ))
    findings = corrected_statement.examine(known, law(), now)
    assert said(findings) == [
        ("2026-11-18", Standing.BREACHED, Level.YELLOW), ("2026-11-19", Standing.BREACHED, Level.INFO),
    ]
    assert findings[0].why_en == (
        "icbc corrected the closing of 2026-11-18 from 130.00 CNY to 100.00 CNY; 1 entries taken back (in 0.00 CNY, "
        "out 20.00 CNY), 1 added (in 0.00 CNY, out 50.00 CNY); ask the bank why"
    )
    assert "icbc 更正 2026-11-18 的日终余额：原 130.00 CNY，现 100.00 CNY" in findings[0].why_zh
    assert "the closing of 99.00 CNY stands" in findings[1].why_en
    assert corrected_statement.examine(position(), law(), now) == ()


def test_of_a_day_corrected_twice_the_newest_speaks_and_the_gravest_level_stays(
    law: Law, position: Positions, now: datetime
) -> None:
    known = position(corrections=(
        correction("2026-11-18", 130_00, 100_00, reopened=date(2026, 11, 19)),
        correction("2026-11-18", 100_00, 100_00, number=2),
    ))
    (finding,) = corrected_statement.examine(known, law(), now)
    assert (finding.level, finding.values["times"]) == (Level.YELLOW, 2)
    (first,) = corrected_statement.examine(replace(known, corrections=known.corrections[:1]), law(), now)
    assert "2026-11-19 no longer follows and is asked for again" in first.why_en


def test_a_gap_that_grows_too_old_in_an_unknown_year_is_not_guessed(
    law: Law, clause: Make, position: Positions, at: At
) -> None:
    policy = law(clause("feed_gap", working_days=2), calendar="GB", on=date(2100, 12, 31))
    known = position(entries_from=date(2100, 9, 1), gaps=(date(2100, 12, 31),), gap_count=1)
    (finding,) = feed_gap.examine(known, policy, at("2100-12-31 23:00"))
    assert (finding.standing, finding.recheck_at) == (Standing.MET, None)


# account status


@pytest.mark.parametrize(
    ("status", "standing", "level"),
    [
        (AccountStatus.ACTIVE, Standing.MET, None),
        (AccountStatus.FROZEN, Standing.BREACHED, Level.RED),
        (AccountStatus.CLOSED, Standing.BREACHED, Level.RED),
        (AccountStatus.UNKNOWN, Standing.UNKNOWN, None),
    ],
)
def test_a_frozen_or_closed_account_is_red(
    law: Law, position: Positions, now: datetime, at: At, status: AccountStatus, standing: Standing, level: Level | None
) -> None:
    findings = account_status.examine(position(status=status, status_as_of=at("2026-11-19 09:00")), law(), now)
    assert said(findings) == [("continuous", standing, level)]
    assert findings[0].as_of == at("2026-11-19 09:00")


def test_of_a_bank_that_never_speaks_of_status_nothing_is_said(law: Law, position: Positions, now: datetime) -> None:
    assert account_status.examine(position(), law(), now) == ()
    (finding,) = account_status.examine(position(status=AccountStatus.FROZEN), law(), now)
    assert finding.as_of == now


# all of them


def test_every_rule_says_that_it_cannot_tell_in_a_year_the_calendar_does_not_know(
    law: Law, clause: Make, position: Positions, closing: Balance, at: At
) -> None:
    policy = law(
        clause("fixed", amount="100.00"), clause("top_up", working_days=1), clause("outflow_cap", times="2"),
        clause("feed_gap", working_days=1), on=date(2099, 3, 2),
    )
    known = position(
        booked=closing("1.00", "2099-03-01"), entries_from=date(2099, 1, 5), gaps=(date(2099, 2, 2),), gap_count=1
    )
    # Two closings differ or not, whatever the working days are.
    asked = [rule for rule in RULES if rule is not external_check.examine]
    findings = [finding for rule in asked for finding in rule(known, policy, at("2099-03-02 10:00"))]
    assert {finding.rule for finding in findings} == {"floor", "late_top_up", "outflow_cap", "freshness", "feed_gap"}
    for finding in findings:
        assert (finding.standing, finding.level) == (Standing.UNKNOWN, None)
        assert "the working days of 2099 are not known to the calendar CN" in finding.why_en
        assert "2099 年的工作日未知" in finding.why_zh


def test_an_account_of_which_nothing_is_known_is_never_called_met(
    law: Law, clause: Make, position: Positions, now: datetime
) -> None:
    policy = law(
        clause("ratio_window", ratio="0.2", months=3), clause("top_up", working_days=1),
        clause("outflow_cap", times="2"), clause("feed_gap", working_days=1),
        clause("large_debit", amount="1.00", per="day"),
    )
    findings = [finding for rule in RULES for finding in rule(position(), policy, now)]
    assert findings
    assert all(finding.standing is not Standing.MET for finding in findings)


def test_the_rules_conclude_together_what_each_concludes_alone(
    two_days: EffectivePolicy, position: Positions, closing: Balance, now: datetime
) -> None:
    accounts = [position(booked=closing(amount)) for amount in ("95.00", "120.00")]
    together = [rule(account, two_days, now) for account in accounts for rule in RULES]
    alone = [rule(replace(account), two_days, now + timedelta(0)) for account in accounts for rule in RULES]
    assert together == alone


# the watch over the watch


@pytest.mark.parametrize(
    ("last", "when", "standing", "level"),
    [
        ("10:00", "10:29", Standing.MET, None),
        ("10:00", "10:30", Standing.BREACHED, Level.ORANGE),
        ("10:00", "12:14", Standing.BREACHED, Level.ORANGE),
        ("10:00", "12:15", Standing.BREACHED, Level.RED),
        (None, "09:29", Standing.MET, None),
        (None, "09:30", Standing.BREACHED, Level.ORANGE),
    ],
)
def test_a_round_that_did_not_run_is_reported(
    at: At, last: str | None, when: str, standing: Standing, level: Level | None
) -> None:
    finding = examine_round(
        name="pull-balances", last_success_at=at(f"2026-11-20 {last}") if last else None,
        expected_every=timedelta(minutes=15), since=at("2026-11-20 09:00"), now=at(f"2026-11-20 {when}"),
    )
    assert (finding.standing, finding.level, finding.subject) == (standing, level, "round:pull-balances")
    assert ("never succeeded" in finding.why_en) == (last is None and standing is Standing.BREACHED)
    assert finding.why_zh
    assert (finding.recheck_at is None) == (level is Level.RED)


def test_a_daily_round_is_late_an_hour_after_its_time(at: At) -> None:
    finding = examine_round(
        name="check-balances", last_success_at=at("2026-11-19 12:00"), expected_every=timedelta(days=1),
        since=at("2026-11-01 09:00"), now=at("2026-11-20 13:00"),
    )
    assert finding.standing is Standing.BREACHED


@pytest.mark.parametrize(
    ("today", "calendar", "standing", "level"),
    [
        ("2026-11-20", "CN", Standing.MET, None),
        ("2100-12-17", "GB", Standing.MET, None),
        ("2100-12-18", "GB", Standing.BREACHED, Level.YELLOW),
        ("2101-01-04", "GB", Standing.BREACHED, Level.RED),
        ("2099-12-25", "GB", Standing.MET, None),
    ],
)
def test_a_calendar_that_ends_is_reported_once_and_in_time(
    at: At, today: str, calendar: str, standing: Standing, level: Level | None
) -> None:
    finding = examine_calendar(calendar_for(calendar), today=date.fromisoformat(today), now=at(f"{today} 10:00"))
    assert (finding.standing, finding.level, finding.subject) == (standing, level, f"calendar:{calendar}")
    assert finding.why_zh
    assert finding.why_en
