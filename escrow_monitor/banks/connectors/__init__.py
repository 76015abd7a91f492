"""The interfaces banks can be spoken to in, each by its name in the configuration."""

from __future__ import annotations

from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.connectors.cmb_clouddc import CmbCloudDc
from escrow_monitor.banks.connectors.json_bank import JsonBank
from escrow_monitor.banks.connectors.open_banking_uk import OpenBankingUk
from escrow_monitor.banks.connectors.statement_folder import StatementFolder
from escrow_monitor.banks.connectors.xml_bank import XmlBank

CONNECTORS = {
    "berlin_group": BerlinGroup,
    "cmb_clouddc": CmbCloudDc,
    "open_banking_uk": OpenBankingUk,
    "json_bank": JsonBank,
    "statement_folder": StatementFolder,
    "xml_bank": XmlBank,
}
