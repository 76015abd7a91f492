"""What a bank answered, made fit to be shown: nothing of whose money it is survives, what a mapping needs does."""

from __future__ import annotations

import json
import re
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_monitor.banks.redaction import HIDDEN, ITEMS_MAX, LINES_MAX, Redactor, last_four

ACCOUNT = "6222021200019876543"
TOKEN = "tok-9f8e7d6c5b4a"
REDACTOR = Redactor(secrets=(TOKEN,), accounts=(ACCOUNT,))

NAMES = st.one_of(
    st.text(alphabet="王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗", min_size=2, max_size=8),
    st.text(alphabet="WXQZJKVqxzjkv ", min_size=5, max_size=24).filter(lambda text: len(text.split()) > 0),
)
NUMBERS = st.one_of(
    st.from_regex(r"[1-9][0-9]{11,22}", fullmatch=True),
    st.from_regex(r"[A-Z]{2}[0-9]{2}[A-Z]{4}[0-9]{10,20}", fullmatch=True),
    st.from_regex(r"[1-9][0-9]{3} [0-9]{4} [0-9]{4} [0-9]{4}", fullmatch=True),
    st.just(ACCOUNT),
)
SECRETS = st.one_of(st.just(TOKEN), st.from_regex(r"eyJ[A-Za-z0-9]{20,60}", fullmatch=True))
NAME_KEYS = st.sampled_from(
    ["creditorName", "debtorName", "accnam", "Nm", "rpynam", "remittanceInformationUnstructured", "txt", "nusage",
     "户名", "x", "counterparty", "Description", "narrative", "MerchantName", "dlr", "value"]
)
NUMBER_KEYS = st.sampled_from(
    ["iban", "accnbr", "Identification", "resourceId", "IBAN", "x", "rpyacc", "eaccno", "value", "账号", "date",
     "amount"]
)
SECRET_KEYS = st.sampled_from(["access_token", "consentId", "cursor", "next", "x", "href", "signature"])
AMOUNTS = st.from_regex(r"-?[0-9]{1,9}\.[0-9]{2}", fullmatch=True)
DAYS = st.dates().map(str)


@st.composite
def documents(draw: st.DrawFn) -> tuple[object, list[tuple[str, str]]]:
    """A document of any shape, and everything in it that must not be seen, by its key."""
    hidden: list[tuple[str, str]] = []

    def kept(one: tuple[str, str]) -> tuple[str, object]:
        hidden.append(one)
        return one

    pair = st.one_of(
        st.tuples(NAME_KEYS, NAMES).map(kept), st.tuples(NUMBER_KEYS, NUMBERS).map(kept),
        st.tuples(SECRET_KEYS, SECRETS).map(kept), st.tuples(st.just("amount"), AMOUNTS),
        st.tuples(st.just("date"), DAYS),
    )
    leaves = st.lists(pair, min_size=1, max_size=5).map(dict)
    shape = st.recursive(
        leaves, lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.sampled_from("abc"), below))
    )
    return draw(shape), hidden


def as_xml(document: object, tag: str = "Document") -> str:
    if isinstance(document, dict):
        return f"<{tag}>{''.join(as_xml(below, name) for name, below in document.items())}</{tag}>"
    if isinstance(document, list):
        return f"<{tag}>{''.join(as_xml(below, 'item') for below in document)}</{tag}>"
    return f"<{tag} said={quoteattr(str(document))}>{escape(str(document))}</{tag}>"


def as_text(document: object) -> str:
    if isinstance(document, dict):
        return "\n".join(f":{name}:{as_text(below)}" for name, below in document.items())
    if isinstance(document, list):
        return "\n".join(map(as_text, document))
    return str(document)


@given(documents(), st.booleans())
def test_no_account_number_token_name_or_long_number_survives(
    drawn: tuple[object, list[tuple[str, str]]], error: bool
) -> None:
    document, hidden = drawn
    # The bank's sentence about our call is the one text that stays, whatever else it happens to repeat.
    kept = {one for key, one in hidden if error and key == "Description"}
    for content, media_type in (
        (json.dumps(document, ensure_ascii=False).encode(), "application/json"),
        (json.dumps(document).encode("ascii"), ""),
        (as_xml(document).encode(), "application/xml"),
        (('<?xml version="1.0" encoding="GBK"?>' + as_xml(document)).encode("gb18030"), "text/xml"),
        (as_text(document).encode(), "text/plain"),
        (json.dumps(document).encode()[:-1], "application/json"),
    ):
        shown = REDACTOR.document(content, media_type, error=error)
        assert not re.search(r"\d{12,}", shown)
        for _, one in hidden:
            assert any(one in sentence for sentence in kept) or " ".join(one.split()) not in shown


@given(st.binary(max_size=300))
def test_any_bytes_at_all_can_be_shown(content: bytes) -> None:
    shown = REDACTOR.document(content, "application/json")
    assert not re.search(r"\d{12,}", shown)
    assert all(one.isprintable() or one == "\n" for one in shown)


