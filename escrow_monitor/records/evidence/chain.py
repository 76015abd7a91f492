"""What makes the audit chain provable: how entries and seals are written and hashed, and what each damage is called.

    head(0) = 64 zeros          head(n) = H(head(n-1) as bytes || entry(n))          in hex

`entry(n)` is the canonical JSON (RFC 8785) of {"seq", "prev", "at", "kind", "actor", "by", "payload"}, `prev` being
head(n-1) and `by` "human" or "system". H is SHA-256 or SM3, named beside each entry. A seal is signed text that says
what the head was at an entry; it names the hash of the seal before it. Nothing here reads a database or a file:

    entries, seals  ->  Walk  ->  AuditVerdict

The same rules stand once more, sharing no code with these, in the script for outside auditors (deploy/verify_audit.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
import rfc8785

GENESIS_HEAD = "0" * 64
ALGORITHMS = ("sha256", "sm3")
KEY_KIND = "audit.key"
"""Entries of this kind say which key signs from there on."""
SEALED_KIND = "audit.sealed"
"""Entries of this kind say that a seal was put on the entries before."""
SYSTEM_ACTORS = frozenset({"system", "round", "source", "daemon", "channel"})
"""An actor whose name begins so, up to a colon, is the program itself; anybody else is a person."""


class Fault(StrEnum):
    """What can be wrong with a chain, its seals, or an export of both. The first that is found is named."""

    UNREADABLE = "unreadable"
    """A line of an export that is none of ours."""
    EDITED = "edited"
    """An entry whose text does not give its recorded hash, or that is recorded otherwise than its text says."""
    MISSING = "missing"
    """No entry of this number, though there are later ones."""
    REORDERED = "reordered"
    """An entry in another's place, its own number being elsewhere."""
    REPEATED = "repeated"
    """An entry of a number that has been before."""
    SPLICED = "spliced"
    """An entry that is whole in itself but was written after another one than stands before it."""
    TAIL_CUT = "tail_cut"
    """Entries are gone at the end: something outside of them knows of more."""
    APPENDED = "appended"
    """Entries stand beyond the end that was recorded or signed."""
    REWRITTEN = "rewritten"
    """The entries hang together, but the head at a sealed or witnessed place was another one."""
    FEED_DIFFERS = "feed_differs"
    """A feed entry is gone or says something else than the chain says was published."""
    SEAL_EDITED = "seal_edited"
    """A seal whose signature is not that of its text, or whose text is none of ours."""
    SEAL_MISSING = "seal_missing"
    """No seal of this number, though there are later ones or the chain says that it was made."""
    SEAL_REORDERED = "seal_reordered"
    """Seals that changed places, or one that comes twice."""
    SEAL_SPLICED = "seal_spliced"
    """A genuine seal that was made after another one than stands before it."""
    RE_KEYED = "re_keyed"
    """A seal or the end was signed with a key that the key before did not hand over to, or not the one expected."""
    END_EDITED = "end_edited"
    """The end of an export that is not signed, or not with the signature of its text."""


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest entry's number and hash. 0 and 64 zeros before the first."""

    seq: int
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """What a walk over the chain found: how far it is whole, and the first fault in one sentence.

    `at_seq` is the entry's number, for seals the seal's. `sealed_to` is the last entry that a genuine seal covers,
    `key_id` the key that signed it; 0 and "" where nothing is sealed.
    """

    entries: int
    head: AuditHead
    fault: Fault | None = None
    at_seq: int | None = None
    detail: str = ""
    seals: int = 0
    sealed_to: int = 0
    key_id: str = ""

    @property
    def whole(self) -> bool:
        """No fault was found."""
        return self.fault is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One seal as it is kept: what was signed, to the byte, and the signature in hex."""

    canonical: str
    signature: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The first fault: what, where, in one sentence."""

    fault: Fault
    at: int
    detail: str


def by_of(actor: str) -> str:
    """`system` for what the program did by itself, `human` for everybody else."""
    return "system" if actor.partition(":")[0] in SYSTEM_ACTORS else "human"


def canonical_entry(
    *, seq: int, prev: str, at: datetime, kind: str, actor: str, payload: Mapping[str, object]
) -> bytes:
    """The text of an entry, as it is hashed."""
    said: dict[str, Any] = {
        "seq": seq, "prev": prev, "at": instant(at), "kind": kind, "actor": actor, "by": by_of(actor),
        "payload": payload,
    }
    return rfc8785.dumps(said)


