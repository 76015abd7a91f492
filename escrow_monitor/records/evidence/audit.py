"""The chain of what was done and said: append-only, each entry sealed by the hash of all before it.

How an entry is written and hashed stands in `chain`; how the chain is sealed day by day in `seals`. Every feed entry
carries the head of its own audit entry, so every subscriber is a witness of the chain.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.records.bulk import Reader, fetch, from_json, insert, run
from escrow_monitor.records.columns import Row, large
from escrow_monitor.records.evidence.chain import (
    ALGORITHMS,
    GENESIS_HEAD,
    AuditHead,
    AuditVerdict,
    Broken,
    Fault,
    Seal,
    Walk,
    canonical_entry,
    hasher,
    head_after,
)

__all__ = [
    "ALGORITHMS", "GENESIS_HEAD", "AuditEntry", "AuditHead", "AuditRecord", "AuditVerdict", "ChainHead", "Fault",
    "algorithm_of", "append", "append_many", "head", "lock_chain", "records", "seals", "source_actor", "use_algorithm",
    "verify",
]

ALGORITHM_KIND = "audit.algorithm"
"""The entry that says from where on the chain is hashed otherwise; it is itself the first that is."""


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


class AuditSealRow(Row, table=True):
    """One seal: the signed text says the rest. The database itself refuses to change or delete it."""

    __tablename__ = "audit_seals"

    number: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sealed_at: datetime
    canonical: str
    signature: str


class ChainHeadRow(Row, table=True):
    """The newest numbers of the audit chain and the feed: one row, and the lock of all who append."""

    __tablename__ = "chain_head"
    __table_args__ = (CheckConstraint("one_row = 1", "one_row"),)

    one_row: int = Field(primary_key=True)
    audit_seq: int = large()
    audit_head: str
    feed_seq: int = large()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry as it is to be appended; `payload` is JSON of strings, integers to 2^53-1, null, lists and maps.

    `actor` is `round:NAME`, `source:NAME` or `system` for what the program does by itself, else who the person is.
    """

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


def append(session: Session, *, kind: str, actor: str, payload: Mapping[str, object], now: datetime) -> AuditHead:
    """Append one entry; return the new head."""
    return append_many(session, [AuditEntry(kind=kind, actor=actor, payload=payload)], now=now)[0]


def append_many(
    session: Session, entries: Sequence[AuditEntry], *, now: datetime, algorithm: str | None = None
) -> list[AuditHead]:
    """Append entries in this order; return the head after each. They are hashed as the newest entry before them is."""
    if not entries:
        return []
    chain = lock_chain(session)
    algorithm = algorithm or algorithm_of(session)
    heads, rows = [], []
    seq, head = chain.audit_seq, chain.audit_head
    for entry in entries:
        seq += 1
        canonical = canonical_entry(
            seq=seq, prev=head, at=now, kind=entry.kind, actor=entry.actor, payload=entry.payload
        )
        head = head_after(head, canonical, algorithm)
        heads.append(AuditHead(seq, head))
        rows.append((seq, now, entry.kind, entry.actor, algorithm, canonical.decode(), head))
    insert(session, "audit_entries", _COLUMNS, rows)
    run(session, "UPDATE chain_head SET audit_seq = :seq, audit_head = :head", seq=seq, head=head)
    return heads


def source_actor(source: str) -> str:
    """Who did what came from a source of statements: a person at the command line, else the source itself."""
    return source if source == "cli" else f"source:{source}"


def use_algorithm(session: Session, algorithm: str, *, now: datetime) -> bool:
    """Hash the chain so from here on; True if that is new. Raises ValueError for an unknown algorithm."""
    hasher(algorithm)
    lock_chain(session)
    before = algorithm_of(session)
    if before == algorithm:
        return False
    entry = AuditEntry(kind=ALGORITHM_KIND, actor="system", payload={"before": before, "algorithm": algorithm})
    append_many(session, [entry], now=now, algorithm=algorithm)
    return True


def algorithm_of(session: Session) -> str:
    """How the chain is hashed: as its newest entry is."""
    found = run(
        session, "SELECT algorithm FROM audit_entries WHERE seq = (SELECT max(seq) FROM audit_entries)"
    ).scalar()
    return found or ALGORITHMS[0]


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


def records(session: Session, *, after: int = 0, limit: int = 100, kind: str | None = None) -> list[AuditRecord]:
    """Entries with a number greater than `after`, ascending; of one kind only where it is given."""
    at = Reader(session).at
    chosen = "" if kind is None else " AND kind = :kind"
    rows = run(
        session,
        f"SELECT {', '.join(_COLUMNS)} FROM audit_entries WHERE seq > :after{chosen} ORDER BY seq LIMIT :limit",
        after=after, limit=limit, **({} if kind is None else {"kind": kind}),
    )
    return [
        AuditRecord(
            seq=row[0], at=at(row[1]), kind=row[2], actor=row[3], algorithm=row[4], canonical=row[5], head=row[6],
            payload=from_json(row[5])["payload"],
        )
        for row in rows
    ]


def seals(session: Session, *, newest: bool = False) -> list[Seal]:
    """All seals in the order in which they were made, or only the newest."""
    order = "ORDER BY number DESC LIMIT 1" if newest else "ORDER BY number"
    rows = run(session, f"SELECT canonical, signature FROM audit_seals {order}")
    return [Seal(canonical=row[0], signature=row[1]) for row in rows]


def lines(session: Session, *, after: int = 0) -> Iterator[tuple[str, str, str]]:
    """Every entry's text, head and algorithm, in order: for an export."""
    for chunk in _chunks(session, after):
        for row in chunk:
            yield row[5], row[6], row[4]


VERIFY_CHUNK = 5_000


