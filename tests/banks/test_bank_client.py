"""How a bank is called: bounded in time, size, number and pace, over TLS both ways, and silent about secrets."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme
from bank_server import BankServer, Reply, Request

from escrow_monitor.banks.http import Answer, BankClient, BankHttp, CallRefused
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.errors import ConfigurationError

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
TOKEN = "tok-3f9a77e1c0ffee"
R = RefusalReason


def client(server: BankServer | str, **settings: object) -> BankClient:
    url = server if isinstance(server, str) else server.url
    quick = BankHttp(base_url=url, timeout_seconds=0.5, retries=0, token=TOKEN, headers={"X-Key": "key-12345678"})
    return BankClient(replace(quick, **settings), clock=FixedClock(NOW), secrets=("consent-778899",))  # type: ignore[arg-type]


def outcome(bank: BankClient, path: str = "/v1/accounts") -> Answer | CallRefused:
    return outcomes(bank, [path])[0]


def outcomes(bank: BankClient, paths: list[str]) -> list[Answer | CallRefused]:
    async def work(path: str) -> Answer | CallRefused:
        try:
            return await bank.get(path)
        except CallRefused as error:
            return error

    return list(bank.each(paths, work))


def always(reply: Reply) -> BankServer:
    return BankServer(lambda request: reply)


def in_turn(*replies: Reply) -> BankServer:
    """Each reply once, the last one for ever."""
    left = list(replies)
    return BankServer(lambda request: left.pop(0) if len(left) > 1 else left[0])


@pytest.fixture
def closing() -> Iterator[list[BankClient]]:
    clients: list[BankClient] = []
    yield clients
    for one in clients:
        one.close()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(fault="never"), R.TIMEOUT),
        (Reply(fault="drip", body=b"x" * 100), R.TIMEOUT),
        (Reply(fault="hangup"), R.UNREACHABLE),
        (Reply(fault="reset"), R.UNREACHABLE),
        (Reply(fault="half", body=b"x" * 100), R.UNREACHABLE),
        (Reply(status=401), R.UNAUTHORIZED),
        (Reply(status=403), R.FORBIDDEN),
        (Reply(status=404), R.NOT_FOUND),
        (Reply(status=408), R.TIMEOUT),
        (Reply(status=429), R.RATE_LIMITED),
        (Reply(status=500), R.SERVER_ERROR),
        (Reply(status=503), R.SERVER_ERROR),
        (Reply(status=302, headers={"Location": "http://127.0.0.1:1/steal"}), R.UNEXPECTED_STATUS),
        (Reply(status=418), R.UNEXPECTED_STATUS),
        (Reply(body=b"x" * 2_000), R.TOO_LARGE),
        (Reply(body=gzip.compress(b"x" * 10_000_000), headers={"Content-Encoding": "gzip"}), R.TOO_LARGE),
        (Reply(body=b"no gzip", headers={"Content-Encoding": "gzip"}), R.MALFORMED),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_every_failure_has_its_reason(reply: Reply, reason: RefusalReason, closing: list[BankClient]) -> None:
    with always(reply) as server:
        bank = client(server, body_bytes_max=1_000)
        closing.append(bank)
        answer = outcome(bank)
        assert isinstance(answer, CallRefused), answer
        assert answer.refusal.reason is reason
        assert answer.refusal.where == "/v1/accounts"
        assert len(server.seen) <= 2  # a connection that breaks off before any answer is opened once more


def test_a_bank_that_does_not_listen_is_unreachable(closing: list[BankClient]) -> None:
    bank = client("http://127.0.0.1:1")
    closing.append(bank)
    answer = outcome(bank)
    assert isinstance(answer, CallRefused)
    assert (answer.refusal.reason, answer.passing) == (R.UNREACHABLE, True)


def test_an_answer_comes_with_its_bytes_and_time(closing: list[BankClient]) -> None:
    with always(Reply(body=b'{"a": 1}', headers={"Content-Type": "application/json; charset=utf-8"})) as server:
        bank = client(server.url + "/psd2/", retries=2)
        closing.append(bank)
        answer = outcome(bank, "/v1/accounts?withBalance=true")
        assert answer == Answer(
            path="/psd2/v1/accounts", content=b'{"a": 1}', media_type="application/json", fetched_at=NOW
        )
        (seen,) = server.seen
        assert seen.query == {"withBalance": "true"}
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.headers["x-key"] == "key-12345678"


def test_links_stay_with_the_bank(closing: list[BankClient]) -> None:
    bank = client("http://127.0.0.1:8001/psd2")
    closing.append(bank)
    for link, url in {
        "/v1/a%2Fb?page=2": "/psd2/v1/a%2Fb?page=2",
        "/psd2/v1/a?page=2": "/psd2/v1/a?page=2",
        "http://127.0.0.1:8001/other": "/other",
        "http://me:pass@127.0.0.1:8001/other": "/other",
        "v1/a": "/psd2/v1/a",
        "?page=2": "/psd2/?page=2",
    }.items():
        assert str(bank.url(link)) == f"http://127.0.0.1:8001{url}"
    assert str(client("http://127.0.0.1:8001").url("/v1/a", {"b": "c d"})) == "http://127.0.0.1:8001/v1/a?b=c+d"
    for away in (
        "http://127.0.0.1:8002/psd2/v1", "https://127.0.0.1:8001/psd2/v1", "http://evil.example/v1", "//evil/v1",
        "http://[::1", "file:///etc/passwd", "http://127.0.0.1:8001@evil.example/",
    ):
        with pytest.raises(CallRefused) as refused:
            bank.url(away)
        assert refused.value.refusal.reason is R.MALFORMED


def test_what_passes_is_tried_again_and_what_does_not_is_not(closing: list[BankClient]) -> None:
    for replies, calls, succeeds in (
        ([Reply(status=503), Reply(status=500), Reply(body=b"{}")], 3, True),
        ([Reply(status=503)], 3, False),
        ([Reply(status=401), Reply(body=b"{}")], 1, False),
        ([Reply(status=404), Reply(body=b"{}")], 1, False),
        ([Reply(status=429), Reply(body=b"{}")], 1, False),
        ([Reply(status=429, headers={"Retry-After": "0"}), Reply(body=b"{}")], 2, True),
        ([Reply(status=429, headers={"Retry-After": "3600"}), Reply(body=b"{}")], 1, False),
        ([Reply(status=503, headers={"Retry-After": format_datetime(NOW + timedelta(hours=1))}), Reply()], 1, False),
        ([Reply(status=503, headers={"Retry-After": format_datetime(NOW)}), Reply(body=b"{}")], 2, True),
    ):
        with in_turn(*replies) as server:
            bank = client(server, retries=2)
            closing.append(bank)
            assert isinstance(outcome(bank), Answer) is succeeds
            assert len(server.seen) == calls


def test_the_bank_is_given_the_time_it_asks_for(closing: list[BankClient]) -> None:
    with in_turn(Reply(status=429, headers={"Retry-After": "1"}), Reply(body=b"{}")) as server:
        bank = client(server, retries=1)
        closing.append(bank)
        started = time.monotonic()
        assert isinstance(outcome(bank), Answer)
        assert time.monotonic() - started >= 1


def test_no_more_calls_run_at_once_than_allowed(closing: list[BankClient]) -> None:
    with always(Reply(body=b"{}", delay_seconds=0.02)) as server:
        bank = client(server, concurrency=3)
        closing.append(bank)
        answers = outcomes(bank, [f"/{number}" for number in range(30)])
        assert len(answers) == len(server.seen) == 30
        assert server.busiest == 3


def test_calls_keep_the_pace(closing: list[BankClient]) -> None:
    with always(Reply(body=b"{}")) as server:
        bank = client(server, calls_per_second=10)
        closing.append(bank)
        started = time.monotonic()
        assert len(outcomes(bank, ["/"] * 15)) == 15
        assert time.monotonic() - started >= 0.4  # ten at once, five at ten a second


def test_a_silent_bank_is_not_asked_for_every_account(closing: list[BankClient]) -> None:
    with always(Reply(fault="never")) as server:
        bank = client(server, concurrency=2, circuit_failures=4, timeout_seconds=0.1)
        closing.append(bank)
        reasons = [answer.refusal.reason for answer in outcomes(bank, ["/"] * 500) if isinstance(answer, CallRefused)]
        assert len(reasons) == 500
        assert {*reasons} == {R.TIMEOUT, R.CIRCUIT_OPEN}
        assert reasons.count(R.TIMEOUT) <= 5
        assert len(server.seen) <= 5


def test_an_open_circuit_waits_for_no_turn(closing: list[BankClient]) -> None:
    with always(Reply(status=500)) as server:
        bank = client(server, concurrency=1, circuit_failures=2, calls_per_second=5)
        closing.append(bank)
        started = time.monotonic()
        assert len(outcomes(bank, ["/"] * 300)) == 300
        assert time.monotonic() - started < 3


def test_the_circuit_closes_when_the_bank_is_back(closing: list[BankClient]) -> None:
    with in_turn(Reply(status=500), Reply(status=500), Reply(body=b"{}")) as server:
        bank = client(server, concurrency=1, circuit_failures=2, circuit_open_seconds=0.2)
        closing.append(bank)
        first = outcomes(bank, ["/"] * 3)
        assert [one.refusal.reason for one in first if isinstance(one, CallRefused)] == [
            R.SERVER_ERROR, R.SERVER_ERROR, R.CIRCUIT_OPEN,
        ]
        time.sleep(0.25)
        assert all(isinstance(one, Answer) for one in outcomes(bank, ["/"] * 3))


def test_refused_accounts_open_no_circuit(closing: list[BankClient]) -> None:
    with always(Reply(status=404)) as server:
        bank = client(server, circuit_failures=2)
        closing.append(bank)
        reasons = {one.refusal.reason for one in outcomes(bank, ["/"] * 20) if isinstance(one, CallRefused)}
        assert reasons == {R.NOT_FOUND}


def test_no_error_tells_a_secret(closing: list[BankClient]) -> None:
    echo = {"tppMessages": [{"text": f"Bearer {TOKEN} consent-778899 key-12345678"}]}
    replies = [Reply(status=status, body=echo) for status in (400, 401, 403, 429, 500)]
    replies += [Reply(fault="hangup"), Reply(body=b"no gzip", headers={"Content-Encoding": "gzip"})]
    for reply in replies:
        with always(reply) as server:
            bank = client(server)
            closing.append(bank)
            answer = outcome(bank, f"/v1/consent-778899/{TOKEN}")
            assert isinstance(answer, CallRefused)
            told = f"{answer} {answer.refusal!r} {bank.settings!r}"
            for secret in (TOKEN, "consent-778899", "key-12345678"):
                assert secret not in told
            assert "[redacted]" in answer.refusal.where


def test_a_signer_sees_the_request_and_adds_its_headers(closing: list[BankClient]) -> None:
    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        return {"Signature": f"{method} {url.rpartition('/')[2]} {headers['Authorization'][-4:]} {len(body)}"}

    with always(Reply(body=b"{}")) as server:
        bank = client(server, sign_request=sign)
        closing.append(bank)
        assert isinstance(outcome(bank, "/v1/accounts"), Answer)
        assert server.seen[0].headers["signature"] == "GET accounts ffee 0"


def test_proxies_of_the_environment_are_not_used(
    closing: list[BankClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with always(Reply(body=b"{}")) as server:
        bank = client(server)
        closing.append(bank)
        assert isinstance(outcome(bank), Answer)


def test_whoever_stops_listening_stops_the_calls(closing: list[BankClient]) -> None:
    with always(Reply(body=b"{}", delay_seconds=0.01)) as server:
        bank = client(server, concurrency=2)
        closing.append(bank)

        async def work(number: int) -> Answer:
            return await bank.get(f"/{number}")

        answers = bank.each(range(10_000), work)
        next(answers)
        answers.close()  # type: ignore[attr-defined]  # a generator
        time.sleep(0.1)
        calls = len(server.seen)
        time.sleep(0.1)
        assert len(server.seen) == calls < 100


def test_a_closed_client_can_be_used_again(closing: list[BankClient]) -> None:
    with always(Reply(body=b"{}")) as server:
        bank = client(server)
        closing.append(bank)
        for _ in range(3):
            assert len(outcomes(bank, ["/"] * 50)) == 50
            bank.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"base_url": "ftp://bank"}, "https://"),
        ({"base_url": "bank.example"}, "https://"),
        ({"base_url": "https://me:pass@bank.example"}, r"^base_url of bank.example carries credentials"),
        ({"base_url": "http://bank.example"}, "plain http"),
        ({"base_url": "https://bank.example", "ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"base_url": "https://bank.example", "cert_file": "/nowhere/me.pem"}, "/nowhere/me.pem"),
        ({"base_url": "https://bank.example", "calls_per_second": 0}, "above zero"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: Mapping[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        BankClient(BankHttp(**settings), clock=FixedClock(NOW))  # type: ignore[arg-type]


def test_a_private_line_may_be_plain_http() -> None:
    BankClient(BankHttp(base_url="http://front-end.internal", plain_http=True), clock=FixedClock(NOW))


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("tls")
    files = {}
    for name in ("ours", "strange"):
        authority = trustme.CA()
        files[f"{name}-ca"] = folder / f"{name}-ca.pem"
        authority.cert_pem.write_to_path(files[f"{name}-ca"])
        for part in ("server", "client"):
            files[f"{name}-{part}"] = folder / f"{name}-{part}.pem"
            authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(files[f"{name}-{part}"])
    return files


def tls_server(authorities: Mapping[str, Path]) -> BankServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authorities["ours-server"])
    context.load_verify_locations(authorities["ours-ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    return BankServer(lambda request: Reply(body=b"{}"), tls=context)


@pytest.mark.parametrize(
    ("ca", "cert", "accepted"),
    [
        ("ours-ca", "ours-client", True),
        ("ours-ca", None, False),
        ("ours-ca", "strange-client", False),
        ("strange-ca", "ours-client", False),
        (None, "ours-client", False),
    ],
)
def test_both_sides_show_certificates(
    authorities: Mapping[str, Path], ca: str | None, cert: str | None, accepted: bool, closing: list[BankClient]
) -> None:
    with tls_server(authorities) as server:
        bank = client(
            server, ca_file=str(authorities[ca]) if ca else None, cert_file=str(authorities[cert]) if cert else None,
            timeout_seconds=3,
        )
        closing.append(bank)
        answer = outcome(bank)
        if accepted:
            assert isinstance(answer, Answer)
        else:
            assert isinstance(answer, CallRefused)
            assert answer.refusal.reason is R.UNREACHABLE
            assert server.seen == []


def test_work_that_fails_is_not_swallowed(closing: list[BankClient]) -> None:
    bank = client("http://127.0.0.1:1")
    closing.append(bank)

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return 1 // number

    with pytest.raises(ExceptionGroup):
        list(bank.each([1, 0], work))


def test_the_request_carries_no_query_into_a_refusal(closing: list[BankClient]) -> None:
    with always(Reply(status=500)) as server:
        bank = client(server)
        closing.append(bank)
        answer = outcome(bank, "/v1/accounts?secretish=1")
        assert isinstance(answer, CallRefused)
        assert answer.refusal.where == "/v1/accounts"
        assert isinstance(server.seen[0], Request)
