"""Commands about the tamper-evident record: verify it, export it, and the key that seals it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from escrow_monitor.cli.frame import AsJson, frame_of
from escrow_monitor.cli.output import print_json, say, warn
from escrow_monitor.errors import UsageError

if TYPE_CHECKING:
    from escrow_monitor.records.evidence.chain import AuditVerdict
    from escrow_monitor.records.evidence.seal_keys import SealKey

audit_group = typer.Typer(no_args_is_help=True, help="The tamper-evident record.")

Key = Annotated[str | None, typer.Option("--key", metavar="KEY_ID", help="The key that must have sealed the chain.")]
Witness = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="SEQ:HEAD", help="A head that somebody kept, e.g. of a feed entry; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(audit_group, name="audit")


@audit_group.command()
def verify(
    context: typer.Context,
    export: Annotated[Path | None, typer.Option(help="Verify this export instead of the database.")] = None,
    key: Key = None,
    witness: Witness = None,
    as_json: AsJson = False,
) -> None:
    """Walk the whole chain. Exit 1 with the first fault by name."""
    from escrow_monitor.records.evidence import audit
    from escrow_monitor.records.evidence.export import verify_export

    witnesses = _witnesses(witness or [])
    if export is not None:
        content = export
        verdict = verify_export(lambda: _lines_of(content), expected_key=key, witnesses=witnesses)
    else:
        with frame_of(context).app() as app, app.database.read() as session:
            verdict = audit.verify(session, expected_key=key, witnesses=witnesses)
    if as_json:
        print_json(_as_json(verdict))
    elif verdict.whole:
        frame = frame_of(context)
        head = f"{verdict.head.seq} {verdict.head.head}"
        say(frame.pick(zh=f"共 {verdict.entries} 条，完整无缺；链头 {head}",
                       en=f"{verdict.entries} entries, whole; head {head}"))
        if verdict.seals:
            say(frame.pick(
                zh=f"{verdict.seals} 个封印，封存至第 {verdict.sealed_to} 条，密钥 {verdict.key_id}",
                en=f"{verdict.seals} seals, sealed to entry {verdict.sealed_to} with the key {verdict.key_id}",
            ))
    else:
        warn(f"{verdict.fault} at {verdict.at_seq}: {verdict.detail}")
    raise typer.Exit(0 if verdict.whole else 1)


@audit_group.command("export")
def export_(context: typer.Context, file: Path, as_json: AsJson = False) -> None:
    """Write the whole chain and its seals for an outside auditor, who verifies it with deploy/verify_audit.py."""
    from escrow_monitor.records.evidence import seals
    from escrow_monitor.records.evidence.export import Exported, export_lines

    with frame_of(context).app() as app:
        if app.seal_key is not None:
            # The end is signed with it, so the chain must say that it is the key.
            with app.database.write() as session:
                seals.take_key(session, app.seal_key, actor="cli", now=app.real_now())
        exported = Exported()
        with app.database.read() as session, _new_file(file) as out:
            for line in export_lines(session, app.seal_key, now=app.real_now(), exported=exported):
                out.write(line.encode() + b"\n")
            in_force = seals.key_in_force(session)
    if app.seal_key is None and in_force is not None:
        warn(f"the end is not signed, for the key {in_force} is not configured here: the export will not verify")
    told = {"file": str(file), "entries": exported.entries, "seals": exported.seals, "head": exported.head,
            "key_id": in_force}
    if as_json:
        print_json(told)
    else:
        say(f"{file}: {exported.entries} entries, {exported.seals} seals; head {exported.entries} {exported.head}")
        if in_force is not None:
            say(f"key {in_force}: give this to the auditor by another way than the file")


@audit_group.command("seal")
def seal_(context: typer.Context, as_json: AsJson = False) -> None:
    """Put a seal on the chain as it stands now; the daemon does so once a day."""
    from escrow_monitor.records.evidence import seals
    from escrow_monitor.settings.section import zone_of

    frame = frame_of(context)
    with frame.app() as app:
        if app.seal_key is None:
            raise UsageError("no key is configured to seal with: set audit.key_file; `audit keygen FILE` makes one")
        now = app.real_now()
        day = now.astimezone(zone_of(app.settings.schedule.zone)).date()
        with app.database.write() as session:
            sealed = seals.put_seal(session, app.seal_key, day=day, actor="cli", now=now)
    if as_json:
        print_json({"number": sealed.number, "day": sealed.day.isoformat(), "seq": sealed.seq, "head": sealed.head,
                    "algorithm": sealed.algorithm, "key_id": sealed.key_id, "signature": sealed.seal.signature})
    else:
        say(f"seal {sealed.number} on {sealed.day}: entry {sealed.seq}, head {sealed.head}, key {sealed.key_id}")


@audit_group.command()
def keygen(file: Path, as_json: AsJson = False) -> None:
    """Make an Ed25519 key to seal the chain with, in a new file that only its owner can read."""
    from escrow_monitor.records.evidence.seal_keys import new_key

    with _new_file(file) as out:
        out.write(new_key().encode())
    _tell_key(_key_of(file), as_json=as_json)


@audit_group.command()
def key(context: typer.Context, as_json: AsJson = False) -> None:
    """The key that is configured: its id and its public half, to be kept where the database's owner cannot reach."""
    frame = frame_of(context)
    chosen = frame.settings.audit
    from escrow_monitor.records.evidence.seal_keys import read_key

    text = frame.settings.secret(chosen.key, chosen.key_file, what="audit.key_file")
    if text is None:
        raise UsageError("no key is configured: set audit.key_file; `audit keygen FILE` makes one")
    _tell_key(read_key(text, what="audit.key"), as_json=as_json)


