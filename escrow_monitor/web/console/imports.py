"""Importing files: a file is sent and tried, what is wrong is shown in its place, and what was tried is confirmed."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
from escrow_monitor.actions.table_files import Names, open_table
from escrow_monitor.domain.permissions import Permission
from escrow_monitor.domain.pseudonyms import names_a_person
from escrow_monitor.logs import masked
from escrow_monitor.records.evidence import search as audit_search
from escrow_monitor.records.evidence.audit import AuditRecord
from escrow_monitor.records.evidence.search import AskedAudit
from escrow_monitor.web.console.forms import Sent, see_other, sent
from escrow_monitor.web.console.gate import Gate
from escrow_monitor.web.console.imports_words import fault_in, reason_in
from escrow_monitor.web.console.works import Progress, TooMuchWork, Work, Works, WorkState
from escrow_monitor.web.guard import SCOPE_IMPORT, Guard
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import Problem
from escrow_monitor.web.who import Who

FILE_BYTES_MAX = 512 * 1024 * 1024
"""The same as over the API."""
HELD_MAX = 12
"""So many files wait for their sender at once, at most."""
HELD_BYTES_MAX = 2 * 1024 * 1024 * 1024
HELD_FOR = timedelta(minutes=30)
FILENAME_CHARACTERS_MAX = 200
HISTORY_SHOWN = 10
CELL_CHARACTERS_MAX = 80
HIDDEN = "•••"
PSEUDONYMS = frozenset({"student_ref", "complainant_ref"})
A_NAME = "a person's name"
KIND = "import"


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


@dataclass(kw_only=True)
class Held:
    """A file that was sent and waits for its sender. It has no name on disk and is gone with the process."""

    file_id: str
    owner: str
    kind: str
    filename: str
    sha256: str
    size: int
    stream: BinaryIO
    touched_at: datetime
    trial: Work
    keeping: Work | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def work(self) -> Work:
        """What is or was done with it last."""
        return self.keeping or self.trial


class Drawer:
    """The files that wait. A file is dropped when nobody asked for it for HELD_FOR, and the oldest for a new one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}

    def keep(self, held: Held) -> None:
        """Take a file in."""
        with self._lock:
            self._drop_old(held.touched_at)
            while len(self._held) >= HELD_MAX or self._bytes() + held.size > HELD_BYTES_MAX:
                if (idle := self._idle()) is None:
                    raise TooMuchWork
                self._drop(idle)
            self._held[held.file_id] = held
            # However the drawer goes, the file is closed.
            weakref.finalize(held, held.stream.close)

    def of(self, file_id: str, *, owner: str, now: datetime) -> Held | None:
        """The file of that number, if it is theirs."""
        with self._lock:
            self._drop_old(now)
            held = self._held.get(file_id)
            if held is None or held.owner != owner:
                return None
            held.touched_at = now
            return held

    def discard(self, held: Held) -> None:
        """Drop it, unless something is done with it."""
        with self._lock:
            if held.work.state is not WorkState.RUNNING:
                self._drop(held)

    def _drop_old(self, now: datetime) -> None:
        for held in list(self._held.values()):
            if held.work.state is not WorkState.RUNNING and now - held.touched_at > HELD_FOR:
                self._drop(held)

    def _drop(self, held: Held) -> None:
        if self._held.pop(held.file_id, None) is not None:
            held.stream.close()

    def _idle(self) -> Held | None:
        idle = [held for held in self._held.values() if held.work.state is not WorkState.RUNNING]
        return min(idle, key=lambda held: held.touched_at, default=None)

    def _bytes(self) -> int:
        return sum(held.size for held in self._held.values())


def routes(guard: Guard, ports: WebPorts) -> list[BaseRoute]:
    """`/imports...`. A row may be about any institution: who is limited to some loads nothing."""
    gate = Gate(guard, ports, here="imports", needs=Permission.IMPORT, whole=True)
    desk = _Desk(gate, ports)
    return [
        Route("/imports", gate.page(desk.start), methods=["GET"]),
        Route("/imports/templates/{kind}.csv", gate.page(desk.template), methods=["GET"]),
        Route("/imports/files", desk.receive, methods=["POST"]),
        Route("/imports/files/{file_id}", gate.page(desk.file), methods=["GET"]),
        Route(
            "/imports/files/{file_id}/confirm", sent(guard, ports, SCOPE_IMPORT, desk.confirm), methods=["POST"]
        ),
        Route(
            "/imports/files/{file_id}/discard", sent(guard, ports, SCOPE_IMPORT, desk.discard), methods=["POST"]
        ),
    ]


