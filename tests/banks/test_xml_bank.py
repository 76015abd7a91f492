"""A front-end machine that answers XML, read by configuration alone, in forms that are publicly described."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest
from bank_server import Reply, Request
from hypothesis import assume, given
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
from escrow_monitor.banks.connectors.xml_bank import XmlPath
from escrow_monitor.banks.decoding import decoded
from escrow_monitor.banks.mapping import Context, Place, balances_rule
from escrow_monitor.banks.safe_xml import parsed_xml
from escrow_monitor.banks.statement_reading import Refused
from escrow_monitor.domain.money import AmountError, Money, parse_amount
from escrow_monitor.domain.statements import RefusalReason
from escrow_monitor.settings.mapping import BalancesMapping
from escrow_monitor.settings.section import zone_of

R = RefusalReason
RECORDED = GOLDEN / "xml_bank"
TOML = {path.stem: path.read_text(encoding="utf-8") for path in RECORDED.glob("*.toml")}


def recorded(name: str) -> bytes:
    return next(RECORDED.glob(f"{name}.*")).read_bytes()


def bank(name: str, **changes: object) -> dict[str, object]:
    return section(TOML[name], name, **changes)


HEAD = b'<?xml version="1.0" encoding="GBK"?>'


def small(**changes: object) -> dict[str, object]:
    """The shortest mapping there is."""
    found: dict[str, object] = {
        "connector": "xml_bank", "base_url": "http://127.0.0.1:1", "retries": 0,
        "balances": {
            "method": "POST", "path": "/b", "account": "no", "currency_is": "CNY",
            "body": f'{HEAD.decode()}<q><no kind="{{account_no}}">{{account_no}}</no></q>',
            "readings": [{"kind": "booked_intraday", "amount": "bal"}],
        },
    }
    for name, value in changes.items():
        place, _, key = name.rpartition("__")
        (found[place] if place else found)[key] = value  # type: ignore[index]
    return found


def says(inner: str, *, encoding: str = "gbk", head: bytes = HEAD) -> Callable[[Request], Reply]:
    return always(head + f"<a>{inner}</a>".encode(encoding))


GOOD = f"<no>{NUMBER}</no><bal>12.34</bal>"


# forms that are publicly described


def test_citic_balances_come_in_a_batch_with_a_code_for_each_row() -> None:
    with connected(always(recorded("good_citic_balances")), bank("citic"), "citic") as (connector, server):
        requests = [PullRequest(account=account("citic", number)) for number in (NUMBER, OTHER)]
        good, other = sorted(connector.pull(requests, now=NOW), key=lambda one: one.account_no)[::1]
        (seen,) = server.seen
        assert seen.headers["content-type"] == "application/xml; charset=GBK"
        assert seen.body.decode("gbk") == (
            '<?xml version="1.0" encoding="GBK"?><stream><action>DLBALQRY</action><userName>our-user</userName>'
            f'<list name="userDataList"><row><accountNo>{NUMBER}</accountNo></row>'
            f"<row><accountNo>{OTHER}</accountNo></row></list></stream>"
        )
    assert told(good) == """\
booked_intraday 120000.00 CNY of 2026-11-22 at 11-22 04:00:00
available 119000.50 CNY of 2026-11-22 at 11-22 04:00:00
held 999.50 CNY of 2026-11-22 at 11-22 04:00:00
account unknown"""
    assert told(other) == "unexpected_status: the bank answers 'ED12050': 账号…6886无权限查询"


def test_citic_entries_come_in_pages_with_the_balance_after_each() -> None:
    asked = []

    def machine(request: Request) -> Reply:
        text = request.body.decode("gbk")
        if "DLBALQRY" in text:
            return Reply(body=recorded("good_citic_balances"))
        asked.append(re.findall("<(startDate|endDate|pageNumber|startRecord)>([^<]*)<", text))
        return Reply(body=recorded(f"good_citic_entries_{len(asked)}"))

    (pull,) = pulled(machine, bank("citic"), "citic", since=date(2026, 11, 20))
    lines = told(pull).splitlines()[4:]
    assert lines[0] == "end_of_day 100000.00 CNY to 110507.84 CNY, covers 2026-11-20..2026-11-21"
    assert lines[1] == "  2026-11-20 -500.00 ORI0000 '学费0' named"
    assert len(lines) == 22
    assert asked == [
        [("startDate", "20261120"), ("endDate", "20261121"), ("pageNumber", "20"), ("startRecord", start)]
        for start in ("1", "21")
    ]


def test_citic_refuses_in_its_own_words() -> None:
    (outcome,) = pulled(always(recorded("refused_citic")), bank("citic"), "citic")
    assert told(outcome) == "unexpected_status: the bank answers 'ED02001': 用户未登录"


def test_boc_is_signed_in_once_and_again_when_the_session_is_over(tmp_path: Path) -> None:
    (tmp_path / "boc-password").write_text("password-77\n", encoding="utf-8")
    calls: list[str] = []

    def machine(request: Request) -> Reply:
        text = request.body.decode()
        code = re.findall("<trncod>([^<]*)<", text)[0]
        calls.append(code)
        if code == "b2e0001":
            assert "<oprpwd>password-77</oprpwd>" in text
            assert re.search("<custdt>20261122120000000</custdt>", text)
            return Reply(body=recorded("good_boc_sign_in"))
        assert "<token>k4AWqk7R</token>" in text
        over = calls.count("b2e0005") == 2
        return Reply(body=recorded("refused_boc_session_over" if over else "good_boc_balances"))

    with connected(machine, bank("boc"), "boc", folder=tmp_path) as (connector, _):
        for _ in range(2):
            (pull,) = connector.pull([PullRequest(account=account("boc"))], now=NOW)
            assert told(pull) == """\
