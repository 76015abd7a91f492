"""The API under /api/v1: the nouns of the command line as JSON."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from escrow_monitor.web.api import (
    accounts,
    alert_decisions,
    alerts,
    audit,
    backtests,
    banks,
    case_answers,
    cases,
    channels,
    contracts,
    deliveries,
    imports,
    institutions,
    keys,
    matches,
    outlooks,
    packs,
    policies,
    reconciliations,
    refunds,
    returns,
    rounds,
    silences,
    statements,
    users,
)
from escrow_monitor.web.api.document import PREFIX, VERSION, document_of, operation_id, parameters_of
from escrow_monitor.web.guard import SCOPE_OPERATIONS, SCOPE_READ, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.works import Works

__all__ = ["VERSION", "router"]


def router(guard: Guard, ports: WebPorts, works: Works) -> APIRouter:
    """All routes of the API, each behind a key with the scope `read`; those that decide need `decide` as well."""

    async def may_read(request: Request) -> None:
        await guard.require(request, SCOPE_READ)

    async def may_operate(request: Request) -> None:
        await guard.require(request, SCOPE_OPERATIONS)

    async def may_operate_all(request: Request) -> None:
        """What holds for every institution is not for who is limited to some."""
        who = await guard.require(request, SCOPE_OPERATIONS)
        who.check_sees_everything(what="this")

    found = APIRouter(
        prefix=PREFIX, dependencies=[Depends(may_read), Depends(only_known_parameters)],
        generate_unique_id_function=operation_id,
        responses={422: {"description": "a parameter or field is wrong"}},
    )
    for room in (accounts, institutions, outlooks, alerts, banks, refunds, contracts, returns):
        found.include_router(room.router(ports))
    found.include_router(policies.router(ports, guard))
    found.include_router(rounds.router(ports), dependencies=[Depends(may_operate)])
    found.include_router(alert_decisions.router(ports, guard))
    found.include_router(silences.router(ports, guard), dependencies=[Depends(may_operate_all)])
    found.include_router(deliveries.router(ports, guard), dependencies=[Depends(may_operate_all)])
    found.include_router(channels.router(ports), dependencies=[Depends(may_operate_all)])
    found.include_router(case_answers.router(ports, guard))
    found.include_router(cases.router(ports, guard))
    found.include_router(imports.router(ports, guard, works))
    found.include_router(statements.router(ports, guard))
    found.include_router(matches.router(ports, guard))
    found.include_router(reconciliations.router(ports, guard))
    found.include_router(backtests.router(ports, guard, works))
    found.include_router(audit.router(ports, guard, works))
    found.include_router(packs.router(ports, guard))
    found.include_router(users.router(ports, guard))
    found.include_router(keys.router(ports, guard))

    @found.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return JSONResponse(document_of(request.app), headers={"Cache-Control": "private, max-age=300"})

    return found


async def only_known_parameters(request: Request) -> None:
    """Raise Problem 422 for a parameter of the address that this operation does not have.

    A misspelt `dry_run` must not make what was only to be tried.
    """
    if not request.query_params:
        return
    known = parameters_of(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            told = ", ".join(sorted(known)) or "none"
            raise Problem(422, f"query.{name[:40]}: there is no such parameter; known here: {told}")
