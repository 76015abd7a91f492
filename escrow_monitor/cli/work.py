"""Commands that do the work: the daemon, the web, and single rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli import words
from escrow_monitor.cli.frame import AsJson, completed, frame_of, parse_instant
from escrow_monitor.cli.output import print_json, say
from escrow_monitor.cli.progress import progress

if TYPE_CHECKING:
    from escrow_monitor.rounds.report import Report
    from escrow_monitor.wiring import App


ROUND_NAMES = (
    "pull-balances", "load-statements", "check-balances", "reconcile", "watch-closure", "deliver-alerts",
    "watch-rounds", "seal-audit",
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("run")(run)
    app.command("daemon")(daemon)
    app.command("serve")(serve)
    app.command("round")(round_)


def run(context: typer.Context) -> None:
    """Daemon and web in one process."""
    from escrow_monitor.cli.service import run_service

    raise typer.Exit(run_service(frame_of(context).settings, daemon=True, web=True))


def daemon(context: typer.Context) -> None:
    """The clock and the workers only."""
    from escrow_monitor.cli.service import run_service

    raise typer.Exit(run_service(frame_of(context).settings, daemon=True, web=False))


def serve(context: typer.Context) -> None:
    """The web only."""
    from escrow_monitor.cli.service import run_service

    raise typer.Exit(run_service(frame_of(context).settings, daemon=False, web=True))


def round_(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="pull-balances, load-statements, check-balances, reconcile, watch-closure, deliver-alerts, "
            "watch-rounds, seal-audit", autocompletion=completed(ROUND_NAMES),
        ),
    ],
    shard: Annotated[str | None, typer.Option(help="Only this bank, folder or channel.")] = None,
    account: Annotated[list[str] | None, typer.Option(help="Only this account; may be repeated.")] = None,
    institution: Annotated[list[str] | None, typer.Option(help="Only this institution's accounts.")] = None,
    at: Annotated[str | None, typer.Option(help="As if it were this instant.")] = None,
    as_json: AsJson = False,
) -> None:
    """One round now. Exit 1 when it found something wrong."""
    frame = frame_of(context)
    with frame.app(at=at) as app:
        scheduled_at = parse_instant(at) if at else app.clock.now()
        chosen = _account_nos(app, account, institution)
        shards = [shard] if shard else app.shards(name)
        reports = []
        for one in shards:
            with progress(f"{name} {one}") as hear:
                reports.append(app.perform(
                    name, one, scheduled_at, account_nos=chosen, usccs=institution, progress=hear
                ))
        if as_json:
            print_json([report.as_json() for report in reports])
        else:
            for report in reports:
                say(line(report, frame.language))
            if not reports:
                say(frame.pick(zh=f"{name}:没有配置任何银行、文件夹或通道", en=f"{name}: nothing is configured for it"))
        code = 1 if any(report.outcome != "ok" for report in reports) else 0
    raise typer.Exit(code)


def line(report: Report, lang: str) -> str:
    """A report on one line: `pull-balances icbc wrong accounts=12 answered=11 refused=1`, in Chinese in its words."""
    tail = f" — {report.detail}" if report.detail else ""
    if lang == "zh":
        counts = " ".join(f"{words.name('field', name, lang)}={count}" for name, count in report.counts.items())
        shard = "" if report.shard == "all" else f" {report.shard}"
        again = "（已经做过）" if report.repeated else ""
        done = words.name("outcome", report.outcome.value, lang)
        return f"{words.name('round', report.round, lang)}{shard} {done} {counts}{tail}{again}"
    counts = " ".join(f"{name}={count}" for name, count in report.counts.items())
    again = " (already done)" if report.repeated else ""
    return f"{report.round} {report.shard} {report.outcome} {counts}{tail}{again}"


def _account_nos(app: App, account: list[str] | None, institution: list[str] | None) -> list[str] | None:
    """The accounts named directly or through their institutions; None for all."""
    from escrow_monitor.records.accounts import accounts
    if not account and not institution:
        return None
    chosen = set(account or ())
    if institution:
        with app.database.read() as session:
            chosen |= {one.account_no for one in accounts(session) if one.uscc in set(institution)}
    return sorted(chosen)
