"""Refund disputes: every move from every state, what each does to the money, who may, and what time does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pytest
from contract_world import contract, ledger, lesson, yuan
from hypothesis import given, settings
from hypothesis import strategies as st

from escrow_monitor.domain.clocks import Due, DueBy
from escrow_monitor.domain.contracts import Cause, LessonStatus
from escrow_monitor.domain.dispute_clocks import (
    DeadlineKind,
    answer_clock,
    deadlines,
    next_deadline,
    payment_due,
    started_by,
)
from escrow_monitor.domain.dispute_words import MOVES, REFUSALS, ROLES, STATES, CaseState, Move, RefusedReason, Role
from escrow_monitor.domain.disputes import (
    OPEN_STATES,
    TRANSITIONS,
    UNDECIDED,
    Case,
    Moved,
    Proposal,
    Refused,
    Wish,
    decide,
    open_moves,
    role_for,
    seen_move,
    unseen_move,
)
from escrow_monitor.domain.entitlement import Impossible, ImpossibleReason, Ledger
from escrow_monitor.domain.findings import Finding, Level, Standing
from escrow_monitor.domain.institution_position import InstitutionPosition, RefundFacts
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import EffectivePolicy, PolicyBook
from escrow_monitor.domain.refund_cases import CaseFacts, difference, due_amount, needs_quote, refund_facts_of
from escrow_monitor.domain.refund_quote import Quote, quote
from escrow_monitor.domain.rules import INSTITUTION_RULES, refund_mismatch, refund_overdue

CLAIMED_ON = date(2026, 11, 10)  # a Tuesday
TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ZERO = yuan("0")
Law = Callable[..., EffectivePolicy]


def case(**said: Any) -> Case:
    """3,500.00 claimed, 3,600.00 quoted, nothing agreed."""
    given = {
        "case_no": "TF-1", "contract_no": "HT-1", "uscc": "91110000600037341L", "claimed_on": CLAIMED_ON,
        "cause": Cause.CONSUMER, "claimed": yuan("3500"), "state": CaseState.QUOTED, "agreed": ZERO, "ordered": ZERO,
        "paid": ZERO, "quoted": yuan("3600"),
    }
    return Case(**{**given, **said})


def wish(move: Move, amount: str | None = None, role: Role | None = None, actor: str = "cli:li") -> Wish:
    return Wish(
        move=move, actor=actor, role=role or min(TRANSITIONS[move].by), reason="有理由",
        amount=None if amount is None else yuan(amount),
    )


def moved(before: Case, move: Move, amount: str | None = None, **said: Any) -> Case:
    found = decide(before, wish(move, amount, **said))
    assert isinstance(found, Moved), found
    assert found.after.moves == before.moves + 1
    return found.after


def refused(before: Case, move: Move, amount: str | None = None, **said: Any) -> RefusedReason:
    found = decide(before, wish(move, amount, **said))
    assert isinstance(found, Refused), found
    assert "{" not in found.why_zh + found.why_en
    assert before.case_no in found.why_zh
    assert before.case_no in found.why_en
    return found.reason


# The table.


S, M = CaseState, Move
FIT = {
    # A case in each state that is as it can be there.
    S.CLAIMED: case(state=S.CLAIMED, quoted=None),
    S.GATHERING: case(state=S.GATHERING),
    S.QUOTED: case(),
    S.ACCEPTED: case(state=S.ACCEPTED, agreed=yuan("3500")),
    S.CONTESTED: case(state=S.CONTESTED, agreed=yuan("3000"), proposal=Proposal(amount=yuan("3200"), by="cli:wang")),
    S.RULED: case(state=S.RULED, agreed=yuan("3200"), is_ruled=True),
    S.ORDERED: case(state=S.ORDERED, agreed=yuan("3500"), ordered=yuan("3500")),
    S.PAID: case(state=S.PAID, agreed=yuan("3500"), ordered=yuan("3500"), paid=yuan("3500")),
    S.CLOSED: case(state=S.CLOSED, agreed=yuan("3500"), ordered=yuan("3500"), paid=yuan("3500")),
    S.WITHDRAWN: case(state=S.WITHDRAWN),
}
MADE: dict[tuple[CaseState, Move], tuple[CaseState, str | None]] = {
    # (from, move): (to, the amount it needs). Every other pair is refused.
    **dict.fromkeys(product((S.CLAIMED, S.QUOTED), (M.GATHER,)), (S.GATHERING, None)),
    **dict.fromkeys(product(UNDECIDED, (M.QUOTE,)), (S.QUOTED, "3600")),
    (S.CONTESTED, M.QUOTE): (S.CONTESTED, "3600"),
    **dict.fromkeys(product((*UNDECIDED, S.CONTESTED), (M.ACCEPT,)), (S.ACCEPTED, None)),
    **dict.fromkeys(product((*UNDECIDED, S.CONTESTED), (M.SETTLE,)), (S.ACCEPTED, "3300")),
    **dict.fromkeys(product(UNDECIDED, (M.CONTEST,)), (S.CONTESTED, "3000")),
    (S.CONTESTED, M.CONTEST): (S.CONTESTED, "3100"),
    **dict.fromkeys(product((S.ACCEPTED, S.ORDERED, S.PAID), (M.CONTEST,)), (S.CONTESTED, None)),
    **dict.fromkeys(product(UNDECIDED, (M.DEEM,)), (S.ACCEPTED, "3500")),
    (S.CONTESTED, M.PROPOSE): (S.CONTESTED, "3200"),
    (S.CONTESTED, M.CONFIRM): (S.RULED, None),
    (S.CONTESTED, M.REJECT): (S.CONTESTED, None),
    (S.ACCEPTED, M.ORDER): (S.ORDERED, None),
    (S.RULED, M.ORDER): (S.ORDERED, None),
    (S.CONTESTED, M.ORDER): (S.CONTESTED, None),
    **dict.fromkeys(product((S.ACCEPTED, S.RULED, S.ORDERED), (M.SEE,)), (S.PAID, "3500")),
    **{(state, M.SEE_PART): (state, "10") for state in S},
    (S.PAID, M.UNSEE): (S.ORDERED, "10"),
    (S.CLOSED, M.UNSEE): (S.ORDERED, "10"),
    (S.PAID, M.CLOSE): (S.CLOSED, None),
    **dict.fromkeys(
        product((*UNDECIDED, S.ACCEPTED, S.CONTESTED), (M.WITHDRAW,)), (S.WITHDRAWN, None)
    ),
}
NEEDS_MORE = {(S.ACCEPTED, M.CLOSE), (S.RULED, M.CLOSE), *((state, M.UNSEE_PART) for state in S)}
"""In the table, but not of a case that is as those above."""


@pytest.mark.parametrize(("state", "move"), list(product(CaseState, Move)), ids=str)
def test_every_move_from_every_state_is_made_or_refused_as_the_table_says(state: CaseState, move: Move) -> None:
    for role in Role:
        amount = MADE.get((state, move), (state, None))[1]
        found = decide(FIT[state], wish(move, amount, role))
        if (state, move) in MADE and role in TRANSITIONS[move].by:
            if move is M.CONTEST and role is Role.FAMILY and amount is not None:
                assert isinstance(found, Refused)
                assert found.reason is RefusedReason.NOT_CONCEDED_BY_FAMILY
                continue
            assert isinstance(found, Moved), found
            assert found.after.state is MADE[state, move][0]
            continue
        assert isinstance(found, Refused)
        if state not in TRANSITIONS[move].to:
            assert found.reason is RefusedReason.NOT_FROM_HERE
        elif role not in TRANSITIONS[move].by:
            assert found.reason is RefusedReason.NOT_YOUR_ROLE
        else:
            assert (state, move) in NEEDS_MORE


def test_the_table_leads_nowhere_else() -> None:
    pairs = {(state, move) for move, lead in TRANSITIONS.items() for state in lead.to}
    assert pairs == set(MADE) | NEEDS_MORE
    for (state, move), (to, _) in MADE.items():
        assert to in TRANSITIONS[move].to[state]


def test_everything_has_a_name_in_both_languages() -> None:
    for names, kind in ((STATES, CaseState), (MOVES, Move), (ROLES, Role), (REFUSALS, RefusedReason)):
        assert set(names) == set(kind)
        assert all(each.zh and each.en for each in names.values())


def test_nobody_but_the_system_says_that_the_bank_paid() -> None:
    for move in (Move.SEE, Move.SEE_PART, Move.UNSEE, Move.UNSEE_PART, Move.DEEM, Move.OPEN):
        assert TRANSITIONS[move].by == {Role.SYSTEM}
        assert all(move not in open_moves(each) for each in FIT.values())


def test_the_moves_that_are_open_are_those_the_table_has() -> None:
    assert open_moves(FIT[S.PAID]) == (M.CONTEST, M.CLOSE)
    assert open_moves(FIT[S.CLOSED]) == open_moves(FIT[S.WITHDRAWN]) == ()
    assert role_for(M.GATHER) is Role.STAFF
    assert role_for(M.WITHDRAW) is Role.FAMILY
    assert role_for(M.CONFIRM) is Role.SECOND
    assert role_for(M.CONTEST) is None


# The money.


def test_a_case_that_is_accepted_ordered_seen_and_closed() -> None:
    found = moved(case(state=S.CLAIMED, quoted=None), M.GATHER)
    found = moved(moved(found, M.QUOTE, "3600"), M.ACCEPT)
    assert (found.agreed, found.to_order, found.outstanding, found.held) == (
        yuan("3500"), yuan("3500"), yuan("3500"), ZERO
    )
    found = moved(found, M.ORDER)
    assert (found.ordered, found.to_order) == (yuan("3500"), ZERO)
    assert refused(found, M.ORDER) is RefusedReason.NOT_FROM_HERE
    assert seen_move(found, yuan("3000")) is M.SEE_PART
    found = moved(found, M.SEE_PART, "3000")
    assert (found.state, found.outstanding) == (S.ORDERED, yuan("500"))
    assert refused(found, M.CLOSE, role=Role.STAFF) is RefusedReason.NOT_FROM_HERE
    assert seen_move(found, yuan("500")) is M.SEE
    found = moved(found, M.SEE, "500")
    assert (found.state, found.outstanding, found.is_open) == (S.PAID, ZERO, True)
    assert not moved(found, M.CLOSE, role=Role.STAFF).is_open


def test_only_the_disputed_part_is_held_and_the_rest_goes_out_at_once() -> None:
    found = moved(case(), M.CONTEST, "3000", role=Role.INSTITUTION)
    assert (found.agreed, found.held, found.to_order) == (yuan("3000"), yuan("600"), yuan("3000"))
    found = moved(found, M.ORDER)
    assert (found.state, found.ordered, found.held) == (S.CONTESTED, yuan("3000"), yuan("600"))
    assert refused(found, M.ORDER) is RefusedReason.NOTHING_TO_ORDER
    assert seen_move(found, yuan("3000")) is M.SEE_PART
    found = moved(found, M.SEE_PART, "3000")
    assert (found.state, found.outstanding, found.held) == (S.CONTESTED, ZERO, yuan("600"))
    assert refused(found, M.WITHDRAW) is RefusedReason.MONEY_UNDER_WAY
    found = moved(found, M.PROPOSE, "3200")
    ruling = decide(found, wish(M.CONFIRM, actor="cli:wang"))
    assert isinstance(ruling, Moved)
    assert ruling.payable == yuan("200")
    found = ruling.after
    assert (found.state, found.held, found.to_order) == (S.RULED, ZERO, yuan("200"))
    found = moved(found, M.ORDER)
    assert moved(found, M.SEE, "200").state is S.PAID


def test_a_ruling_takes_two_persons() -> None:
    found = moved(case(state=S.CONTESTED), M.PROPOSE, "3200", actor="key:li")
    for same in ("key:li", "cli:Li", "cli: li ", "li"):
        for move in (M.CONFIRM, M.REJECT):
            assert refused(found, move, actor=same) is RefusedReason.OWN_RULING
    assert refused(found, M.CONFIRM, "3200", actor="cli:wang") is RefusedReason.AMOUNT_NOT_TAKEN
    back = moved(found, M.REJECT, actor="cli:wang")
    assert (back.state, back.proposal, back.agreed) == (S.CONTESTED, None, ZERO)
    assert refused(back, M.CONFIRM, actor="cli:wang") is RefusedReason.NO_PROPOSAL
    ruled = moved(found, M.CONFIRM, actor="cli:wang")
    assert (ruled.agreed, ruled.is_ruled, ruled.proposal) == (yuan("3200"), True, None)


def test_a_ruling_on_other_figures_is_not_the_ruling_on_these() -> None:
    found = moved(case(state=S.CONTESTED), M.PROPOSE, "3600")
    assert moved(found, M.QUOTE, "3400", role=Role.STAFF).proposal is None
    lower = replace(found, claimed=yuan("3000"), quoted=yuan("3100"))
    assert refused(lower, M.CONFIRM, actor="cli:wang") is RefusedReason.MORE_THAN_CLAIMED


def test_a_ruling_can_give_nothing_more_and_the_case_closes() -> None:
    paid = case(state=S.CONTESTED, agreed=yuan("3000"), ordered=yuan("3000"), paid=yuan("3000"))
    ruled = moved(moved(paid, M.PROPOSE, "3000"), M.CONFIRM, actor="cli:wang")
    assert refused(ruled, M.ORDER) is RefusedReason.NOTHING_TO_ORDER
    assert moved(ruled, M.CLOSE).state is S.CLOSED


def test_what_was_paid_can_turn_out_not_to_be() -> None:
    paid = FIT[S.PAID]
    assert unseen_move(paid, yuan("10")) is M.UNSEE
    assert moved(paid, M.UNSEE, "10").state is S.ORDERED
    unordered = replace(paid, ordered=ZERO)
    assert moved(unordered, M.UNSEE, "10").state is S.ACCEPTED
    assert moved(replace(unordered, is_ruled=True), M.UNSEE, "10").state is S.RULED
    assert moved(replace(unordered, state=S.CLOSED), M.UNSEE, "3500").state is S.ACCEPTED
    more = replace(paid, paid=yuan("3600"))
    assert unseen_move(more, yuan("100")) is M.UNSEE_PART
    assert moved(more, M.UNSEE_PART, "100").state is S.PAID
    assert refused(paid, M.UNSEE, "4000") is RefusedReason.NEVER_SEEN
    assert refused(paid, M.UNSEE_PART, "10") is RefusedReason.NOT_ALL_SEEN
    assert refused(more, M.UNSEE, "100") is RefusedReason.ALL_SEEN


def test_a_family_that_got_too_little_contests_what_was_paid() -> None:
    deemed = moved(case(claimed=yuan("4000")), M.DEEM, "3600")
    paid = moved(deemed, M.SEE, "3600")
    again = moved(paid, M.CONTEST, role=Role.FAMILY)
    assert (again.state, again.held) == (S.CONTESTED, yuan("400"))
    settled = moved(again, M.SETTLE, "3600")
    assert moved(settled, M.CLOSE).state is S.CLOSED


@pytest.mark.parametrize(("before", "move", "amount", "role", "reason"), [
    (case(claimed=None, quoted=None), M.ACCEPT, None, None, RefusedReason.NOTHING_ASKED),
    (case(claimed=None, quoted=None, state=S.CONTESTED), M.PROPOSE, "1", None, RefusedReason.NOTHING_ASKED),
    (case(), M.ACCEPT, "3499.99", None, RefusedReason.LESS_THAN_ASKED),
    (case(), M.ACCEPT, "3600.01", None, RefusedReason.MORE_THAN_CLAIMED),
    (case(), M.SETTLE, None, None, RefusedReason.AMOUNT_NEEDED),
    (case(), M.QUOTE, None, Role.STAFF, RefusedReason.AMOUNT_NEEDED),
    (case(), M.GATHER, "1", None, RefusedReason.AMOUNT_NOT_TAKEN),
    (case(), M.WITHDRAW, "1", None, RefusedReason.AMOUNT_NOT_TAKEN),
    (case(), M.CONTEST, "3600", Role.INSTITUTION, RefusedReason.ALL_IS_AGREED),
    (case(), M.CONTEST, "1", Role.FAMILY, RefusedReason.NOT_CONCEDED_BY_FAMILY),
    (FIT[S.CONTESTED], M.SETTLE, "2999", None, RefusedReason.LESS_THAN_AGREED),
    (FIT[S.CONTESTED], M.PROPOSE, "2999", None, RefusedReason.LESS_THAN_AGREED),
    (FIT[S.CONTESTED], M.PROPOSE, "-1", None, RefusedReason.NOT_ABOVE_ZERO),
    (FIT[S.CONTESTED], M.PROPOSE, None, None, RefusedReason.AMOUNT_NEEDED),
    (FIT[S.ORDERED], M.SEE, "0", None, RefusedReason.NOT_ABOVE_ZERO),
    (FIT[S.ORDERED], M.SEE, None, None, RefusedReason.AMOUNT_NEEDED),
    (FIT[S.ORDERED], M.SEE, "1", None, RefusedReason.NOT_ALL_SEEN),
    (FIT[S.ORDERED], M.SEE_PART, "3500", None, RefusedReason.ALL_SEEN),
    (FIT[S.ACCEPTED], M.CLOSE, None, None, RefusedReason.MONEY_STILL_DUE),
], ids=lambda each: str(each) if isinstance(each, str) else None)
def test_a_move_that_is_not_made_says_why(
    before: Case, move: Move, amount: str | None, role: Role | None, reason: RefusedReason
) -> None:
    assert refused(before, move, amount, role=role) is reason


def test_a_move_needs_a_reason_and_the_currency_of_its_case() -> None:
    empty = decide(case(), replace(wish(M.GATHER), reason=" \n"))
    assert isinstance(empty, Refused)
    assert empty.reason is RefusedReason.NO_REASON
    foreign = decide(case(), replace(wish(M.SETTLE), amount=Money(1, "USD")))
    assert isinstance(foreign, Refused)
    assert foreign.reason is RefusedReason.ANOTHER_CURRENCY


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_done_the_money_stays_in_order(data: st.DataObject) -> None:
    claimed = data.draw(st.one_of(st.none(), st.integers(1, 5_000)))
    now = case(
        state=S.CLAIMED, quoted=None, claimed=None if claimed is None else Money(claimed, "CNY"), moves=1
    )
    proposer: str | None = None
    for _ in range(data.draw(st.integers(1, 25))):
        move = data.draw(st.sampled_from(Move))
        actor = data.draw(st.sampled_from(("cli:li", "key:li", "cli:wang")))
        amount = data.draw(st.one_of(st.none(), st.integers(-10, 6_000)))
        found = decide(now, Wish(
            move=move, actor=actor, role=data.draw(st.sampled_from(sorted(TRANSITIONS[move].by))), reason="因为",
            amount=None if amount is None else Money(amount, "CNY"),
        ))
        if isinstance(found, Refused):
            continue
        after = found.after
        assert after.state in TRANSITIONS[move].to[now.state]
        _check(now, after, move)
        if move is M.CONFIRM:
            assert proposer is not None
            assert proposer.partition(":")[2] != actor.partition(":")[2]
        proposer = None if after.proposal is None else after.proposal.by
        now = after


def _check(before: Case, after: Case, move: Move) -> None:
    assert before.agreed <= after.agreed
    assert ZERO <= after.ordered <= after.agreed
    assert after.paid >= ZERO
    if after.agreed > before.agreed:
        assert after.top is not None
        assert after.agreed <= after.top
    if after.paid != before.paid:
        assert TRANSITIONS[move].by == {Role.SYSTEM}
    if after.state is S.PAID:
        assert ZERO < after.agreed <= after.paid
    if after.state is S.ORDERED:
        assert after.ordered == after.agreed
    if after.state is S.RULED:
        assert after.is_ruled
    if after.state is S.CLOSED:
        assert not after.outstanding.minor_units
    if after.state is not S.CONTESTED:
        assert not after.held.minor_units
        assert after.proposal is None


# Time.


@pytest.fixture
def families(law: Law, clause: Callable[..., dict[str, object]]) -> EffectivePolicy:
    """Five working days to answer, fifteen days to pay once the course has started."""
    return law(
        clause("refund_answer", working_days=5),
        clause("refund_payment", days_before_start=5, days_after_start=15, unit="calendar"), calendar="CN",
    )


def due(day: date | None) -> Due:
    return Due(day=day, by=DueBy.POLICY)


def test_silence_is_consent_after_the_fifth_working_day(families: EffectivePolicy) -> None:
    clock = answer_clock(case(), families.refund_terms, families.calendar)
    assert clock is not None
    assert (clock.last_day, clock.deemed_from) == (date(2026, 11, 17), date(2026, 11, 18))
    assert [clock.is_consent(date(2026, 11, day)) for day in (17, 18)] == [False, True]
    # National Day: the first to the seventh of October are free, and the Saturday after is a working day.
    golden = answer_clock(case(claimed_on=date(2026, 9, 28)), families.refund_terms, families.calendar)
    assert golden is not None
    assert golden.last_day == date(2026, 10, 10)


def test_the_clock_of_the_answer_stops_when_the_institution_has_spoken(
    families: EffectivePolicy, law: Law
) -> None:
    for state in CaseState:
        clock = answer_clock(FIT[state], families.refund_terms, families.calendar)
        assert (clock is not None) == (state in UNDECIDED)
    silent = law()
    assert answer_clock(case(), silent.refund_terms, silent.calendar) is None


def test_the_next_deadline_of_a_case(families: EffectivePolicy) -> None:
    running = deadlines(case(), due(date(2026, 11, 25)), terms=families.refund_terms, calendar=families.calendar)
    assert [(each.kind, each.last_day, each.passed_from) for each in running] == [
        (DeadlineKind.ANSWER, date(2026, 11, 17), date(2026, 11, 18)),
        (DeadlineKind.PAYMENT, date(2026, 11, 25), date(2026, 11, 26)),
    ]
    assert running[0].clause == "t/refund_answer"
    for on, kind in ((17, DeadlineKind.ANSWER), (18, DeadlineKind.PAYMENT), (25, DeadlineKind.PAYMENT), (26, None)):
        following = next_deadline(running, date(2026, 11, on))
        assert (None if following is None else following.kind) is kind
    for state in (S.PAID, S.CLOSED, S.WITHDRAWN):
        assert not deadlines(
            FIT[state], due(TODAY), terms=families.refund_terms, calendar=families.calendar
        )
    unknown = deadlines(FIT[S.ORDERED], due(None), terms=families.refund_terms, calendar=families.calendar)
    assert unknown == ()


def test_a_calendar_that_ends_leaves_no_deadline(families: EffectivePolicy) -> None:
    late = case(claimed_on=date(2098, 12, 30))
    assert deadlines(late, None, terms=families.refund_terms, calendar=families.calendar) == ()


def test_by_when_a_refund_is_due_is_what_its_quote_says(families: EffectivePolicy) -> None:
    for starts_on, taught in product((None, date(2026, 12, 1), date(2026, 9, 1)), ((), (lesson(1),))):
        book = Ledger(contract=contract(starts_on=starts_on), lessons=taught)
        quoted = quote(
            book, on=TODAY, cause=Cause.CONSUMER, terms=families.refund_terms, calendar=families.calendar,
            claimed_on=CLAIMED_ON,
        )
        assert isinstance(quoted, Quote)
        assert payment_due(case(), book, terms=families.refund_terms, calendar=families.calendar) == quoted.due
    cancelled = Ledger(contract=contract(starts_on=None), lessons=(lesson(1, LessonStatus.CANCELLED),))
    assert started_by(cancelled, TODAY) is None


# What an institution's cases come to.


def quoted(refund: str, penalty: str = "0") -> Quote:
    """A quote with another sum at its end."""
    found = quote(
        ledger(), on=TODAY, cause=Cause.CONSUMER, terms=_no_law().refund_terms, calendar=_no_law().calendar
    )
    assert isinstance(found, Quote)
    return replace(found, refund=yuan(refund), penalty=yuan(penalty))


def _no_law() -> EffectivePolicy:
    return PolicyBook([]).effective(institution=None, account=None, on=TODAY)


IMPOSSIBLE = Impossible(contract_no="HT-1", on=TODAY, reason=ImpossibleReason.NO_PAID_LESSONS, values=(("lessons", 0),))


def facts(of: Case, day: date | None = None, found: Quote | Impossible | None = None) -> CaseFacts:
    return CaseFacts(case=of, due=due(day), quote=found)


@pytest.mark.parametrize(("claimed", "refund", "penalty", "by"), [
    ("3500", "3500", "0", 0), ("3500", "3600", "0", 100_00), ("3600", "3500", "0", 100_00),
    ("3600", "3500", "200", 0), ("3800", "3500", "200", 100_00), (None, "3500", "0", 0),
])
def test_a_claim_differs_from_what_is_due_by_the_nearer_end(
    claimed: str | None, refund: str, penalty: str, by: int
) -> None:
    one = case(claimed=None if claimed is None else yuan(claimed))
    assert difference(one, quoted(refund, penalty)) == by


def test_what_a_case_brought_back_does_not_make_it_differ() -> None:
    one = case(state=S.CONTESTED, claimed=yuan("3500"), agreed=yuan("3000"), paid=yuan("3000"))
    assert difference(one, quoted("500")) == 0


def test_what_must_still_be_seen_of_a_case() -> None:
    assert due_amount(facts(case(), found=quoted("3600"))) == 3500_00
    assert due_amount(facts(case(claimed=None), found=quoted("3600"))) == 3600_00
    assert due_amount(facts(case(), found=quoted("0"))) == 0
    assert due_amount(facts(case(), found=IMPOSSIBLE)) is None
    assert due_amount(facts(FIT[S.CONTESTED], found=quoted("3600"))) == 3000_00
    assert due_amount(facts(case(state=S.CONTESTED), found=quoted("3600"))) == 0
    assert due_amount(facts(FIT[S.ORDERED])) == 3500_00
    assert due_amount(facts(FIT[S.PAID])) == 0
    assert [state for state in CaseState if needs_quote(FIT[state])] == [*UNDECIDED, S.CONTESTED]


def test_cases_are_summed_up_by_currency() -> None:
    def no(number: int, one: Case) -> Case:
        return replace(one, case_no=f"TF-{number}")

    yen = Case(
        case_no="TF-9", contract_no="HT-9", uscc="x", claimed_on=CLAIMED_ON, cause=Cause.CONSUMER, claimed=None,
        state=S.ORDERED, agreed=Money(9, "JPY"), ordered=Money(9, "JPY"), paid=Money(0, "JPY"),
    )
    late, later = date(2026, 11, 1), date(2026, 11, 19)
    found = refund_facts_of([
        facts(no(1, FIT[S.ORDERED]), later), facts(no(2, FIT[S.ORDERED]), late), facts(no(3, FIT[S.ORDERED]), TODAY),
        facts(no(4, case()), None, quoted("3600")), facts(no(5, case()), late, IMPOSSIBLE),
        facts(no(6, FIT[S.ACCEPTED]), None), facts(no(7, FIT[S.PAID]), late), facts(yen, late),
    ], on=TODAY)
    assert found == (
        RefundFacts(
            on=TODAY, currency="CNY", open_cases=7, overdue=2, overdue_amount=yuan("7000"), overdue_oldest_on=late,
            overdue_case="TF-2", differing=1, difference_max=yuan("100"), differing_case="TF-4", unquotable=1,
            unquotable_case="TF-5", undated=1, undated_amount=yuan("3500"), undated_case="TF-6",
            next_due_on=date(2026, 11, 21),
        ),
        RefundFacts(
            on=TODAY, currency="JPY", open_cases=1, overdue=1, overdue_amount=Money(9, "JPY"), overdue_oldest_on=late,
            overdue_case="TF-9",
        ),
    )
    assert refund_facts_of([], on=TODAY) == ()


# The rules.


def judged(rule: Any, law: EffectivePolicy, *found: RefundFacts, looked: bool = True) -> Finding:
    position = InstitutionPosition(
        institution=Institution(uscc="91110000600037341L", name="晨光"), refunds=found if looked else None
    )
    (finding,) = rule.examine(position, law, NOW)
    assert finding.subject == "institution:91110000600037341L"
    assert "{" not in finding.why_zh + finding.why_en
    return finding


def some(**said: Any) -> RefundFacts:
    return RefundFacts(**{"on": TODAY, "currency": "CNY", "open_cases": 2, **said})


LATE = {"overdue": 2, "overdue_amount": yuan("7000"), "overdue_oldest_on": date(2026, 11, 1), "overdue_case": "TF-2"}
UNDATED = {"undated": 1, "undated_amount": yuan("500"), "undated_case": "TF-6"}
DIFFERING = {"differing": 1, "difference_max": yuan("100"), "differing_case": "TF-4"}
UNQUOTABLE = {"unquotable": 1, "unquotable_case": "TF-5"}


@pytest.mark.parametrize(("said", "standing", "level"), [
    ([], Standing.MET, None),
    ([{}], Standing.MET, None),
    ([LATE], Standing.BREACHED, Level.RED),
    ([UNDATED], Standing.UNKNOWN, Level.YELLOW),
    ([UNQUOTABLE], Standing.UNKNOWN, None),
    ([DIFFERING], Standing.MET, None),
    ([{**LATE, **UNDATED, **UNQUOTABLE}], Standing.BREACHED, Level.RED),
    ([{}, {**LATE, "currency": "USD", "overdue_amount": Money(1, "USD")}], Standing.BREACHED, Level.RED),
])
def test_an_overdue_refund_is_red(
    families: EffectivePolicy, said: list[dict[str, Any]], standing: Standing, level: Level | None
) -> None:
    finding = judged(refund_overdue, families, *(some(**each) for each in said))
    assert (finding.standing, finding.level) == (standing, level)
    if level is Level.RED:
        assert finding.values["overdue"] == 2
        assert "2026-11-01" in finding.why_zh


def test_an_overdue_refund_is_looked_at_again_when_the_next_becomes_late(families: EffectivePolicy) -> None:
    finding = judged(refund_overdue, families, some(next_due_on=date(2026, 11, 24)), some(
        currency="USD", next_due_on=date(2026, 11, 23)
    ))
    assert finding.recheck_at == datetime(2026, 11, 22, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(("said", "standing", "level"), [
    ([], Standing.MET, None),
    ([LATE], Standing.MET, None),
    ([DIFFERING], Standing.BREACHED, Level.YELLOW),
    ([UNQUOTABLE], Standing.UNKNOWN, Level.YELLOW),
    ([{**DIFFERING, **UNQUOTABLE}], Standing.BREACHED, Level.YELLOW),
])
def test_a_claim_that_differs_is_yellow(
    families: EffectivePolicy, said: list[dict[str, Any]], standing: Standing, level: Level | None
) -> None:
    finding = judged(refund_mismatch, families, *(some(**each) for each in said))
    assert (finding.standing, finding.level) == (standing, level)


def test_cases_that_nobody_looked_at_are_unknown(families: EffectivePolicy) -> None:
    for rule in (refund_overdue, refund_mismatch):
        finding = judged(rule, families, looked=False)
        assert (finding.standing, finding.level) == (Standing.UNKNOWN, None)
        assert rule.examine in INSTITUTION_RULES
    assert set(OPEN_STATES) == {state for state in CaseState if FIT[state].is_open}