booked_intraday 120000.00 CNY of 2026-11-22 at 11-22 04:00:00
available 119000.50 CNY of 2026-11-22 at 11-22 04:00:00
held 999.50 CNY of 2026-11-22 at 11-22 04:00:00
account unknown"""
    assert calls == ["b2e0001", "b2e0005", "b2e0005", "b2e0001", "b2e0005"]


def test_a_sign_in_that_fails_is_tried_once_a_round(tmp_path: Path) -> None:
    (tmp_path / "boc-password").write_text("password-77", encoding="utf-8")
    answer = recorded("good_boc_sign_in").replace(b"B001", b"B009").replace(b">ok<", b">bad password-77<")
    with connected(always(answer), bank("boc"), "boc", folder=tmp_path) as (connector, server):
        requests = [PullRequest(account=account("boc", number)) for number in (NUMBER, OTHER)]
        outcomes = list(connector.pull(requests, now=NOW))
        assert len(server.seen) == 1
        assert {told(one) for one in outcomes} == {"unexpected_status: the bank answers 'B009': bad [redacted]"}


def test_a_session_that_stays_over_ends_in_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "boc-password").write_text("password-77", encoding="utf-8")

    def machine(request: Request) -> Reply:
        name = "good_boc_sign_in" if b"b2e0001" in request.body else "refused_boc_session_over"
        return Reply(body=recorded(name))

    (outcome,) = pulled(machine, bank("boc"), "boc", folder=tmp_path)
    assert told(outcome) == "unexpected_status: the bank answers 'B107': 未签到"


def test_icbc_is_asked_with_a_form_and_answers_in_base64_and_fen() -> None:
    with connected(always(recorded("good_icbc_balances")), bank("icbc"), "icbc") as (connector, server):
        (pull,) = connector.pull([PullRequest(account=account("icbc"))], now=NOW)
        (seen,) = server.seen
    form = parse_qs(seen.body.decode("ascii"), keep_blank_values=True, encoding="gbk")
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert form["TransCode"] == ["QACCBAL"]
    assert form["Cert"] == [""]
    assert form["PackageID"] == [seen.query["PackageID"]]
    assert f"<fSeqno>{seen.query['PackageID']}</fSeqno>" in form["reqData"][0]
    assert f"<AccNo>{NUMBER}</AccNo>" in form["reqData"][0]
    assert told(pull) == """\
