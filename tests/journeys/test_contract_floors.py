"""From files to an alert: what families are owed, held against what the bank states, on one's own machine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from journey_command import Said, here

ACCOUNT = "6222021200019876543"
USCC = "91110000600037341L"
FILES = {
    "institutions": ("uscc,name,kind,district,status", f"{USCC},海口示例艺术学校,subject,460100,operating"),
    "accounts": (
        "account_no,uscc,bank,connector,purpose,mode,currency",
        f"{ACCOUNT},{USCC},icbc,statement_folder,escrow,custody,CNY",
    ),
    "contracts": (
        "contract_no,uscc,student_ref,course,signed_on,starts_on,ends_on,lessons_paid,fee",
        f"HT-1,{USCC},S-1,钢琴,2026-02-20,2026-03-01,2027-02-28,48,4800.00",
    ),
    "charges": ("charge_no,contract_no,paid_on,amount,channel", "JF-1,HT-1,2026-02-20,4800.00,培训贷"),
}
STATEMENT = f""":20:ST1
:25:{ACCOUNT}
:28C:1/1
:60F:C261119CNY3500,00
:62F:C261120CNY3500,00
-
"""
MONDAY, TUESDAY = "2026-11-23T10:00:00+08:00", "2026-11-24T10:00:00+08:00"


def imported(folder: Path, kind: str, *lines: str) -> None:
    (folder / f"{kind}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command(folder, "import", kind, folder / f"{kind}.csv").must(0)


def command(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


@pytest.fixture
def school(tmp_path: Path) -> Path:
    """A school that families paid 4,800.00, and whose account holds 3,500.00."""
    (tmp_path / "escrow-monitor.toml").write_text('[database]\nurl = "sqlite:///escrow.db"\n', encoding="utf-8")
    for kind, lines in FILES.items():
        imported(tmp_path, kind, *lines)
    (tmp_path / "statement.sta").write_text(STATEMENT, encoding="ascii")
    command(tmp_path, "statements", "load", tmp_path / "statement.sta").must(0)
    return tmp_path


def test_an_account_below_what_families_are_owed_is_red_until_the_lessons_are_taught(school: Path) -> None:
    command(school, "round", "check-balances", "--at", MONDAY).must(1)
    [alert] = command(school, "alerts", "list", "--json").json()
    assert (alert["rule"], alert["severity"]) == ("floor", "red")
    assert "4800.00 CNY: all that is paid for, not yet taught and not paid back, at the end of" in str(alert)

    rows = [f"HT-1,{number},{date(2026, 11, 21)},confirmed,2026-11-21,2026-11-22" for number in range(1, 21)]
    imported(school, "lessons", "contract_no,session_no,taught_on,status,requested_on,decided_on", *rows)
    [report] = command(school, "round", "check-balances", "--at", TUESDAY, "--json").must(0).json()
    assert report["counts"]["met"] == 1
    [account] = command(school, "policy", "effective", USCC, "--on", "2026-11-24", "--json").must(0).json()["accounts"]
    assert (account["floor"], account["governing"]) == ("2800.00", "cn-460000/full-liability")
    assert command(school, "alerts", "list", "--json").json() == []


def test_what_was_charged_beyond_a_cap_is_yellow_in_the_next_reconciliation(school: Path) -> None:
    command(school, "round", "reconcile", "--at", MONDAY)
    alerts = {alert["rule"]: alert for alert in command(school, "alerts", "list", "--json").json()}
    assert alerts["fee_cap"]["severity"] == "yellow"
    assert "no training loans" in str(alerts["fee_cap"])


def test_sums_are_made_anew_on_demand_and_a_difference_is_a_red_flag(school: Path) -> None:
    same = command(school, "contracts", "recompute").must(0)
    assert "all sums over 1 contracts made anew" in same.out
    assert "the same as were kept" in same.out
    with closing(sqlite3.connect(school / "escrow.db")) as database:
        database.execute("UPDATE institution_obligations SET obligation_fen = 1").close()
        database.execute("UPDATE contract_accounts SET obligation_fen = 1").close()
        database.commit()
    wrong = command(school, "contracts", "recompute").must(1)
    assert "contract_accounts: 1 rows were not as made anew, e.g. of HT-1" in wrong.err
    assert f"institution_obligations: 1 rows were not as made anew, e.g. of {USCC}" in wrong.err
    again = command(school, "contracts", "recompute", "--json").must(0).json()
    assert (again["contracts"], again["differs"]) == (1, [])
    assert command(school, "audit", "verify").must(0)


def test_without_a_contract_there_is_nothing_to_make_anew(tmp_path: Path) -> None:
    (tmp_path / "escrow-monitor.toml").write_text('[database]\nurl = "sqlite:///escrow.db"\n', encoding="utf-8")
    command(tmp_path, "db", "upgrade").must(0)
    assert command(tmp_path, "contracts", "recompute").must(0).out == "no contract is recorded\n"
