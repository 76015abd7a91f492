"""Staff reconcile on the command line: from files to a bridge, a break, a match by hand, and back."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from journey_command import Said, here

USCC, ACCOUNT = "91110000600037341L", "6222021200019876543"
BOOKED: Mapping[date, Sequence[tuple[str, str, str, str]]] = {
    date(2026, 11, 3): [("C", "4800,", "R1", "fee")],
    date(2026, 11, 4): [("C", "4790,", "", "tuition, card, net of charges")],
    date(2026, 11, 13): [("D", "150,", "OUT1", "release")],
    date(2026, 11, 20): [("C", "12,34", "INT", "INTEREST")],
}


def rows(path: Path, *given: Mapping[str, object]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in given for name in row)), restval="")
        writer.writeheader()
        writer.writerows(given)
    return path


def statements(path: Path) -> Path:
    """An MT940 file of every weekday."""
    fen, day, texts = 100_00, date(2026, 11, 2), []
    while day <= date(2026, 11, 20):
        if day.weekday() < 5:
            lines, opened = [], fen
            for mark, amount, ref, text in BOOKED.get(day, ()):
                whole, _, part = amount.partition(",")
                fen += (1 if mark == "C" else -1) * (int(whole) * 100 + int(part or 0))
                lines += [f":61:{day:%y%m%d}{day:%m%d}{mark}{amount}NTRF{ref or 'NONREF'}", f":86:{text}"]
            texts += [
                f":20:S{day:%m%d}", f":25:{ACCOUNT}", f":28C:{day:%j}/1", f":60F:C{day:%y%m%d}CNY{_comma(opened)}",
                *lines, f":62F:C{day:%y%m%d}CNY{_comma(fen)}", "-",
            ]
        day += timedelta(days=1)
    path.write_text("\n".join(texts) + "\n")
    return path


def _comma(fen: int) -> str:
    return f"{fen // 100},{fen % 100:02d}"


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A folder with everything loaded: two families, one charge that the bank credited net of its fee."""
    here("db", "upgrade", at=tmp_path).must(0)
    for kind, given in {
        "institutions": [{"uscc": USCC, "name": "启明", "district": "110108"}],
        "accounts": [{
            "account_no": ACCOUNT, "uscc": USCC, "bank": "icbc", "connector": "statement_folder", "purpose": "escrow",
            "mode": "custody", "currency": "CNY",
        }],
        "contracts": [
            {"contract_no": f"HT-{n}", "uscc": USCC, "student_ref": f"S-{n}", "course": "钢琴",
             "signed_on": "2026-11-02", "lessons_paid": 48, "fee": "4800.00"} for n in (1, 2)
        ],
        "charges": [
            {"charge_no": f"JF-{n}", "contract_no": f"HT-{n}", "paid_on": f"2026-11-0{n + 2}", "amount": "4800.00",
             "bank_ref": f"R{n}"} for n in (1, 2)
        ],
        "lessons": [
            {"contract_no": "HT-1", "session_no": n, "taught_on": "2026-11-10", "status": "confirmed",
             "decided_on": "2026-11-11"} for n in (1, 2)
        ],
    }.items():
        here("import", kind, rows(tmp_path / f"{kind}.csv", *given), at=tmp_path).must(0)
    here("statements", "load", statements(tmp_path / "all.sta"), at=tmp_path).must(0)
    return tmp_path


def english(folder: Path, *words: object) -> Said:
    return here("--lang", "en", *words, at=folder)


def bridge(folder: Path) -> str:
    return english(folder, "reconcile", "--day", "2026-11-20", "--institution", USCC).out


def test_a_person_reads_the_bridge_and_clears_up_what_it_shows(office: Path) -> None:
    said = english(office, "reconcile", "--day", "2026-11-20", "--institution", USCC).must(1)
    for sentence in (
        "9,400.00  required: what families are owed", "+50.00  earned by teaching", "-4,800.00  charges not received",
        "+4,790.00  credits that no charge explains", "+12.34  interest", "9,552.34  in the bank",
        "+152.34  net; left unexplained 0.00",
    ):
        assert sentence in said.out, said.out
    assert "charge:JF-2" in said.out

    [credit] = [
        row["item"] for row in english(office, "matches", "list", "--institution", USCC, "--json").must(0).json()
        if row["impact"] == "4,790.00"
    ]
    refused = english(office, "matches", "make", "--line", credit, "--item", "charge:JF-2", "--reason", " ")
    assert "needs a reason" in refused.refusal(2)
    made = english(
        office, "matches", "make", "--line", credit, "--item", "charge:JF-2", "--reason", "card fee kept back", "--by",
        "wang", "--json",
    ).must(0).json()
    assert made["residual"] == "-10.00"
    [mine] = [
        one for one in english(office, "matches", "list", "--institution", USCC, "--made", "--json").json()
        if one["made_by"] == "wang"
    ]
    assert mine["basis"] == "card fee kept back"
    after = bridge(office)
    assert "charges not received" not in after
    assert "-10.00  differences of amount within matches" in after

    english(office, "matches", "undo", "charge:JF-2", "--reason", "another family's").must(0)
    assert "charges not received" in bridge(office)


def test_one_contract_its_charges_and_where_they_were_seen(office: Path) -> None:
    said = english(office, "reconcile", "--contract", "HT-2", "--day", "2026-11-20").must(1)
    assert "contract HT-2" in said.out
    assert "JF-2: not seen in the bank" in said.out
    part = english(office, "reconcile", "--contract", "HT-1", "--day", "2026-11-20", "--json").json()["contract"]
    assert part["charges"][0]["by"] == "reference"


def test_the_json_carries_the_same_as_the_page_and_adds_up(office: Path) -> None:
    [run] = english(office, "reconcile", "--day", "2026-11-20", "--json").must(1).json()["reconciliations"]
    assert run["net_fen"] == sum(line["impact_fen"] for line in run["lines"]) + run["residual_fen"]
    assert run["net_fen"] == run["bank_fen"] - run["required_fen"]
    assert (run["residual_fen"], run["complete"]) == (0, True)
    zh = here("--lang", "zh", "reconcile", "--day", "2026-11-20", at=office).must(1).out
    for line in run["lines"]:
        assert line["zh"] in zh


@pytest.mark.parametrize(("words", "said"), [
    (("--institution", "91330100799655058B"), "institutions list"),
    (("--contract", "HT-9"), "contracts list"),
    (("--day", "2026-13-01"), "2026-11-20"),
    (("--day", "2999-01-01"), "still to come"),
])
def test_what_cannot_be_reconciled_is_one_plain_sentence(office: Path, words: tuple[str, ...], said: str) -> None:
    english(office, "reconcile", *words).refusal(2, said)
