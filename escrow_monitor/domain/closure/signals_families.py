"""W6 to W8: what families ask back, wait for and complain of.

Measured against what others have on the same days, and not against an own past: old trouble would hide new trouble.
"""

from __future__ import annotations

import numpy as np

from escrow_monitor.domain.closure.series import Floats
from escrow_monitor.domain.closure.windows import End, Facts, Measured, ramp, ratio


def refund_arrears(facts: Facts) -> Measured:
    """W6: claims past their day and not paid: how many, to 3, and how much of what is owed, to 3 %; root of both."""
    fen, count = facts.at("overdue_fen", end="now"), facts.at("overdue", end="now")
    owed = np.maximum(facts.at("owed_fen", end="now"), 1)
    return Measured(
        intensity=np.sqrt(ramp(ratio(fen, owed), 0, 0.03) * ramp(count, 0, 3)), known=facts.always,
        figures={"overdue_fen": fen, "overdue": count},
    )


def refunds_waiting(facts: Facts) -> Measured:
    """W6: how many claims have been past their day, on the average of the last 28 days; from half a claim to 8."""
    waiting = facts.total("overdue", 28, end="now") / 28
    return Measured(
        intensity=ramp(waiting, 0.5, 8), known=facts.always,
        figures={"waiting": waiting, "overdue": facts.at("overdue", end="now")},
    )


def claim_burst(facts: Facts) -> Measured:
    """W7: claims of 28 days beyond what as many families elsewhere made; at least 3 claims."""
    return _burst(facts, "claims", least=3, high=0.05)


def complaint_burst(facts: Facts) -> Measured:
    """W8: complaints of 28 days beyond what as many families elsewhere made; at least 2 complaints."""
    return _burst(facts, "complaints", least=2, high=0.025)


def _burst(facts: Facts, name: str, *, least: int, high: float) -> Measured:
    """By how much a count lies above what is expected and two standard deviations, per active contract: 0 to `high`.

    Until yesterday, or until the platform fell silent, whichever says more: a silence does not calm a burst.
    """
    intensity, count, expected = np.zeros(facts.view.count), np.zeros(facts.view.count), np.zeros(facts.view.count)
    ends: tuple[End, ...] = ("platform", "now")
    for end in ends:
        active_days = facts.total("active", 28, end=end)
        # What is usual includes what is usual at this time of the year, for it is counted over the same days.
        seen, due = facts.total(name, 28, end=end), _usual(facts, name, end) * active_days
        beyond = (seen - due - 2 * np.sqrt(due + 0.5)) / np.maximum(active_days / 28, 5)
        found = np.where(seen >= least, ramp(beyond, 0, high), 0)
        count, expected = np.where(found >= intensity, seen, count), np.where(found >= intensity, due, expected)
        intensity = np.maximum(intensity, found)
    return Measured(
        intensity=intensity, known=facts.total("active", 28, end="now") > 0,
        figures={"count": count, "expected": expected},
    )


def _usual(facts: Facts, name: str, end: End) -> Floats:
    """How many a contract and day the others have; with too few others, what this one had in half a year before."""
    if facts.peers_enough:
        found = ratio(facts.others(name, 28, end=end), facts.others("active", 28, end=end))
    else:
        found = ratio(facts.total(name, 168, end=end, before=28), facts.total("active", 168, end=end, before=28))
    return np.nan_to_num(found)
