"""An invented bank that speaks CloudDC, and our own connector, understand each other, faults included."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from escrow_monitor.banks.connector import BankConnector, Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.making import make_connector
from escrow_monitor.banks.sm_envelope import Envelope, private_key_from, public_key_from, sm4_key_from
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import AccountStatus, BalanceKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.pull_balances import pull_balances
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.dialects.cmb_clouddc import GARBAGE, CmbCloudDcDialect, Garbage
from escrow_monitor.sandbox.district import ZONE, Condition, District, replay_district
from escrow_monitor.settings import Settings

DISTRICT = replay_district(seed=7, today=date(2026, 11, 22))
AT = datetime(2026, 10, 14, 7, 2, 30, tzinfo=UTC)  # 15:02 in Zigong
CLOSED = date(2026, 10, 13)
BANKS = ("yandu", "fuxi")
R = RefusalReason


@contextmanager
def served(at: datetime = AT, district: District = DISTRICT) -> Iterator[SandboxBanks]:
    with SandboxBanks(
        district=district, clock=FixedClock(at), dialects=dict.fromkeys(BANKS, "cmb_clouddc"), silent_seconds=0.05
    ) as banks:
        yield banks


@contextmanager
def connected(banks: SandboxBanks, bank: str, at: datetime = AT, **changes: object) -> Iterator[BankConnector]:
    section = {**banks.settings(bank), "retries": 0, **changes}
    connector = make_connector(Settings.model_validate({"banks": {bank: section}}), bank, FixedClock(at))
    try:
        yield connector
    finally:
        connector.close()


def pull(
    bank: str = "yandu", at: datetime = AT, *, since: date | None = None, condition: Condition | None = None,
    district: District = DISTRICT, rows_max: int | None = None, **changes: object,
) -> list[PullOutcome]:
    requests = [
        PullRequest(account=district.account(place), statements_from=since) for place in district.places_at(bank)
    ]
    with served(at, district) as banks, connected(banks, bank, at, **changes) as connector:
        banks.override(bank, condition)
        if rows_max is not None:
            dialect(banks, bank).rows_max = rows_max
        return list(connector.pull(requests, now=at))


def dialect(banks: SandboxBanks, bank: str = "yandu") -> CmbCloudDcDialect:
    spoken = banks.desk.dialect(banks.desk.bank(bank))
    assert isinstance(spoken, CmbCloudDcDialect)
    return spoken


@pytest.mark.parametrize("bank", BANKS)
def test_every_balance_arrives_as_the_district_has_it(bank: str) -> None:
    outcomes = pull(bank)
    assert len(outcomes) == len(DISTRICT.places_at(bank))
    for outcome in outcomes:
        assert isinstance(outcome, Pull), outcome
        said = {one.kind: one for one in outcome.readings}
        assert said[BalanceKind.BOOKED_INTRADAY].amount == DISTRICT.balance_at(outcome.account_no, AT)


@pytest.mark.parametrize("rows_max", [200, 7])
@pytest.mark.parametrize("bank", BANKS)
def test_statements_are_those_of_the_district_page_by_page(bank: str, rows_max: int) -> None:
    since = date(2026, 9, 12)
    for outcome in pull(bank, since=since, rows_max=rows_max):
        assert isinstance(outcome, Pull)
        assert outcome.refusals == ()
        (statement,) = outcome.statements
        stated = DISTRICT.statement(outcome.account_no, since, CLOSED)
        assert statement.final
        assert (statement.opening, statement.closing) == (stated.opening, stated.closing)
        assert (statement.covers_from, statement.covers_to) == (since, CLOSED)
        told = [(one.booked_on, one.amount, one.text, one.value_on) for one in statement.entries]
        assert told == [(one.booked_on, one.amount, one.text, one.value_on) for one in stated.entries]
        finals = {one.on: one.amount for one in outcome.readings if one.final}
        assert finals == {
            since + timedelta(days=n): DISTRICT.balance(outcome.account_no, since + timedelta(days=n))
            for n in range((CLOSED - since).days + 1)
        }


def test_held_money_is_said_and_the_overdraft_line_is_not_taken_for_money() -> None:
    held, hidden = 0, 0
    for outcome in pull():
        assert isinstance(outcome, Pull)
        said = {one.kind: one.amount for one in outcome.readings}
        booked, place = said[BalanceKind.BOOKED_INTRADAY], DISTRICT.place(outcome.account_no)
        spoken = CmbCloudDcDialect(DISTRICT)
        assert said[BalanceKind.HELD] == Money(spoken.held(place, booked.minor_units), "CNY")
        held += said[BalanceKind.HELD].minor_units > 0
        if spoken.overdraft(place):
            hidden += 1
            assert BalanceKind.AVAILABLE not in said
        else:
            assert said[BalanceKind.AVAILABLE] == booked - said[BalanceKind.HELD]
    assert (held > 0, hidden > 0) == (True, True)


def test_a_frozen_account_arrives_as_frozen() -> None:
    district = replace(DISTRICT, only_bank="yandu")
    outcomes = {one.account_no: one for one in pull(at=AT + timedelta(days=3), district=district)}
    frozen = outcomes[district.account_no(6)]
    assert isinstance(frozen, Pull)
    assert frozen.account_status is AccountStatus.FROZEN


def test_before_the_day_is_closed_it_is_not_covered() -> None:
    at = datetime(2026, 10, 14, 0, 10, tzinfo=ZONE)
    for outcome in pull(at=at, since=date(2026, 10, 12)):
        assert isinstance(outcome, Pull)
        assert [one.covers_to for one in outcome.statements] == [date(2026, 10, 12)]
        assert outcome.refusals == ()


def test_more_than_thirty_accounts_are_asked_for_in_batches() -> None:
    district = replace(replay_district(seed=7, today=date(2026, 11, 22), institutions=100), only_bank="yandu")
    with served(district=district) as banks, connected(banks, "yandu") as connector:
        outcomes = list(connector.pull([PullRequest(account=one) for one in district.accounts()], now=AT))
        assert sum(isinstance(one, Pull) for one in outcomes) == 100
        assert banks.answered == {("yandu", 200): 4}


def test_garbage_is_refused_by_name_or_does_no_harm() -> None:
    """Every form for every account: what is read is right, all else is a refusal."""
    district = replace(DISTRICT, only_bank="yandu")
    first = datetime(2026, 10, 14, 0, 7, tzinfo=ZONE)
    reasons, harmless = set(), set()
    for hour in (0, 1, 2, 4, 8, 12, 16, 20):  # every fourth hour spoils the whole answer
        at = first + timedelta(hours=hour)
        for outcome in pull(at=at, condition=Condition.GARBAGE, district=district, since=date(2026, 10, 8)):
            if isinstance(outcome, PullRefused):
                reasons.add(outcome.refusal.reason)
                continue
            harmless.add(GARBAGE[(hour + district.place(outcome.account_no)) % len(GARBAGE)])
            (refusal,) = outcome.refusals
            reasons.add(refusal.reason)
            running = [one.amount for one in outcome.readings if one.kind is BalanceKind.BOOKED_INTRADAY]
            assert running == [district.balance_at(outcome.account_no, at)]
    assert harmless == {Garbage.BLANKS, Garbage.VIRTUAL}
    assert reasons == {
        R.FORBIDDEN, R.WRONG_ACCOUNT, R.BAD_AMOUNT, R.WRONG_CURRENCY, R.CONTRADICTS, R.BAD_SIGNATURE, R.MALFORMED,
        R.DATED_IN_FUTURE, R.UNEXPECTED_STATUS, R.DOES_NOT_TIE,
    }


@pytest.mark.parametrize(
    ("condition", "reason"), [(Condition.SILENT, R.UNREACHABLE), (Condition.LIMITED, R.RATE_LIMITED)]
)
def test_a_bank_that_says_nothing_leaves_no_reading(condition: Condition, reason: RefusalReason) -> None:
    for outcome in pull(condition=condition):
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is reason


@pytest.mark.parametrize(
    "changes", [{"user_id": "N000000001"}, {"sm2_private_key": "11" * 32}, {"sm4_key": "another-16-bytes"}]
)
def test_the_invented_bank_turns_strangers_away(changes: dict[str, object]) -> None:
    for outcome in pull(**changes):  # type: ignore[arg-type]
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is R.FORBIDDEN


def test_another_banks_public_key_opens_no_answer() -> None:
    with served() as banks:
        key = banks.settings("fuxi")["bank_public_key"]
    for outcome in pull(bank_public_key=key):
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is R.BAD_SIGNATURE


class Customer:
    """A customer that writes its messages by hand."""

    def __init__(self, banks: SandboxBanks) -> None:
        section = {name: str(value) for name, value in banks.settings("yandu").items()}
        self.url, self.user_id = section["base_url"], section["user_id"]
        self.number = banks.district.account_no(0)
        self.envelope = Envelope(
            user_id=self.user_id, private_key=private_key_from(section["sm2_private_key"]),
            their_public_key=public_key_from(section["bank_public_key"]), key=sm4_key_from(section["sm4_key"]),
        )

    def send(
        self, funcode: str, body: object, *, reqid: str = "20261014150230000A", signed_at: str = "20261014150230",
        form: dict[str, str] | None = None, head: dict[str, str] | None = None,
    ) -> httpx.Response:
        message = {"head": {"funcode": funcode, "userid": self.user_id, "reqid": reqid, **(head or {})}, "body": body}
        data = self.envelope.seal({"request": message}, signed_at=signed_at).decode()
        sent = {"UID": self.user_id, "FUNCODE": funcode, "ALG": "SM", "DATA": data, **(form or {})}
        return httpx.post(
            self.url, content=urlencode(sent).encode(), trust_env=False,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

    def code(self, funcode: str, body: object) -> str:
        _, document = self.envelope.open(self.send(funcode, body).content)
        response: Any = document["response"]
        return str(response["head"]["resultcode"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"form": {"UID": "N1"}}, {"form": {"ALG": "RSA"}}, {"form": {"FUNCODE": "NTQABINF"}},
        {"form": {"DATA": base64.b64encode(b"0" * 64).decode()}}, {"form": {"DATA": ""}},
        {"head": {"userid": "N000000001"}}, {"signed_at": "20261014130000"}, {"signed_at": "now"},
        {"reqid": "20261014150230000"}, {"reqid": "20261014150230000-"}, {"reqid": "20261014150230000" + "A" * 35},
        {"reqid": "20261014130230000A"}, {"reqid": "2026101415023"},
    ],
)
def test_the_invented_bank_checks_the_envelope(wrong: dict[str, Any]) -> None:
    with served() as banks:
        customer = Customer(banks)
        assert customer.send("NTQADINF", {}, **wrong).content.startswith(b"CDCServer:ErrMsg:")
        assert not customer.send("NTQADINF", {}).content.startswith(b"CDCServer:")
        assert b"used before" in customer.send("NTQADINF", {}).content


def test_the_invented_bank_checks_what_it_is_asked() -> None:
    with served() as banks:
        asked = {"accnbr": DISTRICT.account_no(0)}
        entries = {"cardNbr": asked["accnbr"], "beginDate": "20261001", "endDate": "20261005"}
        cursor = [{"acctNbr": "1", "transDate": "20261001", "expectNextSequence": "1"}]
        for funcode, body, code in (
            ("NTQADINF", {"ntqadinfx": [asked] * 30}, "SUC0000"), ("NTQADINF", {"ntqadinfx": [asked] * 31}, "SBX0002"),
            ("NTQADINF", {}, "SBX0002"), ("NTQADINF", {"ntqadinfx": {}}, "SBX0008"), ("NTPAYOUT", {}, "SBX0001"),
            ("NTQABINF", {"ntqabinfy": [{**asked, "bgndat": "20260901", "enddat": "20261002"}]}, "SUC0000"),
            ("NTQABINF", {"ntqabinfy": [{**asked, "bgndat": "20260901", "enddat": "20261003"}]}, "SBX0004"),
            ("NTQABINF", {"ntqabinfy": [{**asked, "bgndat": "20261001", "enddat": "20261014"}]}, "SBX0004"),
            ("NTQABINF", {"ntqabinfy": [{"accnbr": "1", "bgndat": "20261001", "enddat": "20261002"}]}, "SBX0004"),
            ("NTQABINF", {"ntqabinfy": [{**asked, "bgndat": "1", "enddat": "20261002"}]}, "SBX0008"),
            ("trsQryByBreakPoint", {"TRANSQUERYBYBREAKPOINT_X1": [entries]}, "SUC0000"),
            ("trsQryByBreakPoint", {"TRANSQUERYBYBREAKPOINT_X1": [{**entries, "currencyCode": "32"}]}, "SBX0005"),
            ("trsQryByBreakPoint", {"TRANSQUERYBYBREAKPOINT_X1": [{**entries, "endDate": "20260901"}]}, "SBX0005"),
            (
                "trsQryByBreakPoint",
                {"TRANSQUERYBYBREAKPOINT_X1": [entries], "TRANSQUERYBYBREAKPOINT_Y1": cursor}, "SBX0006",
            ),
        ):
            dialect(banks)._met.clear()  # the ids are written by hand
            assert Customer(banks).code(funcode, body) == code, (funcode, body)


@pytest.mark.parametrize("bank", BANKS)
def test_a_whole_round_puts_the_districts_figures_into_the_records(bank: str, database: Database) -> None:
    """From what an operator writes, through the round, to rows: equal to the fen."""
    places = DISTRICT.places_at(bank)
    with database.write() as session:
        save_institutions(session, [DISTRICT.institution(place) for place in places], now=AT)
        save_accounts(session, [DISTRICT.account(place) for place in places], now=AT)
    with served() as banks, connected(banks, bank) as connector:
        report = pull_balances(
            database=database, connector=connector, zone=ZONE, scheduled_at=AT, now_of=lambda: AT,
            watch=lambda **_: None,
        )
    assert (report.counts["answered"], report.counts["refused"]) == (len(places), 0), report
    assert (report.counts["statements"], report.counts["statements_refused"]) == (len(places), 0)
    with database.read() as session:
        for place in places:
            number = DISTRICT.account_no(place)
            kept = {one.kind: one.amount for one in readings(session, number) if one.on >= CLOSED}
            assert kept[BalanceKind.BOOKED_CLOSING] == DISTRICT.balance(number, CLOSED)
            assert kept[BalanceKind.BOOKED_INTRADAY] == DISTRICT.balance_at(number, AT)
            held = CmbCloudDcDialect(DISTRICT).held(place, kept[BalanceKind.BOOKED_INTRADAY].minor_units)
            assert kept[BalanceKind.HELD] == Money(held, "CNY")
