"""A channel that sends entries to a Feishu (飞书) or Lark group by its custom robot.

Published by the platform (custom bot usage guide and rate limits, open.feishu.cn), checked by the fake in our tests,
not against the platform itself:
    POST https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN, JSON in UTF-8, at most 20 KB
    with "签名校验": timestamp in SECONDS and sign in the body, base64 of HMAC-SHA256 over nothing with the key
    "timestamp\\nsecret"; at most an hour from the platform's clock
    100 messages a minute and 5 a second; on the hour and the half hour the platform may refuse with 11232 all the same
    HTTP 200 with {"code": 0} or the older {"StatusCode": 0}, or another code for a refusal
    9499 bad request, 19001 no such robot, 19021 signature or time, 19022 address not allowed, 19024 keyword missing
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from alerts.channel.notice import Notice
from alerts.channel.pace import Limit, Pace
from alerts.channel.robot import Letter, Robot, Way, json_bytes

BODY_BYTES_MAX = 20 * 1024
ENVELOPE_BYTES = 2_000
"""Room for the braces, the signature and the title, which is at most 200 characters of 4 bytes."""
PARAGRAPH_BYTES = 40
"""What each line of the text takes beside itself: `[{"tag":"text","text":""}],`, a link the same."""
TITLE_CHARACTERS_MAX = 200
LIMITS = (Limit(calls=5, seconds=1), Limit(calls=100, seconds=60))
REST_SECONDS = 60


class FeishuChannel(Robot):
    """One custom robot of one Feishu group; `secret` is the one that the robot shows under 签名校验."""

    code_names = ("code", "StatusCode")
    message_names = ("msg", "StatusMessage")
    permanent = frozenset({9499, 19001, 19002, 19021, 19022, 19024})
    rests: Mapping[int, int] = {11232: REST_SECONDS, 99991400: REST_SECONDS}
    limit = BODY_BYTES_MAX - ENVELOPE_BYTES

    def __init__(self, name: str, way: Way, *, secret: str | None = None, pace: Pace | None = None) -> None:
        super().__init__(name, way, pace or Pace(LIMITS), secret=secret)

    def text_of(self, notices: Sequence[Notice]) -> str:
        """One block an entry, an empty line between."""
        # Of one entry the title stands above the text already, unless it is cut there.
        titled = len(notices) == 1 and len(notices[0].title) <= TITLE_CHARACTERS_MAX
        return "\n\n".join(_block(notice, titled=titled) for notice in notices)

    def measure(self, text: str) -> int:
        """Bytes in the body."""
        return json_bytes(text) + PARAGRAPH_BYTES * (text.count("\n") + text.count("\u2028"))

    def body_of(self, letter: Letter, now: datetime | None) -> Mapping[str, object]:
        """A rich text (`post`) of plain paragraphs: nothing in them is markup but `<at>`, which is made harmless."""
        language = "zh_cn" if self._way.lang == "zh" else "en_us"
        post = {
            "title": letter.title[:TITLE_CHARACTERS_MAX],
            "content": [[{"tag": "text", "text": _harmless(line)}] for line in letter.text.split("\n")],
        }
        return {**self._signature(now), "msg_type": "post", "content": {"post": {language: post}}}

    def _signature(self, now: datetime | None) -> Mapping[str, str]:
        if self._secret is None or now is None:
            return {}
        timestamp = str(int(now.timestamp()))
        digest = hmac.digest(f"{timestamp}\n{self._secret}".encode(), b"", hashlib.sha256)
        return {"timestamp": timestamp, "sign": base64.b64encode(digest).decode()}


def _block(notice: Notice, *, titled: bool) -> str:
    colon = "：" if notice.lang == "zh" else ": "
    facts = [f"{name}{colon}{value}" for name, value in notice.facts]
    return "\n".join([*([] if titled else [notice.title]), *facts, notice.url])


def _harmless(line: str) -> str:
    return line.replace("<", "＜").replace(">", "＞")
