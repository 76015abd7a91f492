"""Errors as pages: whoever reads the console in a browser is told in words of their language what to do."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from escrow_monitor.errors import DatabaseError
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.words.problems import PROBLEM_WORDS
from escrow_monitor.web.guard import Guard, credential_of
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem, ProblemPage

FOR_PROGRAMS = ("/api/", "/feeds/", "/static/")
"""Below these every error is problem+json, whoever asks."""
ENDPOINTS = frozenset({"/metrics", "/healthz", "/readyz"})
LOOKED_UP = frozenset({404, 405})
"""Errors before anybody was asked for: who is signed in is looked up, so that the head of the page leads on."""


def problem_page(guard: Guard, ports: WebPorts) -> ProblemPage:
    """What `problems.install` asks first: the page for this error, or None where a program asks."""

    async def shown(request: Request, problem: Problem) -> Response | None:
        if not wants_page(request):
            return None
        if problem.status in LOOKED_UP:
            await _look_up(request, guard, ports)
        kind = problem.status
        if f"problem.{kind}" not in PROBLEM_WORDS:
            kind = 500 if kind >= 500 else 400
        answer = pages.page(
            "problem.html", pages.lang_of(request), status=problem.status, request=request, kind=kind,
            wait=problem.headers.get("Retry-After", ""), detail=problem.detail, records=problem.records,
            again=request.method in ("GET", "HEAD") and problem.status not in LOOKED_UP,
        )
        answer.headers.update(problem.headers)
        return answer

    return shown


def wants_page(request: Request) -> bool:
    """True where somebody looks at pages with a browser; a program, or a script of a page, does not ask for HTML."""
    path = request.url.path
    if path.startswith(FOR_PROGRAMS) or path in ENDPOINTS:
        return False
    return "text/html" in request.headers.get("accept", "") and "authorization" not in request.headers


async def _look_up(request: Request, guard: Guard, ports: WebPorts) -> None:
    if getattr(request.state, "who", None) is not None:
        return
    credential = credential_of(request, ports.home_url)
    if credential is None:
        return
    try:
        request.state.who = await guard.who(credential)
    except DatabaseError:
        request.state.who = None
