"""One bank that speaks UK Open Banking account information (OBIE), v3.1 or v4.0.

    GET {base}/balances                                   all accounts of the consent, page by page     batch=True
    GET {base}/accounts/{AccountId}/balances              one account                                   batch=False
    GET {base}/accounts/{AccountId}/transactions?...      its entries, where statements are asked for

`base` ends in /open-banking/v3.1/aisp or /open-banking/v4.0/aisp. The versions differ in the words for balance types,
statuses and error codes alone; the words of both are read whatever the version. Fields and rules are those of
account-info-openapi.json of OpenBankingUK/read-write-api-specs, tags v3.1.11 and v4.0.0, and of the profiles in
OpenBankingUK/read-write-api-docs-pub.

Sent with each call: Authorization, x-fapi-interaction-id (a new UUID), and x-fapi-financial-id where the bank wants it
(v3.1.0 demanded it). Not sent: x-fapi-auth-date and x-fapi-customer-ip-address. They say when a person last logged in
and from where, and by the ip address a bank tells whether one is present; nobody is.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson

from escrow_monitor.banks.answer_reading import (
    PAGES_MAX,
    Json,
    Moment,
    document_of,
    object_of,
    raw_of,
    refusals_of,
    refused_pull,
)
from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest, Raw
from escrow_monitor.banks.connectors.open_banking_uk.balances import Stated, readings_of, stated_balance
from escrow_monitor.banks.connectors.open_banking_uk.entries import filters, listed, statements
from escrow_monitor.banks.connectors.open_banking_uk.fields import account_id
from escrow_monitor.banks.http import Answer, BankClient, BankHttp, CallRefused, Emit, request_id
from escrow_monitor.banks.statement_reading import Refused, refused
from escrow_monitor.banks.two_passes import Broken, statements_last, wants_days, with_statements
from escrow_monitor.clock import Clock
from escrow_monitor.domain.accounts import BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement

_CONSENT_CODES = frozenset({
    "UK.OBIE.Reauthenticate", "U028", "UK.OBIE.Resource.InvalidConsentStatus", "U009",
})
_NOT_FOUND_CODES = frozenset({"UK.OBIE.Resource.NotFound", "U011"})
_TOKEN_CODES = {"TKXP": "the token has expired", "TKSP": "the token is suspended"}
"""ErrorCode of OBErrorResponse1, in the words of v3.1 and as v4.0 numbers them (OBExternalStatusReason1Code)."""


_NOT_NAMED = Broken(Refusal(
    reason=RefusalReason.NOT_FOUND, where="/balances", field="Data.Balance",
    detail="the bank's list of balances does not name this account",
))


class OpenBankingUk:
    """One bank's connector. `zone` is the bank's, `financial_id` its id in the directory, where it asks for one."""

    def __init__(
        self, bank: str, http: BankHttp, *, zone: ZoneInfo, clock: Clock, batch: bool = False,
        financial_id: str | None = None,
    ) -> None:
        self.bank = bank
        self._zone = zone
        self._clock = clock
        self._batch = batch
        self._financial_id = financial_id
        self._client = BankClient(http, clock=clock)

    @property
    def rest_until(self) -> datetime | None:
        """Until when the bank has asked not to be called again."""
        return self._client.rest_until

    def pull(self, requests: Sequence[PullRequest], *, now: datetime) -> Iterator[PullOutcome]:
        """Yield one outcome a request. `now` is the round's time: entries are asked for up to the day before it."""
        last_closed = now.astimezone(self._zone).date() - timedelta(days=1)
        if self._batch:
            return self._pull_list(requests, last_closed)
        return self._client.each(requests, lambda request: self._pull_one(request, last_closed))

    def close(self) -> None:
        """End the connections to the bank."""
        self._client.close()

    async def _pull_one(self, request: PullRequest, last_closed: date) -> PullOutcome:
        started_at = self._clock.now()
        account, raw = request.account, list[Raw]()
        stated: list[Stated] = []
        try:
            where = _path(request, "balances")
            async for answer, document in self._pages(where, {}, raw):
                moment = Moment(self._zone, answer.fetched_at)
                for place, row in _rows(document, answer.path):
                    one = stated_balance(row, account, where=place, moment=moment, raw_sha256=raw[-1].sha256)
                    stated += () if one is None else (one,)
            readings = readings_of(stated, account, where=where)
        except (CallRefused, Refused) as error:
            return self._refused(request, _refusal(error), raw, started_at)
        pull = Pull(
            account_no=account.account_no, bank=self.bank, readings=readings, raw=tuple(raw), started_at=started_at,
            finished_at=answer.fetched_at,
        )
        return await self._with_statements(request, pull, last_closed)

    def _pull_list(self, requests: Sequence[PullRequest], last_closed: date) -> Iterator[PullOutcome]:
        """Every account from the one list of balances, once it has ended: each row stands for itself in it."""
        started_at = self._clock.now()
        wanted = {account_id(request.account): _Mentioned(request) for request in requests}
        broken: Broken | None = None
        moment = Moment(self._zone, started_at)
        for page in self._client.stream(self._list):
            if isinstance(page, Broken):
                broken = page
                break
            answer, document, raw = page
            moment = Moment(self._zone, answer.fetched_at)
            _note_page(document, answer, raw, wanted, moment)
        outcomes = (
            (mentioned.request, self._outcome(mentioned, broken, started_at, moment.fetched_at))
            for mentioned in wanted.values()
        )
        yield from statements_last(
            self._client, outcomes, wants=lambda request: wants_days(request, last_closed),
            take=lambda request, pull: self._with_statements(request, pull, last_closed),
        )

    def _outcome(
        self, mentioned: _Mentioned, broken: Broken | None, started_at: datetime, ended_at: datetime
    ) -> PullOutcome:
        request, raw = mentioned.request, list(mentioned.raw.values())
        if mentioned.refusal is not None:
            return self._refused(request, mentioned.refusal, raw, started_at)
        if not raw:
            ended = broken or _NOT_NAMED
            return self._refused(request, ended.refusal, ended.raw, started_at)
        try:
            readings = readings_of(mentioned.stated, request.account, where="/balances")
        except Refused as error:
            return self._refused(request, error.refusals[0], raw, started_at)
        return Pull(
            account_no=request.account.account_no, bank=self.bank, readings=readings, raw=tuple(raw),
            started_at=started_at, finished_at=ended_at,
        )

    async def _list(self, emit: Emit[tuple[Answer, Json, Raw] | Broken]) -> None:
        """Each page of the list; where it breaks off, why, with the bytes that broke it."""
        raw: list[Raw] = []
        try:
            async for answer, document in self._pages("/balances", {}, raw):
                await emit((answer, document, raw.pop()))
        except (CallRefused, Refused) as error:
            await emit(Broken(_refusal(error), tuple(raw)))

    async def _with_statements(self, request: PullRequest, pull: Pull, last_closed: date) -> Pull:
        """The pull with the entries of the closed days since `statements_from`, or with why they were not taken."""
        asked_from = request.statements_from
        if asked_from is None or asked_from > last_closed:
            return pull
        where = _path(request, "transactions")

        async def take(raw: list[Raw]) -> tuple[Statement, ...]:
            pages = [page async for page in self._pages(where, filters(asked_from, last_closed), raw)]
            return statements(
                listed(pages, request.account, self._zone), request.account, asked_from=asked_from,
                last_closed=last_closed, closing=_closing(pull.readings, last_closed), where=where,
            )

        return await with_statements(pull, take, clock=self._clock, why=_refusal)

    async def _pages(
        self, path: str, params: Mapping[str, str], raw: list[Raw]
    ) -> AsyncIterator[tuple[Answer, Json]]:
        """All pages of a list; their bytes go to `raw` as they come, also when one is refused.

        A list that ends before as many pages as its own Meta.TotalPages says has been cut short.
        """
        link, query, seen, count = path, params, {path}, 0
        while True:
            answer = await self._get(link, query)
            raw.append(raw_of(answer))
            document = document_of(answer)
            count += 1
            following = _next_link(document, answer.path)
            if following is None and count < (total := _total_pages(document)):
                detail = f"the list ends after {count} pages and says that it has {total}"
                raise refused(RefusalReason.MALFORMED, answer.path, "Meta.TotalPages", detail)
            if following in seen or count >= PAGES_MAX:
                raise refused(RefusalReason.MALFORMED, answer.path, "Links.Next", "the pages lead in a circle")
            yield answer, document
            if following is None:
                return
            seen.add(following)
            link, query = following, {}

    async def _get(self, path: str, params: Mapping[str, str]) -> Answer:
        """One answer that is ours: the bank plays the interaction id back, and that of another call is refused.

        What is no UUID at all, or nothing, belongs to no other call: a bank that does not play ids back is believed.
        """
        sent: list[str] = []

        def headers() -> Mapping[str, str]:
            sent.append(request_id())
            named = {} if self._financial_id is None else {"x-fapi-financial-id": self._financial_id}
            return {"x-fapi-interaction-id": sent[-1], **named}

        answer = await self._client.get(path, params=params, headers=headers)
        echo = _uuid(answer.headers.get("x-fapi-interaction-id"))
        if echo is not None and str(echo) not in sent:
            detail = "the answer carries the id of another call"
            raise refused(RefusalReason.WRONG_ACCOUNT, answer.path, "x-fapi-interaction-id", detail)
        return answer

    def _refused(
        self, request: PullRequest, refusal: Refusal, raw: Sequence[Raw], started_at: datetime
    ) -> PullRefused:
        return refused_pull(
            request, self.bank, refusal, raw=raw, started_at=started_at, finished_at=self._clock.now()
        )


