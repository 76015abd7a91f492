"""Two schools of a sandbox city, all that can be known of each, a dispute of each, and people who have signed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from fastapi import FastAPI

from alerts.alert import AlertKey, Severity, Signal, Why
from escrow_monitor.actions.attach_evidence import attach_evidence
from escrow_monitor.actions.import_files import import_file
from escrow_monitor.actions.note_case import note_case
from escrow_monitor.actions.passwords import hashed
from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.dispute_answers import Audience
from escrow_monitor.domain.findings import account_subject
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.permissions import UserRole
from escrow_monitor.domain.statements import Entry, Statement, StatementKind
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import accounts, institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.bulk import fetch
from escrow_monitor.records.contracts import case_book
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.case_book import CaseRecord
from escrow_monitor.records.contracts.refund_claims import record_refund_claims
from escrow_monitor.records.database import Database
from escrow_monitor.records.people import keys, sessions, users
from escrow_monitor.records.reconciliation.reconciliations import ask
from escrow_monitor.rounds.reconcile import reconcile_asked, reconcile_institutions
from escrow_monitor.rounds.signals import Patience
from escrow_monitor.sandbox.city.city import City
from escrow_monitor.sandbox.city.export import KINDS, statements, write_files
from escrow_monitor.sandbox.city.plans import CitySettings
from escrow_monitor.sandbox.statement_writers import camt053
from escrow_monitor.web.app import create_app
from tests.web.web_world import World

ON = date(2025, 2, 28)
"""The last day whose statements are there."""
NOW = datetime.combine(ON, time(15), UTC)
POLICIES = load_policies()
DISPUTES = 3
ASKED_THOUSANDTHS = 800_000
PASSWORD = "一只黄鹂鸣翠柳2025"
"""Of the schools' people; staff have no password here, only the sessions in `tokens`."""
PAPER = b"%PDF-1.4 \r\n\x00\xff"


