"""`/api/v1/outlooks`: what the closure watch says, the institutions with the highest level first."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from escrow_monitor.domain.rules import closure_watch
from escrow_monitor.records.closure.watches import ClosureStanding, closure_standings
from escrow_monitor.records.sorted_lists import OUTLOOKS, begins
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.views import Asked, ListView
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Asker

LEAST = {"yellow": 1, "orange": 2, "red": 3}


class AskedOutlooks(Asked):
    """From which level on. `-level` has the highest first, of those the likeliest; `exposed` is money, in fen."""

    sort: Literal["level", "-level", "exposed", "-exposed", "uscc", "-uscc"] = Field(
        default="-level", description=BY
    )
    level: Literal["yellow", "orange", "red"] = "yellow"
    district: District


class ReasonView(BaseModel):
    """One signal that speaks. `points` are its log odds; `new`: it was not there a week before."""

    name: str
    points: float
    why: str
    why_en: str
    new: bool


class AheadView(BaseModel):
    """The forecast so many days ahead: 10 %, 50 % and 90 %, in fen."""

    days: int
    balance_fen: tuple[int, int, int]
    owed_fen: tuple[int, int, int]


class OutlookView(BaseModel):
    """What the closure watch says of one institution. Chances lie between 0 and 1, by days ahead."""

    uscc: str
    on: date
    judged_at: datetime
    level: str | None
    standing: str
    why: str
    why_en: str
    chances: dict[str, float]
    chance_high: float
    currency: str
    balance: str
    balance_fen: int
    owed: str
    owed_fen: int
    exposed: str
    exposed_fen: int
    exposed_then_fen: int | None
    breach_in: tuple[int, int, int] | None
    reasons: list[ReasonView]
    ahead: list[AheadView]
    model: str


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["outlooks"])

    @routes.get("/outlooks")
    def outlooks(asked: Annotated[AskedOutlooks, Query()], who: Asker) -> ListView[OutlookView]:
        """The institutions that are warned of."""
        with ports.database.read() as session:
            return sorted_page(
                session, OUTLOOKS, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={"least": LEAST[asked.level], "district": begins(asked.district)},
                read=lambda keys: closure_standings(session, keys), view=outlook_view,
            )

    return routes


def outlook_view(standing: ClosureStanding) -> OutlookView:
    """The JSON shape of an outlook."""
    one, said = standing.outlook, closure_watch.examine(standing.outlook, standing.judged_at)
    return OutlookView(
        uscc=one.uscc, on=one.on, judged_at=standing.judged_at, level=one.level, standing=said.standing.value,
        why=said.why_zh, why_en=said.why_en, chances={str(days): chance for days, chance in one.chances.items()},
        chance_high=one.chance_high, currency=one.owed.currency, balance=one.balance.text,
        balance_fen=one.balance.minor_units, owed=one.owed.text, owed_fen=one.owed.minor_units,
        exposed=one.exposed.text, exposed_fen=one.exposed.minor_units,
        exposed_then_fen=None if one.exposed_then is None else one.exposed_then.minor_units, breach_in=one.breach_in,
        reasons=[
            ReasonView(name=each.name, points=each.points, why=each.zh, why_en=each.en, new=each.new)
            for each in one.reasons
        ],
        ahead=[AheadView(days=each.days, balance_fen=each.balance, owed_fen=each.owed) for each in one.ahead],
        model=one.model,
    )
