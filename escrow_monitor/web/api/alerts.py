"""`/api/v1/alerts`: what is open now. What happened, in order, is the feed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from alerts.alert import Alert, DecisionKind, Figure, Severity
from alerts.decisions import quiet_by
from escrow_monitor.records.alert_book import RecordsAlertBook
from escrow_monitor.web.api.alert_decisions import DecisionView, decision_view
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView, page_of
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem


class AskedAlerts(Asked):
    """Filters that all must fit."""

    severity: Severity | None = None
    rule: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    uscc: str | None = Field(default=None, max_length=18)
    bank: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    district: str | None = Field(default=None, max_length=6)
    account_no: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)


class AlertView(BaseModel):
    """One alert as it is now. `why` is Chinese, `why_en` English.

    `quiet` is what keeps it quiet now, null for nothing; `decisions` are those of people that stand.
    """

    alert_id: str
    rule: str
    subject: str
    period: str
    status: str
    severity: Severity
    standing: str
    why: str
    why_en: str
    figures: dict[str, Figure]
    labels: dict[str, str]
    as_of: datetime
    first_seen_at: datetime
    seen_at: datetime
    opened_at: datetime | None
    resolved_at: datetime | None
    episode: int
    quiet: DecisionKind | None
    decisions: list[DecisionView]


def router(ports: WebPorts) -> APIRouter:
    """The routes of this noun."""
    routes = APIRouter(tags=["alerts"])

    @routes.get("/alerts")
    def alerts(asked: Annotated[AskedAlerts, Query()]) -> ListView[AlertView]:
        """Open alerts by id, with filters."""
        now = ports.clock.now()
        with ports.database.read() as session:
            fitting = RecordsAlertBook(session).open_page(
                after=asked.after, limit=asked.limit + 1, rule=asked.rule, severity=asked.severity, uscc=asked.uscc,
                account_no=asked.account_no, bank=asked.bank, district=asked.district,
            )
        found = [alert_view(alert, now=now) for alert in fitting]
        return page_of(found, [view.alert_id for view in found], asked.limit)

    @routes.get("/alerts/{alert_id}")
    def alert(alert_id: str) -> AlertView:
        """One alert, open or not."""
        with ports.database.read() as session:
            found = RecordsAlertBook(session).alert(alert_id)
        if found is None:
            raise Problem(404, f"there is no alert {alert_id[:40]!r}")
        return alert_view(found, now=ports.clock.now())

    return routes


def alert_view(alert: Alert, *, now: datetime) -> AlertView:
    """The JSON shape of an alert."""
    quiet = quiet_by(alert, now=now)
    return AlertView(
        alert_id=alert.alert_id, rule=alert.key.rule, subject=alert.key.subject, period=alert.key.period,
        status=alert.status.value, severity=alert.severity, standing=alert.standing, why=alert.why.zh,
        why_en=alert.why.en, figures=dict(alert.figures), labels=dict(alert.labels), as_of=alert.as_of,
        first_seen_at=alert.first_seen_at, seen_at=alert.seen_at, opened_at=alert.opened_at,
        resolved_at=alert.resolved_at, episode=alert.episode, quiet=None if quiet is None else quiet.kind,
        decisions=[decision_view(decision) for decision in alert.decisions],
    )
