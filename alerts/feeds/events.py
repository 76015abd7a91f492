"""The feed as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import orjson

from alerts.alert import FeedEntry
from alerts.feeds.item import Lang, feed_item

MEDIA_TYPE = "text/event-stream"


def server_sent(entry: FeedEntry, *, home_url: str, lang: Lang = "zh") -> bytes:
    """One event: `id` is the entry's number, `event` is `alert`, `data` the feed item in one line of JSON."""
    data = orjson.dumps(feed_item(entry, home_url=home_url, lang=lang))
    return b"id: %d\nevent: alert\ndata: %s\n\n" % (entry.seq, data)
