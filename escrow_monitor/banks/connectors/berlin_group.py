"""Balances and transactions in the shape of Berlin Group NextGenPSD2 XS2A (implementation guidelines 1.3).

    GET /v1/accounts?withBalance=true                all accounts of the consent, page by page      batch=True
    GET /v1/accounts/{id}/balances                   one account                                    batch=False
    GET /v1/accounts/{id}/transactions?...           its booked entries, where statements are asked for

    closingBooked      -> BOOKED_CLOSING, final      interimBooked -> BOOKED_INTRADAY
    interimAvailable   -> AVAILABLE                  all others, and any that includes a credit limit, are left aside
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, TypeAlias
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson

from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest, Raw
from escrow_monitor.banks.http import Answer, BankClient, BankHttp, CallRefused, Emit
from escrow_monitor.banks.statement_reading import (
    EntryLine,
    Refused,
    checked,
    counterparty_digest,
    end_of_day,
    entries_only,
    plain_text,
    refused,
)
from escrow_monitor.clock import Clock
from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind, Reading
from escrow_monitor.domain.money import AmountError, Money, exponent, parse_amount
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement, StatementKind

SOURCE = "berlin_group"
PAGES_MAX = 10_000
"""Pages of one answer that are followed; 5 million accounts at 500 a page."""
CLOCK_SKEW = timedelta(minutes=5)
"""A bank's clock may run ahead of ours by so much before its instants count as being of the future."""

Json: TypeAlias = Mapping[str, object]

_KINDS = {
    "closingBooked": BalanceKind.BOOKED_CLOSING,
    "interimBooked": BalanceKind.BOOKED_INTRADAY,
    "interimAvailable": BalanceKind.AVAILABLE,
}
_STATUS = {
    "enabled": AccountStatus.ACTIVE, "blocked": AccountStatus.FROZEN, "deleted": AccountStatus.CLOSED,
}
_AMOUNT = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,3})?\Z", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_CONSENT_CODES = frozenset({"CONSENT_EXPIRED", "CONSENT_INVALID"})


@dataclass(slots=True)
class _Moment:
    """When an answer came, in the bank's zone, and the end of each day it speaks of."""

    zone: ZoneInfo
    fetched_at: datetime
    today: date = field(init=False)
    days: dict[str, tuple[date, datetime]] = field(default_factory=dict)
    instants: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.today = self.fetched_at.astimezone(self.zone).date()

    def day(self, text: object, where: str) -> tuple[date, datetime]:
        """A date as the bank writes it, and its last second, but never after the answer itself."""
        known = self.days.get(text) if isinstance(text, str) else None
        if known is None:
            on = _date(text, where, "referenceDate")
            if on > self.today:
                detail = f"dated {on}, and in {self.zone.key} it is {self.today}"
                raise refused(RefusalReason.DATED_IN_FUTURE, where, "referenceDate", detail)
            end = datetime.combine(on, time(23, 59, 59), self.zone).astimezone(UTC)
            known = self.days[str(text)] = (on, min(end, self.fetched_at))
        return known

    def check_instant(self, text: object, where: str) -> None:
        """`lastChangeDateTime` says when a balance last moved; it holds until the answer. Only nonsense is refused."""
        if isinstance(text, str) and text in self.instants:
            return
        try:
            at = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            at = None
        if at is None:
            raise refused(RefusalReason.BAD_DATE, where, "lastChangeDateTime", f"{text!r} is no instant")
        at = at if at.tzinfo is not None else at.replace(tzinfo=self.zone)
        if at > self.fetched_at + CLOCK_SKEW:
            detail = f"last changed at {text}, later than now"
            raise refused(RefusalReason.DATED_IN_FUTURE, where, "lastChangeDateTime", detail)
        self.instants.add(text)


