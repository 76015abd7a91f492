"""`/api/v1/banks`: how each bank answered when it was last asked."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from escrow_monitor.records.bank.pulls import bank_answers
from escrow_monitor.web.api.views import ListView
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.who import Asker


class BankView(BaseModel):
    """One bank: its accounts, how many of them it did not answer for when last asked, and why."""

    bank: str
    accounts: int
    silent: int
    refusals: dict[str, int]
    last_answer_at: datetime | None


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["banks"])

    @routes.get("/banks")
    def banks(who: Asker) -> ListView[BankView]:
        """All banks that hold an account, by name."""
        with ports.database.read() as session:
            found = bank_answers(session, visible=who.visible)
        return ListView[BankView](after=None, items=[
            BankView(
                bank=item.bank, accounts=item.accounts, silent=item.silent, refusals=dict(item.refusals),
                last_answer_at=item.last_answer_at,
            )
            for item in found
        ])

    return routes
