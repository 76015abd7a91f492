"""The command that replays a past, recorded or a sandbox city's, and says how early each method would have warned."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of, parse_day
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from datetime import date

    from escrow_monitor.actions.backtest import BackTest
    from escrow_monitor.sandbox.city.city import City

CITY_ENDS_YEAR = 2026
"""The last year whose working days are known: a city of a few years ends with it."""
CITY_YEARS_MAX = 10.0
PER_SUPERVISOR = 200
RULE = "closure_watch"
COLUMNS = (
    "method", "closures", "recall_red_14d", "lead_days_first_orange_median", "lead_days_p10",
    "false_reds_per_100_institution_years", "protected_share", "alerts_per_supervisor_week",
)
MISSES_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("backtest")(backtest)


def backtest(
    context: typer.Context,
    city: Annotated[bool, typer.Option("--city", help="Replay a sandbox city instead of recorded history.")] = False,
    institutions: Annotated[int | None, typer.Option(help="With --city: how many; default 600.")] = None,
    years: Annotated[float | None, typer.Option(help="With --city: how long it lives; default 2.")] = None,
    seed: Annotated[int | None, typer.Option(help="With --city: which one; default 77.")] = None,
    noise: Annotated[float | None, typer.Option(help="With --city: how irregular healthy days are; default 1.")] = None,
    strength: Annotated[str | None, typer.Option(
        help="With --city: how plainly a way of closing shows, from to, as in the default 0.7,1.3."
    )] = None,
    policy: Annotated[list[str] | None, typer.Option(
        help="Compare this too: a policy pack's id or file, floor:0.30 (of three months' charges), "
        "floor:0.30:6:credits, or watch:0.05,0.1,0.3 (other thresholds). May be repeated."
    )] = None,
    from_: Annotated[str | None, typer.Option(
        "--from", help="The first evaluated morning; default as soon as enough is known."
    )] = None,
    to: Annotated[str | None, typer.Option(help="The last evaluated morning; default the last there is.")] = None,
    hindsight: Annotated[bool, typer.Option(
        "--hindsight", help="Recorded history as it is known now, every day known at its end: for late records."
    )] = False,
    step: Annotated[int, typer.Option(
        help="Recorded history without --hindsight: every so many mornings; 1 is exact and takes seven times as long."
    )] = 7,
    per_supervisor: Annotated[int, typer.Option(help="How many institutions a supervisor has.")] = PER_SUPERVISOR,
    alerts: Annotated[Path | None, typer.Option(
        help="Write the closure watch's alerts here, JSON Lines: each severity by itself, a red one within an orange."
    )] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report here, one HTML file.")] = None,
    processes: Annotated[int | None, typer.Option(help="Default: as many as this machine has cores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a past through the closure watch, plain floors and policies: how early, and how often in vain.

    Every morning knows only what had arrived by then. Always compared: closure_watch, static_floor (a fifth of three
    months' charges) and below_obligation (what the books say is owed).
    """
    frame = frame_of(context)
    first, last = parse_day(from_) if from_ else None, parse_day(to) if to else None
    if first and last and first > last:
        raise UsageError(f"--from {first} lies after --to {last}")
    if not 1 <= step <= 31:
        raise UsageError("--step lies between 1 and 31 days")
    if per_supervisor < 1:
        raise UsageError("a supervisor has at least one institution")
    words, cores = policy or [], processes or os.cpu_count() or 1
    if city:
        if hindsight:
            raise UsageError("--hindsight is for recorded history: a city's statements come when they come")
        made = _city(institutions, years, seed, noise, strength)
        found = _of_city(frame, made, words, first, last, per_supervisor=per_supervisor, processes=cores)
    else:
        if any(each is not None for each in (institutions, years, seed, noise, strength)):
            raise UsageError("--institutions, --years, --seed, --noise and --strength describe a city: add --city")
        found = _of_records(
            frame, words, first, last, per_supervisor=per_supervisor, processes=cores, hindsight=hindsight, step=step
        )
    document = found.as_json()
    if alerts is not None:
        _write_alerts(found, alerts)
    if report is not None:
        from escrow_monitor.web.back_test import back_test_page

        report.write_text(back_test_page(document, frame.language), "utf-8")
    if as_json:
        print_json(document)
    else:
        _tell(frame, document, [path for path in (alerts, report) if path is not None])


def _city(
    institutions: int | None, years: float | None, seed: int | None, noise: float | None, strength: str | None
) -> City:
    from datetime import date
    from math import ceil

    from escrow_monitor.sandbox.city.city import City
    from escrow_monitor.sandbox.city.plans import CitySettings

    lasts = 2.0 if years is None else years
    if not 0 < lasts <= CITY_YEARS_MAX:
        raise UsageError(f"a city lasts more than 0 and at most {CITY_YEARS_MAX:g} years")
    chosen: dict[str, Any] = {}
    if noise is not None:
        if not 0 <= noise <= 10:
            raise UsageError("--noise lies between 0 and 10")
        chosen["noise"] = noise
    if strength is not None:
        try:
            low, high = (float(each) for each in strength.split(","))
        except ValueError as error:
            raise UsageError(f"{strength!r} is no strength: write two numbers, as in 0.7,1.3") from error
        if not 0 < low <= high <= 5:
            raise UsageError(f"--strength {strength}: both lie between 0 and 5, the lower one first")
        chosen["strength"] = (low, high)
    return City(
        seed=77 if seed is None else seed, institutions=600 if institutions is None else institutions,
        starts_on=date(CITY_ENDS_YEAR + 1 - max(3, ceil(lasts)), 1, 1), days=round(365 * lasts),
        settings=CitySettings(**chosen),
    )


