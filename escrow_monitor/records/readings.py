"""What banks answered: every pull, every balance they stated, and the bytes they stated it in."""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import CheckConstraint
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import Account, AccountStatus, BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Refusal, Statement
from escrow_monitor.records.accounts import account_cells, account_reader, lock_banks
from escrow_monitor.records.bulk import Reader, as_json, fetch, run, staged
from escrow_monitor.records.columns import Row, exact, fen, large, one_of

if TYPE_CHECKING:
    from typing import Any

DEFAULT_ZONE = ZoneInfo("Asia/Shanghai")
"""Where a bank's day ends when nobody says otherwise."""


class RawDocumentRow(Row, table=True):
    """Bytes as they were received, compressed, once for each SHA-256."""

    __tablename__ = "raw_documents"

    sha256: str = Field(primary_key=True)
    media_type: str
    size: int = large()
    content_zlib: bytes
    recorded_at: datetime


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


class ReadingRow(Row, table=True):
    """One balance a bank stated. Never changed: a correction is another row."""

    __tablename__ = "readings"
    __table_args__ = (
        CheckConstraint(one_of("kind", BalanceKind), "kind"), CheckConstraint(exact("amount_fen"), "amount_fen"),
    )

    account_no: str = Field(primary_key=True)
    as_of: datetime = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    amount_fen: int = fen(primary_key=True)
    final: bool = Field(primary_key=True)
    day: date
    fetched_at: datetime
    source: str
    raw_sha256: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRecord:
    """A bank's answer about one account as it is to be kept, or (`refusal` set) why there was none to take.

    `raw` holds (SHA-256 in hex, bytes, media type), `partial_refusals` what of the answer was not taken.
    """

    account_no: str
    bank: str
    readings: tuple[Reading, ...] = ()
    statements: tuple[Statement, ...] = ()
    account_status: AccountStatus = AccountStatus.UNKNOWN
    raw: tuple[tuple[str, bytes, str], ...] = ()
    refusal: Refusal | None = None
    partial_refusals: tuple[Refusal, ...] = ()
    started_at: datetime
    finished_at: datetime


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


def pull_requests(session: Session, bank: str, *, today: date) -> list[tuple[Account, date | None]]:
    """The accounts to ask a bank for, by number, with the last day before `today` that final statements cover."""
    reader = Reader(session)
    account, day = account_reader(reader), reader.day
    rows = run(
        session,
        f"SELECT {account_cells('a')}, CASE WHEN s.covered_to < :today THEN s.covered_to END"
        " FROM accounts a JOIN account_states s ON s.account_no = a.account_no WHERE a.bank = :bank"
        " ORDER BY a.account_no", bank=bank, today=today,
    )
    return [(account(row), day(row[-1])) for row in rows]


def record_pulls(
    session: Session, pulls: Sequence[PullRecord], *, scheduled_at: datetime, now: datetime,
    zone: ZoneInfo = DEFAULT_ZONE,
) -> PullsRecorded:
    """Keep every answer of one round, silence included. A pull already kept for this scheduled time has no effect.

    A balance counts once for (account, kind, as_of, amount, final); the account's newest balances only move forward
    in the bank's time. `zone` is where the days of the answers' statements end.
    """
    known = lock_states(session, [pull.account_no for pull in pulls])
    before = {
        account_no for (account_no,) in fetch(
            session,
            "SELECT account_no FROM pulls WHERE scheduled_at = :scheduled_at AND account_no IN EACH(:known)",
            scheduled_at=scheduled_at, known=sorted(known),
        )
    }
    # A bank that answers twice about one account in one round is heard once: the first time.
    fresh = {
        pull.account_no: pull for pull in reversed(pulls) if pull.account_no in known and pull.account_no not in before
    }
    taken = [pull for pull in pulls if fresh.get(pull.account_no) is pull]
    keep_documents(session, (document for pull in taken for document in pull.raw), now=now)
    news = record_readings(session, [reading for pull in taken for reading in pull.readings], now=now)
    statements, refusals = _record_statements(session, taken, now=now, zone=zone)
    _keep_pulls(session, taken, set(news), refusals, scheduled_at=scheduled_at, now=now)
    unknown = sum(pull.account_no not in known for pull in pulls)
    refused = sum(pull.refusal is not None for pull in taken)
    return PullsRecorded(
        answered=len(taken) - refused, refused=refused, repeated=len(pulls) - len(taken) - unknown, unknown=unknown,
        readings=len(news), statements=statements,
        refusals=tuple((account_no, refusal) for account_no, found in refusals.items() for refusal in found),
    )


