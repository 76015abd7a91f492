"""W5 and W9 to W11: how much is taught, confirmed, sold and at what price, against its own usual and all others."""

from __future__ import annotations

import numpy as np

from escrow_monitor.domain.closure.series import Bools, Floats
from escrow_monitor.domain.closure.windows import End, Facts, Measured, ramp, ratio

USUAL_DAYS = 220
"""So many days before the last 90 are what sales are compared with."""
USUAL_DAYS_MIN = 60
"""Days that must be known before an institution has a usual."""


def over_cap(facts: Facts) -> Measured:
    """W5: the share beyond the fee caps of contracts signed in 60 days, over its usual; at least 3 and 8 before."""
    lately, usual, enough = _pair(facts, "over_cap", "signed", days=60, least=3)
    rise = lately - usual
    return Measured(
        intensity=ramp(np.where(enough, rise, np.nan), 0.1, 0.7), known=enough,
        figures={"lately_share": lately, "usual_share": usual},
    )


def long_packages(facts: Facts) -> Measured:
    """W5: lessons sold at once, 60 days against the usual; at least 3 contracts and 8 before. From 25 to 120 % more."""
    lately, usual, enough = _pair(facts, "lessons_sold", "signed", days=60, least=3)
    more = ratio(lately, np.nan_to_num(usual))
    return Measured(
        intensity=ramp(np.where(enough, more, np.nan), 1.25, 2.2), known=enough,
        figures={"lately": lately, "usual": usual},
    )


def idle(facts: Facts) -> Measured:
    """W9: lessons taught in 14 days per contract, against its own usual and the others in these days.

    Holidays empty everybody's classrooms. At least 5 contracts and 60 days before. From 40 % fewer to 90 % fewer.
    """
    return _fewer(facts, "taught", days=14, low=0.4, high=0.9)


def teaching_down(facts: Facts) -> Measured:
    """W9: the same over 42 days, where it lasts: from 12 % fewer to 50 % fewer."""
    return _fewer(facts, "taught", days=42, low=0.12, high=0.5)


def enrolment_down(facts: Facts) -> Measured:
    """W11: contracts signed in 70 days against its own usual and the others: from 30 % fewer to 80 % fewer.

    At least 6 were to be expected.
    """
    short, long = 70, 240
    signed, before = facts.total("signed", short, end="now"), facts.total("signed", long, end="now", before=short)
    season = facts.season("signed", short=short, long=long, gap=0, end="now")
    days = facts.days(long, end="now", before=short)
    expected = ratio(before, days) * short * season
    fewer = 1 - ratio(signed + 1, np.nan_to_num(expected) + 1)
    enough = (np.nan_to_num(expected) >= 6) & (days >= USUAL_DAYS_MIN)
    return Measured(
        intensity=ramp(np.where(enough, fewer, np.nan), 0.3, 0.8), known=enough,
        figures={"signed": signed, "expected": expected},
    )


def deemed_share(facts: Facts) -> Measured:
    """W10: of the lessons counted in 42 days, the share that nobody confirmed; at least 20. From 12 % to 40 %."""
    counted = facts.total("counted", 42, end="platform")
    share = ratio(facts.total("deemed", 42, end="platform"), counted)
    enough = counted >= 20
    return Measured(
        intensity=ramp(np.where(enough, share, np.nan), 0.12, 0.4), known=enough,
        figures={"deemed_share": share, "counted": counted},
    )


def excess_lessons(facts: Facts) -> Measured:
    """W10: lessons recorded in 28 days per contract, against its own usual and the others: from 15 % more to 75 %.

    At least 5 contracts and 60 days before; of few lessons a part is chance (one and a half standard deviations).
    """
    rate, enough, taught = _rate(facts, "taught", days=28, end="platform")
    chance = 1.5 * np.nan_to_num(rate / np.sqrt(np.maximum(taught, 1)))
    return Measured(
        intensity=ramp(np.where(enough, rate - chance, np.nan), 1.15, 1.75), known=enough,
        figures={"taught": taught, "more_share": rate - 1},
    )


def promotion(facts: Facts) -> Measured:
    """W11: what families were charged in 42 days, against its own usual and the others: from 1.7 times to 3.5 times.

    At least 5 charges, and 60 days before.
    """
    short, long = 42, 180
    charged = facts.total("charged_fen", short, end="platform")
    days = facts.days(long, end="platform", before=short)
    usual = ratio(facts.total("charged_fen", long, end="platform", before=short), days) * short
    season = facts.season("charged_fen", short=short, long=long, gap=0, end="platform")
    times = ratio(charged, np.nan_to_num(usual * season))
    enough = (days >= USUAL_DAYS_MIN) & ~np.isnan(season)
    some = facts.total("charges", short, end="platform") >= 5
    return Measured(
        intensity=ramp(np.where(enough & some, times, np.nan), 1.7, 3.5), known=enough,
        figures={"charged_fen": charged, "times": times},
    )


def discount(facts: Facts) -> Measured:
    """W11: the price of a lesson sold in 60 days against the usual; at least 3 contracts and 8 before.

    From 8 % less to 40 % less.
    """
    lately, usual, enough = _pair(facts, "fees_sold_fen", "lessons_sold", days=60, least=3)
    less = 1 - ratio(lately, np.nan_to_num(usual))
    return Measured(
        intensity=ramp(np.where(enough, less, np.nan), 0.08, 0.4), known=enough,
        figures={"price_fen": lately, "usual_fen": usual, "less_share": less},
    )


def _pair(facts: Facts, part: str, whole: str, *, days: int, least: int) -> tuple[Floats, Floats, Bools]:
    """One figure per another: in the last `days`, in USUAL_DAYS before a month's gap, and whether both are enough."""
    gap = days + 30
    lately = ratio(facts.total(part, days, end="platform"), facts.total(whole, days, end="platform"))
    usual = ratio(
        facts.total(part, USUAL_DAYS, end="platform", before=gap),
        facts.total(whole, USUAL_DAYS, end="platform", before=gap),
    )
    enough = (facts.total("signed", days, end="platform") >= least) & (
        facts.total("signed", USUAL_DAYS, end="platform", before=gap) >= 8
    )
    return lately, usual, enough


def _fewer(facts: Facts, name: str, *, days: int, low: float, high: float) -> Measured:
    rate, enough, count = _rate(facts, name, days=days, end="now")
    return Measured(
        intensity=ramp(np.where(enough, 1 - rate, np.nan), low, high), known=enough,
        figures={"count": count, "fewer_share": 1 - rate, "days": np.full(facts.view.count, float(days))},
    )


def _rate(facts: Facts, name: str, *, days: int, end: End) -> tuple[Floats, Bools, Floats]:
    """A count per active contract, over its usual, over the same of all others; whether enough; the count."""
    count, active = facts.total(name, days, end=end), facts.total("active", days, end=end)
    before = days + 14
    usual = ratio(facts.total(name, 180, end=end, before=before), facts.total("active", 180, end=end, before=before))
    season = facts.season(name, short=days, long=180, gap=14, end=end)
    rate = ratio(ratio(count, active), np.nan_to_num(usual * season))
    enough = (active >= 5 * days) & (facts.days(180, end=end, before=before) >= USUAL_DAYS_MIN) & ~np.isnan(season)
    return rate, enough, count
