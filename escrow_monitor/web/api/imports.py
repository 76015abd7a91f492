"""`/api/v1/imports`: a file of contracts, charges, lessons or the like, loaded as by the command line.

A small file is answered once it is loaded. A large one, or one sent with `Prefer: respond-async`, is answered 202 at
once and followed at its address.
"""

from __future__ import annotations

import hashlib
import tempfile
from datetime import datetime
from typing import Annotated, BinaryIO, Literal, cast

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from escrow_monitor.actions.import_columns import COLUMNS, template
from escrow_monitor.actions.import_files import Imported, import_file
from escrow_monitor.actions.import_kinds import KINDS
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bank.kept_answers import KeptAnswer
from escrow_monitor.web.api.again import Again, answer_of, kept_once, refusal
from escrow_monitor.web.api.deciding import decider, decides
from escrow_monitor.web.api.taken import FILE_BODY
from escrow_monitor.web.api.views import ListView
from escrow_monitor.web.api.works import (
    AskedWorks,
    LongNoun,
    WorkId,
    WorkView,
    problem_document,
    work_fields,
)
from escrow_monitor.web.guard import SCOPE_IMPORT, Guard
from escrow_monitor.web.long_work import IMPORT
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON, Problem
from escrow_monitor.web.who import Asker, Who
from escrow_monitor.web.works import Progress, Work, Works, WorkState

PATH = "/api/v1/imports"
FILE_BYTES_MAX = 512 * 1024 * 1024
IN_MEMORY_BYTES_MAX = 8 * 1024 * 1024
ANSWERED_AT_ONCE_BYTES_MAX = 16 * 1024 * 1024
"""Who sends more does not wait for the answer: proxies on the way would give up before it comes."""
ASYNC = "respond-async"


