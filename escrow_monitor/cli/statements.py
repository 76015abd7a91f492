"""Commands for statement files and the days they cover."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, print_table, say, warn
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.domain.positions import Correction
    from escrow_monitor.records.bank.coverage import AccountCoverage

FORMAT_HELP = (
    "auto, camt (052, 053, 054), mt940 (and mt942), bai2, ofx, or profile:NAME for CSV and XLSX files "
    "by a profile of the configuration"
)

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
    format: Annotated[str, typer.Option(help=FORMAT_HELP)] = "auto",
    as_json: AsJson = False,
) -> None:
    """Load statement files. Exit 1 when any is refused."""
    from escrow_monitor.records.bank.statement_files import Registration
    from escrow_monitor.rounds.report import counted
    from escrow_monitor.rounds.statement_file import load_file
    from escrow_monitor.settings.section import zone_of

    frame = frame_of(context)
    for file in files:
        if not file.is_file():
            raise UsageError(f"{file}: no such file")
    outcomes = []
    with frame.app(makes=True) as app, progress("statements") as hear:
        for file in counted(files, hear, total=len(files)):
            outcome = load_file(
                app.database,
                content=file.read_bytes(),
                filename=file.name,
                source="cli",
                format=format,
                profiles=app.statement_profiles,
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
    """Which days final statements cover, which are missing and what was tried, and what was corrected.

    Exit 1 when any day is missing.
    """
    from escrow_monitor.records.bank.coverage import coverage as covered

    frame = frame_of(context)
    with frame.app() as app, app.database.read() as session:
        rows = covered(session, account_no=account)
    if account and not rows:
        raise UsageError(f"account {account} is not known: see accounts list")
    if as_json:
        print_json([_coverage_json(row) for row in rows])
    else:
        print_table(
            (
                "account", "covered from", "covered to", "days covered", "missing", "days missing", "re-opened",
                "missing since", "tries", "last tried", "corrections",
            ),
            [_coverage_row(row) for row in rows],
        )
        if account:
            for one in rows[0].corrections:
                say("  " + correction_line(frame, one, currency=rows[0].currency))
    raise typer.Exit(1 if any(row.gap_count for row in rows) else 0)


def _coverage_row(row: AccountCoverage) -> tuple[object, ...]:
    tried = [gap.tried_at for gap in row.missing if gap.tried_at is not None]
    return (
        row.account_no, row.covered_from, row.covered_to, row.days_covered, row.gap_count,
        ", ".join(map(str, row.gaps[:5])), ", ".join(map(str, row.reopened[:5])),
        min((gap.found_at for gap in row.missing), default=None), max((gap.tries for gap in row.missing), default=None),
        max(tried, default=None), len(row.corrections) or None,
    )


def _coverage_json(row: AccountCoverage) -> dict[str, object]:
    return {
        "account_no": row.account_no,
        "covered_from": row.covered_from,
        "covered_to": row.covered_to,
        "days_covered": row.days_covered,
        "missing": [gap.day.isoformat() for gap in row.missing],
        "missing_count": row.gap_count,
        "gaps": [
            {
                "day": gap.day.isoformat(),
                "reason": gap.reason.value,
                "since": gap.found_at.isoformat(),
                "tries": gap.tries,
                "tried_at": None if gap.tried_at is None else gap.tried_at.isoformat(),
                "try_after": None if gap.try_after is None else gap.try_after.isoformat(),
            }
            for gap in row.missing
        ],
        "reopened": [day.isoformat() for day in row.reopened],
        "corrections": [correction_json(one) for one in row.corrections],
    }


def correction_json(one: Correction) -> dict[str, object]:
    """A correction as a JSON object, amounts in fen."""
    return {
        "day": one.on.isoformat(),
        "number": one.number,
        "source": one.source,
        "recorded_at": one.recorded_at.isoformat(),
        "opening_before_fen": one.opening_before_fen,
        "opening_after_fen": one.opening_after_fen,
        "closing_before_fen": one.closing_before_fen,
        "closing_after_fen": one.closing_after_fen,
        "added": one.added,
        "added_credits_fen": one.added_credits_fen,
        "added_debits_fen": one.added_debits_fen,
        "removed": one.removed,
        "removed_credits_fen": one.removed_credits_fen,
        "removed_debits_fen": one.removed_debits_fen,
        "reopened": None if one.reopened is None else one.reopened.isoformat(),
    }


def correction_line(frame: Frame, one: Correction, *, currency: str) -> str:
    """One line for people: the day, its closing before and after, who said so and when."""
    from escrow_monitor.domain.money import decimal_text

    before, after = decimal_text(one.closing_before_fen, currency), decimal_text(one.closing_after_fen, currency)
    at = one.recorded_at.isoformat(timespec="seconds")
    again = "" if one.reopened is None else frame.pick(zh=f",{one.reopened} 重新索取", en=f", {one.reopened} re-opened")
    return frame.pick(
        zh=f"更正 {one.on}:日终 {before} → {after},撤销 {one.removed} 笔,补记 {one.added} 笔{again}({one.source},{at})",
        en=f"corrected {one.on}: closing {before} -> {after}, {one.removed} entries removed, {one.added} added{again} "
        f"({one.source}, {at})",
    )
