"""What statements account for: entries, covered days, months, and the days that are missing.

    statement   opening 100.00 on the 3rd   +30.00   -50.00   closing 80.00 on the 4th
    becomes     two covered days, two entries, one month's credits and debits, one final closing balance
    refused     unless each day it shares with what is stored closed with the same amount, and the days beside it
                open and close with its own
"""

# ruff: noqa: S608 - SQL is put together from our own constants only; every value is bound.

from __future__ import annotations

import hashlib
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, Session

from escrow_monitor.domain.accounts import Account, BalanceKind, Reading
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Refusal, RefusalReason, Statement, StatementKind, check_ties
from escrow_monitor.records.accounts import accounts, lock_banks, save_accounts
from escrow_monitor.records.bulk import Reader, as_json, fetch, from_json, run, staged
from escrow_monitor.records.columns import Row, exact, fen, large, one_of
from escrow_monitor.records.readings import (
    DEFAULT_ZONE,
    balance_cells,
    balance_columns,
    keep_documents,
    lock_states,
    move_balances,
    newest_readings,
    record_readings,
    refusal_json,
    slots_of,
)

STATEMENT_DAYS_MAX = 1_100
"""A statement over more than three years is a date read wrongly."""
NEIGHBOUR_DAYS = 31
"""How far around a statement we look for the one before and the one after."""


class FileResult(StrEnum):
    """What became of a file."""

    LOADED = "loaded"
    ALREADY_LOADED = "already_loaded"
    REFUSED = "refused"


class StatementFileRow(Row, table=True):
    """One file that was received, by its bytes. `outcome` is loaded or refused."""

    __tablename__ = "statement_files"
    __table_args__ = (CheckConstraint("outcome IN ('loaded', 'refused')", "outcome"),)

    sha256: str = Field(primary_key=True)
    source: str
    format: str | None = None
    outcome: str
    statements: int = large(default=0)
    entries: int = large(default=0)
    refusals: str = "[]"
    recorded_at: datetime = Field(index=True)
    changed_at: datetime


class StatementRow(Row, table=True):
    """One statement that was taken. Its id is a hash of its figures, so the same one is the same row."""

    __tablename__ = "statements"
    __table_args__ = (CheckConstraint(one_of("kind", StatementKind), "kind"), Index(None, "account_no", "covers_to"))

    statement_id: str = Field(primary_key=True)
    account_no: str
    kind: str
    number: str
    opening_fen: int | None = fen(default=None)
    opening_on: date | None = None
    closing_fen: int | None = fen(default=None)
    closing_on: date | None = None
    covers_from: date | None = None
    covers_to: date | None = None
    entries: int = large()
    source: str
    place: str
    raw_sha256: str | None = None
    recorded_at: datetime


class EntryRow(Row, table=True):
    """One booked movement. `final`: an end-of-day statement says it; only those count on covered days."""

    __tablename__ = "entries"
    __table_args__ = (CheckConstraint(exact("amount_fen"), "amount_fen"),)

    account_no: str = Field(primary_key=True)
    booked_on: date = Field(primary_key=True)
    identity: str = Field(primary_key=True)
    amount_fen: int = fen()
    value_on: date | None = None
    bank_ref: str | None = None
    text: str = ""
    occurrence: int = large(default=1)
    reversal: bool = False
    counterparty_sha256: str | None = None
    final: bool
    statement_id: str
    recorded_at: datetime


class AccountDayRow(Row, table=True):
    """One day of an account: what was booked, and, if a final statement covers it, how it opened and closed."""

    __tablename__ = "account_days"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    covered: bool = False
    opening_fen: int | None = fen(default=None)
    closing_fen: int | None = fen(default=None)
    credits_fen: int = fen(default=0)
    debits_fen: int = fen(default=0)
    largest_debit_fen: int = fen(default=0)
    statement_id: str | None = None


class AccountMonthRow(Row, table=True):
    """What was booked on an account in one calendar month, `2026-11`."""

    __tablename__ = "account_months"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    credits_fen: int = fen(default=0)
    debits_fen: int = fen(default=0)


