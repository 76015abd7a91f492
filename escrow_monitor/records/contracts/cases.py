"""Refund cases beside contracts, bank and policy: what is due on them, what was seen, and what time decides."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

from sqlmodel import Session

from escrow_monitor.domain.contracts import Refund
from escrow_monitor.domain.dispute_clocks import answer_clock, payment_due
from escrow_monitor.domain.dispute_words import CaseState, Move, Role
from escrow_monitor.domain.disputes import (
    OPEN_STATES,
    UNDECIDED,
    Case,
    Moved,
    Refused,
    Wish,
    decide,
    seen_move,
    unseen_move,
)
from escrow_monitor.domain.entitlement import Impossible, Ledger
from escrow_monitor.domain.institution_position import RefundFacts
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.matching import Expected, ExpectedKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.refund_cases import CaseFacts, needs_quote, refund_facts_of
from escrow_monitor.domain.refund_quote import Quote, quote
from escrow_monitor.errors import EscrowMonitorError
from escrow_monitor.records.accounts import institutions
from escrow_monitor.records.bulk import Reader, fetch
from escrow_monitor.records.contracts.case_book import (
    CaseMove,
    case_moves,
    cases,
    day_of,
    keep_moves,
    keep_quotes,
)
from escrow_monitor.records.contracts.ledgers import CONTRACTS_AT_ONCE, ledgers
from escrow_monitor.records.contracts.refunds import remove_refunds, save_refunds
from escrow_monitor.records.contracts.sums import kept_up

SYSTEM_ACTOR = "system"
PAYABLE = (CaseState.ACCEPTED, CaseState.CONTESTED, CaseState.RULED, CaseState.ORDERED)
"""The states in which money that is agreed waits to be seen."""

_EXPECTED = re.compile(r"refund(?:-[0-9]+(?:\+[0-9]+)?)?:")


class SeenRefund(NamedTuple):
    """A payment of the bank that was matched to a case. `amount` is what went out, above or below zero."""

    case_no: str
    match_id: str
    paid_on: date
    amount: Money


# What the bank should show.


def expected_refunds(session: Session, *, usccs: Sequence[str] | None) -> list[Expected]:
    """What should go out of these institutions' accounts: each amount that was agreed and not seen, below zero.

    The first of a case is `refund:CASE`, what a later ruling added `refund-2:CASE`, the rest of one that was seen in
    part `refund-1+250000:CASE`: an id always means the same movement. It is expected on the day it was ordered, else
    the day it was agreed on.
    """
    waiting = [
        record.case for record in cases(session, usccs=usccs, states=PAYABLE) if record.case.outstanding.minor_units
    ]
    moves = {
        case_no: list(made)
        for case_no, made in groupby(case_moves(session, [one.case_no for one in waiting]), lambda one: one.case_no)
    }
    return [item for one in waiting for item in _expected(one, moves[one.case_no])]


def case_no_of(expected_id: str) -> str:
    """The case of an expected refund."""
    return _EXPECTED.sub("", expected_id, count=1)


def _expected(case: Case, moves: Sequence[CaseMove]) -> list[Expected]:
    parts = [(place, move) for place, move in enumerate(moves) if move.payable.minor_units]
    covered = _covered([move.payable.minor_units for _, move in parts], _payments(moves))
    items = []
    for number, ((place, move), paid) in enumerate(zip(parts, covered, strict=True), 1):
        part = move.payable.minor_units
        if paid == part:
            continue
        mark = f"-{number}+{paid}" if paid else f"-{number}" if number > 1 else ""
        ordered_on = next((later.moved_on for later in moves[place:] if later.move is Move.ORDER), None)
        items.append(Expected(
            expected_id=f"refund{mark}:{case.case_no}", kind=ExpectedKind.REFUND, uscc=case.uscc,
            on=ordered_on or move.moved_on, amount_fen=paid - part, reference=case.case_no, currency=case.currency,
        ))
    return items


def _payments(moves: Iterable[CaseMove]) -> list[int]:
    """What each match was seen to pay and was not taken back, in minor units."""
    standing: dict[str | None, int] = {}
    for move in moves:
        if move.amount is not None and move.move in _SEEN:
            standing[move.reference] = standing.get(move.reference, 0) + _SEEN[move.move] * move.amount.minor_units
    return [fen for fen in standing.values() if fen]


_SEEN = {Move.SEE: 1, Move.SEE_PART: 1, Move.UNSEE: -1, Move.UNSEE_PART: -1}


def _covered(parts: Sequence[int], payments: Sequence[int]) -> list[int]:
    """How much of each part was paid: a payment of just its amount is its own, the others fill up from the first."""
    covered = [0] * len(parts)
    rest = 0
    for payment in payments:
        just = next((place for place, part in enumerate(parts) if part == payment and not covered[place]), None)
        if just is None:
            rest += payment
        else:
            covered[just] = payment
    for place, part in enumerate(parts):
        more = min(rest, part - covered[place])
        covered[place] += more
        rest -= more
    return covered


# What the bank showed.


def note_seen(session: Session, seen: Sequence[SeenRefund], *, now: datetime) -> int:
    """Record refunds that were seen in the bank, and move their cases; return how many were new.

    One that is recorded just so is left alone, one that is recorded otherwise is taken back first. A case that nobody
    would pay any more, because it was withdrawn, takes note of the money all the same. Opens `contract_sums.kept_up`.
    """
    given = {_refund_no(one, seen): one for one in seen}
    recorded = _recorded(session, sorted(given))
    if all(recorded.get(number) == _as_recorded(one) for number, one in given.items()):
        return 0
    with kept_up(session, on=day_of(now)):
        by_case = _locked(session, [_known_as(one.case_no) for one in given.values()])
        fresh: dict[str, SeenRefund] = {}
        for number, one in sorted(given.items()):
            case_no = _known_as(one.case_no)
            if case_no not in by_case:
                raise EscrowMonitorError(f"match {one.match_id} is said to pay case {case_no}, which there is not")
            if recorded.get(number) != _as_recorded(one):
                fresh[number] = one._replace(
                    case_no=case_no, amount=Money(abs(one.amount.minor_units), one.amount.currency)
                )
        _take_back(session, {one.match_id: number for number, one in fresh.items() if number in recorded}, by_case, now)
        _write_seen(session, fresh, by_case, now)
    return len(fresh)


def note_unseen(session: Session, match_ids: Sequence[str], *, now: datetime) -> int:
    """Take back what was seen by these matches, and move the cases back; return how many payments that were.

    Opens `contract_sums.kept_up`.
    """
    standing = _standing(session, match_ids)
    if not standing:
        return 0
    with kept_up(session, on=day_of(now)):
        by_case = _locked(session, [case_no for case_no, *_ in standing])
        _unsee(session, standing, by_case, now)
    return len(standing)


def _standing(session: Session, match_ids: Sequence[str]) -> list[tuple[str, str, int]]:
    """What stands as seen by these matches: case, match and minor units."""
    return [
        (case_no, match_id, fen) for case_no, match_id, fen in fetch(
            session,
            "SELECT case_no, reference, CAST(sum(CASE WHEN move IN ('see', 'see_part') THEN amount_fen"
            " WHEN move IN ('unsee', 'unsee_part') THEN -amount_fen ELSE 0 END) AS BIGINT) AS fen FROM case_moves"
            " WHERE reference IN EACH(:match_ids) GROUP BY case_no, reference ORDER BY reference, case_no",
            match_ids=match_ids,
        ) if fen
    ]


def _take_back(session: Session, numbers: Mapping[str, str], by_case: dict[str, Case], now: datetime) -> None:
    """Take back what is recorded otherwise than it is now seen: by match, its refund's number."""
    standing = [
        (case_no, match_id, fen) for case_no, match_id, fen in _standing(session, sorted(numbers))
        if numbers[match_id] in (match_id, f"{match_id}#{case_no}")
    ]
    by_case |= _locked(session, [case_no for case_no, *_ in standing if case_no not in by_case])
    _unsee(session, standing, by_case, now)


