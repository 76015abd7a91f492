"""`/api/v1/imports`: a file of contracts, charges, lessons or the like, loaded as by the command line."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, BinaryIO, cast

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from escrow_monitor.actions.import_files import Imported, import_file
from escrow_monitor.actions.import_kinds import KINDS
from escrow_monitor.errors import UsageError
from escrow_monitor.records.bank.kept_answers import AnotherQuestion, KeptAnswer, kept_answer, once
from escrow_monitor.web.api.again import Again, answer_of
from escrow_monitor.web.console.pages import refuse_foreign
from escrow_monitor.web.guard import SCOPE_IMPORT, Guard, Key
from escrow_monitor.web.ports import WebPorts
from escrow_monitor.web.problems import PROBLEM_JSON, Problem

FILE_BYTES_MAX = 512 * 1024 * 1024
IN_MEMORY_BYTES_MAX = 8 * 1024 * 1024


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


def router(ports: WebPorts, guard: Guard) -> APIRouter:
    """The routes of this noun. Loading a file needs a key with the scope `import`; its name is who loaded it."""
    routes = APIRouter(tags=["imports"])

    async def may_import(request: Request) -> None:
        refuse_foreign(request, ports.home_url)
        request.state.importer = await guard.require(request, SCOPE_IMPORT)
        # A row may be about any institution: who is limited to some loads nothing.
        request.state.importer.check_sees_everything(what="a file")

    @routes.post(
        "/imports/{kind}", response_model=ImportedView, dependencies=[Depends(may_import)],
        openapi_extra={"requestBody": {"required": True, "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
        }}},
        responses={status: {"description": what, "content": {PROBLEM_JSON: {}}} for status, what in (
            (400, "the file is no such table"), (404, "there is no such kind"),
            (409, "the key stands for another file"), (413, "the file is too large"),
        )},
    )
    async def load(
        kind: str, asked: Annotated[AskedImport, Query()], request: Request, idempotency_key: Again = None
    ) -> Response:
        """Load the file in the body, whole or not at all; bad rows are listed in a 422 unless they are skipped."""
        if kind not in KINDS:
            raise Problem(404, f"there is no kind {kind[:40]!r}: choose {', '.join(KINDS)}")
        importer: Key = request.state.importer
        actor = importer.actor
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES_MAX) as spool:
            digest = hashlib.sha256(f"import\n{kind}\n{asked.model_dump_json()}\n".encode())
            size = 0
            async for part in request.stream():
                size += len(part)
                if size > FILE_BYTES_MAX:
                    raise Problem(413, f"the file is larger than {FILE_BYTES_MAX // 2**20} MB: cut it into parts")
                digest.update(part)
                spool.write(part)
            spool.seek(0)

            def do() -> KeptAnswer:
                return _loaded(ports, kind, asked, cast("BinaryIO", spool), actor=actor, now=ports.clock.now())

            answer = await run_in_threadpool(
                _once, ports, do, actor=actor, idempotency_key=idempotency_key, digest=digest.hexdigest(),
                now=ports.clock.now(),
            )
        return answer_of(answer)

    return routes


def _once(
    ports: WebPorts, do: Callable[[], KeptAnswer], *, actor: str, idempotency_key: str | None, digest: str,
    now: datetime,
) -> KeptAnswer:
    """Load it, or give the answer that was kept. Loading has its own transactions and a file twice changes nothing, so
    the answer may be kept after it."""
    if idempotency_key is None:
        return do()
    try:
        with ports.database.read() as session:
            kept = kept_answer(session, actor=actor, idempotency_key=idempotency_key, asked_sha256=digest)
        if kept is not None:
            return kept
        answer = do()
        with ports.database.write() as session:
            return once(
                session, actor=actor, idempotency_key=idempotency_key, asked_sha256=digest, now=now,
                do=lambda: answer,
            )
    except AnotherQuestion as error:
        raise Problem(409, "this idempotency key was used for another file: take a new one") from error


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
        return KeptAnswer(status=422, body=bytes(_refused(done).response().body).decode())
    return KeptAnswer(status=200, body=ImportedView.model_validate(done.as_json()).model_dump_json())


def _refused(done: Imported) -> Problem:
    return Problem(
        422, f"{done.bad} of {done.rows} rows are wrong and nothing was kept: mend them, or skip them by skip_bad_rows",
        errors=[
            {"where": f"line {bad.line}, {bad.column}", "value": bad.value, "detail": bad.reason}
            for bad in done.bad_rows
        ],
    )
