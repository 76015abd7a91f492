"""What is brought up to date without being looked at must be just what looking at it would have said."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind, Mode, Purpose, Reading
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import Pack, PolicyBook, parse_pack
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.pulls import PullRecord, record_pulls
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.records.positions import pass_quiet
from escrow_monitor.rounds.check_balances import check_balances, find_gaps
from escrow_monitor.rounds.report import Report
from escrow_monitor.rounds.signals import Patience
from tests.postgres import new_database
from tests.records.conftest import statement_of

ZONE = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
OPENED = date(2026, 11, 23)
THU = date(2026, 11, 26)
DISTRICTS = ("510300", "371082", "440300", "440500", "440600")
"""A window of credits; no floor; a fixed one; one that caps what leaves; one that counts the hours of a balance."""

FIXED = {"kind": "fixed", "amount": "200.00"}
CAP = {"kind": "outflow_cap", "times": "1.50", "level": "orange"}
HOURS = {"kind": "freshness", "final_by": "12:00", "intraday_hours_max": 4}


def pack(jurisdiction: str, *clauses: Mapping[str, object]) -> Pack:
    law = [
        {
            "id": f"t-{jurisdiction}/{one['kind']}", "title": "条款", "title_en": "a clause", "verified": True,
            "effective_from": date(2020, 1, 1), "source": {"title": "某办法", "found": "F"}, **one,
        }
        for one in clauses
    ]
    head = {"id": f"t-{jurisdiction}", "title": "测试", "title_en": "test", "jurisdiction": jurisdiction}
    return parse_pack({**head, "clause": law}, where="t.toml")


INSTITUTIONS = tuple(
    Institution(uscc=f"9151030000000000{n}", name=f"第{n}艺术培训学校", district=district)
    for n, district in enumerate(DISTRICTS)
)
ACCOUNTS = tuple(
    Account(
        account_no=f"62220{n:02d}", bank="northbank", connector="berlin_group", currency="CNY",
        uscc=INSTITUTIONS[n % len(DISTRICTS)].uscc, opened_on=OPENED, mode=Mode.FLOOR,
        purpose=Purpose.SETTLEMENT if n % 7 == 6 else Purpose.ESCROW,
    )
    for n in range(15)
)
NUMBERS = tuple(account.account_no for account in ACCOUNTS)
AMOUNTS = (50_00, 199_99, 200_00, 204_00, 219_99, 220_00, 223_99, 224_00, 225_00, 500_00, 1000_00, 2000_00)
"""Around a floor of 200.00, its colours and their margins."""


@pytest.fixture
def twin(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Another database of the same kind."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "twin.db")
        database = Database(f"sqlite:///{tmp_path / 'twin.db'}")
        yield database
        database.close()
        return
    server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_template")
    with new_database(server, f"twin_{id(request)}", template=template) as url:
        database = Database(url)
        yield database
        database.close()


@pytest.fixture
def policies() -> PolicyBook:
    return PolicyBook([
        *load_policies().packs.values(), pack("440300", FIXED), pack("440500", FIXED, CAP),
        pack("440600", FIXED, HOURS),
    ])


class World:
    """What happens to a few accounts, drawn from a seed: told to every database alike."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = datetime.combine(THU, time(9), ZONE).astimezone(UTC)
        self.closings = dict.fromkeys(NUMBERS, 1000_00)
        self.covered = dict.fromkeys(NUMBERS, THU - timedelta(days=1))
        self.last: dict[str, int] = {}

    def beginning(self) -> list[Statement]:
        """One statement of each account since it was opened: the floor of a fifth of its credits is 200.00."""
        return [
            statement_of(OPENED, 0, 1000_00, account=account, to=THU - timedelta(days=1)) for account in ACCOUNTS
        ]

    def later(self) -> None:
        soon = (*[timedelta(minutes=10)] * 4, *[HOUR] * 8)
        self.now += self.chance.choice((*soon, 2 * HOUR, 3 * HOUR, 7 * HOUR, 20 * HOUR))

    def pulls(self) -> list[PullRecord]:
        return [self._pull(account) for account in ACCOUNTS if self.chance.random() < 0.8]

    def registered_anew(self) -> list[Account]:
        if self.chance.random() < 0.85:
            return []
        return [replace(self.chance.choice(ACCOUNTS), external_id=f"ext-{self.chance.random()}")]

    def _pull(self, account: Account) -> PullRecord:
        chance, at = self.chance, self.now - timedelta(seconds=self.chance.randrange(600))
        asked = {"account_no": account.account_no, "bank": account.bank, "started_at": at, "finished_at": at}
        if chance.random() < 0.03:
            refusal = Refusal(reason=RefusalReason.TIMEOUT, where="/", field=None, detail="no answer")
            return PullRecord(refusal=refusal, **asked)  # type: ignore[arg-type]
        status = AccountStatus.FROZEN if chance.random() < 0.01 else AccountStatus.ACTIVE
        fen = chance.choice(AMOUNTS) if chance.random() < 0.2 else chance.choice((1000_00, 1001_00, 2000_00))
        given = [self._reading(account, BalanceKind.BOOKED_INTRADAY, fen, at)]
        if chance.random() < 0.5:
            given.append(self._reading(account, BalanceKind.AVAILABLE, fen - 1, at))
        if chance.random() < 0.04:
            given.append(self._reading(account, BalanceKind.HELD, chance.choice((0, 0, 100_00)), at))
        if chance.random() < 0.04:
            given = [self._reading(account, BalanceKind.BOOKED_CLOSING, fen, at)]
        told: tuple[Statement, ...] = ()
        if chance.random() < 0.3:
            told = self._statement(account)
        if chance.random() < 0.05:
            # A closing stated apart, right or wrong.
            day = self.covered[account.account_no]
            wrong = chance.choice((0, 0, 1))
            given.append(self._reading(
                account, BalanceKind.BOOKED_CLOSING, self.closings[account.account_no] + wrong,
                datetime.combine(day, time(23, 59, 59), ZONE), final=True,
            ))
        return PullRecord(readings=tuple(given), statements=told, account_status=status, **asked)  # type: ignore[arg-type]

    def _statement(self, account: Account) -> tuple[Statement, ...]:
        number, chance = account.account_no, self.chance
        day = self.covered[number] + timedelta(days=chance.choice((1, 1, 1, 2)))
        if day >= self.now.astimezone(ZONE).date():
            return ()
        amounts = [chance.choice((10_00, 500_00, -50_00, -600_00)) for _ in range(chance.randrange(3))]
        opening = self.closings[number]
        self.covered[number], self.closings[number] = day, opening + sum(amounts)
        return (statement_of(day, opening, *amounts, account=account),)

    def _reading(self, account: Account, kind: BalanceKind, fen: int, at: datetime, *, final: bool = False) -> Reading:
        return Reading(
            account_no=account.account_no, kind=kind, amount=Money(fen, "CNY"), on=at.astimezone(ZONE).date(),
            as_of=at, fetched_at=self.now, final=final, source="northbank", raw_sha256="ab" * 32,
        )


