"""A refund dispute: where it stands, who may move it and how, and what of its money is agreed, held, ordered and paid.

    claimed, gathering, quoted      the institution has said nothing yet; silence for too long is consent (deem)
        accept, settle, deem    -> accepted
        contest                 -> contested -- propose and confirm, two persons --> ruled
                                             -- accept, settle --> accepted
    accepted, ruled -- order --> ordered -- seen in the bank --> paid --> closed
    contested       -- order --> contested: the part that is agreed goes out at once

    asked 3,500.00, the institution agrees to 3,000.00     agreed 3,000.00 can be ordered now, held 500.00
    ruled at 3,200.00                                      agreed 3,200.00, of it 200.00 to order, held nothing

What is agreed only grows. Paid is what the bank was seen to pay, and nobody can say so but the system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from escrow_monitor.domain import dispute_words as words
from escrow_monitor.domain.contracts import Cause
from escrow_monitor.domain.dispute_words import CaseState, Move, RefusedReason, Role
from escrow_monitor.domain.findings import Value, as_text
from escrow_monitor.domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A ruling that one person proposed and nobody has confirmed: how much goes back in all."""

    amount: Money
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One dispute about one refund claim.

    `claimed` is what the family asks for, None for as much as is due; `quoted` what the newest kept quote gives.
    `agreed`, by consent, silence or ruling, must go out; of it `ordered` was ordered, and `paid` is what the bank was
    seen to pay. `moves` counts the moves made.
    """

    case_no: str
    contract_no: str
    uscc: str
    claimed_on: date
    cause: Cause
    claimed: Money | None
    state: CaseState
    agreed: Money
    ordered: Money
    paid: Money
    quoted: Money | None = None
    proposal: Proposal | None = None
    is_ruled: bool = False
    moves: int = 1

    @property
    def currency(self) -> str:
        """The currency of every amount."""
        return self.agreed.currency

    @property
    def is_open(self) -> bool:
        """Neither closed nor withdrawn."""
        return self.state in OPEN_STATES

    @property
    def asked(self) -> Money | None:
        """What is asked for: the amount of the claim, else what was computed."""
        return self.quoted if self.claimed is None else self.claimed

    @property
    def top(self) -> Money | None:
        """More than this cannot be agreed on: the larger of what is claimed and what was computed."""
        if self.claimed is None or self.quoted is None:
            return self.asked
        return max(self.claimed, self.quoted, key=lambda amount: amount.minor_units)

    @property
    def held(self) -> Money:
        """The part in dispute, which waits: what could still be agreed on or ruled beyond what is agreed."""
        top = self.top
        if self.state is not CaseState.CONTESTED or top is None or top <= self.agreed:
            return Money(0, self.currency)
        return top - self.agreed

    @property
    def to_order(self) -> Money:
        """What is agreed and neither ordered nor paid."""
        under_way = max(self.ordered.minor_units, self.paid.minor_units)
        return Money(max(0, self.agreed.minor_units - under_way), self.currency)

    @property
    def outstanding(self) -> Money:
        """What is agreed and was not seen in the bank."""
        return Money(max(0, self.agreed.minor_units - self.paid.minor_units), self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A move somebody wants to make. `amount` is always the whole refund, but of moves about the bank what it moved."""

    move: Move
    actor: str
    role: Role
    reason: str
    amount: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A move that is made: the case after it, and by how much it raised what is agreed."""

    before: Case
    after: Case
    wish: Wish

    @property
    def payable(self) -> Money:
        """What must go out because of this move."""
        return self.after.agreed - self.before.agreed


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A move that is not made, and why."""

    reason: RefusedReason
    values: Mapping[str, Value]

    @property
    def why_zh(self) -> str:
        """Why, in Chinese."""
        return words.REFUSALS[self.reason].zh.format_map(self._texts)

    @property
    def why_en(self) -> str:
        """Why, in English."""
        return words.REFUSALS[self.reason].en.format_map(self._texts)

    @property
    def _texts(self) -> dict[str, str]:
        return {name: as_text(value) for name, value in self.values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """From where a move leads to where, and by whom. Of several places the first that fits the money is taken."""

    to: Mapping[CaseState, tuple[CaseState, ...]]
    by: frozenset[Role]


def _lead(by: tuple[Role, ...], **to: CaseState | tuple[CaseState, ...]) -> Transition:
    return Transition(by=frozenset(by), to={
        CaseState(origin): target if isinstance(target, tuple) else (target,) for origin, target in to.items()
    })


_S = CaseState
_UNPAID = (_S.ORDERED, _S.RULED, _S.ACCEPTED)
_SAME = {state.value: state for state in CaseState}

TRANSITIONS: Mapping[Move, Transition] = {
    # A case begins with OPEN, which leads here from nowhere.
    Move.OPEN: _lead((Role.SYSTEM,)),
    Move.GATHER: _lead((Role.STAFF,), claimed=_S.GATHERING, quoted=_S.GATHERING),
    Move.QUOTE: _lead(
        (Role.STAFF, Role.SYSTEM), claimed=_S.QUOTED, gathering=_S.QUOTED, quoted=_S.QUOTED, contested=_S.CONTESTED
    ),
    Move.ACCEPT: _lead(
        (Role.INSTITUTION,), claimed=_S.ACCEPTED, gathering=_S.ACCEPTED, quoted=_S.ACCEPTED, contested=_S.ACCEPTED
    ),
    # A family may find too little what was accepted for it, ordered or even paid.
    Move.CONTEST: _lead(
        (Role.INSTITUTION, Role.FAMILY), claimed=_S.CONTESTED, gathering=_S.CONTESTED, quoted=_S.CONTESTED,
        accepted=_S.CONTESTED, contested=_S.CONTESTED, ordered=_S.CONTESTED, paid=_S.CONTESTED,
    ),
    Move.SETTLE: _lead(
        (Role.STAFF,), claimed=_S.ACCEPTED, gathering=_S.ACCEPTED, quoted=_S.ACCEPTED, contested=_S.ACCEPTED
    ),
    Move.DEEM: _lead((Role.SYSTEM,), claimed=_S.ACCEPTED, gathering=_S.ACCEPTED, quoted=_S.ACCEPTED),
    Move.PROPOSE: _lead((Role.STAFF,), contested=_S.CONTESTED),
    Move.CONFIRM: _lead((Role.SECOND,), contested=_S.RULED),
    Move.REJECT: _lead((Role.SECOND,), contested=_S.CONTESTED),
    Move.ORDER: _lead((Role.STAFF,), accepted=_S.ORDERED, ruled=_S.ORDERED, contested=_S.CONTESTED),
    Move.SEE: _lead((Role.SYSTEM,), accepted=_S.PAID, ruled=_S.PAID, ordered=_S.PAID),
    # What the bank did is a fact, wherever the case stands.
    Move.SEE_PART: _lead((Role.SYSTEM,), **_SAME),
    Move.UNSEE: _lead((Role.SYSTEM,), paid=_UNPAID, closed=_UNPAID),
    Move.UNSEE_PART: _lead((Role.SYSTEM,), **_SAME),
    Move.CLOSE: _lead((Role.STAFF, Role.SYSTEM), paid=_S.CLOSED, ruled=_S.CLOSED, accepted=_S.CLOSED),
    Move.WITHDRAW: _lead(
        (Role.FAMILY,), claimed=_S.WITHDRAWN, gathering=_S.WITHDRAWN, quoted=_S.WITHDRAWN, accepted=_S.WITHDRAWN,
        contested=_S.WITHDRAWN,
    ),
}
"""All moves there are. What is not here is not made."""

OPEN_STATES = tuple(state for state in CaseState if state not in (CaseState.CLOSED, CaseState.WITHDRAWN))
UNDECIDED = (CaseState.CLAIMED, CaseState.GATHERING, CaseState.QUOTED)
"""The institution has said nothing yet."""


def decide(case: Case, wish: Wish) -> Moved | Refused:
    """Make a move, or say why not. The case given is as it was."""
    said = wish.reason.strip()
    targets = TRANSITIONS[wish.move].to.get(case.state)
    if not said:
        return refusal(case, wish, RefusedReason.NO_REASON)
    if targets is None:
        return refusal(case, wish, RefusedReason.NOT_FROM_HERE)
    if wish.role not in TRANSITIONS[wish.move].by:
        return refusal(case, wish, RefusedReason.NOT_YOUR_ROLE)
    if wish.amount is not None and wish.amount.currency != case.currency:
        return refusal(case, wish, RefusedReason.ANOTHER_CURRENCY)
    changed = _changed(case, wish)
    if isinstance(changed, RefusedReason):
        return refusal(case, wish, changed)
    after = replace(changed, state=next(to for to in targets if _fits(to, changed)), moves=case.moves + 1)
    return Moved(before=case, after=after, wish=replace(wish, reason=said))


def seen_move(case: Case, amount: Money) -> Move:
    """Which move it is that the bank was seen to pay this much."""
    paid = case.paid.minor_units + amount.minor_units
    is_all = case.state in TRANSITIONS[Move.SEE].to and 0 < case.agreed.minor_units <= paid
    return Move.SEE if is_all else Move.SEE_PART


def unseen_move(case: Case, amount: Money) -> Move:
    """Which move it is that a payment seen before turned out to be none."""
    paid = case.paid.minor_units - amount.minor_units
    is_due_again = case.state in TRANSITIONS[Move.UNSEE].to and paid < case.agreed.minor_units
    return Move.UNSEE if is_due_again else Move.UNSEE_PART


def open_moves(case: Case) -> tuple[Move, ...]:
    """The moves that lead on from where a case stands, leaving out what the system alone does."""
    return tuple(
        move for move, lead in TRANSITIONS.items() if case.state in lead.to and lead.by != {Role.SYSTEM}
    )


def role_for(move: Move) -> Role | None:
    """Whose move it is, where only one kind of person makes it."""
    persons = TRANSITIONS[move].by - {Role.SYSTEM}
    return next(iter(persons)) if len(persons) == 1 else None


def _fits(state: CaseState, case: Case) -> bool:
    """Whether money agreed and not paid can stand there: ordered where all of it is, ruled where it was ruled on."""
    if state is CaseState.ORDERED:
        return case.ordered == case.agreed
    return state is not CaseState.RULED or case.is_ruled


# What each move does to the money.


def _changed(case: Case, wish: Wish) -> Case | RefusedReason:
    match wish.move:
        case Move.OPEN | Move.GATHER:
            return RefusedReason.AMOUNT_NOT_TAKEN if wish.amount is not None else case
        case Move.QUOTE:
            # A ruling proposed on other figures is not the ruling on these.
            return RefusedReason.AMOUNT_NEEDED if wish.amount is None else replace(
                case, quoted=wish.amount, proposal=None
            )
        case Move.ACCEPT | Move.DEEM | Move.SETTLE | Move.CONTEST:
            return _agreed(case, wish)
        case Move.PROPOSE | Move.CONFIRM | Move.REJECT:
            return _ruled(case, wish)
        case Move.SEE | Move.SEE_PART | Move.UNSEE | Move.UNSEE_PART:
            return _paid(case, wish)
        case Move.ORDER | Move.CLOSE | Move.WITHDRAW:
            return RefusedReason.AMOUNT_NOT_TAKEN if wish.amount is not None else _settled(case, wish.move)


def _agreed(case: Case, wish: Wish) -> Case | RefusedReason:
    asked, top, amount = case.asked, case.top, wish.amount
    if asked is None or top is None:
        return RefusedReason.NOTHING_ASKED
    if wish.move is Move.CONTEST:
        if amount is not None and wish.role is Role.FAMILY:
            return RefusedReason.NOT_CONCEDED_BY_FAMILY
        amount = case.agreed if amount is None else amount
        if amount >= top:
            return RefusedReason.ALL_IS_AGREED
    elif amount is None:
        if wish.move is not Move.ACCEPT:
            return RefusedReason.AMOUNT_NEEDED
        amount = max(asked, case.agreed, key=lambda each: each.minor_units)
    elif wish.move is Move.ACCEPT and amount < asked:
        return RefusedReason.LESS_THAN_ASKED
    return _within(case, amount) or replace(case, agreed=amount, proposal=None)


def _ruled(case: Case, wish: Wish) -> Case | RefusedReason:
    if wish.move is Move.PROPOSE:
        if wish.amount is None:
            return RefusedReason.AMOUNT_NEEDED
        if case.asked is None:
            return RefusedReason.NOTHING_ASKED
        return _within(case, wish.amount) or replace(case, proposal=Proposal(amount=wish.amount, by=wish.actor))
    if wish.amount is not None:
        return RefusedReason.AMOUNT_NOT_TAKEN
    proposal = case.proposal
    if proposal is None:
        return RefusedReason.NO_PROPOSAL
    if _same_person(proposal.by, wish.actor):
        return RefusedReason.OWN_RULING
    if wish.move is Move.REJECT:
        return replace(case, proposal=None)
    # The claim may have been changed since.
    return _within(case, proposal.amount) or replace(case, agreed=proposal.amount, proposal=None, is_ruled=True)


def _within(case: Case, amount: Money) -> RefusedReason | None:
    """Why a whole refund of this much cannot be agreed on."""
    if amount.minor_units < 0:
        return RefusedReason.NOT_ABOVE_ZERO
    if amount < case.agreed:
        return RefusedReason.LESS_THAN_AGREED
    if amount > case.agreed and (case.top is None or amount > case.top):
        return RefusedReason.MORE_THAN_CLAIMED
    return None


def _paid(case: Case, wish: Wish) -> Case | RefusedReason:
    amount = wish.amount
    if amount is None:
        return RefusedReason.AMOUNT_NEEDED
    if amount.minor_units <= 0:
        return RefusedReason.NOT_ABOVE_ZERO
    if wish.move in (Move.UNSEE, Move.UNSEE_PART):
        if amount > case.paid:
            return RefusedReason.NEVER_SEEN
        if wish.move is not unseen_move(case, amount):
            return RefusedReason.ALL_SEEN if wish.move is Move.UNSEE else RefusedReason.NOT_ALL_SEEN
        return replace(case, paid=case.paid - amount)
    if wish.move is not seen_move(case, amount):
        return RefusedReason.NOT_ALL_SEEN if wish.move is Move.SEE else RefusedReason.ALL_SEEN
    return replace(case, paid=case.paid + amount)


def _settled(case: Case, move: Move) -> Case | RefusedReason:
    if move is Move.ORDER:
        return replace(case, ordered=case.agreed) if case.to_order.minor_units else RefusedReason.NOTHING_TO_ORDER
    if move is Move.CLOSE:
        return RefusedReason.MONEY_STILL_DUE if case.outstanding.minor_units else case
    if case.ordered.minor_units or case.paid.minor_units:
        return RefusedReason.MONEY_UNDER_WAY
    return replace(case, proposal=None)


def _same_person(one: str, other: str) -> bool:
    """`key:li` and `cli:Li` are one person, whichever way they came."""
    return _name(one) == _name(other)


def _name(actor: str) -> str:
    return actor.partition(":")[2].strip().casefold() or actor.strip().casefold()


def refusal(case: Case, wish: Wish, reason: RefusedReason, **values: Value) -> Refused:
    """A refusal of what is wished, with what its sentence says besides."""
    state, move, role = words.STATES[case.state], words.MOVES[wish.move], words.ROLES[wish.role]
    persons = sorted(TRANSITIONS[wish.move].by)
    moves = open_moves(case)
    return Refused(reason=reason, values={
        "case": case.case_no, "state_zh": state.zh, "state_en": case.state.value, "move": wish.move.value,
        "move_zh": move.zh, "role_zh": role.zh, "role_en": role.en,
        "roles_zh": "、".join(words.ROLES[each].zh for each in persons),
        "roles_en": " or ".join(words.ROLES[each].en for each in persons),
        "open_zh": "、".join(words.MOVES[each].zh for each in moves) or "无",
        "open_en": ", ".join(each.value for each in moves) or "nothing",
        "proposer": None if case.proposal is None else case.proposal.by, "currency": case.currency,
        "amount": wish.amount, "asked": case.asked, "top": case.top, "agreed": case.agreed, "ordered": case.ordered,
        "paid": case.paid, "outstanding": case.outstanding, **values,
    })
