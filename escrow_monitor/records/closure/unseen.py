"""Charges whose credit had not come eleven days after they were paid, by what matching has left open.

Only a charge that was offered to matching can be unseen, and only where statements reach its eleventh day: before that
nobody knows. One that fits something, though not for certain or not exactly, is not unseen; one that a person matches
later is so no more.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from sqlmodel import Session

from escrow_monitor.domain.closure.series import Ints
from escrow_monitor.records.bulk import Cells, Reader, fetch
from escrow_monitor.records.closure.frame import CURRENCY, Frame
from escrow_monitor.records.matching.sources import CHARGE_ID, SUPERVISED_SQL

UNSEEN_DAYS = 11
"""So long a charge may take from the family to the account: over a Spring Festival it does."""
_SHIFT = timedelta(days=UNSEEN_DAYS)


def unseen(
    session: Session, usccs: Sequence[str], *, first: date, last: date, known_at: datetime | None = None
) -> Ints:
    """`unseen_fen` of these institutions, a row each in their order."""
    places = {uscc: place for place, uscc in enumerate(usccs)}
    found = np.zeros((len(places), (last - first).days + 1), np.int64)
    given: dict[str, Any] = {"paid_from": first - _SHIFT, "paid_to": last - _SHIFT, "usccs": list(usccs)}
    if known_at is None:
        rows = fetch(session, _OPEN.format(only="h.uscc IN EACH(:usccs)"), **given)
    else:
        rows = fetch(session, _OPEN_THEN, **given, known_at=known_at)
    for uscc, day, fen in _of_covered(session, rows):
        found[places[uscc], (day - first).days] += fen
    return found


def unseen_totals(session: Session, *, first: date, last: date) -> Ints:
    """The same, day by day over all institutions."""
    total = np.zeros((last - first).days + 1, np.int64)
    rows = fetch(session, _OPEN.format(only="true"), paid_from=first - _SHIFT, paid_to=last - _SHIFT)
    for _, day, fen in _of_covered(session, rows):
        total[(day - first).days] += fen
    return total


def add_unseen(frame: Frame, *, known_at: datetime | None = None) -> None:
    """Fill the column of a frame."""
    frame.values["unseen_fen"] += unseen(
        frame.session, frame.usccs, first=frame.first, last=frame.last, known_at=known_at
    )


def _of_covered(session: Session, rows: Sequence[Cells]) -> list[tuple[str, date, int]]:
    """The open charges that all accounts are covered for, by institution and eleventh day."""
    if not rows:
        return []
    on = Reader(session).on
    spans = {
        uscc: (on(covered_from), on(covered_to)) for uscc, covered_from, covered_to in fetch(
            session, _COVERED, usccs=sorted({row[0] for row in rows})
        )
    }
    found = []
    for uscc, cell, fen in rows:
        paid_on, (covered_from, covered_to) = on(cell), spans.get(uscc, (date.max, date.min))
        if paid_on >= covered_from and paid_on + _SHIFT <= covered_to:
            found.append((uscc, paid_on + _SHIFT, fen))
    return found


_COVERED = f"""
    SELECT a.uscc, min(s.covered_from), min(s.covered_to)
    FROM accounts a JOIN account_states s ON s.account_no = a.account_no
    WHERE a.uscc IN EACH(:usccs) AND a.purpose IN ({SUPERVISED_SQL}) AND a.currency = '{CURRENCY}'
        AND s.covered_to IS NOT NULL
    GROUP BY a.uscc
"""
_CLEAR = (
    "NOT EXISTS (SELECT 1 FROM match_doubts d WHERE NOT d.is_line AND d.item_no = e.expected_no"
    " AND d.kind IN ('ambiguous', 'not_searched', 'amount_differs'))"
)
_OPEN = f"""
    SELECT e.uscc, e.expected_on, e.amount_fen
    FROM match_houses h JOIN open_expected o ON o.house_key = h.house_key
    JOIN match_expected e ON e.expected_no = o.expected_no AND e.uscc = h.uscc
    WHERE {{only}} AND e.kind = 'charge' AND e.currency = '{CURRENCY}' AND e.expected_on BETWEEN :paid_from AND :paid_to
        AND {_CLEAR}
"""
_OPEN_THEN = f"""
    SELECT e.uscc, e.expected_on, e.amount_fen
    FROM contracts k JOIN charges c ON c.contract_no = k.contract_no
    JOIN match_expected e ON e.expected_id = '{CHARGE_ID}' || c.charge_no
    WHERE k.uscc IN EACH(:usccs) AND e.currency = '{CURRENCY}' AND e.expected_on BETWEEN :paid_from AND :paid_to
        AND e.recorded_at <= :known_at AND {_CLEAR}
        AND NOT EXISTS (SELECT 1 FROM matches m WHERE m.expected_no = e.expected_no AND m.made_at <= :known_at)
        AND NOT EXISTS (SELECT 1 FROM match_more y JOIN matches m ON m.line_no = y.line_no
            WHERE NOT y.is_line AND y.item_no = e.expected_no AND m.made_at <= :known_at)
"""
