"""All tables of this room, for the migrations."""

# ruff: noqa: F401 - imported so that their tables are known.

from __future__ import annotations

from escrow_monitor.records import (
    accounts,
    complaints,
    documents,
    nodes,
    notices,
    positions,
    reconciliation_marks,
    runs,
    uploads,
    works,
)
from escrow_monitor.records.alerts import book as alert_book
from escrow_monitor.records.alerts import decisions as alert_decisions
from escrow_monitor.records.alerts import deliveries, feed, routes, silences
from escrow_monitor.records.bank import (
    breaks,
    corrections,
    coverage,
    days,
    kept_answers,
    links,
    pulls,
    readings,
    statement_files,
    statements,
)
from escrow_monitor.records.bank import certificates as bank_certificates
from escrow_monitor.records.bank import turns as bank_turns
from escrow_monitor.records.closure import tables as closure_tables
from escrow_monitor.records.closure import watches as closure_watches
from escrow_monitor.records.columns import METADATA
from escrow_monitor.records.contracts import case_book, charges, clause_sums, contracts, lessons, refund_claims, refunds
from escrow_monitor.records.contracts import laws as contract_laws
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.matching import tables as match_tables
from escrow_monitor.records.people import identities, keys, sessions, sign_in_tries, users
from escrow_monitor.records.reconciliation import reconciliations

__all__ = ["METADATA"]
