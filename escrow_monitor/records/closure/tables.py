"""The day figures that are kept of institutions for the closure watch, and from which day on they are out of date.

    institution_day_marks     something was recorded of an institution: its figures from a day on are to be made anew
    institution_day_states    from which month to which an institution's figures are kept, and since when it is known
    institution_day_months    all figures of one institution and calendar month as one compressed blob
    institution_month_totals  their sums over all institutions
    institution_day_layout    by which layout and which law they were made: one row
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import CheckConstraint, LargeBinary
from sqlmodel import Field

from escrow_monitor.records.columns import Row, large


class InstitutionDayMarkRow(Row, table=True):
    """From which day on an institution's figures are out of date. `version` grows with every mark."""

    __tablename__ = "institution_day_marks"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    from_on: date
    version: int = large()


class InstitutionDayStateRow(Row, table=True):
    """The first and the last day of the months that are kept; `began_on` is the first day that anything is known of.

    `closed_accounts`: so many of its accounts were closed when they were made, which was done `made` times.
    """

    __tablename__ = "institution_day_states"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    first_on: date
    last_on: date
    began_on: date | None = None
    closed_accounts: int = large()
    made: int = large()


class InstitutionMonthRow(Row, table=True):
    """One month of one institution; `month` counts from the year 0. `records.closure.blobs` says what is in `figures`.

    It is large, so a row is found by its place and not kept inside a tree.
    """

    __tablename__ = "institution_day_months"

    uscc: str = Field(primary_key=True)
    month: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    figures: bytes = Field(sa_type=LargeBinary)


class InstitutionMonthTotalRow(Row, table=True):
    """The sums of one month over all institutions."""

    __tablename__ = "institution_month_totals"

    month: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    figures: bytes = Field(sa_type=LargeBinary)


class InstitutionDayLayoutRow(Row, table=True):
    """By what the kept figures were made: the columns and how they are packed, and the version of the law."""

    __tablename__ = "institution_day_layout"
    __table_args__ = (CheckConstraint("one_row = 1", "one_row"),)

    one_row: int = Field(primary_key=True)
    layout: str
    law_version: str
