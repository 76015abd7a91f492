"""Statement files of real banks and other readers' tests: each loads with its sums tied, or is refused with its reason.

The files are not part of the project. They are looked for in ESCROW_MONITOR_BANK_SAMPLES or beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

import mt940
import pytest

from escrow_monitor.banks.formats import FileRefused, StatementFile, read_statements
from escrow_monitor.domain.statements import RefusalReason, StatementKind, check_ties

SAMPLES = Path(
    os.environ.get("ESCROW_MONITOR_BANK_SAMPLES", Path(__file__).parents[3] / "shared" / "bank-samples")
)
ZONE = ZoneInfo("Europe/Berlin")
R = RefusalReason

# What the file is expected to do ("either": reasonable people differ), and what it does here:
# (accounts, statements, entries), or the reason and the line of its first refusal.
OUTCOMES: dict[str, tuple[str, tuple[int, int, int] | tuple[RefusalReason, str]]] = {
    "camt/genkgo__camt052.v2.xml": ("either", (1, 1, 1)),
    "camt/genkgo__camt052.v6.Amt-zero.xml": ("either", (1, 1, 0)),
    "camt/genkgo__camt052.v8.xml": ("either", (1, 1, 1)),
    "camt/genkgo__camt053.v2.all-balance-types.xml": ("refuse", (R.DOES_NOT_TIE, ": Stmt[1]")),
    "camt/genkgo__camt053.v2.minimal.xml": ("refuse", (R.WRONG_CURRENCY, ": Stmt[1]")),
    "camt/genkgo__camt053.v2.multi.statement.xml": ("either", (R.CONTRADICTS, ": Stmt[2]")),
    "camt/genkgo__camt053.v2.wrong.xml": ("refuse", (R.EMPTY, "")),
    "camt/genkgo__camt053.v4.xml": ("refuse", (R.WRONG_CURRENCY, ": Stmt[1]")),
    "camt/genkgo__camt054.v2.xml": ("either", (1, 1, 1)),
    "camt/genkgo__camt054.v8.xml": ("either", (1, 1, 1)),
    "mt940/betterplace__amount_formats.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/betterplace__currency_in_25.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/betterplace__empty_86.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/betterplace__empty_entry_date.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/betterplace__empty_line.sta": ("refuse", (R.MISSING_FIELD, ":2")),
    "mt940/betterplace__missing_crlf_at_end.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/betterplace__sepa_mt9401.sta": ("load", (20, 20, 97)),
    "mt940/betterplace__sepa_snippet.sta": ("refuse", (R.DOES_NOT_TIE, ":55")),
    "mt940/betterplace__sepa_snippet_broken.sta": ("refuse", (R.MALFORMED, ":7")),
    "mt940/betterplace__with_binary_character.sta": ("load", (2, 2, 4)),
    "mt940/cmxl__account_balance_credit.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__account_balance_debit.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__account_identification_iban.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__account_identification_legacy.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__available_balance.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__closing_balance.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__mt940.sta": ("either", (R.BAD_DATE, ":49")),
    "mt940/cmxl__reference.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__statement_details.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__statement_line.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/cmxl__statement_number.sta": ("refuse", (R.MISSING_FIELD, ":1")),
    "mt940/jejik__abnamro.sta": ("refuse", (R.DOES_NOT_TIE, ":27")),
    "mt940/jejik__generic.sta": ("load", (1, 2, 2)),
    "mt940/jejik__ing.sta": ("refuse", (R.DOES_NOT_TIE, ":26")),
    "mt940/jejik__knab.sta": ("refuse", (R.BAD_AMOUNT, ":17")),
    "mt940/jejik__postfinance.sta": ("refuse", (R.DOES_NOT_TIE, ":27")),
    "mt940/jejik__rabobank-iban.sta": ("load", (1, 2, 4)),
    "mt940/jejik__rabobank.sta": ("refuse", (R.DOES_NOT_TIE, ":11")),
    "mt940/jejik__sns.sta": ("load", (1, 2, 2)),
    "mt940/jejik__triodos.sta": ("refuse", (R.DOES_NOT_TIE, ":12")),
}

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the bank samples are not at {SAMPLES}")


def test_every_sample_has_its_place_in_the_table() -> None:
    assert {str(path.relative_to(SAMPLES)) for path in SAMPLES.glob("*/*")} == set(OUTCOMES)


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_sample_does_what_the_table_says(name: str) -> None:
    expected, outcome = OUTCOMES[name]
    path = SAMPLES / name
    answer = read_statements(path.read_bytes(), filename=path.name, zone=ZONE)
    if isinstance(answer, StatementFile):
        assert expected in ("load", "either")
        accounts = {statement.account_no for statement in answer.statements}
        entries = sum(len(statement.entries) for statement in answer.statements)
        assert (len(accounts), len(answer.statements), entries) == outcome
        assert all(check_ties(statement) is None for statement in answer.statements)
    else:
        assert expected in ("refuse", "either")
        first = answer.refusals[0]
        assert (first.reason, first.where) == (outcome[0], f"{path.name}{outcome[1]}")
        assert first.detail


@pytest.mark.parametrize("name", [name for name in OUTCOMES if name.startswith("camt/")])
def test_a_report_or_notice_never_covers_a_day(name: str) -> None:
    answer = read_statements((SAMPLES / name).read_bytes(), filename=name, zone=ZONE)
    if isinstance(answer, FileRefused):
        return
    for statement in answer.statements:
        assert statement.kind is not StatementKind.END_OF_DAY
        assert not statement.final
        assert (statement.covers_from, statement.closing) == (None, None)


@pytest.mark.parametrize("name", [name for name, (expected, _) in OUTCOMES.items() if expected == "load"])
def test_an_independent_reader_sees_the_same_entries(name: str) -> None:
    answer = read_statements((SAMPLES / name).read_bytes(), filename=name, zone=ZONE)
    assert isinstance(answer, StatementFile)
    ours = [entry.amount.minor_units for statement in answer.statements for entry in statement.entries]
    theirs = [
        int(transaction.data["amount"].amount * 100)
        for message in _messages((SAMPLES / name).read_bytes().decode())
        for transaction in mt940.parse(message)
        if "amount" in transaction.data
    ]
    assert sorted(map(abs, ours)) == sorted(map(abs, theirs))


def _messages(text: str) -> list[str]:
    """The other reader keeps one account a call."""
    pieces = text.replace("\r\n", "\n").split(":20:")
    return [f":20:{piece}" for piece in pieces[1:]]
