#!/usr/bin/env python3
"""Verify an audit export of escrow-monitor without escrow-monitor: Python 3.8 or newer and this file are enough.

    python3 verify_audit.py EXPORT [--key KEY_ID] [--witness SEQ:HEAD]... [--json]

Exit 0 if the record is whole, 1 with the first fault by name, 2 if the file cannot be opened.

WHAT AN EXPORT IS. JSON Lines: a line that names the format, every seal, every entry, and the end.

    {"format": "escrow-monitor audit export 1"}
    {"seal": TEXT, "signature": HEX}
    {"entry": TEXT, "head": HEX, "algorithm": "sha256" or "sm3"}
    {"end": TEXT, "signature": HEX or null}

WHAT IS PROVEN. Each TEXT is JSON; its bytes are what was hashed or signed, so it is never written anew here.

    entries   head(n) = H(head(n-1) as bytes || TEXT(n)), head(0) is 64 zeros; TEXT(n) says "seq": n, "prev": head(n-1)
    seals     Ed25519 over TEXT, which says the head after entry "seq", the key, and the hash of the seal before:
              "previous": SHA-256(TEXT before || newline || signature before), of the first 64 zeros
    keys      an entry of kind "audit.key" names the key that seals from there on; from the second key on the one
              before signs that too
    end       how many entries and seals there were and the last head, signed with the key that sealed last

WHAT IS NOT. Somebody who holds the whole database, writes all of it anew and signs with a key of his own leaves a file
that is whole in itself. Therefore compare the key id that this script prints with the one you were given on paper, or
give it as --key; and give heads that you kept, as every feed entry carries one, as --witness.
"""

# ruff: noqa: B905 - Python 3.8 has no zip(strict=True); a sentence of a verdict is filled by its names

import argparse
import hashlib
import json
import sys

FORMAT = "escrow-monitor audit export 1"
ZEROS = "0" * 64


# The hash of GB/T 32905-2016 (SM3), for a Python whose OpenSSL does not have it.

SM3_FIRST = (
    0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E,
)
WORD = 0xFFFFFFFF


def rotated(word, places):
    """A 32-bit word turned to the left."""
    places %= 32
    return ((word << places) | (word >> (32 - places))) & WORD


def sm3(content):
    """The SM3 hash of bytes, as bytes."""
    padding = b"\x80" + b"\0" * ((55 - len(content)) % 64)
    padded = content + padding + (8 * len(content)).to_bytes(8, "big")
    state = SM3_FIRST
    for start in range(0, len(padded), 64):
        state = sm3_block(state, padded[start : start + 64])
    return b"".join(word.to_bytes(4, "big") for word in state)


def sm3_block(state, block):
    """One step of compression."""
    w = [int.from_bytes(block[place : place + 4], "big") for place in range(0, 64, 4)]
    for j in range(16, 68):
        x = w[j - 16] ^ w[j - 9] ^ rotated(w[j - 3], 15)
        w.append(x ^ rotated(x, 15) ^ rotated(x, 23) ^ rotated(w[j - 13], 7) ^ w[j - 6])
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        constant = 0x79CC4519 if j < 16 else 0x7A879D8A
        ss1 = rotated((rotated(a, 12) + e + rotated(constant, j)) & WORD, 7)
        ss2 = ss1 ^ rotated(a, 12)
        if j < 16:
            ff, gg = a ^ b ^ c, e ^ f ^ g
        else:
            ff, gg = (a & b) | (a & c) | (b & c), (e & f) | (~e & WORD & g)
        tt1 = (ff + d + ss2 + (w[j] ^ w[j + 4])) & WORD
        tt2 = (gg + h + ss1 + w[j]) & WORD
        a, b, c, d = tt1, a, rotated(b, 9), c
        e, f, g, h = tt2 ^ rotated(tt2, 9) ^ rotated(tt2, 17), e, rotated(f, 19), g
    return tuple(old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h)))


def sm3_hex(content):
    """The SM3 hash in hex, by OpenSSL where it can."""
    try:
        return hashlib.new("sm3", content).hexdigest()
    except ValueError:
        return sm3(content).hex()


HASHES = {"sha256": lambda content: hashlib.sha256(content).hexdigest(), "sm3": sm3_hex}


