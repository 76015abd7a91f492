"""What institutions owed families, and charged them, at the end of each day of a month: for the monthly return.

    kept figures where they are up to date  -->  a blob a month        the others  -->  closure_series, from the rows

By the institution as a whole: where a contract is overdrawn the sum over contracts is more, so it is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from escrow_monitor.domain.closure.series import Ints
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.records.bulk import Reader, fetch, run
from escrow_monitor.records.closure.blobs import KEPT, LAYOUT, last_of, month_of, unpack
from escrow_monitor.records.closure.days import closure_series
from escrow_monitor.records.closure.frame import CURRENCY
from escrow_monitor.records.database import Session

__all__ = ["CURRENCY", "OwedDays", "owed_days"]

AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedDays:
    """In fen of CURRENCY: a row an institution (`places`), a column a day. `whole` False: it is at least that.

    Of an institution without a recorded contract nothing is known, and it has no place.
    """

    places: Mapping[str, int]
    owed: Ints
    charged: Ints
    charged_before: Mapping[str, Mapping[str, int]]
    whole: Mapping[str, bool]


def owed_days(
    session: Session, usccs: Sequence[str], *, first: date, last: date, months_from: str, policies: PolicyBook
) -> OwedDays:
    """The days of one calendar month of these institutions. `charged_before` is by institution and month since then."""
    states = fetch(
        session,
        "SELECT uscc, sum(CASE WHEN obligation_fen IS NULL OR entitled_fen + refunded_fen > paid_fen THEN 1 ELSE 0 END)"
        " FROM contract_accounts WHERE uscc IN EACH(:usccs) AND currency = :currency GROUP BY uscc ORDER BY uscc",
        usccs=list(usccs), currency=CURRENCY,
    )
    known = [uscc for uscc, _ in states]
    owed, charged = (np.zeros((len(known), (last - first).days + 1), np.int64) for _ in range(2))
    kept = _kept(session, known, first, last, policies)
    # The last day may be in the middle of the month that is kept whole.
    for place, uscc in enumerate(known):
        if uscc in kept:
            figures = kept[uscc][:, : owed.shape[1]]
            owed[place], charged[place] = figures[KEPT.index("owed_fen")], figures[KEPT.index("charged_fen")]
    rest = [uscc for uscc in known if uscc not in kept]
    places = {uscc: place for place, uscc in enumerate(known)}
    for start in range(0, len(rest), AT_ONCE):
        some = rest[start : start + AT_ONCE]
        series = closure_series(session, usccs=some, first=first, last=last, policies=policies)
        rows = [places[uscc] for uscc in some]
        owed[rows], charged[rows] = series.values["owed_fen"], series.values["charged_fen"]
    before: dict[str, dict[str, int]] = {}
    for uscc, month, fen in fetch(
        session,
        "SELECT uscc, month, charged_fen FROM institution_months WHERE uscc IN EACH(:usccs) AND currency = :currency"
        " AND month >= :months_from AND month < :this", usccs=known, currency=CURRENCY, months_from=months_from,
        this=f"{first:%Y-%m}",
    ):
        before.setdefault(uscc, {})[month] = int(fen)
    return OwedDays(
        places=places, owed=owed, charged=charged, charged_before=before,
        whole={uscc: not overdrawn for uscc, overdrawn in states},
    )


def _kept(
    session: Session, usccs: Sequence[str], first: date, last: date, policies: PolicyBook
) -> dict[str, Ints]:
    """The kept figures of that month, of the institutions of which they are there and nothing was recorded since."""
    layout = run(session, "SELECT layout, law_version FROM institution_day_layout").first()
    if layout is None or tuple(layout) != (LAYOUT, policies.version):
        return {}
    on = Reader(session).on
    month = month_of(first)
    fresh = [
        uscc for uscc, first_on, last_on, from_on in fetch(
            session,
            "SELECT s.uscc, s.first_on, s.last_on, m.from_on FROM institution_day_states s"
            " LEFT JOIN institution_day_marks m ON m.uscc = s.uscc WHERE s.uscc IN EACH(:usccs)", usccs=list(usccs),
        )
        if on(first_on) <= first and on(last_on) >= last and (from_on is None or on(from_on) > last)
    ]
    rows = fetch(
        session,
        "SELECT uscc, figures FROM institution_day_months WHERE uscc IN EACH(:usccs) AND month = :month",
        usccs=fresh, month=month,
    )
    figures = unpack([blob for _, blob in rows], last_of(month).day)
    return {uscc: figures[place] for place, (uscc, _) in enumerate(rows)}
