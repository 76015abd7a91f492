"""A condition that must hold, or be absent, for a time is looked at again although nothing new is told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from alerts.alert import AlertKey, Severity, Signal, Why
from escrow_monitor.domain.accounts import Account, BalanceKind, Reading
from escrow_monitor.domain.findings import institution_subject
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.policy import PolicyBook, parse_pack
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.pulls import PullRecord, record_pulls
from escrow_monitor.records.database import Database
from escrow_monitor.records.reconciliation.reconciliations import ReconciliationStateRow, due_institutions
from escrow_monitor.rounds.check_balances import check_balances
from escrow_monitor.rounds.signals import Patience

NOW = datetime(2026, 11, 18, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATIENCE = Patience(open_after={"floor": 2 * HOUR}, resolve_after={"floor": 3 * HOUR})
SCHOOL = Institution(uscc="915103000000000001", name="第一艺术培训学校", district="440300")
ACCOUNT = Account(
    account_no="6222001", bank="northbank", connector="berlin_group", currency="CNY", uscc=SCHOOL.uscc
)
POLICIES = PolicyBook([*load_policies().packs.values(), parse_pack({
    "id": "t-440300", "title": "测试", "title_en": "test", "jurisdiction": "440300", "clause": [{
        "id": "t-440300/fixed", "kind": "fixed", "amount": "200.00", "title": "条款", "title_en": "a clause",
        "verified": True, "effective_from": datetime(2020, 1, 1, tzinfo=UTC).date(),
        "source": {"title": "某办法", "found": "F"},
    }],
}, where="t.toml")])


def told(database: Database, fen: int, *, at: datetime) -> None:
    reading = Reading(
        account_no=ACCOUNT.account_no, kind=BalanceKind.BOOKED_INTRADAY, amount=Money(fen, "CNY"), on=at.date(),
        as_of=at, fetched_at=at, final=False, source="northbank", raw_sha256="ab" * 32,
    )
    with database.write() as session:
        record_pulls(session, [PullRecord(
            account_no=ACCOUNT.account_no, bank="northbank", readings=(reading,), started_at=at, finished_at=at,
        )], scheduled_at=at, now=at)


def heard_of_the_floor(database: Database, *, at: datetime) -> list[str]:
    """Check, and return what the feed has said of the floor by then."""
    check_balances(
        database=database, policies=POLICIES, channels=(), patience=PATIENCE, scheduled_at=at, now=at
    )
    with database.read() as session:
        entries = RecordsAlertBook(session).entries(after=0, limit=100)
    return [entry.transition.value for entry in entries if entry.key.rule == "floor"]


def test_an_alert_that_waits_opens_and_ends_in_time_although_the_bank_says_nothing_new(database: Database) -> None:
    with database.write() as session:
        save_institutions(session, [SCHOOL], now=NOW)
        save_accounts(session, [ACCOUNT], now=NOW)
    told(database, 150_00, at=NOW)
    assert heard_of_the_floor(database, at=NOW) == []
    assert heard_of_the_floor(database, at=NOW + HOUR) == []
    assert heard_of_the_floor(database, at=NOW + 2 * HOUR) == ["opened"]
    told(database, 900_00, at=NOW + 3 * HOUR)
    assert heard_of_the_floor(database, at=NOW + 3 * HOUR) == ["opened"]
    assert heard_of_the_floor(database, at=NOW + 5 * HOUR) == ["opened"]
    assert heard_of_the_floor(database, at=NOW + 6 * HOUR) == ["opened", "resolved"]


def test_an_institution_of_which_an_alert_waits_is_reconciled_again(database: Database) -> None:
    facts = {SCHOOL.uscc: "as before", "915103000000000002": "as before"}
    signal = Signal(
        key=AlertKey("refund_overdue", institution_subject(SCHOOL.uscc), "continuous"), severity=Severity.ORANGE,
        standing="breached", why=Why("一", "one"), as_of=NOW, open_after=HOUR,
    )
    with database.write() as session:
        session.add_all([
            ReconciliationStateRow(
                uscc=uscc, currency="CNY", recon_no=1, day=NOW.date(), breaks=0, facts=known, policy_version="1",
                recheck_at=NOW + 24 * HOUR, checked_at=NOW,
            )
            for uscc, known in facts.items()
        ])
    with database.read() as session:
        assert due_institutions(session, facts, policy_version="1", now=NOW) == []
    with database.write() as session:
        RecordsAlertBook(session).advance(signals=[signal], clears=[], now=NOW, cause="round:reconcile")
    with database.read() as session:
        assert due_institutions(session, facts, policy_version="1", now=NOW) == [SCHOOL.uscc]