class CoverageGapRow(Row, table=True):
    """A day that no final statement covers although one should. Filled, never deleted."""

    __tablename__ = "coverage_gaps"
    __table_args__ = (
        Index(None, "filled_at"),
        {"sqlite_with_rowid": False},
    )

    account_no: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    found_at: datetime
    filled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Make the accounts that a file names and we do not know: at this bank, in the file's currency, nobody's yet."""

    bank: str
    connector: str = "statement_folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """What became of a file. `statements` and `entries` count what was new; `registered` the accounts made for it."""

    result: FileResult
    sha256: str
    statements: int = 0
    entries: int = 0
    registered: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementFile:
    """A file as it was recorded."""

    sha256: str
    source: str
    format: str | None
    result: FileResult
    statements: int
    entries: int
    refusals: tuple[Refusal, ...]
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A statement with where it came from: a bank or a file, and the bytes."""

    statement: Statement
    source: str
    raw_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCoverage:
    """Which days of an account final statements cover, and the newest days that are missing (`gap_count` in all)."""

    account_no: str
    covered_from: date | None
    covered_to: date | None
    days_covered: int
    gaps: tuple[date, ...]
    gap_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GapsRefreshed:
    """How many missing days were found anew, and how many have been covered since."""

    found: int
    filled: int


def record_file(
    session: Session, *, sha256: str, content: bytes, media_type: str, source: str, format: str | None,
    statements: Sequence[Statement], now: datetime, register: Registration | None = None,
    zone: ZoneInfo = DEFAULT_ZONE,
) -> FileOutcome:
    """Take a file of statements whole, or refuse it whole; its bytes and the reason are kept either way.

    Refused: an account we do not know (unless `register`), another currency, sums that do not tie, an opening that is
    not the closing before, another figure for a day that is stored. The bytes of a loaded file have no second effect;
    those of a refused one are judged anew, for what was missing may have come.
    """
    if _is_loaded(session, sha256):
        return FileOutcome(result=FileResult.ALREADY_LOADED, sha256=sha256)
    account_nos = sorted({item.account_no for item in statements})
    lock_states(session, account_nos)
    known = {item.account_no: item for item in accounts(session, account_nos=account_nos)}
    new = _registered(statements, known, register)
    received = [Received(statement=item, source=source, raw_sha256=sha256) for item in statements]
    judged = _judge(session, received, {**known, **new})
    refusals = [refusal for found in judged.refusals.values() for refusal in found]
    if refusals:
        return refuse_file(
            session, sha256=sha256, content=content, media_type=media_type, source=source, format=format,
            refusals=refusals, now=now,
        )
    save_accounts(session, new.values(), now=now)
    entries = _record(session, judged.taken, now=now, zone=zone)
    keep_documents(session, [(sha256, content, media_type)], now=now)
    loaded = FileOutcome(
        result=FileResult.LOADED, sha256=sha256, statements=len(judged.taken), entries=entries, registered=tuple(new)
    )
    _note_file(session, loaded, source=source, format=format, now=now)
    return loaded


def refuse_file(
    session: Session, *, sha256: str, content: bytes, media_type: str, source: str, format: str | None,
    refusals: Sequence[Refusal], now: datetime,
) -> FileOutcome:
    """Keep a file that could not be taken, and why. One that was loaded before stays loaded."""
    keep_documents(session, [(sha256, content, media_type)], now=now)
    refused = FileOutcome(result=FileResult.REFUSED, sha256=sha256, refusals=tuple(refusals))
    _note_file(session, refused, source=source, format=format, now=now)
    return refused


def record_statements(
    session: Session, statements: Sequence[Statement], *, source: str, raw_sha256: str, now: datetime,
    zone: ZoneInfo = DEFAULT_ZONE,
) -> list[Refusal]:
    """Take each statement that fits what is stored; return why the others were not taken."""
    lock_states(session, [item.account_no for item in statements])
    received = [Received(statement=item, source=source, raw_sha256=raw_sha256) for item in statements]
    _, refusals = record_received(session, received, now=now, zone=zone)
    return [refusal for found in refusals.values() for refusal in found]


def record_received(
    session: Session, received: Sequence[Received], *, now: datetime, zone: ZoneInfo
) -> tuple[int, dict[str, list[Refusal]]]:
    """Take each statement that fits, the accounts' states being held; return how many, and the refusals by account."""
    account_nos = sorted({item.statement.account_no for item in received})
    known = {item.account_no: item for item in accounts(session, account_nos=account_nos)}
    judged = _judge(session, received, known)
    _record(session, judged.taken, now=now, zone=zone)
    return len(judged.taken), judged.refusals


