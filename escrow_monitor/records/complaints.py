"""Complaints about institutions."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from sqlalchemy import Index
from sqlmodel import Field, Session

from escrow_monitor.domain.contracts import Complaint
from escrow_monitor.records.bulk import Cells, Reader, fetch
from escrow_monitor.records.columns import Row
from escrow_monitor.records.incoming import Arrived, Shape, record_about_institutions


class ComplaintRow(Row, table=True):
    """One complaint. `complainant_ref` is a pseudonym."""

    __tablename__ = "complaints"
    __table_args__ = (Index(None, "uscc", "received_on"),)

    complaint_no: str = Field(primary_key=True)
    uscc: str
    received_on: date
    channel: str | None = None
    complainant_ref: str | None = None
    topic: str | None = None
    note: str = ""
    recorded_at: datetime
    changed_at: datetime


SHAPE = Shape(table="complaints", keys=("complaint_no",), columns={
    "complaint_no": str, "uscc": str, "received_on": date, "channel": str, "complainant_ref": str, "topic": str,
    "note": str,
})
"""The cells of a complaint, in this order."""


def record_complaints(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep complaints given as (line, cells of SHAPE), no key twice; what does not fit is left out and said."""
    return record_about_institutions(session, SHAPE, rows, now=now)


def complaints(session: Session, *, uscc: str, received_from: date | None = None) -> list[Complaint]:
    """The complaints about an institution, by day."""
    on = Reader(session).on
    rows = fetch(
        session,
        f"SELECT {', '.join(SHAPE.columns)} FROM complaints WHERE uscc = :uscc AND received_on >= :received_from"
        " ORDER BY received_on, complaint_no", uscc=uscc, received_from=received_from or date.min,
    )
    return [
        Complaint(
            complaint_no=row[0], uscc=row[1], received_on=on(row[2]), channel=row[3], complainant_ref=row[4],
            topic=row[5], note=row[6],
        )
        for row in rows
    ]