class _Desk:
    """What the pages answer."""

    def __init__(self, gate: Gate, ports: WebPorts) -> None:
        self._gate, self._ports = gate, ports
        self._drawer, self._works = Drawer(), Works()

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
        """A file as the body, sent by a script of the page, to a temporary file without a name; then it is tried."""
        who = await self._gate.guard.require(request, SCOPE_IMPORT)
        who.check_sees_everything(what="a file")
        kind, filename = request.query_params.get("kind", ""), request.query_params.get("filename", "").strip()
        if kind not in KINDS:
            raise Problem(400, f"there is no kind {kind[:40]!r}: choose {', '.join(KINDS)}")
        if not filename or len(filename) > FILENAME_CHARACTERS_MAX or not filename.isprintable() or "/" in filename:
            raise Problem(400, f"filename is one line of at most {FILENAME_CHARACTERS_MAX} characters")
        now = self._ports.people_now()
        stream = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - it is held until it is confirmed
        try:
            sha256, size = await _streamed(request, stream)
            trial = self._works.begin(
                partial(self._try, kind, filename, stream, who.actor), kind=KIND, owner=who.actor, now=now
            )
            held = Held(
                file_id=secrets.token_hex(8), owner=who.actor, kind=kind, filename=filename, sha256=sha256,
                size=size, stream=stream, touched_at=now, trial=trial,
            )
            self._drawer.keep(held)
        except TooMuchWork as error:
            stream.close()
            raise Problem(503, "as much is at work as may be at once: try again shortly") from error
        except BaseException:
            stream.close()
            raise
        location = f"/imports/files/{held.file_id}"
        return Response(
            orjson.dumps({"location": location, "sha256": sha256}), 201,
            {"Location": location, "Cache-Control": "no-store"}, "application/json",
        )

    async def file(self, request: Request, who: Who, lang: Lang) -> Response:
        """How far it is, what the trial found, or what was imported."""
        held = self._held(request, who)
        if held is None:
            return self._gone(request, lang)
        return self._shown(request, lang, held)

    async def confirm(self, request: Request, form: Sent, lang: Lang) -> Response:
        """Import exactly the bytes that were tried."""
        form.who.check_sees_everything(what="a file")
        held = self._held(request, form.who)
        if held is None:
            return self._gone(request, lang)
        outcome = held.trial.result
        with held.lock:
            if held.keeping is not None or not isinstance(outcome, Outcome):
                return self._shown(request, lang, held, wrong="import_not_now", status=409)
            if form.text("sha256") != held.sha256 or outcome.imported.sha256 != held.sha256:
                return self._shown(request, lang, held, wrong="import_other_bytes", status=409)
            skips = form.text("skip_bad_rows") == "yes"
            if outcome.imported.bad and not skips:
                return self._shown(request, lang, held, wrong="import_must_skip", status=409)
            try:
                held.keeping = self._works.begin(
                    partial(self._keep, held, skips), kind=KIND, owner=held.owner, now=self._ports.people_now()
                )
            except TooMuchWork:
                return self._shown(request, lang, held, wrong="work_too_much", status=503)
        return see_other(f"/imports/files/{held.file_id}")

    async def discard(self, request: Request, form: Sent, lang: Lang) -> Response:
        """Drop the file."""
        held = self._held(request, form.who)
        if held is not None:
            self._drawer.discard(held)
        return see_other("/imports")

    def _held(self, request: Request, who: Who) -> Held | None:
        return self._drawer.of(request.path_params["file_id"], owner=who.actor, now=self._ports.people_now())

    def _gone(self, request: Request, lang: Lang) -> Response:
        return self._gate.shown("work_gone.html", request, lang, status=404, back="/imports")

    def _shown(
        self, request: Request, lang: Lang, held: Held, *, wrong: str = "", status: int = 200
    ) -> Response:
        work = held.work.now()
        outcome = work.result if work.state is WorkState.DONE else None
        fault = fault_in(lang, held.filename, work.error) if work.state is WorkState.FAILED and work.error else ""
        return self._gate.shown(
            "import_file.html", request, lang, status=status, held=held, work=work, outcome=outcome, wrong=wrong,
            fault=fault, reason_of=partial(reason_in, lang), column_of=partial(_column, held.kind, lang),
            url=f"/imports/files/{held.file_id}",
        )

    def _try(self, kind: str, filename: str, stream: BinaryIO, actor: str, progress: Progress) -> Outcome:
        imported = self._import(kind, filename, stream, actor, progress, dry_run=True, skips=False)
        return Outcome(imported=imported, rows=bad_views(stream, kind, filename, imported.bad_rows))

    def _keep(self, held: Held, skips: bool, progress: Progress) -> Outcome:
        imported = self._import(
            held.kind, held.filename, held.stream, held.owner, progress, dry_run=False, skips=skips
        )
        return Outcome(
            imported=imported, rows=bad_views(held.stream, held.kind, held.filename, imported.bad_rows)
        )

    def _import(
        self, kind: str, filename: str, stream: BinaryIO, actor: str, progress: Progress, *, dry_run: bool, skips: bool
    ) -> Imported:
        return import_file(
            self._ports.database, kind=kind, stream=stream, filename=filename, dry_run=dry_run, skip_bad_rows=skips,
            actor=actor, now=self._ports.clock.now(), progress=progress,
        )


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


async def _streamed(request: Request, stream: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    async for part in request.stream():
        size += len(part)
        if size > FILE_BYTES_MAX:
            raise Problem(413, f"the file is larger than {FILE_BYTES_MAX // 2**20} MB: cut it into parts")
        digest.update(part)
        await run_in_threadpool(stream.write, part)
    if not size:
        raise Problem(400, "the file is empty")
    return digest.hexdigest(), size


__all__ = ["BadView", "Outcome", "bad_views", "routes"]