@given(NUMBERS)
def test_a_sentence_keeps_no_account_number(number: str) -> None:
    shown = REDACTOR.line(f"the answer of 2026-11-20 2026-11-21 speaks of {number}, not of {ACCOUNT} ({TOKEN})")
    assert not any(one in shown for one in (number, ACCOUNT, TOKEN))
    assert "of 2026-11-20 2026-11-21 speaks" in shown


def test_what_a_mapping_needs_stays() -> None:
    shown = json.loads(REDACTOR.document(json.dumps({
        "account": {"iban": "DE40100100103307118608", "currency": "EUR", "name": "Main"},
        "balances": [
            {"balanceType": "closingBooked", "balanceAmount": {"amount": "-5000.00", "currency": "CNY"},
             "referenceDate": "2026-11-20", "lastChangeDateTime": "2026-11-20T17:30:35.035Z"},
        ],
        "ntqacinfz": [{"accnbr": ACCOUNT, "ccynbr": "10", "onlblv": "1234567.89", "stscod": "A", "mutdat": "20261120",
                       "accnam": "南山晨光", "rtntim": "20261120093015", "bbknbr": "69"}],
        "resultcode": "SUC0000", "Count": 2, "Amount": 12.50, "Open": True, "Note": None,
        "_links": {"next": {"href": "/v1/accounts?cursor=abcdefgh"}}, "consentId": "c-1234567",
    }).encode(), "application/json"))
    assert shown == {
        "account": {"iban": "…8608", "currency": "EUR", "name": "[text, 4 characters]"},
        "balances": [
            {"balanceType": "closingBooked", "balanceAmount": {"amount": "-5000.00", "currency": "CNY"},
             "referenceDate": "2026-11-20", "lastChangeDateTime": "2026-11-20T17:30:35.035Z"},
        ],
        "ntqacinfz": [{"accnbr": "…6543", "ccynbr": "10", "onlblv": "1234567.89", "stscod": "A", "mutdat": "20261120",
                       "accnam": "[text, 4 characters]", "rtntim": "20261120T093015", "bbknbr": "69"}],
        "resultcode": "SUC0000", "Count": 2, "Amount": 12.50, "Open": True, "Note": None,
        "_links": {"next": {"href": "[text, 28 characters]"}}, "consentId": HIDDEN,
    }


def test_a_number_is_shown_as_it_was_written() -> None:
    assert "0.10000000000000000555" not in REDACTOR.document(b'{"amount": 0.1}', "application/json")
    assert '"amount": 0.10' in REDACTOR.document(b'{"amount": 0.10}', "application/json")
    assert "NaN" not in REDACTOR.document(b'{"amount": NaN}', "application/json")


def test_xml_keeps_its_shape() -> None:
    shown = REDACTOR.document(
        b'<Document xmlns="urn:x"><Bal><Tp><Cd>CLBD</Cd></Tp><Amt Ccy="CNY">12.30</Amt><CdtDbtInd>CRDT</CdtDbtInd>'
        b"<Dt>2026-11-20</Dt></Bal><Acct><Id><Othr><Id>" + ACCOUNT.encode() + b"</Id></Othr></Id></Acct></Document>",
        "application/xml",
    )
    for kept in ("<Cd>CLBD</Cd>", '<Amt Ccy="CNY">12.30</Amt>', "<Dt>2026-11-20</Dt>", "<Id>…6543</Id>", "CRDT"):
        assert kept in shown


def test_of_an_error_the_banks_sentence_stays_but_not_what_it_echoes() -> None:
    text = f"no consent for {ACCOUNT} with {TOKEN}, call 13912345678"
    said = {"tppMessages": [{"code": "CONSENT_UNKNOWN", "text": text}]}
    shown = REDACTOR.document(json.dumps(said).encode(), "application/json", error=True)
    assert "CONSENT_UNKNOWN" in shown
    assert "no consent for …6543 with [redacted], call …5678" in shown
    assert "no consent" not in REDACTOR.document(json.dumps(said).encode(), "application/json")


def test_a_long_answer_is_cut() -> None:
    shown = REDACTOR.document(json.dumps({"a": [{"amount": "1.00"}] * 1000}).encode())
    assert f"… {1000 - ITEMS_MAX} more" in shown
    deep = b'{"a":' * 3000 + b"1" + b"}" * 3000
    assert len(REDACTOR.document(deep).splitlines()) <= LINES_MAX + 1
    assert len(REDACTOR.document(b"1.00\n" * 10_000, "text/plain").splitlines()) == LINES_MAX + 1


def test_an_xml_bomb_is_not_opened() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "boom">]><x>&a;</x>'
    assert "boom" not in REDACTOR.document(bomb, "application/xml")


def test_a_called_path_shows_no_account_and_no_cursor() -> None:
    shown = REDACTOR.path(f"/v1/accounts/{ACCOUNT}/transactions?dateFrom=2026-11-01&cursor=c2VjcmV0&status=booked")
    assert shown == f"/v1/accounts/…6543/transactions?dateFrom=2026-11-01&cursor={HIDDEN}&status=booked"


@pytest.mark.parametrize(
    ("text", "shown"), [(ACCOUNT, "…6543"), ("1234567", "…"), ("", "…"), ("GB29 NWBK 6016", "…6016")]
)
def test_an_account_is_known_by_its_last_four(text: str, shown: str) -> None:
    assert last_four(text) == shown
