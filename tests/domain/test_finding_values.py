"""Findings: one source for the sentence and the figures."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from escrow_monitor.domain.accounts import Missing, Unknown
from escrow_monitor.domain.figures import Figures
from escrow_monitor.domain.findings import (
    Finding,
    Level,
    Sentence,
    Standing,
    account_subject,
    as_text,
    round_subject,
)
from escrow_monitor.domain.money import Money

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def test_the_sentence_and_the_figures_say_the_same() -> None:
    finding = Finding(
        rule="floor", subject=account_subject("1"), standing=Standing.BREACHED, as_of=NOW,
        sentence=Sentence(zh="余额 {balance}", en="holds {balance} of {n}, {share}, {nothing}"),
        values={
            "balance": Money(99_00, "CNY"), "n": 3, "share": Fraction(99999, 100000), "nothing": None, "sure": True,
        },
    )
    assert finding.why_zh == "余额 99.00 CNY"
    assert finding.why_en == "holds 99.00 CNY of 3, 0.9999, -"
    assert finding.figures == {
        "balance": "99.00", "balance_fen": 9900, "n": 3, "share": "0.9999", "nothing": None, "sure": True,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(-1, 3), "-0.3333"), (date(2026, 11, 20), "2026-11-20"), (NOW, "2026-11-20T02:00:00+00:00"),
        (None, "-"), ("word", "word"), (7, "7"),
    ],
)
def test_values_are_written_as_people_read_them(value: object, text: str) -> None:
    assert as_text(value) == text  # type: ignore[arg-type]  # the table holds each kind of value


def test_figures_of_nothing_say_nothing() -> None:
    nothing = Figures()
    assert (nothing.accounts, nothing.round_last_success, nothing.feed_sequence) == ({}, {}, 0)


def test_levels_have_an_order() -> None:
    assert [level.rank for level in Level] == [1, 2, 3, 4]
    assert round_subject("pull-balances") == "round:pull-balances"


def test_an_unknown_balance_is_neither_true_nor_false() -> None:
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(Unknown(reason=Missing.NEVER_STATED))
