"""A channel that writes each entry to the log: the one that is always there."""

from __future__ import annotations

from collections.abc import Callable

from alerts.alert import FeedEntry
from alerts.delivery import NotSent, Sent


class LogChannel:
    """Hands one flat dictionary an entry to `write` (a logger's method, a file, a list)."""

    def __init__(self, name: str, write: Callable[[dict[str, object]], None]) -> None:
        self.name = name
        self._write = write

    def send(self, entry: FeedEntry, *, message_id: str) -> Sent | NotSent:
        # Labels first: none of them may take the place of what the alert itself says.
        line: dict[str, object] = {
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
        try:
            self._write(line)
        except (OSError, ValueError) as broken:
            # A full disk or a closed stream: the log may be writable again later.
            return NotSent(detail=f"the log could not be written: {type(broken).__name__}", permanent=False)
        return Sent(detail="written")

    def close(self) -> None:
        """Nothing is held."""
