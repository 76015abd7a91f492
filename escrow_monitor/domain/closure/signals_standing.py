"""W12 to W17: what registers and other departments report, and the silence of a feed."""

from __future__ import annotations

import numpy as np

from escrow_monitor.domain.closure.series import LICENCE_UNKNOWN
from escrow_monitor.domain.closure.windows import SILENT_DAYS, Facts, Measured, ramp, ratio


def expansion(facts: Facts) -> Measured:
    """W12: new campuses in six months: one is growth, from the second on it speaks, full at four."""
    count = facts.total("new_campus", 183, end="now")
    return Measured(intensity=ramp(count, 1, 4), known=facts.always, figures={"campuses": count})


def new_hands(facts: Facts) -> Measured:
    """W13: a new representative or address in 120 days; by itself a little, in full with 10 % of cover missing."""
    changes = facts.total("new_representative", 120, end="now") + facts.total("new_address", 120, end="now")
    missing = ratio(facts.owed - facts.balance, np.maximum(facts.owed, 1))
    weak = np.where(facts.custody, ramp(missing, 0.01, 0.1), 0)
    return Measured(
        intensity=ramp(changes, 0, 1) * (0.3 + 0.7 * weak), known=facts.always, figures={"changes": changes}
    )


def unpaid_others(facts: Facts) -> Measured:
    """W14: wages or rent reported unpaid in 240 days: one report is plain enough."""
    wages, rent = facts.total("wage_arrears", 240, end="now"), facts.total("rent_arrears", 240, end="now")
    return Measured(
        intensity=ramp(wages + rent, 0, 1), known=facts.always, figures={"wages": wages, "rent": rent}
    )


def licence_revoked(facts: Facts) -> Measured:
    """W15: the licence was revoked, in all that is known."""
    return Measured(intensity=ramp(facts.total("licence_revoked", 400, end="now"), 0, 1), known=facts.always)


def licence_ends(facts: Facts) -> Measured:
    """W15: the licence ends: from 60 days before its last day to 30 days after it. Unknown without its date."""
    known = facts.view.licence_ends != LICENCE_UNKNOWN
    left = np.where(known, facts.view.licence_ends - facts.view.width + 1, 10_000).astype(np.float64)
    return Measured(intensity=ramp(-left, -60, 30), known=known, figures={"left": left})


def silence(facts: Facts) -> Measured:
    """W16: days without a statement, from 4 to 20: not a fault of the institution, and never a good sign."""
    days = facts.view.silence().astype(np.float64)
    return Measured(intensity=ramp(days, 4, 20), known=facts.always, figures={"days": days})


def platform_silence(facts: Facts) -> Measured:
    """W16: days on which the institution recorded no lesson and no contract, from 10 to 30, while others did."""
    days = (facts.view.width - facts.ends["platform"]).astype(np.float64)
    return Measured(intensity=ramp(days, SILENT_DAYS, 30), known=facts.always, figures={"days": days})


def frozen(facts: Facts) -> Measured:
    """W17: the account was frozen, in all that is known."""
    return Measured(intensity=ramp(facts.total("account_frozen", 400, end="now"), 0, 1), known=facts.always)
