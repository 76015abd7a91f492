"""Which institutions something was recorded of since they were last reconciled: a number each, that only grows."""

from __future__ import annotations

from collections.abc import Collection

from sqlmodel import Field, Session

from escrow_monitor.records.bulk import run
from escrow_monitor.records.columns import Row, large


class ReconciliationMarkRow(Row, table=True):
    """How often something changed under an institution's contracts or in its matches."""

    __tablename__ = "reconciliation_marks"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    version: int = large()


def mark_touched_contracts(session: Session) -> None:
    """Say of the institutions of the staged `touched_contracts` that something changed under their contracts.

    Runs inside `contract_sums.kept_up`, before the sums are made anew.
    """
    # One that was moved is missing now where its sums still are.
    _mark(
        session, "SELECT uscc, 1 FROM (SELECT k.uscc FROM touched_contracts t JOIN contracts k"
        " ON k.contract_no = t.contract_no UNION SELECT s.uscc FROM touched_contracts t JOIN contract_accounts s"
        " ON s.contract_no = t.contract_no) AS found WHERE true",
    )


def mark_institutions(session: Session, usccs: Collection[str]) -> None:
    """Say of these institutions that something changed, e.g. a match that a person made."""
    if usccs:
        _mark(
            session, "SELECT uscc, 1 FROM (SELECT DISTINCT uscc FROM contracts WHERE uscc IN EACH(:usccs)) AS found"
            " WHERE true", usccs=sorted(usccs),
        )


def _mark(session: Session, source: str, **given: list[str]) -> None:
    run(
        session,
        f"INSERT INTO reconciliation_marks (uscc, version) {source} ON CONFLICT (uscc) DO UPDATE"
        " SET version = reconciliation_marks.version + 1", **given,
    )
