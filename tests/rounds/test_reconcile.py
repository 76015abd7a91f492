"""The round that reconciles: real files and statements in, bridges, history and alerts out, on both databases."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from escrow_monitor.actions.import_files import import_file
from escrow_monitor.actions.move_case import move_case
from escrow_monitor.actions.reconcile import (
    UnknownInstitution,
    Wanted,
    ask_reconciliation,
    make_match,
    undo_match,
)
from escrow_monitor.domain.dispute_words import CaseState, Move, Role
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.obligation import obligation
from escrow_monitor.domain.policy import PolicyBook
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, account_digest, numbered
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.bulk import run
from escrow_monitor.records.contracts.case_book import case
from escrow_monitor.records.contracts.ledgers import ledgers
from escrow_monitor.records.contracts.sums import contract_sums
from escrow_monitor.records.database import Database
from escrow_monitor.records.evidence import audit
from escrow_monitor.records.reconciliation.reconciliations import (
    AskedState,
    StoredReconciliation,
    asked,
    breaks_by_label,
    history,
    newest,
)
from escrow_monitor.rounds.reconcile import Reconciled, reconcile, reconcile_asked, reconcile_institutions
from escrow_monitor.rounds.report import Outcome, Report
from escrow_monitor.rounds.signals import Patience

USCC, OTHER = "91110000600037341L", "9144030071526726XG"
A, B, SETTLEMENT = "6222021200019876543", "6222021200011111111", "6222021200012222222"
BEGAN = date(2026, 11, 2)
NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)  # a Saturday; Friday's statement is there
DAY = timedelta(days=1)


@dataclass
class Town:
    """One institution with its families and its bank, whose statements are made of what happened."""

    database: Database
    policies: PolicyBook
    openings: dict[str, int] = field(default_factory=lambda: {A: 100_00})
    booked: dict[tuple[str, date], list[Any]] = field(default_factory=dict)
    now: datetime = NOW

    def load(self, kind: str, *rows: Mapping[str, object]) -> None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        done = import_file(
            self.database, kind=kind, stream=io.BytesIO(out.getvalue().encode()), filename=f"{kind}.csv", actor="test",
            now=self.now,
        )
        assert done.bad == 0, done.bad_rows

    def contract(self, no: str, *, uscc: str = USCC, lessons: int = 48, fee: str = "4800.00") -> None:
        self.load("contracts", {
            "contract_no": no, "uscc": uscc, "student_ref": f"S-{no}", "course": "钢琴", "signed_on": "2026-09-01",
            "lessons_paid": lessons, "fee": fee,
        })

    def paid(self, no: str, contract: str, on: date, amount: str = "4800.00", **more: str) -> None:
        self.load("charges", {"charge_no": no, "contract_no": contract, "paid_on": on, "amount": amount, **more})

    def taught(self, contract: str, first: int, *days: date) -> None:
        self.load("lessons", *(
            {"contract_no": contract, "session_no": first + n, "taught_on": day, "status": "confirmed",
             "decided_on": day}
            for n, day in enumerate(days)
        ))

    def book(
        self, on: date, fen: int, text: str = "", ref: str | None = None, *, account: str = A, to: str | None = None,
        reversal: bool = False,
    ) -> None:
        self.booked.setdefault((account, on), []).append(Entry(
            account_no=account, booked_on=on, amount=Money(fen, "CNY"), text=text, bank_ref=ref, reversal=reversal,
            counterparty_account_sha256=account_digest(to),
        ))

    def statements(
        self, until: date = date(2026, 11, 20), *, account: str = A, first: date = BEGAN, skip: tuple[date, ...] = ()
    ) -> None:
        """Hand in a statement of each weekday."""
        balance, day, made = self.openings.get(account, 0), first, []
        while day <= until:
            entries = numbered(self.booked.get((account, day), ()))
            if day.weekday() < 5 and day not in skip:
                made.append(_statement(account, day, balance, entries))
            balance += sum(entry.amount.minor_units for entry in entries)
            day += DAY
        with self.database.write() as session:
            assert record_statements(session, made, source="test", raw_sha256="ab" * 32, now=self.now) == []

    def round(self, **said: Any) -> Report:
        return reconcile(
            database=self.database, policies=self.policies, channels=(), patience=Patience(), scheduled_at=self.now,
            now=self.now, **said,
        )

    def by_hand(self, **said: Any) -> Reconciled:
        return reconcile_institutions(
            database=self.database, policies=self.policies, channels=(), patience=Patience(), now=self.now,
            actor="wang", **said,
        )

    def newest(self, uscc: str = USCC) -> StoredReconciliation:
        with self.database.read() as session:
            [found] = newest(session, uscc)
        return found

    def lines(self) -> dict[str, str]:
        found = self.newest().document
        assert found["residual"] == "0.00"
        return {line["label"]: line["impact"] for line in found["lines"]}

    def alerts(self) -> dict[str, str]:
        with self.database.read() as session:
            return {one.key.rule: one.severity.value for one in RecordsAlertBook(session).open_alerts()}


def _statement(account: str, day: date, opening: int, entries: tuple[Entry, ...]) -> Statement:
    closing = opening + sum(entry.amount.minor_units for entry in entries)
    return Statement(
        account_no=account, currency="CNY", kind=StatementKind.END_OF_DAY, number=f"{day:%Y%m%d}",
        opening=Money(opening, "CNY"), opening_on=day, closing=Money(closing, "CNY"), closing_on=day, covers_from=day,
        covers_to=day, entries=entries, where=f"{day}.sta:1",
    )


@pytest.fixture
def town(database: Database) -> Town:
    town = Town(database, load_policies())
    town.load("institutions", *({"uscc": uscc, "name": uscc[-4:], "district": "110108"} for uscc in (USCC, OTHER)))
    town.load("accounts", *(
        {"account_no": no, "uscc": USCC, "bank": "icbc", "connector": "statement_folder", "purpose": purpose,
         "mode": "custody", "currency": "CNY"}
        for no, purpose in ((A, "escrow"),)
    ))
    return town


def settled(town: Town, *, skip: tuple[date, ...] = ()) -> None:
    """Two families, one taught, one release of what was earned, interest and a fee: nothing wrong."""
    town.contract("K1")
    town.contract("K2")
    town.paid("J1", "K1", date(2026, 11, 4), bank_ref="R1", account_no=A)
    town.paid("J2", "K2", date(2026, 11, 6), bank_ref="R2")
    town.book(date(2026, 11, 4), 4800_00, "fee", "R1")
    town.book(date(2026, 11, 9), 4800_00, "fee", "R2")
    town.taught("K1", 1, date(2026, 11, 10), date(2026, 11, 12))
    town.book(date(2026, 11, 13), -150_00, "划款")
    town.book(date(2026, 11, 20), 12_34, "结息")
    town.book(date(2026, 11, 20), -10_00, "账户管理费")
    town.statements(skip=skip)


def test_a_district_in_order_is_explained_line_by_line_and_nobody_is_alerted(town: Town) -> None:
    settled(town)
    assert town.round().outcome is Outcome.OK
    assert town.lines() == {
        "opening": "100.00", "earned_not_drawn": "50.00", "interest": "12.34", "fees": "-10.00",
    }
    found = town.newest()
    assert (found.day, found.complete) == (date(2026, 11, 20), True)
    assert (found.document["required"], found.document["bank"], found.document["net"]) == (
        "9400.00", "9552.34", "152.34"
    )
    assert town.alerts() == {}
    with town.database.read() as session:
        assert breaks_by_label(session) == {}
        assert audit.verify(session).whole


def test_what_is_required_is_what_contract_by_contract_the_ledgers_say(town: Town) -> None:
    settled(town)
    town.round()
    with town.database.read() as session:
        books = ledgers(session, ["K1", "K2"])
        kept = sum(one.obligation.minor_units for one in contract_sums(session).values() if one.obligation)
    assert town.newest().document["required_fen"] == obligation(books.values(), date(2026, 11, 20)).amounts["CNY"]
    assert town.newest().document["required_fen"] == kept


def test_nothing_new_is_nothing_done_and_something_new_is_done_again(town: Town) -> None:
    settled(town)
    assert town.round().counts["reconciliations"] == 1
    assert town.round().counts["reconciliations"] == 0
    town.paid("J3", "K2", date(2026, 11, 19), "1.00")
    assert town.round().counts["reconciliations"] == 1
    assert town.lines()["not_received"] == "-1.00"
    with town.database.read() as session:
        first, second = history(session, USCC)
    assert (first.day, second.day) == (date(2026, 11, 20), date(2026, 11, 20))
    assert first.recon_no > second.recon_no


def test_time_alone_makes_a_reconciliation_due_and_without_a_statement_incomplete(town: Town) -> None:
    settled(town)
    town.round()
    town.now = datetime(2026, 11, 24, 3, 59, tzinfo=UTC)  # Tuesday 11:59: Monday's is not due yet
    assert town.round().counts["reconciliations"] == 0
    town.now = datetime(2026, 11, 24, 4, 1, tzinfo=UTC)
    assert town.round().outcome is Outcome.WRONG
    assert [one["why"] for one in town.newest().document["incomplete"]] == ["no_closing"]
    assert town.alerts() == {"reconciliation_open": "yellow"}
    monday(town)
    town.round()
    assert town.newest().complete
    assert town.alerts() == {}


def monday(town: Town, *said: tuple[int, str, str | None]) -> None:
    """Monday's statement, with an entry for each (amount, text, reference)."""
    day = date(2026, 11, 23)
    entries = numbered(
        Entry(account_no=A, booked_on=day, amount=Money(fen, "CNY"), text=text, bank_ref=ref)
        for fen, text, ref in said
    )
    with town.database.write() as session:
        assert record_statements(
            session, [_statement(A, day, 9552_34, entries)], source="test", raw_sha256="ab" * 32, now=town.now
        ) == []


