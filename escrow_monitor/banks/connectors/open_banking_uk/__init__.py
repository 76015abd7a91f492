"""UK Open Banking (OBIE) account information, v3.1 and v4.0."""

from __future__ import annotations

from escrow_monitor.banks.connectors.open_banking_uk.connector import OpenBankingUk

__all__ = ["OpenBankingUk"]
