"""The channels: each passes the shared suite, and the webhook is verified as its receivers verify it."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import trustme
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from alerts import channels
from alerts.alert import FeedEntry
from alerts.book import MemoryAlertBook
from alerts.channel import Channel, NotSent, Sent
from alerts.channel.outward import is_public
from alerts.channels import CHANNELS
from alerts.channels.log import LogChannel
from alerts.channels.webhook import WebhookChannel
from alerts.delivery import Delivered
from alerts.dispatch import dispatch
from alerts.feeds.item import feed_item
from alerts.testing import (
    START,
    ChannelSuite,
    OutsideChannelSuite,
    RecordingChannel,
    clear_of,
    entry_of,
    key_of,
    signal_of,
)

HOME = "https://escrow.example"
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
NEW_SECRET = "whsec_" + base64.b64encode(b"n" * 24).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()


def real_time() -> datetime:
    return datetime.now(UTC)


@dataclass
class Receiver:
    """A real HTTP server on loopback that keeps what it is sent and answers as it is told."""

    port: int = 0
    status: int = 204
    answer: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/escrow?district=510302"


def serve(receiver: Receiver, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            if receiver.status != 204:
                self.send_header("content-length", str(len(receiver.answer)))
            self.end_headers()
            if receiver.status != 204:
                self.wfile.write(receiver.answer)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from serve(Receiver())


def webhook(
    url: str,
    *,
    secrets: tuple[str, ...] = (OLD_SECRET,),
    now_of: Callable[[], datetime] = real_time,
    allow_private: bool = True,
    timeout_seconds: int = 5,
    client: httpx.Client | None = None,
) -> WebhookChannel:
    return WebhookChannel(
        name="district",
        url=url,
        secrets=secrets,
        source=HOME,
        item_of=partial(feed_item, home_url=HOME),
        now_of=now_of,
        allow_private=allow_private,
        timeout_seconds=timeout_seconds,
        client=client,
    )


def send(channel: WebhookChannel, entry: FeedEntry | None = None, message_id: str = "evt_1_district") -> Sent | NotSent:
    try:
        return channel.send(entry_of(1) if entry is None else entry, message_id=message_id)
    finally:
        channel.close()


def a_port_where_nobody_listens() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


# ---- the shared suite --------------------------------------------------------------------------------------------


class TestLogChannel(ChannelSuite):
    @pytest.fixture
    def channel(self) -> Channel:
        return LogChannel("log", [].append)

    @pytest.fixture
    def broken_channel(self) -> Channel:
        def full(line: dict[str, object]) -> None:
            raise OSError(28, "No space left on device")

        return LogChannel("log", full)


class TestRecordingChannel(ChannelSuite):
    @pytest.fixture
    def channel(self) -> Channel:
        return RecordingChannel()

    @pytest.fixture
    def broken_channel(self) -> Channel:
        return RecordingChannel(answer=lambda entry: NotSent(detail="told to fail", permanent=False))


class TestWebhookChannel(OutsideChannelSuite):
    @pytest.fixture
    def channel(self, receiver: Receiver) -> Iterator[Channel]:
        channel = webhook(receiver.url)
        yield channel
        channel.close()

    @pytest.fixture
    def broken_channel(self) -> Iterator[Channel]:
        channel = webhook(f"http://127.0.0.1:{a_port_where_nobody_listens()}/")
        yield channel
        channel.close()

    @pytest.fixture
    def refusing_channel(self) -> Iterator[Channel]:
        for receiver in serve(Receiver(status=410)):
            channel = webhook(receiver.url)
            yield channel
            channel.close()

    @pytest.fixture
    def silent_channel(self, raw_server: tuple[int, list[bytes]]) -> Iterator[Channel]:
        channel = webhook(f"http://127.0.0.1:{raw_server[0]}/", timeout_seconds=1)
        yield channel
        channel.close()

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return [OLD_SECRET, OLD_SECRET.removeprefix("whsec_")]


def test_every_channel_is_in_the_registry() -> None:
    named = {path.stem for path in Path(channels.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(CHANNELS) == named
    assert (CHANNELS["log"], CHANNELS["webhook"]) == (LogChannel, WebhookChannel)


def test_a_log_line_has_the_sentence_in_both_languages_and_the_number() -> None:
    lines: list[dict[str, object]] = []
    LogChannel("file", lines.append).send(entry_of(3), message_id="evt_3_file")
    (line,) = lines
    assert (line["seq"], line["message_id"], line["transition"]) == (3, "evt_3_file", "opened")
    assert (line["why"], line["why_en"]) == (entry_of().why.zh, entry_of().why.en)
    assert json.loads(json.dumps(line)) == line


# ---- what the receiver of a webhook sees ---------------------------------------------------------------------------


def test_the_receiver_verifies_the_message_with_any_live_secret(receiver: Receiver) -> None:
    assert send(webhook(receiver.url, secrets=(OLD_SECRET, NEW_SECRET))) == Sent(detail="HTTP 204")
    ((path, headers, body),) = receiver.received
    assert path == "/hooks/escrow?district=510302"
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    assert headers["webhook-id"] == "evt_1_district"
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (OLD_SECRET, NEW_SECRET):
        assert Webhook(secret).verify(body, headers)["data"]["_escrow"]["seq"] == 1


def test_the_receiver_refuses_another_secret_another_body_and_another_id(receiver: Receiver) -> None:
    send(webhook(receiver.url))
    ((_, headers, body),) = receiver.received
    for secret, heard, seen in (
        (OTHER_SECRET, headers, body),
        (OLD_SECRET, headers, body.replace(b"9900", b"9901")),
        (OLD_SECRET, {**headers, "webhook-id": "evt_2_district"}, body),
        (OLD_SECRET, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(seen, heard)


def test_the_body_is_a_cloudevent_whose_data_is_the_feed_item(receiver: Receiver) -> None:
    send(webhook(receiver.url), entry_of(12), "evt_12_district")
    ((_, headers, body),) = receiver.received
    assert headers["content-type"] == "application/cloudevents+json"
    event = from_structured(HTTPMessage(headers=headers, body=body), JSONFormat())
    assert event.get_specversion() == "1.0"
    assert (event.get_id(), event.get_source(), event.get_type(), event.get_subject()) == (
        "evt_12_district",
        HOME,
        "escrow.alert.opened",
        "62170001",
    )
    assert event.get_time() == entry_of(12).recorded_at
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == feed_item(entry_of(12), home_url=HOME)
    assert "余额".encode() in body


def test_a_repeat_has_the_same_id_and_body_and_a_new_time(receiver: Receiver) -> None:
    start = datetime(2026, 11, 22, 8, tzinfo=UTC)
    times = iter([start, start + timedelta(minutes=10)])
    channel = webhook(receiver.url, now_of=lambda: next(times))
    channel.send(entry_of(1), message_id="evt_1_district")
    send(channel)
    (_, first, body), (_, second, repeated) = receiver.received
    assert body == repeated
    assert first["webhook-id"] == second["webhook-id"]
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == (
        str(int(start.timestamp())),
        str(int(start.timestamp()) + 600),
    )
    assert first["webhook-signature"] != second["webhook-signature"]


def test_the_signature_holds_in_every_time_zone(receiver: Receiver) -> None:
    send(webhook(receiver.url, now_of=lambda: datetime.now(timezone(timedelta(hours=8)))))
    ((_, headers, body),) = receiver.received
    assert Webhook(OLD_SECRET).verify(body, headers)


def test_a_ping_is_an_event_of_its_own_type_signed_like_every_other(receiver: Receiver) -> None:
    channel = webhook(receiver.url, secrets=(OLD_SECRET, NEW_SECRET))
    assert channel.ping(message_id="test_1_district") == Sent(detail="HTTP 204")
    channel.close()
    ((_, headers, body),) = receiver.received
    assert headers["webhook-id"] == "test_1_district"
    for secret in (OLD_SECRET, NEW_SECRET):
        assert Webhook(secret).verify(body, headers)["type"] == "escrow.ping"
    event = from_structured(HTTPMessage(headers=headers, body=body), JSONFormat())
    assert event.get_data() == {"test": True}


def test_a_preview_is_the_body_that_is_sent(receiver: Receiver) -> None:
    channel = webhook(receiver.url)
    send(channel, entry_of(12), "evt_12_district")
    ((_, _, body),) = receiver.received
    assert json.loads(channel.preview(entry_of(12))) == json.loads(body)


def test_a_receiver_that_asks_for_rest_is_left_alone_for_so_long(receiver: Receiver) -> None:
    channel = webhook(receiver.url)
    assert channel.ready_in() == 0
    receiver.status, receiver.headers = 429, {"retry-after": "120"}
    assert send(channel) == NotSent(detail="HTTP 429", permanent=False)
    assert 100 < channel.ready_in() <= 120


# ---- what an answer means ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_sent(receiver: Receiver, status: int) -> None:
    receiver.status = status
    assert send(webhook(receiver.url)) == Sent(detail=f"HTTP {status}")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 422, 451])
def test_a_refusal_for_good_is_permanent(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.answer = status, "没有\x1b[31m 这个\n地址".encode()
    assert send(webhook(receiver.url)) == NotSent(detail=f"HTTP {status}: 没有 [31m 这个 地址", permanent=True)


@pytest.mark.parametrize("status", [302, 307, 408, 409, 425, 429, 500, 502, 503, 504])
def test_a_refusal_for_now_may_be_tried_again(receiver: Receiver, status: int) -> None:
    receiver.status = status
    assert send(webhook(receiver.url)) == NotSent(detail=f"HTTP {status}", permanent=False)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 307, {"location": f"{receiver.url}/elsewhere"}
    assert isinstance(send(webhook(receiver.url)), NotSent)
    assert len(receiver.received) == 1


def test_of_a_long_refusal_only_the_beginning_is_kept(receiver: Receiver) -> None:
    receiver.status, receiver.answer = 500, b"x" * 1_000_000
    answer = send(webhook(receiver.url))
    assert answer == NotSent(detail="HTTP 500: " + "x" * 200, permanent=False)


@pytest.fixture
def raw_server() -> Iterator[tuple[int, list[bytes]]]:
    """A server that accepts, reads, and says exactly the bytes it is given; with none it says nothing."""
    says: list[bytes] = []
    closing = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)

    def accept() -> None:
        while not closing.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.recv(65536)
                if says:
                    connection.sendall(says[0])
                    # End the answer, then read what is still coming: closing on unread bytes would be a reset.
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(10)
                    with suppress(OSError):
                        while connection.recv(65536):
                            pass
                else:
                    closing.wait(10)

    thread = threading.Thread(target=accept)
    thread.start()
    yield listener.getsockname()[1], says
    closing.set()
    thread.join()
    listener.close()


def test_a_receiver_that_says_nothing_is_not_waited_for_without_end(raw_server: tuple[int, list[bytes]]) -> None:
    port, _ = raw_server
    began = time.monotonic()
    answer = send(webhook(f"http://127.0.0.1:{port}/", timeout_seconds=1))
    assert answer == NotSent(detail="127.0.0.1 did not answer: ReadTimeout", permanent=False)
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("said", "error"),
    [(b"SSH-2.0-OpenSSH_9.2\r\n", "RemoteProtocolError"), (b"HTTP/1.1 200", "RemoteProtocolError")],
)
def test_an_answer_that_is_no_http_may_be_tried_again(
    raw_server: tuple[int, list[bytes]], said: bytes, error: str
) -> None:
    port, says = raw_server
    says.append(said)
    assert send(webhook(f"http://127.0.0.1:{port}/")) == NotSent(
        detail=f"127.0.0.1 did not answer: {error}", permanent=False
    )


def test_a_refusal_that_breaks_off_is_still_that_refusal(raw_server: tuple[int, list[bytes]]) -> None:
    port, says = raw_server
    says.append(b"HTTP/1.1 410 Gone\r\ncontent-length: 10\r\n\r\n")
    assert send(webhook(f"http://127.0.0.1:{port}/")) == NotSent(detail="HTTP 410", permanent=True)


# ---- where it may call ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "10.0.0.1", "169.254.169.254"]
)
def test_a_private_address_is_refused_under_any_spelling_and_never_called(receiver: Receiver, host: str) -> None:
    answer = send(webhook(f"http://{host}:{receiver.port}/", allow_private=False))
    assert isinstance(answer, NotSent)
    assert answer.permanent
    assert "not a public address" in answer.detail
    assert receiver.received == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


def test_a_name_with_several_addresses_is_tried_at_each(receiver: Receiver) -> None:
    # The server listens on IPv4 only; where `localhost` is also ::1, that address is tried and refused first.
    assert send(webhook(f"http://localhost:{receiver.port}/")) == Sent(detail="HTTP 204")
    assert receiver.received[0][1]["host"] == f"localhost:{receiver.port}"


def test_a_name_that_is_not_known_may_be_known_later() -> None:
    answer = send(webhook("https://receiver.invalid/hook"))
    assert answer == NotSent(detail="receiver.invalid cannot be resolved: gaierror", permanent=False)


def test_a_proxy_in_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{a_port_where_nobody_listens()}")
    assert isinstance(send(webhook(receiver.url)), Sent)


@pytest.mark.parametrize(("name", "taken"), [("localhost", True), ("other.example", False)])
def test_over_tls_the_certificate_must_name_the_host_although_its_address_is_called(name: str, taken: bool) -> None:
    authority = trustme.CA()
    server, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(trusting)
    for receiver in serve(Receiver(), server):
        with httpx.Client(verify=trusting, trust_env=False) as client:
            channel = webhook(f"https://localhost:{receiver.port}/", client=client)
            answer = send(channel)
            assert not client.is_closed
    if taken:
        assert answer == Sent(detail="HTTP 204")
    else:
        assert answer == NotSent(detail="localhost could not be reached: ConnectError", permanent=False)
        assert receiver.received == []


# ---- what can never work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "receiver.example/hook",
        "ftp://receiver.example/",
        "file:///etc/passwd",
        "https://",
        "https://u:p@x.example/",
        "http://[::1",
    ],
)
def test_an_address_that_can_never_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="the webhook's address"):
        webhook(url)


@pytest.mark.parametrize(
    "secrets",
    [
        (),
        ("",),
        ("whsec_",),
        ("whsec_short",),
        ("whsec_" + "!" * 44,),
        ("whsec_密密密密密密密密密密密密密密密密密密密密密密密密密密密密",),
        (OLD_SECRET, "whsec_" + base64.b64encode(b"z" * 65).decode()),
    ],
)
def test_a_secret_that_protects_nothing_is_refused_without_being_shown(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="a webhook") as refused:
        webhook("https://receiver.example/", secrets=secrets)
    assert all(secret.removeprefix("whsec_") not in str(refused.value) for secret in secrets if len(secret) > 6)


def test_a_secret_may_come_without_prefix_and_padding(receiver: Receiver) -> None:
    bare = OLD_SECRET.removeprefix("whsec_").rstrip("=")
    send(webhook(receiver.url, secrets=(bare,)))
    ((_, headers, body),) = receiver.received
    assert Webhook(OLD_SECRET).verify(body, headers)


def test_events_need_a_source() -> None:
    with pytest.raises(ValueError, match="source"):
        WebhookChannel(
            name="a", url="https://x.example/", secrets=(OLD_SECRET,), source="", item_of=lambda e: {}, now_of=real_time
        )


def test_an_entry_that_cannot_be_written_is_dead_and_not_tried_for_days(receiver: Receiver) -> None:
    channel = WebhookChannel(
        name="a",
        url=receiver.url,
        secrets=(OLD_SECRET,),
        source=HOME,
        item_of=lambda entry: {"unwritable": object()},
        now_of=real_time,
        allow_private=True,
    )
    answer = send(channel)
    assert isinstance(answer, NotSent)
    assert answer.permanent
    assert receiver.received == []


def test_a_channel_can_be_closed_before_and_after_use_and_used_again(receiver: Receiver) -> None:
    channel = webhook(receiver.url)
    channel.close()
    assert isinstance(send(channel), Sent)
    assert isinstance(send(channel), Sent)


# ---- from the book to the receiver -----------------------------------------------------------------------------------


def test_what_the_book_owes_arrives_once_and_in_order_at_every_channel(receiver: Receiver) -> None:
    book = MemoryAlertBook(channels=["log", "district"])
    for hour in range(3):
        at = START + timedelta(hours=hour)
        book.advance(signals=[signal_of(key_of(str(hour)), at=at)], clears=[], now=at, cause="check")
    book.advance(signals=[], clears=[clear_of(key_of("0"), at=at)], now=at, cause="check")
    lines: list[dict[str, object]] = []
    hook = webhook(receiver.url)
    channels: dict[str, Channel] = {"log": LogChannel("log", lines.append), "district": hook}
    done = list(dispatch(book.owed, channels, now_of=real_time))
    hook.close()
    assert [d.outcome for d in done] == [Delivered()] * 8
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    events = [Webhook(OLD_SECRET).verify(body, headers) for _, headers, body in receiver.received]
    assert [event["id"] for event in events] == [f"evt_{seq}_district" for seq in (1, 2, 3, 4)]
    assert [event["type"] for event in events][-1] == "escrow.alert.resolved"
    assert [event["data"]["_escrow"]["audit_head"] for event in events] == [
        entry.audit_head for entry in book.entries(after=0, limit=10)
    ]
