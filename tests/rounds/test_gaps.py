"""Days that are missing: found by each account's own calendar, asked for again ever more rarely, filled in the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from alerts.alert import TransitionKind
from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.domain.accounts import Account, AccountStatus
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.policy import PolicyBook, parse_pack
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.coverage import ASKED_DAYS_BACK_MAX, OpenGap, coverage
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.check_balances import check_balances, find_gaps
from escrow_monitor.rounds.pull_balances import pull_balances, statements_from
from escrow_monitor.rounds.signals import Patience
from tests.records.conftest import statement_of

ZONE = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
MON, TUE, WED, THU, FRI = (date(2026, 11, 9) + timedelta(days=n) for n in range(5))
CLOSED = (RefusalReason.TIMEOUT, "no answer in 20 s")


def at(day: date, hour: int = 13, minute: int = 0) -> datetime:
    """An instant from Shanghai's wall clock."""
    return datetime.combine(day, time(hour, minute), ZONE).astimezone(UTC)


def account(number: int = 0, *, bank: str = "northbank", uscc: str | None = None) -> Account:
    return Account(account_no=f"622200{number}", bank=bank, connector="berlin_group", currency="CNY", uscc=uscc)


class Bank:
    """Answers for the days it has, as the port promises, and remembers from which day it was asked."""

    bank = "northbank"
    rest_until: datetime | None = None

    def __init__(self, *statements: Statement, silent: bool = False) -> None:
        self.statements = statements
        self.silent = silent
        self.asked: list[date | None] = []

    def pull(self, requests: Iterable[PullRequest], *, now: datetime) -> Iterator[PullOutcome]:
        for request in requests:
            self.asked.append(request.statements_from)
            facts = {"account_no": request.account.account_no, "bank": self.bank, "raw": (), "started_at": now,
                     "finished_at": now}
            if self.silent:
                refusal = Refusal(reason=CLOSED[0], where="/", field=None, detail=CLOSED[1])
                yield PullRefused(refusal=refusal, **facts)  # type: ignore[arg-type]
                continue
            since = request.statements_from
            told = tuple(one for one in self.statements if since is not None and one.covers_to >= since)
            yield Pull(readings=(), statements=told, account_status=AccountStatus.ACTIVE, **facts)  # type: ignore[arg-type]


def pull(database: Database, bank: Bank, now: datetime) -> date | None:
    """One round at `now`; the day from which statements were asked."""
    pull_balances(
        database=database, connector=bank, zone=ZONE, scheduled_at=now, now_of=lambda: now,
        watch=lambda **_said: None,
    )
    return bank.asked[-1]


def load(database: Database, now: datetime, *statements: Statement, source: str = "northbank") -> None:
    with database.write() as session:
        assert record_statements(session, statements, source=source, raw_sha256="ab" * 32, now=now) == []


def open_gaps(database: Database, number: int = 0) -> list[OpenGap]:
    with database.read() as session:
        [found] = coverage(session, account(number).account_no)
    return list(found.missing)


@pytest.fixture
def house(database: Database) -> Database:
    """One account at one bank."""
    with database.write() as session:
        save_accounts(session, [account()], now=at(MON))
    return database


@pytest.fixture
def nation() -> PolicyBook:
    """The packs that ship with the program."""
    return load_policies()


def statement(day: date, opening: int, *amounts: int, number: int = 0) -> Statement:
    return statement_of(day, opening, *amounts, account=account(number))


def test_a_gap_is_asked_for_again_ever_more_rarely_and_the_newest_day_every_time(
    house: Database, nation: PolicyBook
) -> None:
    load(house, at(TUE), statement(MON, 100, 10))
    load(house, at(FRI), statement(THU, 110, 10))
    find_gaps(house, policies=nation, now=at(FRI))
    assert [gap.day for gap in open_gaps(house)] == [WED, TUE]
    bank, now, asked = Bank(), at(FRI), []
    for _ in range(4 * 60):
        now += timedelta(minutes=15)
        if pull(house, bank, now) == TUE:
            asked.append(now)
    waits = [(after - before) / HOUR for before, after in pairwise(asked)]
    assert waits == [1, 2, 4, 8, 16, 24]
    assert set(bank.asked) == {TUE, None, FRI}, "from Saturday on Friday is asked for every time"
    wednesday, tuesday = open_gaps(house)
    assert wednesday.tries == tuesday.tries == 7
    assert tuesday.tried_at == asked[-1]
    assert tuesday.try_after == asked[-1] + 24 * HOUR


