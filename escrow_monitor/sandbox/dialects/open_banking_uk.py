"""What an invented bank answers to a request in the shape of UK Open Banking account information.

    GET /yandu/open-banking/v4.0/aisp/balances                                  all accounts of the consent, 500 balances a page
    GET /yandu/open-banking/v4.0/aisp/accounts/{AccountId}/balances
    GET /yandu/open-banking/v4.0/aisp/accounts/{AccountId}/transactions?fromBookingDateTime=...&toBookingDateTime=...

The same below /open-banking/v3.1/aisp, in the words of that version.
"""  # noqa: E501 - an address is written on one line

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import TypeAlias

from escrow_monitor.domain.money import decimal_text
from escrow_monitor.domain.statements import Entry
from escrow_monitor.sandbox import names
from escrow_monitor.sandbox.dialects.dialect import Answer, Request
from escrow_monitor.sandbox.district import CURRENCY, ZONE, District, SandboxBank, last_closed_day, tick

VERSIONS = ("v3.1", "v4.0")
BALANCES_A_PAGE = 500
TRANSACTIONS_A_PAGE = 100
RETRY_AFTER_SECONDS = 60
FINANCIAL_ID = "0015800000SANDBOX0"

Json: TypeAlias = dict[str, object]

_WORDS = {
    "v3.1": {"CLBD": "ClosingBooked", "ITBD": "InterimBooked", "ITAV": "InterimAvailable", "CLAV": "ClosingAvailable",
             "BOOK": "Booked", "PDNG": "Pending"},
    "v4.0": {},
}
_CODES = {
    "v3.1": {"U002": "UK.OBIE.Field.Invalid", "U003": "UK.OBIE.Field.InvalidDate", "U006": "UK.OBIE.Header.Invalid",
             "U011": "UK.OBIE.Resource.NotFound", "U028": "UK.OBIE.Reauthenticate"},
    "v4.0": {},
}


class Garbage(StrEnum):
    """The ways in which the garbage bank answers wrongly, taken in turn hour by hour, account by account."""

    NUMBER = "number"
    SIGNED = "signed"
    EXPONENT = "exponent"
    SIX_DECIMALS = "six_decimals"
    NO_DIRECTION = "no_direction"
    NO_ZONE = "no_zone"
    TOMORROW = "tomorrow"
    WRONG_CURRENCY = "wrong_currency"
    OTHER_ACCOUNT = "other_account"
    OTHER_CALL = "other_call"
    TRUNCATED = "truncated"


GARBAGE = tuple(Garbage)


