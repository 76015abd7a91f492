"""Refund disputes as people look at them: where each stands, its sum, its deadlines, and all that was done.

An institution looks at its own: without what supervisors wrote among themselves, without rulings nobody confirmed, and
of staff it reads that they are staff, not who.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from alerts.decisions import person
from escrow_monitor.actions.move_case import CaseUnknown
from escrow_monitor.domain.dispute_answers import Audience, as_read_by_institution, hidden_moves, open_answers
from escrow_monitor.domain.dispute_clocks import Deadline, deadlines, next_deadline
from escrow_monitor.domain.dispute_words import CaseState, Move, Role
from escrow_monitor.domain.disputes import Case, open_moves
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.refund_cases import CaseFacts
from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts.case_book import (
    CaseEvidence,
    CaseMove,
    CaseNote,
    CaseQuote,
    CaseRecord,
    CaseSaidPayment,
    day_of,
)
from escrow_monitor.records.contracts.cases import CaseLaw, case_facts, case_law
from escrow_monitor.records.database import Database, Session
from escrow_monitor.records.people import users
from escrow_monitor.records.visible import may_see


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseShown:
    """A case with what is due on it today and by when; `running` are its deadlines, the first first.

    For the institution (`audience`) it is without a ruling that is only proposed.
    """

    record: CaseRecord
    facts: CaseFacts
    running: tuple[Deadline, ...]
    on: date
    audience: Audience = Audience.SUPERVISORS

    @property
    def case(self) -> Case:
        """The case itself."""
        return self.record.case

    @property
    def possible_moves(self) -> tuple[Move, ...]:
        """The moves that lead on from here, for who reads it."""
        return open_moves(self.case) if self.audience is Audience.SUPERVISORS else open_answers(self.case)

    @property
    def next_deadline(self) -> Deadline | None:
        """The first deadline that has not passed; None where none runs or all have."""
        return next_deadline(self.running, self.on)

    def as_json(self) -> dict[str, object]:
        """JSON-ready. Amounts are plain decimals, each with its minor units beside it as `<name>_fen`."""
        case, following = self.case, self.next_deadline
        quote = self.facts.quote
        return {
            "case_no": case.case_no, "contract_no": case.contract_no, "uscc": case.uscc, "state": case.state.value,
            "claimed_on": case.claimed_on.isoformat(), "cause": case.cause.value, "currency": case.currency,
            **amount("claimed", case.claimed), **amount("quoted", case.quoted),
            **amount("due", quote.refund if isinstance(quote, Quote) else None),
            **amount("agreed", case.agreed), **amount("ordered", case.ordered), **amount("paid", case.paid),
            **amount("held", case.held), **amount("outstanding", case.outstanding),
            "proposal": None if case.proposal is None else {
                **amount("amount", case.proposal.amount), "by": case.proposal.by,
            },
            "due_on": None if self.facts.due.day is None else self.facts.due.day.isoformat(),
            "due_by": self.facts.due.by.value,
            "deadlines": [deadline_json(each, self.on) for each in self.running],
            "next_deadline": None if following is None else deadline_json(following, self.on),
            "possible_moves": [move.value for move in self.possible_moves],
            "opened_at": self.record.opened_at.isoformat(), "changed_at": self.record.changed_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseHistory:
    """One case with all that was ever done."""

    shown: CaseShown
    moves: Sequence[CaseMove]
    notes: Sequence[CaseNote]
    evidence: Sequence[CaseEvidence]
    quotes: Sequence[CaseQuote]
    said_payments: Sequence[CaseSaidPayment] = ()

    def as_json(self) -> dict[str, object]:
        """JSON-ready."""
        quote = self.shown.facts.quote
        return {
            **self.shown.as_json(),
            "claim_note": self.shown.record.claim_note,
            "quote": None if quote is None else quote.as_json(),
            "moves": [move_json(each) for each in self.moves],
            "notes": [note_json(each) for each in self.notes],
            "evidence": [evidence_json(each) for each in self.evidence],
            "quotes": [
                {
                    "quote_no": each.quote_no, "on": each.quoted_on.isoformat(), "actor": each.actor,
                    "quoted_at": each.quoted_at.isoformat(), "policy_version": each.policy_version,
                    "quote": each.quote,
                }
                for each in self.quotes
            ],
            "said_payments": [said_payment_json(each) for each in self.said_payments],
        }


def list_cases(
    database: Database, policies: PolicyBook, *, now: datetime, states: Sequence[CaseState] | None = None,
    uscc: str | None = None, contract_no: str | None = None, after: str = "", limit: int | None = None,
    visible: Visible = EVERYTHING,
) -> list[CaseShown]:
    """The cases that fit all that is asked, by number."""
    with database.read() as session:
        found = case_book.cases(
            session, states=states, usccs=None if uscc is None else [uscc],
            contract_nos=None if contract_no is None else [contract_no], after=after, limit=limit,
            visible=visible,
        )
        return shown_cases(session, policies, found, on=day_of(now), visible=visible)


def shown_cases(
    session: Session, policies: PolicyBook, records: Sequence[CaseRecord], *, on: date, visible: Visible
) -> list[CaseShown]:
    """These cases with what is due on each and by when, in their order, as who sees `visible` reads them."""
    audience = audience_of_reader(visible)
    records = [_read_by(audience, one) for one in records]
    law = case_law(session, policies, {one.case.uscc for one in records})
    facts = case_facts(session, [one.case for one in records], on=on, law=law)
    return [_shown(record, each, law, on, audience) for record, each in zip(records, facts, strict=True)]


def show_case(
    database: Database, policies: PolicyBook, *, case_no: str, now: datetime, visible: Visible = EVERYTHING
) -> CaseHistory:
    """One case and all that was done. Raises CaseUnknown, also for what may not be seen."""
    on, audience = day_of(now), audience_of_reader(visible)
    with database.read() as session:
        record = case_book.case(session, case_no)
        if record is None or not may_see(session, visible, record.case.uscc):
            raise CaseUnknown(f"there is no case {case_no}: see cases list")
        record = _read_by(audience, record)
        law = case_law(session, policies, [record.case.uscc])
        facts = case_facts(session, [record.case], on=on, law=law, quote_all=True)[0]
        whole = CaseHistory(
            shown=_shown(record, facts, law, on, audience), moves=case_book.case_moves(session, [case_no]),
            notes=case_book.case_notes(session, case_no), evidence=case_book.case_evidence(session, case_no),
            quotes=case_book.case_quotes(session, case_no),
            said_payments=case_book.case_said_payments(session, case_no),
        )
        return whole if audience is Audience.SUPERVISORS else _of_institution(session, whole)


def audience_of_reader(visible: Visible) -> Audience:
    """As whom somebody reads a case who sees this part of the register."""
    return Audience.INSTITUTION if visible.is_of_institution else Audience.SUPERVISORS


def _read_by(audience: Audience, record: CaseRecord) -> CaseRecord:
    return record if audience is Audience.SUPERVISORS else replace(record, case=as_read_by_institution(record.case))


def _of_institution(session: Session, whole: CaseHistory) -> CaseHistory:
    """What the institution of a case reads of all that was done."""
    hidden = hidden_moves([one.move for one in whole.moves])
    moves = [one for place, one in enumerate(whole.moves) if place not in hidden]
    notes = [one for one in whole.notes if one.audience is Audience.INSTITUTION]
    evidence = [one for one in whole.evidence if one.audience is Audience.INSTITUTION]
    own = _own_actors(session, whole.shown.case.uscc, {one.actor for kind in (
        moves, notes, evidence, whole.said_payments
    ) for one in kind})
    return replace(
        whole,
        moves=[replace(one, actor=_side_of(one.actor, one.role, own)) for one in moves],
        notes=[replace(one, actor=_side_of(one.actor, one.role, own)) for one in notes],
        evidence=[replace(one, actor=_side_of(one.actor, one.role, own)) for one in evidence],
        quotes=[replace(one, actor=_side_of(one.actor, Role.STAFF, own)) for one in whole.quotes],
        said_payments=[replace(one, actor=_side_of(one.actor, Role.INSTITUTION, own)) for one in whole.said_payments],
    )


def _own_actors(session: Session, uscc: str, actors: Iterable[str]) -> frozenset[str]:
    """Those who are people of this institution, or their keys."""
    found = {actor: users.user(session, person(actor)) for actor in actors if actor.startswith(("user:", "key:"))}
    return frozenset(actor for actor, one in found.items() if one is not None and one.uscc == uscc)


def _side_of(actor: str, role: Role, own: Collection[str]) -> str:
    """Who did it, as the institution reads that: its own people by name, of others the side they stand on."""
    if actor in own or ":" not in actor:
        return actor
    return Role.INSTITUTION.value if role is Role.INSTITUTION else Role.STAFF.value


def note_json(note: CaseNote) -> dict[str, object]:
    """One note, JSON-ready."""
    return {
        "note_no": note.note_no, "text": note.text, "actor": note.actor, "role": note.role.value,
        "audience": note.audience.value, "noted_at": note.noted_at.isoformat(),
    }


def said_payment_json(one: CaseSaidPayment) -> dict[str, object]:
    """What an institution said it paid, JSON-ready."""
    return {
        "said_no": one.said_no, "paid_on": one.said.paid_on.isoformat(), "currency": one.said.amount.currency,
        **amount("amount", one.said.amount), "bank_ref": one.said.bank_ref, "note": one.said.note, "actor": one.actor,
        "said_at": one.said_at.isoformat(),
    }


def amount(name: str, money: Money | None) -> dict[str, object]:
    """An amount as JSON has it: its decimal text, and its minor units beside it; null where it is not known."""
    return {name: None if money is None else money.text, f"{name}_fen": None if money is None else money.minor_units}


def move_json(move: CaseMove) -> dict[str, object]:
    """One move, JSON-ready."""
    return {
        "case_no": move.case_no, "move_no": move.move_no, "move": move.move.value,
        "from": None if move.from_state is None else move.from_state.value, "to": move.to_state.value,
        "role": move.role.value, "actor": move.actor, "reason": move.reason, "currency": move.payable.currency,
        **amount("amount", move.amount), **amount("payable", move.payable), "reference": move.reference,
        "moved_at": move.moved_at.isoformat(),
    }


def evidence_json(evidence: CaseEvidence) -> dict[str, object]:
    """One document, JSON-ready."""
    return {
        "evidence_no": evidence.evidence_no, "sha256": evidence.sha256, "filename": evidence.filename,
        "media_type": evidence.media_type, "size": evidence.size, "actor": evidence.actor, "role": evidence.role.value,
        "audience": evidence.audience.value, "note": evidence.note, "attached_at": evidence.attached_at.isoformat(),
    }


def deadline_json(deadline: Deadline, on: date) -> dict[str, object]:
    """One deadline, JSON-ready."""
    return {
        "kind": deadline.kind.value, "last_day": deadline.last_day.isoformat(),
        "passed_from": deadline.passed_from.isoformat(), "passed": deadline.passed(on), "clause": deadline.clause,
    }


def _shown(record: CaseRecord, facts: CaseFacts, law: CaseLaw, on: date, audience: Audience) -> CaseShown:
    policy = law.of(record.case)
    running = deadlines(record.case, facts.due, terms=policy.refund_terms, calendar=policy.calendar)
    return CaseShown(record=record, facts=facts, running=running, on=on, audience=audience)
