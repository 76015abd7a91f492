"""The command line: every command a few lines over the other rooms, which are imported only when it is used."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from escrow_monitor.cli import (
    accounts,
    admin,
    alerts,
    audit,
    backtest,
    backups,
    cases,
    channels,
    contracts,
    deliveries,
    demo,
    doctor,
    imports,
    monthly_return,
    pack,
    policy,
    reconcile,
    refunds,
    silences,
    statements,
    users,
    work,
)
from escrow_monitor.cli.frame import Frame
from escrow_monitor.cli.output import speak
from escrow_monitor.errors import EscrowMonitorError

WRONG, USAGE, OUTSIDE, STOPPED = 1, 2, 3, 130

app = typer.Typer(
    name="escrow-monitor",
    help="Tells a regulator, every day and for every training institution, whether families' prepaid money is there.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Configuration file; default escrow-monitor.toml here.")] = None,
    lang: Annotated[str | None, typer.Option(help="zh or en; default the terminal's locale.")] = None,
    debug: Annotated[bool, typer.Option(help="Show tracebacks and debug logs.")] = False,
) -> None:
    """Options that stand before the command."""
    if lang not in (None, "zh", "en"):
        raise typer.BadParameter("zh or en", param_hint="--lang")
    context.obj = frame = Frame(config=config, lang=lang, debug=debug)
    speak(frame.language)


for room in (
    demo, work, statements, accounts, contracts, imports, reconcile, cases, refunds, policy, backtest, alerts, channels,
    deliveries, silences, audit, pack, monthly_return, admin, backups, users, doctor,
):
    room.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 something is wrong with money or data, 2 usage, 3 the outside failed."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; an error is one plain sentence on stderr."""
    debug = "--debug" in arguments
    try:
        return _ended(app(arguments, prog_name="escrow-monitor", standalone_mode=False))
    except typer.TyperException as error:
        # Typer carries its own copy of click: only its public base class is the one that it raises.
        sys.stderr.write(_wrong_usage(error))
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
        return STOPPED
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as error:
        # Typer ends so when whoever read the results has gone away, as `head` does: nothing is wrong with them.
        if isinstance(error.__context__, BrokenPipeError):
            return _nobody_reads()
        raise
    except EscrowMonitorError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"escrow-monitor: {error}\n")
        return error.exit_code
    except OSError as error:
        if debug:
            traceback.print_exc()
        where = f" {error.filename}" if error.filename else ""
        sys.stderr.write(f"escrow-monitor:{where}: {error.strerror or error}\n")
        return OUTSIDE


def _ended(code: object) -> int:
    # What is still held back goes out here, where it is known what it means that nobody reads it.
    sys.stdout.flush()
    if code == STOPPED:
        # Typer makes a code of the key that stops a command.
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _nobody_reads() -> int:
    """Who read the results is gone. What is left goes nowhere, or the interpreter would fail over it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return 0


def _wrong_usage(error: typer.TyperException) -> str:
    """One sentence and where to read on; a group without a command shows its help instead."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if "\n" in message:
        return message.rstrip() + "\n"
    path = context.command_path if context is not None else "escrow-monitor"
    return f"escrow-monitor: {message.rstrip('.')}; see {path} --help\n"
