"""The columns of the closure watch that come from statements, and when each day's statement was here.

    Friday  closed 80.00, here Saturday 02:00          known on Saturday morning
    Sat Sun no statement                               80.00; known when Monday's is: it opens with 80.00, so nothing
    Monday  opened 80.00, closed 75.00, here Tue 02:00     was booked between

A day whose neighbours do not join, or that was re-opened by a correction, has not arrived; neither has any day of an
account without a statement. Of several accounts a day has arrived when it has of all.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from escrow_monitor.domain.closure.series import Ints
from escrow_monitor.domain.entry_nature import FEE_MINOR_UNITS_MAX, EntryNature, entry_nature, is_lesson_release
from escrow_monitor.records.bulk import Cells, Reader
from escrow_monitor.records.closure.claims import RefundsSeen
from escrow_monitor.records.closure.frame import ALWAYS, CURRENCY, NEVER, Frame, arrival_day
from escrow_monitor.records.matching.sources import SUPERVISED_SQL


@dataclass(slots=True)
class _Account:
    """One account over the days of a frame: how covered days opened and closed, and when each was here.

    Before column `since` there was no such account; nothing of it is missing then. `covered` is the column of the first
    day that a statement covers, NEVER if there is none.
    """

    uscc: str
    closed: bool
    since: int
    covered: int
    columns: list[int] = field(default_factory=list)
    opening: list[int] = field(default_factory=list)
    closing: list[int] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    before: int | None = None
    """How the last covered day before the first column closed."""
    after: tuple[int, int] | None = None
    """How the first covered day after the last column opened, and the column of its arrival."""


def add_bank(frame: Frame) -> tuple[Ints, RefundsSeen]:
    """Fill the columns of the bank; return by which column each day's statement was here, and the refunds seen."""
    accounts = _accounts(frame)
    first_covered: dict[str, int] = {}
    for one in accounts:
        first_covered[one.uscc] = min(one.covered, first_covered.get(one.uscc, NEVER))
    arrived = np.full((len(frame.usccs), frame.days), -1, np.int64)
    for one in accounts:
        place = frame.places[one.uscc]
        balance, here = _of_account(one, frame.days)
        # Before any of its accounts had a statement, nobody knows what an institution had.
        if one.since > first_covered[one.uscc]:
            before = slice(0, max(0, one.since))
            balance[before], here[before] = 0, -1
        frame.values["balance_fen"][place] += balance
        np.maximum(arrived[place], here, out=arrived[place])
    without = np.setdiff1d(np.arange(len(frame.usccs)), [frame.places[one.uscc] for one in accounts])
    arrived[without] = NEVER
    frame.add(frame.fetch(_CREDITS), "credits_fen")
    return np.maximum(arrived, np.arange(frame.days)), _add_debits(frame)


def _of_account(one: _Account, days: int) -> tuple[Ints, Ints]:
    """The balance of every day's end, and by which column it was known."""
    columns, arrived = np.array(one.columns, np.int64), np.array(one.arrived, np.int64)
    opening, closing = np.array(one.opening, np.int64), np.array(one.closing, np.int64)
    if one.before is None and not len(columns):
        # Before its first statement: what that opens with was there, and is known once it is.
        return np.full(days, 0 if one.after is None else one.after[0]), np.full(
            days, NEVER if one.after is None else one.after[1]
        )
    first = opening[0] if one.before is None else one.before
    last_covered = np.full(days, -1, np.int64)
    last_covered[columns] = np.arange(len(columns))
    last_covered = np.maximum.accumulate(last_covered)
    balance = np.where(last_covered < 0, first, np.r_[closing, 0][last_covered])
    # A day between two covered ones is explained by the later one, if that opens as the earlier one closed.
    joins = np.r_[first, closing] == np.r_[opening, one.after[0] if one.after is not None else 0]
    known = np.r_[arrived, (NEVER if not one.closed else -1) if one.after is None else one.after[1]]
    if one.after is None:
        joins[-1] = True
    explained = np.where(joins, known, NEVER)[last_covered + 1]
    explained[columns] = arrived
    return balance, explained


