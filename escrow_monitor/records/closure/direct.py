"""The days of institutions for the closure watch, made from the rows themselves, a query a column and not a row each.

    contracts, lessons, charges   closure_books      statements, entries   closure_bank
    claims                        closure_claims     open charges          closure_unseen
    fee caps                      closure_caps
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache

import numpy as np
from sqlmodel import Session

from escrow_monitor.domain.calendar import CalendarUnknown, calendar_for
from escrow_monitor.domain.closure.series import LICENCE_UNKNOWN, PLATFORM, Bools, Ints, Peers, Series
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.policies import load_policies
from escrow_monitor.records.bulk import Reader, fetch, texts
from escrow_monitor.records.closure.bank import add_bank
from escrow_monitor.records.closure.books import add_books
from escrow_monitor.records.closure.caps import add_over_cap
from escrow_monitor.records.closure.claims import add_claims
from escrow_monitor.records.closure.frame import ALWAYS, CURRENCY, Frame
from escrow_monitor.records.closure.unseen import add_unseen
from escrow_monitor.records.matching.sources import SUPERVISED_SQL

AT_ONCE = 5_000
"""Institutions: a year of their days is half a gigabyte."""


def closure_series(
    session: Session, *, usccs: Sequence[str], first: date, last: date, known_at: datetime | None = None,
    policies: PolicyBook | None = None,
) -> Series:
    """Everything known of these institutions from `first` to `last`, in their order; an unknown code is a KeyError.

    `policies` say what is beyond a fee cap (None: those of this program). With `known_at`, rows that were recorded
    later are left out, statements are as they were before what corrected them since, and matches made later are not
    yet. What is updated in place cannot be taken back: a lesson is as it is now, its answer counting from its own day;
    so are the terms of contracts, the amounts of changed charges and claims, the state of cases, links between
    entries, doubts of matching, an account's mode and status, and the licence. Undone matches are as if never made.
    """
    frame, arrived = frame_of(
        session, usccs=usccs, first=first, last=last, known_at=known_at, policies=policies or own_policies()
    )
    add_unseen(frame, known_at=known_at)
    return series_of_frame(frame, arrived)


def peers_of(
    session: Session, *, first: date, last: date, known_at: datetime | None = None, policies: PolicyBook | None = None,
) -> Peers:
    """All institutions together, some at a time so that memory does not grow with their number."""
    totals, count = {name: np.zeros((last - first).days + 1, np.int64) for name in PLATFORM}, 0
    for usccs in every_institution(session):
        series = closure_series(
            session, usccs=usccs, first=first, last=last, known_at=known_at, policies=policies
        )
        count += len(usccs)
        for name, total in totals.items():
            total += series.values[name].sum(axis=0)
    return Peers(count=count, totals=totals)


def every_institution(session: Session, at_once: int = AT_ONCE) -> Iterator[list[str]]:
    """The codes of all institutions, so many at a time."""
    after = ""
    while found := texts(
        session, f"SELECT uscc FROM institutions WHERE uscc > :after ORDER BY uscc LIMIT {at_once:d}", after=after
    ):
        yield found
        after = found[-1]


# for the other tables of this room


@lru_cache(maxsize=1)
def own_policies() -> PolicyBook:
    """Those of this program."""
    return load_policies()


def frame_of(
    session: Session, *, usccs: Sequence[str], first: date, last: date, policies: PolicyBook,
    known_at: datetime | None = None,
) -> tuple[Frame, Ints]:
    """All columns but `unseen_fen`, and when each day's statement was here."""
    frame = Frame(session, usccs=usccs, first=first, last=last, known_at=known_at or ALWAYS)
    arrived, refunds = add_bank(frame)
    add_books(frame)
    add_claims(frame, refunds)
    add_over_cap(frame, policies)
    # More went back than was owed: that is nobody's debt.
    np.maximum(frame.values["owed_fen"], 0, out=frame.values["owed_fen"])
    return frame, arrived


def series_of_frame(frame: Frame, arrived: Ints, began: dict[str, date | None] | None = None) -> Series:
    """The frame's arrays with what is known of institutions and days beside them."""
    on = began if began is not None else began_on(frame.session, frame.usccs)
    ends = _licences(frame)
    return Series(
        ids=tuple(frame.usccs), starts_on=frame.first, working=working_days(frame.first, frame.last),
        custody=_custody(frame), licence_ends=ends,
        began=np.array([
            frame.days if day is None else min(frame.days, max(0, frame.column(day)))
            for day in (on.get(uscc) for uscc in frame.usccs)
        ], np.int64),
        values=frame.values, arrived=arrived,
    )


def began_on(session: Session, usccs: Sequence[str]) -> dict[str, date | None]:
    """The first day that anything is known of: a contract was signed, a statement covers it, somebody complained."""
    day = Reader(session).day
    return {
        uscc: day(first) for uscc, first in fetch(session, _BEGAN, usccs=list(usccs))
    }


def working_days(first: date, last: date) -> Bools:
    """Whether people work on each day; of a year that the calendar does not know, from Monday to Friday."""
    return np.array([_is_working(first + timedelta(days=step)) for step in range((last - first).days + 1)], np.bool_)


@lru_cache(maxsize=8_192)
def _is_working(day: date) -> bool:
    try:
        return calendar_for("CN").is_working_day(day)
    except CalendarUnknown:
        return day.weekday() < 5


def _licences(frame: Frame) -> Ints:
    day = Reader(frame.session).day
    ends = np.full(len(frame.usccs), LICENCE_UNKNOWN, np.int64)
    known = 0
    for uscc, expires_on in fetch(
        frame.session, "SELECT uscc, licence_expires_on FROM institutions WHERE uscc IN EACH(:usccs)",
        usccs=frame.usccs,
    ):
        known += 1
        last = day(expires_on)
        if last is not None:
            ends[frame.places[uscc]] = frame.column(last)
    if known < len(frame.places):
        raise KeyError("an institution that is not registered")
    return ends


def _custody(frame: Frame) -> Bools:
    custody = np.zeros(len(frame.usccs), np.bool_)
    for uscc in texts(
        frame.session, "SELECT DISTINCT a.uscc FROM accounts a WHERE a.uscc IN EACH(:usccs) AND a.mode = 'custody'"
        f" AND a.purpose IN ({SUPERVISED_SQL}) AND a.currency = '{CURRENCY}'", usccs=frame.usccs,
    ):
        custody[frame.places[uscc]] = True
    return custody


_BEGAN = f"""
    SELECT uscc, min(day) FROM (
        SELECT k.uscc AS uscc, min(k.signed_on) AS day FROM contracts k WHERE k.uscc IN EACH(:usccs) GROUP BY k.uscc
        UNION ALL
        SELECT a.uscc, min(s.covered_from) FROM accounts a JOIN account_states s ON s.account_no = a.account_no
        WHERE a.uscc IN EACH(:usccs) AND a.purpose IN ({SUPERVISED_SQL}) GROUP BY a.uscc
        UNION ALL
        SELECT c.uscc, min(c.received_on) FROM complaints c WHERE c.uscc IN EACH(:usccs) GROUP BY c.uscc
        UNION ALL
        SELECT n.uscc, min(n.noticed_on) FROM notices n WHERE n.uscc IN EACH(:usccs) GROUP BY n.uscc
    ) AS found WHERE day IS NOT NULL GROUP BY uscc
"""
