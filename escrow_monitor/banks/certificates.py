"""X.509 certificates, read from files and connections: what they name and until when they hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from escrow_monitor.domain.certificates import Certificate, CertificateRole, CertificateState
from escrow_monitor.settings import Settings
from escrow_monitor.settings.banks import BankSection

FILE_BYTES_MAX = 4 * 1024 * 1024
NAME_CHARACTERS_MAX = 120


def own_certificates(settings: Settings, *, now: datetime) -> Iterator[CertificateState]:
    """What the configuration names of every bank: our client certificates and the authorities we trust."""
    for name, bank in settings.banks.items():
        yield from bank_files(settings, name, bank, now=now)


def bank_files(settings: Settings, name: str, bank: BankSection, *, now: datetime) -> Iterator[CertificateState]:
    """The same for one bank."""
    for role, file in ((CertificateRole.CLIENT, bank.cert_file), (CertificateRole.AUTHORITY, bank.ca_file)):
        if file is not None:
            yield file_state(settings.path(file), bank=name, role=role, now=now)


def file_state(path: Path, *, bank: str, role: CertificateRole, now: datetime) -> CertificateState:
    """Every certificate of a PEM file, or the plain reason why none is known. Never raises."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
        found, why = tuple(_described(one) for one in x509.load_pem_x509_certificates(content)), ""
    except OSError as error:
        found, why = (), f"{path}: {error.strerror}"
    except ValueError:
        found, why = (), f"{path}: holds no certificate in PEM form"
    return CertificateState(bank=bank, role=role, certificates=found, seen_at=now, unknown_why=why)


def certificate_of(der: bytes) -> Certificate | None:
    """The certificate a connection showed; None when its bytes cannot be read."""
    try:
        return _described(x509.load_der_x509_certificate(der))
    except ValueError:
        return None


def _described(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=_name(certificate.subject),
        issuer=_name(certificate.issuer),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _name(name: x509.Name) -> str:
    """The common name with the organisation, on one line and bounded: what a person recognises it by."""
    parts = [
        str(found[0].value)
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        if (found := name.get_attributes_for_oid(oid))
    ]
    text = ", ".join(parts) or name.rfc4514_string() or "-"
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:NAME_CHARACTERS_MAX]
