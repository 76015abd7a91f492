"""The external check, and what links leave of a large outflow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import pytest

from escrow_monitor.domain.findings import Level, Standing
from escrow_monitor.domain.policy import EffectivePolicy
from escrow_monitor.domain.positions import BalanceBreak, DayFlow, Position
from escrow_monitor.domain.rules import external_check, large_outflow

Make = Callable[..., dict[str, object]]
Law = Callable[..., EffectivePolicy]
Positions = Callable[..., Position]
At = Callable[[str], datetime]

COVERED = {"entries_from": date(2026, 11, 2), "entries_to": date(2026, 11, 19)}


@pytest.fixture
def now(at: At) -> datetime:
    return at("2026-11-20 10:00")


def break_of(day: int, at: At, stated: int = 100_00, rolled: int = 99_00) -> BalanceBreak:
    return BalanceBreak(
        on=date(2026, 11, day), stated_fen=stated, rolled_fen=rolled, found_at=at(f"2026-11-{day + 1:02d} 08:30")
    )


def test_without_any_statement_there_is_nothing_to_check(law: Law, position: Positions, now: datetime) -> None:
    assert external_check.examine(position(), law(), now) == ()


def test_no_difference_is_met(law: Law, position: Positions, now: datetime) -> None:
    [finding] = external_check.examine(position(**COVERED), law(), now)
    assert (finding.standing, finding.level) == (Standing.MET, None)
    assert "2026-11-19" in finding.why_en
    assert "2026-11-19" in finding.why_zh


def test_a_difference_says_day_both_figures_and_what_to_do(
    law: Law, position: Positions, now: datetime, at: At
) -> None:
    known = position(**COVERED, breaks=(break_of(9, at),), break_count=1)
    [finding] = external_check.examine(known, law(), now)
    assert (finding.standing, finding.level, finding.period) == (Standing.BREACHED, Level.ORANGE, "continuous")
    assert finding.why_en == (
        "2026-11-09 closed with 100.00 CNY says bank-a, with 99.00 CNY by the entries: a difference of 1.00 CNY, open "
        "since 2026-11-10T08:30:00+08:00; ask the bank which is right, load the statement that was missing or "
        "corrected, and until then rely on no more than the lower"
    )
    assert "2026-11-09 日终余额：bank-a 称 100.00 CNY，按流水推算为 99.00 CNY，相差 1.00 CNY" in finding.why_zh
    assert finding.figures["difference_fen"] == 1_00


def test_of_many_days_the_first_is_named(law: Law, position: Positions, now: datetime, at: At) -> None:
    known = position(**COVERED, breaks=(break_of(9, at, 98_00), break_of(10, at)), break_count=40)
    [finding] = external_check.examine(known, law(), now)
    assert "40 days closed otherwise" in finding.why_en
    assert "40 天" in finding.why_zh
    assert (finding.figures["on"], finding.figures["difference"]) == ("2026-11-09", "-1.00")


@pytest.mark.parametrize(
    ("per", "debits", "largest", "own", "standing", "words"),
    [
        ("day", 60_00, 60_00, 0, Standing.BREACHED, "60.00 CNY left on 2026-11-19, more than"),
        ("day", 60_00, 60_00, 40_00, Standing.BREACHED, "of 100.00 CNY booked out on 2026-11-19, 40.00 CNY went to the "
         "institution's own escrow account, 60.00 CNY left, more than"),
        ("day", 10_00, 10_00, 90_00, Standing.MET, "90.00 CNY went to the institution's own escrow account"),
        ("day", 0, 0, 0, Standing.MET, "0.00 CNY left"),
        ("entry", 60_00, 60_00, 40_00, Standing.BREACHED, "40.00 CNY went to the institution's own escrow account"),
        ("entry", 60_00, 30_00, 40_00, Standing.MET, "40.00 CNY went"),
    ],
)
def test_what_stayed_in_the_house_is_named_and_is_no_outflow(
    law: Law, clause: Make, position: Positions, now: datetime,
    per: str, debits: int, largest: int, own: int, standing: Standing, words: str,
) -> None:
    flow = DayFlow(
        on=date(2026, 11, 19), debits_fen=debits, largest_debit_fen=largest, own_debits_fen=own,
        previous_closing_fen=500_00,
    )
    [finding] = large_outflow.examine(
        position(days=(flow,)), law(clause("large_debit", amount="50.00", per=per)), now
    )
    assert finding.standing is standing
    assert words in finding.why_en
    assert ("转入本机构其他监管账户" in finding.why_zh) is bool(own)


def test_what_cannot_be_judged_still_says_what_stayed_in_the_house(
    law: Law, clause: Make, position: Positions, now: datetime
) -> None:
    flow = DayFlow(
        on=date(2026, 11, 19), debits_fen=60_00, largest_debit_fen=60_00, own_debits_fen=40_00,
        previous_closing_fen=None,
    )
    policy = law(clause("large_debit", share_of_previous_closing="0.5", per="day"))
    [finding] = large_outflow.examine(position(days=(flow,)), policy, now)
    assert finding.standing is Standing.UNKNOWN
    assert "40.00 CNY went" in finding.why_en
