"""What the benches set up before the clock starts: a district at one bank, its records, and the bank beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement, StatementKind
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.database import Database
from escrow_monitor.records.statements import record_statements
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.district import District, last_closed_day, replay_district
from tests.bench.measure import Stopwatch

AT = datetime(2026, 11, 19, 7, 0, tzinfo=UTC)
BANK = "yandu"
OPENED_ON = date(2026, 11, 12)
"""Accounts this young need no entries of the months before: setting up takes no longer than what is measured."""
CHUNK = 10_000


def one_bank(size: int) -> District:
    """A district of `size` accounts, all at one bank with a batch call."""
    return replace(replay_district(seed=1, today=date(2026, 11, 22), institutions=size), only_bank=BANK)


def registered(watch: Stopwatch, district: District, *, covered: bool = True) -> Database:
    """A current SQLite database with all accounts and, if `covered`, statements up to the last closed day."""
    database = Database(f"sqlite:///{watch.folder / 'bench.db'}")
    database.upgrade()
    with database.write() as session:
        save_institutions(session, district.institutions(), now=AT)
        save_accounts(session, (replace(account, opened_on=OPENED_ON) for account in district.accounts()), now=AT)
    if covered:
        statements = (covering(district, place) for place in range(district.institution_count))
        while batch := list(islice(statements, CHUNK)):
            with database.write() as session:
                refusals = record_statements(session, batch, source="bench", raw_sha256="0" * 64, now=AT)
            if refusals:
                raise RuntimeError(str(refusals[0]))
    return database


def covering(district: District, place: int) -> Statement:
    """One statement since the opening, with a single payment, closing as the district closes: cheap and complete."""
    number, last = district.account_no(place), last_closed_day(AT)
    closing = district.balance(number, last)
    # The floor is a fifth of the credits: one account in fifty is below it.
    coverage_percent = 90 if place % 50 == 0 else 200
    credit = Money(closing.minor_units * 500 // coverage_percent, closing.currency)
    entry = Entry(account_no=number, booked_on=last, amount=credit, bank_ref=f"B{place}")
    return Statement(
        account_no=number, currency=closing.currency, kind=StatementKind.END_OF_DAY, number="1",
        opening=closing - credit, opening_on=OPENED_ON, closing=closing, closing_on=last,
        covers_from=OPENED_ON, covers_to=last, entries=(entry,), where="bench",
    )


@contextmanager
def bank_beside(size: int) -> Iterator[str]:
    """The bank in a process of its own, its pages written in advance; yields its base URL."""
    command = [sys.executable, "-m", "tests.bench.stage", str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(timeout=30)


def main(size: int) -> None:
    """Be the bank until standard input ends."""
    district = one_bank(size)
    with SandboxBanks(district=district, clock=FixedClock(AT + timedelta(minutes=1))) as banks:
        banks.desk.render_pages(BANK, at=AT)
        print(banks.base_url(BANK), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
