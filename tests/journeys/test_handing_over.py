"""An institution has closed its doors: what is recorded of it is handed over, and the month is returned."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.journeys.journey_command import here, run

pytestmark = pytest.mark.slow

USCC = "91510302MA0000007E"
FILES = {
    "institutions": f"uscc,name,kind,district,status\n{USCC},晨光艺术,subject,510302,closed\n",
    "accounts": f"account_no,uscc,bank,connector,purpose,mode,currency,opened_on\n"
                f"62170001,{USCC},icbc,statement_folder,escrow,custody,CNY,2026-01-05\n",
    "contracts": f"contract_no,uscc,student_ref,course,signed_on,starts_on,lessons_paid,lessons_gift,fee\n"
                 f"HT-1,{USCC},S-1,钢琴,2026-08-20,2026-09-01,48,0,4800.00\n",
    "charges": "charge_no,contract_no,paid_on,amount\nJ-1,HT-1,2026-08-20,4800.00\n",
    "lessons": "contract_no,session_no,taught_on,status,decided_on\nHT-1,1,2026-09-02,confirmed,2026-09-02\n",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    here("db", "upgrade", at=tmp_path).must(0)
    for kind, text in FILES.items():
        (tmp_path / f"{kind}.csv").write_text(text, "utf-8")
        here("import", kind, f"{kind}.csv", at=tmp_path).must(0)
    return tmp_path


def test_the_pack_of_a_closed_institution_is_taken_checked_and_on_record(house: Path) -> None:
    told = run("pack", "export", USCC, "--out", "pack.zip", "--lang", "zh", "--json", at=house).must(0).json()
    file = house / "pack.zip"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (told["sha256"], told["size"]) == (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size)
    assert told["reconciles"] is True
    with zipfile.ZipFile(file) as archive:
        archive.extractall(house / "taken")
    folder = house / "taken" / f"pack-{USCC}"
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
    [contract] = csv.DictReader(io.StringIO((folder / "contracts.csv").read_text("utf-8-sig")))
    assert (contract["owed"], contract["student_ref"]) == ("4700.00", "S-1")
    assert "4,700.00" in (folder / "summary.html").read_text("utf-8")
    assert sorted(path.name for path in house.glob(".*.part")) == []

    here("pack", "export", USCC, "--out", "pack.zip", at=house).refusal(2, "nothing is written over")
    here("pack", "export", "91NOBODY", at=house).refusal(2, "is not known")
    here("pack", "export", USCC, "--lang", "fr", at=house).refusal(2, "zh or en")
    again = here("pack", "export", USCC, at=house).must(0)
    assert again.out.startswith(f"pack-{USCC}-")
    exported = run("audit", "export", "-", at=house)
    assert exported.out.count("pack.exported") == 2
    assert told["sha256"] in exported.out
    here("audit", "verify", at=house).must(0)


def test_a_pack_whose_sums_differ_ends_with_one(house: Path) -> None:
    script = "import sqlite3; c = sqlite3.connect('escrow-monitor.db'); " \
             "c.execute('UPDATE institution_obligations SET obligation_fen = 1'); c.commit()"
    [database] = house.glob("*.db")
    subprocess.run([sys.executable, "-c", script.replace("escrow-monitor.db", database.name)], cwd=house, check=True)
    said = here("pack", "export", USCC, "--out", "pack.zip", at=house).must(1)
    assert "4,699.99 CNY is left over" in said.err


def test_the_month_is_returned_and_says_that_nothing_is_known(house: Path) -> None:
    said = run("--lang", "en", "return", "export", "--month", "2026-03", "--out", "r.csv", at=house).must(1)
    assert "0 days met, 0 short, 31 unknown" in said.out
    assert "Incomplete: 1 account has 31 days of which no balance is known" in said.out
    table = list(csv.DictReader(io.StringIO((house / "r.csv").read_text("utf-8-sig"))))
    assert [row["level"] for row in table if row["level"] != "about"] == ["all", "district", "institution", "account"]
    here("return", "export", "--month", "2026-03", "--out", "r.xlsx", at=house).must(1)
    assert zipfile.ZipFile(house / "r.xlsx").testzip() is None
    piped = run("return", "export", "--month", "2026-03", "--district", "5103", "--json", at=house).must(1)
    assert json.loads(piped.out)["rows"][0]["days_balance_unknown"] == 31
    here("return", "export", "--month", "2026-3", at=house).refusal(2, "is not a month")
    here("return", "export", "--month", "2026-03", "--district", "x", at=house).refusal(2, "is not a district")
    here("return", "export", "--month", "2026-03", "--format", "pdf", at=house).refusal(2, "csv, xlsx")
    here("return", "export", "--month", "2999-01", at=house).refusal(2, "has not begun")
