"""An operator looks at one account: its four balances apart, and which entries belong together."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from journey_command import Said, here

from escrow_monitor.domain.accounts import Account, BalanceKind, Purpose, Reading
from escrow_monitor.domain.institutions import Institution
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Statement, StatementKind, account_digest, numbered
from escrow_monitor.records.accounts import save_accounts, save_institutions
from escrow_monitor.records.bank.pulls import PullRecord, record_pulls
from escrow_monitor.records.bank.statements import record_statements
from escrow_monitor.records.database import Database

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ESCROW = Account(
    account_no="62170001", bank="north", connector="berlin_group", currency="CNY", uscc="91510300000000001X"
)
RESERVE = replace(ESCROW, account_no="62170002", bank="south", purpose=Purpose.DEPOSIT)
MON, TUE = date(2026, 11, 16), date(2026, 11, 17)


def entry(account: Account, day: date, fen: int, **known: object) -> Entry:
    return Entry(account_no=account.account_no, booked_on=day, amount=Money(fen, "CNY"), **known)  # type: ignore[arg-type]


def statement(account: Account, day: date, opening: int, *entries: Entry) -> Statement:
    closing = opening + sum(one.amount.minor_units for one in entries)
    return Statement(
        account_no=account.account_no, currency="CNY", kind=StatementKind.END_OF_DAY, number=f"{day:%j}",
        opening=Money(opening, "CNY"), opening_on=day, closing=Money(closing, "CNY"), closing_on=day,
        covers_from=day, covers_to=day, entries=numbered(entries), where="here",
    )


def reading(kind: BalanceKind, fen: int, *, final: bool = False) -> Reading:
    return Reading(
        account_no=ESCROW.account_no, kind=kind, amount=Money(fen, "CNY"), on=TUE if final else NOW.date(),
        as_of=datetime(2026, 11, 17, 15, 59, 59, tzinfo=UTC) if final else NOW, fetched_at=NOW, final=final,
        source="berlin_group", raw_sha256="0" * 64,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A service whose bank says something else than its statements."""
    (tmp_path / "escrow-monitor.toml").write_text('[database]\nurl = "sqlite:///escrow.db"\n')
    database = Database(f"sqlite:///{tmp_path / 'escrow.db'}")
    database.upgrade()
    with database.write() as session:
        save_institutions(session, [Institution(uscc="91510300000000001X", name="松树", district="510300")], now=NOW)
        save_accounts(session, [ESCROW, RESERVE], now=NOW)
        record_statements(
            session,
            [
                statement(
                    ESCROW, MON, 0, entry(ESCROW, MON, 900_00, text="学费"), entry(ESCROW, MON, 300_00, text="误入"),
                    entry(ESCROW, MON, 50_00, text="甲"), entry(ESCROW, MON, 50_00, text="乙"),
                ),
                statement(
                    ESCROW, TUE, 1300_00, entry(ESCROW, TUE, -300_00, text="误入", reversal=True),
                    entry(ESCROW, TUE, -50_00, reversal=True), entry(ESCROW, TUE, -7_00, reversal=True),
                    entry(
                        ESCROW, TUE, -400_00, text="调拨", counterparty_account_sha256=account_digest("6217 0002")
                    ),
                ),
                statement(RESERVE, TUE, 0, entry(RESERVE, TUE, 400_00, bank_ref="B1", text="调拨")),
            ],
            source="test", raw_sha256="0" * 64, now=NOW,
        )
        record_pulls(
            session,
            [PullRecord(
                account_no=ESCROW.account_no, bank="north", started_at=NOW, finished_at=NOW, readings=(
                    reading(BalanceKind.BOOKED_CLOSING, 540_00, final=True),
                    reading(BalanceKind.BOOKED_INTRADAY, 600_00), reading(BalanceKind.HELD, 20_00),
                    reading(BalanceKind.AVAILABLE, 580_00),
                ),
            )],
            scheduled_at=NOW, now=NOW,
        )
    database.close()
    return tmp_path


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


