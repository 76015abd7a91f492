"""All tables of this room, for the migrations."""

from __future__ import annotations

from escrow_monitor.records import (  # noqa: F401 - importing a noun declares its tables
    accounts,
    alert_book,
    alert_decisions,
    audit,
    bank_certificates,
    bank_turns,
    breaks,
    case_book,
    charges,
    clause_sums,
    complaints,
    contract_laws,
    contract_sums,
    contracts,
    corrections,
    coverage,
    days,
    deliveries,
    documents,
    feed,
    kept_answers,
    keys,
    lessons,
    links,
    match_tables,
    nodes,
    positions,
    pulls,
    readings,
    reconciliation_marks,
    reconciliations,
    refund_claims,
    refunds,
    routes,
    runs,
    silences,
    statement_files,
    statements,
)
from escrow_monitor.records.columns import METADATA

__all__ = ["METADATA"]