class AskedImport(BaseModel):
    """How a file is to be loaded. `filename` tells what it is by its ending, and is what the audit record names."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(max_length=200, pattern=r"^[^/\\\x00-\x1f]+$")
    dry_run: bool = False
    skip_bad_rows: bool = False


class ImportedView(BaseModel):
    """What became of a file: rows that are new or changed what was recorded, and those that were refused."""

    kind: str
    file: str
    sha256: str
    rows: int
    new: int
    updated: int
    changed: int
    bad: int
    kept: bool
    dry_run: bool
    bad_rows: list[dict[str, str | int]]


class CsvResponse(Response):
    """A sheet."""

    media_type = "text/csv"


class AskedTemplate(BaseModel):
    """In which language the header is."""

    model_config = ConfigDict(extra="forbid")

    header: Literal["zh", "en"] = "zh"


class ImportView(WorkView):
    """A file that is being loaded, or was. Bad rows that kept it out make it `failed`, and are in `problem`."""

    kind: str
    file: str
    dry_run: bool
    skip_bad_rows: bool
    result: ImportedView | None


def router(ports: WebPorts, guard: Guard, works: Works) -> APIRouter:
    """The routes of this noun. Loading a file needs a key with the scope `import`; its name is who loaded it.

    A row may be about any institution: who is limited to some loads nothing.
    """
    routes = APIRouter(tags=["imports"])
    noun = LongNoun(
        ports=ports, works=works, kind=IMPORT, view=_view, what="import",
        path=lambda work: f"{PATH}/{work.asked['kind']}/{work.work_id}",
    )
    _loads(routes, noun, guard)
    _follows(routes, noun)

    @routes.get("/import-templates/{kind}", response_class=CsvResponse)
    def empty(kind: str, asked: Annotated[AskedTemplate, Query()]) -> Response:
        """A header and an example of what a file of this kind has in its columns."""
        if kind not in COLUMNS:
            raise Problem(404, f"there is no kind {kind[:40]!r}: choose {', '.join(COLUMNS)}")
        return CsvResponse("\ufeff" + template(kind, asked.header))

    return routes


def _loads(routes: APIRouter, noun: LongNoun[Imported, ImportView], guard: Guard) -> None:
    ports = noun.ports

    @routes.post(
        "/imports/{kind}", response_model=ImportedView,
        dependencies=decides(ports, guard, SCOPE_IMPORT, whole="a file"),
        openapi_extra=FILE_BODY,
        responses={
            202: {"model": ImportView, "description": "it is being loaded: follow it at `Location`"},
            **{status: {"description": what, "content": {PROBLEM_JSON: {}}} for status, what in (
                (400, "the file is no such table"), (404, "there is no such kind"),
                (409, "the key stands for another file"), (413, "the file is too large"),
            )},
        },
    )
    async def load(
        kind: str, asked: Annotated[AskedImport, Query()], request: Request, idempotency_key: Again = None,
        prefer: Annotated[str | None, Header(max_length=200, description="`respond-async`: answer at once")] = None,
    ) -> Response:
        """Load the file in the body, whole or not at all; bad rows are listed in a 422 unless they are skipped.

        A file of more than 16 MB, or one that comes with `Prefer: respond-async`, is answered 202 while it is loaded.
        """
        if kind not in KINDS:
            raise Problem(404, f"there is no kind {kind[:40]!r}: choose {', '.join(KINDS)}")
        file = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES_MAX))  # noqa: SIM115 - see below
        try:
            digest, size = await _taken(request, file, told=f"import\n{kind}\n{asked.model_dump_json()}\n")
        except BaseException:
            file.close()
            raise
        who = decider(request)
        if size > ANSWERED_AT_ONCE_BYTES_MAX or _prefers_async(prefer):
            # The file is closed by who loads it.
            return await run_in_threadpool(
                _begun, noun, kind, asked, file, who=who, idempotency_key=idempotency_key, told=digest,
            )
        with file:
            def do() -> KeptAnswer:
                return _loaded(ports, kind, asked, file, actor=who.actor, now=ports.clock.now())

            return answer_of(await run_in_threadpool(
                kept_once, ports.database, do, actor=who.actor, idempotency_key=idempotency_key,
                asked=[digest.encode()], now=ports.clock.now(),
            ))


def _follows(routes: APIRouter, noun: LongNoun[Imported, ImportView]) -> None:
    @routes.get("/imports")
    def newest(asked: Annotated[AskedWorks, Query()], who: Asker) -> ListView[ImportView]:
        """One's own files that were loaded while one did not wait, the newest first; an administrator's: everybody's.
        """
        return noun.page(asked, who)

    @routes.get("/imports/{kind}/{work_id}")
    def follow(kind: str, work_id: WorkId, who: Asker) -> ImportView:
        """How far a file is that is being loaded, and what became of it."""
        found = noun.shown(work_id, who)
        if found.asked.get("kind") != kind:
            raise Problem(404, f"no import {work_id[:40]!r} was asked for, or it was too long ago")
        return _view(found)


def _prefers_async(prefer: str | None) -> bool:
    return any(one.partition(";")[0].strip().lower() == ASYNC for one in (prefer or "").split(","))


async def _taken(request: Request, file: BinaryIO, *, told: str) -> tuple[str, int]:
    """Take the body in; return the hash of it with what was asked, and its size. Raises Problem 413."""
    digest, size = hashlib.sha256(told.encode()), 0
    async for part in request.stream():
        size += len(part)
        if size > FILE_BYTES_MAX:
            raise Problem(413, f"the file is larger than {FILE_BYTES_MAX // 2**20} MB: cut it into parts")
        digest.update(part)
        file.write(part)
    file.seek(0)
    return digest.hexdigest(), size


def _begun(
    noun: LongNoun[Imported, ImportView], kind: str, asked: AskedImport, file: BinaryIO, *, who: Who,
    idempotency_key: str | None, told: str,
) -> Response:
    def load(progress: Progress) -> Imported:
        with file:
            return import_file(
                noun.ports.database, kind=kind, stream=file, filename=asked.filename, dry_run=asked.dry_run,
                skip_bad_rows=asked.skip_bad_rows, actor=who.actor, now=noun.ports.clock.now(), progress=progress,
            )

    return noun.begun(
        load, who=who, idempotency_key=idempotency_key, told=told, subject=asked.filename, unused=file.close,
        asked={"kind": kind, **asked.model_dump()}, headers={"Preference-Applied": ASYNC},
    )


def _view(work: Work[Imported]) -> ImportView:
    fields, done = work_fields(work, status=400), work.result
    if done is not None and done.bad and not done.kept and not done.dry_run:
        fields |= {"state": WorkState.FAILED, "problem": problem_document(_refused(done))}
    asked = work.asked
    return ImportView(
        **fields, kind=asked["kind"], file=asked["filename"], dry_run=asked["dry_run"],
        skip_bad_rows=asked["skip_bad_rows"],
        result=None if done is None else ImportedView.model_validate(done.as_json()),
    )


def _loaded(
    ports: WebPorts, kind: str, asked: AskedImport, stream: BinaryIO, *, actor: str, now: datetime
) -> KeptAnswer:
    try:
        done = import_file(
            ports.database, kind=kind, stream=stream, filename=asked.filename, dry_run=asked.dry_run,
            skip_bad_rows=asked.skip_bad_rows, actor=actor, now=now,
        )
    except UsageError as error:
        raise Problem(400, str(error)) from error
    if done.bad and not done.kept and not done.dry_run:
        return refusal(_refused(done))
    return KeptAnswer(status=200, body=ImportedView.model_validate(done.as_json()).model_dump_json())


def _refused(done: Imported) -> Problem:
    return Problem(
        422, f"{done.bad} of {done.rows} rows are wrong and nothing was kept: mend them, or skip them by skip_bad_rows",
        errors=[
            {"where": f"line {bad.line}, {bad.column}", "value": bad.value, "detail": bad.reason}
            for bad in done.bad_rows
        ],
    )
