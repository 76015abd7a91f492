"""A channel that sends entries to a WeCom (企业微信) group by its robot.

Published by the platform (group robot configuration, developer.work.weixin.qq.com document 91770), checked by the fake
in our tests, not against the platform itself:
    POST https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=KEY, JSON in UTF-8; no signature, the key is the secret
    text content at most 2048 bytes, markdown content at most 4096 bytes: bytes of UTF-8, not characters
    20 messages a minute and robot
    HTTP 200 with {"errcode": 0}, or another code for a refusal; -1 is "busy, try again"
Reported by users of the platform: 40058 too long, 93000 no such robot. The other codes below, 45009 for too often among
them, are from memory; one that is missing there is taken for passing. WeChat (微信) does not show markdown: `markup`
False sends text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from alerts.alert import Severity
from alerts.channel.notice import Notice, utf8_bytes
from alerts.channel.pace import Limit, Pace
from alerts.channel.robot import Letter, Robot, Way, plain

MARKDOWN_BYTES_MAX = 4096
TEXT_BYTES_MAX = 2048
LIMITS = (Limit(calls=20, seconds=60),)
REST_SECONDS = 60
# The platform has three colours by name: info is green, comment grey, warning orange.
_COLOURS = {Severity.RED: "warning", Severity.ORANGE: "warning", Severity.YELLOW: "comment", Severity.INFO: "info"}


class WecomChannel(Robot):
    """One robot of one WeCom group."""

    permanent = frozenset({
        40008,  # no such kind of message
        40035, 40058,  # a parameter is not as it must be; too long
        41001, 44004,  # the key is missing; nothing in it
        45002,  # too long
        93000, 93004, 93008,  # no such robot; the robot was stopped; not in the group any more
    })
    rests: Mapping[int, int] = {45009: REST_SECONDS, 45033: REST_SECONDS}

    def __init__(self, name: str, way: Way, *, markup: bool = True, pace: Pace | None = None) -> None:
        self._markup = markup
        self.limit = MARKDOWN_BYTES_MAX if markup else TEXT_BYTES_MAX
        super().__init__(name, way, pace or Pace(LIMITS))

    def text_of(self, notices: Sequence[Notice]) -> str:
        """One block an entry."""
        return "\n\n".join(self._block(notice) for notice in notices)

    def measure(self, text: str) -> int:
        """Bytes of UTF-8."""
        return utf8_bytes(text)

    def body_of(self, letter: Letter, now: datetime | None) -> Mapping[str, object]:
        """A text or markdown message."""
        kind = "markdown" if self._markup else "text"
        return {"msgtype": kind, kind: {"content": letter.text}}

    def _block(self, notice: Notice) -> str:
        colon, more = ("：", "查看") if notice.lang == "zh" else (": ", "open")
        facts = [f"{name}{colon}{plain(value)}" for name, value in notice.facts]
        if not self._markup:
            return "\n".join([plain(notice.title), *facts, notice.url])
        dot = f'<font color="{_COLOURS[notice.severity]}">●</font>'
        quoted = "\n".join(f"> {fact}" for fact in facts)
        return f"{dot} **{plain(notice.title)}**\n{quoted}\n[{more}]({notice.url})"