class BerlinGroup:
    """One bank that speaks XS2A.

    `sign` says how it writes amounts of transactions: "signed" (debits below zero) or "by_party" (never below zero; a
    creditor account that is not ours makes it a debit): the standard's own examples disagree. `zone` is the bank's.
    """

    def __init__(
        self, bank: str, http: BankHttp, *, consent_id: str, zone: ZoneInfo, clock: Clock, batch: bool = False,
        sign: Literal["signed", "by_party"] = "signed",
    ) -> None:
        self.bank = bank
        self._consent_id = consent_id
        self._zone = zone
        self._clock = clock
        self._batch = batch
        self._sign = sign
        self._client = BankClient(http, clock=clock, secrets=(consent_id,))

    def pull(self, requests: Sequence[PullRequest], *, now: datetime) -> Iterator[PullOutcome]:
        """Yield one outcome a request. `now` is the round's time: entries are asked for up to the day before it."""
        last_closed = now.astimezone(self._zone).date() - timedelta(days=1)
        if self._batch:
            return self._pull_pages(requests, last_closed)
        return self._client.each(requests, lambda request: self._pull_one(request, last_closed))

    def close(self) -> None:
        """End the connections to the bank."""
        self._client.close()

    async def _pull_one(self, request: PullRequest, last_closed: date) -> PullOutcome:
        started_at = self._clock.now()
        account = request.account
        raw: tuple[Raw, ...] = ()
        try:
            answer = await self._get(f"/v1/accounts/{_path_id(account)}/balances")
            raw = (_raw(answer),)
            document = _document(answer)
            stated = document.get("account")
            if stated is not None:
                _check_account(account, _object(stated, answer.path, "account"), answer.path)
            moment = _Moment(self._zone, answer.fetched_at)
            readings = _readings(document.get("balances"), account, answer.path, raw[0].sha256, moment)
        except (CallRefused, Refused) as error:
            return self._refused(request, _refusal(error), raw, started_at)
        pull = Pull(
            account_no=account.account_no, bank=self.bank, readings=readings, raw=raw, started_at=started_at,
            finished_at=answer.fetched_at,
        )
        return await self._with_statements(request, pull, last_closed)

    def _pull_pages(self, requests: Sequence[PullRequest], last_closed: date) -> Iterator[PullOutcome]:
        """Every account from the pages of one list; then the entries of those whose statements are asked for."""
        started_at = self._clock.now()
        wanted = _Wanted(requests)
        later: list[tuple[PullRequest, Pull]] = []
        rest: Refusal | None = None
        for page in self._client.stream(self._pages):
            if isinstance(page, Refusal):
                rest = page
                break
            for request, outcome in self._page_outcomes(page, wanted, started_at):
                if isinstance(outcome, Pull) and request.statements_from is not None:
                    later.append((request, outcome))
                else:
                    yield outcome
        for request in wanted.left():
            refusal = wanted.turned_down.get(request.account.account_no) or rest or Refusal(
                reason=RefusalReason.NOT_FOUND, where="/v1/accounts", field="accounts",
                detail="the bank's list of accounts does not name this one",
            )
            raw = wanted.evidence.get(request.account.account_no, ())
            yield self._refused(request, refusal, raw, started_at)
        yield from self._client.each(later, lambda one: self._with_statements(one[0], one[1], last_closed))

    async def _pages(self, emit: Emit[tuple[Answer, Json] | Refusal]) -> None:
        link, params = "/v1/accounts", {"withBalance": "true"}
        seen = set()
        try:
            for _ in range(PAGES_MAX):
                answer = await self._get(link, params)
                document = _document(answer)
                await emit((answer, document))
                following = _next_link(document.get("_links"), answer.path)
                if following is None:
                    return
                if following in seen:
                    raise refused(RefusalReason.MALFORMED, answer.path, "_links.next", "the pages lead in a circle")
                seen.add(following)
                link, params = following, {}
            raise refused(RefusalReason.TOO_LARGE, "/v1/accounts", "_links.next", f"more than {PAGES_MAX} pages")
        except (CallRefused, Refused) as error:
            await emit(_refusal(error))

    def _page_outcomes(
        self, page: tuple[Answer, Json], wanted: _Wanted, started_at: datetime
    ) -> Iterator[tuple[PullRequest, PullOutcome]]:
        answer, document = page
        raw = (_raw(answer),)
        moment = _Moment(self._zone, answer.fetched_at)
        accounts = document.get("accounts")
        for place, stated in enumerate(accounts if isinstance(accounts, list) else ()):
            request = wanted.request(stated)
            if request is None:
                continue
            account = request.account
            where = f"{answer.path} accounts[{place}]"
            try:
                _check_account(account, stated, where)
                readings = _readings(stated.get("balances"), account, where, raw[0].sha256, moment)
            except Refused as error:
                # Perhaps the same number in another currency follows: only the end of the list decides.
                wanted.turned_down[account.account_no] = error.refusals[0]
                wanted.evidence[account.account_no] = raw
                continue
            wanted.answered(request)
            yield request, Pull(
                account_no=account.account_no, bank=self.bank, readings=readings, raw=raw,
                account_status=_STATUS.get(str(stated.get("status")), AccountStatus.UNKNOWN),
                started_at=started_at, finished_at=answer.fetched_at,
            )

    async def _with_statements(self, request: PullRequest, pull: Pull, last_closed: date) -> Pull:
        """The pull with the entries of the closed days since `statements_from`, or with why they were not taken."""
        if request.statements_from is None or request.statements_from > last_closed:
            return pull
        raw: list[Raw] = []
        try:
            pages = await self._transaction_pages(request, last_closed, raw)
            statements = self._statements(request, pages, last_closed)
        except (CallRefused, Refused) as error:
            refusals = error.refusals if isinstance(error, Refused) else (_refusal(error),)
            return replace(pull, raw=(*pull.raw, *raw), refusals=refusals, finished_at=self._clock.now())
        return replace(pull, raw=(*pull.raw, *raw), statements=statements, finished_at=self._clock.now())

    async def _transaction_pages(
        self, request: PullRequest, last_closed: date, raw: list[Raw]
    ) -> list[tuple[Answer, Json]]:
        """All pages of the account's booked entries; their bytes go to `raw` as they come, also when one is refused."""
        link = f"/v1/accounts/{_path_id(request.account)}/transactions"
        params = {
            "bookingStatus": "booked", "dateFrom": f"{request.statements_from}", "dateTo": f"{last_closed}",
            "withBalance": "true",
        }
        pages: list[tuple[Answer, Json]] = []
        seen = set()
        while True:
            answer = await self._get(link, params)
            raw.append(_raw(answer))
            document = _document(answer)
            pages.append((answer, document))
            booked = _object(document.get("transactions"), answer.path, "transactions")
            following = _next_link(booked.get("_links"), answer.path) or _next_link(document.get("_links"), answer.path)
            if following is None:
                return pages
            if following in seen or len(pages) >= PAGES_MAX:
                raise refused(RefusalReason.MALFORMED, answer.path, "_links.next", "the pages lead in a circle")
            seen.add(following)
            link, params = following, {}

    def _statements(
        self, request: PullRequest, pages: Sequence[tuple[Answer, Json]], last_closed: date
    ) -> tuple[Statement, ...]:
        """A statement where opening and closing are stated and tie; entries after the closing stay a notice."""
        account, asked_from = request.account, request.statements_from
        where = pages[0][0].path
        lines: list[EntryLine] = []
        balances: dict[str, tuple[Money, date]] = {}
        for answer, document in pages:
            if (stated := document.get("account")) is not None:
                _check_account(account, _object(stated, answer.path, "account"), answer.path)
            booked = _object(document.get("transactions"), answer.path, "transactions").get("booked")
            if not isinstance(booked, list):
                detail = "the answer lists no booked entries"
                raise refused(RefusalReason.MISSING_FIELD, answer.path, "transactions.booked", detail)
            for place, item in enumerate(booked):
                lines.append(self._line(item, account, f"{answer.path} booked[{place}]"))
            _add_period_balances(balances, document.get("balances"), account, answer)
        opening, closing = balances.get("openingBooked"), balances.get("closingBooked")
        number = f"{asked_from}..{last_closed}"
        if opening is None or closing is None or asked_from is None:
            notice = _notice(account, number, lines, where)
            return checked([notice], today=last_closed) if lines else ()
        if closing[1] < asked_from:
            return ()  # no day that is new has closed yet
        inside = [line for line in lines if line.stated_on is None or line.stated_on <= closing[1]]
        after = [line for line in lines if line.stated_on is not None and line.stated_on > closing[1]]
        # The opening may be dated by the first day asked for or by the day before: the period begins as asked.
        begins_on = asked_from if asked_from - timedelta(days=1) <= opening[1] <= asked_from else None
        whole = end_of_day(
            account_no=account.account_no, currency=account.currency, number=number, opening=opening[0],
            opening_on=opening[1], closing=closing[0], closing_on=closing[1], lines=inside, where=where,
            begins_on=begins_on,
        )
        return checked([whole, _notice(account, number, after, where)] if after else [whole], today=last_closed)

    def _line(self, item: object, account: Account, where: str) -> EntryLine:
        stated = _object(item, where, "transaction")
        amount = _amount(stated.get("transactionAmount"), account, where, "transactionAmount")
        if self._sign == "by_party" and amount.minor_units > 0:
            creditor = stated.get("creditorAccount")
            if isinstance(creditor, dict) and not _names(account, creditor):
                amount = -amount
        other = "creditor" if amount.minor_units < 0 else "debtor"
        other_account = stated.get(f"{other}Account")
        ids = [_text(other_account.get(name)) for name in ("iban", "bban")] if isinstance(other_account, dict) else []
        value_on = stated.get("valueDate")
        remittance = stated.get("remittanceInformationUnstructuredArray")
        return EntryLine(
            amount=amount, stated_on=_date(stated.get("bookingDate"), where, "bookingDate"),
            value_on=None if value_on is None else _date(value_on, where, "valueDate"),
            bank_ref=_text(stated.get("transactionId")) or _text(stated.get("entryReference")),
            text=plain_text(
                _text(stated.get("remittanceInformationUnstructured")) or "",
                *(map(str, remittance) if isinstance(remittance, list) else ()),
            ),
            reversal=False, counterparty_sha256=counterparty_digest(*ids, _text(stated.get(f"{other}Name"))),
            where=where,
        )

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        return await self._client.get(path, params=params, headers=self._headers)

    def _headers(self) -> Mapping[str, str]:
        return {"X-Request-ID": str(uuid.uuid4()), "Consent-ID": self._consent_id}

    def _refused(
        self, request: PullRequest, refusal: Refusal, raw: tuple[Raw, ...], started_at: datetime
    ) -> PullRefused:
        return PullRefused(
            account_no=request.account.account_no, bank=self.bank, refusal=refusal, raw=raw, started_at=started_at,
            finished_at=self._clock.now(),
        )


