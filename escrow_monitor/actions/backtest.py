"""Replaying a past through methods: which ones a person named, on every core, put together as one result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from escrow_monitor.domain.accounts import Account, Mode
from escrow_monitor.domain.clauses import Fixed, FloorTerms, FullLiability, RatioOf, RatioWindow
from escrow_monitor.domain.closure.back_test import (
    LEAD_IN_DAYS,
    NEVER,
    Calibration,
    Fates,
    Said,
    Score,
    ToldAlert,
    calibration,
    replay,
    score,
    told_alerts,
)
from escrow_monitor.domain.closure.forecast import band80_coverage
from escrow_monitor.domain.closure.index import HORIZONS, Model
from escrow_monitor.domain.closure.methods import TOP_UP_WORKING_DAYS, FloorMethod, IndexMethod, Method, why_not
from escrow_monitor.domain.closure.series import Peers, Series
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_pack

HISTORY_DAYS_MIN = 90
"""Days of records below which no morning is judged."""
FIRST_DAY = 120
"""The first evaluated morning of a past, unless a later one is asked for."""
GROUP_MAX = 250
"""Institutions that are replayed together, at most: few enough to move a bar now and then."""
FORECAST_STEP_DAYS = 14
SMALL = 20
"""So few institutions are replayed before another process has begun."""
CURRENCY = "CNY"
CLOSURE_WATCH = IndexMethod()
BASELINES: tuple[Method, ...] = (
    CLOSURE_WATCH,
    *(
        FloorMethod(name=name, custody=(terms,), others=(terms,))
        for name, terms in (
            ("static_floor", RatioWindow(ratio=Fraction(1, 5), months=3, of=RatioOf.CHARGES)),
            ("below_obligation", FullLiability()),
        )
    ),
)
"""What every back-test compares."""

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTest:
    """The result: a score a method, how far the chances and the forecast can be believed, and all that was said."""

    about: Mapping[str, Any]
    first: date
    last: date
    scores: tuple[Score, ...]
    calibrations: tuple[Calibration, ...]
    forecast: Mapping[str, Any]
    alerts: tuple[ToldAlert, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready: an object a method by its name, and what belongs to none of them."""
        return {
            **{one.method: one.as_json() for one in self.scores},
            "forecast": dict(self.forecast),
            "calibration": [one.as_json() for one in self.calibrations],
            "past": {**self.about, "from": self.first.isoformat(), "to": self.last.isoformat()},
        }


def methods_of(words: Sequence[str], book: PolicyBook, *, on: date) -> tuple[Method, ...]:
    """The three that are always compared, and each policy that is named. Raises UsageError, PolicyError.

        floor:0.30            a floor of 30 % of the charges of three calendar months
        floor:0.30:6:credits  of six months' credits on the account
        watch:0.05,0.1,0.3    the closure watch with yellow, orange and red from these chances within 60 days
        cn-110000             the floors of a loaded policy pack and of the wider ones it stands in
        draft.toml            the same of a pack in a file
    """
    named = [_named(word, book, on) for word in dict.fromkeys(words)]
    return (*BASELINES, *(one for one in named if one.name not in {base.name for base in BASELINES}))


def span(
    *, starts_on: date, days: int, first: date | None, last: date | None, not_before: date | None = None
) -> tuple[int, int]:
    """The first and the last evaluated morning of a past, as columns. Raises UsageError where they are not in it.

    Nothing is evaluated while too little is known to say what is usual, nor before `not_before`.
    """
    ends_on = starts_on + timedelta(days=days - 1)
    if days - 1 < FIRST_DAY:
        raise UsageError(
            f"{days} days are known, from {starts_on} to {ends_on}: at least {FIRST_DAY + 1} are needed, for the first "
            f"{FIRST_DAY} only show what is usual"
        )
    begins = max(starts_on + timedelta(days=FIRST_DAY), not_before or starts_on)
    from_, to = first or begins, last or ends_on
    if not begins <= from_ <= to <= ends_on:
        raise UsageError(f"mornings from {begins} to {ends_on} can be evaluated, not those from {from_} to {to}")
    return (from_ - starts_on).days, (to - starts_on).days


