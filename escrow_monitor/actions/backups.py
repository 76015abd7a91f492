"""Take a backup of the whole database, and put one back: each checked against what it says of itself.

    back_up   copy of one moment -> read again -> hashed -> FILE.json beside it -> FILE, there at once or not at all
    restore   FILE against FILE.json -> beside the old one -> upgraded -> chain walked -> in its place, the old kept

Everything that is kept stands in the business database, documents and files of statements included. Left out are the
engine's queues, which belong to the daemons that run (what they do again is found done), and the seal key, since who
holds a copy must not be able to seal.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from escrow_monitor.errors import DatabaseError, OutsideError, UsageError
from escrow_monitor.records import backup, nodes
from escrow_monitor.records.backup import Facts, Progress
from escrow_monitor.records.database import REVISION, Database
from escrow_monitor.records.evidence import audit

FORMAT = "escrow-monitor backup 1"
MANIFEST_SUFFIX = ".json"
MANIFEST_BYTES_MAX = 1 << 20
ALIVE_SECONDS = 25
"""A daemon says every ten seconds that it lives: which has not for this long, and has no connection, has stopped."""
READ_BYTES = 1 << 20
LEFT_SECONDS = 24 * 3600
"""No backup takes longer than this."""

_PART = re.compile(r"\..+\.[0-9]+\.part(\.json|-journal|-wal|-shm)?\Z", re.ASCII)


class BackupRefused(OutsideError):
    """A backup is not what it says, or cannot be put back here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What stands beside a backup. `made_at` is an RFC 3339 instant, `rows` how many there are by table."""

    database: str
    sha256: str
    bytes: int
    made_at: str
    program: str
    revision: str
    audit_seq: int
    audit_head: str
    feed_seq: int
    rows: Mapping[str, int]

    @property
    def facts(self) -> Facts:
        """What must be found in the copy."""
        return Facts(
            revision=self.revision, audit_seq=self.audit_seq, audit_head=self.audit_head, feed_seq=self.feed_seq,
            rows=self.rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """A backup that was made. `noted` False: the audit record could not be written to, so it does not say so."""

    file: Path
    manifest: Manifest
    noted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A backup that was put back: what was upgraded from (None: nothing), and where the old ones are ("": none)."""

    manifest: Manifest
    upgraded_from: str | None
    kept_old: str
    kept_engine: str


# taking one


def back_up(
    database: Database, out: Path, *, actor: str, now: datetime, program: str, progress: Progress | None = None
) -> BackedUp:
    """Write a backup and its manifest; `out` may be a folder, then the file is named by the instant.

    Nobody is held up while it is made, and nothing is left behind where it cannot be. Raises UsageError, DatabaseError,
    OutsideError.
    """
    file = _file_of(database, out, now)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    _sweep(file.parent, now)
    with _tidy(part, what=f"The backup {file}"):
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        found = _copied(database, part, progress)
        if found.revision is None:
            raise UsageError(f"The database {database.name} has no tables yet: there is nothing to keep.")
        _sync(part)
        manifest = Manifest(
            database=_kind(database), sha256=_sha256(part), bytes=part.stat().st_size, made_at=now.isoformat(),
            program=program, revision=found.revision, audit_seq=found.audit_seq, audit_head=found.audit_head,
            feed_seq=found.feed_seq, rows=found.rows,
        )
        _written(file, part, manifest)
    return BackedUp(file=file, manifest=manifest, noted=_noted(database, file, manifest, actor=actor, now=now))


def manifest_of(file: Path) -> Path:
    """Where the manifest of a backup is."""
    return file.with_name(file.name + MANIFEST_SUFFIX)


def _copied(database: Database, part: Path, progress: Progress | None) -> Facts:
    if not database.is_sqlite:
        found = backup.dump_postgresql(database, part, progress=progress)
        backup.check_dump(part, sorted(found.rows), server=database)
        return found
    found = backup.copy_sqlite(database, part, progress=progress)
    if (kept := backup.check_sqlite(part)) != found:
        raise DatabaseError(f"The copy of {database.name} is not what was copied: {_difference(found, kept)}.")
    return found


