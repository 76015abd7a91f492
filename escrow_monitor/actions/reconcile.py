"""What people do about reconciliations: ask for one, match by hand, take a match apart."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.matching import Match, MatchingError
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import institution
from escrow_monitor.records.database import Session
from escrow_monitor.records.matching import decisions as match_decisions
from escrow_monitor.records.matching.decisions import StoredMatch
from escrow_monitor.records.matching.sources import ENTRY_ID
from escrow_monitor.records.reconciliation.reconciliations import AskedReconciliation, ask
from escrow_monitor.records.reconciliation_marks import mark_institutions


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be reconciled: one institution, or every one with contracts (`whole`: whether anything changed or
    not, with all sums made anew), at the end of a day, or of the newest that is due."""

    uscc: str | None = None
    day: date | None = None
    whole: bool = False


class UnknownInstitution(UsageError):
    """There is no such institution."""


def ask_reconciliation(session: Session, wanted: Wanted, *, actor: str, now: datetime) -> AskedReconciliation:
    """Note what a person wants, to be done at once or by whoever is free. Raises UsageError."""
    if wanted.uscc is not None and institution(session, wanted.uscc) is None:
        raise UnknownInstitution(f"there is no institution {wanted.uscc[:40]!r}: see institutions list")
    if wanted.day is not None and wanted.day > now.astimezone(ZONE).date():
        raise UsageError(f"{wanted.day} is still to come: no bank has closed it")
    return ask(
        session, request_id=f"R{secrets.token_hex(8)}", actor=actor, uscc=wanted.uscc, day=wanted.day,
        whole=wanted.whole, now=now,
    )


def make_match(
    session: Session, line_ids: Collection[str], expected_ids: Collection[str], *, by: str, reason: str, now: datetime
) -> Match:
    """Match these by a person's word; their institution is to be reconciled again. Raises UsageError."""
    try:
        made = match_decisions.match_by_hand(session, line_ids, expected_ids, by=by, reason=reason, now=now)
    except MatchingError as error:
        raise UsageError(str(error)) from error
    _mark(session, match_decisions.match_of(session, line_id=made.line_ids[0]))
    return made


def undo_match(session: Session, item_id: str, *, by: str, reason: str, now: datetime) -> Match:
    """Take apart the match that this bank line, charge or refund is in; it is not made again by itself."""
    is_line = item_id.startswith(ENTRY_ID)
    line_id, expected_id = (item_id, None) if is_line else (None, item_id)
    try:
        _mark(session, match_decisions.match_of(session, line_id=line_id, expected_id=expected_id))
        return match_decisions.unmatch(
            session, line_id=line_id, expected_id=expected_id, by=by, reason=reason, now=now
        )
    except MatchingError as error:
        raise UsageError(str(error)) from error


def _mark(session: Session, found: StoredMatch | None) -> None:
    if found is not None:
        mark_institutions(session, {line.uscc for line in found.lines})
