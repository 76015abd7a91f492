"""The pages of the feed: which numbers they hold, how they link, and that they are rendered once."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import feedparser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from alerts.alert import AlertKey, Clear, FeedEntry, Severity, Signal, Why
from alerts.book import MemoryAlertBook
from alerts.feeds.filter import filter_of
from escrow_monitor.web.feeds import FeedPages, FeedQuery, Format, parse_feed_query
from escrow_monitor.web.problems import Problem

NOW = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
HOME = "https://monitor.example"


class Counted:
    """A real book, and how often it was read."""

    def __init__(self, entries: int) -> None:
        self.book = MemoryAlertBook()
        self.reads = 0
        self.grow(entries)

    def grow(self, count: int) -> None:
        for number in range(self.book.head(), self.book.head() + count):
            key = AlertKey("floor", f"account:{number // 2:04d}", "continuous")
            at = NOW + timedelta(minutes=number)
            why = Why(f"余额 {number}.00 元，低于最低余额", f"holds {number}.00 CNY, the floor is more")
            if number % 2:
                clear = Clear(key=key, standing="met", why=why, as_of=at)
                self.book.advance(signals=(), clears=(clear,), now=at, cause="test")
            else:
                signal = Signal(key=key, severity=Severity.RED, standing="breached", why=why, as_of=at)
                self.book.advance(signals=(signal,), clears=(), now=at, cause="test")

    def read(self, after: int, limit: int) -> Sequence[FeedEntry]:
        self.reads += 1
        return self.book.entries(after=after, limit=limit)

    async def head(self) -> int:
        return self.book.head()

    def pages(self, **limits: int) -> FeedPages:
        return FeedPages(head=self.head, entries=self.read, home_url=HOME, **limits)


def seqs(body: bytes) -> list[int]:
    return [item["_escrow"]["seq"] for item in json.loads(body)["items"]]


def ask(pages: FeedPages, path: str, *, format: Format = "json", **headers: str) -> tuple[int, dict[str, str], bytes]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": path.encode()}
    answer = asyncio.run(pages.answer(Request(scope), format))
    return answer.status_code, dict(answer.headers), bytes(answer.body)


def test_the_newest_come_first_and_replay_runs_upwards() -> None:
    pages = Counted(25).pages()
    assert seqs(ask(pages, "limit=10")[2]) == list(range(25, 15, -1))
    assert seqs(ask(pages, "before=16&limit=10")[2]) == list(range(15, 5, -1))
    assert seqs(ask(pages, "before=6&limit=10")[2]) == list(range(5, 0, -1))
    assert seqs(ask(pages, "after=0&limit=10")[2]) == list(range(1, 11))
    assert seqs(ask(pages, "after=20&limit=10")[2]) == list(range(21, 26))
    assert seqs(ask(pages, "after=25")[2]) == []
    assert seqs(ask(pages, "after=999")[2]) == []


@pytest.mark.parametrize("format", ["json", "atom"])
@pytest.mark.parametrize("start", ["limit=7", "after=0&limit=7"])
def test_following_next_visits_every_entry_once(format: Format, start: str) -> None:
    pages, seen, query = Counted(25).pages(), [], start
    for _ in range(10):
        body = ask(pages, query, format=format)[2]
        if format == "json":
            document = json.loads(body)
            seen += [item["_escrow"]["seq"] for item in document["items"]]
            next_url = document.get("next_url")
        else:
            feed = feedparser.parse(body)
            assert not feed.bozo
            seen += [int(entry["escrow_seq"]) for entry in feed.entries]
            next_url = {link.rel: link.href for link in feed.feed.links}.get("next")
        if not next_url:
            break
        assert next_url.startswith(HOME)
        query = urlsplit(next_url).query
    ordered = list(range(1, 26))
    assert seen == (ordered if start.startswith("after") else ordered[::-1])


@pytest.mark.parametrize("format", ["json", "atom"])
def test_a_page_is_rendered_once_until_the_head_moves(format: Format) -> None:
    book = Counted(5)
    pages = book.pages()
    first = ask(pages, "", format=format)
    assert ask(pages, "", format=format) == first
    assert book.reads == 1
    book.grow(1)
    assert ask(pages, "", format=format)[1]["etag"] != first[1]["etag"]
    assert book.reads == 2


def test_many_who_ask_at_once_cost_one_rendering() -> None:
    book = Counted(5)
    pages = book.pages()

    async def crowd() -> None:
        await asyncio.gather(*(pages.page(FeedQuery(format="atom")) for _ in range(50)))

    asyncio.run(crowd())
    assert book.reads == 1


def test_a_reader_who_has_the_page_gets_304_in_either_coding() -> None:
    pages = Counted(20).pages()
    status, headers, plain = ask(pages, "")
    assert (status, headers["content-type"]) == (200, "application/feed+json; charset=utf-8")
    _, zipped_headers, zipped = ask(pages, "", accept_encoding="gzip, br")
    assert zipped_headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped) == plain
    for held in (headers["etag"], zipped_headers["etag"], f'W/{headers["etag"]}', f'"other", {headers["etag"]}', "*"):
        assert ask(pages, "", if_none_match=held)[0] == 304
    assert ask(pages, "", if_none_match='"other"')[0] == 200


def test_a_full_old_page_stays_the_same_when_the_feed_grows() -> None:
    book = Counted(20)
    pages = book.pages()
    before = [ask(pages, query) for query in ("after=0&limit=5", "before=11&limit=5")]
    book.grow(10)
    assert [ask(pages, query) for query in ("after=0&limit=5", "before=11&limit=5")] == before
    assert [ask(book.pages(), query) for query in ("after=0&limit=5", "before=11&limit=5")] == before


def test_an_empty_feed_is_a_valid_feed() -> None:
    pages = Counted(0).pages()
    assert seqs(ask(pages, "")[2]) == []
    feed = feedparser.parse(ask(pages, "", format="atom")[2])
    assert not feed.bozo
    assert feed.version == "atom10"


def test_the_language_is_the_reader_s() -> None:
    pages = Counted(1).pages()
    assert "余额" in json.loads(ask(pages, "")[2])["items"][0]["title"]
    assert "holds" in json.loads(ask(pages, "lang=en")[2])["items"][0]["title"]


def test_the_kept_pages_are_bounded_in_number_and_in_bytes() -> None:
    few, small = Counted(30).pages(pages_max=4), Counted(30).pages(bytes_max=10_000)
    for after in range(20):
        ask(few, f"after={after}&limit=5")
        ask(small, f"after={after}&limit=5")
    assert few.kept[0] == 4
    assert 1 <= small.kept[0] < 4
    assert small.kept[1] <= 10_000


def test_a_hole_in_the_records_is_an_error_and_not_a_shorter_page() -> None:
    book = Counted(5)
    del book.book._entries[2]

    async def head() -> int:
        return 5

    pages = FeedPages(head=head, entries=book.read, home_url=HOME)
    with pytest.raises(Problem, match="lacks entries") as raised:
        ask(pages, "")
    assert raised.value.status == 500


@pytest.mark.parametrize(("query", "told"), [
    ("limit=0", "limit is a whole number from 1 to 1000"),
    ("limit=1001", "limit is a whole number"),
    ("limit=ten", "limit is a whole number"),
    ("limit=１０", "limit is a whole number"),
    ("after=-1", "after is a whole number"),
    ("after=1e3", "after is a whole number"),
    ("after=99999999999999999999", "after is a whole number"),
    ("before=0", "before is a whole number from 1"),
    ("after=1&before=5", "give one of them"),
    ("afer=7", "did you mean 'after'"),
    ("x=1", "known are after, before, limit, lang, severity"),
    ("lang=fr", "lang is zh or en"),
    ("&".join(f"a{number}=1" for number in range(30)), "at most 20"),
])
def test_a_wrong_parameter_is_refused_with_what_is_right(query: str, told: str) -> None:
    with pytest.raises(Problem, match=told) as raised:
        parse_feed_query("json", query.encode())
    assert raised.value.status == 400


@given(st.binary(max_size=60))
def test_no_query_string_does_anything_but_parse_or_be_refused(query: bytes) -> None:
    try:
        found = parse_feed_query("atom", query)
    except Problem:
        return
    assert 1 <= found.limit <= 1000


@given(
    head=st.integers(0, 60), limit=st.integers(1, 20), after=st.none() | st.integers(0, 80),
    before=st.none() | st.integers(1, 80),
)
def test_a_span_lies_inside_the_feed_and_is_never_longer_than_asked(
    head: int, limit: int, after: int | None, before: int | None,
) -> None:
    query = FeedQuery(format="json", limit=limit, after=after, before=None if after is not None else before)
    below, last = query.span(head)
    assert 0 <= last - below <= limit
    assert last <= head or last == below


# Filters: entries are left out, numbers never.


class Mixed(Counted):
    """A book of several districts, severities and rules."""

    def grow(self, count: int) -> None:
        for number in range(self.book.head(), self.book.head() + count):
            severity = list(Severity)[number * 7 % 4]
            labels = {"district": ("510302", "510303", "371082")[number % 3], "uscc": f"91510302MA000000{number % 5}X"}
            self.book.advance(signals=(Signal(
                key=AlertKey(("floor", "freshness")[number % 2], f"account:{number:04d}", "continuous"),
                severity=severity, standing="breached", why=Why("不足", "below"), labels=labels,
                as_of=NOW + timedelta(minutes=number),
            ),), clears=(), now=NOW + timedelta(minutes=number), cause="test")


def walk(pages: FeedPages, query: str) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Follow `next` to the end: the numbers seen, and what each page says it answers for."""
    seen: list[int] = []
    extents: list[tuple[int, int, int]] = []
    for _ in range(200):
        document = json.loads(ask(pages, query)[2])
        page = document["_escrow_page"]
        found = [item["_escrow"]["seq"] for item in document["items"]]
        assert page["skipped"] + len(found) == page["through"] - page["from"] + 1
        assert all(page["from"] <= seq <= page["through"] for seq in found)
        seen += found
        extents.append((page["from"], page["through"], page["skipped"]))
        if "next_url" not in document:
            return seen, extents
        query = urlsplit(document["next_url"]).query
    raise AssertionError("the feed does not end")


