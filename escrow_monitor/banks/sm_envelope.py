"""The envelope some banks put around a message with the national algorithms: SM2 with SM3 signs, SM4 encrypts.

    {"request": {...}}
      + "signature": {"sigtim": "20261122120000", "sigdat": "__signature_sigdat__"}
      -> JSON, the keys of every object sorted, no blanks                       the text that is signed
      -> SM2 with SM3 under a user id; r and s of 32 bytes each, in base64, take the place of __signature_sigdat__
      -> SM4-CBC, padded as PKCS#7, the user id as start vector; base64         what travels

The user id is the bank's own user number, filled up with zeros to 16 characters; either side signs under it. The
arithmetic is GmSSL's (Apache-2.0), through the package gmssl-pyx, which the extra `escrow-monitor[sm]` brings. GmSSL
writes the places in its source at which a check failed to standard error; they hold no data.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import NoReturn, Protocol, cast

from escrow_monitor.errors import ConfigurationError, OutsideError

PLACEHOLDER = "__signature_sigdat__"
EXTRA = "escrow-monitor[sm]"

_ID_CHARACTERS = 16
_BLOCK_BYTES = 16
_PROBE = b"escrow-monitor"

# The curve of GB/T 32918.5: y^2 = x^3 - 3x + b over the field of _P, its order and its base point.
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)


class EnvelopeBroken(OutsideError):
    """What came is no sealed message."""


class NotGenuine(OutsideError):
    """What came was not sealed by the other side, or was changed on its way."""


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number as it was written: it never becomes a float."""

    text: str


class _Library(Protocol):
    """What is used of gmssl-pyx. Signatures are DER, public keys 64 bytes."""

    GmsslInnerError: type[Exception]

    def sm2_sign(self, private_key: bytes, public_key: bytes, message: bytes, signer_id: bytes) -> bytes: ...

    def sm2_verify(self, public_key: bytes, message: bytes, signature: bytes, signer_id: bytes) -> bool: ...

    def sm4_cbc_padding_encrypt(self, key: bytes, iv: bytes, plaintext: bytes) -> bytes: ...

    def sm4_cbc_padding_decrypt(self, key: bytes, iv: bytes, ciphertext: bytes) -> bytes: ...


@lru_cache(maxsize=1)
def library() -> _Library:
    """The library, or ConfigurationError naming the extra that brings it."""
    try:
        return cast("_Library", import_module("gmssl_pyx"))
    except ImportError as error:
        raise ConfigurationError(
            f"SM2 and SM4 are not installed: install {EXTRA} (it brings the package gmssl-pyx)"
        ) from error


class Envelope:
    """Seals our messages and opens the other side's.

    `private_key` is ours (32 bytes), `their_public_key` verifies what they sign (64 bytes), `key` is the SM4 key both
    hold (16 bytes). Raises ConfigurationError for keys that cannot be used.
    """

    __slots__ = ("_id", "_key", "_private_key", "_public_key", "_sm", "_theirs")

    def __init__(self, *, user_id: str, private_key: bytes, their_public_key: bytes, key: bytes) -> None:
        self._sm = library()
        self._id = padded_id(user_id)
        self._private_key, self._public_key = private_key, public_key_of(private_key)
        self._theirs, self._key = their_public_key, key
        if len(key) != _BLOCK_BYTES:
            raise ConfigurationError("the SM4 key has not 16 bytes")
        self._check_keys()

    def seal(self, document: Mapping[str, object], *, signed_at: str) -> bytes:
        """The document signed, encrypted and in base64. `signed_at` is the local time as yyyyMMddHHmmss."""
        text = canonical({**document, "signature": {"sigdat": PLACEHOLDER, "sigtim": signed_at}})
        signature = raw_signature(
            self._sm.sm2_sign(self._private_key, self._public_key, text.encode(), self._id)
        )
        before, _, after = text.rpartition(PLACEHOLDER)
        signed = f"{before}{base64.b64encode(signature).decode()}{after}"
        return base64.b64encode(self._sm.sm4_cbc_padding_encrypt(self._key, self._id, signed.encode()))

    def open(self, content: bytes) -> tuple[bytes, dict[str, object]]:
        """The text inside, and the document it holds, its numbers as Number.

        Raises EnvelopeBroken for what is no sealed message, NotGenuine for one that was not sealed with the keys the
        two sides share or whose signature is not the other side's.
        """
        plain = self._decrypted(content)
        try:
            text = plain.decode()
            document = _parsed(text)
        except (ValueError, RecursionError) as error:
            raise NotGenuine("what was encrypted is no JSON object: it was changed, or the SM4 keys differ") from error
        self._verify(text, document)
        return plain, document

    def _decrypted(self, content: bytes) -> bytes:
        try:
            sealed = base64.b64decode(content.strip(), validate=True)
        except binascii.Error as error:
            raise EnvelopeBroken("not in base64") from error
        if not sealed or len(sealed) % _BLOCK_BYTES:
            raise EnvelopeBroken(f"{len(sealed)} bytes are no whole blocks of SM4: it is cut short")
        try:
            return self._sm.sm4_cbc_padding_decrypt(self._key, self._id, sealed)
        except self._sm.GmsslInnerError as error:
            raise NotGenuine("cannot be decrypted: it was changed, or the SM4 keys differ") from error

    def _verify(self, text: str, document: dict[str, object]) -> None:
        stated = document.get("signature")
        value = stated.get("sigdat") if isinstance(stated, dict) else None
        try:
            signature = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
        except binascii.Error:
            signature = b""
        if not isinstance(stated, dict) or len(signature) != 64:
            raise NotGenuine("it carries no signature")
        # The bank signs the text as it sends it; public samples sort the keys first, which is the same where it does.
        candidates: tuple[Callable[[], str], ...] = (
            lambda: text.replace(str(value), PLACEHOLDER, 1),
            lambda: canonical({**document, "signature": {**stated, "sigdat": PLACEHOLDER}}),
        )
        if not any(self._is_theirs(one().encode(), signature) for one in candidates):
            raise NotGenuine("its signature is not that of the other side's key")

    def _is_theirs(self, message: bytes, signature: bytes) -> bool:
        return self._sm.sm2_verify(self._theirs, message, der_signature(signature), self._id)

    def _check_keys(self) -> None:
        """Keys that cannot work are told at once, not by the bank."""
        try:
            made = self._sm.sm2_sign(self._private_key, self._public_key, _PROBE, self._id)
            usable = self._sm.sm2_verify(self._public_key, _PROBE, made, self._id)
        except self._sm.GmsslInnerError as error:
            raise ConfigurationError("the SM2 private key cannot be used") from error
        if not usable:
            raise ConfigurationError("the SM2 private key cannot be used: it does not verify what it signs")


