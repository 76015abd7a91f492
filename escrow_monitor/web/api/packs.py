"""`/api/v1/institutions/{uscc}/pack`: all that is recorded of one institution, as one ZIP file to hand over."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from alerts.feeds.item import Lang
from escrow_monitor.web.api.deciding import decides
from escrow_monitor.web.guard import SCOPE_AUDIT, Guard
from escrow_monitor.web.handed_out import OneAtATime
from escrow_monitor.web.packs import ZIP_TYPE, taken_pack
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON
from escrow_monitor.web.who import Asker


class AskedPack(BaseModel):
    """In which language its summary is."""

    model_config = ConfigDict(extra="forbid")

    lang: Lang = "zh"


class ZipFile(Response):
    """An archive."""

    media_type = ZIP_TYPE


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun: for who may read the audit record, whose entries are in it."""
    routes = APIRouter(tags=["packs"])
    one = OneAtATime("pack")

    @routes.get(
        "/institutions/{uscc}/pack", response_class=ZipFile, dependencies=decides(ports, guard, SCOPE_AUDIT),
        responses={
            200: {"content": {ZIP_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
            503: {"description": "another pack is being made", "content": {PROBLEM_JSON: {}}},
        },
    )
    async def pack(uscc: str, asked: Annotated[AskedPack, Query()], who: Asker) -> Response:
        """The resolution pack of an institution as it is recorded now; that it was taken is in the audit record."""
        return await taken_pack(ports, one, who, uscc=uscc, lang=asked.lang)

    return routes