booked_intraday 120000.00 CNY of 2026-11-22 at 11-22 04:00:00
available 119000.50 CNY of 2026-11-22 at 11-22 04:00:00
held 999.50 CNY of 2026-11-22 at 11-22 04:00:00
booked_closing 123456.78 CNY of 2026-11-21 at 11-21 15:59:59 final
account unknown"""


@pytest.mark.parametrize("answer", [recorded("refused_icbc"), b"reqData=not-base64!", b""])
def test_icbc_without_reqdata_is_refused(answer: bytes) -> None:
    (outcome,) = pulled(always(answer), bank("icbc"), "icbc")
    assert isinstance(outcome, PullRefused)
    assert outcome.refusal.reason in (R.MISSING_FIELD, R.MALFORMED)


# garbage


GARBAGE_REASONS = {
    "exponent": R.BAD_AMOUNT, "grouped": R.BAD_AMOUNT, "missing": R.MISSING_FIELD, "empty": R.MISSING_FIELD,
    "twice": R.MALFORMED, "nested": R.MALFORMED, "currency_other": R.WRONG_CURRENCY,
    "currency_missing": R.MISSING_FIELD, "utf8_under_gbk": R.MALFORMED, "declares_utf8": R.MALFORMED,
    "lost_characters": R.MALFORMED, "document_type": R.UNSAFE_XML, "account_other": R.NOT_FOUND,
    "account_missing": R.NOT_FOUND, "row_code_missing": R.MISSING_FIELD, "code_missing": R.MISSING_FIELD,
    "cut": R.MALFORMED, "half_character": R.MALFORMED,
}


@pytest.mark.parametrize("path", sorted(RECORDED.glob("garbage_citic_*")), ids=lambda path: path.stem)
def test_garbage_is_refused_by_reason_and_kept_as_evidence(path: Path) -> None:
    (outcome,) = pulled(always(path.read_bytes()), bank("citic"), "citic")
    assert isinstance(outcome, PullRefused), told(outcome)
    assert outcome.refusal.reason is GARBAGE_REASONS[path.stem.removeprefix("garbage_citic_")], outcome.refusal
    assert [one.content for one in outcome.raw] == [path.read_bytes()]


BOMB = b'<!DOCTYPE a [<!ENTITY x "1"><!ENTITY y "&x;&x;&x;&x;">]>'
OUTSIDE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("before", [BOMB, OUTSIDE, b"<!DOCTYPE a>"])
def test_a_document_type_is_refused_before_anything_is_read(before: bytes) -> None:
    (outcome,) = pulled(always(HEAD + before + f"<a>{GOOD}</a>".encode()), small(), "machine")
    assert isinstance(outcome, PullRefused)
    assert outcome.refusal.reason is R.UNSAFE_XML


@pytest.mark.parametrize(
    ("encoding", "head", "configured", "taken"),
    [
        ("gbk", "GBK", "gbk", True), ("gbk", "gb2312", "gbk", True), ("gb18030", "GB18030", "gbk", True),
        ("gbk", "GBK", "gb18030", True), ("utf-8", "UTF-8", "utf-8", True), ("gbk", "UTF-8", "gbk", False),
        ("utf-8", "GBK", "gbk", False), ("utf-8", "UTF-8", "gbk", False), ("gbk", "GBK", "utf-8", False),
        ("utf-8", "ISO-8859-1", "utf-8", False),
    ],
)
def test_the_encoding_is_what_was_agreed_or_the_answer_is_refused(
    encoding: str, head: str, configured: str, taken: bool
) -> None:
    body = small(
        encoding=configured,
        balances__body=f'<?xml version="1.0" encoding="{configured}"?><q>{{account_no}}</q>',
    )
    answer = says(f"{GOOD}<name>自贡市㐂青禾</name>" if encoding == "gb18030" else f"{GOOD}<name>自贡市青禾</name>",
                  encoding=encoding, head=f'<?xml version="1.0" encoding="{head}"?>'.encode())
    (outcome,) = pulled(answer, body, "machine")
    assert isinstance(outcome, Pull) is taken, outcome
    if isinstance(outcome, PullRefused):
        assert (outcome.refusal.reason, outcome.refusal.field) == (R.MALFORMED, "encoding")


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=30))
def test_chinese_text_is_read_in_its_own_encoding_and_never_in_another(text: str) -> None:
    assume("锟斤拷" not in text)  # what is left of text that was lost before
    assert decoded(f"<n>{text}</n>".encode(), "utf-8", "") == f"<n>{text}</n>"
    with pytest.raises(Refused):
        decoded(f"<n>{text}</n>".encode(), "gbk", "")
    try:
        known = decoded(f"<n>{text}</n>".encode("gb18030"), "gbk", "")
    except Refused:
        return  # by chance these bytes are UTF-8, too: refused rather than guessed
    assert known == f"<n>{text}</n>"


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_refused(content: bytes) -> None:
    for encoding in ("utf-8", "gbk", "gb18030"):
        with suppress(Refused):
            assert isinstance(decoded(content, encoding, ""), str)  # type: ignore[arg-type]


SHOWN = st.one_of(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12),
    st.from_regex(r" ?-?[0-9]{1,15}(\.[0-9]{1,3})? ?", fullmatch=True),
    st.from_regex(r"[0-9]{1,3}(,[0-9]{3})?\.[0-9]{2}|[0-9]e[0-9]|[０-９]{1,4}", fullmatch=True),
)


@given(SHOWN, st.sampled_from(["yuan", "fen"]))
def test_whatever_stands_there_is_read_to_the_fen_or_refused(text: str, unit: str) -> None:
    mapping = BalancesMapping.model_validate({**small()["balances"], "unit": unit})  # type: ignore[dict-item]
    rule = balances_rule(mapping, Context(find=XmlPath, currencies={}), "banks.machine")
    top = parsed_xml(f"<a><no>{NUMBER}</no><bal>{escape(text)}</bal></a>".encode(), "/b")
    plain = text.strip()
    try:
        (reading,) = rule.readings_of(
            Place(top, top, "/b"), account("machine"), Moment(zone_of("Asia/Shanghai"), NOW), source="", raw_sha256=""
        )
    except Refused:
        with pytest.raises(AmountError):
            expected_of(plain, unit)
    else:
        assert reading.amount == expected_of(plain, unit)


def expected_of(text: str, unit: str) -> Money:
    """The amount by another way than the reader's; AmountError for what is none."""
    if unit == "yuan":
        return parse_amount(text, "CNY")
    if not re.fullmatch(r"[+-]?[0-9]{1,16}", text, re.ASCII):
        raise AmountError(text)
    return Money(int(text), "CNY")


