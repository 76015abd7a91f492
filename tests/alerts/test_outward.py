"""The way out over HTTP: where it may call, and how long and how much it listens."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from alerts.channel.outward import Answer, Outward, refusal
from alerts.delivery import NotSent
from tests.alerts.platforms import Call, Reply, platform


@contextmanager
def dripping(first: bytes, each: bytes, seconds: float) -> Iterator[int]:
    """A server that says something and then goes on in drops, for ten seconds at most."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(first)
                for _ in range(int(10 / seconds)):
                    connection.sendall(each)
                    time.sleep(seconds)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    thread.join()


def outward(port: int, **changes: object) -> Outward:
    given = {"what": "the address", "allow_private": True, "timeout_seconds": 1, **changes}
    return Outward(f"http://receiver.example:{port}/x", **given)  # type: ignore[arg-type]  # as the names say


def loopback(host: str) -> Sequence[str]:
    return ["127.0.0.1"]


def test_a_name_is_asked_for_once_a_call_and_the_address_that_was_checked_is_the_one_called() -> None:
    asked: list[str] = []
    hosts: list[str] = []

    def turning(host: str) -> Sequence[str]:
        """A name that points elsewhere whenever it is asked again, as one that evades a check would."""
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    def answer(call: Call) -> Reply:
        hosts.append(call.headers["host"])
        return Reply({})

    with platform(answer) as port:
        way = outward(port, resolve=turning)
        assert isinstance(way.post(b"{}", {}), Answer)
        assert asked == ["receiver.example"]
        assert hosts == [f"receiver.example:{port}"]
        way.close()


@pytest.mark.parametrize("addresses", [
    ["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["fe80::1%eth0"],
    ["::ffff:10.0.0.1"], ["169.254.169.254"],
])
def test_one_private_address_among_others_condemns_the_name(addresses: Sequence[str]) -> None:
    way = outward(9, allow_private=False, resolve=lambda host: addresses)
    answer = way.post(b"{}", {})
    assert isinstance(answer, NotSent)
    assert answer.permanent
    assert "not a public address" in answer.detail


def test_no_address_at_all_is_passing() -> None:
    assert outward(9, resolve=lambda host: []).post(b"{}", {}) == NotSent(
        detail="the name has no address", permanent=False
    )


def test_an_answer_that_drips_is_listened_to_for_its_time_only() -> None:
    with dripping(b"HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\n", b"x", 0.1) as port:
        began = time.monotonic()
        way = outward(port, resolve=loopback)
        answer = way.post(b"{}", {})
        assert time.monotonic() - began < 3
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body[:3]) == (500, b"xxx")
        way.close()


def test_of_an_endless_answer_only_the_bound_is_kept() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 100_000, 0.01) as port:
        way = outward(port, resolve=loopback, bytes_max=1000)
        answer = way.get(way.url, {})
        assert isinstance(answer, Answer)
        assert answer.body == b"y" * 1000
        way.close()


def test_a_date_that_is_none_is_no_fault() -> None:
    with platform(lambda call: Reply({}, headers={"retry-after": "7"})) as port:
        way = outward(port, resolve=loopback)
        answer = way.post(b"", {})
        assert isinstance(answer, Answer)
        assert answer.date is not None
        assert answer.date.tzinfo is not None
        assert answer.rest_seconds == 7
        way.close()
    with dripping(b"HTTP/1.1 204 OK\r\ndate: yesterday\r\nconnection: close\r\n\r\n", b"", 5) as port:
        way = outward(port, resolve=loopback)
        answer = way.post(b"", {})
        assert isinstance(answer, Answer)
        assert answer.date is None
        way.close()


def test_a_refusal_of_few_words_is_its_status() -> None:
    assert refusal(Answer(status=503, body=b" \n")) == NotSent(detail="HTTP 503", permanent=False)


def test_an_authority_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(ValueError, match="cannot be read"):
            outward(9, ca_file=tmp_path / name)