class Schools:
    """The world. Of school `n`: cases `TQ-n-1` and on, claimed on `ON`; its person and key are called `school-n`."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.tokens: dict[str, str] = {}
        self.world = World(database=database, now=NOW)
        self.city = City(
            seed=2, institutions=2, starts_on=date(2025, 1, 1), days=70,
            settings=CitySettings(
                closing_rate=0, custody_share=1, awkward_rate=0, statement_fault_rate=0, students=(15, 25)
            ),
        )
        self._import(folder)
        with database.read() as session:
            self.institutions: list[Institution] = sorted(institutions(session), key=lambda one: one.uscc)
            of = {one.uscc: one for one in accounts(session)}
        self.accounts: list[Account] = [of[one.uscc] for one in self.institutions]
        self._claims()
        self.alerts = [self._alarmed(number) for number in range(2)]
        self._people(("li", "wang", "zhou"))
        self.reconcile()
        self._asked()

    @property
    def app(self) -> FastAPI:
        """The application as it is served."""
        return create_app(replace(self.world.ports(), policies=POLICIES, reconcile=self._reconcile_asked))

    def place(self, number: int) -> str:
        """What stands in every number of its contracts, charges, claims and people."""
        places = (life.plan.place for life in self.city.lives())
        place = next(one for one in places if self.city.account_no(one) == self.accounts[number].account_no)
        return f"-{place:05d}-"

    def case(self, case_no: str) -> CaseRecord:
        """One case as it stands."""
        with self.database.read() as session:
            found = case_book.case(session, case_no)
        assert found is not None
        return found

    def moves(self, case_no: str) -> list[str]:
        """What was done in a case."""
        with self.database.read() as session:
            return [one.move.value for one in case_book.case_moves(session, [case_no])]

    def reconcile(self) -> None:
        """What the round does."""
        reconcile_institutions(
            database=self.database, policies=POLICIES, channels=(), patience=Patience(), now=self.world.now,
            actor="test",
        )

    def _import(self, folder: Path) -> None:
        paths = write_files(self.city, folder, through=ON)
        for kind in KINDS:
            with paths[kind].open("rb") as stream:
                assert not import_file(
                    self.database, kind=kind, stream=stream, filename=paths[kind].name, actor="test", now=NOW
                ).bad
        for life in self.city.lives():
            with self.database.write() as session:
                assert record_statements(
                    session, list(statements(self.city, life, first=0, last=(ON - self.city.starts_on).days)),
                    source="city", raw_sha256="ab" * 32, now=NOW,
                ) == []

    def _claims(self) -> None:
        for number, school in enumerate(self.institutions):
            with self.database.write() as session, contract_sums.kept_up(session, on=ON):
                contracts = [row[0] for row in fetch(
                    session, "SELECT contract_no FROM contract_accounts WHERE uscc = :uscc AND obligation_fen > 100000"
                    " AND contract_no NOT IN (SELECT contract_no FROM refund_claims) ORDER BY contract_no LIMIT :most",
                    uscc=school.uscc, most=DISPUTES,
                )]
                assert len(contracts) == DISPUTES
                assert not record_refund_claims(session, [
                    (
                        place, f"TQ-{number}-{place}", contract_no, ON, None, None, "consumer", f"转学缘由{number}",
                        ASKED_THOUSANDTHS,
                    )
                    for place, contract_no in enumerate(contracts, 1)
                ], now=NOW).faults
            for audience in Audience:
                note_case(
                    self.database, case_no=f"TQ-{number}-1", text=f"备注{number}给{audience.value}", actor="cli:li",
                    audience=audience, now=NOW,
                )
                attach_evidence(
                    self.database, case_no=f"TQ-{number}-1", content=PAPER + audience.value.encode(), actor="cli:li",
                    filename=f"材料{number}{audience.value}.pdf", audience=audience, now=NOW,
                )

    def _alarmed(self, number: int) -> str:
        school, account = self.institutions[number], self.accounts[number]
        labels = {
            "uscc": school.uscc, "account_no": account.account_no, "bank": account.bank,
            "district": school.district or "",
        }
        with self.database.write() as session:
            [entry] = RecordsAlertBook(session).advance(signals=[Signal(
                key=AlertKey("floor", account_subject(account.account_no), "continuous"), severity=Severity.RED,
                standing="breached", as_of=NOW, figures={}, labels=labels,
                why=Why(zh=f"第{number}校低于最低余额", en=f"school {number} is below the floor"),
            )], clears=(), now=NOW, cause="test")
        return entry.alert_id

    def _people(self, staff: Sequence[str]) -> None:
        people: list[tuple[str, UserRole, str | None]] = [
            (name, UserRole.STAFF if name == "li" else UserRole.REGULATOR, None) for name in staff
        ]
        people += [(f"school-{n}", UserRole.INSTITUTION, one.uscc) for n, one in enumerate(self.institutions)]
        with self.database.write() as session:
            for name, role, uscc in people:
                users.add(
                    session, name=name, display_name=name, role=role, districts=None, uscc=uscc, now=NOW,
                    password_hash="none" if uscc is None else hashed(PASSWORD),
                )
                _, self.tokens[name] = sessions.begin(session, user_name=name, address="127.0.0.1", agent="", now=NOW)
                if uscc is not None:
                    _, self.world.secrets[name] = keys.create(
                        session, name=name, scopes=["read", "answer"], expires_at=None, now=NOW, owner=name
                    )

    def _asked(self) -> None:
        for number, school in enumerate(self.institutions):
            with self.database.write() as session:
                ask(
                    session, request_id=f"RQ{number}", actor="user:li", uscc=school.uscc, day=None, whole=False, now=NOW
                )
            self._reconcile_asked(f"RQ{number}")

    def _reconcile_asked(self, request_id: str) -> object:
        return reconcile_asked(
            request_id, database=self.database, policies=POLICIES, channels=(), patience=Patience(),
            now=self.world.now,
        )

    def recon_no(self, number: int) -> int:
        """The number of a reconciliation of this school."""
        with self.database.read() as session:
            return int(fetch(
                session, "SELECT max(recon_no) FROM reconciliations WHERE uscc = :uscc",
                uscc=self.institutions[number].uscc,
            )[0][0])

    def pays_out(self, number: int, fen: int, *, bank_ref: str, text: str) -> bytes:
        """The bank's statement of the day after `ON`: nothing but this much went out of the school's account."""
        day, account = ON + timedelta(days=1), self.accounts[number]
        life = next(one for one in self.city.lives() if self.city.account_no(one.plan.place) == account.account_no)
        opening = life.balance_fen[(ON - self.city.starts_on).days]
        statement = Statement(
            account_no=account.account_no, currency="CNY", kind=StatementKind.END_OF_DAY, number="25060",
            opening=Money(opening, "CNY"), opening_on=day, closing=Money(opening - fen, "CNY"), closing_on=day,
            covers_from=day, covers_to=day, where="bank", entries=(Entry(
                account_no=account.account_no, booked_on=day, value_on=day, amount=Money(-fen, "CNY"),
                bank_ref=bank_ref, text=text,
            ),),
        )
        return camt053([statement], created_at=NOW + timedelta(days=1), message_id="REFUND")

    def a_day_later(self) -> None:
        """Let it be the day on which that statement has come; everybody has signed in again."""
        self.world.now += timedelta(days=2)
        with self.database.write() as session:
            for name in self.tokens:
                _, self.tokens[name] = sessions.begin(
                    session, user_name=name, address="127.0.0.1", agent="", now=self.world.now
                )
