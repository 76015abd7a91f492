"""Alive, and ready: the two questions that need no key, and tell a stranger nothing else."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from escrow_monitor.errors import DatabaseError
from escrow_monitor.logs import log
from escrow_monitor.web.fresh import Fresh
from escrow_monitor.web.ports import Check, WebPorts

READY_AGE_SECONDS_MAX = 1.0
"""A stranger who asks a thousand times a second costs one question a second."""


def routes(ports: WebPorts) -> list[Route]:
    """`/healthz` and `/readyz`."""
    ready = Fresh(_checks(ports), age_seconds_max=min(READY_AGE_SECONDS_MAX, ports.answer_age_seconds_max * 4))

    async def healthz(request: Request) -> Response:
        return _json({"status": "ok"}, 200)

    async def readyz(request: Request) -> Response:
        checks = await ready.get()
        is_ready = all(check.ok for check in checks)
        shown = {check.name: "ok" if check.ok else "failing" for check in checks}
        return _json({"status": "ready" if is_ready else "not ready", "checks": shown}, 200 if is_ready else 503)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def _checks(ports: WebPorts) -> Callable[[], list[Check]]:
    def ask() -> list[Check]:
        checks = [_database(ports), *ports.checks()]
        for check in checks:
            if not check.ok:
                log(__name__).warning("web.not_ready", check=check.name, detail=check.detail)
        return checks

    return ask


def _database(ports: WebPorts) -> Check:
    """Reachable, and its migrations are this version's."""
    try:
        ports.database.check()
    except DatabaseError as error:
        return Check(name="database", ok=False, detail=str(error))
    return Check(name="database", ok=True)


def _json(body: dict[str, object], status: int) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, "application/json")
