"""The Ed25519 key that seals the audit chain."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from escrow_monitor.errors import ConfigurationError
from escrow_monitor.records.evidence.chain import key_id_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class SealKey:
    """A private key. `public_key` is its public half in 64 hex digits, `key_id` what that is called."""

    private: Ed25519PrivateKey = field(repr=False)
    public_key: str
    key_id: str

    def sign(self, text: str) -> str:
        """The signature of a text, in hex."""
        return self.private.sign(text.encode()).hex()


def new_key() -> str:
    """A new private key as PEM (PKCS 8), as `openssl genpkey -algorithm ed25519` writes it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def read_key(text: str, *, what: str) -> SealKey:
    """Read a private key: PEM, or its base64 alone on one line as an environment variable holds it.

    Raises ConfigurationError, which never repeats the text.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    body = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    try:
        private = load_der_private_key(base64.b64decode(body, validate=True), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        private = None  # told below, without the cause: it may repeat the key
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{what}: is not an Ed25519 private key without a password; "
            "make one with `escrow-monitor audit keygen FILE`"
        )
    public_key = private.public_key().public_bytes_raw().hex()
    return SealKey(private, public_key, key_id_of(public_key))