def refresh_gaps(
    session: Session, *, account_nos: Sequence[str] | None = None, through: date,
    is_working_day: Callable[[date], bool], now: datetime,
) -> GapsRefreshed:
    """Find the working days up to `through` that no final statement covers, from each account's first covered day on.

    What was searched before is not searched again. Accounts whose gaps changed become due for a check.
    """
    lock_banks(session)
    given: dict[str, Sequence[str]] = {} if account_nos is None else {"account_nos": account_nos}
    chosen = "" if account_nos is None else " AND s.account_no IN EACH(:account_nos)"
    unsearched = "s.covered_from IS NOT NULL AND (s.gaps_to IS NULL OR s.gaps_to < :through)" + chosen
    first = Reader(session).day(run(
        session, f"SELECT min(CASE WHEN s.gaps_to IS NULL THEN s.covered_from ELSE s.gaps_to END)"
                 f" FROM account_states s WHERE {unsearched}", through=through, **given,
    ).scalar())
    found: list[str] = []
    if first is not None:
        days = [first + timedelta(days=step) for step in range(1, (through - first).days + 1)]
        with staged(session, "working_days", {"day": date}, [(day,) for day in days if is_working_day(day)]):
            found = [account_no for (account_no,) in run(
                session,
                "INSERT INTO coverage_gaps (account_no, day, found_at)"
                " SELECT s.account_no, w.day, :now FROM account_states s"
                " JOIN working_days w ON w.day > coalesce(s.gaps_to, s.covered_from)"
                " LEFT JOIN account_days d ON d.account_no = s.account_no AND d.day = w.day AND d.covered"
                f" WHERE {unsearched} AND d.day IS NULL"
                " ON CONFLICT (account_no, day) DO NOTHING RETURNING account_no", through=through, now=now, **given,
            )]
        run(session, f"UPDATE account_states AS s SET gaps_to = :through WHERE {unsearched}", through=through, **given)
    filled = _fill_gaps(session, now)
    _make_due(session, [*found, *filled])
    return GapsRefreshed(found=len(found), filled=len(filled))


def coverage(session: Session, account_no: str | None = None) -> list[AccountCoverage]:
    """Which days are covered and which are missing, for one account or all."""
    reader, given = Reader(session), {} if account_no is None else {"account_no": account_no}
    chosen = "" if account_no is None else "AND {}.account_no = :account_no"
    gaps: dict[str, list[date]] = defaultdict(list)
    for number_, day in run(
        session,
        f"SELECT g.account_no, g.day FROM coverage_gaps g WHERE g.filled_at IS NULL {chosen.format('g')}"
        " ORDER BY g.account_no, g.day DESC", **given,
    ):
        gaps[number_].append(reader.on(day))
    counts: dict[str, int] = dict(fetch(
        session,
        f"SELECT d.account_no, count(*) FROM account_days d WHERE d.covered {chosen.format('d')} GROUP BY d.account_no",
        **given,
    ))
    rows = run(
        session,
        "SELECT s.account_no, s.covered_from, s.covered_to FROM account_states s"
        f" WHERE true {chosen.format('s')} ORDER BY s.account_no", **given,
    )
    return [
        AccountCoverage(
            account_no=row[0], covered_from=reader.day(row[1]), covered_to=reader.day(row[2]),
            days_covered=counts.get(row[0], 0), gaps=tuple(gaps[row[0]][:NEIGHBOUR_DAYS]), gap_count=len(gaps[row[0]]),
        )
        for row in rows
    ]


def entries(
    session: Session, account_no: str, *, days_from: date | None = None, days_to: date | None = None, limit: int = 1_000
) -> list[Entry]:
    """The entries of an account that count, newest first."""
    reader = Reader(session)
    rows = run(
        session,
        "SELECT e.booked_on, e.amount_fen, a.currency, e.value_on, e.bank_ref, e.text, e.occurrence, e.reversal,"
        " e.counterparty_sha256 FROM entries e JOIN accounts a ON a.account_no = e.account_no"
        " LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on"
        f" WHERE e.account_no = :account_no AND e.booked_on BETWEEN :days_from AND :days_to AND {_COUNTS}"
        " ORDER BY e.booked_on DESC, e.identity LIMIT :limit",
        account_no=account_no, days_from=days_from or date.min, days_to=days_to or date.max, limit=limit,
    )
    return [
        Entry(
            account_no=account_no, booked_on=reader.on(row[0]), amount=Money(row[1], row[2]),
            value_on=reader.day(row[3]), bank_ref=row[4], text=row[5], occurrence=row[6], reversal=bool(row[7]),
            counterparty_sha256=row[8],
        )
        for row in rows
    ]


def files(session: Session, *, limit: int = 50) -> list[StatementFile]:
    """The files received last, newest first."""
    reader = Reader(session)
    rows = run(
        session,
        "SELECT sha256, source, format, outcome, statements, entries, refusals, recorded_at FROM statement_files"
        " ORDER BY recorded_at DESC, sha256 LIMIT :limit", limit=limit,
    )
    return [
        StatementFile(
            sha256=row[0], source=row[1], format=row[2], result=FileResult(row[3]), statements=row[4], entries=row[5],
            refusals=tuple(
                Refusal(
                    reason=RefusalReason(item["reason"]), where=item["where"], field=item["field"],
                    detail=item["detail"],
                )
                for item in from_json(row[6])
            ),
            recorded_at=reader.at(row[7]),
        )
        for row in rows
    ]


