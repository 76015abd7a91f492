"""How each institution's last reconciliation of a month came out: for the monthly return."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from sqlmodel import Session

from escrow_monitor.domain.bridge import BREAKS
from escrow_monitor.records.bulk import Reader, fetch


class MonthEnd(NamedTuple):
    """The reconciliation of the latest day up to the month's last, as it came out last.

    `items` are in lines that should not be there.
    """

    recon_no: int
    on: date
    complete: bool
    residual_fen: int
    items: int


def month_ends(session: Session, *, first: date, last: date) -> Mapping[tuple[str, str], MonthEnd]:
    """By institution and currency, of those that were reconciled for a day from `first` to `last`."""
    on = Reader(session).on
    return {
        (uscc, currency): MonthEnd(recon_no, on(day), bool(complete), int(residual), int(items or 0))
        for uscc, currency, recon_no, day, complete, residual, items in fetch(
            session,
            "SELECT n.uscc, n.currency, n.recon_no, n.day, n.complete, n.residual_fen, sum(l.items) FROM ("
            " SELECT r.uscc, r.currency, r.recon_no, r.day, r.complete, r.residual_fen, row_number() OVER"
            " (PARTITION BY r.uscc, r.currency ORDER BY r.day DESC, r.recon_no DESC) AS place"
            " FROM reconciliations r WHERE r.day BETWEEN :first AND :last"
            ") n LEFT JOIN reconciliation_lines l ON l.recon_no = n.recon_no AND l.label IN EACH(:labels)"
            " WHERE n.place = 1 GROUP BY n.uscc, n.currency, n.recon_no, n.day, n.complete, n.residual_fen",
            first=first, last=last, labels=sorted(BREAKS),
        )
    }
