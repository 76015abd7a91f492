"""Statements: they tie, they chain, and twins stay two."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import (
    Entry,
    Refusal,
    RefusalReason,
    Statement,
    StatementKind,
    check_chains,
    check_ties,
    numbered,
)


def yuan(amount: int, currency: str = "CNY") -> Money:
    return Money(amount * 100, currency)


def entry(amount: int, currency: str = "CNY", text: str = "学费") -> Entry:
    return Entry(account_no="1", booked_on=date(2026, 11, 19), amount=yuan(amount, currency), text=text)


STATEMENT = Statement(
    account_no="1", currency="CNY", kind=StatementKind.END_OF_DAY, number="7", opening=yuan(100),
    opening_on=date(2026, 11, 18), closing=yuan(80), closing_on=date(2026, 11, 19), covers_from=date(2026, 11, 19),
    covers_to=date(2026, 11, 19), entries=(entry(30), entry(-50)), where="file line 3",
)


def test_opening_and_entries_make_the_closing() -> None:
    assert check_ties(STATEMENT) is None
    assert check_ties(replace(STATEMENT, opening=None)) is None
    assert check_ties(replace(STATEMENT, closing=None)) is None


def test_a_statement_that_does_not_tie_says_by_how_much() -> None:
    refusal = check_ties(replace(STATEMENT, closing=yuan(79)))
    assert refusal is not None
    assert refusal.reason is RefusalReason.DOES_NOT_TIE
    assert "100.00 + 2 entries -20.00 = 80.00, the statement says 79.00, off by -1.00" in refusal.detail


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"opening": yuan(100, "EUR")}, "opening"),
        ({"closing": yuan(80, "EUR")}, "closing"),
        ({"entries": (entry(30), entry(-50, "EUR"))}, "entry"),
    ],
)
def test_another_currency_is_refused(changed: dict[str, object], field: str) -> None:
    refusal = check_ties(replace(STATEMENT, **changed))
    assert refusal is not None
    assert (refusal.reason, refusal.field) == (RefusalReason.WRONG_CURRENCY, field)


def test_a_day_opens_with_what_the_day_before_closed() -> None:
    day = date(2026, 11, 18)
    assert check_chains(yuan(100), day, STATEMENT) is None
    assert check_chains(yuan(99), day, replace(STATEMENT, opening=None)) is None
    refusal = check_chains(yuan(99), day, STATEMENT)
    assert refusal is not None
    assert "opens with 100.00 CNY, but 2026-11-18 closed with 99.00 CNY" in str(refusal)


def test_identical_twins_are_two_entries() -> None:
    twins = numbered([entry(30), entry(30), entry(30, text="other")])
    assert [each.occurrence for each in twins] == [1, 2, 1]
    assert twins[0].identity == twins[1].identity


def test_only_whole_days_count_as_covered() -> None:
    assert STATEMENT.final
    assert not replace(STATEMENT, kind=StatementKind.INTRADAY).final
    assert not replace(STATEMENT, opening=None).final
    assert not replace(STATEMENT, closing=None).final


def test_a_refusal_reads_as_where_what_and_why() -> None:
    refusal = Refusal(reason=RefusalReason.BAD_AMOUNT, where="a.sta line 3", field=None, detail="no amount")
    assert str(refusal) == "a.sta line 3: no amount (bad_amount)"
    assert str(replace(refusal, field=":62F:")) == "a.sta line 3, :62F:: no amount (bad_amount)"