# requests


@pytest.mark.parametrize("number", ['6<2', '62"/><evil/>', "6&2;", "]]>", "账号", "62' x='"])
def test_an_account_number_stays_text_in_the_request(number: str) -> None:
    from defusedxml.ElementTree import fromstring

    with connected(says(""), small(), "machine") as (connector, server):
        list(connector.pull([PullRequest(account=account("machine", number))], now=NOW))
        (seen,) = server.seen
    root = fromstring(seen.body.removeprefix(HEAD).decode("gbk"))
    assert [(one.tag, one.text, one.attrib) for one in root] == [("no", number, {"kind": number})]


@pytest.mark.parametrize("number", ["62\x00", "62\x1b", "62𠮷"])
def test_what_cannot_be_written_is_not_sent(number: str) -> None:
    with connected(says(""), small(), "machine") as (connector, server):
        (outcome,) = connector.pull([PullRequest(account=account("machine", number))], now=NOW)
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is R.NOT_CONFIGURED
        assert not server.seen


@pytest.mark.parametrize(
    ("stated", "taken"),
    [("{0:06d}", True), ("{0:<6d}", True), ("{1:06d}", True), ("{0:05d}x", False), ("000001", False), ("", False)],
)
def test_a_length_in_front_is_sent_and_checked(stated: str, taken: bool) -> None:
    inner = HEAD + f"<a>{GOOD}</a>".encode()
    answer = stated.format(len(inner), len(inner) + 6).encode() + inner
    with connected(always(answer), small(length_digits=6), "machine") as (connector, server):
        (outcome,) = connector.pull([PullRequest(account=account("machine"))], now=NOW)
        (seen,) = server.seen
    assert isinstance(outcome, Pull) is taken
    assert int(seen.body[:6]) == len(seen.body) - 6


def test_a_body_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "ye.xml").write_text(
        '<?xml version="1.0" encoding="GBK"?>\n<查询><账号>{account_no}</账号></查询>\n', encoding="utf-8"
    )
    found = small(balances__body=None, balances__body_file="ye.xml")
    with connected(says(GOOD), found, "machine", folder=tmp_path) as (connector, server):
        (pull,) = connector.pull([PullRequest(account=account("machine"))], now=NOW)
        assert isinstance(pull, Pull)
        assert f"<账号>{NUMBER}</账号>".encode("gbk") in server.seen[0].body


# paths


@pytest.mark.parametrize(
    ("path", "inner", "read"),
    [
        ("bal", "<bal> 12.34 </bal>", True),
        ("bal", "<bal/>", False),
        ("bal/@amt", '<bal amt="12.34"/>', True),
        ("bal/@amt", "<bal/>", False),
        ("bals/bal[@type='book']", "<bals><bal type='book'>12.34</bal><bal type='avail'>9</bal></bals>", True),
        ("bals/bal[type='book']/amt", "<bals><bal><type>book</type><amt>12.34</amt></bal></bals>", True),
        (".//bal", "<x><y><bal>12.34</bal></y></x>", True),
        ("{*}bal", "<bal xmlns='urn:x'>12.34</bal>", True),
        ("余额", "<余额>12.34</余额>", True),
        ("/x/bal", "<x><bal>12.34</bal></x>", True),
        ("bal", "<bal><![CDATA[12.34]]></bal>", True),
        ("bal", "<bal>12<!-- a -->.34</bal>", None),
    ],
)
def test_a_path_leads_to_one_text_or_to_nothing(path: str, inner: str, read: bool | None) -> None:
    found = small(balances__readings=[{"kind": "available", "amount": path}])
    (outcome,) = pulled(says(f"<no>{NUMBER}</no>{inner}"), found, "machine")
    if read is None:
        # A comment inside a figure: what is left of it is read whole or not at all.
        assert isinstance(outcome, PullRefused) or outcome.readings[0].amount.text == "12.34"
    else:
        assert isinstance(outcome, Pull) is read, outcome
    if isinstance(outcome, Pull):
        assert outcome.readings[0].amount.text == "12.34"


