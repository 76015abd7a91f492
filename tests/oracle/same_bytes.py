"""Quote a fixed set of random contracts, their rows in an order of the caller's choosing, and print the digest.

    python tests/oracle/same_bytes.py 0        the rows as drawn
    python tests/oracle/same_bytes.py 7        the rows shuffled by seed 7
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from dataclasses import replace

import contract_cases as cases

from escrow_monitor.domain.contracts import Cause
from escrow_monitor.domain.entitlement import Ledger
from escrow_monitor.domain.obligation import charges_by_month, obligation
from escrow_monitor.domain.refund_quote import Quote, quote
from escrow_monitor.domain.refund_statement import Language, statement_of

CONTRACTS = 150


def shuffled(ledger: Ledger, seed: int) -> Ledger:
    """The same rows in another order; seed 0 leaves them."""
    if not seed:
        return ledger
    rng = random.Random(seed)
    return replace(
        ledger, **{name: tuple(rng.sample(rows, len(rows))) for name in ("charges", "lessons", "refunds")
                   if (rows := getattr(ledger, name))}
    )


def digest(seed: int) -> str:
    """SHA-256 over every quote as JSON and as a statement in both languages, and over the sums."""
    rng = random.Random(4)
    said = hashlib.sha256()
    ledgers = []
    for number in range(CONTRACTS):
        world = cases.draw(rng, number)
        ledger = shuffled(cases.ledger(world), seed)
        ledgers.append(ledger)
        quoted = quote(
            ledger, on=world["on"], claimed_on=world["claimed_on"], cause=Cause(world["cause"]),
            terms=cases.terms(world), calendar=cases.CALENDAR,
        )
        said.update(json.dumps(quoted.as_json(), ensure_ascii=False).encode())
        if isinstance(quoted, Quote):
            said.update("".join(repr(statement_of(quoted, language)) for language in Language).encode())
    random.Random(seed).shuffle(ledgers)
    day = cases.FIRST.replace(month=10)
    said.update(repr(obligation(ledgers, day)).encode())
    said.update(repr(charges_by_month(ledgers, day)).encode())
    return said.hexdigest()


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
