"""How far we get at a bank's door, step by step, and what its certificate and clock say."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from bank_server import BankServer, Reply
from tls_world import TlsWorld

from escrow_monitor.banks.certificates import certificate_of, file_state
from escrow_monitor.banks.http import BankClient, BankHttp, CallRefused
from escrow_monitor.banks.observing import CallSeen
from escrow_monitor.banks.reach import Door, Reach, StepName, knock, resolves, within
from escrow_monitor.clock import SystemClock
from escrow_monitor.domain.certificates import CertificateRole
from escrow_monitor.domain.statements import RefusalReason


def now() -> datetime:
    return datetime.now(UTC)


def dated(at: datetime) -> Reply:
    return Reply(status=404, headers={"Date": format_datetime(at, usegmt=True), "Content-Length": "0"})


def steps(reach: Reach) -> list[tuple[str, bool | None]]:
    return [(step.name.value, step.ok) for step in reach.steps]


@pytest.fixture
def world(tmp_path: Path) -> TlsWorld:
    return TlsWorld.at(tmp_path / "tls")


def test_an_open_door_shows_its_certificate_and_its_clock(world: TlsWorld) -> None:
    until = (now() + timedelta(days=9)).replace(microsecond=0)
    with world.server(lambda request: dated(now()), until=until) as server:
        reach = knock(Door(base_url=f"{server.url}/psd2", ca_file=str(world.ca)), now_of=now)
    assert steps(reach) == [("name", True), ("connection", True), ("tls", True), ("clock", True)]
    assert reach.reached
    assert reach.skew is not None
    assert abs(reach.skew) < timedelta(seconds=5)
    assert reach.certificate is not None
    assert reach.certificate.subject.startswith("bank door")
    assert reach.certificate.not_after == until
    assert "Root of Trust" in reach.certificate.issuer
    assert [request.path for request in server.seen] == ["/psd2"]
    assert "authorization" not in server.seen[0].headers


@pytest.mark.parametrize("seconds", [-3600, -90, 90, 3600])
def test_a_clock_that_goes_wrong_is_measured(seconds: int) -> None:
    with BankServer(lambda request: dated(now() + timedelta(seconds=seconds))) as server:
        reach = knock(Door(base_url=server.url), now_of=now)
    assert reach.skew is not None
    assert abs(reach.skew.total_seconds() - seconds) < 3
    assert reach.steps[-1].ok is (abs(seconds) <= 300)
    assert reach.reached


def test_a_bank_that_does_not_tell_the_time_leaves_it_unknown() -> None:
    with BankServer(lambda request: Reply(headers={"Content-Length": "0"})) as server:
        reach = knock(Door(base_url=server.url), now_of=now)
    assert (reach.skew, reach.steps[-1].ok) == (None, None)
    with BankServer(lambda request: Reply(fault="hangup")) as server:
        reach = knock(Door(base_url=server.url), now_of=now)
    assert (reach.skew, reach.steps[-1].ok, reach.reached) == (None, None, True)


@pytest.mark.parametrize("why", ["expired", "other name", "other authority"])
def test_a_certificate_that_is_not_accepted_is_shown_all_the_same(world: TlsWorld, tmp_path: Path, why: str) -> None:
    until = now() - timedelta(days=1) if why == "expired" else None
    ca = TlsWorld.at(tmp_path / "strange").ca if why == "other authority" else world.ca
    host = "elsewhere.example" if why == "other name" else "localhost"
    with world.server(lambda request: dated(now()), until=until, host=host) as server:
        reach = knock(Door(base_url=server.url, ca_file=str(ca)), now_of=now)
        assert server.seen == []
    assert steps(reach) == [("name", True), ("connection", True), ("tls", False)]
    assert "not accepted" in reach.steps[-1].detail
    assert (reach.trusted, reach.reached) == (False, False)
    assert reach.certificate is not None
    assert (reach.certificate.not_after < now()) is (why == "expired")


@pytest.mark.parametrize("shown", [True, False])
def test_a_bank_that_wants_our_certificate_says_so(world: TlsWorld, shown: bool) -> None:
    ours = str(world.client()) if shown else None
    with world.server(lambda request: dated(now()), wants_client=True) as server:
        reach = knock(Door(base_url=server.url, ca_file=str(world.ca), cert_file=ours), now_of=now)
    assert (reach.skew is not None) is shown
    assert (reach.steps[-1].ok is True) is shown
    assert ("certificate of ours" in reach.steps[-1].detail) is not shown


def test_nobody_home_is_told_step_by_step(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reach = knock(Door(base_url=f"http://127.0.0.1:{port}"), now_of=now)
    assert steps(reach) == [("name", True), ("connection", False)]
    reach = knock(Door(base_url="https://no-such-bank.invalid"), now_of=now, seconds_max=8)
    assert steps(reach) == [("name", False)]
    assert not reach.reached
    with pytest.raises(OSError):  # noqa: PT011 - any of them: no network, no name server, no name
        resolves("no-such-bank.invalid", seconds_max=8)


def test_a_server_that_says_nothing_is_not_waited_for(world: TlsWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        reach = knock(Door(base_url=url, ca_file=str(world.ca)), now_of=now, seconds_max=0.3)
    assert steps(reach) == [("name", True), ("connection", True), ("tls", False)]
    assert "in time" in reach.steps[-1].detail


def test_a_certificate_file_that_is_not_there_is_a_failed_step(world: TlsWorld, tmp_path: Path) -> None:
    with world.server(lambda request: dated(now())) as server:
        reach = knock(Door(base_url=server.url, ca_file=str(tmp_path / "none.pem")), now_of=now)
    assert reach.steps[-1].name is StepName.TLS
    assert reach.steps[-1].ok is False


def test_what_hangs_is_left_and_what_fails_is_raised() -> None:
    with pytest.raises(TimeoutError):
        within(0.05, lambda: __import__("time").sleep(0.5))
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
    assert within(5, lambda: 7) == 7


# certificates in files


def test_a_file_says_of_every_certificate_until_when_it_holds(world: TlsWorld) -> None:
    until = (now() + timedelta(days=20)).replace(microsecond=0)
    state = file_state(world.client(until=until), bank="icbc", role=CertificateRole.CLIENT, now=now())
    assert [one.not_after for one in state.certificates] == [until]
    both = world.folder / "both.pem"
    both.write_bytes(world.ca.read_bytes() + TlsWorld.at(world.folder / "b").ca.read_bytes())
    assert len(file_state(both, bank="icbc", role=CertificateRole.AUTHORITY, now=now()).certificates) == 2


def test_a_file_that_cannot_be_read_is_unknown_and_says_why(tmp_path: Path) -> None:
    for name, content, why in (("none.pem", None, "No such file"), ("text.pem", b"hello", "no certificate")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        state = file_state(path, bank="icbc", role=CertificateRole.CLIENT, now=now())
        assert state.certificates == ()
        assert why in state.unknown_why
    assert certificate_of(b"no certificate") is None


# what the client tells a watcher


def test_the_client_tells_each_call_and_each_certificate_it_met(world: TlsWorld) -> None:
    calls: list[CallSeen] = []
    met: list[bytes] = []
    replies = [Reply(status=503, body=b"busy"), Reply(body={"balances": []})]
    with world.server(lambda request: replies.pop(0) if len(replies) > 1 else replies[0]) as server:
        http = BankHttp(
            base_url=server.url, ca_file=str(world.ca), retries=1, observe=calls.append, met=met.append,
            token="t-123456",
        )
        client = BankClient(http, clock=SystemClock())

        async def work(path: str) -> int:
            return len((await client.get(path, params={"page": "2"})).content)

        assert list(client.each(["/v1/a"], work)) == [16]
        client.close()
    assert [(call.method, call.path, call.status) for call in calls] == [
        ("GET", "/v1/a?page=2", 503), ("GET", "/v1/a?page=2", 200),
    ]
    assert (calls[0].content, calls[1].media_type) == (b"busy", "application/json")
    assert calls[0].refusal is not None
    assert calls[1].seconds > 0
    assert met
    shown = certificate_of(met[0])
    assert shown is not None
    assert shown.subject.startswith("bank door")


def test_a_call_without_an_answer_is_told_as_well() -> None:
    calls: list[CallSeen] = []
    http = BankHttp(base_url="http://127.0.0.1:1", retries=0, observe=calls.append)
    client = BankClient(http, clock=SystemClock())

    async def work(path: str) -> RefusalReason | None:
        try:
            await client.get(path)
        except CallRefused as error:
            return error.refusal.reason
        return None

    assert list(client.each(["/v1/a"], work)) == [RefusalReason.UNREACHABLE]
    client.close()
    assert [(call.status, call.content) for call in calls] == [(None, b"")]
