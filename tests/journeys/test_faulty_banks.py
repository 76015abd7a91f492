"""Through a proxy that does what networks and front-end machines do: no reading is wrong, and every gap is visible.

Two banks, four sweeps a day. For some days each sweep meets faults drawn by a seed; then the banks are honest again.

    wire      latency, reset, slow close, flipped bytes (below TLS, which finds them)
    machine   a page given twice, pages in another order, an answer of hours ago, ids changed
    clock     the bank's clock runs late or ahead
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.coverage import coverage
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.bulk import run
from escrow_monitor.records.positions import checked_accounts
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.district import District, last_closed_day, replay_district
from escrow_monitor.settings import load_settings
from escrow_monitor.wiring import App, assembled
from tests.fault_proxy import Answered, Asked, FaultProxy, WireFault

BANKS = ("yandu", "fuxi")
BEGINS = datetime(2026, 10, 13, 1, 4, tzinfo=UTC)  # a Tuesday, 09:04 in Shanghai, when every bank of the story is well
SWEEPS_A_DAY = 4
FAULTY_DAYS = 6
HONEST_DAYS = 3
PAGE = 3
"""Accounts a page: small enough that the few accounts of the district need several."""
SKEWS = (timedelta(), timedelta(minutes=-12), timedelta(minutes=3), timedelta(minutes=25), timedelta(hours=26))

pytestmark = pytest.mark.slow


@dataclass
class Clock:
    """Stands where the journey put it, or beside it."""

    at: datetime = BEGINS
    skew: timedelta = timedelta()

    def now(self) -> datetime:
        return self.at + self.skew


@dataclass
class Machine:
    """A front-end machine with moods, drawn for each sweep; `moods` counts the answers that it altered."""

    chance: random.Random
    honest: bool = False
    mood: str = "honest"
    moods: Counter[str] = field(default_factory=Counter)
    _kept: dict[str, Answered] = field(default_factory=dict)
    _page: Answered | None = None

    def turns(self) -> None:
        """Take the mood of the next sweep."""
        choices = ("honest", "twice", "order", "stale", "ids")
        self.mood = "honest" if self.honest else self.chance.choice(choices)
        self._page = None

    async def __call__(self, asked: Asked, ask: Callable[[str], Awaitable[Answered]]) -> Answered:
        paged = asked.target if "withBalance=true" not in asked.target or "transactions" in asked.target else (
            asked.target if "itemsPerPage" in asked.target else f"{asked.target}&itemsPerPage={PAGE}"
        )
        answered = await ask(paged)
        before = self._kept.setdefault(asked.target.partition("dateFrom")[0], answered)
        match self.mood:
            case "stale" if before is not answered and self.chance.random() < 0.5:
                self.moods["stale"] += 1
                return before
            case "ids":
                return self._altered(answered, self._renamed)
            case "order":
                return self._altered(answered, self._shuffled)
            case "twice":
                page, self._page = self._page, answered
                if page is not None and b'"accounts"' in page.body:
                    return self._altered(answered, lambda document: self._doubled(document, page))
        return answered

    def _altered(self, answered: Answered, alter: Callable[[dict[str, object]], bool]) -> Answered:
        document = json.loads(answered.body)
        if alter(document):
            self.moods[self.mood] += 1
        return replace(answered, body=json.dumps(document, ensure_ascii=False).encode())

    def _renamed(self, document: dict[str, object]) -> bool:
        """Transactions get new ids at each asking; two accounts of a page exchange their resource ids."""
        transactions = document.get("transactions")
        if isinstance(transactions, dict):
            for entry in transactions["booked"]:
                if "transactionId" in entry:
                    entry["transactionId"] += f"-{self.chance.randrange(10**6)}"
        accounts = document.get("accounts")
        if isinstance(accounts, list) and len(accounts) > 1:
            one, other = self.chance.sample(accounts, 2)
            one["resourceId"], other["resourceId"] = other["resourceId"], one["resourceId"]
        return bool(transactions or accounts)

    def _shuffled(self, document: dict[str, object]) -> bool:
        accounts = document.get("accounts")
        if isinstance(accounts, list):
            self.chance.shuffle(accounts)
        return isinstance(accounts, list)

    def _doubled(self, document: dict[str, object], page: Answered) -> bool:
        """The accounts of the page before, with this page's link: those of this page are never named."""
        document["accounts"] = json.loads(page.body)["accounts"]
        return True


