"""Training institutions and the unified social credit code that names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from escrow_monitor.errors import EscrowMonitorError

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_VALUE = {char: value for value, char in enumerate(_ALPHABET)}
_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
_SHAPE = re.compile(r"[0-9A-HJ-NP-RT-UW-Y]{2}[0-9]{6}[0-9A-HJ-NP-RT-UW-Y]{10}\Z", re.ASCII)


class InstitutionKind(StrEnum):
    """Subject (学科类) or non-subject (非学科类) training."""

    SUBJECT = "subject"
    NON_SUBJECT = "non_subject"


class InstitutionStatus(StrEnum):
    """What the registry says the institution is doing."""

    OPERATING = "operating"
    SUSPENDED = "suspended"
    CLOSING = "closing"
    CLOSED = "closed"


class UsccError(EscrowMonitorError, ValueError):
    """A unified social credit code is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Institution:
    """A provider whose prepaid fees are held. `district` is a GB/T 2260 code of six digits."""

    uscc: str
    name: str
    kind: InstitutionKind | None = None
    district: str | None = None
    grid: str | None = None
    licence_no: str | None = None
    licence_expires_on: date | None = None
    status: InstitutionStatus = InstitutionStatus.OPERATING
    policy: str | None = None


def check_uscc(code: str) -> str:
    """Return the code if it is well formed and its check character is right (GB 32100-2015), else raise UsccError.

    18 characters of `0-9 A-Z` without I, O, S, V, Z; the third to eighth are the region's digits; the last is
    `alphabet[(31 - sum(value * 3**(place-1) mod 31)) mod 31]` (domain.md section 7.5). First characters may be letters.
    """
    if not _SHAPE.match(code):
        raise UsccError(f"{code!r} is not a unified social credit code: 18 digits and capitals without I, O, S, V, Z")
    expected = uscc_check_character(code[:17])
    if code[17] != expected:
        raise UsccError(f"{code!r} is not a unified social credit code: its check character should be {expected}")
    return code


def uscc_check_character(first_17: str) -> str:
    """Return the 18th character for the first seventeen (GB 32100-2015)."""
    total = sum(_VALUE[char] * weight for char, weight in zip(first_17, _WEIGHTS, strict=True))
    return _ALPHABET[-total % 31]
