"""Ask one bank about its accounts and record every answer, silence included.

accounts -> bank (many at once) -> Pull | PullRefused -> records, in batches as answers arrive
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from escrow_monitor.banks.connector import BankConnector, Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.records.database import Database
from escrow_monitor.records.pulls import PullRecord, pull_requests, record_pulls
from escrow_monitor.rounds.report import Outcome, Report

NAME = "pull-balances"
BATCH = 10_000
HISTORY_DAYS_MAX = 31
"""How far back an account that has never been covered is asked for statements."""

T = TypeVar("T")


class PullWatch(Protocol):
    """Hears of each answer: for metrics and progress."""

    def __call__(self, *, bank: str, outcome: str, seconds: float) -> None: ...


def pull_balances(
    *,
    database: Database,
    connector: BankConnector,
    zone: ZoneInfo,
    scheduled_at: datetime,
    now_of: Callable[[], datetime],
    watch: PullWatch,
    account_nos: Sequence[str] | None = None,
) -> Report:
    """Pull one bank. Each account leaves exactly one row for `scheduled_at`, answered or refused."""
    now = now_of()
    today = now.astimezone(zone).date()
    with database.read() as session:
        known = pull_requests(session, connector.bank, today=today)
    chosen = None if account_nos is None else set(account_nos)
    requests = [
        PullRequest(account=account, statements_from=statements_from(covered_to, today=today))
        for account, covered_to in known
        if chosen is None or account.account_no in chosen
    ]

    counts = {
        "accounts": len(requests),
        "answered": 0,
        "refused": 0,
        "readings": 0,
        "statements": 0,
        "statements_refused": 0,
    }
    for batch in batches(connector.pull(requests, now=now), BATCH):
        with database.write() as session:
            recorded = record_pulls(
                session, [as_record(outcome) for outcome in batch], scheduled_at=scheduled_at, now=now_of(), zone=zone
            )
        counts["readings"] += recorded.readings
        counts["statements"] += recorded.statements
        counts["statements_refused"] += len(recorded.refusals) + sum(
            len(outcome.refusals) for outcome in batch if isinstance(outcome, Pull)
        )
        for outcome in batch:
            refused = isinstance(outcome, PullRefused)
            counts["refused" if refused else "answered"] += 1
            watch(
                bank=outcome.bank,
                outcome=outcome.refusal.reason.value if isinstance(outcome, PullRefused) else "ok",
                seconds=(outcome.finished_at - outcome.started_at) / timedelta(seconds=1),
            )

    counts["unanswered"] = counts["accounts"] - counts["answered"] - counts["refused"]
    wrong = counts["refused"] or counts["unanswered"] or counts["statements_refused"]
    return Report(
        round=NAME,
        shard=connector.bank,
        scheduled_at=scheduled_at,
        outcome=Outcome.WRONG if wrong else Outcome.OK,
        counts=counts,
        news=counts["readings"] + counts["refused"] > 0,
    )


def statements_from(covered_to: date | None, *, today: date) -> date | None:
    """The first day to ask statements for: the day after the last covered one, or None when yesterday is covered.

    Today is never asked for: only a closed day is final.
    """
    if covered_to is None:
        return today - timedelta(days=HISTORY_DAYS_MAX)
    first = covered_to + timedelta(days=1)
    return first if first < today else None


def as_record(outcome: PullOutcome) -> PullRecord:
    """What the records keep of one answer."""
    raw = tuple((one.sha256, one.content, one.media_type) for one in outcome.raw)
    if isinstance(outcome, PullRefused):
        return PullRecord(
            account_no=outcome.account_no,
            bank=outcome.bank,
            refusal=outcome.refusal,
            raw=raw,
            started_at=outcome.started_at,
            finished_at=outcome.finished_at,
        )
    return PullRecord(
        account_no=outcome.account_no,
        bank=outcome.bank,
        readings=outcome.readings,
        statements=outcome.statements,
        account_status=outcome.account_status,
        partial_refusals=outcome.refusals,
        raw=raw,
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
    )


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut a stream into lists of at most `size`."""
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
