"""The renderers: JSON Feed, Atom and server-sent events say the same, and what readers expect of each."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from xml.etree import ElementTree

import feedparser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.alert import AlertKey, FeedEntry, Severity, TransitionKind, Why
from alerts.feeds.atom import ESCROW_NAMESPACE, atom
from alerts.feeds.events import server_sent
from alerts.feeds.item import SEVERITY_WORDS, TRANSITION_WORDS, clean, feed_item
from alerts.feeds.json_feed import json_feed
from alerts.feeds.page import Page
from alerts.testing import START, entry_of

HOME = "https://escrow.example"
PAGE = Page(
    title="预收费资金监管预警",
    author="escrow-monitor",
    home_url=HOME,
    self_url=f"{HOME}/feeds/alerts.atom?before=90",
    first_url=f"{HOME}/feeds/alerts.atom",
    last_url=f"{HOME}/feeds/alerts.atom?before=11",
    next_url=f"{HOME}/feeds/alerts.atom?before=80&lang=zh",
    previous_url=f"{HOME}/feeds/alerts.atom?before=100",
)
ATOM = "{http://www.w3.org/2005/Atom}"
ESCROW = f"{{{ESCROW_NAMESPACE}}}"


def newest_first(count: int) -> list[FeedEntry]:
    return [entry_of(seq) for seq in range(count, 0, -1)]


# ---- the item ----------------------------------------------------------------------------------------------------


def test_an_item_carries_every_promised_field() -> None:
    item = feed_item(entry_of(7), home_url=HOME)
    assert item["_escrow"] == {
        "seq": 7,
        "alert_id": entry_of().alert_id,
        "transition": "opened",
        "reason": "condition_seen",
        "rule": "floor",
        "severity": "red",
        "standing": "breached",
        "uscc": "91510300MA62000000",
        "account_no": "62170001",
        "bank": None,
        "district": "510302",
        "subject": "62170001",
        "period": "2026-03",
        "as_of": "2026-03-02T01:30:00+00:00",
        "recorded_at": "2026-03-02T01:30:07+00:00",
        "why": "余额 9900 分，低于底线 10000 分",
        "why_en": "holds 9900 fen, the floor is 10000 fen",
        "figures": {"balance_fen": 9900, "floor_fen": 10000, "currency": "CNY", "top_up_by": None},
        "audit_seq": 7,
        "audit_head": f"{7:064x}",
    }
    assert item["title"] == "【红色·新预警】余额 9900 分，低于底线 10000 分"
    assert item["date_published"] == item["_escrow"]["recorded_at"]
    assert item["tags"] == ["red", "opened", "floor"]


def test_the_language_picks_the_title_and_never_the_sentences() -> None:
    zh, en = feed_item(entry_of(), home_url=HOME), feed_item(entry_of(), home_url=HOME, lang="en")
    assert en["title"] == "[red, opened] holds 9900 fen, the floor is 10000 fen"
    assert (zh["language"], en["language"]) == ("zh-CN", "en")
    assert zh["content_text"] == en["content_text"]
    assert zh["_escrow"] == en["_escrow"]
    assert zh["id"] == en["id"]


def test_every_severity_and_transition_has_a_word_in_both_languages() -> None:
    assert SEVERITY_WORDS.keys() == set(Severity)
    assert TRANSITION_WORDS.keys() == set(TransitionKind)
    words = (*SEVERITY_WORDS.values(), *TRANSITION_WORDS.values())
    assert all(word[lang] for word in words for lang in ("zh", "en"))


def test_an_id_survives_a_move_and_two_entries_or_services_never_share_one() -> None:
    here = feed_item(entry_of(1), home_url=HOME)["id"]
    assert here == feed_item(entry_of(1), home_url="https://elsewhere.example/sub/")["id"]
    assert here == "urn:uuid:" + re.fullmatch(r"urn:uuid:([0-9a-f-]{36})", here).group(1)  # type: ignore[union-attr]
    assert here != feed_item(entry_of(2), home_url=HOME)["id"]
    assert here != feed_item(entry_of(1, audit_head="f" * 64), home_url=HOME)["id"]


def test_an_item_is_linked_from_home_with_or_without_a_slash() -> None:
    url = f"{HOME}/alerts/{entry_of().alert_id}"
    assert feed_item(entry_of(), home_url=HOME)["url"] == url == feed_item(entry_of(), home_url=HOME + "/")["url"]


@pytest.mark.parametrize("bad", [chr(n) for n in (0, 8, 0x0B, 0x1F, 0x7F, 0x9F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF)])
def test_what_no_reader_can_take_is_replaced(bad: str) -> None:
    assert clean(f"甲{bad}乙") == "甲\N{REPLACEMENT CHARACTER}乙"


def test_what_readers_can_take_is_kept() -> None:
    text = "甲\t乙\n丙\r <&>\"' \U0001f4b0 \u2028 é"
    assert clean(text) == text


# ---- JSON Feed ---------------------------------------------------------------------------------------------------


def test_a_json_feed_has_what_version_1_1_requires() -> None:
    document = json.loads(json_feed(newest_first(3), page=PAGE))
    assert document["version"] == "https://jsonfeed.org/version/1.1"
    assert document["title"] == PAGE.title
    assert (document["home_page_url"], document["feed_url"], document["next_url"]) == (
        HOME,
        PAGE.self_url,
        PAGE.next_url,
    )
    assert document["authors"] == [{"name": "escrow-monitor"}]
    assert document["language"] == "zh-CN"
    assert [item["_escrow"]["seq"] for item in document["items"]] == [3, 2, 1]
    for item in document["items"]:
        assert isinstance(item["id"], str)
        assert item["content_text"]
        assert datetime.fromisoformat(item["date_published"]).tzinfo is not None


def test_the_last_page_names_no_next_one_and_an_empty_feed_is_a_feed() -> None:
    document = json.loads(json_feed([], page=replace(PAGE, next_url=None)))
    assert "next_url" not in document
    assert document["items"] == []


# ---- Atom --------------------------------------------------------------------------------------------------------


def test_feedparser_reads_the_atom_without_a_complaint() -> None:
    parsed = feedparser.parse(atom(newest_first(3), page=PAGE))
    assert parsed.bozo == 0
    assert parsed.version == "atom10"
    assert [entry.escrow_seq for entry in parsed.entries] == ["3", "2", "1"]
    newest = parsed.entries[0]
    assert newest.title == "【红色·新预警】余额 9900 分，低于底线 10000 分"
    assert newest.updated == newest.published == "2026-03-02T01:30:03+00:00"
    assert newest.escrow_audit_head == f"{3:064x}"
    assert newest.link == f"{HOME}/alerts/{entry_of().alert_id}"
    assert "余额 9900 分" in newest.content[0].value
    assert "holds 9900 fen" in newest.content[0].value
    assert newest.id == feed_item(entry_of(3), home_url=HOME)["id"]
    assert parsed.feed.updated == newest.updated


def test_the_atom_has_what_rfc_4287_requires_and_the_links_of_rfc_5005() -> None:
    root = ElementTree.fromstring(atom(newest_first(2), page=PAGE))
    assert root.tag == f"{ATOM}feed"
    for element in ("id", "title", "updated", "author"):
        assert len(root.findall(f"{ATOM}{element}")) == 1
    links = {link.get("rel", "alternate"): link.get("href") for link in root.findall(f"{ATOM}link")}
    assert links == {
        "alternate": HOME,
        "self": PAGE.self_url,
        "first": PAGE.first_url,
        "last": PAGE.last_url,
        "next": PAGE.next_url,
        "previous": PAGE.previous_url,
    }
    rfc3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
    entries = root.findall(f"{ATOM}entry")
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == 2
    for entry in entries:
        for element in ("id", "title", "updated", "published", "content"):
            assert len(entry.findall(f"{ATOM}{element}")) == 1
        assert rfc3339.fullmatch(entry.findtext(f"{ATOM}updated") or "")
        assert entry.findtext(f"{ESCROW}account_no") == "62170001"
        assert entry.find(f"{ESCROW}bank") is None


def test_every_page_of_a_feed_has_the_same_id() -> None:
    other = replace(PAGE, self_url=f"{HOME}/feeds/alerts.atom?before=10", next_url=None, home_url=HOME + "/")
    ids = {
        ElementTree.fromstring(atom(entries, page=page)).findtext(f"{ATOM}id")
        for entries, page in ((newest_first(2), PAGE), ([], other))
    }
    assert len(ids) == 1


def test_the_same_entries_give_the_same_bytes_at_any_time() -> None:
    assert atom(newest_first(3), page=PAGE) == atom(newest_first(3), page=PAGE)
    assert atom([], page=PAGE) == atom([], page=PAGE)
    assert feedparser.parse(atom([], page=PAGE)).bozo == 0
    assert json_feed(newest_first(3), page=PAGE) == json_feed(newest_first(3), page=PAGE)


def test_a_feed_in_english_says_so() -> None:
    parsed = feedparser.parse(atom([entry_of()], page=PAGE, lang="en"))
    assert parsed.feed.language == "en"
    assert parsed.entries[0].title.startswith("[red, opened]")


def test_a_feed_was_updated_when_its_newest_entry_was_recorded_in_any_order_and_zone() -> None:
    shanghai = timezone(timedelta(hours=8))
    entries = [entry_of(1), entry_of(2, recorded_at=(START + timedelta(days=1)).astimezone(shanghai)), entry_of(3)]
    parsed = feedparser.parse(atom(entries, page=PAGE))
    assert parsed.feed.updated == "2026-03-03T09:30:00+08:00"
    assert datetime(*parsed.feed.updated_parsed[:6], tzinfo=UTC) == START + timedelta(days=1)


def test_markup_in_a_sentence_stays_text() -> None:
    why = Why("<script>alert(1)</script> & <b>", "]]> &amp; <img src=x>")
    parsed = feedparser.parse(atom([entry_of(why=why)], page=PAGE), sanitize_html=False)
    assert parsed.bozo == 0
    assert "<script" not in parsed.entries[0].content[0].value
    assert "&lt;script&gt;" in parsed.entries[0].content[0].value
    assert parsed.entries[0].title == "【红色·新预警】<script>alert(1)</script> & <b>"


text = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(zh=text, en=text, rule=text, subject=text, label=text, figure=text)
def test_no_text_whatever_breaks_a_feed(zh: str, en: str, rule: str, subject: str, label: str, figure: str) -> None:
    entry = entry_of(
        why=Why(zh, en),
        key=AlertKey(rule, subject, "2026"),
        labels={"uscc": label},
        figures={"note": figure},
        standing=label,
    )
    parsed = feedparser.parse(atom([entry], page=PAGE))
    assert parsed.bozo == 0, parsed.get("bozo_exception")
    assert len(parsed.entries) == 1
    (item,) = json.loads(json_feed([entry], page=PAGE))["items"]
    assert item["_escrow"]["why"] == clean(zh)
    assert server_sent(entry, home_url=HOME).count(b"\n") == 4


# ---- server-sent events ------------------------------------------------------------------------------------------


def test_an_event_carries_its_number_and_the_item_in_one_line() -> None:
    event = server_sent(entry_of(12, why=Why("一\n二", "one\r\ntwo")), home_url=HOME).decode()
    lines = event.split("\n")
    assert lines[0] == "id: 12"
    assert lines[1] == "event: alert"
    assert lines[2].startswith("data: ")
    assert lines[3:] == ["", ""]
    assert json.loads(lines[2].removeprefix("data: ")) == feed_item(
        entry_of(12, why=Why("一\n二", "one\r\ntwo")), home_url=HOME
    )
    assert "\r" not in event
