"""The days of institutions for the closure watch, kept month by month, so that a morning does not read every lesson.

    rows recorded  --marked: from the 9th on-->  bring_up  --closure_direct, from that month on-->  a blob a month
    blobs          --stored_series, stored_peers-->  the same as from the rows themselves

A month is kept to its last day, as if nothing more were recorded: what is silent until then is known today. So an
institution of which nothing was recorded is touched once a month.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from escrow_monitor.domain.closure.series import PLATFORM, WINDOW, Ints, Peers, Series
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.records.bulk import Reader, fetch, is_sqlite, run, staged
from escrow_monitor.records.closure.blobs import (
    KEPT,
    LAYOUT,
    LIVE,
    ROWS,
    first_of,
    last_of,
    month_of,
    pack,
    unpack,
    unpack_into,
)
from escrow_monitor.records.closure.direct import (
    began_on,
    closure_series,
    frame_of,
    own_policies,
    peers_of,
    series_of_frame,
)
from escrow_monitor.records.closure.frame import NEVER, Frame
from escrow_monitor.records.closure.unseen import add_unseen, unseen_totals
from escrow_monitor.records.database import Database, Session

__all__ = ["Counts", "bring_up", "closure_series", "peers_of", "stored_peers", "stored_series"]

INSTITUTIONS_AT_ONCE = 2_000
CELLS_AT_ONCE = 800_000
"""Institutions times days: all columns of them are some 200 MB."""

Progress = Callable[[int, int | None], None]


class DaysNotKept(EscrowMonitorError):
    """Day figures are asked for that are not kept, or not brought up yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many institutions were brought up, and how many of their months were made anew."""

    institutions: int = 0
    months: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What is kept of an institution. `made` 0: nothing."""

    first_on: date
    last_on: date
    made: int
    closed_accounts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Institutions to be made anew from a month on."""

    month: int
    usccs: list[str]


def bring_up(
    database: Database, *, through: date, now: datetime, policies: PolicyBook | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Bring what is kept up to all that is recorded, at least to `through` and `WINDOW` days back.

    Some institutions a transaction, so that it may be stopped and begun again at any time; to do it twice changes
    nothing. What is recorded meanwhile stays marked for the next time. `policies` of another version make all anew.
    """
    law = policies or own_policies()
    with database.read() as session:
        stale = _is_other_layout(session, law.version)
    if stale:
        with database.write() as session:
            _forget(session, law.version)
    with database.read() as session:
        newest = Reader(session).day(run(session, "SELECT max(last_on) FROM institution_day_states").scalar())
        last = month_of(max(through, newest or through))
        pieces = _pieces(_due(session, last, month_of(through - timedelta(days=WINDOW))), last)
    total, done, months = sum(len(piece.usccs) for piece in pieces), 0, 0
    for piece in pieces:
        made = _make(database, piece, last, law)
        done, months = done + len(piece.usccs), months + made * (last - piece.month + 1)
        if progress is not None:
            progress(done, total)
    return Counts(institutions=total, months=months)


def stored_series(session: Session, *, usccs: Sequence[str], first: date, last: date) -> Series:
    """What `closure_series` gives, from what is kept. Raises DaysNotKept where `bring_up` has not been so far."""
    frame = Frame(session, usccs=usccs, first=first, last=last, empty=True)
    states, began = _states(session, usccs), _began(session, usccs)
    for uscc in frame.usccs:
        state = states.get(uscc)
        if state is None or state.first_on > first or state.last_on < last:
            raise DaysNotKept(f"the days of {uscc} are not kept from {first} to {last}: bring them up first")
    months = range(month_of(first), month_of(last) + 1)
    # Whole months, an institution after the other as blobs come; the days asked for are a part of them.
    every = np.zeros((len(frame.usccs), len(ROWS), (last_of(months[-1]) - first_of(months[0])).days + 1), np.int64)
    for month in months:
        keys, blobs = _blobs(session, frame.usccs, month, month).get(month, ([], []))
        places = np.fromiter(map(frame.places.__getitem__, keys), np.int64, len(keys))
        unpack_into(every, places, blobs, _days_of(month, months[0]))
    start = (first - first_of(months[0])).days
    asked = every[:, :, start : start + frame.days]
    lag = asked[:, -1]
    frame.values = {name: asked[:, row] for row, name in enumerate(KEPT)}
    frame.values[LIVE] = np.zeros((len(frame.usccs), frame.days), np.int64)
    add_unseen(frame)
    arrived = np.where(lag < 0, NEVER, lag + np.arange(frame.days))
    return series_of_frame(frame, arrived, began)


def stored_peers(session: Session, *, first: date, last: date) -> Peers:
    """What `peers_of` gives, from the kept sums."""
    days = (last - first).days + 1
    totals = {name: np.zeros(days, np.int64) for name in PLATFORM}
    for month, figures in _totals(session, month_of(first), month_of(last)).items():
        start = (first_of(month) - first).days
        inside = slice(max(0, -start), min(figures.shape[1], days - start))
        for name, total in totals.items():
            if name != LIVE:
                total[start + inside.start : start + inside.stop] = figures[KEPT.index(name), inside]
    totals[LIVE] += unseen_totals(session, first=first, last=last)
    return Peers(count=int(run(session, "SELECT count(*) FROM institution_day_states").scalar_one()), totals=totals)


