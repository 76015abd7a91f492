"""The robots of WeCom, DingTalk and Feishu, against far sides that check what the platforms check."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import FeedEntry, Severity, TransitionKind, Why
from alerts.channel import NotSent, Owed, Sent
from alerts.channel.notice import headline, parts, utf8_bytes
from alerts.channel.pace import Limit, Pace
from alerts.channel.robot import Robot, Way
from alerts.channels.dingtalk import DingtalkChannel
from alerts.channels.feishu import FeishuChannel
from alerts.channels.wecom import WecomChannel
from alerts.delivery import Delivered, Delivery, message_id
from alerts.dispatch import dispatch
from alerts.feeds.notice import notice
from alerts.testing import START, OutsideChannelSuite, entry_of
from tests.alerts.platforms import Dingtalk, Feishu, Platform, Reply, Wall, Wecom, nobody, platform, silent

HOME = "https://escrow.example"
UNHURRIED: dict[str, Any] = {"limits": ((100_000, 60.0),)}


class Ground:
    """Makes platforms and robots for one test, and puts them away after it."""

    def __init__(self, stack: ExitStack, wall: Wall) -> None:
        self.stack, self.wall = stack, wall

    def serve(self, side: Platform) -> int:
        side.wall = self.wall
        return self.stack.enter_context(platform(side))

    def wecom(self, side: Wecom, port: int | None = None, **changes: Any) -> WecomChannel:
        port = self.serve(side) if port is None else port
        return self._kept(WecomChannel, f"http://127.0.0.1:{port}/cgi-bin/webhook/send?key={side.key}", changes)

    def dingtalk(self, side: Dingtalk, port: int | None = None, **changes: Any) -> DingtalkChannel:
        port = self.serve(side) if port is None else port
        url = f"http://127.0.0.1:{port}/robot/send?access_token={side.token}"
        return self._kept(DingtalkChannel, url, {"secret": side.secret, **changes})

    def feishu(self, side: Feishu, port: int | None = None, **changes: Any) -> FeishuChannel:
        port = self.serve(side) if port is None else port
        url = f"http://127.0.0.1:{port}/open-apis/bot/v2/hook/{side.token}"
        return self._kept(FeishuChannel, url, {"secret": side.secret, **changes})

    def any(self, kind: str, side: Platform, port: int | None = None, **changes: Any) -> Robot:
        made: Robot = getattr(self, kind)(side, port, **changes)
        return made

    def _kept(self, made: Callable[..., Any], url: str, changes: dict[str, Any]) -> Any:
        lang = changes.pop("lang", "zh")
        way = Way(
            url=changes.pop("url", url),
            notice_of=changes.pop("notice_of", partial(notice, home_url=HOME, lang=lang)),
            home_url=HOME,
            lang=lang,
            now_of=changes.pop("now_of", self.wall.now),
            keyword=changes.pop("keyword", ""),
            allow_private=changes.pop("allow_private", True),
            timeout_seconds=changes.pop("timeout_seconds", 5),
        )
        channel = made("robot", way, **changes)
        self.stack.callback(channel.close)
        return channel


@pytest.fixture
def ground() -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground(stack, Wall())


SIDES: dict[str, Callable[..., Platform]] = {"wecom": Wecom, "dingtalk": Dingtalk, "feishu": Feishu}
KINDS = pytest.mark.parametrize("kind", sorted(SIDES))


# ---- the shared suite --------------------------------------------------------------------------------------------


class RobotSuite(OutsideChannelSuite):
    kind: str

    @pytest.fixture
    def channel(self, ground: Ground) -> Robot:
        return ground.any(self.kind, SIDES[self.kind](**UNHURRIED), pace=Pace())

    @pytest.fixture
    def broken_channel(self, ground: Ground) -> Robot:
        return ground.any(self.kind, SIDES[self.kind](), nobody())

    @pytest.fixture
    def refusing_channel(self, ground: Ground) -> Robot:
        # The far side has another key than the one we were given.
        side = SIDES[self.kind](**UNHURRIED)
        port = ground.serve(side)
        known = replace(side)
        for name in ("key", "token"):
            if hasattr(side, name):
                setattr(side, name, "another")
        return ground.any(self.kind, known, port)

    @pytest.fixture
    def silent_channel(self, ground: Ground) -> Robot:
        return ground.any(self.kind, SIDES[self.kind](), ground.stack.enter_context(silent()), timeout_seconds=1)

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        side = SIDES[self.kind]()
        found = [getattr(side, name, None) for name in ("key", "token", "secret")]
        return [secret for secret in found if secret]


class TestWecom(RobotSuite):
    kind = "wecom"


class TestWecomText(RobotSuite):
    kind = "wecom"

    @pytest.fixture
    def channel(self, ground: Ground) -> Robot:
        return ground.wecom(Wecom(**UNHURRIED), pace=Pace(), markup=False)


class TestDingtalk(RobotSuite):
    kind = "dingtalk"


class TestFeishu(RobotSuite):
    kind = "feishu"


# ---- what is said -------------------------------------------------------------------------------------------------


def text_in(document: dict[str, Any]) -> str:
    """All that people read of a message."""
    if "post" in document.get("content", {}):
        (post,) = document["content"]["post"].values()
        return "\n".join([post["title"], *("".join(piece["text"] for piece in line) for line in post["content"])])
    return str(document.get("text", document.get("markdown", {})).get("content") or document["markdown"]["text"])


@KINDS
@pytest.mark.parametrize(("lang", "words"), [
    ("zh", ("【红色·新预警】", "余额 9900 分", "尾号 0001", "机构：晨光")),
    ("en", ("opened", "holds 9900 fen", "ending in 0001", "institution: 晨光")),
])
def test_people_read_the_sentence_the_facts_and_where_to_look(
    ground: Ground, kind: str, lang: str, words: Sequence[str]
) -> None:
    side = SIDES[kind]()
    channel = ground.any(kind, side, lang=lang)
    entry = entry_of(5, labels={"account_no": "6217000000010001", "name": "晨光", "bank": "icbc"})
    assert isinstance(channel.send(entry, message_id="evt_5_robot"), Sent)
    said = text_in(side.taken[0])
    assert not [word for word in words if word not in said]
    assert "6217" not in said
    assert f"{HOME}/alerts/{entry.alert_id}" in said


@KINDS
def test_a_test_message_says_so_in_its_first_words(ground: Ground, kind: str) -> None:
    side = SIDES[kind]()
    assert isinstance(ground.any(kind, side).ping(message_id="test_1_robot"), Sent)
    said = text_in(side.taken[0])
    assert "测试" in said.split("\n")[0]
    assert "test_1_robot" in said


@KINDS
def test_nobody_is_called_and_nothing_linked_by_what_a_sentence_holds(ground: Ground, kind: str) -> None:
    side = SIDES[kind]()
    why = Why(zh='<@all> <at user_id="all">所有人</at> [点我](http://evil.example) **粗** ****1234', en="x")
    assert isinstance(ground.any(kind, side).send(entry_of(1, why=why), message_id="evt_1_robot"), Sent)
    said = side.bodies[0].decode()
    assert "<@" not in said
    assert "<at" not in said
    assert "[点我]" not in said or kind == "feishu"  # its paragraphs are plain text
    assert "1234" in said


def test_every_message_holds_the_keyword_that_the_robot_demands(ground: Ground) -> None:
    side = Dingtalk(secret=None, keyword="资金监管")
    channel = ground.dingtalk(side)
    assert channel.send(entry_of(1), message_id="evt_1_robot") == NotSent(
        detail="errcode 310000: keywords not in content", permanent=True
    )
    channel = ground.dingtalk(side, ground.serve(side), keyword="资金监管")
    long = entry_of(1, why=Why(zh="长" * 20_000, en="x"))
    assert isinstance(channel.send(long, message_id="evt_1_robot"), Sent)
    assert len(side.taken) > 2
    assert isinstance(channel.ping(message_id="test_1_robot"), Sent)


# ---- what the platforms check -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
@pytest.mark.parametrize("off_minutes", [-59, 0, 59])
def test_a_signature_is_taken_within_an_hour_of_the_platforms_clock(
    ground: Ground, kind: str, off_minutes: int
) -> None:
    side = SIDES[kind]()
    channel = ground.any(kind, side, now_of=lambda: ground.wall.now() + timedelta(minutes=off_minutes))
    assert isinstance(channel.send(entry_of(1), message_id="evt_1_robot"), Sent)


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
@pytest.mark.parametrize("off_minutes", [-61, 61])
def test_a_signature_beyond_an_hour_or_by_another_secret_is_refused(
    ground: Ground, kind: str, off_minutes: int
) -> None:
    side = SIDES[kind]()
    port = ground.serve(side)
    late = ground.any(kind, side, port, now_of=lambda: ground.wall.now() + timedelta(minutes=off_minutes))
    other = ground.any(kind, side, port, secret="SECanother")
    unsigned = ground.any(kind, side, port, secret=None)
    for channel in (late, other, unsigned):
        answer = channel.send(entry_of(1), message_id="evt_1_robot")
        assert isinstance(answer, NotSent)
        assert answer.permanent
    assert side.refusals == [310000 if kind == "dingtalk" else 19021] * 3


def test_the_signatures_are_those_of_the_platforms_own_recipes() -> None:
    """Worked out with `openssl dgst -sha256 -mac HMAC -macopt`, by the recipes that the platforms print."""
    at = datetime(2026, 11, 23, 9, 15, tzinfo=UTC)
    way = Way(
        url="https://robot.example/robot/send?access_token=abc", notice_of=lambda entry: notice(entry, home_url=HOME),
        home_url=HOME, now_of=lambda: at,
    )
    dingtalk = DingtalkChannel("d", way, secret="this is secret")
    assert str(dingtalk.url_of(dingtalk._outward.url, at)).endswith(
        "access_token=abc&timestamp=1795425300000&sign=" + DINGTALK_SIGN
    )
    feishu = FeishuChannel("f", way, secret="demo")
    assert feishu._signature(at) == {"timestamp": "1795425300", "sign": FEISHU_SIGN}


@KINDS
def test_a_long_entry_goes_in_parts_that_the_platform_takes_and_nothing_is_lost(ground: Ground, kind: str) -> None:
    side = SIDES[kind]()
    sentence = "".join(f"第{n}条：账户余额低于底线\U0001f4b0。" for n in range(900))
    answer = ground.any(kind, side).send(entry_of(1, why=Why(zh=sentence, en="x")), message_id="evt_1_robot")
    assert isinstance(answer, Sent)
    assert side.refusals == []
    assert len(side.taken) > 1
    assert f"{len(side.taken)} parts" in answer.detail
    pieces = [text_in(one).split(f"/{len(side.taken)}) ", 1)[1] for one in side.taken]
    assert sentence in "".join(pieces)
    for number, one in enumerate(side.taken, start=1):
        assert f"({number}/{len(side.taken)})" in text_in(one)


def test_wecom_is_given_bytes_and_not_characters(ground: Ground) -> None:
    side = Wecom()
    ground.wecom(side).send(entry_of(1, why=Why(zh="余" * 4000, en="x")), message_id="evt_1_robot")
    lengths = [len(one["markdown"]["content"].encode()) for one in side.taken]
    assert len(lengths) >= 3
    assert max(lengths) <= 4096
    assert sorted(lengths)[1] > 3900


@KINDS
def test_several_entries_go_in_one_message_as_far_as_it_holds_them(ground: Ground, kind: str) -> None:
    side = SIDES[kind]()
    channel = ground.any(kind, side)
    owed = [Owed(entry_of(seq, severity=list(Severity)[seq % 4]), f"evt_{seq}_robot") for seq in range(1, 51)]
    fits = channel.fits(owed)
    assert 5 < fits <= 50
    assert isinstance(channel.send_digest(owed[:fits]), Sent)
    assert len(side.taken) == 1
    said = text_in(side.taken[0])
    assert said.count("余额 9900 分") == fits


def test_the_headline_of_several_counts_them_from_the_worst() -> None:
    notices = [
        notice(entry_of(seq, severity=severity), home_url=HOME)
        for seq, severity in enumerate((Severity.YELLOW, Severity.RED, Severity.RED), start=4)
    ]
    mixed = [replace(one, about=str(one.seq), cause=str(one.seq)) for one in notices]
    assert headline(mixed) == "3 条预警（红色 2，黄色 1）第 4 至 6 号"
    assert headline([replace(one, lang="en") for one in mixed]) == "3 alerts (2 red, 1 yellow), no. 4 to 6"


def test_the_headline_of_several_names_their_institution_or_else_their_cause() -> None:
    labels = {"uscc": "91510300MA62000000", "name": "晨光艺术培训学校", "bank": "northbank"}
    notices = [notice(entry_of(seq, labels=labels), home_url=HOME, lang="en") for seq in (1, 2, 3)]
    assert headline(notices) == "晨光艺术培训学校: 3 alerts (3 red), no. 1 to 3"
    others = [notices[0], replace(notices[1], about="远航英语培训中心"), notices[2]]
    assert headline([replace(one, lang="zh") for one in others]).startswith("floor northbank：3 条预警")


# ---- what an answer means -----------------------------------------------------------------------------------------


CODES = [
    ("wecom", 45009, False), ("wecom", -1, False), ("wecom", 93000, True), ("wecom", 40058, True),
    ("wecom", 777, False),
    ("dingtalk", 130101, False), ("dingtalk", -1, False), ("dingtalk", 310000, True), ("dingtalk", 460101, True),
    ("dingtalk", 777, False),
    ("feishu", 11232, False), ("feishu", 19021, True), ("feishu", 19024, True), ("feishu", 9499, True),
    ("feishu", 777, False),
]


@pytest.mark.parametrize(("kind", "code", "permanent"), CODES)
def test_a_refusal_inside_an_answer_of_200_is_heard(ground: Ground, kind: str, code: int, permanent: bool) -> None:
    name, words = ("code", "msg") if kind == "feishu" else ("errcode", "errmsg")
    side = SIDES[kind](says=Reply({name: code, words: "为什么\n不"}))
    answer = ground.any(kind, side).send(entry_of(1), message_id="evt_1_robot")
    assert answer == NotSent(detail=f"{name} {code}: 为什么 不", permanent=permanent)


@KINDS
@pytest.mark.parametrize("document", [
    {}, [], "ok", None, 0, {"errmsg": "ok"}, {"errcode": "0", "code": "0"}, {"errcode": None, "code": None},
    {"errcode": False, "code": False}, {"errcode": 0.0, "code": 0.0},
])
def test_an_answer_that_does_not_say_yes_is_no_yes(ground: Ground, kind: str, document: object) -> None:
    answer = ground.any(kind, SIDES[kind](says=Reply(document))).send(entry_of(1), message_id="evt_1_robot")
    assert isinstance(answer, NotSent)
    assert not answer.permanent
    assert answer.detail.startswith("not understood: HTTP 200")


@KINDS
@pytest.mark.parametrize(("status", "permanent"), [(302, False), (404, True), (413, True), (429, False), (502, False)])
def test_an_answer_beyond_200_is_judged_by_its_status(ground: Ground, kind: str, status: int, permanent: bool) -> None:
    ok = {"errcode": 0, "code": 0}
    answer = ground.any(kind, SIDES[kind](says=Reply(ok, status=status))).send(entry_of(1), message_id="evt_1_robot")
    assert isinstance(answer, NotSent)
    assert answer.permanent is permanent


def test_the_older_answer_of_feishu_is_a_yes_as_well(ground: Ground) -> None:
    side = Feishu(old=True)
    assert ground.feishu(side).send(entry_of(1), message_id="evt_1_robot") == Sent(detail="code 0")


@KINDS
def test_a_private_address_is_refused_unless_it_is_allowed(ground: Ground, kind: str) -> None:
    side = SIDES[kind]()
    answer = ground.any(kind, side, allow_private=False).send(entry_of(1), message_id="evt_1_robot")
    assert isinstance(answer, NotSent)
    assert answer.permanent
    assert side.bodies == []


@KINDS
@pytest.mark.parametrize("url", ["", "robot.example", "ftp://robot.example/x-secret-key", "https://u:p@x.example/k"])
def test_an_address_that_can_never_work_is_refused_without_being_shown(ground: Ground, kind: str, url: str) -> None:
    with pytest.raises(ValueError, match="the robot's address") as refused:
        ground.any(kind, SIDES[kind](), nobody(), url=url)
    assert "secret-key" not in str(refused.value)


# ---- how often ----------------------------------------------------------------------------------------------------


@KINDS
def test_by_our_pace_the_platform_is_never_called_too_often(ground: Ground, kind: str) -> None:
    side = SIDES[kind]()
    limits = [Limit(*limit) for limit in side.limits]
    channel = ground.any(kind, side, pace=Pace(limits, seconds_of=lambda: ground.wall.seconds))
    for seq in range(1, 131):
        ground.wall.seconds += channel.ready_in()
        assert isinstance(channel.send(entry_of(seq), message_id=f"evt_{seq}_robot"), Sent)
        ground.wall.seconds += 0.01
    assert side.refusals == []
    calls, span = min(side.limits, key=lambda limit: limit[0] / limit[1])
    assert ground.wall.seconds < 130 / calls * (span + 0.2) + 1


@KINDS
def test_after_too_often_the_robot_rests(ground: Ground, kind: str) -> None:
    side = replace(SIDES[kind](), limits=((2, 60.0),))
    channel = ground.any(kind, side, pace=Pace(seconds_of=lambda: ground.wall.seconds))
    answers = [channel.send(entry_of(seq), message_id=f"evt_{seq}_robot") for seq in (1, 2, 3)]
    assert isinstance(answers[2], NotSent)
    assert not answers[2].permanent
    assert channel.ready_in() >= 60
    ground.wall.seconds += channel.ready_in()
    assert isinstance(channel.send(entry_of(3), message_id="evt_3_robot"), Sent)


def test_a_rest_that_the_far_side_asks_for_is_kept_but_not_longer_than_an_hour(ground: Ground) -> None:
    for asked, kept in (("30", 30), ("999999", 3600), ("soon", 0), ("-5", 0)):
        side = Wecom(says=Reply({}, status=503, headers={"retry-after": asked}))
        channel = ground.wecom(side, pace=Pace(seconds_of=lambda: ground.wall.seconds))
        channel.send(entry_of(1), message_id="evt_1_robot")
        assert channel.ready_in() == kept


def test_a_storm_goes_through_dispatch_in_few_messages_in_order_and_whole(ground: Ground) -> None:
    side = Wecom()
    channel = ground.wecom(side)
    due = [
        Delivery(
            delivery_id=message_id(seq, "robot"), channel="robot", entry=entry_of(seq), attempts=0, due_at=START,
            created_at=START,
        )
        for seq in range(1, 101)
    ]
    done = list(dispatch(due, {"robot": channel}, now_of=ground.wall.now, seconds_max=30))
    assert [one.delivery.entry.seq for one in done] == list(range(1, 101))
    assert all(one.outcome == Delivered() for one in done)
    assert len(side.taken) <= 20
    said = "\n".join(map(text_in, side.taken))
    assert [n for n in range(1, 101) if f"编号：{n}\n" not in said] == []


# ---- how texts are cut --------------------------------------------------------------------------------------------


@given(st.text(max_size=300), st.integers(min_value=4, max_value=60))
def test_parts_join_to_the_whole_and_each_fits(text: str, limit: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    pieces = parts(text, limit, measure=utf8_bytes)
    assert "".join(pieces) == text
    assert all(utf8_bytes(piece) <= limit for piece in pieces)
    assert len(pieces) == 1 or all(pieces)


def test_a_text_is_cut_between_lines_if_it_can_be() -> None:
    assert parts("甲甲\n乙乙\n丙", 14, measure=utf8_bytes) == ["甲甲\n乙乙\n", "丙"]
    assert parts("甲乙丙", 7, measure=utf8_bytes) == ["甲乙", "丙"]
    with pytest.raises(ValueError, match="one character"):
        parts("甲", 2, measure=utf8_bytes)


def test_every_kind_of_transition_has_a_title(ground: Ground) -> None:
    def titled(kind: TransitionKind) -> FeedEntry:
        return entry_of(1, transition=kind)

    assert len({notice(titled(kind), home_url=HOME).title for kind in TransitionKind}) == len(TransitionKind)


def test_a_preview_is_what_is_sent_but_for_the_signature(ground: Ground) -> None:
    side = Feishu()
    channel = ground.feishu(side)
    channel.send(entry_of(1), message_id="evt_1_robot")
    sent = {name: value for name, value in side.taken[0].items() if name not in {"timestamp", "sign"}}
    assert json.loads(channel.preview(entry_of(1))) == sent


DINGTALK_SIGN = "VCyWfcTyuEe8vkKgl%2FTXDHKB9eaFThexHK103jeur04%3D"
FEISHU_SIGN = "JgqmdM0NDuXshY43pwf1BruhcUId79uCjoteWdNMDq4="