def told(database: Database, world: World, pulls: list[PullRecord], anew: list[Account]) -> None:
    """Record what happened at this instant of the world."""
    with database.write() as session:
        record_pulls(session, pulls, scheduled_at=world.now, now=world.now, zone=ZONE)
        if anew:
            save_accounts(session, anew, now=world.now)


def begun(database: Database, world: World) -> None:
    with database.write() as session:
        save_institutions(session, INSTITUTIONS, now=world.now)
        save_accounts(session, ACCOUNTS, now=world.now)
        assert record_statements(
            session, world.beginning(), source="northbank", raw_sha256="ab" * 32, now=world.now
        ) == []


def kept(database: Database) -> dict[str, list[dict[str, object]]]:
    """All that a check writes."""
    with database.read() as session:
        ask = session.connection().execute
        return {
            table: [dict(row) for row in ask(text(f"SELECT * FROM {table} ORDER BY 1")).mappings()]
            for table in ("account_standings", "account_states", "alerts", "feed_entries", "audit_entries")
        }


def concluded(everything: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    """The standings without the time of the check. Of those that speak, or count hours, without what only ages."""
    return [
        {
            name: cell for name, cell in row.items()
            if name != "checked_at" and (row["quiet_from_fen"] is not None or name not in ("findings", "recheck_at"))
        }
        for row in everything["account_standings"]
    ]


@pytest.fixture
def check(policies: PolicyBook) -> Callable[..., Report]:
    def check(database: Database, now: datetime, patience: Patience, **chosen: object) -> Report:
        return check_balances(
            database=database, policies=policies, channels=("log",), patience=patience, scheduled_at=now, now=now,
            **chosen,  # type: ignore[arg-type]
        )

    return check


SLOW = Patience(open_after={"floor": 2 * HOUR}, resolve_after={"floor": 3 * HOUR, "freshness": HOUR})


@pytest.mark.parametrize("patience", [Patience(), SLOW], ids=["at_once", "patient"])
@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 9))])
def test_with_and_without_looking_the_same_is_said(
    database: Database, twin: Database, policies: PolicyBook, check: Callable[..., Report], seed: int,
    patience: Patience,
) -> None:
    world, passed = World(seed), 0
    for each in (database, twin):
        begun(each, world)
    for _ in range(30):
        world.later()
        pulls, anew = world.pulls(), world.registered_anew()
        for each in (database, twin):
            told(each, world, pulls, anew)
        find_gaps(database, policies=policies, now=world.now)
        with database.write() as session:
            done, _last = pass_quiet(
                session, now=world.now, policy_version=policies.version, after="", limit=100,
                checked_since=datetime.combine(world.now.astimezone(ZONE).date(), time(), ZONE),
            )
        passed += done
        quick = check(database, world.now, patience)
        # Who is named is looked at.
        slow = check(twin, world.now, patience, account_nos=NUMBERS)
        assert slow.counts["accounts"] == quick.counts["accounts"] + done
        assert kept(database) == kept(twin), f"at {world.now}"
    assert passed > 10, "the world has quiet accounts"


