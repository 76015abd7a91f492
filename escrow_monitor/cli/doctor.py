"""`doctor`: everything an operator should know before and during operation, one line each."""

from __future__ import annotations

from typing import Annotated

import typer

from escrow_monitor.cli.frame import AsJson, frame_of
from escrow_monitor.cli.output import print_json, print_table
from escrow_monitor.cli.progress import progress


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Call nobody: no bank, channel or name server.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check configuration, secrets, database, clocks, certificates, banks, folders, channels and rounds.

    Each line is ok, warn, bad or unknown. Exit 0 nothing bad or unknown, 1 data, 2 configuration, 3 the outside.
    """
    from escrow_monitor.cli.checkup.check import exit_code
    from escrow_monitor.cli.checkup.everything import run_checks
    from escrow_monitor.wiring import assembled

    frame = frame_of(context)
    with assembled(frame.settings) as app, progress("doctor") as hear:
        checks = run_checks(frame, app, offline=offline, progress=hear)
    if as_json:
        print_json({
            "exit_code": exit_code(checks), "offline": offline,
            "checks": [
                {"check": one.name, "state": one.state.value, "area": one.area.name.lower(), "found": one.found,
                 "do": one.do}
                for one in checks
            ],
        })
    else:
        print_table(
            tuple(frame.pick(zh=zh, en=en) for zh, en in (
                ("结果", "state"), ("检查", "check"), ("情况", "found"), ("处理", "do")
            )),
            [(one.state.value, one.name, one.found, one.do) for one in checks],
        )
    raise typer.Exit(exit_code(checks))