def _file_of(database: Database, out: Path, now: datetime) -> Path:
    if out.is_dir():
        out = out / f"escrow-{now:%Y%m%dT%H%M%SZ}.{'db' if database.is_sqlite else 'dump'}"
    if not out.parent.is_dir():
        raise UsageError(f"The folder {out.parent} is not there: make it first.")
    for there in (out, manifest_of(out)):
        if there.exists() and (there == out or not _is_manifest(there)):
            raise UsageError(f"{there} is there already, and nothing is ever written over: choose another name.")
    return out


def _written(file: Path, part: Path, manifest: Manifest) -> None:
    """The manifest first: a file that bears the name of a backup is one."""
    told, to = manifest_of(part), manifest_of(file)
    told.write_text(json.dumps({"format": FORMAT, "file": file.name, **asdict(manifest)}, indent=1) + "\n")
    _sync(told)
    if _is_manifest(to):  # of a backup that was cut off before it bore its name
        to.unlink()
    _named(told, to)
    try:
        _named(part, file)
    except OSError:
        to.unlink(missing_ok=True)
        raise
    _sync(file.parent)


def _sweep(folder: Path, now: datetime) -> None:
    """Remove what backups that were killed have left half written."""
    with suppress(OSError):
        for each in folder.iterdir():
            if _PART.match(each.name) and now.timestamp() - each.stat().st_mtime > LEFT_SECONDS:
                each.unlink(missing_ok=True)


