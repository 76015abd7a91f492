"""Importing files: a file is sent and tried, what is wrong is shown in its place, and what was tried is confirmed."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import BinaryIO, cast

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from alerts.feeds.item import Lang
from escrow_monitor.actions.import_columns import COLUMNS, NEEDED, template
from escrow_monitor.actions.import_files import BadRow, Imported, import_file
from escrow_monitor.actions.import_kinds import KINDS
from escrow_monitor.actions.table_export import Column, ExportTable, Row
from escrow_monitor.actions.table_export import Kind as ColumnKind
from escrow_monitor.actions.table_files import Names, open_table
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.pseudonyms import names_a_person
from escrow_monitor.logs import masked
from escrow_monitor.records import uploads
from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.audit import AuditRecord
from escrow_monitor.records.evidence.search import AskedAudit
from escrow_monitor.records.uploads import Upload
from escrow_monitor.web.console.forms import Sent, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.tables import Asked, Taken, table_routes
from escrow_monitor.web.console.words.imports import fault_in, reason_in
from escrow_monitor.web.guard import SCOPE_IMPORT, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who
from escrow_monitor.web.works import Kind, Progress, TooMuchWork, Work, Works, WorkState

FILE_BYTES_MAX = 512 * 1024 * 1024
"""The same as over the API."""
PIECE_BYTES = 4 * 1024 * 1024
"""A file is kept in pieces of about this."""
TOUCHED_EVERY = timedelta(minutes=1)
FILENAME_CHARACTERS_MAX = 200
HISTORY_SHOWN = 10
CELL_CHARACTERS_MAX = 80
HIDDEN = "•••"
PSEUDONYMS = frozenset({"student_ref", "complainant_ref"})
A_NAME = "a person's name"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadView:
    """One thing that is wrong: its place, and the cells of its row as (column, text, whether it is the wrong one)."""

    bad: BadRow
    cells: Sequence[tuple[str, str, bool]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trial found or an import did."""

    imported: Imported
    rows: Sequence[BadView]

    @property
    def good(self) -> int:
        """Rows with nothing wrong."""
        return max(0, self.imported.rows - self.imported.bad)

    @property
    def same(self) -> int:
        """Good rows that were recorded just so."""
        return max(0, self.good - self.imported.changed)

    @property
    def compared(self) -> bool:
        """False where so many rows are wrong that the file was not held against the records."""
        return bool(self.imported.changed or not self.imported.bad)


