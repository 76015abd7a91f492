"""The invented banks and our own Berlin Group client understand each other, faults included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import AccountStatus, BalanceKind
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.dialects.berlin_group import BerlinGroupDialect
from escrow_monitor.sandbox.district import ZONE, Condition, District, SandboxBank, replay_district

DISTRICT = replay_district(seed=7, today=date(2026, 11, 22))
AT = datetime(2026, 10, 14, 7, 2, 30, tzinfo=UTC)  # a day on which every bank answers in order
CLOSED = date(2026, 10, 13)
SPEAKING = [bank for bank in DISTRICT.banks if bank.connector == "berlin_group"]


@contextmanager
def connected(banks: SandboxBanks, bank: SandboxBank, at: datetime) -> Iterator[BerlinGroup]:
    connector = BerlinGroup(
        bank.name, BankHttp(base_url=banks.base_url(bank.name), token=bank.token, timeout_seconds=60, retries=0),
        consent_id=bank.consent_id, zone=ZONE, clock=FixedClock(at), batch=bank.batch,
    )
    try:
        yield connector
    finally:
        connector.close()


def pull(
    district: District, bank: SandboxBank, at: datetime, *, since: date | None = None,
    condition: Condition | None = None,
) -> list[PullOutcome]:
    requests = [
        PullRequest(account=district.account(place), statements_from=since) for place in district.places_at(bank.name)
    ]
    with SandboxBanks(district=district, clock=FixedClock(at), slow_seconds=0.05, silent_seconds=0.05) as banks:
        banks.override(bank.name, condition)
        with connected(banks, bank, at) as connector:
            return list(connector.pull(requests, now=at))


@pytest.mark.parametrize("bank", SPEAKING, ids=lambda bank: bank.name)
def test_every_balance_arrives_as_the_district_has_it(bank: SandboxBank) -> None:
    condition = Condition.SLOW if bank.slow else Condition.WELL
    outcomes = pull(DISTRICT, bank, AT, condition=condition)
    assert len(outcomes) == len(DISTRICT.places_at(bank.name))
    for outcome in outcomes:
        assert isinstance(outcome, Pull), outcome
        readings = {reading.kind: reading for reading in outcome.readings}
        closing = readings[BalanceKind.BOOKED_CLOSING]
        assert (closing.amount, closing.on, closing.final) == (
            DISTRICT.balance(outcome.account_no, CLOSED), CLOSED, True,
        )
        assert readings[BalanceKind.BOOKED_INTRADAY].amount == DISTRICT.balance_at(outcome.account_no, AT)


@pytest.mark.parametrize("bank", SPEAKING, ids=lambda bank: bank.name)
def test_statements_are_asked_for_and_are_those_of_the_district(bank: SandboxBank) -> None:
    since = date(2026, 9, 28)
    for outcome in pull(DISTRICT, bank, AT, since=since, condition=Condition.WELL):
        assert isinstance(outcome, Pull)
        assert outcome.refusals == ()
        (statement,) = outcome.statements
        stated = DISTRICT.statement(outcome.account_no, since, CLOSED)
        assert statement.final
        assert (statement.covers_from, statement.covers_to) == (since, CLOSED)
        assert (statement.opening, statement.closing, statement.entries) == (
            stated.opening, stated.closing, stated.entries,
        )


def test_a_list_too_large_for_the_bank_is_downloaded() -> None:
    bank, since = SPEAKING[0], date(2026, 9, 28)
    requests = [
        PullRequest(account=DISTRICT.account(place), statements_from=since) for place in DISTRICT.places_at(bank.name)
    ]
    with SandboxBanks(district=DISTRICT, clock=FixedClock(AT)) as banks:
        dialect = banks.desk.dialect(bank)
        assert isinstance(dialect, BerlinGroupDialect)
        dialect.download_above = 2
        with connected(banks, bank, AT) as connector:
            outcomes = list(connector.pull(requests, now=AT))
        assert banks.answered[bank.name, 200] == 1 + 2 * len(requests)
    for outcome in outcomes:
        assert isinstance(outcome, Pull)
        assert outcome.refusals == ()
        assert outcome.statements[0].entries == DISTRICT.statement(outcome.account_no, since, CLOSED).entries


def test_used_up_accesses_end_the_calls_of_the_day() -> None:
    bank = replace(SPEAKING[0], batch=False)
    with SandboxBanks(district=DISTRICT, clock=FixedClock(AT)) as banks:
        banks.override(bank.name, Condition.LIMITED)
        with connected(banks, bank, AT) as connector:
            for _ in range(3):
                (outcome,) = connector.pull([PullRequest(account=DISTRICT.account(0))], now=AT)
                assert isinstance(outcome, PullRefused)
                assert outcome.refusal.reason is RefusalReason.RATE_LIMITED
            assert connector.rest_until == datetime(2026, 10, 14, 16, tzinfo=UTC)
        assert banks.answered == {(bank.name, 429): 1}


def test_after_midnight_a_statement_asked_too_early_is_not_made_up() -> None:
    at = datetime(2026, 10, 14, 0, 10, tzinfo=ZONE)
    for outcome in pull(DISTRICT, SPEAKING[0], at, since=CLOSED):
        assert isinstance(outcome, Pull)
        assert outcome.statements == ()
        assert outcome.refusals == ()


def test_pages_of_five_hundred_are_followed() -> None:
    district = replace(replay_district(seed=7, today=date(2026, 11, 22), institutions=1100), only_bank="yandu")
    outcomes = pull(district, district.banks[0], AT)
    assert sum(isinstance(outcome, Pull) for outcome in outcomes) == 1100


def test_a_frozen_account_arrives_as_frozen() -> None:
    at = AT + timedelta(days=3)
    outcomes = {one.account_no: one for one in pull(DISTRICT, DISTRICT.bank_of(6), at)}
    frozen = outcomes[DISTRICT.account_no(6)]
    assert isinstance(frozen, Pull)
    assert frozen.account_status is AccountStatus.FROZEN


def test_silence_becomes_a_refusal_and_no_reading() -> None:
    for bank in SPEAKING:
        for outcome in pull(DISTRICT, bank, AT, condition=Condition.SILENT):
            assert isinstance(outcome, PullRefused)
            assert outcome.refusal.reason is RefusalReason.UNREACHABLE


@pytest.mark.parametrize("batch", [True, False])
def test_garbage_becomes_a_refusal_with_every_reason_of_what_was_wrong(batch: bool) -> None:
    bank = replace(next(bank for bank in SPEAKING if bank.name == "haitang"), batch=batch)
    first = datetime.combine(DISTRICT.story_on + timedelta(days=DISTRICT.story.garbage.start), AT.timetz())
    reasons = set()
    for hour in range(24):
        for outcome in pull(DISTRICT, bank, first + timedelta(hours=hour), condition=Condition.GARBAGE):
            assert isinstance(outcome, PullRefused), (hour, outcome)
            reasons.add(outcome.refusal.reason)
    assert reasons == {
        RefusalReason.MALFORMED, RefusalReason.BAD_AMOUNT, RefusalReason.WRONG_CURRENCY, RefusalReason.WRONG_ACCOUNT,
        RefusalReason.DATED_IN_FUTURE,
    }


def test_a_wrong_token_or_consent_is_said_as_such() -> None:
    for wrong, reason in (
        ({"token": "another"}, RefusalReason.UNAUTHORIZED), ({"consent_id": "another"}, RefusalReason.FORBIDDEN),
    ):
        with (
            SandboxBanks(district=DISTRICT, clock=FixedClock(AT)) as banks,
            connected(banks, replace(SPEAKING[0], **wrong), AT) as connector,
        ):
            (outcome, *_) = connector.pull([PullRequest(account=DISTRICT.account(0))], now=AT)
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is reason
