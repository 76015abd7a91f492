"""The floors of some accounts on each day of a month, from what is recorded of months, contracts and other accounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import numpy as np

from escrow_monitor.domain.account_month import Bools, Ints
from escrow_monitor.domain.calendar import CalendarUnknown
from escrow_monitor.domain.month_floors import FloorFacts, Part, floors
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.timetable import any_working_day
from escrow_monitor.records.bank.month_days import RegisteredAccount, credited_months, first_gaps
from escrow_monitor.records.closure.owed_days import CURRENCY, OwedDays, owed_days
from escrow_monitor.records.database import Session


@dataclass(frozen=True, kw_only=True)
class AskedDays:
    """Accounts and days whose floors are asked for, and what is known of them: `balance` where `known`."""

    session: Session
    piece: Sequence[RegisteredAccount]
    numbers: Sequence[str]
    first: date
    last: date
    balance: Ints
    known: Bools
    received: Ints
    uncovered: Bools
    policies: PolicyBook


def floors_of(asked: AskedDays, groups: Sequence[tuple[EffectivePolicy, Ints]]) -> Part:
    shape = asked.balance.shape
    amount, known, whole = np.zeros(shape, np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    books = _Books(asked)
    for policy, places in groups:
        one = asked.piece[int(places[0])]
        begin: EffectivePolicy | None = policy
        while begin is not None:
            start = (begin.on - asked.first).days
            change = begin.next_change_on
            stop = shape[1] if change is None else min(shape[1], (change - asked.first).days)
            found = floors(begin.floor_clauses, books.facts(places, one.account.currency, begin))
            amount[places, start:stop] = found.amount[:, start:stop]
            known[places, start:stop] = found.known[:, start:stop] & (begin.missing_pack is None)
            whole[places, start:stop] = found.whole[:, start:stop]
            begin = None if stop >= shape[1] or change is None else asked.policies.effective(
                institution=one.institution, account=one.account, on=change
            )
    return Part(amount, known, whole)


class _Books:
    """What floors count, read when a clause first asks for it."""

    def __init__(self, asked: AskedDays) -> None:
        self._asked = asked
        self._credited: dict[int, Mapping[str, Mapping[str, int]]] = {}
        self._gaps: dict[int, Mapping[str, date]] = {}
        self._owed: OwedDays | None = None
        self._elsewhere: Part | None = None

    def facts(self, places: Ints, currency: str, policy: EffectivePolicy) -> FloorFacts:
        """Of these accounts, which are of one currency and alike to the law."""
        return FloorFacts(
            currency=currency, shape=(len(places), self._asked.balance.shape[1]),
            credits=partial(self._credits, places, policy), charges=partial(self._charges, places, currency),
            owed=partial(self._owed_part, places, currency), elsewhere=partial(self._elsewhere_part, places),
        )

    def _credits(self, places: Ints, policy: EffectivePolicy, months: int) -> Part:
        asked, begins = self._asked, _months_back(self._asked.first, months - 1)
        if months not in self._credited:
            self._credited[months] = credited_months(
                asked.session, asked.numbers, first=f"{begins:%Y-%m}", last=f"{asked.first - timedelta(days=1):%Y-%m}"
            )
            self._gaps[months] = first_gaps(
                asked.session, asked.numbers, first=begins, last=asked.first - timedelta(days=1)
            )
        credited, gaps = self._credited[months], self._gaps[months]
        before = np.array([
            sum(credited.get(asked.numbers[place], {}).values()) if months > 1 else 0 for place in places
        ], np.int64)
        amount = before[:, None] + np.cumsum(asked.received[places], axis=1)
        known = np.array([
            asked.piece[place].covered_from is not None or asked.numbers[place] in credited for place in places
        ])
        whole = known & np.array([
            self._is_whole(asked.piece[place], policy, begins, gaps.get(asked.numbers[place])) for place in places
        ])
        unseen = np.cumsum(asked.uncovered[places], axis=1) > 0
        return Part(amount, np.repeat(known[:, None], amount.shape[1], axis=1), whole[:, None] & ~unseen)

    @staticmethod
    def _is_whole(one: RegisteredAccount, policy: EffectivePolicy, begins: date, gap: date | None) -> bool:
        """Whether every working day before the month is covered, from `begins` or the account's first on."""
        opened_on, covered_from = one.account.opened_on, one.covered_from
        first = begins if opened_on is None or opened_on < begins else opened_on
        if covered_from is None or (gap is not None and gap >= first):
            return False
        if covered_from <= first:
            return True
        try:
            return not any_working_day(policy, first, covered_from - timedelta(days=1))
        except CalendarUnknown:
            return False

    def _charges(self, places: Ints, currency: str, months: int) -> Part:
        books, begins = self._books(), f"{_months_back(self._asked.first, months - 1):%Y-%m}"

        def amount(uscc: str) -> Ints:
            before = sum(fen for month, fen in books.charged_before.get(uscc, {}).items() if month >= begins)
            return np.asarray(before + np.cumsum(books.charged[books.places[uscc]]), np.int64)

        return self._of_books(places, currency, amount)

    def _owed_part(self, places: Ints, currency: str) -> Part:
        books = self._books()
        return self._of_books(places, currency, lambda uscc: books.owed[books.places[uscc]])

    def _of_books(self, places: Ints, currency: str, amount: Callable[[str], Ints]) -> Part:
        asked, books = self._asked, self._books()
        shape = (len(places), asked.balance.shape[1])
        found, known, whole = np.zeros(shape, np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        for row, place in enumerate(places):
            uscc = asked.piece[place].account.uscc
            if uscc is not None and uscc in books.places and currency == CURRENCY:
                found[row], known[row], whole[row] = amount(uscc), True, books.whole[uscc]
        return Part(found, known, whole)

    def _books(self) -> OwedDays:
        asked = self._asked
        if self._owed is None:
            months = max(1, asked.policies.charge_months_max)
            self._owed = owed_days(
                asked.session, sorted({one.account.uscc for one in asked.piece if one.account.uscc is not None}),
                first=asked.first, last=asked.last, policies=asked.policies,
                months_from=f"{_months_back(asked.first, months - 1):%Y-%m}",
            )
        return self._owed

    def _elsewhere_part(self, places: Ints) -> Part:
        """What lies in the holder's other accounts of the currency: known where all of them are."""
        if self._elsewhere is None:
            asked = self._asked
            begins, keys = holders(asked.piece)
            held = np.maximum(asked.balance, 0) * asked.known
            lengths = np.diff([*begins, len(asked.piece)])
            at = np.array(begins, np.int64)
            total = np.repeat(np.add.reduceat(held, at, axis=0), lengths, axis=0) - held
            unknown = np.add.reduceat((~asked.known).astype(np.int64), at, axis=0)
            known = np.repeat(unknown, lengths, axis=0) - ~asked.known == 0
            # Accounts of nobody are not each other's.
            nobody = np.repeat(np.array([uscc is None for uscc, _ in keys]), lengths)
            total[nobody], known[nobody] = 0, True
            self._elsewhere = Part(total, known, known)
        part = self._elsewhere
        return Part(part.amount[places], part.known[places], part.whole[places])


def _months_back(first: date, months: int) -> date:
    month = first.year * 12 + first.month - 1 - months
    return date(month // 12, month % 12 + 1, 1)


def holders(piece: Sequence[RegisteredAccount]) -> tuple[list[int], list[tuple[str | None, str]]]:
    """Where the accounts of each institution and currency begin, and whose they are."""
    begins: list[int] = []
    keys: list[tuple[str | None, str]] = []
    for place, one in enumerate(piece):
        key = (one.account.uscc, one.account.currency)
        if not keys or keys[-1] != key:
            begins.append(place)
            keys.append(key)
    return begins, keys
