"""The whole audit record as a file for an outsider, who verifies it with a stand-alone script."""

from __future__ import annotations

from typing import IO

from starlette.responses import StreamingResponse

from escrow_monitor.records.database import Session
from escrow_monitor.records.evidence import audit, seals
from escrow_monitor.records.evidence.export import Exported, export_lines
from escrow_monitor.web.handed_out import handed_out, spooled
from escrow_monitor.web.ports import WebPorts

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
    """The record as JSON Lines, at its beginning."""
    with ports.database.read() as session:
        lines = export_lines(session, ports.seal_key(), now=ports.people_now(), exported=Exported())
        return spooled(line.encode() + b"\n" for line in lines)


def sent_file(file: IO[bytes], ports: WebPorts) -> StreamingResponse:
    """The same as it goes out, piece by piece."""
    name = f"audit-{ports.clock.now().astimezone(ports.zone):%Y%m%d-%H%M%S}.jsonl"
    return handed_out(file, name=name, media_type=MEDIA_TYPE)
