"""The feed as JSON Feed 1.1 (https://www.jsonfeed.org/version/1.1/)."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from alerts.alert import FeedEntry
from alerts.feeds.item import LANGUAGE_TAGS, Lang, clean, feed_item
from alerts.feeds.page import Page

MEDIA_TYPE = "application/feed+json"


def json_feed(entries: Iterable[FeedEntry], *, page: Page, lang: Lang = "zh") -> bytes:
    """Render entries, in the order given, as one JSON Feed document. Same entries, same page, same bytes.

    `_escrow_page` says which numbers the page answers for, and how many of them a filter left out.
    """
    document: dict[str, object] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": clean(page.title),
        "home_page_url": page.home_url,
        "feed_url": page.self_url,
        "language": LANGUAGE_TAGS[lang],
        "authors": [{"name": clean(page.author)}],
    }
    document["_escrow_page"] = page.extent
    if page.next_url is not None:
        document["next_url"] = page.next_url
    document["items"] = [feed_item(entry, home_url=page.home_url, lang=lang) for entry in entries]
    return orjson.dumps(document)
