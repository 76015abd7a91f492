"""What families are owed is part of the floor: by day, by lesson, across the accounts of an institution."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind, Purpose, Reading
from escrow_monitor.domain.contracts import Charge, Contract, Lesson, LessonStatus, Refund
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.pulls import PullRecord, record_pulls
from escrow_monitor.records.bulk import from_json
from escrow_monitor.records.bulk import run as query
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.laws import law_version
from escrow_monitor.records.contracts.lessons import save_lessons
from escrow_monitor.records.contracts.refunds import save_refunds
from escrow_monitor.records.contracts.sums import day_of_sums, kept_up, recompute
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.contract_days import bring_to_today
from escrow_monitor.rounds.report import Report
from escrow_monitor.rounds.signals import Patience
from tests.rounds.test_quiet_accounts import ACCOUNTS, FIXED, ZONE, World, begun, concluded, kept, pack, told
from tests.rounds.test_quiet_accounts import INSTITUTIONS as SCHOOLS

FRI = date(2026, 11, 20)
MON = FRI + timedelta(days=3)
SCHOOL = Institution(uscc="91460100MA5RC0001X", name="海口示例艺术学校", district="460100")
ESCROW = Account(account_no="6222001", bank="northbank", connector="berlin_group", currency="CNY", uscc=SCHOOL.uscc)
SECOND = replace(ESCROW, account_no="6222002", bank="southbank")
CONTRACT = Contract(
    contract_no="HT-1", uscc=SCHOOL.uscc, student_ref="S-1", course="钢琴", fee=Money(4800_00, "CNY"), lessons_paid=48,
    signed_on=date(2026, 9, 1), starts_on=date(2026, 9, 5),
)


class House:
    """A database with one institution that owes a family 4,800.00 under a law that wants all of it to be there."""

    def __init__(self, database: Database, *accounts: Account) -> None:
        self.database = database
        self.policies = load_policies()
        with database.write() as session:
            save_institutions(session, [SCHOOL], now=at(FRI))
            save_accounts(session, accounts, now=at(FRI))
        self.record(FRI, contracts=[CONTRACT], charges=[charge("JF-1", 4800_00)])

    def record(self, on: date, **rows: Any) -> None:
        """Contracts, charges, lessons and refunds, as a file of that day would bring them."""
        with self.database.write() as session, kept_up(session, on=on):
            save_contracts(session, rows.get("contracts", ()), now=at(on))
            save_charges(session, rows.get("charges", ()), now=at(on))
            save_lessons(session, rows.get("lessons", ()), now=at(on))
            save_refunds(session, rows.get("refunds", {}), now=at(on))

    def stated(self, account: Account, fen: int, on: date, now: datetime, **changes: Any) -> None:
        """A final closing balance of a day, heard of at `now`."""
        reading = Reading(
            account_no=account.account_no, kind=BalanceKind.BOOKED_CLOSING, amount=Money(fen, "CNY"), on=on,
            as_of=at(on, 23), fetched_at=now, final=True, source="t", raw_sha256="ab" * 32,
        )._replace(**changes.pop("reading", {}))
        with self.database.write() as session:
            record_pulls(session, [PullRecord(
                account_no=account.account_no, bank=account.bank, readings=(reading,), started_at=now, finished_at=now,
                **changes,
            )], scheduled_at=now, now=now, zone=ZONE)

    def check(self, now: datetime, **chosen: Any) -> Report:
        return check_balances(
            database=self.database, policies=self.policies, channels=("log",), patience=Patience(), scheduled_at=now,
            now=now, **chosen,
        )

    def floor(self, account: Account = ESCROW) -> tuple[int | None, str, str | None, str]:
        """The floor of an account, how it stands, the level, and what the rule says of it."""
        with self.database.read() as session:
            required, standing, level, findings = query(
                session, "SELECT required_fen, standing, level, findings FROM account_standings"
                " WHERE account_no = :account_no", account_no=account.account_no,
            ).one()
        why = [one["why_en"] for one in from_json(findings) if one["rule"] == "floor"]
        return required, standing, level, why[0] if why else ""

    def open_floors(self) -> set[str]:
        with self.database.read() as session:
            return {subject for (subject,) in query(
                session, "SELECT subject FROM alerts WHERE rule = 'floor' AND status = 'open'"
            )}


def at(day: date, hour: int = 14) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=ZONE).astimezone(UTC)


def charge(number: str, fen: int, on: date = date(2026, 9, 1), contract_no: str = "HT-1") -> Charge:
    return Charge(charge_no=number, contract_no=contract_no, paid_on=on, amount=Money(fen, "CNY"))


def lesson(number: int, on: date, status: LessonStatus = LessonStatus.CONFIRMED) -> Lesson:
    return Lesson(
        contract_no="HT-1", session_no=number, status=status, taught_on=on, requested_on=on,
        decided_on=on if status is LessonStatus.CONFIRMED else None,
    )


@pytest.fixture
def house(database: Database) -> Callable[..., House]:
    return lambda *accounts: House(database, *accounts)


def test_a_balance_below_what_families_are_owed_is_red_and_says_so_and_a_lesson_lowers_the_floor(
    house: Callable[..., House],
) -> None:
    one = house(ESCROW)
    one.stated(ESCROW, 3500_00, FRI, at(MON, 9))
    one.check(at(MON, 10))
    required, standing, level, why = one.floor()
    assert (required, standing, level) == (4800_00, "breached", "red")
    assert "the floor is 4800.00 CNY" in why
    assert one.open_floors() == {"account:6222001"}

    one.record(MON, lessons=[lesson(number, FRI) for number in range(1, 14)])
    assert one.check(at(MON, 11)).counts["accounts"] == 1, "its balance did not move, what it owes did"
    assert one.floor()[:3] == (3500_00, "met", "yellow")
    assert one.check(at(MON, 12)).counts["accounts"] == 0


def test_what_begins_to_count_with_the_day_makes_the_account_due(house: Callable[..., House]) -> None:
    one = house(ESCROW)
    one.record(FRI, lessons=[lesson(number, MON) for number in range(1, 14)])
    one.stated(ESCROW, 9000_00, FRI, at(FRI, 23))
    one.check(at(FRI, 23))
    assert one.floor()[0] == 4800_00
    one.check(at(MON, 1))
    assert one.floor()[0] == 3500_00
    with one.database.read() as session:
        assert day_of_sums(session) == MON


def test_silence_confirms_lessons_by_the_law_of_the_day(house: Callable[..., House]) -> None:
    """Asked on Friday 30 October; the fifteenth working day after is Friday 20 November."""
    one = house(ESCROW)
    asked = date(2026, 10, 30)
    one.record(FRI, lessons=[lesson(number, asked, LessonStatus.REQUESTED) for number in range(1, 14)])
    one.stated(ESCROW, 9000_00, FRI, at(FRI, 23))
    one.check(at(FRI, 23))
    assert one.floor()[0] == 4800_00
    one.check(at(FRI + timedelta(days=1), 1))
    assert one.floor()[0] == 3500_00


def test_what_was_paid_after_the_day_of_the_balance_is_not_missed_in_it(house: Callable[..., House]) -> None:
    one = house(ESCROW)
    one.record(MON, charges=[charge("JF-2", 1000_00, MON), charge("JF-3", 1_00, FRI)])
    one.stated(ESCROW, 4801_00, FRI, at(MON, 9))
    one.check(at(MON, 10))
    assert one.floor()[:2] == (4801_00, "met")
    one.stated(ESCROW, 4801_00, MON, at(MON, 23))
    one.check(at(MON, 23))
    assert one.floor()[:2] == (5801_00, "breached")


def test_two_accounts_share_what_is_owed_and_what_one_does_the_other_hears(house: Callable[..., House]) -> None:
    one = house(ESCROW, SECOND)
    one.stated(ESCROW, 3000_00, FRI, at(MON, 9))
    one.check(at(MON, 10))
    assert one.floor()[:2] == (None, "unknown"), "what the other holds nobody knows"
    one.stated(SECOND, 1000_00, FRI, at(MON, 10))
    one.check(at(MON, 11))
    assert (one.floor()[0], one.floor(SECOND)[0]) == (3800_00, 1800_00)
    assert one.open_floors() == {"account:6222001", "account:6222002"}
    assert "3000.00" not in one.floor()[3].split("pay in")[1]

    one.stated(SECOND, 2500_00, FRI, at(MON, 12))
    assert one.check(at(MON, 13), account_nos=[SECOND.account_no]).counts["accounts"] == 2
    assert one.open_floors() == set(), "the first has not moved, and is well again"
    assert (one.floor()[0], one.floor(SECOND)[0]) == (2300_00, 1800_00)

    # On Tuesday at noon Monday's closing is due: of the second there is none.
    tuesday = MON + timedelta(days=1)
    one.stated(ESCROW, 3000_00, MON, at(tuesday, 9))
    one.check(at(tuesday, 13))
    assert one.floor()[:2] == (None, "unknown")
    # The bank says it is closed, so nothing is in it.
    one.stated(SECOND, 2500_00, FRI, at(tuesday, 13), account_status=AccountStatus.CLOSED)
    one.check(at(tuesday, 14))
    assert one.floor()[0] == 4800_00


def test_an_account_far_above_its_own_floor_is_looked_at_where_another_counts_on_it(
    house: Callable[..., House],
) -> None:
    deposit = replace(SECOND, purpose=Purpose.DEPOSIT)
    one = house(ESCROW, deposit)
    one.policies = PolicyBook([
        each for each in load_policies().packs.values() if each.id != "cn-460000"
    ] + [pack("460100", {"kind": "full_liability", "applies": {"purposes": ["escrow"]}}, FIXED)])
    day = {"kind": BalanceKind.BOOKED_INTRADAY, "on": MON, "final": False}
    one.stated(ESCROW, 3000_00, MON, at(MON, 9), reading=day)
    one.stated(deposit, 5000_00, FRI, at(MON, 8))
    for hour, fen, floor in ((9, 5000_00, 200_00), (11, 1000_00, 3800_00), (13, 2500_00, 2300_00)):
        one.stated(deposit, fen, MON, at(MON, hour), reading={**day, "as_of": at(MON, hour)})
        one.check(at(MON, hour + 1))
        assert one.floor()[0] == floor
        assert one.floor(deposit)[:2] == (200_00, "met")


@pytest.mark.parametrize(
    ("held_on", "floor"), [(None, 3800_00), (FRI - timedelta(days=1), None), (FRI, 4000_00)],
)
def test_what_is_held_in_another_account_does_not_count(
    house: Callable[..., House], held_on: date | None, floor: int | None
) -> None:
    one = house(ESCROW, SECOND)
    one.stated(ESCROW, 3000_00, FRI, at(MON, 9))
    if held_on is not None:
        one.stated(SECOND, 200_00, held_on, at(MON, 8), reading={"kind": BalanceKind.HELD})
    one.stated(SECOND, 1000_00, FRI, at(MON, 9))
    one.check(at(MON, 10))
    assert one.floor()[0] == floor


def test_an_overdrawn_account_takes_nothing_from_families(house: Callable[..., House]) -> None:
    one = house(ESCROW, SECOND)
    one.stated(ESCROW, 5000_00, FRI, at(MON, 9))
    one.stated(SECOND, -1000_00, FRI, at(MON, 9))
    one.check(at(MON, 10))
    assert one.floor()[0] == 4800_00


def test_other_clauses_find_their_sums_and_so_do_those_of_another_place(database: Database) -> None:
    one = House(database, ESCROW)
    law = [
        *load_policies().packs.values(),
        pack("460200", {"kind": "schedule", "parts": [30, 30, 40]}),
        pack("460300", {"kind": "period_fees", "months": 3}),
        pack("460400", {"kind": "ratio_window", "ratio": "0.20", "months": 3, "of": "charges"}),
    ]
    one.policies = PolicyBook([each for each in law if each.id != "cn-460000"])
    one.record(FRI, contracts=[replace(CONTRACT, ends_on=date(2027, 9, 4))])
    one.stated(ESCROW, 9000_00, FRI, at(MON, 9))
    floors = {}
    for district in ("460200", "460300", "460400"):
        with database.write() as session:
            save_institutions(session, [replace(SCHOOL, district=district)], now=at(MON, 9))
        one.check(at(MON, 10))
        floors[district] = one.floor()[0]
    # From 5 September two months have passed; 91 of 365 days; a fifth of what was charged from September on.
    assert floors == {"460200": 0, "460300": 1196_71, "460400": 960_00}


def test_nothing_is_asked_of_a_house_without_contracts_or_on_a_day_that_is_there(database: Database) -> None:
    policies = load_policies()
    bring_to_today(database, policies=policies, now=at(FRI))
    with database.read() as session:
        assert (day_of_sums(session), law_version(session)) == (None, None)
    one = House(database, ESCROW)
    bring_to_today(database, policies=policies, now=at(MON))
    version = current(database)
    assert version is not None
    bring_to_today(database, policies=policies, now=at(MON, 20))
    bring_to_today(database, policies=policies, now=at(FRI))
    assert current(database) == version
    with database.read() as session:
        assert day_of_sums(session) == MON, "days do not go back"
    assert one.check(at(MON, 21)).counts["accounts"] == 1


def current(database: Database) -> str | None:
    with database.read() as session:
        return law_version(session)


# Whatever happens, looking at all accounts finds nothing that looking at those that are due has missed.

LAW: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "440300": (FIXED,),
    # What lies in the deposit counts, but its own floor is another.
    "440500": ({"kind": "full_liability", "applies": {"purposes": ["escrow"]}}, FIXED),
    "440600": ({"kind": "schedule", "parts": [30, 30, 40]}, {"kind": "period_fees", "months": 1}),
}


class Families:
    """Contracts, charges, lessons and refunds at random, for some of the institutions of the world."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.contracts = [
            replace(
                CONTRACT, contract_no=f"HT-{n}", uscc=SCHOOLS[n % 4 + 1].uscc, fee=Money(9600_00, "CNY"),
                starts_on=date(2026, 9, 25) + timedelta(days=n * 9),
                ends_on=date(2026, 11, 27) + timedelta(days=n * 30),
            )
            for n in range(8)
        ]
        self.count = 0

    def happens(self, world: World) -> Callable[[Database], None]:
        chance, today = self.chance, world.now.astimezone(ZONE).date()
        self.count += 1
        contract = chance.choice(self.contracts)
        days = [today + timedelta(days=chance.choice((-3, 0, 0, 1))) for _ in range(3)]
        paid = [charge(f"JF-{self.count}", chance.choice((1_00, 2400_00)), days[0], contract.contract_no)]
        taught = [replace(lesson(self.count, days[1]), contract_no=contract.contract_no)]
        gone = {f"M-{self.count}": Refund(
            contract_no=contract.contract_no, paid_on=days[2], amount=Money(chance.choice((1_00, 100_00)), "CNY")
        )}
        what = chance.randrange(6)

        def record(database: Database) -> None:
            with database.write() as session, kept_up(session, on=today):
                save_contracts(session, self.contracts if self.count == 2 else [contract], now=world.now)
                save_charges(session, paid if what < 3 else (), now=world.now)
                save_lessons(session, taught if what in (1, 3, 4) else (), now=world.now)
                save_refunds(session, gone if what == 5 else {}, now=world.now)

        return record


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 15))])
def test_looking_at_everything_afterwards_finds_nothing_else(database: Database, seed: int) -> None:
    world, families = World(seed), Families(seed)
    policies = PolicyBook([
        *load_policies().packs.values(), *(pack(place, *clauses) for place, clauses in LAW.items()),
    ])

    def check(**chosen: Any) -> Report:
        return check_balances(
            database=database, policies=policies, channels=("log",), patience=Patience(), scheduled_at=world.now,
            now=world.now, **chosen,
        )

    begun(database, world)
    with database.write() as session:
        save_accounts(session, [replace(ACCOUNTS[8], purpose=Purpose.DEPOSIT)], now=world.now)
    spoken = 0
    for _ in range(25):
        world.later()
        told(database, world, world.pulls(), world.registered_anew())
        if families.chance.random() < 0.6:
            families.happens(world)(database)
        quick = check()
        spoken += quick.counts["transitions"]
        before = kept(database)
        every = check(everything=True)
        assert every.counts["transitions"] == 0
        assert concluded(kept(database)) == concluded(before), f"at {world.now}"
    assert spoken > 10
    with database.write() as session:
        assert recompute(session, world.now.astimezone(ZONE).date()) == ()
