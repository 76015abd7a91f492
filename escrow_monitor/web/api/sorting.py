"""Lists in the order that was asked for, page by page: a cursor says what was shown last, and stays true."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import Field

from escrow_monitor.domain.visibility import Visible
from escrow_monitor.records.database import Session
from escrow_monitor.records.sorted_lists import KEY, Listing, Place, Sort, Value, places
from escrow_monitor.web.api.views import ListView, V
from escrow_monitor.web.problems import Problem

T = TypeVar("T")
District = Annotated[str | None, Field(
    default=None, pattern=r"^[0-9]{2,6}$", description="the beginning of its code: `5103` is a whole city",
)]
BY = "the order; `-` before it turns it round, and what has no value comes last both ways"


def sorted_page(
    session: Session, listing: Listing, *, sort: str, given: Mapping[str, Any], after: str, limit: int,
    visible: Visible, read: Callable[[Sequence[str]], Mapping[str, T]], view: Callable[[T], V],
) -> ListView[V]:
    """One page. `read` gives the rows of these keys, `view` the JSON shape of one; `given` are the filters.

    Raises Problem 422 for an `after` that is not of this list in this order.
    """
    by = sort.removeprefix("-")
    chosen = Sort(by=by if by in listing.columns else KEY, down=sort.startswith("-"))
    found = places(
        session, listing, chosen, given=given, after=place_of(after, listing, chosen), limit=limit + 1, visible=visible
    )
    shown = found[:limit]
    rows = read([place.key for place in shown]) if shown else {}
    return ListView[V](
        items=[view(rows[place.key]) for place in shown if place.key in rows],
        after=cursor_of(shown[-1], chosen) if len(found) > limit else None,
    )


def cursor_of(place: Place, sort: Sort) -> str:
    """The `after` of the page that follows: by key it is the key itself."""
    if sort.by == KEY:
        return place.key
    value = place.value.isoformat() if isinstance(place.value, date) else place.value
    text = orjson.dumps([sort.by, sort.down, value, place.key])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def place_of(after: str, listing: Listing, sort: Sort) -> Place | None:
    """Where a list goes on; None at its beginning. Raises Problem 422."""
    if not after:
        return None
    if sort.by == KEY:
        return Place(key=after)
    wrong = Problem(422, "query.after: this is not from this list in this order: begin again without it")
    try:
        found = orjson.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        by, down, value, key = found
    except (ValueError, TypeError, binascii.Error) as error:
        raise wrong from error
    if (by, down) != (sort.by, sort.down) or not isinstance(key, str) or "\x00" in key:
        raise wrong
    return Place(key=key, value=_value(value, listing.columns[sort.by][1], wrong))


def _value(value: Any, kind: type, wrong: Problem) -> Value:
    if value is None:
        return None
    try:
        if kind is datetime and isinstance(value, str):
            return datetime.fromisoformat(value).astimezone(UTC)
        if kind is date and isinstance(value, str):
            return date.fromisoformat(value)
    except ValueError as error:
        raise wrong from error
    if isinstance(value, str) and kind is str and "\x00" not in value:
        return value
    if isinstance(value, int) and kind is int and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    raise wrong
