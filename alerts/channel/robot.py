"""What the group robots of WeCom, DingTalk and Feishu share: the address is a key, and a refusal is HTTP 200."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx
import orjson

from alerts.alert import FeedEntry
from alerts.channel import Owed
from alerts.channel.notice import Lang, Notice, NoticeOf, headline, notice_of_test, parts
from alerts.channel.outward import TIMEOUT_SECONDS_DEFAULT, Answer, Outward, refusal, said_by
from alerts.channel.pace import Pace
from alerts.delivery import NotSent, Sent

DIGEST_MAX = 50
PART_MARK_ROOM = 128
"""What is left free in each part for its mark, `(2/3)`, and the keyword."""
KEYWORD_CHARACTERS_MAX = 20

_COMMANDS = str.maketrans("<>[]*`", "＜＞［］＊｀")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What one call carries: a headline and a text that fits."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What every robot is given: where it stands, what it may do, and who tells it the time.

    `url` is the address that the platform shows for the robot, key and all. `now_of` tells the real time: signatures
    are refused an hour off. `home_url` is this service's. `keyword` stands in every message, where the robot was set up
    to demand one.
    """

    url: str
    notice_of: NoticeOf
    home_url: str
    lang: Lang = "zh"
    now_of: Callable[[], datetime]
    keyword: str = ""
    allow_private: bool = False
    timeout_seconds: int = TIMEOUT_SECONDS_DEFAULT
    ca_file: Path | None = None


