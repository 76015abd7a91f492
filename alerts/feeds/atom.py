"""The feed as Atom (RFC 4287), paged by RFC 5005."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from feedgen.entry import FeedEntry as AtomEntry
from feedgen.ext.base import BaseEntryExtension, BaseExtension
from feedgen.feed import FeedGenerator
from feedgen.util import xml_elem

from alerts.alert import FeedEntry
from alerts.feeds.item import LANGUAGE_TAGS, EscrowFacts, FeedItem, Lang, clean, feed_item
from alerts.feeds.page import Page

MEDIA_TYPE = "application/atom+xml"
ESCROW_NAMESPACE = "urn:x-escrow-monitor:feed:1"

# An Atom feed must say when it was updated; one that never had an entry says the beginning of time, not today,
# so that the same feed has the same bytes (and the same ETag).
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def atom(entries: Iterable[FeedEntry], *, page: Page, lang: Lang = "zh") -> bytes:
    """Render entries, in the order given, as one Atom document. Same entries, same page, same bytes.

    `escrow:from`, `escrow:through` and `escrow:skipped` say which numbers the page answers for, and how many of them a
    filter left out. Each entry carries `escrow:seq`, `escrow:audit_seq`, `escrow:audit_head` and the like beside its
    sentences; its `updated` is the time it was recorded, for a published entry never changes.
    """
    listed = list(entries)
    feed = FeedGenerator()
    feed.register_extension("escrow", _EscrowFeed, _EscrowEntry, atom=True, rss=False)
    feed.escrow.extent = page.extent
    feed.id(page.feed_urn)
    feed.title(clean(page.title))
    feed.updated(max((entry.recorded_at for entry in listed), default=NEVER))
    feed.author({"name": clean(page.author)})
    feed.language(LANGUAGE_TAGS[lang])
    feed.generator("escrow-monitor")
    feed.link(href=page.home_url, rel="alternate", type="text/html")
    for relation, url in page.links.items():
        feed.link(href=url, rel=relation, type=MEDIA_TYPE)
    for entry in listed:
        _fill(feed.add_entry(order="append"), entry, feed_item(entry, home_url=page.home_url, lang=lang))
    document: bytes = feed.atom_str()
    return document


def _fill(target: AtomEntry, entry: FeedEntry, item: FeedItem) -> None:
    """Put one item into an Atom entry."""
    facts = item["_escrow"]
    target.id(item["id"])
    target.title(item["title"])
    target.updated(entry.recorded_at)
    target.published(entry.recorded_at)
    target.link(href=item["url"], rel="alternate", type="text/html")
    target.content(_html(facts), type="html")
    target.category([{"term": tag} for tag in item["tags"]])
    target.escrow.facts = facts


def _html(facts: EscrowFacts) -> str:
    """Both sentences and the facts that a person asks for first."""
    rows = (
        ("序号 / No.", str(facts["seq"])),
        ("规则 / Rule", facts["rule"]),
        ("对象 / Subject", facts["subject"]),
        ("期间 / Period", facts["period"]),
        ("数据时点 / As of", facts["as_of"]),
        ("审计链 / Audit", f"{facts['audit_seq']} {facts['audit_head']}"),
    )
    table = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return (
        f'<p lang="zh-CN">{escape(facts["why"])}</p>'
        f'<p lang="en">{escape(facts["why_en"])}</p>'
        f"<dl>{table}</dl>"
    )


class _EscrowFeed(BaseExtension):  # type: ignore[misc]  # feedgen has no types
    """Declares our namespace on the feed, and says which numbers the page answers for."""

    extent: dict[str, int]

    def extend_ns(self) -> dict[str, str]:
        return {"escrow": ESCROW_NAMESPACE}

    def extend_atom(self, feed: object) -> object:
        for name, number in self.extent.items():
            xml_elem(f"{{{ESCROW_NAMESPACE}}}{name}", feed, nsmap=self.extend_ns()).text = str(number)
        return feed


class _EscrowEntry(BaseEntryExtension):  # type: ignore[misc]  # feedgen has no types
    """Writes an entry's facts as elements of our namespace."""

    facts: EscrowFacts

    def extend_ns(self) -> dict[str, str]:
        return {"escrow": ESCROW_NAMESPACE}

    def extend_atom(self, entry: object) -> object:
        for name, fact in self.facts.items():
            if isinstance(fact, str | int) and name not in {"why", "why_en"}:
                xml_elem(f"{{{ESCROW_NAMESPACE}}}{name}", entry, nsmap=self.extend_ns()).text = str(fact)
        return entry
