"""A declared signature over a request: which parts, in which order, into which header."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from escrow_monitor.banks.http import RequestSigner
from escrow_monitor.clock import Clock
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings.mapping import SigningMapping

_PARTS = frozenset({
    "method", "path", "query", "target", "body", "body_sha256", "timestamp", "nonce",
})
_HEADER = "header:"


def request_signer(
    recipe: SigningMapping, secret: str | None, *, key: str, zone: ZoneInfo, clock: Clock
) -> RequestSigner:
    """The signer of a recipe. Raises ConfigurationError for a part that is not known or a key that is none."""
    for part in recipe.parts:
        if part not in _PARTS and not part.startswith(_HEADER):
            known = ", ".join(sorted(_PARTS))
            raise ConfigurationError(f"{key}.parts: {part!r} is not known: known are {known} and header:NAME")
    for part, header in (("timestamp", recipe.timestamp_header), ("nonce", recipe.nonce_header)):
        if part in recipe.parts and header is None:
            raise ConfigurationError(f"{key}.{part}_header: the {part} is signed, and the bank must be told it")
    if not secret:
        raise ConfigurationError(f"{key}.key_file: there is no key")
    signature = _hmac(secret) if recipe.algorithm == "hmac_sha256" else _rsa(secret, key)

    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        added: dict[str, str] = {}
        values = _values(method, url, body)
        values["timestamp"] = clock.now().astimezone(zone).strftime(recipe.timestamp_format).encode()
        values["nonce"] = secrets.token_hex(16).encode()
        for part, header in (("timestamp", recipe.timestamp_header), ("nonce", recipe.nonce_header)):
            if header is not None:
                added[header] = values[part].decode()
        lower = {name.lower(): value.encode() for name, value in {**headers, **added}.items()}
        signed = recipe.join.encode().join(
            lower.get(part.removeprefix(_HEADER).lower(), b"") if part.startswith(_HEADER) else values[part]
            for part in recipe.parts
        )
        raw = signature(signed)
        added[recipe.header] = raw.hex() if recipe.written == "hex" else base64.b64encode(raw).decode()
        return added

    return sign


def _values(method: str, url: str, body: bytes) -> dict[str, bytes]:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return {
        "method": method.encode(),
        "path": parts.path.encode(), "query": parts.query.encode(), "target": target.encode(),
        "body": body, "body_sha256": hashlib.sha256(body).hexdigest().encode(),
    }


def _hmac(secret: str) -> Callable[[bytes], bytes]:
    key = secret.encode()
    return lambda signed: hmac.digest(key, signed, "sha256")


def _rsa(pem: str, key: str) -> Callable[[bytes], bytes]:
    try:
        private = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{key}.key_file: no private key in PEM without a password") from error
    if not isinstance(private, RSAPrivateKey):
        raise ConfigurationError(f"{key}.key_file: not an RSA key")
    return lambda signed: private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
