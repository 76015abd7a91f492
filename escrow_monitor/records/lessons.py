"""The sessions taught under contracts, and how each was answered."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, Session

from escrow_monitor.domain.clocks import ConfirmationClock
from escrow_monitor.domain.contracts import Lesson, LessonStatus
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bulk import Cells, Reader, fetch, staged
from escrow_monitor.records.columns import Row, large, one_of
from escrow_monitor.records.incoming import Arrived, RowFault, Shape, arriving, drop_known, merge, touch, without


def _open(alias: str = "") -> str:
    """SQL: a lesson that only silence can have answered."""
    return f"({alias}status = 'requested' OR ({alias}status = 'deemed' AND {alias}decided_on IS NULL))"


class LessonRow(Row, table=True):
    """One session of a contract. `silence_on` is the day from which silence counts as consent, where a policy says so.

    It belongs to a contract that is recorded; that is checked where rows arrive.
    """

    __tablename__ = "lessons"
    __table_args__ = (
        CheckConstraint(one_of("status", LessonStatus), "status"),
        Index("ix_lessons_open", "requested_on", sqlite_where=text(_open()), postgresql_where=text(_open())),
        {"sqlite_with_rowid": False},
    )

    contract_no: str = Field(primary_key=True)
    session_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    status: str
    taught_on: date | None = None
    requested_on: date | None = None
    decided_on: date | None = None
    silence_on: date | None = None
    changed_at: datetime


SHAPE = Shape(
    table="lessons", keys=("contract_no", "session_no"), times=("changed_at",), extra=", silence_on = NULL",
    columns={
        "contract_no": str, "session_no": int, "status": str, "taught_on": date, "requested_on": date,
        "decided_on": date,
    },
)
"""The cells of a lesson, in this order."""


def record_lessons(session: Session, rows: Iterable[Cells], *, now: datetime) -> Arrived:
    """Keep lessons given as (line, cells of SHAPE), no key twice; what does not fit is left out and said.

    Runs inside `contract_sums.kept_up`.
    """
    with arriving(session, SHAPE, rows):
        faults = _faults(session)
        without(session, SHAPE, faults)
        new, changed = drop_known(session, SHAPE)
        touch(session, "SELECT DISTINCT contract_no FROM incoming_lessons WHERE true")
        keys = merge(session, SHAPE, changed=changed, now=now)
    return Arrived(faults=tuple(faults), new=new, changed=changed, changed_keys=keys)


def save_lessons(session: Session, items: Iterable[Lesson], *, now: datetime) -> int:
    """Keep lessons; return how many are new or changed. Raises UsageError where one does not fit what is recorded.

    Runs inside `contract_sums.kept_up`.
    """
    arrived = record_lessons(session, (
        (
            place, one.contract_no, one.session_no, one.status.value, one.taught_on, one.requested_on, one.decided_on,
        )
        for place, one in enumerate(items, 1)
    ), now=now)
    if arrived.faults:
        fault = arrived.faults[0]
        raise UsageError(f"{fault.column} {fault.value}: {fault.reason}")
    return arrived.new + arrived.changed


def lessons(session: Session, contract_nos: Sequence[str]) -> list[Lesson]:
    """The lessons of these contracts, by contract and session."""
    day = Reader(session).day
    rows = fetch(
        session,
        f"SELECT {', '.join(SHAPE.columns)} FROM lessons WHERE contract_no IN EACH(:contract_nos)"
        " ORDER BY contract_no, session_no", contract_nos=contract_nos,
    )
    return [
        Lesson(
            contract_no=row[0], session_no=row[1], status=LessonStatus(row[2]), taught_on=day(row[3]),
            requested_on=day(row[4]), decided_on=day(row[5]),
        )
        for row in rows
    ]


def set_silences(session: Session, clocks: Mapping[str, ConfirmationClock]) -> int:
    """Say of every unanswered lesson from which day silence is consent; return how many that changed.

    `clocks` are those of institutions, by code; where there is none, silence says nothing. Runs inside
    `contract_sums.kept_up`, whenever lessons came, a policy changed or a calendar grew.
    """
    on = Reader(session).on
    asked = fetch(
        session,
        "SELECT DISTINCT k.uscc, l.requested_on FROM lessons l JOIN contracts k ON k.contract_no = l.contract_no"
        f" WHERE {_open('l.')} AND l.requested_on IS NOT NULL",
    )
    rows = [
        (uscc, on(requested), clocks[uscc].silence(on(requested)).deemed_from if uscc in clocks else None)
        for uscc, requested in asked
    ]
    with staged(session, "silences", {"uscc": str, "requested_on": date, "silence_on": date}, rows):
        moved = fetch(session, _SET_SILENCES)
    for start in range(0, len(moved), _TOUCHED_AT_ONCE):
        keys = sorted({contract_no for (contract_no,) in moved[start : start + _TOUCHED_AT_ONCE]})
        touch(session, "SELECT contract_no FROM contracts WHERE contract_no IN EACH(:keys)", keys=keys)
    return len(moved)


_TOUCHED_AT_ONCE = 50_000

_SET_SILENCES = f"""
    UPDATE lessons SET silence_on = s.silence_on FROM contracts k, silences s
    WHERE k.contract_no = lessons.contract_no AND s.uscc = k.uscc AND s.requested_on = lessons.requested_on
        AND {_open("lessons.")} AND lessons.silence_on IS DISTINCT FROM s.silence_on
    RETURNING lessons.contract_no
"""


def _faults(session: Session) -> list[RowFault]:
    day = Reader(session).day
    return [
        RowFault(line, "contract_no", contract_no, "no such contract: import it first") if signed_on is None
        else RowFault(
            line, "taught_on", str(day(taught_on)), f"taught before the contract was signed on {day(signed_on)}"
        )
        for line, contract_no, taught_on, signed_on in fetch(session, _WRONG)
    ]


_WRONG = """
    SELECT i.line, i.contract_no, i.taught_on, k.signed_on
    FROM incoming_lessons i LEFT JOIN contracts k ON k.contract_no = i.contract_no
    WHERE k.contract_no IS NULL OR i.taught_on < k.signed_on
"""
