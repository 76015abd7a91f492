"""UK Open Banking over real loopback HTTP: v3.1 and v4.0 are read alike, and what cannot be believed is refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from bank_server import BankServer, Reply, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.banks.connectors.open_banking_uk import OpenBankingUk
from escrow_monitor.banks.http import BankHttp
from escrow_monitor.clock import FixedClock
from escrow_monitor.domain.accounts import Account, BalanceKind
from escrow_monitor.domain.money import Money, parse_amount
from escrow_monitor.domain.statements import RefusalReason, StatementKind, account_digest

GOLDEN = Path(__file__).parent / "golden" / "open_banking_uk"
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
LONDON, SHANGHAI = ZoneInfo("Europe/London"), ZoneInfo("Asia/Shanghai")
R, K = RefusalReason, BalanceKind
ID = "22289"
ACCOUNT = Account(
    account_no="80200110203345", bank="albion", connector="open_banking_uk", currency="GBP", external_id=ID
)
SINCE = PullRequest(account=ACCOUNT, statements_from=date(2026, 11, 20))
BASE = "/open-banking/v4.0/aisp"

Json = dict[str, object]


def golden(name: str) -> Json:
    document: Json = json.loads((GOLDEN / f"{name}.json").read_bytes())
    return document


def gbp(text: str) -> Money:
    return parse_amount(text, "GBP")


@pytest.fixture
def bank() -> Iterator[Callable[..., OpenBankingUk]]:
    made: list[OpenBankingUk] = []

    def make(
        server: BankServer, *, batch: bool = False, zone: ZoneInfo = LONDON, now: datetime = NOW,
        financial_id: str | None = None, **http: object,
    ) -> OpenBankingUk:
        quick = BankHttp(base_url=server.url + BASE, timeout_seconds=2, retries=0, token="tok-12345678")
        one = OpenBankingUk(
            "albion", replace(quick, **http), zone=zone, clock=FixedClock(now), batch=batch,  # type: ignore[arg-type]
            financial_id=financial_id,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def answering(routes: Mapping[str, object]) -> BankServer:
    """Answers by the end of the path, playing the id back; a Reply as it is, anything else as JSON."""

    def handler(request: Request) -> Reply:
        for end, body in routes.items():
            if request.path.endswith(end):
                if isinstance(body, Reply):
                    return body
                return Reply(body=body, headers={"x-fapi-interaction-id": request.headers["x-fapi-interaction-id"]})
        return Reply(status=404)

    return BankServer(handler)


def pulled(bank: OpenBankingUk, *requests: PullRequest, now: datetime = NOW) -> list[PullOutcome]:
    return list(bank.pull(requests or [PullRequest(account=ACCOUNT)], now=now))


def balance(kind: str, text: str, at: str, direction: str = "Credit", account: str = ID, **more: object) -> Json:
    return {
        "AccountId": account, "CreditDebitIndicator": direction, "Type": kind, "DateTime": at,
        "Amount": {"Amount": text, "Currency": "GBP"}, **more,
    }


def balances(*stated: Json, **more: object) -> Json:
    return {"Data": {"Balance": list(stated)}, "Links": {"Self": "x", **more}, "Meta": {"TotalPages": 1}}


CLOSING = balance("CLBD", "1230.00", "2026-11-21T00:00:00+00:00")


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_balances_of_both_versions_become_the_same_readings(version: str, bank: Callable[..., OpenBankingUk]) -> None:
    with answering({f"{BASE}/accounts/{ID}/balances": golden(f"good_balances_{version}")}) as server:
        (pull,) = pulled(bank(server))
        assert isinstance(pull, Pull), pull
        closing, running = pull.readings
        assert (closing.kind, closing.amount, closing.on, closing.final) == (
            K.BOOKED_CLOSING, gbp("1230.00"), date(2026, 11, 21), True,
        )
        assert closing.as_of == datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
        assert (running.kind, running.amount, running.final) == (K.BOOKED_INTRADAY, gbp("-57.36"), False)
        assert running.as_of == datetime(2026, 11, 22, 3, 43, 7, tzinfo=UTC)
        assert {one.raw_sha256 for one in pull.readings} == {pull.raw[0].sha256}
        headers = server.seen[0].headers
        assert uuid.UUID(headers["x-fapi-interaction-id"]).version == 4
        assert headers["authorization"] == "Bearer tok-12345678"
        assert not {"x-fapi-financial-id", "x-fapi-auth-date", "x-fapi-customer-ip-address"} & set(headers)


def test_the_financial_id_is_sent_where_the_bank_wants_it(bank: Callable[..., OpenBankingUk]) -> None:
    with answering({"/balances": golden("good_balances_v3")}) as server:
        pulled(bank(server, financial_id="0015800000EXAMPLE0"))
        assert server.seen[0].headers["x-fapi-financial-id"] == "0015800000EXAMPLE0"


def test_the_direction_is_the_indicator_alone_and_a_zero_has_none(bank: Callable[..., OpenBankingUk]) -> None:
    with answering({"/balances": golden("good_balances_overdrawn")}) as server:
        (pull,) = pulled(bank(server))
        assert isinstance(pull, Pull)
        assert [(one.amount, one.final) for one in pull.readings] == [(gbp("-57.36"), True), (gbp("0"), False)]


@pytest.mark.parametrize(
    ("stamp", "zone", "now", "expected"),
    [
        # A mere date, as the standard writes it, whatever the offset.
        ("2026-11-21T00:00:00+00:00", SHANGHAI, NOW, (date(2026, 11, 21), True)),
        ("2026-07-21T00:00:00+01:00", LONDON, datetime(2026, 7, 22, 4, tzinfo=UTC), (date(2026, 7, 21), True)),
        ("2026-11-21T00:00:00Z", ZoneInfo("America/New_York"), NOW + timedelta(days=1), (date(2026, 11, 21), True)),
        # An instant closes the day it lies in at the bank.
        ("2026-11-20T17:30:00Z", LONDON, NOW, (date(2026, 11, 20), True)),
        ("2026-11-20T15:30:00Z", SHANGHAI, NOW, (date(2026, 11, 20), True)),
        ("2026-07-20T22:59:00Z", LONDON, datetime(2026, 7, 22, 4, tzinfo=UTC), (date(2026, 7, 20), True)),
        # In the forenoon it says when the night's work was done, not for which day.
        ("2026-11-21T02:10:00Z", LONDON, NOW, (date(2026, 11, 21), False)),
        ("2026-11-20T17:30:00Z", SHANGHAI, NOW, (date(2026, 11, 21), False)),
        # Until midnight more may be booked.
        ("2026-11-22T00:00:00+00:00", LONDON, NOW, (date(2026, 11, 22), False)),
        ("2026-11-22T03:59:00+00:00", LONDON, NOW, (date(2026, 11, 22), False)),
    ],
)
def test_a_closing_balance_is_of_the_day_its_time_names_and_final_once_that_is_over(
    stamp: str, zone: ZoneInfo, now: datetime, expected: tuple[date, bool], bank: Callable[..., OpenBankingUk]
) -> None:
    with answering({"/balances": balances(balance("CLBD", "1.00", stamp))}) as server:
        (pull,) = pulled(bank(server, zone=zone, now=now), now=now)
        assert isinstance(pull, Pull), pull
        (reading,) = pull.readings
        assert (reading.kind, reading.on, reading.final) == (K.BOOKED_CLOSING, *expected)
        assert reading.as_of <= now


def test_a_closing_of_a_running_day_gives_way_to_the_running_balance(bank: Callable[..., OpenBankingUk]) -> None:
    stamp = "2026-11-22T03:00:00Z"
    stated = balances(balance("CLBD", "1.00", stamp), balance("ITBD", "2.00", stamp), balance("PRCD", "3.00", stamp))
    with answering({"/balances": stated}) as server:
        (pull,) = pulled(bank(server))
        assert isinstance(pull, Pull)
        assert [(one.kind, one.amount) for one in pull.readings] == [(K.BOOKED_INTRADAY, gbp("2.00"))]


def test_the_previous_closing_is_final_for_its_own_day(bank: Callable[..., OpenBankingUk]) -> None:
    stated = balances(CLOSING, balance("PreviouslyClosedBooked", "1000.00", "2026-11-20T00:00:00+00:00"))
    with answering({"/balances": stated}) as server:
        (pull,) = pulled(bank(server))
        assert isinstance(pull, Pull)
        assert [(one.on.day, one.amount, one.final) for one in pull.readings] == [
            (21, gbp("1230.00"), True), (20, gbp("1000.00"), True),
        ]


def test_an_available_balance_counts_only_without_a_credit_line_in_it(bank: Callable[..., OpenBankingUk]) -> None:
    at = "2026-11-22T03:00:00Z"
    for lines, taken in (
        (None, True), ([], True), ([{"Included": False}], True), ([{"Type": "Temporary"}], True),
        ([{"Included": False}, {"Included": True}], False), ([{"Included": "true"}], False),
    ):
        more: Json = {} if lines is None else {"CreditLine": lines}
        with answering({"/balances": balances(CLOSING, {**balance("ITAV", "9.00", at), **more})}) as server:
            (pull,) = pulled(bank(server))
            assert isinstance(pull, Pull)
            assert (K.AVAILABLE in {one.kind for one in pull.readings}) is taken


def test_an_account_without_an_id_of_the_banks_is_asked_for_by_its_number(bank: Callable[..., OpenBankingUk]) -> None:
    plain = replace(ACCOUNT, external_id=None)
    stated = balances({**CLOSING, "AccountId": plain.account_no})
    with answering({f"/accounts/{plain.account_no}/balances": stated}) as server:
        assert isinstance(pulled(bank(server), PullRequest(account=plain))[0], Pull)


GARBAGE = {
    "garbage_amount_number": R.BAD_AMOUNT, "garbage_amount_signed": R.BAD_AMOUNT,
    "garbage_amount_exponent": R.BAD_AMOUNT, "garbage_amount_six_decimals": R.BAD_AMOUNT,
    "garbage_amount_fourteen_digits": R.BAD_AMOUNT, "garbage_amount_of_a_third_penny": R.BAD_AMOUNT,
    "garbage_amount_missing": R.MISSING_FIELD, "garbage_currency_other": R.WRONG_CURRENCY,
    "garbage_direction_missing": R.MISSING_FIELD, "garbage_direction_unknown": R.MISSING_FIELD,
    "garbage_type_missing": R.MISSING_FIELD, "garbage_time_missing": R.MISSING_FIELD,
    "garbage_time_without_zone": R.BAD_DATE, "garbage_time_no_time": R.BAD_DATE,
    "garbage_time_impossible": R.BAD_DATE, "garbage_time_of_tomorrow": R.DATED_IN_FUTURE,
    "garbage_time_in_an_hour": R.DATED_IN_FUTURE, "garbage_account_other": R.WRONG_ACCOUNT,
    "garbage_account_missing": R.WRONG_ACCOUNT, "garbage_credit_line_no_list": R.MALFORMED,
    "garbage_only_a_credit_line": R.NO_BALANCE, "garbage_only_an_opening": R.NO_BALANCE,
    "garbage_two_closings": R.CONTRADICTS, "garbage_no_balances": R.NO_BALANCE, "garbage_no_data": R.MISSING_FIELD,
    "garbage_pages_missing": R.MALFORMED,
}
REFUSED = {
    "refused_403_reauthenticate_v3": R.CONSENT_EXPIRED, "refused_403_reauthenticate_v4": R.CONSENT_EXPIRED,
    "refused_400_consent_status_v4": R.CONSENT_EXPIRED, "refused_400_unknown_account_v3": R.NOT_FOUND,
    "refused_400_unknown_account_v4": R.NOT_FOUND, "refused_401_token_expired_v4": R.UNAUTHORIZED,
    "refused_400_field_invalid_v3": R.UNEXPECTED_STATUS,
}


def test_every_recording_is_named_here() -> None:
    kept = {path.stem for path in GOLDEN.glob("*.json")}
    assert kept - {name for name in kept if name.startswith("good_")} == set(GARBAGE) | set(REFUSED)


@pytest.mark.parametrize("name", GARBAGE)
def test_a_recording_that_cannot_be_believed_is_refused_and_kept(
    name: str, bank: Callable[..., OpenBankingUk]
) -> None:
    with answering({"/balances": golden(name)}) as server:
        (outcome,) = pulled(bank(server))
        assert isinstance(outcome, PullRefused), outcome
        assert outcome.refusal.reason is GARBAGE[name]
        assert outcome.raw, "what was received is kept as evidence"
        assert "80200110203345" not in str(outcome.refusal)


@pytest.mark.parametrize("name", REFUSED)
def test_the_banks_own_error_code_gives_the_reason(name: str, bank: Callable[..., OpenBankingUk]) -> None:
    status = int(name.split("_")[1])
    with answering({"/balances": Reply(status=status, body=golden(name))}) as server:
        (outcome,) = pulled(bank(server))
        assert isinstance(outcome, PullRefused)
        assert outcome.refusal.reason is REFUSED[name]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Reply(status=401), R.UNAUTHORIZED),
        (Reply(status=403), R.FORBIDDEN),
        (Reply(status=403, body={"Errors": "?"}), R.FORBIDDEN),
        (Reply(status=404), R.NOT_FOUND),
        (Reply(status=429), R.RATE_LIMITED),
        (Reply(status=500), R.SERVER_ERROR),
        (Reply(body=b'{"Data": {"Bal'), R.MALFORMED),
        (Reply(body=b"eyJhbGciOiJ.x.y.z.a", headers={"Content-Type": "application/jose+jwe"}), R.MALFORMED),
        (Reply(body=b"[]"), R.MALFORMED),
        (Reply(body={"Data": {"Balance": ["x"]}}), R.MALFORMED),
        (Reply(body={"Data": "x"}), R.MALFORMED),
        (Reply(body=balances(CLOSING, Next="http://evil.example/balances")), R.MALFORMED),
        (Reply(body=balances(CLOSING, Next=f"{BASE}/accounts/{ID}/balances")), R.MALFORMED),
        (Reply(body=balances(CLOSING, Next=7)), R.MALFORMED),
        (Reply(fault="reset"), R.UNREACHABLE),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_an_answer_that_is_none_is_refused(
    answer: Reply, reason: RefusalReason, bank: Callable[..., OpenBankingUk]
) -> None:
    with answering({"/balances": answer}) as server:
        (outcome,) = pulled(bank(server))
        assert isinstance(outcome, PullRefused), outcome
        assert outcome.refusal.reason is reason
        assert "tok-12345678" not in str(outcome.refusal)
        assert len(server.seen) <= 2


@pytest.mark.parametrize(
    ("echo", "refused"), [(str(uuid.UUID(int=7, version=4)), True), ("string", False), (None, False)]
)
def test_an_answer_to_somebody_elses_call_is_refused(
    echo: str | None, refused: bool, bank: Callable[..., OpenBankingUk]
) -> None:
    headers = {} if echo is None else {"x-fapi-interaction-id": echo}
    with answering({"/balances": Reply(body=balances(CLOSING), headers=headers)}) as server:
        (outcome,) = pulled(bank(server))
        assert isinstance(outcome, PullRefused) is refused
        if isinstance(outcome, PullRefused):
            assert outcome.refusal.reason is R.WRONG_ACCOUNT


def test_the_bank_is_left_alone_for_as_long_as_it_asks(bank: Callable[..., OpenBankingUk]) -> None:
    with answering({"/balances": Reply(status=429, headers={"Retry-After": "120"})}) as server:
        one = bank(server)
        for _ in range(3):
            (outcome,) = pulled(one)
            assert isinstance(outcome, PullRefused)
            assert outcome.refusal.reason is R.RATE_LIMITED
        assert (len(server.seen), one.rest_until) == (1, NOW + timedelta(seconds=120))


# ------------------------------------------------------------------------------------------------ all accounts at once


def numbered(place: int) -> Account:
    return replace(ACCOUNT, account_no=f"802001{place:08d}", external_id=f"id-{place}")


def listed(place: int, text: str = "1.00", kind: str = "CLBD", **more: object) -> Json:
    return {**balance(kind, text, "2026-11-21T00:00:00+00:00", account=f"id-{place}"), **more}


def paged(pages: Sequence[Sequence[Json]], *, last: Reply | None = None, total: int | None = None) -> BankServer:
    def handler(request: Request) -> Reply:
        number = int(request.query.get("page", "1"))
        if number == len(pages) and last is not None:
            return last
        links: Json = {"Self": "x"}
        if number < len(pages):
            links["Next"] = f"http://{request.headers['host']}{BASE}/balances?page={number + 1}"
        meta = {"TotalPages": total or len(pages)}
        return Reply(body={"Data": {"Balance": list(pages[number - 1])}, "Links": links, "Meta": meta})

    return BankServer(handler)


def outcomes_of(server: BankServer, bank: Callable[..., OpenBankingUk], places: int) -> list[object]:
    """For each account its amount, or why it has none."""
    requests = [PullRequest(account=numbered(place)) for place in range(places)]
    found = {one.account_no: one for one in pulled(bank(server, batch=True), *requests)}
    assert len(found) == places
    answers = [found[numbered(place).account_no] for place in range(places)]
    return [one.refusal.reason if isinstance(one, PullRefused) else one.readings[0].amount.text for one in answers]


def test_the_rows_of_an_account_may_lie_on_two_pages_in_any_order(bank: Callable[..., OpenBankingUk]) -> None:
    running = listed(0, "7.00", "ITBD", DateTime="2026-11-22T01:00:00Z")
    pages = [[listed(0), listed(1, "2.00")], [listed(2, "3.00"), running, listed(1, "2.00")]]
    for ordered in (pages, pages[::-1], [*pages, pages[0]]):
        requests = [PullRequest(account=numbered(place)) for place in range(4)]
        with paged(ordered) as server:
            found = {one.account_no: one for one in pulled(bank(server, batch=True), *requests)}
        stated = [found[one.account.account_no] for one in requests]
        assert [
            {(one.kind, one.amount.text) for one in pull.readings} if isinstance(pull, Pull) else pull.refusal.reason
            for pull in stated
        ] == [
            {(K.BOOKED_CLOSING, "1.00"), (K.BOOKED_INTRADAY, "7.00")}, {(K.BOOKED_CLOSING, "2.00")},
            {(K.BOOKED_CLOSING, "3.00")}, R.NOT_FOUND,
        ]
        assert all(len(pull.readings) == len(set(pull.readings)) for pull in stated if isinstance(pull, Pull))


def test_two_pages_that_state_an_account_differently_refuse_it(bank: Callable[..., OpenBankingUk]) -> None:
    with paged([[listed(0), listed(1)], [listed(1, "2.00"), listed(2)]]) as server:
        assert outcomes_of(server, bank, 3) == ["1.00", R.CONTRADICTS, "1.00"]


def test_each_row_of_a_list_stands_for_its_own_account(bank: Callable[..., OpenBankingUk]) -> None:
    page = [
        listed(0), listed(1, "1e5"), listed(2, CreditDebitIndicator=None), listed(3, "5.00"), listed(99),
        {"AccountId": [None]}, listed(4, kind="OPBD"),
    ]
    with paged([[*page, "nonsense"]]) as server:  # type: ignore[list-item]
        assert outcomes_of(server, bank, 6) == [
            "1.00", R.BAD_AMOUNT, R.MISSING_FIELD, "5.00", R.NO_BALANCE, R.NOT_FOUND,
        ]


@pytest.mark.parametrize(
    ("last", "total", "reason"),
    [
        (Reply(status=500), 2, R.SERVER_ERROR), (Reply(body=b'{"Da'), 2, R.MALFORMED),
        (Reply(body=balances()), 3, R.NOT_FOUND), (None, 3, R.MALFORMED),
    ],
)
def test_a_list_that_breaks_off_refuses_the_accounts_it_did_not_reach(
    last: Reply | None, total: int, reason: RefusalReason, bank: Callable[..., OpenBankingUk]
) -> None:
    with paged([[listed(0)], []], last=last, total=total) as server:
        assert outcomes_of(server, bank, 2) == ["1.00", reason]


def test_a_page_that_cannot_be_read_is_kept_as_evidence(bank: Callable[..., OpenBankingUk]) -> None:
    broken = b'{"Data": {"Bal'
    with paged([[listed(0)], []], last=Reply(body=broken)) as server:
        outcomes = pulled(bank(server, batch=True), *[PullRequest(account=numbered(place)) for place in range(2)])
    assert [[raw.content for raw in one.raw] for one in outcomes if isinstance(one, PullRefused)] == [[broken]]


def test_accounts_of_a_list_get_their_statements_too(bank: Callable[..., OpenBankingUk]) -> None:
    routes = {"/transactions": golden("good_transactions_v4"), "/balances": golden("good_balances_v4")}
    with answering(routes) as server:
        (pull,) = pulled(bank(server, batch=True), SINCE)
        assert isinstance(pull, Pull)
        assert [one.final for one in pull.statements] == [True]


# ----------------------------------------------------------------------------------------------------- transactions


def entry(
    text: str, at: str, direction: str = "Credit", *, ref: str | None = None, after: str | None = None, **more: object
) -> Json:
    known: Json = {} if ref is None else {"TransactionId": ref}
    if after is not None:
        known["Balance"] = {
            "CreditDebitIndicator": "Debit" if after.startswith("-") else "Credit", "Type": "ITBD",
            "Amount": {"Amount": after.lstrip("-"), "Currency": "GBP"},
        }
    return {
        "AccountId": ID, "CreditDebitIndicator": direction, "Status": "BOOK", "BookingDateTime": at,
        "Amount": {"Amount": text, "Currency": "GBP"}, **known, **more,
    }


def entries(*stated: Json, meta: Json | None = None, **links: object) -> Json:
    return {"Data": {"Transaction": list(stated)}, "Links": {"Self": "x", **links}, "Meta": meta or {}}


D20, D21 = "2026-11-20T00:00:00+00:00", "2026-11-21T15:00:00+00:00"


def with_entries(
    bank: Callable[..., OpenBankingUk], document: object, stated: Json | None = None, request: PullRequest = SINCE
) -> Pull:
    with answering({"/balances": stated or balances(CLOSING), "/transactions": document}) as server:
        (pull,) = pulled(bank(server), request)
        assert isinstance(pull, Pull), pull
        assert server.seen[1].query == {
            "fromBookingDateTime": "2026-11-19T00:00:00Z", "toBookingDateTime": "2026-11-22T23:59:59Z",
        }
        return pull


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_transactions_of_both_versions_become_the_same_statement(
    version: str, bank: Callable[..., OpenBankingUk]
) -> None:
    pull = with_entries(bank, golden(f"good_transactions_{version}"), golden(f"good_balances_{version}"))
    assert pull.refusals == ()
    (statement,) = pull.statements
    assert (statement.kind, statement.covers_from, statement.covers_to) == (
        StatementKind.END_OF_DAY, date(2026, 11, 20), date(2026, 11, 21),
    )
    assert (statement.opening, statement.closing) == (gbp("0"), gbp("1230.00"))
    newest, credit, debit = statement.entries
    assert (newest.amount, newest.booked_on, newest.bank_ref) == (gbp("-200.00"), date(2026, 11, 21), "123")
    assert newest.counterparty_account_sha256 == account_digest("80200112345678")
    assert newest.counterparty_sha256 is not None
    assert "ACME" not in repr(statement)
    assert (credit.amount, credit.text, credit.value_on) == (gbp("1440.00"), "Cash from Aubrey", date(2026, 11, 20))
    assert (debit.amount, debit.counterparty_sha256) == (gbp("-10.00"), None)
    assert len(pull.raw) == 2


def test_without_running_balances_the_opening_is_reckoned_from_the_closing(bank: Callable[..., OpenBankingUk]) -> None:
    pull = with_entries(bank, entries(entry("30.00", D20), entry("10.00", D21, "Debit")))
    (statement,) = pull.statements
    assert (statement.opening, statement.closing, statement.final) == (gbp("1210.00"), gbp("1230.00"), True)
    (quiet,) = with_entries(bank, {"Data": {}, "Links": {"Self": "x"}}).statements
    assert (quiet.opening, quiet.closing, quiet.entries) == (gbp("1230.00"), gbp("1230.00"), ())
    assert (quiet.covers_from, quiet.covers_to) == (date(2026, 11, 20), date(2026, 11, 21))


def test_identical_twins_are_two_entries_and_a_repeated_id_is_one(bank: Callable[..., OpenBankingUk]) -> None:
    twin, known = entry("1.00", D20), entry("2.00", D20, ref="T1")
    (statement,) = with_entries(bank, entries(twin, twin, known, known)).statements
    assert [(one.amount.text, one.occurrence) for one in statement.entries] == [("1.00", 1), ("1.00", 2), ("2.00", 1)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_running_balances_tie_in_whatever_order_the_bank_lists(
    order: Sequence[int], bank: Callable[..., OpenBankingUk]
) -> None:
    """Oldest or newest first; or by day one way and within a day the other, where times tell."""
    rows = [
        entry("30.00", "2026-11-20T09:00:00Z", ref="a", after="1230.00"),
        entry("20.00", "2026-11-20T10:00:00Z", "Debit", ref="b", after="1210.00"),
        entry("20.00", "2026-11-21T11:00:00Z", ref="c", after="1230.00"),
    ]
    (statement,) = with_entries(bank, entries(*(rows[place] for place in order))).statements
    assert (statement.opening, statement.final) == (gbp("1200.00"), True)


def test_without_a_final_closing_of_a_day_asked_for_entries_are_a_notice(bank: Callable[..., OpenBankingUk]) -> None:
    rows = entries(
        entry("1.00", D20), entry("2.00", D21), entry("4.00", "2026-11-22T01:00:00Z"),
        entry("8.00", "2026-11-19T12:00:00Z"),
    )
    for stated in (
        balances(balance("ITBD", "1.00", "2026-11-22T01:00:00Z")),
        balances(balance("CLBD", "1.00", "2026-11-19T00:00:00+00:00")),
        balances(balance("CLBD", "1.00", "2026-11-22T01:00:00Z")),
    ):
        (notice,) = with_entries(bank, rows, stated).statements
        assert (notice.kind, [one.amount.text for one in notice.entries]) == (StatementKind.NOTICE, ["1.00", "2.00"])


def test_entries_after_the_closing_balance_are_a_notice_of_their_own(bank: Callable[..., OpenBankingUk]) -> None:
    stated = balances(balance("CLBD", "1.00", D20))
    whole, notice = with_entries(bank, entries(entry("1.00", D20), entry("2.00", D21)), stated).statements
    assert (whole.covers_to, len(whole.entries), whole.opening) == (date(2026, 11, 20), 1, gbp("0"))
    assert (notice.kind, notice.entries[0].amount) == (StatementKind.NOTICE, gbp("2.00"))


def test_an_entry_that_may_still_change_keeps_its_day_open(bank: Callable[..., OpenBankingUk]) -> None:
    mutable = entry("5.00", D21, TransactionMutability="Mutable")
    (notice,) = with_entries(bank, entries(entry("1.00", D20), mutable)).statements
    assert (notice.kind, [one.amount.text for one in notice.entries]) == (StatementKind.NOTICE, ["1.00"])
    until_then = balances(balance("CLBD", "1.00", D20))
    (whole, *rest) = with_entries(bank, entries(entry("1.00", D20), mutable), until_then).statements
    assert (whole.final, rest) == (True, [])


@pytest.mark.parametrize("status", ["Pending", "PDNG", "Rejected", "RJCT", "FUTR", "INFO"])
def test_what_is_not_booked_is_no_entry(status: str, bank: Callable[..., OpenBankingUk]) -> None:
    (statement,) = with_entries(bank, entries(entry("1.00", D20), entry("9.00", D20, Status=status))).statements
    assert [one.amount.text for one in statement.entries] == ["1.00"]


def test_a_bank_that_gives_fewer_days_than_asked_covers_fewer(bank: Callable[..., OpenBankingUk]) -> None:
    for first, covered in (("2026-11-21T00:00:00+00:00", 21), ("2026-11-20T09:00:00+00:00", 21), (D20, 20)):
        (statement,) = with_entries(bank, entries(meta={"FirstAvailableDateTime": first})).statements
        assert statement.covers_from == date(2026, 11, covered)
    pull = with_entries(bank, entries(entry("1.00", D20), meta={"LastAvailableDateTime": D20}))
    assert [one.kind for one in pull.statements] == [StatementKind.NOTICE]


def test_pages_of_transactions_are_one_statement(bank: Callable[..., OpenBankingUk]) -> None:
    slid = entry("1.00", D20, ref="slid")

    def handler(request: Request) -> Reply:
        if request.path.endswith("/balances"):
            return Reply(body=balances(CLOSING))
        if "page" not in request.query:
            following = f"http://{request.headers['host']}{request.path}?page=2"
            return Reply(body=entries(entry("2.00", D21, ref="x"), slid, Next=following))
        return Reply(body=entries(slid, entry("4.00", D20, ref="y")))

    with BankServer(handler) as server:
        (pull,) = pulled(bank(server), SINCE)
        assert isinstance(pull, Pull)
        (statement,) = pull.statements
        assert [one.amount.text for one in statement.entries] == ["2.00", "1.00", "4.00"]
        assert (len(pull.raw), pull.refusals) == (3, ())


def test_a_page_of_nameless_entries_that_comes_twice_is_refused(bank: Callable[..., OpenBankingUk]) -> None:
    def handler(request: Request) -> Reply:
        if request.path.endswith("/balances"):
            return Reply(body=balances(CLOSING))
        if "page" in request.query:
            return Reply(body=entries(entry("2.00", D21)))
        return Reply(body=entries(entry("2.00", D21), Next=f"http://{request.headers['host']}{request.path}?page=2"))

    with BankServer(handler) as server:
        (pull,) = pulled(bank(server), SINCE)
        assert isinstance(pull, Pull)
        assert (pull.statements, pull.refusals[0].reason) == ((), R.MALFORMED)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (entries(entry("1e5", D20)), R.BAD_AMOUNT),
        (entries(entry("-1.00", D20)), R.BAD_AMOUNT),
        (entries(entry("1.00", D20, "Sideways")), R.MISSING_FIELD),
        (entries(entry("1.00", "2026-11-20T09:00:00")), R.BAD_DATE),
        (entries(entry("1.00", "2026-11-25T09:00:00Z")), R.DATED_IN_FUTURE),
        (entries(entry("1.00", D20, ValueDateTime="soon")), R.BAD_DATE),
        (entries(entry("1.00", D20, AccountId="31820")), R.WRONG_ACCOUNT),
        (entries(entry("1.00", D20, Amount={"Amount": "1.00", "Currency": "EUR"})), R.WRONG_CURRENCY),
        (entries(entry("1.00", D20, Status="Perhaps")), R.MALFORMED),
        (entries(entry("1.00", D20, Status=None)), R.MISSING_FIELD),
        (entries(entry("1.00", D20, ref="T"), entry("2.00", D20, ref="T")), R.CONTRADICTS),
        (entries(entry("1.00", D20, ref="a", after="1000.00"), entry("2.00", D21, ref="b", after="1230.00")),
         R.DOES_NOT_TIE),
        (entries(entry("1.00", D20, after="1229.99")), R.DOES_NOT_TIE),
        (entries(entry("1.00", D20, Balance="x")), R.MALFORMED),
        (entries(*[entry("9999999999999.99", D20)] * 12), R.BAD_AMOUNT),
        (entries(meta={"FirstAvailableDateTime": "x"}), R.BAD_DATE),
        (entries(meta={"TotalPages": 2}), R.MALFORMED),
        (entries("x"), R.MALFORMED),  # type: ignore[arg-type]
        ({"Data": {"Transaction": "x"}}, R.MALFORMED),
        ({"Data": None}, R.MISSING_FIELD),
        (Reply(status=429), R.RATE_LIMITED),
        (Reply(status=403, body=golden("refused_403_reauthenticate_v4")), R.CONSENT_EXPIRED),
        (Reply(body=b"{"), R.MALFORMED),
    ],
    ids=lambda value: str(value) if isinstance(value, RefusalReason) else "",
)
def test_entries_that_cannot_be_believed_leave_the_balance_standing(
    document: object, reason: RefusalReason, bank: Callable[..., OpenBankingUk]
) -> None:
    pull = with_entries(bank, document)
    assert pull.readings
    assert pull.statements == ()
    assert pull.refusals[0].reason is reason


def test_nothing_is_asked_for_before_a_day_has_closed(bank: Callable[..., OpenBankingUk]) -> None:
    with answering({"/balances": balances(CLOSING)}) as server:
        (pull,) = pulled(bank(server), replace(SINCE, statements_from=date(2026, 11, 22)))
        assert isinstance(pull, Pull)
        assert (len(server.seen), pull.refusals, pull.statements) == (1, (), ())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([
        "GBP", "1.00", "CLBD", "ITBD", "BOOK", ID, "Credit", "Debit", "", "é", "http://[", "/v1/\x00",
        "2026-11-21T00:00:00Z", "0001-01-01T00:00:01+14:00", "9999-12-31T23:59:59-12:00",
    ]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([
            "Data", "Balance", "Transaction", "AccountId", "Type", "Amount", "Currency", "CreditDebitIndicator",
            "DateTime", "BookingDateTime", "Status", "Links", "Next", "Meta", "TotalPages", "CreditLine", "Included",
            "ValueDateTime", "DebtorAccount", "TransactionMutability", "FirstAvailableDateTime",
        ]), inner, max_size=6,
    ),
    max_leaves=25,
)


@pytest.mark.slow
def test_any_json_ends_in_one_outcome_an_account() -> None:
    document: list[object] = [None]
    with BankServer(lambda request: Reply(body=document[0])) as server:
        http = BankHttp(base_url=server.url, timeout_seconds=5, retries=0)
        banks = [OpenBankingUk("b", http, zone=LONDON, clock=FixedClock(NOW), batch=batch) for batch in (False, True)]

        @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(json_values, st.sampled_from(["", "balance", "field", "transactions"]))
        def check(value: object, wrapped: str) -> None:
            document[0] = {
                "": value, "balance": balances(value), "field": balances({**CLOSING, "DateTime": value}),  # type: ignore[arg-type]
                "transactions": {"Data": {"Balance": [CLOSING], "Transaction": [value]}, "Meta": value},
            }[wrapped]
            for one in banks:
                assert len(pulled(one, SINCE, PullRequest(account=numbered(5)))) == 2

        try:
            check()
        finally:
            for one in banks:
                one.close()
