"""All tables of this room, for the migrations."""

from __future__ import annotations

from escrow_monitor.records import (  # noqa: F401 - importing a noun declares its tables
    accounts,
    alert_book,
    audit,
    bank_certificates,
    bank_turns,
    breaks,
    charges,
    complaints,
    contract_sums,
    contracts,
    corrections,
    coverage,
    days,
    deliveries,
    documents,
    feed,
    keys,
    lessons,
    links,
    nodes,
    positions,
    pulls,
    readings,
    refund_claims,
    refunds,
    runs,
    statement_files,
    statements,
)
from escrow_monitor.records.columns import METADATA

__all__ = ["METADATA"]
