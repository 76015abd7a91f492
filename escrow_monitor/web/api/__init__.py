"""The API under /api/v1: the nouns of the command line as JSON."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, Response

from escrow_monitor.web.api import (
    accounts,
    alert_decisions,
    alerts,
    banks,
    cases,
    imports,
    institutions,
    reconciliations,
    refunds,
    rounds,
)
from escrow_monitor.web.guard import SCOPE_READ, Guard
from escrow_monitor.web.ports import WebPorts

VERSION = "1"
PREFIX = "/api/v1"

_PROBLEM = {"application/problem+json": {"schema": {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
    },
}}}


def router(guard: Guard, ports: WebPorts) -> APIRouter:
    """All routes of the API, each behind a key with the scope `read`; those that decide need `decide` as well."""

    async def may_read(request: Request) -> None:
        await guard.require(request, SCOPE_READ)

    found = APIRouter(prefix=PREFIX, dependencies=[Depends(may_read)], responses={
        401: {"description": "no valid API key", "content": _PROBLEM},
        403: {"description": "the key lacks the scope", "content": _PROBLEM},
        422: {"description": "a parameter is wrong", "content": _PROBLEM},
        503: {"description": "the records cannot be read", "content": _PROBLEM},
    })
    for room in (accounts, institutions, alerts, banks, rounds, refunds):
        found.include_router(room.router(ports))
    found.include_router(alert_decisions.router(ports, guard))
    found.include_router(cases.router(ports, guard))
    found.include_router(imports.router(ports, guard))
    found.include_router(reconciliations.router(ports, guard))

    @found.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return JSONResponse(_schema(request.app), headers={"Cache-Control": "private, max-age=300"})

    return found


def _schema(app: FastAPI) -> dict[str, object]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=VERSION, routes=app.routes,
            description="Writes take an Idempotency-Key. Money is decimal text, beside it integer fen in a field that "
            "ends in `_fen`.",
        )
        schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
        app.openapi_schema = schema
    return app.openapi_schema
