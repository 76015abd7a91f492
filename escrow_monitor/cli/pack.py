"""`pack export`: all that is recorded of one institution, as one file to hand over."""

from __future__ import annotations

import getpass
import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.frame import AsJson, frame_of
from escrow_monitor.cli.output import print_json, say, warn
from escrow_monitor.cli.progress import progress
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from io import BufferedRandom

    from escrow_monitor.actions.pack_told import Pack

pack_group = typer.Typer(no_args_is_help=True, help="All that is recorded of one institution, to hand over.")


@pack_group.callback()
def _pack() -> None:
    """All that is recorded of one institution, to hand over."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(pack_group, name="pack")


@pack_group.command("export")
def export_(
    context: typer.Context,
    uscc: Annotated[str, typer.Argument(metavar="USCC", help="The institution.")],
    out: Annotated[Path | None, typer.Option(help="The ZIP file to write; default pack-USCC-TIME.zip here.")] = None,
    lang: Annotated[str | None, typer.Option(help="zh or en, of the summary; default that of the command.")] = None,
    by: Annotated[str | None, typer.Option(help="Who takes it; default the login of this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the resolution pack of an institution: who is owed what, which accounts, cases, reconciliation, record.

    That it was taken is written in the audit record with its SHA-256. Exit 1 where sums in it do not agree.
    """
    from escrow_monitor.actions.export_pack import export_pack, note_export, pack_name
    from escrow_monitor.settings.section import zone_of

    frame = frame_of(context)
    if lang not in (None, "zh", "en"):
        raise UsageError(f"there is no summary in {lang!r}; choose zh or en")
    with frame.app() as app:
        now, actor = app.clock.now(), by or f"cli:{getpass.getuser()}"
        target = out or Path(pack_name(uscc, now))
        if target.exists():
            raise UsageError(f"{target} is there already: choose another name, nothing is written over")
        beside = target.with_name(f".{target.name}.part")
        try:
            with _new(beside) as file:
                with progress(f"pack {uscc}") as hear, app.database.read() as session:
                    pack = export_pack(
                        session, file, uscc=uscc, policies=app.policies, now=now, actor=actor,
                        version=version("escrow-monitor"), zone=zone_of(app.settings.schedule.zone),
                        lang="zh" if (lang or frame.language) == "zh" else "en", progress=hear,
                    )
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = beside.stat().st_size
            # It is on record before it is there to be taken.
            with app.database.write() as session:
                note_export(session, pack, sha256=digest, size=size, actor=actor, now=app.real_now())
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    _tell(pack, target, digest, size, as_json=as_json)
    raise typer.Exit(0 if pack.reconciles else 1)


def _new(file: Path) -> BufferedRandom:
    """A new file that nobody else reads."""
    return os.fdopen(os.open(file, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600), "w+b")


def _tell(pack: Pack, target: Path, digest: str, size: int, *, as_json: bool) -> None:
    differing = [check for check in pack.checks if check.residual]
    if as_json:
        print_json({
            "file": str(target), "sha256": digest, "size": size, "uscc": pack.uscc, "files": len(pack.files),
            "reconciles": pack.reconciles, "head": {"seq": pack.head_seq, "head": pack.head},
            "differing": [
                {"name": check.name, "currency": check.currency, "residual": check.residual} for check in differing
            ],
        })
        return
    say(f"{target}: {len(pack.files)} files, {size} bytes, SHA-256 {digest}")
    for check in differing:
        warn(f"{check.what.en}: {check.text(check.left)} and {check.text(check.right)}, {check.text(check.residual)} "
             "is left over")
