"""Where a page of the feed stands among the others, and what the feed is called."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a feed, with the links of RFC 5005 section 3 (absolute URLs; None where there is no such page).

    `next_url` is the page that a reader who goes on reads next, `previous_url` the one before. The page answers for the
    numbers from `covers_from` to `covers_through` (none where the first is above the last); `skipped` of them fit no
    filter of the reader's.
    """

    title: str
    author: str
    home_url: str
    self_url: str
    covers_from: int = 1
    covers_through: int = 0
    skipped: int = 0
    first_url: str | None = None
    last_url: str | None = None
    next_url: str | None = None
    previous_url: str | None = None

    @property
    def feed_urn(self) -> str:
        """The id of the feed as a whole, the same on each of its pages."""
        return f"urn:uuid:{uuid5(NAMESPACE_URL, self.home_url.rstrip('/') + '/')}"

    @property
    def extent(self) -> dict[str, int]:
        """What the page answers for, by the names that every format carries."""
        return {"from": self.covers_from, "through": self.covers_through, "skipped": self.skipped}

    @property
    def links(self) -> dict[str, str]:
        """Relation to URL, `self` first, only those that exist."""
        links = {
            "self": self.self_url,
            "first": self.first_url,
            "previous": self.previous_url,
            "next": self.next_url,
            "last": self.last_url,
        }
        return {relation: url for relation, url in links.items() if url is not None}
