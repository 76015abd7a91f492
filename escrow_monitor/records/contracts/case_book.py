"""Refund disputes as they are kept: where each stands, and every move, note, piece of evidence and quote of it.

    refund_claims --opens--> cases <-- case_moves (who, when, why), case_notes, case_evidence, case_quotes,
                                       case_said_payments (what the institution says it paid, which moves nothing)

A row of `cases` is the sum of its moves. All the others are only ever added to, and no case is deleted: the database
itself refuses. A case has the number of its claim.
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.contracts import Cause
from escrow_monitor.domain.dispute_answers import Audience, SaidPayment
from escrow_monitor.domain.dispute_words import CaseState, Move, Role
from escrow_monitor.domain.disputes import Case, Moved, Proposal
from escrow_monitor.domain.money import MINOR_UNITS_MAX, Money, decimal_text
from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.bulk import Reader, as_json, fetch, from_json, insert, run, staged, texts
from escrow_monitor.records.closure_marks import mark_institution_days
from escrow_monitor.records.columns import Row, exact, fen, large, one_of
from escrow_monitor.records.documents import keep_documents
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.evidence.audit import AuditEntry
from escrow_monitor.records.reconciliation_marks import mark_institutions
from escrow_monitor.records.visible import conditions

IMPORT_ACTOR = "import"
"""By whom a case is opened and a changed claim noted: who imported the file, its own audit entry says."""
CASES_TOLD_MAX = 20


class CaseRow(Row, table=True):
    """Where one dispute stands. Its number is that of its claim, which says what is asked for."""

    __tablename__ = "cases"
    __table_args__ = (
        CheckConstraint(one_of("state", CaseState), "state"),
        *(CheckConstraint(exact(name), name) for name in (
            "quoted_fen", "agreed_fen", "ordered_fen", "paid_fen", "proposed_fen"
        )),
        Index("ix_cases_state_case_no", "state", "case_no"),
    )

    case_no: str = Field(primary_key=True)
    state: str
    moves: int = large()
    quoted_fen: int | None = fen(default=None)
    agreed_fen: int = fen()
    ordered_fen: int = fen()
    paid_fen: int = fen()
    proposed_fen: int | None = fen(default=None)
    proposed_by: str | None = None
    ruled: bool
    opened_at: datetime
    changed_at: datetime


class CaseMoveRow(Row, table=True):
    """One move: who made it, when and why. `moved_on` is its day in China, `payable_fen` what it raised the agreed by.

    `reference` is the match that a payment was seen by.
    """

    __tablename__ = "case_moves"
    __table_args__ = (
        CheckConstraint(one_of("move", Move), "move"),
        CheckConstraint(one_of("from_state", CaseState), "from_state"),
        CheckConstraint(one_of("to_state", CaseState), "to_state"),
        CheckConstraint(one_of("role", Role), "role"),
        CheckConstraint(exact("amount_fen"), "amount_fen"),
        CheckConstraint(exact("payable_fen"), "payable_fen"),
    )

    case_no: str = Field(primary_key=True)
    move_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    move: str
    from_state: str | None = None
    to_state: str
    role: str
    actor: str
    reason: str
    amount_fen: int | None = fen(default=None)
    payable_fen: int = fen()
    reference: str | None = Field(default=None, index=True)
    moved_on: date
    moved_at: datetime


def _marked() -> tuple[CheckConstraint, ...]:
    return CheckConstraint(one_of("role", Role), "role"), CheckConstraint(one_of("audience", Audience), "audience")


class CaseNoteRow(Row, table=True):
    """What somebody wrote down about a case: on whose behalf, and for whom to read."""

    __tablename__ = "case_notes"
    __table_args__ = _marked()

    case_no: str = Field(primary_key=True)
    note_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    actor: str
    text: str
    noted_at: datetime
    role: str = Field(default=Role.STAFF.value, sa_column_kwargs={"server_default": Role.STAFF.value})
    audience: str = Field(
        default=Audience.SUPERVISORS.value, sa_column_kwargs={"server_default": Audience.SUPERVISORS.value}
    )


class CaseEvidenceRow(Row, table=True):
    """A document of a case, its bytes kept once by their SHA-256: on whose behalf, and for whom to read."""

    __tablename__ = "case_evidence"
    __table_args__ = _marked()

    case_no: str = Field(primary_key=True)
    evidence_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sha256: str = Field(index=True)
    filename: str
    media_type: str
    size: int = large()
    actor: str
    note: str
    attached_at: datetime
    role: str = Field(default=Role.STAFF.value, sa_column_kwargs={"server_default": Role.STAFF.value})
    audience: str = Field(
        default=Audience.SUPERVISORS.value, sa_column_kwargs={"server_default": Audience.SUPERVISORS.value}
    )


class CaseSaidPaymentRow(Row, table=True):
    """What an institution says it paid. Nothing follows from it: paid is what the bank shows."""

    __tablename__ = "case_said_payments"
    __table_args__ = (CheckConstraint(f"amount_fen BETWEEN 1 AND {MINOR_UNITS_MAX}", "amount_fen"),)

    case_no: str = Field(primary_key=True)
    said_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    paid_on: date
    amount_fen: int = fen()
    bank_ref: str
    note: str
    actor: str
    said_at: datetime


class CaseQuoteRow(Row, table=True):
    """A quote as it was when it was made, whatever is recorded since: its JSON, and the policies it rests on."""

    __tablename__ = "case_quotes"

    case_no: str = Field(primary_key=True)
    quote_no: int = large(primary_key=True, sa_column_kwargs={"autoincrement": False})
    quoted_on: date
    refund_fen: int = fen()
    penalty_fen: int = fen()
    policy_version: str
    quote: str
    actor: str
    quoted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """A case with the words of its claim, and since when it is as it is."""

    case: Case
    claim_note: str
    opened_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMove:
    """One move as it was made; `currency` is that of both amounts. `payable` is what it raised the agreed by."""

    case_no: str
    move_no: int
    move: Move
    from_state: CaseState | None
    to_state: CaseState
    role: Role
    actor: str
    reason: str
    amount: Money | None
    payable: Money
    reference: str | None
    moved_on: date
    moved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseNote:
    """One note."""

    case_no: str
    note_no: int
    actor: str
    text: str
    noted_at: datetime
    role: Role = Role.STAFF
    audience: Audience = Audience.SUPERVISORS


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEvidence:
    """One document; its bytes are `documents.raw_document(session, sha256)`."""

    case_no: str
    evidence_no: int
    sha256: str
    filename: str
    media_type: str
    size: int
    actor: str
    note: str
    attached_at: datetime
    role: Role = Role.STAFF
    audience: Audience = Audience.SUPERVISORS


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSaidPayment:
    """What an institution said it paid, as it was said."""

    case_no: str
    said_no: int
    said: SaidPayment
    actor: str
    said_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseQuote:
    """One quote as it was made; `quote` is what its `as_json` gave."""

    case_no: str
    quote_no: int
    quoted_on: date
    quote: Mapping[str, Any]
    policy_version: str
    actor: str
    quoted_at: datetime


# What comes with imported claims.


def open_cases(session: Session, arrived: str, *, now: datetime) -> int:
    """Open a case for each claim in the staged table `arrived` that has none; return how many."""
    fresh = f"FROM {arrived} i WHERE NOT EXISTS (SELECT 1 FROM cases k WHERE k.case_no = i.claim_no)"
    numbers = texts(session, f"SELECT i.claim_no {fresh} ORDER BY i.claim_no")
    if not numbers:
        return 0
    run(
        session,
        "INSERT INTO case_moves (case_no, move_no, move, from_state, to_state, role, actor, reason, amount_fen,"
        " payable_fen, moved_on, moved_at) SELECT i.claim_no, 1, 'open', NULL, 'claimed', 'system', :actor,"
        f" :reason, i.amount_fen, 0, :on, :now {fresh}",
        actor=IMPORT_ACTOR, reason=_OPENED, on=day_of(now), now=now,
    )
    run(
        session,
        "INSERT INTO cases (case_no, state, moves, agreed_fen, ordered_fen, paid_fen, ruled, opened_at, changed_at)"
        f" SELECT i.claim_no, 'claimed', 1, 0, 0, 0, false, :now, :now {fresh}", now=now,
    )
    audit.append(session, kind="cases.opened", actor=IMPORT_ACTOR, now=now, payload={
        "cases": len(numbers), "first": numbers[:CASES_TOLD_MAX],
        "case_nos_sha256": hashlib.sha256("\n".join(sorted(numbers)).encode()).hexdigest(),
    })
    _mark_arrived(session, arrived)
    return len(numbers)


_OPENED = "申请已导入 / the claim was imported"


def note_changed_claims(session: Session, arrived: str, *, now: datetime) -> int:
    """Note on its case how each claim in the staged table `arrived` differs from the recorded one; return how many.

    Runs before the claims are merged.
    """
    columns = ", ".join(f"{side}.{name}" for name in _TOLD for side in ("c", "i"))
    day = Reader(session).day
    notes = []
    for case_no, currency, *cells in fetch(
        session,
        f"SELECT k.case_no, c.currency, {columns} FROM {arrived} i JOIN refund_claims c ON c.claim_no = i.claim_no"
        " JOIN cases k ON k.case_no = c.claim_no ORDER BY k.case_no",
    ):
        changes = [
            f"{name.removesuffix('_fen')} {_told(name, was, currency, day)} -> {_told(name, is_now, currency, day)}"
            for name, was, is_now in zip(_TOLD, cells[::2], cells[1::2], strict=True) if was != is_now
        ]
        if changes:
            notes.append((case_no, f"申请已变更 / the claim was changed: {'; '.join(changes)}"))
    add_notes(session, notes, actor=IMPORT_ACTOR, role=Role.SYSTEM, now=now)
    if notes:
        _mark_arrived(session, arrived)
    return len(notes)


def _mark_arrived(session: Session, arrived: str) -> None:
    mark_institutions(session, texts(
        session, f"SELECT DISTINCT t.uscc FROM {arrived} i JOIN contracts t ON t.contract_no = i.contract_no"
    ))


_TOLD = ("contract_no", "claimed_on", "amount_fen", "cause", "note")


def _told(name: str, cell: Any, currency: str, day: Any) -> str:
    if cell is None:
        return "-"
    if name == "amount_fen":
        return decimal_text(cell, currency)
    return str(day(cell)) if name == "claimed_on" else repr(cell) if name == "note" else str(cell)


def day_of(now: datetime) -> date:
    """The day in China."""
    return now.astimezone(ZONE).date()


# Reading.


_CASE = """
    SELECT k.case_no, c.contract_no, t.uscc, c.claimed_on, c.cause, c.amount_fen, c.currency, k.state, k.agreed_fen,
        k.ordered_fen, k.paid_fen, k.quoted_fen, k.proposed_fen, k.proposed_by, k.ruled, k.moves, c.note, k.opened_at,
        k.changed_at
    FROM cases k JOIN refund_claims c ON c.claim_no = k.case_no JOIN contracts t ON t.contract_no = c.contract_no
