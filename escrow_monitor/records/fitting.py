"""Which statements fit what is stored, and what each of them brings that is new.

    fits        if each day it shares with what is stored opened and closed with the same amounts, and the days
                beside it close and open with its own
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlmodel import Session

from escrow_monitor.domain.accounts import Account
from escrow_monitor.domain.money import Money
from escrow_monitor.domain.statements import Entry, Refusal, RefusalReason, Statement, check_ties
from escrow_monitor.records.bulk import Reader, as_json, run

STATEMENT_DAYS_MAX = 1_100
"""A statement over more than three years is a date read wrongly."""
NEIGHBOUR_DAYS = 31
"""How far around a statement we look for the one before and the one after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A statement with where it came from: a bank or a file, and the bytes."""

    statement: Statement
    source: str
    raw_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredDay:
    """How a covered day opened and closed, in fen, and the number of the statement that says so."""

    opening_fen: int
    closing_fen: int
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A statement that fits: the days it covers first, the entries that nobody stated before, the days it shows
    to be missing."""

    received: Received
    statement_id: str
    days: Mapping[date, CoveredDay]
    entries: tuple[Entry, ...]
    missing: tuple[date, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The statements that bring something new, and the refusals by account."""

    taken: tuple[Taken, ...]
    refusals: dict[str, list[Refusal]]


def judge(session: Session, received: Sequence[Received], known: Mapping[str, Account]) -> Judged:
    """Hold statements against their accounts and what is stored, in the order of their days."""
    taken: list[Taken] = []
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
    return Judged(taken=tuple(taken), refusals=refusals)


def _order(item: Received) -> tuple[str, bool, date]:
    """By account, final ones first, by their first day: notices then meet the days that are covered."""
    return item.statement.account_no, not item.statement.final, item.statement.covers_from or date.min


def _stored_days(session: Session, statements: Sequence[Statement]) -> dict[str, dict[date, CoveredDay]]:
    """The covered days around final statements, by account."""
    stored: dict[str, dict[date, CoveredDay]] = defaultdict(dict)
    spans = [span_of(item) for item in statements if item.final]
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
        stored[account_no][reader.on(day)] = CoveredDay(
            opening_fen=opening_fen, closing_fen=closing_fen, number=number_ or ""
        )
    return stored


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
        first, last = span_of(statement)
        if not 0 <= (last - first).days < STATEMENT_DAYS_MAX:
            return Refusal(
                reason=RefusalReason.BAD_DATE, where=statement.where, field="covers_from",
                detail=f"the statement covers {first} to {last}: at most {STATEMENT_DAYS_MAX} days are taken",
            )
    return check_ties(statement)


def _contradiction(statement: Statement, stored: Mapping[date, CoveredDay]) -> Refusal | None:
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
    statement: Statement, days: Mapping[date, CoveredDay], stored: Mapping[date, CoveredDay]
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


def _taken(item: Received, stored: Mapping[date, CoveredDay]) -> Taken:
    """What of a fitting statement is new."""
    statement = item.statement
    days = _days(statement) if statement.final else {}
    new_days = {day: figures for day, figures in days.items() if day not in stored}
    # A day that a final statement covers is complete: another one, or a notice, brings the same money in other words.
    news = tuple(
        entry for entry in statement.entries
        if (_clamped(entry.booked_on, days) in new_days if days else entry.booked_on not in stored)
    )
    return Taken(
        received=item, statement_id=_statement_id(statement), days=new_days, entries=news,
        missing=tuple(_missing(new_days, stored)),
    )


def _missing(days: Mapping[date, CoveredDay], stored: Mapping[date, CoveredDay]) -> Iterator[date]:
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


def _before(stored: Mapping[date, CoveredDay], day: date) -> date | None:
    for step in range(1, NEIGHBOUR_DAYS + 1):
        if day - timedelta(days=step) in stored:
            return day - timedelta(days=step)
    return None


def _after(stored: Mapping[date, CoveredDay], day: date) -> date | None:
    for step in range(1, NEIGHBOUR_DAYS + 1):
        if day + timedelta(days=step) in stored:
            return day + timedelta(days=step)
    return None


def _days(statement: Statement) -> dict[date, CoveredDay]:
    """Each day a final statement covers with its opening and closing: the opening plus what was booked by then."""
    assert statement.opening is not None, "only final statements come here"  # noqa: S101
    first, last = span_of(statement)
    booked: dict[date, int] = defaultdict(int)
    for entry in statement.entries:
        booked[min(max(entry.booked_on, first), last)] += entry.amount.minor_units
    result, balance = {}, statement.opening.minor_units
    for step in range((last - first).days + 1):
        day = first + timedelta(days=step)
        result[day] = CoveredDay(opening_fen=balance, closing_fen=balance + booked[day], number=statement.number)
        balance += booked[day]
    return result


def _clamped(day: date, days: Mapping[date, CoveredDay]) -> date:
    return min(max(day, min(days)), max(days))


def span_of(statement: Statement) -> tuple[date, date]:
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