def canonical(value: object) -> str:
    """JSON with the keys of every object sorted and without blanks; text stands as it is, not escaped to ASCII."""
    if isinstance(value, Mapping):
        members = (f"{json.dumps(key, ensure_ascii=False)}:{canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(canonical, value)) + "]"
    return value.text if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def padded_id(user_id: str) -> bytes:
    """The user number filled up with zeros to 16 characters: who signs, and where SM4 starts."""
    if not user_id.isascii() or not 1 <= len(user_id) <= _ID_CHARACTERS:
        raise ConfigurationError("the user number must have 1 to 16 ASCII characters")
    return user_id.ljust(_ID_CHARACTERS, "0").encode()


def private_key_from(text: str) -> bytes:
    """An SM2 private key of 32 bytes, written in base64 or hex. Raises ConfigurationError, without the key."""
    key = _bytes_from(text, (32,))
    if key is None or not 1 <= int.from_bytes(key, "big") <= _N - 2:
        raise ConfigurationError("no SM2 private key: 32 bytes are wanted, in base64 or hex")
    return key


def public_key_from(text: str) -> bytes:
    """An SM2 public key as its 64 bytes x and y, written in base64 or hex, with or without the 04 before them."""
    key = _bytes_from(text, (65, 64))
    if key is None or (len(key) == 65 and key[0] != 4):
        raise ConfigurationError("no SM2 public key: 04, x and y are wanted, 65 bytes in base64 or hex")
    x, y = int.from_bytes(key[-64:-32], "big"), int.from_bytes(key[-32:], "big")
    if max(x, y) >= _P or (y * y - x * x * x + 3 * x - _B) % _P:
        raise ConfigurationError("no SM2 public key: it is no point of the curve")
    return key[-64:]


def sm4_key_from(text: str) -> bytes:
    """An SM4 key, written as 16 ASCII characters (as the bank's key tool does) or 32 hex digits."""
    text = text.strip()
    if len(text) == 16 and text.isascii():
        return text.encode()
    key = _bytes_from(text, (16,)) if len(text) == 32 else None
    if key is None:
        raise ConfigurationError("no SM4 key: 16 characters are wanted, or 32 hex digits")
    return key


def public_key_of(private_key: bytes) -> bytes:
    """The public key that belongs to a private one: 64 bytes, x and y."""
    factor, found = int.from_bytes(private_key, "big"), None
    doubled: tuple[int, int] = _G
    while factor:
        if factor & 1:
            found = doubled if found is None else _added(found, doubled)
        doubled = _added(doubled, doubled)
        factor >>= 1
    if found is None:
        raise ConfigurationError("no SM2 private key: it is zero")
    return found[0].to_bytes(32, "big") + found[1].to_bytes(32, "big")


def raw_signature(der: bytes) -> bytes:
    """A DER signature as r and s of 32 bytes each."""
    length = der[3]
    r, s = der[4 : 4 + length], der[6 + length :]
    return int.from_bytes(r, "big").to_bytes(32, "big") + int.from_bytes(s, "big").to_bytes(32, "big")


def der_signature(raw: bytes) -> bytes:
    """r and s of 32 bytes each as a DER signature."""
    body = b"".join(
        b"\x02" + bytes([len(one)]) + one
        for one in (_der_integer(int.from_bytes(half, "big")) for half in (raw[:32], raw[32:]))
    )
    return b"\x30" + bytes([len(body)]) + body


def _der_integer(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def _added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """The sum of two points. The factors met here never reach the curve's order, so no sum is at infinity."""
    (x1, y1), (x2, y2) = one, other
    slope = 3 * (x1 * x1 - 1) * pow(2 * y1, -1, _P) if x1 == x2 else (y2 - y1) * pow(x2 - x1, -1, _P)
    x3 = (slope * slope - x1 - x2) % _P
    return x3, (slope * (x1 - x3) - y1) % _P


def _bytes_from(text: str, sizes: tuple[int, ...]) -> bytes | None:
    text = "".join(text.split())
    for decode in (bytes.fromhex, lambda one: base64.b64decode(one, validate=True)):
        try:
            found = decode(text)
        except ValueError:
            continue
        if len(found) in sizes:
            return found
    return None


def _parsed(text: str) -> dict[str, object]:
    document = json.loads(text, parse_float=Number, parse_int=Number, parse_constant=_no_constant)
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
