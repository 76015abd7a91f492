"""`/api/v1/contracts`: what was agreed with families, and what it comes to."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from escrow_monitor.domain.contracts import Contract
from escrow_monitor.records.contracts.contracts import contract as one_contract
from escrow_monitor.records.contracts.contracts import contracts as known_contracts
from escrow_monitor.records.contracts.sums import ContractSums, contract_sums
from escrow_monitor.records.database import Session
from escrow_monitor.records.sorted_lists import CONTRACTS, begins
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker


class AskedContracts(Asked):
    """Filters that all must fit. `fee` sorts by minor units."""

    sort: Literal[
        "contract_no", "-contract_no", "signed_on", "-signed_on", "starts_on", "-starts_on", "uscc", "-uscc", "fee",
        "-fee",
    ] = Field(default="contract_no", description=BY)
    uscc: str | None = Field(default=None, max_length=18)
    status: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    district: District


class LessonsView(BaseModel):
    """Lessons by what became of them; only confirmed ones are earned."""

    confirmed: int
    disputed: int
    pending: int
    unknown: int


class SumsView(BaseModel):
    """What a contract comes to at the end of `on`. `obligation` null: its records cannot be right."""

    on: date
    paid: str
    paid_fen: int
    entitled: str
    entitled_fen: int
    disputed: str
    disputed_fen: int
    refunded: str
    refunded_fen: int
    obligation: str | None
    obligation_fen: int | None
    lessons: LessonsView


class ContractView(BaseModel):
    """One contract; `student_ref` is a pseudonym. `sums` is null where nothing was added up yet."""

    contract_no: str
    uscc: str
    student_ref: str
    course: str
    subject_kind: str | None
    signed_on: date
    starts_on: date | None
    ends_on: date | None
    lessons_paid: int
    lessons_gift: int
    currency: str
    fee: str
    fee_fen: int
    template_id: str | None
    status: str | None
    sums: SumsView | None


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun. To be registered after those below a contract: a number may hold a slash."""
    routes = APIRouter(tags=["contracts"])

    @routes.get("/contracts")
    def contracts(asked: Annotated[AskedContracts, Query()], who: Asker) -> ListView[ContractView]:
        """Contracts with what they come to, with filters, in the order that was asked for."""
        with ports.database.read() as session:
            return sorted_page(
                session, CONTRACTS, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={"uscc": asked.uscc, "status": asked.status, "district": begins(asked.district)},
                read=lambda keys: _read(session, list(keys)), view=lambda found: contract_view(*found),
            )

    @routes.get("/contracts/{contract_no:path}")
    def contract(contract_no: str, who: Asker) -> ContractView:
        """One contract and what it comes to."""
        missing = Problem(404, f"contract {contract_no[:40]!r} is not known: see contracts list")
        with ports.database.read() as session:
            found = one_contract(session, contract_no)
            if found is None:
                raise missing
            who.check_sees(session, found.uscc, missing, what="contract")
            sums = contract_sums(session, contract_nos=[contract_no]).get(contract_no)
        return contract_view(found, sums)

    return routes


def _read(session: Session, keys: list[str]) -> dict[str, tuple[Contract, ContractSums | None]]:
    sums = contract_sums(session, contract_nos=keys)
    return {
        one.contract_no: (one, sums.get(one.contract_no)) for one in known_contracts(session, contract_nos=keys)
    }


def contract_view(one: Contract, sums: ContractSums | None) -> ContractView:
    """The JSON shape of a contract."""
    return ContractView(
        contract_no=one.contract_no, uscc=one.uscc, student_ref=one.student_ref, course=one.course,
        subject_kind=one.subject_kind and one.subject_kind.value, signed_on=one.signed_on, starts_on=one.starts_on,
        ends_on=one.ends_on, lessons_paid=one.lessons_paid, lessons_gift=one.lessons_gift, currency=one.fee.currency,
        fee=one.fee.text, fee_fen=one.fee.minor_units, template_id=one.template_id, status=one.status,
        sums=None if sums is None else _sums_view(sums),
    )


def _sums_view(sums: ContractSums) -> SumsView:
    owed, taught = sums.obligation, sums.taught
    return SumsView(
        on=sums.on, paid=sums.paid.text, paid_fen=sums.paid.minor_units, entitled=sums.entitled.text,
        entitled_fen=sums.entitled.minor_units, disputed=sums.disputed.text, disputed_fen=sums.disputed.minor_units,
        refunded=sums.refunded.text, refunded_fen=sums.refunded.minor_units,
        obligation=None if owed is None else owed.text, obligation_fen=None if owed is None else owed.minor_units,
        lessons=LessonsView(
            confirmed=taught.confirmed, disputed=taught.disputed, pending=taught.pending, unknown=taught.unknown
        ),
    )
