"""Alertmanager: against a far side that checks what API v2 checks, and against the real one from Debian."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts.alert import Alert, Severity, TransitionKind, Why
from alerts.book import MemoryAlertBook
from alerts.channel import Channel, NotSent, Owed, Sent, StandingChannel
from alerts.channels.alertmanager import TEST_NAME, AlertmanagerChannel, Credentials
from alerts.feeds.notice import notice
from alerts.testing import OutsideChannelSuite, clear_of, entry_of, key_of, signal_of
from tests.alerts.platforms import Call, Reply, nobody, platform, silent

HOME = "https://escrow.example"
TOKEN = "geheim-0815"
BOOK_AT = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


def real_time() -> datetime:
    return datetime.now(UTC)


_made: list[AlertmanagerChannel] = []


def channel_to(*urls: str, **changes: Any) -> AlertmanagerChannel:
    channel = AlertmanagerChannel(
        changes.pop("name", "am"), urls, notice_of=partial(notice, home_url=HOME), home_url=HOME,
        **{"now_of": real_time, "timeout_seconds": 5, **changes},
    )
    _made.append(channel)
    return channel


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def open_alert(subject: str = "62170001", severity: Severity = Severity.RED) -> Alert:
    """An open alert as a book keeps it."""
    book = MemoryAlertBook()
    book.advance(signals=[signal_of(key_of(subject), severity)], clears=[], now=BOOK_AT, cause="test")
    return book.open_alerts()[0]


# ---- a far side that checks ---------------------------------------------------------------------------------------


class Api:
    """POST and GET /api/v2/alerts as its published OpenAPI file and its own checks have it."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.authorization: str | None = None
        self.held: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        self.says: Reply | None = None
        self.lists: object = None
        self.posts = 0

    def __call__(self, call: Call) -> Reply:
        if self.says is not None:
            return self.says
        if call.path != "/prefix/api/v2/alerts":
            return Reply("404 page not found", status=404)
        if self.authorization is not None and call.headers.get("authorization") != self.authorization:
            return Reply("unauthorized", status=401)
        return self._take(call) if call.body else self._list(call)

    def url(self) -> str:
        return f"http://127.0.0.1:{self.stack.enter_context(platform(self))}/prefix/"

    def firing(self) -> list[dict[str, str]]:
        return [one["labels"] for one in self._active()]

    def _active(self) -> list[dict[str, Any]]:
        return [one for one in self.held.values() if _instant(one["endsAt"]) > real_time()]

    def _take(self, call: Call) -> Reply:
        self.posts += 1
        if call.headers.get("content-type") != "application/json":
            return Reply({"code": 415, "message": "unsupported media type"}, status=415)
        wrong = [said for one in json.loads(call.body) if (said := self._wrong(one))]
        return Reply("; ".join(wrong), status=400) if wrong else Reply({})

    def _wrong(self, one: dict[str, Any]) -> str | None:
        starts, ends = _instant(one["startsAt"]), _instant(one["endsAt"])
        if starts > ends:
            return "start time must be before end time"
        for name, value in {**one["labels"], **one["annotations"]}.items():
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or not isinstance(value, str):
                return f"invalid label name {name!r}"
        if not one["labels"]:
            return "at least one label pair required"
        self.held[tuple(sorted(one["labels"].items()))] = {**one, "updatedAt": real_time().isoformat()}
        return None

    def _list(self, call: Call) -> Reply:
        if self.lists is not None:
            return Reply(self.lists)
        name, value = re.fullmatch(r'(\w+)="(.*)"', call.query["filter"]).groups()  # type: ignore[union-attr]
        return Reply([one for one in self._active() if one["labels"].get(name) == value])


def _instant(text: str) -> datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text), text
    return datetime.fromisoformat(text)


@pytest.fixture
def api() -> Iterator[Api]:
    with ExitStack() as stack:
        yield Api(stack)