class _Wanted:
    """The requests a list of accounts has not answered yet, by every name the bank may use for them."""

    def __init__(self, requests: Sequence[PullRequest]) -> None:
        self._requests = {request.account.account_no: request for request in requests}
        self._by_resource = {
            request.account.external_id: request for request in requests if request.account.external_id
        }
        self.turned_down: dict[str, Refusal] = {}
        self.evidence: dict[str, tuple[Raw, ...]] = {}

    def request(self, stated: object) -> PullRequest | None:
        """Who the bank's entry speaks of, if that is asked for and not answered yet."""
        if not isinstance(stated, dict):
            return None
        resource = stated.get("resourceId")
        found = self._by_resource.get(resource) if isinstance(resource, str) else None
        if found is None:
            for name in ("iban", "bban", "resourceId"):
                value = stated.get(name)
                if isinstance(value, str) and (found := self._requests.get(_plain_id(value))) is not None:
                    break
        return found if found is not None and found.account.account_no in self._requests else None

    def answered(self, request: PullRequest) -> None:
        del self._requests[request.account.account_no]

    def left(self) -> list[PullRequest]:
        return list(self._requests.values())


def _readings(
    balances: object, account: Account, where: str, raw_sha256: str, moment: _Moment
) -> tuple[Reading, ...]:
    """The readings of one account, all or, when any of them cannot be taken, none (Refused)."""
    if not isinstance(balances, list):
        raise refused(RefusalReason.NO_BALANCE, where, "balances", "the answer states no balances")
    readings: list[Reading] = []
    for stated in balances:
        if not isinstance(stated, dict):
            raise refused(RefusalReason.MALFORMED, where, "balances", "a balance that is no object")
        kind = _balance_kind(stated, where)
        if kind is not None:
            readings.append(_reading(stated, kind, account, where, raw_sha256, moment))
    if not readings:
        raise refused(RefusalReason.NO_BALANCE, where, "balances", "no booked and no available balance among them")
    if len(readings) > 1:
        _check_one_voice(readings, where)
    return tuple(readings)


