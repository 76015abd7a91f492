"""`/api/v1/audit`: the entries of the tamper-evident record, the newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.audit import AuditRecord
from escrow_monitor.web.api.taken import Instant
from escrow_monitor.web.api.views import LIMIT_DEFAULT, TEXT_CHARACTERS_MAX
from escrow_monitor.web.guard import SCOPE_AUDIT, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem

LIMIT_MAX = 500
SEQ_MAX = 2**62
_Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)]


class AskedEntries(BaseModel):
    """Filters that all must fit. `actor` begins so; `subject` is a whole value in the payload, `text` is anywhere."""

    model_config = ConfigDict(extra="forbid")

    before: int | None = Field(default=None, ge=1, le=SEQ_MAX, description="go on below this number: `go_on`")
    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)
    kind: _Text | None = None
    actor: _Text | None = None
    subject: _Text | None = None
    text: _Text | None = None
    since: Instant | None = None
    until: Instant | None = None


class EntryView(BaseModel):
    """One entry. `head` is the hash of the chain up to and with it; `canonical` the text that was hashed."""

    seq: int
    recorded_at: datetime
    kind: str
    actor: str
    algorithm: str
    head: str
    payload: dict[str, Any]
    canonical: str


class EntriesView(BaseModel):
    """Entries that fit. `go_on` is the `before` of the next question, null at the beginning of the chain.

    A question looks at no more than 50,000 entries: there may be no items, and yet older ones to go on to.
    """

    items: list[EntryView]
    go_on: int | None


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun, for who may audit and sees everything."""
    async def may_audit(request: Request) -> None:
        who = await guard.require(request, SCOPE_AUDIT)
        who.check_sees_everything(what="the audit record")

    routes = APIRouter(tags=["audit"], prefix="/audit", dependencies=[Depends(may_audit)])

    @routes.get("")
    def entries(asked: Annotated[AskedEntries, Query()]) -> EntriesView:
        """Entries of the audit record, the newest first, with filters."""
        wanted = audit_search.AskedAudit(
            kind=asked.kind, actor=asked.actor, subject=asked.subject, text=asked.text, since=asked.since,
            until=asked.until,
        )
        with ports.database.read() as session:
            found = audit_search.search(session, wanted, before=asked.before, limit=asked.limit)
        return EntriesView(items=[entry_view(one) for one in found.records], go_on=found.go_on)

    @routes.get("/{seq}")
    def entry(seq: int) -> EntryView:
        """One entry of the audit record by its number."""
        with ports.database.read() as session:
            found = audit_search.entry(session, seq) if 0 < seq < SEQ_MAX else None
        if found is None:
            raise Problem(404, f"the audit record has no entry {str(seq)[:40]}")
        return entry_view(found)

    return routes


def entry_view(one: AuditRecord) -> EntryView:
    """The JSON shape of an entry."""
    return EntryView(
        seq=one.seq, recorded_at=one.at, kind=one.kind, actor=one.actor, algorithm=one.algorithm,
        head=one.head, payload=dict(one.payload), canonical=one.canonical,
    )
