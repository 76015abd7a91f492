"""Write something down about a refund dispute."""

from __future__ import annotations

from datetime import datetime

from escrow_monitor.actions.move_case import CaseUnknown, known_actor
from escrow_monitor.domain.dispute_answers import Audience
from escrow_monitor.domain.dispute_words import Role
from escrow_monitor.errors import UsageError
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts.case_book import CaseNote
from escrow_monitor.records.database import Database, Session

NOTE_CHARACTERS_MAX = 10_000


def note_case(
    database: Database, *, case_no: str, text: str, actor: str, now: datetime, role: Role = Role.STAFF,
    audience: Audience = Audience.SUPERVISORS,
) -> CaseNote:
    """Add a note in a transaction of its own; see `note_case_in`."""
    with database.write() as session:
        return note_case_in(
            session, case_no=case_no, text=text, actor=actor, role=role, audience=audience, now=now
        )


def note_case_in(
    session: Session, *, case_no: str, text: str, actor: str, now: datetime, role: Role = Role.STAFF,
    audience: Audience = Audience.SUPERVISORS,
) -> CaseNote:
    """Add a note to a case, closed or not; nobody changes it later. Raises CaseUnknown and UsageError.

    `role` is on whose behalf it is written. Supervisors alone read it unless `audience` says otherwise; what the
    institution said it reads in any case.
    """
    text = text.strip()
    if not text or len(text) > NOTE_CHARACTERS_MAX:
        raise UsageError(f"a note has at least one sign and at most {NOTE_CHARACTERS_MAX}")
    actor = known_actor(actor)
    if case_book.case(session, case_no, lock=True) is None:
        raise CaseUnknown(f"there is no case {case_no}: see cases list")
    case_book.add_notes(
        session, [(case_no, text)], actor=actor, role=role, audience=audience_of(role, audience), now=now
    )
    return case_book.case_notes(session, case_no)[-1]


def audience_of(role: Role, asked: Audience) -> Audience:
    """Who reads what is said on this behalf. Raises UsageError for a role on whose behalf nobody writes."""
    if role not in (Role.STAFF, Role.INSTITUTION, Role.FAMILY):
        raise UsageError("notes and documents are those of staff, institution or family")
    return Audience.INSTITUTION if role is Role.INSTITUTION else asked