class TestAlertmanagerChannel(OutsideChannelSuite):
    @pytest.fixture
    def channel(self, api: Api) -> Channel:
        api.authorization = f"Bearer {TOKEN}"
        return channel_to(api.url(), credentials=Credentials(token=TOKEN))

    @pytest.fixture
    def broken_channel(self) -> Channel:
        return channel_to(f"http://127.0.0.1:{nobody()}", credentials=Credentials(token=TOKEN))

    @pytest.fixture
    def refusing_channel(self, api: Api) -> Channel:
        api.authorization = "Bearer another"
        return channel_to(api.url(), credentials=Credentials(token=TOKEN))

    @pytest.fixture
    def silent_channel(self, api: Api) -> Channel:
        return channel_to(f"http://127.0.0.1:{api.stack.enter_context(silent())}", timeout_seconds=1)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return [TOKEN]


def test_a_password_is_basic_authentication(api: Api) -> None:
    api.authorization = "Basic " + base64.b64encode("escrow:密码".encode()).decode()
    channel = channel_to(api.url(), credentials=Credentials(user="escrow", password="密码"))
    assert channel.send(entry_of(1), message_id="evt_1_am") == Sent(detail="HTTP 200")


def test_an_alert_is_known_by_what_it_is_and_never_by_its_labels_alone(api: Api) -> None:
    labels = {"alertname": "forged", "severity": "info", "sent_by": "forged", "9-odd 名": "x", "": "y", "bank": ""}
    channel = channel_to(api.url())
    assert isinstance(channel.send(entry_of(1, labels=labels), message_id="evt_1_am"), Sent)
    (firing,) = api.firing()
    assert (firing["alertname"], firing["severity"], firing["sent_by"]) == ("floor", "red", "escrow-monitor/am")
    assert "bank" not in firing
    assert set(firing.values()) >= {"x", "y"}
    (held,) = api.held.values()
    assert held["generatorURL"] == f"{HOME}/alerts/{entry_of(1).alert_id}"
    assert held["annotations"]["why_en"] == entry_of(1).why.en


def test_a_change_of_severity_ends_the_one_and_begins_the_other(api: Api) -> None:
    channel = channel_to(api.url())
    kinds = [
        (TransitionKind.OPENED, Severity.YELLOW), (TransitionKind.ESCALATED, Severity.RED),
        (TransitionKind.ACKNOWLEDGED, Severity.RED), (TransitionKind.EASED, Severity.ORANGE),
    ]
    for seq, (kind, severity) in enumerate(kinds, start=1):
        channel.send(entry_of(seq, transition=kind, severity=severity), message_id=f"evt_{seq}_am")
        assert [one["severity"] for one in api.firing()] == [severity.value]
    channel.send(entry_of(5, transition=TransitionKind.RESOLVED, severity=Severity.ORANGE), message_id="evt_5_am")
    assert api.firing() == []


def test_a_digest_leaves_what_its_last_entries_say(api: Api) -> None:
    kinds = [TransitionKind.OPENED, TransitionKind.RESOLVED, TransitionKind.REOPENED, TransitionKind.ESCALATED]
    owed = [
        Owed(entry_of(seq, transition=kind, severity=Severity.RED if seq == 4 else Severity.YELLOW), f"evt_{seq}_am")
        for seq, kind in enumerate(kinds, start=1)
    ]
    assert isinstance(channel_to(api.url()).send_digest(owed), Sent)
    assert [one["severity"] for one in api.firing()] == ["red"]
    assert api.posts == 1


def test_an_end_is_never_ahead_and_a_beginning_never_after_the_end(api: Api) -> None:
    ahead = real_time() + timedelta(days=400)
    channel = channel_to(api.url())
    ended = entry_of(1, transition=TransitionKind.RESOLVED, opened_at=ahead, recorded_at=ahead)
    assert isinstance(channel.send(ended, message_id="evt_1_am"), Sent)
    assert api.firing() == []
    early = entry_of(2, transition=TransitionKind.RESOLVED, opened_at=BOOK_AT, recorded_at=BOOK_AT - timedelta(days=1))
    assert isinstance(channel.send(early, message_id="evt_2_am"), Sent)


def test_a_test_is_an_alert_of_its_own_name_without_severity_and_ends_in_a_minute(api: Api) -> None:
    channel_to(api.url()).ping(message_id="test_1_am")
    (held,) = api.held.values()
    assert held["labels"]["alertname"] == TEST_NAME
    assert "severity" not in held["labels"]
    assert _instant(held["endsAt"]) - _instant(held["startsAt"]) == timedelta(minutes=1)


