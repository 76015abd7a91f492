"""A back-test that somebody asked for on a page: done in a process of its own, so that the web goes on answering."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import date, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from escrow_monitor.errors import EscrowMonitorError, OutsideError, UsageError

if TYPE_CHECKING:
    from escrow_monitor.actions.backtest import BackTest
    from escrow_monitor.settings import Settings
    from escrow_monitor.web.ports import AskedBackTest, Progress

QUIET_SECONDS_MAX = 900
"""So long it may be at work without a word."""
NICE = 10
PER_SUPERVISOR = 200
STEP_DAYS = 7
CITY_ENDS_YEAR = 2026
"""The last year whose working days are known."""


def asked_back_test(settings: Settings, asked: AskedBackTest, hear: Progress) -> Mapping[str, Any]:
    """Do it and return the document of its result. Raises UsageError for what cannot be replayed, OutsideError."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_apart, args=(theirs, settings, asked), daemon=True, name="back-test")
    process.start()
    theirs.close()
    try:
        while True:
            if not ours.poll(QUIET_SECONDS_MAX):
                raise OutsideError(f"the back-test said nothing for {QUIET_SECONDS_MAX // 60} minutes and was ended")
            word, said = ours.recv()
            if word == "done":
                document: Mapping[str, Any] = said
                return document
            if word == "refused":
                raise UsageError(said)
            hear(*said)
    except EOFError as error:
        raise OutsideError("the back-test ended without a result: the log says why") from error
    finally:
        ours.close()
        process.terminate()
        process.join(10)


def _apart(out: Connection, settings: Settings, asked: AskedBackTest) -> None:
    """What the other process does."""
    with contextlib.suppress(OSError):
        os.nice(NICE)

    def hear(done: int, total: int | None) -> None:
        out.send(("far", (done, total)))

    try:
        found = _of_city(settings, asked, hear) if asked.city else _of_records(settings, asked, hear)
        out.send(("done", found.as_json()))
    except EscrowMonitorError as error:
        out.send(("refused", str(error)))


def _of_city(settings: Settings, asked: AskedBackTest, hear: Progress) -> BackTest:
    from escrow_monitor.actions.backtest import back_test, methods_of, span
    from escrow_monitor.domain.closure.back_test import Fates
    from escrow_monitor.domain.closure.index import shipped_model
    from escrow_monitor.sandbox.city.city import City
    from escrow_monitor.sandbox.city.plans import CitySettings
    from escrow_monitor.sandbox.city.series import series_and_truth
    from escrow_monitor.wiring import policies_of

    city = City(
        seed=asked.seed, institutions=asked.institutions, days=365 * asked.years, settings=CitySettings(),
        starts_on=date(CITY_ENDS_YEAR + 1 - max(3, asked.years), 1, 1),
    )
    columns = span(starts_on=city.starts_on, days=city.days, first=None, last=None)
    methods = methods_of(asked.policies, policies_of(settings), on=city.ends_on)
    if not any(plan.closes is not None and columns[0] <= plan.closes <= columns[1] for plan in city.plans):
        raise UsageError("no institution of this city closes, so there is nothing to foresee: take more institutions")
    # Living is the first half of the bar, replaying the second.
    series, truth = series_and_truth(
        city, processes=1, progress=lambda done, total: hear(done, None if total is None else 2 * total)
    )
    fates = Fates(
        ids=series.ids, closes=truth.closes, owed_fen=truth.owed_fen, balance_fen=series.values["balance_fen"],
        causes=tuple(None if each is None else each.value for each in truth.endings), starts_on=city.starts_on,
    )
    about = {
        "source": "city", "seed": city.seed, "starts_on": city.starts_on.isoformat(),
        "ends_on": city.ends_on.isoformat(), "noise": city.settings.noise, "strength": list(city.settings.strength),
        "model": shipped_model().version,
    }
    return back_test(
        series, fates, methods, shipped_model(), about=about, first=columns[0], last=columns[1],
        known_to=city.days - 1, institutions_per_supervisor=PER_SUPERVISOR, processes=1,
        progress=lambda done, total: hear(done + (total or 0), None if total is None else 2 * total),
    )


def _of_records(settings: Settings, asked: AskedBackTest, hear: Progress) -> BackTest:
    from escrow_monitor.actions.backtest import methods_of
    from escrow_monitor.actions.recorded_past import recorded_back_test, recorded_past
    from escrow_monitor.domain.closure.index import shipped_model
    from escrow_monitor.wiring import assembled

    with assembled(settings, claimant=f"back-test-{os.getpid()}") as app, app.database.read() as session:
        past = recorded_past(
            session, first=None, last=None, now=app.clock.now(), policies=app.policies, hindsight=asked.hindsight
        )
        methods = methods_of(asked.policies, app.policies, on=past.series.starts_on + timedelta(days=past.last))
        about = {
            "source": "records", "hindsight": asked.hindsight, "step_days": 1 if asked.hindsight else STEP_DAYS,
            "model": shipped_model().version,
        }
        return recorded_back_test(
            session, past, methods, shipped_model(), about=about, institutions_per_supervisor=PER_SUPERVISOR,
            hindsight=asked.hindsight, step_days=STEP_DAYS, processes=1, progress=hear,
        )
