"""What an institution answers itself: from where, until when, and what of a case it reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.domain.clocks import Silence
from escrow_monitor.domain.contracts import Cause
from escrow_monitor.domain.dispute_answers import (
    ANSWERED_FROM,
    ANSWERS,
    as_read_by_institution,
    decide_answer,
    hidden_moves,
    open_answers,
    refuse_said_payment,
)
from escrow_monitor.domain.dispute_words import CaseState, Move, RefusedReason, Role
from escrow_monitor.domain.disputes import UNDECIDED, Case, Moved, Proposal, Refused, Wish, decide
from escrow_monitor.domain.money import Money

TODAY = date(2026, 11, 20)
OVER = Silence(last_day=date(2026, 11, 17), deemed_from=date(2026, 11, 18))
RUNS = Silence(last_day=TODAY, deemed_from=date(2026, 11, 21))


def yuan(text: str) -> Money:
    return Money(int(text) * 100, "CNY")


def case(state: CaseState, **said: object) -> Case:
    given = Case(
        case_no="TF-1", contract_no="HT-1", uscc="91110000600037341L", claimed_on=date(2026, 11, 10),
        cause=Cause.CONSUMER, claimed=yuan("3500"), state=state, agreed=yuan("0"), ordered=yuan("0"), paid=yuan("0"),
    )
    return replace(given, **said)  # type: ignore[arg-type]


def answered(
    before: Case, move: Move, amount: str | None = None, *, clock: Silence | None = None, role: Role = Role.STAFF
) -> Case | RefusedReason:
    wish = Wish(
        move=move, actor="user:school", role=role, reason="有理由", amount=None if amount is None else yuan(amount)
    )
    found = decide_answer(before, wish, clock=clock, on=TODAY)
    if isinstance(found, Moved):
        assert found.wish.role is Role.INSTITUTION
        return found.after
    assert "{" not in found.why_zh + found.why_en
    return found.reason


@pytest.mark.parametrize(("state", "move"), list(product(CaseState, Move)), ids=str)
def test_an_institution_answers_and_makes_no_other_move(state: CaseState, move: Move) -> None:
    before = case(state)
    found = answered(before, move, "3000" if move is Move.CONTEST else None)
    if move not in ANSWERS:
        assert found is RefusedReason.NOT_YOUR_ROLE
    elif state not in ANSWERED_FROM:
        assert found is RefusedReason.NOT_FROM_HERE
    else:
        assert isinstance(found, Case)
        assert found.state is (CaseState.ACCEPTED if move is Move.ACCEPT else CaseState.CONTESTED)
    assert open_answers(before) == (ANSWERS if state in ANSWERED_FROM else ())


def test_a_role_that_is_claimed_makes_it_nobody_else() -> None:
    for role in Role:
        before = case(CaseState.CONTESTED, proposal=Proposal(amount=yuan("1"), by="x"))
        found = answered(before, Move.CONFIRM, role=role)
        assert found is RefusedReason.NOT_YOUR_ROLE


@pytest.mark.parametrize("state", UNDECIDED)
def test_after_its_time_silence_was_consent_and_it_may_still_agree(state: CaseState) -> None:
    before = case(state)
    assert answered(before, Move.CONTEST, clock=OVER) is RefusedReason.TIME_IS_OVER
    assert isinstance(answered(before, Move.CONTEST, clock=RUNS), Case)
    agreed = answered(before, Move.ACCEPT, clock=OVER)
    assert isinstance(agreed, Case)
    assert agreed.agreed == yuan("3500")
    unknown = Silence(last_day=None, deemed_from=None)
    assert isinstance(answered(before, Move.CONTEST, clock=unknown), Case)


def test_once_contested_it_can_only_agree_to_more() -> None:
    before = case(CaseState.CONTESTED, agreed=yuan("1000"), proposal=Proposal(amount=yuan("3000"), by="user:li"))
    for amount in (None, "500", "1000"):
        assert answered(before, Move.CONTEST, amount) is RefusedReason.CONTESTED_BEFORE
    more = answered(before, Move.CONTEST, "1200")
    assert isinstance(more, Case)
    assert (more.agreed, more.state) == (yuan("1200"), CaseState.CONTESTED)
    assert isinstance(answered(before, Move.ACCEPT), Case)


def test_it_says_that_it_paid_while_something_may_have_to_be_paid() -> None:
    for state in ANSWERED_FROM:
        assert refuse_said_payment(case(state)) is None
    for state in (CaseState.ACCEPTED, CaseState.RULED, CaseState.ORDERED):
        assert refuse_said_payment(case(state, agreed=yuan("3500"))) is None
    for one in (
        case(CaseState.CLOSED), case(CaseState.WITHDRAWN), case(CaseState.PAID, agreed=yuan("1"), paid=yuan("1")),
        case(CaseState.WITHDRAWN, agreed=yuan("1")),
    ):
        refused = refuse_said_payment(one)
        assert refused is not None
        assert refused.reason is RefusedReason.NOTHING_TO_PAY
        assert "TF-1" in refused.why_zh
        assert "TF-1" in refused.why_en


def test_a_ruling_is_read_once_it_is_confirmed() -> None:
    proposed = case(CaseState.CONTESTED, proposal=Proposal(amount=yuan("3000"), by="user:li"))
    assert as_read_by_institution(proposed).proposal is None
    m = Move
    for moves, hidden in (
        ([m.OPEN, m.CONTEST], set()), ([m.OPEN, m.CONTEST, m.PROPOSE], {2}),
        ([m.OPEN, m.PROPOSE, m.REJECT, m.PROPOSE, m.CONFIRM, m.ORDER], {1, 2}),
        ([m.PROPOSE, m.PROPOSE, m.CONFIRM, m.PROPOSE], {0, 3}), ([m.CONFIRM], set()),
    ):
        assert hidden_moves(moves) == hidden


@given(st.lists(st.sampled_from(Move)))
def test_nothing_is_hidden_but_rulings_that_were_proposed_or_sent_back(moves: list[Move]) -> None:
    hidden = hidden_moves(moves)
    assert {moves[place] for place in hidden} <= {Move.PROPOSE, Move.REJECT}
    shown = [move for place, move in enumerate(moves) if place not in hidden]
    assert Move.REJECT not in shown
    assert shown.count(Move.PROPOSE) <= shown.count(Move.CONFIRM)


def test_staff_may_record_what_an_institution_may_not_do_itself() -> None:
    """The table of moves is as it was: what is narrower is who makes them."""
    late = case(CaseState.ACCEPTED, agreed=yuan("1000"))
    assert answered(late, Move.CONTEST) is RefusedReason.NOT_FROM_HERE
    wish = Wish(move=Move.CONTEST, actor="user:li", role=Role.INSTITUTION, reason="电话答复")
    assert not isinstance(decide(late, wish), Refused)
