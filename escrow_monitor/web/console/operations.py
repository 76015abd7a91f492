"""How the program runs, for those who run it: rounds, deliveries, banks, nodes, versions. Nothing is changed here."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.alert import Alert, Severity
from alerts.feeds.item import Lang
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records import health, nodes, runs, tallies
from escrow_monitor.records.alerts import outbox_counts
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.alerts.outbox_counts import ChannelQueue
from escrow_monitor.records.bank import pulls
from escrow_monitor.records.bank.pulls import BankAnswers
from escrow_monitor.records.database import REVISION
from escrow_monitor.records.runs import Run
from escrow_monitor.records.tallies import BankTally
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.shared import Shared
from escrow_monitor.web.guard import Guard
from escrow_monitor.web.ports import Check, WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who, scope_of

RUNS_SHOWN = 25
ROUND_CHARACTERS_MAX = 60
SELF_SHOWN = 20
QUEUE_LATE_AFTER = timedelta(minutes=10)
"""What is due for longer shows that a channel does not take it, or that nobody sends."""
NODE_SILENT_AFTER = timedelta(minutes=2)
SELF_RULES = ("round_late", "delivery_late", "backup_late", "certificate_ends", "calendar_ends", "alert_storm")
"""What the watchdog and the rounds say of the program itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView:
    """A round that must run. `state` is on_time, late or never."""

    name: str
    last_success_at: datetime | None
    late_after: timedelta
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """A channel and what waits for it; `waits` where the oldest is due for too long."""

    queue: ChannelQueue
    configured: bool
    waits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BankView:
    """How a bank answers, its refusals with how many accounts each concerns, the most first."""

    bank: BankAnswers
    state: str
    refusals: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsView:
    """Everything the page says."""

    now: datetime
    rounds: Sequence[RoundView]
    runs: Sequence[Run]
    only: str
    channels: Sequence[ChannelView]
    banks: Sequence[BankView]
    alerts: Sequence[Alert]
    nodes: Sequence[tuple[str, datetime, bool]]
    database: str
    database_now: datetime | None
    feed_head: int
    checks: Sequence[Check]
    facts: Mapping[str, str]

    @property
    def faults(self) -> Sequence[tuple[str, int]]:
        """What is to be seen to: words with their counts."""
        counts = {
            "ops_late_rounds": sum(one.state != "on_time" for one in self.rounds),
            "ops_dead": sum(one.queue.dead for one in self.channels),
            "ops_waits": sum(one.waits for one in self.channels),
            "ops_silent": sum(one.state == "silent" for one in self.banks),
            "ops_checks": sum(not one.ok for one in self.checks),
            "ops_alerts": len(self.alerts),
        }
        return [(word, count) for word, count in counts.items() if count]


def routes(guard: Guard, ports: WebPorts, shared: Shared) -> list[BaseRoute]:
    """`/operations`."""
    gate = Gate(guard, ports, here="operations", needs=Permission.OPERATIONS)

    async def show(request: Request, who: Who, lang: Lang) -> Response:
        only = request.query_params.get("round", "").strip()
        if len(only) > ROUND_CHARACTERS_MAX:
            raise Problem(400, f"round is at most {ROUND_CHARACTERS_MAX} characters")
        banks = await shared.banks()
        view = await run_in_threadpool(operations_view, ports, only=only, visible=scope_of(who), banks=banks)
        return gate.shown("operations.html", request, lang, view=view)

    return [Route("/operations", gate.page(show), methods=["GET"])]


def operations_view(
    ports: WebPorts, *, only: str, visible: Visible, banks: Sequence[BankTally]
) -> OperationsView:
    """Ask the records what the page shows beside the banks. Raises DatabaseError."""
    now, real_now = ports.clock.now(), ports.people_now()
    with ports.database.read() as session:
        succeeded = runs.last_success(session)
        last = runs.recent(session, limit=RUNS_SHOWN, round=only or None)
        queues = outbox_counts.queues(session)
        answers = (
            tallies.banks_of(banks, visible) if visible.uscc is None
            else pulls.bank_answers(session, visible=visible)
        )
        book = RecordsAlertBook(session)
        own = [
            alert for rule in SELF_RULES
            for alert in book.open_fitting({"rule": rule}, severities=tuple(Severity), limit=SELF_SHOWN)[1]
            if visible.covers_labels(alert.labels)
        ]
        beats, server, head = nodes.last_beats(session), health.server(session), book.head()
    return OperationsView(
        now=now, only=only, runs=last, alerts=own[:SELF_SHOWN], feed_head=head, checks=ports.checks(),
        rounds=[
            RoundView(
                name=one.name, last_success_at=(at := succeeded.get(one.name)), late_after=one.late_after,
                state="never" if at is None else "late" if now - at > one.late_after else "on_time",
            )
            for one in ports.rounds
        ],
        channels=_channels(ports, queues, real_now), banks=sorted(map(_bank, answers), key=_bank_order),
        nodes=[(name, at, real_now - at > NODE_SILENT_AFTER) for name, at in beats.items()],
        database=f"{server.version} · {ports.database.name}" if visible.is_everything else server.version,
        database_now=server.now,
        facts={
            "ops_version": version("escrow-monitor"), "ops_python": platform.python_version(), "ops_schema": REVISION,
            "ops_policies": ports.policies.version,
        },
    )


def _channels(ports: WebPorts, queues: Mapping[str, ChannelQueue], now: datetime) -> list[ChannelView]:
    names = dict.fromkeys((*ports.channels, *queues))
    found = [queues.get(name, ChannelQueue(channel=name)) for name in names]
    return [
        ChannelView(
            queue=one, configured=one.channel in ports.channels,
            waits=one.oldest_at is not None and one.tried > 0 and now - one.oldest_at > QUEUE_LATE_AFTER,
        )
        for one in found
    ]


def _bank(one: BankAnswers) -> BankView:
    state = "answers" if one.last_answer_at is not None else "not_asked"
    if one.silent:
        state = "silent" if one.silent >= one.accounts else "partly"
    return BankView(
        bank=one, state=state, refusals=sorted(one.refusals.items(), key=lambda found: (-found[1], found[0]))
    )


_WORST_FIRST = ("silent", "partly", "answers", "not_asked")


def _bank_order(one: BankView) -> tuple[int, str]:
    return _WORST_FIRST.index(one.state), one.bank.bank