def test_a_charge_that_never_came_is_red_until_it_comes_late(town: Town) -> None:
    settled(town)
    town.paid("J9", "K1", date(2026, 11, 18), "30.00", bank_ref="R9")
    town.round()
    assert town.lines()["not_received"] == "-30.00"
    assert town.alerts() == {"receipt_outside_escrow": "red"}
    town.now += 3 * DAY
    monday(town, (30_00, "late", "R9"))
    town.round()
    assert "not_received" not in town.lines()
    assert town.alerts() == {}


def test_money_drawn_ahead_of_teaching_is_red_and_the_day_before_it_was_not(town: Town) -> None:
    settled(town)
    town.round()
    town.now += 3 * DAY
    monday(town, (-5000_00, "手续费", None))
    town.round()
    assert town.lines()["drawn_ahead"] == "-4950.00"
    assert town.alerts() == {"release_ahead": "red"}
    assert town.newest().document["released_ahead"] == "4850.00"  # 100.00 lay there before
    done = town.by_hand(usccs=[USCC], day=date(2026, 11, 20))
    assert done.counts["breached"] == 0
    assert town.alerts() == {"release_ahead": "red"}  # the past alerts nobody
    assert town.newest().day == date(2026, 11, 23)


def test_a_missing_day_is_incomplete_and_its_statement_makes_it_whole(town: Town) -> None:
    settled(town, skip=(date(2026, 11, 13),))
    assert town.round().outcome is Outcome.WRONG
    found = town.newest()
    assert {one["why"] for one in found.document["incomplete"]} == {"days_missing", "residual"}
    assert found.document["residual"] == "-150.00"  # the release that nobody has seen
    assert found.document["known_through"] == "2026-11-12"
    assert town.alerts() == {"reconciliation_open": "yellow"}
    with town.database.write() as session:
        day = date(2026, 11, 13)
        assert record_statements(
            session, [_statement(A, day, 9700_00, numbered(town.booked[A, day]))], source="test",
            raw_sha256="ab" * 32, now=town.now,
        ) == []
    assert town.round().outcome is Outcome.OK
    assert (town.newest().complete, town.alerts()) == (True, {})


