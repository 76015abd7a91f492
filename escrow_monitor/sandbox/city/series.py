"""The city as the closure watch sees it: its books and statements as columns of days, and the truth beside them.

    rows of a life --series_of--> Series     what records would say after importing the city, column by column
    plan of a life --truth_of---> Truth      who closes when and why, and what is really owed; for scoring alone

Where the definition of a column leaves something open, this is how it is read:

    unseen_fen   a charge counts as seen by the entry of its own reference, booked by the eleventh day
    over_cap     by the fee caps in force at the institution's place on the day of signing; all is paid on that day
    active       until the last of its lessons, gifts included, was taught, its `ends_on` is over, or it is claimed back
    owed_fen     contract by contract paid - earned - refunded; refunds of contracts that nobody recorded are not known
    overdue      a claim is due CLAIM_DUE_DAYS after it was made; from the day after that it is overdue until it is paid
    arrived      on its own day, unless the bank is out (all at once on the day after) or late (LATE_DAYS later)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from escrow_monitor.domain.closure.series import COLUMNS, LICENCE_UNKNOWN, Ints, Series
from escrow_monitor.domain.contracts import SubjectKind
from escrow_monitor.domain.fee_caps import PaidAtOnce, is_beyond
from escrow_monitor.policies import load_policies
from escrow_monitor.sandbox.city.city import CURRENCY, City
from escrow_monitor.sandbox.city.courses import Awkward, Ending
from escrow_monitor.sandbox.city.life import ContractRow, EntryRow, Life

if TYPE_CHECKING:
    from escrow_monitor.domain.policy import PolicyBook

CLAIM_DUE_DAYS = 15
UNSEEN_DAYS = 11
LATE_DAYS = 3
RELEASE, REFUND = "课时费划拨", "退费"
CHUNK = 25
"""Institutions that one process simulates before it tells."""
FAR = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is really so: a row an institution, a column a day. -1: it lives on. For scoring alone.

    `closes` is the column of the last day on which it teaches, `onset` that on which its course begins.
    """

    endings: tuple[Ending | None, ...]
    onset: Ints
    closes: Ints
    owed_fen: Ints

    def of(self, rows: Sequence[int]) -> Truth:
        """Only these institutions."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Truth(
            endings=tuple(self.endings[row] for row in rows), onset=self.onset[chosen], closes=self.closes[chosen],
            owed_fen=self.owed_fen[chosen],
        )


def series_of(city: City) -> Series:
    """Everything that is recorded of the city, as of the end of each day."""
    return series_and_truth(city)[0]


def truth_of(city: City) -> Truth:
    """What is really so in the city."""
    return series_and_truth(city)[1]


def series_and_truth(
    city: City, *, processes: int = 1, progress: Callable[[int, int | None], None] | None = None
) -> tuple[Series, Truth]:
    """Both from one simulation, the same whatever the number of processes. `progress` counts institutions."""
    chunks = [range(first, min(first + CHUNK, city.institutions)) for first in range(0, city.institutions, CHUNK)]
    values = {name: np.zeros((city.institutions, city.days), np.int64) for name in COLUMNS}
    arrived, owed = (np.zeros((city.institutions, city.days), np.int64) for _ in range(2))
    for places, part in zip(chunks, _parts(city, chunks, processes), strict=True):
        found, arrived[places.start : places.stop], owed[places.start : places.stop] = part
        for name, array in found.items():
            values[name][places.start : places.stop] = array
        if progress is not None:
            progress(places.stop, city.institutions)
    return _series(city, values, arrived), Truth(
        endings=tuple(plan.ending for plan in city.plans), owed_fen=owed,
        onset=np.array([-1 if plan.onset is None else plan.onset for plan in city.plans], np.int64),
        closes=np.array([-1 if plan.closes is None else plan.closes for plan in city.plans], np.int64),
    )


_Part = tuple[dict[str, Ints], Ints, Ints]


def _parts(city: City, chunks: Sequence[range], processes: int) -> Iterable[_Part]:
    if processes <= 1 or len(chunks) == 1:
        return (_part(city, places) for places in chunks)
    return _spread(city, chunks, processes)


def _spread(city: City, chunks: Sequence[range], processes: int) -> Iterable[_Part]:
    # New processes, not copies of this one: a copy would share the locks of a progress bar's thread.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_part, [city] * len(chunks), chunks)


def _part(city: City, places: range) -> _Part:
    """The columns of some institutions."""
    each = [_columns(city, city.life(place)) for place in places]
    return (
        {name: np.stack([columns.values[name] for columns in each]) for name in COLUMNS},
        np.stack([_arrived(columns.life, city.days) for columns in each]),
        np.array([columns.life.owed_fen for columns in each], np.int64),
    )


def _series(city: City, values: dict[str, Ints], arrived: Ints) -> Series:
    ends_on = [city.institution(place).licence_expires_on for place in range(city.institutions)]
    return Series(
        ids=tuple(city.uscc(place) for place in range(city.institutions)), starts_on=city.starts_on,
        working=np.array(city.calendar.working[: city.days], np.bool_),
        custody=np.array([plan.custody for plan in city.plans], np.bool_),
        licence_ends=np.array(
            [LICENCE_UNKNOWN if day is None else (day - city.starts_on).days for day in ends_on], np.int64
        ),
        # Every institution has families and a balance before the first day.
        began=np.zeros(city.institutions, np.int64), values=values, arrived=arrived,
    )


class _Days:
    """The columns of one institution while they are filled."""

    def __init__(self, life: Life, days: int) -> None:
        self.life, self.days = life, days
        self.values = {name: np.zeros(days, np.int64) for name in COLUMNS}

    def put(self, name: str, days: Ints | Sequence[int], amounts: Ints | Sequence[int] | None = None) -> None:
        """Add amounts, or one each, on their days; days before the first and after the last are left out."""
        on = np.asarray(days, np.int64)
        what = np.ones(on.shape, np.int64) if amounts is None else np.asarray(amounts, np.int64)
        inside = (on >= 0) & (on < self.days)
        np.add.at(self.values[name], on[inside], what[inside])

    def spans(self, name: str, first: Ints, stop: Ints, amounts: Ints | None = None) -> None:
        """Add amounts, or one each, on all days from `first` up to but not including `stop`."""
        what = np.ones(first.shape, np.int64) if amounts is None else amounts
        steps = np.zeros(self.days + 1, np.int64)
        begins, ends = np.clip(first, 0, self.days), np.clip(stop, 0, self.days)
        lasting = begins < ends
        np.add.at(steps, begins[lasting], what[lasting])
        np.add.at(steps, ends[lasting], -what[lasting])
        self.values[name] += np.cumsum(steps[:-1])


def _columns(city: City, life: Life) -> _Days:
    columns = _Days(life, city.days)
    _bank(columns)
    _contracts(columns, city)
    _lessons_and_owed(columns)
    _claims(columns)
    columns.put("complaints", [row.received for row in life.complaints])
    for row in life.notices:
        columns.put(row.kind.value, [row.day])
    return columns


def _bank(columns: _Days) -> None:
    entries = columns.life.entries

    def put(name: str, rows: Sequence[EntryRow]) -> None:
        columns.put(name, [row.day for row in rows], [abs(row.fen) for row in rows])

    columns.values["balance_fen"] += np.array(columns.life.balance_fen, np.int64)
    put("credits_fen", [row for row in entries if row.fen > 0])
    put("debits_fen", [row for row in entries if row.fen < 0 and row.text != REFUND])
    put("manual_fen", [row for row in entries if row.fen < 0 and row.text not in (REFUND, RELEASE)])
    put("refunds_seen_fen", [row for row in entries if row.fen < 0 and row.text == REFUND])


def _contracts(columns: _Days, city: City) -> None:
    life = columns.life
    signed = [row.signed for row in life.contracts]
    columns.put("signed", signed)
    columns.put("lessons_sold", signed, [row.lessons for row in life.contracts])
    columns.put("fees_sold_fen", signed, [row.fee_fen for row in life.contracts])
    columns.put("over_cap", _beyond_caps(city, life))
    paid, fen = [row.paid for row in life.charges], [row.fen for row in life.charges]
    columns.put("charges", paid)
    columns.put("charged_fen", paid, fen)
    booked = {row.reference: row.day for row in life.entries if row.reference and row.fen > 0}
    unseen = [
        row for row in life.charges
        if row.paid >= 0
        and booked.get(f"{life.plan.place:06d}{row.contract:07d}", FAR) > row.paid + UNSEEN_DAYS
    ]
    columns.put("unseen_fen", [row.paid + UNSEEN_DAYS for row in unseen], [row.fen for row in unseen])


def _beyond_caps(city: City, life: Life) -> list[int]:
    """The days on which contracts were signed that are beyond a cap."""
    institution, on, book = city.institution(life.plan.place), city.calendar.date_of, _law()
    kind = None if institution.kind is None else SubjectKind(institution.kind.value)

    def is_over(row: ContractRow) -> bool:
        caps = book.effective(institution=institution, account=None, on=on(row.signed)).fee_caps
        paid = PaidAtOnce(
            charge_no="", paid_on=on(row.signed), amount=row.fee_fen, currency=CURRENCY, fee=row.fee_fen,
            lessons=row.lessons, starts_on=on(row.starts), ends_on=on(row.ends), subject_kind=kind,
        )
        return any(is_beyond(clause, paid) for clause in caps)

    return [row.signed for row in life.contracts if row.signed >= 0 and is_over(row)]


def _lessons_and_owed(columns: _Days) -> None:
    life = columns.life
    # Contracts that nobody recorded have no number here, so numbers have gaps.
    most = max((row.number for row in life.contracts), default=0) + 1
    signed, ends, fee, lessons, total = (np.zeros(most, np.int64) for _ in range(5))
    for row in life.contracts:
        place = row.number
        signed[place], ends[place], fee[place] = row.signed, row.ends, row.fee_fen
        lessons[place], total[place] = row.lessons, row.lessons + row.gifts
    known = total > 0
    rows = np.array(life.lessons, np.int64).reshape(-1, 5)
    contract, taught, decided, deemed = rows[:, 0], rows[:, 2], rows[:, 3], rows[:, 4].astype(np.bool_)
    columns.put("taught", taught)
    columns.put("counted", decided)
    columns.put("deemed", decided[deemed])
    earned = _earned(contract, decided, fee, lessons)
    columns.put("earned_fen", decided, earned)
    refunded = {
        (row.day, row.reference): -row.fen for row in life.entries if row.fen < 0 and row.text == REFUND
    }
    back = np.zeros(columns.days, np.int64)
    claimed = np.full(most, FAR, np.int64)
    for claim in life.claims:
        claimed[claim.contract] = min(claimed[claim.contract], claim.claimed)
        if 0 <= claim.paid < columns.days:
            back[claim.paid] += refunded.get((claim.paid, f"T{life.plan.place:06d}{claim.number:06d}"), 0)
    before = sum(row.fen for row in life.charges if row.paid < 0) - int(earned[decided < 0].sum())
    columns.values["owed_fen"] += before + np.cumsum(
        columns.values["charged_fen"] - columns.values["earned_fen"] - back
    )
    last_taught = np.full(most, -FAR, np.int64)
    np.maximum.at(last_taught, contract, taught)
    used_up = np.where(np.bincount(contract, minlength=most) >= total, last_taught, FAR)
    stop = np.minimum(np.minimum(used_up, claimed), ends + 1)
    columns.spans("active", signed[known], stop[known])


def _earned(contract: Ints, decided: Ints, fee: Ints, lessons: Ints) -> Ints:
    """What each lesson added to what its contract had earned, counted in the order in which they were decided."""
    order = np.lexsort((decided, contract))
    ordered = contract[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rank = np.arange(len(ordered)) - np.repeat(begins, np.diff(np.r_[begins, len(ordered)])) + 1

    def share(count: Ints) -> Ints:
        of = np.maximum(lessons[ordered], 1)
        return np.asarray((2 * fee[ordered] * np.minimum(count, of) + of) // (2 * of), np.int64)

    found = np.zeros(len(contract), np.int64)
    found[order] = share(rank) - share(rank - 1)
    return found


def _claims(columns: _Days) -> None:
    claims = columns.life.claims
    made, paid = (np.array(each, np.int64) for each in (
        [row.claimed for row in claims], [row.paid for row in claims]
    ))
    fen = np.array([row.fen for row in claims], np.int64)
    columns.put("claims", made)
    columns.put("claimed_fen", made, fen)
    late, until = made + CLAIM_DUE_DAYS + 1, np.where(paid < 0, FAR, paid)
    columns.spans("overdue", late, until)
    columns.spans("overdue_fen", late, until, fen)


def _arrived(life: Life, days: int) -> Ints:
    """The column by whose end each day's statement was here. A bank never sends a day before the one before it."""
    columns = np.arange(days, dtype=np.int64)
    for spell in life.plan.spells:
        span = slice(spell.first, spell.last + 1)
        if spell.kind is Awkward.BANK_OUTAGE:
            columns[span] = spell.last + 1
        if spell.kind is Awkward.LATE_STATEMENTS:
            columns[span] += LATE_DAYS
    return np.maximum.accumulate(columns)


@lru_cache(maxsize=1)
def _law() -> PolicyBook:
    return load_policies()


__all__ = ["Truth", "series_and_truth", "series_of", "truth_of"]
