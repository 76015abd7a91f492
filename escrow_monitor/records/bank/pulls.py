"""Every attempt to read the accounts at a bank, answered or not."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlmodel import Field, Session

from escrow_monitor.clock import ZONE
from escrow_monitor.domain.accounts import Account, AccountStatus, Reading
from escrow_monitor.domain.statements import Refusal, Statement
from escrow_monitor.domain.visibility import EVERYTHING, Visible
from escrow_monitor.records.accounts import account_cells, account_reader, lock_states
from escrow_monitor.records.bank.coverage import note_tries, oldest_gaps
from escrow_monitor.records.bank.fitting import Received
from escrow_monitor.records.bank.readings import (
    balance_cells,
    balance_columns,
    is_more_than_a_balance,
    is_news,
    move_balances,
    newest_readings,
    record_readings,
)
from escrow_monitor.records.bank.refusals import refusal_json
from escrow_monitor.records.bank.statements import record_received
from escrow_monitor.records.bulk import ByColumn, Reader, as_json, fetch, run, staged, texts
from escrow_monitor.records.columns import Row
from escrow_monitor.records.documents import keep_documents
from escrow_monitor.records.visible import conditions

INTRADAY_FRESH = timedelta(hours=1)
"""No policy lets an intraday balance grow too old sooner: its hours are whole ones."""


class PullRow(Row, table=True):
    """One attempt to read an account, answered or not."""

    __tablename__ = "pulls"
    # In the order of time: a new round appends, it does not touch a page for every account.
    __table_args__ = ({"sqlite_with_rowid": False},)

    scheduled_at: datetime = Field(primary_key=True)
    account_no: str = Field(primary_key=True)
    bank: str
    answered: bool
    refusal: str | None = None
    place: str | None = None
    field: str | None = None
    detail: str | None = None
    partial_refusals: str = "[]"
    raw_sha256s: str = "[]"
    started_at: datetime
    finished_at: datetime
    recorded_at: datetime


class PullRecord(NamedTuple):
    """A bank's answer about one account as it is to be kept, or (`refusal` set) why there was none to take.

    `raw` holds (SHA-256 in hex, bytes, media type), `partial_refusals` what of the answer was not taken.
    """

    account_no: str
    bank: str
    started_at: datetime
    finished_at: datetime
    readings: tuple[Reading, ...] = ()
    statements: tuple[Statement, ...] = ()
    account_status: AccountStatus = AccountStatus.UNKNOWN
    raw: tuple[tuple[str, bytes, str], ...] = ()
    refusal: Refusal | None = None
    partial_refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PullsRecorded:
    """What `record_pulls` did, in numbers of pulls, readings and statements that were new.

    `repeated` pulls were recorded before, `unknown` ones are of accounts we do not have; both had no effect.
    `refusals` are statements of the answers that do not fit what is stored, with the account each was for.
    """

    answered: int
    refused: int
    repeated: int = 0
    unknown: int = 0
    readings: int = 0
    statements: int = 0
    refusals: tuple[tuple[str, Refusal], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAnswers:
    """How one bank answered lately: its last round, and when it last answered at all."""

    bank: str
    accounts: int
    silent: int
    last_answer_at: datetime | None
    refusals: Mapping[str, int] = field(default_factory=dict)


class AccountToPull(NamedTuple):
    """An account to ask for, with the last day before today that final statements cover, and the oldest missing one
    that is due to be asked for again."""

    account: Account
    covered_to: date | None
    gap: date | None


def pull_requests(session: Session, bank: str, *, today: date, now: datetime) -> list[AccountToPull]:
    """The accounts to ask a bank for, by number. `today` is the bank's; a gap is due by the tries it has had."""
    gaps = oldest_gaps(session, today=today, asked_at=now, bank=bank)
    reader = Reader(session)
    account, day = account_reader(reader), reader.day
    rows = fetch(
        session,
        f"SELECT {account_cells('a')}, CASE WHEN s.covered_to < :today THEN s.covered_to END"
        " FROM accounts a JOIN account_states s ON s.account_no = a.account_no WHERE a.bank = :bank"
        " ORDER BY a.account_no", bank=bank, today=today,
    )
    return [AccountToPull(account(row), day(row[-1]), gaps.get(row[0])) for row in rows]


