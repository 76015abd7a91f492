"""`demo`: a living sandbox district on an embedded database, or one cycle of it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, print_table, say
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.cli.stage import Stage
    from escrow_monitor.wiring import App


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("demo")(demo)


def demo(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port of the console; 0 takes a free one.")] = 8750,
    dir: Annotated[
        Path | None, typer.Option(help="Keep configuration and database here; default a temporary folder.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same district.")] = 1,
    institutions: Annotated[int, typer.Option(min=1, help="How many institutions.")] = 12,
    families: Annotated[
        int, typer.Option(min=0, max=200, help="How many more, whose contracts and lessons are known as well.")
    ] = 8,
    once: Annotated[
        bool, typer.Option("--once", help="One full cycle without serving: print the report and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A living demo district: fake banks over HTTP, daemon, console, feeds. With --once, one cycle and a report."""
    frame = frame_of(context)
    if as_json and not once:
        raise UsageError("--json goes with --once: a living district has no end to print")

    def play(folder: Path) -> int:
        from escrow_monitor.cli.stage import Stage

        stage = Stage(folder=folder, seed=seed, institutions=institutions, families=families, port=port, once=once)
        return _play(frame, stage, as_json=as_json)

    if dir is not None:
        raise typer.Exit(play(dir))
    with tempfile.TemporaryDirectory(prefix="escrow-demo-") as folder:
        code = play(Path(folder))
    raise typer.Exit(code)


def _play(frame: Frame, stage: Stage, *, as_json: bool) -> int:
    from escrow_monitor.logs import configure

    configure(format="console", level="debug" if frame.debug else "error", stream=sys.stderr)
    if stage.once:
        with stage.opened() as (app, _, _):
            return _report(frame, app, _cycle(app), as_json=as_json)
    return stage.serve(frame)


def _cycle(app: App) -> list[dict[str, object]]:
    """History, pull, load, check, deliver; with progress on a terminal."""
    reports: list[dict[str, object]] = []
    at = app.clock.now()
    for name in (
        "load-statements", "pull-balances", "check-balances", "reconcile", "watch-closure", "deliver-alerts",
        "watch-rounds",
    ):
        for shard in app.shards(name):
            with progress(f"{name} {shard}") as hear:
                reports.append(app.perform(name, shard, at, progress=hear).as_json())
    return reports


def _report(frame: Frame, app: App, rounds: list[dict[str, object]], *, as_json: bool) -> int:
    """What one cycle found: accounts by standing, open alerts and why."""
    from escrow_monitor.records.alerts.book import RecordsAlertBook
    from escrow_monitor.records.positions import standing_counts

    with app.database.read() as session:
        standings = {standing.value: count for standing, count in standing_counts(session).items()}
        book = RecordsAlertBook(session)
        entries = book.newest(limit=1000)[::-1]
        head = book.head()
    wrong = any(count for standing, count in standings.items() if standing != "met")
    if as_json:
        from alerts.feeds.item import feed_item

        print_json(
            {
                "at": app.clock.now().isoformat(),
                "accounts": standings,
                "feed_sequence": head,
                "alerts": [feed_item(entry, home_url="http://localhost") for entry in entries],
                "rounds": rounds,
            }
        )
        return 1 if wrong else 0
    say(frame.pick(zh="各定时任务", en="Rounds"))
    for report in rounds:
        counts = " ".join(f"{name}={count}" for name, count in report["counts"].items() if count)  # type: ignore[attr-defined]  # a Report's counts
        say(f"  {report['round']:<16} {report['shard']:<10} {report['outcome']:<6} {counts}")
    say("")
    say(frame.pick(zh="账户状态", en="Accounts by standing"))
    names = {"met": "达标", "breached": "未达标", "unknown": "未知"}
    for standing in ("breached", "unknown", "met"):
        say(f"  {frame.pick(zh=names[standing], en=standing):<10} {standings.get(standing, 0):>6}")
    say("")
    say(frame.pick(zh=f"预警流(共 {head} 条)", en=f"Alerts opened ({head} in the feed)"))
    ranked = sorted(entries, key=lambda entry: (-entry.severity.rank, entry.seq))
    print_table(
        (
            "seq",
            frame.pick(zh="级别", en="severity"),
            frame.pick(zh="规则", en="rule"),
            frame.pick(zh="账户", en="account"),
            frame.pick(zh="原因", en="why"),
        ),
        [
            (
                entry.seq,
                entry.severity.value,
                entry.key.rule,
                entry.labels.get("account_no", entry.key.subject),
                frame.pick(zh=entry.why.zh, en=entry.why.en),
            )
            for entry in ranked[:40]
        ],
    )
    if len(ranked) > 40:
        say(frame.pick(zh=f"……另有 {len(ranked) - 40} 条", en=f"... and {len(ranked) - 40} more"))
    return 1 if wrong else 0
