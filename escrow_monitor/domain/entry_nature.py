"""What an entry of an escrow account is by its own words: interest, a bank's fee, a refund, or nothing we can tell.

    +  12.34  "结息 2026Q3"          interest
    -  10.00  "账户管理费"            a fee
    - 9,000.00 "手续费"               not a fee: no bank takes so much, and whoever pays out writes the text
    - 500.00  "退学费 HT-1"           looks like a refund, whoever it went to

The words of a bank are its own for interest and fees; of a payment they are the payer's, so nothing is excused by them
that could empty an account.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

FEE_MINOR_UNITS_MAX = 200_00
"""No bank's fee on such an account is larger; a choice of ours."""


class EntryNature(StrEnum):
    """What an entry is by its words."""

    INTEREST = "interest"
    FEE = "fee"
    REFUND = "refund"
    OTHER = "other"


_INTEREST = re.compile(r"结息|利息|存款息|季度息|计息|\binterest\b")
_LENT = re.compile(r"贷款|借款|还息|融资|\bloan\b")
_FEE = re.compile(
    r"手续费|工本费|账户管理费|账户维护费|短信费|短信服务费|汇划费|邮电费|回单费|网银年费|对账费|利息税"
    r"|\bbank (?:charge|fee)s?\b|\baccount (?:charge|fee)s?\b|\bservice charges?\b|\btransfer fees?\b|\bcommission\b"
)
_LESSONS = re.compile(r"课时|课费|课酬|消课|销课|课程划拨|\blessons?\b|\bclass(?:es| hours?)\b")
_REFUND = re.compile(r"退费|退款|退还|退学费|退课|退学|\brefund(?:ed|s)?\b")


def entry_nature(text: str, amount_fen: int) -> EntryNature:
    """Read the text of one entry; `amount_fen` is signed, in minor units."""
    words = unicodedata.normalize("NFKC", text).casefold()
    small = abs(amount_fen) <= FEE_MINOR_UNITS_MAX
    if amount_fen > 0:
        return EntryNature.INTEREST if _INTEREST.search(words) and not _LENT.search(words) else EntryNature.OTHER
    if small and _FEE.search(words):
        return EntryNature.FEE
    if small and _INTEREST.search(words) and not _LENT.search(words):
        return EntryNature.INTEREST  # a tax on it, or some of it taken back
    return EntryNature.REFUND if _REFUND.search(words) else EntryNature.OTHER


def is_lesson_release(text: str) -> bool:
    """Whether the words of a debit say that lessons were given for it."""
    return bool(_LESSONS.search(unicodedata.normalize("NFKC", text).casefold()))
