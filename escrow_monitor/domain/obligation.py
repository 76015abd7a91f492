"""What an institution must hold for families under its contracts, contract by contract and never netted.

    FULL_LIABILITY   sum over contracts of max(0, paid - entitled - refunded): one family's overdraft pays nobody else
    PERIOD_FEES      sum over contracts of the fee of one charging period
    SCHEDULE         sum over contracts of what the monthly release (30, 30, 40) has not yet let go
    RATIO            a share of the charges of some calendar months

Every sum is made of a whole number of minor units a contract, so it can be kept up contract by contract.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate, pairwise
from typing import TypeAlias

from escrow_monitor.domain.clauses import FullLiability, PeriodFees, Schedule
from escrow_monitor.domain.clocks import ConfirmationClock
from escrow_monitor.domain.contracts import Contract, GiftPolicy
from escrow_monitor.domain.entitlement import ContractAccount, Impossible, Ledger, account_of, entitled_fen

_Each: TypeAlias = Callable[[Contract, ContractAccount], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObligationFacts:
    """What an institution owes families, as recorded, for the account whose floor it is; amounts in minor units.

    Sums hold for the end of day `on`. `by_terms` has the sums of PERIOD_FEES and SCHEDULE, by the clause's terms;
    `charges` what was charged in a month, keyed `"2026-11"`. `paid_lately` has, of the sum by these terms, the part
    that was paid on each of the last days: a balance of an earlier day cannot have it yet. `complete` is False where
    contracts are known to be missing or impossible: every sum is then at least that. `others` says how many other
    supervised accounts the institution has in this currency, `elsewhere` what they hold towards the same sums: 0 where
    there is no other, None where nobody can say. The oldest of these balances counts as one of `elsewhere_on`.
    """

    on: date
    currency: str
    full_liability: int | None = None
    by_terms: Mapping[PeriodFees | Schedule, int] = field(default_factory=dict)
    charges: Mapping[str, int] | None = None
    paid_lately: Mapping[FullLiability | Schedule, Mapping[date, int]] = field(default_factory=dict)
    complete: bool = True
    others: int = 0
    elsewhere: int | None = 0
    elsewhere_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObligationSum:
    """A sum over contracts at the end of day `on`, in minor units by currency.

    `impossible` contracts are in no sum, so while there is one the sums are lower bounds.
    """

    on: date
    amounts: Mapping[str, int]
    contracts: int
    impossible: tuple[Impossible, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every contract is in the sums."""
        return not self.impossible


def contribution(
    *, fee: int, paid: int, lessons_paid: int, lessons_gift: int, gift_policy: GiftPolicy | None, confirmed: int,
    refunded: int,
) -> int:
    """What one contract adds to FULL_LIABILITY, in minor units, from its sums alone.

    Lessons in dispute are not earned, so their value is in it. Where it is not agreed how gift lessons count, the
    larger of the two readings is.
    """
    earned = entitled_fen(
        fee, confirmed, lessons_paid=lessons_paid, lessons_gift=lessons_gift, gift_policy=gift_policy
    )
    return max(0, paid - earned - refunded)


def obligation(ledgers: Iterable[Ledger], on: date, *, clock: ConfirmationClock | None = None) -> ObligationSum:
    """FULL_LIABILITY over contracts, in full from their ledgers."""
    return _summed(ledgers, on, clock, lambda _, account: account.held.minor_units)


def period_fees(
    ledgers: Iterable[Ledger], on: date, terms: PeriodFees, *, clock: ConfirmationClock | None = None
) -> ObligationSum:
    """PERIOD_FEES over the contracts in force on `on`."""

    def each(contract: Contract, account: ContractAccount) -> int:
        return period_fee_on(
            contract, on, terms.months, paid=account.paid.minor_units, refunded=account.refunded.minor_units
        )

    return _summed(ledgers, on, clock, each)


