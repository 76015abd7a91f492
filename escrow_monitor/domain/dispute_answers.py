"""What an institution says itself in a dispute about one of its contracts, and how much of the case it reads.

    claimed, gathering, quoted     accept all, or contest with grounds and perhaps a part that it agrees to,
                                   until its time to answer is over: from then on silence counts as consent
    contested                      accept all, or agree to more than before
    open, and money is due         say that it has paid, which proves nothing: paid is what the bank shows

All other moves are made by others. What supervisors write among themselves, and a ruling that nobody has confirmed, the
institution does not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from escrow_monitor.domain.clocks import Silence
from escrow_monitor.domain.dispute_words import CaseState, Move, RefusedReason, Role
from escrow_monitor.domain.disputes import UNDECIDED, Case, Moved, Refused, Wish, decide, refusal
from escrow_monitor.domain.money import Money

ANSWERS = (Move.ACCEPT, Move.CONTEST)
"""The moves that an institution makes itself."""
ANSWERED_FROM = (*UNDECIDED, CaseState.CONTESTED)


class Audience(StrEnum):
    """Who reads a note or document of a case: supervisors alone, or the institution of the case as well."""

    SUPERVISORS = "supervisors"
    INSTITUTION = "institution"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidPayment:
    """What an institution says it paid: the day, the amount and the bank's reference. It proves nothing."""

    paid_on: date
    amount: Money
    bank_ref: str
    note: str = ""


def decide_answer(case: Case, wish: Wish, *, clock: Silence | None, on: date) -> Moved | Refused:
    """Make the move of an institution, or say why not. `clock` is its time to answer, as `answer_clock` says it."""
    wish = replace(wish, role=Role.INSTITUTION)
    if wish.move not in ANSWERS:
        return refusal(case, wish, RefusedReason.NOT_YOUR_ROLE)
    if case.state not in ANSWERED_FROM:
        return refusal(case, wish, RefusedReason.NOT_FROM_HERE)
    if wish.move is Move.CONTEST:
        if clock is not None and clock.is_consent(on):
            return refusal(case, wish, RefusedReason.TIME_IS_OVER, late_from=clock.deemed_from)
        # Another objection alone says nothing new, and would set a ruling aside that is proposed.
        if case.state is CaseState.CONTESTED and (wish.amount is None or wish.amount <= case.agreed):
            return refusal(case, wish, RefusedReason.CONTESTED_BEFORE)
    return decide(case, wish)


def refuse_said_payment(case: Case) -> Refused | None:
    """Why an institution has nothing to say of a payment; None where it has."""
    wish = Wish(move=Move.SEE_PART, actor="", role=Role.INSTITUTION, reason="")
    is_settled = case.state not in ANSWERED_FROM and not case.outstanding.minor_units
    return refusal(case, wish, RefusedReason.NOTHING_TO_PAY) if is_settled or not case.is_open else None


def open_answers(case: Case) -> tuple[Move, ...]:
    """The moves that an institution may make from where its case stands, its time to answer aside."""
    return ANSWERS if case.state in ANSWERED_FROM else ()


def as_read_by_institution(case: Case) -> Case:
    """A case without what supervisors have not decided."""
    return replace(case, proposal=None)


def hidden_moves(moves: Sequence[Move]) -> frozenset[int]:
    """Which of all moves of a case, by their places, its institution does not read: rulings nobody confirmed."""
    hidden: set[int] = set()
    proposed: int | None = None
    for place, move in enumerate(moves):
        match move:
            case Move.PROPOSE:
                hidden.add(place)
                proposed = place
            case Move.REJECT:
                hidden.add(place)
            case Move.CONFIRM if proposed is not None:
                hidden.discard(proposed)
    return frozenset(hidden)
