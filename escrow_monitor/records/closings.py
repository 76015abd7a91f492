"""Since when statements are recorded, and which institutions the register says are closed, since when."""

from __future__ import annotations

from datetime import date

from sqlmodel import Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.institutions import InstitutionStatus
from escrow_monitor.records.bulk import Reader, fetch


def history_begins_on(session: Session) -> date | None:
    """The first day of which a statement of any account is recorded; None: there is none."""
    return Reader(session).day(fetch(session, "SELECT min(day) FROM account_days WHERE covered")[0][0])


def recorded_since(session: Session) -> date | None:
    """The day on which the first institution was registered: of any day before, nothing was known here."""
    instant = Reader(session).instant(fetch(session, "SELECT min(recorded_at) FROM institutions")[0][0])
    return None if instant is None else instant.astimezone(ZONE).date()


def closed_on(session: Session) -> dict[str, date]:
    """The institutions that are closed, and the day on which their registration last changed: as they became so."""
    at = Reader(session).at
    rows = fetch(
        session, "SELECT uscc, changed_at FROM institutions WHERE status = :closed ORDER BY uscc",
        closed=InstitutionStatus.CLOSED.value,
    )
    return {uscc: at(changed_at).astimezone(ZONE).date() for uscc, changed_at in rows}
