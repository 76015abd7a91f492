"""What every bank interface answers: balances and statements of accounts, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, TypeAlias

from escrow_monitor.domain.accounts import Account, AccountStatus, Reading
from escrow_monitor.domain.statements import Refusal, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Bytes as they were received, with their SHA-256 in hex."""

    sha256: str
    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """What we want to know of one account. `statements_from` None: balances only."""

    account: Account
    statements_from: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A bank's answer about one account: what it stated, and the bytes it stated it in.

    `statements` have been checked to tie (an entry list without balances comes as a NOTICE). `raw` may be shared by
    many pulls when one answer spoke of many accounts. `account_status` is UNKNOWN where the bank does not say.
    """

    account_no: str
    bank: str
    readings: tuple[Reading, ...]
    statements: tuple[Statement, ...] = ()
    account_status: AccountStatus = AccountStatus.UNKNOWN
    raw: tuple[Raw, ...] = ()
    started_at: datetime
    finished_at: datetime
    refusals: tuple[Refusal, ...] = ()
    """Parts of the answer that were not taken although the balance was, e.g. a transaction list that does not tie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRefused:
    """No answer about one account that could be taken, and why."""

    account_no: str
    bank: str
    refusal: Refusal
    raw: tuple[Raw, ...] = ()
    started_at: datetime
    finished_at: datetime


PullOutcome: TypeAlias = Pull | PullRefused


class BankConnector(Protocol):
    """One bank, spoken to in its own interface. Concurrency lives inside; the caller iterates, synchronously.

    Yields exactly one outcome a request, in any order, as answers arrive; never raises for what the bank did.
    """

    bank: str

    @property
    def rest_until(self) -> datetime | None:
        """Until when the bank has asked not to be called again; None when it has not."""

    def pull(self, requests: Sequence[PullRequest], *, now: datetime) -> Iterator[PullOutcome]: ...

    def close(self) -> None: ...