def _balance_kind(stated: Json, where: str) -> BalanceKind | None:
    """What the balance is to us; None for the kinds that are left aside."""
    name = stated.get("balanceType")
    if not isinstance(name, str):
        raise refused(RefusalReason.MISSING_FIELD, where, "balanceType", "a balance of no stated kind")
    includes = stated.get("creditLimitIncluded")
    if includes is not None and includes is not False:
        return None  # money the holder may borrow is not money that is there
    return _KINDS.get(name)


def _reading(
    stated: Json, kind: BalanceKind, account: Account, where: str, raw_sha256: str, moment: _Moment
) -> Reading:
    amount = _amount(stated.get("balanceAmount"), account, where, "balanceAmount")
    day = stated.get("referenceDate")
    final = kind is BalanceKind.BOOKED_CLOSING
    if day is not None:
        on, as_of = moment.day(day, where)
    elif final:
        raise refused(RefusalReason.MISSING_FIELD, where, "referenceDate", "a closing balance of no stated day")
    else:
        on, as_of = moment.today, moment.fetched_at
    if (changed := stated.get("lastChangeDateTime")) is not None:
        moment.check_instant(changed, where)
    return Reading(
        account_no=account.account_no, kind=kind, amount=amount, on=on, as_of=as_of, fetched_at=moment.fetched_at,
        final=final, source=SOURCE, raw_sha256=raw_sha256,
    )