def test_identical_fees_of_one_day_fit_in_several_ways_and_nobody_is_alarmed(town: Town) -> None:
    for n in range(3):
        town.contract(f"T{n}")
        town.paid(f"J{n}", f"T{n}", date(2026, 11, 9), "300.00")
    for _ in range(3):
        town.book(date(2026, 11, 9), 300_00, "学费")
    town.statements()
    town.round()
    assert town.alerts() == {}
    found = town.newest().document
    assert (found["residual"], found["not_received"]["amount"]) == ("0.00", "0.00")


def test_a_credit_under_the_charge_s_reference_with_less_in_it_leaves_only_the_rest_to_explain(town: Town) -> None:
    town.contract("K1")
    town.paid("J1", "K1", date(2026, 11, 9), "4800.00", bank_ref="R1")
    town.book(date(2026, 11, 10), 4790_00, "card, net", "R1")
    town.statements()
    town.round()
    assert town.lines()["unclear"] == "-10.00"
    assert town.newest().document["not_received"]["amount"] == "10.00"


def test_own_transfers_reversals_and_own_money_are_no_releases(town: Town) -> None:
    town.openings[B] = town.openings[SETTLEMENT] = 0
    town.load("accounts", *(
        {"account_no": no, "uscc": USCC, "bank": "icbc", "connector": "statement_folder", "purpose": purpose,
         "mode": "custody", "currency": "CNY"}
        for no, purpose in ((B, "escrow"), (SETTLEMENT, "settlement"))
    ))
    town.contract("K1")
    town.book(date(2026, 11, 10), -50_00, "own", to=B)
    town.book(date(2026, 11, 10), 50_00, "own", account=B, to=A)
    town.book(date(2026, 11, 11), -20_00, "wrong")
    town.book(date(2026, 11, 12), 20_00, "wrong", reversal=True)
    town.book(date(2026, 11, 13), 7_00, "top up", to=SETTLEMENT)
    town.book(date(2026, 11, 13), -7_00, "top up", account=SETTLEMENT, to=A)
    town.book(date(2026, 11, 16), -3_00, "out", to=SETTLEMENT)
    town.book(date(2026, 11, 16), 3_00, "out", account=SETTLEMENT, to=A)
    for account in (A, B, SETTLEMENT):
        town.statements(account=account)
    town.round()
    assert town.lines() == {
        "opening": "100.00", "own_transfers": "0.00", "reversals": "0.00", "paid_in": "7.00", "drawn_ahead": "-3.00",
    }
    assert town.alerts() == {}


