"""A channel that writes each entry to the log: the one that is always there."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from alerts.alert import FeedEntry
from alerts.delivery import NotSent, Sent


class LogChannel:
    """Hands one flat dictionary an entry to `write` (a logger's method, a file, a list)."""

    def __init__(self, name: str, write: Callable[[dict[str, object]], None]) -> None:
        self.name = name
        self._write = write

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        return self._put(self._line(entry, message_id))

    def ping(self, *, message_id: str) -> Sent | NotSent:
        """A line marked as a test."""
        return self._put({"message_id": message_id, "test": True})

    def preview(self, entry: FeedEntry) -> str:
        """The line."""
        return orjson.dumps(self._line(entry, f"evt_{entry.seq}_{self.name}"), option=orjson.OPT_INDENT_2).decode()

    def close(self) -> None:
        """Nothing is held."""

    def _line(self, entry: FeedEntry, message_id: str) -> dict[str, object]:
        # Labels first: none of them may take the place of what the alert itself says.
        return {
            **entry.labels,
            "message_id": message_id,
            "seq": entry.seq,
            "alert_id": entry.alert_id,
            "transition": entry.transition.value,
            "reason": entry.reason.value,
            "rule": entry.key.rule,
            "subject": entry.key.subject,
            "period": entry.key.period,
            "severity": entry.severity.value,
            "standing": entry.standing,
            "why": entry.why.zh,
            "why_en": entry.why.en,
            "as_of": entry.as_of.isoformat(),
            "audit_seq": entry.audit_seq,
            "audit_head": entry.audit_head,
        }

    def _put(self, line: dict[str, object]) -> Sent | NotSent:
        try:
            self._write(line)
        except (OSError, ValueError) as broken:
            # A full disk or a closed stream: the log may be writable again later.
            return NotSent(detail=f"the log could not be written: {type(broken).__name__}", permanent=False)
        return Sent(detail="written")