"""


def cases(
    session: Session, *, case_nos: Sequence[str] | None = None, contract_nos: Sequence[str] | None = None,
    usccs: Sequence[str] | None = None, states: Iterable[CaseState] | None = None, after: str = "",
    limit: int | None = None, lock: bool = False, visible: Visible = EVERYTHING,
) -> list[CaseRecord]:
    """The cases that fit all that is asked, by number.

    With `lock` nobody else moves them until the transaction ends. Locks are taken in one order, so that nobody waits
    for each other: the sums over contracts, the audit chain (here), cases.
    """
    if lock:
        audit.lock_chain(session)
    given: dict[str, Any] = {"after": after}
    where = ["k.case_no > :after"]
    for name, column, values in (
        ("case_nos", "k.case_no", case_nos), ("contract_nos", "c.contract_no", contract_nos),
        ("usccs", "t.uscc", usccs), ("states", "k.state", None if states is None else [str(one) for one in states]),
    ):
        if values is not None:
            where.append(f"{column} IN EACH(:{name})")
            given[name] = list(values)
    seen, more = conditions(visible, uscc="t.uscc")
    where, given = [*where, *seen], given | more
    rows = fetch(
        session,
        f"{_CASE} WHERE {' AND '.join(where)} ORDER BY k.case_no" + ("" if limit is None else f" LIMIT {limit:d}")
        + (" FOR UPDATE OF k" if lock else ""), **given,
    )
    reader = Reader(session)
    return [_record(row, reader) for row in rows]


def case(session: Session, case_no: str, *, lock: bool = False) -> CaseRecord | None:
    """One case."""
    return next(iter(cases(session, case_nos=[case_no], lock=lock)), None)


def _record(row: Sequence[Any], reader: Reader) -> CaseRecord:
    currency = row[6]

    def money(cell: int | None) -> Money | None:
        return None if cell is None else Money(cell, currency)

    return CaseRecord(
        case=Case(
            case_no=row[0], contract_no=row[1], uscc=row[2], claimed_on=reader.on(row[3]), cause=Cause(row[4]),
            claimed=money(row[5]), state=CaseState(row[7]), agreed=Money(row[8], currency),
            ordered=Money(row[9], currency), paid=Money(row[10], currency), quoted=money(row[11]),
            proposal=None if row[12] is None else Proposal(amount=Money(row[12], currency), by=row[13]),
            is_ruled=bool(row[14]), moves=row[15],
        ),
        claim_note=row[16], opened_at=reader.at(row[17]), changed_at=reader.at(row[18]),
    )


_MOVE = """
    SELECT m.case_no, m.move_no, m.move, m.from_state, m.to_state, m.role, m.actor, m.reason, m.amount_fen,
        m.payable_fen, m.reference, m.moved_on, m.moved_at, c.currency
    FROM case_moves m JOIN refund_claims c ON c.claim_no = m.case_no