ERRORS = ExportTable(name="import-errors", zh="导入错误", en="Import errors", columns=(
    Column("行", "Line", ColumnKind.COUNT), Column("列", "Column"), Column("内容", "Value"), Column("原因", "Reason"),
))
TRIAL: Kind[Outcome] = Kind(name="import_trial", shape=Outcome, running_max=3)
KEEPING: Kind[Outcome] = Kind(name="import_keeping", shape=Outcome, running_max=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A file that was sent and waits for its sender, with what its trial found and what importing it did."""

    file: Upload
    trial: Work[Outcome] | None
    keeping: Work[Outcome] | None = None

    @property
    def work(self) -> Work[Outcome] | None:
        """What is or was done with it last."""
        return self.keeping or self.trial


def routes(guard: Guard, ports: WebPorts, works: Works) -> list[BaseRoute]:
    """`/imports...`. A row may be about any institution: who is limited to some loads nothing."""
    gate = Gate(guard, ports, here="imports", needs=Permission.IMPORT, whole=True)
    desk = _Desk(gate, ports, works)
    return [
        Route("/imports", gate.page(desk.start), methods=["GET"]),
        Route("/imports/templates/{kind}.csv", gate.page(desk.template), methods=["GET"]),
        Route("/imports/files", desk.receive, methods=["POST"]),
        Route("/imports/files/{file_id}", gate.page(desk.file), methods=["GET"]),
        *table_routes(guard, ports, [Taken(
            path="/imports/files/{file_id}/errors", table=ERRORS, rows=desk.errors, gate=gate, about="file_id",
            gone="/imports",
        )]),
        Route(
            "/imports/files/{file_id}/confirm", sent(guard, ports, SCOPE_IMPORT, desk.confirm), methods=["POST"]
        ),
        Route(
            "/imports/files/{file_id}/discard", sent(guard, ports, SCOPE_IMPORT, desk.discard), methods=["POST"]
        ),
    ]


class _Taken(Exception):
    """The file is being imported already: nothing of this is written."""


class _Desk:
    """What the pages answer."""

    def __init__(self, gate: Gate, ports: WebPorts, works: Works) -> None:
        self._gate, self._ports, self._works = gate, ports, works

    async def start(self, request: Request, who: Who, lang: Lang) -> Response:
        """The page to begin on."""
        def ask() -> Sequence[AuditRecord]:
            with self._ports.database.read() as session:
                return audit_search.search(session, AskedAudit(kind="file.imported"), limit=HISTORY_SHOWN).records

        chosen = request.query_params.get("kind", "")
        return self._gate.shown(
            "imports.html", request, lang, kinds=COLUMNS, needed=NEEDED, history=await run_in_threadpool(ask),
            chosen=chosen if chosen in KINDS else "", may_audit=who.may(Permission.AUDIT), bytes_max=FILE_BYTES_MAX,
        )

    async def template(self, request: Request, who: Who, lang: Lang) -> Response:
        """A header and an example, as a sheet opens it."""
        kind = request.path_params["kind"]
        if kind not in COLUMNS:
            raise Problem(404, f"there is no kind {kind[:40]!r}: choose {', '.join(COLUMNS)}")
        language = "en" if request.query_params.get("header", lang) == "en" else "zh"
        return Response(
            "\ufeff" + template(kind, language), media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{kind}.csv"', "Cache-Control": "no-store"},
        )

    async def receive(self, request: Request) -> Response:
        """A file as the body, sent by a script of the page, kept where every node finds it; then it is tried."""
        who = await self._gate.guard.require(request, SCOPE_IMPORT)
        who.check_sees_everything(what="a file")
        kind, filename = request.query_params.get("kind", ""), request.query_params.get("filename", "").strip()
        if kind not in KINDS:
            raise Problem(400, f"there is no kind {kind[:40]!r}: choose {', '.join(KINDS)}")
        if not filename or len(filename) > FILENAME_CHARACTERS_MAX or not filename.isprintable() or "/" in filename:
            raise Problem(400, f"filename is one line of at most {FILENAME_CHARACTERS_MAX} characters")
        file_id = secrets.token_hex(8)
        try:
            sha256 = await self._received(request, file_id, kind=kind, filename=filename, owner=who.actor)
        except (TooMuchWork, uploads.NoRoom) as error:
            raise Problem(503, "as much is at work as may be at once: try again shortly") from error
        location = f"/imports/files/{file_id}"
        return Response(
            orjson.dumps({"location": location, "sha256": sha256}), 201,
            {"Location": location, "Cache-Control": "no-store"}, "application/json",
        )

    async def file(self, request: Request, who: Who, lang: Lang) -> Response:
        """How far it is, what the trial found, or what was imported."""
        held = await run_in_threadpool(self._held, request.path_params["file_id"], who)
        if held is None:
            return self._gone(request, lang)
        return self._shown(request, lang, held)

    async def confirm(self, request: Request, form: Sent, lang: Lang) -> Response:
        """Import exactly the bytes that were tried."""
        form.who.check_sees_everything(what="a file")
        held = await run_in_threadpool(self._held, request.path_params["file_id"], form.who)
        if held is None:
            return self._gone(request, lang)
        outcome = None if held.trial is None else held.trial.result
        if held.keeping is not None or outcome is None:
            return self._shown(request, lang, held, wrong="import_not_now", status=409)
        if form.text("sha256") != held.file.sha256 or outcome.imported.sha256 != held.file.sha256:
            return self._shown(request, lang, held, wrong="import_other_bytes", status=409)
        skips = form.text("skip_bad_rows") == "yes"
        if outcome.imported.bad and not skips:
            return self._shown(request, lang, held, wrong="import_must_skip", status=409)
        try:
            taken = await run_in_threadpool(self._begin_keeping, held.file, skips)
        except TooMuchWork:
            return self._shown(request, lang, held, wrong="work_too_much", status=503)
        if not taken:
            return self._shown(request, lang, held, wrong="import_not_now", status=409)
        return see_other(f"/imports/files/{held.file.file_id}")

    async def discard(self, request: Request, form: Sent, lang: Lang) -> Response:
        """Drop the file."""
        def drop() -> None:
            with self._ports.database.write() as session:
                uploads.discard(
                    session, request.path_params["file_id"], owner=form.who.actor, now=self._ports.people_now()
                )

        await run_in_threadpool(drop)
        return see_other("/imports")

    async def _received(self, request: Request, file_id: str, *, kind: str, filename: str, owner: str) -> str:
        """Take the body in, piece by piece, and have it tried; return its SHA-256. What stays half is dropped."""
        digest, size, number, piece = hashlib.sha256(), 0, 0, bytearray()
        await run_in_threadpool(self._open_file, file_id, kind=kind, filename=filename, owner=owner)
        try:
            async for part in request.stream():
                size += len(part)
                if size > FILE_BYTES_MAX:
                    raise Problem(413, f"the file is larger than {FILE_BYTES_MAX // 2**20} MB: cut it into parts")
                digest.update(part)
                piece += part
                if len(piece) >= PIECE_BYTES:
                    await run_in_threadpool(self._add_piece, file_id, number, bytes(piece))
                    number, piece = number + 1, bytearray()
            if not size:
                raise Problem(400, "the file is empty")
            if piece:
                await run_in_threadpool(self._add_piece, file_id, number, bytes(piece))
            await run_in_threadpool(
                self._begin_trial, file_id, kind=kind, filename=filename, owner=owner, sha256=digest.hexdigest(),
                size=size,
            )
        except BaseException:
            await run_in_threadpool(self._drop_file, file_id)
            raise
        return digest.hexdigest()

    def _open_file(self, file_id: str, *, kind: str, filename: str, owner: str) -> None:
        with self._ports.database.write() as session:
            uploads.begin(
                session, file_id, owner=owner, kind=kind, filename=filename, now=self._ports.people_now()
            )

    def _add_piece(self, file_id: str, number: int, content: bytes) -> None:
        with self._ports.database.write() as session:
            uploads.add_part(session, file_id, number, content, now=self._ports.people_now())

    def _drop_file(self, file_id: str) -> None:
        with self._ports.database.write() as session:
            uploads.drop(session, [file_id])

    def _begin_trial(
        self, file_id: str, *, kind: str, filename: str, owner: str, sha256: str, size: int
    ) -> None:
        with self._ports.database.write() as session:
            work = self._works.enter(session, kind=TRIAL, owner=owner, subject=filename, asked={"kind": kind})
            uploads.complete(
                session, file_id, sha256=sha256, size=size, trial_id=work.work_id, now=self._ports.people_now()
            )
        self._works.start(
            work, partial(self._import, file_id, kind, filename, owner, dry_run=True, skips=False), kind=TRIAL
        )

    def _begin_keeping(self, file: Upload, skips: bool) -> bool:
        """Have it imported; False if somebody was quicker, here or at another node."""
        try:
            with self._ports.database.write() as session:
                work = self._works.enter(
                    session, kind=KEEPING, owner=file.owner, subject=file.filename, asked={"kind": file.kind}
                )
                if not uploads.take(session, file.file_id, keeping_id=work.work_id, now=self._ports.people_now()):
                    raise _Taken
        except _Taken:
            return False
        self._works.start(
            work, partial(
                self._import, file.file_id, file.kind, file.filename, file.owner, dry_run=False, skips=skips
            ), kind=KEEPING,
        )
        return True

    def errors(self, asked: Asked) -> list[Row] | None:
        """What is wrong with a file, as a table to work it off by."""
        held = self._held(asked.request.path_params["file_id"], asked.who)
        outcome = None if held is None or held.work is None else held.work.result
        if held is None or outcome is None:
            return None
        return [
            (
                one.bad.line, _column(held.file.kind, asked.lang, one.bad.column) if one.bad.column else None,
                one.bad.value, reason_in(asked.lang, one.bad.reason),
            )
            for one in outcome.rows
        ]

    def _held(self, file_id: str, who: Who) -> Held | None:
        now = self._ports.people_now()
        with self._ports.database.read() as session:
            file = uploads.upload(session, file_id, owner=who.actor, now=now)
        if file is None:
            return None
        if now - file.touched_at > TOUCHED_EVERY:
            with self._ports.database.write() as session:
                uploads.touch(session, file_id, now=now)
        return Held(
            file=file, trial=self._works.of(file.trial_id, kind=TRIAL, owner=who.actor),
            keeping=None if file.keeping_id is None else self._works.of(
                file.keeping_id, kind=KEEPING, owner=who.actor
            ),
        )

    def _gone(self, request: Request, lang: Lang) -> Response:
        return self._gate.shown("work_gone.html", request, lang, status=404, back="/imports")

    def _shown(
        self, request: Request, lang: Lang, held: Held, *, wrong: str = "", status: int = 200
    ) -> Response:
        work, file = held.work, held.file
        if work is None:
            return self._gone(request, lang)
        fault = fault_in(lang, file.filename, work.error) if work.state is WorkState.FAILED and work.error else ""
        return self._gate.shown(
            "import_file.html", request, lang, status=status, held=file, keeping=held.keeping, work=work,
            outcome=work.result, wrong=wrong, fault=fault, reason_of=partial(reason_in, lang),
            column_of=partial(_column, file.kind, lang), url=f"/imports/files/{file.file_id}",
        )

    def _import(
        self, file_id: str, kind: str, filename: str, owner: str, progress: Progress, *, dry_run: bool, skips: bool
    ) -> Outcome:
        """Try or import a file that was sent, to whichever node."""
        with tempfile.TemporaryFile() as stream:
            with self._ports.database.read() as session:
                for part in uploads.parts(session, file_id):
                    stream.write(part)
            stream.seek(0)
            file = cast("BinaryIO", stream)
            imported = import_file(
                self._ports.database, kind=kind, stream=file, filename=filename, dry_run=dry_run,
                skip_bad_rows=skips, actor=owner, now=self._ports.clock.now(), progress=progress,
            )
            found = Outcome(imported=imported, rows=bad_views(file, kind, filename, imported.bad_rows))
        if not dry_run:
            with self._ports.database.write() as session:
                uploads.drop_bytes(session, file_id)
        return found


def bad_views(stream: BinaryIO, kind: str, filename: str, bad_rows: Sequence[BadRow]) -> list[BadView]:
    """What is wrong with the rows it is wrong with beside it. No cell shows more than the reason for it may."""
    wanted = {bad.line for bad in bad_rows}
    rows: dict[int, list[str]] = {}
    columns: Sequence[str] = ()
    if wanted:
        names = Names({name: text.zh for name, text in COLUMNS[kind].items()}, needed=NEEDED[kind], where=filename)
        table = open_table(stream, names)
        columns, last = table.columns, max(wanted)
        for piece in table.rows:
            for place, line in enumerate(piece.lines):
                if line in wanted:
                    rows[line] = [
                        _cell(name, column[place]) for name, column in zip(columns, piece.columns, strict=True)
                    ]
            if piece.lines and piece.lines[-1] >= last:
                break
        # A reader that was left before its end would close the file with it.
        closing = getattr(table.rows, "close", None)
        if closing is not None:
            closing()
    return [BadView(bad=bad, cells=_cells(columns, rows.get(bad.line), bad)) for bad in bad_rows]


def _cells(columns: Sequence[str], row: Sequence[str] | None, bad: BadRow) -> list[tuple[str, str, bool]]:
    if row is None:
        return []
    wrong = {name.strip() for name in bad.column.split(",")}
    return [
        (name, bad.value if name in wrong and bad.value else cell, name in wrong)
        for name, cell in zip(columns, row, strict=True) if cell or name in wrong
    ]


def _cell(name: str, cell: object) -> str:
    """A cell as it is shown: what names a person, or might, is not. An institution's number is public."""
    text = str(getattr(cell, "text", cell)).strip()[:CELL_CHARACTERS_MAX]
    if name == "uscc":
        return text
    person = names_a_person(text)
    # Any two to four characters may be a name; they are one only where a pseudonym is asked for.
    return HIDDEN if person is not None and (name in PSEUDONYMS or person != A_NAME) else masked(text)


def _column(kind: str, lang: Lang, names: str) -> str:
    """What columns are called."""
    known: Mapping[str, str] = {name: text.zh for name, text in COLUMNS[kind].items()}
    told = [known.get(name.strip(), name.strip()) if lang == "zh" else name.strip() for name in names.split(",")]
    return ("、" if lang == "zh" else ", ").join(told)


__all__ = ["BadView", "Outcome", "bad_views", "routes"]
