"""Contracts with all that was paid, taught and given back under them, many at once."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from sqlmodel import Session

from escrow_monitor.domain.entitlement import Ledger
from escrow_monitor.records.bulk import run, texts, uncollected
from escrow_monitor.records.contracts.charges import charges
from escrow_monitor.records.contracts.contracts import contracts
from escrow_monitor.records.contracts.lessons import lessons
from escrow_monitor.records.contracts.refunds import refunds

CONTRACTS_AT_ONCE = 2_000
"""With fifty lessons each, so many ledgers are some fifty megabytes."""


def ledgers(session: Session, contract_nos: Sequence[str]) -> dict[str, Ledger]:
    """The ledgers of these contracts by number; one that is not known is not in it."""
    with uncollected():
        charged = _by_contract(charges(session, contract_nos))
        taught = _by_contract(lessons(session, contract_nos))
        gone = _by_contract(refunds(session, contract_nos))
        return {
            one.contract_no: Ledger(
                contract=one, charges=tuple(charged.get(one.contract_no, ())),
                lessons=tuple(taught.get(one.contract_no, ())), refunds=tuple(gone.get(one.contract_no, ())),
            )
            for one in contracts(session, contract_nos=contract_nos)
        }


def every_ledger(
    session: Session, *, uscc: str | None = None, at_once: int = CONTRACTS_AT_ONCE
) -> Iterator[Sequence[Ledger]]:
    """All ledgers, or those of one institution, by number, so many at once."""
    only = "" if uscc is None else " AND uscc = :uscc"
    values = {} if uscc is None else {"uscc": uscc}
    after = ""
    while numbers := texts(
        session,
        f"SELECT contract_no FROM contracts WHERE contract_no > :after{only} ORDER BY contract_no LIMIT {at_once:d}",
        after=after, **values,
    ):
        found = ledgers(session, numbers)
        yield [found[number] for number in numbers]
        after = numbers[-1]


def contract_count(session: Session, *, uscc: str | None = None) -> int:
    """How many contracts there are."""
    if uscc is None:
        return int(run(session, "SELECT count(*) FROM contracts").scalar_one())
    return int(run(session, "SELECT count(*) FROM contracts WHERE uscc = :uscc", uscc=uscc).scalar_one())


class _OfContract(Protocol):
    @property
    def contract_no(self) -> str: ...


T = TypeVar("T", bound=_OfContract)


def _by_contract(items: Iterable[T]) -> dict[str, list[T]]:
    found: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        found[item.contract_no].append(item)
    return found
