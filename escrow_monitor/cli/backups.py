"""The commands `db backup` and `db restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escrow_monitor.cli.admin import db_group
from escrow_monitor.cli.frame import AsJson, Frame, frame_of
from escrow_monitor.cli.output import print_json, say, warn
from escrow_monitor.cli.progress import progress

if TYPE_CHECKING:
    from escrow_monitor.actions.backups import Manifest


def register(app: typer.Typer) -> None:
    """Add these commands."""
    db_group.command()(backup)
    db_group.command()(restore)


def backup(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The file to write, or a folder: then it is named by the instant.")],
    as_json: AsJson = False,
) -> None:
    """Keep a copy of the whole database, of one moment, while everything runs; its manifest goes beside it."""
    from contextlib import closing
    from importlib.metadata import version

    from escrow_monitor.actions.backups import back_up, manifest_of
    from escrow_monitor.clock import SystemClock
    from escrow_monitor.records.database import Database

    frame = frame_of(context)
    # Not upgraded first: a backup is what one makes before an upgrade.
    with closing(Database(frame.settings.database_url)) as database, progress(
        frame.pick(zh="备份", en="backing up")
    ) as hear:
        done = back_up(
            database, out, actor="cli", now=SystemClock().now(), program=version("escrow-monitor"), progress=hear
        )
    if as_json:
        print_json({"file": str(done.file), "manifest": str(manifest_of(done.file)), "noted": done.noted,
                    **_told(done.manifest)})
    else:
        say(_sentence(frame, done.file, done.manifest))
    if not done.noted:
        warn(frame.pick(
            zh="备份有效，但审计记录中没有记下此事",
            en="the backup is good, but the audit record does not say that it was made",
        ))
    _warn_unwatched(frame, done.file)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup, with its manifest beside it.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a database that holds something; that is kept aside.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the configured database, after everything that is said of it was checked."""
    from escrow_monitor.actions.backups import restore as put_back
    from escrow_monitor.clock import SystemClock

    frame = frame_of(context)
    with progress(frame.pick(zh="恢复", en="restoring")) as hear:
        done = put_back(
            frame.settings.database_url, frame.settings.engine_url, file, replace_old=replace, actor="cli",
            now=SystemClock().now(), progress=hear,
        )
    if as_json:
        print_json({
            "file": str(file), "upgraded_from": done.upgraded_from, "kept_old": done.kept_old or None,
            "kept_engine": done.kept_engine or None, **_told(done.manifest),
        })
        return
    say(_sentence(frame, file, done.manifest))
    if done.upgraded_from is not None:
        say(frame.pick(
            zh=f"数据库结构已由版本 {done.upgraded_from} 升级到本程序的版本",
            en=f"its tables were of version {done.upgraded_from} and have been brought up to this program's",
        ))
    if done.kept_old:
        say(frame.pick(zh=f"原数据库保留在 {done.kept_old}", en=f"the old database is kept as {done.kept_old}"))


def _sentence(frame: Frame, file: Path, manifest: Manifest) -> str:
    rows = f"{sum(manifest.rows.values()):,}"
    return frame.pick(
        zh=f"{file}：{manifest.made_at} 的备份，{rows} 行，审计记录至第 {manifest.audit_seq} 条，已核对",
        en=f"{file}: of {manifest.made_at}, {rows} rows, audit record to entry {manifest.audit_seq}, verified",
    )


def _told(manifest: Manifest) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(manifest)


def _warn_unwatched(frame: Frame, file: Path) -> None:
    """The watch over backups looks into one folder: one that lies elsewhere ends no alert."""
    watched = frame.settings.watchdog.backups
    if watched is not None and frame.settings.path(watched).resolve() != file.resolve().parent:
        warn(frame.pick(
            zh=f"监督备份的文件夹是 {watched}，这份备份不在其中",
            en=f"backups are watched for in {watched}, and this one lies elsewhere",
        ))