def _of_city(
    frame: Frame, city: City, words: Sequence[str], first: date | None, last: date | None, *, per_supervisor: int,
    processes: int,
) -> BackTest:
    from escrow_monitor.actions.backtest import back_test, methods_of, span
    from escrow_monitor.domain.closure.back_test import Fates
    from escrow_monitor.domain.closure.index import shipped_model
    from escrow_monitor.sandbox.city.series import series_and_truth
    from escrow_monitor.wiring import policies_of

    columns = span(starts_on=city.starts_on, days=city.days, first=first, last=last)
    methods = methods_of(words, policies_of(frame.settings), on=city.ends_on)
    if not any(plan.closes is not None and columns[0] <= plan.closes <= columns[1] for plan in city.plans):
        raise UsageError(
            f"no institution of this city closes between {city.calendar.date_of(columns[0])} and "
            f"{city.calendar.date_of(columns[1])}, so there is nothing to foresee: take more --institutions or --years"
        )
    with progress("institutions of the city") as hear:
        series, truth = series_and_truth(city, processes=processes, progress=hear)
    fates = Fates(
        ids=series.ids, closes=truth.closes, owed_fen=truth.owed_fen, balance_fen=series.values["balance_fen"],
        causes=tuple(None if each is None else each.value for each in truth.endings), starts_on=city.starts_on,
    )
    settings = city.settings
    about = {
        "source": "city", "seed": city.seed,
        "starts_on": city.starts_on.isoformat(), "ends_on": city.ends_on.isoformat(), "noise": settings.noise,
        "strength": list(settings.strength), "model": shipped_model().version,
    }
    with progress("institutions replayed") as hear:
        return back_test(
            series, fates, methods, shipped_model(), about=about, first=columns[0], last=columns[1],
            known_to=city.days - 1, institutions_per_supervisor=per_supervisor, processes=processes, progress=hear,
        )


def _of_records(
    frame: Frame, words: Sequence[str], first: date | None, last: date | None, *, per_supervisor: int, processes: int,
    hindsight: bool, step: int,
) -> BackTest:
    from escrow_monitor.actions.backtest import methods_of
    from escrow_monitor.actions.recorded_past import LATE_DAYS, recorded_back_test, recorded_past
    from escrow_monitor.domain.closure.index import shipped_model

    with frame.app() as app, app.database.read() as session:
        past = recorded_past(
            session, first=first, last=last, now=app.clock.now(), policies=app.policies,
            hindsight=hindsight,
        )
        methods = methods_of(words, app.policies, on=past.series.starts_on + timedelta(days=past.last))
        if not hindsight and past.late_share > 0.5:
            warn(frame.pick(
                zh=f"多数对账单在其日期 {LATE_DAYS} 天之后才登记，当时几乎一无所知："
                   "可加 --hindsight，按每日日终即已知回放",
                en=f"most statements were recorded more than {LATE_DAYS} days after their day, so little was known on "
                   "these mornings: --hindsight takes every day as known at its end",
            ))
        about = {
            "source": "records", "hindsight": hindsight,
            "step_days": 1 if hindsight else step,
            "model": shipped_model().version,
        }
        with progress("institutions replayed" if hindsight else "mornings replayed") as hear:
            return recorded_back_test(
                session, past, methods, shipped_model(), about=about, institutions_per_supervisor=per_supervisor,
                hindsight=hindsight, step_days=step, processes=processes, progress=hear,
            )


def _write_alerts(found: BackTest, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for one in found.alerts:
            resolved = None if one.resolved_on is None else one.resolved_on.isoformat()
            file.write(json.dumps({
                "uscc": one.uscc, "severity": one.severity, "rule": RULE, "opened_on": one.opened_on.isoformat(),
                "resolved_on": resolved,
            }) + "\n")


def _tell(frame: Frame, document: Mapping[str, Any], written: Sequence[Path]) -> None:
    methods = [one for one in document.values() if isinstance(one, dict) and "method" in one]
    print_table(COLUMNS, [[one[name] for name in COLUMNS] for one in methods])
    watch, past, coverage = methods[0], document["past"], document["forecast"].get("band80_coverage")
    say("")
    source = {
        "city": frame.pick(zh="沙盒城市", en="sandbox city"),
        "records": frame.pick(zh="已登记的历史", en="recorded history"),
    }[past["source"]]
    say(frame.pick(
        zh=f"{source}，{past['institutions']} 家机构，{past['from']} 至 {past['to']}，"
           f"每名监管人员 {past['institutions_per_supervisor']} 家",
        en=f"{source}, {past['institutions']} institutions, {past['from']} to {past['to']}, "
           f"{past['institutions_per_supervisor']} institutions a supervisor",
    ))
    if coverage is not None:
        say(frame.pick(
            zh=f"预测的 80% 区间实际覆盖 {100 * coverage:.1f}%",
            en=f"the forecast's 80 % band held {100 * coverage:.1f} %",
        ))
    if watch["misses"]:
        shown = ", ".join(f"{one['uscc']} {one['cause']} {one['closed_on']}" for one in watch["misses"][:MISSES_SHOWN])
        count, left = len(watch["misses"]), len(watch["misses"]) - MISSES_SHOWN
        say(frame.pick(
            zh=f"关停前 14 天未发红色：{count} 家：{shown}" + (f"，另有 {left} 家" if left > 0 else ""),
            en=f"no red 14 days before: {count}: {shown}" + (f" and {left} more" if left > 0 else ""),
        ))
    for path in written:
        say(str(path))