@dataclass(slots=True)
class _Mentioned:
    """What a list of many accounts has said of one of them so far."""

    request: PullRequest
    stated: list[Stated] = field(default_factory=list)
    raw: dict[str, Raw] = field(default_factory=dict)
    refusal: Refusal | None = None


def _note_page(
    document: Json, answer: Answer, raw: Raw, wanted: Mapping[str, _Mentioned], moment: Moment
) -> None:
    """Note each balance of a page with the account it speaks of; one that cannot be taken refuses the account whole."""
    data = document.get("Data")
    rows = data.get("Balance") if isinstance(data, dict) else None
    for place, row in enumerate(rows if isinstance(rows, list) else ()):
        named = row.get("AccountId") if isinstance(row, dict) else None
        mentioned = wanted.get(named) if isinstance(named, str) else None
        if mentioned is None:
            continue
        mentioned.raw[raw.sha256] = raw
        where = f"{answer.path} Balance[{place}]"
        try:
            one = stated_balance(
                row, mentioned.request.account, where=where, moment=moment, raw_sha256=raw.sha256
            )
        except Refused as error:
            mentioned.refusal = mentioned.refusal or error.refusals[0]
            continue
        if one is not None:
            mentioned.stated.append(one)


def _rows(document: Json, where: str) -> Iterator[tuple[str, Json]]:
    """Each balance of a page with its place."""
    rows = object_of(document.get("Data"), where, "Data").get("Balance")
    if not isinstance(rows, list):
        raise refused(RefusalReason.NO_BALANCE, where, "Data.Balance", "the answer states no balances")
    for place, row in enumerate(rows):
        yield f"{where} Balance[{place}]", object_of(row, where, "Data.Balance")


