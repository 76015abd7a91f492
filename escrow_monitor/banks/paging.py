"""How the rest of a list is asked for, and when it is whole: pages that repeat or fall short are refused."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from escrow_monitor.banks.answer_reading import PAGES_MAX
from escrow_monitor.banks.mapping import Context, Finder, Place, required
from escrow_monitor.banks.statement_reading import Refused, refused
from escrow_monitor.banks.templates import Values
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.settings.mapping import PagingMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """A compiled `paging`."""

    mapping: PagingMapping
    next: Finder | None
    more: Finder | None
    total: Finder | None
    pages: Finder | None


def paging_rule(mapping: PagingMapping, context: Context, key: str) -> Paging:
    """Compile `paging`. Raises ConfigurationError naming the key."""
    return Paging(
        mapping=mapping, next=context.maybe(mapping.next, f"{key}.next"),
        more=context.maybe(mapping.more, f"{key}.more"), total=context.maybe(mapping.total, f"{key}.total"),
        pages=context.maybe(mapping.pages, f"{key}.pages"),
    )


@dataclass(slots=True)
class Walk:
    """One walk through the pages of an answer. `values` and `link` say what the next call asks for."""

    paging: Paging
    link: str | None = None
    number: int = 0
    rows: int = 0
    stated: int | None = None
    cursor: str = field(init=False)
    seen: set[Hashable] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.cursor = self.paging.mapping.first

    @property
    def values(self) -> Values:
        """What templates may say of the page."""
        mapping = self.paging.mapping
        return {
            "page": mapping.first_page + self.number, "size": mapping.size,
            "offset": mapping.first_offset + self.number * mapping.size, "cursor": self.cursor,
        }

    def goes_on(self, place: Place, rows: int, print_of_rows: Hashable) -> bool:
        """Whether another page is to be asked for. Raises Refused for pages that lead in a circle or miss rows."""
        if rows and print_of_rows in self.seen:
            raise self._circle(place)
        self.seen.add(print_of_rows)
        self.number += 1
        self.rows += rows
        on = self._asks_on(place, rows)
        if on and self.number >= PAGES_MAX:
            raise refused(RefusalReason.TOO_LARGE, place.where, "paging", f"more than {PAGES_MAX} pages")
        return on

    def _asks_on(self, place: Place, rows: int) -> bool:
        match self.paging.mapping.by:
            case "none":
                return False
            case "link":
                self.link = self._next(place)
                return self.link is not None
            case "cursor":
                following = self._next(place)
                if following is None:
                    return False
                self.cursor = following
                return True
            case "page":
                return self._page_follows(place, rows)

    def _next(self, place: Place) -> str | None:
        """The link or cursor of the page that follows; None when this is the last."""
        paging = self.paging
        assert paging.next is not None  # noqa: S101 - the settings ask for it
        if paging.more is not None:
            if required(paging.more, place) not in paging.mapping.more_is:
                return None
            following: str | None = required(paging.next, place)
        else:
            following = paging.next.one(place)
        if following is not None and (following, "next") in self.seen:
            raise self._circle(place)
        self.seen.add((following, "next"))
        return following

    def _page_follows(self, place: Place, rows: int) -> bool:
        paging, size = self.paging, self.paging.mapping.size
        if paging.total is not None:
            total = self._stated(paging.total, place)
            if self.rows > total or (self.rows < total and not rows):
                detail = f"the bank says {total} rows, its pages hold {self.rows}"
                raise refused(RefusalReason.CONTRADICTS, place.where, paging.total.path, detail)
            return self.rows < total
        if paging.pages is not None:
            return self.number < self._stated(paging.pages, place)
        if rows > size:
            detail = f"{rows} rows on a page of {size}"
            raise refused(RefusalReason.CONTRADICTS, place.where, "paging.size", detail)
        return rows == size

    def _stated(self, finder: Finder, place: Place) -> int:
        """A count that every page must repeat."""
        text = required(finder, place)
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise refused(RefusalReason.MALFORMED, place.where, finder.path, f"{text[:20]!r} is no count")
        if self.stated is not None and self.stated != int(text):
            detail = f"{text} now, {self.stated} on the page before: the list changed while it was read"
            raise refused(RefusalReason.CONTRADICTS, place.where, finder.path, detail)
        self.stated = int(text)
        return self.stated

    @staticmethod
    def _circle(place: Place) -> Refused:
        return refused(RefusalReason.MALFORMED, place.where, "paging", "the pages lead in a circle")
