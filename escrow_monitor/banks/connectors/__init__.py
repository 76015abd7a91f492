"""The interfaces banks can be spoken to in, each by its name in the configuration."""

from __future__ import annotations

from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.connectors.statement_folder import StatementFolder

CONNECTORS = {
    "berlin_group": BerlinGroup,
    "statement_folder": StatementFolder,
}
