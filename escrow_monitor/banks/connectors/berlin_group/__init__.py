"""Berlin Group NextGenPSD2 XS2A."""

from __future__ import annotations

from escrow_monitor.banks.connectors.berlin_group.connector import BerlinGroup

__all__ = ["BerlinGroup"]