# What is due.


def _is_other_layout(session: Session, law_version: str) -> bool:
    known = run(session, "SELECT layout, law_version FROM institution_day_layout").first()
    return known is None or tuple(known) != (LAYOUT, law_version)


def _forget(session: Session, law_version: str) -> None:
    """All was made by other columns, another packing or another law."""
    _lock(session)
    for table in ("institution_day_months", "institution_month_totals", "institution_day_states"):
        run(session, f"DELETE FROM {table}")
    run(
        session, "INSERT INTO institution_day_layout (one_row, layout, law_version) VALUES (1, :layout, :version)"
        " ON CONFLICT (one_row) DO UPDATE SET layout = excluded.layout, law_version = excluded.law_version",
        layout=LAYOUT, version=law_version,
    )


def _due(session: Session, last: int, first_kept: int) -> dict[str, int]:
    """The institutions that are not brought up, with the month from which on."""
    on = Reader(session).on
    found = {}
    for uscc, from_on, first_on, last_on, closed_differ in fetch(session, _DUE, last_on=last_of(last)):
        if first_on is None:
            found[uscc] = first_kept
            continue
        first = month_of(on(first_on))
        months = [month_of(on(last_on)) + 1]
        if from_on is not None:
            months.append(month_of(on(from_on)))
        found[uscc] = max(first, first if closed_differ else min(months))
    return found


