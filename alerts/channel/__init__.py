"""Where deliveries go: the port of a channel that we push to, and what some channels can do beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from alerts.alert import Alert, FeedEntry
from alerts.delivery import NotSent, Sent

__all__ = ["Channel", "DigestChannel", "NotSent", "Owed", "PacedChannel", "Sent", "StandingChannel"]


class Channel(Protocol):
    """One way out. It answers one question on failure: may we try again?

    `message_id` is stable over all attempts of one delivery, so the other side can tell a repeat. A channel never
    raises for what the other side did or failed to do; it returns NotSent. Every outward call has a timeout. Neither
    `detail` nor `preview` ever shows a secret; the address of a chat robot is one.
    """

    name: str

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent: ...

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """Send a message that says it is a test: nobody may take it for an alert."""
        ...

    def preview(self, entry: FeedEntry) -> str:
        """What `send` would hand over, as text; nobody is called."""
        ...

    def close(self) -> None:
        """Let go of connections; sending afterwards is an error."""
        ...


class Owed(NamedTuple):
    """One entry of a digest, and the id under which it alone would go."""

    entry: FeedEntry
    message_id: str


@runtime_checkable
class DigestChannel(Protocol):
    """A channel that can put several entries into one message."""

    def fits(self, owed: Sequence[Owed]) -> int:
        """How many of these, from the first on, go into one message: at least 1."""
        ...

    def send_digest(self, owed: Sequence[Owed]) -> Sent | NotSent:
        """Send them as one message: the answer holds for each of them."""
        ...


@runtime_checkable
class PacedChannel(Protocol):
    """A channel that may not be called as often as one likes."""

    def ready_in(self) -> float:
        """Seconds until the next message may go; 0 when it may go now."""
        ...


@runtime_checkable
class StandingChannel(Protocol):
    """A channel whose far side forgets what is not said again: what is open is repeated while it is open."""

    def renew_in(self) -> float:
        """Seconds until what is open should be said again; 0 when it is time."""
        ...

    def renew(self, open_alerts: Sequence[Alert]) -> Sent | NotSent:
        """Say again what is open: all of it, for what is not among them is ended over there."""
        ...
