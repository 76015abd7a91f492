"""Which findings tell of something that happened, and not of something that lasts."""

from __future__ import annotations

import re
from datetime import date

from escrow_monitor.domain.rules import corrected_statement, large_outflow

STORM_RULE = "alert_storm"
"""Too many alerts opened at once: the name that the alerts side gives to it."""
EVENT_RULES = frozenset({large_outflow.RULE, corrected_statement.RULE, STORM_RULE})
"""Money left, a statement was corrected: nothing that is examined later can show it undone, so a person ends it."""

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])\Z")


def has_happened(rule: str, period: str, *, today: date) -> bool:
    """Whether an alert of this rule and period is about the past: an event, or a month that is over."""
    return rule in EVENT_RULES or (_MONTH.match(period) is not None and period < today.isoformat()[:7])