def _closing(readings: Sequence[Reading], last_closed: date) -> tuple[date, Money] | None:
    """The newest final closing balance of a day that may be asked for."""
    known = [
        (one.on, one.amount) for one in readings
        if one.kind is BalanceKind.BOOKED_CLOSING and one.final and one.on <= last_closed
    ]
    return max(known, key=lambda one: one[0], default=None)


def _path(request: PullRequest, resource: str) -> str:
    return f"/accounts/{quote(account_id(request.account), safe='')}/{resource}"


def _next_link(document: Json, where: str) -> str | None:
    links = document.get("Links")
    following = links.get("Next") if isinstance(links, dict) else None
    if following is None:
        return None
    if not isinstance(following, str) or not following:
        raise refused(RefusalReason.MALFORMED, where, "Links.Next", "a link without an address")
    return following


def _total_pages(document: Json) -> int:
    meta = document.get("Meta")
    total = meta.get("TotalPages") if isinstance(meta, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else 0


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None


def _refusal(error: CallRefused | Refused) -> Refusal:
    """The refusal, with the reason that the bank's own error code gives."""
    refusal = refusals_of(error)[0]
    if not isinstance(error, CallRefused) or error.status not in (400, 401, 403):
        return refusal
    codes = _error_codes(error.content)
    if codes & _CONSENT_CODES:
        detail = "the consent has ended, or the account holder must confirm it again"
        return replace(refusal, reason=RefusalReason.CONSENT_EXPIRED, detail=detail)
    if codes & _NOT_FOUND_CODES:
        return replace(refusal, reason=RefusalReason.NOT_FOUND, detail="the bank does not know this AccountId")
    told = [meaning for code, meaning in _TOKEN_CODES.items() if code in codes]
    if told:
        return replace(refusal, reason=RefusalReason.UNAUTHORIZED, detail=told[0])
    return refusal


def _error_codes(content: bytes) -> set[str]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return set()
    errors = document.get("Errors") if isinstance(document, dict) else None
    return {
        str(error.get("ErrorCode")) for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict)
    }