@dataclass
class Town:
    """The program, its two banks behind proxies, and the truth of the district."""

    app: App
    district: District
    clock: Clock
    bank_clock: Clock
    chance: random.Random
    proxies: dict[str, FaultProxy]
    machines: dict[str, Machine]
    wires: dict[str, WireFault] = field(default_factory=dict)
    sweeps: int = 0

    def sweep(self, *, faulty: bool) -> None:
        """Every bank once, then the rules."""
        self.bank_clock.at = self.clock.at
        self.bank_clock.skew = self.chance.choice(SKEWS) if faulty and self.chance.random() < 0.4 else timedelta()
        for bank in BANKS:
            self.wires[bank] = self.chance.choice(list(WireFault)) if faulty else WireFault.NONE
            self.machines[bank].honest = not faulty
            self.machines[bank].turns()
            self.app.perform("pull-balances", bank, self.clock.at)
            # The connections of one sweep are not those of the next: each meets the wire anew.
            self.app.connector(bank).close()
        self.app.perform("check-balances", "all", self.clock.at)
        self.sweeps += 1

    def pulls(self) -> Counter[str]:
        """Rows of answers and silences by account."""
        with self.app.database.read() as session:
            rows = run(session, "SELECT account_no, count(*) FROM pulls GROUP BY account_no").all()
        return Counter(dict(rows))

    def readings(self) -> Iterator[Reading]:
        """Everything that was taken of anybody."""
        with self.app.database.read() as session:
            for account in self.accounts:
                yield from readings(session, account, limit=10_000)

    @property
    def accounts(self) -> list[str]:
        """The numbers of all accounts at the two banks."""
        return [self.district.account_no(place) for bank in BANKS for place in self.district.places_at(bank)]

    def true_intraday(self, reading: Reading) -> bool:
        """Whether the bank had that balance at that time, by its own clock as it may have run."""
        return any(
            reading.amount == self.district.balance_at(reading.account_no, reading.as_of + skew) for skew in SKEWS[:3]
        )


@pytest.fixture(params=[20261122, 4711])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    chance = random.Random(request.param)
    district = replay_district(seed=7, today=date(2026, 11, 22), institutions=26)
    clock, bank_clock = Clock(), Clock()
    machines = {bank: Machine(chance) for bank in BANKS}
    wires: dict[str, WireFault] = {}
    with SandboxBanks(district=district, clock=bank_clock) as banks:
        proxies = {
            bank: FaultProxy(
                upstream=banks.url, folder=_made(tmp_path / bank), machine=machines[bank],
                wire=lambda number, bank=bank: wires.get(bank, WireFault.NONE),  # type: ignore[misc]
            )
            for bank in BANKS
        }
        with proxies["yandu"], proxies["fuxi"]:
            config = tmp_path / "escrow-monitor.toml"
            config.write_text(_configuration(banks, proxies), encoding="utf-8")
            with assembled(load_settings(config, {}), clock=clock) as app:
                app.database.upgrade()
                with app.database.write() as session:
                    save_institutions(session, district.institutions(), now=BEGINS)
                    accounts = [one for one in district.accounts() if one.bank in BANKS]
                    save_accounts(session, accounts, now=BEGINS)
                yield Town(app, district, clock, bank_clock, chance, proxies, machines, wires)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _configuration(banks: SandboxBanks, proxies: dict[str, FaultProxy]) -> str:
    lines = ["[policies]", "examples = true"]
    for bank in BANKS:
        settings = {
            **banks.settings(bank), "base_url": f"{proxies[bank].url}/{bank}", "ca_file": str(proxies[bank].ca_file),
            "timeout_seconds": 3, "retries": 1, "circuit_open_seconds": 1, "concurrency": 4,
        }
        lines += [f"[banks.{bank}]", *(f"{name} = {json.dumps(value)}" for name, value in settings.items())]
    return "\n".join(lines) + "\n"


def test_no_reading_is_wrong_and_every_gap_is_visible(town: Town) -> None:
    for day in range(FAULTY_DAYS + HONEST_DAYS):
        for number in range(SWEEPS_A_DAY):
            town.clock.at = BEGINS + timedelta(days=day, hours=3 * number)
            town.sweep(faulty=day < FAULTY_DAYS)

    altered = sum((machine.moods for machine in town.machines.values()), Counter())
    assert set(altered) == {"twice", "order", "stale", "ids"}, "a fault that never struck proves nothing"
    struck = sum((proxy.faults for proxy in town.proxies.values()), Counter())
    assert set(struck) == set(WireFault)

    assert town.pulls() == Counter(dict.fromkeys(town.accounts, town.sweeps)), "an answer or a silence each sweep"
    _readings_are_true(town)
    _days_are_true(town)
    _all_is_known_again(town)


def _readings_are_true(town: Town) -> None:
    wrong = []
    for reading in town.readings():
        if reading.kind is BalanceKind.BOOKED_CLOSING:
            true = reading.amount == town.district.balance(reading.account_no, reading.on)
        else:
            true = town.true_intraday(reading)
        if not true:
            wrong.append(reading)
    assert wrong == []


def _days_are_true(town: Town) -> None:
    with town.app.database.read() as session:
        rows = run(session, "SELECT account_no, day, opening_fen, closing_fen FROM account_days WHERE covered").all()
    assert rows
    for account_no, day, opening_fen, closing_fen in rows:
        on = date.fromisoformat(day)
        assert opening_fen == town.district.opening(account_no, on).minor_units
        assert closing_fen == town.district.balance(account_no, on).minor_units


def _all_is_known_again(town: Town) -> None:
    """The banks have been honest for days: nothing is missing any more, and nothing that was missing is forgotten."""
    closed = last_closed_day(town.clock.at.astimezone(ZONE))
    with town.app.database.read() as session:
        covered = coverage(session)
        standing = checked_accounts(session, limit=None)
    assert {one.covered_to for one in covered} == {closed}
    assert [one for one in covered if one.gap_count] == []
    for one in standing:
        number = one.account.account_no
        assert one.closing.amount == town.district.balance(number, closed)  # type: ignore[union-attr]
        assert one.booked.amount == town.district.balance_at(number, town.clock.at)  # type: ignore[union-attr]