# The signatures of RFC 8032 (Ed25519). A point is (X, Y, Z, T), with x = X/Z, y = Y/Z, xy = T/Z, on the curve
# -x^2 + y^2 = 1 + D x^2 y^2 over the whole numbers modulo P.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def added(p, q):
    """The sum of two points."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_of(encoded):
    """The point that 32 bytes stand for, None if they stand for none."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def encoded(point):
    """The 32 bytes that stand for a point."""
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public_key, content, signature):
    """Whether these 64 bytes are the signature of the content by the key of these 32 bytes."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key = point_of(public_key)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public_key + content).digest(), "little") % ORDER
    # s B - h A must be R. Both products are made in one go, bit by bit.
    minus_key = (P - key[0], key[1], key[2], P - key[3])
    sums = (None, BASE, minus_key, added(BASE, minus_key))
    point = NEUTRAL
    for bit in range(max(s.bit_length(), h.bit_length()) - 1, -1, -1):
        point = added(point, point)
        chosen = sums[(s >> bit & 1) + 2 * (h >> bit & 1)]
        if chosen is not None:
            point = added(point, chosen)
    return encoded(point) == signature[:32]


def is_signed_by(public_key, text, signature):
    """The same of a text, key and signature in hex; whatever is no hex is no signature."""
    try:
        return is_signed(bytes.fromhex(public_key), text.encode(), bytes.fromhex(signature))
    except (TypeError, ValueError):
        return False


def key_id_of(public_key):
    """What a key is called: 16 hex digits of its SHA-256; None for what is no key."""
    try:
        key = bytes.fromhex(public_key)
    except (TypeError, ValueError):
        return None
    return hashlib.sha256(key).hexdigest()[:16] if len(key) == 32 else None


# Reading.


class Fault(Exception):
    """The first thing that is wrong: (name, number of the entry, seal or line, sentence)."""


def strange(constant):
    """JSON has no NaN and no infinity."""
    raise ValueError(constant)


def object_of(text):
    """The JSON object that a text is, None if it is none."""
    try:
        said = json.loads(text, parse_constant=strange)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def documents(file):
    """Each line of the file as (its number, its object or None). A last line that was cut off is not there."""
    file.seek(0)
    for number, line in enumerate(file, 1):
        document = object_of(line)
        if document is None and not line.endswith(b"\n"):
            return
        yield number, document


def is_part(document, *names):
    """Whether a line's object has these texts."""
    return document is not None and all(isinstance(document.get(name), str) for name in names)


def unreadable(number):
    """A line that is none of ours, or in no place of its."""
    return Fault("unreadable", number, f"line {number} is none that an audit export has there")


# Verifying.


