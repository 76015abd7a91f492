"""One bank spoken to as its configuration says: which questions are asked, and who is answered by what.

    balances of one account a call      the request names {account_no} or {external_id}
    ... of so many accounts             batch_size, the request names {accounts}
    ... of all accounts                 the request names none
    statements                          one account a call, in spans of days_max days
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from itertools import chain
from zoneinfo import ZoneInfo

from escrow_monitor.banks.answer_reading import raw_of, refusals_of
from escrow_monitor.banks.connector import Pull, PullOutcome, PullRefused, PullRequest, Raw
from escrow_monitor.banks.http import BankClient, BankHttp, CallRefused
from escrow_monitor.banks.mapped_balances import Heard
from escrow_monitor.banks.mapped_calls import AnswerRefused, Call, Caller, Wire, compiled_call, compiled_session
from escrow_monitor.banks.mapped_statement import Page, statement_of
from escrow_monitor.banks.mapping import Context, StatementsRule, balances_rule, statements_rule
from escrow_monitor.banks.statement_reading import Refused, checked
from escrow_monitor.banks.templates import (
    ACCOUNT_NAMES,
    LIST_NAME,
    PAGE_NAMES,
    PERIOD_NAMES,
    Value,
    Values,
    values_of_account,
)
from escrow_monitor.banks.two_passes import statements_last, wants_days
from escrow_monitor.clock import Clock
from escrow_monitor.domain.accounts import BalanceKind
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Statement
from escrow_monitor.errors import ConfigurationError
from escrow_monitor.settings.mapping import BalancesMapping, MappingSection, StatementsMapping

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statements:
    """The compiled question for entries."""

    call: Call
    rule: StatementsRule
    days_max: int
    days_back_max: int | None
    ready_at: time


class MappedBank:
    """A bank read by its mapping. `secrets` may be named in templates as `{secret.NAME}`.

    Raises ConfigurationError, naming the key, for a mapping that cannot work.
    """

    def __init__(
        self, bank: str, http: BankHttp, mapping: MappingSection, wire: Wire, *, zone: ZoneInfo, clock: Clock,
        secrets: Mapping[str, str],
    ) -> None:
        self.bank = bank
        self._source = wire.source
        self._zone = zone
        self._clock = clock
        named: dict[str, Value] = {f"secret.{name}": value for name, value in secrets.items()}
        context = Context(find=wire.find, currencies=mapping.currencies, numbers=wire.numbers)
        key, names = f"banks.{bank}", frozenset(named)
        self._balances = _balances_call(mapping.balances, context, wire, f"{key}.balances", names)
        self._balances_rule = balances_rule(mapping.balances, context, f"{key}.balances")
        self._batch_size = mapping.balances.batch_size
        self._statements = _statements(mapping.statements, context, wire, f"{key}.statements", names)
        calls = [self._balances] if self._statements is None else [self._balances, self._statements.call]
        session = compiled_session(mapping.session, calls, context, wire, key=f"{key}.session", names=names)
        self._client = BankClient(http, clock=clock, secrets=tuple(secrets.values()))
        self._caller = Caller(self._client, wire, session, secrets=named, zone=zone, clock=clock)

    @property
    def rest_until(self) -> datetime | None:
        """Until when the bank has asked not to be called again."""
        return self._client.rest_until

    def pull(self, requests: Sequence[PullRequest], *, now: datetime) -> Iterator[PullOutcome]:
        """Yield one outcome a request. Entries are asked for up to the day that has closed by `now`."""
        last_closed = self._last_closed(now.astimezone(self._zone))
        self._caller.begin()
        yield from statements_last(
            self._client, chain.from_iterable(self._client.each(self._handfuls(requests), self._balances_of)),
            wants=lambda request: self._statements is not None and wants_days(request, last_closed),
            take=lambda request, pull: self._with_statements(request, pull, last_closed),
        )

    def close(self) -> None:
        """End the connections to the bank."""
        self._client.close()

    def _last_closed(self, local: datetime) -> date:
        ready_at = time() if self._statements is None else self._statements.ready_at
        return local.date() - _DAY * (1 if local.time() >= ready_at else 2)

    def _handfuls(self, requests: Sequence[PullRequest]) -> list[Sequence[PullRequest]]:
        """The requests of each question for balances."""
        size = self._batch_size or (1 if self._balances.names & ACCOUNT_NAMES else max(len(requests), 1))
        return [requests[start : start + size] for start in range(0, len(requests), size)]

    async def _balances_of(self, requests: Sequence[PullRequest]) -> list[tuple[PullRequest, PullOutcome]]:
        started_at = self._clock.now()
        asked_for_one = bool(self._balances.names & ACCOUNT_NAMES)
        accounts = [values_of_account(request.account) for request in requests]
        heard = Heard(rule=self._balances_rule, source=self._source, asked_for_one=asked_for_one)
        values: Values = accounts[0] if asked_for_one else {}
        try:
            async for page in self._caller.pages(self._balances, self._balances_rule.rows_of, values, accounts):
                heard.add(page)
        except (CallRefused, Refused) as error:
            heard.refusal = refusals_of(error)[0]
            heard.evidence += _evidence_of(error)
        finished_at = self._clock.now()
        outcomes = [
            heard.outcome(request.account, self.bank, started_at=started_at, finished_at=finished_at)
            for request in requests
        ]
        return [(request, self._redacted(outcome)) for request, outcome in zip(requests, outcomes, strict=True)]

    def _redacted(self, outcome: PullOutcome) -> PullOutcome:
        if isinstance(outcome, PullRefused):
            return replace(outcome, refusal=self._caller.redacted(outcome.refusal))
        return outcome

    # statements

    async def _with_statements(self, request: PullRequest, pull: Pull, last_closed: date) -> Pull:
        """The pull with the entries of the closed days since `statements_from`, or with why they were not taken."""
        question, first = self._statements, request.statements_from
        assert question is not None  # noqa: S101 - asked for only where statements are wanted
        assert first is not None  # noqa: S101 - as above
        if question.days_back_max is not None:
            first = max(first, last_closed - _DAY * (question.days_back_max - 1))
        raw: list[Raw] = []
        found: list[Statement] = []
        known = _closing_of(pull, last_closed)
        try:
            # From the newest span back: where a quiet span states no balance, the one after it knows its closing.
            for span in reversed(list(_spans(first, last_closed, question.days_max))):
                statements = await self._statements_in(question, request, span, known, raw)
                found = [*statements, *found]
                known = next((one.opening for one in statements if one.final and one.covers_from == span[0]), None)
            whole = checked(found, today=last_closed)
        except (CallRefused, Refused) as error:
            raw += _evidence_of(error)
            refusals = tuple(map(self._caller.redacted, refusals_of(error)))
            return replace(pull, raw=(*pull.raw, *raw), refusals=refusals, finished_at=self._clock.now())
        return replace(pull, raw=(*pull.raw, *raw), statements=whole, finished_at=self._clock.now())

    async def _statements_in(
        self, question: _Statements, request: PullRequest, span: tuple[date, date], known: Money | None,
        raw: list[Raw],
    ) -> Sequence[Statement]:
        values: Values = {**values_of_account(request.account), "from": span[0], "to": span[1]}
        pages: list[Page] = []
        async for page in self._caller.pages(question.call, question.rule.rows_of, values):
            raw.append(page.raw)
            pages.append(page)
        return statement_of(question.rule, pages, request.account, span=span, closing=known)


def _balances_call(
    mapping: BalancesMapping, context: Context, wire: Wire, key: str, secrets: frozenset[str]
) -> Call:
    call = compiled_call(mapping, context, wire, key, ACCOUNT_NAMES | PAGE_NAMES | {LIST_NAME} | secrets)
    names, batch = call.names, mapping.batch_size is not None
    if batch and LIST_NAME not in names:
        raise ConfigurationError(f"{key}.batch_size: the request does not name {{accounts}}")
    if not batch and LIST_NAME in names:
        raise ConfigurationError(f"{key}: the request names {{accounts}}: say how many at once in batch_size")
    if batch and names & ACCOUNT_NAMES:
        raise ConfigurationError(f"{key}: the request of a batch names one account; put that into each")
    if mapping.unnamed and not names & ACCOUNT_NAMES:
        raise ConfigurationError(f"{key}.unnamed: only for requests that name {{account_no}} or {{external_id}}")
    return call


def _statements(
    mapping: StatementsMapping | None, context: Context, wire: Wire, key: str, secrets: frozenset[str]
) -> _Statements | None:
    if mapping is None:
        return None
    call = compiled_call(mapping, context, wire, key, ACCOUNT_NAMES | PAGE_NAMES | PERIOD_NAMES | secrets)
    if not call.names & ACCOUNT_NAMES:
        raise ConfigurationError(f"{key}: the request names neither {{account_no}} nor {{external_id}}")
    if not call.names >= PERIOD_NAMES:
        raise ConfigurationError(f"{key}: the request must name {{from}} and {{to}}")
    return _Statements(
        call=call, rule=statements_rule(mapping, context, key), days_max=mapping.days_max,
        days_back_max=mapping.days_back_max, ready_at=time.fromisoformat(mapping.ready_at),
    )


def _evidence_of(error: Exception) -> tuple[Raw, ...]:
    return (raw_of(error.answer),) if isinstance(error, AnswerRefused) else ()


def _spans(first: date, last: date, days_max: int) -> Iterator[tuple[date, date]]:
    while first <= last:
        yield first, min(first + timedelta(days=days_max - 1), last)
        first += timedelta(days=days_max)


def _closing_of(pull: Pull, on: date) -> Money | None:
    """The final booked balance of a day, if the bank has just stated it."""
    return next(
        (one.amount for one in pull.readings if one.kind is BalanceKind.BOOKED_CLOSING and one.final and one.on == on),
        None,
    )
