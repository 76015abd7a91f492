"""`/api/v1/channels`: where alerts are pushed to, and what is owed to each."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from escrow_monitor.records.alerts.deliveries import DeliveryCounts, counts
from escrow_monitor.web.api.views import ListView
from escrow_monitor.web.ports import WebPorts


class ChannelView(BaseModel):
    """A channel: how many deliveries are due, were given up and were delivered. One that is configured no more is not
    `configured`, and what it is owed waits."""

    name: str
    configured: bool
    due: int
    dead: int
    delivered: int


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["deliveries"])

    @routes.get("/channels")
    def channels() -> ListView[ChannelView]:
        """The channels, with what is owed to each."""
        with ports.database.read() as session:
            owed = counts(session)
        found = {name: owed.get(name, DeliveryCounts()) for name in sorted({*ports.channels, *owed})}
        return ListView[ChannelView](after=None, items=[
            ChannelView(
                name=name, configured=name in ports.channels, due=one.due, dead=one.dead, delivered=one.delivered
            )
            for name, one in found.items()
        ])

    return routes