def entries(**changes: object) -> dict[str, object]:
    return {**small(), "statements": {
        "method": "POST", "path": "/e", "account": "no", "currency_is": "CNY", "entries": "list/row", "sign": "signed",
        "amount": "je", "booked_on": "day", "absent_is_empty": False,
        "body": f"{HEAD.decode()}<q>{{account_no}}<f>{{from}}</f><t>{{to}}</t></q>", **changes,
    }}


@pytest.mark.parametrize(
    ("inner", "changes", "reason"),
    [
        ("<list/>", {}, None),
        ("", {}, R.MISSING_FIELD),
        ("", {"absent_is_empty": True}, None),
        ("<list><row><day>2026-11-21</day></row></list>", {}, R.MISSING_FIELD),
    ],
)
def test_an_empty_list_is_not_a_list_that_is_missing(
    inner: str, changes: dict[str, object], reason: RefusalReason | None
) -> None:
    def machine(request: Request) -> Reply:
        return says(GOOD if request.path == "/b" else f"<no>{NUMBER}</no>{inner}")(request)

    (pull,) = pulled(machine, entries(**changes), "machine", since=date(2026, 11, 21))
    assert isinstance(pull, Pull)
    assert [one.reason for one in pull.refusals] == ([reason] if reason else [])


def test_each_entry_may_name_its_account() -> None:
    def machine(request: Request) -> Reply:
        row = "<row><no>{}</no><day>2026-11-21</day><je>1.00</je></row>"
        rows = row.format(NUMBER) + row.format(OTHER)
        return says(GOOD if request.path == "/b" else f"<list>{rows}</list>")(request)

    (pull,) = pulled(machine, entries(account_in="entry"), "machine", since=date(2026, 11, 21))
    assert isinstance(pull, Pull)
    assert [one.reason for one in pull.refusals] == [R.WRONG_ACCOUNT]


# the configuration


SMALL = """
[banks.machine]
connector = "xml_bank"
base_url = "https://10.1.2.3:6788"
[banks.machine.balances]
method = "POST"
path = "/b"
body = '<?xml version="1.0" encoding="GBK"?><q><no>{account_no}</no></q>'
account = "no"
currency_is = "CNY"
readings = [{ kind = "booked_intraday", amount = "bal" }]
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('amount = "bal"', 'amount = "bal["', "banks.machine.balances.readings[0].amount: 'bal[' is no path"),
        ('amount = "bal"', 'amount = "//bal"', "write .//name to look for it everywhere"),
        ('encoding="GBK"', 'encoding="UTF-8"', "declares UTF-8, and encoding is gbk"),
        (' encoding="GBK"', "", "banks.machine.balances.body: must begin with"),
        ("</no>", "", "banks.machine.balances.body: not well-formed XML"),
        ("<q>", "<!DOCTYPE q><q>", "banks.machine.balances.body: the document type"),
        ("{account_no}", "{konto}", "banks.machine.balances.body: unknown name {konto}"),
        ('body = ', 'body_file = "ye.xml"\nbody = ', "body and body_file are both given"),
        ('body = \'<?xml version="1.0" encoding="GBK"?><q><no>{account_no}</no></q>\'', 'body_file = "ye.xml"',
         "banks.machine.balances.body_file: cannot read ye.xml"),
        ("path = \"/b\"", "path = \"/b\"\nform = {a = \"b\"}", "a form needs form_field"),
        ("body = '", "body = {a = 1}\neach = '", "banks.machine.balances.body: an XML bank takes text"),
        ('connector = "xml_bank"', 'connector = "xml_bank"\nencodin = "gbk"', "encodin: unknown key; did you mean enc"),
        ('connector = "xml_bank"', 'connector = "xml_bank"\nencoding = "big5"', "banks.machine.encoding: Input should"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_by_its_key(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = SMALL.replace(old, new, 1)
    assert text != SMALL
    assert words in refused_config(text, tmp_path)


def test_the_bank_may_send_its_answer_in_base64_lines() -> None:
    inner = base64.encodebytes(HEAD + f"<a>{GOOD}</a>".encode())
    (pull,) = pulled(always(b"\r\nreqData=" + inner), small(answer_after="reqData=", answer_base64=True), "machine")
    assert isinstance(pull, Pull)
