"""The chain of what was done and said: append-only, each entry sealed by the hash of all before it.

    head(0) = 64 zeros          head(n) = H(head(n-1) as bytes || entry(n))          in hex

`entry(n)` is the canonical JSON (RFC 8785) of {"seq", "at", "kind", "actor", "payload"}, H is SHA-256 (or SM3, named in
each row). Every feed entry carries the head of its own audit entry, so every subscriber is a witness of the chain.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import rfc8785
from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, from_json, insert, run
from escrow_monitor.records.columns import Row, large

GENESIS_HEAD = "0" * 64
ALGORITHMS = ("sha256", "sm3")


class AuditEntryRow(Row, table=True):
    """One entry of the chain. The database itself refuses to change or delete it."""

    __tablename__ = "audit_entries"

    seq: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    recorded_at: datetime
    kind: str = Field(index=True)
    actor: str
    algorithm: str
    canonical: str
    head: str


class ChainHeadRow(Row, table=True):
    """The newest numbers of the audit chain and the feed: one row, and the lock of all who append."""

    __tablename__ = "chain_head"
    __table_args__ = (CheckConstraint("one_row = 1", "one_row"),)

    one_row: int = Field(primary_key=True)
    audit_seq: int = large()
    audit_head: str
    feed_seq: int = large()


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest entry's number and hash. 0 and 64 zeros before the first."""

    seq: int
    head: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry as it is to be appended; `payload` is JSON of strings, integers to 2^53-1, null, lists and maps."""

    kind: str
    actor: str
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One entry as it stands in the chain."""

    seq: int
    at: datetime
    kind: str
    actor: str
    payload: Mapping[str, Any]
    algorithm: str
    canonical: str
    head: str


class Fault(StrEnum):
    """What can be wrong with a chain."""

    EDITED = "edited"
    MISSING = "missing"
    REORDERED = "reordered"
    TAIL_CUT = "tail_cut"
    FEED_DIFFERS = "feed_differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """What a walk over the chain found: how far it is whole, and the first fault in one sentence."""

    entries: int
    head: AuditHead
    fault: Fault | None = None
    at_seq: int | None = None
    detail: str = ""

    @property
    def whole(self) -> bool:
        """No fault was found."""
        return self.fault is None


def append(
    session: Session, *, kind: str, actor: str, payload: Mapping[str, object], now: datetime, algorithm: str = "sha256"
) -> AuditHead:
    """Append one entry; return the new head."""
    entry = AuditEntry(kind=kind, actor=actor, payload=payload)
    return append_many(session, [entry], now=now, algorithm=algorithm)[0]


def append_many(
    session: Session, entries: Sequence[AuditEntry], *, now: datetime, algorithm: str = "sha256"
) -> list[AuditHead]:
    """Append entries in this order; return the head after each. Raises ValueError for an unknown algorithm."""
    chain = lock_chain(session)
    heads, rows = [], []
    seq, head = chain.audit_seq, chain.audit_head
    for entry in entries:
        seq += 1
        canonical = _canonical(seq, now, entry)
        head = _sealed(head, canonical, algorithm)
        heads.append(AuditHead(seq, head))
        rows.append((seq, now, entry.kind, entry.actor, algorithm, canonical.decode(), head))
    if rows:
        insert(session, "audit_entries", _COLUMNS, rows)
        run(session, "UPDATE chain_head SET audit_seq = :seq, audit_head = :head", seq=seq, head=head)
    return heads


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The newest numbers, held by this transaction until it ends."""

    audit_seq: int
    audit_head: str
    feed_seq: int


def lock_chain(session: Session) -> ChainHead:
    """Wait until nobody else appends, and read where the chain and the feed end."""
    row = run(session, "SELECT audit_seq, audit_head, feed_seq FROM chain_head FOR UPDATE").one()
    return ChainHead(audit_seq=row[0], audit_head=row[1], feed_seq=row[2])


def head(session: Session) -> AuditHead:
    """The newest entry's number and hash."""
    row = run(session, "SELECT audit_seq, audit_head FROM chain_head").one()
    return AuditHead(row[0], row[1])


def records(session: Session, *, after: int = 0, limit: int = 100) -> list[AuditRecord]:
    """Entries with a number greater than `after`, ascending."""
    at = Reader(session).at
    rows = run(
        session, f"SELECT {', '.join(_COLUMNS)} FROM audit_entries WHERE seq > :after ORDER BY seq LIMIT :limit",
        after=after, limit=limit,
    )
    return [
        AuditRecord(
            seq=row[0], at=at(row[1]), kind=row[2], actor=row[3], algorithm=row[4], canonical=row[5], head=row[6],
            payload=from_json(row[5])["payload"],
        )
        for row in rows
    ]


VERIFY_CHUNK = 5_000


def verify(session: Session) -> AuditVerdict:
    """Walk the whole chain and hold the feed's recorded heads against it; name the first fault.

    Faults: an entry edited, missing or out of order; a tail cut off (the head row or a feed entry knows of more);
    a feed entry that is gone or says something else than the chain says was published.
    """
    known = head(session)
    walked = AuditHead(0, GENESIS_HEAD)
    while chunk := records(session, after=walked.seq, limit=VERIFY_CHUNK):
        published = _published(session, chunk)
        for record in chunk:
            verdict = _examine(walked, record) or _compare(walked, record, published.get(record.seq))
            if verdict is not None:
                return verdict
            walked = AuditHead(record.seq, record.head)
    return _tail(known, walked) or _beyond(session, walked) or AuditVerdict(entries=walked.seq, head=walked)


