"""What an invented bank answers to a request in the Berlin Group shape.

    GET /yandu/v1/accounts?withBalance=true        all accounts of the consent, 500 a page
    GET /yandu/v1/accounts/{id}                    one account
    GET /yandu/v1/accounts/{id}/balances
    GET /yandu/v1/accounts/{id}/transactions?bookingStatus=booked&dateFrom=...&dateTo=...&withBalance=true
    GET /yandu/v1/accounts/{id}/transactions/download?...      the same, where it is too large: the list gives this link
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum

from escrow_monitor.domain.accounts import AccountStatus
from escrow_monitor.domain.money import decimal_text
from escrow_monitor.domain.statements import Entry
from escrow_monitor.sandbox import names
from escrow_monitor.sandbox.dialects.dialect import Answer, Request
from escrow_monitor.sandbox.district import (
    CURRENCY,
    LIVES,
    District,
    SandboxBank,
    last_closed_day,
    tick,
)

PAGE_SIZE_MAX = 500
DOWNLOAD_ABOVE = 1_000
"""A list of more entries is given as a link to download them."""
_PAGES_KEPT_MAX = 2048
_STATUS = {
    AccountStatus.ACTIVE: "enabled", AccountStatus.FROZEN: "blocked", AccountStatus.CLOSED: "deleted",
    AccountStatus.UNKNOWN: "enabled",
}


class Garbage(StrEnum):
    """The ways in which the garbage bank answers wrongly, taken in turn hour by hour, account by account."""

    EXPONENT = "exponent"
    OTHER_ACCOUNT = "other_account"
    WRONG_CURRENCY = "wrong_currency"
    TOMORROW = "tomorrow"
    NAN = "nan"
    TWENTY_DIGITS = "twenty_digits"
    NUMBER = "number"


GARBAGE = tuple(Garbage)
_TRUNCATED_EVERY_HOURS = 4


class _Wrong(Exception):
    """A request that is answered with a tppMessages error."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


