"""`/api/v1/institutions`: the providers whose prepaid fees are held."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from alerts.alert import Severity
from escrow_monitor.domain.findings import Standing
from escrow_monitor.domain.institutions import Institution, InstitutionKind, InstitutionStatus
from escrow_monitor.records import accounts as register
from escrow_monitor.records.closure.watches import closure_standing
from escrow_monitor.records.positions import checked_accounts
from escrow_monitor.records.sorted_lists import INSTITUTIONS, begins, part
from escrow_monitor.web.api.accounts import AccountView, account_view
from escrow_monitor.web.api.outlooks import OutlookView, outlook_view
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker


class AskedInstitutions(Asked):
    """Filters that all must fit. `standing` is that of the worst account, `level` that of the worst open alert."""

    sort: Literal[
        "uscc", "-uscc", "name", "-name", "district", "-district", "status", "-status", "licence_expires_on",
        "-licence_expires_on",
    ] = Field(default="uscc", description=BY)
    text: str | None = Field(
        default=None, min_length=1, max_length=TEXT_CHARACTERS_MAX, description="part of the name or of the code"
    )
    district: District
    kind: InstitutionKind | None = None
    status: InstitutionStatus | None = None
    policy: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    standing: Standing | None = None
    level: Severity | None = None


class InstitutionView(BaseModel):
    """One institution."""

    uscc: str
    name: str
    kind: str | None
    district: str | None
    grid: str | None
    licence_no: str | None
    licence_expires_on: date | None
    status: str
    policy: str | None


class InstitutionDetailView(InstitutionView):
    """One institution with its accounts, and what the closure watch says of it; null before it was judged."""

    accounts: list[AccountView]
    outlook: OutlookView | None


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["institutions"])

    @routes.get("/institutions")
    def institutions(asked: Annotated[AskedInstitutions, Query()], who: Asker) -> ListView[InstitutionView]:
        """Institutions, with filters, in the order that was asked for."""
        with ports.database.read() as session:
            return sorted_page(
                session, INSTITUTIONS, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={
                    "text": part(asked.text), "district": begins(asked.district), "kind": asked.kind,
                    "status": asked.status, "policy": asked.policy,
                    **({} if asked.standing is None else {f"standing_{asked.standing}": True}),
                    **({} if asked.level is None else {f"level_{asked.level}": True}),
                },
                read=lambda keys: {one.uscc: one for one in register.institutions(session, usccs=keys)},
                view=institution_view,
            )

    @routes.get("/institutions/{uscc}")
    def institution(uscc: str, who: Asker) -> InstitutionDetailView:
        """One institution, its accounts and its outlook."""
        missing = Problem(404, f"no institution {uscc[:40]!r} is registered")
        with ports.database.read() as session:
            found = register.institution(session, uscc)
            if found is None:
                raise missing
            who.check_sees(session, uscc, missing, what="institution")
            held = checked_accounts(session, uscc=uscc, limit=None)
            standing = closure_standing(session, uscc)
        return InstitutionDetailView(
            **institution_view(found).model_dump(), accounts=[account_view(item) for item in held],
            outlook=None if standing is None else outlook_view(standing),
        )

    return routes


def institution_view(item: Institution) -> InstitutionView:
    """The JSON shape of an institution."""
    return InstitutionView(
        uscc=item.uscc, name=item.name, kind=item.kind.value if item.kind else None, district=item.district,
        grid=item.grid, licence_no=item.licence_no, licence_expires_on=item.licence_expires_on,
        status=item.status.value, policy=item.policy,
    )
