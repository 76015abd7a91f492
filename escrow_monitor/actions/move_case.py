"""Move a refund dispute on: by whom, on whose behalf and why, or not at all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from escrow_monitor.domain.dispute_words import Move, RefusedReason, Role
from escrow_monitor.domain.disputes import Case, Refused, Wish, decide, role_for
from escrow_monitor.domain.entitlement import Impossible
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.errors import EscrowMonitorError, UsageError
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts.case_book import CaseMove, day_of
from escrow_monitor.records.contracts.cases import case_law, quote_of_case
from escrow_monitor.records.contracts.ledgers import ledgers
from escrow_monitor.records.database import Database

REASON_CHARACTERS_MAX = 4_000
ACTOR_CHARACTERS_MAX = 100


class CaseUnknown(UsageError):
    """There is no such case."""


class MoveRefused(UsageError):
    """A case is not moved so."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.why_en)
        self.refused = refused

    @property
    def reason(self) -> RefusedReason:
        """Why, as a word."""
        return self.refused.reason

    @property
    def why_zh(self) -> str:
        """Why, in Chinese."""
        return self.refused.why_zh


def move_case(
    database: Database, policies: PolicyBook, *, case_no: str, move: Move, actor: str, reason: str, now: datetime,
    role: Role | None = None, amount: str | None = None,
) -> CaseMove:
    """Make one move in a transaction of its own; see `move_case_in`."""
    with database.write() as session:
        return move_case_in(
            session, policies, case_no=case_no, move=move, actor=actor, reason=reason, role=role, amount=amount, now=now
        )


def move_case_in(
    session: Any, policies: PolicyBook, *, case_no: str, move: Move, actor: str, reason: str, now: datetime,
    role: Role | None = None, amount: str | None = None,
) -> CaseMove:
    """Make one move; return it as it is kept. The move `quote` computes what is due today and keeps that.

    `role` need not be said where only one kind of person makes the move. `amount` is a plain decimal in the currency of
    the case. Raises CaseUnknown, MoveRefused, UsageError for what cannot be read, and EscrowMonitorError where what is
    due cannot be computed.
    """
    actor, reason = known_actor(actor), known_reason(reason)
    found = case_book.case(session, case_no, lock=True)
    if found is None:
        raise CaseUnknown(f"there is no case {case_no}: see cases list")
    case = found.case
    quote = _quoted(session, case, policies, amount, now) if move is Move.QUOTE else None
    decided = decide(case, Wish(
        move=move, actor=actor, role=role or _role_of(case, move), reason=reason,
        amount=amount_of(case, amount) if quote is None else quote.refund,
    ))
    if isinstance(decided, Refused):
        raise MoveRefused(decided)
    if quote is not None:
        case_book.keep_quotes(session, [(case_no, quote)], policy_version=policies.version, actor=actor, now=now)
    case_book.keep_moves(session, [(decided, None)], now=now)
    return case_book.case_moves(session, [case_no])[-1]


def known_actor(name: str) -> str:
    """Who does something, as the credential says it (`cli:li`, `key:li`). Raises UsageError where there is no name."""
    name = name.strip()
    if not name or name.endswith(":") or len(name) > ACTOR_CHARACTERS_MAX or not name.isprintable():
        raise UsageError(f"say who does it, by a name of one line of at most {ACTOR_CHARACTERS_MAX} characters")
    return name


def known_reason(text: str) -> str:
    """Why something is done. Raises UsageError where that is longer than anybody reads."""
    if len(text) > REASON_CHARACTERS_MAX:
        raise UsageError(f"a reason is at most {REASON_CHARACTERS_MAX} characters long")
    return text


def amount_of(case: Case, text: str | None) -> Money | None:
    """An amount in the currency of a case. Raises UsageError for what is none."""
    if text is None:
        return None
    try:
        return parse_amount(text, case.currency)
    except AmountError as error:
        raise UsageError(f"the amount is wrong: {error}") from error


def _quoted(session: Any, case: Case, policies: PolicyBook, amount: str | None, now: datetime) -> Quote:
    if amount is not None:
        raise UsageError("a quote is computed and takes no amount: settle or rule on what was agreed otherwise")
    law = case_law(session, policies)
    ledger = ledgers(session, [case.contract_no])[case.contract_no]
    found = quote_of_case(case, ledger, on=day_of(now), law=law)
    if isinstance(found, Impossible):
        raise EscrowMonitorError(
            f"contract {found.contract_no} cannot be quoted: {found.why_en}; correct its records first"
        )
    return found


def _role_of(case: Case, move: Move) -> Role:
    role = role_for(move)
    if role is not None:
        return role
    if move is Move.CONTEST:
        raise UsageError(f"case {case.case_no}: say on whose behalf it is contested, institution or family")
    return Role.STAFF