class _Wrong(Exception):
    """A request that is answered with an OBErrorResponse1, or with no body where `code` is None."""

    def __init__(self, status: int, code: str | None, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


@dataclass
class OpenBankingUkDialect:
    """UK Open Banking for all banks of a district. Links are absolute, as the standard has them."""

    district: District
    _ids: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def answer(self, request: Request, *, bank: SandboxBank, at: datetime, garbage: bool) -> Answer:
        """Answer one request at an instant, with an OBErrorResponse1 where it is wrong."""
        version = _version(request)
        try:
            self._check(bank, request, version)
            document, place = self._route(bank, request, version, at)
        except _Wrong as wrong:
            return _error(request, wrong, version)
        if not garbage:
            return Answer(200, json.dumps(document, ensure_ascii=False).encode(), headers=_echoed(request))
        return _spoilt(document, GARBAGE[(at.hour + place) % len(GARBAGE)], request, at)

    def limited(self, request: Request, *, bank: SandboxBank) -> Answer:
        """Too many requests: when to come again is said in the header, and there is no body."""
        return Answer(429, b"", headers={**_echoed(request), "Retry-After": str(RETRY_AFTER_SECONDS)})

    def settings(self, bank: SandboxBank, *, base_url: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]`."""
        return {
            "connector": "open_banking_uk", "base_url": f"{base_url}/open-banking/v4.0/aisp", "token": bank.token,
            "financial_id": FINANCIAL_ID, "batch": bank.batch,
        }

    def _check(self, bank: SandboxBank, request: Request, version: str) -> None:
        headers = request.headers
        if version not in VERSIONS:
            raise _Wrong(404, None, "no such version")
        if headers.get("authorization") != f"Bearer {bank.token}":
            raise _Wrong(401, None, "the access token is missing or wrong")
        if request.method != "GET":
            raise _Wrong(405, None, f"{request.method} is not offered here")
        if not {"application/json", "*/*"} & {one.partition(";")[0].strip() for one in
                                              headers.get("accept", "*/*").split(",")}:
            raise _Wrong(406, None, "only application/json is offered")
        if "x-fapi-interaction-id" in headers and _uuid(headers["x-fapi-interaction-id"]) is None:
            raise _Wrong(400, "U006", "x-fapi-interaction-id must be a UUID")
        if headers.get("x-fapi-financial-id", FINANCIAL_ID) != FINANCIAL_ID:
            raise _Wrong(403, None, "the request is meant for another bank")

    def _route(self, bank: SandboxBank, request: Request, version: str, at: datetime) -> tuple[Json, int]:
        """The document, and the place whose turn of garbage it is."""
        match request.path.strip("/").split("/")[3:]:
            case ["balances"]:
                places = self.district.places_at(bank.name)
                return self._balances(places, request, version, at), at.minute // 5
            case ["accounts", resource, "balances"]:
                place = self._place(bank, resource)
                return self._balances((place,), request, version, at), place
            case ["accounts", resource, "transactions"]:
                place = self._place(bank, resource)
                return self._transactions(place, request, version, at), place
        raise _Wrong(404, None, "no such resource")

    def _balances(self, places: Sequence[int], request: Request, version: str, at: datetime) -> Json:
        struck, words = tick(at), _WORDS[version]
        number, pages = _page(request, 3 * len(places), BALANCES_A_PAGE)
        a_page = BALANCES_A_PAGE // 3
        chosen = places[(number - 1) * a_page : number * a_page] if pages > 1 else places
        rows = [row for place in chosen for row in self._rows(place, struck, words)]
        return _document("Balance", rows, request, number, pages)

    def _rows(self, place: int, struck: datetime, words: Mapping[str, str]) -> Iterator[Json]:
        """The closing of the last closed day, the running balance, and what may be spent with a credit line in it."""
        closed = last_closed_day(struck)
        account_no = self.district.account_no(place)
        closing, running = (
            self.district.scaled(place, fen) for fen in self.district.struck(place, closed=closed, at=struck)
        )
        for name, fen, stamp in (
            ("CLBD", closing, f"{closed}T00:00:00+00:00"), ("ITBD", running, struck.isoformat(timespec="seconds")),
        ):
            yield {"AccountId": names.resource_id(account_no), **_amount(fen), "Type": words.get(name, name),
                   "DateTime": stamp}
        line = {"Included": True, "Type": "Pre-Agreed", "Amount": {"Amount": "50000.00", "Currency": CURRENCY}}
        yield {"AccountId": names.resource_id(account_no), **_amount(running + 50_000_00), "CreditLine": [line],
               "Type": words.get("ITAV", "ITAV"), "DateTime": struck.isoformat(timespec="seconds")}

    def _transactions(self, place: int, request: Request, version: str, at: datetime) -> Json:
        """Newest first, each with the booked balance after it; the movements of today still to come are pending."""
        first = _filter(request.query, "fromBookingDateTime", self.district.starts_on, at)
        last = _filter(request.query, "toBookingDateTime", at.date(), at)
        rows: list[Json] = []
        day = max(first.date(), self.district.starts_on)
        while day <= min(last.date(), at.date()):
            rows += (row for row, booked_at in self._day(place, day, version, at) if first <= booked_at <= last)
            day += timedelta(days=1)
        rows.reverse()
        number, pages = _page(request, len(rows), TRANSACTIONS_A_PAGE)
        chosen = rows[(number - 1) * TRANSACTIONS_A_PAGE : number * TRANSACTIONS_A_PAGE]
        return _document("Transaction", chosen, request, number, pages)

    def _day(self, place: int, day: date, version: str, at: datetime) -> Iterator[tuple[Json, datetime]]:
        words, account_no = _WORDS[version], self.district.account_no(place)
        balance = self.district.opening(account_no, day).minor_units
        for move, entry in zip(
            self.district.movements(place, day), self.district.entries(account_no, day), strict=True
        ):
            balance += entry.amount.minor_units
            booked_at = datetime.combine(day, time(), ZONE) + timedelta(seconds=move.second)
            status = "BOOK" if booked_at <= tick(at) else "PDNG"
            yield _transaction(entry, account_no, booked_at, balance, words.get(status, status), words), booked_at

    def _place(self, bank: SandboxBank, resource: str) -> int:
        """The place of an AccountId. One that does not exist is a bad request, another bank's is forbidden."""
        known = self._ids.get(bank.name)
        if known is None:
            known = self._ids[bank.name] = {
                names.resource_id(self.district.account_no(place)): place
                for place in self.district.places_at(bank.name)
            }
        if resource in known:
            return known[resource]
        elsewhere = (
            names.resource_id(self.district.account_no(place)) for other in self.district.banks
            if other.name != bank.name for place in self.district.places_at(other.name)
        )
        if resource in elsewhere:
            raise _Wrong(403, None, "the consent does not hold for this account")
        raise _Wrong(400, "U011", "no such account")


def _version(request: Request) -> str:
    parts = request.path.strip("/").split("/")
    return parts[1] if len(parts) > 3 and parts[0] == "open-banking" and parts[2] == "aisp" else ""


def _amount(fen: int) -> Json:
    text = decimal_text(abs(fen), CURRENCY)
    return {"CreditDebitIndicator": "Credit" if fen >= 0 else "Debit", "Amount": {"Amount": text, "Currency": CURRENCY}}


def _transaction(
    entry: Entry, account_no: str, booked_at: datetime, balance: int, status: str, words: Mapping[str, str]
) -> Json:
    known: Json = {"TransactionId": entry.bank_ref} if entry.bank_ref else {}
    after = {"Balance": {**_amount(balance), "Type": words.get("ITBD", "ITBD")}} if status in ("BOOK", "Booked") else {}
    return {
        "AccountId": names.resource_id(account_no), **known, **_amount(entry.amount.minor_units), "Status": status,
        "TransactionMutability": "Immutable" if after else "Mutable",
        "BookingDateTime": booked_at.isoformat(timespec="seconds"), "ValueDateTime": f"{entry.value_on}T00:00:00+00:00",
        "TransactionInformation": entry.text, **after,
    }


def _document(name: str, rows: Sequence[Json], request: Request, number: int, pages: int) -> Json:
    here, _, query = request.target.partition("?")
    own = "&".join(one for one in query.split("&") if one and not one.startswith("page="))

    def link(page: int) -> str:
        return f"http://{request.headers.get('host', 'localhost')}{here}?{own}{'&' if own else ''}page={page}"

    links = {"Self": link(number), "First": link(1), "Last": link(pages)}
    if number > 1:
        links["Prev"] = link(number - 1)
    if number < pages:
        links["Next"] = link(number + 1)
    return {"Data": {name: list(rows)}, "Links": links, "Meta": {"TotalPages": pages}}


def _page(request: Request, rows: int, size: int) -> tuple[int, int]:
    """The page asked for, from 1, and how many there are."""
    text = request.query.get("page", "1")
    pages = max(1, -(-rows // (size // 3 * 3 if size == BALANCES_A_PAGE else size)))
    if not (text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= pages):
        raise _Wrong(400, "U002", "no such page")
    return int(text), pages


def _filter(query: Mapping[str, str], name: str, default: date, at: datetime) -> datetime:
    """An instant of a filter, its zone ignored: it is a time of the bank's own clock."""
    text = query.get(name)
    if text is None:
        return datetime.combine(default, time.max if name.startswith("to") else time(), ZONE)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZONE)
    except ValueError:
        raise _Wrong(400, "U003", f"{name} must be a time like 2026-11-20T00:00:00") from None


def _error(request: Request, wrong: _Wrong, version: str) -> Answer:
    if wrong.code is None:
        return Answer(wrong.status, b"", headers=_echoed(request))
    code = _CODES.get(version, {}).get(wrong.code, wrong.code)
    document = {
        "Id": str(uuid.UUID(int=wrong.status)), "Code": f"{wrong.status} BadRequest", "Message": wrong.text,
        "Errors": [{"ErrorCode": code, "Message": wrong.text}],
    }
    return Answer(wrong.status, json.dumps(document).encode(), headers=_echoed(request))


def _echoed(request: Request) -> Mapping[str, str]:
    """The id is played back only when it was a proper one: nothing a caller sends may break out of the header."""
    known = _uuid(request.headers.get("x-fapi-interaction-id", ""))
    return {"x-fapi-interaction-id": request.headers["x-fapi-interaction-id"] if known else str(uuid.UUID(int=1))}


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def _spoilt(document: Json, form: Garbage, request: Request, at: datetime) -> Answer:
    """A correct answer made wrong in one way, in each of its rows."""
    headers = _echoed(request)
    if form is Garbage.OTHER_CALL:
        headers = {"x-fapi-interaction-id": str(uuid.UUID(int=7, version=4))}
    data = document["Data"]
    for rows in data.values() if isinstance(data, dict) else ():
        for row in rows:
            _spoil(row, form, at)
    body = json.dumps(document, ensure_ascii=False).encode()
    return Answer(200, body[:-40] if form is Garbage.TRUNCATED else body, headers=headers)


def _spoil(row: Json, form: Garbage, at: datetime) -> None:
    amount = row["Amount"]
    assert isinstance(amount, dict)  # noqa: S101 - as it was written above
    text = str(amount["Amount"])
    name = "DateTime" if "DateTime" in row else "BookingDateTime"
    amounts: Mapping[Garbage, object] = {
        Garbage.NUMBER: 1.5, Garbage.SIGNED: f"-{text}", Garbage.EXPONENT: "1e5", Garbage.SIX_DECIMALS: f"{text}0000",
    }
    amount["Amount"] = amounts.get(form, text)
    match form:
        case Garbage.NO_DIRECTION:
            del row["CreditDebitIndicator"]
        case Garbage.NO_ZONE:
            row[name] = str(row[name])[:19]
        case Garbage.TOMORROW:
            row[name] = f"{at.date() + timedelta(days=1)}T00:00:00+00:00"
        case Garbage.WRONG_CURRENCY:
            amount["Currency"] = "USD"
        case Garbage.OTHER_ACCOUNT:
            row["AccountId"] = str(row["AccountId"])[::-1]
        case _:
            pass  # in the amount above, or in the answer as a whole
