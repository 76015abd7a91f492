"""Apprise, against a receiver on loopback; left out, and said so, where the extra is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from alerts.alert import Severity
from alerts.channel import Channel, NotSent, Owed, Sent
from alerts.channels.apprise import AppriseChannel
from alerts.feeds.notice import notice
from alerts.testing import OutsideChannelSuite, entry_of
from tests.alerts.platforms import Call, Reply, nobody, platform, silent

# Apprise loads every service that it knows, and one of them what Python is about to leave out.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

HOME = "https://escrow.example"
TOKEN = "geheim-in-the-path"


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    if importlib.util.find_spec("apprise") is None:
        if os.environ.get("CI"):
            pytest.fail("apprise is not installed: pip install escrow-monitor[apprise]")
        pytest.skip("apprise is not installed")


class Service:
    """What Apprise's own JSON service talks to."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack, self.status, self.taken = stack, 200, list[Any]()

    def __call__(self, call: Call) -> Reply:
        self.taken.append(json.loads(call.body))
        return Reply({}, status=self.status)

    def channel(self, port: int | None = None, **changes: Any) -> AppriseChannel:
        port = self.stack.enter_context(platform(self)) if port is None else port
        return AppriseChannel(
            "push", f"json://127.0.0.1:{port}/{TOKEN}", notice_of=partial(notice, home_url=HOME), home_url=HOME,
            **{"timeout_seconds": 5, **changes},
        )


@pytest.fixture
def service() -> Iterator[Service]:
    with ExitStack() as stack:
        yield Service(stack)


class TestAppriseChannel(OutsideChannelSuite):
    @pytest.fixture
    def channel(self, service: Service) -> Channel:
        return service.channel()

    @pytest.fixture
    def broken_channel(self, service: Service) -> Channel:
        return service.channel(nobody())

    @pytest.fixture
    def silent_channel(self, service: Service) -> Channel:
        return service.channel(service.stack.enter_context(silent()), timeout_seconds=1)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        return [TOKEN]

    def test_a_refusal_for_good_is_permanent_and_says_why(self) -> None:  # type: ignore[override]
        """Apprise does not tell one refusal from another: see below."""


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_every_refusal_is_passing(service: Service, status: int) -> None:
    service.status = status
    assert service.channel().send(entry_of(1), message_id="evt_1_push") == NotSent(
        detail="JSON did not take it", permanent=False
    )


def test_the_service_is_told_the_title_the_text_and_how_bad_it_is(service: Service) -> None:
    channel = service.channel()
    assert channel.send(entry_of(3), message_id="evt_3_push") == Sent(detail="JSON took it")
    owed = [Owed(entry_of(seq, severity=Severity.YELLOW), f"evt_{seq}_push") for seq in (4, 5)]
    assert isinstance(channel.send_digest(owed), Sent)
    assert isinstance(channel.ping(message_id="test_1_push"), Sent)
    single, several, test = service.taken
    assert single["title"].startswith("【红色·新预警】")
    assert "尾号 0001" in single["message"]
    assert (single["type"], several["type"], test["type"]) == ("failure", "warning", "info")
    assert several["title"] == "91510300MA62000000：2 条预警（黄色 2）第 4 至 5 号"
    assert several["message"].count("余额 9900 分") == 2
    assert test["title"].startswith("【测试】")


@pytest.mark.parametrize(("url", "words"), [
    ("wecombot://key", 'type = "wecom"'), ("dingtalk://secret@token", 'type = "dingtalk"'),
    ("feishu://token", 'type = "feishu"'), ("LARK://token", 'type = "feishu"'), ("nothing://x", "does not know"),
    ("", "does not know"),
])
def test_a_service_that_says_no_by_saying_yes_is_refused_and_so_is_an_unknown_one(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AppriseChannel("push", url, notice_of=partial(notice, home_url=HOME), home_url=HOME)