def claimed(town: Town) -> str:
    """A family claims 200.00 back and the institution agrees; the case."""
    town.load("refund-claims", {
        "claim_no": "TF1", "contract_no": "K2", "claimed_on": "2026-11-16", "amount": "200.00", "cause": "consumer",
    })
    for move, role in ((Move.QUOTE, Role.STAFF), (Move.SETTLE, Role.STAFF)):
        move_case(
            town.database, town.policies, case_no="TF1", move=move, actor="wang", reason="agreed", role=role,
            amount="200.00" if move is Move.SETTLE else None, now=town.now,
        )
    return "TF1"


def test_a_refund_counts_when_the_bank_shows_it_and_not_any_more_when_the_match_is_undone(town: Town) -> None:
    settled(town)
    case_no = claimed(town)
    town.round()
    with town.database.read() as session:
        record = case(session, case_no)
    assert record is not None
    assert record.case.state is not CaseState.PAID
    assert town.newest().document["required"] == "9400.00"  # still owed
    town.now += 3 * DAY
    monday(town, (-200_00, "退费", case_no))
    assert town.round().counts["refunds_seen"] == 1
    with town.database.read() as session:
        record = case(session, case_no)
    assert record is not None
    assert record.case.state is CaseState.PAID
    assert town.newest().document["required"] == "9200.00"
    assert "refund_not_recorded" not in town.lines()
    with town.database.write() as session:
        made = run(session, "SELECT l.line_id FROM match_lines l JOIN matches m ON m.line_no = l.line_no"
                            " WHERE l.amount_fen < 0").scalar_one()
        undo_match(session, made, by="wang", reason="another family's", now=town.now)
    town.round()
    assert town.newest().document["required"] == "9400.00"
    assert town.lines()["refund_not_recorded"] == "-200.00"


