"""What people read of every transition, of a storm and of several at once, in every channel and both languages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import datetime
from functools import partial

import pytest

from alerts.alert import AlertKey, Reason, Severity, TransitionKind, Why
from alerts.channel import Channel
from alerts.channel.notice import Lang, headline
from alerts.channel.robot import Way
from alerts.channels import CHANNELS
from alerts.channels.alertmanager import AlertmanagerChannel
from alerts.channels.apprise import AppriseChannel
from alerts.channels.dingtalk import DingtalkChannel
from alerts.channels.email import EmailChannel, Mailbox
from alerts.channels.feishu import FeishuChannel
from alerts.channels.log import LogChannel
from alerts.channels.webhook import WebhookChannel
from alerts.channels.wecom import WecomChannel
from alerts.feeds.item import LANGUAGE_TAGS, REASON_WORDS, ROUTE_WORDS, SEVERITY_WORDS, TRANSITION_WORDS, feed_item
from alerts.feeds.notice import notice
from alerts.routing import STORM_RULE, RouteReason
from alerts.testing import START, entry_of

# Apprise loads every service that it knows, and one of them what Python is about to leave out.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
HOME = "https://escrow.example"


def now_of() -> datetime:
    return START


def log(lang: Lang) -> Channel:
    return LogChannel("log", lambda line: None)


def webhook(lang: Lang) -> Channel:
    item_of = partial(feed_item, home_url=HOME, lang=lang)
    return WebhookChannel(
        "hook", "https://hook.example/", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], source=HOME, item_of=item_of,
        now_of=now_of,
    )


def robot(kind: type[WecomChannel | DingtalkChannel | FeishuChannel], lang: Lang) -> Channel:
    way = Way(
        url="https://robot.example/?key=0123456789", notice_of=partial(notice, home_url=HOME, lang=lang), lang=lang,
        home_url=HOME, now_of=now_of,
    )
    return kind("robot", way)


def email(lang: Lang) -> Channel:
    return EmailChannel(
        "mail", Mailbox(host="mail.example", port=25, tls="none"), sender="a@b.example", recipients=["c@d.example"],
        notice_of=partial(notice, home_url=HOME, lang=lang), home_url=HOME, now_of=now_of, lang=lang,
    )


def alertmanager(lang: Lang) -> Channel:
    return AlertmanagerChannel(
        "am", ["http://am.example:9093"], notice_of=partial(notice, home_url=HOME, lang=lang), home_url=HOME,
        now_of=now_of, lang=lang,
    )


def apprise(lang: Lang) -> Channel:
    if importlib.util.find_spec("apprise") is None:
        pytest.skip("the extra apprise is not installed")
    return AppriseChannel(
        "push", "json://push.example/", notice_of=partial(notice, home_url=HOME, lang=lang), home_url=HOME, lang=lang
    )


MAKERS: dict[str, Callable[[Lang], Channel]] = {
    "log": log, "webhook": webhook, "email": email, "wecom": partial(robot, WecomChannel),
    "dingtalk": partial(robot, DingtalkChannel), "feishu": partial(robot, FeishuChannel), "alertmanager": alertmanager,
    "apprise": apprise,
}


def test_no_channel_and_no_word_is_forgotten() -> None:
    assert set(MAKERS) == set(CHANNELS)
    for words, said in (
        (TransitionKind, TRANSITION_WORDS), (Reason, REASON_WORDS), (Severity, SEVERITY_WORDS),
        (RouteReason, ROUTE_WORDS),
    ):
        assert set(words) == set(said)
        assert all(set(of) == set(LANGUAGE_TAGS) and all(of.values()) for of in said.values())


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("kind", MAKERS)
def test_every_channel_says_what_happened(kind: str, lang: Lang) -> None:
    channel = MAKERS[kind](lang)
    for transition in TransitionKind:
        said = channel.preview(entry_of(7, transition=transition)).replace("\N{NO-BREAK SPACE}", " ")
        if kind == "log":
            assert f'"transition": "{transition.value}"' in said
        else:
            assert TRANSITION_WORDS[transition][lang] in said, transition
    channel.close()


@pytest.mark.parametrize(("lang", "words"), [("zh", ("恢复提醒", "li 的暂缓已于")), ("en", ("resumed", "ran out"))])
@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "log"])
def test_every_channel_says_why_it_calls_again(kind: str, lang: Lang, words: tuple[str, str]) -> None:
    why = Why(zh="li 的暂缓已于 2026-03-02 09:30 到期；余额 9900 分", en="the snooze by li ran out; holds 9900 fen")
    entry = entry_of(9, transition=TransitionKind.RESUMED, reason=Reason.RAN_OUT, why=why)
    channel = MAKERS[kind](lang)
    said = channel.preview(entry).replace("\N{NO-BREAK SPACE}", " ")
    assert all(word in said for word in words), said
    channel.close()


def test_alertmanager_is_told_that_a_resumed_alert_fires() -> None:
    said = alertmanager("zh").preview(entry_of(9, transition=TransitionKind.RESUMED, recorded_at=START))
    firing = [part for part in said.split("startsAt")[1:] if "2026-03-03" in part]
    assert len(firing) == 1, "a lapse ahead, in one severity; ended in the others"


@pytest.mark.parametrize(("lang", "words"), [("zh", "一次核查新增 320 条预警"), ("en", "one round opened 320 alerts")])
@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "log"])
def test_every_channel_tells_of_a_storm(kind: str, lang: Lang, words: str) -> None:
    why = Why(zh="一次核查新增 320 条预警（超过 200 条），不逐条发送", en="one round opened 320 alerts (more than 200)")
    entry = entry_of(
        321, key=AlertKey(STORM_RULE, "feed", START.isoformat()), why=why, labels={}, figures={"count": 320}
    )
    channel = MAKERS[kind](lang)
    assert words in channel.preview(entry).replace("\N{NO-BREAK SPACE}", " ")
    channel.close()


def test_a_digest_says_whose_it_is_and_each_of_its_entries_what_happened() -> None:
    entries = [entry_of(seq, transition=transition) for seq, transition in enumerate(TransitionKind, start=1)]
    for lang in LANGUAGE_TAGS:
        notices = [notice(entry, home_url=HOME, lang=lang) for entry in entries]
        assert headline(notices).startswith("91510300MA62000000")
        told = zip(TransitionKind, notices, strict=True)
        assert all(TRANSITION_WORDS[kind][lang] in one.title for kind, one in told)
