"""What the pages say of the closure watch: how likely, since when, why, what is at stake and what could be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple, cast

from escrow_monitor.domain.closure.outlook import LEVELS, Ahead, Outlook, Reason
from escrow_monitor.domain.findings import Level, Sentence
from escrow_monitor.domain.institutions import Institution, InstitutionStatus
from escrow_monitor.domain.rules.closure_watch import STEPS, percent_words
from escrow_monitor.records.closure.watches import ClosureStanding, closure_standing, outlook_history
from escrow_monitor.records.database import Session

CHART_DAYS = 90
CHART_WIDTH, CHART_HEIGHT = 360, 72
"""Of the small drawing of levels and chances."""
LATE_AFTER = timedelta(days=2)
"""An outlook older than this is no word about today."""


class Morning(NamedTuple):
    """A morning that was kept: the level held, and how likely a closure within 60 days was."""

    on: date
    level: Level | None
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonView:
    """One reason: its sentence, whether it is new this week, and its weight beside the heaviest, 0 to 100."""

    said: Reason
    bar: int
    points: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsView:
    """The small drawing: a rectangle (x, width, y, height) for each time a level was held, and the line of chances."""

    blocks: Sequence[tuple[Level, str, str, str, str]]
    line: str
    first: Morning
    last: Morning
    highest: Morning


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureView:
    """What the page of an institution says. `state` is never, ended, late, unsure, calm or warned.

    `since` is the first morning of the level that is held, `warned_since` that of any level without a break.
    """

    state: str
    outlook: Outlook | None = None
    judged_at: datetime | None = None
    chances: Sequence[tuple[int, str]] = ()
    chance_high: str = ""
    reasons: Sequence[ReasonView] = ()
    since: date | None = None
    warned_since: date | None = None
    breach: Sentence | None = None
    proposed: Sentence | None = None
    steps: StepsView | None = None


def closure_view(session: Session, institution: Institution, *, today: date) -> ClosureView:
    """Ask what the closure watch said of an institution."""
    standing, mornings = closure_standing(session, institution.uscc), mornings_of(session, institution.uscc)
    if standing is None:
        return ClosureView(state="ended" if institution.status is InstitutionStatus.CLOSED else "never")
    one = standing.outlook
    heaviest = max((reason.points for reason in one.reasons), default=1.0)
    proposed = STEPS.get(one.level) if one.level is not None else None
    return ClosureView(
        state=_state(standing, institution, today), outlook=one, judged_at=standing.judged_at,
        chances=[(days, percent_words(chance)) for days, chance in sorted(one.chances.items())],
        chance_high=percent_words(one.chance_high),
        reasons=[
            ReasonView(said=reason, bar=max(2, round(reason.points / heaviest * 100)), points=f"{reason.points:.1f}")
            for reason in one.reasons
        ],
        since=_since(mornings, one), warned_since=_warned_since(mornings, one),
        breach=Sentence(zh=one.breach_zh, en=one.breach_en),
        proposed=None if proposed is None else Sentence(*proposed), steps=_steps(mornings, one.on),
    )


def mornings_of(session: Session, uscc: str) -> list[Morning]:
    """The kept mornings of an institution, the oldest first."""
    return [
        Morning(
            on=cast("date", one["on"]), level=LEVELS[cast("int", one["held"])], chance=cast("float", one["chance"])
        )
        for one in outlook_history(session, uscc)
    ]


def outlook_json(outlook: Outlook, mornings: Sequence[Morning], *, since: date) -> dict[str, object]:
    """What the chart draws of it, JSON-ready: the forecast in fen by day, and the days on which the level changed.

    `dates`      the forecast's days, its first the last day that was known
    `balance`    `{low, middle, high}`: a value for each of `dates`, 10 %, 50 % and 90 %; `owed` the same
    `levels`     `{on, level}`: the mornings from `since` on that held another level than the one before
    """
    def band(values: Sequence[tuple[int, int, int]]) -> dict[str, object]:
        return {name: [one[place] for one in values] for place, name in enumerate(("low", "middle", "high"))}

    changes = [
        {"on": after.on.isoformat(), "level": after.level}
        for before, after in zip([Morning(since, None, 0), *mornings], mornings, strict=False)
        if after.level is not before.level and after.on >= since
    ]
    return {
        "on": outlook.on.isoformat(), "level": outlook.level, "dates": [day.isoformat() for day in ahead_days(outlook)],
        "balance": band([one.balance for one in outlook.ahead]), "owed": band([one.owed for one in outlook.ahead]),
        "chances": {str(days): chance for days, chance in outlook.chances.items()}, "levels": changes,
    }


def ahead_days(outlook: Outlook) -> list[date]:
    """The days that the forecast is of: its first is the last day that was known, the day before the morning."""
    return [outlook.on + timedelta(days=one.days - 1) for one in outlook.ahead]


def forecast_rows(outlook: Outlook | None) -> list[tuple[date, Ahead]]:
    """The forecast as a table has it, without the day that was known already."""
    if outlook is None:
        return []
    return [(day, one) for day, one in zip(ahead_days(outlook), outlook.ahead, strict=True) if one.days > 0]


def _state(standing: ClosureStanding, institution: Institution, today: date) -> str:
    one = standing.outlook
    if institution.status is InstitutionStatus.CLOSED:
        return "ended"
    if today - one.on >= LATE_AFTER:
        return "late"
    if one.level is not None:
        return "warned"
    return "unsure" if one.unsure else "calm"


def _since(mornings: Sequence[Morning], one: Outlook) -> date | None:
    if one.level is None:
        return None
    found = one.on
    for morning in reversed(mornings):
        if morning.level is not one.level:
            break
        found = morning.on
    return found


def _warned_since(mornings: Sequence[Morning], one: Outlook) -> date | None:
    if one.level is None:
        return None
    found = one.on
    for morning in reversed(mornings):
        if morning.level is None:
            break
        found = morning.on
    return found


def _steps(mornings: Sequence[Morning], on: date) -> StepsView | None:
    """The last CHART_DAYS days; None while fewer than two mornings are known."""
    first = max(mornings[0].on, on - timedelta(days=CHART_DAYS)) if mornings else on
    shown = [morning for morning in mornings if morning.on >= first]
    if len(shown) < 2:
        return None
    days = max(1, (on - first).days + 1)

    def x(day: date) -> float:
        return (day - first).days * CHART_WIDTH / days

    points: list[str] = []
    held: list[tuple[Level, date, date]] = []
    for place, morning in enumerate(shown):
        until = shown[place + 1].on if place + 1 < len(shown) else on + timedelta(days=1)
        y = CHART_HEIGHT - morning.chance * CHART_HEIGHT
        points += [f"{x(morning.on):.1f},{y:.1f}", f"{x(until):.1f},{y:.1f}"]
        if held and held[-1][0] is morning.level and held[-1][2] == morning.on:
            held[-1] = held[-1][0], held[-1][1], until
        elif morning.level is not None:
            held.append((morning.level, morning.on, until))
    blocks = []
    for level, begin, end in held:
        height = LEVELS.index(level) * CHART_HEIGHT / 3
        blocks.append((
            level, f"{x(begin):.1f}", f"{x(end) - x(begin):.1f}", f"{CHART_HEIGHT - height:.1f}", f"{height:.1f}"
        ))
    return StepsView(
        blocks=blocks, line=" ".join(points), first=shown[0], last=shown[-1],
        highest=max(shown, key=lambda morning: (LEVELS.index(morning.level), morning.chance)),
    )


def chance_text(morning: Morning) -> str:
    """How likely it was that morning, as people say it."""
    return percent_words(morning.chance)
