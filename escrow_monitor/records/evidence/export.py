"""The audit chain as a file for an outside auditor, and the walk over such a file.

JSON Lines, in this order; whoever reads a text verifies its bytes, nothing is written anew:

    {"format": "escrow-monitor audit export 1"}
    {"seal": TEXT, "signature": HEX}                            every seal, the oldest first
    {"entry": TEXT, "head": HEX, "algorithm": NAME}             every entry, the first first
    {"end": TEXT, "signature": HEX or null}                     how many there were of both, signed when it was exported
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import rfc8785
from sqlmodel import Session

from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence.chain import AuditVerdict, Broken, Fault, Seal, Walk, instant, is_signed_by
from escrow_monitor.records.evidence.seal_keys import SealKey

FORMAT = "escrow-monitor audit export 1"


@dataclass(kw_only=True)
class Exported:
    """What an export held; filled as its lines are taken."""

    entries: int = 0
    seals: int = 0
    head: str = ""


def export_lines(session: Session, key: SealKey | None, *, now: datetime, exported: Exported) -> Iterator[str]:
    """The file, line by line without line ends. Without the key the end is not signed."""
    known = audit.head(session)
    yield _line({"format": FORMAT})
    for seal in audit.seals(session):
        exported.seals += 1
        yield _line({"seal": seal.canonical, "signature": seal.signature})
    for text, head, algorithm in audit.lines(session):
        exported.entries += 1
        yield _line({"entry": text, "head": head, "algorithm": algorithm})
    exported.head = known.head
    end = rfc8785.dumps({
        "what": "end", "entries": known.seq, "head": known.head, "seals": exported.seals, "at": instant(now),
        "key_id": None if key is None else key.key_id, "public_key": None if key is None else key.public_key,
    }).decode()
    yield _line({"end": end, "signature": None if key is None else key.sign(end)})


def verify_export(
    lines: Callable[[], Iterable[bytes]], *, expected_key: str | None = None,
    witnesses: Mapping[int, str] | None = None,
) -> AuditVerdict:
    """Walk an export and name the first fault. `lines` opens the file anew each time: a gap is looked into twice."""
    reading = _Reading(lines())
    walk = Walk(reading.seals, expected_key=expected_key, witnesses=witnesses)
    broken = reading.broken or walk.begin() or _entries(walk, reading, lines) or walk.end() or _end(walk, reading.end)
    return walk.verdict(broken)


class _Reading:
    """The parts of a file: its seals at once, its entries as they come, its end after them."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._documents = _documents(lines)
        self.seals: list[Seal] = []
        self.end: dict[str, Any] | None = None
        self.number = 0
        self._first: dict[str, Any] | None = None
        self.broken = self._begin()

    def _begin(self) -> Broken | None:
        document = self._next()
        if self.number < 0:
            return Broken(Fault.TAIL_CUT, 1, "the file ends before its first line does")
        if document is None or document.get("format") != FORMAT:
            return self.unreadable()
        while (document := self._next()) is not None and _is(document, "seal"):
            self.seals.append(Seal(canonical=document["seal"], signature=document["signature"]))
        # What the seals before it say comes first, whatever this line is.
        self._first = document
        return None

    def entries(self) -> Iterator[dict[str, Any] | None]:
        """Each entry's document; None for a line that is none of ours, and then nothing more."""
        document = self._first
        while document is not None and _is(document, "entry"):
            yield document
            document = self._next()
        if document is not None and _is(document, "end"):
            self.end = document
            document = self._next()
            if document is None and self.number < 0:
                return
        if self.number >= 0:
            yield None

    def _next(self) -> dict[str, Any] | None:
        """The next line's object; None at the end of the file (`number` is below zero then) or for what is none."""
        try:
            document = next(self._documents)
        except StopIteration:
            self.number = -1
            return None
        self.number += 1
        return document

    def unreadable(self) -> Broken:
        """The finding about the line that was read last."""
        return Broken(Fault.UNREADABLE, self.number, f"line {self.number} is none that an audit export has there")


def _entries(walk: Walk, reading: _Reading, lines: Callable[[], Iterable[bytes]]) -> Broken | None:
    for document in reading.entries():
        if document is None:
            return reading.unreadable()
        broken = walk.step(document["entry"], document["head"], document["algorithm"])
        if broken is not None:
            return _misplaced(walk, broken, lines) if broken.fault is Fault.REORDERED else broken
    return None


def _misplaced(walk: Walk, broken: Broken, lines: Callable[[], Iterable[bytes]]) -> Broken:
    """An entry of another number than the next: one is missing, or they changed places, or one comes again."""
    expected, said = broken.at, walk.said.get("seq")
    if type(said) is int and said < expected:
        return Broken(Fault.REPEATED, expected, f"entry {said} comes again in the place of entry {expected}")
    ending = f',"seq":{expected}}}'
    for document in _documents(lines()):
        if document is not None and str(document.get("entry", "")).endswith(ending):
            return broken
    return Broken(Fault.MISSING, expected, f"entry {expected} is missing")


def _end(walk: Walk, document: dict[str, Any] | None) -> Broken | None:
    """Hold the signed end against what was walked."""
    if document is None:
        return Broken(Fault.TAIL_CUT, walk.seq + 1, "the file ends without an end: it was cut off")
    said = _object(document["end"]) or {}
    signature, public_key = document["signature"], said.get("public_key")
    if walk.key_id or signature is not None:
        if not isinstance(public_key, str) or not is_signed_by(public_key, document["end"], str(signature)):
            return Broken(Fault.END_EDITED, walk.seq, "the end is not signed, or its signature is not that of its text")
        if public_key != walk.public_keys.get(walk.key_id):
            return Broken(Fault.RE_KEYED, walk.seq, f"the end is signed with another key than {walk.key_id or 'none'}")
    return _counted(walk, said)


def _counted(walk: Walk, said: dict[str, Any]) -> Broken | None:
    entries = said.get("entries")
    if said.get("what") != "end" or type(entries) is not int:
        return Broken(Fault.END_EDITED, walk.seq, "the end is not written as ends are")
    if entries > walk.seq:
        return Broken(Fault.TAIL_CUT, walk.seq + 1, f"the chain ends with entry {walk.seq}, the end says {entries}")
    if entries < walk.seq:
        return Broken(Fault.APPENDED, entries + 1, f"entry {entries + 1} stands beyond the end, which was {entries}")
    if said.get("head") != walk.head:
        return Broken(Fault.REWRITTEN, walk.seq, f"the end says that the head of entry {walk.seq} was another one")
    if said.get("seals") != walk.seals_met:
        detail = f"there are {walk.seals_met} seals, the end says {said.get('seals')}"
        return Broken(Fault.SEAL_MISSING, walk.seq, detail)
    return None


_PARTS = {"seal": ("seal", "signature"), "entry": ("entry", "head", "algorithm"), "end": ("end",)}


def _is(document: dict[str, Any], part: str) -> bool:
    has_texts = all(isinstance(document.get(name), str) for name in _PARTS[part])
    return has_texts and (part != "end" or "signature" in document)


def _documents(lines: Iterable[bytes]) -> Iterator[dict[str, Any] | None]:
    for line in lines:
        document = _object(line)
        if document is None and not line.endswith(b"\n"):
            return  # the file was cut off within its last line
        yield document


def _object(text: str | bytes) -> dict[str, Any] | None:
    try:
        said = orjson.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _line(document: dict[str, object]) -> str:
    return orjson.dumps(document).decode()