def _accounts(frame: Frame) -> list[_Account]:
    found: dict[str, _Account] = {}
    read, day_of = _Arrivals(frame), Reader(frame.session).day
    for account_no, uscc, status, opened_on, recorded_at, covered_from in frame.fetch(_ACCOUNTS):
        opened, first_on = day_of(opened_on), day_of(covered_from)
        since = read.column(recorded_at) if opened is None else frame.column(opened)
        covered = NEVER if first_on is None else frame.column(first_on)
        found[account_no] = _Account(uscc, status == "closed", min(since, covered), covered)
    # Of several corrections since, the first says how it was; it comes last here.
    was = {row[:2]: row[2:] for row in frame.fetch(_CORRECTED_SINCE)} if frame.known_at < ALWAYS else {}
    for account_no, day, opening, closing, recorded_at in frame.fetch(_DAYS):
        one = found[account_no]
        opening, closing = was.get((account_no, day), (opening, closing))
        one.columns.append(frame.columns[day])
        one.opening.append(opening)
        one.closing.append(closing)
        one.arrived.append(read.column(recorded_at))
    for account_no, day, _, closing, _ in frame.fetch(_BEFORE):
        found[account_no].before = was.get((account_no, day), (0, closing))[1]
    for account_no, day, opening, _, recorded_at in frame.fetch(_AFTER):
        found[account_no].after = was.get((account_no, day), (opening, 0))[0], read.column(recorded_at)
    return list(found.values())


class _Arrivals:
    """Remembers the column of each instant: statements come many at once."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.at, self.known = frame, Reader(frame.session).at, dict[Any, int]()

    def column(self, recorded_at: Any) -> int:
        column = self.known.get(recorded_at)
        if column is None:
            instant: datetime = self.at(recorded_at)
            self.known[recorded_at] = column = self.frame.column(arrival_day(instant))
        return column


def _add_debits(frame: Frame) -> RefundsSeen:
    """Add what went out; return the refunds among it, also those before the first day."""
    on = Reader(frame.session).on
    seen: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for uscc, day, text, fen in frame.fetch(_PERHAPS_REFUNDS):
        if _nature(text, fen) is EntryNature.REFUND:
            seen[uscc].append((on(day), fen))
    refunds, releases, others = list[Cells](), list[Cells](), list[Cells]()
    for uscc, day, text, fen, released in frame.fetch(_DEBITS):
        nature = _nature(text, fen)
        if nature is EntryNature.REFUND:
            refunds.append((uscc, day, fen))
        elif released or nature is not EntryNature.OTHER or is_lesson_release(text):
            releases.append((uscc, day, fen))
        else:
            others.append((uscc, day, fen))
    frame.add(refunds, "refunds_seen_fen")
    frame.add(releases, "debits_fen")
    frame.add(((*row, row[2]) for row in others), "debits_fen", "manual_fen")
    return seen


def _nature(text: str, fen: int) -> EntryNature:
    return _nature_of_words(text, fen > FEE_MINOR_UNITS_MAX)


@lru_cache(maxsize=65_536)
def _nature_of_words(text: str, large: bool) -> EntryNature:
    """Of a debit: words repeat, and all that is asked of the amount is whether a fee can be so large."""
    return entry_nature(text, -FEE_MINOR_UNITS_MAX - 1 if large else -FEE_MINOR_UNITS_MAX)


_KNOWN = "e.recorded_at <= :known_at AND (e.superseded_at IS NULL OR e.superseded_at > :known_at)"
_IN_CURRENCY = f"a.uscc IN EACH(:usccs) AND a.purpose IN ({SUPERVISED_SQL}) AND a.currency = '{CURRENCY}'"
_ACCOUNTS = f"""
    SELECT a.account_no, a.uscc, s.status, a.opened_on, a.recorded_at, s.covered_from
    FROM accounts a JOIN account_states s ON s.account_no = a.account_no
    WHERE {_IN_CURRENCY} AND a.recorded_at <= :known_at