# judging


@dataclass(frozen=True, slots=True, kw_only=True)
class _Day:
    """How a covered day opened and closed, in fen, and the number of the statement that says so."""

    opening_fen: int
    closing_fen: int
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A statement that fits: the days it covers first, the entries that nobody stated before, the days it shows
    to be missing."""

    received: Received
    statement_id: str
    days: Mapping[date, _Day]
    entries: tuple[Entry, ...]
    missing: tuple[date, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """The statements that bring something new, and the refusals by account."""

    taken: tuple[_Taken, ...]
    refusals: dict[str, list[Refusal]]


def _judge(session: Session, received: Sequence[Received], known: Mapping[str, Account]) -> _Judged:
    """Hold statements against their accounts and what is stored, in the order of their days."""
    taken: list[_Taken] = []
    refusals: dict[str, list[Refusal]] = {}
    stored = _stored_days(session, [item.statement for item in received])
    for item in sorted(received, key=_order):
        statement = item.statement
        days = stored[statement.account_no]
        refusal = _unfit(statement, known.get(statement.account_no)) or _contradiction(statement, days)
        if refusal is not None:
            refusals.setdefault(statement.account_no, []).append(refusal)
            continue
        fitting = _taken(item, days)
        days.update(fitting.days)
        if fitting.days or fitting.entries:
            taken.append(fitting)
    return _Judged(taken=tuple(taken), refusals=refusals)


def _order(item: Received) -> tuple[str, bool, date]:
    """By account, final ones first, by their first day: notices then meet the days that are covered."""
    return item.statement.account_no, not item.statement.final, item.statement.covers_from or date.min


def _unfit(statement: Statement, account: Account | None) -> Refusal | None:
    """What is wrong with a statement by itself and its account."""
    if account is None:
        return Refusal(
            reason=RefusalReason.UNKNOWN_ACCOUNT, where=statement.where, field="account",
            detail=f"account {statement.account_no} is not in the register",
        )
    if statement.currency != account.currency:
        return Refusal(
            reason=RefusalReason.WRONG_CURRENCY, where=statement.where, field="currency",
            detail=f"the statement is in {statement.currency}, account {account.account_no} in {account.currency}",
        )
    if statement.final:
        first, last = _span(statement)
        if not 0 <= (last - first).days < STATEMENT_DAYS_MAX:
            return Refusal(
                reason=RefusalReason.BAD_DATE, where=statement.where, field="covers_from",
                detail=f"the statement covers {first} to {last}: at most {STATEMENT_DAYS_MAX} days are taken",
            )
    return check_ties(statement)


def _contradiction(statement: Statement, stored: Mapping[date, _Day]) -> Refusal | None:
    """Whether a final statement differs from the covered days it shares, or does not join those beside it."""
    if not statement.final:
        return None
    days = _days(statement)
    for day, mine in days.items():
        theirs = stored.get(day)
        if theirs is None or (mine.opening_fen, mine.closing_fen) == (theirs.opening_fen, theirs.closing_fen):
            continue
        field = "closing" if mine.closing_fen != theirs.closing_fen else "opening"
        said, kept = (mine.closing_fen, theirs.closing_fen) if field == "closing" else (
            mine.opening_fen, theirs.opening_fen
        )
        return Refusal(
            reason=RefusalReason.CONTRADICTS, where=statement.where, field=field,
            detail=f"says {_money(said, statement)} for the {field} of {day}, "
                   f"a statement taken before says {_money(kept, statement)}",
        )
    return _unjoined(statement, days, stored)


def _unjoined(
    statement: Statement, days: Mapping[date, _Day], stored: Mapping[date, _Day]
) -> Refusal | None:
    """Whether the statement taken before closed, and the one after opened, with other amounts than this one."""
    first, last = min(days), max(days)
    before, after = _before(stored, first), _after(stored, last)
    if before is not None and first not in stored:
        mine, theirs = days[first], stored[before]
        if theirs.closing_fen != mine.opening_fen and _must_join(before, first, theirs.number, mine.number):
            return Refusal(
                reason=RefusalReason.DOES_NOT_CHAIN, where=statement.where, field="opening",
                detail=f"opens with {_money(mine.opening_fen, statement)}, "
                       f"but {before} closed with {_money(theirs.closing_fen, statement)}",
            )
    if after is not None and last not in stored:
        mine, theirs = days[last], stored[after]
        if theirs.opening_fen != mine.closing_fen and _must_join(last, after, mine.number, theirs.number):
            return Refusal(
                reason=RefusalReason.DOES_NOT_CHAIN, where=statement.where, field="closing",
                detail=f"closes with {_money(mine.closing_fen, statement)}, "
                       f"but {after} opened with {_money(theirs.opening_fen, statement)}",
            )
    return None


def _must_join(before: date, after: date, number_before: str, number_after: str) -> bool:
    """Whether nothing can lie between two statements: the next day, or the bank's next number."""
    if (after - before).days == 1:
        return True
    numbers = [text.partition("/")[0] for text in (number_before, number_after)]
    return all(text.isascii() and text.isdigit() for text in numbers) and int(numbers[1]) - int(numbers[0]) == 1


