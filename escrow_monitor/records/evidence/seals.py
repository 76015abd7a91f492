"""Seals on the audit chain: signed once a day, each naming the one before, so that no past can be written anew.

    entries since the last seal, looked at again  ->  Seal (signed)  ->  audit_seals  +  an entry that tells of it
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import rfc8785
from sqlmodel import Session

from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.records.bulk import from_json, run
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence.chain import (
    GENESIS_HEAD,
    KEY_KIND,
    SEALED_KIND,
    AuditHead,
    Seal,
    instant,
    seal_hash,
)
from escrow_monitor.records.evidence.seal_keys import SealKey


class ChainBroken(EscrowMonitorError):
    """The audit chain is broken, so no seal is put on it."""


class KeyNotHandedOver(EscrowMonitorError):
    """The configured key is not the one that sealed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedDay:
    """A seal as it is recorded: on `day`, the head after entry `seq`. `public_key` in hex."""

    number: int
    day: date
    seq: int
    head: str
    algorithm: str
    key_id: str
    public_key: str
    previous: str
    sealed_at: datetime
    seal: Seal


def put_seal(session: Session, key: SealKey, *, day: date, actor: str, now: datetime) -> SealedDay:
    """Seal the chain as it stands. Raises ChainBroken if what was written since the last seal does not hang together,
    KeyNotHandedOver if another key sealed before and did not hand over to this one."""
    audit.lock_chain(session)
    take_key(session, key, actor=actor, now=now)
    before = newest_seal(session)
    # What was sealed before was looked at then: the cost of a day, not of all years.
    verdict = audit.verify(session, since=None if before is None else before.seal)
    if not verdict.whole:
        raise ChainBroken(f"no seal is put on a broken chain: {verdict.fault} at {verdict.at_seq}: {verdict.detail}")
    sealed = _signed(key, before, verdict.head, algorithm=audit.algorithm_of(session), day=day, now=now)
    run(
        session,
        "INSERT INTO audit_seals (number, sealed_at, canonical, signature)"
        " VALUES (:number, :now, :canonical, :signature)",
        number=sealed.number, now=now, canonical=sealed.seal.canonical, signature=sealed.seal.signature,
    )
    audit.append(session, kind=SEALED_KIND, actor=actor, now=now, payload={
        "number": sealed.number, "day": day.isoformat(), "seq": sealed.seq, "head": sealed.head,
        "key_id": key.key_id, "signature": sealed.seal.signature,
    })
    return sealed


def take_key(
    session: Session, key: SealKey, *, actor: str, now: datetime, before: SealKey | None = None
) -> None:
    """Note in the chain that this key seals from here on, unless it does so already.

    The first key needs nobody's word; every later one needs `before`, the key until now, to sign that it hands over.
    """
    audit.lock_chain(session)
    in_force = key_in_force(session)
    if in_force == key.key_id:
        return
    if in_force is not None and (before is None or before.key_id != in_force):
        raise KeyNotHandedOver(
            f"the key {in_force} seals the chain, and it did not hand over to {key.key_id}: "
            "run `escrow-monitor audit hand-over` with both"
        )
    statement = _text({
        "what": "key", "from": in_force, "to": key.key_id, "public_key": key.public_key, "at": instant(now)
    })
    audit.append(session, kind=KEY_KIND, actor=actor, now=now, payload={
        "statement": statement, "signature": key.sign(statement),
        "signature_before": None if in_force is None or before is None else before.sign(statement),
    })


def key_in_force(session: Session) -> str | None:
    """The id of the key that the chain names last; None before the first."""
    cell = run(
        session, "SELECT canonical FROM audit_entries WHERE kind = :kind ORDER BY seq DESC LIMIT 1", kind=KEY_KIND
    ).scalar()
    return None if cell is None else str(from_json(from_json(cell)["payload"]["statement"])["to"])


def newest_seal(session: Session) -> SealedDay | None:
    """The last seal; None before the first."""
    kept = audit.seals(session, newest=True)
    return _sealed_day(kept[0]) if kept else None


def newest_seals(session: Session, *, limit: int) -> tuple[list[SealedDay], int]:
    """At most `limit` seals, the newest first, and how many there are."""
    rows = run(
        session, "SELECT canonical, signature FROM audit_seals ORDER BY number DESC LIMIT :limit", limit=limit
    ).all()
    count = int(run(session, "SELECT count(*) FROM audit_seals").scalar_one())
    return [_sealed_day(Seal(canonical=row[0], signature=row[1])) for row in rows], count


def _signed(
    key: SealKey, before: SealedDay | None, head: AuditHead, *, algorithm: str, day: date, now: datetime
) -> SealedDay:
    number = 1 if before is None else before.number + 1
    previous = GENESIS_HEAD if before is None else seal_hash(before.seal)
    canonical = _text({
        "what": "seal", "number": number, "day": day.isoformat(), "seq": head.seq, "head": head.head,
        "algorithm": algorithm, "key_id": key.key_id, "public_key": key.public_key, "previous": previous,
        "at": instant(now),
    })
    return SealedDay(
        number=number, day=day, seq=head.seq, head=head.head, algorithm=algorithm, key_id=key.key_id,
        public_key=key.public_key, previous=previous, sealed_at=now,
        seal=Seal(canonical=canonical, signature=key.sign(canonical)),
    )


def _sealed_day(seal: Seal) -> SealedDay:
    said = from_json(seal.canonical)
    return SealedDay(
        number=said["number"], day=date.fromisoformat(said["day"]), seq=said["seq"], head=said["head"],
        algorithm=said["algorithm"], key_id=said["key_id"], public_key=said["public_key"], previous=said["previous"],
        sealed_at=datetime.fromisoformat(said["at"]), seal=seal,
    )


def _text(said: dict[str, Any]) -> str:
    return rfc8785.dumps(said).decode()
