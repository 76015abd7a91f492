"""How often one caller may ask: a bucket each that refills, so that a program gone wild starves nobody."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import HTTPConnection

from escrow_monitor.logs import log
from escrow_monitor.web.problems import Problem

CALLERS_MAX = 10_000
"""Of more callers at once those that asked longest ago are forgotten: their buckets are full again by then."""


class Kind(StrEnum):
    """What is counted apart: feeds, so that who polls the API hard still hears of alerts; and who is not known."""

    REQUESTS = "requests"
    FEEDS = "feeds"
    STRANGERS = "strangers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests a second for long, and `burst` at once. 0 a second: as many as they like."""

    per_second: float
    burst: int


FREE = Rate(per_second=0, burst=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The rate of each kind; without limits unless they are set."""

    requests: Rate = FREE
    feeds: Rate = FREE
    strangers: Rate = FREE


WITHOUT = Rates()


class Limits:
    """Counts in this process, by who asks (all keys of a person are one) or, of strangers, by where from."""

    def __init__(self, rates: Rates) -> None:
        self._rates = {Kind.REQUESTS: rates.requests, Kind.FEEDS: rates.feeds, Kind.STRANGERS: rates.strangers}
        self._buckets: dict[tuple[Kind, str], _Bucket] = {}

    def check(self, request: HTTPConnection, *, caller: str | None, now: float) -> None:
        """Count one request, once however often it is looked at. Raises Problem 429 for one too many.

        `caller` None is a stranger; `now` is the seconds of a clock that never goes back.
        """
        if getattr(request.state, "counted", False):
            return
        request.state.counted = True
        kind = Kind.FEEDS if request.url.path.startswith("/feeds/") else Kind.REQUESTS
        if caller is None:
            kind, caller = Kind.STRANGERS, request.client.host if request.client is not None else "unknown"
        wait = self.take(kind, caller, now=now)
        if wait:
            raise Problem(
                429, f"too many requests: no more than {self._rates[kind].per_second:g} a second; wait {wait} s",
                headers={"Retry-After": str(wait)},
            )

    def take(self, kind: Kind, caller: str, *, now: float) -> int:
        """Count one of this caller: 0 if they may, else the seconds to wait."""
        rate = self._rates[kind]
        if rate.per_second <= 0:
            return 0
        # The one that asked last stands last.
        bucket = self._buckets.pop((kind, caller), None) or _Bucket(left=float(rate.burst), at=now)
        self._buckets[kind, caller] = bucket
        while len(self._buckets) > CALLERS_MAX:
            self._buckets.pop(next(iter(self._buckets)))
        bucket.left = min(float(rate.burst), bucket.left + (now - bucket.at) * rate.per_second)
        bucket.at = now
        if bucket.left >= 1:
            bucket.left -= 1
            bucket.told = False
            return 0
        if not bucket.told:
            bucket.told = True
            log(__name__).warning("web.limited", who=caller, kind=kind.value, per_second=rate.per_second)
        return max(1, math.ceil((1 - bucket.left) / rate.per_second))


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float
    told: bool = False
