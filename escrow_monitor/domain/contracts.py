"""What a family and an institution agreed, what was paid and taught, and what is claimed back.

The fields are the blanks of the model service contract GF-2021-2604 (domain.md section 3): what the parties left empty
is None here, which is "not agreed" or "not known", never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction

from escrow_monitor.domain.money import Money


class SubjectKind(StrEnum):
    """Whether the course teaches a school subject (学科类)."""

    SUBJECT = "subject"
    NON_SUBJECT = "non_subject"


class GiftPolicy(StrEnum):
    """How gift lessons count: paid lessons are used up first, or the fee is spread over all. The law has no default."""

    PAID_FIRST = "paid_first"
    BLENDED = "blended"


class DeadlineUnit(StrEnum):
    """What the days of a deadline are."""

    WORKING = "working"
    CALENDAR = "calendar"


class LessonStatus(StrEnum):
    """How a lesson stands. Only confirmed and deemed ones are taught for money; a disputed one is neither."""

    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    DEEMED = "deemed"
    DISPUTED = "disputed"
    CANCELLED = "cancelled"


class Cause(StrEnum):
    """Why money is claimed back."""

    CONSUMER = "consumer"
    INSTITUTION = "institution"
    FORCE_MAJEURE = "force_majeure"
    WINDOW = "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One contract. `fee` is for `lessons_paid` lessons, `materials_fee` for materials; both in one currency.

    `gift_policy` None: not agreed, which matters only where `lessons_gift` is above zero. `late_daily_rate` is a share
    of the overdue amount a day, `penalty_pct_remaining` a percentage of the untaught fee. `status` is the institution's
    own word. `student_ref` is a pseudonym.
    """

    contract_no: str
    uscc: str
    student_ref: str
    course: str
    fee: Money
    lessons_paid: int
    signed_on: date
    lessons_gift: int = 0
    materials_fee: Money | None = None
    subject_kind: SubjectKind | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    gift_policy: GiftPolicy | None = None
    materials_delivered: bool | None = None
    full_refund_days_before: int | None = None
    full_refund_days_after: int | None = None
    full_refund_lessons: int | None = None
    prior_same_service: bool | None = None
    refund_deadline_days: int | None = None
    refund_deadline_unit: DeadlineUnit | None = None
    late_daily_rate: Fraction | None = None
    penalty_pct_remaining: Fraction | None = None
    template_id: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One payment of a family under a contract, as the institution or the platform recorded it."""

    charge_no: str
    contract_no: str
    paid_on: date
    amount: Money
    channel: str | None = None
    account_no: str | None = None
    bank_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One session of a contract; (contract, session) is taught once. `decided_on` is when it was confirmed, deemed,
    disputed or cancelled."""

    contract_no: str
    session_no: int
    status: LessonStatus
    taught_on: date | None = None
    requested_on: date | None = None
    decided_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundClaim:
    """Money that a family claims back. `amount` None: as much as is due."""

    claim_no: str
    contract_no: str
    claimed_on: date
    cause: Cause
    amount: Money | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money that has gone back to a family and was seen in the bank."""

    contract_no: str
    paid_on: date
    amount: Money
    claim_no: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A complaint about an institution. `complainant_ref` is a pseudonym."""

    complaint_no: str
    uscc: str
    received_on: date
    channel: str | None = None
    complainant_ref: str | None = None
    topic: str | None = None
    note: str = ""
