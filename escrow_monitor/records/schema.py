"""All tables of this room, for the migrations."""

from __future__ import annotations

from escrow_monitor.records import (  # noqa: F401 - importing a noun declares its tables
    accounts,
    alert_book,
    audit,
    deliveries,
    keys,
    nodes,
    positions,
    readings,
    runs,
    statements,
)
from escrow_monitor.records.columns import METADATA

__all__ = ["METADATA"]
