"""The sessions taught under contracts, and how each was answered."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field, Session

from escrow_monitor.domain.contract_law import SilenceClock
from escrow_monitor.domain.contracts import Lesson, LessonStatus
from escrow_monitor.records.bulk import Cells, Reader, fetch, run, staged
from escrow_monitor.records.columns import Row, large, one_of
from escrow_monitor.records.incoming import Arrived, RowFault, Shape, arriving, drop_known, merge, touch, without

OPEN = "({0}status = 'requested' OR ({0}status = 'deemed' AND {0}decided_on IS NULL))"
"""SQL, with a place for the table's alias and its point: a lesson that only silence can have answered."""


class LessonRow(Row, table=True):
    """One session of a contract. `silence_on` is the day from which silence counts as consent, where a policy says so.

    It belongs to a contract that is recorded; that is checked where rows arrive.
    """

    __tablename__ = "lessons"
    __table_args__ = (
        CheckConstraint(one_of("status", LessonStatus), "status"),
        Index(
            "ix_lessons_open", "requested_on", sqlite_where=text(OPEN.format("")),
            postgresql_where=text(OPEN.format("")),
        ),
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
    return arrived.all_or_refused()


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


def set_silences(session: Session, only: str, **given: str) -> None:
    """Say of unanswered lessons from which day silence is consent, by the law of the institution (`contract_laws`).

    `only` is an AND with a place for an alias of contracts, which lets through those that are meant. Where no law is
    known, or its calendar is not, silence says nothing. The sums of these contracts are still to be made.
    """
    asked = fetch(session, _ASKED.format(only=only.format("k")), **given)
    if not asked:
        return
    on = Reader(session).on
    clocks = {text: SilenceClock.read(text) for text, _ in asked if text}
    rows = [
        (text, on(requested), clocks[text].deemed(on(requested)) if text else None) for text, requested in asked
    ]
    with staged(session, "silences", {"silence": str, "requested_on": date, "silence_on": date}, rows):
        run(session, _SET_SILENCES.format(only=only.format("k")), **given)


_LAWFUL = """
    SELECT k.contract_no, coalesce(w.silence, '') AS silence
    FROM contracts k LEFT JOIN contract_laws w ON w.uscc = k.uscc WHERE true{only}
"""
_ASKED = f"""
    SELECT DISTINCT k.silence, l.requested_on FROM lessons l JOIN ({_LAWFUL}) k ON k.contract_no = l.contract_no
    WHERE {OPEN.format("l.")} AND l.requested_on IS NOT NULL
"""
_SET_SILENCES = f"""
    UPDATE lessons SET silence_on = s.silence_on FROM ({_LAWFUL}) k, silences s
    WHERE k.contract_no = lessons.contract_no AND s.silence = k.silence AND s.requested_on = lessons.requested_on
        AND {OPEN.format("lessons.")} AND lessons.silence_on IS DISTINCT FROM s.silence_on
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
