"""What registers and other departments report of institutions."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.domain.notices import Notice, NoticeKind
from escrow_monitor.records.bulk import Cells, Reader, fetch
from escrow_monitor.records.columns import Row, one_of
from escrow_monitor.records.incoming import Arrived, Shape, record_about_institutions


class NoticeRow(Row, table=True):
    """One notice."""

    __tablename__ = "notices"
    __table_args__ = (CheckConstraint(one_of("kind", NoticeKind), "kind"), Index(None, "uscc", "noticed_on"))

    notice_no: str = Field(primary_key=True)
    uscc: str
    noticed_on: date
    kind: str
    source: str | None = None
    note: str = ""
    recorded_at: datetime
    changed_at: datetime


SHAPE = Shape(table="notices", keys=("notice_no",), columns={
    "notice_no": str, "uscc": str, "noticed_on": date, "kind": str, "source": str, "note": str,
})
"""The cells of a notice, in this order."""


def record_notices(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep notices given as (line, cells of SHAPE), no key twice; what does not fit is left out and said."""
    return record_about_institutions(session, SHAPE, rows, now=now)


def notices(session: Session, *, uscc: str, noticed_from: date | None = None) -> list[Notice]:
    """The notices about an institution, by day."""
    on = Reader(session).on
    rows = fetch(
        session,
        f"SELECT {', '.join(SHAPE.columns)} FROM notices WHERE uscc = :uscc AND noticed_on >= :noticed_from"
        " ORDER BY noticed_on, notice_no", uscc=uscc, noticed_from=noticed_from or date.min,
    )
    return [
        Notice(
            notice_no=row[0], uscc=row[1], noticed_on=on(row[2]), kind=NoticeKind(row[3]), source=row[4], note=row[5]
        )
        for row in rows
    ]