@pytest.mark.parametrize("seed", range(2))
def test_looking_at_everything_afterwards_finds_nothing_else(
    database: Database, check: Callable[..., Report], seed: int
) -> None:
    world = World(100 + seed)
    begun(database, world)
    for _ in range(20):
        world.later()
        told(database, world, world.pulls(), world.registered_anew())
        quick = check(database, world.now, Patience())
        before = kept(database)
        every = check(database, world.now, Patience(), everything=True)
        after = kept(database)
        assert every.counts["transitions"] == 0
        assert concluded(after) == concluded(before)
        assert quick.counts["accounts"] <= every.counts["accounts"]


def test_the_report_counts_who_was_passed_and_progress_hears_of_all_there_was(
    database: Database, check: Callable[..., Report]
) -> None:
    world = World(1)
    begun(database, world)
    check(database, world.now, Patience())
    heard: list[tuple[int, int | None]] = []
    counts = []
    for fen in (2000_00, 2001_00, 2002_00):
        world.now += HOUR
        pulls = [
            PullRecord(
                account_no=one.account_no, bank=one.bank, started_at=world.now, finished_at=world.now,
                readings=(world._reading(one, BalanceKind.BOOKED_INTRADAY, fen, world.now),),
                account_status=AccountStatus.ACTIVE,
            )
            for one in ACCOUNTS
        ]
        told(database, world, pulls, [])
        heard.clear()
        report = check(database, world.now, Patience(), progress=lambda done, total: heard.append((done, total)))
        counts.append({name: report.counts[name] for name in ("accounts", "met", "breached", "unknown")})
    assert counts[0]["accounts"] == len(ACCOUNTS)
    assert counts[1] == counts[2] == counts[0]
    assert heard[-1] == (len(ACCOUNTS), len(ACCOUNTS))
    assert heard[0][0] > 0, "some were passed before the first was looked at"


def test_a_judgement_on_newer_facts_is_not_overwritten(
    database: Database, policies: PolicyBook, check: Callable[..., Report]
) -> None:
    world = World(1)
    begun(database, world)
    one = ACCOUNTS[0]
    for fen in (2000_00, 2001_00):
        world.now += HOUR
        reading = world._reading(one, BalanceKind.BOOKED_INTRADAY, fen, world.now)
        told(database, world, [PullRecord(
            account_no=one.account_no, bank=one.bank, readings=(reading,), started_at=world.now, finished_at=world.now,
        )], [])
        if fen == 2000_00:
            check(database, world.now, Patience())
    asked = {"now": world.now, "policy_version": policies.version, "checked_since": world.now - 5 * HOUR, "limit": 3}
    with database.write() as session:
        assert pass_quiet(session, after=one.account_no, **asked)[0] == 0, "only those after it"  # type: ignore[arg-type]
    with database.write() as session:
        assert pass_quiet(session, after="", **{**asked, "policy_version": "2"})[0] == 0  # type: ignore[arg-type]
    with database.write() as session:
        assert pass_quiet(session, after="", **asked) == (1, ACCOUNTS[2].account_no)  # type: ignore[arg-type]
    with database.write() as session:
        assert pass_quiet(session, after="", **asked)[0] == 0, "a second time there is nothing to move"  # type: ignore[arg-type]
