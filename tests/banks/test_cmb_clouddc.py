"""CloudDC over real loopback HTTP, sealed as the bank seals: balances, day balances and entries, or why not.

The recordings in golden/cmb_clouddc are answers as they stand inside the envelope; REQID stands for our own id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
from bank_server import BankServer, Reply, Request

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.connectors.cmb_clouddc import CmbCloudDc, request_id
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.banks.making import make_connector
from escrow_monitor.banks.sm_envelope import Envelope, public_key_of
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import RefusalReason, account_digest
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings import Settings, load_settings

GOLDEN = Path(__file__).parent / "golden" / "cmb_clouddc"
NOW = datetime(2026, 11, 22, 4, 7, 57, 654_321, tzinfo=UTC)  # 12:07 in Shanghai
ZONE = ZoneInfo("Asia/Shanghai")
R = RefusalReason
USER = "N003261207"
OURS, THEIRS, KEY = bytes.fromhex("39" * 32), bytes.fromhex("11" * 32), b"sixteen-letters!"
US = Envelope(user_id=USER, private_key=OURS, their_public_key=public_key_of(THEIRS), key=KEY)
THEM = Envelope(user_id=USER, private_key=THEIRS, their_public_key=public_key_of(OURS), key=KEY)
NUMBER, OTHER = "769900000010370", "769900000010371"
ACCOUNT = Account(account_no=NUMBER, bank="cmb", connector="cmb_clouddc", currency="CNY")
ACCOUNTS = (ACCOUNT, replace(ACCOUNT, account_no=OTHER))
SINCE = date(2026, 11, 19)
Json = dict[str, Any]


def golden(name: str) -> Json:
    document: Json = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return document


@dataclass
class Bank:
    """The bank's side: `answers` by function, each used in turn and the last one again; `asked` is what it was sent."""

    answers: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[Json] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    sealed_by: Envelope = THEM
    signed_at: str = "20261122120757"

    def answer(self, request: Request) -> Reply:
        assert (request.method, request.path) == ("POST", "/cdcserver/api/v2")
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        _, document = THEM.open(form["DATA"].encode())
        self.forms.append(form)
        self.asked.append(document)
        asked: Json = document["request"]  # type: ignore[assignment]
        turns = self.answers[asked["head"]["funcode"]]
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        if isinstance(found, Reply):
            return found
        text = json.dumps(found, ensure_ascii=False).replace("REQID", asked["head"]["reqid"])
        return Reply(body=self.sealed_by.seal(json.loads(text), signed_at=self.signed_at))

    def bodies(self, funcode: str) -> list[Json]:
        return [one["request"]["body"] for one in self.asked if one["request"]["head"]["funcode"] == funcode]


@pytest.fixture
def pulled() -> Callable[..., list[PullOutcome]]:
    def pull(
        bank: Bank, *accounts: Account, since: date | None = None, clock: object = None, **http: object
    ) -> list[PullOutcome]:
        with BankServer(bank.answer) as server:
            quick = BankHttp(base_url=server.url + "/cdcserver/api/v2", timeout_seconds=2, retries=0)
            connector = CmbCloudDc(
                "cmb", replace(quick, **http), user_id=USER, envelope=US, zone=ZONE, branch="69",  # type: ignore[arg-type]
                clock=clock or FixedClock(NOW),  # type: ignore[arg-type]
            )
            try:
                requests = [PullRequest(account=one, statements_from=since) for one in accounts or (ACCOUNT,)]
                return list(connector.pull(requests, now=NOW))
            finally:
                connector.close()

    return pull


def bank_of(**answers: object) -> Bank:
    """A bank with recordings by name or documents, one or several a function."""
    names = {"balances": "NTQADINF", "days": "NTQABINF", "entries": "trsQryByBreakPoint"}
    turns = {names[name]: said if isinstance(said, list) else [said] for name, said in answers.items()}
    return Bank({
        name: [golden(one) if isinstance(one, str) else one for one in said] for name, said in turns.items()
    })


def whole_bank(**changed: object) -> Bank:
    return bank_of(**{
        "balances": "balances_good", "days": "day_balances", "entries": ["entries_page_1", "entries_page_2"], **changed
    })


def changed(name: str, collection: str, place: int, /, **fields: object) -> Json:
    """A recording with fields of one row changed; None takes a field away."""
    document = golden(name)
    row = document["response"]["body"][collection][place]
    row.update(fields)
    document["response"]["body"][collection][place] = {key: value for key, value in row.items() if value is not None}
    return document