def _named(word: str, book: PolicyBook, on: date) -> Method:
    kind, _, rest = word.partition(":")
    if kind == "floor":
        return _floor(word, rest.split(":"))
    if kind == "watch":
        return _watch(word, rest.split(","))
    if word.endswith(".toml"):
        if not Path(word).is_file():
            raise UsageError(f"{word}: no such policy file")
        pack = load_pack(Path(word))
        others = (each for each in book.packs.values() if each.id != pack.id)
        return policy_method(pack.id, PolicyBook([*others, pack]), on=on)
    return policy_method(word, book, on=on)


def _floor(word: str, parts: Sequence[str]) -> Method:
    wrong = UsageError(
        f"{word!r} is not a floor: write floor:0.30 for 30 % of three months' charges, or floor:0.30:6:credits"
    )
    ratio_text, months_text, of_text = (*parts, *("", "3", "charges")[len(parts):]) if len(parts) <= 3 else ("",) * 3
    try:
        ratio, months, of = Fraction(ratio_text), int(months_text), RatioOf(of_text)
    except (ValueError, ZeroDivisionError) as error:
        raise wrong from error
    if not 0 < ratio <= 10 or not 1 <= months <= 12:
        raise wrong
    terms = RatioWindow(ratio=ratio, months=months, of=of)
    return FloorMethod(name=word, custody=(terms,), others=(terms,))


def _watch(word: str, parts: Sequence[str]) -> Method:
    try:
        yellow, orange, red = (float(part) for part in parts)
    except ValueError as error:
        raise UsageError(f"{word!r} names no three chances: write watch:0.05,0.1,0.3") from error
    if not 0 < yellow <= orange <= red <= 1:
        raise UsageError(f"{word!r}: chances lie between 0 and 1 and rise from yellow over orange to red")
    return IndexMethod(name=word, thresholds=(yellow, orange, red))


def policy_method(pack_id: str, book: PolicyBook, *, on: date) -> Method:
    """The floors of a pack, as if everybody had been held to it all the time: its clauses as of `on` or their start.

    Raises UsageError where it asks for no floor, or for one of which past days are not kept; PolicyError where there is
    no such pack.
    """
    pack = book.pack(pack_id)
    on = max(on, *(clause.effective_from for clause in pack.clauses)) if pack.clauses else on
    custody, others = (_effective(book, pack_id, mode, on) for mode in (Mode.CUSTODY, Mode.FLOOR))
    floors = tuple(_terms(pack_id, policy) for policy in (custody, others))
    if not any(floors):
        raise UsageError(f"the policy {pack_id} asks for no floor on {on}, so there is nothing of it to replay")
    return FloorMethod(
        name=pack_id, custody=floors[0], others=floors[1], ladder=others.ladder,
        top_up_working_days=TOP_UP_WORKING_DAYS if others.top_up is None else others.top_up.terms.working_days,
    )


def _effective(book: PolicyBook, pack_id: str, mode: Mode, on: date) -> EffectivePolicy:
    return book.effective(
        institution=Institution(uscc="", name="", policy=pack_id),
        account=Account(account_no="", bank="", connector="", currency=CURRENCY, mode=mode), on=on,
    )


def _terms(pack_id: str, policy: EffectivePolicy) -> tuple[FloorTerms, ...]:
    for clause in policy.floor_clauses:
        why = why_not(clause.terms)
        if why is None and isinstance(clause.terms, Fixed) and clause.terms.tiers[-1].amount.currency != CURRENCY:
            why = f"its amounts are in {clause.terms.tiers[-1].amount.currency}"
        if why is not None:
            raise UsageError(f"the policy {pack_id} cannot be replayed: {clause.id}: {why}")
    return tuple(clause.terms for clause in policy.floor_clauses)