def test_a_person_matches_by_hand_and_the_bridge_follows(town: Town) -> None:
    settled(town)
    town.paid("J9", "K1", date(2026, 11, 10), "30.00")
    town.round()
    assert town.lines()["not_received"] == "-30.00"
    with town.database.write() as session:
        line = run(session, "SELECT line_id FROM match_lines WHERE amount_fen = 480000 ORDER BY line_id").first()
        assert line is not None
        with pytest.raises(UsageError, match="not open"):
            make_match(session, [line[0]], ["charge:J9"], by="wang", reason="x", now=town.now)
    with town.database.write() as session:
        undo_match(session, "charge:J2", by="wang", reason="somebody else's", now=town.now)
    assert town.round().counts["reconciliations"] == 1
    assert town.lines()["credit_without_charge"] == "4800.00"
    with town.database.read() as session:
        assert breaks_by_label(session) == {"credit_without_charge": 1, "not_received": 2}
    assert town.lines()["not_received"] == "-4830.00"
    with town.database.write() as session:
        [line] = run(session, "SELECT l.line_id FROM match_lines l JOIN open_lines o ON o.line_no = l.line_no"
                              " WHERE l.amount_fen = 480000").all()
        make_match(session, [line[0]], ["charge:J2"], by="wang", reason="it was hers", now=town.now)
    assert town.round().counts["reconciliations"] == 1
    assert town.lines()["not_received"] == "-30.00"


def test_incremental_and_whole_come_to_the_same(town: Town) -> None:
    settled(town)
    town.round()
    town.paid("J3", "K2", date(2026, 11, 19), "1.00")
    town.taught("K2", 1, date(2026, 11, 17))
    town.round()
    before = town.newest()
    assert town.by_hand(whole=True).counts["sums_corrected"] == 0
    after = town.newest()
    assert (after.recon_no, after.document) == (before.recon_no, before.document)
    assert after.confirmed_at >= before.confirmed_at


def test_an_institution_without_contracts_is_asked_about_only_by_hand_and_is_incomplete(town: Town) -> None:
    settled(town)
    town.round()
    with town.database.read() as session:
        assert [one.uscc for one in newest(session)] == [USCC]
    town.by_hand(usccs=[OTHER])
    with town.database.read() as session:
        assert newest(session, OTHER) == []  # neither contract nor account: there is no currency to speak of


def test_what_a_person_asks_for_is_done_once_and_says_how_far_it_is(town: Town) -> None:
    settled(town)
    with town.database.write() as session:
        wanted = ask_reconciliation(session, Wanted(uscc=USCC), actor="wang", now=town.now)
        with pytest.raises(UnknownInstitution):
            ask_reconciliation(session, Wanted(uscc="91330100799655058B"), actor="wang", now=town.now)
        with pytest.raises(UsageError, match="still to come"):
            ask_reconciliation(session, Wanted(day=date(2026, 12, 1)), actor="wang", now=town.now)

    def do() -> bool:
        return reconcile_asked(
            wanted.request_id, database=town.database, policies=town.policies, channels=(), patience=Patience(),
            now=town.now,
        )

    assert do()
    assert not do()
    with town.database.read() as session:
        done = asked(session, wanted.request_id)
    assert done is not None
    assert (done.state, done.done, done.total) == (AskedState.DONE, 1, 1)
    assert done.found is not None
    assert len(done.found["reconciliations"]) == 1


def test_what_was_asked_for_and_nobody_took_up_is_done_by_the_round(town: Town) -> None:
    settled(town)
    with town.database.write() as session:
        wanted = ask_reconciliation(session, Wanted(uscc=USCC), actor="wang", now=town.now)
    town.now += timedelta(minutes=5)
    town.round()
    with town.database.read() as session:
        done = asked(session, wanted.request_id)
    assert done is not None
    assert done.state is AskedState.DONE
