"""How the rows of each kind of imported file are read, checked each by itself, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from escrow_monitor.actions import cells
from escrow_monitor.actions.cells import Parse, needed, optional
from escrow_monitor.actions.import_columns import WORDS
from escrow_monitor.domain.accounts import Mode, Purpose
from escrow_monitor.domain.contracts import Cause, DeadlineUnit, GiftPolicy, LessonStatus, SubjectKind
from escrow_monitor.domain.institutions import InstitutionKind, InstitutionStatus
from escrow_monitor.domain.money import MINOR_UNITS_MAX, exponent
from escrow_monitor.domain.notices import NoticeKind
from escrow_monitor.records import accounts, complaints, notices
from escrow_monitor.records.contracts import charges, contracts, lessons, refund_claims
from escrow_monitor.records.contracts.amounts import as_written
from escrow_monitor.records.incoming import Arrived

DAYS_MAX = 3_660
LESSONS_MAX = 100_000

Columns = dict[str, list[Any]]
"""Values by column, all of one length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What is wrong with a row: its place among the values, the column, the value, and why."""

    place: int
    column: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of file: how each column is read, what names a row, and what keeps rows of these `cells`.

    `check` says what is wrong with rows whose cells are all right, and may turn columns into what is kept.
    `has_sums`: what contracts come to changes with such rows.
    """

    parses: Mapping[str, Parse]
    keys: tuple[str, ...]
    cells: tuple[str, ...]
    record: Callable[..., Arrived]
    check: Callable[[Columns], list[Wrong]] = lambda columns: []
    has_sums: bool = False


def _amounts(columns: Columns, column: str, to: str) -> list[Wrong]:
    """Turn thousandths into minor units of each row's own currency."""
    wrong: list[Wrong] = []
    made: list[int | None] = []
    for place, (amount, currency) in enumerate(zip(columns[column], columns["currency"], strict=True)):
        if amount is None:
            made.append(None)
            continue
        units, rest = divmod(amount, 10 ** (3 - exponent(currency)))
        made.append(units)
        if rest:
            reason = f"is finer than the smallest unit of {currency}"
            wrong.append(Wrong(place=place, column=column, value=as_written(amount), reason=reason))
        elif units > MINOR_UNITS_MAX:
            reason = "is more than is kept exactly"
            wrong.append(Wrong(place=place, column=column, value=as_written(amount), reason=reason))
    columns[to] = made
    return wrong


def _in_order(columns: Columns, first: str, last: str) -> list[Wrong]:
    """The rows whose `last` day lies before their `first`."""
    return [
        Wrong(place=place, column=last, value=str(later), reason=f"is before {first} {earlier}")
        for place, (earlier, later) in enumerate(zip(columns[first], columns[last], strict=True))
        if later is not None and earlier is not None and later < earlier
    ]


def _check_contracts(columns: Columns) -> list[Wrong]:
    return [
        *_amounts(columns, "fee", "fee_fen"), *_amounts(columns, "materials_fee", "materials_fee_fen"),
        *_in_order(columns, "starts_on", "ends_on"), *_in_order(columns, "signed_on", "ends_on"),
    ]


def _check_lessons(columns: Columns) -> list[Wrong]:
    requested = str(LessonStatus.REQUESTED)
    decided_early = [
        Wrong(place=place, column="decided_on", value=str(decided), reason="a lesson that is only requested has none")
        for place, (status, decided) in enumerate(zip(columns["status"], columns["decided_on"], strict=True))
        if decided is not None and status == requested
    ]
    return [*decided_early, *_in_order(columns, "requested_on", "decided_on")]


def _check_amounts_later(columns: Columns) -> list[Wrong]:
    """How fine an amount may be, its contract says: it is kept in thousandths until then."""
    columns["amount_thousandths"] = columns["amount"]
    columns["amount_fen"] = [None] * len(columns["amount"])
    return []


def _keyed(*names: str) -> dict[str, Parse]:
    return dict.fromkeys(names, needed(cells.key))


_DAY = optional(cells.day)
_KEY = optional(cells.key)
_WORDS = optional(cells.words)
_NOTE = optional(cells.words, "")
_DAYS = optional(cells.whole(0, DAYS_MAX))
_CLAIM = optional(cells.claim)

