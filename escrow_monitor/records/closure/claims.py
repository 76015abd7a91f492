"""Which refund claims were paid when, for the closure watch: by their case, or by a debit of the bank that fits.

    claimed 5,000.00 on the 3rd     the bank on the 9th: - 5,000.00 "退费"      paid on the 9th
    claimed 6,200.00, 5,000.00 due  the bank on the 9th: - 5,000.00 "退费"      the same: that is what was due
    claimed 5,000.00, 5,000.00 due  the bank on the 9th: - 4,300.00 "退费"      taken for it, as nothing fits better

Few institutions work every case in this program, and a refund that the bank shows is no longer owed, whoever noted it.
For alerts and reconciliations a refund still needs its case; this is for watching alone.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from escrow_monitor.domain.calendar import CalendarUnknown, add_working_days, calendar_for
from escrow_monitor.domain.contracts import DeadlineUnit
from escrow_monitor.records.bulk import Reader
from escrow_monitor.records.closure.books import LESSONS_OF, share_sql
from escrow_monitor.records.closure.frame import CURRENCY, Frame

CLAIM_DUE_DAYS = 15
"""By when a claim is due, in calendar days, where its contract agrees nothing; a choice of ours."""
LEAST_PAID_PERCENT = 75
"""What the bank paid for a claim, if it is neither what was asked nor what was due: at least so much of what was."""


@dataclass(slots=True)
class _Claim:
    """A claim, in fen; `due_fen` what was left of the charges for lessons not taught. `paid_on` also when it ended."""

    uscc: str
    claimed_on: date
    asked_fen: int
    due_fen: int
    due_on: date
    ended: bool
    paid_on: date | None


RefundsSeen = Mapping[str, Sequence[tuple[date, int]]]
"""The refunds that the bank shows by institution: day and amount above zero, by day."""


def add_claims(frame: Frame, seen: RefundsSeen) -> None:
    """Fill the columns of claims, and take off `owed_fen` what was seen to go back on claims without a record of it."""
    claims = _claims(frame)
    unrecorded = _without(seen, _recorded(frame))
    back: list[tuple[str, date, int]] = []
    for uscc, theirs in claims.items():
        back += _pay(theirs, unrecorded.get(uscc, ()))
    every = [one for theirs in claims.values() for one in theirs]
    inside = [one for one in every if frame.first <= one.claimed_on <= frame.last]
    for one in inside:
        place, column = frame.places[one.uscc], frame.column(one.claimed_on)
        frame.values["claims"][place, column] += 1
        frame.values["claimed_fen"][place, column] += one.asked_fen
    _add_overdue(frame, every)
    steps = np.zeros((len(frame.usccs), frame.days + 1), np.int64)
    for uscc, day, fen in back:
        if day <= frame.last:
            steps[frame.places[uscc], max(frame.column(day), -1) + 1] -= fen
    frame.values["owed_fen"] += np.cumsum(steps, axis=1)[:, 1:]


def _add_overdue(frame: Frame, claims: Iterable[_Claim]) -> None:
    steps = np.zeros((2, len(frame.usccs), frame.days + 1), np.int64)
    for one in claims:
        late = max(0, frame.column(one.due_on) + 1)
        until = frame.days if one.paid_on is None else min(frame.days, max(0, frame.column(one.paid_on)))
        if late < until:
            place = frame.places[one.uscc]
            for which, amount in enumerate((1, one.asked_fen)):
                steps[which, place, late] += amount
                steps[which, place, until] -= amount
    for which, name in enumerate(("overdue", "overdue_fen")):
        frame.values[name] += np.cumsum(steps[which], axis=1)[:, :-1]


def _pay(claims: Sequence[_Claim], seen: Sequence[tuple[date, int]]) -> list[tuple[str, date, int]]:
    """Give each refund that the bank shows to a claim that was open by then; return what went to which institution.

    The oldest claim of just that amount, else the one of which least is left over.
    """
    back = []
    waiting = [one for one in claims if not one.ended and one.paid_on is None]
    for day, fen in seen:
        fitting = [
            (fen not in (one.due_fen, one.asked_fen), abs(one.due_fen - fen), place)
            for place, one in enumerate(waiting)
            if one.claimed_on <= day and (
                fen in (one.due_fen, one.asked_fen)
                or one.due_fen * LEAST_PAID_PERCENT <= fen * 100 <= max(one.due_fen, one.asked_fen) * 100
            )
        ]
        if fitting:
            exact = [each for each in fitting if not each[0]]
            paid = waiting.pop(exact[0][2] if exact else min(fitting)[2])
            paid.paid_on = day
            back.append((paid.uscc, day, fen))
    return back


def _claims(frame: Frame) -> dict[str, list[_Claim]]:
    on, day = Reader(frame.session).on, Reader(frame.session).day
    found: dict[str, list[_Claim]] = defaultdict(list)
    for row in frame.fetch(_CLAIMS):
        uscc, claimed_on, asked, days, unit, paid, kept, state, refunded_on, moved_on = row
        claimed, due_fen = on(claimed_on), max(0, paid - kept)
        ended = state in ("paid", "closed", "withdrawn")
        ended_on = day(refunded_on) if state != "withdrawn" and refunded_on is not None else day(moved_on)
        is_known = ended and ended_on is not None and ended_on <= frame.last
        found[uscc].append(_Claim(
            uscc=uscc, claimed_on=claimed, asked_fen=due_fen if asked is None else asked, due_fen=due_fen,
            due_on=_due_on(claimed, days, unit), ended=ended, paid_on=ended_on if is_known else None,
        ))
    return found


def _due_on(claimed_on: date, days: int | None, unit: str | None) -> date:
    if days is None:
        return claimed_on + timedelta(days=CLAIM_DUE_DAYS)
    if unit != DeadlineUnit.WORKING:
        return claimed_on + timedelta(days=days)
    try:
        return add_working_days(claimed_on, days, calendar_for("CN"))
    except CalendarUnknown:
        return claimed_on + timedelta(days=days * 7 // 5)


def _recorded(frame: Frame) -> dict[str, list[tuple[date, int]]]:
    """The refunds that are recorded under contracts: the bank's entries of these have their claim."""
    on = Reader(frame.session).on
    found: dict[str, list[tuple[date, int]]] = defaultdict(list)
    for uscc, paid_on, fen in frame.fetch(_RECORDED):
        found[uscc].append((on(paid_on), fen))
    return found


