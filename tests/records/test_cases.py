"""Refund cases on both databases: opened with their claims, moved, paid as the bank shows, and never taken away."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy.exc import DatabaseError as SqlError
from sqlmodel import Session

from escrow_monitor.domain.contracts import Cause, Charge, Contract, Lesson, LessonStatus, Refund
from escrow_monitor.domain.dispute_answers import Audience, SaidPayment
from escrow_monitor.domain.dispute_words import CaseState, Move, Role
from escrow_monitor.domain.disputes import Case, Moved, Wish, decide
from escrow_monitor.domain.entitlement import Impossible
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.refund_quote import Quote
from escrow_monitor.errors import DatabaseError, EscrowMonitorError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_institutions
from escrow_monitor.records.bulk import fetch, run
from escrow_monitor.records.contracts import case_book, cases
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.cases import SeenRefund
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.ledgers import every_ledger, ledgers
from escrow_monitor.records.contracts.lessons import save_lessons
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.contracts.refunds import refunds
from escrow_monitor.records.database import Database
from escrow_monitor.records.documents import raw_document
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.figures import figures
from escrow_monitor.rounds.silent_refunds import deem_silent_refunds

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
TODAY = date(2026, 11, 20)
USCC, OTHER = "91110000600037341L", "9144030071526726XG"
SIGNED = date(2026, 8, 20)


@pytest.fixture(scope="module")
def policies() -> PolicyBook:
    return load_policies()


@pytest.fixture
def school(database: Database) -> Database:
    """Two institutions, three contracts of 4,800.00 for 48 lessons, 13 of each taught."""
    with database.write() as session, contract_sums.kept_up(session, on=TODAY):
        save_institutions(session, [
            Institution(uscc=USCC, name="晨光"), Institution(uscc=OTHER, name="远航"),
        ], now=NOW)
        save_contracts(session, [
            Contract(
                contract_no=f"HT-{number}", uscc=uscc, student_ref=f"S-{number}", course="钢琴", lessons_paid=48,
                fee=yuan(4800), signed_on=SIGNED, starts_on=date(2026, 9, 1), refund_deadline_days=days,
            )
            for number, uscc, days in ((1, USCC, 7), (2, USCC, None), (3, OTHER, 30))
        ], now=NOW)
        save_charges(session, [
            Charge(charge_no=f"J-{number}", contract_no=f"HT-{number}", paid_on=SIGNED, amount=yuan(4800))
            for number in (1, 2, 3)
        ], now=NOW)
        save_lessons(session, [
            Lesson(
                contract_no=f"HT-{number}", session_no=lesson, status=LessonStatus.CONFIRMED,
                taught_on=date(2026, 9, lesson), decided_on=date(2026, 9, lesson),
            )
            for number in (1, 2, 3) for lesson in range(1, 14)
        ], now=NOW)
    return database


def yuan(amount: int) -> Money:
    return Money(amount * 100, "CNY")


def claim(
    session: Session, number: int, amount: int | None = 3500, *, on: date = date(2026, 11, 10),
    cause: Cause = Cause.CONSUMER, contract: int | None = None, note: str = "", now: datetime = NOW,
) -> Any:
    thousandths = None if amount is None else amount * 1000
    return record_refund_claims(session, [(
        1, f"TF-{number}", f"HT-{contract or number}", on, None, None, cause.value, note, thousandths,
    )], now=now)


def move(session: Session, number: int, move: Move, amount: int | None = None, **said: Any) -> Case:
    record = case_book.case(session, f"TF-{number}", lock=True)
    assert record is not None
    given = {"actor": "cli:li", "role": min(_roles(move)), "reason": "有理由", **said}
    found = decide(record.case, Wish(move=move, amount=None if amount is None else yuan(amount), **given))
    assert isinstance(found, Moved), found
    case_book.keep_moves(session, [(found, None)], now=NOW)
    return found.after


def _roles(move: Move) -> frozenset[Role]:
    from escrow_monitor.domain.disputes import TRANSITIONS

    return TRANSITIONS[move].by - {Role.SYSTEM}


def case_of(database: Database, number: int) -> Case:
    with database.read() as session:
        record = case_book.case(session, f"TF-{number}")
    assert record is not None
    return record.case


def seen(database: Database, *payments: tuple[int | str, str, int], on: date = TODAY) -> int:
    with database.write() as session:
        return cases.note_seen(session, [
            SeenRefund(f"TF-{case}" if isinstance(case, int) else case, match, on, yuan(amount))
            for case, match, amount in payments
        ], now=NOW)


def given_back(database: Database, number: int) -> list[Refund]:
    with database.read() as session:
        return refunds(session, [f"HT-{number}"])


def expected(database: Database, usccs: Sequence[str] | None = None) -> list[tuple[str, int, date]]:
    with database.read() as session:
        found = cases.expected_refunds(session, usccs=usccs)
        assert all(one.reference == cases.case_no_of(one.expected_id) for one in found)
    return [(one.expected_id, one.amount_fen, one.on) for one in found]


# Opening.


def test_a_claim_opens_its_case_once(school: Database) -> None:
    for again in (False, True):
        with school.write() as session:
            arrived = claim(session, 1)
        assert (arrived.new, arrived.changed) == ((0, 0) if again else (1, 0))
        found = case_of(school, 1)
        assert (found.state, found.contract_no, found.uscc, found.claimed, found.claimed_on, found.moves) == (
            CaseState.CLAIMED, "HT-1", USCC, yuan(3500), date(2026, 11, 10), 1
        )
        with school.read() as session:
            (opened,) = case_book.case_moves(session, ["TF-1"])
            assert (opened.move, opened.from_state, opened.role, opened.actor) == (
                Move.OPEN, None, Role.SYSTEM, "import"
            )
            assert [one.kind for one in audit.records(session)] == ["cases.opened"]
            assert fetch(session, "SELECT uscc FROM reconciliation_marks WHERE uscc = :uscc", uscc=USCC)


def test_ten_thousand_claims_open_their_cases_in_one_go(school: Database) -> None:
    rows = [
        (line, f"TF-{line}", "HT-1", date(2026, 11, 10), None, None, "consumer", "", 1000) for line in range(10_000)
    ]
    with school.write() as session:
        assert record_refund_claims(session, rows, now=NOW).new == 10_000
        assert case_book.open_case_counts(session) == {"claimed": 10_000}
        (entry,) = audit.records(session)
        assert entry.payload["cases"] == 10_000
        numbers = "\n".join(sorted(f"TF-{line}" for line in range(10_000)))
        assert entry.payload["case_nos_sha256"] == hashlib.sha256(numbers.encode()).hexdigest()


def test_a_claim_that_is_changed_is_noted_on_its_case(school: Database) -> None:
    with school.write() as session:
        claim(session, 1)
        claim(session, 1, None, on=date(2026, 11, 12), cause=Cause.INSTITUTION, note="停课", contract=2)
        (note,) = case_book.case_notes(session, "TF-1")
        assert note.text == (
            "申请已变更 / the claim was changed: contract_no HT-1 -> HT-2; claimed_on 2026-11-10 -> 2026-11-12; "
            "amount 3500.00 -> -; cause consumer -> institution; note '' -> '停课'"
        )
        assert note.actor == "import"
    found = case_of(school, 1)
    assert (found.claimed, found.contract_no, found.cause) == (None, "HT-2", Cause.INSTITUTION)


# Moving.


def test_a_case_is_the_sum_of_its_moves(school: Database) -> None:
    with school.write() as session:
        claim(session, 1)
        move(session, 1, Move.GATHER)
        move(session, 1, Move.QUOTE, 3500, role=Role.STAFF)
        move(session, 1, Move.CONTEST, 3000, role=Role.INSTITUTION)
        move(session, 1, Move.ORDER)
        now = move(session, 1, Move.PROPOSE, 3200)
        assert case_of_session(session, 1) == now
        now = move(session, 1, Move.CONFIRM, actor="cli:wang")
        assert case_of_session(session, 1) == now
        made = case_book.case_moves(session, ["TF-1"])
        assert [(one.move_no, one.from_state, one.to_state) for one in made[-3:]] == [
            (5, CaseState.CONTESTED, CaseState.CONTESTED), (6, CaseState.CONTESTED, CaseState.CONTESTED),
            (7, CaseState.CONTESTED, CaseState.RULED),
        ]
        assert [one.payable.minor_units for one in made] == [0, 0, 0, 3000_00, 0, 0, 200_00]
        assert {one.moved_on for one in made} == {TODAY}
        kinds = [(one.kind, one.actor) for one in audit.records(session)]
    assert kinds == [("cases.opened", "import"), *[("case.moved", "cli:li")] * 5, ("case.moved", "cli:wang")]
    with school.read() as session:
        assert audit.verify(session).whole
        assert figures(session).cases_open == {"ruled": 1}


def case_of_session(session: Session, number: int) -> Case:
    record = case_book.case(session, f"TF-{number}")
    assert record is not None
    return record.case


def test_cases_are_found_by_what_is_asked(school: Database) -> None:
    with school.write() as session:
        for number in (1, 2, 3):
            claim(session, number)
        move(session, 2, Move.GATHER)

        def found(**asked: Any) -> list[str]:
            return [one.case.case_no for one in case_book.cases(session, **asked)]

        assert found() == ["TF-1", "TF-2", "TF-3"]
        assert found(usccs=[OTHER]) == ["TF-3"]
        assert found(states=[CaseState.GATHERING]) == ["TF-2"]
        assert found(contract_nos=["HT-1"]) == ["TF-1"]
        assert found(case_nos=["TF-3", "TF-9"]) == ["TF-3"]
        assert found(after="TF-1", limit=1) == ["TF-2"]
        assert found(usccs=[]) == []


@pytest.mark.parametrize("table", [
    "case_moves", "case_notes", "case_evidence", "case_quotes", "case_said_payments",
])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET case_no = 'x'"])
def test_the_database_itself_refuses_to_change_what_was_done(
    school: Database, policies: PolicyBook, table: str, change: str
) -> None:
    _one_of_each(school, policies)
    with pytest.raises((DatabaseError, SqlError), match="append-only"), school.write() as session:
        run(session, change.format(table))


def test_the_database_itself_refuses_to_delete_a_case(school: Database, policies: PolicyBook) -> None:
    _one_of_each(school, policies)
    with pytest.raises((DatabaseError, SqlError), match="append-only"), school.write() as session:
        run(session, "DELETE FROM cases")


def _one_of_each(database: Database, policies: PolicyBook) -> None:
    with database.write() as session:
        claim(session, 1)
        case = case_of_session(session, 1)
        book = ledgers(session, ["HT-1"])["HT-1"]
        quote = cases.quote_of_case(case, book, on=TODAY, law=cases.case_law(session, policies))
        assert isinstance(quote, Quote)
        case_book.keep_quotes(session, [("TF-1", quote)], policy_version="v", actor="cli:li", now=NOW)
        case_book.add_notes(session, [("TF-1", "一"), ("TF-1", "二")], actor="cli:li", now=NOW)
        for content in (b"one", b"one", b"two"):
            case_book.add_evidence(
                session, "TF-1", content=content, filename="合同.txt", media_type="text/plain", note="", actor="cli:li",
                now=NOW,
            )
        case_book.add_said_payment(
            session, "TF-1", SaidPayment(paid_on=TODAY, amount=Money(3500_00, "CNY"), bank_ref="LS-88"),
            actor="user:school", now=NOW,
        )


def test_what_an_institution_says_it_paid_moves_nothing(school: Database, policies: PolicyBook) -> None:
    _one_of_each(school, policies)
    with school.read() as session:
        (said,) = case_book.case_said_payments(session, "TF-1")
        assert (said.said_no, said.said.amount.text, said.said.bank_ref) == (1, "3500.00", "LS-88")
        found = case_book.case(session, "TF-1")
        assert found is not None
        assert (found.case.paid.minor_units, found.case.state) == (0, CaseState.CLAIMED)


def test_a_note_written_before_there_were_audiences_is_for_supervisors(school: Database, policies: PolicyBook) -> None:
    _one_of_each(school, policies)
    with school.write() as session:
        run(
            session, "INSERT INTO case_notes (case_no, note_no, actor, text, noted_at)"
            " VALUES ('TF-1', 3, 'cli:li', '旧备注', :now)", now=NOW,
        )
    with school.read() as session:
        assert {(one.role, one.audience) for one in case_book.case_notes(session, "TF-1")} == {
            (Role.STAFF, Audience.SUPERVISORS)
        }


def test_evidence_is_named_by_its_hash_and_its_bytes_are_kept_once(school: Database, policies: PolicyBook) -> None:
    _one_of_each(school, policies)
    with school.read() as session:
        papers = case_book.case_evidence(session, "TF-1")
        assert [(one.evidence_no, one.sha256, one.size) for one in papers] == [
            (number, hashlib.sha256(content).hexdigest(), 3)
            for number, content in enumerate((b"one", b"one", b"two"), 1)
        ]
        assert raw_document(session, papers[0].sha256) == b"one"
        assert [one.text for one in case_book.case_notes(session, "TF-1")] == ["一", "二"]


def test_a_quote_stays_as_it_was_when_it_was_made(school: Database, policies: PolicyBook) -> None:
    _one_of_each(school, policies)
    with school.write() as session, contract_sums.kept_up(session, on=TODAY):
        save_lessons(session, [
            Lesson(contract_no="HT-1", session_no=14, status=LessonStatus.CONFIRMED, taught_on=date(2026, 9, 14),
                   decided_on=date(2026, 9, 14)),
        ], now=NOW)
    with school.read() as session:
        (kept,) = case_book.case_quotes(session, "TF-1")
        assert kept.quote["refund"] == "3500.00"
        now = cases.quote_of_case(
            case_of_session(session, 1), ledgers(session, ["HT-1"])["HT-1"], on=TODAY,
            law=cases.case_law(session, policies),
        )
        assert isinstance(now, Quote)
        assert now.refund == yuan(3400)


# Paid is what the bank shows.


def ordered(database: Database, number: int, amount: int = 3500) -> None:
    with database.write() as session:
        claim(session, number, amount)
        move(session, number, Move.ACCEPT)
        move(session, number, Move.ORDER)


def test_what_must_go_out_is_expected_until_it_is_seen(school: Database) -> None:
    ordered(school, 1)
    ordered(school, 3, 3000)
    assert expected(school) == [("refund:TF-1", -3500_00, TODAY), ("refund:TF-3", -3000_00, TODAY)]
    assert expected(school, [OTHER]) == [("refund:TF-3", -3000_00, TODAY)]
    assert seen(school, (1, "m1", -3500)) == 1
    assert expected(school, [USCC]) == []
    found = case_of(school, 1)
    assert (found.state, found.paid) == (CaseState.PAID, yuan(3500))
    assert given_back(school, 1) == [Refund(contract_no="HT-1", paid_on=TODAY, amount=yuan(3500), claim_no="TF-1")]
    with school.read() as session:
        assert contract_sums.contract_sums(session)["HT-1"].obligation == yuan(0)
        last = case_book.case_moves(session, ["TF-1"])[-1]
        assert (last.move, last.actor, last.role, last.reference) == (Move.SEE, "system", Role.SYSTEM, "m1")
        assert audit.records(session)[-1].actor == "system"


def test_what_was_seen_already_changes_nothing(school: Database) -> None:
    ordered(school, 1)
    assert [seen(school, (1, "m1", 3500)) for _ in range(3)] == [1, 0, 0]
    assert case_of(school, 1).moves == 4
    assert seen(school) == 0


def test_a_match_that_is_undone_takes_both_back(school: Database) -> None:
    ordered(school, 1)
    seen(school, (1, "m1", 3500))
    with school.write() as session:
        move(session, 1, Move.CLOSE, role=Role.STAFF)
    for times in (1, 0):
        with school.write() as session:
            assert cases.note_unseen(session, ["m1", "m2"], now=NOW) == times
    found = case_of(school, 1)
    assert (found.state, found.paid) == (CaseState.ORDERED, yuan(0))
    assert given_back(school, 1) == []
    assert expected(school) == [("refund:TF-1", -3500_00, TODAY)]
    assert seen(school, (1, "m1", 3500)) == 1
    assert case_of(school, 1).state is CaseState.PAID


def test_a_match_that_is_seen_otherwise_replaces_what_was_seen(school: Database) -> None:
    ordered(school, 1)
    seen(school, (1, "m1", 3500))
    assert seen(school, (1, "m1", 3000), on=date(2026, 11, 19)) == 1
    found = case_of(school, 1)
    assert (found.state, found.paid) == (CaseState.ORDERED, yuan(3000))
    assert [(one.paid_on, one.amount) for one in given_back(school, 1)] == [(date(2026, 11, 19), yuan(3000))]


def test_one_payment_of_the_bank_can_be_for_several_cases(school: Database) -> None:
    ordered(school, 1)
    ordered(school, 2, 3000)
    assert seen(school, (1, "m1", 3500), (2, "m1", 3000)) == 2
    assert seen(school, (1, "m1", 3500), (2, "m1", 3000)) == 0
    assert [case_of(school, number).state for number in (1, 2)] == [CaseState.PAID, CaseState.PAID]
    with school.write() as session:
        assert cases.note_unseen(session, ["m1"], now=NOW) == 2
    assert given_back(school, 1) == given_back(school, 2) == []


def test_a_refund_that_comes_in_parts(school: Database) -> None:
    ordered(school, 1)
    seen(school, (1, "m1", 1000))
    assert case_of(school, 1).state is CaseState.ORDERED
    assert expected(school) == [("refund-1+100000:TF-1", -2500_00, TODAY)]
    assert seen(school, ("refund-1+100000:TF-1", "m2", 2500)) == 1
    assert case_of(school, 1).state is CaseState.PAID
    with school.write() as session:
        cases.note_unseen(session, ["m1"], now=NOW)
    assert expected(school) == [("refund-1+250000:TF-1", -1000_00, TODAY)]


def test_what_a_ruling_adds_is_expected_apart(school: Database) -> None:
    with school.write() as session:
        claim(session, 1)
        move(session, 1, Move.CONTEST, 3000, role=Role.INSTITUTION)
        move(session, 1, Move.ORDER)
    assert expected(school) == [("refund:TF-1", -3000_00, TODAY)]
    seen(school, (1, "m1", 3000))
    assert expected(school) == []
    with school.write() as session:
        move(session, 1, Move.PROPOSE, 3400)
        move(session, 1, Move.CONFIRM, actor="cli:wang")
    assert expected(school) == [("refund-2:TF-1", -400_00, TODAY)]
    seen(school, ("refund-2:TF-1", "m2", 400))
    assert case_of(school, 1).state is CaseState.PAID
    with school.write() as session:
        cases.note_unseen(session, ["m1"], now=NOW)
    # The second payment is just the second part: the first is whole again, under the name it had.
    assert expected(school) == [("refund:TF-1", -3000_00, TODAY)]


def test_money_that_was_paid_is_noted_wherever_the_case_stands(school: Database) -> None:
    with school.write() as session:
        claim(session, 1)
        move(session, 1, Move.WITHDRAW)
    assert seen(school, (1, "m1", 100)) == 1
    found = case_of(school, 1)
    assert (found.state, found.paid) == (CaseState.WITHDRAWN, yuan(100))
    with pytest.raises(EscrowMonitorError, match="which there is not"):
        seen(school, (9, "m9", 100))


# What is due.


def facts_of(database: Database, policies: PolicyBook, on: date = TODAY, usccs: Sequence[str] | None = None) -> Any:
    with database.read() as session:
        return cases.refund_facts(session, usccs, on=on, policies=policies)


def test_who_has_no_case_is_said_to_have_none(school: Database, policies: PolicyBook) -> None:
    assert facts_of(school, policies) == {USCC: (), OTHER: ()}
    assert facts_of(school, policies, usccs=[USCC, "x"]) == {USCC: (), "x": ()}


def test_refund_facts_of_an_institution(school: Database, policies: PolicyBook) -> None:
    with school.write() as session:
        claim(session, 1)  # due within seven days by its contract
        claim(session, 2, 4000)  # no day is agreed, and none set there
        claim(session, 3, on=date(2026, 11, 21))  # not yet made on that day
    (found,) = facts_of(school, policies)[USCC]
    assert (found.open_cases, found.overdue, found.overdue_amount, found.overdue_oldest_on, found.overdue_case) == (
        2, 1, yuan(3500), date(2026, 11, 17), "TF-1"
    )
    assert (found.differing, found.difference_max, found.differing_case) == (1, yuan(500), "TF-2")
    assert (found.unquotable, found.undated, found.next_due_on) == (0, 0, None)
    assert facts_of(school, policies)[OTHER] == ()
    for on, overdue, next_due_on in (
        (date(2026, 11, 16), 0, date(2026, 11, 18)), (date(2026, 11, 17), 0, date(2026, 11, 18)),
        (date(2026, 11, 18), 1, None),
    ):
        (found,) = facts_of(school, policies, on)[USCC]
        assert (found.overdue, found.next_due_on) == (overdue, next_due_on)
    seen(school, (1, "m1", 3500))
    with school.write() as session:
        move(session, 1, Move.ACCEPT)
        move(session, 2, Move.SETTLE, 3500)
    (found,) = facts_of(school, policies)[USCC]
    assert (found.overdue, found.differing, found.undated, found.undated_amount) == (0, 0, 1, yuan(3500))


def test_a_case_whose_records_cannot_be_right_is_said_to_be_unquotable(school: Database, policies: PolicyBook) -> None:
    with school.write() as session:
        claim(session, 1)
    seen(school, (1, "m1", 5000))
    (found,) = facts_of(school, policies)[USCC]
    assert (found.unquotable, found.unquotable_case, found.overdue) == (1, "TF-1", 0)
    with school.read() as session:
        (record,) = case_book.cases(session)
        (each,) = cases.case_facts(session, [record.case], on=TODAY, law=cases.case_law(session, policies))
        assert isinstance(each.quote, Impossible)
        assert each.due.day == date(2026, 11, 17)


def test_silence_becomes_consent_when_the_time_to_answer_is_over(school: Database, policies: PolicyBook) -> None:
    with school.write() as session:
        claim(session, 1, on=date(2026, 11, 12))  # until the 19th
        claim(session, 2, 4000, on=date(2026, 11, 13))  # until the 20th
        claim(session, 3, None, on=date(2026, 11, 12))
        move(session, 1, Move.GATHER)
    assert [deem_silent_refunds(school, policies=policies, now=NOW) for _ in range(2)] == [2, 0]
    assert [case_of(school, number).state for number in (1, 2, 3)] == [
        CaseState.ACCEPTED, CaseState.CLAIMED, CaseState.ACCEPTED
    ]
    assert case_of(school, 3).agreed == yuan(3500)
    with school.write() as session:
        last = case_book.case_moves(session, ["TF-1"])[-1]
        assert (last.move, last.role, last.amount) == (Move.DEEM, Role.SYSTEM, yuan(3500))
        assert "2026-11-19" in last.reason
        (kept,) = case_book.case_quotes(session, "TF-1")
        assert (kept.actor, kept.quote["refund"]) == ("system", "3500.00")
        tomorrow = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
        assert cases.deem_silent(session, [OTHER], policies=policies, now=tomorrow) == []
        assert cases.deem_silent(session, [USCC], policies=policies, now=tomorrow) == ["TF-2"]
    # More was claimed than is due: silence agrees to what is due.
    assert case_of(school, 2).agreed == yuan(3500)


def test_silence_agrees_to_nothing_where_nothing_is_due(school: Database, policies: PolicyBook) -> None:
    with school.write() as session:
        claim(session, 1, on=date(2026, 11, 2))
    seen(school, (1, "m1", 5000))
    with school.write() as session:
        assert cases.deem_silent(session, None, policies=policies, now=NOW) == []
    assert case_of(school, 1).state is CaseState.CLAIMED


def test_every_ledger_comes_once_and_in_order(school: Database) -> None:
    with school.read() as session:
        pieces = [[one.contract.contract_no for one in piece] for piece in every_ledger(session, at_once=2)]
        assert pieces == [["HT-1", "HT-2"], ["HT-3"]]
        assert [len(one.lessons) for piece in every_ledger(session, uscc=OTHER) for one in piece] == [13]
