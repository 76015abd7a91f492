"""`/api/v1/policies`: the rules as data, where each is from, and what they ask of an institution on a day."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from escrow_monitor.actions.change_policy import read_pack, with_pack
from escrow_monitor.actions.effective_floors import EffectiveFloor, effective_floors
from escrow_monitor.domain.policy import Clause, Pack
from escrow_monitor.errors import PolicyError
from escrow_monitor.policies import PACK_BYTES_MAX
from escrow_monitor.records.accounts import institution
from escrow_monitor.web.api.again import Again
from escrow_monitor.web.api.deciding import decides
from escrow_monitor.web.api.taken import Body, Day
from escrow_monitor.web.api.views import ListView
from escrow_monitor.web.guard import SCOPE_READ, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker


class SourceView(BaseModel):
    """Where a clause stands written. `found` says where its text was seen."""

    title: str
    document_no: str | None
    article: str | None
    url: str | None
    found: str
    remark: str | None


class ClauseView(BaseModel):
    """One clause: in force from `effective_from` on, up to and with `effective_to`. `verified`: against its source."""

    id: str
    kind: str
    title: str
    title_en: str
    jurisdiction: str
    effective_from: date
    effective_to: date | None
    verified: bool
    basis: str
    basis_en: str
    source: SourceView


class PackView(BaseModel):
    """One policy pack."""

    id: str
    title: str
    title_en: str
    jurisdiction: str
    clauses: int
    verified: int


class PackDetailView(BaseModel):
    """One policy pack with every clause."""

    id: str
    title: str
    title_en: str
    jurisdiction: str
    notes: list[str]
    clauses: list[ClauseView]


class PartView(BaseModel):
    """What one clause adds to a floor. `amount` null: it cannot be said; not `complete`: it is a lower bound."""

    clause: str
    amount: str | None
    amount_fen: int | None
    complete: bool
    why: str
    why_en: str


class FloorView(BaseModel):
    """The floor of one account, clause by clause; `governing` is the clause that decides."""

    account_no: str
    packs: list[str]
    floor: str | None
    floor_fen: int | None
    complete: bool
    governing: str | None
    parts: list[PartView]
    clauses: list[ClauseView]


class EffectiveView(BaseModel):
    """What holds for an institution on a day."""

    uscc: str
    name: str
    on: date
    accounts: list[FloorView]


class AskedDay(BaseModel):
    """On which day."""

    model_config = ConfigDict(extra="forbid")

    on: Day | None = Field(default=None, description="default today")


class AskedCheck(Body):
    """A policy pack as text (TOML)."""

    text: str = Field(min_length=1, max_length=PACK_BYTES_MAX)


class CheckedView(BaseModel):
    """A pack that is well formed, and its clauses that are not verified against their source."""

    id: str
    clauses: int
    not_verified: list[str]


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["policies"])

    @routes.post("/policies/check", response_model=CheckedView, dependencies=decides(ports, guard, SCOPE_READ))
    def check(asked: AskedCheck, idempotency_key: Again = None) -> CheckedView:
        """Read a pack as the program would, before it is put to use; nothing is kept. What is wrong stands in a 422."""
        try:
            pack = read_pack(asked.text.encode(), where="text")
            with_pack(ports.policies, pack)
        except PolicyError as error:
            raise Problem(422, str(error)) from error
        return CheckedView(
            id=pack.id, clauses=len(pack.clauses),
            not_verified=[clause.id for clause in pack.clauses if not clause.verified],
        )

    @routes.get("/policies")
    def packs() -> ListView[PackView]:
        """All policy packs that are loaded."""
        return ListView[PackView](after=None, items=[
            PackView(
                id=pack.id, title=pack.title.zh, title_en=pack.title.en, jurisdiction=pack.jurisdiction,
                clauses=len(pack.clauses), verified=sum(clause.verified for clause in pack.clauses),
            )
            for pack in ports.policies.packs.values()
        ])

    @routes.get("/policies/{policy_id}")
    def pack(policy_id: str) -> PackDetailView:
        """One policy pack with every clause, its dates and its source."""
        try:
            return pack_view(ports.policies.pack(policy_id))
        except PolicyError as error:
            raise Problem(404, f"there is no policy pack {policy_id[:60]!r}: see policies") from error

    @routes.get("/institutions/{uscc}/policy")
    def effective(uscc: str, asked: Annotated[AskedDay, Query()], who: Asker) -> EffectiveView:
        """What holds for an institution on a day: the clauses in force, and the floor they give each account."""
        missing = Problem(404, f"no institution {uscc[:40]!r} is registered")
        now = ports.clock.now()
        on = asked.on or now.astimezone(ports.zone).date()
        with ports.database.read() as session:
            found = institution(session, uscc)
            if found is None:
                raise missing
            who.check_sees(session, uscc, missing, what="institution")
            floors = effective_floors(session, found, policies=ports.policies, on=on, now=now)
        return EffectiveView(uscc=uscc, name=found.name, on=on, accounts=[_floor_view(one) for one in floors])

    return routes


def pack_view(pack: Pack) -> PackDetailView:
    """The JSON shape of a pack."""
    return PackDetailView(
        id=pack.id, title=pack.title.zh, title_en=pack.title.en, jurisdiction=pack.jurisdiction,
        notes=[str(note) for note in pack.notes], clauses=[clause_view(clause) for clause in pack.clauses],
    )


def clause_view(clause: Clause[Any]) -> ClauseView:
    """The JSON shape of a clause."""
    source = clause.source
    return ClauseView(
        id=clause.id, kind=clause.kind.value, title=clause.title.zh, title_en=clause.title.en,
        jurisdiction=clause.jurisdiction, effective_from=clause.effective_from, effective_to=clause.effective_to,
        verified=clause.verified, basis=clause.basis.zh, basis_en=clause.basis.en,
        source=SourceView(
            title=source.title, document_no=source.document_no, article=source.article, url=source.url,
            found=source.found.value, remark=source.remark,
        ),
    )


def _floor_view(one: EffectiveFloor) -> FloorView:
    required = one.required
    return FloorView(
        account_no=one.account_no, packs=list(one.policy.pack_ids),
        floor=None if required.amount is None else required.amount.text,
        floor_fen=None if required.amount is None else required.amount.minor_units, complete=required.complete,
        governing=None if required.governing is None else required.governing.id,
        parts=[
            PartView(
                clause=part.clause.id, amount=None if part.amount is None else part.amount.text,
                amount_fen=None if part.amount is None else part.amount.minor_units, complete=part.complete,
                why=part.why_zh, why_en=part.why_en,
            )
            for part in required.parts
        ],
        clauses=[clause_view(clause) for clause in one.policy.clauses],
    )
