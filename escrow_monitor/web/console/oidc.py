"""Signing in at the organisation's own provider: there and back, ending in the same session as a password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.sign_in import Welcome
from escrow_monitor.actions.sign_in_from_outside import sign_in_from_outside
from escrow_monitor.domain.identities import Outsider, OutsideRefusal
from escrow_monitor.logs import log
from escrow_monitor.web.console.pages import lang_of
from escrow_monitor.web.console.sign_in import by_of, form_page, next_of, welcomed
from escrow_monitor.web.guard import Guard, is_https
from escrow_monitor.web.oidc import NotVouchedFor, Provider, ProviderSilent
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem

COOKIE = "escrow_oidc"
COOKIE_HTTPS = "__Host-escrow_oidc"
LASTS = timedelta(minutes=10)
"""So long somebody may take at the provider."""
BACK = "/sign-in/oidc/callback"
CHARACTERS_MAX = 4_000


def routes(guard: Guard, ports: WebPorts) -> list[Route]:
    """`/sign-in/oidc`, which leads to the provider, and where it leads back to. 404 where none is configured."""

    async def leave(request: Request) -> Response:
        guard.count_stranger(request)
        provider = _provider(ports)
        lang, now = lang_of(request), ports.people_now()
        try:
            begun = await run_in_threadpool(partial(provider.begin, redirect_uri=_back(ports), now=now))
        except ProviderSilent as error:
            return _silent(request, lang, ports, error)
        kept = {
            "state": begun.state, "nonce": begun.nonce, "verifier": begun.verifier, "next": next_of(request),
            "lang": lang, "until": int((now + LASTS).timestamp()),
        }
        answer = RedirectResponse(begun.url, 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            _cookie(request, ports), _sealed(provider, kept), max_age=int(LASTS.total_seconds()), path="/",
            httponly=True, samesite="lax", secure=is_https(request, ports.home_url),
        )
        return answer

    async def come_back(request: Request) -> Response:
        guard.count_stranger(request)
        answer = await _come_back(request, guard, ports, _provider(ports))
        answer.delete_cookie(
            _cookie(request, ports), path="/", httponly=True, samesite="lax",
            secure=is_https(request, ports.home_url),
        )
        return answer

    return [Route("/sign-in/oidc", leave, methods=["GET"]), Route(BACK, come_back, methods=["GET"])]


async def _come_back(request: Request, guard: Guard, ports: WebPorts, provider: Provider) -> Response:
    """Whoever comes back with the state that this browser left with is signed in as whom the provider vouches for."""
    query, now = request.query_params, ports.people_now()
    kept = _opened(provider, request.cookies.get(_cookie(request, ports), ""), now)
    if kept is None or not hmac.compare_digest(query.get("state", "").encode(), kept["state"].encode()):
        return _refused(request, lang_of(request), ports, "oidc_begin_again", why="state", status=400)
    lang: Lang = "en" if kept["lang"] == "en" else "zh"
    if query.get("iss", provider.client.issuer) != provider.client.issuer:
        return _refused(request, lang, ports, "oidc_not_vouched", why="issuer", status=403)
    if not query.get("code") or "error" in query:
        why = query.get("error", "no_code")[:40]
        return _refused(request, lang, ports, "oidc_cancelled", why=why, status=403)
    try:
        outsider: Outsider = await run_in_threadpool(partial(
            provider.finish, code=query["code"][:CHARACTERS_MAX], verifier=kept["verifier"], nonce=kept["nonce"],
            redirect_uri=_back(ports), now=now,
        ))
    except ProviderSilent as error:
        return _silent(request, lang, ports, error)
    except NotVouchedFor as error:
        return _refused(request, lang, ports, "oidc_not_vouched", why=str(error), status=403)
    done = await run_in_threadpool(partial(
        sign_in_from_outside, ports.database, outsider, mapped=provider.client.mapped, by=by_of(request, ports), now=now
    ))
    if isinstance(done, OutsideRefusal):
        return form_page(request, lang, ports, told=f"oidc_refused.{done.value}", status=403)
    return _entered(request, guard, ports, done, then=kept["next"], lang=lang)


def _entered(
    request: Request, guard: Guard, ports: WebPorts, done: Welcome, *, then: str, lang: Lang
) -> Response:
    guard.forget()
    return welcomed(request, ports, done, then=then or f"/?lang={lang}")


def _refused(request: Request, lang: Lang, ports: WebPorts, word: str, *, why: str, status: int) -> Response:
    """Nobody is known here whom the audit record could name: the log is told."""
    log(__name__).warning("sign_in.refused", user=None, reason=why, address=by_of(request, ports).address)
    return form_page(request, lang, ports, told=word, status=status)


def _silent(request: Request, lang: Lang, ports: WebPorts, error: ProviderSilent) -> Response:
    log(__name__).error("oidc.provider_silent", detail=str(error))
    return form_page(request, lang, ports, told="oidc_silent", status=503)


def _provider(ports: WebPorts) -> Provider:
    if ports.oidc is None:
        raise Problem(404, "no provider of sign-ins is configured here")
    return ports.oidc


def _back(ports: WebPorts) -> str:
    return ports.home_url.rstrip("/") + BACK


def _cookie(request: Request, ports: WebPorts) -> str:
    return COOKIE_HTTPS if is_https(request, ports.home_url) else COOKIE


def _sealed(provider: Provider, kept: dict[str, Any]) -> str:
    """What a browser takes along and cannot change. Every node that has the client's secret can read it."""
    text = base64.urlsafe_b64encode(json.dumps(kept).encode()).decode()
    return f"{text}.{_seal(provider, text)}"


def _opened(provider: Provider, cookie: str, now: datetime) -> dict[str, Any] | None:
    text, _, seal = cookie[:CHARACTERS_MAX].partition(".")
    if not hmac.compare_digest(seal.encode(), _seal(provider, text).encode()):
        return None
    kept: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text))
    return kept if now.timestamp() < kept["until"] else None


def _seal(provider: Provider, text: str) -> str:
    key = hmac.new(provider.client.client_secret.encode(), b"escrow-monitor oidc cookie", hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
