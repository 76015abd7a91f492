"""The demo's stage: a folder with its own configuration and database, sandbox banks beside it."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import tomli_w

from escrow_monitor.actions.api_keys import create_key
from escrow_monitor.actions.passwords import generated_password, kept_of
from escrow_monitor.actions.users import By, add_user, reset_password
from escrow_monitor.cli.frame import Frame
from escrow_monitor.cli.service import WebPart, make_daemon, make_watchdog
from escrow_monitor.clock import ZONE, Clock, ReplayClock, SystemClock
from escrow_monitor.daemon.lifetime import run_until_stopped
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.errors import UsageError
from escrow_monitor.records.accounts import accounts, save_accounts, save_institutions
from escrow_monitor.records.people import users
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.delivery import FolderDelivery
from escrow_monitor.sandbox.district import District, replay_district, standing_district
from escrow_monitor.sandbox.families import Families
from escrow_monitor.sandbox.statement_files import write_history
from escrow_monitor.settings import CONFIG_NAME, load_settings
from escrow_monitor.wiring import App, assembled

REPLAY_DAYS = 45
SECONDS_A_DAY = 8
"""How many real seconds one replayed day takes: 45 days are six minutes."""
KEY_DAYS = 30
SCENE_NAME = "demo.json"
PEOPLE = {"demo": UserRole.ADMIN, "second": UserRole.REGULATOR}
"""Who may sign in to the demo, with one password: two, for what needs a second pair of eyes."""
POLICIES = "policies"
DIALECTS = {"fuxi": "json_bank", "shuanghe": "xml_bank"}
"""The banks of the demo that speak an interface of their own, connected by configuration alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One demo: where, which district, and whether it lives or does one cycle."""

    folder: Path
    seed: int
    institutions: int
    families: int
    port: int
    once: bool

    @contextmanager
    def opened(self) -> Iterator[tuple[App, SandboxBanks, Families | None]]:
        """Banks up, configuration written, database current, district registered, history delivered."""
        self.folder.mkdir(parents=True, exist_ok=True)
        clock, district = self._scene()
        with SandboxBanks(district=district, clock=clock, dialects=DIALECTS) as banks:
            config = self.folder / CONFIG_NAME
            config.write_text(self._configuration(banks, clock), encoding="utf-8")
            statements = self.folder / "statements"
            statements.mkdir(exist_ok=True)
            (self.folder / POLICIES).mkdir(exist_ok=True)
            with assembled(load_settings(config, {}), clock=clock) as app:
                app.database.upgrade()
                with app.database.write() as session:
                    save_institutions(session, district.institutions(), now=clock.now())
                    save_accounts(session, map(_as_connected, district.accounts()), now=clock.now())
                write_history(district, statements, at=clock.now())
                families = self._families(district, app, statements) if self.families else None
                if families is not None:
                    families.bring()
                yield app, banks, families

    def serve(self, frame: Frame) -> int:
        """Live until somebody stops it."""
        with self.opened() as (app, banks, families):
            # What happened before the replay begins is read before anything judges it.
            for shard in app.shards("load-statements"):
                app.perform("load-statements", shard, app.clock.now())
            _, secret = create_key(
                app.database,
                name="demo",
                scopes=("read", "metrics", "admin"),
                expires_after=timedelta(days=KEY_DAYS),
                actor="demo",
                now=app.real_now(),
            )
            password = _people(app)
            web = WebPart(app, clockwork := make_daemon(app))
            with (
                FolderDelivery(district=banks.district, clock=app.clock, folder=self.folder / "statements"),
                families or nullcontext(),
            ):
                # In the order of `run`: the watchdog looks from outside of all the rest.
                announced = Announced(web, frame, self.folder, secret, password, app)
                return run_until_stopped([make_watchdog(app), announced, clockwork])

    def _families(self, district: District, app: App, statements: Path) -> Families:
        return Families(
            seed=self.seed, institutions=self.families, story_on=district.story_on, clock=app.clock,
            database=app.database, folder=statements,
        )

    def _scene(self) -> tuple[Clock, District]:
        """The clock and the district: those this folder began with, or new ones."""
        begun_at = self._begun_at()
        if self.once:
            return SystemClock(), standing_district(seed=self.seed, at=begun_at, institutions=self.institutions)
        today = begun_at.astimezone(ZONE).date()
        district = replay_district(seed=self.seed, today=today, institutions=self.institutions, replay_days=REPLAY_DAYS)
        speed = 24 * 3600 // SECONDS_A_DAY
        return ReplayClock(replay_from=district.replay_from, started_at=begun_at, speed=speed), district

    def _begun_at(self) -> datetime:
        """When the demo of this folder began. Another district in the same folder would contradict what it holds."""
        note = self.folder / SCENE_NAME
        scene = {"seed": self.seed, "institutions": self.institutions, "families": self.families, "once": self.once}
        if not note.exists():
            now = SystemClock().now()
            note.write_text(json.dumps({**scene, "begun_at": now.isoformat()}) + "\n", encoding="utf-8")
            return now
        try:
            kept = json.loads(note.read_text(encoding="utf-8"))
            begun_at = datetime.fromisoformat(kept.pop("begun_at"))
        except (ValueError, KeyError, AttributeError) as error:
            raise UsageError(f"{note} is not readable: remove the folder or choose another --dir") from error
        if kept != scene:
            words = " ".join(f"{name}={value}" for name, value in kept.items())
            raise UsageError(f"{self.folder} holds another demo ({words}): choose another --dir")
        return begun_at

    def _configuration(self, banks: SandboxBanks, clock: Clock) -> str:
        """What a person would write for these banks: it stays in the folder, for every other command."""
        lines = [
            "# Written by `escrow-monitor demo`; every other command goes on with it: --config escrow-monitor.toml",
            "",
            "[database]",
            'url = "sqlite:///escrow.db"',
            "",
            "[policies]",
            "examples = true  # invented amounts, for this demonstration only",
            f'folders = ["{POLICIES}"]  # packs of your own: proposed on the pages by one person, confirmed by another',
            "",
            "[web]",
            f"port = {self.port or free_port()}",
            "",
            "[schedule]",
            'pull_balances = "*/2 * * * * *"',
            'load_statements = "*/2 * * * * *"',
            'check_balances = "*/2 * * * * *"',
            'watch_closure = "*/4 * * * * *"',
            'deliver_alerts = "*/5 * * * * *"',
            'watch_rounds = "*/20 * * * * *"',
            "late_after_seconds = { pull-balances = 604800, load-statements = 604800, check-balances = 604800,"
            " reconcile = 604800, watch-closure = 604800, deliver-alerts = 604800 }",
            "",
            "[watchdog]  # replayed days are short: what is late in them is late by a week",
            "every_seconds = 20",
            "deliveries_late_after_seconds = 604800",
            "",
            "[folders.sandbox]",
            'path = "statements"',
            'bank = "chengshan"',
            "settle_seconds = 0",
            "",
            "[channels.log]",
            'type = "log"',
        ]
        patience = {"timeout_seconds": 5, "retries": 0, "circuit_open_seconds": 4}
        spoken_to = [bank.name for bank in banks.district.banks if bank.token]
        lines += ["", tomli_w.dumps({"banks": {name: {**banks.settings(name), **patience} for name in spoken_to}})]
        if isinstance(clock, ReplayClock):
            lines += [
                "",
                "[clock]",
                f"replay_from = {clock.replay_from.isoformat()}",
                f"started_at = {clock.started_at.isoformat()}",
                f"speed = {clock.speed}",
                "",
                "[alerts]  # replayed days are short: a bank is given half a day more",
                "open_after_seconds = { freshness = 43200 }",
            ]
        return "\n".join(lines) + "\n"


def _as_connected(account: Account) -> Account:
    return replace(account, connector=DIALECTS.get(account.bank, account.connector))


def _people(app: App) -> str:
    """Let people sign in with a new password, and return it."""
    password = generated_password()
    hashes = {name: kept_of(password, name=name) for name in PEOPLE}
    by, now = By(actor="demo"), app.real_now()
    with app.database.write() as session:
        known = {user.name for user in users.known(session)}
        for name, role in PEOPLE.items():
            if name in known:
                reset_password(session, name=name, password_hash=hashes[name], by=by, now=now)
            else:
                add_user(session, name=name, role=role, password_hash=hashes[name], by=by, now=now)
    return password


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Announced:
    """The web, with the URLs printed once it answers."""

    name = "web"

    def __init__(
        self, web: WebPart, frame: Frame, folder: Path, secret: str, password: str, app: App
    ) -> None:
        self._web, self._frame, self._folder, self._app = web, frame, folder, app
        self._secret, self._password = secret, password

    def start(self) -> None:
        """Start the web and say where it is."""
        self._web.start()
        pick, url = self._frame.pick, self._web.url
        with self._app.database.read() as session:
            count = len(accounts(session))
        sys.stdout.write(
            "\n".join(
                (
                    pick(
                        zh=f"演示区:{count} 个账户,六家银行;六周在约六分钟内重演,之后按实际时间继续",
                        en=f"Demo district: {count} accounts, six banks; six weeks in six minutes, then real time",
                    ),
                    f"  {pick(zh='控制台', en='console')}  {url}/",
                    f"  {pick(zh='用户', en='user')}     {' / '.join(PEOPLE)}",
                    f"  {pick(zh='密码', en='password')}  {self._password}",
                    f"  {pick(zh='登录密钥', en='sign-in key')}  {self._secret}",
                    f"  Atom     {url}/feeds/alerts.atom",
                    f"  JSON     {url}/feeds/alerts.json",
                    f"  SSE      {url}/feeds/alerts/events",
                    f"  metrics  {url}/metrics",
                    f"  {pick(zh='另一终端', en='also')}     escrow-monitor --config {self._folder / CONFIG_NAME} feed",
                    pick(zh="按 Ctrl-C 停止", en="Ctrl-C stops it"),
                    "",
                )
            )
        )
        sys.stdout.flush()

    def stop(self, seconds: float) -> bool:
        """Stop the web."""
        return self._web.stop(seconds)

    @property
    def is_healthy(self) -> bool:
        """The web's health."""
        return self._web.is_healthy
