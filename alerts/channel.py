"""Where deliveries go: the port of a channel that we push to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from alerts.alert import FeedEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The channel took it. `detail` is what is worth keeping of its answer."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The channel did not take it. `permanent`: trying again cannot help."""

    detail: str
    permanent: bool


class Channel(Protocol):
    """One way out. It answers one question on failure: may we try again?

    `message_id` is stable over all attempts of one delivery, so the other side can tell a repeat. A channel never
    raises for what the other side did or failed to do; it returns NotSent. Every outward call has a timeout.
    """

    name: str

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent: ...