@given(
    size=st.integers(0, 60), limit=st.integers(1, 9), up=st.booleans(),
    severity=st.none() | st.sampled_from(["info", "yellow", "orange", "red"]),
    district=st.none() | st.sampled_from(["5103", "510302", "37", "99"]),
    rule=st.none() | st.sampled_from(["floor", "freshness"]),
)
def test_a_filtered_feed_answers_for_every_number_once_and_shows_all_that_fit(
    size: int, limit: int, up: bool, severity: str | None, district: str | None, rule: str | None
) -> None:
    book = Mixed(size)
    asked = {"severity": severity, "district": district, "rule": rule, "limit": str(limit)}
    query = "&".join([*(["after=0"] if up else []), *(f"{name}={value}" for name, value in asked.items() if value)])
    seen, extents = walk(book.pages(), query)
    wanted = filter_of({name: value for name, value in asked.items() if value and name != "limit"})
    fitting = [entry.seq for entry in book.book.entries(after=0, limit=100) if wanted.matches(entry)]
    assert seen == (fitting if up else fitting[::-1])
    covered = sorted(seq for first, last, _ in extents for seq in range(first, last + 1))
    assert covered == list(range(1, size + 1))


def test_a_page_that_finds_little_ends_and_says_how_far_it_looked() -> None:
    pages = Mixed(55).pages(scanned_max=20)
    seen, extents = walk(pages, "after=0&district=99")
    assert (seen, extents) == ([], [(1, 20, 20), (21, 40, 20), (41, 55, 15)])
    seen, extents = walk(pages, f"uscc={'9' * 18}")
    assert (seen, extents) == ([], [(36, 55, 20), (16, 35, 20), (1, 15, 15)])


