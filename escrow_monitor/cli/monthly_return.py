"""`return export`: the monthly return of a district as a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, frame_of
from escrow_monitor.cli.output import print_json, say, warn
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

return_group = typer.Typer(no_args_is_help=True, help="The monthly return that goes to whoever stands above.")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(return_group, name="return")


@return_group.command("export")
def export_(
    context: typer.Context,
    month: Annotated[str | None, typer.Option(help="YYYY-MM; default the month that ended last.")] = None,
    district: Annotated[str | None, typer.Option(help="Only districts whose code begins so, such as 5103.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="csv, xlsx or json; default by the name of --out, else csv.")
    ] = None,
    depth: Annotated[str, typer.Option("--detail", help="districts, institutions or accounts.")] = "accounts",
    out: Annotated[Path | None, typer.Option(help="The file to write; default standard output.")] = None,
    as_json: AsJson = False,
) -> None:
    """The month of every supervised account, added up by institution, district and all.

    Exit 1 when anything is unknown, not reconciled, or when the month has not ended: the file says what.
    """
    from escrow_monitor.actions.monthly_return import AskedReturn, last_month, monthly_return
    from escrow_monitor.actions.return_tables import DEPTHS, FORMATS, document_head, pieces
    from escrow_monitor.settings.section import zone_of

    chosen = form or _form_of(out, as_json=as_json)
    for name, given, known in (("--format", chosen, FORMATS), ("--detail", depth, DEPTHS)):
        if given not in known:
            raise UsageError(f"{name} {given!r}: choose {', '.join(known)}")
    if out is None and chosen == "xlsx" and sys.stdout.isatty():
        raise UsageError("a workbook is no text for a terminal: say where to with --out FILE")
    frame = frame_of(context)
    with frame.app() as app:
        now = app.clock.now()
        asked = AskedReturn(month=month or last_month(now), district=district)
        with progress(f"return {asked.month}") as hear, app.database.read() as session:
            found = monthly_return(session, asked, policies=app.policies, now=now, progress=hear)
        zone = zone_of(app.settings.schedule.zone)
        _write(out, pieces(found, form=chosen, depth=depth, lang="zh" if frame.language == "zh" else "en", zone=zone))
    sentence = frame.pick(zh=found.sentence.zh, en=found.sentence.en)
    if out is None:
        warn(sentence)
    elif as_json:
        print_json({"file": str(out), **document_head(found)})
    else:
        totals = found.totals
        say(frame.pick(
            zh=f"{out}：{asked.month}，{totals.accounts} 个账户；达标 {totals.days_met} 天，"
               f"不足 {totals.days_short} 天，未知 {totals.days_balance_unknown + totals.days_floor_unknown} 天",
            en=f"{out}: {asked.month}, {totals.accounts} accounts; {totals.days_met} days met, {totals.days_short} "
               f"short, {totals.days_balance_unknown + totals.days_floor_unknown} unknown",
        ))
        say(sentence)
    raise typer.Exit(0 if found.complete else 1)


def _form_of(out: Path | None, *, as_json: bool) -> str:
    if out is None:
        return "json" if as_json else "csv"
    return out.suffix.lower().removeprefix(".") or "csv"


def _write(out: Path | None, parts: Iterable[bytes]) -> None:
    """Write all of it, or leave what was there: a return that was cut off would look like a small one."""
    if out is None or str(out) == "-":
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return
    beside = out.with_name(f".{out.name}.part")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
