"""Amounts whose currency is only known once their contract is: staged in thousandths, kept in minor units."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from sqlmodel import Session

from escrow_monitor.domain.money import MINOR_UNITS_MAX, decimal_text, exponent, unusual_exponents
from escrow_monitor.records.bulk import run
from escrow_monitor.records.incoming import Shape

THOUSANDTHS = "amount_thousandths"
"""No currency has more than three minor digits, and 2^53-1 minor units in thousandths fit 64 bits."""


def units_of(currency: str) -> str:
    """SQL: how many thousandths are one minor unit of the currency in this column."""
    cases = "".join(
        f" WHEN '{code}' THEN {10 ** (3 - digits)}" for code, digits in sorted(unusual_exponents().items())
    )
    return f"(CASE {currency}{cases} ELSE 10 END)"


def in_minor_units(session: Session, shape: Shape) -> None:
    """Give the staged rows their currency and their amount in its minor units."""
    run(
        session,
        f"UPDATE {shape.staged} SET currency = k.currency, amount_fen = {THOUSANDTHS} / {units_of('k.currency')}"
        f" FROM contracts k WHERE k.contract_no = {shape.staged}.contract_no",
    )


def cannot_be_kept(thousandths: str, currency: str) -> str:
    """SQL: an amount is finer than the currency in this column, or larger than what is kept exactly."""
    units = units_of(currency)
    return f"({thousandths} % {units} <> 0 OR {thousandths} / {units} > {MINOR_UNITS_MAX})"


def why_not_kept(thousandths: int, currency: str) -> tuple[str, str]:
    """Such an amount as it was written, and what is wrong with it."""
    fine = thousandths % 10 ** (3 - exponent(currency))
    return as_written(thousandths), (
        f"is finer than the smallest unit of {currency}" if fine else "is more than is kept exactly"
    )


def as_written(thousandths: int) -> str:
    """Thousandths as a plain decimal, without zeros at its end."""
    # Three digits are what a dinar has.
    return decimal_text(thousandths, "KWD").rstrip("0").rstrip(".")


assert MINOR_UNITS_MAX * 1000 < 2**63  # noqa: S101 - what the thousandths rest on