def test_a_gap_is_filled_by_the_bank_that_has_it_at_last(house: Database, nation: PolicyBook) -> None:
    load(house, at(TUE), statement(MON, 100, 10))
    load(house, at(FRI), statement(WED, 130, 10), statement(THU, 140, 10))
    assert pull(house, Bank(), at(FRI)) == TUE
    bank = Bank(statement(TUE, 110, 20), statement(WED, 130, 10), statement(THU, 140, 10))
    assert pull(house, bank, at(FRI) + 30 * timedelta(minutes=1)) is None, "its turn has not come"
    assert pull(house, bank, at(FRI) + HOUR) == TUE
    assert open_gaps(house) == []
    assert pull(house, bank, at(FRI) + 2 * HOUR) is None


def test_a_silent_bank_was_not_tried(house: Database, nation: PolicyBook) -> None:
    load(house, at(TUE), statement(MON, 100, 10))
    load(house, at(THU), statement(WED, 120, 10))
    assert pull(house, Bank(silent=True), at(THU)) == TUE
    assert [(gap.tries, gap.tried_at) for gap in open_gaps(house)] == [(0, None)]
    assert pull(house, Bank(), at(THU) + timedelta(minutes=15)) == TUE
    assert [gap.tries for gap in open_gaps(house)] == [1]


def test_a_corrected_day_reopens_the_next_which_is_fetched_again(house: Database, nation: PolicyBook) -> None:
    load(house, at(THU), statement(MON, 100, 10), statement(TUE, 110, 10), statement(WED, 120, 10))
    load(house, at(THU), statement(MON, 100, 5))
    truth = [statement(MON, 100, 5), statement(TUE, 105, 10), statement(WED, 115, 10)]
    assert pull(house, Bank(*truth), at(THU)) == TUE
    assert open_gaps(house) == [], "the bank's answer corrected the whole chain"
    with house.read() as session:
        [found] = coverage(session, account().account_no)
    assert [one.on for one in found.corrections] == [MON, TUE, WED]


def test_what_is_too_long_past_is_not_asked_for() -> None:
    today = date(2026, 11, 20)
    assert statements_from(date(2026, 11, 19), gap=date(2026, 10, 1), today=today) == date(2026, 10, 1)
    assert statements_from(date(2026, 11, 19), today=today) is None
    assert statements_from(date(2026, 11, 17), gap=None, today=today) == date(2026, 11, 18)
    assert statements_from(None, gap=None, today=today) == date(2026, 10, 20)


def test_an_old_gap_stays_a_gap_but_is_left_to_people(house: Database, nation: PolicyBook) -> None:
    load(house, at(TUE), statement(MON, 100, 10))
    load(house, at(THU), statement(WED, 120, 10))
    long_after = TUE + timedelta(days=ASKED_DAYS_BACK_MAX)
    assert pull(house, Bank(), at(long_after)) == TUE
    assert pull(house, Bank(), at(long_after + timedelta(days=1))) == THU
    assert [gap.day for gap in open_gaps(house)] == [TUE]


# calendars


def pack(jurisdiction: str, **more: object) -> object:
    return parse_pack(
        {"id": f"t-{jurisdiction.lower()}", "title": "测试", "title_en": "test", "jurisdiction": jurisdiction,
         "clause": [], **more}, where="t.toml",
    )


def test_each_account_is_searched_by_its_own_calendar(database: Database) -> None:
    """2026-10-01 to 07 is a holiday in China; on 2026-10-10, a Saturday, people work there."""
    policies = PolicyBook([
        pack("000000", calendar="CN", zone="Asia/Shanghai"), pack("GB", calendar="GB", zone="Europe/London"),  # type: ignore[list-item]
    ])
    assert not policies.has_one_timetable
    with database.write() as session:
        save_institutions(session, [
            Institution(uscc="91510300000000000A", name="自贡一校", district="510300"),
            Institution(uscc="91510300000000000B", name="London One", district=None, policy="t-gb"),
        ], now=at(MON))
        save_accounts(session, [
            account(0, uscc="91510300000000000A"), account(1, uscc="91510300000000000B"), account(2),
        ], now=at(MON))
    day = date(2026, 9, 30)
    load(database, at(day), *(statement(day, 100, 10, number=number) for number in range(3)))
    find_gaps(database, policies=policies, now=at(date(2026, 10, 12)))
    china = [date(2026, 10, 10), date(2026, 10, 9), date(2026, 10, 8)]
    assert [gap.day for gap in open_gaps(database, 0)] == china
    assert [gap.day for gap in open_gaps(database, 2)] == china
    # In London it is six in the morning of Monday the 12th: Friday's statement is not due yet.
    assert [gap.day for gap in open_gaps(database, 1)] == [date(2026, 10, n) for n in (8, 7, 6, 5, 2, 1)]


