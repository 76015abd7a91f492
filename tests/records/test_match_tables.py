"""Matching in the database says what the pure engine says, however the items come, on both databases."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import Session

from escrow_monitor.domain.matching import (
    BankLine,
    Base,
    BreakKind,
    Expected,
    ExpectedKind,
    Match,
    Matching,
    MatchingError,
    MatchPolicy,
    Tier,
    break_id,
    match,
)
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.matching.decisions import (
    match_by_hand,
    match_of,
    matches_of,
    open_breaks,
    proposals_for,
    unmatch,
)
from escrow_monitor.records.matching.matching import (
    match_all,
    match_institutions,
    match_new,
    record_items,
    withdraw_items,
)
from tests.records.conftest import NOW

MON = date(2026, 11, 2)
GROUPS = [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 6))]
PAIRS = MatchPolicy(days_before=1, days_after=3, tolerance_fen=2, tolerance_basis_points=100, group_items_max=1)


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


def some_items(seed: int, count: int) -> tuple[list[BankLine], list[Expected]]:
    """Items of two institutions that fit each other in every way there is, and often in several."""
    chance = random.Random(seed)
    amounts = chance.choice(([100, 200, 300], [1000, 1001, 1003, 2000, 2004, 3001], list(range(5000, 5400, 7))))
    references = chance.choice(([None], [None, "HT1", "HT2", "ht 3"], [f"HT{n}" for n in range(8)]))

    def known() -> dict[str, object]:
        return {
            "uscc": chance.choice("AB"), "reference": chance.choice(references),
            "amount_fen": chance.choice((1, 1, 1, -1)) * chance.choice(amounts),
        }

    def day() -> int:
        return chance.randrange(chance.choice((1, 6, 12)))

    lines = [
        line(f"L{n}", 1, day(), **{**known(), "account_no": chance.choice(("x", "y"))}) for n in range(count)
    ]
    expected = [
        expect(f"E{n}", 1, day(), **{**known(), "account_no": chance.choice(("x", "y", None))}) for n in range(count)
    ]
    return lines, expected


def stored(session: Session) -> list[Match]:
    """The matches as they are kept, with their members and without the words of their basis."""
    found = [one.match for uscc in "AB" for one in matches_of(session, uscc)]
    return sorted((replace(one, basis="") for one in found), key=lambda one: (one.line_ids, one.expected_ids))


def plain(found: Matching) -> list[Match]:
    return [replace(one, basis="") for one in found.matches]


def take_in(database: Database, lines: Sequence[BankLine], expected: Sequence[Expected]) -> None:
    with database.write() as session:
        record_items(session, lines=lines, expected=expected, now=NOW)


@pytest.mark.parametrize("group", GROUPS)
def test_the_whole_run_says_what_the_engine_says(database: Database, group: int) -> None:
    chance = random.Random(group)
    for number in range(6):
        seed = 1000 * group + number
        policy = replace(
            PAIRS, base=chance.choice(list(Base)), tolerance_fen=chance.choice((0, 2)),
            tolerance_basis_points=chance.choice((0, 100)), group_items_max=chance.choice((1, 3)),
        )
        lines, expected = some_items(seed, chance.choice((4, 10, 20)))
        take_in(database, lines, expected)
        with database.write() as session:
            run = match_all(session, policy, now=NOW)
            found = match(lines, expected, policy)
            assert stored(session) == plain(found), seed
            assert open_breaks(session) == list(found.breaks), seed
            assert run.made == {tier: n for tier in Tier if (n := [m.tier for m in found.matches].count(tier))} | {
                key: 0 for key, n in run.made.items() if not n
            }
            again = match_all(session, policy, now=NOW)
            assert not +again.made
        clear(database)


@pytest.mark.parametrize("group", GROUPS)
def test_item_by_item_nothing_is_left_that_a_whole_run_would_match(database: Database, group: int) -> None:
    chance = random.Random(group)
    for number in range(2):
        seed = 77_000 + 1000 * group + number
        lines, expected = some_items(seed, 12)
        waiting: list[BankLine | Expected] = [*lines, *expected]
        chance.shuffle(waiting)
        while waiting:
            size = chance.choice((2, 3, 6))
            batch, waiting = waiting[:size], waiting[size:]
            with database.write() as session:
                record_items(
                    session, lines=[one for one in batch if isinstance(one, BankLine)],
                    expected=[one for one in batch if isinstance(one, Expected)], now=NOW,
                )
                match_new(session, PAIRS, now=NOW)
                check_used_once(session)
        with database.write() as session:
            before, breaks = stored(session), open_breaks(session)
            assert not +match_all(session, PAIRS, now=NOW).made, seed
            assert stored(session) == before
            assert open_breaks(session) == breaks, seed
        clear(database)


def check_used_once(session: Session) -> None:
    """Every item is open or in one match, never both and never neither."""
    for side, number in (("lines", "line_no"), ("expected", "expected_no")):
        counted = session.connection().execute(text(
            f"SELECT (SELECT count(*) FROM match_{side}) - (SELECT count(*) FROM open_{side})"
            f" - (SELECT count(*) FROM matches) - (SELECT count(*) FROM match_more WHERE"
            f" {'' if side == 'lines' else 'NOT '}is_line)"
        )).scalar_one()
        assert counted == 0
        both = session.connection().execute(text(
            f"SELECT count(*) FROM open_{side} o JOIN matches m ON m.{number} = o.{number}"
        )).scalar_one()
        assert both == 0


def clear(database: Database) -> None:
    with database.write() as session:
        for table in (
            "match_lines", "match_expected", "open_lines", "open_expected", "match_pending", "matches", "match_more",
            "match_doubts", "match_houses", "undone_matches",
        ):
            session.connection().execute(text(f"DELETE FROM {table}"))


@pytest.mark.parametrize("seed", [5, 6])
def test_an_institution_alone_is_matched_as_the_engine_would_and_the_others_wait(database: Database, seed: int) -> None:
    policy = replace(PAIRS, group_items_max=3)
    lines, expected = some_items(seed, 20)
    take_in(database, lines, expected)
    with database.write() as session:
        _, found = match_institutions(session, policy, ["A"], now=NOW)
        alone = match([one for one in lines if one.uscc == "A"], [one for one in expected if one.uscc == "A"], policy)
        assert found == alone
        assert open_breaks(session, "A") == list(alone.breaks)
        assert {one.kind for one in open_breaks(session, "B")} <= {BreakKind.UNEXPLAINED, BreakKind.MISSING}
        match_institutions(session, policy, ["B"], now=NOW)
        assert stored(session) == plain(match(lines, expected, policy))
        assert not +match_new(session, policy, now=NOW).made


def test_a_match_by_hand_and_back_leaves_the_same_breaks_and_is_not_made_again(database: Database) -> None:
    lines = [line("L", 300, reference="HT1"), line("M", 120)]
    take_in(database, lines, [expect("E", 300, reference="HT1"), expect("F", 100)])
    with database.write() as session:
        assert match_all(session, PAIRS, now=NOW).made == {"reference": 1, "tolerance": 0, "amount": 0,
                                                           "reference_total": 0}
        by_hand = match_by_hand(session, ["M"], ["F"], by="li", reason="the bank's fee", now=NOW)
        assert (by_hand.residual_fen, by_hand.tier) == (20, Tier.MANUAL)
        kept = match_of(session, expected_id="F")
        assert kept is not None
        assert (kept.match, kept.made_by) == (by_hand, "li")
        assert open_breaks(session) == []
        apart = unmatch(session, expected_id="E", by="li", reason="another family", now=NOW)
        assert apart.line_ids == ("L",)
        assert [one.break_id for one in open_breaks(session)] == [
            break_id("L", is_line=True), break_id("E", is_line=False),
        ]
        for again in (match_new, match_all):
            assert not +again(session, PAIRS, now=NOW).made
        again_by_hand = match_by_hand(session, ["L"], ["E"], by="li", reason="it was they", now=NOW)
        assert again_by_hand.match_id == apart.match_id
        check_used_once(session)


def test_what_a_person_took_apart_stays_apart_when_an_item_of_it_is_sent_anew(database: Database) -> None:
    take_in(database, [line("L", 300, reference="HT1")], [expect("E", 300, reference="HT1")])
    with database.write() as session:
        match_all(session, PAIRS, now=NOW)
        unmatch(session, line_id="L", by="li", reason="another family", now=NOW)
        for text_of_it in ("corrected", "corrected again"):
            record_items(session, lines=[line("L", 300, reference="HT1", text=text_of_it)], now=NOW)
            for again in (match_new, match_all):
                assert not +again(session, PAIRS, now=NOW).made
            assert not match_institutions(session, PAIRS, ["A"], now=NOW)[1].matches
        match_by_hand(session, ["L"], ["E"], by="li", reason="it was they", now=NOW)
        record_items(session, lines=[line("L", 300, reference="HT1", text="and again")], now=NOW)
        assert +match_new(session, PAIRS, now=NOW).made == {"reference": 1}
        check_used_once(session)


def test_what_a_person_decides_about_matches_is_in_the_audit_chain(database: Database) -> None:
    take_in(database, [line("M", 120)], [expect("F", 100)])
    with database.write() as session:
        made = match_by_hand(session, ["M"], ["F"], by="li", reason="the bank's fee", now=NOW)
        unmatch(session, line_id="M", by="wang", reason="not theirs", now=NOW)
    with database.read() as session:
        rows = audit.records(session)
    assert [(row.kind, row.actor, row.payload["reason"], row.payload["match_id"]) for row in rows] == [
        ("match.made", "li", "the bank's fee", made.match_id), ("match.undone", "wang", "not theirs", made.match_id),
    ]


def test_what_is_new_is_matched_in_groups_with_what_is_open_at_its_institution(database: Database) -> None:
    policy = replace(PAIRS, group_items_max=3)
    old = [line(f"O{n}", 7_000 + n, day=30 + n) for n in range(12)]
    take_in(database, old, [expect("E1", 40), expect("E2", 60), expect("X", 55, uscc="B"), expect("Y", 45, uscc="B")])
    with database.write() as session:
        match_all(session, policy, now=NOW)
        record_items(session, lines=[line("L", 100)], now=NOW)
        assert +match_new(session, policy, now=NOW).made == {"group": 1}
        kept = match_of(session, line_id="L")
        assert kept is not None
        assert kept.match.expected_ids == ("E1", "E2")
        check_used_once(session)


def test_alike_texts_are_proposed_until_somebody_says_no(database: Database) -> None:
    text_of_it = "合同 HT-2026-00817 学费"
    ours = [line("L", 300, day=40, text=text_of_it), line("M", 300, day=40, uscc="B", text=text_of_it)]
    take_in(database, ours, [expect("E", 300, reference="HT-2026-00871"), expect("F", 300, reference="ZZ-1")])
    with database.write() as session:
        match_all(session, PAIRS, now=NOW)
    with database.read() as session:
        assert [(one.line_id, one.expected_id) for one in proposals_for(session, "A")] == [("L", "E")]
        assert [one.item_id for one in open_breaks(session)] == ["L", "M", "E", "F"]
    with database.write() as session:
        match_by_hand(session, ["L"], ["E"], by="li", reason="two digits changed places", now=NOW)
        unmatch(session, line_id="L", by="li", reason="another family", now=NOW)
        assert proposals_for(session, "A") == ()


def test_a_match_of_several_is_taken_apart_whole(database: Database) -> None:
    lines = [line("L1", 60, reference="B"), line("L2", 40, reference="B")]
    take_in(database, lines, [expect(f"E{n}", 25, reference="B") for n in range(4)])
    with database.write() as session:
        match_new(session, PAIRS, now=NOW)
        assert [one.tier for one in stored(session)] == [Tier.REFERENCE_TOTAL]
        unmatch(session, expected_id="E3", by="li", reason="not these", now=NOW)
        assert len(open_breaks(session)) == 6
        assert not +match_all(session, PAIRS, now=NOW).made
        check_used_once(session)


@pytest.mark.parametrize(("lines", "expected", "why"), [
    (["L"], ["E"], "not open"), (["X"], ["F"], "not open"), (["M"], ["G"], "more than one institution"),
])
def test_what_cannot_be_matched_by_hand_changes_nothing(
    database: Database, lines: list[str], expected: list[str], why: str
) -> None:
    take_in(database, [line("L", 300), line("M", 7)], [expect("E", 300), expect("F", 90), expect("G", 7, uscc="B")])
    with database.write() as session:
        match_all(session, PAIRS, now=NOW)
    with database.read() as session:
        before = open_breaks(session)
    with pytest.raises(MatchingError, match=why), database.write() as session:
        match_by_hand(session, lines, expected, by="li", reason="so", now=NOW)
    with database.read() as session:
        assert open_breaks(session) == before


def test_an_item_that_changed_or_was_withdrawn_leaves_its_match(database: Database) -> None:
    take_in(database, [line("L", 300), line("M", 500)], [expect("E", 300), expect("F", 500)])
    with database.write() as session:
        match_all(session, PAIRS, now=NOW)
        assert record_items(session, lines=[line("L", 300), line("M", 501)], now=NOW) == 1
        assert match_new(session, PAIRS, now=NOW).made["tolerance"] == 1
        withdraw_items(session, line_ids=["L"], now=NOW)
        assert [(one.item_id, one.kind) for one in open_breaks(session)] == [("E", BreakKind.MISSING)]
        record_items(session, lines=[line("L", 300)], now=NOW)
        assert +match_new(session, PAIRS, now=NOW).made == {"amount": 1}
        check_used_once(session)


def test_known_items_are_taken_in_once(database: Database) -> None:
    lines, expected = some_items(3, 30)
    take_in(database, lines, expected)
    with database.write() as session:
        assert record_items(session, lines=lines, expected=expected, now=NOW) == 0
