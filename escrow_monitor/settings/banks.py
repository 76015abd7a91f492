"""The banks we pull from: one section an interface, told apart by `connector`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, SecretStr, Tag

from escrow_monitor.settings.mapping import Encoding, MappingSection, Numbers
from escrow_monitor.settings.section import Seconds, Section

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])\Z", re.ASCII)


def _window(text: str) -> str:
    if not _WINDOW.match(text):
        raise ValueError(f"{text!r} is no span of local times: write it like 06:00-23:30")
    return text


WindowText = Annotated[str, AfterValidator(_window)]
Minute = Annotated[int, Field(ge=0, le=59)]


class BankSection(Section):
    """What holds for every interface. The token comes from a file, from the environment or from a systemd credential.

    `windows` are the local times (in `zone`) between which the bank may be called, `quiet_minutes` minutes of every
    hour in which it must not be. `plain_http` allows http beyond loopback, where a private line carries it.
    """

    base_url: str = Field(pattern=r"^https?://")
    token: SecretStr | None = None
    token_file: Path | None = None
    timeout_seconds: Seconds = 20
    concurrency: int = Field(default=20, ge=1, le=1000)
    calls_per_second: int | None = Field(default=None, ge=1, le=10_000)
    windows: tuple[WindowText, ...] = ()
    quiet_minutes: tuple[Minute, ...] = ()
    retries: int = Field(default=2, ge=0, le=5)
    circuit_failures: int = Field(default=5, ge=1, le=1000)
    circuit_open_seconds: Seconds = 60
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    plain_http: bool = False
    zone: str = "Asia/Shanghai"


class BerlinGroupSettings(BankSection):
    """Berlin Group NextGenPSD2 XS2A. `batch` asks for all accounts of the consent in one list."""

    connector: Literal["berlin_group"] = "berlin_group"
    consent_id: SecretStr | None = None
    consent_id_file: Path | None = None
    batch: bool = False
    sign: Literal["signed", "by_party"] = "signed"


class OpenBankingUkSettings(BankSection):
    """UK Open Banking account information, v3.1 or v4.0. `batch` asks for all accounts' balances in one list."""

    connector: Literal["open_banking_uk"]
    financial_id: str | None = None
    batch: bool = False


class CmbCloudDcSettings(BankSection):
    """China Merchants Bank CloudDC (招商银行云直联), without a front-end machine.

    `user_id` is the user number (UID) that internet banking shows for the connection. Accounts are at `branch` (分行号)
    unless their external id names another, as `69:769900000010370`. The keys are those of the bank's key tool: our SM2
    private key and the bank's public key in base64 or hex, the SM4 key as its 16 characters. The bank asks not to be
    polled on the hour and the half hour, and answers at most 20 calls at a time.
    """

    connector: Literal["cmb_clouddc"]
    user_id: str = Field(pattern=r"^[0-9A-Za-z]{1,16}$")
    branch: str | None = Field(default=None, pattern=r"^[0-9]{2}$")
    sm2_private_key: SecretStr | None = None
    sm2_private_key_file: Path | None = None
    bank_public_key: SecretStr | None = None
    bank_public_key_file: Path | None = None
    sm4_key: SecretStr | None = None
    sm4_key_file: Path | None = None
    concurrency: int = Field(default=20, ge=1, le=20)
    quiet_minutes: tuple[Minute, ...] = (0, 30)


class JsonBankSettings(BankSection, MappingSection):
    """Any bank that answers JSON, read as this section says."""

    connector: Literal["json_bank"]
    encoding: Encoding = "utf-8"
    numbers: Numbers = "text"


class XmlBankSettings(BankSection, MappingSection):
    """Any bank's front-end machine (前置机) that answers XML, read as this section says.

    `encoding` is what both sides write; an answer that turns out to be in another is refused. `length_digits`: request
    and answer begin with their length in bytes in so many places. `answer_after` and `answer_base64`: the XML stands
    behind these characters of the answer, in Base64.
    """

    connector: Literal["xml_bank"]
    encoding: Encoding = "gbk"
    media_type: str = "application/xml"
    length_digits: int | None = Field(default=None, ge=4, le=10)
    answer_after: str | None = None
    answer_base64: bool = False


def _connector(value: object) -> str:
    """Which interface a section is written for; Berlin Group where it does not say."""
    if isinstance(value, dict):
        return str(value.get("connector", "berlin_group"))
    return str(getattr(value, "connector", ""))


BankSettings = Annotated[
    Annotated[BerlinGroupSettings, Tag("berlin_group")]
    | Annotated[OpenBankingUkSettings, Tag("open_banking_uk")]
    | Annotated[CmbCloudDcSettings, Tag("cmb_clouddc")]
    | Annotated[JsonBankSettings, Tag("json_bank")]
    | Annotated[XmlBankSettings, Tag("xml_bank")],
    Discriminator(_connector),
]
"""One line a connector, here and below."""

BANK_SECTIONS: dict[str, type[BankSection]] = {
    "berlin_group": BerlinGroupSettings,
    "open_banking_uk": OpenBankingUkSettings,
    "cmb_clouddc": CmbCloudDcSettings,
    "json_bank": JsonBankSettings,
    "xml_bank": XmlBankSettings,
}
