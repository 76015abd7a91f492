"""W1 to W4 and W18: what the account holds, what left it, and what never came. All windows end with the statements."""

from __future__ import annotations

import numpy as np

from escrow_monitor.domain.closure.series import Floats
from escrow_monitor.domain.closure.windows import Facts, Measured, middle, ramp, ratio

FLOOR_SHARE = 0.2
"""Of three months' receipts: what an account that keeps a floor has to hold (domain.md 2, Zigong)."""
FLOOR_WEEKS = 13
FLOOR_DAYS = 7 * FLOOR_WEEKS
"""Three months."""
UNMATCHED_SHARE = 0.05
RELEASE_LAG_DAYS = 10
"""Lessons earned so long before a window may still be released within it: the longest public holiday."""


def _required(facts: Facts, before: int = 0) -> Floats:
    """What the floor asks for."""
    # Week by week: the weeks of one day are those of the same weekday before it.
    weeks = (facts.total("credits_fen", 7, end="bank", before=before + 7 * week) for week in range(FLOOR_WEEKS))
    return np.asarray(FLOOR_SHARE * sum(weeks), dtype=np.float64)


def cover_gap(facts: Facts) -> Measured:
    """W1: of those in custody, the share of what families are owed that is not in the account.

    One day, that of the newest statement; claims past their day are counted as paid on both sides. From 1.5 % to 30 %.
    """
    gap = np.maximum(facts.owed - facts.balance, 0)
    share = ratio(gap, np.maximum(facts.owed, 1))
    known = facts.heard & (facts.owed > 0) | ~facts.custody
    return Measured(
        intensity=ramp(share, 0.015, 0.3) * facts.custody, known=known, figures={"gap_fen": gap, "gap_share": share}
    )


def cover_deep(facts: Facts) -> Measured:
    """W1: the same gap where it is beyond anything that a delay explains: from 10 % to 70 %."""
    found = cover_gap(facts)
    return Measured(
        intensity=ramp(found.figures["gap_share"], 0.1, 0.7) * facts.custody, known=found.known, figures=found.figures
    )


def floor_gap(facts: Facts) -> Measured:
    """W1: of those that keep a floor, how far the balance lies below a fifth of three months' receipts and a little.

    The newest statement, the receipts of the 13 weeks before it. From 1.15 times the floor down to 0.5 times.
    """
    required = _required(facts)
    times = ratio(facts.balance, required)
    seen = facts.days(FLOOR_DAYS, end="bank")
    known = facts.heard & (required > 0) & (seen >= FLOOR_DAYS) | facts.custody
    below = ramp(-times, -1.15, -0.5) * (~facts.custody & (seen >= FLOOR_DAYS))
    return Measured(
        intensity=below, known=known, figures={"balance_fen": facts.balance, "required_fen": required, "times": times}
    )


def cover_drop(facts: Facts) -> Measured:
    """W1: the cover against its own usual: the middle of the last 7 days over that of half a year.

    Usual: one day a week, 45 to 210 days ago, at least 8 of them. Cover is the balance over what is owed in custody,
    over the floor else. From 7 % less to 60 % less.
    """
    now = middle([_cover(facts, before) for before in (0, 1, 2, 4, 6)])
    weekly = [_cover(facts, before) for before in range(49, 210, 7)]
    usual, counted = middle(weekly), (~np.isnan(np.stack(weekly))).sum(axis=0)
    lost = 1 - ratio(now, np.nan_to_num(usual))
    enough = counted >= 8
    return Measured(
        intensity=ramp(np.where(enough, lost, np.nan), 0.07, 0.6), known=facts.heard & enough,
        figures={"lost_share": lost, "now_share": now, "usual_share": usual},
    )


def _cover(facts: Facts, before: int) -> Floats:
    balance = _held(facts, before)
    owed = facts.at("owed_fen", end="bank", before=before) - facts.at("overdue_fen", end="bank", before=before)
    floor = _required(facts, before)
    cover = np.where(facts.custody, ratio(balance, np.maximum(owed, 0)), ratio(balance, floor))
    # Of the floor nothing is known before three months are.
    since = facts.ends["bank"] - before - facts.view.began
    return np.asarray(np.where(since > np.where(facts.custody, 0, FLOOR_DAYS), cover, np.nan), dtype=np.float64)


def _held(facts: Facts, before: int) -> Floats:
    """The balance without what claims past their day would take: paid late, they leave no more behind."""
    return facts.at("balance_fen", end="bank", before=before) - facts.at("overdue_fen", end="bank", before=before)


def outflow(facts: Facts) -> Measured:
    """W2: the largest day of the last 14, of the balance before it, beyond what a holiday had held up.

    Custody: beyond what lessons earned in 10 days. Floor: beyond the credits of 10 days and an approved large outlay.
    From 8 % of the balance to 40 %.
    """
    most, fen = np.zeros(facts.view.count), np.zeros(facts.view.count)
    for before in range(14):
        day = facts.total("debits_fen", 1, end="bank", before=before)
        held = _held(facts, before + 1)
        own = np.where(
            facts.custody, facts.total("earned_fen", RELEASE_LAG_DAYS, end="bank", before=before),
            facts.total("credits_fen", RELEASE_LAG_DAYS, end="bank", before=before),
        )
        beyond = np.maximum(day - own, 0)
        share = np.minimum(ratio(beyond, np.maximum(held, 1)), 1)
        fen, most = np.where(share > most, beyond, fen), np.maximum(most, share)
    approved = facts.total("large_outlay_approved", 28, end="bank") > 0
    most = np.where(approved & ~facts.custody, most - 0.2, most)
    known = facts.heard & (facts.days(14, end="bank") >= 14)
    return Measured(intensity=ramp(most, 0.08, 0.4), known=known, figures={"day_fen": fen, "day_share": most})


