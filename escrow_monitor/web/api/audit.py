"""`/api/v1/audit`: the entries of the tamper-evident record, the newest first; verified, its seals, and exported."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, Strict
from starlette.responses import Response

from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.records.evidence import seals
from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.audit import AuditRecord
from escrow_monitor.records.evidence.chain import AuditVerdict
from escrow_monitor.web.api.again import Again, made_once
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import Body, Instant
from escrow_monitor.web.api.views import LIMIT_DEFAULT, TEXT_CHARACTERS_MAX, ListView
from escrow_monitor.web.api.works import AskedWorks, LongNoun, WorkId, WorkView, work_fields
from escrow_monitor.web.audit_file import MEDIA_TYPE, exported, note_export, sent_file
from escrow_monitor.web.guard import SCOPE_AUDIT, Guard
from escrow_monitor.web.long_work import VERIFICATION, verification
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker
from escrow_monitor.web.works import Work, Works

PATH = "/api/v1/audit"
LIMIT_MAX = 500
WITNESSES_MAX = 1_000
SEQ_MAX = 2**62
_Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)]


class JsonLines(Response):
    """A document a line."""

    media_type = MEDIA_TYPE


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


class Witness(BaseModel):
    """A head that somebody kept, as each feed entry carries one."""

    model_config = ConfigDict(extra="forbid")

    seq: Annotated[int, Strict()] = Field(ge=1, le=SEQ_MAX)
    head: str = Field(pattern=r"^[0-9a-f]{64}$")


class AskedVerification(Body):
    """What the chain must agree with: heads that others kept, and the id of the key that must have sealed it."""

    witnesses: list[Witness] = Field(default=[], max_length=WITNESSES_MAX)
    key_id: str | None = Field(default=None, min_length=1, max_length=TEXT_CHARACTERS_MAX)


class HeadView(BaseModel):
    """The hash of the chain up to and with an entry."""

    seq: int
    head: str


class VerdictView(BaseModel):
    """What a walk found: the first fault by name, or that the chain is whole. `sealed_to` is the last entry sealed."""

    entries: int
    whole: bool
    fault: str | None
    at_seq: int | None
    detail: str
    head: HeadView
    seals: int
    sealed_to: int
    key_id: str


class VerificationView(WorkView):
    """A walk over the whole record. A chain that is not whole is a result, no failure of the walk."""

    result: VerdictView | None


class SealView(BaseModel):
    """A day of the record signed: up to which entry, what its head was, and by which key."""

    number: int
    day: date
    seq: int
    head: str
    algorithm: str
    key_id: str
    signature: str


class AskedSeals(BaseModel):
    """How many."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=LIMIT_DEFAULT, ge=1, le=LIMIT_MAX)


def router(ports: WebPorts, guard: Guard, works: Works) -> APIRouter:
    """The routes of this noun, for who may audit and sees everything."""
    async def may_audit(request: Request) -> None:
        who = await guard.require(request, SCOPE_AUDIT)
        who.check_sees_everything(what="the audit record")

    routes = APIRouter(tags=["audit"], prefix="/audit", dependencies=[Depends(may_audit)])
    _verifies(routes, ports, guard, works)
    _hands_out(routes, ports, guard)

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


def _verifies(routes: APIRouter, ports: WebPorts, guard: Guard, works: Works) -> None:
    noun = LongNoun(
        ports=ports, works=works, kind=VERIFICATION, path=lambda work: f"{PATH}/verifications/{work.work_id}",
        view=_verification_view, what="verification",
    )

    @routes.post(
        "/verifications", status_code=202, response_model=VerificationView,
        dependencies=decides(ports, guard, SCOPE_AUDIT),
    )
    def begin(asked: AskedVerification, request: Request, idempotency_key: Again = None) -> Response:
        """Begin to walk the whole record; follow it at `Location`."""
        return noun.begun(
            verification(ports, witnesses={one.seq: one.head for one in asked.witnesses}, key_id=asked.key_id),
            who=decider(request), idempotency_key=idempotency_key, told=f"verify\n{asked.model_dump_json()}", asked={},
        )

    @routes.get("/verifications")
    def newest(asked: Annotated[AskedWorks, Query()], who: Asker) -> ListView[VerificationView]:
        """One's own walks, the newest first; an administrator's list has everybody's."""
        return noun.page(asked, who)

    @routes.get("/verifications/{work_id}")
    def follow(work_id: WorkId, who: Asker) -> VerificationView:
        """How far a walk is, and whether the record is whole."""
        return _verification_view(noun.shown(work_id, who))


def _hands_out(routes: APIRouter, ports: WebPorts, guard: Guard) -> None:
    @routes.get("/seals")
    def seals_(asked: Annotated[AskedSeals, Query()]) -> ListView[SealView]:
        """The seals put last, the newest first."""
        with ports.database.read() as session:
            found, _ = seals.newest_seals(session, limit=asked.limit)
        return ListView[SealView](after=None, items=[
            SealView(
                number=one.number, day=one.day, seq=one.seq, head=one.head, algorithm=one.algorithm,
                key_id=one.key_id, signature=one.seal.signature,
            )
            for one in found
        ])

    @routes.post(
        "/exports", response_class=JsonLines, dependencies=decides(ports, guard, SCOPE_AUDIT),
        responses={200: {"description": "the record as JSON Lines, for deploy/verify_audit.py"}},
    )
    def export(request: Request, idempotency_key: Again = None) -> Response:
        """The whole record with its seals, for an outsider to verify; that it was taken is an entry of it.

        Asked again with one key it is noted once; what goes out is the record as it stands then.
        """
        actor = decider(request).actor

        def note() -> KeptAnswer:
            note_export(session, ports, actor=actor)
            return KeptAnswer(status=200, body="")

        with ports.database.write() as session:
            made_once(
                session, actor=actor, idempotency_key=idempotency_key, asked="export", now=ports.clock.now(), do=note
            )
        return sent_file(exported(ports), ports)


def _verification_view(work: Work[AuditVerdict]) -> VerificationView:
    found = work.result
    return VerificationView(**work_fields(work), result=None if found is None else VerdictView(
        entries=found.entries, whole=found.whole, fault=None if found.fault is None else found.fault.value,
        at_seq=found.at_seq, detail=found.detail, head=HeadView(seq=found.head.seq, head=found.head.head),
        seals=found.seals, sealed_to=found.sealed_to, key_id=found.key_id,
    ))


def entry_view(one: AuditRecord) -> EntryView:
    """The JSON shape of an entry."""
    return EntryView(
        seq=one.seq, recorded_at=one.at, kind=one.kind, actor=one.actor, algorithm=one.algorithm,
        head=one.head, payload=dict(one.payload), canonical=one.canonical,
    )