def test_entries_are_marked_with_what_they_belong_to(folder: Path) -> None:
    rows = [line.split("\t") for line in english(folder, "accounts", "entries", "62170001").must(0).out.splitlines()]
    assert rows[0] == ["booked", "amount CNY", "reference", "text", "mark"]
    marks = {(row[1], row[3]): row[4] for row in rows[1:]}
    assert marks == {
        ("-300.00", "误入"): "reverses one of 2026-11-16",
        ("300.00", "误入"): "reversed on 2026-11-17",
        ("-50.00", ""): "reversal: several entries fit, none is linked",
        ("-7.00", ""): "reversal: of no entry we know",
        ("-400.00", "调拨"): "to own account 62170002, 2026-11-17",
        ("900.00", "学费"): "", ("50.00", "甲"): "", ("50.00", "乙"): "",
    }
    chinese = here("--lang", "zh", "accounts", "entries", "62170002", at=folder).must(0).out
    assert "来自本机构账户 62170001（2026-11-17）" in chinese


def test_entries_can_be_chosen_by_day_and_read_by_a_program(folder: Path) -> None:
    said = english(folder, "accounts", "entries", "62170002", "--from", TUE, "--to", TUE, "--json").must(0)
    assert json.loads(said.out) == [{
        "booked_on": "2026-11-17", "value_on": None, "amount": "400.00", "amount_fen": 400_00, "currency": "CNY",
        "bank_ref": "B1", "text": "调拨", "reversal": False, "reversal_unclear": False,
        "link": {
            "role": "transfer_from", "account_no": "62170001", "booked_on": "2026-11-17", "basis": "one_account",
        },
    }]
    assert json.loads(english(folder, "accounts", "entries", "62170002", "--to", MON, "--json").must(0).out) == []


def test_a_break_is_an_alert_until_bank_and_entries_agree(folder: Path) -> None:
    english(folder, "round", "check-balances").must(1)
    shown = english(folder, "alerts", "list", "--json").must(1).out
    [alert] = [one for one in json.loads(shown) if one["rule"] == "external_check"]
    assert (alert["severity"], alert["standing"]) == ("orange", "breached")
    database = Database(f"sqlite:///{folder / 'escrow.db'}")
    later = NOW + timedelta(hours=1)
    with database.write() as session:
        said = reading(BalanceKind.BOOKED_CLOSING, 543_00, final=True)._replace(fetched_at=later)
        pull = PullRecord(
            account_no=ESCROW.account_no, bank="north", started_at=later, finished_at=later, readings=(said,)
        )
        record_pulls(session, [pull], scheduled_at=later, now=later)
    database.close()
    english(folder, "round", "check-balances")
    listed = json.loads(english(folder, "alerts", "list", "--json").out)
    assert "external_check" not in {one["rule"] for one in listed}, "only what is open is listed"


def test_wrong_questions_are_refused_in_one_sentence(folder: Path) -> None:
    assert "is not known" in english(folder, "accounts", "entries", "1").must(2).err
    assert "is before" in english(folder, "accounts", "entries", "62170001", "--from", TUE, "--to", MON).must(2).err
    assert "is not a date" in english(folder, "accounts", "entries", "62170001", "--from", "soon").must(2).err


def test_booked_closing_held_and_available_are_shown_apart_and_the_break_is_said(folder: Path) -> None:
    said = english(folder, "accounts", "show", "62170001").must(0).out
    for line in (
        "booked   600.00 CNY (booked_intraday, 2026-11-20, not final, as of 2026-11-20T16:00:00+08:00)",
        "closing  540.00 CNY (booked_closing, 2026-11-17, final, as of 2026-11-17T23:59:59+08:00)",
        "held     20.00 CNY", "avail.   580.00 CNY",
        "2026-11-17 closed with 540.00 CNY says north, with 543.00 CNY by the entries: a difference of -3.00 CNY",
    ):
        assert line in said
    shown = json.loads(english(folder, "accounts", "show", "62170001", "--json").must(0).out)
    assert {name: balance["amount_fen"] for name, balance in shown["balances"].items()} == {
        "booked": 600_00, "closing": 540_00, "held": 20_00, "available": 580_00
    }
    assert shown["balances"]["closing"]["as_of"] == "2026-11-17T15:59:59+00:00"
    other = json.loads(english(folder, "accounts", "show", "62170002", "--json").must(0).out)
    assert other["balances"]["held"] is None, "never stated, which is not zero"