def _taken(item: Received, stored: Mapping[date, _Day]) -> _Taken:
    """What of a fitting statement is new."""
    statement = item.statement
    days = _days(statement) if statement.final else {}
    new_days = {day: figures for day, figures in days.items() if day not in stored}
    # A day that a final statement covers is complete: another one, or a notice, brings the same money in other words.
    news = tuple(
        entry for entry in statement.entries
        if (_clamped(entry.booked_on, days) in new_days if days else entry.booked_on not in stored)
    )
    return _Taken(
        received=item, statement_id=_statement_id(statement), days=new_days, entries=news,
        missing=tuple(_missing(new_days, stored)),
    )


def _missing(days: Mapping[date, _Day], stored: Mapping[date, _Day]) -> Iterator[date]:
    """The days beside these on which something must have been booked: balances differ across them."""
    if not days:
        return
    first, last = min(days), max(days)
    before, after = _before(stored, first), _after(stored, last)
    if before is not None and stored[before].closing_fen != days[first].opening_fen:
        yield from _between(before, first)
    if after is not None and stored[after].opening_fen != days[last].closing_fen:
        yield from _between(last, after)


def _between(before: date, after: date) -> Iterator[date]:
    for step in range(1, (after - before).days):
        yield before + timedelta(days=step)


def _before(stored: Mapping[date, _Day], day: date) -> date | None:
    for step in range(1, NEIGHBOUR_DAYS + 1):
        if day - timedelta(days=step) in stored:
            return day - timedelta(days=step)
    return None


def _after(stored: Mapping[date, _Day], day: date) -> date | None:
    for step in range(1, NEIGHBOUR_DAYS + 1):
        if day + timedelta(days=step) in stored:
            return day + timedelta(days=step)
    return None


def _days(statement: Statement) -> dict[date, _Day]:
    """Each day a final statement covers with its opening and closing: the opening plus what was booked by then."""
    assert statement.opening is not None, "only final statements come here"  # noqa: S101
    first, last = _span(statement)
    booked: dict[date, int] = defaultdict(int)
    for entry in statement.entries:
        booked[min(max(entry.booked_on, first), last)] += entry.amount.minor_units
    result, balance = {}, statement.opening.minor_units
    for step in range((last - first).days + 1):
        day = first + timedelta(days=step)
        result[day] = _Day(opening_fen=balance, closing_fen=balance + booked[day], number=statement.number)
        balance += booked[day]
    return result


def _clamped(day: date, days: Mapping[date, _Day]) -> date:
    return min(max(day, min(days)), max(days))


def _span(statement: Statement) -> tuple[date, date]:
    """First and last day, both included. A statement that gives only its closing date covers that day."""
    last = statement.covers_to or statement.closing_on or statement.covers_from or statement.opening_on
    first = statement.covers_from or last
    if first is None or last is None:
        raise ValueError(f"{statement.where}: a final statement has a date, says its reader, but this one has none")
    return first, last


def _money(minor_units: int, statement: Statement) -> Money:
    return Money(minor_units, statement.currency)


def _statement_id(statement: Statement) -> str:
    figures = (
        statement.account_no, statement.kind.value, statement.number,
        statement.opening and statement.opening.minor_units, statement.closing and statement.closing.minor_units,
        str(statement.covers_from), str(statement.covers_to),
        [(*entry.identity[:1], str(entry.booked_on), *entry.identity[2:]) for entry in statement.entries],
    )
    return hashlib.sha256(as_json(figures).encode()).hexdigest()[:32]


def _registered(
    statements: Iterable[Statement], known: Mapping[str, Account], register: Registration | None
) -> dict[str, Account]:
    if register is None:
        return {}
    return {
        item.account_no: Account(
            account_no=item.account_no, bank=register.bank, connector=register.connector, currency=item.currency
        )
        for item in statements if item.account_no not in known
    }


