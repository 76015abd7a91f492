"""The monthly return against what the rules say of the same records, on both databases."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import pytest

from alerts.alert import AlertKey, Clear, Severity, Signal, Why
from escrow_monitor.actions.effective_floors import effective_floors
from escrow_monitor.actions.monthly_return import AskedReturn, Level, MonthlyReturn, ReturnRow, monthly_return
from escrow_monitor.actions.return_tables import COLUMNS, pieces
from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import Account, BalanceKind
from escrow_monitor.domain.calendar import calendar_for
from escrow_monitor.domain.contracts import Charge, Contract, Lesson, LessonStatus
from escrow_monitor.domain.institutions import Institution, InstitutionKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.visibility import Visible
from escrow_monitor.errors import UsageError
from escrow_monitor.policies import load_policies
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.alerts.book import RecordsAlertBook
from escrow_monitor.records.bank.pulls import record_pulls
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.closure.days import bring_up
from escrow_monitor.records.contracts import sums as contract_sums
from escrow_monitor.records.contracts.charges import save_charges
from escrow_monitor.records.contracts.contracts import save_contracts
from escrow_monitor.records.contracts.lessons import save_lessons
from escrow_monitor.records.database import Database
from tests.records.conftest import ACCOUNTS, INSTITUTIONS, pull_of, reading_of, statement_of

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
NOW = datetime(2026, 11, 3, 8, tzinfo=UTC)
"""A Tuesday: the balance of Friday the 30th was due yesterday."""
POLICIES = load_policies()
CALENDAR = calendar_for("CN")


def working_days(first: date, last: date) -> list[date]:
    days = (first + timedelta(days=step) for step in range((last - first).days + 1))
    return [day for day in days if CALENDAR.is_working_day(day)]


def cover(
    database: Database, account: Account, first: date, last: date, *, opening: int = 100_000_00, a_day: int = 1_000_00,
    but: Iterable[date] = (),
) -> None:
    """Statements of every working day but some, each with one credit, and one debit half as large."""
    statements, balance = [], opening
    for day in working_days(first, last):
        if day in but:
            continue
        statements.append(statement_of(day, balance, a_day, -a_day // 2, account=account))
        balance += a_day - a_day // 2
    with database.write() as session:
        record_statements(session, statements, now=NOW, source="folder", raw_sha256="ab" * 32)


def returned(database: Database, month: str = "2026-10", *, now: datetime = NOW, **asked: object) -> MonthlyReturn:
    with database.read() as session:
        return monthly_return(
            session, AskedReturn(month=month, **asked), policies=POLICIES, now=now,  # type: ignore[arg-type]
        )


def of_account(found: MonthlyReturn, account: Account) -> ReturnRow:
    [row] = [row for row in found.of(Level.ACCOUNT) if row.account_no == account.account_no]
    return row


def test_the_floor_of_the_last_day_is_what_the_rules_ask_for(district: Database) -> None:
    """Zigong: a fifth of the credits of three calendar months."""
    cover(district, ACCOUNTS[0], date(2026, 7, 31), LAST)
    cover(district, ACCOUNTS[3], date(2026, 9, 1), LAST)
    cover(district, ACCOUNTS[1], date(2026, 7, 31), LAST)
    found = returned(district)
    with district.read() as session:
        told = {
            one.account_no: one.required
            for holder in INSTITUTIONS for one in effective_floors(session, holder, policies=POLICIES, on=LAST, now=NOW)
        }
    for account in (ACCOUNTS[0], ACCOUNTS[3], ACCOUNTS[1], ACCOUNTS[2]):
        row, required = of_account(found, account), told[account.account_no]
        assert row.floor_last == (None if required.amount is None else required.amount.minor_units), account
        assert (row.floor_whole or False) == (required.complete and required.amount is not None), account
    assert of_account(found, ACCOUNTS[0]).floor_whole, "covered from August on"
    assert not of_account(found, ACCOUNTS[3]).floor_whole, "August is not covered: at least that"
    assert of_account(found, ACCOUNTS[2]).floor_last is None, "a district without a floor"


def test_a_missing_working_day_is_unknown_and_so_is_the_floor_after_it(district: Database) -> None:
    gap = date(2026, 10, 20)
    cover(district, ACCOUNTS[0], date(2026, 7, 31), LAST, but=[gap])
    row = of_account(returned(district), ACCOUNTS[0])
    assert (row.counts.days_due, row.counts.days_balance_unknown, row.counts.days_short) == (31, 1, 0)
    assert row.counts.days_met == 19, "the days before it"
    assert row.counts.days_floor_unknown == 11, "credits that were not seen could raise the floor"
    assert row.counts.paid_out == len(working_days(FIRST, LAST)) * 500_00 - 500_00
    assert row.counts.paid_apart == 500_00 * len(working_days(date(2026, 10, 21), LAST))


def test_days_below_the_floor_are_counted_with_the_largest_shortfall(district: Database) -> None:
    cover(district, ACCOUNTS[0], date(2026, 7, 31), date(2026, 10, 20), opening=100_000_00)
    days = working_days(date(2026, 10, 21), LAST)
    with district.read() as session:
        [(held,)] = session.connection().exec_driver_sql(
            f"SELECT closing_fen FROM account_days WHERE account_no = '{ACCOUNTS[0].account_no}'"
            " ORDER BY day DESC LIMIT 1"
        ).fetchall()
    with district.write() as session:
        record_statements(session, [
            statement_of(days[0], held, 5_000_00 - held, account=ACCOUNTS[0]),
            *(statement_of(day, 5_000_00, account=ACCOUNTS[0]) for day in days[1:]),
        ], now=NOW, source="folder", raw_sha256="cd" * 32)
    row = of_account(found := returned(district), ACCOUNTS[0])
    floor = row.floor_last
    assert floor is not None
    assert floor > 5_000_00
    assert (row.counts.days_short, row.counts.days_met) == ((LAST - days[0]).days + 1, 20)
    assert (row.shortfall, row.shortfall_on) == (floor - 5_000_00, days[0])
    assert (row.lowest, row.lowest_on) == (5_000_00, days[0])
    assert row.counts.paid_below == floor - 5_000_00, "what the floor needed went out too"
    assert row.counts.paid_above == row.counts.paid_out - row.counts.paid_below
    assert found.totals.accounts_short == 1
    assert found.residuals == {}


def test_what_the_bank_holds_back_does_not_count_as_there(district: Database) -> None:
    cover(district, ACCOUNTS[0], date(2026, 7, 31), LAST)
    at = datetime(2026, 10, 30, 9, tzinfo=UTC)
    for hours, held in ((0, 90_000_00), (3, 80_000_00)):
        told = at + timedelta(hours=hours)
        with district.write() as session:
            record_pulls(session, [
                pull_of(ACCOUNTS[0], reading_of(fen=held, at=told, kind=BalanceKind.HELD), at=told)
            ], scheduled_at=told, now=NOW)
    free = of_account(returned(district), ACCOUNTS[0])
    assert free.lowest_on == date(2026, 10, 30)
    assert free.highest is not None
    # Of the 30th the later word counts, and a day off after it goes on so: the highest is that of the 29th.
    assert (free.lowest, free.highest_on) == (free.highest + 500_00 - 80_000_00, date(2026, 10, 29))


def test_a_month_under_way_says_so_and_days_not_due_do_not_count(district: Database) -> None:
    cover(district, ACCOUNTS[0], date(2026, 7, 31), date(2026, 10, 16))
    found = returned(district, now=datetime(2026, 10, 20, 1, tzinfo=UTC))
    # Tuesday before noon: the balance of Friday the 16th was due on Monday, that of Monday at noon; days off follow it.
    assert not found.ended
    assert found.days_over == 19
    assert of_account(found, ACCOUNTS[0]).counts.days_due == 18
    assert "the month has not ended, 19 days of it are over" in found.sentence.en
    with pytest.raises(UsageError, match="has not begun"):
        returned(district, "2027-01")
    for wrong in ("2026-13", "26-10", "2026-1", "1999-12", "2026-10-01"):
        with pytest.raises(UsageError, match="is not a month"):
            AskedReturn(month=wrong)


def test_days_before_an_account_was_opened_do_not_count(district: Database) -> None:
    opened = Account(
        account_no="62179999", bank="northbank", connector="berlin_group", currency="CNY", uscc=INSTITUTIONS[0].uscc,
        opened_on=date(2026, 10, 20),
    )
    with district.write() as session:
        save_accounts(session, [opened], now=NOW)
    cover(district, opened, date(2026, 10, 20), LAST, opening=0)
    row = of_account(returned(district), opened)
    assert (row.counts.days_due, row.counts.days_balance_unknown) == (12, 0)
    assert row.floor_whole, "nothing came in before it was there"


BEIJING = Institution(uscc="911101050000000001", name="晨光", district="110105", kind=InstitutionKind.SUBJECT)
TWO = tuple(
    Account(account_no=f"6218000{n}", bank="northbank", connector="berlin_group", currency="CNY", uscc=BEIJING.uscc)
    for n in range(2)
)


def with_contracts(database: Database) -> None:
    """8,000 paid by the 10th, a tenth of it taught every third day from the 12th on."""
    with database.write() as session:
        save_institutions(session, [BEIJING], now=NOW)
        save_accounts(session, TWO, now=NOW)
    with database.write() as session, contract_sums.kept_up(session, on=LAST):
        save_contracts(session, [Contract(
            contract_no="HT-1", uscc=BEIJING.uscc, student_ref="S-1", course="钢琴", lessons_paid=10,
            fee=Money(8_000_00, "CNY"), signed_on=date(2026, 10, 9), starts_on=date(2026, 10, 12),
        )], now=NOW)
        save_charges(session, [Charge(
            charge_no="J-1", contract_no="HT-1", paid_on=date(2026, 10, 9), amount=Money(8_000_00, "CNY")
        )], now=NOW)
        save_lessons(session, [
            Lesson(
                contract_no="HT-1", session_no=n, status=LessonStatus.CONFIRMED,
                taught_on=day, decided_on=day,
            )
            for n, day in enumerate(date(2026, 10, 12) + timedelta(days=3 * n) for n in range(6))
        ], now=NOW)
    cover(database, TWO[0], date(2026, 9, 30), LAST, opening=3_000_00, a_day=0)
    cover(database, TWO[1], date(2026, 9, 30), LAST, opening=1_000_00, a_day=0)


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_owed_is_asked_of_both_accounts_together(district: Database, kept: bool) -> None:
    with_contracts(district)
    if kept:
        bring_up(district, through=LAST, now=NOW, policies=POLICIES)
    found = returned(district, district="11")
    with district.read() as session:
        told = {
            one.account_no: one.required
            for one in effective_floors(session, BEIJING, policies=POLICIES, on=date(2026, 10, 30), now=NOW)
        }
    # 8,000 less six lessons of 800, less what lies in the other account.
    floors = {account.account_no: of_account(found, account).floor_last for account in TWO}
    assert floors == {TWO[0].account_no: 2_200_00, TWO[1].account_no: 200_00}
    assert floors == {number: required.amount.minor_units for number, required in told.items() if required.amount}
    one, other = (of_account(found, account) for account in TWO)
    # Nothing is owed before the 9th; 8,000 then, of which 4,000 are there; met once five lessons are taught.
    assert (one.counts.days_short, one.counts.days_met) == (15, 16)
    assert (one.shortfall, one.shortfall_on) == (4_000_00, date(2026, 10, 9))
    assert other.counts.days_short == 15
    [row] = found.of(Level.INSTITUTION)
    assert (row.highest, row.lowest, row.counts.days_due) == (4_000_00, 4_000_00, 62)


def test_every_level_adds_up_and_alerts_are_told_once(district: Database) -> None:
    for account in ACCOUNTS:
        cover(district, account, date(2026, 10, 9), LAST)
    key, why = AlertKey("floor", f"account:{ACCOUNTS[0].account_no}", "continuous"), Why(zh="低", en="low")
    labels = {"uscc": INSTITUTIONS[0].uscc, "account_no": ACCOUNTS[0].account_no, "district": "510300"}
    at = datetime(2026, 10, 12, 1, tzinfo=UTC)
    with district.write() as session:
        book = RecordsAlertBook(session)
        book.advance(signals=[
            Signal(key=key, severity=Severity.RED, standing="breached", as_of=at, figures={}, why=why, labels=labels),
            Signal(key=AlertKey("bank_silent", "bank:x", "continuous"), severity=Severity.RED, standing="unknown",
                   as_of=at, figures={}, why=why, labels={"bank": "x"}),
        ], clears=(), now=at, cause="test")
    with district.write() as session:
        RecordsAlertBook(session).advance(
            signals=(), clears=[Clear(key=key, standing="met", as_of=at, why=why)], now=NOW, cause="test"
        )
    found = returned(district)
    assert found.residuals == {}
    [total] = found.of(Level.ALL)
    assert (total.counts.accounts, total.institutions) == (6, 3)
    assert total.counts.days_due == 6 * 31
    assert (total.counts.breaches_opened, total.counts.breaches_resolved) == (1, 0), "it was resolved in November"
    assert (total.alerts_opened, total.alerts_resolved) == (1, 0)
    assert (found.unseen_alerts.opened, found.unseen_alerts.resolved) == (1, 0)
    november = returned(district, "2026-11", now=datetime(2026, 11, 6, 8, tzinfo=UTC))
    assert november.of(Level.ALL)[0].counts.breaches_resolved == 1
    assert len(found.of(Level.DISTRICT)) == 3, "one of them is that of who has no district"


def test_a_district_and_what_somebody_may_see_limit_all_of_it(district: Database) -> None:
    for account in ACCOUNTS:
        cover(district, account, date(2026, 10, 9), LAST)
    assert {row.district for row in returned(district, district="51").of(Level.INSTITUTION)} == {"510300"}
    seen = returned(district, visible=Visible(uscc=INSTITUTIONS[1].uscc))
    assert {row.uscc for row in seen.of(Level.ACCOUNT)} == {INSTITUTIONS[1].uscc}
    assert seen.totals.accounts == 2
    assert returned(district, visible=Visible(districts=())).rows == []


def test_csv_workbook_and_json_say_the_same(district: Database) -> None:
    with district.write() as session:
        save_institutions(session, [
            Institution(uscc=INSTITUTIONS[0].uscc, name='=HYPERLINK("x")', district="510300")
        ], now=NOW)
    cover(district, ACCOUNTS[0], date(2026, 7, 31), LAST)
    found = returned(district)

    def written(form: str, depth: str = "accounts") -> bytes:
        return b"".join(pieces(found, form=form, depth=depth, lang="en", zone=ZONE))

    table = list(csv.DictReader(io.StringIO(written("csv").decode("utf-8-sig"))))
    about = [row for row in table if row["level"] == "about"]
    assert about[0]["note"].startswith("Monthly return 2026-10 (2026-10-01 to 2026-10-31), all districts")
    assert about[2]["note"] == found.sentence.en
    document = json.loads(written("json"))
    assert document["complete"] is False
    rows = [row for row in table if row["level"] != "about"]
    assert len(rows) == len(document["rows"]) == len(found.rows)
    for told, row in zip(rows, document["rows"], strict=True):
        assert (told["account"].lstrip("'"), told["days short"]) == (row["account_no"] or "", str(row["days_short"]))
        assert told["lowest balance"] == (row["lowest"] or "")
        assert row["lowest_fen"] is None or row["lowest"] == Money(row["lowest_fen"], "CNY").text
    named = {row["institution"] for row in rows}
    assert "'=HYPERLINK(\"x\")" in named, "no sheet takes it for a formula"
    with zipfile.ZipFile(io.BytesIO(written("xlsx"))) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<row ") == 1 + len(table)
    assert len(json.loads(written("json", "districts"))["rows"]) == len(found.of(Level.ALL) + found.of(Level.DISTRICT))
    assert len(COLUMNS) == len(table[0])