"""
# A day arrived with the first statement of it, whatever corrected that since.
_STATED = """
    JOIN statements s ON s.statement_id = d.statement_id
    LEFT JOIN statement_corrections c ON c.account_no = d.account_no AND c.day = d.day AND c.number = 1
    LEFT JOIN statements o ON o.statement_id = c.statement_id_before
"""
_COVERED = (
    "(d.covered OR d.reopened_at > :known_at) AND coalesce(o.recorded_at, s.recorded_at) <= :known_at"
    " AND a.recorded_at <= :known_at"
)
_DAYS = f"""
    SELECT d.account_no, d.day, d.opening_fen, d.closing_fen, coalesce(o.recorded_at, s.recorded_at)
    FROM accounts a JOIN account_days d ON d.account_no = a.account_no AND d.day BETWEEN :first AND :last {_STATED}
    WHERE {_IN_CURRENCY} AND {_COVERED} ORDER BY d.account_no, d.day
"""


def _neighbour(which: str, beside: str) -> str:
    return f"""
        SELECT d.account_no, d.day, d.opening_fen, d.closing_fen, coalesce(o.recorded_at, s.recorded_at)
        FROM accounts a JOIN account_days d ON d.account_no = a.account_no AND d.day = (
            SELECT {which}(n.day) FROM account_days n WHERE n.account_no = a.account_no AND n.day {beside}
                AND (n.covered OR n.reopened_at > :known_at)
        ) {_STATED} WHERE {_IN_CURRENCY} AND {_COVERED}
    """


_BEFORE, _AFTER = _neighbour("max", "< :first"), _neighbour("min", "> :last")
_CORRECTED_SINCE = f"""
    SELECT c.account_no, c.day, c.opening_before_fen, c.closing_before_fen
    FROM accounts a JOIN statement_corrections c ON c.account_no = a.account_no
    WHERE {_IN_CURRENCY} AND c.recorded_at > :known_at ORDER BY c.number DESC
"""
_ENTRIES = f"""
    FROM accounts a JOIN entries e ON e.account_no = a.account_no
    LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on
    LEFT JOIN entry_links l ON l.account_no = e.account_no AND l.booked_on = e.booked_on AND l.identity = e.identity
    LEFT JOIN entry_links o ON o.other_account_no = e.account_no AND o.other_booked_on = e.booked_on
        AND o.other_identity = e.identity
    LEFT JOIN accounts x ON x.account_no = coalesce(l.other_account_no, o.account_no)
    WHERE {_IN_CURRENCY} AND a.recorded_at <= :known_at AND {_KNOWN} AND (e.final OR d.statement_id IS NULL)
        AND coalesce(l.kind, o.kind, '') <> 'reversal'
        AND (coalesce(l.kind, o.kind) IS NULL OR x.purpose NOT IN ({SUPERVISED_SQL}))
"""
_CREDITS = f"""
    SELECT a.uscc, e.booked_on, CAST(sum(e.amount_fen) AS BIGINT) {_ENTRIES}
        AND e.amount_fen > 0 AND e.booked_on BETWEEN :first AND :last
    GROUP BY a.uscc, e.booked_on
"""
_DEBITS = f"""
    SELECT a.uscc, e.booked_on, e.text, -e.amount_fen, coalesce(l.kind, o.kind) = 'own_transfer' {_ENTRIES}
        AND e.amount_fen < 0 AND e.booked_on BETWEEN :first AND :last
"""
# As wide as `entry_nature`: what its words may be among, in any width and case.
_PERHAPS_REFUNDS = f"""
    SELECT a.uscc, e.booked_on, e.text, -e.amount_fen {_ENTRIES} AND e.amount_fen < 0 AND e.booked_on <= :last
        AND (e.text LIKE '%退%' OR lower(e.text) LIKE '%efund%' OR e.text LIKE '%ｆｕｎｄ%' OR e.text LIKE '%ＦＵＮＤ%')
    ORDER BY e.booked_on, e.account_no, e.identity
"""