def _stored_days(session: Session, statements: Sequence[Statement]) -> dict[str, dict[date, _Day]]:
    """The covered days around final statements, by account."""
    stored: dict[str, dict[date, _Day]] = defaultdict(dict)
    spans = [_span(item) for item in statements if item.final]
    days = [entry.booked_on for item in statements if not item.final for entry in item.entries]
    edges = [*(day for span in spans for day in span), *days]
    if not edges:
        return stored
    reader, margin = Reader(session), timedelta(days=NEIGHBOUR_DAYS)
    for account_no, day, opening_fen, closing_fen, number_ in run(
        session,
        "SELECT d.account_no, d.day, d.opening_fen, d.closing_fen, s.number FROM account_days d"
        " LEFT JOIN statements s ON s.statement_id = d.statement_id"
        " WHERE d.covered AND d.account_no IN EACH(:account_nos) AND d.day BETWEEN :first AND :last",
        account_nos=sorted({item.account_no for item in statements}),
        first=max(min(edges), date.min + margin) - margin, last=min(max(edges), date.max - margin) + margin,
    ):
        stored[account_no][reader.on(day)] = _Day(
            opening_fen=opening_fen, closing_fen=closing_fen, number=number_ or ""
        )
    return stored


# recording


def _record(session: Session, taken: Sequence[_Taken], *, now: datetime, zone: ZoneInfo) -> int:
    """Keep what was judged to fit; return how many entries were new."""
    if not taken:
        return 0
    _insert_statements(session, taken, now)
    _insert_days(session, taken)
    added = _insert_entries(session, taken, now)
    _sum_up(session, taken)
    readings = [reading for item in taken for reading in _readings(item, now, zone)]
    record_readings(session, readings, now=now)
    _insert_missing(session, taken, now)
    _fill_gaps(session, now)
    _move_coverage(session, taken, readings)
    return added


_STATEMENT = {
    "statement_id": str, "account_no": str, "kind": str, "number": str, "opening_fen": int, "opening_on": date,
    "closing_fen": int, "closing_on": date, "covers_from": date, "covers_to": date, "entries": int, "source": str,
    "place": str, "raw_sha256": str, "recorded_at": datetime,
}
_ENTRY = {
    "account_no": str, "booked_on": date, "identity": str, "amount_fen": int, "value_on": date, "bank_ref": str,
    "text": str, "occurrence": int, "reversal": bool, "counterparty_sha256": str, "final": bool, "statement_id": str,
    "recorded_at": datetime,
}
_DAY = {
    "account_no": str, "day": date, "opening_fen": int, "closing_fen": int, "statement_id": str,
}
_COUNTS = "(e.final OR NOT coalesce(d.covered, false))"
"""On a covered day the final statement's entries alone count; before that, whatever a notice said."""


def _insert_statements(session: Session, taken: Sequence[_Taken], now: datetime) -> None:
    rows = {item.statement_id: _statement_cells(item, now) for item in taken}
    names = ", ".join(_STATEMENT)
    with staged(session, "incoming_statements", _STATEMENT, rows.values()):
        run(
            session,
            f"INSERT INTO statements ({names}) SELECT {names} FROM incoming_statements WHERE true"
            " ON CONFLICT (statement_id) DO NOTHING",
        )


def _statement_cells(item: _Taken, now: datetime) -> tuple[object, ...]:
    statement = item.received.statement
    return (
        item.statement_id, statement.account_no, statement.kind.value, statement.number,
        None if statement.opening is None else statement.opening.minor_units, statement.opening_on,
        None if statement.closing is None else statement.closing.minor_units, statement.closing_on,
        statement.covers_from, statement.covers_to, len(statement.entries), item.received.source, statement.where,
        item.received.raw_sha256, now,
    )


def _insert_days(session: Session, taken: Sequence[_Taken]) -> None:
    rows = (
        (item.received.statement.account_no, day, figures.opening_fen, figures.closing_fen, item.statement_id)
        for item in taken for day, figures in item.days.items()
    )
    names = ", ".join(_DAY)
    with staged(session, "incoming_days", _DAY, rows):
        run(
            session,
            f"INSERT INTO account_days ({names}, covered, credits_fen, debits_fen, largest_debit_fen)"
            f" SELECT {names}, true, 0, 0, 0 FROM incoming_days WHERE true"
            " ON CONFLICT (account_no, day) DO UPDATE SET covered = true, opening_fen = excluded.opening_fen,"
            " closing_fen = excluded.closing_fen, statement_id = excluded.statement_id",
        )