def balance_fall(facts: Facts) -> Measured:
    """W2: of those that keep a floor, how far the balance fell in 42 days beyond the floor itself. (In custody: W3.)

    An approved large outlay of a fifth is set aside. 42 days after the first 13 weeks. From 15 % to 60 %.
    """
    before = _held(facts, 42)
    fall = 1 - ratio(facts.balance, before)
    was, now = _required(facts, 42), _required(facts)
    eased = np.maximum(1 - np.nan_to_num(ratio(now, was)), 0)
    approved = 0.2 * (facts.total("large_outlay_approved", 42, end="bank") > 0)
    enough = facts.days(FLOOR_DAYS + 42, end="bank") >= FLOOR_DAYS + 42
    beyond = np.where(enough & ~facts.custody, fall - eased - approved, np.nan)
    return Measured(
        intensity=ramp(beyond, 0.15, 0.6), known=facts.heard & enough | facts.custody,
        figures={"before_fen": before, "balance_fen": facts.balance, "fall_share": fall},
    )


def released_ahead(facts: Facts) -> Measured:
    """W3: of those in custody, what was released beyond what lessons earned, over what is owed.

    Releases less earnings are highest just after a release; the highest of the last 10 days is compared with the
    highest of the 10 days before 28, 60 and 120 days ago, so that the days between a lesson and its release cancel.
    The largest of the three, from 1 % to 15 % of what is owed.
    """
    return _ahead(facts, (28, 60, 120), 0.01, 0.15)


def released_far_ahead(facts: Facts) -> Measured:
    """W3: the same over 28 and 60 days, where it is plain: from 8 % to 45 % of what is owed."""
    return _ahead(facts, (28, 60), 0.08, 0.45)


def _ahead(facts: Facts, spans: tuple[int, ...], low: float, high: float) -> Measured:
    now, ahead, seen = _highest_lead(facts, 0), np.zeros(facts.view.count), facts.days(400, end="bank")
    fen, days = ahead, ahead
    for span in spans:
        found = np.where(seen >= span + 2 * RELEASE_LAG_DAYS, now - _highest_lead(facts, span), 0)
        days, fen = np.where(found > fen, span, days), np.maximum(found, fen)
    share = ratio(fen, np.maximum(facts.owed, 1))
    known = facts.heard & (seen >= spans[0] + 2 * RELEASE_LAG_DAYS) | ~facts.custody
    return Measured(
        intensity=ramp(share, low, high) * facts.custody, known=known,
        figures={"ahead_fen": fen, "ahead_share": share, "days": days},
    )


def _highest_lead(facts: Facts, before: int) -> Floats:
    """The most that releases were ahead of earnings on 10 days, counted from one fixed day long before."""
    # Told from the end backwards: where it stood on a day is where it stands now less what came after that day.
    came = facts.total("debits_fen", before, end="bank") - facts.total("earned_fen", before, end="bank")
    best = -came
    for back in range(before, before + RELEASE_LAG_DAYS - 1):
        came = came + facts.total("debits_fen", 1, end="bank", before=back)
        came = came - facts.total("earned_fen", 1, end="bank", before=back)
        best = np.maximum(best, -came)
    return best


def outside(facts: Facts) -> Measured:
    """W4: the share of what families were charged whose credit never came to the account.

    45 days with at least 5 charges, else 120 with at least 3. One charge in twenty that nobody matches is usual, and
    of few charges more by chance (two standard deviations). From there to 35 % more.
    """
    few = facts.total("charges", 45, end="bank") < 5
    charged, unseen, charges = (
        np.where(few, facts.total(name, 120, end="bank"), facts.total(name, 45, end="bank"))
        for name in ("charged_fen", "unseen_fen", "charges")
    )
    # What is missing was asked for eleven days before: it may be more than what was charged since.
    share = np.minimum(ratio(unseen, charged), 1)
    usual = UNMATCHED_SHARE + 2 * np.sqrt(UNMATCHED_SHARE * (1 - UNMATCHED_SHARE) / np.maximum(charges, 1))
    enough = facts.total("charges", 120, end="bank") >= 3
    return Measured(
        intensity=ramp(np.where(enough, share - usual, np.nan), 0, 0.35), known=facts.heard & enough,
        figures={
            "unseen_fen": unseen, "unseen_share": share, "days": np.where(few, 120.0, 45.0),
            "beyond": np.where(enough, share - usual, np.nan),
        },
    )


def mostly_outside(facts: Facts) -> Measured:
    """W4: the same where it is a large part: from 20 % beyond the usual to 60 %."""
    found = outside(facts)
    return Measured(intensity=ramp(found.figures["beyond"], 0.2, 0.6), known=found.known, figures=found.figures)


def manual_releases(facts: Facts) -> Measured:
    """W18: debits of the last 28 days that no lesson stands behind, over what is owed; the statements of all 28 days.

    Floor: beyond their usual share of the credits, 43 to 192 days ago. From 2 % to 10 % of what is owed.
    """
    manual = facts.total("manual_fen", 28, end="bank")
    usual = np.nan_to_num(ratio(
        facts.total("manual_fen", 150, end="bank", before=42), facts.total("credits_fen", 150, end="bank", before=42)
    ))
    # In custody no release may be without its lesson, however usual.
    drawn = np.where(facts.custody, 0, usual) * facts.total("credits_fen", 28, end="bank")
    share = ratio(np.maximum(manual - drawn, 0), np.maximum(facts.owed, 1))
    known = facts.heard & (facts.days(28, end="bank") >= 28)
    return Measured(
        intensity=ramp(share, 0.02, 0.1), known=known, figures={"manual_fen": manual, "manual_share": share}
    )