class Robot(ABC):
    """Sends entries as chat messages, several in one where they fit, a long one in parts.

    A subclass says how much fits (`limit` by `measure`), what a message looks like, and what the codes mean. A code
    that is not known is passing: we cannot say that trying again is hopeless.
    """

    code_names: tuple[str, ...] = ("errcode",)
    message_names: tuple[str, ...] = ("errmsg",)
    permanent: frozenset[int] = frozenset()
    rests: Mapping[int, int] = {}
    """Codes that say "too often", each with how many seconds to rest."""
    limit: int

    def __init__(self, name: str, way: Way, pace: Pace, *, secret: str | None = None) -> None:
        if len(way.keyword) > KEYWORD_CHARACTERS_MAX:
            raise ValueError(f"a robot's keyword has at most {KEYWORD_CHARACTERS_MAX} characters")
        self.name = name
        self._way = way
        self._pace = pace
        self._secret = secret
        self._outward = Outward(
            way.url, what="the robot's address", allow_private=way.allow_private, timeout_seconds=way.timeout_seconds,
            ca_file=way.ca_file,
        )
        self._hidden = tuple(sorted(self._keys(), key=len, reverse=True))

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        return self._say([self._way.notice_of(entry)])

    def send_digest(self, owed: Sequence[Owed]) -> Sent | NotSent:
        """Several entries as one message."""
        return self._say([self._way.notice_of(entry) for entry, _ in owed])

    def fits(self, owed: Sequence[Owed]) -> int:
        """As many as one message holds; one that is too long alone goes alone, in parts."""
        notices: list[Notice] = []
        for entry, _ in owed[:DIGEST_MAX]:
            notices.append(self._way.notice_of(entry))
            if self.measure(self.text_of(notices)) > self.limit - PART_MARK_ROOM:
                return max(len(notices) - 1, 1)
        return max(len(notices), 1)

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """A message marked as a test."""
        return self._say([notice_of_test(message_id, url=self._way.home_url, lang=self._way.lang)])

    def preview(self, entry: FeedEntry) -> str:
        """The bodies, one after the other, without signature."""
        letters = self._letters([self._way.notice_of(entry)])
        bodies = [orjson.dumps(self.body_of(letter, None), option=orjson.OPT_INDENT_2).decode() for letter in letters]
        return "\n".join(bodies)

    def ready_in(self) -> float:
        """Seconds until the platform takes the next message."""
        return self._pace.ready_in()

    def close(self) -> None:
        """Close the connections."""
        self._outward.close()

    @abstractmethod
    def text_of(self, notices: Sequence[Notice]) -> str:
        """The entries in this platform's own markup."""

    @abstractmethod
    def measure(self, text: str) -> int:
        """How much of the limit a text takes; additive."""

    @abstractmethod
    def body_of(self, letter: Letter, now: datetime | None) -> Mapping[str, object]:
        """The JSON of one message; signed where the platform signs the body and `now` is given."""

    def url_of(self, url: httpx.URL, now: datetime) -> httpx.URL:
        """The address of one call: as it is, unless the platform signs the address."""
        return url

    def _say(self, notices: Sequence[Notice]) -> Sent | NotSent:
        letters = self._letters(notices)
        result: Sent | NotSent = NotSent(detail="nothing to say", permanent=True)
        for number, letter in enumerate(letters):
            if number:
                # Dispatch waited for the first; the parts of one message belong together.
                time.sleep(self._pace.ready_in())
            result = self._call(letter)
            if isinstance(result, NotSent):
                return result
        return Sent(detail=f"{result.detail}, {len(letters)} parts") if len(letters) > 1 else result

    def _letters(self, notices: Sequence[Notice]) -> list[Letter]:
        title = plain(headline(notices))
        pieces = parts(self.text_of(notices), self.limit - PART_MARK_ROOM, measure=self.measure)
        ending = f"\n{self._way.keyword}" if self._way.keyword else ""
        if len(pieces) == 1:
            return [Letter(title=title, text=pieces[0] + ending)]
        return [
            Letter(title=title, text=f"({number}/{len(pieces)}) {piece}{ending}")
            for number, piece in enumerate(pieces, start=1)
        ]

    def _call(self, letter: Letter) -> Sent | NotSent:
        now = self._way.now_of()
        content = orjson.dumps(self.body_of(letter, now))
        answer = self._outward.post(
            content, {"content-type": "application/json; charset=utf-8"}, url=self.url_of(self._outward.url, now)
        )
        self._pace.called()
        if isinstance(answer, NotSent):
            return answer
        if answer.rest_seconds is not None:
            self._pace.hold(answer.rest_seconds)
        result = self._judged(answer) if answer.is_success else refusal(answer)
        return replace(result, detail=self._redacted(result.detail))

    def _judged(self, answer: Answer) -> Sent | NotSent:
        """The verdict is in the body: the platforms answer 200 to what they refuse."""
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            said = None
        code = _first(said, self.code_names)
        if not isinstance(said, dict) or type(code) is not int:
            return NotSent(detail=f"not understood: HTTP {answer.status}: {said_by(answer.body)}", permanent=False)
        if code == 0:
            return Sent(detail=f"{self.code_names[0]} 0")
        if code in self.rests:
            self._pace.hold(self.rests[code])
        words = said_by(str(_first(said, self.message_names) or "").encode("utf-8", "replace"))
        return NotSent(detail=f"{self.code_names[0]} {code}: {words}", permanent=code in self.permanent)

    def _keys(self) -> set[str]:
        """What must never show: the key in the address and the secret."""
        url = self._outward.url
        keys = {url.path.rstrip("/").rsplit("/", 1)[-1], *url.params.values(), self._secret or ""}
        return {key for key in keys if len(key) >= 8}

    def _redacted(self, text: str) -> str:
        for key in self._hidden:
            text = text.replace(key, "***")
        return text


def plain(text: str) -> str:
    """The text without the characters by which chat platforms mark up, link, or call people (`<@all>`)."""
    return text.translate(_COMMANDS)


def json_bytes(text: str) -> int:
    """What a text takes inside a JSON body in UTF-8, without its quotation marks."""
    return len(orjson.dumps(text)) - 2


def _first(said: object, names: Sequence[str]) -> object:
    return next((said[name] for name in names if name in said), None) if isinstance(said, dict) else None
