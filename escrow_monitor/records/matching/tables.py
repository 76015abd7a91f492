"""The tables of matching: what was offered to it, what of that is open, and what was matched.

    match_lines, match_expected    every bank line and expected item, numbered as they came
    open_lines, open_expected      a narrow row of whole numbers for each that is in no match: the working set
    matches, match_more            one row a match; the further members of those that are no plain pair
    match_houses, match_pending    which keys an institution has in these; what is new in them
    match_doubts                   why an open item is open, where there is more to say than that nothing fits

An item is matched by deleting its open row in the transaction that writes the match: nobody else can use it as well.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Index
from sqlmodel import Field

from escrow_monitor.domain.matching import BreakKind, ExpectedKind, Tier
from escrow_monitor.records.columns import Row, exact, fen, large, one_of


def _number() -> int:
    """A number that we give ourselves."""
    number: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    return number


class MatchLineRow(Row, table=True):
    """A bank line as it was offered for matching."""

    __tablename__ = "match_lines"
    __table_args__ = (
        CheckConstraint(exact("amount_fen"), "amount_fen"), Index(None, "uscc", "booked_on"),
        {"sqlite_with_rowid": False},
    )

    line_no: int = _number()
    line_id: str = Field(unique=True)
    uscc: str
    currency: str
    account_no: str
    booked_on: date
    amount_fen: int = fen()
    reference: str | None = None
    text: str = ""
    recorded_at: datetime


class MatchExpectedRow(Row, table=True):
    """A movement that the bank should show, as it was offered for matching."""

    __tablename__ = "match_expected"
    __table_args__ = (
        CheckConstraint(one_of("kind", ExpectedKind), "kind"), CheckConstraint(exact("amount_fen"), "amount_fen"),
        {"sqlite_with_rowid": False},
    )

    expected_no: int = _number()
    expected_id: str = Field(unique=True)
    kind: str
    uscc: str
    currency: str
    account_no: str | None = None
    expected_on: date
    amount_fen: int = fen()
    reference: str | None = None
    recorded_at: datetime


class OpenLineRow(Row, table=True):
    """A bank line in no match. The keys are hashes made where it came in.

    `pair_key`: reference and amount (of this line alone if it has no reference); `reference_key` with
    `reference_check`, 126 bits, institution, currency, direction and reference; `house_key` the same without the
    reference; `day` counts from the year 1; `size_fen` is without its sign.
    """

    __tablename__ = "open_lines"
    __table_args__ = (
        Index(None, "reference_key"), Index(None, "house_key", "size_fen", "day"), Index(None, "line_no"),
        {"sqlite_with_rowid": False},
    )

    pair_key: int = _number()
    line_no: int = _number()
    reference_key: int | None = large(default=None)
    reference_check: int | None = large(default=None)
    house_key: int = large()
    account_key: int = large()
    day: int = large()
    size_fen: int = fen()


class OpenExpectedRow(Row, table=True):
    """An expected item in no match; `account_key` None: on whichever account."""

    __tablename__ = "open_expected"
    __table_args__ = (
        Index(None, "reference_key"), Index(None, "house_key", "size_fen", "day"), Index(None, "expected_no"),
        {"sqlite_with_rowid": False},
    )

    pair_key: int = _number()
    expected_no: int = _number()
    reference_key: int | None = large(default=None)
    reference_check: int | None = large(default=None)
    house_key: int = large()
    account_key: int | None = large(default=None)
    day: int = large()
    size_fen: int = fen()


class MatchHouseRow(Row, table=True):
    """A `house_key` under which items of an institution may be open: one a currency and direction."""

    __tablename__ = "match_houses"
    __table_args__ = ({"sqlite_with_rowid": False},)

    uscc: str = Field(primary_key=True)
    house_key: int = _number()


class MatchPendingRow(Row, table=True):
    """An open item that is new or open again since the last run."""

    __tablename__ = "match_pending"
    __table_args__ = ({"sqlite_with_rowid": False},)

    is_line: bool = Field(primary_key=True)
    item_no: int = _number()


class MatchRow(Row, table=True):
    """A match, known by the first of its lines. `made_by` and `reason` only where a person made it."""

    __tablename__ = "matches"
    __table_args__ = (
        CheckConstraint(one_of("tier", Tier), "tier"), CheckConstraint(exact("residual_fen"), "residual_fen"),
        {"sqlite_with_rowid": False},
    )

    line_no: int = _number()
    expected_no: int = large(unique=True)
    tier: str
    residual_fen: int = fen()
    made_at: datetime
    made_by: str | None = None
    reason: str | None = None


class MatchMoreRow(Row, table=True):
    """A further line or expected item of the match that begins with line `line_no`."""

    __tablename__ = "match_more"
    __table_args__ = (Index(None, "line_no"), {"sqlite_with_rowid": False})

    is_line: bool = Field(primary_key=True)
    item_no: int = _number()
    line_no: int = large()


class UndoneMatchRow(Row, table=True):
    """A match that was taken apart, with its members' ids as JSON lists.

    It is not made again by itself until `lifted_at`: when a person made it again, or at once if nobody decided against
    it but one of its items changed.
    """

    __tablename__ = "undone_matches"
    __table_args__ = (CheckConstraint(one_of("tier", Tier), "tier"), Index(None, "match_id"), Index(None, "lifted_at"))

    undone_no: int = _number()
    match_id: str
    line_ids: str
    expected_ids: str
    tier: str
    residual_fen: int = fen()
    made_at: datetime
    made_by: str | None = None
    made_for: str | None = None
    undone_at: datetime
    undone_by: str | None = None
    reason: str
    lifted_at: datetime | None = None


class MatchDoubtRow(Row, table=True):
    """Why an item is open, as the last run over it saw it; `near` a JSON list of ids of the other side."""

    __tablename__ = "match_doubts"
    __table_args__ = (CheckConstraint(one_of("kind", BreakKind), "kind"), {"sqlite_with_rowid": False})

    is_line: bool = Field(primary_key=True)
    item_no: int = _number()
    kind: str
    near: str
