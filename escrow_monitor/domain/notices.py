"""What registers and other departments report of an institution: one word a kind, in files, tables and columns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class NoticeKind(StrEnum):
    """What happened."""

    NEW_REPRESENTATIVE = "new_representative"
    NEW_ADDRESS = "new_address"
    NEW_CAMPUS = "new_campus"
    WAGE_ARREARS = "wage_arrears"
    RENT_ARREARS = "rent_arrears"
    LICENCE_REVOKED = "licence_revoked"
    ACCOUNT_FROZEN = "account_frozen"
    LARGE_OUTLAY_APPROVED = "large_outlay_approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notice. `noticed_on` is the day it happened, `source` who reported it."""

    notice_no: str
    uscc: str
    noticed_on: date
    kind: NoticeKind
    source: str | None = None
    note: str = ""
