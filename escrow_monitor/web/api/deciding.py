"""Writes of the API, and what not everybody reads: who may, from where, and under what name it is done."""

from __future__ import annotations

from fastapi import Depends, Request, params

from escrow_monitor.web.csrf import SAFE_METHODS, refuse_foreign
from escrow_monitor.web.guard import SCOPE_DECIDE, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Who


def decides(
    ports: WebPorts, guard: Guard, permission: str = SCOPE_DECIDE, *, whole: str = ""
) -> list[params.Depends]:
    """The conditions of a write: a permission, and no other site behind it, which what only reads may have.

    `whole` says what is not for who is limited to a part of the register; "" lets them too.
    """

    async def may(request: Request) -> None:
        if request.method not in SAFE_METHODS:
            refuse_foreign(request, ports.home_url)
        who = await guard.require(request, permission)
        if whole:
            who.check_sees_everything(what=whole)

    return [Depends(may)]


def decider(request: Request) -> Who:
    """Who asks, once a guard has let them in."""
    who: Who = request.state.who
    return who