@dataclass
class BerlinGroupDialect:
    """Berlin Group for all banks of a district. Keeps the pages it has written until the next tick."""

    district: District
    download_above: int = DOWNLOAD_ABOVE
    _pages: dict[tuple[str, int, int, datetime], bytes] = field(default_factory=dict)
    _ids: dict[str, Mapping[str, int]] = field(default_factory=dict)
    _heads: dict[int, str] = field(default_factory=dict)
    _last: _Struck | None = None

    def answer(self, request: Request, *, bank: SandboxBank, at: datetime, garbage: bool) -> Answer:
        """Answer one request at an instant, with tppMessages where it is wrong."""
        try:
            self._check(bank, request.method, request.headers)
            body = self._route(bank, request.path, request.query, at, garbage=garbage)
        except _Wrong as wrong:
            return _error(request, wrong)
        return Answer(200, body, headers=_echoed(request))

    def limited(self, request: Request, *, bank: SandboxBank) -> Answer:
        """The consent's accesses of the day are used up."""
        return _error(request, _Wrong(429, "ACCESS_EXCEEDED", "the accesses of the consent are used up"))

    def settings(self, bank: SandboxBank, *, base_url: str) -> Mapping[str, object]:
        """What an operator would write into `[banks.NAME]`."""
        return {
            "connector": "berlin_group", "base_url": base_url, "token": bank.token, "consent_id": bank.consent_id,
            "batch": bank.batch,
        }

    def render_pages(self, bank: SandboxBank, *, at: datetime) -> int:
        """Write all pages of a bank's accounts for the tick of `at` in advance; return how many there are."""
        size = PAGE_SIZE_MAX
        pages = -(-len(self.district.places_at(bank.name)) // size)
        for number in range(pages):
            self._page(bank, number, size, at)
        return pages

    def _check(self, bank: SandboxBank, method: str, headers: Mapping[str, str]) -> None:
        if method != "GET":
            raise _Wrong(405, "SERVICE_INVALID", f"{method} is not offered here")
        if headers.get("authorization") != f"Bearer {bank.token}":
            raise _Wrong(401, "TOKEN_INVALID", "the access token is missing or wrong")
        try:
            uuid.UUID(headers.get("x-request-id", ""))
        except ValueError:
            raise _Wrong(400, "FORMAT_ERROR", "X-Request-ID must be a UUID") from None
        consent = headers.get("consent-id")
        if consent is None:
            raise _Wrong(400, "FORMAT_ERROR", "Consent-ID is missing")
        if consent != bank.consent_id:
            raise _Wrong(403, "CONSENT_UNKNOWN", "the consent is not known")

    def _route(self, bank: SandboxBank, path: str, query: Mapping[str, str], at: datetime, *, garbage: bool) -> bytes:
        match path.strip("/").split("/"):
            case ["v1", "accounts"]:
                return self._accounts(bank, query, at, garbage=garbage)
            case ["v1", "accounts", resource]:
                place = self._place(bank, resource)
                return f'{{"account":{self._details(place, at.date(), "")}}}'.encode()
            case ["v1", "accounts", resource, "balances"]:
                place = self._place(bank, resource)
                body = f'{{"account":{self._reference(place)},"balances":{self._struck(tick(at)).balances(place)}}}'
                return self._spoilt(body, place, at) if garbage else body.encode()
            case ["v1", "accounts", resource, "transactions"]:
                place = self._place(bank, resource)
                body = self._transactions(bank, place, query, at)
                return self._spoilt(body, place, at) if garbage else body.encode()
            case ["v1", "accounts", resource, "transactions", "download"]:
                place = self._place(bank, resource)
                body = self._transactions(bank, place, query, at, whole=True)
                return self._spoilt(body, place, at) if garbage else body.encode()
        raise _Wrong(404, "RESOURCE_UNKNOWN", "no such resource")

    def _accounts(self, bank: SandboxBank, query: Mapping[str, str], at: datetime, *, garbage: bool) -> bytes:
        number = _whole(query, "pageIndex", 0)
        size = min(_whole(query, "itemsPerPage", PAGE_SIZE_MAX), PAGE_SIZE_MAX)
        if size < 1:
            raise _Wrong(400, "FORMAT_ERROR", "itemsPerPage must be 1 or more")
        if query.get("withBalance") != "true":
            return self._rendered(bank, number, size, at, lambda place: "")
        if not garbage:
            return self._page(bank, number, size, at)
        if at.hour % _TRUNCATED_EVERY_HOURS == 0:
            return self._page(bank, number, size, at)[:-40]
        return self._rendered(
            bank, number, size, at,
            lambda place: spoil(f',"balances":{self._struck(tick(at)).balances(place)}', _form(place, at), at.date()),
        )

    def _page(self, bank: SandboxBank, number: int, size: int, at: datetime) -> bytes:
        struck = tick(at)
        key = (bank.name, number, size, struck)
        found = self._pages.get(key)
        if found is None:
            if len(self._pages) >= _PAGES_KEPT_MAX:
                self._pages.clear()
            balances = self._struck(struck).balances
            found = self._rendered(bank, number, size, at, lambda place: f',"balances":{balances(place)}')
            self._pages[key] = found
        return found

    def _rendered(
        self, bank: SandboxBank, number: int, size: int, at: datetime, extra: Callable[[int], str]
    ) -> bytes:
        places = self.district.places_at(bank.name)
        day = tick(at).date()
        items = [
            self._details(place, day, extra(place)) for place in places[number * size : (number + 1) * size]
        ]
        links = ""
        if (number + 1) * size < len(places):
            target = f"{bank.path}/v1/accounts?withBalance=true&pageIndex={number + 1}&itemsPerPage={size}"
            links = f',"_links":{{"next":{{"href":"{target}"}}}}'
        return f'{{"accounts":[{",".join(items)}]{links}}}'.encode()

    def _details(self, place: int, day: date, extra: str) -> str:
        head = self._heads.get(place)
        if head is None:
            account_no = self.district.account_no(place)
            head = self._heads[place] = (
                f'{{"resourceId":"{names.resource_id(account_no)}","bban":"{account_no}","currency":"{CURRENCY}",'
                f'"cashAccountType":"CACC","status":"'
            )
        return f'{head}{_STATUS[self.district.status_on(place, day)]}"{extra}}}'

    def _reference(self, place: int) -> str:
        return f'{{"bban":"{self.district.account_no(place)}","currency":"{CURRENCY}"}}'

    def _struck(self, at: datetime) -> _Struck:
        if self._last is None or self._last.at != at:
            self._last = _Struck(self.district, at)
        return self._last

    def _transactions(
        self, bank: SandboxBank, place: int, query: Mapping[str, str], at: datetime, *, whole: bool = False
    ) -> str:
        """The entries of closed days only, so that they tie with the balances around them."""
        if query.get("bookingStatus") not in ("booked", "both", "all"):
            raise _Wrong(400, "PARAMETER_NOT_SUPPORTED", "bookingStatus must be booked, both or all")
        first = _day(query, "dateFrom")
        last = min(_day(query, "dateTo") if "dateTo" in query else date.max, last_closed_day(at))
        account_no = self.district.account_no(place)
        entries: list[str] = []
        balances = ""
        if first <= last:
            first = max(first, self.district.starts_on)
            for number in range((last - first).days + 1):
                entries += map(_transaction, self.district.entries(account_no, first + timedelta(days=number)))
            if query.get("withBalance") == "true":
                opening = self.district.opening(account_no, first).minor_units
                closing = self.district.balance(account_no, last).minor_units
                balances = (
                    f',"balances":[{{"balanceAmount":{_amount(opening)},"balanceType":"openingBooked",'
                    f'"referenceDate":"{first}"}},{{"balanceAmount":{_amount(closing)},'
                    f'"balanceType":"closingBooked","referenceDate":"{last}"}}]'
                )
        href = f"{bank.path}/v1/accounts/{names.resource_id(account_no)}"
        if len(entries) > self.download_above and not whole:
            asked = "&".join(f"{name}={value}" for name, value in query.items())
            return (
                f'{{"account":{self._reference(place)},'
                f'"_links":{{"download":{{"href":"{href}/transactions/download?{asked}"}}}}}}'
            )
        return (
            f'{{"account":{self._reference(place)},"transactions":{{"booked":[{",".join(entries)}],'
            f'"_links":{{"account":{{"href":"{href}"}}}}}}{balances}}}'
        )

    def _spoilt(self, body: str, place: int, at: datetime) -> bytes:
        if at.hour % _TRUNCATED_EVERY_HOURS == 0:
            return body.encode()[:-40]
        return spoil(body, _form(place, at), at.date()).encode()

    def _place(self, bank: SandboxBank, resource: str) -> int:
        """The place of an account by resource id or account number; it must be at this bank."""
        known = self._ids.get(bank.name)
        if known is None:
            known = {names.resource_id(self.district.account_no(place)): place
                     for place in self.district.places_at(bank.name)}
            self._ids[bank.name] = known
        place = known.get(resource)
        if place is None:
            try:
                place = self.district.place(resource)
            except KeyError:
                raise _Wrong(404, "RESOURCE_UNKNOWN", "no such account") from None
            if self.district.bank_of(place).name != bank.name:
                raise _Wrong(404, "RESOURCE_UNKNOWN", "no such account")
        return place


class _Struck:
    """The balances of one tick: the closing of the last closed day, and the running balance, booked and available."""

    def __init__(self, district: District, at: datetime) -> None:
        self.district = district
        self.at = at
        self.closed = last_closed_day(at)
        self.closed_text, self.at_text = str(self.closed), at.isoformat(timespec="seconds")
        self.lives: dict[int, tuple[int, int]] = {}

    def balances(self, place: int) -> str:
        """The three balances of the account at a place, as a JSON list."""
        known = self.lives.get(place % LIVES)
        if known is None:
            known = self.lives[place % LIVES] = self.district.struck(place, closed=self.closed, at=self.at)
        closing = _amount(self.district.scaled(place, known[0]))
        running = _amount(self.district.scaled(place, known[1]))
        return (
            f'[{{"balanceAmount":{closing},"balanceType":"closingBooked","referenceDate":"{self.closed_text}"}},'
            f'{{"balanceAmount":{running},"balanceType":"interimBooked","lastChangeDateTime":"{self.at_text}"}},'
            f'{{"balanceAmount":{running},"balanceType":"interimAvailable","creditLimitIncluded":false,'
            f'"lastChangeDateTime":"{self.at_text}"}}]'
        )


def _error(request: Request, wrong: _Wrong) -> Answer:
    message = {"category": "ERROR", "code": wrong.code, "text": wrong.text}
    return Answer(wrong.status, json.dumps({"tppMessages": [message]}).encode(), headers=_echoed(request))


def _echoed(request: Request) -> Mapping[str, str]:
    """The id is echoed only when it was a proper one: nothing a caller sends may break out of the header."""
    known = request.headers.get("x-request-id", "")
    return {"X-Request-ID": known} if known and known.isascii() and known.isprintable() else {}


def spoil(body: str, form: Garbage, today: date) -> str:
    """Return a correct JSON text made wrong in one way."""
    head, mark, rest = body.partition('"amount":"')
    amount, quote, tail = rest.partition('"')
    match form:
        case Garbage.EXPONENT:
            return f"{head}{mark}1e5{quote}{tail}"
        case Garbage.TWENTY_DIGITS:
            return f"{head}{mark}12345678901234567890{quote}{tail}"
        case Garbage.NAN:
            return f'{head}"amount":NaN{tail}'
        case Garbage.NUMBER:
            return f'{head}"amount":{amount}{tail}'
        case Garbage.WRONG_CURRENCY:
            return body.replace(f'"currency":"{CURRENCY}"', '"currency":"USD"')
        case Garbage.TOMORROW:
            front, reference, end = body.rpartition('"referenceDate":"')
            return f"{front}{reference}{today + timedelta(days=1)}{end[10:]}" if reference else body
        case Garbage.OTHER_ACCOUNT:
            return _other_account(body)


def _other_account(body: str) -> str:
    front, mark, rest = body.partition('"bban":"')
    if mark:
        return f"{front}{mark}{rest[18::-1]}{rest[19:]}"
    # Inside a list the account is named outside the balances: let them name their own, and another one.
    return body.replace(',"balances":', ',"iban":"DE89370400440532013000","balances":', 1)


def _form(place: int, at: datetime) -> Garbage:
    return GARBAGE[(at.hour + place) % len(GARBAGE)]


def _amount(fen: int) -> str:
    if fen >= 0:
        return f'{{"currency":"{CURRENCY}","amount":"{fen // 100}.{fen % 100:02d}"}}'
    return f'{{"currency":"{CURRENCY}","amount":"{decimal_text(fen, CURRENCY)}"}}'


def _transaction(entry: Entry) -> str:
    identity = f'"transactionId":"{entry.bank_ref}",' if entry.bank_ref else ""
    return (
        f'{{{identity}"transactionAmount":{_amount(entry.amount.minor_units)},"bookingDate":"{entry.booked_on}",'
        f'"valueDate":"{entry.value_on}","remittanceInformationUnstructured":{json.dumps(entry.text)}}}'
    )


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise _Wrong(400, "FORMAT_ERROR", f"{name} must be a whole number")
    return int(text)


def _day(query: Mapping[str, str], name: str) -> date:
    try:
        return date.fromisoformat(query.get(name, ""))
    except ValueError:
        raise _Wrong(400, "FORMAT_ERROR", f"{name} must be a date like 2026-11-20") from None