def refusal_of(outcomes: list[PullOutcome]) -> tuple[RefusalReason, str | None]:
    (outcome,) = outcomes
    assert isinstance(outcome, PullRefused), outcome
    return outcome.refusal.reason, outcome.refusal.field


# balances


def test_running_held_and_available_balances_are_told_apart(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = bank_of(balances="balances_good")
    first, second = pulled(bank, *ACCOUNTS)
    assert isinstance(first, Pull)
    assert isinstance(second, Pull)
    assert {one.kind: one.amount for one in first.readings} == {
        BalanceKind.BOOKED_INTRADAY: Money(120_000_50, "CNY"), BalanceKind.HELD: Money(300_25, "CNY"),
        BalanceKind.AVAILABLE: Money(119_700_25, "CNY"),
    }
    assert {(one.on, one.as_of, one.final, one.source) for one in first.readings} == {
        (date(2026, 11, 22), NOW, False, "cmb_clouddc")
    }
    # An overdraft line makes the available balance nobody's money; accblv (virtual here) is never read.
    assert {one.kind: one.amount for one in second.readings} == {
        BalanceKind.BOOKED_INTRADAY: Money(-5_00, "CNY"), BalanceKind.HELD: Money(0, "CNY"),
    }
    assert (first.account_status, second.account_status) == (AccountStatus.ACTIVE, AccountStatus.FROZEN)
    assert first.raw == second.raw
    assert first.readings[0].raw_sha256 == first.raw[0].sha256
    kept = json.loads(first.raw[0].content)
    assert kept["response"]["body"] == golden("balances_good")["response"]["body"]
    assert kept["signature"]["sigdat"]


def test_the_question_is_as_the_bank_wants_it(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = bank_of(balances="balances_good")
    pulled(bank, ACCOUNT, replace(ACCOUNTS[1], external_id="12:769900000010371"))
    (form,), (asked,) = bank.forms, bank.asked
    assert {name: form[name] for name in ("UID", "FUNCODE", "ALG")} == {
        "UID": USER, "FUNCODE": "NTQADINF", "ALG": "SM"
    }
    assert asked["request"]["body"] == {"ntqadinfx": [
        {"accnbr": NUMBER, "ccynbr": "10", "bbknbr": "69"}, {"accnbr": OTHER, "ccynbr": "10", "bbknbr": "12"},
    ]}
    head = asked["request"]["head"]
    assert (head["funcode"], head["userid"]) == ("NTQADINF", USER)
    assert re.fullmatch(r"20261122120757654[0-9a-f]{16}", head["reqid"])
    assert asked["signature"]["sigtim"] == "20261122120757"


def test_thirty_accounts_are_asked_for_at_a_time(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = bank_of(balances="balances_good")
    accounts = [replace(ACCOUNT, account_no=f"7699000000{number:05d}") for number in range(61)]
    outcomes = pulled(bank, *accounts)
    assert sorted(len(one["ntqadinfx"]) for one in bank.bodies("NTQADINF")) == [1, 30, 30]
    assert len(outcomes) == 61


def test_one_bad_account_does_not_hold_up_the_others(pulled: Callable[..., list[PullOutcome]]) -> None:
    first, second = pulled(bank_of(balances="balances_row_errors"), *ACCOUNTS)
    assert isinstance(first, Pull)
    assert isinstance(second, PullRefused)
    assert (second.refusal.reason, second.refusal.field) == (R.FORBIDDEN, "errcod")
    assert "NTE0101" in second.refusal.detail
    assert OTHER not in str(second.refusal)
    assert "无权限" not in str(second.refusal)
    assert second.raw


def test_success_outside_is_only_acceptance(pulled: Callable[..., list[PullOutcome]]) -> None:
    for outcome in pulled(bank_of(balances="balances_not_accepted"), *ACCOUNTS):
        assert isinstance(outcome, PullRefused)
        assert (outcome.refusal.reason, outcome.refusal.field) == (R.UNEXPECTED_STATUS, "resultcode")
        assert "CDC1001" in outcome.refusal.detail
        assert USER not in str(outcome.refusal)


def test_amounts_that_are_none_are_refused(pulled: Callable[..., list[PullOutcome]]) -> None:
    for outcome in pulled(bank_of(balances="balances_garbage"), *ACCOUNTS):
        assert isinstance(outcome, PullRefused)
        assert (outcome.refusal.reason, outcome.refusal.field) == (R.BAD_AMOUNT, "onlblv")


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"onlblv": "  "}, R.MISSING_FIELD, "onlblv"), ({"onlblv": None}, R.MISSING_FIELD, "onlblv"),
        ({"onlblv": "+5.00"}, R.BAD_AMOUNT, "onlblv"), ({"onlblv": "5.001"}, R.BAD_AMOUNT, "onlblv"),
        ({"onlblv": "NaN"}, R.BAD_AMOUNT, "onlblv"), ({"onlblv": "1,000.00"}, R.BAD_AMOUNT, "onlblv"),
        ({"hldblv": "-1.00"}, R.BAD_AMOUNT, "hldblv"), ({"hldblv": 1}, R.BAD_AMOUNT, "hldblv"),
        ({"lmtovr": 0}, R.BAD_AMOUNT, "lmtovr"), ({"avlblv": "x"}, R.BAD_AMOUNT, "avlblv"),
        ({"ccynbr": "32"}, R.WRONG_CURRENCY, "ccynbr"), ({"ccynbr": "7Q"}, R.WRONG_CURRENCY, "ccynbr"),
        ({"ccynbr": None}, R.MISSING_FIELD, "ccynbr"), ({"errcod": " "}, R.MISSING_FIELD, "errcod"),
        ({"accnbr": None}, R.MISSING_FIELD, "accnbr"), ({"accnbr": OTHER + "9"}, R.WRONG_ACCOUNT, "accnbr"),
    ],
)
def test_a_row_that_cannot_be_believed_leaves_no_reading(
    pulled: Callable[..., list[PullOutcome]], fields: Json, reason: RefusalReason, field: str
) -> None:
    document = changed("balances_good", "ntqadinfz", 0, **fields)
    del document["response"]["body"]["ntqadinfz"][1]
    assert refusal_of(pulled(bank_of(balances=document))) == (reason, field)