def instant(at: datetime) -> str:
    """An instant as entries and seals write it: UTC, always six decimals."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def head_after(prev: str, canonical: bytes, algorithm: str) -> str:
    """The hash of an entry behind the one before. Raises ValueError for an unknown algorithm."""
    return hasher(algorithm)(bytes.fromhex(prev) + canonical)


def hasher(algorithm: str) -> Callable[[bytes], str]:
    """Bytes to the hex of their hash. Raises ValueError for an algorithm that the chain does not know."""
    if algorithm == "sha256":
        return _sha256
    if algorithm == "sm3":
        return _sm3
    raise ValueError(f"{algorithm!r} is not a hash of the audit chain: {', '.join(ALGORITHMS)}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sm3(content: bytes) -> str:
    if "sm3" in hashlib.algorithms_available:
        return hashlib.new("sm3", content).hexdigest()
    # A Python whose OpenSSL was built without it; the X.509 library brings its own.
    from cryptography.hazmat.primitives import hashes

    digest = hashes.Hash(hashes.SM3())
    digest.update(content)
    return digest.finalize().hex()


def key_id_of(public_key: str) -> str:
    """What a public key (64 hex digits) is called: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:16]


def is_signed_by(public_key: str, text: str, signature: str) -> bool:
    """Whether this is the key's Ed25519 signature of the text; all in hex."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def seal_hash(seal: Seal) -> str:
    """What the next seal calls this one: the SHA-256 of its text, a newline, and its signature."""
    return _sha256(f"{seal.canonical}\n{seal.signature}".encode())


class Walk:
    """Follows a chain entry by entry with its seals, and names the first thing that is wrong.

    `since` is a seal that is believed: the walk begins behind it, and `seals` are those after it.
    `expected_key` is the id of a key that must have signed or handed over; without it the first key that the chain
    names is believed. `witnesses` are heads by number that somebody else kept, for instance from the feed.
    """

    said: Mapping[str, Any]
    """What the newest entry that was stepped to says."""

    def __init__(
        self, seals: Sequence[Seal] = (), *, since: Seal | None = None, expected_key: str | None = None,
        witnesses: Mapping[int, str] | None = None,
    ) -> None:
        self.seq, self.head = 0, GENESIS_HEAD
        self.key_id = ""
        self.public_keys: dict[str, str] = {}
        self.said = {}
        self._seals = [(seal, _object(seal.canonical) or {}) for seal in seals]
        self.seals_met = 0
        self._sealed_to = 0
        self._last_seal, self._last_signature = GENESIS_HEAD, ""
        if since is not None:
            self._go_on_from(since)
        self._seals_before = self.seals_met
        self._next_sealed = self._sealed_seq()
        self._expected_key = expected_key
        self._witnesses = witnesses or {}

    def _go_on_from(self, since: Seal) -> None:
        said = _object(since.canonical) or {}
        self.seq, self.head, self.key_id = said["seq"], said["head"], said["key_id"]
        self.public_keys = {self.key_id: said["public_key"]}
        self.seals_met, self._sealed_to = said["number"], self.seq
        self._last_seal, self._last_signature = seal_hash(since), since.signature

    def begin(self) -> Broken | None:
        """Look at each seal by itself and at their order, before the first entry."""
        numbers = []
        first = self._seals_before + 1
        for place, (seal, said) in enumerate(self._seals, first):
            if not _is_seal(said) or not is_signed_by(said["public_key"], seal.canonical, seal.signature):
                return Broken(Fault.SEAL_EDITED, place, f"the signature of seal {place} is not that of its text")
            numbers.append(said["number"])
        for place, number in enumerate(numbers, first):
            if number < place or (number != place and place in numbers):
                return Broken(Fault.SEAL_REORDERED, place, f"in the place of seal {place} stands seal {number}")
            if number != place:
                return Broken(Fault.SEAL_MISSING, place, f"seal {place} is missing")
        return None

    def step(self, canonical: str, head: str, algorithm: str) -> Broken | None:
        """Take the next entry. A number that is not the next one is REORDERED: whether the next one stands elsewhere
        only the caller can know."""
        expected = self.seq + 1
        self.said = said = _object(canonical) or {}
        prev = said.get("prev", self.head)
        try:
            given = head_after(prev, canonical.encode(), algorithm)
        except (ValueError, TypeError):
            return Broken(Fault.EDITED, expected, f"entry {expected} is not written as entries are")
        if given != head or type(said.get("kind")) is not str or type(said.get("payload")) is not dict:
            return Broken(Fault.EDITED, expected, f"entry {expected} does not give its recorded hash")
        if said.get("seq") != expected:
            return Broken(Fault.REORDERED, expected, f"in the place of entry {expected} stands entry {said.get('seq')}")
        if prev != self.head:
            return Broken(Fault.SPLICED, expected, f"entry {expected} was not written after the entry before it")
        self.seq, self.head = expected, head
        if self._witnesses.get(expected, head) != head:
            return Broken(Fault.REWRITTEN, expected, f"the head of entry {expected} was seen to be another one")
        broken = self._about_seals(said["kind"], said["payload"]) if said["kind"].startswith("audit.") else None
        return broken or (self._meet_seals() if expected >= self._next_sealed else None)

    def end(self) -> Broken | None:
        """After the last entry: what seals and witnesses know beyond it, and whether the expected key was there."""
        beyond = [
            *(f"seal {number}" for number in range(self.seals_met + 1, self._seals_before + len(self._seals) + 1)),
            *(f"the witness of entry {seq}" for seq in sorted(self._witnesses) if seq > self.seq),
        ]
        if beyond:
            detail = f"the chain ends with entry {self.seq}, but {beyond[0]} knows of more"
            return Broken(Fault.TAIL_CUT, self.seq + 1, detail)
        if self._expected_key is not None and self._expected_key not in self.public_keys:
            known = ", ".join(self.public_keys) or "none"
            return Broken(Fault.RE_KEYED, self.seq, f"the key {self._expected_key} was expected, the chain has {known}")
        return None

    def verdict(self, broken: Broken | None) -> AuditVerdict:
        """What was found, and how far it was whole."""
        return AuditVerdict(
            entries=self.seq, head=AuditHead(self.seq, self.head),
            fault=None if broken is None else broken.fault, at_seq=None if broken is None else broken.at,
            detail="" if broken is None else broken.detail, seals=self.seals_met, sealed_to=self._sealed_to,
            key_id=self.key_id,
        )

    def _about_seals(self, kind: str, payload: Mapping[str, Any]) -> Broken | None:
        if kind == KEY_KIND:
            return self._take_key(payload)
        if kind == SEALED_KIND:
            return self._hold_against_seal(payload)
        return None

    def _take_key(self, payload: Mapping[str, Any]) -> Broken | None:
        """The key before hands over by its signature, and the new one signs too: nobody can name a key he has not."""
        statement = str(payload.get("statement"))
        told = _object(statement) or {}
        public_key = str(told.get("public_key"))
        is_own = (
            told.get("what") == "key" and told.get("from") == (self.key_id or None) and _is_key(public_key)
            and key_id_of(public_key) == told.get("to")
            and is_signed_by(public_key, statement, str(payload.get("signature")))
        )
        before = self.public_keys.get(self.key_id)
        if not is_own or (
            before is not None and not is_signed_by(before, statement, str(payload.get("signature_before")))
        ):
            return Broken(Fault.RE_KEYED, self.seq, f"entry {self.seq} takes up a key that was not handed over to")
        self.key_id = key_id_of(public_key)
        self.public_keys[self.key_id] = public_key
        return None

    def _hold_against_seal(self, payload: Mapping[str, Any]) -> Broken | None:
        """What the chain says of a seal must be the seal that is there."""
        number = payload.get("number")
        if number != self.seals_met or type(number) is not int:
            return Broken(Fault.SEAL_MISSING, self.seq, f"entry {self.seq} tells of seal {number}, which is not there")
        if payload.get("signature") != self._last_signature:
            return Broken(Fault.SEAL_SPLICED, number, f"seal {number} is not the one that entry {self.seq} tells of")
        return None

    def _meet_seals(self) -> Broken | None:
        """The seals on the entry just taken."""
        while self._next_sealed <= self.seq:
            seal, said = self._seals[self.seals_met - self._seals_before]
            number = self.seals_met + 1
            if said["public_key"] != self.public_keys.get(self.key_id):
                return Broken(
                    Fault.RE_KEYED, number,
                    f"seal {number} is signed with the key {said['key_id']}, and the key was {self.key_id or 'none'}",
                )
            if said.get("previous") != self._last_seal:
                return Broken(Fault.SEAL_SPLICED, number, f"seal {number} was not made after the seal before it")
            if said["seq"] != self.seq or said.get("head") != self.head:
                detail = f"seal {number} says that the head of entry {said['seq']} was another one"
                return Broken(Fault.REWRITTEN, self.seq, detail)
            self._last_seal, self._last_signature = seal_hash(seal), seal.signature
            self.seals_met, self._sealed_to = number, self.seq
            self._next_sealed = self._sealed_seq()
        return None

    def _sealed_seq(self) -> int:
        """The entry that the next seal is on; beyond all where there is none."""
        place = self.seals_met - self._seals_before
        return int(self._seals[place][1].get("seq", NEVER)) if place < len(self._seals) else NEVER


NEVER = 1 << 63


def _is_seal(said: Mapping[str, Any]) -> bool:
    return (
        said.get("what") == "seal" and all(type(said.get(name)) is int and said[name] > 0 for name in ("number", "seq"))
        and _is_key(said.get("public_key")) and said.get("key_id") == key_id_of(said["public_key"])
    )


def _object(text: str) -> dict[str, Any] | None:
    try:
        said = orjson.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _is_key(public_key: object) -> bool:
    try:
        return isinstance(public_key, str) and len(bytes.fromhex(public_key)) == 32
    except ValueError:
        return False
