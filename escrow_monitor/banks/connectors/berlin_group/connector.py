"""One bank that speaks Berlin Group NextGenPSD2 XS2A (implementation guidelines 1.3).

    GET /v1/accounts?withBalance=true                all accounts of the consent, page by page      batch=True
    GET /v1/accounts/{id}/balances                   one account                                    batch=False
    GET /v1/accounts/{id}/transactions?...           its booked entries, where statements are asked for

A consent allows a number of accesses a day while nobody is present (`frequencyPerDay`, by law at least four). When they
are used up the bank answers 429 ACCESS_EXCEEDED, and until its next midnight every further call would be another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
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
from escrow_monitor.banks.connectors.berlin_group.account_list import AccountList, Mentioned
from escrow_monitor.banks.connectors.berlin_group.balances import BalanceReader
from escrow_monitor.banks.connectors.berlin_group.entries import Sign, downloaded, statements
from escrow_monitor.banks.connectors.berlin_group.fields import check_account, link_of, path_id
from escrow_monitor.banks.http import Answer, BankClient, BankHttp, CallRefused, Emit, request_id
from escrow_monitor.banks.statement_reading import Refused, refused
from escrow_monitor.banks.two_passes import Broken, statements_last, wants_days, with_statements
from escrow_monitor.clock import Clock
from escrow_monitor.domain.statements import Refusal, RefusalReason, Statement

_CONSENT_CODES = frozenset({"CONSENT_EXPIRED", "CONSENT_INVALID"})
_DOWNLOADS = "application/json, application/xml;q=0.9, text/xml;q=0.9, text/plain;q=0.8, */*;q=0.1"


_NOT_NAMED = Broken(Refusal(
    reason=RefusalReason.NOT_FOUND, where="/v1/accounts", field="accounts",
    detail="the bank's list of accounts does not name this one",
))


class BerlinGroup:
    """One bank's connector.

    `sign` says how it writes amounts of transactions: "signed" (debits below zero) or "by_party" (never below zero; a
    creditor account that is not ours makes it a debit): the standard's own examples disagree. `zone` is the bank's.
    """

    def __init__(
        self, bank: str, http: BankHttp, *, consent_id: str, zone: ZoneInfo, clock: Clock, batch: bool = False,
        sign: Sign = "signed",
    ) -> None:
        self.bank = bank
        self._consent_id = consent_id
        self._zone = zone
        self._clock = clock
        self._batch = batch
        self._sign: Sign = sign
        self._client = BankClient(http, clock=clock, secrets=(consent_id,))

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
        account = request.account
        raw: tuple[Raw, ...] = ()
        try:
            answer = await self._get(f"/v1/accounts/{path_id(account)}/balances")
            raw = (raw_of(answer),)
            document = document_of(answer)
            stated = document.get("account")
            if stated is not None:
                check_account(account, object_of(stated, answer.path, "account"), answer.path)
            balances = BalanceReader(Moment(self._zone, answer.fetched_at), raw[0].sha256)
            readings = balances.readings_of(document.get("balances"), account, answer.path)
        except (CallRefused, Refused) as error:
            return self._refused(request, _refusal(error), raw, started_at)
        pull = Pull(
            account_no=account.account_no, bank=self.bank, readings=readings, raw=raw, started_at=started_at,
            finished_at=answer.fetched_at,
        )
        return await self._with_statements(request, pull, last_closed)

    def _pull_list(self, requests: Sequence[PullRequest], last_closed: date) -> Iterator[PullOutcome]:
        """Every account from the pages of one list; then the entries of those whose statements are asked for."""
        started_at = self._clock.now()
        listed = AccountList(requests)
        broken: Broken | None = None
        for page in self._client.stream(self._pages):
            if isinstance(page, Broken):
                broken = page
                break
            answer, raw, document = page
            moment = Moment(self._zone, answer.fetched_at)
            listed.note_page(document, raw=raw, moment=moment, where=answer.path)
        outcomes = ((mentioned.request, self._outcome(mentioned, broken, started_at)) for mentioned in listed)
        yield from statements_last(
            self._client, outcomes, wants=lambda request: wants_days(request, last_closed),
            take=lambda request, pull: self._with_statements(request, pull, last_closed),
        )

    def _outcome(self, mentioned: Mentioned, broken: Broken | None, started_at: datetime) -> PullOutcome:
        request = mentioned.request
        if mentioned.refusal is not None:
            return self._refused(request, mentioned.refusal, mentioned.raw, started_at)
        if not mentioned.readings:
            ended = broken or _NOT_NAMED
            return self._refused(request, ended.refusal, ended.raw, started_at)
        return Pull(
            account_no=request.account.account_no, bank=self.bank, readings=mentioned.readings, raw=mentioned.raw,
            account_status=mentioned.status, started_at=started_at, finished_at=mentioned.readings[0].fetched_at,
        )

    async def _pages(self, emit: Emit[tuple[Answer, Raw, Json] | Broken]) -> None:
        """Each page of the list; where it breaks off, why, with the bytes that broke it."""
        link, params = "/v1/accounts", {"withBalance": "true"}
        seen = {link}
        raw: tuple[Raw, ...] = ()
        try:
            for _ in range(PAGES_MAX):
                raw = ()
                answer = await self._get(link, params)
                raw = (raw_of(answer),)
                document = document_of(answer)
                await emit((answer, raw[0], document))
                following = link_of(document.get("_links"), "next", answer.path)
                if following is None:
                    return
                if following in seen:
                    raise refused(RefusalReason.MALFORMED, answer.path, "_links.next", "the pages lead in a circle")
                seen.add(following)
                link, params = following, {}
            raise refused(RefusalReason.TOO_LARGE, "/v1/accounts", "_links.next", f"more than {PAGES_MAX} pages")
        except (CallRefused, Refused) as error:
            await emit(Broken(_refusal(error), raw))

    async def _with_statements(self, request: PullRequest, pull: Pull, last_closed: date) -> Pull:
        """The pull with the entries of the closed days since `statements_from`, or with why they were not taken."""
        asked_from = request.statements_from
        if asked_from is None or asked_from > last_closed:
            return pull
        return await with_statements(
            pull, lambda raw: self._statements(request, asked_from, last_closed, raw), clock=self._clock, why=_refusal
        )

    async def _statements(
        self, request: PullRequest, asked_from: date, last_closed: date, raw: list[Raw]
    ) -> tuple[Statement, ...]:
        """All pages of the account's booked entries; their bytes go to `raw` as they come, also when one is refused."""
        link = f"/v1/accounts/{path_id(request.account)}/transactions"
        params = {
            "bookingStatus": "booked", "dateFrom": f"{asked_from}", "dateTo": f"{last_closed}", "withBalance": "true",
        }
        pages: list[tuple[Answer, Json]] = []
        seen = {link}
        while True:
            answer = await self._get(link, params)
            raw.append(raw_of(answer))
            document = document_of(answer)
            links = _links(document)
            if "download" in links and not _lists_entries(document):
                if (stated := document.get("account")) is not None:
                    check_account(request.account, object_of(stated, answer.path, "account"), answer.path)
                return await self._downloaded(links, answer.path, request, asked_from, last_closed, raw)
            pages.append((answer, document))
            following = link_of(links, "next", answer.path)
            if following is None:
                return statements(
                    pages, request.account, asked_from=asked_from, last_closed=last_closed, sign=self._sign
                )
            if following in seen or len(pages) >= PAGES_MAX:
                raise refused(RefusalReason.MALFORMED, answer.path, "_links.next", "the pages lead in a circle")
            seen.add(following)
            link, params = following, {}

    async def _downloaded(
        self, links: Json, where: str, request: PullRequest, asked_from: date, last_closed: date, raw: list[Raw]
    ) -> tuple[Statement, ...]:
        """The entries from the file that a bank gives instead of a list too large for it."""
        link = link_of(links, "download", where)
        if link is None:
            raise refused(RefusalReason.MALFORMED, where, "_links.download", "a link without an address")
        answer = await self._get(link, accept=_DOWNLOADS)
        raw.append(raw_of(answer))
        if answer.content.lstrip()[:1] != b"{":
            return downloaded(answer, request.account, zone=self._zone)
        document = document_of(answer)
        if link_of(_links(document), "next", answer.path) is not None:
            raise refused(RefusalReason.MALFORMED, answer.path, "_links.next", "a file that goes on elsewhere")
        return statements(
            [(answer, document)], request.account, asked_from=asked_from, last_closed=last_closed, sign=self._sign
        )

    async def _get(
        self, path: str, params: Mapping[str, str] | None = None, *, accept: str | None = None
    ) -> Answer:
        headers = self._headers if accept is None else lambda: {**self._headers(), "Accept": accept}
        try:
            return await self._client.get(path, params=params, headers=headers)
        except CallRefused as error:
            exceeded = error.status == 429 and "ACCESS_EXCEEDED" in _message_codes(error.content)
            if exceeded and error.retry_after_seconds is None:
                self._client.rest(self._next_midnight())
            raise

    def _next_midnight(self) -> datetime:
        tomorrow = self._clock.now().astimezone(self._zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time(), self._zone).astimezone(UTC)

    def _headers(self) -> Mapping[str, str]:
        return {"X-Request-ID": request_id(), "Consent-ID": self._consent_id}

    def _refused(
        self, request: PullRequest, refusal: Refusal, raw: tuple[Raw, ...], started_at: datetime
    ) -> PullRefused:
        return refused_pull(
            request, self.bank, refusal, raw=raw, started_at=started_at, finished_at=self._clock.now()
        )


def _links(document: Json) -> Json:
    """The links of a list of entries: beside the list or beside the whole, as banks have it."""
    booked = document.get("transactions")
    inside = booked.get("_links") if isinstance(booked, dict) else None
    outside = document.get("_links")
    return {
        **(outside if isinstance(outside, dict) else {}), **(inside if isinstance(inside, dict) else {}),
    }


def _lists_entries(document: Json) -> bool:
    booked = document.get("transactions")
    return isinstance(booked, dict) and "booked" in booked


def _refusal(error: CallRefused | Refused) -> Refusal:
    """The refusal, with the reason a 401 or 403 gives for a consent that has ended."""
    if isinstance(error, CallRefused) and error.status in (401, 403) and _message_codes(error.content) & _CONSENT_CODES:
        return replace(
            error.refusal, reason=RefusalReason.CONSENT_EXPIRED, detail="the consent has ended or is not valid here"
        )
    return refusals_of(error)[0]


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
