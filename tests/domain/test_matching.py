"""Matching: certain or not at all, held against brute force."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escrow_monitor.domain.grouping import BeyondBound, certain_groups
from escrow_monitor.domain.match_by_hand import hand_match
from escrow_monitor.domain.match_proposals import proposals
from escrow_monitor.domain.matching import (
    BankLine,
    Base,
    BreakKind,
    Expected,
    ExpectedKind,
    Matching,
    MatchingError,
    MatchPolicy,
    Tier,
    match,
    reference_key,
)
from escrow_monitor.domain.pairing import certain_pairs
from tests.oracle.matching_oracle import Members, answer, in_every_cover, in_every_solution

MON = date(2026, 11, 2)
POLICY = MatchPolicy(days_before=1, days_after=3)


def line(name: str, fen: int, day: int = 0, reference: str | None = None, **known: object) -> BankLine:
    return BankLine(**{  # type: ignore[arg-type]
        "line_id": name, "uscc": "A", "account_no": "6217", "on": MON + timedelta(days=day), "amount_fen": fen,
        "reference": reference, **known,
    })


def expect(name: str, fen: int, day: int = 0, reference: str | None = None, **known: object) -> Expected:
    return Expected(**{  # type: ignore[arg-type]
        "expected_id": name, "kind": ExpectedKind.CHARGE, "uscc": "A", "on": MON + timedelta(days=day),
        "amount_fen": fen, "reference": reference, **known,
    })


def made(found: Matching) -> dict[str, Tier]:
    """Each match as `lines=expected`, with its tier."""
    return {f"{'+'.join(one.line_ids)}={'+'.join(one.expected_ids)}": one.tier for one in found.matches}


def kinds(found: Matching) -> dict[str, BreakKind]:
    return {one.item_id: one.kind for one in found.breaks}


# by tier

SAME, LATE, AWAY = {"reference": "HT1"}, {"reference": "HT1", "day": 200}, {"day": 200}


@pytest.mark.parametrize(("ours", "theirs", "tier"), [
    ([(300, SAME)], [(300, SAME)], Tier.REFERENCE),
    ([(300, LATE)], [(300, SAME)], Tier.REFERENCE),
    ([(300, LATE)], [(100, SAME), (200, SAME)], Tier.REFERENCE_TOTAL),
    ([(300, SAME)], [(302, SAME)], Tier.TOLERANCE),
    ([(300, LATE)], [(302, SAME)], Tier.TOLERANCE),
    ([(300, SAME)], [(303, SAME)], BreakKind.AMOUNT_DIFFERS),
    ([(300, SAME)], [(100, SAME), (200, SAME), (7, SAME)], Tier.GROUP),
    ([(300, {})], [(300, SAME)], Tier.AMOUNT),
    ([(300, {"reference": "HT2"})], [(300, SAME)], Tier.AMOUNT),
    ([(300, AWAY)], [(300, SAME)], BreakKind.UNEXPLAINED),
    ([(300, {})], [(302, {})], Tier.TOLERANCE),
    ([(300, {})], [(303, {})], BreakKind.UNEXPLAINED),
    ([(100, {}), (200, {})], [(300, {})], Tier.GROUP),
    ([(100, {}), (202, {})], [(300, {})], BreakKind.UNEXPLAINED),
    ([(300, {})], [(300, {}), (302, {})], Tier.AMOUNT),
    ([(300, {})], [(299, {}), (301, {})], BreakKind.AMBIGUOUS),
    ([(300, {})], [(100, {}), (200, {}), (301, {})], Tier.TOLERANCE),
])
def test_a_line_is_matched_by_the_best_evidence_or_its_break_says_why_not(
    ours: list[tuple[int, dict[str, object]]], theirs: list[tuple[int, dict[str, object]]], tier: Tier | BreakKind
) -> None:
    lines = [line(f"L{n}", fen, **known) for n, (fen, known) in enumerate(ours)]  # type: ignore[arg-type]
    expected = [expect(f"E{n}", fen, **known) for n, (fen, known) in enumerate(theirs)]  # type: ignore[arg-type]
    found = check(lines, expected, MatchPolicy(tolerance_fen=2))
    assert {one.tier for one in found.matches} | {one.kind for one in found.breaks if one.is_line} == {tier}


# by reference


def test_the_same_reference_and_amount_is_a_match_at_any_date() -> None:
    found = match([line("L", 300, day=200, reference="ht 1")], [expect("E", 300, reference="ＨＴ１")], POLICY)
    assert made(found) == {"L=E": Tier.REFERENCE}
    assert found.breaks == ()


def test_the_same_reference_with_another_amount_is_a_break_and_nobody_elses_money() -> None:
    found = match([line("L", 300, reference="HT1")], [expect("E", 250, reference="HT1"), expect("F", 300)], POLICY)
    assert made(found) == {}
    assert kinds(found) == {"L": BreakKind.AMOUNT_DIFFERS, "E": BreakKind.AMOUNT_DIFFERS, "F": BreakKind.MISSING}
    assert sum(one.impact_fen for one in found.breaks) == 300 - 250 - 300


def test_instalments_of_one_reference_are_told_by_their_dates() -> None:
    found = match(
        [line("L1", 100, day=1, reference="HT1"), line("L2", 100, day=31, reference="HT1")],
        [expect("E1", 100, day=0, reference="HT1"), expect("E2", 100, day=30, reference="HT1"),
         expect("E3", 100, day=60, reference="HT1")], POLICY,
    )
    assert made(found) == {"L1=E1": Tier.REFERENCE, "L2=E2": Tier.REFERENCE}


def test_a_payment_that_came_twice_is_ambiguous_and_not_the_first_one_s() -> None:
    lines = [line("L1", 100, reference="HT1"), line("L2", 100, reference="HT1")]
    found = match(lines, [expect("E", 100, reference="HT1")], POLICY)
    assert made(found) == {}
    assert set(kinds(found).values()) == {BreakKind.AMBIGUOUS}
    assert found.ambiguous[0].candidates == ((("L1",), ("E",)), (("L2",), ("E",)))


def test_all_of_a_reference_together_is_a_match_if_it_ties() -> None:
    lines = [line("L1", 100, reference="B7"), line("L2", 100, reference="B7")]
    found = match(lines, [expect(f"E{n}", 50, reference="B7") for n in range(4)], POLICY)
    assert made(found) == {"L1+L2=E0+E1+E2+E3": Tier.REFERENCE_TOTAL}


# by amount and date


def test_the_window_of_days_is_exact_at_both_ends() -> None:
    for day, matched in ((-2, False), (-1, True), (0, True), (3, True), (4, False)):
        found = match([line("L", 300, day=day)], [expect("E", 300)], POLICY)
        assert bool(found.matches) is matched, day


def test_a_pick_that_would_take_the_only_partner_of_another_line_is_seen() -> None:
    lines = [line("L1", 300, day=0), line("L2", 300, day=5)]
    expected = [expect("E1", 300, day=1), expect("E2", 300, day=4)]
    # L1 could only be E1; so E2, the only other that L2 could be besides E1, is L2.
    found = match(lines, expected, MatchPolicy(days_before=1, days_after=4))
    assert made(found) == {"L1=E1": Tier.AMOUNT, "L2=E2": Tier.AMOUNT}


def test_two_that_could_be_either_stay_open_and_say_so() -> None:
    found = match([line("L", 300)], [expect("E", 300), expect("F", 300)], POLICY)
    assert made(found) == {}
    assert {one.item_id: one.near for one in found.breaks} == {"L": ("E", "F"), "E": ("L",), "F": ("L",)}


@pytest.mark.parametrize("other", [
    {"uscc": "B"}, {"account_no": "9999"}, {"currency": "USD"}, {"amount_fen": -300},
])
def test_money_of_another_institution_account_currency_or_direction_fits_nothing(other: dict[str, object]) -> None:
    found = match([line("L", 300)], [expect("E", 300, **other)], POLICY)
    assert kinds(found) == {"L": BreakKind.UNEXPLAINED, "E": BreakKind.MISSING}


# tolerance


@pytest.mark.parametrize(("base", "bank", "ours", "matched"), [
    (Base.BANK, 10_100, 10_000, True), (Base.BANK, 9_900, 10_000, False),
    (Base.EXPECTED, 10_100, 10_000, True), (Base.EXPECTED, 10_101, 10_000, False),
    (Base.EXPECTED, 9_900, 10_000, True), (Base.LARGER, 10_101, 10_000, True), (Base.LARGER, 10_102, 10_000, False),
    (Base.LARGER, 9_900, 10_000, True), (Base.LARGER, 9_899, 10_000, False),
])
def test_a_percentage_is_of_the_declared_base(base: Base, bank: int, ours: int, matched: bool) -> None:
    policy = MatchPolicy(tolerance_basis_points=100, base=base)
    found = match([line("L", bank)], [expect("E", ours)], policy)
    assert [(one.tier, one.residual_fen) for one in found.matches] == [(Tier.TOLERANCE, bank - ours)] * matched
    negative = match([line("L", -bank)], [expect("E", -ours)], policy)
    assert [one.residual_fen for one in negative.matches] == [ours - bank] * matched


# groups


def test_the_only_part_that_ties_is_found_wherever_a_greedy_search_would_begin() -> None:
    expected = [expect("E30", 30), expect("E40", 40), expect("E60", 60)]
    found = match([line("L", 100)], expected, POLICY)
    assert made(found) == {"L=E40+E60": Tier.GROUP}
    assert kinds(found) == {"E30": BreakKind.MISSING}


def test_two_parts_that_tie_are_ambiguous() -> None:
    found = match([line("L", 100)], [expect(f"E{n}", n) for n in (30, 40, 60, 70)], POLICY)
    assert made(found) == {}
    assert found.ambiguous[0].candidates == ((("L",), ("E30", "E70")), (("L",), ("E40", "E60")))


def test_several_lines_are_several_expected_items_where_nothing_smaller_ties() -> None:
    found = match([line("L1", 50), line("L2", 80)], [expect("E1", 60), expect("E2", 70)], POLICY)
    assert made(found) == {"L1+L2=E1+E2": Tier.GROUP}


def test_beyond_the_bound_nothing_is_matched_and_nothing_is_said_to_be_missing() -> None:
    many = [expect(f"E{n:02}", 1_000 + 2**n) for n in range(6)]
    total = many[0].amount_fen + many[5].amount_fen
    assert made(match([line("L", total)], many, MatchPolicy(candidates_max=6))) == {"L=E00+E05": Tier.GROUP}
    found = match([line("L", total)], many, MatchPolicy(candidates_max=3))
    assert made(found) == {}
    assert kinds(found) == dict.fromkeys(("L", *(one.expected_id for one in many)), BreakKind.NOT_SEARCHED)
    assert "3 candidates" in found.not_searched[0].reason


def test_what_is_too_large_or_too_small_to_tie_with_anything_is_no_candidate() -> None:
    missing = [expect(f"E{n:02}", 300_000 + n) for n in range(60)]
    found = match([line("interest", 123), line("deposit", 9_000_000)], missing, MatchPolicy(candidates_max=8))
    assert set(kinds(found).values()) == {BreakKind.MISSING, BreakKind.UNEXPLAINED}


def test_what_was_not_searched_leaves_the_rest_searched() -> None:
    crowd = [expect(f"E{n:02}", 1_000 + 2**n) for n in range(6)]
    small = [expect("S1", 30, day=90), expect("S2", 40, day=90)]
    found = match([line("L", 2_030), line("M", 70, day=90)], crowd + small, MatchPolicy(candidates_max=3))
    assert made(found) == {"M=S1+S2": Tier.GROUP}
    assert kinds(found)["L"] is BreakKind.NOT_SEARCHED


def test_many_of_the_same_amount_are_ambiguous_at_once() -> None:
    lines = [line(f"L{n}", 300) for n in range(90)]
    found = match(lines, [expect(f"E{n}", 300) for n in range(90)], POLICY)
    assert made(found) == {}
    assert [len(one.line_ids) for one in found.ambiguous] == [90]
    assert not found.ambiguous[0].groups_searched


def test_more_pairs_than_the_bound_are_not_tried() -> None:
    lines = [line(f"L{n}", 300) for n in range(30)]
    found = match(lines, [expect(f"E{n}", 300) for n in range(30)], MatchPolicy(pairs_max=100))
    assert set(kinds(found).values()) == {BreakKind.NOT_SEARCHED}


# against brute force


def check(lines: Sequence[BankLine], expected: Sequence[Expected], policy: MatchPolicy) -> Matching:
    found = match(lines, expected, policy)
    wanted = answer(lines, expected, policy)
    got = {
        frozenset([("line", key) for key in one.line_ids] + [("expected", key) for key in one.expected_ids]):
        str(one.tier) for one in found.matches
    }
    assert got == {members: str(tier) for members, tier in wanted.matches.items()}
    assert {
        ("line" if one.is_line else "expected", one.item_id) for one in found.breaks
        if one.kind is BreakKind.AMBIGUOUS
    } == wanted.ambiguous
    assert found.not_searched == ()
    check_everything_is_somewhere(found, lines, expected)
    return found


def check_everything_is_somewhere(found: Matching, lines: Iterable[BankLine], expected: Iterable[Expected]) -> None:
    ours, theirs = {one.line_id: one.amount_fen for one in lines}, {one.expected_id: one.amount_fen for one in expected}
    places = [key for one in found.matches for key in (*one.line_ids, *one.expected_ids)]
    places += [one.item_id for one in found.breaks]
    assert sorted(places) == sorted([*ours, *theirs])
    left = sum(one.residual_fen for one in found.matches) + sum(one.impact_fen for one in found.breaks)
    assert sum(ours.values()) - sum(theirs.values()) == left


@pytest.mark.slow
def test_every_two_by_three_agrees_with_brute_force() -> None:
    policy = MatchPolicy(days_before=1, days_after=1, tolerance_fen=1)
    sides = [(fen, day) for fen in (1, 2, 3) for day in (0, 2)]
    for ours in product(sides, repeat=2):
        for theirs in product(sides, repeat=3):
            check(
                [line(f"L{n}", fen, day) for n, (fen, day) in enumerate(ours)],
                [expect(f"E{n}", fen, day) for n, (fen, day) in enumerate(theirs)], policy,
            )


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 12))])
def test_random_worlds_agree_with_brute_force(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(3_000):
        check(*_world(chance, chance.randint(0, 5), chance.randint(0, 5)), _policy(chance))


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 12))])
def test_eight_by_eight_agrees_with_brute_force(seed: int) -> None:
    chance = random.Random(100 + seed)
    for _ in range(60):
        check(*_world(chance, chance.randint(6, 8), chance.randint(6, 8)), _policy(chance))
        check(*_cut_up(chance), MatchPolicy(days_before=2, days_after=3, group_items_max=5))


@given(st.lists(st.frozensets(st.tuples(st.just("line"), st.sampled_from("abcdef")), min_size=1, max_size=3),
                unique=True, max_size=9))
@settings(max_examples=200, deadline=None)
def test_brute_force_counts_by_cover_what_it_counts_one_by_one(candidates: list[Members]) -> None:
    assert in_every_cover(candidates) == in_every_solution(candidates)


def _cut_up(chance: random.Random) -> tuple[list[BankLine], list[Expected]]:
    """Eight expected items, lines that are sums of some of them, and lines that are like one of them."""
    amounts = [chance.randint(1, 400) for _ in range(8)]
    cuts = sorted(chance.sample(range(1, 8), 3))
    parts = [amounts[start:end] for start, end in zip([0, *cuts], [*cuts, 8], strict=True)]
    lines = [line(f"L{n}", sum(part), chance.randrange(4)) for n, part in enumerate(parts)]
    lines += [line(f"M{n}", chance.choice((*amounts, 401)), chance.randrange(4)) for n in range(8 - len(lines))]
    return lines, [expect(f"E{n}", amounts[n], chance.randrange(4)) for n in range(8)]


def _world(chance: random.Random, ours: int, theirs: int) -> tuple[list[BankLine], list[Expected]]:
    amounts = chance.choice(([1, 2, 3], [10, 20, 30, 40, 50, 60], [100, 101, 99, 200, 201, 300, 33, 67]))
    references = chance.choice(([None], [None, "R", "S"], ["R", " r"], ["R", "S", None, "T"]))
    days, accounts = chance.choice((1, 3, 8)), chance.choice((("x", None), ("x", "y", None)))

    def fen() -> int:
        return chance.choice((1,) * 9 + (-1,)) * chance.choice(amounts)

    return [
        line(f"L{n}", fen(), chance.randrange(days), chance.choice(references), account_no=chance.choice(accounts[:-1]))
        for n in range(ours)
    ], [
        expect(f"E{n}", fen(), chance.randrange(days), chance.choice(references), account_no=chance.choice(accounts))
        for n in range(theirs)
    ]


def _policy(chance: random.Random) -> MatchPolicy:
    return MatchPolicy(
        days_before=chance.choice((0, 1, 3)), days_after=chance.choice((0, 2, 5)),
        tolerance_fen=chance.choice((0, 0, 1)), tolerance_basis_points=chance.choice((0, 0, 200)),
        base=chance.choice(list(Base)), group_items_max=chance.choice((1, 2, 4, 8)),
    )


@given(st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_input_makes_no_difference_and_again_finds_nothing(chance: random.Random) -> None:
    lines, expected = _world(chance, 12, 12)
    policy = _policy(chance)
    found = match(lines, expected, policy)
    chance.shuffle(lines)
    chance.shuffle(expected)
    assert match(lines, expected, policy) == found
    check_everything_is_somewhere(found, lines, expected)
    open_ids = {one.item_id for one in found.breaks}
    again = match(
        [one for one in lines if one.line_id in open_ids], [one for one in expected if one.expected_id in open_ids],
        policy,
    )
    assert again.matches == ()
    assert again.breaks == found.breaks


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14))
@settings(max_examples=300, deadline=None)
def test_pairs_of_every_largest_pairing_are_in_every_solution(edges: list[tuple[int, int]]) -> None:
    every = sorted(set(edges))
    certain = certain_groups([(left, 10 + right) for left, right in every], nodes=100_000)
    assert [every[place] for place in certain] == certain_pairs(edges)


def test_a_search_for_solutions_ends_at_its_bound() -> None:
    full = [(left, 10 + right) for left in range(9) for right in range(9)]
    with pytest.raises(BeyondBound):
        certain_groups(full, nodes=100)


# by hand, and from run to run


def test_a_match_by_hand_carries_its_residual_and_its_reason() -> None:
    one = hand_match([line("M", 120)], [expect("F", 100)], reason=" the bank added its fee ")
    assert (one.tier, one.residual_fen, one.basis) == (Tier.MANUAL, 20, "the bank added its fee")
    assert one.match_id == hand_match([line("M", 120)], [expect("F", 100)], reason="another").match_id


@pytest.mark.parametrize(("lines", "expected", "reason", "why"), [
    (["L"], ["E"], " ", "reason"), ([], ["E"], "so", "needs"), (["L"], [], "so", "needs"),
    (["L"], ["G"], "so", "more than one institution"),
])
def test_what_cannot_be_matched_by_hand_is_refused(
    lines: list[str], expected: list[str], reason: str, why: str
) -> None:
    ours, theirs = [line("L", 300)], [expect("E", 300), expect("G", 300, uscc="B")]
    with pytest.raises(MatchingError, match=why):
        hand_match(
            [one for one in ours if one.line_id in lines], [one for one in theirs if one.expected_id in expected],
            reason=reason,
        )


def test_what_was_taken_apart_is_not_made_again_but_something_else_may_be() -> None:
    lines, expected = [line("L", 300)], [expect("E", 300), expect("F", 300)]
    apart = match(lines, expected[:1], POLICY).matches[0].match_id
    assert made(match(lines, expected[:1], POLICY, undone={apart})) == {}
    assert made(match(lines, expected, POLICY, undone={apart})) == {"L=F": Tier.AMOUNT}


def test_a_break_keeps_its_id_while_its_kind_changes() -> None:
    first = match([line("L", 300)], [], POLICY).breaks[0]
    later = match([line("L", 300)], [expect("E", 300), expect("F", 300)], POLICY).breaks[0]
    assert (first.kind, later.kind) == (BreakKind.UNEXPLAINED, BreakKind.AMBIGUOUS)
    assert first.break_id == later.break_id


def test_an_item_given_twice_or_without_money_is_refused() -> None:
    with pytest.raises(MatchingError, match="twice"):
        match([line("L", 1), line("L", 1)], [], POLICY)
    with pytest.raises(MatchingError, match="nothing"):
        line("L", 0)
    with pytest.raises(MatchingError, match="nothing"):
        expect("E", 0)
    with pytest.raises(MatchingError, match="range"):
        MatchPolicy(tolerance_basis_points=5_000)


# proposals


def test_alike_texts_propose_and_never_match() -> None:
    ours = [line("L", 300, text="张小明 合同 HT-2026-00817 学费"), line("M", 1, text="interest")]
    theirs = [expect("E", 290, reference="HT-2026-00871"), expect("F", 5, reference="ZZ-9")]
    found = proposals(ours, theirs)
    assert [(one.line_id, one.expected_id, one.difference_fen) for one in found] == [("L", "E", 10)]
    assert made(match(ours, theirs, POLICY)) == {}


def test_references_are_the_same_whatever_their_width_capitals_and_spaces() -> None:
    assert reference_key(" ht－00１ ") == reference_key("HT-001") == "HT-001"
    assert reference_key("  ") is None
    assert reference_key(None) is None
