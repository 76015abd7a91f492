"""A bank that answers JSON, read by configuration alone: what it states becomes readings, or is refused by name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from bank_server import BankServer, Reply, Request
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st
from mapped_cases import (
    GOLDEN,
    NOW,
    NUMBER,
    OTHER,
    account,
    always,
    connected,
    pulled,
    refused_config,
    section,
    told,
)

from escrow_monitor.banks.answer_reading import Moment
from escrow_monitor.banks.connector import Pull, PullRefused, PullRequest
from escrow_monitor.banks.connectors.json_bank import JsonPath, parsed_json
from escrow_monitor.banks.making import make_connector
from escrow_monitor.banks.mapping import Context, Place, balances_rule
from escrow_monitor.banks.statement_reading import Refused
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.settings import load_settings
from escrow_monitor.settings.mapping import BalancesMapping
from escrow_monitor.settings.section import zone_of

R = RefusalReason
RECORDED = GOLDEN / "json_bank"
TOML = (RECORDED / "bank.toml").read_text(encoding="utf-8")


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.json").read_bytes()


def city(**changes: object) -> dict[str, object]:
    return section(TOML, "city", **changes)


def small(**changes: object) -> dict[str, object]:
    """The shortest mapping there is."""
    found: dict[str, object] = {
        "connector": "json_bank", "base_url": "http://127.0.0.1:1", "retries": 0,
        "balances": {
            "path": "/b/{account_no}", "account": "no", "currency_is": "CNY",
            "readings": [{"kind": "booked_intraday", "amount": "bal"}],
        },
    }
    balances = found["balances"]
    assert isinstance(balances, dict)
    balances.update(changes)
    return found


# what is recorded


def test_balances_become_readings() -> None:
    with connected(always(recorded("good_balances")), city(), "city") as (connector, server):
        (pull,) = connector.pull([PullRequest(account=account("city"))], now=NOW)
        assert isinstance(pull, Pull), pull
        assert told(pull) == """\
