"""Looking things up in the audit chain: the newest entries that fit, one entry, and which kinds there are."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlmodel import Session

from escrow_monitor.records.bulk import Reader, from_json, run
from escrow_monitor.records.evidence.audit import AuditRecord

SCANNED_MAX = 50_000
"""So many entries are looked at for one answer: who wants older ones asks on from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAudit:
    """What entries must fit, all of it. `actor` begins so; `subject` stands in the payload as a whole value.

    `text` stands anywhere in the entry, in capitals or not. `since` is included, `until` is not.
    """

    kind: str | None = None
    actor: str | None = None
    subject: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_open(self) -> bool:
        """True if nothing is asked for."""
        return self == AskedAudit()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAudit:
    """Entries that fit, the newest first. `go_on` is the number below which the search goes on, None at its end.

    `looked_to` is the oldest number that was looked at where that is not the beginning of the chain.
    """

    records: Sequence[AuditRecord]
    go_on: int | None = None
    looked_to: int | None = None


def search(session: Session, asked: AskedAudit, *, before: int | None = None, limit: int) -> FoundAudit:
    """At most `limit` entries with numbers below `before`."""
    top = before if before is not None else int(run(session, "SELECT audit_seq FROM chain_head").scalar_one()) + 1
    # By kind there is an index; whatever else is asked for is looked for entry by entry.
    is_by_kind = asked == AskedAudit(kind=asked.kind)
    floor = 0 if is_by_kind else max(0, top - 1 - SCANNED_MAX)
    where, given = _conditions(asked)
    rows = run(
        session,
        f"SELECT {_CELLS} FROM audit_entries WHERE {' AND '.join(['seq < :top', 'seq > :floor', *where])}"
        " ORDER BY seq DESC LIMIT :limit", top=top, floor=floor, limit=limit + 1, **given,
    ).all()
    found = _records(session, rows[:limit])
    if len(rows) > limit:
        return FoundAudit(records=found, go_on=found[-1].seq)
    return FoundAudit(records=found, go_on=floor + 1 if floor else None, looked_to=floor + 1 if floor else None)


def entry(session: Session, seq: int) -> AuditRecord | None:
    """One entry."""
    found = _records(session, run(session, f"SELECT {_CELLS} FROM audit_entries WHERE seq = :seq", seq=seq).all())
    return found[0] if found else None


def kinds(session: Session) -> list[str]:
    """The kinds of entries there are, stepping from one to the next through their index."""
    return [kind for (kind,) in run(session, _KINDS)]


def _conditions(asked: AskedAudit) -> tuple[list[str], dict[str, Any]]:
    where: list[str] = []
    given: dict[str, Any] = {}
    if asked.kind is not None:
        where.append("kind = :kind")
        given["kind"] = asked.kind
    if asked.actor is not None:
        where.append("actor LIKE :actor ESCAPE '!'")
        given["actor"] = f"{_literal(asked.actor)}%"
    if asked.subject is not None:
        where.append("canonical LIKE :subject ESCAPE '!'")
        given["subject"] = f"%{_literal(orjson.dumps(asked.subject).decode())}%"
    if asked.text is not None:
        where.append("lower(canonical) LIKE :words ESCAPE '!'")
        given["words"] = f"%{_literal(orjson.dumps(asked.text.lower()).decode()[1:-1])}%"
    for name, sign in (("since", ">="), ("until", "<")):
        if (instant := getattr(asked, name)) is not None:
            where.append(f"recorded_at {sign} :{name}")
            given[name] = instant
    return where, given


def _literal(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _records(session: Session, rows: Sequence[Sequence[Any]]) -> list[AuditRecord]:
    at = Reader(session).at
    return [
        AuditRecord(
            seq=row[0], at=at(row[1]), kind=row[2], actor=row[3], algorithm=row[4], canonical=row[5], head=row[6],
            payload=from_json(row[5])["payload"],
        )
        for row in rows
    ]


_CELLS = "seq, recorded_at, kind, actor, algorithm, canonical, head"
_KINDS = """
    WITH RECURSIVE names(kind) AS (
        SELECT min(kind) FROM audit_entries
        UNION ALL
        SELECT (SELECT min(a.kind) FROM audit_entries a WHERE a.kind > names.kind) FROM names
        WHERE names.kind IS NOT NULL
    )
    SELECT kind FROM names WHERE kind IS NOT NULL
"""
