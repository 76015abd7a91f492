"""The interfaces the invented banks speak, each by the name of the connector that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from escrow_monitor.sandbox.dialects.berlin_group import BerlinGroupDialect
from escrow_monitor.sandbox.dialects.cmb_clouddc import CmbCloudDcDialect
from escrow_monitor.sandbox.dialects.dialect import Dialect
from escrow_monitor.sandbox.dialects.json_bank import JsonBankDialect
from escrow_monitor.sandbox.dialects.open_banking_uk import OpenBankingUkDialect
from escrow_monitor.sandbox.dialects.xml_bank import XmlBankDialect
from escrow_monitor.sandbox.district import District

DIALECTS: Mapping[str, Callable[[District], Dialect]] = {
    "berlin_group": BerlinGroupDialect,
    "cmb_clouddc": CmbCloudDcDialect,
    "json_bank": JsonBankDialect,
    "open_banking_uk": OpenBankingUkDialect,
    "xml_bank": XmlBankDialect,
}