booked_intraday 120000.00 CNY of 2026-11-22 at 11-22 03:55:00
available 119000.50 CNY of 2026-11-22 at 11-22 04:00:00
held 999.50 CNY of 2026-11-22 at 11-22 04:00:00
booked_closing 123456.78 CNY of 2026-11-21 at 11-21 15:59:59 final
account active"""
        (seen,) = server.seen
        assert (seen.path, seen.query) == (f"/openapi/v2/accounts/{NUMBER}/balances", {"date": "20261122"})
        assert (seen.headers["x-app-key"], seen.headers["authorization"]) == ("app-key-1234", "Bearer tok-12345678")
        assert {one.source for one in pull.readings} == {"json_bank"}
        assert {one.raw_sha256 for one in pull.readings} == {hashlib.sha256(recorded("good_balances")).hexdigest()}


def test_entries_of_all_pages_become_a_statement_that_ties() -> None:
    def bank(request: Request) -> Reply:
        if request.path.endswith("/balances"):
            return Reply(body=recorded("good_balances"))
        return Reply(body=recorded("good_entries_2" if request.path.endswith("/next") else "good_entries_1"))

    (pull,) = pulled(bank, city(), "city", since=date(2026, 11, 20))
    assert told(pull).splitlines()[5:] == [
        "end_of_day 100000.00 CNY to 123456.78 CNY, covers 2026-11-20..2026-11-21",
        "  2026-11-20 28456.78 E1 '学费 秋季' named",
        "  2026-11-20 -5000.00 E2 '放款' named",
        "  2026-11-21 -28456.78 E3 '冲正' reversal",
        "  2026-11-21 28456.78 E4 '学费'",
    ]


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("refused_unknown_account", R.NOT_FOUND, "the bank answers 'A104': 账号…2345未签约"),
        ("refused_too_often", R.RATE_LIMITED, "the bank answers 'A429': 访问过于频繁"),
        ("refused_unknown_code", R.UNEXPECTED_STATUS, "the bank answers 'Z9': 系统繁忙"),
    ],
)
def test_a_bank_that_refuses_is_told_in_its_own_words(name: str, reason: RefusalReason, words: str) -> None:
    (outcome,) = pulled(always(recorded(name)), city(), "city")
    assert isinstance(outcome, PullRefused)
    assert (outcome.refusal.reason, outcome.refusal.detail) == (reason, words)
    assert [one.content for one in outcome.raw] == [recorded(name)]


GARBAGE_REASONS = {
    "account_missing": R.WRONG_ACCOUNT, "account_other": R.WRONG_ACCOUNT,
    "amount_empty": R.MISSING_FIELD, "amount_null": R.MISSING_FIELD, "amount_list": R.MALFORMED,
    "amount_object": R.MALFORMED, "balances_missing": R.MISSING_FIELD, "balances_no_list": R.MISSING_FIELD,
    "code_missing": R.MISSING_FIELD, "currency_missing": R.MISSING_FIELD, "currency_other": R.WRONG_CURRENCY,
    "currency_code_unknown": R.WRONG_CURRENCY, "cut": R.MALFORMED, "nan": R.MALFORMED, "name_twice": R.MALFORMED,
    "html": R.MALFORMED, "gbk": R.MALFORMED, "day_missing": R.MISSING_FIELD, "day_impossible": R.BAD_DATE,
    "day_short": R.BAD_DATE, "day_tomorrow": R.DATED_IN_FUTURE, "time_tomorrow": R.DATED_IN_FUTURE,
}


@pytest.mark.parametrize("path", sorted(RECORDED.glob("garbage_*.json")), ids=lambda path: path.stem)
def test_garbage_is_refused_by_reason_and_kept_as_evidence(path: Path) -> None:
    (outcome,) = pulled(always(path.read_bytes()), city(), "city")
    assert isinstance(outcome, PullRefused), told(outcome)
    assert outcome.refusal.reason is GARBAGE_REASONS.get(path.stem.removeprefix("garbage_"), R.BAD_AMOUNT), outcome
    assert [one.content for one in outcome.raw] == [path.read_bytes()]
    assert NUMBER not in str(outcome.refusal)


def test_no_entries_is_an_answer_but_no_statement() -> None:
    def bank(request: Request) -> Reply:
        return Reply(body=recorded("good_balances" if request.path.endswith("/balances") else "refused_no_entries"))

    # The final balance of the last day and no entry on it: the day is known.
    (pull,) = pulled(bank, city(), "city", since=date(2026, 11, 21))
    assert told(pull).splitlines()[5:] == [
        "end_of_day 123456.78 CNY to 123456.78 CNY, covers 2026-11-21..2026-11-21"
    ]


# amounts


@pytest.mark.parametrize(
    ("numbers", "unit", "body", "expected"),
    [
        ("literal", "yuan", '{"no":"%s","bal":90071992547409.91}', "90071992547409.91"),
        ("literal", "yuan", '{"no":"%s","bal":0.1}', "0.10"),
        ("literal", "yuan", '{"no":%s,"bal":-12.30}', "-12.30"),
        ("literal", "fen", '{"no":"%s","bal":9007199254740991}', "90071992547409.91"),
        ("text", "fen", '{"no":"%s","bal":"105"}', "1.05"),
        ("text", "fen", '{"no":"%s","bal":"-5"}', "-0.05"),
        ("literal", "yuan", '{"no":"%s","bal":1e5}', R.BAD_AMOUNT),
        ("literal", "fen", '{"no":"%s","bal":1.05}', R.BAD_AMOUNT),
        ("literal", "fen", '{"no":"%s","bal":100.00}', R.BAD_AMOUNT),
        ("text", "yuan", '{"no":"%s","bal":1.05}', R.BAD_AMOUNT),
        ("text", "yuan", '{"no":"%s","bal":"90071992547409.92"}', R.BAD_AMOUNT),
        ("literal", "yuan", '{"no":"%s","bal":123456789012345678901234567890}', R.BAD_AMOUNT),
        ("literal", "yuan", '{"no":"%s","bal":Infinity}', R.MALFORMED),
        ("literal", "yuan", '{"no":"%s"}', R.MISSING_FIELD),
    ],
)
def test_amounts_keep_every_digit_or_are_refused(numbers: str, unit: str, body: str, expected: object) -> None:
    (outcome,) = pulled(always((body % NUMBER).encode()), {**small(unit=unit), "numbers": numbers}, "city")
    if isinstance(expected, RefusalReason):
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is expected
    else:
        assert isinstance(outcome, Pull), outcome
        assert outcome.readings[0].amount.text == expected


FREE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.from_regex(r"-?[0-9]{1,15}(\.[0-9]{1,3})?", fullmatch=True), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)
RULE = balances_rule(
    BalancesMapping.model_validate(small()["balances"]), Context(find=JsonPath, currencies={}, numbers="text"),
    "banks.city",
)
MOMENT = Moment(zone_of("Asia/Shanghai"), NOW)


@given(FREE)
def test_whatever_stands_there_is_read_to_the_fen_or_refused(value: object) -> None:
    top = None
    try:
        top = parsed_json(json.dumps({"no": NUMBER, "bal": value}), "/b")
        (reading,) = RULE.readings_of(
            Place(top, top, "/b"), account("city"), MOMENT, source="json_bank", raw_sha256=""
        )
    except Refused:
        if isinstance(value, str) and top is not None:
            with pytest.raises(AmountError):
                parse_amount(value.strip(), "CNY")
        return
    assert isinstance(value, str)
    assert reading.amount == parse_amount(value.strip(), "CNY")


@given(st.integers(-(2**53) + 1, 2**53 - 1), st.sampled_from(["yuan", "fen"]), st.booleans())
def test_every_amount_arrives_to_the_fen_in_every_form(fen: int, unit: str, literal: bool) -> None:
    text = Money(fen, "CNY").text if unit == "yuan" else str(fen)
    rule = balances_rule(
        BalancesMapping.model_validate(small(unit=unit)["balances"]),
        Context(find=JsonPath, currencies={}, numbers="literal"), "banks.city",
    )
    top = parsed_json(f'{{"no":"{NUMBER}","bal":{text if literal else json.dumps(text)}}}', "/b")
    (reading,) = rule.readings_of(Place(top, top, "/b"), account("city"), MOMENT, source="", raw_sha256="")
    assert reading.amount == Money(fen, "CNY")


# who is meant


def batch(**changes: object) -> dict[str, object]:
    return small(**{
        "method": "POST", "path": "/list", "body": {"ask": "{request_id}", "list": "{accounts}"}, "batch_size": 2,
        "accounts": "rows", "account": "no", **changes,
    })


def rows(*found: object) -> Callable[[Request], Reply]:
    return always({"rows": list(found)})


def test_a_batch_asks_for_so_many_and_takes_each_row_for_itself() -> None:
    third = "6222000000000077777"

    def bank(request: Request) -> Reply:
        asked = json.loads(request.body)["list"]
        assert 1 <= len(asked) <= 2
        return Reply(body={"rows": [
            {"no": number, "bal": f"{number[-4:]}.00", "code": "9" if number == OTHER else "0"} for number in asked
        ]})

    found = batch(row_success={"path": "code", "equals": "0"})
    first, second, last = pulled(bank, found, "city", NUMBER, OTHER, third)
    assert isinstance(first, Pull)
    assert first.readings[0].amount == Money(2345_00, "CNY")
    assert isinstance(second, PullRefused)
    assert second.refusal.reason is R.UNEXPECTED_STATUS
    assert isinstance(last, Pull)
    assert last.readings[0].amount == Money(7777_00, "CNY")


def test_each_account_of_a_batch_may_be_an_object_of_its_own() -> None:
    with connected(rows(), batch(each={"zh": "{account_no}", "hh": "69"}), "city") as (connector, server):
        list(connector.pull([PullRequest(account=account("city"))], now=NOW))
        assert json.loads(server.seen[0].body)["list"] == [{"zh": NUMBER, "hh": "69"}]


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        ([], R.NOT_FOUND),
        ([{"no": OTHER, "bal": "1.00"}], R.NOT_FOUND),
        ([{"no": NUMBER, "bal": "1.00"}, {"no": NUMBER, "bal": "2.00"}], R.CONTRADICTS),
        ([{"no": NUMBER, "bal": "1.00"}, {"no": NUMBER, "bal": "x"}], R.BAD_AMOUNT),
        ([{"no": [NUMBER], "bal": "1.00"}], R.MALFORMED),
        (["text"], R.NOT_FOUND),
        (None, R.MISSING_FIELD),
        ("none", R.MALFORMED),
    ],
)
def test_a_batch_that_does_not_say_it_clearly_says_nothing(answered: object, reason: RefusalReason) -> None:
    (outcome,) = pulled(always({"rows": answered}), batch(), "city")
    assert isinstance(outcome, PullRefused), outcome
    assert outcome.refusal.reason is reason


def test_of_one_number_in_two_currencies_ours_is_taken() -> None:
    found = batch(currency="cur", currency_is=None)
    found["balances"].pop("currency_is")  # type: ignore[attr-defined]
    bank = rows({"no": NUMBER, "bal": "7.00", "cur": "USD"}, {"no": NUMBER, "bal": "8.00", "cur": "CNY"})
    (outcome,) = pulled(bank, found, "city")
    assert isinstance(outcome, Pull), outcome
    assert [one.amount.text for one in outcome.readings] == ["8.00"]


def test_a_list_of_all_accounts_is_followed_page_by_page() -> None:
    def bank(request: Request) -> Reply:
        page = int(request.query["page"])
        found = [{"no": number, "bal": "1.00"} for number in (NUMBER, OTHER)]
        return Reply(body={"rows": found[page - 1 : page], "pages": 2})

    found = small(
        path="/all", query={"page": "{page}"}, accounts="rows", paging={"by": "page", "pages": "pages", "size": 1}
    )
    outcomes = pulled(bank, found, "city", NUMBER, OTHER, "6222000000000077777")
    assert [isinstance(one, Pull) for one in outcomes] == [True, True, False]


def test_an_answer_that_names_no_account_is_taken_only_where_that_is_said() -> None:
    found = small(unnamed=True)
    found["balances"].pop("account")  # type: ignore[attr-defined]
    (outcome,) = pulled(always({"bal": "1.00"}), found, "city")
    assert isinstance(outcome, Pull)


def test_an_account_without_the_banks_own_id_is_not_asked_for() -> None:
    (outcome,) = pulled(always({}), small(path="/b/{external_id}"), "city")
    assert isinstance(outcome, PullRefused)
    assert outcome.refusal.reason is R.NOT_CONFIGURED


# requests


@pytest.mark.parametrize("number", ["62/22?x=1#&", '62"},"x":{"', "62\r\nX-Evil: 1", "账号62", "%2e%2e", "a b"])
def test_an_account_number_stays_in_its_place(number: str) -> None:
    found = small(method="POST", query={"q": "{account_no}"}, body='{"a": {"no": "{account_no}"}}')
    with connected(always({}), found, "city") as (connector, server):
        list(connector.pull([PullRequest(account=account("city", number))], now=NOW))
        (seen,) = server.seen
        assert json.loads(seen.body) == {"a": {"no": number}}
        assert seen.query == {"q": number}
        assert seen.path.count("/") == 2
        assert "x-evil" not in seen.headers


@pytest.mark.parametrize("number", ["62\r\nX-Evil: 1", "账号"])
def test_what_cannot_stand_in_a_header_is_not_sent(number: str) -> None:
    with connected(always({}), small(headers={"X-No": "{account_no}"}), "city") as (connector, server):
        (outcome,) = connector.pull([PullRequest(account=account("city", number))], now=NOW)
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is R.NOT_CONFIGURED
        assert not server.seen


@pytest.mark.parametrize("number", [".", "..", ""])
def test_an_account_number_does_not_climb_out_of_the_path(number: str) -> None:
    with connected(always({}), small(), "city") as (connector, server):
        (outcome,) = connector.pull([PullRequest(account=account("city", number))], now=NOW)
        assert isinstance(outcome, PullRefused)
        assert not server.seen


def test_a_request_is_signed_as_the_recipe_says() -> None:
    recipe = {
        "algorithm": "hmac_sha256", "key": "geheim-1234",
        "parts": ["method", "target", "timestamp", "nonce", "header:X-Id", "body_sha256"],
        "header": "X-Sign", "written": "hex", "timestamp_header": "X-Time", "nonce_header": "X-Nonce",
    }
    found = {**small(method="POST", query={"a": "1"}, headers={"X-Id": "{request_id}"}, body="{}"), "sign": recipe}
    with connected(always({}), found, "city") as (connector, server):
        list(connector.pull([PullRequest(account=account("city"))], now=NOW))
        (seen,) = server.seen
    head = seen.headers
    assert head["x-time"] == "20261122120000"
    signed = "\n".join([
        "POST", f"/b/{NUMBER}?a=1", head["x-time"], head["x-nonce"], head["x-id"],
        hashlib.sha256(seen.body).hexdigest(),
    ])
    assert head["x-sign"] == hmac.new(b"geheim-1234", signed.encode(), "sha256").hexdigest()


def test_an_rsa_signature_holds(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    recipe = {"algorithm": "rsa_sha256", "key_file": "key.pem", "parts": ["body"], "header": "X-Sign"}
    found = {**small(method="POST", body='{"no": "{account_no}"}'), "sign": recipe}
    with connected(always({}), found, "city", folder=tmp_path) as (connector, server):
        list(connector.pull([PullRequest(account=account("city"))], now=NOW))
        (seen,) = server.seen
    key.public_key().verify(
        base64.b64decode(seen.headers["x-sign"]), seen.body, padding.PKCS1v15(), hashes.SHA256()
    )


def test_a_secret_never_appears_in_a_refusal() -> None:
    secret = "app-key-1234"
    (outcome,) = pulled(always({"code": "X", "message": f"bad key {secret}"}), city(), "city")
    assert isinstance(outcome, PullRefused)
    assert secret not in str(outcome.refusal)


# paging


def entries(*amounts: str, start: int = 0) -> list[dict[str, str]]:
    return [
        {"id": f"E{start + number}", "day": "2026-11-21", "je": one, "fx": "C" if number % 2 else "D"}
        for number, one in enumerate(amounts)
    ]


def listed(**paging: object) -> dict[str, object]:
    query = {"from": "{from}", "to": "{to}"}
    query |= {"page": {"page": "{page}", "size": "{size}"}, "cursor": {"c": "{cursor}"}}.get(str(paging.get("by")), {})
    return {
        **small(),
        "statements": {
            "path": "/e/{account_no}", "query": query, "account": "no", "currency_is": "CNY", "entries": "rows",
            "sign": "indicator", "amount": "je", "direction": {"path": "fx", "credit": "C", "debit": "D"},
            "booked_on": "day", "reference": "id", "paging": paging,
        },
    }


def paged(pages: Callable[[Request, int], object]) -> Callable[[Request], Reply]:
    asked: list[Request] = []

    def bank(request: Request) -> Reply:
        if request.path.startswith("/b/"):
            return Reply(body={"no": NUMBER, "bal": "1.00"})
        asked.append(request)
        return Reply(body=pages(request, len(asked) - 1))

    return bank


ALL = entries("1.00", "2.00", "3.00", "4.00", "5.00")
PAGED: dict[str, tuple[dict[str, object], Callable[[Request, int], object]]] = {
    "total": (
        {"by": "page", "size": 2, "total": "n"},
        lambda request, n: {"no": NUMBER, "n": 5, "rows": ALL[2 * int(request.query["page"]) - 2 :][:2]},
    ),
    "pages": (
        {"by": "page", "size": 2, "pages": "n", "first_page": 0},
        lambda request, n: {"no": NUMBER, "n": 3, "rows": ALL[2 * int(request.query["page"]) :][:2]},
    ),
    "until short": (
        {"by": "page", "size": 2, "until_short": True},
        lambda request, n: {"no": NUMBER, "rows": ALL[2 * int(request.query["page"]) - 2 :][:2]},
    ),
    "cursor": (
        {"by": "cursor", "next": "next", "first": "START", "more": "more", "more_is": ["Y"]},
        lambda request, n: {
            "no": NUMBER, "more": "N" if request.query["c"] == "c3" else "Y", "next": f"c{n + 2}",
            "rows": ALL[{"START": 0, "c2": 2, "c3": 4}[request.query["c"]] :][:2],
        },
    ),
    "cursor until it ends": (
        {"by": "cursor", "next": "next", "first": "START"},
        lambda request, n: {
            "no": NUMBER, "next": ["a", "b", None][n], "rows": ALL[2 * n :][:2],
        },
    ),
    "link": (
        {"by": "link", "next": "next"},
        lambda request, n: {
            "no": NUMBER, "next": [f"/e/{NUMBER}?k=1", f"/e/{NUMBER}?k=2", ""][n], "rows": ALL[2 * n :][:2],
        },
    ),
}


@pytest.mark.parametrize("name", PAGED)
def test_every_page_is_read_once(name: str) -> None:
    paging, pages = PAGED[name]
    (pull,) = pulled(paged(pages), listed(**paging), "city", since=date(2026, 11, 21))
    assert isinstance(pull, Pull)
    assert not pull.refusals, pull.refusals
    (statement,) = pull.statements
    assert [one.bank_ref for one in statement.entries] == ["E0", "E1", "E2", "E3", "E4"]
    assert [one.amount.text for one in statement.entries] == ["-1.00", "2.00", "-3.00", "4.00", "-5.00"]
    assert (str(statement.kind), statement.final) == ("notice", False)


@pytest.mark.parametrize(
    ("paging", "pages", "reason"),
    [
        (PAGED["total"][0], lambda request, n: {"no": NUMBER, "n": 5, "rows": ALL[:2]}, R.MALFORMED),
        (PAGED["until short"][0], lambda request, n: {"no": NUMBER, "rows": ALL[:2]}, R.MALFORMED),
        (PAGED["total"][0], lambda request, n: {"no": NUMBER, "n": 3 + n, "rows": ALL[2 * n :][:2]}, R.CONTRADICTS),
        (PAGED["total"][0], lambda request, n: {"no": NUMBER, "n": 9, "rows": ALL[2 * n :][:2]}, R.CONTRADICTS),
        (PAGED["total"][0], lambda request, n: {"no": NUMBER, "n": 1, "rows": ALL[:2]}, R.CONTRADICTS),
        (PAGED["total"][0], lambda request, n: {"no": NUMBER, "n": "-1", "rows": ALL[:2]}, R.MALFORMED),
        (PAGED["total"][0], lambda request, n: {"no": NUMBER, "rows": ALL[:2]}, R.MISSING_FIELD),
        (PAGED["until short"][0], lambda request, n: {"no": NUMBER, "rows": ALL[:3]}, R.CONTRADICTS),
        (
            PAGED["cursor"][0], lambda request, n: {"no": NUMBER, "more": "Y", "next": "c", "rows": ALL[n:][:1]},
            R.MALFORMED,
        ),
        (PAGED["cursor"][0], lambda request, n: {"no": NUMBER, "more": "Y", "rows": ALL[:2]}, R.MISSING_FIELD),
        (PAGED["link"][0], lambda request, n: {"no": NUMBER, "next": "http://evil.example/x", "rows": []}, R.MALFORMED),
        (PAGED["total"][0], lambda request, n: {"no": OTHER, "n": 2, "rows": ALL[:2]}, R.WRONG_ACCOUNT),
        (PAGED["total"][0], lambda request, n: {"no": NUMBER, "n": 0}, R.MISSING_FIELD),
    ],
)
def test_pages_that_repeat_shrink_or_change_are_refused(
    paging: dict[str, object], pages: Callable[[Request, int], object], reason: RefusalReason
) -> None:
    (pull,) = pulled(paged(pages), listed(**paging), "city", since=date(2026, 11, 21))
    assert isinstance(pull, Pull)
    assert [one.reason for one in pull.refusals] == [reason], pull.refusals
    assert not pull.statements
    assert len(pull.readings) == 1, "the balance was taken all the same"
    assert len(pull.raw) >= 2, "the pages are kept as evidence"


def test_a_long_period_is_asked_for_in_spans() -> None:
    spans = []

    def bank(request: Request, n: int) -> object:
        spans.append((request.query["from"], request.query["to"]))
        return {"no": NUMBER, "rows": []}

    found = listed()
    found["statements"].update(days_max=10, days_back_max=25, ready_at="13:00")  # type: ignore[attr-defined]
    pulled(paged(bank), found, "city", since=date(2026, 10, 1))
    assert sorted(spans) == [("2026-10-27", "2026-11-05"), ("2026-11-06", "2026-11-15"), ("2026-11-16", "2026-11-20")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"day": "2026-11-20"}, R.BAD_DATE), ({"day": "2026-11-22"}, R.BAD_DATE), ({"day": None}, R.MISSING_FIELD),
        ({"fx": "X"}, R.BAD_AMOUNT), ({"fx": None}, R.MISSING_FIELD), ({"je": "-1.00"}, R.BAD_AMOUNT),
        ({"je": "+1.00"}, R.BAD_AMOUNT), ({"je": None}, R.MISSING_FIELD), ({"id": {"a": 1}}, R.MALFORMED),
    ],
)
def test_an_entry_that_is_not_clear_refuses_the_list(row: dict[str, object], reason: RefusalReason) -> None:
    bank = paged(lambda request, n: {"no": NUMBER, "rows": [{**ALL[0], **row}]})
    (pull,) = pulled(bank, listed(), "city", since=date(2026, 11, 21))
    assert isinstance(pull, Pull)
    assert [one.reason for one in pull.refusals] == [reason], pull


# the balance after each entry


RUNNING = [
    {"id": "E1", "day": "2026-11-20", "je": "10.00", "fx": "C", "ye": "110.00"},
    {"id": "E2", "day": "2026-11-20", "je": "30.00", "fx": "D", "ye": "80.00"},
    {"id": "E3", "day": "2026-11-21", "je": "5.00", "fx": "C", "ye": "85.00"},
]


def running(order: str = "oldest_first", **closing: str) -> dict[str, object]:
    found = listed()
    found["statements"].update(balance_after="ye", order=order)  # type: ignore[attr-defined]
    if closing:
        found["balances"]["readings"].append(  # type: ignore[index]
            {"kind": "booked_closing", "amount": "zrye", "day_is": "yesterday"}
        )
    return found


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_the_balance_after_each_entry_gives_opening_and_closing(order: str) -> None:
    found = RUNNING if order == "oldest_first" else RUNNING[::-1]
    (pull,) = pulled(
        paged(lambda request, n: {"no": NUMBER, "rows": found}), running(order), "city", since=date(2026, 11, 20)
    )
    assert told(pull).splitlines()[2] == "end_of_day 100.00 CNY to 85.00 CNY, covers 2026-11-20..2026-11-21"


@pytest.mark.parametrize("order", [[0, 2], [1, 0, 2], [0, 1, 1, 2], [2, 1, 0]])
def test_a_lost_doubled_or_reordered_entry_breaks_the_running_balance(order: list[int]) -> None:
    (pull,) = pulled(
        paged(lambda request, n: {"no": NUMBER, "rows": [RUNNING[place] for place in order]}), running(), "city",
        since=date(2026, 11, 20),
    )
    assert isinstance(pull, Pull)
    assert [one.reason for one in pull.refusals] == [R.DOES_NOT_TIE]


def test_a_tail_that_is_missing_shows_against_the_final_balance() -> None:
    def bank(request: Request) -> Reply:
        if request.path.startswith("/b/"):
            return Reply(body={"no": NUMBER, "bal": "85.00", "zrye": "85.00"})
        return Reply(body={"no": NUMBER, "rows": RUNNING[:2]})

    (pull,) = pulled(bank, running(closing="yes"), "city", since=date(2026, 11, 20))
    assert isinstance(pull, Pull)
    assert [one.reason for one in pull.refusals] == [R.CONTRADICTS]


# the configuration


SMALL = """
[banks.city]
connector = "json_bank"
base_url = "https://bank.example"
[banks.city.balances]
path = "/b/{account_no}"
account = "no"
currency_is = "CNY"
readings = [{ kind = "booked_intraday", amount = "bal" }]
"""
ENTRIES = """
[banks.city.statements]
path = "/e/{account_no}/{from}/{to}"
account = "no"
currency_is = "CNY"
entries = "rows"
sign = "signed"
amount = "je"
booked_on = "day"
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('account = "no"', 'acount = "no"', "banks.city.balances.acount: unknown key; did you mean account?"),
        ('amount = "bal"', 'amont = "bal"', "banks.city.balances.readings.0.amont: unknown key; did you mean amount?"),
        ('"booked_intraday"', '"booked"', "banks.city.balances.readings.0.kind: Input should be"),
        ('amount = "bal"', 'amount = "bal["', "banks.city.balances.readings[0].amount: 'bal[' is no JMESPath"),
        ('amount = "bal"', 'amount = "to_number(bal)"', "to_number() is not allowed"),
        ('amount = "bal"', 'amount = "sum([bal])"', "sum() is not allowed"),
        ('amount = "bal"', 'amount = "first(bal)"', "there is no function first()"),
        ('currency_is = "CNY"', "", "needs currency (a path) or currency_is"),
        ('currency_is = "CNY"', 'currency_is = "RMBY"', "currency_is"),
        ('account = "no"', "", "account), or that it does not (unnamed = true)"),
        ("{account_no}", "{acount_no}", "banks.city.balances.path: unknown name {acount_no}: known are account_no"),
        ("{account_no}", "{account_no", "banks.city.balances.path"),
        ("{account_no}", "{account_no:%Y}", "only a date has a form"),
        ("{account_no}", "{secret.key}", "unknown name {secret.key}"),
        ("/b/{account_no}", "b/{account_no}", "begins with /"),
        ("/b/{account_no}", "/b?no={account_no}", "no question mark"),
        ("/b/{account_no}", "/b/{accounts}", "say how many at once in batch_size"),
        ("/b/{account_no}", "/b/{account_no}/{page}", "say by = 'page'"),
        ('account = "no"', 'account = "no"\nbatch_size = 5', "the request does not name {accounts}"),
        ('account = "no"', 'account = "no"\nmethod = "POST"\nbody = "{"', "banks.city.balances.body: not JSON"),
        ('account = "no"', 'account = "no"\nbody = "{}"', "needs method = 'POST'"),
        ('account = "no"', 'account = "no"\nmethod = "POST"\nbody = {a = "x{accounts}"}\nbatch_size = 2',
         "stands alone"),
        ('account = "no"', 'account = "no"\npaging = {by = "page"}', "needs one of total, pages and until_short"),
        ('account = "no"', 'account = "no"\npaging = {by = "cursor"}', "by = 'cursor' needs next"),
        ('account = "no"', 'account = "no"\npaging = {by = "cursor", next = "n"}', "does not name {cursor}"),
        ('amount = "bal"', 'amount = "bal", final = true', "a final balance needs day or day_is"),
        ('amount = "bal"', 'amount = "bal", day = "d", day_format = "%d.%m."', "day_format: '%d.%m.' must hold %Y"),
        ('sign = "signed"', 'sign = "columns"', "sign = 'columns' needs credit and debit"),
        ('sign = "signed"', 'sign = "signed"\nopening = {amount = "o"}', "opening and closing go together"),
        ('sign = "signed"', 'sign = "signed"\nbalance_after = "b"', "balance_after and order go together"),
        ("/{from}/{to}", "/{from}", "the request must name {from} and {to}"),
        ("[banks.city.balances]", "[banks.city.sign]\nalgorithm = 'hmac_sha256'\nkey = 'k'\nparts = ['bodie']\n"
         "header = 'X'\n[banks.city.balances]", "banks.city.sign.parts: 'bodie' is not known"),
        ("[banks.city.balances]", "[banks.city.secrets_files]\nkey = 'nowhere'\n[banks.city.balances]",
         "banks.city.secrets_files.key: cannot read nowhere"),
        ("{account_no}", "{session}", "banks.city.session: the requests name {session}; say here how to get one"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_by_its_key(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = (SMALL + ENTRIES).replace(old, new, 1)
    assert text != SMALL + ENTRIES
    assert words in refused_config(text, tmp_path)


def test_the_recorded_mapping_is_taken_without_a_call() -> None:
    with BankServer(always({})) as server, connected(always({}), city(), "city"):
        assert not server.seen


@pytest.mark.parametrize("name", ["city", "machine"])
def test_the_example_in_the_configuration_file_can_be_used(name: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "escrow-monitor.toml").read_text(encoding="utf-8")
    begins = text.index(f"# [banks.{name}]")
    example = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text[begins:].split("\n\n")[0].split("\n"))
    for file in ("city-token", "city-app-key"):
        (tmp_path / file).write_text("secret-1", encoding="utf-8")
    path = tmp_path / "escrow-monitor.toml"
    path.write_text(example.replace("$CREDENTIALS_DIRECTORY/", ""), encoding="utf-8")
    settings = load_settings(path, {})
    make_connector(settings, name, FixedClock(NOW)).close()


def test_nothing_is_asked_of_a_bank_without_accounts() -> None:
    with connected(always({}), city(), "city") as (connector, server):
        assert list(connector.pull([], now=NOW)) == []
        assert not server.seen


def test_a_reading_of_another_zone_is_of_the_banks_own_day() -> None:
    late = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)  # one in the morning of the 23rd in Shanghai
    (pull,) = pulled(always({"no": NUMBER, "bal": "1.00"}), small(), "city", now=late)
    assert isinstance(pull, Pull)
    assert pull.readings[0].on == date(2026, 11, 23)
