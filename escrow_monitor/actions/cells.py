"""What a cell of an imported table means: texts, dates, amounts, rates and words, each read exactly or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from fractions import Fraction

from escrow_monitor.actions.cell_text import Text, WrongCell
from escrow_monitor.domain.institutions import UsccError, check_uscc
from escrow_monitor.domain.money import MINOR_UNITS_MAX
from escrow_monitor.domain.pseudonyms import masked, names_a_person

Parse = Callable[[str], object]
"""Reads the text of a cell without the blanks around it. Raises ValueError with the reason."""

MEMO_MAX = 20_000
"""A column repeats its values: so many are remembered, then all are forgotten."""
KEY_CHARACTERS_MAX = 100
TEXT_CHARACTERS_MAX = 4_000
AMOUNT_THOUSANDTHS_MAX = MINOR_UNITS_MAX * 10
"""90 trillion of the main unit: exact in hundredths, and in thousandths a 64-bit number."""
YEARS = range(1990, 2100)

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]00:00(?::00)?)?\Z"
    r"|([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})(?: 0?0:00(?::00)?)?\Z"
    r"|([0-9]{4})年([0-9]{1,2})月([0-9]{1,2})日\Z|([0-9]{4})([0-9]{2})([0-9]{2})\Z", re.ASCII,
)
_AMOUNT = re.compile(r"(-?)([0-9]{1,14})(?:\.([0-9]{1,9}))?\Z", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,6}\Z", re.ASCII)
_RATE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,10})?)(%?)\Z", re.ASCII)
_DISTRICT = re.compile(r"[0-9]{6}\Z", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}\Z", re.ASCII)
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")
_CLAIMS = {"true": True, "是": True, "1": True, "yes": True, "false": False, "否": False, "0": False, "no": False}


class Memo(dict[Text, object]):
    """Reads cells by one function, each text once."""

    def __init__(self, parse: Parse) -> None:
        self.parse = parse

    def __missing__(self, cell: Text) -> object:
        if isinstance(cell, WrongCell):
            return cell
        if len(self) >= MEMO_MAX:
            self.clear()
        try:
            value = self.parse(cell.strip())
        except PersonNamed as error:
            value = WrongCell(masked(cell.strip()), str(error))
        except ValueError as error:
            value = WrongCell(cell, str(error))
        self[cell] = value
        return value

    def read(self, cells: Sequence[Text]) -> list[object]:
        """The values, a WrongCell where there is none."""
        return list(map(self.__getitem__, cells))


class PersonNamed(ValueError):
    """A cell that must be a pseudonym names somebody."""


def optional(parse: Parse, empty: object = None) -> Parse:
    """The same, an empty cell meaning that it is not known or not agreed."""
    return lambda text: parse(text) if text else empty


def needed(parse: Parse) -> Parse:
    """The same, an empty cell being wrong."""

    def read(text: str) -> object:
        if not text:
            raise ValueError("must not be empty")
        return parse(text)

    return read


def key(text: str) -> str:
    """What names a row: one line of signs that can be seen."""
    if len(text) > KEY_CHARACTERS_MAX or not text.isprintable():
        raise ValueError(f"is not one line of at most {KEY_CHARACTERS_MAX} characters")
    return words(text)


def words(text: str) -> str:
    """Any text, as it is: what begins like a formula is the text it is. Text garbled on its way is refused."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"is longer than {TEXT_CHARACTERS_MAX} characters")
    if not text.isascii() and is_garbled(text):
        raise ValueError("is garbled: the text was written and read in two encodings")
    if "\0" in text:
        raise ValueError("holds a character that is none")
    return text


def pseudonym(text: str) -> str:
    """A text that names nobody."""
    person = names_a_person(text)
    if person is not None:
        raise PersonNamed(f"looks like {person}: give a pseudonym")
    return key(text)


def day(text: str) -> date:
    """A date with its year first: 2026-11-20, 2026/11/20, 2026年11月20日, 20261120."""
    found = _DATE.match(text)
    if found is None:
        raise ValueError("is not a date: write it like 2026-11-20")
    year, month, of_month = (int(part) for part in found.groups() if part is not None)
    try:
        read = date(year, month, of_month)
    except ValueError:
        raise ValueError("is not a date: there is no such day") from None
    if year not in YEARS:
        raise ValueError(f"is not a date between {YEARS[0]} and {YEARS[-1]}")
    return read