@pytest.mark.parametrize("fields", [{"hldblv": None, "lmtovr": None}, {"hldblv": " ", "lmtovr": " "}])
def test_what_the_bank_does_not_say_stays_unknown(pulled: Callable[..., list[PullOutcome]], fields: Json) -> None:
    (outcome,) = pulled(bank_of(balances=changed("balances_good", "ntqadinfz", 0, stscod="Q", **fields)))
    assert isinstance(outcome, Pull)
    assert [one.kind for one in outcome.readings] == [BalanceKind.BOOKED_INTRADAY]
    assert outcome.account_status is AccountStatus.UNKNOWN


def test_an_account_that_the_answer_leaves_out_is_not_found(pulled: Callable[..., list[PullOutcome]]) -> None:
    document = golden("balances_good")
    del document["response"]["body"]["ntqadinfz"][1]
    first, second = pulled(bank_of(balances=document), *ACCOUNTS)
    assert isinstance(first, Pull)
    assert refusal_of([second]) == (R.NOT_FOUND, "ntqadinfz")


def test_an_account_named_twice_must_say_the_same_twice(pulled: Callable[..., list[PullOutcome]]) -> None:
    document = golden("balances_good")
    rows = document["response"]["body"]["ntqadinfz"]
    rows[1] = {**rows[0], "ccynbr": "32", "onlblv": "7.00"}
    rows.append(dict(rows[0]))
    (outcome,) = pulled(bank_of(balances=document))
    assert isinstance(outcome, Pull)
    rows[2]["onlblv"] = "120000.51"
    assert refusal_of(pulled(bank_of(balances=document))) == (R.CONTRADICTS, "ntqadinfz")


def test_an_account_in_a_currency_whose_number_is_not_known_is_not_asked_for(
    pulled: Callable[..., list[PullOutcome]],
) -> None:
    bank = bank_of(balances="balances_good")
    dollars, yuan = pulled(bank, replace(ACCOUNT, currency="USD"), ACCOUNTS[1])
    assert refusal_of([dollars]) == (R.WRONG_CURRENCY, "ccynbr")
    assert isinstance(yuan, Pull)
    assert refusal_of(pulled(Bank(), replace(ACCOUNT, currency="USD"))) == (R.WRONG_CURRENCY, "ccynbr")


# the envelope