def record_pulls(
    session: Session, pulls: Sequence[PullRecord], *, scheduled_at: datetime, now: datetime,
    zone: ZoneInfo = ZONE,
) -> PullsRecorded:
    """Keep every answer of one round, silence included. A pull already kept for this scheduled time has no effect.

    A balance counts once for (account, kind, as_of, amount, final); the account's newest balances only move forward
    in the bank's time. `zone` is where the days of the answers' statements end.
    """
    known = lock_states(
        session, [pull.account_no for pull in pulls], booked=[pull.account_no for pull in pulls if pull.statements]
    )
    before = set(texts(
        session, "SELECT account_no FROM pulls WHERE scheduled_at = :scheduled_at AND account_no IN EACH(:known)",
        scheduled_at=scheduled_at, known=sorted(known),
    ))
    # A bank that answers twice about one account in one round is heard once: the first time.
    fresh = {
        pull.account_no: pull for pull in reversed(pulls) if pull.account_no in known and pull.account_no not in before
    }
    taken = [pull for pull in pulls if fresh.get(pull.account_no) is pull]
    # One answer often speaks of many accounts.
    keep_documents(session, chain.from_iterable({id(pull.raw): pull.raw for pull in taken}.values()), now=now)
    readings = record_readings(session, [reading for pull in taken for reading in pull.readings], now=now)
    statements, refusals = _record_statements(session, taken, now=now, zone=zone)
    answered = [pull.account_no for pull in taken if pull.refusal is None]
    note_tries(session, answered, asked_at=scheduled_at, today=now.astimezone(zone).date(), now=now)
    _keep_pulls(session, taken, refusals, scheduled_at=scheduled_at, now=now)
    unknown = sum(pull.account_no not in known for pull in pulls)
    refused = sum(pull.refusal is not None for pull in taken)
    return PullsRecorded(
        answered=len(taken) - refused, refused=refused, repeated=len(pulls) - len(taken) - unknown, unknown=unknown,
        readings=readings, statements=statements,
        refusals=tuple((account_no, refusal) for account_no, found in refusals.items() for refusal in found),
    )


def bank_answers(session: Session, *, visible: Visible = EVERYTHING) -> list[BankAnswers]:
    """For each bank: its accounts, how many did not answer when last asked and why, and its newest answer."""
    reader = Reader(session)
    where, given = conditions(visible, uscc="a.uscc")
    source = "account_states s" + (" JOIN accounts a ON a.account_no = s.account_no" if where else "")
    rows = run(
        session,
        f"SELECT s.bank, s.last_refusal, count(*), max(s.last_answer_at) FROM {source}"
        f" WHERE {' AND '.join(where) or 'true'} GROUP BY s.bank, s.last_refusal ORDER BY s.bank", **given,
    )
    found: dict[str, list[tuple[str | None, int, datetime | None]]] = {}
    for bank, refusal, count, at in rows:
        found.setdefault(bank, []).append((refusal, count, reader.instant(at)))
    return [
        BankAnswers(
            bank=bank, accounts=sum(count for _, count, _ in parts),
            silent=sum(count for refusal, count, _ in parts if refusal is not None),
            last_answer_at=max((at for _, _, at in parts if at is not None), default=None),
            refusals={refusal: count for refusal, count, _ in parts if refusal is not None},
        )
        for bank, parts in found.items()
    ]


def _record_statements(
    session: Session, pulls: Sequence[PullRecord], *, now: datetime, zone: ZoneInfo
) -> tuple[int, dict[str, list[Refusal]]]:
    received = [
        Received(statement=statement, source=pull.bank, raw_sha256=pull.raw[-1][0] if pull.raw else None)
        for pull in pulls for statement in pull.statements
    ]
    if not received:
        return 0, {}
    return record_received(session, received, now=now, zone=zone)