def _unsee(
    session: Session, standing: Sequence[tuple[str, str, int]], by_case: dict[str, Case], now: datetime
) -> None:
    made: list[tuple[Moved, str | None]] = []
    for case_no, match_id, fen in standing:
        case = by_case[case_no]
        amount = Money(fen, case.currency)
        moved = _must(decide(case, Wish(
            move=unseen_move(case, amount), actor=SYSTEM_ACTOR, role=Role.SYSTEM, amount=amount,
            reason=f"匹配已撤销 / the match {match_id} was undone",
        )))
        by_case[case_no] = moved.after
        made.append((moved, match_id))
    remove_refunds(session, [
        number for case_no, match_id, _ in standing for number in (match_id, f"{match_id}#{case_no}")
    ])
    keep_moves(session, made, now=now)


def _locked(session: Session, case_nos: Iterable[str]) -> dict[str, Case]:
    return {
        record.case.case_no: record.case for record in cases(session, case_nos=sorted(set(case_nos)), lock=True)
    }


def _as_recorded(one: SeenRefund) -> tuple[str, date, Money]:
    return _known_as(one.case_no), one.paid_on, Money(abs(one.amount.minor_units), one.amount.currency)


def _refund_no(one: SeenRefund, among: Sequence[SeenRefund]) -> str:
    """The match's own id; where one payment of the bank was for several cases, with the case behind it."""
    cases_paid = {_known_as(other.case_no) for other in among if other.match_id == one.match_id}
    return one.match_id if len(cases_paid) == 1 else f"{one.match_id}#{_known_as(one.case_no)}"