def test_an_answer_that_the_bank_did_not_sign_is_refused(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = bank_of(balances="balances_good")
    bank.sealed_by = Envelope(
        user_id=USER, private_key=bytes.fromhex("22" * 32), their_public_key=public_key_of(OURS), key=KEY
    )
    outcomes = pulled(bank)
    assert refusal_of(outcomes) == (R.BAD_SIGNATURE, None)
    assert isinstance(outcomes[0], PullRefused)
    assert outcomes[0].raw


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body=b"CDCServer:ErrMsg:IP 10.1.2.3 of N003261207"), R.FORBIDDEN), (Reply(body=b""), R.MALFORMED),
        (Reply(body=b"<html>"), R.MALFORMED), (Reply(body={"response": {}}), R.MALFORMED),
        (Reply(body=b"QUJDREVGR0hJSktMTU5PUA=="), R.BAD_SIGNATURE), (Reply(status=500), R.SERVER_ERROR),
    ],
)
def test_what_is_not_sealed_is_never_read(
    pulled: Callable[..., list[PullOutcome]], reply: Reply, reason: RefusalReason
) -> None:
    (outcome,) = pulled(bank_of(balances=[reply]))
    assert isinstance(outcome, PullRefused)
    assert outcome.refusal.reason is reason
    assert "10.1.2.3" not in str(outcome.refusal)
    assert USER not in str(outcome.refusal)


@pytest.mark.parametrize(
    ("signed_at", "reason"),
    [("20261122140757", R.DATED_IN_FUTURE), ("20261122110700", R.BAD_SIGNATURE), ("20261121120757", R.BAD_SIGNATURE)],
)
def test_an_answer_of_another_hour_is_refused(
    pulled: Callable[..., list[PullOutcome]], signed_at: str, reason: RefusalReason
) -> None:
    bank = bank_of(balances="balances_good")
    bank.signed_at = signed_at
    assert refusal_of(pulled(bank)) == (reason, "sigtim")


@pytest.mark.parametrize("head", [{"reqid": "20261122120757000AAAA"}, {"funcode": "NTQABINF"}])
def test_an_answer_to_another_question_is_refused(pulled: Callable[..., list[PullOutcome]], head: Json) -> None:
    document = golden("balances_good")
    document["response"]["head"].update(head)
    assert refusal_of(pulled(bank_of(balances=document))) == (R.BAD_SIGNATURE, "head")


@pytest.mark.parametrize(
    "broken",
    [{"response": []}, {"response": {"head": {}}}, {}, {"response": {"head": {"resultcode": "SUC0000"}}},
     {"response": {"head": {"resultcode": "SUC0000"}, "body": {"ntqadinfz": {}}}},
     {"response": {"head": {"resultcode": "SUC0000"}, "body": {"ntqadinfz": [7]}}}],
)
def test_a_document_of_another_shape_is_refused(pulled: Callable[..., list[PullOutcome]], broken: Json) -> None:
    reason, _ = refusal_of(pulled(bank_of(balances=broken)))
    assert reason in (R.MALFORMED, R.MISSING_FIELD)