def scheduled(
    ledgers: Iterable[Ledger], on: date, terms: Schedule, *, clock: ConfirmationClock | None = None
) -> ObligationSum:
    """SCHEDULE over contracts."""

    def each(contract: Contract, account: ContractAccount) -> int:
        return scheduled_held(
            account.paid.minor_units, account.refunded.minor_units, terms.parts, starts_on=contract.starts_on, on=on
        )

    return _summed(ledgers, on, clock, each)


def charges_by_month(ledgers: Iterable[Ledger], on: date) -> dict[str, dict[str, int]]:
    """What was charged by `on`, by currency and then by calendar month, e.g. `{"CNY": {"2026-11": 480000}}`."""
    sums: dict[str, dict[str, int]] = {}
    for ledger in ledgers:
        for charge in ledger.charges:
            if charge.paid_on <= on:
                months = sums.setdefault(charge.amount.currency, {})
                month = f"{charge.paid_on:%Y-%m}"
                months[month] = months.get(month, 0) + charge.amount.minor_units
    return {currency: dict(sorted(months.items())) for currency, months in sorted(sums.items())}


def period_fee_on(contract: Contract, on: date, months: int, *, paid: int, refunded: int) -> int:
    """What one contract adds to PERIOD_FEES on a day: nothing before it is signed, after it ends, or with nothing left.

    Where the end is not known it goes on.
    """
    ended = contract.ends_on is not None and contract.ends_on < on
    if on < contract.signed_on or ended or paid <= refunded:
        return 0
    return period_fee(contract.fee.minor_units, months, starts_on=contract.starts_on, ends_on=contract.ends_on)


def period_fee(fee: int, months: int, *, starts_on: date | None, ends_on: date | None) -> int:
    """The part of a fee that falls on one charging period, by days, half up.

    A course that is no longer than the period, or whose days are not known, counts with its whole fee.
    """
    if starts_on is None or ends_on is None or ends_on < starts_on:
        return fee
    period = (months_later(starts_on, months) - starts_on).days
    course = (ends_on - starts_on).days + 1
    return fee if course <= period else (2 * fee * period + course) // (2 * course)


def releases(amount: int, parts: tuple[int, ...]) -> tuple[int, ...]:
    """Split an amount by weights, half up from the cumulative, so that the parts add up exactly.

    900001 by 30, 30, 40 -> 270000, 270001, 360000.
    """
    marks = [0, *(_share(amount, weight, sum(parts)) for weight in accumulate(parts))]
    return tuple(later - earlier for earlier, later in pairwise(marks))


def scheduled_held(paid: int, refunded: int, parts: tuple[int, ...], *, starts_on: date | None, on: date) -> int:
    """What one contract adds to SCHEDULE: all before the course starts, or while nobody knows when it does."""
    free = 0
    if starts_on is not None and starts_on <= on:
        months = months_between(starts_on, on)
        free = _share(paid, sum(parts[: months + 1]), sum(parts))
    return max(0, paid - free - refunded)


def months_later(day: date, months: int) -> date:
    """The same day `months` calendar months later (earlier, if below zero), or the last day of too short a month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def months_between(first: date, last: date) -> int:
    """How many whole calendar months lie between two days, `first` not after `last`."""
    months = (last.year - first.year) * 12 + last.month - first.month
    return months if months_later(first, months) <= last else months - 1


def _share(amount: int, weight: int, of: int) -> int:
    return (2 * amount * weight + of) // (2 * of)


def _summed(ledgers: Iterable[Ledger], on: date, clock: ConfirmationClock | None, each: _Each) -> ObligationSum:
    amounts: dict[str, int] = {}
    impossible: list[Impossible] = []
    contracts = 0
    for ledger in ledgers:
        contracts += 1
        account = account_of(ledger, on, clock=clock)
        if isinstance(account, Impossible):
            impossible.append(account)
            continue
        currency = account.paid.currency
        amounts[currency] = amounts.get(currency, 0) + each(ledger.contract, account)
    return ObligationSum(
        on=on, amounts=dict(sorted(amounts.items())), contracts=contracts,
        impossible=tuple(sorted(impossible, key=lambda one: one.contract_no)),
    )