def _insert_entries(session: Session, taken: Sequence[_Taken], now: datetime) -> int:
    rows: dict[tuple[str, str], tuple[object, ...]] = {}
    for item in taken:
        final = item.received.statement.final
        for entry in item.entries:
            identity = _identity(entry)
            place = (entry.account_no, identity)
            if final or place not in rows:
                rows[place] = (
                    entry.account_no, entry.booked_on, identity, entry.amount.minor_units, entry.value_on,
                    entry.bank_ref, entry.text, entry.occurrence, entry.reversal, entry.counterparty_sha256, final,
                    item.statement_id, now,
                )
    names = ", ".join(_ENTRY)
    with staged(session, "incoming_entries", _ENTRY, rows.values()):
        return len(run(
            session,
            f"INSERT INTO entries ({names}) SELECT {names} FROM incoming_entries WHERE true"
            " ON CONFLICT (account_no, booked_on, identity) DO UPDATE SET final = true"
            " WHERE excluded.final AND NOT entries.final RETURNING account_no",
        ).all())


def _identity(entry: Entry) -> str:
    """Two sightings of one entry have the same; identical twins have not, by their occurrence."""
    account_no, booked_on, minor_units, bank_ref, text = entry.identity
    parts = [account_no, booked_on.isoformat(), minor_units, bank_ref, text, entry.occurrence]
    return hashlib.sha256(as_json(parts).encode()).hexdigest()


def _sum_up(session: Session, taken: Sequence[_Taken]) -> None:
    """Add the touched days and months up anew from their entries."""
    days = sorted({
        (item.received.statement.account_no, day)
        for item in taken for day in (*item.days, *(entry.booked_on for entry in item.entries))
    })
    months = sorted({(account_no, *_month_of(day)) for account_no, day in days})
    flows = (
        "CAST(coalesce(sum(CASE WHEN e.amount_fen > 0 THEN e.amount_fen END), 0) AS BIGINT),"
        " CAST(coalesce(sum(CASE WHEN e.amount_fen < 0 THEN -e.amount_fen END), 0) AS BIGINT)"
    )
    with staged(session, "touched_days", {"account_no": str, "day": date}, days):
        run(
            session,
            "INSERT INTO account_days (account_no, day, covered, credits_fen, debits_fen, largest_debit_fen)"
            f" SELECT t.account_no, t.day, false, {flows},"
            " coalesce(max(CASE WHEN e.amount_fen < 0 THEN -e.amount_fen END), 0) FROM touched_days t"
            " LEFT JOIN account_days d ON d.account_no = t.account_no AND d.day = t.day"
            f" LEFT JOIN entries e ON e.account_no = t.account_no AND e.booked_on = t.day AND {_COUNTS}"
            " GROUP BY t.account_no, t.day ON CONFLICT (account_no, day) DO UPDATE SET"
            " credits_fen = excluded.credits_fen, debits_fen = excluded.debits_fen,"
            " largest_debit_fen = excluded.largest_debit_fen",
        )
    columns = {"account_no": str, "month": str, "first_day": date, "last_day": date}
    with staged(session, "touched_months", columns, months):
        run(
            session,
            "INSERT INTO account_months (account_no, month, credits_fen, debits_fen)"
            f" SELECT t.account_no, t.month, {flows} FROM touched_months t"
            " JOIN entries e ON e.account_no = t.account_no AND e.booked_on BETWEEN t.first_day AND t.last_day"
            " LEFT JOIN account_days d ON d.account_no = e.account_no AND d.day = e.booked_on"
            f" WHERE {_COUNTS} GROUP BY t.account_no, t.month ON CONFLICT (account_no, month) DO UPDATE SET"
            " credits_fen = excluded.credits_fen, debits_fen = excluded.debits_fen",
        )


def _month_of(day: date) -> tuple[str, date, date]:
    last = day.replace(day=monthrange(day.year, day.month)[1])
    return day.isoformat()[:7], day.replace(day=1), last


def _readings(item: _Taken, now: datetime, zone: ZoneInfo) -> Iterator[Reading]:
    """The final closing balance that a statement states, as of the end of its last day at the bank."""
    statement = item.received.statement
    if statement.closing is None or not item.days:
        return
    day = max(item.days)
    if day != _span(statement)[1]:
        return
    as_of = min(datetime.combine(day, time(23, 59, 59), zone).astimezone(UTC), now)
    for kind, amount in ((BalanceKind.BOOKED_CLOSING, statement.closing), (BalanceKind.AVAILABLE, statement.available)):
        if amount is not None:
            yield Reading(
                account_no=statement.account_no, kind=kind, amount=amount, on=day, as_of=as_of, fetched_at=now,
                final=kind is BalanceKind.BOOKED_CLOSING, source=item.received.source,
                raw_sha256=item.received.raw_sha256 or "",
            )


def _insert_missing(session: Session, taken: Sequence[_Taken], now: datetime) -> None:
    rows = sorted({(item.received.statement.account_no, day, now) for item in taken for day in item.missing})
    if not rows:
        return
    with staged(session, "incoming_gaps", {"account_no": str, "day": date, "found_at": datetime}, rows):
        run(
            session,
            "INSERT INTO coverage_gaps (account_no, day, found_at)"
            " SELECT account_no, day, found_at FROM incoming_gaps WHERE true ON CONFLICT (account_no, day) DO NOTHING",
        )


