"""How refusals are kept in a cell, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from escrow_monitor.domain.statements import Refusal, RefusalReason


def refusal_json(refusal: Refusal) -> dict[str, str | None]:
    """A refusal as it is kept in JSON."""
    return {
        "reason": refusal.reason.value, "where": refusal.where, "field": refusal.field, "detail": refusal.detail,
    }


def refusal_of(kept: Mapping[str, Any]) -> Refusal:
    """The refusal that `refusal_json` made this of."""
    return Refusal(
        reason=RefusalReason(kept["reason"]), where=kept["where"], field=kept["field"], detail=kept["detail"]
    )
