"""Money: exact to the fen, of one currency, and nothing that is not a plain decimal."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.money import (
    MINOR_UNITS_MAX,
    AmountError,
    CurrencyMismatch,
    Money,
    decimal_text,
    exponent,
    parse_amount,
    round_half_up,
    share_of,
)
from escrow_monitor.domain.requirement import share

UNITS = st.integers(-MINOR_UNITS_MAX, MINOR_UNITS_MAX)


@given(UNITS, st.sampled_from(["CNY", "JPY", "KWD", "EUR"]))
def test_what_is_written_is_read_back_to_the_smallest_unit(units: int, currency: str) -> None:
    assert parse_amount(decimal_text(units, currency), currency) == Money(units, currency)


@pytest.mark.parametrize(
    ("text", "currency", "units"),
    [
        ("3500", "CNY", 350000), ("3500.5", "CNY", 350050), ("-0.01", "CNY", -1), ("+1", "CNY", 100),
        ("1.500", "CNY", 150), ("7", "JPY", 7), ("7.000", "JPY", 7), ("1.234", "KWD", 1234),
    ],
)
def test_plain_decimals_are_read_exactly(text: str, currency: str, units: int) -> None:
    assert parse_amount(text, currency).minor_units == units


@pytest.mark.parametrize(
    "text",
    ["1e5", "NaN", "inf", "", " 1", "1 ", "1,000.00", "1.005", "1.", ".5", "１２", "9" * 20, "--1", "0x10"],
)
def test_what_is_not_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(AmountError):
        parse_amount(text, "CNY")


def test_more_than_json_keeps_exactly_is_refused() -> None:
    with pytest.raises(AmountError, match="more than this program keeps exactly"):
        Money(MINOR_UNITS_MAX + 1, "CNY")
    with pytest.raises(AmountError, match="not a currency code"):
        Money(1, "yuan")


def test_money_is_added_compared_and_written() -> None:
    one, two = Money(100, "CNY"), Money(250, "CNY")
    assert (one + two, two - one, -one) == (Money(350, "CNY"), Money(150, "CNY"), Money(-100, "CNY"))
    assert one < two <= two
    assert two > one >= one
    assert str(two) == "2.50 CNY"
    assert Money(-5, "CNY").text == "-0.05"
    assert Money(1234567890, "CNY").grouped == "12,345,678.90"
    assert Money(-5, "CNY").grouped == "-0.05"
    assert Money(1234567, "JPY").grouped == "1,234,567"
    assert exponent("CNY") == 2


def test_two_currencies_never_meet() -> None:
    with pytest.raises(CurrencyMismatch, match=r"1\.00 CNY and 1\.00 EUR"):
        Money(100, "CNY") + Money(100, "EUR")
    with pytest.raises(CurrencyMismatch):
        assert Money(100, "CNY") < Money(100, "EUR")
    with pytest.raises(TypeError, match="money goes only with money, not with int"):
        Money(100, "CNY") + 1  # type: ignore[operator]  # what a caller must not do


@pytest.mark.parametrize(("value", "whole"), [("1/2", 1), ("-1/2", -1), ("3/2", 2), ("1/3", 0), ("-4/3", -1), ("5", 5)])
def test_halves_go_away_from_zero(value: str, whole: int) -> None:
    assert round_half_up(Fraction(value)) == whole


@given(st.integers(0, MINOR_UNITS_MAX), st.fractions(0, 1, max_denominator=10_000))
def test_the_quick_share_is_the_exact_share(units: int, ratio: Fraction) -> None:
    assert share(units, ratio) == share_of(Money(units, "CNY"), ratio).minor_units
