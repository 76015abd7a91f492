"""How many alerts began and ended in some time, by whom they are about: for the monthly return."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlmodel import Session

from alerts.alert import TransitionKind
from escrow_monitor.records.bulk import fetch


class Published(NamedTuple):
    """Alerts that began (opened, or opened again) and that ended."""

    opened: int = 0
    resolved: int = 0

    def plus(self, other: Published) -> Published:
        """Both together."""
        return Published(self.opened + other.opened, self.resolved + other.resolved)


NOTHING = Published()
_BEGAN = (TransitionKind.OPENED.value, TransitionKind.REOPENED.value)


def published(
    session: Session, *, since: datetime, until: datetime
) -> Mapping[tuple[str | None, str | None, str], Published]:
    """By institution, account and rule, what the feed carried since then and before `until`."""
    found: dict[tuple[str | None, str | None, str], Published] = {}
    for uscc, account_no, rule, transition, count in fetch(
        session,
        "SELECT a.uscc, a.account_no, f.rule, f.transition, count(*) FROM feed_entries f"
        " JOIN alerts a ON a.alert_id = f.alert_id WHERE f.recorded_at >= :since AND f.recorded_at < :until"
        " AND f.transition IN ('opened', 'reopened', 'resolved')"
        " GROUP BY a.uscc, a.account_no, f.rule, f.transition", since=since, until=until,
    ):
        one = Published(opened=count) if transition in _BEGAN else Published(resolved=count)
        key = (uscc, account_no, rule)
        found[key] = found.get(key, NOTHING).plus(one)
    return found
