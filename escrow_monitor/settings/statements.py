"""Sections for statement files: the profiles by which CSV and XLSX files are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from escrow_monitor.settings.section import Section

STATED = frozenset({"account", "currency", "from", "to", "opening", "closing", "count", "credits", "debits"})
"""What patterns of `stated` may capture, by the names of their groups."""


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    return text


def _stated(text: str) -> str:
    names = set(re.compile(_pattern(text)).groupindex)
    if not names or names - STATED:
        raise ValueError(f"{text!r} must name its groups, each one of {', '.join(sorted(STATED))}")
    return text


def _date_format(text: str) -> str:
    if not all(part in text for part in ("%m", "%d")) or not ("%Y" in text or "%y" in text):
        raise ValueError(f"{text!r} is not a date format with year, month and day, like %Y-%m-%d")
    return text


HeaderName = Annotated[str, Field(min_length=1, max_length=200)]


class StatementColumns(Section):
    """Header names of the columns. Either `amount`, or `debit` and `credit`."""

    date: HeaderName
    amount: HeaderName | None = None
    indicator: HeaderName | None = None
    debit: HeaderName | None = None
    credit: HeaderName | None = None
    balance: HeaderName | None = None
    value_date: HeaderName | None = None
    reference: HeaderName | None = None
    text: tuple[HeaderName, ...] = ()
    counterparty: tuple[HeaderName, ...] = ()
    counterparty_account: HeaderName | None = None
    account: HeaderName | None = None
    currency: HeaderName | None = None


class StatementProfileSettings(Section):
    """How one bank lays out its CSV or XLSX statements. Used as `format = "profile:NAME"`, or by "auto" if it fits.

    `stated` are patterns with named groups, looked for in the lines before the header and from the footer on; each
    must be found. `footer` matches the first line that is no entry any more.
    """

    columns: StatementColumns
    direction: Literal["signed", "two_columns", "indicator"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: Literal["utf-8", "gb18030", "auto"] = "auto"
    sheet: str | None = None
    header_row: int | None = Field(default=None, ge=1, le=50)
    trailing_delimiter: bool = False
    footer: Annotated[str, AfterValidator(_pattern)] | None = None
    date_format: Annotated[str, AfterValidator(_date_format)] = "%Y-%m-%d"
    zero_padded: bool = True
    decimal_mark: Literal[".", ","] = "."
    thousands_mark: Literal["", ",", ".", " ", "'"] = ""
    unit: Literal["yuan", "fen"] = "yuan"
    credit_words: tuple[str, ...] = ()
    debit_words: tuple[str, ...] = ()
    negative_reverses: bool = False
    order: Literal["ascending", "descending"] = "ascending"
    account: str | None = Field(default=None, pattern=r"^[0-9A-Za-z][0-9A-Za-z/-]{0,34}$")
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    currency_words: Mapping[str, str] = {"人民币": "CNY", "RMB": "CNY"}
    stated: tuple[Annotated[str, AfterValidator(_stated)], ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> StatementProfileSettings:
        columns = self.columns
        wanted = {
            "signed": ("amount",), "indicator": ("amount", "indicator"), "two_columns": ("debit", "credit"),
        }[self.direction]
        given = tuple(
            name for name in ("amount", "indicator", "debit", "credit") if getattr(columns, name) is not None
        )
        if set(given) != set(wanted):
            names = " and ".join(wanted)
            raise ValueError(f"direction {self.direction} needs the columns {names}, and no other for amounts")
        if self.direction == "indicator" and not (self.credit_words and self.debit_words):
            raise ValueError("direction indicator needs credit_words and debit_words")
        if set(self.credit_words) & set(self.debit_words):
            raise ValueError("a word stands for credit and for debit")
        if self.decimal_mark == self.thousands_mark:
            raise ValueError("decimal_mark and thousands_mark are the same")
        groups = {name for pattern in self.stated for name in re.compile(pattern).groupindex}
        if columns.account is None and self.account is None and "account" not in groups:
            raise ValueError("nothing says the account: set columns.account, account, or a stated pattern")
        if columns.currency is None and self.currency is None and "currency" not in groups:
            raise ValueError("nothing says the currency: set columns.currency, currency, or a stated pattern")
        if ("from" in groups) != ("to" in groups):
            raise ValueError("a stated period needs both from and to")
        return self