def test_a_filtered_full_page_stays_the_same_when_the_feed_grows() -> None:
    book = Mixed(30)
    pages = book.pages()
    before = ask(pages, "after=0&limit=3&severity=red")
    book.grow(9)
    assert ask(pages, "after=0&limit=3&severity=red") == before


def test_an_atom_page_says_what_it_answers_for_too() -> None:
    feed = feedparser.parse(ask(Mixed(10).pages(), "after=0&severity=red", format="atom")[2])
    assert not feed.bozo
    assert (feed.feed["escrow_from"], feed.feed["escrow_through"]) == ("1", "10")
    assert int(feed.feed["escrow_skipped"]) == 10 - len(feed.entries)


@pytest.mark.parametrize(("query", "told"), [
    ("severity=grave", "severity is info, yellow, orange, red"),
    ("district=Zigong", "a code of GB/T 2260"),
    ("uscc=1", "18 digits and capitals"),
    ("rule=Floor!", "a rule's name"),
    ("distrikt=5103", "did you mean 'district'"),
])
def test_a_filter_that_can_fit_nothing_is_refused(query: str, told: str) -> None:
    with pytest.raises(Problem, match=told):
        parse_feed_query("json", query.encode())


@pytest.mark.parametrize(("mine", "key", "both"), [
    ("", "district=5103", "district=5103"),
    ("district=510302", "district=5103", "district=510302"),
    ("district=51", "district=5103", "district=5103"),
    ("severity=yellow", "severity=red", "severity=red"),
    ("severity=red&rule=floor", "severity=yellow", "rule=floor&severity=red"),
    ("district=3710", "district=5103", None),
    ("uscc=" + "9" * 18, "uscc=" + "8" * 18, None),
])
def test_what_a_reader_asks_stays_within_what_its_key_may_see(mine: str, key: str, both: str | None) -> None:
    asked, allowed = (filter_of(dict(parse_qsl(text))) for text in (mine, key))
    merged = asked.within(allowed)
    assert (None if merged is None else merged.asked) == (None if both is None else dict(parse_qsl(both)))