def test_every_attempt_has_an_id_of_its_own(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = bank_of(balances=[Reply(status=503), Reply(status=503), golden("balances_good")])
    (outcome,) = pulled(bank, retries=2)
    assert isinstance(outcome, Pull)
    assert len({one["request"]["head"]["reqid"] for one in bank.asked}) == 3
    assert len({request_id(NOW) for _ in range(1000)}) == 1000


@dataclass
class RunningClock:
    """Moves on by a step each time it is read."""

    at: datetime
    step: timedelta

    def now(self) -> datetime:
        self.at += self.step
        return self.at


def test_nothing_is_asked_on_the_hour(pulled: Callable[..., list[PullOutcome]]) -> None:
    """At 11:59:30 for noon: the question waits until the minute is over."""
    bank = bank_of(balances="balances_good")
    begun = datetime(2026, 11, 22, 3, 59, 30, tzinfo=UTC)
    bank.signed_at = "20261122120130"
    (outcome,) = pulled(bank, clock=RunningClock(begun, timedelta(seconds=30)), quiet_minutes=(0, 30), zone=ZONE)
    assert isinstance(outcome, Pull)
    assert bank.asked[0]["signature"]["sigtim"] >= "20261122120100"


# days and entries


def test_closed_days_become_a_statement_that_ties(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = whole_bank()
    (outcome,) = pulled(bank, since=SINCE)
    assert isinstance(outcome, Pull)
    assert outcome.refusals == ()
    (statement,) = outcome.statements
    assert statement.final
    assert (statement.opening, statement.closing) == (Money(1000_00, "CNY"), Money(1160_00, "CNY"))
    assert (statement.covers_from, statement.covers_to) == (SINCE, date(2026, 11, 21))
    assert [(f"{one.booked_on:%d}", one.amount.text, one.text, one.reversal) for one in statement.entries] == [
        ("19", "800.00", "学费", False), ("19", "-300.00", "批量代付业务报文", False),
        ("21", "300.00", "冲正批量代付", True), ("21", "-300.00", "补记批量代付", False),
        ("21", "-340.00", "房租", False),
    ]
    first = statement.entries[0]
    assert (first.bank_ref, first.value_on) == ("C09468U00012KWZ", SINCE)
    assert first.counterparty_account_sha256 == account_digest("6222000012345678")
    assert "张三" not in repr(outcome.statements)
    finals = [one for one in outcome.readings if one.final]
    assert [(f"{one.on:%d}", one.amount.text) for one in finals] == [
        ("19", "1500.00"), ("20", "1500.00"), ("21", "1160.00")
    ]
    assert {one.kind for one in finals} == {BalanceKind.BOOKED_CLOSING}
    assert len(outcome.raw) == 4


def test_the_cursor_is_handed_back_as_it_came(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = whole_bank()
    pulled(bank, since=SINCE)
    assert bank.bodies("NTQABINF") == [{"ntqabinfy": [
        {"accnbr": NUMBER, "bbknbr": "69", "ccynbr": "10", "bgndat": "20261118", "enddat": "20261121"}
    ]}]
    first, second = bank.bodies("trsQryByBreakPoint")
    assert first == {"TRANSQUERYBYBREAKPOINT_X1": [{
        "cardNbr": NUMBER, "beginDate": "20261119", "endDate": "20261121", "transactionSequence": "1",
        "currencyCode": "10",
    }]}
    assert second["TRANSQUERYBYBREAKPOINT_X1"][0]["queryAcctNbr"] == "755947919880029"
    recorded = golden("entries_page_1")["response"]["body"]["TRANSQUERYBYBREAKPOINT_Y1"]
    assert second["TRANSQUERYBYBREAKPOINT_Y1"] == recorded


def test_rows_may_come_newest_first(pulled: Callable[..., list[PullOutcome]]) -> None:
    page = golden("entries_page_2")
    rows = page["response"]["body"]["TRANSQUERYBYBREAKPOINT_Z2"]
    rows[:0] = golden("entries_page_1")["response"]["body"]["TRANSQUERYBYBREAKPOINT_Z2"][:1]
    rows.reverse()
    (outcome,) = pulled(whole_bank(entries=page), since=SINCE)
    assert isinstance(outcome, Pull)
    assert [one.amount.text for one in outcome.statements[0].entries][:2] == ["800.00", "-300.00"]
    rows[0], rows[1] = rows[1], rows[0]
    (outcome,) = pulled(whole_bank(entries=page), since=SINCE)
    assert isinstance(outcome, Pull)
    assert [(one.reason, one.field) for one in outcome.refusals] == [(R.DOES_NOT_TIE, "acctOnlineBal")]


def test_without_running_balances_the_days_must_tie(pulled: Callable[..., list[PullOutcome]]) -> None:
    pages = [golden("entries_page_1"), golden("entries_page_2")]
    for page in pages:
        for row in page["response"]["body"]["TRANSQUERYBYBREAKPOINT_Z2"]:
            row["acctOnlineBal"] = " "
    (outcome,) = pulled(whole_bank(entries=list(pages)), since=SINCE)
    assert isinstance(outcome, Pull)
    assert len(outcome.statements[0].entries) == 5
    pages[1]["response"]["body"]["TRANSQUERYBYBREAKPOINT_Z2"][1]["transDate"] = "20261120"
    (outcome,) = pulled(whole_bank(entries=list(pages)), since=SINCE)
    assert isinstance(outcome, Pull)
    assert [(one.reason, one.field) for one in outcome.refusals] == [(R.DOES_NOT_TIE, "2026-11-20")]


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"transAmount": "-800.00"}, R.BAD_AMOUNT, "transAmount"), ({"transAmount": 800}, R.BAD_AMOUNT, "transAmount"),
        ({"transAmount": None}, R.MISSING_FIELD, "transAmount"), ({"loanCode": "D"}, R.DOES_NOT_TIE, "acctOnlineBal"),
        ({"loanCode": None}, R.MISSING_FIELD, "loanCode"), ({"loanCode": "E"}, R.MALFORMED, "loanCode"),
        ({"transAmount": "801.00"}, R.DOES_NOT_TIE, "acctOnlineBal"),
        ({"acctOnlineBal": "1801.00"}, R.DOES_NOT_TIE, "acctOnlineBal"),
        ({"transDate": "20261123"}, R.DATED_IN_FUTURE, "transDate"),
        ({"transDate": "20261122"}, R.BAD_DATE, "transDate"),
        ({"transDate": "20261118"}, R.BAD_DATE, "transDate"), ({"transDate": "20261131"}, R.BAD_DATE, "transDate"),
        ({"valueDate": "tomorrow"}, R.BAD_DATE, "valueDate"), ({"currencyNbr": "32"}, R.WRONG_CURRENCY, "currencyNbr"),
        ({"currencyNbr": None}, R.MISSING_FIELD, "currencyNbr"), ({"reversalFlag": "?"}, R.MALFORMED, "reversalFlag"),
    ],
)
def test_entries_that_cannot_be_believed_are_refused_and_the_balances_stay(
    pulled: Callable[..., list[PullOutcome]], fields: Json, reason: RefusalReason, field: str
) -> None:
    page = changed("entries_page_1", "TRANSQUERYBYBREAKPOINT_Z2", 0, **fields)
    (outcome,) = pulled(whole_bank(entries=[page, "entries_page_2"]), since=SINCE)
    assert isinstance(outcome, Pull)
    assert [(one.reason, one.field) for one in outcome.refusals] == [(reason, field)]
    assert outcome.statements == ()
    assert len(outcome.readings) == 6


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"balamt": 5}, R.BAD_AMOUNT, "balamt"), ({"trsdat": "20261123"}, R.DATED_IN_FUTURE, "trsdat"),
        ({"trsdat": "20261122"}, R.BAD_DATE, "trsdat"), ({"trsdat": "20261120"}, R.CONTRADICTS, "balamt"),
        ({"accnbr": OTHER}, R.WRONG_ACCOUNT, "accnbr"), ({"rsv30z": "32"}, R.WRONG_CURRENCY, "rsv30z"),
        ({"balamt": " "}, R.MISSING_FIELD, "balamt"),
    ],
)
def test_day_balances_that_cannot_be_believed_are_refused_and_the_running_ones_stay(
    pulled: Callable[..., list[PullOutcome]], fields: Json, reason: RefusalReason, field: str
) -> None:
    days = changed("day_balances", "ntqabinfz", 3, **fields)
    (outcome,) = pulled(whole_bank(days=days), since=SINCE)
    assert isinstance(outcome, Pull)
    assert [(one.reason, one.field) for one in outcome.refusals] == [(reason, field)]
    assert [one.final for one in outcome.readings] == [False] * 3