# ---- repeating what is open ---------------------------------------------------------------------------------------


def test_what_is_open_is_said_again_as_it_was_said_and_what_is_not_is_ended(api: Api) -> None:
    channel = channel_to(api.url())
    assert isinstance(channel, StandingChannel)
    assert channel.renew_in() == 0
    known, stale = open_alert(), open_alert("62170002", Severity.YELLOW)
    assert channel.renew([known, stale]) == Sent(detail="2 said again, 0 ended")
    assert 0 < channel.renew_in() <= 60
    assert len(api.firing()) == 2
    for one in api.held.values():
        one["updatedAt"] = (real_time() - timedelta(hours=1)).isoformat()
    assert channel.renew([known]) == Sent(detail="1 said again, 1 ended")
    assert [one["subject"] for one in api.firing()] == ["62170001"]
    # The entry of the same alert is the same alert over there.
    entry = entry_of(1, key=known.key, alert_id=known.alert_id)
    channel.send(entry, message_id="evt_1_am")
    assert len(api.firing()) == 1


def test_what_was_said_just_now_is_not_ended_for_another_hand_may_have_said_it(api: Api) -> None:
    channel = channel_to(api.url())
    channel.send(entry_of(1), message_id="evt_1_am")
    channel.ping(message_id="test_1_am")
    assert channel.renew([]) == Sent(detail="0 said again, 0 ended")
    assert len(api.firing()) == 2


def test_what_other_channels_and_others_say_is_left_alone(api: Api) -> None:
    url = api.url()
    channel_to(url, name="other").send(entry_of(1), message_id="evt_1_other")
    for one in api.held.values():
        one["updatedAt"] = (real_time() - timedelta(hours=1)).isoformat()
    assert channel_to(url).renew([]) == Sent(detail="0 said again, 0 ended")
    assert len(api.firing()) == 1


def test_many_are_said_in_pieces(api: Api) -> None:
    one = open_alert()
    many = [replace(one, alert_id=f"{n:020}", key=key_of(f"{n}")) for n in range(2500)]
    assert channel_to(api.url()).renew(many) == Sent(detail="2500 said again, 0 ended")
    assert len(api.firing()) == 2500
    assert api.posts == 3


@pytest.mark.parametrize("lists", [{"not": "a list"}, [{"labels": {}}], [None], [{"labels": 1, "annotations": {}}]])
def test_a_list_that_is_not_understood_is_passing(api: Api, lists: object) -> None:
    api.lists = lists
    answer = channel_to(api.url()).renew([open_alert()])
    assert isinstance(answer, NotSent)
    assert not answer.permanent


@pytest.mark.parametrize("status", [401, 503])
def test_what_cannot_be_repeated_is_an_answer(api: Api, status: int) -> None:
    api.says = Reply("no", status=status)
    channel = channel_to(api.url())
    assert isinstance(channel.renew([open_alert()]), NotSent)
    assert isinstance(channel.renew([]), NotSent)


# ---- several of them ----------------------------------------------------------------------------------------------


def test_one_of_a_cluster_is_enough_and_the_detail_tells_of_the_other(api: Api) -> None:
    other = Api(api.stack)
    urls = (api.url(), other.url())
    channel = channel_to(*urls)
    assert channel.send(entry_of(1), message_id="evt_1_am") == Sent(detail="HTTP 200")
    assert len(api.firing()) == len(other.firing()) == 1
    other.says = Reply("down", status=503)
    answer = channel.send(entry_of(2), message_id="evt_2_am")
    assert answer == Sent(detail='HTTP 200; 1 of 2 did not take it: HTTP 503: "down"')
    api.says = Reply("wrong", status=400)
    assert channel.send(entry_of(3), message_id="evt_3_am") == NotSent(
        detail='HTTP 400: "wrong"; HTTP 503: "down"', permanent=False
    )


