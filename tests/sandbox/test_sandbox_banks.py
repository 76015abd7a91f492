"""The invented banks over real loopback HTTP: they check what they are asked, and falter as told."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from escrow_monitor.clock import FixedClock
from escrow_monitor.errors import OutsideError
from escrow_monitor.sandbox.answers import Desk
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.dialects.berlin_group import GARBAGE, Garbage, spoil
from escrow_monitor.sandbox.district import Condition, SandboxBank, replay_district

DISTRICT = replay_district(seed=7, today=date(2026, 11, 22))
AT = datetime(2026, 10, 9, 7, 2, 30, tzinfo=UTC)
CLOSED = date(2026, 10, 8)


@dataclass
class Caller:
    """Asks one bank as a correct client would, unless told otherwise."""

    banks: SandboxBanks
    client: httpx.Client

    def get(self, bank: str, path: str, **headers: str | None) -> httpx.Response:
        sent = {**proper(self.bank(bank)), **{key.replace("_", "-"): value for key, value in headers.items()}}
        url = self.banks.base_url(bank) + path
        return self.client.get(url, headers={name: value for name, value in sent.items() if value is not None})

    def bank(self, name: str) -> SandboxBank:
        return next(bank for bank in self.banks.district.banks if bank.name == name)


def proper(bank: SandboxBank) -> dict[str, str | None]:
    return {
        "Authorization": f"Bearer {bank.token}", "Consent-ID": bank.consent_id, "X-Request-ID": str(uuid.uuid4()),
    }


@pytest.fixture
def call() -> Iterator[Caller]:
    with (
        SandboxBanks(district=DISTRICT, clock=FixedClock(AT), slow_seconds=0.2, silent_seconds=0.2) as banks,
        httpx.Client(trust_env=False, timeout=5) as client,
    ):
        yield Caller(banks, client)


def external_id(place: int) -> str:
    found = DISTRICT.account(place).external_id
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": None}, 401, "TOKEN_INVALID"),
        ({"Authorization": "Bearer sandbox-fuxi-token"}, 401, "TOKEN_INVALID"),
        ({"X_Request_ID": None}, 400, "FORMAT_ERROR"),
        ({"X_Request_ID": "not a uuid"}, 400, "FORMAT_ERROR"),
        ({"Consent_ID": None}, 400, "FORMAT_ERROR"),
        ({"Consent_ID": "another"}, 403, "CONSENT_UNKNOWN"),
    ],
)
def test_a_bank_refuses_a_request_that_is_not_in_order(
    call: Caller, headers: dict[str, str | None], status: int, code: str
) -> None:
    answer = call.get("yandu", "/v1/accounts?withBalance=true", **headers)
    assert answer.status_code == status
    assert answer.json()["tppMessages"][0]["code"] == code
    assert call.banks.answered["yandu", status] == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/elsewhere", 404),
        ("/v1/accounts/00000000-0000-4000-8000-000000000000/balances", 404),
        (f"/v1/accounts/{external_id(2)}/balances", 404),  # an account of another bank
        (f"/v1/accounts/{external_id(0)}/transactions?dateFrom=2026-10-01", 400),
        (f"/v1/accounts/{external_id(0)}/transactions?bookingStatus=booked", 400),
        (f"/v1/accounts/{external_id(0)}/transactions?bookingStatus=booked&dateFrom=1.10.2026", 400),
        ("/v1/accounts?withBalance=true&itemsPerPage=0", 400),
        ("/v1/accounts?withBalance=true&pageIndex=-1", 400),
    ],
)
def test_what_does_not_exist_or_cannot_be_read_is_an_error(call: Caller, path: str, status: int) -> None:
    assert call.get("yandu", path).status_code == status


def test_a_bank_that_does_not_exist_and_another_method_are_errors(call: Caller) -> None:
    assert call.client.get(call.banks.url + "/nowhere/v1/accounts").status_code == 404
    bank = call.bank("yandu")
    headers = {name: value for name, value in proper(bank).items() if value}
    answer = call.client.request("DELETE", call.banks.base_url("yandu") + "/v1/accounts", headers=headers)
    assert answer.status_code == 405


def test_balances_are_those_of_the_district(call: Caller) -> None:
    number = DISTRICT.account_no(2)
    answer = call.get("fuxi", f"/v1/accounts/{external_id(2)}/balances").json()
    assert answer["account"] == {"bban": number, "currency": "CNY"}
    found = {one["balanceType"]: one for one in answer["balances"]}
    assert found["closingBooked"]["balanceAmount"]["amount"] == DISTRICT.balance(number, CLOSED).text
    assert found["closingBooked"]["referenceDate"] == str(CLOSED)
    assert found["interimBooked"]["balanceAmount"]["amount"] == DISTRICT.balance_at(number, AT).text
    assert found["interimBooked"]["lastChangeDateTime"] == "2026-10-09T15:00:00+08:00"


def test_the_closing_of_a_day_is_the_opening_of_the_next_and_the_transactions_tie(call: Caller) -> None:
    number = DISTRICT.account_no(2)
    query = "bookingStatus=booked&dateFrom=2026-10-01&dateTo=2026-10-31&withBalance=true"
    answer = call.get("fuxi", f"/v1/accounts/{number}/transactions?{query}").json()
    balances = {one["balanceType"]: one for one in answer["balances"]}
    assert balances["openingBooked"]["balanceAmount"]["amount"] == DISTRICT.balance(number, date(2026, 9, 30)).text
    assert balances["closingBooked"]["referenceDate"] == str(CLOSED)
    moved = sum(fen(one["transactionAmount"]["amount"]) for one in answer["transactions"]["booked"])
    opening, closing = (
        fen(balances[kind]["balanceAmount"]["amount"]) for kind in ("openingBooked", "closingBooked")
    )
    assert opening + moved == closing


def test_transactions_of_days_that_are_not_closed_are_not_given(call: Caller) -> None:
    path = f"/v1/accounts/{external_id(2)}/transactions?bookingStatus=booked&dateFrom=2026-10-09&withBalance=true"
    answer = call.get("fuxi", path).json()
    assert answer["transactions"]["booked"] == []
    assert "balances" not in answer


def test_pages_are_linked_and_hold_every_account_once() -> None:
    district = replace(replay_district(seed=7, today=date(2026, 11, 22), institutions=1200), only_bank="yandu")
    with (
        SandboxBanks(district=district, clock=FixedClock(AT)) as banks,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):
        headers = {name: value for name, value in proper(district.banks[0]).items() if value}
        seen: list[str] = []
        target, pages = "/yandu/v1/accounts?withBalance=true", 0
        while target:
            answer = client.get(banks.url + target, headers=headers).json()
            seen += [account["bban"] for account in answer["accounts"]]
            target, pages = answer.get("_links", {}).get("next", {}).get("href", ""), pages + 1
    assert pages == 3
    assert seen == [account.account_no for account in district.accounts()]


def test_a_page_states_the_balances_that_each_account_states_alone(call: Caller) -> None:
    page = call.get("yandu", "/v1/accounts?withBalance=true").json()["accounts"]
    for account in page:
        alone = call.get("yandu", f"/v1/accounts/{account['resourceId']}/balances").json()
        assert alone["balances"] == account["balances"]
        assert call.get("yandu", f"/v1/accounts/{account['bban']}/balances").json() == alone
        assert account["status"] == "enabled"
    assert "balances" not in call.get("yandu", "/v1/accounts").json()["accounts"][0]


def test_a_frozen_account_is_blocked(call: Caller) -> None:
    frozen = AT + timedelta(days=8)
    with SandboxBanks(district=DISTRICT, clock=FixedClock(frozen), slow_seconds=0) as banks:
        answer = Caller(banks, call.client).get("shuanghe", f"/v1/accounts/{external_id(6)}").json()
    assert answer["account"]["status"] == "blocked"


def test_a_silent_bank_takes_the_request_and_hangs_up(call: Caller) -> None:
    call.banks.override("yandu", Condition.SILENT)
    with pytest.raises(httpx.RemoteProtocolError):
        call.get("yandu", "/v1/accounts")
    assert call.banks.answered["yandu", 0] == 1
    call.banks.override("yandu", None)
    assert call.get("yandu", "/v1/accounts").status_code == 200


def test_a_slow_bank_answers_late_and_delays_no_other(call: Caller) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: call.get("shuanghe", "/v1/accounts"), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert 0.2 <= time.monotonic() - started < 0.7


def test_the_story_makes_the_banks_falter_on_their_days(call: Caller) -> None:
    for day in range(DISTRICT.story.silent.start, DISTRICT.story.silent.stop):
        at = datetime.combine(DISTRICT.story_on, AT.timetz()) + timedelta(days=day)
        banks = SandboxBanks(district=DISTRICT, clock=FixedClock(at), silent_seconds=0)
        with banks, pytest.raises(httpx.RemoteProtocolError):
            Caller(banks, call.client).get("nanhu", "/v1/accounts")


def test_garbage_takes_every_form_and_truncation_within_two_days() -> None:
    desk, first = Desk(district=DISTRICT), DISTRICT.story_on + timedelta(days=DISTRICT.story.garbage.start)
    place = DISTRICT.places_at("haitang")[0]
    bank = DISTRICT.bank_of(place)
    headers = {name.lower(): value for name, value in proper(bank).items() if value}
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(hours=8)
    for target in ("/haitang/v1/accounts?withBalance=true", f"/haitang/v1/accounts/{external_id(place)}/balances"):
        bodies = []
        for hour in range(48):
            at = begin + timedelta(hours=hour)
            good = desk.answer(method="GET", target=target, headers=headers, at=at, condition=Condition.WELL).body
            bad = desk.answer(method="GET", target=target, headers=headers, at=at).body
            assert good != bad
            json.loads(good)
            bodies.append(bad.decode())
        assert any('"1e5"' in body for body in bodies)
        assert any("NaN" in body for body in bodies)
        assert any("USD" in body for body in bodies)
        assert any('"12345678901234567890"' in body for body in bodies)
        assert any(not body.endswith("}") for body in bodies)


@pytest.mark.parametrize("form", GARBAGE)
def test_every_kind_of_garbage_differs_from_a_right_answer(form: Garbage) -> None:
    right = (
        '{"account":{"bban":"6219012345678901234","currency":"CNY"},"balances":[{"balanceAmount":{"currency":"CNY",'
        '"amount":"1.00"},"balanceType":"closingBooked","referenceDate":"2026-10-08"}]}'
    )
    wrong = spoil(right, form, date(2026, 10, 9))
    assert wrong != right
    if form is Garbage.TOMORROW:
        assert "2026-10-10" in wrong


def test_the_same_clock_gives_the_same_bytes() -> None:
    bodies = []
    for _ in range(2):
        desk = Desk(district=replay_district(seed=7, today=date(2026, 11, 22)))
        headers = {name.lower(): value for name, value in proper(DISTRICT.bank_of(0)).items() if value}
        target = "/yandu/v1/accounts?withBalance=true"
        bodies.append(desk.answer(method="GET", target=target, headers=headers, at=AT).body)
    assert bodies[0] == bodies[1]


def test_a_port_that_is_taken_is_said(call: Caller) -> None:
    with pytest.raises(OutsideError, match="cannot listen on port"):
        SandboxBanks(district=DISTRICT, clock=FixedClock(AT), port=call.banks.port).start()


def test_nothing_a_caller_sends_stops_the_banks(call: Caller) -> None:
    for sent in (b"\r\n\r\n", b"GET\r\n\r\n", b"\xff" * 70_000, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", call.banks.port), timeout=5) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            line.recv(1024)
    assert call.get("yandu", "/v1/accounts").status_code == 200


def test_a_hundred_thousand_accounts_are_served_by_pages_quickly() -> None:
    district = replace(replay_district(seed=7, today=date(2026, 11, 22), institutions=100_000), only_bank="yandu")
    desk = Desk(district=district)
    assert desk.render_pages("yandu", at=AT) == 200
    started = time.process_time()
    desk.render_pages("yandu", at=AT + timedelta(minutes=5))
    assert time.process_time() - started < 3


def fen(amount: str) -> int:
    return int(amount.replace(".", ""))
