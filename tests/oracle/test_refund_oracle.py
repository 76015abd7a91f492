"""The engine against a second calculator that shares no code with it, over contracts drawn at random."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import contract_cases as cases
import pytest
import refund_oracle

from escrow_monitor.domain.clocks import ConfirmationClock
from escrow_monitor.domain.contracts import Cause
from escrow_monitor.domain.entitlement import ContractAccount, Impossible, ImpossibleReason, account_of
from escrow_monitor.domain.obligation import contribution, obligation
from escrow_monitor.domain.refund_quote import Quote, quote


def of_engine(world: cases.Row) -> Quote | Impossible:
    return quote(
        cases.ledger(world), on=world["on"], claimed_on=world["claimed_on"], cause=Cause(world["cause"]),
        terms=cases.terms(world), calendar=cases.CALENDAR,
    )


def as_row(quoted: Quote) -> cases.Row:
    figures = ("paid", "entitled", "disputed", "materials_kept", "already_refunded", "refund", "penalty")
    return {
        "ground": quoted.ground.value, "due_on": quoted.due_on,
        **{name: getattr(quoted, name).minor_units for name in figures},
        "alternatives": {
            each.ground.value: (each.refund.minor_units, each.penalty.minor_units, each.valid)
            for each in quoted.alternatives if each.gift_policy is None
        },
    }


def compare(seed: int, contracts: int) -> Counter[str]:
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    for number in range(contracts):
        world = cases.draw(rng, number)
        expected = refund_oracle.quote(world, world["on"], world["claimed_on"], world["cause"])
        quoted = of_engine(world)
        if isinstance(quoted, Impossible):
            assert expected is None, world
            assert quoted.reason is ImpossibleReason.REFUND_LARGER_THAN_PAID
            seen["impossible"] += 1
            continue
        assert as_row(quoted) == expected, world
        assert sum(line.amount.minor_units for line in quoted.lines) == quoted.refund.minor_units, world
        assert sum(line.amount.minor_units for line in quoted.penalty_lines) == quoted.penalty.minor_units, world
        seen[quoted.ground.value] += 1
        seen["late"] += any(line.label == "late_penalty" for line in quoted.penalty_lines)
        seen["two readings"] += any(each.gift_policy is not None for each in quoted.alternatives)
        seen["disputed"] += quoted.disputed.minor_units > 0
    return seen


def test_every_quote_of_5000_contracts_equals_the_oracle() -> None:
    seen = compare(20261120, 5_000)
    for each in (*refund_oracle.ORDER, "impossible", "late", "two readings", "disputed"):
        assert seen[each] >= 20, f"the sample hardly ever met {each}: {seen}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_every_quote_of_100_000_contracts_equals_the_oracle(seed: int) -> None:
    compare(seed, 20_000)


def obligations_equal(seed: int, contracts: int, days: int) -> None:
    rng = random.Random(seed)
    worlds = []
    while len(worlds) < contracts:
        world = {**cases.draw(rng, len(worlds)), "silence": 15}
        if not refund_oracle.impossible(world, cases.FIRST + timedelta(days=days)):
            worlds.append(world)
    ledgers = [cases.ledger(world) for world in worlds]
    clock = ConfirmationClock(clause=cases.CONFIRMATIONS[15], calendar=cases.CALENDAR)
    replayed = refund_oracle.obligation_by_replay(worlds, cases.FIRST, cases.FIRST + timedelta(days=days))
    assert max(replayed.values()) > 0
    for day, owed in replayed.items():
        summed = obligation(ledgers, day, clock=clock)
        assert summed.complete
        assert summed.amounts == {"CNY": owed}, day
        every = (account_of(each, day, clock=clock) for each in ledgers)
        accounts = [account for account in every if isinstance(account, ContractAccount)]
        assert sum(by_sums(each.contract, account) for each, account in zip(ledgers, accounts, strict=True)) == owed
        assert all(holds(account) for account in accounts)


def by_sums(contract, account: ContractAccount) -> int:
    """What the set-based path adds for one contract, from its sums alone."""
    return contribution(
        fee=contract.fee.minor_units, paid=account.paid.minor_units, lessons_paid=contract.lessons_paid,
        lessons_gift=contract.lessons_gift, gift_policy=contract.gift_policy, confirmed=account.taught.confirmed,
        refunded=account.refunded.minor_units,
    )


def holds(account: ContractAccount) -> bool:
    """paid = released + refunded + held, all >= 0."""
    parts = (account.released.minor_units, account.refunded.minor_units, account.held.minor_units)
    return min(parts) >= 0 and sum(parts) == account.paid.minor_units and account.residual.minor_units == 0


def test_the_obligation_equals_a_replay_of_every_day() -> None:
    obligations_equal(7, contracts=40, days=330)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_the_obligation_of_many_contracts_equals_a_replay_of_every_day(seed: int) -> None:
    obligations_equal(seed, contracts=400, days=330)
