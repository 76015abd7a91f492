"""A small district in a real database, and the real application over it, for the tests of the web."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import httpx
from fastapi import FastAPI

from alerts.alert import AlertKey, Clear, FeedEntry, Severity, Signal, Why
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind, Reading
from escrow_monitor.domain.figures import Figures
from escrow_monitor.domain.findings import Level, Standing, account_subject
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Refusal, RefusalReason
from escrow_monitor.metrics import Metrics
from escrow_monitor.records import runs
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.pulls import PullRecord, record_pulls
from escrow_monitor.records.database import Database
from escrow_monitor.records.figures import figures
from escrow_monitor.records.people import keys
from escrow_monitor.records.positions import AccountStanding, save_standings
from escrow_monitor.web.app import create_app
from escrow_monitor.web.ports import Check, ExpectedRound, WebPorts

NOW = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)  # a Friday, 10:30 in Shanghai
HOME = "http://monitor.test"
ROUNDS = ("pull-balances", "load-statements", "check-balances", "deliver-alerts")
NAMES = ("晨光艺术培训学校", "远航英语培训中心", "小数点数学教室", "飞羽体育俱乐部", "蓝鲸编程学堂", "知行书法院")


@dataclass
class World:
    """One database, and what a test does to it."""

    database: Database
    now: datetime = NOW
    secrets: dict[str, str] = field(default_factory=dict)
    rounds: tuple[str, ...] = ROUNDS

    def key(self, name: str, *scopes: str, expires_at: datetime | None = None) -> str:
        with self.database.write() as session:
            _, self.secrets[name] = keys.create(
                session, name=name, scopes=scopes, expires_at=expires_at, now=self.now
            )
        return self.secrets[name]

    def institutions(self, count: int = len(NAMES)) -> None:
        with self.database.write() as session:
            save_institutions(session, [
                Institution(uscc=uscc(number), name=NAMES[number % len(NAMES)], district="510302")
                for number in range(count)
            ], now=self.now)
            save_accounts(session, [
                Account(account_no=no(number), bank=bank(number), connector="berlin_group", currency="CNY",
                        uscc=uscc(number), opened_on=date(2024, 9, 1))
                for number in range(count)
            ], now=self.now)

    def standings(self, *found: tuple[Standing, Level | None]) -> None:
        with self.database.write() as session:
            save_standings(session, [
                AccountStanding(
                    account_no=no(number), input_version=1, standing=standing, level=level,
                    required_fen=100_000_00, required_complete=True, balance_fen=83_120_00 + number,
                )
                for number, (standing, level) in enumerate(found)
            ], now=self.now, policy_version="1")

    def signal(
        self, number: int, *, severity: Severity = Severity.RED, rule: str = "floor", standing: str = "breached",
        why: Why | None = None,
    ) -> tuple[FeedEntry, ...]:
        told = why or Why(
            zh=f"余额 83120.0{number} CNY，低于最低余额 100000.00 CNY（仅为 0.8312），自 2026-11-17 起",
            en=f"holds 83120.0{number} CNY, the floor is 100000.00 CNY (0.8312 of it), below since 2026-11-17",
        )
        signal = Signal(
            key=alert_key(number, rule), severity=severity, standing=standing, why=told, as_of=self.now,
            figures={"balance": f"83120.0{number}", "balance_fen": 8312000 + number},
            labels={"uscc": uscc(number), "account_no": no(number), "bank": bank(number), "district": "510302"},
        )
        with self.database.write() as session:
            return RecordsAlertBook(session).advance(signals=[signal], clears=(), now=self.now, cause="test")

    def clear(self, number: int, *, rule: str = "floor") -> tuple[FeedEntry, ...]:
        clear = Clear(
            key=alert_key(number, rule), standing="met", as_of=self.now,
            why=Why(zh="余额 120000.00 CNY，已达到最低余额", en="holds 120000.00 CNY, the floor is met"),
        )
        with self.database.write() as session:
            return RecordsAlertBook(session).advance(signals=(), clears=[clear], now=self.now, cause="test")

    def pulls(self, count: int, *, silent: Collection[str] = ()) -> None:
        with self.database.write() as session:
            record_pulls(
                session, [self._pull(number, refused=bank(number) in silent) for number in range(count)],
                scheduled_at=self.now, now=self.now,
            )

    def _pull(self, number: int, *, refused: bool) -> PullRecord:
        if refused:
            return PullRecord(
                account_no=no(number), bank=bank(number), started_at=self.now, finished_at=self.now,
                refusal=Refusal(reason=RefusalReason.TIMEOUT, where="bank", field=None, detail="no answer within 20 s"),
            )
        reading = Reading(
            account_no=no(number), kind=BalanceKind.BOOKED_INTRADAY, amount=Money(83_120_00 + number, "CNY"),
            on=self.now.date(), as_of=self.now, fetched_at=self.now, final=False, source="berlin_group",
            raw_sha256="0" * 64,
        )
        return PullRecord(
            account_no=no(number), bank=bank(number), readings=(reading,), account_status=AccountStatus.ACTIVE,
            started_at=self.now, finished_at=self.now,
        )

    def ran(self, name: str, *, at: datetime, outcome: runs.Outcome = runs.Outcome.OK) -> None:
        with self.database.write() as session:
            runs.begin(session, round=name, shard="all", scheduled_at=at, now=at)
            runs.finish(session, round=name, shard="all", scheduled_at=at, outcome=outcome, counts={"accounts": 6},
                        now=at)

    def bad_morning(self) -> World:
        """Two red, one orange, one yellow, one unknown, one met; a silent bank, a late round."""
        self.institutions()
        self.standings(
            (Standing.BREACHED, Level.RED), (Standing.BREACHED, Level.RED), (Standing.BREACHED, Level.ORANGE),
            (Standing.MET, Level.YELLOW), (Standing.UNKNOWN, None), (Standing.MET, None),
        )
        self.pulls(6, silent={"川南农商行"})
        for name in ROUNDS:
            self.ran(name, at=self.now - timedelta(minutes=40 if name == "load-statements" else 2))
        self.signal(0)
        self.signal(1)
        self.signal(2, severity=Severity.ORANGE)
        stale = Why(zh="最近一个工作日没有最终余额", en="no final balance for the last working day")
        self.signal(4, severity=Severity.ORANGE, rule="freshness", standing="unknown", why=stale)
        self.signal(3, severity=Severity.YELLOW)
        self.signal(5, severity=Severity.YELLOW)
        self.clear(5)
        return self

    def app(self, **options: float) -> FastAPI:
        return create_app(self.ports(**options))  # type: ignore[arg-type]

    def ports(
        self, *, answer_age_seconds_max: float = 0.0, streams_max: int = 200, beat_seconds: float = 15.0,
        checks: Callable[[], Sequence[Check]] = tuple,
    ) -> WebPorts:
        def snapshot() -> Figures:
            with self.database.read() as session:
                return figures(session)

        clock = FixedClock(self.now)
        metrics = Metrics(snapshot=snapshot, now=clock.now, rounds=ROUNDS, rules=("floor",))
        return WebPorts(
            database=self.database, clock=clock, metrics=metrics, home_url=HOME,
            rounds=tuple(ExpectedRound(name=name, late_after=timedelta(minutes=10)) for name in self.rounds),
            answer_age_seconds_max=answer_age_seconds_max, streams_max=streams_max,
            beat_seconds=beat_seconds, checks=checks,
        )


def uscc(number: int) -> str:
    return f"91510300MA6{number:07d}"


def no(number: int) -> str:
    return f"62220212345{number:08d}"


def bank(number: int) -> str:
    return ("自贡银行", "川南农商行", "沱江银行")[number % 3]


def alert_key(number: int, rule: str) -> AlertKey:
    return AlertKey(rule, account_subject(no(number)), "continuous")


class Site:
    """The application and a browser or reader in front of it; by default with the reader's key."""

    def __init__(self, world: World, app: FastAPI | None = None) -> None:
        self.world = world
        self.app = app if app is not None else world.app()

    def get(self, path: str, *, key: str | None = "reader", **headers: str) -> httpx.Response:
        return self.send("GET", path, key=key, content=None, **headers)

    def send(
        self, method: str, path: str, *, key: str | None = "reader", content: bytes | None = None, **headers: str,
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent.setdefault("authorization", f"Bearer {self.world.secrets[key]}")

        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
                return await client.request(method, path, headers=sent, content=content)

        return asyncio.run(answer())