def _known_as(case_no: str) -> str:
    """A case by its number, or by the id of what was expected of it."""
    return case_no_of(case_no) if _EXPECTED.match(case_no) else case_no


def _recorded(session: Session, refund_nos: Sequence[str]) -> dict[str, tuple[str, date, Money]]:
    on = Reader(session).on
    return {
        row[0]: (row[1], on(row[2]), Money(row[3], row[4])) for row in fetch(
            session,
            "SELECT refund_no, claim_no, paid_on, amount_fen, currency FROM refunds"
            " WHERE refund_no IN EACH(:refund_nos)", refund_nos=refund_nos,
        )
    }


def _write_seen(
    session: Session, fresh: Mapping[str, SeenRefund], by_case: dict[str, Case], now: datetime
) -> None:
    made: list[tuple[Moved, str | None]] = []
    for one in fresh.values():
        case = by_case[one.case_no]
        moved = _must(decide(case, Wish(
            move=seen_move(case, one.amount), actor=SYSTEM_ACTOR, role=Role.SYSTEM, amount=one.amount,
            reason=f"银行流水 {one.paid_on} 已匹配 / seen in the bank on {one.paid_on}, match {one.match_id}",
        )))
        by_case[one.case_no] = moved.after
        made.append((moved, one.match_id))
    save_refunds(session, {
        number: Refund(
            contract_no=by_case[one.case_no].contract_no, paid_on=one.paid_on, amount=one.amount, claim_no=one.case_no
        )
        for number, one in fresh.items()
    }, now=now)
    keep_moves(session, made, now=now)


def _must(decided: Moved | Refused) -> Moved:
    if isinstance(decided, Refused):
        raise EscrowMonitorError(decided.why_en)
    return decided


# What is due.


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLaw:
    """What holds between families and institutions on the day of each claim."""

    policies: PolicyBook
    institutions: Mapping[str, Institution]

    def of(self, case: Case) -> EffectivePolicy:
        """What held on the day on which a case was claimed."""
        return self.policies.effective(
            institution=self.institutions.get(case.uscc), account=None, on=case.claimed_on
        )


def case_law(session: Session, policies: PolicyBook, usccs: Collection[str] | None = None) -> CaseLaw:
    """The law of all institutions' cases, or of these institutions'."""
    return CaseLaw(policies=policies, institutions={one.uscc: one for one in institutions(session, usccs=usccs)})


def quote_of_case(case: Case, ledger: Ledger, *, on: date, law: CaseLaw) -> Quote | Impossible:
    """What is due on a case at the end of `on`, not before the day of its claim."""
    policy = law.of(case)
    return quote(
        ledger, on=max(on, case.claimed_on), cause=case.cause, terms=policy.refund_terms, calendar=policy.calendar,
        claimed_on=case.claimed_on,
    )


def case_facts(
    session: Session, open_cases: Iterable[Case], *, on: date, law: CaseLaw, quote_all: bool = False
) -> list[CaseFacts]:
    """What is due on each of these cases and by when; quoted where that is still open to say, or all of them."""
    all_cases = list(open_cases)
    facts = []
    for start in range(0, len(all_cases), CONTRACTS_AT_ONCE):
        piece = all_cases[start : start + CONTRACTS_AT_ONCE]
        books = ledgers(session, sorted({one.contract_no for one in piece}))
        for one in piece:
            policy, ledger = law.of(one), books[one.contract_no]
            facts.append(CaseFacts(
                case=one, due=payment_due(one, ledger, terms=policy.refund_terms, calendar=policy.calendar),
                quote=quote_of_case(one, ledger, on=on, law=law) if quote_all or needs_quote(one) else None,
            ))
    return facts


