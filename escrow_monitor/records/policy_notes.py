"""Which policies were in force, and since when: an entry of the audit chain whenever they change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session

from escrow_monitor.records.bulk import from_json, run
from escrow_monitor.records.evidence import audit

KIND = "policy.changed"


def note_policies(
    session: Session, *, version: str, packs: Mapping[str, str], actor: str = "system", now: datetime
) -> bool:
    """Note that these policies hold from here on, unless the chain says so already; True if that is new.

    `packs` are the versions of the packs by id. Call it in a transaction that writes: it takes the chain's lock.
    """
    audit.lock_chain(session)
    before = in_force(session)
    if before is not None and before["version"] == version:
        return False
    known: Mapping[str, str] = {} if before is None else before["packs"]
    audit.append(session, kind=KIND, actor=actor, now=now, payload={
        "version": version, "before": None if before is None else before["version"], "packs": dict(packs),
        "added": sorted(packs.keys() - known.keys()), "removed": sorted(known.keys() - packs.keys()),
        "changed": sorted(name for name in packs.keys() & known.keys() if packs[name] != known[name]),
    })
    return True


def in_force(session: Session) -> dict[str, Any] | None:
    """What the newest entry says of the policies; None before the first."""
    cell = run(
        session, "SELECT canonical FROM audit_entries WHERE kind = :kind ORDER BY seq DESC LIMIT 1", kind=KIND
    ).scalar()
    found: dict[str, Any] | None = None if cell is None else from_json(cell)["payload"]
    return found
