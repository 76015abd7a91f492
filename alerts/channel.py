"""Where deliveries go: the port of a channel that we push to."""

from __future__ import annotations

from typing import Protocol

from alerts.alert import FeedEntry
from alerts.delivery import NotSent, Sent

__all__ = ["Channel", "NotSent", "Sent"]


class Channel(Protocol):
    """One way out. It answers one question on failure: may we try again?

    `message_id` is stable over all attempts of one delivery, so the other side can tell a repeat. A channel never
    raises for what the other side did or failed to do; it returns NotSent. Every outward call has a timeout.
    """

    name: str

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent: ...

    def close(self) -> None:
        """Let go of connections; sending afterwards is an error."""
        ...
