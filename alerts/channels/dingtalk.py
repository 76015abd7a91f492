"""A channel that sends entries to a DingTalk (钉钉) group by its custom robot.

Published by the platform (custom robot access, open.dingtalk.com), checked by the fake in our tests, not against the
platform itself:
    POST https://oapi.dingtalk.com/robot/send?access_token=TOKEN, JSON in UTF-8
    with "加签": &timestamp=MILLISECONDS&sign=..., base64 of HMAC-SHA256 with the secret (SEC...) as key over
    "timestamp\\nsecret", URL-encoded; at most an hour from the platform's clock
    20 messages a minute and robot, beyond that none for 10 minutes
    HTTP 200 with {"errcode": 0}, or another code for a refusal; the code decides, for the sentence may change
Reported by users of the platform: 460101 for a body over 20000 bytes, 130101 too often, 300001 no such token, 310000
for a keyword, signature or address that is not allowed. The other codes below are from memory; one that is missing
there is taken for passing. Where the robot asks for a keyword instead of a signature, `Way.keyword` is put into every
message.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

import httpx

from alerts.channel.notice import Notice
from alerts.channel.pace import Limit, Pace
from alerts.channel.robot import Letter, Robot, Way, json_bytes, plain

BODY_BYTES_MAX = 20_000
TITLE_CHARACTERS_MAX = 100
ENVELOPE_BYTES = 1_000
"""Room for the braces and the title, which is at most 100 characters of 4 bytes."""
LIMITS = (Limit(calls=20, seconds=60),)
REST_SECONDS = 600


class DingtalkChannel(Robot):
    """One custom robot of one DingTalk group; `secret` is the one that the robot shows under 加签."""

    permanent = frozenset({
        300001, 310000, 400013, 400101, 400102,
        400105, 40035, 43004,  # no such kind of message; a parameter is missing; not JSON
        101002, 460101,  # too long
        430101, 430102, 430103, 430104,  # a link, text or picture that the platform does not let pass
    })
    rests: Mapping[int, int] = {130101: REST_SECONDS, 410100: REST_SECONDS}
    limit = BODY_BYTES_MAX - ENVELOPE_BYTES

    def __init__(self, name: str, way: Way, *, secret: str | None = None, pace: Pace | None = None) -> None:
        super().__init__(name, way, pace or Pace(LIMITS), secret=secret)

    def text_of(self, notices: Sequence[Notice]) -> str:
        """One block an entry; two spaces end a line in the platform's markdown."""
        return "\n\n---\n\n".join(_block(notice) for notice in notices)

    def measure(self, text: str) -> int:
        """Bytes in the body: the platform measures all of it."""
        return json_bytes(text)

    def body_of(self, letter: Letter, now: datetime | None) -> Mapping[str, object]:
        """A markdown message; its title is what the telephone shows."""
        return {
            "msgtype": "markdown",
            "markdown": {"title": letter.title[:TITLE_CHARACTERS_MAX], "text": letter.text},
        }

    def url_of(self, url: httpx.URL, now: datetime) -> httpx.URL:
        """The address with the signature."""
        if self._secret is None:
            return url
        timestamp = str(int(now.timestamp() * 1000))
        digest = hmac.digest(self._secret.encode(), f"{timestamp}\n{self._secret}".encode(), hashlib.sha256)
        return url.copy_merge_params({"timestamp": timestamp, "sign": base64.b64encode(digest).decode()})


def _block(notice: Notice) -> str:
    colon, more = ("：", "查看") if notice.lang == "zh" else (": ", "open")
    facts = "  \n".join(f"> {name}{colon}{plain(value)}" for name, value in notice.facts)
    return f"**{plain(notice.title)}**\n\n{facts}\n\n[{more}]({notice.url})"
