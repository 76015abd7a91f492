"""`/api/v1/institutions`: the providers whose prepaid fees are held."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from escrow_monitor.domain.institutions import Institution
from escrow_monitor.records import accounts as register
from escrow_monitor.records.positions import checked_accounts
from escrow_monitor.web.api.accounts import AccountView, account_view
from escrow_monitor.web.api.views import Asked, ListView, page_of
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem


class AskedInstitutions(Asked):
    """Filters that all must fit."""

    district: str | None = Field(default=None, max_length=6)


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
    """One institution with its accounts."""

    accounts: list[AccountView]


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["institutions"])

    @routes.get("/institutions")
    def institutions(asked: Annotated[AskedInstitutions, Query()]) -> ListView[InstitutionView]:
        """Institutions by code."""
        with ports.database.read() as session:
            everyone = register.institutions(session)
        found = [
            institution_view(item) for item in everyone
            if item.uscc > asked.after and asked.district in (None, item.district)
        ][: asked.limit + 1]
        return page_of(found, [view.uscc for view in found], asked.limit)

    @routes.get("/institutions/{uscc}")
    def institution(uscc: str) -> InstitutionDetailView:
        """One institution and its accounts."""
        with ports.database.read() as session:
            found = register.institution(session, uscc)
            held = checked_accounts(session, uscc=uscc, limit=None) if found else []
        if found is None:
            raise Problem(404, f"no institution {uscc[:40]!r} is registered")
        return InstitutionDetailView(
            **institution_view(found).model_dump(), accounts=[account_view(item) for item in held]
        )

    return routes


def institution_view(item: Institution) -> InstitutionView:
    """The JSON shape of an institution."""
    return InstitutionView(
        uscc=item.uscc, name=item.name, kind=item.kind.value if item.kind else None, district=item.district,
        grid=item.grid, licence_no=item.licence_no, licence_expires_on=item.licence_expires_on,
        status=item.status.value, policy=item.policy,
    )
