"""Put a document into a refund dispute."""

from __future__ import annotations

from datetime import datetime
from mimetypes import guess_type
from pathlib import PurePath

from escrow_monitor.actions.move_case import REASON_CHARACTERS_MAX, CaseUnknown, known_actor
from escrow_monitor.actions.note_case import audience_of
from escrow_monitor.domain.dispute_answers import Audience
from escrow_monitor.domain.dispute_words import Role
from escrow_monitor.errors import UsageError
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts.case_book import CaseEvidence
from escrow_monitor.records.database import Database, Session

EVIDENCE_BYTES_MAX = 25 * 1024 * 1024
"""A scanned contract of fifty pages is some ten megabytes."""
FILENAME_CHARACTERS_MAX = 200
UNKNOWN_TYPE = "application/octet-stream"


def attach_evidence(
    database: Database, *, case_no: str, content: bytes, filename: str, actor: str, note: str = "",
    media_type: str | None = None, now: datetime, role: Role = Role.STAFF, audience: Audience = Audience.SUPERVISORS,
) -> CaseEvidence:
    """Attach a document in a transaction of its own; see `attach_evidence_in`."""
    with database.write() as session:
        return attach_evidence_in(
            session, case_no=case_no, content=content, filename=filename, actor=actor, note=note,
            media_type=media_type, role=role, audience=audience, now=now,
        )


def attach_evidence_in(
    session: Session, *, case_no: str, content: bytes, filename: str, actor: str, note: str = "",
    media_type: str | None = None, now: datetime, role: Role = Role.STAFF, audience: Audience = Audience.SUPERVISORS,
) -> CaseEvidence:
    """Keep a document with a case, closed or not, named by its SHA-256; nobody takes it out again.

    Without a media type the name says it. `role` and `audience` as for a note. Raises CaseUnknown, and UsageError for
    an empty file or one too large.
    """
    name = PurePath(filename.replace("\\", "/")).name
    if not name or len(name) > FILENAME_CHARACTERS_MAX or not name.isprintable():
        raise UsageError(f"a document needs a name of one line of at most {FILENAME_CHARACTERS_MAX} characters")
    if not content:
        raise UsageError(f"{name} is empty")
    if len(content) > EVIDENCE_BYTES_MAX:
        raise UsageError(f"{name} is larger than {EVIDENCE_BYTES_MAX // 1024 // 1024} MiB")
    if len(note) > REASON_CHARACTERS_MAX:
        raise UsageError(f"what is said of a document is at most {REASON_CHARACTERS_MAX} characters long")
    actor = known_actor(actor)
    if case_book.case(session, case_no, lock=True) is None:
        raise CaseUnknown(f"there is no case {case_no}: see cases list")
    return case_book.add_evidence(
        session, case_no, content=content, filename=name, note=note.strip(), actor=actor, now=now,
        media_type=media_type or guess_type(name)[0] or UNKNOWN_TYPE, role=role,
        audience=audience_of(role, audience),
    )