@audit_group.command("hand-over")
def hand_over(
    context: typer.Context,
    to: Annotated[Path, typer.Argument(help="The new private key, as `audit keygen` made it.")],
) -> None:
    """The configured key hands over to a new one; then configure the new one and start again."""
    from escrow_monitor.records.evidence import seals

    new = _key_of(to)
    with frame_of(context).app() as app:
        if app.seal_key is None:
            raise UsageError("no key is configured that could hand over: set audit.key_file to the key until now")
        with app.database.write() as session:
            seals.take_key(session, app.seal_key, actor="cli", now=app.real_now())
            seals.take_key(session, new, before=app.seal_key, actor="cli", now=app.real_now())
    say(f"{app.seal_key.key_id} handed over to {new.key_id}: set audit.key_file to {to} now")


def _key_of(file: Path) -> SealKey:
    from escrow_monitor.records.evidence.seal_keys import read_key

    return read_key(file.read_text(encoding="utf-8"), what=str(file))


def _tell_key(found: SealKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"key_id": found.key_id, "public_key": found.public_key})
    else:
        say(f"key {found.key_id}  public half {found.public_key}")


def _as_json(verdict: AuditVerdict) -> dict[str, object]:
    return {
        "entries": verdict.entries, "whole": verdict.whole, "fault": verdict.fault, "at_seq": verdict.at_seq,
        "detail": verdict.detail, "head": {"seq": verdict.head.seq, "head": verdict.head.head},
        "seals": verdict.seals, "sealed_to": verdict.sealed_to, "key_id": verdict.key_id,
    }


def _witnesses(texts: list[str]) -> Mapping[int, str]:
    found = {}
    for text in texts:
        seq, _, head = text.partition(":")
        if not seq.isdecimal() or len(head) != 64:
            raise UsageError(f"{text!r} is not a witness: write it as SEQ:HEAD")
        found[int(seq)] = head.lower()
    return found


def _lines_of(file: Path) -> Iterator[bytes]:
    with file.open("rb") as lines:
        yield from lines


@contextmanager
def _new_file(file: Path) -> Iterator[BinaryIO]:
    """A file that was not there and that nobody else reads; `-` is standard output."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{file} is there already: choose another name, nothing is written over") from error
    with os.fdopen(handle, "wb") as out:
        yield out