class Verifier:
    """Goes through an export once, from the first line to the last."""

    def __init__(self, file, expected_key=None, witnesses=None):
        self.file = file
        self.expected_key = expected_key
        self.witnesses = witnesses or {}
        self.seals = []
        self.seq, self.head = 0, ZEROS
        self.keys, self.key_id = {}, ""
        self.met, self.sealed_to = 0, 0
        self.last_seal, self.last_signature = ZEROS, None

    def verify(self):
        """Raise the first Fault, if there is one."""
        lines = documents(self.file)
        number, document = next(lines, (0, None))
        if number == 0:
            raise Fault("tail_cut", 1, "the file ends before its first line does")
        if document is None or document.get("format") != FORMAT:
            raise unreadable(number)
        end, entries_began = None, False
        for number, document in lines:
            if end is not None:
                raise unreadable(number)
            if is_part(document, "seal", "signature") and not entries_began:
                self.seals.append((object_of(document["seal"]) or {}, document["seal"], document["signature"]))
                continue
            if not entries_began:
                entries_began = True
                self.look_at_seals()
            if is_part(document, "entry", "head", "algorithm"):
                self.entry(document["entry"], document["head"], document["algorithm"])
            elif is_part(document, "end") and "signature" in document:
                end = document
            else:
                raise unreadable(number)
        if not entries_began:
            self.look_at_seals()
        self.look_beyond()
        self.look_at_end(end)

    def look_at_seals(self):
        """Each seal by itself, then their order."""
        numbers = []
        for place, (said, text, signature) in enumerate(self.seals, 1):
            is_ours = said.get("what") == "seal" and all(
                type(said.get(name)) is int and said[name] > 0 for name in ("number", "seq")
            )
            key_id = key_id_of(said.get("public_key"))
            if not is_ours or key_id is None or said.get("key_id") != key_id or not is_signed_by(
                said["public_key"], text, signature
            ):
                raise Fault("seal_edited", place, f"the signature of seal {place} is not that of its text")
            numbers.append(said["number"])
        for place, number in enumerate(numbers, 1):
            if number < place or (number > place and place in numbers):
                raise Fault("seal_reordered", place, f"in the place of seal {place} stands seal {number}")
            if number > place:
                raise Fault("seal_missing", place, f"seal {place} is missing")

    def entry(self, text, head, algorithm):
        """The next entry, and the seals on it."""
        expected = self.seq + 1
        said = object_of(text) or {}
        before = said.get("prev", self.head)
        try:
            given = HASHES[algorithm](bytes.fromhex(before) + text.encode())
        except (KeyError, TypeError, ValueError):
            raise Fault("edited", expected, f"entry {expected} is not written as entries are") from None
        if given != head or not isinstance(said.get("kind"), str) or not isinstance(said.get("payload"), dict):
            raise Fault("edited", expected, f"entry {expected} does not give its recorded hash")
        if said.get("seq") != expected or type(said["seq"]) is not int:
            raise self.misplaced(expected, said.get("seq"))
        if before != self.head:
            raise Fault("spliced", expected, f"entry {expected} was not written after the entry before it")
        self.seq, self.head = expected, head
        if self.witnesses.get(expected, head) != head:
            raise Fault("rewritten", expected, f"the head of entry {expected} was seen to be another one")
        if said["kind"] == "audit.key":
            self.take_key(said["payload"])
        if said["kind"] == "audit.sealed":
            self.hold_against_seal(said["payload"])
        self.meet_seals()

    def misplaced(self, expected, found):
        """What to call an entry of another number than the next one."""
        if type(found) is int and found < expected:
            return Fault("repeated", expected, f"entry {found} comes again in the place of entry {expected}")
        ending = ',"seq":' + str(expected) + "}"
        if any(str((document or {}).get("entry", "")).endswith(ending) for _, document in documents(self.file)):
            return Fault("reordered", expected, f"in the place of entry {expected} stands entry {found}")
        return Fault("missing", expected, f"entry {expected} is missing")

    def take_key(self, payload):
        """From here on another key seals: it must sign for itself, and the key before must hand over to it."""
        statement = str(payload.get("statement"))
        told = object_of(statement) or {}
        key_id = key_id_of(told.get("public_key"))
        is_own = (
            told.get("what") == "key" and told.get("from") == (self.key_id or None) and key_id is not None
            and told.get("to") == key_id and is_signed_by(told["public_key"], statement, payload.get("signature"))
        )
        if is_own and self.key_id:
            is_own = is_signed_by(self.keys[self.key_id], statement, payload.get("signature_before"))
        if not is_own:
            raise Fault("re_keyed", self.seq, f"entry {self.seq} takes up a key that was not handed over to")
        self.keys[key_id] = told["public_key"]
        self.key_id = key_id

    def hold_against_seal(self, payload):
        """What the chain says of a seal must be the seal that is there."""
        number = payload.get("number")
        if type(number) is not int or number != self.met:
            raise Fault("seal_missing", self.seq, f"entry {self.seq} tells of seal {number}, which is not there")
        if payload.get("signature") != self.last_signature:
            raise Fault("seal_spliced", number, f"seal {number} is not the one that entry {self.seq} tells of")

    def meet_seals(self):
        """The seals on the entry just taken."""
        while self.met < len(self.seals):
            said, text, signature = self.seals[self.met]
            number = self.met + 1
            if said["seq"] > self.seq:
                return
            if said["public_key"] != self.keys.get(self.key_id):
                known = self.key_id or "none"
                told = f"seal {number} is signed with the key {said['key_id']}, and the key was {known}"
                raise Fault("re_keyed", number, told)
            if said.get("previous") != self.last_seal:
                raise Fault("seal_spliced", number, f"seal {number} was not made after the seal before it")
            if said["seq"] != self.seq or said.get("head") != self.head:
                told = f"seal {number} says that the head of entry {said['seq']} was another one"
                raise Fault("rewritten", self.seq, told)
            self.last_seal = hashlib.sha256(f"{text}\n{signature}".encode()).hexdigest()
            self.last_signature, self.met, self.sealed_to = signature, number, self.seq

    def look_beyond(self):
        """What seals and witnesses know of that is not there."""
        beyond = [f"seal {number}" for number in range(self.met + 1, len(self.seals) + 1)]
        beyond += [f"the witness of entry {seq}" for seq in sorted(self.witnesses) if seq > self.seq]
        if beyond:
            told = f"the chain ends with entry {self.seq}, but {beyond[0]} knows of more"
            raise Fault("tail_cut", self.seq + 1, told)
        if self.expected_key is not None and self.expected_key not in self.keys:
            known = ", ".join(self.keys) or "none"
            raise Fault("re_keyed", self.seq, f"the key {self.expected_key} was expected, the chain has {known}")

    def look_at_end(self, end):
        """The end's signature, and what it says there was."""
        if end is None:
            raise Fault("tail_cut", self.seq + 1, "the file ends without an end: it was cut off")
        said = object_of(end["end"]) or {}
        if self.key_id or end["signature"] is not None:
            if not is_signed_by(said.get("public_key"), end["end"], end["signature"]):
                raise Fault("end_edited", self.seq, "the end is not signed, or its signature is not that of its text")
            if said["public_key"] != self.keys.get(self.key_id):
                known = self.key_id or "none"
                raise Fault("re_keyed", self.seq, f"the end is signed with another key than {known}")
        entries = said.get("entries")
        if said.get("what") != "end" or type(entries) is not int:
            raise Fault("end_edited", self.seq, "the end is not written as ends are")
        if entries > self.seq:
            raise Fault("tail_cut", self.seq + 1, f"the chain ends with entry {self.seq}, the end says {entries}")
        if entries < self.seq:
            raise Fault("appended", entries + 1, f"entry {entries + 1} stands beyond the end, which was {entries}")
        if said.get("head") != self.head:
            raise Fault("rewritten", self.seq, f"the end says that the head of entry {self.seq} was another one")
        if said.get("seals") != self.met:
            raise Fault("seal_missing", self.seq, f"there are {self.met} seals, the end says {said.get('seals')}")