def test_a_calendar_that_ends_does_not_stop_the_others(database: Database) -> None:
    policies = PolicyBook([
        pack("000000", calendar="CN", zone="Asia/Shanghai"), pack("GB", calendar="GB", zone="Asia/Shanghai"),  # type: ignore[list-item]
    ])
    with database.write() as session:
        save_institutions(session, [
            Institution(uscc="91510300000000000A", name="自贡一校", district="510300"),
            Institution(uscc="91510300000000000B", name="London One", district=None, policy="t-gb"),
        ], now=at(MON))
        save_accounts(session, [
            account(0, uscc="91510300000000000A"), account(1, uscc="91510300000000000B"),
        ], now=at(MON))
    monday = date(2035, 6, 4)
    load(database, at(monday), *(statement(monday, 100, 10, number=number) for number in range(2)))
    find_gaps(database, policies=policies, now=at(monday + timedelta(days=3)))
    assert open_gaps(database, 0) == [], "China has not said which days of 2035 are worked"
    assert [gap.day for gap in open_gaps(database, 1)] == [monday + timedelta(days=2), monday + timedelta(days=1)]


def test_one_timetable_is_one_search(nation: PolicyBook) -> None:
    assert nation.has_one_timetable
    late = {
        "id": "t/late", "kind": "freshness", "title": "迟", "title_en": "late", "effective_from": date(2020, 1, 1),
        "final_by": "15:00", "verified": True, "source": {"title": "x", "found": "F"},
    }
    assert not PolicyBook([pack("510300", clause=[late])]).has_one_timetable  # type: ignore[list-item]
    assert PolicyBook([pack("510300", calendar="GB")]).has_one_timetable is False  # type: ignore[list-item]
    assert PolicyBook([pack("510300", calendar="CN")]).has_one_timetable  # type: ignore[list-item]


# what the alert book hears


def test_a_corrected_closing_and_a_late_large_debit_are_heard_and_what_is_taken_back_is_cleared(
    house: Database, nation: PolicyBook
) -> None:
    def check(now: datetime) -> list[tuple[str, str, str, str]]:
        """What the alert book said of this check: transition, rule, period, severity."""
        with house.read() as session:
            before = len(RecordsAlertBook(session).entries(after=0, limit=1000))
        check_balances(
            database=house, policies=nation, channels=(), patience=Patience(), scheduled_at=now, now=now,
        )
        with house.read() as session:
            return [
                (one.transition.value, one.key.rule, one.key.period, one.severity.value)
                for one in RecordsAlertBook(session).entries(after=before, limit=1000)
                if one.key.rule in ("corrected_statement", "large_outflow")
            ]

    load(house, at(TUE), statement(MON, 10_000_000_00, 1_00))
    assert check(at(TUE)) == []
    # Three weeks later Tuesday comes at last, and all but one yuan left on it.
    late = at(date(2026, 12, 1))
    load(house, late, statement(TUE, 10_000_001_00, -10_000_000_00))
    opened = check(late)
    assert [(kind, rule, period) for kind, rule, period, _ in opened] == [
        (TransitionKind.OPENED.value, "large_outflow", "2026-11-10")
    ]
    load(house, late + HOUR, statement(TUE, 10_000_001_00, -1_00))
    heard = check(late + HOUR)
    assert (TransitionKind.OPENED.value, "corrected_statement", "2026-11-10", "yellow") in heard
    assert any(kind == TransitionKind.RESOLVED.value and rule == "large_outflow" for kind, rule, _, _ in heard)
    assert check(late + 2 * HOUR) == []


def test_a_wide_answer_of_known_days_has_no_effect(house: Database) -> None:
    days = [statement(MON, 100, 10), statement(TUE, 110, -20), statement(WED, 90, 5)]
    load(house, at(THU), *days)
    whole = replace(
        days[0], closing=days[2].closing, closing_on=WED, covers_to=WED,
        entries=tuple(entry for day in days for entry in day.entries),
    )
    with house.read() as session:
        [before] = coverage(session, account().account_no)
    load(house, at(FRI), whole)
    with house.read() as session:
        assert coverage(session, account().account_no) == [before]
    assert before.corrections == ()