@pytest.mark.parametrize(("changes", "words"), [
    ({"renew_seconds": 60, "lapse_seconds": 100}, "lapse_seconds"), ({"urls": ()}, "at least one address"),
    ({"urls": ("alertmanager:9093",)}, "Alertmanager's address"),
])
def test_what_can_never_work_is_refused_at_once(changes: dict[str, Any], words: str) -> None:
    urls = changes.pop("urls", ("http://127.0.0.1:9093",))
    with pytest.raises(ValueError, match=words):
        channel_to(*urls, **changes)


# ---- the real one -------------------------------------------------------------------------------------------------

CONFIGURATION = """\
route:
  receiver: loopback
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: loopback
    webhook_configs:
      - url: http://127.0.0.1:{port}/
        send_resolved: true
inhibit_rules:
  - source_matchers: [alertname="freshness"]
    target_matchers: [alertname="floor"]
    equal: [bank]
"""


class Real:
    """A real Alertmanager, what it has, and what it told its receiver."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.heard: list[tuple[str, dict[str, str]]] = []
        self._binary, self._folder, self._port = binary, folder, nobody()
        self.url = f"http://127.0.0.1:{self._port}"

    def hear(self, call: Call) -> Reply:
        self.heard += [(one["status"], one["labels"]) for one in json.loads(call.body)["alerts"]]
        return Reply({})

    @contextmanager
    def running(self, receiver: int) -> Iterator[None]:
        (self._folder / "am.yml").write_text(CONFIGURATION.format(port=receiver))
        with (self._folder / "am.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    self._binary, f"--config.file={self._folder / 'am.yml'}", f"--storage.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}", "--cluster.listen-address=",
                ],
                stdout=log, stderr=log,
            )
        try:
            until(self._is_ready, (self._folder / "am.log").read_text)
            yield
        finally:
            process.terminate()
            process.wait(10)

    def has(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/alerts", params=query).json()
        return found

    def severities(self) -> list[str]:
        return sorted(one["labels"]["severity"] for one in self.has())

    def told(self, status: str) -> list[str]:
        return [labels.get("severity", labels["alertname"]) for said, labels in self.heard if said == status]

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.HTTPError:
            return False


def until(holds: Callable[[], bool], said: Callable[[], object] = str, seconds: float = 15) -> None:
    ends_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_at, said()
        time.sleep(0.05)


@pytest.fixture(scope="session")
def binary() -> str:
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("Alertmanager is not installed: apt install prometheus-alertmanager")
        pytest.skip("Alertmanager is not installed")
    return found


@pytest.fixture
def real(binary: str, tmp_path: Path) -> Iterator[Real]:
    one = Real(binary, tmp_path)
    with platform(one.hear) as port, one.running(port):
        yield one


@pytest.mark.slow
class TestRealAlertmanager(OutsideChannelSuite):
    @pytest.fixture
    def channel(self, real: Real) -> Channel:
        return channel_to(real.url)

    @pytest.fixture
    def broken_channel(self) -> Channel:
        return channel_to(f"http://127.0.0.1:{nobody()}")

    @pytest.fixture
    def refusing_channel(self, real: Real) -> Channel:
        return channel_to(f"{real.url}/nowhere")

    @pytest.fixture
    def silent_channel(self, api: Api) -> Channel:
        return channel_to(f"http://127.0.0.1:{api.stack.enter_context(silent())}", timeout_seconds=1)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return [TOKEN]


@pytest.mark.slow
def test_the_real_one_hears_an_alert_through_its_life_and_tells_its_receiver_each_once(real: Real) -> None:
    channel = channel_to(real.url)
    now = real_time()

    def say(seq: int, kind: TransitionKind, severity: Severity) -> None:
        for _ in range(2):
            entry = entry_of(seq, transition=kind, severity=severity, opened_at=now, recorded_at=real_time())
            assert channel.send(entry, message_id=f"evt_{seq}_am") == Sent(detail="HTTP 200")

    say(1, TransitionKind.OPENED, Severity.YELLOW)
    assert real.severities() == ["yellow"]
    until(lambda: real.told("firing") == ["yellow"], lambda: real.heard)
    say(2, TransitionKind.ESCALATED, Severity.RED)
    assert real.severities() == ["red"]
    until(lambda: real.told("firing") == ["yellow", "red"], lambda: real.heard)
    until(lambda: real.told("resolved") == ["yellow"], lambda: real.heard)
    say(3, TransitionKind.RESOLVED, Severity.RED)
    assert real.severities() == []
    until(lambda: sorted(real.told("resolved")) == ["red", "yellow"], lambda: real.heard)
    # Orange and info were ended without ever having been: nobody hears of them.
    time.sleep(2.5)
    assert len(real.heard) == 4
    say(4, TransitionKind.REOPENED, Severity.RED)
    until(lambda: real.told("firing").count("red") == 2, lambda: real.heard)


@pytest.mark.slow
def test_the_real_one_lets_an_alert_lapse_unless_it_is_said_again(real: Real) -> None:
    channel = channel_to(real.url, renew_seconds=1, lapse_seconds=3)
    alert = open_alert()
    for _ in range(6):
        assert isinstance(channel.renew([alert]), Sent)
        time.sleep(1)
        assert real.severities() == ["red"]
    until(lambda: real.severities() == [], seconds=6)


@pytest.mark.slow
def test_the_real_one_forgets_over_a_restart_and_is_told_again(binary: str, tmp_path: Path) -> None:
    one = Real(binary, tmp_path)
    channel = channel_to(one.url)
    with platform(one.hear) as port:
        with one.running(port):
            channel.renew([open_alert()])
            assert one.severities() == ["red"]
        assert isinstance(channel.renew([open_alert()]), NotSent)
        with one.running(port):
            assert one.severities() == []
            assert channel.renew([open_alert()]) == Sent(detail="1 said again, 0 ended")
            assert one.severities() == ["red"]


@pytest.mark.slow
def test_a_message_that_came_too_late_does_no_lasting_harm_at_the_real_one(real: Real) -> None:
    channel = channel_to(real.url, renew_seconds=1)
    now = real_time()
    channel.send(entry_of(2, transition=TransitionKind.RESOLVED, opened_at=now, recorded_at=now), message_id="evt_2_am")
    assert real.severities() == []
    channel.send(entry_of(1, opened_at=now), message_id="evt_1_am")
    assert real.severities() == ["red"]

    def ended() -> bool:
        time.sleep(0.5)
        return isinstance(channel.renew([]), Sent) and real.severities() == []

    until(ended)


@pytest.mark.slow
def test_the_real_one_inhibits_by_our_labels_and_takes_whatever_a_sentence_holds(real: Real) -> None:
    channel = channel_to(real.url)
    labels = {"bank": "icbc", "account_no": "1", "名称": "甲"}
    silent_bank = key_of("icbc", rule="freshness")
    channel.send(entry_of(1, labels=labels, why=Why(zh='"甲"\x00\n', en="\\")), message_id="evt_1_am")
    channel.send(entry_of(2, key=silent_bank, alert_id="other", labels=labels), message_id="evt_2_am")

    def inhibited() -> bool:
        states = {one["labels"]["alertname"]: one["status"]["state"] for one in real.has()}
        return states == {"floor": "suppressed", "freshness": "active"}

    until(inhibited, real.has)
    channel.ping(message_id="test_1_am")
    until(lambda: TEST_NAME in real.told("firing"), lambda: real.heard)


@pytest.mark.slow
def test_what_a_book_keeps_open_is_what_the_real_one_has(real: Real) -> None:
    book, channel = MemoryAlertBook(), channel_to(real.url)
    at = real_time()
    signals = [signal_of(key_of(str(n)), list(Severity)[n % 4], at=at) for n in range(40)]
    clears = [clear_of(key_of(str(n)), at=at + timedelta(seconds=1)) for n in range(0, 40, 2)]
    entries = [
        *book.advance(signals=signals, clears=[], now=at, cause="test"),
        *book.advance(signals=[], clears=clears, now=at + timedelta(seconds=1), cause="test"),
    ]
    time.sleep(1.1)
    channel.send_digest([Owed(entry, f"evt_{entry.seq}_am") for entry in entries])
    expected = sorted((alert.key.subject, alert.severity.value) for alert in book.open_alerts())
    assert sorted((one["labels"]["subject"], one["labels"]["severity"]) for one in real.has()) == expected
    assert channel.renew(book.open_alerts()) == Sent(detail="20 said again, 0 ended")
    assert len(real.has()) == 20
