"""The certificates that a connection to a bank stands on, and until when they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CertificateRole(StrEnum):
    """Whose certificate it is: ours that we show the bank, the authorities we trust, or the bank's own."""

    CLIENT = "client"
    AUTHORITY = "authority"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One X.509 certificate: what it names, when it holds (aware instants), and the SHA-256 of its DER bytes in hex."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateState:
    """What is known of one bank's certificates of one role.

    `certificates` empty: nothing is known, and `unknown_why` says why. `seen_at` is when they were last looked at: now
    for a file, the last connection for the bank's own.
    """

    bank: str
    role: CertificateRole
    certificates: tuple[Certificate, ...]
    seen_at: datetime | None
    unknown_why: str = ""


def certificate_subject(bank: str, role: CertificateRole) -> str:
    """The subject of findings and alerts about a bank's certificates of one role."""
    return f"certificate:{bank}:{role.value}"