def readings(session: Session, account_no: str, *, limit: int = 100) -> list[Reading]:
    """The balances stated of an account, newest first by the bank's clock."""
    reader = Reader(session)
    rows = run(
        session,
        "SELECT r.kind, r.amount_fen, a.currency, r.day, r.as_of, r.fetched_at, r.final, r.source, r.raw_sha256"
        " FROM readings r JOIN accounts a ON a.account_no = r.account_no WHERE r.account_no = :account_no"
        " ORDER BY r.as_of DESC, r.fetched_at DESC, r.kind LIMIT :limit", account_no=account_no, limit=limit,
    )
    return [
        Reading(
            account_no=account_no, kind=BalanceKind(row[0]), amount=Money(row[1], row[2]), on=reader.on(row[3]),
            as_of=reader.at(row[4]), fetched_at=reader.at(row[5]), final=bool(row[6]), source=row[7], raw_sha256=row[8],
        )
        for row in rows
    ]


def raw_document(session: Session, sha256: str) -> bytes | None:
    """Bytes as they were received."""
    found = run(session, "SELECT content_zlib FROM raw_documents WHERE sha256 = :sha256", sha256=sha256).scalar()
    return None if found is None else zlib.decompress(bytes(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAnswers:
    """How one bank answered lately: its last round, and when it last answered at all."""

    bank: str
    accounts: int
    silent: int
    last_answer_at: datetime | None
    refusals: Mapping[str, int] = field(default_factory=dict)


def bank_answers(session: Session) -> list[BankAnswers]:
    """For each bank: its accounts, how many did not answer when last asked and why, and its newest answer."""
    reader = Reader(session)
    rows = run(
        session,
        "SELECT bank, last_refusal, count(*), max(last_answer_at) FROM account_states"
        " GROUP BY bank, last_refusal ORDER BY bank",
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


# for the other tables of this room


def lock_states(session: Session, account_nos: Sequence[str]) -> set[str]:
    """Be the only one who writes these accounts' states until the transaction ends; return those that are known."""
    rows = fetch(
        session, "SELECT account_no, bank FROM account_states WHERE account_no IN EACH(:account_nos)",
        account_nos=sorted(set(account_nos)),
    )
    lock_banks(session, {bank for _, bank in rows})
    return {account_no for account_no, _ in rows}


def keep_documents(session: Session, documents: Iterable[tuple[str, bytes, str]], *, now: datetime) -> None:
    """Keep (SHA-256, bytes, media type), each content once."""
    given = {sha256: (content, media_type) for sha256, content, media_type in documents}
    if not given:
        return
    rows = run(session, "SELECT sha256 FROM raw_documents WHERE sha256 IN EACH(:given)", given=sorted(given))
    for (sha256,) in rows:
        del given[sha256]
    columns = {"sha256": str, "media_type": str, "size": int, "content_zlib": bytes, "recorded_at": datetime}
    with staged(session, "incoming_documents", columns, (
        # Level 1: half the time of the default for a tenth more room.
        (sha256, media_type, len(content), zlib.compress(content, 1), now)
        for sha256, (content, media_type) in sorted(given.items())
    )):
        names = ", ".join(columns)
        run(
            session,
            f"INSERT INTO raw_documents ({names}) SELECT {names} FROM incoming_documents WHERE true"
            " ON CONFLICT (sha256) DO NOTHING",
        )


def record_readings(session: Session, items: Sequence[Reading], *, now: datetime) -> list[str]:
    """Keep readings that are new; return the account of each one that was, repeated as often."""
    if not items:
        return []
    names = ", ".join(_READING)
    rows = (
        (
            item.account_no, item.as_of, item.kind.value, item.amount.minor_units, item.final, item.on,
            item.fetched_at, item.source, item.raw_sha256,
        )
        for item in items
    )
    with staged(session, "incoming_readings", _READING, rows):
        added = fetch(
            session,
            f"INSERT INTO readings ({names}, recorded_at) SELECT {names}, :now FROM incoming_readings WHERE true"
            " ON CONFLICT (account_no, as_of, kind, amount_fen, final) DO NOTHING RETURNING account_no", now=now,
        )
        return [account_no for (account_no,) in added]


_READING = {
    "account_no": str, "as_of": datetime, "kind": str, "amount_fen": int, "final": bool, "day": date,
    "fetched_at": datetime, "source": str, "raw_sha256": str,
}
_SLOT = {"fen": int, "kind": str, "day": date, "as_of": datetime, "fetched_at": datetime, "final": bool}
_SLOTS = ("booked", "closing", "held", "available")
_NONE: Mapping[str, Reading] = {}


def _slots(reading: Reading) -> tuple[str, ...]:
    """Which of the account's newest balances a reading may become."""
    if reading.kind is BalanceKind.BOOKED_CLOSING and reading.final:
        return ("booked", "closing")
    if reading.kind in (BalanceKind.BOOKED_CLOSING, BalanceKind.BOOKED_INTRADAY):
        return ("booked",)
    return ("held",) if reading.kind is BalanceKind.HELD else ("available",)


def newest_readings(items: Iterable[Reading]) -> dict[str, dict[str, Reading]]:
    """The newest reading of each account for each slot: by the bank's time, then final before not, then by ours."""
    newest: dict[str, dict[str, Reading]] = {}
    for item in items:
        slots = newest.setdefault(item.account_no, {})
        for slot in _slots(item):
            held = slots.get(slot)
            if held is None or (held.as_of, held.final, held.fetched_at) <= (item.as_of, item.final, item.fetched_at):
                slots[slot] = item
    return newest


def move_balances(slots: Iterable[str]) -> str:
    """The SET part that moves an account's balances forward to those staged as `i`, never back in the bank's time."""
    return ", ".join(
        f"{slot}_{part} = CASE WHEN {_is_newer(slot)} THEN i.{slot}_{part} ELSE account_states.{slot}_{part} END"
        for slot in slots for part in _SLOT
    )


def _is_newer(slot: str) -> str:
    mine, theirs = f"account_states.{slot}", f"i.{slot}"
    return (
        f"{theirs}_as_of IS NOT NULL AND ({mine}_as_of IS NULL OR {theirs}_as_of > {mine}_as_of"
        f" OR ({theirs}_as_of = {mine}_as_of AND ({theirs}_final OR NOT {mine}_final)"
        f" AND {theirs}_fetched_at >= {mine}_fetched_at))"
    )


def balance_columns(slots: Iterable[str]) -> dict[str, type]:
    """The staged columns of these slots."""
    return {f"{slot}_{part}": kind for slot in slots for part, kind in _SLOT.items()}


def balance_cells(newest: Mapping[str, Reading], slots: Iterable[str]) -> Iterator[Any]:
    """The cells for `balance_columns`."""
    for slot in slots:
        reading = newest.get(slot)
        if reading is None:
            yield from (None,) * len(_SLOT)
        else:
            yield reading.amount.minor_units
            yield reading.kind.value
            yield reading.on
            yield reading.as_of
            yield reading.fetched_at
            yield reading.final


def slots_of(newest: Mapping[str, Mapping[str, Reading]]) -> tuple[str, ...]:
    """The slots that occur."""
    seen = {slot for slots in newest.values() for slot in slots}
    return tuple(slot for slot in _SLOTS if slot in seen)


def _keep_pulls(
    session: Session, pulls: Sequence[PullRecord], news: set[str], refusals: Mapping[str, Sequence[Refusal]], *,
    scheduled_at: datetime, now: datetime,
) -> None:
    """Keep a row a pull, and bring the states up to them. What a rule could see anew makes an account due."""
    if not pulls:
        return
    newest = newest_readings(reading for pull in pulls for reading in pull.readings)
    slots = slots_of(newest)
    rows = (
        (
            pull.account_no, pull.bank, *_refusal_cells(pull.refusal), _partial(pull, refusals), _hashes(pull),
            pull.started_at, pull.finished_at, pull.account_no in news, _STATUSES[pull.account_status],
            *balance_cells(newest.get(pull.account_no, _NONE), slots),
        )
        for pull in pulls
    )
    names = ", ".join(_PULL)
    balances = f", {move_balances(slots)}" if slots else ""
    with staged(session, "incoming_pulls", {**_PULL, "is_news": bool, "status": str, **balance_columns(slots)}, rows):
        run(
            session,
            f"INSERT INTO pulls (scheduled_at, recorded_at, answered, {names})"
            f" SELECT :scheduled_at, :now, refusal IS NULL, {names} FROM incoming_pulls",
            scheduled_at=scheduled_at, now=now,
        )
        run(
            session,
            f"UPDATE account_states SET {_MOVE_ANSWER}{balances} FROM incoming_pulls i"
            " WHERE i.account_no = account_states.account_no",
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
_MOVE_ANSWER = f"""
    input_version = account_states.input_version + CASE
        WHEN i.is_news OR account_states.last_refusal IS DISTINCT FROM i.refusal
            OR ({_STATUS_IS_NEWER} AND i.status <> account_states.status)
        THEN 1 ELSE 0 END,
    status = CASE WHEN {_STATUS_IS_NEWER} THEN i.status ELSE account_states.status END,
    status_as_of = CASE WHEN {_STATUS_IS_NEWER} THEN i.finished_at ELSE account_states.status_as_of END,
    last_answer_at = CASE WHEN i.refusal IS NULL
            AND (account_states.last_answer_at IS NULL OR i.finished_at > account_states.last_answer_at)
        THEN i.finished_at ELSE account_states.last_answer_at END,
    last_refusal = i.refusal,
    refusals_in_a_row = CASE WHEN i.refusal IS NULL THEN 0 ELSE account_states.refusals_in_a_row + 1 END
"""


def _record_statements(
    session: Session, pulls: Sequence[PullRecord], *, now: datetime, zone: ZoneInfo
) -> tuple[int, dict[str, list[Refusal]]]:
    from escrow_monitor.records.statements import Received, record_received  # that file stands on this one

    received = [
        Received(statement=statement, source=pull.bank, raw_sha256=pull.raw[-1][0] if pull.raw else None)
        for pull in pulls for statement in pull.statements
    ]
    if not received:
        return 0, {}
    return record_received(session, received, now=now, zone=zone)


def _refusal_cells(refusal: Refusal | None) -> tuple[str | None, ...]:
    if refusal is None:
        return (None, None, None, None)
    return (refusal.reason.value, refusal.where, refusal.field, refusal.detail)


def _partial(pull: PullRecord, refusals: Mapping[str, Sequence[Refusal]]) -> str:
    found = (*pull.partial_refusals, *refusals.get(pull.account_no, ()))
    return as_json([refusal_json(refusal) for refusal in found]) if found else "[]"


def refusal_json(refusal: Refusal) -> dict[str, str | None]:
    """A refusal as it is kept in JSON."""
    return {
        "reason": refusal.reason.value, "where": refusal.where, "field": refusal.field, "detail": refusal.detail,
    }


def _hashes(pull: PullRecord) -> str:
    if not pull.raw:
        return "[]"
    return '["' + '", "'.join(sha256 for sha256, _, _ in pull.raw) + '"]'
