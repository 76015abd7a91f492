"""An invented bank that speaks UK Open Banking, and our own connector, understand each other, faults included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.connectors.open_banking_uk import OpenBankingUk
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.banks.making import make_connector
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import BalanceKind
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.records.accounts import save_accounts
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.pull_balances import pull_balances
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.dialects.open_banking_uk import FINANCIAL_ID, GARBAGE
from escrow_monitor.sandbox.district import ZONE, Condition, District, replay_district
from escrow_monitor.settings import Settings

DISTRICT = replay_district(seed=7, today=date(2026, 11, 22))
AT = datetime(2026, 10, 14, 7, 2, 30, tzinfo=UTC)
CLOSED = date(2026, 10, 13)
BANK = "yandu"
VERSIONS = ("v3.1", "v4.0")
R = RefusalReason


@contextmanager
def connected(
    banks: SandboxBanks, at: datetime, *, version: str = "v4.0", batch: bool = True, token: str | None = None
) -> Iterator[OpenBankingUk]:
    known = next(bank.token for bank in banks.district.banks if bank.name == BANK)
    connector = OpenBankingUk(
        BANK,
        BankHttp(
            base_url=f"{banks.base_url(BANK)}/open-banking/{version}/aisp", token=token or known, timeout_seconds=60,
            retries=0,
        ),
        zone=ZONE, clock=FixedClock(at), batch=batch, financial_id=FINANCIAL_ID,
    )
    try:
        yield connector
    finally:
        connector.close()


def pull(
    at: datetime = AT, *, district: District = DISTRICT, since: date | None = None, version: str = "v4.0",
    batch: bool = True, condition: Condition | None = None,
) -> list[PullOutcome]:
    requests = [
        PullRequest(account=district.account(place), statements_from=since) for place in district.places_at(BANK)
    ]
    with SandboxBanks(
        district=district, clock=FixedClock(at), dialects={BANK: "open_banking_uk"}, silent_seconds=0.05
    ) as banks:
        banks.override(BANK, condition)
        with connected(banks, at, version=version, batch=batch) as connector:
            return list(connector.pull(requests, now=at))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("batch", [True, False])
def test_every_balance_arrives_as_the_district_has_it(version: str, batch: bool) -> None:
    outcomes = pull(version=version, batch=batch)
    assert len(outcomes) == len(DISTRICT.places_at(BANK))
    for outcome in outcomes:
        assert isinstance(outcome, Pull), outcome
        readings = {reading.kind: reading for reading in outcome.readings}
        closing = readings[BalanceKind.BOOKED_CLOSING]
        assert (closing.amount, closing.on, closing.final) == (
            DISTRICT.balance(outcome.account_no, CLOSED), CLOSED, True,
        )
        assert readings[BalanceKind.BOOKED_INTRADAY].amount == DISTRICT.balance_at(outcome.account_no, AT)
        assert BalanceKind.AVAILABLE not in readings, "what the bank calls available has a credit line in it"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("since", [CLOSED, date(2026, 9, 28)])
def test_statements_are_asked_for_and_are_those_of_the_district(version: str, since: date) -> None:
    for outcome in pull(since=since, version=version):
        assert isinstance(outcome, Pull)
        assert outcome.refusals == ()
        (statement,) = outcome.statements
        stated = DISTRICT.statement(outcome.account_no, since, CLOSED)
        assert statement.final
        assert (statement.covers_from, statement.covers_to) == (since, CLOSED)
        assert (statement.opening, statement.closing) == (stated.opening, stated.closing)
        assert sorted(statement.entries, key=str) == sorted(stated.entries, key=str)


def test_a_day_that_has_not_closed_yet_is_a_notice() -> None:
    at = datetime(2026, 10, 14, 0, 10, tzinfo=ZONE)
    for outcome in pull(at, since=CLOSED):
        assert isinstance(outcome, Pull)
        assert not any(statement.final for statement in outcome.statements)
        assert {entry.booked_on for one in outcome.statements for entry in one.entries} <= {CLOSED}


def test_pages_are_followed_over_hundreds_of_accounts() -> None:
    district = replace(replay_district(seed=7, today=date(2026, 11, 22), institutions=400), only_bank=BANK)
    outcomes = pull(district=district)
    assert sum(isinstance(outcome, Pull) for outcome in outcomes) == 400


@pytest.mark.parametrize("batch", [True, False])
def test_garbage_becomes_a_refusal_whatever_is_wrong(batch: bool) -> None:
    reasons = set()
    for step in range(len(GARBAGE)):
        at = AT + timedelta(hours=step) if not batch else AT + timedelta(minutes=5 * step)
        for outcome in pull(at, batch=batch, condition=Condition.GARBAGE):
            assert isinstance(outcome, PullRefused), (step, outcome)
            reasons.add(outcome.refusal.reason)
    assert reasons == {
        R.BAD_AMOUNT, R.MISSING_FIELD, R.BAD_DATE, R.DATED_IN_FUTURE, R.WRONG_CURRENCY, R.MALFORMED, R.WRONG_ACCOUNT,
    } | ({R.NOT_FOUND} if batch else set())


def test_a_bank_that_asks_to_be_left_alone_is_not_called_again() -> None:
    with SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects={BANK: "open_banking_uk"}) as banks:
        banks.override(BANK, Condition.LIMITED)
        with connected(banks, AT, batch=False) as connector:
            for _ in range(3):
                (outcome,) = connector.pull([PullRequest(account=DISTRICT.account(0))], now=AT)
                assert isinstance(outcome, PullRefused)
                assert outcome.refusal.reason is R.RATE_LIMITED
            assert connector.rest_until == AT + timedelta(seconds=60)
        assert banks.answered == {(BANK, 429): 1}


def test_a_wrong_token_an_unknown_account_and_another_banks_account_are_said_as_such() -> None:
    mine, theirs = DISTRICT.account(0), DISTRICT.account(DISTRICT.places_at("fuxi")[0])
    unknown = replace(mine, external_id="no-such-account")
    for account, token, reason in (
        (mine, "another", R.UNAUTHORIZED), (unknown, None, R.NOT_FOUND), (theirs, None, R.FORBIDDEN),
    ):
        for version in VERSIONS:
            with (
                SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects={BANK: "open_banking_uk"}) as banks,
                connected(banks, AT, batch=False, token=token, version=version) as connector,
            ):
                (outcome,) = connector.pull([PullRequest(account=account)], now=AT)
            assert isinstance(outcome, PullRefused)
            assert outcome.refusal.reason is reason


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "balances", {"Authorization": ""}, 401),
        ("POST", "balances", {}, 405),
        ("GET", "balances", {"Accept": "text/xml"}, 406),
        ("GET", "balances", {"x-fapi-interaction-id": "7"}, 400),
        ("GET", "balances", {"x-fapi-financial-id": "another"}, 403),
        ("GET", "balances?page=9", {}, 400),
        ("GET", "accounts/x/transactions", {}, 400),
        ("GET", "accounts/{}/transactions?fromBookingDateTime=yesterday", {}, 400),
        ("GET", "nowhere", {}, 404),
        ("GET", "accounts/{}/transactions?fromBookingDateTime=2026-10-01", {}, 200),
    ],
)
def test_the_invented_bank_checks_what_it_is_asked(
    method: str, path: str, headers: Mapping[str, str], status: int
) -> None:
    account = DISTRICT.account(DISTRICT.places_at(BANK)[0])
    with SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects={BANK: "open_banking_uk"}) as banks:
        sent = {"Authorization": f"Bearer {banks.settings(BANK)['token']}", **headers}
        base = banks.settings(BANK)["base_url"]
        answer = httpx.request(method, f"{base}/{path.format(account.external_id)}", headers=sent, trust_env=False)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["Errors"][0]["ErrorCode"][:1] == "U"


def test_a_whole_round_puts_the_districts_figures_into_the_records(database: Database) -> None:
    """From what an operator writes, through the round, to rows: equal to the fen."""
    accounts = [DISTRICT.account(place) for place in DISTRICT.places_at(BANK)]
    with database.write() as session:
        save_accounts(session, accounts, now=AT)
    with SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects={BANK: "open_banking_uk"}) as banks:
        settings = Settings(banks={BANK: dict(banks.settings(BANK))})
        connector = make_connector(settings, BANK, FixedClock(AT))
        report = pull_balances(
            database=database, connector=connector, zone=ZONE, scheduled_at=AT, now_of=lambda: AT,
            watch=lambda **_: None,
        )
        connector.close()
    assert (report.counts["answered"], report.counts["statements_refused"]) == (len(accounts), 0), report
    assert report.counts["statements"] == len(accounts)
    with database.read() as session:
        for account in accounts:
            kept = {one.kind: one for one in readings(session, account.account_no) if one.on >= CLOSED}
            assert kept[BalanceKind.BOOKED_CLOSING].amount == DISTRICT.balance(account.account_no, CLOSED)
            assert kept[BalanceKind.BOOKED_INTRADAY].amount == DISTRICT.balance_at(account.account_no, AT)