def _check_one_voice(readings: Sequence[Reading], where: str) -> None:
    """Two figures for one kind and day contradict each other."""
    said: dict[tuple[BalanceKind, date], Money] = {}
    for reading in readings:
        before = said.setdefault((reading.kind, reading.on), reading.amount)
        if before != reading.amount:
            detail = f"{reading.kind} of {reading.on} is stated as {before.text} and as {reading.amount.text}"
            raise refused(RefusalReason.CONTRADICTS, where, "balances", detail)


def _amount(stated: object, account: Account, where: str, name: str) -> Money:
    """`{"currency": "CNY", "amount": "123.45"}` in the account's own currency, exactly."""
    if not isinstance(stated, dict):
        raise refused(RefusalReason.MISSING_FIELD, where, name, "no amount")
    text, currency = stated.get("amount"), stated.get("currency")
    if currency != account.currency:
        detail = f"stated in {str(currency)[:20]!r}, the account is in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, where, f"{name}.currency", detail)
    if not isinstance(text, str) or not _AMOUNT.match(text):
        # A JSON number has been through binary fractions somewhere; only a string is exact.
        detail = f"{str(text)[:40]!r} is not an amount as the standard writes it, in a string"
        raise refused(RefusalReason.BAD_AMOUNT, where, f"{name}.amount", detail)
    try:
        whole, _, part = text.partition(".")
        if len(part) == 2 and exponent(account.currency) == 2:
            return Money(int(whole + part), account.currency)  # nearly all of them, in a quarter of the time
        return parse_amount(text, account.currency)
    except AmountError as error:
        raise refused(RefusalReason.BAD_AMOUNT, where, f"{name}.amount", str(error)) from error


def _add_period_balances(
    balances: dict[str, tuple[Money, date]], stated: object, account: Account, answer: Answer
) -> None:
    """Opening and closing of the period asked for; later pages repeat them."""
    for one in stated if isinstance(stated, list) else ():
        balance = _object(one, answer.path, "balances")
        name = balance.get("balanceType")
        if name not in ("openingBooked", "closingBooked"):
            continue
        on = _date(balance.get("referenceDate"), answer.path, "referenceDate")
        said = (_amount(balance.get("balanceAmount"), account, answer.path, "balanceAmount"), on)
        if balances.setdefault(str(name), said) != said:
            detail = f"{name} is stated as {balances[str(name)][0].text} and as {said[0].text}"
            raise refused(RefusalReason.CONTRADICTS, answer.path, "balances", detail)


