"""What the contracts of institutions come to under clauses that count another way than FULL_LIABILITY."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from escrow_monitor.domain.clauses import FloorClause, PeriodFees, Schedule
from escrow_monitor.domain.obligation import period_fee_on, scheduled_held
from escrow_monitor.records.bulk import Reader, fetch
from escrow_monitor.records.contract_sums import day_of_sums
from escrow_monitor.records.contracts import SHAPE, contract_reader


def clause_sums(
    session: Session, clauses: Mapping[str, Sequence[FloorClause]]
) -> dict[tuple[str, str], dict[str, int]]:
    """The sum of each PERIOD_FEES and SCHEDULE clause of these institutions, by code and currency, then by clause id.

    As of the day for which sums hold; clauses of other kinds are passed over, and impossible contracts are in no sum.
    Reads every contract of an institution that has such a clause.
    """
    wanted = {
        uscc: [clause for clause in each if isinstance(clause.terms, PeriodFees | Schedule)]
        for uscc, each in clauses.items()
    }
    keys = sorted(uscc for uscc, each in wanted.items() if each)
    on = day_of_sums(session)
    if on is None or not keys:
        return {}
    read = contract_reader(Reader(session))
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for row in fetch(session, _CONTRACTS, keys=keys):
        contract, paid, refunded = read(row), row[-2], row[-1]
        totals = sums.setdefault((contract.uscc, contract.fee.currency), {})
        for clause in wanted[contract.uscc]:
            terms = clause.terms
            if isinstance(terms, PeriodFees):
                amount = period_fee_on(contract, on, terms.months, paid=paid, refunded=refunded)
            elif isinstance(terms, Schedule):
                amount = scheduled_held(paid, refunded, terms.parts, starts_on=contract.starts_on, on=on)
            else:
                continue
            totals[clause.id] = totals.get(clause.id, 0) + amount
    return sums


_CONTRACTS = f"""
    SELECT {', '.join(f'k.{column}' for column in SHAPE.columns)}, a.paid_fen, a.refunded_fen
    FROM contracts k JOIN contract_accounts a ON a.contract_no = k.contract_no
    WHERE k.uscc IN EACH(:keys) AND a.obligation_fen IS NOT NULL
"""
