"""Who is let in to a page that not everybody may open, and what stands there for the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerts.feeds.item import Lang
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.errors import DatabaseError
from escrow_monitor.logs import log
from escrow_monitor.web.console import pages
from escrow_monitor.web.console.sign_in import to_sign_in
from escrow_monitor.web.console.words import Words
from escrow_monitor.web.guard import Guard, credential_of
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

Answer = Callable[[Request, Who, Lang], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Gate:
    """The way in to the pages of one noun: `needs` says which permission, `whole` that all of the register is shown."""

    def __init__(
        self, guard: Guard, ports: WebPorts, *, here: str, needs: Permission, whole: bool = False,
    ) -> None:
        self.guard, self.ports, self.here, self.needs, self.whole = guard, ports, here, needs, whole

    def page(self, answer: Answer, *, needs: Permission | None = None) -> Endpoint:
        """A page: a stranger is led to the sign-in, and who may not is told who may."""
        needed = needs or self.needs

        async def found(request: Request) -> Response:
            lang = pages.lang_of(request)
            try:
                who = await self.guard.require(request, needed)
            except Problem as problem:
                if problem.status == 401:
                    return to_sign_in(request, lang)
                if problem.status == 403:
                    return await self._refused(request, lang, needed)
                raise
            except DatabaseError as error:
                return self._unreachable(request, lang, error)
            if self.whole and not who.visible.is_everything:
                log(__name__).warning("web.denied", who=who.actor, what=request.url.path[:200], why="limited")
                return self.shown("no_entry.html", request, lang, status=403, needs=None)
            try:
                return await answer(request, who, lang)
            except DatabaseError as error:
                return self._unreachable(request, lang, error)

        return found

    def shown(self, template: str, request: Request, lang: Lang, *, status: int = 200, **values: Any) -> Response:
        """A page of this noun. Templates get `zone`, `when` and `now` of this moment."""
        now = self.ports.clock.now()
        return pages.page(
            template, lang, status=status, request=request, here=self.here, zone=self.ports.zone, now=now,
            when=pages.at_zone(Words(lang), now=now, zone=self.ports.zone), **values,
        )

    async def _refused(self, request: Request, lang: Lang, needed: Permission) -> Response:
        credential = credential_of(request, self.ports.home_url)
        request.state.who = None if credential is None else await self.guard.who(credential)
        return self.shown("no_entry.html", request, lang, status=403, needs=needed.value)

    def _unreachable(self, request: Request, lang: Lang, error: DatabaseError) -> Response:
        log(__name__).error("web.records_unreachable", path=request.url.path, detail=str(error))
        return pages.page("unreachable.html", lang, status=503, request=request)
