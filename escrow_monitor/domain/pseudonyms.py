"""A pseudonym names nobody: what looks like a person's name, phone, identity number or address is none."""

from __future__ import annotations

import re
from datetime import date

_NAME = re.compile(
    r"[\u3400-\u9fff]{2,4}\Z|[\u3400-\u9fff]{1,10}[·•・][\u3400-\u9fff·•・]{1,12}\Z"
    r"|[\u3400-\u9fff]{1,4}(?:家长|妈妈|爸爸|母亲|父亲|爷爷|奶奶|先生|女士|同学|小朋友|老师)\Z"
)
_MOBILE = re.compile(r"(?<![0-9])(?:\+?86[- ]?)?1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4}(?![0-9])", re.ASCII)
_IDENTITY = re.compile(r"(?<![0-9A-Za-z])([1-8][0-9]{16}[0-9Xx])(?![0-9A-Za-z])", re.ASCII)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_WEIGHTS = tuple(pow(2, 17 - place, 11) for place in range(17))
_CHECKS = "10X98765432"


def names_a_person(text: str) -> str | None:
    """Say what a text seems to be instead of a pseudonym, or None.

    An identity number counts as one when its day of birth exists and its check digit is right (GB 11643): long numbers
    that are pseudonyms pass.
    """
    if _NAME.match(text):
        return "a person's name"
    if _MOBILE.search(text):
        return "a phone number"
    if any(_is_identity(found) for found in _IDENTITY.findall(text)):
        return "an identity number"
    return "an e-mail address" if _ADDRESS.search(text) else None


def masked(text: str) -> str:
    """The first sign and how many follow: for messages about a text that may name somebody."""
    return text[:1] + "*" * (len(text) - 1)


def _is_identity(number: str) -> bool:
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _WEIGHTS, strict=True))
    return _CHECKS[total % 11] == number[17].upper()
