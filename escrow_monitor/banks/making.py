"""From an operator's section about a bank to its connector."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from functools import partial
from pathlib import Path

from escrow_monitor.banks.connector import BankConnector
from escrow_monitor.banks.http import BankHttp, RequestSigner, Window
from escrow_monitor.banks.observing import CallSeen
from escrow_monitor.clock import Clock
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings import Settings
from escrow_monitor.settings.banks import (
    BankSection,
    BerlinGroupSettings,
    CmbCloudDcSettings,
    JsonBankSettings,
    OpenBankingUkSettings,
    XmlBankSettings,
)
from escrow_monitor.settings.mapping import MappingSection
from escrow_monitor.settings.section import zone_of


def make_connector(
    settings: Settings, name: str, clock: Clock, *, observe: Callable[[CallSeen], None] | None = None,
    met: Callable[[bytes], None] | None = None,
) -> BankConnector:
    """The connector of one configured bank; it connects on first use.

    `observe` hears of every call, `met` of the certificate (DER) the bank shows with every connection.
    Raises ConfigurationError when its secrets, certificates or mapping cannot be used.
    """
    bank = settings.banks[name]
    http = partial(bank_http, settings, name, bank, observe=observe, met=met)
    match bank:
        case BerlinGroupSettings():
            from escrow_monitor.banks.connectors.berlin_group import BerlinGroup

            consent = settings.secret(bank.consent_id, bank.consent_id_file, what=f"banks.{name}.consent_id_file")
            return BerlinGroup(
                bank=name, http=http(), consent_id=consent or "", zone=zone_of(bank.zone),
                batch=bank.batch, sign=bank.sign, clock=clock,
            )
        case OpenBankingUkSettings():
            from escrow_monitor.banks.connectors.open_banking_uk import OpenBankingUk

            return OpenBankingUk(
                bank=name, http=http(), zone=zone_of(bank.zone), batch=bank.batch, financial_id=bank.financial_id,
                clock=clock,
            )
        case JsonBankSettings():
            from escrow_monitor.banks.connectors.json_bank import JsonBank

            return JsonBank(
                name, http(sign_request=_signer(settings, name, bank, clock)), bank, zone=zone_of(bank.zone),
                clock=clock, secrets=_secrets_of(settings, name, bank),
            )
        case XmlBankSettings():
            from escrow_monitor.banks.connectors.xml_bank import XmlBank

            return XmlBank(
                name, http(sign_request=_signer(settings, name, bank, clock)), bank, zone=zone_of(bank.zone),
                clock=clock, secrets=_secrets_of(settings, name, bank), bodies=_bodies_of(settings, name, bank),
            )
        case CmbCloudDcSettings():
            return _cmb_clouddc(settings, name, bank, http(), clock)
        case _:
            raise ConfigurationError(f"banks.{name}: the interface {bank.connector} is not there yet")


def _cmb_clouddc(
    settings: Settings, name: str, bank: CmbCloudDcSettings, http: BankHttp, clock: Clock
) -> BankConnector:
    from escrow_monitor.banks.connectors.cmb_clouddc import CmbCloudDc
    from escrow_monitor.banks.sm_envelope import Envelope, private_key_from, public_key_from, sm4_key_from

    given = {
        "sm2_private_key": settings.secret(
            bank.sm2_private_key, bank.sm2_private_key_file, what=f"banks.{name}.sm2_private_key_file"
        ),
        "bank_public_key": settings.secret(
            bank.bank_public_key, bank.bank_public_key_file, what=f"banks.{name}.bank_public_key_file"
        ),
        "sm4_key": settings.secret(bank.sm4_key, bank.sm4_key_file, what=f"banks.{name}.sm4_key_file"),
    }
    keys = {key: text for key, text in given.items() if text}
    if missing := sorted(given.keys() - keys.keys()):
        raise ConfigurationError(f"banks.{name}: {missing[0]}_file is not set")
    try:
        envelope = Envelope(
            user_id=bank.user_id, private_key=private_key_from(keys["sm2_private_key"]),
            their_public_key=public_key_from(keys["bank_public_key"]), key=sm4_key_from(keys["sm4_key"]),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"banks.{name}: {error}") from error
    return CmbCloudDc(
        bank=name, http=http, user_id=bank.user_id, branch=bank.branch, envelope=envelope, zone=zone_of(bank.zone),
        clock=clock, withheld=(keys["sm2_private_key"], keys["sm4_key"]),
    )


def bank_http(
    settings: Settings, name: str, bank: BankSection, *, sign_request: RequestSigner | None = None,
    observe: Callable[[CallSeen], None] | None = None, met: Callable[[bytes], None] | None = None,
) -> BankHttp:
    """How a configured bank is called."""
    return BankHttp(
        base_url=bank.base_url,
        timeout_seconds=bank.timeout_seconds,
        concurrency=bank.concurrency,
        calls_per_second=bank.calls_per_second,
        retries=bank.retries,
        circuit_failures=bank.circuit_failures,
        circuit_open_seconds=bank.circuit_open_seconds,
        token=settings.secret(bank.token, bank.token_file, what=f"banks.{name}.token_file"),
        ca_file=_text(settings, bank.ca_file),
        cert_file=_text(settings, bank.cert_file),
        key_file=_text(settings, bank.key_file),
        plain_http=bank.plain_http,
        windows=windows_of(bank),
        quiet_minutes=bank.quiet_minutes,
        zone=zone_of(bank.zone),
        sign_request=sign_request,
        observe=observe,
        met=met,
    )


def _secrets_of(settings: Settings, name: str, bank: MappingSection) -> dict[str, str]:
    """The values that templates may name as `{secret.NAME}`. Raises ConfigurationError for a file that is not there."""
    found = {one: value.get_secret_value() for one, value in bank.secrets.items()}
    for one, file in bank.secrets_files.items():
        if one in found:
            raise ConfigurationError(f"banks.{name}.secrets_files.{one}: is given in secrets, too")
        found[one] = settings.secret(None, file, what=f"banks.{name}.secrets_files.{one}") or ""
    return found


def _bodies_of(settings: Settings, name: str, bank: MappingSection) -> dict[str, str]:
    """The texts of the body files, by their key. Raises ConfigurationError for a file that cannot be read."""
    found = {}
    for part, call in (("balances", bank.balances), ("statements", bank.statements), ("session", bank.session)):
        if call is not None and call.body_file is not None:
            key = f"banks.{name}.{part}.body_file"
            try:
                found[key] = settings.path(call.body_file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{key}: cannot read {call.body_file} as UTF-8") from error
    return found


def _signer(
    settings: Settings, name: str, bank: JsonBankSettings | XmlBankSettings, clock: Clock
) -> RequestSigner | None:
    """What signs the requests of a bank that wants it."""
    if bank.sign is None:
        return None
    from escrow_monitor.banks.signing import request_signer

    key = f"banks.{name}.sign"
    secret = settings.secret(bank.sign.key, bank.sign.key_file, what=f"{key}.key_file")
    return request_signer(bank.sign, secret, key=key, zone=zone_of(bank.zone), clock=clock)


def windows_of(bank: BankSection) -> tuple[Window, ...]:
    """The local times between which a configured bank may be called; none: any time."""
    spans = [text.split("-") for text in bank.windows]
    return tuple(Window(time.fromisoformat(begins), time.fromisoformat(ends)) for begins, ends in spans)


def _text(settings: Settings, path: Path | None) -> str | None:
    return None if path is None else str(settings.path(path))
