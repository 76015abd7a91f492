"""What an institution says itself in a dispute about one of its contracts."""

from __future__ import annotations

from datetime import date, datetime

from escrow_monitor.actions.move_case import (
    REASON_CHARACTERS_MAX,
    CaseUnknown,
    MoveRefused,
    amount_of,
    known_actor,
    known_reason,
)
from escrow_monitor.domain.dispute_answers import SaidPayment, decide_answer, refuse_said_payment
from escrow_monitor.domain.dispute_clocks import answer_clock
from escrow_monitor.domain.dispute_words import Move, Role
from escrow_monitor.domain.disputes import Refused, Wish
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.errors import UsageError
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts.case_book import CaseMove, CaseRecord, CaseSaidPayment, day_of
from escrow_monitor.records.contracts.cases import case_law
from escrow_monitor.records.database import Database, Session

BANK_REF_CHARACTERS_MAX = 100


def answer_case_in(
    session: Session, policies: PolicyBook, *, case_no: str, uscc: str, move: Move, actor: str, reason: str,
    now: datetime, amount: str | None = None,
) -> CaseMove:
    """Accept a claim or contest it, for the institution `uscc`; return the move as it is kept.

    `amount` is what is agreed to, a plain decimal: to contest, the part; to accept, at least all that is asked. Raises
    CaseUnknown for a case that is not its own, MoveRefused, and UsageError for what cannot be read.
    """
    actor, reason = known_actor(actor), known_reason(reason)
    case = _own(session, case_no, uscc).case
    policy = case_law(session, policies, [uscc]).of(case)
    decided = decide_answer(
        case,
        Wish(move=move, actor=actor, role=Role.INSTITUTION, reason=reason, amount=amount_of(case, amount)),
        clock=answer_clock(case, policy.refund_terms, policy.calendar), on=day_of(now),
    )
    if isinstance(decided, Refused):
        raise MoveRefused(decided)
    case_book.keep_moves(session, [(decided, None)], now=now)
    return case_book.case_moves(session, [case_no])[-1]


def say_paid(
    database: Database, *, case_no: str, amount: str, paid_on: date, bank_ref: str, actor: str, now: datetime,
    note: str = "",
) -> CaseSaidPayment:
    """Record, for an institution that said so elsewhere, that it has paid; see `say_paid_in`."""
    with database.write() as session:
        found = case_book.case(session, case_no)
        if found is None:
            raise CaseUnknown(f"there is no case {case_no}: see cases list")
        return say_paid_in(
            session, case_no=case_no, uscc=found.case.uscc, amount=amount, paid_on=paid_on, bank_ref=bank_ref,
            note=note, actor=actor, now=now,
        )


def say_paid_in(
    session: Session, *, case_no: str, uscc: str, amount: str, paid_on: date, bank_ref: str, actor: str, now: datetime,
    note: str = "",
) -> CaseSaidPayment:
    """Keep that the institution `uscc` says it paid, with the bank's reference. The case stays where it stands.

    Raises CaseUnknown for a case that is not its own, MoveRefused where nothing is to be paid, and UsageError for what
    cannot be read or lies ahead.
    """
    actor, bank_ref, note = known_actor(actor), bank_ref.strip(), note.strip()
    if not bank_ref or len(bank_ref) > BANK_REF_CHARACTERS_MAX or not bank_ref.isprintable():
        raise UsageError(f"say the bank's reference, on one line of at most {BANK_REF_CHARACTERS_MAX} characters")
    if len(note) > REASON_CHARACTERS_MAX:
        raise UsageError(f"what is said of a payment is at most {REASON_CHARACTERS_MAX} characters long")
    case = _own(session, case_no, uscc).case
    if (refused := refuse_said_payment(case)) is not None:
        raise MoveRefused(refused)
    paid = amount_of(case, amount)
    if paid is None or paid.minor_units <= 0:
        raise UsageError("say how much was paid, above zero")
    if paid_on > day_of(now):
        raise UsageError(f"{paid_on} is still to come: say the day on which it was paid")
    return case_book.add_said_payment(
        session, case_no, SaidPayment(paid_on=paid_on, amount=paid, bank_ref=bank_ref, note=note), actor=actor, now=now
    )


def _own(session: Session, case_no: str, uscc: str) -> CaseRecord:
    found = case_book.case(session, case_no, lock=True)
    if found is None or found.case.uscc != uscc:
        raise CaseUnknown(f"there is no case {case_no}: see cases list")
    return found
