"""All tables of this room, for the migrations."""

from __future__ import annotations

from escrow_monitor.records import (  # noqa: F401 - importing a noun declares its tables
    accounts,
    alert_book,
    audit,
    coverage,
    days,
    deliveries,
    documents,
    feed,
    keys,
    nodes,
    positions,
    pulls,
    readings,
    runs,
    statement_files,
    statements,
)
from escrow_monitor.records.columns import METADATA

__all__ = ["METADATA"]