KINDS: Mapping[str, Kind] = {
    "institutions": Kind(
        parses={
            "uscc": needed(cells.uscc), "name": needed(cells.words),
            "kind": optional(cells.one_of(InstitutionKind, WORDS["kind"])), "licence_no": _KEY,
            "licence_expires_on": _DAY, "district": optional(cells.district), "grid": _KEY,
            "status": optional(
                cells.one_of(InstitutionStatus, WORDS["institution_status"]), InstitutionStatus.OPERATING.value
            ),
            "policy": _KEY,
        },
        keys=("uscc",), cells=accounts.INSTITUTION_COLUMNS, record=accounts.record_institutions,
    ),
    "accounts": Kind(
        parses={
            **_keyed("account_no", "bank"), "uscc": optional(cells.uscc),
            "connector": optional(cells.key, "berlin_group"),
            "purpose": optional(cells.one_of(Purpose, WORDS["purpose"]), Purpose.ESCROW.value),
            "mode": optional(cells.one_of(Mode, WORDS["mode"]), Mode.FLOOR.value),
            "currency": optional(cells.currency, "CNY"), "opened_on": _DAY, "external_id": _KEY,
        },
        keys=("account_no",), cells=accounts.ACCOUNT_COLUMNS, record=accounts.record_accounts,
    ),
    "contracts": Kind(
        parses={
            **_keyed("contract_no"), "uscc": needed(cells.uscc), "student_ref": needed(cells.pseudonym),
            "course": needed(cells.words), "subject_kind": optional(cells.one_of(SubjectKind, WORDS["kind"])),
            "signed_on": needed(cells.day), "starts_on": _DAY, "ends_on": _DAY,
            "lessons_paid": needed(cells.whole(1, LESSONS_MAX)),
            # No gift was agreed: that is none, not an unknown number.
            "lessons_gift": optional(cells.whole(0, LESSONS_MAX), 0),
            "gift_policy": optional(cells.one_of(GiftPolicy, WORDS["gift_policy"])),
            "fee": needed(cells.thousandths(0)), "materials_fee": optional(cells.thousandths(0)),
            "materials_delivered": _CLAIM, "full_refund_days_before": _DAYS, "full_refund_days_after": _DAYS,
            "full_refund_lessons": optional(cells.whole(0, LESSONS_MAX)), "prior_same_service": _CLAIM,
            "refund_deadline_days": _DAYS,
            "refund_deadline_unit": optional(cells.one_of(DeadlineUnit, WORDS["refund_deadline_unit"])),
            "late_daily_rate": optional(cells.share), "penalty_pct_remaining": optional(cells.percentage),
            "template_id": _KEY, "status": _WORDS, "currency": optional(cells.currency, "CNY"),
        },
        keys=("contract_no",), cells=tuple(contracts.SHAPE.columns), record=contracts.record_contracts,
        check=_check_contracts, has_sums=True,
    ),
    "charges": Kind(
        parses={
            **_keyed("charge_no", "contract_no"), "paid_on": needed(cells.day),
            "amount": needed(cells.thousandths(1)), "channel": _WORDS, "account_no": _KEY, "bank_ref": _KEY,
            "currency": optional(cells.currency),
        },
        keys=("charge_no",), cells=(*charges.SHAPE.columns, "amount_thousandths"), record=charges.record_charges,
        check=_check_amounts_later, has_sums=True,
    ),
    "lessons": Kind(
        parses={
            **_keyed("contract_no"), "session_no": needed(cells.whole(1, LESSONS_MAX)), "taught_on": _DAY,
            "status": needed(cells.one_of(LessonStatus, WORDS["lesson_status"])), "requested_on": _DAY,
            "decided_on": _DAY,
        },
        keys=("contract_no", "session_no"), cells=tuple(lessons.SHAPE.columns), record=lessons.record_lessons,
        check=_check_lessons, has_sums=True,
    ),
    "refund-claims": Kind(
        parses={
            **_keyed("claim_no", "contract_no"), "claimed_on": needed(cells.day),
            "amount": optional(cells.thousandths(1)), "cause": needed(cells.one_of(Cause, WORDS["cause"])),
            "note": _NOTE, "currency": optional(cells.currency),
        },
        keys=("claim_no",), cells=(*refund_claims.SHAPE.columns, "amount_thousandths"),
        record=refund_claims.record_refund_claims, check=_check_amounts_later,
    ),
    "complaints": Kind(
        parses={
            **_keyed("complaint_no"), "uscc": needed(cells.uscc), "received_on": needed(cells.day),
            "channel": _WORDS, "complainant_ref": optional(cells.pseudonym), "topic": _WORDS, "note": _NOTE,
        },
        keys=("complaint_no",), cells=tuple(complaints.SHAPE.columns), record=complaints.record_complaints,
    ),
    "notices": Kind(
        parses={
            **_keyed("notice_no"), "uscc": needed(cells.uscc), "noticed_on": needed(cells.day),
            "kind": needed(cells.one_of(NoticeKind, WORDS["notice_kind"])), "source": _WORDS, "note": _NOTE,
        },
        keys=("notice_no",), cells=tuple(notices.SHAPE.columns), record=notices.record_notices,
    ),
}

