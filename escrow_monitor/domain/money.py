"""Exact money: integer minor units (fen) of one currency."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from escrow_monitor.errors import EscrowMonitorError

MINOR_UNITS_MAX = 2**53 - 1
"""No amount is larger: JSON, JavaScript and RFC 8785 stay exact up to here (90 trillion yuan)."""

# ISO 4217: every currency not listed here has two minor digits.
_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
_AMOUNT = re.compile(r"(?P<sign>[+-]?)(?P<whole>[0-9]{1,16})(?:\.(?P<part>[0-9]{1,5}))?\Z", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)


class AmountError(EscrowMonitorError, ValueError):
    """An amount of money cannot be read exactly."""


class CurrencyMismatch(EscrowMonitorError, TypeError):
    """Two amounts of different currencies were put together."""


@lru_cache(maxsize=256)
def _is_currency(code: str) -> bool:
    return _CURRENCY.match(code) is not None


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of a currency, e.g. `Money(12_500_00, "CNY")` for 12,500 yuan.

    Raises AmountError beyond plus or minus 2^53-1 minor units or for a currency code that is not three capitals.
    """

    minor_units: int
    currency: str

    def __post_init__(self) -> None:
        if not -MINOR_UNITS_MAX <= self.minor_units <= MINOR_UNITS_MAX:
            raise AmountError(f"{self.minor_units} minor units are more than this program keeps exactly")
        if not _is_currency(self.currency):
            raise AmountError(f"{self.currency!r} is not a currency code (three capital letters, ISO 4217)")

    def __add__(self, other: Money) -> Money:
        return Money(self.minor_units + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor_units - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor_units, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor_units < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor_units <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor_units > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor_units >= self._same(other)

    def __str__(self) -> str:
        return f"{self.text} {self.currency}"

    def _same(self, other: Money) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"money goes only with money, not with {type(other).__name__}")
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self} and {other} are of different currencies")
        return other.minor_units

    @property
    def text(self) -> str:
        """The plain decimal in the main unit with its full minor digits: `"3500.00"`."""
        return decimal_text(self.minor_units, self.currency)

    @property
    def grouped(self) -> str:
        """For sentences people read: `"12,345,678.90"`."""
        whole, dot, part = self.text.partition(".")
        return f"{int(whole):,}{dot}{part}" if whole != "-0" else self.text


def exponent(currency: str) -> int:
    """How many minor digits a currency has (ISO 4217)."""
    return _EXPONENTS.get(currency, 2)


def unusual_exponents() -> Mapping[str, int]:
    """The minor digits of every currency that has not two."""
    return _EXPONENTS


def decimal_text(minor_units: int, currency: str) -> str:
    """Write minor units as a plain decimal of the main unit: `(350000, "CNY")` -> `"3500.00"`."""
    digits = exponent(currency)
    sign, units = ("-", -minor_units) if minor_units < 0 else ("", minor_units)
    whole, part = divmod(units, 10**digits)
    return f"{sign}{whole}.{part:0{digits}d}" if digits else f"{sign}{whole}"


def parse_amount(text: str, currency: str) -> Money:
    """Read a plain decimal exactly: `"3500"`, `"3500.5"`, `"-3500.00"`.

    Raises AmountError for exponents (`1e5`), NaN, thousands marks, non-ASCII digits, too many digits, or a
    part smaller than the currency's minor unit. Trailing zeros beyond the minor unit are harmless.
    """
    match = _AMOUNT.match(text)
    if match is None:
        raise AmountError(f"{text!r} is not a plain decimal amount")
    digits = exponent(currency)
    part = match["part"] or ""
    if part[digits:].strip("0"):
        raise AmountError(f"{text!r} is finer than the smallest unit of {currency}")
    units = int(match["whole"] + part[:digits].ljust(digits, "0"))
    return Money(-units if match["sign"] == "-" else units, currency)


def share_of(amount: Money, ratio: Fraction) -> Money:
    """Return `ratio` times `amount`, rounded half up to the minor unit (half away from zero below zero)."""
    return Money(round_half_up(amount.minor_units * ratio), amount.currency)


def round_half_up(value: Fraction) -> int:
    """Round to the nearest whole; halves go away from zero, as Chinese accounting does (四舍五入)."""
    doubled = 2 * abs(value)
    whole = int(doubled + 1) // 2
    return whole if value >= 0 else -whole
