"""The sentences of the records as people write them: days, times, yuan and shares, where the record is exact."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from alerts.feeds.item import Lang
from escrow_monitor.web.console.words import Words

TOLD_MAX = 8_192

_EXACT = re.compile(
    # Not within a number of a contract, a charge or a clause. CJK characters are no part of a number, hence ASCII.
    r"(?<![\w.,:/+-])(?:"
    r"(?P<instant>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z| ?[+-]\d\d:?\d\d))"
    r"|(?P<day>\d{4}-\d\d-\d\d)|(?P<month>\d{4}-(?:0[1-9]|1[0-2]))"
    r"|(?P<amount>-?\d+\.\d\d) CNY"
    r"|(?P<times>\d+\.\d{4})(?=\s?(?:倍|x\b|times\b))|(?P<share>\d\.\d{4})"
    r")(?![\w/-]|[.,:]\d)",
    re.ASCII,
)


class Told:
    """The `when` of templates: an instant as people of this zone say it; and `told`, a sentence of the records."""

    def __init__(self, words: Words, *, now: datetime, zone: ZoneInfo) -> None:
        self.words, self.now, self.zone = words, now, zone
        self.today = now.astimezone(zone).date()

    def __call__(self, at: datetime | None) -> str:
        return self.words.when(at, now=self.now, zone=self.zone)

    def told(self, sentence: str) -> Markup:
        """The sentence as markup: what is in it is escaped, and each instant, day and amount keeps its exact text.

        `2026-10-12T12:35:06+08:00` is told as 10月12日 12:35, `57213.02 CNY` as 57,213.02 元. What only looks like
        one of them stays as it is.
        """
        return _told(sentence, self.words.lang, self.today, self.zone)

    def _marked(self, sentence: str) -> Markup:
        parts: list[str] = []
        done = 0
        for found in _EXACT.finditer(sentence):
            parts += escape(sentence[done:found.start()]), self._piece(found)
            done = found.end()
        return Markup("").join([*parts, escape(sentence[done:])])

    def plain(self, sentence: str) -> str:
        """The same without markup, for a title or a name."""
        return _EXACT.sub(lambda found: self._text(found), sentence)

    def _piece(self, found: re.Match[str]) -> Markup:
        kind, text = str(found.lastgroup), found[0]
        said = self._text(found)
        if said == text:
            return escape(text)
        if kind == "instant":
            at = _at(text).astimezone(self.zone)
            return Markup('<time datetime="{}" title="{}">{}</time>').format(
                at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S}", said
            )
        if kind in ("day", "month"):
            return Markup('<time datetime="{}">{}</time>').format(text, said)
        return Markup('<data value="{}" title="{}">{}</data>').format(found[kind], text, said)

    def _text(self, found: re.Match[str]) -> str:
        try:
            return _SAID[str(found.lastgroup)](self, found)
        except (ValueError, OverflowError):
            return found[0]

    def _instant(self, found: re.Match[str]) -> str:
        return self(_at(found[0]))

    def _day(self, found: re.Match[str]) -> str:
        return self.words.day(date.fromisoformat(found[0]), today=self.today)

    def _month(self, found: re.Match[str]) -> str:
        first = date.fromisoformat(f"{found[0]}-01")
        return f"{first.year}年{first.month}月" if self.words.lang == "zh" else f"{first:%b} {first.year}"

    def _amount(self, found: re.Match[str]) -> str:
        whole, _, part = found["amount"].lstrip("-").partition(".")
        grouped = f"{int(whole):,}.{part}"
        sign = "-" if found["amount"].startswith("-") else ""
        return f"{sign}{grouped} 元" if self.words.lang == "zh" else f"{sign}¥{grouped}"

    def _times(self, found: re.Match[str]) -> str:
        return found["times"].rstrip("0").rstrip(".")

    def _share(self, found: re.Match[str]) -> str:
        # Exactly: 0.0005 a day is 0.05 %, and 0.9999 is not all of it.
        hundredths = int(found["share"].replace(".", ""))
        return f"{hundredths // 100}.{hundredths % 100:02d}".rstrip("0").rstrip(".") + " %"


@lru_cache(maxsize=TOLD_MAX)
def _told(sentence: str, lang: Lang, today: date, zone: ZoneInfo) -> Markup:
    """Lists tell the same sentences to everybody, all day long."""
    return Told(Words(lang), now=datetime.combine(today, time(12), zone), zone=zone)._marked(sentence)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace(" +", "+").replace(" -", "-"))


_SAID: Mapping[str, Callable[[Told, re.Match[str]], str]] = {
    "instant": Told._instant, "day": Told._day, "month": Told._month, "amount": Told._amount, "times": Told._times,
    "share": Told._share,
}