def witness_of(text):
    """SEQ:HEAD from the command line."""
    seq, _, head = text.partition(":")
    if not seq.isdigit() or len(head) != 64:
        raise argparse.ArgumentTypeError("write it as SEQ:HEAD, for instance 1234:9f86d0...")
    return int(seq), head.lower()


def sentences(verdict):
    """What was found, for a reader."""
    if not verdict["whole"]:
        return "{fault} at {at_seq}: {detail}".format(**verdict)
    key = "key  {key_id}  (compare it with the one you were given)" if verdict["key_id"] else "not sealed"
    told = "{entries} entries, whole; {seals} seals, sealed to entry {sealed_to}\nhead {entries} {head[head]}\n" + key
    return told.format(**verdict)


def main(arguments=None):
    """Verify one file and say what was found."""
    parser = argparse.ArgumentParser(description="Verify an audit export of escrow-monitor.")
    parser.add_argument("export")
    parser.add_argument("--key", metavar="KEY_ID", help="the key that must have sealed")
    parser.add_argument("--witness", metavar="SEQ:HEAD", type=witness_of, action="append", default=[])
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    fault, at, detail = None, None, ""
    try:
        with open(chosen.export, "rb") as file:
            verifier = Verifier(file, chosen.key, dict(chosen.witness))
            verifier.verify()
    except Fault as found:
        fault, at, detail = found.args
    except OSError as error:
        sys.stderr.write(f"{chosen.export}: {error.strerror}\n")
        return 2
    verdict = {
        "whole": fault is None, "fault": fault, "at_seq": at, "detail": detail, "entries": verifier.seq,
        "head": {"seq": verifier.seq, "head": verifier.head}, "seals": verifier.met, "sealed_to": verifier.sealed_to,
        "key_id": verifier.key_id,
    }
    sys.stdout.write((json.dumps(verdict) if chosen.json else sentences(verdict)) + "\n")
    return 0 if fault is None else 1


if __name__ == "__main__":
    sys.exit(main())