"""


def case_moves(session: Session, case_nos: Sequence[str]) -> list[CaseMove]:
    """Every move of these cases, in order."""
    rows = fetch(
        session, f"{_MOVE} WHERE m.case_no IN EACH(:case_nos) ORDER BY m.case_no, m.move_no", case_nos=case_nos
    )
    reader = Reader(session)
    return [_move(row, reader) for row in rows]


def _move(row: Sequence[Any], reader: Reader) -> CaseMove:
    return CaseMove(
        case_no=row[0], move_no=row[1], move=Move(row[2]), from_state=CaseState(row[3]) if row[3] else None,
        to_state=CaseState(row[4]), role=Role(row[5]), actor=row[6], reason=row[7],
        amount=None if row[8] is None else Money(row[8], row[13]), payable=Money(row[9], row[13]), reference=row[10],
        moved_on=reader.on(row[11]), moved_at=reader.at(row[12]),
    )


def case_notes(session: Session, case_no: str) -> list[CaseNote]:
    """The notes of a case, in order."""
    at = Reader(session).at
    return [
        CaseNote(
            case_no=case_no, note_no=row[0], actor=row[1], text=row[2], noted_at=at(row[3]), role=Role(row[4]),
            audience=Audience(row[5]),
        )
        for row in fetch(
            session,
            "SELECT note_no, actor, text, noted_at, role, audience FROM case_notes WHERE case_no = :case_no"
            " ORDER BY note_no", case_no=case_no,
        )
    ]


def case_evidence(session: Session, case_no: str) -> list[CaseEvidence]:
    """The documents of a case, in order."""
    at = Reader(session).at
    return [
        CaseEvidence(
            case_no=case_no, evidence_no=row[0], sha256=row[1], filename=row[2], media_type=row[3], size=row[4],
            actor=row[5], note=row[6], attached_at=at(row[7]), role=Role(row[8]), audience=Audience(row[9]),
        )
        for row in fetch(
            session,
            "SELECT evidence_no, sha256, filename, media_type, size, actor, note, attached_at, role, audience"
            " FROM case_evidence WHERE case_no = :case_no ORDER BY evidence_no", case_no=case_no,
        )
    ]


def case_said_payments(session: Session, case_no: str) -> list[CaseSaidPayment]:
    """What the institution of a case said it paid, in order."""
    reader = Reader(session)
    return [
        CaseSaidPayment(
            case_no=case_no, said_no=row[0], actor=row[5], said_at=reader.at(row[6]),
            said=SaidPayment(paid_on=reader.on(row[1]), amount=Money(row[2], row[7]), bank_ref=row[3], note=row[4]),
        )
        for row in fetch(
            session,
            "SELECT s.said_no, s.paid_on, s.amount_fen, s.bank_ref, s.note, s.actor, s.said_at, c.currency"
            " FROM case_said_payments s JOIN refund_claims c ON c.claim_no = s.case_no WHERE s.case_no = :case_no"
            " ORDER BY s.said_no", case_no=case_no,
        )
    ]


def case_quotes(session: Session, case_no: str) -> list[CaseQuote]:
    """The quotes of a case as they were made, in order."""
    reader = Reader(session)
    return [
        CaseQuote(
            case_no=case_no, quote_no=row[0], quoted_on=reader.on(row[1]), quote=from_json(row[2]),
            policy_version=row[3], actor=row[4], quoted_at=reader.at(row[5]),
        )
        for row in fetch(
            session,
            "SELECT quote_no, quoted_on, quote, policy_version, actor, quoted_at FROM case_quotes"
            " WHERE case_no = :case_no ORDER BY quote_no", case_no=case_no,
        )
    ]


def open_case_counts(session: Session) -> dict[str, int]:
    """How many open cases stand where."""
    rows = run(
        session, "SELECT state, count(*) FROM cases WHERE state NOT IN ('closed', 'withdrawn') GROUP BY state"
    )
    return {state: int(count) for state, count in rows}


# Writing.


def keep_moves(session: Session, made: Sequence[tuple[Moved, str | None]], *, now: datetime) -> None:
    """Keep moves, each with the match it rests on or None, and where that leaves their cases; all of it is audited.

    Several moves of one case are given in their order.
    """
    if not made:
        return
    insert(session, "case_moves", _MOVE_COLUMNS, (_move_cells(moved, reference, now) for moved, reference in made))
    after = {moved.after.case_no: moved.after for moved, _ in made}
    with staged(session, "moved_cases", _STATE_COLUMNS, (
        (
            one.case_no, one.state.value, one.moves, _fen(one.quoted), one.agreed.minor_units, one.ordered.minor_units,
            one.paid.minor_units, None if one.proposal is None else one.proposal.amount.minor_units,
            None if one.proposal is None else one.proposal.by, one.is_ruled,
        )
        for one in after.values()
    )):
        sets = ", ".join(f"{name} = m.{name}" for name in _STATE_COLUMNS if name != "case_no")
        run(session, f"UPDATE cases SET {sets}, changed_at = :now FROM moved_cases m WHERE m.case_no = cases.case_no",
            now=now)
    audit.append_many(session, [_audited(moved, reference) for moved, reference in made], now=now)
    mark_institutions(session, {one.uscc for one in after.values()})
    mark_institution_days(session, ((one.uscc, one.claimed_on) for one in after.values()))


def add_notes(
    session: Session, notes: Sequence[tuple[str, str]], *, actor: str, now: datetime, role: Role = Role.STAFF,
    audience: Audience = Audience.SUPERVISORS,
) -> None:
    """Add (case, text) notes, in this order."""
    numbers = _next_numbers(session, "case_notes", "note_no", [case_no for case_no, _ in notes])
    rows = []
    for case_no, text in notes:
        rows.append((case_no, numbers[case_no], actor, text, now, role.value, audience.value))
        numbers[case_no] += 1
    columns = {
        "case_no": str, "note_no": int, "actor": str, "text": str, "noted_at": datetime, "role": str, "audience": str,
    }
    insert(session, "case_notes", columns, rows)
    audit.append_many(session, [
        AuditEntry(kind="case.noted", actor=actor, payload={
            "case_no": row[0], "note_no": row[1], "text": row[3], "role": role.value, "audience": audience.value,
        })
        for row in rows
    ], now=now)


def add_said_payment(
    session: Session, case_no: str, said: SaidPayment, *, actor: str, now: datetime
) -> CaseSaidPayment:
    """Keep what an institution says it paid."""
    number = _next_numbers(session, "case_said_payments", "said_no", [case_no])[case_no]
    columns = {
        "case_no": str, "said_no": int, "paid_on": date, "amount_fen": int, "bank_ref": str, "note": str, "actor": str,
        "said_at": datetime,
    }
    insert(session, "case_said_payments", columns, [(
        case_no, number, said.paid_on, said.amount.minor_units, said.bank_ref, said.note, actor, now
    )])
    audit.append(session, kind="case.said_paid", actor=actor, now=now, payload={
        "case_no": case_no, "said_no": number, "role": Role.INSTITUTION.value, "paid_on": said.paid_on.isoformat(),
        "amount": said.amount.text, "currency": said.amount.currency, "bank_ref": said.bank_ref, "note": said.note,
    })
    return CaseSaidPayment(case_no=case_no, said_no=number, said=said, actor=actor, said_at=now)


def add_evidence(
    session: Session, case_no: str, *, content: bytes, filename: str, media_type: str, note: str, actor: str,
    now: datetime, role: Role = Role.STAFF, audience: Audience = Audience.SUPERVISORS,
) -> CaseEvidence:
    """Keep a document of a case."""
    sha256 = hashlib.sha256(content).hexdigest()
    keep_documents(session, [(sha256, content, media_type)], now=now)
    number = _next_numbers(session, "case_evidence", "evidence_no", [case_no])[case_no]
    kept = CaseEvidence(
        case_no=case_no, evidence_no=number, sha256=sha256, filename=filename, media_type=media_type,
        size=len(content), actor=actor, note=note, attached_at=now, role=role, audience=audience,
    )
    columns = {
        "case_no": str, "evidence_no": int, "sha256": str, "filename": str, "media_type": str, "size": int,
        "actor": str, "note": str, "attached_at": datetime, "role": str, "audience": str,
    }
    insert(session, "case_evidence", columns, [tuple(getattr(kept, name) for name in columns)])
    audit.append(session, kind="case.evidence_attached", actor=actor, now=now, payload={
        "case_no": case_no, "evidence_no": number, "sha256": sha256, "filename": filename, "media_type": media_type,
        "size": len(content), "note": note, "role": role.value, "audience": audience.value,
    })
    return kept


def keep_quotes(
    session: Session, quotes: Sequence[tuple[str, Quote]], *, policy_version: str, actor: str, now: datetime
) -> None:
    """Keep a quote of each case, as it is now; the move that it was made is kept apart."""
    numbers = _next_numbers(session, "case_quotes", "quote_no", [case_no for case_no, _ in quotes])
    columns = {
        "case_no": str, "quote_no": int, "quoted_on": date, "refund_fen": int, "penalty_fen": int,
        "policy_version": str, "quote": str, "actor": str, "quoted_at": datetime,
    }
    rows = [
        (
            case_no, numbers[case_no], quote.on, quote.refund.minor_units, quote.penalty.minor_units, policy_version,
            as_json(quote.as_json()), actor, now,
        )
        for case_no, quote in quotes
    ]
    insert(session, "case_quotes", columns, rows)
    audit.append_many(session, [
        AuditEntry(kind="case.quote_kept", actor=actor, payload={
            "case_no": row[0], "quote_no": row[1], "quote_sha256": hashlib.sha256(row[6].encode()).hexdigest(),
        })
        for row in rows
    ], now=now)


def _next_numbers(session: Session, table: str, number: str, case_nos: Sequence[str]) -> dict[str, int]:
    found = dict.fromkeys(case_nos, 1)
    for case_no, last in fetch(
        session, f"SELECT case_no, max({number}) FROM {table} WHERE case_no IN EACH(:case_nos) GROUP BY case_no",
        case_nos=sorted(found),
    ):
        found[case_no] = last + 1
    return found


_MOVE_COLUMNS = {
    "case_no": str, "move_no": int, "move": str, "from_state": str, "to_state": str, "role": str, "actor": str,
    "reason": str, "amount_fen": int, "payable_fen": int, "reference": str, "moved_on": date,
    "moved_at": datetime,
}
_STATE_COLUMNS = {
    "case_no": str, "state": str, "moves": int, "quoted_fen": int, "agreed_fen": int, "ordered_fen": int,
    "paid_fen": int, "proposed_fen": int, "proposed_by": str, "ruled": bool,
}


def _move_cells(moved: Moved, reference: str | None, now: datetime) -> tuple[Any, ...]:
    wish, after = moved.wish, moved.after
    return (
        after.case_no, after.moves, wish.move.value, moved.before.state.value, after.state.value, wish.role.value,
        wish.actor, wish.reason, _fen(wish.amount), moved.payable.minor_units, reference,
        day_of(now), now,
    )


def _audited(moved: Moved, reference: str | None) -> AuditEntry:
    wish, after = moved.wish, moved.after
    return AuditEntry(kind="case.moved", actor=wish.actor, payload={
        "case_no": after.case_no, "move_no": after.moves, "move": wish.move.value, "from": moved.before.state.value,
        "to": after.state.value, "role": wish.role.value, "reason": wish.reason,
        "amount": None if wish.amount is None else wish.amount.text, "currency": after.currency,
        "agreed": after.agreed.text, "ordered": after.ordered.text, "paid": after.paid.text, "reference": reference,
    })


def _fen(amount: Money | None) -> int | None:
    return None if amount is None else amount.minor_units
