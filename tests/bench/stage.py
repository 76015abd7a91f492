"""What the benches set up before the clock starts: a district at one bank, its records, and the bank beside it."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path

from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement, StatementKind
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.pulls import PullRecord, record_pulls
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.district import ZONE, District, last_closed_day, replay_district
from escrow_monitor.wiring import GARBAGE_VALUES
from tests.bench.measure import Stopwatch

AT = datetime(2026, 11, 19, 7, 0, tzinfo=UTC)
BANK = "yandu"
CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class RunningClock:
    """A clock that goes on from `AT` at the machine's pace."""

    started: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        return AT + timedelta(minutes=2, seconds=time.monotonic() - self.started)


def as_the_program() -> None:
    """Set this process up as `wiring.assemble` does."""
    gc.set_threshold(GARBAGE_VALUES, 20, 100)


def one_bank(size: int, *, at: datetime = AT) -> District:
    """A district of `size` accounts, all at one bank with a batch call."""
    today = at.date() + timedelta(days=3)
    return replace(replay_district(seed=1, today=today, institutions=size), only_bank=BANK)


def registered(watch: Stopwatch, district: District, *, at: datetime = AT, checked: bool = False) -> Database:
    """A current SQLite database with all accounts and statements up to the last closed day.

    `checked`: and one sweep of the same day, after which every account was found to hold its floor. It is made in a
    process of its own, so that the memory this takes is not that of what is measured.
    """
    command = [
        sys.executable, "-m", "tests.bench.stage", "register", str(district.institution_count), str(watch.folder),
        at.isoformat(), "checked" if checked else "new",
    ]
    subprocess.run(command, check=True)
    return Database(_url(watch.folder))


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'bench.db'}"


def register(size: int, folder: Path, at: datetime, *, checked: bool) -> None:
    """Make that database."""
    district = one_bank(size, at=at)
    database = Database(_url(folder))
    database.upgrade()
    opened_on = _opened_on(at)
    with database.write() as session:
        save_institutions(session, district.institutions(), now=at)
        save_accounts(session, (replace(account, opened_on=opened_on) for account in district.accounts()), now=at)
    statements = (covering(district, place, at) for place in range(district.institution_count))
    while batch := list(islice(statements, CHUNK)):
        with database.write() as session:
            refusals = record_statements(session, batch, source="bench", raw_sha256="0" * 64, now=at)
        if refusals:
            raise RuntimeError(str(refusals[0]))
    if checked:
        _sweep_before(database, district, at)
    database.close()


def _sweep_before(database: Database, district: District, at: datetime) -> None:
    """What the bank said an hour before, above every floor, and what was concluded from it."""
    pulls = (pull_before(district, place, at) for place in range(district.institution_count))
    while batch := list(islice(pulls, CHUNK)):
        with database.write() as session:
            record_pulls(session, batch, scheduled_at=at, now=at, zone=ZONE)
    check_balances(
        database=database, policies=load_policies(), channels=("log",), patience=Patience(), scheduled_at=at, now=at,
    )


def pull_before(district: District, place: int, at: datetime) -> PullRecord:
    """An answer of an hour before `at`: one yuan more than the closing, twice that where the closing is too little."""
    number, as_of = district.account_no(place), at - timedelta(hours=1)
    closing = district.balance(number, last_closed_day(at))
    amount = Money(closing.minor_units * (2 if is_short(place) else 1) + 100, closing.currency)
    return PullRecord(
        account_no=number, bank=BANK, account_status=district.status_at(number, at), started_at=as_of,
        finished_at=as_of, raw=(("0" * 64, b"{}", "application/json"),), readings=tuple(
            Reading(
                account_no=number, kind=kind, amount=amount, on=as_of.astimezone(ZONE).date(), as_of=as_of,
                fetched_at=as_of, final=False, source="bench", raw_sha256="0" * 64,
            )
            for kind in (BalanceKind.BOOKED_INTRADAY, BalanceKind.AVAILABLE)
        ),
    )


def is_short(place: int) -> bool:
    """Whether the account at a place closes below its floor: one in fifty."""
    return place % 50 == 0


def _opened_on(at: datetime) -> date:
    """Accounts this young need no entries of the months before: setting up takes no longer than what is measured."""
    return at.date() - timedelta(days=5)


def covering(district: District, place: int, at: datetime = AT) -> Statement:
    """One statement since the opening, with a single payment, closing as the district closes: cheap and complete."""
    number, last, opened_on = district.account_no(place), last_closed_day(at), _opened_on(at)
    closing = district.balance(number, last)
    # The floor is a fifth of the credits.
    coverage_percent = 90 if is_short(place) else 200
    credit = Money(closing.minor_units * 500 // coverage_percent, closing.currency)
    entry = Entry(account_no=number, booked_on=last, amount=credit, bank_ref=f"B{place}")
    return Statement(
        account_no=number, currency=closing.currency, kind=StatementKind.END_OF_DAY, number="1",
        opening=closing - credit, opening_on=opened_on, closing=closing, closing_on=last,
        covers_from=opened_on, covers_to=last, entries=(entry,), where="bench",
    )


@contextmanager
def bank_beside(size: int) -> Iterator[str]:
    """The bank in a process of its own, its pages written in advance; yields its base URL."""
    command = [sys.executable, "-m", "tests.bench.stage", "bank", str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(timeout=30)


def be_the_bank(size: int) -> None:
    """Serve until standard input ends."""
    district = one_bank(size)
    with SandboxBanks(district=district, clock=FixedClock(AT + timedelta(minutes=1))) as banks:
        banks.desk.render_pages(BANK, at=AT)
        print(banks.base_url(BANK), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bank", size]:
            be_the_bank(int(size))
        case ["register", size, folder, at, state]:
            as_the_program()
            register(int(size), Path(folder), datetime.fromisoformat(at), checked=state == "checked")
