"""Signing in and out of the console: a person with a password, or an API key; both become a session."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.sign_in import From, NotWelcome, Refused, Welcome, sign_in, sign_in_with_key, sign_out
from escrow_monitor.logs import log
from escrow_monitor.records.people.sessions import LASTS
from escrow_monitor.web.console.pages import lang_of, page
from escrow_monitor.web.csrf import FIELD, FOREIGN, form_of, is_surely_ours, refuse_foreign, token_of
from escrow_monitor.web.guard import Credential, Guard, cookie_name, is_https, well_formed
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem

FORM_BYTES_MAX = 4_096
NEXT_CHARACTERS_MAX = 500


def routes(guard: Guard, ports: WebPorts) -> list[Route]:
    """`/sign-in` and `/sign-out`."""

    async def form(request: Request) -> Response:
        return form_page(request, lang_of(request), ports)

    async def enter(request: Request) -> Response:
        refuse_foreign(request, ports.home_url)
        fields = await form_of(request, bytes_max=FORM_BYTES_MAX)
        lang = lang_of(request)
        done = await _tried(request, fields, ports)
        if isinstance(done, NotWelcome):
            return form_page(request, lang, ports, refused=done)
        guard.forget()
        return welcomed(request, ports, done, then=next_of(request) or f"/?lang={lang}")

    async def leave(request: Request) -> Response:
        name = cookie_name(request, ports.home_url)
        token = request.cookies.get(name, "")
        fields = await form_of(request, bytes_max=FORM_BYTES_MAX)
        if not (is_surely_ours(request, ports.home_url) or fields.get(FIELD) == token_of(token)):
            log(__name__).warning("web.denied", who=None, what="POST /sign-out", why="forged")
            raise Problem(403, FOREIGN)
        if well_formed(Credential(secret=token, is_session=True)):
            await run_in_threadpool(sign_out, ports.database, token=token, now=ports.people_now())
            guard.forget()
        answer = RedirectResponse(f"/sign-in?lang={lang_of(request)}", 303, {"Cache-Control": "no-store"})
        answer.delete_cookie(
            name, path="/", httponly=True, samesite="lax", secure=is_https(request, ports.home_url)
        )
        return answer

    return [
        Route("/sign-in", form, methods=["GET"]), Route("/sign-in", enter, methods=["POST"]),
        Route("/sign-out", leave, methods=["POST"]),
    ]


def to_sign_in(request: Request, lang: Lang) -> Response:
    """Lead somebody who is not signed in to the form, and afterwards back to the page they wanted."""
    asked: dict[str, str] = {"lang": lang}
    if request.method == "GET" and request.url.path != "/":
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if len(wanted) <= NEXT_CHARACTERS_MAX:
            asked["next"] = wanted
    return RedirectResponse(f"/sign-in?{urlencode(asked)}", 303, {"Cache-Control": "no-store"})


def welcomed(request: Request, ports: WebPorts, done: Welcome, *, then: str) -> Response:
    """Go on to a page of ours, with the cookie of the session that was opened."""
    answer = RedirectResponse(then, 303, {"Cache-Control": "no-store"})
    answer.set_cookie(
        cookie_name(request, ports.home_url), done.token, max_age=int(LASTS.total_seconds()), path="/",
        httponly=True, samesite="lax", secure=is_https(request, ports.home_url),
    )
    return answer


def by_of(request: Request, ports: WebPorts) -> From:
    """Where a try to sign in comes from."""
    return From(
        address=request.client.host if request.client is not None else "unknown",
        agent=request.headers.get("user-agent", ""), token=request.cookies.get(cookie_name(request, ports.home_url)),
    )


async def _tried(request: Request, fields: dict[str, str], ports: WebPorts) -> Welcome | NotWelcome:
    by = by_of(request, ports)
    if "key" in fields:
        secret = fields["key"].strip()
        return await run_in_threadpool(partial(
            sign_in_with_key, ports.database, secret=secret, by=by, now=ports.people_now(), keys_at=ports.clock.now()
        ))
    return await run_in_threadpool(partial(
        sign_in, ports.database, name=fields.get("name", ""), password=fields.get("password", ""), by=by,
        now=ports.people_now(),
    ))


def form_page(
    request: Request, lang: Lang, ports: WebPorts, *, refused: NotWelcome | None = None, told: str | None = None,
    status: int = 200,
) -> Response:
    """The form. `told` is the word for what went wrong elsewhere."""
    wait = refused.retry_after if refused is not None and refused.reason is Refused.LOCKED else None
    if refused is not None:
        status = 403 if wait is None else 429
    answer = page(
        "sign_in.html", lang, status=status, request=request, wrong=refused is not None and wait is None, told=told,
        wait=None if wait is None else max(1, -(-wait // timedelta(minutes=1))), next=next_of(request),
        elsewhere=None if ports.oidc is None else ports.oidc.client.labels.get(lang, ""),
    )
    if wait is not None:
        answer.headers["Retry-After"] = str(max(1, -(-wait // timedelta(seconds=1))))
    return answer


def next_of(request: Request) -> str:
    """The page to go on to: a path of ours and nothing that a browser could take for another site."""
    wanted = request.query_params.get("next", "")
    is_path = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isascii()
    return wanted if is_path and wanted.isprintable() and len(wanted) <= NEXT_CHARACTERS_MAX else ""
