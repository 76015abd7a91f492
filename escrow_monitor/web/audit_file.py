"""The whole audit record as a file for an outsider, who verifies it with a stand-alone script."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from escrow_monitor.records.database import Session
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence.export import Exported, export_lines
from escrow_monitor.web.ports import WebPorts

PIECE_BYTES = 256 * 1024
MEDIA_TYPE = "application/x-ndjson"


def note_export(session: Session, ports: WebPorts, *, actor: str) -> None:
    """Write down that the record is taken, before it is: so the file says so too."""
    key = ports.seal_key()
    if key is not None:
        seals.take_key(session, key, actor=actor, now=ports.people_now())
    audit.append(
        session, kind="audit.exported", actor=actor, now=ports.people_now(),
        payload={"entries": audit.head(session).seq},
    )


def exported(ports: WebPorts) -> IO[bytes]:
    """The record as JSON Lines. To a file first: a slow reader must not hold the records open."""
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when it was sent
    with ports.database.read() as session:
        for line in export_lines(session, ports.seal_key(), now=ports.people_now(), exported=Exported()):
            file.write(line.encode() + b"\n")
    file.seek(0)
    return file


def sent_file(file: IO[bytes], ports: WebPorts) -> StreamingResponse:
    """The same as it goes out, piece by piece."""
    name = f"audit-{ports.clock.now().astimezone(ports.zone):%Y%m%d-%H%M%S}.jsonl"
    return StreamingResponse(_pieces(file), media_type=MEDIA_TYPE, headers={
        "Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"',
    })


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while piece := await run_in_threadpool(file.read, PIECE_BYTES):
            yield piece
