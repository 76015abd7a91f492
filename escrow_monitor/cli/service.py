"""The long-lived commands: plans from the settings, then clock, engine and web as parts of one process."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from escrow_monitor.cli.asked_back_test import asked_back_test
from escrow_monitor.daemon.daemon import Daemon, DaemonPorts
from escrow_monitor.daemon.lifetime import run_until_stopped
from escrow_monitor.daemon.plan import Plan
from escrow_monitor.daemon.watchdog import DeadMan, Watchdog, WatchdogPorts
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.logs import configure
from escrow_monitor.records import nodes
from escrow_monitor.records.alerts import deliveries
from escrow_monitor.records.bank import turns as bank_turns
from escrow_monitor.settings.section import zone_of
from escrow_monitor.wiring import App, assembled, policies_of

if TYPE_CHECKING:
    from escrow_monitor.settings import LimitSettings, Settings
    from escrow_monitor.web.limits import Rates
    from escrow_monitor.web.oidc import Provider
    from escrow_monitor.web.ports import LawFolder, WebPorts
    from escrow_monitor.web.server import WebServer


def run_service(settings: Settings, *, daemon: bool, web: bool) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    chosen = settings.logs.format
    configure(
        format="console" if chosen == "console" or (chosen == "auto" and sys.stderr.isatty()) else "json",
        level=settings.logs.level,
    )
    with assembled(settings) as app:
        app.database.upgrade()
        clockwork = make_daemon(app) if daemon else None
        if daemon:
            # What this daemon held when it was last killed is free again at once, not when its lease ends.
            with app.database.write() as session:
                deliveries.release(session, claimant=app.claimant)
                bank_turns.free_turns(session, claimant=app.claimant)
        parts: list[WebPart | Daemon | Watchdog] = [make_watchdog(app)]
        if web:
            parts.append(WebPart(app, clockwork))
        if clockwork is not None:
            parts.append(clockwork)
        return run_until_stopped(parts)


class WebPart:
    """The web as a part of the process."""

    name = "web"

    def __init__(self, app: App, clockwork: Daemon | None) -> None:
        self._app = app
        self._clockwork = clockwork
        self._server: WebServer | None = None
        self.url = ""

    def start(self) -> None:
        """Bind and answer."""
        from escrow_monitor.web.app import create_app
        from escrow_monitor.web.server import Listener, WebServer

        web = self._app.settings.web
        listener = Listener(host=web.host, port=web.port)
        self.url = listener.url
        ports = web_ports(self._app, self._clockwork, home_url=web.home_url or listener.url)
        self._server = WebServer(create_app(ports), listener)
        self._server.start()

    def stop(self, seconds: float) -> bool:
        """End the event streams and finish what is being answered."""
        if self._server is not None:
            self._server.stop()
        return True

    @property
    def is_healthy(self) -> bool:
        """Whether it was started; its own `/healthz` says more."""
        return self._server is not None


def web_ports(app: App, clockwork: Daemon | None, *, home_url: str) -> WebPorts:
    """What the web of an assembled program is given."""
    from escrow_monitor.web.ports import Check, ExpectedRound, WebPorts

    def checks() -> Sequence[Check]:
        if clockwork is None:
            return ()
        return (Check(name="clock", ok=clockwork.is_healthy, detail="the clock and the engine of this process"),)

    schedule = app.settings.schedule
    return WebPorts(
        database=app.database,
        clock=app.clock,
        metrics=app.metrics,
        home_url=home_url,
        rounds=[
            ExpectedRound(name=name, late_after=late_after) for name, late_after in app.late_after().items()
        ],
        checks=checks,
        channels=tuple(app.settings.channels),
        policies=app.policies,
        reconcile=app.reconcile_asked,
        zone=zone_of(schedule.zone),
        real_now=app.real_now,
        law=law_folder(app),
        back_test=partial(asked_back_test, app.settings),
        profiles=app.statement_profiles,
        seal_key=lambda: app.seal_key,
        rates=rates_of(app.settings.web.limits),
        oidc=provider_of(app.settings),
    )


def provider_of(settings: Settings) -> Provider | None:
    """Where people sign in who have no password here. Raises ConfigurationError where the extra is missing."""
    from escrow_monitor.domain.identities import Mapped, RoleLine
    from escrow_monitor.web.oidc import Client, Provider

    chosen = settings.web.oidc
    if chosen is None:
        return None
    lines = [
        RoleLine(
            value=line.value, role=line.role, uscc=line.institution,
            districts=() if line.districts == "all" else None if line.districts is None else tuple(line.districts),
        )
        for line in chosen.roles
    ]
    return Provider(Client(
        issuer=chosen.issuer, client_id=chosen.client_id,
        client_secret=settings.secret(
            chosen.client_secret, chosen.client_secret_file, what="web.oidc.client_secret_file"
        ) or "",
        scopes=chosen.scopes, timeout_seconds=chosen.timeout_seconds,
        ca_file=None if chosen.ca_file is None else str(settings.path(chosen.ca_file)),
        labels={"zh": chosen.label_zh, "en": chosen.label_en},
        mapped=Mapped(
            name_claim=chosen.name_claim, display_name_claim=chosen.display_name_claim,
            roles_claim=chosen.roles_claim, districts_claim=chosen.districts_claim,
            institution_claim=chosen.institution_claim, roles=lines, provision=chosen.provision,
        ),
    ))


def rates_of(limits: LimitSettings) -> Rates:
    """How often one caller may ask."""
    from escrow_monitor.web.limits import Rate, Rates

    return Rates(
        requests=Rate(per_second=limits.requests_per_second, burst=limits.requests_at_once),
        feeds=Rate(per_second=limits.feed_requests_per_second, burst=limits.feed_requests_at_once),
        strangers=Rate(per_second=limits.strangers_per_second, burst=limits.strangers_at_once),
    )


def law_folder(app: App) -> LawFolder | None:
    """The first configured folder of packs: the one that people change on the pages."""
    from escrow_monitor.web.ports import LawFolder

    folders = app.settings.policies.folders
    if not folders:
        return None
    return LawFolder(path=app.settings.path(folders[0]), read=lambda: policies_of(app.settings))


def make_watchdog(app: App) -> Watchdog:
    """The look from outside of clock and engine, and who is called after each."""
    chosen = app.settings.watchdog
    url = chosen.url or app.settings.secret(None, chosen.url_file, what="watchdog.url_file")
    return Watchdog(
        WatchdogPorts(
            look=app.watch_controls,
            every_seconds=chosen.every_seconds,
            dead_man=None if url is None else dead_man(url, timeout_seconds=chosen.timeout_seconds),
        )
    )


def dead_man(url: str, *, timeout_seconds: float) -> DeadMan:
    """Who expects to hear from us; an address that cannot be one is a ConfigurationError that does not repeat it."""
    try:
        return DeadMan(url, timeout_seconds=timeout_seconds)
    except ValueError as error:
        raise ConfigurationError(f"watchdog.url_file: {error}") from error


def make_daemon(app: App) -> Daemon:
    """The clock and the engine of an assembled program."""

    def perform(name: str, shard: str, scheduled_at: datetime) -> Mapping[str, object]:
        return app.perform(name, shard, scheduled_at).as_json()

    def beat(executor_id: str) -> None:
        with app.database.write() as session:
            nodes.beat(session, executor_id, now=app.real_now())

    def silent(seconds: int) -> Sequence[str]:
        with app.database.read() as session:
            return nodes.silent_since(session, app.real_now() - timedelta(seconds=seconds))

    return Daemon(
        DaemonPorts(
            plans=plans_of(app),
            perform=perform,
            engine_url=app.settings.engine_url,
            executor_id=app.settings.engine.executor_id,
            zone=zone_of(app.settings.schedule.zone),
            beat=beat,
            silent=silent,
        )
    )


def plans_of(app: App) -> list[Plan]:
    """When each round runs: by its cron time, and at once after the rounds that give it something to do."""
    times = app.settings.schedule
    return [
        Plan(round="pull-balances", cron=times.pull_balances, shards=lambda: app.shards("pull-balances")),
        Plan(round="load-statements", cron=times.load_statements, shards=lambda: app.shards("load-statements")),
        Plan(
            round="check-balances",
            cron=times.check_balances,
            shards=lambda: app.shards("check-balances"),
            follows=("pull-balances", "load-statements"),
        ),
        Plan(
            round="reconcile",
            cron=times.reconcile,
            shards=lambda: app.shards("reconcile"),
            follows=("pull-balances", "load-statements"),
        ),
        Plan(
            round="watch-closure",
            cron=times.watch_closure,
            shards=lambda: app.shards("watch-closure"),
            follows=("check-balances",),
        ),
        Plan(round="watch-rounds", cron=times.watch_rounds, shards=lambda: app.shards("watch-rounds")),
        Plan(
            round="deliver-alerts",
            cron=times.deliver_alerts,
            shards=lambda: app.shards("deliver-alerts"),
            follows=("check-balances", "reconcile", "watch-closure", "watch-rounds"),
        ),
        Plan(round="seal-audit", cron=times.seal_audit, shards=lambda: app.shards("seal-audit")),
    ]
