"""The numbers an operator watches, read in a few steps through indexes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlmodel import Session

from escrow_monitor.domain.figures import Figures
from escrow_monitor.records.bank.breaks import break_counts
from escrow_monitor.records.bulk import Reader, run
from escrow_monitor.records.contracts.case_book import open_case_counts
from escrow_monitor.records.reconciliation.reconciliations import breaks_by_label
from escrow_monitor.records.runs import last_success

NO_DISTRICT = "unknown"
"""The district of an account whose institution, or whose institution's district, nobody has said."""


def figures(session: Session) -> Figures:
    """One snapshot of what is recorded."""
    at = Reader(session).at
    by_standing = _standings(session)
    banks = run(session, _BANKS).all()
    chain = run(session, "SELECT feed_seq, audit_seq FROM chain_head").one()
    waiting = _counts(session, "SELECT state, count(*) FROM deliveries WHERE state IN ('due', 'dead') GROUP BY state")
    return Figures(
        **by_standing,
        coverage=_counts(session, _COVERAGE),
        oldest_reading_at={bank: at(oldest) for bank, oldest, _ in banks if oldest is not None},
        accounts_never_read={bank: never for bank, _, never in banks if never},
        round_last_success=last_success(session),
        alerts_open={(rule, severity): count for rule, severity, count in run(
            session,
            "SELECT rule, severity, count(*) FROM alerts WHERE status = 'open' GROUP BY rule, severity",
        )},
        feed_sequence=chain[0],
        audit_sequence=chain[1],
        deliveries_due=waiting.get("due", 0),
        deliveries_dead=waiting.get("dead", 0),
        breaks_open={**break_counts(session), **breaks_by_label(session)},
        cases_open=open_case_counts(session),
        statement_gaps=run(session, "SELECT count(*) FROM coverage_gaps WHERE filled_at IS NULL").scalar_one(),
    )


def _counts(session: Session, sql: str) -> dict[str, int]:
    return {name: int(count) for name, count in run(session, sql)}


def _standings(session: Session) -> dict[str, Any]:
    accounts: Counter[str] = Counter()
    obligation: dict[str, int] = {}
    shortfall: dict[str, int] = {}
    for standing, district, count, required_fen, missing_fen in run(session, _SUMS):
        accounts[standing] += count
        name = district or NO_DISTRICT
        # Sums of bigint are Decimal on PostgreSQL and NULL where every part is: absent, not zero.
        if required_fen is not None:
            obligation[name] = obligation.get(name, 0) + int(required_fen)
        if missing_fen is not None:
            shortfall[name] = shortfall.get(name, 0) + int(missing_fen)
    return {"accounts": dict(accounts), "obligation_fen": obligation, "shortfall_fen": shortfall}


_SUMS = """
    SELECT standing, district, count(*), sum(required_fen),
        sum(CASE WHEN balance_fen < required_fen THEN required_fen - balance_fen
            WHEN balance_fen >= required_fen THEN 0 END)
    FROM account_standings GROUP BY standing, district
"""
_COVERAGE = """
    SELECT account_no, CAST(balance_fen * 10000 / required_fen AS BIGINT) FROM account_standings
    WHERE standing IN ('breached', 'unknown') AND required_fen > 0 AND balance_fen IS NOT NULL
"""
_BANKS = """
    WITH RECURSIVE banks(bank) AS (
        SELECT min(bank) FROM account_states
        UNION ALL
        SELECT (SELECT min(s.bank) FROM account_states s WHERE s.bank > banks.bank) FROM banks
        WHERE banks.bank IS NOT NULL
    )
    SELECT bank,
        (SELECT min(s.booked_as_of) FROM account_states s WHERE s.bank = banks.bank AND s.booked_as_of IS NOT NULL),
        (SELECT count(*) FROM account_states s WHERE s.bank = banks.bank AND s.booked_as_of IS NULL)
    FROM banks WHERE bank IS NOT NULL
"""
"""Steps from bank to bank through the index on (bank, booked_as_of) instead of reading a row an account."""