def back_test(
    series: Series, fates: Fates, methods: Sequence[Method], model: Model, *, about: Mapping[str, Any], first: int,
    last: int, known_to: int, institutions_per_supervisor: int, processes: int = 1, progress: Progress | None = None,
) -> BackTest:
    """Replay the mornings `first` to `last` (columns) through every method. `known_to`: up to when fates are known.

    The same whatever the number of processes; `progress` counts institutions.
    """
    said = said_of(series, replayed_days(first, last), methods, model, processes=processes, progress=progress)
    return finished(
        said, fates, methods, about=about, first=first, last=last, known_to=known_to,
        institutions_per_supervisor=institutions_per_supervisor, forecast=coverage_of(series, fates, first, last),
    )


def replayed_days(first: int, last: int) -> range:
    """The mornings that are replayed so that those from `first` to `last` can be evaluated."""
    return range(max(HISTORY_DAYS_MIN, first - LEAD_IN_DAYS), last + 1)


def coverage_of(series: Series, fates: Fates, first: int, last: int) -> dict[str, Any]:
    """How often what came lay within the forecast's 80 % band, balance and owed, from a morning every two weeks."""
    found = band80_coverage(series, range(first, last + 1, FORECAST_STEP_DAYS))
    healthy = np.asarray(fates.closes == NEVER)

    def told(**which: Any) -> float | None:
        share = found.share(**which)
        return None if share is None else round(share, 4)

    return {
        "band80_coverage": told(),
        "band80_coverage_by_days": {str(days): told(horizon=days) for days in found.horizons},
        "band80_coverage_balance": told(figure="balance"), "band80_coverage_owed": told(figure="owed"),
        "band80_coverage_healthy": told(rows=healthy), "band80_coverage_closing": told(rows=~healthy),
        "forecasts": int(sum(counts.sum() for counts in found.asked.values())),
    }


def said_of(
    series: Series, days: Sequence[int], methods: Sequence[Method], model: Model, *, processes: int = 1,
    progress: Progress | None = None,
) -> Said:
    """What every method says on the mornings `days`, some institutions after the others, all of them their peers."""
    peers, count = series.peers(), len(series.ids)
    # As many groups as there are processes, or twice, thrice as many: none of them waits for the last.
    turns = ceil(count / (processes * GROUP_MAX))
    size = ceil(count / (processes * turns))
    groups = (series.of(range(first, min(first + size, count))) for first in range(0, count, size))
    work = partial(_replayed, peers=peers, days=days, methods=methods, model=model)
    parts: list[Said] = []
    for part in _mapped(work, groups, processes if count > SMALL else 1):
        parts.append(part)
        if progress is not None:
            progress(min(len(parts) * size, count), count)
    return Said.together(parts)


def finished(
    said: Said, fates: Fates, methods: Sequence[Method], *, about: Mapping[str, Any], first: int, last: int,
    known_to: int, institutions_per_supervisor: int, forecast: Mapping[str, Any],
) -> BackTest:
    """Score what was said."""
    return BackTest(
        about={**about, "institutions": len(fates.ids), "institutions_per_supervisor": institutions_per_supervisor},
        first=fates.on(first), last=fates.on(last),
        scores=tuple(
            score(
                said, method, fates, first=first, last=last, institutions_per_supervisor=institutions_per_supervisor
            )
            for method in methods
        ),
        calibrations=tuple(
            calibration(said, fates, horizon, first=first, last=last, known_to=known_to) for horizon in HORIZONS
        ),
        forecast=forecast, alerts=tuple(told_alerts(said, CLOSURE_WATCH.name, fates, first=first, last=last)),
    )


def _replayed(group: Series, *, peers: Peers, days: Sequence[int], methods: Sequence[Method], model: Model) -> Said:
    views = (group.view(day, peers=peers) for day in days)
    return replay(views, methods, model, days=days, count=len(group.ids))


def _mapped(work: Callable[[Series], Said], groups: Iterable[Series], processes: int) -> Iterable[Said]:
    if processes <= 1:
        yield from map(work, groups)
        return
    # New processes, not copies of this one: a copy would share the locks of a progress bar's thread.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, groups)


__all__ = [
    "BASELINES", "BackTest", "back_test", "coverage_of", "finished", "methods_of", "policy_method", "replayed_days",
    "said_of", "span",
]
