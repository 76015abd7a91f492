"""T1b: a sweep through a batch call, pulled, stored, examined and alerted, beside the idiomatic script."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
from sqlmodel import Field, Session, SQLModel, create_engine, select

from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.clock import FixedClock
from escrow_monitor.policies import load_policies
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.pull_balances import pull_balances
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.district import ZONE
from tests.bench.measure import Bench, Stopwatch
from tests.bench.stage import AT, BANK, as_the_program, bank_beside, one_bank, registered

PEER_ACCOUNTS_MAX = 1_000
"""The peer takes one request and one commit an account; its time for the whole size is extrapolated from these."""


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
    database, policies = registered(watch, district, checked=checked), load_policies()
    now = AT + timedelta(minutes=2)
    with bank_beside(watch.size) as url:
        connector = BerlinGroup(
            BANK, BankHttp(base_url=url, token=bank.token), consent_id=bank.consent_id, zone=ZONE,
            clock=FixedClock(now), batch=True,
        )
        with watch.timed():
            pulled = pull_balances(
                database=database, connector=connector, zone=ZONE, scheduled_at=now, now_of=lambda: now,
                watch=lambda **_: None,
            )
        pull_seconds, pull_cpu = watch.seconds, watch.cpu_seconds
        with watch.timed():
            found = check_balances(
                database=database, policies=policies, channels=("log",), patience=Patience(), scheduled_at=now, now=now,
            )
        connector.close()
    database.close()
    cpu_us, pull_cpu_us = (cpu / watch.size * 1e6 for cpu in (watch.cpu_seconds, pull_cpu))
    watch.note = (
        f"pulled in {pull_seconds:.1f} s, {pulled.counts['readings']:,} new readings, checked "
        f"{found.counts['accounts']:,}, transitions {found.counts['transitions']:,}; CPU an account "
        f"{cpu_us:.0f} us: {pull_cpu_us:.0f} to pull and store, {cpu_us - pull_cpu_us:.0f} to check"
    )


class BalanceRow(SQLModel, table=True):
    """What the script keeps."""

    id: int | None = Field(default=None, primary_key=True)
    account_no: str = Field(index=True)
    amount: Decimal
    below: bool
    at: datetime


def httpx_and_sqlmodel_script(watch: Stopwatch) -> None:
    """One request, one query and one commit an account, as most would write it first."""
    district, some = one_bank(watch.size), min(watch.size, PEER_ACCOUNTS_MAX)
    bank = district.banks[0]
    engine = create_engine(f"sqlite:///{watch.folder / 'peer.db'}")
    SQLModel.metadata.tables[str(BalanceRow.__tablename__)].create(engine)
    with (
        bank_beside(watch.size) as url, Session(engine) as session, httpx.Client(trust_env=False) as client,
        watch.timed(),
    ):
        for place in range(some):
            number = district.account_no(place)
            answer = client.get(
                f"{url}/v1/accounts/{number}/balances",
                headers={
                    "Authorization": f"Bearer {bank.token}", "Consent-ID": bank.consent_id,
                    "X-Request-ID": str(uuid.uuid4()),
                },
            ).json()
            amount = Decimal(answer["balances"][0]["balanceAmount"]["amount"])
            session.exec(select(BalanceRow).where(BalanceRow.account_no == number)).first()
            row = BalanceRow(account_no=number, amount=amount, below=amount < 50_000, at=datetime.now(UTC))
            session.add(row)
            session.commit()
            session.refresh(row)
    engine.dispose()
    watch.seconds *= watch.size / some
    watch.note = f"extrapolated from {some:,} accounts" if some < watch.size else ""


BENCH = Bench(
    name="t1b", what="a sweep through batch endpoints, 500 accounts an answer", target="<= 8 s at 100,000",
    size=100_000, quick_size=2_000, contenders=(ours, ours_first_ever, httpx_and_sqlmodel_script),
)
