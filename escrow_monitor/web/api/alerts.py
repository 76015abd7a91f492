"""`/api/v1/alerts`: what is open now. What happened, in order, is the feed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from alerts.alert import Alert, DecisionKind, Figure, Severity
from alerts.decisions import quiet_by
from escrow_monitor.domain.findings import Standing
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.sorted_lists import ALERTS, begins
from escrow_monitor.web.api.alert_decisions import DecisionView, decision_view
from escrow_monitor.web.api.sorting import BY, District, sorted_page
from escrow_monitor.web.api.views import TEXT_CHARACTERS_MAX, Asked, ListView
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Asker


class AskedAlerts(Asked):
    """Filters that all must fit."""

    sort: Literal[
        "alert_id", "-alert_id", "severity", "-severity", "opened_at", "-opened_at", "seen_at", "-seen_at", "rule",
        "-rule",
    ] = Field(default="alert_id", description=f"{BY}; `-severity` has red first")
    standing: Standing | None = None
    severity: Severity | None = None
    rule: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    uscc: str | None = Field(default=None, max_length=18)
    bank: str | None = Field(default=None, max_length=TEXT_CHARACTERS_MAX)
    district: District
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
    def alerts(asked: Annotated[AskedAlerts, Query()], who: Asker) -> ListView[AlertView]:
        """Open alerts, with filters, in the order that was asked for."""
        now = ports.clock.now()
        with ports.database.read() as session:
            return sorted_page(
                session, ALERTS, sort=asked.sort, after=asked.after, limit=asked.limit, visible=who.visible,
                given={
                    "rule": asked.rule, "severity": asked.severity, "uscc": asked.uscc, "account_no": asked.account_no,
                    "bank": asked.bank, "district": begins(asked.district), "standing": asked.standing,
                },
                read=RecordsAlertBook(session).alerts, view=lambda alert: alert_view(alert, now=now),
            )

    @routes.get("/alerts/{alert_id}")
    def alert(alert_id: str, who: Asker) -> AlertView:
        """One alert, open or not."""
        missing = Problem(404, f"there is no alert {alert_id[:40]!r}")
        with ports.database.read() as session:
            found = RecordsAlertBook(session).alert(alert_id)
            if found is None:
                raise missing
            who.check_sees(session, found.labels.get("uscc"), missing, what="alert")
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
