"""Ask one bank about its accounts and record every answer, silence included.

accounts -> bank (many at once) -> Pull | PullRefused -> records, in batches as answers arrive
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

from escrow_monitor.banks.connector import BankConnector, Pull, PullOutcome, PullRefused, PullRequest
from escrow_monitor.domain.certificates import Certificate
from escrow_monitor.records.bank.certificates import note_certificate
from escrow_monitor.records.bank.pulls import PullRecord, PullsRecorded, pull_requests, record_pulls
from escrow_monitor.records.database import Database
from escrow_monitor.rounds.report import Outcome, Progress, Report, counted

NAME = "pull-balances"
BATCH = 10_000
HISTORY_DAYS_MAX = 31
"""How far back an account that has never been covered is asked for statements."""

BATCH_LONGEST = timedelta(seconds=2)
"""A slow bank's answers are recorded while the others are still awaited."""
LOOK_EVERY = 64

T = TypeVar("T")
R = TypeVar("R")


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
    shown: Callable[[], Certificate | None] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Pull one bank. Each account leaves exactly one row for `scheduled_at`, answered or refused.

    `shown` gives the certificate that the bank showed meanwhile, if it did.
    """
    now = now_of()
    today = now.astimezone(zone).date()
    with database.read() as session:
        known = pull_requests(session, connector.bank, today=today, now=now)
    chosen = None if account_nos is None else set(account_nos)
    requests = [
        PullRequest(account=one.account, statements_from=statements_from(one.covered_to, gap=one.gap, today=today))
        for one in known
        if chosen is None or one.account.account_no in chosen
    ]

    counts = {
        "accounts": len(requests),
        "answered": 0,
        "refused": 0,
        "readings": 0,
        "statements": 0,
        "statements_refused": 0,
    }
    answers = counted(connector.pull(requests, now=now), progress, total=len(requests))

    def record(batch: Sequence[PullOutcome]) -> PullsRecorded:
        with database.write() as session:
            return record_pulls(
                session, as_records(batch), scheduled_at=scheduled_at, now=now_of(), zone=zone
            )

    for batch, recorded in beside(record, batches(answers, BATCH, now_of=now_of)):
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

    if shown is not None and (certificate := shown()) is not None:
        with database.write() as session:
            note_certificate(session, connector.bank, certificate, now=now_of())
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


def statements_from(covered_to: date | None, *, gap: date | None = None, today: date) -> date | None:
    """The first day to ask statements for: the missing one whose turn it is (`gap`), else the day after the last
    covered one; None when yesterday is covered.

    Today is never asked for: only a closed day is final.
    """
    if covered_to is None:
        return today - timedelta(days=HISTORY_DAYS_MAX)
    first = covered_to + timedelta(days=1)
    if gap is not None and gap < first:
        first = gap
    return first if first < today else None


def as_records(outcomes: Sequence[PullOutcome]) -> list[PullRecord]:
    """What the records keep of each answer; bytes that speak of many accounts are one and the same value in all."""
    documents: dict[tuple[int, ...], tuple[tuple[str, bytes, str], ...]] = {}
    records = []
    for outcome in outcomes:
        # By identity, which the outcomes keep alive meanwhile: comparing the bytes would take longer than making them.
        key = tuple(map(id, outcome.raw))
        raw = documents.get(key)
        if raw is None:
            raw = documents[key] = tuple((one.sha256, one.content, one.media_type) for one in outcome.raw)
        records.append(_record(outcome, raw))
    return records


def _record(outcome: PullOutcome, raw: tuple[tuple[str, bytes, str], ...]) -> PullRecord:
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


def batches(
    items: Iterable[T], size: int, *, now_of: Callable[[], datetime], longest: timedelta = BATCH_LONGEST
) -> Iterator[list[T]]:
    """Cut a stream into lists of at most `size`, and sooner where a list has been `longest` in the making."""
    batch: list[T] = []
    began = now_of()
    for item in items:
        if not batch:
            began = now_of()
        batch.append(item)
        if len(batch) >= size or (len(batch) % LOOK_EVERY == 0 and now_of() - began >= longest):
            yield batch
            batch = []
    if batch:
        yield batch


def beside(work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Do the work of each item, in order, in a thread of its own while the next item is made; raise what it raises.

    At most one item waits for the one before it.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="records") as worker:
        running: tuple[T, Future[R]] | None = None
        for item in items:
            if running is not None:
                yield running[0], running[1].result()
            running = item, worker.submit(work, item)
        if running is not None:
            yield running[0], running[1].result()