def test_only_days_whose_balance_is_stated_are_covered(pulled: Callable[..., list[PullOutcome]]) -> None:
    """Yesterday is not closed yet, and the day before the first is not known: what lies between is covered."""
    days = golden("day_balances")
    del days["response"]["body"]["ntqabinfz"][3]
    del days["response"]["body"]["ntqabinfz"][0]
    page = golden("entries_page_2")
    del page["response"]["body"]["TRANSQUERYBYBREAKPOINT_Z2"][:]
    (outcome,) = pulled(bank := whole_bank(days=days, entries=page), since=SINCE)
    assert isinstance(outcome, Pull)
    (statement,) = outcome.statements
    assert (statement.covers_from, statement.covers_to) == (date(2026, 11, 20), date(2026, 11, 20))
    asked = bank.bodies("trsQryByBreakPoint")[0]["TRANSQUERYBYBREAKPOINT_X1"][0]
    assert (asked["beginDate"], asked["endDate"]) == ("20261120", "20261120")
    days["response"]["body"]["ntqabinfz"].clear()
    (outcome,) = pulled(whole_bank(days=days), since=SINCE)
    assert isinstance(outcome, Pull)
    assert (outcome.statements, outcome.refusals) == ((), ())


@pytest.mark.parametrize(
    ("control", "field"),
    [({"ctnFlag": "Y"}, "ctnFlag"), ({"ctnFlag": "Z"}, "ctnFlag"), ({"ctnFlag": None}, "ctnFlag")],
)
def test_pages_that_do_not_end_are_left(
    pulled: Callable[..., list[PullOutcome]], control: Json, field: str
) -> None:
    page = changed("entries_page_1", "TRANSQUERYBYBREAKPOINT_Z1", 0, **control)
    (outcome,) = pulled(whole_bank(entries=[page, page, page]), since=SINCE)
    assert isinstance(outcome, Pull)
    assert [one.field for one in outcome.refusals] == [field]