def verify(
    session: Session, *, since: Seal | None = None, expected_key: str | None = None,
    witnesses: Mapping[int, str] | None = None, progress: Callable[[int, int | None], None] | None = None,
) -> AuditVerdict:
    """Walk the whole chain (or what was written `since` a seal), hold seals and feed against it; name the first fault.

    `expected_key` is the id of a key that must be the chain's; `witnesses` are heads by number that others kept.
    `progress` hears how many entries of how many were walked.
    """
    known = head(session)
    walk = Walk(
        seals(session) if since is None else (), since=since, expected_key=expected_key, witnesses=witnesses
    )
    broken = (
        walk.begin() or _walked(session, walk, known.seq, progress) or _tail(known, walk) or _beyond(session, walk)
        or (walk.end() if since is None else None)
    )
    return walk.verdict(broken)


_COLUMNS = {
    "seq": int, "recorded_at": datetime, "kind": str, "actor": str, "algorithm": str, "canonical": str, "head": str,
}


def _chunks(session: Session, after: int) -> Iterator[list[tuple[Any, ...]]]:
    sql = f"SELECT {', '.join(_COLUMNS)} FROM audit_entries WHERE seq > :after ORDER BY seq LIMIT :limit"
    while chunk := fetch(session, sql, after=after, limit=VERIFY_CHUNK):
        yield chunk
        after = chunk[-1][0]


def _walked(
    session: Session, walk: Walk, last: int, progress: Callable[[int, int | None], None] | None
) -> Broken | None:
    for chunk in _chunks(session, walk.seq):
        if progress is not None:
            progress(walk.seq, max(last, walk.seq))
        published = _published(session, chunk)
        # One a chunk: it remembers every instant it has read.
        at = Reader(session).at
        for row in chunk:
            broken = _step(session, walk, row)
            if broken is None:
                said = walk.said
                if (said["kind"], said.get("actor")) != row[2:4] or _instant(said.get("at")) != at(row[1]):
                    broken = Broken(Fault.EDITED, row[0], f"entry {row[0]} is not recorded as its hashed text says")
                elif said["kind"].startswith(FEED_KINDS):
                    broken = _compare(walk, published.get(row[0]))
            if broken is not None:
                return broken
    return None


def _step(session: Session, walk: Walk, row: tuple[Any, ...]) -> Broken | None:
    expected = walk.seq + 1
    if row[0] == expected:
        return walk.step(row[5], row[6], row[4])
    # Its place is empty. If its text stands elsewhere it was moved, else it is gone.
    elsewhere = run(
        session, "SELECT count(*) FROM audit_entries WHERE seq > :seq AND canonical LIKE :end", seq=expected,
        end=f'%,"seq":{expected}}}',
    ).scalar_one()
    if elsewhere:
        return Broken(Fault.REORDERED, expected, f"entry {expected} stands in another place")
    return Broken(Fault.MISSING, expected, f"entry {expected} is missing")


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _tail(known: AuditHead, walk: Walk) -> Broken | None:
    if known.seq > walk.seq:
        detail = f"the chain ends with entry {walk.seq}, but entry {known.seq} was written"
        return Broken(Fault.TAIL_CUT, walk.seq + 1, detail)
    if known.seq < walk.seq:
        detail = f"the chain goes on to entry {walk.seq}, but the last that was written is {known.seq}"
        return Broken(Fault.APPENDED, known.seq + 1, detail)
    if known.head != walk.head:
        return Broken(Fault.REWRITTEN, walk.seq, f"the head of entry {walk.seq} was recorded to be another one")
    return None


FEED_KINDS = "alert."
"""The kinds of entries that begin so were published, if their payload carries the feed's number."""


def _published(session: Session, chunk: Sequence[tuple[Any, ...]]) -> dict[int, tuple[str, dict[str, Any]]]:
    """What the feed says of these entries, by audit number: the head, and its words as the chain's payload has them."""
    rows = run(
        session,
        "SELECT audit_seq, audit_head, seq, alert_id, transition, reason, rule, subject, period, severity, standing,"
        " why_zh, why_en, figures, labels FROM feed_entries WHERE audit_seq BETWEEN :first AND :last",
        first=chunk[0][0], last=chunk[-1][0],
    )
    return {
        row[0]: (row[1], {
            **dict(zip(_SAID, row[2:11], strict=True)), "why": {"zh": row[11], "en": row[12]},
            "figures": from_json(row[13]), "labels": from_json(row[14]),
        })
        for row in rows
    }


_SAID = ("seq", "alert_id", "transition", "reason", "rule", "subject", "period", "severity", "standing")


def _compare(walk: Walk, published: tuple[str, dict[str, Any]] | None) -> Broken | None:
    """Compare the newest entry with the feed entry that was published with it."""
    payload, at = walk.said["payload"], walk.seq
    if "seq" not in payload:
        return None
    number = payload["seq"]
    if published is None:
        return Broken(Fault.FEED_DIFFERS, at, f"feed entry {number} of entry {at} is gone")
    said_head, said = published
    if said_head != walk.head:
        return Broken(Fault.FEED_DIFFERS, at, f"feed entry {number} carries another head")
    for name, value in said.items():
        if payload.get(name) != value:
            return Broken(Fault.FEED_DIFFERS, at, f"feed entry {number} has another {name} than was published")
    return None


def _beyond(session: Session, walk: Walk) -> Broken | None:
    """Whether the feed knows of audit entries after the last one."""
    found = run(
        session, "SELECT seq, audit_seq FROM feed_entries WHERE audit_seq > :last ORDER BY audit_seq LIMIT 1",
        last=walk.seq,
    ).first()
    if found is None:
        return None
    detail = f"feed entry {found[0]} knows of audit entry {found[1]}, which is gone"
    return Broken(Fault.TAIL_CUT, walk.seq + 1, detail)
