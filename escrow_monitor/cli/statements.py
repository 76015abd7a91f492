"""Commands for statement files and the days they cover."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escrow_monitor.cli.frame import AsJson, frame_of
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.errors import UsageError

group = typer.Typer(no_args_is_help=True, help="Load statement files and see which days they cover.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(group, name="statements")


@group.command()
def load(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Statement files; each is loaded whole or not at all.")],
    account: Annotated[str | None, typer.Option(help="Refuse a file that speaks of any other account.")] = None,
    register: Annotated[bool, typer.Option(help="Make the accounts that a file names and we do not know.")] = False,
    bank: Annotated[str, typer.Option(help="The bank of accounts made by --register.")] = "files",
    format: Annotated[str, typer.Option(help="auto, camt.052, camt.053, camt.054, mt940, mt942")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Load statement files. Exit 1 when any is refused."""
    from escrow_monitor.records.statement_files import Registration
    from escrow_monitor.rounds.statement_file import load_file
    from escrow_monitor.wiring import zone_of

    frame = frame_of(context)
    for file in files:
        if not file.is_file():
            raise UsageError(f"{file}: no such file")
    outcomes = []
    with frame.app(makes=True) as app:
        for file in files:
            outcome = load_file(
                app.database,
                content=file.read_bytes(),
                filename=file.name,
                source="cli",
                format=format,
                zone=zone_of(frame.settings.schedule.zone),
                only_account=account,
                registration=Registration(bank=bank) if register else None,
                now=app.clock.now(),
            )
            outcomes.append((file, outcome))
            if as_json:
                continue
            if outcome.refusals:
                warn(f"{file.name}: " + frame.pick(zh="拒收", en="refused"))
                for refusal in outcome.refusals:
                    warn(f"  {refusal}")
            else:
                say(f"{file.name}: {outcome.word(frame.language)}")
    if as_json:
        print_json([{"file": file.name, **outcome.as_json()} for file, outcome in outcomes])
    raise typer.Exit(1 if any(outcome.refusals for _, outcome in outcomes) else 0)


@group.command()
def coverage(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which days are covered by final statements, and which are missing. Exit 1 when any is missing."""
    from escrow_monitor.records.coverage import coverage as covered

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        rows = covered(session, account_no=account)
    if account and not rows:
        raise UsageError(f"account {account} is not known: see accounts list")
    if as_json:
        print_json(
            [
                {
                    "account_no": row.account_no,
                    "covered_from": row.covered_from,
                    "covered_to": row.covered_to,
                    "missing": [day.isoformat() for day in row.gaps],
                    "missing_count": row.gap_count,
                }
                for row in rows
            ]
        )
    else:
        print_table(
            ("account", "covered from", "covered to", "missing", "days missing"),
            [(r.account_no, r.covered_from, r.covered_to, r.gap_count, ", ".join(map(str, r.gaps[:5]))) for r in rows],
        )
    raise typer.Exit(1 if any(row.gap_count for row in rows) else 0)
