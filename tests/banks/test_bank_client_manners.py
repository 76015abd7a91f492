"""What a bank asks of its callers beyond an interface: questions in a body, hours, quiet minutes, and rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

import pytest
from bank_server import BankServer, Reply, Request

from escrow_monitor.banks.http import Answer, BankClient, BankHttp, CallRefused, Window
from escrow_monitor.domain.statements import RefusalReason

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)  # 12:00 in Shanghai


@dataclass
class RunningClock:
    """Moves on by a step each time it is read: waiting takes no real time."""

    at: datetime = NOON
    step: timedelta = timedelta()

    def now(self) -> datetime:
        self.at += self.step
        return self.at


@dataclass
class Caller:
    """A client of one server, and the ways to ask it."""

    client: BankClient
    clock: RunningClock

    def get(self, path: str = "/balances") -> Answer | CallRefused:
        return self._asked(lambda: self.client.get(path))

    def post(self, content: Callable[[], bytes], *, safe: bool, path: str = "") -> Answer | CallRefused:
        return self._asked(
            lambda: self.client.post(path, content=content, media_type="application/xml; charset=GBK", safe=safe)
        )

    def _asked(self, call: Callable[[], object]) -> Answer | CallRefused:
        async def work(_: int) -> Answer | CallRefused:
            try:
                return await call()  # type: ignore[misc,no-any-return]
            except CallRefused as error:
                return error

        return next(iter(list(self.client.each([0], work))))


@pytest.fixture
def call() -> Iterator[Callable[..., Caller]]:
    made: list[BankClient] = []

    def make(server: BankServer, **settings: object) -> Caller:
        clock = settings.pop("clock", RunningClock())
        assert isinstance(clock, RunningClock)
        quick = BankHttp(base_url=f"{server.url}/gateway/b2e", timeout_seconds=2, retries=0)
        made.append(BankClient(replace(quick, **settings), clock=clock))  # type: ignore[arg-type]
        return Caller(made[-1], clock)

    yield make
    for client in made:
        client.close()


def in_turn(*replies: Reply) -> BankServer:
    left = list(replies)
    return BankServer(lambda request: left.pop(0) if len(left) > 1 else left[0])


def test_a_question_in_a_body_arrives_whole_at_the_base_url(call: Callable[..., Caller]) -> None:
    def echo(request: Request) -> Reply:
        return Reply(body=request.body, headers={"Content-Type": "application/xml"})

    with BankServer(echo) as server:
        answer = call(server).post(lambda: "<余额/>".encode("gbk"), safe=True)
        assert isinstance(answer, Answer)
        assert answer.content.decode("gbk") == "<余额/>"
        seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", "/gateway/b2e")
    assert seen.headers["content-type"] == "application/xml; charset=GBK"


def test_each_attempt_has_a_body_of_its_own_and_only_safe_questions_are_repeated(call: Callable[..., Caller]) -> None:
    numbers = itertools.count(1)

    def content() -> bytes:
        return b"request %d" % next(numbers)

    with in_turn(Reply(status=503), Reply(body=b"{}")) as server:
        assert isinstance(call(server, retries=2).post(content, safe=True), Answer)
        assert [request.body for request in server.seen] == [b"request 1", b"request 2"]
    with in_turn(Reply(status=503), Reply(body=b"{}")) as server:
        refused = call(server, retries=2).post(content, safe=False)
        assert isinstance(refused, CallRefused)
        assert len(server.seen) == 1


def test_a_signer_sees_method_and_body(call: Callable[..., Caller]) -> None:
    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        return {"X-Signature": f"{method} {len(body)}"}

    with in_turn(Reply(body=b"{}")) as server:
        call(server, sign_request=sign).post(lambda: b"12345", safe=True)
        assert server.seen[0].headers["x-signature"] == "POST 5"


def test_outside_its_hours_a_bank_is_not_called(call: Callable[..., Caller]) -> None:
    with in_turn(Reply(body=b"{}")) as server:
        caller = call(server, windows=(Window(time(6), time(11, 30)), Window(time(20), time(22))))
        refused = caller.get()
        assert isinstance(refused, CallRefused)
        assert refused.refusal.reason is RefusalReason.OUTSIDE_HOURS
        assert server.seen == []
        caller.clock.at = NOON + timedelta(hours=9)
        assert isinstance(caller.get(), Answer)


def test_calls_wait_until_a_quiet_minute_is_over(call: Callable[..., Caller]) -> None:
    # Each look at the clock moves it by 20 seconds: the wait is one look long and then the minute has passed.
    clock = RunningClock(NOON + timedelta(seconds=59.5) - timedelta(seconds=20), timedelta(seconds=20))
    with in_turn(Reply(body=b"{}")) as server:
        answer = call(server, quiet_minutes=(0, 30), clock=clock).get()
        assert isinstance(answer, Answer)
        assert answer.fetched_at >= NOON + timedelta(minutes=1)
        assert len(server.seen) == 1


def test_a_bank_that_asks_for_a_long_rest_gets_it(call: Callable[..., Caller]) -> None:
    with in_turn(Reply(status=429, headers={"Retry-After": "7200"}), Reply(body=b"{}")) as server:
        caller = call(server, retries=2)
        refusals = [caller.get() for _ in range(3)]
        assert [error.refusal.reason for error in refusals if isinstance(error, CallRefused)] == [
            RefusalReason.RATE_LIMITED
        ] * 3
        assert len(server.seen) == 1
        assert caller.client.rest_until == NOON + timedelta(hours=2)
        caller.clock.at = NOON + timedelta(hours=2)
        assert isinstance(caller.get(), Answer)
