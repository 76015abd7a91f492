"""Every error over HTTP is one `application/problem+json` (RFC 9457), or a page: what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
    """This request cannot be answered as it is. `records` says that it is so because the records cannot be read."""

    def __init__(
        self, status: int, detail: str, *, title: str | None = None,
        errors: Sequence[Mapping[str, str]] = (), headers: Mapping[str, str] | None = None, records: bool = False,
    ) -> None:
        super().__init__(detail)
        self.records = records
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
        headers={"Retry-After": str(RETRY_SECONDS)}, records=True,
    )


ProblemPage = Callable[[Request, Problem], Awaitable[Response | None]]
"""Shows a problem as a page to whoever looks at pages, and is None for a program."""


def install(app: FastAPI, page: ProblemPage) -> None:
    """Make every error of this application, ours or a library's, a problem, and that a page where people read."""

    def answered(found: Callable[[Request, Exception], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def answer(request: Request, error: Exception) -> Response:
            problem = found(request, error)
            return await page(request, problem) or problem.response()

        return answer

    async def unforeseen(request: Request, error: Exception) -> Response:
        answer = await answered(_unforeseen)(request, error)
        answer.raw_headers.extend(HEADERS)  # this answer is made outside the layer that adds them
        return answer

    app.add_exception_handler(Problem, answered(_ours))
    app.add_exception_handler(DatabaseError, answered(_database))
    app.add_exception_handler(HTTPException, answered(_http))
    app.add_exception_handler(RequestValidationError, answered(_invalid))
    app.add_exception_handler(Exception, unforeseen)


def _ours(request: Request, error: Exception) -> Problem:
    assert isinstance(error, Problem)  # noqa: S101 - the framework calls us for this class only
    return error


def _database(request: Request, error: Exception) -> Problem:
    log(__name__).error("web.records_unreachable", path=request.url.path, detail=str(error))
    return records_unreachable()


def _http(request: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)  # noqa: S101 - the framework calls us for this class only
    detail = {
        400: "the body cannot be read: it is not UTF-8 text",
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not for {request.url.path}",
    }.get(error.status_code, str(error.detail))
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return Problem(error.status_code, detail, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of an address, over all routes that have it."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        pattern, _, _ = compile_path(route.path or "")
        if pattern.match(request.scope["path"]):
            methods |= set(route.methods or ())
    return ", ".join(sorted(methods))


def _invalid(request: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the framework calls us for this class only
    if any(found["type"] == "json_invalid" for found in error.errors()):
        return Problem(400, "the body is not JSON")
    errors = [
        {"where": ".".join(str(part) for part in found["loc"]), "detail": str(found["msg"])}
        for found in error.errors()
    ]
    told = "; ".join(f"{item['where']}: {item['detail']}" for item in errors)
    return Problem(422, f"the request is not understood: {told}", errors=errors)


def _unforeseen(request: Request, error: Exception) -> Problem:
    # The server writes the traceback to the log (masked there); the answer never carries it.
    log(__name__).error("web.failed", path=request.url.path, error=type(error).__name__, detail=masked(str(error)))
    return Problem(500, "the server failed on this request; its log says why")