def whole(least: int, most: int) -> Parse:
    """A whole number within bounds."""

    def read(text: str) -> int:
        number = int(text) if _WHOLE.match(text) else -1
        if not least <= number <= most:
            raise ValueError(f"is not a whole number from {least} to {most}")
        return number

    return read


def thousandths(least: int) -> Parse:
    """An amount in thousandths of its currency's main unit: how fine that is, is known later."""

    def read(text: str) -> int:
        found = _AMOUNT.match(text)
        if found is None:
            raise ValueError("is not a plain decimal amount: write it like 3500.00")
        sign, whole_part, part = found[1], found[2], found[3] or ""
        if part[3:].strip("0"):
            raise ValueError("is finer than any currency's smallest unit")
        amount = int(whole_part + part[:3].ljust(3, "0"))
        if sign or amount < least:
            raise ValueError("is below zero" if sign else "is not above zero")
        if amount > AMOUNT_THOUSANDTHS_MAX:
            raise ValueError("is more than is kept exactly")
        return amount

    return read


def share(text: str) -> str:
    """A share of one, as a decimal (0.0005) or in percent (0.05%); its exact text."""
    number, percent = _rate(text)
    value = number / 100 if percent else number
    if value > 1:
        raise ValueError("is more than the whole: write a share like 0.0005, or 0.05%")
    return _exact_text(value)


def percentage(text: str) -> str:
    """Percent of a whole, as 20 or 20%; its exact text."""
    number, _ = _rate(text)
    if number > 100:
        raise ValueError("is more than 100 percent")
    return _exact_text(number)


def claim(text: str) -> bool:
    """true or false, 是 or 否, 1 or 0."""
    try:
        return _CLAIMS[text.lower()]
    except KeyError:
        raise ValueError("is neither true nor false: write true, false, 是, 否, 1 or 0") from None


def one_of(values: type[StrEnum], zh: Mapping[str, str]) -> Parse:
    """The value of a closed set, by its name or its Chinese name."""
    known = {**{zh[value]: str(value) for value in values}, **{str(value): str(value) for value in values}}

    def read(text: str) -> str:
        try:
            return known[text]
        except KeyError:
            raise ValueError(f"must be one of {', '.join(f'{value} ({zh[value]})' for value in values)}") from None

    return read


def uscc(text: str) -> str:
    """A unified social credit code with the right check character."""
    try:
        return check_uscc(text)
    except UsccError as error:
        raise ValueError(str(error).partition(" ")[2]) from None


def district(text: str) -> str:
    """A GB/T 2260 code."""
    if not _DISTRICT.match(text):
        raise ValueError("is not a GB/T 2260 code of six digits")
    return text


def currency(text: str) -> str:
    """An ISO 4217 code."""
    if not _CURRENCY.match(text):
        raise ValueError("is not a currency code (ISO 4217)")
    return text


def is_garbled(text: str) -> bool:
    """Whether Chinese was written in one encoding and read in another, or signs were lost."""
    if "\ufffd" in text or "锟斤拷" in text:
        return True
    for encoding in ("gb18030", "cp1252", "latin-1"):
        try:
            # Chinese in UTF-8 is also GBK, of other characters, but hardly ever the reverse.
            if len(_IDEOGRAPH.findall(text.encode(encoding).decode("utf-8"))) > 1:
                return True
        except UnicodeError:
            continue
    return False


def _rate(text: str) -> tuple[Fraction, bool]:
    found = _RATE.match(text)
    if found is None:
        raise ValueError("is not a plain decimal, with or without a percent sign")
    return Fraction(found[1]), bool(found[2])


def _exact_text(value: Fraction) -> str:
    whole_part, rest = divmod(value.numerator * 10**12 // value.denominator, 10**12)
    return f"{whole_part}.{rest:012d}".rstrip("0").rstrip(".")
