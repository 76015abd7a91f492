"""Every error over HTTP is one `application/problem+json` (RFC 9457): what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from escrow_monitor.errors import DatabaseError
from escrow_monitor.logs import log, masked
from escrow_monitor.web.headers import HEADERS

PROBLEM_JSON = "application/problem+json"
RETRY_SECONDS = 5


class Problem(Exception):
    """This request cannot be answered as it is."""

    def __init__(
        self, status: int, detail: str, *, title: str | None = None,
        errors: Sequence[Mapping[str, str]] = (), headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.title = title or HTTPStatus(status).phrase
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Write it as problem+json. `errors` lists `{where, detail}` of each wrong parameter."""
        body: dict[str, object] = {
            "type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [dict(error) for error in self.errors]
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(orjson.dumps(body), self.status, headers, PROBLEM_JSON)


def records_unreachable() -> Problem:
    """The answer while the database does not answer: not an empty list, and never "all is well"."""
    return Problem(
        503, "the records cannot be read at the moment: nothing can be said about the accounts; try again shortly",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def install(app: FastAPI) -> None:
    """Make every error of this application, ours or a library's, a problem."""
    app.add_exception_handler(Problem, _ours)
    app.add_exception_handler(DatabaseError, _database)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unforeseen)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - the framework calls us for this class only
    return error.response()


async def _database(request: Request, error: Exception) -> Response:
    log(__name__).error("web.records_unreachable", path=request.url.path, detail=str(error))
    return records_unreachable().response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the framework calls us for this class only
    detail = {
        400: "the body cannot be read: it is not UTF-8 text",
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not for {request.url.path}",
    }.get(error.status_code, str(error.detail))
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return Problem(error.status_code, detail, headers=headers).response()


def _allowed(request: Request) -> str:
    """The methods of an address, over all routes that have it."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        pattern, _, _ = compile_path(route.path or "")
        if pattern.match(request.scope["path"]):
            methods |= set(route.methods or ())
    return ", ".join(sorted(methods))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the framework calls us for this class only
    if any(found["type"] == "json_invalid" for found in error.errors()):
        return Problem(400, "the body is not JSON").response()
    errors = [
        {"where": ".".join(str(part) for part in found["loc"]), "detail": str(found["msg"])}
        for found in error.errors()
    ]
    told = "; ".join(f"{item['where']}: {item['detail']}" for item in errors)
    return Problem(422, f"the request is not understood: {told}", errors=errors).response()


async def _unforeseen(request: Request, error: Exception) -> Response:
    # The server writes the traceback to the log (masked there); the answer never carries it.
    log(__name__).error("web.failed", path=request.url.path, error=type(error).__name__, detail=masked(str(error)))
    answer = Problem(500, "the server failed on this request; its log says why").response()
    answer.raw_headers.extend(HEADERS)  # this answer is made outside the layer that adds them
    return answer
