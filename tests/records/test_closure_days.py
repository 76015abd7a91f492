"""The days of institutions: what is kept of them is what the rows say, whatever comes late, and is the city's own."""

from __future__ import annotations

import random as chance
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import Mode, Purpose
from escrow_monitor.domain.clauses import DeemedFrom
from escrow_monitor.domain.closure.series import BANK, COLUMNS, LICENCE_UNKNOWN, NOTICES, PLATFORM, Series
from escrow_monitor.domain.contract_law import ContractLaw, SilenceClock
from escrow_monitor.domain.contracts import Charge, Contract, DeadlineUnit, GiftPolicy, Lesson, LessonStatus, Refund
from escrow_monitor.domain.fee_caps import PaidAtOnce, is_beyond
from escrow_monitor.domain.institutions import InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.notices import NoticeKind
from escrow_monitor.domain.statements import Statement, account_digest
from escrow_monitor.policies import load_policies
from escrow_monitor.records import complaints, notices
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.links import register_accounts
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.bulk import run
from escrow_monitor.records.closure.blobs import ROWS, pack, unpack
from escrow_monitor.records.closure.days import (
    Counts,
    DaysNotKept,
    bring_up,
    closure_series,
    peers_of,
    stored_peers,
    stored_series,
)
from escrow_monitor.records.closure.frame import NEVER
from escrow_monitor.records.contracts import charges, contracts, lessons, refund_claims
from escrow_monitor.records.contracts import laws as contract_laws
from escrow_monitor.records.contracts.refunds import remove_refunds, save_refunds
from escrow_monitor.records.contracts.sums import kept_up
from escrow_monitor.records.database import Database, Session
from escrow_monitor.rounds.reconcile import reconcile_institutions
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.courses import Ending
from escrow_monitor.sandbox.city.export import statements, write_files
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.city.series import series_of
from tests.records.conftest import ACCOUNTS, INSTITUTIONS, NOW, statement_of

FIRST, LAST = date(2026, 9, 1), date(2026, 11, 19)
SCHOOLS = [one.uscc for one in INSTITUTIONS]
BESIDE = ("arrived", "working", "custody", "licence_ends", "began")


def direct(database: Database, known_at: datetime | None = None, first: date = FIRST, last: date = LAST) -> Series:
    with database.read() as session:
        return closure_series(session, usccs=SCHOOLS, first=first, last=last, known_at=known_at)


def stored(database: Database, first: date = FIRST, last: date = LAST) -> Series:
    with database.read() as session:
        return stored_series(session, usccs=SCHOOLS, first=first, last=last)


def up(database: Database, through: date = LAST) -> Counts:
    return bring_up(database, through=through, now=NOW)


def differing(one: Series, other: Series, names: Iterable[str] = (*COLUMNS, *BESIDE)) -> list[str]:
    """The columns in which they differ."""
    return [
        name for name in names
        if not np.array_equal(
            one.values[name] if name in COLUMNS else getattr(one, name),
            other.values[name] if name in COLUMNS else getattr(other, name),
        )
    ]


def on(series: Series, name: str, day: date, row: int = 0) -> int:
    """One figure."""
    array = series.arrived if name == "arrived" else series.values[name]
    return int(array[row, series.column(day)])