def _named(part: Path, file: Path) -> None:
    """Give a whole file its name, unless something bears it meanwhile."""
    try:
        os.link(part, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if file.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        part.rename(file)
    else:
        part.unlink()


def _is_manifest(path: Path) -> bool:
    try:
        with path.open("rb") as content:
            return FORMAT.encode() in content.read(200)
    except OSError:
        return False


@contextmanager
def _tidy(part: Path, *, what: str) -> Iterator[None]:
    """Leave nothing behind of what could not be done, and say in one sentence why it could not."""
    try:
        yield
    except BaseException as error:
        for end in ("", MANIFEST_SUFFIX, "-wal", "-shm", "-journal"):
            with suppress(OSError):
                part.with_name(part.name + end).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutsideError(f"{what} cannot be written: {error.strerror or error}.") from error
        raise


def _noted(database: Database, file: Path, manifest: Manifest, *, actor: str, now: datetime) -> bool:
    """Write down who has a copy of everything. A full disk, or tables that wait for their upgrade, cost no backup."""
    if manifest.revision != REVISION:
        return False
    try:
        with database.write() as session:
            audit.append(session, kind="backup.taken", actor=actor, now=now, payload=_payload(file, manifest))
    except DatabaseError:
        return False
    return True


def _payload(file: Path, manifest: Manifest) -> dict[str, object]:
    return {
        "file": file.name, "sha256": manifest.sha256, "bytes": manifest.bytes, "made_at": manifest.made_at,
        "audit_seq": manifest.audit_seq, "audit_head": manifest.audit_head, "feed_seq": manifest.feed_seq,
    }


# putting one back


def read_manifest(file: Path) -> Manifest:
    """What the manifest beside a backup says. Raises BackupRefused, UsageError."""
    told = manifest_of(file)
    if not file.is_file():
        raise UsageError(f"{file} is not there.")
    try:
        with told.open("rb") as content:
            said = json.loads(content.read(MANIFEST_BYTES_MAX))
        known = {name: said[name] for name in Manifest.__dataclass_fields__}
        manifest = Manifest(**known)
        # What is not as it must be fails here, with the others.
        int(manifest.revision), dict(manifest.rows), manifest.audit_head.strip(), manifest.bytes + manifest.audit_seq
    except OSError as error:
        raise BackupRefused(
            f"{told} cannot be read ({error.strerror}): a backup is put back only with the manifest made with it."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupRefused(f"{told} is not the manifest of a backup ({type(error).__name__}).") from error
    if said.get("format") != FORMAT:
        raise BackupRefused(f"{told} is of a format that this program does not know.")
    return manifest


def restore(
    database_url: str, engine_url: str, file: Path, *, replace_old: bool, actor: str, now: datetime,
    progress: Progress | None = None,
) -> Restored:
    """Put a backup in the place of the database that the configuration names.

    Refused where the file is not what its manifest says, where it is of a newer program, where a daemon lives, and
    where the database holds anything, unless it is to be replaced: then the old one is kept aside. The old database is
    not touched before the backup has been put beside it, upgraded, and its chain walked from end to end.
    """
    manifest = read_manifest(file)
    if int(manifest.revision) > int(REVISION):
        raise BackupRefused(
            f"{file} is of version {manifest.revision}, made by program {manifest.program}; this program knows "
            f"{REVISION}: put it back with the newer program."
        )
    with closing(Database(database_url)) as database:
        if manifest.database != _kind(database):
            raise BackupRefused(f"{file} is of {manifest.database}, but database.url names {_kind(database)}.")
        _compare_hash(file, manifest)
        _refuse_occupied(database, replace_old=replace_old, now=now)
        into = _into_sqlite if database.is_sqlite else _into_postgresql
        kept = into(database, file, manifest, actor=actor, now=now, progress=progress)
        return Restored(
            manifest=manifest, upgraded_from=None if manifest.revision == REVISION else manifest.revision,
            kept_old=kept, kept_engine=_queues_away(database, engine_url, now),
        )


def _into_sqlite(
    database: Database, file: Path, manifest: Manifest, *, actor: str, now: datetime, progress: Progress | None
) -> str:
    target = Path(database.name)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    kept = ""
    with _tidy(part, what=f"The database {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _carry(file, part, manifest, progress)
        _same(backup.check_sqlite(part), manifest, file)
        with closing(Database(f"sqlite:///{part}")) as beside:
            _proved(beside, file, manifest, actor=actor, now=now, progress=progress)
        backup.close_sqlite(part)
        _sync(part)
        if target.exists():
            kept = _set_aside(target, now)
        try:
            part.replace(target)
        except OSError:
            if kept:
                Path(kept).rename(target)
            raise
        _sync(target.parent)
    return kept


def _into_postgresql(
    database: Database, file: Path, manifest: Manifest, *, actor: str, now: datetime, progress: Progress | None
) -> str:
    with database.read() as session:
        is_empty = not backup.facts(session).rows
    aside = None if is_empty else f"replaced_{now:%Y%m%dt%H%M%S}"
    if aside is not None:
        backup.put_aside(database, aside)
    try:
        backup.load_postgresql(database, file, tables=len(manifest.rows), progress=progress)
        with database.read() as session:
            found = backup.facts(session)
        _same(found, manifest, file)
        _proved(database, file, manifest, actor=actor, now=now, progress=progress)
    except BaseException:
        backup.take_back(database, aside)
        raise
    return "" if aside is None else f"schema {aside}"


def _proved(
    database: Database, file: Path, manifest: Manifest, *, actor: str, now: datetime, progress: Progress | None
) -> None:
    """Bring it up to this version, walk its chain, and write down that it was put back."""
    database.upgrade()
    with database.read() as session:
        verdict = audit.verify(session, progress=progress)
    if not verdict.whole:
        raise BackupRefused(f"The audit record in {file} is not whole: {verdict.detail}.")
    if (verdict.head.seq, verdict.head.head) != (manifest.audit_seq, manifest.audit_head):
        raise BackupRefused(f"The audit record in {file} ends otherwise than its manifest says.")
    with database.write() as session:
        for name in nodes.last_beats(session):  # They work with what this is a copy of.
            nodes.forget(session, name)
        audit.append(session, kind="backup.restored", actor=actor, now=now, payload=_payload(file, manifest))


def _refuse_occupied(database: Database, *, replace_old: bool, now: datetime) -> None:
    """Raise DatabaseError or BackupRefused where somebody works with the database, or it holds anything."""
    if database.is_sqlite and not Path(database.name).exists():
        return
    try:
        with database.read() as session:
            rows = backup.facts(session).rows
            # Whether anybody has a file open, the file itself says, and for certain.
            is_shared = not database.is_sqlite
            beats = nodes.last_beats(session) if is_shared and "nodes" in rows else {}
            others = backup.others_connected(session) if is_shared else 0
    except DatabaseError as error:
        if not (database.is_sqlite and replace_old):
            raise
        if "locked" in str(error):
            raise
        return  # It is damaged, which is why it is to be replaced.
    alive = [name for name, at in beats.items() if now - at < timedelta(seconds=ALIVE_SECONDS)]
    if alive:
        raise BackupRefused(
            f"The daemon {', '.join(alive)} works with {database.name}: stop it first. (That it has stopped is certain "
            f"after {ALIVE_SECONDS} seconds.)"
        )
    if others:
        raise BackupRefused(f"{others} connections of this program to {database.name} are open: stop daemon and web.")
    if rows and not replace_old:
        raise BackupRefused(
            f"The database {database.name} is not empty: with --replace it is kept aside and the backup takes its "
            "place."
        )
    if database.is_sqlite:
        database.close()
        backup.close_sqlite(Path(database.name))


def _set_aside(target: Path, now: datetime) -> str:
    """Rename a database file with all that belongs to it; "" where there is none."""
    aside = target.with_name(f"{target.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    if aside.exists():
        raise BackupRefused(f"{aside} is there already: move it away first.")
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            target.with_name(target.name + end).rename(aside.with_name(aside.name + end))
    return str(aside) if aside.exists() else ""


def _queues_away(database: Database, engine_url: str, now: datetime) -> str:
    """The engine remembers work that the restored database has not seen: it begins anew."""
    if engine_url.startswith("sqlite:///"):
        return _set_aside(Path(engine_url.removeprefix("sqlite:///")), now)
    with closing(Database(engine_url)) as engine:
        backup.forget_queues(engine)
    return ""


def _carry(file: Path, part: Path, manifest: Manifest, progress: Progress | None) -> None:
    done, hashed = 0, hashlib.sha256()
    with file.open("rb") as source, part.open("wb") as target:
        while piece := source.read(READ_BYTES):
            hashed.update(piece)
            target.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, manifest.bytes)
    if hashed.hexdigest() != manifest.sha256:
        raise BackupRefused(f"{file} changed while it was read.")


def _compare_hash(file: Path, manifest: Manifest) -> None:
    try:
        found = _sha256(file) if file.stat().st_size == manifest.bytes else ""
    except OSError as error:
        raise BackupRefused(f"{file} cannot be read: {error.strerror}.") from error
    if found != manifest.sha256:
        raise BackupRefused(f"{file} is not what its manifest is about (SHA-256 differs): it was changed or cut.")


def _same(found: Facts, manifest: Manifest, file: Path) -> None:
    if found != replace(manifest.facts, rows=dict(manifest.rows)):
        raise BackupRefused(f"{file} does not hold what its manifest says: {_difference(manifest.facts, found)}.")


def _difference(told: Facts, found: Facts) -> str:
    """What differs, in a few words."""
    for name in ("revision", "audit_seq", "audit_head", "feed_seq"):
        if getattr(told, name) != getattr(found, name):
            return f"{name} is {getattr(found, name)}, not {getattr(told, name)}"
    differing: Sequence[str] = [
        table for table in sorted({*told.rows, *found.rows}) if told.rows.get(table) != found.rows.get(table)
    ]
    return ", ".join(f"{table} {found.rows.get(table)}, not {told.rows.get(table)}" for table in differing[:3])


def _kind(database: Database) -> str:
    return "SQLite" if database.is_sqlite else "PostgreSQL"


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Not before it is on the disk is it there."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