def export_lines(session: Session) -> Iterable[str]:
    """The chain for an outside verifier: one canonical entry a line, with its head and algorithm after a tab each."""
    after = 0
    while chunk := records(session, after=after, limit=VERIFY_CHUNK):
        for record in chunk:
            yield f"{record.canonical}\t{record.head}\t{record.algorithm}"
        after = chunk[-1].seq


_COLUMNS = {
    "seq": int, "recorded_at": datetime, "kind": str, "actor": str, "algorithm": str, "canonical": str, "head": str,
}


def _canonical(seq: int, now: datetime, entry: AuditEntry) -> bytes:
    sealed: dict[str, Any] = {
        "seq": seq, "at": now.astimezone(UTC).isoformat(timespec="microseconds"), "kind": entry.kind,
        "actor": entry.actor, "payload": entry.payload,
    }
    return rfc8785.dumps(sealed)


def _sealed(previous: str, canonical: bytes, algorithm: str) -> str:
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{algorithm!r} is not a hash of the audit chain: {', '.join(ALGORITHMS)}")
    return hashlib.new(algorithm, bytes.fromhex(previous) + canonical).hexdigest()


def _examine(before: AuditHead, record: AuditRecord) -> AuditVerdict | None:
    """Compare one entry with the head before it."""
    if record.seq != before.seq + 1:
        return _fault(before, Fault.MISSING, before.seq + 1, f"entry {before.seq + 1} is missing")
    said = from_json(record.canonical)
    if said.get("seq") != record.seq:
        return _fault(before, Fault.REORDERED, record.seq, f"entry {record.seq} says it is entry {said.get('seq')}")
    told = (said.get("kind"), said.get("actor"), datetime.fromisoformat(said["at"]))
    if told != (record.kind, record.actor, record.at):
        return _fault(before, Fault.EDITED, record.seq, f"entry {record.seq} is not what its sealed text says")
    if _sealed(before.head, record.canonical.encode(), record.algorithm) != record.head:
        return _fault(before, Fault.EDITED, record.seq, f"entry {record.seq} does not give its recorded hash")
    return None


def _tail(known: AuditHead, walked: AuditHead) -> AuditVerdict | None:
    if known == walked:
        return None
    return _fault(
        walked, Fault.TAIL_CUT, walked.seq + 1,
        f"the chain ends with entry {walked.seq}, but entry {known.seq} was written",
    )


FEED_KINDS = "alert."
"""The kinds of entries that begin so were published, if their payload carries the feed's number."""


def _published(session: Session, chunk: Sequence[AuditRecord]) -> dict[int, tuple[str, dict[str, Any]]]:
    """What the feed says of these entries, by audit number: the head, and its words as the chain's payload has them."""
    rows = run(
        session,
        "SELECT audit_seq, audit_head, seq, alert_id, transition, reason, rule, subject, period, severity, standing,"
        " why_zh, why_en, figures, labels FROM feed_entries WHERE audit_seq BETWEEN :first AND :last",
        first=chunk[0].seq, last=chunk[-1].seq,
    )
    return {
        row[0]: (row[1], {
            **dict(zip(_SAID, row[2:11], strict=True)), "why": {"zh": row[11], "en": row[12]},
            "figures": from_json(row[13]), "labels": from_json(row[14]),
        })
        for row in rows
    }


_SAID = ("seq", "alert_id", "transition", "reason", "rule", "subject", "period", "severity", "standing")


def _compare(
    before: AuditHead, record: AuditRecord, published: tuple[str, dict[str, Any]] | None
) -> AuditVerdict | None:
    """Compare an entry with the feed entry that was published with it."""
    if not record.kind.startswith(FEED_KINDS) or "seq" not in record.payload:
        return None
    number = record.payload["seq"]
    if published is None:
        return _fault(before, Fault.FEED_DIFFERS, record.seq, f"feed entry {number} of entry {record.seq} is gone")
    said_head, said = published
    if said_head != record.head:
        return _fault(before, Fault.FEED_DIFFERS, record.seq, f"feed entry {number} carries another head")
    for name, value in said.items():
        if record.payload.get(name) != value:
            return _fault(
                before, Fault.FEED_DIFFERS, record.seq, f"feed entry {number} has another {name} than was published"
            )
    return None


def _beyond(session: Session, walked: AuditHead) -> AuditVerdict | None:
    """Whether the feed knows of audit entries after the last one."""
    found = run(
        session, "SELECT seq, audit_seq FROM feed_entries WHERE audit_seq > :last ORDER BY audit_seq LIMIT 1",
        last=walked.seq,
    ).first()
    if found is None:
        return None
    return _fault(
        walked, Fault.TAIL_CUT, walked.seq + 1, f"feed entry {found[0]} knows of audit entry {found[1]}, it is gone"
    )


def _fault(whole: AuditHead, fault: Fault, at_seq: int, detail: str) -> AuditVerdict:
    return AuditVerdict(entries=whole.seq, head=whole, fault=fault, at_seq=at_seq, detail=detail)