def _notice(account: Account, number: str, lines: Sequence[EntryLine], where: str) -> Statement:
    return entries_only(
        account_no=account.account_no, currency=account.currency, kind=StatementKind.NOTICE, number=number,
        lines=lines, where=where,
    )


def _check_account(account: Account, stated: Json, where: str) -> None:
    """Every number the answer gives the account must be its own; an IBAN may carry the number at its end."""
    resource = stated.get("resourceId")
    known = account.external_id is not None and resource == account.external_id
    for name in ("iban", "bban"):
        value = stated.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not _is_same_account(account.account_no, _plain_id(value)):
            detail = f"the answer speaks of account {_masked(str(value))}, not of {_masked(account.account_no)}"
            raise refused(RefusalReason.WRONG_ACCOUNT, where, f"account.{name}", detail)
        known = True
    if account.external_id is not None and isinstance(resource, str) and resource != account.external_id:
        detail = "the answer speaks of another resource than the one asked for"
        raise refused(RefusalReason.WRONG_ACCOUNT, where, "account.resourceId", detail)
    if not known and resource != account.account_no:
        raise refused(RefusalReason.WRONG_ACCOUNT, where, "account", "the answer does not say which account it is of")
    currency = stated.get("currency")
    if currency is not None and currency != account.currency:
        detail = f"the bank keeps it in {str(currency)[:20]!r}, we in {account.currency}"
        raise refused(RefusalReason.WRONG_CURRENCY, where, "account.currency", detail)


def _names(account: Account, reference: Json) -> bool:
    """Whether an account reference is this account's own."""
    stated = [reference[name] for name in ("iban", "bban") if isinstance(reference.get(name), str)]
    return any(_is_same_account(account.account_no, _plain_id(str(value))) for value in stated)


def _is_same_account(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    shorter, longer = sorted((ours, theirs), key=len)
    # An IBAN is country, check digits and the national number.
    return len(shorter) >= 6 and longer[:2].isalpha() and longer.endswith(shorter)


def _plain_id(text: str) -> str:
    return text.replace(" ", "").upper() if " " in text or not text.isdigit() else text


def _masked(number: str) -> str:
    return number if len(number) <= 4 else f"…{number[-4:]}"


def _path_id(account: Account) -> str:
    return quote(account.external_id or account.account_no, safe="")


def _document(answer: Answer) -> Json:
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        detail = f"not JSON: {error.msg} at character {error.pos}"
        raise refused(RefusalReason.MALFORMED, answer.path, None, detail) from error
    return _object(document, answer.path, "the answer")


def _object(value: object, where: str, name: str) -> Json:
    if value is None:
        raise refused(RefusalReason.MISSING_FIELD, where, name, "not there")
    if not isinstance(value, dict):
        raise refused(RefusalReason.MALFORMED, where, name, "not an object")
    return value


def _date(text: object, where: str, name: str) -> date:
    if text is None:
        raise refused(RefusalReason.MISSING_FIELD, where, name, "not there")
    try:
        if isinstance(text, str) and _DATE.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise refused(RefusalReason.BAD_DATE, where, name, f"{str(text)[:40]!r} is no date")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _next_link(links: object, where: str) -> str | None:
    following = links.get("next") if isinstance(links, dict) else None
    if following is None:
        return None
    href = following.get("href") if isinstance(following, dict) else following
    if not isinstance(href, str) or not href:
        raise refused(RefusalReason.MALFORMED, where, "_links.next", "a link without an address")
    return href


def _raw(answer: Answer) -> Raw:
    return Raw(
        sha256=hashlib.sha256(answer.content).hexdigest(), content=answer.content, media_type=answer.media_type
    )


def _refusal(error: CallRefused | Refused) -> Refusal:
    """The refusal, with the reason a 401 or 403 gives for a consent that has ended."""
    if isinstance(error, Refused):
        return error.refusals[0]
    if error.status in (401, 403) and _message_codes(error.content) & _CONSENT_CODES:
        return replace(
            error.refusal, reason=RefusalReason.CONSENT_EXPIRED, detail="the consent has ended or is not valid here"
        )
    return error.refusal


def _message_codes(content: bytes) -> set[str]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return set()
    messages = document.get("tppMessages") if isinstance(document, dict) else None
    return {
        str(message.get("code")) for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict)
    }