def _fill_gaps(session: Session, now: datetime) -> list[str]:
    """Close the gaps whose day is covered by now; return the account of each."""
    return [account_no for (account_no,) in run(
        session,
        "UPDATE coverage_gaps SET filled_at = :now FROM account_days d"
        " WHERE coverage_gaps.filled_at IS NULL AND d.account_no = coverage_gaps.account_no"
        " AND d.day = coverage_gaps.day AND d.covered RETURNING coverage_gaps.account_no", now=now,
    )]


def _make_due(session: Session, account_nos: Sequence[str]) -> None:
    if account_nos:
        run(
            session,
            "UPDATE account_states SET input_version = input_version + 1 WHERE account_no IN EACH(:account_nos)",
            account_nos=sorted(set(account_nos)),
        )


def _move_coverage(session: Session, taken: Sequence[_Taken], readings: Sequence[Reading]) -> None:
    """Bring the accounts' states up to these statements; something new was recorded of each of them."""
    newest = newest_readings(readings)
    slots = slots_of(newest)
    spans: dict[str, list[date]] = defaultdict(list)
    for item in taken:
        spans[item.received.statement.account_no].extend(item.days)
    columns = {"account_no": str, "covered_from": date, "covered_to": date, **balance_columns(slots)}
    rows = (
        (
            account_no, min(days, default=None), max(days, default=None),
            *balance_cells(newest.get(account_no, {}), slots),
        )
        for account_no, days in sorted(spans.items())
    )
    balances = f", {move_balances(slots)}" if slots else ""
    with staged(session, "incoming_coverage", columns, rows):
        run(session, f"UPDATE account_states SET {_MOVE_COVERAGE}{balances} FROM incoming_coverage i"
                     " WHERE i.account_no = account_states.account_no")


_IS_EARLIER = (
    "i.covered_from IS NOT NULL"
    " AND (account_states.covered_from IS NULL OR i.covered_from < account_states.covered_from)"
)
_IS_LATER = (
    "i.covered_to IS NOT NULL AND (account_states.covered_to IS NULL OR i.covered_to > account_states.covered_to)"
)
_MOVE_COVERAGE = f"""
    input_version = account_states.input_version + 1,
    gaps_to = CASE WHEN {_IS_EARLIER} THEN NULL ELSE account_states.gaps_to END,
    covered_from = CASE WHEN {_IS_EARLIER} THEN i.covered_from ELSE account_states.covered_from END,
    covered_to = CASE WHEN {_IS_LATER} THEN i.covered_to ELSE account_states.covered_to END
"""


def _is_loaded(session: Session, sha256: str) -> bool:
    outcome = run(session, "SELECT outcome FROM statement_files WHERE sha256 = :sha256", sha256=sha256).scalar()
    return outcome == FileResult.LOADED.value


def _note_file(session: Session, outcome: FileOutcome, *, source: str, format: str | None, now: datetime) -> None:
    run(
        session,
        "INSERT INTO statement_files"
        " (sha256, source, format, outcome, statements, entries, refusals, recorded_at, changed_at)"
        " VALUES (:sha256, :source, :format, :outcome, :statements, :entries, :refusals, :now, :now)"
        " ON CONFLICT (sha256) DO UPDATE SET source = excluded.source, format = excluded.format,"
        " outcome = excluded.outcome, statements = excluded.statements, entries = excluded.entries,"
        " refusals = excluded.refusals, changed_at = excluded.changed_at WHERE statement_files.outcome = 'refused'",
        sha256=outcome.sha256, source=source, format=format, outcome=outcome.result.value,
        statements=outcome.statements, entries=outcome.entries,
        refusals=as_json([refusal_json(refusal) for refusal in outcome.refusals]), now=now,
    )


def settled_files(session: Session) -> set[str]:
    """The SHA-256 of files that need not be read again: loaded, or refused for what only other bytes could mend.

    One refused for an account that nobody had registered, or that did not join what is stored, may fit later.
    """
    return {sha256 for (sha256,) in run(
        session,
        "SELECT sha256 FROM statement_files WHERE outcome = 'loaded' OR NOT ("
        + " OR ".join(f"refusals LIKE '%\"{reason.value}\"%'" for reason in _MAY_FIT_LATER) + ")",
    )}


_MAY_FIT_LATER = (
    RefusalReason.UNKNOWN_ACCOUNT, RefusalReason.DOES_NOT_CHAIN, RefusalReason.CONTRADICTS,
    RefusalReason.DATED_IN_FUTURE,
)
