"""What is said of an institution that may close: every level, in both languages, and nothing made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from escrow_monitor.domain.closure.outlook import Ahead, Outlook, Reason, outlook_of
from escrow_monitor.domain.findings import Finding, Level, Standing
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.rules import closure_watch

NOW = datetime(2026, 11, 23, 0, 20, tzinfo=UTC)
REASON = Reason(
    name="w3_ahead", points=2.5, zh="近 28 天划出超过已授课 12,345.00", en="12,345.00 was drawn ahead", new=True
)
OUTLOOK = Outlook(
    uscc="91110000600037341L", on=date(2026, 11, 23), level=Level.ORANGE, said=Level.YELLOW,
    chances={30: 0.04, 60: 0.0949, 90: 0.13}, chance_high=0.2, balance=Money(80_000_00, "CNY"),
    owed=Money(100_000_00, "CNY"), exposed=Money(20_000_00, "CNY"), exposed_then=Money(80_000_00, "CNY"),
    ahead=(Ahead(0, (80_000_00,) * 3, (100_000_00,) * 3), Ahead(90, (0, 10_000_00, 1), (1, 90_000_00, 2))),
    breach_in=(20, 34, 61), breach_zh="预计约 34 天后余额不足", breach_en="it falls below in about 34 days (20 to 61)",
    reasons=(REASON,), unsure=False, model="7",
)


def say(outlook: Outlook) -> Finding:
    finding = closure_watch.examine(outlook, NOW)
    for sentence in (finding.why_zh, finding.why_en):
        assert "{" not in sentence
        assert "None" not in sentence
    assert finding.subject == f"institution:{outlook.uscc}"
    return finding


def test_a_level_says_why_how_likely_how_much_and_what_could_be_done() -> None:
    finding = say(OUTLOOK)
    assert finding.standing is Standing.BREACHED
    assert finding.level is Level.ORANGE
    assert "12,345.00 was drawn ahead (new this week)" in finding.why_en
    assert "About 9% within 60 days" in finding.why_en
    assert "20000.00 CNY is not covered now and 80000.00 CNY in 90 days" in finding.why_en
    assert "in about 34 days (20 to 61)" in finding.why_en
    assert "约谈" in finding.why_zh
    assert "由监管人员决定" in finding.why_zh
    assert finding.figures["exposed_fen"] == 20_000_00
    assert finding.figures["chance_60"] == "0.0949"


def test_where_no_sign_stands_out_the_sum_of_them_is_said() -> None:
    finding = say(replace(OUTLOOK, reasons=()))
    assert "it may be about to close: many small signs together. About 9%" in finding.why_en
    assert "疑似关停征兆：各项征兆合计。" in finding.why_zh


@pytest.mark.parametrize("level", [Level.YELLOW, Level.ORANGE, Level.RED])
def test_every_level_has_its_step_in_both_languages(level: Level) -> None:
    finding = say(replace(OUTLOOK, level=level))
    assert finding.level is level
    others = [closure_watch.SENTENCES[other] for other in closure_watch.SENTENCES if other is not level]
    assert closure_watch.SENTENCES[level] not in others


def test_met_is_said_only_where_enough_is_known() -> None:
    quiet = replace(OUTLOOK, level=None, said=None, reasons=())
    assert say(quiet).standing is Standing.MET
    unsure = say(replace(quiet, unsure=True))
    assert unsure.standing is Standing.UNKNOWN
    assert unsure.level is None
    assert "cannot" in unsure.why_en or "too little" in unsure.why_en


def test_a_tiny_chance_is_not_said_to_be_none() -> None:
    assert "<1%" in say(replace(OUTLOOK, level=None, reasons=(), chances={30: 0.0, 60: 0.0001, 90: 0.001})).why_en


def test_an_outlook_reads_back_as_it_was_written() -> None:
    bare = replace(OUTLOOK, level=None, said=None, breach_in=None, exposed_then=None, ahead=(), reasons=())
    for one in (OUTLOOK, bare):
        assert outlook_of(one.as_json()) == one
