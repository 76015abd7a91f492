"""One entry as people read it, and how a long text becomes parts that a far side takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from alerts.alert import FeedEntry, Severity

Lang = Literal["zh", "en"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a chat message or an e-mail says of one entry, in one language.

    `title` is one line: how bad, what happened, the sentence. `facts` are names and values in the order of their
    worth. `about` names the institution, `cause` what several may have in common; empty where there is none. `is_test`
    marks a message that is no alert.
    """

    seq: int
    severity: Severity
    title: str
    facts: tuple[tuple[str, str], ...]
    url: str
    lang: Lang
    about: str = ""
    cause: str = ""
    is_test: bool = False


NoticeOf = Callable[[FeedEntry], Notice]

TEST_TITLES: dict[Lang, str] = {
    "zh": "【测试】这是一条测试消息，不是预警，无需处理",
    "en": "[test] This is a test message, not an alert; nothing needs to be done",
}
_SEVERITY_WORDS: dict[Lang, dict[Severity, str]] = {
    "zh": {Severity.RED: "红色", Severity.ORANGE: "橙色", Severity.YELLOW: "黄色", Severity.INFO: "提示"},
    "en": {Severity.RED: "red", Severity.ORANGE: "orange", Severity.YELLOW: "yellow", Severity.INFO: "info"},
}


def notice_of_test(message_id: str, *, url: str, lang: Lang) -> Notice:
    """The notice of a test message."""
    name = "编号" if lang == "zh" else "id"
    return Notice(
        seq=0, severity=Severity.INFO, title=TEST_TITLES[lang], facts=((name, message_id),), url=url, lang=lang,
        is_test=True,
    )


def headline(notices: Sequence[Notice]) -> str:
    """One line over several notices: whom or what all are about, how many of which severity, the worst first."""
    lang = notices[0].lang
    if len(notices) == 1:
        return notices[0].title
    counted = [
        (severity, sum(notice.severity is severity for notice in notices))
        for severity in sorted(Severity, key=lambda severity: -severity.rank)
    ]
    words = [(_SEVERITY_WORDS[lang][severity], count) for severity, count in counted if count]
    first, last = notices[0].seq, notices[-1].seq
    common = _common([notice.about for notice in notices]) or _common([notice.cause for notice in notices])
    if lang == "zh":
        counts = "，".join(f"{word} {count}" for word, count in words)
        return f"{common and f'{common}：'}{len(notices)} 条预警（{counts}）第 {first} 至 {last} 号"
    counts = ", ".join(f"{count} {word}" for word, count in words)
    return f"{common and f'{common}: '}{len(notices)} alerts ({counts}), no. {first} to {last}"


def _common(texts: Sequence[str]) -> str:
    """What all say, if they do."""
    return texts[0] if len(set(texts)) == 1 else ""


def parts(text: str, limit: int, *, measure: Callable[[str], int]) -> list[str]:
    """Cut a text into pieces of at most `limit` by `measure`, between lines if it can be, never inside a character.

    `measure` must be additive: that of two texts together is the sum of each. Raises ValueError where one character
    alone is over the limit.
    """
    pieces: list[str] = []
    piece, size = "", 0
    for line in text.splitlines(keepends=True):
        cost = measure(line)
        if size + cost > limit and piece:
            pieces.append(piece)
            piece, size = "", 0
        if cost <= limit:
            piece, size = piece + line, size + cost
            continue
        for character in line:
            cost = measure(character)
            if cost > limit:
                raise ValueError(f"one character takes {cost} of at most {limit}")
            if size + cost > limit:
                pieces.append(piece)
                piece, size = "", 0
            piece, size = piece + character, size + cost
    return [*pieces, piece] if piece or not pieces else pieces


def utf8_bytes(text: str) -> int:
    """The length in UTF-8, which is what WeCom counts."""
    return len(text.encode())