def refund_facts(
    session: Session, usccs: Sequence[str] | None, *, on: date, policies: PolicyBook
) -> Mapping[str, tuple[RefundFacts, ...]]:
    """What the refund cases of these institutions come to at the end of `on`; who has none is in it with none.

    A refund is overdue if its last day lies before `on` and the bank did not show it, so `on` should be a day whose
    statements are there. `usccs` None: of all institutions.
    """
    law = case_law(session, policies)
    found = [
        record.case for record in cases(session, usccs=usccs, states=OPEN_STATES) if record.case.claimed_on <= on
    ]
    by_uscc: dict[str, list[CaseFacts]] = {uscc: [] for uscc in (law.institutions if usccs is None else usccs)}
    for each in case_facts(session, found, on=on, law=law):
        by_uscc.setdefault(each.case.uscc, []).append(each)
    return {uscc: refund_facts_of(each, on=on) for uscc, each in by_uscc.items()}


# What time decides.


def silent_cases(
    session: Session, usccs: Sequence[str] | None, *, policies: PolicyBook, now: datetime
) -> list[Case]:
    """The cases in which the institution's time to answer is over and it has said nothing."""
    return _silent(
        [record.case for record in cases(session, usccs=usccs, states=UNDECIDED)], case_law(session, policies), now
    )


def _silent(undecided: Iterable[Case], law: CaseLaw, now: datetime) -> list[Case]:
    def is_consent(case: Case) -> bool:
        policy = law.of(case)
        clock = answer_clock(case, policy.refund_terms, policy.calendar)
        return clock is not None and clock.is_consent(day_of(now))

    return [case for case in undecided if is_consent(case)]


def deem_silent(
    session: Session, usccs: Sequence[str] | None, *, policies: PolicyBook, now: datetime
) -> list[str]:
    """Take the silence of institutions as consent where their time to answer is over; return the cases.

    What is agreed so is the smaller of what is claimed and what is due, by a quote that is kept with the case. Where
    nothing is due, or nothing can be computed, silence changes nothing: a person must look.
    """
    silent = silent_cases(session, usccs, policies=policies, now=now)
    if not silent:
        return []
    law = case_law(session, policies)
    locked = _locked(session, [one.case_no for one in silent]).values()
    # Somebody may have moved one before it was locked.
    silent = _silent([one for one in locked if one.state in UNDECIDED], law, now)
    made: list[tuple[Moved, str | None]] = []
    quotes = []
    for each in case_facts(session, silent, on=day_of(now), law=law):
        if isinstance(each.quote, Quote) and each.quote.refund.minor_units:
            made += [(moved, None) for moved in _deemed(each.case, each.quote, law.of(each.case))]
            quotes.append((each.case.case_no, each.quote))
    keep_quotes(session, quotes, policy_version=policies.version, actor=SYSTEM_ACTOR, now=now)
    keep_moves(session, made, now=now)
    return [case_no for case_no, _ in quotes]


def _deemed(case: Case, found: Quote, policy: EffectivePolicy) -> tuple[Moved, Moved]:
    clause, clock = policy.refund_terms.answer, answer_clock(case, policy.refund_terms, policy.calendar)
    assert clause is not None, "there was a clock"  # noqa: S101 - nothing is deemed without its clause
    assert clock is not None, "there was a clock"  # noqa: S101 - the same
    quoted = _must(decide(case, Wish(
        move=Move.QUOTE, actor=SYSTEM_ACTOR, role=Role.SYSTEM, amount=found.refund,
        reason="答复期满时计算 / computed when the time to answer was over",
    )))
    amount = found.refund if case.claimed is None or found.refund < case.claimed else case.claimed
    return quoted, _must(decide(quoted.after, Wish(
        move=Move.DEEM, actor=SYSTEM_ACTOR, role=Role.SYSTEM, amount=amount,
        reason=f"截至 {clock.last_day} 未答复，视为同意（{clause.basis.zh}）/ no answer by {clock.last_day}, which is "
        f"consent ({clause.basis.en})",
    )))
