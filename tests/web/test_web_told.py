"""Sentences of the records as people write them, with what is exact beside, and nothing else changed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.feeds.item import Lang
from escrow_monitor.web.console.told import Told
from escrow_monitor.web.console.words import Words

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def told(lang: Lang) -> Told:
    return Told(Words(lang), now=NOW, zone=ZoneInfo("Asia/Shanghai"))


@pytest.mark.parametrize(("exact", "zh", "en"), [
    ("2026-10-12T12:35:06+08:00", "10月12日 12:35", "12 Oct 12:35"),
    ("2026-11-02T13:23:00+00:00", "11月2日 21:23", "2 Nov 21:23"),
    ("2026-11-24 10:30+08:00", "11月24日 10:30", "24 Nov 10:30"),
    ("2026-11-20 10:30:00 +0800", "11月20日 10:30", "20 Nov 10:30"),
    ("2026-11-23T00:30:00.123456Z", "08:30", "08:30"),
    ("2025-10-12T12:35:06+08:00", "2025年10月12日", "12 Oct 2025"),
    ("2026-11-02", "11月2日", "2 Nov"), ("2025-11-02", "2025年11月2日", "2 Nov 2025"),
    ("2026-10", "2026年10月", "Oct 2026"),
    ("57213.02 CNY", "57,213.02 元", "¥57,213.02"), ("-0.50 CNY", "-0.50 元", "-¥0.50"),
    ("0.4500", "45 %", "45 %"), ("0.9999", "99.99 %", "99.99 %"), ("0.0005", "0.05 %", "0.05 %"),
    ("1.0000", "100 %", "100 %"), ("0.0000", "0 %", "0 %"),
    ("2.0000 倍", "2 倍", "2 倍"), ("1.2500 x", "1.25 x", "1.25 x"),
])
def test_what_is_exact_is_told_as_people_write_it(exact: str, zh: str, en: str) -> None:
    for lang, said in (("zh", zh), ("en", en)):
        assert told(lang).plain(f"自 {exact}，起") == f"自 {said}，起"  # type: ignore[arg-type]


def test_the_exact_text_stands_beside() -> None:
    markup = told("zh").told("余额 57213.02 CNY，自 2026-10-12T12:35:06+08:00 起")
    assert '<data value="57213.02" title="57213.02 CNY">57,213.02 元</data>' in markup
    assert '<time datetime="2026-10-12T12:35:06+08:00" title="2026-10-12 12:35:06">10月12日 12:35</time>' in markup


@pytest.mark.parametrize("kept", [
    "JF-00000-000102", "HT-2026-0001", "GF-2021-2604", "cn-371082/outflow-cap", "2026-02-31", "2026-13",
    "1234-56-78T99:00:00Z", "6222021200019876543", "entry:6222/2026-10-09/0762", "0.45", "12.50 USD", "1.2.3.4567",
])
def test_what_only_looks_like_it_stays_as_it_is(kept: str) -> None:
    assert told("zh").plain(f"见 {kept} 。") == f"见 {kept} 。"


@given(st.text(max_size=80))
def test_markup_is_escaped_whatever_is_written(text: str) -> None:
    markup = told("en").told(f"<b>{text}</b> 1.00 CNY & ")
    assert markup.startswith("&lt;b&gt;")
    assert "<b>" not in markup
    assert markup.count("<") == markup.count(">")
