"""XS2A over real loopback HTTP: what a bank states becomes readings; what cannot be believed becomes a refusal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from bank_server import BankServer, Reply, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.connectors.berlin_group import BerlinGroup
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import RefusalReason, StatementKind

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # noon in Shanghai
ZONE = ZoneInfo("Asia/Shanghai")
R = RefusalReason
NUMBER = "6222000000000012345"
ACCOUNT = Account(account_no=NUMBER, bank="icbk", connector="berlin_group", currency="CNY", external_id="res-1")

Json = dict[str, object]


def amount(text: object, currency: str = "CNY") -> Json:
    return {"currency": currency, "amount": text}


def balance(kind: str, text: object, day: str | None = "2026-11-21", currency: str = "CNY", **more: object) -> Json:
    stated: Json = {"balanceType": kind, "balanceAmount": amount(text, currency), **more}
    return stated if day is None else {**stated, "referenceDate": day}


def balances(*stated: Json, account: Json | None = None) -> Json:
    return {"account": account or {"bban": NUMBER, "currency": "CNY"}, "balances": list(stated)}


CLOSING = balance("closingBooked", "123456.78")
GOOD = balances(CLOSING)


@pytest.fixture
def bank() -> Iterator[Callable[..., BerlinGroup]]:
    made: list[BerlinGroup] = []

    def make(server: BankServer, *, sign: str = "signed", batch: bool = False, **http: object) -> BerlinGroup:
        quick = BankHttp(base_url=server.url + "/psd2", timeout_seconds=1, retries=0, token="tok-12345678")
        one = BerlinGroup(
            "icbk", replace(quick, **http), consent_id="consent-1234", zone=ZONE, clock=FixedClock(NOW),  # type: ignore[arg-type]
            batch=batch, sign=sign,  # type: ignore[arg-type]
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def answering(routes: Mapping[str, object]) -> BankServer:
    """Answers by the end of the path; a Reply as it is, anything else as JSON."""

    def handler(request: Request) -> Reply:
        for end, body in routes.items():
            if request.path.endswith(end):
                return body if isinstance(body, Reply) else Reply(body=body)
        return Reply(status=404)

    return BankServer(handler)


def pulled(bank: BerlinGroup, *requests: PullRequest, now: datetime = NOW) -> list[PullOutcome]:
    return list(bank.pull(requests or [PullRequest(account=ACCOUNT)], now=now))


def test_balances_become_readings(bank: Callable[..., BerlinGroup]) -> None:
    document = balances(
        CLOSING,
        balance("interimBooked", "120000.00", None, lastChangeDateTime="2026-11-22T09:00:00+08:00"),
        balance("interimAvailable", "-5", "2026-11-22"),
        balance("interimAvailable", "999999.00", None, creditLimitIncluded=True),
        balance("openingBooked", "1.00"), balance("expected", "2.00"), balance("forwardAvailable", "3.00"),
        balance("nonInvoiced", "whatever"), balance("somethingNew", "4.00"),
    )
    with answering({"/psd2/v1/accounts/res-1/balances": document}) as server:
        (pull,) = pulled(bank(server))
        assert isinstance(pull, Pull), pull
        closing, booked, available = pull.readings
        assert (closing.kind, closing.final) == (BalanceKind.BOOKED_CLOSING, True)
        assert closing.amount == Money(123_456_78, "CNY")
        assert (closing.on, closing.as_of) == (date(2026, 11, 21), datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC))
        assert (booked.kind, booked.on, booked.as_of, booked.final) == (
            BalanceKind.BOOKED_INTRADAY, date(2026, 11, 22), datetime(2026, 11, 22, 1, 0, tzinfo=UTC), False,
        )
        assert (available.kind, available.amount, available.as_of) == (BalanceKind.AVAILABLE, Money(-500, "CNY"), NOW)
        assert {one.raw_sha256 for one in pull.readings} == {pull.raw[0].sha256}
        assert json.loads(pull.raw[0].content) == document
        assert (pull.raw[0].media_type, pull.account_status, pull.bank) == (
            "application/json", AccountStatus.UNKNOWN, "icbk",
        )
        headers = server.seen[0].headers
        assert headers["consent-id"] == "consent-1234"
        assert len(headers["x-request-id"]) == 36


def raw(text: str) -> Reply:
    return Reply(body=text.encode())


WHOLE = json.dumps(GOOD)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Reply(fault="never"), R.TIMEOUT),
        (Reply(fault="reset"), R.UNREACHABLE),
        (Reply(status=401), R.UNAUTHORIZED),
        (Reply(status=401, body={"tppMessages": [{"code": "CONSENT_EXPIRED"}]}), R.CONSENT_EXPIRED),
        (Reply(status=401, body={"tppMessages": "?"}), R.UNAUTHORIZED),
        (Reply(status=403, body={"tppMessages": [{"code": "CONSENT_INVALID"}]}), R.CONSENT_EXPIRED),
        (Reply(status=403), R.FORBIDDEN),
        (Reply(status=404), R.NOT_FOUND),
        (Reply(status=429, body={"tppMessages": [{"code": "ACCESS_EXCEEDED"}]}), R.RATE_LIMITED),
        (Reply(status=500), R.SERVER_ERROR),
        (Reply(fault="half", body=GOOD), R.UNREACHABLE),
        (raw(WHOLE[:-30]), R.MALFORMED),
        (raw(""), R.MALFORMED),
        (raw("<html>maintenance</html>"), R.MALFORMED),
        (raw("[]"), R.MALFORMED),
        (raw("null"), R.MISSING_FIELD),
        (raw("[" * 100_000), R.MALFORMED),
        (raw(WHOLE.replace('"123456.78"', "NaN")), R.MALFORMED),
        (raw(WHOLE.replace('"123456.78"', "123456.78")), R.BAD_AMOUNT),
        (raw(WHOLE.replace('"123456.78"', "12345678901234567890")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "1e5")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "NaN")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "12345678901234567890")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "99999999999999.99")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "1,234.00")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "١٢٣")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", " 1.00")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "+1.00")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "1.001")), R.BAD_AMOUNT),
        (balances(balance("closingBooked", None)), R.BAD_AMOUNT),
        (balances(balance("closingBooked", "1.00", currency="USD")), R.WRONG_CURRENCY),
        (balances(CLOSING, account={"bban": NUMBER, "currency": "USD"}), R.WRONG_CURRENCY),
        (balances(CLOSING, balance("interimAvailable", "1e5")), R.BAD_AMOUNT),
        (balances({"balanceType": "closingBooked", "referenceDate": "2026-11-21"}), R.MISSING_FIELD),
        (balances(balance("closingBooked", "1.00", "2026-11-23")), R.DATED_IN_FUTURE),
        (balances(balance("interimBooked", "1.00", "2026-11-23")), R.DATED_IN_FUTURE),
        (balances(balance("interimBooked", "1.00", None, lastChangeDateTime="2026-11-22T13:00:00")), R.DATED_IN_FUTURE),
        (balances(balance("interimBooked", "1.00", None, lastChangeDateTime="yesterday")), R.BAD_DATE),
        (balances(balance("closingBooked", "1.00", None)), R.MISSING_FIELD),
        (balances(balance("closingBooked", "1.00", "2026-11-31")), R.BAD_DATE),
        (balances(balance("closingBooked", "1.00", "20261121")), R.BAD_DATE),
        (balances(balance("closingBooked", "1.00", "2026-W47-6")), R.BAD_DATE),
        (balances(CLOSING, account={"bban": "6222000000000099999"}), R.WRONG_ACCOUNT),
        (balances(CLOSING, account={"iban": "DE89370400440532013000", "bban": NUMBER}), R.WRONG_ACCOUNT),
        (balances(CLOSING, account={"resourceId": "res-2", "bban": NUMBER}), R.WRONG_ACCOUNT),
        (balances(CLOSING, account={"currency": "CNY"}), R.WRONG_ACCOUNT),
        (balances(), R.NO_BALANCE),
        ({"account": {"bban": NUMBER}}, R.NO_BALANCE),
        (balances(balance("expected", "1.00")), R.NO_BALANCE),
        (balances(balance("closingBooked", "1.00", creditLimitIncluded=True)), R.NO_BALANCE),
        (balances(CLOSING, balance("closingBooked", "1.00")), R.CONTRADICTS),
        (balances({"balanceAmount": amount("1.00")}), R.MISSING_FIELD),
        ({"account": {"bban": NUMBER}, "balances": ["x"]}, R.MALFORMED),
        ({"account": "x", "balances": []}, R.MALFORMED),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_an_answer_that_cannot_be_believed_is_refused_and_gives_no_reading(
    answer: object, reason: RefusalReason, bank: Callable[..., BerlinGroup]
) -> None:
    with answering({"/balances": answer}) as server:
        (outcome,) = pulled(bank(server))
        assert isinstance(outcome, PullRefused), outcome
        assert outcome.refusal.reason is reason
        assert outcome.account_no == NUMBER
        assert "tok-12345678" not in str(outcome.refusal)
        assert "consent-1234" not in str(outcome.refusal)
        if not isinstance(answer, Reply) or (answer.status == 200 and answer.fault is None):
            assert outcome.raw, "what was received is kept as evidence"


def test_the_same_answer_is_a_reading_once_its_day_has_come(bank: Callable[..., BerlinGroup]) -> None:
    with answering({"/balances": balances(balance("closingBooked", "1.00", "2026-11-22"))}) as server:
        (pull,) = pulled(bank(server))
        assert isinstance(pull, Pull)
        # The day is not over: a balance is not from later than its answer.
        assert (pull.readings[0].on, pull.readings[0].as_of) == (date(2026, 11, 22), NOW)


def test_an_iban_carries_the_number_at_its_end(bank: Callable[..., BerlinGroup]) -> None:
    with answering({"/balances": balances(CLOSING, account={"iban": f"CN00 {NUMBER}"})}) as server:
        assert isinstance(pulled(bank(server))[0], Pull)


def test_an_account_without_a_resource_id_is_asked_for_by_its_number(bank: Callable[..., BerlinGroup]) -> None:
    with answering({f"/v1/accounts/{NUMBER}/balances": GOOD}) as server:
        assert isinstance(pulled(bank(server), PullRequest(account=replace(ACCOUNT, external_id=None)))[0], Pull)
    odd = replace(ACCOUNT, external_id="a/b?c")
    with answering({"/v1/accounts/a%2Fb%3Fc/balances": GOOD}) as server:
        assert isinstance(pulled(bank(server), PullRequest(account=odd))[0], Pull)


# ---------------------------------------------------------------------------------------------- all accounts at once


def numbered(place: int) -> Account:
    return replace(ACCOUNT, account_no=f"62220000000001{place:05d}", external_id=f"res-{place}")


def listed(account: Account, text: str = "1.00", **more: object) -> Json:
    return {
        "resourceId": account.external_id, "bban": account.account_no, "currency": "CNY", "status": "enabled",
        "balances": [balance("closingBooked", text)], **more,
    }


def paged(pages: list[list[Json]], *, last: object = None) -> BankServer:
    def handler(request: Request) -> Reply:
        page = int(request.query.get("page", "0"))
        assert page > 0 or request.query["withBalance"] == "true"
        document: Json = {"accounts": pages[page]}
        if page + 1 < len(pages):
            document["_links"] = {"next": {"href": f"/psd2/v1/accounts?withBalance=true&page={page + 1}"}}
        elif last is not None:
            if isinstance(last, Reply):
                return last
            document["_links"] = {"next": last}
        return Reply(body=document)

    return BankServer(handler)


def by_account(outcomes: list[PullOutcome]) -> dict[str, PullOutcome]:
    assert len({one.account_no for one in outcomes}) == len(outcomes)
    return {one.account_no: one for one in outcomes}


def test_all_accounts_come_from_the_pages_of_one_list(bank: Callable[..., BerlinGroup]) -> None:
    accounts = [numbered(place) for place in range(1_203)]
    stated = [listed(one, f"{place}.00") for place, one in enumerate(accounts)]
    pages = [stated[at : at + 500] for at in (0, 500, 1_000)]
    with paged(pages) as server:
        outcomes = by_account(pulled(bank(server, batch=True), *[PullRequest(account=one) for one in accounts]))
        assert len(server.seen) == 3
    for place, one in enumerate(accounts):
        pull = outcomes[one.account_no]
        assert isinstance(pull, Pull)
        assert pull.readings[0].amount == Money(place * 100, "CNY")
        assert pull.account_status is AccountStatus.ACTIVE
    assert len({id(pull.raw[0]) for pull in outcomes.values()}) == 3


def test_each_account_of_a_list_stands_for_itself(bank: Callable[..., BerlinGroup]) -> None:
    accounts = [numbered(place) for place in range(8)]
    page = [
        listed(accounts[0]), listed(accounts[1], "1e5"), listed(accounts[2], status="blocked"),
        listed(accounts[3], currency="USD"), listed(accounts[4], iban="DE89370400440532013000"),
        listed(accounts[5], currency="USD"), listed(accounts[5]), listed(accounts[6], status="deleted"),
        listed(numbered(99)), "nonsense", {"resourceId": [None]}, {"bban": {}},
    ]
    with paged([page]) as server:
        outcomes = by_account(pulled(bank(server, batch=True), *[PullRequest(account=one) for one in accounts]))
    found = [
        one.refusal.reason if isinstance(one, PullRefused) else one.account_status
        for one in (outcomes[account.account_no] for account in accounts)
    ]
    assert found == [
        AccountStatus.ACTIVE, R.BAD_AMOUNT, AccountStatus.FROZEN, R.WRONG_CURRENCY, R.WRONG_ACCOUNT,
        AccountStatus.ACTIVE, AccountStatus.CLOSED, R.NOT_FOUND,
    ]
    assert outcomes[accounts[1].account_no].raw, "the page is kept as evidence"


def test_an_account_that_two_pages_state_differently_is_refused_in_either_order(
    bank: Callable[..., BerlinGroup]
) -> None:
    same, other = listed(numbered(0)), listed(numbered(1))
    pages = [
        [same, other, listed(numbered(2)), listed(numbered(3)), listed(numbered(4), currency="USD")],
        [same, listed(numbered(1), "2.00"), listed(numbered(2), status="blocked"), listed(numbered(3), "1e5"),
         listed(numbered(4))],
    ]
    for ordered in (pages, pages[::-1]):
        requests = [PullRequest(account=numbered(place)) for place in range(5)]
        with paged(ordered) as server:
            outcomes = by_account(pulled(bank(server, batch=True), *requests))
        found = [outcomes[numbered(place).account_no] for place in range(5)]
        assert [one.refusal.reason if isinstance(one, PullRefused) else "taken" for one in found] == [
            "taken", R.CONTRADICTS, R.CONTRADICTS, R.BAD_AMOUNT, "taken",
        ]


def test_a_page_that_cannot_be_read_is_kept_as_evidence(bank: Callable[..., BerlinGroup]) -> None:
    broken = b'{"accounts": [{"resour'
    with paged([[listed(numbered(0))], []], last=Reply(body=broken)) as server:
        outcomes = pulled(bank(server, batch=True), *[PullRequest(account=numbered(place)) for place in range(3)])
    lost = [one for one in outcomes if isinstance(one, PullRefused)]
    assert [[raw.content for raw in one.raw] for one in lost] == [[broken], [broken]]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (Reply(status=500), R.SERVER_ERROR),
        (Reply(body=b'{"accounts": [{"resour'), R.MALFORMED),
        (Reply(fault="never"), R.TIMEOUT),
    ],
)
def test_a_list_that_breaks_off_refuses_the_accounts_after_it(
    last: Reply, reason: RefusalReason, bank: Callable[..., BerlinGroup]
) -> None:
    accounts = [numbered(place) for place in range(4)]
    with paged([[listed(accounts[0]), listed(accounts[1])], []], last=last) as server:
        outcomes = by_account(pulled(bank(server, batch=True), *[PullRequest(account=one) for one in accounts]))
    kinds = [outcomes[one.account_no] for one in accounts]
    assert [isinstance(one, Pull) for one in kinds] == [True, True, False, False]
    assert {one.refusal.reason for one in kinds if isinstance(one, PullRefused)} == {reason}


@pytest.mark.parametrize(
    "link",
    [{"href": "/psd2/v1/accounts?withBalance=true&page=0"}, {"href": "http://evil.example/v1"}, {"href": 7}, "", 7],
)
def test_links_that_lead_in_a_circle_or_away_end_the_list(link: object, bank: Callable[..., BerlinGroup]) -> None:
    with paged([[listed(numbered(0))]], last=link) as server:
        outcomes = pulled(bank(server, batch=True), PullRequest(account=numbered(0)), PullRequest(account=numbered(1)))
        assert [type(one) for one in outcomes] == [Pull, PullRefused]
        assert isinstance(outcomes[1], PullRefused)
        assert outcomes[1].refusal.reason is R.MALFORMED
        assert len(server.seen) <= 2


# ---------------------------------------------------------------------------------------------------- transactions


def booked(day: str, text: str, ref: str | None = None, **more: object) -> Json:
    return {"bookingDate": day, "transactionAmount": amount(text), **({"transactionId": ref} if ref else {}), **more}


def period(entries: list[Json], *stated: Json, **more: object) -> Json:
    return {"account": {"bban": NUMBER}, "transactions": {"booked": entries, **more}, "balances": list(stated)}


SINCE = PullRequest(account=ACCOUNT, statements_from=date(2026, 11, 20))
OPENING = balance("openingBooked", "100.00", "2026-11-20")


def statements_of(
    bank: Callable[..., BerlinGroup], document: object, request: PullRequest = SINCE, sign: str = "signed"
) -> Pull:
    with answering({"/balances": GOOD, "/transactions": document}) as server:
        (pull,) = pulled(bank(server, sign=sign), request)
        assert isinstance(pull, Pull), pull
        for seen in server.seen[1:2]:
            assert seen.query == {
                "bookingStatus": "booked", "dateFrom": "2026-11-20", "dateTo": "2026-11-21", "withBalance": "true",
            }
        return pull


def test_entries_between_two_balances_are_a_statement(bank: Callable[..., BerlinGroup]) -> None:
    twin = booked("2026-11-21", "-10.00", remittanceInformationUnstructured="退费", creditorName="张三",
                  creditorAccount={"bban": "6222009999"}, valueDate="2026-11-22")
    pull = statements_of(bank, period([twin, twin, booked("2026-11-20", "43.21", "T1")], OPENING,
                                      balance("closingBooked", "123.21")))
    assert pull.refusals == ()
    (statement,) = pull.statements
    assert statement.final
    assert (statement.covers_from, statement.covers_to) == (date(2026, 11, 20), date(2026, 11, 21))
    first, second, third = statement.entries
    assert (first.amount, first.text, first.occurrence, second.occurrence) == (Money(-1000, "CNY"), "退费", 1, 2)
    assert first.counterparty_sha256 is not None
    assert (third.bank_ref, third.counterparty_sha256, third.booked_on) == ("T1", None, date(2026, 11, 20))
    assert len(pull.raw) == 2


def test_the_opening_may_carry_the_day_before(bank: Callable[..., BerlinGroup]) -> None:
    for day, first in (("2026-11-19", 20), ("2026-11-20", 20), ("2026-11-10", 11)):
        pull = statements_of(bank, period([], balance("openingBooked", "5.00", day), balance("closingBooked", "5.00")))
        assert pull.statements[0].covers_from == date(2026, 11, first)


def test_entries_without_both_balances_are_a_notice(bank: Callable[..., BerlinGroup]) -> None:
    pull = statements_of(bank, period([booked("2026-11-20", "1.00")], OPENING))
    assert [(one.kind, one.final) for one in pull.statements] == [(StatementKind.NOTICE, False)]
    assert statements_of(bank, period([])).statements == ()


def test_entries_after_the_closing_balance_are_a_notice_of_their_own(bank: Callable[..., BerlinGroup]) -> None:
    pull = statements_of(bank, period(
        [booked("2026-11-20", "1.00"), booked("2026-11-21", "2.00")], OPENING,
        balance("closingBooked", "101.00", "2026-11-20"),
    ))
    assert [(one.kind, len(one.entries), one.covers_to) for one in pull.statements] == [
        (StatementKind.END_OF_DAY, 1, date(2026, 11, 20)), (StatementKind.NOTICE, 1, None),
    ]


def test_pages_of_entries_are_one_statement(bank: Callable[..., BerlinGroup]) -> None:
    def handler(request: Request) -> Reply:
        if request.path.endswith("/balances"):
            return Reply(body=GOOD)
        if "page" not in request.query:
            link = {"next": {"href": request.path.removeprefix("/psd2") + "?page=2"}}
            return Reply(body=period([booked("2026-11-20", "1.00")], OPENING, _links=link))
        return Reply(body=period([booked("2026-11-21", "2.00")], balance("closingBooked", "103.00")))

    with BankServer(handler) as server:
        (pull,) = pulled(bank(server), SINCE)
        assert isinstance(pull, Pull)
        assert [len(one.entries) for one in pull.statements] == [2]
        assert (len(pull.raw), pull.refusals) == (3, ())


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (period([booked("2026-11-20", "1.00")], OPENING, balance("closingBooked", "101.01")), R.DOES_NOT_TIE),
        (period([booked("2026-11-20", "1e5")], OPENING), R.BAD_AMOUNT),
        (period([booked("tomorrow", "1.00")], OPENING), R.BAD_DATE),
        (period([{"transactionAmount": amount("1.00")}], OPENING), R.MISSING_FIELD),
        (period([booked("2026-11-23", "1.00")]), R.DATED_IN_FUTURE),
        (period([], OPENING, balance("closingBooked", "100.00", "2026-11-22")), R.DATED_IN_FUTURE),
        (period([], balance("openingBooked", "100.00", "2026-11-22"), balance("closingBooked", "100.00")), R.BAD_DATE),
        (period([], OPENING, balance("openingBooked", "101.00", "2026-11-20")), R.CONTRADICTS),
        (period([], balance("openingBooked", "100.00", "2026-11-20", "USD")), R.WRONG_CURRENCY),
        ({**period([]), "account": {"bban": "6222000000000099999"}}, R.WRONG_ACCOUNT),
        ({"transactions": {"_links": {"download": {"href": "/file"}}}}, R.NOT_FOUND),
        ({"transactions": {"_links": {"download": None}}}, R.MALFORMED),
        ({"_links": {"download": {"href": "http://evil.example/file"}}}, R.MALFORMED),
        ({"account": {"bban": "6222000000000099999"}, "_links": {"download": {"href": "/file"}}}, R.WRONG_ACCOUNT),
        ({"account": {"bban": NUMBER}}, R.MISSING_FIELD),
        (period(["x"]), R.MALFORMED),  # type: ignore[list-item]
        (Reply(status=429), R.RATE_LIMITED),
        (Reply(status=403, body={"tppMessages": [{"code": "CONSENT_EXPIRED"}]}), R.CONSENT_EXPIRED),
        (raw("{"), R.MALFORMED),
        (period([booked("2026-11-20", "90071992547409.91")] * 2, OPENING, CLOSING), R.BAD_AMOUNT),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_entries_that_cannot_be_believed_leave_the_balance_standing(
    document: object, reason: RefusalReason, bank: Callable[..., BerlinGroup]
) -> None:
    pull = statements_of(bank, document)
    assert pull.readings
    assert pull.statements == ()
    assert pull.refusals[0].reason is reason


# ------------------------------------------------------------------------------------------- files instead of lists


CAMT = """<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>1</MsgId>
<CreDtTm>2026-11-22T01:00:00</CreDtTm></GrpHdr><Stmt><Id>S1</Id><Acct><Id><Othr><Id>{number}</Id></Othr></Id>
<Ccy>{currency}</Ccy></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="{currency}">100.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Dt><Dt>2026-11-21</Dt></Dt></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="{currency}">123.21</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<Dt><Dt>2026-11-21</Dt></Dt></Bal>
<Ntry><Amt Ccy="{currency}">23.21</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><Dt>2026-11-21</Dt></BookgDt><BkTxCd/></Ntry></Stmt></BkToCstmrStmt></Document>"""
MT940 = "\r\n".join([
    ":20:S1", ":25:{number}", ":28C:1/1", ":60F:C261120{currency}100,00", ":61:2611211121C23,21NMSCNONREF", ":86:x",
    ":62F:C261121{currency}123,21", "-", "",
])


def download(
    bank: Callable[..., BerlinGroup], file: Reply, *, link: object = "/v1/accounts/res-1/file", inside: bool = True
) -> Pull:
    links = {"_links": {"download": {"href": link}}}
    routes = {"/balances": GOOD, "/transactions": {"transactions": links} if inside else links, "/file": file}
    with answering(routes) as server:
        (pull,) = pulled(bank(server), SINCE)
        assert isinstance(pull, Pull), pull
        assert len(pull.raw) == 3, "the file is kept as evidence"
        assert "xml" in server.seen[-1].headers["accept"]
        assert server.seen[-1].headers["consent-id"] == "consent-1234"
        return pull


def in_file(text: str, number: str = NUMBER, currency: str = "CNY") -> Reply:
    return Reply(
        body=text.replace("{number}", number).replace("{currency}", currency).encode(),
        headers={"Content-Type": "application/octet-stream"},
    )


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("text", [CAMT, MT940], ids=["camt", "mt940"])
def test_a_large_list_is_downloaded_as_a_statement_file(
    text: str, inside: bool, bank: Callable[..., BerlinGroup]
) -> None:
    pull = download(bank, in_file(text), inside=inside)
    assert pull.refusals == ()
    (statement,) = pull.statements
    assert (statement.account_no, statement.final) == (NUMBER, True)
    assert (statement.closing, statement.covers_to) == (Money(123_21, "CNY"), date(2026, 11, 21))
    assert [(one.account_no, one.amount.text) for one in statement.entries] == [(NUMBER, "23.21")]


def test_a_large_list_is_downloaded_as_json_too(bank: Callable[..., BerlinGroup]) -> None:
    document = period([booked("2026-11-20", "1.00")], OPENING, balance("closingBooked", "101.00"))
    pull = download(bank, Reply(body=document))
    assert [one.final for one in pull.statements] == [True]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (in_file(CAMT, "6222000000000099999"), R.WRONG_ACCOUNT),
        (in_file(MT940, "6222000000000099999"), R.WRONG_ACCOUNT),
        (in_file(CAMT, currency="USD"), R.WRONG_CURRENCY),
        (in_file(CAMT.replace("123.21", "123.22")), R.DOES_NOT_TIE),
        (in_file(CAMT[:-40]), R.MALFORMED),
        (in_file("<!DOCTYPE x [<!ENTITY y 'z'>]>" + CAMT.partition("?>")[2]), R.UNSAFE_XML),
        (in_file("not a statement at all"), R.UNKNOWN_FORMAT),
        (in_file(""), R.EMPTY),
        (in_file("{"), R.MALFORMED),
        (Reply(body={"_links": {"next": {"href": "/more"}}}), R.MALFORMED),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_a_file_that_cannot_be_believed_leaves_the_balance_standing(
    file: Reply, reason: RefusalReason, bank: Callable[..., BerlinGroup]
) -> None:
    pull = download(bank, file)
    assert pull.readings
    assert (pull.statements, pull.refusals[0].reason) == ((), reason)


def test_pages_of_entries_that_repeat_or_contradict_each_other(bank: Callable[..., BerlinGroup]) -> None:
    named, nameless = booked("2026-11-20", "1.00", "T1"), booked("2026-11-20", "1.00")
    for first, second, expected in (
        ([named], [named], ["1.00"]),
        ([named, nameless], [named], ["1.00", "1.00"]),
        ([nameless, nameless], [named], ["1.00", "1.00", "1.00"]),
        ([named], [booked("2026-11-20", "2.00", "T1")], R.CONTRADICTS),
        ([nameless], [nameless], R.MALFORMED),
    ):
        def handler(request: Request, first: list[Json] = first, second: list[Json] = second) -> Reply:
            if request.path.endswith("/balances"):
                return Reply(body=GOOD)
            if "page" in request.query:
                return Reply(body=period(second))
            return Reply(body=period(first, _links={"next": {"href": request.path + "?page=2"}}))

        with BankServer(handler) as server:
            (pull,) = pulled(bank(server), SINCE)
            assert isinstance(pull, Pull)
            found = [one.amount.text for statement in pull.statements for one in statement.entries]
            assert (found or pull.refusals[0].reason) == expected


# --------------------------------------------------------------------------------------------------- used-up consents


def test_a_consent_whose_accesses_are_used_up_rests_until_the_banks_midnight(bank: Callable[..., BerlinGroup]) -> None:
    exceeded = Reply(status=429, body={"tppMessages": [{"category": "ERROR", "code": "ACCESS_EXCEEDED"}]})
    first = balances(CLOSING, account={"bban": numbered(0).account_no})
    with answering({"/res-0/balances": first, "": exceeded}) as server:
        one = bank(server, concurrency=1)
        requests = [PullRequest(account=numbered(place)) for place in range(5)]
        outcomes = by_account(pulled(one, *requests))
        assert isinstance(outcomes[numbered(0).account_no], Pull)
        refused = [outcomes[numbered(place).account_no] for place in range(1, 5)]
        assert [one.refusal.reason for one in refused if isinstance(one, PullRefused)] == [R.RATE_LIMITED] * 4
        assert len(server.seen) == 2, "after the bank has said so nothing is asked any more"
        assert one.rest_until == datetime(2026, 11, 22, 16, 0, tzinfo=UTC)  # midnight in Shanghai


def test_a_bank_that_names_a_time_is_taken_at_its_word(bank: Callable[..., BerlinGroup]) -> None:
    body = {"tppMessages": [{"category": "ERROR", "code": "ACCESS_EXCEEDED"}]}
    with answering({"": Reply(status=429, body=body, headers={"Retry-After": "600"})}) as server:
        one = bank(server)
        pulled(one)
        assert one.rest_until == NOW + timedelta(seconds=600)


def test_nothing_is_asked_for_before_a_day_has_closed(bank: Callable[..., BerlinGroup]) -> None:
    request = replace(SINCE, statements_from=date(2026, 11, 22))
    with answering({"/balances": GOOD}) as server:
        (pull,) = pulled(bank(server), request)
        assert isinstance(pull, Pull)
        assert (len(server.seen), pull.refusals) == (1, ())


def test_a_closing_balance_of_a_day_already_known_is_no_statement(bank: Callable[..., BerlinGroup]) -> None:
    stated = (balance("openingBooked", "5.00", "2026-11-19"), balance("closingBooked", "5.00", "2026-11-19"))
    pull = statements_of(bank, period([], *stated))
    assert (pull.statements, pull.refusals) == ((), ())


def test_a_bank_that_writes_no_signs_is_read_by_the_parties(bank: Callable[..., BerlinGroup]) -> None:
    entries = [
        booked("2026-11-20", "1.00", creditorAccount={"iban": "CN00999999"}),
        booked("2026-11-20", "2.00", debtorAccount={"iban": "CN00999999"}),
        booked("2026-11-20", "4.00", creditorAccount={"bban": NUMBER}),
        booked("2026-11-20", "-8.00"),
    ]
    for sign, first in (("by_party", "-1.00"), ("signed", "1.00")):
        pull = statements_of(bank, period(entries), sign=sign)
        assert [entry.amount.text for entry in pull.statements[0].entries] == [first, "2.00", "4.00", "-8.00"]


def test_accounts_of_a_list_get_their_statements_too(bank: Callable[..., BerlinGroup]) -> None:
    document = period([booked("2026-11-20", "1.00")], OPENING, balance("closingBooked", "101.00"))
    routes = {"/v1/accounts": {"accounts": [listed(ACCOUNT), listed(numbered(2))]}, "/res-1/transactions": document}
    with answering(routes) as server:
        other = replace(numbered(2), external_id="res-9")
        outcomes = by_account(pulled(bank(server, batch=True), SINCE, PullRequest(account=other)))
        whole, refused = outcomes[NUMBER], outcomes[other.account_no]
        assert isinstance(whole, Pull)
        assert [one.final for one in whole.statements] == [True]
        assert isinstance(refused, PullRefused)
        assert refused.refusal.reason is R.WRONG_ACCOUNT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([
        "CNY", "1.00", "closingBooked", "2026-11-21", NUMBER, "res-1", "enabled", "", "é", "http://[", "//x",
        "/v1/\x00", "/v1/accounts?p",
    ]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([
            "account", "accounts", "balances", "balanceType", "balanceAmount", "amount", "currency", "referenceDate",
            "transactions", "booked", "_links", "next", "href", "bban", "iban", "resourceId", "status",
            "transactionAmount", "bookingDate", "creditorAccount", "lastChangeDateTime", "creditLimitIncluded",
        ]), inner, max_size=5,
    ),
    max_leaves=25,
)


@pytest.mark.slow
def test_any_json_ends_in_one_outcome_an_account() -> None:
    document: list[object] = [None]
    clock = FixedClock(NOW)
    with BankServer(lambda request: Reply(body=document[0])) as server:
        http = BankHttp(base_url=server.url, timeout_seconds=5, retries=0)
        banks = [
            BerlinGroup("b", http, consent_id="consent-1234", zone=ZONE, clock=clock, batch=batch, sign="by_party")
            for batch in (False, True)
        ]

        @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(json_values, st.sampled_from(["", "accounts", "balances", "transactions"]))
        def check(value: object, wrapped: str) -> None:
            document[0] = {
                "": value, "accounts": {"accounts": [listed(ACCOUNT, balances=value), value]},
                "balances": {**GOOD, "balances": value},
                "transactions": {**GOOD, "accounts": [listed(ACCOUNT)], "transactions": {"booked": [value]}},
            }[wrapped]
            for one in banks:
                outcomes = pulled(one, SINCE, PullRequest(account=numbered(5)))
                assert len(outcomes) == 2

        try:
            check()
        finally:
            for one in banks:
                one.close()


def test_the_round_may_be_replayed_in_the_past(bank: Callable[..., BerlinGroup]) -> None:
    with answering({"/balances": GOOD, "/transactions": period([])}) as server:
        pulled(bank(server), SINCE, now=NOW - timedelta(days=1))
        assert server.seen[1].query["dateTo"] == "2026-11-20"
