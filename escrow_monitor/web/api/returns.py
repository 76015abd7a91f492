"""`/api/v1/returns`: the monthly return of what somebody sees, as JSON, CSV or a workbook."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from alerts.feeds.item import Lang
from escrow_monitor.actions.return_tables import FORMATS, pieces
from escrow_monitor.web.api.sorting import District
from escrow_monitor.web.handed_out import OneAtATime, handed_out, spooled
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON
from escrow_monitor.web.returns import made_return, name_of
from escrow_monitor.web.who import Asker


class AskedReturnFile(BaseModel):
    """What the file is to be: how far down it goes, and in which form and language."""

    model_config = ConfigDict(extra="forbid")

    district: District
    format: Literal["json", "csv", "xlsx"] = "json"
    detail: Literal["districts", "institutions", "accounts"] = Field(
        default="accounts", description="how far down: every level holds the ones above"
    )
    lang: Lang = "zh"


class Sentences(BaseModel):
    """The same in both languages."""

    zh: str
    en: str


class ReturnView(BaseModel):
    """A return. Every day that counts is met, short or unknown; `rows` begin with all, then districts.

    `residuals` is empty where all levels add up. `complete` is false for a month that has not ended, or with anything
    unknown or not reconciled: `sentence` says what. Amounts are texts, under `..._fen` in minor units; null: not known.
    """

    model_config = ConfigDict(populate_by_name=True)

    month: str
    from_: str = Field(alias="from")
    to: str
    has_ended: bool
    days_over: int
    district: str | None
    limited: bool
    generated_at: str
    policy_version: str
    complete: bool
    sentence: Sentences
    residuals: dict[str, int]
    other_alerts: dict[str, int]
    rows: list[dict[str, Any]]


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["returns"])
    one = OneAtATime("return")

    @routes.get(
        "/returns/{month}", response_model=ReturnView, response_class=Response,
        responses={
            200: {"content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ReturnView"}},
                **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS.values()
                   if kind != "application/json"},
            }},
            404: {"description": "no such month, or it has not begun", "content": {PROBLEM_JSON: {}}},
            503: {"description": "another return is being made", "content": {PROBLEM_JSON: {}}},
        },
    )
    def monthly(month: str, asked: Annotated[AskedReturnFile, Query()], who: Asker) -> Response:
        """The return of one month, `2026-10`, of the institutions that the key or person may see."""
        found = made_return(ports, one, who, month=month, district=asked.district)
        file = spooled(pieces(found, form=asked.format, depth=asked.detail, lang=asked.lang, zone=ports.zone))
        return handed_out(
            file, name=name_of(found, asked.format), media_type=FORMATS[asked.format], inline=asked.format == "json"
        )

    return routes
