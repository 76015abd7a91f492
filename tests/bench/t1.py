"""T1: a sweep of one call an account behind 50 ms of latency, beside its floor and the idiomatic script."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import httpx
from sqlmodel import Field, Session, SQLModel, create_engine, select

from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.policies import load_policies
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.pull_balances import pull_balances
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.district import ZONE
from tests.bench.bank import single_bank
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import BANK, RunningClock, as_the_program, one_bank, registered

LATENCY_MS = 50
CONNECTIONS = 200
PEER_ACCOUNTS_MAX = 2_000
"""The peer's time for the whole size is extrapolated from these."""


def ours(watch: Stopwatch) -> None:
    """Both rounds over every account, each with a new balance since the sweep before; one in fifty has fallen."""
    _sweep(watch, checked=True)


def ours_first_ever(watch: Stopwatch) -> None:
    """The same where no account was ever pulled or checked."""
    _sweep(watch, checked=False)


def _sweep(watch: Stopwatch, *, checked: bool) -> None:
    as_the_program()
    district = one_bank(watch.size)
    bank = district.banks[0]
    database, policies, clock = registered(watch, district, checked=checked), load_policies(), RunningClock()
    with single_bank(watch.size, latency_ms=LATENCY_MS) as url:
        connector = BerlinGroup(
            BANK, BankHttp(base_url=url, token=bank.token, concurrency=CONNECTIONS), consent_id=bank.consent_id,
            zone=ZONE, clock=clock,
        )
        with watch.timed():
            pulled = pull_balances(
                database=database, connector=connector, zone=ZONE, scheduled_at=clock.now(), now_of=clock.now,
                watch=lambda **_: None,
            )
        pull_seconds, pull_cpu = watch.seconds, watch.cpu_seconds
        now = clock.now()
        with watch.timed():
            found = check_balances(
                database=database, policies=policies, channels=("log",), patience=Patience(), scheduled_at=now, now=now,
            )
        connector.close()
    database.close()
    cpu_us, pull_cpu_us = (cpu / watch.size * 1e6 for cpu in (watch.cpu_seconds, pull_cpu))
    watch.note = (
        f"{watch.seconds / _floor_seconds(watch.size):.2f} x the floor; pulled in {pull_seconds:.1f} s, answered "
        f"{pulled.counts['answered']:,}, checked {found.counts['accounts']:,}, transitions "
        f"{found.counts['transitions']:,}; CPU an account {cpu_us:.0f} us: {pull_cpu_us:.0f} to call and store, "
        f"{cpu_us - pull_cpu_us:.0f} to check"
    )


def floor(watch: Stopwatch) -> None:
    """What latency and connections alone take: no program is faster."""
    watch.seconds = _floor_seconds(watch.size)
    watch.note = f"{watch.size:,} / {CONNECTIONS} x {LATENCY_MS} ms"


def _floor_seconds(size: int) -> float:
    return size / CONNECTIONS * LATENCY_MS / 1000


class SweptRow(SQLModel, table=True):
    """What the script keeps."""

    id: int | None = Field(default=None, primary_key=True)
    account_no: str = Field(index=True)
    amount: Decimal
    below: bool
    at: datetime


def httpx_and_sqlmodel_script(watch: Stopwatch) -> None:
    """An async httpx client of 200 connections, one query and one commit an account, as most would write it."""
    some = min(watch.size, PEER_ACCOUNTS_MAX)
    with single_bank(watch.size, latency_ms=LATENCY_MS) as url:
        asyncio.run(_script(watch, url, some))
    watch.seconds *= watch.size / some
    watch.note = f"extrapolated from {some:,} accounts" if some < watch.size else ""


async def _script(watch: Stopwatch, url: str, some: int) -> None:
    district = one_bank(watch.size)
    bank = district.banks[0]
    engine = create_engine(f"sqlite:///{watch.folder / 'peer.db'}")
    SQLModel.metadata.tables[str(SweptRow.__tablename__)].create(engine)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=60) as client:
        with Session(engine) as session:

            at_once = asyncio.Semaphore(CONNECTIONS)

            async def sweep(place: int) -> None:
                async with at_once:
                    await one(place)

            async def one(place: int) -> None:
                account = district.account(place)
                answer = await client.get(
                    f"{url}/v1/accounts/{account.external_id}/balances",
                    headers={
                        "Authorization": f"Bearer {bank.token}", "Consent-ID": bank.consent_id,
                        "X-Request-ID": str(uuid.uuid4()),
                    },
                )
                amount = Decimal(answer.json()["balances"][0]["balanceAmount"]["amount"])
                session.exec(select(SweptRow).where(SweptRow.account_no == account.account_no)).first()
                row = SweptRow(
                    account_no=account.account_no, amount=amount, below=amount < 50_000, at=datetime.now(UTC)
                )
                session.add(row)
                session.commit()
                session.refresh(row)

            with watch.timed():
                async with asyncio.TaskGroup() as group:
                    for place in range(some):
                        group.create_task(sweep(place))
    engine.dispose()


BENCH = Bench(
    name="t1", what="a sweep of one call an account, 50 ms latency, 200 connections, pulled, stored, examined, alerted",
    target="<= 1.5 x the floor", size=100_000, quick_size=2_000,
    contenders=(ours, ours_first_ever, floor, httpx_and_sqlmodel_script),
)