def test_today_and_nothing_new_are_not_asked_for(pulled: Callable[..., list[PullOutcome]]) -> None:
    bank = bank_of(balances="balances_good")
    (outcome,) = pulled(bank, since=date(2026, 11, 22))
    assert isinstance(outcome, Pull)
    assert len(bank.asked) == 1


def test_a_long_gap_is_asked_for_a_month_at_a_time(pulled: Callable[..., list[PullOutcome]]) -> None:
    days = golden("day_balances")
    days["response"]["body"]["ntqabinfz"].clear()
    bank = whole_bank(days=days)
    pulled(bank, since=date(2026, 9, 1))
    assert [(one["ntqabinfy"][0]["bgndat"], one["ntqabinfy"][0]["enddat"]) for one in bank.bodies("NTQABINF")] == [
        ("20260831", "20260930"), ("20261001", "20261031"), ("20261101", "20261121"),
    ]


def test_no_key_number_or_name_is_in_what_is_said(pulled: Callable[..., list[PullOutcome]]) -> None:
    documents = (
        whole_bank(entries="balances_garbage"), whole_bank(days="balances_garbage"),
        whole_bank(balances="balances_row_errors"),
    )
    for bank in documents:
        for outcome in pulled(bank, *ACCOUNTS, since=SINCE):
            refusals = outcome.refusals if isinstance(outcome, Pull) else (outcome.refusal,)
            for text in map(str, refusals):
                for secret in (NUMBER, OTHER, KEY.decode(), USER, "张三", "蓝天"):
                    assert secret not in text


# what an operator writes


def written(tmp_path: Path, **changes: object) -> Settings:
    keys = {"ours": OURS.hex(), "bank": public_key_of(THEIRS).hex(), "sm4": KEY.decode()}
    for name, text in keys.items():
        (tmp_path / name).write_text(text + "\n", encoding="ascii")
    lines = {
        "connector": '"cmb_clouddc"', "base_url": '"https://cdc.bank.example/cdcserver/api/v2"',
        "user_id": f'"{USER}"', "branch": '"69"', "sm2_private_key_file": '"ours"', "bank_public_key_file": '"bank"',
        "sm4_key_file": '"sm4"', **changes,
    }
    config = tmp_path / "escrow-monitor.toml"
    text = "".join(f"{name} = {value}\n" for name, value in lines.items() if value is not None)
    config.write_text(f"[banks.cmb]\n{text}", encoding="utf-8")
    return load_settings(config, {})


def test_a_configured_bank_is_made_and_its_keys_are_not_shown(tmp_path: Path) -> None:
    settings = written(tmp_path)
    connector = make_connector(settings, "cmb", FixedClock(NOW))
    assert isinstance(connector, CmbCloudDc)
    connector.close()
    assert settings.banks["cmb"].quiet_minutes == (0, 30)
    for shown in (repr(settings), repr(vars(connector)), settings.model_dump_json()):
        assert KEY.decode() not in shown
        assert OURS.hex() not in shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sm4_key_file": None}, "banks.cmb: sm4_key_file is not set"),
        ({"sm4_key_file": '"nowhere"'}, "banks.cmb.sm4_key_file: cannot read nowhere"),
        ({"sm4_key_file": '"ours"'}, "banks.cmb: no SM4 key"),
        ({"bank_public_key_file": '"sm4"'}, "banks.cmb: no SM2 public key"),
        ({"sm2_private_key_file": '"sm4"'}, "banks.cmb: no SM2 private key"),
        ({"user_id": '"N 1"'}, "banks.cmb.user_id"), ({"branch": '"069"'}, "banks.cmb.branch"),
        ({"concurrency": "21"}, "banks.cmb.concurrency"),
    ],
)
def test_a_configuration_that_cannot_work_names_its_key(
    tmp_path: Path, changes: Mapping[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        make_connector(written(tmp_path, **changes), "cmb", FixedClock(NOW))
    assert KEY.decode() not in str(refused.value)
    assert OURS.hex() not in str(refused.value)
