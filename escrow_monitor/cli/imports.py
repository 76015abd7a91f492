"""The command that loads files of institutions, accounts, contracts and all that belongs to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from escrow_monitor.cli.frame import AsJson, Frame, completed, frame_of
from escrow_monitor.cli.output import print_json, say, warn
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.actions.import_files import Imported


KINDS = (
    "institutions", "accounts", "contracts", "charges", "lessons", "refund-claims", "complaints", "notices", "template",
)


class _WithColumns(TyperCommand):
    """Adds to its help the columns of every kind, which are read only then."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from escrow_monitor.actions.import_columns import described

        formatter.write_paragraph()
        formatter.write_text("The columns, in either language; * must be filled:")
        for line in described().split("\n\n"):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(line)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("import", cls=_WithColumns)(import_)


def import_(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(
        help="institutions, accounts, contracts, charges, lessons, refund-claims, complaints or notices; or template",
        autocompletion=completed(KINDS),
    )],
    file: Annotated[str, typer.Argument(
        help="CSV (UTF-8 or GB18030), XLSX or JSON Lines with a header row; of a template, the kind"
    )],
    dry_run: Annotated[bool, typer.Option(help="Only check: nothing is changed.")] = False,
    skip_bad_rows: Annotated[bool, typer.Option(help="Keep the good rows; exit 1 if there were others.")] = False,
    lang: Annotated[str | None, typer.Option(help="Of a template: zh or en.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load a file: all of it or nothing, bad rows listed. `import template KIND` prints a header and an example.

    An empty cell means unknown or not agreed, never zero. Amounts are plain decimals, dates have the year first, and a
    row that is recorded just so already changes nothing. Exit 1 when rows were refused.
    """
    frame = frame_of(context)
    if kind == "template":
        _print_template(frame, file, lang)
        return
    if lang is not None:
        raise UsageError("--lang belongs to import template; the header of a file may be in either language")
    from escrow_monitor.actions.import_columns import COLUMNS

    if kind not in COLUMNS:
        raise UsageError(f"there is no kind {kind!r}; choose {', '.join(COLUMNS)}")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"{file}: no such file")
    from escrow_monitor.actions.import_files import import_file

    with frame.app(makes=True) as app, progress(f"import {kind}") as hear, path.open("rb") as stream:
        done = import_file(
            app.database, kind=kind, stream=stream, filename=path.name, dry_run=dry_run, skip_bad_rows=skip_bad_rows,
            actor="cli", now=app.real_now(), progress=hear,
        )
    if as_json:
        print_json(done.as_json())
    else:
        _tell(frame, done)
    raise typer.Exit(1 if done.bad else 0)


def _print_template(frame: Frame, kind: str, lang: str | None) -> None:
    from escrow_monitor.actions.import_columns import COLUMNS, template

    if kind not in COLUMNS:
        raise UsageError(f"there is no kind {kind!r}; choose {', '.join(COLUMNS)}")
    if lang not in (None, "zh", "en"):
        raise UsageError(f"there is no template in {lang!r}; choose zh or en")
    say(template(kind, lang or frame.language).removesuffix("\n"))


def _tell(frame: Frame, done: Imported) -> None:
    for bad in done.bad_rows:
        warn(str(bad))
    if done.bad > len(done.bad_rows):
        more = done.bad - len(done.bad_rows)
        warn(frame.pick(zh=f"另有 {more} 行有误，未逐一列出", en=f"and {more} bad rows more"))
    zh = f"{done.filename}: {done.rows} 行，{done.bad} 行有误，新增 {done.new}，更新 {done.updated}"
    en = f"{done.filename}: {done.rows} rows, {done.bad} bad, {done.new} new, {done.updated} updated"
    if done.dry_run:
        say(frame.pick(zh=f"{zh}（仅检查，未写入）", en=f"{en} (dry run, nothing was kept)"))
    elif not done.kept:
        say(frame.pick(zh=f"{zh}；整个文件未写入", en=f"{en}; nothing was kept"))
    else:
        say(frame.pick(zh=zh, en=en))
