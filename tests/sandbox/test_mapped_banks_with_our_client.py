"""Banks with forms of their own, and the connectors that know them by configuration alone, understand each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from escrow_monitor.banks.connector import BankConnector, Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.making import make_connector
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import BalanceKind
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.records.accounts import save_accounts
from escrow_monitor.records.bank.readings import readings
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.pull_balances import pull_balances
from escrow_monitor.sandbox.banks import SandboxBanks
from escrow_monitor.sandbox.dialects import json_bank, xml_bank
from escrow_monitor.sandbox.district import ZONE, Condition, District, replay_district
from escrow_monitor.settings import load_settings

DIALECTS = {"yandu": "json_bank", "fuxi": "xml_bank"}
DISTRICT = replay_district(seed=7, today=date(2026, 11, 22), institutions=60)
AT = datetime(2026, 10, 14, 7, 2, 30, tzinfo=UTC)
CLOSED = date(2026, 10, 13)
R = RefusalReason


def toml(value: object) -> str:
    """A value as an operator would write it."""
    if isinstance(value, Mapping):
        keys = (f"{json.dumps(name, ensure_ascii=False)} = {toml(one)}" for name, one in value.items())
        return f"{{{', '.join(keys)}}}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    assert isinstance(value, str | int), value
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def connected(banks: SandboxBanks, bank: str, folder: Path, at: datetime, **changes: object) -> Iterator[BankConnector]:
    """The connector that a configuration file makes."""
    keys = {**banks.settings(bank), "retries": 0, "timeout_seconds": 60, **changes}
    path = folder / "escrow-monitor.toml"
    lines = [f"[banks.{bank}]", *(f"{name} = {toml(value)}" for name, value in keys.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    connector = make_connector(load_settings(path, {}), bank, FixedClock(at))
    try:
        yield connector
    finally:
        connector.close()


def pull(
    bank: str, folder: Path, at: datetime = AT, *, district: District = DISTRICT, since: date | None = None,
    condition: Condition | None = None,
) -> list[PullOutcome]:
    requests = [
        PullRequest(account=district.account(place), statements_from=since) for place in district.places_at(bank)
    ]
    with SandboxBanks(district=district, clock=FixedClock(at), dialects=DIALECTS) as banks:
        banks.override(bank, condition)
        with connected(banks, bank, folder, at) as connector:
            return list(connector.pull(requests, now=at))


@pytest.mark.parametrize("bank", DIALECTS)
def test_every_balance_and_every_entry_arrives_as_the_district_has_it(bank: str, tmp_path: Path) -> None:
    since = CLOSED - timedelta(days=70)
    outcomes = pull(bank, tmp_path, since=since)
    assert len(outcomes) == len(DISTRICT.places_at(bank)) > 3
    for outcome in outcomes:
        assert isinstance(outcome, Pull), outcome
        number = outcome.account_no
        assert not outcome.refusals, outcome.refusals
        stated = {one.kind: one for one in outcome.readings}
        assert stated[BalanceKind.BOOKED_CLOSING].amount == DISTRICT.balance(number, CLOSED)
        assert (stated[BalanceKind.BOOKED_CLOSING].on, stated[BalanceKind.BOOKED_CLOSING].final) == (CLOSED, True)
        assert stated[BalanceKind.BOOKED_INTRADAY].amount == DISTRICT.balance_at(number, AT)
        assert stated[BalanceKind.AVAILABLE].amount == DISTRICT.balance_at(number, AT)
        assert outcome.account_status is DISTRICT.status_at(number, AT)
        whole = DISTRICT.statement(number, since, CLOSED)
        assert outcome.statements[0].opening == whole.opening
        assert outcome.statements[0].covers_from == since
        assert (outcome.statements[-1].closing, outcome.statements[-1].covers_to) == (whole.closing, CLOSED)
        entries = [entry for statement in outcome.statements for entry in statement.entries]
        assert [(one.booked_on, one.amount, one.bank_ref, one.text) for one in entries] == [
            (one.booked_on, one.amount, one.bank_ref, one.text) for one in whole.entries
        ]


@pytest.mark.parametrize("bank", DIALECTS)
def test_a_quiet_day_is_covered_too(bank: str, tmp_path: Path) -> None:
    """Entries or not, the last closed day ends with the final balance."""
    for outcome in pull(bank, tmp_path, since=CLOSED):
        assert isinstance(outcome, Pull), outcome
        (statement,) = outcome.statements
        assert (statement.covers_from, statement.covers_to, statement.final) == (CLOSED, CLOSED, True)
        assert statement.closing == DISTRICT.balance(outcome.account_no, CLOSED)


@pytest.mark.parametrize("bank", DIALECTS)
@pytest.mark.parametrize("hour", range(24))
def test_no_garbage_becomes_a_reading(bank: str, hour: int, tmp_path: Path) -> None:
    at = datetime(2026, 10, 14, hour, 7, tzinfo=ZONE)
    for outcome in pull(bank, tmp_path, at, condition=Condition.GARBAGE, since=CLOSED - timedelta(days=3)):
        assert isinstance(outcome, PullRefused), outcome
        assert outcome.raw, "the garbage is kept as evidence"


@pytest.mark.parametrize("bank", DIALECTS)
def test_every_kind_of_garbage_is_met_and_refused(bank: str) -> None:
    """Each spoilt form of a good answer differs from it."""
    if bank == "yandu":
        good = '{"zh":"6219","bz":"156","zmye":123,"zrye":1,"zrrq":"20261013"}'
        for form in json_bank.GARBAGE:
            assert json_bank.spoil(good, "zmye", form, CLOSED) != good, form
    else:
        text = (
            "<报文><返回信息>交易成功</返回信息><账号>6219</账号><币种>01</币种>"
            "<账面余额>1.00</账面余额><上日日期>x</上日日期></报文>"
        )
        for kind in xml_bank.GARBAGE:
            assert xml_bank._spoilt(text, kind, CLOSED).body != text.encode("gb18030"), kind


@pytest.mark.parametrize("bank", DIALECTS)
def test_a_bank_that_was_asked_too_often_says_so(bank: str, tmp_path: Path) -> None:
    outcomes = pull(bank, tmp_path, condition=Condition.LIMITED)
    assert {one.refusal.reason for one in outcomes if isinstance(one, PullRefused)} == {R.RATE_LIMITED}
    assert all(isinstance(one, PullRefused) for one in outcomes)


@pytest.mark.parametrize(
    ("bank", "changes", "reason"),
    [
        ("yandu", {"token": "wrong-token"}, R.UNAUTHORIZED),
        ("yandu", {"sign": {"algorithm": "hmac_sha256", "key": "wrong", "parts": ["timestamp", "body"],
                            "header": "X-Qm", "timestamp_header": "X-Sjc"}}, R.UNAUTHORIZED),
        ("fuxi", {"secrets": {"password": "wrong"}}, R.UNAUTHORIZED),
    ],
)
def test_a_wrong_secret_is_told_as_one(
    bank: str, changes: dict[str, object], reason: RefusalReason, tmp_path: Path
) -> None:
    requests = [PullRequest(account=DISTRICT.account(place)) for place in DISTRICT.places_at(bank)]
    with (
        SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects=DIALECTS) as banks,
        connected(banks, bank, tmp_path, AT, **changes) as connector,
    ):
        outcomes = list(connector.pull(requests, now=AT))
    assert {one.refusal.reason for one in outcomes if isinstance(one, PullRefused)} == {reason}


@pytest.mark.parametrize("bank", DIALECTS)
def test_an_account_the_bank_does_not_know_is_the_only_one_refused(bank: str, tmp_path: Path) -> None:
    elsewhere = DISTRICT.account(DISTRICT.places_at("nanhu")[0])
    here = DISTRICT.account(DISTRICT.places_at(bank)[0])
    with (
        SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects=DIALECTS) as banks,
        connected(banks, bank, tmp_path, AT) as connector,
    ):
        requests = [PullRequest(account=one) for one in (elsewhere, here)]
        outcomes = {one.account_no: one for one in connector.pull(requests, now=AT)}
    lost = outcomes[elsewhere.account_no]
    assert isinstance(lost, PullRefused)
    assert lost.refusal.reason is R.NOT_FOUND
    assert elsewhere.account_no not in str(lost.refusal)
    assert isinstance(outcomes[here.account_no], Pull)


def test_a_session_ends_at_midnight_and_is_begun_again(tmp_path: Path) -> None:
    account = DISTRICT.account(DISTRICT.places_at("fuxi")[0])
    midnight = datetime(2026, 10, 15, 0, 0, 30, tzinfo=ZONE)
    with (
        SandboxBanks(district=DISTRICT, clock=FixedClock(midnight - timedelta(minutes=1)), dialects=DIALECTS) as banks,
        connected(banks, "fuxi", tmp_path, midnight) as connector,
    ):
        for calls in (2, 5):  # a sign-in and a question; then a question refused, a sign-in and the question again
            (outcome,) = connector.pull([PullRequest(account=account)], now=midnight)
            assert isinstance(outcome, Pull), outcome
            assert banks.answered["fuxi", 200] == calls
            banks.clock = FixedClock(midnight)


@pytest.mark.parametrize(
    ("method", "body", "headers", "code"),
    [
        ("GET", b"", {}, "E9000"), ("POST", b"{}", {"Authorization": ""}, "E9001"),
        ("POST", b"{}", {"X-Qm": "x"}, "E9002"), ("POST", b"{", {}, "E9003"), ("POST", b"[]", {}, "E1002"),
        ("POST", b'{"tou":{"jydm":"YECX"}}', {}, "E1002"),
        ("POST", b'{"tou":{"jydm":"NIX","lsh":"%s"},"ti":{}}', {}, "E1001"),
        ("POST", b'{"tou":{"jydm":"YECX","lsh":"%s"},"ti":{"zhlb":[]}}', {}, "E1003"),
        ("POST", b'{"tou":{"jydm":"YECX","lsh":"%s"},"ti":{"zhlb":["1"]}}', {"X-Sjc": "20261014000000"}, "E9004"),
    ],
)
def test_the_json_bank_checks_what_it_is_asked(method: str, body: bytes, headers: dict[str, str], code: str) -> None:
    import base64
    import hmac

    with SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects=DIALECTS) as banks:
        bank = banks.desk.bank("yandu")
        content = body.replace(b"%s", b"0" * 32)
        told = headers.get("X-Sjc", f"{AT.astimezone(ZONE):%Y%m%d%H%M%S}")
        key = json_bank.signing_key(bank).encode()
        signature = base64.b64encode(hmac.digest(key, told.encode() + b"\n" + content, "sha256")).decode()
        sent = {
            "Authorization": f"Bearer {bank.token}", "Content-Type": "application/json", "X-Sjc": told,
            "X-Qm": signature, **headers,
        }
        answer = httpx.request(
            method, f"{banks.base_url('yandu')}/gateway/yecx", content=content, headers=sent, trust_env=False
        )
    assert answer.json()["tou"]["fhm"] == code


def _asked(code: str, inner: str = "", head: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="GBK"?><报文><报文头><交易代码>{code}</交易代码><流水号>{"0" * 32}</流水号>'
        f"<客户号>sandbox-fuxi-consent</客户号>{head}</报文头><报文体>{inner}</报文体></报文>"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<x/>", "B005"), ('<?xml version="1.0" encoding="UTF-8"?><报文/>', "B005"),
        ('<?xml version="1.0" encoding="GBK"?><报文>', "B005"), (_asked("YE01"), "B107"),
        (_asked("QD01", head="<密码>x</密码>"), "B101"), (_asked("XX01", head="<令牌>TOKEN</令牌>"), "B001"),
        (_asked("YE01", head="<令牌>TOKEN</令牌>"), "B003"),
        (_asked("YE01").replace("fuxi", "nobody"), "B100"), (_asked("YE01").replace("0" * 32, "1"), "B002"),
        (_asked("MX01", "<账号>1</账号>", "<令牌>TOKEN</令牌>"), "B104"),
        (_asked("MX01", "<账号>NO</账号><起始日期>20261013</起始日期><终止日期>20261014</终止日期>",
                "<令牌>TOKEN</令牌>"), "B006"),
        (_asked("MX01", "<账号>NO</账号><起始日期>20260101</起始日期><终止日期>20261013</终止日期>",
                "<令牌>TOKEN</令牌>"), "B006"),
        (_asked("MX01", "<账号>NO</账号><起始日期>20261001</起始日期><终止日期>20261013</终止日期>"
                        "<续查标志>X7</续查标志>", "<令牌>TOKEN</令牌>"), "B007"),
    ],
)
def test_the_xml_machine_checks_what_it_is_asked(text: str, code: str) -> None:
    number = DISTRICT.account_no(DISTRICT.places_at("fuxi")[0])
    with SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects=DIALECTS) as banks:
        token = xml_bank.session_token(banks.desk.bank("fuxi"), AT.astimezone(ZONE).date())
        content = text.replace("TOKEN", token).replace("NO", number).encode("gbk")
        answer = httpx.post(f"{banks.base_url('fuxi')}/b2e", content=content, trust_env=False)
    assert f"<返回码>{code}</返回码>" in answer.content.decode("gbk")


@pytest.mark.parametrize("bank", DIALECTS)
def test_a_whole_round_puts_the_districts_figures_into_the_records(
    bank: str, database: Database, tmp_path: Path
) -> None:
    """From a configuration file, through the round, to rows: equal to the fen."""
    accounts = [DISTRICT.account(place) for place in DISTRICT.places_at(bank)]
    with database.write() as session:
        save_accounts(session, accounts, now=AT)
    with (
        SandboxBanks(district=DISTRICT, clock=FixedClock(AT), dialects=DIALECTS) as banks,
        connected(banks, bank, tmp_path, AT) as connector,
    ):
        report = pull_balances(
            database=database, connector=connector, zone=ZONE, scheduled_at=AT, now_of=lambda: AT,
            watch=lambda **_: None,
        )
    assert (report.counts["answered"], report.counts["statements_refused"]) == (len(accounts), 0), report
    with database.read() as session:
        for account in accounts:
            kept = {one.kind: one for one in readings(session, account.account_no) if one.on >= CLOSED}
            assert kept[BalanceKind.BOOKED_CLOSING].amount == DISTRICT.balance(account.account_no, CLOSED)
            assert kept[BalanceKind.BOOKED_INTRADAY].amount == DISTRICT.balance_at(account.account_no, AT)