def _keep_pulls(
    session: Session, pulls: Sequence[PullRecord], refusals: Mapping[str, Sequence[Refusal]], *,
    scheduled_at: datetime, now: datetime,
) -> None:
    """Keep a row a pull, and bring the states up to them. What a rule could see anew makes an account due."""
    if not pulls:
        return
    newest = newest_readings(reading for pull in pulls for reading in pull.readings)
    accounts, banks, started_at, finished_at, _, _, statuses, raws, refused, _ = zip(*pulls, strict=True)
    hashes = {id(raw): _hashes(raw) for raw in {id(raw): raw for raw in raws}.values()}  # many of one answer
    cells = (
        accounts, banks, *zip(*map(_refusal_cells, refused), strict=True), [_partial(pull, refusals) for pull in pulls],
        [hashes[id(raw)] for raw in raws], started_at, finished_at, [_STATUSES[status] for status in statuses],
        *balance_cells(newest, accounts),
    )
    slots = tuple(newest)
    names = ", ".join(_PULL)
    moves = _move_answer(is_news(slots), is_more_than_a_balance(slots)) + (f", {move_balances(slots)}" if slots else "")
    with staged(session, "incoming_pulls", {**_PULL, "status": str, **balance_columns(slots)}, ByColumn(cells)):
        run(
            session,
            f"INSERT INTO pulls (scheduled_at, recorded_at, answered, {names})"
            f" SELECT :scheduled_at, :now, refusal IS NULL, {names} FROM incoming_pulls",
            scheduled_at=scheduled_at, now=now,
        )
        run(
            session,
            f"UPDATE account_states SET {moves} FROM incoming_pulls i WHERE i.account_no = account_states.account_no",
            **({"fresh_from": now - INTRADAY_FRESH} if slots else {}),
        )


_PULL = {
    "account_no": str, "bank": str, "refusal": str, "place": str, "field": str, "detail": str, "partial_refusals": str,
    "raw_sha256s": str, "started_at": datetime, "finished_at": datetime,
}
_STATUSES = {
    status: None if status is AccountStatus.UNKNOWN else status.value for status in AccountStatus
}
_STATUS_IS_NEWER = (
    "i.status IS NOT NULL AND (account_states.status_as_of IS NULL OR i.finished_at >= account_states.status_as_of)"
)
_ANSWER_IS_NEWS = f"""
    account_states.last_refusal IS DISTINCT FROM i.refusal
    OR ({_STATUS_IS_NEWER} AND i.status <> account_states.status)
"""


def _move_answer(news: str, more_than_a_balance: str) -> str:
    """The SET part of what an answer says by itself; the conditions are of what its balances say."""
    return f"""
        input_version = account_states.input_version + CASE WHEN {_ANSWER_IS_NEWS} OR {news} THEN 1 ELSE 0 END,
        balance_moves = account_states.balance_moves
            + CASE WHEN {_ANSWER_IS_NEWS} OR {more_than_a_balance} THEN 0 WHEN {news} THEN 1 ELSE 0 END,
        status = CASE WHEN {_STATUS_IS_NEWER} THEN i.status ELSE account_states.status END,
        status_as_of = CASE WHEN {_STATUS_IS_NEWER} THEN i.finished_at ELSE account_states.status_as_of END,
        last_answer_at = CASE WHEN i.refusal IS NULL
                AND (account_states.last_answer_at IS NULL OR i.finished_at > account_states.last_answer_at)
            THEN i.finished_at ELSE account_states.last_answer_at END,
        last_refusal = i.refusal,
        refusals_in_a_row = CASE WHEN i.refusal IS NULL THEN 0 ELSE account_states.refusals_in_a_row + 1 END
    """


def _refusal_cells(refusal: Refusal | None) -> tuple[str | None, ...]:
    if refusal is None:
        return (None, None, None, None)
    return (refusal.reason.value, refusal.where, refusal.field, refusal.detail)


def _partial(pull: PullRecord, refusals: Mapping[str, Sequence[Refusal]]) -> str:
    found = (*pull.partial_refusals, *refusals.get(pull.account_no, ()))
    return as_json([refusal_json(refusal) for refusal in found]) if found else "[]"


def _hashes(raw: tuple[tuple[str, bytes, str], ...]) -> str:
    if not raw:
        return "[]"
    return '["' + '", "'.join(sha256 for sha256, _, _ in raw) + '"]'
