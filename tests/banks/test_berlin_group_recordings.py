"""Recordings of Berlin Group answers: the good are read whole, the others are refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from bank_server import BankServer, Reply, Request

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import Account, BalanceKind
from escrow_monitor.domain.statements import RefusalReason

GOLDEN = Path(__file__).parent / "golden" / "berlin_group"
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
R = RefusalReason
ACCOUNT = Account(
    account_no="FR7612345987650123456789014", bank="bank", connector="berlin_group", currency="EUR",
    external_id="3dc3d5b3-7023-4848-9853-f5400a64e80f",
)

REFUSED = {
    "refused_401_consent_expired": R.CONSENT_EXPIRED, "refused_401_consent_invalid": R.CONSENT_EXPIRED,
    "refused_401_token_expired": R.UNAUTHORIZED, "refused_403_consent_unknown": R.FORBIDDEN,
    "refused_404_resource_unknown": R.NOT_FOUND, "refused_429_access_exceeded": R.RATE_LIMITED,
    "refused_400_format_error": R.UNEXPECTED_STATUS,
}
GARBAGE = {
    "garbage_amount_number": R.BAD_AMOUNT, "garbage_amount_exponent": R.BAD_AMOUNT,
    "garbage_amount_plus": R.BAD_AMOUNT, "garbage_amount_fifteen_digits": R.BAD_AMOUNT,
    "garbage_currency_other": R.WRONG_CURRENCY, "garbage_day_missing": R.MISSING_FIELD,
    "garbage_day_impossible": R.BAD_DATE, "garbage_day_of_tomorrow": R.DATED_IN_FUTURE,
    "garbage_account_other": R.WRONG_ACCOUNT, "garbage_account_unnamed": R.WRONG_ACCOUNT,
    "garbage_type_missing": R.MISSING_FIELD, "garbage_two_closings": R.CONTRADICTS,
    "garbage_no_balances": R.NO_BALANCE, "garbage_only_with_credit": R.NO_BALANCE,
}


def recording(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def pulled(
    balances: Reply, transactions: Reply | None = None, *, sign: Literal["signed", "by_party"] = "signed",
    batch: bool = False,
) -> PullOutcome:
    def handler(request: Request) -> Reply:
        return transactions if transactions is not None and "/transactions" in request.path else balances

    with BankServer(handler) as server:
        connector = BerlinGroup(
            "bank", BankHttp(base_url=server.url + "/psd2", retries=0), consent_id="consent-1234",
            zone=ZoneInfo("Europe/Paris"), clock=FixedClock(NOW), batch=batch, sign=sign,
        )
        try:
            since = None if transactions is None else date(2026, 11, 20)
            (outcome,) = connector.pull([PullRequest(account=ACCOUNT, statements_from=since)], now=NOW)
            return outcome
        finally:
            connector.close()


def test_every_recording_is_named_here() -> None:
    kept = {path.stem for path in GOLDEN.glob("*.json")}
    assert kept - {name for name in kept if name.startswith("good_")} == set(GARBAGE) | set(REFUSED)


def test_good_balances_are_read_whole() -> None:
    pull = pulled(Reply(body=recording("good_balances")))
    assert isinstance(pull, Pull), pull
    assert [(one.kind, one.amount.text, one.final) for one in pull.readings] == [
        (BalanceKind.BOOKED_CLOSING, "500.00", True), (BalanceKind.BOOKED_INTRADAY, "-12.34", False),
    ]


def test_a_list_may_hold_the_same_number_in_two_currencies() -> None:
    pull = pulled(Reply(body=recording("good_account_list")), batch=True)
    assert isinstance(pull, Pull), pull
    assert [one.amount.text for one in pull.readings] == ["500.00"]


@pytest.mark.parametrize(
    ("name", "sign"), [("good_transactions", "signed"), ("good_transactions_unsigned", "by_party")]
)
def test_both_ways_of_writing_a_debit_are_one_statement(name: str, sign: Literal["signed", "by_party"]) -> None:
    pull = pulled(Reply(body=recording("good_balances")), Reply(body=recording(name)), sign=sign)
    assert isinstance(pull, Pull)
    assert pull.refusals == ()
    (statement,) = pull.statements
    assert statement.final
    assert [entry.amount.text for entry in statement.entries] == ["-256.67", "343.01"]


def test_the_wrong_sign_for_a_bank_is_found_out_by_the_sum() -> None:
    balances, unsigned = Reply(body=recording("good_balances")), Reply(body=recording("good_transactions_unsigned"))
    pull = pulled(balances, unsigned, sign="signed")
    assert isinstance(pull, Pull)
    assert (pull.statements, pull.refusals[0].reason) == ((), R.DOES_NOT_TIE)


@pytest.mark.parametrize("name", REFUSED)
def test_the_banks_own_message_code_gives_the_reason(name: str) -> None:
    outcome = pulled(Reply(status=int(name.split("_")[1]), body=recording(name)))
    assert isinstance(outcome, PullRefused)
    assert outcome.refusal.reason is REFUSED[name]
    assert "ASPSP" not in str(outcome.refusal), "banks echo what they were sent"


@pytest.mark.parametrize("name", GARBAGE)
def test_a_recording_that_cannot_be_believed_is_refused_and_kept(name: str) -> None:
    outcome = pulled(Reply(body=recording(name)))
    assert isinstance(outcome, PullRefused), outcome
    assert outcome.refusal.reason is GARBAGE[name]
    assert outcome.raw[0].content == recording(name)