def _pieces(due: Mapping[str, int], last: int) -> list[_Piece]:
    by_month: dict[int, list[str]] = defaultdict(list)
    for uscc, month in due.items():
        by_month[min(month, last)].append(uscc)
    pieces = []
    for month, usccs in sorted(by_month.items()):
        days = (last_of(last) - first_of(month)).days + 1
        at_once = max(1, min(INSTITUTIONS_AT_ONCE, CELLS_AT_ONCE // days))
        pieces += [
            _Piece(month=month, usccs=usccs[start : start + at_once]) for start in range(0, len(usccs), at_once)
        ]
    return pieces


_CLOSED = """
    SELECT a.uscc, count(*) AS closed FROM accounts a JOIN account_states t ON t.account_no = a.account_no
    WHERE t.status = 'closed' GROUP BY a.uscc
"""
_DUE = f"""
    SELECT i.uscc, m.from_on, s.first_on, s.last_on, coalesce(c.closed, 0) <> s.closed_accounts
    FROM institutions i LEFT JOIN institution_day_states s ON s.uscc = i.uscc
    LEFT JOIN institution_day_marks m ON m.uscc = i.uscc LEFT JOIN ({_CLOSED}) c ON c.uscc = i.uscc
    WHERE s.uscc IS NULL OR s.last_on < :last_on OR m.uscc IS NOT NULL OR coalesce(c.closed, 0) <> s.closed_accounts
    ORDER BY i.uscc
"""


# How it is made.


@dataclass(slots=True, kw_only=True)
class _Made:
    """What was made of a piece from one snapshot: figures (institutions, ROWS, days), and what it rests on."""

    usccs: list[str]
    figures: Ints
    began: Mapping[str, date | None]
    states: Mapping[str, _State]
    marks: Mapping[str, int]
    closed: Mapping[str, int]


def _make(database: Database, piece: _Piece, last: int, law: PolicyBook) -> int:
    """Make a piece anew; return how many institutions of it were kept: not those that another run has made since."""
    with database.read() as session:
        made = _gather(session, piece, last, law)
    # Packing takes as long as reading: nobody waits for it.
    months = list(range(piece.month, last + 1))
    blobs = [pack(made.figures[:, :, _days_of(month, piece.month)]) for month in months]
    with database.write() as session:
        _lock(session)
        now = _states(session, made.usccs)
        kept = [
            place for place, uscc in enumerate(made.usccs)
            if (now[uscc].made if uscc in now else 0) == (made.states[uscc].made if uscc in made.states else 0)
        ]
        _write(session, made, kept, piece.month, dict(zip(months, blobs, strict=True)))
    return len(kept)


def _gather(session: Session, piece: _Piece, last: int, law: PolicyBook) -> _Made:
    usccs, states = piece.usccs, _states(session, piece.usccs)
    on = Reader(session).on
    marks = {
        uscc: version for uscc, from_on, version in fetch(
            session, "SELECT uscc, from_on, version FROM institution_day_marks WHERE uscc IN EACH(:usccs)", usccs=usccs
        )
        # One that was marked from an earlier month on meanwhile keeps its mark for the next time.
        if uscc not in states or piece.month <= max(month_of(on(from_on)), month_of(states[uscc].first_on))
    }
    frame, arrived = frame_of(session, usccs=usccs, first=first_of(piece.month), last=last_of(last), policies=law)
    lag = np.where(arrived == NEVER, -1, arrived - np.arange(frame.days))
    return _Made(
        usccs=usccs, figures=np.stack([*(frame.values[name] for name in KEPT), lag], axis=1),
        began=began_on(session, usccs), states=states, marks=marks, closed=dict(fetch(session, _CLOSED)),
    )


def _days_of(month: int, first: int) -> slice:
    start = (first_of(month) - first_of(first)).days
    return slice(start, start + last_of(month).day)


def _lock(session: Session) -> None:
    if not is_sqlite(session):
        run(session, "SELECT pg_advisory_xact_lock(hashtext('escrow_monitor.institution_days'))")


def _write(
    session: Session, made: _Made, places: Sequence[int], first: int, blobs: Mapping[int, Sequence[bytes]]
) -> None:
    """Keep the months of those at these places, and let go of the marks they rest on."""
    usccs = [made.usccs[place] for place in places]
    before = _blobs(session, usccs, min(blobs), max(blobs))
    known = _totals(session, min(blobs), max(blobs))
    for month in blobs:
        total = made.figures[places, :-1, _days_of(month, first)].sum(axis=0)
        if month in before:
            total -= unpack(before[month][1], last_of(month).day)[:, :-1].sum(axis=0)
        if month in known:
            total += known[month]
        run(
            session, "INSERT INTO institution_month_totals (month, figures) VALUES (:month, :figures)"
            " ON CONFLICT (month) DO UPDATE SET figures = excluded.figures",
            month=month, figures=zlib.compress(total.astype("<i8").tobytes()),
        )
    rows = ((uscc, month, blobs[month][place]) for uscc, place in zip(usccs, places, strict=True) for month in blobs)
    with staged(session, "made_months", {"uscc": str, "month": int, "figures": bytes}, rows):
        run(
            session, "INSERT INTO institution_day_months (uscc, month, figures)"
            " SELECT uscc, month, figures FROM made_months WHERE true"
            " ON CONFLICT (uscc, month) DO UPDATE SET figures = excluded.figures",
        )
    _write_states(session, made, usccs, first, max(blobs))


def _write_states(session: Session, made: _Made, usccs: Sequence[str], first: int, last: int) -> None:
    states = {uscc: made.states.get(uscc) for uscc in usccs}
    rows = (
        (
            uscc, first_of(first) if state is None else min(state.first_on, first_of(first)), last_of(last),
            made.began.get(uscc), made.closed.get(uscc, 0), 1 if state is None else state.made + 1,
        )
        for uscc, state in states.items()
    )
    names, others = ", ".join(_STATE), [name for name in _STATE if name != "uscc"]
    with staged(session, "made_states", _STATE, rows):
        run(
            session, f"INSERT INTO institution_day_states ({names}) SELECT {names} FROM made_states WHERE true"
            " ON CONFLICT (uscc) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in others),
        )
    marks = ((uscc, made.marks[uscc]) for uscc in usccs if uscc in made.marks)
    with staged(session, "done_marks", {"uscc": str, "version": int}, marks):
        run(
            session, "DELETE FROM institution_day_marks WHERE EXISTS (SELECT 1 FROM done_marks d"
            " WHERE d.uscc = institution_day_marks.uscc AND d.version = institution_day_marks.version)",
        )


_STATE = {
    "uscc": str, "first_on": date, "last_on": date, "began_on": date, "closed_accounts": int, "made": int,
}


# Reading.


def _states(session: Session, usccs: Sequence[str]) -> dict[str, _State]:
    on = Reader(session).on
    return {
        row[0]: _State(first_on=on(row[1]), last_on=on(row[2]), closed_accounts=row[3], made=row[4])
        for row in fetch(
            session, "SELECT uscc, first_on, last_on, closed_accounts, made FROM institution_day_states"
            " WHERE uscc IN EACH(:usccs)", usccs=list(usccs),
        )
    }


def _began(session: Session, usccs: Sequence[str]) -> dict[str, date | None]:
    day = Reader(session).day
    return {
        uscc: day(began) for uscc, began in fetch(
            session, "SELECT uscc, began_on FROM institution_day_states WHERE uscc IN EACH(:usccs)", usccs=list(usccs)
        )
    }


def _blobs(session: Session, usccs: Sequence[str], first: int, last: int) -> dict[int, tuple[list[str], list[bytes]]]:
    """By month, the institutions of which it is kept, and their blobs."""
    found: dict[int, tuple[list[str], list[bytes]]] = {}
    for uscc, month, figures in fetch(
        session, "SELECT uscc, month, figures FROM institution_day_months WHERE uscc IN EACH(:usccs)"
        " AND month BETWEEN :first AND :last", usccs=list(usccs), first=first, last=last,
    ):
        keys, blobs = found.setdefault(month, ([], []))
        keys.append(uscc)
        blobs.append(figures)
    return found


def _totals(session: Session, first: int, last: int) -> dict[int, Ints]:
    """By month, the sums of KEPT."""
    return {
        month: np.frombuffer(zlib.decompress(figures), "<i8").reshape(len(KEPT), -1).astype(np.int64)
        for month, figures in fetch(
            session, "SELECT month, figures FROM institution_month_totals WHERE month BETWEEN :first AND :last",
            first=first, last=last,
        )
    }