def _without(seen: RefundsSeen, recorded: RefundsSeen) -> RefundsSeen:
    if not recorded:
        return seen
    left: dict[str, Sequence[tuple[date, int]]] = dict(seen)
    for uscc, known in recorded.items():
        rest = list(seen.get(uscc, ()))
        for one in known:
            if one in rest:
                rest.remove(one)
        left[uscc] = rest
    return left


_TAUGHT = (
    "(SELECT count(*) FROM lessons l WHERE l.contract_no = f.contract_no AND l.status <> 'cancelled'"
    " AND l.taught_on <= f.claimed_on)"
)
_CLAIMS = f"""
    SELECT uscc, claimed_on, amount_fen, refund_deadline_days, refund_deadline_unit, CAST(paid AS BIGINT),
        {share_sql("taught")}, state, refunded_on, moved_on
    FROM (
        SELECT k.uscc, f.claimed_on, f.claim_no, f.amount_fen, k.refund_deadline_days, k.refund_deadline_unit,
            k.fee_fen, {LESSONS_OF} AS lessons_of, {_TAUGHT} AS taught, coalesce((
                SELECT sum(c.amount_fen) FROM charges c
                WHERE c.contract_no = f.contract_no AND c.paid_on <= f.claimed_on
            ), 0) AS paid, s.state, (SELECT max(r.paid_on) FROM refunds r WHERE r.claim_no = f.claim_no) AS refunded_on,
            m.moved_on
        FROM contracts k JOIN refund_claims f ON f.contract_no = k.contract_no
        LEFT JOIN cases s ON s.case_no = f.claim_no
        LEFT JOIN case_moves m ON m.case_no = s.case_no AND m.move_no = s.moves
        WHERE k.uscc IN EACH(:usccs) AND k.currency = '{CURRENCY}' AND f.claimed_on <= :last
            AND f.recorded_at <= :known_at
    ) AS found ORDER BY uscc, claimed_on, claim_no
"""
_RECORDED = f"""
    SELECT k.uscc, r.paid_on, r.amount_fen FROM contracts k JOIN refunds r ON r.contract_no = k.contract_no
    WHERE k.uscc IN EACH(:usccs) AND k.currency = '{CURRENCY}' AND r.paid_on <= :last AND r.recorded_at <= :known_at
"""
