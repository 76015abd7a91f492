"""Contracts beyond the fee caps in force at their institution's place, on the day they were signed.

`domain.fee_caps.is_beyond` says it of one charge; here it is the same for many contracts at once, all of the fee taken
to be paid on the day of signing, by a channel that is not known.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escrow_monitor.domain.clauses import Clause, FeeCap
from escrow_monitor.domain.closure.series import Bools, Ints
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.obligation import months_later
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.closure.frame import CURRENCY, Frame

_UNKNOWN = np.datetime64("NaT", "D")


class _Signed(NamedTuple):
    """Contracts, a place each. `kind` is empty where nobody said it."""

    signed: NDArray[np.datetime64]
    starts: NDArray[np.datetime64]
    ends: NDArray[np.datetime64]
    lessons: Ints
    fee: Ints
    kind: NDArray[np.str_]


def add_over_cap(frame: Frame, policies: PolicyBook) -> None:
    """Fill `over_cap`."""
    rows = frame.fetch(_CONTRACTS)
    if not rows:
        return
    usccs, days, *cells = zip(*rows, strict=True)
    places, columns = frame.where(usccs, days)
    known = {one.uscc: one for one in institutions(frame.session, usccs=set(usccs))}
    signed = _Signed(
        _dates(days), _dates(cells[0]), _dates(cells[1]), np.array(cells[2], np.int64), np.array(cells[3], np.int64),
        np.array([kind or known[uscc].kind or "" for uscc, kind in zip(usccs, cells[4], strict=True)], np.str_),
    )
    over = np.zeros(len(rows), np.bool_)
    for caps, chosen in _alike(frame, policies, known, usccs, columns):
        part = _Signed(
            signed.signed[chosen], signed.starts[chosen], signed.ends[chosen], signed.lessons[chosen],
            signed.fee[chosen], signed.kind[chosen],
        )
        for clause in caps:
            over[chosen] |= _beyond(clause, part)
    np.add.at(frame.values["over_cap"], (places[over], columns[over]), 1)


def _alike(
    frame: Frame, policies: PolicyBook, known: dict[str, Institution], usccs: Sequence[str], columns: Ints
) -> list[tuple[tuple[Clause[FeeCap], ...], Ints]]:
    """The contracts by the caps that hold for them: what a policy says depends on place, kind and day alone."""
    laws: dict[tuple[Any, ...], int] = {}
    samples: list[Institution] = []
    law_of: dict[str, int] = {}
    for uscc, one in known.items():
        law = laws.setdefault((one.district, one.policy, one.kind), len(laws))
        if law == len(samples):
            samples.append(one)
        law_of[uscc] = law
    places = np.fromiter(map(law_of.__getitem__, usccs), np.int64, len(usccs))
    keys = places * frame.days + columns
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    found: dict[tuple[Clause[FeeCap], ...], list[Ints]] = {}
    for chosen in np.split(order, starts[1:]):
        law, column = divmod(int(keys[chosen[0]]), frame.days)
        caps = policies.effective(institution=samples[law], account=None, on=frame.day(column)).fee_caps
        found.setdefault(caps, []).append(chosen)
    return [(caps, np.concatenate(parts)) for caps, parts in found.items()]


def _beyond(clause: Clause[FeeCap], of: _Signed) -> Bools:
    terms = clause.terms
    over = np.zeros(len(of.fee), np.bool_)
    if terms.lessons is not None:
        over |= (of.lessons > terms.lessons) & (of.fee > 0)
    if terms.months is not None:
        with_course = ~np.isnat(of.starts) & ~np.isnat(of.ends) & (of.ends >= of.starts) & (of.fee > 0)
        over |= with_course & (of.ends >= _later(of.starts, terms.months))
    if terms.amount is not None and terms.amount.currency == CURRENCY:
        over |= of.fee > terms.amount.minor_units
    if terms.months_before_start is not None:
        over |= ~np.isnat(of.starts) & (of.signed < _later(of.starts, -terms.months_before_start))
    if terms.subject_kinds:
        over &= (of.kind == "") | np.isin(of.kind, [str(kind) for kind in terms.subject_kinds])
    from_day, to_day = np.datetime64(clause.effective_from), clause.effective_to
    return over & (of.signed >= from_day) & (to_day is None or of.signed <= np.datetime64(to_day))


def _later(days: NDArray[np.datetime64], months: int) -> NDArray[np.datetime64]:
    """`months_later` of many days, of which most repeat."""
    distinct, back = np.unique(days, return_inverse=True)
    later = [_UNKNOWN if np.isnat(day) else np.datetime64(_month_later(day.item(), months)) for day in distinct]
    return np.array(later, "datetime64[D]")[back]


@lru_cache(maxsize=8_192)
def _month_later(day: date, months: int) -> date:
    try:
        return months_later(day, months)
    except ValueError:  # beyond the last year there is
        return date.max if months > 0 else date.min


def _dates(cells: Sequence[Any]) -> NDArray[np.datetime64]:
    return np.array([_UNKNOWN if cell is None else cell for cell in cells], "datetime64[D]")


_CONTRACTS = f"""
    SELECT k.uscc, k.signed_on, k.starts_on, k.ends_on, k.lessons_paid, k.fee_fen, k.subject_kind
    FROM contracts k
    WHERE k.uscc IN EACH(:usccs) AND k.currency = '{CURRENCY}' AND k.signed_on BETWEEN :first AND :last
        AND k.recorded_at <= :known_at
"""