def contract(number: str, uscc: str = SCHOOLS[0], signed_on: date = FIRST, **changes: object) -> Contract:
    given = Contract(
        contract_no=number, uscc=uscc, student_ref="S-1", course="钢琴", fee=Money(1000_00, "CNY"), lessons_paid=10,
        signed_on=signed_on,
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def keep(database: Database, work: Callable[[Session], object], now: datetime = NOW) -> None:
    with database.write() as session, kept_up(session, on=now.date()):
        work(session)


def state(database: Database, *stated: Statement, now: datetime = NOW, raw: str = "ab") -> list[object]:
    with database.write() as session:
        return list(record_statements(session, stated, source="folder", raw_sha256=raw * 32, now=now))


def at(day: date, hour: int = 2) -> datetime:
    """In the night after a day: its statement comes."""
    return datetime.combine(day + timedelta(days=1), time(hour), ZONE).astimezone(UTC)


# The city.


def import_city(database: Database, city: City, expected: Series, folder: Path) -> None:
    """Every file, and every statement on the day that the city says it arrives."""
    now = at(city.ends_on)
    for kind, path in write_files(city, folder).items():
        with path.open("rb") as stream:
            done = import_file(database, kind=kind, stream=stream, filename=path.name, actor="test", now=now)
        assert not done.bad, (kind, done.bad_rows)
    lives = list(city.lives())
    for day in range(int(expected.arrived.max()) + 1):
        here = [
            one for place, life in enumerate(lives)
            for one in _arriving(city, life, np.flatnonzero(expected.arrived[place] == day))
        ]
        if here:
            assert not state(database, *here, now=at(city.starts_on + timedelta(days=day)))
    reconcile_institutions(
        database=database, policies=load_policies(), channels=(), patience=Patience(), now=now, actor="test"
    )


def _arriving(city: City, life: object, columns: np.ndarray) -> list[Statement]:
    if not len(columns):
        return []
    return list(statements(city, life, first=int(columns[0]), last=int(columns[-1])))  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_imported_city_is_seen_as_the_city_says_it_is(database: Database, tmp_path: Path) -> None:
    endings = ((Ending.PROMOTION_FLIGHT, 2), (Ending.REFUND_STALLING, 1), (Ending.TAKEOVER, 1))
    city = City(
        seed=3, institutions=8, starts_on=date(2024, 3, 1), days=260,
        settings=CitySettings(closing_rate=3.0, awkward_rate=3.0, endings=endings),
    )
    expected = series_of(city)
    import_city(database, city, expected, tmp_path)
    usccs = [city.uscc(place) for place in range(city.institutions)]
    first, last = city.starts_on, city.ends_on
    with database.read() as session:
        found = closure_series(session, usccs=usccs, first=first, last=last)
        peers = peers_of(session, first=first, last=last)
    assert not differing(expected, found)
    for name in (*BANK, *PLATFORM):
        assert expected.values[name].any(), name
    assert any(expected.values[name].any() for name in NOTICES)
    assert peers.count == city.institutions
    for name in PLATFORM:
        assert np.array_equal(peers.totals[name], expected.values[name].sum(axis=0)), name
    bring_up(database, through=last, now=NOW)
    with database.read() as session:
        assert not differing(expected, stored_series(session, usccs=usccs, first=first, last=last))


# What is kept is what the rows say.


class _World:
    """Random rows of three institutions, late, changed, moved and taken back, as they come."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.random, self.number = database, chance.Random(seed), 0
        self.contracts: dict[str, Contract] = {}
        self.refunds: list[str] = []
        self.days: dict[str, list[tuple[date, int, int]]] = {one.account_no: [] for one in ACCOUNTS[:4]}
        self.now = NOW - timedelta(days=30)

    def step(self) -> None:
        """One thing happens."""
        self.now += timedelta(hours=5)
        happens = self.random.choice((
            self.sign, self.sign, self.charge, self.charge, self.teach, self.teach, self.teach, self.teach, self.claim,
            self.complain, self.notice, self.refund, self.unrefund, self.state, self.state, self.state, self.correct,
            self.register, self.move, self.law, self.change,
        ))
        happens()

    def day(self, first: date = FIRST) -> date:
        return first + timedelta(days=self.random.randrange(max(1, (LAST - first).days + 8)))

    def fresh(self, name: str) -> str:
        self.number += 1
        return f"{name}-{self.number}"

    def some(self) -> Contract:
        if not self.contracts:
            self.sign()
        return self.contracts[self.random.choice(sorted(self.contracts))]

    def sign(self) -> None:
        random, signed_on = self.random, self.day(FIRST - timedelta(days=60))
        one = contract(
            self.fresh("HT"), random.choice(SCHOOLS), signed_on, lessons_paid=random.choice((2, 3, 10, 70)),
            lessons_gift=random.choice((0, 1)), gift_policy=random.choice((None, *GiftPolicy)),
            fee=Money(random.randrange(1, 9000_00), random.choice(("CNY", "CNY", "CNY", "USD"))),
            starts_on=signed_on, ends_on=signed_on + timedelta(days=random.choice((5, 30, 200))),
            refund_deadline_days=random.choice((None, 3)),
            refund_deadline_unit=random.choice((None, DeadlineUnit.WORKING)),
        )
        self.contracts[one.contract_no] = one
        paid = Charge(charge_no=self.fresh("JF"), contract_no=one.contract_no, paid_on=signed_on, amount=one.fee)

        def work(session: Session) -> None:
            contracts.save_contracts(session, [one], now=self.now)
            charges.save_charges(session, [paid], now=self.now)

        keep(self.database, work, self.now)

    def change(self) -> None:
        was = self.some()
        one = replace(was, uscc=self.random.choice(SCHOOLS), lessons_paid=self.random.choice((2, 5)))
        self.contracts[one.contract_no] = one
        keep(self.database, lambda session: contracts.save_contracts(session, [one], now=self.now), self.now)

    def charge(self) -> None:
        random, of = self.random, self.some()
        number = f"JF-{random.randrange(20)}"
        made = (
            1, number, of.contract_no, self.day(of.signed_on), None, None, None, None, None,
            random.randrange(1, 5000_00) * 10,
        )
        keep(self.database, lambda session: charges.record_charges(session, [made], now=self.now), self.now)

    def teach(self) -> None:
        random, of = self.random, self.some()
        taught_on = random.choice((None, self.day(of.signed_on), self.day(of.signed_on), self.day(of.signed_on)))
        status = random.choice(tuple(LessonStatus))
        asked = None if taught_on is None else taught_on + timedelta(days=random.randrange(3))
        decided = None if asked is None or status is LessonStatus.REQUESTED or random.random() < 0.2 else (
            asked + timedelta(days=random.randrange(20))
        )
        one = Lesson(
            contract_no=of.contract_no, session_no=random.randrange(1, 6), status=status, taught_on=taught_on,
            requested_on=asked, decided_on=decided,
        )
        keep(self.database, lambda session: lessons.save_lessons(session, [one], now=self.now), self.now)

    def claim(self) -> None:
        of, random = self.some(), self.random
        amount = random.choice((None, random.randrange(1, 1000_00) * 10))
        row = (1, f"TF-{random.randrange(6)}", of.contract_no, self.day(of.signed_on), None, None, "consumer", "",
               amount)
        keep(self.database, lambda session: refund_claims.record_refund_claims(session, [row], now=self.now), self.now)

    def complain(self) -> None:
        row = (1, f"TS-{self.random.randrange(9)}", self.random.choice(SCHOOLS), self.day(), None, None, None, "")
        keep(self.database, lambda session: complaints.record_complaints(session, [row], now=self.now), self.now)

    def notice(self) -> None:
        kind = str(self.random.choice(tuple(NoticeKind)))
        row = (1, f"TZ-{self.random.randrange(9)}", self.random.choice(SCHOOLS), self.day(), kind, None, "")
        keep(self.database, lambda session: notices.record_notices(session, [row], now=self.now), self.now)

    def refund(self) -> None:
        of, number = self.some(), self.fresh("match")
        self.refunds.append(number)
        one = Refund(
            contract_no=of.contract_no, paid_on=self.day(of.signed_on), amount=Money(100_00, of.fee.currency)
        )
        keep(self.database, lambda session: save_refunds(session, {number: one}, now=self.now), self.now)

    def unrefund(self) -> None:
        if self.refunds:
            number = self.refunds.pop()
            keep(self.database, lambda session: remove_refunds(session, [number]), self.now)

    def state(self) -> None:
        """The next statements of an account, after some days of which there is none; rarely one does not join."""
        random = self.random
        number = random.choice(sorted(self.days))
        known = self.days[number]
        for _ in range(4):
            last, _, closing = known[-1] if known else (FIRST - timedelta(days=random.randrange(20)), 0, 5000_00)
            day = last + timedelta(days=random.choice((1, 1, 1, 3, 6)))
            opening = closing + (random.randrange(100) if random.random() < 0.1 else 0)
            amounts, texts = self.entries()
            self.take(number, day, opening, amounts, texts)
            known.append((day, opening, opening + sum(amounts)))

    def correct(self) -> None:
        """A day is stated otherwise than before."""
        number = self.random.choice(sorted(self.days))
        if self.days[number]:
            place = self.random.randrange(len(self.days[number]))
            day, opening, _ = self.days[number][place]
            amounts, texts = self.entries()
            self.take(number, day, opening, amounts, texts)
            self.days[number][place] = (day, opening, opening + sum(amounts))

    def entries(self) -> tuple[list[int], list[str]]:
        random = self.random
        amounts = [
            random.choice((-1, -1, 1, 1, 1)) * random.choice((100_00, 250_00, 12_34))
            for _ in range(random.randrange(4))
        ]
        return amounts, [random.choice(("学费", "退费", "退费", "课时费划拨", "手动划拨", "手续费")) for _ in amounts]

    def take(self, number: str, day: date, opening: int, amounts: list[int], texts: list[str]) -> None:
        account = next(one for one in ACCOUNTS if one.account_no == number)
        stated = statement_of(day, opening, *amounts, account=account, texts=tuple(texts), number=self.fresh("S"))
        state(self.database, stated, now=self.now, raw=f"{self.number % 100:02d}")

    def register(self) -> None:
        one = replace(
            self.random.choice(ACCOUNTS[:5]), mode=self.random.choice(tuple(Mode)),
            purpose=self.random.choice((Purpose.ESCROW, Purpose.ESCROW, Purpose.DEPOSIT, Purpose.SETTLEMENT)),
            uscc=self.random.choice(SCHOOLS), opened_on=self.random.choice((None, FIRST)),
        )
        with self.database.write() as session:
            register_accounts(session, [one], now=self.now)

    def move(self) -> None:
        one = replace(
            self.random.choice(INSTITUTIONS), district=self.random.choice(("510300", "110101", None)),
            kind=self.random.choice((None, *InstitutionKind)), licence_expires_on=self.random.choice((None, LAST)),
        )
        with self.database.write() as session:
            save_institutions(session, [one], now=self.now)

    def law(self) -> None:
        clock = SilenceClock(
            working_days=self.random.choice((5, 15)), deemed_from=DeemedFrom.NEXT_DAY, calendar="CN", known_to=2026
        )
        laws = {self.random.choice(SCHOOLS): ContractLaw(silence=self.random.choice((None, clock)))}
        keep(self.database, lambda session: contract_laws.set_laws(session, laws, version="1"), self.now)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_the_rows_say_whatever_comes_late(district: Database, seed: int) -> None:
    world, shown = _World(district, seed), set[str]()
    for _ in range(25):
        for _ in range(world.random.randrange(1, 11)):
            world.step()
        # Before the last day now and then, as if days passed.
        through = LAST - timedelta(days=world.random.choice((0, 0, 40)))
        up(district, through)
        up(district)
        assert up(district) == Counts()
        seen = direct(district)
        assert not differing(seen, stored(district))
        shown |= {name for name in COLUMNS if seen.values[name].any()}
        with district.read() as session:
            made, kept = (of(session, first=FIRST, last=LAST) for of in (peers_of, stored_peers))
        assert made.count == kept.count == len(SCHOOLS)
        assert all(np.array_equal(made.totals[name], kept.totals[name]) for name in PLATFORM)
    assert shown >= {*BANK, "taught", "counted", "earned_fen", "owed_fen", "active", "claims", "overdue"}


def test_figures_of_a_day_do_not_depend_on_the_days_asked_for(district: Database) -> None:
    world = _World(district, 7)
    for _ in range(80):
        world.step()
    whole, part = direct(district), direct(district, first=date(2026, 10, 7), last=date(2026, 11, 3))
    first, stop = whole.column(part.starts_on), whole.column(part.starts_on) + part.days
    for name in COLUMNS:
        assert np.array_equal(whole.values[name][:, first:stop], part.values[name]), name
    assert np.array_equal(np.where(whole.arrived == NEVER, NEVER, whole.arrived - first)[:, first:stop], np.where(
        part.arrived == NEVER, NEVER, part.arrived
    ))


def test_blobs_give_back_what_was_packed() -> None:
    random = np.random.default_rng(1)
    figures = np.where(random.random((5, len(ROWS), 31)) < 0.2, random.integers(-2**50, 2**50, (5, len(ROWS), 31)), 0)
    figures[1] //= 2**40
    figures[2] = 0
    assert np.array_equal(unpack(pack(figures), 31), figures)


def test_days_that_were_not_brought_up_are_refused(district: Database) -> None:
    with district.read() as session, pytest.raises(DaysNotKept, match="bring them up first"):
        stored_series(session, usccs=SCHOOLS, first=FIRST, last=LAST)
    up(district)
    with district.read() as session, pytest.raises(DaysNotKept):
        stored_series(session, usccs=SCHOOLS, first=FIRST, last=LAST + timedelta(days=30))


def test_a_law_of_another_version_makes_all_anew(district: Database) -> None:
    assert up(district).institutions == 3
    with district.write() as session:
        run(session, "UPDATE institution_day_layout SET law_version = 'another'")
    assert up(district).institutions == 3
    assert up(district) == Counts()


def test_only_the_months_from_the_one_touched_are_made_anew(district: Database) -> None:
    keep(district, lambda session: contracts.save_contracts(session, [contract("HT-1")], now=NOW))
    up(district)
    keep(district, lambda session: charges.save_charges(session, [
        Charge(charge_no="JF-1", contract_no="HT-1", paid_on=date(2026, 10, 9), amount=Money(100_00, "CNY"))
    ], now=NOW))
    assert up(district) == Counts(institutions=1, months=2)
    # A new month: everybody's, once.
    assert up(district, date(2026, 12, 1)) == Counts(institutions=3, months=3)
    assert on(stored(district), "charged_fen", date(2026, 10, 9)) == 100_00


def test_a_law_told_later_reaches_back_to_what_was_asked_for_before(district: Database) -> None:
    asked = Lesson(
        contract_no="HT-1", session_no=1, status=LessonStatus.REQUESTED, taught_on=FIRST, requested_on=FIRST
    )

    def work(session: Session) -> None:
        contracts.save_contracts(session, [contract("HT-1")], now=NOW)
        lessons.save_lessons(session, [asked], now=NOW)

    keep(district, work)
    up(district)
    law = ContractLaw(silence=SilenceClock(
        working_days=5, deemed_from=DeemedFrom.NEXT_DAY, calendar="CN", known_to=2026
    ))
    keep(district, lambda session: contract_laws.set_laws(session, {SCHOOLS[0]: law}, version="1"))
    up(district)
    assert stored(district).values["deemed"].sum() == 1
    assert not differing(direct(district), stored(district))


def test_a_transfer_seen_later_takes_a_debit_of_the_month_before_back(district: Database) -> None:
    """The account it went to states it on the second of November, and was known for the first already."""
    one, other = ACCOUNTS[0], ACCOUNTS[3]
    assert one.uscc == other.uscc
    debit, credit = date(2026, 10, 31), date(2026, 11, 2)
    sent = statement_of(debit, 500_00, -300_00, account=one, texts=("转账",))
    named = replace(sent.entries[0], counterparty_account_sha256=account_digest(other.account_no))
    state(district, replace(sent, entries=(named,)), now=at(debit))
    state(district, statement_of(debit, 100_00, account=other, to=date(2026, 11, 1)), now=at(date(2026, 11, 1)))
    up(district)
    assert on(stored(district), "manual_fen", debit) == 300_00
    state(district, statement_of(credit, 100_00, 300_00, account=other, texts=("转账",)), now=at(credit))
    up(district)
    assert on(stored(district), "manual_fen", debit) == on(stored(district), "credits_fen", credit) == 0
    assert not differing(direct(district), stored(district))


def test_a_closed_account_is_not_waited_for(district: Database) -> None:
    with district.write() as session:
        save_accounts(session, [replace(ACCOUNTS[3], uscc=None)], now=NOW)
    state(district, statement_of(FIRST, 100_00, -100_00), now=at(FIRST))
    up(district)
    assert on(stored(district), "arrived", LAST) == NEVER
    with district.write() as session:
        run(session, "UPDATE account_states SET status = 'closed' WHERE account_no = :no", no=ACCOUNTS[0].account_no)
    assert up(district).institutions == 1
    seen = stored(district)
    assert on(seen, "arrived", LAST) == seen.column(LAST)
    assert not differing(direct(district), seen)


# The bank.


def test_a_weekend_is_known_when_the_next_statement_joins_it(district: Database) -> None:
    friday, monday = date(2026, 11, 6), date(2026, 11, 9)
    with district.write() as session:
        save_accounts(session, [replace(ACCOUNTS[3], uscc=None)], now=NOW)
    state(district, statement_of(friday, 100_00, 50_00, texts=("学费",)), now=at(friday))
    seen = direct(district)
    assert [on(seen, "balance_fen", friday + timedelta(days=n)) for n in range(4)] == [150_00] * 4
    assert on(seen, "arrived", friday) == seen.column(friday)
    assert on(seen, "arrived", friday + timedelta(days=1)) == NEVER
    state(district, statement_of(monday, 150_00, -20_00, texts=("手动划拨",)), now=at(monday, hour=9))
    seen = direct(district)
    # It came after the morning had begun, so it is known on the next.
    known = seen.column(monday) + 1
    assert [on(seen, "arrived", friday + timedelta(days=n)) for n in range(4)] == [seen.column(friday), *[known] * 3]
    assert on(seen, "manual_fen", monday) == on(seen, "debits_fen", monday) == 20_00
    # Before the first statement nothing is missing once that is here: the account holds what it opened with.
    assert on(seen, "balance_fen", FIRST) == 100_00
    assert on(seen, "arrived", FIRST) == seen.column(friday)


def test_days_between_statements_that_do_not_join_have_not_arrived(district: Database) -> None:
    friday, monday = date(2026, 11, 6), date(2026, 11, 9)
    with district.write() as session:
        save_accounts(session, [replace(ACCOUNTS[3], uscc=None)], now=NOW)
    state(district, statement_of(friday, 100_00), now=at(friday))
    state(district, statement_of(monday, 130_00), now=at(monday))
    seen = direct(district)
    assert on(seen, "arrived", friday + timedelta(days=1)) == on(seen, "arrived", monday - timedelta(days=1)) == NEVER
    assert on(seen, "arrived", monday) == seen.column(monday)
    state(district, statement_of(friday + timedelta(days=1), 100_00, 30_00), now=at(monday + timedelta(days=3)))
    seen = direct(district)
    assert on(seen, "arrived", friday + timedelta(days=1)) == seen.column(monday) + 3
    assert on(seen, "arrived", monday - timedelta(days=1)) == seen.column(monday)


def test_an_account_without_a_statement_makes_its_institution_silent_from_when_it_was_opened(
    district: Database,
) -> None:
    opened = date(2026, 10, 1)
    with district.write() as session:
        save_accounts(session, [replace(ACCOUNTS[3], opened_on=opened)], now=NOW)
    state(district, statement_of(FIRST, 100_00, to=LAST), now=at(LAST))
    seen = direct(district)
    assert on(seen, "arrived", opened - timedelta(days=1)) == seen.column(LAST)
    assert on(seen, "balance_fen", opened - timedelta(days=1)) == 100_00
    assert on(seen, "arrived", opened) == NEVER
    # One of which nobody has a statement at all is silent too.
    assert seen.arrived[1].max() == NEVER


def test_who_has_no_account_or_nothing_at_all_is_known_to_be_so(database: Database) -> None:
    with database.write() as session:
        save_institutions(session, INSTITUTIONS, now=NOW)
    seen = direct(database)
    assert (seen.arrived == NEVER).all()
    assert (seen.began == seen.days).all()
    assert (seen.licence_ends == LICENCE_UNKNOWN).all()
    assert not any(array.any() for array in seen.values.values())
    with database.read() as session, pytest.raises(KeyError):
        closure_series(session, usccs=["nobody"], first=FIRST, last=LAST)


# The past.


def test_what_was_recorded_later_is_not_known_earlier(district: Database) -> None:
    random = chance.Random(5)
    then = NOW - timedelta(days=10)
    day = FIRST
    with district.write() as session:
        save_accounts(session, [replace(ACCOUNTS[3], uscc=None)], now=NOW - timedelta(days=90))
        run(session, "UPDATE accounts SET recorded_at = :at", at=NOW - timedelta(days=90))
    keep(district, lambda session: contracts.save_contracts(session, [contract("HT-1")], now=then), then)
    keep(district, lambda session: charges.save_charges(session, [
        Charge(charge_no="JF-1", contract_no="HT-1", paid_on=FIRST, amount=Money(900_00, "CNY"))
    ], now=then), then)
    for step in range(5):
        state(district, statement_of(day + timedelta(days=step), 100_00 + step * 10_00, 10_00), now=then)
    before = direct(district)
    keep(district, lambda session: contracts.save_contracts(session, [contract("HT-2")], now=NOW))
    keep(district, lambda session: charges.save_charges(session, [
        Charge(charge_no="JF-2", contract_no="HT-1", paid_on=FIRST, amount=Money(100_00, "CNY"))
    ], now=NOW))
    keep(district, lambda session: save_refunds(session, {"m": Refund(
        contract_no="HT-1", paid_on=day + timedelta(days=3), amount=Money(50_00, "CNY")
    )}, now=NOW))
    keep(district, lambda session: complaints.record_complaints(
        session, [(1, "TS-1", SCHOOLS[0], day, None, None, None, "")], now=NOW
    ))
    keep(district, lambda session: notices.record_notices(
        session, [(1, "TZ-1", SCHOOLS[0], day, "wage_arrears", None, "")], now=NOW
    ))
    keep(district, lambda session: refund_claims.record_refund_claims(
        session, [(1, "TF-1", "HT-1", day, None, None, "consumer", "", 10_000)], now=NOW
    ))
    # One day is stated otherwise, which re-opens the next; another comes for the first time.
    state(district, statement_of(day + timedelta(days=3), 130_00, 7_00, random.choice((1_00, 2_00))), now=NOW, raw="cd")
    state(district, statement_of(day + timedelta(days=9), 150_00, -10_00), now=NOW)
    others = set(differing(before, direct(district)))
    assert others >= {"balance_fen", "credits_fen", "charged_fen", "owed_fen", "claims"}
    assert not differing(before, direct(district, known_at=then), (*COLUMNS, "arrived"))


# Contracts.


def test_earned_and_owed_follow_the_fee_and_silence(district: Database) -> None:
    one = contract("HT-1", fee=Money(1000_00, "CNY"), lessons_paid=3)
    taught = [
        Lesson(contract_no="HT-1", session_no=1, status=LessonStatus.CONFIRMED, taught_on=FIRST,
               requested_on=FIRST, decided_on=FIRST + timedelta(days=2)),
        Lesson(contract_no="HT-1", session_no=2, status=LessonStatus.DEEMED, taught_on=FIRST + timedelta(days=1),
               requested_on=FIRST + timedelta(days=1), decided_on=FIRST + timedelta(days=2)),
        Lesson(contract_no="HT-1", session_no=3, status=LessonStatus.REQUESTED, taught_on=FIRST + timedelta(days=5),
               requested_on=FIRST + timedelta(days=5)),
    ]
    law = ContractLaw(silence=SilenceClock(
        working_days=5, deemed_from=DeemedFrom.NEXT_DAY, calendar="CN", known_to=2026
    ))

    def work(session: Session) -> None:
        contracts.save_contracts(session, [one], now=NOW)
        charges.save_charges(session, [
            Charge(charge_no="JF-1", contract_no="HT-1", paid_on=FIRST, amount=Money(1000_00, "CNY"))
        ], now=NOW)
        lessons.save_lessons(session, taught, now=NOW)
        contract_laws.set_laws(session, {SCHOOLS[0]: law}, version="1")

    keep(district, work)
    seen = direct(district)
    second = FIRST + timedelta(days=2)
    assert (on(seen, "counted", second), on(seen, "deemed", second), on(seen, "earned_fen", second)) == (2, 1, 666_67)
    assert on(seen, "owed_fen", FIRST) == 1000_00
    assert on(seen, "owed_fen", second) == 333_33
    assert on(seen, "owed_fen", LAST) == 0
    # Asked for on Sunday the 6th: five working days later, and the day after, it is consent.
    assert on(seen, "deemed", date(2026, 9, 12)) == 1
    last_taught = FIRST + timedelta(days=5)
    assert [on(seen, "active", last_taught - timedelta(days=n)) for n in (1, 0)] == [1, 0]
    with district.read() as session:
        later = closure_series(session, usccs=SCHOOLS, first=second, last=LAST)
    assert (on(later, "owed_fen", second), on(later, "active", second)) == (333_33, 1)


def test_a_refund_that_the_bank_shows_pays_the_claim_it_fits(district: Database) -> None:
    with district.write() as session:
        save_accounts(session, [replace(ACCOUNTS[3], uscc=None)], now=NOW)
    made = [contract(f"HT-{n}") for n in (1, 2)]
    keep(district, lambda session: contracts.save_contracts(session, made, now=NOW))
    keep(district, lambda session: charges.save_charges(session, [
        Charge(charge_no=f"JF-{n}", contract_no=f"HT-{n}", paid_on=FIRST, amount=Money(1000_00, "CNY")) for n in (1, 2)
    ], now=NOW))
    claimed = FIRST + timedelta(days=3)
    keep(district, lambda session: refund_claims.record_refund_claims(session, [
        (n, f"TF-{n}", f"HT-{n}", claimed, None, None, "consumer", "", amount)
        for n, amount in ((1, 900_000), (2, None))
    ], now=NOW))
    seen = direct(district)
    late = claimed + timedelta(days=16)
    assert (on(seen, "claims", claimed), on(seen, "claimed_fen", claimed)) == (2, 1900_00)
    assert [on(seen, "overdue", late - timedelta(days=n)) for n in (1, 0)] == [0, 2]
    assert on(seen, "overdue_fen", LAST) == 1900_00
    paid = late + timedelta(days=4)
    state(district, statement_of(FIRST, 5000_00, to=paid - timedelta(days=1)), now=NOW)
    state(district, statement_of(paid, 5000_00, -900_00, -300_00, texts=("退费", "货款")), now=NOW)
    seen = direct(district)
    assert on(seen, "refunds_seen_fen", paid) == 900_00
    assert on(seen, "debits_fen", paid) == 300_00
    assert (on(seen, "overdue", paid), on(seen, "overdue_fen", paid)) == (1, 1000_00)
    assert [on(seen, "owed_fen", paid - timedelta(days=n)) for n in (1, 0)] == [2000_00, 1100_00]


def test_beyond_the_caps_is_what_the_rule_of_one_charge_says(district: Database) -> None:
    random, law = chance.Random(2), load_policies()
    kinds = (InstitutionKind.SUBJECT, InstitutionKind.NON_SUBJECT, None)
    placed = [
        replace(one, district=where, kind=kind)
        for one, where, kind in zip(INSTITUTIONS, ("110101", "510300", None), kinds, strict=True)
    ]
    with district.write() as session:
        save_institutions(session, placed, now=NOW)
    made = []
    for number in range(300):
        signed = FIRST + timedelta(days=random.randrange(79))
        starts = random.choice((None, signed + timedelta(days=random.randrange(-9, 60))))
        made.append(contract(
            f"HT-{number}", random.choice(SCHOOLS), signed, lessons_paid=random.choice((20, 60, 61, 90)),
            fee=Money(random.choice((0, 900_00, 5000_00, 5000_01)), "CNY"), starts_on=starts,
            ends_on=None if starts is None else starts + timedelta(days=random.choice((30, 88, 89, 90, 91, 92, 200))),
        ))
    keep(district, lambda session: contracts.save_contracts(session, made, now=NOW))
    seen = direct(district)
    expected = np.zeros_like(seen.values["over_cap"])
    for one in made:
        row = SCHOOLS.index(one.uscc)
        caps = law.effective(institution=placed[row], account=None, on=one.signed_on).fee_caps
        paid = PaidAtOnce(
            charge_no="", paid_on=one.signed_on, amount=one.fee.minor_units, currency="CNY", fee=one.fee.minor_units,
            lessons=one.lessons_paid, starts_on=one.starts_on, ends_on=one.ends_on,
            subject_kind=None if (kind := placed[row].kind) is None else type(kind)(kind),  # type: ignore[arg-type]
        )
        expected[row, seen.column(one.signed_on)] += any(is_beyond(clause, paid) for clause in caps)
    assert np.array_equal(seen.values["over_cap"], expected)
    assert 0 < expected.sum() < len(made)


def test_one_word_is_one_thing_for_notices() -> None:
    assert tuple(map(str, NoticeKind)) == NOTICES
    assert [str(kind) for kind, _ in groupby(sorted(NoticeKind))] == sorted(NOTICES)
